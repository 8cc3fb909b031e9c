//! Running the calls of one worker: what another worker has learnt is taken, what it is learning is waited for, and
//! only what is left becomes a call to an issuer.
//!
//! No IO here either: calls, time and shared data are the [`Environment`]'s.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::discovery::{self, Metadata, Next};
use super::fault::IssuerFault;
use super::http_call::HttpCall;
use super::introspection;
use super::keys::{GRACE, MAX_FETCHES, MAX_JWKS_BYTES};
use super::peers::{self, Answered, Fetch, FetchDecision, FetchOutcome, News, SharedStore};
use super::provider::{Introspection, Provider, ProviderKeys};
use super::{ActivePolicy, IntrospectionOutcome, IssuerCall, Question, WaiterId};
use crate::ids::ProviderId;
use crate::jose::{SignatureVerifier, SkippedKey};

/// Who is resumed, with what they waited for.
pub type Resumed = Vec<(WaiterId, Option<IntrospectionOutcome>)>;

/// What calls are run with.
pub trait Environment {
    /// Since the epoch.
    fn now(&self) -> Duration;
    /// A random number.
    fn jitter(&self) -> u8;
    /// A variable of the VM's environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// What the workers of the proxy share; None where they share nothing.
    fn shared(&self) -> Option<&dyn SharedStore>;
    /// Makes a call: its number, by which the answer comes, or why it cannot be made.
    fn call(&self, cluster: &str, call: &HttpCall, timeout: Duration) -> Result<u32, IssuerFault>;
    /// Checks signatures.
    fn verifier(&self) -> &dyn SignatureVerifier;
    /// Writes a line that operators should read.
    fn warn(&self, line: &str);
    /// Takes note of what happened, for statistics.
    fn note(&self, event: Event<'_>);
}

/// What is counted of calls.
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
        what: CallKind,
        /// The provider's name.
        provider: &'p str,
        /// Whether its answer was of use.
        succeeded: bool,
        /// How long it took; None where it could not even be made.
        took: Option<Duration>,
    },
}

/// The calls under way in one worker.
#[derive(Default)]
pub struct IssuerCalls {
    in_flight: HashMap<u32, InFlight>,
    /// Calls that another worker is making.
    parked: Vec<(Rc<ActivePolicy>, IssuerCall)>,
    /// Fetches of keys that wait for their turn: of one provider, [`MAX_FETCHES`] are in flight at most.
    queued: VecDeque<(Rc<ActivePolicy>, IssuerCall)>,
    /// When faults of a provider were reported last, and how many were not since.
    reported: HashMap<([u8; 32], CallKind), (Duration, u64)>,
    /// The last announcement about each provider that this worker looked into.
    heard: HashMap<[u8; 32], u32>,
}

/// A call that is not answered yet.
struct InFlight {
    active: Rc<ActivePolicy>,
    call: IssuerCall,
    begun: Duration,
    /// Of a fetch of keys: what the issuer's metadata said, where that was read before.
    metadata: Option<Metadata>,
}

/// What is asked of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// Its keys.
    Keys,
    /// What a token is.
    Introspection,
}

/// How often the faults of one provider are reported at most.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

impl IssuerCalls {
    /// Makes ready what is shared, so that of workers that begin at once one fetches.
    pub fn prepare(active: &ActivePolicy, environment: &dyn Environment) {
        let Some(store) = environment.shared() else { return };
        for (_, provider) in active.policy.providers() {
            match &provider.keys {
                ProviderKeys::Remote(_) => peers::prepare(store, &peers::keys_name(&provider.digest, None)),
                ProviderKeys::Local(_) | ProviderKeys::None => {}
            }
        }
    }

