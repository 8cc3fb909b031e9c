//! The valid configuration: what every decision is made with.

use crate::authenticate::ClaimPath;
use crate::authenticate::provider::{IssuerIndex, Provider, ProviderId};
use crate::authorize::{Catalog, Enforcement, ResolutionRules, TenantTable};
use crate::config::guarded_headers::GuardedHeaders;
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
