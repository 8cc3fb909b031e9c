//! A configuration that changes while the VM lives: what is remembered, what is decided anew, and who ends under what.

use std::collections::BTreeSet;
use std::time::Duration;

use scopegate_testing::{mint, workload};
use serde_json::{Value, json};

use super::abi::header;
use super::fixture::*;
use super::host::{NOW, Outcome, Proxy, Vm};

/// [`configuration`] where reading orders takes the right to write them.
fn stricter(mut configuration: Value) -> Value {
    configuration["suites"][0]["operations"][0]["requires"] = json!(["orders:write"]);
    configuration
}

#[test]
fn a_verified_token_is_not_verified_again_and_decided_by_the_new_table_at_once() {
    let mut vm = Proxy::new().vm();
    let old = vm.configure(&configuration());
    passed(vm.decide(old, good_request()));
    assert_eq!(vm.calls("proxy_call_foreign_function"), 1);
    let new = vm.configure(&stricter(configuration()));
    assert_refused(&vm.decide(new, good_request()), 403, "scope_not_granted");
    // While the old one drains, it decides as ever, and nothing that it does reaches the new one.
    passed(vm.decide(old, good_request()));
    assert_refused(&vm.decide(new, good_request()), 403, "scope_not_granted");
    vm.end_root(old);
    assert_refused(&vm.decide(new, good_request()), 403, "scope_not_granted");
    let newest = vm.configure(&configuration());
    passed(vm.decide(newest, good_request()));
    assert_eq!(vm.calls("proxy_call_foreign_function"), 1);
}

#[test]
fn a_token_is_verified_again_where_its_provider_has_changed() {
    let mut vm = Proxy::new().vm();
    let old = vm.configure(&configuration());
    passed(vm.decide(old, good_request()));
    let mut changed = configuration();
    changed["providers"]["corp"]["audiences"] = json!(["other-api"]);
    let new = vm.configure(&changed);
    assert_refused(&vm.decide(new, good_request()), 401, "audience_mismatch");
    passed(vm.decide(old, good_request()));
    let mut changed = configuration();
    changed["providers"]["corp"]["local_jwks"] = mint::jwks([&mint::Signer::new("ES256", "key-1", 2)]);
    let new = vm.configure(&changed);
    assert_refused(&vm.decide(new, good_request()), 401, "signature_invalid");
}

#[test]
fn a_tenant_that_is_gone_is_unknown_at_once() {
    let mut vm = Proxy::new().vm();
    let old = vm.configure(&configuration());
    passed(vm.decide(old, good_request()));
    let mut changed = configuration();
    changed["tenants"].as_array_mut().unwrap().remove(0);
    let new = vm.configure(&changed);
    assert_refused(&vm.decide(new, good_request()), 401, "tenant_unknown");
}

#[test]
fn a_waiting_request_ends_under_the_policy_that_it_began_with() {
    let mut vm = Proxy::new().vm();
    let old = vm.configure(&configuration_with_introspection());
    let began_before = vm.request(old, request("GET", "/orders", "opaque"));
    let new = vm.configure(&stricter(configuration_with_introspection()));
    let began_after = vm.request(new, request("GET", "/orders", "opaque"));
    for callout in vm.callouts() {
        vm.answer_with(&callout, 200, &active().to_string());
    }
    passed(vm.outcome(began_before));
    assert_refused(&vm.outcome(began_after), 403, "scope_not_granted");
    vm.end(began_before);
    vm.end(began_after);
    vm.end_root(old);
    assert_refused(&vm.decide(new, request("GET", "/orders", "opaque")), 403, "scope_not_granted");
}

#[test]
fn keys_and_introspection_results_survive_a_reload() {
    let mut configuration = configuration_with_introspection();
    let remote = configuration_with_remote_keys();
    let provider = configuration["providers"]["corp"].as_object_mut().unwrap();
    provider.remove("local_jwks");
    provider.insert("remote_jwks".to_owned(), remote["providers"]["corp"]["remote_jwks"].clone());
    let mut vm = Proxy::new().vm();
    let old = vm.configure(&configuration);
    let streams = [vm.request(old, good_request()), vm.request(old, request("GET", "/orders", "opaque"))];
    for callout in vm.callouts() {
        let is_for_keys = header(&callout.headers, ":path") == Some("/jwks.json");
        let body = if is_for_keys { mint::jwks([&signer()]) } else { active() };
        vm.answer_with(&callout, 200, &body.to_string());
    }
    for stream in streams {
        passed(vm.outcome(stream));
        vm.end(stream);
    }
    assert_eq!(vm.state().callouts_made, 2);
    let new = vm.configure(&stricter(configuration));
    vm.end_root(old);
    vm.tick(new);
    for token in [good_token(), "opaque".to_owned()] {
        assert_refused(&vm.decide(new, request("GET", "/orders", &token)), 403, "scope_not_granted");
    }
    assert_eq!(vm.state().callouts_made, 2);
    assert_eq!(vm.calls("proxy_call_foreign_function"), 1);
}

