//! A `google.protobuf.Struct` in its wire format: how Envoy hands a configuration over that stands in its own
//! configuration as a `Struct`, though its documentation speaks of JSON.
//!
//! A message is read whole or not at all. Unknown fields, wire types that do not fit and text that is not UTF-8 refuse
//! it; a repeated key is kept, as in JSON, and reported with its path.

use std::borrow::Cow;

use super::document::{Member, Node, Value};

/// How deep a configuration may nest, as in JSON.
const MAX_DEPTH: usize = 127;

/// Reads the fields of a `Struct`; None where `bytes` are not one.
pub fn parse_struct(bytes: &[u8]) -> Option<Node<'_>> {
    read_struct(bytes, MAX_DEPTH).map(node)
}

fn node(value: Value<'_>) -> Node<'_> {
    value.into()
}

/// `map<string, Value> fields = 1`: each entry is a message of its own, key 1 and value 2.
fn read_struct(mut bytes: &[u8], depth: usize) -> Option<Value<'_>> {
    let depth = depth.checked_sub(1)?;
    let mut members = Vec::new();
    while !bytes.is_empty() {
        let (field, rest) = read_field(bytes)?;
        bytes = rest;
        let Field { number: 1, content: Content::Bytes(entry) } = field else { return None };
        members.push(read_entry(entry, depth)?);
    }
    Some(Value::Map(members))
}

fn read_entry(mut bytes: &[u8], depth: usize) -> Option<Member<'_>> {
    let (mut key, mut value) = (None, None);
    while !bytes.is_empty() {
        let (field, rest) = read_field(bytes)?;
        bytes = rest;
        match (field.number, field.content) {
            (1, Content::Bytes(text)) if key.is_none() => key = Some(std::str::from_utf8(text).ok()?),
            (2, Content::Bytes(content)) if value.is_none() => value = Some(read_value(content, depth)?),
            _ => return None,
        }
    }
    // An absent key is the empty one; a value that is no value cannot be written in JSON.
    Some(Member { key: Cow::Borrowed(key.unwrap_or_default()), node: node(value?) })
}

/// One of `null_value = 1`, `number_value = 2`, `string_value = 3`, `bool_value = 4`, `struct_value = 5` and
/// `list_value = 6`.
fn read_value(bytes: &[u8], depth: usize) -> Option<Value<'_>> {
    let (field, rest) = read_field(bytes)?;
    if !rest.is_empty() {
        return None;
    }
    match (field.number, field.content) {
        (1, Content::Varint(0)) => Some(Value::Null),
        (2, Content::Fixed64(bits)) => Some(Value::Number(f64::from_bits(bits))),
        (3, Content::Bytes(text)) => {
            std::str::from_utf8(text).ok().map(|text| Value::String(Cow::Borrowed(text)))
        }
        (4, Content::Varint(flag @ (0 | 1))) => Some(Value::Bool(flag == 1)),
        (5, Content::Bytes(fields)) => read_struct(fields, depth),
        (6, Content::Bytes(values)) => read_list(values, depth),
        _ => None,
    }
}

/// `repeated Value values = 1`.
fn read_list(mut bytes: &[u8], depth: usize) -> Option<Value<'_>> {
    let depth = depth.checked_sub(1)?;
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let (field, rest) = read_field(bytes)?;
        bytes = rest;
        let Field { number: 1, content: Content::Bytes(item) } = field else { return None };
        items.push(node(read_value(item, depth)?));
    }
    Some(Value::List(items))
}

struct Field<'a> {
    number: u64,
    content: Content<'a>,
}

enum Content<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

/// One field of a message and what follows it.
fn read_field(bytes: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (tag, rest) = read_varint(bytes)?;
    let number = tag >> 3;
    let (content, rest) = match tag & 7 {
        0 => read_varint(rest).map(|(value, rest)| (Content::Varint(value), rest))?,
        1 => rest
            .split_first_chunk::<8>()
            .map(|(bits, rest)| (Content::Fixed64(u64::from_le_bytes(*bits)), rest))?,
        2 => {
            let (length, rest) = read_varint(rest)?;
            let (content, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Content::Bytes(content), rest)
        }
        _ => return None,
    };
    Some((Field { number, content }, rest))
}

fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * place);
        if shifted >> (7 * place) != bits {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return bytes.get(place + 1..).map(|rest| (value, rest));
        }
    }
    None
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The wire format of `json` as a `Struct`: an encoder apart from the decoder above.
    pub fn encode(json: &serde_json::Value) -> Vec<u8> {
        fn field(number: u8, content: &[u8]) -> Vec<u8> {
            let mut bytes = vec![number << 3 | 2];
            let mut length = content.len();
            while length >= 0x80 {
                bytes.push(length as u8 | 0x80);
                length >>= 7;
            }
            bytes.push(length as u8);
            [&bytes, content].concat()
        }
        fn value(json: &serde_json::Value) -> Vec<u8> {
            match json {
                serde_json::Value::Null => vec![1 << 3, 0],
                serde_json::Value::Bool(flag) => vec![4 << 3, u8::from(*flag)],
                serde_json::Value::Number(number) => {
                    [&[2 << 3 | 1][..], &number.as_f64().unwrap().to_le_bytes()].concat()
                }
                serde_json::Value::String(text) => field(3, text.as_bytes()),
                serde_json::Value::Array(items) => {
                    let items: Vec<u8> = items.iter().flat_map(|item| field(1, &value(item))).collect();
                    field(6, &items)
                }
                serde_json::Value::Object(_) => field(5, &encode(json)),
            }
        }
        let entry = |(key, json): (&String, &serde_json::Value)| {
            field(1, &[field(1, key.as_bytes()), field(2, &value(json))].concat())
        };
        json.as_object().unwrap().iter().flat_map(entry).collect()
    }

    #[test]
    fn a_struct_reads_as_the_json_that_it_was_made_of() {
        let json = serde_json::json!({
            "version": 1, "flag": true, "off": false, "none": null, "ratio": 0.5, "": "",
            "list": [1, "two", [], {}, null], "nested": {"text": "é\u{1f600}".repeat(40), "deeper": {"x": [[["y"]]]}},
        });
        let node = parse_struct(&encode(&json)).unwrap().value.to_json();
        assert_eq!(node, json);
    }

    #[test]
    fn what_is_cut_short_or_has_a_byte_too_many_is_no_struct() {
        let bytes = encode(&serde_json::json!({"a": {"b": [1, true, "text"]}}));
        for length in 1..bytes.len() {
            assert_eq!(parse_struct(&bytes[..length]), None, "{length}");
        }
        assert_eq!(parse_struct(&[&bytes[..], b"\0"].concat()), None);
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        let mut bytes = encode(&serde_json::json!({"a": "x"}));
        *bytes.last_mut().unwrap() = 0xff;
        assert_eq!(parse_struct(&bytes), None);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested =
            |depth: usize| (0..depth).fold(serde_json::json!({}), |inner, _| serde_json::json!({"a": inner}));
        assert!(parse_struct(&encode(&nested(126))).is_some());
        assert_eq!(parse_struct(&encode(&nested(127))), None);
    }
}
