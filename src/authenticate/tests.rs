//! The whole way of a token, from text to claims.

use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::jose::base64url;
use crate::jose::json::{Value, parse_object};
use crate::jose::*;
use crate::respond::Reason;
use scopegate_testing::mint::{ALGORITHMS, Signer, jwks};

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://issuer.example";

/// Every algorithm, any audience, one minute of leeway.
fn rules() -> TokenRules {
    TokenRules {
        algorithms: AlgorithmSet::of(Algorithm::ALL),
        audiences: AudienceRule::Any,
        ..TokenRules::default()
    }
}

fn good_claims() -> Value {
    json!({"iss": ISSUER, "sub": "alice", "aud": "api", "exp": NOW + 600, "iat": NOW - 10, "scope": "a b"})
}

fn claims_with(changes: Value) -> Value {
    let mut claims = good_claims();
    for (name, value) in changes.as_object().unwrap() {
        match value.as_str() {
            Some("ABSENT") => drop(claims.as_object_mut().unwrap().remove(name)),
            _ => claims[name] = value.clone(),
        }
    }
    claims
}

fn key_set(signers: &[&Signer]) -> KeySet {
    let document = jwks(signers.iter().copied()).to_string();
    let (keys, skipped) =
        KeySet::parse(document.as_bytes(), KeySource::Local { allow_symmetric: true }).unwrap();
    assert_eq!(skipped, []);
    keys
}

fn authenticate(token: &str, rules: &TokenRules, keys: &KeySet) -> Result<Claims, TokenError> {
    UntrustedToken::parse(token)?.verify_signature(rules, keys, &PureVerifier)?.validate(
        rules,
        Duration::from_secs(NOW),
        &|name| name == "acme",
    )
}

/// What becomes of good claims with these changes under these rules.
fn validate_at(now: Duration, rules: &TokenRules, changes: Value) -> Result<Claims, Reason> {
    let signer = Signer::new("EdDSA", "key", 1);
    let token = signer.mint(json!({}), &claims_with(changes));
    UntrustedToken::parse(&token)
        .unwrap()
        .verify_signature(rules, &key_set(&[&signer]), &PureVerifier)
        .unwrap()
        .validate(rules, now, &|name| name == "acme")
        .map_err(|error| error.reason())
}

fn validate(rules: &TokenRules, changes: Value) -> Result<Claims, Reason> {
    validate_at(Duration::from_secs(NOW), rules, changes)
}

fn refusal(rules: &TokenRules, changes: Value) -> Option<Reason> {
    validate(rules, changes).err()
}

#[test]
fn a_good_token_of_every_algorithm_is_accepted() {
    for algorithm in ALGORITHMS {
        let signer = Signer::new(algorithm, "key", 1);
        let token = signer.mint(json!({"typ": "at+jwt"}), &good_claims());
        assert!(looks_like_jwt(&token));
        let claims = authenticate(&token, &rules(), &key_set(&[&signer])).unwrap();
        assert_eq!(claims.subject(), Some("alice"), "{algorithm}");
        assert_eq!(claims.issuer(), Some(ISSUER));
    }
}

#[test]
fn a_token_signed_with_another_key_of_the_same_kind_is_refused() {
    for algorithm in ALGORITHMS {
        let token = Signer::new(algorithm, "key", 2).mint(json!({}), &good_claims());
        let keys = key_set(&[&Signer::new(algorithm, "key", 1)]);
        assert_eq!(authenticate(&token, &rules(), &keys), Err(TokenError::SignatureInvalid), "{algorithm}");
    }
}

#[test]
fn a_token_with_one_bit_flipped_is_refused() {
    for algorithm in ALGORITHMS {
        // Of the slower algorithms a sample of the bits has to do.
        let stride = match algorithm {
            "ES384" => 17,
            "ES512" => 29,
            "ES256" | "ES256K" => 3,
            "RS384" | "RS512" | "PS384" | "PS512" => 5,
            _ => 1,
        };
        let signer = Signer::new(algorithm, "key", 1);
        let keys = key_set(&[&signer]);
        let token = signer.mint(json!({}), &good_claims());
        let parts: Vec<Vec<u8>> = token.split('.').map(|part| base64url::decode(part).unwrap()).collect();
        for part in 0..3 {
            for bit in (0..parts[part].len() * 8).step_by(stride) {
                let mut flipped = parts.clone();
                flipped[part][bit / 8] ^= 1 << (bit % 8);
                let flipped: Vec<String> = flipped.iter().map(|part| base64url::encode(part)).collect();
                let decided = authenticate(&flipped.join("."), &rules(), &keys);
                assert!(decided.is_err(), "{algorithm}: bit {bit} of part {part}");
                if part == 2 {
                    assert_eq!(
                        decided,
                        Err(TokenError::SignatureInvalid),
                        "{algorithm}: bit {bit} of the signature"
                    );
                }
            }
        }
    }
}

