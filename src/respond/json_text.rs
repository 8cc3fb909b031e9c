//! JSON objects written straight into a text (RFC 8259), for answers and log lines: a map of values first would take ten
//! times as long.

use std::borrow::Cow;

/// An object that is being written, member by member in the order given.
#[derive(Default)]
pub struct ObjectText {
    text: String,
}

impl ObjectText {
    /// An object whose text is expected to take up to `size` bytes.
    pub fn with_capacity(size: usize) -> Self {
        Self { text: String::with_capacity(size) }
    }

    /// Adds a member that is a string, if there is a value. Names are not escaped: they are ours.
    pub fn text(&mut self, name: &'static str, value: Option<&str>) {
        let Some(value) = value else { return };
        self.name(name);
        self.text.push('"');
        self.text.push_str(&escape(value));
        self.text.push('"');
    }

    /// Adds a member that is a number.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        allow(dead_code, reason = "log lines are written by the edge alone")
    )]
    pub fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        self.text.push_str(&value.to_string());
    }

    /// The object's text.
    pub fn finish(mut self) -> String {
        self.text.push_str(if self.text.is_empty() { "{}" } else { "}" });
        self.text
    }

    fn name(&mut self, name: &str) {
        self.text.push_str(if self.text.is_empty() { "{\"" } else { ",\"" });
        self.text.push_str(name);
        self.text.push_str("\":");
    }
}

/// What stands between the quotes of a string (RFC 8259 section 7).
pub fn escape(value: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| !matches!(byte, b'"' | b'\\' | 0..=0x1f);
    if value.bytes().all(is_plain) {
        return Cow::Borrowed(value);
    }
    let mut escaped = String::with_capacity(value.len() + 8);
    for letter in value.chars() {
        match letter {
            '"' | '\\' => escaped.extend(['\\', letter]),
            '\0'..='\x1f' => escaped.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => escaped.push(letter),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_stand_in_the_order_given_and_absent_ones_not_at_all() {
        let mut object = ObjectText::default();
        object.text("b", Some("1"));
        object.text("a", None);
        object.number("c", 7);
        assert_eq!(object.finish(), r#"{"b":"1","c":7}"#);
        assert_eq!(ObjectText::default().finish(), "{}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was(value in any::<String>()) {
            let mut object = ObjectText::default();
            object.text("value", Some(&value));
            let read: serde_json::Value = serde_json::from_str(&object.finish()).unwrap();
            prop_assert_eq!(&read["value"], &serde_json::Value::from(value));
        }
    }
}