#[test]
fn keys_that_the_old_plugin_fetches_reach_who_waits_under_the_new_one() {
    let mut vm = Proxy::new().vm();
    let old = vm.configure(&configuration_with_remote_keys());
    vm.tick(old);
    let callout = vm.callout();
    let new = vm.configure(&stricter(configuration_with_remote_keys()));
    vm.tick(new);
    let stream = vm.request(new, good_request());
    assert_eq!(vm.outcome(stream), Outcome::Waiting);
    vm.answer_with(&callout, 200, &mint::jwks([&signer()]).to_string());
    assert_refused(&vm.outcome(stream), 403, "scope_not_granted");
}

#[test]
fn a_fetch_that_ends_with_the_old_plugin_is_made_again_by_the_new_one() {
    let mut vm = Proxy::new().vm();
    let old = vm.configure(&configuration_with_remote_keys());
    vm.tick(old);
    let lost = vm.callout();
    let new = vm.configure(&stricter(configuration_with_remote_keys()));
    let stream = vm.request(new, good_request());
    vm.end_root(old);
    vm.state_mut().callouts.remove(&lost.token);
    vm.tick(new);
    let callout = vm.callout();
    assert_eq!(callout.root, new);
    vm.answer_with(&callout, 200, &mint::jwks([&signer()]).to_string());
    assert_refused(&vm.outcome(stream), 403, "scope_not_granted");
}

#[test]
fn a_refused_configuration_leaves_the_old_one_serving() {
    let mut vm = Proxy::new().vm();
    let old = vm.configure(&configuration());
    let mut bad = configuration();
    bad["tenants"][0]["providers"] = json!(["crop"]);
    let (_, accepted) = vm.try_configure(bad.to_string().as_bytes());
    assert!(!accepted);
    assert!(vm.log_text().contains("tenants[0].providers[0]"), "{}", vm.log_text());
    passed(vm.decide(old, good_request()));
}

#[test]
fn each_worker_and_each_plugin_wakes_itself() {
    let mut proxy = Proxy::new();
    let mut workers = [proxy.vm(), proxy.vm()];
    let mut waiting = Vec::new();
    for vm in &mut workers {
        let roots = [
            vm.configure(&configuration_with_introspection()),
            vm.configure(&stricter(configuration_with_introspection())),
        ];
        waiting.push(roots.map(|root| vm.request(root, request("GET", "/orders", "opaque"))));
    }
    let shared = workers[0].state().shared.clone();
    let names: Vec<Vec<u8>> = shared.borrow().queue_names().map(<[u8]>::to_vec).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 4, "{names:?}");
    for (vm, [lenient, strict]) in workers.iter_mut().zip(waiting) {
        for callout in vm.callouts() {
            vm.answer_with(&callout, 200, &active().to_string());
        }
        passed(vm.outcome(lenient));
        assert_refused(&vm.outcome(strict), 403, "scope_not_granted");
    }
}

/// The configuration, where tenant `acme` declares these scopes.
fn declaring(scopes: &[&str]) -> Value {
    let mut configuration = configuration();
    let declared: Vec<Value> = scopes.iter().map(|scope| json!({"name": scope})).collect();
    configuration["tenants"][0]["scopes"] = json!(declared);
    configuration
}

/// The audit events in the logs of these VMs: which scope was created or deleted.
fn events(vms: &[&Vm]) -> Vec<String> {
    let logs = vms.iter().flat_map(|vm| &vm.state().logs);
    let events = logs.filter_map(|(_, line)| serde_json::from_str::<Value>(line).ok());
    let named = events.filter(|event| event["event"].as_str().is_some_and(|name| name.starts_with("scope.")));
    named.map(|event| format!("{} {}", event["event"].as_str().unwrap(), event["scope"])).collect()
}

