//! A configuration that changes while the proxy runs.

use serde_json::{Value, json};

use crate::decisions::configuration;
use crate::harness::{AuthorizationServer, Gateway, Options, wait_until};
use crate::http::{Connection, Request};

#[test]
fn a_new_configuration_decides_the_next_request_and_a_bad_one_leaves_the_old_in_force() {
    let issuer = AuthorizationServer::shared();
    let options = Options { reloadable: true, concurrency: 2, ..Options::default() };
    let good = configuration(issuer);
    let gateway = Gateway::start(&good, &options);
    let token = issuer.token("tenant1-sync", "billing:read", "urn:billing");
    let read = Request::get("/tenant1/invoices").bearer(&token);
    let mut connections: Vec<Connection> = (0..8).map(|_| Connection::open(gateway.port)).collect();
    let mut expect = |status: u16, reason: &str| {
        for connection in &mut connections {
            assert_eq!(connection.send(&read).decision(), (status, reason.to_owned()));
        }
    };
    expect(200, "-");

    let mut stricter: Value = good.clone();
    stricter["suites"][0]["operations"][1]["requires"] = json!(["billing:write"]);
    stricter["suites"][0]["scopes"] = json!(["billing:read"]);
    assert!(gateway.reload(&stricter, &options), "{}", gateway.log());
    expect(403, "scope_not_granted");

    let mut wrong = good.clone();
    wrong["suites"][0]["operations"][1]["path"] = json!("no-slash");
    assert!(!gateway.reload(&wrong, &options), "{}", gateway.log());
    assert!(gateway.log().contains("suites[0].operations[1].path"), "{}", gateway.log());
    expect(403, "scope_not_granted");

    assert!(gateway.reload(&good, &options), "{}", gateway.log());
    expect(200, "-");
}

#[test]
fn one_worker_tells_what_a_reload_changed_and_refusals_of_older_tokens_say_so() {
    let issuer = AuthorizationServer::shared();
    let options = Options { reloadable: true, concurrency: 2, ..Options::default() };
    let mut configuration = configuration(issuer);
    let gateway = Gateway::start(&configuration, &options);
    let events = |name: &str| gateway.log().matches(&format!("\"event\":\"{name}\"")).count();
    wait_until("the first load is told", || events("policy.loaded") > 0);

    let token = issuer.token("tenant1-sync", "billing:read billing:write", "urn:billing");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    configuration["tenants"][0]["applications"][0]["scopes"] = json!(["billing:read"]);
    configuration["tenants"][1]["scopes"] = json!([{"name": "billing:read"}, {"name": "billing:write"}]);
    assert!(gateway.reload(&configuration, &options), "{}", gateway.log());
    wait_until("the changes are told", || events("scope.created") >= 2);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(events("policy.loaded"), 1, "{}", gateway.log());
    assert_eq!(events("scope.created"), 2, "{}", gateway.log());
    assert_eq!(events("application.reassociated") + events("application.modified"), 1, "{}", gateway.log());

    let refused = gateway.send(&Request::post("/tenant1/invoices").bearer(&token));
    assert_eq!(refused.decision(), (403, "scope_not_assigned_to_application".to_owned()));
    wait_until("the refusal is told", || gateway.log().contains("scope_not_assigned_to_application"));
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("scope_not_assigned_to_application")).expect("a line");
    assert!(line.contains("\"hint\":\"token_predates_policy\""), "{line}");
    assert!(line.contains("\"step\":\"scopes\""), "{line}");
}
