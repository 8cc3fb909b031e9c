//! A JWT (RFC 7519) in compact serialization on its way from text to claims that may be believed.
//!
//! Each step consumes the one before, so none can be left out: [`UntrustedToken`] (parsed), [`SignedToken`] (its
//! issuer signed it), [`Claims`] (its rules hold).

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde::de::IgnoredAny;

use super::claims::Claims;
use super::rules::TokenRules;
use crate::collections::bounded_cache::BoundedCache;
use crate::jose::algorithm::{Algorithm, AlgorithmSet};
use crate::jose::base64url;
use crate::jose::json::{Object, Value, parse_object};
use crate::jose::key_set::{KeyFingerprint, KeySet};
use crate::jose::signature::SignatureVerifier;
use crate::respond::Reason;

/// Whether some reader somewhere would take the text for a JWT: three or five parts, the first of which is a JSON
/// object in base64 of any dialect; or a dot, and the `ey` with which the encoding of `{"` begins. Such a text is a
/// JWT, good or bad, and never an opaque token.
pub fn looks_like_jwt(token: &(impl AsRef<[u8]> + ?Sized)) -> bool {
    let token = token.as_ref();
    let Some((first, rest)) = split_at_dot(token) else { return false };
    let parts = || rest.split(|byte| *byte == b'.').count();
    token.starts_with(b"ey") || (matches!(parts(), 2 | 4) && encodes_object(first))
}

/// Whether the text is an encrypted token (JWE, RFC 7516 section 7.1): five parts, the first of which is a header with `enc`.
pub fn is_encrypted(token: &(impl AsRef<[u8]> + ?Sized)) -> bool {
    let token = token.as_ref();
    let Some((first, rest)) = split_at_dot(token) else { return false };
    rest.split(|byte| *byte == b'.').count() == 4
        && base64url::decode(first)
            .and_then(|header| parse_object(&header).ok())
            .is_some_and(|header| header.get("enc").is_some_and(Value::is_string))
}

/// What stands before and after the first dot.
fn split_at_dot(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = memchr::memchr(b'.', text)?;
    Some((text.get(..dot)?, text.get(dot + 1..)?))
}

fn encodes_object(segment: &[u8]) -> bool {
    std::str::from_utf8(segment).ok().and_then(base64url::decode_leniently).is_some_and(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        // `IgnoredAny` is read without recursion, so that no depth makes an object look like something else.
        text.starts_with('{') && serde_json::from_str::<IgnoredAny>(text.trim_end()).is_ok()
    })
}

/// The parts of a compact JWS (RFC 7515 section 7.1) as they came.
pub(super) struct CompactParts<'t> {
    pub signing_input: &'t [u8],
    pub header: &'t [u8],
    pub payload: &'t [u8],
    /// With whatever more parts there are: no base64url holds a dot.
    pub signature: &'t [u8],
}

impl<'t> CompactParts<'t> {
    /// None where there are fewer than three.
    pub fn split(token: &'t [u8]) -> Option<Self> {
        let (header, rest) = split_at_dot(token)?;
        let (payload, signature) = split_at_dot(rest)?;
        let signing_input = token.get(..header.len() + 1 + payload.len())?;
        Some(Self { signing_input, header, payload, signature })
    }
}

/// An extension in a JOSE header, none of which is understood (RFC 7515 section 4.1.11). `b64` (RFC 7797) must be marked
/// critical to be one, but an issuer that sends it unmarked signed something else than what would be verified.
pub(super) fn extension(header: &Object) -> Option<&'static str> {
    ["crit", "b64"].into_iter().find(|extension| header.contains_key(*extension))
}

/// What is read of a JOSE header (RFC 7515 section 4.1).
#[derive(Debug)]
struct Header {
    token_type: Option<Box<str>>,
    /// The `alg`, if it is one that is implemented.
    algorithm: Option<Algorithm>,
    key_id: Option<Box<str>>,
}

impl Header {
    fn parse(segment: &[u8]) -> Result<Self, TokenError> {
        let header = base64url::decode(segment).and_then(|header| parse_object(&header).ok());
        let header = header.ok_or(TokenError::Malformed(Part::Header))?;
        if let Some(extension) = extension(&header) {
            return Err(TokenError::HeaderMember(extension));
        }
        let text = |name| match header.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or(TokenError::HeaderMember(name)),
        };
        let algorithm = text("alg")?.ok_or(TokenError::HeaderMember("alg"))?;
        Ok(Self {
            algorithm: Algorithm::parse(algorithm),
            token_type: text("typ")?.map(Box::from),
            key_id: text("kid")?.map(Box::from),
        })
    }
}

