//! What each step of a request's way saw and concluded.
//!
//! The end comes from the exchange; everything shown beside it is looked up with the functions that the exchange uses.
//! The token, the query and the values of cookies are never shown.

use std::time::Duration;

use scopegate::authenticate::{AudienceRule, TenantPattern, UntrustedToken, looks_like_jwt};
use scopegate::authorize::scope::is_assigned;
use scopegate::authorize::{Access, EvidenceKind, Operation, Requirement, ScopeKind, Tenant};
use scopegate::credential::PlaceRef;
use scopegate::exchange::{Decision, Facts, HeaderEdits, Request, Stage, token_digest};
use scopegate::http::headers::{borrowed, single_value, values};
use scopegate::identity::{Identity, TenantStanding};
use scopegate::ids::{OperationId, ProviderId, TenantId};
use scopegate::issuer::provider::ProviderKeys;
use scopegate::jose::base64url;
use scopegate::jose::json::parse_object;
use scopegate::policy::{Policy, Unmatched};
use scopegate::respond::rejection::Answer;
use scopegate::respond::{Reason, Rejection};
use scopegate::route::path::decode_segment;
use scopegate::route::{Lookup, RouteEvidence, canonicalize, normalize_host};
use scopegate::token_endpoint::Fault;
use serde_json::{Value, json};

use super::remedy::remedy;
use super::{CallKind, End, Played, Scene};
use crate::clock;
use crate::terminal::{Style, Terminal, shown};

/// A request's way, told.
#[derive(Debug)]
pub struct Explanation {
    /// The seven steps.
    pub steps: Vec<StepTold>,
    /// How it ended.
    pub decision: Decision,
    /// Why it was refused, or would have been.
    pub reason: Option<Reason>,
    /// The step that ended it.
    pub stage: Stage,
    answer: Option<Answer>,
    /// The error of a token request that is refused (RFC 6749 section 5.2).
    error: Option<&'static str>,
    description: Option<String>,
    remedy: Option<String>,
    edits: Vec<(EditKind, String, String)>,
}

/// One step, told.
#[derive(Debug)]
pub struct StepTold {
    /// Which one.
    pub stage: Stage,
    /// How it went.
    pub outcome: Outcome,
    /// Names and values, for people.
    saw: Vec<(String, String)>,
    concluded: String,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request went on.
    Passed,
    /// The request went on although something spoke against it.
    Lifted,
    /// The request was refused here.
    Refused,
    /// The request had no need of this step, or never came to it.
    Skipped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EditKind {
    Remove,
    Set,
}

const STAGES: [Stage; 8] = [
    Stage::Path,
    Stage::TokenRequest,
    Stage::Operation,
    Stage::Credential,
    Stage::Token,
    Stage::Tenant,
    Stage::Scopes,
    Stage::Forward,
];

/// Tells of a request that was decided.
pub fn narrate(scene: &Scene, played: &Played) -> Explanation {
    let headers = borrowed(&scene.headers);
    let request = Request::new(&headers);
    let (facts, rejection) = match &played.end {
        End::Forwarded(forward) => (&forward.facts, None),
        End::Refused(rejection, facts) => (facts, Some(rejection)),
        End::TokenRequestRefused(_, facts) => (facts, None),
    };
    let policy = &played.active.policy;
    let mut edits = Edits::default();
    if let End::Forwarded(forward) = &played.end {
        forward.edit(&request, policy, &mut edits);
    }
    let fault = match &played.end {
        End::TokenRequestRefused(fault, _) => Some(fault),
        End::Forwarded(_) | End::Refused(..) => None,
    };
    let strip = policy.strip_failure_response;
    let answer = match (rejection, fault) {
        (Some(rejection), _) => Some(Answer::new(rejection, &policy.realm, strip)),
        (None, Some(fault)) => {
            let has_authorization = values(&headers, "authorization").next().is_some();
            Some(fault.answer(&policy.realm, has_authorization, strip))
        }
        (None, None) => None,
    };
    let told = PeerUpdate { scene, request: &request, played, policy, facts, rejection, fault };
    Explanation {
        steps: STAGES
            .into_iter()
            // Most requests have nothing to do with it.
            .filter(|stage| *stage != Stage::TokenRequest || facts.stage == Stage::TokenRequest)
            .map(|stage| told.step(stage))
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
        edits: edits.0,
    }
}

struct PeerUpdate<'t> {
    scene: &'t Scene,
    request: &'t Request<'t>,
    played: &'t Played,
    policy: &'t Policy,
    facts: &'t Facts,
    rejection: Option<&'t Rejection>,
    fault: Option<&'t Fault>,
}