    /// Whether something is awaited that another worker fetches.
    pub fn is_waiting_for_others(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Runs a call. Where that cannot be done, who waits is told at once.
    pub fn run(
        &mut self,
        active: Rc<ActivePolicy>,
        call: IssuerCall,
        environment: &dyn Environment,
    ) -> Resumed {
        // Before the others are asked: who fetches nothing must not keep them from it.
        if !self.has_room(&active, &call, environment.now()) {
            self.queued.push_back((active, call));
            return Resumed::new();
        }
        match consult(&active, &call, environment) {
            Consulted::Answered(resumed) => {
                environment.note(Event::AnswerShared);
                return resumed;
            }
            Consulted::Parked => {
                self.parked.push((active, call));
                return Resumed::new();
            }
            Consulted::MustCall => {}
        }
        match dispatch(&active, &call, environment) {
            Ok(number) => {
                let begun = environment.now();
                self.in_flight.insert(number, InFlight { active, call, begun, metadata: None });
                Resumed::new()
            }
            Err(fault) => self.conclude(&active, &call, Err(fault), None, environment),
        }
    }

    /// How large the body of the answer to a call may be, in bytes.
    pub fn body_limit(&self, number: u32) -> usize {
        let Some(InFlight { active, call, .. }) = self.in_flight.get(&number) else { return 0 };
        match call {
            IssuerCall::FetchKeys { .. } => MAX_JWKS_BYTES,
            IssuerCall::Introspect { provider, .. } => introspection_of(active, *provider)
                .map_or(0, |introspection| introspection.max_response_bytes),
        }
    }

    /// Takes the answer to a call: the status and body, or why there is none.
    pub fn answered(
        &mut self,
        number: u32,
        reply: Result<(u16, Vec<u8>), IssuerFault>,
        environment: &dyn Environment,
    ) -> Resumed {
        let Some(InFlight { active, call, begun, metadata }) = self.in_flight.remove(&number) else {
            return Resumed::new();
        };
        let reply = match after(&active, &call, metadata, reply) {
            Next::Done(reply) => reply,
            Next::Keys { cluster, call: keys, metadata } => {
                match environment.call(&cluster, &keys, keys_timeout(&active, &call)) {
                    Ok(number) => {
                        let metadata = Some(metadata);
                        self.in_flight.insert(number, InFlight { active, call, begun, metadata });
                        return Resumed::new();
                    }
                    Err(fault) => Err(fault),
                }
            }
        };
        let took = environment.now().saturating_sub(begun);
        let mut resumed = self.conclude(&active, &call, reply, Some(took), environment);
        resumed.extend(self.run_queued(environment));
        resumed
    }

    /// Whether a call may be made now. An answer that is overdue holds no place.
    fn has_room(&self, active: &ActivePolicy, call: &IssuerCall, now: Duration) -> bool {
        let IssuerCall::FetchKeys { provider, .. } = call else { return true };
        let Some(wanted) = active.policy.provider(*provider) else { return true };
        let is_of_provider = |flight: &&InFlight| match &flight.call {
            IssuerCall::FetchKeys { provider, .. } => {
                flight.active.policy.provider(*provider).is_some_and(|provider| {
                    provider.digest == wanted.digest && now < fetch_deadline(provider, flight.begun)
                })
            }
            IssuerCall::Introspect { .. } => false,
        };
        self.in_flight.values().filter(is_of_provider).count() < MAX_FETCHES
    }

    /// Runs the fetches whose turn it is, in the order in which they came.
    fn run_queued(&mut self, environment: &dyn Environment) -> Resumed {
        let mut resumed = Resumed::new();
        for (active, call) in std::mem::take(&mut self.queued) {
            if is_awaited(&active, &call) {
                resumed.extend(self.run(active, call, environment));
            } else if let IssuerCall::FetchKeys { provider, tenant, begun, .. } = &call {
                let provider = active.policy.provider(*provider);
                let late = provider.filter(|provider| environment.now() >= fetch_deadline(provider, *begun));
                if let Some(provider) = late {
                    let fault = Some(IssuerFault::NoTurn);
                    self.report(provider, CallKind::Keys, tenant.as_deref(), fault, None, environment);
                }
            }
        }
        resumed
    }

    /// Does what the clock asks for.
    pub fn tick(&mut self, active: &Rc<ActivePolicy>, environment: &dyn Environment) -> Resumed {
        let mut resumed = self.learn(active, environment);
        let (calls, given_up) = active.tick(environment.jitter(), environment.now());
        resumed.extend(given_up);
        let parked = std::mem::take(&mut self.parked);
        // What was given up meanwhile is wanted no more.
        let wanted = parked.into_iter().filter(|(active, call)| is_awaited(active, call));
        let due = calls.into_iter().map(|call| (Rc::clone(active), call));
        for (active, call) in wanted.chain(due).collect::<Vec<_>>() {
            resumed.extend(self.run(active, call, environment));
        }
        resumed.extend(self.run_queued(environment));
        resumed
    }

    /// Takes what other workers have learnt of keys, a withdrawal above all, without a call and before any request asks.
    fn learn(&mut self, active: &ActivePolicy, environment: &dyn Environment) -> Resumed {
        let mut resumed = Resumed::new();
        let Some(store) = environment.shared() else { return resumed };
        for (id, provider) in active.policy.providers() {
            let ProviderKeys::Remote(remote) = &provider.keys else { continue };
            let announced = peers::last_announcement(store, &provider.digest);
            if announced.is_none() || announced == self.heard.get(&provider.digest).copied() {
                continue;
            }
            self.heard.extend(announced.map(|number| (provider.digest, number)));
            for (tenant, fetched_at, has_keys) in active.key_sets(id) {
                let (tenant, now) = (tenant.as_deref(), environment.now());
                let name = peers::keys_name(&provider.digest, tenant);
                match peers::news(store, &name, fetched_at, remote.cache_duration, now) {
                    Some(News::Keys(record)) => {
                        let waiting = active.adopt_keys(id, tenant, &record, environment.jitter());
                        if let Some(waiting) = waiting {
                            note_keys(provider, record.fetched_at, environment);
                            resumed.extend(all(waiting, None));
                        }
                    }
                    Some(News::Withdrawn(told)) if has_keys => {
                        resumed.extend(all(active.end_fetch_as_told(id, tenant, told, now), None));
                    }
                    Some(News::Withdrawn(_)) | None => {}
                }
            }
        }
        resumed
    }

    /// Gives up what is under way, for another to run: the answers to these calls will not come.
    pub fn hand_over(self, environment: &dyn Environment) -> Vec<(Rc<ActivePolicy>, IssuerCall)> {
        let called = self.in_flight.into_values().map(|call| (call.active, call.call));
        let called: Vec<_> = called.collect();
        for (active, call) in &called {
            if let (IssuerCall::FetchKeys { provider, tenant, .. }, Some(store)) =
                (call, environment.shared())
            {
                if let Some(provider) = active.policy.provider(*provider) {
                    let name = peers::keys_name(&provider.digest, tenant.as_deref());
                    peers::release(store, &name, environment.now());
                }
            }
        }
        called.into_iter().chain(self.parked).chain(self.queued).collect()
    }

    /// Hands an answer to the state of its provider, and tells the other workers.
    fn conclude(
        &mut self,
        active: &ActivePolicy,
        call: &IssuerCall,
        reply: Result<(u16, Vec<u8>), IssuerFault>,
        took: Option<Duration>,
        environment: &dyn Environment,
    ) -> Resumed {
        let now = environment.now();
        let reply = reply.as_ref().map(|(status, body)| (*status, body.as_slice())).map_err(Clone::clone);
        match call {
            IssuerCall::FetchKeys { provider: id, tenant, cause, .. } => {
                let Some(provider) = active.policy.provider(*id) else { return Resumed::new() };
                let tenant = tenant.as_deref();
                let taken = active.keys_reply(*id, tenant, reply.clone(), environment.jitter(), now);
                let retry_at = taken.retry_at;
                let outcome = match (&taken.fault, reply) {
                    (None, Ok((_, body))) => FetchOutcome::Keys(body),
                    (Some(IssuerFault::NoUsableKey), _) => FetchOutcome::Withdrawn { retry_at },
                    (_, _) => FetchOutcome::Failed { retry_at },
                };
                if let Some(store) = environment.shared() {
                    peers::publish(store, &peers::keys_name(&provider.digest, tenant), *cause, outcome, now);
                    match outcome {
                        FetchOutcome::Keys(_) | FetchOutcome::Withdrawn { .. } => {
                            peers::announce(store, &provider.digest);
                        }
                        FetchOutcome::Failed { .. } => {}
                    }
                }
                if taken.fault.is_none() {
                    note_keys(provider, now, environment);
                }
                report_skipped(provider, &taken.skipped, environment);
                self.report(provider, CallKind::Keys, tenant, taken.fault, took, environment);
                all(taken.waiting, None)
            }
            IssuerCall::Introspect { provider: id, token, tenant } => {
                let question = Question { token, tenant: tenant.as_deref() };
                let opened = active.open_response(*id, question, reply.clone(), environment.verifier(), now);
                let plain = match &opened {
                    Ok((status, body)) => Ok((*status, &**body)),
                    Err(fault) => Err(fault.clone()),
                };
                let (waiting, verdict) = active.introspection_reply(*id, question, plain, now);
                let (fault, answered) = match &verdict {
                    IntrospectionOutcome::Fault(fault) => (Some(fault.clone()), None),
                    IntrospectionOutcome::Active(_) => (None, Some(Answered::Good)),
                    IntrospectionOutcome::Refused { .. } => (None, Some(Answered::Bad)),
                };
                if let Some(provider) = active.policy.provider(*id) {
                    if let (Some(answered), Ok((_, body)), Some(store)) =
                        (answered, reply, environment.shared())
                    {
                        peers::publish_answer(store, &provider.digest, &question.key(), body, answered, now);
                    }
                    let tenant = question.tenant;
                    self.report(provider, CallKind::Introspection, tenant, fault, took, environment);
                }
                all(waiting, Some(verdict))
            }
        }
    }

    /// Counts a call and logs why it failed. Clients control how often calls fail, so the log is rate-limited.
    fn report(
        &mut self,
        provider: &Provider,
        what: CallKind,
        tenant: Option<&str>,
        fault: Option<IssuerFault>,
        took: Option<Duration>,
        environment: &dyn Environment,
    ) {
        let succeeded = fault.is_none();
        environment.note(Event::CallEnded { what, provider: &provider.name, succeeded, took });
        let Some(fault) = fault else { return };
        let now = environment.now();
        let last = self.reported.entry((provider.digest, what)).or_default();
        if now < last.0.saturating_add(REPORT_INTERVAL) {
            last.1 += 1;
            return;
        }
        let (_, unsaid) = std::mem::replace(last, (now, 0));
        let place = place(provider, what, tenant);
        let what = match what {
            CallKind::Keys => "keys",
            CallKind::Introspection => "introspection",
        };
        let more = if unsaid > 0 { format!("; {unsaid} more before it") } else { String::new() };
        environment.warn(&format!("{what} of provider `{}` failed: {fault}{place}{more}", provider.name));
    }
}

/// Where a call leads, for people: the cluster, and the URI without its query.
pub fn place(provider: &Provider, what: CallKind, tenant: Option<&str>) -> String {
    let (cluster, uri) = match (what, &provider.keys, &provider.introspection) {
        (CallKind::Keys, ProviderKeys::Remote(remote), _) => (&remote.cluster, &remote.uri),
        (CallKind::Introspection, _, Some(introspection)) => match &introspection.uri {
            Some(uri) => (&introspection.cluster, uri),
            None => return format!(" (cluster `{}`, where the metadata says)", introspection.cluster),
        },
        (CallKind::Keys, ProviderKeys::Local(_) | ProviderKeys::None, _)
        | (CallKind::Introspection, _, None) => return String::new(),
    };
    format!(" (cluster `{cluster}`, {})", uri.without_query(tenant))
}

/// What comes after the answer to a call: of keys that are discovered, the keys after the metadata.
fn after(
    active: &ActivePolicy,
    call: &IssuerCall,
    metadata: Option<Metadata>,
    reply: Result<(u16, Vec<u8>), IssuerFault>,
) -> Next {
    match call {
        IssuerCall::Introspect { .. } => Next::Done(reply),
        IssuerCall::FetchKeys { provider, tenant, .. } => match active.policy.provider(*provider) {
            Some(provider) => discovery::next(provider, tenant.as_deref(), metadata, reply),
            None => Next::Done(reply),
        },
    }
}

fn keys_timeout(active: &ActivePolicy, call: &IssuerCall) -> Duration {
    let (IssuerCall::FetchKeys { provider, .. } | IssuerCall::Introspect { provider, .. }) = call;
    match active.policy.provider(*provider).map(|provider| &provider.keys) {
        Some(ProviderKeys::Remote(remote)) => remote.call_timeout(),
        Some(ProviderKeys::Local(_) | ProviderKeys::None) | None => Duration::ZERO,
    }
}

/// Whether somebody still waits for what a call brings.
fn is_awaited(active: &ActivePolicy, call: &IssuerCall) -> bool {
    match call {
        IssuerCall::FetchKeys { provider, tenant, begun, .. } => {
            active.awaits_keys(*provider, tenant.as_deref(), *begun)
        }
        IssuerCall::Introspect { .. } => true,
    }
}

/// Until when the answer to a fetch of keys that began at `begun` can come.
fn fetch_deadline(provider: &Provider, begun: Duration) -> Duration {
    match &provider.keys {
        ProviderKeys::Remote(remote) => begun.saturating_add(remote.timeout).saturating_add(GRACE),
        ProviderKeys::Local(_) | ProviderKeys::None => begun,
    }
}

fn note_keys(provider: &Provider, fetched_at: Duration, environment: &dyn Environment) {
    let ProviderKeys::Remote(remote) = &provider.keys else { return };
    let fresh_until = fetched_at.saturating_add(remote.cache_duration);
    environment.note(Event::KeysAtHand { provider: &provider.name, fresh_until });
}

fn report_skipped(provider: &Provider, skipped: &[SkippedKey], environment: &dyn Environment) {
    /// An issuer's document decides how many there are.
    const MOST_LINES: usize = 10;
    for key in skipped.iter().take(MOST_LINES) {
        environment.warn(&format!("a key of provider `{}` is not used: {key}", provider.name));
    }
    if let Some(more) = skipped.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
        environment.warn(&format!("{more} more keys of provider `{}` are not used", provider.name));
    }
}

