//! Operations and their callers as reports name them.

use scopegate::authorize::{Access, Operation, Requirement, Tenant};
use scopegate::ids::{OperationId, PermissionId};
use scopegate::issuer::provider::Provider;
use scopegate::policy::Policy;
use scopegate::policy::reach::Holder;

/// All operations of a policy, in its order.
pub fn operations(policy: &Policy) -> impl Iterator<Item = (OperationId, &Operation)> {
    (0..).map(OperationId).zip(&policy.catalog.operations)
}

/// `suite/operation`.
pub fn operation_name(policy: &Policy, operation: &Operation) -> String {
    let suite = policy.catalog.suite(operation.suite).map_or("", |suite| &suite.name);
    format!("{suite}/{}", operation.name)
}

/// What calls the operation: `GET HEAD api.example.com/path x-api-version: v2`.
pub fn request_text(policy: &Policy, id: OperationId) -> String {
    let Some(route) = policy.route(id) else { return String::new() };
    let methods = route.methods.as_deref().map_or("any method".to_owned(), |methods| methods.join(" "));
    let hosts: Vec<String> = route.hosts.iter().map(ToString::to_string).collect();
    let headers: String =
        route.headers.iter().map(|header| format!(" {}: {}", header.name, header.value)).collect();
    format!("{methods} {}{}{headers}", hosts.join("|"), route.path)
}

/// What the operation asks of callers of `tenant`.
pub fn requirement_text(policy: &Policy, tenant: &Tenant, id: OperationId, operation: &Operation) -> String {
    let mut text = match &operation.access {
        Access::Public => "nothing".to_owned(),
        Access::Authenticated => "a token".to_owned(),
        Access::Undecided => "undecided".to_owned(),
        Access::Scopes(_) => policy
            .catalog
            .requirement(id, tenant)
            .map_or_else(String::new, |requirement| describe(policy, requirement)),
    };
    if let Some(step_up) = operation.step_up.as_deref().filter(|_| operation.access != Access::Public) {
        if !step_up.acr_values.is_empty() {
            text.push_str(&format!("; acr {}", step_up.acr_values.join(" or ")));
        }
        if let Some(max_age) = step_up.max_age {
            text.push_str(&format!("; auth_time {} s ago at most", max_age.as_secs()));
        }
    }
    text
}

/// What a provider asks of the sender of its tokens: none where anybody may send them.
pub fn sender_text(provider: &Provider) -> Option<&'static str> {
    match (&provider.dpop, provider.requires_bound_tokens) {
        (Some(dpop), _) if dpop.required => Some("bound to a key, with a proof of it (DPoP)"),
        (Some(_), true) => Some("bound to a key, with a proof of it (DPoP), or to a certificate"),
        (None, true) => Some("bound to a certificate"),
        (Some(_), false) => Some("bound to a key, with a proof of it (DPoP), or to nothing"),
        (None, false) => None,
    }
}

/// A requirement in words.
pub fn describe(policy: &Policy, requirement: &Requirement) -> String {
    let names = |ids: &[PermissionId], word: &str| {
        ids.iter().map(|id| policy.catalog.permissions.name(*id)).collect::<Vec<_>>().join(word)
    };
    match (&*requirement.all_of, &*requirement.any_of) {
        (all, []) => names(all, " and "),
        ([], any) => names(any, " or "),
        (all, any) => format!("{} and ({})", names(all, " and "), names(any, " or ")),
    }
}

/// Somebody who may call: a registered application, or any client where a tenant registers none.
pub struct Caller<'p> {
    /// The provider whose client it is; none for any client.
    pub provider: Option<&'p str>,
    /// The `client_id`; none for any client.
    pub client: Option<&'p str>,
    /// What it could do with all scopes that are assigned to it.
    pub holder: Holder<'p>,
    /// How its tokens must be bound to it; none where they need not be.
    pub sender: Option<&'static str>,
}

/// The callers of a tenant.
pub fn callers<'p>(policy: &'p Policy, tenant: &'p Tenant) -> Vec<Caller<'p>> {
    match &tenant.applications {
        None => {
            let mut senders = tenant.providers.iter().map(|id| policy.provider(*id).and_then(sender_text));
            let first = senders.next().flatten();
            // Where its providers ask for different things there is no word for all of them.
            let sender = first.filter(|first| senders.all(|other| other == Some(first)));
            vec![Caller { provider: None, client: None, holder: Holder::any_client(policy, tenant), sender }]
        }
        Some(applications) => applications
            .iter()
            .map(|application| Caller {
                provider: policy.provider(application.provider).map(|provider| &*provider.name),
                client: Some(&application.client_id),
                holder: Holder::application(policy, tenant, application),
                sender: policy.provider(application.provider).and_then(sender_text),
            })
            .collect(),
    }
}
