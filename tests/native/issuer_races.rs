//! What happens between a request that needs an issuer and the issuer's answer, in virtual time: one proxy with its
//! workers, without a host.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use scopegate::config::parse_json;
use scopegate::exchange::{Exchange, NoHost, Request, Step, Surroundings};
use scopegate::http::headers::borrowed;
use scopegate::issuer::calls::{Environment, Event, IssuerCalls, Resumed};
use scopegate::issuer::peers::SharedStore;
use scopegate::issuer::{ActivePolicy, IssuerCall, Waiter, WaiterId, Worker};
use scopegate::issuer::{HttpCall, IssuerFault};
use scopegate::jose::PureVerifier;
use scopegate_testing::mint::{Signer, jwks};
use serde_json::{Value, json};

mod discovery;

const ISSUER: &str = "https://login.example";
const START: u64 = 1_800_000_000;

/// Shared data as the host has it.
#[derive(Default)]
struct Store(RefCell<HashMap<String, (Vec<u8>, u32)>>);

impl SharedStore for Store {
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.0.borrow().get(key).cloned()
    }

    fn write(&self, key: &str, value: &[u8], version: u32) -> bool {
        let mut store = self.0.borrow_mut();
        let known = store.get(key).map_or(0, |(_, version)| *version);
        if version != 0 && version != known {
            return false;
        }
        store.insert(key.to_owned(), (value.to_vec(), known + 1));
        true
    }
}

/// A call that a worker made and that nobody has answered.
#[derive(Clone, Debug)]
struct Call {
    number: u32,
    worker: usize,
    path: String,
    token: Option<String>,
}

/// What the workers of a proxy have in common.
#[derive(Default)]
struct World {
    now: Cell<Duration>,
    store: Option<Store>,
    calls: RefCell<Vec<Call>>,
    made: Cell<u32>,
    is_cluster_gone: Cell<bool>,
    warnings: RefCell<Vec<String>>,
}

struct View {
    world: Rc<World>,
    worker: usize,
}

impl Environment for View {
    fn now(&self) -> Duration {
        self.world.now.get()
    }

    fn jitter(&self) -> u8 {
        255
    }

    fn verifier(&self) -> &dyn scopegate::jose::SignatureVerifier {
        &scopegate::jose::PureVerifier
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "SECRET").then(|| "secret".to_owned())
    }

    fn shared(&self) -> Option<&dyn SharedStore> {
        self.world.store.as_ref().map(|store| store as &dyn SharedStore)
    }

    fn call(&self, _: &str, call: &HttpCall, _: Duration) -> Result<u32, IssuerFault> {
        if self.world.is_cluster_gone.get() {
            return Err(IssuerFault::NoCluster);
        }
        let number = self.world.made.get() + 1;
        self.world.made.set(number);
        let path = call.headers.iter().find(|(name, _)| *name == ":path").unwrap().1.clone();
        let token = call.body.split('&').find_map(|pair| pair.strip_prefix("token=")).map(str::to_owned);
        self.world.calls.borrow_mut().push(Call { number, worker: self.worker, path, token });
        Ok(number)
    }

    fn note(&self, _: Event<'_>) {}

    fn warn(&self, line: &str) {
        self.world.warnings.borrow_mut().push(line.to_owned());
    }
}

/// One worker, as the edge drives it.
struct SimulatedWorker {
    vm: Worker,
    active: Rc<ActivePolicy>,
    calls: IssuerCalls,
    view: View,
    paused: HashMap<u32, (Exchange, Headers)>,
    outcomes: HashMap<u32, String>,
}

type Headers = Vec<(String, String)>;

struct Proxy {
    world: Rc<World>,
    workers: Vec<SimulatedWorker>,
    requests: u32,
}

impl Proxy {
    fn new(configuration: &Value, workers: usize, shares: bool) -> Self {
        let world = World { store: shares.then(Store::default), ..World::default() };
        world.now.set(Duration::from_secs(START));
        let world = Rc::new(world);
        let workers = (0..workers)
            .map(|worker| {
                let view = View { world: Rc::clone(&world), worker };
                let mut vm = Worker::default();
                let active = activate(&mut vm, configuration);
                IssuerCalls::prepare(&active, &view);
                let calls = IssuerCalls::default();
                SimulatedWorker { vm, active, calls, view, paused: HashMap::new(), outcomes: HashMap::new() }
            })
            .collect();
        Self { world, workers, requests: 0 }
    }

    fn pass(&self, milliseconds: u64) {
        self.world.now.set(self.world.now.get() + Duration::from_millis(milliseconds));
    }

    /// A request at a worker; its number.
    fn send(&mut self, worker: usize, token: &str) -> u32 {
        self.send_with(worker, &[("authorization", format!("Bearer {token}").as_str())])
    }

    fn send_with(&mut self, worker: usize, headers: &[(&str, &str)]) -> u32 {
        self.requests += 1;
        let mut all: Headers =
            [(":method", "GET"), (":path", "/read"), (":authority", "api"), (":scheme", "https")]
                .iter()
                .chain(headers)
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
        if let Some(place) = all.iter().rposition(|(name, _)| name == ":path") {
            let path = all[place].1.clone();
            all.retain(|(name, _)| name != ":path");
            all.push((":path".to_owned(), path));
        }
        let exchange = Exchange::new(Rc::clone(&self.workers[worker].active));
        self.workers[worker].advance(self.requests, exchange, all);
        self.requests
    }

    /// How a request ended; `waits` where it has not.
    fn outcome(&self, request: u32) -> &str {
        let ended = self.workers.iter().find_map(|worker| worker.outcomes.get(&request));
        ended.map_or_else(
            || {
                assert!(self.workers.iter().any(|worker| worker.paused.contains_key(&request)));
                "waits"
            },
            String::as_str,
        )
    }

    fn outcomes<'p>(&'p self, requests: &'p [u32]) -> Vec<&'p str> {
        requests.iter().map(|request| self.outcome(*request)).collect()
    }

    /// The client of a request goes away.
    fn leave(&mut self, worker: usize, request: u32) {
        let (exchange, _) = self.workers[worker].paused.remove(&request).expect("a request that waits");
        exchange.active().leave(WaiterId(request));
    }

    fn calls(&self) -> Vec<Call> {
        self.world.calls.borrow().clone()
    }

    /// The one call in flight.
    fn sole_call(&self) -> Call {
        match self.calls().as_slice() {
            [call] => call.clone(),
            calls => panic!("{calls:?}"),
        }
    }

    fn answer(&mut self, call: &Call, status: u16, body: &Value) {
        self.reply(call, Ok((status, body.to_string().into_bytes())));
    }

    fn reply(&mut self, call: &Call, reply: Result<(u16, Vec<u8>), IssuerFault>) {
        self.world.calls.borrow_mut().retain(|known| known.number != call.number);
        let worker = &mut self.workers[call.worker];
        let resumed = worker.calls.answered(call.number, reply, &worker.view);
        worker.wake(resumed);
    }

