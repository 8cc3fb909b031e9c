//! Which scopes open an operation, and which reason a 403 gives.

use std::collections::{BTreeMap, BTreeSet};

use crate::gateway::{Call, Gateway, KEY, NOW, Outcome, claims, merge, provider, token};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use scopegate::exchange::Decision;
use scopegate::respond::Reason;
use serde_json::{Value, json};

/// A file with the tenant `acme`, changed by `tenant`, and these suites.
fn file(tenant: Value, suites: Value) -> Value {
    json!({
        "version": 1,
        "providers": {"idp": provider(json!({}))},
        "tenant_resolution": {"claims": ["tenant_id"]},
        "tenants": [merge(json!({"id": "acme"}), tenant), {"id": "other", "scope_prefix": "other."}],
        "suites": suites,
        "forward": {"headers": [{"name": "x-scopes", "value": "scopes"}, {"name": "x-perms", "value": "permissions"}]},
    })
}

/// One suite with one operation, changed by `operation`, on every path.
fn one_operation(operation: Value) -> Value {
    json!([{"name": "billing", "operations": [merge(json!({"name": "op", "path": "/**"}), operation)]}])
}

fn scoped(scope: Value) -> String {
    token(json!({"tenant_id": "acme", "client_id": "app", "scope": scope}))
}

fn send(gateway: &Gateway, scope: Value) -> Outcome {
    gateway.call(&Call::get("/x").bearer(&scoped(scope)))
}

/// Each case: the token's scopes, and `acme` or the reason.
fn assert_cases(config: &Value, cases: &[(Value, &str)]) {
    let gateway = Gateway::new(config);
    for (scope, expected) in cases {
        assert_eq!(send(&gateway, scope.clone()).brief(), *expected, "{scope} in {config:#}");
    }
}

fn challenge(config: &Value, scope: Value) -> Option<String> {
    let refused = send(&Gateway::new(config), scope).refused();
    let header = refused.header("www-authenticate").unwrap();
    let in_header = header.split_once("scope=\"").map(|(_, rest)| rest.trim_end_matches('"').to_owned());
    assert_eq!(in_header, refused.scope, "{header}");
    assert_eq!(refused.body().get("scope").and_then(Value::as_str), refused.scope.as_deref());
    refused.scope
}

// ---- what counts

#[test]
fn a_scope_is_compared_whole_and_by_case() {
    assert_cases(
        &file(json!({}), one_operation(json!({"requires": ["billing:write"]}))),
        &[
            (json!("billing:write"), "acme"),
            (json!("openid billing:write profile"), "acme"),
            (json!("  billing:write "), "acme"),
            (json!("billing:writer"), "scope_not_associated_with_suite"),
            (json!("billing:writ"), "scope_not_associated_with_suite"),
            (json!("billing"), "scope_not_associated_with_suite"),
            (json!("xbilling:write"), "scope_not_associated_with_suite"),
            (json!("Billing:write"), "scope_name_mismatch"),
        ],
    );
}

#[test]
fn no_character_of_a_scope_is_a_wildcard() {
    let config = file(json!({}), one_operation(json!({"requires": ["billing:write"]})));
    for scope in ["*", "billing:*", "billing:.*", "?", "billing:**", "%", "all", "{scope}", "billing:writ?"] {
        assert!(send(&Gateway::new(&config), json!(scope)).refusal().is_some(), "{scope}");
    }
    // Nor is one that the configuration requires or maps.
    let mapped = json!({"scopes": [{"name": "billing:*"}], "scope_mapping": {"billing:*": ["billing:*"]}});
    assert_cases(
        &file(mapped, one_operation(json!({"requires": ["billing:write"]}))),
        &[(json!("billing:*"), "scope_not_associated_with_suite")],
    );
    assert_cases(
        &file(json!({}), one_operation(json!({"requires": ["*"]}))),
        &[(json!("billing:write"), "scope_not_associated_with_suite"), (json!("*"), "acme")],
    );
}

#[test]
fn the_scope_claim_is_a_text_with_spaces_or_a_list_of_texts() {
    assert_cases(
        &file(json!({}), one_operation(json!({"requires": ["a", "b"]}))),
        &[
            (json!("a b"), "acme"),
            (json!(["a", "b"]), "acme"),
            (json!(["b", "x", "a", "a"]), "acme"),
            // A member of a list is one scope: no split at spaces.
            (json!(["a b"]), "claim_malformed"),
            (json!(["a", "b "]), "claim_malformed"),
            (json!(["a\u{a0}b"]), "claim_malformed"),
            (json!("a,b"), "scope_name_mismatch"),
            (json!("x,y"), "scope_not_associated_with_suite"),
            (json!("a\tb"), "scope_not_associated_with_suite"),
            (json!(""), "no_scopes_in_token"),
            (json!("  "), "no_scopes_in_token"),
            (json!([]), "no_scopes_in_token"),
            (json!(7), "claim_malformed"),
            (json!(true), "claim_malformed"),
            (json!({"a": "b"}), "claim_malformed"),
            (json!(["a", 7]), "claim_malformed"),
            (json!(["a", null]), "claim_malformed"),
            (json!([["a", "b"]]), "claim_malformed"),
        ],
    );
}

#[test]
fn a_scope_claim_that_is_null_is_malformed_and_an_absent_one_is_no_scope() {
    let gateway = Gateway::new(&file(json!({}), one_operation(json!({"requires": ["a"]}))));
    let mut members = claims(json!({"tenant_id": "acme"}));
    let call =
        |members: &Value| gateway.call(&Call::get("/x").bearer(&KEY.mint(json!({}), members))).refusal();
    assert_eq!(call(&members), Some(Reason::NoScopesInToken));
    members["scope"] = Value::Null;
    assert_eq!(call(&members), Some(Reason::ClaimMalformed));
    members["scope"] = json!("x");
    members["scp"] = json!("a");
    assert_eq!(call(&members), Some(Reason::ScopeNotAssociatedWithSuite), "the first claim present wins");
}

