//! Keys that are fetched: who waits, who is answered with what, and how often the issuer is asked.

use std::time::Duration;

use serde_json::json;

use super::abi::{CalloutAnswer, header};
use super::fixture::*;
use super::host::{CLUSTER, Outcome, Proxy, Vm, no_response, response};
use scopegate_testing::mint::{Signer, jwks};

const SECOND: Duration = Duration::from_secs(1);

fn key_set() -> String {
    jwks([&signer()]).to_string()
}

/// A VM that has the issuer's keys already.
fn vm_with_keys() -> (Vm, u32) {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration_with_remote_keys());
    vm.tick(root);
    let callout = vm.callout();
    vm.answer_with(&callout, 200, &key_set());
    (vm, root)
}

#[test]
fn the_first_tick_fetches_the_keys_and_the_next_do_not() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration_with_remote_keys());
    assert!(vm.callouts().is_empty(), "configuring makes no calls");
    assert!((1..=1000).contains(&vm.state().tick_periods[&root]));
    vm.tick(root);
    let callout = vm.callout();
    assert_eq!(callout.cluster, CLUSTER);
    assert_eq!(callout.timeout, 2 * SECOND);
    assert_eq!(header(&callout.headers, ":method"), Some("GET"));
    assert_eq!(header(&callout.headers, ":path"), Some("/jwks.json"));
    assert_eq!(header(&callout.headers, ":authority"), Some("login.example"));
    assert_eq!(header(&callout.headers, "authorization"), None);
    vm.tick(root);
    vm.answer_with(&callout, 200, &key_set());
    passed(vm.decide(root, good_request()));
}

#[test]
fn keys_are_refreshed_in_the_last_fifth_of_their_time_and_kept_where_that_fails() {
    let (mut vm, root) = vm_with_keys();
    vm.pass(root, 479 * SECOND);
    assert_eq!(vm.state().callouts_made, 1);
    let mut seconds = 479;
    while vm.callouts().is_empty() {
        vm.pass(root, SECOND);
        seconds += 1;
    }
    assert!(seconds <= 541, "{seconds}");
    for _ in 0..3 {
        let callout = vm.callout();
        vm.answer(&callout, no_response());
        passed(vm.decide(root, good_request()));
        assert!(vm.callouts().is_empty(), "a failed call is not made again at once");
        vm.pass(root, 2 * SECOND);
    }
    assert_eq!(vm.calls("proxy_call_foreign_function"), 1);
}

#[test]
fn requests_before_the_first_keys_wait_for_one_fetch() {
    for is_ticked in [true, false] {
        let mut vm = Proxy::new().vm();
        let root = vm.configure(&configuration_with_remote_keys());
        if is_ticked {
            vm.tick(root);
        }
        let good: Vec<u32> = (0..5).map(|_| vm.request(root, good_request())).collect();
        let forged = Signer::new("ES256", "key-1", 2).mint(json!({}), &claims());
        let bad = vm.request(root, request("GET", "/orders", &forged));
        let callout = vm.callout();
        assert!(good.iter().all(|stream| vm.outcome(*stream) == Outcome::Waiting));
        vm.answer_with(&callout, 200, &key_set());
        for stream in good {
            let upstream = passed(vm.outcome(stream));
            assert_eq!(header(&upstream, "x-tenant-id"), Some("acme"));
            assert_eq!(header(&upstream, "authorization"), None);
            vm.end(stream);
        }
        // The key may have been replaced under its `kid`: the set is fetched once more before the token is refused.
        assert_eq!(vm.outcome(bad), Outcome::Waiting);
        let callout = vm.callout();
        vm.answer_with(&callout, 200, &key_set());
        assert_refused(&vm.outcome(bad), 401, "signature_invalid");
        vm.end(bad);
    }
}

