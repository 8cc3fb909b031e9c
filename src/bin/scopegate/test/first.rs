//! `scopegate test --init`: the first case file of a policy, which says what the policy does today.

use std::collections::BTreeMap;

use scopegate::authorize::Tenant;
use scopegate::config::document::{Member, Node, Value};
use scopegate::exchange::Decision;
use scopegate::ids::OperationId;
use scopegate::policy::Policy;
use scopegate::route::Route;

use super::bench::Bench;
use super::case_file;
use crate::catalog::{operation_name, operations};
use crate::document_text::{list, map, string, yaml};

/// Tenants, callers of a tenant and operations that the first file is about: a table that people still read.
const TENANTS: usize = 2;
const CALLERS: usize = 4;
const OPERATIONS: usize = 40;

/// The text of the file.
///
/// # Errors
///
/// Why there is none.
pub fn first(document: &Node<'_>, config: &str) -> Result<String, String> {
    let policy = scopegate::config::from_document(document).map_err(|errors| errors.to_string())?.policy;
    let requests: Vec<(String, String)> = operations(&policy)
        .take(OPERATIONS)
        .filter_map(|(id, _)| Some((name(&policy, id), request(policy.route(id)?)?)))
        .collect();
    let mut matrices = Vec::new();
    for (_, tenant) in policy.tenants.iter().take(TENANTS) {
        let tokens = tokens(&policy, tenant);
        let decided = decided(document, tenant, &tokens, &requests)?;
        matrices.push((tenant, tokens, decided));
    }
    let mut text = format!(
        "# What `{config}` lets through today, for its first tenants and operations. Read it as a reviewer would: is this what\n\
         # is meant? Then say the rest: run `scopegate test --coverage`.\n\n"
    );
    let case = map([
        ("name", string("who brings no token is refused")),
        (
            "request",
            string(requests.first().map_or("GET /", |(_, request)| request).replace("{tenant}", "any")),
        ),
        ("expect", map([("status", Value::Number(401.0))])),
    ]);
    let is_public = requests.first().is_none_or(|(name, _)| is_public(&policy, name));
    let mut members = vec![("config", string(config))];
    if !is_public {
        members.push(("cases", list([case])));
    }
    let requests_of =
        || map(requests.iter().map(|(name, request)| (name.as_str(), string(request.as_str()))));
    let matrices: Vec<_> = matrices
        .iter()
        .map(|(tenant, tokens, decided)| {
            let token = |parts: &BTreeMap<&'static str, String>| {
                map(parts.iter().map(|(key, value)| (*key, string(value.clone()))))
            };
            map([
                ("name", string(tenant.id.to_string())),
                ("requests", requests_of()),
                ("tokens", map(tokens.iter().map(|(name, parts)| (name.as_str(), token(parts))))),
                outcomes(decided),
            ])
        })
        .collect();
    members.push(("matrix", list(matrices)));
    text.push_str(&yaml(&map(members)));
    Ok(text)
}

fn name(policy: &Policy, id: OperationId) -> String {
    policy.catalog.operation(id).map_or_else(String::new, |operation| operation_name(policy, operation))
}

fn is_public(policy: &Policy, name: &str) -> bool {
    operations(policy).any(|(_, operation)| {
        operation.access == scopegate::authorize::Access::Public && operation_name(policy, operation) == name
    })
}

/// A request that calls the operation. None where it takes more than a line to say.
fn request(route: &Route) -> Option<String> {
    if !route.headers.is_empty() || !route.hosts.is_empty() {
        return None;
    }
    let method = route.methods.as_ref().and_then(|methods| methods.first()).map_or("GET", |method| &**method);
    let pattern = route.path.to_string();
    let segments = pattern.split('/').map(|segment| match segment {
        "*" | "**" => "any",
        "{tenant}" => segment,
        parameter if parameter.starts_with('{') => "1",
        literal => literal,
    });
    Some(format!("{method} {}", segments.collect::<Vec<_>>().join("/")))
}

