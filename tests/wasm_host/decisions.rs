//! The decisions of the core, seen from the host: what is answered, what the upstream sees.

use serde_json::{Value, json};

use super::abi::{Stream, header, status};
use super::fixture::*;
use super::host::{NOW, Outcome, Proxy, Vm, response};
use scopegate_testing::mint::Signer;

#[test]
fn a_good_token_passes_with_its_identity_and_without_the_credential() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let mut headers = good_request();
    for (name, value) in [("X-Client-Id", "root"), ("x_operation", "delete"), ("x-http-method", "DELETE")] {
        headers.push((name.into(), value.into()));
    }
    let stream = vm.request(root, headers);
    let upstream = passed(vm.outcome(stream));
    assert_eq!(header(&upstream, "x-tenant-id"), Some("acme"));
    assert_eq!(header(&upstream, "x-client-id"), Some("shop"));
    assert_eq!(header(&upstream, "x-operation"), Some("list"));
    for absent in ["authorization", "x_operation", "x-http-method", "X-Client-Id"] {
        assert_eq!(header(&upstream, absent), None, "{absent}");
    }
    assert_eq!(header(&upstream, "user-agent"), Some("test"));
    let properties = &vm.state().streams[&stream].properties;
    assert_eq!(properties["scopegate.decision"], b"allow");
    let log: Value = serde_json::from_slice(&properties["scopegate.log"]).unwrap();
    assert_eq!(log["tenant"], "acme");
    vm.end(stream);
}

#[test]
fn a_refusal_has_a_status_a_challenge_and_a_body() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let outcome = vm.decide(root, request("POST", "/orders", &good_token()));
    assert_refused(&outcome, 403, "scope_not_granted");
    let Outcome::Answered(reply) = outcome else { unreachable!() };
    assert_eq!(
        header(&reply.headers, "www-authenticate"),
        Some(
            "Bearer realm=\"gateway\", error=\"insufficient_scope\", error_description=\"the token does not carry \
             a scope that the operation requires\", scope=\"orders:write\""
        )
    );
    assert_eq!(header(&reply.headers, "content-type"), Some("application/json"));
    assert_eq!(header(&reply.headers, "cache-control"), Some("no-store"));
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["error"], "insufficient_scope");
    assert_eq!(body["scope"], "orders:write");
    assert!(reply.grpc_status < 0);
}

#[test]
fn a_request_without_a_token_is_challenged_without_an_error_code() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let outcome = vm.decide(root, anonymous("GET", "/orders"));
    assert_refused(&outcome, 401, "credential_missing");
    let Outcome::Answered(reply) = outcome else { unreachable!() };
    assert_eq!(header(&reply.headers, "www-authenticate"), Some("Bearer realm=\"gateway\""));
    passed(vm.decide(root, anonymous("GET", "/health")));
}

#[test]
fn each_refusal_of_a_token_is_told_apart() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let other_key = Signer::new("ES256", "key-1", 2);
    let unknown_key = Signer::new("ES256", "key-2", 2);
    for (token, status, reason) in [
        (signer().mint(json!({}), &claims_with(json!({"exp": NOW - 60}))), 401, "token_expired"),
        (signer().mint(json!({}), &claims_with(json!({"nbf": NOW + 61}))), 401, "token_not_yet_valid"),
        (signer().mint(json!({}), &claims_with(json!({"aud": "orders"}))), 401, "audience_mismatch"),
        (signer().mint(json!({}), &claims_with(json!({"iss": "https://login"}))), 401, "issuer_unknown"),
        (signer().mint(json!({}), &claims_with(json!({"tenant_id": "evil"}))), 401, "tenant_unknown"),
        (signer().mint(json!({}), &claims_with(json!({"tenant_id": null}))), 401, "tenant_missing"),
        (signer().mint(json!({}), &claims_with(json!({"scope": null}))), 403, "no_scopes_in_token"),
        (signer().mint(json!({"alg": "none"}), &claims()), 401, "algorithm_not_allowed"),
        (other_key.mint(json!({}), &claims()), 401, "signature_invalid"),
        (unknown_key.mint(json!({}), &claims()), 401, "key_not_found"),
        ("opaque".to_owned(), 401, "introspection_not_configured"),
    ] {
        let outcome = vm.decide(root, request("GET", "/orders", &token));
        assert_refused(&outcome, status, reason);
    }
    passed(vm.decide(
        root,
        request("GET", "/orders", &signer().mint(json!({}), &claims_with(json!({"exp": NOW - 59})))),
    ));
}

