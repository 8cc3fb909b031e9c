//! Tokens as issuers send them: scopes in several claims, tenants in lists, opaque and encrypted tokens, what was revoked.

mod additional_scopes;
mod claim_lists;
mod introspection_of;
mod revoked;
mod rfc9068;
mod signed;

use serde_json::{Value, json};

use crate::gateway::{
    AUDIENCE, Call, Gateway, ISSUER, KEY, NOW, Outcome, Reply, claims, merge, overlay, provider, token,
};
use scopegate::issuer::IssuerCall;
use scopegate_testing::mint::jwks;

/// One provider, the tenant `acme` of it, and operations that ask for `a`, for `a` and `b`, and for no scope.
fn file(changes_of_provider: Value) -> Value {
    json!({
        "version": 1,
        "providers": {"idp": provider(changes_of_provider)},
        "tenant_resolution": {"claims": ["tenant_id"], "headers": ["x-tenant-id"]},
        "tenants": [{"id": "acme"}],
        "suites": [{"name": "s", "operations": [
            {"name": "a", "path": "/a", "requires": ["a"]},
            {"name": "ab", "path": "/ab", "requires": ["a", "b"]},
            {"name": "open", "path": "/open", "access": "authenticated"},
        ]}],
        "forward": {"headers": [{"name": "x-scopes", "value": "scopes"}]},
    })
}

/// A provider that is asked about tokens, and has no keys.
fn asks(changes: Value) -> Value {
    merge(json!({"local_jwks": null, "introspection": introspection(json!({}))}), changes)
}

fn introspection(changes: Value) -> Value {
    let least =
        json!({"uri": "https://idp.example/introspect", "cluster": "idp", "client_auth": {"method": "none"}});
    merge(least, changes)
}

fn brief(gateway: &Gateway, path: &str, changes: Value) -> String {
    gateway.call(&Call::get(path).bearer(&minted(changes))).brief()
}

/// As `token`, of claims whose `null` stays where `changes` has it below the first level.
fn minted(changes: Value) -> String {
    KEY.mint(json!({"typ": "at+jwt"}), &claims(changes))
}

/// The outcome of `call` where the issuer answers each introspection with `response`, and what it was asked.
fn introspected(gateway: &Gateway, call: &Call, response: &Value) -> (Outcome, Vec<String>) {
    let mut asked = Vec::new();
    let outcome = gateway.call_answered(call, &mut |call: &IssuerCall| -> Reply {
        asked.push(format!("{call:?}"));
        Ok((200, response.to_string()))
    });
    (outcome, asked)
}

fn active(changes: Value) -> Value {
    merge(
        json!({"active": true, "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "client_id": "app"}),
        changes,
    )
}
