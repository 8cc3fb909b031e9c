//! The memory that a VM may take: enough for the largest configuration planned for, and refusal beyond it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::decisions::configuration;
use scopegate_testing::harness::{
    AuthorizationServer, Directory, Gateway, Options, built_module, wait_until,
};
use scopegate_testing::http::{Connection, Request};

const PAGE: usize = 64 << 10;

/// Tenants with four applications each on one template, suites with ten operations each, and the two tenants and the
/// suite of [`configuration`].
fn large_configuration(issuer: &AuthorizationServer, tenants: usize, suites: usize) -> Value {
    let mut configuration = configuration(issuer);
    configuration["tenant_templates"] = json!({"standard": {
        "providers": ["corp"],
        "scopes": (0..20).map(|index| json!({"name": format!("api:{index}")})).collect::<Vec<_>>(),
        "scope_mapping": {"api:0": ["api:1", "api:2", "api:3"]},
    }});
    let application = |tenant: usize, index: usize| {
        let scopes: Vec<String> = (0..5).map(|scope| format!("api:{}", index * 5 + scope)).collect();
        json!({"client_id": format!("client-{tenant}-{index}"), "scopes": scopes})
    };
    let tenant = |number: usize| {
        let applications: Vec<Value> = (0..4).map(|index| application(number, index)).collect();
        json!({"id": format!("customer-{number}"), "template": "standard", "applications": applications})
    };
    let suite = |number: usize| {
        let operation = |index: usize| {
            json!({"name": format!("operation-{index}"), "methods": ["GET", "POST"],
                "path": format!("/suite-{number}/{{tenant}}/things-{index}/{{id}}"),
                "requires": [format!("api:{}", (number + index) % 20)]})
        };
        json!({"name": format!("suite-{number}"), "operations": (0..10).map(operation).collect::<Vec<_>>()})
    };
    let mut extend = |list: &str, more: Vec<Value>| {
        configuration[list].as_array_mut().expect("a list").extend(more);
    };
    extend("tenants", (0..tenants).map(tenant).collect());
    extend("suites", (0..suites).map(suite).collect());
    configuration
}

/// The same, but reading takes the right to write.
fn stricter(configuration: &Value) -> Value {
    let mut stricter = configuration.clone();
    stricter["suites"][0]["operations"][1]["requires"] = json!(["billing:write"]);
    stricter["suites"][0]["scopes"] = json!(["billing:read"]);
    stricter
}

/// Where the maximum of the module's one memory stands: two bytes of LEB128, and what they say, in pages.
fn maximum(wasm: &[u8]) -> (usize, usize) {
    let number = |mut at: usize| {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = wasm[at];
            (value, at) = (value | usize::from(byte & 0x7f) << shift, at + 1);
            if byte < 0x80 {
                return (value, at);
            }
            shift += 7;
        }
    };
    let mut at = 8;
    loop {
        let section = wasm[at];
        let (length, content) = number(at + 1);
        if section == 5 {
            assert_eq!(wasm[content..content + 2], [1, 1], "one memory, with a maximum");
            let (_, place) = number(content + 2);
            let (pages, end) = number(place);
            assert_eq!(end, place + 2, "a maximum of two bytes");
            return (place, pages);
        }
        at = content + length;
    }
}

#[test]
fn the_module_asks_for_no_more_than_256_mebibytes() {
    assert_eq!(maximum(&fs::read(built_module()).expect("the wasm file")).1 * PAGE, 256 << 20);
}

/// The wasm file with a smaller maximum.
fn with_maximum(directory: &Directory, bytes: usize) -> PathBuf {
    let mut wasm = fs::read(built_module()).expect("the wasm file");
    let (place, _) = maximum(&wasm);
    let pages = bytes / PAGE;
    wasm[place] = (pages & 0x7f) as u8 | 0x80;
    wasm[place + 1] = u8::try_from(pages >> 7).expect("at most 2^14 pages");
    let path = directory.0.join("small.wasm");
    fs::write(&path, wasm).expect("to write the wasm file");
    path
}

/// Begins a request that stays in flight, and so keeps the configuration of its beginning alive.
fn hold(gateway: &Gateway, token: &str) -> Connection {
    let before = gateway.stat("http.gateway.downstream_rq_active");
    let mut held = Connection::open(gateway.port);
    held.begin(&Request::post("/tenant1/invoices").bearer(token).header("content-length", "4"));
    wait_until("the request is in flight", || gateway.stat("http.gateway.downstream_rq_active") > before);
    held
}

