//! Tokens that are bound to a key (RFC 9449), where the host has a part in it: shared data, the environment, headers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::abi::{HeaderMap, header};
use super::fixture::*;
use super::host::{NOW, Outcome, Proxy, Vm};
use scopegate_testing::mint::Signer;

const ORIGIN: &str = "https://api.example";

fn client() -> Signer {
    Signer::anonymous("ES256", 3)
}

pub fn dpop_configuration() -> Value {
    let mut configuration = configuration();
    configuration["providers"]["corp"]["dpop"] = json!({"mode": "required", "public_origin": ORIGIN});
    configuration
}

fn bound_token() -> String {
    let jwk = client().jwk();
    let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text("x"), text("y"));
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(members));
    signer().mint(json!({}), &claims_with(json!({"cnf": {"jkt": thumbprint}})))
}

/// A request with a bound token and a proof of its own for each number.
pub fn numbered(number: u64) -> HeaderMap {
    proven(&number.to_string(), json!({}))
}

/// A request with a bound token and a proof of this identifier.
fn proven(jti: &str, others: Value) -> HeaderMap {
    let token = bound_token();
    let mut claims = json!({
        "jti": jti, "htm": "GET", "htu": format!("{ORIGIN}/orders"), "iat": NOW,
        "ath": URL_SAFE_NO_PAD.encode(Sha256::digest(&token)),
    });
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let proof = client().mint(json!({"typ": "dpop+jwt", "jwk": client().jwk()}), &claims);
    let mut headers = anonymous("GET", "/orders");
    headers.push((b"authorization".to_vec(), format!("DPoP {token}").into_bytes()));
    headers.push((b"dpop".to_vec(), proof.into_bytes()));
    headers
}

#[test]
fn all_workers_of_a_proxy_take_a_proof_once_and_a_reload_changes_nothing_about_it() {
    let mut proxy = Proxy::new();
    let mut workers = [(); 2].map(|()| {
        let mut vm = proxy.vm();
        let root = vm.configure(&dpop_configuration());
        (vm, root)
    });
    let mut reloaded = dpop_configuration();
    reloaded["realm"] = json!("another");
    reloaded["providers"]["corp"]["clock_skew"] = json!("30s");
    for (number, first) in [(0, 0), (1, 1), (2, 0)] {
        let request = proven(&number.to_string(), json!({}));
        let (vm, root) = &mut workers[first];
        let upstream = passed(vm.decide(*root, request.clone()));
        assert_eq!(header(&upstream, "dpop"), None);
        assert_eq!(header(&upstream, "authorization"), None);
        for (vm, root) in &mut workers {
            assert_refused(&vm.decide(*root, request.clone()), 401, "proof_replayed");
            let newer = vm.configure(&reloaded);
            assert_refused(&vm.decide(newer, request.clone()), 401, "proof_replayed");
            vm.end_root(newer);
        }
    }
}

#[test]
fn a_worker_that_shares_nothing_remembers_by_itself_and_says_so() {
    let mut proxy = Proxy::new();
    let mut vm = proxy.vm();
    vm.state_mut().vm_id.clear();
    let root = vm.configure(&dpop_configuration());
    assert!(vm.log_text().contains("remembers the proofs (DPoP) that it saw by itself"), "{}", vm.log_text());
    passed(vm.decide(root, proven("1", json!({}))));
    assert_refused(&vm.decide(root, proven("1", json!({}))), 401, "proof_replayed");
    let newer = vm.configure(&{
        let mut other = dpop_configuration();
        other["realm"] = json!("another");
        other
    });
    assert_refused(&vm.decide(newer, proven("1", json!({}))), 401, "proof_replayed");
    assert_eq!(vm.calls("proxy_get_shared_data") + vm.calls("proxy_set_shared_data"), 0);

    let mut vm = proxy.vm();
    let root = vm.configure(&dpop_configuration());
    assert!(!vm.log_text().contains("by itself"), "{}", vm.log_text());
    passed(vm.decide(root, proven("1", json!({}))));
}

