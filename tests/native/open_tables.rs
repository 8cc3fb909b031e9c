//! Tables that would open more than they say: what closes them, what refuses them, and what warns of them.

#![cfg(feature = "tool")]

use std::collections::HashMap;

use crate::gateway::{Call, Gateway, Outcome, merge, provider, token};
use crate::tool::{Run, scopegate_reading};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use scopegate::respond::Reason;
use serde_json::{Value, json};

/// A file with these suites, changed by `changes`.
fn file(suites: Value, changes: Value) -> Value {
    let base = json!({
        "version": 1,
        "providers": {"idp": provider(json!({}))},
        "tenant_resolution": {"claims": ["tenant_id"]},
        "tenants": [{"id": "acme"}, {"id": "globex"}],
        "suites": suites,
    });
    merge(base, changes)
}

fn one_suite(operations: Value) -> Value {
    json!([{"name": "s", "operations": operations}])
}

fn check(config: &Value) -> Run {
    scopegate_reading(&config.to_string(), &["check", "-"])
}

#[test]
fn nothing_opens_an_operation_whose_access_is_undecided() {
    for enforcement in ["enforce", "shadow", "off"] {
        let operations = json!([{"name": "op", "path": "/x", "access": "undecided"}]);
        let config = file(one_suite(operations), json!({"scope_enforcement": enforcement}));
        let gateway = Gateway::new(&config);
        for scope in ["undecided", "undecided-by-import", "", "*"] {
            let token = token(json!({"tenant_id": "acme", "client_id": "c", "scope": scope}));
            let outcome = gateway.call(&Call::get("/x").bearer(&token));
            assert_eq!(outcome.brief(), "scope_not_granted", "{enforcement} {scope}");
        }
        let matrix = scopegate_reading(&config.to_string(), &["matrix", "-", "--format", "csv"]);
        for cell in matrix.out.lines().skip(1) {
            assert!(cell.contains(",undecided,") && cell.ends_with("refused,scope_not_granted"), "{cell}");
        }
        let run = check(&config);
        assert!(run.out.contains("warning: suites[0].operations[0]: nobody may call this"), "{}", run.out);
    }
}

#[test]
fn an_undecided_operation_says_nothing_of_what_opens_it() {
    for key in ["requires", "scope_enforcement"] {
        let operation = json!({"name": "op", "path": "/x", "access": "undecided"});
        let value = if key == "requires" { json!(["r"]) } else { json!("off") };
        let run = check(&file(one_suite(json!([merge(operation, json!({key: value}))])), json!({})));
        assert_eq!(run.code, 1);
        assert!(run.out.contains(&format!("suites[0].operations[0].{key}: has no meaning")), "{}", run.out);
    }
    let operations = json!([{"name": "op", "path": "/x", "access": "undecided"}]);
    let tenants = json!([{"id": "acme", "operation_requires": {"s/op": ["r"]}}]);
    let run = check(&file(one_suite(operations), json!({"tenants": tenants})));
    assert!(run.out.contains("the `access` of `s/op` is not `scopes`"), "{}", run.out);
}

#[test]
fn what_an_import_leaves_undecided_is_opened_by_no_token() {
    let spec = "openapi: 3.0.3\npaths: {/x: {get: {}}}";
    let imported = scopegate_reading(spec, &["import-openapi", "-"]);
    let imported = scopegate::config::yaml_to_json(&imported.out).unwrap();
    let operation = &imported["suites"][0]["operations"][0];
    let words = operation.to_string();
    let gateway = Gateway::new(&file(imported["suites"].clone(), json!({})));
    for word in words.split('"') {
        let token = token(json!({"tenant_id": "acme", "client_id": "c", "scope": word}));
        let outcome = gateway.call(&Call::get("/x").bearer(&token));
        assert!(outcome.refusal().is_some(), "a token with the scope `{word}` opens it");
    }
}

