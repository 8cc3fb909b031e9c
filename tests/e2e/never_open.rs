//! Nothing gets through where the filter did not decide.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::decisions::configuration;
use crate::issuer::{Behaviour, FaultyIssuer};
use crate::sabotage::{self, Fault};
use scopegate_testing::harness::{
    AuthorizationServer, Directory, Gateway, Options, built_module, manager, validate, wait_until,
};
use scopegate_testing::http::{Connection, Request, Response};

#[test]
fn without_the_filter_the_tripwire_refuses_every_request() {
    let gateway = Gateway::start(&json!({}), &Options { filter: false, ..Options::default() });
    for request in [
        Request::get("/"),
        Request::get("/").header("wasm.scopegate.decision", "allow"),
        Request::get("/").header("scopegate.decision", "allow").header("x-tenant-id", "acme"),
        Request::get("/").bearer("any"),
    ] {
        let response = gateway.send(&request);
        assert_eq!((response.status, response.text().as_str()), (403, "RBAC: access denied"), "{request:?}");
    }
    assert_eq!(gateway.stat("http.gateway.rbac.scopegate_tripwire.denied"), Some(4));
    assert_eq!(gateway.upstream_count(), 0);
}

#[test]
fn a_configuration_that_is_none_is_refused_with_the_place_of_the_error_and_envoy_does_not_start() {
    let good = configuration(AuthorizationServer::shared());
    assert_eq!(validate(&good), Ok(()));

    let mut wrong = good.clone();
    wrong["tenant"] = json!([]);
    wrong["tenants"] = json!([]);
    wrong["suites"][0]["scope"] = json!(["billing:read"]);
    for (configuration, named) in [
        (json!("{\"version\": 1,"), vec!["not JSON"]),
        (
            wrong,
            vec![
                "unknown key `tenant`",
                "tenants: ",
                "suites[0]: unknown key `scope`; did you mean `scopes`?",
            ],
        ),
    ] {
        let log = Gateway::try_start(&configuration, &Options::default()).err().expect("a refusal");
        for part in ["the configuration is refused"].into_iter().chain(named) {
            assert!(log.contains(part), "`{part}`: {log}");
        }
    }
}

/// A file of code, for as long as this lives.
struct Code {
    _directory: Directory,
    path: PathBuf,
}

impl Code {
    fn new(bytes: &[u8]) -> Self {
        let directory = Directory::new("code");
        let path = directory.file("code.wasm", bytes);
        Self { _directory: directory, path }
    }

    fn options(&self) -> Options {
        Options { code: Some(self.path.clone()), concurrency: 2, ..Options::default() }
    }
}

/// Leaves what protects where the filter fails to another failure policy, or takes the tripwire away.
fn weaken(bootstrap: &mut Value, failure_policy: &str, has_tripwire: bool) {
    let filters = manager(bootstrap)["http_filters"].as_array_mut().expect("filters");
    filters[0]["typed_config"]["config"]["failure_policy"] = json!(failure_policy);
    if failure_policy != "FAIL_RELOAD" {
        filters[0]["typed_config"]["config"].as_object_mut().expect("a map").remove("reload_config");
    }
    if !has_tripwire {
        filters.remove(1);
    }
}

/// What an issuer takes to answer, and what a stream may then take before Envoy ends it.
const ISSUER_TAKES: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_millis(1_500);

