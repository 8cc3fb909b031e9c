//! A JSON object as one flat list, for the segments of a token.
//!
//! It takes what [`super::json::parse_object`] takes, and refuses what that refuses; but names and texts stay where they
//! stand in the JSON, and a lookup walks the members. For the dozen claims of a token, a map of owned values takes some
//! 20,000 instructions of WebAssembly more: allocations for each name and text, and a `memcmp` for each comparison.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A JSON object, each of whose members has a name of its own, at any depth.
#[derive(Clone, Debug, PartialEq)]
pub struct Members {
    /// The JSON, and behind it the texts that have escapes in it, without them.
    text: String,
    json_length: usize,
    /// Values in the order of the JSON; what is in an array or object follows it. The object itself is the first.
    nodes: Vec<Node>,
}

/// A value, with its name if it is a member.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Node {
    name: Span,
    /// [`mark`] of the name.
    mark: u32,
    content: Content,
    /// The place behind this value and all that is in it.
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(Span),
    Array,
    Object,
}

/// A part of the text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Span {
    start: usize,
    length: usize,
}

/// A JSON number, as `serde_json` reads it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer that is not negative.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// Any other number; finite.
    Float(f64),
}

/// A JSON value within [`Members`].
#[derive(Clone, Copy, Debug)]
pub enum Value<'m> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(&'m str),
    /// An array.
    Array(Inside<'m>),
    /// An object.
    Object(Inside<'m>),
}

/// What is in an array or object.
#[derive(Clone, Copy, Debug)]
pub struct Inside<'m> {
    members: &'m Members,
    next: usize,
    end: usize,
}

impl Members {
    /// Reads `json` as one object. None where it is none, or names a member twice in any object.
    pub fn parse(json: String) -> Option<Self> {
        let mut reader = Reader {
            json: &json,
            unescaped: String::new(),
            // Most members take more; where they don't, the list grows.
            nodes: Vec::with_capacity(json.len() / 20 + 2),
        };
        let mut document = serde_json::Deserializer::from_str(&json);
        ReadValue { reader: &mut reader, name: Name::default() }.deserialize(&mut document).ok()?;
        document.end().ok()?;
        let Reader { unescaped, nodes, .. } = reader;
        if !matches!(nodes.first(), Some(Node { content: Content::Object, .. })) {
            return None;
        }
        let json_length = json.len();
        let mut text = json;
        text.push_str(&unescaped);
        Some(Self { text, json_length, nodes })
    }

    /// The member of this name, `null` included.
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        Inside { members: self, next: 1, end: self.nodes.len() }.get(name)
    }

    /// The JSON that it was read from.
    pub fn into_json(self) -> Box<str> {
        let mut json = self.text;
        json.truncate(self.json_length);
        json.into()
    }

    fn text(&self, span: Span) -> &str {
        text_at(&self.text, span)
    }

    fn is_named(&self, node: &Node, name: &str) -> bool {
        // A name of three bytes is in its mark, whole.
        node.name.length == name.len() && (name.len() <= 3 || self.text(node.name) == name)
    }

    fn value(&self, place: usize, node: &Node) -> Value<'_> {
        let inside = Inside { members: self, next: place + 1, end: node.end };
        match node.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(value),
            Content::Number(number) => Value::Number(number),
            Content::Text(span) => Value::Text(self.text(span)),
            Content::Array => Value::Array(inside),
            Content::Object => Value::Object(inside),
        }
    }
}

impl<'m> Value<'m> {
    /// The text, if it is one.
    pub fn as_text(self) -> Option<&'m str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// What is in it, if it is an object.
    pub fn as_object(self) -> Option<Inside<'m>> {
        match self {
            Self::Object(inside) => Some(inside),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Array(_) => None,
        }
    }
}

