//! Token issuers: what the configuration says of each, and which of them a token's `iss` names.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::certificate::CertificateHeader;
use super::discovery::Discovery;
use super::dpop::Dpop;
use super::http_call::HttpCall;
use crate::authenticate::{Revoked, TenantPattern, TokenRules};
use crate::http::percent;
use crate::jose::KeySet;

/// One token issuer.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// What `iss` must be. None where tokens are known by introspection alone.
    pub issuer: Option<TenantPattern>,
    /// How its tokens are judged.
    pub rules: TokenRules,
    /// Where its keys come from.
    pub keys: ProviderKeys,
    /// How it is asked about tokens (RFC 7662).
    pub introspection: Option<Introspection>,
    /// Whether it is asked about encrypted tokens (JWE): `encrypted_tokens: introspect`.
    pub introspects_encrypted: bool,
    /// Tokens that are out of use. No part of [`Self::digest`], since what was learnt stays true.
    pub revoked: Option<Arc<Revoked>>,
    /// How it takes tokens that are bound to a key (RFC 9449); None where it takes none.
    pub dpop: Option<Dpop>,
    /// Who tells of the client's certificate in a header.
    pub certificate_header: Option<CertificateHeader>,
    /// Whether tokens that are bound to no sender are refused.
    pub requires_bound_tokens: bool,
    /// How many verified tokens are remembered; 0 for none.
    pub token_cache_entries: usize,
    /// SHA-256 over everything else that the provider's configuration says: what is cached under one digest decides nothing
    /// under another.
    pub digest: [u8; 32],
}

impl Provider {
    /// Whether its JWTs are known by introspection alone: it has no keys to verify them with.
    pub fn knows_jwts_by_introspection(&self) -> bool {
        matches!(self.keys, ProviderKeys::None) && self.introspection.is_some()
    }

    /// Whether its introspection endpoint is known by its metadata alone.
    pub fn discovers_introspection(&self) -> bool {
        self.introspection.as_ref().is_some_and(|introspection| introspection.uri.is_none())
    }

    /// Whether each tenant has an introspection endpoint of its own.
    pub fn introspects_by_tenant(&self) -> bool {
        let uri =
            self.introspection.as_ref().and_then(|introspection| match (&introspection.uri, &self.keys) {
                (Some(uri), _) => Some(uri),
                (None, ProviderKeys::Remote(remote)) => Some(&remote.uri),
                (None, ProviderKeys::Local(_) | ProviderKeys::None) => None,
            });
        uri.is_some_and(|uri| uri.path.contains("{tenant}"))
    }
}

/// Where a provider's keys come from.
#[derive(Clone, Debug)]
pub enum ProviderKeys {
    /// Nowhere: its tokens are known by introspection alone.
    None,
    /// `local_jwks`.
    Local(Arc<KeySet>),
    /// `remote_jwks`.
    Remote(RemoteJwks),
}

/// `remote_jwks` of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteJwks {
    /// Where the set is fetched; with `discovery`, where the issuer's metadata is, with which each fetch begins.
    pub uri: HttpUri,
    /// The Envoy cluster that leads there.
    pub cluster: Box<str>,
    /// How long one fetch may take, all calls of it together.
    pub timeout: Duration,
    /// How long a fetched set is fresh, one second at least.
    pub cache_duration: Duration,
    /// What is taken from the issuer's metadata.
    pub discovery: Option<Discovery>,
}

impl RemoteJwks {
    /// The call that fetches the keys, those of a tenant of this name where the URI holds `{tenant}`.
    pub fn call(&self, tenant: Option<&str>) -> HttpCall {
        let accepted = match self.discovery {
            Some(_) => "application/json",
            None => "application/json, application/jwk-set+json",
        };
        HttpCall::get(&self.uri, tenant, accepted)
    }

    /// The same discovery before the fetch of `keys`, which the configuration places itself.
    #[must_use]
    pub fn before(self, keys: Self) -> Self {
        let discovery = self
            .discovery
            .map(|discovery| Discovery { configured_keys: Some((keys.uri, keys.cluster)), ..discovery });
        let timeout = keys.timeout.saturating_mul(2);
        Self { discovery, timeout, cache_duration: keys.cache_duration, ..self }
    }