/// What the other workers have to say to a call.
enum Consulted {
    /// One of them had the answer.
    Answered(Resumed),
    /// One of them is getting it.
    Parked,
    /// Nothing.
    MustCall,
}

fn consult(active: &ActivePolicy, call: &IssuerCall, environment: &dyn Environment) -> Consulted {
    let Some(store) = environment.shared() else { return Consulted::MustCall };
    match call {
        IssuerCall::FetchKeys { .. } => consult_about_keys(active, call, store, environment),
        IssuerCall::Introspect { provider, token, tenant } => {
            let Some(rules) = active.policy.provider(*provider) else { return Consulted::MustCall };
            let question = Question { token, tenant: tenant.as_deref() };
            let shared = peers::shared_answer(store, &rules.digest, &question.key());
            let adopted = shared.and_then(|(body, received_at)| {
                let (verifier, now) = (environment.verifier(), environment.now());
                // What is shared is signed as it came.
                let opened = active.open_response(*provider, question, Ok((200, &body)), verifier, now);
                let (_, plain) = opened.ok()?;
                active.adopt_answer(*provider, question, &plain, received_at, now)
            });
            match adopted {
                Some((waiting, verdict)) => Consulted::Answered(all(waiting, Some(verdict))),
                None => Consulted::MustCall,
            }
        }
    }
}

