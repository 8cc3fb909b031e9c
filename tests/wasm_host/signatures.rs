//! The same answers, whether the host checks signatures or the module.

use serde_json::json;

use super::fixture::*;
use super::host::{Outcome, Proxy, Vm};
use scopegate_testing::mint::{Signer, jwks};

fn signers() -> [Signer; 4] {
    [
        Signer::new("ES256", "es", 1),
        Signer::new("RS256", "rs", 1),
        Signer::new("RS512", "rs", 1),
        Signer::new("EdDSA", "ed", 1),
    ]
}

/// The decisions about tokens good and bad, of each algorithm.
fn decisions(vm: &mut Vm) -> Vec<Outcome> {
    let mut configuration = configuration();
    let [es, rs, _, ed] = signers();
    configuration["providers"]["corp"]["local_jwks"] = jwks([&es, &rs, &ed]);
    let root = vm.configure(&configuration);
    let mut outcomes = Vec::new();
    for signer in signers() {
        let good = signer.mint(json!({}), &claims());
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let other = signer.mint(json!({}), &claims_with(json!({"sub": "bob"})));
        let swapped = format!("{signed}.{}", other.rsplit_once('.').unwrap().1);
        let short = &good[..good.len() - 4];
        let zero = format!("{signed}.{}", "A".repeat(signature.len()));
        for token in [&good, &swapped, short, &zero] {
            outcomes.push(vm.decide(root, request("GET", "/orders", token)));
        }
    }
    outcomes
}

#[test]
fn decisions_are_the_same_with_and_without_the_hosts_crypto() {
    let mut proxy = Proxy::new();
    let mut with = proxy.vm();
    let mut without = proxy.vm();
    without.state_mut().offers_verify_signature = false;
    let by_host = decisions(&mut with);
    assert_eq!(by_host, decisions(&mut without));
    for outcomes in by_host.chunks(4) {
        passed(outcomes[0].clone());
        for outcome in &outcomes[1..] {
            assert_eq!(refusal(outcome).0, 401);
        }
    }
    assert!(with.calls("proxy_call_foreign_function") > 0);
}

#[test]
fn what_a_broken_host_says_of_a_signature_opens_nothing() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let bad = Signer::new("ES256", "key-1", 2).mint(json!({}), &claims());
    // Statuses of failure, and success with nothing said.
    for status in 0..=12 {
        vm.state_mut().faults.insert("proxy_call_foreign_function".to_owned(), status);
        assert_refused(&vm.decide(root, request("GET", "/orders", &bad)), 401, "signature_invalid");
    }
    passed(vm.decide(root, good_request()));
}