    /// How long one call of a fetch may take.
    pub fn call_timeout(&self) -> Duration {
        if self.discovery.is_some() { self.timeout / 2 } else { self.timeout }
    }
}

/// `introspection` of a provider (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// The introspection endpoint; None where the issuer's metadata names it.
    pub uri: Option<HttpUri>,
    /// The Envoy cluster that leads there.
    pub cluster: Box<str>,
    /// How long one call may take.
    pub timeout: Duration,
    /// How the gateway authenticates itself there.
    pub client_authentication: ClientAuthentication,
    /// Whether JWTs are introspected too, after they were verified.
    pub apply_to_all: bool,
    /// How many answers are remembered; 0 for none.
    pub cache_entries: usize,
    /// How long an active answer is remembered at most.
    pub max_ttl: Duration,
    /// How long an inactive answer is remembered.
    pub negative_ttl: Duration,
    /// How large a response may be, in bytes.
    pub max_response_bytes: usize,
    /// Whether responses have to be signed (RFC 9701), and by which name of this gateway's their `aud` has to know it.
    pub signed_for: Option<Box<str>>,
    /// Members that a response about an active token must have.
    pub required_members: Box<[Box<str>]>,
}

/// How the gateway authenticates itself to an introspection endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// HTTP Basic with form-encoded id and secret (RFC 6749 section 2.3.1).
    Basic {
        /// The gateway's client id there.
        client_id: Box<str>,
        /// Its secret.
        client_secret: SecretSource,
    },
    /// `client_id` and `client_secret` in the form body (RFC 6749 section 2.3.1).
    Post {
        /// The gateway's client id there.
        client_id: Box<str>,
        /// Its secret.
        client_secret: SecretSource,
    },
    /// A bearer token of the gateway's own (RFC 7662 section 2.1).
    Bearer(SecretSource),
    /// None at all.
    None,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// It stands in the configuration.
    Inline(Secret),
    /// It is the value of this environment variable of the VM.
    Environment(Box<str>),
}

/// A secret, which no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An absolute `http` or `https` URI, split into what an HTTP call needs. `{tenant}` may stand in the path or query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUri {
    /// `http` or `https`.
    pub scheme: Box<str>,
    /// Host and port, for `:authority`.
    pub authority: Box<str>,
    /// Path and query, beginning with `/`.
    pub path: Box<str>,
}

impl HttpUri {
    /// Reads an absolute URI without user information and fragment.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("expected an absolute `http` or `https` URI")?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return Err("expected an absolute `http` or `https` URI");
        }
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the URI holds a character that must be percent-encoded");
        }
        if rest.contains('#') {
            return Err("the URI must not have a fragment");
        }
        let path_start = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(path_start).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err("the URI must not hold user information");
        }
        if crate::route::normalize_host(authority.as_bytes()).is_none() {
            return Err("the URI has no valid host");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { scheme: scheme.into(), authority: authority.into(), path: path.into() })
    }

    /// The URI for logs, with `tenant` at `{tenant}`: without its query, which may hold a secret.
    pub fn without_query(&self, tenant: Option<&str>) -> String {
        let path = self.path_for(tenant);
        let path = path.split('?').next().unwrap_or_default();
        format!("{}://{}{path}", self.scheme, self.authority)
    }

    /// The path with the percent-encoded `tenant` at `{tenant}` (RFC 3986 section 2.1: all but unreserved characters).
    pub fn path_for(&self, tenant: Option<&str>) -> String {
        let encoded = tenant.map(percent::encode).unwrap_or_default();
        self.path.replace("{tenant}", &encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_stands_percent_encoded_in_a_uri() {
        let uri =
            HttpUri { scheme: "https".into(), authority: "h".into(), path: "/realms/{tenant}/certs".into() };
        assert_eq!(uri.path_for(Some("a/../b c?")), "/realms/a%2F..%2Fb%20c%3F/certs");
    }

    #[test]
    fn a_log_shows_a_uri_without_its_query() {
        let uri = HttpUri { scheme: "https".into(), authority: "h".into(), path: "/{tenant}/x?k=v".into() };
        assert_eq!(uri.without_query(Some("a b")), "https://h/a%20b/x");
    }

    #[test]
    fn a_secret_is_not_in_its_debug_text() {
        assert_eq!(format!("{:?}", SecretSource::Inline(Secret::new("hunter2"))), "Inline(Secret(…))");
    }
}
