//! Everything at once: callers of every kind, reloads, rotations, an issuer that fails and lies, clients that go away, and
//! junk tokens at the memory budget. No request is lost or passes wrongly, and every one is counted.

use std::collections::BTreeMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::soak::{StopsWhenDropped, spoilt};
use scopegate_testing::harness::{AuthorizationServer, Gateway, Options, wait_until};
use scopegate_testing::http::{Connection, Request};

/// A table whose tenant may be told by any of the callers; `number` changes what nobody's decision depends on.
fn configuration(issuer: &AuthorizationServer, number: usize) -> Value {
    let operation = |name: &str, scope: &str| json!({"name": name, "path": format!("/{{tenant}}/{name}"), "requires": [format!("billing:{scope}")]});
    json!({
        "version": 1,
        "realm": format!("policy.{number}"),
        "memory_budget": "4MiB",
        "providers": {"corp": {
            "issuer": issuer.issuer, "audiences": ["billing-api"],
            "remote_jwks": {"uri": "https://login.example.com/jwks.json", "cluster": "idp", "cache_duration": "1s"},
            "introspection": {
                "uri": "https://login.example.com/oauth/introspect", "cluster": "idp", "timeout": "500ms",
                "client_auth": {"method": "client_secret_basic", "client_id": "gateway",
                    "client_secret": {"value": "gateway-secret"}},
                "cache": {"max_ttl": "300ms", "max_entries": 1_000_000, "negative_ttl": "1h"},
            },
        }},
        "tenant_resolution": {"claims": ["tenant_id"]},
        "tenants": [
            {"id": "tenant1", "applications": [
                {"client_id": "tenant1-sync", "scopes": ["billing:read", "billing:write"]}]},
            {"id": format!("tenant-{number}"), "applications": []},
        ],
        "suites": [{"name": "billing", "operations": [operation("read", "read"), operation("write", "write")]}],
        "token_endpoints": [{"path": "/oauth/token", "on_unregistered_scope": "reject"}],
        "audit": {"decisions": "denied", "max_per_second": 5},
    })
}

/// One kind of request, and what may come of it: `may_fail` where its issuer has to be asked.
#[derive(Clone)]
struct Case {
    request: Request,
    status: u16,
    reason: &'static str,
    may_fail: bool,
}

impl Case {
    fn new(request: Request, status: u16, reason: &'static str) -> Self {
        Self { request, status, reason, may_fail: false }
    }

    /// As well 503, since its issuer has to be asked.
    fn or_unavailable(self) -> Self {
        Self { may_fail: true, ..self }
    }

    /// What is to come of it.
    fn decision(&self) -> (u16, String) {
        (self.status, self.reason.to_owned())
    }

    /// Whether this is what may come of it.
    fn allows(&self, decision: &(u16, String)) -> bool {
        *decision == self.decision()
            || (self.may_fail && decision.0 == 503 && decision.1 != "introspection_overloaded")
    }
}

fn get(path: &str, token: &str) -> Request {
    Request::get(path).bearer(token)
}

/// What callers with JWTs get, whatever happens to the issuer. A signature that no key verifies has its keys fetched again, since
/// one may have been replaced: it is not known to be bad while they cannot be had.
fn jwt_cases(issuer: &AuthorizationServer) -> Vec<Case> {
    let good = issuer.token("tenant1-sync", "billing:read", "urn:billing");
    let mut claims = issuer.claims("tenant1", "tenant1-sync", "billing:read");
    claims["exp"] = json!(1);
    let expired = issuer.mint(&json!({"claims": claims}));
    vec![
        Case::new(get("/tenant1/read", &good), 200, "-"),
        Case::new(get("/tenant1/write", &good), 403, "scope_not_granted"),
        Case::new(get("/elsewhere", &good), 403, "operation_not_mapped"),
        Case::new(get("/tenant2/read", &good), 401, "tenant_mismatch"),
        Case::new(Request::get("/tenant1/read"), 401, "credential_missing"),
        Case::new(get("/tenant1/read", &spoilt(&good)), 401, "signature_invalid").or_unavailable(),
        Case::new(get("/tenant1/read", &expired), 401, "token_expired"),
        Case::new(get("/tenant1//read", &good), 400, "path_ambiguous"),
    ]
}

