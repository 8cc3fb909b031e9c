//! The configurations that something deployed carries: an Envoy bootstrap, a listener, a resource of a discovery service, a
//! list of filters as `render --as envoy` writes it, a dump of a running Envoy, Istio's WasmPlugin and TrafficExtension, Envoy
//! Gateway's EnvoyExtensionPolicy.
//!
//! Envoy takes the last of repeated keys and says nothing, and hands a `google.protobuf.Struct` over without
//! the others: the filter cannot see them. So the whole file is held to have each key once.

use scopegate::config::document::{Mark, Node, Value, Written, parse_json};
use scopegate::config::{ConfigError, ConfigErrors, Warning, WarningKind, read_yaml};
use scopegate::policy::{Audit, Property};

/// A configuration in what carries it.
#[derive(Debug)]
pub struct Configuration<'d> {
    /// Its document.
    pub node: Node<'d>,
    /// The text that the filter gets; None where that is not known before.
    pub text: Option<String>,
    /// Whether it is carried as a Struct, in which repeated keys are lost.
    pub is_struct: bool,
}

/// Whether a document carries configurations of the filter rather than being one.
pub fn is_carrier(document: &Node<'_>) -> bool {
    const KEYS: [&str; 11] = [
        "@type",
        "admin",
        "apiVersion",
        "configs",
        "dynamic_resources",
        "filter_chains",
        "http_filters",
        "kind",
        "resources",
        "static_resources",
        "typed_config",
    ];
    match &document.value {
        Value::Map(members) => {
            let has = |key: &str| members.iter().any(|member| member.key == key);
            !has("version") && !has("providers") && !has("tenants") && KEYS.into_iter().any(has)
        }
        Value::List(items) => items.iter().any(is_carrier),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The filter's configurations in `document`, which is the text `text`, with marks of the whole text.
///
/// # Errors
///
/// A configuration in a string that is not JSON.
pub fn configurations(document: &Node<'_>, text: &str) -> Result<Vec<Configuration<'static>>, ConfigErrors> {
    let mut found = Vec::new();
    collect(document, String::new(), text, &mut found)?;
    Ok(found)
}

fn collect(
    node: &Node<'_>,
    path: String,
    text: &str,
    found: &mut Vec<Configuration<'static>>,
) -> Result<(), ConfigErrors> {
    match &node.value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, format!("{path}[{index}]"), text, found)?;
            }
        }
        Value::Map(members) => {
            let path_of = |key: &str| {
                let separator = if path.is_empty() { "" } else { "." };
                format!("{path}{separator}{key}")
            };
            match plugin(node) {
                None => {
                    for member in members {
                        collect(&member.node, path_of(&member.key), text, found)?;
                    }
                }
                Some(Carried::Struct(value)) => {
                    found.push(Configuration { node: owned(value), text: None, is_struct: true });
                }
                Some(Carried::String(string, value)) => {
                    let node = embedded(string, value.mark(), path_of("configuration.value"), text)?;
                    found.push(Configuration { node, text: Some(string.to_owned()), is_struct: false });
                }
            }
        }
    }
    Ok(())
}

/// What a plugin's `configuration` is carried in.
enum Carried<'d> {
    Struct(&'d Node<'d>),
    String(&'d str, &'d Node<'d>),
}

/// The configuration of a Wasm plugin (`envoy.extensions.wasm.v3.PluginConfig`) that is this filter's: by its
/// name, or by what stands in its configuration.
fn plugin<'d>(node: &'d Node<'d>) -> Option<Carried<'d>> {
    // Istio hands what stands in a resource over as JSON, Envoy Gateway as well.
    for key in ["pluginConfig", "config"] {
        match member(node, key) {
            Some(value) if is_ours(value) => return Some(Carried::Struct(value)),
            Some(_) | None => {}
        }
    }
    let configuration = member(node, "configuration")?;
    let kind = string(member(configuration, "@type")?)?;
    let value = member(configuration, "value")?;
    let is_named =
        ["name", "root_id"].iter().any(|key| member(node, key).and_then(string) == Some("scopegate"));
    if kind.ends_with("google.protobuf.Struct") {
        return (is_named || is_ours(value)).then_some(Carried::Struct(value));
    }
    let text = string(value).filter(|_| kind.ends_with("google.protobuf.StringValue"))?;
    let names = |key: &str| text.contains(&format!("\"{key}\""));
    let is_ours = is_named || (text.contains("providers") && text.contains("tenants")) || names("compact");
    is_ours.then_some(Carried::String(text, value))
}

/// Whether a map is a configuration of the filter, by what stands in it.
fn is_ours(node: &Node<'_>) -> bool {
    (member(node, "providers").is_some() && member(node, "tenants").is_some())
        || (member(node, "version").is_some() && member(node, "compact").is_some())
}

