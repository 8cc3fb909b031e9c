//! What one VM remembers between requests, and who waits for what.
//!
//! State is kept per *provider configuration*, by its digest: what was learnt under one decides nothing under another,
//! and what is still valid survives a reload. The maps are bounded: tokens and answers by the provider's cache sizes,
//! key sets by the configured providers and tenant names, headers of tokens by a number of their own, waiting requests
//! by `max_waiting_requests`, of which one provider holds at most half. All of it together is bounded in bytes by
//! `memory_budget`, which the providers share fairly.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use super::discovery::introspection_endpoint;
use super::fault::IssuerFault;
use super::judge::{Asked, IntrospectionOutcome, conclude};
use super::keys::{Cause, GRACE, MAX_FETCHES, Need, RemoteKeys, Wanted, lasts, read_key_set};
use super::peers::{KeysRecord, PeerUpdate};
use super::provider::{HttpUri, Provider, ProviderKeys};
use super::question::Question;
use super::signed_response;
use crate::authenticate::RecentHeaders;
use crate::authenticate::replay::OwnProofs;
use crate::collections::bounded_cache::BoundedCache;
use crate::collections::keyed_digest::KeyedDigest;
use crate::collections::seeded_hash::SeededMap;
use crate::collections::shared_budget::{Account, SharedBudget};
use crate::identity::Identity;
use crate::ids::ProviderId;
use crate::jose::{KeySet, SignatureVerifier, SkippedKey};
use crate::policy::Policy;
use crate::respond::{Answers, Reason, Rejection};

/// A request that waits, by the number that the host gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId(pub u32);

/// A request that may have to wait.
#[derive(Clone, Copy, Debug)]
pub struct Waiter {
    /// Its number.
    pub id: WaiterId,
    /// What it occupies meanwhile, in bytes. There is never room for [`Self::NO_ROOM`].
    pub bytes: usize,
}

impl Waiter {
    /// Of a request that may not wait, since nothing would ever let it go on.
    pub const NO_ROOM: usize = usize::MAX;
}

/// Who waits in this VM.
#[derive(Debug, Default)]
struct Waiting {
    bytes_of: SeededMap<WaiterId, usize>,
    bytes: usize,
}

impl Waiting {
    fn enter(&mut self, waiter: Waiter) {
        let before = self.bytes_of.insert(waiter.id, waiter.bytes).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(before).saturating_add(waiter.bytes);
    }

    /// What it occupied, in bytes.
    fn leave(&mut self, waiter: WaiterId) -> usize {
        let bytes = self.bytes_of.remove(&waiter).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(bytes);
        bytes
    }
}

/// The state of a VM: of every provider configuration that an active policy uses.
#[derive(Default)]
pub struct Worker {
    providers: SeededMap<[u8; 32], Weak<RefCell<ProviderState>>>,
    recent_headers: Rc<RefCell<RecentHeaders>>,
    proofs: Rc<RefCell<OwnProofs>>,
    waiting: Rc<RefCell<Waiting>>,
    budget: Rc<SharedBudget<ProviderState>>,
    digest: KeyedDigest,
    generations: u64,
    /// The longest configuration that this VM has taken, in bytes.
    longest_configuration: usize,
}

/// What a VM may take, as its wasm file says.
const VM_BYTES: usize = 256 << 20;
/// What a VM takes for itself, and for what a request needs while it is decided.
const FIXED_BYTES: usize = 16 << 20;
/// What a configuration takes for each byte of its text while it is activated beside the one before: 8 to 12 measured
/// (`reload::what_a_reload_takes_is_less_than_what_is_kept_for_it`).
const RELOAD_FACTOR: usize = 16;

/// A policy with the state of its providers: what a request is decided with, from its first step to its last.
pub struct ActivePolicy {
    /// The configuration.
    pub policy: Policy,
    /// What is answered to requests that are refused under it.
    pub answers: Answers,
    providers: Vec<Rc<RefCell<ProviderState>>>,
    /// The tokens' headers that this VM read last, whatever the policy.
    pub recent_headers: Rc<RefCell<RecentHeaders>>,
    /// The proofs that this VM saw, whatever the policy, where the host shares no data.
    pub proofs: Rc<RefCell<OwnProofs>>,
    waiting: Rc<RefCell<Waiting>>,
    budget: Rc<SharedBudget<ProviderState>>,
    digest: KeyedDigest,
}

impl Worker {
    /// Takes note of a configuration of `bytes`: what may be remembered beside it leaves room for another one as long
    /// as the longest so far.
    pub fn keep_room_for_reload(&mut self, bytes: usize) {
        self.longest_configuration = self.longest_configuration.max(bytes);
    }

