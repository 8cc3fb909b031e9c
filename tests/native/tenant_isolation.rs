//! Which tenant a request belongs to: rule by rule, and against a naive model.

use std::collections::{BTreeMap, BTreeSet};

use crate::gateway::{Begun, Call, Gateway, KEY, claims, merge, provider, token};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use scopegate::respond::Reason;
use scopegate_testing::mint::{Signer, jwks};
use serde_json::{Value, json};

/// A file with these tenants, one provider, `tenant_resolution` and one authenticated operation on every path.
fn file(tenants: Value, resolution: Value) -> Value {
    json!({
        "version": 1,
        "providers": {"idp": provider(json!({}))},
        "tenant_resolution": merge(json!({"claims": ["tenant_id"], "headers": ["x-tenant-id"]}), resolution),
        "tenants": tenants,
        "suites": [{"name": "all", "operations": [
            {"name": "any", "path": "/**", "access": "authenticated"},
            {"name": "of-tenant", "path": "/of/{tenant}/items", "access": "authenticated"},
        ]}],
    })
}

fn two_tenants() -> Value {
    json!([{"id": "tenant1", "aliases": ["t-one"]}, {"id": "tenant10"}])
}

fn brief(gateway: &Gateway, call: &Call, token: &str) -> String {
    gateway.call(&call.clone().bearer(token)).brief()
}

/// Each case: claims of the token, path, `x-tenant-id`, and the tenant or reason.
fn assert_cases(config: &Value, cases: &[(Value, &str, Option<&str>, &str)]) {
    let gateway = Gateway::new(config);
    for (changes, path, header, expected) in cases {
        let mut call = Call::get(path);
        if let Some(header) = header {
            call = call.header("x-tenant-id", header);
        }
        assert_eq!(
            brief(&gateway, &call, &token(changes.clone())),
            *expected,
            "{changes} {path} {header:?} in {config:#}"
        );
    }
}

// ---- where the token's tenant comes from

#[test]
fn the_claim_names_the_tenant_by_id_or_alias_byte_for_byte() {
    assert_cases(
        &file(two_tenants(), json!({})),
        &[
            (json!({"tenant_id": "tenant1"}), "/", None, "tenant1"),
            (json!({"tenant_id": "tenant10"}), "/", None, "tenant10"),
            (json!({"tenant_id": "t-one"}), "/", None, "tenant1"),
            (json!({"tenant_id": "Tenant1"}), "/", None, "tenant_unknown"),
            (json!({"tenant_id": "tenant1 "}), "/", None, "tenant_unknown"),
            (json!({"tenant_id": "tenant"}), "/", None, "tenant_unknown"),
            (json!({"tenant_id": "tenant100"}), "/", None, "tenant_unknown"),
            (json!({"tenant_id": "{tenant}"}), "/", None, "tenant_unknown"),
        ],
    );
}

#[test]
fn a_token_of_tenant1_is_refused_under_tenant10() {
    let of_one = json!({"tenant_id": "tenant1"});
    assert_cases(
        &file(two_tenants(), json!({})),
        &[
            (of_one.clone(), "/of/tenant1/items", Some("tenant1"), "tenant1"),
            (of_one.clone(), "/of/t-one/items", Some("t-one"), "tenant1"),
            (of_one.clone(), "/of/tenant10/items", None, "tenant_mismatch"),
            (of_one.clone(), "/", Some("tenant10"), "tenant_mismatch"),
            (of_one.clone(), "/of/tenant1/items", Some("tenant10"), "tenant_mismatch"),
            (of_one, "/of/tenant10/items", Some("tenant1"), "tenant_mismatch"),
        ],
    );
}

#[test]
fn the_request_never_chooses_where_the_token_names_nothing() {
    assert_cases(
        &file(two_tenants(), json!({})),
        &[
            (json!({}), "/", None, "tenant_missing"),
            (json!({}), "/", Some("tenant1"), "tenant_missing"),
            (json!({}), "/of/tenant1/items", Some("tenant1"), "tenant_missing"),
            (json!({"client_id": "tenant1"}), "/of/tenant1/items", None, "tenant_missing"),
        ],
    );
}

#[test]
fn the_request_never_narrows_what_an_audience_leaves_open() {
    let shared = json!([{"id": "tenant1", "audiences": ["api"]}, {"id": "tenant10", "audiences": ["api"]}]);
    assert_cases(
        &file(shared, json!({})),
        &[
            (json!({}), "/", None, "tenant_ambiguous"),
            (json!({}), "/of/tenant1/items", Some("tenant1"), "tenant_ambiguous"),
            (json!({"tenant_id": "tenant10"}), "/", None, "tenant10"),
        ],
    );
}

#[test]
fn a_provider_that_speaks_for_one_tenant_names_it() {
    assert_cases(
        &file(json!([{"id": "tenant1"}]), json!({})),
        &[
            (json!({}), "/", None, "tenant1"),
            (json!({}), "/", Some("tenant10"), "tenant_mismatch"),
            (json!({"tenant_id": "tenant1"}), "/", None, "tenant1"),
            (json!({"tenant_id": "tenant10"}), "/", None, "tenant_unknown"),
        ],
    );
}

#[test]
fn a_token_for_a_tenant_that_is_gone_is_not_one_for_the_tenant_that_is_left() {
    let audiences = json!(["api", "https://api.example/{tenant}", "https://api.example/shared"]);
    let with = |resolution: Value, tenants: Value| {
        let mut config = file(tenants, resolution);
        config["providers"] = json!({"idp": provider(json!({"audiences": audiences}))});
        config
    };
    let of_ten = || json!({"aud": ["api", "https://api.example/tenant10"]});
    let both = json!([{"id": "tenant1"}, {"id": "tenant10"}]);
    assert_cases(&with(json!({}), both), &[(of_ten(), "/", None, "tenant10")]);
    assert_cases(
        &with(json!({"default": "tenant1"}), json!([{"id": "tenant1"}])),
        &[
            (of_ten(), "/", None, "tenant_unknown"),
            (json!({"aud": ["api", "https://api.example/tenant1"]}), "/", None, "tenant1"),
            // What else names the tenant is believed; what the provider lists whole is no tenant's name.
            (merge(of_ten(), json!({"tenant_id": "tenant1"})), "/", None, "tenant1"),
            (json!({"aud": ["api", "https://api.example/shared"]}), "/", None, "tenant1"),
            (json!({"aud": "api"}), "/", None, "tenant1"),
        ],
    );
    let registered = json!([{"id": "tenant1", "applications": [{"client_id": "shop"}]}]);
    let of_shop = merge(of_ten(), json!({"client_id": "shop"}));
    assert_cases(&with(json!({}), registered), &[(of_shop, "/", None, "tenant_unknown")]);
}

#[test]
fn an_issuer_with_tenant_names_it_by_id_or_alias() {
    let mut config = file(two_tenants(), json!({}));
    config["providers"] = json!({"kc": provider(json!({"issuer": "https://kc.example/realms/{tenant}"}))});
    let of = |name: &str| json!({"iss": format!("https://kc.example/realms/{name}")});
    assert_cases(
        &config,
        &[
            (of("tenant1"), "/", None, "tenant1"),
            (of("tenant10"), "/", None, "tenant10"),
            (of("t-one"), "/of/tenant1/items", None, "tenant1"),
            (of("tenant"), "/", None, "issuer_unknown"),
            (of("nobody"), "/", None, "issuer_unknown"),
            (of(""), "/", None, "issuer_unknown"),
            (of("tenant1/"), "/", None, "issuer_unknown"),
            (merge(of("tenant1"), json!({"tenant_id": "tenant10"})), "/", None, "tenant_mismatch"),
            (merge(of("tenant1"), json!({"tenant_id": "t-one"})), "/", None, "tenant1"),
            (of("tenant10"), "/of/tenant1/items", None, "tenant_mismatch"),
        ],
    );
}

