//! How lately, and by what means, a user must have authenticated (RFC 9470). The section stands beside each test.

use std::time::Duration;

use scopegate::exchange::Stage;
use scopegate::respond::Reason;
use serde_json::{Value, json};

use crate::gateway::{Call, Gateway, NOW, Outcome, provider, token};

fn config() -> Value {
    json!({
        "version": 1, "realm": "gw",
        "providers": {"corp": provider(json!({}))},
        "tenant_resolution": {"claims": ["tenant_id"]},
        "tenants": [{"id": "acme", "providers": ["corp"]}, {"id": "globex", "providers": ["corp"]}],
        "suites": [
            {"name": "plain", "operations": [
                {"name": "read", "path": "/read", "requires": ["read"]},
                {"name": "acr", "path": "/acr", "requires": ["read"], "acr_values": ["urn:mfa", "urn:hw"]},
                {"name": "age", "path": "/age", "requires": ["read"], "max_auth_age": "5m"},
                {"name": "both", "path": "/{tenant}/both", "requires": ["write"],
                 "acr_values": ["urn:mfa"], "max_auth_age": "5m"},
                {"name": "off", "path": "/off", "requires": ["write"], "acr_values": ["urn:mfa"],
                 "scope_enforcement": "off"},
            ]},
            {"name": "guarded", "acr_values": ["urn:mfa"], "max_auth_age": "1h", "operations": [
                {"name": "inherits", "path": "/guarded/inherits", "access": "authenticated"},
                {"name": "replaces", "path": "/guarded/replaces", "access": "authenticated", "acr_values": ["urn:pwd"]},
                {"name": "open", "path": "/guarded/open", "access": "public"},
            ]},
        ],
    })
}

fn call(path: &str, changes: Value) -> Outcome {
    let mut all = json!({"tenant_id": "acme", "scope": "read write"});
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    Gateway::new(&config()).call(&Call::get(path).bearer(&token(all)))
}

#[test]
fn what_is_asked_is_the_operations_own_or_else_its_suites() {
    let gateway = Gateway::new(&config());
    let asked = gateway.active.policy.catalog.operations.iter().map(|operation| {
        let step_up = operation.step_up.as_ref()?;
        Some((step_up.acr_values.join(" "), step_up.max_age.map(|age| age.as_secs())))
    });
    let of = |acr_values: &str, max_age: Option<u64>| Some((acr_values.to_owned(), max_age));
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [
            None,
            of("urn:mfa urn:hw", None),
            of("", Some(300)),
            of("urn:mfa", Some(300)),
            of("urn:mfa", None),
            of("urn:mfa", Some(3600)),
            of("urn:pwd", Some(3600)),
            of("urn:mfa", Some(3600)),
        ]
    );
}

#[test]
fn the_token_names_one_of_the_classes_that_the_operation_asks_for() {
    // RFC 9470 sections 3 and 6.1.
    for (acr, passes) in [
        (json!("urn:mfa"), true),
        (json!("urn:hw"), true),
        (json!("urn:pwd"), false),
        (json!("URN:MFA"), false),
        (json!("urn:mfa urn:hw"), false),
        (json!(["urn:mfa"]), false),
        (json!(null), false),
        (json!(""), false),
    ] {
        let outcome = call("/acr", json!({"acr": acr}));
        let expected = (!passes).then_some(Reason::AuthenticationInsufficient);
        assert_eq!(outcome.refusal(), expected, "{acr}");
    }
    assert_eq!(call("/read", json!({})).refusal(), None);
}

#[test]
fn the_user_authenticated_no_longer_ago_than_the_operation_allows() {
    // RFC 9470 section 3; the clock skew is that of all times of a token, 60 s.
    for (seconds_ago, passes) in
        [(0, true), (300, true), (360, true), (361, false), (-60, true), (-61, false)]
    {
        let time = NOW as i64 - seconds_ago;
        let outcome = call("/age", json!({"auth_time": time}));
        let expected = (!passes).then_some(Reason::AuthenticationInsufficient);
        assert_eq!(outcome.refusal(), expected, "{seconds_ago}");
    }
    for odd in [json!(null), json!("1800000000"), json!(-1), json!(1e300), json!([NOW])] {
        assert_eq!(
            call("/age", json!({"auth_time": odd})).refusal(),
            Some(Reason::AuthenticationInsufficient)
        );
    }
}