#[test]
fn a_request_that_needs_no_keys_does_not_wait_for_them() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration_with_remote_keys());
    passed(vm.decide(root, anonymous("GET", "/health")));
    assert_refused(&vm.decide(root, anonymous("GET", "/orders")), 401, "credential_missing");
    let token = signer().mint(json!({}), &claims_with(json!({"iss": "https://evil.example"})));
    assert_refused(&vm.decide(root, request("GET", "/orders", &token)), 401, "issuer_unknown");
    assert!(vm.callouts().is_empty());
}

#[test]
fn a_rotation_loses_no_good_token_and_ends_the_tokens_of_keys_that_are_gone() {
    let (mut vm, root) = vm_with_keys();
    passed(vm.decide(root, good_request()));
    let next = Signer::new("ES256", "key-2", 2);
    let token = next.mint(json!({}), &claims());
    let waiting: Vec<u32> = (0..3).map(|_| vm.request(root, request("GET", "/orders", &token))).collect();
    let callout = vm.callout();
    vm.answer_with(&callout, 200, &jwks([&next]).to_string());
    for stream in waiting {
        passed(vm.outcome(stream));
    }
    assert_refused(&vm.decide(root, good_request()), 401, "key_not_found");
    assert_eq!(vm.state().callouts_made, 2);
}

#[test]
fn random_key_ids_cost_the_issuer_one_call_in_thirty_seconds() {
    let (mut vm, root) = vm_with_keys();
    let mut unknown = (0..).map(|number: u32| {
        let key_id = format!("random-{number}");
        request("GET", "/orders", &signer().mint(json!({"kid": key_id}), &claims()))
    });
    let first = vm.request(root, unknown.next().unwrap());
    let callout = vm.callout();
    vm.answer_with(&callout, 200, &key_set());
    assert_refused(&vm.outcome(first), 401, "key_not_found");
    for _ in 0..20 {
        assert_refused(&vm.decide(root, unknown.next().unwrap()), 401, "key_not_found");
    }
    vm.pass(root, 30 * SECOND - Duration::from_millis(1));
    assert_refused(&vm.decide(root, unknown.next().unwrap()), 401, "key_not_found");
    assert_eq!(vm.state().callouts_made, 2);
    vm.pass(root, Duration::from_millis(1));
    let stream = vm.request(root, unknown.next().unwrap());
    assert_eq!(vm.outcome(stream), Outcome::Waiting);
    assert_eq!(vm.state().callouts_made, 3);
    passed(vm.decide(root, good_request()));
}

#[test]
fn an_answer_that_brings_no_keys_is_the_issuers_fault() {
    const FORTY_MEGABYTES: u32 = 40_000_000;
    let deep = "[".repeat(10_000);
    let announced = |size| CalloutAnswer { claimed_body_size: Some(size), ..response(200, &key_set()) };
    let no_status =
        CalloutAnswer { headers: Some(vec![(b"x".to_vec(), b"y".to_vec())]), ..response(200, &key_set()) };
    let odd_status = CalloutAnswer {
        headers: Some(vec![(b":status".to_vec(), b"2\xff0".to_vec())]),
        ..response(200, &key_set())
    };
    let headers_only = CalloutAnswer { body: Vec::new(), ..response(200, "") };
    let no_headers = CalloutAnswer { headers: None, ..response(200, &key_set()) };
    let large = response(200, &format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(FORTY_MEGABYTES as usize)));
    for (case, answer) in [
        ("no answer", no_response()),
        ("a body without headers", no_headers),
        ("no status", no_status),
        ("a status that is no text", odd_status),
        ("headers only", headers_only),
        ("a body said to be large", announced(FORTY_MEGABYTES)),
        ("a body said to be larger than any", announced(u32::MAX)),
        ("a large body", large),
        ("status 500", response(500, &key_set())),
        ("status 204", response(204, "")),
        ("status 302", response(302, &key_set())),
        ("HTML", response(200, "<html>")),
        ("nested JSON", response(200, &deep)),
        ("a cut key set", response(200, &key_set()[..40])),
        ("bytes", CalloutAnswer { body: vec![0xff; 100], ..response(200, "") }),
    ] {
        let mut vm = Proxy::new().vm();
        let root = vm.configure(&configuration_with_remote_keys());
        let stream = vm.request(root, good_request());
        let callout = vm.callout();
        vm.answer(&callout, answer);
        let Outcome::Answered(reply) = vm.outcome(stream) else { panic!("{case}: not answered") };
        assert_eq!((reply.status, reason(&reply).as_str()), (503, "keys_unavailable"), "{case}");
        assert!(header(&reply.headers, "retry-after").unwrap().parse::<u32>().unwrap() >= 1, "{case}");
        // The next try brings them.
        vm.pass(root, SECOND);
        let callout = vm.callout();
        vm.answer_with(&callout, 200, &key_set());
        passed(vm.decide(root, good_request()));
    }
}

