//! What somebody could call with a token that carries all the scopes it may carry: who can reach what.
//!
//! It is decided by the same function as a request's scopes ([`Policy::decide`]); only the token is
//! thought up.

use super::Policy;
use super::best_request::Sender;
use crate::authorize::decide::{Caller, is_lifted};
use crate::authorize::scope::EffectiveScopes;
use crate::authorize::{Access, Application, Enforcement, Tenant};
use crate::ids::OperationId;
use crate::respond::Reason;

/// Somebody under a tenant, with a token that carries certain scopes.
#[derive(Clone, Debug)]
pub struct Holder<'p> {
    policy: &'p Policy,
    tenant: &'p Tenant,
    application: Option<&'p Application>,
    sender: Option<Sender<'p>>,
    token_scopes: Vec<Box<str>>,
    effective: EffectiveScopes,
}

/// What a holder can do with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The operation asks for no token.
    Public,
    /// The operation asks for a token and a tenant, and for no scope.
    Authenticated,
    /// The scopes are enough.
    Granted,
    /// The scopes are not enough, for this reason, and the request passes all the same: enforcement is in `shadow` or
    /// `off`.
    Lifted(Enforcement, Reason),
    /// The request is refused.
    Refused(Reason),
}

impl Reach {
    /// Whether the request passes.
    pub fn passes(self) -> bool {
        match self {
            Self::Public | Self::Authenticated | Self::Granted | Self::Lifted(..) => true,
            Self::Refused(_) => false,
        }
    }
}

impl<'p> Holder<'p> {
    /// `application` of `tenant` with every scope that is assigned to it.
    pub fn application(policy: &'p Policy, tenant: &'p Tenant, application: &'p Application) -> Self {
        Self::new(policy, tenant, Some(application), application.scopes.iter().map(|scope| &**scope))
    }

    /// Any client of `tenant` with every scope that counts for it; for a tenant that registers no applications.
    pub fn any_client(policy: &'p Policy, tenant: &'p Tenant) -> Self {
        let table = &tenant.scope_table;
        match &table.declared {
            Some(declared) => Self::new(policy, tenant, None, declared.keys().map(|scope| &**scope)),
            // Any scope counts, so the token carries whatever stands for some permission that is required.
            None => {
                let mapped = table.mapping.keys().map(|scope| &**scope);
                Self::new(policy, tenant, None, mapped.chain(policy.catalog.permissions.names()))
            }
        }
    }

    /// A token of `tenant` that carries `scope` (without the tenant's prefix) alone: `application`'s, or any client's
    /// where the tenant registers none.
    pub fn scope(
        policy: &'p Policy,
        tenant: &'p Tenant,
        application: Option<&'p Application>,
        scope: &str,
    ) -> Self {
        Self::new(policy, tenant, application, [scope])
    }

