//! The valid configuration: what every decision is made with.

use std::collections::HashSet;

use crate::authenticate::ClaimPath;
use crate::authenticate::provider::{IssuerIndex, Provider, ProviderId};
use crate::authorize::{Catalog, Enforcement, ResolutionRules, TenantTable};
use crate::credential::CredentialPlaces;
use crate::route::{OperationId, OperationIndex, Route};
use crate::token_endpoint::TokenEndpoint;

/// A configuration that was checked as a whole. Every reference in it leads somewhere, every name is unique, every
/// limit is set.
#[derive(Debug)]
pub struct Policy {
    /// The realm of each challenge.
    pub realm: Box<str>,
    /// Token issuers, by [`ProviderId`].
    pub providers: Vec<Provider>,
    /// Which provider a token's `iss` names.
    pub issuers: IssuerIndex,
    /// The provider that is asked about an opaque token where the request's evidence leaves more than one.
    pub default_introspection: Option<ProviderId>,
    /// Where access tokens are looked for.
    pub places: CredentialPlaces,
    /// The tenants.
    pub tenants: TenantTable,
    /// How the tenant is resolved.
    pub resolution: ResolutionRules,
    /// Suites, operations, permissions.
    pub catalog: Catalog,
    /// Which operation a request calls.
    pub operations: OperationIndex,
    /// Which requests call which operation, as configured, by [`OperationId`].
    pub routes: Box<[Route]>,
    /// Master switch of application-level enforcement.
    pub scopes_per_application: bool,
    /// How strictly scopes are enforced where nothing more specific says so.
    pub enforcement: Enforcement,
    /// What happens to a request whose host and path no operation's pattern matches.
    pub unmatched: Unmatched,
    /// How long a token may be, in bytes.
    pub max_token_bytes: usize,
    /// How many requests may wait for issuers, per worker.
    pub max_waiting_requests: usize,
    /// What the upstream is told.
    pub forward: Forwarding,
    /// Whether CORS preflight requests pass without a token.
    pub bypass_cors_preflight: bool,
    /// Whether a refusal is a status and a challenge only.
    pub strip_failure_response: bool,
    /// Where token requests are guarded.
    pub token_endpoints: Vec<TokenEndpoint>,
    /// Which decisions are logged.
    pub audit: Audit,
    /// SHA-256 of the configuration's bytes.
    pub digest: [u8; 32],
}

impl Policy {
    /// The provider behind an id of this policy.
    pub fn provider(&self, id: ProviderId) -> Option<&Provider> {
        self.providers.get(usize::from(id.0))
    }

    /// Which requests call the operation behind an id of this policy.
    pub fn route(&self, id: OperationId) -> Option<&Route> {
        self.routes.get(id.0 as usize)
    }
}

/// What happens to a request whose host and path no operation's pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// 403 `operation_not_mapped`, for whoever has a good token.
    Deny,
    /// It passes with a good token and a tenant.
    Authenticated,
    /// It passes.
    Allow,
}

/// What the upstream is told, and what it must not be told by a client.
#[derive(Clone, Debug, Default)]
pub struct Forwarding {
    /// Whether the credential stays in the request.
    pub token: bool,
    /// Headers that the filter sets, names in lower case.
    pub headers: Vec<ForwardedHeader>,
    /// Headers by which a client could speak in the filter's place.
    pub guarded: GuardedHeaders,
}

/// One header that the filter sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedHeader {
    /// Lower case.
    pub name: Box<str>,
    /// What it says.
    pub value: ForwardedValue,
}

/// A fact that a header can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardedValue {
    /// The tenant's id.
    Tenant,
    /// The client's id.
    Client,
    /// The subject.
    Subject,
    /// The effective scopes, space-separated, without the tenant's prefix.
    Scopes,
    /// The permissions of the effective scopes, space-separated.
    Permissions,
    /// The suite's name.
    Suite,
    /// The operation's name.
    Operation,
    /// The issuer.
    Issuer,
    /// A claim of the token.
    Claim(ClaimPath),
}

/// Which of a client's headers are removed before the upstream sees them.
#[derive(Clone, Debug, Default)]
pub struct GuardedHeaders {
    /// Removed under this name.
    exact: HashSet<Box<str>>,
    /// In the form that look-alikes share: `_` and `.` read as `-`. Removed unless the name is in `genuine`.
    folded: HashSet<Box<str>>,
    /// Headers that are read as evidence or by matchers: they stay, their look-alikes go.
    genuine: HashSet<Box<str>>,
}

/// Headers that some frameworks take for the method: what was decided for one method would be served as another.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];

impl GuardedHeaders {
    /// `forwarded` headers are set by the filter alone; `read` ones are evidence or matchers. Names in lower case.
    pub fn new<'n>(
        forwarded: impl IntoIterator<Item = &'n str>,
        read: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        let mut guarded = Self::default();
        for name in forwarded.into_iter().chain(METHOD_OVERRIDES) {
            guarded.exact.insert(name.into());
            guarded.folded.insert(fold(name).into());
        }
        for name in read {
            guarded.folded.insert(fold(name).into());
            guarded.genuine.insert(name.into());
        }
        guarded
    }

    /// Whether a client's header `name`, in lower case, is removed.
    pub fn removes(&self, name: &str) -> bool {
        if self.exact.contains(name) {
            return true;
        }
        let is_listed = if name.contains(['_', '.']) {
            self.folded.contains(fold(name).as_str())
        } else {
            self.folded.contains(name)
        };
        is_listed && !self.genuine.contains(name)
    }
}

fn fold(name: &str) -> String {
    name.replace(['_', '.'], "-")
}

/// Which decisions are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Which ones.
    pub decisions: AuditedDecisions,
    /// Lines a second and worker; what is beyond is counted.
    pub max_per_second: u32,
}

/// `audit.decisions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditedDecisions {
    /// What was refused, or would have been but for `shadow`.
    Denied,
    /// Every decision.
    All,
    /// None.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_filter_sets_is_removed_under_every_spelling() {
        let guarded = GuardedHeaders::new(["x-tenant-id"], []);
        for name in ["x-tenant-id", "x_tenant_id", "x.tenant.id", "x-tenant_id"] {
            assert!(guarded.removes(name), "{name}");
        }
        assert!(!guarded.removes("x-tenant"));
    }

    #[test]
    fn evidence_stays_and_its_look_alikes_go() {
        let guarded = GuardedHeaders::new([], ["x-api-version", "x_legacy"]);
        assert!(!guarded.removes("x-api-version"));
        assert!(guarded.removes("x_api_version"));
        assert!(!guarded.removes("x_legacy"));
        assert!(guarded.removes("x-legacy"));
        assert!(guarded.removes("x.legacy"));
    }

    #[test]
    fn a_header_that_is_both_evidence_and_forwarded_is_removed() {
        assert!(GuardedHeaders::new(["x-tenant-id"], ["x-tenant-id"]).removes("x-tenant-id"));
    }

    #[test]
    fn method_overrides_are_removed_always() {
        let guarded = GuardedHeaders::new([], []);
        for name in ["x-http-method", "x-http-method-override", "x-method-override", "x_http_method_override"]
        {
            assert!(guarded.removes(name), "{name}");
        }
    }
}
