//! A fleet: several proxies on one bootstrap, `deploy/envoy/fleet.yaml`, whose filter comes from a management server as
//! `scopegate render` writes it.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::management_server::{ManagementServer, Rejection};
use crate::soak::StopsWhenDropped;
use scopegate_testing::harness::{AuthorizationServer, Gateway, Options, handed, wait_until};
use scopegate_testing::http::{self, Connection, Request};

const CONFIGURATION: &str = "filter-config/thingworx-billing.yaml";
const BOOTSTRAP: &str = "deploy/envoy/fleet.yaml";

/// What a list of transactions gets under the configuration as it stands in its file.
const LENIENT: (u16, &str) = (200, "-");
/// What it gets where that asks for `billing:write`.
const STRICT: (u16, &str) = (403, "scope_not_associated_with_suite");

/// What Envoy says in a rejection, and all that it says there: which mistakes they were stands in the proxy's log.
const REJECTED: &str = "Unable to create Wasm plugin scopegate";

#[test]
fn a_push_reaches_every_proxy_under_load_a_bad_table_none_and_one_that_was_down_catches_up_before_it_serves()
{
    let fleet = Fleet::start();
    let (good, strict) = (lenient(), strict());
    fleet.push(&good);
    let mut proxies = fleet.proxies(["one", "two"]);
    fleet.assert_decided(&proxies, LENIENT);
    no_request_fails_while_tables_are_pushed(&fleet, &proxies, &good, &strict);

    let mut bad = Resource { version: "bad".to_owned(), ..good.clone() };
    let table = &mut bad.filter["typed_config"]["config"]["configuration"]["value"];
    *table = json!(replaced(table.as_str().expect("a text"), "\"billing:refund\"", "\"biling:refund\""));
    fleet.push(&bad);
    let rejection = Rejection { version: bad.version.clone(), error: REJECTED.to_owned() };
    for (name, proxy) in &proxies {
        wait_until("the proxy rejects it", || {
            fleet.management.proxy(name).rejection.as_ref() == Some(&rejection)
        });
        assert_eq!(fleet.management.proxy(name).active.as_ref(), Some(&good.version));
        assert_eq!(proxy.stat(&discovery("update_rejected")), Some(1));
        let mistake = "tenant_templates.billing.applications[0].scopes[2]: scope `billing:refund` is not declared by \
                       template `billing`; did you mean `biling:refund`?";
        wait_until("the proxy's log names the mistake", || proxy.log().contains(mistake));
    }
    fleet.assert_decided(&proxies, LENIENT);

    let newcomer = [("three", fleet.begin("three", |_| {}))];
    wait_until("the newcomer rejects it", || {
        fleet.management.proxy("three").rejection.as_ref() == Some(&rejection)
    });
    wait_until("the newcomer listens", || newcomer[0].1.is_ready());
    assert_closed(&newcomer[0].1, &fleet.list());

    // Down while the table is mended.
    drop(proxies.remove(0));
    fleet.push(&strict);
    for proxies in [&proxies[..], &newcomer[..]] {
        fleet.wait_until_taken(proxies, &strict);
        fleet.assert_decided(proxies, STRICT);
    }
    let again = fleet.begin("one", |_| {});
    let mut answers = 0;
    wait_until("it has answered often", || {
        if let Some(response) = http::try_send(again.port, &fleet.list()) {
            assert_eq!(response.decision(), (STRICT.0, STRICT.1.to_owned()));
            answers += 1;
        }
        answers == 20
    });
    // What it says of itself may come after its first answers.
    wait_until("it says so", || fleet.management.proxy("one").active.as_ref() == Some(&strict.version));
    assert_eq!(again.upstream_count(), 0);
}

