//! Signed introspection responses. The section of RFC 9701 stands beside each test.

use std::time::Duration;

use super::*;
use scopegate::issuer::{IssuerCall, IssuerFault};
use scopegate_testing::mint::Signer;

const GATEWAY: &str = "gateway";

fn signing(changes: Value) -> Value {
    let client_auth =
        json!({"method": "client_secret_basic", "client_id": GATEWAY, "client_secret": {"value": "s"}});
    provider(overlay(
        json!({"introspection": introspection(json!({"signed": true, "client_auth": client_auth}))}),
        changes,
    ))
}

fn config(changes: Value) -> Value {
    let mut config = file(json!({}));
    config["providers"]["idp"] = signing(changes);
    config
}

fn good() -> Value {
    let members = active(json!({"tenant_id": "acme", "scope": "a", "exp": NOW + 600}));
    json!({"iss": ISSUER, "aud": GATEWAY, "iat": NOW, "token_introspection": members})
}

fn signed(claims: &Value) -> String {
    KEY.mint(json!({"typ": "token-introspection+jwt"}), claims)
}

/// The outcome of a request with an opaque token, where the issuer answers with `body`.
fn answered(config: &Value, body: &str) -> String {
    let call = Call::get("/a").bearer("opaque");
    Gateway::new(config).call_answered(&call, &mut |_| Ok((200, body.to_owned()))).brief()
}

#[test]
fn a_response_that_the_issuer_signed_for_this_gateway_is_taken() {
    // Section 5.
    let config = config(json!({}));
    assert_eq!(answered(&config, &signed(&good())), "acme");
    let with = |changes: Value| signed(&merge(good(), changes));
    for aud in [json!(["other", GATEWAY]), json!([GATEWAY])] {
        assert_eq!(answered(&config, &with(json!({"aud": aud}))), "acme");
    }
    let inactive = with(json!({"token_introspection": {"active": false}}));
    assert_eq!(answered(&config, &inactive), "token_inactive");
    // What it says of the token is judged as ever.
    let of_other = with(json!({"token_introspection": active(json!({"aud": "other"}))}));
    assert_eq!(answered(&config, &of_other), "audience_mismatch");
    let typed = KEY.mint(json!({"typ": "application/Token-Introspection+jwt"}), &good());
    assert_eq!(answered(&config, &typed), "acme");
}

