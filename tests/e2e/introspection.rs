//! Opaque tokens: what the issuer says of them, when it is asked, and what happens where it says nothing usable.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::decisions;
use crate::issuer::{Behaviour, FaultyIssuer, Received, unused_port};
use scopegate_testing::harness::{AuthorizationServer, Directory, Gateway, Options, now, wait_until};
use scopegate_testing::http::{self, Connection, Request, Response};
use scopegate_testing::mint::{Signer, jwks};

const ISSUER: &str = "https://login.example.com";

/// One tenant of an issuer that is asked at cluster `idp`.
fn configuration() -> Value {
    json!({
        "version": 1,
        "providers": {"corp": provider()},
        "tenants": [{"id": "acme", "providers": ["corp"]}],
        "suites": [{"name": "api", "operations": [
            {"name": "read", "path": "/read", "requires": ["read"]},
            {"name": "write", "path": "/write", "requires": ["write"]},
        ]}],
        "forward": {"headers": [{"name": "x-client-id", "value": "client"}, {"name": "x-scopes", "value": "scopes"}]},
    })
}

fn provider() -> Value {
    json!({
        "issuer": ISSUER,
        "audiences": ["api"],
        "introspection": {
            "uri": "https://login.example.com/introspect", "cluster": "idp", "timeout": "1s",
            "client_auth": {"method": "none"},
            "cache": {"max_ttl": "10m", "negative_ttl": "10m"},
        },
    })
}

fn options(port: u16) -> Options {
    Options { clusters: vec![("idp".to_owned(), port)], ..Options::default() }
}

fn active() -> Value {
    json!({"active": true, "iss": ISSUER, "aud": "api", "sub": "a", "client_id": "c", "scope": "read", "exp": now() + 600})
}

/// An active response with some members replaced; `null` takes one away.
fn active_with(changes: &Value) -> Value {
    let mut response = active();
    for (name, value) in changes.as_object().expect("an object of changes") {
        match value {
            Value::Null => drop(response.as_object_mut().expect("an object").remove(name)),
            value => response[name] = value.clone(),
        }
    }
    response
}

fn read_with(token: &str) -> Request {
    Request::get("/read").bearer(token)
}