fn consult_about_keys(
    active: &ActivePolicy,
    call: &IssuerCall,
    store: &dyn SharedStore,
    environment: &dyn Environment,
) -> Consulted {
    let IssuerCall::FetchKeys { provider, tenant, cause, begun } = call else { return Consulted::MustCall };
    let Some(rules) = active.policy.provider(*provider) else { return Consulted::MustCall };
    let ProviderKeys::Remote(remote) = &rules.keys else { return Consulted::MustCall };
    let (tenant, now) = (tenant.as_deref(), environment.now());
    let fetch = Fetch {
        cause: *cause,
        begun: *begun,
        own_fetched_at: active.keys_fetched_at(*provider, tenant),
        timeout: remote.timeout,
        cache_duration: remote.cache_duration,
    };
    match peers::decide(store, &peers::keys_name(&rules.digest, tenant), &fetch, now) {
        FetchDecision::Adopt(record) => {
            match active.adopt_keys(*provider, tenant, &record, environment.jitter()) {
                Some(waiting) => {
                    note_keys(rules, record.fetched_at, environment);
                    Consulted::Answered(all(waiting, None))
                }
                None => Consulted::MustCall,
            }
        }
        FetchDecision::Wait => Consulted::Parked,
        FetchDecision::Take(told) => {
            Consulted::Answered(all(active.end_fetch_as_told(*provider, tenant, told, now), None))
        }
        FetchDecision::Fetch => Consulted::MustCall,
    }
}

