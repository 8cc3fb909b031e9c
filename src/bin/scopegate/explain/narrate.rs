//! Puts into words what each step of a request's way found.
//!
//! What happened comes from the filter's own facts and trace; the configuration is asked only for names and
//! for what stands beside them. The token, the query and the values of cookies are never shown.

use std::time::Duration;

use scopegate::authenticate::{AudienceRule, RequiredValue, TenantPattern};
use scopegate::authorize::scope::ScopeFate;
use scopegate::authorize::{Access, EvidenceKind, Operation, Requirement, ScopeKind, Tenant};
use scopegate::exchange::trace::{CredentialFound, EvidenceFound, JwtFound, RouteFound, StepOutcome, Trace};
use scopegate::exchange::{Decision, Facts, Request, Stage};
use scopegate::http::headers::{borrowed, values};
use scopegate::identity::{Identity, TenantStanding};
use scopegate::ids::{OperationId, PermissionId, ProviderId, TenantId};
use scopegate::issuer::calls::CallKind;
use scopegate::issuer::discovery::{INTROSPECTION_ENDPOINT, JWKS_URI};
use scopegate::issuer::provider::{Provider, ProviderKeys};
use scopegate::policy::{Policy, Unmatched};
use scopegate::respond::Rejection;
use scopegate::token_endpoint::Fault;
use serde_json::Value;

use super::explanation::{Edits, ExplainedStep, Explanation};
use super::nearby::{methods_here, nearby};
use super::remedy::remedy;
use super::sender;
use crate::catalog::operation_name;
use crate::clock;
use crate::scene::{Decided, End, Scene, lossy};
use crate::terminal::shown;

/// In their order.
pub const STAGES: [Stage; 8] = [
    Stage::Path,
    Stage::TokenRequest,
    Stage::Operation,
    Stage::Credential,
    Stage::Token,
    Stage::Tenant,
    Stage::Scopes,
    Stage::Forward,
];

/// Explains a request that was decided.
pub fn narrate(scene: &Scene, decided: &Decided) -> Explanation {
    let headers = borrowed(&scene.headers);
    let request = Request::new(&headers);
    let policy = &decided.active.policy;
    let mut edits = Edits::default();
    let (facts, rejection, fault) = match &decided.end {
        End::Forwarded(forward) => {
            forward.edit(&request, policy, &mut edits);
            (&forward.facts, None, None)
        }
        End::Refused(rejection, facts) => (facts, Some(rejection), None),
        End::TokenRequestRefused(fault, facts) => (facts, None, Some(fault)),
        End::Told(_, facts) => (facts, None, None),
    };
    let strip = policy.strip_failure_response;
    let has_authorization = values(&headers, "authorization").next().is_some();
    let answer = rejection
        .map(|rejection| decided.active.answers.to(rejection, false).into_owned())
        .or_else(|| match &decided.end {
            End::Told(answer, _) => Some(answer.clone()),
            End::Forwarded(_) | End::Refused(..) | End::TokenRequestRefused(..) => None,
        })
        .or_else(|| fault.map(|fault| fault.answer(&policy.realm, has_authorization, strip)));
    let trace = &decided.trace;
    let narrator = Narrator { scene, request: &request, decided, policy, facts, trace, rejection, fault };
    Explanation {
        steps: STAGES
            .into_iter()
            // Most requests have nothing to do with it.
            .filter(|stage| *stage != Stage::TokenRequest || trace.outcome(*stage) != StepOutcome::Skipped)
            .map(|stage| narrator.step(stage))
            .collect(),
        decision: facts.decision,
        reason: facts.reason,
        stage: facts.stage,
        answer,
        error: fault.map(|fault| fault.error().as_str()),
        description: rejection
            .map(|rejection| rejection.description().into_owned())
            .or_else(|| fault.map(Fault::description)),
        remedy: rejection.map(remedy).or_else(|| fault.map(Fault::description)),
        edits,
    }
}

struct Narrator<'t> {
    scene: &'t Scene,
    request: &'t Request<'t>,
    decided: &'t Decided,
    policy: &'t Policy,
    facts: &'t Facts,
    trace: &'t Trace,
    rejection: Option<&'t Rejection>,
    fault: Option<&'t Fault>,
}

/// The details of a step, as they are gathered.
#[derive(Default)]
pub(super) struct Details(Vec<(String, String)>);

