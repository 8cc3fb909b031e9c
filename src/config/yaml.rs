//! YAML 1.2, as far as a configuration needs it: one document, the core schema, no aliases, no tags but `!!str`.
//!
//! JSON is a subset of YAML, so JSON text gets lines and columns here too.

use std::borrow::Cow;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use super::document::{Mark, Member, Node, Otherwise, Value, Written};
use super::error::ConfigError;
use super::kind::ErrorKind;

/// How deep lists and maps may nest; what JSON allows.
const MAX_DEPTH: usize = 127;

/// Reads one YAML document.
///
/// Aliases are refused: they are how a small text becomes a large document.
pub fn parse(text: &str) -> Result<Node<'_>, ConfigError> {
    let mut documents = read(text, 1)?;
    documents.pop().ok_or_else(nothing)
}

/// Reads a stream of YAML documents, leaving out empty ones.
pub fn parse_stream(text: &str) -> Result<Vec<Node<'_>>, ConfigError> {
    let mut documents = read(text, usize::MAX)?;
    if documents.len() > 1 {
        documents.retain(|document| document.value != Value::Null);
    }
    if documents.is_empty() { Err(nothing()) } else { Ok(documents) }
}

fn nothing() -> ConfigError {
    refused_as(ErrorKind::NotOneDocument, None, "the document is empty")
}

/// The documents of a stream, `most` at most.
fn read(text: &str, most: usize) -> Result<Vec<Node<'_>>, ConfigError> {
    let mut events = Parser::new_from_str(text);
    let mut builder = Builder::default();
    let mut documents = Vec::new();
    let mut begun = 0;
    loop {
        let (event, span) = match events.next_event() {
            None => break,
            Some(Err(error)) => {
                return Err(refused(
                    error.marker(),
                    &format!(
                        "not YAML at line {}, column {}: {}",
                        error.marker().line(),
                        error.marker().col() + 1,
                        error.info()
                    ),
                ));
            }
            Some(Ok(event)) => event,
        };
        match event {
            Event::Nothing | Event::StreamStart => {}
            Event::DocumentEnd => documents.extend(builder.root.take()),
            Event::StreamEnd => break,
            Event::DocumentStart(_) => {
                begun += 1;
                if begun > most {
                    let mark = mark(&span.start);
                    return Err(refused_as(
                        ErrorKind::NotOneDocument,
                        Some(mark),
                        "there is more than one document",
                    ));
                }
            }
            Event::Alias(_) => return Err(refused(&span.start, "aliases (`*name`) are not supported")),
            Event::Scalar(text, style, _, tag) => builder.scalar(text, style, tag.as_deref(), span)?,
            Event::SequenceStart(_, tag) => builder.open(Value::List(Vec::new()), tag.as_deref(), span)?,
            Event::MappingStart(_, tag) => builder.open(Value::Map(Vec::new()), tag.as_deref(), span)?,
            Event::SequenceEnd | Event::MappingEnd => builder.close(),
        }
    }
    Ok(documents)
}

#[derive(Default)]
struct Builder<'a> {
    open: Vec<Open<'a>>,
    root: Option<Node<'a>>,
}

struct Open<'a> {
    node: Node<'a>,
    /// The key whose value comes next.
    key: Option<(Cow<'a, str>, Mark)>,
}

impl<'a> Builder<'a> {
    fn scalar(
        &mut self,
        text: Cow<'a, str>,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), ConfigError> {
        if let Some(Open { node: Node { value: Value::Map(_), .. }, key: key @ None }) = self.open.last_mut()
        {
            *key = Some((text, mark(&span.start)));
            return Ok(());
        }
        let is_string = match tag {
            None => style != ScalarStyle::Plain,
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => true,
            Some(_) => return Err(refused(&span.start, "tags other than `!!str` are not supported")),
        };
        let otherwise = if is_string { None } else { otherwise(&text) };
        let value = if is_string { Value::String(text) } else { plain(text) };
        self.put(written(value, &span, otherwise));
        Ok(())
    }

    fn open(&mut self, value: Value<'a>, tag: Option<&Tag>, span: Span) -> Result<(), ConfigError> {
        if tag.is_some() {
            return Err(refused(&span.start, "tags other than `!!str` are not supported"));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(refused(&span.start, "lists and maps are nested too deep"));
        }
        if let Some(Open { node: Node { value: Value::Map(_), .. }, key: None }) = self.open.last() {
            return Err(refused(&span.start, "a key must be a string"));
        }
        self.open.push(Open { node: written(value, &span, None), key: None });
        Ok(())
    }

    fn close(&mut self) {
        if let Some(Open { node, .. }) = self.open.pop() {
            self.put(node);
        }
    }

    fn put(&mut self, node: Node<'a>) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { node: Node { value: Value::List(items), .. }, .. }) => items.push(node),
            Some(Open { node: Node { value: Value::Map(members), .. }, key }) => {
                let (key, key_mark) = key.take().unzip();
                let written = node.written.map(|written| Box::new(Written { key: key_mark, ..*written }));
                let node = Node { written, ..node };
                members.push(Member { key: key.unwrap_or_default(), node });
            }
            // Only lists and maps are opened.
            Some(_) => {}
        }
    }
}

