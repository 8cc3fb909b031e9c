//! `scopegate explain --from-log`: a decision of yesterday, from its audit line or its line of the access log.
//!
//! The line says what was decided and why; the policy of that digest says what stood behind it. The token is not needed, and not
//! known.

use scopegate::authorize::Tenant;
use scopegate::exchange::Stage;
use scopegate::policy::Policy;
use scopegate::policy::reach::{Holder, Reach};
use scopegate::respond::{Reason, Rejection};
use serde_json::{Map, Value, json};

use super::narrate::STAGES;
use super::remedy::remedy;
use crate::catalog::{operation_name, operations, request_text, requirement_text};
use crate::terminal::{Style, Terminal, shown};

/// What a line and a policy say.
#[derive(Debug)]
pub struct Story {
    /// Whether the request passed.
    pub passed: bool,
    /// Whether the policy at hand is the one that decided.
    pub same_policy: bool,
    lines: Vec<(&'static str, String)>,
}

/// Reads a line: an audit line, whatever stands before its `{`, or a line of a JSON access log with the property
/// `scopegate.log` in it.
///
/// # Errors
///
/// What is missing from it.
pub fn read(line: &str) -> Result<Map<String, Value>, String> {
    let at = line.find('{').ok_or("the line holds no JSON object")?;
    let json = line.get(at..).unwrap_or_default();
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    let value = values.next().ok_or("the line holds no JSON object")?;
    let value = value.map_err(|error| format!("the line holds no JSON object: {error}"))?;
    facts(&value, 0).ok_or_else(|| {
        "the line has no facts of a decision: neither `decision` nor a member with those of the property \
         `scopegate.log`"
            .to_owned()
    })
}

/// The facts in a value; those of the access log's own members beside them.
fn facts(value: &Value, depth: usize) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) if members.get("decision").is_some_and(Value::is_string) => {
            Some(members.clone())
        }
        Value::Object(members) if depth < 3 => {
            let mut found = members.values().find_map(|member| facts(member, depth + 1))?;
            for name in ["request_id", "method"] {
                if let (Some(own), false) = (members.get(name), found.contains_key(name)) {
                    found.insert(name.to_owned(), own.clone());
                }
            }
            Some(found)
        }
        // Envoy writes the property as a text.
        Value::String(text) if depth < 3 && text.trim_start().starts_with('{') => {
            facts(&serde_json::from_str(text).ok()?, depth + 1)
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => None,
    }
}

