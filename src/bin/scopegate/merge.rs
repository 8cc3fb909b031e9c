//! A table of many files: `providers` and `tenant_templates` are merged by name, `tenants` and `suites` one list after the
//! other, and any other key stands in one file alone. What stands in two files is an error that names both.

use std::collections::HashMap;

use scopegate::config::document::{Mark, Member, Node, Value, Written};
use scopegate::config::{ConfigError, ConfigErrors, ErrorKind};

const BY_NAME: [&str; 2] = ["providers", "tenant_templates"];
/// The lists, with the key that names an item.
const LISTS: [(&str, &str); 2] = [("tenants", "id"), ("suites", "name")];

/// One document of `parts`. `place` says where a mark stands.
///
/// # Errors
///
/// What stands in more than one of them, and parts that are no maps.
pub fn merge<'d>(
    parts: Vec<Node<'d>>,
    place: &dyn Fn(Option<Mark>) -> String,
) -> Result<Node<'d>, ConfigErrors> {
    let mut errors = Vec::new();
    let mut members: Vec<Member<'d>> = Vec::new();
    // The place of each key in `members`, and of each name below those that are merged.
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut names: HashMap<(usize, String), Option<Mark>> = HashMap::new();
    let mut begin: Option<Box<Written>> = None;
    for part in parts {
        let mark = part.mark();
        begin = begin.or(part.written);
        let Value::Map(own) = part.value else {
            let message = format!("a part of a table is a map, not {}", part.value.kind());
            let path = String::new();
            errors.push(ConfigError { kind: ErrorKind::WrongKind, path, mark, message });
            continue;
        };
        let mut seen: Vec<String> = Vec::new();
        for member in own {
            let key = member.key.to_string();
            if seen.contains(&key) {
                let mark = member.node.key_mark();
                let message = "the key is repeated".to_owned();
                errors.push(ConfigError { kind: ErrorKind::Repeated, path: key, mark, message });
                continue;
            }
            seen.push(key.clone());
            let at = places.get(&key).copied();
            let slot = at.unwrap_or(members.len());
            note_names(&key, &member.node, slot, &mut names, place, &mut errors);
            match at.and_then(|at| members.get_mut(at)) {
                None => {
                    places.insert(key, members.len());
                    members.push(member);
                }
                Some(earlier) => add(&key, earlier, member, place, &mut errors),
            }
        }
    }
    match ConfigErrors::of(errors) {
        Some(errors) => Err(errors),
        None => Ok(Node { value: Value::Map(members), written: begin }),
    }
}

/// Adds what a later part says under a key that an earlier one has.
fn add<'d>(
    key: &str,
    earlier: &mut Member<'d>,
    later: Member<'d>,
    place: &dyn Fn(Option<Mark>) -> String,
    errors: &mut Vec<ConfigError>,
) {
    let mark = later.node.key_mark();
    match (&mut earlier.node.value, later.node.value) {
        (Value::Map(all), Value::Map(more)) if BY_NAME.contains(&key) => all.extend(more),
        (Value::List(all), Value::List(more)) if LISTS.iter().any(|(list, _)| *list == key) => {
            all.extend(more);
        }
        // Each file may say which version it is written for.
        (one, other) if key == "version" && *one == other => {}
        (_, _) => {
            let other = place(earlier.node.key_mark());
            let message = format!("the key stands in {other} too; only one file of a table may have it");
            errors.push(ConfigError { kind: ErrorKind::InTwoFiles, path: key.to_owned(), mark, message });
        }
    }
}

/// Takes note of what `node` names, and reports what was named in another file or before.
fn note_names(
    key: &str,
    node: &Node<'_>,
    slot: usize,
    names: &mut HashMap<(usize, String), Option<Mark>>,
    place: &dyn Fn(Option<Mark>) -> String,
    errors: &mut Vec<ConfigError>,
) {
    let mut note = |name: &str, mark: Option<Mark>| {
        if let Some(earlier) = names.insert((slot, name.to_owned()), mark) {
            let thing = match key {
                "providers" => "provider",
                "tenant_templates" => "template",
                "tenants" => "tenant",
                _ => "suite",
            };
            let message = format!("{thing} `{name}` stands in {} too", place(earlier));
            errors.push(ConfigError { kind: ErrorKind::InTwoFiles, path: key.to_owned(), mark, message });
        }
    };
    match &node.value {
        Value::Map(own) if BY_NAME.contains(&key) => {
            own.iter().for_each(|member| note(&member.key, member.node.key_mark()));
        }
        Value::List(items) => {
            let Some((_, name_key)) = LISTS.iter().find(|(list, _)| *list == key) else { return };
            for item in items {
                let Value::Map(own) = &item.value else { continue };
                if let Some(Member { node: Node { value: Value::String(name), .. }, .. }) =
                    own.iter().find(|member| member.key == *name_key)
                {
                    note(name, item.mark());
                }
            }
        }
        Value::Map(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
