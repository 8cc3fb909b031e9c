//! The JSON Schema against the reader: the same keys everywhere, and the same verdict on whole documents as far as a
//! schema can tell.

#![cfg(feature = "tool")]

use std::collections::BTreeSet;
use std::path::Path;

use scopegate::config::{compact, known_keys, parse_json, parse_yaml_document, yaml_to_json};
use serde_json::{Value, json};

const FULL: &str = include_str!("../fixtures/config/full.yaml");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn schema() -> Value {
    serde_json::from_str(&std::fs::read_to_string(root().join("filter-config/schema.json")).unwrap()).unwrap()
}

/// With the full configuration it has every map that the reader knows.
const REST: &str = "
version: 1
providers:
  local: {issuer: a, audiences: [x], local_jwks: {keys: []}}
  found: {issuer: b, audiences: [x], discovery: {uri: 'https://i/', cluster: c, allowed_hosts: [i]}}
  bearer: {audiences: [x], introspection: {uri: 'https://i/', cluster: c, client_auth: {method: bearer, token: {value: t}}}}
  none: {audiences: [x], introspection: {uri: 'https://i/', cluster: c, client_auth: {method: none}}}
tenants:
  - id: a
    providers: [local]
    scopes: [{name: x}]
    applications: [{client_id: c}]
    operation_requires: {s/o: {all_of: [x]}}
suites: [{name: s, operations: [{name: o, path: /, requires: {any_of: [x]}, headers: [{name: h, value: v}]}]}]
token_endpoints: [{path: /token, methods: [POST], on_unregistered_scope: reject, passed_scopes: [openid]}]
";

/// The schemas of the value at `path` (`a.b[0].c`): one, or several where it may have several forms.
fn at<'s>(schema: &'s Value, path: &str) -> Vec<&'s Value> {
    let mut steps: Vec<String> = Vec::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (key, indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
        steps.push(key.to_owned());
        // A key that is no word is written as an index of text.
        steps.extend(indexes.split('[').skip(1).map(|index| match index.trim_end_matches(']') {
            number if number.parse::<usize>().is_ok() => "[]".to_owned(),
            text => text.trim_matches('"').to_owned(),
        }));
    }
    let mut found = forms(schema, schema);
    for step in steps {
        found = found
            .into_iter()
            .filter_map(|form| match step.as_str() {
                "[]" => form.get("items"),
                key => form["properties"]
                    .get(key)
                    .or_else(|| form.get("additionalProperties").filter(|values| values.is_object())),
            })
            .flat_map(|below| forms(schema, below))
            .collect();
    }
    found
}

/// What `part` may be, references followed.
fn forms<'s>(schema: &'s Value, part: &'s Value) -> Vec<&'s Value> {
    if let Some(name) = part["$ref"].as_str() {
        return forms(schema, &schema["$defs"][name.strip_prefix("#/$defs/").unwrap()]);
    }
    let choices = part.get("anyOf").or_else(|| part.get("oneOf")).and_then(Value::as_array);
    match choices {
        Some(choices) => choices.iter().flat_map(|choice| forms(schema, choice)).collect(),
        None => vec![part],
    }
}

fn keys(schema: &Value) -> Option<BTreeSet<&str>> {
    let properties = schema.get("properties")?.as_object()?;
    Some(properties.keys().map(String::as_str).collect())
}

#[test]
fn the_schema_has_the_keys_that_the_reader_knows() {
    let schema = schema();
    let mut visited: Vec<*const Value> = Vec::new();
    for text in [FULL, REST] {
        let document = parse_yaml_document(text).unwrap();
        for (path, known) in known_keys(&document) {
            let mut known: BTreeSet<&str> = known.iter().copied().collect();
            if path.is_empty() {
                // What it holds is read in its place.
                known.insert(compact::KEY);
            }
            let forms: Vec<&Value> =
                at(&schema, &path).into_iter().filter(|form| keys(form).is_some()).collect();
            let fitting: Vec<&&Value> =
                forms.iter().filter(|form| keys(form).as_ref() == Some(&known)).collect();
            // Where a value has several forms, the reader may know the keys of all of them at once.
            let together: BTreeSet<&str> = forms.iter().flat_map(|form| keys(form).unwrap()).collect();
            assert!(
                !fitting.is_empty() || together == known,
                "`{path}`: the reader knows {known:?}, the schema {together:?}"
            );
            visited.extend(forms.iter().map(|form| std::ptr::from_ref::<Value>(form)));
        }
    }
    // And nothing in it is left that no document leads to.
    let mut unvisited = Vec::new();
    unvisited_objects(&schema, "", &visited, &mut unvisited);
    assert_eq!(unvisited, Vec::<String>::new());
}

