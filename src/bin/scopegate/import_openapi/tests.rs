use scopegate::config::parse_yaml;
use scopegate::policy::Policy;
use scopegate::policy::reach::{Holder, Reach};
use scopegate::route::{Lookup, canonicalize};

use super::*;

const HEAD: &str = "
version: 1
providers: {corp: {issuer: 'https://i', audiences: [a], local_jwks: {keys: []}}}
tenants: [{id: acme}]
";

const DOCUMENT: &str = "
openapi: 3.1.0
info: {title: Books, version: '2'}
components:
  securitySchemes:
    oauth:
      type: oauth2
      flows: {clientCredentials: {tokenUrl: 'https://i/t', scopes: {read: See books, write: Add books}}}
    key: {type: apiKey, in: header, name: x-api-key}
";

fn arguments() -> Arguments {
    Arguments {
        spec: PathBuf::from("-"),
        schemes: Vec::new(),
        checked_elsewhere: Vec::new(),
        unspecified: Unspecified::Refused,
        tenant_parameter: None,
        suite: "api".to_owned(),
        hosts: false,
        deny_warnings: false,
    }
}

fn imported(paths: &str, arguments: &Arguments) -> (Policy, Imported) {
    let imported = import(&format!("{DOCUMENT}{paths}"), arguments).unwrap();
    let policy = parse_yaml(&format!("{HEAD}{}", imported.text))
        .unwrap_or_else(|errors| panic!("{errors}\n{}", imported.text));
    (policy.policy, imported)
}

/// Whether a token with `scopes` may call this, and whether one without a token may.
fn opens(policy: &Policy, method: &str, path: &str, scopes: &[&str]) -> bool {
    let path = canonicalize(path.as_bytes()).unwrap();
    let Lookup::Matched { operation, .. } = policy.operations.find(Some("h"), &path, method.as_bytes(), &[])
    else {
        return false;
    };
    let registered =
        format!("{HEAD}\ntenant_templates: {{t: {{applications: [{{client_id: c, scopes: {scopes:?}}}]}}}}")
            .replace("{id: acme}", "{id: acme, template: t}");
    let application = parse_yaml(&registered).unwrap().policy;
    let (_, tenant) = application.tenants.iter().next().unwrap();
    let holder = Holder::application(policy, tenant, &tenant.applications.as_deref().unwrap()[0]);
    holder.reach(operation).passes()
}

fn security(requirements: &str) -> (Policy, Imported) {
    imported(&format!("paths: {{/x: {{get: {{security: {requirements}}}}}}}"), &arguments())
}

#[test]
fn requirements_are_all_of_one_and_any_of_the_list() {
    type ScopeSets<'s> = &'s [&'s [&'s str]];
    let cases: [(&str, ScopeSets<'_>, ScopeSets<'_>); 7] = [
        ("[{oauth: [a]}]", &[&["a"]], &[&[], &["b"]]),
        ("[{oauth: [a, b]}]", &[&["a", "b"]], &[&["a"], &["b"]]),
        ("[{oauth: [a]}, {oauth: [b]}]", &[&["a"], &["b"]], &[&[], &["c"]]),
        ("[{oauth: [a, b]}, {oauth: [a, c]}]", &[&["a", "b"], &["a", "c"]], &[&["a"], &["b", "c"]]),
        ("[{oauth: [a]}, {oauth: [a, b]}]", &[&["a"]], &[&["b"]]),
        ("[{oauth: []}]", &[&[]], &[]),
        ("[{oauth: [a]}, {oauth: []}]", &[&[]], &[]),
    ];
    for (requirements, open, closed) in cases {
        let (policy, imported) = security(requirements);
        assert_eq!(imported.warnings, Vec::<String>::new(), "{requirements}");
        for scopes in open {
            assert!(opens(&policy, "GET", "/x", scopes), "{requirements} {scopes:?}");
        }
        for scopes in closed {
            assert!(!opens(&policy, "GET", "/x", scopes), "{requirements} {scopes:?}");
        }
    }
}

#[test]
fn an_empty_list_and_an_empty_requirement_are_public() {
    for requirements in ["[]", "[{}]", "[{oauth: [a]}, {}]"] {
        let (policy, _) = security(requirements);
        let (_, tenant) = policy.tenants.iter().next().unwrap();
        assert_eq!(
            Holder::any_client(&policy, tenant).reach(OperationId(0)),
            Reach::Public,
            "{requirements}"
        );
    }
}

#[test]
fn what_cannot_be_said_is_made_stricter_with_a_comment_and_a_warning() {
    let (policy, imported) = security("[{oauth: [a, b]}, {oauth: [c, d]}]");
    assert!(imported.text.contains("# stricter than the document, which asks for (a and b) or (c and d)"));
    assert_eq!(imported.warnings.len(), 1);
    assert!(opens(&policy, "GET", "/x", &["a", "b", "c", "d"]));
    for scopes in [&["a", "b"][..], &["c", "d"], &["a", "c"]] {
        assert!(!opens(&policy, "GET", "/x", scopes), "{scopes:?}");
    }
}

