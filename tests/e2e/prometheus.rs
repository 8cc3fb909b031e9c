//! What a real Prometheus makes of the metrics: labels, the dashboard's queries and the alert rules.
//!
//! Three gateways with the labels of `envoy.yaml` are scraped as the sample configuration says. `gateway` is in trouble
//! of every kind, `healthy` has the same configuration and good issuers, and in `broken` a VM fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::issuer::{Behaviour, FaultyIssuer};
use scopegate_testing::harness::{Directory, Gateway, Options, Server, handed, now, wait_until};
use scopegate_testing::http::{self, Connection, Request};
use scopegate_testing::mint::{Signer, jwks};

const DASHBOARD: &str = include_str!("../../deploy/observability/scopegate.json");
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/observability/alerts.yaml");
const RULE_TESTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/observability/alerts.test.yaml");
const SAMPLE: &str = include_str!("../../deploy/observability/prometheus.yaml");
const BOOTSTRAP: &str = include_str!("../../envoy.yaml");
const DOCUMENT: &str = include_str!("../../docs/observability.md");

/// How long dashboard and alerts may take to show what happens.
const PATIENCE: Duration = Duration::from_secs(60);

static KEY: LazyLock<Signer> = LazyLock::new(|| Signer::new("EdDSA", "k1", 7));

/// A module in place of the filter that lets the first request of each VM pass undecided, and traps on the second.
const BROKEN_FILTER: &str = r#"
(module
  (memory (export "memory") 1)
  (global $seen (mut i32) (i32.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (global.get $seen))
      (then (global.set $seen (i32.const 1)) (return (i32.const 0))))
    unreachable))
"#;

fn yaml(text: &str) -> Value {
    scopegate::config::yaml_to_json(text).expect("YAML")
}

fn provider(name: &str) -> Value {
    json!({"issuer": format!("https://{name}.example"), "audiences": ["api"]})
}

/// Issuers by what they do in the gateway that is in trouble.
fn configuration(stale_after: &str) -> Value {
    let with = |name: &str, key: &str, mut value: Value| {
        value["uri"] = json!(format!("https://{name}.example/{key}"));
        value["cluster"] = json!(name);
        let mut provider = provider(name);
        provider[key] = value;
        provider
    };
    let fetched = |name: &str, cache_duration: &str| {
        with(name, "remote_jwks", json!({"timeout": "1s", "cache_duration": cache_duration}))
    };
    let asked = |name: &str| {
        with(
            name,
            "introspection",
            json!({"timeout": "3s", "client_auth": {"method": "none"}, "cache": {"negative_ttl": "10m"}}),
        )
    };
    let tenant = |id: &str, provider: &str| json!({"id": id, "providers": [provider]});
    let mut lenient = tenant("x_rq_200", "steady");
    lenient["scope_enforcement"] = json!("shadow");
    json!({
        "version": 1,
        "max_waiting_requests": 8,
        "providers": {"steady": fetched("steady", "10m"), "stale": fetched("stale", stale_after), "slow": asked("slow"), "quick": asked("quick")},
        "tenant_resolution": {"claims": ["tenant_id"], "required_evidence": ["path"]},
        "tenants": [
            tenant("acme", "steady"), lenient, tenant("umbrella", "stale"), tenant("globex", "slow"), tenant("initech", "quick"),
        ],
        "suites": [{"name": "billing", "operations": [
            {"name": "read", "path": "/{tenant}/invoices", "methods": ["GET"], "requires": ["read"]},
            {"name": "write", "path": "/{tenant}/invoices", "methods": ["POST"], "requires": ["write"]},
        ]}],
    })
}

