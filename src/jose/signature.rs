//! Signature verification: in this process by pure Rust, or by the host's crypto with the same answers.
//!
//! The host or this crate verifies; the same gate comes before both: the key may verify the algorithm, and the signature has the one form
//! that the algorithm gives it ([`may_verify`]). What passes it is either verified by [`PureVerifier`] or put to the
//! host as [`host_signature_request`].

use jwt_compact::alg::{Ed25519, Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};
use jwt_compact::{Algorithm as JwtCompact, AlgorithmSignature};

use super::algorithm::Algorithm;
use super::key_set::{Key, KeyMaterial};
use super::rustcrypto;

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
            KeyMaterial::Rsa { key, .. } => rustcrypto::rsa(algorithm, key, message, signature),
            KeyMaterial::P256(key) => rustcrypto::ecdsa::<_, p256::ecdsa::Signature>(key, message, signature),
            KeyMaterial::P384(key) => rustcrypto::ecdsa::<_, p384::ecdsa::Signature>(key, message, signature),
            KeyMaterial::P521(key) => rustcrypto::ecdsa::<_, p521::ecdsa::Signature>(key, message, signature),
            KeyMaterial::Secp256k1(key) => rustcrypto::es256k(key, message, signature),
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
            KeyMaterial::Rsa { modulus, .. } => signature.len() == modulus.len() && *signature < **modulus,
            // RFC 7518 section 3.4: r and s at full length, here also within 1 and the order less 1.
            KeyMaterial::P256(_) => p256::ecdsa::Signature::from_slice(signature).is_ok(),
            KeyMaterial::P384(_) => p384::ecdsa::Signature::from_slice(signature).is_ok(),
            KeyMaterial::P521(_) => p521::ecdsa::Signature::from_slice(signature).is_ok(),
            KeyMaterial::Secp256k1(_) => k256::ecdsa::Signature::from_slice(signature).is_ok(),
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
        KeyMaterial::P256(_) | KeyMaterial::P384(_) | KeyMaterial::P521(_) => {
            put_ecdsa_signature(&mut request, 3, signature);
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

type Ed25519Signature = <Ed25519 as JwtCompact>::Signature;

/// Verifies by jwt-compact. Its HMAC signatures panic at any other length than the MAC's: [`may_verify`] comes first.
fn verify_with<A: JwtCompact>(scheme: &A, key: &A::VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    A::Signature::try_from_slice(signature)
        .is_ok_and(|signature| scheme.verify_signature(&signature, key, message))
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
    put_field_head(message, number, content.len());
    message.extend_from_slice(content);
}

fn put_field_head(message: &mut Vec<u8>, number: u8, mut length: usize) {
    message.push(number << 3 | 2);
    while length >= 0x80 {
        message.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
}

/// Appends an ECDSA signature, r and s each in half of the bytes (RFC 7518 section 3.4), as the DER
/// `SEQUENCE { INTEGER, INTEGER }` (RFC 3279 section 2.2.3). The bytes are enough for that; the curves' own types would
/// make scalars of them again.
fn put_ecdsa_signature(message: &mut Vec<u8>, number: u8, signature: &[u8]) {
    let (r, s) = signature.split_at(signature.len() / 2);
    let integers = [r, s].map(|half| {
        let zeros = half.iter().take_while(|byte| **byte == 0).count();
        let digits = half.get(zeros..).unwrap_or_default();
        // A first byte of 0x80 and more would make it negative.
        let sign = if digits.first().is_some_and(|first| *first < 0x80) { &[][..] } else { &[0] };
        (sign, digits)
    });
    let content: usize = integers.iter().map(|(sign, digits)| 2 + sign.len() + digits.len()).sum();
    // No curve's sequence takes 256 bytes.
    let long_form = if content < 0x80 { &[][..] } else { &[0x81] };
    put_field_head(message, number, 2 + long_form.len() + content);
    message.push(0x30);
    message.extend_from_slice(long_form);
    message.push(content as u8);
    for (sign, digits) in integers {
        message.extend_from_slice(&[0x02, (sign.len() + digits.len()) as u8]);
        message.extend_from_slice(sign);
        message.extend_from_slice(digits);
    }
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

#[cfg(test)]
mod tests {
    use rsa::pkcs8::{DecodePublicKey as _, SubjectPublicKeyInfoRef};
    use serde_json::json;

    use super::*;
    use crate::jose::json::Value;
    use crate::jose::key_set::{KeySet, KeySource};
    use scopegate_testing::mint::{ALGORITHMS, Signer};

    const MESSAGE: &[u8] = b"header.payload";

    /// The order of Ed25519's base point, little-endian (RFC 8032 section 5.1).
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    fn key(jwk: Value) -> Key {
        let document = json!({"keys": [jwk]}).to_string();
        let (keys, _) =
            KeySet::parse(document.as_bytes(), KeySource::Local { allow_symmetric: true }).unwrap();
        keys.keys()[0].clone()
    }

    /// A protobuf message as its fields, all length-delimited.
    fn fields(mut message: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut fields = Vec::new();
        while let Some((&tag, rest)) = message.split_first() {
            assert_eq!(tag & 7, 2, "length-delimited");
            let digits = rest.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
            let length =
                rest[..digits].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
            fields.push((tag >> 3, rest[digits..digits + length].to_vec()));
            message = &rest[digits + length..];
        }
        fields
    }

    /// What a host makes of a request: decoded field by field, verified by the DER forms.
    fn host(request: &[u8]) -> bool {
        use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
        use sha2::{Digest as _, Sha256, Sha384, Sha512};
        let fields = fields(request);
        assert_eq!(fields.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let [(_, hash_function), (_, public_key), (_, signature), (_, text)] =
            <[_; 4]>::try_from(fields).unwrap();
        let (digest, pkcs1) = match &hash_function[..] {
            b"sha256" => (Sha256::digest(&text).to_vec(), rsa::Pkcs1v15Sign::new::<Sha256>()),
            b"sha384" => (Sha384::digest(&text).to_vec(), rsa::Pkcs1v15Sign::new::<Sha384>()),
            b"sha512" => (Sha512::digest(&text).to_vec(), rsa::Pkcs1v15Sign::new::<Sha512>()),
            other => panic!("hash function {other:?}"),
        };
        let info = SubjectPublicKeyInfoRef::try_from(&public_key[..]).unwrap();
        let point = info.subject_public_key.as_bytes().unwrap();
        let curve = info.algorithm.parameters_oid().ok().map(|curve| curve.to_string());
        match (info.algorithm.oid.to_string().as_str(), curve.as_deref()) {
            ("1.2.840.113549.1.1.1", _) => rsa::PublicKey::from_public_key_der(&public_key)
                .unwrap()
                .verify(pkcs1, &digest, &signature)
                .is_ok(),
            ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => {
                let signature = p256::ecdsa::Signature::from_der(&signature).unwrap();
                p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
                    .unwrap()
                    .verify_prehash(&digest, &signature)
                    .is_ok()
            }
            ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => {
                let signature = p384::ecdsa::Signature::from_der(&signature).unwrap();
                p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
                    .unwrap()
                    .verify_prehash(&digest, &signature)
                    .is_ok()
            }
            ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => {
                let signature = p521::ecdsa::Signature::from_der(&signature).unwrap();
                p521::ecdsa::VerifyingKey::from_sec1_bytes(point)
                    .unwrap()
                    .verify_prehash(&digest, &signature)
                    .is_ok()
            }
            other => panic!("public key {other:?}"),
        }
    }

    #[test]
    fn the_host_is_asked_what_the_signature_says() {
        for name in ALGORITHMS {
            let algorithm = Algorithm::parse(name).unwrap();
            let signer = Signer::anonymous(name, 1);
            let key = key(signer.jwk());
            let signature = signer.sign(MESSAGE);
            let request = host_signature_request(algorithm, &key, MESSAGE, &signature);
            let for_host = matches!(name, "RS256" | "RS384" | "RS512" | "ES256" | "ES384" | "ES512");
            assert_eq!(request.is_some(), for_host, "{name}");
            if let Some(request) = request {
                assert!(host(&request), "{name}");
                let forged = host_signature_request(algorithm, &key, b"header.forged", &signature).unwrap();
                assert!(!host(&forged), "{name}");
            }
        }
    }

    #[test]
    fn an_ecdsa_signature_is_written_in_the_der_of_its_curve() {
        let der = |signature: &[u8]| {
            let mut message = Vec::new();
            put_ecdsa_signature(&mut message, 3, signature);
            fields(&message).remove(0).1
        };
        // Halves that need a sign, that begin with zeros, and that are long.
        let halves = |length: usize| {
            [1, 0x7f, 0x80, 0xff].into_iter().flat_map(move |first| {
                (0..length).map(move |zeros| {
                    let mut half = vec![0; length];
                    half[zeros..].fill(0x35);
                    half[zeros] = first;
                    half
                })
            })
        };
        for (r, s) in halves(32).flat_map(|r| halves(32).map(move |s| (r.clone(), s))) {
            let signature = [r, s].concat();
            if let Ok(scalars) = p256::ecdsa::Signature::from_slice(&signature) {
                assert_eq!(der(&signature), scalars.to_der().as_bytes(), "{signature:x?}");
            }
        }
        for half in halves(48) {
            let signature = [half.clone(), half].concat();
            if let Ok(scalars) = p384::ecdsa::Signature::from_slice(&signature) {
                assert_eq!(der(&signature), scalars.to_der().as_bytes(), "{signature:x?}");
            }
        }
        for half in halves(66) {
            let signature = [half.clone(), half].concat();
            if let Ok(scalars) = p521::ecdsa::Signature::from_slice(&signature) {
                assert_eq!(der(&signature), scalars.to_der().as_bytes(), "{signature:x?}");
            }
        }
    }

    #[test]
    fn host_and_pure_verification_agree_on_flipped_bits() {
        for name in ["RS256", "ES256"] {
            let algorithm = Algorithm::parse(name).unwrap();
            let signer = Signer::anonymous(name, 1);
            let key = key(signer.jwk());
            let signature = signer.sign(MESSAGE);
            for bit in 0..signature.len() * 8 {
                let mut flipped = signature.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(!PureVerifier.verify(algorithm, &key, MESSAGE, &flipped), "{name}: bit {bit}");
                let request = host_signature_request(algorithm, &key, MESSAGE, &flipped);
                assert!(!request.is_some_and(|request| host(&request)), "{name}: bit {bit}");
            }
        }
    }

    #[test]
    fn a_signature_of_another_length_is_refused_and_traps_nothing() {
        for name in ALGORITHMS {
            let algorithm = Algorithm::parse(name).unwrap();
            let signer = Signer::anonymous(name, 1);
            let key = key(signer.jwk());
            let signature = signer.sign(MESSAGE);
            assert!(may_verify(algorithm, &key, &signature));
            let others = [
                vec![],
                vec![0],
                signature[1..].to_vec(),
                signature[..signature.len() - 1].to_vec(),
                [&[0], &signature[..]].concat(),
                [&signature[..], &[0]].concat(),
                [&signature[..], &signature[..]].concat(),
            ];
            for other in others {
                assert!(!may_verify(algorithm, &key, &other), "{name}: {} bytes", other.len());
                assert!(!PureVerifier.verify(algorithm, &key, MESSAGE, &other));
                assert_eq!(host_signature_request(algorithm, &key, MESSAGE, &other), None);
            }
        }
    }

    #[test]
    fn an_ecdsa_signature_in_der_is_refused() {
        let signer = Signer::anonymous("ES256", 1);
        let der = p256::ecdsa::Signature::from_slice(&signer.sign(MESSAGE)).unwrap().to_der();
        assert!(!PureVerifier.verify(Algorithm::Es256, &key(signer.jwk()), MESSAGE, der.as_bytes()));
    }

    #[test]
    fn r_and_s_are_at_least_one_and_less_than_the_order() {
        // SEC 2 version 2, sections 2.4.2 (secp256r1), 2.5.1 (secp384r1), 2.6.1 (secp521r1) and 2.4.1 (secp256k1).
        let orders = [
            ("ES256", "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
            (
                "ES384",
                "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
            ),
            (
                "ES512",
                "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709\
                 a5d03bb5c9b8899c47aebb6fb71e91386409",
            ),
            ("ES256K", "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
        ];
        for (name, order) in orders {
            let order: Vec<u8> = (0..order.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&order[at..at + 2], 16).unwrap())
                .collect();
            let algorithm = Algorithm::parse(name).unwrap();
            let key = key(Signer::anonymous(name, 1).jwk());
            let (mut one, mut below) = (vec![0; order.len()], order.clone());
            *one.last_mut().unwrap() = 1;
            *below.last_mut().unwrap() -= 1;
            let (zero, above) = (vec![0; order.len()], vec![0xff; order.len()]);
            let good = |r: &Vec<u8>, s: &Vec<u8>| may_verify(algorithm, &key, &[&r[..], &s[..]].concat());
            assert!(good(&one, &one) && good(&below, &below) && good(&one, &below), "{name}");
            for out in [&zero, &order, &above] {
                assert!(!good(out, &one) && !good(&one, out) && !good(out, out), "{name}: {out:x?}");
            }
        }
    }

    #[test]
    fn an_rsa_signature_is_less_than_the_modulus() {
        use p256::elliptic_curve::bigint::{BoxedUint, CheckedAdd as _};
        for name in ["RS256", "PS256"] {
            let algorithm = Algorithm::parse(name).unwrap();
            let signer = Signer::anonymous(name, 1);
            let key = key(signer.jwk());
            let KeyMaterial::Rsa { modulus, .. } = key.material() else { panic!("an RSA key") };
            let n = BoxedUint::from_be_slice_vartime(modulus);
            // The same residue, in as many bytes: possible for about half of all signatures.
            let (message, signature, raised) = (0_u8..)
                .find_map(|attempt| {
                    let signature = signer.sign(&[attempt]);
                    let raised =
                        BoxedUint::from_be_slice_vartime(&signature).checked_add(&n).into_option()?;
                    Some(([attempt], signature, raised))
                })
                .unwrap();
            assert!(PureVerifier.verify(algorithm, &key, &message, &signature), "{name}");
            assert!(!PureVerifier.verify(algorithm, &key, &message, &raised.to_be_bytes()), "{name}");
            let mut below = modulus.clone();
            *below.last_mut().unwrap() -= 1;
            assert!(!may_verify(algorithm, &key, modulus) && may_verify(algorithm, &key, &below), "{name}");
        }
    }

    /// Bitcoin's rule that `s` be in the lower half is not RFC 8812's.
    #[test]
    fn es256k_takes_either_of_the_two_values_of_s() {
        let signer = Signer::anonymous("ES256K", 1);
        let key = key(signer.jwk());
        let low = k256::ecdsa::Signature::from_slice(&signer.sign(MESSAGE)).unwrap();
        let high = k256::ecdsa::Signature::from_scalars(low.r().to_bytes(), (-*low.s()).to_bytes()).unwrap();
        assert_ne!(low, high);
        for signature in [low, high] {
            assert!(PureVerifier.verify(Algorithm::Es256k, &key, MESSAGE, &signature.to_bytes()));
        }
    }

    #[test]
    fn an_eddsa_signature_whose_s_is_not_reduced_is_refused() {
        let signer = Signer::anonymous("EdDSA", 1);
        let key = key(signer.jwk());
        let mut signature = signer.sign(MESSAGE);
        assert!(PureVerifier.verify(Algorithm::EdDsa, &key, MESSAGE, &signature));
        let mut carry = 0;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert!(!PureVerifier.verify(Algorithm::EdDsa, &key, MESSAGE, &signature));
    }

    /// With `R` the identity and `s = k·a`, the cofactorless equation `sB = R + kA` of RFC 8032 section 5.1.7 holds.
    #[test]
    fn an_eddsa_signature_whose_r_is_of_small_order_is_refused() {
        use p256::elliptic_curve::bigint::{BoxedUint, ConcatenatingMul as _};
        use sha2::{Digest as _, Sha512};
        let signer = Signer::anonymous("EdDSA", 1);
        let key = key(signer.jwk());
        let KeyMaterial::Ed25519(public_key) = key.material() else { panic!("an Ed25519 key") };
        let mut secret = Sha512::digest([1; 32])[..32].to_vec();
        secret[0] &= 0xf8;
        secret[31] = secret[31] & 0x7f | 0x40;
        let mut r = [0; 32];
        r[0] = 1;
        let k = Sha512::digest([&r[..], public_key.as_bytes(), MESSAGE].concat());
        let number = |bytes: &[u8]| BoxedUint::from_le_slice(bytes, 8 * bytes.len() as u32).unwrap();
        let order = number(&ORDER).to_nz().unwrap();
        let s = number(&k).concatenating_mul(&number(&secret)).rem_vartime(&order).to_le_bytes();
        let signature = [&r[..], &s].concat();
        let lenient =
            Ed25519.verify_signature(&Ed25519Signature::from_slice(&signature).unwrap(), public_key, MESSAGE);
        assert!(lenient, "the equation holds");
        assert!(!PureVerifier.verify(Algorithm::EdDsa, &key, MESSAGE, &signature));
    }

    #[test]
    fn only_a_plain_answer_of_the_host_is_believed() {
        let refused = |error: &[u8]| [&[0x12, error.len() as u8], error].concat();
        assert_eq!(host_signature_answer(&[0x08, 0x01]), Some(true));
        assert_eq!(host_signature_answer(&[0x08, 0x01, 0x12, 0x00]), Some(true));
        assert_eq!(host_signature_answer(&refused(b"Failed to verify digest. Error code: 0")), Some(false));
        assert_eq!(host_signature_answer(&[&[0x08, 0x00], &refused(b"no")[..]].concat()), Some(false));
        let long = [&[0x12, 0xac, 0x02], &[b'x'; 300][..]].concat();
        assert_eq!(host_signature_answer(&long), Some(false));
        for malformed in [
            &[][..],
            &[0x08],
            &[0x08, 0x00],
            &[0x08, 0x02],
            &[0x08, 0x81, 0x00],
            &[0x08, 0x01, 0x00],
            &[0x08, 0x01, 0x08, 0x00],
            &[0x08, 0x01, 0x12],
            &[0x08, 0x01, 0x12, 0x01, b'x'],
            &[0x10, 0x01],
            &[0x12, 0x00],
            &[0x12, 0x02, b'x'],
            &[0x12, 0x01, b'x', b'y'],
            &[0x12, 0x01, b'x', 0x08, 0x01],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f],
            b"true",
        ] {
            assert_eq!(host_signature_answer(malformed), None, "{malformed:x?}");
        }
    }
}
