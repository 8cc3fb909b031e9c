//! The public path as an edge walks it: configuration bytes, a worker, an exchange, and virtual time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use scopegate::collections::shared_store::SharedStore;
use scopegate::config::parse_json;
use scopegate::exchange::{Decision, Exchange, HeaderEdits, Host, Request, Stage, Step, Surroundings};
use scopegate::http::headers::{Headers, borrowed};
use scopegate::issuer::IssuerFault;
use scopegate::issuer::{ActivePolicy, IssuerCall, Question, Waiter, WaiterId, Worker};
use scopegate::jose::PureVerifier;
use scopegate::respond::{Answer, Reason};
use serde_json::{Value, json};

use scopegate_testing::mint::{Signer, jwks};

/// The time at which requests arrive unless a test says otherwise, in seconds since the epoch.
pub const NOW: u64 = 1_800_000_000;

/// The issuer of [`token`].
pub const ISSUER: &str = "https://idp.example";

/// The audience of [`token`].
pub const AUDIENCE: &str = "api";

/// The key that signs every token unless a test says otherwise.
pub static KEY: LazyLock<Signer> = LazyLock::new(|| Signer::new("EdDSA", "k1", 7));

/// A good token of [`ISSUER`], its claims replaced by `changes`; `null` removes one.
pub fn token(changes: Value) -> String {
    KEY.mint(json!({"typ": "at+jwt"}), &claims(changes))
}

/// The claims of [`token`].
pub fn claims(changes: Value) -> Value {
    let good = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": NOW - 10, "exp": NOW + 600});
    merge(good, changes)
}

