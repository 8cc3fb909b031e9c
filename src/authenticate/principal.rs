//! Who calls: what a verified token says, in the terms that tenant resolution and scope matching use.

use std::time::Duration;

use crate::jose::json::{Object, heap_bytes};

/// The outcome of authentication. It holds nothing that depends on tenants, suites or scopes of the configuration, so
/// that it may be cached across reloads for as long as its provider's configuration and keys stay the same; not even
/// the provider's place in the configuration, which another provider may shift.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// `iss`.
    pub issuer: Option<Box<str>>,
    /// What stands at `{tenant}` in the issuer, where the provider's issuer holds it.
    pub issuer_tenant: Option<Box<str>>,
    /// The first present subject claim.
    pub subject: Option<Box<str>>,
    /// The first present client claim.
    pub client: Option<Box<str>>,
    /// `aud`, None where it is absent.
    pub audiences: Option<Box<[Box<str>]>>,
    /// Every present tenant claim; an error where one names nothing, which is judged when the tenant is. They are read by
    /// [`Self::tenants_named`].
    pub tenant_claims: Result<Box<[TenantClaim]>, MalformedTenantClaim>,
    /// The token's scopes, None where it speaks of none at all.
    pub scopes: Option<Box<[Box<str>]>>,
    /// Whether the token was introspected and the response had no scope member.
    pub scope_absent_from_introspection: bool,
    /// `iat`, since the epoch.
    pub issued_at: Option<Duration>,
    /// All claims (of an introspected opaque token: all members): what `forward.headers` and `required_claims` of an
    /// operation read.
    pub claims: Object,
}

impl Principal {
    /// The tenant claims, where one may list several tenants only if `claim_lists`.
    ///
    /// # Errors
    ///
    /// One of them has no usable value.
    pub fn tenants_named(&self, claim_lists: bool) -> Result<&[TenantClaim], MalformedTenantClaim> {
        let claims = self.tenant_claims.as_deref().map_err(|malformed| *malformed)?;
        let is_list = |claim: &TenantClaim| matches!(claim, TenantClaim::List(_));
        if !claim_lists && claims.iter().any(is_list) { Err(MalformedTenantClaim) } else { Ok(claims) }
    }

    /// What it takes on the heap, in bytes, about.
    pub fn heap_bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        let list =
            |list: &[Box<str>]| list.iter().map(|text| size_of::<Box<str>>() + text.len()).sum::<usize>();
        let texts = [&self.issuer, &self.issuer_tenant, &self.subject, &self.client].map(text);
        texts.into_iter().sum::<usize>()
            + self.audiences.as_deref().map_or(0, list)
            + self.tenant_claims.as_deref().map_or(0, |claims| {
                let names = claims.iter().map(|claim| list(claim.names()));
                size_of_val(claims) + names.sum::<usize>()
            })
            + self.scopes.as_deref().map_or(0, list)
            + heap_bytes(&self.claims)
    }
}

/// What one claim says of tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantClaim {
    /// This one: a non-empty string, or an integer.
    One(Box<str>),
    /// The token speaks for each of these: the elements of an array or the names of an object's members, at least one.
    List(Box<[Box<str>]>),
}

impl TenantClaim {
    /// The names in it.
    pub fn names(&self) -> &[Box<str>] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::List(names) => names,
        }
    }
}

/// A tenant claim that is present and names nothing: neither a non-empty string nor an integer, nor a list of such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedTenantClaim;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_part_counts_with_the_bytes_that_it_takes() {
        const NAME: usize = size_of::<Box<str>>();
        let names = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<Box<[Box<str>]>>();
        let nobody = Principal {
            issuer: None,
            issuer_tenant: None,
            subject: None,
            client: None,
            audiences: None,
            tenant_claims: Ok(Box::new([])),
            scopes: None,
            scope_absent_from_introspection: false,
            issued_at: None,
            claims: Object::new(),
        };
        assert_eq!(nobody.heap_bytes(), 0);
        let tenants = [TenantClaim::One("acme".into()), TenantClaim::List(names(&["one", "two"]))];
        let claims = json!({"jti": "12345", "amr": ["pwd"]}).as_object().unwrap().clone();
        let somebody = Principal {
            issuer: Some("https://idp.example".into()),
            issuer_tenant: Some("acme".into()),
            subject: Some("alice".into()),
            client: Some("app".into()),
            audiences: Some(names(&["api", "other"])),
            tenant_claims: Ok(Box::new(tenants)),
            scopes: Some(names(&["read", "write"])),
            claims: claims.clone(),
            ..nobody
        };
        let texts = "https://idp.example".len() + "acme".len() + "alice".len() + "app".len();
        let audiences = 2 * NAME + "api".len() + "other".len();
        let tenants = 2 * size_of::<TenantClaim>() + 3 * NAME + "acme".len() + "one".len() + "two".len();
        let scopes = 2 * NAME + "read".len() + "write".len();
        assert_eq!(somebody.heap_bytes(), texts + audiences + tenants + scopes + heap_bytes(&claims));
    }
}