#[test]
fn never_is_an_operation_looser_than_its_document_whatever_the_requirements() {
    // Every list of up to two requirements over three scopes, against every set of scopes.
    let scopes = ["a", "b", "c"];
    let set = |bits: u8| -> Vec<&str> {
        (0..3).filter(|bit| bits >> bit & 1 == 1).map(|bit| scopes[bit]).collect()
    };
    for first in 1..8u8 {
        for second in 1..8u8 {
            let (policy, _) =
                security(&format!("[{{oauth: {:?}}}, {{oauth: {:?}}}]", set(first), set(second)));
            for held in 0..8u8 {
                let asked = held & first == first || held & second == second;
                let opened = opens(&policy, "GET", "/x", &set(held));
                assert!(asked || !opened, "{first:03b} {second:03b} {held:03b}");
            }
        }
    }
}

#[test]
fn what_nobody_here_checks_is_refused_or_left_to_who_does() {
    let (policy, imported) = security("[{key: []}]");
    assert!(imported.text.contains("# refused to everybody: nothing here checks `key`"), "{}", imported.text);
    assert!(!opens(&policy, "GET", "/x", &["read", "write"]));
    let (policy, imported) = security("[{oauth: [a]}, {key: []}]");
    assert!(imported.warnings[0].contains("stricter than the document"), "{:?}", imported.warnings);
    assert!(opens(&policy, "GET", "/x", &["a"]));
    let (policy, _) = security("[{oauth: [a], key: []}]");
    assert!(!opens(&policy, "GET", "/x", &["a"]));
    let elsewhere = Arguments { checked_elsewhere: vec!["key".to_owned()], ..arguments() };
    let (policy, _) = imported_with("[{oauth: [a], key: []}]", &elsewhere);
    assert!(opens(&policy, "GET", "/x", &["a"]));
    // Nor is an operation opened that asks for nothing but what is checked elsewhere.
    let (policy, _) = imported_with("[{key: []}]", &elsewhere);
    assert!(!opens(&policy, "GET", "/x", &["a"]));
}

fn imported_with(requirements: &str, arguments: &Arguments) -> (Policy, Imported) {
    imported(&format!("paths: {{/x: {{get: {{security: {requirements}}}}}}}"), arguments)
}

#[test]
fn where_the_document_says_nothing_the_caller_of_the_tool_does() {
    let paths = "paths: {/x: {get: {}}}";
    let (policy, _) = imported(paths, &arguments());
    assert!(!opens(&policy, "GET", "/x", &["read"]));
    let (policy, _) = imported(paths, &Arguments { unspecified: Unspecified::Authenticated, ..arguments() });
    assert!(opens(&policy, "GET", "/x", &[]));
    // The document's own `security` is for operations without one.
    let (policy, _) =
        imported("security: [{oauth: [read]}]\npaths: {/x: {get: {}, put: {security: []}}}", &arguments());
    assert!(opens(&policy, "GET", "/x", &["read"]) && !opens(&policy, "GET", "/x", &[]));
    assert!(opens(&policy, "PUT", "/x", &[]));
}

#[test]
fn a_refused_operation_is_not_taken_by_a_less_specific_pattern() {
    let (policy, _) = imported(
        "paths: {'/users/{id}': {get: {security: [{oauth: [read]}]}}, /users/login: {get: {security: [{key: []}]}}}",
        &arguments(),
    );
    assert!(opens(&policy, "GET", "/users/7", &["read"]));
    assert!(!opens(&policy, "GET", "/users/login", &["read"]));
}

#[test]
fn what_would_take_the_requests_of_a_path_that_no_pattern_says_is_left_out_too() {
    let paths = |of_part: &str| {
        format!(
            "paths: {{'/compare/{{base}}...{{head}}': {{get: {{security: [{{oauth: [{of_part}]}}]}}}}, \
             '/compare/{{both}}': {{get: {{security: [{{oauth: [read]}}]}}}}}}"
        )
    };
    let (policy, imported_write) = imported(&paths("write"), &arguments());
    assert!(!opens(&policy, "GET", "/compare/a...b", &["read", "write"]), "{}", imported_write.text);
    assert_eq!(imported_write.warnings.len(), 2);
    // Where both ask for the same, nobody gains anything.
    let (policy, _) = imported(&paths("read"), &arguments());
    assert!(opens(&policy, "GET", "/compare/a...b", &["read"]));
}

