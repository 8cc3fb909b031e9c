//! One request as the filter decides it, with what its issuers would say: for `explain` and `test`.
//!
//! Every call that the filter would make is answered at once, from the scene. Nothing is sent anywhere, unless [`Scene::fetching`]
//! says so.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use scopegate::authenticate::{UntrustedToken, looks_like_jwt};
use scopegate::collections::shared_store::SharedStore;
use scopegate::credential::PlaceRef;
use scopegate::exchange::trace::Trace;
use scopegate::exchange::{Exchange, Facts, Forward, Host, Request, Step, Surroundings};
use scopegate::http::headers::borrowed;
use scopegate::issuer::IssuerFault;
use scopegate::issuer::calls::{CallKind, place};
use scopegate::issuer::provider::{Provider, ProviderKeys};
use scopegate::issuer::state::KeysReply;
use scopegate::issuer::{ActivePolicy, IntrospectionOutcome, IssuerCall, Question, Waiter, WaiterId, Worker};
use scopegate::jose::{PureVerifier, SkippedKey};
use scopegate::policy::Policy;
use scopegate::respond::{Answer, Rejection};
use scopegate::token_endpoint::{Fault, MAX_BODY_BYTES};

use crate::issuer_http::Fetching;
use crate::published::{self, Published};

/// A request and what its issuers would say.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// All headers, pseudo-headers included, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// JWK Sets, by the provider's name.
    pub jwks: Vec<(String, Vec<u8>)>,
    /// Metadata of issuers, by the provider's name.
    pub metadata: Vec<(String, Vec<u8>)>,
    /// Whether issuers are asked for what is not given here of metadata and keys.
    pub fetching: Fetching,
    /// The introspection answer.
    pub introspection: Option<Vec<u8>>,
    /// The form of a token request.
    pub body: Option<Vec<u8>>,
    /// SHA-256 of the client's certificate in DER.
    pub client_certificate: Option<[u8; 32]>,
    /// The address of the connection's peer.
    pub peer_address: Option<IpAddr>,
    /// Since the epoch.
    pub now: Duration,
    /// The access token, where one was put.
    pub token: Option<String>,
    /// What every variable of the VM's environment holds; None for the tool's own environment.
    pub variables: Option<String>,
}

/// What the filter makes of a scene.
pub struct Decided {
    /// The policy, with what was learnt.
    pub active: Rc<ActivePolicy>,
    /// How it ended.
    pub end: End,
    /// How each step went.
    pub trace: Trace,
    /// The calls that the filter would have made.
    pub calls: Vec<Call>,
}

/// No other worker, and what the scene says of the rest.
struct Environment<'s> {
    scene: &'s Scene,
}

impl Host for Environment<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.scene.variables.clone().or_else(|| std::env::var(name).ok())
    }

    fn peer_address(&self) -> Option<IpAddr> {
        self.scene.peer_address
    }

    fn shared(&self) -> Option<&dyn SharedStore> {
        None
    }
}

/// How it ended.
pub enum End {
    /// It reaches the upstream.
    Forwarded(Forward),
    /// It is refused.
    Refused(Rejection, Facts),
    /// It is a token request and refused.
    TokenRequestRefused(Fault, Facts),
    /// It is answered with what anybody may know.
    Told(Answer, Facts),
}

impl End {
    /// What was learned about the request.
    pub fn facts(&self) -> &Facts {
        match self {
            Self::Forwarded(forward) => &forward.facts,
            Self::Refused(_, facts) | Self::TokenRequestRefused(_, facts) | Self::Told(_, facts) => facts,
        }
    }
}

/// A call that the filter would have made.
pub struct Call {
    /// For what.
    pub kind: CallKind,
    /// The provider's name.
    pub provider: String,
    /// Whether the scene answered.
    pub answered: bool,
    /// What was wrong with the answer.
    pub fault: Option<IssuerFault>,
    /// The cluster and the URI that it would have gone to.
    pub place: String,
    /// Keys of the file that are not used, and why.
    pub skipped: Vec<SkippedKey>,
    /// What the issuer publishes, where that was looked at.
    pub published: Option<Published>,
}

/// Lets the filter decide. Its calls are answered at once, from the scene.
pub fn decide(policy: Policy, scene: &Scene) -> Decided {
    let active = Worker::default().activate(policy);
    let mut exchange = Exchange::new(Rc::clone(&active));
    let headers = borrowed(&scene.headers);
    let request = Request::new(&headers);
    let mut calls = Vec::new();
    let mut trace = Trace::default();
    loop {
        let mut issuer_calls = Vec::new();
        let mut surroundings = Surroundings {
            verifier: &PureVerifier,
            client_certificate: &|| scene.client_certificate,
            host: &Environment { scene },
            now: scene.now,
            waiter: Waiter { id: WaiterId(1), bytes: 0 },
            can_log: true,
            calls: &mut issuer_calls,
        };
        let end = match exchange.advance_traced(&request, &mut surroundings, &mut trace) {
            Step::Forward(forward) => End::Forwarded(forward),
            Step::Reject(rejection, facts) => End::Refused(*rejection, facts),
            Step::Tell(answer, facts) => End::Told(*answer, facts),
            Step::RejectTokenRequest(fault, facts) => End::TokenRequestRefused(*fault, facts),
            Step::AwaitBody => {
                exchange.deliver_body(match &scene.body {
                    None => Err(Fault::NoBody),
                    Some(body) if body.len() > MAX_BODY_BYTES => Err(Fault::TooLarge),
                    Some(body) => Ok(body.clone()),
                });
                continue;
            }
            // The exchange bounds how often it waits.
            Step::Await => {
                for issuer_call in issuer_calls {
                    let (call, verdict) = answer(&active, scene, issuer_call);
                    exchange.deliver(verdict);
                    calls.push(call);
                }
                continue;
            }
        };
        return Decided { active, end, trace, calls };
    }
}