    fn tick(&mut self) {
        for worker in &mut self.workers {
            let active = Rc::clone(&worker.active);
            let resumed = worker.calls.tick(&active, &worker.view);
            worker.wake(resumed);
        }
    }

    fn reload(&mut self, configuration: &Value) {
        for worker in &mut self.workers {
            worker.active = activate(&mut worker.vm, configuration);
        }
    }
}

fn activate(vm: &mut Worker, configuration: &Value) -> Rc<ActivePolicy> {
    let loaded = parse_json(configuration.to_string().as_bytes());
    vm.activate(loaded.unwrap_or_else(|errors| panic!("{errors}")).policy)
}

impl SimulatedWorker {
    /// The root context that makes the calls ends, and another takes its place.
    fn end_root(&mut self) {
        for (active, call) in std::mem::take(&mut self.calls).hand_over(&self.view) {
            let resumed = self.calls.run(active, call, &self.view);
            self.wake(resumed);
        }
    }

    fn advance(&mut self, id: u32, mut exchange: Exchange, headers: Headers) {
        let mut calls: Vec<IssuerCall> = Vec::new();
        let borrowed = borrowed(&headers);
        let request = Request::new(&borrowed);
        let mut surroundings = Surroundings {
            verifier: &PureVerifier,
            client_certificate: &|| None,
            host: &NoHost,
            now: self.view.now(),
            waiter: Waiter { id: WaiterId(id), bytes: 1000 },
            can_log: true,
            calls: &mut calls,
        };
        let step = exchange.advance(&request, &mut surroundings);
        let active = Rc::clone(exchange.active());
        match step {
            Step::Forward(_) => drop(self.outcomes.insert(id, "passes".to_owned())),
            Step::Reject(rejection, _) => {
                drop(self.outcomes.insert(id, rejection.reason.as_str().to_owned()));
            }
            Step::Tell(..) | Step::AwaitBody | Step::RejectTokenRequest(..) => {
                panic!("no token endpoint is guarded")
            }
            Step::Await => drop(self.paused.insert(id, (exchange, headers))),
        }
        for call in calls {
            let resumed = self.calls.run(Rc::clone(&active), call, &self.view);
            self.wake(resumed);
        }
    }

    fn wake(&mut self, resumed: Resumed) {
        for (WaiterId(id), verdict) in resumed {
            let Some((mut exchange, headers)) = self.paused.remove(&id) else { continue };
            exchange.deliver(verdict);
            self.advance(id, exchange, headers);
        }
    }
}

fn configuration() -> Value {
    json!({
        "version": 1,
        "providers": {"corp": {
            "issuer": ISSUER,
            "audiences": ["api"],
            "clock_skew": "0s",
            "remote_jwks": {"uri": "https://login.example/jwks", "cluster": "idp", "timeout": "2s", "cache_duration": "10m"},
            "introspection": {
                "uri": "https://login.example/introspect", "cluster": "idp", "timeout": "1s",
                "client_auth": {"method": "client_secret_basic", "client_id": "gateway", "client_secret": {"env": "SECRET"}},
                "cache": {"max_ttl": "60s", "negative_ttl": "10s"},
            },
        }},
        "tenants": [{"id": "acme", "providers": ["corp"]}],
        "suites": [{"name": "api", "operations": [{"name": "read", "path": "/read", "requires": ["read"]}]}],
    })
}

fn apply_to_all() -> Value {
    let mut configuration = configuration();
    configuration["providers"]["corp"]["introspection"]["apply_to"] = json!("all");
    configuration
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "api", "sub": "a", "client_id": "c", "scope": "read", "exp": START + 3600})
}

fn active() -> Value {
    let mut response = claims();
    response["active"] = json!(true);
    response
}

fn signer(name: &str) -> Signer {
    Signer::new("ES256", name, name.bytes().next().unwrap())
}

fn jwt(signer: &Signer) -> String {
    signer.mint(json!({}), &claims())
}

/// A proxy that has the key `a`.
fn with_keys(configuration: &Value, workers: usize, shares: bool) -> Proxy {
    let mut proxy = Proxy::new(configuration, workers, shares);
    proxy.tick();
    for call in proxy.calls() {
        proxy.answer(&call, 200, &jwks([&signer("a")]));
    }
    proxy.tick();
    assert_eq!(proxy.calls().len(), 0);
    proxy
}

mod keys {
    use super::*;