#[test]
fn what_the_issuer_did_not_sign_or_not_for_this_gateway_or_long_ago_is_no_answer() {
    // Sections 5 and 8.1.
    let config = config(json!({}));
    let with = |changes: Value| signed(&merge(good(), changes));
    let typed = |typ: Value| KEY.mint(json!({"typ": typ}), &good());
    let (header, rest) = signed(&good()).split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let strange = Signer::new("EdDSA", "k1", 9).mint(json!({"typ": "token-introspection+jwt"}), &good());
    for (what, body) in [
        ("a plain response", good()["token_introspection"].to_string()),
        ("an access token", typed(json!("at+jwt"))),
        ("a JWT of no type", typed(json!(null))),
        ("a key of somebody else", strange),
        ("another signature", format!("{header}.{}A", &rest[..rest.len() - 1])),
        ("another issuer", with(json!({"iss": "https://other.example"}))),
        ("no issuer", with(json!({"iss": null}))),
        ("another gateway", with(json!({"aud": "other"}))),
        ("no audience", with(json!({"aud": null}))),
        ("the token's own audience", with(json!({"aud": AUDIENCE}))),
        ("no time", with(json!({"iat": null}))),
        ("long ago", with(json!({"iat": NOW - 121}))),
        ("in the future", with(json!({"iat": NOW + 61}))),
        ("nothing of the token", with(json!({"token_introspection": null}))),
        (
            "members beside it",
            signed(&merge(good()["token_introspection"].clone(), json!({"aud": GATEWAY, "iat": NOW}))),
        ),
        ("an encrypted one", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA".to_owned()),
    ] {
        assert_eq!(answered(&config, &body), "introspection_unavailable", "{what}");
    }
    for (body, taken) in [(with(json!({"iat": NOW - 120})), true), (with(json!({"iat": NOW + 60})), true)] {
        assert_eq!(answered(&config, &body) == "acme", taken);
    }
    // A response is no access token either.
    let call = Call::get("/a").bearer(&signed(&good()));
    assert_eq!(Gateway::new(&config).call(&call).brief(), "token_type_not_accepted");
}

#[test]
fn an_algorithm_that_is_not_accepted_signs_nothing() {
    let config = config(json!({"algorithms": ["ES256"]}));
    assert_eq!(answered(&config, &signed(&good())), "introspection_unavailable");
}

#[test]
fn the_response_is_asked_for_and_the_keys_come_first() {
    // Section 4, and a rotation in between: the same response is verified with the newer keys, and nobody is asked twice.
    let (old, new) = (Signer::new("ES256", "old", 3), Signer::new("ES256", "new", 4));
    let remote = json!({"uri": "https://idp.example/keys", "cluster": "idp"});
    let mut gateway = Gateway::new(&config(json!({"local_jwks": null, "remote_jwks": remote})));
    let outcome = |gateway: &Gateway, token: &str, signer: &Signer, keys: &[&Signer], iat: u64| {
        let mut asked = Vec::new();
        let call = Call::get("/a").bearer(token);
        let outcome = gateway.call_answered(&call, &mut |call| {
            Ok((
                200,
                match call {
                    IssuerCall::FetchKeys { .. } => {
                        asked.push("keys");
                        jwks(keys.iter().copied()).to_string()
                    }
                    IssuerCall::Introspect { .. } => {
                        asked.push("introspection");
                        signer.mint(
                            json!({"typ": "token-introspection+jwt"}),
                            &merge(good(), json!({"iat": iat})),
                        )
                    }
                },
            ))
        });
        (outcome.brief(), asked.join(" "))
    };
    assert_eq!(outcome(&gateway, "one", &old, &[&old], NOW), ("acme".into(), "keys introspection".into()));
    assert_eq!(outcome(&gateway, "two", &old, &[], NOW), ("acme".into(), "introspection".into()));
    gateway.now = Duration::from_secs(NOW + 31);
    let rotated = outcome(&gateway, "three", &new, &[&old, &new], NOW + 31);
    assert_eq!(rotated, ("acme".into(), "introspection keys".into()));
    assert_eq!(
        outcome(&gateway, "three", &new, &[], NOW),
        ("acme".into(), String::new()),
        "it is remembered"
    );
    // Who signs with no key of the issuer's is asked for keys once in 30 s, and no longer.
    let stranger = Signer::new("ES256", "strange", 5);
    for (token, asked) in [("four", "introspection"), ("five", "introspection")] {
        let strange = outcome(&gateway, token, &stranger, &[&old, &new], NOW + 31);
        assert_eq!(strange, ("introspection_unavailable".into(), asked.into()));
    }
}

#[test]
fn what_signed_responses_need_is_said_where_it_is_absent() {
    let errors = |provider: Value| {
        let mut config = file(json!({}));
        config["providers"]["idp"] = provider;
        scopegate::config::parse_json(config.to_string().as_bytes()).unwrap_err().to_string()
    };
    let none = introspection(json!({"signed": true}));
    let text = errors(provider(json!({"introspection": none})));
    assert!(
        text.contains("providers.idp.introspection.client_auth: `signed: true` needs a `client_id`"),
        "{text}"
    );
    let text = errors(signing(json!({"local_jwks": null})));
    assert!(text.contains("providers.idp.introspection: `signed: true` needs the issuer's keys"), "{text}");
    let named =
        introspection(json!({"signed": true, "client_auth": {"method": "none", "client_id": GATEWAY}}));
    assert_eq!(answered(&config(json!({"introspection": named})), &signed(&good())), "acme");
    let text = errors(provider(
        json!({"introspection": introspection(json!({"client_auth": {"method": "none", "client_id": "x"}}))}),
    ));
    assert!(text.contains("client_auth.client_id: the `method` does not use it"), "{text}");
}

#[test]
fn each_tenants_responses_are_of_that_tenants_issuer() {
    let realm = |name: &str| format!("https://idp.example/realms/{name}");
    let uri = "https://idp.example/realms/{tenant}/introspect";
    let mut config = config(json!({"issuer": "https://idp.example/realms/{tenant}"}));
    config["providers"]["idp"]["introspection"]["uri"] = json!(uri);
    config["tenants"] = json!([{"id": "acme"}, {"id": "globex"}]);
    let gateway = Gateway::new(&config);
    for (of, expected) in
        [("acme", "acme"), ("globex", "introspection_unavailable"), ("nobody", "introspection_unavailable")]
    {
        let members = active(json!({"iss": realm(of), "scope": "a", "exp": NOW + 600}));
        let body = signed(&merge(good(), json!({"iss": realm(of), "token_introspection": members})));
        let call = Call::get("/a").bearer(of).header("x-tenant-id", "acme");
        assert_eq!(gateway.call_answered(&call, &mut |_| Ok((200, body.clone()))).brief(), expected, "{of}");
    }
}

#[test]
fn the_text_of_a_fault_names_what_is_wrong_and_shows_nothing_of_the_response() {
    assert_eq!(IssuerFault::NotSigned.to_string(), "it is no signed response (RFC 9701)");
    assert!(IssuerFault::SignedMember("aud").to_string().contains("`aud` of the signed response"));
}
