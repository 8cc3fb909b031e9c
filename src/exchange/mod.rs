//! Decides one request: the request and its surroundings go in, a [`Step`] comes out.
//!
//! A request that has to wait for an issuer gets [`Step::Await`] and is advanced again when the answer has
//! arrived, under the policy that it began with. It then starts over from the first step. That costs little
//! compared to the wait, and there is no intermediate state to get wrong.

pub mod facts;
pub mod forward;
pub mod log_json;
pub mod record;
pub mod request;
mod sender;
pub mod trace;
mod walk;

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::collections::shared_store::SharedStore;
use crate::exchange::walk::{Halt, Walk};
pub use crate::issuer::{
    ActivePolicy, AnswerNow, IntrospectionOutcome, IssuerCall, KeysNow, Waiter, WaiterId, Worker,
};
use crate::jose::SignatureVerifier;
use crate::respond::{Answer, Rejection};
use crate::route::{RequestPath, canonicalize, normalize_host};
use crate::token_endpoint::Fault;
pub use facts::{CacheUse, Decision, Facts, Stage, TokenRequestFacts, token_digest};
pub use forward::{Forward, HeaderEdits};
pub use record::Record;
pub use request::Request;
use trace::StepOutcome;
pub use trace::{NoTrace, Trace, TraceSink};

/// What the host has that few requests need.
pub trait Host {
    /// A variable of the VM's environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// The address of the connection's peer; None where it is not known for sure.
    fn peer_address(&self) -> Option<IpAddr>;
    /// What the workers of the proxy share; None where they share nothing.
    fn shared(&self) -> Option<&dyn SharedStore>;
}

/// A host that has none of it.
pub struct NoHost;

impl Host for NoHost {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn peer_address(&self) -> Option<IpAddr> {
        None
    }

    fn shared(&self) -> Option<&dyn SharedStore> {
        None
    }
}

/// Everything from outside that a decision depends on. It is all passed in; the exchange fetches nothing.
pub struct Surroundings<'s> {
    /// Checks signatures.
    pub verifier: &'s dyn SignatureVerifier,
    /// SHA-256 of the client's certificate on this connection (RFC 8705), looked up only for bound tokens.
    pub client_certificate: &'s dyn Fn() -> Option<[u8; 32]>,
    /// What else the host has.
    pub host: &'s dyn Host,
    /// Time since the Unix epoch.
    pub now: Duration,
    /// The request, should it have to wait.
    pub waiter: Waiter,
    /// Whether a log line can be written now. If not, the token's digest is not computed.
    pub can_log: bool,
    /// Receives the calls to issuers that this request needs.
    pub calls: &'s mut Vec<IssuerCall>,
}

/// A request that is being decided, with the policy that it began under.
pub struct Exchange {
    active: Rc<ActivePolicy>,
    delivered: Option<IntrospectionOutcome>,
    body: Option<Result<Vec<u8>, Fault>>,
    waits: u8,
}

/// How often one request may wait: for keys, for keys again after a rotation, for introspection.
const MAX_WAITS: u8 = 4;

/// What is to be done with a request now.
#[derive(Debug)]
pub enum Step {
    /// Let it pass.
    Forward(Forward),
    /// Answer it.
    Reject(Box<Rejection>, Facts),
    /// Keep it until an issuer has answered.
    Await,
    /// Keep it, headers and all, until its body is complete and handed in by [`Exchange::deliver_body`].
    AwaitBody,
    /// Answer it with what anybody may know.
    Tell(Box<Answer>, Facts),
    /// Answer it as an authorization server would (RFC 6749 section 5.2).
    RejectTokenRequest(Box<Fault>, Facts),
}

impl Exchange {
    /// A request that begins under `active`.
    pub fn new(active: Rc<ActivePolicy>) -> Self {
        Self { active, delivered: None, body: None, waits: 0 }
    }

    /// The policy that the request began with.
    pub fn active(&self) -> &Rc<ActivePolicy> {
        &self.active
    }