/// The issuers of a gateway.
struct Issuers(Vec<(&'static str, FaultyIssuer)>);

impl Issuers {
    /// Good ones, but that they take their time over tokens named `lucky` and `unlucky`, and fail for the latter.
    fn start() -> Self {
        let introspecting = |name: &'static str| {
            FaultyIssuer::start(move |request| {
                let token = request.parameter("token").unwrap_or_default();
                let answer = Behaviour::json(&introspected(name));
                match token.split('-').next() {
                    Some("unlucky") => Behaviour::text(500, "out of order").after(700),
                    Some("lucky") => answer.after(700),
                    _ => answer,
                }
            })
        };
        let keys = || FaultyIssuer::start(|_| Behaviour::json(&jwks([&*KEY])));
        Self(vec![
            ("steady", keys()),
            ("stale", keys()),
            ("slow", introspecting("slow")),
            ("quick", introspecting("quick")),
        ])
    }

    fn named(&self, name: &str) -> &FaultyIssuer {
        &self.0.iter().find(|(known, _)| *known == name).expect("an issuer").1
    }

    fn clusters(&self) -> Vec<(String, u16)> {
        self.0.iter().map(|(name, issuer)| ((*name).to_owned(), issuer.port)).collect()
    }
}

fn introspected(name: &str) -> Value {
    json!({"active": true, "iss": format!("https://{name}.example"), "aud": "api", "sub": "a", "client_id": "c",
        "scope": "read", "exp": now() + 600})
}

/// Puts the labels of `envoy.yaml` in, and has histograms merged each second.
fn labelled(bootstrap: &mut Value) {
    bootstrap["stats_config"] = yaml(BOOTSTRAP)["stats_config"].clone();
    bootstrap["stats_flush_interval"] = json!("1s");
}

fn options(issuers: &Issuers) -> Options {
    Options {
        clusters: issuers.clusters(),
        concurrency: 2,
        reloadable: true,
        bootstrap: Box::new(labelled),
        ..Options::default()
    }
}

/// A name that was not used before.
fn fresh(name: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn jwt(issuer: &str, tenant: &str, audience: &str) -> String {
    let audiences: Vec<&str> = audience.split(' ').collect();
    KEY.mint(
        json!({}),
        &json!({"iss": format!("https://{issuer}.example"), "aud": audiences, "sub": "a", "client_id": "c",
            "tenant_id": tenant, "scope": "read", "exp": now() + 600, "jti": fresh("token")}),
    )
}

fn call(method: &str, tenant: &str, token: &str) -> Request {
    Request::new(method, format!("/{tenant}/invoices")).bearer(token)
}

/// Requests as they come every day, among them one that is refused.
fn everyday(gateway: &Gateway) {
    let expect = |request: Request, expected: (u16, &str)| {
        let decision = gateway.send(&request).decision();
        assert_eq!((decision.0, decision.1.as_str()), expected, "{request:?}");
    };
    let (acme, lenient) = (jwt("steady", "acme", "api"), jwt("steady", "x_rq_200", "api"));
    for _ in 0..3 {
        expect(call("GET", "acme", &acme), (200, "-"));
    }
    expect(call("GET", "umbrella", &jwt("stale", "umbrella", "api")), (200, "-"));
    expect(call("POST", "x_rq_200", &lenient), (200, "-"));
    expect(call("GET", "globex", &fresh("good")), (200, "-"));
    let opaque = fresh("good");
    for _ in 0..6 {
        expect(call("GET", "initech", &opaque), (200, "-"));
    }
    expect(call("POST", "initech", &opaque), (403, "scope_not_granted"));
}

/// Refusals of every kind.
fn trouble(gateway: &Gateway) {
    let acme = jwt("steady", "acme", "api");
    let mut connection = Connection::open(gateway.port);
    for _ in 0..20 {
        assert_eq!(connection.send(&call("POST", "acme", &acme)).decision().1, "scope_not_granted");
    }
    // More than may be remembered, in the end.
    for _ in 0..10 {
        let large = jwt("steady", "acme", &format!("api {}", "x".repeat(8000)));
        assert_eq!(connection.send(&call("GET", "acme", &large)).decision().1, "-");
    }
    let foreign = connection.send(&call("GET", "acme", &jwt("steady", "acme", "another")));
    assert_eq!(foreign.decision().1, "audience_mismatch");
    // More than may wait for one issuer, and some of them in vain.
    thread::scope(|scope| {
        for number in 0..20 {
            let token = fresh(if number % 2 == 0 { "unlucky" } else { "lucky" });
            scope.spawn(move || gateway.send(&call("GET", "globex", &token)));
        }
    });
}

/// A real Prometheus.
struct Prometheus {
    _server: Server,
    _directory: Directory,
    port: u16,
}

/// One of its binaries.
fn binary(name: &str) -> PathBuf {
    handed("SCOPEGATE_PROMETHEUS").join(name)
}

impl Prometheus {
    /// One that scrapes the admin ports of these jobs as the sample configuration says, but each second.
    fn start(jobs: &[(&str, &Gateway)]) -> Self {
        let directory = Directory::new("prometheus");
        let mut configuration = yaml(SAMPLE);
        configuration["global"] = json!({"scrape_interval": "1s", "evaluation_interval": "1s"});
        let rules = Path::new(RULES);
        assert_eq!(configuration["rule_files"], json!([rules.file_name().and_then(|name| name.to_str())]));
        configuration["rule_files"] = json!([rules]);
        let sample = configuration["scrape_configs"][0].take();
        let scraped = jobs.iter().map(|(job, gateway)| {
            let mut scraped = sample.clone();
            scraped["job_name"] = json!(job);
            scraped["static_configs"] = json!([{"targets": [format!("127.0.0.1:{}", gateway.admin_port)]}]);
            scraped
        });
        configuration["scrape_configs"] = json!(scraped.collect::<Vec<_>>());
        let path = directory.0.join("prometheus.yaml");
        fs::write(&path, configuration.to_string()).expect("to write the configuration");

        let mut command = Command::new(handed("SCOPEGATE_NODE_SERVERS").join("bound-to-parent.sh"));
        command.arg(binary("prometheus")).arg(format!("--config.file={}", path.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.0.join("data").display()));
        command.args(["--web.listen-address=127.0.0.1:0", "--log.format=json"]);
        command.stderr(directory.create("prometheus.log"));
        let server = Server::start("prometheus", &mut command);
        let mut port = None;
        wait_until("prometheus is ready", || {
            port = port.or_else(|| listening_port(&directory.text("prometheus.log")));
            let ready = |port| http::try_send(port, &Request::get("/-/ready")).map(|answer| answer.status);
            port.and_then(ready) == Some(200)
        });
        Self { _server: server, _directory: directory, port: port.expect("a port") }
    }

    fn ask(&self, request: &Request) -> Value {
        let answer = http::send(self.port, request).json();
        assert_eq!(answer["status"], "success", "{request:?}: {answer}");
        answer["data"].clone()
    }

    /// The samples that a query brings: labels and value.
    fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let data = self.ask(&Request::post("/api/v1/query").form(&[("query", query)]));
        let samples = data["result"].as_array().unwrap_or_else(|| panic!("{query}: no vector: {data}"));
        let value = |sample: &Value| sample["value"][1].as_str()?.parse().ok();
        samples.iter().map(|sample| (sample["metric"].clone(), value(sample).expect("a number"))).collect()
    }

    /// The values of a variable of the dashboard.
    fn label_values(&self, query: &str) -> Vec<Value> {
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (selector, label) = inner.and_then(|inner| inner.rsplit_once(", ")).expect("label_values(…, …)");
        let form = [("match[]", selector), ("start", "0")];
        let series = self.ask(&Request::post("/api/v1/series").form(&form));
        series.as_array().expect("series").iter().map(|series| series[label].clone()).collect()
    }

    /// The alerts that are pending or firing, by rule: none where its expression brings nothing.
    fn alerts(&self) -> BTreeMap<String, Vec<Value>> {
        let data = self.ask(&Request::get("/api/v1/rules"));
        let rules = data["groups"][0]["rules"].as_array().expect("rules").iter().map(|rule| {
            assert!(rule["health"] != "err", "{rule}");
            let alerts = rule["alerts"].as_array().cloned().unwrap_or_default();
            let alerts = alerts.into_iter().map(|alert| alert["labels"].clone());
            (rule["name"].as_str().expect("a name").to_owned(), alerts.collect())
        });
        rules.collect()
    }
}

fn listening_port(log: &str) -> Option<u16> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.into_iter().find(|line| line["msg"] == "Listening on")?;
    line["address"].as_str()?.rsplit_once(':')?.1.parse().ok()
}

