//! Opaque tokens: one call for all who carry a token, answers of every kind, and clients that do not wait for them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::abi::{CalloutAnswer, header};
use super::fixture::*;
use super::host::{NOW, Outcome, Proxy, Vm, no_response, response};

const SECOND: Duration = Duration::from_secs(1);
const TOKEN: &str = "opaque-token-0123456789-0123456789";

fn start() -> (Vm, u32) {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration_with_introspection());
    (vm, root)
}

fn ask(vm: &mut Vm, root: u32) -> u32 {
    vm.request(root, request("GET", "/orders", TOKEN))
}

#[test]
fn a_hundred_requests_with_one_token_make_one_call() {
    let (mut vm, root) = start();
    let waiting: Vec<u32> = (0..100).map(|_| ask(&mut vm, root)).collect();
    let callout = vm.callout();
    assert_eq!(header(&callout.headers, ":method"), Some("POST"));
    assert_eq!(header(&callout.headers, ":path"), Some("/introspect"));
    let credentials = STANDARD.encode("gateway:the+gateway%27s+own+secret");
    assert_eq!(header(&callout.headers, "authorization"), Some(format!("Basic {credentials}").as_str()));
    assert_eq!(callout.body, format!("token={TOKEN}&token_type_hint=access_token").into_bytes());
    assert_eq!(callout.timeout, SECOND);
    vm.answer_with(&callout, 200, &active().to_string());
    for stream in waiting {
        let upstream = passed(vm.outcome(stream));
        assert_eq!(header(&upstream, "x-tenant-id"), Some("acme"));
        assert_eq!(header(&upstream, "x-client-id"), Some("shop"));
        assert_eq!(header(&upstream, "authorization"), None);
        vm.end(stream);
    }
    passed(vm.decide(root, request("GET", "/orders", TOKEN)));
    assert_refused(&vm.decide(root, request("POST", "/orders", TOKEN)), 403, "scope_not_granted");
    assert_eq!(vm.state().callouts_made, 1);
}

#[test]
fn the_first_to_ask_may_go_away_before_the_answer() {
    let (mut vm, root) = start();
    let leader = ask(&mut vm, root);
    let followers: Vec<u32> = (0..3).map(|_| ask(&mut vm, root)).collect();
    vm.end(leader);
    let callout = vm.callout();
    vm.answer_with(&callout, 200, &active().to_string());
    for stream in followers {
        passed(vm.outcome(stream));
    }
    assert_eq!(vm.outcome(leader), Outcome::Waiting);
}