#[test]
fn ten_thousand_tenants_fit_in_the_memory_of_a_vm_while_the_configuration_before_still_serves() {
    let issuer = AuthorizationServer::shared();
    let options = Options { reloadable: true, ..Options::default() };
    let large = large_configuration(issuer, 10_000, 500);
    let gateway = Gateway::start(&large, &options);
    let read = Request::get("/tenant1/invoices").bearer(&issuer.token(
        "tenant1-sync",
        "billing:read",
        "urn:billing",
    ));
    assert_eq!(gateway.send(&read).decision(), (200, "-".to_owned()));

    let mut held = hold(&gateway, &issuer.token("tenant1-sync", "billing:write", "urn:billing"));
    assert!(gateway.reload(&stricter(&large), &options), "{}", gateway.log());
    assert_eq!(gateway.send(&read).decision(), (403, "scope_not_granted".to_owned()));
    held.send_bytes(b"late");
    assert_eq!(held.receive(false).expect("an answer").upstream_saw("x-tenant-id"), ["tenant1"]);
    assert!(!gateway.log().contains("memory allocation"), "{}", gateway.log());
}

#[test]
fn a_configuration_for_which_the_memory_does_not_suffice_is_refused_and_the_old_one_decides() {
    let issuer = AuthorizationServer::shared();
    let directory = Directory::new("memory");
    let wasm = || Some(with_maximum(&directory, 8 << 20));
    let too_large = large_configuration(issuer, 5_000, 50);
    let options = Options { code: wasm(), ..Options::default() };
    let log = Gateway::try_start(&too_large, &options).err().expect("no start");
    assert!(log.contains("memory allocation"), "{log}");

    let options = Options { reloadable: true, code: wasm(), ..Options::default() };
    let gateway = Gateway::start(&stricter(&configuration(issuer)), &options);
    let read = Request::get("/tenant1/invoices").bearer(&issuer.token(
        "tenant1-sync",
        "billing:read",
        "urn:billing",
    ));
    assert!(!gateway.reload(&too_large, &options), "{}", gateway.log());
    assert_eq!(gateway.send(&read).decision(), (403, "scope_not_granted".to_owned()));
}

#[test]
fn a_worker_that_runs_out_of_memory_refuses_until_another_vm_id_brings_a_new_vm() {
    let issuer = AuthorizationServer::shared();
    let directory = Directory::new("memory");
    let options =
        Options { reloadable: true, code: Some(with_maximum(&directory, 24 << 20)), ..Options::default() };
    let lax = large_configuration(issuer, 1_000, 50);
    let strict = stricter(&lax);
    let gateway = Gateway::start(&lax, &options);
    let read = Request::get("/tenant1/invoices").bearer(&issuer.token(
        "tenant1-sync",
        "billing:read",
        "urn:billing",
    ));
    let writer = issuer.token("tenant1-sync", "billing:write", "urn:billing");
    assert_eq!(gateway.send(&read).status, 200);

    // Each configuration fits, as the canary VM finds; but the worker's keeps those that still serve.
    let mut held = Vec::new();
    while !gateway.log().contains("memory allocation") {
        assert!(held.len() < 30, "the memory is never full: {}", gateway.log());
        held.push(hold(&gateway, &writer));
        let mut next = strict.clone();
        next["realm"] = json!(format!("realm-{}", held.len()));
        gateway.reload(&next, &options);
        for _ in 0..3 {
            assert_ne!(gateway.send(&read).status, 200, "after {} reloads: {}", held.len(), gateway.log());
        }
    }
    assert!(held.len() > 2, "{}", gateway.log());
    drop(held);

    // Envoy makes new VMs for another vm_id only.
    let options = Options { vm_id: "scopegate-2".to_owned(), ..options };
    assert!(gateway.reload(&strict, &options), "{}", gateway.log());
    assert_eq!(gateway.send(&read).decision(), (403, "scope_not_granted".to_owned()));
    assert!(gateway.reload(&lax, &options), "{}", gateway.log());
    assert_eq!(gateway.send(&read).status, 200);
}

/// Answers introspection requests for as long as the test runs: active where the token begins with `good`.
fn introspection_server() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer_introspections(stream));
        }
    });
    port
}

