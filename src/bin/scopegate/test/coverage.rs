//! What of a policy no case touches.

use std::collections::BTreeSet;

use scopegate::authorize::{Access, EvidenceKind};
use scopegate::exchange::Decision;
use scopegate::ids::{OperationId, TenantId};
use scopegate::issuer::provider::ProviderKeys;
use scopegate::policy::Policy;
use scopegate::respond::Reason;
use serde_json::json;

use super::bench::Outcome;
use crate::catalog::{operation_name, operations};
use crate::terminal::shown;

/// What the cases touched so far.
#[derive(Debug, Default)]
pub struct Coverage {
    operations: BTreeSet<OperationId>,
    passed: BTreeSet<OperationId>,
    tenants: BTreeSet<TenantId>,
    applications: BTreeSet<(TenantId, usize)>,
    reasons: BTreeSet<String>,
}

/// One kind of thing: how many there are, and which of them no case touches.
#[derive(Debug)]
pub struct Covered {
    /// `operations`, `tenants`, `applications`, `reasons`.
    pub what: &'static str,
    /// How many there are.
    pub total: usize,
    /// Those that no case touches.
    pub untouched: Vec<String>,
}

impl Coverage {
    /// Takes note of a case.
    pub fn add(&mut self, outcome: &Outcome) {
        let touched = outcome.touched;
        self.operations.extend(touched.operation);
        self.passed.extend(touched.operation.filter(|_| outcome.decision != Decision::Deny));
        self.tenants.extend(touched.tenant);
        self.applications.extend(touched.application);
        self.reasons.extend(outcome.reason.clone());
    }

    /// What there is in `policy`, and what of it no case touches.
    pub fn report(&self, policy: &Policy) -> Vec<Covered> {
        let of = |what, total, untouched: Vec<String>| Covered { what, total, untouched };
        let named = |ids: &BTreeSet<OperationId>| -> Vec<String> {
            let others = operations(policy).filter(|(id, _)| !ids.contains(id));
            others.map(|(_, operation)| operation_name(policy, operation)).collect()
        };
        let count = operations(policy).count();
        let tenants = policy.tenants.iter().filter(|(id, _)| !self.tenants.contains(id));
        let applications: Vec<(bool, String)> = policy
            .tenants
            .iter()
            .flat_map(|(id, tenant)| {
                let own = tenant.applications.as_deref().unwrap_or_default();
                own.iter().enumerate().map(move |(place, application)| {
                    let name = format!("{} {}", tenant.id, application.client_id);
                    (self.applications.contains(&(id, place)), name)
                })
            })
            .collect();
        let reasons: Vec<Reason> =
            Reason::ALL.iter().copied().filter(|reason| can_occur(*reason, policy)).collect();
        let reasons_seen = |reason: &Reason| self.reasons.contains(reason.as_str());
        vec![
            of("operations", count, named(&self.operations)),
            of("operations let through", count, named(&self.passed)),
            of("tenants", policy.tenants.len(), tenants.map(|(_, tenant)| tenant.id.to_string()).collect()),
            of(
                "applications",
                applications.len(),
                applications.iter().filter(|(seen, _)| !seen).map(|(_, name)| name.clone()).collect(),
            ),
            of(
                "reasons",
                reasons.len(),
                reasons
                    .iter()
                    .filter(|reason| !reasons_seen(reason))
                    .map(|reason| reason.as_str().to_owned())
                    .collect(),
            ),
        ]
    }
}

impl Covered {
    /// For people: a line, and the first names below it.
    pub fn text(&self) -> String {
        const SHOWN: usize = 40;
        let mut text =
            format!("  {:<24} {} of {}\n", self.what, self.total - self.untouched.len(), self.total);
        let mut line = String::new();
        let mut end_line = |line: &mut String| {
            if !line.is_empty() {
                text.push_str(&format!("    no case: {}\n", std::mem::take(line)));
            }
        };
        for name in self.untouched.iter().take(SHOWN) {
            let name = shown(name);
            if line.len() + name.len() > 90 {
                end_line(&mut line);
            }
            line.push_str(if line.is_empty() { "" } else { ", " });
            line.push_str(&name);
        }
        end_line(&mut line);
        if self.untouched.len() > SHOWN {
            text.push_str(&format!("    and {} more\n", self.untouched.len() - SHOWN));
        }
        text
    }

