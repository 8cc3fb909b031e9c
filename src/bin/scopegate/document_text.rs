//! Writes documents as JSON and YAML, members in their order.
//!
//! YAML is written by hand, since emitters write neither short collections on one line nor quotes around the
//! words that older readers take for something else; a property test reads back what is written.

use std::borrow::Cow;

use scopegate::config::document::{Member, Node, Value, whole};

/// A map of these members.
pub fn map<'a>(members: impl IntoIterator<Item = (&'a str, Value<'a>)>) -> Value<'a> {
    let member = |(key, value): (&'a str, Value<'a>)| Member { key: Cow::Borrowed(key), node: value.into() };
    Value::Map(members.into_iter().map(member).collect())
}

/// A list of these items.
pub fn list<'a>(items: impl IntoIterator<Item = Value<'a>>) -> Value<'a> {
    Value::List(items.into_iter().map(Node::from).collect())
}

/// A string.
pub fn string<'a>(text: impl Into<Cow<'a, str>>) -> Value<'a> {
    Value::String(text.into())
}

/// Indented JSON, without a line feed at its end.
pub fn json(value: &Value<'_>) -> String {
    let mut text = String::new();
    write_json(value, 0, &mut text);
    text
}

/// Block YAML 1.2 that older readers take for the same, with a line feed at its end. Short collections stand
/// on one line, texts of several lines as they are.
pub fn yaml(value: &Value<'_>) -> String {
    let mut text = String::new();
    write_yaml(value, 0, Position::Line, &mut text);
    text
}

/// How long a line may get before a collection is spread over several, in bytes.
const LONGEST: usize = 100;

/// A scalar behind a key or a dash, with a line feed at its end.
pub fn leaf(value: &Value<'_>, depth: usize, text: &mut String) {
    write_yaml(value, depth + 1, Position::Key, text);
}

fn write_json(value: &Value<'_>, depth: usize, text: &mut String) {
    let indent = |text: &mut String, depth: usize| {
        text.push('\n');
        text.push_str(&"  ".repeat(depth));
    };
    if let Some(line) = json_line(value).filter(|line| line.len() + 2 * depth <= LONGEST) {
        text.push_str(&line);
        return;
    }
    match value {
        Value::List(items) if !items.is_empty() => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                indent(text, depth + 1);
                write_json(&item.value, depth + 1, text);
            }
            indent(text, depth);
            text.push(']');
        }
        Value::Map(members) if !members.is_empty() => {
            text.push('{');
            for (index, member) in members.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                indent(text, depth + 1);
                text.push_str(&quoted(&member.key));
                text.push_str(": ");
                write_json(&member.node.value, depth + 1, text);
            }
            indent(text, depth);
            text.push('}');
        }
        Value::String(string) => text.push_str(&quoted(string)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
            text.push_str(&flow(value));
        }
    }
}

