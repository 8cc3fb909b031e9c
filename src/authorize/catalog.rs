//! API suites and their operations: what can be called, and what each call asks for.

use super::StepUp;
use super::requirement::{PermissionSet, Permissions, Requirement};
use super::resolve::EvidenceKinds;
use super::tenants::Tenant;
use crate::authenticate::{ClaimPath, RequiredValue};
use crate::ids::{OperationId, PermissionId, SuiteId};

/// How strictly scopes are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// What is not granted is refused.
    Enforce,
    /// Everything is decided and recorded; every 403 but `suite_not_available` is lifted.
    Shadow,
    /// The 403s about scopes are lifted.
    Off,
}

impl Enforcement {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}

/// What an operation asks of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A token, a tenant and scopes: the operation's own requirement, or the suite's where it has none.
    Scopes(Option<Requirement>),
    /// A token and a tenant; no scope is looked at.
    Authenticated,
    /// Nothing.
    Public,
    /// Not decided yet: every token is refused, whatever it carries and whatever enforcement lifts elsewhere.
    Undecided,
}

/// A group of operations that tenants have or do not have.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Its name, unique in the configuration.
    pub name: Box<str>,
    /// A vendor's own suite: opened by scopes marked `system` alone.
    pub system: bool,
    /// What an operation without a requirement of its own needs: any one of these permissions.
    pub scopes: Option<Requirement>,
    /// Every permission that the suite's scopes or any of its operations' requirements mention.
    pub permissions: PermissionSet,
    /// Its operations.
    pub operations: Box<[OperationId]>,
}

/// One callable operation, with what its suite asks for besides merged in.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its name, unique in its suite.
    pub name: Box<str>,
    /// The suite it belongs to.
    pub suite: SuiteId,
    /// What it asks of a caller.
    pub access: Access,
    /// Its own enforcement, which comes before the application's, the tenant's and the file's.
    pub enforcement: Option<Enforcement>,
    /// Whether `:scheme` must be `https`.
    pub require_tls: bool,
    /// Further narrowing of the token's audience, exact: from each list, where it has members, one must match.
    pub audiences: [Box<[Box<str>]>; 2],
    /// Claims that must be present, beside the provider's.
    pub required_claims: Box<[ClaimPath]>,
    /// Claims that must have one of some values, beside the provider's: the suite's, then its own.
    pub required_values: Box<[RequiredValue]>,
    /// What it asks of the authentication behind the token; None where it asks nothing.
    pub step_up: Option<Box<StepUp>>,
    /// Kinds of tenant evidence that must be present, beside the file's.
    pub required_evidence: EvidenceKinds,
}

/// All suites, operations and permissions of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Suites, by [`SuiteId`].
    pub suites: Vec<Suite>,
    /// Operations, by [`OperationId`].
    pub operations: Vec<Operation>,
    /// The permissions that requirements name.
    pub permissions: Permissions,
}

impl Catalog {
    /// The operation behind an id that the operation index gave.
    pub fn operation(&self, id: OperationId) -> Option<&Operation> {
        self.operations.get(id.0 as usize)
    }

    /// The suite behind an id.
    pub fn suite(&self, id: SuiteId) -> Option<&Suite> {
        self.suites.get(id.0 as usize)
    }

    /// What `operation` requires of callers of `tenant`: the tenant's own requirement for it, else the operation's,
    /// else any of the tenant's own scopes for the suite, else any of the suite's. None where nothing is required by
    /// scopes.
    pub fn requirement<'c>(&'c self, id: OperationId, tenant: &'c Tenant) -> Option<&'c Requirement> {
        let operation = self.operation(id)?;
        let Access::Scopes(own) = &operation.access else { return None };
        let overrides = tenant.overrides.as_deref();
        overrides
            .and_then(|overrides| overrides.operations.get(&id))
            .or(own.as_ref())
            .or_else(|| overrides.and_then(|overrides| overrides.suites.get(&operation.suite)))
            .or_else(|| self.suite(operation.suite).and_then(|suite| suite.scopes.as_ref()))
    }

    /// Whether any of `held` belongs to `suite`, as `tenant` has it: to the suite's scopes or to any of its operations'
    /// requirements.
    pub fn suite_mentions_any(&self, suite_id: SuiteId, tenant: &Tenant, held: &PermissionSet) -> bool {
        let Some(suite) = self.suite(suite_id) else { return false };
        let Some(overrides) = tenant.overrides.as_deref() else {
            return held.iter().any(|permission| suite.permissions.contains(permission));
        };
        let mentions =
            |requirement: &Requirement| requirement.permissions().any(|id: PermissionId| held.contains(id));
        let suite_scopes = overrides.suites.get(&suite_id).or(suite.scopes.as_ref());
        suite_scopes.is_some_and(mentions)
            || suite.operations.iter().any(|id| self.requirement(*id, tenant).is_some_and(mentions))
    }
}
