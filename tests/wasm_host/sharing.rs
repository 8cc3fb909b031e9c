//! What the workers of one proxy tell each other, and that they believe no more of it than of an issuer.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::fixture::*;
use super::host::{NOW, Outcome, Proxy, Vm, no_response};
use scopegate_testing::mint::{Signer, jwks};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn key_set() -> String {
    jwks([&signer()]).to_string()
}

/// Two workers with one plugin each, whose keys are to be fetched.
fn workers(proxy: &mut Proxy) -> [(Vm, u32); 2] {
    [(); 2].map(|()| {
        let mut vm = proxy.vm();
        let root = vm.configure(&configuration_with_remote_keys());
        (vm, root)
    })
}

/// What the workers share of issuers, without the marks of what was audited and of which keys have changed.
fn learnt(shared: &mut BTreeMap<Vec<u8>, (Vec<u8>, u32)>) -> impl Iterator<Item = &mut (Vec<u8>, u32)> {
    const MARKS: [&[u8]; 2] = [b"scopegate.audited.", b"scopegate.jwks.changed."];
    let is_mark = |name: &[u8]| MARKS.iter().any(|mark| name.starts_with(mark));
    shared.iter_mut().filter(move |(name, _)| !is_mark(name)).map(|(_, value)| value)
}

#[test]
fn one_worker_fetches_the_keys_for_all() {
    let mut proxy = Proxy::new();
    let [(mut first, first_root), (mut second, second_root)] = workers(&mut proxy);
    first.tick(first_root);
    second.tick(second_root);
    let stream = second.request(second_root, good_request());
    assert_eq!((first.callouts().len(), second.callouts().len()), (1, 0));
    assert_eq!(second.outcome(stream), Outcome::Waiting);
    let callout = first.callout();
    first.answer_with(&callout, 200, &key_set());
    second.pass(second_root, 50 * MILLISECOND);
    passed(second.outcome(stream));
    passed(first.decide(first_root, good_request()));
    assert_eq!((first.state().callouts_made, second.state().callouts_made), (1, 0));
}

#[test]
fn a_fetch_that_fails_is_told_to_who_waits_elsewhere() {
    let mut proxy = Proxy::new();
    let [(mut first, first_root), (mut second, second_root)] = workers(&mut proxy);
    first.tick(first_root);
    let stream = second.request(second_root, good_request());
    proxy.pass(100 * MILLISECOND);
    let callout = first.callout();
    first.answer(&callout, no_response());
    second.pass(second_root, 50 * MILLISECOND);
    assert_refused(&second.outcome(stream), 503, "keys_unavailable");
}

#[test]
fn a_worker_that_dies_while_it_fetches_is_stood_in_for() {
    let mut proxy = Proxy::new();
    let [(mut first, first_root), (mut second, second_root)] = workers(&mut proxy);
    first.tick(first_root);
    let lost = first.callout();
    first.state_mut().callouts.remove(&lost.token);
    second.tick(second_root);
    assert!(second.callouts().is_empty());
    second.pass(second_root, 10 * SECOND);
    let callout = second.callouts().pop().expect("the second worker fetches");
    second.answer_with(&callout, 200, &key_set());
    passed(second.decide(second_root, good_request()));
}

#[test]
fn random_key_ids_on_all_workers_cost_the_issuer_one_call_in_thirty_seconds() {
    let mut proxy = Proxy::new();
    let mut workers = workers(&mut proxy);
    let (first, root) = &mut workers[0];
    first.tick(*root);
    let callout = first.callout();
    first.answer_with(&callout, 200, &key_set());
    for (vm, root) in &mut workers {
        vm.pass(*root, 50 * MILLISECOND);
        passed(vm.decide(*root, good_request()));
    }
    for round in 0..5 {
        for (vm, root) in &mut workers {
            let key_id = format!("random-{round}");
            let token = signer().mint(json!({"kid": key_id}), &claims());
            let stream = vm.request(*root, request("GET", "/orders", &token));
            for callout in vm.callouts() {
                vm.answer_with(&callout, 200, &key_set());
            }
            vm.pass(*root, 50 * MILLISECOND);
            assert_refused(&vm.outcome(stream), 401, "key_not_found");
        }
    }
    let calls: u32 = workers.iter().map(|(vm, _)| vm.state().callouts_made).sum();
    assert_eq!(calls, 2);
}

