//! `scopegate check --host`: what a host cannot serve, and what is otherwise there.

use scopegate::config::document::{Mark, Node, Value};
use scopegate::config::{ErrorKind, WarningKind};
use scopegate::issuer::provider::ProviderKeys;
use scopegate::policy::Policy;
use scopegate::policy::host::{Offers, Unserved, unserved};

use crate::codes::Code;

/// What hosts are known to offer. The tests of the wasm files hold it.
const HOSTS: &str = include_str!("../../../deploy/hosts.json");

/// `--host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Host {
    /// Envoy, and what is built on it: Istio, Envoy Gateway.
    Envoy,
    /// nginx with ngx_wasm_module.
    Nginx,
    /// Any other proxy-wasm host.
    Generic,
    /// Google Cloud Service Extensions.
    Gcp,
}

/// What is found about a configuration on a host.
pub struct HostFinding {
    /// What kind: an error where the filter refuses the configuration there.
    pub code: Code,
    /// The key's path.
    pub path: String,
    /// Where it stands.
    pub mark: Option<Mark>,
    /// What, and what to do.
    pub message: String,
}

impl Host {
    fn name(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Nginx => "nginx",
            Self::Generic => "generic",
            Self::Gcp => "gcp",
        }
    }

    fn offers(self) -> Offers {
        let hosts: serde_json::Value = serde_json::from_str(HOSTS).unwrap_or_default();
        let offered = |what: &str| {
            hosts.pointer(&format!("/hosts/{}/offers/{what}", self.name())) == Some(&true.into())
        };
        Offers {
            ticks: offered("ticks"),
            callouts: offered("callouts"),
            effective_contexts: offered("effective_contexts"),
            shared_data: offered("shared_data"),
        }
    }

    /// The most bytes of a configuration there, and in what.
    fn limit(self) -> Option<(usize, &'static str)> {
        match self {
            Self::Envoy | Self::Generic => None,
            Self::Nginx => Some((4096, "a directive of nginx")),
            // 2 MiB, with the file.
            Self::Gcp => Some((600_000, "what the file leaves of the 2 MiB of a plugin")),
        }
    }
}

/// What the configuration meets on this host.
pub fn findings(host: Host, document: &Node<'_>, policy: &Policy) -> Vec<HostFinding> {
    let offers = host.offers();
    let mut findings: Vec<HostFinding> = unserved(policy, offers)
        .into_iter()
        .map(|Unserved { path, message }| HostFinding {
            code: Code::Error(ErrorKind::HostLacks),
            mark: mark_of(document, &path),
            path: path.join("."),
            message,
        })
        .collect();
    let mut warn = |path: &[&str], message: String| {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        let mark = mark_of(document, &path);
        let code = Code::Warning(WarningKind::Doubtful);
        findings.push(HostFinding { code, path: path.join("."), mark, message });
    };
    if host == Host::Nginx {
        let message = "this host sends the upstream what the filter removes: pass on no header by itself, but a list, as \
                       deploy/nginx/nginx.conf does";
        warn(&["forward"], message.to_owned());
    }
    if offers.ticks && offers.callouts && !offers.effective_contexts {
        for provider in policy.providers.iter().filter(|it| matches!(it.keys, ProviderKeys::Remote(_))) {
            let message =
                "no request waits on this host: until the keys have come, each is answered with 503";
            warn(&["providers", &provider.name, "remote_jwks"], message.to_owned());
        }
    }
    let size = document.value.to_json().to_string().len();
    if let Some((limit, what)) = host.limit().filter(|(limit, _)| size > *limit) {
        let message =
            format!("{size} bytes as JSON are more than {limit}, {what}; its compact form is smaller");
        warn(&[], message);
    }
    findings
}

/// Where the value at `path` stands, or the nearest thing around it.
pub fn mark_of(document: &Node<'_>, path: &[String]) -> Option<Mark> {
    let mut node = document;
    for part in path {
        let Value::Map(members) = &node.value else { break };
        let Some(member) = members.iter().find(|member| member.key == part.as_str()) else { break };
        node = &member.node;
    }
    node.mark()
}
