use super::*;
use scopegate::policy::difference::difference;
use scopegate::policy::reach::{Holder, Reach};
use scopegate::respond::Reason;

fn decided(gateway: &Gateway, changes: &Value) -> String {
    gateway.call(&Call::get("/a").bearer(&token(overlay(json!({"scope": "a"}), changes.clone())))).brief()
}

#[test]
fn what_is_listed_is_refused_from_the_reload_on_and_only_as_long() {
    for whose in ["provider", "tenant", "template"] {
        let of = |revoked: Value| {
            let mut config = file(json!({}));
            match whose {
                "provider" => config["providers"]["idp"]["revoked"] = revoked,
                "tenant" => config["tenants"][0]["revoked"] = revoked,
                _ => {
                    config["tenant_templates"] = json!({"t": {"revoked": revoked}});
                    config["tenants"][0]["template"] = json!("t");
                }
            }
            config
        };
        let carried = json!({"jti": "id-1", "client_id": "app"});
        for (revoked, spared) in [
            (json!({"jti": ["x", "id-1"]}), json!({"jti": "id-2"})),
            (json!({"subjects": ["alice"]}), json!({"sub": "alic"})),
            (json!({"clients": ["app"]}), json!({"client_id": "app2"})),
            (json!({"issued_before": NOW}), json!({"iat": NOW})),
            (json!({"issued_before": "2027-01-15T08:00:00Z"}), json!({"iat": NOW})),
        ] {
            let mut gateway = Gateway::new(&file(json!({})));
            let spared = overlay(carried.clone(), spared);
            for changes in [&carried, &spared] {
                assert_eq!(decided(&gateway, changes), "acme", "remembered from here on");
            }
            gateway.reload(&of(revoked.clone()));
            assert_eq!(decided(&gateway, &carried), "token_revoked", "{whose} {revoked}");
            assert_eq!(decided(&gateway, &spared), "acme", "{whose} {revoked}");
            assert_eq!(decided(&Gateway::new(&of(revoked)), &carried), "token_revoked", "{whose}");
            gateway.reload(&file(json!({})));
            assert_eq!(decided(&gateway, &carried), "acme");
        }
    }
}

#[test]
fn a_token_that_does_not_say_when_it_was_issued_is_issued_before() {
    let gateway = Gateway::new(&file(json!({"revoked": {"issued_before": 1}})));
    assert_eq!(decided(&gateway, &json!({"iat": null})), "token_revoked");
    assert_eq!(decided(&gateway, &json!({"iat": 1})), "acme");
    assert_eq!(decided(&gateway, &json!({"iat": 0.999})), "token_revoked");
    // What is absent is on no list.
    let gateway =
        Gateway::new(&file(json!({"revoked": {"jti": ["x"], "subjects": ["x"], "clients": ["x"]}})));
    assert_eq!(decided(&gateway, &json!({"sub": null})), "acme");
}

#[test]
fn numbers_are_their_decimal_text_and_the_configured_claims_count() {
    let claims = json!({"subject": "uid", "client": "app"});
    let lists = json!({"jti": ["7"], "subjects": ["8"], "clients": ["9"]});
    let gateway = Gateway::new(&file(json!({"claims": claims, "revoked": lists})));
    for (changes, expected) in [
        (json!({"jti": 7}), "token_revoked"),
        (json!({"uid": 8}), "token_revoked"),
        (json!({"app": 9}), "token_revoked"),
        (json!({"sub": "8", "client_id": "9"}), "acme"),
    ] {
        assert_eq!(decided(&gateway, &changes), expected, "{changes}");
    }
}

#[test]
fn a_tenants_list_is_its_own() {
    let mut config = file(json!({}));
    config["tenants"] = json!([{"id": "acme", "revoked": {"clients": ["app"]}}, {"id": "globex"}]);
    let gateway = Gateway::new(&config);
    let of = |tenant: &str| decided(&gateway, &json!({"client_id": "app", "tenant_id": tenant}));
    assert_eq!((of("acme"), of("globex")), ("token_revoked".into(), "globex".into()));
}

