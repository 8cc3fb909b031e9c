//! What the filter counts stands in Envoy's own statistics.

use std::time::Duration;

use serde_json::{Value, json};

use crate::decisions;
use crate::issuer::{Behaviour, FaultyIssuer};
use scopegate_testing::harness::{AuthorizationServer, Gateway, Options, now, wait_until};
use scopegate_testing::http::Request;
use scopegate_testing::mint::{Signer, jwks};

#[test]
fn decisions_signature_checks_and_cache_uses_are_counted_by_configured_names_only() {
    let server = AuthorizationServer::shared();
    let gateway = Gateway::start(&decisions::configuration(server), &Options::default());
    let token = server.token("tenant1-sync", "billing:read", "urn:billing");
    let read = Request::get("/tenant1/invoices").bearer(&token);
    for _ in 0..3 {
        assert_eq!(gateway.send(&read).status, 200);
    }
    assert_eq!(gateway.send(&Request::post("/tenant1/invoices").bearer(&token)).status, 403);
    assert_eq!(gateway.send(&Request::get("/initech/invoices")).status, 401);

    let counted = |name: &str| gateway.stat(&format!("wasmcustom.scopegate.{name}")).unwrap_or_default();
    wait_until("the counters arrive", || counted("token_cache.hits") == 3);
    for (name, expected) in [
        ("decisions.outcome.allow.reason.none.tenant.tenant1", 3),
        ("decisions.outcome.deny.reason.scope_not_granted.tenant.tenant1", 1),
        ("decisions.outcome.deny.reason.credential_missing.tenant.none", 1),
        ("suite_decisions.outcome.allow.suite.billing", 3),
        ("signature_checks", 1),
        ("token_cache.misses", 1),
    ] {
        assert_eq!(counted(name), expected, "{name}");
    }
    assert!(counted("reloads") >= 1 && counted("policy_generation") >= 1);
    wait_until("the token is in the sum of what is remembered", || {
        counted("memory_bytes") > token.len() as u64
    });
    assert_eq!(counted("memory_budget_bytes"), 64 << 20);
    assert!(counted("vm_bytes") > counted("memory_bytes") && counted("vm_bytes") <= 256 << 20);
    let foreign =
        gateway.stats("wasmcustom.scopegate.").into_iter().find(|(name, _)| name.contains("initech"));
    assert_eq!(foreign, None, "a name that a client chose");
}

#[test]
fn keys_are_shown_as_fresh_until_cache_duration_after_the_fetch_and_as_none_once_their_provider_is_gone() {
    let issuer = FaultyIssuer::start(|_| Behaviour::json(&jwks([&Signer::new("EdDSA", "k1", 7)])));
    let provider = |name: &str, cache_duration: &str| {
        json!({
            "issuer": format!("https://{name}.example"),
            "audiences": ["api"],
            "remote_jwks": {"uri": "https://idp.example/jwks.json", "cluster": "idp", "cache_duration": cache_duration},
        })
    };
    let configuration = |providers: Value| {
        let names: Vec<&String> = providers.as_object().expect("providers").keys().collect();
        json!({
            "version": 1,
            "providers": providers,
            "tenants": [{"id": "acme", "providers": names}],
            "suites": [{"name": "api", "operations": [{"name": "read", "path": "/read", "requires": ["read"]}]}],
        })
    };
    let both = configuration(json!({"corp": provider("corp", "10m"), "partner": provider("partner", "1s")}));
    let options = Options {
        reloadable: true,
        concurrency: 2,
        clusters: vec![("idp".to_owned(), issuer.port)],
        ..Options::default()
    };
    let begun = now();
    let gateway = Gateway::start(&both, &options);
    let fresh_until =
        |name: &str| gateway.stat(&format!("wasmcustom.scopegate.keys_fresh_until_seconds.provider.{name}"));
    wait_until("the keys are there", || fresh_until("corp").is_some() && fresh_until("partner").is_some());
    let corp = fresh_until("corp").expect("a time");
    assert!((begun + 600..=now() + 600).contains(&corp), "{corp}");
    wait_until("keys of short life are fetched again", || fresh_until("partner") >= Some(begun + 4));

    assert!(gateway.reload(&configuration(json!({"corp": provider("corp", "10m")})), &options));
    wait_until("the provider is gone", || fresh_until("partner") == Some(0));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((fresh_until("partner"), fresh_until("corp")), (Some(0), Some(corp)));
}
