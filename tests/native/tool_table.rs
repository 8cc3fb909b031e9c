//! A table of many files, its bundle, and what is deployed, as the tool reads them.

#![cfg(feature = "tool")]

use std::fs;
use std::path::Path;

use base16ct::lower::encode_string as hex;
use scopegate_testing::harness;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::tool::{Run, answering, scopegate, scopegate_reading};

const BOOKS: &str = "tests/fixtures/tool/books.yaml";

/// A directory of one test's own with these files.
struct Directory(harness::Directory);

impl Directory {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let directory = Self(harness::Directory::new(name));
        files.iter().for_each(|(name, text)| directory.write(name, text));
        directory
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.0.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

const GATEWAY: &str = "version: 1
realm: books
providers:
  corp: {issuer: https://login.example.com, audiences: [books-api], remote_jwks: {uri: https://login.example.com/jwks.json, cluster: idp}}
tenant_templates:
  standard: {scopes: [{name: read}, {name: write}]}
";
const SUITES: &str = "suites:
  - name: books
    operations:
      - {name: list, path: \"/{tenant}/books\", methods: [GET], requires: [read]}
      - {name: add, path: \"/{tenant}/books\", methods: [POST], requires: [write]}
";
const ACME: &str = "# Books of ACME.
tenants:
  - id: acme
    template: standard
    applications: [{client_id: acme-sync, scopes: [read]}]
";
const GLOBEX: &str = r#"{"tenants": [{"id": "globex", "template": "standard",
  "applications": [{"client_id": "globex-sync", "scopes": ["read", "write"]}]}]}"#;

fn table(name: &str) -> Directory {
    Directory::new(
        name,
        &[
            ("gateway.yaml", GATEWAY),
            ("suites/books.yaml", SUITES),
            ("tenants/acme.yaml", ACME),
            ("tenants/globex.json", GLOBEX),
            // None of these is a part of it.
            ("tenants/acme_test.yaml", "cases: []"),
            (".git/config.yaml", "nothing: at all"),
            ("README.md", "no YAML"),
        ],
    )
}

#[test]
fn the_files_of_a_directory_are_one_table() {
    let table = table("merged");
    let run = scopegate(&["check", &table.path("")]);
    assert_eq!(run.code, 0, "{}", run.out);
    assert!(run.out.contains("valid, 0 errors"), "{}", run.out);
    let matrix = scopegate(&["matrix", &table.path(""), "--format", "csv"]).out;
    assert!(
        matrix.contains("acme,books,books/list") && matrix.contains("globex,books,books/add"),
        "{matrix}"
    );
    // Named one by one, or by a pattern, it is the same table.
    let bundle = scopegate(&["bundle", &table.path("")]).out;
    let named = scopegate(&[
        "bundle",
        &table.path("gateway.yaml"),
        &table.path("suites/*.yaml"),
        &table.path("tenants"),
    ]);
    assert_eq!(named.out, bundle, "{}", named.err);
    // A link that leads back is not followed.
    std::os::unix::fs::symlink("..", table.0.join("tenants/back")).unwrap();
    assert_eq!(scopegate(&["bundle", &table.path("")]).out, bundle);
}

#[test]
fn an_error_names_the_file_the_line_and_the_column_that_it_is_in() {
    let table = table("errors");
    table.write("tenants/acme.yaml", &ACME.replace("[read]", "[raed]"));
    table.write("tenants/globex.json", &GLOBEX.replace("\"template\"", "\"templat\""));
    let run = scopegate(&["check", &table.path("")]);
    assert_eq!(run.code, 1);
    let place = |file: &str, place: &str| format!("{}:{place}: error: ", table.path(file));
    assert!(run.out.contains(&place("tenants/acme.yaml", "5:52")), "{}", run.out);
    assert!(run.out.contains("did you mean `read`?"), "{}", run.out);
    assert!(run.out.contains(&place("tenants/globex.json", "1:31")), "{}", run.out);
    // So does one that is no YAML at all.
    table.write("tenants/acme.yaml", "tenants: [\n");
    let run = scopegate(&["check", &table.path("")]);
    assert!(run.out.contains(&format!("{}:", table.path("tenants/acme.yaml"))), "{}", run.out);
}

#[test]
fn what_stands_in_two_files_is_an_error_that_names_both() {
    for (file, text, message) in [
        ("tenants/z.yaml", "tenants: [{id: acme, template: standard}]\n", "tenant `acme` stands in "),
        ("z.yaml", "providers:\n  corp: {issuer: https://other.example.com}\n", "provider `corp` stands in "),
        ("z.yaml", "tenant_templates:\n  standard: {}\n", "template `standard` stands in "),
        ("z.yaml", "suites: [{name: books, operations: []}]\n", "suite `books` stands in "),
        ("z.yaml", "realm: other\n", "realm: the key stands in "),
        ("z.yaml", "version: 2\n", "version: the key stands in "),
        ("z.yaml", "- a list\n", "a part of a table is a map"),
    ] {
        let table = table("twice");
        table.write(file, text);
        let run = scopegate(&["check", &table.path("")]);
        assert_eq!(run.code, 1, "{text}: {}", run.out);
        let line = run.out.lines().find(|line| line.contains(message));
        let line = line.unwrap_or_else(|| panic!("{text}: {}", run.out));
        assert!(line.starts_with(&format!("{}:", table.path(file))), "{line}");
        if message.ends_with("stands in ") {
            assert!(line.matches(&table.path("")[..]).count() > 1, "both are named: {line}");
            assert!(line.ends_with("[SG1201]"), "{line}");
        }
    }
}

#[test]
fn several_configurations_are_checked_one_by_one() {
    let run = scopegate(&["check", BOOKS, "filter-config/teamcenter.yaml"]);
    assert_eq!(run.code, 0);
    assert_eq!(run.out.matches(": valid, 0 errors").count(), 2, "{}", run.out);
}

#[test]
fn a_bundle_is_the_same_each_time_in_both_forms_and_comes_back() {
    let table = table("bundle");
    let bundle = |arguments: &[&str]| -> Run {
        let path = table.path("");
        scopegate(&[&["bundle", &path], arguments].concat())
    };
    let (plain, compact) = (bundle(&[]), bundle(&["--compact"]));
    assert_eq!((bundle(&[]).out, bundle(&["--compact"]).out), (plain.out.clone(), compact.out.clone()));
    assert_eq!(plain.err, compact.err, "they have one digest");
    let file = table.path("policy.out");
    assert_eq!(bundle(&["-o", &file]).code, 0);
    let digest = hex(&Sha256::digest(fs::read(&file).unwrap()));
    assert!(
        plain.err.starts_with(&format!("scopegate: policy {}, 2 tenants, 2 operations", &digest[..16])),
        "{}",
        plain.err
    );

    // The filter's own reader takes both, and comes to that digest.
    for text in [fs::read_to_string(&file).unwrap(), compact.out.trim_end().to_owned()] {
        let loaded = scopegate::config::parse_plugin(text.as_bytes()).unwrap();
        assert_eq!(&*loaded.policy.short_digest, &digest[..16]);
    }
    // Every command reads the compact form as well.
    let packed = Directory::new("packed", &[("policy.json", &compact.out)]);
    let packed = packed.path("policy.json");
    assert_eq!(scopegate(&["check", &packed]).code, 0);
    assert_eq!(scopegate(&["diff", &table.path(""), &packed, "--exit-code"]).code, 0);
    let yaml = scopegate(&["unbundle", &packed]).out;
    assert!(yaml.starts_with("version: 1\nrealm: books\nproviders:\n"), "{yaml}");
    let again = scopegate_reading(&yaml, &["bundle", "-"]);
    assert_eq!(again.out, plain.out);
    let wrong = scopegate_reading(&compact.out.replacen("H4sI", "H4sJ", 1), &["check", "-"]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.out.contains("error: compact: not gzip"), "{}", wrong.out);
}

#[test]
fn every_form_that_is_rendered_is_read_again_plain_and_compact() {
    for form in ["envoy", "ecds", "istio", "envoy-gateway"] {
        for compact in [&["--compact"][..], &[]] {
            let rendered = scopegate(&[&["render", BOOKS, "--as", form], compact].concat());
            assert_eq!(rendered.code, 0, "{form}: {}", rendered.err);
            assert_eq!(rendered.out.contains("compact"), !compact.is_empty(), "{form}");
            let directory = Directory::new(form, &[("deployed.yaml", &rendered.out)]);
            let deployed = directory.path("deployed.yaml");
            let run = scopegate(&["check", &deployed]);
            assert_eq!(run.code, 0, "{form}: {}", run.out);
            let diff = scopegate(&["diff", BOOKS, &deployed, "--exit-code"]);
            assert_eq!(diff.code, 0, "{form}: {}", diff.out);
            let explained = scopegate(&["explain", "--config", &deployed, "--path", "/health"]);
            assert_eq!(explained.code, 0, "{form}: {}", explained.err);
        }
    }
    let extension = json!({
        "apiVersion": "extensions.istio.io/v1alpha1", "kind": "TrafficExtension",
        "metadata": {"name": "scopegate"},
        "spec": {"wasm": {"url": "oci://x/y", "pluginConfig": scopegate::config::yaml_to_json(&fs::read_to_string(BOOKS).unwrap()).unwrap()}},
    });
    let run = scopegate_reading(&extension.to_string(), &["check", "-"]);
    assert_eq!((run.code, run.out.contains("valid, 0 errors")), (0, true), "{}", run.out);
}

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn what_stands_around_the_filter_is_checked() {
    let envoy = text("envoy.yaml");
    let changed = |from: &str, to: &str| {
        assert!(envoy.contains(from), "{from}");
        scopegate_reading(&envoy.replace(from, to), &["check", "-"])
    };
    for (from, to, severity, message) in [
        ("failure_policy: FAIL_RELOAD", "failure_policy: FAIL_OPEN", "error", "lets every request through"),
        ("failure_policy: FAIL_RELOAD", "fail_open: true", "error", "lets every request through"),
        ("failure_policy: FAIL_RELOAD", "allow_on_headers_stop_iteration: false", "warning", "is not set"),
        ("vm_id: scopegate", "vm_id: \"\"", "warning", "is blank: workers share"),
        ("wasm.scopegate.decision, string_match", "other, string_match", "warning", "there is no tripwire"),
        (
            "    - name: idp #",
            "    - name: idq #",
            "error",
            "the proxy has no cluster `idp`; did you mean `idq`?",
        ),
    ] {
        let run = changed(from, to);
        let line = run.out.lines().find(|line| line.contains(message));
        let line = line.unwrap_or_else(|| panic!("{to}: {}", run.out));
        assert!(line.contains(&format!(": {severity}: ")), "{line}");
        assert_eq!(run.code, i32::from(severity == "error"), "{line}");
        assert!(line.contains("[SG3"), "{line}");
    }
    let run = scopegate_reading(
        &text("deploy/istio/scopegate.yaml").replace("FAIL_RELOAD", "FAIL_OPEN"),
        &["check", "-"],
    );
    assert!(run.out.contains("spec.failStrategy: `FAIL_OPEN` lets every request through"), "{}", run.out);
}

/// An administration interface that answers every request with `dump`.
fn admin(dump: &Value) -> String {
    let body = dump.to_string();
    answering(move |request| {
        assert!(request.starts_with("GET /config_dump"), "{request}");
        (200, body.clone())
    })
}

#[test]
fn a_running_envoy_is_asked_what_it_has() {
    let bootstrap = scopegate::config::yaml_to_json(&text("envoy.yaml")).unwrap();
    let listener = bootstrap["static_resources"]["listeners"][0].clone();
    let clusters: Vec<Value> = bootstrap["static_resources"]["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cluster| json!({"cluster": cluster}))
        .collect();
    let dump = json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": bootstrap},
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "static_clusters": clusters},
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "static_listeners": [{"listener": listener}]},
    ]});
    let address = admin(&dump);
    let run = scopegate(&["check", "--admin", &address]);
    assert_eq!((run.code, run.out), (0, format!("{address}: valid, 0 errors, 0 warnings\n")));
    let plan = scopegate(&["diff", "--admin", &address, "envoy.yaml", "--exit-code"]);
    assert_eq!(plan.code, 0, "{}{}", plan.out, plan.err);
    let explained = scopegate(&["explain", "--admin", &address, "--path", "/health"]);
    assert_eq!(explained.code, 0, "{}", explained.err);
    let matrix = scopegate(&["matrix", "--admin", &address, "--tenant", "tenant1"]);
    assert_eq!(matrix.code, 0, "{}", matrix.err);

    for (url, message) in [
        ("http://127.0.0.1:1", "no answer"),
        ("127.0.0.1:9901", "begins with `http://`"),
        ("https://127.0.0.1:9901", "begins with `http://`"),
    ] {
        let run = scopegate(&["check", "--admin", url]);
        assert_eq!(run.code, 2);
        assert!(run.err.contains(message), "{}", run.err);
    }
}

