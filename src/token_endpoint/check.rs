//! The decision about one token request.

use super::MAX_BODY_BYTES;
use super::client::{Client, client};
use super::endpoint::{OnUnregisteredScope, TokenEndpoint};
use super::fault::Fault;
use super::form::Form;
use crate::authenticate::{AudienceRule, TenantPattern};
use crate::authorize::resolve::RequestEvidence;
use crate::authorize::{Application, Enforcement, Tenant, TenantTable};
use crate::http::headers::{Headers, trim, values};
use crate::ids::{ProviderId, TenantId};
use crate::issuer::provider::Provider;
use crate::policy::Policy;

/// A token request, complete.
#[derive(Clone, Copy)]
pub struct TokenRequest<'r> {
    /// Its headers.
    pub headers: Headers<'r>,
    /// What follows the `?` of its path.
    pub query: Option<&'r [u8]>,
    /// Its whole body.
    pub body: &'r [u8],
}

/// What was found out about a token request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The client, where it is one of a tenant's.
    pub client: Option<RegisteredClient>,
    /// What becomes of the request.
    pub disposition: Disposition,
}

/// A client that is registered with exactly one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredClient {
    /// The tenant.
    pub tenant: TenantId,
    /// The `client_id`, as it is configured.
    pub client_id: Box<str>,
}

/// What becomes of a token request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It passes as it is.
    Pass,
    /// It passes as it is, although this speaks against it: its scopes are enforced in shadow only.
    Shadow(Fault),
    /// It passes with this body.
    Replace(Vec<u8>),
    /// It is refused.
    Reject(Fault),
}

/// What can be told before the body has come.
///
/// # Errors
///
/// A body that is no form by its headers, or too long; a parameter in the query.
pub fn check_head(headers: Headers<'_>, query: Option<&[u8]>) -> Result<(), Fault> {
    let mut content_types = values(headers, "content-type");
    match (content_types.next(), content_types.next()) {
        (Some(value), None) if is_form(value) => {}
        (Some(_), _) | (None, _) => return Err(Fault::ContentType),
    }
    if values(headers, "content-encoding").any(|value| !trim(value).eq_ignore_ascii_case(b"identity")) {
        return Err(Fault::ContentEncoding);
    }
    let is_short = |value: &[u8]| {
        std::str::from_utf8(value)
            .is_ok_and(|text| text.parse::<usize>().is_ok_and(|length| length <= MAX_BODY_BYTES))
    };
    if !values(headers, "content-length").all(is_short) {
        return Err(Fault::TooLarge);
    }
    check_query(query)
}

/// Whether the query says nothing of a token request.
///
/// # Errors
///
/// A parameter in it that decisions are made from, and a query that is no form.
pub fn check_query(query: Option<&[u8]>) -> Result<(), Fault> {
    let query = Form::parse_leniently(query.unwrap_or_default()).map_err(|_| Fault::Query)?;
    query.first_known().map_or(Ok(()), |name| Err(Fault::InQuery(name)))
}

/// Decides about a token request at `endpoint`. `evidence` is what its header and host say of the tenant.
pub fn check(
    endpoint: &TokenEndpoint,
    policy: &Policy,
    request: TokenRequest<'_>,
    evidence: &RequestEvidence<'_>,
) -> Checked {
    let mut client = None;
    let disposition =
        decide(endpoint, policy, request, evidence, &mut client).unwrap_or_else(Disposition::Reject);
    Checked { client, disposition }
}

