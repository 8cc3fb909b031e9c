//! Fetching what issuers publish, and what the filter would not go by. Which answer is of use is the library's word.

use scopegate::config::{ErrorKind, WarningKind};
use scopegate::issuer::discovery::{self, INTROSPECTION_ENDPOINT, JWKS_URI, Next};
use scopegate::issuer::provider::{Provider, ProviderKeys, RemoteJwks};
use scopegate::issuer::{HttpCall, IssuerFault};
use scopegate::jose::json::{Value, parse_object};
use scopegate::jose::{KeySet, KeySource, SkippedKey};
use scopegate::policy::Policy;

use super::{Endpoint, Key, Keys, Metadata, Problem, Published};
use crate::codes::Code;
use crate::issuer_http::Reply;

const METADATA: Code = Code::Error(ErrorKind::MetadataUseless);
const NO_KEY: Code = Code::Error(ErrorKind::NoKeyOfUse);
const NOT_REACHED: Code = Code::Warning(WarningKind::IssuerNotReached);

/// The most tenants whose issuers are asked of one provider.
const MAX_TENANTS: usize = 20;

/// Fetches what each issuer of the policy publishes, of each tenant where a URI holds `{tenant}`; with `tenants`, of those alone.
pub fn fetch_all(
    policy: &Policy,
    tenants: &[String],
    send: &mut dyn FnMut(&str, &HttpCall) -> Reply,
) -> (Vec<Published>, Vec<String>) {
    let (mut all, mut notes) = (Vec::new(), Vec::new());
    for (id, provider) in policy.providers() {
        let ProviderKeys::Remote(remote) = &provider.keys else { continue };
        if !remote.uri.path.contains("{tenant}") {
            all.push(fetch(provider, None, send).0);
            continue;
        }
        if !tenants.is_empty() {
            all.extend(tenants.iter().map(|tenant| fetch(provider, Some(tenant), send).0));
            continue;
        }
        let spoken_for = policy.tenants.iter().map(|(tenant, _)| tenant);
        let spoken_for: Vec<_> = spoken_for.filter(|tenant| policy.tenants.may_speak(id, *tenant)).collect();
        for tenant in spoken_for.iter().take(MAX_TENANTS) {
            // Issuers know a tenant by its id or by an alias.
            let names = policy.tenants.names().filter(|(_, named)| named == tenant).map(|(name, _)| name);
            let mut tried = names.map(|name| fetch(provider, Some(name), send).0);
            let best = match tried.next() {
                Some(first) if first.keys.is_none() => {
                    tried.find(|other| other.keys.is_some()).or(Some(first))
                }
                first => first,
            };
            all.extend(best);
        }
        if spoken_for.len() > MAX_TENANTS {
            notes.push(format!(
                "scopegate: note: of provider `{}`, the issuers of the first {MAX_TENANTS} of {} tenants were asked; --tenant names others",
                provider.name,
                spoken_for.len()
            ));
        }
    }
    if all.is_empty() {
        notes.push(
            "scopegate: note: no provider has keys that are fetched, so no issuer was asked".to_owned(),
        );
    }
    (all, notes)
}

/// A body as the filter takes keys in, or why there is none.
pub type Fetched = Result<(u16, Vec<u8>), IssuerFault>;

