//! A case as its request and its token come out, for an editor to begin with.

use serde_json::{Map, Value, json};

use super::bench::{Bench, TENANT, claims, header, is_signed, provider_of};
use super::case_file::{Case, Introspection, RequestParts, TokenKind};
use super::mint::usual_algorithm;
use crate::clock;

/// The case with every claim that its token has, in the words of a case file. Times that the case does not say stay relative.
///
/// # Errors
///
/// What keeps the case from being put.
pub fn draft(bench: &Bench, case: &Case) -> Result<Value, String> {
    let tenant = case.token.tenant.as_deref();
    let mut members = Map::new();
    members.insert("request".to_owned(), filled(request(&case.request), tenant));
    members.insert("token".to_owned(), token(bench, case)?);
    match &case.introspection {
        None => {}
        Some(Introspection::Unreachable) => {
            members.insert("introspection".to_owned(), "unreachable".into());
        }
        Some(Introspection::Body(body)) => {
            members.insert("introspection".to_owned(), filled(body.clone(), tenant));
        }
    }
    if case.keys_unreachable {
        members.insert("keys".to_owned(), "unreachable".into());
    }
    if let Some(now) = case.now {
        members.insert("now".to_owned(), clock::format(now).into());
    }
    Ok(Value::Object(members))
}

fn request(parts: &RequestParts) -> Value {
    let headers = parts.headers.iter().map(|(name, values)| match &**values {
        [value] => (name.clone(), Value::from(value.as_str())),
        values => (name.clone(), values.into()),
    });
    let certificate = parts.client_certificate.map(|digest| base16ct::lower::encode_string(&digest));
    let members = json!({
        "method": parts.method.as_deref().unwrap_or("GET"),
        "path": parts.path.as_deref().unwrap_or("/"),
        "host": parts.host,
        "scheme": parts.scheme.as_deref().unwrap_or("https"),
        "headers": headers.collect::<Map<String, Value>>(),
        "body": parts.body,
        "client_certificate_sha256": certificate,
        "peer_address": parts.peer_address.map(|address| address.to_string()),
    });
    let Value::Object(mut members) = members else { return members };
    members.retain(|_, member| !member.is_null());
    Value::Object(members)
}

fn token(bench: &Bench, case: &Case) -> Result<Value, String> {
    let parts = &case.token;
    if parts.kind == Some(TokenKind::None) || parts.is_absent() {
        return Ok(Value::Null);
    }
    if let Some(raw) = &parts.raw {
        return Ok(json!({"raw": raw}));
    }
    let policy = bench.policy().ok_or("the policy was lost")?;
    let provider = provider_of(policy, parts)?;
    let now = case.now.unwrap_or_else(clock::now);
    let mut claims = claims(parts, provider, &bench.settings(&provider.name), now)?;
    for (name, moment) in [("iat", "{now}"), ("exp", "{now+5m}")] {
        if !parts.claims.contains_key(name) {
            claims.insert(name.to_owned(), moment.into());
        }
    }
    let algorithm = parts.algorithm.or_else(|| usual_algorithm(provider.rules.algorithms));
    let is_signed = is_signed(provider, parts);
    Ok(json!({
        "provider": provider.name,
        "kind": if is_signed { "jwt" } else { "opaque" },
        "algorithm": algorithm.map(|algorithm| algorithm.as_str()),
        "header": if is_signed { header(parts, &provider.rules) } else { Map::new() },
        "claims": filled(Value::Object(claims), parts.tenant.as_deref()),
        "forged": parts.is_forged == Some(true),
        "dpop": parts.dpop == Some(true),
    }))
}

/// `value` with the tenant for `{tenant}`.
fn filled(value: Value, tenant: Option<&str>) -> Value {
    let Some(name) = tenant else { return value };
    match value {
        Value::String(text) => Value::String(text.replace(TENANT, name)),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| filled(item, tenant)).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, member)| (name, filled(member, tenant))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}
