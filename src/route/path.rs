//! The canonical form of a request's path.
//!
//! A path that a proxy and an upstream may read differently is refused, never repaired. What remains is written in one
//! way (RFC 3986 section 6.2.2): percent-encoded unreserved characters are decoded, the hex digits of the other
//! escapes are upper case. The query takes no part.

use std::borrow::Cow;
use std::fmt;

use crate::http::percent::{self, escaped_octet};
use crate::http::search::first_part;

/// A path in its canonical form, and the query that came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath<'r> {
    path: Cow<'r, str>,
    has_escapes: bool,
    query: Option<&'r [u8]>,
}

impl<'r> RequestPath<'r> {
    /// The canonical path: ASCII, begins with `/`, without the query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What follows the first `?`, as it was sent.
    pub fn query(&self) -> Option<&'r [u8]> {
        self.query
    }

    /// The segments between the slashes, still percent-encoded. A trailing slash gives a last empty segment.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        let mut rest = Some(self.after_first_slash());
        std::iter::from_fn(move || {
            let (segment, after) = first_part(b'/', rest?);
            rest = after;
            Some(segment)
        })
    }

    /// Whether any segment holds a percent-encoded octet.
    pub(crate) fn has_escapes(&self) -> bool {
        self.has_escapes
    }

    pub(crate) fn after_first_slash(&self) -> &str {
        self.path.strip_prefix('/').unwrap_or_default()
    }
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AmbiguousPath {
    /// It does not begin with `/`: empty, `*`, or in absolute form.
    NotAbsolute,
    /// A control character or a space, in the path or in the query.
    ControlCharacter,
    /// A byte that is not ASCII.
    NotAscii,
    /// A `\`, which some servers take for `/`.
    Backslash,
    /// A `#`, in the path or in the query: a fragment is never sent (RFC 9112 section 3.2).
    Fragment,
    /// A `;`: some servers cut a segment there, some do not.
    Parameter,
    /// Two slashes in a row, which some servers merge.
    EmptySegment,
    /// A `.` or `..` segment, in any encoding.
    DotSegment,
    /// A `%` that two hex digits do not follow.
    InvalidEscape,
    /// `%2F` or `%5C`.
    EncodedSeparator,
    /// `%00`.
    EncodedNul,
    /// An escape of a `%` that would begin another escape: it changes with each decoding.
    DoubleEscape,
    /// Escapes that spell a character with more bytes than it takes (RFC 3629 section 3).
    OverlongEscape,
}

impl fmt::Display for AmbiguousPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not begin with `/`",
            Self::ControlCharacter => "the path holds a control character or a space",
            Self::NotAscii => "the path holds a byte that is not ASCII",
            Self::Backslash => "the path holds a `\\`",
            Self::Fragment => "the path holds a `#`",
            Self::Parameter => "the path holds a `;`",
            Self::EmptySegment => "the path holds `//`",
            Self::DotSegment => "the path holds a dot segment",
            Self::InvalidEscape => "the path holds a `%` that is not followed by two hex digits",
            Self::EncodedSeparator => "the path holds an encoded `/` or `\\`",
            Self::EncodedNul => "the path holds an encoded NUL",
            Self::DoubleEscape => "the path is percent-encoded twice",
            Self::OverlongEscape => "the path holds an overlong UTF-8 sequence",
        })
    }
}

impl std::error::Error for AmbiguousPath {}

/// The canonical form of `path`, the value of `:path`. Allocates only where an escape has to be rewritten.
///
/// # Errors
///
/// The first thing in `path` that two servers may read differently.
pub fn canonicalize(path: &[u8]) -> Result<RequestPath<'_>, AmbiguousPath> {
    match as_plain(path) {
        Some(path) => Ok(path),
        None => canonicalize_closely(path),
    }
}

