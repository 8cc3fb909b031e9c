//! What a client of the Model Context Protocol expects of a resource server (its authorization specification of 2025-06-18):
//! RFC 9728 and RFC 8707, from an API's address to a call, with the SDK's own client and server.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use scopegate_testing::harness::{AuthorizationServer, Gateway, Options, Server, manager, port_in};
use scopegate_testing::http::Request;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

/// One tenant by path, whose tokens name it in `aud`.
fn configuration(api: &str, issuer: &AuthorizationServer) -> Value {
    json!({
        "version": 1,
        "realm": "tools",
        "providers": {"corp": {
            "issuer": issuer.issuer, "audiences": [format!("{api}/{{tenant}}/mcp")], "local_jwks": issuer.jwks(),
        }},
        "tenants": [{"id": "acme", "scopes": [{"name": "mcp:tools"}]}, {"id": "globex", "scopes": [{"name": "mcp:tools"}]}],
        "suites": [{"name": "mcp", "operations": [
            {"name": "messages", "path": "/{tenant}/mcp", "methods": ["POST", "GET", "DELETE"], "requires": ["mcp:tools"]},
        ]}],
        "protected_resource_metadata": {"resource": format!("{api}/{{tenant}}/mcp")},
        "forward": {"headers": [{"name": "x-tenant-id", "value": "tenant"}]},
    })
}

#[test]
fn an_mcp_client_that_knows_only_the_address_finds_the_issuer_gets_a_token_and_calls() {
    let (_server, ready) =
        Server::announced("mcp-server", Command::new("node").arg(script("mcp-server.mjs")));
    let options = || Options {
        clusters: vec![("mcp".to_owned(), port_in(&ready))],
        reloadable: true,
        bootstrap: Box::new(|bootstrap| {
            let host = &mut manager(bootstrap)["route_config"]["virtual_hosts"][0];
            host["routes"] = json!([{"match": {"prefix": "/"}, "route": {"cluster": "mcp"}}]);
        }),
        ..Options::default()
    };
    let closed = json!({
        "version": 1, "providers": {"none": {"issuer": "https://none.example", "audiences": ["none"], "local_jwks": {"keys": []}}},
        "tenants": [{"id": "none"}], "suites": [{"name": "none", "operations": [
            {"name": "none", "path": "/none", "access": "authenticated"}]}],
    });
    // The address is known when it runs.
    let gateway = Gateway::start(&closed, &options());
    let api = format!("http://127.0.0.1:{}", gateway.port);
    let resource = |tenant: &str| {
        let address = format!("{api}/{tenant}/mcp");
        (address.clone(), json!({"audience": address, "alg": "ES256", "scopes": ["mcp:tools", "mcp:admin"]}))
    };
    let resources: serde_json::Map<String, Value> = ["acme", "globex"].map(resource).into_iter().collect();
    let issuer = AuthorizationServer::start_as(
        "",
        Some(&json!({
            "default_resource": format!("{api}/acme/mcp"), "resources": resources, "clients": [], "interactive": true,
        })),
    );
    assert!(gateway.reload(&configuration(&api, &issuer), &options()), "{}", gateway.log());

    let mut client = Command::new("node");
    client.arg(script("mcp-client.mjs")).args(["--url", &format!("{api}/acme/mcp"), "--user", "alice"]);
    let output = client.output().expect("to run node");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}\n{}", String::from_utf8_lossy(&output.stderr), gateway.log())
    });

    assert_eq!(told["result"]["content"][0]["text"], "42 for acme", "{told:#}");
    assert_eq!(told["scope"], "mcp:tools", "{told:#}");
    assert_eq!(
        told["metadata"],
        json!({
            "resource": format!("{api}/acme/mcp"), "authorization_servers": [issuer.issuer],
            "scopes_supported": ["mcp:tools"], "bearer_methods_supported": ["header"],
        })
    );
    let requests = told["requests"].as_array().expect("requests");
    let of = |place: usize| (requests[place]["url"].as_str().expect("a URL"), &requests[place]["status"]);
    // The first answer leads to the metadata, and nothing is guessed.
    assert_eq!(of(0), (format!("{api}/acme/mcp").as_str(), &json!(401)), "{told:#}");
    let metadata = format!("{api}/.well-known/oauth-protected-resource/acme/mcp");
    assert_eq!(of(1), (metadata.as_str(), &json!(200)), "{told:#}");
    let of_issuer =
        |request: &&Value| request["url"].as_str().is_some_and(|url| url.starts_with(&issuer.issuer));
    assert!(requests.iter().filter(of_issuer).count() >= 3, "metadata, registration and token: {told:#}");

    // A resource of another tenant is another one.
    let host = api.trim_start_matches("http://");
    let refused = gateway.send(&Request::post("/globex/mcp").header("host", host));
    let challenge = refused.header("www-authenticate").expect("a challenge").to_owned();
    assert!(
        challenge.contains(&format!("{api}/.well-known/oauth-protected-resource/globex/mcp")),
        "{challenge}"
    );
}