fn dispatch(
    active: &ActivePolicy,
    call: &IssuerCall,
    environment: &dyn Environment,
) -> Result<u32, IssuerFault> {
    match call {
        IssuerCall::FetchKeys { provider, tenant, .. } => {
            let keys = active.policy.provider(*provider).map(|provider| &provider.keys);
            let Some(ProviderKeys::Remote(remote)) = keys else { return Err(IssuerFault::Unreachable) };
            environment.call(&remote.cluster, &remote.call(tenant.as_deref()), remote.call_timeout())
        }
        IssuerCall::Introspect { provider, token, tenant } => {
            let rules = introspection_of(active, *provider).ok_or(IssuerFault::Unreachable)?;
            let question = Question { token, tenant: tenant.as_deref() };
            let uri = active.introspection_uri(*provider, question.tenant).ok_or(IssuerFault::Unreachable)?;
            let call = introspection::request(rules, &uri, question, &|name| environment.variable(name))?;
            environment.call(&rules.cluster, &call, rules.timeout)
        }
    }
}

fn introspection_of(active: &ActivePolicy, provider: ProviderId) -> Option<&Introspection> {
    active.policy.provider(provider)?.introspection.as_ref()
}

fn all(waiting: Vec<WaiterId>, verdict: Option<IntrospectionOutcome>) -> Resumed {
    waiting.into_iter().map(|waiter| (waiter, verdict.clone())).collect()
}
