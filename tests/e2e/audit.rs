//! Access log and audit lines: they tell the same request, and no client can write a record into either.

use std::fs;
use std::path::Path;
use std::process::Command;

use scopegate::config::yaml_to_json;
use serde_json::{Value, json};

use super::decisions::configuration;
use scopegate_testing::harness::{
    AuthorizationServer, Directory, Gateway, Options, Server, handed, manager, wait_until,
};
use scopegate_testing::http::{self, Connection, Request};

/// The access log that `envoy.yaml` ships.
fn shipped_access_log() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy.yaml");
    let mut envoy = yaml_to_json(&fs::read_to_string(path).expect("envoy.yaml")).expect("YAML");
    let listener = &mut envoy["static_resources"]["listeners"][0];
    listener["filter_chains"][0]["filters"][0]["typed_config"]["access_log"].take()
}

fn start(configuration: &Value, hardened: bool) -> Gateway {
    let bootstrap = |bootstrap: &mut Value| manager(bootstrap)["access_log"] = shipped_access_log();
    Gateway::start(configuration, &Options { hardened, bootstrap: Box::new(bootstrap), ..Options::default() })
}

/// The access log as it is read: a JSON object on each line.
fn access_records(gateway: &Gateway) -> Vec<Value> {
    let log = gateway.access_log();
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    // The last line may be half written.
    let (complete, _) = log.rsplit_once('\n').unwrap_or_default();
    complete.lines().map(read).collect()
}

