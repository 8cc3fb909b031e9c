//! What a decision leaves behind: properties for access logs and later filters, and the line of the filter's own log.

use std::time::Duration;

use serde_json::{Value, json};

use super::abi::{HeaderMap, Stream};
use super::fixture::*;
use super::host::{Proxy, Vm};

/// What would end a line, begin a field, command a terminal or turn its text around, if it stood in a log as it is.
const HOSTILE: &str = "alice\n2026-01-01 GET / 200 decision=allow\r\t\0\u{1b}[2J\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\"},\\ é";

/// Whether a log may hold this character as it is.
fn is_plain(letter: char) -> bool {
    !letter.is_control() && !matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202e}')
}

fn assert_plain(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    assert!(text.chars().all(is_plain), "{text:?}");
    text.to_owned()
}

/// The properties of a request, all of them without a character that a log may not hold.
fn properties(vm: &Vm, stream: u32) -> Vec<(String, String)> {
    let Stream { properties, .. } = &vm.state().streams[&stream];
    properties.iter().map(|(name, value)| (name.clone(), assert_plain(value))).collect()
}

fn names(properties: &[(String, String)]) -> Vec<&str> {
    properties.iter().map(|(name, _)| name.as_str()).collect()
}

fn property(properties: &[(String, String)], name: &str) -> String {
    properties.iter().find(|(known, _)| known == name).expect("such a property").1.clone()
}

/// The newest audit line, which has no character that a log may not hold.
fn audit_line(vm: &Vm) -> Value {
    let lines = vm.state().logs.iter().rev().map(|(_, line)| line);
    let line =
        lines.into_iter().find(|line| line.starts_with(r#"{"event":"decision""#)).expect("an audit line");
    assert_plain(line.as_bytes());
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn with(mut configuration: Value, audit: Value) -> Value {
    configuration["audit"] = audit;
    configuration
}

fn token_of(subject: &str, client: &str) -> String {
    signer().mint(json!({}), &claims_with(json!({"sub": subject, "client_id": client})))
}

/// [`request`] with other values of some of its headers.
fn request_with(method: &str, path: &str, token: &str, others: &[(&str, &[u8])]) -> HeaderMap {
    let mut headers = request(method, path, token);
    for (name, value) in others {
        match headers.iter_mut().find(|(known, _)| known == name.as_bytes()) {
            Some(header) => header.1 = value.to_vec(),
            None => headers.push((name.as_bytes().to_vec(), value.to_vec())),
        }
    }
    headers
}

#[test]
fn no_property_holds_a_control_character_whatever_a_token_says() {
    let mut configuration = configuration();
    configuration["audit"]["properties"] = json!(["decision", "client", "subject", "tenant", "operation"]);
    configuration["forward"] = json!({});
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration);
    let stream = vm.request(root, request("GET", "/orders", &token_of(HOSTILE, &format!("shop {HOSTILE}"))));
    passed(vm.outcome(stream));
    let properties = properties(&vm, stream);
    assert_eq!(property(&properties, "scopegate.decision"), "allow");
    // It stands there as between the quotes of a JSON string, and nothing of it is lost.
    let read = |name: &str| {
        serde_json::from_str::<String>(&format!("\"{}\"", property(&properties, name))).expect("JSON")
    };
    assert_eq!(read("scopegate.subject"), HOSTILE);
    assert_eq!(read("scopegate.client"), format!("shop {HOSTILE}"));
}

#[test]
fn by_default_the_decision_and_one_object_of_the_facts_are_all_that_is_set() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let policy = vm.digest();
    let stream = vm.request(root, good_request());
    passed(vm.outcome(stream));
    let set = properties(&vm, stream);
    assert_eq!(names(&set), ["scopegate.decision", "scopegate.log"]);
    assert_eq!(vm.calls("proxy_set_property"), 2);
    let log: Value = serde_json::from_str(&property(&set, "scopegate.log")).expect("JSON");
    assert_eq!(
        log,
        json!({
            "decision": "allow", "tenant": "acme", "client": "shop", "suite": "orders", "operation": "list",
            "policy": policy,
        })
    );
    let stream = vm.request(root, request("POST", "/orders", &good_token()));
    let set = properties(&vm, stream);
    assert_eq!(property(&set, "scopegate.decision"), "deny");
    let log: Value = serde_json::from_str(&property(&set, "scopegate.log")).expect("JSON");
    assert_eq!(
        log,
        json!({
            "decision": "deny", "reason": "scope_not_granted", "tenant": "acme", "client": "shop", "suite": "orders",
            "operation": "post", "policy": policy,
        })
    );
}

#[test]
fn the_object_of_the_facts_is_json_whatever_a_token_says() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&with(configuration(), json!({"decisions": "all", "subject": true})));
    // What may not be forwarded is refused, and told all the same.
    let stream = vm.request(root, request("GET", "/orders", &token_of(HOSTILE, HOSTILE)));
    assert_refused(&vm.outcome(stream), 401, "claim_malformed");
    let log: Value =
        serde_json::from_str(&property(&properties(&vm, stream), "scopegate.log")).expect("JSON");
    assert_eq!((&log["subject"], &log["client"]), (&json!(HOSTILE), &json!(HOSTILE)));
    let line = audit_line(&vm);
    assert_eq!((&line["subject"], &line["client"]), (&json!(HOSTILE), &json!(HOSTILE)));
}

