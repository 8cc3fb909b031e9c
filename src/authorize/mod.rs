//! From a principal to a decision: the tenant first, then its scopes.

pub mod catalog;
pub mod decide;
pub mod requirement;
pub mod resolve;
pub mod scope;
pub mod scope_table;
mod step_up;
pub mod tenants;

pub use catalog::{Access, Catalog, Enforcement, Operation, Suite};
pub use requirement::{PermissionSet, Permissions, Requirement};
pub use resolve::{EvidenceKind, EvidenceKinds, ResolutionRules};
pub use scope_table::{ScopeKind, ScopeTable};
pub use step_up::StepUp;
pub use tenants::{Application, Overrides, Tenant, TenantTable};
