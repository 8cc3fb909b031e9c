//! Key sets (RFC 7517): which keys of an issuer may verify what.
//!
//! 1. A key is bound to its type: the algorithms it may verify follow from `kty`, `crv` and, if present, `alg`; a
//!    token's header never widens them.
//! 2. `use` and `key_ops` are honoured: a key that is not for verifying signatures is not in the set.
//! 3. A key that is weak, off its curve, private, or not understood is skipped and reported; it never fails the set,
//!    so that an issuer may publish a key of a new kind without an outage.
//! 4. Symmetric keys come from the configuration alone, and only where it says so.
//! 5. Both the keys in a set and the keys tried for one token are bounded.

use std::fmt;

use jwt_compact::alg::{Ed25519, Es256k, VerifyingKey as _};
use rsa::BigUint;
use rsa::pkcs8::EncodePublicKey as _;
use sha2::{Digest as _, Sha256};

use super::algorithm::{Algorithm, AlgorithmSet};
use super::base64url;
use super::json::{JsonError, Object, Value, parse_object, printable};

/// How many keys of a set are used; the others are reported.
pub const MAX_KEYS: usize = 100;

/// How many keys are tried for one token: several may share a `kid`, or a token name none.
pub const MAX_CANDIDATES: usize = 8;

/// The smallest RSA modulus accepted, in bits (RFC 7518 section 3.3).
pub const MIN_RSA_BITS: usize = 2048;

/// The largest RSA modulus accepted, in bits: verification grows with its square.
pub const MAX_RSA_BITS: usize = 8192;

/// Identifies the key material: the SHA-256 thumbprint of RFC 7638. Of a symmetric key it must stay as secret as the
/// key (RFC 7638 section 7).
pub type KeyFingerprint = [u8; 32];

/// Where a key set comes from, which decides whether it may hold symmetric keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The configuration.
    Local {
        /// Whether `oct` keys are taken.
        allow_symmetric: bool,
    },
    /// The issuer's key endpoint, whose answer anybody may read.
    Remote,
}

/// The usable keys of one issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

impl KeySet {
    /// Reads a JWK Set document (RFC 7517 section 5): the keys that are usable, and what was skipped and why.
    pub fn parse(document: &[u8], source: KeySource) -> Result<(Self, Vec<SkippedKey>), KeySetError> {
        Self::from_object(&parse_object(document).map_err(KeySetError::Json)?, source)
    }

    /// As [`KeySet::parse`], of a document that is parsed already, repeated members refused.
    pub fn from_object(document: &Object, source: KeySource) -> Result<(Self, Vec<SkippedKey>), KeySetError> {
        let Some(Value::Array(jwks)) = document.get("keys") else { return Err(KeySetError::NoKeysArray) };
        let mut set = Self::default();
        let mut skipped = Vec::new();
        for (index, jwk) in jwks.iter().enumerate() {
            let key = if set.keys.len() < MAX_KEYS {
                Key::from_jwk(jwk, source)
            } else {
                Err(SkipReason::TooManyKeys)
            };
            match key {
                Ok(key) => set.keys.push(key),
                Err(reason) => {
                    let key_id = jwk.get("kid").and_then(Value::as_str).map(printable);
                    skipped.push(SkippedKey { index, key_id, reason });
                }
            }
        }
        Ok((set, skipped))
    }

    /// The keys to try for a token with this header, at most [`MAX_CANDIDATES`]. With a `kid`: the keys of that very
    /// `kid`, or if the set has none, those without one. Without a `kid`: every key. Only keys that may verify
    /// `algorithm` are among them.
    pub fn candidates<'a>(
        &'a self,
        algorithm: Algorithm,
        key_id: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Key> {
        let anonymous = key_id.is_some_and(|key_id| !self.knows_key_id(key_id));
        self.keys
            .iter()
            .filter(move |key| key_id.is_none() || key.key_id() == if anonymous { None } else { key_id })
            .filter(move |key| key.algorithms.contains(algorithm))
            .take(MAX_CANDIDATES)
    }

