//! Explain against the filter's core on generated requests, and what the words say of some chosen ones.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use std::rc::Rc;

use scopegate::config::parse_yaml;
use scopegate::exchange::trace::StepOutcome;
use scopegate::exchange::{Exchange, NoHost, Request, Step, Surroundings};
use scopegate::http::headers::borrowed;
use scopegate::issuer::{ActivePolicy, IssuerCall, IssuerFault, Waiter, WaiterId, Worker};
use scopegate::jose::PureVerifier;
use scopegate::token_endpoint::Fault;
use serde_json::{Value, json};

use super::*;
use scopegate_testing::mint::{Signer, jwks};

const CONFIG: &str = include_str!("../../../../tests/fixtures/tool/books.yaml");
const NOW: u64 = 1_800_000_000;

/// How the core by itself decides, with a worker that remembers what it learnt from the requests before.
fn decided_by_the_core(active: &Rc<ActivePolicy>, scene: &Scene) -> (&'static str, Option<String>, String) {
    let mut exchange = Exchange::new(Rc::clone(active));
    let headers = borrowed(&scene.headers);
    let request = Request::new(&headers);
    for _ in 0..10 {
        let mut calls = Vec::new();
        let step = exchange.advance(
            &request,
            &mut Surroundings {
                verifier: &PureVerifier,
                client_certificate: &|| scene.client_certificate,
                host: &NoHost,
                now: scene.now,
                waiter: Waiter { id: WaiterId(7), bytes: 0 },
                can_log: true,
                calls: &mut calls,
            },
        );
        let facts = match step {
            Step::Forward(forward) => forward.facts,
            Step::Reject(_, facts) | Step::Tell(_, facts) | Step::RejectTokenRequest(_, facts) => facts,
            Step::AwaitBody => {
                exchange.deliver_body(scene.body.clone().ok_or(Fault::NoBody));
                continue;
            }
            Step::Await => {
                for call in calls {
                    match call {
                        IssuerCall::FetchKeys { provider, tenant, .. } => {
                            let body = scene.jwks.first().map(|(_, body)| body.as_slice());
                            let reply = body.map(|body| (200, body)).ok_or(IssuerFault::Unreachable);
                            active.keys_reply(provider, tenant.as_deref(), reply, 0, scene.now);
                        }
                        IssuerCall::Introspect { provider, token, .. } => {
                            let body = scene.introspection.as_deref();
                            let reply = body.map(|body| (200, body)).ok_or(IssuerFault::Unreachable);
                            let (_, verdict) =
                                active.introspection_reply(provider, (&*token).into(), reply, scene.now);
                            exchange.deliver(Some(verdict));
                        }
                    }
                }
                continue;
            }
        };
        return (
            facts.decision.as_str(),
            facts.reason.map(|reason| reason.to_string()),
            facts.stage.to_string(),
        );
    }
    panic!("a request waits for ever");
}

struct Generator {
    random: StdRng,
    issuer: Signer,
    stranger: Signer,
}