#[test]
fn a_token_rewritten_to_other_characters_is_refused() {
    // Of both signatures, of 256 and 64 bytes, the last character has four bits to spare.
    for algorithm in ["RS256", "EdDSA"] {
        let signer = Signer::new(algorithm, "key", 1);
        let keys = key_set(&[&signer]);
        let token = signer.mint(json!({}), &good_claims());
        for index in 0..token.len() {
            for replacement in ["A", "-", "_", ".", "=", "+", "/", " ", "\n", "é"] {
                let mut rewritten = token.clone();
                rewritten.replace_range(index..=index, replacement);
                if rewritten != token {
                    assert!(authenticate(&rewritten, &rules(), &keys).is_err(), "{replacement:?} at {index}");
                }
            }
        }
        for tail in ["=", "==", ".", "\n", " ", "A"] {
            assert!(authenticate(&format!("{token}{tail}"), &rules(), &keys).is_err(), "{tail:?} appended");
        }
        let last = token.chars().last().unwrap();
        let spare = char::from_u32(last as u32 + 1).unwrap();
        let rewritten = format!("{}{spare}", &token[..token.len() - 1]);
        assert_eq!(authenticate(&rewritten, &rules(), &keys), Err(TokenError::Malformed(Part::Signature)));
    }
}

/// The examples that the RFCs give, each with the key that stands beside it.
#[test]
fn the_signatures_in_the_rfcs_verify() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../tests/fixtures/jose/rfc-vectors.json")).unwrap();
    let vectors = vectors.as_array().unwrap();
    assert_eq!(vectors.len(), 8);
    for vector in vectors {
        let source = &vector["source"];
        let document = json!({"keys": [vector["jwk"]]}).to_string();
        let (keys, skipped) =
            KeySet::parse(document.as_bytes(), KeySource::Local { allow_symmetric: true }).unwrap();
        assert_eq!(skipped, [], "{source}");
        let token = vector["token"].as_str().unwrap();
        let all = AlgorithmSet::of(Algorithm::ALL);
        let signed = Jws::parse(token).unwrap().verify_signature(all, &keys, &PureVerifier);
        assert!(signed.is_ok(), "{source}");
        let own = AlgorithmSet::of(&[Algorithm::parse(vector["alg"].as_str().unwrap()).unwrap()]);
        let others = all.iter().filter(|&algorithm| !own.contains(algorithm)).collect();
        let refused = Jws::parse(token).unwrap().verify_signature(others, &keys, &PureVerifier);
        assert_eq!(refused, Err(TokenError::AlgorithmNotAllowed), "{source}");
    }
}