fn decide(
    endpoint: &TokenEndpoint,
    policy: &Policy,
    request: TokenRequest<'_>,
    evidence: &RequestEvidence<'_>,
    found: &mut Option<RegisteredClient>,
) -> Result<Disposition, Fault> {
    check_head(request.headers, request.query)?;
    if request.body.len() > MAX_BODY_BYTES {
        return Err(Fault::TooLarge);
    }
    let form = Form::parse(request.body)?;

    let client = client(request.headers, &form)?;
    let Registration { provider, id, tenant, application } =
        Registration::of(&client.id, endpoint.provider, policy)?;
    if names_another(&client, policy) {
        return Err(Fault::ClientsDiffer);
    }
    *found = Some(RegisteredClient { tenant: id, client_id: application.client_id.clone() });
    if let Some((_, name)) = evidence.malformed() {
        return Err(Fault::MalformedHeader(name.into()));
    }
    if !evidence.agrees_with(id) {
        return Err(Fault::OtherTenant);
    }

    let grant = form.value("grant_type").ok_or(Fault::Missing("grant_type"))?;
    if !endpoint.grant_types.iter().any(|accepted| **accepted == *grant) {
        return Err(Fault::GrantType);
    }
    for parameter in ["audience", "resource"] {
        if form.values(parameter).any(|target| !is_own_target(target, id, provider, &policy.tenants)) {
            return Err(Fault::OtherTarget(parameter));
        }
    }
    let enforcement = policy.enforcement(None, Some(application), tenant);
    let checked =
        |on_unregistered| check_scopes(&form, grant, tenant, application, endpoint, on_unregistered);
    match enforcement {
        Enforcement::Enforce => checked(endpoint.on_unregistered_scope),
        // In shadow nothing is changed, and what would have been is told.
        Enforcement::Shadow => {
            Ok(checked(OnUnregisteredScope::Reject).map_or_else(Disposition::Shadow, |_| Disposition::Pass))
        }
        Enforcement::Off => Ok(Disposition::Pass),
    }
}

/// Whether an assertion that somebody else issued is about another registered client, or by one.
fn names_another(client: &Client<'_>, policy: &Policy) -> bool {
    let is_registered =
        |name: &str| policy.providers().any(|(id, _)| !policy.tenants.registered(id, name).is_empty());
    client.issued.iter().flatten().any(|name| *name != client.id && is_registered(name))
}

/// Where a client is registered.
struct Registration<'p> {
    provider: &'p Provider,
    id: TenantId,
    tenant: &'p Tenant,
    application: &'p Application,
}

impl<'p> Registration<'p> {
    /// The only registration of `client`, with `provider` or with any. What is shared between tenants names none, and
    /// client ids of two providers have nothing to do with each other.
    fn of(client: &str, provider: Option<ProviderId>, policy: &'p Policy) -> Result<Self, Fault> {
        let mut registrations = policy
            .providers()
            .filter(|(id, _)| provider.is_none_or(|only| only == *id))
            .flat_map(|(id, provider)| {
                policy.tenants.registered(id, client).iter().map(move |tenant| (id, provider, *tenant))
            });
        let (provider_id, provider, id) = registrations.next().ok_or(Fault::UnknownClient)?;
        if registrations.next().is_some() {
            return Err(Fault::SharedClient);
        }
        let tenant = policy.tenants.tenant(id).ok_or(Fault::UnknownClient)?;
        let application = tenant.application(provider_id, client).ok_or(Fault::UnknownClient)?;
        Ok(Self { provider, id, tenant, application })
    }
}

/// `application/x-www-form-urlencoded`, in UTF-8 where it says so: another encoding is another form.
fn is_form(content_type: &[u8]) -> bool {
    let mut parts = content_type.split(|byte| *byte == b';').map(trim);
    let is_form =
        parts.next().is_some_and(|media| media.eq_ignore_ascii_case(b"application/x-www-form-urlencoded"));
    is_form
        && parts.all(|parameter| {
            parameter.is_empty()
                || parameter.eq_ignore_ascii_case(b"charset=utf-8")
                || parameter.eq_ignore_ascii_case(b"charset=\"utf-8\"")
        })
}

