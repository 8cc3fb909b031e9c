//! The best request that a caller could send for an operation, as far as the tenant is concerned: whether any token and
//! request of it would come to be judged by its scopes.
//!
//! It is looked up and resolved by the same functions as a real request ([`resolve`]); only the token is thought up.

use std::collections::BTreeSet;

use super::Policy;
use crate::authenticate::{AudienceRule, Principal, Revoked, TenantClaim, TenantPattern};
use crate::authorize::resolve::{AudienceTenants, RequestEvidence, TokenEvidence, resolve};
use crate::authorize::{EvidenceKind, Operation};
use crate::http::headers::borrowed;
use crate::ids::{OperationId, ProviderId, TenantId};
use crate::issuer::provider::Provider;
use crate::jose::json::Object;
use crate::respond::Reason;
use crate::route::path::decode_segment;
use crate::route::{HostPattern, Lookup, Route, Segment, canonicalize};

/// Somebody whose requests are thought up.
#[derive(Clone, Debug)]
pub(super) struct Sender<'p> {
    pub policy: &'p Policy,
    pub tenant: TenantId,
    /// Those whose tokens the sender may have.
    pub providers: Vec<ProviderId>,
    /// None: a client that is registered nowhere.
    pub client: Option<&'p str>,
}

impl Sender<'_> {
    /// Why none of the sender's requests for the operation `id` is let past the tenant; None where one is.
    pub fn obstacle(&self, id: OperationId, operation: &Operation) -> Option<Reason> {
        let Some(route) = self.policy.route(id) else { return Some(Reason::OperationNotMapped) };
        let mut first = None;
        for name in self.names() {
            for provider in &self.providers {
                if self.is_revoked(*provider) {
                    first.get_or_insert(Reason::TokenRevoked);
                    continue;
                }
                for all_audiences in [false, true] {
                    let token = self.token(*provider, name, operation, all_audiences);
                    let Some((principal, evidence)) = token else { continue };
                    match self.request(id, operation, route, name, (*provider, &principal, &evidence)) {
                        Ok(()) => return None,
                        Err(reason) => _ = first.get_or_insert(reason),
                    }
                }
            }
        }
        Some(first.unwrap_or(Reason::AudienceMismatch))
    }

    /// Whether all tokens of the sender's client are out of use.
    fn is_revoked(&self, provider: ProviderId) -> bool {
        let of_provider = self.policy.provider(provider).and_then(|provider| provider.revoked.as_deref());
        let of_tenant = self.policy.tenants.tenant(self.tenant).and_then(|tenant| tenant.revoked.as_deref());
        let lists = |revoked: &Revoked| self.client.is_some_and(|client| revoked.clients.contains(client));
        [of_provider, of_tenant].into_iter().flatten().any(lists)
    }

    /// What evidence may call the tenant: its id, and its aliases where the id cannot stand everywhere.
    fn names(&self) -> Vec<&str> {
        let Some(tenant) = self.policy.tenants.tenant(self.tenant) else { return Vec::new() };
        let stands_anywhere = |id: &str| {
            id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
        };
        let mut names = vec![&*tenant.id];
        if !stands_anywhere(&tenant.id) {
            let aliases = self.policy.tenants.names().filter(|(_, named)| *named == self.tenant);
            names.extend(aliases.map(|(name, _)| name));
        }
        names
    }

    /// A token of the sender's with all evidence that names the tenant, and what it says.
    fn token(
        &self,
        id: ProviderId,
        name: &str,
        operation: &Operation,
        all_audiences: bool,
    ) -> Option<(Principal, TokenEvidence)> {
        let provider = self.policy.provider(id)?;
        let audiences = self.audiences(provider, name, operation, all_audiences);
        let has_claims = !provider.rules.claims.tenant.is_empty();
        let principal = Principal {
            issuer: None,
            issuer_tenant: match provider.issuer {
                Some(TenantPattern::Tenant { .. }) => Some(name.into()),
                Some(TenantPattern::Exact(_)) | None => None,
            },
            subject: None,
            client: self.client.map(Into::into),
            audiences: None,
            tenant_claims: Ok(if has_claims {
                [TenantClaim::One(name.into())].into()
            } else {
                Box::default()
            }),
            scopes: None,
            scope_absent_from_introspection: false,
            issued_at: None,
            claims: Object::new(),
        };
        let mut named = AudienceTenants::default();
        for tenant in audiences.iter().flat_map(|audience| self.named_by(provider, audience)) {
            named.add(tenant);
        }
        let evidence = TokenEvidence::of(&principal, id, &named, &self.policy.tenants, false);
        Some((principal, evidence))
    }

    /// Audiences that pass the provider's and the operation's rules, rather such as name the tenant or nobody; with all
    /// others that name the tenant, if asked for.
    fn audiences(&self, provider: &Provider, name: &str, operation: &Operation, all: bool) -> Vec<String> {
        let mut chosen = Vec::new();
        let rank = |audience: &String| match self.named_by(provider, audience) {
            named if named.contains(&self.tenant) => 1,
            named if named.is_empty() => 0,
            _ => 2,
        };
        if let AudienceRule::OneOf(patterns) = &provider.rules.audiences {
            let candidates = patterns.iter().map(|pattern| match pattern {
                TenantPattern::Exact(audience) => audience.to_string(),
                TenantPattern::Tenant { prefix, suffix } => format!("{prefix}{name}{suffix}"),
            });
            let candidates: Vec<String> = candidates.collect();
            chosen.extend(candidates.iter().min_by_key(|audience| rank(audience)).cloned());
            if all {
                chosen.extend(candidates.into_iter().filter(|audience| rank(audience) == 1));
            }
        }
        for accepted in &operation.audiences {
            chosen.extend(accepted.iter().map(ToString::to_string).min_by_key(rank));
        }
        if all {
            let own = self.policy.tenants.audiences().filter(|(_, tenant)| *tenant == self.tenant);
            chosen.extend(own.map(|(audience, _)| audience.to_owned()));
        }
        chosen
    }

    fn named_by(&self, provider: &Provider, audience: &str) -> Vec<TenantId> {
        let tenants = &self.policy.tenants;
        let mut named = tenants.with_audience(audience).unwrap_or_default().to_vec();
        if let AudienceRule::OneOf(patterns) = &provider.rules.audiences {
            let names = patterns.iter().filter_map(|pattern| pattern.tenant_name(audience));
            named.extend(names.filter_map(|name| tenants.named(name)));
        }
        named
    }

    /// Whether some request with that token is the operation's and the tenant's.
    fn request(
        &self,
        id: OperationId,
        operation: &Operation,
        route: &Route,
        name: &str,
        (provider, principal, token): (ProviderId, &Principal, &TokenEvidence),
    ) -> Result<(), Reason> {
        let policy = self.policy;
        let required = policy.resolution.required_evidence.union(operation.required_evidence);
        let path = sample_path(route, name);
        let path = canonicalize(path.as_bytes()).map_err(|_| Reason::PathAmbiguous)?;
        let headers: Vec<(&str, &str)> =
            route.headers.iter().map(|header| (&*header.name, &*header.value)).collect();
        let mut reason = Reason::OperationNotMapped;
        // A host has to name the tenant where it must, and may where the request's word counts.
        let names_tenant = required.contains(EvidenceKind::Host) || policy.resolution.accept_from_request;
        for host in self.hosts(route, name, names_tenant) {
            let is_called = |method: &str| {
                let lookup =
                    policy.operations.find(host.as_deref(), &path, method.as_bytes(), &borrowed(&headers));
                matches!(lookup, Lookup::Matched { operation, .. } if operation == id)
            };
            let Some(method) = methods(route).into_iter().find(|method| is_called(method)) else { continue };
            let headers = borrowed(&headers);
            let lookup = policy.operations.find(host.as_deref(), &path, method.as_bytes(), &headers);
            let Lookup::Matched { evidence: routed, .. } = lookup else { continue };
            for with_headers in [true, false] {
                let mut evidence = RequestEvidence::new();
                if with_headers {
                    policy.resolution.headers.iter().for_each(|_| {
                        evidence.header(name, &policy.tenants);
                    });
                }
                if let Some(segment) = routed.path_tenant {
                    evidence.path(decode_segment(segment).as_deref(), &policy.tenants);
                }
                let labels = host.iter().flat_map(|host| policy.operations.tenant_labels(host));
                let others = labels.filter(|label| {
                    routed.host_tenant != Some(label) && policy.tenants.named(label).is_some()
                });
                let labels = routed.host_tenant.into_iter().chain(others);
                evidence.host(labels, host.as_deref(), &policy.tenants, |_, _| {});
                let (rules, table) = (&policy.resolution, &policy.tenants);
                match resolve(token, &evidence, required, principal, provider, rules, table) {
                    Ok(tenant) if tenant == self.tenant => return Ok(()),
                    Ok(_) => reason = Reason::TenantMismatch,
                    Err(fault) => reason = fault.reason,
                }
            }
        }
        Err(reason)
    }

    /// Hosts at which the route is called; None stands for one that nothing knows.
    fn hosts(&self, route: &Route, name: &str, names_tenant: bool) -> Vec<Option<String>> {
        let host = |pattern: &HostPattern| match pattern {
            HostPattern::Exact(host) => host.to_string(),
            HostPattern::Tenant { before, after } => format!("{before}{name}{after}"),
        };
        if route.hosts.is_empty() {
            let mut hosts = BTreeSet::new();
            if names_tenant {
                let own = self.policy.tenants.hosts().filter(|(_, tenant)| *tenant == self.tenant);
                hosts.extend(own.map(|(host, _)| host.to_owned()));
                let patterns = self.policy.routes.iter().flat_map(|route| &route.hosts);
                let patterns = patterns.filter(|pattern| matches!(pattern, HostPattern::Tenant { .. }));
                hosts.extend(patterns.map(host));
            }
            return std::iter::once(None).chain(hosts.into_iter().map(Some)).collect();
        }
        route.hosts.iter().map(|pattern| Some(host(pattern))).collect()
    }
}

fn methods(route: &Route) -> Vec<&str> {
    match &route.methods {
        Some(methods) => methods.iter().map(|method| &**method).collect(),
        None => vec!["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"],
    }
}

/// A path that the route has, in which no other name stands for the tenant's.
fn sample_path(route: &Route, name: &str) -> String {
    let mut path = String::new();
    for segment in route.path.segments() {
        path.push('/');
        match segment {
            Segment::Literal(text) => path.push_str(text),
            Segment::Name(_) | Segment::Any | Segment::Rest => path.push_str("x0x"),
            Segment::Tenant => {
                for byte in name.bytes() {
                    match byte {
                        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                            path.push(char::from(byte));
                        }
                        _ => path.push_str(&format!("%{byte:02X}")),
                    }
                }
            }
        }
    }
    path
}
