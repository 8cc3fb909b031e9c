//! What the filter counts stands in Envoy's own statistics.

use crate::decisions::configuration;
use crate::harness::{AuthorizationServer, Gateway, Options, wait_until};
use crate::http::Request;

#[test]
fn decisions_signature_checks_and_cache_uses_are_counted_by_configured_names_only() {
    let server = AuthorizationServer::shared();
    let gateway = Gateway::start(&configuration(server), &Options::default());
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
    let foreign =
        gateway.stats("wasmcustom.scopegate.").into_iter().find(|(name, _)| name.contains("initech"));
    assert_eq!(foreign, None, "a name that a client chose");
}
