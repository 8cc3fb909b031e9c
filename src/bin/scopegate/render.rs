//! `scopegate render`: a configuration in the form in which a proxy takes it.

use std::path::PathBuf;

use scopegate::authenticate::provider::{ClientAuthentication, SecretSource};
use scopegate::config::Policy;
use scopegate::config::document::{Node, Value};
use scopegate::hex::hex;
use sha2::{Digest, Sha256};

use crate::document_text::{json, list, map, string, yaml};
use crate::source::Source;
use crate::{Failure, Outcome};

/// Write a configuration as JSON, or as the resource that hands it to a proxy.
///
/// The configuration is checked first: what the filter would refuse is not rendered.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 rendered, 2 there is nothing to render.

Examples:
  scopegate render gateway.yaml > gateway.json
  scopegate render gateway.yaml --as envoy --wasm /etc/envoy/scopegate.wasm
  scopegate render gateway.yaml --as ecds > ecds/scopegate.yaml.new && mv ecds/scopegate.yaml.new ecds/scopegate.yaml
  scopegate render gateway.yaml --as istio --image oci://registry.example.com/scopegate:0.1.0 | kubectl apply -f -")]
pub struct Arguments {
    /// The configuration, YAML or JSON.
    file: PathBuf,
    /// The form.
    #[arg(long = "as", value_enum, default_value = "json", value_name = "FORM")]
    form: Form,
    /// The wasm file as the proxy finds it (envoy, ecds).
    #[arg(long, default_value = "target/wasm32-wasip1/release/scopegate.wasm", value_name = "PATH")]
    wasm: String,
    /// Unlike that of any other plugin: keys and introspection results are shared between workers under it (envoy,
    /// ecds). Environment variables are read when a VM begins, so a rotated secret needs another one.
    #[arg(long, default_value = "scopegate", value_name = "NAME", value_parser = parse_name)]
    vm_id: String,
    /// Where the proxy pulls the wasm file from (istio).
    #[arg(long, default_value = "oci://registry.example.com/scopegate:latest", value_name = "URL")]
    image: String,
    /// The namespace of the gateway (istio).
    #[arg(long, default_value = "istio-system", value_name = "NAME", value_parser = parse_name)]
    namespace: String,
    /// Label of the gateway's pods (istio).
    #[arg(long, default_value = "istio=ingressgateway", value_name = "KEY=VALUE", value_parser = parse_label)]
    selector: (String, String),
}

/// `--as`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// The configuration itself.
    Json,
    /// Envoy: entries of `http_filters`, the tripwire included.
    Envoy,
    /// Envoy: the file of an extension configuration discovery service (ECDS).
    Ecds,
    /// Istio: a WasmPlugin, and an EnvoyFilter with the tripwire.
    Istio,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let source = Source::read(&arguments.file)?;
    let policy = source.load_valid()?.policy;
    let document = source.document()?;
    let text = match arguments.form {
        Form::Json => format!("{}\n", json(&document.value)),
        Form::Envoy => envoy(arguments, &policy, &document),
        Form::Ecds => ecds(arguments, &policy, &document),
        Form::Istio => istio(arguments, &policy, &document),
    };
    let mut outcome = Outcome::yes(text);
    if holds_secret(&policy) {
        outcome.notes.push("scopegate: note: what was rendered holds a secret in clear".to_owned());
    }
    Ok(outcome)
}

const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

fn envoy(arguments: &Arguments, policy: &Policy, document: &Node<'_>) -> String {
    let filters = list([
        map([("name", string("scopegate")), ("typed_config", wasm(arguments, policy, document))]),
        tripwire(),
    ]);
    format!(
        "# Entries of http_filters, before envoy.filters.http.router. The tripwire lets pass only what the filter has \
         let pass.\n{}",
        yaml(&filters)
    )
}

fn ecds(arguments: &Arguments, policy: &Policy, document: &Node<'_>) -> String {
    let mut resource = vec![
        ("@type", string("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig")),
        ("name", string("scopegate")),
    ];
    resource.push(("typed_config", wasm(arguments, policy, document)));
    // As the filter logs it: the digest of the text that it is handed.
    let digest = hex(&Sha256::digest(json(&document.value)));
    let version: String = digest.chars().take(16).collect();
    let file = map([("version_info", string(version)), ("resources", list([map(resource)]))]);
    let discovery = map([
        ("name", string("scopegate")),
        (
            "config_discovery",
            map([
                (
                    "config_source",
                    map([
                        (
                            "path_config_source",
                            map([
                                ("path", string("/etc/envoy/ecds/scopegate.yaml")),
                                ("watched_directory", map([("path", string("/etc/envoy/ecds"))])),
                            ]),
                        ),
                        ("resource_api_version", string("V3")),
                    ]),
                ),
                ("type_urls", list([string(WASM_TYPE)])),
            ]),
        ),
    ]);
    let entries = yaml(&list([discovery, tripwire()]));
    let commented: String = entries.lines().map(|line| format!("#   {line}\n")).collect();
    format!(
        "# Move this file into its place at once (mv), never write it there. In http_filters, before \
         envoy.filters.http.router:\n#\n{commented}\n{}",
        yaml(&file)
    )
}

