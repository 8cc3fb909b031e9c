use super::*;

const ROLES: &str = "urn:zitadel:iam:org:project:roles";

fn gateway() -> Gateway {
    let paths = json!(["realm_access.roles", [ROLES], "permissions"]);
    Gateway::new(&file(json!({"claims": {"additional_scopes": paths}})))
}

#[test]
fn they_are_added_to_the_scope_claim() {
    let gateway = gateway();
    for (changes, expected) in [
        (json!({"scope": "a"}), "scope_not_granted"),
        (json!({"scope": "a", "realm_access": {"roles": ["b"]}}), "acme"),
        (json!({"scp": ["a"], "permissions": "x b"}), "acme"),
        (json!({"scope": "a", ROLES: {"b": {"1234": "acme.example"}, "c": {}}}), "acme"),
        // Where there is no scope claim, and from several of them.
        (json!({"permissions": ["a", "b"]}), "acme"),
        (json!({"permissions": ["a"], "realm_access": {"roles": ["b"]}}), "acme"),
        (json!({"scope": "", ROLES: {}, "permissions": []}), "no_scopes_in_token"),
        (json!({"realm_access": {"groups": ["a", "b"]}}), "no_scopes_in_token"),
        // What is nested in an object is no scope, and an array is not split.
        (json!({"scope": "a", ROLES: {"x": {"b": "b"}}}), "scope_not_granted"),
        (json!({"permissions": ["a b"]}), "claim_malformed"),
        (json!({ROLES: {"a b": 1}}), "claim_malformed"),
    ] {
        assert_eq!(brief(&gateway, "/ab", changes.clone()), expected, "{changes}");
    }
    let call = Call::get("/a").bearer(&token(json!({"scope": "a x", "permissions": ["x", "b", "a"]})));
    assert_eq!(gateway.call(&call).passed().value("x-scopes").as_deref(), Some("a x b"), "each once");
}

#[test]
fn an_odd_one_is_never_ignored() {
    let gateway = gateway();
    for odd in [json!(7), json!(true), json!([["a"]]), json!(["a", 7]), json!([null])] {
        let changes = json!({"scope": "a b", "permissions": odd});
        assert_eq!(brief(&gateway, "/ab", changes.clone()), "claim_malformed", "{changes}");
    }
    let null = json!({"scope": "a b", "realm_access": {"roles": null}});
    assert_eq!(brief(&gateway, "/ab", null), "claim_malformed");
    // Whatever else there is, the scope claim itself stays a string or an array.
    let object = json!({"scope": {"a": 1, "b": 1}, "permissions": ["a", "b"]});
    assert_eq!(brief(&gateway, "/ab", object), "claim_malformed");
}

#[test]
fn an_issuers_answer_has_them_too() {
    let paths = json!({"additional_scopes": ["roles"]});
    let gateway = Gateway::new(&file(asks(json!({"claims": paths}))));
    for (members, expected) in [
        (json!({"scope": "a", "roles": {"b": {}}}), "acme"),
        (json!({"roles": ["a", "b"]}), "acme"),
        (json!({"roles": null}), "scope_absent_from_introspection"),
        (json!({"scope": "a b", "roles": 7}), "introspection_unavailable"),
    ] {
        let call = Call::get("/ab").bearer(&format!("opaque-{}", members.to_string().len()));
        let (outcome, _) = introspected(&gateway, &call, &overlay(active(json!({})), members.clone()));
        assert_eq!(outcome.brief(), expected, "{members}");
    }
}
