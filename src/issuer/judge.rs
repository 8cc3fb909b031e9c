//! What an introspection response comes to: a caller, a refusal, or the issuer's fault.
//!
//! 1. A response that says the token is inactive refuses it, for as long as `negative_ttl`.
//! 2. An active one is checked as a token's claims are: issuer, type, times, audience, required members and values.
//! 3. Where each tenant has an endpoint of its own, the response's issuer must be that tenant's.
//! 4. Where the token is a JWT that is not verified here, the response must be about its issuer; nothing else is taken from it.
//! 5. Where the token is a JWT that was verified before, both must name the same issuer, subject, client and tenant;
//!    scopes are those that both grant.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::fault::IssuerFault;
use super::introspection::{Response, read_response};
use super::provider::{Introspection, Provider};
use super::question::Question;
use crate::authenticate::claims::{Claims, Confirmation};
use crate::authenticate::{
    AudienceRule, RequiredValue, TenantClaim, TokenError, TokenRules, UntrustedToken, looks_like_jwt,
};
use crate::authorize::TenantTable;
use crate::identity::Identity;
use crate::ids::TenantId;
use crate::policy::Policy;
use crate::respond::{Reason, Rejection};

/// What introspection came to, for everyone who waited.
#[derive(Clone, Debug)]
pub enum IntrospectionOutcome {
    /// The token is active and passes the provider's rules.
    Active(Rc<Identity>),
    /// The token is refused.
    Refused {
        /// Why.
        rejection: Rejection,
        /// The generation of the policy whose tenants had a part in it; None where the issuer alone refused.
        under: Option<u64>,
    },
    /// The issuer could not be asked.
    Fault(IssuerFault),
}

/// What an answer is about.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The token, and in whose realm.
    pub question: Question<'a>,
    /// What the token is by itself, where it is a JWT that was verified.
    pub jwt: Option<&'a Rc<Identity>>,
}

/// What a reply received at `received_at` comes to, and until when that may be remembered.
pub fn conclude(
    policy: &Policy,
    rules: &Provider,
    introspection: &Introspection,
    asked: Asked<'_>,
    reply: Result<(u16, &[u8]), IssuerFault>,
    received_at: Duration,
    now: Duration,
) -> (IntrospectionOutcome, Duration) {
    let response = reply.and_then(|(status, body)| {
        read_response(status, body, introspection.max_response_bytes, &rules.rules.claims)
    });
    let refused_until = received_at.saturating_add(introspection.negative_ttl);
    match response {
        Err(fault) => (IntrospectionOutcome::Fault(fault), now),
        Ok(Response::Inactive) => {
            let rejection = Reason::TokenInactive.into();
            (IntrospectionOutcome::Refused { rejection, under: None }, refused_until)
        }
        Ok(Response::Active(claims)) => {
            let expires_at = claims.expires_at();
            match judge(policy, rules, introspection, asked, *claims, now) {
                Ok(identity) => {
                    let oldest = received_at.saturating_add(introspection.max_ttl);
                    let until = expires_at.map_or(oldest, |expires_at| oldest.min(expires_at));
                    (IntrospectionOutcome::Active(Rc::new(identity)), until)
                }
                Err(Rejected::Fault(fault)) => (IntrospectionOutcome::Fault(fault), now),
                Err(Rejected::Refused(error)) => {
                    // What time alone decides is not remembered.
                    let until = match error {
                        TokenError::Expired | TokenError::NotYetValid | TokenError::TooOld => now,
                        _ => refused_until,
                    };
                    let under = Some(policy.generation);
                    (IntrospectionOutcome::Refused { rejection: error.into(), under }, until)
                }
            }
        }
    }
}

/// What an active response comes to.
fn judge(
    policy: &Policy,
    provider: &Provider,
    introspection: &Introspection,
    Asked { question, jwt }: Asked<'_>,
    mut claims: Claims,
    now: Duration,
) -> Result<Identity, Rejected> {
    if let Some(issuer) = issuer_of_unverified(provider, question.token) {
        if differ(Some(&issuer), claims.issuer()) {
            return Err(Rejected::Fault(IssuerFault::Contradiction("issuer")));
        }
        // By it the token was brought here, and its issuer says that the token is good.
        claims.set_issuer(issuer);
    }
    if jwt.is_some_and(|jwt| differ(jwt.principal.issuer.as_deref(), claims.issuer())) {
        return Err(Rejected::Fault(IssuerFault::Contradiction("issuer")));
    }
    // RFC 7662 answers about refresh tokens too, and some servers about ID tokens.
    let is_access_token =
        |kind: &str| ["bearer", "dpop"].iter().any(|known| known.eq_ignore_ascii_case(kind));
    if !claims.text("token_type").is_none_or(is_access_token) {
        return Err(TokenError::TypeNotAccepted.into());
    }
    let issuer_tenant = issuer_tenant(policy, provider, &claims)?;
    if let (Some(asked), Some(named)) = (question.tenant, issuer_tenant.as_deref()) {
        if policy.tenants.named(asked) != policy.tenants.named(named) {
            return Err(Rejected::Fault(IssuerFault::Contradiction("issuer")));
        }
    }
    // Of a JWT its own claims were checked; what the response repeats of them must have the values too.
    let is_asked = |required: &&RequiredValue| jwt.is_none() || claims.has_at(&required.path);
    // Presence is `required_members`' matter: RFC 7662 makes all but `active` optional.
    let audiences =
        if claims.audiences().is_some() { provider.rules.audiences.clone() } else { AudienceRule::Any };
    let rules = TokenRules {
        audiences,
        require_expiration: false,
        required_claims: Vec::new(),
        profile: None,
        required_values: provider.rules.required_values.iter().filter(is_asked).cloned().collect(),
        max_token_age: provider.rules.max_token_age.filter(|_| claims.issued_at().is_some()),
        ..provider.rules.clone()
    };
    let is_tenant = |name: &str| policy.tenants.named(name).is_some();
    claims.check_use(&rules)?;
    claims.check(&rules, now, &is_tenant)?;
    let absent = introspection.required_members.iter().find(|name| !claims.has(name));
    if let Some(name) = absent {
        return Err(TokenError::ClaimMissing(name.to_string().into()).into());
    }
    let mut identity = Identity::new(provider, issuer_tenant.as_deref(), claims, None);
    identity.principal.scope_absent_from_introspection = identity.principal.scopes.is_none();
    match jwt {
        None => Ok(identity),
        Some(jwt) => combine(jwt, &identity, policy).map_err(Rejected::Fault),
    }
}

