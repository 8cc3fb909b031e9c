//! Forms as token requests carry them (RFC 6749 appendix B), read so that no server can read them otherwise.
//!
//! A form that a lenient server might take for another one is refused: parameters separated by `;`, names that differ
//! from a known one in case or in what some frameworks make of `.` and `[]`, broken escapes, bytes that are not UTF-8.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use crate::http::percent::{self, encode_form};

/// The parameters that decisions are made from.
pub const PARAMETERS: [&str; 8] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "audience",
    "resource",
];

/// May be repeated (RFC 8707 section 2, RFC 8693 section 2.1): each of its values is checked.
const REPEATABLE: [&str; 2] = ["audience", "resource"];

/// A form that has one reading.
#[derive(Debug)]
pub struct Form<'b> {
    pairs: Vec<Pair<'b>>,
}

#[derive(Debug)]
struct Pair<'b> {
    raw: &'b str,
    name: Cow<'b, str>,
    value: Cow<'b, str>,
}

/// Why a form is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormFault {
    /// A character that a form does not hold unescaped: a space, a control character, `;`, or one beyond ASCII.
    Character,
    /// `%` without two hexadecimal digits behind it.
    Escape,
    /// A value that is not UTF-8.
    Encoding,
    /// A parameter's name that is empty or not of visible ASCII characters.
    Name,
    /// A name that some server may take for this parameter.
    LooksLike(&'static str),
    /// A parameter that comes more than once (RFC 6749 section 3.2); named where decisions are made from it.
    Repeated(Option<&'static str>),
}

impl fmt::Display for FormFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character => f.write_str("the form holds a character that must be percent-encoded"),
            Self::Escape => f.write_str("the form holds an invalid percent-encoding"),
            Self::Encoding => f.write_str("the form holds a value that is not UTF-8"),
            Self::Name => f.write_str("the form holds a parameter whose name is empty or not visible ASCII"),
            Self::LooksLike(name) => write!(f, "the form holds a parameter that may be taken for `{name}`"),
            Self::Repeated(Some(name)) => write!(f, "parameter `{name}` is repeated"),
            Self::Repeated(None) => f.write_str("a parameter is repeated"),
        }
    }
}

impl<'b> Form<'b> {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// The first thing in it that servers may read differently, and a repeated parameter.
    pub fn parse(body: &'b [u8]) -> Result<Self, FormFault> {
        let form = Self::parse_leniently(body)?;
        let mut seen = HashSet::new();
        for pair in &form.pairs {
            if !seen.insert(&*pair.name) && !REPEATABLE.contains(&&*pair.name) {
                return Err(FormFault::Repeated(known(&pair.name)));
            }
        }
        Ok(form)
    }

    /// As [`Form::parse`], with repeated parameters.
    pub fn parse_leniently(body: &'b [u8]) -> Result<Self, FormFault> {
        if !body.iter().all(|byte| matches!(byte, b'!'..=b':' | b'<'..=b'~')) {
            return Err(FormFault::Character);
        }
        let text = std::str::from_utf8(body).map_err(|_| FormFault::Character)?;
        let mut pairs = Vec::new();
        for raw in text.split('&').filter(|raw| !raw.is_empty()) {
            let (name, value) = raw.split_once('=').unwrap_or((raw, ""));
            let name = decode(name)?;
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(FormFault::Name);
            }
            if let Some(known) = resembled(&name) {
                return Err(FormFault::LooksLike(known));
            }
            pairs.push(Pair { raw, name, value: decode(value)? });
        }
        Ok(Self { pairs })
    }

    /// The value of a parameter. An empty one counts as omitted (RFC 6749 section 3.2).
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// The values of a parameter, without empty ones.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs
            .iter()
            .filter(move |pair| pair.name == name)
            .map(|pair| &*pair.value)
            .filter(|v| !v.is_empty())
    }

    /// The first of the parameters that decisions are made from that is there, with a value or without.
    pub fn first_known(&self) -> Option<&'static str> {
        self.pairs.iter().find_map(|pair| known(&pair.name))
    }

    /// The same form with `value` for the parameter `name`, in its place or at the end; everything else stays as it
    /// was sent, byte for byte.
    pub fn with(&self, name: &str, value: &str) -> Vec<u8> {
        let replaced = format!("{name}={}", encode_form(value));
        let mut raws: Vec<&str> = Vec::with_capacity(self.pairs.len() + 1);
        raws.extend(self.pairs.iter().map(|pair| if pair.name == name { &*replaced } else { pair.raw }));
        if !self.pairs.iter().any(|pair| pair.name == name) {
            raws.push(&replaced);
        }
        raws.join("&").into_bytes()
    }
}

/// The entry of [`PARAMETERS`] that is called `name`.
fn known(name: &str) -> Option<&'static str> {
    PARAMETERS.into_iter().find(|known| *known == name)
}