/// Fetches as the filter does. `send` makes the calls, to a cluster each.
pub fn fetch(
    provider: &Provider,
    tenant: Option<&str>,
    send: &mut dyn FnMut(&str, &HttpCall) -> Reply,
) -> (Published, Fetched) {
    let mut published = Published {
        provider: provider.name.to_string(),
        tenant: tenant.map(str::to_owned),
        ..Published::default()
    };
    let ProviderKeys::Remote(remote) = &provider.keys else {
        return (published, Err(IssuerFault::Unreachable));
    };
    let first = if remote.discovery.is_some() { "discovery" } else { "remote_jwks" };
    let mut call = remote.call(tenant);
    let mut reply = published.send(first, &remote.cluster, &call, send);
    let mut keys_uri = uri_of(&call);
    if let Some(discovery) = &remote.discovery {
        if let Ok((200, body)) = &reply {
            published.read_metadata(provider, remote, discovery, tenant, &call, body);
        }
        match discovery::next(provider, tenant, None, reply) {
            Next::Done(reply) => {
                if let (Err(fault), true) = (&reply, published.problems.is_empty()) {
                    published.problem(METADATA, "discovery", format!("the metadata at {keys_uri}: {fault}"));
                }
                return (published, reply);
            }
            Next::Keys { cluster, call: keys, metadata } => {
                let key = if discovery.configured_keys.is_some() { "remote_jwks" } else { "discovery" };
                call = keys;
                keys_uri = uri_of(&call);
                reply = published.send(key, &cluster, &call, send);
                if let Ok((200, body)) = &reply {
                    published.read_keys(provider, key, keys_uri, body);
                }
                return match discovery::next(provider, tenant, Some(metadata), reply) {
                    Next::Done(reply) => (published, reply),
                    Next::Keys { .. } => (published, Err(IssuerFault::Unreachable)),
                };
            }
        }
    }
    if let Ok((200, body)) = &reply {
        published.read_keys(provider, first, keys_uri, body);
    }
    (published, reply)
}

impl Published {
    fn problem(&mut self, code: Code, key: &'static str, message: String) {
        let message = match &self.tenant {
            Some(tenant) => format!("tenant `{tenant}`: {message}"),
            None => message,
        };
        self.problems.push(Problem { code, key, message });
    }

    fn send(
        &mut self,
        key: &'static str,
        cluster: &str,
        call: &HttpCall,
        send: &mut dyn FnMut(&str, &HttpCall) -> Reply,
    ) -> Fetched {
        let uri = uri_of(call);
        let failed = |what: String| format!("{uri} (cluster `{cluster}`) could not be asked: {what}");
        match send(cluster, call) {
            Ok((200, body)) => Ok((200, body)),
            Ok((status, _)) => {
                // Whoever is overloaded or starting may publish all that is wanted later.
                let code = match status {
                    500.. => NOT_REACHED,
                    _ => Code::Error(ErrorKind::IssuerRefuses),
                };
                self.problem(code, key, failed(format!("status {status}")));
                Err(IssuerFault::Status(status))
            }
            Err(why) => {
                self.problem(NOT_REACHED, key, failed(why));
                Err(IssuerFault::Unreachable)
            }
        }
    }

    fn read_metadata(
        &mut self,
        provider: &Provider,
        remote: &RemoteJwks,
        discovery: &discovery::Discovery,
        tenant: Option<&str>,
        call: &HttpCall,
        body: &[u8],
    ) {
        let uri = uri_of(call);
        let Ok(members) = parse_object(body) else { return };
        let issuer = members.get("issuer").and_then(Value::as_str).unwrap_or("none");
        let is_of_provider = discovery::is_issuer(provider, tenant, issuer);
        if !is_of_provider {
            let fault = IssuerFault::MetadataOfAnother;
            self.problem(METADATA, "discovery", format!("the metadata at {uri}: {fault}, but `{issuer}`"));
        }
        let mut endpoints = Vec::new();
        for (name, is_used) in [
            (JWKS_URI, discovery.configured_keys.is_none()),
            (INTROSPECTION_ENDPOINT, discovery.gives_introspection),
        ] {
            let said = members.get(name);
            let judged = discovery::endpoint(said, name, remote, discovery);
            let text = said.and_then(Value::as_str).map(str::to_owned);
            if let (Err(fault), true) = (&judged, is_used) {
                let message = match (fault, &text) {
                    (IssuerFault::EndpointNotAllowed(_), Some(text)) => {
                        format!("{fault}: `{text}`; allowed: {}", discovery.allowed_hosts.join(", "))
                    }
                    (_, None) => {
                        format!("`{name}` is not there, and the configuration does not say it either")
                    }
                    (_, Some(text)) => format!("{fault}: `{text}`"),
                };
                self.problem(METADATA, "discovery", format!("the metadata at {uri}: {message}"));
            }
            let Some(text) = text else { continue };
            endpoints.push(Endpoint { name, uri: text, is_allowed: judged.is_ok(), is_used });
        }
        self.metadata = Some(Metadata { uri, issuer: issuer.to_owned(), is_of_provider, endpoints });
    }

