//! What the portable file does otherwise, for hosts that are not Envoy: it believes nothing that it has not seen.
//!
//! - It calls no foreign function, registers no queue, shares no data and reads no property while it is configured: hosts
//!   trap on these, or crash.
//! - What a configuration needs of the host is tried out first ([`offers`]), and refused by name where it is missing.
//! - A request's headers have to be all there, and to say what the upstream will get ([`check`]).
//! - A header that was removed has to be gone, one that was set to be there ([`Changed`]).

use std::cell::Cell;
use std::time::Duration;

use proxy_wasm::types::MapType;

use super::host::{self, HeaderMap};
use crate::http::headers::{Header, values};
use crate::issuer::provider::ProviderKeys;
use crate::policy::Policy;
use crate::policy::host::Offers;
use crate::respond::{Reason, Rejection};
use crate::route::normalize_host;

/// How often the root context is called. Some hosts let a period be set once only.
pub const TICK: Duration = Duration::from_millis(100);

/// What the VM remembers where the configuration does not say: the whole of it stays under 16 MiB.
pub const MEMORY_BUDGET: usize = 6 << 20;

/// Hosts are known that hand over this many headers and leave out the others, whatever they say of their number.
const TOO_MANY_HEADERS: usize = 100;

thread_local! {
    /// Whether the host has told a property of a request, so that it knows properties.
    static HAS_PROPERTIES: Cell<bool> = const { Cell::new(false) };
}

/// Whether properties of a request may be set.
pub fn may_set_properties() -> bool {
    !host::is_portable() || HAS_PROPERTIES.get()
}

/// Whether `policy` needs the root context to be called from time to time.
pub fn needs_ticks(policy: &Policy) -> bool {
    calls_issuers(policy) || !policy.token_endpoints.is_empty()
}

/// What the host offers of what `policy` needs; the rest is not tried out. `ticks` says whether it took a period.
pub fn offers(policy: &Policy, ticks: bool) -> Offers {
    Offers {
        ticks,
        callouts: calls_issuers(policy) && host::has_callouts(),
        effective_contexts: needs_ticks(policy) && host::has_effective_contexts(),
        shared_data: false,
    }
}

fn calls_issuers(policy: &Policy) -> bool {
    policy
        .providers
        .iter()
        .any(|provider| matches!(provider.keys, ProviderKeys::Remote(_)) || provider.introspection.is_some())
}

/// Whether a request is what the upstream will get. `count` is how many headers the host says there are.
///
/// # Errors
///
/// Headers are missing; the path was normalised on its way here; the host is another one than the client's.
pub fn check(headers: &[Header<'_>], count: usize, policy: &Policy) -> Result<(), Rejection> {
    let with_those_of_the_filter = headers.len().saturating_add(policy.forward.headers.len());
    if headers.len() < count || with_those_of_the_filter >= TOO_MANY_HEADERS {
        return Err(Rejection::about(
            Reason::HeaderMalformed,
            "there are more headers than the host hands over",
        ));
    }
    let value = |name| values(headers, name).next().unwrap_or_default();
    if let Some(path) = host::property(&["request", "path"]) {
        HAS_PROPERTIES.set(true);
        if *path != *value(":path") {
            return Err(Rejection::about(Reason::PathAmbiguous, "the upstream gets another path"));
        }
    }
    let authority = normalize_host(value(":authority"));
    if values(headers, "host").any(|host| normalize_host(host) != authority) {
        return Err(Rejection::about(Reason::HostMalformed, "the upstream gets another host"));
    }
    Ok(())
}

/// Whether the effective context is that of the request with these headers.
pub fn is_request_of(headers: &[Header<'_>]) -> bool {
    let Some(mut map) = HeaderMap::read(MapType::HttpRequestHeaders) else { return false };
    map.pairs().is_some_and(|pairs| pairs == headers)
}

/// A request's headers as they have to be once it was changed.
pub struct Changed {
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    names: Vec<Vec<u8>>,
}

impl Changed {
    /// Nothing is changed yet.
    pub fn new(headers: &[Header<'_>]) -> Self {
        let headers = headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        Self { headers, names: Vec::new() }
    }

    /// Every header of this name is removed.
    pub fn remove(&mut self, name: &[u8]) {
        self.headers.retain(|(known, _)| known != name);
        self.names.push(name.to_vec());
    }

    /// A header is added.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        self.headers.push((name.to_vec(), value.to_vec()));
        self.names.push(name.to_vec());
    }

    /// Whether the host has the headers that were changed as they have to be.
    pub fn holds(&self) -> bool {
        if self.names.is_empty() {
            return true;
        }
        let Some(mut map) = HeaderMap::read(MapType::HttpRequestHeaders) else { return false };
        let Some(headers) = map.pairs() else { return false };
        self.names.iter().all(|name| {
            let wanted =
                self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_slice());
            let there = headers.iter().filter(|(known, _)| known == name).map(|(_, value)| *value);
            wanted.eq(there)
        })
    }
}
