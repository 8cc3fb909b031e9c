//! Signature verification: in this process by pure Rust, or by the host's crypto with the same answers.
//!
//! Whoever verifies, the same gate comes first: the key may verify the algorithm, and the signature has the one form
//! that the algorithm gives it ([`may_verify`]). What passes it is either verified by [`PureVerifier`] or put to the
//! host as [`host_signature_request`].

use jwt_compact::alg::{Ed25519, Es256, Es256k, Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key, Rsa};
use jwt_compact::{Algorithm as JwtCompact, AlgorithmSignature};
use p384::ecdsa::signature::Verifier as _;

use super::algorithm::Algorithm;
use super::key_set::{Key, KeyMaterial};

/// Verifies signatures.
pub trait SignatureVerifier {
    /// Whether `signature` is the key owner's on `message`, made with `algorithm`. False where the key may not
    /// verify the algorithm.
    fn verify(&self, algorithm: Algorithm, key: &Key, message: &[u8], signature: &[u8]) -> bool;
}

/// Verifies in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct PureVerifier;

impl SignatureVerifier for PureVerifier {
    fn verify(&self, algorithm: Algorithm, key: &Key, message: &[u8], signature: &[u8]) -> bool {
        if !may_verify(algorithm, key, signature) {
            return false;
        }
        match key.material() {
            KeyMaterial::Rsa { key, .. } => {
                rsa_scheme(algorithm).is_some_and(|scheme| verify_with(&scheme, &**key, message, signature))
            }
            KeyMaterial::P256(key) => verify_with(&Es256, key, message, signature),
            KeyMaterial::P384(key) => {
                p384::ecdsa::Signature::from_slice(signature).is_ok_and(|s| key.verify(message, &s).is_ok())
            }
            KeyMaterial::P521(key) => {
                p521::ecdsa::Signature::from_slice(signature).is_ok_and(|s| key.verify(message, &s).is_ok())
            }
            KeyMaterial::Secp256k1(key) => {
                // Bitcoin's rule that `s` be in the lower half, which `k256` enforces, is not RFC 8812's.
                Secp256k1Signature::from_slice(signature).is_ok_and(|s| {
                    Es256k::<sha2::Sha256>::default().verify_signature(
                        &s.normalize_s().unwrap_or(s),
                        key,
                        message,
                    )
                })
            }
            KeyMaterial::Ed25519(key) => {
                // jwt-compact takes signatures whose `R` is of small order, with which one signature can hold for
                // several messages.
                Ed25519Signature::from_slice(signature).is_ok_and(|s| key.verify_strict(message, &s).is_ok())
            }
            KeyMaterial::Symmetric(secret) => match algorithm {
                Algorithm::Hs256 => verify_with(&Hs256, &Hs256Key::new(secret), message, signature),
                Algorithm::Hs384 => verify_with(&Hs384, &Hs384Key::new(secret), message, signature),
                Algorithm::Hs512 => verify_with(&Hs512, &Hs512Key::new(secret), message, signature),
                Algorithm::Rs256
                | Algorithm::Rs384
                | Algorithm::Rs512
                | Algorithm::Ps256
                | Algorithm::Ps384
                | Algorithm::Ps512
                | Algorithm::Es256
                | Algorithm::Es384
                | Algorithm::Es512
                | Algorithm::EdDsa
                | Algorithm::Es256k => false,
            },
        }
    }
}

/// Whether the key may verify the algorithm, and the signature has the form that the algorithm prescribes. Every
/// [`SignatureVerifier`] asks this first; no signature verifies that does not pass.
pub fn may_verify(algorithm: Algorithm, key: &Key, signature: &[u8]) -> bool {
    key.algorithms().contains(algorithm)
        && match key.material() {
            // RFC 8017 sections 8.1.2 and 8.2.2 step 1, and 5.2.2 step 1: as long as the modulus, and less than it.
            // `rsa` leaves the latter out for PSS in the form that jwt-compact uses.
            KeyMaterial::Rsa { modulus, .. } => signature.len() == modulus.len() && *signature < **modulus,
            // RFC 7518 section 3.4: r and s at full length, here also within 1 and the order less 1.
            KeyMaterial::P256(_) => p256::ecdsa::Signature::from_slice(signature).is_ok(),
            KeyMaterial::P384(_) => p384::ecdsa::Signature::from_slice(signature).is_ok(),
            KeyMaterial::P521(_) => p521::ecdsa::Signature::from_slice(signature).is_ok(),
            KeyMaterial::Secp256k1(_) => Secp256k1Signature::from_slice(signature).is_ok(),
            KeyMaterial::Ed25519(_) => signature.len() == 64,
            KeyMaterial::Symmetric(_) => mac_length(algorithm) == Some(signature.len()),
        }
}