/// Tells what `facts` say, with what `policy` has of them.
pub fn tell(facts: &Map<String, Value>, policy: &Policy) -> Story {
    let text = |name: &str| facts.get(name).and_then(Value::as_str);
    let mut lines: Vec<(&'static str, String)> = Vec::new();
    let decision = text("decision").unwrap_or_default();
    let reason = text("reason").and_then(|name| Reason::ALL.iter().find(|reason| reason.as_str() == name));
    lines.push((
        "decision",
        match (text("reason"), reason) {
            (Some(name), Some(reason)) => format!("{decision}, {name}: {}", reason.meaning()),
            (Some(name), None) => format!("{decision}, {name}"),
            (None, _) => decision.to_owned(),
        },
    ));
    if let Some(reason) = reason {
        lines.push(("answer", reason.class().status().to_string()));
    }
    let same_policy = text("policy").is_some_and(|digest| digest == &*policy.short_digest);
    lines.push(("policy", match text("policy") {
        Some(digest) if same_policy => format!("{digest}, which is the one at hand"),
        Some(digest) => format!(
            "{digest}; the one at hand is {}: what follows of tenants and operations may have been otherwise then",
            policy.short_digest
        ),
        None => "not named in the line".to_owned(),
    }));
    if let Some(id) = text("request_id") {
        lines.push(("request", id.to_owned()));
    }
    let operation = operation_of(policy, text("suite"), text("operation"));
    let request = operation.map(|(id, _)| request_text(policy, id));
    let called = [text("method"), text("path_template")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    if !called.is_empty() {
        lines.push(("called", called));
    }
    if let Some(step) = text("step") {
        lines.push(("ended at", ended_at(step)));
    }
    if let Some(token) = text("token") {
        lines.push(("token", format!("its SHA-256 begins {token}")));
    }
    let tenant = text("tenant").and_then(|name| policy.tenants.tenant(policy.tenants.named(name)?));
    match (text("tenant"), tenant) {
        (Some(name), None) => {
            lines.push(("tenant", format!("{name}, which the policy at hand does not have")))
        }
        (Some(_), Some(tenant)) => lines.push(("tenant", of_tenant(policy, tenant))),
        (None, _) => lines.push(("tenant", "none was resolved".to_owned())),
    }
    if let Some(subject) = text("subject") {
        lines.push(("subject", subject.to_owned()));
    }
    let application = tenant.zip(text("client")).and_then(|(tenant, client)| {
        tenant.applications.as_deref()?.iter().find(|application| *application.client_id == *client)
    });
    match (text("client"), application) {
        (Some(client), Some(application)) => {
            let provider = policy.provider(application.provider).map_or("", |provider| &*provider.name);
            lines.push((
                "client",
                format!("{client} of {provider}, assigned: {}", application.scopes.join(" ")),
            ));
        }
        (Some(client), None) => {
            let registers = tenant.is_some_and(|tenant| tenant.applications.is_some());
            let what = if registers { ", which the tenant does not register" } else { "" };
            lines.push(("client", format!("{client}{what}")));
        }
        (None, _) => {}
    }
    if let Some((id, operation)) = operation {
        let name = operation_name(policy, operation);
        lines.push(("operation", format!("{name}: {}", request.unwrap_or_default())));
        if let Some(tenant) = tenant {
            lines.push(("requires", requirement_text(policy, tenant, id, operation)));
            let enforcement = policy.enforcement(Some(operation), application, tenant);
            lines.push(("enforcement", enforcement.as_str().to_owned()));
            let holder = match application {
                Some(application) => Holder::application(policy, tenant, application),
                None => Holder::any_client(policy, tenant),
            };
            lines.push(("could", could(holder.reach(id))));
        }
    } else if text("operation").is_some() {
        lines.push(("operation", "the policy at hand does not have it".to_owned()));
    }
    if let Some(required) = facts.get("required") {
        let names = |name: &str, word: &str| {
            let names = required.get(name).and_then(Value::as_array)?;
            Some(names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(word))
        };
        let parts: Vec<String> =
            [names("all_of", " and "), names("any_of", " or ")].into_iter().flatten().collect();
        lines.push(("required then", parts.join(", and ")));
    }
    if text("hint") == Some("token_predates_policy") {
        lines.push((
            "hint",
            "the token is older than the tenant's scopes, suites or applications: a new one may do"
                .to_owned(),
        ));
    }
    if let Some(reason) = reason.filter(|_| decision == "deny") {
        let requires = tenant.zip(operation).map(|(tenant, (id, operation))| {
            requirement_text(policy, tenant, id, operation).into_boxed_str()
        });
        let sufficient_scope = requires.filter(|requires| !requires.is_empty());
        lines.push(("to pass", remedy(&Rejection { sufficient_scope, ..Rejection::from(*reason) })));
    }
    Story { passed: decision != "deny", same_policy, lines }
}

fn operation_of<'p>(
    policy: &'p Policy,
    suite: Option<&str>,
    name: Option<&str>,
) -> Option<(scopegate::ids::OperationId, &'p scopegate::authorize::Operation)> {
    let wanted = format!("{}/{}", suite?, name?);
    operations(policy).find(|(_, operation)| operation_name(policy, operation) == wanted)
}

/// The step's name, and what was good before it.
fn ended_at(step: &str) -> String {
    // What is logged so is no request for a token.
    let steps = || STAGES.into_iter().filter(|stage| *stage != Stage::TokenRequest).map(Stage::as_str);
    match steps().position(|known| known == step) {
        Some(place) if place > 0 => {
            let before: Vec<&str> = steps().take(place).collect();
            format!("{step}; {} were good", before.join(", "))
        }
        Some(_) | None => step.to_owned(),
    }
}

fn of_tenant(policy: &Policy, tenant: &Tenant) -> String {
    let mut text = tenant.id.to_string();
    if let Some(prefix) = &tenant.scope_prefix {
        text.push_str(&format!(", scopes begin with `{prefix}`"));
    }
    if let Some(suites) = &tenant.suites {
        let names: Vec<&str> =
            suites.iter().filter_map(|id| policy.catalog.suite(*id)).map(|suite| &*suite.name).collect();
        text.push_str(&format!(", has the suites {}", names.join(" ")));
    }
    text
}

fn could(reach: Reach) -> String {
    match reach {
        Reach::Granted => "with all scopes that it may carry, such a client's token passes".to_owned(),
        Reach::Public => "it is public".to_owned(),
        Reach::Authenticated => "any token of the tenant passes".to_owned(),
        Reach::Lifted(enforcement, reason) => {
            format!("it passes by `{}`, in spite of {reason}", enforcement.as_str())
        }
        Reach::Refused(reason) => format!("no token of such a client passes: {reason}"),
    }
}

impl Story {
    /// For people.
    pub fn text(&self, terminal: &Terminal) -> String {
        let line = |(what, value): &(&str, String)| {
            format!("{} {}\n", terminal.paint(Style::Strong, format!("{what:<13}")), shown(value))
        };
        self.lines.iter().map(line).collect()
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let mut members: Map<String, Value> =
            self.lines.iter().map(|(what, value)| (what.replace(' ', "_"), value.as_str().into())).collect();
        members.insert("same_policy".to_owned(), json!(self.same_policy));
        Value::Object(members)
    }
}
