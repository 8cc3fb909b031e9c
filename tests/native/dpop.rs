//! Tokens that are bound to a key of the client's, and the proofs that come with them (RFC 9449). The section that a test
//! holds the filter to stands beside it.

use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scopegate::issuer::IssuerCall;
use scopegate::respond::Reason;
use scopegate_testing::mint::{ALGORITHMS, Signer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::gateway::{Call, Gateway, NOW, Outcome, SharedData, merge, provider, token};

/// The client's key.
static CLIENT: LazyLock<Signer> = LazyLock::new(|| Signer::anonymous("ES256", 3));

pub const ORIGIN: &str = "https://api.example.com";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn dpop(changes: Value) -> Value {
    merge(json!({"mode": "optional", "public_origin": ORIGIN}), changes)
}

fn config(dpop: Value) -> Value {
    json!({
        "version": 1, "realm": "gw",
        "providers": {"corp": provider(json!({"dpop": dpop}))},
        "tenants": [{"id": "acme", "providers": ["corp"]}],
        "suites": [{"name": "s", "operations": [
            {"name": "read", "path": "/read/{id}", "methods": ["GET"], "access": "authenticated"},
            {"name": "post", "path": "/read/{id}", "methods": ["POST"], "requires": ["never"]},
            {"name": "open", "path": "/open", "access": "public"},
        ]}],
    })
}

fn gateway(changes: Value) -> Gateway {
    Gateway::new(&config(dpop(changes)))
}

/// RFC 7638 of an EC key: the required members in lexicographic order.
fn thumbprint(signer: &Signer) -> String {
    let jwk = signer.jwk();
    let members: Vec<String> = ["crv", "e", "kty", "n", "x", "y"]
        .iter()
        .filter_map(|name| Some(format!("\"{name}\":{}", jwk.get(name)?)))
        .collect();
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{{{}}}", members.join(","))))
}

/// A token that is bound to the key of `signer`.
fn bound_to(signer: &Signer) -> String {
    token(json!({"cnf": {"jkt": thumbprint(signer)}}))
}

pub fn bound() -> String {
    bound_to(&CLIENT)
}

fn ath(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}

/// The claims of a good proof for GET /read/1 with `token`, changed.
fn proof_claims(token: &str, jti: &str, changes: Value) -> Value {
    let good = json!({
        "jti": jti, "htm": "GET", "htu": format!("{ORIGIN}/read/1"), "iat": NOW, "ath": ath(token),
    });
    merge(good, changes)
}

fn header_of(signer: &Signer, changes: Value) -> Value {
    let mut header = json!({"typ": "dpop+jwt", "jwk": signer.jwk()});
    for (name, value) in changes.as_object().unwrap() {
        header[name] = value.clone();
    }
    header
}

pub fn proof(token: &str, jti: &str, changes: Value) -> String {
    CLIENT.mint(header_of(&CLIENT, json!({})), &proof_claims(token, jti, changes))
}

pub fn call(token: &str, proof: &str) -> Call {
    Call::get("/read/1").header("authorization", format!("DPoP {token}")).header("dpop", proof)
}

#[track_caller]
fn assert_refused(outcome: &Outcome, reason: Reason) {
    assert_eq!(outcome.refusal(), Some(reason), "{outcome:?}");
}

#[track_caller]
fn assert_passes(outcome: &Outcome) {
    assert_eq!(outcome.refusal(), None, "{outcome:?}");
}

#[test]
fn a_token_passes_with_a_proof_of_the_key_that_it_is_bound_to() {
    let gateway = gateway(json!({}));
    let token = bound();
    let passed = gateway.call(&call(&token, &proof(&token, "1", json!({})))).passed();
    assert_eq!(passed.next_nonce, None);
    // Section 7.1: names of schemes are compared without case.
    let call = Call::get("/read/1").header("authorization", format!("dpop  {token}"));
    assert_passes(&gateway.call(&call.header("dpop", proof(&token, "2", json!({})))));
}

#[test]
fn scheme_and_binding_agree_or_the_request_is_refused() {
    // Sections 7.1 and 7.2.
    let (plain, bound) = (token(json!({})), bound());
    for (mode, scheme, token, passes) in [
        ("optional", "Bearer", &plain, true),
        ("optional", "DPoP", &plain, false),
        ("optional", "Bearer", &bound, false),
        ("optional", "DPoP", &bound, true),
        ("required", "Bearer", &plain, false),
        ("required", "DPoP", &plain, false),
        ("required", "Bearer", &bound, false),
        ("required", "DPoP", &bound, true),
    ] {
        let gateway = gateway(json!({"mode": mode}));
        // Twice: the second time the token is remembered.
        for round in ["1", "2"] {
            let call = Call::get("/read/1").header("authorization", format!("{scheme} {token}"));
            let outcome = gateway.call(&call.header("dpop", proof(token, round, json!({}))));
            let expected = (!passes).then_some(Reason::SenderConstraintFailed);
            assert_eq!(outcome.refusal(), expected, "{mode} {scheme} {round} {outcome:?}");
        }
    }
}

#[test]
fn two_schemes_at_once_are_no_credential() {
    // Section 7.2: a client must not send a token in more than one way.
    let gateway = gateway(json!({}));
    let bound = bound();
    let both =
        Call::get("/read/1").bearer(&token(json!({}))).header("authorization", format!("DPoP {bound}"));
    let outcome = gateway.call(&both.header("dpop", proof(&bound, "1", json!({}))));
    assert_refused(&outcome, Reason::CredentialAmbiguous);
}

#[test]
fn with_the_mode_off_a_bound_token_is_refused_as_one_that_nobody_can_prove() {
    let token = bound();
    for config in [config(json!({"mode": "off"})), config(json!({"mode": "off", "public_origin": ORIGIN}))] {
        let gateway = Gateway::new(&config);
        assert_refused(&gateway.call(&Call::get("/read/1").bearer(&token)), Reason::SenderConstraintFailed);
        let under_dpop = call(&token, &proof(&token, "1", json!({})));
        assert_refused(&gateway.call(&under_dpop), Reason::CredentialMissing);
    }
}

#[test]
fn a_token_bound_to_a_certificate_does_not_come_under_dpop() {
    let digest = [7; 32];
    let token = token(json!({"cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode(digest)}}));
    for (mode, scheme, passes) in
        [("optional", "Bearer", true), ("optional", "DPoP", false), ("required", "Bearer", false)]
    {
        let mut gateway = gateway(json!({"mode": mode}));
        gateway.certificate = Some(digest);
        let call = Call::get("/read/1").header("authorization", format!("{scheme} {token}"));
        let outcome = gateway.call(&call);
        assert_eq!(outcome.refusal().is_none(), passes, "{mode} {scheme}");
    }
}

#[test]
fn exactly_one_proof_comes_with_a_token() {
    // Section 4.3, check 1.
    let gateway = gateway(json!({}));
    let token = bound();
    let without = Call::get("/read/1").header("authorization", format!("DPoP {token}"));
    assert_refused(&gateway.call(&without), Reason::ProofMissing);
    let (one, two) = (proof(&token, "1", json!({})), proof(&token, "2", json!({})));
    assert_refused(&gateway.call(&call(&token, &one).header("dpop", &two)), Reason::ProofInvalid);
    assert_refused(&gateway.call(&call(&token, &format!("{one}, {two}"))), Reason::ProofInvalid);
    assert_refused(&gateway.call(&call(&token, &format!("{one},{two}"))), Reason::ProofInvalid);
}

#[test]
fn each_check_of_section_4_3_is_made() {
    let gateway = gateway(json!({"algorithms": ["ES256", "RS256"]}));
    let token = bound();
    let claims = |changes| proof_claims(&token, "x", changes);
    let headed = |changes| CLIENT.mint(header_of(&CLIENT, changes), &claims(json!({})));
    let other = Signer::anonymous("ES256", 4);
    let good = proof(&token, "x", json!({}));
    let (signing_input, _) = good.rsplit_once('.').unwrap();
    let mut private = CLIENT.jwk();
    private["d"] = json!(URL_SAFE_NO_PAD.encode([3; 32]));
    let cases = [
        // Check 2: a well-formed JWT.
        ("no JWT", "x".to_owned()),
        ("two parts", signing_input.to_owned()),
        ("four parts", format!("{good}.x")),
        ("padding", format!("{good}=")),
        (
            "payload",
            CLIENT.sign_parts(header_of(&CLIENT, json!({"alg": "ES256"})).to_string().as_bytes(), b"[]"),
        ),
        (
            "a member twice",
            CLIENT.sign_parts(
                header_of(&CLIENT, json!({"alg": "ES256"})).to_string().as_bytes(),
                format!(r#"{{"jti":"other",{}"#, &claims(json!({})).to_string()[1..]).as_bytes(),
            ),
        ),
        // Check 3: all required claims.
        ("no jti", proof(&token, "x", json!({"jti": null}))),
        ("empty jti", proof(&token, "x", json!({"jti": ""}))),
        ("jti a number", proof(&token, "x", json!({"jti": 1}))),
        ("no htm", proof(&token, "x", json!({"htm": null}))),
        ("no htu", proof(&token, "x", json!({"htu": null}))),
        ("no iat", proof(&token, "x", json!({"iat": null}))),
        ("iat a text", proof(&token, "x", json!({"iat": NOW.to_string()}))),
        ("iat below zero", proof(&token, "x", json!({"iat": -1}))),
        ("no ath", proof(&token, "x", json!({"ath": null}))),
        // Check 4: typ.
        ("typ of an access token", headed(json!({"typ": "at+jwt"}))),
        ("typ absent", headed(json!({"typ": null}))),
        // Check 5: an algorithm that is asymmetric and accepted.
        ("alg none", headed(json!({"alg": "none"}))),
        ("alg of another key", headed(json!({"alg": "RS256"}))),
        ("alg not accepted", headed(json!({"alg": "ES384"}))),
        ("alg symmetric", headed(json!({"alg": "HS256"}))),
        // Check 6: the signature verifies with the key in it.
        ("another key's signature", other.mint(header_of(&CLIENT, json!({})), &claims(json!({})))),
        ("no jwk", headed(json!({"jwk": null}))),
        ("jwk a text", headed(json!({"jwk": "x"}))),
        ("jwk symmetric", headed(json!({"jwk": {"kty": "oct", "k": "AAAA"}}))),
        ("crit", headed(json!({"crit": ["x"]}))),
        // Check 7: no private key.
        ("jwk private", headed(json!({"jwk": private}))),
        // Checks 8 and 9: method and URI.
        ("htm of another method", proof(&token, "x", json!({"htm": "POST"}))),
        ("htm in another case", proof(&token, "x", json!({"htm": "get"}))),
        ("htu of another host", proof(&token, "x", json!({"htu": "https://gw.example/read/1"}))),
        ("htu of another path", proof(&token, "x", json!({"htu": format!("{ORIGIN}/read/2")}))),
        // Check 12: the hash of the access token, and the key that it is bound to.
        ("ath of another token", proof(&token, "x", json!({"ath": ath("other")}))),
        ("key of somebody else", other.mint(header_of(&other, json!({})), &claims(json!({})))),
    ];
    for (what, proof) in cases {
        let outcome = gateway.call(&call(&token, &proof));
        assert_eq!(outcome.refusal(), Some(Reason::ProofInvalid), "{what}: {outcome:?}");
    }
    // None of them used the identifier up.
    assert_passes(&gateway.call(&call(&token, &good)));
    // Check 5 of a proof in which all else is right.
    let edwards = Signer::anonymous("EdDSA", 3);
    let token = bound_to(&edwards);
    let proof = edwards.mint(header_of(&edwards, json!({})), &proof_claims(&token, "x", json!({})));
    assert_refused(&gateway.call(&call(&token, &proof)), Reason::ProofInvalid);
}

#[test]
fn a_proof_has_eight_kibibytes_at_most() {
    let gateway = gateway(json!({}));
    let token = bound();
    // What is not understood is ignored, in the header (RFC 7515 section 4) as in the claims (RFC 7519 section 4).
    let of_length = |length: usize| {
        let padded = |header: usize, claims: usize| {
            let claims = proof_claims(&token, &length.to_string(), json!({"x": "x".repeat(claims)}));
            CLIENT.mint(header_of(&CLIENT, json!({"x": "x".repeat(header)})), &claims)
        };
        let short = (length - padded(0, 0).len()) * 3 / 4;
        let all = (0..4).flat_map(|header| (0..8).map(move |more| (header, short + more - 6)));
        all.map(|(header, claims)| padded(header, claims)).find(|proof| proof.len() == length).unwrap()
    };
    for length in [8191, 8192] {
        assert_passes(&gateway.call(&call(&token, &of_length(length))));
    }
    for length in [8193, 8194] {
        assert_refused(&gateway.call(&call(&token, &of_length(length))), Reason::ProofInvalid);
    }
}

#[test]
fn every_bit_of_a_proof_counts() {
    let gateway = gateway(json!({}));
    let token = bound();
    let good = proof(&token, "x", json!({}));
    for place in (0..good.len()).step_by(7) {
        let mut bytes = good.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text == good || gateway.call(&call(&token, &text)).refusal() == Some(Reason::ProofInvalid),
            "{place}"
        );
    }
    assert_passes(&gateway.call(&call(&token, &good)));
}

#[test]
fn a_key_of_every_asymmetric_type_proves_itself() {
    // Section 4.2 and RFC 7638.
    let gateway = gateway(json!({"algorithms": [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "ES256K",
    ]}));
    for name in ALGORITHMS.into_iter().filter(|name| !name.starts_with("HS")) {
        let signer = Signer::anonymous(name, 5);
        let token = bound_to(&signer);
        let proof = signer.mint(header_of(&signer, json!({})), &proof_claims(&token, name, json!({})));
        assert_passes(&gateway.call(&call(&token, &proof)));
    }
}

#[test]
fn the_uri_is_compared_normalized_with_the_configured_origin_and_never_with_the_host() {
    // Section 4.3, check 9: without query and fragment, normalized as RFC 3986 sections 6.2.2 and 6.2.3 say.
    let gateway = gateway(json!({}));
    let token = bound();
    let htu = |htu: &str, path: &str, jti: &str| {
        let proof = proof(&token, jti, json!({"htu": htu}));
        gateway.call(&call(&token, &proof).with(":path", path).host("evil.example"))
    };
    for (number, (uri, path)) in [
        ("https://api.example.com/read/1", "/read/1"),
        ("HTTPS://API.EXAMPLE.COM:443/read/1", "/read/1"),
        ("https://api.example.com./read/1", "/read/1"),
        ("https://api.example.com/read/1?a=b#c", "/read/1?x=y"),
        ("https://api.example.com/read/1", "/read/1?x=y"),
        ("https://api.example.com/read/%7ea%c3%a4", "/read/~a%C3%A4"),
        ("https://api.example.com/read/~a", "/%72ead/%7Ea"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_passes(&htu(uri, path, &format!("good-{number}")));
    }
    for (uri, path) in [
        ("http://api.example.com/read/1", "/read/1"),
        ("https://api.example.com:8443/read/1", "/read/1"),
        ("https://evil.example/read/1", "/read/1"),
        ("https://api.example.com@evil.example/read/1", "/read/1"),
        ("https://user@api.example.com/read/1", "/read/1"),
        ("https://api.example.com.evil.example/read/1", "/read/1"),
        ("https://api.example.com/read/1/", "/read/1"),
        ("https://api.example.com/Read/1", "/read/1"),
        ("https://api.example.com/x/../read/1", "/read/1"),
        ("https://api.example.com", "/read/1"),
        ("/read/1", "/read/1"),
        ("", "/read/1"),
    ] {
        assert_refused(&htu(uri, path, "bad"), Reason::ProofInvalid);
    }
    // An address in brackets, whose colons set no port apart.
    let gateway = crate::dpop::gateway(json!({"public_origin": "https://[2001:db8::1]"}));
    for (htu, passes) in [
        ("https://[2001:DB8:0::1]/read/1", true),
        ("https://[2001:db8::1]:443/read/1", true),
        ("https://[2001:db8::1]:8443/read/1", false),
        ("https://[2001:db8::2]/read/1", false),
    ] {
        let outcome = gateway.call(&call(&token, &proof(&token, htu, json!({"htu": htu}))));
        assert_eq!(outcome.refusal(), (!passes).then_some(Reason::ProofInvalid), "{htu}");
    }
}

#[test]
fn a_proof_is_good_from_a_little_before_its_time_until_its_greatest_age() {
    // Section 4.3, check 11.
    let mut gateway = gateway(json!({"max_age": "30s"}));
    let token = bound();
    for (number, (now, passes)) in
        [(NOW - 61, false), (NOW - 60, true), (NOW, true), (NOW + 30, true), (NOW + 31, false)]
            .into_iter()
            .enumerate()
    {
        gateway.now = Duration::from_secs(now);
        let outcome = gateway.call(&call(&token, &proof(&token, &number.to_string(), json!({}))));
        let expected = (!passes).then_some(Reason::ProofInvalid);
        assert_eq!(outcome.refusal(), expected, "{now} {outcome:?}");
    }
    gateway.now = Duration::from_millis(NOW * 1000 + 30_001);
    assert_refused(&gateway.call(&call(&token, &proof(&token, "late", json!({})))), Reason::ProofInvalid);
}

#[test]
fn a_proof_is_taken_once_for_as_long_as_it_would_be_good() {
    // Section 11.1; across the reload of a configuration too.
    for shared in [None, Some(Rc::new(SharedData::default()))] {
        let mut gateway = gateway(json!({}));
        gateway.shared = shared;
        let token = bound();
        let used = call(&token, &proof(&token, "same", json!({})));
        assert_passes(&gateway.call(&used));
        for seconds in [0, 1, 59, 60] {
            gateway.now = Duration::from_secs(NOW + seconds);
            assert_refused(&gateway.call(&used), Reason::ProofReplayed);
            let mut changed = config(dpop(json!({})));
            changed["realm"] = json!(format!("other-{seconds}"));
            changed["providers"]["corp"]["max_token_age"] = json!(format!("{}h", seconds + 1));
            gateway.reload(&changed);
            assert_refused(&gateway.call(&used), Reason::ProofReplayed);
        }
        gateway.now = Duration::from_secs(NOW + 61);
        assert_refused(&gateway.call(&used), Reason::ProofInvalid);
        // Somebody else's proof may have the same identifier.
        gateway.now = Duration::from_secs(NOW);
        let other = Signer::anonymous("ES256", 9);
        let token = bound_to(&other);
        let theirs = other.mint(header_of(&other, json!({})), &proof_claims(&token, "same", json!({})));
        assert_passes(&gateway.call(&call(&token, &theirs)));
    }
}

#[test]
fn a_proof_that_one_worker_took_is_refused_by_the_others() {
    let shared = Rc::new(SharedData::default());
    let workers = [(); 3].map(|()| {
        let mut worker = gateway(json!({}));
        worker.shared = Some(Rc::clone(&shared));
        worker
    });
    let token = bound();
    for number in 0..30 {
        let used = call(&token, &proof(&token, &number.to_string(), json!({})));
        // Another worker comes between now and then.
        shared.refuses.set(number % 4);
        let first = number % 3;
        assert_passes(&workers[first].call(&used));
        for worker in &workers {
            assert_refused(&worker.call(&used), Reason::ProofReplayed);
        }
    }
    // A store that takes nothing any more must not take proofs for ever.
    shared.refuses.set(usize::MAX);
    let used = call(&token, &proof(&token, "0", json!({})));
    assert_refused(&workers[0].call(&used), Reason::ProofReplayed);
}

#[test]
fn a_cached_token_needs_a_fresh_proof_on_each_request() {
    let gateway = gateway(json!({}));
    let token = bound();
    let first = call(&token, &proof(&token, "1", json!({})));
    assert_passes(&gateway.call(&first));
    assert_refused(&gateway.call(&first), Reason::ProofReplayed);
    let without = Call::get("/read/1").header("authorization", format!("DPoP {token}"));
    assert_refused(&gateway.call(&without), Reason::ProofMissing);
    assert_passes(&gateway.call(&call(&token, &proof(&token, "2", json!({})))));
}

#[test]
fn the_challenge_names_the_scheme_and_its_algorithms() {
    // Section 7.1.
    let (plain, bound) = (token(json!({})), bound());
    let challenges = |gateway: &Gateway, call: &Call| {
        let refused = gateway.call(call).refused();
        let headers = refused.answer.headers.iter().filter(|(name, _)| *name == "www-authenticate");
        (refused.answer.status, headers.map(|(_, value)| value.to_owned()).collect::<Vec<_>>())
    };
    let none = Call::get("/read/1");
    let optional = gateway(json!({"algorithms": ["ES256", "EdDSA"]}));
    let dpop = r#"DPoP realm="gw", algs="ES256 EdDSA""#;
    assert_eq!(challenges(&optional, &none), (401, vec![r#"Bearer realm="gw""#.to_owned(), dpop.to_owned()]));
    let required = gateway(json!({"mode": "required", "algorithms": ["ES256", "EdDSA"]}));
    assert_eq!(challenges(&required, &none), (401, vec![dpop.to_owned()]));
    let (status, all) = challenges(&required, &Call::get("/read/1").bearer(&plain));
    assert_eq!((status, all.len()), (401, 1));
    assert!(all[0].starts_with(r#"DPoP realm="gw", error="invalid_token", "#), "{all:?}");
    assert!(all[0].ends_with(r#", algs="ES256 EdDSA""#), "{all:?}");
    let (status, all) = challenges(&optional, &call(&bound, "x"));
    assert_eq!((status, all.len()), (401, 1));
    assert!(all[0].starts_with(r#"DPoP realm="gw", error="invalid_dpop_proof", "#), "{all:?}");
    // Whatever else is wrong with what came under it.
    let post = Call::new("POST", "/read/1").header("authorization", format!("DPoP {bound}"));
    let post = post.header("dpop", proof(&bound, "p", json!({"htm": "POST"})));
    let (status, all) = challenges(&optional, &post);
    assert_eq!((status, all.len()), (403, 1));
    assert!(all[0].starts_with(r#"DPoP realm="gw", error="insufficient_scope", "#), "{all:?}");
    assert!(all[0].ends_with(r#", algs="ES256 EdDSA", scope="never""#), "{all:?}");
    // Without it nothing is new.
    let (status, all) = challenges(&optional, &Call::get("/read/1").bearer("e.e.e"));
    assert_eq!((status, all.len()), (401, 1));
    assert!(all[0].starts_with("Bearer "), "{all:?}");
}

#[test]
fn a_nonce_is_asked_for_given_and_good_for_two_lifetimes() {
    // Sections 8 and 9.
    let mut gateway = gateway(json!({"nonce": {"secret": {"value": SECRET}, "lifetime": "5m"}}));
    let token = bound();
    let with_nonce =
        |nonce: Value, jti: &str| call(&token, &proof(&token, jti, json!({"nonce": nonce, "iat": 1})));
    let refused = gateway.call(&with_nonce(json!(null), "1")).refused();
    assert_eq!(refused.reason, Reason::ProofInvalid);
    assert_eq!(refused.body()["error"], "use_dpop_nonce");
    assert!(refused.header("www-authenticate").unwrap().contains(r#"error="use_dpop_nonce""#));
    let nonce = refused.header("dpop-nonce").unwrap().to_owned();
    // The client's clock is of no matter then. 1,800,000,000 begins a lifetime.
    for (seconds, good) in [(0, true), (299, true), (300, true), (599, true), (600, false)] {
        gateway.now = Duration::from_secs(NOW + seconds);
        let outcome = gateway.call(&with_nonce(json!(nonce), &format!("at-{seconds}")));
        assert_eq!(outcome.refusal().is_none(), good, "{seconds} {outcome:?}");
        if good {
            // Section 8.2: the next one comes with the response, in the second half of the nonce's time only.
            let next = outcome.passed().next_nonce;
            assert_eq!(next.is_some(), seconds >= 300, "{seconds}");
            assert_ne!(next.as_ref(), Some(&nonce));
            if let Some(next) = next {
                assert_passes(&gateway.call(&with_nonce(json!(next), &format!("next-{seconds}"))));
            }
            assert_refused(
                &gateway.call(&with_nonce(json!(nonce), &format!("at-{seconds}"))),
                Reason::ProofReplayed,
            );
        } else {
            assert_eq!(outcome.refused().body()["error"], "use_dpop_nonce");
        }
    }
    gateway.now = Duration::from_secs(NOW + 599);
    assert_refused(&gateway.call(&with_nonce(json!(nonce), "at-0")), Reason::ProofReplayed);
    for other in [json!("x"), json!(""), json!(7), json!(nonce.to_lowercase())] {
        let refused = gateway.call(&with_nonce(other, "2")).refused();
        assert_eq!(refused.body()["error"], "use_dpop_nonce");
    }
    // Another proxy of the fleet takes it, one with another secret gives its own.
    let theirs = crate::dpop::gateway(json!({"nonce": {"secret": {"value": SECRET}}}));
    assert_passes(&theirs.call(&with_nonce(json!(nonce), "3")));
    let other = json!({"secret": {"value": "another secret, as long as a hash"}});
    let theirs = crate::dpop::gateway(json!({"nonce": other}));
    assert_eq!(theirs.call(&with_nonce(json!(nonce), "4")).refused().body()["error"], "use_dpop_nonce");
}

#[test]
fn a_secret_that_is_not_there_is_the_operators_fault() {
    let mut gateway = gateway(json!({"nonce": {"secret": {"env": "DPOP_SECRET"}}}));
    let token = bound();
    for value in [None, Some(""), Some("short")] {
        gateway.variables = value.into_iter().map(|value| ("DPOP_SECRET", value)).collect();
        let outcome = gateway.call(&call(&token, &proof(&token, "1", json!({}))));
        assert_refused(&outcome, Reason::KeysUnavailable);
    }
    gateway.variables = [("DPOP_SECRET", SECRET)].into();
    let refused = gateway.call(&call(&token, &proof(&token, "1", json!({})))).refused();
    let nonce = refused.header("dpop-nonce").unwrap();
    assert_passes(&gateway.call(&call(&token, &proof(&token, "1", json!({"nonce": nonce})))));
}

#[test]
fn the_upstream_gets_neither_proof_nor_token_unless_it_is_to_have_them() {
    let token = bound();
    for forwards in [false, true] {
        let mut config = config(dpop(json!({})));
        config["forward"] = json!({"token": forwards});
        let passed = Gateway::new(&config).call(&call(&token, &proof(&token, "1", json!({})))).passed();
        let seen = ["authorization", "dpop"].map(|name| passed.value(name).is_some());
        assert_eq!(seen, [forwards; 2]);
    }
    let plain = crate::gateway::token(json!({}));
    let passed = gateway(json!({})).call(&Call::get("/read/1").bearer(&plain).header("dpop", "x")).passed();
    assert_eq!(passed.value("dpop"), None);
}

#[test]
fn the_binding_may_be_the_introspection_responses() {
    // Section 6.2.
    let mut config = config(dpop(json!({"mode": "required"})));
    config["providers"]["corp"]["introspection"] = json!({
        "uri": "https://idp.example/introspect", "cluster": "idp", "client_auth": {"method": "none"},
    });
    let answer = |cnf: Value| {
        let body = json!({"active": true, "aud": "api", "token_type": "DPoP", "sub": "alice", "cnf": cnf});
        move |_: &IssuerCall| Ok((200, body.to_string()))
    };
    let own = json!({"jkt": thumbprint(&CLIENT)});
    for (cnf, expected) in [
        (own.clone(), None),
        (json!({"jkt": thumbprint(&Signer::anonymous("ES256", 8))}), Some(Reason::ProofInvalid)),
        (json!({"jkt": "x"}), Some(Reason::SenderConstraintFailed)),
        (json!({"x5t#S256": "A".repeat(43)}), Some(Reason::SenderConstraintFailed)),
    ] {
        let gateway = Gateway::new(&config);
        let call = call("opaque", &proof("opaque", "1", json!({})));
        assert_eq!(gateway.call_answered(&call, &mut answer(cnf)).refusal(), expected);
    }
    // A JWT that the issuer is asked about as well: the proof of a request that waited is not its own replay.
    config["providers"]["corp"]["introspection"]["apply_to"] = json!("all");
    for token in [bound(), token(json!({}))] {
        let gateway = Gateway::new(&config);
        let call = call(&token, &proof(&token, "1", json!({})));
        assert_passes(&gateway.call_answered(&call, &mut answer(own.clone())));
        assert_refused(&gateway.call_answered(&call, &mut answer(own.clone())), Reason::ProofReplayed);
    }
    // Who holds no proof has nobody asked.
    let gateway = Gateway::new(&config);
    let stolen = call(&bound(), "x");
    assert_refused(&gateway.call(&stolen), Reason::ProofInvalid);
}

#[test]
fn what_is_remembered_of_proofs_is_bounded_and_nothing_is_forgotten_early() {
    use scopegate::authenticate::proof::Proof;
    use scopegate::authenticate::replay::{OwnProofs, Seen, remember};
    use scopegate::collections::shared_store::SharedStore;
    let now = Duration::from_secs(NOW);
    // The first two bytes of a digest say in which of 4,096 records it stands; these all stand in one.
    let proof = |number: u32| {
        let mut id = [0; 16];
        id[12..].copy_from_slice(&number.to_be_bytes());
        Proof { id, good_until: now + Duration::from_secs(60), nonce_is_ageing: false }
    };
    let shared = SharedData::default();
    for (store, room) in [(None, 32), (Some(&shared as &dyn SharedStore), 128)] {
        let mut own = OwnProofs::default();
        for number in 0..room {
            assert_eq!(remember(&proof(number), store, &mut own, now), Seen::Fresh);
        }
        for (number, time) in (0..room + 5).flat_map(|number| [0, 60, 61].map(|time| (number, time))) {
            let then = now + Duration::from_secs(time);
            let expected = if number < room { Seen::Before } else { Seen::Full };
            assert_eq!(remember(&proof(number), store, &mut own, then), expected, "{number}");
        }
        // 20 bytes for each proof, and what a record takes beside them; nothing where all workers remember together.
        let takes = if store.is_none() { 32 * 20..2_000 } else { 0..1 };
        assert!(takes.contains(&own.bytes()), "{}", own.bytes());
        // Another record has room, and what has ended makes some.
        let mut elsewhere = proof(0);
        elsewhere.id[1] = 1;
        assert_eq!(remember(&elsewhere, store, &mut own, now), Seen::Fresh);
        let later = now + Duration::from_secs(62);
        let fresh = Proof { good_until: later, ..proof(room) };
        assert_eq!(remember(&fresh, store, &mut own, later), Seen::Fresh);
    }
    // The mark, and 20 bytes for each proof.
    assert!(shared.bytes() <= 2 * (4 + 128 * 20), "{}", shared.bytes());
}

/// A host that takes values and never gives one back.
struct Forgetful;

impl scopegate::collections::shared_store::SharedStore for Forgetful {
    fn read(&self, _: &str) -> Option<(Vec<u8>, u32)> {
        None
    }

    fn write(&self, _: &str, _: &[u8], _: u32) -> bool {
        true
    }
}

#[test]
fn where_a_host_gives_nothing_back_each_worker_remembers_by_itself() {
    use scopegate::authenticate::proof::Proof;
    use scopegate::authenticate::replay::{OwnProofs, Seen, remember};
    let now = Duration::from_secs(NOW);
    let proof = Proof { id: [7; 16], good_until: now + Duration::from_secs(60), nonce_is_ageing: false };
    let mut own = OwnProofs::default();
    assert_eq!(remember(&proof, Some(&Forgetful), &mut own, now), Seen::Fresh);
    assert_eq!(remember(&proof, Some(&Forgetful), &mut own, now), Seen::Before);
}
