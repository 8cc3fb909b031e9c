use super::*;

fn gateway() -> Gateway {
    Gateway::new(&file(json!({"profile": "rfc9068"})))
}

/// A token of the profile with some claims replaced; `null` removes one.
fn decided(header: Value, changes: Value) -> String {
    let complete = json!({"client_id": "app", "jti": "id-1", "scope": "a"});
    let token = KEY.mint(header, &claims(overlay(complete, changes)));
    gateway().call(&Call::get("/a").bearer(&token)).brief()
}

fn of_profile(changes: Value) -> String {
    decided(json!({"typ": "at+jwt"}), changes)
}

#[test]
fn section_4_typ_is_at_jwt_or_application_at_jwt_and_nothing_else() {
    for good in ["at+jwt", "application/at+jwt", "AT+JWT"] {
        assert_eq!(decided(json!({"typ": good}), json!({})), "acme", "{good}");
    }
    for bad in [
        json!({}),
        json!({"typ": "JWT"}),
        json!({"typ": "jwt"}),
        json!({"typ": "application/jwt"}),
        json!({"typ": ""}),
    ] {
        assert_eq!(decided(bad.clone(), json!({})), "token_type_not_accepted", "{bad}");
    }
}

#[test]
fn section_4_an_encrypted_token_is_decrypted_with_negotiated_keys_and_there_are_none() {
    let call = Call::get("/a").bearer("eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA");
    assert_eq!(gateway().call(&call).brief(), "token_malformed");
}

#[test]
fn section_4_iss_is_exactly_the_issuers() {
    for other in [json!("https://idp.example/"), json!("https://IDP.example"), json!(null)] {
        assert_eq!(of_profile(json!({"iss": other})), "issuer_unknown", "{other}");
    }
}

#[test]
fn section_4_aud_names_this_resource_server() {
    assert_eq!(of_profile(json!({"aud": ["other", AUDIENCE]})), "acme");
    assert_eq!(of_profile(json!({"aud": "other"})), "audience_mismatch");
    assert_eq!(of_profile(json!({"aud": null})), "claim_missing");
}

#[test]
fn section_4_the_signature_is_the_issuers_and_none_is_no_algorithm() {
    let complete = claims(json!({"client_id": "app", "jti": "id-1", "scope": "a"}));
    let good = KEY.mint(json!({"typ": "at+jwt"}), &complete);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(86));
    assert_eq!(gateway().call(&Call::get("/a").bearer(&forged)).brief(), "signature_invalid");
    let (_, payload) = signed.split_once('.').unwrap();
    // {"alg":"none","typ":"at+jwt"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{payload}.");
    assert_eq!(gateway().call(&Call::get("/a").bearer(&unsigned)).brief(), "algorithm_not_allowed");
}

#[test]
fn section_4_exp_lies_ahead() {
    assert_eq!(of_profile(json!({"exp": NOW - 61})), "token_expired");
    assert_eq!(of_profile(json!({"exp": null})), "claim_missing");
}

#[test]
fn section_2_2_each_claim_that_a_token_must_have_is_there_and_of_its_type() {
    for name in ["exp", "aud", "sub", "client_id", "iat", "jti"] {
        assert_eq!(of_profile(json!({name: null})), "claim_missing", "{name}");
    }
    for name in ["sub", "client_id", "jti"] {
        for odd in [json!(7), json!(""), json!(["x"]), json!({})] {
            assert_eq!(of_profile(json!({name: odd})), "claim_malformed", "{name} {odd}");
        }
    }
    assert_eq!(of_profile(json!({"iat": "1"})), "claim_malformed");
}

#[test]
fn section_4_refusals_are_those_of_rfc_6750() {
    let token = token(json!({"jti": "id-1", "scope": "a"}));
    let refused = gateway().call(&Call::get("/a").bearer(&token)).refused();
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(refused.answer.status, 401);
}

#[test]
fn an_answer_about_an_opaque_token_is_no_jwt() {
    let gateway =
        Gateway::new(&file(json!({"profile": "rfc9068", "introspection": introspection(json!({}))})));
    let answer = active(json!({"scope": "a"}));
    assert_eq!(introspected(&gateway, &Call::get("/a").bearer("opaque"), &answer).0.brief(), "acme");
}
