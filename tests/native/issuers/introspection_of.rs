use std::time::Duration;

use super::*;

#[test]
fn jwts_of_an_issuer_without_keys_is_asked_of_that_issuer_alone() {
    let mut config = file(asks(json!({})));
    config["providers"]["other"] = provider(asks(json!({"issuer": "https://other.example"})));
    config["providers"]["signed"] = provider(json!({"issuer": "https://signed.example"}));
    config["tenants"] = json!([{"id": "acme", "providers": ["idp", "other", "signed"]}]);
    config["tenant_resolution"]["default"] = json!("acme");
    config["default_introspection"] = json!("other");
    let gateway = Gateway::new(&config);
    let call = |token: &str| Call::get("/a").bearer(token);
    // Whatever its signature is: it is the issuer's to judge.
    let forged = token(json!({})).rsplit_once('.').unwrap().0.to_owned() + ".AAAA";
    for jwt in [token(json!({"scope": "b"})), forged] {
        let (outcome, asked) = introspected(&gateway, &call(&jwt), &active(json!({"scope": "a"})));
        assert_eq!(outcome.brief(), "acme");
        assert_eq!(asked, ["Introspect(ProviderId(0), None, …)"]);
        assert_eq!(gateway.call(&call(&jwt)).brief(), "acme", "the answer is remembered");
    }
    let of_other = token(json!({"iss": "https://other.example", "scope": "a"}));
    let answer = active(json!({"iss": "https://other.example", "scope": "a"}));
    let (outcome, asked) = introspected(&gateway, &call(&of_other), &answer);
    assert_eq!((outcome.brief(), asked), ("acme".into(), vec!["Introspect(ProviderId(1), None, …)".into()]));
    for (token, expected) in [
        (token(json!({"iss": "https://nobody.example"})), "issuer_unknown"),
        (token(json!({"iss": null})), "issuer_unknown"),
        (token(json!({"iss": 7})), "claim_malformed"),
        (KEY.mint(json!({"typ": "logout+jwt"}), &claims(json!({}))), "token_type_not_accepted"),
        (token(json!({"at_hash": "x"})), "token_type_not_accepted"),
        (format!("{}.x", token(json!({}))), "token_malformed"),
    ] {
        assert_eq!(gateway.call(&call(&token)).brief(), expected);
    }
}

#[test]
fn such_jwts_are_what_the_answer_says_and_the_answer_is_about_their_issuer() {
    let mut config = file(asks(json!({"introspection": introspection(json!({"required_members": []}))})));
    config["tenants"] = json!([{"id": "acme"}, {"id": "globex"}]);
    let gateway = Gateway::new(&config);
    for (number, (answer, expected)) in [
        (active(json!({"scope": "a", "tenant_id": "acme"})), "acme"),
        // Nothing but its `iss` is taken from the token itself.
        (active(json!({"scope": "a"})), "tenant_missing"),
        (active(json!({"tenant_id": "acme"})), "scope_absent_from_introspection"),
        (active(json!({"iss": null, "scope": "a", "tenant_id": "acme"})), "acme"),
        (
            active(json!({"iss": "https://other.example", "scope": "a", "tenant_id": "acme"})),
            "introspection_unavailable",
        ),
        (active(json!({"exp": NOW - 61, "tenant_id": "acme"})), "token_expired"),
        (active(json!({"aud": "other", "tenant_id": "acme"})), "audience_mismatch"),
        (json!({"active": false}), "token_inactive"),
    ]
    .into_iter()
    .enumerate()
    {
        let jwt = token(json!({"tenant_id": "acme", "scope": "a", "jti": number.to_string()}));
        let (outcome, _) = introspected(&gateway, &Call::get("/a").bearer(&jwt), &answer);
        assert_eq!(outcome.brief(), expected, "{answer}");
    }
}

#[test]
fn an_answer_in_another_providers_name_refuses_and_is_remembered_as_a_refusal_is() {
    let cached = introspection(json!({"cache": {"max_ttl": "60s", "negative_ttl": "5s"}}));
    let mut config = file(asks(json!({"introspection": cached})));
    config["providers"]["other"] = provider(json!({"issuer": "https://other.example"}));
    config["tenants"] = json!([{"id": "acme", "providers": ["idp", "other"]}]);
    for (issuer, expected, calls_after_six_seconds) in [
        (ISSUER, "acme", 0),
        ("https://other.example", "issuer_unknown", 1),
        ("https://nobody.example", "issuer_unknown", 1),
    ] {
        let mut gateway = Gateway::new(&config);
        let answer = active(json!({"iss": issuer, "scope": "a"}));
        for calls in [1, calls_after_six_seconds] {
            let (outcome, asked) = introspected(&gateway, &Call::get("/a").bearer("opaque"), &answer);
            assert_eq!((outcome.brief().as_str(), asked.len()), (expected, calls), "{issuer}");
            gateway.now += Duration::from_secs(6);
        }
    }
}

