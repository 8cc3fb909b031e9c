//! `scopegate explain`: one request's way through the filter, step by step.
//!
//! The decision is the filter's own: [`Exchange::advance_traced`], with what the command line says of
//! issuers. Its facts and its trace tell how each step went; nothing is decided again here.

mod explanation;
mod narrate;
mod nearby;
mod remedy;
mod sender;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;
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
use scopegate::issuer::state::KeysReply;
use scopegate::issuer::{ActivePolicy, IntrospectionOutcome, IssuerCall, Question, Waiter, WaiterId, Worker};
use scopegate::jose::PureVerifier;
use scopegate::jose::SkippedKey;
use scopegate::policy::Policy;
use scopegate::respond::{Answer, Rejection};
use scopegate::token_endpoint::{Fault, MAX_BODY_BYTES};

use self::explanation::Explanation;
use crate::source::{Source, read_bytes};
use crate::terminal::Terminal;
use crate::{CommandOutput, Failure, clock};

/// Walk one request through the filter and tell what each step sees and concludes.
///
/// Nothing is sent anywhere: keys and introspection answers come from files. An issuer without a file counts
/// as unreachable. The token is never printed; what it says is.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 the request passes, 1 it is refused, 2 there is no answer.

Examples:
  scopegate explain --config gateway.yaml --path /health
  scopegate explain --config gateway.yaml --method POST --path /acme/books \\
      --token token.jwt --jwks corp=jwks.json
  pbpaste | scopegate explain --config gateway.yaml --path /acme/books --token - \\
      --header 'x-tenant-id: acme' --introspection answer.json \\
      --now 2026-11-22T12:00:00Z --format json")]
pub struct Arguments {
    /// The configuration, YAML or JSON.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The request's method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// The request's path, with the query if any.
    #[arg(long)]
    path: String,
    /// A header of the request; repeatable.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// The request's scheme.
    #[arg(long, default_value = "https")]
    scheme: String,
    /// The request's host. Without one, only operations for any host match.
    #[arg(long, default_value = "")]
    host: String,
    /// A file with the access token; it is put where the configuration looks for one.
    #[arg(long, value_name = "FILE|-")]
    token: Option<PathBuf>,
    /// A provider's JWK Set, as its `remote_jwks` would give it; repeatable.
    #[arg(long, value_name = "PROVIDER=FILE", value_parser = parse_assignment)]
    jwks: Vec<(String, PathBuf)>,
    /// The issuer's answer to the introspection of the token (RFC 7662 section 2.2).
    #[arg(long, value_name = "FILE")]
    introspection: Option<PathBuf>,
    /// The form of a token request, where `--path` is one of `token_endpoints`.
    #[arg(long, value_name = "FILE|-")]
    body: Option<PathBuf>,
    /// SHA-256 of the client's certificate in DER, 64 hex digits (RFC 8705).
    #[arg(long, value_name = "HEX", value_parser = parse_digest)]
    client_certificate_sha256: Option<[u8; 32]>,
    /// The address of the connection's peer, for `certificate_header`.
    #[arg(long, value_name = "ADDRESS")]
    peer_address: Option<IpAddr>,
    /// The moment of the request, in RFC 3339 or seconds since the epoch; default the clock's.
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    now: Option<Duration>,
    /// How to tell it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// A request and what its issuers would say.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// All headers, pseudo-headers included, names in lower case.
    headers: Vec<(String, Vec<u8>)>,
    /// JWK Sets, by the provider's name.
    jwks: Vec<(String, Vec<u8>)>,
    /// The introspection answer.
    introspection: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    client_certificate: Option<[u8; 32]>,
    /// The address of the connection's peer.
    peer_address: Option<IpAddr>,
    now: Duration,
}

/// What the filter makes of a scene.
struct Decided {
    active: Rc<ActivePolicy>,
    end: End,
    trace: Trace,
    calls: Vec<Call>,
}

/// The tool's own environment, and no other worker.
struct Environment {
    peer_address: Option<IpAddr>,
}

impl Host for Environment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn peer_address(&self) -> Option<IpAddr> {
        self.peer_address
    }

    fn shared(&self) -> Option<&dyn SharedStore> {
        None
    }
}

/// How it ended.
enum End {
    Forwarded(Forward),
    Refused(Rejection, Facts),
    TokenRequestRefused(Fault, Facts),
    Told(Answer, Facts),
}

