//! What logs are told of a decision is JSON in one line, whatever token and request say.

use proptest::prelude::*;
use scopegate::exchange::log_json::is_hidden;
use scopegate::exchange::{CacheUse, Facts, HeaderEdits, Record, Request, Step};
use scopegate::http::headers::Header;
use serde_json::{Value, json};

use crate::gateway::{AUDIENCE, Gateway, ISSUER, KEY, token};
use scopegate_testing::mint::jwks;

struct NoEdits;

impl HeaderEdits for NoEdits {
    fn remove(&mut self, _: &[u8]) {}
    fn set(&mut self, _: &str, _: &[u8]) {}
    fn add(&mut self, _: &str, _: &[u8]) {}
}

fn gateway(audit: Value) -> Gateway {
    Gateway::new(&json!({
        "version": 1,
        "providers": {"corp": {"issuer": ISSUER, "audiences": [AUDIENCE], "local_jwks": jwks([&*KEY])}},
        "tenant_resolution": {"claims": ["tenant_id"]},
        "tenants": [
            {"id": "acme"},
            {"id": "globex", "operation_requires": {"orders/approve": {"all_of": ["orders:own"]}}},
        ],
        "suites": [{"name": "orders", "scopes": ["orders:read"], "operations": [
            {"name": "list", "path": "/orders"},
            {"name": "mine", "path": "/me/*", "access": "authenticated"},
            {"name": "approve", "path": "/{tenant}/orders/{id}/**",
             "requires": {"all_of": ["orders:write"], "any_of": ["orders:approve", "orders:admin"]}},
        ]}],
        "audit": audit,
    }))
}

