//! Small terms that several areas of the configuration share.

use crate::authenticate::{ClaimPath, RequiredValue};
use crate::authorize::{Enforcement, EvidenceKind, EvidenceKinds, Permissions, Requirement};
use crate::config::kind::ErrorKind;
use crate::config::reader::Cursor;
use crate::ids::PermissionId;
use crate::route::normalize_host;

/// Where a claim stands: a string, in which `.` separates the names of nested members, or a list of literal names. A
/// string that holds `://` is one literal name, as a URI is (RFC 7519 section 4.2).
pub fn claim_path(cursor: &Cursor<'_>) -> Option<ClaimPath> {
    if !cursor.is_list() {
        let text = cursor.string()?;
        let path = parse_claim_path(&text);
        if path.is_none() {
            cursor.error(
                ErrorKind::WrongKind,
                format_args!("`{text}` is no claim path: a name in it is empty"),
            );
        }
        return path;
    }
    let mut names = Vec::new();
    for name in cursor.some_items()? {
        names.push(name.string()?);
    }
    ClaimPath::literal(names.iter().map(AsRef::as_ref))
}

/// As [`claim_path`], of a string.
pub fn parse_claim_path(text: &str) -> Option<ClaimPath> {
    if text.contains("://") { ClaimPath::literal([text]) } else { ClaimPath::dotted(text) }
}

/// Alternatives: one path as a string, or a list of paths.
pub fn claim_paths(cursor: &Cursor<'_>) -> Option<Vec<ClaimPath>> {
    if cursor.is_string() {
        return Some(vec![claim_path(cursor)?]);
    }
    cursor.list_of(true, |item| claim_path(item))
}

/// Claims of which each must have one of some values: a map from claim paths, as strings, to lists of strings.
pub fn required_values(cursor: &Cursor<'_>) -> Option<Vec<RequiredValue>> {
    let mut all = Some(Vec::new());
    for (name, values) in cursor.entries()? {
        let path = parse_claim_path(&name);
        if path.is_none() {
            values.error(
                ErrorKind::WrongKind,
                format_args!("`{name}` is no claim path: a name in it is empty"),
            );
        }
        let required = path
            .zip(values.strings(true))
            .map(|(path, values)| RequiredValue { path, values: values.into() });
        all = all.zip(required).map(|(mut all, required)| {
            all.push(required);
            all
        });
    }
    all
}

/// A host, in canonical form.
pub fn exact_host(cursor: &Cursor<'_>) -> Option<Box<str>> {
    let text = cursor.string()?;
    let host = normalize_host(text.as_bytes());
    if host.is_none() {
        cursor.error(ErrorKind::WrongKind, format_args!("`{text}` is not a host"));
    }
    Some(host?.into())
}

/// A header's name, in lower case. Never one of `:authority`'s, which proxies keep elsewhere.
pub fn header_name(cursor: &Cursor<'_>) -> Option<Box<str>> {
    let name = http_token(cursor)?.to_ascii_lowercase();
    if name == "host" {
        cursor.error(ErrorKind::OutOfBounds, "`host` is not a header that can be read or set here");
        return None;
    }
    Some(name.into())
}

/// A `token` of RFC 9110 section 5.6.2.
pub fn http_token(cursor: &Cursor<'_>) -> Option<Box<str>> {
    let text = cursor.string()?;
    let is_token =
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !is_token {
        cursor.error(
            ErrorKind::OutOfBounds,
            format_args!("`{text}` holds a character that no name in HTTP may hold"),
        );
        return None;
    }
    Some(text.into())
}

/// A `scope-token` of RFC 6749 section 3.3. Permissions keep to it too: they are forwarded separated by spaces.
pub fn scope_token(cursor: &Cursor<'_>) -> Option<Box<str>> {
    let text = cursor.string()?;
    if let Some(fault) = invalid_scope_character(&text) {
        cursor.error(ErrorKind::OutOfBounds, format_args!("{fault} in `{text}`"));
        return None;
    }
    Some(text.into())
}

/// What keeps `text` from being a `scope-token`, for a message.
pub fn invalid_scope_character(text: &str) -> Option<String> {
    text.chars().find(|c| !matches!(c, '\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e')).map(|c| {
        format!(
            "{} may not stand in a scope (RFC 6749 section 3.3)",
            if c == ' ' { "a space".to_owned() } else { format!("`{c}`") }
        )
    })
}

/// Kinds of tenant evidence. `header` needs `tenant_resolution.headers`.
pub fn evidence_kinds(cursor: &Cursor<'_>, has_headers: bool) -> EvidenceKinds {
    let choices = EvidenceKind::ALL.map(|kind| (kind.as_str(), kind));
    let kinds = cursor.list_of(false, |item| {
        let kind = item.choice(&choices)?;
        if kind == EvidenceKind::Header && !has_headers {
            item.error(
                ErrorKind::MissingKey,
                "`header` is required, but `tenant_resolution.headers` names none",
            );
            return None;
        }
        Some(kind)
    });
    kinds.unwrap_or_default().into_iter().fold(EvidenceKinds::default(), EvidenceKinds::with)
}

/// `enforce`, `shadow` or `off`.
pub fn enforcement(cursor: &Cursor<'_>) -> Option<Enforcement> {
    cursor.choice(&[
        ("enforce", Enforcement::Enforce),
        ("shadow", Enforcement::Shadow),
        ("off", Enforcement::Off),
    ])
}

/// A list of permissions, with at least one.
pub fn permissions(cursor: &Cursor<'_>, known: &mut Permissions) -> Option<Box<[PermissionId]>> {
    let names = cursor.list_of(true, scope_token)?;
    Some(names.iter().map(|name| known.intern(name)).collect())
}

/// A list of permissions of which any one is enough.
pub fn any_of(cursor: &Cursor<'_>, known: &mut Permissions) -> Option<Requirement> {
    Some(Requirement { all_of: Box::default(), any_of: permissions(cursor, known)? })
}

/// What an operation requires: a list, of which all are needed; or `any_of`, `all_of` or both.
pub fn requirement(cursor: &Cursor<'_>, known: &mut Permissions) -> Option<Requirement> {
    if cursor.is_list() {
        return Some(Requirement { all_of: permissions(cursor, known)?, any_of: Box::default() });
    }
    if !cursor.is_map() {
        return cursor.unexpected("a list, or a map with `any_of` or `all_of`");
    }
    let fields = cursor.map(&["any_of", "all_of"])?;
    let (any_of, all_of) = (fields.optional("any_of"), fields.optional("all_of"));
    if any_of.is_none() && all_of.is_none() {
        cursor
            .error(ErrorKind::NothingRequired, "nothing is required: neither `any_of` nor `all_of` is there");
        return None;
    }
    let mut read = |list: Option<Cursor<'_>>| match list {
        None => Some(Box::default()),
        Some(list) => permissions(&list, known),
    };
    let (any_of, all_of) = (read(any_of), read(all_of));
    Some(Requirement { all_of: all_of?, any_of: any_of? })
}