#[test]
fn a_placeholder_that_only_looks_like_tenant_is_warned_of() {
    let with_sibling = |path: &str| {
        let operations = json!([
            {"name": "one", "path": "/a/{tenant}/x", "requires": ["r"]},
            {"name": "other", "path": path, "requires": ["r"]},
        ]);
        check(&file(one_suite(operations), json!({})))
    };
    for segment in [
        "{tenantId}",
        "{tenant_id}",
        "{tenant-name}",
        "{org}",
        "{organization}",
        "{orgId}",
        ":tenant",
        "<tenant>",
    ] {
        let run = with_sibling(&format!("/b/{segment}/x"));
        assert_eq!(run.code, 0, "{}", run.out);
        assert!(run.out.contains("warning: suites[0].operations[1].path: "), "{segment}: {}", run.out);
        assert!(run.out.contains(&format!("`{segment}` names no tenant")), "{segment}: {}", run.out);
    }
    for path in ["/b/{id}/x", "/b/orgs/x", "/b/{order}/x", "/b/{tenant}/orgs/{org}"] {
        let run = with_sibling(path);
        assert!(run.out.contains("0 errors, 0 warnings"), "{path}: {}", run.out);
    }
    // `{tenantId}` without any sibling too: nothing else of the path could have been meant.
    let alone = json!([{"name": "op", "path": "/b/{tenantId}/x", "requires": ["r"]}]);
    assert!(check(&file(one_suite(alone), json!({}))).out.contains("`{tenantId}` names no tenant"));
}

#[test]
fn a_path_without_tenant_beside_siblings_with_it_is_warned_of() {
    for (path, segment) in [("/a/{key}/y", "{key}"), ("/a/*", "*"), ("/a/**", "**"), ("/**", "**")] {
        let operations = json!([
            {"name": "one", "path": "/a/{tenant}/x", "requires": ["r"]},
            {"name": "other", "path": path, "access": "authenticated"},
        ]);
        let run = check(&file(one_suite(operations), json!({})));
        assert_eq!(run.code, 0, "{}", run.out);
        let expected =
            format!("operations[1].path: `{segment}` stands where `/a/{{tenant}}/x` has `{{tenant}}`");
        assert!(run.out.contains(&expected), "{path}: {}", run.out);
    }
    for (path, access) in [
        ("/b/{key}/y", "authenticated"),
        ("/a/list", "authenticated"),
        ("/a", "authenticated"),
        ("/a/{key}", "public"),
    ] {
        let operations = json!([
            {"name": "one", "path": "/a/{tenant}/x", "requires": ["r"]},
            {"name": "other", "path": path, "access": access},
        ]);
        let run = check(&file(one_suite(operations), json!({})));
        assert!(run.out.contains("0 errors, 0 warnings"), "{path}: {}", run.out);
    }
}

#[test]
fn an_operation_that_can_never_have_the_evidence_required_of_it_is_refused() {
    let operation = |changes| merge(json!({"name": "op", "path": "/x", "access": "authenticated"}), changes);
    let tenants = |changes| json!({"tenants": [merge(json!({"id": "acme"}), changes), {"id": "globex"}]});
    let cases = [
        ("path", json!({}), json!({"path": "/{tenant}/x"}), json!({})),
        (
            "claim",
            json!({"tenant_resolution": null}),
            json!({}),
            json!({"tenant_resolution": {"claims": ["t"]}}),
        ),
        ("audience", json!({}), json!({}), tenants(json!({"audiences": ["api-acme"]}))),
        (
            "application",
            json!({}),
            json!({}),
            tenants(json!({"applications": [{"client_id": "c", "scopes": ["r"]}]})),
        ),
        ("host", json!({}), json!({}), tenants(json!({"hosts": ["acme.example"]}))),
    ];
    for (kind, bare, cure_of_operation, cure_of_file) in cases {
        let of = |own, changes: Value| {
            let operations = json!([operation(merge(json!({"required_evidence": [kind]}), own))]);
            check(&file(one_suite(operations), changes))
        };
        let run = of(json!({}), bare);
        let expected = format!("error: suites[0].operations[0]: `{kind}` evidence of the tenant is required");
        assert_eq!(run.code, 1, "{kind}: {}", run.out);
        assert!(run.out.contains(&expected), "{kind}: {}", run.out);
        let run = of(cure_of_operation, cure_of_file);
        assert_eq!(run.code, 0, "{kind}: {}", run.out);
    }
    // Required by the file or by the suite it is the same; what asks for no token, or is closed, needs none.
    for access in ["authenticated", "public", "undecided"] {
        let operations = json!([{"name": "op", "path": "/x", "access": access}]);
        let resolution = json!({"claims": ["tenant_id"], "required_evidence": ["path"]});
        let run = check(&file(one_suite(operations), json!({"tenant_resolution": resolution})));
        assert_eq!(run.code, i32::from(access == "authenticated"), "{access}: {}", run.out);
    }
    let hosts = |hosts: Value| {
        let operations = json!([operation(json!({}))]);
        let suite =
            json!({"name": "s", "hosts": hosts, "required_evidence": ["host"], "operations": operations});
        let changes = tenants(json!({"hosts": ["acme.example"]}));
        check(&file(json!([suite]), changes)).code
    };
    assert_eq!(hosts(json!(["api.example"])), 1);
    assert_eq!(hosts(json!(["api.example", "acme.example"])), 0);
    assert_eq!(hosts(json!(["{tenant}.api.example"])), 0);
}

