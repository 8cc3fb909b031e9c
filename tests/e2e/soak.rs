//! Reloads under load: what every request got meanwhile, and by which policy.
//!
//! Each policy tells its number with each of its decisions: in the operation's name, which the upstream is told, or in
//! the realm of the challenge.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sabotage::{self, Fault};
use scopegate_testing::harness::{
    AuthorizationServer, Directory, Gateway, Options, built_module, wait_until,
};
use scopegate_testing::http::{Connection, Request, Response};

/// How long after Envoy has taken a policy its workers may still begin requests under the one before.
const MOST_LAG: Duration = Duration::from_secs(1);

/// A policy by its number. The even ones let `x` pass and refuse `y`, the odd ones the reverse.
fn policy(issuer: &AuthorizationServer, number: usize, clock_skew: usize) -> Value {
    let [x, y] = if number.is_multiple_of(2) { ["read", "write"] } else { ["write", "read"] };
    let operation = |name: &str, scope: &str| {
        json!({
            "name": format!("{name}.{number}"), "path": format!("/{{tenant}}/{name}"),
            "requires": [format!("billing:{scope}")],
        })
    };
    json!({
        "version": 1,
        "realm": format!("policy.{number}"),
        "providers": {"corp": {
            "issuer": issuer.issuer, "audiences": ["billing-api"], "clock_skew": format!("{clock_skew}s"),
            "remote_jwks": {"uri": "https://login.example.com/jwks.json", "cluster": "idp"},
            "introspection": {
                "uri": "https://login.example.com/oauth/introspect", "cluster": "idp", "timeout": "10s",
                "client_auth": {"method": "client_secret_basic", "client_id": "gateway",
                    "client_secret": {"value": "gateway-secret"}},
                "cache": {"max_ttl": "150ms"},
            },
        }},
        "tenant_resolution": {"claims": ["tenant_id"], "required_evidence": ["claim", "path"]},
        "tenants": [{"id": "tenant1", "applications": [
            {"client_id": "tenant1-sync", "scopes": ["billing:read", "billing:write"]}]}],
        "suites": [{"name": "billing", "operations": [
            operation("x", x), operation("y", y), operation("both", "read"), operation("neither", "admin"),
        ]}],
        "forward": {"headers": [{"name": "x-operation", "value": "operation"}]},
        "audit": {"decisions": "none"},
    })
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    X,
    Y,
    Both,
    Neither,
    Anonymously,
    WithBadSignature,
}

impl Asks {
    const ALL: [Self; 6] =
        [Self::X, Self::Y, Self::Both, Self::Neither, Self::Anonymously, Self::WithBadSignature];

    fn request(self, token: &str) -> Request {
        let path = match self {
            Self::X => "/tenant1/x",
            Self::Y => "/tenant1/y",
            Self::Both | Self::Anonymously | Self::WithBadSignature => "/tenant1/both",
            Self::Neither => "/tenant1/neither",
        };
        match self {
            Self::Anonymously => Request::get(path),
            Self::WithBadSignature => Request::get(path).bearer(&spoilt(token)),
            Self::X | Self::Y | Self::Both | Self::Neither => Request::get(path).bearer(token),
        }
    }

    /// What a policy answers.
    fn expected(self, policy: usize, is_opaque: bool) -> (u16, &'static str) {
        match self {
            Self::X if policy.is_multiple_of(2) => (200, "-"),
            Self::Y if policy % 2 == 1 => (200, "-"),
            Self::Both => (200, "-"),
            Self::X | Self::Y | Self::Neither => (403, "scope_not_granted"),
            Self::Anonymously => (401, "credential_missing"),
            Self::WithBadSignature if is_opaque => (401, "token_inactive"),
            Self::WithBadSignature => (401, "signature_invalid"),
        }
    }
}

