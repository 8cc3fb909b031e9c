//! A configuration that changes while the proxy runs.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::decisions::configuration;
use crate::issuer::{Behaviour, FaultyIssuer, Received};
use scopegate_testing::harness::{AuthorizationServer, Gateway, Options, manager, now, wait_until};
use scopegate_testing::http::{Connection, Request};
use scopegate_testing::mint::{Signer, jwks};

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
    thread::sleep(Duration::from_millis(1100));
    configuration["tenants"][0]["applications"][0]["scopes"] = json!(["billing:read"]);
    configuration["tenants"][1]["scopes"] = json!([{"name": "billing:read"}, {"name": "billing:write"}]);
    assert!(gateway.reload(&configuration, &options), "{}", gateway.log());
    wait_until("the changes are told", || events("scope.created") >= 2);
    thread::sleep(Duration::from_millis(500));
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

#[test]
fn a_return_to_a_policy_that_still_has_a_request_under_way_is_told_and_so_is_what_comes_next() {
    let asked = FaultyIssuer::start(|_| Behaviour::json(&json!({"active": false})).after(4_000));
    let options = Options {
        reloadable: true,
        concurrency: 2,
        clusters: vec![("idp".to_owned(), asked.port)],
        ..Options::default()
    };
    let mut first = configuration(AuthorizationServer::shared());
    first["providers"]["corp"]["introspection"] = json!({
        "uri": "https://login.example.com/introspect", "cluster": "idp", "timeout": "10s",
        "client_auth": {"method": "none"},
    });
    let assigning = |tenant: usize| {
        let mut configuration = first.clone();
        configuration["tenants"][tenant]["applications"][0]["scopes"] = json!(["billing:read"]);
        configuration
    };
    let gateway = Gateway::start(&first, &options);
    let told = || gateway.log().lines().filter(|line| line.contains("application.reassociated")).count();
    wait_until("the first load is told", || gateway.log().contains("policy.loaded"));
    let mut waiting = Connection::open(gateway.port);
    waiting.begin(&Request::get("/tenant1/invoices").bearer("opaque"));
    wait_until("the issuer is asked", || asked.count("/introspect") == 1);
    for (place, next) in [assigning(0), first.clone(), assigning(1)].into_iter().enumerate() {
        assert!(gateway.reload(&next, &options), "{}", gateway.log());
        wait_until("the change is told", || told() > place);
    }
    assert_eq!(
        waiting.receive(false).map(|response| response.decision().1).as_deref(),
        Some("token_inactive")
    );
    thread::sleep(Duration::from_millis(500));
    assert_eq!(told(), 3, "{}", gateway.log());
}

/// A gateway without an upstream, whose issuer finds each opaque token active.
struct Remembering {
    issuer: FaultyIssuer,
    gateway: Gateway,
    options: Options,
    configuration: Value,
}

const ISSUER: &str = "https://login.example.com";

impl Remembering {
    fn start() -> Self {
        let issuer = FaultyIssuer::start(responding_with_key("key-1"));
        let configuration = json!({
            "version": 1,
            "providers": {"corp": {
                "issuer": ISSUER, "audiences": ["api"],
                "remote_jwks": {"uri": "https://login.example.com/jwks.json", "cluster": "idp"},
                "introspection": {
                    "uri": "https://login.example.com/introspect", "cluster": "idp",
                    "client_auth": {"method": "none"}, "cache": {"max_ttl": "10m"},
                },
            }},
            "tenants": [{"id": "acme", "providers": ["corp"]}],
            "suites": [{"name": "api", "operations": [{"name": "read", "path": "/read", "requires": ["read"]}]}],
            "audit": {"decisions": "none"},
        });
        let options = Options {
            reloadable: true,
            clusters: vec![("idp".to_owned(), issuer.port)],
            bootstrap: Box::new(|bootstrap| {
                let routes = &mut manager(bootstrap)["route_config"]["virtual_hosts"][0]["routes"];
                *routes = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 204}}]);
            }),
            ..Options::default()
        };
        let gateway = Gateway::start(&configuration, &options);
        Self { issuer, gateway, options, configuration }
    }

    /// The configuration with a change, in force from now on.
    fn reload(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.configuration);
        let is_taken = self.gateway.reload(&self.configuration, &self.options);
        assert!(is_taken, "{}", self.gateway.log());
    }

    fn require(&mut self, scope: &str) {
        self.reload(|changed| changed["suites"][0]["operations"][0]["requires"] = json!([scope]));
    }

    /// Sends a request with each token; each has to be decided so.
    fn expect(&self, tokens: &[String], status: u16, reason: &str) {
        let mut connection = Connection::open(self.gateway.port);
        for token in tokens {
            let decision = connection.send(&Request::get("/read").bearer(token)).decision();
            assert_eq!(decision, (status, reason.to_owned()));
        }
    }

    /// Signature checks, key fetches and introspections so far.
    fn work(&self) -> [u64; 3] {
        let checks = self.gateway.stat("wasmcustom.scopegate.signature_checks").unwrap_or_default();
        let [fetches, introspections] =
            ["/jwks.json", "/introspect"].map(|path| self.issuer.count(path) as u64);
        [checks, fetches, introspections]
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "api", "sub": "a", "scope": "read", "exp": now() + 600})
}