#[test]
fn a_vm_that_was_not_told_of_a_return_to_a_draining_policy_leaves_the_audit_to_one_that_was() {
    let (few, more) = (declaring(&["orders:read"]), declaring(&["orders:read", "orders:write"]));
    let mut proxy = Proxy::new();
    let (mut main, mut worker) = (proxy.vm(), proxy.vm());
    for policy in [&few, &more] {
        for vm in [&mut main, &mut worker] {
            let root = vm.configure(policy);
            vm.tick(root);
        }
    }
    // A request of the first policy is still under way on the worker, which takes the plugin from there.
    let root = main.configure(&few);
    main.tick(root);
    let (created, deleted) = (r#"scope.created "orders:write""#, r#"scope.deleted "orders:write""#);
    assert_eq!(events(&[&main, &worker]), [created, deleted]);

    let newest = declaring(&["orders:read", "orders:admin"]);
    let [of_main, of_worker] = [main.configure(&newest), worker.configure(&newest)];
    worker.tick(of_worker);
    main.tick(of_main);
    worker.pass(of_worker, Duration::from_secs(3));
    assert_eq!(events(&[&main, &worker]), [created, deleted, r#"scope.created "orders:admin""#]);
}

#[test]
fn where_no_vm_was_told_of_the_policy_before_the_audit_is_late_and_made() {
    let mut proxy = Proxy::new();
    let mut vm = proxy.vm();
    for scopes in [["orders:read", "orders:write"], ["orders:read", "orders:list"]] {
        let root = vm.configure(&declaring(&scopes));
        vm.tick(root);
    }
    let told = events(&[&vm]);
    let mut elsewhere = proxy.vm();
    let root = elsewhere.configure(&declaring(&["orders:read"]));
    elsewhere.tick(root);
    let newest = vm.configure(&declaring(&["orders:read", "orders:admin"]));
    vm.tick(newest);
    assert_eq!(events(&[&vm]), told);
    vm.pass(newest, Duration::from_secs(3));
    let late = [r#"scope.created "orders:admin""#, r#"scope.deleted "orders:list""#];
    let mut all = events(&[&vm]).split_off(told.len());
    all.sort();
    assert_eq!(all, late);
}

#[test]
fn a_policy_that_is_replaced_before_its_audit_is_a_part_of_the_next_one() {
    let mut vm = Proxy::new().vm();
    let first = vm.configure(&declaring(&["orders:read"]));
    vm.tick(first);
    let second = vm.configure(&declaring(&["orders:read", "orders:write"]));
    let third = vm.configure(&declaring(&["orders:read", "orders:write", "orders:admin"]));
    vm.end_root(second);
    vm.tick(third);
    let mut told = events(&[&vm]);
    told.sort();
    assert_eq!(told, [r#"scope.created "orders:admin""#, r#"scope.created "orders:write""#]);
}

#[test]
fn a_refused_token_stays_refused_after_a_reload_without_another_call() {
    let mut vm = Proxy::new().vm();
    let old = vm.configure(&configuration_with_introspection());
    let stream = vm.request(old, request("GET", "/orders", "opaque"));
    let callout = vm.callout();
    vm.answer_with(&callout, 200, r#"{"active": false}"#);
    assert_refused(&vm.outcome(stream), 401, "token_inactive");
    vm.end(stream);
    let new = vm.configure(&stricter(configuration_with_introspection()));
    vm.end_root(old);
    assert_refused(&vm.decide(new, request("GET", "/orders", "opaque")), 401, "token_inactive");
    assert_eq!(vm.state().callouts_made, 1);
}

/// Tenants of which the text says next to nothing, since they share a template, or all that a gateway uses of each.
#[test]
fn what_a_reload_takes_is_less_than_what_is_kept_for_it() {
    /// `RELOAD_FACTOR` of the filter.
    const KEPT: usize = 16;
    let issuer = workload::Issuer::new(NOW);
    let tenants =
        |tenants| workload::configuration(&issuer, workload::Size { tenants, suites: 50, operations: 500 });
    let mut of_template = configuration();
    of_template["tenant_templates"] = json!({"standard": {
        "providers": ["corp"],
        "scopes": (0..20).map(|scope| json!({"name": format!("api:{scope}")})).collect::<Vec<_>>(),
    }});
    let tenant = |number| json!({"id": format!("customer-{number}"), "template": "standard"});
    of_template["tenants"].as_array_mut().unwrap().extend((0..3000).map(tenant));
    for configuration in [tenants(2000), of_template] {
        let mut vm = Proxy::new().vm();
        let before = vm.memory_bytes();
        vm.configure(&configuration);
        let mut next = configuration.clone();
        next["realm"] = json!("another");
        vm.configure(&next);
        // With that of the configuration before, since caches may have taken what that left free.
        let (taken, length) = (vm.memory_bytes() - before, next.to_string().len());
        println!("{length} bytes take {taken}, {} a byte", taken / length);
        assert!(taken < length * KEPT, "{taken} of {}", length * KEPT);
    }
}