#[test]
fn what_a_verified_jwt_must_say_the_answer_need_not_repeat_and_must_not_contradict() {
    let all = introspection(json!({"apply_to": "all", "required_members": []}));
    let gateway =
        Gateway::new(&file(json!({"introspection": all, "required_values": {"plan": ["gold", "silver"]}})));
    for (number, (plan, expected)) in [
        (json!(null), "acme"),
        (json!("gold"), "acme"),
        (json!("silver"), "acme"),
        (json!("tin"), "claim_malformed"),
    ]
    .into_iter()
    .enumerate()
    {
        let jwt = token(json!({"scope": "a", "plan": "gold", "jti": number.to_string()}));
        let answer = active(json!({"scope": "a", "plan": plan}));
        let (outcome, _) = introspected(&gateway, &Call::get("/a").bearer(&jwt), &answer);
        assert_eq!(outcome.brief(), expected, "{plan}");
    }
    let jwt = token(json!({"scope": "a"}));
    assert_eq!(gateway.call(&Call::get("/a").bearer(&jwt)).brief(), "claim_missing");
}

fn realms(changes: Value) -> Value {
    let uri = json!({"uri": "https://idp.example/realms/{tenant}/introspect", "required_members": []});
    let mut config = file(asks(merge(
        json!({"issuer": "https://idp.example/realms/{tenant}", "introspection": introspection(uri)}),
        changes,
    )));
    config["tenants"] = json!([{"id": "acme", "aliases": ["a c/me"]}, {"id": "globex"}, {"id": "umbrella", "hosts": ["u.example", "two.example"]},
            {"id": "vandelay", "hosts": ["two.example"]}]);
    config
}

fn realm(name: &str) -> String {
    format!("https://idp.example/realms/{name}")
}

#[test]
fn an_opaque_token_is_asked_in_the_realm_that_the_request_names() {
    let gateway = Gateway::new(&realms(json!({})));
    let call = |header: &str| Call::get("/open").bearer("opaque").header("x-tenant-id", header);
    let (outcome, asked) = introspected(&gateway, &call("acme"), &active(json!({"iss": realm("acme")})));
    assert_eq!(
        (outcome.brief(), &*asked[0]),
        ("acme".into(), "Introspect(ProviderId(0), Some(\"acme\"), …)")
    );
    assert_eq!(gateway.call(&call("a c/me")).brief(), "acme", "the alias names the same realm");
    // What one realm said holds for no other.
    let (outcome, asked) = introspected(&gateway, &call("globex"), &json!({"active": false}));
    assert_eq!((outcome.brief(), asked.len()), ("token_inactive".into(), 1));
    assert_eq!(gateway.call(&call("acme")).brief(), "acme");
    assert_eq!(gateway.call(&call("globex")).brief(), "token_inactive");
    // A realm speaks for its own tenant only, and the request's word alone names none.
    for (number, (answer, expected)) in [
        (active(json!({"iss": realm("globex")})), "introspection_unavailable"),
        (active(json!({"iss": realm("nobody")})), "issuer_unknown"),
        (active(json!({"iss": null})), "tenant_missing"),
        (active(json!({"iss": null, "tenant_id": "acme"})), "acme"),
        (active(json!({"iss": realm("acme"), "tenant_id": "globex"})), "tenant_mismatch"),
    ]
    .into_iter()
    .enumerate()
    {
        let call = Call::get("/open").bearer(&format!("other-{number}")).header("x-tenant-id", "acme");
        assert_eq!(introspected(&gateway, &call, &answer).0.brief(), expected, "{answer}");
    }
}

#[test]
fn without_one_tenant_no_realm_is_asked() {
    let gateway = Gateway::new(&realms(json!({})));
    let call = Call::get("/open").bearer("opaque");
    for (call, expected) in [
        (call.clone(), "tenant_missing"),
        (call.clone().header("x-tenant-id", "nobody"), "tenant_mismatch"),
        (call.clone().host("two.example"), "tenant_ambiguous"),
        (call.clone().host("u.example").header("x-tenant-id", "acme"), "tenant_mismatch"),
    ] {
        assert_eq!(gateway.call(&call).brief(), expected, "{call:?}");
    }
    let (_, asked) = introspected(&gateway, &call.host("u.example"), &json!({"active": false}));
    assert_eq!(asked, ["Introspect(ProviderId(0), Some(\"umbrella\"), …)"]);
}