#[test]
fn what_somebody_else_wrote_kills_nothing() {
    for garbage in [&b""[..], b"SGP1", b"SGP1 too short", b"\xff\xff\xff\xff", &[0x7f; 4096]] {
        let mut proxy = Proxy::new();
        let mut vm = proxy.vm();
        let root = vm.configure(&dpop_configuration());
        passed(vm.decide(root, proven("1", json!({}))));
        for (name, (value, _)) in &mut vm.state().shared.borrow_mut().data {
            if name.starts_with(b"scopegate.dpop.") {
                *value = garbage.to_vec();
            }
        }
        passed(vm.decide(root, proven("1", json!({}))));
        assert_refused(&vm.decide(root, proven("1", json!({}))), 401, "proof_replayed");
    }
}

#[test]
fn no_identifier_of_a_client_stands_in_shared_data() {
    let mut proxy = Proxy::new();
    let mut vm = proxy.vm();
    let root = vm.configure(&dpop_configuration());
    let identifier = "identifier-0123456789";
    passed(vm.decide(root, proven(identifier, json!({}))));
    let shared = vm.state().shared.borrow();
    for (key, (value, _)) in &shared.data {
        for bytes in [key, value] {
            assert!(!bytes.windows(identifier.len()).any(|window| window == identifier.as_bytes()));
        }
    }
}

#[test]
fn a_nonce_is_answered_with_and_taken() {
    let mut configuration = dpop_configuration();
    configuration["providers"]["corp"]["dpop"]["nonce"] =
        json!({"secret": {"value": "0123456789abcdef0123456789abcdef"}});
    let mut proxy = Proxy::new();
    let mut vm = proxy.vm();
    let root = vm.configure(&configuration);
    let outcome = vm.decide(root, proven("1", json!({})));
    assert_refused(&outcome, 401, "proof_invalid");
    let Outcome::Answered(reply) = outcome else { panic!("answered") };
    let challenge = header(&reply.headers, "www-authenticate").unwrap();
    assert!(challenge.starts_with("DPoP ") && challenge.contains(r#"error="use_dpop_nonce""#), "{challenge}");
    let nonce = header(&reply.headers, "dpop-nonce").unwrap();
    let respond = |vm: &mut Vm, jti: &str| {
        let stream = vm.request(root, proven(jti, json!({"nonce": nonce})));
        passed(vm.outcome(stream));
        let response = vm.respond(stream);
        vm.end(stream);
        response
    };
    let response = respond(&mut vm, "1");
    assert_eq!((response.len(), header(&response, "dpop-nonce")), (2, None), "{response:?}");
    assert_refused(&vm.decide(root, proven("1", json!({"nonce": nonce}))), 401, "proof_replayed");

    // RFC 9449 section 8.2: in the second half of its time the next one comes with the response, for this client alone.
    vm.state().shared.borrow_mut().now += Duration::from_secs(300);
    let response = respond(&mut vm, "2");
    let next = header(&response, "dpop-nonce").expect("the next nonce");
    assert_ne!(next, nonce);
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    passed(vm.decide(root, proven("3", json!({"nonce": next}))));
    // Where the host refuses, the response goes on as it came.
    vm.state_mut().faults.insert("proxy_replace_header_map_value".to_owned(), 2);
    assert_eq!(respond(&mut vm, "4").len(), 2);
}

#[test]
fn without_dpop_a_bound_token_is_refused_as_ever() {
    let mut proxy = Proxy::new();
    let mut vm = proxy.vm();
    let root = vm.configure(&configuration());
    let bearer = request("GET", "/orders", &bound_token());
    assert_refused(&vm.decide(root, bearer), 401, "sender_constraint_failed");
    assert_refused(&vm.decide(root, proven("1", json!({}))), 401, "credential_missing");
}