#[test]
fn the_subject_is_told_where_it_is_asked_for_and_nowhere_else() {
    for (audit, in_log, in_line, property) in [
        (json!({"decisions": "all"}), false, false, false),
        (json!({"decisions": "all", "subject": false}), false, false, false),
        (json!({"decisions": "all", "subject": true}), true, true, false),
        (json!({"decisions": "all", "properties": ["decision", "log", "subject"]}), false, false, true),
    ] {
        let mut vm = Proxy::new().vm();
        let root = vm.configure(&with(configuration(), audit.clone()));
        let stream = vm.request(root, good_request());
        let set = properties(&vm, stream);
        let told = |is: bool| if is { json!("alice") } else { Value::Null };
        let log: Value = serde_json::from_str(&self::property(&set, "scopegate.log")).expect("JSON");
        assert_eq!(log["subject"], told(in_log), "{audit}");
        assert_eq!(audit_line(&vm)["subject"], told(in_line), "{audit}");
        assert_eq!(names(&set).contains(&"scopegate.subject"), property, "{audit}");
    }
}

#[test]
fn an_audit_line_says_which_request_it_is_about_and_what_was_required() {
    let mut configuration = configuration();
    configuration["suites"][0]["operations"].as_array_mut().unwrap().push(json!({
        "name": "approve", "path": "/orders/{id}/approval", "methods": ["PUT"],
        "requires": {"all_of": ["orders:write"], "any_of": ["orders:approve", "orders:admin"]},
    }));
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration);
    let (policy, token) = (vm.digest(), good_token());
    let headers =
        request_with("PUT", "/orders/4711/approval?secret=1", &token, &[("x-request-id", b"0f8fad5b-d9cb")]);
    vm.decide(root, headers);
    let mut line = audit_line(&vm);
    assert_eq!(line["token"].take().as_str().map(str::len), Some(16));
    assert_eq!(
        line,
        json!({
            "event": "decision", "decision": "deny", "reason": "scope_not_granted", "step": "scopes",
            "request_id": "0f8fad5b-d9cb", "method": "PUT", "path_template": "/orders/{id}/approval",
            "required": {"all_of": ["orders:write"], "any_of": ["orders:approve", "orders:admin"]},
            "policy": policy, "tenant": "acme", "client": "shop", "suite": "orders", "operation": "approve",
            "token": null,
        })
    );
    for absent in ["4711", "secret", "alice"] {
        assert!(!vm.log_text().contains(absent), "{}", vm.log_text());
    }
    // Where nothing is mapped there is no template, and the path that came is not told in its place.
    vm.decide(root, request("GET", "/elsewhere/4711", &token));
    let line = audit_line(&vm);
    assert_eq!((&line["reason"], &line["method"]), (&json!("operation_not_mapped"), &json!("GET")));
    assert_eq!((line.get("path_template"), line.get("required")), (None, None));
    assert!(!vm.log_text().contains("4711"), "{}", vm.log_text());
}

#[test]
fn a_tenants_own_requirement_is_the_one_that_its_line_names() {
    let mut configuration = configuration();
    configuration["tenants"][0]["operation_requires"] = json!({"orders/post": {"any_of": ["orders:own"]}});
    configuration["tenants"][0]["scopes"].as_array_mut().unwrap().push(json!({"name": "orders:own"}));
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration);
    vm.decide(root, request("POST", "/orders", &good_token()));
    assert_eq!(audit_line(&vm)["required"], json!({"any_of": ["orders:own"]}));
}

