//! Case files (`*_test.yaml`), read into cases.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use scopegate::config::reader::{Cursor, Fields, Report};
use scopegate::config::{ConfigErrors, ErrorKind, Mark, parse_yaml_document};
use scopegate::exchange::Decision;
use scopegate::jose::Algorithm;
use scopegate::respond::Reason;
use scopegate::token_endpoint::ErrorCode;
use serde_json::{Map, Value};

use crate::clock;
use crate::explain::parse_digest;

/// One case file.
#[derive(Debug)]
pub struct CaseFile {
    /// The policy that it is for, relative to the file's directory.
    pub config: Option<PathBuf>,
    /// Its cases, those of its matrices included.
    pub cases: Vec<Case>,
}

/// One request and what is expected of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Where it stands in its file.
    pub mark: Option<Mark>,
    /// When the request comes; default the clock's.
    pub now: Option<Duration>,
    /// The request.
    pub request: RequestParts,
    /// The access token that it carries.
    pub token: TokenParts,
    /// What an introspection is answered; default what the token says.
    pub introspection: Option<Introspection>,
    /// Whether issuers cannot be reached for their keys.
    pub keys_unreachable: bool,
    /// What the filter has to make of it.
    pub expected: Expected,
}

/// The parts of a request that a case, or the `defaults` of its file, say.
#[derive(Clone, Debug, Default)]
pub struct RequestParts {
    /// The method.
    pub method: Option<String>,
    /// The path and query; `{tenant}` stands for the token's `tenant`.
    pub path: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// `https` or `http`.
    pub scheme: Option<String>,
    /// Headers by name, each with its values in their order.
    pub headers: Vec<(String, Vec<String>)>,
    /// The form of a token request.
    pub body: Option<String>,
    /// SHA-256 of the client's certificate.
    pub client_certificate: Option<[u8; 32]>,
    /// Who connects.
    pub peer_address: Option<IpAddr>,
}

/// The parts of a token that a case, or the `defaults` of its file, say.
#[derive(Clone, Debug, Default)]
pub struct TokenParts {
    /// What kind of token; default a JWT where the provider has keys, else an opaque one.
    pub kind: Option<TokenKind>,
    /// Whose token.
    pub provider: Option<String>,
    /// Stands in the tenant's claim, and for `{tenant}` in issuer, audience and request.
    pub tenant: Option<String>,
    /// Stands in the client's claim.
    pub client: Option<String>,
    /// Stands in the subject's claim; default the client.
    pub subject: Option<String>,
    /// Stands in the scope's claim.
    pub scope: Option<String>,
    /// Claims beside or in place of these; `null` takes one out.
    pub claims: Map<String, Value>,
    /// Members of a JWT's header; `null` takes one out.
    pub header: Map<String, Value>,
    /// What it is signed with.
    pub algorithm: Option<Algorithm>,
    /// Whether its signature is spoilt.
    pub is_forged: Option<bool>,
    /// The token itself, as it stands.
    pub raw: Option<String>,
    /// Whether it is bound to a key of the client's, with a proof beside it (RFC 9449).
    pub dpop: Option<bool>,
    /// Whether `claims` and `header` are all that it says, so that nothing is added.
    pub is_whole: bool,
}

/// What kind of token a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// None at all.
    None,
    /// A signed one.
    Jwt,
    /// One that is introspected.
    Opaque,
}

/// What an introspection is answered.
#[derive(Clone, Debug)]
pub enum Introspection {
    /// This body.
    Body(Value),
    /// The issuer cannot be reached.
    Unreachable,
}

/// What has to come of a case. What is not said is not looked at.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// How it ends.
    pub decision: Option<Decision>,
    /// The status of the filter's own answer; 200 where the request passes.
    pub status: Option<u16>,
    /// Why; the error of a token request.
    pub reason: Option<String>,
    /// Names that the filter tells logs; None: none.
    pub facts: Vec<(Fact, Option<String>)>,
    /// Headers as the upstream gets them; None: not at all.
    pub upstream: Vec<(String, Option<String>)>,
    /// Headers of the filter's own answer; None: not at all.
    pub response: Vec<(String, Option<String>)>,
    /// The form as the authorization server gets it.
    pub body: Option<String>,
}

