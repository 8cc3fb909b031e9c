//! A question of the playground's page, and the answer.
//!
//! A question carries all that it is about: nothing is remembered between two of them but the throw-away keys, which the page
//! hands back.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scopegate::authorize::Access;
use scopegate::config::document::{Node, parse_json};
use scopegate::config::{self, ConfigErrors, Mark};
use scopegate::policy::Policy;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::catalog::{operation_name, operations, request_text};
use crate::check;
use crate::diff::Compared;
use crate::issuer_http::Fetching;
use crate::matrix;
use crate::scene::{Scene, lossy};
use crate::source::Source;
use crate::terminal::{Terminal, shown};
use crate::test::bench::{Bench, Outcome};
use crate::test::case_file::{self, Case, CaseFile, Expected};
use crate::test::draft::draft;
use crate::test::judge::{Mismatch, judge};
use crate::test::mint::Keys;
use crate::{CommandOutput, Failure};

/// Answer a question of the playground's page, which is JSON on standard input, with JSON.
#[derive(clap::Args)]
pub struct Arguments {}

/// Runs the command.
pub fn run(_: &Arguments) -> Result<CommandOutput, Failure> {
    let mut question = String::new();
    std::io::stdin()
        .read_to_string(&mut question)
        .map_err(|error| Failure(format!("cannot read the question: {error}")))?;
    Ok(CommandOutput::yes(answer(&question)?.to_string()))
}

/// What a page asks.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Question {
    /// The configuration, in YAML.
    config: String,
    /// Whether to say what is wrong with it, and what is in it.
    check: bool,
    /// A request with its token, in the words of a case file.
    case: Option<Value>,
    /// A JWK Set in place of each provider's keys, for a token that was pasted.
    jwks: Option<String>,
    /// The throw-away keys of an earlier answer.
    keys: Value,
    /// Whether to say who can call what.
    matrix: bool,
    /// An earlier configuration to compare with.
    before: Option<String>,
    /// A case file.
    cases: Option<String>,
    /// The name of one of its cases, to be taken apart.
    open: Option<String>,
    /// Names of its cases that are run.
    run: Option<Vec<String>>,
    /// The name of the one that `case` was opened from: what comes is held against what it expects.
    expected_of: Option<String>,
}

/// The answer.
///
/// # Errors
///
/// That the question is none.
fn answer(question: &str) -> Result<Value, String> {
    let question: Question = serde_json::from_str(question).map_err(|error| error.to_string())?;
    let source = Source::of_text("configuration", &question.config);
    let configuration = source.configuration();
    let document = configuration.as_ref().map(|configuration| &configuration.node);
    let mut answer = Map::new();
    if question.check {
        answer.insert("check".to_owned(), check::findings(&source, None, &Fetching::default(), &[]).json());
        let loaded = document.ok().and_then(|document| config::from_document(document).ok());
        answer.insert("outline".to_owned(), loaded.map_or(Value::Null, |loaded| outline(&loaded.policy)));
    }
    let mut keys = Keys::from_json(&question.keys);
    let mut expected = None;
    if let Some(text) = &question.cases {
        let told = match case_file::read(text) {
            Err(errors) => json!({"findings": findings(&errors)}),
            Ok(file) => {
                let told = cases(document, &file, &question, &mut keys);
                let own = |case: &Case| question.expected_of.as_ref() == Some(&case.name);
                expected = file.cases.into_iter().find(own).map(|case| case.expected);
                told
            }
        };
        answer.insert("cases".to_owned(), told);
    }
    if let Some(case) = &question.case {
        let told = decision(document, case, &question, expected.unwrap_or_default(), &mut keys);
        answer.insert(
            "decision".to_owned(),
            told.unwrap_or_else(|problem| json!({"problem": shown(&problem)})),
        );
    }
    if question.matrix {
        answer.insert("matrix".to_owned(), told(matrix::data(&source)));
    }
    if let Some(before) = &question.before {
        let compared = Compared::new(&Source::of_text("before", before), &source);
        let in_words = |compared: Compared| json!({"text": compared.text(false, &Terminal::plain()), "report": compared.json()});
        answer.insert("diff".to_owned(), told(compared.map(in_words)));
    }
    answer.insert("keys".to_owned(), keys.to_json().unwrap_or_default());
    Ok(Value::Object(answer))
}

/// The configuration, or why there is none.
type Document<'d> = Result<&'d Node<'d>, &'d ConfigErrors>;

fn told(answer: Result<Value, Failure>) -> Value {
    answer.unwrap_or_else(|failure| json!({"problem": failure.0}))
}

fn findings(errors: &ConfigErrors) -> Vec<Value> {
    let place = |mark: Option<Mark>| (mark.map(|mark| mark.line), mark.map(|mark| mark.column));
    errors
        .iter()
        .map(|error| {
            let (line, column) = place(error.mark);
            json!({"severity": "error", "path": error.path, "message": error.message, "line": line, "column": column})
        })
        .collect()
}

/// What there is to choose from.
fn outline(policy: &Policy) -> Value {
    let providers = policy.providers.iter().map(|provider| {
        json!({
            "name": provider.name,
            "algorithms": provider.rules.algorithms.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>(),
            "introspection": provider.introspection.is_some(),
            "dpop": provider.dpop.is_some(),
        })
    });
    let calls = operations(policy).map(|(id, operation)| {
        let access = match operation.access {
            Access::Scopes(_) => "scopes",
            Access::Authenticated => "authenticated",
            Access::Public => "public",
            Access::Undecided => "undecided",
        };
        json!({
            "name": operation_name(policy, operation),
            "request": request_text(policy, id),
            "access": access,
        })
    });
    json!({
        "providers": providers.collect::<Vec<_>>(),
        "tenants": policy.tenants.iter().map(|(_, tenant)| &*tenant.id).collect::<Vec<_>>(),
        "operations": calls.collect::<Vec<_>>(),
    })
}

