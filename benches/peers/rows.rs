//! The rows of the report: which variant is held against which, and what is to be reached.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::variants;
use scopegate_testing::workload::{Issuer, Size, configuration};

/// What a variant is asked with, and so which requests without a filter it is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tokens {
    None,
    OneRs256,
    OneEs256,
    ManyRs256,
    ManyBadSignatures,
    OneOpaque,
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no token",
            Self::OneRs256 => "RS256",
            Self::OneEs256 => "ES256",
            Self::ManyRs256 => "10,000 RS256",
            Self::ManyBadSignatures => "10,000 bad RS256",
            Self::OneOpaque => "opaque",
        })
    }
}

/// HTTP filters of one listener, and what it must answer.
pub struct Variant {
    pub name: String,
    pub filters: Vec<Value>,
    /// What replaces members of the HTTP connection manager.
    pub manager: Map<String, Value>,
    pub tokens: Tokens,
    pub status: u16,
}

/// A comparison.
pub struct Row {
    pub name: &'static str,
    pub title: &'static str,
    pub ours: &'static str,
    pub peer: &'static str,
    /// At most so many times what the peer adds; none where the row is there to be read.
    pub target: Option<f64>,
}

/// The variant that the others are compared with: no filter at all.
pub fn bare(tokens: Tokens) -> Variant {
    Variant {
        name: format!("no filter, {tokens}"),
        filters: Vec::new(),
        manager: Map::new(),
        tokens,
        status: 200,
    }
}

pub const ROWS: [Row; 18] = [
    Row {
        name: "warm",
        title: "warm RS256 token, against jwt_authn with its cache + rbac",
        ours: "scopegate warm",
        peer: "jwt_authn cached + rbac",
        target: Some(0.85),
    },
    Row {
        name: "warm-one-property",
        title: "the same with `audit.properties: [decision]`",
        ours: "scopegate warm, one property",
        peer: "jwt_authn cached + rbac",
        target: None,
    },
    Row {
        name: "cold-rs256",
        title: "cold RS256 token, against jwt_authn without cache + rbac",
        ours: "scopegate cold RS256",
        peer: "jwt_authn RS256 + rbac",
        target: Some(0.85),
    },
    Row {
        name: "cold-es256",
        title: "cold ES256 token, against jwt_authn without cache + rbac",
        ours: "scopegate cold ES256",
        peer: "jwt_authn ES256 + rbac",
        target: Some(0.9),
    },
    Row {
        name: "many",
        title: "10,000 warm RS256 tokens, against jwt_authn with its cache + rbac",
        ours: "scopegate 10,000 tokens",
        peer: "jwt_authn 10,000 tokens + rbac",
        target: Some(0.85),
    },
    Row {
        name: "ext-authz",
        title: "warm RS256 token, against ext_authz (Envoy's part)",
        ours: "scopegate warm",
        peer: "ext_authz",
        target: Some(0.4),
    },
    Row {
        name: "introspection",
        title: "introspected token in the cache, against our warm RS256 token",
        ours: "scopegate introspected",
        peer: "scopegate warm",
        target: Some(1.1),
    },
    Row {
        name: "bad-signature",
        title: "refusal of a bad signature, against jwt_authn's",
        ours: "scopegate bad signature",
        peer: "jwt_authn bad signature",
        target: Some(0.9),
    },
    Row {
        name: "no-token",
        title: "refusal without a token, against jwt_authn's",
        ours: "scopegate no token",
        peer: "jwt_authn no token",
        target: Some(2.3),
    },
    Row {
        name: "large",
        title: "10,000 tenants and 5,000 operations, against one tenant and five",
        ours: "scopegate large",
        peer: "scopegate warm",
        target: Some(1.05),
    },
    Row {
        name: "fallback-rs256",
        title: "cold RS256 token without the host's crypto, against jwt_authn",
        ours: "scopegate own RS256",
        peer: "jwt_authn RS256 + rbac",
        target: None,
    },
    Row {
        name: "fallback-es256",
        title: "cold ES256 token without the host's crypto, against jwt_authn",
        ours: "scopegate own ES256",
        peer: "jwt_authn ES256 + rbac",
        target: None,
    },
    Row {
        name: "floor",
        title: "a hand-written filter that does nothing, against our warm RS256 token",
        ours: "empty wasm",
        peer: "scopegate warm",
        target: None,
    },
    Row {
        name: "floor-headers",
        title: "a hand-written filter that reads all headers, against our warm RS256 token",
        ours: "wasm that reads headers",
        peer: "scopegate warm",
        target: None,
    },
    Row {
        name: "tripwire-one",
        title: "another tripwire, against the one of envoy.yaml",
        ours: "scopegate warm + tripwire that allows one value",
        peer: "scopegate warm + tripwire",
        target: None,
    },
    Row {
        name: "tripwire-allows",
        title: "another tripwire, against the one of envoy.yaml",
        ours: "scopegate warm + tripwire that allows",
        peer: "scopegate warm + tripwire",
        target: None,
    },
    Row {
        name: "tripwire-matcher",
        title: "another tripwire, against the one of envoy.yaml",
        ours: "scopegate warm + tripwire by matcher",
        peer: "scopegate warm + tripwire",
        target: None,
    },
    Row {
        name: "tripwire-route",
        title: "another tripwire, against the one of envoy.yaml",
        ours: "scopegate warm + tripwire by route",
        peer: "scopegate warm + tripwire",
        target: None,
    },
];

