//! A policy under test: its issuers' keys are thrown-away ones, and each case is decided as the filter would, by a worker that
//! has seen nothing before.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scopegate::authenticate::TenantPattern;
use scopegate::authenticate::{ClaimPath, TokenRules};
use scopegate::config::document::{Node, Value as DocumentValue, parse_json};
use scopegate::config::{self, ConfigErrors, duration};
use scopegate::exchange::{Decision, Facts, HeaderEdits, Record, Request};
use scopegate::http::headers::borrowed;
use scopegate::ids::{OperationId, TenantId};
use scopegate::issuer::provider::{Provider, ProviderKeys};
use scopegate::jose::Algorithm;
use scopegate::policy::Policy;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::case_file::{Case, Fact, Introspection, TokenKind, TokenParts};
use super::mint::{Keys, random, usual_algorithm};
use crate::clock;
use crate::envoy_file::owned;
use crate::explain::explanation::Explanation;
use crate::explain::narrate::narrate;
use crate::scene::{Decided, End, Scene, decide, put_token};

/// A policy, and the keys that stand in for those of its issuers.
pub struct Bench {
    /// Gone only while a case is decided.
    policy: Option<Policy>,
    providers: Map<String, Value>,
    keys: Keys,
    issued: Issued,
}

/// Whose keys verify the tokens.
enum Issued {
    /// Throw-away ones, in place of each provider's.
    Here,
    /// The provider's own. This JWK Set is in place of each provider's; without one, those that are fetched cannot be.
    Elsewhere(Option<String>),
}

/// What came of a case.
pub struct Outcome {
    /// How it ended.
    pub decision: Decision,
    /// The status of the filter's own answer; 200 where the request passes.
    pub status: u16,
    /// Why it was refused, or would have been.
    pub reason: Option<String>,
    /// What the filter tells logs.
    pub facts: Vec<(Fact, Option<String>)>,
    /// The headers as the upstream gets them, where the request passes.
    pub upstream: Vec<(String, Vec<u8>)>,
    /// The headers of the filter's own answer.
    pub response: Vec<(String, String)>,
    /// The form of a token request as the authorization server gets it.
    pub body: Option<Vec<u8>>,
    /// What of the policy it touched.
    pub touched: Touched,
    /// What each step made of it.
    pub explanation: Explanation,
}

/// What of a policy a case touched.
#[derive(Clone, Copy, Debug)]
pub struct Touched {
    /// The operation called.
    pub operation: Option<OperationId>,
    /// The tenant.
    pub tenant: Option<TenantId>,
    /// The application, by its place among the tenant's.
    pub application: Option<(TenantId, usize)>,
}

/// Who signs proofs.
const CLIENT: &str = " client";
/// What every variable of the VM's environment holds; long enough for any secret.
const VARIABLE: &str = "throw-away-throw-away-throw-away-throw-away";

impl Bench {
    /// The policy of `document`, with throw-away keys for what `cases` need.
    ///
    /// # Errors
    ///
    /// The document's.
    pub fn new(document: &Node<'_>, cases: &[Case]) -> Result<Self, ConfigErrors> {
        Self::with_keys(document, cases, Keys::default())
    }

    /// The same, with keys that were made before.
    ///
    /// # Errors
    ///
    /// The document's.
    pub fn with_keys(document: &Node<'_>, cases: &[Case], keys: Keys) -> Result<Self, ConfigErrors> {
        let mut bench = Self::unprepared(document, keys, Issued::Here)?;
        bench.prepare_keys(cases);
        bench.replace_keys(document)?;
        Ok(bench)
    }

    /// The policy of `document` for a token that an issuer has signed, with its JWK Set.
    ///
    /// # Errors
    ///
    /// The document's, or the key set's.
    pub fn for_issued(document: &Node<'_>, jwks: Option<&str>) -> Result<Self, ConfigErrors> {
        let issued = Issued::Elsewhere(jwks.map(str::to_owned));
        let mut bench = Self::unprepared(document, Keys::default(), issued)?;
        bench.replace_keys(document)?;
        Ok(bench)
    }

