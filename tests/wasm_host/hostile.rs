//! What an attacker sends. Whatever it is, the VM lives, nothing bad passes, and the next request is served.

use serde_json::{Value, json};

use super::abi::{Stream, header, serialize};
use super::fixture::*;
use super::host::{Outcome, Proxy, Vm};

const DEPTH: usize = 10_000;

fn assert_still_serves(vm: &mut Vm, root: u32) {
    passed(vm.decide(root, good_request()));
    assert_refused(&vm.decide(root, anonymous("GET", "/orders")), 401, "credential_missing");
}

#[test]
fn a_byte_that_is_not_utf8_anywhere_in_a_header_kills_nothing() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let mut headers = good_request();
    for (name, value) in [
        ("x-tenant-id", "acme"),
        ("cookie", "a=b"),
        ("content-type", "application/grpc"),
        ("x-client-id", "root"),
        ("origin", "https://shop.example"),
    ] {
        headers.push((name.into(), value.into()));
    }
    for index in 0..headers.len() {
        for byte in [0x00, 0x80, 0xc3, 0xff] {
            for place in [0, headers[index].1.len() / 2, headers[index].1.len()] {
                let mut hostile = headers.clone();
                hostile[index].1.insert(place, byte);
                let name = String::from_utf8(hostile[index].0.clone()).unwrap();
                let outcome = vm.decide(root, hostile);
                match (&outcome, name.as_str()) {
                    (Outcome::Waiting, _) => panic!("`{name}` with {byte:#x} waits"),
                    (Outcome::Passed(_), ":path" | ":method" | "authorization" | "x-tenant-id") => {
                        panic!("`{name}` with {byte:#x} at {place} passes")
                    }
                    (Outcome::Passed(upstream), _) => {
                        assert_eq!(header(upstream, "authorization"), None);
                        assert_eq!(header(upstream, "x-client-id"), Some("shop"));
                    }
                    (Outcome::Answered(reply), _) => assert!((400..500).contains(&reply.status), "{reply:?}"),
                }
            }
        }
        for byte in [0x00, 0x80, 0xff] {
            let mut hostile = headers.clone();
            hostile[index].0.push(byte);
            assert_ne!(vm.decide(root, hostile), Outcome::Waiting);
        }
    }
    assert_still_serves(&mut vm, root);
}

#[test]
fn a_header_block_of_one_mebibyte_is_decided_like_any_other() {
    const MEBIBYTE: usize = 1 << 20;
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());

    let mut one_value = good_request();
    one_value.push((b"x-large".to_vec(), vec![b'a'; MEBIBYTE]));
    passed(vm.decide(root, one_value));

    let mut many_headers = good_request();
    many_headers.extend((0..10_000).map(|index| (format!("x-{index}").into_bytes(), vec![b'a'; 100])));
    passed(vm.decide(root, many_headers));

    let token = "a".repeat(MEBIBYTE);
    assert_refused(&vm.decide(root, request("GET", "/orders", &token)), 401, "token_too_large");
    let token = format!("{}.{token}", good_token());
    assert_refused(&vm.decide(root, request("GET", "/orders", &token)), 401, "token_too_large");
    let path = format!("/{}", "a/".repeat(MEBIBYTE / 2));
    assert_refused(&vm.decide(root, request("GET", &path, &good_token())), 403, "operation_not_mapped");
    let path = format!("/orders?{}", "a=b&".repeat(MEBIBYTE / 4));
    passed(vm.decide(root, request("GET", &path, &good_token())));
    assert_still_serves(&mut vm, root);
}

#[test]
fn json_nested_ten_thousand_deep_is_a_malformed_token() {
    let mut configuration = configuration();
    configuration["max_token_bytes"] = json!(65_536);
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let closed = format!("{}1{}", open.repeat(DEPTH), close.repeat(DEPTH));
        let unclosed = open.repeat(DEPTH);
        for nested in [closed, unclosed] {
            let header = json!({"alg": "ES256", "kid": "key-1"}).to_string();
            let deep_header = format!("{},\"x\":{nested}}}", header.strip_suffix('}').unwrap());
            let claims = claims().to_string();
            let deep_claims = format!("{},\"x\":{nested}}}", claims.strip_suffix('}').unwrap());
            for (header, claims) in
                [(&deep_header, &claims), (&header, &deep_claims), (&nested, &claims), (&header, &nested)]
            {
                if header.len() + claims.len() > 45_000 {
                    continue;
                }
                let token = signer().sign_parts(header.as_bytes(), claims.as_bytes());
                let outcome = vm.decide(root, request("GET", "/orders", &token));
                let (status, reason) = refusal(&outcome);
                assert_eq!(status, 401, "{reason}");
            }
        }
    }
    assert_still_serves(&mut vm, root);
}