#[test]
fn unmatched_requests_that_never_have_required_path_evidence_are_warned_of() {
    let operations = json!([{"name": "op", "path": "/{tenant}/x", "requires": ["r"]}]);
    for (unmatched, is_warned_of) in [("authenticated", true), ("deny", false)] {
        let changes = json!({
            "tenant_resolution": {"claims": ["tenant_id"], "required_evidence": ["path"]},
            "unmatched": unmatched,
        });
        let run = check(&file(one_suite(operations.clone()), changes));
        assert_eq!(
            run.out.contains("warning: unmatched: `path` evidence is required"),
            is_warned_of,
            "{}",
            run.out
        );
    }
}

// ---- the matrix against real requests

/// The end of its path, its access, and an audience that it narrows to.
type AnyOperation<'s> = (&'s str, Value, Option<&'s str>);

/// A configuration of everything that decides who gets as far as its scopes.
fn any_configuration() -> impl Strategy<Value = Value> {
    let kinds = subsequence(vec!["claim", "audience", "application", "header", "path", "host"], 0..=1);
    let enforcement = || select(vec![json!("enforce"), json!("enforce"), json!("shadow"), json!("off")]);
    let application = (select(vec!["c1", "c2"]), subsequence(vec!["r", "w"], 0..=2), enforcement()).prop_map(
        |(client, scopes, enforcement)| {
            json!({"client_id": client, "scopes": scopes, "scope_enforcement": enforcement})
        },
    );
    let applications = option::weighted(
        0.6,
        vec(application, 0..=2).prop_map(|mut all| {
            all.dedup_by(|one, other| one["client_id"] == other["client_id"]);
            all
        }),
    );
    let tenant = (applications, any::<[bool; 5]>());
    let tenants = [tenant.clone(), tenant].prop_map(|both| {
        let tenant = |(id, (applications, [hosts, audiences, prefix, declares, suites])): (
            &str,
            (Option<Vec<Value>>, [bool; 5]),
        )| {
            let mut tenant = json!({"id": id});
            let mut set = |key: &str, is_set: bool, value: Value| {
                if is_set {
                    tenant[key] = value;
                }
            };
            set("applications", applications.is_some(), json!(applications));
            set("hosts", hosts, json!([format!("{id}.example")]));
            set("audiences", audiences, json!([format!("api-{id}")]));
            set("scope_prefix", prefix, json!(format!("{id}.")));
            set("scopes", declares, json!([{"name": "r"}, {"name": "w"}]));
            set("suites", suites, json!(["s0"]));
            tenant
        };
        let [acme, globex] = both;
        json!([tenant(("acme", acme)), tenant(("globex", globex))])
    });
    let access = select(vec![
        json!({"requires": ["r"]}),
        json!({"requires": {"any_of": ["r", "w"]}}),
        json!({"requires": ["r", "w"]}),
        json!({"access": "authenticated"}),
        json!({"access": "public"}),
        json!({"access": "undecided"}),
    ]);
    let operation = (
        select(vec!["x", "{tenant}/x", "{id}/y"]),
        access,
        option::weighted(0.2, select(vec!["api-acme", "extra"])),
    );
    let hosts =
        select(vec![json!(null), json!(null), json!(["acme.example"]), json!(["{tenant}.api.example"])]);
    let suites = vec((hosts, vec(operation, 1..=3)), 1..=2).prop_map(|suites| {
        let suite = |(number, (hosts, operations)): (usize, (Value, Vec<AnyOperation<'_>>))| {
            let operations = operations.into_iter().enumerate().map(|(place, (path, access, audience))| {
                let base =
                    json!({"name": format!("o{place}"), "path": format!("/s{number}/o{place}/{path}")});
                let audiences = match (audience, access.get("access")) {
                    (Some(audience), access) if access != Some(&json!("public")) => {
                        json!({"audiences": [audience]})
                    }
                    _ => json!({}),
                };
                merge(merge(base, access), audiences)
            });
            let operations: Vec<Value> = operations.collect();
            merge(json!({"name": format!("s{number}"), "operations": operations}), json!({"hosts": hosts}))
        };
        suites.into_iter().enumerate().map(suite).collect::<Vec<Value>>()
    });
    let flags = any::<[bool; 4]>();
    (tenants, suites, kinds, flags, enforcement()).prop_map(|(tenants, suites, kinds, flags, enforcement)| {
        let [claims, headers, default, from_request] = flags;
        let mut resolution = json!({"accept_from_request": from_request});
        if claims {
            resolution["claims"] = json!(["tenant_id"]);
        }
        if headers || kinds.contains(&"header") {
            resolution["headers"] = json!(["x-tenant-id"]);
        }
        if default {
            resolution["default"] = json!("acme");
        }
        resolution["required_evidence"] = json!(kinds);
        file(
            json!(suites),
            json!({
                "tenants": tenants, "tenant_resolution": resolution, "scope_enforcement": enforcement,
            }),
        )
    })
}

/// Whether any of the requests passes that `client` of `tenant` could send for an operation with these scopes.
fn some_request_passes(
    gateway: &Gateway,
    tokens: &mut HashMap<String, String>,
    (tenant, client, scopes): (&str, Option<&str>, &[String]),
    operation: &Value,
) -> bool {
    let path = operation["path"].as_str().unwrap().replace("{tenant}", tenant).replace("{id}", "7");
    let audience_sets = [
        json!(["api"]),
        json!(["api", "extra"]),
        json!(["api", format!("api-{tenant}")]),
        json!(["api", "api-acme"]),
        json!(["api", "extra", format!("api-{tenant}")]),
        json!(["api", "api-acme", format!("api-{tenant}")]),
    ];
    for (claim, audiences) in
        [Some(tenant), None].iter().flat_map(|claim| audience_sets.iter().map(move |set| (claim, set)))
    {
        let changes = json!({
            "tenant_id": claim, "aud": audiences, "client_id": client, "sub": client, "scope": scopes.join(" "),
        });
        let token = tokens.entry(changes.to_string()).or_insert_with(|| token(changes)).clone();
        for host in
            ["gw.example", &format!("{tenant}.example"), "acme.example", &format!("{tenant}.api.example")]
        {
            for header in [Some(tenant), None] {
                let mut call = Call::get(&path).host(host).bearer(&token);
                if let Some(header) = header {
                    call = call.header("x-tenant-id", header);
                }
                if let Outcome::Passed(passed) = gateway.call(&call) {
                    // What `shadow` lets pass because no operation matches says nothing of this one.
                    let is_called =
                        !matches!(passed.reason, Some(Reason::OperationNotMapped | Reason::MethodNotMapped));
                    if is_called && passed.tenant.as_deref().is_none_or(|passed| passed == tenant) {
                        return true;
                    }
                }
            }
        }
    }
    false
}

/// Compares each cell of the matrix with the requests that its caller could send.
fn compare(config: &Value) -> Result<(), TestCaseError> {
    let matrix = scopegate_reading(&config.to_string(), &["matrix", "-", "--format", "csv"]);
    prop_assert_eq!(matrix.code, 0, "{}", matrix.err);
    let gateway = Gateway::new(config);
    let mut tokens = HashMap::new();
    for line in matrix.out.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [tenant_id, suite, name, _, _, kind, provider, column, outcome, _] = fields[..] else {
            panic!("{line}")
        };
        let tenant =
            config["tenants"].as_array().unwrap().iter().find(|tenant| tenant["id"] == tenant_id).unwrap();
        let suite = config["suites"].as_array().unwrap().iter().find(|known| known["name"] == suite).unwrap();
        let operation = suite["operations"]
            .as_array()
            .unwrap()
            .iter()
            .find(|operation| name.ends_with(&format!("/{}", operation["name"].as_str().unwrap())))
            .unwrap();
        let prefix = tenant["scope_prefix"].as_str().unwrap_or_default();
        let prefixed = |scope: &Value| format!("{prefix}{}", scope.as_str().unwrap());
        let applications = tenant["applications"].as_array();
        let mut passes = |client, scopes: &[String]| {
            some_request_passes(&gateway, &mut tokens, (tenant_id, client, scopes), operation)
        };
        let expected = match (kind, applications) {
            ("application", Some(applications)) => {
                let own = applications.iter().find(|application| application["client_id"] == column).unwrap();
                let scopes: Vec<String> = own["scopes"].as_array().unwrap().iter().map(prefixed).collect();
                passes(Some(column), &scopes)
            }
            ("application", None) => {
                prop_assert_eq!(provider, "");
                let scopes: Vec<String> = [json!("r"), json!("w")].iter().map(prefixed).collect();
                passes(None, &scopes)
            }
            (_, None) => passes(None, &[prefixed(&json!(column))]),
            (_, Some(applications)) => {
                // What lets an application pass that is not assigned the scope is not the scope.
                let asks_for_scope = operation.get("requires").is_some();
                let may_carry = |application: &&Value| {
                    !asks_for_scope || application["scopes"].as_array().unwrap().contains(&json!(column))
                };
                operation["access"] == "public"
                    || applications.iter().filter(may_carry).any(|application| {
                        passes(application["client_id"].as_str(), &[prefixed(&json!(column))])
                    })
            }
        };
        prop_assert_eq!(outcome != "refused", expected, "{} in {:#}", line, config);
    }
    Ok(())
}

