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

use jwt_compact::alg::{Ed25519, VerifyingKey as _};
use rsa::BoxedUint;
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
    /// Reads a JWK Set document (RFC 7517 section 5): the keys that are usable, and what was skipped and why. The
    /// document's length is the caller's to bound.
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

    /// Reads a public key that somebody else than an issuer shows (RFC 9449 section 4.2): neither a symmetric one, nor one
    /// that gives its private part away.
    pub fn from_public_jwk(jwk: &Value) -> Result<Self, SkipReason> {
        Self::from_jwk(jwk, KeySource::Remote)
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

/// A key as its algorithm's implementation takes it.
#[derive(Clone)]
pub(super) enum KeyMaterial {
    Rsa {
        /// Big-endian, without leading zeros.
        modulus: Box<[u8]>,
        key: rsa::PublicKey,
    },
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
    Secp256k1(k256::ecdsa::VerifyingKey),
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
    // RFC 7517 defines eight. The comparison of each with each must not be an issuer's means to stop the proxy.
    if operations.len() > 32 {
        return Err(malformed);
    }
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
    let (n, e) = (BoxedUint::from_be_slice_vartime(&modulus), BoxedUint::from_be_slice_vartime(&exponent));
    let bits = n.bit_width_vartime() as usize;
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(SkipReason::ModulusSize(bits));
    }
    // Refuses an even modulus, and an exponent that is 1, with which every message signs itself, even, or of more than
    // 33 bits, which costs time and is nobody's.
    let key = rsa::PublicKey::new_with_size_limits(n, e, MIN_RSA_BITS..=MAX_RSA_BITS)
        .map_err(|_| SkipReason::RsaNumbers)?;
    let public_key_info = key.to_public_key_der().map_err(|_| SkipReason::RsaNumbers)?;
    Ok(Parsed {
        thumbprint_input: format!(
            r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
            base64url::encode(&exponent),
            base64url::encode(&modulus)
        ),
        material: KeyMaterial::Rsa { modulus: modulus.into(), key },
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
            let material = KeyMaterial::P256(key);
            on_curve(jwk, curve, material, Algorithm::Es256, Some(public_key_info(P256_INFO, &point)))
        }
        "P-384" => {
            let point = uncompressed_point(jwk, 48)?;
            let key =
                p384::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| SkipReason::NotOnCurve)?;
            let material = KeyMaterial::P384(key);
            on_curve(jwk, curve, material, Algorithm::Es384, Some(public_key_info(P384_INFO, &point)))
        }
        "P-521" => {
            let point = uncompressed_point(jwk, 66)?;
            let key =
                p521::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| SkipReason::NotOnCurve)?;
            let material = KeyMaterial::P521(key);
            on_curve(jwk, curve, material, Algorithm::Es512, Some(public_key_info(P521_INFO, &point)))
        }
        "secp256k1" => {
            let point = uncompressed_point(jwk, 32)?;
            let key =
                k256::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| SkipReason::NotOnCurve)?;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use scopegate_testing::mint::{ALGORITHMS, Signer, jwks};

    const SYMMETRIC: KeySource = KeySource::Local { allow_symmetric: true };

    fn parse(jwks: &[Value], source: KeySource) -> (KeySet, Vec<SkippedKey>) {
        KeySet::parse(json!({"keys": jwks}).to_string().as_bytes(), source).unwrap()
    }

    fn key(jwk: Value) -> Result<Key, SkipReason> {
        let (keys, skipped) = parse(&[jwk], SYMMETRIC);
        match (keys.keys, skipped.into_iter().next()) {
            (mut keys, None) => Ok(keys.remove(0)),
            (_, Some(skipped)) => Err(skipped.reason),
        }
    }

    fn skipped(jwk: Value) -> Option<SkipReason> {
        key(jwk).err()
    }

    /// A good key of the algorithm's type, with these members replaced; `null` removes one.
    fn jwk_with(algorithm: &'static str, changes: Value) -> Value {
        let mut jwk = Signer::anonymous(algorithm, 1).jwk();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                jwk.as_object_mut().unwrap().remove(name);
            } else {
                jwk[name] = value.clone();
            }
        }
        jwk
    }

    #[test]
    fn a_key_may_verify_what_its_type_fits_and_its_alg_narrows() {
        for algorithm in ALGORITHMS {
            let parsed = Algorithm::parse(algorithm).unwrap();
            let free = key(jwk_with(algorithm, json!({}))).unwrap();
            assert!(free.algorithms().contains(parsed));
            let bound = key(jwk_with(algorithm, json!({"alg": algorithm}))).unwrap();
            assert_eq!(bound.algorithms(), AlgorithmSet::of(&[parsed]));
            for &other in Algorithm::ALL {
                if !free.algorithms().contains(other) {
                    assert_eq!(
                        skipped(jwk_with(algorithm, json!({"alg": other.as_str()}))),
                        Some(SkipReason::AlgorithmMismatch(other)),
                        "{algorithm} key"
                    );
                }
            }
        }
    }

    #[test]
    fn both_names_of_eddsa_bind_a_key_to_the_same_algorithm() {
        for name in ["EdDSA", "Ed25519"] {
            let key = key(jwk_with("EdDSA", json!({"alg": name}))).unwrap();
            assert_eq!(key.algorithms(), AlgorithmSet::of(&[Algorithm::EdDsa]));
        }
    }

    #[test]
    fn a_key_for_another_purpose_is_skipped() {
        for (changes, expected) in [
            (json!({"use": "sig"}), None),
            (json!({"key_ops": ["verify"]}), None),
            (json!({"use": "sig", "key_ops": ["sign", "verify"]}), None),
            (json!({"use": "enc"}), Some(SkipReason::NotForVerifying)),
            (json!({"use": "SIG"}), Some(SkipReason::NotForVerifying)),
            (json!({"use": ["sig"]}), Some(SkipReason::MemberMalformed("use"))),
            (json!({"use": "enc", "key_ops": ["verify"]}), Some(SkipReason::NotForVerifying)),
            (json!({"use": "sig", "key_ops": ["encrypt"]}), Some(SkipReason::NotForVerifying)),
            (json!({"key_ops": []}), Some(SkipReason::NotForVerifying)),
            (json!({"key_ops": ["sign"]}), Some(SkipReason::NotForVerifying)),
            (json!({"key_ops": ["verify", "verify"]}), Some(SkipReason::MemberMalformed("key_ops"))),
            (json!({"key_ops": ["verify", 1]}), Some(SkipReason::MemberMalformed("key_ops"))),
            (
                json!({"key_ops": (0..31).map(|n| format!("x{n}")).chain(["verify".to_owned()]).collect::<Vec<_>>()}),
                None,
            ),
            (
                json!({"key_ops": (0..32).map(|n| format!("x{n}")).chain(["verify".to_owned()]).collect::<Vec<_>>()}),
                Some(SkipReason::MemberMalformed("key_ops")),
            ),
            (json!({"key_ops": "verify"}), Some(SkipReason::MemberMalformed("key_ops"))),
        ] {
            assert_eq!(skipped(jwk_with("ES256", changes.clone())), expected, "{changes}");
        }
    }

    #[test]
    fn a_private_key_is_skipped_wherever_it_stands() {
        for algorithm in ["RS256", "ES256", "ES384", "ES512", "ES256K", "EdDSA"] {
            for member in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                let jwk = jwk_with(algorithm, json!({member: "AA"}));
                assert_eq!(skipped(jwk), Some(SkipReason::Private), "{algorithm}: {member}");
            }
            let jwk = jwk_with(algorithm, json!({"oth": []}));
            assert_eq!(skipped(jwk), Some(SkipReason::Private), "{algorithm}");
        }
    }

    #[test]
    fn symmetric_keys_are_taken_only_where_the_configuration_says_so() {
        let jwk = Signer::anonymous("HS256", 1).jwk();
        assert_eq!(parse(std::slice::from_ref(&jwk), SYMMETRIC).0.len(), 1);
        for source in [KeySource::Remote, KeySource::Local { allow_symmetric: false }] {
            let (keys, skipped) = parse(std::slice::from_ref(&jwk), source);
            assert!(keys.is_empty());
            assert_eq!(skipped[0].reason, SkipReason::Symmetric);
        }
    }

    #[test]
    fn a_symmetric_key_is_as_long_as_the_hash_of_its_algorithm() {
        let jwk = |length: usize, alg: Value| {
            let mut jwk = json!({"kty": "oct", "k": base64url::encode(&vec![1; length])});
            if alg.is_string() {
                jwk["alg"] = alg;
            }
            jwk
        };
        for (algorithm, length) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
            let alg = json!(algorithm.as_str());
            assert_eq!(skipped(jwk(length - 1, alg.clone())), Some(SkipReason::SymmetricTooShort));
            assert_eq!(skipped(jwk(length, alg.clone())), None);
            assert_eq!(skipped(jwk(length + 1, alg)), None);
            assert!(key(jwk(length, Value::Null)).unwrap().algorithms().contains(algorithm), "{algorithm}");
        }
        assert_eq!(skipped(jwk(31, Value::Null)), Some(SkipReason::SymmetricTooShort));
        assert_eq!(key(jwk(47, Value::Null)).unwrap().algorithms(), AlgorithmSet::of(&[Algorithm::Hs256]));
    }

    #[test]
    fn an_rsa_key_out_of_bounds_is_skipped() {
        let modulus = |bits: usize, last: u8| {
            let mut n = vec![0xff_u8; bits.div_ceil(8)];
            n[0] >>= (8 - bits % 8) % 8;
            *n.last_mut().unwrap() = last;
            json!({"n": base64url::encode(&n)})
        };
        let size = |bits: usize| skipped(jwk_with("RS256", modulus(bits, 0x0f)));
        assert_eq!(size(1024), Some(SkipReason::ModulusSize(1024)));
        assert_eq!(size(2047), Some(SkipReason::ModulusSize(2047)));
        assert_eq!(size(2048), None);
        assert_eq!(size(8192), None);
        assert_eq!(size(8193), Some(SkipReason::ModulusSize(8193)));
        assert_eq!(skipped(jwk_with("RS256", modulus(2048, 0x10))), Some(SkipReason::RsaNumbers), "even");
        let exponent = |e: u64| {
            let octets: Vec<u8> = e.to_be_bytes().into_iter().skip_while(|&octet| octet == 0).collect();
            skipped(jwk_with("RS256", json!({"e": base64url::encode(&octets)})))
        };
        for good in [3, 17, 65537, (1 << 33) - 1] {
            assert_eq!(exponent(good), None, "{good}");
        }
        for bad in [0, 1, 2, 4, 65536, 1 << 33, (1 << 33) + 1, u64::MAX] {
            assert_eq!(exponent(bad), Some(SkipReason::RsaNumbers), "{bad}");
        }
    }

    #[test]
    fn leading_zeros_of_an_rsa_number_change_nothing() {
        let plain = jwk_with("RS256", json!({}));
        let n = base64url::decode(plain["n"].as_str().unwrap()).unwrap();
        let padded =
            jwk_with("RS256", json!({"n": base64url::encode(&[&[0], &n[..]].concat()), "e": "AAEAAQ"}));
        let (plain, padded) = (key(plain).unwrap(), key(padded).unwrap());
        assert_eq!(plain.fingerprint(), padded.fingerprint());
        assert_eq!(plain.public_key_info(), padded.public_key_info());
    }

    #[test]
    fn a_point_off_its_curve_is_skipped() {
        for algorithm in ["ES256", "ES384", "ES512", "ES256K"] {
            let jwk = jwk_with(algorithm, json!({}));
            let y = base64url::decode(jwk["y"].as_str().unwrap()).unwrap();
            let mut off = y.clone();
            *off.last_mut().unwrap() ^= 1;
            let with_y = |y: &[u8]| skipped(jwk_with(algorithm, json!({"y": base64url::encode(y)})));
            assert_eq!(with_y(&off), Some(SkipReason::NotOnCurve), "{algorithm}");
            assert_eq!(with_y(&vec![0xff; y.len()]), Some(SkipReason::NotOnCurve), "{algorithm}");
            assert_eq!(with_y(&y[1..]), Some(SkipReason::MemberMalformed("y")), "{algorithm}");
            assert_eq!(
                with_y(&[&[0], &y[..]].concat()),
                Some(SkipReason::MemberMalformed("y")),
                "{algorithm}"
            );
        }
        assert_eq!(skipped(jwk_with("ES256", json!({"crv": "secp256k1"}))), Some(SkipReason::NotOnCurve));
    }

    #[test]
    fn an_ed25519_key_of_small_order_is_skipped() {
        let with_x = |x: [u8; 32]| skipped(jwk_with("EdDSA", json!({"x": base64url::encode(&x)})));
        let mut identity = [0; 32];
        identity[0] = 1;
        for small in [identity, [0; 32]] {
            assert_eq!(with_x(small), Some(SkipReason::NotOnCurve));
        }
        let mut off = [0; 32];
        off[0] = 2;
        assert_eq!(with_x(off), Some(SkipReason::NotOnCurve));
        assert_eq!(skipped(jwk_with("EdDSA", json!({"x": "AAAA"}))), Some(SkipReason::MemberMalformed("x")));
    }

    #[test]
    fn a_key_that_is_not_understood_is_skipped_with_its_reason() {
        for (jwk, expected) in [
            (json!([]), SkipReason::NotAnObject),
            (json!(null), SkipReason::NotAnObject),
            (json!({}), SkipReason::MemberMissing("kty")),
            (json!({"kty": 1}), SkipReason::MemberMalformed("kty")),
            (json!({"kty": "rsa"}), SkipReason::KeyTypeUnknown("rsa".into())),
            (json!({"kty": "AKP"}), SkipReason::KeyTypeUnknown("AKP".into())),
            (jwk_with("EdDSA", json!({"crv": "Ed448"})), SkipReason::CurveUnknown("Ed448".into())),
            (jwk_with("EdDSA", json!({"crv": "X25519"})), SkipReason::CurveUnknown("X25519".into())),
            (jwk_with("ES256", json!({"crv": "P-224"})), SkipReason::CurveUnknown("P-224".into())),
            (jwk_with("ES256", json!({"crv": null})), SkipReason::MemberMissing("crv")),
            (jwk_with("ES256", json!({"x": null})), SkipReason::MemberMissing("x")),
            (jwk_with("RS256", json!({"n": null})), SkipReason::MemberMissing("n")),
            (jwk_with("RS256", json!({"e": 65537})), SkipReason::MemberMalformed("e")),
            (jwk_with("RS256", json!({"e": "AQAB="})), SkipReason::MemberMalformed("e")),
            (jwk_with("RS256", json!({"alg": "RSA-OAEP"})), SkipReason::AlgorithmUnknown("RSA-OAEP".into())),
            (jwk_with("RS256", json!({"alg": 1})), SkipReason::MemberMalformed("alg")),
            (jwk_with("RS256", json!({"kid": 1})), SkipReason::MemberMalformed("kid")),
        ] {
            assert_eq!(skipped(jwk.clone()), Some(expected), "{jwk}");
        }
    }

    #[test]
    fn an_unusable_key_leaves_the_others_in_use_and_is_reported() {
        let good = Signer::new("ES256", "good", 1).jwk();
        let bad = json!({"kty": "new\n", "kid": "b`ad\u{7}"});
        let (keys, skipped) = parse(&[bad, good], KeySource::Remote);
        assert!(keys.knows_key_id("good") && keys.len() == 1);
        assert_eq!(skipped[0].to_string(), "keys[0] (kid `b`ad\\u{7}`): key type `new\\n` is not supported");
    }

    #[test]
    fn what_is_no_key_set_is_an_error() {
        let error = |text: &str| KeySet::parse(text.as_bytes(), KeySource::Remote).map(|_| ()).unwrap_err();
        for text in ["{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"Keys":[]}"#] {
            assert_eq!(error(text), KeySetError::NoKeysArray, "{text}");
        }
        assert_eq!(error("[]"), KeySetError::Json(JsonError::NotAnObject));
        assert_eq!(error("<html>"), KeySetError::Json(JsonError::NotJson));
        assert_eq!(
            error(r#"{"keys":[],"keys":[]}"#),
            KeySetError::Json(JsonError::RepeatedMember("keys".into()))
        );
        assert_eq!(
            error(r#"{"keys":[{"kty":"EC","kid":"a","kid":"b"}]}"#),
            KeySetError::Json(JsonError::RepeatedMember("kid".into()))
        );
        assert!(KeySet::parse(br#"{"keys":[]}"#, KeySource::Remote).unwrap().0.is_empty());
    }

    #[test]
    fn at_most_a_hundred_keys_are_used_and_eight_tried() {
        let jwk = Signer::new("EdDSA", "same", 1).jwk();
        let (keys, skipped) = parse(&vec![jwk; MAX_KEYS + 2], KeySource::Remote);
        assert_eq!(keys.len(), MAX_KEYS);
        let reasons: Vec<_> = skipped.iter().map(|skipped| (skipped.index, &skipped.reason)).collect();
        assert_eq!(reasons, [(MAX_KEYS, &SkipReason::TooManyKeys), (MAX_KEYS + 1, &SkipReason::TooManyKeys)]);
        assert_eq!(keys.candidates(Algorithm::EdDsa, Some("same")).count(), MAX_CANDIDATES);
        assert_eq!(keys.candidates(Algorithm::EdDsa, None).count(), MAX_CANDIDATES);
    }

    #[test]
    fn keys_without_a_key_id_serve_only_a_key_id_that_no_key_has() {
        let signers = [
            Signer::new("ES256", "a", 1),
            Signer::anonymous("ES256", 2),
            Signer::new("RS256", "r", 1),
            Signer::new("ES256", "a", 3),
        ];
        let document = jwks(&signers).to_string();
        let (keys, _) = KeySet::parse(document.as_bytes(), KeySource::Remote).unwrap();
        let candidates = |algorithm, key_id| -> Vec<usize> {
            keys.candidates(algorithm, key_id)
                .map(|key| {
                    keys.keys().iter().position(|other| other.fingerprint() == key.fingerprint()).unwrap()
                })
                .collect()
        };
        assert_eq!(candidates(Algorithm::Es256, Some("a")), [0, 3]);
        assert_eq!(candidates(Algorithm::Es256, Some("unknown")), [1]);
        assert_eq!(
            candidates(Algorithm::Es256, Some("r")),
            [0_usize; 0],
            "the key of that `kid` does not fit"
        );
        assert_eq!(candidates(Algorithm::Es256, None), [0, 1, 3]);
        assert_eq!(candidates(Algorithm::Ps256, None), [2]);
        assert_eq!(candidates(Algorithm::Hs256, None), [0_usize; 0]);
    }

    /// RFC 7638 section 3.1 and RFC 8037 appendix A.3.
    #[test]
    fn the_fingerprint_is_the_thumbprint_of_rfc_7638() {
        let rsa = json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB\
                  ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8\
                  KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_\
                  xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB",
            "alg": "RS256",
            "kid": "2011-04-29"
        });
        let ed25519 =
            json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let thumbprint = |jwk| base64url::encode(key(jwk).unwrap().fingerprint());
        assert_eq!(thumbprint(rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(thumbprint(ed25519), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn the_debug_form_of_a_key_shows_no_key_material() {
        let key = key(Signer::new("HS256", "id", 1).jwk()).unwrap();
        assert_eq!(
            format!("{key:?}"),
            r#"Key { key_id: Some("id"), algorithms: {Hs256, Hs384, Hs512}, .. }"#
        );
    }
}