fn no_request_fails_while_tables_are_pushed(
    fleet: &Fleet,
    proxies: &[(&str, Gateway)],
    lenient: &Resource,
    strict: &Resource,
) {
    fleet.wait_until_taken(proxies, lenient);
    for (_, proxy) in proxies {
        wait_until("the proxy tells what it loaded", || {
            proxy.log().contains(&format!("\"digest\":\"{}", lenient.version))
        });
    }

    let request = fleet.list();
    let (is_over, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    // Of each connection the decisions in their order, those that repeat the one before left out.
    let histories: Vec<_> = proxies.iter().flat_map(|_| (0..3).map(|_| Mutex::new(Vec::new()))).collect();
    let of_all = |decision: &(u16, &str)| {
        histories
            .iter()
            .all(|history| last(history).is_some_and(|(status, reason)| (status, &*reason) == *decision))
    };
    thread::scope(|scope| {
        for (index, history) in histories.iter().enumerate() {
            let (port, request) = (proxies[index / 3].1.port, &request);
            let (is_over, requests) = (&is_over, &requests);
            scope.spawn(move || {
                let mut connection = Connection::open(port);
                while !is_over.load(Ordering::Relaxed) {
                    let decision = connection.send(request).decision();
                    requests.fetch_add(1, Ordering::Relaxed);
                    if last(history).as_ref() != Some(&decision) {
                        history.lock().expect("a lock").push(decision);
                    }
                }
            });
        }
        let _over = StopsWhenDropped(&is_over);
        wait_until("every connection was served", || of_all(&LENIENT));
        for (resource, decision) in
            [(strict, STRICT), (lenient, LENIENT), (strict, STRICT), (lenient, LENIENT)]
        {
            let before = requests.load(Ordering::Relaxed);
            fleet.push(resource);
            fleet.wait_until_taken(proxies, resource);
            let during = requests.load(Ordering::Relaxed) - before;
            println!(
                "pushed to {} proxies: taken by all in {:?}, {during} requests meanwhile",
                proxies.len(),
                fleet.last_answer(proxies)
            );
            wait_until("every connection is decided by what was pushed", || of_all(&decision));
        }
    });
    let expected =
        [LENIENT, STRICT, LENIENT, STRICT, LENIENT].map(|(status, reason)| (status, reason.to_owned()));
    for history in histories {
        assert_eq!(history.into_inner().expect("a lock"), expected);
    }
    println!("{} requests, 0 failed", requests.into_inner());
}

#[test]
fn without_its_management_server_a_proxy_serves_on_and_a_new_one_lets_nothing_through() {
    let fleet = Fleet::start();
    let (lenient, strict) = (lenient(), strict());
    fleet.push(&lenient);
    let mut proxies = fleet.proxies(["old"]);
    fleet.management.stop();

    let policy = lenient.filter["typed_config"].clone();
    let waits = fleet.begin("waits", |_| {});
    let times_out =
        |discovery: &mut Value| discovery["config_source"]["initial_fetch_timeout"] = json!("0.5s");
    let gives_up = fleet.begin("gives-up", times_out);
    let has_default = fleet.begin("has-default", move |discovery| {
        times_out(discovery);
        discovery["default_config"] = policy.clone();
    });
    wait_until("the wait for the filter is over", || gives_up.is_ready() && has_default.is_ready());
    assert_eq!(gives_up.stat(&discovery("init_fetch_timeout")), Some(1));
    assert_closed(&gives_up, &fleet.list());
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        assert!(http::try_send(waits.port, &fleet.list()).is_none());
        assert!(!waits.is_ready());
        thread::sleep(Duration::from_millis(20));
    }
    proxies.push(("has-default", has_default));
    fleet.assert_decided(&proxies, LENIENT);

    fleet.management.resume();
    proxies.extend([("waits", waits), ("gives-up", gives_up)]);
    fleet.wait_until_taken(&proxies, &lenient);
    fleet.assert_decided(&proxies, LENIENT);
    fleet.push(&strict);
    fleet.wait_until_taken(&proxies, &strict);
    fleet.assert_decided(&proxies, STRICT);
}

/// A management server and the issuer that the proxies ask for keys.
struct Fleet {
    management: ManagementServer,
    issuer: AuthorizationServer,
    token: String,
}

impl Fleet {
    fn start() -> Self {
        let client = "prod-tenant-01-billing-sync";
        let what = json!({
            "default_resource": "urn:billing",
            "resources": {"urn:billing": {"audience": "thingworx-billing-api", "scopes": ["billing:read"]}},
            "clients": [{
                "client_id": client,
                "client_secret": format!("{client}-secret"),
                "claims": {"tenant_id": "prod-tenant-01"},
            }],
        });
        let issuer = AuthorizationServer::start_as("https://login.thingworx.example.com", Some(&what));
        let token = issuer.token(client, "billing:read", "urn:billing");
        Self { management: ManagementServer::start(), issuer, token }
    }

    fn push(&self, resource: &Resource) {
        self.management.push(&resource.version, &resource.filter);
    }

