//! What requests count is passed on in batches, and none of it is lost.

use super::abi::status;
use super::fixture::*;
use super::host::{Proxy, Vm};

const ALLOWED: &str = "scopegate.decisions.outcome.allow.reason.none.tenant.acme";
const ALLOWED_BY_SUITE: &str = "scopegate.suite_decisions.outcome.allow.suite.orders";
const ANONYMOUS: &str = "scopegate.decisions.outcome.deny.reason.credential_missing.tenant.none";

fn counted(vm: &Vm, name: &str) -> i64 {
    vm.state().metrics.get(name).copied().unwrap_or_default()
}

/// Passes `times` good requests.
fn pass(vm: &mut Vm, root: u32, times: usize) {
    for _ in 0..times {
        passed(vm.decide(root, good_request()));
    }
}

#[test]
fn a_tick_passes_on_what_all_requests_since_the_last_counted() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    pass(&mut vm, root, 5);
    assert_refused(&vm.decide(root, anonymous("GET", "/orders")), 401, "credential_missing");
    assert_eq!((counted(&vm, ALLOWED), counted(&vm, ANONYMOUS)), (0, 0));
    let calls = vm.calls("proxy_increment_metric");
    vm.tick(root);
    assert_eq!((counted(&vm, ALLOWED), counted(&vm, ALLOWED_BY_SUITE), counted(&vm, ANONYMOUS)), (5, 5, 1));
    let passed_on = vm.calls("proxy_increment_metric") - calls;
    vm.tick(root);
    assert_eq!(vm.calls("proxy_increment_metric") - calls, passed_on, "nothing is left");
    pass(&mut vm, root, 2);
    vm.tick(root);
    assert_eq!(counted(&vm, ALLOWED), 7);
}

#[test]
fn a_reload_loses_no_count() {
    let mut vm = Proxy::new().vm();
    let old = vm.configure(&configuration());
    pass(&mut vm, old, 3);
    let new = vm.configure(&configuration());
    pass(&mut vm, old, 2);
    pass(&mut vm, new, 4);
    vm.end_root(old);
    vm.tick(new);
    assert_eq!(counted(&vm, ALLOWED), 9);
}

#[test]
fn a_vm_that_ends_in_order_loses_no_count() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    pass(&mut vm, root, 3);
    assert_eq!(counted(&vm, ALLOWED), 0);
    vm.end_root(root);
    assert_eq!(counted(&vm, ALLOWED), 3);
}

#[test]
fn a_host_without_ticks_is_told_of_each_request() {
    for status in [status::NOT_FOUND, status::UNIMPLEMENTED] {
        let mut vm = Proxy::new().vm();
        vm.state_mut().faults.insert("proxy_set_tick_period_milliseconds".to_owned(), status);
        let root = vm.configure(&configuration());
        pass(&mut vm, root, 2);
        assert_eq!((counted(&vm, ALLOWED), counted(&vm, ALLOWED_BY_SUITE)), (2, 2));
    }
}