#[test]
fn an_introspection_answer_serves_all_workers_for_its_time() {
    let mut proxy = Proxy::new();
    let mut first = proxy.vm();
    let mut second = proxy.vm();
    let first_root = first.configure(&configuration_with_introspection());
    let second_root = second.configure(&configuration_with_introspection());
    for (token, answer) in [("active", active()), ("inactive", json!({"active": false}))] {
        first.request(first_root, request("GET", "/orders", token));
        let callout = first.callout();
        first.answer_with(&callout, 200, &answer.to_string());
    }
    proxy.pass(10 * SECOND - MILLISECOND);
    let stream = second.request(second_root, request("GET", "/orders", "active"));
    passed(second.outcome(stream));
    let stream = second.request(second_root, request("GET", "/orders", "inactive"));
    assert_refused(&second.outcome(stream), 401, "token_inactive");
    assert_eq!(second.state().callouts_made, 0);
    // Taken from another worker, it lives no longer than there.
    proxy.pass(MILLISECOND);
    second.request(second_root, request("GET", "/orders", "inactive"));
    assert_eq!(second.state().callouts_made, 1);
    proxy.pass(50 * SECOND);
    second.request(second_root, request("GET", "/orders", "active"));
    assert_eq!(second.state().callouts_made, 2);
}

#[test]
fn an_answer_of_another_providers_configuration_decides_nothing() {
    let mut proxy = Proxy::new();
    let mut first = proxy.vm();
    let mut second = proxy.vm();
    let mut other = configuration_with_introspection();
    other["providers"]["corp"]["audiences"] = json!(["other-api"]);
    let first_root = first.configure(&configuration_with_introspection());
    let second_root = second.configure(&other);
    first.request(first_root, request("GET", "/orders", "opaque"));
    let callout = first.callout();
    first.answer_with(&callout, 200, &active().to_string());
    let stream = second.request(second_root, request("GET", "/orders", "opaque"));
    assert_eq!(second.outcome(stream), Outcome::Waiting);
    assert_eq!(second.state().callouts_made, 1);
}

#[test]
fn under_a_blank_vm_id_nothing_is_shared() {
    let mut proxy = Proxy::new();
    for _ in 0..2 {
        let mut vm = proxy.vm();
        vm.state_mut().vm_id.clear();
        let root = vm.configure(&configuration_with_remote_keys());
        let stream = vm.request(root, good_request());
        let callout = vm.callout();
        vm.answer_with(&callout, 200, &key_set());
        passed(vm.outcome(stream));
        assert_eq!(vm.calls("proxy_get_shared_data") + vm.calls("proxy_set_shared_data"), 0);
    }
}

#[test]
fn no_token_stands_in_shared_data() {
    let mut proxy = Proxy::new();
    let mut vm = proxy.vm();
    let root = vm.configure(&configuration_with_introspection());
    let token = "opaque-token-0123456789";
    vm.request(root, request("GET", "/orders", token));
    let callout = vm.callout();
    vm.answer_with(&callout, 200, &active().to_string());
    let shared = vm.state().shared.borrow();
    assert!(!shared.data.is_empty());
    for (key, (value, _)) in &shared.data {
        for bytes in [key, value] {
            assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()));
        }
    }
}

/// What somebody else makes of a record.
type Write = Box<dyn Fn(&[u8]) -> Vec<u8>>;

