//! Configurations: each is taken or refused, with errors that can be shown; what is taken opens nothing by itself.

use scopegate::config::{ConfigErrors, Loaded, parse_json, parse_plugin, parse_yaml};
use serde_json::Value;

use crate::gateway::{Call, Gateway, Outcome};

/// JSON, as the filter takes it.
pub fn json(bytes: &[u8]) {
    let parsed = parse_json(bytes);
    check(&parsed);
    let Ok(loaded) = parsed else { return };
    let as_plugin = parse_plugin(bytes).expect("what is JSON is the plugin's too");
    assert_eq!(as_plugin.policy.digest, loaded.policy.digest);
    let document: Value = serde_json::from_slice(bytes).expect("what is taken as JSON is JSON");
    if !opens(&document) {
        let gateway = Gateway::new(&document);
        for path in ["/", "/orders", "/tc/acme/service-requests/1"] {
            let outcome = gateway.call(&Call::get(path));
            assert!(!matches!(outcome, Outcome::Passed(_)), "{outcome:?} by {document}");
        }
    }
}

/// YAML, as the tool takes it.
pub fn yaml(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(&parse_yaml(text));
    }
}

/// A `google.protobuf.Struct`, as Envoy hands one over.
pub fn protobuf(bytes: &[u8]) {
    check(&parse_plugin(bytes));
}

/// Errors say something, in lines without control characters.
fn check(parsed: &Result<Loaded, ConfigErrors>) {
    if let Err(errors) = parsed {
        let text = errors.to_string();
        assert!(!text.is_empty());
        assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n'), "{text:?}");
    }
}

/// Whether a configuration says that some request needs no token.
fn opens(document: &Value) -> bool {
    match document {
        Value::String(text) => matches!(text.as_str(), "public" | "allow"),
        Value::Array(elements) => elements.iter().any(opens),
        Value::Object(members) => members.values().any(opens),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
