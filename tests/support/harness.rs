//! The servers of an end-to-end test. Each ends when its value is dropped, and by itself when the test process does.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{self, Request, Response};

/// How long a server may take to start, and a condition to come about.
const PATIENCE: Duration = Duration::from_secs(30);

/// A path that `make test` hands to the tests.
pub fn handed(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => {
            panic!("{variable} is not set: run `make test`, which builds and installs what this test needs")
        }
    }
}

/// The wasm file that was built.
pub fn built_module() -> PathBuf {
    handed("SCOPEGATE_WASM")
}

/// Waits until `condition` holds; fails the test, naming it, where that takes too long.
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_patiently(PATIENCE, what, condition);
}

fn wait_patiently(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patience, "waited {patience:?} in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A child process. It ends when this value is dropped.
pub struct Server {
    child: Child,
    /// Its other end closes with this process, and then the child ends.
    stdin: Option<ChildStdin>,
}

impl Server {
    pub fn start(name: &str, command: &mut Command) -> Self {
        let spawned = command.stdin(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let stdin = child.stdin.take();
        Self { child, stdin }
    }

    /// Starts one of the Node servers and returns its ready line.
    pub fn node(name: &str, arguments: &[&str]) -> (Self, Value) {
        let script = handed("SCOPEGATE_NODE_SERVERS").join(format!("{name}.mjs"));
        Self::announced(name, Command::new("node").arg(script).args(arguments))
    }

    /// Starts a server that prints a ready line, and returns that.
    pub fn announced(name: &str, command: &mut Command) -> (Self, Value) {
        let mut server = Self::start(name, command.stdout(Stdio::piped()));
        let stdout = server.child.stdout.take().expect("standard output");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("to read the ready line");
        let ready =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{name} is not ready: {error}"));
        (server, ready)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `target/tmp`, beside the profile's directory that holds the running test in `deps`.
fn scratch() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    test.ancestors().nth(3).expect("target/PROFILE/deps/TEST").join("tmp")
}

/// A directory that no other test uses; it stays where the test fails.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = scratch().join(unique);
        fs::create_dir_all(&path).expect("a directory for the test");
        Self(path)
    }

    /// Writes a file in it.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("to write a file of the test's");
        path
    }

    pub fn create(&self, file: &str) -> File {
        File::create(self.0.join(file)).expect("a file in the test's directory")
    }

    pub fn text(&self, file: &str) -> String {
        let bytes = fs::read(self.0.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl std::ops::Deref for Directory {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// The port in a ready line.
pub fn port_in(ready: &Value) -> u16 {
    port_named(ready, "port")
}

/// Another port in a ready line.
pub fn port_named(ready: &Value, name: &str) -> u16 {
    ready[name].as_u64().and_then(|port| port.try_into().ok()).expect("a port in the ready line")
}

/// A real OAuth2 authorization server; `tests/servers/authorization-server.mjs` says what it can do.
pub struct AuthorizationServer {
    _server: Server,
    pub issuer: String,
    pub port: u16,
}

impl AuthorizationServer {
    /// The one that the tests of this process share, with the clients of `authorization-server.json`.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<AuthorizationServer> = LazyLock::new(|| AuthorizationServer::start(None));
        &SHARED
    }

    /// One of the test's own, with a configuration of its own where it gives one.
    pub fn start(configuration: Option<&Value>) -> Self {
        Self::start_as("https://login.example.com", configuration)
    }

    /// As [`Self::start`], under another name: what stands in `iss`. Without one it goes by its own address, so that clients
    /// find it there.
    pub fn start_as(issuer: &str, configuration: Option<&Value>) -> Self {
        let configuration = configuration.map(Value::to_string);
        let mut arguments = if issuer.is_empty() { Vec::new() } else { vec!["--issuer", issuer] };
        arguments.extend(configuration.iter().flat_map(|text| ["--config-json", text.as_str()]));
        let (server, ready) = Server::node("authorization-server", &arguments);
        let issuer = ready["issuer"].as_str().expect("an issuer in the ready line").to_owned();
        Self { _server: server, issuer, port: port_in(&ready) }
    }

    /// An access token by the client credentials grant. The secret of client NAME is `NAME-secret`.
    pub fn token(&self, client: &str, scope: &str, resource: &str) -> String {
        self.token_from("", client, scope, resource)
    }

    /// As [`Self::token`], of one of the further issuers in the configuration's `realms`.
    pub fn token_from(&self, realm: &str, client: &str, scope: &str, resource: &str) -> String {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{client}:{client}-secret"));
        let mut form = vec![("grant_type", "client_credentials"), ("resource", resource)];
        form.extend((!scope.is_empty()).then_some(("scope", scope)));
        let prefix = if realm.is_empty() { String::new() } else { format!("/realms/{realm}") };
        let request = Request::post(format!("{prefix}/oauth/token"))
            .header("authorization", format!("Basic {basic}"))
            .form(&form);
        let answer = self.successful(&request);
        answer["access_token"].as_str().expect("an access token").to_owned()
    }

    /// Signs anything with the server's real key; `{header, claims, ...}` as its `/test/mint` takes it.
    pub fn mint(&self, what: &Value) -> String {
        let answer = self.successful(&Request::post("/test/mint").json(what));
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// A refresh token for a user of a client, as a login would end.
    pub fn refresh_token(&self, client: &str, subject: &str, scope: &str, resource: &str) -> String {
        let what = json!({"client_id": client, "subject": subject, "scope": scope, "resource": resource});
        let answer = self.successful(&Request::post("/test/refresh-token").json(&what));
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// An ID token of a user of a client, as a login would end; `{client_id, subject, access_token, claims}` as the
    /// server's `/test/id-token` takes it.
    pub fn id_token(&self, what: &Value) -> String {
        let answer = self.successful(&Request::post("/test/id-token").json(what));
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// The claims of a good token of a client of a tenant, valid for ten minutes: to be changed and minted.
    pub fn claims(&self, tenant: &str, client: &str, scope: &str) -> Value {
        let now = now();
        json!({
            "iss": self.issuer, "aud": "billing-api", "sub": client, "client_id": client, "tenant_id": tenant,
            "scope": scope, "iat": now, "exp": now + 600,
        })
    }

    pub fn jwks(&self) -> Value {
        self.successful(&Request::get("/jwks.json"))
    }

    /// Makes a new key; `{alg, keep_old}` as its `/test/rotate-keys` takes it. Returns the new `kid`s.
    pub fn rotate_keys(&self, how: &Value) -> Value {
        self.successful(&Request::post("/test/rotate-keys").json(how))["kids"].clone()
    }

    /// Requests so far at `jwks`, `introspection`, `token` or `revocation`.
    pub fn count(&self, endpoint: &str) -> u64 {
        self.successful(&Request::get("/test/counters"))[endpoint].as_u64().expect("a counter")
    }

    /// Revokes a token of a client (RFC 7009).
    pub fn revoke(&self, client: &str, token: &str) {
        let request = Request::post("/oauth/revoke").basic(client, &format!("{client}-secret"));
        let response = http::send(self.port, &request.form(&[("token", token)]));
        assert_eq!(response.status, 200, "{}", response.text());
    }

    /// Makes an endpoint misbehave; `{endpoint, delay_ms, status, ...}` as its `/test/behave` takes it.
    pub fn behave(&self, how: &Value) {
        self.successful(&Request::post("/test/behave").json(how));
    }

    fn successful(&self, request: &Request) -> Value {
        let response = http::send(self.port, request);
        assert_eq!(response.status, 200, "{request:?} was answered: {}", response.text());
        response.json()
    }
}

/// Carries plain connections on over TLS; `tests/servers/tls-tunnel.mjs` says how.
pub struct TlsTunnel {
    _server: Server,
    pub port: u16,
}

impl TlsTunnel {
    /// Leads to a port on loopback where `host` answers with a certificate that `authority`, in PEM, vouches for.
    pub fn start(to: u16, authority: &str, host: &str) -> Self {
        Self::start_as(to, authority, host, None)
    }

    /// The same, where the client shows a certificate of its own, in PEM, with its private key.
    pub fn start_as(to: u16, authority: &str, host: &str, own: Option<(&str, &str)>) -> Self {
        let (to, authority) = (to.to_string(), format!("--ca={authority}"));
        let own = own.map(|(certificate, key)| [format!("--cert={certificate}"), format!("--key={key}")]);
        let mut arguments = vec!["--to", to.as_str(), authority.as_str(), "--server-name", host];
        arguments.extend(own.iter().flatten().map(String::as_str));
        let (server, ready) = Server::node("tls-tunnel", &arguments);
        Self { _server: server, port: port_in(&ready) }
    }
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

/// How a gateway differs from the recommended one.
pub struct Options {
    /// Envoy's worker threads.
    pub concurrency: u32,
    /// Whether Envoy normalises and refuses paths and headers as `envoy.yaml` recommends; without it the filter sees
    /// what the client sent.
    pub hardened: bool,
    /// Whether the wasm filter is there; without it the tripwire stands alone.
    pub filter: bool,
    /// Hand the configuration over as a `Struct`, not as a `StringValue`.
    pub as_struct: bool,
    /// Further clusters on loopback: name and port.
    pub clusters: Vec<(String, u16)>,
    /// Environment variables of the VM, and of Envoy itself.
    pub environment: Vec<(String, String)>,
    /// The VM's namespace of shared data; empty for the one that all plugins share.
    pub vm_id: String,
    /// Levels of Envoy's loggers by component, such as `wasm:trace`.
    pub log_levels: String,
    /// A program that runs Envoy, with its arguments; none where Envoy is run directly.
    pub runner: Vec<String>,
    /// How long Envoy may take until it is ready.
    pub patience: Duration,
    /// Wait until it is ready; without it, only until its admin interface answers.
    pub ready: bool,
    /// Hand bodies over while headers are held, which guarded token endpoints need.
    pub holds_headers: bool,
    /// The filter's code, where it is not the file that was built.
    pub code: Option<PathBuf>,
    /// Deliver the filter by extension configuration discovery from a file, so that [`Gateway::reload`] can change it.
    pub reloadable: bool,
    /// Deliver the whole listener by listener discovery from a file instead, for the same purpose. What it replaces has
    /// this long to drain.
    pub listener_drains_in: Option<Duration>,
    /// Changes the bootstrap last.
    pub bootstrap: Box<dyn Fn(&mut Value)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 1,
            hardened: true,
            filter: true,
            as_struct: false,
            clusters: Vec::new(),
            environment: Vec::new(),
            vm_id: FILTER.to_owned(),
            log_levels: "wasm:info".to_owned(),
            runner: Vec::new(),
            patience: PATIENCE,
            ready: true,
            holds_headers: false,
            code: None,
            reloadable: false,
            listener_drains_in: None,
            bootstrap: Box::new(|_| {}),
        }
    }
}

/// The upstream that the gateways of this process share: its port.
static UPSTREAM: LazyLock<(Server, u16)> = LazyLock::new(|| {
    let (upstream, ready) = Server::node("upstream", &[]);
    (upstream, port_in(&ready))
});

/// The requests that have reached it.
fn upstream_count() -> u64 {
    http::send(UPSTREAM.1, &Request::get("/__count")).json()["count"].as_u64().expect("a count")
}

/// A real Envoy with the filter, the tripwire and an upstream.
pub struct Gateway {
    _envoy: Server,
    directory: Directory,
    upstream_count_before: u64,
    pub admin_port: u16,
    pub port: u16,
    /// The configuration of the filter in force.
    pub configuration: RwLock<Value>,
    /// Further clusters on loopback: name and port.
    pub clusters: Vec<(String, u16)>,
}

impl Gateway {
    /// Starts Envoy with a configuration of the filter; fails the test where Envoy does not take it.
    pub fn start(configuration: &Value, options: &Options) -> Self {
        Self::try_start(configuration, options)
            .unwrap_or_else(|log| panic!("envoy did not start; it said: {log}"))
    }

    /// One gateway for several configurations, one after the other: Envoy is started with the first and takes the others as
    /// reloads where they differ, which is quicker. Needs reloadable options, the same each time.
    pub fn with<'a>(running: &'a mut Option<Self>, configuration: &Value, options: &Options) -> &'a Self {
        assert!(options.reloadable, "only a reloadable gateway takes another configuration");
        let in_force = |gateway: &Self| *gateway.configuration.read().expect("a lock") == *configuration;
        if let Some(gateway) = running.as_ref().filter(|gateway| !in_force(gateway)) {
            assert!(gateway.reload(configuration, options), "refused: {}", gateway.log());
        }
        running.get_or_insert_with(|| Self::start(configuration, options))
    }

    /// Starts Envoy with a configuration of the filter.
    ///
    /// # Errors
    /// Envoy's log, where it ends rather than becoming ready.
    pub fn try_start(configuration: &Value, options: &Options) -> Result<Self, String> {
        let upstream_count_before = upstream_count();
        let directory = Directory::new("envoy");
        let filter = match (options.filter, options.reloadable) {
            (false, _) => None,
            (true, false) => {
                Some(json!({"name": FILTER, "typed_config": wasm_filter(configuration, options)}))
            }
            (true, true) => {
                discover(&directory, &wasm_filter(configuration, options));
                Some(discovered_filter(&directory))
            }
        };
        let mut bootstrap = bootstrap_with(filter, options);
        if options.listener_drains_in.is_some() {
            discover_listeners(&directory, &mut bootstrap);
        }
        fs::write(directory.0.join("envoy.json"), bootstrap.to_string()).expect("to write the bootstrap");

        let mut command = Command::new(handed("SCOPEGATE_NODE_SERVERS").join("bound-to-parent.sh"));
        command
            .args(&options.runner)
            .arg(handed("SCOPEGATE_ENVOY"))
            .arg("-c")
            .arg(directory.0.join("envoy.json"));
        command.arg("--admin-address-path").arg(directory.0.join("admin-address"));
        command.args(["--concurrency", &options.concurrency.to_string(), "--disable-hot-restart"]);
        command.args(["--log-level", "warn", "--component-log-level", &options.log_levels]);
        if let Some(drain) = options.listener_drains_in {
            let seconds = drain.as_secs().to_string();
            command.args(["--drain-time-s", &seconds, "--drain-strategy", "immediate"]);
        }
        command.envs(options.environment.iter().cloned());
        command.stdout(directory.create("access.log")).stderr(directory.create("envoy.log"));
        let mut envoy = Server::start("envoy", &mut command);

        let mut admin_port = None;
        let mut ended = false;
        wait_patiently(options.patience, "envoy is ready or gone", || {
            ended = envoy.child.try_wait().expect("envoy's state").is_some();
            admin_port = admin_port.or_else(|| port_of(&directory.text("admin-address")));
            let ready = admin_port.and_then(readiness);
            ended || ready.is_some_and(|ready| ready || !options.ready)
        });
        let (false, Some(admin_port)) = (ended, admin_port) else {
            return Err(directory.text("envoy.log"));
        };
        let port = listener_port(admin_port, "gateway");
        Ok(Self {
            _envoy: envoy,
            directory,
            upstream_count_before,
            admin_port,
            port,
            configuration: RwLock::new(configuration.clone()),
            clusters: options.clusters.clone(),
        })
    }

    /// Whether it is ready to serve.
    pub fn is_ready(&self) -> bool {
        readiness(self.admin_port) == Some(true)
    }

    /// The port of a listener that [`Options::bootstrap`] added.
    pub fn listener_port(&self, name: &str) -> u16 {
        listener_port(self.admin_port, name)
    }

    /// Whether one of its listeners has this port.
    pub fn listens_on(&self, port: u16) -> bool {
        listener_ports(self.admin_port).iter().any(|(_, known)| *known == port)
    }

    /// Sends a request on a connection of its own.
    pub fn send(&self, request: &Request) -> Response {
        http::send(self.port, request)
    }

    /// The requests that have reached the upstream since this was started, from other gateways too.
    pub fn upstream_count(&self) -> u64 {
        upstream_count() - self.upstream_count_before
    }

    /// Hands a running, reloadable Envoy another configuration (or, by `options`, anything else of the filter).
    /// Returns whether Envoy took it; where not, [`Self::log`] says why.
    pub fn reload(&self, configuration: &Value, options: &Options) -> bool {
        let of_filter = format!("extension_config_discovery.http_filter.{FILTER}.");
        let (part, taken) = match options.listener_drains_in {
            Some(_) => ("listener_manager.lds.", "update_success"),
            None => (of_filter.as_str(), "config_reload"),
        };
        let counts = || {
            let stats = self.stats(part);
            let count = |what: &str| stats.iter().find(|(name, _)| name.strip_prefix(part) == Some(what));
            [taken, "update_rejected"].map(|what| count(what).map_or(0, |(_, value)| *value))
        };
        let before = counts();
        let filter = wasm_filter(configuration, options);
        if options.listener_drains_in.is_some() {
            let filter = json!({"name": FILTER, "typed_config": filter});
            let mut bootstrap = bootstrap_with(Some(filter), options);
            discover_listeners(&self.directory, &mut bootstrap);
        } else {
            discover(&self.directory, &filter);
        }
        let mut after = before;
        wait_until("envoy has taken or rejected the configuration", || {
            after = counts();
            after != before
        });
        let is_taken = after[1] == before[1];
        if is_taken {
            *self.configuration.write().expect("a lock") = configuration.clone();
        }
        is_taken
    }

    /// A file in the directory of this gateway.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        self.directory.file(name, content)
    }

    /// Envoy's process id.
    pub fn process_id(&self) -> u32 {
        // The script that binds Envoy to this process makes way for it.
        self._envoy.child.id()
    }

    /// Envoy's resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process_id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// The value of one of Envoy's statistics; none where it does not exist (yet).
    pub fn stat(&self, name: &str) -> Option<u64> {
        self.stats(name).into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// Envoy's counters and gauges whose names hold `part`.
    pub fn stats(&self, part: &str) -> Vec<(String, u64)> {
        let text = http::send(self.admin_port, &Request::get("/stats")).text();
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        let wanted = lines.filter(|(name, _)| name.contains(part));
        wanted.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// Lets Envoy log what its Wasm component and the filter say at any level.
    pub fn log_everything_of_wasm(&self) {
        let answer = http::send(self.admin_port, &Request::post("/logging?wasm=trace"));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// What Envoy and the filter have logged.
    pub fn log(&self) -> String {
        self.directory.text("envoy.log")
    }

    /// The access log, which Envoy writes with some delay.
    pub fn access_log(&self) -> String {
        self.directory.text("access.log")
    }
}

/// Whether Envoy is ready; none where it does not answer.
fn readiness(admin_port: u16) -> Option<bool> {
    http::try_send(admin_port, &Request::get("/ready")).map(|answer| answer.status == 200)
}

fn listener_port(admin_port: u16, name: &str) -> u16 {
    let ports = listener_ports(admin_port);
    ports.into_iter().find(|(known, _)| known == name).expect("the listener's port").1
}

/// The names of the listeners and their ports. Envoy says nothing while it compiles a filter that it has discovered.
fn listener_ports(admin_port: u16) -> Vec<(String, u16)> {
    let mut answer = None;
    wait_until("envoy tells its listeners", || {
        answer = http::try_send(admin_port, &Request::get("/listeners?format=json"));
        answer.is_some()
    });
    let listeners = answer.expect("an answer").json();
    let statuses = listeners["listener_statuses"].as_array().expect("a list of listeners");
    let named = |status: &Value| {
        let port = status["local_address"]["socket_address"]["port_value"].as_u64()?;
        Some((status["name"].as_str()?.to_owned(), u16::try_from(port).ok()?))
    };
    statuses.iter().filter_map(named).collect()
}

fn port_of(address: &str) -> Option<u16> {
    address.trim().rsplit(':').next()?.parse().ok()
}

const FILTER: &str = "scopegate";

/// Lets Envoy try a configuration of the filter without serving anything, which is quicker than [`Gateway::start`].
///
/// # Errors
/// Envoy's log, where it refuses.
pub fn validate(configuration: &Value) -> Result<(), String> {
    let directory = Directory::new("validate");
    let options = Options::default();
    let filter = json!({"name": FILTER, "typed_config": wasm_filter(configuration, &options)});
    let bootstrap = bootstrap_with(Some(filter), &options).to_string();
    validate_bootstrap(&directory, &bootstrap)
}

/// Lets Envoy try a bootstrap.
///
/// # Errors
/// Envoy's log, where it refuses.
pub fn validate_bootstrap(directory: &Directory, bootstrap: &str) -> Result<(), String> {
    fs::write(directory.0.join("envoy.json"), bootstrap).expect("to write the bootstrap");
    let mut command = Command::new(handed("SCOPEGATE_ENVOY"));
    command.args(["--mode", "validate", "--log-level", "warn", "-c"]).arg(directory.0.join("envoy.json"));
    let output = command.output().expect("to start envoy");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Writes the file that Envoy discovers the filter in: another one, moved into its place, as Envoy watches for moves.
fn discover(directory: &Directory, filter: &Value) {
    let discovery = json!({"resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": FILTER,
        "typed_config": filter,
    }]});
    move_into_place(directory, "discovery.json", &discovery);
}

/// Does so with the listeners, and tells the bootstrap where they are.
fn discover_listeners(directory: &Directory, bootstrap: &mut Value) {
    let mut listeners = bootstrap["static_resources"]["listeners"].take();
    bootstrap["static_resources"]["listeners"] = json!([]);
    for listener in listeners.as_array_mut().expect("a list of listeners") {
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    }
    let path = move_into_place(directory, "listeners.json", &json!({"resources": listeners}));
    bootstrap["dynamic_resources"]["lds_config"] =
        json!({"path_config_source": {"path": path}, "resource_api_version": "V3"});
}

fn move_into_place(directory: &Directory, file: &str, content: &Value) -> PathBuf {
    let (new, place) = (directory.0.join("new"), directory.0.join(file));
    fs::write(&new, content.to_string()).expect("to write the discovery file");
    fs::rename(new, &place).expect("to move the discovery file");
    place
}

fn discovered_filter(directory: &Directory) -> Value {
    let path = directory.0.join("discovery.json");
    json!({"name": FILTER, "config_discovery": {
        "config_source": {"path_config_source": {"path": path}, "resource_api_version": "V3"},
        "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
    }})
}

/// The bootstrap of `envoy.yaml` in essence, with ports that the system picks.
fn bootstrap_with(filter: Option<Value>, options: &Options) -> Value {
    let type_url = |name: &str| format!("type.googleapis.com/{name}");
    let loopback = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let mut http_filters: Vec<Value> = filter.into_iter().collect();
    let decided = |value: &str| json!({"filter_state": {"key": "wasm.scopegate.decision", "string_match": {"exact": value}}});
    http_filters.push(json!({"name": "scopegate-tripwire", "typed_config": {
        "@type": type_url("envoy.extensions.filters.http.rbac.v3.RBAC"),
        "rules_stat_prefix": "scopegate_tripwire",
        "rules": {"action": "DENY", "policies": {"not-decided-by-scopegate": {
            "permissions": [{"any": true}],
            "principals": [{"not_id": {"or_ids": {"ids": [decided("allow"), decided("shadow")]}}}]}}}}}));
    http_filters.push(json!({"name": "envoy.filters.http.router", "typed_config": {
        "@type": type_url("envoy.extensions.filters.http.router.v3.Router")}}));

    let facts = ["decision", "reason", "tenant", "client", "subject", "suite", "operation"];
    let log_line: Vec<String> =
        facts.iter().map(|fact| format!("{fact}=%FILTER_STATE(wasm.scopegate.{fact}:PLAIN)%")).collect();
    let mut manager = json!({
        "@type": type_url("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "gateway",
        "stream_idle_timeout": "30s",
        "http_filters": http_filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]}]},
        "access_log": [{"name": "envoy.access_loggers.stdout", "typed_config": {
            "@type": type_url("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"),
            "log_format": {"text_format_source": {
                "inline_string": format!("%RESPONSE_CODE% {}\n", log_line.join(" "))}}}}],
    });
    if options.hardened {
        manager["use_remote_address"] = json!(true);
        manager["normalize_path"] = json!(true);
        manager["merge_slashes"] = json!(true);
        manager["path_with_escaped_slashes_action"] = json!("REJECT_REQUEST");
        manager["common_http_protocol_options"] =
            json!({"headers_with_underscores_action": "REJECT_REQUEST"});
    }

    let cluster = |name: &str, port: u16| {
        json!({"name": name, "connect_timeout": "2s", "load_assignment": {"cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": loopback(port)}}]}]}})
    };
    let mut clusters = vec![cluster("upstream", UPSTREAM.1)];
    clusters.extend(options.clusters.iter().map(|(name, port)| cluster(name, *port)));

    let mut bootstrap = json!({
        "node": {"id": "gateway", "cluster": "gateway"},
        "admin": {"address": loopback(0)},
        "static_resources": {
            "listeners": [{"name": "gateway", "address": loopback(0), "filter_chains": [{"filters": [
                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
            "clusters": clusters,
        },
    });
    (options.bootstrap)(&mut bootstrap);
    bootstrap
}

/// The http connection manager of the bootstrap's listener, for [`Options::bootstrap`].
pub fn manager(bootstrap: &mut Value) -> &mut Value {
    &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
}

/// The filter's `typed_config`.
pub fn wasm_filter(configuration: &Value, options: &Options) -> Value {
    let configuration = if options.as_struct {
        json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration})
    } else {
        let text = configuration.as_str().map_or_else(|| configuration.to_string(), str::to_owned);
        json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text})
    };
    let environment: serde_json::Map<String, Value> =
        options.environment.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": FILTER,
            "root_id": FILTER,
            "failure_policy": "FAIL_RELOAD",
            "allow_on_headers_stop_iteration": options.holds_headers,
            "reload_config": {"backoff": {"base_interval": "0.1s"}},
            "vm_config": {
                "vm_id": options.vm_id,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": options.code.clone().unwrap_or_else(built_module)}},
                "environment_variables": {"key_values": environment},
            },
            "configuration": configuration,
        },
    })
}
