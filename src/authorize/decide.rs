//! Step 6 of a request's way: may this caller, under this tenant, call this operation?
//!
//! The reason of a 403 is the first that holds, in the order of [`Reason::ALL`]; `diagnose` is that order.

use super::catalog::{Access, Catalog, Enforcement, Operation};
use super::requirement::{PermissionSet, Requirement};
use super::scope::{EffectiveScopes, is_assigned};
use super::scope_table::{Meaning, ScopeKind};
use super::tenants::{Application, Tenant, TenantTable};
use crate::ids::{OperationId, PermissionId};
use crate::respond::Reason;

/// Who calls, as far as scopes are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'c> {
    /// The tenant that was resolved.
    pub tenant: &'c Tenant,
    /// The registered application, where the tenant registers any.
    pub application: Option<&'c Application>,
    /// The token's scopes as they came; None where it carries no scope claim.
    pub token_scopes: Option<&'c [Box<str>]>,
    /// Whether the token was introspected and the response had no scope member.
    pub scope_absent_from_introspection: bool,
    /// What the token's scopes amount to under the tenant.
    pub effective: &'c EffectiveScopes,
}

/// Why access is refused, and which token scopes would open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason code.
    pub reason: Reason,
    /// The smallest set of the tenant's token scopes that would do, space-separated. None where no set would.
    pub sufficient_scope: Option<String>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, sufficient_scope: None }
    }
}

/// Whether `caller` may call the operation `id`, leaving enforcement aside.
pub fn decide(
    id: OperationId,
    operation: &Operation,
    caller: &Caller<'_>,
    catalog: &Catalog,
    table: &TenantTable,
) -> Result<(), Refusal> {
    match &operation.access {
        Access::Public | Access::Authenticated => return Ok(()),
        Access::Undecided => return Err(Reason::ScopeNotGranted.into()),
        Access::Scopes(_) => {}
    }
    if !caller.tenant.has_suite(operation.suite) {
        return Err(Reason::SuiteNotAvailable.into());
    }
    let system = catalog.suite(operation.suite).is_some_and(|suite| suite.system);
    // An operation that asks for scopes and has no requirement cannot be configured; if it could, nothing
    // would meet it.
    let requirement = catalog.requirement(id, caller.tenant).ok_or(Reason::ScopeNotGranted)?;
    let held = caller.effective.permissions(system);
    if requirement.is_met_by(held) {
        return Ok(());
    }
    let required = Required::new(requirement, system, caller.tenant, catalog);
    Err(Refusal {
        reason: diagnose(operation, caller, &required, held, table),
        sufficient_scope: required.sufficient_scope(caller.tenant),
    })
}

/// Whether `enforcement` lets a request pass although `reason` speaks against it.
pub fn is_lifted(reason: Reason, enforcement: Enforcement) -> bool {
    match reason {
        Reason::OperationNotMapped | Reason::MethodNotMapped => match enforcement {
            Enforcement::Shadow => true,
            Enforcement::Enforce | Enforcement::Off => false,
        },
        Reason::ScopeAbsentFromIntrospection
        | Reason::NoScopesInToken
        | Reason::ScopeOfOtherTenant
        | Reason::ScopeNameMismatch
        | Reason::ScopeNotDeclared
        | Reason::ScopeNotAssignedToApplication
        | Reason::ScopeNotAssociatedWithSuite
        | Reason::ScopeNotGranted => match enforcement {
            Enforcement::Shadow | Enforcement::Off => true,
            Enforcement::Enforce => false,
        },
        Reason::PathAmbiguous
        | Reason::CredentialAmbiguous
        | Reason::CredentialMalformed
        | Reason::HeaderMissing
        | Reason::HeaderAmbiguous
        | Reason::HeaderMalformed
        | Reason::TlsRequired
        | Reason::HostMalformed
        | Reason::CredentialMissing
        | Reason::TokenMalformed
        | Reason::TokenTooLarge
        | Reason::TokenTypeNotAccepted
        | Reason::AlgorithmNotAllowed
        | Reason::IssuerUnknown
        | Reason::KeyNotFound
        | Reason::SignatureInvalid
        | Reason::TokenExpired
        | Reason::TokenNotYetValid
        | Reason::TokenTooOld
        | Reason::AudienceMismatch
        | Reason::ClaimMissing
        | Reason::ClaimMalformed
        | Reason::TokenInactive
        | Reason::IntrospectionNotConfigured
        | Reason::TenantMissing
        | Reason::TenantUnknown
        | Reason::TenantAmbiguous
        | Reason::TenantMismatch
        | Reason::IssuerNotAllowedForTenant
        | Reason::ApplicationNotRegistered
        | Reason::SenderConstraintFailed
        | Reason::TokenRevoked
        | Reason::ProofMissing
        | Reason::ProofInvalid
        | Reason::ProofReplayed
        | Reason::AuthenticationInsufficient
        | Reason::SuiteNotAvailable
        | Reason::KeysUnavailable
        | Reason::IntrospectionUnavailable
        | Reason::IntrospectionOverloaded => false,
    }
}

