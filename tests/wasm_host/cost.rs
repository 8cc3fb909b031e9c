//! What a request costs: what the module executes for it, and how often it calls the host. Both repeat, on every
//! machine, so that a change of either is a change of the code.

use serde_json::{Value, json};

use super::abi::HeaderMap;
use super::dpop;
use super::fixture::{anonymous, request};
use super::host::{NOW, Outcome, Proxy, Vm};
use scopegate_testing::workload::{Issuer, PATH, Size, configuration};

/// The figures that hold now.
const COMMITTED: &str = include_str!("cost.json");

/// How far from its figure a cost may be, as a part of it: another compiler makes other code of the same source.
const TOLERANCE: f64 = 0.05;

/// Requests that a cost is the average of.
const REQUESTS: u64 = 8;

#[test]
fn a_request_costs_what_is_written_down() {
    let issuer = Issuer::new(NOW);
    let small = configuration(&issuer, Size::SMALL);
    let mut uncached = small.clone();
    uncached["providers"]["corp"]["token_cache"]["max_entries"] = json!(0);
    let medium = configuration(&issuer, Size { tenants: 100, suites: 10, operations: 500 });

    let good = issuer.token(&issuer.rs256, 0);
    let es256 = issuer.token(&issuer.es256, 0);
    let bad = issuer.token(&issuer.rs256, 1).rsplit_once('.').unwrap().0.to_owned()
        + &good[good.rfind('.').unwrap()..];
    let get = |token: &str| request("GET", PATH, token);
    let measured = json!({
        "warm": cost(&small, &get(&good), 200),
        "warm in a large configuration": cost(&medium, &get(&good), 200),
        "cold RS256": cost(&uncached, &get(&good), 200),
        "cold ES256": cost(&uncached, &get(&es256), 200),
        "cold RS256 without the host's crypto": pure_cost(&uncached, &get(&good)),
        "cold ES256 without the host's crypto": pure_cost(&uncached, &get(&es256)),
        "bad signature": cost(&small, &get(&bad), 401),
        "no token": cost(&small, &anonymous("GET", PATH), 401),
        "no scope": cost(&small, &request("DELETE", PATH, &good), 403),
        "proof ES256, token cached": cost_of(&dpop::dpop_configuration(), dpop::numbered, 200),
        "not mapped": cost(&small, &request("GET", "/elsewhere", &good), 403),
    });

    let committed: Value = serde_json::from_str(COMMITTED).unwrap();
    let is_as_written = |name: &str| {
        ["executed", "host_calls"].iter().all(|what| {
            let figures = (measured[name][what].as_f64(), committed[name][what].as_f64());
            matches!(figures, (Some(now), Some(then)) if (now - then).abs() <= TOLERANCE * then)
        })
    };
    let all_as_written = measured.as_object().unwrap().keys().all(|name| is_as_written(name));
    assert!(
        all_as_written,
        "a cost is more than {TOLERANCE} off its figure, for better or worse. Where that is meant, \
         tests/wasm_host/cost.json is to say:\n{measured:#}\nand says:\n{committed:#}"
    );
}

#[test]
fn a_hundred_thousand_revoked_entries_cost_a_request_what_one_does() {
    let issuer = Issuer::new(NOW);
    let good = request("GET", PATH, &issuer.token(&issuer.rs256, 0));
    let executed = |entries: usize| {
        let mut revoking = configuration(&issuer, Size::SMALL);
        let listed: Vec<String> = (0..entries).map(|number| format!("{number}-at-2026")).collect();
        revoking["providers"]["corp"]["revoked"] =
            json!({"jti": listed, "subjects": listed, "clients": listed});
        cost(&revoking, &good, 200)["executed"].as_f64().unwrap()
    };
    let (one, many) = (executed(1), executed(100_000 / 3));
    // Hashes collide where they may.
    assert!((many - one).abs() < one / 50.0, "{one} with one entry, {many} with a hundred thousand");
}

/// The average cost of a request which the same one came before, checked to be answered so: 200 is passed on.
fn cost(configuration: &Value, headers: &HeaderMap, status: u32) -> Value {
    cost_of(configuration, |_| headers.clone(), status)
}

/// The same, where each request has headers of its own.
fn cost_of(configuration: &Value, headers: impl Fn(u64) -> HeaderMap, status: u32) -> Value {
    cost_in(Proxy::new().metered_vm(), configuration, headers, status)
}

/// The cost of a request that passes where the host verifies no signatures.
fn pure_cost(configuration: &Value, headers: &HeaderMap) -> Value {
    let mut vm = Proxy::new().metered_vm();
    vm.state_mut().offers_verify_signature = false;
    cost_in(vm, configuration, |_| headers.clone(), 200)
}

fn cost_in(mut vm: Vm, configuration: &Value, headers: impl Fn(u64) -> HeaderMap, status: u32) -> Value {
    let root = vm.configure(configuration);
    let mut number = 0;
    let mut decide = |vm: &mut Vm| {
        number += 1;
        let answered = match vm.decide(root, headers(number)) {
            Outcome::Passed(_) => 200,
            Outcome::Answered(reply) => reply.status,
            Outcome::Waiting => 0,
        };
        assert_eq!(answered, status);
    };
    // Translates what is executed for the first time, and fills the caches.
    decide(&mut vm);
    decide(&mut vm);
    let before = (vm.executed(), all_calls(&vm));
    for _ in 0..REQUESTS {
        decide(&mut vm);
    }
    let after = (vm.executed(), all_calls(&vm));
    json!({"executed": (after.0 - before.0) / REQUESTS, "host_calls": (after.1 - before.1) / REQUESTS})
}

fn all_calls(vm: &Vm) -> u64 {
    vm.state().calls.values().copied().map(u64::from).sum()
}