#[test]
fn an_audience_names_a_tenant_by_list_or_by_pattern() {
    let mut config = file(
        json!([{"id": "tenant1", "audiences": ["one-api"]}, {"id": "tenant10", "aliases": ["ten"]}]),
        json!({}),
    );
    let audiences = json!(["api", "one-api", "https://api.example/{tenant}"]);
    config["providers"] = json!({"idp": provider(json!({"audiences": audiences}))});
    assert_cases(
        &config,
        &[
            (json!({"aud": "one-api"}), "/", None, "tenant1"),
            (json!({"aud": "https://api.example/tenant1"}), "/", None, "tenant1"),
            (json!({"aud": ["https://api.example/ten", "api"]}), "/", None, "tenant10"),
            (json!({"aud": "https://api.example/other"}), "/", None, "audience_mismatch"),
            (json!({"aud": "api"}), "/", None, "tenant_missing"),
            (json!({"aud": ["https://api.example/tenant1", "one-api"]}), "/", None, "tenant1"),
            (
                json!({"aud": ["https://api.example/tenant1", "https://api.example/tenant10"]}),
                "/",
                None,
                "tenant_ambiguous",
            ),
            (
                json!({"aud": ["https://api.example/tenant1", "https://api.example/ten"], "tenant_id": "ten"}),
                "/",
                None,
                "tenant10",
            ),
            (json!({"aud": "one-api", "tenant_id": "tenant10"}), "/", None, "tenant_mismatch"),
            (json!({"aud": "one-api"}), "/of/tenant10/items", None, "tenant_mismatch"),
        ],
    );
}

fn registered() -> Value {
    json!([
        {"id": "tenant1", "applications": [{"client_id": "sync", "scopes": []}, {"client_id": "both", "scopes": []}]},
        {"id": "tenant10", "applications": [{"client_id": "both", "scopes": []}, {"client_id": "ten", "scopes": []}]},
        {"id": "open"},
    ])
}

#[test]
fn a_client_that_is_registered_with_one_tenant_names_it() {
    assert_cases(
        &file(registered(), json!({})),
        &[
            (json!({"client_id": "sync"}), "/", None, "tenant1"),
            (json!({"azp": "ten"}), "/", None, "tenant10"),
            (json!({"client_id": "sync"}), "/of/tenant10/items", None, "tenant_mismatch"),
            (json!({"client_id": "both"}), "/", None, "tenant_missing"),
            (json!({"client_id": "both"}), "/of/tenant1/items", Some("tenant1"), "tenant_missing"),
            (json!({"client_id": "both", "tenant_id": "tenant10"}), "/", None, "tenant10"),
            (json!({"client_id": "stranger"}), "/", None, "tenant_missing"),
        ],
    );
}

#[test]
fn a_tenant_that_registers_applications_takes_only_those() {
    assert_cases(
        &file(registered(), json!({})),
        &[
            (json!({"tenant_id": "tenant1", "client_id": "sync"}), "/", None, "tenant1"),
            (
                json!({"tenant_id": "tenant1", "client_id": "stranger"}),
                "/",
                None,
                "application_not_registered",
            ),
            (json!({"tenant_id": "tenant1", "client_id": "Sync"}), "/", None, "application_not_registered"),
            (json!({"tenant_id": "tenant1", "client_id": "ten"}), "/", None, "application_not_registered"),
            (json!({"tenant_id": "tenant1"}), "/", None, "claim_missing"),
            (json!({"tenant_id": "open", "client_id": "stranger"}), "/", None, "open"),
            (json!({"tenant_id": "open"}), "/", None, "open"),
            // The client's registration is evidence too: all of it must have a tenant in common.
            (json!({"tenant_id": "open", "client_id": "sync"}), "/", None, "tenant_mismatch"),
            (json!({"tenant_id": "open", "client_id": "both"}), "/", None, "tenant_mismatch"),
        ],
    );
}

#[test]
fn client_ids_of_two_issuers_have_nothing_to_do_with_each_other() {
    let mut config = file(
        json!([
            {"id": "tenant1", "providers": ["idp", "other"],
             "applications": [{"client_id": "sync", "provider": "idp", "scopes": []}]},
            {"id": "tenant10", "providers": ["idp", "other"],
             "applications": [{"client_id": "sync", "provider": "other", "scopes": []}]},
        ]),
        json!({}),
    );
    config["providers"]["other"] = provider(json!({"issuer": "https://other.example"}));
    let other = json!({"iss": "https://other.example", "client_id": "sync"});
    assert_cases(
        &config,
        &[
            (json!({"client_id": "sync"}), "/", None, "tenant1"),
            (other.clone(), "/", None, "tenant10"),
            (merge(other, json!({"tenant_id": "tenant1"})), "/", None, "application_not_registered"),
            (json!({"client_id": "sync", "tenant_id": "tenant10"}), "/", None, "application_not_registered"),
        ],
    );
}

#[test]
fn a_provider_speaks_only_for_tenants_that_list_it() {
    let mut config = file(
        json!([
            {"id": "tenant1", "providers": ["idp"], "audiences": ["api-one"]},
            {"id": "tenant10", "providers": ["other"], "audiences": ["api-ten"]},
            {"id": "tenant2", "providers": ["idp", "other"]},
        ]),
        json!({}),
    );
    let audiences = json!(["api", "api-one", "api-ten"]);
    config["providers"] = json!({
        "idp": provider(json!({"audiences": audiences})),
        "other": provider(json!({"issuer": "https://other.example", "audiences": audiences})),
    });
    assert_cases(
        &config,
        &[
            (json!({"tenant_id": "tenant1"}), "/", None, "tenant1"),
            (json!({"tenant_id": "tenant10"}), "/", None, "issuer_not_allowed_for_tenant"),
            (
                json!({"tenant_id": "tenant10"}),
                "/of/tenant10/items",
                Some("tenant10"),
                "issuer_not_allowed_for_tenant",
            ),
            (json!({"aud": "api-ten"}), "/", None, "issuer_not_allowed_for_tenant"),
            (json!({"aud": "api-ten", "tenant_id": "tenant1"}), "/", None, "issuer_not_allowed_for_tenant"),
            (json!({"iss": "https://other.example", "tenant_id": "tenant10"}), "/", None, "tenant10"),
            (json!({"iss": "https://other.example", "tenant_id": "tenant2"}), "/", None, "tenant2"),
            (
                json!({"iss": "https://other.example", "tenant_id": "tenant1"}),
                "/",
                None,
                "issuer_not_allowed_for_tenant",
            ),
        ],
    );
}

#[test]
fn an_issuer_pattern_does_not_speak_for_tenants_that_do_not_list_it() {
    let mut config = file(
        json!([{"id": "tenant1", "providers": ["kc"]}, {"id": "tenant10", "providers": ["idp"]}]),
        json!({}),
    );
    config["providers"]["kc"] = provider(json!({"issuer": "https://kc.example/{tenant}"}));
    assert_cases(
        &config,
        &[
            (json!({"iss": "https://kc.example/tenant1"}), "/", None, "tenant1"),
            (json!({"iss": "https://kc.example/tenant10"}), "/", None, "issuer_not_allowed_for_tenant"),
        ],
    );
}

#[test]
fn all_tenant_claims_that_are_present_must_agree() {
    let claims = json!({"claims": ["tenant_id", "ctx.tenant", ["https://erp.example/tenant"]]});
    assert_cases(
        &file(two_tenants(), claims),
        &[
            (json!({"ctx": {"tenant": "tenant10"}}), "/", None, "tenant10"),
            (json!({"https://erp.example/tenant": "tenant1"}), "/", None, "tenant1"),
            (json!({"tenant_id": "tenant1", "ctx": {"tenant": "t-one"}}), "/", None, "tenant1"),
            (json!({"tenant_id": "tenant1", "ctx": {"tenant": "tenant10"}}), "/", None, "tenant_mismatch"),
            (json!({"tenant_id": "tenant1", "ctx": {"tenant": "nobody"}}), "/", None, "tenant_unknown"),
            (json!({"tenant_id": "tenant1", "ctx": {"tenant": ""}}), "/", None, "claim_malformed"),
        ],
    );
}

