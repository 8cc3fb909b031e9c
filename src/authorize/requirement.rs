//! Permissions, and what an operation requires of them.

use crate::collections::seeded_hash::SeededMap;
use crate::ids::PermissionId;

/// The names of all permissions that some requirement mentions. A permission that nothing requires has no id: it
/// cannot open anything.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    ids: SeededMap<Box<str>, PermissionId>,
    names: Vec<Box<str>>,
}

impl Permissions {
    /// The id of `name`, given out at first mention.
    pub fn intern(&mut self, name: &str) -> PermissionId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = PermissionId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.ids.insert(name.into(), id);
        self.names.push(name.into());
        id
    }

    /// The id of `name` if some requirement mentions it.
    pub fn id(&self, name: &str) -> Option<PermissionId> {
        self.ids.get(name).copied()
    }

    /// The name behind `id`.
    pub fn name(&self, id: PermissionId) -> &str {
        self.names.get(id.0 as usize).map_or("", |name| name)
    }

    /// All names, in the order of their ids.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
}

/// The permissions that somebody holds, as a sorted list: small, compact in a cache, and searched in a few steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermissionSet(Box<[PermissionId]>);

impl PermissionSet {
    /// Whether it holds `permission`.
    pub fn contains(&self, permission: PermissionId) -> bool {
        self.0.binary_search(&permission).is_ok()
    }

    /// Its members, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = PermissionId> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<PermissionId> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = PermissionId>>(permissions: I) -> Self {
        let mut sorted: Vec<PermissionId> = permissions.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self(sorted.into())
    }
}

/// What an operation requires: every permission of `all_of`, and, unless it is empty, one of `any_of`. At least one
/// of the two lists has a member; the configuration refuses a requirement of nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Permissions that must all be held.
    pub all_of: Box<[PermissionId]>,
    /// Permissions of which one must be held.
    pub any_of: Box<[PermissionId]>,
}

impl Requirement {
    /// Whether `held` is enough.
    pub fn is_met_by(&self, held: &PermissionSet) -> bool {
        self.is_met_where(|permission| held.contains(permission))
    }

    /// Whether what `holds` says is held is enough. A requirement of nothing is never met: it is not a way to open an
    /// operation.
    pub fn is_met_where(&self, holds: impl Fn(PermissionId) -> bool) -> bool {
        let all = self.all_of.iter().all(|permission| holds(*permission));
        let any = self.any_of.is_empty() || self.any_of.iter().any(|permission| holds(*permission));
        all && any && !(self.all_of.is_empty() && self.any_of.is_empty())
    }

    /// The permissions whose absence keeps `held` from being enough.
    pub fn missing_from(&self, held: &PermissionSet) -> Vec<PermissionId> {
        let mut missing: Vec<PermissionId> =
            self.all_of.iter().copied().filter(|permission| !held.contains(*permission)).collect();
        if !self.any_of.iter().any(|permission| held.contains(*permission)) {
            missing.extend(self.any_of.iter().copied());
        }
        missing
    }

    /// What `held` lacks, piece by piece: each permission of `all_of` for itself, and `any_of` together.
    pub fn missing_pieces(&self, held: &PermissionSet) -> impl Iterator<Item = &[PermissionId]> {
        let all_of = self.all_of.iter().filter(|permission| !held.contains(**permission));
        let is_any_held = self.any_of.iter().any(|permission| held.contains(*permission));
        let any_of = (!is_any_held && !self.any_of.is_empty()).then_some(&*self.any_of);
        all_of.map(std::slice::from_ref).chain(any_of)
    }

    /// Every permission it mentions.
    pub fn permissions(&self) -> impl Iterator<Item = PermissionId> + Clone + '_ {
        self.all_of.iter().chain(&self.any_of).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u32]) -> PermissionSet {
        ids.iter().copied().map(PermissionId).collect()
    }

    fn requirement(all_of: &[u32], any_of: &[u32]) -> Requirement {
        let ids = |list: &[u32]| list.iter().copied().map(PermissionId).collect();
        Requirement { all_of: ids(all_of), any_of: ids(any_of) }
    }

    #[test]
    fn all_of_needs_every_one_and_any_of_needs_one() {
        assert!(requirement(&[1, 2], &[]).is_met_by(&set(&[2, 1, 7])));
        assert!(!requirement(&[1, 2], &[]).is_met_by(&set(&[1])));
        assert!(requirement(&[], &[1, 2]).is_met_by(&set(&[2])));
        assert!(!requirement(&[], &[1, 2]).is_met_by(&set(&[3])));
        assert!(requirement(&[1], &[2, 3]).is_met_by(&set(&[1, 3])));
        assert!(!requirement(&[1], &[2, 3]).is_met_by(&set(&[2, 3])));
        assert!(!requirement(&[1], &[2, 3]).is_met_by(&set(&[1])));
    }

    #[test]
    fn a_requirement_of_nothing_is_never_met() {
        assert!(!requirement(&[], &[]).is_met_by(&set(&[1])));
    }

    #[test]
    fn what_is_missing_leaves_out_what_is_held() {
        let ids = |list: &[u32]| list.iter().copied().map(PermissionId).collect::<Vec<_>>();
        assert_eq!(requirement(&[1, 2], &[3, 4]).missing_from(&set(&[1, 3])), ids(&[2]));
        assert_eq!(requirement(&[1], &[3, 4]).missing_from(&set(&[1])), ids(&[3, 4]));
    }
}