impl<'m> Inside<'m> {
    /// The member of this name, `null` included; of an object.
    pub fn get(self, name: &str) -> Option<Value<'m>> {
        let mark = mark(name);
        let nodes = self.members.nodes.get(..self.end)?;
        let mut place = self.next;
        while let Some(node) = nodes.get(place) {
            if node.mark == mark && self.members.is_named(node, name) {
                return Some(self.members.value(place, node));
            }
            place = node.end;
        }
        None
    }

    /// How many values there are, those within them not counted.
    pub fn count(mut self) -> usize {
        std::iter::from_fn(|| self.step()).count()
    }

    /// The values.
    pub fn values(mut self) -> impl Iterator<Item = Value<'m>> {
        std::iter::from_fn(move || self.step().map(|(place, node)| self.members.value(place, node)))
    }

    fn step(&mut self) -> Option<(usize, &'m Node)> {
        let place = self.next;
        let node = self.members.nodes.get(place).filter(|_| place < self.end)?;
        self.next = node.end;
        Some((place, node))
    }
}

/// The length of a name and three of its bytes: names of different marks differ. Nearly all do; `memcmp` is dear to
/// call in WebAssembly.
fn mark(name: &str) -> u32 {
    let byte = |place: usize| name.as_bytes().get(place).copied().unwrap_or_default();
    let length = name.len();
    u32::from_le_bytes([length as u8, byte(0), byte(length / 2), byte(length.wrapping_sub(1))])
}

fn text_at(text: &str, span: Span) -> &str {
    text.get(span.start..span.start + span.length).unwrap_or_default()
}

/// The list while it grows.
struct Reader<'j> {
    json: &'j str,
    unescaped: String,
    nodes: Vec<Node>,
}

impl Reader<'_> {
    fn push(&mut self, Name { span: name, mark }: Name, content: Content) {
        let end = self.nodes.len() + 1;
        self.nodes.push(Node { name, mark, content, end });
    }

    /// Ends the array or object at `place`.
    fn close(&mut self, place: usize) {
        let end = self.nodes.len();
        if let Some(node) = self.nodes.get_mut(place) {
            node.end = end;
        }
    }

    /// Where a text stands that is a part of the JSON.
    fn span(&mut self, part: &str) -> Span {
        let start = part.as_ptr().addr().wrapping_sub(self.json.as_ptr().addr());
        if start < self.json.len() { Span { start, length: part.len() } } else { self.keep(part) }
    }

    /// Where a text is kept that is no part of the JSON.
    fn keep(&mut self, text: &str) -> Span {
        let start = self.json.len() + self.unescaped.len();
        self.unescaped.push_str(text);
        Span { start, length: text.len() }
    }

    fn text(&self, span: Span) -> &str {
        match span.start.checked_sub(self.json.len()) {
            Some(start) => text_at(&self.unescaped, Span { start, ..span }),
            None => text_at(self.json, span),
        }
    }

    /// Whether the object at `place`, which ends the list and has `count` members, names one twice.
    fn has_repeated_name(&self, place: usize, count: usize) -> bool {
        /// Up to here each pair of marks is compared; beyond, sorting takes fewer comparisons. Senders choose the
        /// number.
        const FEW: usize = 24;
        let mut marks = [0; FEW];
        if let Some(marks) = marks.get_mut(..count) {
            for (mark, member) in marks.iter_mut().zip(self.members_of(place)) {
                *mark = member.mark;
            }
            let mut left = &*marks;
            while let [mark, others @ ..] = left {
                if others.contains(mark) {
                    break;
                }
                left = others;
            }
            if left.is_empty() {
                return false;
            }
        }
        let mut names: Vec<&str> = self.members_of(place).map(|member| self.text(member.name)).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| matches!(pair, [one, other] if one == other))
    }

    /// The members of the object at `place`, which ends the list.
    fn members_of(&self, place: usize) -> impl Iterator<Item = &Node> {
        let mut next = place + 1;
        std::iter::from_fn(move || {
            let node = self.nodes.get(next)?;
            next = node.end;
            Some(node)
        })
    }
}

/// The name of a member. Elements of arrays have an empty one.
#[derive(Clone, Copy, Default)]
struct Name {
    span: Span,
    mark: u32,
}

/// Reads one value with all that is in it.
struct ReadValue<'r, 'j> {
    reader: &'r mut Reader<'j>,
    name: Name,
}

