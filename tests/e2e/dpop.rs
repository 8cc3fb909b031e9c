//! Tokens that are bound to a key (RFC 9449): issued by a real authorization server, proved by a real client library.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::decisions;
use scopegate_testing::harness::{AuthorizationServer, Gateway, Options};
use scopegate_testing::http::Request;

const ORIGIN: &str = "https://api.example.com";

fn configuration(issuer: &AuthorizationServer, dpop: &Value) -> Value {
    let mut configuration = decisions::configuration(issuer);
    configuration["providers"]["corp"]["dpop"] = json!({"mode": "required", "public_origin": ORIGIN});
    for (name, value) in dpop.as_object().expect("keys") {
        configuration["providers"]["corp"]["dpop"][name] = value.clone();
    }
    configuration["providers"]["corp"]["introspection"] = json!({
        "uri": format!("{}/oauth/introspect", issuer.issuer), "cluster": "idp", "timeout": "5s",
        "client_auth": {"method": "client_secret_basic", "client_id": "gateway", "client_secret": {"value": "gateway-secret"}},
    });
    configuration
}

fn options(issuer: &AuthorizationServer) -> Options {
    let clusters = vec![("idp".to_owned(), issuer.port)];
    Options { concurrency: 4, clusters, reloadable: true, ..Options::default() }
}

fn client(resource: &str, algorithm: &str, paths: &[&str]) -> Value {
    json!({
        "client": "tenant1-sync", "secret": "tenant1-sync-secret", "scope": "billing:read", "resource": resource,
        "algorithm": algorithm, "paths": paths, "replays": 8,
    })
}