/// A query of the dashboard as Grafana sends it, with all values of each variable.
fn substituted(query: &str) -> String {
    let mut query = query.replace("$__rate_interval", "20s").replace("$__range", "1m");
    for variable in ["job", "instance", "tenant", "provider"] {
        query = query.replace(&format!("${variable}"), ".*");
    }
    assert!(!query.contains('$'), "{query}");
    query
}

/// The dashboard's queries, by the panel they stand in.
fn dashboard_queries(dashboard: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut queries: Vec<(String, String)> = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().expect("annotations") {
        queries.push((text(&annotation["name"]), text(&annotation["expr"])));
    }
    queries
}

/// What does not show yet.
fn missing(prometheus: &Prometheus, dashboard: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    for (panel, query) in dashboard_queries(dashboard) {
        let samples = prometheus.query(&substituted(&query));
        if !samples.iter().any(|(_, value)| *value > 0.0) {
            missing.push(format!("panel `{panel}`: {query}: {samples:?}"));
        }
    }
    for (alert, places) in prometheus.alerts() {
        if places.is_empty() {
            missing.push(format!("alert {alert}"));
        }
    }
    missing
}

#[test]
fn dashboard_and_alerts_show_who_is_refused_why_and_which_issuer_is_in_trouble() {
    let issuers = [Issuers::start(), Issuers::start()];
    let mut configuration = [configuration("1s"), configuration("10m")];
    configuration[0]["memory_budget"] = json!("1MiB");
    let troubled = Gateway::start(&configuration[0], &options(&issuers[0]));
    let healthy = Gateway::start(&configuration[1], &options(&issuers[1]));
    let broken_filter = Directory::new("broken-filter");
    let module = broken_filter.0.join("broken.wasm");
    fs::write(&module, wat::parse_str(BROKEN_FILTER).expect("a module")).expect("to write the module");
    let bootstrap = move |bootstrap: &mut Value| {
        labelled(bootstrap);
        let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
        let plugin = &mut manager["typed_config"]["http_filters"][0]["typed_config"]["config"];
        plugin["vm_config"]["code"]["local"]["filename"] = json!(module);
    };
    let broken = Gateway::start(
        &configuration[1],
        &Options { bootstrap: Box::new(bootstrap), reloadable: false, ..options(&issuers[1]) },
    );
    for gateway in [&troubled, &healthy] {
        wait_until("the keys are there", || {
            gateway.send(&call("GET", "umbrella", &jwt("stale", "umbrella", "api"))).status == 200
        });
    }
    let prometheus = Prometheus::start(&[("gateway", &troubled), ("healthy", &healthy), ("broken", &broken)]);

    issuers[0].named("stale").respond(|_| Behaviour::text(500, "out of order"));
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let mut taken = configuration[0].clone();
    let mut refused = configuration[0].clone();
    refused["suites"][0]["operations"][0]["path"] = json!("no-slash");
    let start = Instant::now();
    loop {
        everyday(&healthy);
        everyday(&troubled);
        trouble(&troubled);
        // Envoy asks the filter about the same configuration once only.
        for configuration in [&mut refused, &mut taken] {
            configuration["realm"] = json!(fresh("realm"));
        }
        assert!(!troubled.reload(&refused, &options(&issuers[0])));
        assert!(troubled.reload(&taken, &options(&issuers[0])));
        for _ in 0..4 {
            broken.send(&Request::get("/"));
        }
        let missing = missing(&prometheus, &dashboard);
        if missing.is_empty() {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{}", missing.join("\n"));
    }

    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let query = &variable["query"]["query"];
        let Some(query) = query.as_str() else { continue };
        assert!(!prometheus.label_values(&substituted(query)).is_empty(), "{query}");
    }
    who_is_refused_why(&prometheus);
    which_issuer_is_in_trouble(&prometheus);
    every_series_is_documented(&prometheus);
}