    /// Activates `policy`, with the state that its providers have already.
    pub fn activate(&mut self, mut policy: Policy) -> Rc<ActivePolicy> {
        self.providers.retain(|_, state| state.strong_count() > 0);
        self.generations += 1;
        policy.generation = self.generations;
        let providers = policy
            .providers
            .iter()
            .map(|provider| {
                let known = self.providers.get(&provider.digest).and_then(Weak::upgrade);
                known.unwrap_or_else(|| {
                    let state = Rc::new(RefCell::new(ProviderState::new(provider)));
                    self.providers.insert(provider.digest, Rc::downgrade(&state));
                    self.budget.open(&state);
                    state
                })
            })
            .collect();
        let room = self.longest_configuration.saturating_mul(RELOAD_FACTOR).saturating_add(FIXED_BYTES);
        self.budget.set_limit(policy.memory_budget.min(VM_BYTES.saturating_sub(room)));
        Rc::new(ActivePolicy {
            answers: Answers::new(&policy.realm, policy.strip_failure_response)
                .with_schemes(policy.schemes()),
            policy,
            providers,
            recent_headers: Rc::clone(&self.recent_headers),
            proofs: Rc::clone(&self.proofs),
            waiting: Rc::clone(&self.waiting),
            budget: Rc::clone(&self.budget),
            digest: self.digest.clone(),
        })
    }
}

/// A call that somebody has to make: the exchange itself does no IO.
#[derive(Clone, PartialEq, Eq)]
pub enum IssuerCall {
    /// Fetch a provider's keys, those of this tenant where its URI holds `{tenant}`.
    FetchKeys {
        /// Whose keys.
        provider: ProviderId,
        /// The tenant's name in the URI.
        tenant: Option<Box<str>>,
        /// Why.
        cause: Cause,
        /// Since when they are wanted.
        begun: Duration,
    },
    /// Introspect a token.
    Introspect {
        /// Who is asked.
        provider: ProviderId,
        /// About which token.
        token: Box<str>,
        /// In whose realm, where the URI holds `{tenant}`.
        tenant: Option<Box<str>>,
    },
}

impl fmt::Debug for IssuerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FetchKeys { provider, tenant, .. } => write!(f, "FetchKeys({provider:?}, {tenant:?})"),
            Self::Introspect { provider, tenant, .. } => write!(f, "Introspect({provider:?}, {tenant:?}, …)"),
        }
    }
}

/// The keys of a provider, as far as a request can have them now.
pub enum KeysNow {
    /// These.
    Keys(Arc<KeySet>),
    /// They are being fetched, and the request is among those that wait.
    Wait,
    /// They cannot be had.
    Unavailable {
        /// How long until the next try.
        retry_in: Duration,
    },
}

/// Introspection, as far as a request can have it now.
pub enum AnswerNow {
    /// This.
    Known(IntrospectionOutcome),
    /// The issuer is being asked, and the request is among those that wait.
    Wait,
    /// Too many requests wait already.
    Overloaded,
}

/// What one VM remembers of one provider configuration.
pub struct ProviderState {
    /// Verified JWTs.
    pub tokens: BoundedCache<Rc<Identity>>,
    key_sets: SeededMap<Option<Box<str>>, RemoteKeySet>,
    active: BoundedCache<(Rc<Identity>, Duration)>,
    /// By the token's digest, and apart from the active ones, so that a flood of bad tokens pushes none of them out.
    inactive: BoundedCache<Refused>,
    /// By the question's key, as the answers are.
    pending: SeededMap<Box<str>, PendingIntrospection>,
    /// What the tokens take that are being asked about, in bytes.
    pending_bytes: usize,
    waiting: usize,
    /// What is kept of the requests that wait, in bytes.
    waiting_bytes: usize,
}

/// A refusal that is remembered, in a few bytes: junk tokens cost their sender nothing.
struct Refused {
    reason: Reason,
    /// The name of a claim that the configuration asks for.
    about: Option<Box<str>>,
    /// As in [`IntrospectionOutcome::Refused`]; 0 for None.
    under: u64,
    until_milliseconds: u64,
}

