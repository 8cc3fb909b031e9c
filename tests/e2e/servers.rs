//! The servers that the other tests trust: that they do what those tests take them to do.

use serde_json::{Value, json};

use scopegate_testing::harness::AuthorizationServer;
use scopegate_testing::http::{self, Request};

/// A part of a JWT, decoded.
fn part(token: &str, index: usize) -> Value {
    use base64::Engine as _;
    let text = token.split('.').nth(index).expect("a JWT");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn introspect(issuer: &AuthorizationServer, token: &str) -> Value {
    let form = [("token", token), ("client_id", "gateway-post"), ("client_secret", "gateway-post-secret")];
    http::send(issuer.port, &Request::post("/oauth/introspect").form(&form)).json()
}

#[test]
fn the_resource_selects_format_audience_and_scopes_and_the_client_its_tenant() {
    let issuer = AuthorizationServer::shared();
    let token = issuer.token("tenant1-sync", "billing:read inventory:read", "urn:inventory");
    let claims = part(&token, 1);
    assert_eq!(claims["aud"], "inventory-api");
    assert_eq!(claims["tenant_id"], "tenant1");
    assert_eq!(claims["scope"], "billing:read inventory:read");
    for (resource, algorithm) in [("es256", "ES256"), ("ps256", "PS256"), ("eddsa", "EdDSA")] {
        let token = issuer.token("acme-sync", "billing:read", &format!("urn:billing:{resource}"));
        assert_eq!(part(&token, 0)["alg"], algorithm);
        assert_eq!(part(&token, 0)["typ"], "at+jwt");
    }

    let opaque = issuer.token("globex-sync", "billing:write", "urn:billing:opaque");
    let response = introspect(issuer, &opaque);
    assert_eq!(response["active"], true);
    assert_eq!(response["tenant_id"], "globex");
    assert_eq!(response["client_id"], "globex-sync");
    assert_eq!(response["scope"], "billing:write");
    assert_eq!(introspect(issuer, "unheard-of"), json!({"active": false}));
}

#[test]
fn a_refresh_token_brings_a_token_of_the_user_with_no_more_than_was_granted() {
    let issuer = AuthorizationServer::shared();
    let refresh = issuer.refresh_token("acme-sync", "alice", "billing:read", "urn:billing");
    let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    let request = || Request::post("/oauth/token").basic("acme-sync", "acme-sync-secret");
    let answer = http::send(issuer.port, &request().form(&form)).json();
    let claims = part(answer["access_token"].as_str().expect("an access token"), 1);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("alice"), &json!("acme-sync")));
    assert_eq!((&claims["scope"], &claims["tenant_id"]), (&json!("billing:read"), &json!("acme")));
    form.push(("scope", "billing:write"));
    let refused = http::send(issuer.port, &request().form(&form));
    assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_scope")));
}

#[test]
fn keys_rotate_endpoints_misbehave_and_both_are_counted() {
    let issuer = AuthorizationServer::start(Some(&json!({
        "default_resource": "urn:api",
        "resources": {"urn:api": {"audience": "api", "scopes": ["read"]}},
        "clients": [{"client_id": "one", "client_secret": "one-secret"}],
        "realms": ["acme"],
    })));
    let key_ids = |jwks: &Value| -> Vec<Value> {
        jwks["keys"].as_array().expect("keys").iter().map(|key| key["kid"].clone()).collect()
    };
    let old = part(&issuer.token("one", "read", "urn:api"), 0)["kid"].clone();
    let kept = issuer.rotate_keys(&json!({"alg": "RS256"}))[0].clone();
    assert_eq!(part(&issuer.token("one", "read", "urn:api"), 0)["kid"], kept);
    assert!(key_ids(&issuer.jwks()).contains(&old));
    let alone = issuer.rotate_keys(&json!({"alg": "RS256", "keep_old": false}))[0].clone();
    let published = key_ids(&issuer.jwks());
    assert!(published.contains(&alone) && !published.contains(&old) && !published.contains(&kept));
    assert_eq!(part(&issuer.mint(&json!({"kid": old, "claims": {}})), 0)["kid"], old);
    assert_eq!(part(&issuer.mint(&json!({"header": {"kid": null}})), 0).get("kid"), None);

    let realm = issuer.token_from("acme", "one", "read", "urn:api");
    assert_eq!(part(&realm, 1)["iss"], format!("{}/realms/acme", issuer.issuer));
    assert!(!published.contains(&part(&realm, 0)["kid"]));

    let before = issuer.count("jwks");
    issuer.behave(&json!({"endpoint": "jwks", "status": 500, "body": "out of order", "times": 1}));
    let jwks = || http::send(issuer.port, &Request::get("/jwks.json")).status;
    assert_eq!((jwks(), jwks()), (500, 200));
    assert_eq!(issuer.count("jwks"), before + 2);
}
