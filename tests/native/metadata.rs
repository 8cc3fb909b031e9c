//! What clients without a token are told of a resource (RFC 9728). The section stands beside each test.

use scopegate::respond::Reason;
use serde_json::{Value, json};

use crate::gateway::{Call, Gateway, Outcome, provider, token};

const PATH: &str = "/.well-known/oauth-protected-resource";

fn config(resource: &str) -> Value {
    let declares = |prefix: &str, names: &[&str]| {
        let scopes: Vec<Value> =
            names.iter().map(|name| json!({"name": name, "description": "secret"})).collect();
        json!({"scope_prefix": prefix, "scopes": scopes})
    };
    let tenant = |id: &str, provider: &str, names: &[&str]| {
        let mut tenant = declares(&format!("{id}."), names);
        tenant["id"] = json!(id);
        tenant["providers"] = json!([provider]);
        tenant
    };
    let mut aliased = tenant("globex", "realms", &["read"]);
    aliased["aliases"] = json!(["gx", "g.x"]);
    json!({
        "version": 1, "realm": "gw",
        "providers": {
            "corp": provider(json!({"dpop": {
                "mode": "required", "public_origin": "https://api.example.com", "algorithms": ["ES256", "EdDSA"],
            }})),
            "realms": provider(json!({"issuer": "https://kc.example/{tenant}"})),
        },
        "tenants": [tenant("acme", "corp", &["write", "read"]), aliased],
        "suites": [{"name": "s", "hosts": ["{tenant}.api.example.com", "api.example.com"], "operations": [
            {"name": "read", "path": "/books", "requires": ["read"]},
            {"name": "of", "path": "/of/{tenant}/books", "requires": ["read"]},
        ]}],
        "protected_resource_metadata": {"path": PATH, "resource": resource},
    })
}

fn get(gateway: &Gateway, host: &str, path: &str) -> Outcome {
    gateway.call(&Call::get(path).host(host))
}

#[track_caller]
fn told(outcome: Outcome) -> Value {
    let Outcome::Told(answer) = outcome else { panic!("not told: {outcome:?}") };
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers.get("content-type"), Some("application/json"));
    assert_eq!(answer.headers.get("cache-control"), Some("max-age=300"));
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn a_tenants_address_tells_of_that_tenant_alone() {
    // Sections 2 and 3.
    let gateway = Gateway::new(&config("https://{tenant}.api.example.com"));
    assert_eq!(
        told(get(&gateway, "acme.api.example.com", PATH)),
        json!({
            "resource": "https://acme.api.example.com",
            "authorization_servers": ["https://idp.example"],
            "scopes_supported": ["acme.read", "acme.write"],
            "bearer_methods_supported": [],
            "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
            "dpop_bound_access_tokens_required": true,
        })
    );
    for (name, host) in [("globex", "globex.api.example.com"), ("gx", "GX.API.example.com:8443")] {
        assert_eq!(
            told(get(&gateway, host, PATH)),
            json!({
                "resource": format!("https://{name}.api.example.com"),
                "authorization_servers": [format!("https://kc.example/{name}")],
                "scopes_supported": ["globex.read"],
                "bearer_methods_supported": ["header"],
            })
        );
    }
}

#[test]
fn certificates_are_told_of_where_they_are_asked_for() {
    // Section 2: `tls_client_certificate_bound_access_tokens`.
    let told_with = |changes: Value| {
        let mut config = config("https://{tenant}.api.example.com");
        for (name, value) in changes.as_object().unwrap() {
            config["providers"]["realms"][name] = value.clone();
        }
        let document = told(get(&Gateway::new(&config), "globex.api.example.com", PATH));
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
        document["tls_client_certificate_bound_access_tokens"].clone()
    };
    let by_header = json!({"certificate_header": {"name": "client-cert", "from": ["10.0.0.0/8"]}});
    let dpop =
        json!({"mode": "optional", "public_origin": "https://api.example.com", "algorithms": ["ES256"]});
    assert_eq!(told_with(json!({})), json!(null));
    assert_eq!(told_with(by_header), json!(true));
    assert_eq!(told_with(json!({"profile": "fapi2"})), json!(true));
    assert_eq!(told_with(json!({"profile": "fapi2", "dpop": dpop})), json!(null));
}

#[test]
fn scopes_are_told_only_where_they_are_declared_and_query_tokens_only_where_they_are_taken() {
    // Section 2: `scopes_supported`, `bearer_methods_supported`.
    let mut config = config("https://{tenant}.api.example.com");
    config["tenants"][1].as_object_mut().unwrap().remove("scopes");
    config["providers"]["realms"]["from_params"] = json!(["access_token", "other"]);
    let document = told(get(&Gateway::new(&config), "globex.api.example.com", PATH));
    assert_eq!(document.get("scopes_supported"), None);
    assert_eq!(document["bearer_methods_supported"], json!(["query"]));
    config["providers"]["realms"]["from_headers"] =
        json!([{"name": "authorization", "value_prefix": "Bearer "}]);
    let document = told(get(&Gateway::new(&config), "globex.api.example.com", PATH));
    assert_eq!(document["bearer_methods_supported"], json!(["header", "query"]));
}

