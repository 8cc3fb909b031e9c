//! The guard of token endpoints (contract section 8): wrong scopes are stopped where tokens are asked for.
//!
//! 1. **Form**: the body is a form that everybody reads alike, or it is refused ([`FormFault`]).
//! 2. **Client**: one client, that authenticates in one way at most. Whether its secret is right is for
//!    the authorization server to say; nothing here looks at it.
//! 3. **Tenant**: the one that registers this client, and that the request's own evidence does not contradict.
//! 4. **Grant, target, scopes**: what is asked for must be the tenant's and the application's (`check.rs`).
//!
//! What is refused is answered as the authorization server would (RFC 6749 section 5.2): see [`Fault`].
//!
//! Not covered: what a grant fixed before the token request, such as the scopes of an authorization code or a refresh
//! token, stands in no parameter here. It is judged when the token that comes of it is used.

mod check;
mod client;
mod fault;
mod form;

pub use check::{Outcome, RegisteredClient, Registry, TokenRequest, Verdict, check, check_head};
pub use fault::{ErrorCode, Fault};
pub use form::FormFault;

use crate::ids::ProviderId;

/// The longest body of a token request that is looked at, in bytes.
pub const MAX_BODY_BYTES: usize = 65_536;

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