/// The suffix of a variant of ours with the tripwire after it.
pub const TRIPWIRE: &str = " + tripwire";

/// Makes the filters of a variant of ours out of its configuration; the name is unique in the run.
pub type MakeOurs<'a> = dyn Fn(&str, &Value) -> Value + 'a;

/// The variant of that name, as [`ROWS`] names them; `introspection_cluster` is where opaque tokens are looked up.
pub fn variant(name: &str, issuer: &Issuer, introspection_cluster: &str, ours: &MakeOurs<'_>) -> Variant {
    let parts = name.split_once(" + tripwire");
    let plain = parts.map_or(name, |(plain, _)| plain);
    let (mut filters, tokens, status) = match plain {
        "jwt_authn cached + rbac" => (variants::jwt_authn(issuer, true), Tokens::OneRs256, 200),
        "jwt_authn RS256 + rbac" => (variants::jwt_authn(issuer, false), Tokens::OneRs256, 200),
        "jwt_authn ES256 + rbac" => (variants::jwt_authn(issuer, false), Tokens::OneEs256, 200),
        "jwt_authn 10,000 tokens + rbac" => (variants::jwt_authn(issuer, true), Tokens::ManyRs256, 200),
        "jwt_authn bad signature" => (variants::jwt_authn(issuer, true), Tokens::ManyBadSignatures, 401),
        "jwt_authn no token" => (variants::jwt_authn(issuer, true), Tokens::None, 401),
        "empty wasm" => (vec![variants::module(name, variants::EMPTY)], Tokens::OneRs256, 200),
        "wasm that reads headers" => {
            (vec![variants::module(name, variants::READS_HEADERS)], Tokens::OneRs256, 200)
        }
        "ext_authz" => (vec![variants::ext_authz()], Tokens::OneRs256, 200),
        of_ours => {
            let size = if of_ours == "scopegate large" { Size::LARGE } else { Size::SMALL };
            let mut configuration = configuration(issuer, size);
            let provider = &mut configuration["providers"]["corp"];
            let (tokens, status) = match of_ours {
                "scopegate warm" | "scopegate large" => (Tokens::OneRs256, 200),
                "scopegate warm, one property" => {
                    configuration["audit"]["properties"] = json!(["decision"]);
                    (Tokens::OneRs256, 200)
                }
                "scopegate cold RS256"
                | "scopegate cold ES256"
                | "scopegate own RS256"
                | "scopegate own ES256" => {
                    provider["token_cache"]["max_entries"] = json!(0);
                    (if of_ours.ends_with("RS256") { Tokens::OneRs256 } else { Tokens::OneEs256 }, 200)
                }
                "scopegate 10,000 tokens" => (Tokens::ManyRs256, 200),
                "scopegate introspected" => {
                    provider["introspection"] = json!({
                        "uri": "https://login.example.com/introspect", "cluster": introspection_cluster,
                        "client_auth": {"method": "none"}, "cache": {"max_ttl": "1h"}});
                    (Tokens::OneOpaque, 200)
                }
                "scopegate bad signature" => (Tokens::ManyBadSignatures, 401),
                "scopegate no token" => (Tokens::None, 401),
                unknown => panic!("no variant `{unknown}`"),
            };
            (vec![ours(name, &configuration)], tokens, status)
        }
    };
    if plain.starts_with("scopegate") {
        // As `scopegate render` lists it: no nonce is given with a response here.
        let mut left_out = vec!["proxy_on_response_headers"];
        left_out.extend(plain.starts_with("scopegate own").then_some("proxy_call_foreign_function"));
        filters = filters.into_iter().map(|filter| variants::without(&left_out, filter)).collect();
    }
    let mut manager = Map::new();
    match parts {
        Some((_, " by route")) => manager = variants::tripwire_by_route(),
        Some((_, kind)) => filters.push(variants::tripwire(&format!("tripwire{kind}"))),
        None => {}
    }
    Variant { name: name.to_owned(), filters, manager, tokens, status }
}
