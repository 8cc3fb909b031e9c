//! The files of `deploy/` in a real Envoy: what they let through and refuse, and how they are replaced.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base16ct::lower::encode_string as hex;
use scopegate::config::yaml_to_json;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use scopegate_testing::harness::{
    AuthorizationServer, Directory, Gateway, Options, built_module, wait_until,
};
use scopegate_testing::http::Request;

fn deployed(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a YAML file.
fn documents(file: &str) -> Vec<Value> {
    let text = deployed(file);
    text.split("\n---\n").map(|document| yaml_to_json(document).expect("YAML")).collect()
}

/// The commands of `docs/operations.md` under `<!-- tested: NAME -->`.
fn commands(name: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = fs::read_to_string(page).expect("docs/operations.md");
    let (_, behind) = page.split_once(&format!("<!-- tested: {name} -->\n")).expect("such commands");
    let (_, behind) = behind.split_once("```sh\n").expect("a block");
    behind.split("```").next().expect("its end").to_owned()
}

/// What `deploy/envoy/` becomes on a machine: its files, under another directory than `/etc/envoy`.
struct Installation {
    directory: Directory,
}

impl Installation {
    fn new() -> Self {
        let directory = Directory::new("installation");
        fs::create_dir(directory.0.join("scopegate")).expect("a directory");
        Self { directory }
    }

    fn place(&self, file: &str) -> PathBuf {
        self.directory.0.join(file)
    }

    /// Runs commands as they stand, but for the directory and the port of the admin interface; returns what they say.
    fn paste(&self, commands: &str, within: &Path, gateway: Option<&Gateway>) -> String {
        let mut text = commands.replace("/etc/envoy", &self.directory.0.display().to_string());
        if let Some(gateway) = gateway {
            text = text.replace("127.0.0.1:9901", &format!("127.0.0.1:{}", gateway.admin_port));
        }
        let tool = Path::new(env!("CARGO_BIN_EXE_scopegate")).parent().expect("a directory");
        let path = std::env::var("PATH").expect("PATH");
        let mut bash = Command::new("bash");
        bash.args(["-eu", "-o", "pipefail", "-c", &text]).current_dir(within);
        bash.env("PATH", format!("{}:{path}", tool.display()));
        bash.env("VERSION", env!("CARGO_PKG_VERSION")).env("NEW_SECRET", "gateway-secret");
        let output = bash.output().expect("to start bash");
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Puts the wasm file in its place, under a name that its content gives it.
    fn wasm(&self, wasm: &[u8]) -> PathBuf {
        let digest: String = hex(&Sha256::digest(wasm)).chars().take(12).collect();
        let path = self.place(&format!("scopegate/scopegate-0.1.0-{digest}.wasm"));
        fs::write(&path, wasm).expect("to write the wasm file");
        path
    }

    /// Moves `filter.yaml` into its place.
    fn filter(&self, text: &str) {
        let new = self.place("scopegate/filter.yaml.new");
        fs::write(&new, text).expect("to write filter.yaml");
        fs::rename(new, self.place("scopegate/filter.yaml")).expect("to move filter.yaml");
    }

    /// `deploy/envoy/envoy.yaml` as it stands, but for this directory, the ports, and the issuer without TLS.
    fn options(&self, issuer: &AuthorizationServer) -> Options {
        let text =
            deployed("envoy/envoy.yaml").replace("/etc/envoy", &self.directory.0.display().to_string());
        let deployed = yaml_to_json(&text).expect("YAML");
        let bootstrap = move |bootstrap: &mut Value| {
            let clusters = bootstrap["static_resources"]["clusters"].take();
            *bootstrap = deployed.clone();
            bootstrap["static_resources"]["clusters"] = clusters;
            let listener = &mut bootstrap["static_resources"]["listeners"][0];
            listener["address"]["socket_address"]["port_value"] = json!(0);
            bootstrap["admin"]["address"]["socket_address"]["port_value"] = json!(0);
        };
        Options {
            concurrency: 2,
            filter: false,
            clusters: vec![("idp".to_owned(), issuer.port)],
            environment: vec![("INTROSPECTION_SECRET".to_owned(), "old-secret".to_owned())],
            bootstrap: Box::new(bootstrap),
            ..Options::default()
        }
    }
}

/// `scopegate render --as ecds`.
fn rendered(policy: &str, wasm: &Path) -> String {
    let directory = Directory::new("policy");
    let file = directory.0.join("policy.yaml");
    fs::write(&file, policy).expect("to write the policy");
    let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    let output = command.arg("render").arg(&file).args(["--as", "ecds", "--wasm"]).arg(wasm).output();
    let output = output.expect("to start scopegate");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn discoveries(gateway: &Gateway, what: &str) -> u64 {
    gateway.stat(&format!("extension_config_discovery.http_filter.scopegate.{what}")).unwrap_or_default()
}

#[test]
fn the_recommended_gateway_is_installed_reloaded_rolled_back_and_given_a_secret_as_the_operators_page_says() {
    let issuer = AuthorizationServer::shared();
    let installation = Installation::new();
    let release = Directory::new("release");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut node = Command::new("node");
    node.arg(root.join("deploy/release/dist.mjs")).arg("--wasm").arg(built_module());
    node.args(["--tool", env!("CARGO_BIN_EXE_scopegate"), "--output"]).arg(&release.0);
    assert!(node.status().expect("to start node").success());
    installation.paste(&commands("sums"), &release.0, None);
    installation.paste(&commands("install"), &release.0, None);
    let filter = fs::read_to_string(installation.place("scopegate/filter.yaml")).expect("filter.yaml");
    let filter = filter.replace("/etc/envoy", &installation.directory.0.display().to_string());
    installation.filter(&filter);
    let gateway = Gateway::start(&json!({}), &installation.options(issuer));
    let paste = |name: &str, within: &Path| installation.paste(&commands(name), within, Some(&gateway));

    let read = |token: &str| gateway.send(&Request::get("/acme/invoices").bearer(token));
    let post = |token: &str| gateway.send(&Request::post("/acme/invoices").bearer(token));
    let writer = issuer.token("acme-sync", "billing:read billing:write", "urn:billing");
    let reader = issuer.token("acme-reader", "billing:read", "urn:billing");
    for token in [&writer, &reader] {
        assert_eq!(read(token).upstream_saw("x-tenant-id"), ["acme"]);
    }
    assert_eq!(post(&writer).status, 200);
    assert_eq!(post(&reader).decision(), (403, "scope_not_granted".to_owned()));
    assert_eq!(
        gateway.send(&Request::get("/acme/invoices")).decision(),
        (401, "credential_missing".to_owned())
    );
    assert_eq!(gateway.send(&Request::get("/acme%2Finvoices").bearer(&reader)).status, 400);
    assert_eq!(gateway.send(&Request::get("/health")).status, 200);
    let refused = "wasmcustom.scopegate.decisions.outcome.deny.reason.scope_not_granted.tenant.acme: 1";
    wait_until("the refusal is counted", || paste("counters", &release.0).contains(refused));

    let taken = |change: &dyn Fn()| {
        let before = (discoveries(&gateway, "config_reload"), discoveries(&gateway, "update_rejected"));
        let mut after = before;
        change();
        wait_until("envoy has taken or rejected the file", || {
            after = (discoveries(&gateway, "config_reload"), discoveries(&gateway, "update_rejected"));
            after != before
        });
        let told = paste("taken", &release.0);
        for (name, count) in [("config_reload", after.0), ("update_rejected", after.1)] {
            let line = format!("extension_config_discovery.http_filter.scopegate.{name}: {count}\n");
            assert!(told.contains(&line), "{told}");
        }
        after.1 == before.1
    };
    // Another configuration.
    let work = Directory::new("work");
    let policy = deployed("policy.yaml");
    let (from, to) = ("[GET, HEAD], requires: [billing:read]", "[GET, HEAD], requires: [billing:write]");
    let stricter = policy.replace(from, to);
    assert_ne!(stricter, policy);
    for (file, text) in [("deployed.yaml", &policy), ("policy.yaml", &stricter)] {
        fs::write(work.0.join(file), text).expect("to write the policy");
    }
    assert!(taken(&|| assert!(paste("reload", &work.0).contains("suite.reassociated"))), "{}", gateway.log());
    assert_eq!((read(&reader).status, read(&writer).status), (403, 200));
    // Another wasm file: with a custom section, its empty name alone, at its end.
    let wasm = fs::read(built_module()).expect("the wasm file");
    fs::write(work.0.join("scopegate.wasm"), [&wasm[..], &[0, 1, 0]].concat())
        .expect("to write the wasm file");
    assert!(taken(&|| drop(paste("new-wasm", &work.0))), "{}", gateway.log());
    assert_eq!(fs::read_dir(installation.place("scopegate")).expect("files").count(), 3);
    assert_eq!((read(&reader).status, read(&writer).status), (403, 200));
    // What cannot be: the old one stays.
    let nowhere = rendered(&policy, Path::new("/nowhere.wasm"));
    let wrong = filter.replace("\"version\": 1", "\"version\": 0");
    for text in [nowhere, wrong] {
        assert!(!taken(&|| installation.filter(&text)), "{}", gateway.log());
        assert_eq!((read(&reader).status, read(&writer).status), (403, 200));
    }

    assert!(taken(&|| drop(paste("roll-back", &work.0))), "{}", gateway.log());
    assert_eq!(read(&reader).status, 200);

    let shadow = filter.replace("\"scope_enforcement\": \"enforce\"", "\"scope_enforcement\": \"shadow\"");
    assert_ne!(shadow, filter);
    assert!(taken(&|| installation.filter(&shadow)), "{}", gateway.log());
    assert_eq!(post(&reader).upstream_saw("x-tenant-id"), ["acme"]);
    let lifted = "decisions.outcome.shadow.reason.scope_not_granted.tenant.acme: 1";
    wait_until("the shadow decision is counted", || paste("counters", &release.0).contains(lifted));
    wait_until("the shadow decision is logged", || gateway.log().contains("\"decision\":\"shadow\""));

    let opaque = issuer.token("acme-reader", "billing:read", "urn:billing:opaque");
    assert_eq!(read(&opaque).decision(), (503, "introspection_unavailable".to_owned()));
    assert!(taken(&|| drop(paste("rotate", &work.0))), "{}", gateway.log());
    assert_eq!(read(&opaque).upstream_saw("x-tenant-id"), ["acme"]);
    assert!(!gateway.log().contains("gateway-secret"));
}

#[test]
fn a_callback_that_the_capabilities_leave_out_ends_in_refusal() {
    let issuer = AuthorizationServer::shared();
    let installation = Installation::new();
    let path = installation.wasm(&fs::read(built_module()).expect("the wasm file"));
    let filter = rendered(&deployed("policy.yaml"), &path);
    let without = filter.replace("              proxy_on_request_headers: {}\n", "");
    assert_ne!(without, filter);
    installation.filter(&without);
    let gateway = Gateway::start(&json!({}), &installation.options(issuer));
    let token = issuer.token("acme-reader", "billing:read", "urn:billing");
    let answer = gateway.send(&Request::get("/acme/invoices").bearer(&token));
    assert_eq!((answer.status, answer.text().as_str()), (403, "RBAC: access denied"));
    assert_eq!(gateway.upstream_count(), 0);
    assert!(!gateway.log().contains("eprecated"), "{}", gateway.log());
}

#[test]
fn the_recommended_gateway_is_as_hardened_as_the_one_to_try() {
    let shared = |text: &str| {
        let mut bootstrap = yaml_to_json(text).expect("YAML");
        let listener = bootstrap["static_resources"]["listeners"][0].take();
        let mut manager = listener["filter_chains"][0]["filters"][0]["typed_config"].clone();
        manager["http_filters"][0].take();
        [manager, bootstrap["stats_config"].take(), bootstrap["overload_manager"].take()]
    };
    let to_try =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy.yaml")).expect("envoy.yaml");
    assert_eq!(shared(&deployed("envoy/envoy.yaml")), shared(&to_try));
}

#[test]
fn envoy_takes_the_recommended_bootstrap_and_the_issuers_cluster_as_they_stand() {
    let directory = Directory::new("validate");
    // The bundle of certificates of the machine may stand elsewhere.
    let mut node = Command::new("node");
    node.args(["-e", "process.stdout.write(require('node:tls').rootCertificates[0])"]);
    let certificate = node.output().expect("to start node").stdout;
    let authorities = directory.0.join("authorities.pem");
    fs::write(&authorities, certificate).expect("to write the certificate");

    let mut bootstrap = yaml_to_json(&deployed("envoy/envoy.yaml")).expect("YAML");
    let patch = &documents("envoy-gateway/issuer.yaml")[0]["spec"]["jsonPatches"][0];
    let mut other = patch["operation"]["value"].clone();
    assert_eq!(other["name"], patch["name"]);
    other["name"] = json!("idp-of-envoy-gateway");
    bootstrap["static_resources"]["clusters"].as_array_mut().expect("clusters").push(other);
    // Envoy looks whether the discovered file is there, and opens none.
    fs::create_dir(directory.0.join("scopegate")).expect("a directory");
    fs::write(directory.0.join("scopegate/filter.yaml"), "").expect("to write filter.yaml");
    let text = bootstrap.to_string().replace("/etc/envoy", &directory.0.display().to_string());
    let text = text.replace("/etc/ssl/certs/ca-certificates.crt", &authorities.display().to_string());
    assert_eq!(text.matches("authorities.pem").count(), 2);
    scopegate_testing::harness::validate_bootstrap(&directory, &text).unwrap_or_else(|log| panic!("{log}"));
}

/// The tripwire that Istio's EnvoyFilter or Envoy Gateway's EnvoyPatchPolicy puts before the router.
fn patched_in(documents: &[Value]) -> Value {
    let policy = &documents[1]["spec"];
    match documents[1]["kind"].as_str() {
        Some("EnvoyFilter") => {
            let patch = &policy["configPatches"][0];
            assert_eq!(patch["applyTo"], "HTTP_FILTER");
            assert_eq!(patch["patch"]["operation"], "INSERT_BEFORE");
            let filter = &patch["match"]["listener"]["filterChain"]["filter"];
            assert_eq!(filter["subFilter"]["name"], "envoy.filters.http.router");
            patch["patch"]["value"].clone()
        }
        Some("EnvoyPatchPolicy") => {
            let operation = &policy["jsonPatches"][0]["operation"];
            assert_eq!(operation["op"], "add");
            assert_eq!(operation["jsonPath"], "$..http_filters[?(@.name=='envoy.filters.http.router')]");
            operation["value"].clone()
        }
        kind => panic!("no kind of tripwire: {kind:?}"),
    }
}

#[test]
fn what_istio_and_envoy_gateway_hand_to_envoy_decides_and_without_the_filter_refuses() {
    let issuer = AuthorizationServer::shared();
    for (file, configuration, cluster) in [
        ("istio/scopegate.yaml", "/spec/pluginConfig", "outbound|443||login.example.com"),
        ("envoy-gateway/scopegate.yaml", "/spec/wasm/0/config", "idp"),
    ] {
        let documents = documents(file);
        let configuration = documents[0].pointer(configuration).expect("the filter's configuration");
        let tripwire = patched_in(&documents);
        let start = |filter: bool| {
            let tripwire = tripwire.clone();
            let bootstrap = move |bootstrap: &mut Value| {
                let manager =
                    &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
                let filters = manager["typed_config"]["http_filters"].as_array_mut().expect("filters");
                // In the place of the test's own, which stands before the router.
                let place = filters.len() - 2;
                assert_eq!(filters[place + 1]["name"], "envoy.filters.http.router");
                filters[place] = tripwire.clone();
            };
            let options = Options {
                filter,
                // Istio names none.
                vm_id: String::new(),
                clusters: vec![(cluster.to_owned(), issuer.port)],
                environment: vec![("INTROSPECTION_SECRET".to_owned(), "gateway-secret".to_owned())],
                bootstrap: Box::new(bootstrap),
                ..Options::default()
            };
            Gateway::start(configuration, &options)
        };
        let read = |gateway: &Gateway, resource: &str| {
            let token = issuer.token("acme-reader", "billing:read", resource);
            gateway.send(&Request::get("/acme/invoices").bearer(&token))
        };
        let gateway = start(true);
        for resource in ["urn:billing", "urn:billing:opaque"] {
            assert_eq!(read(&gateway, resource).upstream_saw("x-tenant-id"), ["acme"], "{file}");
        }
        let refused = gateway.send(&Request::get("/globex/invoices").bearer(&issuer.token(
            "acme-reader",
            "billing:read",
            "urn:billing",
        )));
        assert_eq!(refused.decision(), (401, "tenant_mismatch".to_owned()), "{file}");
        let bare = start(false);
        let answer = read(&bare, "urn:billing");
        assert_eq!((answer.status, answer.text().as_str()), (403, "RBAC: access denied"), "{file}");
        assert_eq!(bare.upstream_count(), 0, "{file}");
    }
}
