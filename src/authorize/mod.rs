//! From a principal to a decision: the tenant first, then its scopes.

pub mod catalog;
pub mod decide;
pub mod requirement;
pub mod scope;
pub mod scope_table;
pub mod tenant;

pub use catalog::{Access, Catalog, Enforcement, Operation, Suite, SuiteId};
pub use requirement::{PermissionId, PermissionSet, Permissions, Requirement};
pub use scope_table::{ScopeKind, ScopeTable};
pub use tenant::{
    Application, EvidenceKind, EvidenceKinds, Overrides, ResolutionRules, Tenant, TenantId, TenantTable,
};
