//! A tenant's scope table: which scopes it declares, and which permissions each stands for.

use crate::collections::seeded_hash::SeededMap;

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
        Meaning { scope, mapped: self.mapping.get(scope).map(|granted| &**granted) }.permissions()
    }

    /// Every scope that stands for one of `permissions`, declared or not, in no particular order. One that `permissions`
    /// repeats may come repeatedly.
    pub fn meanings_of<'t>(
        &'t self,
        permissions: impl Iterator<Item = &'t str> + Clone,
    ) -> impl Iterator<Item = Meaning<'t>> {
        let own_names = permissions.clone().filter(|permission| !self.mapping.contains_key(*permission));
        self.mapping
            .iter()
            .map(|(scope, granted)| Meaning { scope, mapped: Some(granted) })
            .filter(move |meaning| permissions.clone().any(|permission| meaning.grants(permission)))
            .chain(own_names.map(|scope| Meaning { scope, mapped: None }))
    }
}

/// A scope with what it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Meaning<'t> {
    /// The scope, without the tenant's prefix.
    pub scope: &'t str,
    /// None: it stands for the permission of its own name.
    mapped: Option<&'t [Box<str>]>,
}

impl<'t> Meaning<'t> {
    /// The permissions that it stands for.
    pub fn permissions(self) -> impl Iterator<Item = &'t str> {
        let own_name = if self.mapped.is_none() { Some(self.scope) } else { None };
        self.mapped.into_iter().flatten().map(|permission| &**permission).chain(own_name)
    }

    /// Whether it stands for `permission`.
    pub fn grants(self, permission: &str) -> bool {
        match self.mapped {
            Some(granted) => granted.iter().any(|granted| **granted == *permission),
            None => self.scope == permission,
        }
    }

    /// How many permissions it stands for.
    pub fn breadth(self) -> usize {
        self.mapped.map_or(1, <[_]>::len)
    }
}
