//! One pass over the steps that the crate's documentation numbers.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Surroundings;
use super::facts::{CacheUse, Decision, Facts, Stage, token_digest};
use super::forward::CredentialPlace;
use super::request::Request;
use super::trace::{CredentialFound, PathFound, RouteFound, StepOutcome, TraceSink};
use crate::authenticate::claims::Confirmation;
use crate::authenticate::proof::Proof;
use crate::authenticate::{RequiredValue, TokenError, UntrustedToken, is_encrypted, looks_like_jwt};
use crate::authorize::decide::is_lifted;
use crate::authorize::resolve::{RequestEvidence, TenantFault, resolve};
use crate::authorize::{Access, Enforcement, EvidenceKind, EvidenceKinds, Operation};
use crate::credential::{Credential, CredentialError, PlaceRef, ProviderSet};
use crate::http::headers::{HeaderShape, single_value};
use crate::identity::{Identity, TenantStanding};
use crate::ids::{OperationId, ProviderId};
use crate::issuer::keys::Wanted;
use crate::issuer::provider::Provider;
use crate::issuer::{ActivePolicy, AnswerNow, Asked, IntrospectionOutcome, IssuerFault, KeysNow, Question};
use crate::jose::KeySet;
use crate::policy::{Policy, Unmatched};
use crate::respond::{Answer, ChallengeDetails, Reason, Rejection};
use crate::route::index::HeaderFault;
use crate::route::path::{canonicalize, decode_segment};
use crate::route::pattern::normalize_host;
use crate::route::{Lookup, RouteEvidence};
use crate::token_endpoint::{self, Disposition, Fault, TokenEndpoint, TokenRequest, check_head, check_query};

/// One pass over the steps, from the first to the decision or the next wait.
pub(super) struct Walk<'w, 'r, 's, T> {
    pub(super) request: &'w Request<'r>,
    pub(super) active: &'w Rc<ActivePolicy>,
    pub(super) surroundings: &'w mut Surroundings<'s>,
    pub(super) facts: &'w mut Facts,
    pub(super) delivered: Option<&'w IntrospectionOutcome>,
    pub(super) body: Option<&'w Result<Vec<u8>, Fault>>,
    pub(super) replaced_body: Option<Vec<u8>>,
    pub(super) may_wait: bool,
    /// Whether the token came under the scheme `DPoP`, and a provider takes it from there.
    pub(super) came_by_dpop: bool,
    /// The proof that was checked, and not taken note of yet.
    pub(super) proof: Option<Proof>,
    /// The nonce that the client is given with the upstream's response.
    pub(super) next_nonce: Option<Box<str>>,
    pub(super) trace: &'w mut T,
}

/// An identity with the provider whose rules its token passed.
type Authenticated = (ProviderId, Rc<Identity>);

