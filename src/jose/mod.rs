//! JSON Object Signing and Encryption, as far as a verifier needs it: keys, algorithms, signatures, and the encodings
//! around them. Nothing here knows a tenant, a provider or a request.

pub mod algorithm;
pub mod base64url;
pub mod json;
pub mod key_set;
mod rustcrypto;
pub mod signature;

pub use algorithm::{Algorithm, AlgorithmSet};
pub use key_set::{Key, KeyFingerprint, KeySet, KeySetError, KeySource, SkipReason, SkippedKey};
pub use signature::{
    PureVerifier, SignatureVerifier, host_signature_answer, host_signature_request, may_verify,
};