    fn unprepared(document: &Node<'_>, keys: Keys, issued: Issued) -> Result<Self, ConfigErrors> {
        let policy = config::from_document(document)?.policy;
        let providers = match member(&document.value, "providers").map(DocumentValue::to_json) {
            Some(Value::Object(providers)) => providers,
            Some(_) | None => Map::new(),
        };
        Ok(Self { policy: Some(policy), providers, keys, issued })
    }

    fn replace_keys(&mut self, document: &Node<'_>) -> Result<(), ConfigErrors> {
        if let Some(replaced) = self.with_own_keys(document) {
            self.policy = Some(config::from_document(&replaced)?.policy);
        }
        Ok(())
    }

    /// The JWK Set of a provider, where there is one.
    fn jwks(&self, provider: &str) -> Option<String> {
        match &self.issued {
            Issued::Here => Some(self.keys.jwks(provider).to_string()),
            Issued::Elsewhere(jwks) => jwks.clone(),
        }
    }

    /// What the document says of a provider.
    pub(super) fn settings(&self, provider: &str) -> Value {
        self.providers.get(provider).cloned().unwrap_or_default()
    }

    /// The policy.
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// Its keys, for another.
    pub fn into_keys(self) -> Keys {
        self.keys
    }

    fn prepare_keys(&mut self, cases: &[Case]) {
        let Some(policy) = &self.policy else { return };
        let mut needed: BTreeSet<(String, Algorithm)> = BTreeSet::new();
        for case in cases {
            let Ok(provider) = provider_of(policy, &case.token) else { continue };
            let algorithm = case.token.algorithm.or_else(|| usual_algorithm(provider.rules.algorithms));
            if is_signed(provider, &case.token) || signed_for(provider).is_some() {
                needed.extend(algorithm.map(|algorithm| (provider.name.to_string(), algorithm)));
            }
            if case.token.dpop == Some(true) {
                needed.extend(proof_algorithm(provider).map(|algorithm| (CLIENT.to_owned(), algorithm)));
            }
        }
        for (signer, algorithm) in needed {
            // A key that is missing is told of by the case that needs it.
            let _ = self.keys.prepare(&signer, algorithm);
        }
    }

