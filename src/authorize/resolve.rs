//! Which tenant a request belongs to.
//!
//! 1. Malformed evidence is never ignored: its shape is judged first.
//! 2. Kinds of evidence that are required must be present.
//! 3. The tenant comes from the token's evidence alone: the one tenant that all of it has in common, provided that
//!    something in the token names it ([`TokenEvidence`]).
//!    Where a claim lists several tenants, and that is switched on, the request's evidence picks one of them.
//! 4. Two fallbacks, both off unless configured, where the token names nothing ([`ResolutionRules`]).
//! 5. The request's evidence must name that same tenant; beside such a list it never narrows a choice.
//!
//! The token's part depends on the token and the configuration alone, so it is computed once per token and
//! policy generation; what is left for each request is a comparison.

use std::rc::Rc;

use super::tenants::TenantTable;
use crate::authenticate::{Principal, TenantClaim};
use crate::ids::{ProviderId, TenantId};
use crate::respond::Reason;

/// The kinds of tenant evidence, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvidenceKinds(u8);

/// One kind of tenant evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the configuration")]
pub enum EvidenceKind {
    Claim,
    Issuer,
    Audience,
    Application,
    Header,
    Path,
    Host,
}

impl EvidenceKind {
    /// Every kind, in the order in which an absent one is reported.
    pub const ALL: [Self; 7] =
        [Self::Claim, Self::Issuer, Self::Audience, Self::Application, Self::Header, Self::Path, Self::Host];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Application => "application",
            Self::Header => "header",
            Self::Path => "path",
            Self::Host => "host",
        }
    }
}