    /// For machines.
    pub fn json(&self) -> serde_json::Value {
        json!({"total": self.total, "covered": self.total - self.untouched.len(), "untouched": self.untouched})
    }
}

/// Whether some request could be refused for this reason under the policy.
fn can_occur(reason: Reason, policy: &Policy) -> bool {
    let providers = || policy.providers.iter();
    let introspects = || providers().any(|provider| provider.introspection.is_some());
    let has_keys = || providers().any(|provider| !matches!(provider.keys, ProviderKeys::None));
    let fetches_keys = || providers().any(|provider| matches!(provider.keys, ProviderKeys::Remote(_)));
    let takes_proofs = || policy.takes_proofs;
    let routes = || policy.routes.iter();
    let tenants = || policy.tenants.iter().map(|(_, tenant)| tenant);
    let registers = || tenants().any(|tenant| tenant.applications.is_some());
    let steps_up = || operations(policy).any(|(_, operation)| operation.step_up.is_some());
    let asks_for_scopes =
        || operations(policy).any(|(_, operation)| matches!(operation.access, Access::Scopes(_)));
    let reads_headers =
        || !policy.resolution.headers.is_empty() || routes().any(|route| !route.headers.is_empty());
    match reason {
        Reason::HeaderMissing => {
            reads_headers()
                && (policy.resolution.required_evidence.contains(EvidenceKind::Header)
                    || routes().any(|route| !route.headers.is_empty()))
        }
        Reason::HeaderAmbiguous | Reason::HeaderMalformed => reads_headers(),
        Reason::TlsRequired => operations(policy).any(|(_, operation)| operation.require_tls),
        Reason::TokenMalformed
        | Reason::AlgorithmNotAllowed
        | Reason::KeyNotFound
        | Reason::SignatureInvalid
        | Reason::IssuerUnknown => has_keys(),
        Reason::TokenTooOld => providers().any(|provider| provider.rules.max_token_age.is_some()),
        Reason::TokenInactive | Reason::IntrospectionUnavailable | Reason::ScopeAbsentFromIntrospection => {
            introspects()
        }
        Reason::IntrospectionNotConfigured => !introspects(),
        Reason::ApplicationNotRegistered | Reason::ScopeNotAssignedToApplication => registers(),
        Reason::TokenRevoked => {
            providers().any(|provider| provider.revoked.is_some())
                || tenants().any(|tenant| tenant.revoked.is_some())
        }
        Reason::ProofMissing | Reason::ProofInvalid | Reason::ProofReplayed => takes_proofs(),
        Reason::AuthenticationInsufficient => steps_up(),
        Reason::SuiteNotAvailable => tenants().any(|tenant| tenant.suites.is_some()),
        Reason::ScopeOfOtherTenant => tenants().any(|tenant| tenant.scope_prefix.is_some()),
        Reason::ScopeNotDeclared => tenants().any(|tenant| tenant.scope_table.declared.is_some()),
        Reason::NoScopesInToken
        | Reason::ScopeNameMismatch
        | Reason::ScopeNotAssociatedWithSuite
        | Reason::ScopeNotGranted => asks_for_scopes(),
        Reason::MethodNotMapped => routes().any(|route| route.methods.is_some()),
        Reason::TenantMismatch | Reason::TenantUnknown => policy.tenants.len() > 1,
        Reason::IssuerNotAllowedForTenant => policy.providers.len() > 1 && policy.tenants.len() > 1,
        Reason::TenantAmbiguous => policy.tenants.len() > 1,
        Reason::KeysUnavailable => fetches_keys(),
        // A single request meets no crowd.
        Reason::IntrospectionOverloaded => false,
        Reason::PathAmbiguous
        | Reason::CredentialAmbiguous
        | Reason::CredentialMalformed
        | Reason::HostMalformed
        | Reason::CredentialMissing
        | Reason::TokenTooLarge
        | Reason::TokenTypeNotAccepted
        | Reason::TokenExpired
        | Reason::TokenNotYetValid
        | Reason::AudienceMismatch
        | Reason::ClaimMissing
        | Reason::ClaimMalformed
        | Reason::TenantMissing
        | Reason::SenderConstraintFailed
        | Reason::OperationNotMapped => true,
    }
}
