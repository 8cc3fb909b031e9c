//! Authorization servers of others as they are: each flow through the guard of their token endpoint and to the API, with keys,
//! introspection and revocation of their own. `make interop` prints the table of all servers; `make test` runs two of them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use scopegate_testing::harness::{
    AuthorizationServer, Directory, Gateway, Options, Server, port_in, port_named, wait_until,
};
use scopegate_testing::http::{self, Request, Response};

const REDIRECT: &str = "http://127.0.0.1:1/callback";

/// What is tried with each server.
const FLOWS: [&str; 12] = [
    "client credentials, JWT",
    "code, JWT",
    "refresh",
    "guard: reject",
    "guard: narrow",
    "own errors",
    "rotation",
    "discovery",
    "opaque, basic",
    "opaque, post",
    "opaque, bearer",
    "revocation",
];

fn interop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

/// A server that is up, and what it says of itself.
struct Peer {
    facts: Value,
    _servers: Vec<Server>,
    _authorization_server: Option<AuthorizationServer>,
}

impl Peer {
    fn start(command: &mut Command) -> Self {
        let (server, facts) = Server::announced("an authorization server", command);
        Self { facts, _servers: vec![server], _authorization_server: None }
    }

    fn node(name: &str) -> Self {
        Self::start(Command::new("node").arg(interop().join("servers").join(name)))
    }

