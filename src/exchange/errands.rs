//! Running the errands of one worker: what another worker has learnt is taken, what it is learning is waited for, and
//! only what is left becomes a call to an issuer.
//!
//! No IO here either: calls, time and shared data are the [`Outside`]'s.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::shared::{self, Answered, Ending, Fetch, Plan, SharedStore};
use super::worker::MAX_JWKS_BYTES;
use super::{Errand, InForce, Verdict, WaiterId};
use crate::authenticate::SkippedKey;
use crate::authenticate::introspection::{self, HttpCall, IssuerFault};
use crate::authenticate::provider::{Introspection, KeysSource, Provider, ProviderId};

/// Who is woken, with what they waited for.
pub type Woken = Vec<(WaiterId, Option<Verdict>)>;

/// What errands are run with.
pub trait Outside {
    /// Since the epoch.
    fn now(&self) -> Duration;
    /// A random number.
    fn jitter(&self) -> u8;
    /// A variable of the VM's environment.
    fn environment(&self, name: &str) -> Option<String>;
    /// What the workers of the proxy share; None where they share nothing.
    fn shared(&self) -> Option<&dyn SharedStore>;
    /// Makes a call: its number, by which the answer comes; None where it cannot be made.
    fn call(&self, cluster: &str, call: &HttpCall, timeout: Duration) -> Option<u32>;
    /// Writes a line that operators should read.
    fn warn(&self, line: &str);
    /// Takes note of what happened, for statistics.
    fn note(&self, event: Event<'_>);
}

/// What is counted of errands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'p> {
    /// Another worker had the answer already.
    AnswerShared,
    /// Keys came, by a fetch or from another worker.
    KeysAtHand {
        /// The provider's name.
        provider: &'p str,
        /// Until when they are fresh, since the epoch.
        fresh_until: Duration,
    },
    /// A call ended.
    CallEnded {
        /// For what.
        what: What,
        /// The provider's name.
        provider: &'p str,
        /// Whether its answer was of use.
        succeeded: bool,
        /// How long it took; None where it could not even be made.
        took: Option<Duration>,
    },
}

/// The errands under way in one worker.
#[derive(Default)]
pub struct Errands {
    in_flight: HashMap<u32, InFlight>,
    /// Errands that another worker is running.
    parked: Vec<(Rc<InForce>, Errand)>,
    /// When faults of a provider were reported last, and how many were not since.
    reported: HashMap<([u8; 32], What), (Duration, u64)>,
}

/// A call that is not answered yet.
struct InFlight {
    in_force: Rc<InForce>,
    errand: Errand,
    begun: Duration,
}

/// What is asked of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// Its keys.
    Keys,
    /// What a token is.
    Introspection,
}

/// How often the faults of one provider are reported at most.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

impl Errands {
    /// Makes ready what is shared, so that of workers that begin at once one fetches.
    pub fn prepare(in_force: &InForce, outside: &dyn Outside) {
        let Some(store) = outside.shared() else { return };
        for (_, provider) in in_force.providers() {
            match &provider.keys {
                KeysSource::Remote(_) => shared::prepare(store, &shared::keys_name(&provider.digest, None)),
                KeysSource::Local(_) | KeysSource::None => {}
            }
        }
    }

