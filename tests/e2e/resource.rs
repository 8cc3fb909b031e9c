//! What a client needs to know before it has a token (RFC 9728), and who may say whose certificate it shows (RFC 9440).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::decisions;
use scopegate_testing::harness::{AuthorizationServer, Gateway, Options, manager, now};
use scopegate_testing::http::{self, Request};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

#[test]
fn a_client_that_knows_only_the_apis_address_finds_the_issuer_gets_a_token_and_calls() {
    let issuer = AuthorizationServer::shared();
    let mut configuration = decisions::configuration(issuer);
    configuration["tenants"][0]["scopes"] = json!([{"name": "billing:read"}, {"name": "billing:write"}]);
    configuration["protected_resource_metadata"] = json!({"resource": "https://api.example.com/{tenant}"});
    let gateway = Gateway::start(&configuration, &Options::default());
    let call = |path: &str| Request::get(path);

    let refused = gateway.send(&call("/tenant1/invoices"));
    assert_eq!(refused.decision(), (401, "credential_missing".to_owned()));
    let challenge = refused.header("www-authenticate").expect("a challenge");
    let (_, address) = challenge.split_once("resource_metadata=\"").expect("the metadata's address");
    let path = address.trim_end_matches('"').strip_prefix("https://api.example.com").expect("the API's");
    assert_eq!(path, format!("{WELL_KNOWN}/tenant1"));

    let before = gateway.upstream_count();
    let response = gateway.send(&call(path));
    assert_eq!((response.status, response.header("cache-control")), (200, Some("max-age=300")));
    let metadata = response.json();
    assert_eq!(metadata["resource"], "https://api.example.com/tenant1");
    assert_eq!(metadata["bearer_methods_supported"], json!(["header"]));
    assert_eq!(gateway.upstream_count(), before);

    assert_eq!(metadata["authorization_servers"], json!([issuer.issuer]));
    let server = http::send(issuer.port, &Request::get("/.well-known/openid-configuration")).json();
    assert_eq!(server["issuer"], metadata["authorization_servers"][0]);
    let scope = metadata["scopes_supported"][0].as_str().expect("a scope");
    let token_endpoint = server["token_endpoint"].as_str().expect("an endpoint");
    let (_, token_path) = token_endpoint.split_once("://").expect("a URI");
    let token_path = token_path.get(token_path.find('/').expect("a path")..).expect("a path");
    let form = [("grant_type", "client_credentials"), ("scope", scope)];
    let request = Request::post(token_path).basic("tenant1-sync", "tenant1-sync-secret").form(&form);
    let token =
        http::send(issuer.port, &request).json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(gateway.send(&call("/tenant1/invoices").bearer(&token)).status, 200);

    // No tenant's, or not asked for by reading: like any other path.
    for other in
        [call(&format!("{WELL_KNOWN}/nobody")), call(WELL_KNOWN), call(&format!("{WELL_KNOWN}/tenant1/x"))]
    {
        assert_eq!(gateway.send(&other).decision(), (401, "credential_missing".to_owned()));
    }
}

/// A gateway that a proxy at `from` may tell of certificates, with what Envoy does about `x-forwarded-for`.
fn gateway<'g>(
    running: &'g mut Option<Gateway>,
    issuer: &AuthorizationServer,
    from: &str,
    trusts_forwarded_for: bool,
) -> &'g Gateway {
    let mut configuration = decisions::configuration(issuer);
    configuration["providers"]["corp"]["certificate_header"] = json!({"name": "client-cert", "from": [from]});
    let bootstrap = move |bootstrap: &mut Value| {
        manager(bootstrap)["use_remote_address"] = json!(!trusts_forwarded_for);
    };
    let options = Options { reloadable: true, bootstrap: Box::new(bootstrap), ..Options::default() };
    Gateway::with(running, &configuration, &options)
}

#[test]
fn a_certificate_is_believed_of_a_peers_address_and_never_of_one_in_a_header() {
    let issuer = AuthorizationServer::shared();
    let certificate = b"the DER of a certificate";
    let mut claims = issuer.claims("tenant1", "tenant1-sync", "billing:read");
    claims["exp"] = json!(now() + 600);
    claims["cnf"] = json!({"x5t#S256": URL_SAFE_NO_PAD.encode(Sha256::digest(certificate))});
    let token = issuer.mint(&json!({"claims": claims}));
    let header = format!(":{}:", STANDARD.encode(certificate));
    let call = || Request::get("/tenant1/invoices").bearer(&token).header("client-cert", &header);
    let failed = (401, "sender_constraint_failed".to_owned());

    let mut running = None;
    let behind = gateway(&mut running, issuer, "127.0.0.0/8", false);
    let passed = behind.send(&call());
    assert_eq!((passed.status, passed.upstream_saw("client-cert")), (200, vec![header.clone()]));
    assert_eq!(behind.send(&Request::get("/tenant1/invoices").bearer(&token)).decision(), failed);

    // The test's own address is not believed, and one that it only claims to have is nobody's.
    for (mut running, trusts_forwarded_for) in [(running, false), (None, true)] {
        let elsewhere = gateway(&mut running, issuer, "10.0.0.0/8", trusts_forwarded_for);
        assert_eq!(elsewhere.send(&call()).decision(), failed);
        assert_eq!(elsewhere.send(&call().header("x-forwarded-for", "10.0.0.1")).decision(), failed);
        let public = Request::get("/health").header("client-cert", &header);
        let public = public.header("x-forwarded-for", "10.0.0.1");
        assert_eq!(elsewhere.send(&public).upstream_saw("client-cert"), [""; 0]);
    }
}