#[test]
fn a_providers_own_tenant_claims_replace_those_of_the_file() {
    let mut config = file(two_tenants(), json!({}));
    config["providers"] = json!({"idp": provider(json!({"claims": {"tenant": ["org"]}}))});
    assert_cases(
        &config,
        &[
            (json!({"org": "tenant10"}), "/", None, "tenant10"),
            (json!({"tenant_id": "tenant1"}), "/", None, "tenant_missing"),
            (json!({"org": "tenant10", "tenant_id": "tenant1"}), "/", None, "tenant10"),
        ],
    );
}

// ---- accept_from_request

#[test]
fn a_clients_own_token_takes_the_requests_tenant_where_it_is_accepted() {
    let own = json!({"client_id": "both", "sub": "both"});
    let of_nobody = json!({"client_id": "both", "sub": null});
    let of_a_user = json!({"client_id": "both", "sub": "alice"});
    assert_cases(
        &file(registered(), json!({"accept_from_request": true})),
        &[
            (own.clone(), "/of/tenant1/items", None, "tenant1"),
            (own.clone(), "/", Some("tenant10"), "tenant10"),
            (of_nobody.clone(), "/of/tenant10/items", Some("tenant10"), "tenant10"),
            (of_nobody, "/of/tenant1/items", Some("tenant10"), "tenant_missing"),
            (own.clone(), "/", None, "tenant_missing"),
            (own.clone(), "/", Some("open"), "tenant_missing"),
            (own.clone(), "/", Some("nobody"), "tenant_missing"),
            (of_a_user, "/of/tenant1/items", None, "tenant_missing"),
            (json!({"client_id": "stranger", "sub": null}), "/of/open/items", None, "tenant_missing"),
            (json!({"sub": null}), "/of/open/items", None, "tenant_missing"),
            // Where the token names a tenant, the request does not choose another.
            (merge(own, json!({"tenant_id": "tenant1"})), "/", Some("tenant10"), "tenant_mismatch"),
            (json!({"client_id": "sync", "sub": null}), "/", Some("tenant10"), "tenant_mismatch"),
        ],
    );
    assert_cases(
        &file(registered(), json!({})),
        &[(json!({"client_id": "both", "sub": null}), "/of/tenant1/items", None, "tenant_missing")],
    );
}

#[test]
fn a_request_that_follows_another_tenants_with_the_same_token_is_decided_anew() {
    let gateway = Gateway::new(&file(registered(), json!({"accept_from_request": true})));
    let token = token(json!({"client_id": "both", "sub": null}));
    for tenant in ["tenant1", "tenant10", "tenant1", "open", "tenant10"] {
        let expected = if tenant == "open" { "tenant_missing" } else { tenant };
        assert_eq!(brief(&gateway, &Call::get("/").header("x-tenant-id", tenant), &token), expected);
    }
}

// ---- default

#[test]
fn the_default_counts_only_where_nothing_speaks_of_a_tenant() {
    assert_cases(
        &file(registered(), json!({"default": "open"})),
        &[
            (json!({}), "/", None, "open"),
            (json!({"client_id": "stranger"}), "/", None, "open"),
            (json!({"tenant_id": "tenant10", "client_id": "ten"}), "/", None, "tenant10"),
            (json!({"client_id": "both"}), "/", None, "tenant_missing"),
            (json!({"client_id": "sync"}), "/", None, "tenant1"),
            (json!({}), "/", Some("tenant1"), "tenant_missing"),
            (json!({}), "/", Some("open"), "tenant_missing"),
            (json!({}), "/", Some("nobody"), "tenant_missing"),
            (json!({}), "/of/open/items", None, "tenant_missing"),
            (json!({"tenant_id": "nobody"}), "/", None, "tenant_unknown"),
            (json!({"tenant_id": ""}), "/", None, "claim_malformed"),
        ],
    );
    assert_cases(
        &file(registered(), json!({"default": "tenant1"})),
        &[
            (json!({"client_id": "stranger"}), "/", None, "application_not_registered"),
            (json!({}), "/", None, "claim_missing"),
        ],
    );
    assert_cases(&file(registered(), json!({"default": null})), &[(json!({}), "/", None, "tenant_missing")]);
}

#[test]
fn the_default_is_not_for_a_provider_that_may_not_speak_for_it() {
    let mut config = file(
        json!([
            {"id": "tenant1", "providers": ["idp", "other"]},
            {"id": "tenant10", "providers": ["other"]},
            {"id": "tenant2", "providers": ["idp"]},
        ]),
        json!({"default": "tenant10"}),
    );
    config["providers"]["other"] = provider(json!({"issuer": "https://other.example"}));
    assert_cases(
        &config,
        &[
            (json!({}), "/", None, "tenant_missing"),
            (json!({"iss": "https://other.example"}), "/", None, "tenant10"),
        ],
    );
}

// ---- required evidence

#[test]
fn required_evidence_must_be_present_whatever_else_names_the_tenant() {
    let of_one = json!({"tenant_id": "tenant1"});
    let cases = |kind: &str, without: (&str, Option<&str>), with: (&str, Option<&str>), reason: &str| {
        assert_cases(
            &file(two_tenants(), json!({"required_evidence": [kind]})),
            &[(of_one.clone(), without.0, without.1, reason), (of_one.clone(), with.0, with.1, "tenant1")],
        );
    };
    cases("header", ("/of/tenant1/items", None), ("/", Some("tenant1")), "header_missing");
    cases("path", ("/", Some("tenant1")), ("/of/tenant1/items", None), "tenant_missing");
    let audience = |audience: &str| merge(of_one.clone(), json!({"aud": audience}));
    let tenants = json!([
        {"id": "tenant1", "audiences": ["api-one"], "hosts": ["one.example"],
         "applications": [{"client_id": "sync", "scopes": []}]},
        {"id": "tenant10"},
        {"id": "open"},
    ]);
    let with_audience = |resolution: Value| {
        let mut config = file(tenants.clone(), resolution);
        config["providers"] = json!({"idp": provider(json!({"audiences": ["api", "api-one"]}))});
        config
    };
    let client = |changes: Value| merge(changes, json!({"client_id": "sync"}));
    assert_cases(
        &with_audience(json!({"required_evidence": ["audience"]})),
        &[
            (client(audience("api")), "/", None, "tenant_missing"),
            (client(audience("api-one")), "/", None, "tenant1"),
        ],
    );
    assert_cases(
        &with_audience(json!({"required_evidence": ["application"]})),
        &[
            (json!({"tenant_id": "open"}), "/", None, "tenant_missing"),
            (json!({"tenant_id": "open", "client_id": "stranger"}), "/", None, "tenant_missing"),
            (client(of_one.clone()), "/", None, "tenant1"),
        ],
    );
    assert_cases(
        &with_audience(json!({"required_evidence": ["claim"]})),
        &[(client(json!({})), "/", None, "tenant_missing"), (client(of_one.clone()), "/", None, "tenant1")],
    );
    // Twice is not none.
    let named_twice = json!({"required_evidence": ["claim"], "claims": ["tenant_id", "org"]});
    assert_cases(
        &file(two_tenants(), named_twice),
        &[(merge(of_one.clone(), json!({"org": "tenant1"})), "/", None, "tenant1")],
    );
    let gateway = Gateway::new(&with_audience(json!({"required_evidence": ["host"]})));
    let token = token(client(of_one));
    assert_eq!(brief(&gateway, &Call::get("/"), &token), "tenant_missing");
    for host in ["one.example", "ONE.example:8443", "one.example."] {
        assert_eq!(brief(&gateway, &Call::get("/").host(host), &token), "tenant1", "{host}");
    }
}