/// Runs `dpop-client.mjs`.
fn run(issuer: &AuthorizationServer, gateway: &Gateway, requests: &[Value]) -> Vec<Value> {
    let servers = PathBuf::from(std::env::var_os("SCOPEGATE_NODE_SERVERS").expect("`make test` sets it"));
    let output = Command::new("node")
        .arg(servers.join("dpop-client.mjs"))
        .args(["--issuer-port", &issuer.port.to_string(), "--gateway-port", &gateway.port.to_string()])
        .args(["--origin", ORIGIN, "--requests", &json!(requests).to_string()])
        .output()
        .expect("to run node");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The request that was the client's last, again.
fn again(answer: &Value) -> Request {
    let header = |name: &str| answer["headers"][name].as_str().expect("a header").to_owned();
    let request = Request::get("/tenant1/invoices").header("authorization", header("authorization"));
    request.header("dpop", header("dpop"))
}

#[test]
fn a_client_library_proves_its_key_and_no_worker_takes_a_proof_twice_nor_after_a_reload() {
    let issuer = AuthorizationServer::shared();
    let original = configuration(issuer, &json!({}));
    let gateway = Gateway::start(&original, &options(issuer));
    let paths = ["/tenant1/invoices", "/tenant1/invoices?page=2", "/tenant10/invoices", "/tenant1/invoices"];
    let mut requests = Vec::new();
    for resource in ["urn:billing", "urn:billing:es256", "urn:billing:opaque"] {
        for algorithm in ["ES256", "Ed25519"] {
            requests.push(client(resource, algorithm, &paths));
        }
    }
    let answers = run(issuer, &gateway, &requests);
    for (answer, request) in answers.iter().zip(&requests) {
        assert_eq!(answer["token_type"], "dpop", "{request}");
        let calls = answer["calls"].as_array().expect("calls");
        let statuses: Vec<&Value> = calls.iter().map(|call| &call["status"]).collect();
        assert_eq!(statuses, [200, 200, 401, 200], "{request} {answer:#}");
        assert!(calls.iter().all(|call| call["sent"] == 1), "{request}");
        assert_eq!(calls[2]["body"]["reason"], "tenant_mismatch", "{request}");
        let upstream_saw = &calls[0]["body"]["headers"];
        for name in ["authorization", "dpop"] {
            assert_eq!(upstream_saw.get(name), None, "{request} {upstream_saw}");
        }
        let replayed = answer["replayed"].as_array().expect("replays");
        assert_eq!(replayed.len(), 8);
        for replay in replayed {
            assert_eq!(
                (&replay["status"], &replay["body"]["reason"]),
                (&json!(401), &json!("proof_replayed"))
            );
        }
    }
    let used = again(&answers[0]);
    for realm in ["first", "second"] {
        let mut reloaded = original.clone();
        reloaded["realm"] = json!(realm);
        reloaded["providers"]["corp"]["clock_skew"] = json!("61s");
        assert!(gateway.reload(&reloaded, &options(issuer)));
        for _ in 0..8 {
            assert_eq!(gateway.send(&used).decision(), (401, "proof_replayed".to_owned()));
        }
    }
    // Whoever stole the token alone has nothing.
    let token = answers[0]["headers"]["authorization"].as_str().expect("a token").replace("DPoP ", "");
    let stolen = gateway.send(&Request::get("/tenant1/invoices").bearer(&token));
    assert_eq!(stolen.decision(), (401, "sender_constraint_failed".to_owned()));
    let unproved = Request::get("/tenant1/invoices").header("authorization", format!("DPoP {token}"));
    let response = gateway.send(&unproved);
    assert_eq!(response.decision(), (401, "proof_missing".to_owned()));
    let challenge = response.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with(r#"DPoP realm="second", error="invalid_dpop_proof""#), "{challenge}");
    assert!(challenge.contains(r#"algs="RS256 RS384"#), "{challenge}");
    // An unbound one has nothing either, where all must be bound.
    let plain = issuer.token("tenant1-sync", "billing:read", "urn:billing");
    let refused = gateway.send(&Request::get("/tenant1/invoices").bearer(&plain));
    assert_eq!(refused.decision(), (401, "sender_constraint_failed".to_owned()));
}

#[test]
fn a_client_library_takes_a_nonce_up_and_a_fleet_shares_its_secret() {
    let issuer = AuthorizationServer::shared();
    let nonce = json!({"nonce": {"secret": {"env": "DPOP_NONCE_SECRET"}, "lifetime": "1h"}});
    let secret = ("DPOP_NONCE_SECRET".to_owned(), "0123456789abcdef0123456789abcdef".to_owned());
    let options = || Options { environment: vec![secret.clone()], ..options(issuer) };
    let gateways = [(); 2].map(|()| Gateway::start(&configuration(issuer, &nonce), &options()));
    let paths = ["/tenant1/invoices", "/tenant1/invoices", "/tenant1/invoices"];
    let answers = run(issuer, &gateways[0], &[client("urn:billing", "ES256", &paths)]);
    let calls = answers[0]["calls"].as_array().expect("calls");
    let sent: Vec<&Value> = calls.iter().map(|call| &call["sent"]).collect();
    assert_eq!(sent, [2, 1, 1], "{:#}", answers[0]);
    assert!(calls.iter().all(|call| call["status"] == 200), "{:#}", answers[0]);
    assert!(
        answers[0]["replayed"].as_array().is_some_and(|all| all.iter().all(|replay| replay["status"] == 401))
    );
    // What is told in docs/configuration.md: another proxy takes the nonce, and the proof once more.
    let used = again(&answers[0]);
    assert_eq!(gateways[1].send(&used).status, 200);
    assert_eq!(gateways[1].send(&used).decision(), (401, "proof_replayed".to_owned()));

    // RFC 9449 section 8.2: who calls on gets the next nonce with a good response, in the second half of the time of the one
    // at hand: the second or the third call comes in it.
    let mut hurried = configuration(issuer, &nonce);
    hurried["providers"]["corp"]["dpop"]["nonce"]["lifetime"] = json!("10s");
    assert!(gateways[0].reload(&hurried, &options()), "{}", gateways[0].log());
    let mut calling = client("urn:billing", "ES256", &paths);
    calling["pause"] = json!(5_000);
    let answers = run(issuer, &gateways[0], &[calling]);
    let calls = answers[0]["calls"].as_array().expect("calls");
    let sent: Vec<&Value> = calls.iter().map(|call| &call["sent"]).collect();
    assert_eq!(sent, [2, 1, 1], "{:#}", answers[0]);
    assert!(calls.iter().all(|call| call["status"] == 200), "{:#}", answers[0]);
    assert!(calls[0]["nonce"].is_null() && calls.iter().any(|call| call["nonce"].is_string()), "{calls:#?}");
}