/// The token with another letter in its midst, or in the signature where it has one.
pub fn spoilt(token: &str) -> String {
    let at = token.rfind('.').map_or(token.len() / 2, |dot| dot + 20);
    let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

/// What one request got.
struct Observation {
    begun: Instant,
    ended: Instant,
    /// When its connection was opened.
    opened: Instant,
    /// Which connection it came on.
    connection: usize,
    asks: Asks,
    is_opaque: bool,
    /// None where the connection ended first.
    answer: Option<Answer>,
}

struct Answer {
    decision: (u16, String),
    policy: Option<usize>,
}

impl Answer {
    fn new(response: &Response) -> Self {
        let told = match response.status {
            200 => response.upstream_saw("x-operation").into_iter().next(),
            _ => response.header("www-authenticate").map(str::to_owned),
        };
        let number = |text: String| {
            let digits = text.split_once('.')?.1;
            digits.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
        };
        Self { decision: response.decision(), policy: told.and_then(number) }
    }
}

/// A policy that Envoy was handed and took.
struct Push {
    policy: usize,
    begun: Instant,
    taken: Instant,
}

/// One client: what it asks for by turns, until the soak is over.
fn client(
    gateway: &Gateway,
    number: usize,
    tokens: &[String],
    is_opaque: bool,
    keeps_alive: bool,
    is_over: &AtomicBool,
) -> Vec<Observation> {
    let mut observations = Vec::new();
    let mut connections = number * 1_000_000;
    let mut open: Option<(Connection, Instant)> = None;
    for turn in number.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let asks = Asks::ALL[turn % Asks::ALL.len()];
        let request = asks.request(&tokens[turn % tokens.len()]);
        let (mut connection, opened) = open.take().unwrap_or_else(|| {
            connections += 1;
            (Connection::open(gateway.port), Instant::now())
        });
        let begun = Instant::now();
        let response = connection.try_send(&request);
        let ended = Instant::now();
        let is_kept =
            response.as_ref().is_some_and(|response| response.header("connection") != Some("close"));
        let answer = response.as_ref().map(Answer::new);
        observations.push(Observation {
            begun,
            ended,
            opened,
            connection: connections,
            asks,
            is_opaque,
            answer,
        });
        if keeps_alive && is_kept {
            open = Some((connection, opened));
        }
        thread::sleep(Duration::from_millis(2));
    }
    observations
}

/// What came out.
#[derive(Debug, Default)]
struct Report {
    requests: usize,
    by_status: BTreeMap<u16, usize>,
    policies_seen: usize,
    disconnects: usize,
    failed: usize,
    wrong: Vec<String>,
    /// How long after a policy was taken the last request began under the one before.
    lag: Duration,
}

/// Compares each answer with the policy that it names, and that policy with those in force while the request lived.
fn judge(observations: &[Observation], pushes: &[Push], bound_to_connection: bool) -> Report {
    let mut report = Report { requests: observations.len(), ..Report::default() };
    let mut seen = std::collections::BTreeSet::new();
    // By connection: which push the last answer came from, at the earliest.
    let mut reached: BTreeMap<usize, usize> = BTreeMap::new();
    for observation in observations {
        let Some(answer) = &observation.answer else {
            report.disconnects += 1;
            continue;
        };
        *report.by_status.entry(answer.decision.0).or_default() += 1;
        let mut wrong = |why: &str| {
            let policy = answer.policy;
            let about = format!("{:?} got {:?} by {policy:?}: {why}", observation.asks, answer.decision);
            report.wrong.push(about);
        };
        let Some(policy) = answer.policy.filter(|_| answer.decision.0 < 500) else {
            report.failed += 1;
            wrong("failed");
            continue;
        };
        seen.insert(policy);
        let expected = observation.asks.expected(policy, observation.is_opaque);
        if answer.decision != (expected.0, expected.1.to_owned()) {
            wrong("not what that policy says");
        }
        let since = if bound_to_connection { observation.opened } else { observation.begun };
        let lag = |place: usize| {
            let successor = pushes.get(place + 1);
            successor.map_or(Duration::ZERO, |push| since.saturating_duration_since(push.taken))
        };
        let earliest = reached.get(&observation.connection).copied().unwrap_or(0);
        let candidates = pushes.iter().enumerate().skip(earliest);
        let candidates =
            candidates.filter(|(_, push)| push.policy == policy && push.begun <= observation.ended);
        let candidate = candidates.map(|(place, _)| (lag(place), place)).min();
        match candidate {
            None => wrong("not in force yet, or no longer on this very connection"),
            Some((lag, _)) if lag > MOST_LAG => wrong(&format!("no longer in force since {lag:?}")),
            Some((lag, place)) => {
                report.lag = report.lag.max(lag);
                // Of several, the earliest that it can have been, so that what follows is judged rightly.
                let first = (earliest..=place).find(|place| pushes[*place].policy == policy);
                reached.insert(observation.connection, first.unwrap_or(place));
            }
        }
    }
    report.policies_seen = seen.len();
    report
}

