//! The files of `deploy/` in a real Envoy: what they let through and refuse, and how they are replaced.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use scopegate::config::yaml_to_json;
use scopegate::hex::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{AuthorizationServer, Directory, Gateway, Options, built_wasm, wait_until};
use crate::http::Request;

fn deployed(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a YAML file.
fn documents(file: &str) -> Vec<Value> {
    let text = deployed(file);
    text.split("\n---\n").map(|document| yaml_to_json(document).expect("YAML")).collect()
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
            environment: vec![("INTROSPECTION_SECRET".to_owned(), "gateway-secret".to_owned())],
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
fn the_recommended_gateway_allows_refuses_and_takes_files_that_are_moved_into_its_directory() {
    let issuer = AuthorizationServer::shared();
    let installation = Installation::new();
    let wasm = fs::read(built_wasm()).expect("the wasm file");
    let path = installation.wasm(&wasm);
    let filter = deployed("envoy/scopegate/filter.yaml");
    let filter = filter.replace("/etc/envoy/scopegate/scopegate.wasm", &path.display().to_string());
    installation.filter(&filter);
    let gateway = Gateway::start(&json!({}), &installation.options(issuer));

    let read = |token: &str| gateway.send(&Request::get("/acme/invoices").bearer(token));
    let post = |token: &str| gateway.send(&Request::post("/acme/invoices").bearer(token));
    let writer = issuer.token("acme-sync", "billing:read billing:write", "urn:billing");
    let reader = issuer.token("acme-reader", "billing:read", "urn:billing");
    let opaque = issuer.token("acme-reader", "billing:read", "urn:billing:opaque");
    for token in [&writer, &reader, &opaque] {
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

    let taken = |text: &str| {
        let before = (discoveries(&gateway, "config_reload"), discoveries(&gateway, "update_rejected"));
        let mut after = before;
        installation.filter(text);
        wait_until("envoy has taken or rejected the file", || {
            after = (discoveries(&gateway, "config_reload"), discoveries(&gateway, "update_rejected"));
            after != before
        });
        after.1 == before.1
    };
    // Another configuration.
    let policy = deployed("policy.yaml");
    let stricter = policy.replace(
        "methods: [GET, HEAD], requires: [billing:read]",
        "methods: [GET, HEAD], requires: [billing:write]",
    );
    assert_ne!(stricter, policy);
    assert!(taken(&rendered(&stricter, &path)), "{}", gateway.log());
    assert_eq!(read(&reader).status, 403);
    assert_eq!(read(&writer).status, 200);
    // Another wasm file: with a custom section of one byte, its empty name, at its end.
    let other = installation.wasm(&[wasm.as_slice(), &[0, 1, 0]].concat());
    assert_ne!(other, path);
    assert!(taken(&rendered(&stricter, &other)), "{}", gateway.log());
    assert_eq!((read(&reader).status, read(&writer).status), (403, 200));
    // What cannot be: the old one stays.
    assert!(!taken(&rendered(&policy, Path::new("/nowhere.wasm"))), "{}", gateway.log());
    assert!(!taken(&filter.replace("\"version\": 1", "\"version\": 0")), "{}", gateway.log());
    assert_eq!((read(&reader).status, read(&writer).status), (403, 200));
    // Back.
    assert!(taken(&filter), "{}", gateway.log());
    assert_eq!(read(&reader).status, 200);
    assert_eq!(read(&opaque).status, 200);
}

#[test]
fn a_callback_that_the_capabilities_leave_out_ends_in_refusal() {
    let issuer = AuthorizationServer::shared();
    let installation = Installation::new();
    let path = installation.wasm(&fs::read(built_wasm()).expect("the wasm file"));
    let filter = rendered(&deployed("policy.yaml"), &path);
    let without = filter.replace("            proxy_on_request_headers: {}\n", "");
    assert_ne!(without, filter);
    installation.filter(&without);
    let gateway = Gateway::start(&json!({}), &installation.options(issuer));
    let token = issuer.token("acme-reader", "billing:read", "urn:billing");
    let answer = gateway.send(&Request::get("/acme/invoices").bearer(&token));
    assert_eq!((answer.status, answer.text().as_str()), (403, "RBAC: access denied"));
    assert_eq!(gateway.upstream_count(), 0);
}

#[test]
fn the_recommended_gateway_is_as_hardened_as_the_one_to_try() {
    let manager = |text: &str| {
        let bootstrap = yaml_to_json(text).expect("YAML");
        let mut manager =
            bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
                .clone();
        manager["http_filters"][0] = Value::Null;
        manager
    };
    let to_try =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy.yaml")).expect("envoy.yaml");
    assert_eq!(manager(&deployed("envoy/envoy.yaml")), manager(&to_try));
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
    crate::harness::validate_bootstrap(&directory, &text).unwrap_or_else(|log| panic!("{log}"));
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
