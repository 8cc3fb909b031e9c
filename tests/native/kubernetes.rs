//! The Helm chart and the bases for kustomize, by the real Helm and the kustomize in the real kubectl: what they make is what the
//! tool renders, and valid.

#![cfg(feature = "tool")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use scopegate::config::yaml_to_json;
use serde_json::{Value, json};

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");
pub const TOOL: &str = env!("CARGO_BIN_EXE_scopegate");
pub const CHART: &str = "deploy/helm/scopegate";
/// What Istio calls the issuer's cluster.
const CLUSTER: &str = "idp=outbound|443||login.example.com";

/// The directory of helm and kubectl, which `make test` names.
pub fn kubernetes() -> PathBuf {
    let named = std::env::var_os("SCOPEGATE_KUBERNETES");
    let directory = named.map_or_else(|| Path::new(ROOT).join(".env/kubernetes"), PathBuf::from);
    assert!(
        directory.join("helm").is_file(),
        "no helm in {}: run `make .env/kubernetes`",
        directory.display()
    );
    directory
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let path = match program {
        "helm" | "kubectl" => kubernetes().join(program),
        other => other.into(),
    };
    Command::new(&path)
        .args(arguments)
        .current_dir(ROOT)
        .output()
        .unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

pub fn successful(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The documents of a YAML text, in an order of their own.
pub fn documents(text: &str) -> Vec<Value> {
    let mut documents: Vec<Value> = format!("\n{text}")
        .split("\n---\n")
        .filter(|document| document.lines().any(|line| !line.is_empty() && !line.starts_with('#')))
        .map(|document| yaml_to_json(document).unwrap_or_else(|errors| panic!("{errors}\n{document}")))
        .collect();
    documents
        .sort_by_key(|document| (document["kind"].to_string(), document["metadata"]["name"].to_string()));
    documents
}

pub fn write(name: &str, text: &str) -> String {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What the chart makes of `deploy/policy.yaml`.
fn template(policy: &str, more: &[&str]) -> Vec<Value> {
    let policy = format!("policy={policy}");
    let arguments = ["template", "scopegate", CHART, "--set-file", &policy];
    let environment = ["--set-json", r#"env=["INTROSPECTION_SECRET"]"#];
    documents(&successful("helm", &[&arguments[..], &environment, more].concat()))
}

/// Each platform, as the chart and the tool call it, and the clusters that the tool renames for it.
const PLATFORMS: [(&str, &[&str]); 3] = [
    ("istio", &["--cluster", CLUSTER]),
    ("istio-traffic-extension", &["--cluster", CLUSTER]),
    ("envoy-gateway", &[]),
];

const IMAGE: [&str; 2] = ["--image", "oci://registry.example.com/scopegate:0.1.0"];

#[test]
fn chart_and_bases_make_what_the_tool_renders_and_all_of_it_is_valid() {
    let mut made = Vec::new();
    for (platform, clusters) in PLATFORMS {
        let render = ["render", "deploy/policy.yaml"];
        let rendered = successful(TOOL, &[&render[..], clusters, &["--as", platform], &IMAGE].concat());
        let policy = successful(TOOL, &[&render[..], clusters].concat());
        let path = write(&format!("{platform}.json"), &policy);
        let platform_is = format!("platform={platform}");
        let chart = template(&path, &["--set", &platform_is]);
        let (dashboard, chart): (Vec<Value>, Vec<Value>) =
            chart.into_iter().partition(|document| document["kind"] == "ConfigMap");
        assert_eq!(chart, documents(&rendered), "the chart for {platform}");
        let json: Value =
            serde_json::from_str(dashboard[0]["data"]["scopegate.json"].as_str().unwrap()).unwrap();
        assert_eq!(json["uid"], "scopegate");

        let base = documents(&successful("kubectl", &["kustomize", &format!("deploy/{platform}")]));
        let of_the_tool = |document: &&Value| document["metadata"]["name"] != "scopegate-issuer";
        let base: Vec<&Value> = base.iter().filter(of_the_tool).collect();
        assert_eq!(base, documents(&rendered).iter().collect::<Vec<_>>(), "the base for {platform}");

        for (name, documents) in [("chart", &chart), ("dashboard", &dashboard)] {
            for (index, document) in documents.iter().enumerate() {
                made.push(write(&format!("{platform}-{name}-{index}.yaml"), &document.to_string()));
            }
        }
    }
    let overlay = documents(&successful("kubectl", &["kustomize", "deploy/kustomize"]));
    assert_eq!(overlay.len(), 5);
    for (index, document) in overlay.iter().enumerate() {
        made.push(write(&format!("overlay-{index}.yaml"), &document.to_string()));
    }
    let files: Vec<&str> = made.iter().map(String::as_str).collect();
    successful("node", &[&["tests/deploy/validate.mjs"][..], &files].concat());
}

#[test]
fn a_configuration_is_put_into_a_base_once_it_is_checked() {
    let tenants = "deploy/policy.yaml";
    let patch = |base: &str, policy: &str| run("deploy/kustomize/policy.sh", &[TOOL, policy, base]);
    for (base, path) in [
        ("istio", "/spec/pluginConfig"),
        ("istio-traffic-extension", "/spec/wasm/pluginConfig"),
        ("envoy-gateway", "/spec/wasm/0/config"),
    ] {
        let output = patch(base, tenants);
        let patch: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&patch[0]["op"], &patch[0]["path"]), (&json!("replace"), &json!(path)));
        assert_eq!(patch[0]["value"]["tenants"].as_array().unwrap().len(), 2);
        // kustomize takes it, and the place is there.
        let overlay =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes").join(format!("overlay-{base}"));
        fs::create_dir_all(&overlay).unwrap();
        fs::write(overlay.join("policy.yaml"), &output.stdout).unwrap();
        let up = "../".repeat(overlay.strip_prefix(ROOT).unwrap().components().count());
        let kind =
            if base == "envoy-gateway" { "EnvoyExtensionPolicy" } else { "WasmPlugin|TrafficExtension" };
        fs::write(
            overlay.join("kustomization.yaml"),
            format!("resources: [{up}deploy/{base}]\npatches: [{{path: policy.yaml, target: {{kind: \"{kind}\"}}}}]\n"),
        )
        .unwrap();
        successful("kubectl", &["kustomize", overlay.to_str().unwrap()]);
    }
    let shipped = fs::read(Path::new(ROOT).join("deploy/kustomize/policy.yaml")).unwrap();
    let output = run("deploy/kustomize/policy.sh", &[TOOL, tenants, "istio", "--cluster", CLUSTER]);
    assert!(output.stdout == shipped, "deploy/kustomize/policy.sh writes deploy/kustomize/policy.yaml");
    let bad = write("bad.yaml", "version: 1\n");
    let output = patch("istio", &bad);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert_eq!(patch("istoi", tenants).status.code(), Some(2));
}

#[test]
fn the_chart_is_clean_and_names_what_is_wrong_with_its_values() {
    let policy = write("policy.json", &successful(TOOL, &["render", "deploy/policy.yaml"]));
    let policy = format!("policy={policy}");
    successful("helm", &["lint", "--strict", CHART, "--set-file", &policy]);
    let refused = |arguments: &[&str]| {
        let output = run("helm", &[&["template", "scopegate", CHART][..], arguments].concat());
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&[]).contains("policy is empty: set it, for example by --set-file policy=policy.json"));
    for (value, named) in [
        ("platform=nginx", "platform"),
        ("image.sha256=abc", "sha256"),
        ("tenant=x", "tenant"),
        ("envoyGateway.failOpen=true", "failOpen"),
    ] {
        let found = refused(&["--set-file", &policy, "--set", value]);
        assert!(found.contains(named), "{value}: {found}");
    }
    let compact = r#"policy={"version":1,"compact":"H4sI"}"#;
    let found = refused(&["--set-json", compact, "--set-json", r#"tenants=[{"id":"a"}]"#]);
    assert!(found.contains("policy is compact: bundle its tenants with it"), "{found}");
}

#[test]
fn tenants_of_the_values_are_added_to_those_of_the_policy() {
    let path = write("with-tenants.json", &successful(TOOL, &["render", "deploy/policy.yaml"]));
    let tenant = r#"tenants=[{"id":"initech","template":"standard"}]"#;
    let made = template(&path, &["--set-json", tenant]);
    let plugin = made.iter().find(|document| document["kind"] == "WasmPlugin").unwrap();
    let configuration = &plugin["spec"]["pluginConfig"];
    let ids: Vec<&str> =
        configuration["tenants"].as_array().unwrap().iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!(ids, ["acme", "globex", "initech"]);
    let path = write("all-tenants.json", &configuration.to_string());
    successful(TOOL, &["check", &path]);
}

#[test]
fn the_chart_carries_the_dashboard_and_the_alerts_of_this_repository() {
    for (own, shared) in [("dashboard.json", "scopegate.json"), ("alerts.yaml", "alerts.yaml")] {
        let own = fs::read(Path::new(ROOT).join(CHART).join("files").join(own)).unwrap();
        assert!(
            own == fs::read(Path::new(ROOT).join("deploy/observability").join(shared)).unwrap(),
            "{shared}"
        );
    }
    let path = write("alerts.json", &successful(TOOL, &["render", "deploy/policy.yaml"]));
    let made = template(&path, &["--set", "alerts.enabled=true"]);
    let rule = made.iter().find(|document| document["kind"] == "PrometheusRule").unwrap();
    assert!(!rule["spec"]["groups"][0]["rules"].as_array().unwrap().is_empty());
}