/// What is handed to Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The next policy.
    Policy,
    /// The policy before, to the letter.
    Back,
    /// The next policy, with another provider: nothing that was learnt counts any more.
    Provider,
    /// The next policy, and another wasm file.
    Code,
    /// A configuration that is none.
    BadConfiguration,
    /// A wasm file that is none, that is not there, or that fails on the canary.
    BadCode,
}

impl Kind {
    fn is_good(self) -> bool {
        !matches!(self, Self::BadConfiguration | Self::BadCode)
    }
}

struct Soak {
    options: Options,
    tokens: [Vec<String>; 2],
    issuer: AuthorizationServer,
    directory: Directory,
    broken: Vec<std::path::PathBuf>,
}

impl Soak {
    fn new(options: Options) -> Self {
        let issuer = AuthorizationServer::start(None);
        issuer.behave(&json!({"endpoint": "introspection", "delay_ms": 40}));
        let tokens = ["urn:billing", "urn:billing:opaque"]
            .map(|resource| (0..5).map(|_| issuer.token("tenant1-sync", "billing:read", resource)).collect());
        let directory = Directory::new("soak");
        let built = std::fs::read(built_module()).expect("the built module");
        let mut flipped = built.clone();
        flipped[built.len() / 3..built.len() / 3 + 64].fill(0xff);
        let broken = [
            ("half.wasm", built[..built.len() / 2].to_vec()),
            ("flipped.wasm", flipped),
            ("empty.wasm", Vec::new()),
            ("refusing.wasm", sabotage::with(Fault::RefuseConfigureAfter(0))),
            ("html.wasm", b"<html>503 Service Unavailable</html>".to_vec()),
            ("trapping.wasm", sabotage::with(Fault::TrapInConfigureAfter(0))),
        ];
        let mut broken: Vec<_> = broken.iter().map(|(name, bytes)| directory.file(name, bytes)).collect();
        broken.push("/nonexistent/scopegate.wasm".into());
        let options = Options {
            concurrency: 2,
            clusters: vec![("idp".to_owned(), issuer.port)],
            log_levels: "wasm:warn".to_owned(),
            ..options
        };
        Self { options, tokens, issuer, directory, broken }
    }