/// The path, where nothing in it needs a closer look: as [`canonicalize_closely`] finds, for a quarter of what that takes.
fn as_plain(path: &[u8]) -> Option<RequestPath<'_>> {
    let mut rest = path.strip_prefix(b"/")?;
    let mut segment_is_empty = true;
    let query = loop {
        let plain = rest.iter().take_while(|byte| means_itself(**byte)).count();
        segment_is_empty &= plain == 0;
        match rest.get(plain..)?.split_first() {
            None => break None,
            Some((b'?', query)) => break Some(query),
            // An empty segment, or one that may be a dot segment.
            Some((b'/' | b'.', _)) if segment_is_empty => return None,
            Some((b'/', after)) => (rest, segment_is_empty) = (after, true),
            Some((b'.', after)) => rest = after,
            Some(_) => return None,
        }
    };
    refuse_query(query.unwrap_or_default()).ok()?;
    let length = query.map_or(path.len(), |query| path.len() - query.len() - 1);
    let path = std::str::from_utf8(path.get(..length)?).ok()?;
    Some(RequestPath { path: Cow::Borrowed(path), has_escapes: false, query })
}

/// Whether a byte of a path stands for itself, wherever it is: visible ASCII, but for what sets segments and the query
/// apart, escapes, and what is refused.
fn means_itself(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'/' | b'.' | b'?' | b'%' | b'#' | b';' | b'\\')
}

/// As [`canonicalize`], for every path.
fn canonicalize_closely(path: &[u8]) -> Result<RequestPath<'_>, AmbiguousPath> {
    if path.first() != Some(&b'/') {
        return Err(AmbiguousPath::NotAbsolute);
    }
    let mut segment = Segment::Empty;
    let mut decodes_to = Redecoded::Nothing;
    let mut lead = 0; // the octet of the escape directly before, or 0
    let mut rewritten = Vec::new();
    let mut copied = 0;
    let mut at = 1;
    while let Some(&byte) = path.get(at) {
        if byte == b'%' {
            let octet = escaped_octet(path, at).ok_or(AmbiguousPath::InvalidEscape)?;
            refuse_octet(octet, lead, segment)?;
            let mut rewrite = |text: &[u8]| {
                rewritten.extend_from_slice(path.get(copied..at).unwrap_or_default());
                rewritten.extend_from_slice(text);
                copied = at + 3;
            };
            if is_unreserved(octet) {
                rewrite(&[octet]);
                segment = segment.then(octet);
                decodes_to = decodes_to.then(octet)?;
                lead = 0;
            } else {
                if is_lower_hex(path.get(at + 1)) || is_lower_hex(path.get(at + 2)) {
                    rewrite(&[b'%', upper_hex(octet >> 4), upper_hex(octet & 0xf)]);
                }
                segment = Segment::Other;
                decodes_to = if octet == b'%' { Redecoded::Percent } else { Redecoded::Nothing };
                lead = octet;
            }
            at += 3;
            continue;
        }
        match byte {
            b'/' => segment = segment.end_before_slash()?,
            b'?' => break,
            b'#' => return Err(AmbiguousPath::Fragment),
            b';' => return Err(AmbiguousPath::Parameter),
            b'\\' => return Err(AmbiguousPath::Backslash),
            0..=b' ' | 0x7f => return Err(AmbiguousPath::ControlCharacter),
            0x80.. => return Err(AmbiguousPath::NotAscii),
            b'!'..=b'~' => segment = segment.then(byte),
        }
        if decodes_to != Redecoded::Nothing {
            decodes_to = decodes_to.then(byte)?;
        }
        lead = 0;
        at += 1;
    }
    segment.end()?;

    let query = path.get(at..).and_then(|rest| rest.split_first()).map(|(_question_mark, query)| query);
    refuse_query(query.unwrap_or_default())?;
    let raw = path.get(..at).unwrap_or_default();
    let path = if copied == 0 {
        Cow::Borrowed(std::str::from_utf8(raw).map_err(|_| AmbiguousPath::NotAscii)?)
    } else {
        rewritten.extend_from_slice(raw.get(copied..).unwrap_or_default());
        Cow::Owned(String::from_utf8(rewritten).map_err(|_| AmbiguousPath::NotAscii)?)
    };
    let has_escapes = path.contains('%');
    Ok(RequestPath { path, has_escapes, query })
}

