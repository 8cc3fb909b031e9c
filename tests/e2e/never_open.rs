//! Nothing gets through where the filter did not decide.

use serde_json::{Value, json};

use crate::decisions::configuration;
use crate::harness::{AuthorizationServer, Gateway, Options};
use crate::http::Request;

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
    assert_eq!(gateway.stat("http.gateway.rbac.denied"), Some(4));
    assert_eq!(gateway.upstream_count(), 0);
}

#[test]
fn a_configuration_that_is_none_keeps_envoy_from_starting() {
    let good = configuration(AuthorizationServer::shared());
    drop(Gateway::start(&good, &Options::default()));

    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed[key] = value;
        changed
    };
    for (wrong, named) in [
        (json!("{\"version\": 1,"), "scopegate"),
        (json!({}), "version"),
        (with("tenants", json!([])), "tenants"),
        (with("tenant", json!([])), "tenant"),
        (with("suites", json!([{"name": "billing", "scope": ["x"], "operations": []}])), "suites[0]"),
    ] {
        let log = Gateway::try_start(&wrong, &Options::default()).err();
        let log = log.unwrap_or_else(|| panic!("envoy started with {wrong}"));
        assert!(log.contains(named), "the log does not name `{named}`: {log}");
    }
}
