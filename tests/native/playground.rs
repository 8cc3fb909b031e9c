//! The playground and the documentation as a site, as a headless Chromium sees them.

#![cfg(feature = "tool")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use scopegate::config::{parse_yaml, yaml_to_json};
use scopegate::respond::Reason;
use scopegate_testing::mint::Signer;
use serde_json::{Value, json};

use crate::tool::{scopegate, scopegate_reading};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn built(variable: &str) -> PathBuf {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `make test`")).into()
}

/// What the browser saw of both.
fn seen(playground: &Path, documentation: &Path, pasted: &Value) -> Value {
    let output = Command::new("node")
        .arg(Path::new(ROOT).join("tests/browser/playground.mjs"))
        .args([playground, documentation])
        .env("SCOPEGATE_CHROMIUM", built("SCOPEGATE_CHROMIUM"))
        .env("SCOPEGATE_PASTED", pasted.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// By case file and case: the decision, or the reason against it, as the tool has it.
fn decided_by_the_tool() -> BTreeMap<String, BTreeMap<String, (String, Option<String>)>> {
    let run = scopegate(&["test", "--format", "json", "filter-config/"]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let files = report["files"].as_array().unwrap().iter().map(|file| {
        let name = file["file"].as_str().unwrap();
        let system = name.strip_prefix("filter-config/").and_then(|name| name.strip_suffix("_test.yaml"));
        let cases = file["cases"].as_array().unwrap().iter().map(|case| {
            (text(&case["name"]).unwrap(), (text(&case["decision"]).unwrap(), text(&case["reason"])))
        });
        (system.unwrap().to_owned(), cases.collect())
    });
    files.collect()
}

fn milliseconds(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn the_playground_decides_as_the_tool_does_and_the_documentation_leads_to_it() {
    let (token, jwks) = (read("tests/fixtures/tool/token.jwt"), read("tests/fixtures/tool/jwks.json"));
    // Of an issuer that the first configuration knows, by a key that it does not have.
    let payload = json!({"iss": "https://login.example.com", "aud": "billing-api", "tenant_id": "acme", "sub": "x",
        "client_id": "acme-sync", "scope": "billing:read", "exp": 4_000_000_000_u32});
    let other = Signer::new("ES256", "2026", 1).mint(json!({}), &payload);
    let pasted = json!({"token": token.trim(), "jwks": jwks, "other": other, "config": read("tests/fixtures/tool/books.yaml")});
    let directory = built("SCOPEGATE_PLAYGROUND");
    let seen = seen(&directory, &built("SCOPEGATE_DOCS"), &pasted);
    assert_eq!((&seen["errors"], &seen["elsewhere"]), (&json!([]), &json!([])), "{seen:#}");

    // Every case of the five systems.
    let systems = decided_by_the_tool();
    assert_eq!(systems.len(), 5);
    for (system, cases) in &systems {
        let rows = seen["systems"][system].as_array().unwrap();
        assert_eq!(rows.len(), cases.len(), "{system}");
        for row in rows {
            let name = row["name"].as_str().unwrap();
            let (decision, reason) = &cases[name];
            assert_eq!(row["ok"], true, "{system}: {name}");
            assert_eq!(&row["came"], reason.as_deref().unwrap_or(decision), "{system}: {name}");
        }
        let opened = seen["opened"][system].as_object().unwrap();
        assert!(opened.len() >= 7, "{system}: {opened:?}");
        for (name, shown) in opened {
            let (decision, reason) = &cases[name];
            let word = match &**decision {
                "allow" => "Allowed",
                "shadow" => "Passed in shadow",
                _ => "Refused",
            };
            assert_eq!(shown["outcome"], word, "{system}: {name}: {shown}");
            assert_eq!(shown["reason"].as_str(), reason.as_deref(), "{system}: {name}: {shown}");
            assert_eq!(shown["expected"], "as the case expects", "{system}: {name}: {shown}");
        }
    }

    // Errors, where they are.
    let findings = seen["findings"].as_array().unwrap();
    assert_eq!(
        findings[0],
        "4:5providers.corp: missing key audiences; only allow_any_audience: true makes up for it",
        "{findings:?}"
    );
    assert!(
        findings
            .iter()
            .any(|one| one.as_str().unwrap().contains("unknown key audience; did you mean audiences?")),
        "{findings:?}"
    );
    assert_eq!(seen["verdict"], "2 errors");
    assert!(seen["underlined"].as_array().unwrap().contains(&json!("audience")), "{}", seen["underlined"]);
    assert_eq!(seen["undecided"]["outcome"], "No decision");
    assert!(seen["cursor"].as_str().unwrap().starts_with("audience"), "{}", seen["cursor"]);
    assert_eq!(seen["mended"], "valid");
    assert_eq!(seen["completions"][0], "unmatched");
    assert_eq!(seen["values"], json!(["allow"]));
    assert!(seen["help"].as_str().unwrap().contains("required_evidence"), "{}", seen["help"]);

    // Tokens that are pasted.
    let tokens = &seen["pasted"];
    assert_eq!(tokens["garbage"]["reason"], "credential_malformed");
    assert!(tokens["garbage"]["decoded"].as_str().unwrap().contains("no JWT"), "{tokens:#}");
    assert_eq!(tokens["strange"]["reason"], "key_not_found");
    assert!(
        tokens["strange"]["decoded"].as_str().unwrap().contains("\"client_id\": \"acme-sync\""),
        "{tokens:#}"
    );
    assert!(tokens["strange"]["remedy"].as_str().unwrap().len() > 20, "{tokens:#}");
    assert_eq!(tokens["good"]["outcome"], "Allowed", "{tokens:#}");
    assert_eq!(tokens["changed"]["reason"], "signature_invalid", "{tokens:#}");

    // A link, the keyboard, paper, a file.
    assert_eq!(seen["link"]["before"], seen["link"]["after"]);
    assert_eq!(seen["link"]["after"]["path"], "/acme/books?page=2");
    assert_eq!(seen["link"]["after"]["matrix"], 7);
    assert!(seen["link"]["length"].as_u64().unwrap() < 8_000, "{}", seen["link"]["length"]);
    assert_eq!(seen["firstStop"], "Skip to the decision");
    assert_eq!((&seen["arrow"], &seen["tabLeaves"]), (&json!("Who can call what"), &json!(true)));
    assert!(seen["difference"].as_str().unwrap().contains("+ gains"), "{}", seen["difference"]);
    assert_eq!(
        (&seen["print"]["editor"], &seen["print"]["config"], &seen["print"]["steps"]),
        (&json!(false), &json!(true), &json!(true))
    );
    assert_eq!(seen["disk"]["reason"], "token_expired", "{}", seen["disk"]);

    // The documentation.
    assert_eq!(seen["search"][0], "token_expired", "{}", seen["search"]);
    let page = seen["reason"].as_str().unwrap();
    let parts = ["HTTP/1.1 401", "\"reason\": \"token_expired\"", "client", "Get a new token", "Try it here"];
    assert!(parts.iter().all(|part| page.contains(part)), "{page}");
    assert_eq!(seen["embedded"], "token_expired");
    let page = seen["key"].as_str().unwrap();
    assert!(
        ["at least one", "In use", "audiences: [billing-api]"].iter().all(|part| page.contains(part)),
        "{page}"
    );

    // For everybody.
    assert_eq!(seen["axe"], json!([]), "{:#}", seen["axe"]);
    for (which, width) in seen["overflow"].as_object().unwrap() {
        let limit = which.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        assert!(width.as_u64().unwrap() <= limit, "{which}: {width}");
    }

    // What the page may do: its own scripts, WebAssembly, and no way to anybody.
    let page = fs::read_to_string(directory.join("index.html")).unwrap();
    assert!(
        page.contains(
            "content=\"default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src blob:;"
        ),
        "{page}"
    );
    assert!(
        !page.contains("'unsafe-eval'") && !page.contains("'unsafe-inline'") && !page.contains("connect-src"),
        "{page}"
    );

    // Fast. Other tests run beside this one, so that the best of several counts.
    assert!(milliseconds(&seen["firstPaint"]) < 1_000.0, "{}", seen["firstPaint"]);
    println!("decision as one types, in ms: {}; first paint {}", seen["decision"], seen["firstPaint"]);
    assert!(milliseconds(&seen["decision"]["fastest"]) < 50.0, "{}", seen["decision"]);
    let core = fs::metadata(directory.join("core.js")).unwrap().len() * 3 / 4;
    assert!(core < 1 << 20, "the core takes {core} bytes compressed");
}

#[test]
fn a_question_is_answered_natively_as_in_the_page() {
    let question = json!({
        "config": read("playground/examples/reasons.yaml"), "cases": read("playground/examples/reasons_test.yaml"),
        "open": "scope_not_granted",
    });
    let run = scopegate_reading(&question.to_string(), &["answer"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let answer: Value = serde_json::from_str(&run.out).unwrap();
    let opened = &answer["cases"]["opened"];
    assert_eq!(opened["token"]["claims"]["exp"], "{now+5m}");
    assert_eq!(opened["token"]["claims"]["scope"], "acme.read");
    // Handed back with the keys that were made, the token is verified by the same.
    let mut case = opened.clone();
    case["token"]["claims"]["scope"] = json!("acme.write");
    let question = json!({"config": question["config"], "case": case, "keys": answer["keys"], "check": true});
    let run = scopegate_reading(&question.to_string(), &["answer"]);
    let decided: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(decided["decision"]["decision"], "allow", "{decided:#}");
    assert_eq!(decided["keys"], answer["keys"]);
    // A question that is none has no answer.
    assert_eq!(scopegate_reading("{\"konfig\": \"\"}", &["answer"]).code, 2);
}

#[test]
fn each_reason_has_an_example_and_every_example_does_what_its_cases_say() {
    let run = scopegate(&["test", "--format", "json", "playground/examples/reasons_test.yaml"]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    let cases = report["files"][0]["cases"].as_array().unwrap();
    for reason in Reason::ALL {
        let name = reason.as_str();
        let case = cases.iter().find(|case| case["name"] == name);
        // What one request cannot show.
        if ["proof_replayed", "introspection_overloaded"].contains(&name) {
            assert!(case.is_none(), "{name}");
            continue;
        }
        assert_eq!(case.unwrap_or_else(|| panic!("no case is called {name}"))["reason"], name);
    }
    let (_, behind) =
        include_str!("../../README.md").split_once("<!-- tested: readme-first -->\n```yaml\n").unwrap();
    let first = Path::new(env!("CARGO_TARGET_TMPDIR")).join("first-configuration.yaml");
    fs::write(&first, behind.split_once("```").unwrap().0).unwrap();
    let run =
        scopegate(&["test", "--config", first.to_str().unwrap(), "playground/examples/first_test.yaml"]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
}

/// The examples in YAML of a document, with the line that each begins in.
fn examples(document: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inside: Option<(usize, String, String)> = None;
    for (number, line) in (1..).zip(document.lines()) {
        let margin: String = line.chars().take_while(|c| *c == ' ').collect();
        match &mut inside {
            None if line.trim() == "```yaml" => inside = Some((number, margin, String::new())),
            None => {}
            Some((begun, _, text)) if line.trim() == "```" => {
                found.push((*begun, std::mem::take(text)));
                inside = None;
            }
            Some((_, margin, text)) => {
                text.push_str(line.strip_prefix(margin.as_str()).unwrap_or(line));
                text.push('\n');
            }
        }
    }
    found
}

/// A part of a configuration is valid in place of that of a whole one; what is no part of one is a part of what another test
/// runs.
#[test]
fn every_example_in_yaml_is_a_valid_configuration_or_belongs_to_a_test() {
    let schema: Value = serde_json::from_str(&read("filter-config/schema.json")).unwrap();
    let known = schema["properties"].as_object().unwrap();
    let whole = yaml_to_json(&read("tests/fixtures/tool/books.yaml")).unwrap();
    // By its first key: what stands in Envoy's files, which `first_day` and the end-to-end tests hold.
    let others = ["json_format", "listeners", "typed_extension_protocol_options", "resources"];
    let mut valid = 0;
    let mut documents = vec!["README.md".to_owned()];
    for directory in ["docs", "docs/issuers"] {
        let entries = fs::read_dir(Path::new(ROOT).join(directory)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        documents
            .extend(names.filter(|name| name.ends_with(".md")).map(|name| format!("{directory}/{name}")));
    }
    for document in documents {
        for (line, text) in examples(&read(&document)) {
            // The files of a table, which `tool_table` puts together.
            if text.starts_with("# gateway/") {
                continue;
            }
            let example = yaml_to_json(&text).unwrap_or_else(|error| panic!("{document}:{line}: {error}"));
            let members = example.as_object().unwrap();
            if members.contains_key("cases") {
                let cases = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documented_test.yaml");
                fs::write(&cases, &text).unwrap();
                // A file of a worked configuration's cases names that in its first words.
                let names = text.split_whitespace().map(|word| format!("filter-config/{word}"));
                let own =
                    names.take(5).find(|name| name.ends_with(".yaml") && Path::new(ROOT).join(name).exists());
                let config = own.as_deref().unwrap_or("tests/fixtures/tool/books.yaml");
                let run = scopegate(&["test", "--config", config, cases.to_str().unwrap()]);
                assert_eq!(run.code, 0, "{document}:{line}: {}{}", run.out, run.err);
                continue;
            }
            let Some(first) = members.keys().next() else { continue };
            if !members.keys().all(|key| known.contains_key(key)) {
                assert!(others.contains(&&**first), "{document}:{line}: `{first}` belongs to no test");
                continue;
            }
            if parse_yaml(&text).is_err() {
                let mut merged = whole.clone();
                merged.as_object_mut().unwrap().extend(members.clone());
                let merged = merged.to_string();
                parse_yaml(&merged).unwrap_or_else(|errors| panic!("{document}:{line}: {errors}"));
            }
            valid += 1;
        }
    }
    assert!(valid > 14, "{valid}");
}