impl Generator {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            issuer: Signer::new("EdDSA", "key-1", 1),
            stranger: Signer::new("EdDSA", "key-1", 2),
        }
    }

    fn one_of<'c>(&mut self, choices: &[&'c str]) -> &'c str {
        choices.choose(&mut self.random).copied().unwrap()
    }

    /// The usual value mostly, so that requests get far; else one of the others.
    fn mostly<'c>(&mut self, usual: &'c str, others: &[&'c str]) -> &'c str {
        if self.random.random_bool(0.8) { usual } else { self.one_of(others) }
    }

    fn claims(&mut self, tenant: &str) -> Value {
        let client = format!("{tenant}-sync");
        let mut claims = json!({
            "iss": self.mostly("https://login.example.com", &["https://login.example.com/", "https://evil.example"]),
            "aud": self.mostly("books-api", &["books", "other-api"]),
            "sub": "alice",
            "exp": NOW + 300,
        });
        match self.mostly("future", &["past", "absent", "odd"]) {
            "past" => claims["exp"] = json!(NOW - 3_600),
            "absent" => drop(claims.as_object_mut().unwrap().remove("exp")),
            "odd" => claims["exp"] = json!("soon"),
            _ => {}
        }
        claims["tenant_id"] = match self.mostly("own", &["other", "unknown", "odd"]) {
            "other" => json!("globex"),
            "unknown" => json!("initech"),
            "odd" => json!(["acme"]),
            _ => json!(tenant),
        };
        let client = match self.mostly("own", &["admin", "trial", "none"]) {
            "admin" => json!("acme-admin"),
            "trial" => json!("globex-trial"),
            "none" => Value::Null,
            _ => json!(client),
        };
        if !client.is_null() {
            claims["client_id"] = client;
        }
        let scope = self.one_of(&[
            "read",
            "read write",
            "admin",
            "READ",
            "globex.read",
            "globex.write",
            "",
            "other",
            "read,write",
            "-",
        ]);
        if scope != "-" {
            claims["scope"] = json!(scope);
        }
        claims
    }

    fn scene(&mut self) -> Scene {
        let tenant = self.one_of(&["acme", "globex"]);
        let method = self.one_of(&["GET", "POST", "DELETE", "get", "OPTIONS"]);
        let own_path = format!("/{tenant}/books");
        let item = format!("/{tenant}/books/1");
        let path = self.one_of(&[
            &own_path,
            &own_path,
            &own_path,
            &item,
            "/globex/books",
            "/initech/books",
            "/health",
            "/whoami",
            "/reports/sales",
            "/nowhere",
            "//x",
            "/a%2Fb",
            "/acme/books/?q=1",
            "/acme/books?access_token=x",
        ]);
        let mut headers = vec![
            (":method".to_owned(), method.into()),
            (":path".to_owned(), path.into()),
            (":scheme".to_owned(), self.mostly("https", &["http"]).into()),
            (":authority".to_owned(), self.one_of(&["", "api.example.com", "a..b"]).into()),
        ];
        if self.random.random_bool(0.3) {
            let value = self.mostly(tenant, &["globex", "initech", "", "acme,acme"]);
            headers.push(("x-tenant-id".to_owned(), value.into()));
        }
        if self.random.random_bool(0.5) {
            headers.push(("x-api-version".to_owned(), self.mostly("v2", &["v1", ""]).into()));
        }
        let claims = self.claims(tenant);
        let mut introspection = None;
        let token = match self.one_of(&["jwt", "jwt", "jwt", "jwt", "forged", "opaque", "odd", "none"]) {
            "forged" => Some(self.stranger.mint(json!({}), &claims)),
            "opaque" => {
                introspection = Some(match self.mostly("active", &["inactive", "fault", "none"]) {
                    "inactive" => br#"{"active": false}"#.to_vec(),
                    "fault" => b"<html>".to_vec(),
                    "none" => Vec::new(),
                    _ => {
                        let mut answer = claims.clone();
                        answer["active"] = json!(true);
                        answer.to_string().into_bytes()
                    }
                });
                Some(format!("opaque-{}", self.random.random::<u64>()))
            }
            "odd" => Some(self.one_of(&["a.b.c", "ey.x", "a b", "%", "eyJhbGciOiJub25lIn0.e30."]).to_owned()),
            "none" => None,
            _ => {
                let header = self.mostly("at+jwt", &["logout+jwt", "JWT"]);
                Some(self.issuer.mint(json!({"typ": header}), &claims))
            }
        };
        if let Some(token) = token {
            let scheme = self.mostly("Bearer ", &["bearer ", "Basic ", ""]);
            headers.push(("authorization".to_owned(), format!("{scheme}{token}").into()));
            if self.random.random_bool(0.05) {
                headers.push(("authorization".to_owned(), format!("Bearer {token}").into()));
            }
        }
        let mut body = None;
        if self.random.random_bool(0.05) {
            headers[0].1 = "POST".into();
            headers[1].1 = "/oauth/token".into();
            headers.push(("content-type".to_owned(), "application/x-www-form-urlencoded".into()));
            headers.retain(|(name, _)| name != "authorization");
            body = Some(
                self.one_of(&[
                    "grant_type=client_credentials&client_id=acme-sync&scope=read",
                    "grant_type=client_credentials&client_id=acme-sync&scope=read+admin",
                    "grant_type=password&client_id=acme-sync",
                    "grant_type=client_credentials&client_id=nobody",
                    "a;b",
                ])
                .into(),
            );
        }
        Scene {
            headers,
            jwks: vec![("corp".to_owned(), jwks([&self.issuer]).to_string().into_bytes())],
            introspection: introspection.filter(|answer| !answer.is_empty()),
            body,
            now: Duration::from_secs(NOW),
            variables: None,
            ..Scene::default()
        }
    }
}

