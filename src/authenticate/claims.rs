//! The claims of a token (RFC 7519 section 4), or the members of an introspection response (RFC 7662 section 2.2),
//! read once into types.
//!
//! A claim that is present with another shape than its own is never ignored: it is malformed, `null` included. The
//! tenant's claims alone are read later, by [`Claims::tenants`], since the tenant step judges them.

use std::time::Duration;

use super::base64url;
use super::json::{Object, Value};
use super::jwt::TokenError;
use super::rules::{AudienceRule, ClaimPath, ClaimPaths, TokenRules};

/// Claims, read into types.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    object: Object,
    issuer: Option<Box<str>>,
    subject: Option<Box<str>>,
    client: Option<Box<str>>,
    scope: Option<Vec<Box<str>>>,
    audiences: Option<Vec<Box<str>>>,
    expires_at: Option<Duration>,
    not_before: Option<Duration>,
    issued_at: Option<Duration>,
    confirmation: Confirmation,
}

/// How a token is bound to its sender: `cnf` (RFC 7800 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// It is not: a plain bearer token.
    None,
    /// By the client's certificate, whose DER has this SHA-256 digest: `x5t#S256` (RFC 8705 section 3.1).
    CertificateSha256([u8; 32]),
    /// In a way that is not implemented, or in more than one way. Such a token must not be used as a bearer token.
    Unsupported,
}

impl Claims {
    /// Reads `object`; the error names the first member of a wrong shape.
    pub fn read(object: Object, paths: &ClaimPaths) -> Result<Self, TokenError> {
        match Self::read_leniently(object, paths) {
            (claims, None) => Ok(claims),
            (_, Some(fault)) => Err(fault),
        }
    }

    /// Whether the rules hold at `now` (since the Unix epoch): the times, then the audience, then what must be
    /// present. `is_tenant` knows the ids and aliases of the configured tenants.
    pub fn check(
        &self,
        rules: &TokenRules,
        now: Duration,
        is_tenant: &dyn Fn(&str) -> bool,
    ) -> Result<(), TokenError> {
        self.check_times(rules, now)?;
        self.check_audience(&rules.audiences, is_tenant)?;
        self.check_presence(rules)
    }

    /// Whether `now` is before the expiry, `clock_skew` granted: "on or after" it a token is refused (RFC 7519
    /// section 4.1.4). For a verification that is cached.
    pub fn is_expired(&self, clock_skew: Duration, now: Duration) -> bool {
        self.expires_at.is_some_and(|expires_at| now >= expires_at.saturating_add(clock_skew))
    }

    /// Whether each of the claims is present and not `null`. For what a suite or an operation requires.
    pub fn require<'a>(&self, paths: impl IntoIterator<Item = &'a ClaimPath>) -> Result<(), TokenError> {
        let mut malformed = None;
        for path in paths {
            match path.lookup(&self.object) {
                None => return Err(TokenError::ClaimMissing(path.to_string().into())),
                Some(Value::Null) => malformed = malformed.or(Some(path)),
                Some(_) => {}
            }
        }
        malformed.map_or(Ok(()), |path| Err(TokenError::ClaimMalformed(path.to_string().into())))
    }

    /// The names of tenants at those of the paths that lead to a value, in their order. Each must be a non-empty
    /// string.
    pub fn tenants(&self, paths: &[ClaimPath]) -> Result<Vec<&str>, TokenError> {
        paths
            .iter()
            .filter_map(|path| path.lookup(&self.object).map(|value| (path, value)))
            .map(|(path, value)| {
                non_empty_text(value).ok_or_else(|| TokenError::ClaimMalformed(path.to_string().into()))
            })
            .collect()
    }

    /// All claims.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The subject, never empty.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The client, never empty.
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// The scope tokens (RFC 6749 section 3.3), in the order of the claim. None where there is no such claim, which
    /// an empty one is not.
    pub fn scope(&self) -> Option<&[Box<str>]> {
        self.scope.as_deref()
    }

    /// `aud`: the values of the array, or the one string. None where there is no such claim.
    pub fn audiences(&self) -> Option<&[Box<str>]> {
        self.audiences.as_deref()
    }

    /// `exp`, since the Unix epoch.
    pub fn expires_at(&self) -> Option<Duration> {
        self.expires_at
    }

    /// `nbf`, since the Unix epoch.
    pub fn not_before(&self) -> Option<Duration> {
        self.not_before
    }

    /// `iat`, since the Unix epoch.
    pub fn issued_at(&self) -> Option<Duration> {
        self.issued_at
    }

    /// `cnf`.
    pub fn confirmation(&self) -> Confirmation {
        self.confirmation
    }

    /// Reads `object`, and says what was malformed first. A malformed claim is left empty: the claims are of use for
    /// the checks whose reasons come before that of a malformed claim, and for nothing else.
    pub(super) fn read_leniently(object: Object, paths: &ClaimPaths) -> (Self, Option<TokenError>) {
        let mut fault = None;
        let expires_at = keep_fault(numeric_date(&object, "exp"), &mut fault);
        let not_before = keep_fault(numeric_date(&object, "nbf"), &mut fault);
        let issued_at = keep_fault(numeric_date(&object, "iat"), &mut fault);
        let audiences = keep_fault(top_level(&object, "aud", audiences), &mut fault);
        let issuer = keep_fault(top_level(&object, "iss", |value| value.as_str().map(Box::from)), &mut fault);
        let subject = keep_fault(first_present(&object, &paths.subject, boxed_non_empty_text), &mut fault);
        let client = keep_fault(first_present(&object, &paths.client, boxed_non_empty_text), &mut fault);
        let scope = keep_fault(first_present(&object, &paths.scope, scope_tokens), &mut fault);
        let confirmation =
            keep_fault(top_level(&object, "cnf", confirmation), &mut fault).unwrap_or(Confirmation::None);
        let claims = Self {
            issuer,
            subject,
            client,
            scope,
            audiences,
            expires_at,
            not_before,
            issued_at,
            confirmation,
            object,
        };
        (claims, fault)
    }

    fn check_times(&self, rules: &TokenRules, now: Duration) -> Result<(), TokenError> {
        if self.is_expired(rules.clock_skew, now) {
            return Err(TokenError::Expired);
        }
        let latest_start = now.saturating_add(rules.clock_skew);
        if self.not_before.is_some_and(|not_before| latest_start < not_before)
            || self.issued_at.is_some_and(|issued_at| latest_start < issued_at)
        {
            return Err(TokenError::NotYetValid);
        }
        if let (Some(issued_at), Some(max_age)) = (self.issued_at, rules.max_token_age) {
            if now > issued_at.saturating_add(max_age).saturating_add(rules.clock_skew) {
                return Err(TokenError::TooOld);
            }
        }
        Ok(())
    }

    fn check_audience(
        &self,
        rule: &AudienceRule,
        is_tenant: &dyn Fn(&str) -> bool,
    ) -> Result<(), TokenError> {
        match (rule, &self.audiences) {
            (AudienceRule::Any, _) | (AudienceRule::OneOf(_), None) => Ok(()),
            (AudienceRule::OneOf(patterns), Some(audiences)) => {
                let meant =
                    |audience: &str| patterns.iter().any(|pattern| pattern.matches(audience, is_tenant));
                if audiences.iter().any(|audience| meant(audience)) {
                    Ok(())
                } else {
                    Err(TokenError::AudienceMismatch)
                }
            }
        }
    }

    /// A claim of a wrong shape is present here.
    fn check_presence(&self, rules: &TokenRules) -> Result<(), TokenError> {
        let needed = [
            ("exp", rules.require_expiration),
            ("iat", rules.max_token_age.is_some()),
            ("aud", rules.audiences != AudienceRule::Any),
        ];
        for (name, needed) in needed {
            if needed && !self.object.contains_key(name) {
                return Err(TokenError::ClaimMissing(name.into()));
            }
        }
        self.require(&rules.required_claims)
    }
}

