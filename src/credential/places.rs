//! Exactly one token from the bytes of a request.
//!
//! 1. Every place that a provider lists is looked at: headers, cookies, query parameters.
//! 2. All of them together must hold exactly one token; two are refused even if they are equal, since the upstream
//!    may read the other one.
//! 3. The token counts for the providers that list its place, and for no others.
//!
//! A header that does not begin with a listed prefix carries no token. The longest prefix that fits decides, once.
//! Hosts join a repeated `authorization` with commas, so a list in which a token stands beside anything else is
//! refused in the same way as the repeated header. What the token says is not looked at here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::http::headers::{Headers, trim, values};
use crate::http::percent;
use crate::http::search::are_visible;
use crate::ids::ProviderId;

/// A set of providers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderSet {
    words: Vec<u64>,
}

impl ProviderSet {
    /// Adds a provider.
    pub fn insert(&mut self, provider: ProviderId) {
        let (word, bit) = Self::position(provider);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    /// Whether a provider is in the set.
    pub fn contains(&self, provider: ProviderId) -> bool {
        let (word, bit) = Self::position(provider);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The providers, in order.
    pub fn iter(&self) -> impl Iterator<Item = ProviderId> {
        (0_u16..).zip(&self.words).flat_map(|(place, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = u16::try_from(left.trailing_zeros()).ok().filter(|_| left != 0)?;
                left &= left - 1;
                Some(ProviderId(place * 64 + bit))
            })
        })
    }

    /// The provider, where there is one only.
    pub fn sole(&self) -> Option<ProviderId> {
        let mut all = self.iter();
        all.next().filter(|_| all.next().is_none())
    }

    fn position(provider: ProviderId) -> (usize, u64) {
        (usize::from(provider.0 / 64), 1 << (provider.0 % 64))
    }
}

impl FromIterator<ProviderId> for ProviderSet {
    fn from_iter<I: IntoIterator<Item = ProviderId>>(providers: I) -> Self {
        let mut set = Self::default();
        providers.into_iter().for_each(|provider| set.insert(provider));
        set
    }
}

/// Where one provider's tokens come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderPlaces {
    /// Names (lower case) and prefixes. A prefix that ends with a space is an authentication scheme: compared without
    /// case, and followed by one space or more (RFC 9110 section 11.1). Any other is compared exactly.
    pub from_headers: Vec<(Box<str>, Box<str>)>,
    /// Names of cookies, compared exactly.
    pub from_cookies: Vec<Box<str>>,
    /// Names of query parameters, compared after decoding.
    pub from_params: Vec<Box<str>>,
}

/// The places where any provider's token may stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialPlaces {
    headers: Vec<HeaderPlaces>,
    /// By name.
    cookies: Vec<(Box<str>, ProviderSet)>,
    /// By name.
    parameters: Vec<(Box<str>, ProviderSet)>,
}

/// The prefixes listed for one header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HeaderPlaces {
    name: Box<str>,
    /// The longest first.
    prefixes: Vec<HeaderPrefix>,
}

/// One prefix of a header, and who lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HeaderPrefix {
    prefix: Prefix,
    providers: ProviderSet,
    is_dpop: bool,
}

/// The one token of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential<'r> {
    /// Visible ASCII, not empty.
    pub token: Cow<'r, [u8]>,
    /// The providers that list the place: the token counts for no others.
    pub providers: &'r ProviderSet,
    /// Where it stands: what to remove where the upstream must not see it.
    pub place: PlaceRef<'r>,
    /// Whether it came under the authentication scheme `DPoP` (RFC 9449 section 7.1).
    pub is_dpop: bool,
}

impl Credential<'_> {
    /// The token as text.
    pub fn text(&self) -> &str {
        // An empty token is none to anyone.
        std::str::from_utf8(&self.token).unwrap_or_default()
    }
}

/// A place in a request where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceRef<'r> {
    /// The header of this name, lower case.
    Header(&'r str),
    /// The cookie of this name; [`without_cookie`](super::without_cookie) removes it.
    Cookie(&'r str),
    /// The query parameter of this name, decoded; [`without_query_parameter`](super::without_query_parameter) removes it.
    Parameter(&'r str),
}

impl fmt::Display for PlaceRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::Cookie(name) => write!(f, "cookie `{name}`"),
            Self::Parameter(name) => write!(f, "query parameter `{name}`"),
        }
    }
}