/// The headers that were read last. An issuer's tokens have one and the same, and what it says depends on its text
/// alone, not on who sent it.
pub struct RecentHeaders(BoundedCache<Rc<Header>>);

impl RecentHeaders {
    const MAX_ENTRIES: usize = 16;
    /// Of a header in base64url. Longer ones are read anew each time.
    const MAX_LENGTH: usize = 512;

    fn parse(&mut self, segment: &[u8]) -> Result<Rc<Header>, TokenError> {
        if let Some(header) = self.0.lookup(segment) {
            return Ok(Rc::clone(header));
        }
        let header = Rc::new(Header::parse(segment)?);
        if segment.len() <= Self::MAX_LENGTH {
            self.0.insert(segment, Rc::clone(&header), 0);
        }
        Ok(header)
    }
}

impl Default for RecentHeaders {
    fn default() -> Self {
        Self(BoundedCache::new(Self::MAX_ENTRIES))
    }
}

/// A compact JWS (RFC 7515 section 7.1) that is well-formed, its payload not looked at and its signature not
/// verified.
#[derive(Clone, Debug)]
pub struct Jws<'t> {
    signing_input: &'t [u8],
    header: Rc<Header>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// Parses three parts. A JWE, which has five, is none.
    pub fn parse(token: &'t (impl AsRef<[u8]> + ?Sized)) -> Result<Self, TokenError> {
        Self::parse_with(token.as_ref(), |header| Header::parse(header).map(Rc::new))
    }

    fn parse_with(
        token: &'t [u8],
        parse_header: impl FnOnce(&[u8]) -> Result<Rc<Header>, TokenError>,
    ) -> Result<Self, TokenError> {
        let no_parts = || TokenError::Malformed(Part::Token);
        let parts = CompactParts::split(token).ok_or_else(no_parts)?;
        let parse = || {
            Ok(Self {
                signing_input: parts.signing_input,
                header: parse_header(parts.header)?,
                payload: base64url::decode(parts.payload).ok_or(TokenError::Malformed(Part::Payload))?,
                signature: base64url::decode(parts.signature)
                    .ok_or(TokenError::Malformed(Part::Signature))?,
            })
        };
        // A fourth part, which no base64url is, comes before whatever else is wrong.
        parse().map_err(|error| if parts.signature.contains(&b'.') { no_parts() } else { error })
    }

    /// Verifies the signature with a key of the set: the fingerprint of the key, and the payload.
    ///
    /// The keys come from the set alone; `jwk`, `jku`, `x5u` and `x5c` of the header are not read.
    pub fn verify_signature(
        self,
        algorithms: AlgorithmSet,
        keys: &KeySet,
        verifier: &dyn SignatureVerifier,
    ) -> Result<(KeyFingerprint, Vec<u8>), TokenError> {
        let fingerprint = self.signer(algorithms, keys, verifier)?;
        Ok((fingerprint, self.payload))
    }

    fn signer(
        &self,
        algorithms: AlgorithmSet,
        keys: &KeySet,
        verifier: &dyn SignatureVerifier,
    ) -> Result<KeyFingerprint, TokenError> {
        let algorithm = self.allowed_algorithm(algorithms)?;
        let mut error = TokenError::KeyNotFound;
        for key in keys.candidates(algorithm, self.header.key_id.as_deref()) {
            if verifier.verify(algorithm, key, self.signing_input, &self.signature) {
                return Ok(*key.fingerprint());
            }
            error = TokenError::SignatureInvalid;
        }
        Err(error)
    }

    fn allowed_algorithm(&self, algorithms: AlgorithmSet) -> Result<Algorithm, TokenError> {
        self.header
            .algorithm
            .filter(|&algorithm| algorithms.contains(algorithm))
            .ok_or(TokenError::AlgorithmNotAllowed)
    }
}

/// A well-formed JWT of which nothing may be believed yet.
#[derive(Clone, Debug)]
pub struct UntrustedToken<'t> {
    jws: Jws<'t>,
    claims: Object,
}

impl<'t> UntrustedToken<'t> {
    /// Parses strictly: canonical base64url, UTF-8, each member named once, no `crit`, no `b64`.
    pub fn parse(token: &'t (impl AsRef<[u8]> + ?Sized)) -> Result<Self, TokenError> {
        Self::of(Jws::parse(token)?)
    }