    #[test]
    fn are_fetched_before_any_request_and_requests_before_them_wait() {
        let mut proxy = Proxy::new(&configuration(), 1, false);
        proxy.tick();
        let call = proxy.sole_call();
        assert_eq!(call.path, "/jwks");
        let early = [proxy.send(0, &jwt(&signer("a"))), proxy.send(0, &jwt(&signer("b")))];
        assert_eq!(proxy.outcomes(&early), ["waits", "waits"]);
        proxy.answer(&call, 200, &jwks([&signer("a")]));
        assert_eq!(proxy.outcomes(&early), ["passes", "waits"]);
        // The unknown `kid` is worth another look.
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("a"), &signer("b")]));
        assert_eq!(proxy.outcomes(&early), ["passes", "passes"]);
    }

    #[test]
    fn whose_answer_is_lost_are_given_up_at_the_deadline_and_a_late_answer_is_still_of_use() {
        let mut proxy = Proxy::new(&configuration(), 1, false);
        let request = proxy.send(0, &jwt(&signer("a")));
        let call = proxy.sole_call();
        proxy.pass(2_999);
        proxy.tick();
        assert_eq!(proxy.outcome(request), "waits");
        proxy.pass(1);
        proxy.tick();
        assert_eq!(proxy.outcome(request), "keys_unavailable");
        proxy.answer(&call, 200, &jwks([&signer("a")]));
        let request = proxy.send(0, &jwt(&signer("a")));
        assert_eq!(proxy.outcome(request), "passes");
    }

    #[test]
    fn that_fail_while_requests_wait_are_a_503_for_all_of_them_and_for_the_next_until_the_retry() {
        for reply in [Err(IssuerFault::Unreachable), Ok((500, Vec::new())), Ok((200, b"<html>".to_vec()))] {
            let mut proxy = Proxy::new(&configuration(), 1, false);
            let waiting: Vec<u32> = (0..3).map(|_| proxy.send(0, &jwt(&signer("a")))).collect();
            let call = proxy.sole_call();
            proxy.reply(&call, reply);
            assert_eq!(proxy.outcomes(&waiting), ["keys_unavailable"; 3]);
            proxy.pass(499);
            let refused = proxy.send(0, &jwt(&signer("a")));
            assert_eq!(proxy.outcome(refused), "keys_unavailable");
            assert_eq!(proxy.calls().len(), 0);
            proxy.pass(1);
            let request = proxy.send(0, &jwt(&signer("a")));
            let call = proxy.sole_call();
            proxy.answer(&call, 200, &jwks([&signer("a")]));
            assert_eq!(proxy.outcome(request), "passes");
        }
    }

    #[test]
    fn that_cannot_even_be_asked_for_are_a_503_at_once() {
        let mut proxy = Proxy::new(&configuration(), 1, true);
        proxy.world.is_cluster_gone.set(true);
        let request = proxy.send(0, &jwt(&signer("a")));
        assert_eq!(proxy.outcome(request), "keys_unavailable");
        assert_eq!(
            *proxy.world.warnings.borrow(),
            [
                "keys of provider `corp` failed: the proxy has no such cluster (cluster `idp`, https://login.example/jwks)"
            ]
        );
    }

    #[test]
    fn whose_fetch_fails_or_that_are_skipped_are_told_with_the_cause() {
        let mut key = signer("a").jwk();
        key["use"] = json!("enc");
        let skipped = json!({"keys": [key]}).to_string();
        for (reply, cause) in [
            (Err(IssuerFault::Refused), "connection refused"),
            (Err(IssuerFault::TimedOut), "timed out"),
            (Ok((404, String::new())), "status 404"),
            (Ok((200, json!({"Keys": []}).to_string())), "the key set has no array `keys`"),
            (Ok((200, skipped)), "no key of the set is usable"),
        ] {
            let mut proxy = Proxy::new(&configuration(), 1, false);
            proxy.tick();
            let call = proxy.sole_call();
            proxy.reply(&call, reply.map(|(status, body)| (status, body.into_bytes())));
            let warnings = proxy.world.warnings.borrow();
            let (told, before) = warnings.split_last().unwrap();
            let place = "(cluster `idp`, https://login.example/jwks)";
            assert_eq!(*told, format!("keys of provider `corp` failed: {cause} {place}"));
            if cause.starts_with("no key") {
                assert_eq!(
                    before,
                    [
                        "a key of provider `corp` is not used: keys[0] (kid `a`): not meant for verifying signatures"
                    ]
                );
            }
        }
    }

    #[test]
    fn at_hand_serve_while_a_refresh_fails_and_an_unknown_kid_is_then_the_issuers_fault() {
        let mut proxy = with_keys(&configuration(), 1, false);
        proxy.pass(540_000);
        proxy.tick();
        let call = proxy.sole_call();
        let during = [proxy.send(0, &jwt(&signer("a"))), proxy.send(0, &jwt(&signer("b")))];
        assert_eq!(proxy.outcomes(&during), ["passes", "waits"]);
        proxy.reply(&call, Err(IssuerFault::Unreachable));
        let after = [proxy.send(0, &jwt(&signer("a"))), proxy.send(0, &jwt(&signer("b")))];
        assert_eq!(proxy.outcomes(&during), ["passes", "keys_unavailable"]);
        assert_eq!(proxy.outcomes(&after), ["passes", "keys_unavailable"]);
    }

    #[test]
    fn are_fetched_for_unknown_kids_once_in_thirty_seconds_by_both_workers_together() {
        let mut proxy = with_keys(&configuration(), 2, true);
        let made = proxy.world.made.get();
        let flood = |proxy: &mut Proxy| -> Vec<u32> {
            (0..200).map(|number| proxy.send(number % 2, &jwt(&signer("z")))).collect()
        };
        let first = flood(&mut proxy);
        assert_eq!(proxy.outcomes(&first), vec!["waits"; 200]);
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("a")]));
        proxy.tick();
        assert_eq!(proxy.outcomes(&first), vec!["key_not_found"; 200]);
        proxy.pass(29_999);
        let second = flood(&mut proxy);
        assert_eq!(proxy.outcomes(&second), vec!["key_not_found"; 200]);
        assert_eq!(proxy.world.made.get(), made + 1);
        proxy.pass(1);
        let third = flood(&mut proxy);
        assert_eq!(proxy.world.made.get(), made + 2);
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("z")]));
        proxy.tick();
        assert_eq!(proxy.outcomes(&third), vec!["passes"; 200]);
    }

    #[test]
    fn that_rotate_after_a_refresh_began_are_fetched_again_for_who_waited_for_it() {
        let mut proxy = with_keys(&configuration(), 1, false);
        proxy.pass(540_000);
        proxy.tick();
        let refresh = proxy.sole_call();
        let rotated = proxy.send(0, &jwt(&signer("b")));
        proxy.answer(&refresh, 200, &jwks([&signer("a")]));
        assert_eq!(proxy.outcome(rotated), "waits");
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("a"), &signer("b")]));
        assert_eq!(proxy.outcome(rotated), "passes");
    }

    #[test]
    fn without_a_kid_serve_tokens_with_one_and_a_rotation_among_them_is_noticed() {
        let set = |seed: u8| json!({"keys": [Signer::anonymous("ES256", seed).jwk()]});
        let mut proxy = Proxy::new(&configuration(), 1, false);
        proxy.tick();
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &set(b'a'));
        let good = proxy.send(0, &jwt(&signer("a")));
        assert_eq!((proxy.outcome(good), proxy.calls().len()), ("passes", 0));
        let rotated = proxy.send(0, &jwt(&signer("b")));
        assert_eq!(proxy.outcome(rotated), "waits");
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &set(b'b'));
        assert_eq!(proxy.outcome(rotated), "passes");
        let forged = proxy.send(0, &jwt(&signer("a")));
        assert_eq!((proxy.outcome(forged), proxy.calls().len()), ("signature_invalid", 0));
    }

    #[test]
    fn that_are_withdrawn_end_what_was_verified_with_them_in_each_worker() {
        let mut proxy = with_keys(&configuration(), 2, true);
        let token = jwt(&signer("a"));
        let warm = [proxy.send(0, &token), proxy.send(1, &token)];
        assert_eq!(proxy.outcomes(&warm), ["passes", "passes"]);
        proxy.pass(540_000);
        proxy.tick();
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &json!({"keys": []}));
        proxy.pass(20);
        proxy.tick();
        let cold = [proxy.send(0, &token), proxy.send(1, &token)];
        assert_eq!(proxy.outcomes(&cold), ["keys_unavailable", "keys_unavailable"]);
        proxy.pass(500);
        proxy.tick();
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("a")]));
        proxy.tick();
        let again = [proxy.send(0, &token), proxy.send(1, &token)];
        assert_eq!(proxy.outcomes(&again), ["passes", "passes"]);
    }

    /// A proxy of two workers of which the first learnt `set` by the fetch for an unknown `kid`, 10 s after both had the key `a`.
    fn learnt_by_the_first(set: &Value) -> Proxy {
        let mut proxy = with_keys(&configuration(), 2, true);
        let warm = [proxy.send(0, &jwt(&signer("a"))), proxy.send(1, &jwt(&signer("a")))];
        assert_eq!(proxy.outcomes(&warm), ["passes", "passes"]);
        proxy.pass(10_000);
        proxy.send(0, &jwt(&signer("z")));
        let call = proxy.sole_call();
        proxy.answer(&call, 200, set);
        proxy.pass(200);
        proxy.tick();
        proxy
    }

    #[test]
    fn that_one_worker_learns_to_be_withdrawn_open_at_no_other_after_the_next_tick() {
        for none_left in [true, false] {
            let set = if none_left { json!({"keys": []}) } else { jwks([&signer("b")]) };
            let mut proxy = learnt_by_the_first(&set);
            let made = proxy.world.made.get();
            let requests = [proxy.send(0, &jwt(&signer("a"))), proxy.send(1, &jwt(&signer("a")))];
            let expected = if none_left { "keys_unavailable" } else { "key_not_found" };
            assert_eq!(proxy.outcomes(&requests), [expected; 2]);
            assert_eq!(proxy.world.made.get(), made);
        }
    }

    #[test]
    fn that_were_withdrawn_do_not_come_back_from_what_is_shared() {
        let mut proxy = with_keys(&configuration(), 2, true);
        let shared = proxy.world.store.as_ref().unwrap().0.borrow().clone();
        proxy.pass(10_000);
        proxy.send(0, &jwt(&signer("z")));
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &json!({"keys": []}));
        proxy.tick();
        // The host has lost what was written last, as where it refuses a write.
        for (name, (value, _)) in shared {
            proxy.world.store.as_ref().unwrap().write(&name, &value, 0);
        }
        proxy.pass(200);
        proxy.tick();
        let requests = [proxy.send(0, &jwt(&signer("a"))), proxy.send(1, &jwt(&signer("a")))];
        assert_eq!(proxy.outcomes(&requests), ["keys_unavailable", "keys_unavailable"]);
    }

    #[test]
    fn that_are_replaced_under_their_kid_are_fetched_once_in_thirty_seconds_and_serve_who_waited() {
        let replaced = Signer::new("ES256", "a", b'x');
        let forged = Signer::new("ES256", "a", b'f');
        let mut proxy = with_keys(&configuration(), 1, false);
        let requests = [proxy.send(0, &jwt(&replaced)), proxy.send(0, &jwt(&forged))];
        assert_eq!(proxy.outcomes(&requests), ["waits", "waits"]);
        let good = proxy.send(0, &jwt(&signer("a")));
        assert_eq!(proxy.outcome(good), "passes");
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&replaced]));
        assert_eq!(proxy.outcomes(&requests), ["passes", "signature_invalid"]);
        let old = proxy.send(0, &jwt(&signer("a")));
        assert_eq!(proxy.outcome(old), "signature_invalid");
        proxy.pass(29_999);
        let flood: Vec<u32> = (0..100).map(|_| proxy.send(0, &jwt(&forged))).collect();
        assert_eq!(proxy.outcomes(&flood), vec!["signature_invalid"; 100]);
        assert_eq!(proxy.calls().len(), 0);
        proxy.pass(1);
        let next = [proxy.send(0, &jwt(&forged)), proxy.send(0, &jwt(&signer("z")))];
        assert_eq!(proxy.outcomes(&next), ["waits", "waits"]);
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&replaced]));
        assert_eq!(proxy.outcomes(&next), ["signature_invalid", "key_not_found"]);
    }

    #[test]
    fn that_are_replaced_under_their_kid_by_ones_of_another_type_are_fetched_again_too() {
        let replaced = Signer::new("EdDSA", "a", b'x');
        let mut proxy = with_keys(&configuration(), 1, false);
        let request = proxy.send(0, &jwt(&replaced));
        assert_eq!(proxy.outcome(request), "waits");
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&replaced]));
        assert_eq!(proxy.outcome(request), "passes");
    }

    #[test]
    fn that_change_end_what_was_verified_with_the_old_ones_and_leave_the_rest() {
        let mut proxy = with_keys(&configuration(), 1, false);
        let (old, forever) = (jwt(&signer("a")), jwt(&signer("b")));
        for keys in [vec!["a", "b"], vec!["b"]] {
            proxy.pass(540_000);
            proxy.tick();
            let call = proxy.sole_call();
            let signers: Vec<Signer> = keys.iter().map(|name| signer(name)).collect();
            proxy.answer(&call, 200, &jwks(&signers));
            let requests = [proxy.send(0, &old), proxy.send(0, &forever)];
            let expected = if keys.len() == 2 { "passes" } else { "waits" };
            assert_eq!(proxy.outcomes(&requests), [expected, "passes"]);
        }
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("b")]));
        let refused = proxy.send(0, &old);
        assert_eq!(proxy.outcome(refused), "key_not_found");
    }

    #[test]
    fn are_fetched_by_one_worker_and_by_the_next_where_that_one_is_never_heard_of_again() {
        let mut proxy = Proxy::new(&configuration(), 3, true);
        proxy.tick();
        let lost = proxy.sole_call();
        let waiting: Vec<u32> = (0..3).map(|worker| proxy.send(worker, &jwt(&signer("a")))).collect();
        proxy.world.calls.borrow_mut().clear();
        proxy.pass(2_999);
        proxy.tick();
        assert_eq!((proxy.outcomes(&waiting), proxy.calls().len()), (vec!["waits"; 3], 0));
        proxy.pass(1);
        proxy.tick();
        assert_eq!(proxy.outcomes(&waiting), ["keys_unavailable"; 3]);
        proxy.pass(500);
        proxy.tick();
        let call = proxy.sole_call();
        assert_ne!(call.number, lost.number);
        proxy.answer(&call, 200, &jwks([&signer("a")]));
        proxy.tick();
        let served: Vec<u32> = (0..3).map(|worker| proxy.send(worker, &jwt(&signer("a")))).collect();
        assert_eq!(proxy.outcomes(&served), ["passes"; 3]);
        assert_eq!(proxy.calls().len(), 0);
    }

    #[test]
    fn are_fetched_again_at_once_where_the_root_context_that_fetched_them_ends() {
        let mut proxy = Proxy::new(&configuration(), 2, true);
        proxy.tick();
        let cancelled = proxy.sole_call();
        let waiting = [proxy.send(0, &jwt(&signer("a"))), proxy.send(1, &jwt(&signer("a")))];
        proxy.pass(500);
        proxy.world.calls.borrow_mut().clear();
        proxy.workers[cancelled.worker].end_root();
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("a")]));
        proxy.tick();
        assert_eq!(proxy.outcomes(&waiting), ["passes", "passes"]);
    }

    #[test]
    fn are_refreshed_once_for_all_workers_and_tried_again_once_where_that_fails() {
        let mut proxy = with_keys(&configuration(), 4, true);
        let made = proxy.world.made.get();
        assert_eq!(made, 1);
        proxy.pass(480_000);
        proxy.tick();
        let call = proxy.sole_call();
        proxy.reply(&call, Err(IssuerFault::Unreachable));
        proxy.tick();
        assert_eq!(proxy.calls().len(), 0);
        proxy.pass(499);
        proxy.tick();
        assert_eq!(proxy.calls().len(), 0);
        proxy.pass(1);
        proxy.tick();
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("b")]));
        proxy.tick();
        for worker in 0..4 {
            let request = proxy.send(worker, &jwt(&signer("b")));
            assert_eq!(proxy.outcome(request), "passes", "{worker}");
        }
        assert_eq!(proxy.world.made.get(), made + 2);
    }

    #[test]
    fn shared_by_nobody_knows_whom_are_as_none() {
        let mut proxy = Proxy::new(&configuration(), 1, true);
        let name = proxy.world.store.as_ref().unwrap().0.borrow().keys().next().unwrap().clone();
        for junk in [
            &b""[..],
            b"SGK2",
            b"SGK2 and some more that is nothing but noise, long enough for all of its times",
        ] {
            proxy.world.store.as_ref().unwrap().write(&name, junk, 0);
            let request = proxy.send(0, &jwt(&signer("a")));
            assert_eq!((proxy.outcome(request), proxy.calls().len()), ("waits", 1));
            // Given up, and its backoff over.
            proxy.pass(3_000);
            proxy.tick();
            assert_eq!(proxy.outcome(request), "keys_unavailable");
            proxy.pass(30_000);
            proxy.world.calls.borrow_mut().clear();
        }
    }

    #[test]
    fn of_tenants_that_have_none_are_asked_for_by_requests_alone() {
        let mut configuration = configuration();
        configuration["providers"]["corp"]["issuer"] = json!("https://login.example/{tenant}");
        configuration["providers"]["corp"]["remote_jwks"]["uri"] =
            json!("https://login.example/{tenant}/jwks");
        configuration["tenants"] =
            json!([{"id": "acme", "providers": ["corp"]}, {"id": "b c", "providers": ["corp"]}]);
        let of = |tenant: &str| {
            let mut claims = claims();
            claims["iss"] = json!(format!("https://login.example/{tenant}"));
            signer("a").mint(json!({}), &claims)
        };
        let mut proxy = Proxy::new(&configuration, 1, false);
        proxy.tick();
        assert_eq!(proxy.calls().len(), 0);
        let request = proxy.send(0, &of("b c"));
        let call = proxy.sole_call();
        assert_eq!(call.path, "/b%20c/jwks");
        let unknown = proxy.send(0, &of("nobody"));
        assert_eq!(proxy.outcome(unknown), "issuer_unknown");
        proxy.reply(&call, Ok((404, Vec::new())));
        assert_eq!(proxy.outcome(request), "keys_unavailable");
        for _ in 0..100 {
            proxy.pass(1_000);
            proxy.tick();
        }
        assert_eq!(proxy.calls().len(), 0);
        let request = proxy.send(0, &of("acme"));
        let call = proxy.sole_call();
        assert_eq!(call.path, "/acme/jwks");
        proxy.answer(&call, 200, &jwks([&signer("a")]));
        assert_eq!(proxy.outcome(request), "passes");
        // What has keys is refreshed in the background; a key of one tenant is none of another's.
        proxy.pass(540_000);
        proxy.tick();
        assert_eq!(proxy.sole_call().path, "/acme/jwks");
        let request = proxy.send(0, &of("b c"));
        assert_eq!(proxy.outcome(request), "waits");
    }

    /// A configuration whose issuer has a realm for each of `tenants`, and a token of one of them.
    fn realms(tenants: usize) -> (Value, impl Fn(usize) -> String) {
        let mut configuration = configuration();
        configuration["providers"]["corp"]["issuer"] = json!("https://login.example/{tenant}");
        configuration["providers"]["corp"]["remote_jwks"]["uri"] =
            json!("https://login.example/{tenant}/jwks");
        let tenants = (0..tenants).map(|number| json!({"id": format!("t{number}"), "providers": ["corp"]}));
        configuration["tenants"] = tenants.collect();
        let signer = signer("a");
        let of = move |number: usize| {
            let mut claims = claims();
            claims["iss"] = json!(format!("https://login.example/t{number}"));
            signer.mint(json!({}), &claims)
        };
        (configuration, of)
    }

    #[test]
    fn of_many_tenants_are_fetched_sixteen_at_a_time_and_the_rest_waits_for_its_turn() {
        let (mut configuration, of) = realms(300);
        configuration["max_waiting_requests"] = json!(400);
        let mut proxy = Proxy::new(&configuration, 1, true);
        let requests: Vec<u32> = (0..300).map(|tenant| proxy.send(0, &of(tenant))).collect();
        assert_eq!(proxy.calls().len(), 16);
        let outcomes = proxy.outcomes(&requests);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == "waits").count(), 200);
        assert_eq!(outcomes[200..], ["keys_unavailable"; 100]);
        // Who was refused a place has caused no fetch for later either.
        let mut most = 0;
        while let Some(call) = proxy.calls().first().cloned() {
            most = most.max(proxy.calls().len());
            proxy.answer(&call, 200, &jwks([&signer("a")]));
        }
        assert_eq!((most, proxy.world.made.get()), (16, 200));
        assert_eq!(proxy.outcomes(&requests[..200]), ["passes"; 200]);
        assert_eq!(proxy.workers[0].active.waiting(), 0);
    }

    #[test]
    fn that_get_no_turn_in_time_are_a_503_and_places_that_lost_answers_held_are_free_again() {
        let (configuration, of) = realms(40);
        let mut proxy = Proxy::new(&configuration, 1, false);
        let requests: Vec<u32> = (0..40).map(|tenant| proxy.send(0, &of(tenant))).collect();
        assert_eq!(proxy.calls().len(), 16);
        proxy.world.calls.borrow_mut().clear();
        proxy.pass(3_000);
        proxy.tick();
        assert_eq!(proxy.outcomes(&requests), ["keys_unavailable"; 40]);
        assert_eq!(proxy.calls().len(), 0);
        proxy.pass(500);
        let again = proxy.send(0, &of(39));
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("a")]));
        assert_eq!(proxy.outcome(again), "passes");
    }

    #[test]
    fn of_many_tenants_hold_no_more_turns_than_places_though_their_requests_leave_at_once() {
        let (mut configuration, of) = realms(300);
        configuration["max_waiting_requests"] = json!(100);
        let mut proxy = Proxy::new(&configuration, 1, false);
        for tenant in 0..300 {
            let request = proxy.send(0, &of(tenant));
            if proxy.outcome(request) == "waits" {
                proxy.leave(0, request);
            }
        }
        while let Some(call) = proxy.calls().first().cloned() {
            proxy.answer(&call, 200, &jwks([&signer("a")]));
        }
        assert_eq!(proxy.world.made.get(), 50);
    }

    #[test]
    fn of_many_tenants_grow_old_together_and_are_refreshed_sixteen_at_a_time() {
        let (configuration, of) = realms(40);
        let mut proxy = Proxy::new(&configuration, 1, false);
        for tenant in 0..40 {
            proxy.send(0, &of(tenant));
            let call = proxy.sole_call();
            proxy.answer(&call, 200, &jwks([&signer("a")]));
        }
        proxy.pass(540_000);
        for expected in [16, 16, 8] {
            proxy.tick();
            assert_eq!(proxy.calls().len(), expected);
            for call in proxy.calls() {
                proxy.answer(&call, 200, &jwks([&signer("a")]));
            }
        }
        proxy.tick();
        assert_eq!(proxy.calls().len(), 0);
    }

    #[test]
    fn in_flight_over_a_reload_serve_requests_of_both_policies() {
        let mut proxy = Proxy::new(&configuration(), 1, false);
        let before = proxy.send(0, &jwt(&signer("a")));
        let call = proxy.sole_call();
        let mut stricter = configuration();
        stricter["suites"][0]["operations"][0]["requires"] = json!(["write"]);
        proxy.reload(&stricter);
        let after = proxy.send(0, &jwt(&signer("a")));
        proxy.answer(&call, 200, &jwks([&signer("a")]));
        assert_eq!(proxy.outcomes(&[before, after]), ["passes", "scope_not_associated_with_suite"]);
    }

    #[test]
    fn of_a_provider_that_changes_are_not_those_of_the_old_one() {
        let mut proxy = with_keys(&configuration(), 1, true);
        let mut changed = configuration();
        changed["providers"]["corp"]["remote_jwks"]["uri"] = json!("https://login.example/other");
        proxy.reload(&changed);
        let request = proxy.send(0, &jwt(&signer("a")));
        assert_eq!((proxy.outcome(request), proxy.sole_call().path.as_str()), ("waits", "/other"));
    }

    #[test]
    fn are_waited_for_by_half_of_the_places_and_by_no_more() {
        let mut configuration = configuration();
        configuration["max_waiting_requests"] = json!(4);
        let mut proxy = Proxy::new(&configuration, 1, false);
        let requests: Vec<u32> = (0..4).map(|_| proxy.send(0, &jwt(&signer("a")))).collect();
        assert_eq!(proxy.outcomes(&requests), ["waits", "waits", "keys_unavailable", "keys_unavailable"]);
        proxy.leave(0, requests[0]);
        let next = proxy.send(0, &jwt(&signer("a")));
        assert_eq!(proxy.outcome(next), "waits");
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("a")]));
        assert_eq!(proxy.outcomes(&[requests[1], next]), ["passes", "passes"]);
        assert_eq!(proxy.workers[0].active.waiting(), 0);
    }
}

