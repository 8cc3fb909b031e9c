//! The configured tenants, found by every name that evidence may call them by.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::catalog::Enforcement;
use super::requirement::Requirement;
use super::scope_table::ScopeTable;
use crate::authenticate::Revoked;
use crate::collections::seeded_hash::SeededMap;
use crate::ids::{OperationId, ProviderId, SuiteId, TenantId};

/// One configured tenant.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its id, as logs, metrics and the upstream see it.
    pub id: Box<str>,
    /// Providers that may speak for it.
    pub providers: Arc<[ProviderId]>,
    /// What its token scopes begin with; stripped before they are looked at. None: nothing.
    pub scope_prefix: Option<Box<str>>,
    /// Its declared scopes and their mapping.
    pub scope_table: Arc<ScopeTable>,
    /// Its registered OAuth2 clients. None: any client of its providers.
    pub applications: Option<Box<[Application]>>,
    /// Suites that it has, sorted. None: all.
    pub suites: Option<Arc<[SuiteId]>>,
    /// Requirements that it replaces.
    pub overrides: Option<Arc<Overrides>>,
    /// Its own enforcement.
    pub enforcement: Option<Enforcement>,
    /// Tokens that are out of use under it.
    pub revoked: Option<Arc<Revoked>>,
}

impl Tenant {
    /// Whether the tenant has `suite`.
    pub fn has_suite(&self, suite: SuiteId) -> bool {
        self.suites.as_deref().is_none_or(|suites| suites.binary_search(&suite).is_ok())
    }

    /// The application that `client` of `provider` is registered as.
    pub fn application(&self, provider: ProviderId, client: &str) -> Option<&Application> {
        self.application_at(self.application_place(provider, client)?)
    }

    /// The place of that application among the tenant's.
    pub fn application_place(&self, provider: ProviderId, client: &str) -> Option<usize> {
        let is_registered =
            |application: &Application| application.provider == provider && *application.client_id == *client;
        self.applications.as_deref()?.iter().position(is_registered)
    }

    /// The application at a place.
    pub fn application_at(&self, place: usize) -> Option<&Application> {
        self.applications.as_deref()?.get(place)
    }

    /// The part of `token_scope` behind the tenant's prefix. None: the scope is not one of this tenant's.
    pub fn strip_prefix<'s>(&self, token_scope: &'s str) -> Option<&'s str> {
        match &self.scope_prefix {
            None => Some(token_scope),
            Some(prefix) => token_scope.strip_prefix(&**prefix),
        }
    }
}

/// A registered OAuth2 client of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The provider whose client it is: client ids of two issuers have nothing to do with each other.
    pub provider: ProviderId,
    /// The `client_id`.
    pub client_id: Box<str>,
    /// Scopes assigned to it, sorted, without the tenant's prefix.
    pub scopes: Arc<[Box<str>]>,
    /// Its own enforcement.
    pub enforcement: Option<Enforcement>,
}

/// A tenant's replacements for what suites and operations require.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Instead of a suite's own scopes.
    pub suites: SeededMap<SuiteId, Requirement>,
    /// Instead of an operation's own requirement.
    pub operations: SeededMap<OperationId, Requirement>,
}

/// All tenants, with the indexes by which evidence finds them. Every lookup costs the same however many there are.
#[derive(Clone, Debug, Default)]
pub struct TenantTable {
    tenants: Vec<Tenant>,
    by_name: SeededMap<Box<str>, TenantId>,
    by_audience: SeededMap<Box<str>, Vec<TenantId>>,
    by_host: SeededMap<Box<str>, Vec<TenantId>>,
    /// Per provider: how many tenants it may speak for, one of them, and where its clients are registered.
    by_provider: SeededMap<ProviderId, ProviderTenants>,
    /// Scope prefixes, sorted; none begins another.
    prefixes: BTreeSet<Box<str>>,
}

#[derive(Clone, Debug, Default)]
struct ProviderTenants {
    count: usize,
    first: Option<TenantId>,
    registrations: SeededMap<Box<str>, Vec<TenantId>>,
}

/// The names by which evidence may call a tenant.
#[derive(Clone, Debug, Default)]
pub struct TenantNames {
    /// Other names than the id.
    pub aliases: Vec<Box<str>>,
    /// Audiences that name it.
    pub audiences: Vec<Box<str>>,
    /// Hosts that name it, in canonical form.
    pub hosts: Vec<Box<str>>,
}