    /// Whether a key of the set has this `kid`. Where none has, a newer set might.
    pub fn knows_key_id(&self, key_id: &str) -> bool {
        self.keys.iter().any(|key| key.key_id() == Some(key_id))
    }

    /// Whether the set still has the key of this fingerprint.
    pub fn contains_fingerprint(&self, fingerprint: &KeyFingerprint) -> bool {
        self.keys.iter().any(|key| key.fingerprint == *fingerprint)
    }

    /// The keys, in the order of the document.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// How many keys are usable.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is usable.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Why a document is no key set at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySetError {
    /// Not a JSON object, or one that names a member twice.
    Json(JsonError),
    /// No member `keys` that is an array (RFC 7517 section 5.1).
    NoKeysArray,
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "the key set is malformed: {error}"),
            Self::NoKeysArray => f.write_str("the key set has no array `keys`"),
        }
    }
}

impl std::error::Error for KeySetError {}

/// A member of a key set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in the array `keys`, from 0.
    pub index: usize,
    /// Its `kid`, escaped and shortened.
    pub key_id: Option<Box<str>>,
    /// Why.
    pub reason: SkipReason,
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys[{}]", self.index)?;
        if let Some(key_id) = &self.key_id {
            write!(f, " (kid `{key_id}`)")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Why a member of a key set is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// Not a JSON object.
    NotAnObject,
    /// A member that the key must have is absent.
    MemberMissing(&'static str),
    /// A member has a value of the wrong type or form.
    MemberMalformed(&'static str),
    /// A `kty` that is not implemented. Escaped and shortened, as in the variants that follow.
    KeyTypeUnknown(Box<str>),
    /// A `crv` that is not implemented or does not go with the `kty`.
    CurveUnknown(Box<str>),
    /// An `alg` that is not implemented.
    AlgorithmUnknown(Box<str>),
    /// An `alg` that a key of this type does not verify.
    AlgorithmMismatch(Algorithm),
    /// `use` is another than `sig`, or `key_ops` lacks `verify`.
    NotForVerifying,
    /// The key gives its private part away; it must be replaced.
    Private,
    /// A symmetric key, which is not accepted here.
    Symmetric,
    /// A symmetric key shorter than the hash's output (RFC 7518 section 3.2).
    SymmetricTooShort,
    /// The RSA modulus has this many bits, out of bounds.
    ModulusSize(usize),
    /// The RSA modulus or public exponent cannot be one.
    RsaNumbers,
    /// The point is not on the curve, or of small order.
    NotOnCurve,
    /// The set has more keys than are used.
    TooManyKeys,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("not an object"),
            Self::MemberMissing(name) => write!(f, "has no `{name}`"),
            Self::MemberMalformed(name) => write!(f, "`{name}` is malformed"),
            Self::KeyTypeUnknown(name) => write!(f, "key type `{name}` is not supported"),
            Self::CurveUnknown(name) => write!(f, "curve `{name}` is not supported"),
            Self::AlgorithmUnknown(name) => write!(f, "algorithm `{name}` is not supported"),
            Self::AlgorithmMismatch(algorithm) => {
                write!(f, "its `alg` is `{algorithm}`, which needs a key of another type")
            }
            Self::NotForVerifying => f.write_str("not meant for verifying signatures"),
            Self::Private => {
                f.write_str("holds private key material, which must never be published: replace the key")
            }
            Self::Symmetric => f.write_str(
                "symmetric keys are only accepted in `local_jwks`, and only with an HS algorithm allowed",
            ),
            Self::SymmetricTooShort => {
                f.write_str("the symmetric key is shorter than the hash of its algorithm")
            }
            Self::ModulusSize(bits) => {
                write!(f, "an RSA modulus of {bits} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted")
            }
            Self::RsaNumbers => f.write_str("the RSA modulus or public exponent is unusable"),
            Self::NotOnCurve => f.write_str("not a usable point of the curve"),
            Self::TooManyKeys => write!(f, "only the first {MAX_KEYS} usable keys are used"),
        }
    }
}

