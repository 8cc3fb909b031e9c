//! `--fetch`: what issuers publish, honest and otherwise, as `check` and `explain` tell it.

#![cfg(feature = "tool")]

use std::path::PathBuf;

use scopegate_testing::harness::Directory;
use scopegate_testing::mint::{Signer, jwks};
use serde_json::{Value, json};

use crate::tool::{Run, answering, scopegate};

const ISSUER: &str = "https://login.example.com";
const NOW: u64 = 1_800_000_000;

/// An issuer at a port on loopback, which answers each path with a status and a body.
fn issuer(answers: &[(&str, u16, Value)]) -> String {
    let answers: Vec<(String, u16, Value)> =
        answers.iter().map(|(path, status, body)| ((*path).to_owned(), *status, body.clone())).collect();
    answering(move |request| {
        assert!(request.to_lowercase().contains("\r\nhost: login.example.com\r\n"), "{request}");
        let path = request.split(' ').nth(1).unwrap();
        answers
            .iter()
            .find(|(known, ..)| known == path)
            .map_or((404, String::new()), |(_, status, body)| (*status, body.to_string()))
    })
}

const METADATA: &str = "/.well-known/openid-configuration";

fn metadata(issuer: &str, jwks_uri: &str) -> Value {
    json!({"issuer": issuer, "jwks_uri": jwks_uri, "introspection_endpoint": format!("{ISSUER}/introspect")})
}

fn signer() -> Signer {
    Signer::new("ES256", "k1", 7)
}

/// Keys, among them one for other purposes.
fn keys() -> Value {
    let mut keys = jwks([&signer()]);
    let mut for_encryption = jwks([&Signer::new("ES256", "enc", 8)])["keys"][0].clone();
    for_encryption["use"] = json!("enc");
    keys["keys"].as_array_mut().unwrap().push(for_encryption);
    keys
}