    /// Whether something is awaited that another worker fetches.
    pub fn is_waiting_for_others(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Runs an errand. Where that cannot be done, who waits is told at once.
    pub fn run(&mut self, in_force: Rc<InForce>, errand: Errand, outside: &dyn Outside) -> Woken {
        match consult(&in_force, &errand, outside) {
            Consulted::Answered(woken) => {
                outside.note(Event::AnswerShared);
                return woken;
            }
            Consulted::Parked => {
                self.parked.push((in_force, errand));
                return Woken::new();
            }
            Consulted::MustCall => {}
        }
        match dispatch(&in_force, &errand, outside) {
            Ok(number) => {
                self.in_flight.insert(number, InFlight { in_force, errand, begun: outside.now() });
                Woken::new()
            }
            Err(fault) => self.conclude(&in_force, &errand, Err(fault), None, outside),
        }
    }

    /// How large the body of the answer to a call may be, in bytes.
    pub fn body_limit(&self, number: u32) -> usize {
        let Some(InFlight { in_force, errand, .. }) = self.in_flight.get(&number) else { return 0 };
        match errand {
            Errand::FetchKeys { .. } => MAX_JWKS_BYTES,
            Errand::Introspect { provider, .. } => introspection_of(in_force, *provider)
                .map_or(0, |introspection| introspection.max_response_bytes),
        }
    }

    /// Takes the answer to a call: the status and body, or why there is none.
    pub fn answered(
        &mut self,
        number: u32,
        reply: Result<(u16, Vec<u8>), IssuerFault>,
        outside: &dyn Outside,
    ) -> Woken {
        let Some(InFlight { in_force, errand, begun }) = self.in_flight.remove(&number) else {
            return Woken::new();
        };
        let took = outside.now().saturating_sub(begun);
        self.conclude(&in_force, &errand, reply, Some(took), outside)
    }

    /// Does what the clock asks for.
    pub fn tick(&mut self, in_force: &Rc<InForce>, outside: &dyn Outside) -> Woken {
        let (errands, mut woken) = in_force.tick(outside.jitter(), outside.now());
        let parked = std::mem::take(&mut self.parked);
        // What was given up meanwhile is wanted no more.
        let wanted = parked.into_iter().filter(|(in_force, errand)| match errand {
            Errand::FetchKeys { provider, tenant, begun, .. } => {
                in_force.awaits_keys(*provider, tenant.as_deref(), *begun)
            }
            Errand::Introspect { .. } => true,
        });
        let due = errands.into_iter().map(|errand| (Rc::clone(in_force), errand));
        for (in_force, errand) in wanted.chain(due).collect::<Vec<_>>() {
            woken.extend(self.run(in_force, errand, outside));
        }
        woken
    }

    /// Gives up what is under way, for another to run: the answers to these calls will not come.
    pub fn hand_over(self, outside: &dyn Outside) -> Vec<(Rc<InForce>, Errand)> {
        let called = self.in_flight.into_values().map(|call| (call.in_force, call.errand));
        let called: Vec<_> = called.collect();
        for (in_force, errand) in &called {
            if let (Errand::FetchKeys { provider, tenant, .. }, Some(store)) = (errand, outside.shared()) {
                if let Some(provider) = in_force.policy.provider(*provider) {
                    let name = shared::keys_name(&provider.digest, tenant.as_deref());
                    shared::release(store, &name, outside.now());
                }
            }
        }
        called.into_iter().chain(self.parked).collect()
    }

    /// Hands an answer to the state of its provider, and tells the other workers.
    fn conclude(
        &mut self,
        in_force: &InForce,
        errand: &Errand,
        reply: Result<(u16, Vec<u8>), IssuerFault>,
        took: Option<Duration>,
        outside: &dyn Outside,
    ) -> Woken {
        let now = outside.now();
        let reply = reply.as_ref().map(|(status, body)| (*status, body.as_slice())).map_err(|fault| *fault);
        match errand {
            Errand::FetchKeys { provider: id, tenant, cause, .. } => {
                let Some(provider) = in_force.policy.provider(*id) else { return Woken::new() };
                let tenant = tenant.as_deref();
                let outcome = in_force.keys_reply(*id, tenant, reply, outside.jitter(), now);
                let retry_at = outcome.retry_at;
                let ending = match (outcome.fault, reply) {
                    (None, Ok((_, body))) => Ending::Keys(body),
                    (Some(IssuerFault::NoUsableKey), _) => Ending::Withdrawn { retry_at },
                    (_, _) => Ending::Failed { retry_at },
                };
                if let Some(store) = outside.shared() {
                    shared::publish(store, &shared::keys_name(&provider.digest, tenant), *cause, ending, now);
                }
                if outcome.fault.is_none() {
                    note_keys(provider, now, outside);
                }
                report_skipped(provider, &outcome.skipped, outside);
                self.report(provider, What::Keys, outcome.fault, took, outside);
                all(outcome.waiting, None)
            }
            Errand::Introspect { provider: id, token } => {
                let (waiting, verdict) = in_force.introspection_reply(*id, token, reply, now);
                let (fault, answered) = match &verdict {
                    Verdict::Fault(fault) => (Some(*fault), None),
                    Verdict::Active(_) => (None, Some(Answered::Good)),
                    Verdict::Refused { .. } => (None, Some(Answered::Bad)),
                };
                if let Some(provider) = in_force.policy.provider(*id) {
                    if let (Some(answered), Ok((_, body)), Some(store)) = (answered, reply, outside.shared())
                    {
                        shared::publish_answer(store, &provider.digest, token, body, answered, now);
                    }
                    self.report(provider, What::Introspection, fault, took, outside);
                }
                all(waiting, Some(verdict))
            }
        }
    }

    /// Counts a call, and says why its answer was of no use. Whoever sends tokens decides how often that is, not how often it is
    /// said.
    fn report(
        &mut self,
        provider: &Provider,
        what: What,
        fault: Option<IssuerFault>,
        took: Option<Duration>,
        outside: &dyn Outside,
    ) {
        let succeeded = fault.is_none();
        outside.note(Event::CallEnded { what, provider: &provider.name, succeeded, took });
        let Some(fault) = fault else { return };
        let now = outside.now();
        let last = self.reported.entry((provider.digest, what)).or_default();
        if now < last.0.saturating_add(REPORT_INTERVAL) {
            last.1 += 1;
            return;
        }
        let (_, unsaid) = std::mem::replace(last, (now, 0));
        let what = match what {
            What::Keys => "keys",
            What::Introspection => "introspection",
        };
        let more = if unsaid > 0 { format!("; {unsaid} more before it") } else { String::new() };
        outside.warn(&format!("{what} of provider `{}` failed: {fault}{more}", provider.name));
    }
}

fn note_keys(provider: &Provider, fetched_at: Duration, outside: &dyn Outside) {
    let KeysSource::Remote(remote) = &provider.keys else { return };
    let fresh_until = fetched_at.saturating_add(remote.cache_duration);
    outside.note(Event::KeysAtHand { provider: &provider.name, fresh_until });
}

fn report_skipped(provider: &Provider, skipped: &[SkippedKey], outside: &dyn Outside) {
    /// An issuer's document decides how many there are.
    const MOST_LINES: usize = 10;
    for key in skipped.iter().take(MOST_LINES) {
        outside.warn(&format!("a key of provider `{}` is not used: {key}", provider.name));
    }
    if let Some(more) = skipped.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
        outside.warn(&format!("{more} more keys of provider `{}` are not used", provider.name));
    }
}