/// One usable key.
#[derive(Clone)]
pub struct Key {
    key_id: Option<Box<str>>,
    algorithms: AlgorithmSet,
    material: KeyMaterial,
    public_key_info: Option<Box<[u8]>>,
    fingerprint: KeyFingerprint,
}

impl Key {
    /// The `kid` (RFC 7517 section 4.5).
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The algorithms whose signatures the key may verify.
    pub fn algorithms(&self) -> AlgorithmSet {
        self.algorithms
    }

    /// What identifies the key material.
    pub fn fingerprint(&self) -> &KeyFingerprint {
        &self.fingerprint
    }

    /// The DER `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7) of RSA keys and of those on P-256, P-384 and P-521.
    pub fn public_key_info(&self) -> Option<&[u8]> {
        self.public_key_info.as_deref()
    }

    /// The parsed key.
    pub(super) fn material(&self) -> &KeyMaterial {
        &self.material
    }

    fn from_jwk(jwk: &Value, source: KeySource) -> Result<Self, SkipReason> {
        let jwk = jwk.as_object().ok_or(SkipReason::NotAnObject)?;
        let key_id = text(jwk, "kid")?.map(Box::from);
        check_purpose(jwk)?;
        let Parsed { material, fits, thumbprint_input, public_key_info } = match required_text(jwk, "kty")? {
            "RSA" => rsa_key(jwk)?,
            "EC" => elliptic_curve_key(jwk)?,
            "OKP" => octet_key_pair(jwk)?,
            "oct" => symmetric_key(jwk, source)?,
            other => return Err(SkipReason::KeyTypeUnknown(printable(other))),
        };
        let algorithms = match text(jwk, "alg")? {
            None => fits,
            Some(name) => {
                let algorithm =
                    Algorithm::parse(name).ok_or_else(|| SkipReason::AlgorithmUnknown(printable(name)))?;
                if !fits.contains(algorithm) {
                    let too_short = matches!(material, KeyMaterial::Symmetric(_)) && algorithm.is_symmetric();
                    return Err(if too_short {
                        SkipReason::SymmetricTooShort
                    } else {
                        SkipReason::AlgorithmMismatch(algorithm)
                    });
                }
                AlgorithmSet::of(&[algorithm])
            }
        };
        let fingerprint = Sha256::digest(thumbprint_input).into();
        Ok(Self { key_id, algorithms, material, public_key_info, fingerprint })
    }
}