/// The result of step 2.
struct RouteOutcome<'p, 'r> {
    operation: Result<(OperationId, &'p Operation), Rejection>,
    is_unmatched: bool,
    evidence: RouteEvidence<'r>,
}

impl<'w, T: TraceSink> Walk<'w, '_, '_, T> {
    pub(super) fn walk(&mut self) -> Result<Option<CredentialPlace>, Halt> {
        let active: &'w ActivePolicy = self.active;
        let policy = &active.policy;

        let path = canonicalize(self.request.path)
            .map_err(|cause| Halt::Reject(Rejection::about(Reason::PathAmbiguous, cause.to_string())))?;
        self.trace.record(|trace| {
            trace.path = Some(PathFound { path: path.path().into(), has_query: path.query().is_some() });
        });
        // The proxy forwards it unchanged, and the upstream may read another host in it than was checked
        // here.
        let host = normalize_host(self.request.authority);
        if host.is_none() && !self.request.authority.is_empty() {
            return Err(Reason::HostMalformed.into());
        }
        self.trace.record(|trace| trace.host = host.as_deref().map(Box::from));
        let endpoint = token_endpoint::find(&policy.token_endpoints, path.path(), self.request.method);
        if policy.bypass_cors_preflight && self.request.is_cors_preflight() {
            self.trace.record(|trace| trace.is_cors_preflight = true);
            return match endpoint {
                Ok(None) => self.forward_anonymously(),
                Ok(Some(_)) | Err(_) => self.pass_empty_preflight(path.query()),
            };
        }
        match endpoint {
            Ok(None) => {}
            Ok(Some(endpoint)) => return self.guard(endpoint, path.query(), host.as_deref()),
            Err(fault) => {
                self.enter(Stage::TokenRequest);
                return Err(Halt::RejectTokenRequest(fault));
            }
        }

        if let Some(metadata) = &policy.metadata {
            let is_read = matches!(self.request.method, b"GET" | b"HEAD");
            let base = metadata.base_of(path.path()).filter(|_| is_read);
            if let Some(answer) = base.and_then(|base| metadata.answer(host.as_deref(), base, policy)) {
                return Err(Halt::Tell(Box::new(answer)));
            }
        }

        self.enter(Stage::Operation);
        let lookup =
            policy.operations.find(host.as_deref(), &path, self.request.method, self.request.headers);
        self.trace.record(|trace| trace.route = Some(RouteFound::of(&lookup)));
        let routed = RouteOutcome::new(lookup, policy);
        if let Ok((id, operation)) = &routed.operation {
            self.facts.operation = Some(*id);
            if operation.access == Access::Public {
                self.check_tls(operation)?;
                return self.forward_anonymously();
            }
        }
        if routed.is_unmatched && policy.unmatched == Unmatched::Allow {
            return self.forward_anonymously();
        }

        self.enter(Stage::Credential);
        let (credential, known) = self.credential(path.query(), policy)?;
        self.came_by_dpop = credential.is_dpop && policy.takes_proofs;
        self.trace.record(|trace| trace.credential = Some(CredentialFound::of(&credential)));
        let result = self.with_credential(&credential, known, &routed, host.as_deref(), policy);
        let decision = match &result {
            Ok(()) => Some(self.facts.decision),
            Err(Halt::Await | Halt::AwaitBody | Halt::Tell(_)) => None,
            Err(Halt::Reject(_) | Halt::RejectTokenRequest(_)) => Some(Decision::Deny),
        };
        let is_logged = decision.is_some_and(|decision| decision.is_logged(policy.audit.decisions));
        if is_logged && self.surroundings.can_log {
            self.facts.token_digest = Some(token_digest(&credential.token));
        }
        result.map(|()| (!policy.forward.token).then(|| CredentialPlace::of(&credential)))
    }