#[test]
fn several_token_schemes_are_told_apart() {
    let two = DOCUMENT.replace(
        "    key: {type: apiKey, in: header, name: x-api-key}",
        "    other: {type: http, scheme: Bearer}",
    );
    let text = format!("{two}paths: {{/x: {{get: {{security: [{{oauth: [a]}}, {{other: [b]}}]}}}}}}");
    let error = import(&text, &arguments()).unwrap_err();
    assert!(error.contains("`oauth`, `other`"), "{error}");
    let one = import(&text, &Arguments { schemes: vec!["oauth".to_owned()], ..arguments() }).unwrap();
    assert!(one.text.contains("requires: [a]"), "{}", one.text);
    let both = Arguments { schemes: vec!["oauth".to_owned(), "other".to_owned()], ..arguments() };
    assert!(import(&text, &both).unwrap().text.contains("any_of: [a, b]"));
    let wrong = Arguments { schemes: vec!["nobody".to_owned()], ..arguments() };
    assert!(import(&text, &wrong).is_err());
}

#[test]
fn paths_have_the_bases_of_their_servers() {
    let (policy, _) = imported(
        "
servers: [{url: 'https://{region}.example.com/{v}', variables: {region: {default: eu}, v: {default: v2, enum: [v1, v2]}}}]
security: [{oauth: [read]}]
paths:
  /x: {get: {}}
  /y: {servers: [{url: /own/}], get: {}}
",
        &arguments(),
    );
    for path in ["/v1/x", "/v2/x", "/own/y"] {
        assert!(opens(&policy, "GET", path, &["read"]), "{path}");
    }
    for path in ["/x", "/y", "/v1/y"] {
        assert!(!opens(&policy, "GET", path, &["read"]), "{path}");
    }
}

#[test]
fn hosts_restrict_only_where_it_is_asked_for() {
    let document =
        "servers: [{url: 'https://api.example.com/v1'}]\nsecurity: [{oauth: [read]}]\npaths: {/x: {get: {}}}";
    let (policy, _) = imported(document, &arguments());
    assert!(opens(&policy, "GET", "/v1/x", &["read"]));
    let (policy, imported) = imported(document, &Arguments { hosts: true, ..arguments() });
    assert!(imported.text.contains("hosts: [api.example.com]"), "{}", imported.text);
    assert!(!opens(&policy, "GET", "/v1/x", &["read"]));
}

#[test]
fn the_parameter_that_names_the_tenant_is_told_and_never_guessed() {
    let document = "security: [{oauth: [read]}]\npaths: {'/{tenant}/{org}/x': {get: {}}}";
    let (policy, _) = imported(document, &arguments());
    assert_eq!(policy.routes[0].path.tenant_segment(), None);
    let (policy, _) =
        imported(document, &Arguments { tenant_parameter: Some("org".to_owned()), ..arguments() });
    assert_eq!(policy.routes[0].path.tenant_segment(), Some(1));
}

#[test]
fn tags_become_suites_and_names_stay_unique() {
    let (policy, imported) = imported(
        "
security: [{oauth: [read]}]
paths:
  /a: {get: {tags: [one/two], operationId: x}, post: {tags: [one/two], operationId: x}}
  /b: {get: {}}
  /c: {$ref: '#/components/pathItems/c'}
  /d: {$ref: 'https://elsewhere.example/d'}
",
        &arguments(),
    );
    let names: Vec<&str> = policy.catalog.operations.iter().map(|operation| &*operation.name).collect();
    assert_eq!(names, ["x", "x-2", "get /b"]);
    assert_eq!(&*policy.catalog.suites[0].name, "one-two");
    assert!(imported.text.contains("{name: read, description: \"See books\"}"), "{}", imported.text);
    assert!(imported.warnings.iter().any(|warning| warning.starts_with("/d: left out")));
}

#[test]
fn what_is_no_openapi_3_document_is_refused() {
    for text in ["{}", "swagger: '2.0'", "openapi: 4.0.0", "openapi: 2", "- a", "{\"openapi\": \"3.0.0\",}"] {
        assert!(import(text, &arguments()).is_err(), "{text}");
    }
    let nothing = import("openapi: 3.0.3\npaths: {}", &arguments()).unwrap();
    assert!(parse_yaml(&format!("{HEAD}{}", nothing.text)).is_ok(), "{}", nothing.text);
}

#[test]
fn no_text_of_a_document_becomes_anything_but_text() {
    let (policy, imported) = imported(
        "
security: [{oauth: [read]}]
paths: {/x: {get: {operationId: \"a\\n  - name: evil\", tags: [\"t\\nsuites: []\"], summary: x}}}
",
        &arguments(),
    );
    assert_eq!(policy.catalog.operations.len(), 1, "{}", imported.text);
    assert_eq!(&*policy.catalog.suites[0].name, "t suites: []");
}
