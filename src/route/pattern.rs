//! The paths and hosts that a configuration names.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv6Addr;

use super::path::{AmbiguousPath, canonicalize};

/// The longest path pattern, in segments: what bounds the depth of a lookup.
pub const MAX_SEGMENTS: usize = 128;

const MAX_HOST_LENGTH: usize = 253; // RFC 1035 section 2.3.4, without the root's dot

/// A path with placeholders, such as `/tc/{tenant}/service-requests/{id}`.
///
/// A segment is a literal, `{name}`, `{tenant}`, `*`, or at the end `**`. `{name}`, `{tenant}` and `*` stand for one
/// segment that is not empty, `**` for one or more segments, of which the last may be the empty one after a trailing
/// slash. `{tenant}` stands for any name, whether of a configured tenant or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    segments: Vec<Segment>,
}

/// One segment of a [`PathPattern`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// This text, in canonical form; empty only as what follows a trailing slash.
    Literal(Box<str>),
    /// `{name}`.
    Name(Box<str>),
    /// `{tenant}`.
    Tenant,
    /// `*`.
    Any,
    /// `**`.
    Rest,
}

/// Why a text is no [`PathPattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPatternError {
    /// No request's path looks like this: each that does is refused.
    NeverMatches(AmbiguousPath),
    /// A `?`: the query takes no part in matching.
    Query,
    /// `{`, `}` or `*` as a part of this segment.
    MixedSegment(Box<str>),
    /// A placeholder whose name is empty or holds anything but ASCII letters, digits, `_`, `-` and `.`.
    InvalidName(Box<str>),
    /// Two placeholders of this name.
    DuplicateName(Box<str>),
    /// `**` before the last segment.
    RestNotLast,
    /// More than [`MAX_SEGMENTS`] segments.
    TooManySegments,
}

impl fmt::Display for PathPatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverMatches(cause) => write!(f, "no request can match: {cause}"),
            Self::Query => f.write_str("the path holds a `?`, but the query takes no part in matching"),
            Self::MixedSegment(segment) => {
                write!(f, "in segment `{segment}`, `{{name}}`, `*` and `**` must stand alone")
            }
            Self::InvalidName(name) => {
                write!(f, "placeholder name `{name}` must be of ASCII letters, digits, `_`, `-` and `.`")
            }
            Self::DuplicateName(name) => write!(f, "placeholder `{{{name}}}` stands twice in the path"),
            Self::RestNotLast => f.write_str("`**` must be the last segment"),
            Self::TooManySegments => write!(f, "the path has more than {MAX_SEGMENTS} segments"),
        }
    }
}

impl std::error::Error for PathPatternError {}

impl PathPattern {
    /// Reads a pattern from configuration text.
    ///
    /// # Errors
    ///
    /// A text that is no pattern, or a pattern that no accepted request path could match.
    pub fn parse(text: &str) -> Result<Self, PathPatternError> {
        let Some(after_first_slash) = text.strip_prefix('/') else {
            return Err(PathPatternError::NeverMatches(AmbiguousPath::NotAbsolute));
        };
        if text.contains('?') {
            return Err(PathPatternError::Query);
        }
        let texts: Vec<&str> = after_first_slash.split('/').collect();
        if texts.len() > MAX_SEGMENTS {
            return Err(PathPatternError::TooManySegments);
        }
        let mut names = BTreeSet::new();
        let mut segments = Vec::with_capacity(texts.len());
        for (position, text) in texts.iter().enumerate() {
            let segment = Segment::parse(text)?;
            let is_last = position + 1 == texts.len();
            match &segment {
                Segment::Rest if !is_last => return Err(PathPatternError::RestNotLast),
                Segment::Name(_) | Segment::Tenant if !names.insert(*text) => {
                    return Err(PathPatternError::DuplicateName(text.trim_matches(['{', '}']).into()));
                }
                Segment::Literal(_) | Segment::Name(_) | Segment::Tenant | Segment::Any | Segment::Rest => {}
            }
            segments.push(segment);
        }
        canonicalize_literals(&mut segments)?;
        Ok(Self { segments })
    }