    /// Step 3, and the identity if the token is cached. A cached token was fully inspected when it first
    /// came.
    fn credential<'c>(
        &self,
        query: Option<&'c [u8]>,
        policy: &'c Policy,
    ) -> Result<(Credential<'c>, Option<Authenticated>), Halt>
    where
        'w: 'c,
    {
        let recall = |credential: &Credential<'c>| self.remembered(&credential.token, credential.providers);
        let extract = || policy.places.extract(self.request.headers, query);
        match policy.places.candidate(self.request.headers) {
            Some(candidate) => match recall(&candidate) {
                Some(known) => Ok((candidate, Some(known))),
                // `extract` returns these same bytes or fails.
                None => Ok((extract()?, None)),
            },
            None => {
                let credential = extract()?;
                let known = recall(&credential);
                Ok((credential, known))
            }
        }
    }

    /// A CORS preflight request to a token endpoint. A server that ignores the method must find no token
    /// request in it.
    fn pass_empty_preflight(&mut self, query: Option<&[u8]>) -> Result<Option<CredentialPlace>, Halt> {
        self.enter(Stage::TokenRequest);
        check_query(query).map_err(Halt::RejectTokenRequest)?;
        match self.body {
            None => Err(Halt::AwaitBody),
            Some(Ok(body)) if body.is_empty() => self.forward_anonymously(),
            Some(Ok(_)) => Err(Halt::RejectTokenRequest(Fault::Method)),
            Some(Err(fault)) => Err(Halt::RejectTokenRequest(fault.clone())),
        }
    }

    /// A token request carries no token. It is checked when its body has arrived.
    fn guard(
        &mut self,
        endpoint: &TokenEndpoint,
        query: Option<&[u8]>,
        host: Option<&str>,
    ) -> Result<Option<CredentialPlace>, Halt> {
        self.enter(Stage::TokenRequest);
        let active: &'w ActivePolicy = self.active;
        let policy = &active.policy;
        let body = match self.body {
            Some(Ok(body)) => body,
            Some(Err(fault)) => return Err(Halt::RejectTokenRequest(fault.clone())),
            None => {
                check_head(self.request.headers, query).map_err(Halt::RejectTokenRequest)?;
                return Err(Halt::AwaitBody);
            }
        };
        let evidence = self.request_evidence(&RouteOutcome::new(Lookup::Unmatched, policy), host);
        let token_request = TokenRequest { headers: self.request.headers, query, body };
        let checked = token_endpoint::check(endpoint, policy, token_request, &evidence);
        let facts = self.facts.token_request.insert(Box::default());
        facts.client = checked.client;
        self.facts.decision = match checked.disposition {
            Disposition::Pass => Decision::Allow,
            Disposition::Replace(body) => {
                self.replaced_body = Some(body);
                Decision::Allow
            }
            Disposition::Shadow(fault) => {
                facts.fault = Some(fault);
                self.trace.record(|trace| trace.leave(Stage::TokenRequest, StepOutcome::Lifted));
                Decision::Shadow
            }
            Disposition::Reject(fault) => return Err(Halt::RejectTokenRequest(fault)),
        };
        Ok(None)
    }

    fn with_credential(
        &mut self,
        credential: &Credential<'_>,
        known: Option<Authenticated>,
        routed: &RouteOutcome<'_, '_>,
        host: Option<&str>,
        policy: &'w Policy,
    ) -> Result<(), Halt> {
        if credential.token.len() > policy.max_token_bytes {
            self.enter(Stage::Token);
            return Err(Reason::TokenTooLarge.into());
        }
        let evidence = self.request_evidence(routed, host);
        let (provider, identity) = self.authenticate(credential, known, &evidence)?;
        self.facts.identity = Some(Rc::clone(&identity));
        if let Ok((_, operation)) = &routed.operation {
            check_operation_terms(operation, &identity)?;
        }

        self.enter(Stage::Tenant);
        self.trace.record(|trace| {
            let from_request = std::mem::take(&mut trace.evidence);
            let mut note = |kind, name: &str, named: &[_]| trace.token_evidence(kind, name, named);
            identity.note_evidence(provider, policy, &mut note);
            trace.evidence.extend(from_request);
        });
        let token_evidence = identity.evidence(provider, policy).map_err(|reason| {
            self.facts.stage = Stage::Token;
            Halt::from(reason)
        })?;
        let required = required_evidence(routed, policy);
        self.trace.record(|trace| trace.required = required);
        let tenant = resolve(
            &token_evidence,
            &evidence,
            required,
            &identity.principal,
            provider,
            &policy.resolution,
            &policy.tenants,
        )?;
        let standing = identity.standing(tenant, provider, policy);
        self.facts.standing = Some(Rc::clone(&standing));
        if standing.is_revoked {
            return Err(Reason::TokenRevoked.into());
        }

        self.enter(Stage::Scopes);
        if let Ok((_, operation)) = &routed.operation {
            self.check_authentication(operation, provider, &identity)?;
        }
        self.authorize(routed, &identity, &standing, policy)?;

        if let Err(header) = &standing.forwarded {
            self.enter(Stage::Forward);
            return Err(Halt::Reject(Rejection::about(Reason::ClaimMalformed, header.clone())));
        }
        Ok(())
    }

    /// Whether the user authenticated as the operation asks (RFC 9470). The answer tells what the operation asks, so the
    /// tenant is known first; no enforcement lifts it, as none lifts what else is asked of a token.
    fn check_authentication(
        &self,
        operation: &Operation,
        provider: ProviderId,
        identity: &Identity,
    ) -> Result<(), Halt> {
        let Some(step_up) = operation.step_up.as_deref() else { return Ok(()) };
        let provider = self.active.policy.provider(provider).ok_or(Reason::IssuerUnknown)?;
        let (skew, now) = (provider.rules.clock_skew, self.surroundings.now);
        if step_up.is_met_by(&identity.principal.claims, skew, now) {
            return Ok(());
        }
        let acr_values = (!step_up.acr_values.is_empty()).then(|| step_up.acr_values.join(" ").into());
        let max_age = step_up.max_age.map(|age| age.as_secs());
        let details = ChallengeDetails { acr_values, max_age, ..ChallengeDetails::default() };
        let reason = Reason::AuthenticationInsufficient;
        Err(Halt::Reject(Rejection { challenge: Some(Box::new(details)), ..reason.into() }))
    }

    /// Step 6: the decision by scopes, and whether enforcement lifts a refusal.
    fn authorize(
        &mut self,
        routed: &RouteOutcome<'_, '_>,
        identity: &Identity,
        standing: &TenantStanding,
        policy: &Policy,
    ) -> Result<(), Halt> {
        let caller = identity.caller(standing, policy).ok_or(Reason::TenantUnknown)?;
        let operation = routed.operation.as_ref().ok().map(|(_, operation)| *operation);
        let enforcement = || policy.enforcement(operation, caller.application, caller.tenant);
        self.trace.record(|trace| trace.enforcement = Some(enforcement()));
        let outcome = match &routed.operation {
            Err(_) if routed.is_unmatched && policy.unmatched == Unmatched::Authenticated => Ok(()),
            Err(rejection) => Err(rejection.clone()),
            Ok((id, operation)) => {
                self.check_tls(operation)?;
                policy.decide(*id, operation, &caller).map_err(|refusal| Rejection {
                    sufficient_scope: refusal.sufficient_scope.map(String::into_boxed_str),
                    ..refusal.reason.into()
                })
            }
        };
        let Err(rejection) = outcome else {
            self.facts.decision = Decision::Allow;
            return Ok(());
        };
        let enforcement = enforcement();
        if !is_lifted(rejection.reason, enforcement) {
            return Err(Halt::Reject(rejection));
        }
        self.trace.record(|trace| {
            trace.lifted = Some(rejection.reason);
            trace.leave(Stage::Scopes, StepOutcome::Lifted);
        });
        match enforcement {
            Enforcement::Shadow => {
                self.facts.decision = Decision::Shadow;
                self.facts.reason = Some(rejection.reason);
            }
            Enforcement::Off | Enforcement::Enforce => self.facts.decision = Decision::Allow,
        }
        Ok(())
    }

    /// Begins `stage`: the step before it passed.
    fn enter(&mut self, stage: Stage) {
        let passed = std::mem::replace(&mut self.facts.stage, stage);
        self.trace.record(|trace| trace.leave(passed, StepOutcome::Passed));
    }

    fn forward_anonymously(&mut self) -> Result<Option<CredentialPlace>, Halt> {
        self.enter(Stage::Forward);
        self.facts.decision = Decision::Allow;
        Ok(None)
    }

    fn check_tls(&self, operation: &Operation) -> Result<(), Halt> {
        if operation.require_tls && !self.request.is_secure() {
            return Err(Reason::TlsRequired.into());
        }
        Ok(())
    }

    /// What the request's headers, path and host say about the tenant.
    fn request_evidence(&mut self, routed: &RouteOutcome<'_, '_>, host: Option<&str>) -> RequestEvidence<'w> {
        let active: &'w ActivePolicy = self.active;
        let policy = &active.policy;
        let tenants = &policy.tenants;
        let mut evidence = RequestEvidence::new();
        for name in &policy.resolution.headers {
            match single_value(self.request.headers, name) {
                Ok(None) => {}
                Ok(Some(value)) => {
                    let named = evidence.header(value, tenants);
                    self.trace.record(|trace| {
                        trace.request_evidence(EvidenceKind::Header, Some(name), value, named)
                    });
                }
                Err(HeaderShape::Ambiguous) => evidence.malformed_header(Reason::HeaderAmbiguous, name),
                Err(HeaderShape::Malformed) => evidence.malformed_header(Reason::HeaderMalformed, name),
            }
        }
        if let Some(segment) = routed.evidence.path_tenant {
            let decoded = decode_segment(segment);
            let named = evidence.path(decoded.as_deref(), tenants);
            self.trace.record(|trace| {
                let name = decoded.as_deref().unwrap_or(segment);
                trace.request_evidence(EvidenceKind::Path, None, name, named)
            });
        }
        // A host names its tenant whichever operation was found, or none.
        let labels = host.into_iter().flat_map(|host| policy.operations.tenant_labels(host));
        let others = labels
            .filter(|label| routed.evidence.host_tenant != Some(label) && tenants.named(label).is_some());
        let labels = routed.evidence.host_tenant.into_iter().chain(others);
        evidence.host(labels, host, tenants, |name, named| {
            self.trace.record(|trace| trace.request_evidence(EvidenceKind::Host, None, name, named));
        });
        evidence
    }