/// The names of a file's cases, the one that is opened, and what comes of them.
fn cases(document: Document<'_>, file: &CaseFile, question: &Question, keys: &mut Keys) -> Value {
    let place = |case: &Case| json!({"name": case.name, "line": case.mark.map(|mark| mark.line)});
    let mut told = Map::new();
    told.insert("names".to_owned(), file.cases.iter().map(place).collect());
    let opened = question.open.as_ref().and_then(|name| file.cases.iter().find(|case| case.name == *name));
    if let Some(case) = opened {
        let draft = with_bench(document, std::slice::from_ref(case), keys, |bench| draft(bench, case));
        told.insert("opened".to_owned(), draft.unwrap_or_else(|problem| json!({"problem": shown(&problem)})));
    }
    if let Some(names) = &question.run {
        let chosen: Vec<Case> =
            file.cases.iter().filter(|case| names.contains(&case.name)).cloned().collect();
        let ran = with_bench(document, &chosen, keys, |bench| {
            Ok(chosen.iter().map(|case| ran(bench, case)).collect())
        });
        told.insert("ran".to_owned(), ran.unwrap_or_else(|problem| json!({"problem": shown(&problem)})));
    }
    Value::Object(told)
}

fn ran(bench: &mut Bench, case: &Case) -> Value {
    match bench.decide(case) {
        Err(problem) => json!({"name": case.name, "ok": false, "problem": shown(&problem)}),
        Ok(outcome) => {
            let mismatches = judge(&case.expected, &outcome);
            json!({
                "name": case.name,
                "ok": mismatches.is_empty(),
                "decision": outcome.decision.as_str(),
                "reason": outcome.reason,
                "status": outcome.status,
                "mismatches": mismatches.iter().map(mismatch).collect::<Vec<_>>(),
            })
        }
    }
}

fn mismatch(mismatch: &Mismatch) -> Value {
    json!({"what": mismatch.what, "expected": mismatch.expected, "found": mismatch.found})
}

/// Does something with a bench for `cases`, and keeps the keys that it made.
fn with_bench<T>(
    document: Document<'_>,
    cases: &[Case],
    keys: &mut Keys,
    work: impl FnOnce(&mut Bench) -> Result<T, String>,
) -> Result<T, String> {
    let document = document.map_err(ToString::to_string)?;
    let mut bench =
        Bench::with_keys(document, cases, std::mem::take(keys)).map_err(|errors| errors.to_string())?;
    let done = work(&mut bench);
    *keys = bench.into_keys();
    done
}

/// What comes of a request, step by step.
fn decision(
    document: Document<'_>,
    case: &Value,
    question: &Question,
    expected: Expected,
    keys: &mut Keys,
) -> Result<Value, String> {
    let mut case = case_file::read_alone(&case.to_string()).map_err(|errors| errors.to_string())?;
    case.expected = expected;
    case.token.is_whole = case.token.raw.is_none() && !case.token.is_absent();
    let decide = |bench: &mut Bench| {
        let scene = bench.scene_of(&case)?;
        let outcome = bench.decide_scene(&scene)?;
        let mut told = decided(&scene, &outcome);
        if let (Some(_), Some(members)) = (&question.expected_of, told.as_object_mut()) {
            let mismatches = judge(&case.expected, &outcome);
            members.insert("mismatches".to_owned(), mismatches.iter().map(mismatch).collect());
        }
        Ok(told)
    };
    if case.token.raw.is_none() {
        return with_bench(document, std::slice::from_ref(&case), keys, decide);
    }
    let jwks = question.jwks.as_deref();
    if let Some(jwks) = jwks {
        parse_json(jwks.as_bytes()).map_err(|error| format!("the JWK Set is not JSON: {error}"))?;
    }
    let document = document.map_err(ToString::to_string)?;
    decide(&mut Bench::for_issued(document, jwks).map_err(|errors| errors.to_string())?)
}

fn decided(scene: &Scene, outcome: &Outcome) -> Value {
    let headers = |headers: &[(String, Vec<u8>)]| -> Vec<Value> {
        headers.iter().map(|(name, value)| json!({"name": name, "value": shown(&lossy(value))})).collect()
    };
    let mut told = outcome.explanation.json();
    if let Some(members) = told.as_object_mut() {
        let facts =
            outcome.facts.iter().map(|(fact, value)| (fact.as_str().to_owned(), value.clone().into()));
        members.insert("facts".to_owned(), Value::Object(facts.collect()));
        members.insert("sent".to_owned(), headers(&scene.headers).into());
        members.insert("forwarded".to_owned(), headers(&outcome.upstream).into());
        members.insert("body".to_owned(), outcome.body.as_deref().map(lossy).into());
        members.insert("token".to_owned(), scene.token.as_deref().map(decoded).into());
        members.insert("now".to_owned(), crate::clock::format(scene.now).into());
    }
    told
}

/// A token and, of a JWT, what is in it.
fn decoded(token: &str) -> Value {
    let part = |part: Option<&str>| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part?).ok()?).ok()
    };
    let mut parts = token.split('.');
    let (header, claims) = (part(parts.next()), part(parts.next()));
    json!({"raw": shown(token), "header": header, "claims": claims})
}
