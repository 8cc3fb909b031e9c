//! A parsed configuration document, whatever it was written in.
//!
//! Strings are borrowed from the input wherever they need no unescaping. A repeated key is kept here and reported by
//! the reader, which knows its path.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::ConfigError;
use super::kind::ErrorKind;

/// One value of a document, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    /// The value.
    pub value: Value<'a>,
    /// How a YAML text has it; None in JSON. In a box, as a filter reads JSON and has many nodes.
    pub written: Option<Box<Written>>,
}

/// How a text has a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Where it begins.
    pub mark: Mark,
    /// Where its key begins, in a map.
    pub key: Option<Mark>,
    /// What YAML 1.1 takes it for, where that is not what it is here. Envoy reads its own configuration so.
    pub otherwise: Option<Otherwise>,
}

/// What a plain scalar of YAML 1.2 is in YAML 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// `yes`, `no`, `on`, `off`, `y` and `n` are booleans.
    Boolean,
    /// `010` is octal.
    Octal,
}

/// A value of JSON's data model.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number. A `google.protobuf.Struct` makes doubles of all of them, so nothing here needs more.
    Number(f64),
    /// A string.
    String(Cow<'a, str>),
    /// A list.
    List(Vec<Node<'a>>),
    /// A map, its members in the order of the document.
    Map(Vec<Member<'a>>),
}

/// One member of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Member<'a> {
    /// The key.
    pub key: Cow<'a, str>,
    /// The value.
    pub node: Node<'a>,
}

/// A place in a text, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The line.
    pub line: NonZeroU32,
    /// The column, in characters.
    pub column: NonZeroU32,
}

impl Mark {
    /// The mark at `line` and `column`, counted from 1; zeroes count as 1.
    pub fn new(line: usize, column: usize) -> Self {
        let saturated = |number: usize| {
            NonZeroU32::new(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN)
        };
        Self { line: saturated(line), column: saturated(column) }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// U+FEFF in UTF-8, which some editors put before a text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads JSON (RFC 8259), strictly: UTF-8 without a byte order mark, one value and nothing behind it, nested to a
/// depth below 128.
pub fn parse_json(bytes: &[u8]) -> Result<Node<'_>, ConfigError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let mark = Mark::new(error.line(), error.column());
        let place = format!(" at line {} column {}", error.line(), error.column());
        let text = error.to_string();
        let message = text.strip_suffix(&place).unwrap_or(&text);
        let hint = hint(bytes, mark).map_or_else(String::new, |hint| format!("; {hint}"));
        ConfigError {
            kind: ErrorKind::Unreadable,
            path: String::new(),
            mark: Some(mark),
            message: format!("not JSON at line {}, column {}: {message}{hint}", mark.line, mark.column),
        }
    })
}

/// What was meant by a text that is not JSON, as far as it shows.
fn hint(bytes: &[u8], mark: Mark) -> Option<&'static str> {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        return Some("it begins with a byte order mark (U+FEFF): save it without one");
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let line = text.lines().nth(usize::try_from(mark.line.get()).ok()?.checked_sub(1)?)?;
    let before = usize::try_from(mark.column.get()).ok()?.saturating_sub(1);
    let at: &str = line.get(before..)?;
    if at.starts_with(['#', '/']) || line.trim_start().starts_with(['#', '/']) {
        return Some(
            "JSON has no comments: take it out, or write YAML and let `scopegate render` convert it to JSON",
        );
    }
    let is_yaml = |line: &str| line.starts_with("---") || line.contains(": ") || line.ends_with(':');
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))?;
    (!first.trim_start().starts_with(['{', '[', '"']) && is_yaml(first.trim_end())).then_some(
        "this looks like YAML: name the file `.yaml`, or let `scopegate render` convert it to JSON",
    )
}

impl Node<'_> {
    /// Where it begins; None in JSON.
    pub fn mark(&self) -> Option<Mark> {
        self.written.as_ref().map(|written| written.mark)
    }

    /// Where its key begins, or else it itself.
    pub fn key_mark(&self) -> Option<Mark> {
        self.written.as_ref().map(|written| written.key.unwrap_or(written.mark))
    }

    /// What YAML 1.1 takes it for, where that differs.
    pub fn otherwise(&self) -> Option<Otherwise> {
        self.written.as_ref().and_then(|written| written.otherwise)
    }
}

impl<'a> From<Value<'a>> for Node<'a> {
    fn from(value: Value<'a>) -> Self {
        Self { value, written: None }
    }
}

impl<'a> Value<'a> {
    /// What kind of value it is, for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// Whether any string in it, keys included, holds `text`.
    pub fn mentions(&self, text: &str) -> bool {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => false,
            Self::String(string) => string.contains(text),
            Self::List(items) => items.iter().any(|item| item.value.mentions(text)),
            Self::Map(members) => {
                members.iter().any(|member| member.key.contains(text) || member.node.value.mentions(text))
            }
        }
    }

    /// The same value for `serde_json`. Of a repeated key the first counts.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => match whole(*number) {
                Some(integer) => integer.into(),
                None => (*number).into(),
            },
            Self::String(string) => string.as_ref().into(),
            Self::List(items) => items.iter().map(|item| item.value.to_json()).collect(),
            Self::Map(members) => {
                let mut object = serde_json::Map::new();
                for member in members {
                    object.entry(member.key.as_ref()).or_insert_with(|| member.node.value.to_json());
                }
                object.into()
            }
        }
    }

    /// Hands `sink` a serialisation that differs between two values exactly where they differ in more than the order
    /// of their members: each value is a tag, a length where it has one, and its content.
    pub fn canonical(&self, sink: &mut impl FnMut(&[u8])) {
        match self {
            Self::Null => sink(b"n"),
            Self::Bool(value) => sink(if *value { b"t" } else { b"f" }),
            Self::Number(number) => {
                sink(b"d");
                // The sum turns -0.0 into 0.0.
                sink(&(number + 0.0).to_bits().to_be_bytes());
            }
            Self::String(string) => {
                sized(sink, b's', string.len());
                sink(string.as_bytes());
            }
            Self::List(items) => {
                sized(sink, b'l', items.len());
                for item in items {
                    item.value.canonical(sink);
                }
            }
            Self::Map(members) => canonical_map(members.iter(), sink),
        }
    }

    /// The same, of a map without its member `key`.
    pub fn canonical_without(&self, key: &str, sink: &mut impl FnMut(&[u8])) {
        match self {
            Self::Map(members) => canonical_map(members.iter().filter(|member| member.key != key), sink),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::List(_) => {
                self.canonical(sink);
            }
        }
    }
}

