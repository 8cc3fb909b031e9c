//! What is let through and what the upstream is told; what is refused and how.

use serde_json::{Value, json};

use scopegate_testing::harness::{AuthorizationServer, Gateway, Options, manager, now, wait_until};
use scopegate_testing::http::{Connection, Request, Response};

/// Two tenants of one issuer, whose keys stand in the configuration.
pub fn configuration(issuer: &AuthorizationServer) -> Value {
    json!({
        "version": 1,
        "realm": "billing",
        "providers": {"corp": {"issuer": issuer.issuer, "audiences": ["billing-api"], "local_jwks": issuer.jwks()}},
        "tenant_resolution": {"claims": ["tenant_id"], "headers": ["x-tenant-id"], "required_evidence": ["claim"]},
        "tenants": [
            {"id": "tenant1", "providers": ["corp"], "applications": [
                {"client_id": "tenant1-sync", "scopes": ["billing:read", "billing:write"]}]},
            {"id": "tenant10", "providers": ["corp"], "applications": [
                {"client_id": "tenant10-sync", "scopes": ["billing:read", "billing:write"]}]},
        ],
        "suites": [{"name": "billing", "operations": [
            {"name": "health", "path": "/health", "access": "public"},
            {"name": "list-invoices", "path": "/{tenant}/invoices", "methods": ["GET", "HEAD"], "requires": ["billing:read"]},
            {"name": "post-invoice", "path": "/{tenant}/invoices", "methods": ["POST"], "requires": ["billing:write"]},
        ]}],
        "forward": {"headers": [
            {"name": "x-tenant-id", "value": "tenant"},
            {"name": "x-client-id", "value": "client"},
            {"name": "x-scopes", "value": "scopes"},
        ]},
    })
}

/// What the access log of the tests shows is configured.
fn audited(issuer: &AuthorizationServer) -> Value {
    let mut configuration = configuration(issuer);
    configuration["audit"]["properties"] =
        json!(["tenant", "client", "subject", "suite", "operation", "decision", "reason"]);
    configuration
}

#[test]
fn what_passes_is_told_to_the_upstream_and_what_does_not_never_reaches_it() {
    let issuer = AuthorizationServer::shared();
    // Of HTTP/1.1, Envoy passes trailers on only if it is told to.
    let with_trailers = |bootstrap: &mut Value| {
        manager(bootstrap)["http_protocol_options"] = json!({"enable_trailers": true});
        bootstrap["static_resources"]["clusters"][0]["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {"enable_trailers": true}},
            },
        });
    };
    let options = Options { bootstrap: Box::new(with_trailers), ..Options::default() };
    let gateway = Gateway::start(&audited(issuer), &options);
    a_good_token_passes_and_the_upstream_learns_who_it_is_from_the_filter_alone(&gateway);
    a_public_operation_passes_with_the_credential_in_place_and_no_identity(&gateway);
    a_refusal_says_why_in_body_and_challenge_and_never_reaches_the_upstream(&gateway);
    trailers_tell_the_upstream_nothing_that_headers_may_not(&gateway);
}

/// The configuration as a `Struct`, and Envoy's own checks left out.
#[test]
fn what_envoy_does_not_normalise_is_refused_where_it_may_be_read_in_two_ways() {
    let options = Options { as_struct: true, hardened: false, ..Options::default() };
    let gateway = Gateway::start(&audited(AuthorizationServer::shared()), &options);
    a_good_token_passes_and_the_upstream_learns_who_it_is_from_the_filter_alone(&gateway);
    a_path_that_may_be_read_in_two_ways_is_refused(&gateway);
    a_header_byte_that_is_not_utf_8_neither_passes_for_a_tenant_nor_breaks_the_vm(&gateway);
}

