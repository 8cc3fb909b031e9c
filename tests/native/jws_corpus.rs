//! Wycheproof's JWS, JWK and JWE vectors and the examples of RFC 7515, 7519, 7520, 7797 and 8037, each decided as an
//! access token and at the level of the signature.

use std::time::Duration;

use scopegate::authenticate::{AudienceRule, Jws, TenantPattern, TokenRules, UntrustedToken, looks_like_jwt};
use scopegate::jose::json::{Object, Value, parse_object};
use scopegate::jose::{AlgorithmSet, KeySet, KeySource, PureVerifier};

const CORPUS: &str = include_str!("../fixtures/conformance/jws-cases.jsonl");

/// 2026-01-01. The corpus holds for clocks from 2025-01-02 to 2033-05-29.
const NOW: Duration = Duration::from_secs(1_767_225_600);

const CASES: usize = 872;
const VALID_TOKENS: usize = 8;
const VALID_SIGNATURES: usize = 49;

/// Wycheproof calls these valid: signatures with PS384 by a key whose `alg` is PS256 (RFC 7520 figure 20, whose key
/// has no `alg`). It calls a PS384 signature by a key whose `alg` is PS512 invalid (tcId 340), and so is every
/// signature with another algorithm than the key's here (RFC 7517 section 4.4).
const BY_A_KEY_FOR_ANOTHER_ALGORITHM: [&str; 2] =
    ["C2SP-wycheproof-dac1dd47-jws-346", "C2SP-wycheproof-dac1dd47-jws-350"];

#[test]
fn every_case_of_the_corpus_is_decided_as_it_says() {
    let (mut cases, mut valid_tokens, mut valid_signatures) = (0, 0, 0);
    let mut wrong = Vec::new();
    for line in CORPUS.lines() {
        let mut case: Value = serde_json::from_str(line).unwrap();
        if case["id"].as_str().is_some_and(|id| BY_A_KEY_FOR_ANOTHER_ALGORITHM.contains(&id)) {
            assert!(!is_signed(&case), "{}", case["id"]);
            case["jwks"]["keys"][0]["alg"] = "PS384".into();
        }
        let token = is_access_token(&case);
        let signature = is_signed(&case);
        for (level, decided, expected) in [("token", token, "expect"), ("signature", signature, "expect_sig")]
        {
            if decided != expects_valid(&case[expected]) {
                wrong.push(format!("{} ({level} {decided}): {}", case["id"], case["note"]));
            }
        }
        let text = case["token"].as_str().unwrap();
        assert!(looks_like_jwt(text) || UntrustedToken::parse(text).is_err(), "{}", case["id"]);
        cases += 1;
        valid_tokens += usize::from(token);
        valid_signatures += usize::from(signature);
    }
    assert!(wrong.is_empty(), "{} wrong decisions:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((cases, valid_tokens, valid_signatures), (CASES, VALID_TOKENS, VALID_SIGNATURES));
}

fn expects_valid(expectation: &Value) -> bool {
    match expectation.as_str() {
        Some("valid") => true,
        Some("invalid") => false,
        other => panic!("unknown expectation {other:?}"),
    }
}

fn key_set(case: &Value) -> KeySet {
    KeySet::parse(case["jwks"].to_string().as_bytes(), KeySource::Remote)
        .map(|(keys, _)| keys)
        .unwrap_or_default()
}

fn is_signed(case: &Value) -> bool {
    Jws::parse(case["token"].as_str().unwrap())
        .and_then(|jws| jws.verify_signature(AlgorithmSet::default(), &key_set(case), &PureVerifier))
        .is_ok()
}

fn is_access_token(case: &Value) -> bool {
    let config: Object = parse_object(case["config"].to_string().as_bytes()).unwrap();
    let audiences = match &config["audiences"] {
        Value::Null => AudienceRule::Any,
        Value::Array(audiences) => AudienceRule::OneOf(
            audiences
                .iter()
                .map(|audience| TenantPattern::parse(audience.as_str().unwrap()).unwrap())
                .collect(),
        ),
        other => panic!("unknown audiences {other}"),
    };
    let require_expiration = config["require_exp"].as_bool().unwrap();
    let rules = TokenRules { audiences, require_expiration, ..TokenRules::default() };
    UntrustedToken::parse(case["token"].as_str().unwrap())
        .and_then(|token| {
            let issued_by_provider = token.issuer()? == config["issuer"].as_str();
            Ok((token, issued_by_provider))
        })
        .is_ok_and(|(token, issued_by_provider)| {
            issued_by_provider
                && token
                    .verify_signature(&rules, &key_set(case), &PureVerifier)
                    .and_then(|token| token.validate(&rules, NOW, &|_| false))
                    .is_ok()
        })
}
