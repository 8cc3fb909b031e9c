use super::*;

fn config(is_on: bool) -> Value {
    let mut config = file(json!({}));
    config["providers"]["other"] =
        provider(json!({"issuer": "https://other.example", "audiences": [AUDIENCE]}));
    config["tenants"] = json!([
        {"id": "acme", "aliases": ["acme-corp"], "providers": ["idp"], "hosts": ["shared.example"]},
        {"id": "globex", "providers": ["idp", "other"], "hosts": ["shared.example"]},
        {"id": "umbrella", "providers": ["other"]},
        {"id": "closed", "providers": ["idp"], "applications": [{"client_id": "app", "scopes": ["a"]}]},
    ]);
    if is_on {
        config["tenant_resolution"]["claim_lists"] = json!(true);
    }
    config
}

fn decided(gateway: &Gateway, tenant: &Value, header: Option<&str>) -> String {
    let mut members = claims(json!({}));
    members["tenant_id"] = tenant.clone();
    let call = Call::get("/open").bearer(&KEY.mint(json!({}), &members));
    let call = header.iter().fold(call, |call, header| call.header("x-tenant-id", header));
    gateway.call(&call).brief()
}

#[test]
fn the_requests_evidence_picks_one_of_them() {
    let gateway = Gateway::new(&config(true));
    let both = json!(["acme", "globex"]);
    for (tenant, header, expected) in [
        (&both, Some("acme"), "acme"),
        (&both, Some("globex"), "globex"),
        (&both, Some("acme-corp"), "acme"),
        (&both, None, "tenant_ambiguous"),
        (&both, Some("umbrella"), "tenant_mismatch"),
        (&both, Some("nobody"), "tenant_mismatch"),
        (&json!({"acme": {"id": 1}, "globex": {}}), Some("globex"), "globex"),
        (&json!({"acme": {"id": 1}, "globex": {}}), None, "tenant_ambiguous"),
        // One of several that is configured is not the one that is meant.
        (&json!(["acme", "nobody"]), None, "tenant_ambiguous"),
        (&json!(["acme", "nobody"]), Some("acme"), "acme"),
        (&json!(["acme", "nobody"]), Some("nobody"), "tenant_mismatch"),
        (&json!(["nobody", "nothing"]), Some("acme"), "tenant_unknown"),
        // What the picked one's rules are holds as if the token named it alone.
        (&json!(["acme", "umbrella"]), Some("umbrella"), "issuer_not_allowed_for_tenant"),
        (&json!(["acme", "closed"]), Some("closed"), "claim_missing"),
        (&json!(["umbrella", "nobody"]), None, "issuer_not_allowed_for_tenant"),
    ] {
        assert_eq!(decided(&gateway, tenant, header), expected, "{tenant} {header:?}");
    }
}

#[test]
fn a_list_of_one_is_as_that_one() {
    let gateway = Gateway::new(&config(true));
    for one in [json!(["acme"]), json!({"acme": {}}), json!(["acme", "acme-corp"]), json!(["acme", "acme"])] {
        assert_eq!(decided(&gateway, &one, None), "acme", "{one}");
        assert_eq!(decided(&gateway, &one, Some("acme")), "acme", "{one}");
        assert_eq!(decided(&gateway, &one, Some("globex")), "tenant_mismatch", "{one}");
    }
    assert_eq!(decided(&gateway, &json!(["nobody"]), Some("acme")), "tenant_unknown");
}

#[test]
fn a_list_that_is_none_of_names_is_malformed() {
    let gateway = Gateway::new(&config(true));
    for odd in [
        json!([]),
        json!({}),
        json!(["acme", ""]),
        json!({"": 1}),
        json!(["acme", ["globex"]]),
        json!(["acme", null]),
        json!(["acme", 1.5]),
        json!(true),
        json!(null),
    ] {
        assert_eq!(decided(&gateway, &odd, Some("acme")), "claim_malformed", "{odd}");
    }
}

#[test]
fn a_host_that_tenants_share_picks_none_of_them() {
    let gateway = Gateway::new(&config(true));
    let call = |tenants: &[&str]| {
        let token = token(json!({"tenant_id": tenants}));
        gateway.call(&Call::get("/open").bearer(&token).host("shared.example")).brief()
    };
    assert_eq!(call(&["acme", "globex"]), "tenant_ambiguous");
    assert_eq!(call(&["acme", "closed"]), "acme");
}

#[test]
fn all_claims_must_agree_on_the_one_that_is_picked() {
    let mut config = config(true);
    config["tenant_resolution"]["claims"] = json!(["tenant_id", "organization"]);
    let gateway = Gateway::new(&config);
    for (members, header, expected) in [
        (json!({"tenant_id": ["acme", "globex"], "organization": "acme"}), Some("acme"), "acme"),
        (json!({"tenant_id": ["acme", "globex"], "organization": "acme"}), Some("globex"), "tenant_mismatch"),
        (json!({"tenant_id": ["acme", "globex"], "organization": "acme"}), None, "tenant_ambiguous"),
        (json!({"tenant_id": ["acme", "globex"], "organization": "nobody"}), Some("acme"), "tenant_unknown"),
        (
            json!({"tenant_id": ["acme", "globex"], "organization": ["globex", "closed"]}),
            Some("globex"),
            "globex",
        ),
        (
            json!({"tenant_id": ["acme", "globex"], "organization": ["globex", "closed"]}),
            Some("acme"),
            "tenant_mismatch",
        ),
        (
            json!({"tenant_id": ["acme", "nobody"], "organization": ["globex", "closed"]}),
            Some("acme"),
            "tenant_mismatch",
        ),
    ] {
        let call = Call::get("/open").bearer(&token(members.clone()));
        let call = header.iter().fold(call, |call, header| call.header("x-tenant-id", header));
        assert_eq!(gateway.call(&call).brief(), expected, "{members} {header:?}");
    }
}

#[test]
fn without_the_switch_a_list_is_malformed_whatever_was_remembered() {
    let mut gateway = Gateway::new(&config(true));
    let both = json!(["acme", "globex"]);
    assert_eq!(decided(&gateway, &both, Some("acme")), "acme");
    gateway.reload(&config(false));
    for list in [both, json!(["acme"]), json!({"acme": {}})] {
        assert_eq!(decided(&gateway, &list, Some("acme")), "claim_malformed", "{list}");
    }
    assert_eq!(decided(&gateway, &json!("acme"), Some("acme")), "acme");
}

#[test]
fn an_answer_about_a_jwt_must_list_the_same_tenants() {
    let mut config = config(true);
    config["providers"]["idp"]["introspection"] = introspection(json!({"apply_to": "all"}));
    let gateway = Gateway::new(&config);
    for (number, (said, expected)) in [
        (json!(["globex", "acme-corp"]), "acme"),
        (json!(null), "acme"),
        (json!(["acme"]), "introspection_unavailable"),
        (json!("acme"), "introspection_unavailable"),
        (json!(["acme", "globex", "closed"]), "introspection_unavailable"),
    ]
    .into_iter()
    .enumerate()
    {
        let token = token(json!({"tenant_id": ["acme", "globex"], "jti": number.to_string()}));
        let call = Call::get("/open").bearer(&token).header("x-tenant-id", "acme");
        let response = active(json!({"client_id": null, "tenant_id": said}));
        let (outcome, _) = introspected(&gateway, &call, &response);
        assert_eq!(outcome.brief(), expected, "{said}");
    }
}
