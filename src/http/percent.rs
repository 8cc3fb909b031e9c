//! Percent-encoding (RFC 3986 section 2.1), in paths, in queries and in forms (RFC 6749 appendix B).
//!
//! Reading is strict: what is no escape is refused, so that no two readers take a text for different ones. Well-kept
//! crates read leniently; they write here.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but unreserved characters (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The octet of the escape whose `%` stands at `at`; none where two hex digits do not follow.
pub fn escaped_octet(text: &[u8], at: usize) -> Option<u8> {
    let digit =
        |at: usize| char::from(*text.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(at + 1)? << 4 | digit(at + 2)?)
}

/// `text` with its escapes decoded once; none where one is invalid.
pub fn decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.contains(&b'%') {
        return Some(Cow::Borrowed(text));
    }
    octets(text, false).collect::<Option<_>>().map(Cow::Owned)
}

/// The name or value of a form or query parameter, in which `+` is a space; none where an escape is invalid.
pub fn decode_form(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    octets(text, true).collect::<Option<_>>().map(Cow::Owned)
}

/// Whether a parameter's name is `name` to some reader: what is no escape stands for itself.
pub fn is_form_name(raw: &[u8], name: &str) -> bool {
    let mut at = 0;
    let decoded = std::iter::from_fn(|| {
        let byte = *raw.get(at)?;
        let (octet, length) = match (byte, escaped_octet(raw, at)) {
            (b'%', Some(octet)) => (octet, 3),
            (b'+', _) => (b' ', 1),
            (byte, _) => (byte, 1),
        };
        at += length;
        Some(octet)
    });
    decoded.eq(name.bytes())
}

/// `text` with everything percent-encoded but unreserved characters.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `text` as a name or value of `application/x-www-form-urlencoded`.
pub fn encode_form(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The decoded octets of `text`; None in place of an invalid escape.
fn octets(text: &[u8], plus_is_space: bool) -> impl Iterator<Item = Option<u8>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *text.get(at)?;
        let (octet, length) = match byte {
            b'%' => (escaped_octet(text, at), 3),
            b'+' if plus_is_space => (Some(b' '), 1),
            byte => (Some(byte), 1),
        };
        at += length;
        Some(octet)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_6749_appendix_b_goes_both_ways() {
        let text = " %&+\u{a3}\u{20ac}";
        assert_eq!(encode_form(text), "+%25%26%2B%C2%A3%E2%82%AC");
        assert_eq!(decode_form(b"+%25%26%2B%C2%A3%E2%82%AC").as_deref(), Some(text.as_bytes()));
    }

    #[test]
    fn only_unreserved_characters_stand_for_themselves() {
        assert_eq!(encode("a/../b c?-._~+%é"), "a%2F..%2Fb%20c%3F-._~%2B%25%C3%A9");
    }

    #[test]
    fn what_is_no_escape_is_refused() {
        for text in ["%", "%2", "a%2", "%zz", "%+1", "% 20", "%2g"] {
            assert_eq!((decode(text.as_bytes()), decode_form(text.as_bytes())), (None, None), "{text}");
        }
        assert_eq!(decode(b"a+%2F%2f").as_deref(), Some(&b"a+//"[..]));
    }

    #[test]
    fn a_name_is_told_through_its_escapes_and_what_is_none_stands_for_itself() {
        for raw in ["access_token", "access%5Ftoken", "%61ccess_token"] {
            assert!(is_form_name(raw.as_bytes(), "access_token"), "{raw}");
        }
        assert!(is_form_name(b"a+b", "a b") && is_form_name(b"100%", "100%"));
        assert!(!is_form_name(b"access_token2", "access_token"));
    }

    proptest! {
        #[test]
        fn any_text_survives_encoding(text in ".*") {
            let (encoded, form) = (encode(&text), encode_form(&text));
            prop_assert_eq!(decode(encoded.as_bytes()).unwrap(), text.as_bytes());
            prop_assert_eq!(decode_form(form.as_bytes()).unwrap(), text.as_bytes());
        }
    }
}