fn opaque_cases(issuer: &AuthorizationServer) -> Vec<Case> {
    let good = issuer.token("tenant1-sync", "billing:read", "urn:billing:opaque");
    vec![
        Case::new(get("/tenant1/read", &good), 200, "-").or_unavailable(),
        Case::new(get("/tenant1/write", &good), 403, "scope_not_granted").or_unavailable(),
        Case::new(get("/tenant2/read", &good), 401, "tenant_mismatch").or_unavailable(),
    ]
}

fn token_cases() -> Vec<Case> {
    let request = |scope: &str| {
        let form = [("grant_type", "client_credentials"), ("scope", scope)];
        Request::post("/oauth/token").basic("tenant1-sync", "tenant1-sync-secret").form(&form)
    };
    vec![Case::new(request("billing:read"), 200, "-"), Case::new(request("billing:admin"), 400, "-")]
}

/// A token that nobody issued, near the size that is looked at; never the same twice.
fn junk(number: usize) -> Case {
    Case::new(get("/tenant1/read", &format!("{number:0>12000}")), 401, "token_inactive").or_unavailable()
}

/// What came of everything.
#[derive(Default)]
struct Tally {
    answered: BTreeMap<(u16, String), usize>,
    wrong: BTreeMap<String, usize>,
    lost: usize,
}

impl Tally {
    fn add(&mut self, other: Self) {
        for (decision, count) in other.answered {
            *self.answered.entry(decision).or_default() += count;
        }
        for (what, count) in other.wrong {
            *self.wrong.entry(what).or_default() += count;
        }
        self.lost += other.lost;
    }

    fn count(&self) -> usize {
        self.answered.values().sum()
    }
}

/// Sends one case after the other until it is over.
fn caller(port: u16, mut next: impl FnMut(usize) -> Case, pause: Duration, is_over: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut open = None;
    for turn in 0.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let case = next(turn);
        let mut connection = open.take().unwrap_or_else(|| Connection::open(port));
        match connection.try_send(&case.request) {
            None => tally.lost += 1,
            Some(response) => {
                let decision = response.decision();
                if !case.allows(&decision) {
                    let what = format!("{decision:?} in place of {} {}", case.status, case.reason);
                    *tally.wrong.entry(what).or_default() += 1;
                }
                *tally.answered.entry(decision).or_default() += 1;
                if response.header("connection") != Some("close") {
                    open = Some(connection);
                }
            }
        }
        thread::sleep(pause);
    }
    tally
}

/// Sends requests whose issuer has to be asked, and goes away before the answer. Returns how many.
fn deserter(port: u16, is_over: &AtomicBool) -> usize {
    let mut count = 0;
    while !is_over.load(Ordering::SeqCst) {
        let mut connection = Connection::open(port);
        connection.begin(&get("/tenant1/read", &format!("deserted-{count}")));
        thread::sleep(Duration::from_millis(7));
        drop(connection);
        count += 1;
        thread::sleep(Duration::from_millis(60));
    }
    count
}

/// What is done to the gateway and its issuer, each in turn.
fn disturb(gateway: &Gateway, issuer: &AuthorizationServer, options: &Options, turn: usize) {
    let behave = |how: Value| issuer.behave(&how);
    let endpoint = "introspection";
    match turn % 8 {
        0 | 4 => {
            let taken = gateway.reload(&configuration(issuer, turn + 1), options);
            assert!(taken, "{}", gateway.log());
        }
        1 => behave(json!({"endpoint": endpoint, "status": 500})),
        2 => behave(json!({"endpoint": endpoint, "body": {"active": "true", "scope": "billing:write"}})),
        3 => behave(json!({"endpoint": endpoint, "hang_up": true})),
        5 => behave(json!({"endpoint": endpoint, "delay_ms": 700})),
        6 => {
            behave(json!({"endpoint": "jwks", "status": 503, "times": 2}));
            issuer.rotate_keys(&json!({"keep_old": true}));
        }
        _ => behave(json!({"endpoint": endpoint})),
    }
}