    /// The segments between the slashes; at least one, and an empty literal after a trailing slash.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The position of `{tenant}` among the segments, counted from 0.
    pub fn tenant_segment(&self) -> Option<usize> {
        self.segments.iter().position(|segment| *segment == Segment::Tenant)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Name(name) => write!(f, "{{{name}}}"),
            Self::Tenant => f.write_str("{tenant}"),
            Self::Any => f.write_str("*"),
            Self::Rest => f.write_str("**"),
        }
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, PathPatternError> {
        match text {
            "*" => return Ok(Self::Any),
            "**" => return Ok(Self::Rest),
            "{tenant}" => return Ok(Self::Tenant),
            _ => {}
        }
        if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            if name.contains(['{', '}', '*']) {
                return Err(PathPatternError::MixedSegment(text.into()));
            }
            let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
            if name.is_empty() || !name.bytes().all(is_name_byte) {
                return Err(PathPatternError::InvalidName(name.into()));
            }
            return Ok(Self::Name(name.into()));
        }
        if text.contains(['{', '}', '*']) {
            return Err(PathPatternError::MixedSegment(text.into()));
        }
        Ok(Self::Literal(text.into()))
    }
}

/// Puts the literals through the rules for requests, as the path that they make together.
fn canonicalize_literals(segments: &mut [Segment]) -> Result<(), PathPatternError> {
    let mut path = String::new();
    for segment in segments.iter() {
        path.push('/');
        path.push_str(match segment {
            Segment::Literal(text) => text,
            Segment::Name(_) | Segment::Tenant | Segment::Any | Segment::Rest => "-",
        });
    }
    let canonical = canonicalize(path.as_bytes()).map_err(PathPatternError::NeverMatches)?;
    for (segment, text) in segments.iter_mut().zip(canonical.segments()) {
        if let Segment::Literal(literal) = segment {
            *literal = text.into();
        }
    }
    Ok(())
}

/// A host, or a host with one label that names the tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This host, as [`normalize_host`] writes it.
    Exact(Box<str>),
    /// `{tenant}` between `before` (empty, or labels and a dot) and `after` (empty, or a dot and labels).
    Tenant {
        /// What stands before `{tenant}`, with its dot.
        before: Box<str>,
        /// What stands after `{tenant}`, with its dot.
        after: Box<str>,
    },
}

/// Why a text is no [`HostPattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPatternError {
    /// Not a host name, an address, or one of these with a port.
    InvalidHost(Box<str>),
    /// `{`, `}` or `*` other than one `{tenant}` as a whole label.
    InvalidPlaceholder(Box<str>),
}

impl fmt::Display for HostPatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidHost(host) => write!(f, "`{host}` is not a host"),
            Self::InvalidPlaceholder(host) => {
                write!(f, "in host `{host}`, `{{tenant}}` as one whole label is the only placeholder")
            }
        }
    }
}

impl std::error::Error for HostPatternError {}

impl HostPattern {
    /// Reads a host from configuration text: case, a port and one trailing dot are of no account.
    ///
    /// # Errors
    ///
    /// A text that no host in a request could equal.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        const PLACEHOLDER: &str = "{tenant}";
        if !text.contains(['{', '}', '*']) {
            return normalize_host(text.as_bytes())
                .map(|host| Self::Exact(host.into()))
                .ok_or_else(|| HostPatternError::InvalidHost(text.into()));
        }
        let invalid_placeholder = || HostPatternError::InvalidPlaceholder(text.into());
        let (before, after) = text.split_once(PLACEHOLDER).ok_or_else(invalid_placeholder)?;
        let is_whole_label = (before.is_empty() || before.ends_with('.'))
            && (after.is_empty() || after.starts_with(['.', ':']));
        if !is_whole_label || before.contains(['{', '}', '*']) || after.contains(['{', '}', '*']) {
            return Err(invalid_placeholder());
        }
        // The shortest label in its place gives the rest to the rules for requests.
        let host = normalize_host(format!("{before}t{after}").as_bytes())
            .map(Cow::into_owned)
            .ok_or_else(|| HostPatternError::InvalidHost(text.into()))?;
        let (before, label_and_after) =
            host.split_at_checked(before.len()).ok_or_else(|| HostPatternError::InvalidHost(text.into()))?;
        let after = label_and_after.strip_prefix('t').unwrap_or_default();
        Ok(Self::Tenant { before: before.into(), after: after.into() })
    }

    /// The label at `{tenant}` of `host`, in canonical form, where this pattern has one and matches.
    pub fn tenant_label<'h>(&self, host: &'h str) -> Option<&'h str> {
        match self {
            Self::Exact(_) => None,
            Self::Tenant { before, after } => host
                .strip_prefix(&**before)
                .and_then(|rest| rest.strip_suffix(&**after))
                .filter(|label| !label.is_empty() && !label.contains('.')),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Tenant { before, after } => write!(f, "{before}{{tenant}}{after}"),
        }
    }
}