    fn read_keys(&mut self, provider: &Provider, key: &'static str, uri: String, body: &[u8]) {
        let (set, skipped) = match KeySet::parse(body, KeySource::Remote) {
            Ok(read) => read,
            Err(error) => return self.problem(NO_KEY, key, format!("the key set at {uri}: {error}")),
        };
        let document = parse_object(body).unwrap_or_default();
        let members = document.get("keys").and_then(Value::as_array).map_or(&[][..], |keys| keys);
        let accepted = provider.rules.algorithms;
        let mut used = set.keys().iter();
        let mut keys = Vec::new();
        for (index, member) in members.iter().enumerate() {
            let text = |name: &str| member.get(name).and_then(Value::as_str).map(str::to_owned);
            let (algorithms, unused) = match skipped.iter().find(|skipped| skipped.index == index) {
                Some(skipped) => {
                    if is_a_mistake(skipped) {
                        self.problem(
                            Code::Warning(WarningKind::KeyNotUsed),
                            key,
                            format!("the issuer publishes a key that is not used: {skipped}"),
                        );
                    }
                    (Vec::new(), Some(skipped.reason.to_string()))
                }
                None => {
                    let fits = used.next().map(|key| key.algorithms().intersection(accepted));
                    let names: Vec<_> = fits
                        .iter()
                        .flat_map(|fits| fits.iter())
                        .map(|algorithm| algorithm.as_str())
                        .collect();
                    let unused =
                        names.is_empty().then(|| "for none of the provider's `algorithms`".to_owned());
                    (names, unused)
                }
            };
            let key_type = text("kty").unwrap_or_else(|| "none".to_owned());
            keys.push(Key { key_id: text("kid"), key_type, algorithms, unused });
        }
        if keys.iter().all(|key| key.unused.is_some()) {
            let accepted: Vec<&str> = accepted.iter().map(|algorithm| algorithm.as_str()).collect();
            let message = format!(
                "the key set at {uri}: none of its {} keys verifies any of {}",
                keys.len(),
                accepted.join(" ")
            );
            self.problem(NO_KEY, key, message);
        }
        self.keys = Some(Keys { uri, keys });
    }
}

/// Whether an unused key is a mistake of the issuer's, and not one for other purposes.
fn is_a_mistake(skipped: &SkippedKey) -> bool {
    use scopegate::jose::key_set::SkipReason as Reason;
    match skipped.reason {
        Reason::NotAnObject
        | Reason::MemberMissing(_)
        | Reason::MemberMalformed(_)
        | Reason::Private
        | Reason::Symmetric
        | Reason::SymmetricTooShort
        | Reason::ModulusSize(_)
        | Reason::RsaNumbers
        | Reason::NotOnCurve
        | Reason::AlgorithmMismatch(_)
        | Reason::TooManyKeys => true,
        Reason::KeyTypeUnknown(_)
        | Reason::CurveUnknown(_)
        | Reason::AlgorithmUnknown(_)
        | Reason::NotForVerifying => false,
    }
}

/// The URI that a call goes to, without its query, which may hold a secret.
fn uri_of(call: &HttpCall) -> String {
    let header = |name: &str| {
        call.headers.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value.as_str())
    };
    let path = header(":path").split('?').next().unwrap_or_default();
    format!("{}://{}{path}", header(":scheme"), header(":authority"))
}
