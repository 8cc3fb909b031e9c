//! The valid configuration: every decision is made with it. Also the questions that it answers.

mod best_request;
pub mod difference;
pub mod guarded_headers;
pub mod host;
pub mod metadata;
pub mod reach;

use crate::authenticate::{ClaimPath, IssuerIndex};
use crate::authorize::decide::{self, Caller, Refusal};
use crate::authorize::{
    Access, Application, Catalog, Enforcement, Operation, ResolutionRules, Tenant, TenantTable,
};
use crate::credential::CredentialPlaces;
use crate::ids::{OperationId, ProviderId};
use crate::issuer::certificate::CertificateHeader;
use crate::issuer::dpop::Dpop;
use crate::issuer::provider::Provider;
use crate::jose::{Algorithm, AlgorithmSet};
use crate::policy::guarded_headers::GuardedHeaders;
use crate::policy::metadata::ResourceMetadata;
use crate::respond::Schemes;
use crate::route::{OperationIndex, Route};
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
    /// Whether some provider takes tokens that are bound to a key, with proofs (RFC 9449).
    pub takes_proofs: bool,
    /// Whether some provider takes tokens with proofs, or none that are bound to no sender.
    pub binds_tokens: bool,
    /// The headers in which other proxies tell of the client's certificate, of all providers.
    pub certificate_headers: Vec<CertificateHeader>,
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
    /// What a VM may remember, in bytes: tokens, answers of issuers, keys, and requests that wait.
    pub memory_budget: usize,
    /// What the upstream is told.
    pub forward: Forwarding,
    /// Whether CORS preflight requests pass without a token.
    pub bypass_cors_preflight: bool,
    /// Whether a refusal is a status and a challenge only.
    pub strip_failure_response: bool,
    /// Where token requests are guarded.
    pub token_endpoints: Vec<TokenEndpoint>,
    /// What clients without a token are told of the resource (RFC 9728).
    pub metadata: Option<ResourceMetadata>,
    /// Which decisions are logged.
    pub audit: Audit,
    /// SHA-256 of the configuration's bytes.
    pub digest: [u8; 32],
    /// Its first 8 bytes in hexadecimal, by which logs name the policy.
    pub short_digest: Box<str>,
    /// Unlike that of any other policy that was activated in this VM; 0 before it is.
    pub generation: u64,
}

impl Policy {
    /// Decides whether `caller` may call the operation `id`, by scopes alone.
    ///
    /// # Errors
    ///
    /// The 403 reason, with the scopes that would do.
    pub fn decide(&self, id: OperationId, operation: &Operation, caller: &Caller<'_>) -> Result<(), Refusal> {
        decide::decide(id, operation, caller, &self.catalog, &self.tenants)
    }

    /// How strictly scopes are enforced: the operation's own word comes before the application's, that before the
    /// tenant's, that before the file's. `operation` is None where the request has none. Nothing lifts the refusal of an
    /// operation whose access is undecided.
    pub fn enforcement(
        &self,
        operation: Option<&Operation>,
        application: Option<&Application>,
        tenant: &Tenant,
    ) -> Enforcement {
        if operation.is_some_and(|operation| operation.access == Access::Undecided) {
            return Enforcement::Enforce;
        }
        let suite = operation.and_then(|operation| self.catalog.suite(operation.suite));
        let application = application.and_then(|application| {
            // Both switches must be on; with the master switch off each registered application is as if it said `off`.
            let own =
                if self.scopes_per_application { application.enforcement } else { Some(Enforcement::Off) };
            // A vendor's suite is opened by the vendor's scopes, whatever an application's `off` says.
            own.filter(|own| !(suite.is_some_and(|suite| suite.system) && *own == Enforcement::Off))
        });
        operation
            .and_then(|operation| operation.enforcement)
            .or(application)
            .or(tenant.enforcement)
            .unwrap_or(self.enforcement)
    }

    /// All providers with their ids.
    pub fn providers(&self) -> impl Iterator<Item = (ProviderId, &Provider)> {
        (0..=u16::MAX).map(ProviderId).zip(&self.providers)
    }

    /// The provider behind an id of this policy.
    pub fn provider(&self, id: ProviderId) -> Option<&Provider> {
        self.providers.get(usize::from(id.0))
    }

    /// The provider that a token's `iss` names, and the tenant's name at `{tenant}` where its issuer is a pattern.
    pub fn provider_of_issuer<'i>(&self, issuer: &'i str) -> Option<(ProviderId, Option<&'i str>)> {
        self.issuers.find(issuer, &|name| self.tenants.named(name).is_some())
    }

    /// The authentication schemes that some provider takes tokens under.
    pub fn schemes(&self) -> Schemes {
        let of_proofs: Vec<&Dpop> =
            self.providers.iter().filter_map(|provider| provider.dpop.as_ref()).collect();
        let algorithms: AlgorithmSet =
            of_proofs.iter().flat_map(|dpop| dpop.rules.algorithms.iter()).collect();
        let names: Vec<&str> = algorithms.iter().map(Algorithm::as_str).collect();
        Schemes {
            bearer: self
                .providers
                .iter()
                .any(|provider| !provider.dpop.as_ref().is_some_and(|dpop| dpop.required)),
            dpop: (!of_proofs.is_empty()).then(|| names.join(" ").into()),
        }
    }

    /// Which requests call the operation behind an id of this policy.
    pub fn route(&self, id: OperationId) -> Option<&Route> {
        self.routes.get(id.0 as usize)
    }
}

/// What happens to a request whose host and path no operation's pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// 403 `operation_not_mapped`, for callers with a good token.
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
    /// Which properties of the request are set.
    pub properties: Properties,
    /// Whether the subject is told in log lines and in the property `log`.
    pub subject: bool,
}

/// What access logs and later filters can read about a request, as property `scopegate.NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Property {
    Tenant,
    Client,
    Subject,
    Suite,
    Operation,
    Decision,
    Reason,
    /// All facts in one JSON object.
    Log,
}

impl Property {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Tenant,
        Self::Client,
        Self::Subject,
        Self::Suite,
        Self::Operation,
        Self::Decision,
        Self::Reason,
        Self::Log,
    ];

    /// Those that are set where the configuration names none.
    pub const DEFAULT: [Self; 2] = [Self::Decision, Self::Log];

    /// The name in the configuration, and of the property behind `scopegate.`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Client => "client",
            Self::Subject => "subject",
            Self::Suite => "suite",
            Self::Operation => "operation",
            Self::Decision => "decision",
            Self::Reason => "reason",
            Self::Log => "log",
        }
    }
}

/// A set of properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties(u8);

impl Properties {
    /// Whether `property` is in it.
    pub fn contains(self, property: Property) -> bool {
        self.0 & (1 << property as u8) != 0
    }
}

impl FromIterator<Property> for Properties {
    fn from_iter<I: IntoIterator<Item = Property>>(properties: I) -> Self {
        Self(properties.into_iter().fold(0, |set, property| set | 1 << property as u8))
    }
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