fn unvisited_objects(part: &Value, place: &str, visited: &[*const Value], all: &mut Vec<String>) {
    match part {
        Value::Object(members) => {
            let is_closed = members.get("additionalProperties") == Some(&json!(false));
            if is_closed && !visited.contains(&std::ptr::from_ref(part)) {
                all.push(place.to_owned());
            }
            members
                .iter()
                .for_each(|(key, below)| unvisited_objects(below, &format!("{place}/{key}"), visited, all));
        }
        Value::Array(items) => items.iter().for_each(|item| unvisited_objects(item, place, visited, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_tool_prints_the_committed_schema() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_scopegate")).arg("schema").output().unwrap();
    assert!(output.status.success());
    let committed = std::fs::read(root().join("filter-config/schema.json")).unwrap();
    assert_eq!(output.stdout, committed);
}

/// Every configuration in the repository that is meant to be good.
fn good_documents() -> Vec<(String, String)> {
    let read = |file: &Path| (file.display().to_string(), std::fs::read_to_string(file).unwrap());
    let mut documents = vec![
        read(&root().join("tests/fixtures/config/full.yaml")),
        read(&root().join("tests/fixtures/config/compact.json")),
        read(&root().join("tests/fixtures/tool/books.yaml")),
    ];
    let examples =
        std::fs::read_dir(root().join("filter-config")).unwrap().map(|entry| entry.unwrap().path());
    let examples = examples.filter(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        name.ends_with(".yaml") && !name.ends_with("_test.yaml")
    });
    documents.extend(examples.map(|file| read(&file)));
    documents
}

#[test]
fn good_configurations_pass_the_schema_and_say_where_it_is() {
    let schema = schema();
    for (name, text) in good_documents() {
        let document = yaml_to_json(&text).unwrap();
        assert_eq!(faults(&schema, &schema, &document, ""), Vec::<String>::new(), "{name}");
        if name.contains("filter-config") {
            assert!(text.starts_with("# yaml-language-server: $schema=./schema.json\n"), "{name}");
        }
    }
}

/// The whole configuration in both forms: what one says, the other says.
#[test]
fn the_compact_form_passes_the_schema_alone_beside_its_version() {
    let readable = |file: &str| crate::tool::scopegate(&["unbundle", file]).out;
    assert_eq!(
        readable("tests/fixtures/config/compact.json"),
        readable("tests/fixtures/config/full.yaml"),
        "`scopegate bundle --compact tests/fixtures/config/full.yaml -o tests/fixtures/config/compact.json`"
    );
    let schema = schema();
    let compact = std::fs::read(root().join("tests/fixtures/config/compact.json")).unwrap();
    let compact: Value = serde_json::from_slice(&compact).unwrap();
    for (key, value) in [
        ("realm", json!("books")),
        ("tenants", json!([])),
        ("compact", json!(1)),
        ("compact", json!("")),
        ("version", Value::Null),
    ] {
        let mut changed = compact.clone();
        changed[key] = value;
        let refused = !faults(&schema, &schema, &changed, "").is_empty();
        assert!(refused && parse_json(changed.to_string().as_bytes()).is_err(), "{key}");
    }
    assert!(parse_json(compact.to_string().as_bytes()).is_ok());
}

#[test]
fn what_the_schema_refuses_the_reader_refuses_too() {
    let schema = schema();
    let good = yaml_to_json(FULL).unwrap();
    let mut refused = 0;
    let mut pointers = Vec::new();
    all_pointers(&good, String::new(), &mut pointers);
    for pointer in pointers {
        for value in [
            Value::Null,
            json!(true),
            json!(7),
            json!(""),
            json!([]),
            json!({}),
            json!({"surprise": 1}),
            json!("x"),
        ] {
            let mut changed = good.clone();
            *changed.pointer_mut(&pointer).unwrap() = value.clone();
            if faults(&schema, &schema, &changed, "").is_empty() {
                continue;
            }
            refused += 1;
            let text = changed.to_string();
            assert!(
                parse_json(text.as_bytes()).is_err(),
                "{pointer} = {value}: the reader takes it, the schema does not"
            );
        }
    }
    assert!(refused > 500, "{refused}");
}

fn all_pointers(value: &Value, pointer: String, all: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, below) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                all_pointers(below, format!("{pointer}/{key}"), all);
            }
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| all_pointers(item, format!("{pointer}/{index}"), all));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    if !pointer.is_empty() {
        all.push(pointer);
    }
}

