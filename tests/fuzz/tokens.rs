//! Tokens and proofs: no bytes but those that the issuer and the client signed are taken.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scopegate_testing::mint::Signer;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::gateway::{Call, Gateway, NOW, Outcome, provider, token as mint};

/// One operation, which any good token opens.
pub fn configuration(providers: Value) -> Value {
    json!({
        "version": 1,
        "providers": providers,
        "tenants": [{"id": "acme"}],
        "suites": [{"name": "s", "operations": [{"name": "o", "path": "/**", "access": "authenticated"}]}],
    })
}

thread_local! {
    static GATEWAY: Gateway = Gateway::new(&configuration(json!({"corp": provider(json!({}))})));
    static GOOD: String = mint(json!({}));
    static BOUND: String = mint(json!({"cnf": {"jkt": thumbprint(&client())}}));
    static GOOD_PROOF: String = proof_of_client();
}

/// The good token.
pub fn good() -> String {
    GOOD.with(String::clone)
}

/// The good proof, for the token that is bound to its key.
pub fn good_proof() -> String {
    GOOD_PROOF.with(String::clone)
}

/// A bearer token passes where it is the good one, blanks around it aside.
pub fn token(bytes: &[u8]) {
    let call = Call::get("/orders").header("authorization", [b"Bearer ", bytes].concat());
    assert_taken_if_good(&GATEWAY.with(|gateway| gateway.call(&call)), bytes, &good());
}

/// A proof passes where it is the client's own, blanks around it aside, and never a second time (RFC 9449).
pub fn proof(bytes: &[u8]) {
    let dpop = json!({"mode": "required", "public_origin": "https://api.example.com"});
    let gateway = Gateway::new(&configuration(json!({"corp": provider(json!({"dpop": dpop}))})));
    let bound = BOUND.with(String::clone);
    let call = Call::get("/orders").header("authorization", format!("DPoP {bound}")).header("dpop", bytes);
    assert_taken_if_good(&gateway.call(&call), bytes, &good_proof());
    let again = gateway.call(&call);
    assert!(matches!(again, Outcome::Refused(_)), "{again:?}");
}

/// `good` itself passes, and nothing else does that is more than blanks around it.
fn assert_taken_if_good(outcome: &Outcome, bytes: &[u8], good: &str) {
    let passed = matches!(outcome, Outcome::Passed(_));
    assert!(!passed || bytes.trim_ascii() == good.as_bytes(), "{outcome:?}");
    assert!(passed || bytes != good.as_bytes(), "{outcome:?}");
}

fn client() -> Signer {
    Signer::anonymous("EdDSA", 9)
}

/// RFC 7638 of an Ed25519 key (RFC 8037 section 2): the required members in lexicographic order.
fn thumbprint(signer: &Signer) -> String {
    let x = signer.jwk()["x"].to_string();
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":{x}}}"#)))
}

fn proof_of_client() -> String {
    let ath = URL_SAFE_NO_PAD.encode(Sha256::digest(BOUND.with(String::clone)));
    let htu = "https://api.example.com/orders";
    let claims = json!({"jti": "1", "htm": "GET", "htu": htu, "iat": NOW, "ath": ath});
    client().mint(json!({"typ": "dpop+jwt", "jwk": client().jwk()}), &claims)
}