/// Why a request has no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialError {
    /// No token in any place.
    Missing,
    /// More than one token, or one beside another credential in the same header.
    Ambiguous,
    /// An empty token, or one with whitespace or anything else than visible ASCII.
    Malformed,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the request carries no token",
            Self::Ambiguous => "the request carries more than one credential",
            Self::Malformed => "the token is empty or holds characters that no token has",
        })
    }
}

impl std::error::Error for CredentialError {}

impl CredentialPlaces {
    /// The places of all `providers`, who are numbered from 0 in this order; at most 65,536.
    pub fn new(providers: impl IntoIterator<Item = ProviderPlaces>) -> Self {
        let mut headers: BTreeMap<Box<str>, BTreeMap<Prefix, ProviderSet>> = BTreeMap::new();
        let mut cookies: BTreeMap<Box<str>, ProviderSet> = BTreeMap::new();
        let mut parameters: BTreeMap<Box<str>, ProviderSet> = BTreeMap::new();
        for (provider, places) in (0..=u16::MAX).map(ProviderId).zip(providers) {
            let ProviderPlaces { from_headers, from_cookies, from_params } = places;
            for (name, prefix) in from_headers {
                headers.entry(name).or_default().entry(Prefix::of(&prefix)).or_default().insert(provider);
            }
            for name in from_cookies {
                cookies.entry(name).or_default().insert(provider);
            }
            for name in from_params {
                parameters.entry(name).or_default().insert(provider);
            }
        }
        let longest_first = |prefixes: BTreeMap<Prefix, ProviderSet>| {
            let mut prefixes: Vec<_> = prefixes
                .into_iter()
                .map(|(prefix, providers)| {
                    let is_dpop = prefix == Prefix::Scheme("dpop".into());
                    HeaderPrefix { prefix, providers, is_dpop }
                })
                .collect();
            prefixes.sort_by_key(|listed| std::cmp::Reverse(listed.prefix.len()));
            prefixes
        };
        Self {
            headers: headers
                .into_iter()
                .map(|(name, prefixes)| HeaderPlaces { name, prefixes: longest_first(prefixes) })
                .collect(),
            cookies: cookies.into_iter().collect(),
            parameters: parameters.into_iter().collect(),
        }
    }

    /// Every place with the text that stands before a token there, and the providers that list it: headers first.
    pub fn iter(&self) -> impl Iterator<Item = (PlaceRef<'_>, String, &ProviderSet)> {
        let headers = self.headers.iter().flat_map(|places| {
            places.prefixes.iter().map(|HeaderPrefix { prefix, providers, .. }| {
                let text = match prefix {
                    Prefix::Scheme(scheme) => format!("{scheme} "),
                    Prefix::Exact(text) => text.to_string(),
                };
                (PlaceRef::Header(&places.name), text, providers)
            })
        });
        let cookies =
            self.cookies.iter().map(|(name, providers)| (PlaceRef::Cookie(name), String::new(), providers));
        let parameters = self.parameters.iter();
        let parameters =
            parameters.map(|(name, providers)| (PlaceRef::Parameter(name), String::new(), providers));
        headers.chain(cookies).chain(parameters)
    }

    /// What may be the one token of a request, without a look at its characters: a comma in it may set another
    /// credential apart, and the rest may be anything. None where more than one place or line has to be looked at.
    ///
    /// Where these very bytes were accepted as a token before, they are what [`Self::extract`] gives. That saves a walk
    /// over each byte of a token that is known, some 2,000 instructions of 1,000 bytes.
    pub fn candidate<'r>(&'r self, headers: Headers<'r>) -> Option<Credential<'r>> {
        if !(self.cookies.is_empty() && self.parameters.is_empty()) {
            return None;
        }
        let mut only = None;
        for places in &self.headers {
            for value in values(headers, &places.name) {
                if only.replace((places, value)).is_some() {
                    return None;
                }
            }
        }
        let (places, value) = only?;
        let (token, scheme) = places.carried_by(trim(value))?;
        let place = PlaceRef::Header(&places.name);
        Some(Credential {
            token: Cow::Borrowed(token),
            providers: &scheme.providers,
            place,
            is_dpop: scheme.is_dpop,
        })
    }