#[test]
fn the_tenants_prefix_is_stripped_and_scopes_without_it_do_not_count() {
    let tenant = json!({"scope_prefix": "acme.", "scopes": [{"name": "billing"}, {"name": "acme.billing"}]});
    assert_cases(
        &file(tenant.clone(), one_operation(json!({"requires": ["billing"]}))),
        &[
            (json!("acme.billing"), "acme"),
            (json!("billing"), "scope_not_granted"),
            (json!("acme."), "scope_not_granted"),
            (json!("ACME.billing"), "scope_name_mismatch"),
            (json!("acme-billing"), "scope_name_mismatch"),
            (json!("other.billing"), "scope_of_other_tenant"),
            (json!("other.acme.billing"), "scope_not_granted"),
            // The prefix is stripped once.
            (json!("acme.acme.billing"), "scope_not_associated_with_suite"),
        ],
    );
    let config = file(tenant, one_operation(json!({"requires": ["billing"]})));
    let passed =
        send(&Gateway::new(&config), json!("acme.billing billing other.billing acme.acme.billing")).passed();
    assert_eq!(passed.value("x-scopes").as_deref(), Some("billing acme.billing"));
}

#[test]
fn a_scope_that_the_tenant_does_not_declare_does_not_count() {
    let requires_a = one_operation(json!({"requires": ["a"]}));
    assert_cases(
        &file(json!({"scopes": [{"name": "b"}]}), requires_a.clone()),
        &[
            (json!("a"), "scope_not_declared"),
            (json!("a b"), "scope_not_declared"),
            (json!("b"), "scope_not_associated_with_suite"),
        ],
    );
    assert_cases(&file(json!({"scopes": []}), requires_a.clone()), &[(json!("a"), "scope_not_declared")]);
    assert_cases(&file(json!({}), requires_a), &[(json!("a"), "acme")]);
}

#[test]
fn an_application_has_only_the_scopes_that_it_is_assigned() {
    let tenant = |scopes: Value| json!({"scopes": [{"name": "a"}, {"name": "b"}], "applications": [{"client_id": "app", "scopes": scopes}]});
    let requires_a = one_operation(json!({"requires": ["a"]}));
    assert_cases(&file(tenant(json!(["a"])), requires_a.clone()), &[(json!("a b"), "acme")]);
    assert_cases(&file(tenant(json!("b a")), requires_a.clone()), &[(json!("a"), "acme")]);
    assert_cases(
        &file(tenant(json!(["b"])), requires_a.clone()),
        &[
            (json!("a"), "scope_not_assigned_to_application"),
            (json!("a b"), "scope_not_assigned_to_application"),
            (json!("b"), "scope_not_associated_with_suite"),
        ],
    );
    assert_cases(&file(tenant(json!([])), requires_a), &[(json!("a"), "scope_not_assigned_to_application")]);
}

#[test]
fn a_mapping_takes_the_place_of_the_scopes_own_name() {
    let tenant =
        json!({"scope_mapping": {"admin": ["read", "write", "admin"], "write": ["store"], "none": []}});
    let config = |permission: &str| file(tenant.clone(), one_operation(json!({"requires": [permission]})));
    assert_cases(
        &config("read"),
        &[
            (json!("admin"), "acme"),
            (json!("read"), "acme"),
            (json!("write"), "scope_not_associated_with_suite"),
        ],
    );
    assert_cases(
        &config("write"),
        &[(json!("admin"), "acme"), (json!("write"), "scope_not_associated_with_suite")],
    );
    assert_cases(&config("store"), &[(json!("write"), "acme"), (json!("store"), "acme")]);
    assert_cases(&config("none"), &[(json!("none"), "scope_not_associated_with_suite")]);
    let passed = send(&Gateway::new(&config("read")), json!("write admin plain")).passed();
    assert_eq!(passed.value("x-perms").as_deref(), Some("store read write admin plain"));
    assert_eq!(passed.value("x-scopes").as_deref(), Some("write admin plain"));
}

// ---- what an operation requires

#[test]
fn a_list_is_all_of_them_and_the_keys_say_which() {
    let requires = |requires: Value| file(json!({}), one_operation(json!({"requires": requires})));
    for all in [json!(["a", "b"]), json!({"all_of": ["a", "b"]})] {
        assert_cases(
            &requires(all),
            &[(json!("a b"), "acme"), (json!("a"), "scope_not_granted"), (json!("b"), "scope_not_granted")],
        );
    }
    assert_cases(
        &requires(json!({"any_of": ["a", "b"]})),
        &[(json!("a"), "acme"), (json!("b"), "acme"), (json!("c"), "scope_not_associated_with_suite")],
    );
    assert_cases(
        &requires(json!({"any_of": ["a", "b"], "all_of": ["c"]})),
        &[
            (json!("a c"), "acme"),
            (json!("c b"), "acme"),
            (json!("c"), "scope_not_granted"),
            (json!("a b"), "scope_not_granted"),
        ],
    );
}