    /// The same, where the header may be one of those that were read last.
    pub fn parse_with(token: &'t [u8], recent_headers: &mut RecentHeaders) -> Result<Self, TokenError> {
        Self::of(Jws::parse_with(token, |header| recent_headers.parse(header))?)
    }

    fn of(mut jws: Jws<'t>) -> Result<Self, TokenError> {
        let payload = std::mem::take(&mut jws.payload);
        let claims = parse_object(&payload).map_err(|_| TokenError::Malformed(Part::Payload))?;
        Ok(Self { jws, claims })
    }

    /// `iss`, by which the provider is found; None where the token has none.
    pub fn issuer(&self) -> Result<Option<&str>, TokenError> {
        match self.claims.get("iss") {
            None => Ok(None),
            Some(issuer) => issuer.as_str().map(Some).ok_or(TokenError::ClaimMalformed("iss".into())),
        }
    }

    /// The payload.
    pub fn claims(&self) -> &Object {
        &self.claims
    }

    /// The `alg`, where it is one that is implemented.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.jws.header.algorithm
    }

    /// The `kid`.
    pub fn key_id(&self) -> Option<&str> {
        self.jws.header.key_id.as_deref()
    }

    /// `typ` and `alg`, and what the claims say of the token's type, against a provider's rules.
    /// [`Self::verify_signature`] asks the same again.
    pub fn check_header(&self, rules: &TokenRules) -> Result<(), TokenError> {
        self.check_type(rules)?;
        self.jws.allowed_algorithm(rules.algorithms).map(|_| ())
    }

    /// `typ`, and what the claims say of the token's type, against a provider's rules.
    pub fn check_type(&self, rules: &TokenRules) -> Result<(), TokenError> {
        if !rules.accepts_type(self.jws.header.token_type.as_deref()) {
            return Err(TokenError::TypeNotAccepted);
        }
        rules.check_use(&self.claims)
    }

    /// `typ` and `alg` of a token whose issuer is nobody's: the type must be one that is accepted by default, and
    /// the algorithm one that is implemented.
    pub fn check_header_of_unknown_issuer(&self) -> Result<(), TokenError> {
        let algorithms = AlgorithmSet::of(Algorithm::ALL);
        self.check_header(&TokenRules { algorithms, ..TokenRules::default() })
    }

    /// Verifies the signature with a key of the issuer. The header is checked again, so that no order of calls leaves
    /// it unchecked.
    pub fn verify_signature(
        self,
        rules: &TokenRules,
        keys: &KeySet,
        verifier: &dyn SignatureVerifier,
    ) -> Result<SignedToken, TokenError> {
        self.check_header(rules)?;
        let key_fingerprint = self.jws.signer(rules.algorithms, keys, verifier)?;
        Ok(SignedToken { claims: self.claims, key_fingerprint, header: self.jws.header })
    }
}

/// A JWT that its issuer signed. Whether it holds now and here is not known yet.
#[derive(Clone, Debug)]
pub struct SignedToken {
    claims: Object,
    key_fingerprint: KeyFingerprint,
    header: Rc<Header>,
}

impl SignedToken {
    /// Which key verified it.
    pub fn key_fingerprint(&self) -> &KeyFingerprint {
        &self.key_fingerprint
    }

    /// The `kid` of its header.
    pub fn key_id(&self) -> Option<&str> {
        self.header.key_id.as_deref()
    }

    /// What it says, for whoever judges it by other rules than those of access tokens.
    pub fn claims(&self) -> &Object {
        &self.claims
    }