impl fmt::Debug for Key {
    /// Leaves the key material out: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("key_id", &self.key_id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

pub(super) type Ed25519Key = <Ed25519 as jwt_compact::Algorithm>::VerifyingKey;
pub(super) type Secp256k1Key = <Es256k as jwt_compact::Algorithm>::VerifyingKey;

/// A key as its algorithm's implementation takes it.
#[derive(Clone)]
pub(super) enum KeyMaterial {
    Rsa {
        key: Box<rsa::RsaPublicKey>,
        /// Big-endian, without leading zeros.
        modulus: Box<[u8]>,
    },
    P256(p256::ecdsa::VerifyingKey),
    P384(Box<p384::ecdsa::VerifyingKey>),
    P521(Box<p521::ecdsa::VerifyingKey>),
    Secp256k1(Secp256k1Key),
    Ed25519(Ed25519Key),
    Symmetric(Box<[u8]>),
}

struct Parsed {
    material: KeyMaterial,
    /// What a key of this type may verify where it has no `alg`.
    fits: AlgorithmSet,
    /// The required members in lexicographic order, without white space (RFC 7638 section 3).
    thumbprint_input: String,
    public_key_info: Option<Box<[u8]>>,
}

/// `use` (RFC 7517 section 4.2) and `key_ops` (section 4.3).
fn check_purpose(jwk: &Object) -> Result<(), SkipReason> {
    if text(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(SkipReason::NotForVerifying);
    }
    let Some(operations) = jwk.get("key_ops") else { return Ok(()) };
    let malformed = SkipReason::MemberMalformed("key_ops");
    let Some(operations) = operations.as_array() else { return Err(malformed) };
    let mut verify = false;
    for (index, operation) in operations.iter().enumerate() {
        // Section 4.3: "Duplicate key operation values MUST NOT be present in the array."
        if !operation.is_string() || operations.iter().take(index).any(|earlier| earlier == operation) {
            return Err(malformed);
        }
        verify |= operation == "verify";
    }
    if verify { Ok(()) } else { Err(SkipReason::NotForVerifying) }
}

fn rsa_key(jwk: &Object) -> Result<Parsed, SkipReason> {
    refuse_private_members(jwk)?;
    let modulus = unsigned_integer(jwk, "n")?;
    let exponent = unsigned_integer(jwk, "e")?;
    let (n, e) = (BigUint::from_bytes_be(&modulus), BigUint::from_bytes_be(&exponent));
    let bits = n.bits();
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(SkipReason::ModulusSize(bits));
    }
    // An exponent of 1 makes every message its own signature. `new_with_max_size` refuses what is even in either
    // number, and exponents of more than 33 bits, which cost time and are nobody's.
    if e <= BigUint::from(1_u8) {
        return Err(SkipReason::RsaNumbers);
    }
    let key = rsa::RsaPublicKey::new_with_max_size(n, e, MAX_RSA_BITS).map_err(|_| SkipReason::RsaNumbers)?;
    let public_key_info = key.to_public_key_der().map_err(|_| SkipReason::RsaNumbers)?;
    Ok(Parsed {
        thumbprint_input: format!(
            r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
            base64url::encode(&exponent),
            base64url::encode(&modulus)
        ),
        material: KeyMaterial::Rsa { key: Box::new(key), modulus: modulus.into() },
        fits: AlgorithmSet::of(&[
            Algorithm::Rs256,
            Algorithm::Rs384,
            Algorithm::Rs512,
            Algorithm::Ps256,
            Algorithm::Ps384,
            Algorithm::Ps512,
        ]),
        public_key_info: Some(public_key_info.as_bytes().into()),
    })
}

fn elliptic_curve_key(jwk: &Object) -> Result<Parsed, SkipReason> {
    refuse_private_members(jwk)?;
    let curve = required_text(jwk, "crv")?;
    match curve {
        "P-256" => {
            let point = uncompressed_point(jwk, 32)?;
            let key =
                p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| SkipReason::NotOnCurve)?;
            on_curve(
                jwk,
                curve,
                KeyMaterial::P256(key),
                Algorithm::Es256,
                Some(public_key_info(P256_INFO, &point)),
            )
        }
        "P-384" => {
            let point = uncompressed_point(jwk, 48)?;
            let key =
                p384::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| SkipReason::NotOnCurve)?;
            let material = KeyMaterial::P384(Box::new(key));
            on_curve(jwk, curve, material, Algorithm::Es384, Some(public_key_info(P384_INFO, &point)))
        }
        "P-521" => {
            let point = uncompressed_point(jwk, 66)?;
            let key =
                p521::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| SkipReason::NotOnCurve)?;
            let material = KeyMaterial::P521(Box::new(key));
            on_curve(jwk, curve, material, Algorithm::Es512, Some(public_key_info(P521_INFO, &point)))
        }
        "secp256k1" => {
            let point = uncompressed_point(jwk, 32)?;
            let key = Secp256k1Key::from_sec1_bytes(&point).map_err(|_| SkipReason::NotOnCurve)?;
            on_curve(jwk, curve, KeyMaterial::Secp256k1(key), Algorithm::Es256k, None)
        }
        other => Err(SkipReason::CurveUnknown(printable(other))),
    }
}

/// The DER that comes before the point in a `SubjectPublicKeyInfo` of each curve (RFC 5480 section 2).
const P256_INFO: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P384_INFO: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
    0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
const P521_INFO: &[u8] = &[
    0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x23, 0x03, 0x81, 0x86, 0x00,
];

fn public_key_info(head: &[u8], point: &[u8]) -> Box<[u8]> {
    [head, point].concat().into()
}

