//! From the text of an access token to claims that may be believed.
//!
//! 1. A text that looks like a JWT is one, and is never taken for an opaque token ([`looks_like_jwt`]).
//! 2. It is parsed strictly: three parts in canonical base64url, JSON that names no member twice, no `crit`, no
//!    `b64`, no encryption ([`UntrustedToken::parse`]).
//! 3. Its `iss` leads to a provider, whose rules say which `typ` and `alg` are accepted
//!    ([`UntrustedToken::check_header`]).
//! 4. Its signature is verified with a key that the provider's own key set has for that `alg` and `kid`; nothing in
//!    the token brings a key or widens what a key may verify ([`UntrustedToken::verify_signature`]).
//! 5. Its claims are validated: times, audience, what must be present, and the shape of all that is read
//!    ([`SignedToken::validate`]).
//!
//! Where a token has several faults, the answer is the first in the order of [`crate::respond::Reason`]. The members
//! of an introspection response are read and checked by the same code ([`Claims::read`], [`Claims::check`]).
//!
//! Not supported, and refused: JWE, the JSON serializations, detached and unencoded payloads, nested JWTs, keys from
//! the header (`jwk`, `jku`, `x5u`, `x5c` are not read), compressed payloads, Ed448.
//!
//! ```
//! use std::time::Duration;
//!
//! use scopegate::authenticate::*;
//! use scopegate::jose::*;
//!
//! let token = "eyJhbGciOiJFZERTQSIsImtpZCI6IjIwMjYiLCJ0eXAiOiJhdCtqd3QifQ.\
//!     eyJhdWQiOiJiaWxsaW5nIiwiZXhwIjo0MTAyNDQ0ODAwLCJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUiLCJzY29wZSI6ImJpbGxpbmc6\
//!     cmVhZCIsInN1YiI6ImFsaWNlIn0.\
//!     rDsmK4dbMwqrn3OrYwCKdx6b_icIO-rC7fOpREmAXJGZ7lca1d52oRkhcA0ZNb5ZY6AP-OIwVv0KaWt88tk7Cw";
//! let key_set = br#"{"keys":[{"crv":"Ed25519","kid":"2026","kty":"OKP","x":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w"}]}"#;
//!
//! let (keys, skipped) = KeySet::parse(key_set, KeySource::Remote).unwrap();
//! assert!(skipped.is_empty());
//! let audiences = AudienceRule::OneOf(vec![TenantPattern::Exact("billing".into())]);
//! let rules = TokenRules { audiences, ..TokenRules::default() };
//!
//! let token = UntrustedToken::parse(token).unwrap();
//! assert_eq!(token.issuer(), Ok(Some("https://login.example")));
//! let now = Duration::from_secs(1_800_000_000);
//! let signed = token.verify_signature(&rules, &keys, &PureVerifier).unwrap();
//! let claims = signed.clone().validate(&rules, now, &|_tenant| false).unwrap();
//! assert_eq!(claims.subject(), Some("alice"));
//!
//! let expiry = Duration::from_secs(4_102_444_800);
//! let late = expiry + rules.clock_skew;
//! assert_eq!(signed.validate(&rules, late, &|_tenant| false), Err(TokenError::Expired));
//! ```

pub mod claims;
mod issuer_index;
pub mod nonce;
pub mod principal;
mod profile;
pub mod proof;
pub mod replay;
mod revocation;
pub mod rules;
pub mod token;

#[cfg(test)]
mod tests;

pub use claims::{Claims, Confirmation};
pub use issuer_index::IssuerIndex;
pub use principal::{MalformedTenantClaim, Principal, TenantClaim};
pub use profile::Profile;
pub use revocation::{Revoked, RevokedBy};
pub use rules::{AudienceRule, ClaimPath, ClaimPaths, RequiredValue, TenantPattern, TokenRules};
pub use token::{
    Jws, Part, RecentHeaders, SignedToken, TokenError, UntrustedToken, is_encrypted, looks_like_jwt,
};
