//! Tables that would open more than they say: what closes them, what refuses them, and what warns of them.

#![cfg(feature = "tool")]

use crate::gateway::{Call, Gateway, merge, provider, token};
use crate::tool::{Run, scopegate_reading};
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
