//! Where token requests are guarded, as configured.

use crate::ids::ProviderId;

/// The `grant_type` values that pass where an endpoint names none (RFC 6749 sections 4.4.2, 4.1.3 and 6).
pub const DEFAULT_GRANT_TYPES: [&str; 3] = ["client_credentials", "authorization_code", "refresh_token"];

/// One guarded endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEndpoint {
    /// Its canonical path, compared whole.
    pub path: Box<str>,
    /// The methods under which it is guarded, case-sensitive. Under any other it is an operation like any other.
    pub methods: Box<[Box<str>]>,
    /// What becomes of a scope that the application is not assigned.
    pub on_unregistered_scope: OnUnregisteredScope,
    /// The `grant_type` values that pass.
    pub grant_types: Box<[Box<str>]>,
    /// Whose clients ask here. None: those of all providers, which must not share a client id then.
    pub provider: Option<ProviderId>,
}

/// What becomes of a requested scope that the application is not assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnregisteredScope {
    /// The token request is refused.
    Reject,
    /// It is taken out of the request, which is refused only where no scope is left.
    Narrow,
}

/// The endpoint that a request with this canonical path, without its query, and method asks.
pub fn find<'e>(endpoints: &'e [TokenEndpoint], path: &str, method: &[u8]) -> Option<&'e TokenEndpoint> {
    endpoints.iter().find(|endpoint| {
        *endpoint.path == *path && endpoint.methods.iter().any(|accepted| accepted.as_bytes() == method)
    })
}
