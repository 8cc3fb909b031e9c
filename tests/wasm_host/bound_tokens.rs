//! Tokens bound to the client's certificate (RFC 8705 section 3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::abi::Stream;
use super::fixture::*;
use super::host::{Outcome, Proxy, Vm};

const DIGEST: [u8; 32] = [0xa7; 32];

fn decide(vm: &mut Vm, root: u32, token: &str, certificate: Option<&str>) -> Outcome {
    let stream = vm.begin(Stream {
        root,
        headers: request("GET", "/orders", token),
        certificate: certificate.map(|hex| hex.as_bytes().to_vec()),
        ..Stream::default()
    });
    let outcome = vm.outcome(stream);
    vm.end(stream);
    outcome
}

#[test]
fn a_bound_token_passes_only_with_the_certificate_that_it_is_bound_to() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let confirmation = json!({"x5t#S256": URL_SAFE_NO_PAD.encode(DIGEST)});
    let token = signer().mint(json!({}), &claims_with(json!({"cnf": confirmation})));
    let (own, other) = ("a7".repeat(32), format!("{}a6", "a7".repeat(31)));
    // Twice: the second time the token is known already.
    for _ in 0..2 {
        for certificate in
            [None, Some(other.as_str()), Some(""), Some("a7"), Some(&"zz".repeat(32)), Some(&"+7".repeat(32))]
        {
            let outcome = decide(&mut vm, root, &token, certificate);
            assert_refused(&outcome, 401, "sender_constraint_failed");
        }
        passed(decide(&mut vm, root, &token, Some(&own)));
        passed(decide(&mut vm, root, &token, Some(&own.to_uppercase())));
    }
}

#[test]
fn a_token_bound_in_another_way_is_refused() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let own = "a7".repeat(32);
    for confirmation in [
        json!({"jkt": "x"}),
        json!({}),
        json!({"x5t#S256": "x"}),
        json!({"x5t#S256": URL_SAFE_NO_PAD.encode(DIGEST), "jkt": "x"}),
    ] {
        let token = signer().mint(json!({}), &claims_with(json!({"cnf": confirmation})));
        let (status, _) = refusal(&decide(&mut vm, root, &token, Some(&own)));
        assert_eq!(status, 401, "{confirmation}");
    }
}

#[test]
fn a_certificate_does_a_plain_token_no_harm() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let before = vm.calls("proxy_get_property");
    passed(decide(&mut vm, root, &good_token(), Some(&"a7".repeat(32))));
    assert_eq!(vm.calls("proxy_get_property"), before);
}
