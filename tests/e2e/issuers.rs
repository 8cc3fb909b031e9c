//! Tokens as issuers send them: realms that are asked, JWTs that only their issuer can read, scopes and tenants in lists, and
//! what was taken out of use.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::certificate::Certificate;

use crate::issuer::{Behaviour, FaultyIssuer, Received};
use scopegate_testing::harness::{AuthorizationServer, Directory, Gateway, Options, Server, now, port_in};
use scopegate_testing::http::{Connection, Request};
use scopegate_testing::mint::{Signer, jwks};

const REALMS: &str = "https://login.example.com/realms/";

fn options(port: u16) -> Options {
    let clusters = vec![("idp".to_owned(), port)];
    Options { clusters, reloadable: true, concurrency: 2, ..Options::default() }
}

fn decision(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// Two tenants, each with a realm of an issuer whose tokens only it can read.
fn realms() -> Value {
    json!({
        "version": 1,
        "providers": {"kc": {
            "issuer": format!("{REALMS}{{tenant}}"),
            "audiences": ["api"],
            "encrypted_tokens": "introspect",
            "introspection": {
                "uri": format!("{REALMS}{{tenant}}/introspect"), "cluster": "idp", "timeout": "1s",
                "client_auth": {"method": "none"}, "cache": {"max_ttl": "10m", "negative_ttl": "10m"},
            },
        }},
        "tenant_resolution": {"headers": ["x-tenant-id"]},
        "tenants": [{"id": "acme"}, {"id": "glob ex"}],
        "suites": [{"name": "api", "operations": [{"name": "read", "path": "/read", "requires": ["read"]}]}],
        "forward": {"headers": [{"name": "x-tenant", "value": "tenant"}]},
    })
}

/// Each realm knows the token that holds its name, and no other.
fn realm(received: &Received) -> Behaviour {
    let token = received.parameter("token").unwrap_or_default();
    let realm = received.path.trim_start_matches("/realms/").trim_end_matches("/introspect");
    // A JWT is of whoever signed it; only the first is asked about here.
    let is_known = token.contains(realm) || token.starts_with("ey");
    let name = realm.replace("%20", " ");
    Behaviour::json(&match is_known {
        true => {
            json!({"active": true, "iss": format!("{REALMS}{name}"), "aud": "api", "scope": "read", "exp": now() + 600,
            "sub": "alice", "client_id": "app", "jti": "id-1"})
        }
        false => json!({"active": false}),
    })
}

fn minted(claims: &Value) -> String {
    Signer::new("ES256", "k1", 7).mint(json!({"typ": "at+jwt"}), claims)
}

#[test]
fn each_realm_is_asked_about_its_own_tokens() {
    let issuer = FaultyIssuer::start(realm);
    let gateway = Gateway::start(&realms(), &options(issuer.port));
    let read = |token: &str, tenant: Option<&str>| {
        let request = Request::get("/read").bearer(token);
        let request = match tenant {
            Some(tenant) => request.header("x-tenant-id", tenant),
            None => request,
        };
        gateway.send(&request)
    };
    let response = read("opaque-acme", Some("acme"));
    assert_eq!((response.status, response.upstream_saw("x-tenant")), (200, vec!["acme".to_owned()]));
    assert!(issuer.count("/realms/acme/introspect") > 0);
    assert_eq!(read("opaque-acme", Some("glob ex")).decision(), decision(401, "token_inactive"));
    assert!(issuer.count("/realms/glob%20ex/introspect") > 0);
    assert_eq!(
        read("opaque-acme", Some("acme")).status,
        200,
        "what another realm said is no word of this one"
    );
    let before = issuer.received().len();
    assert_eq!(read("opaque-acme", None).decision(), decision(401, "tenant_missing"));
    assert_eq!(read("opaque-acme", Some("../acme")).decision(), decision(401, "tenant_mismatch"));
    assert_eq!(issuer.received().len(), before, "nobody is asked without a tenant");

    // A JWT goes to the realm of its `iss`, and an encrypted one where the request says.
    let jwt = minted(&json!({"iss": format!("{REALMS}acme"), "aud": "api", "exp": now() + 600}));
    let response = read(&jwt, None);
    assert_eq!((response.status, response.upstream_saw("x-tenant")), (200, vec!["acme".to_owned()]));
    assert_eq!(read(&jwt, Some("glob ex")).decision(), decision(401, "tenant_mismatch"));
    let of_nobody = minted(&json!({"iss": format!("{REALMS}nobody"), "aud": "api", "exp": now() + 600}));
    assert_eq!(read(&of_nobody, None).decision(), decision(401, "issuer_unknown"));
    let encrypted = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(read(encrypted, Some("acme")).status, 200);
    assert_eq!(read(&format!("{encrypted}.x"), Some("acme")).decision(), decision(401, "token_malformed"));
}

#[test]
fn what_is_revoked_ends_on_every_worker_with_the_reload_and_a_remembered_answer_too() {
    let issuer = FaultyIssuer::start(realm);
    let signer = Signer::new("ES256", "k1", 7);
    let mut configuration = realms();
    configuration["providers"]["corp"] = json!({
        "issuer": "https://corp.example", "audiences": ["api"], "local_jwks": jwks([&signer]),
        "claims": {"tenant": ["tenant_id"]},
    });
    configuration["tenants"] =
        json!([{"id": "acme", "providers": ["kc", "corp"]}, {"id": "globex", "providers": ["corp"]}]);
    let options = options(issuer.port);
    let gateway = Gateway::start(&configuration, &options);
    let jwt = |tenant: &str, jti: &str| {
        let claims = json!({"iss": "https://corp.example", "aud": "api", "exp": now() + 600, "iat": now() - 10,
            "sub": "alice", "client_id": "app", "jti": jti, "tenant_id": tenant, "scope": "read"});
        Request::get("/read").bearer(&minted(&claims))
    };
    let opaque = Request::get("/read").bearer("opaque-acme").header("x-tenant-id", "acme");
    let (stolen, other, of_globex) = (jwt("acme", "id-2"), jwt("acme", "id-3"), jwt("globex", "id-3"));
    let mut connections: Vec<Connection> = (0..8).map(|_| Connection::open(gateway.port)).collect();
    let mut expect = |about: &str, expected: [&(u16, String); 4]| {
        for connection in &mut connections {
            for (request, expected) in [&opaque, &stolen, &other, &of_globex].into_iter().zip(expected) {
                assert_eq!(connection.send(request).decision(), *expected, "{about}");
            }
        }
    };
    let (passes, revoked) = (&decision(200, "-"), &decision(401, "token_revoked"));
    expect("remembered from here on", [passes; 4]);
    let asked = issuer.received().len();

    let revoking = |provider: &str, what: Value| {
        let mut changed = configuration.clone();
        changed["providers"][provider]["revoked"] = what;
        changed
    };
    for (changed, expected) in [
        (revoking("corp", json!({"jti": ["id-2"]})), [passes, revoked, passes, passes]),
        (revoking("kc", json!({"jti": ["id-1"]})), [revoked, passes, passes, passes]),
        (revoking("corp", json!({"issued_before": now()})), [passes, revoked, revoked, revoked]),
    ] {
        assert!(gateway.reload(&changed, &options), "{}", gateway.log());
        expect(&changed["providers"].to_string(), expected);
    }
    let mut of_tenant = configuration.clone();
    let names: Vec<String> =
        (0..100_000).map(|number| format!("user-{number}")).chain(["alice".to_owned()]).collect();
    of_tenant["tenants"][0]["revoked"] = json!({"subjects": names});
    assert!(gateway.reload(&of_tenant, &options), "{}", gateway.log());
    expect("a hundred thousand", [revoked, revoked, revoked, passes]);

    assert!(gateway.reload(&configuration, &options), "{}", gateway.log());
    expect("given back", [passes; 4]);
    assert_eq!(issuer.received().len(), asked, "remembered answers survive reloads that revoke");
}

#[test]
fn roles_beside_the_scopes_and_organizations_in_a_list_are_read() {
    let signer = Signer::new("ES256", "k1", 7);
    let mut configuration = realms();
    configuration["providers"] = json!({"kc": {
        "issuer": "https://kc.example", "audiences": ["api"], "local_jwks": jwks([&signer]), "profile": "rfc9068",
        "claims": {"additional_scopes": ["realm_access.roles", "urn:zitadel:iam:org:project:roles"],
            "tenant": ["organization"]},
    }});
    configuration["tenant_resolution"]["claim_lists"] = json!(true);
    let gateway = Gateway::start(&configuration, &options(1));
    let complete = json!({"iss": "https://kc.example", "aud": "api", "exp": now() + 600, "iat": now(), "jti": "id-1",
        "sub": "alice", "client_id": "app", "scope": "openid"});
    let send = |changes: &Value, tenant: Option<&str>| {
        let mut claims = complete.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let request = Request::get("/read").bearer(&minted(&claims));
        gateway.send(&match tenant {
            Some(tenant) => request.header("x-tenant-id", tenant),
            None => request,
        })
    };
    let keycloak =
        json!({"organization": {"acme": {"id": "1"}, "glob ex": {}}, "realm_access": {"roles": ["read"]}});
    let zitadel = json!({"organization": ["acme", "glob ex"], "urn:zitadel:iam:org:project:roles": {"read": {"1": "acme"}}});
    for claims in [&keycloak, &zitadel] {
        for tenant in ["acme", "glob ex"] {
            let response = send(claims, Some(tenant));
            assert_eq!(response.upstream_saw("x-tenant"), [tenant], "{} {claims}", response.text());
        }
        assert_eq!(send(claims, None).decision(), decision(401, "tenant_ambiguous"), "{claims}");
        assert_eq!(send(claims, Some("globex")).decision(), decision(401, "tenant_mismatch"), "{claims}");
    }
    let of_none = json!({"organization": "acme"});
    assert_eq!(send(&of_none, None).decision(), decision(403, "scope_not_associated_with_suite"));
    let of_no_profile = json!({"organization": "acme", "realm_access": {"roles": ["read"]}, "jti": null});
    assert_eq!(send(&of_no_profile, None).decision(), decision(401, "claim_missing"));
}

#[test]
fn keys_and_the_introspection_endpoint_are_where_the_issuers_metadata_says() {
    let signer = Signer::new("ES256", "k1", 7);
    let answering = |metadata: Value| {
        let keys = jwks([&signer]);
        move |received: &Received| match received.path.as_str() {
            "/.well-known/openid-configuration" => Behaviour::json(&metadata),
            "/keys" => Behaviour::json(&keys),
            "/ask" => {
                Behaviour::json(&json!({"active": true, "aud": "api", "scope": "read", "exp": now() + 600}))
            }
            _ => Behaviour::text(404, ""),
        }
    };
    let metadata = |jwks_uri: &str| {
        json!({"issuer": "https://login.example.com", "jwks_uri": jwks_uri,
            "introspection_endpoint": "https://login.example.com/ask"})
    };
    let mut configuration = realms();
    configuration["providers"] = json!({"corp": {
        "issuer": "https://login.example.com", "audiences": ["api"],
        "discovery": {"uri": "https://login.example.com/.well-known/openid-configuration", "cluster": "idp"},
        "introspection": {"client_auth": {"method": "none"}},
    }});
    configuration["tenants"] = json!([{"id": "acme"}]);
    let claims =
        json!({"iss": "https://login.example.com", "aud": "api", "exp": now() + 600, "scope": "read"});
    let (jwt, opaque) =
        (Request::get("/read").bearer(&minted(&claims)), Request::get("/read").bearer("opaque"));

    let issuer = FaultyIssuer::start(answering(metadata("https://login.example.com/keys")));
    let gateway = Gateway::start(&configuration, &options(issuer.port));
    for request in [&jwt, &opaque] {
        assert_eq!(gateway.send(request).decision(), decision(200, "-"), "{}", gateway.log());
    }
    assert!(issuer.count("/ask") > 0);

    let elsewhere = FaultyIssuer::start(answering(metadata("https://keys.example.net/keys")));
    let reloadable = Options { reloadable: true, ..options(elsewhere.port) };
    let other = Gateway::start(&configuration, &reloadable);
    for request in [&jwt, &opaque] {
        assert_eq!(other.send(request).decision(), decision(503, "keys_unavailable"));
    }
    assert_eq!(elsewhere.count("/keys"), 0);
    assert!(other.log().contains("`jwks_uri` of the metadata"), "{}", other.log());
    configuration["providers"]["corp"]["discovery"]["allowed_hosts"] =
        json!(["login.example.com", "keys.example.net"]);
    assert!(other.reload(&configuration, &reloadable), "{}", other.log());
    assert_eq!(other.send(&jwt).decision(), decision(200, "-"), "{}", other.log());
}

/// Runs the tool. It trusts the certificates that the machine trusts, or those in the file.
fn scopegate(arguments: &[&str], trusted: Option<&str>) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command.args(arguments).env_remove("NO_COLOR");
    if let Some(trusted) = trusted {
        command.env("CURL_CA_BUNDLE", trusted);
    }
    let Output { status, stdout, stderr } = command.output().expect("to run the tool");
    let text = [stdout, stderr].concat();
    (status.code().expect("an exit code"), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn check_and_explain_fetch_what_a_real_issuer_publishes() {
    let server = AuthorizationServer::start_as("", None);
    let directory = Directory::new("fetch");
    let configuration = json!({
        "version": 1,
        "providers": {"real": {"issuer": server.issuer, "audiences": ["billing-api"],
            "discovery": {"uri": format!("{}/.well-known/openid-configuration", server.issuer), "cluster": "idp"},
            "introspection": {"client_auth": {"method": "none"}}}},
        "tenants": [{"id": "acme"}],
        "suites": [{"name": "api", "operations": [{"name": "read", "path": "/read", "requires": ["read"]}]}],
    });
    let file = directory.file("gateway.json", configuration.to_string().as_bytes());
    let file = file.to_str().expect("a path");
    let resolve = format!("idp=http://127.0.0.1:{}", server.port);
    let (code, text) =
        scopegate(&["check", "--fetch", "--resolve", &resolve, "--format", "json", file], None);
    assert_eq!(code, 0, "{text}");
    let report: Value = serde_json::from_str(&text).expect("a report");
    let found = &report["issuers"][0];
    assert_eq!(found["metadata"]["issuer"], server.issuer, "{text}");
    assert!(
        found["metadata"]["endpoints"].as_array().unwrap().iter().all(|it| it["allowed"] == true),
        "{text}"
    );
    let published = server.jwks();
    let ids = |keys: &Value| {
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&found["key_set"]), ids(&published));

    let claims = json!({"iss": server.issuer, "aud": "billing-api", "exp": now() + 600, "scope": "read"});
    let token = server.mint(&json!({"header": {"alg": "RS256", "typ": "at+jwt"}, "claims": claims}));
    let token = directory.file("token.jwt", token.as_bytes());
    let request =
        ["explain", "--config", file, "--path", "/read", "--token", token.to_str().expect("a path")];
    let (code, text) = scopegate(&[&request[..], &["--fetch", "--resolve", &resolve]].concat(), None);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("the token is verified") && text.contains("found introspection_endpoint: "),
        "{text}"
    );
}