    fn python(name: &str) -> Self {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".env/interop-python/bin/python");
        Self::start(Command::new(python).arg(interop().join("servers").join(name)))
    }

    /// Debian's, unpacked by `make interop`.
    fn glewlwyd() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".env/interop-python/bin/python");
        let script = interop().join("servers/glewlwyd_server.py");
        Self::start(Command::new(python).arg(script).arg(root.join(".env/glewlwyd")))
    }

    /// Debian's, unpacked by `make interop`.
    fn lemonldap_ng() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = interop().join("servers/lemonldap_server.py");
        Self::start(Command::new("python3").arg(script).arg(root.join(".env/lemonldap-ng")))
    }

    /// The one of the other tests.
    fn oidc_provider() -> Self {
        let resource = |format: &str| json!({"audience": "billing-api", "format": format, "scopes": ["billing:read", "billing:write", "billing:admin"]});
        let client = json!({"client_id": "billing-sync", "client_secret": "billing-sync-secret", "redirect_uris": [REDIRECT]});
        let gateway = |id: &str, method: &str| json!({"client_id": id, "client_secret": format!("{id}-secret"), "auth_method": method});
        let server = AuthorizationServer::start_as(
            "",
            Some(&json!({
                "default_resource": "urn:jwt", "interactive": true,
                "resources": {"urn:jwt": resource("jwt"), "urn:opaque": resource("opaque")},
                "clients": [client, gateway("gateway", "client_secret_basic"), gateway("gateway-post", "client_secret_post")],
            })),
        );
        let facts = json!({
            "port": server.port, "issuer": server.issuer, "token": "/oauth/token", "jwks": "/jwks.json",
            "introspection": "/oauth/introspect", "revocation": "/oauth/revoke", "authorization": "/auth",
            "metadata": "/.well-known/openid-configuration", "control": server.port, "rotate": "/test/rotate-keys",
            "formats": {"jwt": {"resource": "urn:jwt"}, "opaque": {"resource": "urn:opaque"}}, "methods": ["client_secret_basic"],
            "post_gateway": "gateway-post", "pkce": true, "cannot": {}, "provider": {"profile": "rfc9068"},
        });
        Self { facts, _servers: Vec::new(), _authorization_server: Some(server) }
    }

    fn text(&self, name: &str) -> &str {
        self.facts[name].as_str().unwrap_or_default()
    }

    fn port(&self) -> u16 {
        port_in(&self.facts)
    }

    fn uri(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}{}", self.port(), self.text(name))
    }

    /// The gateway's configuration for it.
    fn configuration(&self, on_unregistered_scope: &str, changes: &Value) -> Value {
        let mut provider =
            json!({"issuer": self.text("issuer"), "audiences": ["billing-api"], "clock_skew": "5s"});
        if !self.text("jwks").is_empty() {
            provider["remote_jwks"] = json!({"uri": self.uri("jwks"), "cluster": "as", "timeout": "5s"});
        }
        if !self.text("introspection").is_empty() {
            let client_auth = json!({"method": "client_secret_basic", "client_id": "gateway", "client_secret": {"value": "gateway-secret"}});
            provider["introspection"] = json!({
                "uri": self.uri("introspection"), "cluster": "as", "timeout": "5s", "client_auth": client_auth,
                "cache": {"max_ttl": "1s", "negative_ttl": "1s"},
            });
            overlay(&mut provider["introspection"], &self.facts["introspection_keys"]);
        }
        overlay(&mut provider, &self.facts["provider"]);
        overlay(&mut provider, changes);
        let scopes = ["billing:read", "billing:write"];
        let applications =
            ["billing-sync", "billing-app"].map(|id| json!({"client_id": id, "scopes": scopes}));
        json!({
            "version": 1,
            "providers": {"theirs": provider},
            "tenants": [{"id": "acme", "providers": ["theirs"], "applications": applications}],
            "suites": [{"name": "billing", "operations": [
                {"name": "list", "path": "/invoices", "methods": ["GET"], "requires": ["billing:read"]},
                {"name": "post", "path": "/invoices", "methods": ["POST"], "requires": ["billing:write"]},
            ]}],
            "token_endpoints": [{"path": self.text("token"), "on_unregistered_scope": on_unregistered_scope}],
        })
    }

    /// A gateway with this configuration: the running one, reloaded.
    fn gateway<'g>(
        &self,
        running: &'g mut Option<Gateway>,
        on_unregistered_scope: &str,
        changes: &Value,
    ) -> &'g Gateway {
        let token = self.text("token").to_owned();
        let bootstrap = move |bootstrap: &mut Value| {
            let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
                [0]["typed_config"];
            let routes = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
            let route = json!({"match": {"path": token}, "route": {"cluster": "as"}});
            routes.as_array_mut().expect("routes").insert(0, route);
        };
        let clusters = vec![("as".to_owned(), self.port())];
        let options = Options {
            clusters,
            reloadable: true,
            holds_headers: true,
            bootstrap: Box::new(bootstrap),
            ..Options::default()
        };
        Gateway::with(running, &self.configuration(on_unregistered_scope, changes), &options)
    }

    /// A token request through a gateway's guard.
    fn ask(&self, gateway: &Gateway, client: &str, form: &[(&str, &str)], format: Option<&str>) -> Response {
        let mut form = form.to_vec();
        let parameters = format.and_then(|format| self.facts["formats"][format].as_object()).cloned();
        let parameters = parameters.unwrap_or_default();
        form.extend(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("a text"))));
        let host = format!("127.0.0.1:{}", self.port());
        let request = Request::post(self.text("token")).basic(client, &format!("{client}-secret"));
        gateway.send(&request.header("host", host).form(&form))
    }

    /// The client that gets tokens of this format, where that is the client's own.
    fn client_of(&self, format: &str) -> &str {
        self.facts["clients"][format].as_str().unwrap_or("billing-sync")
    }

    fn client_credentials(&self, gateway: &Gateway, scope: &str, format: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("scope", scope)];
        access_token(&self.ask(gateway, self.client_of(format), &form, Some(format)))
    }

    /// The answer to a code that a user's login brought.
    fn code(&self, gateway: &Gateway, format: &str) -> Value {
        let client = self.facts["code_client"].as_str().unwrap_or("billing-sync");
        let scope = self.facts["code_scope"].as_str().unwrap_or("billing:read");
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", REDIRECT),
            ("scope", scope),
            ("state", "s"),
        ];
        // RFC 7636, appendix B.
        let pkce = self.facts["pkce"] == true;
        if pkce {
            parameters.push(("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
            parameters.push(("code_challenge_method", "S256"));
        }
        if let Some(resource) = self.facts["formats"][format]["resource"].as_str() {
            parameters.push(("resource", resource));
        }
        let query: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", scopegate::http::percent::encode(value)))
            .collect();
        let port = self.facts["authorization_port"].as_u64().unwrap_or(self.port().into());
        let url = format!("http://127.0.0.1:{port}{}?{}", self.text("authorization"), query.join("&"));
        let mut command = Command::new("node");
        command.arg(interop().join("code.mjs")).args(["--url", &url, "--redirect", REDIRECT]);
        let output = command.output().expect("to run node");
        let code = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!code.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut form =
            vec![("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", REDIRECT)];
        if pkce {
            form.push(("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        }
        let response = self.ask(gateway, client, &form, Some(format));
        access_token(&response);
        response.json()
    }

    /// The tool finds what the filter is going to find.
    fn check_fetches(&self, configuration: &Value) {
        let directory = Directory::new("interop");
        let file = directory.file("gateway.json", configuration.to_string().as_bytes());
        let mut tool = Command::new(env!("CARGO_BIN_EXE_scopegate"));
        let output =
            tool.args(["check", "--fetch", "--format", "json"]).arg(file).output().expect("to run the tool");
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        assert_eq!(output.status.code(), Some(0), "{report:#}");
        let found = &report["issuers"][0];
        assert_eq!(found["metadata"]["issuer"], self.text("issuer"), "{report:#}");
        let keys = found["key_set"]["keys"].as_array().expect("keys");
        assert!(keys.iter().any(|key| key["usable"] == true), "{report:#}");
    }

    /// A gateway that authenticates itself so is told that an opaque token is active.
    fn introspects(&self, running: &mut Option<Gateway>, client_auth: &Value) {
        let mut introspection =
            self.configuration("reject", &json!({}))["providers"]["theirs"]["introspection"].take();
        introspection["client_auth"] = client_auth.clone();
        let gateway = self.gateway(running, "reject", &json!({"introspection": introspection}));
        passes(gateway, &self.client_credentials(gateway, "billing:read", "opaque"));
    }

    /// Why a flow cannot work, where it cannot.
    fn why_not(&self, flow: &str) -> Option<&str> {
        let cannot = &self.facts["cannot"];
        let takes_none = flow == "opaque, bearer" && self.text("bearer_scope").is_empty();
        let why =
            || cannot["opaque, basic"].as_str().unwrap_or("its introspection endpoint takes no bearer token");
        cannot[flow].as_str().or_else(|| takes_none.then(why))
    }

    fn flow(&self, flow: &str, running: &mut Option<Gateway>) {
        let rule = if flow == "guard: narrow" { "narrow" } else { "reject" };
        let gateway = self.gateway(running, rule, &json!({}));
        let usual = if self.facts["formats"]["jwt"].is_object() { "jwt" } else { "opaque" };
        match flow {
            "client credentials, JWT" => {
                passes(gateway, &self.client_credentials(gateway, "billing:read", "jwt"))
            }
            "code, JWT" => {
                passes(gateway, self.code(gateway, "jwt")["access_token"].as_str().expect("a token"));
            }
            "refresh" => {
                let client = self.facts["code_client"].as_str().unwrap_or("billing-sync");
                let issued = self.code(gateway, usual);
                let refresh = issued["refresh_token"].as_str().expect("a refresh token");
                let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
                passes(gateway, &access_token(&self.ask(gateway, client, &form, Some(usual))));
                let more = [form[0], form[1], ("scope", "billing:admin")];
                let refused = self.ask(gateway, client, &more, None);
                assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_scope")));
            }
            "guard: reject" => {
                let form = [("grant_type", "client_credentials"), ("scope", "billing:read billing:admin")];
                let refused = self.ask(gateway, "billing-sync", &form, None);
                assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_scope")));
                assert!(refused.text().contains("billing:admin"), "{}", refused.text());
            }
            "guard: narrow" => {
                let token = self.client_credentials(gateway, "billing:read billing:admin", usual);
                passes(gateway, &token);
                let refused = gateway.send(&Request::post("/invoices").bearer(&token));
                assert_eq!(refused.decision(), (403, "scope_not_granted".to_owned()));
                // Without a scope it asks for those of the application.
                let form = [("grant_type", "client_credentials")];
                let all = access_token(&self.ask(gateway, "billing-sync", &form, Some(usual)));
                assert_eq!(gateway.send(&Request::post("/invoices").bearer(&all)).status, 200);
            }
            "own errors" => {
                let token = self.text("token");
                let form = [("grant_type", "client_credentials"), ("scope", "billing:read")];
                let wrong = Request::post(token).basic("billing-sync", "wrong").form(&form);
                let (through, direct) = (gateway.send(&wrong), http::send(self.port(), &wrong));
                assert!(matches!(through.status, 400..=403), "{}", through.text());
                assert_eq!((through.status, through.text()), (direct.status, direct.text()));
            }
            "rotation" => {
                passes(gateway, &self.client_credentials(gateway, "billing:read", "jwt"));
                let rotate = self.facts["rotate"].as_str().unwrap_or("/rotate");
                let control = port_named(&self.facts, "control");
                let rotated = http::send(control, &Request::post(rotate).json(&json!({"keep_old": false})));
                assert_eq!(rotated.status, 200, "{}", rotated.text());
                for _ in 0..3 {
                    passes(gateway, &self.client_credentials(gateway, "billing:read", "jwt"));
                }
            }
            "discovery" => {
                let discovery =
                    json!({"remote_jwks": null, "discovery": {"uri": self.uri("metadata"), "cluster": "as"}});
                self.check_fetches(&self.configuration("reject", &discovery));
                let discovering = self.gateway(running, "reject", &discovery);
                passes(discovering, &self.client_credentials(discovering, "billing:read", "jwt"));
            }
            "opaque, basic" => passes(gateway, &self.client_credentials(gateway, "billing:read", "opaque")),
            "opaque, post" => {
                let id = self.facts["post_gateway"].as_str().unwrap_or("gateway");
                self.introspects(running, &json!({"method": "client_secret_post", "client_id": id, "client_secret": {"value": format!("{id}-secret")}}));
            }
            "opaque, bearer" => {
                let form = [("grant_type", "client_credentials"), ("scope", self.text("bearer_scope"))];
                let request =
                    Request::post(self.text("token")).basic("gateway", "gateway-secret").form(&form);
                let token = access_token(&http::send(self.port(), &request));
                self.introspects(running, &json!({"method": "bearer", "token": {"value": token}}));
            }
            "revocation" => {
                let format = if self.facts["formats"]["opaque"].is_object() { "opaque" } else { "jwt" };
                let token = self.client_credentials(gateway, "billing:read", format);
                passes(gateway, &token);
                let request =
                    Request::post(self.text("revocation")).basic("billing-sync", "billing-sync-secret");
                let revoked = http::send(self.port(), &request.form(&[("token", &token)]));
                assert_eq!(revoked.status, 200, "{}", revoked.text());
                wait_until("the revoked token is refused", || {
                    gateway.send(&Request::get("/invoices").bearer(&token)).decision()
                        == (401, "token_inactive".to_owned())
                });
            }
            other => panic!("no flow is called {other}"),
        }
    }

    /// What each flow comes to: nothing, the reason why it cannot work, or why it does not.
    fn outcomes(&self) -> BTreeMap<&'static str, Outcome> {
        let mut running = None;
        let mut outcome = |flow: &'static str| match self.why_not(flow) {
            Some(reason) => Outcome::Cannot(reason.to_owned()),
            None => match catch_unwind(AssertUnwindSafe(|| self.flow(flow, &mut running))) {
                Ok(()) => Outcome::Works,
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    Outcome::Fails(text.unwrap_or_else(|| "see above".to_owned()))
                }
            },
        };
        FLOWS.into_iter().map(|flow| (flow, outcome(flow))).collect()
    }
}

