//! The companion tool says of a request what the filter in the real Envoy answered to it.

use std::process::Command;

use serde_json::Value;

use scopegate_testing::harness::Gateway;
use scopegate_testing::http::{self, Request};

/// Whether Envoy hands the filter the path that the client sent: it normalises paths first.
fn reaches_the_filter_as_sent(request: &Request) -> bool {
    let path = String::from_utf8_lossy(&request.path).to_lowercase();
    !["//", "/.", "%2", "%5c", "\\"].iter().any(|odd| path.contains(odd))
}

/// What `scopegate explain` says: the status, and the reason of a refusal or `-`. None where the request cannot be given
/// on a command line.
pub fn explained(gateway: &Gateway, scheme: &str, request: &Request) -> Option<(u16, String)> {
    if !reaches_the_filter_as_sent(request) {
        return None;
    }
    let configuration = gateway.configuration.read().expect("a lock").clone();
    let file = gateway.file("explained.json", configuration.to_string().as_bytes());
    let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command
        .args(["explain", "--format", "json", "--scheme", scheme, "--method", &request.method])
        .arg("--config")
        .arg(file);
    command.arg("--path").arg(std::str::from_utf8(&request.path).ok()?);
    let mut token = None;
    for (name, value) in &request.headers {
        let (name, value) = (std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?);
        if name.eq_ignore_ascii_case("host") {
            command.args(["--host", value]);
            continue;
        }
        token = token.or_else(|| value.strip_prefix("Bearer "));
        command.arg("--header").arg(format!("{name}: {value}"));
    }
    if !request.body.is_empty() && gateway_guards(&configuration, request) {
        command.arg("--body").arg(gateway.file("explained.body", &request.body));
    }
    for (name, provider) in configuration["providers"].as_object()? {
        if let Some(keys) = provider["remote_jwks"].as_object() {
            let jwks = http::send(port(gateway, &keys["cluster"])?, &Request::get(path_of(&keys["uri"])?));
            let file = gateway.file("explained.jwks", &jwks.body);
            command.arg("--jwks").arg(format!("{name}={}", file.display()));
        }
        if let (Some(introspection), Some(token)) = (provider["introspection"].as_object(), token) {
            let gateway_client = introspection["client_auth"]["client_id"].as_str()?;
            let secret = format!("{gateway_client}-secret");
            let ask = Request::post(path_of(&introspection["uri"])?)
                .basic(gateway_client, &secret)
                .form(&[("token", token)]);
            let answer = http::send(port(gateway, &introspection["cluster"])?, &ask);
            if answer.status == 200 {
                command.arg("--introspection").arg(gateway.file("explained.introspection", &answer.body));
            }
        }
    }
    let output = command.output().expect("to run the companion tool");
    let Ok(told) = serde_json::from_slice::<Value>(&output.stdout) else {
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    };
    if let Some(token) = token.filter(|token| token.len() > 40) {
        assert!(!String::from_utf8_lossy(&output.stdout).contains(token), "the token is told");
    }
    let status = told["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    Some((status, told["reason"].as_str().unwrap_or("-").to_owned()))
}

fn gateway_guards(configuration: &Value, request: &Request) -> bool {
    let endpoints = configuration["token_endpoints"].as_array();
    endpoints.is_some_and(|endpoints| {
        endpoints
            .iter()
            .any(|endpoint| request.path == endpoint["path"].as_str().unwrap_or_default().as_bytes())
    })
}

fn port(gateway: &Gateway, cluster: &Value) -> Option<u16> {
    gateway.clusters.iter().find(|(name, _)| *cluster == **name).map(|(_, port)| *port)
}

fn path_of(uri: &Value) -> Option<&str> {
    let behind_scheme = uri.as_str()?.split_once("://")?.1;
    behind_scheme.find('/').map(|at| &behind_scheme[at..])
}