/// The parameter that `name` is not, but may be taken for: servers compare names without case, cut them off at `[`, or
/// write `_` for `.` and `-`.
fn resembled(name: &str) -> Option<&'static str> {
    let stem = name.split('[').next().unwrap_or_default();
    let folded = stem.replace(['.', '-'], "_");
    PARAMETERS.into_iter().find(|known| known.eq_ignore_ascii_case(&folded) && *known != name)
}

/// One form-decoding: `+` is a space, `%` begins an escape.
///
/// # Errors
///
/// [`FormFault::Escape`] and [`FormFault::Encoding`].
pub fn decode(text: &str) -> Result<Cow<'_, str>, FormFault> {
    match percent::decode_form(text.as_bytes()).ok_or(FormFault::Escape)? {
        Cow::Borrowed(_) => Ok(Cow::Borrowed(text)),
        Cow::Owned(octets) => String::from_utf8(octets).map(Cow::Owned).map_err(|_| FormFault::Encoding),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_form_is_read_exactly() {
        let form =
            Form::parse(b"&grant_type=client_credentials&scope=a%3Ab+c%20d&x=1=2&empty=&bare&").unwrap();
        assert_eq!(form.value("grant_type"), Some("client_credentials"));
        assert_eq!(form.value("scope"), Some("a:b c d"));
        assert_eq!(form.value("x"), Some("1=2"));
        assert_eq!(form.value("empty"), None);
        assert_eq!(form.value("bare"), None);
        assert_eq!(form.value("absent"), None);
        // Escapes in a name are escapes all the same.
        assert_eq!(Form::parse(b"sc%6Fpe=a").unwrap().value("scope"), Some("a"));
    }

    #[test]
    fn what_servers_may_read_differently_is_refused() {
        let cases: [(&[u8], FormFault); 24] = [
            (b"a=1;scope=admin", FormFault::Character),
            (b"a=1 2", FormFault::Character),
            (b"a=1\nscope=x", FormFault::Character),
            (b"a=\0", FormFault::Character),
            (b"\xef\xbb\xbfscope=x", FormFault::Character),
            (b"a=\x7f", FormFault::Character),
            (b"a=%", FormFault::Escape),
            (b"a=%4", FormFault::Escape),
            (b"a=%4g", FormFault::Escape),
            (b"%u0073cope=x", FormFault::Escape),
            (b"a=%+1", FormFault::Escape),
            (b"a=%ff", FormFault::Encoding),
            (b"a=%C0%AF", FormFault::Encoding),
            (b"%ff=a", FormFault::Encoding),
            (b"=a", FormFault::Name),
            (b"scope%00=a", FormFault::Name),
            (b"+scope=a", FormFault::Name),
            (b"%C5%BFcope=a", FormFault::Name),
            (b"Scope=a", FormFault::LooksLike("scope")),
            (b"scope[]=a", FormFault::LooksLike("scope")),
            (b"client.id=a", FormFault::LooksLike("client_id")),
            (b"GRANT-TYPE=a", FormFault::LooksLike("grant_type")),
            (b"scope=a&scope=a", FormFault::Repeated(Some("scope"))),
            (b"x=&x=", FormFault::Repeated(None)),
        ];
        for (body, fault) in cases {
            assert_eq!(Form::parse(body).unwrap_err(), fault, "{}", String::from_utf8_lossy(body));
        }
        let repeatable = b"resource=a&resource=b&audience=c&audience=d";
        assert_eq!(Form::parse(repeatable).unwrap().values("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_replaced_value_leaves_the_rest_as_it_was() {
        let replaced =
            |body: &str| String::from_utf8(Form::parse(body.as_bytes()).unwrap().with("scope", "a:b c"));
        for (body, expected) in [
            ("scope=x&client_secret=%7e~%7E", "scope=a%3Ab+c&client_secret=%7e~%7E"),
            ("p=1&&sc%6fpe=&q", "p=1&scope=a%3Ab+c&q"),
            ("p=1", "p=1&scope=a%3Ab+c"),
            ("", "scope=a%3Ab+c"),
        ] {
            assert_eq!(replaced(body).unwrap(), expected, "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_body_breaks_the_parser(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Form::parse(&body);
        }

        #[test]
        fn what_is_put_in_is_what_is_read(
            pairs in proptest::collection::btree_map("[a-z]{1,6}_x", ".{0,8}", 0..6),
            scope in "[!-~ ]{1,20}",
        ) {
            let body: Vec<String> =
                pairs.iter().map(|(name, value)| format!("{name}={}", encode_form(value))).collect();
            let form = body.join("&");
            let replaced = Form::parse(form.as_bytes()).unwrap().with("scope", &scope);
            let read = Form::parse(&replaced).unwrap();
            prop_assert_eq!(read.value("scope"), Some(scope.as_str()));
            for (name, value) in &pairs {
                prop_assert_eq!(read.value(name).unwrap_or_default(), value);
            }
        }
    }
}