enum Outcome {
    Works,
    Cannot(String),
    Fails(String),
}

/// `value` with the members of `changes`; `null` takes one out.
fn overlay(value: &mut Value, changes: &Value) {
    let members = value.as_object_mut().expect("an object");
    for (name, change) in changes.as_object().unwrap_or(&Map::new()) {
        match change {
            Value::Null => drop(members.remove(name)),
            change => drop(members.insert(name.clone(), change.clone())),
        }
    }
}

#[track_caller]
fn access_token(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["access_token"].as_str().expect("an access token").to_owned()
}

#[track_caller]
fn passes(gateway: &Gateway, token: &str) {
    let response = gateway.send(&Request::get("/invoices").bearer(token));
    assert_eq!(response.status, 200, "{} {token}\n{}", response.text(), gateway.log());
    let forged = gateway.send(&Request::get("/invoices").bearer(&format!("{token}x")));
    assert_eq!(forged.status, 401, "{} {token}\n{}", forged.text(), gateway.log());
}

/// A server's name, and how it is started.
type Named<'n> = (&'n str, fn() -> Peer);

fn assert_none_fails(all: &[Named<'_>]) {
    let wanted = std::env::var("SCOPEGATE_INTEROP").unwrap_or_default();
    let is_wanted = |name: &&str| wanted.is_empty() || wanted.split(',').any(|one| one == *name);
    let peers: Vec<(&str, Peer)> =
        all.iter().filter(|(name, _)| is_wanted(name)).map(|(name, start)| (*name, start())).collect();
    let mut table = format!("\n{:24}", "");
    for (name, _) in &peers {
        table.push_str(&format!("  {name:<20}"));
    }
    let outcomes: Vec<(&str, BTreeMap<&str, Outcome>)> =
        peers.iter().map(|(name, peer)| (*name, peer.outcomes())).collect();
    let mut notes = String::new();
    let mut failures = 0;
    for flow in FLOWS {
        table.push_str(&format!("\n{flow:24}"));
        for (name, of_flow) in &outcomes {
            let word = match &of_flow[flow] {
                Outcome::Works => "works",
                Outcome::Cannot(reason) => {
                    notes.push_str(&format!("{name}, {flow}: {reason}\n"));
                    "cannot"
                }
                Outcome::Fails(why) => {
                    failures += 1;
                    notes.push_str(&format!("{name}, {flow}: FAILS: {why}\n"));
                    "FAILS"
                }
            };
            table.push_str(&format!("  {word:<20}"));
        }
    }
    println!("{table}\n\n{notes}");
    assert_eq!(failures, 0, "{table}\n\n{notes}");
}

#[test]
fn servers_that_install_in_seconds_work_in_each_flow_that_they_have() {
    assert_none_fails(&[
        ("oauth2-mock-server", || Peer::node("oauth2-mock-server.mjs")),
        ("node-oauth", || Peer::node("node-oauth.mjs")),
    ]);
}

#[test]
#[ignore = "installs servers: `make interop`"]
fn interop_prints_every_server_and_flow() {
    assert_none_fails(&[
        ("oidc-provider", Peer::oidc_provider),
        ("oauth2-mock-server", || Peer::node("oauth2-mock-server.mjs")),
        ("node-oauth", || Peer::node("node-oauth.mjs")),
        ("Authlib", || Peer::python("authlib_server.py")),
        ("django-oauth-toolkit", || Peer::python("django_server.py")),
        ("glewlwyd", Peer::glewlwyd),
        ("lemonldap-ng", Peer::lemonldap_ng),
    ]);
}