    /// Step 4.
    fn authenticate(
        &mut self,
        credential: &Credential<'_>,
        known: Option<Authenticated>,
        evidence: &RequestEvidence<'_>,
    ) -> Result<Authenticated, Halt> {
        let (provider, identity) = match known {
            Some(known) => {
                self.enter(Stage::Token);
                self.trace.record(|trace| trace.provider = Some(known.0));
                self.facts.cache_use = Some(CacheUse::TokenHit);
                self.narrowed(known, credential, evidence)?
            }
            None => self.authenticate_anew(credential, evidence)?,
        };
        identity.check_time(self.surroundings.now)?;
        if identity.confirmation != Confirmation::None || self.active.policy.binds_tokens {
            self.check_sender(provider, identity.confirmation, credential)?;
            self.use_proof(provider)?;
        }
        Ok((provider, identity))
    }

    /// Step 4 for a token that is not cached.
    fn authenticate_anew(
        &mut self,
        credential: &Credential<'_>,
        evidence: &RequestEvidence<'_>,
    ) -> Result<Authenticated, Halt> {
        let is_opaque = self.is_opaque(credential);
        if !is_opaque {
            self.enter(Stage::Token);
            self.facts.cache_use = Some(CacheUse::TokenMiss);
            let verified = self.verify(credential, evidence)?;
            return self.narrowed(verified, credential, evidence);
        }
        let token = credential.text();
        if !is_b64token(token) {
            return Err(Reason::CredentialMalformed.into());
        }
        self.enter(Stage::Token);
        let provider = self.introspecting_provider(credential, evidence)?;
        self.trace.record(|trace| trace.provider = Some(provider));
        let realm = self.realm(provider, None, evidence)?;
        let question = Question { token, tenant: realm.as_deref() };
        Ok((provider, self.introspected(provider, Asked { question, jwt: None })?))
    }

