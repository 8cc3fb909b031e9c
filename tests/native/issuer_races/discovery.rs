//! Keys and introspection endpoints that an issuer's metadata names.

use super::*;

const METADATA: &str = "/.well-known/openid-configuration";

fn discovering(changes: Value) -> Value {
    let mut configuration = configuration();
    let provider = configuration["providers"]["corp"].as_object_mut().unwrap();
    provider.remove("remote_jwks");
    provider["introspection"].as_object_mut().unwrap().retain(|name, _| name != "uri" && name != "cluster");
    provider.insert(
        "discovery".to_owned(),
        json!({"uri": format!("https://login.example{METADATA}"), "cluster": "idp"}),
    );
    provider.extend(changes.as_object().unwrap().clone());
    provider.retain(|_, value| !value.is_null());
    configuration
}

fn metadata(changes: Value) -> Value {
    let mut metadata = json!({"issuer": ISSUER, "jwks_uri": "https://login.example/keys",
        "introspection_endpoint": "https://LOGIN.example:443/ask"});
    metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    metadata
}

/// Answers the two calls of a fetch.
fn answer_fetch(proxy: &mut Proxy) {
    let call = proxy.sole_call();
    assert_eq!(call.path, METADATA);
    proxy.answer(&call, 200, &metadata(json!({})));
    let call = proxy.sole_call();
    assert_eq!(call.path, "/keys");
    proxy.answer(&call, 200, &jwks([&signer("a")]));
}

#[test]
fn keys_are_fetched_where_the_metadata_says_and_refreshed_by_way_of_it() {
    let mut proxy = Proxy::new(&discovering(json!({})), 1, false);
    let request = proxy.send(0, &jwt(&signer("a")));
    assert_eq!(proxy.outcome(request), "waits");
    answer_fetch(&mut proxy);
    assert_eq!(proxy.outcome(request), "passes");
    proxy.pass(479_000);
    proxy.tick();
    assert_eq!(proxy.calls().len(), 0);
    proxy.pass(2_000);
    proxy.tick();
    assert_eq!(proxy.sole_call().path, METADATA, "refreshed before it is ten minutes old");
}

#[test]
fn opaque_tokens_are_asked_about_where_the_metadata_says() {
    for shares in [false, true] {
        let mut proxy = Proxy::new(&discovering(json!({})), 2, shares);
        let first = proxy.send(0, "opaque");
        answer_fetch(&mut proxy);
        let call = proxy.sole_call();
        assert_eq!((call.path.as_str(), call.token.as_deref()), ("/ask", Some("opaque")));
        proxy.answer(&call, 200, &active());
        assert_eq!(proxy.outcome(first), "passes");
        let second = proxy.send(1, "other");
        if !shares {
            answer_fetch(&mut proxy);
        }
        let call = proxy.sole_call();
        assert_eq!((call.path.as_str(), call.worker), ("/ask", 1), "what one worker found the others know");
        proxy.answer(&call, 200, &active());
        assert_eq!(proxy.outcome(second), "passes");
    }
}

#[test]
fn metadata_of_another_issuer_or_endpoints_elsewhere_are_as_a_failed_fetch() {
    for (bad, said) in [
        (metadata(json!({"issuer": "https://login.example/"})), "`issuer` of the metadata"),
        (metadata(json!({"issuer": null})), "`issuer` of the metadata"),
        (
            metadata(json!({"jwks_uri": "https://evil.example/keys"})),
            "`jwks_uri` of the metadata is at a host",
        ),
        (
            metadata(json!({"jwks_uri": "http://login.example/keys"})),
            "`jwks_uri` of the metadata is at a host",
        ),
        (
            metadata(json!({"jwks_uri": "https://login.example/{tenant}"})),
            "`jwks_uri` of the metadata is at a host",
        ),
        (
            metadata(json!({"jwks_uri": "https://login.example@evil.example/keys"})),
            "`jwks_uri` has the wrong type",
        ),
        (metadata(json!({"jwks_uri": null})), "`jwks_uri` has the wrong type"),
        (
            metadata(json!({"introspection_endpoint": "https://evil.example/"})),
            "`introspection_endpoint` of the metadata",
        ),
        (json!([]), "not a JSON object"),
    ] {
        let mut proxy = Proxy::new(&discovering(json!({})), 1, false);
        let request = proxy.send(0, &jwt(&signer("a")));
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &bad);
        assert_eq!(proxy.outcome(request), "keys_unavailable", "{bad}");
        assert!(proxy.world.warnings.borrow()[0].contains(said), "{:?}", proxy.world.warnings.borrow());
        let early = proxy.send(0, &jwt(&signer("a")));
        assert_eq!((proxy.outcome(early), proxy.calls().len()), ("keys_unavailable", 0), "it backs off");
        proxy.pass(600);
        let late = proxy.send(0, &jwt(&signer("a")));
        answer_fetch(&mut proxy);
        assert_eq!(proxy.outcome(late), "passes");
        // And later one keeps the keys.
        proxy.pass(600_000);
        proxy.tick();
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &bad);
        let kept = proxy.send(0, &jwt(&signer("a")));
        assert_eq!(proxy.outcome(kept), "passes", "{bad}");
    }
}

