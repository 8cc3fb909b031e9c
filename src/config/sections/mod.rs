//! From a document to a [`Policy`]: the top level of the configuration, and one module for each area.

mod dpop;
mod forward;
mod metadata;
mod providers;
mod revoked;
mod scopes;
mod sender;
mod step_up;
mod suites;
mod tenants;
mod terms;
mod token_endpoints;

use std::ops::RangeInclusive;

use super::Loaded;
use super::document::Node;
use super::error::{ConfigError, ConfigErrors};
use super::reader::{Cursor, Fields, KnownKeys, Report};
use crate::authenticate::IssuerIndex;
use crate::authorize::{Enforcement, EvidenceKind, EvidenceKinds, ResolutionRules};
use crate::config::kind::{ErrorKind, WarningKind};
use crate::credential::CredentialPlaces;
use crate::ids::ProviderId;
use crate::issuer::certificate::CertificateHeader;
use crate::issuer::provider::Provider;
use crate::policy::{Audit, AuditedDecisions, Policy, Property, Unmatched};

const KEYS: &[&str] = &[
    "version",
    "realm",
    "providers",
    "default_introspection",
    "tenant_resolution",
    "scopes_per_application",
    "scope_enforcement",
    "unmatched",
    "max_token_bytes",
    "max_waiting_requests",
    "memory_budget",
    "scope_policy",
    "tenant_templates",
    "tenants",
    "suites",
    "forward",
    "bypass_cors_preflight",
    "strip_failure_response",
    "token_endpoints",
    "protected_resource_metadata",
    "audit",
];

/// What a VM may remember, in bytes. A VM has 256 MiB; the rest is for configurations.
const MEMORY_BUDGETS: RangeInclusive<u32> = 1 << 20..=128 << 20;
/// What it may where the configuration does not say.
pub const DEFAULT_MEMORY_BUDGET: usize = 64 << 20;

/// Checks `document` as a whole. `digest` is that of the bytes it was read from.
pub fn policy(document: &Node<'_>, digest: [u8; 32]) -> Result<Loaded, ConfigErrors> {
    let report = Report::default();
    let policy = read(&Cursor::root(document, &report), digest);
    let warnings = report.finish()?;
    match policy {
        Some(policy) => Ok(Loaded { policy, warnings, text_bytes: 0 }),
        // Nothing is left out without an error; if it were, there would be no policy to decide by.
        None => Err(ConfigErrors::from(ConfigError {
            kind: ErrorKind::MissingKey,
            path: String::new(),
            mark: None,
            message: "the configuration is incomplete".to_owned(),
        })),
    }
}

/// For each map that is read in `document`, valid or not: its path, and the keys that are known there.
pub fn known_keys(document: &Node<'_>) -> KnownKeys {
    let report = Report::recording();
    let _ = read(&Cursor::root(document, &report), [0; 32]);
    report.into_known_keys()
}