/// The JSON in a string, as the filter reads it, with the marks of the text around it where its lines are
/// that text's.
fn embedded(json: &str, at: Option<Mark>, path: String, text: &str) -> Result<Node<'static>, ConfigErrors> {
    let frame = at.and_then(|at| Frame::of(json, at, text));
    let place = |mark: Option<Mark>| match (&frame, mark) {
        (Some(frame), Some(mark)) => Some(frame.place(mark)),
        (Some(_), None) | (None, _) => at,
    };
    let node = parse_json(json.trim_start_matches('\u{feff}').as_bytes())
        .map_err(|error| ConfigErrors::from(ConfigError { mark: place(error.mark), path, ..error }))?;
    // JSON is YAML too, and has marks there.
    let mut node = match read_yaml(json) {
        Ok(yaml) if json.len() < (8 << 20) && crate::source::same(&yaml.value, &node.value) => owned(&yaml),
        Ok(_) | Err(_) => owned(&node),
    };
    remark(&mut node, &place);
    Ok(node)
}

/// Where the lines of an embedded text stand in the text around it.
struct Frame {
    lines: usize,
    columns: usize,
}

impl Frame {
    /// Where each line of `inner` is one of `outer`'s behind the same indentation, from the line at `at` or
    /// the next, as in a literal block of YAML.
    fn of(inner: &str, at: Mark, outer: &str) -> Option<Self> {
        let at = usize::try_from(at.line.get()).ok()?;
        [at - 1, at].into_iter().find_map(|skipped| {
            let mut lines = outer.lines().skip(skipped);
            let first = lines.next()?;
            let columns = first.len().checked_sub(inner.lines().next()?.len())?;
            let is_framed = |(own, around): (&str, &str)| {
                own.is_empty() && around.trim().is_empty()
                    || around.split_at_checked(columns).is_some_and(|(indentation, rest)| {
                        rest == own && indentation.bytes().all(|byte| byte == b' ')
                    })
            };
            let around = outer.lines().skip(skipped).chain(std::iter::repeat(""));
            inner.lines().zip(around).all(is_framed).then_some(Self { lines: skipped, columns })
        })
    }

    fn place(&self, mark: Mark) -> Mark {
        let sum =
            |number: u32, offset: usize| usize::try_from(number).map_or(offset, |number| number + offset);
        Mark::new(sum(mark.line.get(), self.lines), sum(mark.column.get(), self.columns))
    }
}

/// Gives every node the mark that `place` makes of its own.
pub fn remark(node: &mut Node<'_>, place: &impl Fn(Option<Mark>) -> Option<Mark>) {
    let key = node.written.as_ref().and_then(|written| written.key);
    node.written = place(node.mark())
        .map(|mark| Box::new(Written { mark, key: key.and_then(|key| place(Some(key))), otherwise: None }));
    match &mut node.value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        Value::List(items) => items.iter_mut().for_each(|item| remark(item, place)),
        Value::Map(members) => members.iter_mut().for_each(|member| remark(&mut member.node, place)),
    }
}

/// The same node, apart from the text that it was read from.
pub fn owned(node: &Node<'_>) -> Node<'static> {
    let value = match &node.value {
        Value::Null => Value::Null,
        Value::Bool(value) => Value::Bool(*value),
        Value::Number(number) => Value::Number(*number),
        Value::String(text) => Value::String(text.clone().into_owned().into()),
        Value::List(items) => Value::List(items.iter().map(owned).collect()),
        Value::Map(members) => Value::Map(
            members
                .iter()
                .map(|member| scopegate::config::document::Member {
                    key: member.key.clone().into_owned().into(),
                    node: owned(&member.node),
                })
                .collect(),
        ),
    };
    Node { value, written: node.written.clone() }
}

/// Where an Envoy file reads properties of the filter that a configuration with this `audit` never sets: their names, and
/// why there are none.
pub fn unset_properties(text: &str, audit: Audit) -> Vec<Warning> {
    const PREFIX: &str = "wasm.scopegate.";
    let mut warnings = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with('#')) {
        for (at, _) in line.match_indices(PREFIX) {
            let behind = line.get(at + PREFIX.len()..).unwrap_or_default();
            let name = behind.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next();
            let name = name.unwrap_or_default();
            let known = Property::ALL.into_iter().find(|property| property.as_str() == name);
            let message = match known {
                Some(property) if audit.properties.contains(property) => continue,
                Some(property) => {
                    let otherwise = if property == Property::Log {
                        ""
                    } else {
                        ", or read `wasm.scopegate.log`, which has all facts"
                    };
                    format!("is read here and never set; name `{name}` in `audit.properties`{otherwise}")
                }
                None => "is read here, and the filter has no such property".to_owned(),
            };
            warnings.push(Warning {
                kind: WarningKind::Doubtful,
                path: "audit.properties".to_owned(),
                mark: Some(Mark::new(number, at + 1)),
                message: format!("`{PREFIX}{name}` {message}"),
            });
        }
    }
    warnings
}

pub fn member<'d>(node: &'d Node<'d>, key: &str) -> Option<&'d Node<'d>> {
    let Value::Map(members) = &node.value else { return None };
    members.iter().find(|member| member.key == key).map(|member| &member.node)
}

pub fn string<'d>(node: &'d Node<'d>) -> Option<&'d str> {
    match &node.value {
        Value::String(text) => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => None,
    }
}
