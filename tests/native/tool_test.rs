//! `scopegate test`: case files as they are run.

#![cfg(feature = "tool")]

use std::fs;

use scopegate_testing::harness::Directory;
use serde_json::Value;

use crate::tool::scopegate;

/// A directory of one test's own, with the configuration of the books in it.
fn directory(name: &str, cases: &str) -> Directory {
    let directory = Directory::new(name);
    fs::copy("tests/fixtures/tool/books.yaml", directory.join("books.yaml")).unwrap();
    fs::write(directory.join("books_test.yaml"), cases).unwrap();
    directory
}

const CASES: &str = r##"
defaults: {token: {tenant: acme, client: acme-sync, scope: read}}
cases:
  - name: a reader lists
    request: GET /acme/books
    expect: {tenant: acme, operation: books/list}
  - name: a reader adds nothing
    request: POST /acme/books
    expect: scope_not_granted
  - name: '<a "reader" & more #1>'
    request: POST /acme/books
    expect: allow
"##;

#[test]
fn the_worked_configurations_do_what_their_case_files_say() {
    let run = scopegate(&["test", "filter-config/", "--format", "json", "--coverage"]);
    let report: Value = serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {}", run.err));
    assert_eq!(run.code, 0, "{report:#}");
    let files = report["files"].as_array().unwrap();
    assert_eq!(files.len(), 5);
    for file in files {
        assert!(file["cases"].as_array().unwrap().len() > 20, "{}", file["file"]);
    }
    // Each calls every operation of its system.
    for (policy, covered) in report["coverage"].as_object().unwrap() {
        assert_eq!(covered["operations"]["untouched"], Value::Array(Vec::new()), "{policy}");
    }
}

#[test]
fn a_case_that_comes_out_otherwise_is_told_with_its_place_and_its_steps() {
    let directory = directory("differs", CASES);
    let run = scopegate(&["test", directory.to_str().unwrap()]);
    assert_eq!((run.code, run.err.as_str()), (1, ""));
    assert!(run.out.contains("books_test.yaml:10:5: <a \"reader\" & more #1>\n"), "{}", run.out);
    assert!(run.out.contains("  decision: expected allow, found deny\n"), "{}", run.out);
    assert!(run.out.contains("  reason: expected none, found scope_not_granted\n"), "{}", run.out);
    assert!(run.out.ends_with("1 file, 3 cases: 2 as expected, 1 not\n"), "{}", run.out);
    let chosen = scopegate(&["test", directory.to_str().unwrap(), "--run", "a reader *", "--verbose"]);
    assert_eq!(chosen.code, 0, "{}", chosen.out);
    assert_eq!(chosen.out.matches("ok   ").count(), 2, "{}", chosen.out);
}