    /// Proxies that have what was pushed.
    fn proxies<'n, const N: usize>(&self, names: [&'n str; N]) -> Vec<(&'n str, Gateway)> {
        let proxies: Vec<_> = names.into_iter().map(|name| (name, self.begin(name, |_| {}))).collect();
        for (name, proxy) in &proxies {
            wait_until(&format!("proxy {name} is ready"), || proxy.is_ready());
        }
        proxies
    }

    /// A proxy that may still wait for its filter; `change` gets the `config_discovery` that says how.
    fn begin(&self, name: &str, change: impl Fn(&mut Value) + 'static) -> Gateway {
        let name = name.to_owned();
        let options = Options {
            concurrency: 2,
            ready: false,
            clusters: vec![
                ("idp".to_owned(), self.issuer.port),
                ("management-server".to_owned(), self.management.port),
            ],
            bootstrap: Box::new(move |bootstrap| {
                *bootstrap = from_file(&name, bootstrap);
                let listener = &mut bootstrap["static_resources"]["listeners"][0];
                let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
                change(&mut manager["http_filters"][0]["config_discovery"]);
            }),
            ..Options::default()
        };
        Gateway::start(&json!({}), &options)
    }

    fn wait_until_taken(&self, proxies: &[(&str, Gateway)], resource: &Resource) {
        for (name, _) in proxies {
            wait_until(&format!("proxy {name} has taken {}", resource.version), || {
                self.management.proxy(name).active.as_ref() == Some(&resource.version)
            });
        }
    }

    /// How long after the latest push the last of these proxies answered.
    fn last_answer(&self, proxies: &[(&str, Gateway)]) -> Duration {
        let answers = proxies.iter().filter_map(|(name, _)| self.management.proxy(name).answered_after);
        answers.max().expect("an answer")
    }

    /// A list of transactions that the caller may read.
    fn list(&self) -> Request {
        Request::get("/Thingworx/Things/Billing/transactions")
            .header("host", "billing.acme.example")
            .header("x-tenant-id", "prod-tenant-01")
            .bearer(&self.token)
    }

    /// Every worker of every proxy decides so.
    fn assert_decided(&self, proxies: &[(&str, Gateway)], (status, reason): (u16, &str)) {
        for (name, proxy) in proxies {
            for _ in 0..8 {
                let decision = proxy.send(&self.list()).decision();
                assert_eq!(decision, (status, reason.to_owned()), "{name}: {}", proxy.log());
            }
        }
    }
}

/// A proxy that listens and has no filter answers every request itself.
fn assert_closed(proxy: &Gateway, request: &Request) {
    let mut answers = 0;
    // A worker may not be there yet when Envoy says that it is ready: a connection then ends without an answer.
    wait_until("it has refused some", || {
        if let Some(response) = http::try_send(proxy.port, request) {
            assert_eq!(response.status, 500);
            answers += 1;
        }
        answers == 8
    });
    assert_eq!(proxy.upstream_count(), 0);
}

fn last(history: &Mutex<Vec<(u16, String)>>) -> Option<(u16, String)> {
    history.lock().expect("a lock").last().cloned()
}

/// The name of a statistic of the filter's discovery.
fn discovery(what: &str) -> String {
    format!("extension_config_discovery.http_filter.scopegate.{what}")
}

/// [`BOOTSTRAP`] for a node, with the ports of a test's own.
fn from_file(node: &str, own: &Value) -> Value {
    let mut file = scopegate::config::yaml_to_json(&text_of(BOOTSTRAP)).expect("YAML");
    file["node"] = json!({"id": node, "cluster": "gateways"});
    file["admin"] = own["admin"].clone();
    file["static_resources"]["listeners"][0]["address"] =
        own["static_resources"]["listeners"][0]["address"].clone();
    let own = own["static_resources"]["clusters"].as_array().expect("clusters");
    for cluster in file["static_resources"]["clusters"].as_array_mut().expect("clusters") {
        let same = own.iter().find(|other| other["name"] == cluster["name"]);
        let same = same.unwrap_or_else(|| panic!("nothing to lead {} to", cluster["name"]));
        cluster["load_assignment"] = same["load_assignment"].clone();
    }
    file
}

/// What is pushed: a `TypedExtensionConfig`.
#[derive(Clone)]
struct Resource {
    version: String,
    filter: Value,
}

fn lenient() -> Resource {
    rendered(&text_of(CONFIGURATION))
}

fn strict() -> Resource {
    let requires = |scope: &str| format!("requires: [\"{scope}\"]");
    rendered(&replaced(&text_of(CONFIGURATION), &requires("billing:read"), &requires("billing:write")))
}

/// What `scopegate render --as ecds` makes of a configuration.
fn rendered(configuration: &str) -> Resource {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_scopegate"))
        .args(["render", "-", "--as", "ecds", "--wasm"])
        .arg(handed("SCOPEGATE_WASM"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("to start the tool");
    tool.stdin.take().expect("its input").write_all(configuration.as_bytes()).expect("to write");
    let output = tool.wait_with_output().expect("its output");
    assert!(output.status.success(), "{output:?}");
    let file = scopegate::config::yaml_to_json(&String::from_utf8_lossy(&output.stdout)).expect("YAML");
    let version = file["version_info"].as_str().expect("a version").to_owned();
    Resource { version, filter: file["resources"][0].clone() }
}

/// With the first `from` replaced.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not in {text}");
    text.replacen(from, to, 1)
}

fn text_of(file: &str) -> String {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
