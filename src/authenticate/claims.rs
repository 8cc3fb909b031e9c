//! The claims of a token (RFC 7519 section 4), or the members of an introspection response (RFC 7662 section 2.2),
//! read once into types.
//!
//! A claim that is present with another shape than its own is never ignored: it is malformed, `null` included. The
//! tenant's claims alone are read later, by [`Claims::tenants`], since the tenant step judges them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use super::principal::{MalformedTenantClaim, Principal, TenantClaim};
use super::rules::{AudienceRule, ClaimPath, ClaimPaths, RequiredValue, TokenRules, text_or_integer};
use super::token::TokenError;
use crate::http::search::first_part;
use crate::jose::json::{Object, Value};
use crate::jose::{KeyFingerprint, base64url};

/// Claims, read into types.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    members: Object,
    issuer: Option<Box<str>>,
    subject: Option<Box<str>>,
    client: Option<Box<str>>,
    scope: Option<Box<[Box<str>]>>,
    audiences: Option<Box<[Box<str>]>>,
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
    /// By a key of the client's, whose RFC 7638 thumbprint this is: `jkt` (RFC 9449 section 6.1).
    KeyThumbprint(KeyFingerprint),
    /// In a way that is not implemented, or in more than one way. Such a token must not be used as a bearer token.
    Unsupported,
}

impl Claims {
    /// Reads `members`; the error names the first one of a wrong shape.
    pub fn read(members: Object, paths: &ClaimPaths) -> Result<Self, TokenError> {
        match Self::read_leniently(members, paths) {
            (claims, None) => Ok(claims),
            (_, Some(fault)) => Err(fault),
        }
    }

    /// Whether these are an access token's: [`TokenRules::check_use`].
    ///
    /// # Errors
    ///
    /// [`TokenError::TypeNotAccepted`].
    pub fn check_use(&self, rules: &TokenRules) -> Result<(), TokenError> {
        rules.check_use(&self.members)
    }