#[test]
fn a_jwt_is_asked_in_the_realm_of_its_issuer() {
    let gateway = Gateway::new(&realms(json!({})));
    let call = |jwt: &str| Call::get("/open").bearer(jwt);
    let jwt = token(json!({"iss": realm("acme")}));
    let (outcome, asked) = introspected(&gateway, &call(&jwt), &active(json!({"iss": null})));
    assert_eq!(
        (outcome.brief(), &*asked[0]),
        ("acme".into(), "Introspect(ProviderId(0), Some(\"acme\"), …)")
    );
    for (number, (answer, expected)) in [
        (active(json!({"iss": realm("globex")})), "introspection_unavailable"),
        (active(json!({"iss": null, "tenant_id": "globex"})), "tenant_mismatch"),
    ]
    .into_iter()
    .enumerate()
    {
        let jwt = token(json!({"iss": realm("acme"), "jti": number.to_string()}));
        assert_eq!(introspected(&gateway, &call(&jwt), &answer).0.brief(), expected, "{answer}");
    }
    let elsewhere = token(json!({"iss": realm("acme"), "jti": "x"}));
    let (outcome, _) = introspected(
        &gateway,
        &call(&elsewhere).header("x-tenant-id", "globex"),
        &active(json!({"iss": realm("acme")})),
    );
    assert_eq!(outcome.brief(), "tenant_mismatch");
    assert_eq!(gateway.call(&call(&token(json!({"iss": realm("nobody")})))).brief(), "issuer_unknown");
}

#[test]
fn a_verified_jwt_is_asked_in_its_realm_too() {
    let all = json!({"uri": "https://idp.example/{tenant}/i", "apply_to": "all", "required_members": []});
    let gateway =
        Gateway::new(&realms(json!({"local_jwks": jwks([&*KEY]), "introspection": introspection(all)})));
    let jwt = token(json!({"iss": realm("acme")}));
    let (outcome, asked) = introspected(&gateway, &Call::get("/open").bearer(&jwt), &json!({"active": true}));
    assert_eq!(
        (outcome.brief(), &*asked[0]),
        ("acme".into(), "Introspect(ProviderId(0), Some(\"acme\"), …)")
    );
}

/// `{"alg":"dir","enc":"A256GCM"}`, with what no reader but the issuer can decrypt.
const ENCRYPTED: &str =
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA";

#[test]
fn an_encrypted_token_is_opaque_where_the_provider_says_so() {
    let answer = active(json!({"scope": "a"}));
    let refusing = Gateway::new(&file(asks(json!({}))));
    assert_eq!(refusing.call(&Call::get("/a").bearer(ENCRYPTED)).brief(), "token_malformed");
    let mut config = file(asks(json!({"encrypted_tokens": "introspect"})));
    let gateway = Gateway::new(&config);
    let (outcome, asked) = introspected(&gateway, &Call::get("/a").bearer(ENCRYPTED), &answer);
    assert_eq!((outcome.brief(), asked.len()), ("acme".into(), 1));
    for other in [
        // Without `enc`, of another number of parts, or with a header that is none.
        "eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA",
        "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0.AAAA.AAAA",
        "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA.AAAA",
        "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0=..AAAA.AAAA.AAAA",
        "eyJlbmMiOjd9..AAAA.AAAA.AAAA",
        "ey.a.b.c.d",
    ] {
        assert_eq!(gateway.call(&Call::get("/a").bearer(other)).brief(), "token_malformed", "{other}");
    }
    // Of several, it is shown to one that says so.
    config["providers"]["refuses"] = provider(asks(json!({"issuer": "https://refuses.example"})));
    config["tenants"] =
        json!([{"id": "acme", "providers": ["idp"]}, {"id": "globex", "providers": ["refuses"]}]);
    config["default_introspection"] = json!("refuses");
    let gateway = Gateway::new(&config);
    let call = |tenant: &str| Call::get("/a").bearer(ENCRYPTED).header("x-tenant-id", tenant);
    let (outcome, asked) = introspected(&gateway, &call("acme"), &answer);
    assert_eq!((outcome.brief(), asked), ("acme".into(), vec!["Introspect(ProviderId(0), None, …)".into()]));
    assert_eq!(gateway.call(&call("globex")).brief(), "introspection_not_configured");
}