fn a_good_token_passes_and_the_upstream_learns_who_it_is_from_the_filter_alone(gateway: &Gateway) {
    let issuer = AuthorizationServer::shared();
    for resource in ["urn:billing", "urn:billing:es256", "urn:billing:ps256", "urn:billing:eddsa"] {
        let token = issuer.token("tenant1-sync", "billing:read", resource);
        let request = Request::get("/tenant1/invoices?page=2")
            .bearer(&token)
            .header("x-client-id", "root")
            .header("X-Scopes", "billing:admin")
            .header("x-scopes", "*");
        let mut connection = Connection::open(gateway.port);
        for _ in 0..3 {
            let response = connection.send(&request);
            assert_eq!(response.upstream_saw("x-tenant-id"), ["tenant1"], "{resource}");
            assert_eq!(response.upstream_saw("x-client-id"), ["tenant1-sync"], "{resource}");
            assert_eq!(response.upstream_saw("x-scopes"), ["billing:read"], "{resource}");
            assert_eq!(response.upstream_saw("authorization"), [""; 0], "{resource}");
            assert_eq!(response.json()["path"], "/tenant1/invoices?page=2", "{resource}");
        }
    }
    wait_until("the access log tells the facts", || {
        gateway.access_log().contains(
                "200 decision=allow reason=- tenant=tenant1 client=tenant1-sync subject=tenant1-sync suite=billing \
                 operation=list-invoices",
            )
    });
}

fn a_public_operation_passes_with_the_credential_in_place_and_no_identity(gateway: &Gateway) {
    let spoofed =
        Request::get("/health").header("x-client-id", "root").header("x-tenant-id", "tenant1").bearer("any");
    let response = gateway.send(&spoofed);
    assert_eq!(response.upstream_saw("x-client-id"), [""; 0]);
    assert_eq!(response.upstream_saw("x-tenant-id"), [""; 0]);
    assert_eq!(response.upstream_saw("authorization"), ["Bearer any"]);
}

fn a_refusal_says_why_in_body_and_challenge_and_never_reaches_the_upstream(gateway: &Gateway) {
    let issuer = AuthorizationServer::shared();
    let before = gateway.upstream_count();
    let reader = issuer.token("tenant1-sync", "billing:read", "urn:billing");
    let writer = issuer.token("tenant10-sync", "billing:write", "urn:billing");
    let minted = |changes: Value| {
        let mut claims = issuer.claims("tenant1", "tenant1-sync", "billing:read");
        for (name, value) in changes.as_object().expect("an object of changes") {
            claims[name] = value.clone();
        }
        issuer.mint(&json!({"claims": claims}))
    };
    let list = || Request::get("/tenant1/invoices");
    let cases = [
        (list(), 401, "credential_missing"),
        (Request::get("/nowhere"), 401, "credential_missing"),
        (list().bearer(&reader).bearer(&reader), 400, "credential_ambiguous"),
        (list().bearer(&writer), 401, "tenant_mismatch"),
        (Request::get("/tenant10/invoices").bearer(&reader), 401, "tenant_mismatch"),
        (list().bearer(&reader).header("x-tenant-id", "tenant10"), 401, "tenant_mismatch"),
        (list().bearer(&minted(json!({"exp": now() - 120}))), 401, "token_expired"),
        (list().bearer(&minted(json!({"nbf": now() + 120}))), 401, "token_not_yet_valid"),
        (list().bearer(&minted(json!({"aud": "billing-api-2"}))), 401, "audience_mismatch"),
        (list().bearer(&minted(json!({"iss": "https://login.example.com/"}))), 401, "issuer_unknown"),
        (list().bearer(&minted(json!({"tenant_id": "tenant"}))), 401, "tenant_unknown"),
        (list().bearer(&minted(json!({"client_id": "tenant10-sync"}))), 401, "application_not_registered"),
        (list().bearer(&minted(json!({"scope": null}))), 401, "claim_malformed"),
        (Request::post("/tenant1/invoices").bearer(&reader), 403, "scope_not_granted"),
        (Request::new("PUT", "/tenant1/invoices").bearer(&reader), 403, "method_not_mapped"),
        (Request::get("/nowhere").bearer(&reader), 403, "operation_not_mapped"),
        (Request::get("/tenant1;v=1/invoices").bearer(&reader), 400, "path_ambiguous"),
    ];
    for (request, status, reason) in cases {
        let response = gateway.send(&request);
        assert_eq!(response.decision(), (status, reason.to_owned()), "{request:?}");
        assert_form(&response, reason);
    }
    assert_eq!(gateway.upstream_count(), before);
}