/// What a step has to tell, as long as it is written.
#[derive(Default)]
struct Page {
    saw: Vec<(String, String)>,
    concluded: String,
}

impl Page {
    fn saw(&mut self, what: &str, value: impl Into<String>) {
        const LONGEST: usize = 300;
        let value: String = value.into();
        let mut text: String = value.chars().take(LONGEST).collect();
        if text.len() < value.len() {
            text.push('…');
        }
        self.saw.push((what.to_owned(), text));
    }
}

impl PeerUpdate<'_> {
    fn step(&self, stage: Stage) -> StepTold {
        let outcome = self.outcome(stage);
        let mut page = Page::default();
        match outcome {
            Outcome::Skipped => page.concluded = self.why_skipped().to_owned(),
            Outcome::Passed | Outcome::Lifted | Outcome::Refused => match stage {
                Stage::Path => self.path(&mut page),
                Stage::TokenRequest => self.token_request(&mut page),
                Stage::Operation => self.operation(&mut page),
                Stage::Credential => self.credential(&mut page),
                Stage::Token => self.token(&mut page),
                Stage::Tenant => self.tenant(&mut page),
                Stage::Scopes => self.scopes(&mut page),
                Stage::Forward => self.forward(&mut page),
            },
        }
        if let (Outcome::Refused, Some(rejection)) = (outcome, self.rejection) {
            page.concluded = format!("{}: {}", rejection.reason, rejection.description());
        }
        let safe = |text: String| shown(&text);
        StepTold {
            stage,
            outcome,
            saw: page.saw.into_iter().map(|(what, value)| (safe(what), safe(value))).collect(),
            concluded: safe(page.concluded),
        }
    }

    fn outcome(&self, stage: Stage) -> Outcome {
        let is_refused = self.rejection.is_some() || self.fault.is_some();
        let is_anonymous = !is_refused && self.facts.identity.is_none();
        if is_refused && stage == self.facts.stage {
            return Outcome::Refused;
        }
        if stage > self.facts.stage && is_refused {
            return Outcome::Skipped;
        }
        match stage {
            Stage::TokenRequest if self.token_request_fault().is_some() => Outcome::Lifted,
            Stage::Operation if self.facts.stage == Stage::TokenRequest => Outcome::Skipped,
            Stage::Credential | Stage::Token | Stage::Tenant | Stage::Scopes if is_anonymous => {
                Outcome::Skipped
            }
            Stage::Scopes if self.lifted_reason().is_some() => Outcome::Lifted,
            Stage::Path
            | Stage::TokenRequest
            | Stage::Operation
            | Stage::Credential
            | Stage::Token
            | Stage::Tenant
            | Stage::Scopes
            | Stage::Forward => Outcome::Passed,
        }
    }

    fn why_skipped(&self) -> &'static str {
        match (self.rejection, self.fault) {
            (None, None) if self.facts.stage == Stage::TokenRequest => "not needed: it is a token request",
            (None, None) => "not needed: the request passes without a token",
            (_, _) => "not reached",
        }
    }

    fn path(&self, page: &mut Page) {
        match canonicalize(self.request.path) {
            Ok(path) => {
                page.saw("path", path.path());
                if path.query().is_some() {
                    page.saw("query", "takes no part in matching, and is not shown");
                }
                page.concluded = "everybody reads it in one way".to_owned();
            }
            // Up to the query, as far as one can tell what that is.
            Err(_) => page
                .saw("path", lossy(self.request.path.split(|byte| *byte == b'?').next().unwrap_or_default())),
        }
        if self.policy.bypass_cors_preflight && self.request.is_cors_preflight() {
            page.saw("preflight", "a CORS preflight request, which `bypass_cors_preflight` lets pass");
        }
    }

    /// The fault that enforcement lifted.
    fn token_request_fault(&self) -> Option<&Fault> {
        self.facts.token_request.as_deref().and_then(|facts| facts.fault.as_ref())
    }

    fn token_request(&self, page: &mut Page) {
        let Some(facts) = self.facts.token_request.as_deref() else { return };
        if let Some(client) = &facts.client {
            page.saw("client", &*client.client_id);
            page.saw("tenant", format!("`{}`", self.tenant_name(client.tenant)));
        }
        page.concluded = match (self.fault, self.token_request_fault(), &self.played.end) {
            (Some(fault), _, _) | (None, Some(fault), _) => {
                format!("{}: {}", fault.error().as_str(), fault.description())
            }
            (None, None, End::Forwarded(forward)) if forward.body.is_some() => {
                "the form is changed to the scopes that the application has".to_owned()
            }
            (None, None, _) => "the form asks for what the application may have".to_owned(),
        };
    }

    fn operation(&self, page: &mut Page) {
        let host = normalize_host(self.request.authority);
        page.saw("method", lossy(self.request.method));
        page.saw(
            "host",
            match &host {
                Some(host) => host.to_string(),
                None if self.request.authority.is_empty() => {
                    "none, so only operations for any host match".to_owned()
                }
                None => "none that is one, so only operations for any host match".to_owned(),
            },
        );
        page.saw("scheme", lossy(self.request.scheme));
        let Ok(path) = canonicalize(self.request.path) else { return };
        let lookup =
            self.policy.operations.find(host.as_deref(), &path, self.request.method, self.request.headers);
        let later = "; told at step 6, to whoever has a good token";
        page.concluded = match lookup {
            Lookup::Matched { operation, .. } => self.matched(operation, page),
            Lookup::Unmatched => match self.policy.unmatched {
                Unmatched::Allow => {
                    "no operation matches, and `unmatched: allow` lets such requests pass".to_owned()
                }
                Unmatched::Authenticated => {
                    "no operation matches, and `unmatched: authenticated` asks for a token and a tenant only"
                        .to_owned()
                }
                Unmatched::Deny => {
                    if let Some(near) = self.nearby() {
                        page.saw("nearby", near);
                    }
                    format!("no operation matches{later}")
                }
            },
            Lookup::MethodNotMapped { .. } => {
                page.saw("methods mapped here", self.methods_here(&path).join(" "));
                format!("host and path match, the method does not{later}")
            }
            Lookup::Header { .. } => {
                format!("host, path and method match, the headers choose no operation{later}")
            }
        };
    }

    fn matched(&self, id: OperationId, page: &mut Page) -> String {
        let Some(operation) = self.policy.catalog.operation(id) else { return String::new() };
        if let Some(route) = self.policy.route(id) {
            page.saw("pattern", route.path.to_string());
        }
        if operation.require_tls {
            page.saw("require_tls", "the scheme must be https");
        }
        let access = match &operation.access {
            Access::Scopes(_) => "asks for a token, a tenant and scopes",
            Access::Authenticated => "asks for a token and a tenant, for no scope",
            Access::Public => "is public: asks for nothing",
            Access::Undecided => "is closed to everybody: its `access` is `undecided`",
        };
        format!("`{}` {access}", self.operation_name(operation))
    }

    /// Where the same request would match but for its trailing slash or its host.
    fn nearby(&self) -> Option<String> {
        let text = std::str::from_utf8(self.request.path).ok()?.split('?').next()?;
        let slashed = match text.strip_suffix('/') {
            Some(without) => without.to_owned(),
            None => format!("{text}/"),
        };
        let matches = |path: &str, host: Option<&str>| {
            let path = canonicalize(path.as_bytes()).ok()?;
            match self.policy.operations.find(host, &path, self.request.method, self.request.headers) {
                Lookup::Matched { operation, .. } => self.policy.catalog.operation(operation),
                Lookup::Unmatched | Lookup::MethodNotMapped { .. } | Lookup::Header { .. } => None,
            }
        };
        let host = normalize_host(self.request.authority);
        if let Some(operation) = matches(&slashed, host.as_deref()) {
            return Some(format!(
                "`{}` matches {slashed}: a trailing slash counts",
                self.operation_name(operation)
            ));
        }
        let hosts = self.policy.routes.iter().flat_map(|route| &route.hosts).map(ToString::to_string);
        for other in hosts.filter(|host| !host.contains('{')) {
            if let Some(operation) = matches(text, Some(&other)) {
                return Some(format!("`{}` matches with the host {other}", self.operation_name(operation)));
            }
        }
        None
    }

    fn methods_here(&self, path: &scopegate::route::RequestPath<'_>) -> Vec<String> {
        let host = normalize_host(self.request.authority);
        let mut methods: Vec<&str> = self
            .policy
            .routes
            .iter()
            .filter_map(|route| route.methods.as_ref())
            .flatten()
            .map(|name| &**name)
            .collect();
        methods.sort_unstable();
        methods.dedup();
        let is_mapped = |method: &&str| {
            let lookup =
                self.policy.operations.find(host.as_deref(), path, method.as_bytes(), self.request.headers);
            match lookup {
                Lookup::Matched { .. } | Lookup::Header { .. } => true,
                Lookup::Unmatched | Lookup::MethodNotMapped { .. } => false,
            }
        };
        methods.into_iter().filter(is_mapped).map(str::to_owned).collect()
    }

    fn credential(&self, page: &mut Page) {
        let path = canonicalize(self.request.path);
        let query = path.as_ref().ok().and_then(|path| path.query());
        match self.policy.places.extract(self.request.headers, query) {
            Ok(credential) => {
                let place = place_text(credential.place);
                let kind = if looks_like_jwt(credential.text()) { "a JWT" } else { "an opaque token" };
                page.saw("place", &place);
                page.saw(
                    "token",
                    format!(
                        "{} bytes, SHA-256 begins {}",
                        credential.token.len(),
                        base16ct::lower::encode_string(&token_digest(&credential.token))
                    ),
                );
                page.saw("providers", self.provider_names(credential.providers.iter()));
                page.concluded = format!("{kind} in the {place}");
            }
            Err(_) => {
                let places = self.policy.places.iter().map(|(place, prefix, _)| match prefix.trim() {
                    "" => place_text(place),
                    prefix => format!("{} after `{prefix}`", place_text(place)),
                });
                page.saw("looked in", places.collect::<Vec<_>>().join(", "));
            }
        }
    }

    fn token(&self, page: &mut Page) {
        let path = canonicalize(self.request.path);
        let query = path.as_ref().ok().and_then(|path| path.query());
        let Ok(credential) = self.policy.places.extract(self.request.headers, query) else { return };
        let token = credential.text();
        let is_jwt = looks_like_jwt(token);
        if is_jwt {
            self.jwt_header(token, page);
        }
        for call in &self.played.calls {
            let what = match call.what {
                CallKind::Keys => "keys",
                CallKind::Introspection => "introspection",
            };
            let provider = &call.provider;
            let answer = match (call.answered, &call.fault) {
                (false, _) => {
                    format!(
                        "provider `{provider}` was asked{}; no file was given, so it is unreachable",
                        call.place
                    )
                }
                (true, None) => format!("provider `{provider}` was asked; its file answered"),
                (true, Some(fault)) => {
                    format!("provider `{provider}` was asked{}; its file is of no use: {fault}", call.place)
                }
            };
            page.saw(what, answer);
            for key in &call.skipped {
                page.saw("key not used", key.to_string());
            }
        }
        match &self.facts.identity {
            Some(identity) => {
                self.identity(identity, page);
                page.concluded =
                    if is_jwt { "the token is verified" } else { "the issuer says that the token is active" }
                        .to_owned();
            }
            None if is_jwt => self.unverified_claims(token, page),
            None => {}
        }
        if let Some(audience_terms) = self.facts.operation.and_then(|id| self.policy.catalog.operation(id)) {
            for accepted in audience_terms.audiences.iter().filter(|accepted| !accepted.is_empty()) {
                page.saw("operation accepts audiences", accepted.join(", "));
            }
            if !audience_terms.required_claims.is_empty() {
                let claims: Vec<String> =
                    audience_terms.required_claims.iter().map(ToString::to_string).collect();
                page.saw("operation requires claims", claims.join(", "));
            }
        }
    }

    fn jwt_header(&self, token: &str, page: &mut Page) {
        let Ok(parsed) = UntrustedToken::parse(token) else { return };
        let algorithm =
            parsed.algorithm().map_or("one that is not implemented", |algorithm| algorithm.as_str());
        page.saw("alg", algorithm);
        page.saw("kid", parsed.key_id().unwrap_or("none"));
        let found = parsed.issuer().ok().flatten().and_then(|issuer| self.policy.provider_of_issuer(issuer));
        let Some((id, _)) = found else { return };
        let Some(provider) = self.policy.provider(id) else { return };
        page.saw("provider", &*provider.name);
        let algorithms: Vec<&str> =
            provider.rules.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        page.saw("provider accepts", algorithms.join(" "));
        match &provider.keys {
            ProviderKeys::Local(keys) => {
                let ids: Vec<&str> = keys.keys().iter().map(|key| key.key_id().unwrap_or("no kid")).collect();
                page.saw("local_jwks has keys", ids.join(", "));
            }
            ProviderKeys::Remote(_) | ProviderKeys::None => {}
        }
        if let AudienceRule::OneOf(patterns) = &provider.rules.audiences {
            let patterns: Vec<String> = patterns
                .iter()
                .map(|pattern| match pattern {
                    TenantPattern::Exact(exact) => exact.to_string(),
                    TenantPattern::Tenant { prefix, suffix } => {
                        format!("{prefix}{{tenant}}{suffix}")
                    }
                })
                .collect();
            page.saw("provider accepts audiences", patterns.join(", "));
        }
    }

    fn identity(&self, identity: &Identity, page: &mut Page) {
        let principal = &identity.principal;
        let or_none = |value: &Option<Box<str>>| value.as_deref().unwrap_or("none").to_owned();
        page.saw("iss", or_none(&principal.issuer));
        page.saw("subject", or_none(&principal.subject));
        page.saw("client", or_none(&principal.client));
        let audiences = principal.audiences.as_deref().map(|all| all.join(", "));
        page.saw("aud", audiences.unwrap_or_else(|| "none".to_owned()));
        self.time("iat", principal.issued_at, page);
        self.time("refused from (exp and skew)", identity.expires_at, page);
    }

    fn time(&self, what: &str, moment: Option<Duration>, page: &mut Page) {
        if let Some(moment) = moment {
            let now = self.scene.now;
            page.saw(what, format!("{}, {}", clock::format(moment), clock::relative(moment, now)));
        }
    }

    /// Claims of a token that was refused: what it says, of which nothing is believed.
    fn unverified_claims(&self, token: &str, page: &mut Page) {
        let payload = token.split('.').nth(1).and_then(base64url::decode);
        let Some(claims) = payload.and_then(|payload| parse_object(&payload).ok()) else { return };
        for name in ["iss", "sub", "client_id", "azp", "aud"] {
            if let Some(value) = claims.get(name) {
                page.saw(&format!("claims {name}"), value_text(value));
            }
        }
        for name in ["iat", "nbf", "exp"] {
            let moment = claims
                .get(name)
                .and_then(Value::as_f64)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            self.time(&format!("claims {name}"), moment, page);
        }
    }

    fn tenant(&self, page: &mut Page) {
        let Some(identity) = &self.facts.identity else { return };
        let principal = &identity.principal;
        let tenants = &self.policy.tenants;
        let named = |name: &str| match tenants.named(name) {
            Some(id) => format!("{name} -> tenant `{}`", self.tenant_name(id)),
            None => format!("{name} -> no configured tenant"),
        };
        match &principal.tenant_claims {
            Ok(names) => names.iter().for_each(|name| page.saw("claim", named(name))),
            Err(_) => page.saw("claim", "not a non-empty string"),
        }
        if let Some(name) = &principal.issuer_tenant {
            page.saw("issuer", named(name));
        }
        if let Some(provider) = self.provider_of(identity) {
            let spoken_for: Vec<TenantId> =
                tenants.iter().filter(|(id, _)| tenants.may_speak(provider, *id)).map(|(id, _)| id).collect();
            page.saw("provider may speak for", self.tenant_names(&spoken_for));
            for audience in principal.audiences.as_deref().unwrap_or_default() {
                self.audience(audience, provider, page);
            }
            if let Some(client) = &principal.client {
                let registered = tenants.registered(provider, client);
                page.saw(
                    "application",
                    format!("{client} is registered with {}", self.tenant_names(registered)),
                );
            }
        }
        for name in &self.policy.resolution.headers {
            match single_value(self.request.headers, name) {
                Ok(None) => {}
                Ok(Some(value)) => page.saw(&format!("header {name}"), named(value)),
                Err(shape) => page.saw(&format!("header {name}"), format!("{shape:?}").to_ascii_lowercase()),
            }
        }
        let host = normalize_host(self.request.authority);
        let evidence = self.route_evidence(host.as_deref());
        if let Some(segment) = evidence.path {
            page.saw("path", named(&segment));
        }
        if let Some(label) = evidence.host {
            page.saw("host", named(&label));
        }
        if let Some(named) = host.as_deref().and_then(|host| tenants.at_host(host)) {
            page.saw(
                "host",
                format!("{} -> {}", host.as_deref().unwrap_or_default(), self.tenant_names(named)),
            );
        }
        let required = self.required_kinds();
        if !required.is_empty() {
            page.saw("required", required.join(", "));
        }
        if let Some(standing) = &self.facts.standing {
            page.concluded = format!("tenant `{}`", self.tenant_name(standing.tenant));
        }
    }

    fn audience(&self, audience: &str, provider: ProviderId, page: &mut Page) {
        let tenants = &self.policy.tenants;
        if let Some(named) = tenants.with_audience(audience) {
            page.saw("audience", format!("{audience} -> {}", self.tenant_names(named)));
        }
        let Some(AudienceRule::OneOf(patterns)) =
            self.policy.provider(provider).map(|found| &found.rules.audiences)
        else {
            return;
        };
        for name in patterns.iter().filter_map(|pattern| pattern.tenant_name(audience)) {
            let tenant = tenants
                .named(name)
                .map_or("no configured tenant".to_owned(), |id| format!("tenant `{}`", self.tenant_name(id)));
            page.saw("audience", format!("{audience} -> {tenant}"));
        }
    }

    fn required_kinds(&self) -> Vec<&'static str> {
        let operation = self.facts.operation.and_then(|id| self.policy.catalog.operation(id));
        let file = self.policy.resolution.required_evidence;
        let required = operation.map_or(file, |operation| file.union(operation.required_evidence));
        EvidenceKind::ALL
            .into_iter()
            .filter(|kind| required.contains(*kind))
            .map(EvidenceKind::as_str)
            .collect()
    }

    fn scopes(&self, page: &mut Page) {
        let (Some(identity), Some(standing)) = (&self.facts.identity, &self.facts.standing) else { return };
        let Some(tenant) = self.policy.tenants.tenant(standing.tenant) else { return };
        self.token_scopes(identity, standing, tenant, page);
        let Some((id, operation)) = self
            .facts
            .operation
            .and_then(|id| self.policy.catalog.operation(id).map(|operation| (id, operation)))
        else {
            page.concluded = "no operation, so no scope is asked for".to_owned();
            return;
        };
        let name = self.operation_name(operation);
        if !tenant.has_suite(operation.suite) {
            page.saw("suites", format!("tenant `{}` has not the suite of `{name}`", tenant.id));
        }
        let requirement = self.policy.catalog.requirement(id, tenant);
        page.saw(
            "required",
            match (&operation.access, requirement) {
                (Access::Undecided, _) => "undecided: closed to everybody".to_owned(),
                (Access::Scopes(_) | Access::Authenticated | Access::Public, Some(requirement)) => {
                    self.requirement(requirement)
                }
                (Access::Scopes(_) | Access::Authenticated | Access::Public, None) => "nothing".to_owned(),
            },
        );
        let application = standing.application(self.policy);
        let enforcement = self.policy.enforcement(Some(operation), application, tenant);
        page.saw("enforcement", enforcement.as_str());
        page.concluded = match (&operation.access, self.lifted_reason()) {
            (_, Some(reason)) => {
                let enforcement = enforcement.as_str();
                format!("{reason}: {}; lifted by `scope_enforcement: {enforcement}`", reason.meaning())
            }
            (Access::Scopes(_), None) => "the required permissions are held".to_owned(),
            (Access::Authenticated | Access::Public, None) => format!("`{name}` asks for no scope"),
            (Access::Undecided, None) => format!("`{name}` is closed: its `access` is `undecided`"),
        };
    }

    /// What becomes of each scope in the token.
    fn token_scopes(&self, identity: &Identity, standing: &TenantStanding, tenant: &Tenant, page: &mut Page) {
        let application = standing.application(self.policy);
        match identity.principal.scopes.as_deref() {
            None => page.saw("token's scopes", "none: it has no scope claim"),
            Some([]) => page.saw("token's scopes", "none"),
            Some(scopes) => {
                for scope in scopes {
                    let fate = match tenant.strip_prefix(scope) {
                        None => format!(
                            "does not count: it lacks the tenant's prefix `{}`",
                            tenant.scope_prefix.as_deref().unwrap_or_default()
                        ),
                        Some(own) => match tenant.scope_table.kind(own) {
                            None => {
                                format!("does not count: tenant `{}` does not declare `{own}`", tenant.id)
                            }
                            Some(_)
                                if application.is_some_and(|application| !is_assigned(application, own)) =>
                            {
                                format!("does not count: the application is not assigned `{own}`")
                            }
                            Some(kind) => {
                                let permissions: Vec<&str> = tenant.scope_table.permissions(own).collect();
                                let suites = match kind {
                                    ScopeKind::Custom => "",
                                    ScopeKind::System => ", for system suites only",
                                };
                                format!("counts{suites}, as {}", permissions.join(" "))
                            }
                        },
                    };
                    page.saw(&format!("token's scope {scope}"), fate);
                }
            }
        }
        if let Some(application) = application {
            page.saw("application is assigned", application.scopes.join(" "));
        }
    }

    fn requirement(&self, requirement: &Requirement) -> String {
        let names = |ids: &[scopegate::ids::PermissionId]| {
            ids.iter().map(|id| self.policy.catalog.permissions.name(*id)).collect::<Vec<_>>().join(" ")
        };
        match (&*requirement.all_of, &*requirement.any_of) {
            (all, []) => format!("all of {}", names(all)),
            ([], any) => format!("any of {}", names(any)),
            (all, any) => format!("all of {}, and any of {}", names(all), names(any)),
        }
    }

    /// What would have been the reason, where enforcement lifted it.
    fn lifted_reason(&self) -> Option<Reason> {
        if self.rejection.is_some() {
            return None;
        }
        if self.facts.reason.is_some() {
            return self.facts.reason;
        }
        // `off` records nothing; the question is asked again.
        let (identity, standing) = (self.facts.identity.as_deref()?, self.facts.standing.as_deref()?);
        let id = self.facts.operation?;
        let operation = self.policy.catalog.operation(id)?;
        let caller = identity.caller(standing, self.policy)?;
        scopegate::authorize::decide::decide(
            id,
            operation,
            &caller,
            &self.policy.catalog,
            &self.policy.tenants,
        )
        .err()
        .map(|refusal| refusal.reason)
    }

    fn forward(&self, page: &mut Page) {
        page.concluded = match self.facts.decision {
            Decision::Allow => "the request goes to the upstream".to_owned(),
            Decision::Shadow => {
                "the request goes to the upstream, recorded as one that would be refused".to_owned()
            }
            Decision::Deny => String::new(),
        };
    }

    fn operation_name(&self, operation: &Operation) -> String {
        let suite = self.policy.catalog.suite(operation.suite).map_or("", |suite| &suite.name);
        format!("{suite}/{}", operation.name)
    }

    fn tenant_name(&self, id: TenantId) -> &str {
        self.policy.tenants.tenant(id).map_or("", |tenant| &tenant.id)
    }

    fn tenant_names(&self, ids: &[TenantId]) -> String {
        const SHOWN: usize = 5;
        let mut names: Vec<String> =
            ids.iter().take(SHOWN).map(|id| format!("`{}`", self.tenant_name(*id))).collect();
        if ids.len() > SHOWN {
            names.push(format!("{} more", ids.len() - SHOWN));
        }
        match names.as_slice() {
            [] => "no tenant".to_owned(),
            [one] => format!("tenant {one}"),
            several => format!("tenants {}", several.join(", ")),
        }
    }

    fn provider_names(&self, ids: impl Iterator<Item = ProviderId>) -> String {
        let names: Vec<&str> =
            ids.filter_map(|id| self.policy.provider(id)).map(|provider| &*provider.name).collect();
        names.join(", ")
    }

    /// The provider whose rules the token passed.
    fn provider_of(&self, identity: &Identity) -> Option<ProviderId> {
        if let Some(standing) = &self.facts.standing {
            return Some(standing.provider);
        }
        let by_name = |name: &str| {
            let place = self.policy.providers.iter().position(|provider| *provider.name == *name)?;
            u16::try_from(place).ok().map(ProviderId)
        };
        let asked = self.played.calls.iter().rev().find(|call| call.what == CallKind::Introspection);
        asked.and_then(|call| by_name(&call.provider)).or_else(|| {
            let issuer = identity.principal.issuer.as_deref()?;
            self.policy.provider_of_issuer(issuer).map(|(id, _)| id)
        })
    }

    fn route_evidence(&self, host: Option<&str>) -> TenantLabels {
        let Ok(path) = canonicalize(self.request.path) else { return TenantLabels::default() };
        let lookup = self.policy.operations.find(host, &path, self.request.method, self.request.headers);
        let evidence = match lookup {
            Lookup::Matched { evidence, .. }
            | Lookup::MethodNotMapped { evidence }
            | Lookup::Header { evidence, .. } => evidence,
            Lookup::Unmatched => RouteEvidence::default(),
        };
        TenantLabels {
            path: evidence.path_tenant.map(|segment| {
                decode_segment(segment).map_or_else(|| segment.to_owned(), |name| name.into_owned())
            }),
            host: evidence.host_tenant.map(str::to_owned),
        }
    }
}