impl Details {
    pub(super) fn add(&mut self, name: &str, value: impl Into<String>) {
        const LONGEST: usize = 300;
        let value: String = value.into();
        let mut text: String = value.chars().take(LONGEST).collect();
        if text.len() < value.len() {
            text.push('…');
        }
        self.0.push((name.to_owned(), text));
    }
}

impl Narrator<'_> {
    fn step(&self, stage: Stage) -> ExplainedStep {
        let outcome = self.trace.outcome(stage);
        let mut details = Details::default();
        let mut conclusion = match outcome {
            StepOutcome::Skipped => self.why_skipped().to_owned(),
            StepOutcome::Passed | StepOutcome::Lifted | StepOutcome::Refused => match stage {
                Stage::Path => self.path(&mut details),
                Stage::TokenRequest => self.token_request(&mut details),
                Stage::Operation => self.operation(&mut details),
                Stage::Credential => self.credential(&mut details),
                Stage::Token => self.token(&mut details),
                Stage::Tenant => self.tenant(&mut details),
                Stage::Scopes => self.scopes(&mut details),
                Stage::Forward => self.forward(),
            },
        };
        if let (StepOutcome::Refused, Some(rejection)) = (outcome, self.rejection) {
            conclusion = format!("{}: {}", rejection.reason, rejection.description());
        }
        ExplainedStep {
            stage,
            outcome,
            details: details.0.into_iter().map(|(name, value)| (shown(&name), shown(&value))).collect(),
            conclusion: shown(&conclusion),
        }
    }

    fn why_skipped(&self) -> &'static str {
        match (self.rejection, self.fault) {
            (None, None) if matches!(self.decided.end, End::Told(..)) => {
                "not needed: the filter answers with the resource's metadata"
            }
            (None, None) if self.facts.stage == Stage::TokenRequest => "not needed: it is a token request",
            (None, None) => "not needed: the request passes without a token",
            (_, _) => "not reached",
        }
    }

    fn path(&self, details: &mut Details) -> String {
        match &self.trace.path {
            Some(found) => {
                details.add("path", &*found.path);
                if found.has_query {
                    details.add("query", "takes no part in matching, and is not shown");
                }
            }
            // Up to the query, as far as one can tell what that is.
            None => details
                .add("path", lossy(self.request.path.split(|byte| *byte == b'?').next().unwrap_or_default())),
        }
        if self.trace.is_cors_preflight {
            details.add("preflight", "a CORS preflight request, which `bypass_cors_preflight` lets pass");
        }
        "everybody reads it in one way".to_owned()
    }

    fn token_request(&self, details: &mut Details) -> String {
        if self.trace.is_cors_preflight && self.fault.is_none() {
            return "a preflight request to a token endpoint, with neither parameters nor a body".to_owned();
        }
        let facts = self.facts.token_request.as_deref();
        if let Some(client) = facts.and_then(|facts| facts.client.as_ref()) {
            details.add("client", &*client.client_id);
            details.add("tenant", format!("`{}`", self.tenant_name(client.tenant)));
        }
        match (facts.and_then(|facts| facts.fault.as_ref()), &self.decided.end) {
            (Some(fault), _) => format!("{}: {}", fault.error().as_str(), fault.description()),
            (None, End::Forwarded(forward)) if forward.body.is_some() => {
                "the form is changed to the scopes that the application has".to_owned()
            }
            (None, _) => "the form asks for what the application may have".to_owned(),
        }
    }

    fn operation(&self, details: &mut Details) -> String {
        let host = self.trace.host.as_deref();
        details.add("method", lossy(self.request.method));
        details.add("host", host.unwrap_or("none, so only operations for any host match"));
        details.add("scheme", lossy(self.request.scheme));
        let later = "; answered at step 6, to callers with a valid token";
        match self.trace.route {
            None => String::new(),
            Some(RouteFound::Matched) => {
                self.called().map_or_else(String::new, |(id, operation)| self.matched(id, operation, details))
            }
            Some(RouteFound::Unmatched) => match self.policy.unmatched {
                Unmatched::Allow => {
                    "no operation matches, and `unmatched: allow` lets such requests pass".to_owned()
                }
                Unmatched::Authenticated => {
                    "no operation matches, and `unmatched: authenticated` asks for a token and a tenant only"
                        .to_owned()
                }
                Unmatched::Deny => {
                    if let Some(near) = nearby(self.request, host, self.policy) {
                        details.add("nearby", near);
                    }
                    format!("no operation matches{later}")
                }
            },
            Some(RouteFound::MethodNotMapped) => {
                let methods = methods_here(self.request, host, self.policy);
                details.add("methods mapped here", methods.join(" "));
                format!("host and path match, the method does not{later}")
            }
            Some(RouteFound::Header) => {
                format!("host, path and method match, the headers choose no operation{later}")
            }
        }
    }

    fn matched(&self, id: OperationId, operation: &Operation, details: &mut Details) -> String {
        if let Some(route) = self.policy.route(id) {
            details.add("pattern", route.path.to_string());
        }
        if operation.require_tls {
            details.add("require_tls", "the scheme must be https");
        }
        let access = match &operation.access {
            Access::Scopes(_) => "asks for a token, a tenant and scopes",
            Access::Authenticated => "asks for a token and a tenant, for no scope",
            Access::Public => "is public: asks for nothing",
            Access::Undecided => "is closed to everybody: its `access` is `undecided`",
        };
        format!("`{}` {access}", operation_name(self.policy, operation))
    }

    fn credential(&self, details: &mut Details) -> String {
        let Some(CredentialFound { place, length, digest, is_jwt, providers }) = &self.trace.credential
        else {
            let places = self.policy.places.iter().map(|(place, prefix, _)| match prefix.trim() {
                "" => place.to_string(),
                prefix => format!("{place} after `{prefix}`"),
            });
            details.add("looked in", places.collect::<Vec<_>>().join(", "));
            return String::new();
        };
        let place = place.as_ref();
        details.add("place", place.to_string());
        let digest = base16ct::lower::encode_string(digest);
        details.add("token", format!("{length} bytes, SHA-256 begins {digest}"));
        let names = providers.iter().filter_map(|id| self.policy.provider(*id));
        details.add("providers", names.map(|provider| &*provider.name).collect::<Vec<_>>().join(", "));
        let kind = if *is_jwt { "a JWT" } else { "an opaque token" };
        format!("{kind} in the {place}")
    }

    fn token(&self, details: &mut Details) -> String {
        let jwt = self.trace.jwt.as_ref();
        if let Some(JwtFound { algorithm, key_id, .. }) = jwt {
            let algorithm = algorithm.map_or("one that is not implemented", |algorithm| algorithm.as_str());
            details.add("alg", algorithm);
            details.add("kid", key_id.as_deref().unwrap_or("none"));
        }
        if let Some(provider) = self.trace.provider.and_then(|id| self.policy.provider(id)) {
            details.add("provider", &*provider.name);
            if jwt.is_some() && !provider.knows_jwts_by_introspection() {
                terms_for_jwts(provider, details);
            }
            discovery(provider, details);
            required_values("provider", &provider.rules.required_values, details);
            let more_scopes = &provider.rules.claims.additional_scopes;
            if !more_scopes.is_empty() {
                let paths: Vec<String> = more_scopes.iter().map(ToString::to_string).collect();
                details.add("provider adds scopes from", paths.join(", "));
            }
            let identity = self.facts.identity.as_deref();
            sender::tell(provider, identity, self.request.headers, self.scene, details);
        }
        self.calls(details);
        self.revoked(details);
        match (&self.facts.identity, jwt) {
            (Some(identity), _) => self.identity(identity, details),
            (None, Some(jwt)) => self.unverified_claims(jwt, details),
            (None, None) => {}
        }
        if let Some((_, operation)) = self.called() {
            for accepted in operation.audiences.iter().filter(|accepted| !accepted.is_empty()) {
                details.add("operation accepts audiences", accepted.join(", "));
            }
            if !operation.required_claims.is_empty() {
                let claims: Vec<String> = operation.required_claims.iter().map(ToString::to_string).collect();
                details.add("operation requires claims", claims.join(", "));
            }
            required_values("operation", &operation.required_values, details);
            if let Some(step_up) = &operation.step_up {
                if !step_up.acr_values.is_empty() {
                    details.add("operation requires acr, one of", step_up.acr_values.join(", "));
                }
                if let Some(max_age) = step_up.max_age {
                    details
                        .add("operation requires auth_time", format!("{} s ago at most", max_age.as_secs()));
                }
            }
        }
        let is_verified =
            self.facts.identity.as_ref().is_some_and(|identity| identity.key_fingerprint.is_some());
        match jwt {
            Some(_) if is_verified => "the token is verified".to_owned(),
            Some(_) | None => "the issuer says that the token is active".to_owned(),
        }
    }

    fn calls(&self, details: &mut Details) {
        for call in &self.decided.calls {
            let name = match call.kind {
                CallKind::Keys => "keys",
                CallKind::Introspection => "introspection",
            };
            let answer = match (&call.published, call.answered, &call.fault) {
                (None, false, _) => format!("{}; no file was given, so it is unreachable", call.place),
                (None, true, None) => "; its file answered".to_owned(),
                (None, true, Some(fault)) => format!("{}; its file is of no use: {fault}", call.place),
                (Some(_), _, None) => format!("{}; it answered", call.place),
                (Some(_), _, Some(fault)) => format!("{}; of no use: {fault}", call.place),
            };
            details.add(name, format!("provider `{}` was asked{answer}", call.provider));
            if let Some(published) = &call.published {
                for (name, value) in published.lines() {
                    details.add(&format!("found {name}"), value);
                }
                for problem in &published.problems {
                    details.add("found wrong", &*problem.message);
                }
                continue;
            }
            for key in &call.skipped {
                details.add("key not used", key.to_string());
            }
        }
    }

    fn identity(&self, identity: &Identity, details: &mut Details) {
        let principal = &identity.principal;
        let or_none = |value: &Option<Box<str>>| value.as_deref().unwrap_or("none").to_owned();
        details.add("iss", or_none(&principal.issuer));
        details.add("subject", or_none(&principal.subject));
        details.add("client", or_none(&principal.client));
        let audiences = principal.audiences.as_deref().map(|all| all.join(", "));
        details.add("aud", audiences.unwrap_or_else(|| "none".to_owned()));
        self.time("iat", principal.issued_at, details);
        self.time("refused from (exp and skew)", identity.expires_at, details);
    }

    /// Which list a token is on that was taken out of use.
    fn revoked(&self, details: &mut Details) {
        let Some(identity) = &self.facts.identity else { return };
        let provider = self.trace.provider.and_then(|id| self.policy.provider(id));
        let standing = self.facts.standing.as_ref();
        let tenant = standing.and_then(|standing| self.policy.tenants.tenant(standing.tenant));
        let lists = [
            provider.map(|provider| ("provider", &provider.name, &provider.revoked)),
            tenant.map(|tenant| ("tenant", &tenant.id, &tenant.revoked)),
        ];
        for (whose, name, revoked) in lists.into_iter().flatten() {
            if let Some(cause) = revoked.as_deref().and_then(|revoked| revoked.cause(&identity.principal)) {
                details.add("revoked by", format!("`revoked.{}` of {whose} `{name}`", cause.as_str()));
            }
        }
    }

    fn time(&self, name: &str, moment: Option<Duration>, details: &mut Details) {
        if let Some(moment) = moment {
            let relative = clock::relative(moment, self.scene.now);
            details.add(name, format!("{}, {relative}", clock::format(moment)));
        }
    }

    /// Claims of a token that was refused: what it says, of which nothing is believed.
    fn unverified_claims(&self, jwt: &JwtFound, details: &mut Details) {
        for name in ["typ", "token_use", "at_hash", "c_hash", "iss", "sub", "client_id", "azp", "aud"] {
            if let Some(value) = jwt.claims.get(name) {
                details.add(&format!("claims {name}"), value_text(value));
            }
        }
        for name in ["iat", "nbf", "exp"] {
            let seconds = jwt.claims.get(name).and_then(Value::as_f64);
            let moment = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            self.time(&format!("claims {name}"), moment, details);
        }
    }

    fn tenant(&self, details: &mut Details) -> String {
        if let Some(principal) = self.facts.identity.as_ref().map(|identity| &identity.principal) {
            if principal.tenant_claims.is_err() {
                details.add("claim", "neither a non-empty string nor a list of such");
            } else if principal.tenants_named(self.policy.resolution.claim_lists).is_err() {
                details.add("claim", "a list, which `tenant_resolution.claim_lists` does not allow");
            }
        }
        self.evidence(&[EvidenceKind::Claim, EvidenceKind::Issuer], details);
        if let Some(provider) = self.trace.provider {
            details.add("provider may speak for", self.tenant_names(&self.spoken_for(provider)));
        }
        self.evidence(&[EvidenceKind::Audience, EvidenceKind::Application], details);
        self.evidence(&[EvidenceKind::Header, EvidenceKind::Path, EvidenceKind::Host], details);
        let required: Vec<&str> = self.trace.required.iter().map(EvidenceKind::as_str).collect();
        if !required.is_empty() {
            details.add("required", required.join(", "));
        }
        let tenant = self.facts.standing.as_ref().map(|standing| self.tenant_name(standing.tenant));
        format!("tenant `{}`", tenant.unwrap_or_default())
    }

    fn spoken_for(&self, provider: ProviderId) -> Vec<TenantId> {
        let tenants = &self.policy.tenants;
        tenants.iter().map(|(id, _)| id).filter(|id| tenants.may_speak(provider, *id)).collect()
    }

    fn evidence(&self, kinds: &[EvidenceKind], details: &mut Details) {
        for kind in kinds {
            for EvidenceFound { header, name, tenants, .. } in
                self.trace.evidence.iter().filter(|found| found.kind == *kind)
            {
                let source = match header {
                    Some(header) => format!("{} {header}", kind.as_str()),
                    None => kind.as_str().to_owned(),
                };
                let value = match (kind, tenants.as_slice()) {
                    (EvidenceKind::Application, tenants) => {
                        format!("{name} is registered with {}", self.tenant_names(tenants))
                    }
                    (_, []) => format!("{name} -> no configured tenant"),
                    (_, tenants) => format!("{name} -> {}", self.tenant_names(tenants)),
                };
                details.add(&source, value);
            }
        }
    }

    fn scopes(&self, details: &mut Details) -> String {
        let (Some(identity), Some(standing)) = (&self.facts.identity, &self.facts.standing) else {
            return String::new();
        };
        let Some(tenant) = self.policy.tenants.tenant(standing.tenant) else { return String::new() };
        self.token_scopes(identity, standing, tenant, details);
        let enforcement = self.trace.enforcement.map_or("", |enforcement| enforcement.as_str());
        let lifted = self.trace.lifted.map(|reason| {
            format!("{reason}: {}; lifted by `scope_enforcement: {enforcement}`", reason.meaning())
        });
        let Some((id, operation)) = self.called() else {
            return lifted.unwrap_or_else(|| "no operation, so no scope is asked for".to_owned());
        };
        let name = operation_name(self.policy, operation);
        if !tenant.has_suite(operation.suite) {
            details.add("suites", format!("tenant `{}` does not have the suite of `{name}`", tenant.id));
        }
        let (required, passed) = match &operation.access {
            Access::Scopes(_) => {
                let requirement = self.policy.catalog.requirement(id, tenant);
                let required = requirement.map(|requirement| self.requirement(requirement));
                (required, "the required permissions are held".to_owned())
            }
            Access::Authenticated | Access::Public => (None, format!("`{name}` asks for no scope")),
            Access::Undecided => (
                Some("undecided: closed to everybody".to_owned()),
                format!("`{name}` is closed: its `access` is `undecided`"),
            ),
        };
        details.add("required", required.unwrap_or_else(|| "nothing".to_owned()));
        details.add("enforcement", enforcement);
        lifted.unwrap_or(passed)
    }

    /// What becomes of each scope in the token.
    fn token_scopes(
        &self,
        identity: &Identity,
        standing: &TenantStanding,
        tenant: &Tenant,
        details: &mut Details,
    ) {
        let application = standing.application(self.policy);
        match identity.principal.scopes.as_deref() {
            None => details.add("token's scopes", "none: it has no scope claim"),
            Some([]) => details.add("token's scopes", "none"),
            Some(scopes) => {
                for scope in scopes {
                    let fate = match ScopeFate::of(scope, tenant, application) {
                        ScopeFate::NotPrefixed => {
                            let prefix = tenant.scope_prefix.as_deref().unwrap_or_default();
                            format!("does not count: it lacks the tenant's prefix `{prefix}`")
                        }
                        ScopeFate::NotDeclared(own) => {
                            format!("does not count: tenant `{}` does not declare `{own}`", tenant.id)
                        }
                        ScopeFate::NotAssigned(own) => {
                            format!("does not count: the application is not assigned `{own}`")
                        }
                        ScopeFate::Counts { scope: own, kind } => {
                            let permissions: Vec<&str> = tenant.scope_table.permissions(own).collect();
                            let suites = match kind {
                                ScopeKind::Custom => "",
                                ScopeKind::System => ", for system suites only",
                            };
                            format!("counts{suites}, as {}", permissions.join(" "))
                        }
                    };
                    details.add(&format!("token's scope {scope}"), fate);
                }
            }
        }
        if let Some(application) = application {
            details.add("application is assigned", application.scopes.join(" "));
        }
    }

    fn requirement(&self, requirement: &Requirement) -> String {
        let names = |ids: &[PermissionId]| {
            ids.iter().map(|id| self.policy.catalog.permissions.name(*id)).collect::<Vec<_>>().join(" ")
        };
        match (&*requirement.all_of, &*requirement.any_of) {
            (all, []) => format!("all of {}", names(all)),
            ([], any) => format!("any of {}", names(any)),
            (all, any) => format!("all of {}, and any of {}", names(all), names(any)),
        }
    }

    fn forward(&self) -> String {
        match self.facts.decision {
            Decision::Allow => "the request goes to the upstream".to_owned(),
            Decision::Shadow => {
                "the request goes to the upstream, recorded as one that would be refused".to_owned()
            }
            Decision::Deny => String::new(),
        }
    }

    /// The operation called.
    fn called(&self) -> Option<(OperationId, &Operation)> {
        let id = self.facts.operation?;
        Some((id, self.policy.catalog.operation(id)?))
    }

    fn tenant_name(&self, id: TenantId) -> &str {
        self.policy.tenants.tenant(id).map_or("", |tenant| &tenant.id)
    }

    fn tenant_names(&self, ids: &[TenantId]) -> String {
        const SHOWN: usize = 5;
        let shown = ids.iter().take(SHOWN).map(|id| format!("`{}`", self.tenant_name(*id)));
        let mut names: Vec<String> = shown.collect();
        if ids.len() > SHOWN {
            names.push(format!("{} more", ids.len() - SHOWN));
        }
        match names.as_slice() {
            [] => "no tenant".to_owned(),
            [one] => format!("tenant {one}"),
            several => format!("tenants {}", several.join(", ")),
        }
    }
}