/// Whether an audience or a resource is not another tenant's. One that begins as a `{tenant}` pattern of the provider
/// must be the tenant's own, whatever follows: the authorization server may compare URIs less exactly than this.
fn is_own_target(target: &str, tenant: TenantId, provider: &Provider, tenants: &TenantTable) -> bool {
    if let Some(named) = tenants.with_audience(target) {
        return named.contains(&tenant);
    }
    let AudienceRule::OneOf(patterns) = &provider.rules.audiences else { return true };
    let is_tenant = |name: &str| tenants.named(name) == Some(tenant);
    if patterns.iter().any(|pattern| pattern.matches(target, &is_tenant)) {
        return true;
    }
    !patterns.iter().any(|pattern| match pattern {
        TenantPattern::Exact(_) => false,
        TenantPattern::Tenant { prefix, .. } if prefix.is_empty() => pattern.tenant_name(target).is_some(),
        TenantPattern::Tenant { prefix, .. } => {
            target.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        }
    })
}

/// Grants whose scope was fixed before the token request: the absence of `scope` means that one (RFC 6749 sections
/// 4.1.3 and 6, RFC 8628 section 3.4, OpenID CIBA section 10.1).
const FIXED_SCOPE_GRANTS: [&str; 4] = [
    "authorization_code",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:openid:params:grant-type:ciba",
];

fn check_scopes(
    form: &Form<'_>,
    grant: &str,
    tenant: &Tenant,
    application: &Application,
    endpoint: &TokenEndpoint,
    on_unregistered: OnUnregisteredScope,
) -> Result<Disposition, Fault> {
    let Some(requested) = form.value("scope") else {
        return match on_unregistered {
            OnUnregisteredScope::Reject => Ok(Disposition::Pass),
            OnUnregisteredScope::Narrow if FIXED_SCOPE_GRANTS.contains(&grant) => Ok(Disposition::Pass),
            OnUnregisteredScope::Narrow => {
                let scopes = all_scopes(tenant, application).ok_or(Fault::NoScopeAssigned)?;
                Ok(Disposition::Replace(form.with("scope", &scopes)))
            }
        };
    };
    let requested: Vec<&str> = requested.split(' ').collect();
    if !requested.iter().all(|scope| is_scope_token(scope)) {
        return Err(Fault::ScopeMalformed);
    }
    let is_registered = |scope: &&str| {
        tenant.strip_prefix(scope).is_some_and(|name| {
            application.scopes.binary_search_by(|assigned| (**assigned).cmp(name)).is_ok()
        })
    };
    // What the tenant declares is an API's, whatever it is called.
    let is_declared = |scope: &str| {
        let declared = tenant.scope_table.declared.as_ref();
        tenant.strip_prefix(scope).is_some_and(|name| declared.is_some_and(|all| all.contains_key(name)))
    };
    let is_passed =
        |scope: &&str| endpoint.passed_scopes.iter().any(|passed| **passed == **scope) && !is_declared(scope);
    let (kept, dropped): (Vec<&str>, Vec<&str>) =
        requested.into_iter().partition(|scope| is_registered(scope) || is_passed(scope));
    if dropped.is_empty() {
        return Ok(Disposition::Pass);
    }
    match on_unregistered {
        OnUnregisteredScope::Narrow if !kept.is_empty() => {
            Ok(Disposition::Replace(form.with("scope", &kept.join(" "))))
        }
        OnUnregisteredScope::Narrow | OnUnregisteredScope::Reject => {
            Err(Fault::ScopesUnregistered(dropped.into_iter().map(Box::from).collect()))
        }
    }
}

/// Every scope that the application may ask for, as tokens of the tenant carry them.
fn all_scopes(tenant: &Tenant, application: &Application) -> Option<String> {
    let prefix = tenant.scope_prefix.as_deref().unwrap_or_default();
    let scopes: Vec<String> = application.scopes.iter().map(|scope| format!("{prefix}{scope}")).collect();
    (!scopes.is_empty()).then(|| scopes.join(" "))
}

/// RFC 6749 section 3.3.
fn is_scope_token(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~'))
}