/// One percent-decoding of one segment; none where an escape is invalid or the outcome is not UTF-8.
pub fn decode_segment(segment: &str) -> Option<Cow<'_, str>> {
    match percent::decode(segment.as_bytes())? {
        Cow::Borrowed(_) => Some(Cow::Borrowed(segment)),
        Cow::Owned(octets) => String::from_utf8(octets).ok().map(Cow::Owned),
    }
}

/// What the bytes of a segment, decoded, amount to so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Segment {
    Empty,
    Dot,
    DotDot,
    Other,
}

impl Segment {
    fn then(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Empty, b'.') => Self::Dot,
            (Self::Dot, b'.') => Self::DotDot,
            (Self::Empty | Self::Dot | Self::DotDot | Self::Other, _) => Self::Other,
        }
    }

    fn end_before_slash(self) -> Result<Self, AmbiguousPath> {
        match self {
            Self::Empty => Err(AmbiguousPath::EmptySegment),
            Self::Dot | Self::DotDot => Err(AmbiguousPath::DotSegment),
            Self::Other => Ok(Self::Empty),
        }
    }

    fn end(self) -> Result<(), AmbiguousPath> {
        match self {
            Self::Dot | Self::DotDot => Err(AmbiguousPath::DotSegment),
            Self::Empty | Self::Other => Ok(()),
        }
    }
}

/// How much of an escape an upstream that decodes twice has seen, once `%25` has become `%`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Redecoded {
    Nothing,
    Percent,
    PercentDigit,
    /// `%u` and so many of its four digits: IIS decodes `%u002e`.
    PercentU(u8),
}

impl Redecoded {
    fn then(self, byte: u8) -> Result<Self, AmbiguousPath> {
        match self {
            Self::Percent if byte.is_ascii_hexdigit() => Ok(Self::PercentDigit),
            Self::Percent if byte.eq_ignore_ascii_case(&b'u') => Ok(Self::PercentU(0)),
            Self::PercentDigit | Self::PercentU(3) if byte.is_ascii_hexdigit() => {
                Err(AmbiguousPath::DoubleEscape)
            }
            Self::PercentU(digits) if byte.is_ascii_hexdigit() => Ok(Self::PercentU(digits + 1)),
            Self::Nothing | Self::Percent | Self::PercentDigit | Self::PercentU(_) => Ok(Self::Nothing),
        }
    }
}