#[test]
fn a_request_id_and_a_method_of_any_bytes_stay_inside_the_line_and_are_bounded() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let token = good_token();
    for (name, member, most) in [("x-request-id", "request_id", 128), (":method", "method", 32)] {
        for hostile in [
            b"1\n{\"event\":\"decision\",\"decision\":\"allow\"}".as_slice(),
            b"\"},\"decision\":\"allow\"",
            b"\\",
            b"\xff\xfe\x80",
            HOSTILE.as_bytes(),
            &[b'a'; 60_000],
            &[0x9b; 60_000],
            "é".repeat(30_000).as_bytes(),
        ] {
            vm.decide(root, request_with("POST", "/orders", &token, &[(name, hostile)]));
            let line = audit_line(&vm);
            assert_eq!(line["decision"], "deny", "{line}");
            let told = line[member].as_str().expect("a string");
            assert!(told.len() <= 3 * most + 3, "{} bytes of `{name}`", told.len());
            let whole = String::from_utf8_lossy(hostile);
            match hostile.len() <= most {
                true => assert_eq!(told, whole),
                false => assert!(told.ends_with('…'), "{told}"),
            }
        }
    }
    vm.decide(root, request_with("POST", "/orders", &token, &[("x-request-id", b"")]));
    assert_eq!(audit_line(&vm).get("request_id"), None);
    passed(vm.decide(root, good_request()));
}

#[test]
fn a_token_request_is_told_with_its_endpoint() {
    let mut configuration = configuration();
    configuration["tenants"][0]["applications"] =
        json!([{"client_id": "shop", "provider": "corp", "scopes": ["orders:read"]}]);
    configuration["token_endpoints"] = json!([{"path": "/oauth/token"}]);
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration);
    let mut headers = anonymous("POST", "/oauth/%74oken");
    headers.push((b"content-type".to_vec(), b"application/x-www-form-urlencoded".to_vec()));
    let stream = vm.begin(Stream { root, headers, has_body: true, ..Stream::default() });
    vm.body(stream, b"grant_type=client_credentials&client_id=shop&scope=orders:write", true);
    let line = audit_line(&vm);
    assert_eq!((&line["reason"], &line["step"]), (&json!("invalid_scope"), &json!("token_request")));
    assert_eq!((&line["request_id"], &line["method"]), (&json!("1"), &json!("POST")));
    assert_eq!((&line["path_template"], &line["client"]), (&json!("/oauth/token"), &json!("shop")));
}

#[test]
fn a_line_that_is_not_written_costs_nothing() {
    let executed = |audit: Value| {
        let mut vm = Proxy::new().metered_vm();
        let root = vm.configure(&with(configuration(), audit));
        let headers = request("POST", "/orders", &good_token());
        for _ in 0..3 {
            vm.decide(root, headers.clone());
        }
        let before = vm.executed();
        vm.decide(root, headers);
        vm.executed() - before
    };
    let unwanted = executed(json!({"decisions": "none"}));
    let limited = executed(json!({"decisions": "all", "max_per_second": 0}));
    let written = executed(json!({"decisions": "all", "max_per_second": 1000}));
    assert!(
        limited <= unwanted + unwanted / 100,
        "{limited} where a line is left out, {unwanted} where none is wanted"
    );
    assert!(written > limited + 1000, "{written} where a line is written, {limited} where it is left out");
}

#[test]
fn a_second_has_no_more_lines_than_the_limit_and_the_next_says_how_many_were_left_out() {
    let proxy = &mut Proxy::new();
    let mut vm = proxy.vm();
    let root = vm.configure(&with(configuration(), json!({"decisions": "all", "max_per_second": 3})));
    let count =
        |vm: &Vm| vm.state().logs.iter().filter(|(_, line)| line.contains(r#""event":"decision""#)).count();
    for _ in 0..5 {
        passed(vm.decide(root, good_request()));
    }
    assert_eq!(count(&vm), 3);
    assert_eq!(audit_line(&vm).get("suppressed"), None);
    proxy.pass(Duration::from_secs(1));
    passed(vm.decide(root, good_request()));
    assert_eq!((count(&vm), &audit_line(&vm)["suppressed"]), (4, &json!(2)));
    passed(vm.decide(root, good_request()));
    assert_eq!((count(&vm), audit_line(&vm).get("suppressed")), (5, None));
}