fn read(root: &Cursor<'_>, digest: [u8; 32]) -> Option<Policy> {
    let fields = root.map(KEYS)?;
    if let Some(version) = fields.required("version") {
        version.integer(1..=1);
    }
    let resolution = fields.optional("tenant_resolution").and_then(|cursor| cursor.map(RESOLUTION_KEYS));
    let evidence_headers = read_evidence_headers(resolution.as_ref());
    let resolution_claims = resolution.as_ref().and_then(|fields| fields.optional("claims"));

    let providers =
        fields.required("providers").map(|cursor| providers::read(&cursor, resolution_claims.as_ref()));
    let providers = providers.unwrap_or_default();
    let mut suites = suites::read(fields.optional("suites").as_ref(), !evidence_headers.is_empty());
    let scope_policy = fields.optional("scope_policy").and_then(|cursor| scopes::read_policy(&cursor));
    let tenants = fields.required("tenants").map(|cursor| {
        let templates = fields.optional("tenant_templates");
        let context = tenants::Context {
            providers: &providers,
            suites: &mut suites,
            scope_policy: scope_policy.as_ref(),
        };
        tenants::read(&cursor, templates.as_ref(), context)
    });
    let tenants = tenants.unwrap_or_default();
    suites.warn_about_unreachable(&tenants.table);

    let resolution = read_resolution(resolution.as_ref(), &evidence_headers, &providers, &tenants);
    let default_introspection = fields.optional("default_introspection").and_then(|cursor| {
        let id = providers.reference(&cursor)?;
        if providers.provider(id).is_some_and(|provider| provider.introspection.is_none()) {
            cursor.error(
                ErrorKind::DanglingReference,
                format_args!("provider `{}` has no `introspection`", providers.name(id)),
            );
        }
        Some(id)
    });
    let mut credentials: Vec<&str> =
        providers.places.iter().flat_map(|places| &places.from_headers).map(|(name, _)| &**name).collect();
    let takes_proofs = providers.providers.iter().flatten().any(|provider| provider.dpop.is_some());
    let binds_tokens =
        takes_proofs || providers.providers.iter().flatten().any(|provider| provider.requires_bound_tokens);
    // A proof goes where its token goes, and nobody else may send what looks like one.
    credentials.extend(takes_proofs.then_some("dpop"));
    let certificate_headers: Vec<CertificateHeader> = {
        let all = providers.providers.iter().flatten();
        all.filter_map(|provider| provider.certificate_header.clone()).collect()
    };
    credentials.extend(certificate_headers.iter().flat_map(|header| header.form.names()));
    credentials.sort_unstable();
    credentials.dedup();
    let mut headers_read = suites.matched_headers();
    headers_read.extend(evidence_headers);
    let names_hosts =
        suites.routes().iter().any(|route| !route.hosts.is_empty()) || tenants.table.hosts().next().is_some();
    let forward =
        forward::read(fields.optional("forward").as_ref(), &credentials, &headers_read, names_hosts);
    let has_applications = tenants.table.iter().any(|(_, tenant)| tenant.applications.is_some());
    let token_endpoints =
        token_endpoints::read(fields.optional("token_endpoints").as_ref(), &providers, has_applications);
    let unmatched = read_unmatched(&fields, resolution.required_evidence);
    let scopes_per_application = read_scopes_per_application(&fields);
    let enforcement = fields.optional("scope_enforcement").and_then(|cursor| terms::enforcement(&cursor));
    let realm = fields.optional("realm").map_or(Some("scopegate".into()), |cursor| read_realm(&cursor));
    let max_token_bytes = fields.integer("max_token_bytes", 1..=65_536, 16_384);
    let max_waiting_requests = fields.integer("max_waiting_requests", 1..=100_000, 1_024);
    let memory_budget = fields.optional("memory_budget").and_then(|cursor| cursor.size(MEMORY_BUDGETS));
    let bypass_cors_preflight = fields.boolean("bypass_cors_preflight", false);
    let strip_failure_response = fields.boolean("strip_failure_response", false);
    let metadata = fields.optional("protected_resource_metadata").map(|cursor| metadata::read(&cursor));
    let audit = read_audit(&fields);
    let mut short_digest = base16ct::lower::encode_string(&digest);
    short_digest.truncate(16);
    let routes = suites.routes().into();
    let (catalog, operations) = suites.finish();

    let places = CredentialPlaces::new(providers.places);
    let providers = providers.providers.into_iter().collect::<Option<Vec<_>>>()?;
    Some(Policy {
        realm: realm?,
        issuers: IssuerIndex::new(
            (0..=u16::MAX).map(ProviderId).zip(providers.iter().map(|provider| provider.issuer.as_ref())),
        ),
        providers,
        default_introspection,
        places,
        takes_proofs,
        binds_tokens,
        certificate_headers,
        tenants: tenants.table,
        resolution,
        catalog,
        operations: operations?,
        routes,
        scopes_per_application,
        enforcement: enforcement.unwrap_or(Enforcement::Enforce),
        unmatched,
        max_token_bytes: max_token_bytes as usize,
        max_waiting_requests: max_waiting_requests as usize,
        memory_budget: memory_budget.map_or(DEFAULT_MEMORY_BUDGET, |bytes| bytes as usize),
        forward,
        bypass_cors_preflight,
        strip_failure_response,
        token_endpoints,
        metadata: match metadata {
            None => None,
            Some(metadata) => Some(metadata?),
        },
        audit,
        digest,
        short_digest: short_digest.into(),
        generation: 0,
    })
}

const RESOLUTION_KEYS: &[&str] =
    &["claims", "claim_lists", "headers", "required_evidence", "accept_from_request", "default"];

/// `tenant_resolution.headers`, in lower case.
fn read_evidence_headers(resolution: Option<&Fields<'_>>) -> Vec<Box<str>> {
    let headers = resolution.and_then(|fields| fields.optional("headers"));
    headers.and_then(|list| list.list_of(false, terms::header_name)).unwrap_or_default()
}