fn decision(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

fn assert_unavailable(response: &Response, about: &str) {
    assert_eq!(response.decision(), decision(503, "introspection_unavailable"), "{about}");
    assert_eq!(response.header("retry-after"), Some("1"), "{about}");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{about}");
}

#[test]
fn a_real_issuer_is_believed_until_max_ttl_after_it_was_asked() {
    let secret = "p%+:&= \"/";
    let issuer = AuthorizationServer::start(Some(&json!({
        "default_resource": "urn:api",
        "resources": {"urn:api": {"audience": "api", "format": "opaque", "scopes": ["read", "write"]}},
        "clients": [
            {"client_id": "app", "client_secret": "app-secret", "claims": {"tenant_id": "acme"}},
            {"client_id": "gate way:1", "client_secret": secret},
            {"client_id": "gateway-post", "client_secret": secret, "auth_method": "client_secret_post"},
        ],
    })));
    let environment = vec![("SECRET".to_owned(), secret.to_owned())];
    let options = Options { environment, reloadable: true, ..options(issuer.port) };
    let mut running = None;
    for (client_id, method) in [("gate way:1", "client_secret_basic"), ("gateway-post", "client_secret_post")]
    {
        let mut configuration = configuration();
        let introspection = &mut configuration["providers"]["corp"]["introspection"];
        introspection["uri"] = json!("https://login.example.com/oauth/introspect");
        introspection["client_auth"] =
            json!({"method": method, "client_id": client_id, "client_secret": {"env": "SECRET"}});
        introspection["cache"] = json!({"max_ttl": "3s", "negative_ttl": "10m"});
        let gateway = Gateway::with(&mut running, &configuration, &options);

        let token = issuer.token("app", "read", "urn:api");
        let request = read_with(&token);
        let response = gateway.send(&request);
        let asked = Instant::now();
        assert_eq!(response.status, 200, "{}", gateway.log());
        assert_eq!(response.upstream_saw("x-client-id"), ["app"], "{method}");
        assert_eq!(response.upstream_saw("x-scopes"), ["read"], "{method}");
        let write = gateway.send(&Request::get("/write").bearer(&token));
        assert_eq!(write.status, 403, "{method}");
        let silent = issuer.token("app", "", "urn:api");
        let refused = gateway.send(&read_with(&silent));
        assert_eq!(refused.decision(), decision(403, "scope_absent_from_introspection"), "{method}");
        assert_eq!(gateway.send(&read_with("unheard-of")).decision(), decision(401, "token_inactive"));
        if method == "client_secret_post" {
            continue;
        }
        issuer.revoke("app", &token);
        while asked.elapsed() < Duration::from_millis(2_500) {
            let response = gateway.send(&request);
            assert!(
                response.status == 200 || asked.elapsed() >= Duration::from_secs(3),
                "{}",
                response.text()
            );
            thread::sleep(Duration::from_millis(100));
        }
        thread::sleep(Duration::from_secs(3).saturating_sub(asked.elapsed()));
        assert_eq!(gateway.send(&request).decision(), decision(401, "token_inactive"), "{method}");
    }
}

#[test]
fn id_and_refresh_tokens_of_a_real_issuer_open_nothing() {
    let issuer = AuthorizationServer::shared();
    let configured = |terms: Value| {
        let mut configuration = decisions::configuration(issuer);
        let provider = configuration["providers"]["corp"].as_object_mut().expect("a provider");
        provider.remove("audiences");
        provider.extend(terms.as_object().expect("terms").clone());
        provider.insert(
            "introspection".to_owned(),
            json!({
                "uri": "https://login.example.com/oauth/introspect", "cluster": "idp",
                "client_auth": {"method": "client_secret_post", "client_id": "gateway-post",
                    "client_secret": {"value": "gateway-post-secret"}},
            }),
        );
        configuration
    };
    let access = issuer.token("tenant1-sync", "billing:read", "urn:billing");
    let opaque = issuer.token("tenant1-sync", "billing:read", "urn:billing:opaque");
    let refresh = issuer.refresh_token("tenant1-sync", "alice", "billing:read", "urn:billing");
    // With all that an access token has, so that nothing but its kind stands in its way.
    let claims =
        json!({"tenant_id": "tenant1", "client_id": "tenant1-sync", "scope": "billing:read", "nonce": "n-1"});
    let id_token = |changes: Value| {
        let mut what = json!({"client_id": "tenant1-sync", "subject": "alice", "claims": claims});
        what.as_object_mut().expect("a map").extend(changes.as_object().expect("a map").clone());
        issuer.id_token(&what)
    };
    let beside_access_token = id_token(json!({"access_token": access}));
    let alone = id_token(json!({}));
    let said = http::send(
        issuer.port,
        &Request::post("/oauth/introspect").form(&[
            ("token", &refresh),
            ("client_id", "gateway-post"),
            ("client_secret", "gateway-post-secret"),
        ]),
    )
    .json();
    assert_eq!((&said["active"], &said["token_type"]), (&json!(true), &Value::Null), "{said}");

    let options_of = |port: u16| Options { reloadable: true, ..options(port) };
    let mut running = None;
    let any_audience = || json!({"allow_any_audience": true});
    let of_a_type = json!({"allow_any_audience": true, "token_types": ["at+jwt"]});
    let allowed = || decision(200, "-");
    let refused = |reason: &str| decision(401, reason);
    for (terms, alone_is) in [
        (json!({"audiences": ["billing-api"]}), refused("audience_mismatch")),
        // An ID token that nothing marks is one that only its audience tells apart.
        (any_audience(), allowed()),
        (of_a_type, refused("token_type_not_accepted")),
    ] {
        let gateway = Gateway::with(&mut running, &configured(terms.clone()), &options_of(issuer.port));
        let list = |token: &str| gateway.send(&Request::get("/tenant1/invoices").bearer(token)).decision();
        assert_eq!(list(&access), allowed(), "{terms}");
        assert_eq!(list(&opaque), allowed(), "{terms}");
        assert_eq!(list(&beside_access_token), refused("token_type_not_accepted"), "{terms}");
        assert_eq!(list(&alone), alone_is, "{terms}");
        // Of a refresh token this issuer says neither audience nor type.
        assert_eq!(list(&refresh), refused("claim_missing"), "{terms}");
    }

    // Other issuers say it of theirs.
    let outspoken = FaultyIssuer::start(move |received| {
        let mut response = said.clone();
        response["token_type"] = json!(received.parameter("token").unwrap_or_default());
        response["aud"] = json!("api");
        Behaviour::json(&response)
    });
    let mut running = None;
    for terms in [json!({"audiences": ["api"]}), any_audience()] {
        let mut configuration = configuration();
        let provider = configuration["providers"]["corp"].as_object_mut().expect("a provider");
        provider.remove("audiences");
        provider.extend(terms.as_object().expect("terms").clone());
        let gateway = Gateway::with(&mut running, &configuration, &options_of(outspoken.port));
        for kind in ["refresh_token", "Refresh", "id_token"] {
            let response = gateway.send(&read_with(kind));
            assert_eq!(response.decision(), refused("token_type_not_accepted"), "{kind}: {terms}");
        }
    }
}

#[test]
fn a_thousand_requests_with_one_token_are_one_call_of_each_worker_and_all_are_answered() {
    const REQUESTS: usize = 1_000;
    let cases = [
        ("active", Behaviour::json(&active()).after(500), false, decision(200, "-")),
        ("active, the first clients gone", Behaviour::json(&active()).after(500), true, decision(200, "-")),
        ("failing", Behaviour::HangUp, false, decision(503, "introspection_unavailable")),
        (
            "failing late",
            Behaviour::text(500, "").after(500),
            true,
            decision(503, "introspection_unavailable"),
        ),
    ];
    let issuers = cases.clone().map(|(_, behaviour, ..)| FaultyIssuer::start(move |_| behaviour.clone()));
    let clusters = issuers.iter().map(|issuer| (format!("idp-{}", issuer.port), issuer.port)).collect();
    let options = Options { concurrency: 2, clusters, reloadable: true, ..Options::default() };
    let mut running = None;
    for ((about, _, leaves, expected), issuer) in cases.into_iter().zip(&issuers) {
        let mut configuration = configuration();
        configuration["providers"]["corp"]["introspection"]["cluster"] =
            json!(format!("idp-{}", issuer.port));
        configuration["max_waiting_requests"] = json!(4 * REQUESTS);
        configuration["audit"] = json!({"decisions": "none"});
        let gateway = Gateway::with(&mut running, &configuration, &options);
        let before = gateway.upstream_count();
        let request = read_with(&format!("opaque-{}", issuer.port));
        let mut connections: Vec<Connection> =
            (0..REQUESTS).map(|_| Connection::open(gateway.port)).collect();
        let start = Instant::now();
        if leaves {
            // Whoever leads the calls is gone before they are answered.
            let mut first: Vec<Connection> = (0..8).map(|_| Connection::open(gateway.port)).collect();
            first.iter_mut().for_each(|connection| connection.begin(&request));
            wait_until("the issuer is asked", || issuer.count("/introspect") > 0);
            drop(first);
        }
        connections.iter_mut().for_each(|connection| connection.begin(&request));
        for connection in &mut connections {
            let Some(response) = connection.receive(false) else {
                let stats = gateway.stats("cluster.idp-");
                let down = gateway.stats("http.gateway.downstream_");
                panic!("{:?}\n{stats:?}\n{down:?}\n{}", start.elapsed(), gateway.log());
            };
            assert_eq!(response.decision(), expected, "{about}");
        }
        let calls = issuer.count("/introspect");
        println!("{about}: {REQUESTS} requests on 2 workers: {calls} calls, {:?}", start.elapsed());
        if expected.0 == 200 {
            assert!(calls <= 2, "{about}: {calls} calls");
        } else {
            assert_eq!(gateway.upstream_count(), before, "{about}");
        }
        assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
    }
}

#[test]
fn whatever_the_issuer_answers_instead_is_a_503_in_bounded_time_and_not_remembered() {
    let good = active().to_string();
    let twice = format!(r#"{{"active":true,{}"#, &good[1..]);
    let mut faults: Vec<(String, Behaviour)> = [
        ("slow", Behaviour::json(&active()).after(3_000)),
        ("trickling", Behaviour::Trickle(Duration::from_millis(100))),
        ("reset in the body", Behaviour::ResetInBody),
        ("hanging up", Behaviour::HangUp),
        ("not HTTP", Behaviour::Garbage),
        ("500", Behaviour::text(500, &good)),
        ("401", Behaviour::text(401, r#"{"error":"invalid_client"}"#)),
        ("201", Behaviour::text(201, &good)),
        ("302", Behaviour::text(302, "")),
        ("HTML", Behaviour::text(200, "<html><body>login</body></html>")),
        ("empty", Behaviour::text(200, "")),
        ("not UTF-8", Behaviour::Answer(200, b"{\"active\":true,\"sub\":\"\xff\"}".to_vec())),
        ("an array", Behaviour::text(200, "[true]")),
        ("active twice", Behaviour::text(200, &twice)),
        ("100 KB", Behaviour::json(&active_with(&json!({"x": "x".repeat(100_000)})))),
        ("40 MB", Behaviour::Huge(40 << 20)),
        ("deep", Behaviour::text(200, &format!(r#"{{"active":true,"x":{}"#, "[".repeat(60_000)))),
    ]
    .into_iter()
    .map(|(name, behaviour)| (name.to_owned(), behaviour))
    .collect();
    for changes in [
        json!({"active": "true"}),
        json!({"active": 1}),
        json!({"active": null}),
        json!({"scope": 7}),
        json!({"scope": ["read", 1]}),
        json!({"exp": "1"}),
        json!({"aud": 5}),
        json!({"iss": {}}),
        json!({"sub": ["a"]}),
        json!({"client_id": 7.5}),
        json!({"token_type": 1}),
        json!({"cnf": "x"}),
    ] {
        faults.push((changes.to_string(), Behaviour::json(&active_with(&changes))));
    }
    let names: Vec<String> = faults.iter().map(|(name, _)| name.clone()).collect();
    let issuer = FaultyIssuer::start(move |received| {
        let number: usize =
            received.parameter("token").and_then(|token| token.parse().ok()).expect("a number");
        faults[number].1.clone()
    });
    let gateway = Gateway::start(&configuration(), &options(issuer.port));
    let mut connections: Vec<Connection> = names.iter().map(|_| Connection::open(gateway.port)).collect();
    let start = Instant::now();
    for (number, connection) in connections.iter_mut().enumerate() {
        connection.begin(&read_with(&number.to_string()));
    }
    for (name, connection) in names.iter().zip(&mut connections) {
        assert_unavailable(&connection.receive(false).expect("an answer"), name);
        assert!(start.elapsed() < Duration::from_secs(4), "{name} took {:?}", start.elapsed());
    }
    let memory = gateway.memory() >> 20;
    println!("{} faults in {:?}, {memory} MiB", names.len(), start.elapsed());
    assert!(memory < 400, "{memory} MiB");
    assert_eq!((issuer.count("/introspect"), gateway.upstream_count()), (names.len(), 0));
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());

    issuer.respond(|_| Behaviour::json(&active()));
    for (number, name) in names.iter().enumerate() {
        assert_eq!(gateway.send(&read_with(&number.to_string())).status, 200, "{name}");
    }
    drop(issuer);
    assert_unavailable(&gateway.send(&read_with("another")), "nobody listens");
}

#[test]
fn what_a_response_says_is_judged_as_a_token_is() {
    let bound = json!({"x5t#S256": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
    let cases = [
        // RFC 7662 section 2.2.
        (
            json!({
                "active": true, "client_id": "l238j323ds-23ij4", "username": "jdoe", "scope": "read write dolphin",
                "sub": "Z5O3upPC88QrAjx00dis", "aud": "https://protected.example.net/resource",
                "iss": "https://server.example.com/", "exp": 1_419_356_238, "iat": 1_419_350_238,
                "extension_field": "twenty-seven",
            }),
            decision(401, "issuer_unknown"),
        ),
        (json!({"active": false}), decision(401, "token_inactive")),
        (json!({"active": false, "scope": 7}), decision(401, "token_inactive")),
        (active(), decision(200, "-")),
        (active_with(&json!({"scope": ["read", "write"]})), decision(200, "-")),
        (active_with(&json!({"aud": ["other", "api"]})), decision(200, "-")),
        (active_with(&json!({"iss": null, "sub": null, "client_id": null, "exp": null})), decision(200, "-")),
        (active_with(&json!({"scope": null})), decision(403, "scope_absent_from_introspection")),
        (active_with(&json!({"scope": ""})), decision(403, "no_scopes_in_token")),
        (active_with(&json!({"scope": "Read"})), decision(403, "scope_name_mismatch")),
        (active_with(&json!({"iss": "https://other.example"})), decision(401, "issuer_unknown")),
        (active_with(&json!({"aud": "other"})), decision(401, "audience_mismatch")),
        (active_with(&json!({"aud": null})), decision(401, "claim_missing")),
        (active_with(&json!({"exp": now() - 61})), decision(401, "token_expired")),
        (active_with(&json!({"exp": now() - 61, "aud": null})), decision(401, "token_expired")),
        (active_with(&json!({"nbf": now() + 120})), decision(401, "token_not_yet_valid")),
        (active_with(&json!({"cnf": bound})), decision(401, "sender_constraint_failed")),
        (active_with(&json!({"cnf": {"jkt": "x"}})), decision(401, "sender_constraint_failed")),
    ];
    let bodies: Vec<Value> = cases.iter().map(|(body, _)| body.clone()).collect();
    let issuer = FaultyIssuer::start(move |received| {
        let number: usize =
            received.parameter("token").and_then(|token| token.parse().ok()).expect("a number");
        Behaviour::json(&bodies[number])
    });
    let gateway = Gateway::start(&configuration(), &options(issuer.port));
    for (number, (body, expected)) in cases.iter().enumerate() {
        assert_eq!(gateway.send(&read_with(&number.to_string())).decision(), *expected, "{body}");
    }
}

/// A method, the `authorization` that it sends, and what else is to be checked.
type ClientAuthCase = (Value, Option<String>, Box<dyn Fn(&Received)>);

#[test]
fn the_gateway_authenticates_itself_as_configured_and_sends_nothing_without_its_secret() {
    use base64::Engine as _;
    let basic = |pair: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let client =
        |method: &str, secret: Value| json!({"method": method, "client_id": "a b", "client_secret": secret});
    let no_form = |received: &Received| {
        assert_eq!((received.parameter("client_id"), received.parameter("client_secret")), (None, None));
    };
    let cases: Vec<ClientAuthCase> = vec![
        (
            client("client_secret_basic", json!({"env": "SECRET"})),
            Some(basic("a+b:s%26%2B%C3%A9")),
            Box::new(no_form),
        ),
        (client("client_secret_basic", json!({"value": "x:y"})), Some(basic("a+b:x%3Ay")), Box::new(no_form)),
        (
            client("client_secret_post", json!({"env": "SECRET"})),
            None,
            Box::new(|received| {
                assert_eq!(received.parameter("client_id").as_deref(), Some("a b"));
                assert_eq!(received.parameter("client_secret").as_deref(), Some("s&+é"));
            }),
        ),
        (
            json!({"method": "bearer", "token": {"env": "TOKEN"}}),
            Some("Bearer own-token".to_owned()),
            Box::new(no_form),
        ),
        (json!({"method": "none"}), None, Box::new(no_form)),
    ];
    let issuer = FaultyIssuer::start(|_| Behaviour::json(&active()));
    // A token from each place goes to the provider that lists it: one gateway tries all.
    let mut configuration = configuration();
    configuration["providers"] = json!({});
    let names: Vec<String> = (0..cases.len() + 1).map(|number| format!("corp-{number}")).collect();
    configuration["tenants"][0]["providers"] = json!(names);
    configuration["tenant_resolution"] = json!({"default": "acme"});
    let without_secret = client("client_secret_basic", json!({"env": "UNSET"}));
    let methods = cases.iter().map(|(method, ..)| method.clone()).chain([without_secret]);
    for (name, method) in names.iter().zip(methods) {
        let mut provider = provider();
        provider.as_object_mut().expect("an object").remove("issuer");
        provider["introspection"]["client_auth"] = method;
        provider["from_cookies"] = json!([name]);
        configuration["providers"][name] = provider;
    }
    let environment = [("SECRET", "s&+é"), ("TOKEN", "own-token"), ("EMPTY", "")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let gateway = Gateway::start(&configuration, &Options { environment, ..options(issuer.port) });
    let request = |name: &str| Request::get("/read").header("cookie", format!("{name}=to+ken~"));
    for ((method, authorization, check), name) in cases.iter().zip(&names) {
        let before = issuer.received().len();
        assert_eq!(gateway.send(&request(name)).status, 200, "{method}");
        let received = issuer.received();
        let [received] = &received[before..] else { panic!("{method}: {received:?}") };
        assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", "/introspect"));
        assert_eq!(received.headers.get("authorization"), authorization.as_ref(), "{method}");
        assert_eq!(received.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(received.headers["host"], "login.example.com");
        assert_eq!(received.parameter("token").as_deref(), Some("to+ken~"), "{method}");
        check(received);
    }
    let before = issuer.received().len();
    assert_unavailable(&gateway.send(&request(&names[cases.len()])), "no secret");
    assert_eq!(issuer.received().len(), before);
}

#[test]
fn neither_tokens_nor_secrets_stand_in_the_filters_log_at_any_level() {
    let secrets = ["s3cret-in-environment", "s3cret-in-line", "opaque-t0ken", "bad-t0ken", "failing-t0ken"];
    let signer = Signer::new("ES256", "a", 1);
    let set = jwks([&signer]);
    let issuer = FaultyIssuer::start(move |received| match received.parameter("token").as_deref() {
        None => Behaviour::json(&set),
        Some("bad-t0ken") => Behaviour::json(&json!({"active": false})),
        Some("failing-t0ken") => Behaviour::HangUp,
        Some(_) => Behaviour::json(&active()),
    });
    let mut configuration = configuration();
    configuration["audit"] = json!({"decisions": "all"});
    configuration["providers"]["corp"]["remote_jwks"] =
        json!({"uri": "https://login.example.com/jwks", "cluster": "idp"});
    configuration["providers"]["corp"]["introspection"]["client_auth"] =
        json!({"method": "client_secret_post", "client_id": "gateway", "client_secret": {"env": "SECRET"}});
    let mut other = provider();
    other["issuer"] = json!("https://other.example");
    other["introspection"]["client_auth"] = json!({"method": "client_secret_basic", "client_id": "gateway", "client_secret": {"value": secrets[1]}});
    configuration["providers"]["other"] = other;
    configuration["default_introspection"] = json!("corp");
    // Envoy itself writes headers where its loggers `http`, `router` and `client` are at debug, and the whole
    // configuration, environment variables included, where `config` is.
    let options = Options {
        environment: vec![("SECRET".to_owned(), secrets[0].to_owned())],
        log_levels: "wasm:trace,main:trace,init:trace,upstream:trace,misc:trace".to_owned(),
        ..options(issuer.port)
    };
    let gateway = Gateway::start(&configuration, &options);
    let good =
        signer.mint(json!({}), &json!({"iss": ISSUER, "aud": "api", "scope": "read", "exp": now() + 600}));
    let bad = signer.mint(json!({}), &json!({"iss": ISSUER, "aud": "api", "scope": "read", "exp": 1}));
    let statuses: Vec<u16> = [secrets[2], secrets[3], secrets[4], &good, &bad, &format!("{good}x")]
        .into_iter()
        .map(|token| gateway.send(&read_with(token)).status)
        .collect();
    assert_eq!(statuses, [200, 401, 503, 200, 401, 401]);
    wait_until("the decisions are logged", || gateway.log().matches(r#""event":"decision""#).count() == 6);
    assert!(gateway.log().contains("][trace][wasm]"), "the log is not at trace: {}", gateway.log());
    let parts = good.split('.').chain(bad.split('.').skip(1));
    for text in secrets.into_iter().chain(parts).chain([basic_of(secrets[1]).as_str()]) {
        let log = gateway.log();
        let found: Vec<&str> = log.lines().filter(|line| line.contains(text)).collect();
        assert!(found.is_empty(), "`{text}` stands in {found:?}");
        assert!(!gateway.access_log().contains(text), "`{text}` stands in the access log");
    }
}

fn basic_of(secret: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("gateway:{secret}"))
}

#[test]
fn a_token_is_shown_to_the_one_issuer_that_the_requests_evidence_leads_to_or_to_none() {
    let issuer = FaultyIssuer::start(|received| {
        Behaviour::json(&active_with(&json!({"iss": null, "client_id": format!("by{}", received.path)})))
    });
    let provider = |name: &str, places: &[(&str, Value)]| {
        let mut provider = provider();
        provider["issuer"] = json!(format!("https://{name}.example"));
        provider["introspection"]["uri"] = json!(format!("https://{name}.example/{name}"));
        for (key, value) in places {
            provider[*key] = value.clone();
        }
        provider
    };
    let bearer = json!([{"name": "authorization", "value_prefix": "Bearer "}]);
    let mut configuration = configuration();
    configuration["providers"] = json!({
        "one": provider("one", &[("from_headers", bearer.clone()), ("from_cookies", json!(["own", "both"]))]),
        "two": provider("two", &[("from_headers", bearer), ("from_cookies", json!(["both"])), ("from_params", json!(["token"]))]),
    });
    configuration["tenants"] = json!([
        {"id": "acme", "providers": ["one"], "hosts": ["acme.example"]},
        {"id": "globex", "providers": ["two"]},
        {"id": "shared", "providers": ["one", "two"]},
    ]);
    configuration["tenant_resolution"] = json!({"headers": ["x-tenant-id"], "claims": ["tenant_id"]});
    let get = || read_with("opaque");
    let of = |tenant: &str| get().header("x-tenant-id", tenant);
    let cookie = |name: &str| Request::get("/read").header("cookie", format!("{name}=opaque"));
    let nobody = decision(401, "introspection_not_configured");
    let options = Options { reloadable: true, ..options(issuer.port) };
    let mut running = None;
    for default in [None, Some("two")] {
        configuration["default_introspection"] = json!(default);
        if default.is_none() {
            configuration.as_object_mut().expect("an object").remove("default_introspection");
        }
        let gateway = Gateway::with(&mut running, &configuration, &options);
        let by_default = default.map(|name| format!("/{name}"));
        for (request, asked) in [
            (of("acme"), Some("/one")),
            (of("globex"), Some("/two")),
            (of("shared"), by_default.as_deref()),
            (get(), by_default.as_deref()),
            (get().header("host", "acme.example"), Some("/one")),
            (cookie("own"), Some("/one")),
            (Request::get("/read?token=opaque"), Some("/two")),
            (cookie("both"), None),
            (cookie("own").header("x-tenant-id", "globex"), None),
            (Request::get("/read?token=opaque").header("x-tenant-id", "acme"), None),
            (of("globex").header("host", "acme.example"), None),
            (of("nobody"), None),
            (of("acme").header("x-tenant-id", "acme"), None),
            (of(""), None),
        ] {
            // Each request asks anew: what is remembered would hide who would be asked.
            let before = issuer.received().len();
            let unique = format!("opaque-{}-{before}", default.unwrap_or_default());
            let request = request.replacing("opaque", &unique);
            let response = gateway.send(&request);
            let received = issuer.received();
            let paths: Vec<&str> = received[before..].iter().map(|received| received.path.as_str()).collect();
            assert_eq!(paths, asked.into_iter().collect::<Vec<_>>(), "{request:?} {}", response.text());
            if asked.is_none() {
                assert!(matches!(response.status, 400 | 401), "{request:?} {}", response.text());
            }
        }
        if default.is_none() {
            assert_eq!(gateway.send(&get()).decision(), nobody);
        }
        assert_eq!(gateway.send(&of("nobody")).decision(), decision(401, "tenant_mismatch"));
        assert_eq!(gateway.send(&of("")).decision(), decision(400, "header_malformed"));
    }
}

#[test]
fn a_jwt_is_introspected_only_if_it_is_good_and_all_are_and_then_both_must_agree() {
    let signer = Signer::new("ES256", "a", 1);
    let set = jwks([&signer]);
    let claims = |changes: &Value| {
        let mut claims = active_with(changes);
        claims.as_object_mut().expect("an object").remove("active");
        claims
    };
    let good = |number: usize| signer.mint(json!({}), &claims(&json!({"jti": number.to_string()})));
    let faults: Vec<(&str, Behaviour, (u16, String))> = vec![
        ("agreeing", Behaviour::json(&active()), decision(200, "-")),
        ("inactive", Behaviour::json(&json!({"active": false})), decision(401, "token_inactive")),
        (
            "another subject",
            Behaviour::json(&active_with(&json!({"sub": "b"}))),
            decision(503, "introspection_unavailable"),
        ),
        (
            "another client",
            Behaviour::json(&active_with(&json!({"client_id": "d"}))),
            decision(503, "introspection_unavailable"),
        ),
        (
            "fewer scopes",
            Behaviour::json(&active_with(&json!({"scope": "write"}))),
            decision(403, "no_scopes_in_token"),
        ),
        ("hanging up", Behaviour::HangUp, decision(503, "introspection_unavailable")),
        ("slow", Behaviour::json(&active()).after(3_000), decision(503, "introspection_unavailable")),
        ("reset", Behaviour::ResetInBody, decision(503, "introspection_unavailable")),
        ("HTML", Behaviour::text(200, "<html>"), decision(503, "introspection_unavailable")),
    ];
    let answers: Vec<(String, Behaviour)> = faults
        .iter()
        .enumerate()
        .map(|(number, (_, behaviour, _))| (good(number), behaviour.clone()))
        .collect();
    let tokens: Vec<String> = answers.iter().map(|(token, _)| token.clone()).collect();
    let issuer = FaultyIssuer::start(move |received| {
        let token = received.parameter("token");
        let answer = answers.iter().find(|(known, _)| Some(known) == token.as_ref());
        answer.map_or_else(|| Behaviour::json(&set), |(_, behaviour)| behaviour.clone())
    });
    let bad: Vec<String> = vec![
        signer.mint(json!({}), &claims(&json!({"exp": 1}))),
        signer.mint(json!({}), &claims(&json!({"aud": "other"}))),
        signer.mint(json!({"kid": "b"}), &claims(&json!({}))),
        signer.mint(json!({"alg": "none"}), &claims(&json!({}))),
        Signer::new("ES256", "a", 2).mint(json!({}), &claims(&json!({}))),
        format!("{}.x", good(0)),
        format!("{}x", good(0)),
        "ey.x".to_owned(),
        "eyJhbGciOiJub25lIn0..".to_owned(),
    ];
    let options = Options { reloadable: true, ..options(issuer.port) };
    let mut running = None;
    for apply_to in ["opaque", "all"] {
        let mut configuration = configuration();
        configuration["providers"]["corp"]["remote_jwks"] =
            json!({"uri": "https://login.example.com/jwks", "cluster": "idp"});
        configuration["providers"]["corp"]["introspection"]["apply_to"] = json!(apply_to);
        let gateway = Gateway::with(&mut running, &configuration, &options);
        let before = issuer.count("/introspect");
        for token in &bad {
            let response = gateway.send(&read_with(token));
            assert!(matches!(response.status, 400 | 401), "{token}: {}", response.text());
        }
        assert_eq!(issuer.count("/introspect"), before, "{apply_to}");
        let mut connections: Vec<Connection> =
            tokens.iter().map(|_| Connection::open(gateway.port)).collect();
        for (token, connection) in tokens.iter().zip(&mut connections) {
            connection.begin(&read_with(token));
        }
        for ((name, _, expected), connection) in faults.iter().zip(&mut connections) {
            let response = connection.receive(false).expect("an answer");
            let expected = if apply_to == "all" { expected.clone() } else { decision(200, "-") };
            assert_eq!(response.decision(), expected, "{name}, {apply_to}");
        }
        let asked = issuer.count("/introspect") - before;
        assert_eq!(asked, if apply_to == "all" { tokens.len() } else { 0 }, "{apply_to}");
    }
}

#[test]
fn a_request_that_waits_keeps_its_body_and_a_reload_meanwhile_loses_none() {
    let issuer = FaultyIssuer::start(|_| Behaviour::json(&active()).after(700));
    let options = Options { reloadable: true, ..options(issuer.port) };
    let mut configuration = configuration();
    let gateway = Gateway::start(&configuration, &options);
    let request = Request::post("/read").bearer("opaque").body("x".repeat(20_000));
    let mut gone = Connection::open(gateway.port);
    let (mut before, mut after) = (Connection::open(gateway.port), Connection::open(gateway.port));
    gone.begin(&request);
    wait_until("the issuer is asked", || issuer.count("/introspect") == 1);
    before.begin(&request);
    configuration["realm"] = json!("another");
    assert!(gateway.reload(&configuration, &options), "{}", gateway.log());
    after.begin(&request);
    drop(gone);
    for connection in [&mut before, &mut after] {
        let response = connection.receive(false).expect("an answer");
        assert_eq!(response.upstream_saw("content-length"), ["20000"], "{}", response.text());
    }
    assert_eq!(gateway.upstream_count(), 2);
}

#[test]
fn a_reload_after_which_no_request_of_the_old_configuration_is_left_loses_no_request_of_the_new_one() {
    let issuer = FaultyIssuer::start(|_| Behaviour::json(&active()).after(600));
    let options = Options { reloadable: true, ..options(issuer.port) };
    let mut configuration = configuration();
    let gateway = Gateway::start(&configuration, &options);
    let mut gone = Connection::open(gateway.port);
    gone.begin(&read_with("opaque"));
    wait_until("the issuer is asked", || issuer.count("/introspect") == 1);
    configuration["realm"] = json!("another");
    assert!(gateway.reload(&configuration, &options), "{}", gateway.log());
    let mut after = Connection::open(gateway.port);
    after.begin(&read_with("opaque"));
    // The old configuration ends with its last request, and the call that it made is cancelled.
    drop(gone);
    let response = after.receive(false).expect("an answer");
    assert_eq!(response.status, 200, "{}", response.text());
    println!("{} calls", issuer.count("/introspect"));
}

#[test]
fn an_issuer_that_is_not_there_at_all_is_a_503_at_once() {
    let options = Options { reloadable: true, ..options(unused_port()) };
    let mut configuration = configuration();
    let mut running = None;
    let gateway = Gateway::with(&mut running, &configuration, &options);
    for token in ["one", "two"] {
        let start = Instant::now();
        assert_unavailable(&gateway.send(&read_with(token)), "refused");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
    configuration["providers"]["corp"]["introspection"]["cluster"] = json!("nowhere");
    let gateway = Gateway::with(&mut running, &configuration, &options);
    assert_unavailable(&gateway.send(&read_with("one")), "no such cluster");
    assert_unavailable(&gateway.send(&read_with("one")), "the VM lives");
}

#[test]
fn a_real_servers_signed_responses_are_verified_over_a_rotation_and_plain_ones_are_none() {
    // RFC 9701.
    let issuer = AuthorizationServer::start(None);
    let mut configuration = decisions::configuration(&issuer);
    let corp = configuration["providers"]["corp"].as_object_mut().expect("a provider");
    corp.remove("local_jwks");
    corp.insert(
        "remote_jwks".to_owned(),
        json!({"uri": format!("{ISSUER}/jwks.json"), "cluster": "idp", "timeout": "5s"}),
    );
    corp.insert(
        "introspection".to_owned(),
        json!({
            "uri": format!("{ISSUER}/oauth/introspect"), "cluster": "idp", "timeout": "5s", "signed": true,
            "client_auth": {"method": "client_secret_basic", "client_id": "gateway", "client_secret": {"value": "gateway-secret"}},
        }),
    );
    let gateway = Gateway::start(&configuration, &Options { concurrency: 2, ..options(issuer.port) });
    let opaque = || issuer.token("tenant1-sync", "billing:read", "urn:billing:opaque");
    let call = |token: &str| gateway.send(&Request::get("/tenant1/invoices").bearer(token));
    let first = call(&opaque());
    assert_eq!(first.upstream_saw("x-client-id"), ["tenant1-sync"], "{} {}", first.text(), gateway.log());
    assert_eq!(call("not-a-token").decision(), (401, "token_inactive".to_owned()));

    // The response of a key that is not known yet is verified with those that are fetched for it.
    issuer.rotate_keys(&json!({"keep_old": false}));
    let asked = issuer.count("introspection");
    assert_eq!(call(&opaque()).status, 200, "{}", gateway.log());
    assert_eq!(issuer.count("introspection"), asked + 1);

    let plain = json!({"active": true, "aud": "billing-api", "client_id": "tenant1-sync", "tenant_id": "tenant1", "scope": "billing:read"});
    issuer.behave(&json!({"endpoint": "introspection", "body": plain}));
    assert_eq!(call(&opaque()).decision(), (503, "introspection_unavailable".to_owned()));
    // A worker tells of failed calls once a second, and the one whose key was not known yet may have been one.
    wait_until("it is told why", || {
        call("another-token");
        gateway.log().contains("it is no signed response (RFC 9701)")
    });
}

/// Envoy's part in `docs/operations.md`: the cluster's own filters put the gateway's credential into each call, out of a file
/// that Envoy watches.
fn inject_credential(bootstrap: &mut Value, file: &std::path::Path) {
    let documented = include_str!("../../docs/operations.md");
    let (_, fragment) = documented.split_once("<!-- tested: injected-credential -->").expect("the fragment");
    let (_, fragment) = fragment.split_once("```yaml\n").expect("YAML");
    let (fragment, _) = fragment.split_once("```").expect("its end");
    let fragment =
        fragment.replace("/etc/envoy/scopegate/introspection-credential.yaml", &file.display().to_string());
    let options =
        scopegate::config::yaml_to_json(&fragment).unwrap_or_else(|errors| panic!("{errors}\n{fragment}"));
    let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().expect("clusters");
    let idp = clusters.iter_mut().find(|cluster| cluster["name"] == "idp").expect("the issuer's cluster");
    for (name, value) in options.as_object().expect("a map") {
        idp[name] = value.clone();
    }
}

#[test]
fn a_secret_that_envoy_injects_rotates_without_another_vm_and_stands_in_no_configuration() {
    use base64::Engine as _;
    let issuer = AuthorizationServer::shared();
    let directory = Directory::new("secrets");
    let write = |secret: &str| {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("gateway:{secret}"));
        let text = json!({"resources": [{
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": "introspection-credential", "generic_secret": {"secret": {"inline_string": format!("Basic {basic}")}},
        }]});
        // Envoy watches for files that are moved into their place.
        let new = directory.file("new", text.to_string().as_bytes());
        let file = directory.0.join("introspection-credential.yaml");
        std::fs::rename(new, &file).expect("to move the secret");
        file
    };
    let file = write("an-old-secret");
    let mut configuration = decisions::configuration(issuer);
    configuration["providers"]["corp"]["introspection"] = json!({
        "uri": format!("{}/oauth/introspect", issuer.issuer), "cluster": "idp", "timeout": "5s",
        "client_auth": {"method": "none"},
    });
    let bootstrap = move |bootstrap: &mut Value| inject_credential(bootstrap, &file);
    let gateway = Gateway::start(
        &configuration,
        &Options { concurrency: 2, bootstrap: Box::new(bootstrap), ..options(issuer.port) },
    );
    let token = issuer.token("tenant1-sync", "billing:read", "urn:billing:opaque");
    let call = || gateway.send(&Request::get("/tenant1/invoices").bearer(&token));
    assert_eq!(call().decision(), (503, "introspection_unavailable".to_owned()));
    let vms = gateway.stats("wasm_vm.active");
    write("gateway-secret");
    wait_until("the new secret is sent", || call().status == 200);
    assert_eq!(gateway.stats("wasm_vm.active"), vms);
    let dump = http::send(gateway.admin_port, &Request::get("/config_dump")).text();
    assert!(!dump.contains("gateway-secret") && !gateway.log().contains("gateway-secret"));
}