/// What stands at `{tenant}` in path and host.
#[derive(Default)]
struct TenantLabels {
    path: Option<String>,
    host: Option<String>,
}

/// Records what is changed in a forwarded request. Values of cookies and the path, which may have a query, are left
/// out.
#[derive(Default)]
struct Edits(Vec<(EditKind, String, String)>);

impl HeaderEdits for Edits {
    fn remove(&mut self, name: &[u8]) {
        self.0.push((EditKind::Remove, lossy(name), String::new()));
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        let value = if name == ":path" { "(without the token)".to_owned() } else { lossy(value) };
        self.0.push((EditKind::Set, name.to_owned(), value));
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        let value = if name == "cookie" { "(without the token)".to_owned() } else { lossy(value) };
        self.0.push((EditKind::Set, name.to_owned(), value));
    }
}

impl Explanation {
    /// Whether the request reaches the upstream.
    pub fn passes(&self) -> bool {
        match self.decision {
            Decision::Allow | Decision::Shadow => true,
            Decision::Deny => false,
        }
    }

    /// For people.
    pub fn text(&self, terminal: &Terminal) -> String {
        let mut text = String::new();
        for (number, step) in (1..).zip(&self.steps) {
            let (style, word) = match step.outcome {
                Outcome::Passed => (Style::Good, "ok"),
                Outcome::Lifted => (Style::Doubtful, "lifted"),
                Outcome::Refused => (Style::Bad, "refused"),
                Outcome::Skipped => (Style::Faint, "-"),
            };
            let name = terminal.paint(Style::Strong, format!("{:<11}", step.stage.as_str()));
            let word = terminal.paint(style, format!("{word:<8}"));
            text.push_str(&format!("{number} {name}{word}{}\n", step.concluded));
            for (what, value) in &step.saw {
                text.push_str(&format!(
                    "{:21}{} {value}\n",
                    "",
                    terminal.paint(Style::Faint, format!("{what}:"))
                ));
            }
        }
        text.push('\n');
        let (style, verdict) = match self.decision {
            Decision::Allow => (Style::Good, "allow"),
            Decision::Shadow => (Style::Doubtful, "shadow"),
            Decision::Deny => (Style::Bad, "deny"),
        };
        text.push_str(&format!("decision   {}", terminal.paint(style, verdict)));
        if let Some(reason) = self.reason.map(Reason::as_str).or(self.error) {
            text.push_str(&format!(", {reason}"));
        }
        text.push('\n');
        if let Some(answer) = &self.answer {
            text.push_str(&format!("answer     {}\n", answer.status));
            for (name, value) in answer.headers.iter() {
                text.push_str(&format!("           {name}: {}\n", shown(value)));
            }
            if !answer.body.is_empty() {
                text.push_str(&format!("           {}\n", shown(&answer.body)));
            }
        }
        for (kind, name, value) in &self.edits {
            let line = match kind {
                EditKind::Remove => format!("remove {name}"),
                EditKind::Set => format!("set {name}: {value}"),
            };
            text.push_str(&format!("upstream   {}\n", shown(&line)));
        }
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!("to pass    {}\n", shown(remedy)));
            text.push_str("           (the first obstacle; others may stand behind it)\n");
        }
        text
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let step = |(number, step): (usize, &StepTold)| {
            json!({
                "step": number,
                "name": step.stage.as_str(),
                "outcome": match step.outcome {
                    Outcome::Passed => "passed",
                    Outcome::Lifted => "lifted",
                    Outcome::Refused => "refused",
                    Outcome::Skipped => "skipped",
                },
                "concluded": step.concluded,
                "saw": step.saw.iter().map(|(what, value)| json!({"what": what, "value": value})).collect::<Vec<_>>(),
            })
        };
        json!({
            "decision": self.decision.as_str(),
            "reason": self.reason.map(Reason::as_str),
            "error": self.error,
            "stage": self.stage.as_str(),
            "status": self.answer.as_ref().map(|answer| answer.status),
            "description": self.description,
            "remedy": self.remedy,
            "steps": (1..).zip(&self.steps).map(step).collect::<Vec<_>>(),
            "answer": self.answer.as_ref().map(|answer| json!({
                "status": answer.status,
                "headers": answer.headers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>(),
                "body": answer.body,
            })),
            "upstream": self.edits.iter().map(|(kind, name, value)| match kind {
                EditKind::Remove => json!({"remove": name}),
                EditKind::Set => json!({"set": name, "value": value}),
            }).collect::<Vec<_>>(),
        })
    }
}

fn place_text(place: PlaceRef<'_>) -> String {
    match place {
        PlaceRef::Header(name) => format!("header `{name}`"),
        PlaceRef::Cookie(name) => format!("cookie `{name}`"),
        PlaceRef::Parameter(name) => format!("query parameter `{name}`"),
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

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