fn policy() -> Policy {
    parse_yaml(CONFIG).unwrap().policy
}

fn told(scene: &Scene) -> (Explanation, String) {
    let explanation = explain(policy(), scene);
    let text = explanation.text(&Terminal::plain());
    (explanation, text)
}

#[test]
fn what_is_explained_is_what_the_core_decides() {
    let active = Worker::default().activate(policy());
    let mut generator = Generator::new(20_261_122);
    let mut reasons = std::collections::BTreeMap::new();
    for number in 0..1_500 {
        let scene = generator.scene();
        let (explanation, text) = told(&scene);
        let told = (
            explanation.decision.as_str(),
            explanation.reason.map(|reason| reason.to_string()),
            explanation.stage.to_string(),
        );
        assert_eq!(told, decided_by_the_core(&active, &scene), "request {number}: {text}");
        assert_eq!(explanation.passes(), explanation.decision.as_str() != "deny");

        // The story has one end, where the core ended.
        for step in &explanation.steps {
            let expected = step.stage.cmp(&explanation.stage);
            match (step.outcome, explanation.passes()) {
                (StepOutcome::Refused, passes) => {
                    assert!(!passes && expected.is_eq(), "request {number}: {text}")
                }
                (StepOutcome::Passed | StepOutcome::Lifted, false) => {
                    assert!(expected.is_lt(), "request {number}: {text}")
                }
                (StepOutcome::Skipped, false) => assert!(expected.is_gt(), "request {number}: {text}"),
                (StepOutcome::Passed | StepOutcome::Lifted | StepOutcome::Skipped, true) => {}
            }
        }

        // And the token is in no part of it.
        let json = explanation.json().to_string();
        for (_, value) in scene.headers.iter().filter(|(name, _)| name == "authorization") {
            let value = String::from_utf8_lossy(value);
            let token = value.rsplit(' ').next().unwrap();
            if token.len() > 20 {
                assert!(!text.contains(token) && !json.contains(token), "request {number}");
                for part in token.split('.').filter(|part| part.len() > 20) {
                    assert!(!text.contains(part) && !json.contains(part), "request {number}");
                }
            }
        }
        *reasons.entry(told.1.unwrap_or_default()).or_insert(0) += 1;
    }
    // The requests are varied enough to mean something.
    assert!(reasons.len() > 20, "{reasons:?}");
    assert!(reasons[""] > 75, "{reasons:?}");
}

fn asks(method: &str, path: &str, claims: &Value) -> Scene {
    let signer = Signer::new("EdDSA", "key-1", 1);
    let headers = vec![
        (":method".to_owned(), method.into()),
        (":path".to_owned(), path.into()),
        (":scheme".to_owned(), "https".into()),
        (":authority".to_owned(), "api.example.com".into()),
        ("authorization".to_owned(), format!("Bearer {}", signer.mint(json!({}), claims)).into()),
    ];
    Scene {
        headers,
        jwks: vec![("corp".to_owned(), jwks([&signer]).to_string().into_bytes())],
        now: Duration::from_secs(NOW),
        ..Scene::default()
    }
}

fn claims(tenant: &str, client: &str, scope: &str) -> Value {
    json!({
        "iss": "https://login.example.com", "aud": "books-api", "sub": "alice", "exp": NOW + 300,
        "tenant_id": tenant, "client_id": client, "scope": scope,
    })
}

