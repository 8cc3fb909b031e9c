//! `scopegate render`: a configuration in the form that a proxy reads.

use scopegate::config::document::{Node, Value};
use scopegate::issuer::provider::{ClientAuthentication, Provider, SecretSource};
use scopegate::policy::Policy;
use sha2::{Digest, Sha256};

use crate::bundle::compact_document;
use crate::document_text::{json, list, map, string, yaml};
use crate::source::Inputs;
use crate::terminal::shown;
use crate::{CommandOutput, Failure};

/// Write a configuration as JSON, or as the resource that hands it to a proxy.
///
/// The configuration is checked first; one that the filter would refuse is not rendered.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 rendered, 2 there is nothing to render.

Examples:
  scopegate render gateway.yaml > gateway.json
  scopegate render gateway.yaml --as envoy --wasm /etc/envoy/scopegate.wasm
  scopegate render gateway.yaml --as ecds > scopegate/filter.yaml.new \\
      && mv scopegate/filter.yaml.new scopegate/filter.yaml
  scopegate render gateway/ --as istio --image oci://registry.example.com/scopegate:0.1.0 \\
      | kubectl apply -f -
  scopegate render gateway.yaml --as envoy-gateway --gateway public --listener https \\
      | kubectl apply -f -")]
pub struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// With the configuration in the compact form: gzip in base64.
    #[arg(long)]
    compact: bool,
    /// The form.
    #[arg(long = "as", value_enum, default_value = "json", value_name = "FORM")]
    form: Form,
    /// The wasm file as the proxy finds it (envoy, ecds).
    #[arg(long, default_value = "target/wasm32-wasip1/release/scopegate.wasm", value_name = "PATH")]
    wasm: String,
    /// Unlike that of any other plugin: keys and introspection results are shared between workers under it
    /// (envoy, ecds). Environment variables are read when a VM begins, so a rotated secret needs another one.
    #[arg(long, default_value = "scopegate", value_name = "NAME", value_parser = parse_name)]
    vm_id: String,
    /// Where the proxy pulls the wasm file from: an OCI image, or a file by `https://` (istio,
    /// envoy-gateway).
    #[arg(long, default_value = "oci://registry.example.com/scopegate:latest", value_name = "URL", value_parser = parse_image)]
    image: String,
    /// SHA-256 that the pulled image's manifest, or the file, must have (istio, envoy-gateway).
    #[arg(long, value_name = "HEX", value_parser = parse_sha256)]
    sha256: Option<String>,
    /// What the proxy calls a cluster that the configuration calls NAME; may be repeated.
    #[arg(long = "cluster", value_name = "NAME=NAME", value_parser = parse_pair)]
    clusters: Vec<(String, String)>,
    /// The namespace of the gateway (istio: istio-system; envoy-gateway: default).
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    namespace: Option<String>,
    /// Label of the gateway's pods (istio).
    #[arg(long, default_value = "istio=ingressgateway", value_name = "KEY=VALUE", value_parser = parse_pair)]
    selector: (String, String),
    /// The Gateway that the policy is for (envoy-gateway).
    #[arg(long, default_value = "gateway", value_name = "NAME", value_parser = parse_name)]
    gateway: String,
    /// The Gateway's listener (envoy-gateway).
    #[arg(long, default_value = "http", value_name = "NAME", value_parser = parse_name)]
    listener: String,
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
    /// Istio 1.30 or newer: the same with a TrafficExtension, which supersedes WasmPlugin.
    IstioTrafficExtension,
    /// Envoy Gateway: an EnvoyExtensionPolicy, and an EnvoyPatchPolicy with the tripwire.
    EnvoyGateway,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<CommandOutput, Failure> {
    let source = arguments.inputs.read()?;
    let (loaded, mut document) = source.load_whole()?;
    let policy = loaded.policy;
    for (name, renamed) in &arguments.clusters {
        if !rename_cluster(&mut document, name, renamed) {
            return Err(Failure(format!("{}: no cluster is called `{}`", source.name, shown(name))));
        }
    }
    if arguments.compact {
        document = compact_document(&document)?;
    }
    let text = match arguments.form {
        Form::Json => format!("{}\n", json(&document.value)),
        Form::Envoy => envoy(arguments, &policy, &document),
        Form::Ecds => ecds(arguments, &policy, &document),
        Form::Istio | Form::IstioTrafficExtension => istio(arguments, &policy, &document),
        Form::EnvoyGateway => envoy_gateway(arguments, &policy, &document),
    };
    let mut output = CommandOutput::yes(text);
    if holds_secret(&policy) {
        output.notes.push("scopegate: note: what was rendered holds a secret in clear".to_owned());
    }
    Ok(output)
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
    // The digest of the text that the filter gets, as the filter logs it.
    let digest = base16ct::lower::encode_string(&Sha256::digest(json(&document.value)));
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
                                ("path", string("/etc/envoy/scopegate/filter.yaml")),
                                ("watched_directory", map([("path", string("/etc/envoy/scopegate"))])),
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
    let metadata =
        |name: &'static str| metadata(name, arguments.namespace.as_deref().unwrap_or("istio-system"));
    let mut wasm = vec![("url", string(arguments.image.as_str()))];
    wasm.extend(arguments.sha256.as_deref().map(|digest| ("sha256", string(digest))));
    wasm.push(("failStrategy", string("FAIL_RELOAD")));
    let environment = environment(policy);
    if !environment.is_empty() {
        let variables =
            environment.into_iter().map(|name| map([("name", string(name)), ("valueFrom", string("HOST"))]));
        wasm.push(("vmConfig", map([("env", list(variables))])));
    }
    wasm.push(("pluginConfig", document.value.clone()));
    let mut spec = vec![("selector", map([("matchLabels", labels())])), ("phase", string("AUTHN"))];
    let kind = if arguments.form == Form::IstioTrafficExtension {
        spec.push(("wasm", map(wasm)));
        "TrafficExtension"
    } else {
        spec.extend(wasm);
        "WasmPlugin"
    };
    let plugin = map([
        ("apiVersion", string("extensions.istio.io/v1alpha1")),
        ("kind", string(kind)),
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

fn metadata<'a>(name: &'static str, namespace: &'a str) -> Value<'a> {
    map([("name", string(name)), ("namespace", string(namespace))])
}

fn envoy_gateway(arguments: &Arguments, policy: &Policy, document: &Node<'_>) -> String {
    let namespace = arguments.namespace.as_deref().unwrap_or("default");
    let gateway = || {
        map([
            ("group", string("gateway.networking.k8s.io")),
            ("kind", string("Gateway")),
            ("name", string(arguments.gateway.as_str())),
        ])
    };
    let (kind, member, url) = match arguments.image.strip_prefix("oci://") {
        Some(image) => ("Image", "image", image),
        None => ("HTTP", "http", arguments.image.as_str()),
    };
    let mut source = vec![("url", string(url))];
    source.extend(arguments.sha256.as_deref().map(|digest| ("sha256", string(digest))));
    let mut wasm = vec![
        ("name", string("scopegate")),
        ("rootID", string("scopegate")),
        ("failOpen", Value::Bool(false)),
        ("code", map([("type", string(kind)), (member, map(source))])),
    ];
    let environment = environment(policy);
    if !environment.is_empty() {
        wasm.push(("env", map([("hostKeys", list(environment.into_iter().map(string)))])));
    }
    wasm.push(("config", document.value.clone()));
    let extension = map([
        ("apiVersion", string("gateway.envoyproxy.io/v1alpha1")),
        ("kind", string("EnvoyExtensionPolicy")),
        ("metadata", metadata("scopegate", namespace)),
        ("spec", map([("targetRefs", list([gateway()])), ("wasm", list([map(wasm)]))])),
    ]);
    // `add` at an element of a list puts the value before it (RFC 6902 section 4.1).
    let operation = map([
        ("op", string("add")),
        ("jsonPath", string("$..http_filters[?(@.name=='envoy.filters.http.router')]")),
        ("value", tripwire()),
    ]);
    let patch = map([
        ("type", string("type.googleapis.com/envoy.config.listener.v3.Listener")),
        ("name", string(format!("{namespace}/{}/{}", arguments.gateway, arguments.listener))),
        ("operation", operation),
    ]);
    let tripwire = map([
        ("apiVersion", string("gateway.envoyproxy.io/v1alpha1")),
        ("kind", string("EnvoyPatchPolicy")),
        ("metadata", metadata("scopegate-tripwire", namespace)),
        (
            "spec",
            map([("targetRef", gateway()), ("type", string("JSONPatch")), ("jsonPatches", list([patch]))]),
        ),
    ]);
    format!(
        "{}---\n# The tripwire: lets pass only what the filter has let pass. EnvoyPatchPolicy is to be enabled first \
         (extensionApis.enableEnvoyPatchPolicy).\n{}",
        yaml(&extension),
        yaml(&tripwire)
    )
}

fn with_context(place: Value<'_>) -> Value<'_> {
    let mut members =
        vec![scopegate::config::document::Member { key: "context".into(), node: string("GATEWAY").into() }];
    if let Value::Map(own) = place {
        members.extend(own);
    }
    Value::Map(members)
}

/// What the filter may call in Envoy and Envoy in the filter: the imports that the module calls and its
/// `proxy_on_…` exports.
///
/// Envoy never calls a callback that is missing from this list, and a request that no callback sees is
/// stopped by the tripwire alone. A test compares the list with the module.
const CAPABILITIES: [&str; 39] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_memory_allocate",
    "proxy_on_queue_ready",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_tick",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
    "random_get",
];

/// The callback in which a client is told its next nonce. Each response enters the VM for it, which takes 2,000
/// instructions of Envoy, so that it stands where nonces are used alone.
const NEXT_NONCE: &str = "proxy_on_response_headers";

/// What the filter may call, and be called by, under this policy.
fn capabilities(policy: &Policy) -> Vec<&'static str> {
    let gives_nonces = |provider: &Provider| provider.dpop.as_ref().is_some_and(|dpop| dpop.nonce.is_some());
    let next_nonce = policy.providers.iter().any(gives_nonces).then_some(NEXT_NONCE);
    let mut names: Vec<&str> = CAPABILITIES.into_iter().chain(next_nonce).collect();
    names.sort_unstable();
    names
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
    let allowed = capabilities(policy).into_iter().map(|name| (name, map([])));
    vm.push(("capability_restriction_config", map([("allowed_capabilities", map(allowed))])));
    // A token request is held until its body has come.
    let holds_bodies = !policy.token_endpoints.is_empty();
    let backoff = map([("base_interval", string("0.1s")), ("max_interval", string("1s"))]);
    let mut plugin = vec![
        ("name", string("scopegate")),
        ("root_id", string("scopegate")),
        ("failure_policy", string("FAIL_RELOAD")),
        ("reload_config", map([("backoff", backoff)])),
    ];
    plugin.extend(holds_bodies.then_some(("allow_on_headers_stop_iteration", Value::Bool(true))));
    plugin.extend([
        ("vm_config", map(vm)),
        (
            "configuration",
            map([
                ("@type", string("type.googleapis.com/google.protobuf.StringValue")),
                ("value", string(json(&document.value))),
            ]),
        ),
    ]);
    let plugin = map(plugin);
    map([("@type", string(WASM_TYPE)), ("config", plugin)])
}

/// The tripwire: a filter behind it that passes only requests that it allowed, even if it was skipped. A
/// policy that denies what was not decided costs a fifth less than one that allows what was: Envoy notes the
/// name of a policy that matched.
fn tripwire<'a>() -> Value<'a> {
    let decided = |decision: &'static str| {
        let state = map([
            ("key", string("wasm.scopegate.decision")),
            ("string_match", map([("exact", string(decision))])),
        ]);
        map([("filter_state", state)])
    };
    let either = map([("or_ids", map([("ids", list([decided("allow"), decided("shadow")]))]))]);
    let policy = map([
        ("permissions", list([map([("any", Value::Bool(true))])])),
        ("principals", list([map([("not_id", either)])])),
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
                    map([
                        ("action", string("DENY")),
                        ("policies", map([("not-decided-by-scopegate", policy)])),
                    ]),
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

fn parse_pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "write it as KEY=VALUE".to_owned())
}

fn parse_sha256(text: &str) -> Result<String, String> {
    let digest = text.strip_prefix("sha256:").unwrap_or(text);
    if digest.len() != 64 || !digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("a SHA-256 is of 64 digits `0` to `9`, `a` to `f`".to_owned());
    }
    Ok(digest.to_owned())
}

fn parse_image(text: &str) -> Result<String, String> {
    let is_known = ["oci://", "https://", "http://"]
        .iter()
        .any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if is_known {
        Ok(text.to_owned())
    } else {
        Err("it has to begin with oci://, https:// or http://".to_owned())
    }
}

/// Renames a cluster wherever a provider names it. Returns whether one did.
fn rename_cluster(document: &mut Node<'_>, name: &str, renamed: &str) -> bool {
    let Some(Value::Map(providers)) = member(document, "providers").map(|node| &mut node.value) else {
        return false;
    };
    let mut is_named = false;
    for provider in providers {
        for endpoint in ["discovery", "remote_jwks", "introspection"] {
            let cluster = member(&mut provider.node, endpoint).and_then(|node| member(node, "cluster"));
            let Some(Value::String(cluster)) = cluster.map(|node| &mut node.value) else {
                continue;
            };
            if cluster == name {
                *cluster = renamed.to_owned().into();
                is_named = true;
            }
        }
    }
    is_named
}

fn member<'node, 'text>(node: &'node mut Node<'text>, key: &str) -> Option<&'node mut Node<'text>> {
    let Value::Map(members) = &mut node.value else {
        return None;
    };
    members.iter_mut().find(|member| member.key == key).map(|member| &mut member.node)
}