    /// The one token of a request. `query` is what follows the path's `?`. Nothing is allocated unless a query
    /// parameter has to be decoded.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] where there is not exactly one token; two are ambiguous whatever they look like.
    pub fn extract<'r>(
        &'r self,
        headers: Headers<'r>,
        query: Option<&'r [u8]>,
    ) -> Result<Credential<'r>, CredentialError> {
        let mut found = Found::default();
        for places in &self.headers {
            places.find(headers, &mut found);
        }
        if !self.cookies.is_empty() {
            self.found_in_cookies(headers, &mut found);
        }
        if let (false, Some(query)) = (self.parameters.is_empty(), query) {
            self.found_in_query(query, &mut found);
        }
        if found.is_ambiguous {
            return Err(CredentialError::Ambiguous);
        }
        found.first.unwrap_or(Err(CredentialError::Missing))
    }

    fn found_in_cookies<'r>(&'r self, headers: Headers<'r>, found: &mut Found<'r>) {
        for pair in values(headers, "cookie").flat_map(|value| value.split(|byte| *byte == b';')) {
            let (name, value) = split_pair(pair);
            let name = trim(name);
            let place = self.cookies.binary_search_by(|(listed, _)| listed.as_bytes().cmp(name));
            let Some((name, providers)) = place.ok().and_then(|at| self.cookies.get(at)) else { continue };
            let value = match trim(value) {
                [b'"', value @ .., b'"'] => value,
                value => value,
            };
            found.add(Some(Cow::Borrowed(value)), providers, PlaceRef::Cookie(name), false);
        }
    }

    fn found_in_query<'r>(&'r self, query: &'r [u8], found: &mut Found<'r>) {
        for pair in query.split(|byte| *byte == b'&') {
            let (raw_name, value) = split_pair(pair);
            let place = self.parameters.iter().find(|(name, _)| percent::is_form_name(raw_name, name));
            let Some((name, providers)) = place else { continue };
            found.add(percent::decode_form(value), providers, PlaceRef::Parameter(name), false);
        }
    }
}

impl HeaderPlaces {
    fn find<'r>(&'r self, headers: Headers<'r>, found: &mut Found<'r>) {
        let mut lines = 0;
        let mut carriers = 0;
        for value in values(headers, &self.name) {
            lines += 1;
            let value = trim(value);
            if value.contains(&b',') {
                carriers += self.find_in_list(value, found);
            } else if let Some((token, listed)) = self.carried_by(value) {
                carriers += 1;
                let place = PlaceRef::Header(&self.name);
                found.add(Some(Cow::Borrowed(token)), &listed.providers, place, listed.is_dpop);
            }
        }
        // The same as if the host had joined the lines.
        found.is_ambiguous |= carriers > 0 && lines > 1;
    }

    /// The number of tokens in a list. A lone one is malformed: no token holds a comma.
    fn find_in_list<'r>(&'r self, list: &'r [u8], found: &mut Found<'r>) -> usize {
        let mut carriers = 0;
        let mut others = 0;
        for part in list.split(|byte| *byte == b',').map(trim) {
            match self.carried_by(part) {
                Some((_, listed)) => {
                    carriers += 1;
                    let place = PlaceRef::Header(&self.name);
                    found.add(None, &listed.providers, place, listed.is_dpop);
                }
                // Before the token, or with a scheme of its own: another credential. Else the rest of a broken token.
                None if carriers == 0 || has_scheme(part) => others += 1,
                None => {}
            }
        }
        found.is_ambiguous |= carriers > 0 && others > 0;
        carriers
    }

    /// The token in one credential, with what stands before it.
    fn carried_by<'r>(&'r self, credential: &'r [u8]) -> Option<(&'r [u8], &'r HeaderPrefix)> {
        self.prefixes.iter().find_map(|listed| listed.prefix.strip(credential).map(|token| (token, listed)))
    }
}