#[test]
fn an_operation_without_requires_needs_any_scope_of_its_suite() {
    let suites = json!([{"name": "s", "scopes": ["a", "b"], "operations": [
        {"name": "plain", "path": "/x"}, {"name": "own", "path": "/own", "requires": ["c"]},
    ]}]);
    let config = file(json!({}), suites);
    assert_cases(&config, &[(json!("a"), "acme"), (json!("b"), "acme"), (json!("c"), "scope_not_granted")]);
    let gateway = Gateway::new(&config);
    let own = |scope: &str| gateway.call(&Call::get("/own").bearer(&scoped(json!(scope)))).brief();
    assert_eq!(own("c"), "acme");
    assert_eq!(own("a"), "scope_not_granted", "the suite's own scopes are not enough, and belong to it");
    assert_eq!(own("d"), "scope_not_associated_with_suite");
}

#[test]
fn a_tenants_own_requirements_replace_those_of_the_suite_and_of_the_operation() {
    let suites = json!([{"name": "s", "scopes": ["a"], "operations": [
        {"name": "plain", "path": "/x"},
        {"name": "own", "path": "/own", "requires": ["b"]},
    ]}]);
    let config = file(json!({"suite_scopes": {"s": ["mine", "mine2"]}}), suites.clone());
    assert_cases(
        &config,
        &[
            (json!("mine"), "acme"),
            (json!("mine2"), "acme"),
            (json!("a"), "scope_not_associated_with_suite"),
            (json!("b"), "scope_not_granted"),
        ],
    );
    let gateway = Gateway::new(&config);
    let own = |gateway: &Gateway, scope: &str| {
        gateway.call(&Call::get("/own").bearer(&scoped(json!(scope)))).brief()
    };
    assert_eq!(own(&gateway, "b"), "acme");
    assert_eq!(own(&gateway, "mine"), "scope_not_granted");
    let of_other = token(json!({"tenant_id": "other", "scope": "other.a"}));
    assert_eq!(gateway.call(&Call::get("/x").bearer(&of_other)).brief(), "other");

    let gateway = Gateway::new(&file(
        json!({"operation_requires": {"s/own": {"any_of": ["m", "n"]}, "s/plain": ["p", "q"]}}),
        suites,
    ));
    assert_eq!(own(&gateway, "m"), "acme");
    assert_eq!(own(&gateway, "b"), "scope_not_associated_with_suite");
    assert_eq!(send(&gateway, json!("p q")).brief(), "acme");
    assert_eq!(send(&gateway, json!("p")).brief(), "scope_not_granted");
    let of_other = token(json!({"tenant_id": "other", "scope": "other.b"}));
    assert_eq!(gateway.call(&Call::get("/own").bearer(&of_other)).brief(), "other");
}

#[test]
fn what_asks_for_authentication_alone_asks_for_no_scope_and_no_suite() {
    let operation = one_operation(json!({"access": "authenticated"}));
    assert_cases(
        &file(json!({"suites": [], "scopes": []}), operation),
        &[(json!("anything"), "acme"), (json!(""), "acme"), (json!(7), "claim_malformed")],
    );
}

#[test]
fn a_suite_that_the_tenant_does_not_have_is_named_before_any_scope() {
    let suites = json!([
        {"name": "billing", "operations": [{"name": "op", "path": "/x", "requires": ["a"]}]},
        {"name": "stock", "operations": [{"name": "op", "path": "/y", "requires": ["a"]}]},
    ]);
    for scope in ["a", "", "b", "A"] {
        assert_cases(
            &file(json!({"suites": ["stock"]}), suites.clone()),
            &[(json!(scope), "suite_not_available")],
        );
    }
    for enforcement in ["shadow", "off"] {
        let config = file(json!({"suites": ["stock"], "scope_enforcement": enforcement}), suites.clone());
        assert_cases(&config, &[(json!("a"), "suite_not_available")]);
    }
    assert_cases(&file(json!({"suites": ["stock", "billing"]}), suites), &[(json!("a"), "acme")]);
}

// ---- vendor scopes and suites

#[test]
fn vendor_suites_are_opened_by_vendor_scopes_alone_and_these_open_no_other() {
    let scopes = json!([{"name": "custom"}, {"name": "vendor", "system": true}, {"name": "admin"}]);
    let tenant = json!({"scopes": scopes, "scope_mapping": {"admin": ["vendor", "custom", "admin"]}});
    let suite = |system: bool, requires: &str| {
        let mut suites = one_operation(json!({"requires": [requires]}));
        suites[0]["system"] = json!(system);
        suites
    };
    assert_cases(
        &file(tenant.clone(), suite(true, "vendor")),
        &[
            (json!("vendor"), "acme"),
            (json!("custom vendor"), "acme"),
            (json!("admin"), "scope_not_associated_with_suite"),
            (json!("custom"), "scope_not_associated_with_suite"),
        ],
    );
    assert_cases(
        &file(tenant.clone(), suite(true, "custom")),
        &[(json!("custom"), "scope_not_associated_with_suite")],
    );
    assert_cases(
        &file(tenant.clone(), suite(false, "vendor")),
        &[(json!("vendor"), "scope_not_associated_with_suite"), (json!("admin"), "acme")],
    );
    assert_cases(&file(tenant, suite(false, "custom")), &[(json!("vendor custom"), "acme")]);
    // Where nothing is declared every scope is custom.
    assert_cases(
        &file(json!({}), suite(true, "vendor")),
        &[(json!("vendor"), "scope_not_associated_with_suite")],
    );
}

