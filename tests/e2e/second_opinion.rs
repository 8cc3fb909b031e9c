//! Tokens judged by the filter, by `jwt_authn` in the same Envoy, and by the libraries jose and PyJWT. Where they disagree,
//! `docs/second-opinion.md` says why.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use scopegate_testing::harness::{Gateway, Options, handed, now};
use scopegate_testing::http::{Connection, Request};
use scopegate_testing::mint::{Signer, jwks};

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "api";
const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];
const PAGE: &str = include_str!("../../docs/second-opinion.md");

fn signer(algorithm: &'static str) -> Signer {
    Signer::new(algorithm, algorithm, 1)
}

fn claims(changes: Value) -> Value {
    let mut claims =
        json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now(), "exp": now() + 600});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// Every case: what is unusual of a token, and the token.
fn cases() -> Vec<(String, String)> {
    let now = now();
    let mut cases = Vec::new();
    for algorithm in ALGORITHMS {
        let good = signer(algorithm).mint(json!({}), &claims(json!({})));
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let decoded = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let with = |bytes: &[u8]| format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes));
        let flipped = |at: usize| {
            let mut bytes = decoded.clone();
            bytes[at] ^= 1;
            with(&bytes)
        };
        let other = Signer::new(algorithm, algorithm, 2).mint(json!({}), &claims(json!({})));
        let mut add = |what: &str, token: String| cases.push((format!("{algorithm}: {what}"), token));
        add("nothing", good.clone());
        add("the first bit of the signature is another", flipped(0));
        add("the last bit of the signature is another", flipped(decoded.len() - 1));
        add("the signature lacks an octet", with(&decoded[1..]));
        add("the signature has a leading zero octet", with(&[&[0], &decoded[..]].concat()));
        add("the signature is of zeros", with(&vec![0; decoded.len()]));
        add("the signature is empty", format!("{signed}."));
        add("the signature is by another key", other);
        add("the signature has padding", format!("{signed}.{}", URL_SAFE.encode(&decoded)));
        let last = signature.len() - 1;
        let stray = match &signature[last..] {
            "A" | "Q" | "g" | "w" => ((signature.as_bytes()[last] + 1) as char).to_string(),
            other => other.to_owned(),
        };
        add("the signature has stray bits", format!("{signed}.{}{stray}", &signature[..last]));
    }
    let es256 = signer("ES256");
    let mut add = |what: &str, token: String| cases.push((what.to_owned(), token));
    for (what, changes) in [
        ("`exp` is 30 s ago", json!({"exp": now - 30})),
        ("`exp` is 90 s ago", json!({"exp": now - 90})),
        ("`exp` is missing", json!({"exp": null})),
        ("`exp` is a string", json!({"exp": (now + 600).to_string()})),
        ("`exp` has a fraction", json!({"exp": now as f64 + 600.5})),
        ("`exp` is 1e300", json!({"exp": 1e300})),
        ("`exp` is negative", json!({"exp": -1})),
        ("`exp` is true", json!({"exp": true})),
        ("`exp` is a list", json!({"exp": [now + 600]})),
        ("`nbf` is in 30 s", json!({"nbf": now + 30})),
        ("`nbf` is in 90 s", json!({"nbf": now + 90})),
        ("`nbf` is a string", json!({"nbf": "0"})),
        ("`iat` is in 30 s", json!({"iat": now + 30})),
        ("`iat` is in an hour", json!({"iat": now + 3600})),
        ("`iat` is a string", json!({"iat": "now"})),
        ("`iat` is missing", json!({"iat": null})),
        ("`iss` is missing", json!({"iss": null})),
        ("`iss` is another", json!({"iss": "https://other.example"})),
        ("`iss` ends with a slash", json!({"iss": format!("{ISSUER}/")})),
        ("`iss` is in upper case", json!({"iss": "HTTPS://LOGIN.EXAMPLE"})),
        ("`iss` is a list", json!({"iss": [ISSUER]})),
        ("`aud` is missing", json!({"aud": null})),
        ("`aud` is another", json!({"aud": "other"})),
        ("`aud` is a list with ours", json!({"aud": ["other", AUDIENCE]})),
        ("`aud` is a list of others", json!({"aud": ["other"]})),
        ("`aud` is an empty list", json!({"aud": []})),
        ("`aud` is a list with a number", json!({"aud": [AUDIENCE, 1]})),
        ("`aud` is a number", json!({"aud": 1})),
        ("`aud` begins with ours", json!({"aud": "api-2"})),
        ("`aud` ends with a slash", json!({"aud": "api/"})),
        ("`aud` is in upper case", json!({"aud": "API"})),
        ("`aud` is an object", json!({"aud": {"api": true}})),
        ("`sub` is missing", json!({"sub": null})),
        ("`sub` is a number", json!({"sub": 7})),
        ("`sub` is a list", json!({"sub": ["alice"]})),
        ("`jti` is a number", json!({"jti": 7})),
        ("`at_hash` is there", json!({"at_hash": "x"})),
        ("`cnf` is there", json!({"cnf": {"jkt": "x"}})),
        ("`token_use` is id", json!({"token_use": "id"})),
    ] {
        add(what, es256.mint(json!({}), &claims(changes)));
    }
    for (what, header) in [
        ("`typ` is JWT", json!({"typ": "JWT"})),
        ("`typ` is at+jwt", json!({"typ": "at+jwt"})),
        ("`typ` is dpop+jwt", json!({"typ": "dpop+jwt"})),
        ("`typ` is logout+jwt", json!({"typ": "logout+jwt"})),
        ("`typ` is a number", json!({"typ": 7})),
        ("`alg` is none", json!({"alg": "none"})),
        ("`alg` is in lower case", json!({"alg": "es256"})),
        ("`alg` is RS256 for an EC key", json!({"alg": "RS256"})),
        ("`alg` is HS256 for an EC key", json!({"alg": "HS256"})),
        ("`alg` is missing", json!({"alg": null})),
        ("`kid` is missing", json!({"kid": null})),
        ("`kid` is unknown", json!({"kid": "other"})),
        ("`kid` is a number", json!({"kid": 7})),
        ("`kid` is that of another key", json!({"kid": "RS256"})),
        ("`crit` names an unknown extension", json!({"crit": ["exp-2"], "exp-2": 1})),
        ("`crit` is empty", json!({"crit": []})),
        ("`b64` is true", json!({"b64": true})),
        ("`b64` is false and critical", json!({"crit": ["b64"], "b64": false})),
        ("`jwk` brings the key", json!({"jwk": es256.jwk()})),
        ("`jku` is there", json!({"jku": "https://evil.example/jwks"})),
        ("`x5c` is there", json!({"x5c": ["AAAA"]})),
        ("`zip` is there", json!({"zip": "DEF"})),
    ] {
        add(what, es256.mint(header, &claims(json!({}))));
    }
    let header = r#"{"alg":"ES256","kid":"ES256"}"#;
    let payload = claims(json!({})).to_string();
    let raw = |header: &str, payload: &str| es256.sign_parts(header.as_bytes(), payload.as_bytes());
    let twice = |name: &str, value: Value| payload.replacen('{', &format!("{{{}:{value},", json!(name)), 1);
    add("`exp` is there twice", raw(header, &twice("exp", json!(now - 3600))));
    add("`aud` is there twice", raw(header, &twice("aud", json!("other"))));
    add("`alg` is there twice", raw(r#"{"alg":"none","alg":"ES256","kid":"ES256"}"#, &payload));
    add("`kid` is there twice", raw(r#"{"kid":"other","alg":"ES256","kid":"ES256"}"#, &payload));
    add("a name has an escape", raw(header, &payload.replace(r#""exp""#, r#""\u0065xp""#)));
    add("blanks surround the payload", raw(header, &format!(" {payload}\n")));
    add("the payload begins with a byte order mark", raw(header, &format!("\u{feff}{payload}")));
    add("something follows the payload", raw(header, &format!("{payload}x")));
    add("the payload is a list", raw(header, &format!("[{payload}]")));
    add("the payload is no JSON", raw(header, "claims"));
    add("the payload is empty", raw(header, ""));
    add("the payload has a comment", raw(header, &format!("/**/{payload}")));
    add("the payload ends with a comma", raw(header, &payload.replace('}', ",}")));
    add("the payload is nested a thousand deep", {
        let nested = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        raw(header, &payload.replacen('{', &format!("{{\"x\":{nested},"), 1))
    });
    add("the payload has a lone surrogate", raw(header, &payload.replace("alice", r"\ud800")));
    add("the header is a list", raw(&format!("[{header}]"), &payload));
    let good = raw(header, &payload);
    let parts: Vec<&str> = good.split('.').collect();
    add("a fourth part follows", format!("{good}.AAAA"));
    add("a dot follows", format!("{good}."));
    add("a blank stands before the signature", format!("{}.{}. {}", parts[0], parts[1], parts[2]));
    let with_plus = claims(json!({"sub": "~~~???~~~"})).to_string();
    let standard = STANDARD_NO_PAD.encode(&with_plus);
    let input = format!("{}.{standard}", parts[0]);
    add("the payload is in the alphabet of base64", {
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(es256.sign(input.as_bytes())))
    });
    let padded = format!("{}=.{}", parts[0], parts[1]);
    add("the header has padding", {
        format!("{padded}.{}", URL_SAFE_NO_PAD.encode(es256.sign(padded.as_bytes())))
    });
    cases
}

fn gateway(key_set: &Value) -> Gateway {
    let configuration = json!({
        "version": 1,
        "providers": {"corp": {
            "issuer": ISSUER, "audiences": [AUDIENCE], "algorithms": ALGORITHMS, "local_jwks": key_set,
        }},
        "tenants": [{"id": "acme"}],
        "suites": [{"name": "s", "operations": [{"name": "o", "path": "/**", "access": "authenticated"}]}],
    });
    let key_set = key_set.to_string();
    let bootstrap = move |bootstrap: &mut Value| {
        let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
        let mut peer = listeners[0].clone();
        peer["name"] = json!("jwt_authn");
        let manager = &mut peer["filter_chains"][0]["filters"][0]["typed_config"];
        let router = manager["http_filters"].as_array().unwrap().last().unwrap().clone();
        manager["http_filters"] = json!([{"name": "envoy.filters.http.jwt_authn", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"corp": {
                "issuer": ISSUER, "audiences": [AUDIENCE], "local_jwks": {"inline_string": key_set},
                "require_expiration": true, "clock_skew_seconds": 60,
            }},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "corp"}}]}}, router]);
        listeners.push(peer);
    };
    Gateway::start(&configuration, &Options { bootstrap: Box::new(bootstrap), ..Options::default() })
}