mod introspection {
    use super::*;

    #[test]
    fn is_one_call_for_all_requests_with_a_token_and_another_for_another_token() {
        let mut proxy = Proxy::new(&configuration(), 1, false);
        let same: Vec<u32> = (0..100).map(|_| proxy.send(0, "one")).collect();
        let other = proxy.send(0, "other");
        let calls = proxy.calls();
        assert_eq!(
            calls.iter().map(|call| call.token.as_deref().unwrap()).collect::<Vec<_>>(),
            ["one", "other"]
        );
        proxy.answer(&calls[0], 200, &active());
        assert_eq!(proxy.outcomes(&same), vec!["passes"; 100]);
        assert_eq!(proxy.outcome(other), "waits");
        proxy.answer(&calls[1], 200, &json!({"active": false}));
        assert_eq!(proxy.outcome(other), "token_inactive");
    }

    #[test]
    fn goes_on_where_its_first_request_leaves_and_where_all_leave() {
        let mut proxy = Proxy::new(&configuration(), 1, false);
        let requests = [proxy.send(0, "one"), proxy.send(0, "one")];
        proxy.leave(0, requests[0]);
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &active());
        assert_eq!(proxy.outcome(requests[1]), "passes");
        let alone = proxy.send(0, "two");
        proxy.leave(0, alone);
        let call = proxy.sole_call();
        let late = proxy.send(0, "two");
        proxy.answer(&call, 200, &active());
        assert_eq!(proxy.outcome(late), "passes");
        assert_eq!((proxy.workers[0].active.waiting(), proxy.world.made.get()), (0, 2));
    }

    #[test]
    fn that_fails_is_a_503_for_all_who_wait_is_not_remembered_and_tells_nobody_else() {
        for reply in [Err(IssuerFault::Unreachable), Ok((500, active().to_string().into_bytes()))] {
            let mut proxy = Proxy::new(&configuration(), 2, true);
            let requests: Vec<u32> = (0..50).map(|_| proxy.send(0, "one")).collect();
            let call = proxy.sole_call();
            proxy.reply(&call, reply);
            assert_eq!(proxy.outcomes(&requests), vec!["introspection_unavailable"; 50]);
            let again = [proxy.send(0, "one"), proxy.send(1, "one")];
            assert_eq!(proxy.outcomes(&again), ["waits", "waits"]);
            assert_eq!(proxy.calls().len(), 2);
        }
    }

    #[test]
    fn whose_answer_is_lost_ends_at_the_deadline_and_a_late_answer_still_counts_for_the_next() {
        let mut proxy = Proxy::new(&configuration(), 1, false);
        let request = proxy.send(0, "one");
        let call = proxy.sole_call();
        proxy.pass(1_999);
        proxy.tick();
        assert_eq!(proxy.outcome(request), "waits");
        proxy.pass(1);
        proxy.tick();
        assert_eq!(proxy.outcome(request), "introspection_unavailable");
        proxy.answer(&call, 200, &json!({"active": false}));
        let next = proxy.send(0, "one");
        assert_eq!(proxy.outcome(next), "token_inactive");
    }

    #[test]
    fn that_cannot_even_be_begun_is_a_503_at_once() {
        let mut proxy = Proxy::new(&configuration(), 1, false);
        proxy.world.is_cluster_gone.set(true);
        let request = proxy.send(0, "one");
        assert_eq!(proxy.outcome(request), "introspection_unavailable");
        assert_eq!(proxy.workers[0].active.waiting(), 0);
    }

    /// Whether `token` is answered from memory `milliseconds` after an answer.
    fn is_remembered(response: &Value, milliseconds: u64) -> bool {
        let mut proxy = Proxy::new(&configuration(), 1, false);
        proxy.send(0, "one");
        let call = proxy.sole_call();
        proxy.answer(&call, 200, response);
        proxy.pass(milliseconds);
        let next = proxy.send(0, "one");
        proxy.outcome(next) != "waits"
    }

    #[test]
    fn is_remembered_for_max_ttl_or_until_exp_if_active_and_for_negative_ttl_if_not() {
        let mut short = active();
        short["exp"] = json!(START + 20);
        let mut endless = active();
        endless.as_object_mut().unwrap().remove("exp");
        let mut elsewhere = active();
        elsewhere["aud"] = json!("elsewhere");
        for (response, seconds) in
            [(active(), 60), (short, 20), (endless, 60), (json!({"active": false}), 10), (elsewhere, 10)]
        {
            let end = seconds * 1000;
            let remembered: Vec<bool> =
                [0, end - 1, end, end + 1].map(|time| is_remembered(&response, time)).to_vec();
            assert_eq!(remembered, [true, true, false, false], "{response}");
        }
    }

    #[test]
    fn that_fails_is_not_remembered_for_a_moment() {
        for response in [json!({"active": "true"}), json!({}), json!([]), json!({"active": true, "scope": 1})]
        {
            assert!(!is_remembered(&response, 0), "{response}");
        }
        for (member, time) in [("exp", START), ("nbf", START + 1)] {
            let mut response = active();
            response[member] = json!(time);
            assert!(!is_remembered(&response, 0), "{response}");
        }
    }

    #[test]
    fn is_asked_again_after_max_ttl_so_that_a_revoked_token_is_refused() {
        let mut proxy = Proxy::new(&configuration(), 2, true);
        let request = proxy.send(0, "one");
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &active());
        assert_eq!(proxy.outcome(request), "passes");
        proxy.pass(59_999);
        // What the other worker takes over is not good for longer.
        let adopted = [proxy.send(0, "one"), proxy.send(1, "one")];
        assert_eq!((proxy.outcomes(&adopted), proxy.calls().len()), (vec!["passes"; 2], 0));
        proxy.pass(1);
        let asked = [proxy.send(0, "one"), proxy.send(1, "one")];
        assert_eq!(proxy.outcomes(&asked), ["waits", "waits"]);
        for call in proxy.calls() {
            proxy.answer(&call, 200, &json!({"active": false}));
        }
        assert_eq!(proxy.outcomes(&asked), ["token_inactive"; 2]);
    }

    #[test]
    fn is_learnt_from_another_worker_for_that_token_alone() {
        let mut proxy = Proxy::new(&configuration(), 2, true);
        proxy.send(0, "one");
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &active());
        let (same, other) = (proxy.send(1, "one"), proxy.send(1, "ones"));
        assert_eq!(proxy.outcomes(&[same, other]), ["passes", "waits"]);
    }

    #[test]
    fn answers_from_the_future_are_not_believed() {
        let mut proxy = Proxy::new(&configuration(), 2, true);
        proxy.pass(10_000);
        proxy.send(0, "one");
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &active());
        proxy.world.now.set(Duration::from_secs(START));
        let request = proxy.send(1, "one");
        assert_eq!(proxy.outcome(request), "waits");
    }

    #[test]
    fn waits_in_half_of_the_places_and_leaves_the_rest_to_other_issuers() {
        let mut configuration = configuration();
        configuration["max_waiting_requests"] = json!(5);
        let mut other = configuration["providers"]["corp"].clone();
        other["issuer"] = json!("https://other.example");
        configuration["providers"]["other"] = other;
        configuration["tenants"] = json!([
            {"id": "acme", "providers": ["corp"]}, {"id": "globex", "providers": ["other"]}]);
        configuration["tenant_resolution"] = json!({"headers": ["x-tenant-id"]});
        let mut proxy = Proxy::new(&configuration, 1, false);
        let send = |proxy: &mut Proxy, token: &str, tenant: &str| {
            let bearer = format!("Bearer {token}");
            proxy.send_with(0, &[("authorization", bearer.as_str()), ("x-tenant-id", tenant)])
        };
        let corp: Vec<u32> = (0..4).map(|_| send(&mut proxy, "one", "acme")).collect();
        assert_eq!(proxy.outcomes(&corp), ["waits", "waits", "waits", "introspection_overloaded"]);
        let other: Vec<u32> = (0..3).map(|_| send(&mut proxy, "two", "globex")).collect();
        assert_eq!(proxy.outcomes(&other), ["waits", "waits", "introspection_overloaded"]);
        for call in proxy.calls() {
            proxy.answer(&call, 200, &json!({"active": false}));
        }
        let next = send(&mut proxy, "three", "acme");
        assert_eq!(proxy.outcome(next), "waits");
    }

    #[test]
    fn calls_are_bounded_though_their_requests_leave_at_once() {
        let mut configuration = configuration();
        configuration["max_waiting_requests"] = json!(8);
        let mut proxy = Proxy::new(&configuration, 1, false);
        let mut overloaded = 0;
        for number in 0..100 {
            let request = proxy.send(0, &format!("token{number}"));
            match proxy.outcome(request) {
                "waits" => proxy.leave(0, request),
                "introspection_overloaded" => overloaded += 1,
                other => panic!("{other}"),
            }
        }
        assert_eq!((proxy.calls().len(), overloaded), (4, 96));
        // Who waits for one of these calls adds none.
        let joined = proxy.send(0, "token0");
        assert_eq!(proxy.outcome(joined), "waits");
    }

    #[test]
    fn refusals_that_the_tenants_had_a_part_in_end_with_a_reload_and_the_issuers_own_do_not() {
        let mut configuration = configuration();
        configuration["providers"]["corp"]["audiences"] = json!(["api/{tenant}"]);
        let mut proxy = Proxy::new(&configuration, 1, true);
        let mut of_globex = active();
        of_globex["aud"] = json!("api/globex");
        let refused = [proxy.send(0, "one"), proxy.send(0, "two")];
        let calls = proxy.calls();
        // One more waits under the next policy for the call of this one.
        configuration["tenants"] =
            json!([{"id": "acme", "providers": ["corp"]}, {"id": "globex", "providers": ["corp"]}]);
        proxy.reload(&configuration);
        let newer = proxy.send(0, "one");
        proxy.answer(&calls[0], 200, &of_globex);
        proxy.answer(&calls[1], 200, &json!({"active": false}));
        assert_eq!(proxy.outcomes(&refused), ["audience_mismatch", "token_inactive"]);
        assert_eq!(proxy.outcome(newer), "passes");
        let after = [proxy.send(0, "one"), proxy.send(0, "two")];
        assert_eq!(proxy.outcomes(&after), ["passes", "token_inactive"]);
    }

    #[test]
    fn that_nobody_runs_any_more_is_run_again_by_who_takes_over() {
        let mut proxy = Proxy::new(&configuration(), 1, false);
        proxy.send(0, "one");
        proxy.reload(&configuration());
        let request = proxy.send(0, "one");
        proxy.world.calls.borrow_mut().clear();
        let worker = &mut proxy.workers[0];
        worker.end_root();
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &active());
        assert_eq!(proxy.outcome(request), "passes");
    }

    #[test]
    fn never_happens_for_what_looks_like_a_jwt_or_is_no_b64token() {
        let mut proxy = with_keys(&configuration(), 1, false);
        let good = jwt(&signer("a"));
        let (signed, _) = good.rsplit_once('.').unwrap();
        for token in [
            format!("{signed}.AAAA"),
            format!("{good}.x"),
            good.replace('.', "..").clone(),
            "ey.".to_owned(),
            signer("a").mint(json!({"alg": "none"}), &claims()),
            "a b".to_owned(),
            "ä".to_owned(),
            "a\"b".to_owned(),
            "a=b".to_owned(),
            "=".to_owned(),
        ] {
            let request = proxy.send(0, &token);
            assert_ne!(proxy.outcome(request), "passes", "{token}");
            assert_ne!(proxy.outcome(request), "introspection_unavailable", "{token}");
            assert_eq!(proxy.calls().iter().filter(|call| call.path == "/introspect").count(), 0, "{token}");
        }
    }

    #[test]
    fn an_answer_that_is_of_no_use_is_told_with_the_member_that_is_wrong() {
        for (member, value) in [("scope", json!(7)), ("exp", json!("soon")), ("client_id", json!([]))] {
            let mut response = active();
            response[member] = value;
            let mut proxy = Proxy::new(&configuration(), 1, false);
            proxy.send(0, "token");
            let call = proxy.sole_call();
            proxy.answer(&call, 200, &response);
            assert_eq!(
                *proxy.world.warnings.borrow(),
                [format!(
                    "introspection of provider `corp` failed: `{member}` has the wrong type \
                     (cluster `idp`, https://login.example/introspect)"
                )]
            );
        }
    }

    #[test]
    fn faults_are_reported_once_a_second_however_many_there_are() {
        let mut proxy = Proxy::new(&configuration(), 1, false);
        for round in 0..2 {
            for number in 0..20 {
                proxy.send(0, &format!("token-{round}-{number}"));
                let call = proxy.sole_call();
                proxy.reply(&call, Err(IssuerFault::Unreachable));
            }
            proxy.pass(1_000);
        }
        let warnings = proxy.world.warnings.borrow();
        assert_eq!(
            *warnings,
            [
                "introspection of provider `corp` failed: no answer (cluster `idp`, https://login.example/introspect)",
                "introspection of provider `corp` failed: no answer (cluster `idp`, https://login.example/introspect); 19 more before it"
            ]
        );
    }
}

