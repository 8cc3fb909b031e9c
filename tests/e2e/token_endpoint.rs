//! The guard of a token endpoint: a real authorization server behind the proxy, asked by real clients.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::decisions;
use scopegate_testing::harness::{AuthorizationServer, Gateway, Options, wait_until};
use scopegate_testing::http::{self, Connection, Request, Response};

const FORM: &str = "application/x-www-form-urlencoded";

/// The tenants of the decisions' tests, and a guarded token endpoint.
fn configuration(issuer: &AuthorizationServer, endpoint: &Value) -> Value {
    let mut configuration = decisions::configuration(issuer);
    configuration["token_endpoints"] = json!([endpoint]);
    configuration["tenants"][0]["hosts"] = json!(["tenant1.example.com"]);
    configuration["tenants"][1]["hosts"] = json!(["tenant10.example.com"]);
    configuration
}

fn endpoint(on_unregistered_scope: &str) -> Value {
    json!({"path": "/oauth/token", "on_unregistered_scope": on_unregistered_scope})
}

/// The same server, guarded with `narrow`.
const NARROWED: &str = "/oauth/narrowed";

/// Both ways: `/oauth/token` refuses what is not registered, [`NARROWED`] leaves it out.
fn both(issuer: &AuthorizationServer) -> Value {
    let mut configuration = configuration(issuer, &json!({"path": "/oauth/token"}));
    let narrowed = json!({"path": NARROWED, "on_unregistered_scope": "narrow"});
    configuration["token_endpoints"].as_array_mut().expect("endpoints").push(narrowed);
    configuration
}

/// What Envoy needs beyond `envoy.yaml`: headers that are held until the body is complete, and room for the body.
fn prepare(bootstrap: &mut Value) {
    let listener = &mut bootstrap["static_resources"]["listeners"][0];
    listener["per_connection_buffer_limit_bytes"] = json!(131_072);
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    manager["http_filters"][0]["typed_config"]["config"]["allow_on_headers_stop_iteration"] = json!(true);
}

/// A gateway with the authorization server behind the token endpoint.
fn guarding(issuer: &AuthorizationServer, configuration: &Value) -> Gateway {
    let clusters = vec![("idp".to_owned(), issuer.port)];
    let to_issuer = |bootstrap: &mut Value| {
        prepare(bootstrap);
        let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
        let routes = &mut manager["typed_config"]["route_config"]["virtual_hosts"][0]["routes"];
        let route =
            json!({"match": {"prefix": "/oauth/", "case_sensitive": false}, "route": {"cluster": "idp"}});
        let routes = routes.as_array_mut().expect("routes");
        routes.insert(0, route);
        let narrowed = json!({"cluster": "idp", "prefix_rewrite": "/oauth/token"});
        routes.insert(0, json!({"match": {"prefix": NARROWED}, "route": narrowed}));
    };
    Gateway::start(configuration, &Options { clusters, bootstrap: Box::new(to_issuer), ..Options::default() })
}

/// A token request of `tenant1-sync` by HTTP Basic.
fn token_request(form: &[(&str, &str)]) -> Request {
    token_request_at("/oauth/token", form)
}

fn token_request_at(path: &str, form: &[(&str, &str)]) -> Request {
    let mut pairs = vec![("grant_type", "client_credentials")];
    pairs.extend(form);
    Request::post(path).basic("tenant1-sync", "tenant1-sync-secret").form(&pairs)
}

