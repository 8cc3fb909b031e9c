//! RSA and ECDSA by RustCrypto's current crates.
//!
//! jwt-compact's own RSA and ES256 need older releases of these crates, which take up to three times as long in
//! WebAssembly, and it has no ES384 and ES512. What stands here only verifies.

use rsa::sha2::{Sha256, Sha384, Sha512};
use rsa::signature::Verifier;

use super::algorithm::Algorithm;

/// RSASSA-PKCS1-v1_5 or RSASSA-PSS (RFC 7518 sections 3.3 and 3.5); false where the algorithm is neither.
pub fn rsa(algorithm: Algorithm, key: &rsa::PublicKey, message: &[u8], signature: &[u8]) -> bool {
    // PSS salts are as long as the hash: RFC 7518 section 3.5.
    match algorithm {
        Algorithm::Rs256 => key.pkcs1v15_verify::<Sha256>(message, signature).is_ok(),
        Algorithm::Rs384 => key.pkcs1v15_verify::<Sha384>(message, signature).is_ok(),
        Algorithm::Rs512 => key.pkcs1v15_verify::<Sha512>(message, signature).is_ok(),
        Algorithm::Ps256 => key.pss_verify::<Sha256>(message, signature).is_ok(),
        Algorithm::Ps384 => key.pss_verify::<Sha384>(message, signature).is_ok(),
        Algorithm::Ps512 => key.pss_verify::<Sha512>(message, signature).is_ok(),
        Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::Es512
        | Algorithm::EdDsa
        | Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512
        | Algorithm::Es256k => false,
    }
}

/// ECDSA with signatures of type `S`: on P-256 with SHA-256, on P-384 with SHA-384, on P-521 with SHA-512 (RFC 7518 section
/// 3.4).
pub fn ecdsa<K, S>(key: &K, message: &[u8], signature: &[u8]) -> bool
where
    K: Verifier<S>,
    S: for<'a> TryFrom<&'a [u8]>,
{
    S::try_from(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

/// ECDSA on secp256k1 with SHA-256 (RFC 8812 section 3.2).
pub fn es256k(key: &k256::ecdsa::VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    // Bitcoin's rule that `s` be in the lower half, which k256 enforces, is not RFC 8812's.
    k256::ecdsa::Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify(message, &signature.normalize_s()).is_ok())
}