    fn run(mut self, kinds: impl IntoIterator<Item = Kind>) {
        let mut number = 0;
        let mut clock_skew = 60;
        let mut configuration = policy(&self.issuer, number, clock_skew);
        let mut before = (configuration.clone(), number);
        let begun = Instant::now();
        let gateway = Gateway::start(&configuration, &self.options);
        let pushes = Mutex::new(vec![Push { policy: number, begun, taken: Instant::now() }]);
        let is_over = AtomicBool::new(false);
        let memory = gateway.memory();
        let active_vms = || gateway.stat("wasm.envoy.wasm.runtime.v8.active").expect("a gauge of VMs");
        let vms = active_vms();
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        let mut times: BTreeMap<Kind, Duration> = BTreeMap::new();
        let start = Instant::now();
        let observations: Vec<Observation> = thread::scope(|scope| {
            let clients: Vec<_> = [(0, true), (0, true), (1, true), (1, true), (0, false), (1, false)]
                .into_iter()
                .enumerate()
                .map(|(number, (format, keeps_alive))| {
                    let (gateway, tokens, is_over) = (&gateway, &self.tokens[format], &is_over);
                    scope
                        .spawn(move || client(gateway, number + 1, tokens, format == 1, keeps_alive, is_over))
                })
                .collect();
            let stops = StopsWhenDropped(&is_over);
            for kind in kinds {
                let (mut pushed, pushed_number);
                let code = self.options.code.clone();
                match kind {
                    Kind::Policy | Kind::Provider | Kind::Code => {
                        pushed_number =
                            pushes.lock().unwrap().iter().map(|push| push.policy).max().unwrap_or(0) + 1;
                        clock_skew += usize::from(kind == Kind::Provider);
                        pushed = policy(&self.issuer, pushed_number, clock_skew);
                        if kind == Kind::Code {
                            let name = format!("scopegate-{pushed_number}");
                            let bytes = sabotage::renamed(&name);
                            self.options.code = Some(self.directory.file(&format!("{name}.wasm"), &bytes));
                        }
                    }
                    Kind::Back => (pushed, pushed_number) = before.clone(),
                    Kind::BadConfiguration => {
                        pushed_number = 9_999;
                        pushed = policy(&self.issuer, pushed_number, clock_skew);
                        let count = counts.get(&kind).copied().unwrap_or(0);
                        pushed["tenants"][0]["providers"] = json!([format!("crop-{count}")]);
                    }
                    Kind::BadCode => {
                        let count = counts.get(&kind).copied().unwrap_or(0);
                        self.options.code = Some(self.broken[count % self.broken.len()].clone());
                        pushed_number = 10_000 + count;
                        pushed = policy(&self.issuer, pushed_number, clock_skew);
                    }
                }
                let begun = Instant::now();
                let is_taken = gateway.reload(&pushed, &self.options);
                let taken = Instant::now();
                assert_eq!(is_taken, kind.is_good(), "{kind:?}: {}", gateway.log());
                if is_taken {
                    before = (std::mem::replace(&mut configuration, pushed), number);
                    number = pushed_number;
                    pushes.lock().unwrap().push(Push { policy: number, begun, taken });
                } else {
                    self.options.code = code;
                }
                *counts.entry(kind).or_default() += 1;
                *times.entry(kind).or_default() += taken - begun;
                thread::sleep(Duration::from_millis(60));
            }
            drop(stops);
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
        });
        let took = start.elapsed();
        let report =
            judge(&observations, &pushes.into_inner().unwrap(), self.options.listener_drains_in.is_some());
        let rejected: usize = counts.iter().filter(|(kind, _)| !kind.is_good()).map(|(_, count)| count).sum();
        println!(
            "{} reloads in {took:?}: {counts:?}, of which {rejected} rejected; {times:?}\n{} requests {:?}, {} policies \
             seen at work, {} wrong decisions, {} failed, {} disconnects; a policy was at work for {:?} at most after \
             its successor was taken\nresident memory {} -> {} MiB; VMs {vms} -> {}; introspections {}, key fetches {}",
            counts.values().sum::<usize>(),
            report.requests,
            report.by_status,
            report.policies_seen,
            report.wrong.len(),
            report.failed,
            report.disconnects,
            report.lag,
            memory >> 20,
            gateway.memory() >> 20,
            active_vms(),
            self.issuer.count("introspection"),
            self.issuer.count("jwks"),
        );
        assert_eq!(report.wrong, Vec::<String>::new());
        assert_eq!((report.failed, report.disconnects), (0, 0));
        let few = counts.values().sum::<usize>();
        assert!(report.requests > few * 10 && report.policies_seen > few / 3, "{report:?}");
        wait_until("the VMs of replaced code are gone", || active_vms() <= vms);
    }
}