/// The host of `authority` (`:authority` or `Host`): lower case, without port and without one trailing dot; an IPv6
/// address in brackets, as RFC 5952 writes it. None for user information, an empty label, or anything else that is no
/// host.
pub fn normalize_host(authority: &[u8]) -> Option<Cow<'_, str>> {
    if authority.first() == Some(&b'[') {
        return normalize_ipv6(std::str::from_utf8(authority).ok()?);
    }
    let mut has_upper_case = false;
    let mut label_is_empty = true;
    let mut length = 0;
    for byte in authority {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label_is_empty = false,
            b'A'..=b'Z' => {
                label_is_empty = false;
                has_upper_case = true;
            }
            b'.' if !label_is_empty => label_is_empty = true,
            b':' => break,
            _ => return None,
        }
        length += 1;
    }
    let (host, port) = authority.split_at_checked(length)?;
    if let Some((_colon, port)) = port.split_first() {
        is_port(std::str::from_utf8(port).ok()?).then_some(())?;
    }
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.is_empty() || host.len() > MAX_HOST_LENGTH {
        return None;
    }
    let host = std::str::from_utf8(host).ok()?;
    Some(if has_upper_case { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) })
}

fn normalize_ipv6(authority: &str) -> Option<Cow<'_, str>> {
    let (address, port) = authority.strip_prefix('[')?.split_once(']')?;
    if !port.is_empty() {
        is_port(port.strip_prefix(':')?).then_some(())?;
    }
    let canonical = format!("[{}]", address.parse::<Ipv6Addr>().ok()?);
    match authority.get(..canonical.len()) {
        Some(host) if host == canonical => Some(Cow::Borrowed(host)),
        Some(_) | None => Some(Cow::Owned(canonical)),
    }
}