/// `base` with the members of `changes`; `null` removes one. Not deep.
pub fn merge(mut base: Value, changes: Value) -> Value {
    let members = base.as_object_mut().unwrap();
    for (name, value) in changes.as_object().expect("changes are members of an object") {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    base
}

/// A provider with [`ISSUER`], [`AUDIENCE`] and [`KEY`], changed by `changes`.
pub fn provider(changes: Value) -> Value {
    let good = json!({"issuer": ISSUER, "audiences": [AUDIENCE], "local_jwks": jwks([&*KEY])});
    merge(good, changes)
}

/// `base` with the members of `changes`, `null` as it is: for [`token`] and [`claims`] to remove.
pub fn overlay(mut base: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().expect("changes are members of an object") {
        base[name] = value.clone();
    }
    base
}

/// What an issuer answers: status and body, or why there is no answer.
pub type Reply = Result<(u16, String), IssuerFault>;

/// A worker with one policy in force.
pub struct Gateway {
    worker: RefCell<Worker>,
    pub active: Rc<ActivePolicy>,
    pub now: Duration,
    pub certificate: Option<[u8; 32]>,
    /// The address of the peer.
    pub peer: Option<IpAddr>,
    /// What the workers of the proxy share; nothing by default.
    pub shared: Option<Rc<SharedData>>,
    /// The variables of the VM.
    pub variables: BTreeMap<&'static str, &'static str>,
    waiters: Cell<u32>,
}

impl Gateway {
    /// Puts `config` in force; it must be valid.
    pub fn new(config: &Value) -> Self {
        Self::of_text(&config.to_string())
    }

    /// Puts the configuration in `text` in force; it must be valid.
    pub fn of_text(text: &str) -> Self {
        let mut worker = Worker::default();
        let active = worker.activate(policy(text));
        Self {
            worker: RefCell::new(worker),
            active,
            now: Duration::from_secs(NOW),
            certificate: None,
            peer: None,
            shared: None,
            variables: BTreeMap::new(),
            waiters: Cell::new(0),
        }
    }

    /// Puts another configuration in force.
    pub fn reload(&mut self, config: &Value) {
        self.active = self.worker.borrow_mut().activate(policy(&config.to_string()));
    }

    /// The outcome of a request that no issuer has to be asked for.
    pub fn call(&self, call: &Call) -> Outcome {
        self.call_answered(call, &mut |call| panic!("an issuer is asked: {call:?}"))
    }

    /// The outcome of a request, calls answered by `issuer` at once.
    pub fn call_answered(&self, call: &Call, issuer: &mut dyn FnMut(&IssuerCall) -> Reply) -> Outcome {
        let mut pending = match self.begin(call) {
            Begun::Done(outcome) => return *outcome,
            Begun::Waits(pending) => pending,
        };
        for _ in 0..8 {
            for call in std::mem::take(&mut pending.calls) {
                self.answer(&call, issuer(&call), &mut pending);
            }
            match self.advance(call, pending) {
                Begun::Done(outcome) => return *outcome,
                Begun::Waits(next) => pending = next,
            }
        }
        panic!("the request waits for ever");
    }

    /// The request's first step.
    pub fn begin(&self, call: &Call) -> Begun {
        self.waiters.set(self.waiters.get() + 1);
        let waiter = WaiterId(self.waiters.get());
        let exchange = Exchange::new(Rc::clone(&self.active));
        self.advance(call, Pending { exchange, waiter, calls: Vec::new() })
    }

    /// Hands an issuer's answer in.
    pub fn answer(&self, call: &IssuerCall, reply: Reply, pending: &mut Pending) {
        let reply = reply.as_ref().map(|(status, body)| (*status, body.as_bytes())).map_err(Clone::clone);
        match call {
            IssuerCall::FetchKeys { provider, tenant, .. } => {
                self.active.keys_reply(*provider, tenant.as_deref(), reply, 0, self.now);
            }
            IssuerCall::Introspect { provider, token, tenant } => {
                let question = Question { token, tenant: tenant.as_deref() };
                let opened = self.active.open_response(*provider, question, reply, &PureVerifier, self.now);
                let plain = match &opened {
                    Ok((status, body)) => Ok((*status, &**body)),
                    Err(fault) => Err(fault.clone()),
                };
                let (waiters, verdict) =
                    self.active.introspection_reply(*provider, question, plain, self.now);
                if waiters.contains(&pending.waiter) {
                    pending.exchange.deliver(Some(verdict));
                }
            }
        }
    }

    /// The first step of a request alone, its edits handed to `edits`: for whatever measures.
    pub fn step(&self, headers: Headers<'_>, edits: &mut dyn HeaderEdits) -> Step {
        let request = Request::new(headers);
        let mut calls = Vec::new();
        let mut surroundings = Surroundings {
            verifier: &PureVerifier,
            client_certificate: &|| None,
            host: self,
            now: self.now,
            waiter: Waiter { id: WaiterId(1), bytes: 0 },
            can_log: true,
            calls: &mut calls,
        };
        let step = Exchange::new(Rc::clone(&self.active)).advance(&request, &mut surroundings);
        if let Step::Forward(forward) = &step {
            forward.edit(&request, &self.active.policy, edits);
        }
        step
    }

    /// The next step of a request that waited.
    pub fn advance(&self, call: &Call, mut pending: Pending) -> Begun {
        let headers = borrowed(&call.headers);
        let request = Request::new(&headers);
        let certificate = self.certificate;
        let mut surroundings = Surroundings {
            verifier: &PureVerifier,
            client_certificate: &|| certificate,
            host: self,
            now: self.now,
            waiter: Waiter { id: pending.waiter, bytes: call.bytes() },
            can_log: true,
            calls: &mut pending.calls,
        };
        let step = pending.exchange.advance(&request, &mut surroundings);
        // A request ends under the policy that it began with.
        let active = Rc::clone(pending.exchange.active());
        let policy = &active.policy;
        let tenant_of = |facts: &scopegate::exchange::Facts| {
            let tenant = facts.standing.as_ref().map(|standing| standing.tenant)?;
            Some(policy.tenants.tenant(tenant)?.id.to_string())
        };
        Begun::Done(Box::new(match step {
            Step::Await => return Begun::Waits(pending),
            Step::AwaitBody | Step::RejectTokenRequest(..) => panic!("a token request, which `Call` is none"),
            Step::Forward(forward) => {
                let mut upstream = Upstream(call.headers.clone());
                forward.edit(&request, policy, &mut upstream);
                Outcome::Passed(Passed {
                    headers: upstream.0,
                    decision: forward.facts.decision,
                    reason: forward.facts.reason,
                    tenant: tenant_of(&forward.facts),
                    next_nonce: forward.next_nonce.as_deref().map(str::to_owned),
                })
            }
            Step::Tell(answer, _) => Outcome::Told(*answer),
            Step::Reject(rejection, facts) => Outcome::Refused(Refused {
                reason: rejection.reason,
                about: rejection.about.as_deref().map(str::to_owned),
                scope: rejection.sufficient_scope.as_deref().map(str::to_owned),
                stage: facts.stage,
                tenant: tenant_of(&facts),
                is_grpc: request.is_grpc,
                answer: active.answers.to(&rejection, request.is_grpc).into_owned(),
            }),
        }))
    }
}

impl Host for Gateway {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn peer_address(&self) -> Option<IpAddr> {
        self.peer
    }

    fn shared(&self) -> Option<&dyn SharedStore> {
        self.shared.as_deref().map(|shared| shared as &dyn SharedStore)
    }
}

/// What workers share, as Envoy keeps it: a value that is not there is written whatever its version.
#[derive(Default)]
pub struct SharedData {
    values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    /// How many writes are refused as if somebody had come between.
    pub refuses: Cell<usize>,
}

impl SharedData {
    /// Puts `value` in the place of all that is shared, as a hostile neighbour might.
    #[allow(dead_code, reason = "the fuzzer's targets use it")]
    pub fn replace_all(&self, value: &[u8]) {
        for (known, version) in self.values.borrow_mut().values_mut() {
            *known = value.to_vec();
            *version += 1;
        }
    }

    /// All that is shared, in bytes.
    pub fn bytes(&self) -> usize {
        self.values.borrow().values().map(|(value, _)| value.len()).sum()
    }
}

impl SharedStore for SharedData {
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.values.borrow().get(key).cloned()
    }

    fn write(&self, key: &str, value: &[u8], version: u32) -> bool {
        let mut values = self.values.borrow_mut();
        let known = values.get(key).map(|(_, version)| *version);
        let is_late = known.is_some_and(|known| version != 0 && version != known);
        if is_late || self.refuses.replace(self.refuses.get().saturating_sub(1)) > 0 {
            return false;
        }
        values.insert(key.to_owned(), (value.to_vec(), known.unwrap_or_default() + 1));
        true
    }
}

