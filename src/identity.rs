//! An authenticated caller, as it is remembered between requests.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::authenticate::claims::{Claims, Confirmation};
use crate::authenticate::{AudienceRule, Principal};
use crate::authorize::Application;
use crate::authorize::EvidenceKind;
use crate::authorize::decide::Caller;
use crate::authorize::resolve::{AudienceTenants, NoteEvidence, TokenEvidence};
use crate::authorize::scope::EffectiveScopes;
use crate::ids::{ProviderId, TenantId};
use crate::issuer::provider::Provider;
use crate::jose::KeyFingerprint;
use crate::policy::{ForwardedValue, Policy};
use crate::respond::Reason;

/// A principal with the terms on which it may be believed again without another look at its token.
#[derive(Debug)]
pub struct Identity {
    /// Who calls.
    pub principal: Principal,
    /// When the token expires, the clock skew included: refused from then on.
    pub expires_at: Option<Duration>,
    /// The last moment at which the token is not too old, the clock skew included.
    pub too_old_after: Option<Duration>,
    /// What the token is bound to.
    pub confirmation: Confirmation,
    /// The key that verified it; None for an introspected token.
    pub key_fingerprint: Option<KeyFingerprint>,
    memo: RefCell<Option<Memo>>,
}

/// What the active policy makes of the identity: the same for every request until another is activated.
#[derive(Debug)]
struct Memo {
    generation: u64,
    /// Two providers of one configuration may be alike to the letter and yet speak for different tenants.
    provider: ProviderId,
    evidence: Result<TokenEvidence, Reason>,
    standing: Option<Rc<TenantStanding>>,
}

impl Memo {
    fn is_of(&self, provider: ProviderId, policy: &Policy) -> bool {
        self.generation == policy.generation && self.provider == provider
    }
}

/// What a caller amounts to under a tenant and the active policy.
#[derive(Debug)]
pub struct TenantStanding {
    /// The tenant.
    pub tenant: TenantId,
    /// The provider whose rules the token passed.
    pub provider: ProviderId,
    /// The application that it is registered as there, by its place among the tenant's.
    application: Option<usize>,
    /// Its scopes under the tenant.
    pub effective: EffectiveScopes,
    /// What the upstream is told.
    pub forwarded: ForwardedValues,
    /// Whether the tenant's configuration takes the token out of use.
    pub is_revoked: bool,
}

/// Values of the headers that the upstream is told, in the order of the configuration; None where there is nothing to
/// tell or where the value depends on the operation. An error, with the header's name, where a value cannot stand in a
/// header.
pub type ForwardedValues = Result<Box<[Option<Box<str>>]>, Box<str>>;

impl Identity {
    /// The identity that `claims` give under `provider`'s rules.
    pub fn new(
        provider: &Provider,
        issuer_tenant: Option<&str>,
        claims: Claims,
        key_fingerprint: Option<KeyFingerprint>,
    ) -> Self {
        let rules = &provider.rules;
        let skewed = |time: Duration| time.saturating_add(rules.clock_skew);
        Self {
            expires_at: claims.expires_at().map(skewed),
            too_old_after: claims
                .issued_at()
                .zip(rules.max_token_age)
                .map(|(issued_at, age)| skewed(issued_at.saturating_add(age))),
            confirmation: claims.confirmation(),
            key_fingerprint,
            principal: claims.into_principal(issuer_tenant, &rules.claims.tenant),
            memo: RefCell::new(None),
        }
    }

    /// A JWT's identity with what its introspection said: bound to both, with the scopes that both grant.
    #[must_use]
    pub fn narrowed(
        &self,
        scopes: Option<Box<[Box<str>]>>,
        scope_absent_from_introspection: bool,
        expires_at: Option<Duration>,
        confirmation: Confirmation,
    ) -> Self {
        let mut principal = self.principal.clone();
        principal.scopes = scopes;
        principal.scope_absent_from_introspection = scope_absent_from_introspection;
        Self {
            principal,
            expires_at: [self.expires_at, expires_at].into_iter().flatten().min(),
            too_old_after: self.too_old_after,
            confirmation,
            key_fingerprint: self.key_fingerprint,
            memo: RefCell::new(None),
        }
    }