#[test]
fn a_context_that_is_deleted_without_a_word_is_passed_over() {
    let (mut vm, root) = start();
    let leader = ask(&mut vm, root);
    let follower = ask(&mut vm, root);
    vm.delete(leader);
    let callout = vm.callout();
    vm.answer_with(&callout, 200, &active().to_string());
    passed(vm.outcome(follower));
    assert_eq!(vm.outcome(leader), Outcome::Waiting);
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_is_remembered() {
    let (mut vm, root) = start();
    for stream in [ask(&mut vm, root), ask(&mut vm, root)] {
        vm.end(stream);
    }
    let callout = vm.callout();
    vm.answer_with(&callout, 200, &active().to_string());
    passed(vm.decide(root, request("GET", "/orders", TOKEN)));
    assert_eq!(vm.state().callouts_made, 1);
}

#[test]
fn everything_but_a_clean_yes_or_no_is_the_issuers_fault_and_not_remembered() {
    let announced =
        |size| CalloutAnswer { claimed_body_size: Some(size), ..response(200, &active().to_string()) };
    let active_as = |value| claims_with(json!({"active": value})).to_string();
    let twice = active().to_string().replacen('{', "{\"active\":true,", 1);
    let deep = format!("{{\"active\":true,\"x\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (case, answer) in [
        ("no answer", no_response()),
        ("a body without headers", CalloutAnswer { headers: None, ..response(200, &active().to_string()) }),
        ("a body said to be large", announced(40_000_000)),
        ("a large body", response(200, &format!("{{\"active\":true,\"x\":\"{}\"}}", "x".repeat(100_000)))),
        ("status 500", response(500, &active().to_string())),
        ("status 401", response(401, "{}")),
        ("no body", response(200, "")),
        ("HTML", response(200, "<html>")),
        ("an array", response(200, "[true]")),
        ("nested JSON", response(200, &deep)),
        ("a text that says true", response(200, &active_as(json!("true")))),
        ("a number that says true", response(200, &active_as(json!(1)))),
        ("no `active`", response(200, &claims().to_string())),
        ("`active` twice", response(200, &twice)),
        (
            "a scope that is no text",
            response(200, &claims_with(json!({"active": true, "scope": 7})).to_string()),
        ),
        ("bytes", CalloutAnswer { body: vec![0xff; 10], ..response(200, "") }),
    ] {
        let (mut vm, root) = start();
        let waiting = [ask(&mut vm, root), ask(&mut vm, root)];
        let callout = vm.callout();
        vm.answer(&callout, answer);
        for stream in waiting {
            let Outcome::Answered(reply) = vm.outcome(stream) else { panic!("{case}: not answered") };
            assert_eq!((reply.status, reason(&reply).as_str()), (503, "introspection_unavailable"), "{case}");
            assert_eq!(header(&reply.headers, "retry-after"), Some("1"), "{case}");
        }
        let next = ask(&mut vm, root);
        let callout = vm.callout();
        vm.answer_with(&callout, 200, &active().to_string());
        passed(vm.outcome(next));
    }
}

#[test]
fn a_token_that_is_not_active_is_refused_and_remembered_for_ten_seconds() {
    let (mut vm, root) = start();
    let stream = ask(&mut vm, root);
    let callout = vm.callout();
    vm.answer_with(&callout, 200, r#"{"active":false}"#);
    assert_refused(&vm.outcome(stream), 401, "token_inactive");
    vm.pass(root, 10 * SECOND - Duration::from_millis(1));
    assert_refused(&vm.decide(root, request("GET", "/orders", TOKEN)), 401, "token_inactive");
    assert_eq!(vm.state().callouts_made, 1);
    vm.pass(root, Duration::from_millis(1));
    let stream = ask(&mut vm, root);
    assert_eq!(vm.outcome(stream), Outcome::Waiting);
    assert_eq!(vm.state().callouts_made, 2);
}

#[test]
fn an_active_token_is_remembered_until_the_cache_or_the_token_ends() {
    for (claims, remembered) in
        [(active(), 60 * SECOND), (claims_with(json!({"active": true, "exp": NOW + 30})), 30 * SECOND)]
    {
        let (mut vm, root) = start();
        let stream = ask(&mut vm, root);
        let callout = vm.callout();
        vm.answer_with(&callout, 200, &claims.to_string());
        passed(vm.outcome(stream));
        vm.pass(root, remembered - Duration::from_millis(1));
        passed(vm.decide(root, request("GET", "/orders", TOKEN)));
        assert_eq!(vm.state().callouts_made, 1);
        vm.pass(root, Duration::from_millis(1));
        let stream = ask(&mut vm, root);
        assert_eq!(vm.outcome(stream), Outcome::Waiting);
    }
}

#[test]
fn what_an_active_answer_says_is_checked_like_a_token() {
    for (others, status, reason) in [
        (json!({"aud": "another-api"}), 401, "audience_mismatch"),
        (json!({"aud": null}), 401, "claim_missing"),
        (json!({"iss": "https://evil.example"}), 401, "issuer_unknown"),
        (json!({"exp": NOW - 60}), 401, "token_expired"),
        (json!({"tenant_id": "globe"}), 401, "tenant_unknown"),
        (json!({"scope": null}), 403, "scope_absent_from_introspection"),
        (json!({"scope": ""}), 403, "no_scopes_in_token"),
        (json!({"cnf": {"jkt": "x"}}), 401, "sender_constraint_failed"),
    ] {
        let (mut vm, root) = start();
        let stream = ask(&mut vm, root);
        let callout = vm.callout();
        let mut claims = claims_with(others);
        claims["active"] = json!(true);
        vm.answer_with(&callout, 200, &claims.to_string());
        assert_refused(&vm.outcome(stream), status, reason);
    }
}

#[test]
fn an_answer_that_never_comes_is_given_up_and_wakes_nobody_when_it_comes_after_all() {
    let (mut vm, root) = start();
    let early = ask(&mut vm, root);
    let lost = vm.callout();
    vm.pass(root, SECOND);
    assert_eq!(vm.outcome(early), Outcome::Waiting);
    vm.pass(root, 2 * SECOND);
    assert_refused(&vm.outcome(early), 503, "introspection_unavailable");
    vm.end(early);
    vm.answer_with(&lost, 200, &active().to_string());
    assert_refused(&vm.outcome(early), 503, "introspection_unavailable");

    // The same with the next call for the same token under way.
    let second = ask(&mut vm, root);
    let lost = vm.callouts().into_iter().next();
    if let Some(lost) = lost {
        vm.pass(root, 3 * SECOND);
        let third = ask(&mut vm, root);
        vm.answer_with(&lost, 200, r#"{"active":false}"#);
        for callout in vm.callouts() {
            vm.answer_with(&callout, 200, &active().to_string());
        }
        assert_ne!(vm.outcome(third), Outcome::Waiting);
    }
    assert_ne!(vm.outcome(second), Outcome::Waiting);
}

#[test]
fn waiting_requests_are_bounded_and_places_come_back() {
    let mut configuration = configuration_with_introspection();
    configuration["max_waiting_requests"] = json!(4);
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration);
    for _ in 0..3 {
        let waiting = [ask(&mut vm, root), ask(&mut vm, root)];
        assert_refused(&vm.decide(root, request("GET", "/orders", TOKEN)), 503, "introspection_overloaded");
        assert_refused(&vm.decide(root, request("GET", "/orders", "other")), 503, "introspection_overloaded");
        passed(vm.decide(root, good_request()));
        let callout = vm.callout();
        vm.answer(&callout, no_response());
        for stream in waiting {
            assert_refused(&vm.outcome(stream), 503, "introspection_unavailable");
        }
    }
}

#[test]
fn a_token_that_looks_like_a_jwt_never_reaches_the_introspection_endpoint() {
    let (mut vm, root) = start();
    let good = good_token();
    let (signed, _) = good.rsplit_once('.').unwrap();
    for token in [
        format!("{signed}.AAAA"),
        format!("{signed}."),
        good[..good.len() - 1].to_owned(),
        "eyJ.x".to_owned(),
    ] {
        let (status, _) = refusal(&vm.decide(root, request("GET", "/orders", &token)));
        assert_eq!(status, 401);
    }
    for token in ["a b", "a,b", "a\"b", "ä"] {
        let (status, _) = refusal(&vm.decide(root, request("GET", "/orders", token)));
        assert_eq!(status, 400);
    }
    assert_eq!(vm.state().callouts_made, 0);
}

#[test]
fn without_its_own_secret_the_gateway_asks_nobody() {
    let mut configuration = configuration_with_introspection();
    configuration["providers"]["corp"]["introspection"]["client_auth"]["client_secret"] =
        json!({"env": "SECRET"});
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration);
    assert_refused(&vm.decide(root, request("GET", "/orders", TOKEN)), 503, "introspection_unavailable");
    assert_eq!(vm.state().callouts_made, 0);
}