impl TenantTable {
    /// Adds a tenant. The configuration has made sure that ids and aliases are unique and prefixes are prefix-free.
    pub fn push(&mut self, tenant: Tenant, names: TenantNames) -> TenantId {
        let id = TenantId(u32::try_from(self.tenants.len()).unwrap_or(u32::MAX));
        self.by_name.insert(tenant.id.clone(), id);
        for alias in names.aliases {
            self.by_name.insert(alias, id);
        }
        for audience in names.audiences {
            self.by_audience.entry(audience).or_default().push(id);
        }
        for host in names.hosts {
            self.by_host.entry(host).or_default().push(id);
        }
        for provider in tenant.providers.iter() {
            let known = self.by_provider.entry(*provider).or_default();
            known.count += 1;
            known.first.get_or_insert(id);
        }
        for application in tenant.applications.as_deref().unwrap_or_default() {
            let known = self.by_provider.entry(application.provider).or_default();
            let tenants = known.registrations.entry(application.client_id.clone()).or_default();
            if !tenants.contains(&id) {
                tenants.push(id);
            }
        }
        if let Some(prefix) = &tenant.scope_prefix {
            self.prefixes.insert(prefix.clone());
        }
        self.tenants.push(tenant);
        id
    }

    /// How many tenants there are.
    pub fn len(&self) -> usize {
        self.tenants.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    /// All tenants, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = (TenantId, &Tenant)> {
        self.tenants
            .iter()
            .enumerate()
            .map(|(place, tenant)| (TenantId(u32::try_from(place).unwrap_or(u32::MAX)), tenant))
    }

    /// The tenant behind an id that this table gave.
    pub fn tenant(&self, id: TenantId) -> Option<&Tenant> {
        self.tenants.get(id.0 as usize)
    }

    /// The tenant that is called `name`, by id or alias, byte for byte.
    pub fn named(&self, name: &str) -> Option<TenantId> {
        self.by_name.get(name).copied()
    }

    /// The same as a list of one.
    pub(super) fn alone(&self, name: &str) -> Option<&[TenantId]> {
        self.by_name.get(name).map(std::slice::from_ref)
    }

    /// Every id and alias with its tenant, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = (&str, TenantId)> {
        self.by_name.iter().map(|(name, tenant)| (&**name, *tenant))
    }

    /// Every audience that names tenants by itself, with each of them, in no particular order.
    pub fn audiences(&self) -> impl Iterator<Item = (&str, TenantId)> {
        pairs(&self.by_audience)
    }

    /// Every host that names tenants by itself, with each of them, in no particular order.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, TenantId)> {
        pairs(&self.by_host)
    }

    /// The tenants that `host`, in canonical form, names by itself.
    pub fn at_host(&self, host: &str) -> Option<&[TenantId]> {
        self.by_host.get(host).map(Vec::as_slice)
    }

    /// The tenants that `audience` names by itself.
    pub fn with_audience(&self, audience: &str) -> Option<&[TenantId]> {
        self.by_audience.get(audience).map(Vec::as_slice)
    }

    /// Whether `provider` may speak for `tenant`.
    pub fn may_speak(&self, provider: ProviderId, tenant: TenantId) -> bool {
        self.tenant(tenant).is_some_and(|tenant| tenant.providers.contains(&provider))
    }

    /// Tenants where `client` of `provider` is registered.
    pub fn registered(&self, provider: ProviderId, client: &str) -> &[TenantId] {
        self.by_provider
            .get(&provider)
            .and_then(|known| known.registrations.get(client))
            .map_or(&[], Vec::as_slice)
    }

    /// What stands behind the scope prefix of another tenant than `own`, if `token_scope` carries one.
    pub fn strip_other_prefix<'s>(&self, own: &Tenant, token_scope: &'s str) -> Option<&'s str> {
        // No prefix begins another, so the last one that sorts at or before the scope is the only candidate.
        let prefix =
            self.prefixes.range::<str, _>((Bound::Unbounded, Bound::Included(token_scope))).next_back()?;
        if own.scope_prefix.as_ref() == Some(prefix) { None } else { token_scope.strip_prefix(&**prefix) }
    }

    pub(super) fn speaks_for(&self, provider: ProviderId) -> (usize, &[TenantId]) {
        self.by_provider.get(&provider).map_or((0, &[]), |known| (known.count, known.first.as_slice()))
    }
}

fn pairs(index: &SeededMap<Box<str>, Vec<TenantId>>) -> impl Iterator<Item = (&str, TenantId)> {
    index.iter().flat_map(|(name, tenants)| tenants.iter().map(move |tenant| (&**name, *tenant)))
}
