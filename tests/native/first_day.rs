//! Mistakes of a first day, each with the sentence that helps.

#![cfg(feature = "tool")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool::{Run, scopegate, scopegate_reading};
use scopegate::config::parse_plugin;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const BOOKS: &str = "tests/fixtures/tool/books.yaml";

/// An empty directory for a test.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("first-day-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(file)).unwrap()
}

fn check(text: &str) -> Run {
    scopegate_reading(text, &["check", "-"])
}

/// What `check` says of BOOKS with one text replaced.
fn check_with(from: &str, to: &str) -> String {
    let books = read(BOOKS);
    assert!(books.contains(from), "{from}");
    check(&books.replacen(from, to, 1)).out
}

#[test]
fn a_byte_order_mark_is_passed_over_in_every_file_that_is_read() {
    let directory = scratch("marks");
    let marked = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, format!("\u{feff}{text}")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let json = scopegate(&["render", BOOKS]).out;
    for file in [
        marked("books.yaml", &read(BOOKS)),
        marked("books.json", &json),
        marked("envoy.yaml", &read("envoy.yaml")),
    ] {
        let run = scopegate(&["check", &file]);
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    }
    let spec = marked("openapi.yaml", &read("tests/fixtures/tool/openapi.yaml"));
    assert_eq!(scopegate(&["import-openapi", &spec]).code, 0);
    let jwks = marked("jwks.json", &read("tests/fixtures/tool/jwks.json"));
    let token = marked("token.jwt", &read("tests/fixtures/tool/token.jwt"));
    let keys = format!("corp={jwks}");
    let request =
        ["--path", "/acme/books", "--token", &token, "--jwks", &keys, "--now", "2026-11-22T12:00:00Z"];
    let run = scopegate(&[&["explain", "--config", BOOKS], &request[..]].concat());
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    // And in what Envoy hands over.
    assert!(parse_plugin(format!("\u{feff}{json}").as_bytes()).is_ok());
}

#[test]
fn an_unknown_key_is_pointed_at_where_it_stands() {
    let out = check("version: 1\nproviders: {}\ntenants: []\nsuite: []\n");
    assert!(out.out.contains("<stdin>:4:1: error: configuration: unknown key `suite`"), "{}", out.out);
    let books = read(BOOKS).replace("scope_prefix:", "scope_prefx:");
    let line = 1 + books.lines().position(|line| line.contains("scope_prefx")).unwrap();
    let out = check(&books).out;
    assert!(
        out.contains(&format!("<stdin>:{line}:5: error: tenants[1]: unknown key `scope_prefx`")),
        "{out}"
    );
}

