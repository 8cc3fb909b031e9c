//! What a profile of JWT access tokens asks of the claims, beyond what the rules say.

use super::token::TokenError;
use crate::jose::json::{Object, Value};

/// A profile that a provider's JWTs keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// JSON Web Token Profile for OAuth 2.0 Access Tokens.
    Rfc9068,
}

impl Profile {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rfc9068 => "rfc9068",
        }
    }

    /// The `typ` of its tokens (RFC 9068 section 2.1), with and without `application/`.
    pub fn token_type(self) -> &'static str {
        match self {
            Self::Rfc9068 => "at+jwt",
        }
    }

    /// Whether the claims that it requires are there and of their types (RFC 9068 section 2.2). What the rules read is
    /// judged there.
    ///
    /// # Errors
    ///
    /// Of several faults, an absent claim.
    pub fn check(self, claims: &Object) -> Result<(), TokenError> {
        let Self::Rfc9068 = self;
        const REQUIRED: [&str; 7] = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];
        const TEXTS: [&str; 4] = ["iss", "sub", "client_id", "jti"];
        if let Some(absent) = REQUIRED.into_iter().find(|name| !claims.contains_key(*name)) {
            return Err(TokenError::ClaimMissing(absent.into()));
        }
        let is_text =
            |name: &str| claims.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        match TEXTS.into_iter().find(|name| !is_text(name)) {
            Some(odd) => Err(TokenError::ClaimMalformed(odd.into())),
            None => Ok(()),
        }
    }
}
