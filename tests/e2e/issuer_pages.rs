//! Each case of docs/issuers/, and of shapes that no page there has, in a real Envoy: it decides as `scopegate explain` says, with
//! keys and introspection answers that it fetches itself.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use scopegate::config::yaml_to_json;
use scopegate_testing::harness::{Directory, Gateway, Options, now};
use scopegate_testing::http::Request;
use scopegate_testing::mint::{Signer, jwks};
use serde_json::{Map, Value, json};

use crate::issuer::{Behaviour, FaultyIssuer, Received};

/// A configuration with its cases.
struct Page {
    name: String,
    configuration: Value,
    cases: Value,
}

fn pages() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = |folder: &str| {
        fs::read_dir(root.join(folder)).expect("a directory").map(|entry| entry.unwrap().path())
    };
    let mut files: Vec<PathBuf> = listed("docs/issuers").chain(listed("tests/fixtures/issuers")).collect();
    files.sort();
    let read = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        yaml_to_json(&text).expect("YAML")
    };
    let page = |cases: &PathBuf| {
        let name = cases.file_name()?.to_str()?.strip_suffix("_test.yaml")?;
        let configuration = read(&cases.with_file_name(format!("{name}.yaml")));
        Some(Page { name: name.to_owned(), configuration, cases: read(cases) })
    };
    files.iter().filter_map(page).collect()
}