fn refuse_octet(octet: u8, lead: u8, segment: Segment) -> Result<(), AmbiguousPath> {
    match octet {
        0 => Err(AmbiguousPath::EncodedNul),
        b'/' | b'\\' => Err(AmbiguousPath::EncodedSeparator),
        // A server that decodes first and cuts afterwards is left with the dots.
        b';' | b'?' | b'#' => segment.end(),
        // These two begin nothing but overlong forms of ASCII (RFC 3629 section 4), and lenient decoders take any
        // byte after them.
        0xc0 | 0xc1 => Err(AmbiguousPath::OverlongEscape),
        0x80..=0xbf => match lead {
            0xe0 if octet < 0xa0 => Err(AmbiguousPath::OverlongEscape),
            0xf0 if octet < 0x90 => Err(AmbiguousPath::OverlongEscape),
            0xf8 if octet < 0x88 => Err(AmbiguousPath::OverlongEscape),
            0xfc if octet < 0x84 => Err(AmbiguousPath::OverlongEscape),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn refuse_query(query: &[u8]) -> Result<(), AmbiguousPath> {
    for byte in query {
        match byte {
            b'#' => return Err(AmbiguousPath::Fragment),
            0..=b' ' | 0x7f => return Err(AmbiguousPath::ControlCharacter),
            _ => {}
        }
    }
    Ok(())
}

/// RFC 3986 section 2.3.
fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

fn is_lower_hex(digit: Option<&u8>) -> bool {
    matches!(digit, Some(b'a'..=b'f'))
}

/// The digit of a value below 16.
fn upper_hex(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'A' + value - 10 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(path: &str) -> Result<String, AmbiguousPath> {
        canonicalize(path.as_bytes()).map(|path| path.path().to_owned())
    }

    proptest! {
        #[test]
        fn what_needs_no_closer_look_is_what_a_closer_look_finds(
            path in prop_oneof!["/[a-z./?%;#A-F0-9]{0,12}", "[ -~]{0,12}", "/[a-c/]{0,9}(\\?[a-c/?# ]{0,3})?"],
        ) {
            if let Some(plain) = as_plain(path.as_bytes()) {
                prop_assert_eq!(Ok(plain), canonicalize_closely(path.as_bytes()));
            }
        }

        #[test]
        fn any_bytes_are_judged_alike(path in proptest::collection::vec(any::<u8>(), 0..12)) {
            for path in [path.clone(), [b"/", &path[..]].concat()] {
                prop_assert_eq!(canonicalize(&path), canonicalize_closely(&path));
            }
        }
    }

    #[test]
    fn a_plain_path_needs_no_closer_look() {
        for path in ["/", "/a", "/tc/acme/service-requests/7?x=%2F", "/a.b/c..d/?", "/~!$&'()*+,=:@-_"] {
            assert!(as_plain(path.as_bytes()).is_some(), "{path}");
        }
    }

    #[test]
    fn a_plain_path_is_borrowed() {
        let path = canonicalize(b"/tc/acme/service-requests/7?x=%2F").unwrap();
        assert!(matches!(path.path, Cow::Borrowed("/tc/acme/service-requests/7")));
        assert_eq!(path.query(), Some(&b"x=%2F"[..]));
        assert_eq!(path.segments().collect::<Vec<_>>(), ["tc", "acme", "service-requests", "7"]);
    }

    #[test]
    fn a_path_with_canonical_escapes_is_borrowed() {
        let path = canonicalize(b"/caf%C3%A9/%40").unwrap();
        assert!(matches!(path.path, Cow::Borrowed("/caf%C3%A9/%40")));
        assert_eq!(path.query(), None);
    }

    #[test]
    fn unreserved_escapes_are_decoded_and_the_others_written_in_upper_case() {
        assert_eq!(canonical("/%61%2dB%5F%7e/%c3%a9%2E"), Ok("/a-B_~/%C3%A9.".to_owned()));
        assert_eq!(canonical("/x%3ay%41?%41"), Ok("/x%3AyA".to_owned()));
    }

    #[test]
    fn a_trailing_slash_counts() {
        assert_eq!(canonicalize(b"/a/").unwrap().segments().collect::<Vec<_>>(), ["a", ""]);
        assert_eq!(canonicalize(b"/").unwrap().segments().collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn an_empty_query_is_told_apart_from_none() {
        assert_eq!(canonicalize(b"/a?").unwrap().query(), Some(&b""[..]));
        assert_eq!(canonicalize(b"/a??b").unwrap().query(), Some(&b"?b"[..]));
    }

    #[test]
    fn dots_that_are_no_dot_segment_pass() {
        for path in ["/...", "/.a", "/a.", "/..a/b", "/a../b", "/%2e%2e%2e", "/.well-known/x", "/a/..%3Ax"] {
            assert!(canonical(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn dot_segments_are_refused_in_any_encoding() {
        for dots in [".", "..", "%2e", "%2E", ".%2e", "%2e.", "%2E%2e", "..%3b", "..%3Bx=1", ".%23", "..%3f"]
        {
            for path in [
                format!("/{dots}"),
                format!("/a/{dots}"),
                format!("/a/{dots}/"),
                format!("/{dots}/b"),
                format!("/{dots}?q"),
            ] {
                assert_eq!(canonical(&path), Err(AmbiguousPath::DotSegment), "{path}");
            }
        }
    }

    #[test]
    fn a_double_escape_is_refused_however_its_digits_are_written() {
        for path in [
            "/%252e",
            "/%25%32e",
            "/%25%32%65",
            "/%252%65",
            "/%25ff",
            "/a%25Af",
            "/%25u002e",
            "/%25%75002%65",
        ] {
            assert_eq!(canonical(path), Err(AmbiguousPath::DoubleEscape), "{path}");
        }
        for path in [
            "/100%25",
            "/100%25/",
            "/%25a",
            "/%25g0",
            "/%252/e",
            "/%25users",
            "/%25u00/2e",
            "/%25%252g",
            "/%25x002e",
        ] {
            assert!(canonical(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn overlong_escapes_are_refused_and_their_shortest_neighbours_pass() {
        for path in [
            "/%C0%AE",
            "/%c0%ae%c0%ae/x",
            "/%C1%9C",
            "/%C0.",
            "/%C0%2E",
            "/%E0%80%AF",
            "/%E0%9F%BF",
            "/%F0%80%80%AF",
            "/%f0%8f%bf%bf",
            "/%F8%80%80%80%AF",
            "/%FC%83%BF",
        ] {
            assert_eq!(canonical(path), Err(AmbiguousPath::OverlongEscape), "{path}");
        }
        for path in
            ["/%C2%80", "/%E0%A0%80", "/%F0%90%80%80", "/%E9", "/%FC", "/%E0a%80", "/%F8%88%80", "/%FC%84%80"]
        {
            assert!(canonical(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn raw_bytes_that_servers_read_differently_are_refused() {
        for (path, cause) in [
            (&b""[..], AmbiguousPath::NotAbsolute),
            (b"*", AmbiguousPath::NotAbsolute),
            (b"a/b", AmbiguousPath::NotAbsolute),
            (b"?/", AmbiguousPath::NotAbsolute),
            (b"http://example.com/", AmbiguousPath::NotAbsolute),
            (b"//", AmbiguousPath::EmptySegment),
            (b"//example.com/a", AmbiguousPath::EmptySegment),
            (b"/a//", AmbiguousPath::EmptySegment),
            (b"/a\\b", AmbiguousPath::Backslash),
            (b"/a;b=c", AmbiguousPath::Parameter),
            (b"/a#b", AmbiguousPath::Fragment),
            (b"/a?b#c", AmbiguousPath::Fragment),
            (b"/a b", AmbiguousPath::ControlCharacter),
            (b"/a\0", AmbiguousPath::ControlCharacter),
            (b"/a\x1f", AmbiguousPath::ControlCharacter),
            (b"/a\x7f", AmbiguousPath::ControlCharacter),
            (b"/a?\0", AmbiguousPath::ControlCharacter),
            (b"/a?b\r\n", AmbiguousPath::ControlCharacter),
            (b"/a?b c", AmbiguousPath::ControlCharacter),
            (b"/a\x80", AmbiguousPath::NotAscii),
            (b"/a\xff", AmbiguousPath::NotAscii),
            (b"/a%", AmbiguousPath::InvalidEscape),
            (b"/a%2", AmbiguousPath::InvalidEscape),
            (b"/a%2?e", AmbiguousPath::InvalidEscape),
            (b"/a%g0", AmbiguousPath::InvalidEscape),
            (b"/%u002e", AmbiguousPath::InvalidEscape),
            (b"/a%2f", AmbiguousPath::EncodedSeparator),
            (b"/a%2F", AmbiguousPath::EncodedSeparator),
            (b"/a%5c", AmbiguousPath::EncodedSeparator),
            (b"/a%5C", AmbiguousPath::EncodedSeparator),
            (b"/a%00", AmbiguousPath::EncodedNul),
        ] {
            assert_eq!(canonicalize(path), Err(cause), "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn a_segment_is_decoded_once() {
        assert_eq!(decode_segment("acme"), Some(Cow::Borrowed("acme")));
        assert_eq!(decode_segment("caf%C3%A9").as_deref(), Some("caf\u{e9}"));
        assert_eq!(decode_segment("a%2541").as_deref(), Some("a%41"));
        assert_eq!(decode_segment("%E9"), None);
        assert_eq!(decode_segment("%4"), None);
        assert_eq!(decode_segment("a+b").as_deref(), Some("a+b"));
    }
}