    /// Whether nothing of the token is read here, so that its issuer is asked: it is no JWT, or an encrypted one of a
    /// provider that says so.
    fn is_opaque(&mut self, credential: &Credential<'_>) -> bool {
        if !looks_like_jwt(&credential.token) {
            return true;
        }
        let introspects =
            |id| self.active.policy.provider(id).is_some_and(|known| known.introspects_encrypted);
        let is_opaque = credential.providers.iter().any(introspects) && is_encrypted(&credential.token);
        if is_opaque {
            self.trace.record(|trace| {
                trace.credential.iter_mut().for_each(|credential| credential.is_jwt = false);
            });
        }
        is_opaque
    }

    /// The tenant in whose realm `provider` is asked, where its URI holds `{tenant}`: the one that the token's issuer
    /// names, else the one that the request does, by its id.
    fn realm(
        &self,
        provider: ProviderId,
        issuer_tenant: Option<&str>,
        evidence: &RequestEvidence<'_>,
    ) -> Result<Option<Box<str>>, Halt> {
        let policy = &self.active.policy;
        if !policy.provider(provider).is_some_and(Provider::introspects_by_tenant) {
            return Ok(None);
        }
        if let Some(name) = issuer_tenant {
            return Ok(Some(name.into()));
        }
        if let Some((reason, name)) = evidence.malformed() {
            return Err(Halt::Reject(Rejection::about(reason, name)));
        }
        if evidence.is_empty() {
            return Err(Reason::TenantMissing.into());
        }
        let mut named = evidence.tenants();
        named.retain(|tenant| policy.tenants.may_speak(provider, *tenant));
        match named.as_slice() {
            [] => Err(Reason::TenantMismatch.into()),
            [tenant] => Ok(policy.tenants.tenant(*tenant).map(|tenant| tenant.id.clone())),
            [_, ..] => Err(Reason::TenantAmbiguous.into()),
        }
    }

    /// A JWT's identity, narrowed by the introspection response if the provider introspects JWTs too.
    fn narrowed(
        &mut self,
        (id, identity): Authenticated,
        credential: &Credential<'_>,
        evidence: &RequestEvidence<'_>,
    ) -> Result<Authenticated, Halt> {
        let provider = self.active.policy.provider(id);
        // What was not verified comes from introspection already.
        let provider = provider.filter(|provider| !provider.knows_jwts_by_introspection());
        let introspection = provider.and_then(|provider| provider.introspection.as_ref());
        if !introspection.is_some_and(|introspection| introspection.apply_to_all) {
            return Ok((id, identity));
        }
        // Don't ask the issuer about a token that its own claims already refuse.
        identity.check_time(self.surroundings.now)?;
        // One that is bound to nothing may be bound by what the issuer says.
        if identity.confirmation != Confirmation::None {
            self.check_sender(id, identity.confirmation, credential)?;
        }
        if identity.evidence(id, &self.active.policy) == Err(Reason::TokenRevoked) {
            return Err(Reason::TokenRevoked.into());
        }
        let realm = self.realm(id, identity.principal.issuer_tenant.as_deref(), evidence)?;
        let question = Question { token: credential.text(), tenant: realm.as_deref() };
        let narrowed = self.introspected(id, Asked { question, jwt: Some(&identity) })?;
        Ok((id, narrowed))
    }

