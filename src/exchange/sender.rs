//! Whether a request comes from whom its token is bound to: by the client's certificate (RFC 8705) or by a key that it
//! proves to hold (RFC 9449).

use super::trace::TraceSink;
use super::walk::{Halt, Walk};
use crate::authenticate::claims::Confirmation;
use crate::authenticate::proof::{self, Proof, ProofError, ProvenRequest};
use crate::authenticate::replay::{Seen, remember};
use crate::credential::Credential;
use crate::http::headers::values;
use crate::ids::ProviderId;
use crate::issuer::dpop::Dpop;
use crate::issuer::provider::Provider;
use crate::jose::KeyFingerprint;
use crate::respond::{ChallengeDetails, Reason, Rejection};

impl<T: TraceSink> Walk<'_, '_, '_, T> {
    /// Whether the sender is the one that the token is bound to, and the scheme the one that goes with it: what is bound
    /// to a key is never taken under `Bearer`, nor anything else under `DPoP` (RFC 9449 sections 7.1 and 7.2).
    ///
    /// A proof that holds is kept for [`Self::use_proof`], and not checked twice.
    pub(super) fn check_sender(
        &mut self,
        provider: ProviderId,
        confirmation: Confirmation,
        credential: &Credential<'_>,
    ) -> Result<(), Halt> {
        let active = self.active;
        let rules = active.policy.provider(provider);
        let dpop = rules.and_then(|provider| provider.dpop.as_ref());
        let by_dpop = credential.is_dpop && dpop.is_some();
        let disagrees =
            |what: &str| Err(Halt::Reject(Rejection::about(Reason::SenderConstraintFailed, what)));
        match (confirmation, dpop) {
            (Confirmation::KeyThumbprint(_), Some(_)) if !by_dpop => {
                disagrees("a token that is bound to a key comes under DPoP")
            }
            (Confirmation::KeyThumbprint(thumbprint), Some(dpop)) => {
                if self.proof.is_none() {
                    self.proof = Some(self.check_proof(&thumbprint, dpop, credential)?);
                }
                Ok(())
            }
            (Confirmation::None | Confirmation::CertificateSha256(_), Some(_)) if by_dpop => {
                disagrees("only a token that is bound to a key comes under DPoP")
            }
            (Confirmation::None | Confirmation::CertificateSha256(_), Some(dpop)) if dpop.required => {
                disagrees("the token has to be bound to a key")
            }
            // FAPI 2.0 Security Profile section 5.3.4, clause 5.
            (Confirmation::None, _) if rules.is_some_and(|provider| provider.requires_bound_tokens) => {
                disagrees("the token has to be bound to its sender")
            }
            (Confirmation::None, _) => Ok(()),
            (Confirmation::CertificateSha256(expected), _)
                if self.client_certificate(rules) == Some(expected) =>
            {
                Ok(())
            }
            (
                Confirmation::CertificateSha256(_)
                | Confirmation::KeyThumbprint(_)
                | Confirmation::Unsupported,
                _,
            ) => Err(Reason::SenderConstraintFailed.into()),
        }
    }

    /// Takes note of the proof that was checked. The last thing that is asked of it, when nothing keeps the request
    /// waiting any more: a request that comes back from waiting would find its own proof.
    pub(super) fn use_proof(&mut self, provider: ProviderId) -> Result<(), Halt> {
        let Some(proof) = &self.proof else { return Ok(()) };
        let active = self.active;
        let host = self.surroundings.host;
        let seen = remember(proof, host.shared(), &mut active.proofs.borrow_mut(), self.surroundings.now);
        let dpop = active.policy.provider(provider).and_then(|provider| provider.dpop.as_ref());
        let refused = match seen {
            Seen::Fresh => {
                self.next_nonce =
                    dpop.filter(|_| proof.nonce_is_ageing).and_then(|dpop| self.fresh_nonce(dpop));
                return Ok(());
            }
            Seen::Before => Reason::ProofReplayed.into(),
            Seen::Full => Rejection::about(
                Reason::ProofReplayed,
                "too many proofs are remembered to tell whether this one came",
            ),
        };
        Err(Halt::Reject(match dpop {
            Some(dpop) => self.with_nonce(refused, dpop, false),
            None => refused,
        }))
    }

    /// SHA-256 of the client's certificate: of the one that a believed proxy tells of, or else of the one on this
    /// connection. Where a believed proxy tells of none, its own is not the client's.
    fn client_certificate(&self, provider: Option<&Provider>) -> Option<[u8; 32]> {
        let own = (self.surroundings.client_certificate)();
        match provider.and_then(|provider| provider.certificate_header.as_ref()) {
            Some(header) if header.is_from(self.surroundings.host.peer_address(), own) => {
                header.form.digest(self.request.headers)
            }
            Some(_) | None => own,
        }
    }

    /// Headers that tell of a certificate and are nobody's who may: the upstream must not believe them either.
    pub(super) fn unfounded_certificates(&self) -> Vec<&'static str> {
        let all = &self.active.policy.certificate_headers;
        let mut unfounded = Vec::new();
        for name in all.iter().flat_map(|header| header.form.names()).copied() {
            if unfounded.contains(&name) || values(self.request.headers, name).next().is_none() {
                continue;
            }
            let (address, own) =
                (self.surroundings.host.peer_address(), (self.surroundings.client_certificate)());
            let mut of_name = all.iter().filter(|header| header.form.names().contains(&name));
            if !of_name.any(|header| header.is_from(address, own)) {
                unfounded.push(name);
            }
        }
        unfounded
    }

    fn check_proof(
        &self,
        thumbprint: &KeyFingerprint,
        dpop: &Dpop,
        credential: &Credential<'_>,
    ) -> Result<Proof, Halt> {
        let surroundings = &self.surroundings;
        let nonces = match &dpop.nonce {
            None => None,
            Some(rules) => {
                let nonces = rules.nonces(&|name| surroundings.host.variable(name)).ok_or_else(|| {
                    // The operator's fault, never the client's.
                    Rejection::about(Reason::KeysUnavailable, "the secret of the nonces")
                });
                Some(nonces.map_err(Halt::Reject)?)
            }
        };
        let mut proofs = values(self.request.headers, "dpop");
        let text = match (proofs.next(), proofs.next()) {
            (None, _) => {
                return Err(Halt::Reject(self.with_nonce(Reason::ProofMissing.into(), dpop, false)));
            }
            // RFC 9449 section 4.3, check 1.
            (Some(_), Some(_)) => {
                let refused = Rejection::about(Reason::ProofInvalid, "there are several");
                return Err(Halt::Reject(self.with_nonce(refused, dpop, false)));
            }
            (Some(text), None) => text,
        };
        let request = ProvenRequest {
            method: self.request.method,
            path: self.request.path,
            token: &credential.token,
            thumbprint,
        };
        let checked = proof::check(
            text,
            request,
            &dpop.rules,
            nonces.as_ref(),
            surroundings.verifier,
            surroundings.now,
        );
        checked.map_err(|error| {
            let refused = Rejection::about(Reason::ProofInvalid, error.to_string());
            Halt::Reject(self.with_nonce(refused, dpop, error == ProofError::NonceNeeded))
        })
    }

    /// A refusal that brings a fresh nonce, where the provider has nonces.
    fn with_nonce(&self, rejection: Rejection, dpop: &Dpop, needs_nonce: bool) -> Rejection {
        let nonce = self.fresh_nonce(dpop);
        let details = ChallengeDetails { needs_nonce, nonce, ..ChallengeDetails::default() };
        Rejection { challenge: Some(Box::new(details)), ..rejection }
    }

    /// The nonce to give out now; None where the provider has none.
    fn fresh_nonce(&self, dpop: &Dpop) -> Option<Box<str>> {
        let variable = |name: &str| self.surroundings.host.variable(name);
        let nonces = dpop.nonce.as_ref()?.nonces(&variable)?;
        Some(nonces.fresh(self.surroundings.now))
    }
}