/// Runs `token-client.mjs`, which asks one request after the other.
fn ask(library: &str, port: u16, requests: &[Value]) -> Vec<Value> {
    let servers = PathBuf::from(std::env::var_os("SCOPEGATE_NODE_SERVERS").expect("`make test` sets it"));
    let output = Command::new("node")
        .arg(servers.join("token-client.mjs"))
        .args(["--library", library, "--port", &port.to_string(), "--requests", &json!(requests).to_string()])
        .output()
        .expect("to run node");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// RFC 6749 section 5.2, to the letter.
fn assert_oauth_error(response: &Response, error: &str) {
    let body = response.json();
    assert_eq!(body["error"], error, "{}", response.text());
    let members: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["error", "error_description"]);
    let description = body["error_description"].as_str().expect("a description");
    assert!(description.chars().all(|c| matches!(c, ' '..='!' | '#'..='[' | ']'..='~')), "{description}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("pragma"), Some("no-cache"));
    match response.status {
        401 => {
            assert_eq!(error, "invalid_client");
            assert_eq!(response.header("www-authenticate"), Some("Basic realm=\"billing\""));
        }
        status => {
            assert_eq!(status, 400);
            assert_eq!(response.header("www-authenticate"), None);
        }
    }
}

#[test]
fn a_real_server_issues_what_is_registered_and_never_sees_what_is_not() {
    let issuer = AuthorizationServer::start(None);
    let gateway = guarding(&issuer, &both(&issuer));
    the_server_issues_what_is_registered(&issuer, &gateway);
    a_refresh_may_only_narrow_and_stays_with_its_client(&issuer, &gateway);
    a_narrowed_request_gets_a_token_for_what_is_left(&issuer, &gateway);
    the_server_is_guarded_over_http_2_wherever_the_body_is_split(&issuer, &gateway);
}

fn the_server_issues_what_is_registered(issuer: &AuthorizationServer, gateway: &Gateway) {
    let client = |method: &str, client: &str, scope: &str| json!({"client": client, "secret": format!("{client}-secret"), "method": method, "scope": scope});
    for library in ["openid-client", "simple-oauth2"] {
        let before = issuer.count("token");
        let requests = [
            client("basic", "tenant1-sync", "billing:read billing:write"),
            client("basic", "tenant1-sync", "billing:read billing:admin"),
            client("post", "tenant1-sync", "billing:admin"),
            client("basic", "initech-sync", "billing:read"),
            client("post", "initech-sync", "billing:read"),
        ];
        let answers = ask(library, gateway.port, &requests);
        assert_eq!(answers[0]["token"]["scope"], "billing:read billing:write", "{library}: {answers:?}");
        for (answer, (error, status)) in answers[1..].iter().zip([
            ("invalid_scope", 400),
            ("invalid_scope", 400),
            ("invalid_client", 401),
            ("invalid_client", 400),
        ]) {
            assert_eq!(
                (&answer["error"], &answer["status"]),
                (&json!(error), &json!(status)),
                "{library}: {answer}"
            );
        }
        assert_eq!(
            answers[1]["error_description"], "the client is not registered for: billing:admin",
            "{library}: {answers:?}"
        );
        assert_eq!(issuer.count("token"), before + 1, "{library}");
    }

    // The token that came of it opens what it should, and no more.
    let response = gateway.send(&token_request(&[("scope", "billing:read")]));
    let token = response.json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(gateway.send(&Request::get("/tenant1/invoices").bearer(&token)).status, 200);
    assert_eq!(gateway.send(&Request::post("/tenant1/invoices").bearer(&token)).status, 403);
    // What only the server can know is its own to refuse.
    let wrong_secret = Request::post("/oauth/token")
        .basic("tenant1-sync", "guessed")
        .form(&[("grant_type", "client_credentials"), ("scope", "billing:read")]);
    assert_eq!(gateway.send(&wrong_secret).status, 401);
}

#[test]
fn no_spelling_of_the_path_reaches_the_server_unguarded_where_a_pattern_over_it_is_public() {
    let issuer = AuthorizationServer::start(None);
    let mut open = configuration(&issuer, &endpoint("reject"));
    // `check` refuses such a table. The filter takes it, and must be closed all the same.
    open["unmatched"] = json!("allow");
    open["bypass_cors_preflight"] = json!(true);
    let all = json!({"name": "idp", "operations": [{"name": "all", "path": "/**", "access": "public"}]});
    open["suites"].as_array_mut().expect("suites").push(all);
    let gateway = guarding(&issuer, &open);
    // The pattern is public, and leads to the server.
    assert_eq!(gateway.send(&Request::get("/OAuth/none")).status, 404);
    assert_eq!(gateway.stat("cluster.idp.upstream_rq_total"), Some(1));

    let asks_for_too_much = |method: &str, path: &str| {
        Request::new(method, path)
            .basic("tenant1-sync", "tenant1-sync-secret")
            .form(&[("grant_type", "client_credentials"), ("scope", "billing:admin")])
    };
    let mut taken_by_the_server = Vec::new();
    for (method, path, error) in [
        ("POST", "/oauth/token/", "invalid_request"),
        ("POST", "/oauth/TOKEN", "invalid_request"),
        ("POST", "/OAuth/token/?a=b", "invalid_request"),
        ("POST", "/oauth/%54oken", "invalid_request"),
        ("POST", "/oauth/token%20", "invalid_request"),
        ("POST", "/oauth/token.", "invalid_request"),
        ("POST", "/oauth/token.json", "invalid_request"),
        ("POST", "/oauth/token%3Ba=b", "invalid_request"),
        ("PUT", "/oauth/token", "invalid_request"),
        ("GET", "/oauth/token?grant_type=client_credentials", "invalid_request"),
        ("POST", "/oauth/token?scope=billing:read", "invalid_request"),
        ("POST", "/oauth/token?a=b", "invalid_scope"),
        ("POST", "/oauth/%74oken", "invalid_scope"),
    ] {
        let request = asks_for_too_much(method, path);
        assert_oauth_error(&gateway.send(&request), error);
        if http::send(issuer.port, &request).status == 200 {
            taken_by_the_server.push(path);
        }
    }
    let lenient = ["/oauth/token/", "/oauth/TOKEN", "/OAuth/token/?a=b"];
    assert!(lenient.iter().all(|path| taken_by_the_server.contains(path)), "{taken_by_the_server:?}");
    let preflight = |path: &str| {
        asks_for_too_much("OPTIONS", path)
            .header("origin", "https://app.example.com")
            .header("access-control-request-method", "POST")
    };
    for path in ["/oauth/token", "/oauth/TOKEN/"] {
        assert_oauth_error(&gateway.send(&preflight(path)), "invalid_request");
    }
    // What Envoy makes one path of, or the filter refuses as several.
    for path in ["/oauth//token", "/oauth/./token", "/oauth\\token", "/oauth%2Ftoken", "/oauth/token;a=b"] {
        let response = gateway.send(&asks_for_too_much("POST", path));
        assert_eq!(response.status, 400, "{path}: {}", response.text());
    }
    assert_eq!(gateway.stat("cluster.idp.upstream_rq_total"), Some(1), "none of them reached the server");
    // What it guards passes as ever.
    assert_eq!(gateway.send(&token_request(&[("scope", "billing:read")])).status, 200);
}

fn a_refresh_may_only_narrow_and_stays_with_its_client(issuer: &AuthorizationServer, gateway: &Gateway) {
    for path in ["/oauth/token", NARROWED] {
        let granted =
            issuer.refresh_token("tenant1-sync", "alice", "billing:read billing:admin", "urn:billing");
        let refresh = |client: &str, scope: Value| json!({"client": client, "secret": format!("{client}-secret"), "path": path, "refresh_token": granted, "scope": scope});
        let requests = [
            refresh("tenant1-sync", json!("billing:read")),
            refresh("tenant1-sync", json!("billing:admin")),
            refresh("tenant10-sync", json!("billing:read")),
            // Registered, but more than was granted: the server's to refuse.
            refresh("tenant1-sync", json!("billing:write")),
        ];
        for library in ["openid-client", "simple-oauth2"] {
            let before = issuer.count("token");
            let answers = ask(library, gateway.port, &requests);
            assert_eq!(answers[0]["token"]["scope"], "billing:read", "{library}: {answers:?}");
            assert_eq!(answers[1]["error"], "invalid_scope", "{library}: {answers:?}");
            assert_eq!(answers[2]["error"], "invalid_grant", "{library}: {answers:?}");
            assert_eq!(answers[3]["error"], "invalid_scope", "{library}: {answers:?}");
            assert_eq!(issuer.count("token"), before + 3, "{library}");
        }
    }
}

fn a_narrowed_request_gets_a_token_for_what_is_left(issuer: &AuthorizationServer, gateway: &Gateway) {
    let before = issuer.count("token");
    let scope_of = |form: &[(&str, &str)]| {
        let response = gateway.send(&token_request_at(NARROWED, form));
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["scope"].as_str().expect("a scope").to_owned()
    };
    assert_eq!(scope_of(&[("scope", "billing:admin billing:read")]), "billing:read");
    assert_eq!(scope_of(&[]), "billing:read billing:write");
    assert_eq!(scope_of(&[("scope", "")]), "billing:read billing:write");
    assert_eq!(issuer.count("token"), before + 3);
    assert_oauth_error(
        &gateway.send(&token_request_at(NARROWED, &[("scope", "billing:admin")])),
        "invalid_scope",
    );
    assert_eq!(issuer.count("token"), before + 3);
}

fn the_server_is_guarded_over_http_2_wherever_the_body_is_split(
    issuer: &AuthorizationServer,
    gateway: &Gateway,
) {
    let before = issuer.count("token");
    let basic = "Basic dGVuYW50MS1zeW5jOnRlbmFudDEtc3luYy1zZWNyZXQ=";
    let of_scope = |scope: &str, split: usize| {
        json!({
            "headers": {"content-type": FORM, "authorization": basic},
            "body": format!("grant_type=client_credentials&scope={scope}"),
            "split": split,
        })
    };
    let (good, bad) = ("billing%3Aread", "billing%3Aread+billing%3Aadmin");
    let length = "grant_type=client_credentials&scope=".len() + good.len();
    let requests: Vec<Value> = (0..=length).map(|split| of_scope(good, split)).collect();
    for answer in ask("http2", gateway.port, &requests) {
        assert_eq!(answer["status"], 200, "{answer}");
        let token: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("a token");
        assert_eq!(token["scope"], "billing:read");
    }
    let seen = issuer.count("token");
    assert_eq!(seen, before + requests.len() as u64);
    let length = length - good.len() + bad.len();
    let requests: Vec<Value> = (0..=length).map(|split| of_scope(bad, split)).collect();
    for answer in ask("http2", gateway.port, &requests) {
        assert_eq!(answer["status"], 400, "{answer}");
        let error: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("an error");
        assert_eq!(error["error"], "invalid_scope");
    }
    assert_eq!(issuer.count("token"), seen);
}

/// With the echoing upstream behind the token endpoint: what it tells is what an authorization server sees.
#[test]
fn what_reaches_the_server_is_what_was_judged() {
    let mut configuration = both(AuthorizationServer::shared());
    configuration["audit"] =
        json!({"properties": ["decision", "reason", "tenant", "client"], "decisions": "all"});
    let gateway =
        Gateway::start(&configuration, &Options { bootstrap: Box::new(prepare), ..Options::default() });
    each_refusal_is_an_error_of_rfc_6749_and_never_reaches_the_upstream(&gateway);
    a_body_means_the_same_wherever_it_is_split(&gateway);
    http_2_is_guarded_as_http_1_is(&gateway);
    a_body_passes_up_to_64_kib_in_any_framing(&gateway);
    trailers_do_not_let_a_body_past_the_guard(&gateway);
    no_secret_reaches_a_log_at_trace_level(&gateway);
}

fn a_body_means_the_same_wherever_it_is_split(gateway: &Gateway) {
    let body = "grant_type=client_credentials&scope=billing%3Aread+billing%3Aadmin&client_id=tenant1-sync";
    let narrowed = "grant_type=client_credentials&scope=billing%3Aread&client_id=tenant1-sync";
    let head = format!(
        "POST {NARROWED} HTTP/1.1\r\nhost: api.example.com\r\ncontent-type: {FORM}\r\nx-client-id: root\r\n"
    );
    let mut connection = Connection::open(gateway.port);
    for split in 0..=body.len() {
        let (first, second) = body.split_at(split);
        connection.send_bytes(format!("{head}content-length: {}\r\n\r\n{first}", body.len()).as_bytes());
        thread::sleep(Duration::from_millis(5));
        connection.send_bytes(second.as_bytes());
        let response = connection.receive(false).expect("an answer");
        assert_eq!(response.upstream_saw("content-length"), [narrowed.len().to_string()], "{split}");
        assert_eq!(response.upstream_saw("x-client-id"), [""; 0], "{split}");
        assert_eq!(response.json()["body"], narrowed, "{split}");
    }
    // Not before the proxy has asked for it (RFC 9110 section 10.1.1).
    connection.send_bytes(
        format!("{head}expect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(),
    );
    thread::sleep(Duration::from_millis(50));
    connection.send_bytes(body.as_bytes());
    assert_eq!(connection.receive(false).expect("an answer").json()["body"], narrowed);
    // In chunks of one byte each, and without a content-length.
    connection.send_bytes(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes());
    for byte in body.chars() {
        connection.send_bytes(format!("1\r\n{byte}\r\n").as_bytes());
    }
    connection.send_bytes(b"0\r\n\r\n");
    let response = connection.receive(false).expect("an answer");
    assert_eq!(response.upstream_saw("content-length"), [""; 0]);
    assert_eq!(response.json()["body"], narrowed);
}

fn http_2_is_guarded_as_http_1_is(gateway: &Gateway) {
    let before = gateway.upstream_count();
    let body = "grant_type=client_credentials&client_id=tenant1-sync&scope=billing%3Aadmin%20billing:read";
    let narrowed = "grant_type=client_credentials&client_id=tenant1-sync&scope=billing%3Aread";
    let request = |changes: Value| {
        let mut request = json!({"path": NARROWED, "headers": {"content-type": FORM}, "body": body});
        for (name, value) in changes.as_object().expect("changes") {
            request[name] = value.clone();
        }
        request
    };
    let mut requests: Vec<Value> = (0..=body.len()).map(|split| request(json!({"split": split}))).collect();
    requests
        .push(request(json!({"headers": {"content-type": FORM, "content-length": body.len().to_string()}})));
    let passing = requests.len();
    requests.extend([
        request(json!({"trailers": {"x-trailer": "a"}})),
        request(json!({"body": "client_id=tenant1-sync"})),
        request(json!({"body": "a=1;scope=x"})),
        request(json!({"headers": {"content-type": "application/json"}})),
    ]);
    let answers = ask("http2", gateway.port, &requests);
    for answer in &answers[..passing] {
        assert_eq!(answer["status"], 200, "{answer}");
        let seen: Value =
            serde_json::from_str(answer["body"].as_str().expect("a body")).expect("what it saw");
        assert_eq!(seen["body"], narrowed);
    }
    for answer in &answers[passing..] {
        assert_eq!(answer["status"], 400, "{answer}");
        let error: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("an error");
        assert_eq!(error["error"], "invalid_request");
    }
    assert_eq!(gateway.upstream_count(), before + passing as u64);
}

fn each_refusal_is_an_error_of_rfc_6749_and_never_reaches_the_upstream(gateway: &Gateway) {
    let form = "grant_type=client_credentials&client_id=tenant1-sync";
    let post = |body: &str| Request::post("/oauth/token").header("content-type", FORM).body(body);
    let of_type =
        |content_type: &str| Request::post("/oauth/token").header("content-type", content_type).body(form);
    let basic = |client: &str| {
        Request::post("/oauth/token").basic(client, "x").form(&[("grant_type", "client_credentials")])
    };
    let cases = [
        (Request::post("/oauth/token"), "invalid_request"),
        (Request::post("/oauth/token").body(form), "invalid_request"),
        (of_type("application/json"), "invalid_request"),
        (of_type("application/x-www-form-urlencoded; charset=utf-16"), "invalid_request"),
        (of_type("application/x-www-form-urlencoded, text/plain"), "invalid_request"),
        (post(form).header("content-encoding", "gzip"), "invalid_request"),
        (
            Request::post("/oauth/token?scope=billing:admin").header("content-type", FORM).body(form),
            "invalid_request",
        ),
        (post("client_id=tenant1-sync"), "invalid_request"),
        (post(&format!("{form}&scope=billing:read&scope=billing:read")), "invalid_request"),
        (post(&format!("{form}&Scope=billing:read")), "invalid_request"),
        (post(&format!("{form};scope=billing:admin")), "invalid_request"),
        (
            basic("tenant1-sync").header("x-tenant-id", "tenant1").header("x-tenant-id", "tenant1"),
            "invalid_request",
        ),
        (basic("tenant1-sync").header("x-tenant-id", "tenant10"), "unauthorized_client"),
        (basic("tenant1-sync").header("host", "tenant10.example.com"), "unauthorized_client"),
        (basic("tenant"), "invalid_client"),
        (basic("tenant1-sync").header("authorization", "Basic dGVuYW50MTA6eA=="), "invalid_client"),
        (post(form).header("authorization", "Bearer abc"), "invalid_client"),
        (post("grant_type=client_credentials"), "invalid_client"),
        (post("grant_type=password&client_id=tenant1-sync"), "unsupported_grant_type"),
        (post(&format!("{form}&scope=billing:Read")), "invalid_scope"),
        (post(&format!("{form}&scope=billing:read++billing:write")), "invalid_scope"),
    ];
    for (request, error) in cases {
        let response = gateway.send(&request);
        assert_eq!(response.json()["error"], error, "{request:?} was answered: {}", response.text());
        assert_oauth_error(&response, error);
    }
    assert_eq!(gateway.upstream_count(), 0);
    // Another method or another spelling of the path is refused, whatever the authorization server makes of it.
    for request in [
        Request::get("/oauth/token"),
        Request::post("/oauth/token/").header("content-type", FORM).body(form),
        Request::post("/OAuth/TOKEN?x").header("content-type", FORM).body(form),
    ] {
        assert_oauth_error(&gateway.send(&request), "invalid_request");
    }
    assert_eq!(gateway.upstream_count(), 0);
    assert_eq!(
        gateway.send(&Request::post("/oauth/%74oken").header("content-type", FORM).body(form)).status,
        200
    );
    wait_until("the access log tells the decisions", || {
        let log = gateway.access_log();
        log.contains("400 decision=deny reason=invalid_scope tenant=tenant1 client=tenant1-sync subject=- suite=- operation=-")
            && log.contains("200 decision=allow reason=- tenant=tenant1 client=tenant1-sync")
            && log.contains("401 decision=deny reason=invalid_client tenant=- client=-")
    });
    wait_until("the counters tell them too", || {
        let count = |labels: &str| gateway.stat(&format!("wasmcustom.scopegate.decisions.outcome.{labels}"));
        count("deny.reason.invalid_scope.tenant.tenant1") == Some(2)
            && count("deny.reason.invalid_client.tenant.none") == Some(4)
            && count("allow.reason.none.tenant.tenant1") == Some(1)
    });
}

fn a_body_passes_up_to_64_kib_in_any_framing(gateway: &Gateway) {
    let before = gateway.upstream_count();
    let form = "grant_type=client_credentials&client_id=tenant1-sync&padding=";
    let of_length = |length: usize| format!("{form}{}", "a".repeat(length - form.len()));
    let chunked = |body: &str| {
        let mut bytes = format!(
            "POST /oauth/token HTTP/1.1\r\nhost: api.example.com\r\ncontent-type: {FORM}\r\n\
             transfer-encoding: chunked\r\n\r\n"
        )
        .into_bytes();
        for chunk in body.as_bytes().chunks(1000) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        let mut connection = Connection::open(gateway.port);
        connection.send_bytes(&bytes);
        connection.receive(false).expect("an answer")
    };
    for (length, status) in [(65_535, 200), (65_536, 200), (65_537, 400)] {
        let body = of_length(length);
        let sent = gateway.send(&Request::post("/oauth/token").header("content-type", FORM).body(&body));
        for response in [sent, chunked(&body)] {
            assert_eq!(response.status, status, "{length}");
            if status == 200 {
                assert_eq!(response.json()["body"], body);
            } else {
                assert_oauth_error(&response, "invalid_request");
            }
        }
    }
    assert_eq!(gateway.upstream_count(), before + 4);
}

fn trailers_do_not_let_a_body_past_the_guard(gateway: &Gateway) {
    let before = gateway.upstream_count();
    let mut connection = Connection::open(gateway.port);
    let body = "grant_type=client_credentials&client_id=tenant1-sync&scope=billing:admin";
    connection.send_bytes(
        format!(
            "POST /oauth/token HTTP/1.1\r\nhost: api.example.com\r\ncontent-type: {FORM}\r\ntrailer: x-a\r\n\
             transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nx-a: b\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    // Envoy drops trailers of HTTP/1.1 unless told otherwise; either way the request is looked at.
    assert_eq!(connection.receive(false).expect("an answer").status, 400);
    assert_eq!(gateway.upstream_count(), before);
}

#[test]
fn a_host_that_hands_no_body_over_has_the_request_refused_and_says_so() {
    let configuration = configuration(AuthorizationServer::shared(), &endpoint("reject"));
    let gateway = Gateway::start(&configuration, &Options::default());
    let response = gateway.send(&token_request(&[]));
    assert_oauth_error(&response, "invalid_request");
    assert_eq!(response.json()["error_description"], "no body came in time");
    wait_until("the log says why", || gateway.log().contains("allow_on_headers_stop_iteration"));
    // A request without a body needs no handing over.
    assert_oauth_error(
        &gateway.send(&Request::post("/oauth/token").header("content-type", FORM)),
        "invalid_client",
    );
    assert_eq!(gateway.upstream_count(), 0);
}

#[test]
fn a_request_that_waits_for_keys_keeps_its_body_where_bodies_are_handed_over() {
    let issuer = AuthorizationServer::start(None);
    issuer.behave(&json!({"endpoint": "jwks", "delay_ms": 1500, "times": 1}));
    let mut configuration = configuration(&issuer, &endpoint("reject"));
    let provider = configuration["providers"]["corp"].as_object_mut().expect("a provider");
    provider.remove("local_jwks");
    let jwks = json!({"uri": format!("http://127.0.0.1:{}/jwks.json", issuer.port), "cluster": "idp"});
    provider.insert("remote_jwks".to_owned(), jwks);
    let token = issuer.token("tenant1-sync", "billing:write", "urn:billing");
    let gateway = guarding(&issuer, &configuration);
    let post = |token: &str| Request::post("/tenant1/invoices").bearer(token).json(&json!({"amount": 1}));
    let mut connection = Connection::open(gateway.port);
    let good = connection.send(&post(&token));
    assert_eq!(good.status, 200, "{}", good.text());
    assert_eq!(good.json()["body"], "{\"amount\":1}");
    assert_eq!(gateway.send(&post(&format!("{token}x"))).status, 401);
    assert_eq!(gateway.upstream_count(), 1);
}

fn no_secret_reaches_a_log_at_trace_level(gateway: &Gateway) {
    // Decisions are logged up to a number a second.
    thread::sleep(Duration::from_millis(1100));
    let before = gateway.log().len();
    gateway.log_everything_of_wasm();
    let secret = "hunter2-of-the-client";
    let form = |client: &str, scope: &str| {
        Request::post(NARROWED).header("content-type", FORM).body(format!(
            "grant_type=client_credentials&client_id={client}&client_secret={secret}&scope={scope}&code={secret}"
        ))
    };
    assert_eq!(gateway.send(&form("tenant1-sync", "billing:read+billing:admin")).status, 200);
    assert_eq!(gateway.send(&form("tenant1-sync", "billing:admin")).status, 400);
    assert_eq!(gateway.send(&form(secret, "billing:read")).status, 400);
    assert_eq!(gateway.send(&form("tenant1-sync%zz", "billing:read")).status, 400);
    let basic = Request::post(NARROWED).basic("tenant1-sync", secret);
    assert_eq!(gateway.send(&basic.clone().form(&[("grant_type", "client_credentials")])).status, 200);
    assert_eq!(
        gateway.send(&basic.form(&[("grant_type", "client_credentials"), ("scope", "x")])).status,
        400
    );
    wait_until("all six decisions are logged", || {
        gateway.log()[before..].matches("\"event\":\"decision\"").count() == 6
    });
    for log in [gateway.log(), gateway.access_log()] {
        assert!(!log.contains(secret), "{log}");
        assert!(!log.contains("dGVuYW50MS1zeW5j"), "{log}");
    }
}