#[test]
fn machines_get_sarif_junit_and_annotations() {
    let table = table("formats");
    table.write("tenants/acme.yaml", &ACME.replace("[read]", "[raed]"));
    let check = |format| scopegate(&["check", &table.path(""), "--format", format]).out;
    let sarif: Value = serde_json::from_str(&check("sarif")).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&sarif["version"], &result["ruleId"]), (&json!("2.1.0"), &json!("SG1203")));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], table.path("tenants/acme.yaml"));
    assert_eq!(place["region"], json!({"startLine": 5, "startColumn": 52}));
    assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][0]["id"], "SG1203");
    assert!(check("junit").contains("<testsuite name=\"scopegate check\" tests=\"1\" failures=\"1\""));
    let annotation = check("github");
    let expected = format!("::error file={},line=5,col=52,title=SG1203::", table.path("tenants/acme.yaml"));
    assert!(annotation.starts_with(&expected), "{annotation}");
}

#[test]
fn codes_are_explained_and_documented() {
    let run = scopegate(&["explain-code", "sg1203"]);
    assert_eq!(run.code, 0);
    assert!(run.out.starts_with("SG1203: A reference leads nowhere\n\n"), "{}", run.out);
    let run = scopegate(&["explain-code", "SG1230"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("did you mean `SG"), "{}", run.err);
    assert_eq!(
        scopegate(&["explain-code", "--all"]).out,
        text("docs/codes.md"),
        "`scopegate explain-code --all > docs/codes.md`"
    );
}