    /// Whether the rules hold at `now` (since the Unix epoch): the times, the audience, then what must be present.
    /// What kind of token it is was checked before. `is_tenant` knows the ids and aliases of the configured tenants.
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
            match path.lookup(&self.members) {
                None => return Err(TokenError::ClaimMissing(path.to_string().into())),
                Some(Value::Null) => malformed = malformed.or(Some(path)),
                Some(_) => {}
            }
        }
        malformed.map_or(Ok(()), |path| Err(TokenError::ClaimMalformed(path.to_string().into())))
    }

    /// What each of the paths that leads to a value says of tenants, in their order. Each must hold a non-empty string or
    /// an integer, or a list of such.
    pub fn tenants(&self, paths: &[ClaimPath]) -> Result<Box<[TenantClaim]>, TokenError> {
        let present = paths.iter().filter_map(|path| Some((path, path.lookup(&self.members)?)));
        let read = |(path, value): (&ClaimPath, &Value)| {
            tenant_claim(value).ok_or_else(|| TokenError::ClaimMalformed(path.to_string().into()))
        };
        present.map(read).collect()
    }

    /// Who the claims say calls. `issuer_tenant` is what stands at `{tenant}` in the issuer, and `tenant_paths` where
    /// the tenant's names stand.
    pub fn into_principal(self, issuer_tenant: Option<&str>, tenant_paths: &[ClaimPath]) -> Principal {
        let tenant_claims = self.tenants(tenant_paths).map_err(|_| MalformedTenantClaim);
        Principal {
            issuer: self.issuer,
            issuer_tenant: issuer_tenant.map(Box::from),
            subject: self.subject,
            client: self.client,
            audiences: self.audiences,
            tenant_claims,
            scopes: self.scope,
            scope_absent_from_introspection: false,
            issued_at: self.issued_at,
            claims: self.members,
        }
    }

    /// Whether there is a claim of this name, `null` included.
    pub fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some()
    }

    /// Whether there is anything at this path.
    pub fn has_at(&self, path: &ClaimPath) -> bool {
        path.lookup(&self.members).is_some()
    }

    /// The claim of this name, if it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }

    /// Has `issuer` stand for `iss` from here on: a response may leave it out.
    pub fn set_issuer(&mut self, issuer: Box<str>) {
        self.issuer = Some(issuer);
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

    /// `iat`, since the Unix epoch.
    pub fn issued_at(&self) -> Option<Duration> {
        self.issued_at
    }

    /// `cnf`.
    pub fn confirmation(&self) -> Confirmation {
        self.confirmation
    }

    /// Reads `members`, and says what was malformed first. A malformed claim is left empty: the claims are of use for
    /// the checks whose reasons come before that of a malformed claim, and for nothing else.
    pub(super) fn read_leniently(members: Object, paths: &ClaimPaths) -> (Self, Option<TokenError>) {
        let mut fault = None;
        let expires_at = keep_fault(top_level(&members, "exp", numeric_date), &mut fault);
        let not_before = keep_fault(top_level(&members, "nbf", numeric_date), &mut fault);
        let issued_at = keep_fault(top_level(&members, "iat", numeric_date), &mut fault);
        let audiences = keep_fault(top_level(&members, "aud", audiences), &mut fault);
        let issuer = keep_fault(top_level(&members, "iss", boxed_text), &mut fault);
        let subject = keep_fault(first_present(&members, &paths.subject, boxed_non_empty_text), &mut fault);
        let client = keep_fault(first_present(&members, &paths.client, boxed_non_empty_text), &mut fault);
        let scope = keep_fault(first_present(&members, &paths.scope, scope_tokens), &mut fault);
        let scope = keep_fault(with_additional_scopes(scope, &members, &paths.additional_scopes), &mut fault);
        let confirmation =
            keep_fault(top_level(&members, "cnf", confirmation), &mut fault).unwrap_or(Confirmation::None);
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
            members,
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
            ("exp", rules.require_expiration && self.expires_at.is_none()),
            ("iat", rules.max_token_age.is_some() && self.issued_at.is_none()),
            ("aud", matches!(rules.audiences, AudienceRule::OneOf(_)) && self.audiences.is_none()),
        ];
        for (name, needed) in needed {
            if needed && !self.has(name) {
                return Err(TokenError::ClaimMissing(name.into()));
            }
        }
        let claims = self.require(&rules.required_claims);
        let values = RequiredValue::check_all(&rules.required_values, &self.members);
        let profile = rules.profile.map_or(Ok(()), |profile| profile.check(&self.members));
        let faults = [claims, values, profile].into_iter().filter_map(Result::err);
        faults.min_by_key(TokenError::reason).map_or(Ok(()), Err)
    }
}

fn keep_fault<T>(read: Result<Option<T>, TokenError>, fault: &mut Option<TokenError>) -> Option<T> {
    read.unwrap_or_else(|error| {
        fault.get_or_insert(error);
        None
    })
}

fn top_level<T>(
    members: &Object,
    name: &'static str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, TokenError> {
    let Some(value) = members.get(name) else { return Ok(None) };
    read(value).map(Some).ok_or(TokenError::ClaimMalformed(name.into()))
}

fn first_present<T>(
    members: &Object,
    paths: &[ClaimPath],
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, TokenError> {
    let Some((path, value)) = paths.iter().find_map(|path| path.lookup(members).map(|value| (path, value)))
    else {
        return Ok(None);
    };
    read(value).map(Some).ok_or_else(|| TokenError::ClaimMalformed(path.to_string().into()))
}

/// An integer is the text of its decimal digits.
fn non_empty_text(value: &Value) -> Option<Cow<'_, str>> {
    text_or_integer(value).filter(|text| !text.is_empty())
}

fn tenant_claim(value: &Value) -> Option<TenantClaim> {
    let list = |names: Option<Box<[Box<str>]>>| {
        names.filter(|names| !names.is_empty() && names.iter().all(|name| !name.is_empty()))
    };
    match value {
        Value::Array(names) => list(names.iter().map(boxed_non_empty_text).collect()).map(TenantClaim::List),
        Value::Object(members) => {
            list(Some(members.keys().map(|name| name.as_str().into()).collect())).map(TenantClaim::List)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            boxed_non_empty_text(value).map(TenantClaim::One)
        }
    }
}

fn boxed_text(value: &Value) -> Option<Box<str>> {
    value.as_str().map(Box::from)
}

fn boxed_non_empty_text(value: &Value) -> Option<Box<str>> {
    non_empty_text(value).map(|text| text.into_owned().into())
}

