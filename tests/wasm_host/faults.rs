//! A host whose calls fail: each call in turn with each status, and all of them, and a host that leaves out what it should
//! do. What should not pass does not, and what passes is stripped of what the upstream must not see. The filter lives, but
//! where the SDK gives up: then the VM is lost, and the next one serves.

use serde_json::{Value, json};

use super::abi::{Callout, CalloutAnswer, Stream, header, status};
use super::fixture::*;
use super::host::{Outcome, Proxy, Vm, response};
use scopegate_testing::mint::{Signer, jwks};

/// Every function of the ABI that the filter calls.
const FUNCTIONS: [&str; 19] = [
    "proxy_log",
    "proxy_get_header_map_pairs",
    "proxy_replace_header_map_value",
    "proxy_add_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_get_property",
    "proxy_set_property",
    "proxy_call_foreign_function",
    "proxy_send_local_response",
    "proxy_continue_stream",
    "proxy_set_effective_context",
    "proxy_http_call",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_register_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_dequeue_shared_queue",
    "proxy_set_tick_period_milliseconds",
    "proxy_get_buffer_bytes",
];

/// Keys that are fetched and tokens that are introspected: what calls the most functions.
fn all_of_it() -> Value {
    let mut configuration = configuration_with_introspection();
    let provider = configuration["providers"]["corp"].as_object_mut().unwrap();
    provider.remove("local_jwks");
    let remote = configuration_with_remote_keys();
    provider.insert("remote_jwks".to_owned(), remote["providers"]["corp"]["remote_jwks"].clone());
    configuration
}

/// What is asked of each broken host.
fn requests() -> [(&'static str, bool, String); 5] {
    [
        ("good", true, good_token()),
        ("forged", false, Signer::new("ES256", "key-1", 2).mint(json!({}), &claims())),
        ("without a scope", false, signer().mint(json!({}), &claims_with(json!({"scope": "other"})))),
        ("active", true, "active-token".to_owned()),
        ("inactive", false, "inactive-token".to_owned()),
    ]
}

/// Whether the SDK gives up where a function returns an error: it makes these calls itself. Of the two errors that Envoy
/// returns of a call, it does not.
fn may_trap(function: &str, status: u32) -> bool {
    match function {
        "proxy_set_effective_context" | "proxy_continue_stream" => true,
        "proxy_http_call" => ![status::BAD_ARGUMENT, status::INTERNAL_FAILURE].contains(&status),
        _ => false,
    }
}

/// Drives requests, good and bad, through a host that may be broken, until nothing is left to answer.
fn drive(vm: &mut Vm, root: u32, case: &str) {
    let streams = begin_and_answer(vm, root);
    assert_only_good_passed(vm, case, |_| true);
    for stream in streams {
        vm.end(stream);
    }
}

fn begin_and_answer(vm: &mut Vm, root: u32) -> Vec<u32> {
    let mut streams = Vec::new();
    for (name, _, token) in requests() {
        let mut headers = request("GET", "/orders", &token);
        headers.push(("x-client-id".into(), "root".into()));
        headers.push(("cookie".into(), "a=b".into()));
        headers.push(("x-case".into(), name.into()));
        streams.push(vm.request(root, headers));
    }
    for _ in 0..8 {
        vm.pass(root, std::time::Duration::from_millis(700));
        for callout in vm.callouts() {
            let body = match header(&callout.headers, ":path") {
                Some("/jwks.json") => jwks([&signer()]),
                _ if callout.body.starts_with(b"token=active-token&") => active(),
                _ => json!({"active": false}),
            };
            vm.answer(&callout, response(200, &body.to_string()));
        }
    }
    streams
}

/// Of the requests of [`drive`] those alone have passed that may, among those that pass what comes `behind` the filter.
fn assert_only_good_passed(vm: &Vm, case: &str, behind: fn(&Stream) -> bool) {
    for (id, stream) in &vm.state().streams {
        let Some(name) = header(&stream.headers, "x-case") else { continue };
        let (_, may_pass, _) = *requests().iter().find(|(known, ..)| *known == name).unwrap();
        match vm.outcome(*id) {
            Outcome::Passed(upstream) if behind(stream) => {
                assert!(may_pass, "{case}: the request {name} passes");
                assert_eq!(header(&upstream, "authorization"), None, "{case}: {name}");
                assert_eq!(header(&upstream, "x-client-id"), Some("shop"), "{case}: {name}");
                assert_eq!(header(&upstream, "x-tenant-id"), Some("acme"), "{case}: {name}");
            }
            Outcome::Answered(reply) => assert!(reply.status >= 400, "{case}: {name}"),
            // A host that does not take an answer ends the stream itself.
            Outcome::Passed(_) | Outcome::Waiting => {}
        }
    }
}

/// A good request passes once its keys have come.
fn assert_serves(vm: &mut Vm, root: u32) {
    vm.pass(root, std::time::Duration::from_secs(31));
    for callout in vm.callouts() {
        vm.answer(&callout, keys());
    }
    passed(vm.decide(root, good_request()));
}

/// The VM that a host starts in the place of one that was lost.
fn assert_next_vm_serves(proxy: &mut Proxy) {
    let mut vm = proxy.vm();
    let root = vm.configure(&all_of_it());
    assert_serves(&mut vm, root);
}

#[test]
fn no_host_call_that_fails_opens_the_gateway_or_kills_it() {
    for function in FUNCTIONS {
        for status in status::ERRORS {
            let case = format!("{function} gives {status}");
            let mut proxy = Proxy::new();
            let mut vm = proxy.vm();
            let root = vm.configure(&all_of_it());
            vm.state_mut().faults.insert(function.to_owned(), status);
            // Where the call works again, so does the gateway.
            if vm.survives(|vm| drive(vm, root, &case)) {
                vm.state_mut().faults.clear();
                assert_serves(&mut vm, root);
            } else {
                assert!(may_trap(function, status), "{case}: the VM is lost\n{}", vm.log_text());
                assert_only_good_passed(&vm, &case, |_| true);
                assert_next_vm_serves(&mut proxy);
            }
        }
    }
}

#[test]
fn no_host_call_that_fails_from_the_start_opens_the_gateway_or_kills_it() {
    for function in FUNCTIONS {
        for status in [status::NOT_FOUND, status::INTERNAL_FAILURE] {
            let case = format!("{function} gives {status} from the start");
            let mut vm = Proxy::new().vm();
            vm.state_mut().faults.insert(function.to_owned(), status);
            let root = vm.configure(&all_of_it());
            let survives = vm.survives(|vm| drive(vm, root, &case));
            assert!(survives || may_trap(function, status), "{case}: the VM is lost\n{}", vm.log_text());
            assert_only_good_passed(&vm, &case, |_| true);
        }
    }
}

/// What the shipped configuration of Envoy lets the filter call, and be called by.
fn capabilities() -> Vec<&'static str> {
    let filter = include_str!("../../deploy/envoy/scopegate/filter.yaml");
    let (_, listed) = filter.split_once("allowed_capabilities:\n").unwrap();
    let listed = listed.lines().map_while(|line| line.trim().strip_suffix(": {}"));
    // `scopegate render` adds it where `dpop.nonce` is used.
    listed.chain(["proxy_on_response_headers"]).collect()
}