#[test]
fn a_host_that_is_listed_is_allowed_and_the_metadatas_own_no_more() {
    let hosts = |hosts: Value| json!({"discovery": {"uri": format!("https://login.example{METADATA}"), "cluster": "idp", "allowed_hosts": hosts}});
    let found = metadata(json!({"jwks_uri": "https://Keys.example/keys"}));
    for (allowed, expected) in [
        (json!(["keys.example", "login.example"]), "waits"),
        (json!(["keys.example"]), "keys_unavailable"),
        (json!(["login.example"]), "keys_unavailable"),
    ] {
        let mut proxy = Proxy::new(&discovering(hosts(allowed.clone())), 1, false);
        let request = proxy.send(0, &jwt(&signer("a")));
        let call = proxy.sole_call();
        proxy.answer(&call, 200, &found);
        assert_eq!(proxy.outcome(request), expected, "{allowed}");
    }
}

#[test]
fn what_is_configured_is_not_taken_from_the_metadata() {
    let remote = json!({"uri": "https://login.example/own-keys", "cluster": "idp"});
    let mut proxy = Proxy::new(&discovering(json!({"remote_jwks": remote})), 1, false);
    let request = proxy.send(0, "opaque");
    let call = proxy.sole_call();
    proxy.answer(&call, 200, &metadata(json!({"jwks_uri": "https://evil.example/keys"})));
    let call = proxy.sole_call();
    assert_eq!(call.path, "/own-keys");
    proxy.answer(&call, 200, &jwks([&signer("a")]));
    assert_eq!(proxy.sole_call().path, "/ask");
    assert_eq!(proxy.outcome(request), "waits");

    let introspection = configuration()["providers"]["corp"]["introspection"].clone();
    let mut proxy = Proxy::new(&discovering(json!({"introspection": introspection})), 1, false);
    proxy.send(0, "opaque");
    assert_eq!(proxy.sole_call().path, "/introspect", "nothing has to be found for it");
}

#[test]
fn a_key_set_names_no_endpoint() {
    let introspection = json!({"client_auth": {"method": "none"}});
    let mut proxy = Proxy::new(&discovering(json!({"introspection": introspection})), 1, false);
    let request = proxy.send(0, "opaque");
    let call = proxy.sole_call();
    proxy.answer(&call, 200, &metadata(json!({})));
    let call = proxy.sole_call();
    let mut keys = jwks([&signer("a")]);
    keys["introspection_endpoint"] = json!("https://login.example/of-the-key-set");
    proxy.answer(&call, 200, &keys);
    assert_eq!((proxy.sole_call().path.as_str(), proxy.outcome(request)), ("/ask", "waits"));
}

#[test]
fn each_tenants_realm_has_metadata_of_its_own() {
    let realm = |name: &str| format!("https://login.example/{name}");
    let discovery = json!({"uri": format!("https://login.example/{{tenant}}{METADATA}"), "cluster": "idp"});
    let mut proxy =
        Proxy::new(&discovering(json!({"issuer": realm("{tenant}"), "discovery": discovery})), 1, false);
    let token = signer("a").mint(json!({}), &{
        let mut claims = claims();
        claims["iss"] = json!(realm("acme"));
        claims
    });
    for (said, expected) in [(realm("other"), "keys_unavailable"), (realm("acme"), "passes")] {
        let request = proxy.send(0, &token);
        let call = proxy.sole_call();
        assert_eq!(call.path, format!("/acme{METADATA}"));
        proxy.answer(&call, 200, &metadata(json!({"issuer": said})));
        if expected == "passes" {
            let call = proxy.sole_call();
            proxy.answer(&call, 200, &jwks([&signer("a")]));
        }
        assert_eq!(proxy.outcome(request), expected);
        proxy.pass(1_000);
    }
}
