//! Protected resource metadata (RFC 9728): what a client that knows only the API's address has to know to get a token.
//!
//! It says what the table says of one tenant: its issuers, its declared scopes, and how tokens are sent. Where the resource
//! names no tenant it says what holds for all of them alike, so that nobody learns of one tenant's issuers at another's
//! address. What is no configured tenant's address is answered like any other unmapped path.

use serde_json::{Map, Value, json};

use super::Policy;
use crate::authenticate::TenantPattern;
use crate::authorize::Tenant;
use crate::credential::PlaceRef;
use crate::http::header_pairs::HeaderPairs;
use crate::ids::ProviderId;
use crate::issuer::provider::Provider;
use crate::jose::{Algorithm, AlgorithmSet};
use crate::respond::Answer;
use crate::route::path::canonicalize;
use crate::route::pattern::normalize_host;

/// `protected_resource_metadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceMetadata {
    /// Where it is served: the well-known path, which comes between the resource's host and path (RFC 9728 section 3.1).
    path: Box<str>,
    /// The resource identifier.
    resource: TenantPattern,
    /// Its scheme and authority.
    origin: TenantPattern,
    /// Its host in canonical form, without port.
    host: TenantPattern,
    /// Its path, None where that is empty or `/`.
    base: Option<TenantPattern>,
}

/// A tenant's name at an address; None where the address names none.
type Named<'r> = Option<&'r str>;

impl ResourceMetadata {
    /// Metadata of `resource`, served at `path`.
    ///
    /// # Errors
    ///
    /// Which of both is unusable, and why.
    pub fn parse(path: &str, resource: &str) -> Result<Self, MetadataFault> {
        const TENANT: &str = "{tenant}";
        let is_canonical = |path: &str| canonicalize(path.as_bytes()).is_ok_and(|found| found.path() == path);
        if !is_canonical(path) || path.ends_with('/') {
            return Err(MetadataFault::Path);
        }
        let unusable = MetadataFault::Resource;
        let (scheme, rest) = resource.split_once("://").ok_or(unusable)?;
        let base_at = rest.find('/').unwrap_or(rest.len());
        let (authority, base) = rest.split_at_checked(base_at).ok_or(unusable)?;
        // RFC 9728 section 1.2: `https`, no fragment; a query would come between path and well-known path.
        if !matches!(scheme, "https" | "http") || resource.contains(['#', '?', '@']) {
            return Err(unusable);
        }
        let filled = |text: &str| text.replace(TENANT, "x");
        let is_segment = |text: &str, ends: &[char]| match text.split_once(TENANT) {
            None => true,
            Some((before, after)) => {
                (before.is_empty() || before.ends_with(ends)) && (after.is_empty() || after.starts_with(ends))
            }
        };
        if !is_segment(authority, &['.', ':']) || !is_segment(base, &['/']) {
            return Err(unusable);
        }
        let filled_host = filled(authority);
        normalize_host(filled_host.as_bytes()).ok_or(unusable)?;
        let host = authority.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let base = base.strip_suffix('/').unwrap_or(base);
        if !base.is_empty() && !is_canonical(&filled(base)) {
            return Err(unusable);
        }
        let pattern = |text: &str| TenantPattern::parse(text).ok_or(unusable);
        Ok(Self {
            path: path.into(),
            resource: pattern(resource)?,
            origin: pattern(&format!("{scheme}://{authority}"))?,
            host: pattern(&host)?,
            base: if base.is_empty() { None } else { Some(pattern(base)?) },
        })
    }

    /// Whether it promises TLS.
    pub fn is_secure(&self) -> bool {
        let (TenantPattern::Exact(text) | TenantPattern::Tenant { prefix: text, .. }) = &self.origin;
        text.starts_with("https://")
    }

    /// Where `path`, which is canonical, is that of metadata: what follows the well-known path.
    pub fn base_of<'r>(&self, path: &'r str) -> Option<&'r str> {
        path.strip_prefix(&*self.path).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn names_tenant(&self) -> bool {
        matches!(self.resource, TenantPattern::Tenant { .. })
    }

    /// The tenant's name at `host` and `base`, where these are the resource's. With `is_prefix` something may follow.
    fn named<'r>(&self, host: &'r str, base: &'r str, is_prefix: bool) -> Option<Named<'r>> {
        let of_host = match &self.host {
            TenantPattern::Exact(exact) => (**exact == *host).then_some(None)?,
            pattern => Some(pattern.tenant_name(host).filter(|label| !label.contains('.'))?),
        };
        let ends = |rest: &str| rest.is_empty() || (is_prefix && rest.starts_with('/'));
        let of_base = match &self.base {
            None => ends(base.strip_suffix('/').unwrap_or(base)).then_some(None)?,
            Some(TenantPattern::Exact(exact)) => ends(base.strip_prefix(&**exact)?).then_some(None)?,
            Some(TenantPattern::Tenant { prefix, suffix }) => {
                let rest = base.strip_prefix(&**prefix)?;
                let (name, rest) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
                (!name.is_empty() && ends(rest.strip_prefix(&**suffix)?)).then_some(Some(name))?
            }
        };
        Some(of_host.or(of_base))
    }

    /// The address of the metadata for a request at `host` and `path`, both canonical; None where they are no tenant's
    /// and the resource is.
    pub fn address(&self, host: Option<&str>, path: &str, policy: &Policy) -> Option<String> {
        let name = if self.names_tenant() {
            let name = self.named(host?, path, true)??;
            policy.tenants.named(name)?;
            name
        } else {
            ""
        };
        let base = self.base.as_ref().map(|base| fill(base, name)).unwrap_or_default();
        Some([&*fill(&self.origin, name), &*self.path, &*base].concat())
    }

    /// The answer to a request at `host` for the metadata of the resource with the path `base`; None where there is none.
    pub fn answer(&self, host: Option<&str>, base: &str, policy: &Policy) -> Option<Answer> {
        let named = self.named(host?, base, false)?;
        let tenant = match named {
            Some(name) => Some((name, policy.tenants.tenant(policy.tenants.named(name)?)?)),
            None => None,
        };
        let resource = fill(&self.resource, named.unwrap_or_default());
        let headers: [(&str, [&str; 1]); 3] = [
            ("content-type", ["application/json"]),
            // A reload may change it.
            ("cache-control", ["max-age=300"]),
            // Clients in browsers need it before they have a token, and it is the same for everybody.
            ("access-control-allow-origin", ["*"]),
        ];
        Some(Answer {
            status: 200,
            headers: HeaderPairs::new(headers),
            body: Value::Object(document(resource, tenant, policy)).to_string(),
            grpc_status: -1,
        })
    }
}