/// As the labels tell it.
fn who_is_refused_why(prometheus: &Prometheus) {
    let counted =
        prometheus.query(r#"sum by (outcome, tenant, reason) (scopegate_decisions{job="gateway"}) > 0"#);
    let told: BTreeSet<[&str; 3]> = counted
        .iter()
        .map(|(labels, _)| ["outcome", "tenant", "reason"].map(|name| text(labels, name)))
        .collect();
    for expected in [
        ["allow", "acme", "none"],
        ["deny", "acme", "scope_not_granted"],
        ["deny", "none", "audience_mismatch"],
        ["deny", "initech", "scope_not_granted"],
        ["shadow", "x_rq_200", "scope_not_granted"],
        ["deny", "none", "introspection_unavailable"],
        ["deny", "none", "introspection_overloaded"],
    ] {
        assert!(told.contains(&expected), "{expected:?}: {told:?}");
    }
}

/// As the alerts tell it: of the issuers that are, and of nothing in the gateway where all is well.
fn which_issuer_is_in_trouble(prometheus: &Prometheus) {
    let alerts = prometheus.alerts();
    let mut told = BTreeSet::new();
    for (alert, places) in &alerts {
        for labels in places {
            let about = ["provider", "tenant", "reason"].map(|name| text(labels, name)).concat();
            told.insert(format!("{} {alert} {about}", text(labels, "job")));
        }
    }
    let expected = [
        "broken ScopegateTripwire ",
        "broken ScopegateVmFailed ",
        "gateway ScopegateConfigurationRefused ",
        "gateway ScopegateDenialsSurge acme",
        "gateway ScopegateIntrospectionFailing slow",
        "gateway ScopegateIntrospectionSlow slow",
        "gateway ScopegateIssuerFault introspection_overloaded",
        "gateway ScopegateIssuerFault introspection_unavailable",
        "gateway ScopegateKeyFetchFailing stale",
        "gateway ScopegateKeysStale stale",
        "gateway ScopegateMemoryFull ",
    ];
    // Requests that wait in vain for an issuer have no tenant yet.
    told.remove("gateway ScopegateDenialsSurge none");
    assert_eq!(told, expected.map(str::to_owned).into());
}

fn text<'v>(labels: &'v Value, name: &str) -> &'v str {
    labels[name].as_str().unwrap_or_default()
}