    /// The identity of a JWT that was verified before, if its provider and key are unchanged.
    fn remembered(&self, token: &[u8], providers: &ProviderSet) -> Option<Authenticated> {
        let policy = &self.active.policy;
        providers.iter().find_map(|id| {
            let identity = self.active.state(id)?.borrow_mut().tokens.lookup(token).cloned()?;
            let evidence = identity.evidence(id, policy);
            let is_of_provider = !matches!(evidence, Err(Reason::IssuerUnknown));
            if is_of_provider && self.active.still_has_key(id, &identity) {
                return Some((id, identity));
            }
            self.active.state(id)?.borrow_mut().tokens.remove(token);
            None
        })
    }

    fn verify(
        &mut self,
        credential: &Credential<'_>,
        evidence: &RequestEvidence<'_>,
    ) -> Result<Authenticated, Halt> {
        let policy = &self.active.policy;
        let text: &[u8] = &credential.token;
        let token = UntrustedToken::parse_with(text, &mut self.active.recent_headers.borrow_mut())?;
        self.trace.record(|trace| trace.jwt(&token));
        let found = token
            .issuer()?
            .and_then(|issuer| policy.provider_of_issuer(issuer))
            .filter(|(id, _)| credential.providers.contains(*id))
            .and_then(|(id, tenant)| Some((id, policy.provider(id)?, tenant.map(str::to_owned))));
        let Some((id, provider, tenant)) = found else {
            token.check_header_of_unknown_issuer()?;
            return Err(Reason::IssuerUnknown.into());
        };
        self.trace.record(|trace| trace.provider = Some(id));
        if provider.knows_jwts_by_introspection() {
            token.check_type(&provider.rules)?;
            let realm = self.realm(id, tenant.as_deref(), evidence)?;
            let question = Question { token: credential.text(), tenant: realm.as_deref() };
            return Ok((id, self.introspected(id, Asked { question, jwt: None })?));
        }
        token.check_header(&provider.rules)?;
        let wanted = Wanted { algorithm: token.algorithm(), key_id: token.key_id(), at_hand_tried: false };
        let keys = self.keys(id, tenant.as_deref(), &wanted)?;
        let is_tenant = |name: &str| policy.tenants.named(name).is_some();
        let (algorithm, key_id) = (token.algorithm(), token.key_id().map(str::to_owned));
        let signed = match token.verify_signature(&provider.rules, &keys, self.surroundings.verifier) {
            Ok(signed) => signed,
            Err(error) => {
                // A key with this `kid` may have been added since, or have replaced the one that was tried.
                let wanted = Wanted { algorithm, key_id: key_id.as_deref(), at_hand_tried: true };
                self.keys(id, tenant.as_deref(), &wanted)?;
                return Err(error.into());
            }
        };
        let fingerprint = *signed.key_fingerprint();
        let claims = signed.validate(&provider.rules, self.surroundings.now, &is_tenant)?;
        let identity = Rc::new(Identity::new(provider, tenant.as_deref(), claims, Some(fingerprint)));
        self.active.remember(id, text, &identity);
        Ok((id, identity))
    }

    /// The issuer's keys for a token, or the halt that waits for them.
    fn keys(
        &mut self,
        provider: ProviderId,
        tenant: Option<&str>,
        wanted: &Wanted<'_>,
    ) -> Result<Arc<KeySet>, Halt> {
        let (waiter, now) = (self.surroundings.waiter, self.surroundings.now);
        match self.active.keys(provider, tenant, wanted, waiter, now, self.surroundings.calls) {
            KeysNow::Keys(keys) => Ok(keys),
            KeysNow::Wait => Err(self.wait(Reason::KeysUnavailable)),
            KeysNow::Unavailable { retry_in } => Err(unavailable(Reason::KeysUnavailable, retry_in)),
        }
    }

    /// The one provider that may introspect an opaque token. A token is never sent to issuers by trial and
    /// error.
    fn introspecting_provider(
        &self,
        credential: &Credential<'_>,
        evidence: &RequestEvidence<'_>,
    ) -> Result<ProviderId, Halt> {
        let policy = &self.active.policy;
        let is_jwt = looks_like_jwt(&credential.token);
        let introspects = |id: &ProviderId| {
            policy.provider(*id).is_some_and(|provider| {
                provider.introspection.is_some() && (!is_jwt || provider.introspects_encrypted)
            })
        };
        let listed = credential.providers;
        let mut candidates: Vec<ProviderId> = match credential.place {
            PlaceRef::Header(_) => listed.iter().filter(introspects).collect(),
            // Any application can set these. Only if one provider lists the place is it clear whose token it
            // is.
            PlaceRef::Cookie(_) | PlaceRef::Parameter(_) => {
                listed.sole().into_iter().filter(introspects).collect()
            }
        };
        if candidates.is_empty() {
            return Err(Reason::IntrospectionNotConfigured.into());
        }
        if let Some((reason, name)) = evidence.malformed() {
            return Err(Halt::Reject(Rejection::about(reason, name)));
        }
        if !evidence.is_empty() {
            let tenants = evidence.tenants();
            if tenants.is_empty() {
                return Err(Reason::TenantMismatch.into());
            }
            candidates.retain(|id| tenants.iter().any(|tenant| policy.tenants.may_speak(*id, *tenant)));
        }
        match (candidates.as_slice(), policy.default_introspection) {
            ([], _) => Err(Reason::IntrospectionNotConfigured.into()),
            ([sole], _) => Ok(*sole),
            (several, Some(default)) if several.contains(&default) => Ok(default),
            (_, Some(_) | None) => Err(Reason::IntrospectionNotConfigured.into()),
        }
    }

