//! The README promises: its table of reasons is the code's, and its configurations load.

use std::fmt::Write;

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
