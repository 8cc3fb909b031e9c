//! Strict JSON, for the segments of a token, introspection responses and key sets.
//!
//! Two readers of one document must not see different things, so what RFC 8259 leaves open is refused here: a member
//! named twice, at any depth (RFC 7515 section 4 and RFC 7519 section 4 permit the refusal), a byte order mark,
//! bytes that are not UTF-8, and anything after the document. Nesting is bounded by `serde_json` at 128 levels.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
pub use serde_json::Value;
use serde_json::map::Entry;

/// A JSON object, each of whose members has a name of its own.
pub type Object = serde_json::Map<String, Value>;

/// Parses `bytes` as one JSON object.
pub fn parse_object(bytes: &[u8]) -> Result<Object, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    let repeated = RefCell::new(None);
    let mut document = serde_json::Deserializer::from_str(text);
    let value = UniqueMembers { repeated: &repeated }
        .deserialize(&mut document)
        .and_then(|value| document.end().map(|()| value));
    match (value, repeated.into_inner()) {
        (_, Some(name)) => Err(JsonError::RepeatedMember(name)),
        (Err(_), None) => Err(JsonError::NotJson),
        (Ok(Value::Object(object)), None) => Ok(object),
        (Ok(_), None) => Err(JsonError::NotAnObject),
    }
}

/// Why a document is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// Bytes that are not UTF-8 (RFC 8259 section 8.1).
    NotUtf8,
    /// A syntax error, a number out of range, more than 128 levels, or bytes after the document.
    NotJson,
    /// JSON, but of another type than object.
    NotAnObject,
    /// An object somewhere in the document names this member twice. The name is escaped and shortened.
    RepeatedMember(Box<str>),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::NotJson => f.write_str("not JSON"),
            Self::NotAnObject => f.write_str("not a JSON object"),
            Self::RepeatedMember(name) => write!(f, "member `{name}` occurs twice"),
        }
    }
}

impl std::error::Error for JsonError {}

/// What `object` takes on the heap, in bytes, about.
pub fn heap_bytes(object: &Object) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(elements) => elements.iter().map(|element| size_of::<Value>() + of(element)).sum(),
            Value::Object(object) => heap_bytes(object),
        }
    }
    // A map's nodes are half empty at worst.
    const MEMBER: usize = 2 * (size_of::<String>() + size_of::<Value>());
    object.iter().map(|(name, value)| MEMBER + name.len() + of(value)).sum()
}

/// Foreign text made fit for a log line: control characters and quotes escaped, at most 64 characters kept.
pub(crate) fn printable(text: &str) -> Box<str> {
    const MAX_CHARACTERS: usize = 64;
    let mut printable: String = text.escape_debug().take(MAX_CHARACTERS).collect();
    if text.escape_debug().nth(MAX_CHARACTERS).is_some() {
        printable.push('…');
    }
    printable.into()
}

/// Builds a [`Value`] and stops at the first object that names a member twice.
#[derive(Clone, Copy)]
struct UniqueMembers<'a> {
    repeated: &'a RefCell<Option<Box<str>>>,
}

impl<'de> DeserializeSeed<'de> for UniqueMembers<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueMembers<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(name) = members.next_key_seed(MemberName)? {
            match object.entry(name) {
                Entry::Vacant(vacant) => {
                    vacant.insert(members.next_value_seed(self)?);
                }
                Entry::Occupied(occupied) => {
                    self.repeated.replace(Some(printable(occupied.key())));
                    return Err(A::Error::custom("repeated member"));
                }
            }
        }
        Ok(Value::Object(object))
    }
}

struct MemberName;

impl<'de> DeserializeSeed<'de> for MemberName {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> JsonError {
        parse_object(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn an_object_is_read_as_serde_json_reads_it() {
        let text = r#" {"a":[1,-2,3.5,true,null,"x",{"b":{}}],"c":"\u00e9","d":18446744073709551615} "#;
        assert_eq!(
            Value::Object(parse_object(text.as_bytes()).unwrap()),
            serde_json::from_str::<Value>(text).unwrap()
        );
    }

    #[test]
    fn a_member_named_twice_is_refused_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"b":[{"c":[{"a":null,"x":0,"a":2}]}]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert_eq!(error(text), JsonError::RepeatedMember("a".into()), "{text}");
        }
        assert!(parse_object(br#"{"a":{"a":{"a":1}},"A":1}"#).is_ok(), "the same name in other objects");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[]", "1", "null", "\"{}\"", "[{}]"] {
            assert_eq!(error(text), JsonError::NotAnObject, "{text}");
        }
        for text in [
            "",
            " ",
            "{",
            "{}x",
            "{}{}",
            "{} 1",
            "{'a':1}",
            "{\"a\":1,}",
            "{\"a\":1e999}",
            "{\"a\":NaN}",
            "\u{feff}{}",
        ] {
            assert_eq!(error(text), JsonError::NotJson, "{text}");
        }
        assert_eq!(error(r#"{"a":"\ud800"}"#), JsonError::NotJson, "half of a surrogate pair");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), Err(JsonError::NotUtf8));
        assert_eq!(parse_object(b"{\"\xc0\xaf\":1}"), Err(JsonError::NotUtf8));
        assert_eq!(parse_object(b"\xff\xfe{\0}\0"), Err(JsonError::NotUtf8));
    }

    #[test]
    fn deep_nesting_is_refused_without_using_up_the_stack() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(parse_object(nested(127).as_bytes()).is_ok());
        assert_eq!(error(&nested(128)), JsonError::NotJson);
        assert_eq!(error(&nested(10_000)), JsonError::NotJson);
        assert_eq!(error(&format!("{{\"a\":{}", "[".repeat(1_000_000))), JsonError::NotJson);
    }

    #[test]
    fn foreign_text_is_escaped_and_shortened_before_it_is_shown() {
        assert_eq!(&*printable("a\n`\"\u{1b}[0m"), "a\\n`\\\"\\u{1b}[0m");
        assert_eq!(printable(&"x".repeat(64)).chars().count(), 64);
        assert_eq!(printable(&"x".repeat(65)).chars().last(), Some('…'));
    }

    #[test]
    fn names_and_values_count_with_the_bytes_that_they_take_at_any_depth() {
        const MEMBER: usize = 2 * (size_of::<String>() + size_of::<Value>());
        let bytes = |text: &str| heap_bytes(&parse_object(text.as_bytes()).unwrap());
        assert_eq!(bytes("{}"), 0);
        assert_eq!(bytes(r#"{"abc":null}"#), MEMBER + 3);
        assert_eq!(bytes(r#"{"abc":"defgh"}"#), MEMBER + 3 + 5);
        assert_eq!(bytes(r#"{"abc":["d",1,"ef"]}"#), MEMBER + 3 + 3 * size_of::<Value>() + 1 + 2);
        assert_eq!(bytes(r#"{"a":{"bc":{"def":"ghij"}},"k":true}"#), 4 * MEMBER + 1 + 2 + 3 + 4 + 1);
    }
}