/// A call that the filter would have made.
struct Call {
    kind: CallKind,
    provider: String,
    /// Whether a file answered.
    answered: bool,
    fault: Option<IssuerFault>,
    /// The cluster and the URI that it would have gone to.
    place: String,
    /// Keys of the file that are not used, and why.
    skipped: Vec<SkippedKey>,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Result<CommandOutput, Failure> {
    let policy = Source::read(&arguments.config)?.load_valid()?.policy;
    let scene = scene(arguments, &policy)?;
    let explanation = explain(policy, &scene);
    let text = match arguments.format {
        Format::Text => explanation.text(terminal),
        Format::Json => format!("{:#}\n", explanation.json()),
    };
    Ok(CommandOutput { text, notes: Vec::new(), yes: explanation.passes() })
}

/// Decides the request and explains each step.
pub fn explain(policy: Policy, scene: &Scene) -> Explanation {
    narrate::narrate(scene, &decide(policy, scene))
}

/// Lets the filter decide. Its calls are answered at once, from the scene.
fn decide(policy: Policy, scene: &Scene) -> Decided {
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
            host: &Environment { peer_address: scene.peer_address },
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
            let name = name(provider);
            let body = scene.jwks.iter().find(|(of, _)| *of == name).map(|(_, body)| body.as_slice());
            let reply = body.map(|body| (200, body)).ok_or(IssuerFault::Unreachable);
            let kind = CallKind::Keys;
            let place = leads(provider, kind, tenant.as_deref());
            let KeysReply { fault, skipped, .. } =
                active.keys_reply(provider, tenant.as_deref(), reply, 0, scene.now);
            (Call { kind, provider: name, answered: body.is_some(), fault, place, skipped }, None)
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
            let call = Call { kind, provider, answered: body.is_some(), fault, place, skipped: Vec::new() };
            (call, Some(verdict))
        }
    }
}

/// The request that the command line describes.
fn scene(arguments: &Arguments, policy: &Policy) -> Result<Scene, Failure> {
    let reads_standard_input =
        [Some(&arguments.config), arguments.token.as_ref(), arguments.introspection.as_ref()]
            .into_iter()
            .flatten()
            .chain(arguments.jwks.iter().map(|(_, file)| file))
            .filter(|path| path.as_os_str() == "-")
            .count();
    if reads_standard_input > 1 {
        return Err(Failure("only one file can be standard input".to_owned()));
    }
    let mut scene = Scene {
        client_certificate: arguments.client_certificate_sha256,
        peer_address: arguments.peer_address,
        now: arguments.now.unwrap_or_else(clock::now),
        ..Scene::default()
    };
    let pseudo_headers = [
        (":method", &arguments.method),
        (":scheme", &arguments.scheme),
        (":authority", &arguments.host),
        (":path", &arguments.path),
    ];
    let own = arguments.headers.iter().map(|(name, value)| (name.as_str(), value));
    scene.headers = pseudo_headers
        .into_iter()
        .chain(own)
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .collect();
    for (provider, file) in &arguments.jwks {
        if !policy.providers.iter().any(|known| *known.name == **provider) {
            return Err(Failure(format!("--jwks: no provider is called `{provider}`")));
        }
        scene.jwks.push((provider.clone(), read_bytes(file)?.1));
    }
    if let Some(file) = &arguments.introspection {
        scene.introspection = Some(read_bytes(file)?.1);
    }
    if let Some(file) = &arguments.body {
        scene.body = Some(read_bytes(file)?.1);
    }
    if let Some(file) = &arguments.token {
        let (name, bytes) = read_bytes(file)?;
        let token =
            String::from_utf8(bytes).map_err(|_| Failure(format!("{name} holds no token: not UTF-8")))?;
        let token = token.trim();
        if token.is_empty() {
            return Err(Failure(format!("{name} holds no token: it is empty")));
        }
        put_token(&mut scene, token, policy);
    }
    Ok(scene)
}

/// Puts the token where the provider that it names looks for one, or else where any does.
fn put_token(scene: &mut Scene, token: &str, policy: &Policy) {
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

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    let name = name.trim().to_ascii_lowercase();
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !is_name {
        return Err("the name is empty or holds a character that no header's name may hold".to_owned());
    }
    if name == "host" {
        return Err("give the host with --host".to_owned());
    }
    Ok((name, value.trim().to_owned()))
}

fn parse_assignment(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("write it as PROVIDER=FILE")?;
    if name.is_empty() || file.is_empty() {
        return Err("write it as PROVIDER=FILE".to_owned());
    }
    Ok((name.to_owned(), PathBuf::from(file)))
}

fn parse_digest(text: &str) -> Result<[u8; 32], String> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':')
        .filter_map(|c| c.to_digit(16))
        .filter_map(|d| u8::try_from(d).ok())
        .collect();
    let mut digest = [0; 32];
    let is_hex = text.chars().all(|c| c == ':' || c.is_ascii_hexdigit());
    if !is_hex || digits.len() != 64 {
        return Err("a SHA-256 digest is 64 hex digits".to_owned());
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    }
    Ok(digest)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