fn facts(gateway: &Gateway, headers: &[Header<'_>]) -> Facts {
    match gateway.step(headers, &mut NoEdits) {
        Step::Forward(forward) => forward.facts,
        Step::Reject(_, facts) => facts,
        Step::Await | Step::AwaitBody | Step::Tell(..) | Step::RejectTokenRequest(..) => {
            panic!("decided at once")
        }
    }
}

/// The property `log` and the audit line of a request, without any character that a log may not hold.
fn told(gateway: &Gateway, headers: &[Header<'_>]) -> (Value, Value) {
    let facts = facts(gateway, headers);
    let record = Record::new(&facts, &gateway.active.policy);
    let mut log = String::new();
    record.append_to(&mut log);
    let line = record.audit_line(&Request::new(headers), false, 0);
    let read = |text: &str| {
        assert!(!text.chars().any(is_hidden), "{text:?}");
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    (read(&log), read(&line))
}

fn request<'h>(method: &'h [u8], path: &'h str, authorization: &'h str, id: &'h [u8]) -> Vec<Header<'h>> {
    vec![
        (b":method", method),
        (b":path", path.as_bytes()),
        (b":authority", b"api.example"),
        (b"authorization", authorization.as_bytes()),
        (b"x-request-id", id),
    ]
}

fn bearer(subject: &str, client: &str, tenant: &str) -> String {
    let claims = json!({"sub": subject, "client_id": client, "tenant_id": tenant, "scope": "orders:read"});
    format!("Bearer {}", token(claims))
}

/// Texts with more of what is dangerous in a log than chance gives.
fn hostile() -> impl Strategy<Value = String> {
    let dangerous = "[\"\\\\,:{}\n\r\t\0\u{1b}\u{7f}\u{80}-\u{9f}\u{2028}-\u{202e}\u{200b}\u{feff}]{0,12}";
    // An empty subject or client is refused.
    prop_oneof![any::<String>(), dangerous].prop_filter("not empty", |text| !text.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn record_and_line_are_json_in_one_line_whatever_token_and_request_say(
        subject in hostile(),
        client in hostile(),
        id in proptest::collection::vec(any::<u8>(), 0..200),
        method in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let gateway = gateway(json!({"subject": true}));
        let authorization = bearer(&subject, &client, "acme");
        let (log, line) = told(&gateway, &request(&method, "/orders", &authorization, &id));
        prop_assert_eq!((&line["decision"], &line["step"]), (&json!("allow"), &json!("scopes")));
        for (name, value) in log.as_object().unwrap() {
            prop_assert_eq!(&line[name], value);
        }
        prop_assert_eq!((&log["subject"], &log["client"]), (&json!(subject), &json!(client)));
        let told = |bytes: &[u8], most: usize| match bytes.get(..most) {
            Some(beginning) if bytes.len() > most => format!("{}…", String::from_utf8_lossy(beginning)),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        };
        prop_assert_eq!(&line["method"], &json!(told(&method, 32)));
        match id.is_empty() {
            true => prop_assert!(line.get("request_id").is_none()),
            false => prop_assert_eq!(&line["request_id"], &json!(told(&id, 128))),
        }
    }
}

#[test]
fn a_line_names_pattern_and_requirement_as_the_tenants_table_has_them_and_never_the_path_that_came() {
    let gateway = gateway(json!({}));
    for (path, tenant, template, required) in [
        ("/orders?page=1", "acme", json!("/orders"), json!({"any_of": ["orders:read"]})),
        ("/me/4711", "acme", json!("/me/*"), Value::Null),
        (
            "/acme/orders/4711/x/y",
            "acme",
            json!("/{tenant}/orders/{id}/**"),
            json!({"all_of": ["orders:write"], "any_of": ["orders:approve", "orders:admin"]}),
        ),
        (
            "/globex/orders/4711/x",
            "globex",
            json!("/{tenant}/orders/{id}/**"),
            json!({"all_of": ["orders:own"]}),
        ),
        // Nothing is required of a tenant that is not settled.
        ("/globex/orders/4711/x", "acme", json!("/{tenant}/orders/{id}/**"), Value::Null),
        ("/elsewhere/4711", "acme", Value::Null, Value::Null),
    ] {
        let authorization = bearer("alice", "shop", tenant);
        let (log, line) = told(&gateway, &request(b"GET", path, &authorization, b"7"));
        assert_eq!((&line["path_template"], &line["required"]), (&template, &required), "{path}");
        let text = format!("{log}{line}");
        assert!(!text.contains("4711") && !text.contains("page=1") && !text.contains("alice"), "{text}");
    }
}

#[test]
fn a_line_names_the_policy_by_the_beginning_of_the_digest_that_reloads_log() {
    let gateway = gateway(json!({}));
    let (log, line) = told(&gateway, &request(b"GET", "/orders", "", b""));
    let digest = base16ct::lower::encode_string(&gateway.active.policy.digest);
    for told in [&log["policy"], &line["policy"]] {
        assert_eq!(told.as_str(), digest.get(..16));
    }
}

#[test]
fn a_token_is_digested_where_its_decision_is_logged_and_nowhere_else() {
    for (decisions, digested) in [("all", [true, true]), ("denied", [false, true]), ("none", [false, false])]
    {
        let gateway = gateway(json!({"decisions": decisions}));
        let authorization = bearer("alice", "shop", "acme");
        let told = ["/orders", "/elsewhere"]
            .map(|path| facts(&gateway, &request(b"GET", path, &authorization, b"")).token_digest.is_some());
        assert_eq!(told, digested, "{decisions}");
    }
}

#[test]
fn a_token_that_was_verified_before_is_a_hit_of_the_cache_and_one_of_other_bytes_is_none() {
    let gateway = gateway(json!({}));
    let (alice, bob) = (bearer("alice", "shop", "acme"), bearer("bob", "shop", "acme"));
    let used =
        |authorization: &str| facts(&gateway, &request(b"GET", "/orders", authorization, b"")).cache_use;
    for (authorization, expected) in [
        (&alice, CacheUse::TokenMiss),
        (&alice, CacheUse::TokenHit),
        (&bob, CacheUse::TokenMiss),
        (&alice, CacheUse::TokenHit),
        (&bob, CacheUse::TokenHit),
    ] {
        assert_eq!(used(authorization), Some(expected));
    }
}