mod apply_to_all {
    use super::*;

    /// How a request with this JWT ends where the issuer says this of it.
    fn ends(claims: &Value, response: &Value) -> String {
        let mut proxy = with_keys(&super::apply_to_all(), 1, false);
        let request = proxy.send(0, &signer("a").mint(json!({}), claims));
        assert_eq!(proxy.outcome(request), "waits");
        let call = proxy.sole_call();
        assert_eq!(call.path, "/introspect");
        proxy.answer(&call, 200, response);
        proxy.outcome(request).to_owned()
    }

    fn with(document: &Value, member: &str, value: Value) -> Value {
        let mut changed = document.clone();
        match value {
            Value::Null => drop(changed.as_object_mut().unwrap().remove(member)),
            value => changed[member] = value,
        }
        changed
    }

    #[test]
    fn a_jwt_passes_where_both_say_so() {
        assert_eq!(ends(&claims(), &active()), "passes");
        assert_eq!(ends(&claims(), &json!({"active": false})), "token_inactive");
        assert_eq!(ends(&claims(), &json!({"active": "true"})), "introspection_unavailable");
    }

    #[test]
    fn an_answer_that_contradicts_the_jwt_is_the_issuers_fault() {
        for (member, value) in [("sub", "b"), ("client_id", "d"), ("tenant_id", "globex")] {
            let claims = with(&claims(), "tenant_id", json!("acme"));
            let mut configuration = super::apply_to_all();
            configuration["tenant_resolution"] = json!({"claims": ["tenant_id"]});
            let mut proxy = with_keys(&configuration, 1, false);
            let token = signer("a").mint(json!({}), &claims);
            let request = proxy.send(0, &token);
            let call = proxy.sole_call();
            proxy.answer(&call, 200, &with(&active(), member, json!(value)));
            assert_eq!(proxy.outcome(request), "introspection_unavailable", "{member}");
            let again = proxy.send(0, &token);
            assert_eq!(proxy.outcome(again), "waits", "{member}");
        }
        let elsewhere = with(&active(), "iss", json!("https://other"));
        assert_eq!(ends(&claims(), &elsewhere), "introspection_unavailable");
    }