fn on_curve(
    jwk: &Object,
    curve: &str,
    material: KeyMaterial,
    algorithm: Algorithm,
    public_key_info: Option<Box<[u8]>>,
) -> Result<Parsed, SkipReason> {
    let (x, y) = (required_text(jwk, "x")?, required_text(jwk, "y")?);
    Ok(Parsed {
        material,
        fits: AlgorithmSet::of(&[algorithm]),
        thumbprint_input: format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#),
        public_key_info,
    })
}

/// The point in the uncompressed form of SEC 1 section 2.3.3. Coordinates have the full length (RFC 7518 section
/// 6.2.1.2).
fn uncompressed_point(jwk: &Object, coordinate_length: usize) -> Result<Vec<u8>, SkipReason> {
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = octets(jwk, name)?;
        if coordinate.len() != coordinate_length {
            return Err(SkipReason::MemberMalformed(name));
        }
        point.extend(coordinate);
    }
    Ok(point)
}

/// RFC 8037 section 2.
fn octet_key_pair(jwk: &Object) -> Result<Parsed, SkipReason> {
    refuse_private_members(jwk)?;
    let curve = required_text(jwk, "crv")?;
    if curve != "Ed25519" {
        return Err(SkipReason::CurveUnknown(printable(curve)));
    }
    let public_key = octets(jwk, "x")?;
    if public_key.len() != 32 {
        return Err(SkipReason::MemberMalformed("x"));
    }
    let key = Ed25519Key::from_slice(&public_key).map_err(|_| SkipReason::NotOnCurve)?;
    if key.is_weak() {
        return Err(SkipReason::NotOnCurve);
    }
    Ok(Parsed {
        material: KeyMaterial::Ed25519(key),
        fits: AlgorithmSet::of(&[Algorithm::EdDsa]),
        thumbprint_input: format!(
            r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
            base64url::encode(&public_key)
        ),
        public_key_info: None,
    })
}

/// RFC 7518 section 6.4.
fn symmetric_key(jwk: &Object, source: KeySource) -> Result<Parsed, SkipReason> {
    match source {
        KeySource::Local { allow_symmetric: true } => {}
        KeySource::Local { allow_symmetric: false } | KeySource::Remote => return Err(SkipReason::Symmetric),
    }
    let secret = octets(jwk, "k")?;
    // RFC 7518 section 3.2: "A key of the same size as the hash output … or larger MUST be used".
    let fits: AlgorithmSet = [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)]
        .into_iter()
        .filter(|&(_, hash_length)| secret.len() >= hash_length)
        .map(|(algorithm, _)| algorithm)
        .collect();
    if fits.is_empty() {
        return Err(SkipReason::SymmetricTooShort);
    }
    Ok(Parsed {
        thumbprint_input: format!(r#"{{"k":"{}","kty":"oct"}}"#, base64url::encode(&secret)),
        material: KeyMaterial::Symmetric(secret.into()),
        fits,
        public_key_info: None,
    })
}

/// RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1, RFC 8037 section 2.
fn refuse_private_members(jwk: &Object) -> Result<(), SkipReason> {
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    if PRIVATE.iter().any(|&name| jwk.contains_key(name)) { Err(SkipReason::Private) } else { Ok(()) }
}

fn text<'a>(jwk: &'a Object, name: &'static str) -> Result<Option<&'a str>, SkipReason> {
    match jwk.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(SkipReason::MemberMalformed(name)),
    }
}

fn required_text<'a>(jwk: &'a Object, name: &'static str) -> Result<&'a str, SkipReason> {
    text(jwk, name)?.ok_or(SkipReason::MemberMissing(name))
}

fn octets(jwk: &Object, name: &'static str) -> Result<Vec<u8>, SkipReason> {
    base64url::decode(required_text(jwk, name)?).ok_or(SkipReason::MemberMalformed(name))
}

/// A Base64urlUInt (RFC 7518 section 2), big-endian. Leading zero octets, which the RFC forbids and some issuers
/// write, are dropped.
fn unsigned_integer(jwk: &Object, name: &'static str) -> Result<Vec<u8>, SkipReason> {
    Ok(octets(jwk, name)?.into_iter().skip_while(|&octet| octet == 0).collect())
}