#[test]
fn a_capability_that_is_left_out_opens_nothing() {
    /// Envoy's status for what is left out; WASI's `ENOTCAPABLE`.
    const NOT_ALLOWED: u32 = status::INTERNAL_FAILURE;
    const NOT_CAPABLE: u32 = 76;
    // Envoy's RBAC filter behind this one lets pass only what has this property.
    let is_allowed =
        |stream: &Stream| stream.properties.get("scopegate.decision").is_some_and(|value| value == b"allow");
    let capabilities = capabilities();
    assert!(capabilities.len() > 30);
    for capability in capabilities {
        let case = format!("without `{capability}`");
        let mut vm = Proxy::new().vm();
        let state = vm.state_mut();
        match capability.strip_prefix("proxy_") {
            Some("on_memory_allocate") => state.allocate = None,
            Some(callback) if callback.starts_with("on_") => {
                state.left_out.insert(capability.to_owned());
            }
            Some(_) => {
                state.faults.insert(capability.to_owned(), NOT_ALLOWED);
            }
            None => {
                state.faults.insert(capability.to_owned(), NOT_CAPABLE);
            }
        }
        vm.survives(|vm| {
            // A configuration that the host cannot hand over is no plugin.
            if let (root, true) = vm.try_configure(all_of_it().to_string().as_bytes()) {
                for _ in 0..2 {
                    begin_and_answer(vm, root);
                }
            }
        });
        assert_only_good_passed(&vm, &case, is_allowed);
    }
}

