//! A request's headers as bytes, and how one value is read from them.

/// Name and value of a header. Names are lower case, those of pseudo-headers included; values are whatever bytes the
/// client sent.
pub type Header<'h> = (&'h [u8], &'h [u8]);

/// The headers of one request in the order they came.
pub type Headers<'h> = &'h [Header<'h>];

/// Headers that are held as texts, as the core reads them.
pub fn borrowed<N: AsRef<[u8]>, V: AsRef<[u8]>>(headers: &[(N, V)]) -> Vec<Header<'_>> {
    headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect()
}

/// All values of the header `name` (lower case), in order.
pub fn values<'h>(headers: Headers<'h>, name: &str) -> impl Iterator<Item = &'h [u8]> {
    let is_named = move |header: &&Header<'_>| header.0 == name.as_bytes();
    headers.iter().filter(is_named).map(|(_, value)| *value)
}

/// Why a header does not give one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderShape {
    /// Two values: repeated, or a comma list.
    Ambiguous,
    /// Empty, or not UTF-8.
    Malformed,
}

/// The one value of the header `name` (lower case) without surrounding spaces and tabs; `None` where it is absent.
///
/// # Errors
///
/// [`HeaderShape`] where there is not exactly one text.
pub fn single_value<'h>(headers: Headers<'h>, name: &str) -> Result<Option<&'h str>, HeaderShape> {
    let mut all = values(headers, name);
    let Some(value) = all.next() else { return Ok(None) };
    if all.next().is_some() || value.contains(&b',') {
        return Err(HeaderShape::Ambiguous);
    }
    match std::str::from_utf8(trim(value)) {
        Ok("") | Err(_) => Err(HeaderShape::Malformed),
        Ok(value) => Ok(Some(value)),
    }
}

/// `value` without the optional whitespace around it (RFC 9110 section 5.6.3).
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &[u8])]) -> Result<Option<String>, HeaderShape> {
        single_value(&borrowed(headers), "x-tenant-id").map(|value| value.map(str::to_owned))
    }

    #[test]
    fn an_absent_header_has_no_value() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("x-tenant", b"acme"), ("x-tenant-id2", b"acme")]), Ok(None));
    }

    #[test]
    fn one_value_is_trimmed_of_spaces_and_tabs_only() {
        assert_eq!(read(&[("x-tenant-id", b" \tacme \t")]), Ok(Some("acme".to_owned())));
        assert_eq!(
            read(&[("x-tenant-id", "\u{a0}caf\u{e9}".as_bytes())]),
            Ok(Some("\u{a0}caf\u{e9}".to_owned()))
        );
    }

    #[test]
    fn two_values_are_ambiguous_even_if_equal() {
        assert_eq!(read(&[("x-tenant-id", b"acme"), ("x-tenant-id", b"acme")]), Err(HeaderShape::Ambiguous));
        assert_eq!(read(&[("x-tenant-id", b"acme"), ("x-tenant-id", b"")]), Err(HeaderShape::Ambiguous));
        for list in [&b"acme,acme"[..], b"acme,", b",", b",\xff"] {
            assert_eq!(read(&[("x-tenant-id", list)]), Err(HeaderShape::Ambiguous));
        }
    }

    #[test]
    fn an_empty_value_or_one_that_is_not_utf8_is_malformed() {
        for value in [&b""[..], b" ", b"\t", b"\xff", b"acme\xc3"] {
            assert_eq!(read(&[("x-tenant-id", value)]), Err(HeaderShape::Malformed));
        }
    }
}