/// A name that the filter tells logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The tenant's id.
    Tenant,
    /// The client's id.
    Client,
    /// The subject.
    Subject,
    /// The suite called.
    Suite,
    /// The operation called, by its name or as `suite/operation`.
    Operation,
}

impl Fact {
    const ALL: [Self; 5] = [Self::Tenant, Self::Client, Self::Subject, Self::Suite, Self::Operation];

    /// Its key in a case file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Client => "client",
            Self::Subject => "subject",
            Self::Suite => "suite",
            Self::Operation => "operation",
        }
    }
}

const FILE_KEYS: &[&str] = &["config", "now", "defaults", "cases", "matrix"];
const DEFAULTS_KEYS: &[&str] = &["now", "request", "token", "introspection", "keys"];
const CASE_KEYS: &[&str] = &["name", "now", "request", "token", "introspection", "keys", "expect"];
const MATRIX_KEYS: &[&str] =
    &["name", "now", "request", "requests", "token", "tokens", "introspection", "keys", "allowed", "expect"];
const REQUEST_KEYS: &[&str] =
    &["method", "path", "host", "scheme", "headers", "body", "client_certificate_sha256", "peer_address"];
const TOKEN_KEYS: &[&str] = &[
    "kind",
    "provider",
    "tenant",
    "client",
    "subject",
    "scope",
    "claims",
    "header",
    "algorithm",
    "forged",
    "raw",
    "dpop",
];
const EXPECT_KEYS: &[&str] = &[
    "decision",
    "status",
    "reason",
    "tenant",
    "client",
    "subject",
    "suite",
    "operation",
    "upstream",
    "response",
    "body",
];
const KINDS: &[(&str, TokenKind)] =
    &[("none", TokenKind::None), ("jwt", TokenKind::Jwt), ("opaque", TokenKind::Opaque)];
const DECISIONS: &[(&str, Decision)] =
    &[("allow", Decision::Allow), ("shadow", Decision::Shadow), ("deny", Decision::Deny)];

/// Reads a case file.
///
/// # Errors
///
/// All that is wrong with it, in one report.
pub fn read(text: &str) -> Result<CaseFile, ConfigErrors> {
    let document = parse_yaml_document(text)?;
    let report = Report::default();
    let file = read_file(&Cursor::root(&document, &report));
    report.finish()?;
    Ok(file.unwrap_or(CaseFile { config: None, cases: Vec::new() }))
}

/// Reads the members of one case but for its name and what is expected of it.
///
/// # Errors
///
/// All that is wrong with it, in one report.
pub fn read_alone(text: &str) -> Result<Case, ConfigErrors> {
    let document = parse_yaml_document(text)?;
    let report = Report::default();
    let root = Cursor::root(&document, &report);
    let shared = root.map(DEFAULTS_KEYS).map(|fields| Shared::read(&fields, &Shared::default()));
    report.finish()?;
    Ok(shared.unwrap_or_default().case(String::new(), None, Expected::default()))
}

/// What the cases of a file, or of a matrix, share.
#[derive(Clone, Debug, Default)]
struct Shared {
    now: Option<Duration>,
    request: RequestParts,
    token: TokenParts,
    introspection: Option<Introspection>,
    keys_unreachable: bool,
}

impl Shared {
    fn read(fields: &Fields<'_>, outer: &Self) -> Self {
        let request =
            fields.optional("request").and_then(|cursor| request_parts(&cursor)).unwrap_or_default();
        let token = fields.optional("token").and_then(|cursor| token_parts(&cursor)).unwrap_or_default();
        Self {
            now: fields.optional("now").and_then(|cursor| moment(&cursor)).or(outer.now),
            request: request.over(&outer.request),
            token: token.over(&outer.token),
            introspection: fields
                .optional("introspection")
                .and_then(|cursor| introspection(&cursor))
                .or_else(|| outer.introspection.clone()),
            keys_unreachable: fields
                .optional("keys")
                .and_then(|cursor| cursor.choice(&[("reachable", false), ("unreachable", true)]))
                .unwrap_or(outer.keys_unreachable),
        }
    }

