//! Signed introspection responses (RFC 9701): a JWS whose claim `token_introspection` is what RFC 7662 has as the body.
//!
//! It says more than TLS does: that the issuer itself said it, to this gateway and lately. So none of `iss`, `aud`, `iat` and
//! `typ` may be absent, and a plain response is no answer where signed ones are asked for.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::fault::IssuerFault;
use super::provider::{Introspection, Provider};
use crate::authenticate::claims::numeric_date;
use crate::authenticate::{TokenError, TokenRules, UntrustedToken};
use crate::jose::json::{Object, Value};
use crate::jose::{Algorithm, KeySet, SignatureVerifier};

/// The media type that is asked for (RFC 9701 section 4).
pub const MEDIA_TYPE: &str = "application/token-introspection+jwt";
/// The `typ` of its header, against JWTs for other uses (RFC 9701 section 8.1).
const TYPE: &str = "token-introspection+jwt";

/// A response that no key at hand verifies. The issuer may have another key since.
#[derive(Clone, PartialEq, Eq)]
pub struct Unverified {
    /// Its `alg`.
    pub algorithm: Option<Algorithm>,
    /// Its `kid`.
    pub key_id: Option<Box<str>>,
    /// The response, to be verified again.
    pub response: Rc<[u8]>,
}

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// The response of RFC 7662 in `response`, as JSON. `is_issuer` says whether an `iss` is that of the issuer that was asked.
///
/// # Errors
///
/// Why the issuer did not say it, or not lately, or not to this gateway.
pub fn open(
    response: &[u8],
    (provider, introspection, audience): (&Provider, &Introspection, &str),
    keys: &KeySet,
    is_issuer: &dyn Fn(&str) -> bool,
    verifier: &dyn SignatureVerifier,
    now: Duration,
) -> Result<Vec<u8>, IssuerFault> {
    let rules = TokenRules {
        algorithms: provider.rules.algorithms,
        token_types: Some(vec![TYPE.into()]),
        ..TokenRules::default()
    };
    let token = UntrustedToken::parse(response).map_err(|_| IssuerFault::NotSigned)?;
    let (algorithm, key_id) = (token.algorithm(), token.key_id().map(Box::from));
    let signed = token.verify_signature(&rules, keys, verifier).map_err(|error| match error {
        TokenError::KeyNotFound | TokenError::SignatureInvalid => {
            IssuerFault::Unverified(Unverified { algorithm, key_id, response: response.into() })
        }
        TokenError::Malformed(_)
        | TokenError::HeaderMember(_)
        | TokenError::TypeNotAccepted
        | TokenError::AlgorithmNotAllowed
        | TokenError::IssuerUnknown
        | TokenError::Expired
        | TokenError::NotYetValid
        | TokenError::TooOld
        | TokenError::AudienceMismatch
        | TokenError::ClaimMissing(_)
        | TokenError::ClaimMalformed(_) => IssuerFault::NotSigned,
    })?;
    let claims = signed.claims();
    // RFC 9701 section 5: `iss`, `aud` and `iat` are required.
    let issuer = claims.get("iss").and_then(Value::as_str);
    if !issuer.is_some_and(is_issuer) {
        return Err(IssuerFault::SignedMember("iss"));
    }
    if !is_for(claims, audience) {
        return Err(IssuerFault::SignedMember("aud"));
    }
    let (skew, oldest) = (provider.rules.clock_skew, introspection.max_ttl);
    let is_recent = |issued_at: Duration| {
        issued_at <= now.saturating_add(skew) && now <= issued_at.saturating_add(skew).saturating_add(oldest)
    };
    if !claims.get("iat").and_then(numeric_date).is_some_and(is_recent) {
        return Err(IssuerFault::SignedMember("iat"));
    }
    match claims.get("token_introspection") {
        Some(Value::Object(members)) => {
            serde_json::to_vec(members).map_err(|_| IssuerFault::SignedMember("token_introspection"))
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) | None => {
            Err(IssuerFault::SignedMember("token_introspection"))
        }
    }
}

fn is_for(claims: &Object, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(audience)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    }
}