#[test]
fn an_applications_off_does_not_open_a_vendor_suite() {
    let mut suites = one_operation(json!({"requires": ["vendor"]}));
    let application = json!({"client_id": "app", "scopes": ["custom"], "scope_enforcement": "off"});
    let tenant = json!({
        "scopes": [{"name": "custom"}, {"name": "vendor", "system": true}], "applications": [application],
    });
    assert_cases(&file(tenant.clone(), suites.clone()), &[(json!("custom"), "acme")]);
    suites[0]["system"] = json!(true);
    assert_cases(
        &file(tenant.clone(), suites.clone()),
        &[(json!("custom"), "scope_not_associated_with_suite")],
    );
    let mut config = file(tenant, suites);
    config["tenants"][0]["applications"][0]["scope_enforcement"] = json!("enforce");
    config["scopes_per_application"] = json!(false);
    assert_cases(&config, &[(json!("custom"), "scope_not_associated_with_suite")]);
}

// ---- enforcement

/// The decision for a token without the scope that is required.
fn lifted(config: &Value) -> String {
    match send(&Gateway::new(config), json!("b")) {
        Outcome::Passed(passed) => {
            assert_eq!(passed.decision == Decision::Shadow, passed.reason.is_some());
            passed.decision.as_str().to_owned()
        }
        Outcome::Refused(refused) => refused.reason.as_str().to_owned(),
        Outcome::Told(answer) => panic!("told: {answer:?}"),
    }
}

#[test]
fn the_operations_enforcement_comes_before_the_applications_the_tenants_and_the_files() {
    let outcome = |mode: &str| {
        match mode {
            "enforce" => "scope_not_associated_with_suite",
            "off" => "allow",
            other => other,
        }
        .to_owned()
    };
    let modes = [None, Some("enforce"), Some("shadow"), Some("off")];
    for of_operation in modes {
        for of_application in modes {
            for of_tenant in modes {
                for of_file in modes {
                    let mut config = file(
                        json!({"applications": [{"client_id": "app", "scopes": ["b"]}]}),
                        one_operation(json!({"requires": ["a"]})),
                    );
                    let key = "scope_enforcement";
                    let mut set = |pointer: &str, mode: Option<&str>| {
                        if let Some(mode) = mode {
                            config.pointer_mut(pointer).unwrap()[key] = json!(mode);
                        }
                    };
                    set("/suites/0/operations/0", of_operation);
                    set("/tenants/0/applications/0", of_application);
                    set("/tenants/0", of_tenant);
                    set("", of_file);
                    let most_specific = of_operation.or(of_application).or(of_tenant).or(of_file);
                    let expected = outcome(most_specific.unwrap_or("enforce"));
                    assert_eq!(lifted(&config), expected, "{config:#}");
                    // The master switch is an `off` on each registered application.
                    config["scopes_per_application"] = json!(false);
                    let expected = outcome(of_operation.unwrap_or("off"));
                    assert_eq!(lifted(&config), expected, "{config:#}");
                }
            }
        }
    }
}

#[test]
fn the_master_switch_is_for_registered_applications_only() {
    let mut config = file(json!({}), one_operation(json!({"requires": ["a"]})));
    config["scopes_per_application"] = json!(false);
    assert_eq!(lifted(&config), "scope_not_associated_with_suite");
    config["scope_enforcement"] = json!("shadow");
    assert_eq!(lifted(&config), "shadow");
}

#[test]
fn shadow_lets_every_403_but_the_missing_suite_pass_and_records_it() {
    let mut config = file(
        json!({"scopes": [{"name": "a"}, {"name": "b"}], "suites": ["billing"]}),
        json!([
            {"name": "billing", "operations": [
                {"name": "op", "path": "/x", "methods": ["GET"], "requires": ["a"]},
                {"name": "v", "path": "/v", "headers": [{"name": "x-v", "value": "1"}], "requires": ["a"]},
                {"name": "tls", "path": "/tls", "require_tls": true, "requires": ["a"]},
            ]},
            {"name": "stock", "operations": [{"name": "op", "path": "/y", "requires": ["a"]}]},
        ]),
    );
    config["scope_enforcement"] = json!("shadow");
    let gateway = Gateway::new(&config);
    let record = |call: Call, scope: &str| match gateway.call(&call.bearer(&scoped(json!(scope)))) {
        Outcome::Passed(passed) => format!("{}: {:?}", passed.decision.as_str(), passed.reason),
        Outcome::Refused(refused) => refused.reason.as_str().to_owned(),
        Outcome::Told(answer) => panic!("told: {answer:?}"),
    };
    assert_eq!(record(Call::get("/x"), "a"), "allow: None");
    assert_eq!(record(Call::get("/x"), "b"), "shadow: Some(ScopeNotAssociatedWithSuite)");
    assert_eq!(record(Call::get("/x"), ""), "shadow: Some(NoScopesInToken)");
    assert_eq!(record(Call::get("/x"), "A"), "shadow: Some(ScopeNameMismatch)");
    assert_eq!(record(Call::get("/x"), "other.a"), "shadow: Some(ScopeOfOtherTenant)");
    assert_eq!(record(Call::new("POST", "/x"), "a"), "shadow: Some(MethodNotMapped)");
    assert_eq!(record(Call::get("/nowhere"), "a"), "shadow: Some(OperationNotMapped)");
    assert_eq!(record(Call::get("/y"), "a"), "suite_not_available");
    // What is no 403 is not lifted.
    assert_eq!(record(Call::get("/v"), "a"), "header_missing");
    assert_eq!(record(Call::get("/tls").with(":scheme", "http"), "a"), "tls_required");
    assert_eq!(gateway.call(&Call::get("/x")).brief(), "credential_missing");
    let of_nobody = token(json!({"tenant_id": "nobody", "scope": "a"}));
    assert_eq!(gateway.call(&Call::get("/x").bearer(&of_nobody)).brief(), "tenant_unknown");
}

