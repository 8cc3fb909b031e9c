//! What each step of a request's way found, in more detail than logs need: the account that `scopegate
//! explain` gives.
//!
//! The filter keeps no trace. [`NoTrace`] drops what would be written before it is even computed, so the walk
//! that explains a request and the walk that decides it are the same code.

use super::facts::{Stage, token_digest};
use super::forward::CredentialPlace;
use crate::authenticate::{UntrustedToken, looks_like_jwt};
use crate::authorize::resolve::Named;
use crate::authorize::{Enforcement, EvidenceKind, EvidenceKinds};
use crate::credential::Credential;
use crate::ids::{ProviderId, TenantId};
use crate::jose::algorithm::Algorithm;
use crate::jose::json::Object;
use crate::respond::Reason;
use crate::route::Lookup;

/// Takes what the walk finds, or drops it.
pub trait TraceSink {
    /// Calls `write` if this sink keeps a trace.
    fn record(&mut self, write: impl FnOnce(&mut Trace));
}

/// Keeps nothing.
pub struct NoTrace;

impl TraceSink for NoTrace {
    fn record(&mut self, _: impl FnOnce(&mut Trace)) {}
}

impl TraceSink for Trace {
    fn record(&mut self, write: impl FnOnce(&mut Trace)) {
        write(self);
    }
}

/// What the last walk of a request found, step by step. What a step never came to find is absent.
#[derive(Debug, Default)]
pub struct Trace {
    /// How each step was left. The walk may come back to one: then the last of [`StepOutcome`] counts.
    outcomes: Vec<(Stage, StepOutcome)>,
    /// The canonical path.
    pub path: Option<PathFound>,
    /// The canonical host.
    pub host: Option<Box<str>>,
    /// Whether the request passed as a CORS preflight request.
    pub is_cors_preflight: bool,
    /// What the operation index answered.
    pub route: Option<RouteFound>,
    /// The request's one credential.
    pub credential: Option<CredentialFound>,
    /// What the token says, where it was parsed as a JWT; not verified yet.
    pub jwt: Option<JwtFound>,
    /// The provider whose rules applied to the token.
    pub provider: Option<ProviderId>,
    /// What the token, and then the request, says about the tenant.
    pub evidence: Vec<EvidenceFound>,
    /// The kinds of evidence that had to be present, without those that were waived.
    pub required: EvidenceKinds,
    /// How strictly scopes were enforced.
    pub enforcement: Option<Enforcement>,
    /// The reason that enforcement lifted.
    pub lifted: Option<Reason>,
}

/// How a step of the way went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepOutcome {
    /// The request did not need this step, or was refused before it.
    Skipped,
    /// The request went on.
    Passed,
    /// The request went on although it failed the step, because enforcement is `shadow` or `off`.
    Lifted,
    /// The request was refused here.
    Refused,
}

/// The path as operations see it.
#[derive(Debug)]
pub struct PathFound {
    /// In canonical form, without the query.
    pub path: Box<str>,
    /// Whether a query followed it.
    pub has_query: bool,
}

/// What the operation index answered; the operation is among the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants of `Lookup`")]
pub enum RouteFound {
    Matched,
    Unmatched,
    MethodNotMapped,
    Header,
}

/// The request's one credential, without the token.
#[derive(Debug)]
pub struct CredentialFound {
    /// Where it stood.
    pub place: CredentialPlace,
    /// The token's length in bytes.
    pub length: usize,
    /// The first 8 bytes of the token's SHA-256.
    pub digest: [u8; 8],
    /// Whether it was read as a JWT; else it is opaque.
    pub is_jwt: bool,
    /// The providers that take tokens from there.
    pub providers: Vec<ProviderId>,
}

/// What a JWT says before it is verified.
#[derive(Debug)]
pub struct JwtFound {
    /// `alg`, where it is implemented.
    pub algorithm: Option<Algorithm>,
    /// `kid`.
    pub key_id: Option<Box<str>>,
    /// The payload.
    pub claims: Object,
}

/// One piece of evidence about the tenant.
#[derive(Debug)]
pub struct EvidenceFound {
    /// Its kind.
    pub kind: EvidenceKind,
    /// The header that it stands in, for evidence of that kind.
    pub header: Option<Box<str>>,
    /// The name, audience, client or host that speaks.
    pub name: Box<str>,
    /// The tenants that it names; none where the name is not configured.
    pub tenants: Vec<TenantId>,
}

impl Trace {
    /// How `stage` went.
    pub fn outcome(&self, stage: Stage) -> StepOutcome {
        let of_stage = self.outcomes.iter().filter(|(left, _)| *left == stage).map(|(_, outcome)| *outcome);
        of_stage.max().unwrap_or(StepOutcome::Skipped)
    }

    /// Begins a walk. What the token says stays: one that was verified is remembered, and not parsed again.
    pub(super) fn start_over(&mut self) {
        *self = Self { jwt: self.jwt.take(), ..Self::default() };
    }

    pub(super) fn leave(&mut self, stage: Stage, outcome: StepOutcome) {
        self.outcomes.push((stage, outcome));
    }

    pub(super) fn jwt(&mut self, token: &UntrustedToken<'_>) {
        self.jwt = Some(JwtFound {
            algorithm: token.algorithm(),
            key_id: token.key_id().map(Box::from),
            claims: token.claims().clone(),
        });
    }

    pub(super) fn token_evidence(&mut self, kind: EvidenceKind, name: &str, tenants: &[TenantId]) {
        self.evidence.push(EvidenceFound {
            kind,
            header: None,
            name: name.into(),
            tenants: tenants.to_vec(),
        });
    }

    pub(super) fn request_evidence(
        &mut self,
        kind: EvidenceKind,
        header: Option<&str>,
        name: &str,
        named: Named<'_>,
    ) {
        let header = header.map(Box::from);
        self.evidence.push(EvidenceFound { kind, header, name: name.into(), tenants: named.tenants() });
    }
}

impl CredentialFound {
    pub(super) fn of(credential: &Credential<'_>) -> Self {
        Self {
            place: CredentialPlace::of(credential),
            length: credential.token.len(),
            digest: token_digest(&credential.token),
            is_jwt: looks_like_jwt(&credential.token),
            providers: credential.providers.iter().collect(),
        }
    }
}

impl RouteFound {
    pub(super) fn of(lookup: &Lookup<'_>) -> Self {
        match lookup {
            Lookup::Matched { .. } => Self::Matched,
            Lookup::Unmatched => Self::Unmatched,
            Lookup::MethodNotMapped { .. } => Self::MethodNotMapped,
            Lookup::Header { .. } => Self::Header,
        }
    }
}
