//! Certificates that another proxy tells of (RFC 8705 behind RFC 9440), and what `profile: fapi2` asks of tokens.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use scopegate::respond::Reason;
use scopegate_testing::mint::{Signer, jwks};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::dpop;
use crate::gateway::{Call, Gateway, Outcome, claims, merge, provider, token};

const CERTIFICATE: &[u8] = b"the DER of the client's certificate";

fn config(changes: Value) -> Value {
    json!({
        "version": 1, "realm": "gw",
        "providers": {"corp": provider(changes)},
        "tenants": [{"id": "acme", "providers": ["corp"]}],
        "suites": [{"name": "s", "operations": [
            {"name": "read", "path": "/read/{id}", "access": "authenticated"},
            {"name": "open", "path": "/open", "access": "public"},
        ]}],
    })
}

fn behind(name: &str) -> Gateway {
    let proxy = "b8".repeat(32);
    let header = json!({"name": name, "from": ["10.0.0.0/8", proxy]});
    Gateway::new(&config(json!({"certificate_header": header})))
}

fn bound_token() -> String {
    token(json!({"cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode(Sha256::digest(CERTIFICATE))}}))
}

fn value(name: &str, certificate: &[u8]) -> String {
    match name {
        "client-cert" => format!(":{}:", STANDARD.encode(certificate)),
        _ => {
            let hash: String = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("By=spiffe://gateway;Hash={hash};Subject=\"CN=app\"")
        }
    }
}

const NAMES: [&str; 2] = ["client-cert", "x-forwarded-client-cert"];

#[test]
fn a_certificate_counts_from_peers_that_are_believed_and_from_nobody_else() {
    let address = |text: &str| text.parse::<IpAddr>().ok();
    let digest = |byte: u8| Some([byte; 32]);
    for name in NAMES {
        for (peer, own, believed) in [
            (address("10.1.2.3"), None, true),
            (address("192.0.2.1"), None, false),
            (None, None, false),
            (address("192.0.2.1"), digest(0xb8), true),
            (None, digest(0xb8), true),
            (address("192.0.2.1"), digest(0xb9), false),
        ] {
            let mut gateway = behind(name);
            (gateway.peer, gateway.certificate) = (peer, own);
            let call = Call::get("/read/1").bearer(&bound_token()).header(name, value(name, CERTIFICATE));
            // Twice: the second time the token is remembered.
            for _ in 0..2 {
                let outcome = gateway.call(&call);
                let expected = (!believed).then_some(Reason::SenderConstraintFailed);
                assert_eq!(outcome.refusal(), expected, "{name} {peer:?} {own:?}");
            }
            let other = Call::get("/read/1").bearer(&bound_token()).header(name, value(name, b"another"));
            assert_eq!(gateway.call(&other).refusal(), Some(Reason::SenderConstraintFailed));
        }
    }
}

#[test]
fn a_believed_proxys_own_certificate_is_not_its_clients() {
    for name in NAMES {
        let mut gateway = behind(name);
        gateway.certificate = Some([0xb8; 32]);
        let own = token(json!({"cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode([0xb8; 32])}}));
        assert_eq!(
            gateway.call(&Call::get("/read/1").bearer(&own)).refusal(),
            Some(Reason::SenderConstraintFailed)
        );
        // Whoever connects directly shows a certificate as ever.
        gateway.certificate = Some(Sha256::digest(CERTIFICATE).into());
        gateway.peer = "192.0.2.1".parse().ok();
        assert_eq!(gateway.call(&Call::get("/read/1").bearer(&bound_token())).refusal(), None);
    }
}

#[test]
fn two_headers_or_one_that_cannot_be_read_tell_of_nobody() {
    for name in NAMES {
        let mut gateway = behind(name);
        gateway.peer = "10.0.0.1".parse().ok();
        let good = value(name, CERTIFICATE);
        let call = Call::get("/read/1").bearer(&bound_token());
        for odd in [String::new(), "x".to_owned(), format!("{good},{good}"), format!("{good}, {good}")] {
            let outcome = gateway.call(&call.clone().header(name, odd));
            assert_eq!(outcome.refusal(), Some(Reason::SenderConstraintFailed));
        }
        let twice = call.header(name, &good).header(name, &good);
        assert_eq!(gateway.call(&twice).refusal(), Some(Reason::SenderConstraintFailed));
    }
}

#[test]
fn what_nobody_who_may_has_said_of_a_certificate_never_reaches_the_upstream() {
    for name in NAMES {
        let look_alike = name.replace('-', "_");
        for (peer, stays) in [("10.0.0.1", true), ("192.0.2.1", false)] {
            let mut gateway = behind(name);
            gateway.peer = peer.parse().ok();
            for call in [Call::get("/open"), Call::get("/read/1").bearer(&token(json!({})))] {
                let call = call.header(name, value(name, CERTIFICATE)).header(&look_alike, "x");
                let passed = gateway.call(&call).passed();
                assert_eq!(passed.value(name).is_some(), stays, "{name} {peer}");
                assert_eq!(passed.value(&look_alike), None);
            }
        }
    }
    // Where nobody is to say it, the filter has nothing to do with it.
    let gateway = Gateway::new(&config(json!({})));
    let passed = gateway.call(&Call::get("/open").header("client-cert", ":AQID:")).passed();
    assert!(passed.value("client-cert").is_some());
}

// ---- FAPI 2.0 Security Profile, section 5.3.4: resource servers

fn fapi2(changes: Value) -> Value {
    let keys = [Signer::new("EdDSA", "k1", 7), Signer::new("ES256", "k2", 7), Signer::new("RS256", "k3", 1)];
    config(merge(json!({"profile": "fapi2", "local_jwks": jwks(&keys)}), changes))
}

fn certified(config: &Value, call: &Call) -> Outcome {
    let mut gateway = Gateway::new(config);
    gateway.certificate = Some(Sha256::digest(CERTIFICATE).into());
    gateway.call(call)
}

#[test]
fn fapi2_takes_tokens_from_headers_and_clause_2_not_from_the_query() {
    let call = Call::get(&format!("/read/1?access_token={}", bound_token()));
    assert_eq!(certified(&fapi2(json!({})), &call).refusal(), Some(Reason::CredentialMissing));
    // Clause 1.
    assert_eq!(certified(&fapi2(json!({})), &Call::get("/read/1").bearer(&bound_token())).refusal(), None);
}

#[test]
fn fapi2_verifies_tokens_with_the_algorithms_of_the_profile() {
    // Clause 3, and section 5.4.1.
    let cnf = json!({"cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode(Sha256::digest(CERTIFICATE))}});
    for (signer, expected) in [
        (Signer::new("ES256", "k2", 7), None),
        (Signer::new("PS256", "k3", 1), None),
        (Signer::new("RS256", "k3", 1), Some(Reason::AlgorithmNotAllowed)),
    ] {
        let token = signer.mint(json!({}), &claims(cnf.clone()));
        assert_eq!(certified(&fapi2(json!({})), &Call::get("/read/1").bearer(&token)).refusal(), expected);
    }
}

#[test]
fn fapi2_clause_5_asks_for_tokens_that_are_bound_to_their_sender() {
    let plain = Call::get("/read/1").bearer(&token(json!({})));
    assert_eq!(certified(&fapi2(json!({})), &plain).refusal(), Some(Reason::SenderConstraintFailed));
    let bound = Call::get("/read/1").bearer(&bound_token());
    assert_eq!(certified(&fapi2(json!({})), &bound).refusal(), None);
    assert_eq!(Gateway::new(&fapi2(json!({}))).call(&bound).refusal(), Some(Reason::SenderConstraintFailed));
    // By a key as well, where the provider takes proofs.
    let bound = dpop::bound();
    let proven = dpop::call(&bound, &dpop::proof(&bound, "1", json!({})));
    let with_proofs = fapi2(json!({"dpop": {"mode": "optional", "public_origin": dpop::ORIGIN}}));
    assert_eq!(Gateway::new(&with_proofs).call(&proven).refusal(), None);
    assert_eq!(certified(&with_proofs, &plain).refusal(), Some(Reason::SenderConstraintFailed));
}