/// What an operation requires, with the scopes that bring any of it, seen from its suite's side of the fence
/// between vendor and custom scopes.
struct Required<'c> {
    requirement: &'c Requirement,
    catalog: &'c Catalog,
    /// Scopes of the right kind, and undeclared ones, of which the kind is None; sorted by name.
    scopes: Vec<(Meaning<'c>, Option<ScopeKind>)>,
}

/// One of the things that are missing, with the scopes that would bring it.
struct MissingPiece<'c> {
    /// Sorted.
    wanted: Vec<&'c str>,
    /// Those of them that the token carries under the tenant's prefix, and that do not count all the same.
    carried: Vec<&'c str>,
}

impl<'c> MissingPiece<'c> {
    fn new(
        piece: &[PermissionId],
        required: &Required<'c>,
        tenant: &Tenant,
        token_scopes: &'c [Box<str>],
    ) -> Self {
        let mut piece = Self { wanted: required.scopes_for(piece), carried: Vec::new() };
        let stripped = token_scopes.iter().filter_map(|scope| tenant.strip_prefix(scope));
        piece.carried = stripped.filter(|scope| piece.is_brought_by(scope)).collect();
        piece
    }

    fn is_brought_by(&self, scope: &str) -> bool {
        self.wanted.binary_search(&scope).is_ok()
    }
}

/// The first reason that holds, in the order of [`Reason::ALL`].
fn diagnose(
    operation: &Operation,
    caller: &Caller<'_>,
    required: &Required<'_>,
    held: &PermissionSet,
    table: &TenantTable,
) -> Reason {
    if caller.scope_absent_from_introspection {
        return Reason::ScopeAbsentFromIntrospection;
    }
    let token_scopes = caller.token_scopes.unwrap_or_default();
    if token_scopes.is_empty() {
        return Reason::NoScopesInToken;
    }
    let mut missing: Vec<MissingPiece<'_>> = required
        .requirement
        .missing_pieces(held)
        .map(|piece| MissingPiece::new(piece, required, caller.tenant, token_scopes))
        .collect();

    let is_carried = |piece: &MissingPiece<'_>| !piece.carried.is_empty();
    let is_of_other_tenant = |piece: &MissingPiece<'_>| {
        let behind = |scope| table.strip_other_prefix(caller.tenant, scope);
        token_scopes.iter().filter_map(|scope| behind(scope)).any(|scope| piece.is_brought_by(scope))
    };
    if missing.iter().any(|piece| !is_carried(piece) && is_of_other_tenant(piece)) {
        return Reason::ScopeOfOtherTenant;
    }
    let is_misspelt =
        |piece: &mut MissingPiece<'_>| carries_a_near_miss(token_scopes, &mut piece.wanted, caller.tenant);
    if missing.iter_mut().any(|piece| !is_carried(piece) && is_misspelt(piece)) {
        return Reason::ScopeNameMismatch;
    }
    let carried = || missing.iter().flat_map(|piece| &piece.carried);
    if carried().any(|scope| caller.tenant.scope_table.kind(scope).is_none()) {
        return Reason::ScopeNotDeclared;
    }
    let is_assigned = |scope| caller.application.is_none_or(|application| is_assigned(application, scope));
    if carried().any(|scope| !is_assigned(scope)) {
        return Reason::ScopeNotAssignedToApplication;
    }
    let has_effective_scopes = !caller.effective.scopes.is_empty();
    if has_effective_scopes && !required.catalog.suite_mentions_any(operation.suite, caller.tenant, held) {
        return Reason::ScopeNotAssociatedWithSuite;
    }
    Reason::ScopeNotGranted
}

/// Whether one of `token_scopes` is a wanted scope but for ASCII case or for characters other than letters
/// and digits, or holds one as a part of a comma list. `wanted` is sorted anew.
fn carries_a_near_miss(token_scopes: &[Box<str>], wanted: &mut [&str], tenant: &Tenant) -> bool {
    let prefix = tenant.scope_prefix.as_deref().unwrap_or_default().as_bytes();
    // A token may carry thousands of scopes, and a tenant may have hundreds that would do.
    wanted.sort_unstable_by(|one, other| {
        essence(prefix, one.as_bytes()).cmp(essence(prefix, other.as_bytes()))
    });
    let is_near_miss = |name: &[u8]| {
        let letters = essence(&[], name);
        letters.clone().next().is_some()
            && wanted.binary_search_by(|scope| essence(prefix, scope.as_bytes()).cmp(letters.clone())).is_ok()
    };
    token_scopes.iter().map(|scope| scope.as_bytes()).any(|scope| {
        is_near_miss(scope) || scope.contains(&b',') && scope.split(|byte| *byte == b',').any(is_near_miss)
    })
}

