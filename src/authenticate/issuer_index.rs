//! Which provider a token's `iss` names.

use super::rules::TenantPattern;
use crate::collections::seeded_hash::SeededMap;
use crate::ids::ProviderId;

/// Finds the provider that a token's `iss` names: an exact issuer comes before a pattern, and patterns do not overlap.
#[derive(Clone, Debug, Default)]
pub struct IssuerIndex {
    exact: SeededMap<Box<str>, ProviderId>,
    patterns: Vec<(TenantPattern, ProviderId)>,
}

impl IssuerIndex {
    /// The index over the providers' issuers; None for a provider whose tokens are known by introspection alone.
    pub fn new<'p>(issuers: impl Iterator<Item = (ProviderId, Option<&'p TenantPattern>)>) -> Self {
        let mut index = Self::default();
        for (id, issuer) in issuers {
            match issuer {
                None => {}
                Some(TenantPattern::Exact(issuer)) => {
                    index.exact.insert(issuer.clone(), id);
                }
                Some(pattern @ TenantPattern::Tenant { .. }) => index.patterns.push((pattern.clone(), id)),
            }
        }
        index
    }

    /// The provider that `issuer` names, and the tenant's name at `{tenant}` if its issuer is a pattern. A name that
    /// is no tenant's fits no pattern.
    pub fn find<'i>(
        &self,
        issuer: &'i str,
        is_tenant: &dyn Fn(&str) -> bool,
    ) -> Option<(ProviderId, Option<&'i str>)> {
        if let Some(provider) = self.exact.get(issuer) {
            return Some((*provider, None));
        }
        self.patterns.iter().find_map(|(pattern, provider)| {
            let name = pattern.tenant_name(issuer).filter(|name| is_tenant(name))?;
            Some((*provider, Some(name)))
        })
    }
}