#[test]
fn a_header_with_an_extension_or_a_member_of_a_wrong_type_is_malformed() {
    let signer = Signer::new("EdDSA", "key", 1);
    let keys = key_set(&[&signer]);
    for (header, member) in [
        (json!({"crit": ["exp"], "exp": 1}), "crit"),
        (json!({"crit": []}), "crit"),
        (json!({"crit": ["b64"], "b64": false}), "crit"),
        (json!({"crit": false}), "crit"),
        (json!({"b64": false}), "b64"),
        (json!({"b64": true}), "b64"),
        (json!({"alg": null}), "alg"),
        (json!({"alg": ["EdDSA"]}), "alg"),
        (json!({"alg": 1}), "alg"),
        (json!({"kid": 1}), "kid"),
        (json!({"typ": ["at+jwt"]}), "typ"),
    ] {
        let token = signer.mint(header.clone(), &good_claims());
        assert_eq!(authenticate(&token, &rules(), &keys), Err(TokenError::HeaderMember(member)), "{header}");
    }
    for header in [r#"{"alg":"EdDSA","kid":null}"#, r#"{"alg":"EdDSA","typ":null}"#, r#"{"alg":null}"#, "{}"]
    {
        let token = signer.sign_parts(header.as_bytes(), good_claims().to_string().as_bytes());
        assert_eq!(
            authenticate(&token, &rules(), &keys).unwrap_err().reason(),
            Reason::TokenMalformed,
            "{header}"
        );
    }
}

#[test]
fn a_part_that_is_not_one_json_object_is_malformed() {
    let signer = Signer::anonymous("EdDSA", 1);
    let keys = key_set(&[&signer]);
    let header = r#"{"alg":"EdDSA"}"#.as_bytes();
    let claims = good_claims().to_string();
    for payload in
        [&b""[..], b"[]", b"null", b"1", b"{} ", b"{}{}", b"{\"a\":1,\"a\":1}", b"\xff", b"\xef\xbb\xbf{}"]
    {
        let decided = authenticate(&signer.sign_parts(header, payload), &rules(), &keys);
        let expected = if payload == b"{} " { Reason::ClaimMissing } else { Reason::TokenMalformed };
        assert_eq!(decided.unwrap_err().reason(), expected, "{payload:?}");
    }
    for header in
        [&b""[..], b"[]", b"{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\"}", b"{\"alg\":\"EdDSA\"}x", b"\xff"]
    {
        let decided = authenticate(&signer.sign_parts(header, claims.as_bytes()), &rules(), &keys);
        assert_eq!(decided, Err(TokenError::Malformed(Part::Header)), "{header:?}");
    }
    let nested_repeat = br#"{"exp":1900000000,"realm":{"tenant":"a","tenant":"b"}}"#;
    let decided = authenticate(&signer.sign_parts(header, nested_repeat), &rules(), &keys);
    assert_eq!(decided, Err(TokenError::Malformed(Part::Payload)));
}

#[test]
fn a_token_has_three_parts() {
    let token = Signer::anonymous("EdDSA", 1).mint(json!({}), &good_claims());
    let header = token.split('.').next().unwrap();
    for other in [
        "",
        ".",
        "..",
        "...",
        header,
        &format!("{token}."),
        &format!("{token}.x"),
        &format!("{token}.x.y"),
        &format!(".{token}"),
    ] {
        assert_eq!(
            UntrustedToken::parse(other).map(|_| ()).unwrap_err().reason(),
            Reason::TokenMalformed,
            "{other}"
        );
    }
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let signer = Signer::anonymous("EdDSA", 1);
    let keys = key_set(&[&signer]);
    for none in ["none", "None", "NONE", "nOnE", "", "HS256 "] {
        let token = signer.mint(json!({"alg": none}), &good_claims());
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        for token in [&token, &format!("{unsigned}.")] {
            assert_eq!(authenticate(token, &rules(), &keys), Err(TokenError::AlgorithmNotAllowed), "{none}");
        }
    }
    let token = signer.mint(json!({}), &good_claims());
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    assert_eq!(authenticate(&format!("{unsigned}."), &rules(), &keys), Err(TokenError::SignatureInvalid));
}

#[test]
fn no_key_verifies_an_algorithm_of_another_type() {
    for key_algorithm in ALGORITHMS {
        let signer = Signer::new(key_algorithm, "key", 1);
        let keys = key_set(&[&signer]);
        let key = &keys.keys()[0];
        for &algorithm in Algorithm::ALL {
            let token = signer.mint(json!({"alg": algorithm.as_str()}), &good_claims());
            let decided = authenticate(&token, &rules(), &keys);
            if algorithm == Algorithm::parse(key_algorithm).unwrap() {
                assert!(decided.is_ok(), "{algorithm}");
            } else if key.algorithms().contains(algorithm) {
                assert_eq!(decided, Err(TokenError::SignatureInvalid), "{key_algorithm} as {algorithm}");
            } else {
                assert_eq!(decided, Err(TokenError::KeyNotFound), "{key_algorithm} as {algorithm}");
                assert!(!PureVerifier.verify(algorithm, key, b"message", &signer.sign(b"message")));
            }
        }
    }
}

#[test]
fn a_public_key_never_serves_as_an_hmac_secret() {
    let issuer = Signer::new("RS256", "key", 1);
    let keys = key_set(&[&issuer]);
    let public_key = keys.keys()[0].public_key_info().unwrap();
    let signing_input = format!(
        "{}.{}",
        base64url::encode(br#"{"alg":"HS256","kid":"key"}"#),
        base64url::encode(good_claims().to_string().as_bytes())
    );
    use jwt_compact::{Algorithm as _, AlgorithmSignature as _};
    let key = jwt_compact::alg::Hs256Key::new(public_key);
    let mac = jwt_compact::alg::Hs256.sign(&key, signing_input.as_bytes());
    let token = format!("{signing_input}.{}", base64url::encode(&mac.as_bytes()));
    assert_eq!(authenticate(&token, &rules(), &keys), Err(TokenError::KeyNotFound));
}

#[test]
fn no_header_member_brings_a_key() {
    let issuer = Signer::new("ES256", "key", 1);
    let attacker = Signer::new("ES256", "key", 2);
    let keys = key_set(&[&issuer]);
    let claims = good_claims();
    for header in [
        json!({"jwk": attacker.jwk()}),
        json!({"jku": "https://attacker.example/jwks"}),
        json!({"x5u": "https://attacker.example/x5u"}),
        json!({"x5c": ["MIIB"]}),
    ] {
        let forged = attacker.mint(header.clone(), &claims);
        assert_eq!(authenticate(&forged, &rules(), &keys), Err(TokenError::SignatureInvalid), "{header}");
        let genuine = issuer.mint(header, &claims);
        assert!(authenticate(&genuine, &rules(), &keys).is_ok());
    }
}

#[test]
fn a_key_is_chosen_by_key_id_and_algorithm() {
    let (first, second) = (Signer::new("ES256", "first", 1), Signer::new("ES256", "second", 2));
    let anonymous = Signer::anonymous("ES256", 3);
    let keys = key_set(&[&first, &second]);
    let claims = good_claims();
    let decide = |signer: &Signer, key_id: Value, keys: &KeySet| {
        authenticate(&signer.mint(json!({"kid": key_id}), &claims), &rules(), keys).map(|_| ())
    };
    assert_eq!(decide(&first, json!("first"), &keys), Ok(()));
    assert_eq!(decide(&first, json!("second"), &keys), Err(TokenError::SignatureInvalid));
    assert_eq!(decide(&first, json!("third"), &keys), Err(TokenError::KeyNotFound));
    assert_eq!(decide(&second, Value::Null, &keys), Ok(()), "without a `kid` each key is tried");
    let with_anonymous = key_set(&[&first, &anonymous]);
    assert_eq!(decide(&anonymous, json!("third"), &with_anonymous), Ok(()));
    assert_eq!(decide(&anonymous, json!("first"), &with_anonymous), Err(TokenError::SignatureInvalid));
    assert_eq!(decide(&first, json!("third"), &with_anonymous), Err(TokenError::SignatureInvalid));
}

#[test]
fn the_verified_token_names_the_key_that_verified_it() {
    let (first, second) = (Signer::new("ES256", "first", 1), Signer::new("ES256", "second", 2));
    let keys = key_set(&[&first, &second]);
    let token = second.mint(json!({}), &good_claims());
    let signed =
        UntrustedToken::parse(&token).unwrap().verify_signature(&rules(), &keys, &PureVerifier).unwrap();
    assert_eq!(signed.key_fingerprint(), keys.keys()[1].fingerprint());
    assert_eq!(signed.key_id(), Some("second"));
    assert!(keys.contains_fingerprint(signed.key_fingerprint()));
    assert!(!key_set(&[&first]).contains_fingerprint(signed.key_fingerprint()));
}

#[test]
fn an_algorithm_that_is_not_allowed_is_refused_before_any_key_is_tried() {
    let signer = Signer::new("RS256", "key", 1);
    let keys = key_set(&[&signer]);
    let rules = TokenRules { algorithms: AlgorithmSet::of(&[Algorithm::Ps256]), ..rules() };
    let token = signer.mint(json!({}), &good_claims());
    assert_eq!(authenticate(&token, &rules, &keys), Err(TokenError::AlgorithmNotAllowed));
}

#[test]
fn the_header_of_an_unknown_issuers_token_is_judged_by_default() {
    let check = |algorithm, header| {
        let token = Signer::anonymous(algorithm, 1).mint(header, &good_claims());
        UntrustedToken::parse(&token).unwrap().check_header_of_unknown_issuer()
    };
    assert_eq!(check("HS256", json!({"typ": "JWT"})), Ok(()), "some provider may allow it");
    assert_eq!(check("RS256", json!({"typ": "logout+jwt"})), Err(TokenError::TypeNotAccepted));
    assert_eq!(check("RS256", json!({"alg": "none"})), Err(TokenError::AlgorithmNotAllowed));
    assert_eq!(
        check("RS256", json!({"typ": "dpop+jwt", "alg": "none"})),
        Err(TokenError::TypeNotAccepted),
        "the type's reason comes first"
    );
}

#[test]
fn a_token_of_another_type_is_refused_however_well_signed() {
    let signer = Signer::new("EdDSA", "key", 1);
    let keys = key_set(&[&signer]);
    let decide = |rules: &TokenRules, typ: &str| {
        authenticate(&signer.mint(json!({"typ": typ}), &good_claims()), rules, &keys).map(|_| ())
    };
    assert_eq!(decide(&rules(), "JWT"), Ok(()));
    assert_eq!(decide(&rules(), "logout+jwt"), Err(TokenError::TypeNotAccepted));
    let strict = TokenRules { token_types: Some(vec!["at+jwt".into()]), ..rules() };
    assert_eq!(decide(&strict, "application/AT+JWT"), Ok(()));
    assert_eq!(decide(&strict, "JWT"), Err(TokenError::TypeNotAccepted));
}

#[test]
fn what_a_token_says_of_itself_can_be_read_before_it_is_believed() {
    let token = Signer::new("ES256", "key", 1).mint(json!({}), &good_claims());
    let token = UntrustedToken::parse(&token).unwrap();
    assert_eq!((token.algorithm(), token.key_id()), (Some(Algorithm::Es256), Some("key")));
    assert_eq!(Value::Object(token.claims().clone()), good_claims());
}

#[test]
fn an_issuer_is_a_string_or_absent() {
    let issuer = |changes| {
        let token = Signer::anonymous("EdDSA", 1).mint(json!({}), &claims_with(changes));
        UntrustedToken::parse(&token).unwrap().issuer().map(|issuer| issuer.map(str::to_owned))
    };
    assert_eq!(issuer(json!({})), Ok(Some(ISSUER.to_owned())));
    assert_eq!(issuer(json!({"iss": "ABSENT"})), Ok(None));
    for odd in [json!(null), json!([ISSUER]), json!(1)] {
        assert_eq!(issuer(json!({"iss": odd})), Err(TokenError::ClaimMalformed("iss".into())));
    }
}

#[test]
fn a_token_expires_at_its_expiry_and_the_leeway() {
    let rules = rules();
    let at = |now: f64, exp: Value| {
        validate_at(Duration::from_secs_f64(now), &rules, json!({"exp": exp, "iat": "ABSENT"})).err()
    };
    assert_eq!(at(1059.0, json!(1000)), None);
    assert_eq!(at(1059.999, json!(1000)), None);
    assert_eq!(at(1060.0, json!(1000)), Some(Reason::TokenExpired), "on or after (RFC 7519 section 4.1.4)");
    assert_eq!(at(1061.0, json!(1000)), Some(Reason::TokenExpired));
    assert_eq!(at(1060.0, json!(1000.5)), None);
    assert_eq!(at(1060.5, json!(1000.5)), Some(Reason::TokenExpired));
    assert_eq!(at(60.0, json!(0)), Some(Reason::TokenExpired));
    assert_eq!(at(1e9, json!(9_007_199_254_740_992_u64)), None, "the largest date");
    let none = TokenRules { clock_skew: Duration::ZERO, ..rules.clone() };
    let expired =
        |now| validate_at(Duration::from_secs(now), &none, json!({"exp": 1000, "iat": "ABSENT"})).is_err();
    assert_eq!([999, 1000, 1001].map(expired), [false, true, true]);
}

#[test]
fn a_token_begins_at_nbf_less_the_leeway() {
    let at = |not_before: Value| refusal(&rules(), json!({"nbf": not_before}));
    assert_eq!(at(json!(NOW + 59)), None);
    assert_eq!(at(json!(NOW + 60)), None);
    assert_eq!(at(json!(NOW as f64 + 60.5)), Some(Reason::TokenNotYetValid));
    assert_eq!(at(json!(NOW + 61)), Some(Reason::TokenNotYetValid));
    assert_eq!(at(json!("ABSENT")), None);
}

#[test]
fn a_token_issued_in_the_future_is_not_yet_valid() {
    let at = |issued_at: u64| refusal(&rules(), json!({"iat": issued_at}));
    assert_eq!(at(NOW + 59), None);
    assert_eq!(at(NOW + 60), None);
    assert_eq!(at(NOW + 61), Some(Reason::TokenNotYetValid));
    assert_eq!(at(0), None);
}

#[test]
fn a_token_is_too_old_after_its_age_and_the_leeway() {
    let rules = TokenRules { max_token_age: Some(Duration::from_secs(1000)), ..rules() };
    let at = |issued_at: Value| refusal(&rules, json!({"iat": issued_at}));
    assert_eq!(at(json!(NOW - 1059)), None);
    assert_eq!(at(json!(NOW - 1060)), None);
    assert_eq!(at(json!(NOW as f64 - 1060.5)), Some(Reason::TokenTooOld));
    assert_eq!(at(json!(NOW - 1061)), Some(Reason::TokenTooOld));
    assert_eq!(at(json!("ABSENT")), Some(Reason::ClaimMissing));
}

#[test]
fn a_date_that_is_none_is_malformed() {
    for name in ["exp", "nbf", "iat"] {
        for odd in [
            json!(null),
            json!("1900000000"),
            json!(true),
            json!([1_900_000_000]),
            json!({}),
            json!(-1),
            json!(-0.5),
            json!(1e300),
            json!(9_007_199_254_740_993_u64),
            json!(9.1e15),
            json!(u64::MAX),
            json!(i64::MIN),
        ] {
            assert_eq!(refusal(&rules(), json!({name: odd})), Some(Reason::ClaimMalformed), "{name}: {odd}");
        }
    }
}

#[test]
fn an_expiry_is_demanded_unless_the_rules_say_otherwise() {
    assert_eq!(refusal(&rules(), json!({"exp": "ABSENT"})), Some(Reason::ClaimMissing));
    let lax = TokenRules { require_expiration: false, ..rules() };
    assert_eq!(refusal(&lax, json!({"exp": "ABSENT"})), None);
    assert_eq!(refusal(&lax, json!({"exp": NOW - 60})), Some(Reason::TokenExpired));
}

#[test]
fn a_cached_token_expires_as_a_fresh_one_does() {
    let skew = Duration::from_secs(60);
    let claims = validate(&rules(), json!({"exp": NOW + 600})).unwrap();
    let expired = |now| claims.is_expired(skew, Duration::from_secs(now));
    assert_eq!([NOW + 659, NOW + 660, NOW + 661].map(expired), [false, true, true]);
}

#[test]
fn one_audience_must_match_a_configured_one() {
    let patterns = ["api", "https://api.example/{tenant}"];
    let patterns = patterns.iter().map(|pattern| TenantPattern::parse(pattern).unwrap()).collect();
    let rules = TokenRules { audiences: AudienceRule::OneOf(patterns), ..rules() };
    for (audience, expected) in [
        (json!("api"), None),
        (json!(["other", "api"]), None),
        (json!("https://api.example/acme"), None),
        (json!("https://api.example/other"), Some(Reason::AudienceMismatch)),
        (json!("https://api.example/{tenant}"), Some(Reason::AudienceMismatch)),
        (json!("API"), Some(Reason::AudienceMismatch)),
        (json!("api other"), Some(Reason::AudienceMismatch)),
        (json!(""), Some(Reason::AudienceMismatch)),
        (json!([]), Some(Reason::AudienceMismatch)),
        (json!("ABSENT"), Some(Reason::ClaimMissing)),
        (json!(null), Some(Reason::ClaimMalformed)),
        (json!(["api", 1]), Some(Reason::ClaimMalformed)),
        (json!({"api": true}), Some(Reason::ClaimMalformed)),
    ] {
        assert_eq!(refusal(&rules, json!({"aud": audience})), expected, "{audience}");
    }
}

#[test]
fn without_configured_audiences_every_token_is_refused() {
    let rules = TokenRules { algorithms: AlgorithmSet::of(Algorithm::ALL), ..TokenRules::default() };
    assert_eq!(refusal(&rules, json!({})), Some(Reason::AudienceMismatch));
    assert_eq!(refusal(&rules, json!({"aud": "ABSENT"})), Some(Reason::ClaimMissing));
}

#[test]
fn required_claims_must_be_present_and_not_null() {
    let required_claims = vec![ClaimPath::dotted("realm.tenant").unwrap()];
    let rules = TokenRules { required_claims, ..rules() };
    assert_eq!(refusal(&rules, json!({"realm": {"tenant": "x"}})), None);
    assert_eq!(refusal(&rules, json!({"realm": {"tenant": null}})), Some(Reason::ClaimMalformed));
    assert_eq!(refusal(&rules, json!({"realm": {}})), Some(Reason::ClaimMissing));
    assert_eq!(refusal(&rules, json!({"realm.tenant": "x"})), Some(Reason::ClaimMissing));
}

#[test]
fn of_several_faults_the_first_in_the_table_of_reasons_is_the_answer() {
    let patterns = vec![TenantPattern::parse("api").unwrap()];
    let rules = TokenRules {
        audiences: AudienceRule::OneOf(patterns),
        max_token_age: Some(Duration::from_secs(1)),
        required_claims: vec![ClaimPath::dotted("needed").unwrap()],
        ..rules()
    };
    let mut changes = json!({"exp": 1, "nbf": NOW + 999, "iat": 1, "aud": "other", "sub": 1.5});
    let mut reasons = Vec::new();
    for (name, mended) in [
        ("exp", json!(NOW + 600)),
        ("nbf", json!(NOW)),
        ("iat", json!(NOW)),
        ("aud", json!("api")),
        ("needed", json!(1)),
        ("sub", json!("alice")),
    ] {
        reasons.extend(refusal(&rules, changes.clone()));
        changes[name] = mended;
    }
    assert_eq!(refusal(&rules, changes), None);
    assert_eq!(
        reasons,
        [
            Reason::TokenExpired,
            Reason::TokenNotYetValid,
            Reason::TokenTooOld,
            Reason::AudienceMismatch,
            Reason::ClaimMissing,
            Reason::ClaimMalformed
        ]
    );
    assert!(reasons.is_sorted(), "as in the table");
    let malformed_date = json!({"exp": "soon", "aud": "other"});
    assert_eq!(refusal(&rules, malformed_date), Some(Reason::AudienceMismatch));
}

#[test]
fn a_scope_is_read_from_a_string_or_an_array() {
    let scope = |value: Value| {
        validate(&rules(), json!({"scope": value})).map(|claims| {
            claims.scope().map(|tokens| tokens.iter().map(|token| token.to_string()).collect::<Vec<_>>())
        })
    };
    let tokens = |tokens: &[&str]| Ok(Some(tokens.iter().map(|token| (*token).to_owned()).collect()));
    assert_eq!(scope(json!("a b")), tokens(&["a", "b"]));
    assert_eq!(scope(json!("  a   b ")), tokens(&["a", "b"]));
    assert_eq!(scope(json!(["a", "b"])), tokens(&["a", "b"]));
    assert_eq!(scope(json!("a,b")), tokens(&["a,b"]));
    assert_eq!(scope(json!("a\tb\nc")), tokens(&["a\tb\nc"]), "only the space separates");
    assert_eq!(scope(json!("")), tokens(&[]));
    assert_eq!(scope(json!([])), tokens(&[]));
    assert_eq!(scope(json!("ABSENT")), Ok(None));
    for odd in [
        json!(null),
        json!(1),
        json!({"a": true}),
        json!(["a", 1]),
        json!([["a"]]),
        json!([null]),
        json!(["a b"]),
    ] {
        assert_eq!(scope(odd.clone()), Err(Reason::ClaimMalformed), "{odd}");
    }
}

#[test]
fn the_first_path_that_leads_to_a_value_counts() {
    let claims = validate(&rules(), json!({"scope": "ABSENT", "scp": ["x"], "azp": "second"})).unwrap();
    assert_eq!(claims.scope().map(<[_]>::len), Some(1));
    assert_eq!(claims.client(), Some("second"));
    let claims = validate(&rules(), json!({"client_id": "first", "azp": 1})).unwrap();
    assert_eq!(claims.client(), Some("first"));
    assert_eq!(refusal(&rules(), json!({"client_id": null, "azp": "second"})), Some(Reason::ClaimMalformed));
    assert_eq!(refusal(&rules(), json!({"scope": null, "scp": "x"})), Some(Reason::ClaimMalformed));
}

#[test]
fn subject_client_and_issuer_are_non_empty_where_present() {
    for name in ["sub", "client_id"] {
        for odd in [json!(null), json!(""), json!(1.5), json!(["alice"])] {
            assert_eq!(refusal(&rules(), json!({name: odd})), Some(Reason::ClaimMalformed), "{name}: {odd}");
        }
        assert_eq!(refusal(&rules(), json!({name: "ABSENT"})), None);
    }
    assert_eq!(refusal(&rules(), json!({"iss": 1})), Some(Reason::ClaimMalformed));
}

#[test]
fn the_tenants_claims_are_judged_when_they_are_asked_for() {
    let paths = ["tenant_id", "realm.tenant"].map(|path| ClaimPath::dotted(path).unwrap());
    let claims_paths = ClaimPaths { tenant: paths.to_vec(), ..ClaimPaths::default() };
    let rules = TokenRules { claims: claims_paths, ..rules() };
    let tenants = |changes| {
        let claims = validate(&rules, changes).unwrap();
        claims
            .tenants(&rules.claims.tenant)
            .map(|claims| claims.iter().flat_map(|claim| claim.names().to_vec()).collect::<Vec<_>>())
    };
    assert_eq!(tenants(json!({})), Ok(vec![]));
    assert_eq!(
        tenants(json!({"tenant_id": "a", "realm": {"tenant": "b"}})),
        Ok(vec!["a".into(), "b".into()])
    );
    for odd in
        [json!(null), json!(""), json!(7.5), json!([]), json!(["a", ""]), json!(["a", ["b"]]), json!({})]
    {
        assert_eq!(
            tenants(json!({"tenant_id": "a", "realm": {"tenant": odd}})),
            Err(TokenError::ClaimMalformed("realm.tenant".into()))
        );
    }
}

#[test]
fn a_confirmation_is_a_certificate_or_a_key_alone_or_not_supported() {
    let confirmation =
        |value: Value| validate(&rules(), json!({"cnf": value})).map(|claims| claims.confirmation());
    let digest = base64url::encode(&[7; 32]);
    assert_eq!(confirmation(json!("ABSENT")), Ok(Confirmation::None));
    assert_eq!(confirmation(json!({"x5t#S256": digest})), Ok(Confirmation::CertificateSha256([7; 32])));
    assert_eq!(confirmation(json!({"jkt": digest})), Ok(Confirmation::KeyThumbprint([7; 32])));
    for unsupported in [
        json!({}),
        json!({"jkt": "x"}),
        json!({"jkt": digest, "kid": "x"}),
        json!({"x5t#S256": digest, "kid": "x"}),
        json!({"jwk": {}}),
        json!({"kid": "x"}),
        json!({"x5t#S256": digest, "jkt": "x"}),
        json!({"x5t#s256": digest}),
    ] {
        assert_eq!(confirmation(unsupported.clone()), Ok(Confirmation::Unsupported), "{unsupported}");
    }
    for odd in [
        json!(null),
        json!("x"),
        json!([]),
        json!({"x5t#S256": null}),
        json!({"x5t#S256": base64url::encode(&[7; 31])}),
        json!({"x5t#S256": base64url::encode(&[7; 33])}),
        json!({"x5t#S256": format!("{digest}=")}),
    ] {
        assert_eq!(confirmation(odd.clone()), Err(Reason::ClaimMalformed), "{odd}");
    }
}

#[test]
fn an_introspection_response_is_read_and_checked_as_a_token_is() {
    let paths = ClaimPaths::introspection(Vec::new());
    let members = |text: &str| parse_object(text.as_bytes()).unwrap();
    let response =
        r#"{"active":true,"scope":"a b","client_id":"c","sub":"s","azp":1,"aud":["api"],"exp":1800000000}"#;
    let claims = Claims::read(members(response), &paths).unwrap();
    assert_eq!((claims.client(), claims.subject()), (Some("c"), Some("s")));
    let lax = TokenRules { require_expiration: false, ..rules() };
    let check = |now| claims.check(&lax, Duration::from_secs(now), &|_| false);
    assert_eq!(check(1_800_000_059), Ok(()));
    assert_eq!(check(1_800_000_060), Err(TokenError::Expired));
    let malformed = Claims::read(members(r#"{"active":true,"exp":"1800000000"}"#), &paths);
    assert_eq!(malformed, Err(TokenError::ClaimMalformed("exp".into())));
    // `scp` and `azp` are no members of a response (RFC 7662 section 2.2), whatever some issuers' JWTs have.
    let foreign = Claims::read(members(r#"{"active":true,"scp":"a","azp":"c"}"#), &paths).unwrap();
    assert_eq!((foreign.scope(), foreign.client()), (None, None));
}

#[test]
fn what_some_reader_would_take_for_a_jwt_is_one() {
    let encode = |text: &str| base64url::encode(text.as_bytes());
    let header = encode(r#"{"alg":"none"}"#);
    for token in [
        format!("{header}.x.y"),
        format!("{header}..."),
        format!("{header}.a.b.c.d"),
        "ey.".to_owned(),
        "eyJ.".to_owned(),
        format!("{}.x.y", encode(" \r\n\t{\"alg\":\"none\"}")),
        format!("{}.x.y", encode("\u{feff}{\"alg\":\"none\"}")),
        format!("{}.x.y", encode("{ \"alg\": \"none\", \"alg\": \"HS256\" } ")),
        format!("{}==.x.y", encode("{}")),
        format!("{}.x.y", encode(r#"{ "a":">>>???"}"#).replace('-', "+").replace('_', "/")),
        format!("{}.x.y", encode(&format!("{{ \"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000)))),
        // `e30` is `{}`; `e31` sets a bit that the last character has to spare.
        "e30.x.y".to_owned(),
        "e31.x.y".to_owned(),
        "e30.a.b.c.d".to_owned(),
    ] {
        assert!(looks_like_jwt(&token), "{token}");
    }
    for opaque in [
        "",
        "2YotnFZFEjr1zCsicMWpAA",
        "eyJhbGciOiJub25lIn0",
        "e30.x",
        "e30.x.y.z",
        "e30.x.y.z.a.b",
        "a.b.c",
        "..",
        "e3sK.x.y",
        "mF_9.B5f-4.1JqM",
    ] {
        assert!(!looks_like_jwt(opaque), "{opaque}");
    }
}

#[test]
fn an_error_names_the_member_and_never_its_value() {
    let signer = Signer::new("EdDSA", "key", 1);
    let token = signer.mint(json!({}), &claims_with(json!({"sub": ["secret-value"]})));
    let error = authenticate(&token, &rules(), &key_set(&[&signer])).unwrap_err();
    assert_eq!(error.to_string(), "claim `sub` is malformed");
}

/// Well-formed tokens, written in more ways than any issuer would.
fn well_formed_token() -> impl Strategy<Value = String> {
    let space = "[ \\t\\r\\n]{0,2}";
    let member =
        prop_oneof![Just("\"kid\":\"\u{e9}\","), Just("\"x\":[{}],"), Just("\"typ\":\"?>~\","), Just("")];
    let header = (space, space, member, "[A-Za-z0-9?>~ ]{0,9}", space).prop_map(
        |(before, within, member, alg, after)| {
            format!("{before}{{{within}{member}\"alg\":\"{alg}\"}}{after}")
        },
    );
    let payload = prop_oneof![Just("{}"), Just(" {\"exp\":1}"), Just("{ \"\u{e9}\" : null }\n")];
    (header, payload, any::<Vec<u8>>()).prop_map(|(header, payload, signature)| {
        [header.as_bytes(), payload.as_bytes(), &signature].map(base64url::encode).join(".")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_parses_as_a_token_also_looks_like_one(token in well_formed_token()) {
        prop_assert!(UntrustedToken::parse(&token).is_ok());
        prop_assert!(looks_like_jwt(&token));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        let _ = UntrustedToken::parse(&text);
        let _ = looks_like_jwt(&text);
        let _ = parse_object(&bytes);
        let _ = KeySet::parse(&bytes, KeySource::Remote);
        let _ = host_signature_answer(&bytes);
    }

    #[test]
    fn no_signature_makes_a_verifier_panic_or_verify(signature in proptest::collection::vec(any::<u8>(), 0..300)) {
        static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
            let signers = ["RS256", "ES256", "EdDSA", "HS256", "ES256K"].map(|alg| Signer::anonymous(alg, 1));
            key_set(&signers.each_ref())
        });
        for key in KEYS.keys() {
            for &algorithm in Algorithm::ALL {
                prop_assert!(!PureVerifier.verify(algorithm, key, b"message", &signature));
            }
        }
    }

    #[test]
    fn an_object_is_read_or_names_a_member_twice(names in proptest::collection::vec("[a-c]{1,2}", 0..5)) {
        let members: Vec<_> = names.iter().map(|name| format!("\"{name}\":1")).collect();
        let unique = names.iter().collect::<std::collections::BTreeSet<_>>().len() == names.len();
        prop_assert_eq!(parse_object(format!("{{{}}}", members.join(",")).as_bytes()).is_ok(), unique);
    }
}
