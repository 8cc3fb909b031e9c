//! Certificates that another proxy tells of (RFC 8705 behind RFC 9440), and what `profile: fapi2` asks of tokens.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use scopegate::exchange::HeaderEdits;
use scopegate::http::headers::borrowed;
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

/// Counts the headers that are removed.
#[derive(Default)]
struct Removed(usize);

impl HeaderEdits for Removed {
    fn remove(&mut self, _: &[u8]) {
        self.0 += 1;
    }

    fn set(&mut self, _: &str, _: &[u8]) {}
    fn add(&mut self, _: &str, _: &[u8]) {}
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
fn a_certificate_on_the_connection_is_the_clients_and_only_the_bound_token_needs_it() {
    // RFC 8705 sections 3 and 3.1.
    let mut gateway = Gateway::new(&config(json!({})));
    for (own, passes) in
        [(None, false), (Some([7; 32]), false), (Some(Sha256::digest(CERTIFICATE).into()), true)]
    {
        gateway.certificate = own;
        let outcome = gateway.call(&Call::get("/read/1").bearer(&bound_token()));
        assert_eq!(outcome.refusal(), (!passes).then_some(Reason::SenderConstraintFailed));
        assert_eq!(gateway.call(&Call::get("/read/1").bearer(&token(json!({})))).refusal(), None);
    }
}

#[test]
fn a_certificate_counts_from_peers_that_are_believed_and_from_nobody_else() {
    // RFC 9440 sections 2.2, 2.4 and 4; RFC 8705 section 6.5.
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
fn the_binding_may_be_the_introspection_responses() {
    // RFC 8705 section 3.2; section 3: another certificate is 401 `invalid_token`.
    let config = config(json!({"introspection": {
        "uri": "https://idp.example/introspect", "cluster": "idp", "client_auth": {"method": "none"},
    }}));
    let digest: [u8; 32] = Sha256::digest(CERTIFICATE).into();
    for (own, passes) in [(Some(digest), true), (Some([7; 32]), false), (None, false)] {
        let mut gateway = Gateway::new(&config);
        gateway.certificate = own;
        let body = json!({"active": true, "aud": "api", "token_type": "Bearer", "sub": "alice",
            "cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode(digest)}});
        let call = Call::get("/read/1").bearer("opaque");
        let outcome = gateway.call_answered(&call, &mut |_| Ok((200, body.to_string())));
        if passes {
            assert_eq!(outcome.refusal(), None);
        } else {
            let refused = outcome.refused();
            assert_eq!((refused.reason, refused.answer.status), (Reason::SenderConstraintFailed, 401));
            assert_eq!(refused.body()["error"], "invalid_token");
        }
    }
}

#[test]
fn a_jwt_and_an_answer_that_bind_it_to_different_certificates_open_for_neither() {
    let config = config(json!({"introspection": {
        "uri": "https://idp.example/introspect", "cluster": "idp", "client_auth": {"method": "none"},
        "apply_to": "all",
    }}));
    let own: [u8; 32] = Sha256::digest(CERTIFICATE).into();
    for (said, passes) in [(own, true), ([7; 32], false)] {
        for certificate in [own, [7; 32]] {
            let mut gateway = Gateway::new(&config);
            gateway.certificate = Some(certificate);
            let body = json!({"active": true, "aud": "api", "sub": "alice",
                "cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode(said)}});
            let call = Call::get("/read/1").bearer(&bound_token());
            let outcome = gateway.call_answered(&call, &mut |_| Ok((200, body.to_string())));
            let expected = (!passes || certificate != own).then_some(Reason::SenderConstraintFailed);
            assert_eq!(outcome.refusal(), expected);
        }
    }
}

#[test]
fn the_chain_beside_a_certificate_is_of_whom_the_certificate_may_be() {
    // RFC 9440 sections 2.3 and 2.4.
    for (peer, stays) in [("10.0.0.1", true), ("192.0.2.1", false)] {
        let mut gateway = behind("client-cert");
        gateway.peer = peer.parse().ok();
        let passed = gateway.call(&Call::get("/open").header("client-cert-chain", ":AQID:")).passed();
        assert_eq!(passed.value("client-cert-chain").is_some(), stays, "{peer}");
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
    // What did not come is not taken away: each edit is a call to the proxy.
    for name in NAMES {
        let call = Call::get("/open").header("x-forwarded-for", "10.1.1.1");
        let mut removed = Removed::default();
        behind(name).step(&borrowed(&call.headers), &mut removed);
        assert_eq!(removed.0, 0);
        let call = call.header(name, value(name, CERTIFICATE)).header(name, value(name, CERTIFICATE));
        behind(name).step(&borrowed(&call.headers), &mut removed);
        assert_eq!(removed.0, 1);
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
fn fapi2_clause_3_validity_integrity_expiration_and_revocation() {
    let cnf = json!({"x5t#S256": URL_SAFE_NO_PAD.encode(Sha256::digest(CERTIFICATE))});
    let with = |changes: Value| token(merge(json!({"cnf": cnf}), changes));
    let refusal =
        |config: &Value, token: &str| certified(config, &Call::get("/read/1").bearer(token)).refusal();
    let plain = fapi2(json!({}));
    let good = with(json!({"jti": "id-1"}));
    assert_eq!(refusal(&plain, &good), None);
    assert_eq!(refusal(&plain, &with(json!({"exp": 1}))), Some(Reason::TokenExpired));
    assert_eq!(refusal(&plain, &with(json!({"aud": "other"}))), Some(Reason::AudienceMismatch));
    let forged = Signer::new("ES256", "k2", 8).mint(json!({}), &claims(json!({"cnf": cnf})));
    assert_eq!(refusal(&plain, &forged), Some(Reason::SignatureInvalid));
    let endless = {
        let mut claims = claims(json!({"cnf": cnf}));
        claims.as_object_mut().unwrap().remove("exp");
        Signer::new("ES256", "k2", 7).mint(json!({}), &claims)
    };
    assert_eq!(refusal(&plain, &endless), Some(Reason::ClaimMissing));
    assert_eq!(refusal(&fapi2(json!({"revoked": {"jti": ["id-1"]}})), &good), Some(Reason::TokenRevoked));
    let asking = fapi2(json!({"introspection": {
        "uri": "https://idp.example/introspect", "cluster": "idp", "client_auth": {"method": "none"}, "apply_to": "all",
    }}));
    for (active, expected) in [(true, None), (false, Some(Reason::TokenInactive))] {
        let mut gateway = Gateway::new(&asking);
        gateway.certificate = Some(Sha256::digest(CERTIFICATE).into());
        let body = json!({"active": active, "aud": "api", "token_type": "Bearer"});
        let call = Call::get("/read/1").bearer(&good);
        assert_eq!(gateway.call_answered(&call, &mut |_| Ok((200, body.to_string()))).refusal(), expected);
    }
}

#[test]
fn fapi2_clause_4_what_the_token_does_not_authorize_is_answered_as_rfc_6750_section_3_1_says() {
    let mut config = fapi2(json!({}));
    config["suites"][0]["operations"][0] =
        json!({"name": "read", "path": "/read/{id}", "requires": ["read"]});
    let cnf = json!({"x5t#S256": URL_SAFE_NO_PAD.encode(Sha256::digest(CERTIFICATE))});
    let refused =
        certified(&config, &Call::get("/read/1").bearer(&token(json!({"cnf": cnf, "scope": "other"}))))
            .refused();
    assert_eq!(refused.answer.status, 403);
    assert!(refused.header("www-authenticate").unwrap().contains(r#"error="insufficient_scope""#));
    let refused = certified(&config, &Call::get("/read/1").bearer("e.e.e")).refused();
    assert_eq!(refused.answer.status, 401);
    assert!(refused.header("www-authenticate").unwrap().contains(r#"error="invalid_token""#));
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