/// Each metric of the filter has its labels, and stands in the document; so does each alert.
fn every_series_is_documented(prometheus: &Prometheus) {
    let form = [("match[]", r#"{__name__=~"scopegate_.*"}"#)];
    let series = prometheus.ask(&Request::post("/api/v1/series").form(&form));
    let mut metrics: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for labels in series.as_array().expect("series") {
        let name = text(labels, "__name__");
        let name =
            ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        let own = labels.as_object().expect("labels").keys().map(String::as_str);
        let own = own.filter(|label| !["__name__", "job", "instance", "le"].contains(label));
        metrics.entry(name.to_owned()).or_default().extend(own);
    }
    // The one label that Envoy makes of what the tenant's name looks like.
    let by_tenant = metrics.get_mut("scopegate_decisions").expect("decisions");
    by_tenant.remove("envoy_response_code");
    for (metric, labels) in &metrics {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let row = format!(
            "| `{metric}` | {} |",
            if labels.is_empty() { "none".to_owned() } else { labels.join(" ") }
        );
        assert!(DOCUMENT.contains(&row), "docs/observability.md has no row `{row}`");
    }
    assert_eq!(DOCUMENT.matches("\n| `scopegate_").count(), metrics.len(), "{metrics:?}");
    for alert in prometheus.alerts().keys() {
        assert!(
            DOCUMENT.contains(&format!("\n| `{alert}` |")),
            "docs/observability.md says nothing of {alert}"
        );
    }
}

#[test]
fn each_panel_has_a_place_of_its_own_and_reads_the_chosen_data_source() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64()), "{panel}");
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().expect("a number"));
        assert!(x + w <= 24, "{panel}");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(place), "{place:?} is taken: {panel}");
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
        }
    }
}

#[test]
fn alerts_come_after_their_time_and_not_before() {
    for arguments in [["check", "rules", RULES], ["test", "rules", RULE_TESTS]] {
        let output = Command::new(binary("promtool")).args(arguments).output().expect("to start promtool");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}