    /// Delivers the introspection result that the request waited for. Keys need no delivery: they are in the
    /// policy's state, where the next walk looks for them.
    pub fn deliver(&mut self, outcome: Option<IntrospectionOutcome>) {
        if outcome.is_some() {
            self.delivered = outcome;
        }
    }

    /// Delivers the body that [`Step::AwaitBody`] asked for, or why there is none to inspect.
    pub fn deliver_body(&mut self, body: Result<Vec<u8>, Fault>) {
        self.body = Some(body);
    }

    /// Decides the request, or says what it has to wait for.
    pub fn advance(&mut self, request: &Request<'_>, surroundings: &mut Surroundings<'_>) -> Step {
        self.advance_traced(request, surroundings, &mut NoTrace)
    }

    /// The same, with an account of what each step found: a [`trace::Trace`] that goes with this exchange.
    pub fn advance_traced(
        &mut self,
        request: &Request<'_>,
        surroundings: &mut Surroundings<'_>,
        trace: &mut impl TraceSink,
    ) -> Step {
        let mut facts = Facts::refused(None);
        trace.record(Trace::start_over);
        let active = Rc::clone(&self.active);
        let mut walk = Walk {
            request,
            active: &active,
            surroundings,
            facts: &mut facts,
            delivered: self.delivered.as_ref(),
            body: self.body.as_ref(),
            replaced_body: None,
            may_wait: self.waits < MAX_WAITS,
            came_by_dpop: false,
            proof: None,
            next_nonce: None,
            trace,
        };
        let outcome = walk.walk();
        let body = walk.replaced_body.take();
        let came_by_dpop = walk.came_by_dpop;
        let next_nonce = walk.next_nonce.take();
        let unfounded = if outcome.is_ok() { walk.unfounded_certificates() } else { Vec::new() };
        trace.record(|trace| match &outcome {
            Ok(_) => {
                trace.leave(facts.stage, StepOutcome::Passed);
                trace.leave(Stage::Forward, StepOutcome::Passed);
            }
            Err(Halt::Reject(_) | Halt::RejectTokenRequest(_)) => {
                trace.leave(facts.stage, StepOutcome::Refused);
            }
            Err(Halt::Tell(_)) => trace.leave(facts.stage, StepOutcome::Passed),
            Err(Halt::Await | Halt::AwaitBody) => {}
        });
        match outcome {
            Ok(credential) => Step::Forward(Forward { facts, body, credential, unfounded, next_nonce }),
            Err(Halt::AwaitBody) => Step::AwaitBody,
            Err(Halt::Tell(answer)) => {
                facts.decision = Decision::Allow;
                Step::Tell(answer, facts)
            }
            Err(Halt::RejectTokenRequest(fault)) => {
                facts.decision = Decision::Deny;
                facts.token_request.get_or_insert_default().fault = Some(fault.clone());
                Step::RejectTokenRequest(Box::new(fault), facts)
            }
            Err(Halt::Await) => {
                self.waits += 1;
                Step::Await
            }
            Err(Halt::Reject(mut rejection)) => {
                facts.decision = Decision::Deny;
                facts.reason = Some(rejection.reason);
                if came_by_dpop {
                    rejection.challenge.get_or_insert_default().is_dpop = true;
                }
                if let Some(metadata) = &active.policy.metadata {
                    let host = normalize_host(request.authority);
                    let path = canonicalize(request.path);
                    let path = path.as_ref().map_or("", RequestPath::path);
                    if let Some(address) = metadata.address(host.as_deref(), path, &active.policy) {
                        let details = rejection.challenge.get_or_insert_default();
                        details.resource_metadata = Some(address.into());
                    }
                }
                Step::Reject(Box::new(rejection), facts)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_host_has_no_variables_no_peer_and_nothing_shared() {
        assert_eq!(NoHost.variable("HOME"), None);
        assert_eq!(NoHost.peer_address(), None);
        assert!(NoHost.shared().is_none());
    }
}