fn canonical_map<'m, 'd: 'm>(members: impl Iterator<Item = &'m Member<'d>>, sink: &mut impl FnMut(&[u8])) {
    let mut sorted: Vec<&Member<'_>> = members.collect();
    sorted.sort_by(|one, other| one.key.cmp(&other.key));
    sized(sink, b'm', sorted.len());
    for member in sorted {
        sized(sink, b'k', member.key.len());
        sink(member.key.as_bytes());
        member.node.value.canonical(sink);
    }
}

fn sized(sink: &mut impl FnMut(&[u8]), tag: u8, length: usize) {
    sink(&[tag]);
    sink(&(length as u64).to_be_bytes());
}

/// The integer that `number` is, if it is one that a double tells from its neighbours.
pub fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_991.0;
    // The bounds make the conversion exact.
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(ValueVisitor)?;
        Ok(value.into())
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number))
    }

    fn visit_borrowed_str<E>(self, string: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Borrowed(string)))
    }

    fn visit_str<E>(self, string: &str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Owned(string.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        items.shrink_to_fit();
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((Key(key), node)) = map.next_entry()? {
            members.push(Member { key, node });
        }
        members.shrink_to_fit();
        Ok(Value::Map(members))
    }
}

struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        parse_json(json.as_bytes()).unwrap().value.canonical(&mut |part| bytes.extend_from_slice(part));
        bytes
    }

    #[test]
    fn strings_without_escapes_are_borrowed() {
        let node = parse_json(br#"{"a": "b", "c": "d\n"}"#).unwrap();
        let Value::Map(members) = node.value else { panic!("a map") };
        assert!(matches!(members[0].key, Cow::Borrowed("a")));
        assert!(matches!(members[0].node.value, Value::String(Cow::Borrowed("b"))));
        assert!(matches!(&members[1].node.value, Value::String(Cow::Owned(text)) if text == "d\n"));
    }

    #[test]
    fn what_is_not_one_json_value_is_an_error_with_its_place() {
        for bytes in [
            &b""[..],
            b"{",
            b"{} {}",
            b"{a: 1}",
            b"{\"a\": 01}",
            b"[1,]",
            b"\xEF\xBB\xBF{}",
            b"\"\xFF\"",
            b"\"\\ud800\"",
            b"1e999",
            b"NaN",
            b"// {}",
        ] {
            assert!(parse_json(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        let error = parse_json(b"{\n  \"a\": oops\n}").unwrap_err();
        assert_eq!(error.mark, Some(Mark::new(2, 8)));
        assert_eq!(error.message, "not JSON at line 2, column 8: expected value");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse_json(nested(127).as_bytes()).is_ok());
        assert!(parse_json(nested(128).as_bytes()).is_err());
        assert!(parse_json(nested(100_000).as_bytes()).is_err());
    }

    #[test]
    fn the_order_of_members_and_the_spelling_of_numbers_leave_the_canonical_form_alone() {
        assert_eq!(canonical(r#"{"a": 1, "b": [true]}"#), canonical(r#"{"b":[true],"a":1.0e0}"#));
        assert_eq!(canonical("0"), canonical("-0.0"));
    }

    #[test]
    fn different_values_have_different_canonical_forms() {
        let values = [
            "null",
            "true",
            "false",
            "0",
            "1",
            r#""""#,
            r#""1""#,
            r#""ab""#,
            r#"["a","b"]"#,
            r#"["ab"]"#,
            r#"["b","a"]"#,
            r#"[["a"],"b"]"#,
            r#"[["a","b"]]"#,
            "[]",
            "{}",
            r#"{"a":"b"}"#,
            r#"{"ab":""}"#,
            r#"{"a":{"b":null}}"#,
            r#"{"a":{},"b":null}"#,
        ];
        let forms: std::collections::HashSet<_> = values.iter().map(|json| canonical(json)).collect();
        assert_eq!(forms.len(), values.len());
    }

    #[test]
    fn whole_numbers_are_integers_however_they_are_spelled() {
        for (json, expected) in
            [("5", Some(5)), ("5.0", Some(5)), ("5e0", Some(5)), ("50e-1", Some(5)), ("5.5", None)]
        {
            let Value::Number(number) = parse_json(json.as_bytes()).unwrap().value else {
                panic!("a number")
            };
            assert_eq!(whole(number), expected, "{json}");
        }
        assert_eq!(whole(9_007_199_254_740_992.0), None);
        assert_eq!(whole(f64::INFINITY), None);
        assert_eq!(whole(f64::NAN), None);
    }
}