/// What a provider asks of JWTs.
fn terms_for_jwts(provider: &Provider, details: &mut Details) {
    let algorithms: Vec<&str> =
        provider.rules.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
    details.add("provider accepts", algorithms.join(" "));
    if let Some(profile) = provider.rules.profile {
        details.add("provider's profile", profile.as_str());
    }
    match &provider.keys {
        ProviderKeys::Local(keys) => {
            let ids: Vec<&str> = keys.keys().iter().map(|key| key.key_id().unwrap_or("no kid")).collect();
            details.add("local_jwks has keys", ids.join(", "));
        }
        ProviderKeys::Remote(_) | ProviderKeys::None => {}
    }
    if let AudienceRule::OneOf(patterns) = &provider.rules.audiences {
        let patterns = patterns.iter().map(|pattern| match pattern {
            TenantPattern::Exact(exact) => exact.to_string(),
            TenantPattern::Tenant { prefix, suffix } => format!("{prefix}{{tenant}}{suffix}"),
        });
        details.add("provider accepts audiences", patterns.collect::<Vec<_>>().join(", "));
    }
}

/// What the issuer's metadata is taken for, and from where.
fn discovery(provider: &Provider, details: &mut Details) {
    let ProviderKeys::Remote(remote) = &provider.keys else { return };
    let Some(discovery) = &remote.discovery else { return };
    let mut gives = Vec::new();
    if discovery.configured_keys.is_none() {
        gives.push(JWKS_URI);
    }
    if discovery.gives_introspection {
        gives.push(INTROSPECTION_ENDPOINT);
    }
    let gives = if gives.is_empty() { "nothing".to_owned() } else { gives.join(" and ") };
    let hosts = discovery.allowed_hosts.join(", ");
    details.add("provider's metadata gives", format!("{gives}, at the hosts {hosts}"));
}

fn required_values(whose: &str, required: &[RequiredValue], details: &mut Details) {
    if !required.is_empty() {
        let values: Vec<String> = required.iter().map(ToString::to_string).collect();
        details.add(&format!("{whose} requires values"), values.join("; "));
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}
