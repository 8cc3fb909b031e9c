//! Tenants of labelled ConfigMaps, which the chart and `deploy/kustomize/tenants.sh` read from a cluster: the real Helm and the real
//! kubectl, and a server that answers what they ask of an API server.

#![cfg(feature = "tool")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use scopegate_testing::harness::Directory;
use serde_json::{Value, json};

use crate::kubernetes::{CHART, ROOT, TOOL, documents, kubernetes, successful, write};
use crate::tool::{answering, scopegate, scopegate_reading};

/// What the tests label ConfigMaps of tenants with, unless they say otherwise.
const LABEL: (&str, &str) = ("scopegate/tenants", "true");

fn map(name: &str, labels: &[(&str, &str)], data: Value) -> Value {
    let labels: Value = labels.iter().map(|(label, value)| ((*label).to_owned(), json!(value))).collect();
    json!({
        "kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "gateway", "labels": labels}, "data": data,
    })
}

/// One labelled ConfigMap with one entry, `tenants.yaml`.
fn team(name: &str, tenants: &str) -> Value {
    map(name, &[LABEL], json!({"tenants.yaml": tenants}))
}

/// A cluster by its address: an API server with Istio's resources, no release, and these ConfigMaps in the namespace `gateway`.
fn cluster(maps: &[Value]) -> String {
    let maps = maps.to_vec();
    answering(move |request| {
        let asked = request.split(' ').nth(1).unwrap();
        let (path, query) = asked.split_once('?').unwrap_or((asked, ""));
        let (status, answer) = api_server(path, query, &maps);
        (status, answer.to_string())
    })
}

fn api_server(path: &str, query: &str, maps: &[Value]) -> (u16, Value) {
    let list = |kind: &str, items: Vec<Value>| json!({"kind": kind, "apiVersion": "v1", "metadata": {}, "items": items});
    let group = |name: &str, version: &str| {
        let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    let resources = |group: &str, name: &str, kind: &str| {
        let resource = json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get", "list"]});
        json!({"kind": "APIResourceList", "groupVersion": group, "resources": [resource]})
    };
    let answer = match path {
        "/version" => json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"}),
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"]}),
        "/apis" => {
            let groups = [group("extensions.istio.io", "v1alpha1"), group("networking.istio.io", "v1alpha3")];
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        "/api/v1" => resources("v1", "configmaps", "ConfigMap"),
        "/apis/extensions.istio.io/v1alpha1" => {
            resources("extensions.istio.io/v1alpha1", "wasmplugins", "WasmPlugin")
        }
        "/apis/networking.istio.io/v1alpha3" => {
            resources("networking.istio.io/v1alpha3", "envoyfilters", "EnvoyFilter")
        }
        // Where Helm keeps its releases.
        "/api/v1/namespaces/gateway/secrets" => list("SecretList", Vec::new()),
        "/api/v1/namespaces/gateway/configmaps" => {
            let wanted =
                |map: &&Value| match query.split('&').find_map(|it| it.strip_prefix("labelSelector=")) {
                    None => true,
                    Some("scopegate%2Ftenants%3Dtrue") => map["metadata"]["labels"][LABEL.0] == LABEL.1,
                    Some(other) => panic!("an unknown selector: {other}"),
                };
            list("ConfigMapList", maps.iter().filter(wanted).cloned().collect())
        }
        // A namespace that the one who asks may not read.
        "/api/v1/namespaces/closed/configmaps" => {
            let message = "configmaps is forbidden: User \"deployer\" cannot list resource \"configmaps\"";
            return (
                403,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": message}),
            );
        }
        // What a release would make is not there yet.
        made if made.ends_with("/scopegate") || made.contains("/scopegate-") => {
            return (
                404,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}),
            );
        }
        other => panic!("an API server is asked for {other}"),
    };
    (200, answer)
}

/// A directory of this cluster's own, for what kubectl and Helm remember of it.
fn home(server: &str) -> Directory {
    let home = Directory::new("home");
    let context = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    home.file("kubeconfig", context.to_string().as_bytes());
    home
}

fn run(server: &str, program: &Path, arguments: &[&str]) -> Output {
    let home = home(server);
    Command::new(program)
        .args(arguments)
        .current_dir(ROOT)
        .env("HOME", &*home)
        .env("KUBECONFIG", home.join("kubeconfig"))
        .env("KUBECTL", kubernetes().join("kubectl"))
        .env_remove("XDG_CACHE_HOME")
        .env_remove("KUBECACHEDIR")
        .output()
        .unwrap_or_else(|error| panic!("{program:?}: {error}"))
}