    #[test]
    fn two_tenant_claims_that_agree_agree_with_one_in_the_answer_and_so_does_an_alias() {
        let mut configuration = super::apply_to_all();
        configuration["tenant_resolution"] = json!({"claims": ["tenant_id", "org"]});
        configuration["tenants"][0]["aliases"] = json!(["a-1"]);
        let claims = with(&with(&claims(), "tenant_id", json!("acme")), "org", json!("acme"));
        for said in ["acme", "a-1"] {
            let mut proxy = with_keys(&configuration, 1, false);
            let request = proxy.send(0, &signer("a").mint(json!({}), &claims));
            let call = proxy.sole_call();
            proxy.answer(&call, 200, &with(&active(), "tenant_id", json!(said)));
            assert_eq!(proxy.outcome(request), "passes", "{said}");
        }
    }

    #[test]
    fn scopes_are_those_that_both_grant_where_both_speak_of_them() {
        for (signed, said, expected) in [
            (json!("read"), json!("read write"), "passes"),
            (json!("read write"), json!("write"), "scope_not_associated_with_suite"),
            (json!("read"), Value::Null, "passes"),
            (Value::Null, json!(["read"]), "passes"),
            (Value::Null, Value::Null, "scope_absent_from_introspection"),
            (json!("read"), json!(""), "no_scopes_in_token"),
        ] {
            let (claims, active) = (with(&claims(), "scope", signed), with(&active(), "scope", said));
            assert_eq!(ends(&claims, &active), expected, "{claims} {active}");
        }
    }

