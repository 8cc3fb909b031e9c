//! Where the fuzzer begins: good inputs, the corpora of the tests, and what once failed.

use scopegate_testing::mint::jwks;
use serde_json::{Value, json};

use crate::gateway::{KEY, claims};
use crate::tokens::{good, good_proof};

const JWS: &str = include_str!("../fixtures/conformance/jws-cases.jsonl");
const PATHS: &str = include_str!("../fixtures/paths.jsonl");
const CONFIGURATIONS: [&str; 6] = [
    include_str!("../fixtures/config/full.yaml"),
    include_str!("../../filter-config/appian-erp.yaml"),
    include_str!("../../filter-config/infor-suites.yaml"),
    include_str!("../../filter-config/otk-branches.yaml"),
    include_str!("../../filter-config/teamcenter.yaml"),
    include_str!("../../filter-config/thingworx-billing.yaml"),
];

/// The seeds of the target called `name`.
pub fn of(name: &str) -> Vec<Vec<u8>> {
    let texts: Vec<String> = match name {
        "token" => members(JWS, "token").chain([good()]).collect(),
        "proof" => vec![good_proof(), good()],
        "jwks" => json_members(JWS, "jwks").chain([jwks([&*KEY]).to_string()]).collect(),
        "introspection" => vec![
            claims(json!({"active": true})).to_string(),
            json!({"active": false}).to_string(),
            claims(json!({"active": true, "cnf": {"jkt": "x"}, "token_type": "DPoP"})).to_string(),
        ],
        "shared_data" => vec![jwks([&*KEY]).to_string(), claims(json!({"active": true})).to_string()],
        "configuration_json" => configurations().map(|document| document.to_string()).collect(),
        "configuration_yaml" => CONFIGURATIONS.map(str::to_owned).into(),
        "configuration_struct" => return configurations().map(|document| to_struct(&document)).collect(),
        "path" => members(PATHS, "path").collect(),
        "host" => ["api.example", "API.example:443", "[2001:db8::1]:8080", "a.b.", "acme.api.example"]
            .map(str::to_owned)
            .into(),
        "credential_places" => [
            "\n\nBearer TOKEN",
            "access_token=TOKEN&a=b\n\n",
            "\nsession=TOKEN; a=b\n",
            "\n\n\nTOKEN",
            "access%5Ftoken=TOKEN\nsession=\"TOKEN\"\nbearer TOKEN\nTOKEN",
        ]
        .map(str::to_owned)
        .into(),
        "form" => [
            "grant_type=client_credentials&scope=billing%3Aread+x&client_id=shop",
            "grant_type=refresh_token&refresh_token=abc&resource=https%3A%2F%2Fa&resource=b",
        ]
        .map(str::to_owned)
        .into(),
        "exchange" => return vec![vec![7, 7, 0, 0, 0, 0, 1, 3, 0, 0, 7, 0, 0, 0, 0], (0..15).collect()],
        other => panic!("there is no target `{other}`"),
    };
    texts.into_iter().map(String::into_bytes).collect()
}

fn json_members<'t>(lines: &'t str, name: &'t str) -> impl Iterator<Item = String> + 't {
    lines
        .lines()
        .map(move |line| serde_json::from_str::<Value>(line).unwrap()[name].to_string())
        .filter(|text| text != "null")
}

fn members<'t>(lines: &'t str, name: &'t str) -> impl Iterator<Item = String> + 't {
    lines
        .lines()
        .filter_map(move |line| Some(serde_json::from_str::<Value>(line).unwrap()[name].as_str()?.to_owned()))
}

fn configurations() -> impl Iterator<Item = Value> {
    CONFIGURATIONS.iter().map(|text| scopegate::config::yaml_to_json(text).unwrap())
}

/// A `google.protobuf.Struct`.
fn to_struct(document: &Value) -> Vec<u8> {
    let members = document.as_object().unwrap().iter();
    members
        .flat_map(|(name, value)| field(1, &[field(1, name.as_bytes()), field(2, &to_value(value))].concat()))
        .collect()
}

/// A `google.protobuf.Value`.
fn to_value(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => vec![1 << 3, 0],
        Value::Bool(value) => vec![4 << 3, u8::from(*value)],
        Value::Number(number) => [&[2 << 3 | 1][..], &number.as_f64().unwrap().to_le_bytes()].concat(),
        Value::String(text) => field(3, text.as_bytes()),
        Value::Object(_) => field(5, &to_struct(value)),
        Value::Array(elements) => {
            field(6, &elements.iter().flat_map(|element| field(1, &to_value(element))).collect::<Vec<u8>>())
        }
    }
}

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut all = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        all.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    all.push(length as u8);
    all.extend(bytes);
    all
}