/// The configuration of `deploy/policy.yaml` as the tool bundles it, in a file.
fn policy() -> String {
    let path = write("policy-of-the-chart.json", "");
    successful(TOOL, &["bundle", "deploy/policy.yaml", "--output", &path]);
    path
}

/// Runs Helm as a release is made, up to where it would change the cluster.
fn helm(server: &str, policy: &str, more: &[&str]) -> Output {
    let policy = format!("policy={policy}");
    // An API server's own check of the resources needs its whole OpenAPI document; `kubernetes.rs` checks them.
    let simulated = ["--dry-run=server", "--disable-openapi-validation", "--namespace", "gateway"];
    let values = ["--set", "tenantConfigMaps.enabled=true", "--set-file", &policy];
    let arguments = [&["template", "scopegate", CHART][..], &simulated, &values, more].concat();
    run(server, &kubernetes().join("helm"), &arguments)
}

/// The filter's configuration in what Helm makes.
fn configuration(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = documents(std::str::from_utf8(&output.stdout).unwrap());
    let plugin = made.iter().find(|document| document["kind"] == "WasmPlugin").unwrap();
    plugin["spec"]["pluginConfig"].clone()
}

fn ids(configuration: &Value) -> Vec<&str> {
    configuration["tenants"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect()
}

fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{}", configuration(output));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What `tenants.sh` writes of a cluster.
fn of_the_cluster(cluster: &str) -> String {
    let output = run(cluster, &Path::new(ROOT).join("deploy/kustomize/tenants.sh"), &["gateway"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A directory with `deploy/policy.yaml` and this part beside it.
fn parts(part: &str) -> Directory {
    let directory = Directory::new("parts");
    fs::copy(Path::new(ROOT).join("deploy/policy.yaml"), directory.join("policy.yaml")).unwrap();
    directory.file("tenants-of-the-cluster.json", part.as_bytes());
    directory
}

#[test]
fn chart_and_bundle_make_the_same_of_labelled_config_maps() {
    let hooli = "- id: hooli\n  template: standard\n  applications:\n    - {client_id: sync, scopes: [\"billing:read\"]}\n";
    let cluster = cluster(&[
        team("hooli", hooli),
        map("kube-root-ca.crt", &[], json!({"ca.crt": "-----BEGIN CERTIFICATE-----"})),
        map(
            "others",
            &[LABEL, ("team", "others")],
            json!({"a.yaml": "- id: initech\n  template: standard", "b.yaml": "- {id: umbrella, template: standard}\n"}),
        ),
        map("not-wanted", &[("scopegate/tenants", "false")], json!({"tenants.yaml": "- id: evil\n"})),
        map("of-others", &[("tenants", "true")], json!({"tenants.yaml": "- id: evil\n"})),
        team("none-yet", ""),
    ]);
    let policy = policy();

    let parts = parts(&of_the_cluster(&cluster));
    let bundle = write("bundle-of-the-cluster.json", "");
    successful(TOOL, &["bundle", parts.to_str().unwrap(), "--output", &bundle]);
    let bundle: Value = serde_json::from_slice(&fs::read(bundle).unwrap()).unwrap();
    assert_eq!(ids(&bundle), ["acme", "globex", "hooli", "initech", "umbrella"]);
    let made = helm(&cluster, &policy, &[]);
    assert_eq!(configuration(&made), bundle);
    assert_eq!(scopegate_reading(std::str::from_utf8(&made.stdout).unwrap(), &["check", "-"]).code, 0);

    // As docs/operations.md installs it.
    let install = ["upgrade", "--install", "scopegate", CHART, "--namespace", "gateway"];
    let simulated = ["--dry-run=server", "--disable-openapi-validation", "--output", "json"];
    let policy = format!("policy={policy}");
    let values = ["--set-file", &policy, "--set", "tenantConfigMaps.enabled=true"];
    let arguments = [&install[..], &simulated, &values].concat();
    let output = run(&cluster, &kubernetes().join("helm"), &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let release: Value = serde_json::from_slice(&output.stdout).unwrap();
    let made = documents(release["manifest"].as_str().unwrap());
    let plugin = made.iter().find(|document| document["kind"] == "WasmPlugin").unwrap();
    assert_eq!(plugin["spec"]["pluginConfig"], bundle);
    let notes = release["info"]["notes"].as_str().unwrap();
    assert!(notes.contains("a ConfigMap that changes later counts from the next helm upgrade on"), "{notes}");
}

#[test]
fn only_config_maps_with_each_of_the_labels_hold_tenants() {
    let tenant = |id: &str| json!({"tenants.yaml": format!("- {{id: {id}, template: standard}}")});
    let maps = [
        map("bare", &[], tenant("bare")),
        map("one", &[("tenants", "")], tenant("one")),
        map("another", &[("stage", "live")], tenant("another")),
        map("both", &[("tenants", ""), ("stage", "live")], tenant("both")),
        map("other", &[("tenants", "x"), ("stage", "live")], tenant("other")),
    ];
    let cluster = cluster(&maps);
    let labels = r#"tenantConfigMaps.labels={"scopegate/tenants":null,"tenants":"","stage":"live"}"#;
    let policy = policy();
    let made = configuration(&helm(&cluster, &policy, &["--set-json", labels]));
    assert_eq!(ids(&made), ["acme", "globex", "both"]);
    for none in ["tenantConfigMaps.labels=null", r#"tenantConfigMaps.labels={"scopegate/tenants":null}"#] {
        let found = refusal(&helm(&cluster, &policy, &["--set-json", none]));
        assert!(found.contains("labels"), "{found}");
    }
}

#[test]
fn a_config_map_that_is_no_list_of_tenants_is_named() {
    let place = "ConfigMap gateway/bad, entry tenants.yaml";
    let policy = policy();
    for (tenants, wrong) in [
        ("- id: [", "is no list of tenants in YAML: error converting YAML to JSON: yaml: line 1"),
        ("id: hooli", "is no list of tenants in YAML: error unmarshaling JSON"),
        ("tenants:\n- id: hooli\n", "is no list of tenants in YAML: error unmarshaling JSON"),
        ("- hooli", "item 1 is no tenant: it is a string"),
        ("- {id: hooli, template: standard}\n- [x]", "item 2 is no tenant: it is a slice"),
        ("- template: standard", "item 1 is no tenant: it has no `id`"),
        ("- id: no\n  template: standard", "item 1 has the `id` false, which is no text: write it in quotes"),
        ("- id: hooli\n---\n- id: initech\n", "holds more than one YAML document, or a line `---`"),
    ] {
        let good = team("good", "- {id: initech, template: standard}");
        let found = refusal(&helm(&cluster(&[good, team("bad", tenants)]), &policy, &[]));
        assert!(found.contains(&format!("{place}: {wrong}")), "`{tenants}`: {found}");
    }
}

#[test]
fn the_tool_checks_what_helm_makes_of_config_maps() {
    let cluster = cluster(&[team("bad", "- {id: hooli, template: standrad}")]);
    let made = helm(&cluster, &policy(), &[]);
    let run = scopegate_reading(std::str::from_utf8(&made.stdout).unwrap(), &["check", "-"]);
    assert_eq!(run.code, 1, "{}{}", run.out, run.err);
    assert!(run.out.contains("tenants[2].template") && run.out.contains("standrad"), "{}", run.out);
}

#[test]
fn a_config_map_says_nothing_but_tenants_and_nothing_of_others() {
    let hooli = "- {id: hooli, template: standard}";
    for (maps, wrong) in [
        // Keys of the whole, behind the list.
        (vec![team("bad", &format!("{hooli}\nscope_enforcement: shadow\n"))], "not YAML at line 2, column 1"),
        (vec![team("bad", &format!("{hooli}\rsuites: []"))], "not YAML at line 2, column 1"),
        (
            vec![team("bad", &format!("tenants:\n{hooli}\nproviders: {{}}\n"))],
            "tenants: expected a list, found a map",
        ),
        (
            vec![team("bad", &format!("{hooli}\n---\nproviders: {{}}\n"))],
            "tenants: there is more than one document",
        ),
        // A text that would go on until another one's entry ends it.
        (
            vec![
                team("bad", "- {id: evil, template: standard, display_name: \""),
                team("between", hooli),
                team("last", "\"}\n- {id: hooli, template: standard}"),
            ],
            "not YAML at line 1",
        ),
        (vec![team("bad", "- hooli")], "tenants[2]: expected a map, found a string"),
        (vec![team("a", hooli), team("bad", hooli)], "tenant `hooli` stands in"),
    ] {
        let parts = parts(&of_the_cluster(&cluster(&maps)));
        let run = scopegate(&["check", parts.to_str().unwrap()]);
        assert_eq!(run.code, 1, "{maps:?}: {}{}", run.out, run.err);
        let place = "tenants-of-the-cluster.json, ConfigMap gateway/bad, entry tenants.yaml:";
        assert!(run.out.contains(place) && run.out.contains(wrong), "{maps:?}: {}", run.out);
    }
}

#[test]
fn config_maps_in_files_are_parts_of_a_table() {
    let ids_of = |part: &str| {
        let run = scopegate(&["bundle", parts(part).to_str().unwrap()]);
        assert_eq!(run.code, 0, "{}", run.err);
        let bundle: Value = serde_json::from_str(&run.out).unwrap();
        ids(&bundle).join(" ")
    };
    let hooli = team("hooli", "- {id: hooli, template: standard}");
    let initech = team("initech", "- {id: initech, template: standard}");
    assert_eq!(ids_of(&hooli.to_string()), "acme globex hooli");
    for kind in ["List", "ConfigMapList"] {
        let list = |items: Value| json!({"apiVersion": "v1", "kind": kind, "items": items}).to_string();
        assert_eq!(ids_of(&list(json!([]))), "acme globex");
        assert_eq!(ids_of(&list(json!([hooli, initech]))), "acme globex hooli initech");
    }
    let none = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "none"}});
    assert_eq!(ids_of(&none.to_string()), "acme globex");

    // Named as files, too, it is no configuration by itself.
    let directory = parts(&team("hooli", "- {id: hooli, template: standrad}").to_string());
    let part = directory.join("tenants-of-the-cluster.json").display().to_string();
    let run = scopegate(&["check", directory.join("policy.yaml").to_str().unwrap(), &part]);
    assert_eq!(run.code, 1, "{}", run.out);
    let place =
        format!("{part}, ConfigMap gateway/hooli, entry tenants.yaml:1:25: error: tenants[2].template");
    assert!(run.out.contains(&place), "{}", run.out);

    let mut binary = hooli.clone();
    binary["binaryData"] = json!({"tenants.yaml": "LSB4"});
    let mut number = hooli.clone();
    number["data"]["tenants.yaml"] = json!(1);
    let secret =
        json!({"apiVersion": "v1", "kind": "List", "items": [hooli, {"apiVersion": "v1", "kind": "Secret"}]});
    let repeated = r#"{"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "", "a": ""}}"#;
    for (part, wrong) in [
        (binary.to_string(), "ConfigMap gateway/hooli has `binaryData`: tenants are text, in `data`"),
        (number.to_string(), "ConfigMap gateway/hooli, entry tenants.yaml is a text, not a number"),
        (secret.to_string(), "beside ConfigMaps a file of a table holds nothing else"),
        (repeated.to_owned(), "data.a: the key is repeated"),
    ] {
        let run = scopegate(&["bundle", parts(&part).to_str().unwrap()]);
        assert_eq!(run.code, 2, "{part}");
        assert!(run.err.contains(wrong), "{part}: {}", run.err);
    }
}

#[test]
fn a_tenant_that_is_defined_twice_is_named_with_both_places() {
    let policy = policy();
    let hooli = "- {id: hooli, template: standard}";
    let by_values = ["--set-json", r#"tenants=[{"id":"hooli","template":"standard"}]"#];
    for (maps, more, found_in) in [
        (
            vec![team("a", hooli), team("b", hooli)],
            &[][..],
            ["ConfigMap gateway/a, entry tenants.yaml", "ConfigMap gateway/b, entry tenants.yaml"],
        ),
        (vec![team("a", &format!("{hooli}\n{hooli}"))], &[], ["ConfigMap gateway/a, entry tenants.yaml"; 2]),
        (
            vec![team("a", hooli)],
            &by_values,
            ["the value `tenants`", "ConfigMap gateway/a, entry tenants.yaml"],
        ),
        (
            vec![team("a", "- id: acme")],
            &[],
            ["the value `policy`", "ConfigMap gateway/a, entry tenants.yaml"],
        ),
    ] {
        let found = refusal(&helm(&cluster(&maps), &policy, more));
        let [first, second] = found_in;
        assert!(found.contains(&format!("{second}: tenant `")), "{found}");
        assert!(found.contains(&format!("` stands in {first} too")), "{found}");
    }
}

#[test]
fn config_maps_that_cannot_be_read_are_not_left_out() {
    let policy = policy();
    let mut binary = team("binary", "");
    binary["binaryData"] = json!({"tenants.yaml": "LSB4"});
    let found = refusal(&helm(&cluster(&[binary]), &policy, &[]));
    assert!(
        found.contains("ConfigMap gateway/binary has `binaryData`: tenants are text, in `data`"),
        "{found}"
    );

    let found = refusal(&helm(&cluster(&[]), &policy, &["--namespace", "closed"]));
    assert!(found.contains("configmaps is forbidden: User \"deployer\""), "{found}");

    // None is labelled yet.
    assert_eq!(ids(&configuration(&helm(&cluster(&[]), &policy, &[]))), ["acme", "globex"]);

    // As Argo CD renders a chart: there is no cluster to ask.
    let found = refusal(&helm(&cluster(&[]), &policy, &["--dry-run=client"]));
    assert!(found.contains("tenantConfigMaps: Helm sees no cluster here"), "{found}");
    assert!(found.contains("deploy/kustomize/tenants.sh"), "{found}");
}