/// A NumericDate (RFC 7519 section 2), since the epoch: seconds, a fraction allowed. None for anything else.
pub fn numeric_date(value: &Value) -> Option<Duration> {
    /// Beyond this a JSON number is not exact (RFC 8259 section 6), and no date is meant.
    const MAX_SECONDS: u64 = 1 << 53;
    match value {
        Value::Number(number) => match number.as_u64() {
            Some(seconds) => (seconds <= MAX_SECONDS).then(|| Duration::from_secs(seconds)),
            None => number
                .as_f64()
                .filter(|seconds| *seconds <= MAX_SECONDS as f64)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        },
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// RFC 7519 section 4.1.3: an array of strings, or one string.
fn audiences(value: &Value) -> Option<Box<[Box<str>]>> {
    match value {
        Value::String(audience) => Some(Box::new([audience.as_str().into()])),
        Value::Array(audiences) => texts(audiences),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// Tokens with one space between each (RFC 6749 section 3.3), more of them tolerated; or an array of tokens.
fn scope_tokens(value: &Value) -> Option<Box<[Box<str>]>> {
    match value {
        Value::String(scope) => {
            // Room for each at once; the standard library's search for spaces takes longer than the tokens are.
            let mut tokens = Vec::with_capacity(1 + scope.bytes().filter(|byte| *byte == b' ').count());
            let mut rest = Some(scope.as_str());
            while let Some(text) = rest {
                let (token, after) = first_part(b' ', text);
                if !token.is_empty() {
                    tokens.push(token.into());
                }
                rest = after;
            }
            Some(tokens.into())
        }
        Value::Array(tokens) => unsplit(texts(tokens)?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// The scopes together with those at each of the `paths` that leads to a value, each once.
fn with_additional_scopes(
    scope: Option<Box<[Box<str>]>>,
    members: &Object,
    paths: &[ClaimPath],
) -> Result<Option<Box<[Box<str>]>>, TokenError> {
    if paths.is_empty() {
        return Ok(scope);
    }
    let mut all: Option<Vec<Box<str>>> = scope.map(Vec::from);
    let mut seen: HashSet<Box<str>> = all.iter().flatten().cloned().collect();
    for path in paths {
        let Some(value) = path.lookup(members) else { continue };
        let tokens = match value {
            // Some issuers grant roles as the names of members: their values say who granted them.
            Value::Object(roles) => unsplit(roles.keys().map(|name| name.as_str().into()).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                scope_tokens(value)
            }
        };
        let tokens = tokens.ok_or_else(|| TokenError::ClaimMalformed(path.to_string().into()))?;
        let all = all.get_or_insert_default();
        all.extend(tokens.into_iter().filter(|token| seen.insert(token.clone())));
    }
    Ok(all.map(Into::into))
}

/// Tokens of which none may hold a blank: forwarded, or to another reader, it would be two.
fn unsplit(tokens: Box<[Box<str>]>) -> Option<Box<[Box<str>]>> {
    if tokens.iter().any(|token| token.contains(char::is_whitespace)) {
        return None;
    }
    Some(tokens.into_iter().filter(|token| !token.is_empty()).collect())
}

fn texts(values: &[Value]) -> Option<Box<[Box<str>]>> {
    values.iter().map(boxed_text).collect()
}

fn confirmation(value: &Value) -> Option<Confirmation> {
    const CERTIFICATE_SHA256: &str = "x5t#S256";
    const KEY_THUMBPRINT: &str = "jkt";
    let methods = value.as_object()?;
    match (methods.get(CERTIFICATE_SHA256), methods.get(KEY_THUMBPRINT)) {
        (Some(thumbprint), None) if methods.len() == 1 => {
            let digest = base64url::decode(thumbprint.as_str()?)?;
            digest.try_into().ok().map(Confirmation::CertificateSha256)
        }
        (None, Some(thumbprint)) if methods.len() == 1 => {
            let digest = thumbprint.as_str().and_then(base64url::decode);
            let thumbprint = digest.and_then(|digest| digest.try_into().ok());
            Some(thumbprint.map_or(Confirmation::Unsupported, Confirmation::KeyThumbprint))
        }
        (Some(_) | None, Some(_) | None) => Some(Confirmation::Unsupported),
    }
}