    /// Validates the claims at `now` (since the Unix epoch). `is_tenant` knows the ids and aliases of the configured
    /// tenants. Where several faults meet, the error is the one whose reason comes first in [`Reason::ALL`].
    pub fn validate(
        self,
        rules: &TokenRules,
        now: Duration,
        is_tenant: &dyn Fn(&str) -> bool,
    ) -> Result<Claims, TokenError> {
        let (claims, malformed) = Claims::read_leniently(self.claims, &rules.claims);
        match (claims.check(rules, now, is_tenant), malformed) {
            (Ok(()), None) => Ok(claims),
            (Ok(()) | Err(TokenError::ClaimMalformed(_)), Some(malformed)) => Err(malformed),
            (Err(error), _) => Err(error),
        }
    }
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// A part of the token has not the form that it must have.
    Malformed(Part),
    /// A member of the header is absent, of the wrong type, or an extension that is not understood.
    HeaderMember(&'static str),
    /// The `typ` is not accepted, or something else says that this is no access token.
    TypeNotAccepted,
    /// The `alg` is not allowed, or not implemented.
    AlgorithmNotAllowed,
    /// The `iss` is no provider's, or absent.
    IssuerUnknown,
    /// No key of the issuer fits `kid` and `alg`.
    KeyNotFound,
    /// No key of the issuer verifies the signature.
    SignatureInvalid,
    /// `exp` has come.
    Expired,
    /// `nbf` has not come, or `iat` lies in the future.
    NotYetValid,
    /// `iat` is longer ago than the configured age.
    TooOld,
    /// The token is meant for others.
    AudienceMismatch,
    /// This claim is absent.
    ClaimMissing(Cow<'static, str>),
    /// This claim has an unusable value.
    ClaimMalformed(Cow<'static, str>),
}

/// A part of a compact JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole: not three parts.
    Token,
    /// The protected header.
    Header,
    /// The payload.
    Payload,
    /// The signature.
    Signature,
}

impl TokenError {
    /// The reason that the client is told.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) | Self::HeaderMember(_) => Reason::TokenMalformed,
            Self::TypeNotAccepted => Reason::TokenTypeNotAccepted,
            Self::AlgorithmNotAllowed => Reason::AlgorithmNotAllowed,
            Self::IssuerUnknown => Reason::IssuerUnknown,
            Self::KeyNotFound => Reason::KeyNotFound,
            Self::SignatureInvalid => Reason::SignatureInvalid,
            Self::Expired => Reason::TokenExpired,
            Self::NotYetValid => Reason::TokenNotYetValid,
            Self::TooOld => Reason::TokenTooOld,
            Self::AudienceMismatch => Reason::AudienceMismatch,
            Self::ClaimMissing(_) => Reason::ClaimMissing,
            Self::ClaimMalformed(_) => Reason::ClaimMalformed,
        }
    }
}

impl fmt::Display for TokenError {
    /// Names members, never their values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(Part::Token) => f.write_str("the token is not a JWS of three parts"),
            Self::Malformed(Part::Header) => f.write_str("the header is not one JSON object in base64url"),
            Self::Malformed(Part::Payload) => f.write_str("the payload is not one JSON object in base64url"),
            Self::Malformed(Part::Signature) => f.write_str("the signature is not in base64url"),
            Self::HeaderMember(name) => {
                write!(f, "header member `{name}` is missing, malformed or not understood")
            }
            Self::TypeNotAccepted => f.write_str("the token is of a type that is not accepted"),
            Self::AlgorithmNotAllowed => f.write_str("`alg` is not allowed"),
            Self::IssuerUnknown => f.write_str("`iss` is not a configured issuer"),
            Self::KeyNotFound => f.write_str("no key fits `kid` and `alg`"),
            Self::SignatureInvalid => f.write_str("the signature does not verify"),
            Self::Expired => f.write_str("`exp` has passed"),
            Self::NotYetValid => f.write_str("`nbf` or `iat` lies in the future"),
            Self::TooOld => f.write_str("`iat` is too long ago"),
            Self::AudienceMismatch => f.write_str("`aud` names other audiences"),
            Self::ClaimMissing(name) => write!(f, "claim `{name}` is missing"),
            Self::ClaimMalformed(name) => write!(f, "claim `{name}` is malformed"),
        }
    }
}

impl std::error::Error for TokenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_kept_up_to_a_length_and_a_number() {
        let kept = |length: usize| {
            let mut recent = RecentHeaders::default();
            // Base64url has three octets in four characters.
            let padding = "x".repeat(length / 4 * 3 - r#"{"alg":"EdDSA","x":""}"#.len());
            let header = base64url::encode(format!(r#"{{"alg":"EdDSA","x":"{padding}"}}"#).as_bytes());
            assert_eq!(header.len(), length);
            recent.parse(header.as_bytes()).unwrap();
            recent.0.len()
        };
        assert_eq!([kept(508), kept(512), kept(516)], [1, 1, 0]);
        let mut recent = RecentHeaders::default();
        for number in 0..100 {
            let header = format!(r#"{{"alg":"EdDSA","kid":"{number}"}}"#);
            let header = base64url::encode(header.as_bytes());
            assert_eq!(recent.parse(header.as_bytes()).unwrap().key_id, Some(number.to_string().into()));
        }
        assert_eq!(recent.0.len(), RecentHeaders::MAX_ENTRIES);
    }
}
