//! ConfigMaps of Kubernetes among the files of a table: each of their entries is a list of tenants, and nothing else.
//!
//! Whoever may write a ConfigMap may not change what is not a tenant, nor what stands in another's ConfigMap: so each entry is
//! read by itself, and never put together with others as text.

use scopegate::config::document::{Member, Node, Value};
use scopegate::config::{ConfigError, ErrorKind};

use crate::envoy_file::{member, string};

/// An entry of a ConfigMap.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// Which it is, for messages.
    pub name: String,
    /// A list of tenants in YAML, as somebody wrote it.
    pub text: String,
}

/// The entries of ConfigMaps, where `documents` are some or a list of them; what else is none of them is named.
pub fn entries(documents: &[Node<'_>]) -> Option<Result<Vec<Entry>, String>> {
    let resources: Vec<&Node<'_>> = documents.iter().flat_map(listed).collect();
    let is_list = documents.iter().any(|document| is_kind(document, &["List", "ConfigMapList"]));
    let is_ours = |resource: &&Node<'_>| is_kind(resource, &["ConfigMap"]);
    if !is_list && !resources.iter().any(is_ours) {
        return None;
    }
    if !resources.iter().all(is_ours) {
        return Some(Err("beside ConfigMaps a file of a table holds nothing else".to_owned()));
    }
    let of_each = resources.into_iter().map(of_map).collect::<Result<Vec<_>, _>>();
    Some(of_each.map(|entries| entries.into_iter().flatten().collect()))
}

/// What a list of resources holds, or the resource itself.
fn listed<'d>(document: &'d Node<'d>) -> Vec<&'d Node<'d>> {
    match member(document, "items").map(|items| &items.value) {
        Some(Value::List(items)) if is_kind(document, &["List", "ConfigMapList"]) => items.iter().collect(),
        Some(_) | None => vec![document],
    }
}

fn is_kind(resource: &Node<'_>, kinds: &[&str]) -> bool {
    let is = |key: &str, known: &[&str]| {
        member(resource, key).and_then(string).is_some_and(|value| known.contains(&value))
    };
    is("apiVersion", &["v1"]) && is("kind", kinds)
}

fn of_map(map: &Node<'_>) -> Result<Vec<Entry>, String> {
    let of_metadata = |key: &str| member(map, "metadata").and_then(|it| member(it, key)).and_then(string);
    let name = of_metadata("name").unwrap_or("without a name");
    let name = match of_metadata("namespace") {
        Some(namespace) => format!("ConfigMap {namespace}/{name}"),
        None => format!("ConfigMap {name}"),
    };
    if member(map, "binaryData").is_some() {
        return Err(format!("{name} has `binaryData`: tenants are text, in `data`"));
    }
    match member(map, "data").map(|data| &data.value) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Map(data)) => data.iter().map(|entry| of_entry(&name, entry)).collect(),
        Some(other) => Err(format!("{name}: `data` is a map, not {}", other.kind())),
    }
}

fn of_entry(map: &str, entry: &Member<'_>) -> Result<Entry, String> {
    let name = format!("{map}, entry {}", entry.key);
    match string(&entry.node) {
        Some(text) => Ok(Entry { name, text: text.to_owned() }),
        None => Err(format!("{name} is a text, not {}", entry.node.value.kind())),
    }
}

/// The tenants of an entry, whose documents these are, as a part of a table.
///
/// # Errors
///
/// What is not one list.
pub fn part(mut documents: Vec<Node<'_>>) -> Result<Node<'_>, ConfigError> {
    let failed = |kind, node: Option<&Node<'_>>, message: String| {
        let mark = node.and_then(Node::mark);
        ConfigError { kind, path: "tenants".to_owned(), mark, message }
    };
    if let Some(second) = documents.get(1) {
        let message = "there is more than one document".to_owned();
        return Err(failed(ErrorKind::NotOneDocument, Some(second), message));
    }
    let tenants = documents.pop().unwrap_or(Node { value: Value::List(Vec::new()), written: None });
    if !matches!(tenants.value, Value::List(_)) {
        let message = format!("expected a list, found {}", tenants.value.kind());
        return Err(failed(ErrorKind::WrongKind, Some(&tenants), message));
    }
    let written = tenants.written.clone();
    Ok(Node { value: Value::Map(vec![Member { key: "tenants".into(), node: tenants }]), written })
}