#[test]
fn the_matrix_shows_what_a_client_of_two_tenants_can_do_at_the_host_of_one() {
    let tenant = |id: &str, hosts: Value| {
        let applications = json!([{"client_id": "c1", "scopes": [], "scope_enforcement": "shadow"}]);
        merge(json!({"id": id, "applications": applications}), json!({"hosts": hosts}))
    };
    let suites =
        json!([{"name": "s0", "operations": [{"name": "o0", "path": "/s0/o0/x", "requires": ["r"]}]}]);
    let tenants = json!([tenant("acme", json!(null)), tenant("globex", json!(["globex.example"]))]);
    let resolution = json!({"accept_from_request": true, "required_evidence": []});
    compare(&file(suites, json!({"tenants": tenants, "tenant_resolution": resolution}))).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_matrix_shows_what_requests_pass_and_nothing_else(config in any_configuration()) {
        compare(&config)?;
    }
}

#[test]
fn check_refuses_a_public_or_unmatched_way_to_a_guarded_endpoint() {
    let guarded = |operation: Value, changes: Value| {
        let applications = json!([{"id": "acme", "applications": [{"client_id": "c", "scopes": ["r"]}]}]);
        let base = json!({"tenants": applications, "token_endpoints": [{"path": "/oauth/token"}]});
        check(&file(one_suite(json!([operation])), merge(base, changes)))
    };
    let public = |path: &str| json!({"name": "op", "path": path, "access": "public"});
    for path in [
        "/oauth/token",
        "/oauth/token/",
        "/OAuth/Token",
        "/oauth/token.json",
        "/oauth/{endpoint}",
        "/*/token",
        "/oauth/**",
        "/oauth/token/**",
        "/**",
    ] {
        let run = guarded(public(path), json!({}));
        assert_eq!(run.code, 1, "{path}: {}", run.out);
        let expected =
            "error: suites[0].operations[0].path: it is public and leads to the guarded `/oauth/token`";
        assert!(run.out.contains(expected), "{path}: {}", run.out);
    }
    for path in ["/oauth/tokens", "/oauth/token/{id}", "/oauth", "/x/**", "/oauth/{a}/{b}"] {
        assert_eq!(guarded(public(path), json!({})).code, 0, "{path}");
    }
    let scoped = || json!({"name": "op", "path": "/oauth/**", "requires": ["r"]});
    assert_eq!(guarded(scoped(), json!({})).code, 0);
    let run = guarded(scoped(), json!({"unmatched": "allow"}));
    assert_eq!(run.code, 1);
    assert!(run.out.contains("error: unmatched: "), "{}", run.out);
}

#[test]
fn check_warns_where_any_audience_meets_introspection() {
    let run = check(&json!({
        "version": 1,
        "providers": {"idp": {"allow_any_audience": true, "introspection": {
            "uri": "https://idp.example/i", "cluster": "idp", "client_auth": {"method": "none"}}}},
        "tenants": [{"id": "acme"}],
    }));
    assert!(run.out.contains("warning: providers.idp.allow_any_audience: "), "{}", run.out);
}
