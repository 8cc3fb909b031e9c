//! RSA and ECDSA by RustCrypto's current crates, behind jwt-compact's `Algorithm`.
//!
//! jwt-compact's own RSA and ES256 need older releases of these crates, which take up to three times as long in
//! WebAssembly, and it has no ES384 and ES512. What stands here only verifies.

use std::borrow::Cow;
use std::convert::Infallible;

use jwt_compact::AlgorithmSignature;
use rsa::sha2::{Sha256, Sha384, Sha512};
use rsa::signature::Verifier;

use super::algorithm::Algorithm;

/// A JWS algorithm with keys of type `K`.
pub struct Scheme<K> {
    algorithm: Algorithm,
    verify: fn(key: &K, message: &[u8], signature: &[u8]) -> bool,
}

/// RSASSA-PKCS1-v1_5 or RSASSA-PSS (RFC 7518 sections 3.3 and 3.5); None where the algorithm is neither.
pub fn rsa(algorithm: Algorithm) -> Option<Scheme<rsa::PublicKey>> {
    // PSS salts are as long as the hash: RFC 7518 section 3.5.
    let verify: fn(&rsa::PublicKey, &[u8], &[u8]) -> bool = match algorithm {
        Algorithm::Rs256 => {
            |key, message, signature| key.pkcs1v15_verify::<Sha256>(message, signature).is_ok()
        }
        Algorithm::Rs384 => {
            |key, message, signature| key.pkcs1v15_verify::<Sha384>(message, signature).is_ok()
        }
        Algorithm::Rs512 => {
            |key, message, signature| key.pkcs1v15_verify::<Sha512>(message, signature).is_ok()
        }
        Algorithm::Ps256 => |key, message, signature| key.pss_verify::<Sha256>(message, signature).is_ok(),
        Algorithm::Ps384 => |key, message, signature| key.pss_verify::<Sha384>(message, signature).is_ok(),
        Algorithm::Ps512 => |key, message, signature| key.pss_verify::<Sha512>(message, signature).is_ok(),
        Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::Es512
        | Algorithm::EdDsa
        | Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512
        | Algorithm::Es256k => return None,
    };
    Some(Scheme { algorithm, verify })
}

/// ECDSA on P-256 with SHA-256 (RFC 7518 section 3.4).
pub const ES256: Scheme<p256::ecdsa::VerifyingKey> =
    Scheme { algorithm: Algorithm::Es256, verify: verify_as::<_, p256::ecdsa::Signature> };

/// ECDSA on P-384 with SHA-384 (RFC 7518 section 3.4).
pub const ES384: Scheme<p384::ecdsa::VerifyingKey> =
    Scheme { algorithm: Algorithm::Es384, verify: verify_as::<_, p384::ecdsa::Signature> };

/// ECDSA on P-521 with SHA-512 (RFC 7518 section 3.4).
pub const ES512: Scheme<p521::ecdsa::VerifyingKey> =
    Scheme { algorithm: Algorithm::Es512, verify: verify_as::<_, p521::ecdsa::Signature> };

/// ECDSA on secp256k1 with SHA-256 (RFC 8812 section 3.2).
pub const ES256K: Scheme<k256::ecdsa::VerifyingKey> = Scheme {
    algorithm: Algorithm::Es256k,
    verify: |key, message, signature| {
        // Bitcoin's rule that `s` be in the lower half, which k256 enforces, is not RFC 8812's.
        k256::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify(message, &signature.normalize_s()).is_ok())
    },
};

fn verify_as<K, S>(key: &K, message: &[u8], signature: &[u8]) -> bool
where
    K: Verifier<S>,
    S: for<'a> TryFrom<&'a [u8]>,
{
    S::try_from(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

impl<K> jwt_compact::Algorithm for Scheme<K> {
    type SigningKey = Infallible;
    type VerifyingKey = K;
    type Signature = Bytes;

    fn name(&self) -> Cow<'static, str> {
        self.algorithm.as_str().into()
    }

    fn sign(&self, signing_key: &Infallible, _message: &[u8]) -> Bytes {
        match *signing_key {}
    }

    fn verify_signature(&self, signature: &Bytes, verifying_key: &K, message: &[u8]) -> bool {
        (self.verify)(verifying_key, message, &signature.0)
    }
}

/// A signature in the form that JWS gives it, read where it is verified.
pub struct Bytes(Box<[u8]>);

impl AlgorithmSignature for Bytes {
    fn try_from_slice(slice: &[u8]) -> anyhow::Result<Self> {
        Ok(Self(slice.into()))
    }

    fn as_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }
}