/// What stands before the token in a header.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Prefix {
    /// An authentication scheme, lower case, without its space.
    Scheme(Box<str>),
    Exact(Box<str>),
}

impl Prefix {
    fn of(prefix: &str) -> Self {
        match prefix.strip_suffix(' ').map(str::trim) {
            Some(scheme) if !scheme.is_empty() => Self::Scheme(scheme.to_ascii_lowercase().into()),
            Some(_) => Self::Exact("".into()), // blanks alone: values are read without those around them
            None => Self::Exact(prefix.into()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Scheme(scheme) => scheme.len() + 1,
            Self::Exact(prefix) => prefix.len(),
        }
    }

    /// What follows the prefix in `value`; a scheme that nothing follows gives the empty token.
    fn strip<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        match self {
            Self::Exact(prefix) => value.strip_prefix(prefix.as_bytes()),
            Self::Scheme(scheme) => {
                let (start, rest) = value.split_at_checked(scheme.len())?;
                if !start.eq_ignore_ascii_case(scheme.as_bytes()) || !matches!(rest, [] | [b' ', ..]) {
                    return None;
                }
                let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
                rest.get(spaces..)
            }
        }
    }
}

/// What has been found so far.
#[derive(Default)]
struct Found<'r> {
    first: Option<Result<Credential<'r>, CredentialError>>,
    is_ambiguous: bool,
}

impl<'r> Found<'r> {
    /// Adds a token; `None` for one that cannot be decoded.
    fn add(
        &mut self,
        token: Option<Cow<'r, [u8]>>,
        providers: &'r ProviderSet,
        place: PlaceRef<'r>,
        is_dpop: bool,
    ) {
        self.is_ambiguous |= self.first.is_some();
        if !self.is_ambiguous {
            let token = token.filter(|token| is_token(token)).ok_or(CredentialError::Malformed);
            self.first = Some(token.map(|token| Credential { token, providers, place, is_dpop }));
        }
    }
}

/// `scheme SP something`.
fn has_scheme(part: &[u8]) -> bool {
    part.split(|byte| *byte == b' ').count() > 1
}

/// Whether a token can look like this (a superset of RFC 6750's `b64token`).
fn is_token(token: &[u8]) -> bool {
    !token.is_empty() && are_visible(token)
}

