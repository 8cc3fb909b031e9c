//! The pages of `docs/issuers/`: each holds its configuration as it stands beside it, and a token of the provider's that it
//! lets through, and does what its case file says.

#![cfg(feature = "tool")]

use std::fs;
use std::path::Path;

use scopegate::config::yaml_to_json;
use scopegate_testing::harness::Directory;
use scopegate_testing::mint::{Signer, jwks};
use serde_json::{Value, json};

use crate::gateway::{Call, Gateway, NOW};
use crate::tool::scopegate;

const NAMES: [&str; 12] = [
    "auth0",
    "authlib",
    "cognito",
    "entra-id",
    "glewlwyd",
    "keycloak",
    "kubernetes",
    "lemonldap-ng",
    "oidc-provider",
    "okta",
    "ping",
    "zitadel",
];

fn read(name: &str) -> String {
    let path = format!("docs/issuers/{name}");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The JSON blocks of a page: the token's header and payload.
fn token_of(page: &str) -> [Value; 2] {
    let mut blocks = page.split("```json\n").skip(1).map(|block| {
        serde_json::from_str(block.split("```").next().unwrap())
            .unwrap_or_else(|error| panic!("{error}: {block}"))
    });
    [blocks.next().expect("a header"), blocks.next().expect("a payload")]
}

#[test]
fn each_page_shows_its_configuration_as_it_is_and_a_token_that_it_lets_through() {
    for name in NAMES {
        let (page, yaml) = (read(&format!("{name}.md")), read(&format!("{name}.yaml")));
        assert!(page.contains(&format!("```yaml\n{yaml}```\n")), "{name}");
        for linked in [format!("({name}.yaml)"), format!("({name}_test.yaml)"), format!("--issuer {name}`")] {
            assert!(page.contains(&linked), "{name} {linked}");
        }
        assert!(page.contains("\n## Traps\n\n- "), "{name}");
        assert!(read("README.md").contains(&format!("]({name}.md) |")), "{name}");

        let [mut header, payload] = token_of(&page);
        assert_eq!(header["alg"], "RS256", "{name}");
        let signer = Signer::new("RS256", header["kid"].as_str().unwrap(), 1);
        let mut config = yaml_to_json(&yaml).unwrap();
        let providers = config["providers"].as_object_mut().unwrap();
        assert_eq!(providers.len(), 1, "{name}");
        let provider = providers.values_mut().next().unwrap().as_object_mut().unwrap();
        // Its keys, as if they had been fetched.
        provider.remove("remote_jwks").expect("keys that are fetched");
        provider.insert("local_jwks".to_owned(), jwks([&signer]));
        if header.get("typ").is_none() {
            header["typ"] = json!(null);
        }
        let token = signer.mint(header, &payload);
        let mut gateway = Gateway::new(&config);
        gateway.now = std::time::Duration::from_secs(NOW + 10);
        let outcome = gateway.call(&Call::get("/acme/invoices").bearer(&token));
        assert_eq!(outcome.brief(), "acme", "{name}: {outcome:?}");
    }
    let pages = fs::read_dir("docs/issuers").unwrap().filter_map(Result::ok);
    let pages = pages.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "md"));
    assert_eq!(pages.count(), NAMES.len() + 1, "each has its place in `NAMES`");
}

#[test]
fn each_configuration_passes_check_and_does_what_its_case_file_says() {
    for name in NAMES {
        let run = scopegate(&["check", &format!("docs/issuers/{name}.yaml")]);
        assert_eq!(run.code, 0, "{} {}", run.out, run.err);
    }
    let run = scopegate(&["test", "docs/issuers/", "--format", "json"]);
    let report: Value = serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {}", run.err));
    assert_eq!(run.code, 0, "{report:#}");
    let files = report["files"].as_array().unwrap();
    assert_eq!(files.len(), NAMES.len());
    for file in files {
        assert!(file["cases"].as_array().unwrap().len() >= 5, "{}", file["file"]);
    }
}

#[test]
fn shapes_that_no_page_has_are_decided_as_their_case_file_says() {
    let run = scopegate(&["test", "tests/fixtures/issuers/"]);
    assert_eq!(run.code, 0, "{}", run.out);
}

#[test]
fn init_writes_a_pages_configuration_with_its_cases_and_replaces_nothing() {
    let directory = Directory::new("init");
    for name in NAMES {
        let path = directory.join(format!("{name}-gateway.yaml"));
        let path = path.to_str().unwrap();
        let run = scopegate(&["init", "--issuer", name, "-o", path]);
        assert_eq!(run.code, 0, "{}", run.err);
        assert_eq!(fs::read_to_string(path).unwrap(), read(&format!("{name}.yaml")));
        let again = scopegate(&["init", "--issuer", name, "-o", path]);
        assert_eq!((again.code, again.out.as_str()), (2, ""));
        assert!(again.err.contains("is there already"), "{}", again.err);
    }
    let run = scopegate(&["test", directory.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.out);

    let printed = scopegate(&["init", "--issuer", "okta", "-o", "-"]);
    assert_eq!((printed.code, printed.out), (0, read("okta.yaml")));
    assert!(!Path::new("gateway.yaml").exists());
    let unknown = scopegate(&["init", "--issuer", "keyclock", "-o", "-"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.err.contains("no page for `keyclock`; did you mean `keycloak`?; there are auth0, "),
        "{}",
        unknown.err
    );
}
