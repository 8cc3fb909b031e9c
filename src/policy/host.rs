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
