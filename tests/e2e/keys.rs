//! Keys that are fetched from the issuer: rotation, floods, outages, and answers that no good issuer gives.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::issuer::{Behaviour, FaultyIssuer, unused_port};
use scopegate_testing::harness::{AuthorizationServer, Gateway, Options, now, wait_until};
use scopegate_testing::http::{Connection, Request, Response};
use scopegate_testing::mint::{Signer, jwks};

const ISSUER: &str = "https://login.example.com";

/// One tenant of an issuer whose keys are fetched from cluster `idp`.
fn configuration(cache_duration: &str) -> Value {
    json!({
        "version": 1,
        "providers": {"corp": {
            "issuer": ISSUER,
            "audiences": ["api", "billing-api"],
            "remote_jwks": {"uri": "https://login.example.com/jwks.json", "cluster": "idp", "timeout": "1s",
                "cache_duration": cache_duration},
        }},
        "tenants": [{"id": "acme", "providers": ["corp"]}],
        "suites": [{"name": "api", "operations": [{"name": "read", "path": "/read", "requires": ["read"]}]}],
    })
}

fn options(port: u16) -> Options {
    Options { clusters: vec![("idp".to_owned(), port)], ..Options::default() }
}

fn claims(number: u64) -> Value {
    json!({"iss": ISSUER, "aud": "api", "sub": "a", "scope": "read", "exp": now() + 600, "jti": number.to_string()})
}

/// A request with a token that was not seen before.
fn fresh(signer: &Signer) -> Request {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    read_with(&signer.mint(json!({}), &claims(NUMBER.fetch_add(1, Ordering::Relaxed))))
}

fn read_with(token: &str) -> Request {
    Request::get("/read").bearer(token)
}

fn assert_unavailable(response: &Response, about: &str) {
    assert_eq!(response.decision(), (503, "keys_unavailable".to_owned()), "{about}");
    let retry_after = response.header("retry-after").and_then(|seconds| seconds.parse::<u32>().ok());
    assert!(retry_after.is_some_and(|seconds| (1..=30).contains(&seconds)), "{about}: {response:?}");
}

#[test]
fn keys_that_rotate_under_traffic_lose_no_good_token_and_cost_one_fetch_for_all_workers() {
    let issuer = AuthorizationServer::start(None);
    let mut configuration = configuration("10m");
    configuration["suites"][0]["operations"][0]["requires"] = json!(["billing:read"]);
    let gateway = Gateway::start(&configuration, &Options { concurrency: 2, ..options(issuer.port) });
    let request = || read_with(&issuer.token("acme-sync", "billing:read", "urn:billing"));
    wait_until("the first keys are there", || gateway.send(&request()).status == 200);
    let before = issuer.count("jwks");

    let is_over = AtomicBool::new(false);
    let served = AtomicU64::new(0);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection::open(gateway.port);
                    while !is_over.load(Ordering::SeqCst) {
                        let response = connection.send(&request());
                        assert_eq!(response.status, 200, "{}", response.text());
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        wait_until("there is traffic", || served.load(Ordering::Relaxed) > 30);
        issuer.rotate_keys(&json!({"alg": "RS256"}));
        let then = served.load(Ordering::Relaxed);
        wait_until("there is traffic with the new key", || served.load(Ordering::Relaxed) > then + 60);
        is_over.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().expect("no request that was refused");
        }
    });
    assert_eq!(issuer.count("jwks") - before, 1);
}

#[test]
fn a_flood_of_random_kids_costs_one_fetch_and_leaves_good_tokens_alone() {
    const REQUESTS: u64 = 10_000;
    let good = Signer::new("ES256", "good", 1);
    let set = jwks([&good]);
    let issuer = FaultyIssuer::start(move |_| Behaviour::json(&set));
    let gateway = Gateway::start(&configuration("10m"), &Options { concurrency: 2, ..options(issuer.port) });
    wait_until("the first keys are there", || gateway.send(&fresh(&good)).status == 200);
    let before = issuer.received().len();

    let start = Instant::now();
    let claims = claims(0);
    let template = good.mint(json!({}), &claims);
    let (_, rest) = template.split_once('.').expect("a JWT");
    thread::scope(|scope| {
        for part in 0..4 {
            let gateway = &gateway;
            scope.spawn(move || {
                use base64::Engine as _;
                let mut connection = Connection::open(gateway.port);
                for number in 0..REQUESTS / 4 {
                    let header =
                        json!({"alg": "ES256", "kid": format!("random-{part}-{number}")}).to_string();
                    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
                    let response = connection.send(&read_with(&format!("{header}.{rest}")));
                    assert_eq!(response.decision(), (401, "key_not_found".to_owned()));
                }
            });
        }
        assert_eq!(gateway.send(&fresh(&good)).status, 200);
    });
    let took = start.elapsed();
    let fetches = issuer.received().len() - before;
    println!("{REQUESTS} requests with random `kid`s in {took:?}: {fetches} fetches");
    assert!(fetches <= 1 + usize::try_from(took.as_secs() / 30).expect("few"), "{fetches} in {took:?}");
    assert_eq!(gateway.send(&fresh(&good)).status, 200);
}