    fn case(self, name: String, mark: Option<Mark>, expected: Expected) -> Case {
        let Self { now, request, token, introspection, keys_unreachable } = self;
        Case { name, mark, now, request, token, introspection, keys_unreachable, expected }
    }
}

fn read_file(root: &Cursor<'_>) -> Option<CaseFile> {
    let fields = root.map(FILE_KEYS)?;
    let config = fields.optional("config").and_then(|cursor| cursor.string());
    let config = config.map(|config| Path::new(&*config).to_owned());
    let of_file =
        Shared { now: fields.optional("now").and_then(|cursor| moment(&cursor)), ..Shared::default() };
    let defaults = fields
        .optional("defaults")
        .and_then(|cursor| cursor.map(DEFAULTS_KEYS))
        .map_or(of_file.clone(), |fields| Shared::read(&fields, &of_file));
    let mut cases = Vec::new();
    for cursor in fields.optional("cases").and_then(|cursor| cursor.items()).into_iter().flatten() {
        cases.extend(read_case(&cursor, &defaults));
    }
    for cursor in fields.optional("matrix").and_then(|cursor| cursor.items()).into_iter().flatten() {
        cases.extend(read_matrix(&cursor, &defaults).unwrap_or_default());
    }
    if !fields.has("cases") && !fields.has("matrix") {
        root.error(ErrorKind::MissingKey, "holds neither `cases` nor a `matrix`");
    }
    let mut names = HashSet::new();
    for case in &cases {
        if !names.insert(&case.name) {
            root.error(ErrorKind::Repeated, format_args!("two cases are called `{}`", case.name));
        }
    }
    Some(CaseFile { config, cases })
}

fn read_case(cursor: &Cursor<'_>, defaults: &Shared) -> Option<Case> {
    let fields = cursor.map(CASE_KEYS)?;
    let name = fields.required("name").and_then(|cursor| cursor.string())?.into_owned();
    let shared = Shared::read(&fields, defaults);
    if shared.request.path.is_none() {
        cursor.error(ErrorKind::MissingKey, "the request has no `path`");
    }
    let expected = fields.required("expect").and_then(|cursor| expected(&cursor))?;
    Some(shared.case(name, cursor.mark(), expected))
}

/// The cases of a matrix: each of its tokens with each of its requests.
fn read_matrix(cursor: &Cursor<'_>, defaults: &Shared) -> Option<Vec<Case>> {
    let fields = cursor.map(MATRIX_KEYS)?;
    let name = fields.required("name").and_then(|cursor| cursor.string())?;
    let shared = Shared::read(&fields, defaults);
    let mut requests: Vec<(String, RequestParts)> = Vec::new();
    for (name, cursor) in fields.required("requests")?.entries()? {
        let request = request_parts(&cursor)?.over(&shared.request);
        if request.path.is_none() {
            cursor.error(ErrorKind::MissingKey, "the request has no `path`");
        }
        requests.push((name.into_owned(), request));
    }
    let mut tokens: Vec<(String, TokenParts)> = Vec::new();
    for (name, cursor) in fields.required("tokens")?.entries()? {
        tokens.push((name.into_owned(), token_parts(&cursor)?.over(&shared.token)));
    }
    let outcomes = match (fields.optional("allowed"), fields.optional("expect")) {
        (Some(allowed), None) => Outcomes::Allowed(allowed.entries()?),
        (None, Some(expect)) => Outcomes::Each(expect.entries()?),
        (Some(_), Some(_)) => {
            cursor.error(ErrorKind::Contradiction, "`allowed` and `expect` exclude each other");
            return None;
        }
        (None, None) => {
            cursor.error(ErrorKind::MissingKey, "missing key `allowed` or `expect`");
            return None;
        }
    };
    let known_requests: Vec<&str> = requests.iter().map(|(name, _)| name.as_str()).collect();
    let (Outcomes::Allowed(said) | Outcomes::Each(said)) = &outcomes;
    let known_tokens: Vec<&str> = tokens.iter().map(|(name, _)| name.as_str()).collect();
    for (token, cursor) in said {
        if !known_tokens.contains(&&**token) {
            cursor.dangling(format_args!("`tokens` holds no `{token}`"), token, known_tokens.iter().copied());
        }
    }
    let mut cases = Vec::new();
    for (token_name, token) in &tokens {
        let Some((_, said)) = said.iter().find(|(of, _)| of == token_name) else {
            cursor.error(
                ErrorKind::MissingKey,
                format_args!("nothing is said of the token `{token_name}`; an empty list allows nothing"),
            );
            continue;
        };
        let row = match outcomes {
            Outcomes::Allowed(_) => allowed_row(said, &known_requests),
            Outcomes::Each(_) => expected_row(said, &known_requests),
        };
        for ((request_name, request), expected) in requests.iter().zip(row.unwrap_or_default()) {
            let shared = Shared { request: request.clone(), token: token.clone(), ..shared.clone() };
            let name = format!("{name}: {token_name}: {request_name}");
            cases.push(shared.case(name, said.mark(), expected));
        }
    }
    Some(cases)
}

