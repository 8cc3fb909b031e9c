//! The gateway of these tests: its configuration, its issuer and its callers.

use serde_json::{Value, json};

use super::abi::{HeaderMap, LocalReply};
use super::host::{CLUSTER, NOW, Outcome};
use scopegate_testing::mint::{Signer, jwks};

pub const ISSUER: &str = "https://login.example";

/// The issuer's key; ES256 is the cheapest to make.
pub fn signer() -> Signer {
    Signer::new("ES256", "key-1", 1)
}

/// The claims of a token of tenant `acme` that may read orders.
pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "orders-api", "sub": "alice", "client_id": "shop", "tenant_id": "acme",
        "scope": "orders:read", "iat": NOW - 10, "exp": NOW + 3600,
    })
}

/// [`claims`] with other values for some of them.
pub fn claims_with(others: Value) -> Value {
    let mut claims = claims();
    for (name, value) in others.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

pub fn good_token() -> String {
    signer().mint(json!({}), &claims())
}

/// A configuration whose issuer's keys are in it.
pub fn configuration() -> Value {
    json!({
        "version": 1,
        "realm": "gateway",
        "providers": {"corp": {
            "issuer": ISSUER, "audiences": ["orders-api"], "local_jwks": jwks([&signer()]),
        }},
        "tenant_resolution": {
            "claims": ["tenant_id"], "headers": ["x-tenant-id"], "required_evidence": ["claim"],
        },
        "tenants": [tenant("acme"), tenant("globex")],
        "suites": [{"name": "orders", "operations": [
            {"name": "list", "path": "/orders", "methods": ["GET"], "requires": ["orders:read"]},
            {"name": "head", "path": "/orders", "methods": ["HEAD"], "requires": ["orders:read"]},
            {"name": "post", "path": "/orders", "methods": ["POST"], "requires": ["orders:write"]},
            {"name": "grpc", "path": "/orders.Orders/List", "methods": ["POST"], "requires": ["orders:write"]},
            {"name": "health", "path": "/health", "access": "public"},
        ]}],
        "forward": {"headers": [
            {"name": "x-tenant-id", "value": "tenant"}, {"name": "x-client-id", "value": "client"},
            {"name": "x-operation", "value": "operation"},
        ]},
        "audit": {"decisions": "all", "max_per_second": 1_000_000},
    })
}

fn tenant(id: &str) -> Value {
    json!({"id": id, "providers": ["corp"], "scopes": [{"name": "orders:read"}, {"name": "orders:write"}]})
}

/// A configuration whose issuer's keys are fetched.
pub fn configuration_with_remote_keys() -> Value {
    let mut configuration = configuration();
    configuration["providers"]["corp"] = json!({
        "issuer": ISSUER, "audiences": ["orders-api"],
        "remote_jwks": {
            "uri": "https://login.example/jwks.json", "cluster": CLUSTER, "timeout": "2s", "cache_duration": "10m",
        },
    });
    configuration
}

/// The gateway's own secret at the introspection endpoint.
pub const SECRET: &str = "the gateway's own secret";

/// A configuration whose opaque tokens are introspected.
pub fn configuration_with_introspection() -> Value {
    let mut configuration = configuration();
    configuration["providers"]["corp"]["introspection"] = json!({
        "uri": "https://login.example/introspect", "cluster": CLUSTER, "timeout": "1s",
        "client_auth": {"method": "client_secret_basic", "client_id": "gateway", "client_secret": {"value": SECRET}},
        "cache": {"max_entries": 100, "max_ttl": "60s", "negative_ttl": "10s"},
    });
    configuration
}

/// What introspection says of an active token with [`claims`].
pub fn active() -> Value {
    claims_with(json!({"active": true}))
}

/// A request with a bearer token.
pub fn request(method: &str, path: &str, token: &str) -> HeaderMap {
    let mut headers = anonymous(method, path);
    headers.push((b"authorization".to_vec(), format!("Bearer {token}").into_bytes()));
    headers
}

/// A request without a token.
pub fn anonymous(method: &str, path: &str) -> HeaderMap {
    [
        (":method", method),
        (":scheme", "https"),
        (":authority", "api.example"),
        (":path", path),
        ("user-agent", "test"),
        ("x-request-id", "1"),
    ]
    .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
    .to_vec()
}

/// The good request of these tests.
pub fn good_request() -> HeaderMap {
    request("GET", "/orders", &good_token())
}

/// Status and reason of a refusal.
pub fn refusal(outcome: &Outcome) -> (u32, String) {
    match outcome {
        Outcome::Answered(reply) => (reply.status, reason(reply)),
        Outcome::Passed(_) | Outcome::Waiting => panic!("not refused: {outcome:?}"),
    }
}

pub fn reason(reply: &LocalReply) -> String {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    body["reason"].as_str().unwrap_or_default().to_owned()
}

/// Asserts that a request was refused.
pub fn assert_refused(outcome: &Outcome, status: u32, reason: &str) {
    assert_eq!(refusal(outcome), (status, reason.to_owned()));
}

/// Asserts that a request passed, and returns the headers that the upstream sees.
pub fn passed(outcome: Outcome) -> HeaderMap {
    match outcome {
        Outcome::Passed(headers) => headers,
        Outcome::Answered(_) | Outcome::Waiting => panic!("did not pass: {outcome:?}"),
    }
}