#[test]
fn an_issuer_that_is_down_at_start_is_a_503_that_heals_and_one_that_goes_down_later_is_not_missed() {
    let good = Signer::new("ES256", "good", 1);
    let port = unused_port();
    let gateway = Gateway::start(&configuration("1s"), &Options { concurrency: 2, ..options(port) });
    for _ in 0..4 {
        assert_unavailable(&gateway.send(&fresh(&good)), "nobody listens");
    }
    let set = jwks([&good]);
    let answer = Behaviour::json(&set);
    let issuer = FaultyIssuer::start_at(port, move |_| answer.clone());
    wait_until("keys are there", || gateway.send(&fresh(&good)).status == 200);

    issuer.respond(|_| Behaviour::HangUp);
    let fetches = issuer.received().len();
    wait_until("keys have grown old", || issuer.received().len() > fetches + 1);
    for _ in 0..8 {
        assert_eq!(gateway.send(&fresh(&good)).status, 200);
    }
    // Whether a newer set has this key cannot be known.
    assert_unavailable(&gateway.send(&fresh(&Signer::new("ES256", "newer", 2))), "unknown `kid`");
    assert_eq!(gateway.upstream_count(), gateway_successes(&gateway));
}

/// What the access log says was let through.
fn gateway_successes(gateway: &Gateway) -> u64 {
    let mut count = 0;
    wait_until("the access log is complete", || {
        count = gateway.access_log().lines().filter(|line| line.starts_with("200 ")).count() as u64;
        count == gateway.upstream_count()
    });
    count
}