enum Outcomes<'d> {
    /// The requests that pass; all others are refused.
    Allowed(scopegate::config::reader::Entries<'d>),
    /// What comes of each request.
    Each(scopegate::config::reader::Entries<'d>),
}

fn allowed_row(said: &Cursor<'_>, requests: &[&str]) -> Option<Vec<Expected>> {
    let mut allowed = HashSet::new();
    for item in said.items()? {
        let name = item.string()?;
        if !requests.contains(&&*name) {
            item.dangling(format_args!("`requests` holds no `{name}`"), &name, requests.iter().copied());
        }
        allowed.insert(name);
    }
    let expected = |request: &&str| {
        let decision = if allowed.contains(*request) { Decision::Allow } else { Decision::Deny };
        Expected { decision: Some(decision), ..Expected::default() }
    };
    Some(requests.iter().map(expected).collect())
}

fn expected_row(said: &Cursor<'_>, requests: &[&str]) -> Option<Vec<Expected>> {
    let entries = said.entries()?;
    for (name, cursor) in &entries {
        if !requests.contains(&&**name) {
            cursor.dangling(format_args!("`requests` holds no `{name}`"), name, requests.iter().copied());
        }
    }
    let row = requests.iter().map(|request| match entries.iter().find(|(name, _)| name == request) {
        Some((_, cursor)) => expected(cursor),
        None => {
            said.error(ErrorKind::MissingKey, format_args!("nothing is said of the request `{request}`"));
            None
        }
    });
    row.collect()
}

impl RequestParts {
    fn over(self, outer: &Self) -> Self {
        let outer_headers =
            outer.headers.iter().filter(|(name, _)| self.headers.iter().all(|(own, _)| own != name));
        let headers = outer_headers.cloned().chain(self.headers.iter().cloned()).collect();
        Self {
            method: self.method.or_else(|| outer.method.clone()),
            path: self.path.or_else(|| outer.path.clone()),
            host: self.host.or_else(|| outer.host.clone()),
            scheme: self.scheme.or_else(|| outer.scheme.clone()),
            headers,
            body: self.body.or_else(|| outer.body.clone()),
            client_certificate: self.client_certificate.or(outer.client_certificate),
            peer_address: self.peer_address.or(outer.peer_address),
        }
    }
}

impl TokenParts {
    /// Whether nothing at all is said of a token.
    pub fn is_absent(&self) -> bool {
        let Self {
            kind,
            provider,
            tenant,
            client,
            subject,
            scope,
            claims,
            header,
            algorithm,
            is_forged,
            raw,
            dpop,
            is_whole,
        } = self;
        let names = [provider, tenant, client, subject, scope, raw];
        kind.is_none()
            && names.iter().all(|name| name.is_none())
            && claims.is_empty()
            && header.is_empty()
            && algorithm.is_none()
            && is_forged.is_none()
            && dpop.is_none()
            && !is_whole
    }

    fn over(self, outer: &Self) -> Self {
        let merged = |own: Map<String, Value>, outer: &Map<String, Value>| {
            let mut members = outer.clone();
            members.extend(own);
            members
        };
        Self {
            kind: self.kind.or(outer.kind),
            provider: self.provider.or_else(|| outer.provider.clone()),
            tenant: self.tenant.or_else(|| outer.tenant.clone()),
            client: self.client.or_else(|| outer.client.clone()),
            subject: self.subject.or_else(|| outer.subject.clone()),
            scope: self.scope.or_else(|| outer.scope.clone()),
            claims: merged(self.claims, &outer.claims),
            header: merged(self.header, &outer.header),
            algorithm: self.algorithm.or(outer.algorithm),
            is_forged: self.is_forged.or(outer.is_forged),
            raw: self.raw.or_else(|| outer.raw.clone()),
            dpop: self.dpop.or(outer.dpop),
            is_whole: self.is_whole || outer.is_whole,
        }
    }
}

/// `GET /path`, or its parts.
fn request_parts(cursor: &Cursor<'_>) -> Option<RequestParts> {
    if cursor.is_string() {
        let line = cursor.string()?;
        let Some((method, path)) = line.split_once(' ').filter(|(_, path)| path.starts_with('/')) else {
            cursor.error(
                ErrorKind::WrongKind,
                format_args!("`{line}` is no request; write for example `GET /acme/books`"),
            );
            return None;
        };
        return Some(RequestParts {
            method: Some(method.to_owned()),
            path: Some(path.to_owned()),
            ..RequestParts::default()
        });
    }
    let fields = cursor.map(REQUEST_KEYS)?;
    let text = |key| fields.optional(key).and_then(|cursor| cursor.text()).map(|text| text.into_owned());
    let mut headers = Vec::new();
    for (name, value) in fields.optional("headers").and_then(|cursor| cursor.entries()).unwrap_or_default() {
        let values = match value.is_list() {
            true => value.items()?.filter_map(|item| item.text()).map(|text| text.into_owned()).collect(),
            false => vec![value.text()?.into_owned()],
        };
        headers.push((name.to_ascii_lowercase(), values));
    }
    let client_certificate = fields.optional("client_certificate_sha256").and_then(|cursor| {
        let text = cursor.string()?;
        parse_digest(&text).map_err(|message| cursor.error(ErrorKind::WrongKind, message)).ok()
    });
    let peer_address = fields.optional("peer_address").and_then(|cursor| {
        let text = cursor.string()?;
        text.parse()
            .map_err(|_| cursor.error(ErrorKind::WrongKind, format_args!("`{text}` is no IP address")))
            .ok()
    });
    Some(RequestParts {
        method: text("method"),
        path: text("path"),
        host: text("host"),
        scheme: text("scheme"),
        headers,
        body: text("body"),
        client_certificate,
        peer_address,
    })
}

/// `none`, `jwt` or `opaque`, or the parts of a token.
fn token_parts(cursor: &Cursor<'_>) -> Option<TokenParts> {
    if cursor.is_string() {
        return Some(TokenParts { kind: Some(cursor.choice(KINDS)?), ..TokenParts::default() });
    }
    let fields = cursor.map(TOKEN_KEYS)?;
    let text = |key| fields.optional(key).and_then(|cursor| cursor.text()).map(|text| text.into_owned());
    let members = |key| match fields.optional(key).map(|cursor| (cursor.value().to_json(), cursor)) {
        None => Map::new(),
        Some((Value::Object(members), _)) => members,
        Some((_, cursor)) => cursor.unexpected("a map").unwrap_or_default(),
    };
    let algorithm = fields.optional("algorithm").and_then(|cursor| {
        let name = cursor.string()?;
        let algorithm = Algorithm::parse(&name);
        if algorithm.is_none() {
            let known = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str());
            cursor.dangling(format_args!("`{name}` is no algorithm that the filter knows"), &name, known);
        }
        algorithm
    });
    Some(TokenParts {
        kind: fields.optional("kind").and_then(|cursor| cursor.choice(KINDS)),
        provider: text("provider"),
        tenant: text("tenant"),
        client: text("client"),
        subject: text("subject"),
        scope: text("scope"),
        claims: members("claims"),
        header: members("header"),
        algorithm,
        is_forged: fields.optional("forged").and_then(|cursor| cursor.boolean()),
        raw: text("raw"),
        dpop: fields.optional("dpop").and_then(|cursor| cursor.boolean()),
        is_whole: false,
    })
}

