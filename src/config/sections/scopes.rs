//! Declared scopes and their mapping to permissions, and the rules for their names.

use std::borrow::Cow;

use super::terms::{invalid_scope_character, scope_token};
use crate::authorize::{ScopeKind, ScopeTable};
use crate::collections::seeded_hash::SeededMap;
use crate::config::kind::ErrorKind;
use crate::config::reader::Cursor;

/// `scope_policy`: rules for declared scopes that are not marked `system`.
#[derive(Debug)]
pub struct ScopePolicy {
    max_length: usize,
    max_per_tenant: usize,
    max_description: usize,
    reserved_names: Vec<Box<str>>,
    reserved_prefixes: Vec<Box<str>>,
}

/// Reads `scope_policy`.
pub fn read_policy(cursor: &Cursor<'_>) -> Option<ScopePolicy> {
    let fields = cursor.map(&[
        "max_length",
        "max_per_tenant",
        "max_description",
        "reserved_names",
        "reserved_prefixes",
    ])?;
    let list = |key, default: &str| match fields.optional(key) {
        None => Some(vec![default.into()]),
        Some(list) => list.strings(false),
    };
    let reserved_names = list("reserved_names", "openid");
    let reserved_prefixes = list("reserved_prefixes", "infor-");
    Some(ScopePolicy {
        max_length: fields.integer("max_length", 1..=1_000, 50) as usize,
        max_per_tenant: fields.integer("max_per_tenant", 1..=100_000, 100) as usize,
        max_description: fields.integer("max_description", 0..=100_000, 500) as usize,
        reserved_names: reserved_names?,
        reserved_prefixes: reserved_prefixes?,
    })
}

/// Who declares scopes, for messages: ``tenant `acme` ``.
pub type Declarer = String;

/// Reads `scopes` and `scope_mapping` of a tenant or a template, called `declarer` in messages.
pub fn read_table(
    scopes: Option<&Cursor<'_>>,
    mapping: Option<&Cursor<'_>>,
    policy: Option<&ScopePolicy>,
    declarer: &Declarer,
) -> ScopeTable {
    let declared = scopes.and_then(|scopes| read_scopes(scopes, policy));
    let mapping =
        mapping.map(|mapping| read_mapping(mapping, declared.as_ref(), declarer)).unwrap_or_default();
    ScopeTable { declared, mapping }
}

/// Whether `scope` is declared in `table`, or nothing is; reported at `cursor` if not.
pub fn check_declared(
    cursor: &Cursor<'_>,
    scope: &str,
    declared: Option<&SeededMap<Box<str>, ScopeKind>>,
    declarer: &Declarer,
) -> bool {
    let Some(declared) = declared else { return true };
    if declared.contains_key(scope) {
        return true;
    }
    let mut names: Vec<&str> = declared.keys().map(AsRef::as_ref).collect();
    names.sort_unstable();
    cursor.dangling(format_args!("scope `{scope}` is not declared by {declarer}"), scope, names);
    false
}

fn read_scopes(cursor: &Cursor<'_>, policy: Option<&ScopePolicy>) -> Option<SeededMap<Box<str>, ScopeKind>> {
    let mut declared = SeededMap::default();
    let mut custom = 0;
    for item in cursor.items()? {
        if let Some(name) = item.is_string().then(|| item.string()).flatten() {
            item.error(
                ErrorKind::WrongKind,
                format_args!("a scope is declared as a map: write `{{name: {name}}}`"),
            );
            continue;
        }
        let Some(fields) = item.map(&["name", "description", "system"]) else { continue };
        let kind = if fields.boolean("system", false) { ScopeKind::System } else { ScopeKind::Custom };
        let policy = policy.filter(|_| kind == ScopeKind::Custom);
        if let Some(description) = fields.optional("description") {
            check_description(&description, policy);
        }
        custom += usize::from(kind == ScopeKind::Custom);
        let Some(name_cursor) = fields.required("name") else { continue };
        let Some(name) = scope_token(&name_cursor) else { continue };
        if let Some(policy) = policy {
            check_name(&name_cursor, &name, policy);
        }
        if declared.contains_key(&name) {
            name_cursor.error(ErrorKind::Repeated, format_args!("scope `{name}` is declared twice"));
        }
        declared.insert(name, kind);
    }
    if let Some(policy) = policy.filter(|policy| custom > policy.max_per_tenant) {
        let most = policy.max_per_tenant;
        cursor.error(
            ErrorKind::OutOfBounds,
            format_args!("{custom} scopes are declared; `scope_policy` allows {most}"),
        );
    }
    Some(declared)
}

fn check_name(cursor: &Cursor<'_>, name: &str, policy: &ScopePolicy) {
    if name.len() > policy.max_length {
        let (length, most) = (name.len(), policy.max_length);
        cursor.error(
            ErrorKind::OutOfBounds,
            format_args!("`{name}` has {length} characters; `scope_policy` allows {most}"),
        );
    }
    if policy.reserved_names.iter().any(|reserved| **reserved == *name) {
        cursor.error(ErrorKind::OutOfBounds, format_args!("`{name}` is reserved by `scope_policy`"));
    }
    if let Some(prefix) = policy.reserved_prefixes.iter().find(|prefix| name.starts_with(&***prefix)) {
        cursor.error(
            ErrorKind::OutOfBounds,
            format_args!("`{name}` begins with `{prefix}`, which is reserved by `scope_policy`"),
        );
    }
}

/// A description is for people: any language, any length unless `scope_policy` says one, in characters.
fn check_description(cursor: &Cursor<'_>, policy: Option<&ScopePolicy>) {
    let Some(text) = cursor.text() else { return };
    let length = text.chars().count();
    if let Some(policy) = policy.filter(|policy| length > policy.max_description) {
        let most = policy.max_description;
        cursor.error(
            ErrorKind::OutOfBounds,
            format_args!("the description has {length} characters; `scope_policy` allows {most}"),
        );
    }
}

fn read_mapping(
    cursor: &Cursor<'_>,
    declared: Option<&SeededMap<Box<str>, ScopeKind>>,
    declarer: &Declarer,
) -> SeededMap<Box<str>, Box<[Box<str>]>> {
    let mut mapping = SeededMap::default();
    for (scope, permissions) in cursor.entries().unwrap_or_default() {
        if let Some(fault) = invalid_scope_character(&scope) {
            permissions.error(ErrorKind::OutOfBounds, format_args!("{fault}"));
        } else {
            check_declared(&permissions, &scope, declared, declarer);
        }
        if let Some(permissions) = permissions.list_of(false, scope_token) {
            mapping.insert(Cow::into_owned(scope).into(), permissions.into());
        }
    }
    mapping
}