/// Answers as an issuer does, over TLS.
const TLS_ISSUER: &str = "
    const { createServer } = require('node:https');
    const [cert, key, keys] = process.argv.slice(1);
    const server = createServer({ cert, key }, (request, response) => {
        response.statusCode = request.headers.host === 'login.example.com' && request.url === '/keys' ? 200 : 404;
        response.end(keys);
    });
    process.stdin.on('end', () => process.exit(0)).resume();
    server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
";

#[test]
fn keys_are_fetched_over_tls_from_whom_the_machine_trusts() {
    let certificate = Certificate::for_host("login.example.com");
    let keys = jwks([&Signer::new("ES256", "k1", 7)]).to_string();
    let mut node = Command::new("node");
    // `--` keeps a certificate that begins with dashes from being an option.
    node.args(["-e", TLS_ISSUER, "--", &certificate.chain, &certificate.private_key, &keys]);
    let (_server, ready) = Server::announced("an issuer over TLS", &mut node);
    let directory = Directory::new("fetch-tls");
    let configuration = json!({
        "version": 1,
        "providers": {"corp": {"issuer": "https://login.example.com", "audiences": ["api"],
            "remote_jwks": {"uri": "https://login.example.com/keys", "cluster": "idp"}}},
        "tenants": [{"id": "acme"}],
        "suites": [{"name": "api", "operations": [{"name": "read", "path": "/read", "requires": ["read"]}]}],
    });
    let file = directory.file("gateway.json", configuration.to_string().as_bytes());
    let trusted = directory.file("ca.pem", certificate.chain.as_bytes());
    let resolve = format!("idp=https://127.0.0.1:{}", port_in(&ready));
    let arguments = ["check", "--fetch", "--resolve", &resolve, file.to_str().expect("a path")];
    let (code, text) = scopegate(&arguments, trusted.to_str());
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("key: `k1`, EC, ES256"), "{text}");

    let (code, text) = scopegate(&arguments, None);
    assert_eq!(code, 0, "{text}");
    let told =
        text.lines().find(|line| line.contains("could not be asked")).unwrap_or_else(|| panic!("{text}"));
    assert!(told.contains("certificate") && told.ends_with("[SG4101]"), "{told}");
}
