//! Token requests: what is held until the body is complete, whatever the host does with it meanwhile.

use std::time::Duration;

use serde_json::{Value, json};

use super::abi::{HeaderMap, Phase, Stream, header, status};
use super::fixture::*;
use super::host::{Outcome, Proxy, Vm, response};

const BODY: &[u8] = b"grant_type=client_credentials&client_id=shop&scope=orders:read+orders:admin";
const NARROWED: &[u8] = b"grant_type=client_credentials&client_id=shop&scope=orders%3Aread";
const PATIENCE: Duration = Duration::from_secs(10);

fn guarding(mut configuration: Value) -> Value {
    configuration["token_endpoints"] = json!([{"path": "/token", "on_unregistered_scope": "narrow"}]);
    configuration["tenants"][0]["applications"] = json!([{"client_id": "shop", "scopes": ["orders:read"]}]);
    configuration
}

fn token_request() -> HeaderMap {
    let mut headers = anonymous("POST", "/token");
    let length = BODY.len().to_string();
    for (name, value) in [
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-length", length.as_str()),
        ("x-client-id", "root"),
    ] {
        headers.push((name.into(), value.into()));
    }
    headers
}

/// Begins a request whose body is still to come.
fn begin(vm: &mut Vm, root: u32, headers: HeaderMap) -> u32 {
    vm.begin(Stream { root, headers, has_body: true, ..Stream::default() })
}

fn assert_error(outcome: &Outcome, error: &str) {
    let Outcome::Answered(reply) = outcome else { panic!("not refused: {outcome:?}") };
    assert_eq!(reply.status, 400);
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["error"], error);
}

#[test]
fn a_body_is_narrowed_wherever_it_is_split() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&guarding(configuration()));
    for split in 0..=BODY.len() {
        let stream = begin(&mut vm, root, token_request());
        let (first, second) = BODY.split_at(split);
        vm.body(stream, first, false);
        assert_eq!(vm.state().streams[&stream].phase, Phase::Paused);
        vm.body(stream, second, true);
        let upstream = passed(vm.outcome(stream));
        assert_eq!(vm.state().streams[&stream].body, NARROWED, "{split}");
        assert_eq!(header(&upstream, "content-length"), Some(NARROWED.len().to_string().as_str()));
        assert_eq!(header(&upstream, "x-client-id"), None);
        let properties = &vm.state().streams[&stream].properties;
        assert_eq!(properties["scopegate.decision"], b"allow");
        let log: Value = serde_json::from_slice(&properties["scopegate.log"]).unwrap();
        assert_eq!(log["client"], "shop");
        vm.end(stream);
    }
    let stream = begin(&mut vm, root, token_request());
    for byte in BODY {
        vm.body(stream, &[*byte], false);
    }
    vm.body(stream, b"", true);
    passed(vm.outcome(stream));
    assert_eq!(vm.state().streams[&stream].body, NARROWED);
}

#[test]
fn a_request_that_waits_or_is_refused_does_not_pass_by_its_body() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration_with_introspection());
    let begin_opaque = |vm: &mut Vm| {
        let stream = begin(vm, root, request("GET", "/orders", "opaque"));
        vm.body(stream, b"a", false);
        vm.body(stream, b"b", true);
        vm.trailers(stream, &[("x-a", "b")]);
        assert_eq!(vm.state().streams[&stream].phase, Phase::Paused);
        stream
    };
    let stream = begin_opaque(&mut vm);
    let callout = vm.callout();
    vm.answer(&callout, response(200, &active().to_string()));
    passed(vm.outcome(stream));
    vm.body(stream, b"c", true);
    vm.end(stream);

    let refused = begin(&mut vm, root, request("POST", "/orders", "opaque"));
    assert_refused(&vm.outcome(refused), 403, "scope_not_granted");
    vm.body(refused, b"a", true);
    vm.trailers(refused, &[("x-a", "b")]);
    assert_refused(&vm.outcome(refused), 403, "scope_not_granted");
}

