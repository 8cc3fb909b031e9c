//! What issuers answer and what workers share: it decides no more than the issuer may.

use std::rc::Rc;

use scopegate::issuer::IssuerCall;
use scopegate_testing::mint::Signer;
use serde_json::{Value, json};

use crate::gateway::{
    AUDIENCE, Call, Gateway, ISSUER, KEY, NOW, Outcome, SharedData, claims, provider, token,
};
use crate::tokens::configuration;

/// A provider whose keys are fetched and whose opaque tokens are introspected.
fn asked() -> Value {
    let changes = json!({
        "local_jwks": null,
        "remote_jwks": {"uri": "https://idp.example/jwks", "cluster": "idp"},
        "introspection": {"uri": "https://idp.example/introspect", "cluster": "idp", "client_auth": {"method": "none"}},
    });
    configuration(json!({"corp": provider(changes)}))
}

fn bearer(token: &str) -> Call {
    Call::get("/orders").bearer(token)
}

/// A token passes only where the key set that was fetched has its key, whatever else is in it.
pub fn jwks(bytes: &[u8]) {
    let gateway = Gateway::new(&asked());
    let body = String::from_utf8_lossy(bytes).into_owned();
    let outcome = gateway.call_answered(&bearer(&token(json!({}))), &mut |_| Ok((200, body.clone())));
    if matches!(outcome, Outcome::Passed(_)) {
        let set: Value = serde_json::from_str(&body).expect("a key set is JSON");
        let keys = set["keys"].as_array().expect("a key set has keys");
        assert!(keys.iter().any(|key| key["x"] == KEY.jwk()["x"] && key.get("d").is_none()), "{set}");
    }
}

/// An opaque token passes only where the answer says that it is active, in a time and for an audience that hold.
pub fn introspection(bytes: &[u8]) {
    let gateway = Gateway::new(&asked());
    let body = String::from_utf8_lossy(bytes).into_owned();
    let outcome = gateway.call_answered(&bearer("opaque"), &mut |_| Ok((200, body.clone())));
    if matches!(outcome, Outcome::Passed(_)) {
        let answer: Value = serde_json::from_str(&body).expect("an answer is JSON");
        assert_eq!(answer["active"], true, "{answer}");
        let audience = &answer["aud"];
        assert!(
            *audience == AUDIENCE || audience.as_array().is_some_and(|all| all.contains(&json!(AUDIENCE)))
        );
        assert!(answer["iss"].is_null() || answer["iss"] == ISSUER, "{answer}");
        // The default clock skew is a minute.
        let time = |name: &str| answer[name].as_f64();
        assert!(time("exp").is_none_or(|exp| exp + 60.0 > NOW as f64), "{answer}");
        assert!(time("nbf").is_none_or(|nbf| nbf - 60.0 <= NOW as f64), "{answer}");
    }
}

/// Whatever stands in the data that workers share: a token by a key that the issuer never had is refused, and so is an
/// opaque token that the issuer never called active.
pub fn shared_data(bytes: &[u8]) {
    let shared = Rc::new(SharedData::default());
    let sharing = || {
        let mut gateway = Gateway::new(&asked());
        gateway.shared = Some(Rc::clone(&shared));
        gateway
    };
    let mut issuer = |call: &IssuerCall| match call {
        IssuerCall::FetchKeys { .. } => Ok((200, scopegate_testing::mint::jwks([&*KEY]).to_string())),
        IssuerCall::Introspect { token, .. } => {
            let active = claims(json!({"active": &**token == "good"}));
            Ok((200, active.to_string()))
        }
    };
    let first = sharing();
    for known in [token(json!({})), "good".to_owned()] {
        first.call_answered(&bearer(&known), &mut issuer);
    }
    shared.replace_all(bytes);
    let second = sharing();
    let forged = Signer::new("EdDSA", "k1", 8).mint(json!({"typ": "at+jwt"}), &claims(json!({})));
    for refused in [forged.as_str(), "bad"] {
        let outcome = second.call_answered(&bearer(refused), &mut issuer);
        assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }
}
