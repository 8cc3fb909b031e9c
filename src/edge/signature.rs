//! Signatures checked by the host's own crypto where it offers it, in WebAssembly otherwise, with the same answers.

use super::{host, metrics};
use crate::jose::signature::{host_signature_answer, host_signature_request};
use crate::jose::{Algorithm, Key, PureVerifier, SignatureVerifier};

/// Envoy's foreign function `verify_signature`.
const VERIFY_SIGNATURE: &str = "verify_signature";

/// Asks the host first. An answer that is no clear yes or no counts as none: the pure implementation decides.
pub struct HostVerifier;

impl SignatureVerifier for HostVerifier {
    fn verify(&self, algorithm: Algorithm, key: &Key, message: &[u8], signature: &[u8]) -> bool {
        metrics::count("signature_checks");
        // Some hosts trap on functions that they do not know.
        let request = (!host::is_portable())
            .then(|| host_signature_request(algorithm, key, message, signature))
            .flatten();
        request
            .and_then(|request| host::call_foreign_function(VERIFY_SIGNATURE, &request))
            .and_then(|answer| host_signature_answer(&answer))
            .unwrap_or_else(|| PureVerifier.verify(algorithm, key, message, signature))
    }
}