/// Ends where the connection does.
fn answer_introspections(stream: TcpStream) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let answer = if body.starts_with(b"token=good") {
            json!({"active": true, "aud": "billing-api", "client_id": "flooded-client", "scope": "billing:read"})
        } else {
            json!({"active": false})
        };
        let answer = answer.to_string();
        // In one piece: the rest would wait until the first is acknowledged.
        let response = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        writer.write_all(response.as_bytes()).ok()?;
    }
}

/// Junk tokens in each flood, of the largest size that is taken.
const JUNK: usize = 100_000;
const JUNK_BYTES: usize = 16_384;

#[test]
#[ignore = "takes minutes: `make soak`"]
fn a_flood_of_junk_tokens_at_three_issuers_leaves_room_for_reloads_of_ten_thousand_tenants() {
    const FLOODED: [&str; 3] = ["flooded-0", "flooded-1", "flooded-2"];
    let issuer = AuthorizationServer::shared();
    let mut configuration = large_configuration(issuer, 10_000, 500);
    for name in FLOODED {
        configuration["providers"][name] = json!({
            "audiences": ["billing-api"],
            "introspection": {
                "uri": "https://flooded.example/introspect", "cluster": "flooded", "timeout": "10s",
                "client_auth": {"method": "none"},
                "cache": {"max_entries": 1_000_000, "max_ttl": "5s", "negative_ttl": "1h"},
            },
        });
        let tenant = json!({"id": name, "providers": [name], "applications": [
            {"client_id": "flooded-client", "scopes": ["billing:read"]}]});
        configuration["tenants"].as_array_mut().expect("tenants").push(tenant);
    }
    configuration["tenant_resolution"] = json!({"claims": ["tenant_id"]});
    configuration["audit"] = json!({"decisions": "none"});
    let options = Options {
        reloadable: true,
        clusters: vec![("flooded".to_owned(), introspection_server())],
        patience: Duration::from_secs(60),
        ..Options::default()
    };
    let gateway = Gateway::start(&configuration, &options);
    let jwt = issuer.token("tenant1-sync", "billing:read", "urn:billing");

    let (sent, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (mut good, mut reloads) = (0, 0);
    let start = Instant::now();
    thread::scope(|scope| {
        let flooders: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection::open(gateway.port);
                    loop {
                        let number = sent.fetch_add(1, Ordering::SeqCst);
                        if number >= JUNK {
                            return;
                        }
                        let token = format!("{number:0>JUNK_BYTES$}");
                        let path = format!("/{}/invoices", FLOODED[number % FLOODED.len()]);
                        let response = connection.send(&Request::get(path).bearer(&token));
                        assert_eq!(response.decision(), (401, "token_inactive".to_owned()), "{number}");
                    }
                })
            })
            .collect();
        let well_behaved = scope.spawn(|| {
            let mut connection = Connection::open(gateway.port);
            let mut count = 0;
            while !is_over.load(Ordering::SeqCst) {
                let request = Request::get("/tenant1/invoices").bearer(&jwt);
                assert_eq!(connection.send(&request).status, 200, "{}", gateway.log());
                for name in FLOODED {
                    let request = Request::get(format!("/{name}/invoices")).bearer("good");
                    assert_eq!(connection.send(&request).status, 200, "{}", gateway.log());
                }
                count += 4;
                thread::sleep(Duration::from_millis(5));
            }
            count
        });
        while !flooders.iter().all(|flooder| flooder.is_finished()) {
            reloads += 1;
            configuration["realm"] = json!(format!("realm-{reloads}"));
            assert!(gateway.reload(&configuration, &options), "{}", gateway.log());
            thread::sleep(Duration::from_secs(1));
        }
        is_over.store(true, Ordering::SeqCst);
        good = well_behaved.join().expect("each good request passes");
    });

    let gauge = |name: &str| gateway.stat(&format!("wasmcustom.scopegate.{name}")).expect("a gauge");
    wait_until("the gauges are there", || gateway.stat("wasmcustom.scopegate.memory_bytes").is_some());
    let (used, budget, vm) = (gauge("memory_bytes"), gauge("memory_budget_bytes"), gauge("vm_bytes"));
    println!(
        "{JUNK} junk tokens of {JUNK_BYTES} bytes and {reloads} reloads in {:?}: {good} good requests passed; \
         remembered {used} of {budget} bytes, the VM has {vm}",
        start.elapsed()
    );
    assert!(used <= budget && vm <= 256 << 20);
    assert!(!gateway.log().contains("memory allocation"), "{}", gateway.log());
    assert_eq!(gateway.stat("wasm.scopegate.vm_reload_success").unwrap_or(0), 0);
}
