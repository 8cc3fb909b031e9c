//! The configurations of `filter-config/`, each as it stands in the file, before a real authorization server of the
//! system's own that issues the system's tokens. What a good server never issues is minted with its real keys.

mod agreement;
mod appian_erp;
mod infor_suites;
mod otk_branches;
mod teamcenter;
mod thingworx_billing;

use std::fmt::Write as _;

use serde_json::{Value, json};

use scopegate_testing::harness::{AuthorizationServer, Gateway, Options};
use scopegate_testing::http::{self, Request};

/// The JSON of a file in `filter-config/`.
fn configuration(file: &str) -> Value {
    let path = format!("{}/filter-config/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    scopegate::config::yaml_to_json(&text).unwrap_or_else(|errors| panic!("{file}: {errors}"))
}

/// The authorization server that the file's only provider names.
fn authorization_server(configuration: &Value, what: &Value) -> AuthorizationServer {
    let providers = configuration["providers"].as_object().expect("providers by name");
    let provider = providers.values().next().expect("a provider");
    AuthorizationServer::start_as(provider["issuer"].as_str().expect("an issuer"), Some(what))
}

/// Clients with `NAME-secret` for a secret, the name of a tenant in a claim, and any scope of the resource.
fn clients(tenant_claim: &str, clients: &[(&str, &str)]) -> Vec<Value> {
    let client = |(name, tenant): &(&str, &str)| {
        let claims = if tenant.is_empty() { json!({}) } else { json!({ tenant_claim: tenant }) };
        json!({"client_id": name, "client_secret": format!("{name}-secret"), "claims": claims})
    };
    clients.iter().map(client).collect()
}

/// The gateway before that server, which its cluster `idp` leads to, with the secret of its client `gateway`.
fn options(issuer: &AuthorizationServer, cluster: &str, secret: Option<(&str, &str)>) -> Options {
    let environment = secret.map(|(variable, gateway)| (variable.to_owned(), format!("{gateway}-secret")));
    Options {
        clusters: vec![(cluster.to_owned(), issuer.port)],
        environment: environment.into_iter().collect(),
        ..Options::default()
    }
}

/// A token like `good`, a set of claims, with some of them replaced; `null` takes one out.
fn minted(issuer: &AuthorizationServer, good: &Value, changes: &Value) -> String {
    issuer.mint(&json!({"claims": changed(good, changes)}))
}

fn changed(good: &Value, changes: &Value) -> Value {
    let mut claims = good.clone();
    for (name, value) in changes.as_object().expect("an object of changes") {
        match value {
            Value::Null => claims.as_object_mut().expect("claims").remove(name),
            other => claims.as_object_mut().expect("claims").insert(name.clone(), other.clone()),
        };
    }
    claims
}

/// The claims of a JWT.
fn claims_of(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).expect("a JWT");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&bytes).expect("claims")
}

/// What is said of a request, the request, and its answer: a status, and the reason of a refusal or `-`.
struct Case {
    says: &'static str,
    request: Request,
    expected: (u16, &'static str),
}

fn passes(says: &'static str, request: Request) -> Case {
    Case { says, request, expected: (200, "-") }
}

fn refused(says: &'static str, request: Request, status: u16, reason: &'static str) -> Case {
    Case { says, request, expected: (status, reason) }
}

/// Sends every case to `port`; tells of all that came out otherwise, together. What is refused never reaches the
/// upstream, and the companion tool says the same of each request.
fn assert_all(gateway: &Gateway, port: u16, cases: &[Case]) {
    let before = gateway.upstream_count();
    let scheme = if gateway.listens_on(port) { "http" } else { "https" };
    let mut wrong = String::new();
    for Case { says, request, expected: (status, reason) } in cases {
        let (got_status, got_reason) = http::send(port, request).decision();
        if (got_status, got_reason.as_str()) != (*status, *reason) {
            writeln!(wrong, "{says}: {got_status} {got_reason}, not {status} {reason}").expect("to write");
        }
        match agreement::explained(gateway, scheme, request) {
            Some((told_status, told_reason)) if (told_status, &told_reason) != (got_status, &got_reason) => {
                writeln!(
                    wrong,
                    "{says}: {got_status} {got_reason}, but explained as {told_status} {told_reason}"
                )
                .expect("to write");
            }
            Some(_) | None => {}
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}\n{}", gateway.log());
    let passed = cases.iter().filter(|case| case.expected.0 == 200).count();
    assert_eq!(gateway.upstream_count() - before, passed as u64);
}