#[test]
fn what_is_no_resource_of_a_tenant_is_answered_like_any_other_path() {
    // Whoever has no token does not learn which tenants there are from another answer than everybody gets.
    let gateway = Gateway::new(&config("https://{tenant}.api.example.com"));
    for (host, path) in [
        ("nobody.api.example.com", PATH),
        ("api.example.com", PATH),
        ("acme.evil.example", PATH),
        ("a.acme.api.example.com", PATH),
        // `{tenant}` is one label, whatever a tenant is called.
        ("g.x.api.example.com", PATH),
        ("acme.api.example.com", "/.well-known/oauth-protected-resource/x"),
        ("acme.api.example.com", "/.well-known/oauth-protected-resources"),
        ("acme.api.example.com", "/.well-known"),
    ] {
        assert_eq!(get(&gateway, host, path).refusal(), Some(Reason::CredentialMissing), "{host} {path}");
    }
    let post = Call::new("POST", PATH).host("acme.api.example.com");
    assert_eq!(gateway.call(&post).refusal(), Some(Reason::CredentialMissing));
    let head = Call::new("HEAD", PATH).host("acme.api.example.com");
    told(gateway.call(&head));
}

#[test]
fn the_well_known_path_comes_between_host_and_path_of_the_resource() {
    // Section 3.1.
    let gateway = Gateway::new(&config("https://api.example.com/of/{tenant}"));
    let document = told(get(&gateway, "api.example.com", &format!("{PATH}/of/globex")));
    assert_eq!(document["resource"], "https://api.example.com/of/globex");
    for path in ["", "/of", "/of/", "/of/nobody", "/of/globex/books", "/off/globex"] {
        let outcome = get(&gateway, "api.example.com", &format!("{PATH}{path}"));
        assert_eq!(outcome.refusal(), Some(Reason::CredentialMissing), "{path}");
    }
    // Section 5.1: the challenge leads there.
    let refused = get(&gateway, "api.example.com", "/of/globex/books").refused();
    let address = format!("https://api.example.com{PATH}/of/globex");
    let challenge = refused.header("www-authenticate").unwrap();
    assert_eq!(challenge, format!(r#"Bearer realm="gw", resource_metadata="{address}""#));
    let path = address.strip_prefix("https://api.example.com").unwrap();
    assert_eq!(told(get(&gateway, "api.example.com", path))["resource"], "https://api.example.com/of/globex");
}

#[test]
fn every_challenge_leads_to_the_metadata() {
    // Section 5.1.
    let gateway = Gateway::new(&config("https://{tenant}.api.example.com"));
    let metadata = format!("resource_metadata=\"https://globex.api.example.com{PATH}\"");
    let of_globex = |changes: Value| {
        let mut claims = json!({"iss": "https://kc.example/globex", "scope": "globex.read"});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        token(claims)
    };
    let call = |token: &str| Call::get("/books").host("globex.api.example.com").bearer(token);
    for (call, status) in [
        (Call::get("/books").host("globex.api.example.com"), 401),
        (call("ey.ey.ey"), 401),
        (call(&of_globex(json!({"exp": 1}))), 401),
        (call(&of_globex(json!({"scope": "globex.other"}))), 403),
    ] {
        let refused = gateway.call(&call).refused();
        assert_eq!(refused.answer.status, status);
        for (name, value) in refused.answer.headers.iter().filter(|(name, _)| *name == "www-authenticate") {
            assert!(value.contains(&metadata), "{name}: {value}");
        }
    }
    assert_eq!(gateway.call(&call(&of_globex(json!({})))).brief(), "globex");
    // Where the address is nobody's there is none to lead to.
    let refused = get(&gateway, "nobody.api.example.com", "/books").refused();
    assert!(!refused.header("www-authenticate").unwrap().contains("resource_metadata"));
}

#[test]
fn a_resource_without_a_tenant_tells_what_all_tenants_have_in_common() {
    let gateway = Gateway::new(&config("https://api.example.com"));
    let document = told(get(&gateway, "api.example.com", PATH));
    assert_eq!(document, json!({"resource": "https://api.example.com", "bearer_methods_supported": []}));
    let mut alike = config("https://api.example.com/books");
    alike["tenants"] = json!(["acme", "globex"].map(|id| json!({
        "id": id, "providers": ["corp"], "scopes": [{"name": "read"}],
    })));
    let gateway = Gateway::new(&alike);
    let document = told(get(&gateway, "api.example.com", &format!("{PATH}/books")));
    assert_eq!(document["authorization_servers"], json!(["https://idp.example"]));
    assert_eq!(document["scopes_supported"], json!(["read"]));
    let refused = get(&gateway, "api.example.com", "/books").refused();
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(
        challenge.contains(&format!("resource_metadata=\"https://api.example.com{PATH}/books\"")),
        "{challenge}"
    );
}