/// What the other workers have to say to an errand.
enum Consulted {
    /// One of them had the answer.
    Answered(Woken),
    /// One of them is getting it.
    Parked,
    /// Nothing.
    MustCall,
}

fn consult(in_force: &InForce, errand: &Errand, outside: &dyn Outside) -> Consulted {
    let Some(store) = outside.shared() else { return Consulted::MustCall };
    match errand {
        Errand::FetchKeys { .. } => consult_about_keys(in_force, errand, store, outside),
        Errand::Introspect { provider, token } => {
            let Some(rules) = in_force.policy.provider(*provider) else { return Consulted::MustCall };
            let adopted =
                shared::shared_answer(store, &rules.digest, token).and_then(|(body, received_at)| {
                    in_force.adopt_answer(*provider, token, &body, received_at, outside.now())
                });
            match adopted {
                Some((waiting, verdict)) => Consulted::Answered(all(waiting, Some(verdict))),
                None => Consulted::MustCall,
            }
        }
    }
}

fn consult_about_keys(
    in_force: &InForce,
    errand: &Errand,
    store: &dyn SharedStore,
    outside: &dyn Outside,
) -> Consulted {
    let Errand::FetchKeys { provider, tenant, cause, begun } = errand else { return Consulted::MustCall };
    let Some(rules) = in_force.policy.provider(*provider) else { return Consulted::MustCall };
    let KeysSource::Remote(remote) = &rules.keys else { return Consulted::MustCall };
    let (tenant, now) = (tenant.as_deref(), outside.now());
    let fetch = Fetch {
        cause: *cause,
        begun: *begun,
        own_fetched_at: in_force.keys_fetched_at(*provider, tenant),
        timeout: remote.timeout,
        cache_duration: remote.cache_duration,
    };
    match shared::plan(store, &shared::keys_name(&rules.digest, tenant), &fetch, now) {
        Plan::Adopt(record) => match in_force.adopt_keys(*provider, tenant, &record, outside.jitter()) {
            Some(waiting) => {
                note_keys(rules, record.fetched_at, outside);
                Consulted::Answered(all(waiting, None))
            }
            None => Consulted::MustCall,
        },
        Plan::Wait => Consulted::Parked,
        Plan::Take(told) => {
            Consulted::Answered(all(in_force.end_fetch_as_told(*provider, tenant, told, now), None))
        }
        Plan::Fetch => Consulted::MustCall,
    }
}

fn dispatch(in_force: &InForce, errand: &Errand, outside: &dyn Outside) -> Result<u32, IssuerFault> {
    let called = match errand {
        Errand::FetchKeys { provider, tenant, .. } => {
            let keys = in_force.policy.provider(*provider).map(|provider| &provider.keys);
            let Some(KeysSource::Remote(remote)) = keys else { return Err(IssuerFault::Unreachable) };
            outside.call(&remote.cluster, &remote.call(tenant.as_deref()), remote.timeout)
        }
        Errand::Introspect { provider, token } => {
            let rules = introspection_of(in_force, *provider).ok_or(IssuerFault::Unreachable)?;
            let call = introspection::request(rules, token, &|name| outside.environment(name))?;
            outside.call(&rules.cluster, &call, rules.timeout)
        }
    };
    called.ok_or(IssuerFault::Unreachable)
}

fn introspection_of(in_force: &InForce, provider: ProviderId) -> Option<&Introspection> {
    in_force.policy.provider(provider)?.introspection.as_ref()
}

fn all(waiting: Vec<WaiterId>, verdict: Option<Verdict>) -> Woken {
    waiting.into_iter().map(|waiter| (waiter, verdict.clone())).collect()
}