#[test]
fn a_scope_that_is_missing_is_told_with_what_would_do_and_what_became_of_each() {
    let (explanation, text) = told(&asks("POST", "/acme/books", &claims("acme", "acme-sync", "read admin")));
    assert_eq!(explanation.reason.unwrap().as_str(), "scope_not_assigned_to_application");
    for line in [
        "2 operation  ok      `books/add` asks for a token, a tenant and scopes",
        "token's scope read: counts, as read",
        "token's scope admin: does not count: the application is not assigned `admin`",
        "required: all of write",
        "to pass    the application has to be assigned the scope that its token carries",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn evidence_that_the_filter_waived_is_not_told_as_required() {
    let yaml = CONFIG.replace("required_evidence: [claim]", "required_evidence: [claim, path]");
    let explained = |path| {
        let scene = asks("GET", path, &claims("acme", "acme-sync", "read"));
        explain(parse_yaml(&yaml).unwrap().policy, &scene).text(&Terminal::plain())
    };
    let text = explained("/acme/books");
    assert!(text.contains("required: claim, path\n"), "{text}");
    // An unmapped path carries no path evidence, and is refused as unmapped rather than for the lack of it.
    let text = explained("/nowhere");
    assert!(text.contains("required: claim\n"), "{text}");
    assert!(text.contains("refused operation_not_mapped"), "{text}");
}

#[test]
fn a_step_that_the_filter_did_not_take_is_not_told_as_taken() {
    let yaml = CONFIG.replace("realm: books", "realm: books\nbypass_cors_preflight: true");
    let mut scene = asks("OPTIONS", "/acme/books", &claims("acme", "acme-sync", "read"));
    scene.headers.push(("origin".to_owned(), "https://app.example.com".into()));
    scene.headers.push(("access-control-request-method".to_owned(), "GET".into()));
    let explanation = explain(parse_yaml(&yaml).unwrap().policy, &scene);
    assert!(explanation.passes());
    let text = explanation.text(&Terminal::plain());
    assert!(text.contains("2 operation  -       not needed: the request passes without a token"), "{text}");
}

#[test]
fn an_unmapped_request_that_shadow_lets_pass_is_told_as_lifted() {
    let yaml = CONFIG.replace("realm: books", "realm: books\nscope_enforcement: shadow");
    let scene = asks("GET", "/nowhere", &claims("globex", "globex-trial", "globex.read"));
    let text = explain(parse_yaml(&yaml).unwrap().policy, &scene).text(&Terminal::plain());
    assert!(text.contains("6 scopes     lifted  operation_not_mapped"), "{text}");
}

#[test]
fn a_jwt_that_is_introspected_too_is_told_with_what_it_says_and_with_both_calls() {
    let uri = "      uri: https://login.example.com/introspect\n";
    let yaml = CONFIG.replace(uri, &format!("{uri}      apply_to: all\n"));
    let mut scene = asks("GET", "/acme/books", &claims("acme", "acme-sync", "read"));
    scene.introspection = Some(br#"{"active": true, "scope": "read", "aud": "books-api"}"#.to_vec());
    let text = explain(parse_yaml(&yaml).unwrap().policy, &scene).text(&Terminal::plain());
    for line in [
        "4 token      ok      the token is verified",
        "alg: EdDSA",
        "keys: provider `corp` was asked; its file answered",
        "introspection: provider `corp` was asked; its file answered",
        "decision   allow",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn shadow_is_told_as_lifted() {
    let scene = asks("POST", "/globex/books", &claims("globex", "globex-trial", "globex.read"));
    let (explanation, text) = told(&scene);
    assert_eq!(explanation.decision.as_str(), "shadow");
    assert!(explanation.passes());
    assert!(text.contains("6 scopes     lifted  scope_not_granted"), "{text}");
}

#[test]
fn what_the_upstream_is_told_is_told() {
    let (_, text) = told(&asks("GET", "/acme/books", &claims("acme", "acme-sync", "read")));
    assert!(text.contains("upstream   set x-tenant-id: acme\n"), "{text}");
    assert!(text.contains("upstream   remove authorization\n"), "{text}");
}

#[test]
fn an_issuer_without_a_file_is_unreachable_and_said_to_be_so() {
    let mut scene = asks("GET", "/acme/books", &claims("acme", "acme-sync", "read"));
    scene.jwks.clear();
    let (explanation, text) = told(&scene);
    assert_eq!(explanation.reason.unwrap().as_str(), "keys_unavailable");
    assert!(text.contains("no file was given, so it is unreachable"), "{text}");
}

#[test]
fn an_expired_token_is_told_with_its_age() {
    let mut old = claims("acme", "acme-sync", "read");
    old["exp"] = json!(NOW - 7_200);
    let (_, text) = told(&asks("GET", "/acme/books", &old));
    assert!(text.contains("claims exp: 2027-01-15T06:00:00Z, 2h ago"), "{text}");
}

#[test]
fn a_claim_cannot_command_the_terminal() {
    let (_, text) = told(&asks("GET", "/acme/books", &claims("acme\u{1b}[2J", "acme-sync", "read")));
    assert!(!text.contains('\u{1b}'));
    assert!(text.contains("acme\\u{1b}[2J"), "{text}");
}

#[test]
fn a_trailing_slash_or_another_host_that_would_match_is_told() {
    let (_, text) = told(&asks("GET", "/acme/books/", &claims("acme", "acme-sync", "read")));
    assert!(text.contains("nearby: `books/list` matches /acme/books: a trailing slash counts"), "{text}");
    let (_, text) = told(&asks("PUT", "/acme/books", &claims("acme", "acme-sync", "read")));
    assert!(text.contains("methods mapped here: GET POST"), "{text}");
}

#[test]
fn a_token_is_put_where_the_configuration_looks_for_one() {
    for (place, header, value) in [
        ("from_headers: [{name: x-token, value_prefix: 'Token '}]", "x-token", "token t"),
        ("from_cookies: [session]", "cookie", "session=t"),
        ("from_params: [access_token]", ":path", "/x?access_token=t"),
    ] {
        let yaml = CONFIG
            .replace("    audiences: [books-api]\n", &format!("    audiences: [books-api]\n    {place}\n"));
        let policy = parse_yaml(&yaml).unwrap().policy;
        let mut scene = Scene { headers: vec![(":path".to_owned(), "/x".into())], ..Scene::default() };
        put_token(&mut scene, "t", &policy);
        let found = scene.headers.iter().find(|(name, _)| name == header).unwrap();
        assert_eq!(String::from_utf8_lossy(&found.1), value);
    }
}

#[test]
fn arguments_that_are_not_what_they_should_be_are_refused() {
    assert!(parse_header("x-tenant-id acme").is_err());
    assert!(parse_header(":path: /x").is_err());
    assert!(parse_header("Host: x").is_err());
    assert_eq!(parse_header("X-Tenant-ID:  acme "), Ok(("x-tenant-id".to_owned(), "acme".to_owned())));
    assert!(parse_assignment("corp").is_err());
    let digest = "ab".repeat(32);
    assert_eq!(parse_digest(&digest), Ok([0xab; 32]));
    assert_eq!(parse_digest(&["AB"; 32].join(":")), Ok([0xab; 32]));
    assert!(parse_digest(&digest[1..]).is_err());
    assert!(parse_digest(&format!("{digest}zz")).is_err());
}

#[test]
fn a_token_request_is_told_with_its_client_and_what_it_may_not_ask_for() {
    let ask = |form: &str| {
        let scene = Scene {
            headers: vec![
                (":method".to_owned(), "POST".into()),
                (":path".to_owned(), "/oauth/token".into()),
                (":scheme".to_owned(), "https".into()),
                ("content-type".to_owned(), "application/x-www-form-urlencoded".into()),
            ],
            body: Some(form.into()),
            now: Duration::from_secs(NOW),
            ..Scene::default()
        };
        told(&scene)
    };
    let (explanation, text) = ask("grant_type=client_credentials&client_id=acme-sync&scope=read");
    assert!(explanation.passes(), "{text}");
    assert!(text.contains("client: acme-sync"), "{text}");
    let (explanation, text) =
        ask("grant_type=client_credentials&client_id=acme-sync&scope=read+admin&client_secret=hunter2");
    assert!(!explanation.passes());
    assert!(text.contains("decision   deny, invalid_scope"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn another_spelling_of_a_guarded_path_and_a_preflight_there_are_told_at_the_guards_step() {
    let at = |yaml: &str, method: &str, path: &str, body: &str| {
        let scene = Scene {
            headers: vec![
                (":method".to_owned(), method.into()),
                (":path".to_owned(), path.into()),
                (":scheme".to_owned(), "https".into()),
                ("origin".to_owned(), "https://app.example".into()),
                ("access-control-request-method".to_owned(), "POST".into()),
            ],
            body: Some(body.into()),
            now: Duration::from_secs(NOW),
            ..Scene::default()
        };
        let explanation = explain(parse_yaml(yaml).unwrap().policy, &scene);
        let text = explanation.text(&Terminal::plain());
        (explanation, text)
    };
    for (method, path, told) in [
        ("POST", "/OAuth/Token/", "the path is spelt otherwise than that of the token endpoint"),
        ("GET", "/oauth/token", "the method is not one that this token endpoint takes"),
    ] {
        let (explanation, text) = at(CONFIG, method, path, "");
        assert!(!explanation.passes(), "{text}");
        assert!(text.contains("decision   deny, invalid_request"), "{text}");
        assert!(text.contains(&format!("invalid_request: {told}")), "{text}");
    }
    let bypassing = format!("{CONFIG}bypass_cors_preflight: true\n");
    let (explanation, text) = at(&bypassing, "OPTIONS", "/oauth/token", "");
    assert!(explanation.passes(), "{text}");
    assert!(text.contains("a preflight request to a token endpoint"), "{text}");
    let (explanation, text) = at(&bypassing, "OPTIONS", "/oauth/token", "grant_type=client_credentials");
    assert!(!explanation.passes(), "{text}");
    assert!(text.contains("invalid_request: the method is not one"), "{text}");
}

#[test]
fn a_token_of_another_type_is_told_with_what_says_so_and_what_was_required() {
    let yaml = CONFIG.replace(
        "    audiences: [books-api]\n",
        "    audiences: [books-api]\n    required_values: {token_use: [access]}\n",
    );
    let mut id_token = claims("acme", "acme-sync", "read");
    id_token["token_use"] = json!("id");
    let scene = asks("GET", "/acme/books", &id_token);
    let explanation = explain(parse_yaml(&yaml).unwrap().policy, &scene);
    let text = explanation.text(&Terminal::plain());
    assert_eq!(explanation.reason.unwrap().as_str(), "token_type_not_accepted");
    for line in [
        "claims token_use: id",
        "provider requires values: token_use of access",
        "an ID, refresh or other token",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn a_proof_is_told_with_what_it_says_and_what_the_provider_asks_for() {
    let yaml = CONFIG.replace(
        "    audiences: [books-api]\n",
        "    audiences: [books-api]\n    dpop: {mode: required, public_origin: 'https://api.example.com:8443'}\n",
    );
    let client = Signer::anonymous("ES256", 3);
    let jwk = client.jwk();
    let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text("x"), text("y"));
    let encode = |bytes: &[u8]| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    };
    let sha256 = |bytes: &[u8]| {
        use sha2::Digest as _;
        encode(&sha2::Sha256::digest(bytes))
    };
    let thumbprint = sha256(members.as_bytes());
    let mut claims = claims("acme", "acme-sync", "read");
    claims["cnf"] = json!({"jkt": thumbprint});
    let told = |htu: &str| {
        let mut scene = asks("GET", "/acme/books", &claims);
        let bearer = scene.headers.iter_mut().find(|(name, _)| name == "authorization").unwrap();
        let token = String::from_utf8(bearer.1.clone()).unwrap().replace("Bearer ", "");
        bearer.1 = format!("DPoP {token}").into_bytes();
        let proof = json!({"jti": "secret-id", "htm": "GET", "htu": htu, "iat": NOW, "ath": sha256(token.as_bytes())});
        let proof = client.mint(json!({"typ": "dpop+jwt", "jwk": jwk}), &proof);
        scene.headers.push(("dpop".to_owned(), proof.into_bytes()));
        let explanation = explain(parse_yaml(&yaml).unwrap().policy, &scene);
        let text = explanation.text(&Terminal::plain());
        (explanation, text)
    };
    let (explanation, text) = told("https://api.example.com:8443/acme/books");
    assert!(explanation.passes(), "{text}");
    for line in [
        "provider asks for tokens: bound to a key, with a proof of it (DPoP)",
        &format!("bound to the key: {thumbprint}"),
        "proof's htm: GET",
        "proof's htu: https://api.example.com:8443/acme/books",
        "proofs are for: https://api.example.com:8443",
        "remove dpop",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("secret-id"), "{text}");
    let (explanation, text) = told("http://gateway.internal/acme/books");
    assert_eq!(explanation.reason.unwrap().as_str(), "proof_invalid");
    assert!(text.contains("proof's htu: http://gateway.internal/acme/books"), "{text}");
    assert!(text.contains("`htu` names another one than this request"), "{text}");
}