fn policy(text: &str) -> scopegate::policy::Policy {
    match parse_json(text.as_bytes()) {
        Ok(loaded) => loaded.policy,
        Err(errors) => panic!("{errors}\n{text}"),
    }
}

/// Where a request stands.
pub enum Begun {
    Done(Box<Outcome>),
    Waits(Pending),
}

/// A request that waits for an issuer.
pub struct Pending {
    pub exchange: Exchange,
    pub waiter: WaiterId,
    pub calls: Vec<IssuerCall>,
}

/// How a request ended.
#[derive(Debug)]
pub enum Outcome {
    Passed(Passed),
    Refused(Refused),
    /// Answered with what anybody may know.
    Told(Answer),
}

/// A request as the upstream sees it.
#[derive(Debug)]
pub struct Passed {
    pub headers: Vec<(String, Vec<u8>)>,
    pub decision: Decision,
    pub reason: Option<Reason>,
    pub tenant: Option<String>,
    /// `DPoP-Nonce` of the upstream's response.
    pub next_nonce: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Refused {
    pub reason: Reason,
    #[allow(dead_code, reason = "printed where a test fails")]
    pub about: Option<String>,
    pub scope: Option<String>,
    pub stage: Stage,
    #[allow(dead_code, reason = "printed where a test fails")]
    pub tenant: Option<String>,
    pub is_grpc: bool,
    pub answer: Answer,
}

impl Outcome {
    /// The reason of a refusal; none where the request passed.
    pub fn refusal(&self) -> Option<Reason> {
        match self {
            Self::Passed(_) | Self::Told(_) => None,
            Self::Refused(refused) => Some(refused.reason),
        }
    }

    /// What the upstream sees.
    pub fn passed(self) -> Passed {
        match self {
            Self::Passed(passed) => passed,
            Self::Refused(refused) => panic!("refused: {refused:?}"),
            Self::Told(answer) => panic!("told: {answer:?}"),
        }
    }

    /// The refusal.
    pub fn refused(self) -> Refused {
        match self {
            Self::Refused(refused) => refused,
            Self::Passed(passed) => panic!("passed: {passed:?}"),
            Self::Told(answer) => panic!("told: {answer:?}"),
        }
    }

    /// `tenant` where the request passed under one, else the reason's code; `-` where it passed without a tenant.
    pub fn brief(&self) -> String {
        match self {
            Self::Passed(passed) => passed.tenant.clone().unwrap_or_else(|| "-".to_owned()),
            Self::Refused(refused) => refused.reason.as_str().to_owned(),
            Self::Told(_) => "told".to_owned(),
        }
    }
}

impl Passed {
    /// The values of a header that the upstream sees.
    pub fn values(&self, name: &str) -> Vec<String> {
        let all = self.headers.iter().filter(|(known, _)| known == name);
        all.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The one value of a header that the upstream sees.
    pub fn value(&self, name: &str) -> Option<String> {
        let mut values = self.values(name);
        assert!(values.len() < 2, "`{name}` has several values: {values:?}");
        values.pop()
    }
}

impl Refused {
    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.answer.headers.get(name)
    }

    /// The body of the answer.
    pub fn body(&self) -> Value {
        serde_json::from_str(&self.answer.body).expect("the body is JSON")
    }
}

/// A request that a client sends.
#[derive(Clone)]
pub struct Call {
    pub headers: Vec<(String, Vec<u8>)>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.headers.iter().map(|(name, value)| (name, String::from_utf8_lossy(value))))
            .finish()
    }
}

impl Call {
    pub fn new(method: &str, path: &str) -> Self {
        let pseudo =
            [(":method", method), (":path", path), (":authority", "gw.example"), (":scheme", "https")];
        Self { headers: pseudo.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).into() }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// What its headers take, in bytes.
    pub fn bytes(&self) -> usize {
        self.headers.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// With a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With another value of a header that it has.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let entry = self.headers.iter_mut().find(|(known, _)| known == name).unwrap();
        entry.1 = value.as_ref().to_vec();
        self
    }

    #[must_use]
    pub fn host(self, host: &str) -> Self {
        self.with(":authority", host)
    }

    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }
}

struct Upstream(Vec<(String, Vec<u8>)>);

impl HeaderEdits for Upstream {
    fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(known, _)| known.as_bytes() != name);
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        let mut kept = false;
        self.0.retain_mut(|(known, old)| {
            if known != name {
                return true;
            }
            *old = value.to_vec();
            !std::mem::replace(&mut kept, true)
        });
        if !kept {
            self.add(name, value);
        }
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.to_owned(), value.to_vec()));
    }
}