fn audit_lines(gateway: &Gateway) -> Vec<Value> {
    let log = gateway.log();
    let lines = log.lines().filter_map(|line| line.find(r#"{"event":"decision""#).map(|at| &line[at..]));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn yesterdays_403_is_found_in_the_audit_lines_from_the_access_log_by_its_request_id() {
    let issuer = AuthorizationServer::shared();
    let gateway = start(&configuration(issuer), true);
    let reader = issuer.token("tenant1-sync", "billing:read", "urn:billing");
    let post = || Request::post("/tenant1/invoices?q=private").bearer(&reader);
    assert_eq!(gateway.send(&Request::get("/tenant1/invoices").bearer(&reader)).status, 200);
    for _ in 0..3 {
        // No request brings an id: Envoy makes each one, before the filter sees the request.
        assert_eq!(gateway.send(&post()).decision(), (403, "scope_not_granted".to_owned()));
    }
    wait_until("both logs are written", || {
        access_records(&gateway).len() == 4 && audit_lines(&gateway).len() == 3
    });
    let (records, lines) = (access_records(&gateway), audit_lines(&gateway));
    let refused: Vec<&Value> = records.iter().filter(|record| record["status"] == 403).collect();
    assert_eq!(refused.len(), 3, "{records:?}");
    for record in refused {
        let id = record["request_id"].as_str().expect("an id");
        assert_eq!(id.len(), 36, "{record}");
        let found: Vec<&Value> = lines.iter().filter(|line| line["request_id"] == id).collect();
        let [line] = found.as_slice() else { panic!("{id} is not in one line of {lines:?}") };
        let facts: Value = serde_json::from_str(record["scopegate"].as_str().expect("facts")).expect("JSON");
        for fact in ["decision", "reason", "tenant", "client", "suite", "operation", "policy"] {
            assert!(facts[fact].is_string(), "`{fact}` of {facts}");
            assert_eq!(facts[fact], line[fact], "{fact}");
        }
        assert_eq!((&record["method"], &record["path"]), (&line["method"], &json!("/tenant1/invoices")));
        assert_eq!(line["path_template"], "/{tenant}/invoices");
        assert_eq!(line["required"], json!({"all_of": ["billing:write"]}));
        assert_eq!(line["step"], "scopes");
        assert_eq!((line.get("subject"), facts.get("subject")), (None, None));
    }
    assert!(!gateway.access_log().contains("private") && !gateway.log().contains("private"));
}

#[test]
fn no_client_writes_a_record_or_a_field_into_a_log() {
    let issuer = AuthorizationServer::shared();
    let mut configuration = configuration(issuer);
    configuration["audit"] = json!({"decisions": "all", "subject": true});
    configuration["forward"] = json!({});
    for tenant in configuration["tenants"].as_array_mut().expect("tenants") {
        tenant.as_object_mut().expect("a tenant").remove("applications");
    }
    let gateway = start(&configuration, false);
    let forged =
        "alice\n{\"status\":200,\"decision\":\"allow\"}\r\u{1b}[2J\u{7f}\u{85}\u{2028}\u{202e}\"},\\é";
    let mut claims = issuer.claims("tenant1", forged, "billing:read");
    claims["sub"] = json!(forged);
    let token = issuer.mint(&json!({"claims": claims}));
    let get = || Request::get("/tenant1/invoices").bearer(&token);
    let quotes = "1\"},\"decision\":\"allow\",\\";
    let requests = [
        get(),
        get().header("x-request-id", quotes),
        get().header("x-request-id", b"\xff\xfe\x80\xc3(".as_slice()),
        get().header("x-request-id", "\u{85}\u{2028}é"),
        get().header("x-request-id", "a".repeat(4000)),
        Request::new("GE\"T", "/tenant1/invoices").bearer(&token),
        Request::get("/tenant1/\"},{\"").bearer(&token),
        Request::get(b"/tenant1/\xff\xfe".as_slice()).bearer(&token),
    ];
    let mut answered = 0;
    for request in &requests {
        // Some of it Envoy refuses itself, whether with an answer or without.
        let response = Connection::open(gateway.port).try_send(request);
        answered += usize::from(response.is_some());
    }
    wait_until("the access log is written", || access_records(&gateway).len() >= answered.max(5));
    let text = gateway.access_log();
    // Envoy writes C1 controls of the request's own headers as they came.
    assert!(text.chars().all(|letter| letter == '\n' || !letter.is_ascii_control()), "{text:?}");
    let records = access_records(&gateway);
    let of_subject = |value: &Value| {
        let facts = value["scopegate"].as_str().and_then(|facts| serde_json::from_str::<Value>(facts).ok());
        facts.is_some_and(|facts| facts["subject"] == forged && facts["client"] == forged)
    };
    assert!(records.iter().filter(|record| of_subject(record)).count() >= 5, "{records:?}");
    let lines = audit_lines(&gateway);
    assert!(lines.iter().filter(|line| line["subject"] == forged).count() >= 5, "{lines:?}");
    assert!(lines.iter().any(|line| line["request_id"] == quotes), "{lines:?}");
    assert!(
        lines.iter().all(|line| line["request_id"].as_str().is_none_or(|id| id.len() < 400)),
        "{lines:?}"
    );
    for line in gateway.log().lines() {
        assert!(line.chars().all(|letter| !letter.is_control()), "{line:?}");
        assert!(line.starts_with('['), "a record of its own: {line:?}");
    }
}

#[test]
fn what_make_run_leaves_running_shows_the_audit_line_of_a_refusal() {
    let directory = Directory::new("run");
    let logs = directory.0.join("logs");
    let mut command = Command::new("node");
    command.arg(handed("SCOPEGATE_NODE_SERVERS").join("demo.mjs")).arg("--stay").env("SCOPEGATE_LOGS", &logs);
    let _run = Server::start("demo", command.stdout(directory.create("terminal")));
    let mut port = None;
    wait_until("the gateway runs", || {
        let terminal = directory.text("terminal");
        let behind = terminal.split("gateway http://127.0.0.1:").nth(1);
        port = behind.and_then(|behind| behind.split(' ').next()?.parse::<u16>().ok());
        port.is_some() && terminal.contains("audit line")
    });
    let port = port.expect("the gateway's port");
    let hostile = "1\u{9b}2J\u{202e}\"";
    let request = Request::get("/whoami").header("x-request-id", hostile);
    assert_eq!(http::send(port, &request).status, 401);
    assert_eq!(http::send(port, &Request::get("/health")).status, 200);
    wait_until("the line is shown", || directory.text("terminal").contains("deny credential_missing"));
    let terminal = directory.text("terminal");
    let line = terminal.lines().find(|line| line.starts_with("deny credential_missing")).expect("the line");
    for part in [" GET /whoami ", " step=credential ", " request_id=", " policy="] {
        assert!(line.contains(part), "`{part}` is not in {line}");
    }
    assert!(!terminal.contains(['\u{9b}', '\u{202e}']), "{terminal:?}");
}
