//! A configuration that changes while the proxy runs.

use serde_json::{Value, json};

use crate::decisions::configuration;
use crate::harness::{AuthorizationServer, Gateway, Options};
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