#[test]
fn a_trap_lets_nothing_through_ends_what_waited_and_is_over_in_a_moment() {
    let server = AuthorizationServer::shared();
    let issuer = FaultyIssuer::start(|received| {
        let mut response = AuthorizationServer::shared().claims("tenant1", "tenant1-sync", "billing:read");
        response["active"] = json!(true);
        if received.parameter("token").is_some_and(|token| token == "trap") {
            response["padding"] = json!("x".repeat(8_000));
            return Behaviour::json(&response);
        }
        Behaviour::json(&response).after(ISSUER_TAKES.as_millis() as u64)
    });
    let mut configuration = configuration(server);
    configuration["providers"]["corp"]["introspection"] = json!({
        "uri": "https://login.example.com/introspect", "cluster": "idp", "client_auth": {"method": "none"},
    });
    let list = Request::get("/tenant1/invoices");
    let known = list.clone().bearer(&server.token("tenant1-sync", "billing:read", "urn:billing"));
    let many_headers =
        (0..60).fold(known.clone(), |request, number| request.header(format!("x-{number}"), "1"));
    let large_answer = list.clone().bearer("trap");
    let code = Code::new(&sabotage::with_both(Fault::TrapAtHeaders(60), Fault::TrapAtAnswer(8_000)));
    let (at_headers, at_answer) = (("at headers", &many_headers), ("at an answer", &large_answer));
    for (failure_policy, traps) in [
        ("FAIL_RELOAD", &[at_headers, at_answer][..]),
        ("FAIL_CLOSED", &[at_headers]),
        ("FAIL_OPEN", &[at_headers]),
        ("FAIL_OPEN", &[at_answer]),
    ] {
        let options = Options {
            concurrency: 1,
            clusters: vec![("idp".to_owned(), issuer.port)],
            bootstrap: Box::new(move |bootstrap| {
                manager(bootstrap)["stream_idle_timeout"] = json!(format!("{}s", IDLE.as_secs_f32()));
                weaken(bootstrap, failure_policy, true);
            }),
            ..code.options()
        };
        let gateway = Gateway::start(&configuration, &options);
        let mut passed = 0;
        let mut is_passed = |response: &Response| {
            let is_passed = response.status == 200;
            if is_passed {
                assert_eq!(response.upstream_saw("x-client-id"), ["tenant1-sync"], "{failure_policy}");
                passed += 1;
            }
            is_passed
        };
        for (number, (what, trap)) in traps.iter().enumerate() {
            let about = format!("a trap {what} under {failure_policy}");
            assert!(is_passed(&gateway.send(&known)), "{about}");

            let asked = issuer.count("/introspect");
            let mut waiting: Vec<Connection> = (0..8).map(|_| Connection::open(gateway.port)).collect();
            for (one, connection) in waiting.iter_mut().enumerate() {
                connection.begin(&list.clone().bearer(&format!("opaque-{number}-{one}")));
            }
            wait_until("the issuer is asked about them", || issuer.count("/introspect") >= asked + 8);
            let mut trapping = Connection::open(gateway.port);
            trapping.begin(trap);
            let lost = || gateway.log().matches("Uncaught RuntimeError: unreachable").count();
            wait_until("the VM is lost", || lost() > number);
            let since = Instant::now();
            let (mut refused, mut recovery) = (0, None);
            while recovery.is_none() && since.elapsed() < IDLE {
                match is_passed(&gateway.send(&known)) {
                    true => recovery = Some(since.elapsed()),
                    false => refused += 1,
                }
                thread::sleep(Duration::from_millis(5));
            }
            let statuses: Vec<u16> = [trapping]
                .into_iter()
                .chain(waiting)
                .map(|mut connection| {
                    let response = connection.receive(false).expect("an answer");
                    assert!(response.status >= 400, "{about}: {response:?}");
                    response.status
                })
                .collect();
            let ended = since.elapsed();
            println!(
                "{about}: refused meanwhile {refused}, the first good answer after {recovery:?}; what trapped and who \
                 waited got {statuses:?} within {ended:?}"
            );
            assert_eq!(recovery.is_some(), failure_policy == "FAIL_RELOAD", "{about}");
            assert!(ended < IDLE * 3, "{about}");
        }
        assert_eq!(gateway.upstream_count(), passed, "{failure_policy}: something passed undecided");
    }
}

/// The statuses of requests on connections of their own, so many that they reach each of two workers.
fn statuses(gateway: &Gateway, request: &Request) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    for _ in 0..40 {
        *statuses.entry(gateway.send(request).status).or_default() += 1;
    }
    statuses
}

/// A good configuration and a request that it lets pass.
fn good() -> (Value, Request) {
    let server = AuthorizationServer::shared();
    let token = server.token("tenant1-sync", "billing:read", "urn:billing");
    (configuration(server), Request::get("/tenant1/invoices").bearer(&token))
}

#[test]
fn a_worker_without_the_filter_serves_nothing_while_the_tripwire_stands() {
    let (configuration, request) = good();
    let refusing = Code::new(&sabotage::with(Fault::RefuseConfigureAfter(1)));
    let deaf = Code::new(&sabotage::without_callbacks());
    for (code, failure_policy, has_tripwire, expected) in [
        (&refusing, "FAIL_RELOAD", true, 403),
        (&refusing, "FAIL_OPEN", true, 403),
        (&deaf, "FAIL_RELOAD", true, 403),
        // What it is there for.
        (&refusing, "FAIL_CLOSED", false, 200),
    ] {
        let bootstrap =
            Box::new(move |bootstrap: &mut Value| weaken(bootstrap, failure_policy, has_tripwire));
        let gateway = Gateway::start(&configuration, &Options { bootstrap, ..code.options() });
        assert_eq!(statuses(&gateway, &request), BTreeMap::from([(expected, 40)]), "{failure_policy}");
        assert_eq!(gateway.upstream_count(), if has_tripwire { 0 } else { 40 });
    }
}

