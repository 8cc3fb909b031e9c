//! The configuration inside an Envoy file: how it is shipped, and what `check` says of the file around it.

#![cfg(feature = "tool")]

use std::fs;
use std::path::Path;

use crate::tool::{Run, scopegate, scopegate_reading};

const SHIPPED: [&str; 2] = ["envoy.yaml", "deploy/envoy/scopegate/filter.yaml"];

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn check(text: &str) -> Run {
    scopegate_reading(text, &["check", "-"])
}

/// The place of `needle`'s `nth` occurrence, as a report has it.
fn place(text: &str, needle: &str, nth: usize) -> String {
    let (at, _) = text.match_indices(needle).nth(nth).unwrap();
    let line = text[..at].matches('\n').count() + 1;
    let column = at - text[..at].rfind('\n').map_or(0, |feed| feed + 1) + 1;
    format!("<stdin>:{line}:{column}: error: ")
}

#[test]
fn what_is_shipped_carries_the_configuration_as_a_string_and_is_checked_with_the_file_around_it() {
    for file in SHIPPED {
        assert!(!text(file).contains("google.protobuf.Struct"), "{file}");
        let run = scopegate(&["check", "--deny-warnings", file]);
        assert_eq!(run.out, format!("{file}: valid, 0 errors, 0 warnings\n"));
    }
    let books = "tests/fixtures/tool/books.yaml";
    for form in ["envoy", "ecds"] {
        let rendered = scopegate(&["render", books, "--as", form]).out;
        assert!(!rendered.contains("google.protobuf.Struct"));
        assert_eq!(check(&rendered).out, "<stdin>: valid, 0 errors, 0 warnings\n", "{form}");
    }
    // A bootstrap whose filters come by discovery holds none.
    let run = scopegate(&["check", "deploy/envoy/envoy.yaml"]);
    assert_eq!(run.code, 0);
    assert!(run.out.contains("holds no configuration of a filter `scopegate`"), "{}", run.out);
}

#[test]
fn a_repeated_key_anywhere_in_the_envoy_file_is_refused_where_it_stands() {
    for (file, line, repeated) in [
        ("envoy.yaml", "                stat_prefix: gateway\n", "stat_prefix"),
        ("envoy.yaml", "                        root_id: scopegate\n", "root_id"),
        ("deploy/envoy/scopegate/filter.yaml", "        failure_policy: FAIL_RELOAD\n", "failure_policy"),
    ] {
        let good = text(file);
        let (before, behind) = good.split_once(line).unwrap();
        let bad = format!("{before}{line}{line}{behind}");
        let run = check(&bad);
        let expected = place(&bad, &format!("{repeated}:"), 1);
        assert_eq!(run.code, 1, "{}", run.out);
        assert!(
            run.out.starts_with(&expected) && run.out.contains("the key is repeated"),
            "{expected}\n{}",
            run.out
        );
    }
    // In JSON, and in a file that holds no configuration of ours.
    let json = r#"{"static_resources": {"clusters": [], "listeners": [], "clusters": []}}"#;
    let run = check(json);
    assert!(
        run.out.contains("<stdin>:1:56: error: static_resources.clusters: the key is repeated"),
        "{}",
        run.out
    );
}

#[test]
fn a_repeated_key_in_the_configuration_is_refused_in_a_string_and_in_a_struct() {
    let good = text("envoy.yaml");
    let line = "                              \"realm\": \"billing-gateway\",\n";
    let bad = good.replace(line, &line.repeat(2));
    let run = check(&bad);
    assert_eq!(run.code, 1);
    let expected = place(&bad, "\"realm\"", 1);
    assert!(run.out.starts_with(&format!("{expected}realm: the key is repeated")), "{}", run.out);

    let document = "resources:\n- name: scopegate\n  configuration:\n    '@type': t/google.protobuf.Struct\n    value:\n      version: 1\n      version: 1\n  vm_config: {}\n";
    let run = check(document);
    assert_eq!(run.code, 1);
    assert!(
        run.out.contains("<stdin>:7:7: error: ") && run.out.contains("the key is repeated"),
        "{}",
        run.out
    );
}

#[test]
fn an_error_inside_the_configuration_points_at_the_line_of_the_envoy_file() {
    let bad = text("envoy.yaml").replace("\"client_id\": \"acme-reader\"", "\"client\": \"acme-reader\"");
    let run = check(&bad);
    let expected = place(&bad, "\"client\": \"acme-reader\"", 0);
    assert!(
        run.out.contains(&format!("{expected}tenants[0].applications[1]: unknown key `client`")),
        "{}",
        run.out
    );

    let bad = text("envoy.yaml").replace("\"version\": 1,", "\"version\": 1,,");
    let run = check(&bad);
    let line = 1 + bad.lines().position(|line| line.contains("1,,")).unwrap();
    assert!(run.out.starts_with(&format!("<stdin>:{line}:")) && run.out.contains("not JSON"), "{}", run.out);
}

#[test]
fn a_string_that_holds_yaml_is_told_what_the_filter_reads() {
    let file = "resources:\n- name: scopegate\n  vm_config: {}\n  configuration:\n    '@type': t/google.protobuf.StringValue\n    value: |\n      version: 1\n      providers: {}\n";
    let run = check(file);
    assert_eq!(run.code, 1);
    assert!(run.out.contains("<stdin>:7:") && run.out.contains("this looks like YAML"), "{}", run.out);
}

#[test]
fn other_commands_read_the_one_configuration_of_an_envoy_file_too() {
    let run = scopegate(&["explain", "--config", "envoy.yaml", "--path", "/health"]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    let two =
        format!("{0}{0}", scopegate(&["render", "tests/fixtures/tool/books.yaml", "--as", "envoy"]).out);
    let run = scopegate_reading(&two, &["explain", "--config", "-", "--path", "/health"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("several configurations"), "{}", run.err);
    assert_eq!(check(&two).code, 0);
}

#[test]
fn a_property_that_the_envoy_file_reads_and_the_configuration_does_not_set_is_warned_of_where_it_is_read() {
    let good = text("envoy.yaml");
    let read = "wasm.scopegate.log:PLAIN";
    let tenant = good.replace(read, "wasm.scopegate.tenant:PLAIN");
    let run = check(&tenant);
    assert_eq!(run.code, 0);
    let expected = place(&tenant, "wasm.scopegate.tenant", 0).replace("error", "warning")
        + "audit.properties: `wasm.scopegate.tenant` is read here and never set; name `tenant` in `audit.properties`, or \
           read `wasm.scopegate.log`, which has all facts [SG2000]\n";
    assert!(run.out.starts_with(&expected), "{expected}{}", run.out);
    // Where the configuration names it, all is well.
    let realm = "\"realm\": \"billing-gateway\",";
    let named = format!("{realm} \"audit\": {{\"properties\": [\"decision\", \"tenant\"]}},");
    assert!(check(&tenant.replace(realm, &named)).out.ends_with("0 errors, 0 warnings\n"));
    let both = good.replace(realm, &named);
    assert!(check(&both).out.contains("`wasm.scopegate.log` is read here and never set; name `log`"));
    let unknown = check(&good.replace(read, "wasm.scopegate.tenants:PLAIN")).out;
    assert!(
        unknown.contains("`wasm.scopegate.tenants` is read here, and the filter has no such property"),
        "{unknown}"
    );
    // What is said in a comment is not read.
    assert!(check(&format!("# wasm.scopegate.tenant\n{good}")).out.ends_with("0 errors, 0 warnings\n"));
}
