//! What a configuration needs of the host that some hosts do not offer.

use crate::issuer::provider::ProviderKeys;
use crate::policy::Policy;

/// What a host offers beyond headers and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// It calls the filter from time to time.
    pub ticks: bool,
    /// It makes HTTP calls for the filter.
    pub callouts: bool,
    /// One context can act for another: a request that waits is resumed when the answer comes.
    pub effective_contexts: bool,
    /// The workers of one proxy share data.
    pub shared_data: bool,
}

/// A part of a configuration that a host cannot serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unserved {
    /// The keys that lead to it in the configuration.
    pub path: Vec<String>,
    /// What the host lacks, and what to do.
    pub message: String,
}

/// Everything in `policy` that a host with these `offers` cannot serve: requests would wait for ever, or a replay would
/// pass.
pub fn unserved(policy: &Policy, offers: Offers) -> Vec<Unserved> {
    let Offers { ticks, callouts, effective_contexts, shared_data } = offers;
    let mut unserved = Vec::new();
    let mut need = |path: Vec<String>, needs: &[(bool, &str)], remedy: &str| {
        let lacking: Vec<&str> =
            needs.iter().filter(|(offered, _)| !offered).map(|(_, what)| *what).collect();
        if !lacking.is_empty() {
            let message = format!("this host has no {}: {remedy}", lacking.join(" and no "));
            unserved.push(Unserved { path, message });
        }
    };
    for provider in &policy.providers {
        let path = |key: &str| vec!["providers".to_owned(), provider.name.to_string(), key.to_owned()];
        if let ProviderKeys::Remote(remote) = &provider.keys {
            let needs = [(ticks, "ticks"), (callouts, "callouts")];
            let key = if remote.discovery.is_some() { "discovery" } else { "remote_jwks" };
            need(path(key), &needs, "no keys would ever be fetched; use `local_jwks`");
        }
        if provider.introspection.is_some() {
            let needs =
                [(ticks, "ticks"), (callouts, "callouts"), (effective_contexts, "effective contexts")];
            need(path("introspection"), &needs, "requests would wait for ever; use JWTs");
        }
        if provider.dpop.is_some() {
            let needs = [(shared_data, "shared data")];
            need(path("dpop"), &needs, "each worker would take a proof once more");
        }
    }
    if !policy.token_endpoints.is_empty() {
        let needs = [(ticks, "ticks"), (effective_contexts, "effective contexts")];
        need(
            vec!["token_endpoints".to_owned()],
            &needs,
            "a token request whose body never comes would wait for ever; guard token requests elsewhere",
        );
    }
    unserved
}

#[cfg(test)]
mod tests {
    use scopegate_testing::mint::{Signer, jwks};
    use serde_json::{Value, json};

    use super::*;
    use crate::config::parse_json;

    const ALL: Offers = Offers { ticks: true, callouts: true, effective_contexts: true, shared_data: true };

    fn policy(configuration: &Value) -> Policy {
        let loaded = parse_json(configuration.to_string().as_bytes());
        loaded.unwrap_or_else(|errors| panic!("{errors}")).policy
    }

    #[test]
    fn each_part_of_a_configuration_names_what_the_host_lacks_for_it() {
        let client_auth = json!({"method": "none"});
        let configuration = json!({
            "version": 1,
            "providers": {
                "keys": {"issuer": "https://keys.example", "audiences": ["api"],
                    "remote_jwks": {"uri": "https://keys.example/jwks", "cluster": "c"},
                    "dpop": {"mode": "optional", "public_origin": "https://api.example"}},
                "found": {"issuer": "https://found.example", "audiences": ["api"],
                    "discovery": {"uri": "https://found.example/.well-known/openid-configuration", "cluster": "c"}},
                "asked": {"issuer": "https://asked.example", "audiences": ["api"],
                    "introspection": {"uri": "https://asked.example/i", "cluster": "c", "client_auth": client_auth}},
            },
            "tenants": [{"id": "acme", "providers": ["keys"], "applications": [{"client_id": "app", "provider": "keys", "scopes": []}]}],
            "suites": [{"name": "s", "operations": [{"name": "o", "path": "/o", "access": "authenticated"}]}],
            "token_endpoints": [{"path": "/token", "provider": "keys"}],
        });
        let policy = policy(&configuration);
        let lacking = |offers: Offers| -> Vec<String> {
            let told = unserved(&policy, offers).into_iter();
            told.map(|unserved| {
                let (lacks, _remedy) = unserved.message.split_once(':').unwrap();
                format!("{}: {lacks}", unserved.path.join("."))
            })
            .collect()
        };
        assert_eq!(lacking(ALL), [""; 0]);
        assert_eq!(
            lacking(Offers { ticks: false, ..ALL }),
            [
                "providers.asked.introspection: this host has no ticks",
                "providers.found.discovery: this host has no ticks",
                "providers.keys.remote_jwks: this host has no ticks",
                "token_endpoints: this host has no ticks",
            ]
        );
        assert_eq!(
            lacking(Offers { callouts: false, effective_contexts: false, ..ALL }),
            [
                "providers.asked.introspection: this host has no callouts and no effective contexts",
                "providers.found.discovery: this host has no callouts",
                "providers.keys.remote_jwks: this host has no callouts",
                "token_endpoints: this host has no effective contexts",
            ]
        );
        assert_eq!(
            lacking(Offers { shared_data: false, ..ALL }),
            ["providers.keys.dpop: this host has no shared data"]
        );
    }

    #[test]
    fn a_configuration_with_keys_of_its_own_needs_nothing_of_the_host() {
        let keys = jwks([&Signer::new("ES256", "k", 1)]);
        let configuration = json!({
            "version": 1,
            "providers": {"corp": {"issuer": "https://corp.example", "audiences": ["api"], "local_jwks": keys}},
            "tenants": [{"id": "acme"}],
            "suites": [{"name": "s", "operations": [{"name": "o", "path": "/o", "access": "authenticated"}]}],
        });
        let nothing = Offers { ticks: false, callouts: false, effective_contexts: false, shared_data: false };
        assert_eq!(unserved(&policy(&configuration), nothing), []);
    }
}