/// `tenant_resolution`, but for its claims, which are the providers'.
fn read_resolution(
    fields: Option<&Fields<'_>>,
    headers: &[Box<str>],
    providers: &providers::Providers<'_>,
    tenants: &tenants::Tenants<'_>,
) -> ResolutionRules {
    let Some(fields) = fields else { return ResolutionRules::default() };
    let mut required_evidence = EvidenceKinds::default();
    if let Some(kinds) = fields.optional("required_evidence") {
        required_evidence = terms::evidence_kinds(&kinds, !headers.is_empty());
        let names_tenant = |provider: &Provider| !provider.rules.claims.tenant.is_empty();
        if required_evidence.contains(EvidenceKind::Claim)
            && !providers.providers.iter().flatten().any(names_tenant)
        {
            kinds.warning(
                WarningKind::Unusable,
                "`claim` is required, but no provider has tenant claims, so every token is refused",
            );
        }
    }
    let default = fields.optional("default").filter(|default| !default.is_null());
    ResolutionRules {
        headers: headers.into(),
        required_evidence,
        claim_lists: fields.boolean("claim_lists", false),
        accept_from_request: fields.boolean("accept_from_request", false),
        default: default.and_then(|default| tenants.reference(&default)),
    }
}

/// `unmatched`: default `deny`.
fn read_unmatched(fields: &Fields<'_>, required: EvidenceKinds) -> Unmatched {
    let Some(cursor) = fields.optional("unmatched") else { return Unmatched::Deny };
    let choices =
        [("deny", Unmatched::Deny), ("authenticated", Unmatched::Authenticated), ("allow", Unmatched::Allow)];
    let unmatched = cursor.choice(&choices).unwrap_or(Unmatched::Deny);
    match unmatched {
        Unmatched::Allow => cursor.warning(WarningKind::Open, "requests that no operation matches pass without a token"),
        Unmatched::Authenticated if required.contains(EvidenceKind::Path) => cursor.warning(WarningKind::Unusable,
            "`path` evidence is required, and a path that no operation matches has none, so every such request is \
             refused; require `path` of suites or operations instead, or leave `unmatched` at `deny`",
        ),
        Unmatched::Authenticated | Unmatched::Deny => {}
    }
    unmatched
}

/// `scopes_per_application`: default true.
fn read_scopes_per_application(fields: &Fields<'_>) -> bool {
    let enforced = fields.boolean("scopes_per_application", true);
    if let Some(cursor) = fields.optional("scopes_per_application").filter(|_| !enforced) {
        cursor.warning(WarningKind::Open, "scopes are not enforced for any registered application");
    }
    enforced
}

/// `realm`: what a quoted-string can carry without escapes (RFC 9110 section 5.6.4); default `scopegate`.
fn read_realm(cursor: &Cursor<'_>) -> Option<Box<str>> {
    let text = cursor.string()?;
    if !text.chars().all(|c| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~')) {
        cursor.error(ErrorKind::OutOfBounds, "must be of printable ASCII characters without `\"` and `\\`");
        return None;
    }
    Some(text.into())
}

/// `audit`: by default 100 denied decisions a second and worker, without their subjects, and the properties `decision`
/// and `log`.
fn read_audit(fields: &Fields<'_>) -> Audit {
    let mut audit = Audit {
        decisions: AuditedDecisions::Denied,
        max_per_second: 100,
        properties: Property::DEFAULT.into_iter().collect(),
        subject: false,
    };
    let Some(fields) = fields
        .optional("audit")
        .and_then(|cursor| cursor.map(&["decisions", "max_per_second", "properties", "subject"]))
    else {
        return audit;
    };
    let choices = [
        ("denied", AuditedDecisions::Denied),
        ("all", AuditedDecisions::All),
        ("none", AuditedDecisions::None),
    ];
    if let Some(decisions) = fields.optional("decisions").and_then(|cursor| cursor.choice(&choices)) {
        audit.decisions = decisions;
    }
    audit.max_per_second = fields.integer("max_per_second", 0..=1_000_000, audit.max_per_second);
    audit.subject = fields.boolean("subject", false);
    if let Some(cursor) = fields.optional("properties") {
        let choices = Property::ALL.map(|property| (property.as_str(), property));
        if let Some(listed) = cursor.list_of(false, |item| item.choice(&choices)) {
            audit.properties = listed.into_iter().collect();
            if !audit.properties.contains(Property::Decision) {
                cursor.error(
                    ErrorKind::OutOfBounds,
                    "`decision` must be among them: the tripwire lets pass what has it",
                );
            }
        }
    }
    audit
}