    fn introspected(&mut self, provider: ProviderId, asked: Asked<'_>) -> Result<Rc<Identity>, Halt> {
        let needs_keys = |provider: &Provider| {
            let introspection = provider.introspection.as_ref();
            provider.discovers_introspection()
                || introspection.is_some_and(|introspection| introspection.signed_for.is_some())
        };
        if self.active.policy.provider(provider).is_some_and(needs_keys) {
            // Its endpoint comes with its keys; by them its response is verified.
            self.keys(provider, asked.question.tenant, &Wanted::default())?;
        }
        let generation = self.active.policy.generation;
        let delivered = self.delivered.filter(|outcome| match outcome {
            // A refusal under another policy's tenants says nothing about this policy's.
            IntrospectionOutcome::Refused { under, .. } => under.is_none_or(|other| other == generation),
            IntrospectionOutcome::Active(_) | IntrospectionOutcome::Fault(_) => true,
        });
        let (answer, cache_use) = match delivered {
            Some(outcome) => (AnswerNow::Known(outcome.clone()), CacheUse::IntrospectionMiss),
            None => {
                let answer = self.active.introspect(
                    provider,
                    asked,
                    self.surroundings.waiter,
                    self.surroundings.now,
                    self.surroundings.calls,
                );
                let cache_use = match answer {
                    AnswerNow::Known(_) => CacheUse::IntrospectionHit,
                    AnswerNow::Wait | AnswerNow::Overloaded => CacheUse::IntrospectionMiss,
                };
                (answer, cache_use)
            }
        };
        self.facts.cache_use = Some(cache_use);
        let answer = match answer {
            AnswerNow::Known(IntrospectionOutcome::Fault(IssuerFault::Unverified(unverified))) => {
                // A key may have been added since, or have replaced the one that was tried.
                let (algorithm, key_id) = (unverified.algorithm, unverified.key_id.as_deref());
                let wanted = Wanted { algorithm, key_id, at_hand_tried: true };
                self.keys(provider, asked.question.tenant, &wanted)?;
                let (verifier, now) = (self.surroundings.verifier, self.surroundings.now);
                let response = &unverified.response;
                AnswerNow::Known(self.active.judge_again(provider, asked, response, verifier, now))
            }
            answer @ (AnswerNow::Known(_) | AnswerNow::Wait | AnswerNow::Overloaded) => answer,
        };
        match answer {
            AnswerNow::Known(IntrospectionOutcome::Active(identity)) => Ok(identity),
            AnswerNow::Known(IntrospectionOutcome::Refused { rejection, .. }) => Err(Halt::Reject(rejection)),
            AnswerNow::Known(IntrospectionOutcome::Fault(_)) => {
                Err(unavailable(Reason::IntrospectionUnavailable, Duration::ZERO))
            }
            AnswerNow::Wait => Err(self.wait(Reason::IntrospectionUnavailable)),
            AnswerNow::Overloaded => Err(unavailable(Reason::IntrospectionOverloaded, Duration::ZERO)),
        }
    }

    fn wait(&self, otherwise: Reason) -> Halt {
        if self.may_wait {
            return Halt::Await;
        }
        self.active.leave(self.surroundings.waiter.id);
        unavailable(otherwise, Duration::ZERO)
    }
}