#[test]
fn a_reload_that_fails_on_workers_alone_lets_nothing_through_and_the_next_one_mends_it() {
    let (configuration, request) = good();
    let mut options = Options { reloadable: true, concurrency: 2, ..Options::default() };
    let gateway = Gateway::start(&configuration, &options);
    let mut passed = 0;
    for (fault, number) in [(Fault::RefuseConfigureAfter(1), 1), (Fault::TrapInConfigureAfter(1), 2)] {
        assert_eq!(statuses(&gateway, &request), BTreeMap::from([(200, 40)]), "before {fault:?}");
        passed += 40;
        let code = Code::new(&sabotage::with(fault));
        // The fault counts what is configured by VMs of one id.
        options.vm_id = format!("scopegate-{number}");
        options.code = Some(code.path.clone());
        assert!(gateway.reload(&configuration, &options), "the canary takes it: {}", gateway.log());
        wait_until("the tripwire refuses", || {
            let status = gateway.send(&request).status;
            passed += u64::from(status == 200);
            status == 403
        });
        thread::sleep(Duration::from_millis(200));
        assert_eq!(statuses(&gateway, &request), BTreeMap::from([(403, 40)]), "{fault:?}");
        assert_eq!(gateway.upstream_count(), passed, "{fault:?}");
        options.code = None;
        let since = Instant::now();
        assert!(gateway.reload(&configuration, &options), "{}", gateway.log());
        wait_until("requests are served again", || {
            let status = gateway.send(&request).status;
            passed += u64::from(status == 200);
            status == 200
        });
        println!("{fault:?} on workers alone: served again {:?} after the next push", since.elapsed());
    }
}

#[test]
fn a_filter_that_traps_in_every_tick_flaps_and_never_opens() {
    let (configuration, request) = good();
    let code = Code::new(&sabotage::with(Fault::TrapInTick));
    let mut options = Options { reloadable: true, ..code.options() };
    let gateway = Gateway::start(&configuration, &options);
    let (mut passed, mut refused) = (0, 0);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        let response = gateway.send(&request);
        if response.status == 200 {
            assert_eq!(response.upstream_saw("x-client-id"), ["tenant1-sync"]);
            passed += 1;
        } else {
            assert!(response.status == 403 || response.status == 503, "{response:?}");
            refused += 1;
        }
    }
    println!(
        "a trap in every tick: {passed} requests decided and passed, {refused} refused in {:?}",
        since.elapsed()
    );
    assert!(refused > 0, "nothing trapped");
    // Some were decided and sent on before the VM was lost that their answers had to pass.
    let reached = gateway.upstream_count();
    let decided = || gateway.access_log().matches("decision=allow").count() as u64;
    wait_until("the access log is written", || decided() >= reached);
    assert_eq!(decided(), reached);
    options.code = None;
    assert!(gateway.reload(&configuration, &options), "{}", gateway.log());
    wait_until("requests are served again", || gateway.send(&request).status == 200);
    assert_eq!(statuses(&gateway, &request), BTreeMap::from([(200, 40)]));
}

#[test]
fn code_that_is_none_or_fails_on_the_canary_neither_starts_envoy_nor_opens_it() {
    let (configuration, request) = good();
    let built = std::fs::read(built_module()).expect("the built module");
    let missing = Code { path: "/nonexistent/scopegate.wasm".into(), ..Code::new(b"") };
    for (about, code) in [
        ("missing", missing),
        ("empty", Code::new(b"")),
        ("half", Code::new(&built[..built.len() / 2])),
        ("not wasm", Code::new(b"<html>503 Service Unavailable</html>")),
        ("an empty module", Code::new(b"\0asm\x01\0\0\0")),
        ("refusing", Code::new(&sabotage::with(Fault::RefuseConfigureAfter(0)))),
        ("trapping", Code::new(&sabotage::with(Fault::TrapInConfigureAfter(0)))),
    ] {
        let started = Gateway::try_start(&configuration, &code.options()).is_ok();
        assert!(!started, "{about}");
        if ["missing", "half", "refusing"].contains(&about) {
            let discovered = Gateway::start(&configuration, &Options { reloadable: true, ..code.options() });
            assert_eq!(statuses(&discovered, &request), BTreeMap::from([(500, 40)]), "{about}");
            assert_eq!(discovered.upstream_count(), 0, "{about}");
        }
    }
}
