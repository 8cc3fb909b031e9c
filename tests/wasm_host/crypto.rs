//! Envoy's foreign function `verify_signature`, made of the crypto crates alone.

use p256::ecdsa::signature::Verifier as _;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::sha2::{Sha256, Sha384, Sha512};

/// What precedes the point in the DER `SubjectPublicKeyInfo` of a P-256 key (RFC 5480 section 2).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The serialized `VerifySignatureResult` for the serialized `VerifySignatureArguments`; None where those are none.
pub fn verify_signature(arguments: &[u8]) -> Option<Vec<u8>> {
    let [hash_function, public_key, signature, text] = fields(arguments)?;
    Some(match is_valid(&hash_function, &public_key, &signature, &text) {
        Some(true) => vec![0x08, 0x01],
        Some(false) => failure("Failed to verify digest."),
        None => failure("Failed to initialize digest verify."),
    })
}

fn failure(error: &str) -> Vec<u8> {
    let mut result = vec![0x12, error.len() as u8];
    result.extend(error.bytes());
    result
}

/// The fields 1 to 4, all of them length-delimited.
fn fields(mut message: &[u8]) -> Option<[Vec<u8>; 4]> {
    let mut fields = <[Vec<u8>; 4]>::default();
    while let [tag, rest @ ..] = message {
        let (mut size, mut shift, mut rest) = (0_usize, 0, rest);
        loop {
            let (byte, after) = rest.split_first()?;
            size |= usize::from(byte & 0x7f) << shift;
            (shift, rest) = (shift + 7, after);
            if byte & 0x80 == 0 {
                break;
            }
        }
        if tag & 7 != 2 {
            return None;
        }
        *fields.get_mut(usize::from(tag >> 3).checked_sub(1)?)? = rest.get(..size)?.to_vec();
        message = &rest[size..];
    }
    Some(fields)
}

fn is_valid(hash_function: &[u8], public_key: &[u8], signature: &[u8], text: &[u8]) -> Option<bool> {
    if let Some(point) = public_key.strip_prefix(&P256_PREFIX) {
        assert_eq!(hash_function, b"sha256", "ES256 is the only algorithm on P-256");
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?;
        let signature = p256::ecdsa::Signature::from_der(signature).ok();
        return Some(signature.is_some_and(|signature| key.verify(text, &signature).is_ok()));
    }
    let key = rsa::PublicKey::from_public_key_der(public_key).ok()?;
    Some(match hash_function {
        b"sha256" => key.pkcs1v15_verify::<Sha256>(text, signature).is_ok(),
        b"sha384" => key.pkcs1v15_verify::<Sha384>(text, signature).is_ok(),
        b"sha512" => key.pkcs1v15_verify::<Sha512>(text, signature).is_ok(),
        _ => return None,
    })
}
