//! The RS and ES lines of the JWS corpus through a real Envoy, whose own crypto checks the signatures.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use scopegate_testing::harness::{Gateway, Options};
use scopegate_testing::http::Request;

const CORPUS: &str = include_str!("../fixtures/conformance/jws-cases.jsonl");

/// Refusals that come before a signature is known to be good.
const BEFORE_CLAIMS: [&str; 7] = [
    "token_malformed",
    "credential_malformed",
    "token_type_not_accepted",
    "algorithm_not_allowed",
    "issuer_unknown",
    "key_not_found",
    "signature_invalid",
];

fn is_rs_or_es(case: &Value) -> bool {
    let algorithm = case["alg"].as_str().unwrap_or_default();
    ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"].contains(&algorithm)
}

/// A configuration that lets whatever the case's key set and issuer vouch for pass, and nothing else.
fn configuration(case: &Value) -> Value {
    let mut provider = json!({
        "issuer": case["config"]["issuer"],
        "local_jwks": case["jwks"],
        "require_expiration": case["config"]["require_exp"],
    });
    match &case["config"]["audiences"] {
        Value::Null => provider["allow_any_audience"] = json!(true),
        audiences => provider["audiences"] = audiences.clone(),
    }
    json!({
        "version": 1,
        "providers": {"corpus": provider},
        "tenants": [{"id": "sole"}],
        "suites": [{"name": "suite", "operations": [{"name": "any", "path": "/", "access": "authenticated"}]}],
    })
}

#[test]
fn every_rs_and_es_line_of_the_corpus_is_decided_as_it_says() {
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in CORPUS.lines() {
        let case: Value = serde_json::from_str(line).expect("a line of JSON");
        if is_rs_or_es(&case) {
            groups.entry(configuration(&case).to_string()).or_default().push(case);
        }
    }
    let options = Options { reloadable: true, ..Options::default() };
    let mut running: Option<Gateway> = None;
    let (mut passed, mut refused) = (0, 0);
    for (configuration, cases) in &groups {
        let configuration: Value = serde_json::from_str(configuration).expect("what was just written");
        let gateway = Gateway::with(&mut running, &configuration, &options);
        for case in cases {
            let token = case["token"].as_str().expect("a token");
            let response = gateway.send(&Request::get("/").bearer(token));
            let (id, note) = (&case["id"], &case["note"]);
            if case["expect"] == "valid" {
                assert_eq!(response.status, 200, "{id}: {note}: {}", response.text());
                passed += 1;
                continue;
            }
            assert!(matches!(response.status, 400 | 401), "{id}: {note}: {}", response.status);
            refused += 1;
            let reason = response.json()["reason"].as_str().expect("a reason").to_owned();
            if case["expect_sig"] == "valid" {
                assert!(
                    !["signature_invalid", "key_not_found"].contains(&reason.as_str()),
                    "{id}: {note}: {reason}"
                );
            } else {
                assert!(BEFORE_CLAIMS.contains(&reason.as_str()), "{id}: {note}: {reason}");
            }
        }
    }
    assert_eq!((passed, refused), (5, 530));
}
