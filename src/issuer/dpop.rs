//! What is configured of a provider's tokens that are bound to a key (RFC 9449).

use std::time::Duration;

use super::provider::SecretSource;
use crate::authenticate::nonce::Nonces;
use crate::authenticate::proof::ProofRules;

/// `dpop` of a provider whose mode is not `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dpop {
    /// Whether tokens that are bound to no key are refused.
    pub required: bool,
    /// What is demanded of proofs.
    pub rules: ProofRules,
    /// The nonces that proofs must carry.
    pub nonce: Option<NonceRules>,
}

/// `dpop.nonce`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonceRules {
    /// What the proxies of a fleet share.
    pub secret: SecretSource,
    /// What they shared before.
    pub previous_secret: Option<SecretSource>,
    /// How long one nonce is given out.
    pub lifetime: Duration,
}

impl NonceRules {
    /// The nonces; None where a secret is absent or too short. `variable` looks a variable of the VM up.
    pub fn nonces(&self, variable: &dyn Fn(&str) -> Option<String>) -> Option<Nonces> {
        let secret = |source: &SecretSource| match source {
            SecretSource::Inline(secret) => Some(secret.reveal().to_owned()),
            SecretSource::Environment(name) => variable(name),
        };
        // An old secret that is there no more makes nobody's nonce good.
        let previous = self.previous_secret.as_ref().and_then(secret).filter(|secret| !secret.is_empty());
        Nonces::new(&secret(&self.secret)?, previous.as_deref(), self.lifetime)
    }
}