/// Tokens of the tenant's callers, each with all that it may carry.
fn tokens(policy: &Policy, tenant: &Tenant) -> Vec<(String, BTreeMap<&'static str, String>)> {
    let prefix = tenant.scope_prefix.as_deref().unwrap_or_default();
    let joined = |scopes: Vec<&str>| {
        scopes.iter().map(|scope| format!("{prefix}{scope}")).collect::<Vec<_>>().join(" ")
    };
    let provider = |id| policy.provider(id).map(|provider| provider.name.to_string());
    let several = policy.providers.len() > 1;
    let mut tokens = Vec::new();
    for application in tenant.applications.as_deref().unwrap_or_default().iter().take(CALLERS) {
        let mut parts = BTreeMap::new();
        parts.insert("tenant", tenant.id.to_string());
        parts.insert("client", application.client_id.to_string());
        parts.insert("scope", joined(application.scopes.iter().map(|scope| &**scope).collect()));
        if let Some(provider) = provider(application.provider).filter(|_| several) {
            parts.insert("provider", provider);
        }
        tokens.push((application.client_id.to_string(), parts));
    }
    if tenant.applications.is_none() {
        for scope in tenant.scope_table.declared.iter().flat_map(|declared| declared.keys()).take(CALLERS) {
            let mut parts = BTreeMap::new();
            parts.insert("tenant", tenant.id.to_string());
            parts.insert("client", "any-client".to_owned());
            parts.insert("scope", format!("{prefix}{scope}"));
            if let Some(provider) = tenant.providers.first().and_then(|id| provider(*id)).filter(|_| several)
            {
                parts.insert("provider", provider);
            }
            tokens.push((scope.to_string(), parts));
        }
    }
    tokens
}

/// `allowed`, or `expect` where something passes that will not once enforcement is on.
fn outcomes(decided: &Decided) -> (&'static str, Value<'_>) {
    let has_shadow =
        decided.iter().flat_map(|(_, row)| row).any(|(_, decision)| *decision == Decision::Shadow);
    let row = |row: &'_ [(String, Decision)]| -> Value<'static> {
        if has_shadow {
            Value::Map(
                row.iter()
                    .map(|(name, decision)| Member {
                        key: name.clone().into(),
                        node: string(decision.as_str()).into(),
                    })
                    .collect(),
            )
        } else {
            let passed = row.iter().filter(|(_, decision)| *decision == Decision::Allow);
            list(passed.map(|(name, _)| string(name.clone())))
        }
    };
    let rows = map(decided.iter().map(|(name, decided)| (name.as_str(), row(decided))));
    (if has_shadow { "expect" } else { "allowed" }, rows)
}

/// What becomes of each request, by token.
type Decided = Vec<(String, Vec<(String, Decision)>)>;

/// What the filter lets through, by token.
fn decided(
    document: &Node<'_>,
    tenant: &Tenant,
    tokens: &[(String, BTreeMap<&'static str, String>)],
    requests: &[(String, String)],
) -> Result<Decided, String> {
    let mut decided = Vec::new();
    for (name, parts) in tokens {
        let token = map(parts.iter().map(|(key, value)| (*key, string(value.clone()))));
        let cases = requests.iter().map(|(request_name, request)| {
            map([
                ("name", string(request_name.as_str())),
                ("request", string(request.as_str())),
                ("token", token.clone()),
                ("expect", string("allow")),
            ])
        });
        let file = yaml(&map([("cases", list(cases))]));
        let file = case_file::read(&file).map_err(|errors| errors.to_string())?;
        let mut bench = Bench::new(document, &file.cases).map_err(|errors| errors.to_string())?;
        let mut passed = Vec::new();
        for case in &file.cases {
            let outcome = bench.decide(case).map_err(|message| format!("{}: {message}", tenant.id))?;
            passed.push((case.name.clone(), outcome.decision));
        }
        decided.push((name.clone(), passed));
    }
    Ok(decided)
}