/// The ASCII letters and digits of a prefixed name, in lower case. Backwards: names of one tenant begin
/// alike, so that most differ at once.
fn essence<'n>(prefix: &'n [u8], name: &'n [u8]) -> impl Iterator<Item = u8> + Clone + 'n {
    let letters = prefix.iter().chain(name).filter(|byte| byte.is_ascii_alphanumeric());
    letters.map(u8::to_ascii_lowercase).rev()
}

impl<'c> Required<'c> {
    fn new(requirement: &'c Requirement, system: bool, tenant: &'c Tenant, catalog: &'c Catalog) -> Self {
        let table = &*tenant.scope_table;
        let names = requirement.permissions().map(|permission| catalog.permissions.name(permission));
        let with_kind = |meaning: Meaning<'c>| (meaning, table.kind(meaning.scope));
        let is_of_right_kind = |(_, kind): &(_, Option<ScopeKind>)| {
            kind.is_none_or(|kind| (kind == ScopeKind::System) == system)
        };
        let mut scopes: Vec<_> = table.meanings_of(names).map(with_kind).filter(is_of_right_kind).collect();
        scopes.sort_unstable_by_key(|(meaning, _)| meaning.scope);
        scopes.dedup_by_key(|(meaning, _)| meaning.scope);
        Self { requirement, catalog, scopes }
    }

    /// Those of the scopes that stand for one of `permissions`, sorted.
    fn scopes_for(&self, permissions: &[PermissionId]) -> Vec<&'c str> {
        let brings = |meaning: &Meaning<'_>| permissions.iter().any(|id| self.brings(meaning, *id));
        self.scopes.iter().filter(|(meaning, _)| brings(meaning)).map(|(meaning, _)| meaning.scope).collect()
    }

    fn brings(&self, meaning: &Meaning<'_>, permission: PermissionId) -> bool {
        meaning.grants(self.catalog.permissions.name(permission))
    }

    /// The smallest set of the tenant's token scopes that meets the requirement; among equals the one that
    /// grants least.
    fn sufficient_scope(&self, tenant: &Tenant) -> Option<String> {
        let prefix = tenant.scope_prefix.as_deref().unwrap_or_default();
        let declared = || self.scopes.iter().filter(|(_, kind)| kind.is_some()).map(|(meaning, _)| meaning);
        let first_mention = |meaning: &Meaning<'_>| {
            self.requirement.permissions().position(|permission| self.brings(meaning, permission))
        };
        let preference = |meaning: &&Meaning<'_>| (meaning.breadth(), first_mention(meaning));

        let is_enough_alone = |meaning: &&Meaning<'_>| {
            self.requirement.is_met_where(|permission| self.brings(meaning, permission))
        };
        if let Some(meaning) = declared().filter(is_enough_alone).min_by_key(preference) {
            return Some([prefix, meaning.scope].concat());
        }

        let mut candidates: Vec<&Meaning<'_>> = declared().collect();
        candidates.sort_by_cached_key(preference);
        let candidates: Vec<(&str, Vec<PermissionId>)> = candidates
            .into_iter()
            .map(|meaning| {
                let granted = meaning.permissions().filter_map(|name| self.catalog.permissions.id(name));
                (meaning.scope, granted.collect())
            })
            .collect();
        let chosen = smallest_cover_of_several(&candidates, self.requirement)?;
        Some(chosen.iter().map(|scope| format!("{prefix}{scope}")).collect::<Vec<_>>().join(" "))
    }
}

/// Scopes that are enough together, where none of `candidates` is alone. Exhaustive for two, which covers
/// what people write; beyond, each step takes the first candidate that adds something that is still missing.
fn smallest_cover_of_several<'s>(
    candidates: &[(&'s str, Vec<PermissionId>)],
    requirement: &Requirement,
) -> Option<Vec<&'s str>> {
    for (place, (first, one)) in candidates.iter().enumerate() {
        for (second, two) in candidates.iter().skip(place + 1) {
            if requirement.is_met_where(|permission| one.contains(&permission) || two.contains(&permission)) {
                return Some(vec![first, second]);
            }
        }
    }
    let mut chosen: Vec<(&'s str, &[PermissionId])> = Vec::new();
    loop {
        let held: PermissionSet = chosen.iter().flat_map(|(_, granted)| granted.iter().copied()).collect();
        let missing = requirement.missing_from(&held);
        if missing.is_empty() {
            break;
        }
        let useful = |granted: &[PermissionId]| {
            granted.iter().filter(|permission| missing.contains(permission)).count()
        };
        // `max_by_key` keeps the last of equals; reversed, that is the narrowest.
        let (scope, granted) = candidates.iter().rev().max_by_key(|(_, granted)| useful(granted))?;
        if useful(granted) == 0 {
            return None;
        }
        chosen.push((scope, granted));
    }
    // What was taken early may be covered by what came later.
    for place in (0..chosen.len()).rev() {
        let others = chosen
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != place)
            .flat_map(|(_, (_, granted))| granted.iter().copied());
        if requirement.is_met_by(&others.collect()) {
            chosen.remove(place);
        }
    }
    Some(chosen.into_iter().map(|(scope, _)| scope).collect())
}
