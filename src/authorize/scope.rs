//! What a token's scopes amount to under a tenant.
//!
//! `effective = token scopes ∩ tenant's (prefix stripped, declared) ∩ application's assigned`, mapped to permissions.
//! Scopes are case-sensitive and compared whole (RFC 6749 section 3.3).

use super::requirement::{PermissionSet, Permissions};
use super::scope_table::{ScopeKind, ScopeTable};
use super::tenants::{Application, Tenant};

/// The scopes of a token that count under a tenant, and the permissions that they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EffectiveScopes {
    /// Scopes that count, without the tenant's prefix, in the token's order.
    pub scopes: Vec<Box<str>>,
    custom: PermissionSet,
    system: PermissionSet,
}

impl EffectiveScopes {
    /// Works out which of `token_scopes` count for `application` of `tenant`.
    pub fn of(
        token_scopes: &[Box<str>],
        tenant: &Tenant,
        application: Option<&Application>,
        permissions: &Permissions,
    ) -> Self {
        let table = &*tenant.scope_table;
        let mut effective = Self { scopes: Vec::with_capacity(token_scopes.len()), ..Self::default() };
        let mut held: [Vec<_>; 2] = [Vec::new(), Vec::new()];
        for token_scope in token_scopes {
            let ScopeFate::Counts { scope, kind } = ScopeFate::of(token_scope, tenant, application) else {
                continue;
            };
            if effective.scopes.iter().any(|known| &**known == scope) {
                continue;
            }
            effective.scopes.push(scope.into());
            let [custom, system] = &mut held;
            let held = match kind {
                ScopeKind::Custom => custom,
                ScopeKind::System => system,
            };
            held.extend(table.permissions(scope).filter_map(|name| permissions.id(name)));
        }
        let [custom, system] = held;
        effective.custom = custom.into_iter().collect();
        effective.system = system.into_iter().collect();
        effective
    }

    /// Names of all the permissions that they stand for by `table`, the tenant's, in the order of the scopes.
    pub fn permission_names<'n>(&'n self, table: &'n ScopeTable) -> Vec<&'n str> {
        let mut names = Vec::new();
        for name in self.scopes.iter().flat_map(|scope| table.permissions(scope)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The permissions that count for suites of the vendor (`system`) or for all others.
    pub fn permissions(&self, system: bool) -> &PermissionSet {
        if system { &self.system } else { &self.custom }
    }
}

/// What becomes of one scope of a token under a tenant. A scope is named without the tenant's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeFate<'s> {
    /// It is effective.
    Counts {
        /// The scope.
        scope: &'s str,
        /// Whose suites it opens.
        kind: ScopeKind,
    },
    /// It lacks the tenant's prefix.
    NotPrefixed,
    /// The tenant does not declare this scope.
    NotDeclared(&'s str),
    /// The application is not assigned this scope.
    NotAssigned(&'s str),
}

impl<'s> ScopeFate<'s> {
    /// What becomes of `token_scope` in a token of `application`.
    pub fn of(token_scope: &'s str, tenant: &Tenant, application: Option<&Application>) -> Self {
        let Some(scope) = tenant.strip_prefix(token_scope) else { return Self::NotPrefixed };
        let Some(kind) = tenant.scope_table.kind(scope) else { return Self::NotDeclared(scope) };
        match application {
            Some(application) if !is_assigned(application, scope) => Self::NotAssigned(scope),
            Some(_) | None => Self::Counts { scope, kind },
        }
    }
}

/// Whether `scope`, without the tenant's prefix, is assigned to `application`.
pub fn is_assigned(application: &Application, scope: &str) -> bool {
    application.scopes.binary_search_by(|assigned| (**assigned).cmp(scope)).is_ok()
}