const CONFIGURATION: &str = "\
version: 1
providers:
  corp:
    issuer: https://login.example.com
    audiences: [api]
    algorithms: [ES256]
    discovery: {uri: https://login.example.com/.well-known/openid-configuration, cluster: idp}
    introspection: {client_auth: {method: none}}
tenants: [{id: acme}]
suites: [{name: api, operations: [{name: read, path: /read, requires: [read]}]}]
";

/// A configuration in a file of its own.
struct File {
    _directory: Directory,
    path: PathBuf,
}

impl File {
    fn new(name: &str, text: &str) -> Self {
        let directory = Directory::new("fetch");
        let path = directory.file(name, text.as_bytes());
        Self { _directory: directory, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

fn check(configuration: &File, address: &str, more: &[&str]) -> Run {
    let resolve = format!("idp={address}");
    scopegate(&[&["check", "--fetch", "--resolve", &resolve, configuration.path()], more].concat())
}

#[test]
fn check_shows_what_an_honest_issuer_publishes() {
    let address =
        issuer(&[(METADATA, 200, metadata(ISSUER, &format!("{ISSUER}/keys"))), ("/keys", 200, keys())]);
    let file = File::new("honest.yaml", CONFIGURATION);
    let run = check(&file, &address, &[]);
    let expected = format!(
        "\
provider `corp`
    metadata: {ISSUER}{METADATA}
    issuer: {ISSUER}, the provider's
    jwks_uri: {ISSUER}/keys, at an allowed host
    introspection_endpoint: {ISSUER}/introspect, at an allowed host
    keys: {ISSUER}/keys
    key: `k1`, EC, ES256
    key: `enc`, EC, not used: not meant for verifying signatures
{}: valid, 0 errors, 0 warnings
",
        file.path()
    );
    assert_eq!((run.code, run.out, run.err), (0, expected, String::new()));

    let report: Value = serde_json::from_str(&check(&file, &address, &["--format", "json"]).out).unwrap();
    let found = &report["issuers"][0];
    assert_eq!(
        (&found["provider"], &found["metadata"]["issuer_is_the_providers"]),
        (&json!("corp"), &json!(true))
    );
    assert_eq!(
        found["metadata"]["endpoints"][0],
        json!({"name": "jwks_uri", "uri": format!("{ISSUER}/keys"), "allowed": true, "used": true})
    );
    assert_eq!(
        found["key_set"]["keys"][0],
        json!({"kid": "k1", "kty": "EC", "algorithms": ["ES256"], "usable": true, "unused": null})
    );
    assert!(scopegate(&["check", "--format", "json", file.path()]).out.find("issuers").is_none());
}

#[test]
fn what_the_filter_would_not_go_by_is_an_error_at_its_place_with_a_code() {
    let elsewhere = || metadata(ISSUER, "https://keys.example.net/keys");
    let honest = || metadata(ISSUER, &format!("{ISSUER}/keys"));
    let mut private = keys();
    private["keys"][0]["d"] = json!("AAAA");
    let rsa = jwks([&Signer::new("RS256", "r1", 1)]);
    for (name, answers, severity, code, message) in [
        (
            "another",
            vec![(METADATA, 200, metadata("https://login.example.com/", &format!("{ISSUER}/keys")))],
            "error",
            "SG4001",
            "`issuer` of the metadata is not the provider's, but `https://login.example.com/`",
        ),
        (
            "elsewhere",
            vec![(METADATA, 200, elsewhere())],
            "error",
            "SG4001",
            "at a host that `discovery.allowed_hosts` does not name, or without TLS: `https://keys.example.net/keys`; allowed: \
             login.example.com",
        ),
        (
            "plain",
            vec![(METADATA, 200, metadata(ISSUER, "http://login.example.com/keys"))],
            "error",
            "SG4001",
            "or without TLS: `http://login.example.com/keys`",
        ),
        (
            "nothing",
            vec![(METADATA, 200, json!({"issuer": ISSUER}))],
            "error",
            "SG4001",
            "`jwks_uri` is not there",
        ),
        ("list", vec![(METADATA, 200, json!([]))], "error", "SG4001", "the body is not a JSON object"),
        ("missing", vec![], "error", "SG4003", "could not be asked: status 404"),
        (
            "moved",
            vec![(METADATA, 302, honest()), ("/elsewhere", 200, honest())],
            "error",
            "SG4003",
            "status 302",
        ),
        ("down", vec![(METADATA, 503, honest())], "warning", "SG4101", "could not be asked: status 503"),
        (
            "no-set",
            vec![(METADATA, 200, honest()), ("/keys", 200, json!({}))],
            "error",
            "SG4002",
            "has no array `keys`",
        ),
        (
            "other-keys",
            vec![(METADATA, 200, honest()), ("/keys", 200, rsa)],
            "error",
            "SG4002",
            "none of its 1 keys verifies any of ES256",
        ),
        (
            "private",
            vec![(METADATA, 200, honest()), ("/keys", 200, private)],
            "warning",
            "SG4102",
            "replace the key",
        ),
    ] {
        let file = File::new(&format!("{name}.yaml"), CONFIGURATION);
        let run = check(&file, &issuer(&answers), &[]);
        let line = run.out.lines().find(|line| line.contains(message));
        let line = line.unwrap_or_else(|| panic!("{name}: {}", run.out));
        let place = format!("{}:7:16: {severity}: providers.corp.discovery: ", file.path());
        assert!(line.starts_with(&place) && line.ends_with(&format!("[{code}]")), "{line}");
        // A private key is the only one of its set that could have been used.
        assert_eq!(run.code, i32::from(severity == "error" || name == "private"), "{}", run.out);
    }
}

#[test]
fn an_issuer_that_cannot_be_reached_from_here_is_a_warning() {
    let file = File::new("unreachable.yaml", CONFIGURATION);
    let run = check(&file, "http://127.0.0.1:1", &[]);
    assert_eq!(run.code, 0, "{}", run.out);
    assert!(run.out.contains("warning: providers.corp.discovery: "), "{}", run.out);
    assert!(run.out.contains("provider `corp`\n    nothing: no answer that can be read\n"), "{}", run.out);
    assert!(
        run.out.contains("(cluster `idp`) could not be asked: ") && run.out.contains("[SG4101]"),
        "{}",
        run.out
    );
    assert_eq!(check(&file, "http://127.0.0.1:1", &["--deny-warnings"]).code, 1);

    let of_files = File::new("local.yaml", &CONFIGURATION.replace("    discovery: {uri: https://login.example.com/.well-known/openid-configuration, cluster: idp}\n    introspection: {client_auth: {method: none}}\n", "    introspection: {uri: https://login.example.com/ask, cluster: idp, client_auth: {method: none}}\n"));
    let asked = scopegate(&["check", "--fetch", of_files.path()]);
    assert_eq!((asked.code, asked.out.contains("valid, 0 errors")), (0, true), "{}", asked.out);
    assert_eq!(asked.err, "scopegate: note: no provider has keys that are fetched, so no issuer was asked\n");

    let resolved = scopegate(&["check", "--resolve", "idp=http://127.0.0.1:1", file.path()]);
    assert_eq!(resolved.code, 2, "without `--fetch` it would mean nothing");
    assert_eq!(scopegate(&["check", "--fetch", "--resolve", "idp", file.path()]).code, 2);
}

#[test]
fn each_tenants_issuer_is_asked_by_the_name_that_it_answers_to() {
    let configuration = CONFIGURATION
        .replace("issuer: https://login.example.com", "issuer: https://login.example.com/{tenant}")
        .replace(
            "{uri: https://login.example.com/.well-known/openid-configuration,",
            "{uri: 'https://login.example.com/{tenant}/.well-known/openid-configuration',",
        )
        .replace("[{id: acme}]", "[{id: acme, aliases: [4711]}, {id: globex}]")
        .replace("4711", "\"4711\"");
    let file = File::new("tenants.yaml", &configuration);
    let of = |tenant: &str| metadata(&format!("{ISSUER}/{tenant}"), &format!("{ISSUER}/keys"));
    let address = issuer(&[
        ("/4711/.well-known/openid-configuration", 200, of("4711")),
        ("/globex/.well-known/openid-configuration", 200, of("4711")),
        ("/keys", 200, keys()),
    ]);
    let run = check(&file, &address, &[]);
    assert_eq!(run.code, 1, "{}", run.out);
    assert!(run.out.contains("provider `corp`, tenant `4711`\n"), "{}", run.out);
    assert!(run.out.contains("tenant `globex`: the metadata at"), "{}", run.out);
    assert!(run.out.contains("1 error, 0 warnings"), "{}", run.out);
    let chosen = check(&file, &address, &["--tenant", "4711"]);
    assert_eq!(chosen.code, 0, "{}", chosen.out);
}

#[test]
fn explain_shows_what_discovery_found_in_a_file_or_at_the_issuer() {
    let file = File::new("explain.yaml", CONFIGURATION);
    let claims = json!({"iss": ISSUER, "aud": "api", "exp": NOW + 600, "scope": "read"});
    let token = File::new("explain.jwt", &signer().mint(json!({"typ": "at+jwt"}), &claims));
    let keys_file = File::new("explain-keys.json", &keys().to_string());
    let explain = |more: &[&str]| {
        let now = NOW.to_string();
        let request =
            ["explain", "--config", file.path(), "--path", "/read", "--token", token.path(), "--now", &now];
        scopegate(&[&request, more].concat())
    };
    let honest = metadata(ISSUER, &format!("{ISSUER}/keys"));
    let metadata_file = File::new("explain-metadata.json", &honest.to_string());
    let (metadata_of, keys_of) =
        (format!("corp={}", metadata_file.path()), format!("corp={}", keys_file.path()));
    let address = issuer(&[(METADATA, 200, honest), ("/keys", 200, keys())]);
    let resolve = format!("idp={address}");
    for more in [
        &["--discovery", &metadata_of, "--jwks", &keys_of][..],
        &["--fetch", "--resolve", &resolve],
        &["--fetch", "--resolve", &resolve, "--jwks", &keys_of],
    ] {
        let run = explain(more);
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
        for line in [
            "provider's metadata gives: jwks_uri and introspection_endpoint, at the hosts login.example.com",
            "keys: provider `corp` was asked (cluster `idp`, https://login.example.com/.well-known/openid-configuration); it \
             answered",
            "found issuer: https://login.example.com, the provider's",
            "found jwks_uri: https://login.example.com/keys, at an allowed host",
            "found key: `k1`, EC, ES256",
        ] {
            assert!(run.out.contains(line), "{line}\n{}", run.out);
        }
    }

    let lying =
        File::new("explain-lying.json", &metadata(ISSUER, "https://keys.example.net/keys").to_string());
    let run = explain(&["--discovery", &format!("corp={}", lying.path()), "--jwks", &keys_of]);
    assert_eq!(run.code, 1);
    for line in [
        "refused keys_unavailable",
        "found jwks_uri: https://keys.example.net/keys, not allowed",
        "found wrong: the metadata at https://login.example.com/.well-known/openid-configuration: `jwks_uri` of the metadata",
    ] {
        assert!(run.out.contains(line), "{line}\n{}", run.out);
    }
    let run = explain(&["--discovery", &metadata_of]);
    assert!(run.out.contains("could not be asked: no file was given"), "{}", run.out);

    // An opaque token is introspected where the metadata says.
    let opaque = File::new("explain-opaque", "opaque");
    let active =
        json!({"active": true, "aud": "api", "exp": NOW + 600, "scope": "read", "token_type": "Bearer"});
    let answer = File::new("explain-answer.json", &active.to_string());
    let request = ["explain", "--config", file.path(), "--path", "/read", "--token", opaque.path()];
    let answers = ["--introspection", answer.path(), "--now", "1800000000"];
    let fetched = scopegate(&[&request[..], &answers, &["--fetch", "--resolve", &resolve]].concat());
    assert_eq!(fetched.code, 0, "{}", fetched.out);
    assert!(
        fetched.out.contains("found introspection_endpoint: https://login.example.com/introspect"),
        "{}",
        fetched.out
    );

    let books = [
        "explain",
        "--config",
        "tests/fixtures/tool/books.yaml",
        "--path",
        "/acme/books",
        "--discovery",
        &metadata_of,
    ];
    let run = scopegate(&books);
    assert_eq!(
        (run.code, run.err.as_str()),
        (2, "scopegate: --discovery: provider `corp` has no `discovery`\n")
    );
}
