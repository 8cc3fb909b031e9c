//! What stands around a configuration in what carries it: whether the proxy runs the filter as it is meant to be run.

use std::collections::BTreeSet;

use scopegate::config::document::{Node, Value};
use scopegate::config::{ErrorKind, Mark, WarningKind};
use scopegate::issuer::provider::{Provider, ProviderKeys};
use scopegate::policy::Policy;

use crate::codes::Code;
use crate::envoy_file::{Configuration, is_carrier, member, string};
use crate::source::Source;

/// Something that is wrong, or doubtful, around a configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Remark {
    /// What kind: an error where requests would pass unjudged, or calls fail.
    pub code: Code,
    /// Where, by the keys that lead there.
    pub path: String,
    /// Where it stands.
    pub mark: Option<Mark>,
    /// What it is.
    pub message: String,
}

/// Looks around `configuration` in the documents of `source`; nothing where it stands by itself.
pub fn check(source: &Source, configuration: &Configuration<'_>, policy: &Policy) -> Vec<Remark> {
    if source.is_table() {
        return Vec::new();
    }
    let Ok(documents) = source.written() else { return Vec::new() };
    let mut remarks = Vec::new();
    let carriers: Vec<&Node<'_>> = documents.iter().filter(|document| is_carrier(document)).collect();
    if carriers.is_empty() {
        return remarks;
    }
    for carrier in &carriers {
        plugins(carrier, "", configuration, policy, &mut remarks);
        chains(carrier, "", &mut remarks);
    }
    clusters(&carriers, policy, &mut remarks);
    remarks.dedup();
    remarks
}