#[test]
fn machines_get_json_junit_and_tap() {
    let directory = directory("formats", CASES);
    let path = directory.to_str().unwrap();
    let report: Value = serde_json::from_str(&scopegate(&["test", path, "--format", "json"]).out).unwrap();
    assert_eq!((&report["cases"], &report["failures"]), (&Value::from(3), &Value::from(1)));
    assert_eq!(report["files"][0]["cases"][2]["mismatches"][0]["found"], "deny");

    let junit = scopegate(&["test", path, "--format", "junit"]).out;
    assert!(junit.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites "), "{junit}");
    assert!(junit.contains("tests=\"3\" failures=\"1\" errors=\"0\""), "{junit}");
    assert!(junit.contains("name=\"&lt;a &quot;reader&quot; &amp; more #1&gt;\""), "{junit}");
    assert_eq!(junit.matches("<failure ").count(), 1, "{junit}");
    assert_eq!(junit.matches("<testcase ").count(), 3, "{junit}");

    let tap = scopegate(&["test", path, "--format", "tap"]).out;
    assert!(tap.starts_with("TAP version 14\n1..3\nok 1 - "), "{tap}");
    assert!(tap.contains("\nnot ok 3 - ") && tap.contains("more \\#1"), "{tap}");
}

#[test]
fn a_case_file_that_cannot_be_read_is_told_by_line_and_runs_nothing() {
    let cases = CASES
        .replace("expect: scope_not_granted", "expect: scope_not_grantd")
        .replace("defaults: {token: {tenant", "defaults: {token: {tenannt");
    let directory = directory("broken", &cases);
    let run = scopegate(&["test", directory.to_str().unwrap()]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(
        run.err.contains(
            "books_test.yaml:2:20: defaults.token: unknown key `tenannt`; did you mean `tenant`? [SG1101]\n"
        ),
        "{}",
        run.err
    );
    assert!(run.err.contains("books_test.yaml:9:13: cases[1].expect: "), "{}", run.err);
    assert!(run.err.contains("did you mean `scope_not_granted`?"), "{}", run.err);
    let run = scopegate(&["test", "benches"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("scopegate test --init"), "{}", run.err);
}

#[test]
fn a_matrix_says_something_of_each_pair() {
    let matrix = r#"
matrix:
  - name: acme
    requests: {list: GET /acme/books, add: POST /acme/books}
    tokens: {reader: {tenant: acme, client: acme-sync, scope: read}, nobody: none}
    expect: {reader: {list: allow}}
"#;
    let path = directory("matrix", matrix);
    let run = scopegate(&["test", path.to_str().unwrap()]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("nothing is said of the request `add`"), "{}", run.err);
    assert!(run.err.contains("nothing is said of the token `nobody`"), "{}", run.err);
    fs::write(
        path.join("books_test.yaml"),
        matrix.replace("expect: {reader: {list: allow}}", "allowed: {reader: [list, add], nobody: []}"),
    )
    .unwrap();
    let run = scopegate(&["test", path.to_str().unwrap()]);
    assert_eq!(run.code, 1);
    assert!(run.out.contains(": acme: reader: add\n"), "{}", run.out);
    assert!(run.out.ends_with("4 cases: 3 as expected, 1 not\n"), "{}", run.out);
}

#[test]
fn the_first_case_file_says_what_the_configuration_does() {
    let path = directory("first", CASES);
    let config = path.join("books.yaml");
    let again = scopegate(&["test", "--init", config.to_str().unwrap()]);
    assert_eq!(again.code, 2, "what is there is not overwritten");
    fs::remove_file(path.join("books_test.yaml")).unwrap();
    let run = scopegate(&["test", "--init", config.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.err);
    let run = scopegate(&["test", path.to_str().unwrap(), "--coverage"]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert!(run.out.contains("  tenants                  2 of 2\n"), "{}", run.out);

    // That of a table stands in its directory.
    fs::remove_file(path.join("books_test.yaml")).unwrap();
    let run = scopegate(&["test", "--init", path.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.err);
    for named in [path.to_path_buf(), path.join("first_test.yaml")] {
        let run = scopegate(&["test", named.to_str().unwrap()]);
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
        assert!(run.out.contains("first_test.yaml: "), "{}", run.out);
    }
}

#[test]
fn bound_tokens_come_with_their_proofs_and_clocks_can_be_set() {
    let books = fs::read_to_string("tests/fixtures/tool/books.yaml").unwrap();
    let dpop = books.replacen(
        "    audiences:",
        "    dpop: {mode: required, public_origin: https://api.example.com, nonce: {secret: {env: NONCES}}}\n    revoked: {issued_before: 2026-01-01T00:00:00Z}\n    audiences:",
        1,
    );
    let cases = r#"
defaults: {token: {tenant: acme, client: acme-sync, scope: read, dpop: true}}
cases:
  - {name: with its proof, request: "GET /acme/books?x=1", expect: allow}
  - {name: without one, request: GET /acme/books, token: {dpop: false}, expect: {status: 401}}
  - {name: of before, now: 2025-12-31T23:59:59Z, request: GET /acme/books, expect: token_revoked}
  - {name: of the moment, now: 2026-01-01T00:00:00Z, request: GET /acme/books, expect: allow}
"#;
    let path = directory("dpop", cases);
    assert_ne!(dpop, books);
    fs::write(path.join("books.yaml"), dpop).unwrap();
    let run = scopegate(&["test", path.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
}