#[test]
fn a_suite_and_an_operation_add_to_the_evidence_that_is_required() {
    let mut config = file(two_tenants(), json!({"required_evidence": ["claim"]}));
    config["suites"] = json!([{"name": "s", "required_evidence": ["header"], "operations": [
        {"name": "a", "path": "/a", "access": "authenticated"},
        {"name": "b", "path": "/b/{tenant}", "access": "authenticated", "required_evidence": ["path"]},
        {"name": "c", "path": "/c/**", "access": "authenticated", "required_evidence": ["path"]},
        {"name": "e", "path": "/e", "access": "authenticated", "required_evidence": ["header"]},
    ]}, {"name": "t", "operations": [{"name": "d", "path": "/d", "access": "authenticated"}]}]);
    let of_one = json!({"tenant_id": "tenant1"});
    assert_cases(
        &config,
        &[
            (of_one.clone(), "/a", None, "header_missing"),
            (of_one.clone(), "/a", Some("tenant1"), "tenant1"),
            (of_one.clone(), "/b/tenant1", None, "header_missing"),
            (of_one.clone(), "/b/tenant1", Some("tenant1"), "tenant1"),
            (of_one.clone(), "/c/tenant1", Some("tenant1"), "tenant_missing"),
            (of_one.clone(), "/e", None, "header_missing"),
            (of_one, "/d", None, "tenant1"),
            (json!({}), "/d", None, "tenant_missing"),
        ],
    );
}

#[test]
fn path_evidence_is_waived_for_no_path_that_is_mapped_and_for_none_where_unmapped_ones_may_pass() {
    let mut config = file(two_tenants(), json!({"required_evidence": ["path"]}));
    config["suites"] = json!([{"name": "s", "operations": [
        {"name": "o", "path": "/plain", "methods": ["POST"], "access": "authenticated"},
        {"name": "t", "path": "/of/{tenant}", "access": "authenticated"},
    ]}]);
    let of_one = json!({"tenant_id": "tenant1"});
    assert_cases(
        &config,
        &[
            (of_one.clone(), "/plain", None, "tenant_missing"),
            (of_one.clone(), "/elsewhere", None, "operation_not_mapped"),
        ],
    );
    config["unmatched"] = json!("authenticated");
    assert_cases(
        &config,
        &[(of_one.clone(), "/elsewhere", None, "tenant_missing"), (of_one, "/of/tenant1", None, "tenant1")],
    );
}

#[test]
fn shadow_lifts_no_required_evidence_but_the_path_of_an_unmapped_request() {
    let mut config = file(two_tenants(), json!({"required_evidence": ["path"]}));
    config["suites"] =
        json!([{"name": "s", "scopes": ["x"], "operations": [{"name": "o", "path": "/of/{tenant}"}]}]);
    let of_one = json!({"tenant_id": "tenant1"});
    assert_cases(&config, &[(of_one.clone(), "/elsewhere", None, "operation_not_mapped")]);
    let mut both = config.clone();
    both["tenant_resolution"]["required_evidence"] = json!(["path", "header"]);
    assert_cases(
        &both,
        &[
            (of_one.clone(), "/elsewhere", None, "header_missing"),
            (of_one.clone(), "/elsewhere", Some("tenant1"), "operation_not_mapped"),
        ],
    );
    config["scope_enforcement"] = json!("shadow");
    assert_cases(
        &config,
        &[
            (of_one.clone(), "/elsewhere", None, "tenant1"),
            (of_one.clone(), "/of/tenant10", None, "tenant_mismatch"),
            (of_one, "/of/tenant1", None, "tenant1"),
        ],
    );
}

// ---- odd evidence

#[test]
fn an_odd_header_is_never_ignored() {
    let gateway = Gateway::new(&file(two_tenants(), json!({"headers": ["x-tenant-id", "x-org"]})));
    let token = token(json!({"tenant_id": "tenant1"}));
    let cases: [(&[&[u8]], &str); 9] = [
        (&[b"tenant1"], "tenant1"),
        (&[b" \ttenant1 "], "tenant1"),
        (&[b"tenant1", b"tenant1"], "header_ambiguous"),
        (&[b"tenant1", b""], "header_ambiguous"),
        (&[b"tenant1,tenant1"], "header_ambiguous"),
        (&[b"tenant1,"], "header_ambiguous"),
        (&[b""], "header_malformed"),
        (&[b"  "], "header_malformed"),
        (&[b"tenant1\xff"], "header_malformed"),
    ];
    for (values, expected) in cases {
        for name in ["x-tenant-id", "x-org"] {
            let call = values.iter().fold(Call::get("/"), |call, value| call.header(name, value));
            assert_eq!(brief(&gateway, &call, &token), expected, "{name} {values:?}");
        }
    }
    let both = |one: &str, other: &str| Call::get("/").header("x-tenant-id", one).header("x-org", other);
    assert_eq!(brief(&gateway, &both("tenant1", "t-one"), &token), "tenant1");
    assert_eq!(brief(&gateway, &both("tenant1", "tenant10"), &token), "tenant_mismatch");
    assert_eq!(brief(&gateway, &both("tenant10", "tenant1"), &token), "tenant_mismatch");
}

#[test]
fn an_odd_claim_is_never_ignored() {
    let gateway = Gateway::new(&file(json!([{"id": "tenant1"}]), json!({"default": "tenant1"})));
    for odd in [json!(""), json!(7.5), json!(true), json!(["tenant1"]), json!({"id": "tenant1"}), Value::Null]
    {
        let mut members = claims(json!({}));
        members["tenant_id"] = odd.clone();
        let token = KEY.mint(json!({}), &members);
        assert_eq!(brief(&gateway, &Call::get("/"), &token), "claim_malformed", "{odd}");
    }
}

#[test]
fn a_path_segment_is_decoded_once_and_compared_whole() {
    let tenants = json!([{"id": "tenant1"}, {"id": "caf\u{e9} 1"}, {"id": "a+b"}]);
    let gateway = Gateway::new(&file(tenants, json!({})));
    for (tenant, segment, expected) in [
        ("tenant1", "tenant1", "tenant1"),
        ("tenant1", "%74enant1", "tenant1"),
        ("tenant1", "%54enant1", "tenant_mismatch"),
        ("tenant1", "tenant1%20", "tenant_mismatch"),
        ("tenant1", "tenant", "tenant_mismatch"),
        ("tenant1", "%ff", "tenant_mismatch"),
        ("tenant1", "%2574enant1", "path_ambiguous"),
        ("tenant1", "tenant1%2F", "path_ambiguous"),
        ("caf\u{e9} 1", "caf%C3%A9%201", "caf\u{e9} 1"),
        ("caf\u{e9} 1", "cafe%CC%81%201", "tenant_mismatch"),
        ("caf\u{e9} 1", "caf%C3%A9+1", "tenant_mismatch"),
        ("a+b", "a+b", "a+b"),
        ("a+b", "a%2Bb", "a+b"),
        ("a+b", "a%20b", "tenant_mismatch"),
    ] {
        let token = token(json!({"tenant_id": tenant}));
        let path = format!("/of/{segment}/items");
        assert_eq!(brief(&gateway, &Call::get(&path), &token), expected, "{path}");
    }
}

