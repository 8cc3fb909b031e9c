//! A clock that jumps: no token is good out of its time, and no wait lasts until the clock comes by again.

use std::time::Duration;

use scopegate_testing::mint::jwks;

use super::fixture::*;
use super::host::{NOW, Outcome, Proxy, Vm};

const HOUR: u64 = 3600;

fn set_clock(vm: &mut Vm, seconds: u64) {
    vm.state().shared.borrow_mut().now = Duration::from_secs(seconds);
}

/// Lets a second pass, and the issuer answer whatever it is asked.
fn live(vm: &mut Vm, root: u32) {
    for _ in 0..5 {
        vm.pass(root, Duration::from_millis(200));
        for callout in vm.callouts() {
            let is_jwks = callout.body.is_empty();
            let body = if is_jwks { jwks([&signer()]).to_string() } else { active().to_string() };
            vm.answer_with(&callout, 200, &body);
        }
    }
}

/// What a request gets within a second.
fn decide(vm: &mut Vm, root: u32, token: &str) -> Outcome {
    let stream = vm.request(root, request("GET", "/orders", token));
    live(vm, root);
    let outcome = vm.outcome(stream);
    vm.end(stream);
    outcome
}

#[test]
fn a_jump_of_the_clock_makes_no_token_good_out_of_its_time_and_leaves_nobody_waiting() {
    let mut configuration = configuration_with_introspection();
    configuration["providers"]["corp"]["remote_jwks"] =
        configuration_with_remote_keys()["providers"]["corp"]["remote_jwks"].clone();
    configuration["providers"]["corp"].as_object_mut().unwrap().remove("local_jwks");
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration);
    live(&mut vm, root);
    // From issuing to expiry, an hour later; before and behind these it is good for a minute of skew.
    let good = [NOW, NOW + HOUR - 60, NOW + 60, NOW + HOUR + 30, NOW - 60];
    let early = [NOW - 10 * HOUR, 0];
    let late = [NOW + 2 * HOUR, NOW + 1000 * 24 * HOUR, u64::from(u32::MAX) * 4];
    for times in [&good[..], &late, &good, &early, &good, &[late[1], early[0], late[0], early[1]], &good] {
        for &time in times {
            for token in [good_token(), "opaque".to_owned()] {
                set_clock(&mut vm, time);
                let outcome = decide(&mut vm, root, &token);
                if good.contains(&time) {
                    passed(outcome);
                } else if late.contains(&time) {
                    assert_refused(&outcome, 401, "token_expired");
                } else if token == "opaque" {
                    assert_refused(&outcome, 401, "token_not_yet_valid");
                } else {
                    // A JWT that was good once is remembered; it had begun by the clock of that time.
                    assert_ne!(outcome, Outcome::Waiting);
                }
            }
        }
    }
}