/// The members of every map in `node`, however deep, with the path that leads to it.
fn each_map<'n>(node: &'n Node<'n>, path: &str, visit: &mut dyn FnMut(&str, &'n Node<'n>)) {
    match &node.value {
        Value::Map(members) => {
            visit(path, node);
            for member in members {
                let separator = if path.is_empty() { "" } else { "." };
                each_map(&member.node, &format!("{path}{separator}{}", member.key), visit);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                each_map(item, &format!("{path}[{index}]"), visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// How the filter's plugins are run.
fn plugins(
    carrier: &Node<'_>,
    path: &str,
    configuration: &Configuration<'_>,
    policy: &Policy,
    remarks: &mut Vec<Remark>,
) {
    each_map(carrier, path, &mut |path, node| {
        if let Some(plugin) = member(node, "configuration").and(member(node, "vm_config").map(|_| node)) {
            let is_ours = ["name", "root_id"].iter().any(|key| {
                member(plugin, key).and_then(string).is_some_and(|name| name.contains("scopegate"))
            });
            if is_ours {
                envoy_plugin(plugin, path, configuration, policy, remarks);
            }
        }
        if member(node, "kind").and_then(string).is_some_and(|kind| kind == "WasmPlugin") {
            let Some(spec) = member(node, "spec") else { return };
            let strategy = member(spec, "failStrategy");
            if strategy.and_then(string) == Some("FAIL_OPEN") {
                remarks.push(Remark {
                    code: Code::Error(ErrorKind::FailsOpen),
                    path: join(path, "spec.failStrategy"),
                    mark: strategy.and_then(Node::mark),
                    message: "`FAIL_OPEN` lets every request through while the filter does not run; say \
                              `FAIL_RELOAD`, or `FAIL_CLOSE`"
                        .to_owned(),
                });
            }
        }
        if let Some(open) = member(node, "failOpen")
            && open.value == Value::Bool(true)
        {
            remarks.push(Remark {
                code: Code::Error(ErrorKind::FailsOpen),
                path: join(path, "failOpen"),
                mark: open.mark(),
                message: "`true` lets every request through while the filter does not run".to_owned(),
            });
        }
    });
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// `envoy.extensions.wasm.v3.PluginConfig`.
fn envoy_plugin(
    plugin: &Node<'_>,
    path: &str,
    configuration: &Configuration<'_>,
    policy: &Policy,
    remarks: &mut Vec<Remark>,
) {
    let mut remark = |code: Code, key: &str, node: Option<&Node<'_>>, message: &str| {
        remarks.push(Remark {
            code,
            path: join(path, key),
            mark: node.and_then(Node::key_mark).or_else(|| plugin.mark()),
            message: message.to_owned(),
        });
    };
    let policy_of_failure = member(plugin, "failure_policy");
    let fails_open = member(plugin, "fail_open");
    match policy_of_failure.and_then(string) {
        Some("FAIL_OPEN") => remark(
            Code::Error(ErrorKind::FailsOpen),
            "failure_policy",
            policy_of_failure,
            "`FAIL_OPEN` lets every request through while the filter does not run; say `FAIL_RELOAD`",
        ),
        Some("FAIL_RELOAD" | "FAIL_CLOSED") => {}
        Some(_) | None if fails_open.is_some_and(|node| node.value == Value::Bool(true)) => {
            remark(
                Code::Error(ErrorKind::FailsOpen),
                "fail_open",
                fails_open,
                "`true` lets every request through while the filter does not run",
            );
        }
        Some(_) | None => remark(
            Code::Warning(WarningKind::HowItRuns),
            "failure_policy",
            policy_of_failure,
            "is not set: a VM that ended stays so, and every request is refused; `FAIL_RELOAD` begins a new one",
        ),
    }
    let vm = member(plugin, "vm_config");
    let id = vm.and_then(|vm| member(vm, "vm_id"));
    if id.and_then(string).is_none_or(str::is_empty) {
        remark(
            Code::Warning(WarningKind::HowItRuns),
            "vm_config.vm_id",
            id.or(vm),
            "is blank: workers share no keys, answers and proofs; give it a name of its own",
        );
    }
    let carries_on = member(plugin, "allow_on_headers_stop_iteration");
    if !policy.token_endpoints.is_empty() && carries_on.is_none_or(|node| node.value != Value::Bool(true)) {
        remark(
            Code::Warning(WarningKind::HowItRuns),
            "allow_on_headers_stop_iteration",
            carries_on,
            "is not `true`: token requests cannot be held until their body has come, and are refused \
             (`token_endpoints`)",
        );
    }
    if configuration.is_struct {
        remark(
            Code::Warning(WarningKind::HowItRuns),
            "configuration",
            member(plugin, "configuration"),
            "is a Struct, in which Envoy keeps the last of repeated keys and tells nobody; a StringValue holds the JSON \
             as it is",
        );
    }
}

/// Whether each chain with the filter has the tripwire behind it.
fn chains(carrier: &Node<'_>, path: &str, remarks: &mut Vec<Remark>) {
    each_map(carrier, path, &mut |path, node| {
        let Some(filters) = member(node, "http_filters") else { return };
        let Value::List(items) = &filters.value else { return };
        let Some(own) = items.iter().position(is_filter) else { return };
        let path = join(path, "http_filters");
        match items.iter().position(is_tripwire) {
            None => remarks.push(Remark {
                code: Code::Warning(WarningKind::NoTripwire),
                path,
                mark: items.get(own).and_then(Node::mark),
                message:
                    "there is no tripwire behind the filter: where Envoy skips it, requests pass unjudged; \
                          `scopegate render --as envoy` writes one"
                        .to_owned(),
            }),
            Some(at) if at < own => remarks.push(Remark {
                code: Code::Error(ErrorKind::TripwireBefore),
                path: format!("{path}[{at}]"),
                mark: items.get(at).and_then(Node::mark),
                message: "the tripwire stands before the filter, and refuses every request; put it behind"
                    .to_owned(),
            }),
            Some(_) => {}
        }
    });
}

/// Whether a filter of a chain is this one: by what it runs, or by what it is called where it comes by discovery.
fn is_filter(filter: &Node<'_>) -> bool {
    let is_wasm = |node: &Node<'_>| {
        member(node, "@type").and_then(string).is_some_and(|kind| kind.ends_with("filters.http.wasm.v3.Wasm"))
    };
    let name = || member(filter, "name").and_then(string).unwrap_or_default();
    match member(filter, "typed_config") {
        Some(typed) if is_wasm(typed) => {
            let config = member(typed, "config");
            ["name", "root_id"].iter().any(|key| {
                let named = config.and_then(|config| member(config, key)).and_then(string);
                named.is_some_and(|name| name.contains("scopegate"))
            })
        }
        Some(_) => false,
        None => member(filter, "config_discovery").is_some() && name().contains("scopegate"),
    }
}

fn is_tripwire(filter: &Node<'_>) -> bool {
    member(filter, "typed_config").is_some_and(|typed| {
        let is_rbac = member(typed, "@type")
            .and_then(string)
            .is_some_and(|kind| kind.ends_with("filters.http.rbac.v3.RBAC"));
        is_rbac && typed.value.mentions("wasm.scopegate.decision")
    })
}

/// Whether the clusters that providers call are there, where all clusters are known.
fn clusters(carriers: &[&Node<'_>], policy: &Policy, remarks: &mut Vec<Remark>) {
    let mut known = BTreeSet::new();
    let mut knows_all = false;
    let mut comes_from_elsewhere = false;
    for carrier in carriers {
        each_map(carrier, "", &mut |_, node| {
            for key in ["clusters", "static_clusters", "dynamic_active_clusters"] {
                let Some(Value::List(items)) = member(node, key).map(|list| &list.value) else { continue };
                knows_all = true;
                for item in items {
                    let cluster = member(item, "cluster").unwrap_or(item);
                    known.extend(member(cluster, "name").and_then(string).map(str::to_owned));
                }
            }
            comes_from_elsewhere |= member(node, "cds_config").is_some();
        });
    }
    let is_dump = carriers.iter().any(|carrier| member(carrier, "configs").is_some());
    if !knows_all || (comes_from_elsewhere && !is_dump) {
        return;
    }
    for provider in &policy.providers {
        for (what, cluster) in called_clusters(provider) {
            if !known.contains(cluster) {
                let meant =
                    scopegate::config::suggestion::did_you_mean(cluster, known.iter().map(|name| &**name));
                remarks.push(Remark {
                    code: Code::Error(ErrorKind::NoSuchCluster),
                    path: format!("providers.{}.{what}.cluster", provider.name),
                    mark: None,
                    message: format!("the proxy has no cluster `{cluster}`{meant}"),
                });
            }
        }
    }
}

fn called_clusters(provider: &Provider) -> Vec<(&'static str, &str)> {
    let mut called = Vec::new();
    match &provider.keys {
        ProviderKeys::Remote(remote) => {
            let what = if remote.discovery.is_some() { "discovery" } else { "remote_jwks" };
            called.push((what, &*remote.cluster));
            let configured =
                remote.discovery.as_ref().and_then(|discovery| discovery.configured_keys.as_ref());
            called.extend(configured.map(|(_, cluster)| ("remote_jwks", &**cluster)));
        }
        ProviderKeys::Local(_) | ProviderKeys::None => {}
    }
    called.extend(
        provider.introspection.as_ref().map(|introspection| ("introspection", &*introspection.cluster)),
    );
    called
}