/// Whether each token passes at this port.
fn asked_of_envoy(port: u16, tokens: &[&str]) -> Vec<bool> {
    let judge = |token: &&str| {
        let request = Request::get("/orders").header("authorization", format!("Bearer {token}"));
        match Connection::open(port).send(&request).status {
            200 => true,
            400 | 401 | 403 | 431 => false,
            other => panic!("{other} for {token}"),
        }
    };
    tokens.iter().map(judge).collect()
}

/// Whether each token is good to a library.
fn asked_of_library(command: &mut Command, asked: &Value) -> Vec<bool> {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("to start it");
    process.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("a list of verdicts")
}

/// The rows of the page: who takes the token, by case.
fn explained() -> BTreeMap<String, [bool; 4]> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| the token |"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{row}");
        assert!(!cells[5].is_empty(), "{row}");
        let takes = |cell: &str| match cell {
            "takes" => true,
            "refuses" => false,
            other => panic!("{other} in {row}"),
        };
        (cells[0].to_owned(), [1, 2, 3, 4].map(|place| takes(cells[place])))
    })
    .collect()
}

#[test]
fn every_disagreement_with_jwt_authn_jose_and_pyjwt_is_explained() {
    let servers = handed("SCOPEGATE_NODE_SERVERS");
    let key_set = jwks(&ALGORITHMS.map(signer));
    let gateway = gateway(&key_set);
    let cases = cases();
    let tokens: Vec<&str> = cases.iter().map(|(_, token)| token.as_str()).collect();
    let asked = json!({
        "jwks": key_set, "issuer": ISSUER, "audience": AUDIENCE, "algorithms": ALGORITHMS, "tokens": tokens,
    });
    let mut node = Command::new("node");
    node.arg(servers.join("second-opinion.mjs"));
    let mut python = Command::new(handed("SCOPEGATE_PYTHON"));
    python.arg(servers.join("second-opinion.py"));
    let verdicts = [
        asked_of_envoy(gateway.port, &tokens),
        asked_of_envoy(gateway.listener_port("jwt_authn"), &tokens),
        asked_of_library(&mut node, &asked),
        asked_of_library(&mut python, &asked),
    ];
    let mut disagreements = BTreeMap::new();
    for (number, (what, _)) in cases.iter().enumerate() {
        let all: Vec<bool> = verdicts.iter().map(|of_one| of_one[number]).collect();
        let all: [bool; 4] = all.try_into().unwrap();
        if all.iter().any(|takes| *takes != all[0]) {
            disagreements.insert(what.clone(), all);
        }
    }
    let said = |rows: &BTreeMap<String, [bool; 4]>| -> String {
        let takes = |takes: &bool| if *takes { "takes" } else { "refuses" };
        rows.iter()
            .map(|(what, all)| {
                format!("| {what} | {} |\n", all.iter().map(takes).collect::<Vec<_>>().join(" | "))
            })
            .collect()
    };
    let explained = explained();
    assert!(
        disagreements == explained,
        "docs/second-opinion.md is to have these rows:\n{}and has\n{}",
        said(&disagreements),
        said(&explained)
    );
}
