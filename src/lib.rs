//! Multi-tenant OAuth2 scope enforcement for Envoy, and as far as they go for other proxy-wasm hosts.
//!
//! The way of a request, and where each step lives:
//!
//! 1. **Path**: one that a proxy and an upstream may read differently is refused ([`route::path`]).
//! 2. **Operation**: the most specific one, or the reason why there is none ([`route::index`]).
//! 3. **Credential**: exactly one token, in all places together ([`credential`]).
//! 4. **Token to principal**: a JWT is verified here, an opaque token is introspected ([`authenticate`]).
//! 5. **Tenant**: from all evidence, before any scope is looked at ([`authorize::resolve`]).
//! 6. **Scopes**: with the tenant's own table ([`authorize::decide`]).
//! 7. **Answer or forward** ([`respond`]).
//!
//! A token request needs no token and leaves this way after step 1: what it asks for is checked ([`token_endpoint`]).
//!
//! [`exchange`] walks these steps; [`config`] makes the policy that they are decided with. All of that is pure: it
//! reads no clock, does no IO and runs natively. `edge` alone speaks proxy-wasm, and is compiled for
//! WebAssembly only.

pub mod authenticate;
pub mod authorize;
pub mod collections;
pub mod config;
pub mod credential;
#[cfg(all(target_arch = "wasm32", not(feature = "playground")))]
mod edge;
pub mod exchange;
pub mod http;
pub mod identity;
pub mod ids;
pub mod issuer;
pub mod jose;
/// A part of the edge that is tested natively.
#[cfg(test)]
#[path = "edge/memcmp.rs"]
mod memcmp;
pub mod policy;
pub mod respond;
pub mod route;
pub mod token_endpoint;