/// The `iss` of a JWT that is not verified here, since its provider has no keys.
fn issuer_of_unverified(provider: &Provider, token: &str) -> Option<Box<str>> {
    if !provider.knows_jwts_by_introspection() || !looks_like_jwt(token) {
        return None;
    }
    UntrustedToken::parse(token).ok()?.issuer().ok()?.map(Box::from)
}

/// The tenant's name in the response's issuer.
fn issuer_tenant(
    policy: &Policy,
    provider: &Provider,
    claims: &Claims,
) -> Result<Option<String>, TokenError> {
    let (Some(expected), Some(issuer)) = (&provider.issuer, claims.issuer()) else { return Ok(None) };
    let found = policy.provider_of_issuer(issuer);
    let names_this = found.is_some_and(|(id, _)| {
        policy.provider(id).is_some_and(|found| found.issuer.as_ref() == Some(expected))
    });
    match found {
        Some((_, tenant)) if names_this => Ok(tenant.map(str::to_owned)),
        Some(_) | None => Err(TokenError::IssuerUnknown),
    }
}

/// Why an active response does not make the token a good one.
enum Rejected {
    /// The token is refused.
    Refused(TokenError),
    /// The response cannot be used.
    Fault(IssuerFault),
}

impl From<TokenError> for Rejected {
    fn from(error: TokenError) -> Self {
        Self::Refused(error)
    }
}

/// A JWT's identity together with what introspection says of it: what both name must be the same, scopes are those that
/// both grant where both speak of scopes, and either may bind the token to its sender.
fn combine(jwt: &Identity, answer: &Identity, policy: &Policy) -> Result<Identity, IssuerFault> {
    let (signed, said) = (&jwt.principal, &answer.principal);
    let claim_lists = policy.resolution.claim_lists;
    let tenants_differ = match (signed.tenants_named(claim_lists), said.tenants_named(claim_lists)) {
        // Each of them names the same tenants as any other, or is refused for that later.
        (Ok(signed), Ok(said)) => {
            let said: Vec<_> = said.iter().map(|claim| named_by(claim, &policy.tenants)).collect();
            signed
                .iter()
                .map(|claim| named_by(claim, &policy.tenants))
                .any(|one| said.iter().any(|other| one != *other))
        }
        // An odd claim of the JWT is judged when its tenant is; of the response, it is the issuer's fault.
        (Err(_), Ok(_)) => false,
        (_, Err(_)) => true,
    };
    let contradictions = [
        ("tenant", tenants_differ),
        ("issuer", differ(signed.issuer.as_deref(), said.issuer.as_deref())),
        ("subject", differ(signed.subject.as_deref(), said.subject.as_deref())),
        ("client", differ(signed.client.as_deref(), said.client.as_deref())),
    ];
    if let Some((what, _)) = contradictions.into_iter().find(|(_, differs)| *differs) {
        return Err(IssuerFault::Contradiction(what));
    }
    let scopes = match (&signed.scopes, &said.scopes) {
        (Some(signed), Some(said)) => {
            Some(signed.iter().filter(|scope| said.contains(scope)).cloned().collect())
        }
        (Some(scopes), None) | (None, Some(scopes)) => Some(scopes.clone()),
        (None, None) => None,
    };
    let confirmation = match (jwt.confirmation, answer.confirmation) {
        (Confirmation::None, other) | (other, Confirmation::None) => other,
        (one, other) if one == other => one,
        _ => Confirmation::Unsupported,
    };
    Ok(jwt.narrowed(scopes, said.scope_absent_from_introspection, answer.expires_at, confirmation))
}

/// What a claim names, each tenant once by whatever name, and the names that are no tenant's.
fn named_by<'c>(claim: &'c TenantClaim, tenants: &TenantTable) -> BTreeSet<Result<TenantId, &'c str>> {
    claim.names().iter().map(|name| tenants.named(name).ok_or(&**name)).collect()
}

/// Whether both are there and are not the same.
fn differ(one: Option<&str>, other: Option<&str>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}