#[test]
fn no_truncation_of_the_header_map_passes_or_kills() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let headers = request("GET", "/orders", &good_token());
    let whole = serialize(&headers);
    passed(decide_raw(&mut vm, root, Some(whole.clone())));
    // The very last byte is the NUL behind the last value.
    for length in 0..whole.len() - 1 {
        let outcome = decide_raw(&mut vm, root, Some(whole[..length].to_vec()));
        let Outcome::Answered(reply) = outcome else { panic!("{length} bytes: {outcome:?}") };
        assert!(reply.status >= 400, "{length} bytes: {reply:?}");
    }
    assert_still_serves(&mut vm, root);
}

#[test]
fn no_number_in_the_header_map_leads_out_of_it() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let headers = request("GET", "/orders", &good_token());
    let whole = serialize(&headers);
    for place in 0..=headers.len() * 2 {
        for number in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[place * 4..place * 4 + 4].copy_from_slice(&number.to_le_bytes());
            let outcome = decide_raw(&mut vm, root, Some(bytes));
            if number as usize > whole.len() {
                assert!(matches!(outcome, Outcome::Answered(_)), "number {place} is {number}: {outcome:?}");
            }
        }
    }
    assert_still_serves(&mut vm, root);
}

#[test]
fn a_host_that_gives_no_headers_gets_a_refusal() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    for raw in [None, Some(Vec::new()), Some(vec![0; 4])] {
        let outcome = decide_raw(&mut vm, root, raw);
        assert!(matches!(&outcome, Outcome::Answered(reply) if reply.status >= 400), "{outcome:?}");
    }
    assert_still_serves(&mut vm, root);
}

fn decide_raw(vm: &mut Vm, root: u32, raw: Option<Vec<u8>>) -> Outcome {
    let stream = vm.begin(Stream { root, raw_headers: Some(raw), ..Stream::default() });
    let outcome = vm.outcome(stream);
    vm.end(stream);
    outcome
}

#[test]
fn no_change_of_one_byte_of_a_token_passes() {
    let mut vm = Proxy::new().vm();
    let root = vm.configure(&configuration());
    let token = good_token();
    for index in (0..token.len()).step_by(5) {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let outcome = vm.decide(root, request("GET", "/orders", std::str::from_utf8(&bytes).unwrap()));
        assert!(
            matches!(&outcome, Outcome::Answered(reply) if reply.status < 500),
            "byte {index}: {outcome:?}"
        );
    }
    for length in (0..token.len()).step_by(7) {
        let outcome = vm.decide(root, request("GET", "/orders", &token[..length]));
        assert!(matches!(&outcome, Outcome::Answered(reply) if reply.status < 500), "{length}: {outcome:?}");
    }
    assert_still_serves(&mut vm, root);
}

#[test]
fn a_configuration_that_is_not_good_is_refused_and_kills_nothing() {
    let mut vm = Proxy::new().vm();
    let good = configuration().to_string().into_bytes();
    let nested = "[".repeat(DEPTH).into_bytes();
    let mut deep = configuration();
    deep["realm"] =
        serde_json::from_str::<Value>(&format!("{}1{}", "[".repeat(100), "]".repeat(100))).unwrap();
    for bad in [
        b"".to_vec(),
        b"{}".to_vec(),
        b"null".to_vec(),
        b"\xff\xfe".to_vec(),
        nested,
        deep.to_string().into_bytes(),
        [good.as_slice(), b"x"].concat(),
        [b"\0", good.as_slice()].concat(),
        good[..good.len() - 1].to_vec(),
    ] {
        let (root, accepted) = vm.try_configure(&bad);
        assert!(!accepted, "{}", String::from_utf8_lossy(&bad));
        let outcome = vm.decide(root, good_request());
        assert!(matches!(&outcome, Outcome::Answered(reply) if reply.status == 500), "{outcome:?}");
    }
    // Whatever else it says, a configuration without one of its bytes may only be refused, or be another good one.
    for index in (0..good.len()).step_by(good.len() / 150) {
        let mut removed = good.clone();
        removed.remove(index);
        let mut replaced = good.clone();
        replaced[index] = b"\xff\"{}[],:x0"[index % 10];
        for bytes in [removed, replaced] {
            vm.try_configure(&bytes);
        }
    }
    let root = vm.configure(&configuration());
    assert_still_serves(&mut vm, root);
}