#[test]
fn a_plain_secret_is_told_how_secrets_are_written_and_not_shown() {
    let out = check_with("{env: INTROSPECTION_SECRET}", "hunter2");
    assert!(out.contains("client_secret: expected `{env: NAME}`") && out.contains("`{value: ...}`"), "{out}");
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn a_list_of_scope_strings_is_told_how_scopes_are_declared() {
    let out = check("version: 1\nproviders: {}\ntenants: [{id: acme, scopes: [billing:read, b]}]\n").out;
    for (place, scope) in [(0, "billing:read"), (1, "b")] {
        let expected =
            format!("tenants[0].scopes[{place}]: a scope is declared as a map: write `{{name: {scope}}}`");
        assert!(out.contains(&expected), "{out}");
    }
}

#[test]
fn comments_and_yaml_in_json_are_told() {
    let directory = scratch("json");
    let file = directory.join("gateway.json");
    let checked = |text: &str| {
        fs::write(&file, text).unwrap();
        scopegate(&["check", file.to_str().unwrap()]).out
    };
    for text in [
        "{\n  // the version\n  \"version\": 1\n}",
        "{\n  \"version\": 1 /* one */\n}",
        "# x\n{\"version\": 1}",
    ] {
        let out = checked(text);
        assert!(out.contains("JSON has no comments"), "{text}: {out}");
    }
    let out = checked(&read(BOOKS));
    assert!(out.contains("gateway.json:1:1: error: ") && out.contains("this looks like YAML"), "{out}");
    // The filter says the same of what Envoy hands over.
    let said = parse_plugin(read(BOOKS).as_bytes()).unwrap_err().to_string();
    assert!(said.contains("this looks like YAML"), "{said}");
}

#[test]
fn swagger_2_is_told_to_be_converted() {
    for text in ["swagger: '2.0'\npaths: {}", "{\"swagger\": \"2.0\", \"paths\": {}}"] {
        let run = scopegate_reading(text, &["import-openapi", "-"]);
        assert_eq!(run.code, 2);
        assert!(
            run.err.contains("Swagger 2.0 is not supported: convert the document to OpenAPI 3"),
            "{}",
            run.err
        );
    }
}

#[test]
fn what_yaml_readers_take_for_two_things_is_to_be_quoted() {
    for word in ["no", "yes", "on", "off", "y", "N", "No"] {
        let out = check_with("id: acme", &format!("id: {word}"));
        assert!(out.contains(&format!("a plain `{word}` is a string here and a boolean to Envoy")), "{out}");
        assert!(!check_with("id: acme", &format!("id: '{word}'")).contains("error: "), "{word}");
    }
    let out = check(&format!("{}max_token_bytes: 010000\n", read(BOOKS))).out;
    assert!(
        out.contains("max_token_bytes: a number that begins with 0 is decimal here and octal to Envoy"),
        "{out}"
    );
    // Where `off` is a choice, it is the same to both: Envoy hands `false` over.
    for off in ["off", "'off'", "false"] {
        let run = check(&format!("{}scope_enforcement: {off}\n", read(BOOKS)));
        assert_eq!(run.code, 0, "{off}: {}", run.out);
    }
}

#[test]
fn the_access_log_of_the_readme_leaves_the_query_out() {
    for file in ["README.md", "envoy.yaml", "deploy/envoy/envoy.yaml", "deploy/envoy/fleet.yaml"] {
        let text = read(file);
        for written in ["%REQ(:PATH)", "%REQ(X-ENVOY-ORIGINAL-PATH", "%REQ(:path)"] {
            assert!(!text.contains(written), "{file} writes {written}");
        }
    }
    assert!(read("README.md").contains("%REQ_WITHOUT_QUERY(:PATH)%"));
}

#[test]
fn the_shipped_access_logs_are_json_in_which_no_value_can_forge_a_field() {
    for file in ["envoy.yaml", "deploy/envoy/envoy.yaml", "deploy/envoy/fleet.yaml"] {
        let text = read(file);
        let envoy = scopegate::config::yaml_to_json(&text).unwrap();
        let formats: Vec<_> = find_all(&envoy, "log_format");
        assert!(!formats.is_empty(), "{file}");
        for format in formats {
            assert!(
                format.get("text_format").is_none() && format.get("text_format_source").is_none(),
                "{file}"
            );
            let record = &format["json_format"];
            assert_eq!(record["request_id"], "%REQ(X-REQUEST-ID)%", "{file}");
            assert_eq!(record["scopegate"], "%FILTER_STATE(wasm.scopegate.log:PLAIN)%", "{file}");
            // Nothing is read that is not set by default.
            let read =
                text.split("FILTER_STATE(wasm.scopegate.").skip(1).filter_map(|rest| rest.split(':').next());
            assert!(read.into_iter().all(|name| ["decision", "log"].contains(&name)), "{file}");
        }
    }
}

/// Every value of this key, however deep.
fn find_all<'v>(value: &'v serde_json::Value, key: &str) -> Vec<&'v serde_json::Value> {
    let children: Vec<_> = match value {
        serde_json::Value::Array(items) => items.iter().collect(),
        serde_json::Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    };
    value.get(key).into_iter().chain(children.into_iter().flat_map(|child| find_all(child, key))).collect()
}