    fn new<'s>(
        policy: &'p Policy,
        tenant: &'p Tenant,
        application: Option<&'p Application>,
        scopes: impl IntoIterator<Item = &'s str>,
    ) -> Self {
        let prefix = tenant.scope_prefix.as_deref().unwrap_or_default();
        let token_scopes: Vec<Box<str>> =
            scopes.into_iter().map(|scope| format!("{prefix}{scope}").into()).collect();
        let effective = EffectiveScopes::of(&token_scopes, tenant, application, &policy.catalog.permissions);
        let sender = policy.tenants.named(&tenant.id).map(|id| Sender {
            policy,
            tenant: id,
            providers: match application {
                Some(application) => vec![application.provider],
                None => tenant.providers.to_vec(),
            },
            client: application.map(|application| &*application.client_id),
        });
        Self { policy, tenant, application, sender, token_scopes, effective }
    }

    /// What the holder can do with the operation `id` of the policy, with the best token and request that there can be.
    /// An operation that the policy does not have is refused.
    pub fn reach(&self, id: OperationId) -> Reach {
        let reach = self.reach_by_scopes(id);
        let (true, Some(operation)) =
            (reach.passes() && reach != Reach::Public, self.policy.catalog.operation(id))
        else {
            return reach;
        };
        let obstacle = match &self.sender {
            Some(sender) => sender.obstacle(id, operation),
            None => Some(Reason::TenantUnknown),
        };
        obstacle.map_or(reach, Reach::Refused)
    }

    /// As [`Holder::reach`], for whom the tenant is known already: by what the scopes open alone.
    pub fn reach_by_scopes(&self, id: OperationId) -> Reach {
        let Some(operation) = self.policy.catalog.operation(id) else {
            return Reach::Refused(Reason::OperationNotMapped);
        };
        match operation.access {
            Access::Public => return Reach::Public,
            Access::Authenticated => return Reach::Authenticated,
            Access::Scopes(_) | Access::Undecided => {}
        }
        let caller = Caller {
            tenant: self.tenant,
            application: self.application,
            token_scopes: Some(&self.token_scopes),
            scope_absent_from_introspection: false,
            effective: &self.effective,
        };
        let Err(refusal) = self.policy.decide(id, operation, &caller) else { return Reach::Granted };
        let enforcement = self.policy.enforcement(Some(operation), self.application, self.tenant);
        if is_lifted(refusal.reason, enforcement) {
            Reach::Lifted(enforcement, refusal.reason)
        } else {
            Reach::Refused(refusal.reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_yaml;

    const POLICY: &str = r#"
version: 1
providers: {corp: {issuer: https://i, allow_any_audience: true, local_jwks: {keys: []}}}
tenants:
  - id: acme
    scope_prefix: "acme."
    scopes: [{name: r}, {name: w}, {name: vendor, system: true}]
    scope_mapping: {w: [r, w]}
    suites: [books, ledger]
    applications:
      - {client_id: reader, scopes: [r]}
      - {client_id: writer, scopes: [w]}
      - {client_id: trial, scopes: [], scope_enforcement: shadow}
      - {client_id: vendor, scopes: [vendor]}
  - {id: open}
suites:
  - name: books
    operations:
      - {name: read, path: /books, methods: [GET], requires: [r]}
      - {name: write, path: /books, methods: [POST], requires: [r, w]}
      - {name: health, path: /health, access: public}
      - {name: me, path: /me, access: authenticated}
  - {name: ledger, system: true, operations: [{name: post, path: /ledger, requires: [vendor]}]}
  - {name: other, operations: [{name: go, path: /other, requires: [r]}]}
"#;

    fn of(tenant: &str, client: Option<&str>) -> Vec<Reach> {
        let policy = parse_yaml(POLICY).unwrap().policy;
        let tenant = policy.tenants.tenant(policy.tenants.named(tenant).unwrap()).unwrap();
        let applications = tenant.applications.as_deref().unwrap_or_default();
        let holder = match client {
            None => Holder::any_client(&policy, tenant),
            Some(client) => {
                let application = applications.iter().find(|known| &*known.client_id == client).unwrap();
                Holder::application(&policy, tenant, application)
            }
        };
        (0..6).map(|id| holder.reach_by_scopes(OperationId(id))).collect()
    }

    #[test]
    fn an_application_reaches_what_its_assigned_scopes_stand_for() {
        let missing = Reach::Refused(Reason::ScopeNotGranted);
        let elsewhere = Reach::Refused(Reason::SuiteNotAvailable);
        let odd_suite = Reach::Refused(Reason::ScopeNotAssociatedWithSuite);
        let (public, authenticated) = (Reach::Public, Reach::Authenticated);
        assert_eq!(
            of("acme", Some("reader")),
            [Reach::Granted, missing, public, authenticated, odd_suite, elsewhere]
        );
        assert_eq!(
            of("acme", Some("writer")),
            [Reach::Granted, Reach::Granted, public, authenticated, odd_suite, elsewhere]
        );
        assert_eq!(of("acme", Some("vendor"))[4], Reach::Granted);
        assert!(!of("acme", Some("vendor"))[0].passes());
    }

    #[test]
    fn shadow_lets_pass_what_the_scopes_do_not_open_but_not_a_suite_that_the_tenant_lacks() {
        let reached = of("acme", Some("trial"));
        assert_eq!(reached[0], Reach::Lifted(Enforcement::Shadow, Reason::NoScopesInToken));
        assert_eq!(reached[5], Reach::Refused(Reason::SuiteNotAvailable));
    }

    #[test]
    fn any_client_of_a_tenant_without_declared_scopes_opens_every_suite_but_the_vendors() {
        let reached = of("open", None);
        assert_eq!([reached[0], reached[1], reached[5]], [Reach::Granted; 3]);
        assert!(!reached[4].passes());
    }

    #[test]
    fn a_scope_alone_opens_what_it_stands_for_under_the_tenants_prefix() {
        let policy = parse_yaml(POLICY).unwrap().policy;
        let tenant = policy.tenants.tenant(policy.tenants.named("acme").unwrap()).unwrap();
        let writes = |scope| Holder::scope(&policy, tenant, None, scope).reach_by_scopes(OperationId(1));
        assert_eq!(writes("w"), Reach::Granted);
        assert!(!writes("r").passes());
        assert!(!writes("acme.w").passes());
    }
}
