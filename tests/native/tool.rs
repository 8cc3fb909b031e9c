//! The companion tool as it is run: its output, its exit codes, its streams.

#![cfg(feature = "tool")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use base16ct::lower::encode_string as hex;
use scopegate_testing::harness::{Directory, handed};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// How a run ended, and what it said.
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// Runs the tool in the repository's root.
pub fn scopegate(arguments: &[&str]) -> Run {
    scopegate_reading("", arguments)
}

/// A server at a port on loopback, by its address: `answer` has the head of each request, and gives status and body, which is JSON.
/// Each answer leads elsewhere, too.
pub fn answering(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = Vec::new();
            let mut part = [0; 1024];
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                let length = connection.read(&mut part).unwrap();
                request.extend_from_slice(&part[..length]);
            }
            let (status, body) = answer(std::str::from_utf8(&request).unwrap());
            let head = format!(
                "HTTP/1.1 {status} -\r\nlocation: /elsewhere\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            connection.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        }
    });
    address
}

/// Runs the tool in the repository's root, with `input` on standard input.
pub fn scopegate_reading(input: &str, arguments: &[&str]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_scopegate"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

const BOOKS: &str = "tests/fixtures/tool/books.yaml";

#[test]
fn check_accepts_a_good_configuration_in_silence_but_for_the_verdict() {
    let run = scopegate(&["check", BOOKS]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(run.out, format!("{BOOKS}: valid, 0 errors, 0 warnings\n"));
}

#[test]
fn check_reports_every_error_with_place_and_suggestion_and_fails() {
    let bad = std::fs::read_to_string(BOOKS).unwrap().replace("[read, write]", "[raed, write]");
    let run = scopegate_reading(&bad, &["check", "-"]);
    assert_eq!(run.code, 1);
    let line = 1 + bad.lines().position(|line| line.contains("raed")).unwrap();
    let place = format!("<stdin>:{line}:");
    assert!(run.out.starts_with(&place), "{}", run.out);
    assert!(run.out.contains("did you mean `read`?"), "{}", run.out);

    let report = scopegate_reading(&bad, &["check", "--format", "json", "-"]).json();
    assert_eq!((&report["valid"], &report["errors"]), (&Value::Bool(false), &Value::from(1)));
    assert_eq!(report["findings"][0]["line"], line);
    assert_eq!(report["findings"][0]["suggestion"], "read");
}

#[test]
fn check_fails_for_warnings_only_where_they_are_denied() {
    let books = std::fs::read_to_string(BOOKS).unwrap();
    // Beside a guarded endpoint it would be an error.
    let (unguarded, _) = books.split_once("token_endpoints:").unwrap();
    let doubtful = format!("{unguarded}unmatched: allow\n");
    let run = scopegate_reading(&doubtful, &["check", "-"]);
    assert_eq!(run.code, 0);
    assert!(run.out.contains("warning: unmatched: "), "{}", run.out);
    assert_eq!(scopegate_reading(&doubtful, &["check", "--deny-warnings", "-"]).code, 1);
}

#[test]
fn check_reads_json_with_lines_and_columns() {
    let directory = Directory::new("tool");
    let file = directory.join("bad.json");
    std::fs::write(&file, "{\n  \"version\": 1,\n  \"tenants\": [],\n  \"providers\": {}\n}\n").unwrap();
    let run = scopegate(&["check", file.to_str().unwrap()]);
    assert_eq!(run.code, 1);
    assert!(run.out.contains("bad.json:3:14: error: tenants: "), "{}", run.out);
    std::fs::write(&file, "{\"version\": 1,}").unwrap();
    let run = scopegate(&["check", file.to_str().unwrap()]);
    assert!(run.out.contains("not JSON"), "{}", run.out);
}

#[test]
fn wrong_usage_and_unreadable_files_are_no_answer() {
    for arguments in
        [&["check"][..], &["chekc"], &["check", "/nowhere/at-all"], &["check", "--format", "xml", BOOKS]]
    {
        let run = scopegate(arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!run.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn colours_are_for_terminals_and_for_whoever_insists() {
    assert!(!scopegate(&["check", BOOKS]).out.contains('\u{1b}'));
    assert!(scopegate(&["check", BOOKS, "--color", "always"]).out.contains('\u{1b}'));
}

#[test]
fn every_command_has_help_with_examples() {
    let help = scopegate(&["--help"]);
    assert_eq!(help.code, 0);
    let commands = help.out.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        // What is indented further continues the line before.
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"check"));
    for command in commands.into_iter().filter(|command| *command != "help") {
        let run = scopegate(&[command, "--help"]);
        assert_eq!(run.code, 0, "{command}");
        assert!(run.out.contains("Examples:\n"), "{command}");
    }
}

#[test]
fn completions_are_there_for_the_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let run = scopegate(&["completions", shell]);
        assert_eq!(run.code, 0);
        assert!(run.out.contains("scopegate"), "{shell}");
    }
}

const TOKEN: &str = "tests/fixtures/tool/token.jwt";
const JWKS: &str = "corp=tests/fixtures/tool/jwks.json";

fn explain(arguments: &[&str]) -> Run {
    let usual = ["explain", "--config", BOOKS, "--now", "2026-11-22T12:00:00Z"];
    scopegate(&[&usual, arguments].concat())
}

#[test]
fn explain_tells_each_step_and_says_by_its_exit_code_whether_the_request_passes() {
    let run = explain(&["--path", "/acme/books", "--token", TOKEN, "--jwks", JWKS]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{}", run.out);
    for (number, step) in
        ["path", "operation", "credential", "token", "tenant", "scopes", "forward"].iter().enumerate()
    {
        assert!(run.out.contains(&format!("{} {step:<11}ok", number + 1)), "{step}: {}", run.out);
    }
    assert!(run.out.contains("\ndecision   allow\n"), "{}", run.out);

    let run = explain(&["--method", "POST", "--path", "/acme/books", "--token", TOKEN, "--jwks", JWKS]);
    assert_eq!(run.code, 1);
    assert!(run.out.contains("\ndecision   deny, scope_not_granted\n"), "{}", run.out);
    assert!(
        run.out.contains("\nto pass    the token has to carry, and the application be assigned: write\n")
    );

    let token = std::fs::read_to_string(TOKEN).unwrap();
    assert!(token.trim().split('.').all(|part| !run.out.contains(part)));
}

#[test]
fn explain_reads_the_token_from_standard_input_and_answers_in_json() {
    let token = std::fs::read_to_string(TOKEN).unwrap();
    let report = scopegate_reading(
        &token,
        &[
            "explain",
            "--config",
            BOOKS,
            "--path",
            "/globex/books",
            "--token",
            "-",
            "--jwks",
            JWKS,
            "--format",
            "json",
        ],
    );
    assert_eq!(report.code, 1);
    let report = report.json();
    assert_eq!(report["reason"], "tenant_mismatch");
    assert_eq!(report["stage"], "tenant");
    assert_eq!(report["answer"]["status"], 401);
    assert_eq!(report["steps"][5]["outcome"], "skipped");
}

#[test]
fn explain_has_no_answer_where_its_input_is_wrong() {
    for arguments in [
        &["--path", "/x", "--jwks", "nobody=tests/fixtures/tool/jwks.json"][..],
        &["--path", "/x", "--token", "/nowhere"],
        &["--path", "/x", "--now", "tomorrow"],
        &["--path", "/x", "--header", "nonsense"],
        &["--path", "/x", "--token", "-"],
        &[],
    ] {
        let run = explain(arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}");
    }
    let run = scopegate_reading("version: 2", &["explain", "--config", "-", "--path", "/x"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("<stdin>:1:10: version: must be 1, not 2"), "{}", run.err);
}

/// The documents of a YAML text.
fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n").map(|document| scopegate::config::yaml_to_json(document).unwrap()).collect()
}

#[test]
fn render_writes_the_json_that_the_filter_reads() {
    let run = scopegate(&["render", BOOKS]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let yaml = std::fs::read_to_string(BOOKS).unwrap();
    assert_eq!(run.json(), scopegate::config::yaml_to_json(&yaml).unwrap());
    assert!(scopegate::config::parse_plugin(run.out.as_bytes()).is_ok());
}

#[test]
fn render_hands_envoy_the_same_configuration_with_the_tripwire_behind_it() {
    let configuration = scopegate(&["render", BOOKS]).json();
    let run =
        scopegate(&["render", BOOKS, "--as", "envoy", "--vm-id", "books", "--wasm", "/etc/scopegate.wasm"]);
    let filters = documents(&run.out).remove(0);
    let plugin = &filters[0]["typed_config"]["config"];
    assert_eq!(plugin["failure_policy"], "FAIL_RELOAD");
    assert_eq!(plugin["vm_config"]["vm_id"], "books");
    assert_eq!(plugin["vm_config"]["code"]["local"]["filename"], "/etc/scopegate.wasm");
    assert_eq!(plugin["vm_config"]["environment_variables"]["host_env_keys"][0], "INTROSPECTION_SECRET");
    let text = plugin["configuration"]["value"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), configuration);
    // The very tripwire of the bootstrap in this repository.
    let bootstrap = scopegate::config::yaml_to_json(&std::fs::read_to_string("envoy.yaml").unwrap()).unwrap();
    let manager =
        &bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!(filters[1], manager["http_filters"][1]);

    let resource = documents(&scopegate(&["render", BOOKS, "--as", "ecds"]).out).remove(0);
    assert_eq!(resource["resources"][0]["typed_config"]["config"]["configuration"]["value"], text);
    // The filter logs the digest of the text that it is handed.
    let digest = hex(&Sha256::digest(text));
    assert_eq!(resource["version_info"], digest[..16]);
}

#[test]
fn render_hands_istio_the_same_configuration_with_the_tripwire_behind_it() {
    let run = scopegate(&["render", BOOKS, "--as", "istio", "--selector", "app=gateway"]);
    let documents = documents(&run.out);
    assert_eq!(documents[0]["spec"]["pluginConfig"], scopegate(&["render", BOOKS]).json());
    assert_eq!(documents[0]["spec"]["selector"]["matchLabels"]["app"], "gateway");
    assert_eq!(documents[0]["spec"]["vmConfig"]["env"][0]["valueFrom"], "HOST");
    assert_eq!(documents[1]["spec"]["configPatches"][0]["patch"]["value"]["name"], "scopegate-tripwire");
}

#[test]
fn render_hands_envoy_gateway_the_same_configuration_with_the_tripwire_behind_it() {
    let digest = "0123456789abcdef".repeat(4);
    let named = format!("sha256:{digest}");
    let image = ["--image", "oci://registry.example.com/scopegate:1", "--sha256", &named];
    let file = ["--image", "https://files.example.com/scopegate.wasm", "--sha256", &digest];
    for (code, kind, member, url) in [
        (image, "Image", "image", "registry.example.com/scopegate:1"),
        (file, "HTTP", "http", "https://files.example.com/scopegate.wasm"),
    ] {
        let place = ["--gateway", "public", "--listener", "https", "--namespace", "edge"];
        let arguments = [["render", BOOKS, "--as", "envoy-gateway"].as_slice(), &code, &place].concat();
        let documents = documents(&scopegate(&arguments).out);
        let wasm = &documents[0]["spec"]["wasm"][0];
        assert_eq!(wasm["config"], scopegate(&["render", BOOKS]).json());
        assert_eq!(wasm["code"], json!({"type": kind, member: {"url": url, "sha256": digest}}));
        assert_eq!(
            (&wasm["failOpen"], &wasm["env"]["hostKeys"][0]),
            (&json!(false), &json!("INTROSPECTION_SECRET"))
        );
        assert_eq!(documents[0]["spec"]["targetRefs"][0]["name"], "public");
        let patch = &documents[1]["spec"]["jsonPatches"][0];
        assert_eq!(patch["name"], "edge/public/https");
        assert_eq!(patch["operation"]["value"]["name"], "scopegate-tripwire");
    }
    for (option, value) in
        [("--sha256", "0123"), ("--image", "registry.example.com/scopegate:1"), ("--image", "oci://")]
    {
        assert_eq!(scopegate(&["render", BOOKS, option, value]).code, 2, "{option} {value}");
    }
}

#[test]
fn render_calls_a_cluster_what_the_proxy_calls_it() {
    let plain = scopegate(&["render", BOOKS]).out;
    let run = scopegate(&["render", BOOKS, "--cluster", "idp=outbound|443||login.example.com"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(
        run.json(),
        scopegate_reading(&plain.replace("\"idp\"", "\"outbound|443||login.example.com\""), &["render", "-"])
            .json()
    );
    assert!(plain.matches("\"idp\"").count() >= 2, "{plain}");
    let run = scopegate(&["render", BOOKS, "--cluster", "ipd=other"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.contains("no cluster is called `ipd`"), "{}", run.err);
}

#[test]
fn render_refuses_what_the_filter_would_refuse_and_notes_secrets() {
    let run = scopegate_reading("version: 1", &["render", "-"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.contains("missing key `providers`"), "{}", run.err);
    let inline =
        std::fs::read_to_string(BOOKS).unwrap().replace("{env: INTROSPECTION_SECRET}", "{value: hunter2}");
    let run = scopegate_reading(&inline, &["render", "-", "--as", "envoy"]);
    assert_eq!(run.code, 0);
    assert!(run.err.contains("holds a secret in clear"), "{}", run.err);
}

#[test]
fn diff_tells_the_audit_events_and_who_gains_access() {
    let new = std::fs::read_to_string(BOOKS)
        .unwrap()
        .replace("globex-sync, scopes: [read]", "globex-sync, scopes: [read, write]");
    let run = scopegate_reading(&new, &["diff", BOOKS, "-"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert!(
        run.out.contains("application.reassociated  tenant globex, provider corp, client globex-sync\n"),
        "{}",
        run.out
    );
    assert!(run.out.contains("scopes: +write\n"), "{}", run.out);
    assert!(
        run.out.contains(
            "+ gains globex globex-sync             books/add                 POST /{tenant}/books\n"
        ),
        "{}",
        run.out
    );

    let report = scopegate_reading(&new, &["diff", BOOKS, "-", "--format", "json"]).json();
    assert_eq!(report["events"][0]["event"], "application.reassociated");
    assert_eq!(report["access"][0]["change"], "gains");
    assert_eq!(report["settings"], serde_json::json!([]));
}

#[test]
fn diff_says_by_its_exit_code_whether_anything_differs_where_it_is_asked_to() {
    assert_eq!(scopegate(&["diff", BOOKS, BOOKS, "--exit-code"]).code, 0);
    let new = std::fs::read_to_string(BOOKS).unwrap().replace("realm: books", "realm: shelves");
    assert_eq!(scopegate_reading(&new, &["diff", BOOKS, "-"]).code, 0);
    assert_eq!(scopegate_reading(&new, &["diff", BOOKS, "-", "--exit-code"]).code, 1);
    assert_eq!(scopegate_reading("version: 2", &["diff", BOOKS, "-"]).code, 2);
    assert_eq!(scopegate(&["diff", "-", "-"]).code, 2);
}

#[test]
fn matrix_shows_a_tenant_as_text_and_all_as_csv() {
    let run = scopegate(&["matrix", BOOKS, "--tenant", "globex"]);
    assert_eq!(run.code, 0);
    let line = run.out.lines().find(|line| line.contains("books/add")).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>()[1..],
        ["POST", "/{tenant}/books", ".", "s", ".", "s", "."]
    );
    assert!(!run.out.contains("acme"));
    let csv = scopegate(&["matrix", BOOKS, "--format", "csv"]);
    assert_eq!(csv.out.lines().count(), 61);
    assert_eq!(scopegate(&["matrix", BOOKS, "--tenant", "nobody"]).code, 2);
}

#[test]
fn the_matrix_page_chooses_a_tenant_and_filters_in_a_browser() {
    let directory = Directory::new("matrix");
    let (page, profile) = (directory.join("matrix.html"), directory.join("profile"));
    let run = scopegate(&["matrix", BOOKS, "--format", "html", "-o", page.to_str().unwrap()]);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""));
    let address = format!("file://{}#tenant=globex&operations=add&callers=trial", page.display());
    let output = Command::new(handed("SCOPEGATE_CHROMIUM"))
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(address)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let dom = String::from_utf8(output.stdout).unwrap();
    let table = dom.split("<main>").nth(1).unwrap();
    assert!(dom.contains("1 of 6 operations, 2 tenants"), "{dom}");
    assert!(table.contains(r#"<h2 id="title">globex</h2>"#), "{table}");
    // One operation, and in its row one caller.
    assert_eq!(table.matches("<tr class=\"operation\"").count(), 1, "{table}");
    assert!(table.contains("<b>books/add</b>"), "{table}");
    assert_eq!(table.matches("<td class=\"cell ").count(), 1, "{table}");
    assert!(table.contains("title=\"globex-trial: shadow: scope_not_granted\""), "{table}");
}

#[test]
fn import_openapi_writes_suites_that_load_and_warns_of_what_it_refuses() {
    let spec = r#"{
      "openapi": "3.0.3", "info": {"title": "Books", "version": "1"}, "servers": [{"url": "/v1"}],
      "components": {"securitySchemes": {
        "oauth": {"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": "/t", "scopes": {"read": "See books"}}}},
        "key": {"type": "apiKey", "in": "header", "name": "k"}}},
      "paths": {"/books": {"get": {"tags": ["books"], "operationId": "list", "security": [{"oauth": ["read"]}]},
                           "post": {"tags": ["books"], "operationId": "add", "security": [{"key": []}]}}}
    }"#;
    let run = scopegate_reading(spec, &["import-openapi", "-"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(
        run.err,
        "<stdin>: warning: POST /books: refused to everybody: nothing here checks `key` (see --checked-elsewhere)\n"
    );
    assert!(
        run.out.contains(
            "- name: list\n        path: /v1/books\n        methods: [GET]\n        requires: [read]\n"
        ),
        "{}",
        run.out
    );
    let head = "version: 1\nproviders: {corp: {issuer: i, audiences: [a], local_jwks: {keys: []}}}\ntenants: [{id: acme, template: imported}]\n";
    let check = scopegate_reading(&format!("{head}{}", run.out), &["check", "-"]);
    assert_eq!(check.code, 0, "{}", check.out);
    assert!(check.out.contains("suites[0].operations[1]: nobody may call this operation"), "{}", check.out);
    assert_eq!(scopegate_reading(spec, &["import-openapi", "-", "--deny-warnings"]).code, 1);
    assert_eq!(scopegate_reading("swagger: '2.0'", &["import-openapi", "-"]).code, 2);
}

#[test]
fn the_examples_of_the_documentation_are_real() {
    let text = std::fs::read_to_string("docs/tool.md").unwrap();
    let examples: Vec<&str> =
        text.split("```console\n$ ").skip(1).map(|rest| rest.split("```\n").next().unwrap()).collect();
    assert!(examples.len() >= 8, "{}", examples.len());
    for example in examples {
        let (command, expected) = example.split_once('\n').unwrap();
        let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
        let run = scopegate(&arguments);
        let output = run.out + &run.err;
        match expected.strip_suffix("...\n") {
            Some(beginning) => assert!(output.starts_with(beginning), "{command}\n{output}"),
            None => assert_eq!(output, expected, "{command}"),
        }
    }
}

#[test]
fn a_decision_is_told_from_its_line_of_the_access_log_with_the_policy_of_its_digest() {
    let digest = {
        let bundled = scopegate(&["bundle", BOOKS]);
        bundled.err.split_whitespace().nth(2).unwrap().trim_end_matches(',').to_owned()
    };
    // As envoy.yaml has Envoy write it: the property stands in it as a text.
    let property = json!({
        "decision": "deny", "reason": "scope_not_granted", "tenant": "acme", "client": "acme-sync", "suite": "books",
        "operation": "add", "policy": digest,
    });
    let line = json!({
        "request_id": "5a1f", "method": "POST", "path": "/acme/books", "status": 403, "scopegate": property.to_string(),
    });
    let run = scopegate_reading(&line.to_string(), &["explain", "--config", BOOKS, "--from-log", "-"]);
    assert_eq!(run.code, 1, "{}", run.err);
    for said in [
        "decision      deny, scope_not_granted",
        &format!("policy        {digest}, which is the one at hand"),
        "request       5a1f",
        "called        POST",
        "client        acme-sync of corp, assigned: read write",
        "requires      write",
        "to pass       the token has to carry, and the application be assigned: write",
    ] {
        assert!(run.out.contains(said), "{said}\n{}", run.out);
    }
    assert_eq!(run.err, "");
    let parsed = scopegate_reading(
        &line.to_string(),
        &["explain", "--config", BOOKS, "--from-log", "-", "--format", "json"],
    );
    assert_eq!(parsed.json()["same_policy"], true, "{}", parsed.out);
    // A line without the property has nothing to tell.
    let other =
        scopegate(&["explain", "--config", BOOKS, "--from-log", "{\"status\": 403, \"scopegate\": null}"]);
    assert_eq!(other.code, 2);
    assert!(other.err.contains("the line has no facts of a decision"), "{}", other.err);
}

#[test]
fn warnings_of_an_import_that_are_alike_are_told_together_with_a_total() {
    let operations: String = (0..7)
        .map(|number| {
            format!(
                "  /{{org}}/feed{number}: {{get: {{operationId: feed{number}, security: [{{key: []}}]}}}}\n"
            )
        })
        .collect();
    let spec = format!(
        "openapi: 3.1.0\ninfo: {{title: Feeds, version: \"1\"}}\ncomponents: {{securitySchemes: {{key: {{type: apiKey, in: \
         header, name: x-key}}}}}}\npaths:\n{operations}  /{{org}}/open: {{get: {{operationId: open}}}}\n"
    );
    let run = scopegate_reading(&spec, &["import-openapi", "-", "--tenant-parameter", "org"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let lines: Vec<&str> = run.err.lines().collect();
    assert_eq!(lines.len(), 3, "{}", run.err);
    assert!(
        lines[0].starts_with(
            "<stdin>: warning: 7 operations (GET /{org}/feed0; GET /{org}/feed1; GET /{org}/feed2, …): refused to everybody"
        ),
        "{}",
        run.err
    );
    assert!(lines[1].starts_with("<stdin>: warning: GET /{org}/open: "), "{}", run.err);
    assert_eq!(lines[2], "<stdin>: warning: 8 warnings of 2 kinds");
    // Each stands as a comment at its operation nonetheless.
    assert_eq!(
        run.out.matches("# refused to everybody: nothing here checks `key`").count(),
        7,
        "{}",
        run.out
    );
}