#[test]
fn off_lifts_what_is_about_scopes_and_nothing_else() {
    let mut config = file(
        json!({"applications": [{"client_id": "app", "scopes": []}]}),
        json!([{"name": "s", "operations": [{"name": "o", "path": "/x", "methods": ["GET"], "requires": ["a"]}]}]),
    );
    config["scope_enforcement"] = json!("off");
    let gateway = Gateway::new(&config);
    let call = |call: Call, changes: Value| {
        let changes = merge(json!({"tenant_id": "acme", "client_id": "app"}), changes);
        gateway.call(&call.bearer(&token(changes))).brief()
    };
    for scope in ["", "a", "other.a", "A", "b"] {
        assert_eq!(call(Call::get("/x"), json!({"scope": scope})), "acme", "{scope}");
    }
    assert_eq!(call(Call::get("/nowhere"), json!({})), "operation_not_mapped");
    assert_eq!(call(Call::new("POST", "/x"), json!({})), "method_not_mapped");
    assert_eq!(call(Call::get("/x"), json!({"client_id": "stranger"})), "application_not_registered");
    assert_eq!(call(Call::get("/x"), json!({"exp": NOW - 61})), "token_expired");
    assert_eq!(call(Call::get("/x"), json!({"aud": "else"})), "audience_mismatch");
}

// ---- why not

#[test]
fn the_first_reason_that_holds_is_given() {
    let tenant = json!({
        "scope_prefix": "acme.",
        "scopes": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "stray"}],
        "applications": [{"client_id": "app", "scopes": ["a", "stray"]}],
    });
    let suites = json!([{"name": "s", "scopes": ["c"], "operations": [
        {"name": "o", "path": "/x", "requires": ["b"]},
        {"name": "undeclared", "path": "/u", "requires": ["u"]},
    ]}]);
    assert_cases(
        &file(tenant, suites),
        &[
            (json!(""), "no_scopes_in_token"),
            (json!("other.b"), "scope_of_other_tenant"),
            (json!("other.b ACME.B"), "scope_of_other_tenant"),
            (json!("other.b acme.b"), "scope_not_assigned_to_application"),
            (json!("acme.B"), "scope_name_mismatch"),
            (json!("acme_b"), "scope_name_mismatch"),
            (json!("acme.a,acme.b"), "scope_name_mismatch"),
            (json!("acme.b acme.B"), "scope_not_assigned_to_application"),
            (json!("acme.b"), "scope_not_assigned_to_application"),
            (json!("acme.stray"), "scope_not_associated_with_suite"),
            (json!("acme.a"), "scope_not_associated_with_suite"),
            (json!("acme.c"), "scope_not_granted"),
            (json!("unrelated"), "scope_not_granted"),
        ],
    );
}

#[test]
fn each_missing_scope_is_judged_for_itself() {
    let tenant = json!({"scopes": [{"name": "a"}]});
    assert_cases(
        &file(tenant, one_operation(json!({"requires": ["a", "b"]}))),
        &[
            // `b` is carried and not declared; `a` comes first in the table with what it lacks.
            (json!("b"), "scope_not_declared"),
            (json!("A b"), "scope_name_mismatch"),
            (json!("other.a b"), "scope_of_other_tenant"),
            (json!("a b"), "scope_not_declared"),
            (json!("a"), "scope_not_granted"),
        ],
    );
}

// ---- the challenge

#[test]
fn the_challenge_names_the_smallest_set_of_the_tenants_token_scopes() {
    let tenant = json!({
        "scope_prefix": "acme.",
        "scopes": [{"name": "read"}, {"name": "write"}, {"name": "admin"}, {"name": "all"}],
        "scope_mapping": {"admin": ["r", "w", "x"], "read": ["r"], "write": ["w"], "all": ["r", "w", "x", "y"]},
    });
    let of = |requires: Value| {
        challenge(&file(tenant.clone(), one_operation(json!({"requires": requires}))), json!("acme.nothing"))
    };
    assert_eq!(of(json!(["r"])).as_deref(), Some("acme.read"));
    assert_eq!(of(json!(["w"])).as_deref(), Some("acme.write"));
    assert_eq!(of(json!(["r", "w"])).as_deref(), Some("acme.admin"), "one scope is fewer than two");
    assert_eq!(of(json!({"any_of": ["w", "r"]})).as_deref(), Some("acme.write"));
    assert_eq!(of(json!(["y"])).as_deref(), Some("acme.all"));
    assert_eq!(of(json!(["z"])), None, "no scope of the tenant stands for it");
    assert_eq!(of(json!(["r", "z"])), None);
}