/// RFC 6750 section 3, and the body that goes with it.
fn assert_form(response: &Response, reason: &str) {
    assert_eq!(response.header("content-type"), Some("application/json"), "{reason}");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{reason}");
    let body = response.json();
    let error = match (response.status, reason) {
        (401, "credential_missing") => None,
        (400, _) => Some("invalid_request"),
        (401, _) => Some("invalid_token"),
        (403, _) => Some("insufficient_scope"),
        (status, _) => panic!("no such refusal: {status} {reason}"),
    };
    assert_eq!(body.get("error").and_then(Value::as_str), error, "{reason}");
    assert!(body["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{reason}");

    let challenge = response.header("www-authenticate");
    match (response.status, error) {
        (400, _) => assert_eq!(challenge, None, "{reason}"),
        (_, Some(error)) => {
            let start = format!(r#"Bearer realm="billing", error="{error}", error_description=""#);
            assert!(challenge.is_some_and(|text| text.starts_with(&start)), "{reason}: {challenge:?}");
        }
        (_, None) => assert_eq!(challenge, Some(r#"Bearer realm="billing""#), "{reason}"),
    }
    if reason == "scope_not_granted" {
        assert!(challenge.is_some_and(|text| text.ends_with(r#", scope="billing:write""#)), "{challenge:?}");
    }
}

fn a_path_that_may_be_read_in_two_ways_is_refused(gateway: &Gateway) {
    let issuer = AuthorizationServer::shared();
    let before = gateway.upstream_count();
    let token = issuer.token("tenant1-sync", "billing:read", "urn:billing");
    for path in [
        "/tenant1/../tenant1/invoices",
        "/tenant10/..;/tenant1/invoices",
        "/tenant10/%2e%2E/tenant1/invoices",
        "/tenant10/%252e%252e/tenant1/invoices",
        "/tenant1/./invoices",
        "/tenant1%2finvoices",
        "/tenant1%5cinvoices",
        "/tenant1\\invoices",
        "/tenant1//invoices",
        "//tenant1/invoices",
        "/tenant1/invoices;v=1",
        "/tenant1/invoices%00",
        "/tenant1/invoices%",
        "/tenant1/invoices%zz",
    ] {
        let decision = gateway.send(&Request::get(path).bearer(&token)).decision();
        assert_eq!(decision, (400, "path_ambiguous".to_owned()), "{path}");
    }
    assert_eq!(gateway.send(&Request::get("/tenant%31/%69nvoices?a=/../;").bearer(&token)).status, 200);
    assert_eq!(
        gateway.send(&Request::get("/tenant1/invoices/").bearer(&token)).decision().1,
        "operation_not_mapped"
    );
    assert_eq!(gateway.upstream_count(), before + 1);
}

fn a_header_byte_that_is_not_utf_8_neither_passes_for_a_tenant_nor_breaks_the_vm(gateway: &Gateway) {
    let issuer = AuthorizationServer::shared();
    let token = issuer.token("tenant1-sync", "billing:read", "urn:billing");
    let good = Request::get("/tenant1/invoices").bearer(&token);

    let odd = gateway.send(&good.clone().header("x-tenant-id", b"tenant1\xff"));
    assert_eq!(odd.decision(), (400, "header_malformed".to_owned()));
    let unrelated = gateway.send(&good.clone().header("x-other", b"\xff\xfe"));
    assert_eq!(unrelated.status, 200);
    assert_eq!(gateway.send(&good).status, 200);
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

fn trailers_tell_the_upstream_nothing_that_headers_may_not(gateway: &Gateway) {
    let issuer = AuthorizationServer::shared();
    let token = issuer.token("tenant1-sync", "billing:write", "urn:billing");
    let mut connection = Connection::open(gateway.port);
    connection.send_bytes(
        format!(
            "POST /tenant1/invoices HTTP/1.1\r\nhost: api.example.com\r\nauthorization: Bearer {token}\r\n\
             transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nX-Tenant-Id: tenant10\r\nx-client-id: root\r\n\
             Authorization: Bearer other\r\nx-original-url: /tenant10/invoices\r\nx-checksum: abc\r\n\r\n"
        )
        .as_bytes(),
    );
    let response = connection.receive(false).expect("an answer");
    assert_eq!(response.upstream_saw("x-tenant-id"), ["tenant1"]);
    assert_eq!(response.json()["trailers"], json!([["x-checksum", "abc"]]));
}
