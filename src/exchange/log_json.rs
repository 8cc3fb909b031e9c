//! JSON as it goes into logs. Clients and issuers choose much of what is logged, so nothing that ends a line, commands a
//! terminal or changes the direction of a text gets there as it is.

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Whether a character of a text could pass for something else in a log or on a terminal: control characters (C0, DEL
/// and C1), line and paragraph separators, invisible characters and changes of writing direction.
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `value` as JSON without a hidden character. Strings and structs of them are always JSON; if they were not, it would be
/// empty.
pub fn to_string(value: &impl Serialize) -> String {
    let mut json = Vec::with_capacity(256);
    match value.serialize(&mut Serializer::with_formatter(&mut json, Escaping)) {
        Ok(()) => String::from_utf8(json).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// `text` as it stands between the quotes of a JSON string.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        return Cow::Borrowed(text);
    }
    let mut quoted = to_string(&text);
    quoted.pop();
    Cow::Owned(quoted.split_off(1))
}

/// JSON in one line. `serde_json` escapes quotes, backslashes and what is below U+0020.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        for piece in fragment.split_inclusive(is_hidden) {
            let mut letters = piece.chars();
            let hidden = letters.next_back().filter(|last| is_hidden(*last));
            let plain = if hidden.is_some() { letters.as_str() } else { piece };
            writer.write_all(plain.as_bytes())?;
            if let Some(hidden) = hidden {
                write!(writer, "\\u{:04x}", u32::from(hidden))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_hidden_character_is_escaped_and_no_other_but_quotes_and_backslashes() {
        for letter in '\0'..=char::MAX {
            let json = escaped(letter.encode_utf8(&mut [0; 4])).into_owned();
            let stays = !is_hidden(letter) && letter != '"' && letter != '\\';
            assert_eq!(json == letter.to_string(), stays, "{letter:?}: {json}");
        }
        for (letter, json) in [
            ('\n', "\\n"),
            ('\0', "\\u0000"),
            ('\u{1b}', "\\u001b"),
            ('\u{7f}', "\\u007f"),
            ('\u{85}', "\\u0085"),
            ('\u{9b}', "\\u009b"),
            ('\u{2028}', "\\u2028"),
            ('\u{202e}', "\\u202e"),
            ('"', "\\\""),
            ('\\', "\\\\"),
            ('é', "é"),
        ] {
            assert_eq!(escaped(&letter.to_string()), json);
        }
    }

    proptest! {
        #[test]
        fn a_text_is_read_back_as_it_was_and_holds_nothing_hidden(text in any::<String>()) {
            let json = to_string(&text);
            prop_assert!(!json.chars().any(is_hidden));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text.clone());
            prop_assert_eq!(format!("\"{}\"", escaped(&text)), json);
        }
    }
}
