//! A tenant's scope table: which scopes it declares, and which permissions each stands for.

use crate::seeded_hash::SeededMap;

/// The declared scopes of a tenant and their mapping to permissions. Tenants of one template share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeTable {
    /// Declared scopes, without the tenant's prefix. None: any scope counts.
    pub declared: Option<SeededMap<Box<str>, ScopeKind>>,
    /// Scope to permissions. A scope that is not a key stands for the permission of its own name.
    pub mapping: SeededMap<Box<str>, Box<[Box<str>]>>,
}

/// Whose suites a scope opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    /// The tenant's own: counts for suites that are not `system`.
    Custom,
    /// The vendor's: counts for `system` suites only.
    System,
}

impl ScopeTable {
    /// The kind of `scope` if it counts for the tenant. Where nothing is declared every scope counts, as custom.
    pub fn kind(&self, scope: &str) -> Option<ScopeKind> {
        match &self.declared {
            None => Some(ScopeKind::Custom),
            Some(declared) => declared.get(scope).copied(),
        }
    }

    /// The permissions that `scope` stands for, declared or not.
    pub fn permissions<'t>(&'t self, scope: &'t str) -> impl Iterator<Item = &'t str> {
        let mapped = self.mapping.get(scope);
        let own_name = if mapped.is_none() { Some(scope) } else { None };
        mapped.into_iter().flatten().map(|permission| &**permission).chain(own_name)
    }

    /// Every scope name that stands for one of `permissions`, declared or not, sorted.
    pub fn scopes_for<'t>(&'t self, permissions: &[&'t str]) -> Vec<&'t str> {
        let mapped = self
            .mapping
            .iter()
            .filter(|(_, granted)| granted.iter().any(|permission| permissions.contains(&&**permission)))
            .map(|(scope, _)| &**scope);
        let own_name =
            permissions.iter().copied().filter(|permission| !self.mapping.contains_key(*permission));
        let mut scopes: Vec<&str> = mapped.chain(own_name).collect();
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }
}
