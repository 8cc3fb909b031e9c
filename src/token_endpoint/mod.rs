//! The guard of token endpoints: wrong scopes are stopped where tokens are asked for.
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
mod endpoint;
mod fault;
mod form;

pub use check::{Checked, Disposition, RegisteredClient, TokenRequest, check, check_head, check_query};
pub use endpoint::{
    DEFAULT_GRANT_TYPES, DEFAULT_PASSED_SCOPES, OnUnregisteredScope, TokenEndpoint, find, folded,
    is_taken_for,
};
pub use fault::{ErrorCode, Fault};
pub use form::{Form, FormFault};

/// The longest body of a token request that is looked at, in bytes.
pub const MAX_BODY_BYTES: usize = 65_536;