/// The issuer's key. Of the algorithms that the host checks, it is the one that is cheapest to sign with.
fn signer(key_id: &'static str) -> Signer {
    Signer::new("ES256", key_id, key_id.as_bytes()[key_id.len() - 1])
}

fn responding_with_key(key_id: &'static str) -> impl Fn(&Received) -> Behaviour + Send {
    move |received| match received.path.as_str() {
        "/jwks.json" => Behaviour::json(&jwks([&signer(key_id)])),
        _ => {
            let mut active = claims();
            active["active"] = json!(true);
            Behaviour::json(&active)
        }
    }
}

/// JWTs, each another one.
fn signed(count: usize) -> Vec<String> {
    let (signer, mut claims) = (signer("key-1"), claims());
    let token = |number: usize| {
        claims["jti"] = json!(number.to_string());
        signer.mint(json!({}), &claims)
    };
    (0..count).map(token).collect()
}

fn opaque(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("opaque-{number}")).collect()
}

#[test]
fn what_was_learnt_of_thousands_of_tokens_survives_a_reload_and_the_new_table_decides_at_once() {
    what_was_learnt_survives(2_500, 500);
}

#[test]
#[ignore = "takes a minute: `make soak`"]
fn what_was_learnt_of_ten_thousand_tokens_survives_a_reload_and_the_new_table_decides_at_once() {
    what_was_learnt_survives(10_000, 2_000);
}

fn what_was_learnt_survives(signed_count: u64, opaque_count: u64) {
    let mut remembering = Remembering::start();
    let (signed, opaque) = (signed(signed_count as usize), opaque(opaque_count as usize));
    let expect_of_all = |remembering: &Remembering, status: u16, reason: &str| {
        let begun = Instant::now();
        remembering.expect(&signed, status, reason);
        remembering.expect(&opaque, status, reason);
        let work = remembering.work();
        println!(
            "{} requests are answered {status} in {:?}; work so far {work:?}",
            signed_count + opaque_count,
            begun.elapsed()
        );
    };
    expect_of_all(&remembering, 204, "-");
    let learnt = [signed_count, 1, opaque_count];
    wait_until("the checks are counted", || remembering.work() == learnt);
    remembering.require("write");
    expect_of_all(&remembering, 403, "scope_not_associated_with_suite");
    remembering.require("read");
    expect_of_all(&remembering, 204, "-");
    assert_eq!(remembering.work(), learnt, "signature checks, key fetches, introspections");
}

#[test]
fn what_was_learnt_under_another_provider_or_with_a_key_that_is_gone_counts_for_nothing() {
    let mut remembering = Remembering::start();
    let (signed, opaque) = (signed(50), opaque(50));
    let expect_of_all = |remembering: &Remembering, status: u16, reason: &str| {
        remembering.expect(&signed, status, reason);
        remembering.expect(&opaque, status, reason);
    };
    expect_of_all(&remembering, 204, "-");
    remembering.reload(|changed| changed["providers"]["corp"]["audiences"] = json!(["other-api"]));
    expect_of_all(&remembering, 401, "audience_mismatch");
    let [checks, fetches, introspections] = remembering.work();
    remembering.reload(|changed| {
        changed["providers"]["corp"]["audiences"] = json!(["other-api", "api"]);
        changed["providers"]["corp"]["remote_jwks"]["cache_duration"] = json!("1s");
    });
    expect_of_all(&remembering, 204, "-");
    wait_until("each is checked again", || {
        let [checks_now, fetches_now, introspections_now] = remembering.work();
        (checks_now, introspections_now) == (checks + 50, introspections + 50) && fetches_now > fetches
    });

    remembering.require("write");
    remembering.require("read");
    expect_of_all(&remembering, 204, "-");
    remembering.issuer.respond(responding_with_key("key-2"));
    let request = Request::get("/read").bearer(&signed[0]);
    wait_until("the key is gone", || remembering.gateway.send(&request).status == 401);
    remembering.expect(&signed, 401, "key_not_found");
    assert_eq!(remembering.work()[0], checks + 50, "something was checked with a key that is gone");
}