#[test]
fn a_grpc_refusal_has_a_grpc_status() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    for (token, http_status, grpc_status, reason) in [
        (good_token(), 403, 7, "scope_not_granted"),
        ("opaque".to_owned(), 401, 16, "introspection_not_configured"),
    ] {
        let mut headers = request("POST", "/orders.Orders/List", &token);
        headers.push(("content-type".into(), "application/grpc+proto".into()));
        let Outcome::Answered(reply) = vm.decide(root, headers) else { panic!("not refused") };
        assert_eq!((reply.status, reply.grpc_status), (http_status, grpc_status));
        assert!(String::from_utf8_lossy(&reply.body).starts_with(reason), "{reply:?}");
        assert_eq!(header(&reply.headers, "content-type"), None);
    }
}

#[test]
fn a_token_is_verified_once_and_its_expiry_each_time() {
    let mut proxy = Proxy::new();
    let mut vm = proxy.vm();
    let root = vm.configure(&configuration());
    for _ in 0..3 {
        passed(vm.decide(root, good_request()));
    }
    assert_eq!(vm.calls("proxy_call_foreign_function"), 1);
    proxy.pass(std::time::Duration::from_secs(3600 + 59));
    passed(vm.decide(root, good_request()));
    proxy.pass(std::time::Duration::from_secs(1));
    assert_refused(&vm.decide(root, good_request()), 401, "token_expired");
    assert_eq!(vm.calls("proxy_call_foreign_function"), 1);
}

#[test]
fn trailers_say_nothing_that_headers_may_not_whether_the_request_passes_or_waits() {
    let mut configuration = configuration_with_introspection();
    configuration["tenant_resolution"]["headers"] = json!(["x-evidence"]);
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration);
    let trailers = [
        ("x-tenant-id", "globex"),
        ("X_Tenant.Id", "globex"),
        ("x-evidence", "globex"),
        ("authorization", "Bearer other"),
        ("x-http-method-override", "DELETE"),
        ("x-original-url", "/admin"),
        ("grpc-status", "0"),
    ];
    let begin = |vm: &mut Vm| {
        let headers = request("GET", "/orders", "opaque");
        vm.begin(Stream { root, headers, has_body: true, ..Stream::default() })
    };
    let cleaned = |vm: &mut Vm, stream: u32| {
        vm.trailers(stream, &trailers);
        vm.state().streams[&stream].trailers == [(b"grpc-status".to_vec(), b"0".to_vec())]
    };
    let waits = begin(&mut vm);
    assert!(vm.outcome(waits) == Outcome::Waiting && cleaned(&mut vm, waits));
    let callout = vm.callout();
    vm.answer(&callout, response(200, &active().to_string()));
    passed(vm.outcome(waits));
    let passes = begin(&mut vm);
    passed(vm.outcome(passes));
    assert!(cleaned(&mut vm, passes));
    // A request whose trailers cannot be cleaned gets no further.
    for function in ["proxy_get_header_map_pairs", "proxy_remove_header_map_value"] {
        let stream = begin(&mut vm);
        passed(vm.outcome(stream));
        vm.state_mut().faults.insert(function.to_owned(), status::BAD_ARGUMENT);
        vm.trailers(stream, &trailers);
        vm.state_mut().faults.clear();
        let outcome = vm.outcome(stream);
        assert!(
            matches!(&outcome, Outcome::Answered(reply) if reply.status == 500),
            "{function}: {outcome:?}"
        );
    }
}