/// Where `value` breaks `part`: the keywords that the schema uses, but for `pattern`. An unknown keyword is a panic.
fn faults(schema: &Value, part: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut all = Vec::new();
    let passes = |part: &Value, value: &Value| faults(schema, part, value, place).is_empty();
    for (keyword, argument) in part.as_object().unwrap() {
        let list = || argument.as_array().unwrap();
        let holds = match keyword.as_str() {
            "$ref" => {
                let name = argument.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                all.extend(faults(schema, &schema["$defs"][name], value, place));
                true
            }
            "type" => {
                let is = |name: &str| match name {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
                    other => panic!("type {other}"),
                };
                match argument {
                    Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
                    name => is(name.as_str().unwrap()),
                }
            }
            "enum" => list().contains(value),
            "const" => argument == value,
            "minLength" => {
                value.as_str().is_none_or(|text| text.chars().count() as u64 >= argument.as_u64().unwrap())
            }
            "minimum" => value.as_f64().is_none_or(|number| number >= argument.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= argument.as_f64().unwrap()),
            "minItems" => {
                value.as_array().is_none_or(|items| items.len() as u64 >= argument.as_u64().unwrap())
            }
            "maxProperties" => {
                value.as_object().is_none_or(|map| map.len() as u64 <= argument.as_u64().unwrap())
            }
            "minProperties" => {
                value.as_object().is_none_or(|map| map.len() as u64 >= argument.as_u64().unwrap())
            }
            "uniqueItems" => value.as_array().is_none_or(|items| {
                items.iter().enumerate().all(|(index, item)| !items[..index].contains(item))
            }),
            "contains" => {
                value.as_array().is_none_or(|items| items.iter().any(|item| passes(argument, item)))
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    all.extend(faults(schema, argument, item, &format!("{place}/{index}")));
                }
                true
            }
            "properties" => {
                for (key, below) in value.as_object().into_iter().flatten() {
                    if let Some(part) = argument.get(key) {
                        all.extend(faults(schema, part, below, &format!("{place}/{key}")));
                    }
                }
                true
            }
            "additionalProperties" => {
                for (key, below) in value.as_object().into_iter().flatten() {
                    if part.get("properties").and_then(|known| known.get(key)).is_some() {
                    } else if argument == &json!(false) {
                        all.push(format!("{place}/{key}: unknown"));
                    } else {
                        all.extend(faults(schema, argument, below, &format!("{place}/{key}")));
                    }
                }
                true
            }
            "propertyNames" => {
                value.as_object().is_none_or(|map| map.keys().all(|key| passes(argument, &json!(key))))
            }
            "required" => value
                .as_object()
                .is_none_or(|map| list().iter().all(|key| map.contains_key(key.as_str().unwrap()))),
            "anyOf" => list().iter().any(|choice| passes(choice, value)),
            "oneOf" => list().iter().filter(|choice| passes(choice, value)).count() == 1,
            "allOf" => list().iter().all(|each| passes(each, value)),
            "not" => !passes(argument, value),
            "if" if passes(argument, value) => passes(&part["then"], value),
            "if" => part.get("else").is_none_or(|otherwise| passes(otherwise, value)),
            "then" | "else" | "pattern" | "description" | "default" | "examples" | "title" | "$schema"
            | "$id" | "$defs" => true,
            other => panic!("keyword {other}"),
        };
        if !holds {
            all.push(format!("{place}: {keyword}"));
        }
    }
    all
}
