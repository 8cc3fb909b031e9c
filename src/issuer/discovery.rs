//! Where an issuer's keys and its introspection endpoint are, by what the issuer says of itself (RFC 8414, OpenID Connect
//! Discovery 1.0).
//!
//! It is the first half of each fetch of keys: the metadata is read, then the keys are fetched where it says. So it is
//! refreshed, kept and tried again as keys are. What is kept of it stands beside the keys in one document, which the workers
//! of a proxy share.

use super::fault::IssuerFault;
use super::http_call::HttpCall;
use super::provider::{HttpUri, Provider, ProviderKeys, RemoteJwks};
use crate::authenticate::TenantPattern;
use crate::jose::json::{Value, parse_object};
use crate::route::normalize_host;

/// `discovery` of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Hosts at which endpoints may lie, in canonical form.
    pub allowed_hosts: Box<[Box<str>]>,
    /// Where the keys are and the cluster that leads there, where `remote_jwks` says so.
    pub configured_keys: Option<(HttpUri, Box<str>)>,
    /// Whether the introspection endpoint is taken from the metadata.
    pub gives_introspection: bool,
}

/// What was read of the metadata.
pub struct Metadata {
    introspection_endpoint: Option<Box<str>>,
}

/// What comes after an answer to a fetch of keys.
pub enum Next {
    /// Nothing: this is the answer, with what is kept of the metadata in it.
    Done(Result<(u16, Vec<u8>), IssuerFault>),
    /// The keys themselves.
    Keys {
        /// The cluster.
        cluster: Box<str>,
        /// The call.
        call: HttpCall,
        /// What was read before.
        metadata: Metadata,
    },
}

/// The metadata's member that says where the keys are.
pub const JWKS_URI: &str = "jwks_uri";
/// The metadata's member that says where tokens are introspected.
pub const INTROSPECTION_ENDPOINT: &str = "introspection_endpoint";

/// What comes after `reply` to a fetch of the provider's keys. `metadata` is what was read before, if anything was.
pub fn next(
    provider: &Provider,
    tenant: Option<&str>,
    metadata: Option<Metadata>,
    reply: Result<(u16, Vec<u8>), IssuerFault>,
) -> Next {
    let ProviderKeys::Remote(remote) = &provider.keys else { return Next::Done(reply) };
    match (&remote.discovery, metadata) {
        (None, _) => Next::Done(reply),
        (Some(_), Some(metadata)) => {
            Next::Done(reply.map(|(status, body)| (status, joined(body, &metadata))))
        }
        (Some(discovery), None) => match read_metadata(provider, remote, discovery, tenant, reply) {
            Ok((uri, cluster, metadata)) => {
                let call = HttpCall::get(&uri, tenant, "application/json, application/jwk-set+json");
                Next::Keys { cluster, call, metadata }
            }
            Err(fault) => Next::Done(Err(fault)),
        },
    }
}

/// The introspection endpoint in a document that [`next`] made, judged again: other plugins may write what is shared.
pub fn introspection_endpoint(remote: &RemoteJwks, document: &[u8]) -> Option<HttpUri> {
    let discovery = remote.discovery.as_ref().filter(|discovery| discovery.gives_introspection)?;
    let members = parse_object(document).ok()?;
    endpoint(members.get(INTROSPECTION_ENDPOINT), INTROSPECTION_ENDPOINT, remote, discovery).ok()
}

fn read_metadata(
    provider: &Provider,
    remote: &RemoteJwks,
    discovery: &Discovery,
    tenant: Option<&str>,
    reply: Result<(u16, Vec<u8>), IssuerFault>,
) -> Result<(HttpUri, Box<str>, Metadata), IssuerFault> {
    let (status, body) = reply?;
    if status != 200 {
        return Err(IssuerFault::Status(status));
    }
    let members = parse_object(&body).map_err(|_| IssuerFault::NotAnObject)?;
    let issuer = members.get("issuer").and_then(Value::as_str);
    if !issuer.is_some_and(|said| is_issuer(provider, tenant, said)) {
        return Err(IssuerFault::MetadataOfAnother);
    }
    let (uri, cluster) = match &discovery.configured_keys {
        Some((uri, cluster)) => (uri.clone(), cluster.clone()),
        None => (endpoint(members.get(JWKS_URI), JWKS_URI, remote, discovery)?, remote.cluster.clone()),
    };
    let introspection_endpoint = if discovery.gives_introspection {
        let said = members.get(INTROSPECTION_ENDPOINT);
        endpoint(said, INTROSPECTION_ENDPOINT, remote, discovery)?;
        said.and_then(Value::as_str).map(Box::from)
    } else {
        None
    };
    Ok((uri, cluster, Metadata { introspection_endpoint }))
}

/// Whether `said` is the provider, of that tenant where each has an issuer of its own. RFC 8414 section 3.3: else whoever
/// answers could be another issuer.
pub fn is_issuer(provider: &Provider, tenant: Option<&str>, said: &str) -> bool {
    match &provider.issuer {
        Some(TenantPattern::Exact(issuer)) => **issuer == *said,
        Some(pattern @ TenantPattern::Tenant { .. }) => {
            tenant.is_some() && pattern.tenant_name(said) == tenant
        }
        None => false,
    }
}

/// An endpoint that the metadata names, at one of the allowed hosts, and over TLS where the metadata is.
///
/// # Errors
///
/// Why no call may go there.
pub fn endpoint(
    said: Option<&Value>,
    name: &'static str,
    remote: &RemoteJwks,
    discovery: &Discovery,
) -> Result<HttpUri, IssuerFault> {
    let fault = IssuerFault::EndpointNotAllowed(name);
    let Some(uri) = said.and_then(Value::as_str).and_then(|said| HttpUri::parse(said).ok()) else {
        return Err(IssuerFault::MemberMalformed(name.into()));
    };
    let is_as_safe = *uri.scheme == *"https" || uri.scheme == remote.uri.scheme;
    let host = normalize_host(uri.authority.as_bytes());
    let is_allowed =
        host.is_some_and(|host| discovery.allowed_hosts.iter().any(|allowed| **allowed == *host));
    // `{tenant}` would be replaced; no URI holds a brace (RFC 3986 section 2).
    if is_as_safe && is_allowed && !uri.path.contains(['{', '}']) { Ok(uri) } else { Err(fault) }
}

/// A key set with what is kept of the metadata. What is no object stays as it is, to be refused where it is read.
fn joined(body: Vec<u8>, metadata: &Metadata) -> Vec<u8> {
    let Ok(mut members) = parse_object(&body) else { return body };
    members.remove(INTROSPECTION_ENDPOINT);
    if let Some(endpoint) = &metadata.introspection_endpoint {
        members.insert(INTROSPECTION_ENDPOINT.to_owned(), Value::from(&**endpoint));
    }
    Value::Object(members).to_string().into_bytes()
}