#[test]
fn a_revoked_jwt_is_not_asked_about_and_an_opaque_tokens_answer_is_judged() {
    let lists = json!({"clients": ["app"], "jti": ["id-1"]});
    let all = introspection(json!({"apply_to": "all"}));
    let gateway = Gateway::new(&file(json!({"revoked": lists, "introspection": all})));
    assert_eq!(decided(&gateway, &json!({"client_id": "app"})), "token_revoked");

    let mut gateway = Gateway::new(&file(asks(json!({}))));
    let call = Call::get("/a").bearer("opaque");
    let answer = active(json!({"scope": "a", "jti": "id-1", "client_id": null}));
    assert_eq!(introspected(&gateway, &call, &answer).0.brief(), "acme");
    gateway.reload(&file(asks(json!({"revoked": lists}))));
    assert_eq!(gateway.call(&call).brief(), "token_revoked", "the remembered answer too");
}

#[test]
fn keys_and_answers_survive_a_reload_that_revokes() {
    let remote = |changes: Value| {
        let jwks = json!({"uri": "https://idp.example/jwks", "cluster": "idp"});
        file(merge(json!({"local_jwks": null, "remote_jwks": jwks}), changes))
    };
    let mut gateway = Gateway::new(&remote(json!({})));
    let call = Call::get("/a").bearer(&token(json!({"scope": "a"})));
    let mut keys = |_: &IssuerCall| -> Reply { Ok((200, jwks([&*KEY]).to_string())) };
    assert_eq!(gateway.call_answered(&call, &mut keys).brief(), "acme");
    gateway.reload(&remote(json!({"revoked": {"subjects": ["mallory"]}})));
    assert_eq!(gateway.call(&call).brief(), "acme", "nobody is asked again");
    let other = Call::get("/a").bearer(&token(json!({"scope": "a", "jti": "other"})));
    assert_eq!(gateway.call(&other).brief(), "acme", "nobody is asked again");
}

#[test]
fn a_hundred_thousand_entries_are_held_once_however_many_tenants_have_them() {
    let names: Vec<String> = (0..100_000).map(|number| format!("subject-{number}")).collect();
    let mut config = file(json!({}));
    config["tenant_templates"] = json!({"t": {"revoked": {"subjects": names}}});
    let tenants = (0..1_000).map(|number| json!({"id": format!("t{number}"), "template": "t"}));
    config["tenants"] = tenants.collect();
    let gateway = Gateway::new(&config);
    let lists: Vec<_> =
        gateway.active.policy.tenants.iter().map(|(_, tenant)| tenant.revoked.clone().unwrap()).collect();
    assert!(lists.iter().all(|list| std::sync::Arc::ptr_eq(list, &lists[0])));
    let of = |subject: &str| decided(&gateway, &json!({"sub": subject, "tenant_id": "t999"}));
    assert_eq!(of("subject-99999"), "token_revoked");
    assert_eq!(of("subject-100000"), "t999");
}

#[test]
fn a_revoked_client_reaches_nothing_and_a_reload_tells_how_much_a_tenant_revokes() {
    let mut config = file(json!({}));
    config["tenants"][0]["applications"] = json!([{"client_id": "app", "scopes": ["a"]}]);
    let reaches = |gateway: &Gateway| {
        let policy = &gateway.active.policy;
        let (_, tenant) = policy.tenants.iter().next().unwrap();
        let application = &tenant.applications.as_deref().unwrap()[0];
        Holder::application(policy, tenant, application).reach(policy.routes[0].operation)
    };
    let before = Gateway::new(&config);
    assert_eq!(reaches(&before), Reach::Granted);
    let lists = json!({"clients": ["app"], "issued_before": 1});
    let mut of_provider = config.clone();
    of_provider["providers"]["idp"]["revoked"] = lists.clone();
    assert_eq!(reaches(&Gateway::new(&of_provider)), Reach::Refused(Reason::TokenRevoked));
    config["tenants"][0]["revoked"] = lists;
    let after = Gateway::new(&config);
    assert_eq!(reaches(&after), Reach::Refused(Reason::TokenRevoked));
    let events = difference(&before.active.policy, &after.active.policy);
    let told: Vec<Value> = events.iter().map(|event| event.to_json()).collect();
    let change = json!({"revoked": {"from": null, "to": "1 listed, issued before 1"}});
    assert_eq!(told, [json!({"event": "tenant.modified", "tenant": "acme", "changes": change})]);
}