impl Refused {
    fn new(rejection: &Rejection, under: Option<u64>, until: Duration) -> Self {
        Self {
            reason: rejection.reason,
            about: rejection.about.clone(),
            under: under.unwrap_or_default(),
            until_milliseconds: u64::try_from(until.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// What it says at `now` under the policy of this generation; None where it says nothing any more. It was remembered
    /// for `lifetime` at most.
    fn at(&self, now: Duration, lifetime: Duration, generation: u64) -> Option<IntrospectionOutcome> {
        let until = Duration::from_millis(self.until_milliseconds);
        let is_current = lasts(until.saturating_sub(lifetime), until, now)
            && (self.under == 0 || self.under == generation);
        is_current.then(|| IntrospectionOutcome::Refused {
            rejection: Rejection { about: self.about.clone(), ..self.reason.into() },
            under: (self.under != 0).then_some(self.under),
        })
    }
}

#[derive(Default)]
struct RemoteKeySet {
    remote: RemoteKeys,
    waiting: Vec<WaiterId>,
    /// What the keys take that were learnt last, in bytes, about.
    bytes: usize,
    /// The introspection endpoint that came with them, where it is discovered.
    introspection_endpoint: Option<HttpUri>,
}

/// An introspection call in flight.
struct PendingIntrospection {
    begun: Duration,
    deadline: Duration,
    /// The identity that a verified JWT has by itself, where JWTs are introspected too.
    jwt: Option<Rc<Identity>>,
    waiting: Vec<WaiterId>,
}

impl ProviderState {
    fn new(provider: &Provider) -> Self {
        let cache_entries =
            provider.introspection.as_ref().map_or(0, |introspection| introspection.cache_entries);
        let key_sets = match &provider.keys {
            // Keys that depend on no tenant are fetched before the first request asks for them.
            ProviderKeys::Remote(remote) if !remote.uri.path.contains("{tenant}") => {
                SeededMap::from_iter([(None, RemoteKeySet::default())])
            }
            ProviderKeys::Remote(_) | ProviderKeys::Local(_) | ProviderKeys::None => SeededMap::default(),
        };
        Self {
            tokens: BoundedCache::of_signed_tokens(provider.token_cache_entries),
            key_sets,
            active: BoundedCache::new(cache_entries),
            inactive: BoundedCache::new(cache_entries),
            pending: SeededMap::default(),
            pending_bytes: 0,
            waiting: 0,
            waiting_bytes: 0,
        }
    }

    /// What the keys of a document take once they are ready for verification, in bytes: several times their text.
    fn key_set_bytes(document: &[u8]) -> usize {
        document.len().saturating_mul(4)
    }

    /// How many fetches of keys have begun, those included that wait for their turn.
    fn fetches(&self) -> usize {
        self.key_sets.values().filter(|set| set.remote.is_fetching()).count()
    }

    /// What a token takes while it is asked about, in bytes: here, in the call, and form-encoded in its body.
    fn pending_token_bytes(question: Question<'_>) -> usize {
        question.key().len().saturating_mul(4).saturating_add(size_of::<PendingIntrospection>())
    }
}

impl Account for ProviderState {
    fn bytes(&self) -> usize {
        /// An entry in the map of key sets.
        const KEY_SET: usize = size_of::<RemoteKeySet>() + 64;
        let keys = |set: &RemoteKeySet| if set.remote.at_hand().is_some() { set.bytes } else { 0 };
        let key_sets = self.key_sets.values().map(|set| keys(set) + KEY_SET).sum();
        [
            self.tokens.bytes(),
            self.active.bytes(),
            self.inactive.bytes(),
            self.pending_bytes,
            self.waiting_bytes,
            key_sets,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// Refused tokens first, then good ones, then keys of a tenant's realm for which nobody waits.
    fn give_up(&mut self) -> bool {
        if self.inactive.evict() {
            return true;
        }
        if self.active.bytes() > self.tokens.bytes() && self.active.evict() {
            return true;
        }
        if self.tokens.evict() || self.active.evict() {
            return true;
        }
        let is_idle = |set: &RemoteKeySet| set.waiting.is_empty() && !set.remote.is_fetching();
        let idle = self.key_sets.iter().filter(|(tenant, set)| tenant.is_some() && is_idle(set));
        let oldest = idle.min_by_key(|(_, set)| set.remote.fetched_at()).map(|(tenant, _)| tenant.clone());
        oldest.is_some_and(|tenant| self.key_sets.remove(&tenant).is_some())
    }
}

impl ActivePolicy {
    /// The state of a provider of this policy.
    pub fn state(&self, provider: ProviderId) -> Option<&RefCell<ProviderState>> {
        self.providers.get(usize::from(provider.0)).map(|state| &**state)
    }

    /// How many requests wait in this VM.
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().bytes_of.len()
    }

    /// What this VM remembers, in bytes, and what it may.
    pub fn memory(&self) -> (usize, usize) {
        (self.budget.used(), self.budget.limit())
    }

    /// Whether token requests that wait for their bodies may hold `bytes` altogether: a quarter of the memory budget at
    /// most, since they cannot be given up for others.
    pub fn may_hold(&self, bytes: usize) -> bool {
        bytes <= self.policy.memory_budget / 4
    }

    /// Has the caches leave room for the `bytes` that token requests hold now, and for the proofs that are remembered.
    pub fn make_room_for_held(&self, bytes: usize) {
        self.budget.reserve(bytes.saturating_add(self.proofs.borrow().bytes()));
    }

    /// Remembers a JWT that was verified.
    pub fn remember(&self, provider: ProviderId, token: &[u8], identity: &Rc<Identity>) {
        if let Some(state) = self.state(provider) {
            state.borrow_mut().tokens.insert(token, Rc::clone(identity), identity.heap_bytes());
        }
        self.budget.enforce();
    }

    /// The key set that a cached identity was verified with still holds its key.
    pub fn still_has_key(&self, provider: ProviderId, identity: &Identity) -> bool {
        let Some(fingerprint) = &identity.key_fingerprint else { return true };
        match self.policy.provider(provider).map(|provider| &provider.keys) {
            // The provider's digest covers its local keys.
            Some(ProviderKeys::Local(_)) => true,
            Some(ProviderKeys::Remote(_)) => self.state(provider).is_some_and(|state| {
                let state = state.borrow();
                let keys = state
                    .key_sets
                    .get(&identity.principal.issuer_tenant)
                    .or_else(|| state.key_sets.get(&None))
                    .and_then(|set| set.remote.at_hand());
                keys.is_some_and(|keys| keys.contains_fingerprint(fingerprint))
            }),
            Some(ProviderKeys::None) | None => false,
        }
    }

    /// The keys for a token. Where they have to be fetched, `waiter` waits, and a call goes out unless one is under
    /// way.
    pub fn keys(
        &self,
        provider: ProviderId,
        tenant: Option<&str>,
        wanted: &Wanted<'_>,
        waiter: Waiter,
        now: Duration,
        calls: &mut Vec<IssuerCall>,
    ) -> KeysNow {
        let unavailable = KeysNow::Unavailable { retry_in: Duration::ZERO };
        let Some(remote) = self.policy.provider(provider).map(|provider| &provider.keys) else {
            return unavailable;
        };
        let remote = match remote {
            ProviderKeys::Local(keys) => return KeysNow::Keys(Arc::clone(keys)),
            ProviderKeys::None => return KeysNow::Keys(Arc::default()),
            ProviderKeys::Remote(remote) => remote,
        };
        let Some(state) = self.state(provider) else { return unavailable };
        let mut state = state.borrow_mut();
        let tenant: Option<Box<str>> = tenant.filter(|_| remote.uri.path.contains("{tenant}")).map(Box::from);
        let may_wait = self.may_wait(&state, waiter.bytes);
        let need = state.key_sets.entry(tenant.clone()).or_default().remote.need(wanted, now);
        let cause = match need {
            Need::Keys(keys) => return KeysNow::Keys(keys),
            Need::Unavailable { retry_in } => return KeysNow::Unavailable { retry_in },
            Need::Wait => None,
            Need::Fetch(cause) => Some(cause),
        };
        // Who waits may wait for its turn. A fetch that would have nobody to serve begins only where it has one, and a
        // fetch whose requests have all gone away still holds its place.
        let places = if may_wait { self.places_of_one_provider().max(MAX_FETCHES) } else { MAX_FETCHES };
        if cause.is_some() && state.fetches() >= places {
            return unavailable;
        }
        let set = state.key_sets.entry(tenant.clone()).or_default();
        if let Some(cause) = cause {
            set.remote.begin(cause, remote.timeout, now);
            calls.push(IssuerCall::FetchKeys { provider, tenant, cause, begun: now });
        }
        if !may_wait {
            // The fetch goes on, for later requests.
            return unavailable;
        }
        set.waiting.push(waiter.id);
        self.begin_wait(&mut state, waiter);
        KeysNow::Wait
    }

    /// Where `provider` is asked about tokens, in the realm of `tenant`; None where that is not known yet.
    pub fn introspection_uri(&self, provider: ProviderId, tenant: Option<&str>) -> Option<HttpUri> {
        let rules = self.policy.provider(provider)?;
        if let Some(uri) = &rules.introspection.as_ref()?.uri {
            return Some(uri.clone());
        }
        let tenant: Option<Box<str>> = tenant.map(Box::from);
        self.state(provider)?.borrow().key_sets.get(&tenant)?.introspection_endpoint.clone()
    }

    /// The keys of an issuer that are at hand, however old.
    fn keys_at_hand(&self, provider: ProviderId, tenant: Option<&str>) -> Option<Arc<KeySet>> {
        match &self.policy.provider(provider)?.keys {
            ProviderKeys::Local(keys) => Some(Arc::clone(keys)),
            ProviderKeys::None => None,
            ProviderKeys::Remote(remote) => {
                let tenant: Option<Box<str>> =
                    tenant.filter(|_| remote.uri.path.contains("{tenant}")).map(Box::from);
                self.state(provider)?.borrow().key_sets.get(&tenant)?.remote.at_hand().cloned()
            }
        }
    }

    /// A reply to an introspection call as one that is not signed: where the provider's are signed, what is in it.
    ///
    /// # Errors
    ///
    /// Why there is none, or why a signed one is not believed.
    pub fn open_response<'r>(
        &self,
        provider: ProviderId,
        question: Question<'_>,
        reply: Result<(u16, &'r [u8]), IssuerFault>,
        verifier: &dyn SignatureVerifier,
        now: Duration,
    ) -> Result<(u16, Cow<'r, [u8]>), IssuerFault> {
        let (status, body) = reply?;
        let rules = self.policy.provider(provider);
        let introspection = rules.and_then(|rules| Some((rules, rules.introspection.as_ref()?)));
        let Some((rules, introspection)) = introspection else { return Ok((status, Cow::Borrowed(body))) };
        let audience = introspection.signed_for.as_deref().filter(|_| status == 200);
        let Some(audience) = audience else { return Ok((status, Cow::Borrowed(body))) };
        if body.len() > introspection.max_response_bytes {
            return Err(IssuerFault::TooLarge);
        }
        let is_issuer = |issuer: &str| {
            let found = self.policy.provider_of_issuer(issuer);
            found.is_some_and(|(id, tenant)| {
                let tenants = &self.policy.tenants;
                let is_tenants = question.tenant.zip(tenant).is_none_or(|(asked, named)| {
                    tenants.named(asked).is_some() && tenants.named(asked) == tenants.named(named)
                });
                id == provider && is_tenants
            })
        };
        let keys = self.keys_at_hand(provider, question.tenant).unwrap_or_default();
        let asked = (rules, introspection, audience);
        let opened = signed_response::open(body, asked, &keys, &is_issuer, verifier, now)?;
        Ok((status, Cow::Owned(opened)))
    }

    /// Judges a signed response again that no key at hand verified before.
    pub fn judge_again(
        &self,
        provider: ProviderId,
        Asked { question, jwt }: Asked<'_>,
        response: &[u8],
        verifier: &dyn SignatureVerifier,
        now: Duration,
    ) -> IntrospectionOutcome {
        let rules = self.policy.provider(provider);
        let rules = rules.and_then(|rules| Some((rules, rules.introspection.as_ref()?)));
        let Some((rules, introspection)) = rules else {
            return IntrospectionOutcome::Fault(IssuerFault::Unreachable);
        };
        let opened = self.open_response(provider, question, Ok((200, response)), verifier, now);
        let reply = match &opened {
            Ok((status, body)) => Ok((*status, &**body)),
            Err(fault) => Err(fault.clone()),
        };
        let asked = Asked { question, jwt };
        let (verdict, until) = conclude(&self.policy, rules, introspection, asked, reply, now, now);
        // Nobody waits for it: whoever did has the response already.
        self.end_introspection(provider, question, &verdict, until, now);
        verdict
    }

    /// What introspection says of a token.
    pub fn introspect(
        &self,
        provider: ProviderId,
        Asked { question, jwt }: Asked<'_>,
        waiter: Waiter,
        now: Duration,
        calls: &mut Vec<IssuerCall>,
    ) -> AnswerNow {
        let fault = AnswerNow::Known(IntrospectionOutcome::Fault(IssuerFault::Unreachable));
        let rules = self.policy.provider(provider).and_then(|provider| provider.introspection.as_ref());
        let (Some(rules), Some(state)) = (rules, self.state(provider)) else { return fault };
        let mut state = state.borrow_mut();
        let key = question.key();
        let still_lasts = |until: Duration| lasts(until.saturating_sub(rules.max_ttl), until, now);
        let active = state.active.lookup(key.as_bytes());
        if let Some((identity, _)) = active.filter(|(_, until)| still_lasts(*until)) {
            return AnswerNow::Known(IntrospectionOutcome::Active(Rc::clone(identity)));
        }
        let refused = state.inactive.lookup(&self.digest.of(key.as_bytes()));
        if let Some(outcome) =
            refused.and_then(|refused| refused.at(now, rules.negative_ttl, self.policy.generation))
        {
            return AnswerNow::Known(outcome);
        }
        // A call whose requests have all gone away still holds its place: the issuer is working on it.
        let token_bytes = ProviderState::pending_token_bytes(question);
        let may_call = state.pending.len() < self.places_of_one_provider()
            && state.pending_bytes.saturating_add(token_bytes) <= self.bytes_of_one_provider();
        if !self.may_wait(&state, waiter.bytes) || !(may_call || state.pending.contains_key(&*key)) {
            return AnswerNow::Overloaded;
        }
        match state.pending.get_mut(&*key) {
            Some(pending) => pending.waiting.push(waiter.id),
            None => {
                let deadline = now.saturating_add(rules.timeout).saturating_add(GRACE);
                let pending = PendingIntrospection {
                    begun: now,
                    deadline,
                    jwt: jwt.cloned(),
                    waiting: vec![waiter.id],
                };
                state.pending.insert(key.into(), pending);
                state.pending_bytes += token_bytes;
                let Question { token, tenant } = question;
                calls.push(IssuerCall::Introspect {
                    provider,
                    token: token.into(),
                    tenant: tenant.map(Box::from),
                });
            }
        }
        self.begin_wait(&mut state, waiter);
        AnswerNow::Wait
    }

    /// Calls that are due without any request: keys that grow old or failed to come, and answers that are lost, which
    /// count as failed. Returns the calls and who no longer waits.
    pub fn tick(
        &self,
        jitter: u8,
        now: Duration,
    ) -> (Vec<IssuerCall>, Vec<(WaiterId, Option<IntrospectionOutcome>)>) {
        let mut calls = Vec::new();
        let mut resumed = Vec::new();
        for (id, provider) in self.policy.providers() {
            let Some(state) = self.state(id) else { continue };
            let overdue_keys: Vec<Option<Box<str>>> = {
                let state = state.borrow();
                let overdue = state.key_sets.iter().filter(|(_, set)| set.remote.is_overdue(now));
                overdue.map(|(tenant, _)| tenant.clone()).collect()
            };
            for tenant in overdue_keys {
                let reply =
                    self.keys_reply(id, tenant.as_deref(), Err(IssuerFault::Unreachable), jitter, now);
                resumed.extend(reply.waiting.into_iter().map(|waiter| (waiter, None)));
            }
            let overdue_tokens: Vec<Box<str>> = {
                let state = state.borrow();
                let overdue =
                    state.pending.iter().filter(|(_, pending)| !lasts(pending.begun, pending.deadline, now));
                overdue.map(|(key, _)| key.clone()).collect()
            };
            for key in overdue_tokens {
                let question = Question::of_key(&key);
                let (waiters, verdict) =
                    self.introspection_reply(id, question, Err(IssuerFault::Unreachable), now);
                resumed.extend(waiters.into_iter().map(|waiter| (waiter, Some(verdict.clone()))));
            }
            if let ProviderKeys::Remote(remote) = &provider.keys {
                let mut state = state.borrow_mut();
                let mut fetches = state.fetches();
                for (tenant, set) in &mut state.key_sets {
                    if fetches >= MAX_FETCHES {
                        // The others at the next tick: requests come first, and nothing at hand ends meanwhile.
                        break;
                    }
                    // A tenant's keys that never came are asked for again by requests alone: whoever names tenants
                    // without a realm must not set a fetch for each of them going for good.
                    let is_wanted = tenant.is_none() || set.remote.at_hand().is_some();
                    if is_wanted && set.remote.is_due(now) {
                        fetches += 1;
                        set.remote.begin(Cause::Age, remote.timeout, now);
                        calls.push(IssuerCall::FetchKeys {
                            provider: id,
                            tenant: tenant.clone(),
                            cause: Cause::Age,
                            begun: now,
                        });
                    }
                }
            }
        }
        (calls, resumed)
    }

    /// Takes the answer to [`IssuerCall::FetchKeys`]: the status and body, or why there is none.
    pub fn keys_reply(
        &self,
        provider: ProviderId,
        tenant: Option<&str>,
        reply: Result<(u16, &[u8]), IssuerFault>,
        jitter: u8,
        now: Duration,
    ) -> KeysReply {
        let mut outcome = KeysReply::default();
        let Some(ProviderKeys::Remote(remote)) =
            self.policy.provider(provider).map(|provider| &provider.keys)
        else {
            return outcome;
        };
        let Some(state) = self.state(provider) else { return outcome };
        let mut state = state.borrow_mut();
        let set = state.key_sets.entry(tenant.map(Box::from)).or_default();
        let body = reply.as_ref().map_or(&[][..], |(_, body)| *body);
        match read_key_set(reply) {
            Ok((keys, skipped)) => {
                outcome.skipped = skipped;
                if keys.is_empty() {
                    set.remote.withdraw(jitter, now);
                    outcome.fault = Some(IssuerFault::NoUsableKey);
                } else {
                    set.remote.succeed(keys, remote.cache_duration, jitter, now);
                    set.bytes = ProviderState::key_set_bytes(body);
                    set.introspection_endpoint = introspection_endpoint(remote, body);
                }
            }
            Err(fault) => {
                set.remote.fail(jitter, now);
                outcome.fault = Some(fault);
            }
        }
        outcome.retry_at = set.remote.retry_at();
        outcome.waiting = std::mem::take(&mut set.waiting);
        self.end_wait(&mut state, &outcome.waiting);
        drop(state);
        self.budget.enforce();
        outcome
    }

    /// Whether the fetch of keys that began at `begun` is still awaited.
    pub fn awaits_keys(&self, provider: ProviderId, tenant: Option<&str>, begun: Duration) -> bool {
        let tenant: Option<Box<str>> = tenant.map(Box::from);
        let state = self.state(provider).map(|state| state.borrow());
        state
            .and_then(|state| state.key_sets.get(&tenant).map(|set| set.remote.is_in_flight(begun)))
            .unwrap_or(false)
    }

    /// Takes it from another worker that the fetch in flight need not be made: it failed there, or brought nothing newer
    /// than the keys at hand. Returns who waited.
    pub fn end_fetch_as_told(
        &self,
        provider: ProviderId,
        tenant: Option<&str>,
        told: PeerUpdate,
        now: Duration,
    ) -> Vec<WaiterId> {
        let Some(state) = self.state(provider) else { return Vec::new() };
        let mut state = state.borrow_mut();
        let set = state.key_sets.entry(tenant.map(Box::from)).or_default();
        match told {
            PeerUpdate::Failed { retry_at } => set.remote.fail_as_told(retry_at, now),
            PeerUpdate::Withdrawn { fetched_at, retry_at } => {
                set.remote.withdraw_as_told(fetched_at, retry_at, now);
            }
            PeerUpdate::Confirmed { refetch_ended } => set.remote.confirm(refetch_ended),
        }
        let waiting = std::mem::take(&mut set.waiting);
        self.end_wait(&mut state, &waiting);
        waiting
    }

    /// When the set was fetched that was learnt last, also where it had no usable key; 0 where none was.
    pub fn keys_fetched_at(&self, provider: ProviderId, tenant: Option<&str>) -> Duration {
        let tenant: Option<Box<str>> = tenant.map(Box::from);
        let state = self.state(provider).map(|state| state.borrow());
        state
            .and_then(|state| state.key_sets.get(&tenant).map(|set| set.remote.fetched_at()))
            .unwrap_or_default()
    }

    /// The key sets of a provider, by tenant: when each was learnt last, and whether it has keys.
    pub fn key_sets(&self, provider: ProviderId) -> Vec<(Option<Box<str>>, Duration, bool)> {
        let Some(state) = self.state(provider) else { return Vec::new() };
        let state = state.borrow();
        let sets = state.key_sets.iter();
        sets.map(|(tenant, set)| (tenant.clone(), set.remote.fetched_at(), set.remote.at_hand().is_some()))
            .collect()
    }

    /// Takes the keys that another worker fetched. None where they are of no use, so that they have to be fetched;
    /// else who waited.
    pub fn adopt_keys(
        &self,
        provider: ProviderId,
        tenant: Option<&str>,
        record: &KeysRecord,
        jitter: u8,
    ) -> Option<Vec<WaiterId>> {
        let ProviderKeys::Remote(remote) = &self.policy.provider(provider)?.keys else { return None };
        let (keys, _) = read_key_set(Ok((200, &record.body))).ok()?;
        if keys.is_empty() {
            return None;
        }
        let mut state = self.state(provider)?.borrow_mut();
        let set = state.key_sets.entry(tenant.map(Box::from)).or_default();
        set.remote.adopt(keys, remote.cache_duration, jitter, record.fetched_at, record.refetch_ended);
        set.bytes = ProviderState::key_set_bytes(&record.body);
        set.introspection_endpoint = introspection_endpoint(remote, &record.body);
        let waiting = std::mem::take(&mut set.waiting);
        self.end_wait(&mut state, &waiting);
        drop(state);
        self.budget.enforce();
        Some(waiting)
    }

    /// Takes the introspection answer that another worker received at `received_at`. None where it is of no use any
    /// more, so that the issuer has to be asked; else who waited, and what it came to.
    pub fn adopt_answer(
        &self,
        provider: ProviderId,
        question: Question<'_>,
        body: &[u8],
        received_at: Duration,
        now: Duration,
    ) -> Option<(Vec<WaiterId>, IntrospectionOutcome)> {
        let rules = self.policy.provider(provider)?;
        let introspection = rules.introspection.as_ref()?;
        let jwt = self.state(provider)?.borrow().pending.get(&*question.key())?.jwt.clone();
        let asked = Asked { question, jwt: jwt.as_ref() };
        let (verdict, until) =
            conclude(&self.policy, rules, introspection, asked, Ok((200, body)), received_at, now);
        if received_at > now || now >= until {
            return None;
        }
        Some((self.end_introspection(provider, question, &verdict, until, now), verdict))
    }

    /// Takes the answer to [`IssuerCall::Introspect`]: the status and body, or why there is none. Returns who waited, and
    /// what it came to.
    pub fn introspection_reply(
        &self,
        provider: ProviderId,
        question: Question<'_>,
        reply: Result<(u16, &[u8]), IssuerFault>,
        now: Duration,
    ) -> (Vec<WaiterId>, IntrospectionOutcome) {
        let rules = self.policy.provider(provider);
        let rules =
            rules.and_then(|rules| rules.introspection.as_ref().map(|introspection| (rules, introspection)));
        let jwt = self.state(provider).and_then(|state| {
            state.borrow().pending.get(&*question.key()).and_then(|pending| pending.jwt.clone())
        });
        let asked = Asked { question, jwt: jwt.as_ref() };
        let (verdict, until) = match rules {
            Some((rules, introspection)) => {
                conclude(&self.policy, rules, introspection, asked, reply, now, now)
            }
            None => (IntrospectionOutcome::Fault(IssuerFault::Unreachable), now),
        };
        (self.end_introspection(provider, question, &verdict, until, now), verdict)
    }

    /// Remembers a verdict until `until` and ends the waiting for it.
    fn end_introspection(
        &self,
        provider: ProviderId,
        question: Question<'_>,
        verdict: &IntrospectionOutcome,
        until: Duration,
        now: Duration,
    ) -> Vec<WaiterId> {
        let Some(state) = self.state(provider) else { return Vec::new() };
        let mut state = state.borrow_mut();
        let key = question.key();
        match verdict {
            IntrospectionOutcome::Active(identity) if now < until => {
                state.inactive.remove(&self.digest.of(key.as_bytes()));
                state.active.insert(key.as_bytes(), (Rc::clone(identity), until), identity.heap_bytes());
            }
            IntrospectionOutcome::Refused { rejection, under } => {
                state.active.remove(key.as_bytes());
                if now < until {
                    let refused = Refused::new(rejection, *under, until);
                    let about_bytes = refused.about.as_deref().map_or(0, str::len);
                    state.inactive.insert(&self.digest.of(key.as_bytes()), refused, about_bytes);
                }
            }
            IntrospectionOutcome::Active(_) | IntrospectionOutcome::Fault(_) => {}
        }
        let pending = state.pending.remove(&*key);
        if pending.is_some() {
            state.pending_bytes =
                state.pending_bytes.saturating_sub(ProviderState::pending_token_bytes(question));
        }
        let waiting = pending.map(|pending| pending.waiting).unwrap_or_default();
        self.end_wait(&mut state, &waiting);
        drop(state);
        self.budget.enforce();
        waiting
    }

    fn begin_wait(&self, state: &mut ProviderState, waiter: Waiter) {
        state.waiting += 1;
        state.waiting_bytes = state.waiting_bytes.saturating_add(waiter.bytes);
        self.waiting.borrow_mut().enter(waiter);
    }

    fn end_wait(&self, state: &mut ProviderState, waiters: &[WaiterId]) {
        let mut waiting = self.waiting.borrow_mut();
        let bytes: usize = waiters.iter().map(|waiter| waiting.leave(*waiter)).sum();
        state.waiting = state.waiting.saturating_sub(waiters.len());
        state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
    }

    /// Forgets a request whose client went away.
    pub fn leave(&self, waiter: WaiterId) {
        for state in &self.providers {
            let mut state = state.borrow_mut();
            let mut left = false;
            let mut forget = |waiting: &mut Vec<WaiterId>| {
                let before = waiting.len();
                waiting.retain(|known| *known != waiter);
                left |= waiting.len() < before;
            };
            state.key_sets.values_mut().for_each(|set| forget(&mut set.waiting));
            state.pending.values_mut().for_each(|pending| forget(&mut pending.waiting));
            if left {
                self.end_wait(&mut state, &[waiter]);
            }
        }
    }

    /// Requests that wait take half of the memory budget at most, those of one provider half of that: they cannot be
    /// given up for others.
    fn may_wait(&self, state: &ProviderState, bytes: usize) -> bool {
        let waiting = self.waiting.borrow();
        waiting.bytes_of.len() < self.policy.max_waiting_requests
            && state.waiting < self.places_of_one_provider()
            && waiting.bytes.saturating_add(bytes) <= self.policy.memory_budget / 2
            && state.waiting_bytes.saturating_add(bytes) <= self.bytes_of_one_provider()
    }

    fn bytes_of_one_provider(&self) -> usize {
        self.policy.memory_budget / 4
    }

    /// One provider holds at most half of the places; of a single place, the whole.
    fn places_of_one_provider(&self) -> usize {
        self.policy.max_waiting_requests.div_ceil(2)
    }
}

/// What became of an answer to [`IssuerCall::FetchKeys`].
#[derive(Debug, Default)]
pub struct KeysReply {
    /// Who waited for it.
    pub waiting: Vec<WaiterId>,
    /// Why it was of no use.
    pub fault: Option<IssuerFault>,
    /// Keys that are not used, and why.
    pub skipped: Vec<SkippedKey>,
    /// When a failed fetch is to be tried again.
    pub retry_at: Duration,
}