#[test]
fn with_local_keys_nothing_is_missed_that_only_issuers_and_operators_need() {
    let needless = ["metric", "tick", "queue", "shared_data", "foreign"];
    for status in [status::NOT_FOUND, status::INTERNAL_FAILURE, status::UNIMPLEMENTED] {
        let mut vm = Proxy::new().vm();
        for capability in capabilities() {
            if needless.iter().any(|part| capability.contains(part)) {
                match capability.starts_with("proxy_on_") {
                    true => drop(vm.state_mut().left_out.insert(capability.to_owned())),
                    false => drop(vm.state_mut().faults.insert(capability.to_owned(), status)),
                }
            }
        }
        assert_eq!((vm.state().left_out.len(), vm.state().faults.len()), (2, 10));
        let root = vm.configure(&configuration());
        passed(vm.decide(root, good_request()));
        let forged = Signer::new("ES256", "key-1", 2).mint(json!({}), &claims());
        assert_refused(&vm.decide(root, request("GET", "/orders", &forged)), 401, "signature_invalid");
        let other = signer().mint(json!({}), &claims_with(json!({"scope": "other"})));
        assert_refused(&vm.decide(root, request("GET", "/orders", &other)), 403, "scope_not_granted");
    }
}

#[test]
fn with_every_host_call_failing_a_good_configuration_is_taken_and_every_request_refused() {
    for status in [status::NOT_FOUND, status::BAD_ARGUMENT, status::INTERNAL_FAILURE] {
        let mut vm = Proxy::new().vm();
        vm.state_mut().fail_all_but = Some((status, &["clock_time_get", "random_get"]));
        let root = vm.configure(&all_of_it());
        let stream = vm.request(root, good_request());
        assert_eq!(vm.outcome(stream), Outcome::Waiting, "not even an answer goes through");
        vm.end(stream);
        // A host that would not tell its configuration once is not asked again.
        vm.state_mut().fail_all_but = None;
        let outcome = vm.decide(root, good_request());
        assert!(matches!(&outcome, Outcome::Answered(reply) if reply.status == 500), "{outcome:?}");
    }
}

#[test]
fn whether_a_configuration_is_taken_is_decided_by_its_bytes_alone() {
    let mut bad = all_of_it();
    bad["tenants"][0]["providers"] = json!(["crop"]);
    for (configuration, is_good) in [(all_of_it(), true), (bad, false)] {
        for status in status::ERRORS {
            let mut vm = Proxy::new().vm();
            let spared = &["proxy_get_buffer_bytes", "clock_time_get", "random_get"];
            vm.state_mut().fail_all_but = Some((status, spared));
            let (_, accepted) = vm.try_configure(configuration.to_string().as_bytes());
            assert_eq!(accepted, is_good);
        }
        let mut vm = Proxy::new().vm();
        vm.try_configure(configuration.to_string().as_bytes());
        // These leave something for later, and were seen above not to matter.
        let harmless = [
            "proxy_get_buffer_bytes",
            "proxy_log",
            "proxy_register_shared_queue",
            "proxy_set_tick_period_milliseconds",
            "proxy_get_property",
            "proxy_get_shared_data",
            "proxy_set_shared_data",
        ];
        let others: Vec<&str> = vm
            .state()
            .calls
            .keys()
            .copied()
            .filter(|call| call.starts_with("proxy_") && !call.contains("metric") && !harmless.contains(call))
            .collect();
        assert_eq!(others, Vec::<&str>::new());
        assert_eq!(vm.calls("clock_time_get"), 0);
    }
}

#[test]
fn calls_to_issuers_that_cannot_be_made_are_the_issuers_fault() {
    // With the others, which Envoy does not return, the VM is lost.
    for status in [status::BAD_ARGUMENT, status::INTERNAL_FAILURE] {
        let mut vm = Proxy::new().vm();
        let root = vm.configure(&all_of_it());
        vm.state_mut().faults.insert("proxy_http_call".to_owned(), status);
        assert_refused(&vm.decide(root, good_request()), 503, "keys_unavailable");
        let opaque = request("GET", "/orders", "opaque");
        assert_refused(&vm.decide(root, opaque), 503, "introspection_unavailable");
        drive(&mut vm, root, "no calls can be made");
    }
}

#[test]
fn without_queues_waiting_requests_are_served_by_ticks() {
    let mut vm = Proxy::new().vm();
    vm.state_mut().faults.insert("proxy_register_shared_queue".to_owned(), status::INTERNAL_FAILURE);
    let root = vm.configure(&all_of_it());
    let stream = vm.request(root, good_request());
    vm.tick(root);
    let callout = vm.callout();
    vm.answer_with(&callout, 200, &jwks([&signer()]).to_string());
    passed(vm.outcome(stream));
}

#[test]
fn without_ticks_waiting_requests_are_served_by_queues() {
    let mut vm = Proxy::new().vm();
    vm.state_mut().faults.insert("proxy_set_tick_period_milliseconds".to_owned(), status::INTERNAL_FAILURE);
    let root = vm.configure(&all_of_it());
    let stream = vm.request(root, good_request());
    let callout = vm.callout();
    vm.answer_with(&callout, 200, &jwks([&signer()]).to_string());
    passed(vm.outcome(stream));
}