    /// The document with the keys that stand in for each `local_jwks`; None where it has none.
    fn with_own_keys(&self, document: &Node<'_>) -> Option<Node<'static>> {
        let mut replaced = None;
        for name in self.providers.keys() {
            let has_own =
                self.providers.get(name).is_some_and(|provider| provider.get("local_jwks").is_some());
            let Some(jwks) = self.jwks(name).filter(|_| has_own) else { continue };
            let mut document = replaced.take().unwrap_or_else(|| owned(document));
            let keys = owned(&parse_json(jwks.as_bytes()).ok()?);
            let provider = member_mut(member_mut(&mut document, "providers")?, name)?;
            member_mut(provider, "local_jwks")?.value = keys.value;
            replaced = Some(document);
        }
        replaced
    }

    /// Decides a case.
    ///
    /// # Errors
    ///
    /// What keeps the case from being put.
    pub fn decide(&mut self, case: &Case) -> Result<Outcome, String> {
        let scene = self.scene_of(case)?;
        self.decide_scene(&scene)
    }

    /// The request of a case, with its token, and what its issuers say.
    ///
    /// # Errors
    ///
    /// What keeps the case from being put.
    pub fn scene_of(&self, case: &Case) -> Result<Scene, String> {
        self.scene(case, self.policy.as_ref().ok_or("the policy was lost")?)
    }

    /// Decides a request.
    ///
    /// # Errors
    ///
    /// That a decision before ended in the middle.
    pub fn decide_scene(&mut self, scene: &Scene) -> Result<Outcome, String> {
        let policy = self.policy.take().ok_or("the policy was lost")?;
        let decided = decide(policy, scene);
        let outcome = outcome(scene, &decided);
        let Decided { active, end, .. } = decided;
        drop(end);
        self.policy = Rc::into_inner(active).map(|active| active.policy);
        Ok(outcome)
    }

    fn scene(&self, case: &Case, policy: &Policy) -> Result<Scene, String> {
        let now = case.now.unwrap_or_else(clock::now);
        let parts = &case.request;
        let tenant = case.token.tenant.as_deref();
        let filled = |text: &str| match (tenant, text.contains(TENANT)) {
            (Some(tenant), true) => Ok(text.replace(TENANT, tenant)),
            (None, true) => Err(format!("`{text}` holds `{TENANT}`, and the token has no `tenant`")),
            (_, false) => Ok(text.to_owned()),
        };
        let method = parts.method.as_deref().unwrap_or("GET");
        let path = filled(parts.path.as_deref().unwrap_or("/"))?;
        let mut scene = Scene {
            headers: vec![
                (":method".to_owned(), method.into()),
                (":scheme".to_owned(), parts.scheme.as_deref().unwrap_or("https").into()),
                (":authority".to_owned(), filled(parts.host.as_deref().unwrap_or_default())?.into()),
                (":path".to_owned(), path.clone().into()),
            ],
            body: parts.body.as_deref().map(filled).transpose()?.map(String::into_bytes),
            client_certificate: parts.client_certificate,
            peer_address: parts.peer_address,
            now,
            variables: Some(VARIABLE.to_owned()),
            ..Scene::default()
        };
        for (name, values) in &parts.headers {
            for value in values {
                scene.headers.push((name.clone(), filled(value)?.into()));
            }
        }
        if scene.body.is_some() && !scene.headers.iter().any(|(name, _)| name == "content-type") {
            let form = b"application/x-www-form-urlencoded".to_vec();
            scene.headers.push(("content-type".to_owned(), form));
        }
        if !case.keys_unreachable {
            let jwks = |name: &String| Some((name.clone(), self.jwks(name)?.into_bytes()));
            scene.jwks = self.providers.keys().filter_map(jwks).collect();
        }
        self.add_token(case, policy, (method, &path), &mut scene)?;
        Ok(scene)
    }

    fn add_token(
        &self,
        case: &Case,
        policy: &Policy,
        (method, path): (&str, &str),
        scene: &mut Scene,
    ) -> Result<(), String> {
        let parts = &case.token;
        let literal = match &case.introspection {
            Some(Introspection::Body(body)) => Some(Some(body.clone())),
            Some(Introspection::Unreachable) => Some(None),
            None => None,
        };
        let tenant = parts.tenant.as_deref();
        if let Some(body) = literal.clone().flatten() {
            scene.introspection = Some(at_moment(body, scene.now, tenant)?.to_string().into_bytes());
        }
        if parts.kind == Some(TokenKind::None) || parts.is_absent() {
            return Ok(());
        }
        if let Some(raw) = &parts.raw {
            put_token(scene, raw, policy);
            return Ok(());
        }
        let provider = provider_of(policy, parts)?;
        let settings = self.settings(&provider.name);
        let mut claims = claims(parts, provider, &settings, scene.now)?;
        let algorithm = parts.algorithm.or_else(|| usual_algorithm(provider.rules.algorithms));
        let proof_algorithm = proof_algorithm(provider).filter(|_| parts.dpop == Some(true));
        if parts.dpop == Some(true) && proof_algorithm.is_none() {
            return Err(format!("provider `{}` takes no proofs (`dpop`)", provider.name));
        }
        let proof_key = proof_algorithm.and_then(|algorithm| self.keys.jwk(CLIENT, algorithm));
        if let Some(key) = &proof_key {
            claims.insert("cnf".to_owned(), json!({"jkt": thumbprint(key)}));
        }
        let Value::Object(claims) = at_moment(Value::Object(claims), scene.now, tenant)? else {
            return Err("the claims are no map".to_owned());
        };
        if literal.is_none() {
            let mut answer = claims.clone();
            answer.insert("active".to_owned(), true.into());
            let kind = if proof_key.is_some() { "DPoP" } else { "Bearer" };
            answer.entry("token_type").or_insert_with(|| kind.into());
            scene.introspection = Some(Value::Object(answer).to_string().into_bytes());
        }
        if let Some(audience) = signed_for(provider) {
            let body = scene.introspection.take().unwrap_or_default();
            scene.introspection = self.signed_response(provider, algorithm, audience, &body, scene.now);
        }
        let token = if is_signed(provider, parts) {
            let algorithm =
                algorithm.ok_or_else(|| format!("provider `{}` accepts no algorithm", provider.name))?;
            let header = header(parts, &provider.rules);
            let token = self.keys.sign(&provider.name, algorithm, header, &claims);
            let token = token.ok_or("no throw-away key could be made")?;
            if parts.is_forged == Some(true) { forged(&token) } else { token }
        } else {
            let unique = random::<16>().ok_or("this machine gives no random numbers")?;
            format!("opaque-{}", URL_SAFE_NO_PAD.encode(unique))
        };
        if let (Some(algorithm), Some(key)) = (proof_algorithm, proof_key) {
            let origin = settings.pointer("/dpop/public_origin").and_then(Value::as_str).unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            let unique = random::<16>().ok_or("this machine gives no random numbers")?;
            let mut proof = Map::new();
            proof.insert("jti".to_owned(), URL_SAFE_NO_PAD.encode(unique).into());
            proof.insert("htm".to_owned(), method.into());
            proof.insert("htu".to_owned(), format!("{}{path}", origin.trim_end_matches('/')).into());
            proof.insert("iat".to_owned(), scene.now.as_secs().into());
            proof.insert("ath".to_owned(), URL_SAFE_NO_PAD.encode(Sha256::digest(&token)).into());
            let nonces = provider.dpop.as_ref().and_then(|dpop| dpop.nonce.as_ref());
            let nonces = nonces.and_then(|nonce| nonce.nonces(&|_| Some(VARIABLE.to_owned())));
            if let Some(nonces) = nonces {
                proof.insert("nonce".to_owned(), (&*nonces.fresh(scene.now)).into());
            }
            let header = json!({"typ": "dpop+jwt", "jwk": key, "kid": null});
            let header = header.as_object().cloned().unwrap_or_default();
            let proof = self.keys.sign(CLIENT, algorithm, header, &proof);
            let proof = proof.ok_or("no throw-away key could be made")?;
            scene.headers.push(("dpop".to_owned(), proof.into_bytes()));
        }
        put_token(scene, &token, policy);
        Ok(())
    }

    /// An answer as an issuer signs it (RFC 9701 section 5).
    fn signed_response(
        &self,
        provider: &Provider,
        algorithm: Option<Algorithm>,
        audience: &str,
        body: &[u8],
        now: Duration,
    ) -> Option<Vec<u8>> {
        let members: Value = serde_json::from_slice(body).ok()?;
        let mut claims = Map::new();
        if let Some(issuer) = members.get("iss").and_then(Value::as_str) {
            claims.insert("iss".to_owned(), issuer.into());
        } else if let Some(TenantPattern::Exact(issuer)) = &provider.issuer {
            claims.insert("iss".to_owned(), (&**issuer).into());
        }
        claims.insert("aud".to_owned(), audience.into());
        claims.insert("iat".to_owned(), now.as_secs().into());
        claims.insert("token_introspection".to_owned(), members);
        let header = Map::from_iter([("typ".to_owned(), "token-introspection+jwt".into())]);
        self.keys.sign(&provider.name, algorithm?, header, &claims).map(String::into_bytes)
    }
}

/// By which name signed responses know the gateway, where they are signed.
fn signed_for(provider: &Provider) -> Option<&str> {
    provider.introspection.as_ref()?.signed_for.as_deref()
}

/// What stands for the tenant of a case's token.
pub(super) const TENANT: &str = "{tenant}";

/// Whose token a case mints.
pub(super) fn provider_of<'p>(policy: &'p Policy, token: &TokenParts) -> Result<&'p Provider, String> {
    let names = || {
        policy.providers.iter().map(|provider| format!("`{}`", provider.name)).collect::<Vec<_>>().join(", ")
    };
    match (&token.provider, &*policy.providers) {
        (Some(name), providers) => providers
            .iter()
            .find(|provider| *provider.name == **name)
            .ok_or_else(|| format!("no provider is called `{name}`; there are {}", names())),
        (None, [provider]) => Ok(provider),
        (None, _) => Err(format!("say `token.provider`: there are {}", names())),
    }
}