#[test]
fn a_host_that_names_one_tenant_by_label_and_another_by_list_is_nobodys() {
    let mut config = file(
        json!([{"id": "tenant1", "hosts": ["tenant10.api.example", "tenant1.api.example"]}, {"id": "tenant10"}]),
        json!({}),
    );
    config["suites"] = json!([{"name": "s", "hosts": ["{tenant}.api.example"],
        "operations": [{"name": "o", "path": "/", "access": "authenticated"}]}]);
    let gateway = Gateway::new(&config);
    for (tenant, host, expected) in [
        ("tenant1", "tenant10.api.example", "tenant_mismatch"),
        ("tenant10", "tenant10.api.example", "tenant_mismatch"),
        ("tenant1", "tenant1.api.example", "tenant1"),
    ] {
        let token = token(json!({"tenant_id": tenant}));
        assert_eq!(brief(&gateway, &Call::get("/").host(host), &token), expected, "{tenant} {host}");
    }
}

#[test]
fn an_authority_that_is_no_host_is_refused_on_every_way() {
    let mut config =
        file(json!([{"id": "tenant1", "hosts": ["one.example"]}, {"id": "tenant10"}]), json!({}));
    config["suites"] = json!([{"name": "s", "operations": [
        {"name": "o", "path": "/", "access": "authenticated"}, {"name": "p", "path": "/open", "access": "public"}]}]);
    config["unmatched"] = json!("allow");
    config["bypass_cors_preflight"] = json!(true);
    let gateway = Gateway::new(&config);
    let token = token(json!({"tenant_id": "tenant10"}));
    for authority in [
        "one.example:999999",
        ":x",
        ":80",
        "a:80:80",
        "user@one.example",
        "one.example, x",
        "[::1",
        "[::1]x",
        "one..example",
        ".one.example",
        "one example",
        "one.example/",
        "one%2eexample",
        "ö.example",
    ] {
        let preflight = Call::new("OPTIONS", "/")
            .header("origin", "https://app.example")
            .header("access-control-request-method", "POST");
        for call in [Call::get("/").bearer(&token), Call::get("/open"), Call::get("/elsewhere"), preflight] {
            let outcome = gateway.call(&call.host(authority));
            assert_eq!(outcome.brief(), "host_malformed", "{authority}");
        }
    }
    for authority in
        ["one.example:0", "one.example:65535", "127.0.0.1:8080", "[::1]:443", "under_score.example"]
    {
        assert_ne!(
            gateway.call(&Call::get("/").bearer(&token).host(authority)).brief(),
            "host_malformed",
            "{authority}"
        );
    }
}

/// Operations of one host with `{tenant}`, of a host without it, and of any host.
fn of_several_hosts() -> Value {
    let mut config = file(json!([{"id": "tenant1"}, {"id": "tenant10"}]), json!({}));
    config["suites"] = json!([
        {"name": "hosted", "hosts": ["{tenant}.api.example", "tenant1.api.example", "gw.api.example"],
         "operations": [{"name": "h", "path": "/hosted", "access": "authenticated"}]},
        {"name": "anywhere", "operations": [{"name": "a", "path": "/anywhere", "access": "authenticated"}]},
    ]);
    config
}

#[test]
fn a_host_with_a_tenant_in_it_speaks_for_it_whatever_operation_is_found() {
    let unmatched = |value: &str| {
        let mut config = of_several_hosts();
        config["unmatched"] = json!(value);
        config
    };
    let mut shadow = of_several_hosts();
    shadow["scope_enforcement"] = json!("shadow");
    let tenant1 = token(json!({"tenant_id": "tenant1"}));
    for (config, path) in [
        (of_several_hosts(), "/hosted"),
        (of_several_hosts(), "/anywhere"),
        (of_several_hosts(), "/elsewhere"),
        (unmatched("authenticated"), "/elsewhere"),
        (shadow, "/elsewhere"),
    ] {
        let gateway = Gateway::new(&config);
        let foreign = Call::get(path).host("TENANT10.api.example:8443");
        assert_eq!(brief(&gateway, &foreign, &tenant1), "tenant_mismatch", "{path}");
        let own = Call::get(path).host("tenant1.api.example");
        assert_ne!(brief(&gateway, &own, &tenant1), "tenant_mismatch", "{path}");
        // No tenant is called so: a name of the gateway itself.
        let gateways = Call::get(path).host("gw.api.example");
        assert_ne!(brief(&gateway, &gateways, &tenant1), "tenant_mismatch", "{path}");
    }
}

#[test]
fn required_host_evidence_is_there_where_the_host_names_the_tenant_of_an_operation_of_any_host() {
    let mut config = of_several_hosts();
    config["tenant_resolution"]["required_evidence"] = json!(["host"]);
    let gateway = Gateway::new(&config);
    let token = token(json!({"tenant_id": "tenant1"}));
    for (host, expected) in [("tenant1.api.example", "tenant1"), ("other.example", "tenant_missing")] {
        assert_eq!(brief(&gateway, &Call::get("/anywhere").host(host), &token), expected, "{host}");
    }
}

#[test]
fn a_host_names_its_tenant_without_case_port_and_last_dot() {
    let mut config =
        file(json!([{"id": "tenant1", "hosts": ["one.example"]}, {"id": "tenant10"}]), json!({}));
    config["suites"] = json!([{"name": "s", "hosts": ["{tenant}.api.example", "one.example", "gw.example"],
        "operations": [{"name": "o", "path": "/", "access": "authenticated"}]}]);
    let gateway = Gateway::new(&config);
    for (tenant, host, expected) in [
        ("tenant1", "tenant1.api.example", "tenant1"),
        ("tenant1", "TENANT1.API.example.:443", "tenant1"),
        ("tenant1", "tenant10.api.example", "tenant_mismatch"),
        ("tenant1", "nobody.api.example", "tenant_mismatch"),
        ("tenant1", "one.example", "tenant1"),
        ("tenant10", "one.example", "tenant_mismatch"),
        ("tenant10", "gw.example", "tenant10"),
        ("tenant1", "x.tenant1.api.example", "operation_not_mapped"),
    ] {
        let token = token(json!({"tenant_id": tenant}));
        assert_eq!(brief(&gateway, &Call::get("/").host(host), &token), expected, "{tenant} {host}");
    }
}

// ---- the order of reasons

#[test]
fn the_first_reason_in_the_order_of_the_checks_is_given() {
    let mut config = file(
        json!([
            {"id": "tenant1", "providers": ["idp"], "audiences": ["aud-shared"],
             "applications": [{"client_id": "sync", "scopes": []}]},
            {"id": "foreign", "providers": ["other"], "audiences": ["aud-foreign"]},
            {"id": "open", "providers": ["idp"], "audiences": ["aud-shared", "aud-open"]},
            {"id": "open2", "providers": ["idp"], "audiences": ["aud-shared"]},
        ]),
        json!({"claims": ["tenant_id", "t2"], "required_evidence": ["header"]}),
    );
    let audiences = json!(["api", "aud-shared", "aud-open", "aud-foreign"]);
    config["providers"] = json!({
        "idp": provider(json!({"audiences": audiences})),
        "other": provider(json!({"issuer": "https://other.example", "audiences": audiences})),
    });
    assert_cases(
        &config,
        &[
            // Odd before absent, absent before nothing, nothing before all else.
            (json!({"tenant_id": ""}), "/", None, "claim_malformed"),
            (json!({"tenant_id": 1}), "/", Some("a,b"), "header_ambiguous"),
            (json!({"tenant_id": "nobody"}), "/", None, "header_missing"),
            (json!({"tenant_id": "foreign"}), "/", None, "header_missing"),
            (json!({}), "/", Some("nobody"), "tenant_missing"),
            // Unknown before not allowed, that before not registered, that before other contradictions.
            (json!({"tenant_id": "foreign", "t2": "nobody"}), "/", Some("open"), "tenant_unknown"),
            (
                json!({"tenant_id": "tenant1", "t2": "foreign"}),
                "/",
                Some("open"),
                "issuer_not_allowed_for_tenant",
            ),
            (
                json!({"tenant_id": "tenant1", "aud": ["api", "aud-foreign"]}),
                "/",
                Some("x"),
                "issuer_not_allowed_for_tenant",
            ),
            (
                json!({"tenant_id": "tenant1", "t2": "open", "client_id": "stranger"}),
                "/",
                Some("x"),
                "application_not_registered",
            ),
            (json!({"tenant_id": "tenant1", "t2": "open"}), "/", Some("x"), "claim_missing"),
            (json!({"tenant_id": "open", "t2": "open2"}), "/", Some("x"), "tenant_mismatch"),
            // Several remain before what the request names.
            (json!({"aud": "aud-shared"}), "/", Some("nobody"), "tenant_ambiguous"),
            (json!({"aud": "aud-open"}), "/", Some("nobody"), "tenant_mismatch"),
            (json!({"aud": "aud-open"}), "/", Some("open2"), "tenant_mismatch"),
            (json!({"aud": "aud-open"}), "/", Some("open"), "open"),
        ],
    );
}