#[test]
fn a_body_before_its_headers_does_not_pass() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&guarding(configuration()));
    const EARLY: u32 = 1000;
    vm.call_back::<_, ()>("proxy_on_context_create", EARLY, (EARLY, root));
    assert_ne!(vm.call_back::<_, u32>("proxy_on_request_body", EARLY, (EARLY, 0_u32, 1_u32)), 0);
    assert_ne!(vm.call_back::<_, u32>("proxy_on_request_trailers", EARLY, (EARLY, 1_u32)), 0);
}

#[test]
fn a_body_that_the_host_does_not_give_or_take_is_no_reason_to_pass() {
    for function in ["proxy_get_buffer_bytes", "proxy_set_buffer_bytes", "proxy_replace_header_map_value"] {
        let mut vm = Proxy::new().vm();
        let root = vm.configure(&guarding(configuration()));
        let stream = begin(&mut vm, root, token_request());
        vm.state_mut().faults.insert(function.to_owned(), status::BAD_ARGUMENT);
        vm.body(stream, BODY, true);
        let outcome = vm.outcome(stream);
        assert!(
            matches!(&outcome, Outcome::Answered(reply) if reply.status == 500),
            "{function}: {outcome:?}"
        );
    }
}

#[test]
fn trailers_and_a_body_beyond_the_bound_are_refused() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&guarding(configuration()));
    let stream = begin(&mut vm, root, token_request());
    vm.body(stream, BODY, false);
    vm.trailers(stream, &[("x-a", "b")]);
    assert_error(&vm.outcome(stream), "invalid_request");
    let stream = begin(&mut vm, root, token_request());
    vm.body(stream, &[b'a'; 65_536], false);
    assert_eq!(vm.state().streams[&stream].phase, Phase::Paused);
    vm.body(stream, b"a", false);
    assert_error(&vm.outcome(stream), "invalid_request");
}

#[test]
fn a_body_has_ten_seconds_to_begin() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&guarding(configuration()));
    let waiting = begin(&mut vm, root, token_request());
    let begun = begin(&mut vm, root, token_request());
    let gone = begin(&mut vm, root, token_request());
    vm.body(begun, b"client_id=shop", false);
    vm.end(gone);
    vm.pass(root, PATIENCE - Duration::from_millis(200));
    assert_eq!(vm.state().streams[&waiting].phase, Phase::Paused);
    vm.pass(root, Duration::from_millis(200));
    assert_error(&vm.outcome(waiting), "invalid_request");
    assert!(vm.log_text().contains("allow_on_headers_stop_iteration"));
    // A body that has begun may take the time that the host gives it; a late one finds its request refused.
    vm.pass(root, PATIENCE);
    vm.body(begun, b"", true);
    assert_error(&vm.outcome(begun), "invalid_request");
    vm.body(waiting, BODY, true);
    assert_error(&vm.outcome(waiting), "invalid_request");
}

#[test]
fn a_bounded_number_of_requests_waits_for_bodies() {
    let mut vm = Proxy::new().vm();
    let mut configuration = guarding(configuration());
    configuration["max_waiting_requests"] = json!(2);
    let root = vm.configure(&configuration);
    let held: Vec<u32> = (0..2).map(|_| begin(&mut vm, root, token_request())).collect();
    let refused = begin(&mut vm, root, token_request());
    let Outcome::Answered(reply) = vm.outcome(refused) else { panic!("the third is not refused") };
    assert_eq!((reply.status, header(&reply.headers, "retry-after")), (503, Some("1")));
    // What is over or complete makes room.
    vm.end(held[0]);
    vm.body(held[1], BODY, true);
    passed(vm.outcome(held[1]));
    for _ in 0..2 {
        let next = begin(&mut vm, root, token_request());
        assert_eq!(vm.state().streams[&next].phase, Phase::Paused);
    }
}

#[test]
fn a_request_that_is_held_over_a_reload_ends_under_the_policy_that_it_began_with() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&guarding(configuration()));
    let held = begin(&mut vm, root, token_request());
    vm.body(held, b"grant_type=client_credentials&", false);
    let mut other = guarding(configuration());
    other["tenants"][0]["applications"] = json!([]);
    let next = vm.configure(&other);
    vm.body(held, b"client_id=shop&scope=orders:read", true);
    passed(vm.outcome(held));
    let refused = begin(&mut vm, next, token_request());
    vm.body(refused, BODY, true);
    assert_error(&vm.outcome(refused), "invalid_client");
}