fn answer(active: &ActivePolicy, scene: &Scene, call: IssuerCall) -> (Call, Option<IntrospectionOutcome>) {
    let name = |id| active.policy.provider(id).map_or(String::new(), |provider| provider.name.to_string());
    let leads = |id, kind, tenant| {
        active.policy.provider(id).map_or(String::new(), |provider| place(provider, kind, tenant))
    };
    match call {
        IssuerCall::FetchKeys { provider, tenant, .. } => {
            let kind = CallKind::Keys;
            let place = leads(provider, kind, tenant.as_deref());
            let (name, asked) = (name(provider), active.policy.provider(provider));
            let (published, reply) = match asked.filter(|_| scene.looks_at_issuer(&name)) {
                Some(asked) => {
                    let (published, reply) = scene.fetch(asked, tenant.as_deref());
                    (Some(published), reply)
                }
                None => {
                    let body = file_of(&scene.jwks, &name).map(<[u8]>::to_vec);
                    (None, body.map(|body| (200, body)).ok_or(IssuerFault::Unreachable))
                }
            };
            let answered = reply.is_ok();
            let reply = match &reply {
                Ok((status, body)) => Ok((*status, &**body)),
                Err(fault) => Err(fault.clone()),
            };
            let KeysReply { fault, skipped, .. } =
                active.keys_reply(provider, tenant.as_deref(), reply, 0, scene.now);
            (Call { kind, provider: name, answered, fault, place, skipped, published }, None)
        }
        IssuerCall::Introspect { provider, token, tenant } => {
            let question = Question { token: &token, tenant: tenant.as_deref() };
            let body = scene.introspection.as_deref();
            let reply = body.map(|body| (200, body)).ok_or(IssuerFault::Unreachable);
            let opened = active.open_response(provider, question, reply, &PureVerifier, scene.now);
            let plain = match &opened {
                Ok((status, body)) => Ok((*status, &**body)),
                Err(fault) => Err(fault.clone()),
            };
            let (_, verdict) = active.introspection_reply(provider, question, plain, scene.now);
            let fault = match &verdict {
                IntrospectionOutcome::Fault(fault) => Some(fault.clone()),
                IntrospectionOutcome::Active(_) | IntrospectionOutcome::Refused { .. } => None,
            };
            let kind = CallKind::Introspection;
            let (provider, place) = (name(provider), leads(provider, kind, tenant.as_deref()));
            let answered = body.is_some();
            let call = Call { kind, provider, answered, fault, place, skipped: Vec::new(), published: None };
            (call, Some(verdict))
        }
    }
}

impl Scene {
    /// Whether what the issuer publishes is to be looked at, and not its keys alone taken from a file.
    fn looks_at_issuer(&self, provider: &str) -> bool {
        self.fetching.fetch || file_of(&self.metadata, provider).is_some()
    }

    /// Fetches as the filter does. What the scene has answers first.
    fn fetch(&self, provider: &Provider, tenant: Option<&str>) -> (Published, published::Fetched) {
        let is_discovered = match &provider.keys {
            ProviderKeys::Remote(remote) => remote.discovery.is_some(),
            ProviderKeys::Local(_) | ProviderKeys::None => false,
        };
        let mut files = vec![&self.jwks];
        if is_discovered {
            files.push(&self.metadata);
        }
        published::fetch(provider, tenant, &mut |cluster, call| {
            let file = files.pop().and_then(|files| file_of(files, &provider.name));
            match file {
                Some(body) => Ok((200, body.to_vec())),
                None if self.fetching.fetch => self.fetching.send(cluster, call),
                None => Err("no file was given".to_owned()),
            }
        })
    }
}

fn file_of<'f>(files: &'f [(String, Vec<u8>)], provider: &str) -> Option<&'f [u8]> {
    files.iter().find(|(of, _)| *of == provider).map(|(_, body)| body.as_slice())
}

/// Puts the token where the provider that it names looks for one, or else where any does.
pub fn put_token(scene: &mut Scene, token: &str, policy: &Policy) {
    let provider = UntrustedToken::parse(token).ok().filter(|_| looks_like_jwt(token)).and_then(|parsed| {
        let issuer = parsed.issuer().ok().flatten()?;
        policy.provider_of_issuer(issuer).map(|(id, _)| id)
    });
    let mut places: Vec<_> = policy.places.iter().collect();
    let has_proof = scene.headers.iter().any(|(name, _)| name == "dpop");
    places.sort_by_key(|(place, prefix, providers)| {
        (
            !provider.is_some_and(|id| providers.contains(id)),
            *place != PlaceRef::Header("authorization"),
            // A proof comes with a token under its own scheme (RFC 9449 section 7.1).
            prefix.trim_end().eq_ignore_ascii_case("dpop") != has_proof,
        )
    });
    let Some((place, prefix, _)) = places.first() else { return };
    scene.token = Some(token.to_owned());
    match place {
        PlaceRef::Header(name) => {
            scene.headers.push(((*name).to_owned(), format!("{prefix}{token}").into_bytes()))
        }
        PlaceRef::Cookie(name) => {
            scene.headers.push(("cookie".to_owned(), format!("{name}={token}").into_bytes()))
        }
        PlaceRef::Parameter(name) => {
            use scopegate::http::percent;
            let path = scene.headers.iter_mut().find(|(name, _)| name == ":path");
            if let Some((_, path)) = path {
                let separator = if path.contains(&b'?') { '&' } else { '?' };
                let parameter = format!("{separator}{}={}", percent::encode(name), percent::encode(token));
                path.extend_from_slice(parameter.as_bytes());
            }
        }
    }
}

/// Bytes as text, whatever they are.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
