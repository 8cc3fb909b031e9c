//! What the README and the guide for contributors say of the code is so.

use std::fmt::Write;
use std::path::Path;

use scopegate::config::parse_yaml;
use scopegate::respond::Reason;

const README: &str = include_str!("../../README.md");

#[test]
fn the_table_of_reasons_is_that_of_the_code() {
    let mut table = "| status | reason | what it means |\n|---|---|---|\n".to_owned();
    for reason in Reason::ALL {
        writeln!(table, "| {} | `{reason}` | {} |", reason.class().status(), reason.meaning()).unwrap();
    }
    assert!(README.contains(&table), "the README should hold this table:\n\n{table}");
}

#[test]
fn the_first_configuration_loads_as_it_stands() {
    let (_, behind) = README.split_once("<!-- tested: readme-first -->\n```yaml\n").unwrap();
    let (yaml, _) = behind.split_once("```").unwrap();
    let loaded = parse_yaml(yaml).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
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
            sources.iter().any(|source| word.starts_with(source)) && !word.contains(['*', '{'])
        });
        for path in links.chain(mentioned.map(|path| root.join(path))) {
            assert!(path.exists(), "{document} names {}", path.display());
            named += 1;
        }
    }
    assert!(named > 100, "{named}");
}
