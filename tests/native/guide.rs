//! What the README and the guide for contributors say of the code is so.

use std::fmt::Write;
use std::path::Path;

use scopegate::config::{parse_yaml, yaml_to_json};
use scopegate::exchange::Decision;
use scopegate::respond::Reason;
use scopegate_testing::mint::jwks;
use serde_json::json;

use crate::gateway::{AUDIENCE, Call, Gateway, ISSUER, KEY, token};

const README: &str = include_str!("../../README.md");
const SECURITY: &str = include_str!("../../SECURITY.md");

#[test]
fn the_table_of_reasons_is_that_of_the_code() {
    let mut table = "| status | reason | what it means |\n|---|---|---|\n".to_owned();
    for reason in Reason::ALL {
        writeln!(table, "| {} | `{reason}` | {} |", reason.class().status(), reason.meaning()).unwrap();
    }
    assert!(README.contains(&table), "the README should hold this table:\n\n{table}");
}

/// The blocks of code between `<!-- tested: name -->` and `<!-- end -->`.
fn tested(name: &str) -> Vec<&'static str> {
    let (_, behind) = README.split_once(&format!("<!-- tested: {name} -->\n")).unwrap();
    let (within, _) = behind.split_once("<!-- end -->").unwrap();
    within.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap().1).collect()
}

#[cfg(feature = "tool")]
#[test]
fn the_case_file_that_the_readme_shows_is_that_of_a_system() {
    let [shown, console] = tested("case-file")[..] else { panic!("a file and a command") };
    assert!(include_str!("../../filter-config/thingworx-billing_test.yaml").starts_with(shown), "{shown}");
    let (command, output) = console.strip_prefix("$ scopegate ").unwrap().split_once('\n').unwrap();
    let run = crate::tool::scopegate(&command.split(' ').collect::<Vec<_>>());
    assert_eq!((run.code, &*run.out), (0, output));
}

fn first_configuration() -> &'static str {
    let (_, behind) = README.split_once("<!-- tested: readme-first -->\n```yaml\n").unwrap();
    behind.split_once("```").unwrap().0
}

#[test]
fn the_first_configuration_loads_as_it_stands() {
    let loaded = parse_yaml(first_configuration()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn what_the_first_configuration_answers_with_403_passes_in_shadow_with_the_same_reason() {
    let mut config = yaml_to_json(first_configuration()).unwrap();
    let provider = &mut config["providers"]["corp"];
    provider["issuer"] = json!(ISSUER);
    provider["audiences"] = json!([AUDIENCE]);
    provider.as_object_mut().unwrap().remove("remote_jwks");
    provider["local_jwks"] = jwks([&*KEY]);
    let mut shadow = config.clone();
    shadow["scope_enforcement"] = json!("shadow");
    let [enforced, shadowed] = [config, shadow].map(|config| Gateway::new(&config));
    let bearer = |scope: &str| token(json!({"tenant_id": "acme", "client_id": "acme-sync", "scope": scope}));
    for (method, path, scope, reason) in [
        ("GET", "/acme/elsewhere", "billing:read", Reason::OperationNotMapped),
        ("GET", "/", "billing:read", Reason::OperationNotMapped),
        ("DELETE", "/acme/invoices/7", "billing:read", Reason::MethodNotMapped),
        ("GET", "/acme/invoices/7", "billing:write", Reason::ScopeNotGranted),
        ("GET", "/acme/invoices/7", "", Reason::NoScopesInToken),
    ] {
        let call = Call::new(method, path).bearer(&bearer(scope));
        assert_eq!(enforced.call(&call).refused().reason, reason, "{method} {path}");
        let passed = shadowed.call(&call).passed();
        assert_eq!((passed.decision, passed.reason), (Decision::Shadow, Some(reason)), "{method} {path}");
    }
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for document in
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md", "docs/performance.md"]
    {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        let directory = root.join(document).parent().unwrap().to_owned();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
        let links = links.map(|link| directory.join(link));
        let sources = ["src/", "tests/", "docs/", "deploy/", "benches/", "filter-config/"];
        let mentioned = text.split(['`', '\n', ' ']).filter(|word| {
            sources.iter().any(|source| word.starts_with(source)) && !word.contains(['*', '{', ':'])
        });
        for path in links.chain(mentioned.map(|path| root.join(path))) {
            assert!(path.exists(), "{document} names {}", path.display());
            named += 1;
        }
    }
    assert!(named > 100, "{named}");
}

/// As `native/reasons::name` or `src/jose/json::name`: the file, without its suffix, and the test in it.
#[test]
fn every_test_that_the_threats_name_is_there() {
    let (_, table) = SECURITY.split_once("| what an attacker does |").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        let named: Vec<(&str, &str)> = row
            .split('`')
            .filter(|part| part.contains('/'))
            .filter_map(|part| part.split_once("::"))
            .collect();
        assert!(!named.is_empty(), "no test: {row}");
        for (file, test) in named {
            let folder = if file.starts_with("src/") { "" } else { "tests/" };
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{folder}{file}.rs"));
            let code = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
            let (before, _) =
                code.split_once(&format!("fn {test}(")).unwrap_or_else(|| panic!("{file} has no `{test}`"));
            let attributes = before.rsplit("\n\n").next().unwrap();
            assert!(attributes.contains("#[test]"), "`{test}` in {file} is no test");
        }
    }
}