/// `inactive`, `unreachable`, or the members of the answer.
fn introspection(cursor: &Cursor<'_>) -> Option<Introspection> {
    if cursor.is_map() {
        return Some(Introspection::Body(cursor.value().to_json()));
    }
    let inactive = || Introspection::Body(serde_json::json!({"active": false}));
    match cursor.choice(&[("inactive", true), ("unreachable", false)])? {
        true => Some(inactive()),
        false => Some(Introspection::Unreachable),
    }
}

/// `allow`, `shadow`, `deny`, a reason, a status, or a map of what is looked at.
fn expected(cursor: &Cursor<'_>) -> Option<Expected> {
    let refused = Expected { decision: Some(Decision::Deny), ..Expected::default() };
    if cursor.is_string() {
        let word = cursor.string()?;
        if let Some((_, decision)) = DECISIONS.iter().find(|(name, _)| *name == word) {
            return Some(Expected { decision: Some(*decision), ..Expected::default() });
        }
        return Some(Expected { reason: Some(reason(cursor, &word)?), ..refused });
    }
    if !cursor.is_map() {
        return Some(Expected { status: status(cursor), ..Expected::default() });
    }
    let fields = cursor.map(EXPECT_KEYS)?;
    let facts = Fact::ALL.into_iter().filter_map(|fact| {
        let cursor = fields.optional(fact.as_str())?;
        Some((fact, nullable(&cursor)?))
    });
    let headers = |key| -> Vec<(String, Option<String>)> {
        let entries = fields.optional(key).and_then(|cursor| cursor.entries()).unwrap_or_default();
        let header =
            |(name, value): (_, Cursor<'_>)| Some((str::to_ascii_lowercase(name), nullable(&value)?));
        entries.iter().filter_map(|(name, value)| header((&**name, value.clone()))).collect()
    };
    let reason = fields.optional("reason").and_then(|cursor| {
        let word = cursor.string()?;
        reason(&cursor, &word)
    });
    let status = fields.optional("status").and_then(|cursor| status(&cursor));
    // Who names a reason expects a refusal, who names neither a pass.
    let implied = match (&reason, status) {
        (Some(_), _) => Some(Decision::Deny),
        (None, Some(_)) => None,
        (None, None) => Some(Decision::Allow),
    };
    Some(Expected {
        decision: fields.optional("decision").and_then(|cursor| cursor.choice(DECISIONS)).or(implied),
        status,
        reason,
        facts: facts.collect(),
        upstream: headers("upstream"),
        response: headers("response"),
        body: fields.optional("body").and_then(|cursor| cursor.text()).map(|text| text.into_owned()),
    })
}

fn nullable(cursor: &Cursor<'_>) -> Option<Option<String>> {
    if cursor.is_null() { Some(None) } else { Some(Some(cursor.text()?.into_owned())) }
}

fn status(cursor: &Cursor<'_>) -> Option<u16> {
    cursor.integer(200..=599).and_then(|status| u16::try_from(status).ok())
}

/// A reason of the filter's, or an error of a token request.
fn reason(cursor: &Cursor<'_>, word: &str) -> Option<String> {
    let reasons = || Reason::ALL.iter().map(|reason| reason.as_str());
    let errors = || ErrorCode::ALL.iter().map(|error| error.as_str());
    if reasons().chain(errors()).any(|known| known == word) {
        return Some(word.to_owned());
    }
    let decisions = DECISIONS.iter().map(|(name, _)| *name);
    cursor.dangling(
        format_args!("`{word}` is neither `allow`, `shadow` nor `deny`, and no reason of the filter's"),
        word,
        decisions.chain(reasons()).chain(errors()),
    );
    None
}

fn moment(cursor: &Cursor<'_>) -> Option<Duration> {
    let text = match cursor.value().to_json() {
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            cursor.string()?.into_owned()
        }
    };
    clock::parse(&text).map_err(|message| cursor.error(ErrorKind::WrongKind, message)).ok()
}