/// The examples of a command's help, continued lines joined.
fn examples(help: &str) -> Vec<String> {
    let Some((_, examples)) = help.split_once("Examples:\n") else { return Vec::new() };
    let joined = examples.replace("\\\n", " ");
    joined.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_examples_of_every_help_can_be_pasted() {
    let home = scratch("paste");
    let place = |name: &str| home.join(name);
    for directory in [
        "filter-config",
        "gateway",
        "scopegate",
        "bin",
        "etc/bash_completion.d",
        ".config/fish/completions",
        "zsh",
    ] {
        fs::create_dir_all(place(directory)).unwrap();
    }
    fs::copy(Path::new(ROOT).join("filter-config/teamcenter.yaml"), place("filter-config/teamcenter.yaml"))
        .unwrap();
    fs::copy(Path::new(ROOT).join("envoy.yaml"), place("envoy.yaml")).unwrap();
    for name in ["gateway.yaml", "old.yaml", "new.yaml", "filter-config/gateway.yaml", "gateway/books.yaml"] {
        fs::write(place(name), read(BOOKS)).unwrap();
    }
    let case = "cases: [{name: one, request: GET /acme/books, expect: credential_missing}]\n";
    for name in ["filter-config/gateway_test.yaml", "gateway/books_test.yaml"] {
        fs::write(place(name), case).unwrap();
    }
    let spec = read("tests/fixtures/tool/openapi.yaml")
        .replace("partner_key", "api_key")
        .replace("oauth:", "oauth2:");
    let as_json = scopegate::config::yaml_to_json(&spec).unwrap().to_string();
    fs::write(place("petstore.yaml"), &spec).unwrap();
    fs::write(place("api.json"), &as_json).unwrap();
    for (from, to) in [("token.jwt", "token.jwt"), ("jwks.json", "jwks.json")] {
        fs::copy(Path::new(ROOT).join("tests/fixtures/tool").join(from), place(to)).unwrap();
    }
    let line = r#"{"event":"decision","decision":"deny","reason":"scope_not_granted","tenant":"acme","step":"scopes"}"#;
    fs::write(place("audit.log"), line).unwrap();
    fs::write(place("answer.json"), r#"{"active": true}"#).unwrap();
    // What the examples pipe from and to.
    for (name, script) in [
        ("helm", "true"),
        ("yq", "cat gateway.yaml"),
        ("git", "cat old.yaml"),
        ("curl", "cat petstore.yaml"),
        ("pbpaste", "cat token.jwt"),
        ("kubectl", "cat > /dev/null"),
        ("jq", "cat > /dev/null"),
        ("xdg-open", "true"),
    ] {
        let path = place("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        assert!(Command::new("chmod").arg("+x").arg(&path).status().unwrap().success());
    }
    let tool = Path::new(env!("CARGO_BIN_EXE_scopegate")).parent().unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", place("bin").display(), tool.display());
    let help = scopegate(&["--help"]).out;
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let commands = commands.take_while(|line| !line.is_empty()).filter_map(|line| {
        line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split_whitespace().next()
    });
    let mut pasted = 0;
    for command in commands.filter(|command| *command != "help") {
        for example in examples(&scopegate(&[command, "--help"]).out) {
            // Nobody answers there.
            if example.contains("--admin") {
                continue;
            }
            let line = example.replace("/etc/bash_completion.d", "etc/bash_completion.d");
            let line = line.replace("${fpath[1]}", "zsh");
            let output = Command::new("bash")
                .args(["-o", "pipefail", "-c", &line])
                .current_dir(&home)
                .env("PATH", &path)
                .env("HOME", &home)
                .output()
                .unwrap();
            // 1 is an answer too.
            let code = output.status.code().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(code < 2, "{example}: {code} {said}");
            pasted += 1;
        }
    }
    assert!(pasted > 15, "{pasted}");
}