#[test]
fn a_key_set_whose_keys_are_all_unusable_opens_nothing() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration_with_remote_keys());
    let stream = vm.request(root, good_request());
    // At most twice: for keys, and because no key has the token's `kid`.
    for _ in 0..2 {
        for callout in vm.callouts() {
            vm.answer_with(
                &callout,
                200,
                r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"key-1"},{"kty":"none"}]}"#,
            );
        }
    }
    let (status, reason) = refusal(&vm.outcome(stream));
    assert!(
        [(401, "key_not_found"), (503, "keys_unavailable")].contains(&(status, reason.as_str())),
        "{reason}"
    );
}

#[test]
fn an_answer_that_never_comes_is_given_up_after_its_time() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration_with_remote_keys());
    let stream = vm.request(root, good_request());
    let lost = vm.callout();
    vm.pass(root, 2 * SECOND);
    assert_eq!(vm.outcome(stream), Outcome::Waiting);
    vm.pass(root, 2 * SECOND);
    assert_refused(&vm.outcome(stream), 503, "keys_unavailable");
    vm.end(stream);
    // It comes late after all, when another call is under way.
    vm.pass(root, SECOND);
    let waiting = vm.request(root, good_request());
    vm.answer_with(&lost, 200, &key_set());
    passed(vm.outcome(waiting));
    for callout in vm.callouts() {
        vm.answer_with(&callout, 200, &key_set());
    }
    passed(vm.decide(root, good_request()));
}

#[test]
fn a_call_that_cannot_be_made_is_answered_at_once_and_tried_again() {
    let mut vm = Proxy::new().vm();
    vm.state_mut().clusters.clear();
    let root = vm.configure(&configuration_with_remote_keys());
    assert_refused(&vm.decide(root, good_request()), 503, "keys_unavailable");
    vm.state_mut().clusters.insert(CLUSTER.to_owned());
    vm.pass(root, SECOND);
    let callout = vm.callout();
    vm.answer_with(&callout, 200, &key_set());
    passed(vm.decide(root, good_request()));
}

#[test]
fn a_client_that_goes_away_takes_nobodys_keys_with_it() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration_with_remote_keys());
    let leader = vm.request(root, good_request());
    let follower = vm.request(root, good_request());
    vm.end(leader);
    let callout = vm.callout();
    vm.answer_with(&callout, 200, &key_set());
    passed(vm.outcome(follower));
}

#[test]
fn waiting_requests_are_bounded() {
    let mut configuration = configuration_with_remote_keys();
    configuration["max_waiting_requests"] = json!(4);
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration);
    // One provider holds at most half of the places.
    let waiting: Vec<u32> = (0..2).map(|_| vm.request(root, good_request())).collect();
    assert_refused(&vm.decide(root, good_request()), 503, "keys_unavailable");
    vm.end(waiting[0]);
    let next = vm.request(root, good_request());
    assert_eq!(vm.outcome(next), Outcome::Waiting);
    let callout = vm.callout();
    vm.answer_with(&callout, 200, &key_set());
    passed(vm.outcome(waiting[1]));
    passed(vm.outcome(next));
}