    /// What it takes, in bytes, about: with what a policy makes of it, which repeats scopes and forwarded claims.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>() + size_of::<TenantStanding>() + 2 * self.principal.heap_bytes()
    }

    /// Whether the token may still be used at `now`.
    ///
    /// # Errors
    ///
    /// `token_expired` from `exp` on (RFC 7519 section 4.1.4), `token_too_old` after the greatest age.
    pub fn check_time(&self, now: Duration) -> Result<(), Reason> {
        if self.expires_at.is_some_and(|expires_at| now >= expires_at) {
            return Err(Reason::TokenExpired);
        }
        if self.too_old_after.is_some_and(|last| now > last) {
            return Err(Reason::TokenTooOld);
        }
        Ok(())
    }

    /// The token's evidence of its tenant under `policy`, worked out once per generation.
    ///
    /// # Errors
    ///
    /// `audience_mismatch` where the token was meant for a tenant by name that the policy no longer has,
    /// `issuer_unknown` where its issuer is another provider's by now, `token_revoked` where the provider's
    /// configuration takes it out of use.
    pub fn evidence(&self, provider: ProviderId, policy: &Policy) -> Result<TokenEvidence, Reason> {
        let is_current = |memo: &&Memo| memo.is_of(provider, policy);
        if let Some(memo) = self.memo.borrow().as_ref().filter(is_current) {
            return memo.evidence.clone();
        }
        let evidence = self.read_evidence(provider, policy, &mut |_, _, _| {});
        *self.memo.borrow_mut() = Some(Memo {
            generation: policy.generation,
            provider,
            evidence: evidence.clone(),
            standing: None,
        });
        evidence
    }

    /// Tells `note` what [`Self::evidence`] is made from, which is not remembered.
    pub fn note_evidence(&self, provider: ProviderId, policy: &Policy, note: NoteEvidence<'_>) {
        let _ = self.read_evidence(provider, policy, note);
    }

    fn read_evidence(
        &self,
        id: ProviderId,
        policy: &Policy,
        note: NoteEvidence<'_>,
    ) -> Result<TokenEvidence, Reason> {
        let provider = policy.provider(id).ok_or(Reason::IssuerUnknown)?;
        if let (Some(_), Some(issuer)) = (&provider.issuer, self.principal.issuer.as_deref()) {
            let found = policy.provider_of_issuer(issuer);
            if found.is_none_or(|(found, _)| found != id) {
                return Err(Reason::IssuerUnknown);
            }
        }
        let mut tenants = AudienceTenants::default();
        // A cached token was checked against the tenants of its time; names may have gone since.
        let mut is_meant_for_us = match &provider.rules.audiences {
            AudienceRule::Any => true,
            AudienceRule::OneOf(_) => self.principal.audiences.is_none(),
        };
        for audience in self.principal.audiences.as_deref().unwrap_or_default() {
            let of_tenants = policy.tenants.with_audience(audience);
            if let Some(named) = of_tenants {
                note(EvidenceKind::Audience, audience, named);
                named.iter().for_each(|tenant| tenants.add(*tenant));
            }
            let AudienceRule::OneOf(patterns) = &provider.rules.audiences else { continue };
            let (mut is_ours, mut has_name) = (false, false);
            for pattern in patterns {
                is_ours |= pattern.matches(audience, &|name| policy.tenants.named(name).is_some());
                if let Some(name) = pattern.tenant_name(audience) {
                    let named = policy.tenants.named(name);
                    note(EvidenceKind::Audience, audience, named.as_slice());
                    named.into_iter().for_each(|tenant| tenants.add(tenant));
                    has_name = true;
                }
            }
            is_meant_for_us |= is_ours;
            if has_name && !is_ours && of_tenants.is_none() {
                tenants.add_unknown();
            }
        }
        if !is_meant_for_us {
            return Err(Reason::AudienceMismatch);
        }
        if provider.revoked.as_deref().is_some_and(|revoked| revoked.cause(&self.principal).is_some()) {
            return Err(Reason::TokenRevoked);
        }
        let claim_lists = policy.resolution.claim_lists;
        Ok(TokenEvidence::noting(&self.principal, id, &tenants, &policy.tenants, claim_lists, note))
    }

    /// What the caller amounts to under `tenant`, worked out once per generation and tenant.
    pub fn standing(&self, tenant: TenantId, provider: ProviderId, policy: &Policy) -> Rc<TenantStanding> {
        let is_current = |memo: &&Memo| memo.is_of(provider, policy);
        let known = self.memo.borrow().as_ref().filter(is_current).and_then(|memo| memo.standing.clone());
        if let Some(standing) = known.filter(|standing| standing.tenant == tenant) {
            return standing;
        }
        let standing = Rc::new(self.compute_standing(tenant, provider, policy));
        if let Some(memo) = self.memo.borrow_mut().as_mut().filter(|memo| is_current(&&**memo)) {
            memo.standing = Some(Rc::clone(&standing));
        }
        standing
    }

    fn compute_standing(&self, id: TenantId, provider: ProviderId, policy: &Policy) -> TenantStanding {
        let principal = &self.principal;
        let tenant = policy.tenants.tenant(id);
        let application = tenant
            .zip(principal.client.as_deref())
            .and_then(|(tenant, client)| tenant.application_place(provider, client));
        let effective = match tenant {
            Some(tenant) => EffectiveScopes::of(
                principal.scopes.as_deref().unwrap_or_default(),
                tenant,
                application.and_then(|place| tenant.application_at(place)),
                &policy.catalog.permissions,
            ),
            None => EffectiveScopes::default(),
        };
        let forwarded = self.forwarded(id, &effective, policy);
        let is_revoked = tenant
            .and_then(|tenant| tenant.revoked.as_deref())
            .is_some_and(|revoked| revoked.cause(principal).is_some());
        TenantStanding { tenant: id, provider, application, effective, forwarded, is_revoked }
    }

    /// The caller as the decision about scopes sees it.
    pub fn caller<'c>(&'c self, standing: &'c TenantStanding, policy: &'c Policy) -> Option<Caller<'c>> {
        let tenant = policy.tenants.tenant(standing.tenant)?;
        Some(Caller {
            tenant,
            application: standing.application.and_then(|place| tenant.application_at(place)),
            token_scopes: self.principal.scopes.as_deref(),
            scope_absent_from_introspection: self.principal.scope_absent_from_introspection,
            effective: &standing.effective,
        })
    }

    fn forwarded(&self, tenant: TenantId, effective: &EffectiveScopes, policy: &Policy) -> ForwardedValues {
        let principal = &self.principal;
        let value_of = |value: &ForwardedValue| -> Option<String> {
            match value {
                ForwardedValue::Tenant => policy.tenants.tenant(tenant).map(|tenant| tenant.id.to_string()),
                ForwardedValue::Client => principal.client.as_deref().map(str::to_owned),
                ForwardedValue::Subject => principal.subject.as_deref().map(str::to_owned),
                ForwardedValue::Issuer => principal.issuer.as_deref().map(str::to_owned),
                ForwardedValue::Scopes => Some(effective.scopes.join(" ")),
                ForwardedValue::Permissions => policy
                    .tenants
                    .tenant(tenant)
                    .map(|tenant| effective.permission_names(&tenant.scope_table).join(" ")),
                ForwardedValue::Suite | ForwardedValue::Operation => None,
                ForwardedValue::Claim(path) => path.lookup(&principal.claims).map(claim_text),
            }
        };
        policy
            .forward
            .headers
            .iter()
            .map(|header| match value_of(&header.value) {
                // An upstream that trims a value would read another one.
                Some(value) if value.chars().any(char::is_control) || value.trim() != value => {
                    Err(header.name.clone())
                }
                value => Ok(value.map(String::into_boxed_str)),
            })
            .collect()
    }
}

impl TenantStanding {
    /// The application that the caller is registered as.
    pub fn application<'p>(&self, policy: &'p Policy) -> Option<&'p Application> {
        policy.tenants.tenant(self.tenant)?.application_at(self.application?)
    }
}

/// A claim as a header's value: a string as it is, anything else as compact JSON.
fn claim_text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