#[test]
fn the_challenge_names_no_scope_that_is_not_needed() {
    // The widest scope looks best at first and is covered by the others in the end.
    let names = ["wide", "one", "two", "three"];
    let tenant = json!({
        "scopes": names.map(|name| json!({"name": name})),
        "scope_mapping": {
            "wide": ["1", "2", "3", "4", "5", "6"], "one": ["1", "2", "7"], "two": ["3", "4", "8"],
            "three": ["5", "6", "9"],
        },
    });
    let requires = json!(["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let scope =
        challenge(&file(tenant, one_operation(json!({"requires": requires}))), json!("wide")).unwrap();
    assert_eq!(scope.split(' ').collect::<BTreeSet<_>>(), BTreeSet::from(["one", "two", "three"]));
}

#[test]
fn the_challenge_names_two_scopes_where_two_are_enough() {
    // Whoever takes the widest first needs both of the narrow ones beside it.
    let names = ["wide", "narrow-1", "narrow-2", "left", "right"];
    let tenant = json!({
        "scopes": names.map(|name| json!({"name": name})),
        "scope_mapping": {
            "wide": ["2", "3", "4", "5"], "narrow-1": ["1"], "narrow-2": ["6"], "left": ["1", "2", "3"],
            "right": ["4", "5", "6"],
        },
    });
    let requires = json!(["1", "2", "3", "4", "5", "6"]);
    let scope = challenge(&file(tenant, one_operation(json!({"requires": requires}))), json!("x"));
    assert_eq!(scope.as_deref(), Some("left right"));
}

#[test]
fn the_challenge_of_a_vendor_suite_names_vendor_scopes() {
    let tenant = json!({"scopes": [{"name": "custom"}, {"name": "vendor", "system": true}],
        "scope_mapping": {"custom": ["p"], "vendor": ["p"]}});
    let mut suites = one_operation(json!({"requires": ["p"]}));
    assert_eq!(challenge(&file(tenant.clone(), suites.clone()), json!("x")).as_deref(), Some("custom"));
    suites[0]["system"] = json!(true);
    assert_eq!(challenge(&file(tenant, suites), json!("custom")).as_deref(), Some("vendor"));
}

// ---- the naive model

const SCOPES: [&str; 5] = ["a", "b", "ab", "a:b", "c"];
const PERMISSIONS: [&str; 6] = ["a", "b", "ab", "a:b", "c", "p"];
const MODES: [&str; 3] = ["enforce", "shadow", "off"];

#[derive(Clone, Debug)]
struct Requires {
    all_of: Vec<&'static str>,
    any_of: Vec<&'static str>,
}

#[derive(Clone, Debug)]
struct Case {
    prefix: Option<&'static str>,
    /// Declared scopes; true: of the vendor.
    declared: Option<BTreeMap<&'static str, bool>>,
    mapping: BTreeMap<&'static str, Vec<&'static str>>,
    assigned: Option<Vec<&'static str>>,
    has_suite: bool,
    system: bool,
    suite_scopes: Vec<&'static str>,
    requires: Option<Requires>,
    tenant_suite_scopes: Option<Vec<&'static str>>,
    tenant_requires: Option<Requires>,
    other_operation: Vec<&'static str>,
    /// Of the operation, the application, the tenant, the file.
    enforcement: [Option<&'static str>; 4],
    per_application: bool,
    token: Vec<String>,
}

fn some(all: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(all.to_vec(), 1..=2)
}

fn any_requires() -> impl Strategy<Value = Requires> {
    prop_oneof![
        some(&PERMISSIONS).prop_map(|all_of| Requires { all_of, any_of: Vec::new() }),
        some(&PERMISSIONS).prop_map(|any_of| Requires { all_of: Vec::new(), any_of }),
        (some(&PERMISSIONS), some(&PERMISSIONS)).prop_map(|(all_of, any_of)| Requires { all_of, any_of }),
    ]
}

fn any_token_scope() -> impl Strategy<Value = String> {
    let name = || select(SCOPES.to_vec());
    prop_oneof![
        6 => (select(vec!["", "acme.", "acme."]), name()).prop_map(|(prefix, name)| format!("{prefix}{name}")),
        1 => name().prop_map(|name| format!("other.{name}")),
        1 => name().prop_map(|name| format!("acme.{}", name.to_uppercase())),
        1 => name().prop_map(str::to_uppercase),
        1 => (name(), name()).prop_map(|(one, other)| format!("{one},acme.{other}")),
        1 => Just("acme.stray".to_owned()),
    ]
}

fn any_case() -> impl Strategy<Value = Case> {
    let tenant = (
        option::weighted(0.6, Just("acme.")),
        option::weighted(0.7, btree_map(select(SCOPES.to_vec()), proptest::bool::weighted(0.3), 0..=5)),
        btree_map(select(SCOPES.to_vec()), subsequence(PERMISSIONS.to_vec(), 0..=3), 0..=3),
        option::weighted(0.5, subsequence(SCOPES.to_vec(), 0..=5)),
        proptest::bool::weighted(0.95),
    );
    let suite = (
        proptest::bool::weighted(0.25),
        some(&PERMISSIONS),
        option::weighted(0.7, any_requires()),
        option::weighted(0.2, some(&PERMISSIONS)),
        option::weighted(0.2, any_requires()),
        some(&PERMISSIONS),
    );
    let mode = || option::weighted(0.15, select(MODES.to_vec()));
    let enforcement = ([mode(), mode(), mode(), mode()], proptest::bool::weighted(0.9));
    (tenant, suite, enforcement, vec(any_token_scope(), 0..4)).prop_map(
        |(tenant, suite, enforcement, token)| {
            let (prefix, declared, mapping, assigned, has_suite) = tenant;
            let (system, suite_scopes, requires, tenant_suite_scopes, tenant_requires, other_operation) =
                suite;
            // What is mapped or assigned must be declared.
            let is_declared =
                |scope: &&'static str| declared.as_ref().is_none_or(|all| all.contains_key(scope));
            let mapping = mapping.into_iter().filter(|(scope, _)| is_declared(scope)).collect();
            let assigned = assigned.map(|all| all.into_iter().filter(is_declared).collect());
            Case {
                prefix,
                declared,
                mapping,
                assigned,
                has_suite,
                system,
                suite_scopes,
                requires,
                tenant_suite_scopes,
                tenant_requires,
                other_operation,
                enforcement: enforcement.0,
                per_application: enforcement.1,
                token,
            }
        },
    )
}

impl Requires {
    fn json(&self) -> Value {
        let mut value = json!({});
        if !self.all_of.is_empty() {
            value["all_of"] = json!(self.all_of);
        }
        if !self.any_of.is_empty() {
            value["any_of"] = json!(self.any_of);
        }
        value
    }

    fn is_met_by(&self, held: &BTreeSet<&str>) -> bool {
        self.all_of.iter().all(|permission| held.contains(permission))
            && (self.any_of.is_empty() || self.any_of.iter().any(|permission| held.contains(permission)))
    }
}

impl Case {
    fn config(&self) -> Value {
        let [of_operation, of_application, of_tenant, of_file] = self.enforcement;
        let mut operation = json!({"name": "op", "path": "/x"});
        if let Some(requires) = &self.requires {
            operation["requires"] = requires.json();
        }
        let set = |value: &mut Value, mode: Option<&str>| {
            if let Some(mode) = mode {
                value["scope_enforcement"] = json!(mode);
            }
        };
        set(&mut operation, of_operation);
        let mut tenant = json!({"scope_mapping": self.mapping});
        if let Some(prefix) = self.prefix {
            tenant["scope_prefix"] = json!(prefix);
        }
        if let Some(declared) = &self.declared {
            let scopes = declared.iter().map(|(name, system)| json!({"name": name, "system": system}));
            tenant["scopes"] = scopes.collect();
        }
        if let Some(assigned) = &self.assigned {
            let mut application = json!({"client_id": "app", "scopes": assigned});
            set(&mut application, of_application);
            tenant["applications"] = json!([application]);
        }
        if !self.has_suite {
            tenant["suites"] = json!([]);
        }
        if let Some(scopes) = &self.tenant_suite_scopes {
            tenant["suite_scopes"] = json!({"s": scopes});
        }
        if let Some(requires) = &self.tenant_requires {
            tenant["operation_requires"] = json!({"s/op": requires.json()});
        }
        set(&mut tenant, of_tenant);
        let other = json!({"name": "other", "path": "/y", "requires": self.other_operation});
        let suite = json!({"name": "s", "system": self.system, "scopes": self.suite_scopes, "operations": [operation, other]});
        let mut config = file(tenant, json!([suite]));
        set(&mut config, of_file);
        config["scopes_per_application"] = json!(self.per_application);
        config
    }

    fn required(&self) -> Requires {
        let any_of = |all: &Vec<&'static str>| Requires { all_of: Vec::new(), any_of: all.clone() };
        let of_suite = any_of(self.tenant_suite_scopes.as_ref().unwrap_or(&self.suite_scopes));
        self.tenant_requires.clone().or(self.requires.clone()).unwrap_or(of_suite)
    }

    fn permissions(&self, scope: &'static str) -> Vec<&'static str> {
        self.mapping.get(scope).cloned().unwrap_or(vec![scope])
    }

    /// The scope's kind where it counts: true for the vendor's.
    fn kind(&self, scope: &str) -> Option<bool> {
        match &self.declared {
            None => Some(false),
            Some(declared) => declared.get(scope).copied(),
        }
    }

    fn stripped<'s>(&self, token_scope: &'s str) -> Option<&'s str> {
        token_scope.strip_prefix(self.prefix.unwrap_or_default())
    }

    fn is_assigned(&self, scope: &str) -> bool {
        self.assigned.as_ref().is_none_or(|assigned| assigned.contains(&scope))
    }

    /// The scopes that count, whatever their kind.
    fn effective(&self) -> BTreeSet<&str> {
        let stripped = self.token.iter().filter_map(|scope| self.stripped(scope));
        stripped.filter(|scope| self.kind(scope).is_some() && self.is_assigned(scope)).collect()
    }

    fn held(&self, scopes: &BTreeSet<&str>) -> BTreeSet<&'static str> {
        let known = SCOPES.iter().filter(|scope| scopes.contains(**scope));
        known
            .filter(|scope| self.kind(scope) == Some(self.system))
            .flat_map(|scope| self.permissions(scope))
            .collect()
    }

    fn mode(&self) -> &'static str {
        let [of_operation, of_application, of_tenant, of_file] = self.enforcement;
        let of_application = match &self.assigned {
            None => None,
            Some(_) if !self.per_application => Some("off"),
            Some(_) => of_application,
        };
        let of_application = of_application.filter(|mode| !(self.system && *mode == "off"));
        of_operation.or(of_application).or(of_tenant).or(of_file).unwrap_or("enforce")
    }

    /// The first reason of the README's table of 403s that holds; none where the operation opens.
    fn reason(&self) -> Option<&'static str> {
        if !self.has_suite {
            return Some("suite_not_available");
        }
        let required = self.required();
        let effective = self.effective();
        let held = self.held(&effective);
        if required.is_met_by(&held) {
            return None;
        }
        if self.token.is_empty() {
            return Some("no_scopes_in_token");
        }
        // Each missing permission by itself, the alternatives of `any_of` together.
        let mut missing: Vec<Vec<&str>> = Vec::new();
        missing.extend(required.all_of.iter().filter(|all| !held.contains(*all)).map(|all| vec![*all]));
        if !required.any_of.is_empty() && !required.any_of.iter().any(|any| held.contains(any)) {
            missing.push(required.any_of.clone());
        }
        // The scopes by which it could be had: of the right kind, or not declared at all.
        let required_scopes: Vec<Vec<&'static str>> = missing
            .iter()
            .map(|piece| {
                let brings = |scope: &&&'static str| {
                    self.permissions(scope).iter().any(|permission| piece.contains(permission))
                        && self.kind(scope).is_none_or(|kind| kind == self.system)
                };
                SCOPES.iter().chain(["p"].iter()).filter(brings).copied().collect()
            })
            .collect();
        let carries =
            |scope: &&'static str| self.token.iter().any(|token| self.stripped(token) == Some(*scope));
        let other_prefix = |scope: &&&'static str| self.token.contains(&format!("other.{scope}"));
        let only_elsewhere = |scopes: &Vec<&'static str>| {
            !scopes.iter().any(carries) && scopes.iter().any(|scope| other_prefix(&scope))
        };
        if required_scopes.iter().any(only_elsewhere) {
            return Some("scope_of_other_tenant");
        }
        let letters = |text: &str| {
            text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
        };
        let near = |scope: &&str| {
            let wanted = letters(&format!("{}{scope}", self.prefix.unwrap_or_default()));
            self.token.iter().any(|token| {
                letters(token) == wanted
                    || token.contains(',') && token.split(',').any(|part| letters(part) == wanted)
            })
        };
        let misspelt = |scopes: &Vec<&'static str>| !scopes.iter().any(carries) && scopes.iter().any(near);
        if required_scopes.iter().any(misspelt) {
            return Some("scope_name_mismatch");
        }
        let carried: Vec<&str> =
            required_scopes.concat().into_iter().filter(|scope| carries(scope)).collect();
        if carried.iter().any(|scope| self.kind(scope).is_none()) {
            return Some("scope_not_declared");
        }
        if carried.iter().any(|scope| !self.is_assigned(scope)) {
            return Some("scope_not_assigned_to_application");
        }
        let mut of_suite: BTreeSet<&str> =
            self.tenant_suite_scopes.as_ref().unwrap_or(&self.suite_scopes).iter().copied().collect();
        of_suite.extend(&self.other_operation);
        of_suite.extend(required.all_of.iter().chain(&required.any_of));
        if !effective.is_empty() && held.is_disjoint(&of_suite) {
            return Some("scope_not_associated_with_suite");
        }
        Some("scope_not_granted")
    }

    /// The smallest number of the tenant's scopes that open the operation, by trying all sets.
    fn fewest(&self) -> Option<usize> {
        let names = ["a", "b", "ab", "a:b", "c", "p"];
        (1..1_usize << names.len())
            .filter_map(|set| {
                let scopes: BTreeSet<&str> = names
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| set >> bit & 1 == 1)
                    .map(|(_, name)| *name)
                    .collect();
                let all_count = scopes.iter().all(|scope| self.kind(scope) == Some(self.system));
                let mut held = self.held(&scopes);
                if scopes.contains("p") {
                    held.insert("p");
                }
                (all_count && self.required().is_met_by(&held)).then_some(scopes.len())
            })
            .min()
    }
}