/// Every value of this key, at any depth.
fn each<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(key).and_then(Value::as_str));
            members.values().for_each(|value| each(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|value| each(value, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A token as a case describes it, and what the issuer says about it when it is asked.
struct Minted {
    provider: String,
    token: String,
    answer: Value,
}

/// `part` of the token of the case, with what the defaults have besides.
fn part(page: &Page, case: &Value, part: &str) -> Map<String, Value> {
    let mut members = page.cases["defaults"]["token"][part].as_object().cloned().unwrap_or_default();
    members.extend(case["token"][part].as_object().cloned().unwrap_or_default());
    members
}

fn mint(page: &Page, case: &Value, signer: &Signer) -> Minted {
    for key in case["token"].as_object().unwrap_or(&Map::new()).keys() {
        assert!(
            ["provider", "kind", "header", "claims", "raw"].contains(&key.as_str()),
            "{}: {key} is not known here",
            page.name
        );
    }
    let of = |key: &str| {
        let said = [&case["token"][key], &page.cases["defaults"]["token"][key]].map(Value::as_str);
        said.into_iter().flatten().next().map(str::to_owned)
    };
    let provider = of("provider").unwrap_or_else(|| {
        let providers = page.configuration["providers"].as_object().expect("providers");
        providers.keys().next().expect("a provider").clone()
    });
    let mut claims =
        Map::from_iter([("iat".to_owned(), json!(now())), ("exp".to_owned(), json!(now() + 600))]);
    claims.extend(part(page, case, "claims"));
    claims.retain(|_, value| !value.is_null());
    for value in
        claims.values_mut().filter(|value| value.as_str().is_some_and(|text| text.starts_with("{now")))
    {
        assert_eq!(value, "{now-1m}", "{}", page.name);
        *value = json!(now() - 60);
    }
    let claims = Value::Object(claims);
    let mut answer = claims.clone();
    answer["active"] = json!(true);
    if answer["token_type"].is_null() {
        answer["token_type"] = json!("Bearer");
    }
    match &case["introspection"] {
        Value::Null => {}
        members @ Value::Object(_) => answer = members.clone(),
        word => {
            assert_eq!(word, "inactive", "{}", page.name);
            answer = json!({"active": false});
        }
    }
    let token = match of("kind").as_deref() {
        _ if case["token"]["raw"].is_string() => case["token"]["raw"].as_str().unwrap().to_owned(),
        Some("opaque") => {
            let name = case["name"].as_str().expect("a name");
            format!("opaque-{}-{}", page.name, name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
        }
        Some("jwt") | None => signer.mint(Value::Object(part(page, case, "header")), &claims),
        Some(other) => panic!("{}: {other} is not known here", page.name),
    };
    Minted { provider, token, answer }
}

/// What the tool says of a request.
fn explained(
    page: &Page,
    directory: &Directory,
    minted: &Minted,
    method: &str,
    path: &str,
    keys: &str,
) -> Value {
    let file =
        |name: &str, content: &[u8]| directory.file(name, content).to_str().expect("a path").to_owned();
    let configuration = file("gateway.json", page.configuration.to_string().as_bytes());
    let token = file("token", minted.token.as_bytes());
    let settings = &page.configuration["providers"][&minted.provider];
    let mut tool = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    tool.args(["explain", "--config", &configuration, "--token", &token, "--method", method, "--path", path]);
    tool.args(["--format", "json"]);
    if settings["remote_jwks"].is_object() || settings["discovery"].is_object() {
        tool.args(["--jwks", &format!("{}={keys}", minted.provider)]);
    }
    if let Some(metadata) = metadata(&page.configuration, &minted.provider) {
        let file = file("metadata", metadata.to_string().as_bytes());
        tool.args(["--discovery", &format!("{}={file}", minted.provider)]);
    }
    if settings["introspection"].is_object() {
        tool.args(["--introspection", &file("answer", &answer_of(page, minted))]);
    }
    let output = tool.output().expect("to run the tool");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}: {}", page.name, String::from_utf8_lossy(&output.stderr)))
}

/// What a provider's issuer says of itself, where that is asked for.
fn metadata(configuration: &Value, provider: &str) -> Option<Value> {
    let settings = &configuration["providers"][provider];
    let issuer = settings["issuer"].as_str().filter(|_| settings["discovery"].is_object())?;
    Some(
        json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "introspection_endpoint": format!("{issuer}/ask")}),
    )
}

fn signer() -> Signer {
    Signer::new("RS256", "k1", 1)
}

/// The issuer's answer about a token, signed where the page's configuration asks for that (RFC 9701).
fn answer_of(page: &Page, minted: &Minted) -> Vec<u8> {
    let settings = &page.configuration["providers"][&minted.provider];
    if settings["introspection"]["signed"] != true {
        return minted.answer.to_string().into_bytes();
    }
    let claims = json!({"iss": settings["issuer"], "aud": settings["introspection"]["client_auth"]["client_id"], "iat": now(),
        "token_introspection": minted.answer});
    signer().mint(json!({"typ": "token-introspection+jwt"}), &claims).into_bytes()
}

#[test]
fn each_case_of_a_page_is_decided_as_explain_says() {
    let pages = pages();
    assert_eq!(pages.len(), 15);
    let keys = jwks([&signer()]);
    let answers: Arc<Mutex<HashMap<String, Vec<u8>>>> = Arc::default();
    let issuer = FaultyIssuer::start({
        let (keys, answers) = (keys.clone(), Arc::clone(&answers));
        let discovering =
            pages.iter().find_map(|page| metadata(&page.configuration, "found")).expect("metadata");
        move |received: &Received| match received.parameter("token") {
            Some(token) => Behaviour::Answer(200, answers.lock().unwrap()[&token].clone()),
            None if received.path.starts_with("/.well-known/oauth") => Behaviour::json(&discovering),
            None => Behaviour::json(&keys),
        }
    });
    let (mut clusters, mut variables) = (Vec::new(), Vec::new());
    for page in &pages {
        each(&page.configuration, "cluster", &mut clusters);
        each(&page.configuration, "env", &mut variables);
    }
    clusters.sort_unstable();
    clusters.dedup();
    let options = Options {
        clusters: clusters.into_iter().map(|name| (name.to_owned(), issuer.port)).collect(),
        environment: variables.into_iter().map(|name| (name.to_owned(), "secret".to_owned())).collect(),
        reloadable: true,
        ..Options::default()
    };
    let directory = Directory::new("pages");
    let keys = directory.file("keys.json", keys.to_string().as_bytes());
    let keys = keys.to_str().expect("a path");
    let gateway = Gateway::start(&pages[pages.len() - 1].configuration, &options);
    let mut count = 0;
    for page in &pages {
        assert!(gateway.reload(&page.configuration, &options), "{}: {}", page.name, gateway.log());
        for case in page.cases["cases"].as_array().expect("cases") {
            let about = format!("{}: {}", page.name, case["name"]);
            let minted = mint(page, case, &signer());
            answers.lock().unwrap().insert(minted.token.clone(), answer_of(page, &minted));
            let (method, path) =
                case["request"].as_str().and_then(|text| text.split_once(' ')).expect("a request");
            let expected = explained(page, &directory, &minted, method, path, keys);
            let response = gateway.send(&Request::new(method, path).bearer(&minted.token));
            let status = expected["status"].as_u64().unwrap_or(200);
            let reason = expected["reason"].as_str().unwrap_or("-");
            let decided = response.decision();
            assert_eq!(
                (u64::from(decided.0), &*decided.1),
                (status, reason),
                "{about}: {}\n{}",
                response.text(),
                gateway.log()
            );
            if let Some(wanted) = case["expect"].as_str() {
                assert_eq!(reason, wanted, "{about}");
            } else {
                assert_eq!(status, 200, "{about}");
            }
            for change in expected["upstream"].as_array().expect("changes") {
                if let (Some(name), Some(value)) = (change["set"].as_str(), change["value"].as_str()) {
                    assert_eq!(response.upstream_saw(name), [value], "{about}: {name}");
                }
            }
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}