/// Ends the clients also where the test fails, so that it does fail.
pub struct StopsWhenDropped<'a>(pub &'a AtomicBool);

impl Drop for StopsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Twenty reloads: what operators do most, and what must not hurt.
const ROUND: [Kind; 20] = {
    use Kind::{Back, BadCode, BadConfiguration, Code, Policy, Provider};
    [
        Policy,
        Policy,
        BadConfiguration,
        Policy,
        Back,
        Policy,
        Code,
        Policy,
        BadCode,
        Policy,
        Policy,
        BadConfiguration,
        Policy,
        Provider,
        Policy,
        Back,
        Policy,
        BadCode,
        Policy,
        Policy,
    ]
};

fn soak_by_extension_discovery(reloads: usize) {
    Soak::new(Options { reloadable: true, ..Options::default() })
        .run(ROUND.into_iter().cycle().take(reloads));
}

#[test]
fn reloads_under_load_fail_no_request_and_decide_none_by_a_policy_not_in_force() {
    soak_by_extension_discovery(20);
}

#[test]
#[ignore = "takes minutes: `make soak`"]
fn two_hundred_reloads_under_load_fail_no_request_and_decide_none_by_a_policy_not_in_force() {
    soak_by_extension_discovery(200);
}

#[test]
fn listeners_that_are_replaced_under_load_drain_without_a_failed_request() {
    Soak::new(Options { listener_drains_in: Some(Duration::from_secs(12)), ..Options::default() }).run(ROUND);
}

#[test]
fn a_wrong_answer_a_policy_out_of_its_time_and_a_lost_connection_are_found() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let push = |policy, seconds| Push { policy, begun: at(seconds), taken: at(seconds + 1) };
    let pushes = [push(0, 0), push(1, 10), push(2, 20), push(1, 30)];
    let judged = |seconds, asks, decision: Option<(u16, &str, usize)>| {
        let answer = decision.map(|(status, reason, policy)| Answer {
            decision: (status, reason.to_owned()),
            policy: (status < 500).then_some(policy),
        });
        let (begun, ended) = (at(seconds), at(seconds) + Duration::from_millis(500));
        Observation { begun, ended, opened: begun, connection: 1, asks, is_opaque: false, answer }
    };
    let good = [
        judged(5, Asks::X, Some((200, "-", 0))),
        judged(10, Asks::X, Some((200, "-", 0))),
        judged(15, Asks::Y, Some((200, "-", 1))),
        judged(25, Asks::Y, Some((403, "scope_not_granted", 2))),
        judged(35, Asks::Y, Some((200, "-", 1))),
    ];
    let report = judge(&good, &pushes, false);
    assert_eq!(
        (report.wrong.as_slice(), report.failed, report.disconnects, report.policies_seen),
        (&[][..], 0, 0, 3)
    );
    for (bad, wrong) in [
        // Not what the policy says; too early; too late; never pushed.
        (vec![judged(5, Asks::Y, Some((200, "-", 0)))], 1),
        (vec![judged(5, Asks::Y, Some((200, "-", 1)))], 1),
        (vec![judged(15, Asks::X, Some((200, "-", 0)))], 1),
        (vec![judged(15, Asks::X, Some((200, "-", 9_998)))], 1),
        // Back from the next policy, on one connection.
        (vec![judged(10, Asks::Y, Some((200, "-", 1))), judged(10, Asks::X, Some((200, "-", 0)))], 1),
        (vec![judged(5, Asks::X, Some((503, "-", 0)))], 1),
        (vec![judged(5, Asks::X, None)], 0),
    ] {
        let report = judge(&bad, &pushes, false);
        let found = report.wrong.len();
        assert_eq!(found, wrong, "{report:?}");
        assert_eq!(report.disconnects, usize::from(wrong == 0), "{report:?}");
    }
}