/// RFC 3986 section 3.2.3: digits, or none. What no TCP port can be is none here either.
fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_read_segment_by_segment() {
        let pattern = PathPattern::parse("/tc/{tenant}/%61/{id}/*/**").unwrap();
        assert_eq!(
            pattern.segments(),
            [
                Segment::Literal("tc".into()),
                Segment::Tenant,
                Segment::Literal("a".into()),
                Segment::Name("id".into()),
                Segment::Any,
                Segment::Rest
            ]
        );
        assert_eq!(pattern.tenant_segment(), Some(1));
        assert_eq!(pattern.to_string(), "/tc/{tenant}/a/{id}/*/**");
        assert_eq!(PathPattern::parse("/").unwrap().segments(), [Segment::Literal("".into())]);
        assert_eq!(PathPattern::parse("/a/").unwrap().to_string(), "/a/");
    }

    #[test]
    fn a_pattern_that_no_request_could_match_is_an_error() {
        for (text, cause) in [
            ("", AmbiguousPath::NotAbsolute),
            ("*", AmbiguousPath::NotAbsolute),
            ("a/b", AmbiguousPath::NotAbsolute),
            ("/a//b", AmbiguousPath::EmptySegment),
            ("/a/../b", AmbiguousPath::DotSegment),
            ("/a/%2e", AmbiguousPath::DotSegment),
            ("/a;b", AmbiguousPath::Parameter),
            ("/a%2Fb", AmbiguousPath::EncodedSeparator),
            ("/a%", AmbiguousPath::InvalidEscape),
            ("/caf\u{e9}", AmbiguousPath::NotAscii),
            ("/a#b", AmbiguousPath::Fragment),
            ("/{id}//", AmbiguousPath::EmptySegment),
        ] {
            assert_eq!(PathPattern::parse(text), Err(PathPatternError::NeverMatches(cause)), "{text}");
        }
    }

    #[test]
    fn a_placeholder_stands_alone_and_once() {
        for segment in ["a{b}", "{a}b", "{a", "a}", "{a}{b}", "{{a}}", "a*", "*a", "***", "{*}"] {
            assert_eq!(
                PathPattern::parse(&format!("/x/{segment}")),
                Err(PathPatternError::MixedSegment(segment.into())),
            );
        }
        assert_eq!(PathPattern::parse("/{}"), Err(PathPatternError::InvalidName("".into())));
        assert_eq!(PathPattern::parse("/{id:int}"), Err(PathPatternError::InvalidName("id:int".into())));
        assert_eq!(PathPattern::parse("/{a}/{a}"), Err(PathPatternError::DuplicateName("a".into())));
        assert_eq!(
            PathPattern::parse("/{tenant}/x/{tenant}"),
            Err(PathPatternError::DuplicateName("tenant".into()))
        );
        assert_eq!(PathPattern::parse("/a/**/b"), Err(PathPatternError::RestNotLast));
        assert_eq!(PathPattern::parse("/a/**/"), Err(PathPatternError::RestNotLast));
        assert_eq!(PathPattern::parse("/a?b"), Err(PathPatternError::Query));
        assert!(PathPattern::parse("/{a}/{b}/{tenant}/*/*").is_ok());
    }

    #[test]
    fn the_number_of_segments_is_bounded() {
        assert!(PathPattern::parse(&"/a".repeat(MAX_SEGMENTS)).is_ok());
        assert_eq!(
            PathPattern::parse(&"/a".repeat(MAX_SEGMENTS + 1)),
            Err(PathPatternError::TooManySegments)
        );
    }

    #[test]
    fn a_host_compares_without_case_port_and_one_trailing_dot() {
        for (authority, host) in [
            ("example.com", "example.com"),
            ("Example.COM:8443", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:443", "example.com"),
            ("example.com:", "example.com"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[::1]", "[::1]"),
            ("[::1]:8443", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("my_host", "my_host"),
        ] {
            assert_eq!(normalize_host(authority.as_bytes()).as_deref(), Some(host), "{authority}");
        }
        assert!(matches!(normalize_host(b"example.com:80"), Some(Cow::Borrowed(_))));
        assert!(matches!(normalize_host(b"[::1]:80"), Some(Cow::Borrowed(_))));
    }

    #[test]
    fn what_is_no_host_is_none() {
        for authority in [
            &b""[..],
            b".",
            b":80",
            b"a..b",
            b".a",
            b"a..",
            b"user@example.com",
            b"a b",
            b"a,b",
            b"a/b",
            b"a:80:80",
            b"::1",
            b"a:8x",
            b"a:123456",
            b"a:65536",
            b"[::1",
            b"[::1]x",
            b"[::1]:x",
            b"[::1%25eth0]",
            b"[]",
            b"[a.b]",
            b"a%2eb",
            b"\xff",
            "b\u{fc}cher.example".as_bytes(),
            b"a\0",
        ] {
            assert_eq!(normalize_host(authority), None, "{}", String::from_utf8_lossy(authority));
        }
        assert!(normalize_host("a".repeat(MAX_HOST_LENGTH).as_bytes()).is_some());
        assert!(normalize_host("a".repeat(MAX_HOST_LENGTH + 1).as_bytes()).is_none());
    }

    #[test]
    fn the_label_at_the_placeholder_names_the_tenant() {
        for (pattern, host, label) in [
            ("api.{tenant}.example.com", "api.acme.example.com", Some("acme")),
            ("{tenant}.example.com", "acme.example.com", Some("acme")),
            ("{tenant}", "acme", Some("acme")),
            ("api.{tenant}", "api.acme", Some("acme")),
            ("{tenant}.example.com", ".example.com", None),
            ("{tenant}.example.com", "a.b.example.com", None),
            ("{tenant}.example.com", "acme.example.org", None),
            ("api.{tenant}.example.com", "www.acme.example.com", None),
            ("acme.example.com", "acme.example.com", None),
        ] {
            assert_eq!(HostPattern::parse(pattern).unwrap().tenant_label(host), label, "{pattern} {host}");
        }
    }

    #[test]
    fn a_host_pattern_has_one_tenant_label_at_most() {
        assert_eq!(
            HostPattern::parse("API.example.com.:443"),
            Ok(HostPattern::Exact("api.example.com".into()))
        );
        for (text, before, after) in [
            ("{tenant}.API.example.com", "", ".api.example.com"),
            ("api.{tenant}.example.com:8443", "api.", ".example.com"),
            ("API.{tenant}", "api.", ""),
            ("API.{tenant}.", "api.", ""),
            ("{tenant}", "", ""),
            ("{tenant}:80", "", ""),
            ("t.{tenant}.t", "t.", ".t"),
        ] {
            let pattern = HostPattern::Tenant { before: before.into(), after: after.into() };
            assert_eq!(HostPattern::parse(text), Ok(pattern), "{text}");
        }
        for text in
            ["*.example.com", "{id}.example.com", "x{tenant}.example.com", "{tenant}x.a", "{tenant}.{tenant}"]
        {
            assert_eq!(HostPattern::parse(text), Err(HostPatternError::InvalidPlaceholder(text.into())));
        }
        for text in
            ["", "a b", "https://a", "a@b", "{tenant}..a", ".{tenant}", "{tenant}.a:x", "a:1.{tenant}"]
        {
            assert_eq!(HostPattern::parse(text), Err(HostPatternError::InvalidHost(text.into())), "{text}");
        }
    }
}