impl<'p, 'r> RouteOutcome<'p, 'r> {
    fn new(lookup: Lookup<'r>, policy: &'p Policy) -> Self {
        let refused = |rejection: Rejection, evidence| Self {
            operation: Err(rejection),
            is_unmatched: false,
            evidence,
        };
        match lookup {
            Lookup::Matched { operation: id, evidence } => Self {
                operation: policy
                    .catalog
                    .operation(id)
                    .map(|operation| (id, operation))
                    .ok_or_else(|| Reason::OperationNotMapped.into()),
                is_unmatched: false,
                evidence,
            },
            Lookup::Unmatched => Self {
                operation: Err(Reason::OperationNotMapped.into()),
                is_unmatched: true,
                evidence: RouteEvidence::default(),
            },
            Lookup::MethodNotMapped { evidence } => refused(Reason::MethodNotMapped.into(), evidence),
            Lookup::Header { fault, evidence } => {
                let (reason, name) = match fault {
                    HeaderFault::Missing { name } => (Reason::HeaderMissing, name),
                    HeaderFault::Ambiguous { name } => (Reason::HeaderAmbiguous, name),
                    HeaderFault::Malformed { name } => (Reason::HeaderMalformed, name),
                };
                refused(Rejection::about(reason, name), evidence)
            }
        }
    }
}

/// The kinds of evidence that must be present. An unmapped path carries no path evidence. Don't require it if
/// the request is answered as unmapped anyway, or would be but for `shadow`.
fn required_evidence(routed: &RouteOutcome<'_, '_>, policy: &Policy) -> EvidenceKinds {
    let file = policy.resolution.required_evidence;
    match &routed.operation {
        Ok((_, operation)) => file.union(operation.required_evidence),
        Err(_) if routed.is_unmatched && policy.unmatched == Unmatched::Deny => {
            file.without(EvidenceKind::Path)
        }
        Err(_) => file,
    }
}

/// What an operation and its suite require of a token beyond the provider's rules.
fn check_operation_terms(operation: &Operation, identity: &Identity) -> Result<(), Halt> {
    let claims = &identity.principal.claims;
    RequiredValue::check_types(&operation.required_values, claims)?;
    let carried = identity.principal.audiences.as_deref().unwrap_or_default();
    for accepted in operation.audiences.iter().filter(|accepted| !accepted.is_empty()) {
        if !carried.iter().any(|audience| accepted.contains(audience)) {
            return Err(Reason::AudienceMismatch.into());
        }
    }
    for path in &operation.required_claims {
        match path.lookup(claims) {
            None => return Err(TokenError::ClaimMissing(path.to_string().into()).into()),
            Some(value) if value.is_null() => {
                return Err(TokenError::ClaimMalformed(path.to_string().into()).into());
            }
            Some(_) => {}
        }
    }
    Ok(RequiredValue::check_all(&operation.required_values, claims)?)
}

/// RFC 6750 section 2.1: letters, digits and `-._~+/`, then any number of `=`.
fn is_b64token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

fn unavailable(reason: Reason, retry_in: Duration) -> Halt {
    let whole_seconds = retry_in.as_secs() + u64::from(retry_in.subsec_nanos() > 0);
    let retry_after = u32::try_from(whole_seconds).unwrap_or(u32::MAX).max(1);
    Halt::Reject(Rejection { retry_after, ..reason.into() })
}

/// Why a walk ends early.
pub(super) enum Halt {
    Reject(Rejection),
    Await,
    AwaitBody,
    RejectTokenRequest(Fault),
    Tell(Box<Answer>),
}

impl From<Reason> for Halt {
    fn from(reason: Reason) -> Self {
        Self::Reject(reason.into())
    }
}

impl From<TokenError> for Halt {
    fn from(error: TokenError) -> Self {
        Self::Reject(error.into())
    }
}

impl From<TokenError> for Rejection {
    fn from(error: TokenError) -> Self {
        let about = match &error {
            TokenError::ClaimMissing(name) | TokenError::ClaimMalformed(name) => Some(name.as_ref().into()),
            TokenError::HeaderMember(name) => Some((*name).into()),
            TokenError::Malformed(_)
            | TokenError::TypeNotAccepted
            | TokenError::AlgorithmNotAllowed
            | TokenError::IssuerUnknown
            | TokenError::KeyNotFound
            | TokenError::SignatureInvalid
            | TokenError::Expired
            | TokenError::NotYetValid
            | TokenError::TooOld
            | TokenError::AudienceMismatch => None,
        };
        Self { about, ..error.reason().into() }
    }
}

impl From<CredentialError> for Halt {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Missing => Reason::CredentialMissing.into(),
            CredentialError::Ambiguous => Reason::CredentialAmbiguous.into(),
            CredentialError::Malformed => Reason::CredentialMalformed.into(),
        }
    }
}

impl From<TenantFault> for Halt {
    fn from(fault: TenantFault) -> Self {
        Self::Reject(Rejection { about: fault.about, ..fault.reason.into() })
    }
}