#[test]
fn what_somebody_else_writes_into_shared_data_opens_nothing_and_kills_nothing() {
    let attacker = Signer::new("ES256", "key-1", 2);
    let forged = request("GET", "/orders", &attacker.mint(json!({}), &claims()));
    let records = records();
    let mut writes: Vec<Write> = vec![
        Box::new(|_| Vec::new()),
        Box::new(|_| vec![0xff; 64]),
        Box::new(|_| vec![0; 64]),
        Box::new(|_| b"{\"keys\":[]}".to_vec()),
        Box::new(|record| [record, record].concat()),
    ];
    let longest = records.iter().map(Vec::len).max().unwrap();
    for place in (0..longest.min(120)).step_by(3) {
        writes.push(Box::new(move |record| {
            let mut record = record.to_vec();
            if let Some(byte) = record.get_mut(place) {
                *byte = 0x7f;
            }
            record
        }));
        writes.push(Box::new(move |record| record[..place.min(record.len())].to_vec()));
        writes.push(Box::new(move |record| {
            let mut record = record.to_vec();
            if let Some(byte) = record.get_mut(place) {
                *byte = !*byte;
            }
            record
        }));
    }
    for write in writes {
        let mut proxy = Proxy::new();
        let [(mut first, first_root), (mut second, second_root)] = workers(&mut proxy);
        first.tick(first_root);
        let callout = first.callout();
        first.answer_with(&callout, 200, &key_set());
        for (value, _) in first.state().shared.borrow_mut().data.values_mut() {
            *value = write(value);
        }
        let good = second.request(second_root, good_request());
        let bad = second.request(second_root, forged.clone());
        for _ in 0..20 {
            second.pass(second_root, SECOND);
            for callout in second.callouts() {
                second.answer_with(&callout, 200, &key_set());
            }
        }
        assert!(!matches!(second.outcome(bad), Outcome::Passed(_)));
        assert_ne!(second.outcome(good), Outcome::Waiting, "nobody waits for ever");
        passed(second.decide(second_root, good_request()));
        passed(first.decide(first_root, good_request()));
    }
}

/// The records that workers share.
fn records() -> Vec<Vec<u8>> {
    let mut proxy = Proxy::new();
    let [(mut first, root), _] = workers(&mut proxy);
    first.tick(root);
    let callout = first.callout();
    first.answer_with(&callout, 200, &key_set());
    let shared = first.state().shared.borrow();
    shared.data.values().map(|(value, _)| value.clone()).collect()
}

#[test]
fn a_shared_answer_is_checked_against_the_clock() {
    let mut proxy = Proxy::new();
    let mut first = proxy.vm();
    let mut second = proxy.vm();
    let first_root = first.configure(&configuration_with_introspection());
    let second_root = second.configure(&configuration_with_introspection());
    first.request(first_root, request("GET", "/orders", "opaque"));
    let callout = first.callout();
    let ends_soon = claims_with(json!({"active": true, "exp": NOW + 5}));
    first.answer_with(&callout, 200, &ends_soon.to_string());
    proxy.pass(5 * SECOND);
    let stream = second.request(second_root, request("GET", "/orders", "opaque"));
    assert_eq!(second.outcome(stream), Outcome::Waiting);
    assert_eq!(second.state().callouts_made, 1);
}

#[test]
fn a_shared_answer_from_the_future_is_as_none() {
    let mut proxy = Proxy::new();
    let mut first = proxy.vm();
    let mut second = proxy.vm();
    let first_root = first.configure(&configuration_with_introspection());
    let second_root = second.configure(&configuration_with_introspection());
    first.request(first_root, request("GET", "/orders", "opaque"));
    let callout = first.callout();
    first.answer_with(&callout, 200, &active().to_string());
    for (value, _) in learnt(&mut first.state().shared.borrow_mut().data) {
        // The time stands behind a mark of four bytes, in little-endian milliseconds.
        value[4..12].copy_from_slice(&(NOW * 1000 + 1).to_le_bytes());
    }
    let stream = second.request(second_root, request("GET", "/orders", "opaque"));
    assert_eq!(second.outcome(stream), Outcome::Waiting);
    assert_eq!(second.state().callouts_made, 1);
}

#[test]
fn a_shared_key_set_with_a_time_from_the_future_is_as_none() {
    // The times stand behind a mark of four bytes, in little-endian milliseconds.
    for field in 0..4 {
        for ahead in [3_600_000, u64::MAX / 2] {
            for is_fetched in [false, true] {
                let mut proxy = Proxy::new();
                let [(mut first, first_root), (mut second, second_root)] = workers(&mut proxy);
                if is_fetched {
                    first.tick(first_root);
                    let callout = first.callout();
                    first.answer_with(&callout, 200, &key_set());
                }
                for (value, _) in learnt(&mut first.state().shared.borrow_mut().data) {
                    let place = 4 + field * 8;
                    value[place..place + 8].copy_from_slice(&(NOW * 1000 + ahead).to_le_bytes());
                }
                let stream = second.request(second_root, good_request());
                let callout = second.callout();
                second.answer_with(&callout, 200, &key_set());
                passed(second.outcome(stream));
            }
        }
    }
}