#[test]
fn a_token_that_is_remembered_grows_too_old_for_an_operation() {
    let mut gateway = Gateway::new(&config());
    let token = token(json!({"tenant_id": "acme", "scope": "read", "auth_time": NOW}));
    let call = Call::get("/age").bearer(&token);
    for (seconds, passes) in [(0, true), (360, true), (361, false)] {
        gateway.now = Duration::from_secs(NOW + seconds);
        assert_eq!(gateway.call(&call).refusal().is_none(), passes, "{seconds}");
    }
}

#[test]
fn the_challenge_says_what_would_do() {
    // RFC 9470 section 3.
    let refused = call("/acme/both", json!({"acr": "urn:pwd"})).refused();
    assert_eq!((refused.answer.status, refused.reason), (401, Reason::AuthenticationInsufficient));
    assert_eq!(refused.body()["error"], "insufficient_user_authentication");
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(
        challenge.starts_with(r#"Bearer realm="gw", error="insufficient_user_authentication", "#),
        "{challenge}"
    );
    assert!(challenge.ends_with(r#", acr_values="urn:mfa", max_age="300""#), "{challenge}");
    let refused = call("/acr", json!({})).refused();
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(challenge.ends_with(r#", acr_values="urn:mfa urn:hw""#), "{challenge}");
    assert_eq!(refused.stage, Stage::Scopes);
}

#[test]
fn what_an_operation_asks_is_told_to_its_tenants_callers_and_comes_before_scopes() {
    // A token of another tenant learns nothing of it.
    assert_eq!(call("/globex/both", json!({})).refusal(), Some(Reason::TenantMismatch));
    assert_eq!(
        call("/acme/both", json!({"scope": "read"})).refusal(),
        Some(Reason::AuthenticationInsufficient)
    );
    let good = json!({"scope": "read", "acr": "urn:mfa", "auth_time": NOW});
    assert_eq!(call("/acme/both", good).refusal(), Some(Reason::ScopeNotGranted));
    // No enforcement lifts it.
    assert_eq!(call("/off", json!({"scope": "read"})).refusal(), Some(Reason::AuthenticationInsufficient));
    assert_eq!(call("/off", json!({"scope": "read", "acr": "urn:mfa"})).refusal(), None);
}

#[test]
fn an_operation_has_its_suites_terms_but_for_those_that_it_replaces() {
    let recent = json!({"acr": "urn:mfa", "auth_time": NOW});
    assert_eq!(call("/guarded/inherits", recent.clone()).refusal(), None);
    assert_eq!(call("/guarded/replaces", recent).refusal(), Some(Reason::AuthenticationInsufficient));
    assert_eq!(
        call("/guarded/replaces", json!({"acr": "urn:pwd", "auth_time": NOW - 3_660})).refusal(),
        None
    );
    let old = json!({"acr": "urn:pwd", "auth_time": NOW - 3_661});
    assert_eq!(call("/guarded/replaces", old).refusal(), Some(Reason::AuthenticationInsufficient));
    assert_eq!(Gateway::new(&config()).call(&Call::get("/guarded/open")).refusal(), None);
}

#[test]
fn an_introspection_response_says_it_as_well() {
    // RFC 9470 section 6.2.
    let mut config = config();
    config["providers"]["corp"]["introspection"] = json!({
        "uri": "https://idp.example/introspect", "cluster": "idp", "client_auth": {"method": "none"},
    });
    for (acr, passes) in [("urn:mfa", true), ("urn:pwd", false)] {
        let body = json!({
            "active": true, "aud": "api", "sub": "alice", "tenant_id": "acme", "scope": "read", "acr": acr,
        });
        let outcome = Gateway::new(&config)
            .call_answered(&Call::get("/acr").bearer("opaque"), &mut |_| Ok((200, body.to_string())));
        assert_eq!(outcome.refusal().is_none(), passes, "{acr}");
    }
}