/// The argument of the foreign function `verify_signature`, or None where the host cannot verify this signature, or
/// [`may_verify`] forbids it: then ask [`PureVerifier`].
///
/// It is Envoy's `VerifySignatureArguments` (`source/extensions/common/wasm/ext/verify_signature.proto`): hash
/// function, DER SubjectPublicKeyInfo, signature (ECDSA as DER), text.
pub fn host_signature_request(
    algorithm: Algorithm,
    key: &Key,
    message: &[u8],
    signature: &[u8],
) -> Option<Vec<u8>> {
    let hash_function = host_hash_function(algorithm)?;
    let public_key = key.public_key_info()?;
    if !may_verify(algorithm, key, signature) {
        return None;
    }
    let mut request = Vec::with_capacity(public_key.len() + signature.len() + message.len() + 48);
    put_field(&mut request, 1, hash_function.as_bytes());
    put_field(&mut request, 2, public_key);
    match key.material() {
        KeyMaterial::Rsa { .. } => put_field(&mut request, 3, signature),
        KeyMaterial::P256(_) => {
            put_field(
                &mut request,
                3,
                p256::ecdsa::Signature::from_slice(signature).ok()?.to_der().as_bytes(),
            );
        }
        KeyMaterial::P384(_) => {
            put_field(
                &mut request,
                3,
                p384::ecdsa::Signature::from_slice(signature).ok()?.to_der().as_bytes(),
            );
        }
        KeyMaterial::P521(_) => {
            put_field(
                &mut request,
                3,
                p521::ecdsa::Signature::from_slice(signature).ok()?.to_der().as_bytes(),
            );
        }
        KeyMaterial::Secp256k1(_) | KeyMaterial::Ed25519(_) | KeyMaterial::Symmetric(_) => return None,
    }
    put_field(&mut request, 4, message);
    Some(request)
}

/// What the host's `verify_signature` answered; None where that is not a `VerifySignatureResult` as Envoy writes it,
/// or contradicts itself: then ask [`PureVerifier`].
pub fn host_signature_answer(answer: &[u8]) -> Option<bool> {
    let (result, rest) = match answer {
        [0x08, 0x01, rest @ ..] => (true, rest),
        [0x08, 0x00, rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let error = match rest {
        [] => rest,
        [0x12, rest @ ..] => {
            let (length, error) = take_varint(rest)?;
            (error.len() == length).then_some(error)?
        }
        _ => return None,
    };
    match (result, error.is_empty()) {
        (true, true) => Some(true),
        (false, false) => Some(false),
        (true, false) | (false, true) => None,
    }
}

type Secp256k1Signature = <Es256k as JwtCompact>::Signature;
type Ed25519Signature = <Ed25519 as JwtCompact>::Signature;

/// Verifies by jwt-compact. Its HMAC signatures panic at any other length than the MAC's: [`may_verify`] comes first.
fn verify_with<A: JwtCompact>(scheme: &A, key: &A::VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    A::Signature::try_from_slice(signature)
        .is_ok_and(|signature| scheme.verify_signature(&signature, key, message))
}

fn rsa_scheme(algorithm: Algorithm) -> Option<Rsa> {
    match algorithm {
        Algorithm::Rs256 => Some(Rsa::rs256()),
        Algorithm::Rs384 => Some(Rsa::rs384()),
        Algorithm::Rs512 => Some(Rsa::rs512()),
        Algorithm::Ps256 => Some(Rsa::ps256()),
        Algorithm::Ps384 => Some(Rsa::ps384()),
        Algorithm::Ps512 => Some(Rsa::ps512()),
        Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::Es512
        | Algorithm::EdDsa
        | Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512
        | Algorithm::Es256k => None,
    }
}

fn mac_length(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::Hs256 => Some(32),
        Algorithm::Hs384 => Some(48),
        Algorithm::Hs512 => Some(64),
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512
        | Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::Es512
        | Algorithm::EdDsa
        | Algorithm::Es256k => None,
    }
}

/// The host verifies RSASSA-PKCS1-v1_5 and ECDSA, and names the hash so.
fn host_hash_function(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Rs256 | Algorithm::Es256 => Some("sha256"),
        Algorithm::Rs384 | Algorithm::Es384 => Some("sha384"),
        Algorithm::Rs512 | Algorithm::Es512 => Some("sha512"),
        Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512
        | Algorithm::EdDsa
        | Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512
        | Algorithm::Es256k => None,
    }
}

/// Appends a length-delimited protobuf field.
fn put_field(message: &mut Vec<u8>, number: u8, content: &[u8]) {
    message.push(number << 3 | 2);
    let mut length = content.len();
    while length >= 0x80 {
        message.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(content);
}

/// Reads a protobuf varint of at most four bytes.
fn take_varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}