// ---- the naive model

/// Ids of which one begins another, and look-alikes.
const IDS: [&str; 6] = ["tenant1", "tenant10", "tenant", "tenant11", "ten", "t"];
const ALIASES: [&str; 6] = ["tenant1x", "alias1", "alias10", "tenant-1", "te", "tt"];
const NAMES: [&str; 14] = [
    "tenant1",
    "tenant10",
    "tenant",
    "tenant11",
    "ten",
    "t",
    "alias1",
    "alias10",
    "tenant1x",
    "tenant-1",
    "te",
    "tt",
    "nobody",
    "tenant100",
];
const CLIENTS: [&str; 3] = ["app", "app1", "app10"];
const SHARED_AUDIENCES: [&str; 2] = ["aud-a", "aud-ab"];
/// The last is no tenant's own; that before it names one by its label too.
const HOSTS: [&str; 4] = ["a.example", "ab.example", "tenant1.api.example", "gw.example"];

#[derive(Clone, Debug)]
struct GenTenant {
    has_alias: bool,
    providers: Vec<usize>,
    audiences: Vec<&'static str>,
    hosts: Vec<&'static str>,
    /// (client, provider)
    applications: Option<Vec<(&'static str, usize)>>,
}

#[derive(Clone, Debug)]
struct GenFile {
    /// Two providers with a fixed issuer, then one whose issuer holds `{tenant}`.
    tenants: Vec<GenTenant>,
    required: Vec<&'static str>,
    accept_from_request: bool,
    default: Option<usize>,
}

#[derive(Clone, Debug)]
struct GenToken {
    provider: usize,
    issuer_name: &'static str,
    claims: Vec<&'static str>,
    audience_names: Vec<&'static str>,
    audiences: Vec<&'static str>,
    client: Option<&'static str>,
    subject: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct GenRequest {
    header: Option<&'static str>,
    path: Option<&'static str>,
    host_label: Option<&'static str>,
    host: &'static str,
}

fn any_tenant() -> impl Strategy<Value = GenTenant> {
    let application = (select(CLIENTS.to_vec()), 0..3usize);
    (
        any::<bool>(),
        subsequence(vec![0, 1, 2], 1..=3),
        subsequence(SHARED_AUDIENCES.to_vec(), 0..=2),
        subsequence(HOSTS[..3].to_vec(), 0..=2),
        option::weighted(0.5, vec(application, 0..4)),
    )
        .prop_map(|(has_alias, providers, audiences, hosts, applications)| {
            let applications = applications.map(|applications| {
                let own: BTreeSet<_> =
                    applications.into_iter().filter(|(_, provider)| providers.contains(provider)).collect();
                own.into_iter().collect()
            });
            GenTenant { has_alias, providers, audiences, hosts, applications }
        })
}

fn any_file() -> impl Strategy<Value = GenFile> {
    let kinds = vec!["claim", "issuer", "audience", "application", "header", "path", "host"];
    let required = prop_oneof![4 => Just(Vec::new()), 1 => subsequence(kinds, 1..=1)];
    (vec(any_tenant(), 2..=6), required, any::<bool>(), option::weighted(0.3, 0..2usize)).prop_map(
        |(tenants, required, accept_from_request, default)| GenFile {
            tenants,
            required,
            accept_from_request,
            default,
        },
    )
}

/// Names of which most are `focus`, so that evidence agrees often enough for something to pass.
fn any_name(focus: &'static str) -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just(focus), 1 => select(NAMES.to_vec())]
}

fn any_token(focus: &'static str) -> impl Strategy<Value = GenToken> {
    (
        0..3usize,
        any_name(focus),
        prop_oneof![
            2 => Just(Vec::new()),
            4 => any_name(focus).prop_map(|name| vec![name]),
            1 => vec(any_name(focus), 2)
        ],
        prop_oneof![4 => Just(Vec::new()), 1 => vec(any_name(focus), 1..=2)],
        prop_oneof![3 => Just(Vec::new()), 1 => subsequence(SHARED_AUDIENCES.to_vec(), 1..=2)],
        option::of(select(CLIENTS.to_vec())),
        prop_oneof![Just(None), Just(Some("alice")), select(CLIENTS.to_vec()).prop_map(Some)],
    )
        .prop_map(|(provider, issuer_name, claims, audience_names, audiences, client, subject)| {
            GenToken { provider, issuer_name, claims, audience_names, audiences, client, subject }
        })
}

fn any_request(focus: &'static str) -> impl Strategy<Value = GenRequest> {
    (
        option::weighted(0.4, any_name(focus)),
        option::weighted(0.4, any_name(focus)),
        option::weighted(0.2, any_name(focus)),
        prop_oneof![2 => Just("gw.example"), 1 => select(HOSTS.to_vec())],
    )
        .prop_map(|(header, path, host_label, host)| GenRequest { header, path, host_label, host })
}

/// Tokens and requests that mostly speak of the same tenant.
fn any_traffic() -> impl Strategy<Value = (Vec<GenToken>, Vec<GenRequest>)> {
    select(vec!["tenant1", "tenant10", "tenant1x"])
        .prop_flat_map(|focus| (vec(any_token(focus), 1..4), vec(any_request(focus), 1..5)))
}

impl GenFile {
    fn id(&self, tenant: usize) -> &'static str {
        IDS[tenant]
    }

    /// The tenant with this name.
    fn named(&self, name: &str) -> Option<usize> {
        (0..self.tenants.len()).find(|tenant| {
            IDS[*tenant] == name || self.tenants[*tenant].has_alias && ALIASES[*tenant] == name
        })
    }

    fn all(&self, takes: impl Fn(&GenTenant) -> bool) -> BTreeSet<usize> {
        (0..self.tenants.len()).filter(|tenant| takes(&self.tenants[*tenant])).collect()
    }