#[test]
fn whatever_the_issuer_answers_instead_of_keys_is_a_503_in_bounded_time_and_heals() {
    let good = Signer::new("ES256", "good", 1);
    let set = jwks([&good]);
    let private = {
        let mut key = good.jwk();
        key["d"] = json!("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");
        json!({"keys": [key]})
    };
    let faults: Vec<(&str, Behaviour)> = vec![
        ("slow", Behaviour::json(&set).after(3_000)),
        ("trickling", Behaviour::Trickle(Duration::from_millis(100))),
        ("reset in the body", Behaviour::ResetInBody),
        ("hanging up", Behaviour::HangUp),
        ("not HTTP", Behaviour::Garbage),
        ("500", Behaviour::text(500, &set.to_string())),
        ("404", Behaviour::text(404, "{}")),
        ("302", Behaviour::text(302, "")),
        ("204", Behaviour::text(204, "")),
        ("HTML", Behaviour::text(200, "<html><body>login</body></html>")),
        ("empty", Behaviour::text(200, "")),
        ("no keys", Behaviour::text(200, r#"{"keys":{}}"#)),
        ("an empty set", Behaviour::text(200, r#"{"keys":[]}"#)),
        ("keys twice", Behaviour::text(200, &format!(r#"{{"keys":[],{}"#, &set.to_string()[1..]))),
        (
            "junk keys only",
            Behaviour::text(200, r#"{"keys":[7,null,{},{"kty":"oct","k":"AQ"},{"kty":"EC"}]}"#),
        ),
        ("private keys only", Behaviour::json(&private)),
        ("2 MB", Behaviour::Huge(2 << 20)),
        ("40 MB", Behaviour::Huge(40 << 20)),
    ];
    let names: Vec<&str> = faults.iter().map(|(name, _)| *name).collect();
    let issuer = FaultyIssuer::start(move |received| {
        let number: usize = received.path[1..].parse().expect("the number of a fault");
        faults[number].1.clone()
    });
    // One provider for each, so that all of them fail at once.
    let mut configuration = configuration("10m");
    let provider = configuration["providers"]["corp"].take();
    configuration["providers"] = json!({});
    for number in 0..names.len() {
        let mut provider = provider.clone();
        provider["issuer"] = json!(format!("{ISSUER}/{number}"));
        provider["remote_jwks"]["uri"] = json!(format!("{ISSUER}/{number}"));
        configuration["providers"][format!("corp-{number}")] = provider;
    }
    let all: Vec<String> = (0..names.len()).map(|number| format!("corp-{number}")).collect();
    configuration["tenants"][0]["providers"] = json!(all);
    configuration["tenant_resolution"] = json!({"default": "acme"});
    let gateway = Gateway::start(&configuration, &options(issuer.port));
    let request_of = |number: usize| {
        let mut claims = claims(0);
        claims["iss"] = json!(format!("{ISSUER}/{number}"));
        read_with(&good.mint(json!({}), &claims))
    };

    let start = Instant::now();
    let mut connections: Vec<Connection> = names.iter().map(|_| Connection::open(gateway.port)).collect();
    for (number, connection) in connections.iter_mut().enumerate() {
        connection.begin(&request_of(number));
    }
    for (name, connection) in names.iter().zip(&mut connections) {
        assert_unavailable(&connection.receive(false).expect("an answer"), name);
        assert!(start.elapsed() < Duration::from_secs(4), "{name} took {:?}", start.elapsed());
    }
    assert_eq!(gateway.upstream_count(), 0);
    let grown = gateway.memory() >> 20;
    println!("{grown} MiB after all faults");
    assert!(grown < 400, "{grown} MiB");
    for (number, name) in names.iter().enumerate() {
        let line = format!("keys of provider `corp-{number}` failed");
        wait_until("the fault is reported", || gateway.log().contains(&line));
        println!("{name}: {}", gateway.log().lines().find_map(|text| text.split_once(&line)).expect("it").1);
    }

    // Junk beside a good key does not spoil it.
    let mut keys = jwks([&good]);
    keys["keys"].as_array_mut().expect("keys").insert(0, json!({"kty": "EC", "kid": "junk", "crv": "P-256"}));
    issuer.respond(move |_| Behaviour::json(&keys));
    for (number, name) in names.iter().enumerate() {
        wait_until(name, || gateway.send(&request_of(number)).status == 200);
        let line = format!("a key of provider `corp-{number}` is not used: keys[0] (kid `junk`)");
        assert!(gateway.log().contains(&line), "{name}");
    }
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[test]
fn a_key_that_the_issuer_withdraws_ends_what_was_verified_with_it() {
    let (old, new) = (Signer::new("ES256", "old", 1), Signer::new("ES256", "new", 2));
    let sets = [jwks([&old, &new]), jwks([&new])];
    let [both, new_alone] = sets;
    let issuer = FaultyIssuer::start(move |_| Behaviour::json(&both));
    let gateway = Gateway::start(&configuration("1s"), &Options { concurrency: 2, ..options(issuer.port) });
    let token = fresh(&old);
    wait_until("keys are there", || gateway.send(&token).status == 200);
    issuer.respond(move |_| Behaviour::json(&new_alone));
    let seen = issuer.received().len();
    wait_until("the new set was fetched", || issuer.received().len() > seen);
    wait_until("both workers know", || {
        (0..16).all(|_| gateway.send(&token).decision() == (401, "key_not_found".to_owned()))
    });
    assert_eq!(gateway.send(&fresh(&new)).status, 200);

    // Even an empty set ends what it withdraws, though that is the issuer's fault.
    issuer.respond(|_| Behaviour::text(200, r#"{"keys":[]}"#));
    wait_until("both workers know", || {
        (0..16).all(|_| gateway.send(&fresh(&new)).decision() == (503, "keys_unavailable".to_owned()))
    });
}

#[test]
fn a_key_that_one_worker_learns_to_be_withdrawn_opens_at_no_worker_a_second_later() {
    let (old, new) = (Signer::new("ES256", "old", 1), Signer::new("ES256", "new", 2));
    let (both, new_alone) = (jwks([&old, &new]), jwks([&new]));
    let issuer = FaultyIssuer::start(move |_| Behaviour::json(&both));
    let gateway = Gateway::start(&configuration("10m"), &Options { concurrency: 2, ..options(issuer.port) });
    let token = fresh(&old);
    wait_until("both workers have keys", || (0..16).all(|_| gateway.send(&token).status == 200));
    issuer.respond(move |_| Behaviour::json(&new_alone));
    // An unknown `kid` has one worker fetch the new set.
    let refused = gateway.send(&fresh(&Signer::new("ES256", "other", 3)));
    assert_eq!(refused.decision(), (401, "key_not_found".to_owned()));
    thread::sleep(Duration::from_secs(1));
    for _ in 0..32 {
        assert_eq!(gateway.send(&token).decision(), (401, "key_not_found".to_owned()));
    }
    assert_eq!(issuer.received().len(), 2);
}

#[test]
fn a_fetch_that_fails_on_its_way_is_logged_with_its_cause_cluster_and_uri() {
    let hanging = FaultyIssuer::start(|_| Behaviour::text(200, "{}").after(5_000));
    let silent = FaultyIssuer::start(|_| Behaviour::HangUp);
    let cases = [
        ("refusing", Some(unused_port()), "connection refused"),
        ("missing", None, "the proxy has no such cluster"),
        ("hanging", Some(hanging.port), "timed out"),
        ("silent", Some(silent.port), "connection failed or reset: "),
    ];
    // One provider for each, so that all of them fail at once.
    let mut configuration = configuration("10m");
    let provider = configuration["providers"]["corp"].take();
    configuration["providers"] = json!({});
    for (name, ..) in cases {
        let mut provider = provider.clone();
        provider["issuer"] = json!(format!("{ISSUER}/{name}"));
        provider["remote_jwks"]["cluster"] = json!(name);
        configuration["providers"][name] = provider;
    }
    configuration["tenants"][0]["providers"] = json!(cases.map(|(name, ..)| name));
    let clusters = cases.iter().filter_map(|(name, port, _)| Some(((*name).to_owned(), (*port)?))).collect();
    let gateway = Gateway::start(&configuration, &Options { clusters, ..Options::default() });
    for (name, _, cause) in cases {
        let line = format!("keys of provider `{name}` failed: {cause}");
        let place = format!("(cluster `{name}`, https://login.example.com/jwks.json)");
        wait_until(cause, || {
            gateway.log().lines().any(|logged| logged.contains(&line) && logged.contains(&place))
        });
    }
}

#[test]
fn a_proxy_fetches_once_an_interval_however_many_workers_it_has() {
    let good = Signer::new("ES256", "good", 1);
    let start = |concurrency: u32, vm_id: &str, cache_duration: &str| -> (Gateway, FaultyIssuer) {
        let set = jwks([&good]);
        let issuer = FaultyIssuer::start(move |_| Behaviour::json(&set).after(30));
        let options = Options { concurrency, vm_id: vm_id.to_owned(), ..options(issuer.port) };
        let gateway = Gateway::start(&configuration(cache_duration), &options);
        wait_until("every worker has keys", || (0..16).all(|_| gateway.send(&fresh(&good)).status == 200));
        (gateway, issuer)
    };
    let (_gateway, issuer) = start(1, "scopegate", "10m");
    assert_eq!(issuer.received().len(), 1, "one worker");
    let (_gateway, issuer) = start(4, "", "10m");
    wait_until("each worker and the main thread have fetched", || issuer.received().len() == 5);
    println!("4 workers, not shared: {} fetches at start", issuer.received().len());

    let (_gateway, issuer) = start(4, "scopegate", "2s");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(issuer.received().len(), 1, "4 workers, shared, at start");
    thread::sleep(Duration::from_secs(4));
    let fetches = issuer.received().len() - 1;
    println!("4 workers, shared: {fetches} fetches in 4 s, with a cache_duration of 2 s");
    // A refresh comes at 80 to 90 % of the interval.
    assert!((2..=3).contains(&fetches), "{fetches}");
}

#[test]
fn a_reload_while_keys_are_fetched_loses_no_request_that_waits_for_them() {
    let good = Signer::new("ES256", "good", 1);
    let set = jwks([&good]);
    let issuer = FaultyIssuer::start(move |_| Behaviour::json(&set).after(700));
    let options = Options { reloadable: true, ..options(issuer.port) };
    let mut configuration = configuration("10m");
    let gateway = Gateway::start(&configuration, &options);
    let (mut before, mut after) = (Connection::open(gateway.port), Connection::open(gateway.port));
    before.begin(&fresh(&good));
    configuration["realm"] = json!("another");
    assert!(gateway.reload(&configuration, &options), "{}", gateway.log());
    after.begin(&fresh(&good));
    for connection in [&mut before, &mut after] {
        let response = connection.receive(false).expect("an answer");
        assert_eq!(response.status, 200, "{}", response.text());
    }
}