pub(super) fn is_signed(provider: &Provider, token: &TokenParts) -> bool {
    match (token.kind, &provider.keys) {
        (Some(TokenKind::Jwt), _) => true,
        (Some(TokenKind::Opaque | TokenKind::None), _) | (None, ProviderKeys::None) => false,
        (None, ProviderKeys::Local(_) | ProviderKeys::Remote(_)) => true,
    }
}

fn proof_algorithm(provider: &Provider) -> Option<Algorithm> {
    usual_algorithm(provider.dpop.as_ref()?.rules.algorithms)
}

/// The claims of a token that its provider takes, with what the case says of them.
pub(super) fn claims(
    parts: &TokenParts,
    provider: &Provider,
    settings: &Value,
    now: Duration,
) -> Result<Map<String, Value>, String> {
    if parts.is_whole {
        return Ok(parts.claims.clone());
    }
    let mut claims = Map::new();
    let of_tenant = |pattern: &str| match &parts.tenant {
        Some(tenant) => Ok(pattern.replace(TENANT, tenant)),
        None if pattern.contains(TENANT) => Err(format!(
            "provider `{}` has `{pattern}`: say `token.tenant`, which stands for `{TENANT}`",
            provider.name
        )),
        None => Ok(pattern.to_owned()),
    };
    if let Some(issuer) = settings.get("issuer").and_then(Value::as_str)
        && !parts.claims.contains_key("iss")
    {
        claims.insert("iss".to_owned(), of_tenant(issuer)?.into());
    }
    let audiences: Vec<&str> = settings
        .get("audiences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let audience = audiences.iter().find(|audience| !audience.contains(TENANT)).or(audiences.first());
    if let Some(audience) = audience
        && !parts.claims.contains_key("aud")
    {
        claims.insert("aud".to_owned(), of_tenant(audience)?.into());
    }
    let paths = &provider.rules.claims;
    let subject = parts.subject.as_ref().or(parts.client.as_ref());
    for (value, paths) in [
        (parts.tenant.as_ref(), &paths.tenant),
        (parts.client.as_ref(), &paths.client),
        (subject, &paths.subject),
        (parts.scope.as_ref(), &paths.scope),
    ] {
        if let (Some(value), Some(path)) = (value, paths.first()) {
            insert(&mut claims, path, value);
        }
    }
    let lifetime = Duration::from_secs(300);
    claims.insert("iat".to_owned(), now.as_secs().into());
    claims.insert("exp".to_owned(), now.saturating_add(lifetime).as_secs().into());
    if provider.rules.profile.is_some() {
        // RFC 9068 section 2.2 asks for it.
        let unique = random::<16>().ok_or("this machine gives no random numbers")?;
        claims.insert("jti".to_owned(), URL_SAFE_NO_PAD.encode(unique).into());
    }
    claims.extend(parts.claims.clone());
    claims.retain(|_, value| !value.is_null());
    Ok(claims)
}

fn insert(claims: &mut Map<String, Value>, path: &ClaimPath, value: &str) {
    let names: Vec<&str> = path.names().collect();
    let Some((last, outer)) = names.split_last() else { return };
    let mut object = claims;
    for name in outer {
        let inner = object.entry(*name).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(inner) = inner else { return };
        object = inner;
    }
    object.insert((*last).to_owned(), value.into());
}

pub(super) fn header(parts: &TokenParts, rules: &TokenRules) -> Map<String, Value> {
    if parts.is_whole {
        return parts.header.clone();
    }
    let accepted = rules.token_types.as_ref().and_then(|types| types.first());
    let usual = if rules.accepts_type(Some("at+jwt")) { None } else { accepted };
    let mut header = Map::new();
    header.insert("typ".to_owned(), usual.map_or("at+jwt", |usual| usual).into());
    header.extend(parts.header.clone());
    header
}

/// The token with another signature.
fn forged(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    if let Some(middle) = bytes.len().checked_div(2).and_then(|at| bytes.get_mut(at)) {
        *middle ^= 1;
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// RFC 7638 section 3: the required members in lexicographic order.
fn thumbprint(jwk: &Value) -> String {
    let members: Vec<String> = ["crv", "e", "kty", "n", "x", "y"]
        .iter()
        .filter_map(|name| Some(format!("\"{name}\":{}", jwk.get(name)?)))
        .collect();
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{{{}}}", members.join(","))))
}

/// `value` with the seconds of `now` for each string `{now}`, `{now+5m}` or `{now-5m}`, and the tenant for `{tenant}`.
fn at_moment(value: Value, now: Duration, tenant: Option<&str>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => match text.strip_prefix("{now").and_then(|rest| rest.strip_suffix('}')) {
            None => match tenant {
                Some(tenant) => Value::String(text.replace(TENANT, tenant)),
                None => Value::String(text),
            },
            Some(shift) => {
                let length =
                    |text: &str| duration::parse(text).ok_or_else(|| format!("`{shift}` is no duration"));
                let moment = match (shift.strip_prefix('+'), shift.strip_prefix('-')) {
                    (Some(later), _) => now.saturating_add(length(later)?),
                    (None, Some(earlier)) => now.saturating_sub(length(earlier)?),
                    (None, None) if shift.is_empty() => now,
                    (None, None) => return Err(format!("`{text}`: write {{now}}, {{now+5m}} or {{now-5m}}")),
                };
                moment.as_secs().into()
            }
        },
        Value::Array(items) => {
            let items: Result<Vec<Value>, String> =
                items.into_iter().map(|item| at_moment(item, now, tenant)).collect();
            Value::Array(items?)
        }
        Value::Object(members) => {
            let members: Result<Map<String, Value>, String> = members
                .into_iter()
                .map(|(name, member)| Ok((name, at_moment(member, now, tenant)?)))
                .collect();
            Value::Object(members?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    })
}

fn outcome(scene: &Scene, decided: &Decided) -> Outcome {
    let policy = &decided.active.policy;
    let explanation = narrate(scene, decided);
    let facts = decided.end.facts();
    let record = Record::new(facts, policy);
    let name = |text: Option<&str>| text.map(str::to_owned);
    let named = vec![
        (Fact::Tenant, name(record.tenant)),
        (Fact::Client, name(record.client)),
        (Fact::Subject, name(record.subject)),
        (Fact::Suite, name(record.suite)),
        (
            Fact::Operation,
            record.suite.zip(record.operation).map(|(suite, operation)| format!("{suite}/{operation}")),
        ),
    ];
    let (mut upstream, mut body) = (Upstream(scene.headers.clone()), None);
    match &decided.end {
        End::Forwarded(forward) => {
            let headers = borrowed(&scene.headers);
            forward.edit(&Request::new(&headers), policy, &mut upstream);
            body = forward.body.clone().or_else(|| scene.body.clone());
        }
        End::Refused(..) | End::TokenRequestRefused(..) | End::Told(..) => upstream.0.clear(),
    }
    let response = explanation.answer.as_ref().map_or_else(Vec::new, |answer| {
        answer.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    });
    Outcome {
        decision: facts.decision,
        status: explanation.answer.as_ref().map_or(200, |answer| answer.status),
        reason: record.reason.map(str::to_owned),
        facts: named,
        upstream: upstream.0,
        response,
        body,
        touched: touched(facts, policy),
        explanation,
    }
}

fn touched(facts: &Facts, policy: &Policy) -> Touched {
    let asking = facts.token_request.as_deref().and_then(|request| request.client.as_ref());
    let standing = facts.standing.as_deref();
    let tenant = standing.map(|standing| standing.tenant).or_else(|| asking.map(|client| client.tenant));
    let application = tenant.and_then(|id| {
        let known = policy.tenants.tenant(id)?;
        let client = facts.identity.as_ref().and_then(|identity| identity.principal.client.as_deref());
        let place = match (standing, asking) {
            (Some(standing), _) => known.application_place(standing.provider, client?)?,
            (None, Some(asking)) => {
                let own = known.applications.as_deref()?;
                own.iter().position(|application| application.client_id == asking.client_id)?
            }
            (None, None) => return None,
        };
        Some((id, place))
    });
    Touched { operation: facts.operation, tenant, application }
}

/// Headers as they are changed for the upstream.
struct Upstream(Vec<(String, Vec<u8>)>);

impl HeaderEdits for Upstream {
    fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(own, _)| own.as_bytes() != name);
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name.as_bytes());
        self.add(name, value);
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.to_owned(), value.to_vec()));
    }
}

fn member<'v, 'd>(value: &'v DocumentValue<'d>, key: &str) -> Option<&'v DocumentValue<'d>> {
    let DocumentValue::Map(members) = value else { return None };
    members.iter().find(|member| member.key == key).map(|member| &member.node.value)
}

fn member_mut<'n>(node: &'n mut Node<'static>, key: &str) -> Option<&'n mut Node<'static>> {
    let DocumentValue::Map(members) = &mut node.value else { return None };
    members.iter_mut().find(|member| member.key == key).map(|member| &mut member.node)
}