    fn config(&self) -> Value {
        let provider_names = ["p0", "p1", "kc"];
        let tenants: Vec<Value> = self
            .tenants
            .iter()
            .enumerate()
            .map(|(place, tenant)| {
                let names = |list: &[usize]| list.iter().map(|at| provider_names[*at]).collect::<Vec<_>>();
                let mut value = json!({
                    "id": IDS[place],
                    "providers": names(&tenant.providers),
                    "audiences": tenant.audiences,
                    "hosts": tenant.hosts,
                });
                if tenant.has_alias {
                    value["aliases"] = json!([ALIASES[place]]);
                }
                if let Some(applications) = &tenant.applications {
                    value["applications"] = applications
                        .iter()
                        .map(|(client, provider)| {
                            json!({"client_id": client, "provider": provider_names[*provider], "scopes": ["s"]})
                        })
                        .collect();
                }
                value
            })
            .collect();
        let audiences = json!(["api", "aud-a", "aud-ab", "https://api.example/{tenant}/v1"]);
        let key_set = jwks([&*KEY]);
        let issuer = |issuer: &str| json!({"issuer": issuer, "audiences": audiences, "local_jwks": key_set});
        let mut resolution = json!({
            "claims": ["tenant_id", "org"],
            "headers": ["x-tenant-id"],
            "required_evidence": self.required,
            "accept_from_request": self.accept_from_request,
        });
        if let Some(default) = self.default {
            resolution["default"] = json!(IDS[default]);
        }
        let operations = json!([
            {"name": "flat", "path": "/flat", "requires": ["s"]},
            {"name": "of", "path": "/of/{tenant}/items", "requires": ["s"]},
        ]);
        json!({
            "version": 1,
            "providers": {"p0": issuer("https://p0.example"), "p1": issuer("https://p1.example"),
                          "kc": issuer("https://kc.example/{tenant}")},
            "tenant_resolution": resolution,
            "tenants": tenants,
            "suites": [
                {"name": "any", "operations": operations},
                {"name": "hosted", "hosts": ["{tenant}.api.example"], "operations": operations},
            ],
            "forward": {"headers": [{"name": "x-told", "value": "tenant"}]},
        })
    }
}

impl GenToken {
    fn claims(&self) -> Value {
        let issuer = match self.provider {
            0 => "https://p0.example".to_owned(),
            1 => "https://p1.example".to_owned(),
            _ => format!("https://kc.example/{}", self.issuer_name),
        };
        let mut audiences = vec!["api".to_owned()];
        audiences.extend(self.audiences.iter().map(|audience| (*audience).to_owned()));
        audiences.extend(self.audience_names.iter().map(|name| format!("https://api.example/{name}/v1")));
        let mut changes = json!({"iss": issuer, "aud": audiences, "scope": "s", "sub": self.subject});
        for (name, value) in ["tenant_id", "org"].iter().zip(&self.claims) {
            changes[*name] = json!(value);
        }
        if let Some(client) = self.client {
            changes["client_id"] = json!(client);
        }
        claims(changes)
    }
}

impl GenRequest {
    fn host(&self) -> String {
        self.host_label.map_or(self.host.to_owned(), |label| format!("{label}.api.example"))
    }

    fn call(&self) -> Call {
        let path = self.path.map_or("/flat".to_owned(), |name| format!("/of/{name}/items"));
        let call = Call::get(&path).host(&self.host());
        match self.header {
            Some(header) => call.header("x-tenant-id", header),
            None => call,
        }
    }
}

/// The rules of tenant resolution in their order, with sets of tenants. No index, no cache.
fn model(file: &GenFile, token: &GenToken, request: &GenRequest) -> Result<usize, &'static str> {
    let speaks_for = file.all(|tenant| tenant.providers.contains(&token.provider));
    let registered: BTreeSet<usize> = match token.client {
        None => BTreeSet::new(),
        Some(client) => file.all(|tenant| {
            tenant.applications.as_ref().is_some_and(|all| all.contains(&(client, token.provider)))
        }),
    };
    let issuer_tenant = if token.provider == 2 {
        // `{tenant}` stands for a configured tenant: else the issuer is nobody's.
        Some(file.named(token.issuer_name).ok_or("issuer_unknown")?)
    } else {
        None
    };
    let audience_tenants: BTreeSet<usize> = file
        .all(|tenant| tenant.audiences.iter().any(|audience| token.audiences.contains(audience)))
        .into_iter()
        .chain(token.audience_names.iter().filter_map(|name| file.named(name)))
        .collect();

    // The request's evidence: each piece allows some tenants.
    let mut asked: Vec<BTreeSet<usize>> = Vec::new();
    let by_name = |name: &str| file.named(name).into_iter().collect::<BTreeSet<_>>();
    asked.extend(request.header.map(by_name));
    asked.extend(request.path.map(by_name));
    let host = request.host();
    let at_host = file.all(|tenant| tenant.hosts.contains(&&*host));
    let by_host = [host.strip_suffix(".api.example").map(by_name), (!at_host.is_empty()).then_some(at_host)];
    asked.extend(by_host.iter().flatten().cloned());

    for kind in &file.required {
        let present = match *kind {
            "claim" => !token.claims.is_empty(),
            "issuer" => issuer_tenant.is_some() || !speaks_for.is_empty(),
            "audience" => !audience_tenants.is_empty(),
            "application" => !registered.is_empty(),
            "header" => request.header.is_some(),
            "path" => request.path.is_some(),
            _ => by_host.iter().any(Option::is_some),
        };
        if !present {
            return Err(if *kind == "header" { "header_missing" } else { "tenant_missing" });
        }
    }

    let takes_client = |tenant: usize| match (&file.tenants[tenant].applications, token.client) {
        (None, _) => Ok(()),
        (Some(_), None) => Err("claim_missing"),
        (Some(_), Some(_)) if registered.contains(&tenant) => Ok(()),
        (Some(_), Some(_)) => Err("application_not_registered"),
    };
    let names_something = !token.claims.is_empty()
        || issuer_tenant.is_some()
        || speaks_for.len() == 1
        || !audience_tenants.is_empty()
        || registered.len() == 1;
    // A token for a tenant that is gone is nobody else's.
    let is_silent = token.claims.is_empty() && issuer_tenant.is_none() && audience_tenants.is_empty();
    if is_silent && token.audience_names.iter().any(|name| file.named(name).is_none()) {
        return Err("tenant_unknown");
    }
    if !names_something {
        let own_token = token.subject.is_none() || token.subject == token.client;
        if file.accept_from_request && own_token && !asked.is_empty() {
            let common = intersection(&asked);
            if common.len() == 1 && common.is_subset(&registered) {
                return Ok(common.into_iter().next().unwrap());
            }
        }
        return match file.default {
            Some(default) if registered.is_empty() && asked.is_empty() && speaks_for.contains(&default) => {
                takes_client(default).map(|()| default)
            }
            _ => Err("tenant_missing"),
        };
    }

    // It names a tenant that is not configured.
    if token.claims.iter().any(|name| file.named(name).is_none()) {
        return Err("tenant_unknown");
    }
    // What names tenants, piece by piece.
    let mut named: Vec<BTreeSet<usize>> = token.claims.iter().map(|name| by_name(name)).collect();
    named.extend(issuer_tenant.map(|tenant| BTreeSet::from([tenant])));
    if !audience_tenants.is_empty() {
        named.push(audience_tenants);
    }
    if named.iter().any(|tenants| tenants.is_disjoint(&speaks_for)) {
        return Err("issuer_not_allowed_for_tenant");
    }
    for tenants in &named {
        let spoken: Vec<usize> = tenants.intersection(&speaks_for).copied().collect();
        if spoken.iter().all(|tenant| takes_client(*tenant).is_err()) {
            return takes_client(spoken[0]).map(|()| unreachable!("none takes the client"));
        }
    }
    // A tenant that its provider's silence names takes the client, or does not.
    if let (true, Some(sole)) = (speaks_for.len() == 1, speaks_for.first()) {
        takes_client(*sole)?;
    }
    named.push(speaks_for);
    if !registered.is_empty() {
        named.push(registered.clone());
    }
    let common = intersection(&named);
    let tenant = match common.len() {
        0 => return Err("tenant_mismatch"),
        1 => common.into_iter().next().unwrap(),
        _ => return Err("tenant_ambiguous"),
    };
    takes_client(tenant)?;
    if asked.iter().any(|allowed| !allowed.contains(&tenant)) {
        return Err("tenant_mismatch");
    }
    Ok(tenant)
}

fn intersection(sets: &[BTreeSet<usize>]) -> BTreeSet<usize> {
    let mut sets = sets.iter();
    let first = sets.next().cloned().unwrap_or_default();
    sets.fold(first, |common, set| common.intersection(set).copied().collect())
}

