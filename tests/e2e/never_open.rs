//! Nothing gets through where the filter did not decide.

use serde_json::json;

use crate::decisions::configuration;
use crate::harness::{AuthorizationServer, Gateway, Options, validate};
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
    assert_eq!(gateway.stat("http.gateway.rbac.scopegate_tripwire.denied"), Some(4));
    assert_eq!(gateway.upstream_count(), 0);
}

#[test]
fn a_configuration_that_is_none_is_refused_with_the_place_of_the_error_and_envoy_does_not_start() {
    let good = configuration(AuthorizationServer::shared());
    assert_eq!(validate(&good), Ok(()));
    assert!(Gateway::try_start(&json!({}), &Options::default()).is_err());

    let mut wrong = good.clone();
    wrong["tenant"] = json!([]);
    wrong["tenants"] = json!([]);
    wrong["suites"][0]["scope"] = json!(["billing:read"]);
    for (configuration, named) in [
        (json!("{\"version\": 1,"), vec!["not JSON"]),
        (
            wrong,
            vec![
                "unknown key `tenant`",
                "tenants: ",
                "suites[0]: unknown key `scope`; did you mean `scopes`?",
            ],
        ),
    ] {
        let log = validate(&configuration).expect_err("a refusal");
        for part in ["the configuration is refused"].into_iter().chain(named) {
            assert!(log.contains(part), "`{part}`: {log}");
        }
    }
}