fn istio(arguments: &Arguments, policy: &Policy, document: &Node<'_>) -> String {
    let (key, value) = &arguments.selector;
    let labels = || map([(key.as_str(), string(value.as_str()))]);
    let metadata = |name: &'static str| {
        map([("name", string(name)), ("namespace", string(arguments.namespace.as_str()))])
    };
    let mut spec = vec![
        ("selector", map([("matchLabels", labels())])),
        ("url", string(arguments.image.as_str())),
        ("phase", string("AUTHN")),
        ("failStrategy", string("FAIL_RELOAD")),
    ];
    let environment = environment(policy);
    if !environment.is_empty() {
        let variables =
            environment.into_iter().map(|name| map([("name", string(name)), ("valueFrom", string("HOST"))]));
        spec.push(("vmConfig", map([("env", list(variables))])));
    }
    spec.push(("pluginConfig", document.value.clone()));
    let plugin = map([
        ("apiVersion", string("extensions.istio.io/v1alpha1")),
        ("kind", string("WasmPlugin")),
        ("metadata", metadata("scopegate")),
        ("spec", map(spec)),
    ]);
    let router = map([(
        "listener",
        map([(
            "filterChain",
            map([(
                "filter",
                map([
                    ("name", string("envoy.filters.network.http_connection_manager")),
                    ("subFilter", map([("name", string("envoy.filters.http.router"))])),
                ]),
            )]),
        )]),
    )]);
    let patch = map([
        ("applyTo", string("HTTP_FILTER")),
        ("match", with_context(router)),
        ("patch", map([("operation", string("INSERT_BEFORE")), ("value", tripwire())])),
    ]);
    let tripwire = map([
        ("apiVersion", string("networking.istio.io/v1alpha3")),
        ("kind", string("EnvoyFilter")),
        ("metadata", metadata("scopegate-tripwire")),
        ("spec", map([("workloadSelector", map([("labels", labels())])), ("configPatches", list([patch]))])),
    ]);
    format!(
        "# An Istio that does not know FAIL_RELOAD takes FAIL_CLOSE.\n{}---\n# The tripwire: lets pass only what the \
         filter has let pass.\n{}",
        yaml(&plugin),
        yaml(&tripwire)
    )
}

fn with_context(place: Value<'_>) -> Value<'_> {
    let mut members = vec![scopegate::config::document::Member {
        key: "context".into(),
        node: Node { value: string("GATEWAY"), mark: None },
    }];
    if let Value::Map(own) = place {
        members.extend(own);
    }
    Value::Map(members)
}

/// The Wasm filter's configuration.
fn wasm<'a>(arguments: &'a Arguments, policy: &'a Policy, document: &Node<'_>) -> Value<'a> {
    let mut vm = vec![
        ("vm_id", string(arguments.vm_id.as_str())),
        ("runtime", string("envoy.wasm.runtime.v8")),
        ("code", map([("local", map([("filename", string(arguments.wasm.as_str()))]))])),
    ];
    let environment = environment(policy);
    if !environment.is_empty() {
        vm.push((
            "environment_variables",
            map([("host_env_keys", list(environment.into_iter().map(string)))]),
        ));
    }
    let backoff = map([("base_interval", string("0.1s")), ("max_interval", string("1s"))]);
    let plugin = map([
        ("name", string("scopegate")),
        ("root_id", string("scopegate")),
        ("failure_policy", string("FAIL_RELOAD")),
        ("reload_config", map([("backoff", backoff)])),
        ("vm_config", map(vm)),
        (
            "configuration",
            map([
                ("@type", string("type.googleapis.com/google.protobuf.StringValue")),
                ("value", string(json(&document.value))),
            ]),
        ),
    ]);
    map([("@type", string(WASM_TYPE)), ("config", plugin)])
}

/// The filter behind it that lets pass only what it has let pass, even where it was skipped.
fn tripwire<'a>() -> Value<'a> {
    let decided = |decision: &'static str| {
        let state = map([
            ("key", string("wasm.scopegate.decision")),
            ("string_match", map([("exact", string(decision))])),
        ]);
        map([("filter_state", state)])
    };
    let policy = map([
        ("permissions", list([map([("any", Value::Bool(true))])])),
        ("principals", list([decided("allow"), decided("shadow")])),
    ]);
    map([
        ("name", string("scopegate-tripwire")),
        (
            "typed_config",
            map([
                ("@type", string("type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC")),
                ("rules_stat_prefix", string("scopegate_tripwire")),
                (
                    "rules",
                    map([("action", string("ALLOW")), ("policies", map([("decided-by-scopegate", policy)]))]),
                ),
            ]),
        ),
    ])
}

fn secrets(policy: &Policy) -> impl Iterator<Item = &SecretSource> {
    policy.providers.iter().filter_map(|provider| {
        match &provider.introspection.as_ref()?.client_authentication {
            ClientAuthentication::Basic { client_secret, .. }
            | ClientAuthentication::Post { client_secret, .. } => Some(client_secret),
            ClientAuthentication::Bearer(token) => Some(token),
            ClientAuthentication::None => None,
        }
    })
}

/// The environment variables that the filter reads.
fn environment(policy: &Policy) -> Vec<&str> {
    let mut names: Vec<&str> = secrets(policy)
        .filter_map(|secret| match secret {
            SecretSource::Environment(name) => Some(&**name),
            SecretSource::Inline(_) => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn holds_secret(policy: &Policy) -> bool {
    secrets(policy).any(|secret| match secret {
        SecretSource::Inline(_) => true,
        SecretSource::Environment(_) => false,
    })
}

fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
        return Err("a name is of letters, digits, `-`, `.` and `_`, and not empty".to_owned());
    }
    Ok(text.to_owned())
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "write it as KEY=VALUE".to_owned())
}