fn keep_fault<T>(read: Result<Option<T>, TokenError>, fault: &mut Option<TokenError>) -> Option<T> {
    read.unwrap_or_else(|error| {
        fault.get_or_insert(error);
        None
    })
}

fn top_level<T>(
    object: &Object,
    name: &'static str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, TokenError> {
    let Some(value) = object.get(name) else { return Ok(None) };
    read(value).map(Some).ok_or(TokenError::ClaimMalformed(name.into()))
}

fn first_present<T>(
    object: &Object,
    paths: &[ClaimPath],
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, TokenError> {
    let Some((path, value)) = paths.iter().find_map(|path| path.lookup(object).map(|value| (path, value)))
    else {
        return Ok(None);
    };
    read(value).map(Some).ok_or_else(|| TokenError::ClaimMalformed(path.to_string().into()))
}

fn non_empty_text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

fn boxed_non_empty_text(value: &Value) -> Option<Box<str>> {
    non_empty_text(value).map(Box::from)
}

/// A NumericDate (RFC 7519 section 2): seconds since the epoch, a fraction allowed.
fn numeric_date(object: &Object, name: &'static str) -> Result<Option<Duration>, TokenError> {
    top_level(object, name, |value| {
        /// Beyond this a JSON number is not exact (RFC 8259 section 6), and no date is meant.
        const MAX_SECONDS: u64 = 1 << 53;
        let number = value.as_number()?;
        match number.as_u64() {
            Some(seconds) => (seconds <= MAX_SECONDS).then(|| Duration::from_secs(seconds)),
            None => number
                .as_f64()
                .filter(|&seconds| seconds <= MAX_SECONDS as f64)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        }
    })
}

/// RFC 7519 section 4.1.3: an array of strings, or one string.
fn audiences(value: &Value) -> Option<Vec<Box<str>>> {
    match value {
        Value::String(audience) => Some(vec![audience.as_str().into()]),
        Value::Array(audiences) => texts(audiences),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// Tokens with one space between each (RFC 6749 section 3.3), more of them tolerated; or an array of tokens, none of
/// which is split further.
fn scope_tokens(value: &Value) -> Option<Vec<Box<str>>> {
    let mut tokens = match value {
        Value::String(scope) => scope.split(' ').map(Box::from).collect(),
        Value::Array(tokens) => texts(tokens)?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    tokens.retain(|token| !token.is_empty());
    Some(tokens)
}

fn texts(values: &[Value]) -> Option<Vec<Box<str>>> {
    values.iter().map(|value| value.as_str().map(Box::from)).collect()
}

fn confirmation(value: &Value) -> Option<Confirmation> {
    const CERTIFICATE_SHA256: &str = "x5t#S256";
    let methods = value.as_object()?;
    match methods.get(CERTIFICATE_SHA256) {
        Some(thumbprint) if methods.len() == 1 => {
            let digest = base64url::decode(thumbprint.as_str()?)?;
            digest.try_into().ok().map(Confirmation::CertificateSha256)
        }
        Some(_) | None => Some(Confirmation::Unsupported),
    }
}