#[test]
fn callbacks_about_what_there_is_not_decide_nothing() {
    const UNKNOWN: u32 = 4_000_000;
    type Event = fn(&mut Vm, &Callout);
    let events: [Event; 9] = [
        |vm, callout| vm.answer_again(&Callout { token: UNKNOWN, ..callout.clone() }, keys()),
        |vm, callout| vm.answer_again(&Callout { token: 0, root: 0, ..callout.clone() }, keys()),
        |vm, callout| vm.answer_again(&Callout { token: u32::MAX, root: UNKNOWN, ..callout.clone() }, keys()),
        |vm, _| vm.call_back("proxy_on_tick", UNKNOWN, UNKNOWN),
        |vm, _| vm.call_back("proxy_on_queue_ready", UNKNOWN, (UNKNOWN, 1_u32)),
        |vm, _| vm.call_back("proxy_on_delete", UNKNOWN, UNKNOWN),
        |vm, _| vm.call_back("proxy_on_context_create", UNKNOWN, (UNKNOWN, UNKNOWN)),
        |vm, _| {
            let action: u32 = vm.call_back("proxy_on_request_headers", UNKNOWN, (UNKNOWN, 0_u32, 1_u32));
            assert_ne!(action, 0);
        },
        |vm, _| {
            let accepted: u32 = vm.call_back("proxy_on_configure", UNKNOWN, (UNKNOWN, 1_u32));
            assert_eq!(accepted, 1);
        },
    ];
    for event in events {
        let mut proxy = Proxy::new();
        let mut vm = proxy.vm();
        let root = vm.configure(&all_of_it());
        let stream = vm.request(root, good_request());
        let callout = vm.callout();
        let survives = vm.survives(|vm| event(vm, &callout));
        assert_eq!(vm.outcome(stream), Outcome::Waiting);
        if survives {
            vm.answer_with(&callout, 200, &jwks([&signer()]).to_string());
            passed(vm.outcome(stream));
        } else {
            assert_next_vm_serves(&mut proxy);
        }
    }
}

fn keys() -> CalloutAnswer {
    response(200, &jwks([&signer()]).to_string())
}

#[test]
fn headers_that_come_twice_are_refused_and_decide_nothing_afterwards() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&all_of_it());
    let stream = vm.request(root, good_request());
    let callout = vm.callout();
    let action: u32 = vm.call_back("proxy_on_request_headers", stream, (stream, 0_u32, 1_u32));
    assert_ne!(action, 0, "headers that come twice do not pass");
    assert!(matches!(vm.outcome(stream), Outcome::Answered(reply) if reply.status == 500));
    let next = vm.request(root, good_request());
    vm.answer(&callout, keys());
    assert!(matches!(vm.outcome(stream), Outcome::Answered(reply) if reply.status == 500));
    passed(vm.outcome(next));
}

#[test]
fn a_second_answer_to_a_call_decides_nothing() {
    let mut proxy = Proxy::new();
    let mut vm = proxy.vm();
    let root = vm.configure(&configuration_with_introspection());
    let opaque = || request("GET", "/orders", "opaque");
    let stream = vm.request(root, opaque());
    let callout = vm.callout();
    vm.answer_with(&callout, 200, r#"{"active":false}"#);
    assert_refused(&vm.outcome(stream), 401, "token_inactive");
    if vm.survives(|vm| vm.answer_again(&callout, response(200, &active().to_string()))) {
        assert_refused(&vm.decide(root, opaque()), 401, "token_inactive");
    }
    assert_refused(&vm.outcome(stream), 401, "token_inactive");
    let mut next = proxy.vm();
    let root = next.configure(&configuration_with_introspection());
    // The first answer is shared.
    assert_refused(&next.decide(root, opaque()), 401, "token_inactive");
}

#[test]
fn a_stream_that_is_over_is_neither_changed_nor_resumed() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration_with_introspection());
    let stream = vm.request(root, request("GET", "/orders", "opaque"));
    let callout = vm.callout();
    // The host ends the stream with an answer of its own and says so later: edits are refused from now on.
    for function in
        ["proxy_remove_header_map_value", "proxy_replace_header_map_value", "proxy_add_header_map_value"]
    {
        vm.state_mut().faults.insert(function.to_owned(), status::BAD_ARGUMENT);
    }
    vm.answer_with(&callout, 200, &active().to_string());
    assert!(!matches!(vm.outcome(stream), Outcome::Passed(_)));
    assert_eq!(vm.state().streams[&stream].resumed, 0);
}