/// Why metadata cannot be served as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataFault {
    /// The path is none.
    Path,
    /// The resource is no identifier of one.
    Resource,
}

fn fill(pattern: &TenantPattern, name: &str) -> String {
    match pattern {
        TenantPattern::Exact(text) => text.to_string(),
        TenantPattern::Tenant { prefix, suffix } => [prefix, name, suffix].concat(),
    }
}

/// RFC 9728 section 2.
fn document(resource: String, tenant: Option<(&str, &Tenant)>, policy: &Policy) -> Map<String, Value> {
    let ids: Vec<ProviderId> = match tenant {
        Some((_, tenant)) => tenant.providers.to_vec(),
        None => policy
            .providers()
            .map(|(id, _)| id)
            .filter(|id| policy.tenants.iter().all(|(_, tenant)| tenant.providers.contains(id)))
            .collect(),
    };
    let providers = || ids.iter().filter_map(|id| policy.provider(*id));
    let issuers: Vec<String> = providers()
        .filter_map(|provider| match (&provider.issuer, tenant) {
            (Some(TenantPattern::Exact(issuer)), _) => Some(issuer.to_string()),
            (Some(pattern), Some((name, _))) => Some(fill(pattern, name)),
            (Some(TenantPattern::Tenant { .. }), None) | (None, _) => None,
        })
        .collect();
    let mut members = Map::new();
    members.insert("resource".to_owned(), json!(resource));
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    if !issuers.is_empty() {
        put("authorization_servers", json!(issuers));
    }
    if let Some(scopes) = scopes(tenant.map(|(_, tenant)| tenant), policy) {
        put("scopes_supported", json!(scopes));
    }
    let proofs = || providers().filter_map(|provider| provider.dpop.as_ref());
    let all_are_bound = !ids.is_empty()
        && providers().all(|provider| provider.dpop.as_ref().is_some_and(|dpop| dpop.required));
    let takes_from = |wanted: fn(&PlaceRef<'_>, &str) -> bool| {
        let mut places = policy.places.iter();
        places.any(|(place, prefix, listed)| {
            wanted(&place, &prefix) && ids.iter().any(|id| listed.contains(*id))
        })
    };
    let mut methods = Vec::new();
    if !all_are_bound {
        let is_header = |place: &PlaceRef<'_>, prefix: &str| {
            *place == PlaceRef::Header("authorization") && prefix.eq_ignore_ascii_case("Bearer ")
        };
        methods.extend(takes_from(is_header).then_some("header"));
        let is_query = |place: &PlaceRef<'_>, _: &str| matches!(place, PlaceRef::Parameter("access_token"));
        methods.extend(takes_from(is_query).then_some("query"));
    }
    put("bearer_methods_supported", json!(methods));
    // Certificates count for every provider; it is said where they are asked for.
    let asks_for_certificates = |provider: &Provider| {
        let has_only_these = provider.requires_bound_tokens && provider.dpop.is_none();
        provider.certificate_header.is_some() || has_only_these
    };
    if providers().any(asks_for_certificates) {
        put("tls_client_certificate_bound_access_tokens", json!(true));
    }
    let algorithms: AlgorithmSet = proofs().flat_map(|dpop| dpop.rules.algorithms.iter()).collect();
    if proofs().next().is_some() {
        let names: Vec<&str> = algorithms.iter().map(Algorithm::as_str).collect();
        put("dpop_signing_alg_values_supported", json!(names));
        put("dpop_bound_access_tokens_required", json!(all_are_bound));
    }
    members
}

/// The scopes that the tenant declares, as its tokens carry them; those that all tenants declare alike, where none is
/// named. None where any scope counts.
fn scopes(tenant: Option<&Tenant>, policy: &Policy) -> Option<Vec<String>> {
    let declared = |tenant: &Tenant| {
        let prefix = tenant.scope_prefix.as_deref().unwrap_or_default();
        let declared = tenant.scope_table.declared.as_ref()?;
        let mut scopes: Vec<String> = declared.keys().map(|scope| [prefix, scope].concat()).collect();
        scopes.sort_unstable();
        Some(scopes)
    };
    match tenant {
        Some(tenant) => declared(tenant),
        None => {
            let mut tenants = policy.tenants.iter().map(|(_, tenant)| tenant);
            let first = tenants.next()?;
            let is_alike = |other: &Tenant| {
                other.scope_prefix == first.scope_prefix
                    && other.scope_table.declared == first.scope_table.declared
            };
            tenants.all(is_alike).then(|| declared(first)).flatten()
        }
    }
}