/// Name and value around the first `=`; without one it is all name.
pub(super) fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = pair.splitn(2, |byte| *byte == b'=');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::{option, sample};

    use super::super::strip::{without_cookie, without_query_parameter};
    use super::*;
    use crate::http::headers::borrowed;

    fn places(headers: &[(&str, &str)], cookies: &[&str], params: &[&str]) -> ProviderPlaces {
        ProviderPlaces {
            from_headers: headers.iter().map(|&(name, prefix)| (name.into(), prefix.into())).collect(),
            from_cookies: cookies.iter().map(|&name| name.into()).collect(),
            from_params: params.iter().map(|&name| name.into()).collect(),
        }
    }

    fn bearer() -> CredentialPlaces {
        CredentialPlaces::new([places(&[("authorization", "Bearer ")], &[], &[])])
    }

    fn everywhere() -> CredentialPlaces {
        CredentialPlaces::new([places(
            &[("authorization", "Bearer "), ("x-token", "")],
            &["session"],
            &["access_token"],
        )])
    }

    fn token(
        places: &CredentialPlaces,
        headers: &[(&str, &[u8])],
        query: Option<&str>,
    ) -> Result<String, CredentialError> {
        let query = query.map(str::as_bytes);
        places.extract(&borrowed(headers), query).map(|credential| credential.text().to_owned())
    }

    fn authorization(value: &[u8]) -> Result<String, CredentialError> {
        token(&bearer(), &[("accept", b"*/*"), ("authorization", value)], None)
    }

    #[test]
    fn a_token_from_a_plain_header_is_borrowed() {
        let places = bearer();
        let headers = borrowed(&[("authorization", "Bearer a.b.c")]);
        let credential = places.extract(&headers, None).unwrap();
        assert!(matches!(credential.token, Cow::Borrowed(b"a.b.c")));
        assert_eq!(credential.place, PlaceRef::Header("authorization"));
        assert_eq!(credential.providers.sole(), Some(ProviderId(0)));
    }

    #[test]
    fn a_candidate_is_what_stands_in_the_only_place_that_there_is() {
        let only = |value: &[u8]| {
            let headers = [("authorization", value)];
            bearer().candidate(&borrowed(&headers)).map(|candidate| candidate.token.into_owned())
        };
        assert_eq!(only(b"Bearer a.b"), Some(b"a.b".to_vec()));
        assert_eq!(only(b"Bearer a, b"), Some(b"a, b".to_vec()), "not yet looked at");
        assert_eq!(only(b"Basic a"), None);
        let twice = [("authorization", "Bearer a"), ("authorization", "Basic b")];
        assert_eq!(bearer().candidate(&borrowed(&twice)), None);
        assert_eq!(
            everywhere().candidate(&borrowed(&[("authorization", "Bearer a")])),
            None,
            "a cookie may hold another"
        );
        for (cookies, parameters) in [(&["session"][..], &[][..]), (&[], &["access_token"])] {
            let places =
                CredentialPlaces::new([places(&[("authorization", "Bearer ")], cookies, parameters)]);
            assert_eq!(places.candidate(&borrowed(&[("authorization", "Bearer a")])), None);
        }
    }

    #[test]
    fn of_prefixes_of_one_header_the_scheme_is_not_taken_for_a_part_of_the_token() {
        let places = CredentialPlaces::new([
            places(&[("x-token", "Bearer")], &[], &[]),
            places(&[("x-token", "Bearer ")], &[], &[]),
            places(&[("x-token", " ")], &[], &[]),
        ]);
        let found = |value: &str| {
            let headers = [("x-token", value)];
            let headers = borrowed(&headers);
            let credential = places.extract(&headers, None).unwrap();
            (credential.text().to_owned(), credential.providers.sole().map(|provider| provider.0))
        };
        assert_eq!(found("Bearer t"), ("t".to_owned(), Some(1)));
        assert_eq!(found("Bearert"), ("t".to_owned(), Some(0)));
        assert_eq!(found("t"), ("t".to_owned(), Some(2)), "blanks alone stand before nothing");
    }

    #[test]
    fn a_scheme_is_compared_without_case_and_followed_by_spaces() {
        for value in [&b"Bearer t"[..], b"bearer t", b"BEARER   t", b" Bearer t\t"] {
            assert_eq!(authorization(value), Ok("t".to_owned()));
        }
    }

    #[test]
    fn another_scheme_carries_no_token() {
        for value in
            [&b"Basic dTpw"[..], b"Bearert", b"Beare", b"", b"Bearer\tt", b"Digest a=\"b\", c=\"d e\""]
        {
            assert_eq!(
                authorization(value),
                Err(CredentialError::Missing),
                "{}",
                String::from_utf8_lossy(value)
            );
        }
        assert_eq!(token(&bearer(), &[], Some("access_token=t")), Err(CredentialError::Missing));
    }

    #[test]
    fn an_empty_token_or_one_with_other_characters_is_malformed() {
        for value in [
            &b"Bearer"[..],
            b"bearer ",
            b"Bearer a b",
            b"Bearer a\tb",
            b"Bearer \tb",
            b"Bearer a\x7f",
            b"Bearer \xff",
            b"Bearer \xc3\xa9",
            b"Bearer a\0",
            b"Bearer a,b",
            b"Bearer a,",
            b"Bearer a, b",
        ] {
            assert_eq!(
                authorization(value),
                Err(CredentialError::Malformed),
                "{}",
                String::from_utf8_lossy(value)
            );
        }
    }

    #[test]
    fn a_joined_header_with_two_credentials_is_ambiguous() {
        for value in [
            &b"Bearer a,Bearer b"[..],
            b"Bearer a, bearer a",
            b"Bearer,Bearer a",
            b"Basic x,Bearer y",
            b"Bearer y,Basic x",
            b"Bearer y, Digest a=\"b\"",
            b",Bearer y",
            b"x,Bearer y",
        ] {
            assert_eq!(
                authorization(value),
                Err(CredentialError::Ambiguous),
                "{}",
                String::from_utf8_lossy(value)
            );
        }
    }

    #[test]
    fn a_repeated_header_is_as_ambiguous_as_a_joined_one() {
        for (first, second) in [
            ("Bearer a", "Bearer a"),
            ("Bearer a", "Basic x"),
            ("Basic x", "Bearer a"),
            ("", "Bearer a"),
            ("Bearer a,b", "Basic x"),
            ("Basic x", "Bearer a,b"),
        ] {
            let headers = [("authorization", first), ("authorization", second)];
            assert_eq!(
                bearer().extract(&borrowed(&headers), None),
                Err(CredentialError::Ambiguous),
                "{first} {second}"
            );
        }
        let headers = [("authorization", "Basic x"), ("authorization", "Basic y")];
        assert_eq!(bearer().extract(&borrowed(&headers), None), Err(CredentialError::Missing));
    }

    #[test]
    fn two_tokens_are_ambiguous_wherever_they_stand_and_whatever_they_look_like() {
        let all = everywhere();
        let header: (&str, &[u8]) = ("authorization", b"Bearer t");
        let custom: (&str, &[u8]) = ("x-token", b"t");
        let cookie: (&str, &[u8]) = ("cookie", b"a=b; session=t");
        for (headers, query) in [
            (&[header, custom][..], None),
            (&[header, cookie], None),
            (&[cookie, header], None),
            (&[custom, custom], None),
            (&[header], Some("access_token=t")),
            (&[cookie], Some("access_token=t")),
            (&[header], Some("access_token=")),
            (&[header], Some("access_token=%zz")),
            (&[("authorization", b"Bearer")], Some("access_token=t")),
            (&[("x-token", b"")], Some("access_token=t")),
            (&[("cookie", b"session=t; session=t")], None),
            (&[("cookie", b"session=t; a=b; session=")], None),
            (&[("cookie", b"session=t"), ("cookie", b"session=t")], None),
            (&[], Some("access_token=t&access_token=t")),
            (&[], Some("access_token=t&%61ccess%5ftoken=u")),
        ] {
            assert_eq!(token(&all, headers, query), Err(CredentialError::Ambiguous), "{headers:?} {query:?}");
        }
        for (headers, query) in [
            (&[header][..], Some("token=t")),
            (&[custom], None),
            (&[cookie], Some("")),
            (&[("authorization", b"Basic x"), cookie], None),
            (&[], Some("a=b&access_token=t&c")),
        ] {
            assert_eq!(token(&all, headers, query), Ok("t".to_owned()), "{headers:?} {query:?}");
        }
    }

    #[test]
    fn an_exact_prefix_is_compared_with_case() {
        let places = CredentialPlaces::new([places(&[("x-auth", "tok:")], &[], &[])]);
        assert_eq!(token(&places, &[("x-auth", b"tok:t")], None), Ok("t".to_owned()));
        assert_eq!(token(&places, &[("x-auth", b"Tok:t")], None), Err(CredentialError::Missing));
        assert_eq!(token(&places, &[("x-auth", b"tok:")], None), Err(CredentialError::Malformed));
        assert_eq!(token(&places, &[("x-auth", b"tok: t")], None), Err(CredentialError::Malformed));
    }

    #[test]
    fn the_longest_prefix_decides_and_counts_once() {
        let header = |prefix| places(&[("authorization", prefix)], &[], &[]);
        let places = CredentialPlaces::new([
            header(""),
            header("Bearer "),
            header("bearer "),
            header("Bearer x"),
            header(""),
        ]);
        let extract = |value: &'static str| {
            let headers = [("authorization", value)];
            let headers = borrowed(&headers);
            let credential = places.extract(&headers, None).unwrap();
            (credential.text().to_owned(), credential.providers.iter().map(|id| id.0).collect::<Vec<_>>())
        };
        assert_eq!(extract("Bearer t"), ("t".to_owned(), vec![1, 2]));
        assert_eq!(extract("Bearer xt"), ("t".to_owned(), vec![3]));
        assert_eq!(extract("t"), ("t".to_owned(), vec![0, 4]));
    }

    #[test]
    fn a_token_counts_for_the_providers_that_list_its_place() {
        let places = CredentialPlaces::new([
            places(&[("authorization", "Bearer ")], &[], &[]),
            places(&[], &["session"], &["t"]),
            places(&[("authorization", "bearer ")], &["session"], &[]),
        ]);
        let providers = |headers: &[(&str, &[u8])], query: Option<&str>| {
            let headers = borrowed(headers);
            let credential = places.extract(&headers, query.map(str::as_bytes)).unwrap();
            credential.providers.iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(providers(&[("authorization", b"Bearer x")], None), [0, 2]);
        assert_eq!(providers(&[("cookie", b"session=x")], None), [1, 2]);
        assert_eq!(providers(&[], Some("t=x")), [1]);
    }

    #[test]
    fn a_cookie_is_found_by_its_exact_name() {
        let cookie = |value: &'static str| token(&everywhere(), &[("cookie", value.as_bytes())], None);
        for value in [
            "session=t",
            "a=b; session=t",
            "a;session=t;",
            "session=\"t\"",
            "session = t ",
            "Session=u; session=t",
        ] {
            assert_eq!(cookie(value), Ok("t".to_owned()), "{value}");
        }
        assert_eq!(cookie("session=a=b=="), Ok("a=b==".to_owned()));
        assert_eq!(cookie("session=\""), Ok("\"".to_owned()), "a lone quote is no pair of them");
        for value in ["session=", "session", "session=\"\"", "session=a b", "session=\u{e9}"] {
            assert_eq!(cookie(value), Err(CredentialError::Malformed), "{value}");
        }
        for value in ["", "sessions=t", "x-session=t", "SESSION=t", "a=session"] {
            assert_eq!(cookie(value), Err(CredentialError::Missing), "{value}");
        }
    }

    #[test]
    fn a_query_parameter_is_found_by_its_decoded_name() {
        let query = |query| token(&everywhere(), &[], Some(query));
        for text in ["access_token=t", "a&%61ccess_token=%74", "access%5Ftoken=t&b"] {
            assert_eq!(query(text), Ok("t".to_owned()), "{text}");
        }
        assert_eq!(query("access_token=a%2Bb%3D"), Ok("a+b=".to_owned()));
        assert_eq!(query("access_token=a=b"), Ok("a=b".to_owned()));
        for text in
            ["access_token", "access_token=", "access_token=a+b", "access_token=%zz", "access_token=%C3%A9"]
        {
            assert_eq!(query(text), Err(CredentialError::Malformed), "{text}");
        }
        for text in ["", "&", "=t", "Access_token=t", "access_token%=t", "x=access_token"] {
            assert_eq!(query(text), Err(CredentialError::Missing), "{text}");
        }
    }

    #[test]
    fn cookies_are_removed_and_the_rest_left_byte_for_byte() {
        let without = |value: &str| {
            without_cookie(value.as_bytes(), &["session", "sid"]).map(|rest| String::from_utf8(rest).unwrap())
        };
        for (value, rest) in [
            ("a=1; session=t; b=2", "a=1; b=2"),
            ("session=t; a=1", "a=1"),
            ("session=t;  a=1;b=2", "a=1;b=2"),
            ("a=1; session=t", "a=1"),
            ("a=1; sid=\"x\"; session=t; session", "a=1"),
            ("a=session;  sessions=t ", "a=session;  sessions=t "),
        ] {
            assert_eq!(without(value).as_deref(), Some(rest), "{value}");
        }
        for value in ["session=t", " session = t;", "sid=1; session=2", "session=t; ;", "; ;session=t"] {
            assert_eq!(without(value), None, "{value}");
        }
    }

    #[test]
    fn query_parameters_are_removed_and_the_rest_left_byte_for_byte() {
        let without = |path: &str| {
            String::from_utf8(without_query_parameter(path.as_bytes(), &["access_token", "a b"])).unwrap()
        };
        for (path, rest) in [
            ("/x", "/x"),
            ("/x?", "/x?"),
            ("/x?access_token=t", "/x"),
            ("/x?access_token", "/x"),
            ("/x?%61ccess_token=t&access_token=u", "/x"),
            ("/x?a=1&access_token=t&b=%2f", "/x?a=1&b=%2f"),
            ("/x?a+b=1&a%20b=2&&c", "/x?&c"),
            ("/x?y?access_token=t", "/x?y?access_token=t"),
            ("/access_token=t?a", "/access_token=t?a"),
        ] {
            assert_eq!(without(path), rest, "{path}");
        }
    }

    #[test]
    fn a_provider_set_grows_beyond_a_word() {
        let set: ProviderSet = [0, 63, 64, 1000, u16::MAX].into_iter().map(ProviderId).collect();
        assert_eq!(set.iter().map(|id| id.0).collect::<Vec<_>>(), [0, 63, 64, 1000, u16::MAX]);
        assert!(
            !set.contains(ProviderId(1)) && !set.contains(ProviderId(65)) && set.contains(ProviderId(1000))
        );
        assert_eq!(set.sole(), None);
        assert_eq!(ProviderSet::from_iter([ProviderId(70)]).sole(), Some(ProviderId(70)));
        assert_eq!((ProviderSet::default().iter().next(), ProviderSet::default().sole()), (None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_give_one_visible_token_or_none(
            headers in vec((prop_oneof!["authorization", "x-token", "cookie"], header_bytes()), 0..3),
            query in option::of(header_bytes()),
        ) {
            let places = everywhere();
            if let Ok(credential) = places.extract(&borrowed(&headers), query.as_deref()) {
                prop_assert!(!credential.token.is_empty());
                prop_assert!(credential.token.iter().all(|byte| (0x21..=0x7e).contains(byte)));
            }
        }

        #[test]
        fn a_candidate_that_could_have_been_accepted_is_the_one_token(
            headers in vec((prop_oneof![4 => "authorization", 1 => "x-token"], header_bytes()), 0..3),
            accepted in sample::select(vec!["t", "a.b", "a.bt"]),
        ) {
            let only_headers =
                CredentialPlaces::new([places(&[("authorization", "Bearer "), ("x-token", "")], &[], &[])]);
            let headers = borrowed(&headers);
            let candidate = only_headers.candidate(&headers);
            if let Some(candidate) = candidate.filter(|candidate| *candidate.token == *accepted.as_bytes()) {
                prop_assert_eq!(only_headers.extract(&headers, None), Ok(candidate));
            }
        }

        #[test]
        fn a_second_token_anywhere_is_ambiguous(
            headers in vec((prop_oneof!["authorization", "x-token", "cookie"], header_bytes()), 0..3),
            query in option::of(header_bytes()),
        ) {
            let places = everywhere();
            if places.extract(&borrowed(&headers), query.as_deref()).is_ok() {
                for (name, value) in [("x-token", "t"), ("authorization", "Bearer t"), ("cookie", "session=t")] {
                    let mut more = headers.clone();
                    more.push((name.to_owned(), value.as_bytes().to_vec()));
                    let more = borrowed(&more);
                    prop_assert_eq!(
                        places.extract(&more, query.as_deref()),
                        Err(CredentialError::Ambiguous)
                    );
                }
            }
        }

        #[test]
        fn what_is_removed_is_found_no_more(cookies in header_bytes(), query in header_bytes()) {
            let places = everywhere();
            if let Some(rest) = without_cookie(&cookies, &["session"]) {
                let headers = [("cookie", rest)];
                let headers = borrowed(&headers);
                prop_assert_eq!(places.extract(&headers, None), Err(CredentialError::Missing));
            }
            let path = [b"/x?", &query[..]].concat();
            let rest = without_query_parameter(&path, &["access_token"]);
            prop_assert_eq!(places.extract(&[], rest.get(3..)), Err(CredentialError::Missing));
        }
    }

    /// Bytes in which what matters here is frequent.
    fn header_bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => sample::select(vec![
                "Bearer ", "bearer", "Basic ", "session=", "session", "access_token=", "%61ccess_token=", "t", "a.b",
                ",", ";", "; ", "&", "=", " ", "\t", "\"", "%", "%20", "+",
            ]).prop_map(|text| text.as_bytes().to_vec()),
            1 => vec(any::<u8>(), 1..3),
        ];
        vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }
}