fn written<'a>(value: Value<'a>, span: &Span, otherwise: Option<Otherwise>) -> Node<'a> {
    let written = Written { mark: mark(&span.start), key: None, otherwise };
    Node { value, written: Some(Box::new(written)) }
}

/// What YAML 1.1 takes a plain scalar for, where the core schema does not (yaml-cpp, which Envoy reads its own
/// configuration with).
fn otherwise(text: &str) -> Option<Otherwise> {
    const WORDS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    if WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return Some(Otherwise::Boolean);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_octal =
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_octal.then_some(Otherwise::Octal)
}

/// What a plain scalar means in the core schema (YAML 1.2.2 section 10.3.2).
fn plain(text: Cow<'_, str>) -> Value<'_> {
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        other => match number(other) {
            Some(number) => Value::Number(number),
            None => Value::String(text),
        },
    }
}

fn number(text: &str) -> Option<f64> {
    let radix = |digits: &str, radix: u32| {
        let all = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        all.then(|| u64::from_str_radix(digits, radix).ok().map(|number| number as f64)).flatten()
    };
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        ".nan" | ".NaN" | ".NAN" if unsigned.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    // Leaves out what Rust takes and YAML does not: `inf`, `nan`, `infinity`.
    let begins_like_one = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let has_digit = unsigned.contains(|c: char| c.is_ascii_digit());
    let plain = unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if begins_like_one && has_digit && plain { text.parse().ok() } else { None }
}

fn mark(marker: &Marker) -> Mark {
    Mark::new(marker.line(), marker.col() + 1)
}

fn refused(marker: &Marker, message: &str) -> ConfigError {
    refused_as(ErrorKind::Unreadable, Some(mark(marker)), message)
}

fn refused_as(kind: ErrorKind, mark: Option<Mark>, message: &str) -> ConfigError {
    ConfigError { kind, path: String::new(), mark, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::document;
    use super::*;

    fn json(yaml: &str) -> String {
        parse(yaml).unwrap().value.to_json().to_string()
    }

    #[test]
    fn the_core_schema_is_followed() {
        for (yaml, expected) in [
            ("[~, null, Null, NULL]", "[null,null,null,null]"),
            ("[true, False, TRUE, yes, on]", r#"[true,false,true,"yes","on"]"#),
            ("[1, -1, +1, 0x1F, 0o17, 017, 1.5, .5, 1e3, -2.5E-1]", "[1,-1,1,31,15,17,1.5,0.5,1000,-0.25]"),
            (
                "[inf, nan, infinity, 1_000, 0x, 1.2.3, '1', \"2\", .]",
                r#"["inf","nan","infinity","1_000","0x","1.2.3","1","2","."]"#,
            ),
            ("[!!str 1, 10m, 60s]", r#"["1","10m","60s"]"#),
            ("a: |\n  x\n  y\nb: >-\n  x\n  y\n", r#"{"a":"x\ny\n","b":"x y"}"#),
            ("a:\nb: ''", r#"{"a":null,"b":""}"#),
            ("1: a\ntrue: b", r#"{"1":"a","true":"b"}"#),
        ] {
            assert_eq!(json(yaml), expected, "{yaml}");
        }
    }

    #[test]
    fn marks_are_lines_and_columns_counted_from_one() {
        let node = parse("a: b\nc:\n  - d\n  - é: f\n").unwrap();
        assert_eq!(node.mark(), Some(Mark::new(1, 1)));
        let Value::Map(members) = &node.value else { panic!("a map") };
        assert_eq!(members[0].node.mark(), Some(Mark::new(1, 4)));
        let Value::List(items) = &members[1].node.value else { panic!("a list") };
        assert_eq!(items[0].mark(), Some(Mark::new(3, 5)));
        let Value::Map(inner) = &items[1].value else { panic!("a map") };
        assert_eq!(inner[0].node.mark(), Some(Mark::new(4, 8)));
    }

    #[test]
    fn what_could_hide_something_is_refused() {
        for (yaml, message) in [
            ("a: &x [1]\nb: *x", "aliases (`*name`) are not supported"),
            ("a: !!binary x", "tags other than `!!str` are not supported"),
            ("a: !!set {x}", "tags other than `!!str` are not supported"),
            ("? [a]\n: b", "a key must be a string"),
            ("a: 1\n---\na: 2", "there is more than one document"),
            ("", "the document is empty"),
            ("# nothing\n", "the document is empty"),
        ] {
            assert_eq!(parse(yaml).unwrap_err().message, message, "{yaml}");
        }
        let error = parse("a: [1\nb: 2").unwrap_err();
        assert!(error.message.starts_with("not YAML at line "), "{}", error.message);
        assert!(error.mark.is_some());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&nested(127)).is_ok());
        assert!(parse(&nested(128)).is_err());
        assert!(parse(&nested(10_000)).is_err());
        let block: String = (0..200).map(|depth| " ".repeat(depth) + "a:\n").collect();
        assert!(parse(&block).is_err());
    }

    #[test]
    fn json_means_the_same_as_json() {
        let text = r#"{"a": [1, 2.5, true, null, "x\n\u00e9"], "b": {"c": "d", "e": []}}"#;
        assert_eq!(json(text), document::parse_json(text.as_bytes()).unwrap().value.to_json().to_string());
    }
}
