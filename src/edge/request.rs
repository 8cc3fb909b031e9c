//! One request in the host: its headers are read once, and what the exchange says is done once.

use std::rc::Rc;

use super::host::{self, RequestHeaders};
use super::signature::HostVerifier;
use super::{telemetry, with_vm};
use crate::exchange::{
    Errand, Exchange, HeaderEdits, InForce, Request, Step, Surroundings, Verdict, WaiterId,
};
use crate::respond::{Answer, Rejection};

/// The context that the host makes for each request.
pub struct RequestContext {
    id: u32,
    root: u32,
    queue: Option<u32>,
    in_force: Option<Rc<InForce>>,
}

/// A request that waits for an issuer.
pub struct Paused {
    exchange: Exchange,
    headers: RequestHeaders,
    root: u32,
    queue: Option<u32>,
}

/// What became of a request.
pub enum Outcome {
    /// It goes on to the upstream.
    Passes,
    /// It is over.
    Answered,
    /// It waits for an issuer.
    Waits,
}

impl RequestContext {
    /// A request that begins under `in_force`.
    pub fn new(id: u32, root: u32, queue: Option<u32>, in_force: Option<Rc<InForce>>) -> Self {
        Self { id, root, queue, in_force }
    }

    /// Decides the request, or leaves it waiting.
    pub fn begin(self) -> Outcome {
        // Without a configuration or headers there is nothing to decide with, and nothing passes.
        let (Some(in_force), Some(headers)) = (self.in_force, RequestHeaders::read()) else {
            host::send_local_response(500, &[], b"", -1);
            return Outcome::Answered;
        };
        let paused =
            Paused { exchange: Exchange::new(in_force), headers, root: self.root, queue: self.queue };
        advance(self.id, paused)
    }
}

/// Forgets a request that is over, or whose client went away while it waited.
pub fn forget(id: u32) {
    if let Some(paused) = with_vm(|vm| vm.paused.remove(&id)) {
        paused.exchange.in_force().leave(WaiterId(id));
    }
}

/// Resumes requests whose answer has come. The effective context is `root` again afterwards.
pub fn wake(root: u32, woken: Vec<(WaiterId, Option<Verdict>)>) {
    if woken.is_empty() {
        return;
    }
    for (WaiterId(id), verdict) in woken {
        let Some(mut paused) = with_vm(|vm| vm.paused.remove(&id)) else { continue };
        if !host::set_effective_context(id) {
            continue;
        }
        paused.exchange.deliver(verdict);
        match advance(id, paused) {
            Outcome::Passes => {
                host::continue_request();
            }
            Outcome::Answered | Outcome::Waits => {}
        }
    }
    host::set_effective_context(root);
}

/// Lets the exchange decide and does what it says, in the effective context.
fn advance(id: u32, mut paused: Paused) -> Outcome {
    let mut errands = Vec::new();
    let Paused { exchange, headers, root, queue } = &mut paused;
    let request = Request::new(headers);
    let mut surroundings = Surroundings {
        verifier: &HostVerifier,
        client_certificate: &client_certificate,
        now: host::now(),
        waiter: WaiterId(id),
        errands: &mut errands,
    };
    let step = exchange.advance(&request, &mut surroundings);
    let now = surroundings.now;
    let in_force = Rc::clone(exchange.in_force());
    let policy = &in_force.policy;
    leave_errands(*root, *queue, &in_force, errands);
    match step {
        Step::Forward(forward) => {
            telemetry::record(&forward.facts, &in_force, now);
            let mut edits = HostEdits { all_done: true };
            forward.edit(&request, policy, &mut edits);
            if edits.all_done {
                return Outcome::Passes;
            }
            // What the upstream must not see could not be taken out.
            host::send_local_response(500, &[], b"", -1);
            Outcome::Answered
        }
        Step::Reject(rejection, facts) => {
            telemetry::record(&facts, &in_force, now);
            answer(&rejection, &request, policy);
            Outcome::Answered
        }
        Step::Await => {
            with_vm(|vm| vm.paused.insert(id, paused));
            Outcome::Waits
        }
    }
}

/// Leaves errands for the root context, and wakes it. A request that is answered may leave one too.
fn leave_errands(root: u32, queue: Option<u32>, in_force: &Rc<InForce>, errands: Vec<Errand>) {
    if errands.is_empty() {
        return;
    }
    with_vm(|vm| {
        let left = vm.errands.entry(root).or_default();
        left.extend(errands.into_iter().map(|errand| (Rc::clone(in_force), errand)));
    });
    if let Some(queue) = queue {
        // Where it fails the next tick runs the errand.
        host::enqueue(queue);
    }
}

fn answer(rejection: &Rejection, request: &Request<'_>, policy: &crate::config::policy::Policy) {
    let mut answer = Answer::new(rejection, &policy.realm, policy.strip_failure_response);
    if request.is_grpc {
        // The host makes a gRPC answer of it: the body becomes `grpc-message`, and the content type its own.
        answer.headers.retain(|(name, _)| *name != "content-type");
        let message = if policy.strip_failure_response {
            String::new()
        } else {
            format!("{}: {}", rejection.reason, rejection.description())
        };
        host::send_local_response(answer.status, &answer.headers, message.as_bytes(), answer.grpc_status);
    } else {
        host::send_local_response(answer.status, &answer.headers, answer.body.as_bytes(), -1);
    }
}

/// SHA-256 of the certificate that the client showed on this connection.
fn client_certificate() -> Option<[u8; 32]> {
    let hex = host::property(&["connection", "sha256_peer_certificate_digest"])?;
    let mut digest = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

struct HostEdits {
    all_done: bool,
}

impl HeaderEdits for HostEdits {
    fn remove(&mut self, name: &[u8]) {
        self.all_done &= host::remove_request_header(name);
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        self.all_done &= host::set_request_header(name.as_bytes(), value);
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        self.all_done &= host::add_request_header(name.as_bytes(), value);
    }
}