fn call(gateway: &Gateway, scopes: &[String]) -> Outcome {
    send(gateway, json!(scopes))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn scopes_open_what_the_model_opens(case in any_case()) {
        let gateway = Gateway::new(&case.config());
        let outcome = call(&gateway, &case.token);
        let reason = case.reason();
        let mode = if reason == Some("suite_not_available") { "enforce" } else { case.mode() };
        match (reason, mode) {
            (None, _) => prop_assert_eq!(outcome.passed().decision, Decision::Allow),
            (Some(reason), "shadow") => {
                let passed = outcome.passed();
                prop_assert_eq!(passed.decision, Decision::Shadow);
                prop_assert_eq!(passed.reason.map(Reason::as_str), Some(reason));
            }
            (Some(_), "off") => prop_assert_eq!(outcome.passed().decision, Decision::Allow),
            (Some(reason), _) => prop_assert_eq!(outcome.brief(), reason, "{:?}", case),
        }
    }

    /// The challenge is true: with these scopes, and no fewer, the operation opens.
    #[test]
    fn the_scopes_of_a_challenge_open_the_operation_and_no_smaller_set_does(mut case in any_case()) {
        case.has_suite = true;
        case.assigned = None;
        case.enforcement = [None; 4];
        case.token = vec!["acme.stray".to_owned()];
        let gateway = Gateway::new(&case.config());
        let refused = call(&gateway, &case.token).refused();
        let named: Option<Vec<String>> = refused.scope.map(|scope| scope.split(' ').map(str::to_owned).collect());
        prop_assert_eq!(named.as_ref().map(Vec::len), case.fewest(), "{:?} {:?}", named, case);
        if let Some(named) = named {
            prop_assert_eq!(call(&gateway, &named).brief(), "acme", "{:?} {:?}", named, case);
            for left_out in 0..named.len() {
                let mut fewer = named.clone();
                fewer.remove(left_out);
                prop_assert!(call(&gateway, &fewer).refusal().is_some(), "{:?} {:?}", fewer, case);
            }
        }
    }

    /// More scopes never close what fewer opened.
    #[test]
    fn a_scope_more_never_closes_an_operation(case in any_case(), more in any_token_scope()) {
        let gateway = Gateway::new(&case.config());
        if call(&gateway, &case.token).refusal().is_none() {
            let mut scopes = case.token.clone();
            scopes.push(more);
            prop_assert!(call(&gateway, &scopes).refusal().is_none(), "{:?} {:?}", scopes, case);
        }
    }
}

#[test]
fn the_model_is_reached_by_every_reason_and_by_success() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..4_000 {
        let case = any_case().new_tree(&mut runner).unwrap().current();
        *seen.entry(case.reason().unwrap_or("passed")).or_default() += 1;
    }
    for expected in [
        "passed",
        "suite_not_available",
        "no_scopes_in_token",
        "scope_of_other_tenant",
        "scope_name_mismatch",
        "scope_not_declared",
        "scope_not_assigned_to_application",
        "scope_not_associated_with_suite",
        "scope_not_granted",
    ] {
        assert!(seen.get(expected).is_some_and(|times| *times >= 20), "{expected} in {seen:?}");
    }
}
