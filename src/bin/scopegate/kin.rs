//! Tenants that are alike but for their names: what holds for one of them holds for all, so that a table of ten thousand tenants
//! on one template is worked out once.
//!
//! Two tenants are kin where each says the same with its own id for the other's, and nothing else in the configuration names
//! either. Whatever is not sure to be so makes a tenant its own kin.

use std::collections::{HashMap, HashSet};

use scopegate::authorize::Tenant;
use scopegate::config::document::{Node, Value};
use scopegate::policy::Policy;

use crate::envoy_file::{member, string};

/// What stands for a tenant's own id.
pub const NAME: &str = "{tenant}";

/// Which kin each tenant is of, by its id: tenants with equal keys are kin.
pub fn kin(policy: &Policy, document: &Node<'_>) -> HashMap<String, Vec<u8>> {
    let mut elsewhere = HashSet::new();
    if let Value::Map(members) = &document.value {
        for section in members.iter().filter(|member| member.key != "tenants") {
            words(&section.node.value, &mut elsewhere);
        }
    }
    let mut kin = HashMap::new();
    let Some(Value::List(tenants)) = member(document, "tenants").map(|node| &node.value) else { return kin };
    for node in tenants {
        let Some(id) = member(node, "id").and_then(string) else { continue };
        let Some(tenant) = policy.tenants.named(id).and_then(|known| policy.tenants.tenant(known)) else {
            continue;
        };
        kin.insert(id.to_owned(), key(id, node, tenant, policy, &elsewhere));
    }
    kin
}

fn key(id: &str, node: &Node<'_>, tenant: &Tenant, policy: &Policy, elsewhere: &HashSet<String>) -> Vec<u8> {
    let mut key = Vec::new();
    let is_plain =
        id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
    if !is_plain || elsewhere.contains(id) {
        key.extend_from_slice(id.as_bytes());
        key.push(0);
    }
    general(&node.value, id).canonical(&mut |part| key.extend_from_slice(part));
    // A client of several tenants names none of them by itself.
    for application in tenant.applications.as_deref().unwrap_or_default() {
        let registered = policy.tenants.registered(application.provider, &application.client_id).len();
        key.push(u8::from(registered > 1));
    }
    key
}

/// `value` with [`NAME`] for the tenant's id.
fn general<'d>(value: &Value<'d>, id: &str) -> Value<'d> {
    let text = |text: &str| text.replace(id, NAME).into();
    match value {
        Value::String(string) => Value::String(text(string)),
        Value::List(items) => {
            Value::List(items.iter().map(|item| Node::from(general(&item.value, id))).collect())
        }
        Value::Map(members) => Value::Map(
            members
                .iter()
                .map(|member| scopegate::config::document::Member {
                    key: text(&member.key),
                    node: general(&member.node.value, id).into(),
                })
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// The words that could be a tenant's id.
fn words(value: &Value<'_>, found: &mut HashSet<String>) {
    let mut add = |text: &str| {
        let is_between = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
        found.extend(text.split(is_between).filter(|word| !word.is_empty()).map(str::to_owned));
        found.insert(text.to_owned());
    };
    match value {
        Value::String(text) => add(text),
        Value::List(items) => items.iter().for_each(|item| words(&item.value, found)),
        Value::Map(members) => {
            members.iter().for_each(|member| add(&member.key));
            members.iter().for_each(|member| words(&member.node.value, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