/// A collection of scalars alone, on one line.
fn json_line(value: &Value<'_>) -> Option<String> {
    let leaf = |value: &Value<'_>| match value {
        Value::String(string) => Some(quoted(string)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(flow(value)),
        Value::List(_) | Value::Map(_) => None,
    };
    match value {
        Value::List(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| leaf(&item.value)).collect();
            Some(format!("[{}]", items?.join(", ")))
        }
        Value::Map(members) => {
            let member =
                |member: &Member<'_>| Some(format!("{}: {}", quoted(&member.key), leaf(&member.node.value)?));
            let members: Option<Vec<String>> = members.iter().map(member).collect();
            Some(format!("{{{}}}", members?.join(", ")))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Where a YAML value starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    /// On a line of its own, its indentation written.
    Line,
    /// Behind a key.
    Key,
}

fn write_yaml(value: &Value<'_>, depth: usize, position: Position, text: &mut String) {
    let indentation = "  ".repeat(depth);
    let short = flow(value);
    let is_nested = |value: &Value<'_>| match value {
        Value::List(items) => items
            .iter()
            .any(|item| !matches!(item.value, Value::String(_) | Value::Number(_) | Value::Bool(_))),
        Value::Map(members) => {
            members.iter().any(|member| matches!(member.node.value, Value::List(_) | Value::Map(_)))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    let fits =
        short.len() + 2 * depth <= LONGEST && (!is_nested(value) || depth > 2) && position == Position::Key
            || matches!(value, Value::Map(members) if members.is_empty())
            || matches!(value, Value::List(items) if items.is_empty());
    match value {
        Value::String(string) if is_block_text(string) => {
            text.push_str(if position == Position::Key { " |-\n" } else { "|-\n" });
            for line in string.split('\n') {
                if !line.is_empty() {
                    text.push_str(&indentation);
                    text.push_str(line);
                }
                text.push('\n');
            }
        }
        Value::Map(members) if !fits => {
            if position == Position::Key {
                text.push('\n');
            }
            for (index, member) in members.iter().enumerate() {
                if index > 0 || position == Position::Key {
                    text.push_str(&indentation);
                }
                text.push_str(&scalar(&member.key));
                text.push(':');
                write_yaml(&member.node.value, depth + 1, Position::Key, text);
            }
        }
        Value::List(items) if !fits => {
            if position == Position::Key {
                text.push('\n');
            }
            for (index, item) in items.iter().enumerate() {
                if index > 0 || position == Position::Key {
                    text.push_str(&indentation);
                }
                text.push_str("- ");
                let item_short = flow(&item.value);
                let is_small_map = matches!(item.value, Value::Map(_))
                    && item_short.len() + 2 * depth <= LONGEST
                    && (depth > 1 || !is_nested(&item.value));
                if is_small_map {
                    text.push_str(&item_short);
                    text.push('\n');
                } else {
                    write_yaml(&item.value, depth + 1, Position::Line, text);
                }
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::List(_)
        | Value::Map(_) => {
            if position == Position::Key {
                text.push(' ');
            }
            text.push_str(&short);
            text.push('\n');
        }
    }
}

/// A value on one line.
pub fn flow(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match whole(*number) {
            Some(integer) => integer.to_string(),
            None => number.to_string(),
        },
        Value::String(text) => scalar(text),
        Value::List(items) => {
            format!("[{}]", items.iter().map(|item| flow(&item.value)).collect::<Vec<_>>().join(", "))
        }
        Value::Map(members) => {
            let member =
                |member: &Member<'_>| format!("{}: {}", scalar(&member.key), flow(&member.node.value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A string as it is if every reader of YAML takes it for that string; else in quotes.
pub fn scalar(text: &str) -> String {
    const WORDS: [&str; 11] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./+=".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    // A URI's colon is followed by a slash, which no mapping's is.
    let is_uri = ["https://", "http://", "oci://"].iter().any(|scheme| {
        text.strip_prefix(scheme).is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        })
    });
    if is_plain || is_uri { text.to_owned() } else { quoted(text) }
}

fn is_block_text(text: &str) -> bool {
    text.contains('\n')
        && !text.ends_with('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && text.chars().all(|c| matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{2027}'))
}

/// A JSON string, which is a double-quoted scalar of YAML too: what YAML does not print is escaped.
fn quoted(text: &str) -> String {
    let is_unprinted = |c: char| {
        matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    let mut quoted = String::with_capacity(text.len() + 2);
    for c in serde_json::Value::from(text).to_string().chars() {
        match is_unprinted(c) {
            true => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scopegate::config::yaml_to_json;

    use super::*;

    fn any_value() -> impl Strategy<Value = serde_json::Value> {
        let text = prop_oneof![
            "[ -~]{0,12}",
            "[a-z]{1,8}",
            "\\PC{0,6}",
            "[a-z \\n:#-]{0,20}",
            Just("null".to_owned()),
            Just("~".to_owned()),
            Just("0x1f".to_owned()),
            Just("1e3".to_owned()),
            Just("https://a/b".to_owned()),
            any::<String>(),
        ];
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            (-1_000_000i64..1_000_000).prop_map(Into::into),
            text.clone().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(text.clone(), inner, 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_written_is_read_as_the_same(original in any_value()) {
            let text = original.to_string();
            let node = scopegate::config::document::parse_json(text.as_bytes()).unwrap();
            let json: serde_json::Value = serde_json::from_str(&json(&node.value)).unwrap();
            prop_assert_eq!(&json, &original);
            let yaml = yaml(&node.value);
            let read = yaml_to_json(&yaml).map_err(|error| TestCaseError::fail(format!("{error}:\n{yaml}")))?;
            prop_assert_eq!(&read, &original, "{}", yaml);
        }
    }

    #[test]
    fn words_that_some_reader_takes_for_something_else_are_quoted() {
        for text in [
            "yes", "No", "on", "null", "1", "1e3", ".5", "-", "", "a: b", "a #b", "*", "{tenant}", "0o7",
            "NaN",
        ] {
            assert!(scalar(text).starts_with('"'), "{text}");
        }
        for text in
            ["acme", "tc.service.read", "/tc/requests", "x-api-version", "https://login.example.com/a"]
        {
            assert_eq!(scalar(text), text);
        }
    }

    #[test]
    fn order_is_kept_and_small_things_stand_on_one_line() {
        let node = scopegate::config::document::parse_json(
            br#"{"b": 1, "a": {"d": "x", "c": ["p", "q"]}, "list": [{"name": "m", "path": "/p"}], "empty": []}"#,
        )
        .unwrap();
        assert_eq!(
            yaml(&node.value),
            "b: 1\na:\n  d: x\n  c: [p, q]\nlist:\n  - {name: m, path: /p}\nempty: []\n"
        );
    }
}