/// Every tenant that a piece of the token's evidence names by itself: a claim, the issuer, an audience that only one
/// tenant has.
fn named_by_the_token(file: &GenFile, token: &GenToken) -> BTreeSet<usize> {
    let mut named: BTreeSet<usize> = token.claims.iter().filter_map(|name| file.named(name)).collect();
    if token.provider == 2 {
        named.extend(file.named(token.issuer_name));
    }
    named
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2500, ..ProptestConfig::default() })]

    /// One configuration, several tokens and requests: through the same caches, the model's decision each time.
    #[test]
    fn every_request_is_decided_as_the_model_says(
        file in any_file(),
        (tokens, requests) in any_traffic(),
    ) {
        let gateway = Gateway::new(&file.config());
        for generated in &tokens {
            let token = KEY.mint(json!({}), &generated.claims());
            for request in &requests {
                let expected = model(&file, generated, request);
                let outcome = gateway.call(&request.call().bearer(&token));
                let actual = outcome.brief();
                let expected_text = match expected { Ok(tenant) => file.id(tenant), Err(reason) => reason };
                prop_assert_eq!(&actual, expected_text, "{:?}\n{:?}\n{:#}", generated, request, file.config());
                // The law: what names tenant A never opens anything under tenant B.
                if let Ok(tenant) = expected {
                    let passed = outcome.passed();
                    prop_assert_eq!(passed.value("x-told"), Some(file.id(tenant).to_owned()));
                    let named = named_by_the_token(&file, generated);
                    prop_assert!(named.iter().all(|other| *other == tenant), "{named:?}");
                    let asked = [request.header, request.path, request.host_label];
                    for name in asked.into_iter().flatten() {
                        prop_assert_eq!(file.named(name), Some(tenant));
                    }
                    prop_assert!(file.tenants[tenant].providers.contains(&generated.provider));
                }
            }
        }
    }
}

#[test]
fn the_model_is_reached_by_every_tenant_reason_and_by_success() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..3_000 {
        let file = any_file().new_tree(&mut runner).unwrap().current();
        let (tokens, requests) = any_traffic().new_tree(&mut runner).unwrap().current();
        let outcome = model(&file, &tokens[0], &requests[0]).err().unwrap_or("passed");
        *seen.entry(outcome).or_default() += 1;
    }
    for reason in [
        Reason::TenantMissing,
        Reason::TenantUnknown,
        Reason::TenantAmbiguous,
        Reason::TenantMismatch,
        Reason::IssuerNotAllowedForTenant,
        Reason::ApplicationNotRegistered,
        Reason::ClaimMissing,
        Reason::HeaderMissing,
    ] {
        let times = seen.get(reason.as_str()).copied().unwrap_or_default();
        assert!(times >= 10, "{reason}: {times} of {seen:?}");
    }
    assert!(seen["passed"] >= 200, "{seen:?}");
}

// ---- caches and reload

#[test]
fn what_was_learnt_under_one_configuration_does_not_decide_under_the_next() {
    let mut gateway = Gateway::new(&file(two_tenants(), json!({})));
    let token = token(json!({"tenant_id": "t-one"}));
    assert_eq!(brief(&gateway, &Call::get("/"), &token), "tenant1");
    gateway.reload(&file(json!([{"id": "tenant1"}, {"id": "tenant10", "aliases": ["t-one"]}]), json!({})));
    assert_eq!(brief(&gateway, &Call::get("/"), &token), "tenant10");
    gateway.reload(&file(json!([{"id": "tenant1"}, {"id": "tenant10"}]), json!({})));
    assert_eq!(brief(&gateway, &Call::get("/"), &token), "tenant_unknown");
}

#[test]
fn a_token_that_one_issuer_signed_does_not_pass_as_anothers() {
    let other_key = Signer::new("EdDSA", "k1", 9);
    let mut config = file(
        json!([{"id": "tenant1", "providers": ["idp"]}, {"id": "tenant10", "providers": ["other"]}]),
        json!({}),
    );
    config["providers"]["other"] =
        provider(json!({"issuer": "https://other.example", "local_jwks": jwks([&other_key])}));
    let gateway = Gateway::new(&config);
    let forged = other_key.mint(json!({}), &claims(json!({})));
    let genuine = other_key.mint(json!({}), &claims(json!({"iss": "https://other.example"})));
    assert_eq!(brief(&gateway, &Call::get("/"), &genuine), "tenant10");
    assert_eq!(brief(&gateway, &Call::get("/"), &forged), "signature_invalid");
}

#[test]
fn a_refusal_that_depends_on_the_tenants_of_one_configuration_does_not_outlive_it() {
    let config = |tenants: Value| {
        let mut config = file(tenants, json!({}));
        config["providers"] = json!({"opaque": {
            "audiences": ["https://api.example/{tenant}"],
            "introspection": {"uri": "https://opaque.example/", "cluster": "opaque", "client_auth": {"method": "none"}},
        }});
        config
    };
    let mut gateway = Gateway::new(&config(json!([{"id": "tenant1"}, {"id": "tenant2"}])));
    let call = Call::get("/").bearer("opaque-token");
    let response = json!({"active": true, "aud": "https://api.example/tenant10"}).to_string();
    let asked =
        |gateway: &Gateway| gateway.call_answered(&call, &mut |_| Ok((200, response.clone()))).brief();
    assert_eq!(asked(&gateway), "audience_mismatch");
    assert_eq!(gateway.call(&call).brief(), "audience_mismatch", "remembered");
    gateway.reload(&config(two_tenants()));
    assert_eq!(asked(&gateway), "tenant10");
    assert_eq!(gateway.call(&call).brief(), "tenant10", "remembered");
    // And what was accepted under the names of one does not pass under another.
    gateway.reload(&config(json!([{"id": "tenant1"}, {"id": "tenant2"}])));
    assert_eq!(gateway.call(&call).brief(), "audience_mismatch");
}

#[test]
fn what_the_issuer_said_itself_survives_a_reload() {
    let mut config = file(two_tenants(), json!({}));
    config["providers"]["opaque"] = json!({
        "audiences": ["api"],
        "introspection": {"uri": "https://opaque.example/", "cluster": "opaque", "client_auth": {"method": "none"}},
    });
    config["tenants"] =
        json!([{"id": "tenant1", "providers": ["idp", "opaque"]}, {"id": "tenant10", "providers": ["idp"]}]);
    let mut gateway = Gateway::new(&config);
    let call = Call::get("/").bearer("opaque-token");
    let inactive = gateway.call_answered(&call, &mut |_| Ok((200, json!({"active": false}).to_string())));
    assert_eq!(inactive.brief(), "token_inactive");
    config["realm"] = json!("another");
    gateway.reload(&config);
    assert_eq!(gateway.call(&call).brief(), "token_inactive");
}

#[test]
fn a_request_that_waits_is_decided_under_the_configuration_it_began_with() {
    let config = |tenants: Value| {
        let mut config = file(tenants, json!({}));
        let remote = json!({"uri": "https://idp.example/jwks", "cluster": "idp"});
        config["providers"]["idp"] = provider(json!({"local_jwks": null, "remote_jwks": remote}));
        config
    };
    let mut gateway = Gateway::new(&config(two_tenants()));
    let call = Call::get("/").bearer(&token(json!({"tenant_id": "t-one"})));
    let Begun::Waits(mut pending) = gateway.begin(&call) else { panic!("it does not wait") };
    gateway.reload(&config(json!([{"id": "tenant1"}, {"id": "tenant10", "aliases": ["t-one"]}])));
    let issuer_call = pending.calls.remove(0);
    gateway.answer(&issuer_call, Ok((200, jwks([&*KEY]).to_string())), &mut pending);
    let Begun::Done(outcome) = gateway.advance(&call, pending) else { panic!("it waits again") };
    assert_eq!(outcome.brief(), "tenant1");
    assert_eq!(gateway.call(&call).brief(), "tenant10", "the keys are still there, the table is the new one");
}