fn chaos(lasts: Duration) {
    let issuer = AuthorizationServer::start(None);
    let options = Options {
        concurrency: 2,
        reloadable: true,
        holds_headers: true,
        clusters: vec![("idp".to_owned(), issuer.port)],
        log_levels: "wasm:warn".to_owned(),
        // A path with two slashes is the filter's to refuse.
        hardened: false,
        ..Options::default()
    };
    let gateway = Gateway::start(&configuration(&issuer, 0), &options);
    let (jwt, opaque) = (RwLock::new(jwt_cases(&issuer)), RwLock::new(opaque_cases(&issuer)));
    let tokens = RwLock::new(token_cases());
    let is_over = AtomicBool::new(false);
    let deserted = AtomicUsize::new(0);
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut memory = Vec::new();
    thread::scope(|scope| {
        let (port, is_over, deserted) = (gateway.port, &is_over, &deserted);
        fn by_turns(cases: &RwLock<Vec<Case>>) -> impl Fn(usize) -> Case {
            |turn| {
                let cases = cases.read().expect("a lock");
                cases[turn % cases.len()].clone()
            }
        }
        let pause = Duration::from_millis(3);
        let callers = [
            scope.spawn({
                let next = by_turns(&jwt);
                move || caller(port, next, pause, is_over)
            }),
            scope.spawn({
                let next = by_turns(&jwt);
                move || caller(port, next, pause, is_over)
            }),
            scope.spawn({
                let next = by_turns(&opaque);
                move || caller(port, next, pause, is_over)
            }),
            scope.spawn({
                let next = by_turns(&tokens);
                move || caller(port, next, pause * 4, is_over)
            }),
            scope.spawn(move || caller(port, junk, pause, is_over)),
        ];
        scope.spawn(move || deserted.store(deserter(port, is_over), Ordering::SeqCst));
        let stops = StopsWhenDropped(is_over);
        for turn in 0.. {
            if start.elapsed() >= lasts {
                break;
            }
            disturb(&gateway, &issuer, &options, turn);
            // The gateway has the keys of the last rotation by now, and those before leave the set with the next.
            if turn % 8 == 2 {
                *jwt.write().expect("a lock") = jwt_cases(&issuer);
                *opaque.write().expect("a lock") = opaque_cases(&issuer);
            }
            memory.push(gateway.memory());
            thread::sleep(Duration::from_millis(900));
        }
        issuer.behave(&json!({"endpoint": "introspection"}));
        drop(stops);
        for caller in callers {
            tally.add(caller.join().expect("a caller"));
        }
    });
    let deserted = deserted.into_inner();
    let counted = || -> u64 { gateway.stats("scopegate.decisions").iter().map(|(_, count)| count).sum() };
    let (answered, all) = (tally.count() as u64, (tally.count() + deserted) as u64);
    println!(
        "{:?}: {answered} answered {:?}, {deserted} deserted, {} lost; {} counted; resident memory {:?} MiB",
        start.elapsed(),
        tally.answered,
        tally.lost,
        counted(),
        memory.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>(),
    );
    assert_eq!((tally.wrong, tally.lost), (BTreeMap::new(), 0));
    let passed = tally.answered.get(&(200, "-".to_owned())).copied().unwrap_or_default();
    assert!(passed > 50, "{:?}", tally.answered);
    let [jwt, opaque, tokens] = [jwt, opaque, tokens].map(|cases| cases.into_inner().expect("a lock"));
    let all_cases = || jwt.iter().chain(&opaque).chain(&tokens);
    let never: Vec<_> =
        all_cases().map(Case::decision).filter(|decision| !tally.answered.contains_key(decision)).collect();
    assert_eq!(never, []);
    // Whoever went away may have been decided first.
    wait_until("every request is counted", || (answered..=all).contains(&counted()));
    // What came before the first third is warming up.
    let (early, late) = (memory[memory.len() / 3], memory[memory.len() - 1]);
    assert!(late < early + (24 << 20), "resident memory grew from {} to {} MiB", early >> 20, late >> 20);
    // And all is well again.
    wait_until("each case gets its own answer", || {
        all_cases().all(|case| gateway.send(&case.request).decision() == case.decision())
    });
}

#[test]
fn nothing_is_lost_or_passes_wrongly_while_everything_happens_at_once() {
    chaos(Duration::from_secs(25));
}

#[test]
#[ignore = "takes ten minutes: `make soak`"]
fn nothing_is_lost_or_passes_wrongly_while_everything_happens_at_once_for_ten_minutes() {
    chaos(Duration::from_secs(600));
}