    #[test]
    fn a_binding_of_either_binds_and_the_earlier_expiry_counts() {
        let bound = json!({"x5t#S256": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
        assert_eq!(ends(&claims(), &with(&active(), "cnf", bound)), "sender_constraint_failed");
        let mut proxy = with_keys(&super::apply_to_all(), 1, false);
        let token = jwt(&signer("a"));
        proxy.send(0, &token);
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &with(&active(), "exp", json!(START + 5)));
        proxy.pass(4_999);
        let before = proxy.send(0, &token);
        assert_eq!(proxy.outcome(before), "passes");
        proxy.pass(1);
        let at = proxy.send(0, &token);
        assert_eq!(proxy.outcome(at), "waits");
    }

    #[test]
    fn what_the_jwt_is_refused_for_by_itself_is_refused_before_the_issuer_is_asked() {
        let mut proxy = with_keys(&super::apply_to_all(), 1, false);
        for (member, value, reason) in [
            ("exp", json!(START), "token_expired"),
            ("aud", json!("elsewhere"), "audience_mismatch"),
            ("iss", json!("https://other"), "issuer_unknown"),
            ("cnf", json!({"jkt": "x"}), "sender_constraint_failed"),
        ] {
            let request = proxy.send(0, &signer("a").mint(json!({}), &with(&claims(), member, value)));
            assert_eq!((proxy.outcome(request), proxy.calls().len()), (reason, 0));
        }
    }

    #[test]
    fn a_request_waits_for_keys_and_then_for_the_answer() {
        let mut proxy = Proxy::new(&super::apply_to_all(), 1, false);
        let request = proxy.send(0, &jwt(&signer("a")));
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("b")]));
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("a")]));
        let call = proxy.sole_call();
        assert_eq!(call.path, "/introspect");
        proxy.answer(&call, 200, &active());
        assert_eq!(proxy.outcome(request), "passes");
    }

    #[test]
    fn a_withdrawn_key_ends_the_answer_that_was_remembered_too() {
        let mut proxy = with_keys(&super::apply_to_all(), 1, false);
        let token = jwt(&signer("a"));
        proxy.send(0, &token);
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &active());
        proxy.pass(50_000);
        let unknown = proxy.send(0, &jwt(&signer("b")));
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &jwks([&signer("b")]));
        assert_eq!(proxy.outcome(unknown), "waits");
        let request = proxy.send(0, &token);
        assert_eq!(proxy.outcome(request), "key_not_found");
    }
}
