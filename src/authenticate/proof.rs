//! Proofs that a client holds the key that its token is bound to: DPoP (RFC 9449).
//!
//! [`check`] asks what section 4.3 lists, in an order in which what is cheap and what the client does not choose comes
//! first: a key of another thumbprint than the token's is refused before any signature is verified. Whether a proof came
//! before is the last question, and not asked here: [`Proof::id`] is what [`super::replay`] remembers.

use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::claims::numeric_date;
use super::nonce::Nonces;
use super::token::{CompactParts, extension};
use crate::jose::json::{Object, Value, parse_object};
use crate::jose::{Algorithm, AlgorithmSet, Key, KeyFingerprint, SignatureVerifier, base64url};
use crate::route::normalize_host;
use crate::route::path::canonicalize;

/// How long a proof may be, in bytes: one with an RSA key of 8192 bits has half of that.
const MAX_PROOF_BYTES: usize = 8192;

/// What is demanded of proofs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRules {
    /// The signature algorithms accepted, none of them symmetric.
    pub algorithms: AlgorithmSet,
    /// How long after its `iat` a proof is good, where no nonce says when it was made.
    pub max_age: Duration,
    /// How far in the future an `iat` may lie.
    pub clock_skew: Duration,
    /// What clients call, as far as `htu` says it.
    pub origin: PublicOrigin,
}

/// The scheme, host and port that clients call this gateway by. Behind a proxy that ends TLS nothing in the request says
/// them, and what `Host` says is the client's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicOrigin {
    scheme: Box<str>,
    host: Box<str>,
    port: u16,
}

impl fmt::Display for PublicOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match (&*self.scheme, self.port) {
            ("https", 443) | ("http", 80) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

impl PublicOrigin {
    /// Reads `https://host` with an optional port. None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (origin, rest) = Self::split(text)?;
        matches!(rest, "" | "/").then_some(origin)
    }

    /// Whether it promises TLS.
    pub fn is_secure(&self) -> bool {
        &*self.scheme == "https"
    }

    /// The origin of an absolute URI, and what follows it.
    fn split(uri: &str) -> Option<(Self, &str)> {
        let (scheme, rest) = uri.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end)?;
        let host = normalize_host(authority.as_bytes())?;
        // Neither a name nor an address in brackets ends with a colon and digits.
        let port = match authority.rsplit_once(':') {
            Some((_, digits)) if !digits.ends_with(']') => digits.parse().ok()?,
            Some(_) | None => default_port,
        };
        Some((Self { scheme: scheme.into(), host: (&*host).into(), port }, rest))
    }

    /// Whether `uri` names this origin and `path`, which is canonical. Query and fragment are ignored (RFC 9449 section
    /// 4.3, check 9); both sides are normalized as RFC 3986 section 6.2.2 says.
    fn leads_to(&self, uri: &str, path: &str) -> bool {
        let Some((origin, rest)) = Self::split(uri) else { return false };
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let named = match rest.get(..end) {
            // RFC 3986 section 6.2.3: an empty path is `/`.
            Some("") => "/",
            Some(named) => named,
            None => return false,
        };
        origin == *self && canonicalize(named.as_bytes()).is_ok_and(|named| named.path() == path)
    }
}

/// A request as far as a proof speaks of it.
#[derive(Clone, Copy)]
pub struct ProvenRequest<'r> {
    /// The method.
    pub method: &'r [u8],
    /// `:path`, with the query.
    pub path: &'r [u8],
    /// The access token.
    pub token: &'r [u8],
    /// The thumbprint of the key that the token is bound to: `cnf.jkt` (RFC 9449 section 6.1).
    pub thumbprint: &'r KeyFingerprint,
}

/// A proof that holds, if it did not come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What tells it from every other proof: a digest of the key's thumbprint and of `jti`.
    pub id: [u8; 16],
    /// Until when it would be good, so that it has to be remembered until then.
    pub good_until: Duration,
    /// Whether its nonce is one that another has followed since.
    pub nonce_is_ageing: bool,
}

/// Why a proof is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofError {
    /// Not a JWS of three parts, or one that is too long.
    Malformed,
    /// A member of the header is absent, of the wrong type, or an extension that is not understood.
    HeaderMember(&'static str),
    /// `typ` is not `dpop+jwt`.
    TypeNotAccepted,
    /// `alg` is not among the accepted ones.
    AlgorithmNotAllowed,
    /// `jwk` is no public key that verifies `alg`.
    KeyUnusable,
    /// The token is bound to another key.
    OtherKey,
    /// The signature does not verify.
    SignatureInvalid,
    /// A claim is absent or of the wrong type.
    Claim(&'static str),
    /// A claim speaks of another request, or of another token.
    Mismatch(&'static str),
    /// `iat` is too long ago, or in the future.
    NotNow,
    /// The nonce is absent, or none that was given out lately.
    NonceNeeded,
}

impl fmt::Display for ProofError {
    /// Names members, never their values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it is not a JWS of three parts"),
            Self::HeaderMember(name) => {
                write!(f, "header member `{name}` is missing, malformed or not understood")
            }
            Self::TypeNotAccepted => f.write_str("`typ` is not `dpop+jwt`"),
            Self::AlgorithmNotAllowed => f.write_str("`alg` is not accepted"),
            Self::KeyUnusable => f.write_str("`jwk` is not a public key for its `alg`"),
            Self::OtherKey => f.write_str("the token is bound to another key"),
            Self::SignatureInvalid => f.write_str("its signature does not verify"),
            Self::Claim(name) => write!(f, "claim `{name}` is missing or malformed"),
            Self::Mismatch(name) => write!(f, "`{name}` names another one than this request"),
            Self::NotNow => f.write_str("`iat` is too long ago or in the future"),
            Self::NonceNeeded => f.write_str("it has to carry the nonce that comes with this answer"),
        }
    }
}