impl ReadValue<'_, '_> {
    fn push<E>(self, content: Content) -> Result<(), E> {
        self.reader.push(self.name, content);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for ReadValue<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadValue<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.push(Content::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.push(Content::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.push(Content::Number(Number::Unsigned(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.push(Content::Number(match u64::try_from(value) {
            Ok(value) => Number::Unsigned(value),
            Err(_) => Number::Negative(value),
        }))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        if !value.is_finite() {
            return Err(E::custom("not a finite number"));
        }
        self.push(Content::Number(Number::Float(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        let span = self.reader.span(value);
        self.push(Content::Text(span))
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        let span = self.reader.keep(value);
        self.push(Content::Text(span))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { reader, name } = self;
        let place = reader.nodes.len();
        reader.push(name, Content::Array);
        while elements.next_element_seed(ReadValue { reader, name: Name::default() })?.is_some() {}
        reader.close(place);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { reader, name } = self;
        let place = reader.nodes.len();
        reader.push(name, Content::Object);
        let mut count = 0;
        while let Some(name) = members.next_key_seed(ReadName { reader })? {
            members.next_value_seed(ReadValue { reader, name })?;
            count += 1;
        }
        reader.close(place);
        if reader.has_repeated_name(place, count) {
            return Err(A::Error::custom("repeated member"));
        }
        Ok(())
    }
}

/// Reads the name of a member.
struct ReadName<'r, 'j> {
    reader: &'r mut Reader<'j>,
}

impl<'de> DeserializeSeed<'de> for ReadName<'_, '_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for ReadName<'_, '_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name, E> {
        Ok(Name { span: self.reader.span(name), mark: mark(name) })
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(Name { span: self.reader.keep(name), mark: mark(name) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::jose::json::{JsonError, parse_object};

    /// The same as a map, to be compared with what `serde_json` reads.
    fn value(value: Value<'_>) -> serde_json::Value {
        match value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => value.into(),
            Value::Number(Number::Unsigned(value)) => value.into(),
            Value::Number(Number::Negative(value)) => value.into(),
            Value::Number(Number::Float(value)) => value.into(),
            Value::Text(text) => text.into(),
            Value::Array(inside) => inside.values().map(self::value).collect(),
            Value::Object(inside) => {
                let mut names = inside;
                let names =
                    std::iter::from_fn(|| names.step().map(|(_, node)| inside.members.text(node.name)));
                names
                    .zip(inside.values())
                    .map(|(name, member)| (name.to_owned(), self::value(member)))
                    .collect()
            }
        }
    }

    fn object(members: &Members) -> serde_json::Value {
        value(members.value(0, &members.nodes[0]))
    }

    fn parse(json: &str) -> Option<serde_json::Value> {
        let members = Members::parse(json.to_owned())?;
        let object = object(&members);
        for (name, expected) in object.as_object().unwrap() {
            assert_eq!(members.get(name).map(value).as_ref(), Some(expected), "{name} of {json}");
        }
        assert_eq!(&*members.into_json(), json);
        Some(object)
    }

    fn both(json: &str) -> Option<serde_json::Value> {
        let read = parse(json);
        assert_eq!(read, parse_object(json.as_bytes()).ok().map(serde_json::Value::Object), "{json}");
        read
    }

    #[test]
    fn an_object_is_read_as_the_map_reads_it() {
        let text = r#" {"a":[1,-2,3.5,true,null,"x",{"b":{}},-0,1e3],"c":"\u00e9","d":18446744073709551615,
            "":"","\u0041\n":["\"",""],"f":36893488147419103232,"g":[[],[[]]],"h":"é"} "#;
        assert!(both(text).is_some());
        assert_eq!(both("{}"), Some(json!({})));
        assert!(both(r#"{"abcd":1,"aXcd":2,"":3,"\u0000":4,"é":5}"#).is_some(), "alike but for a byte");
    }

    #[test]
    fn a_member_named_twice_is_refused_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"b":[{"c":[{"a":null,"x":0,"a":2}]}]}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"\u0061":1,"a":2}"#,
            r#"{"\u0061":1,"\u0061":2}"#,
            r#"{"":1,"b":"","":2}"#,
            r#"{"abcd":1,"aXcd":2,"abcd":3}"#,
        ] {
            assert_eq!(both(text), None, "{text}");
        }
        assert!(both(r#"{"a":{"a":{"a":1}},"A":1,"b":[{"a":1},{"a":2}]}"#).is_some(), "in other objects");
    }

    #[test]
    fn the_last_of_any_number_of_members_may_not_repeat_any_other() {
        for count in (1..60).chain([500]) {
            let members: Vec<_> = (0..count).map(|number| format!("\"m{number}\":[{{}}]")).collect();
            assert!(both(&format!("{{{}}}", members.join(","))).is_some(), "{count}");
            for repeated in [0, count / 2, count - 1] {
                let text = format!("{{{},\"m{repeated}\":0}}", members.join(","));
                assert_eq!(both(&text), None, "{repeated} of {count}");
            }
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in [
            "[]",
            "1",
            "null",
            "\"{}\"",
            "[{}]",
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
            r#"{"a":"\ud800"}"#,
            "{1:2}",
            "{\"a\":\"\u{1}\"}",
        ] {
            assert_eq!(both(text), None, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_where_the_map_refuses_it() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(both(&nested(127)).is_some());
        assert_eq!(both(&nested(128)), None);
        assert_eq!(both(&nested(10_000)), None);
        assert_eq!(both(&format!("{{\"a\":{}", "[".repeat(1_000_000))), None);
    }

    #[test]
    fn many_members_cost_in_proportion() {
        let text = |count: usize| {
            let members: Vec<_> = (0..count).map(|number| format!("\"{number:x}\":1")).collect();
            format!("{{{}}}", members.join(","))
        };
        let fastest = |count| {
            let text = text(count);
            let time = || {
                #[expect(clippy::disallowed_methods, reason = "a test measures")]
                let begun = std::time::Instant::now();
                assert!(Members::parse(text.clone()).is_some());
                begun.elapsed()
            };
            (0..30).map(|_| time()).min().unwrap()
        };
        // 16 KiB and an eighth of it: a quadratic reader takes 64 times as long, this one less than 10 times.
        let (many, few) = (fastest(2_048), fastest(256));
        assert!(many < few * 24, "{many:?} for 2048 members, {few:?} for 256");
    }

    fn json_value() -> impl Strategy<Value = serde_json::Value> {
        let text = prop_oneof![3 => "[a-c]{0,2}", 1 => "[\\\\\"\\n\\t\u{1}\u{e9}\u{1f600}a]{0,4}", 1 => any::<String>()];
        let scalar = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            text.clone().prop_map(Into::into),
        ];
        scalar.prop_recursive(5, 60, 8, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                proptest::collection::vec((text.clone(), inner), 0..8)
                    .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    /// JSON with names that repeat, are escaped, and nest.
    fn json_text() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            sample("0|-0|1|-1|1.5|1e2|-7e-3|18446744073709551616|true|false|null|tru|01"),
            sample(r#"""|"a"|"\u0061"|"\n\""|"é"|"\ud83d\ude00"|"\ud800""#),
        ];
        let name = sample(r#"""|"a"|"b"|"c"|"\u0061"|"a\u0000"|"é"|"\u00e9""#);
        scalar.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4)
                    .prop_map(|all| format!("[{}]", all.join(", "))),
                proptest::collection::vec((name.clone(), inner), 0..4).prop_map(|all| {
                    let all: Vec<_> =
                        all.into_iter().map(|(name, value)| format!("{name} :{value}")).collect();
                    format!("{{{}}}", all.join(","))
                }),
            ]
        })
    }

    fn sample(choices: &'static str) -> impl Strategy<Value = String> + Clone {
        proptest::sample::select(choices.split('|').map(str::to_owned).collect::<Vec<_>>())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_json_is_read_as_serde_json_reads_it(value in json_value()) {
            let text = value.to_string();
            // By the same digits: what is written is not always read as the very same float.
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(parse(&text), Some(value).filter(serde_json::Value::is_object));
        }

        #[test]
        fn what_the_map_refuses_is_refused_and_nothing_else(text in json_text()) {
            both(&text);
            both(&format!("{{\"a\":{text}}}"));
            let repeats = matches!(parse_object(text.as_bytes()), Err(JsonError::RepeatedMember(_)));
            prop_assert!(!(repeats && parse(&text).is_some()));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>(), bytes in "[\\[\\]{}\",:a0\\\\ue\\-. ]{0,40}") {
            both(&text);
            both(&bytes);
        }
    }
}