impl EvidenceKinds {
    /// The set with `kind` in it.
    #[must_use]
    pub fn with(self, kind: EvidenceKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// The set without `kind`.
    #[must_use]
    pub fn without(self, kind: EvidenceKind) -> Self {
        Self(self.0 & !(1 << kind as u8))
    }

    /// Both sets together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `kind` is in it.
    pub fn contains(self, kind: EvidenceKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The kinds, in the order of [`EvidenceKind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = EvidenceKind> {
        EvidenceKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    /// Its kinds that are not in `present`.
    pub fn absent_from(self, present: Self) -> impl Iterator<Item = EvidenceKind> {
        self.iter().filter(move |kind| !present.contains(*kind))
    }
}

/// How tenants are resolved: `tenant_resolution` of the configuration.
#[derive(Clone, Debug, Default)]
pub struct ResolutionRules {
    /// Headers whose value names a tenant, lower case.
    pub headers: Box<[Box<str>]>,
    /// Kinds of evidence that every request must bring.
    pub required_evidence: EvidenceKinds,
    /// Whether a tenant claim may list several tenants, of which the request's evidence picks one.
    pub claim_lists: bool,
    /// Whether the request's tenant counts where the token names none, for a client's own token.
    pub accept_from_request: bool,
    /// The tenant where nothing names one.
    pub default: Option<TenantId>,
}

/// Why no tenant was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantFault {
    /// The reason code.
    pub reason: Reason,
    /// What the fault is about: a kind of evidence or a header's name. Never a value.
    pub about: Option<Box<str>>,
}

impl From<Reason> for TenantFault {
    fn from(reason: Reason) -> Self {
        Self { reason, about: None }
    }
}

/// What a token's own evidence says of the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEvidence {
    /// A tenant claim that names nothing.
    odd_claim: bool,
    kinds: EvidenceKinds,
    conclusion: TokenConclusion,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TokenConclusion {
    /// The one tenant that all of the token's evidence has in common.
    Tenant(TenantId),
    /// Tenants that a claim lists, each with what the rest of the token makes of it.
    Listed(Rc<[(TenantId, Result<(), Reason>)]>),
    NamesNothing,
    Contradiction(Reason),
}

impl TokenEvidence {
    /// Reads the token's evidence. Costs lookups by name, never a walk over all tenants.
    pub fn of(
        principal: &Principal,
        provider: ProviderId,
        audiences: &AudienceTenants,
        table: &TenantTable,
        claim_lists: bool,
    ) -> Self {
        Self::noting(principal, provider, audiences, table, claim_lists, &mut |_, _, _| {})
    }

    /// The same, with every name in the token and the tenants that it names told to `note`. Audiences are for
    /// whoever reads them.
    pub fn noting(
        principal: &Principal,
        provider: ProviderId,
        audiences: &AudienceTenants,
        table: &TenantTable,
        claim_lists: bool,
        note: NoteEvidence<'_>,
    ) -> Self {
        let mut kinds = EvidenceKinds::default();
        // Each entry is one piece of evidence: the tenants of which it allows one.
        let mut naming: Vec<&[TenantId]> = Vec::with_capacity(8);
        let mut unknown = false;

        let claims = principal.tenants_named(claim_lists);
        let odd_claim = claims.is_err();
        let mut listed: Option<Vec<TenantId>> = None;
        for claim in claims.unwrap_or_default() {
            kinds = kinds.with(EvidenceKind::Claim);
            for name in claim.names() {
                note(EvidenceKind::Claim, name, table.alone(name).unwrap_or_default());
            }
            match ClaimedTenants::of(claim, table) {
                ClaimedTenants::None => unknown = true,
                ClaimedTenants::One(tenant) => naming.push(tenant),
                ClaimedTenants::Several(tenants) => {
                    listed = Some(match listed {
                        Some(before) => {
                            before.into_iter().filter(|tenant| tenants.contains(tenant)).collect()
                        }
                        None => tenants,
                    });
                }
            }
        }
        let (speaks_for, first) = table.speaks_for(provider);
        if let Some(name) = &principal.issuer_tenant {
            kinds = kinds.with(EvidenceKind::Issuer);
            let tenant = table.alone(name);
            note(EvidenceKind::Issuer, name, tenant.unwrap_or_default());
            match tenant {
                Some(tenant) => naming.push(tenant),
                None => unknown = true,
            }
        } else if speaks_for > 0 {
            kinds = kinds.with(EvidenceKind::Issuer);
        }
        if !audiences.tenants.is_empty() {
            kinds = kinds.with(EvidenceKind::Audience);
            naming.push(&audiences.tenants);
        }
        // A token for a tenant that is gone is not one for the tenant that happens to be left.
        unknown |= audiences.names_unknown && naming.is_empty() && listed.is_none();
        let registered =
            principal.client.as_deref().map_or(&[][..], |client| table.registered(provider, client));
        if let Some(client) = principal.client.as_deref() {
            note(EvidenceKind::Application, client, registered);
        }
        if !registered.is_empty() {
            kinds = kinds.with(EvidenceKind::Application);
        }
        // What only ever names a tenant by being the last one left.
        if speaks_for == 1 && !first.is_empty() {
            naming.push(first);
        }
        if registered.len() == 1 {
            naming.push(registered);
        }

        let common = |naming: &[&[TenantId]]| common_tenant(naming, registered, principal, provider, table);
        let conclusion = match listed {
            _ if unknown => TokenConclusion::Contradiction(Reason::TenantUnknown),
            Some(listed) => {
                let verdict = |tenant: &TenantId| {
                    let naming: Vec<&[TenantId]> =
                        naming.iter().copied().chain([std::slice::from_ref(tenant)]).collect();
                    (*tenant, common(&naming).map(|_| ()))
                };
                let verdicts: Rc<[_]> = listed.iter().map(verdict).collect();
                if verdicts.iter().any(|(_, verdict)| verdict.is_ok()) {
                    TokenConclusion::Listed(verdicts)
                } else if listed.is_empty() {
                    TokenConclusion::Contradiction(Reason::TenantMismatch)
                } else {
                    naming.push(&listed);
                    TokenConclusion::Contradiction(common(&naming).err().unwrap_or(Reason::TenantMismatch))
                }
            }
            None if naming.is_empty() => TokenConclusion::NamesNothing,
            None => match common(&naming) {
                Ok(tenant) => TokenConclusion::Tenant(tenant),
                Err(reason) => TokenConclusion::Contradiction(reason),
            },
        };
        Self { odd_claim, kinds, conclusion }
    }
}

/// The configured tenants that a claim names.
enum ClaimedTenants<'t> {
    None,
    /// One, by whatever names, and no other name beside it.
    One(&'t [TenantId]),
    /// Several names of which these are tenants', or one that is beside names of nobody.
    Several(Vec<TenantId>),
}

impl<'t> ClaimedTenants<'t> {
    fn of(claim: &TenantClaim, table: &'t TenantTable) -> Self {
        let names = claim.names();
        let Some(first) = names.iter().find_map(|name| table.alone(name)) else { return Self::None };
        if names.iter().all(|name| table.alone(name) == Some(first)) {
            return Self::One(first);
        }
        let mut tenants: Vec<TenantId> = names.iter().filter_map(|name| table.named(name)).collect();
        tenants.sort_unstable();
        tenants.dedup();
        Self::Several(tenants)
    }
}

/// Of the tenants that a token lists, the one that all evidence of the request names.
fn picked(
    listed: &[(TenantId, Result<(), Reason>)],
    request: &RequestEvidence<'_>,
) -> Result<TenantId, Reason> {
    if request.is_empty() {
        return Err(Reason::TenantAmbiguous);
    }
    let mut result = Err(Reason::TenantMismatch);
    for (tenant, verdict) in listed.iter().filter(|(tenant, _)| request.agrees_with(*tenant)) {
        match (&result, verdict) {
            (Ok(_), Ok(())) => return Err(Reason::TenantAmbiguous),
            (Ok(_), Err(_)) => {}
            (Err(_), Ok(())) => result = Ok(*tenant),
            (Err(_), Err(reason)) => result = Err(*reason),
        }
    }
    result
}

/// Takes a kind of evidence, what stands for it in the token, and the tenants that it names: none where it is
/// unknown.
pub type NoteEvidence<'n> = &'n mut dyn FnMut(EvidenceKind, &str, &[TenantId]);

/// The tenants that a token's audiences name: by `tenants[].audiences` and by the provider's `{tenant}`
/// patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AudienceTenants {
    tenants: Vec<TenantId>,
    names_unknown: bool,
}

impl AudienceTenants {
    /// Adds a tenant that an audience names.
    pub fn add(&mut self, tenant: TenantId) {
        if !self.tenants.contains(&tenant) {
            self.tenants.push(tenant);
        }
    }

    /// Notes that an audience names a tenant that is not configured.
    pub fn add_unknown(&mut self) {
        self.names_unknown = true;
    }
}

/// The one tenant that every piece of `naming` evidence allows, that the provider may speak for and that takes the
/// client. The order of the checks is that of the reasons in the README.
fn common_tenant(
    naming: &[&[TenantId]],
    registered: &[TenantId],
    principal: &Principal,
    provider: ProviderId,
    table: &TenantTable,
) -> Result<TenantId, Reason> {
    let is_spoken_for = |tenant: &&TenantId| table.may_speak(provider, **tenant);
    if naming.iter().any(|tenants| !tenants.iter().any(|tenant| is_spoken_for(&tenant))) {
        return Err(Reason::IssuerNotAllowedForTenant);
    }
    let takes_client = |tenant: &TenantId| client_check(*tenant, principal, provider, table).is_ok();
    if naming.iter().any(|tenants| !tenants.iter().filter(is_spoken_for).any(takes_client)) {
        return Err(match principal.client {
            Some(_) => Reason::ApplicationNotRegistered,
            None => Reason::ClaimMissing,
        });
    }
    let (first, rest) = naming.split_first().ok_or(Reason::TenantMissing)?;
    let mut common = first
        .iter()
        .filter(|tenant| rest.iter().all(|tenants| tenants.contains(tenant)))
        .filter(|tenant| registered.is_empty() || registered.contains(tenant))
        .filter(is_spoken_for);
    match (common.next(), common.next()) {
        (None, _) => Err(Reason::TenantMismatch),
        (Some(tenant), None) => client_check(*tenant, principal, provider, table).map(|()| *tenant),
        (Some(_), Some(_)) => Err(Reason::TenantAmbiguous),
    }
}

/// A tenant that registers applications takes only those; one that registers none takes any client of its
/// providers.
fn client_check(
    tenant: TenantId,
    principal: &Principal,
    provider: ProviderId,
    table: &TenantTable,
) -> Result<(), Reason> {
    let tenant = table.tenant(tenant).ok_or(Reason::TenantUnknown)?;
    if tenant.applications.is_none() {
        return Ok(());
    }
    let client = principal.client.as_deref().ok_or(Reason::ClaimMissing)?;
    tenant.application(provider, client).map(|_| ()).ok_or(Reason::ApplicationNotRegistered)
}

/// One piece of evidence that a request brings: the tenants that it names, none where the name is not
/// configured.
#[derive(Clone, Copy, Debug)]
pub enum Named<'t> {
    /// One tenant, by id or alias.
    One(TenantId),
    /// Tenants that share a host.
    Any(&'t [TenantId]),
    /// A name that is not configured.
    Unknown,
}

impl Named<'_> {
    /// The tenants.
    pub fn tenants(self) -> Vec<TenantId> {
        match self {
            Self::One(tenant) => vec![tenant],
            Self::Any(tenants) => tenants.to_vec(),
            Self::Unknown => Vec::new(),
        }
    }

    fn includes(self, tenant: TenantId) -> bool {
        match self {
            Self::One(named) => named == tenant,
            Self::Any(named) => named.contains(&tenant),
            Self::Unknown => false,
        }
    }
}

/// What a request's own evidence says of the tenant. It can contradict the token; it never chooses, but for
/// `accept_from_request` and among tenants that the token lists.
#[derive(Debug)]
pub struct RequestEvidence<'t> {
    kinds: EvidenceKinds,
    named: [Option<Named<'t>>; 3],
    /// Headers beyond the first, where several are configured and present.
    more: Vec<Named<'t>>,
    malformed_header: Option<(Reason, Box<str>)>,
}

impl<'t> RequestEvidence<'t> {
    /// No evidence yet.
    pub fn new() -> Self {
        Self { kinds: EvidenceKinds::default(), named: [None; 3], more: Vec::new(), malformed_header: None }
    }

    /// A header that names a tenant, by id or alias.
    pub fn header(&mut self, name: &str, table: &'t TenantTable) -> Named<'t> {
        self.kinds = self.kinds.with(EvidenceKind::Header);
        let named = by_name(table, name);
        match &mut self.named[0] {
            first @ None => *first = Some(named),
            Some(_) => self.more.push(named),
        }
        named
    }

    /// A header whose value cannot name a tenant: repeated, empty or not UTF-8. The first one is reported.
    pub fn malformed_header(&mut self, reason: Reason, name: &str) {
        self.malformed_header.get_or_insert((reason, name.into()));
    }

    /// The segment at `{tenant}` of the operation's path, decoded once; none where it is not UTF-8.
    pub fn path(&mut self, name: Option<&str>, table: &'t TenantTable) -> Named<'t> {
        self.kinds = self.kinds.with(EvidenceKind::Path);
        let named = name.map_or(Named::Unknown, |name| by_name(table, name));
        self.named[1] = Some(named);
        named
    }

    /// The request's host: the labels at `{tenant}` of configured hosts, and the host itself, in canonical
    /// form. Each that names tenants is told to `note`.
    pub fn host<'l>(
        &mut self,
        labels: impl Iterator<Item = &'l str>,
        host: Option<&'l str>,
        table: &'t TenantTable,
        mut note: impl FnMut(&str, Named<'t>),
    ) {
        let by_host = host.and_then(|host| Some((host, Named::Any(table.at_host(host)?))));
        for (name, named) in labels.map(|name| (name, by_name(table, name))).chain(by_host) {
            note(name, named);
            self.kinds = self.kinds.with(EvidenceKind::Host);
            match &mut self.named[2] {
                first @ None => *first = Some(named),
                Some(_) => self.more.push(named),
            }
        }
    }

    /// The first header whose value cannot name a tenant, and why.
    pub fn malformed(&self) -> Option<(Reason, &str)> {
        self.malformed_header.as_ref().map(|(reason, name)| (*reason, &**name))
    }

    /// The tenants that every piece of evidence allows; none where pieces contradict each other, name something
    /// that is not configured, or where there is no evidence.
    pub fn tenants(&self) -> Vec<TenantId> {
        let mut allowed: Option<Vec<TenantId>> = None;
        for named in self.all() {
            allowed = Some(match allowed {
                Some(allowed) => allowed.into_iter().filter(|tenant| named.includes(*tenant)).collect(),
                None => named.tenants(),
            });
        }
        allowed.unwrap_or_default()
    }

    /// Whether it names no tenant at all.
    pub fn is_empty(&self) -> bool {
        self.named.iter().all(Option::is_none)
    }

    /// The one tenant that all evidence names.
    pub fn sole_tenant(&self) -> Option<TenantId> {
        match self.tenants().as_slice() {
            [tenant] => Some(*tenant),
            _ => None,
        }
    }

    /// Whether every piece of evidence allows `tenant`.
    pub fn agrees_with(&self, tenant: TenantId) -> bool {
        self.all().all(|named| named.includes(tenant))
    }

    fn all(&self) -> impl Iterator<Item = Named<'t>> + '_ {
        self.named.iter().flatten().chain(&self.more).copied()
    }
}

impl Default for RequestEvidence<'_> {
    fn default() -> Self {
        Self::new()
    }
}

fn by_name<'t>(table: &'t TenantTable, name: &str) -> Named<'t> {
    table.named(name).map_or(Named::Unknown, Named::One)
}

/// Resolves the tenant of a request. `required` are the kinds that must be present, from the file, the suite
/// and the operation together.
pub fn resolve(
    token: &TokenEvidence,
    request: &RequestEvidence<'_>,
    required: EvidenceKinds,
    principal: &Principal,
    provider: ProviderId,
    rules: &ResolutionRules,
    table: &TenantTable,
) -> Result<TenantId, TenantFault> {
    if let Some((reason, name)) = &request.malformed_header {
        return Err(TenantFault { reason: *reason, about: Some(name.clone()) });
    }
    if token.odd_claim {
        return Err(Reason::ClaimMalformed.into());
    }
    if let Some(kind) = required.absent_from(token.kinds.union(request.kinds)).next() {
        return Err(match kind {
            EvidenceKind::Header => {
                TenantFault { reason: Reason::HeaderMissing, about: rules.headers.first().cloned() }
            }
            other => TenantFault { reason: Reason::TenantMissing, about: Some(other.as_str().into()) },
        });
    }
    match &token.conclusion {
        TokenConclusion::Contradiction(reason) => Err((*reason).into()),
        TokenConclusion::Listed(listed) => Ok(picked(listed, request)?),
        TokenConclusion::Tenant(tenant) if request.agrees_with(*tenant) => Ok(*tenant),
        TokenConclusion::Tenant(_) => Err(Reason::TenantMismatch.into()),
        TokenConclusion::NamesNothing => Ok(fallback(request, principal, provider, rules, table)?),
    }
}

/// The tenant of a token that names none: the request's, if that is accepted and the token is its client's
/// own; else the default, where nothing at all speaks of a tenant.
fn fallback(
    request: &RequestEvidence<'_>,
    principal: &Principal,
    provider: ProviderId,
    rules: &ResolutionRules,
    table: &TenantTable,
) -> Result<TenantId, Reason> {
    let registered = principal.client.as_deref().map_or(&[][..], |client| table.registered(provider, client));
    let own_token = principal.subject.is_none() || principal.subject == principal.client;
    if rules.accept_from_request && own_token {
        if let Some(tenant) = request.sole_tenant().filter(|tenant| registered.contains(tenant)) {
            return if table.may_speak(provider, tenant) {
                Ok(tenant)
            } else {
                Err(Reason::IssuerNotAllowedForTenant)
            };
        }
    }
    match rules.default {
        Some(tenant) if registered.is_empty() && request.is_empty() && table.may_speak(provider, tenant) => {
            client_check(tenant, principal, provider, table).map(|()| tenant)
        }
        Some(_) | None => Err(Reason::TenantMissing),
    }
}