/// Checks `text`, the value of the request's one `DPoP` header, at `now`.
///
/// # Errors
///
/// The first of the checks that fails.
pub fn check(
    text: &[u8],
    request: ProvenRequest<'_>,
    rules: &ProofRules,
    nonces: Option<&Nonces>,
    verifier: &dyn SignatureVerifier,
    now: Duration,
) -> Result<Proof, ProofError> {
    if text.len() > MAX_PROOF_BYTES {
        return Err(ProofError::Malformed);
    }
    let parts = CompactParts::split(text).ok_or(ProofError::Malformed)?;
    let signature = base64url::decode(parts.signature).ok_or(ProofError::Malformed)?;
    let header = parse(parts.header)?;
    let (algorithm, key) = read_header(&header, rules.algorithms)?;
    if key.fingerprint() != request.thumbprint {
        return Err(ProofError::OtherKey);
    }
    if !verifier.verify(algorithm, &key, parts.signing_input, &signature) {
        return Err(ProofError::SignatureInvalid);
    }
    let claims = parse(parts.payload)?;
    let identifier = text_claim(&claims, "jti")?;
    if text_claim(&claims, "htm")?.as_bytes() != request.method {
        return Err(ProofError::Mismatch("htm"));
    }
    let path = canonicalize(request.path).map_err(|_| ProofError::Mismatch("htu"))?;
    if !rules.origin.leads_to(text_claim(&claims, "htu")?, path.path()) {
        return Err(ProofError::Mismatch("htu"));
    }
    if text_claim(&claims, "ath")? != base64url::encode(&Sha256::digest(request.token)) {
        return Err(ProofError::Mismatch("ath"));
    }
    let issued_at = claims.get("iat").and_then(numeric_date).ok_or(ProofError::Claim("iat"))?;
    let (good_until, nonce_is_ageing) = match nonces {
        // The nonce says when the proof was made, by this gateway's clock and not by the client's.
        Some(nonces) => claims
            .get("nonce")
            .and_then(Value::as_str)
            .and_then(|nonce| nonces.judge(nonce, rules.clock_skew, now))
            .map(|nonce| (nonce.until, nonce.is_ageing))
            .ok_or(ProofError::NonceNeeded)?,
        None => {
            let good_until = issued_at.saturating_add(rules.max_age);
            if now > good_until || issued_at > now.saturating_add(rules.clock_skew) {
                return Err(ProofError::NotNow);
            }
            (good_until, false)
        }
    };
    Ok(Proof { id: id(request.thumbprint, identifier), good_until, nonce_is_ageing })
}

/// What tells a proof from every other one of any key.
fn id(thumbprint: &KeyFingerprint, identifier: &str) -> [u8; 16] {
    let digest = Sha256::new().chain_update(thumbprint).chain_update(identifier).finalize();
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(digest) {
        *to = from;
    }
    id
}

fn parse(segment: &[u8]) -> Result<Object, ProofError> {
    base64url::decode(segment).and_then(|bytes| parse_object(&bytes).ok()).ok_or(ProofError::Malformed)
}

/// `typ`, `alg` and `jwk` (RFC 9449 section 4.2); nothing else of the header is read, unless it must be understood (RFC
/// 7515 section 4.1.11).
fn read_header(header: &Object, algorithms: AlgorithmSet) -> Result<(Algorithm, Key), ProofError> {
    if let Some(extension) = extension(header) {
        return Err(ProofError::HeaderMember(extension));
    }
    let text = |name| header.get(name).and_then(Value::as_str).ok_or(ProofError::HeaderMember(name));
    if !text("typ")?.eq_ignore_ascii_case("dpop+jwt") {
        return Err(ProofError::TypeNotAccepted);
    }
    let algorithm = Algorithm::parse(text("alg")?)
        .filter(|algorithm| algorithms.contains(*algorithm) && !algorithm.is_symmetric())
        .ok_or(ProofError::AlgorithmNotAllowed)?;
    let jwk = header.get("jwk").ok_or(ProofError::HeaderMember("jwk"))?;
    let key = Key::from_public_jwk(jwk).map_err(|_| ProofError::KeyUnusable)?;
    if !key.algorithms().contains(algorithm) {
        return Err(ProofError::KeyUnusable);
    }
    Ok((algorithm, key))
}

/// A claim that is a string, not an empty one.
fn text_claim<'c>(claims: &'c Object, name: &'static str) -> Result<&'c str, ProofError> {
    let text = claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or(ProofError::Claim(name))
}
