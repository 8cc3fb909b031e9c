//! What logs are told of a decision: the property `scopegate.log`, and the audit line.

use std::borrow::Cow;

use serde::Serialize;

use super::facts::Facts;
use super::log_json;
use super::request::Request;
use crate::authorize::Requirement;
use crate::http::headers::values;
use crate::ids::PermissionId;
use crate::policy::Policy;
use crate::route::path::canonicalize;
use crate::token_endpoint;

/// The facts of a decision by their names.
#[derive(Debug)]
pub struct Record<'f> {
    facts: &'f Facts,
    policy: &'f Policy,
    /// The tenant's id.
    pub tenant: Option<&'f str>,
    /// The client's id.
    pub client: Option<&'f str>,
    /// The subject, whether or not `audit.subject` asks for it.
    pub subject: Option<&'f str>,
    /// The suite of the operation called.
    pub suite: Option<&'f str>,
    /// The operation called.
    pub operation: Option<&'f str>,
    /// `allow`, `shadow` or `deny`.
    pub decision: &'static str,
    /// Why it was refused, or would have been.
    pub reason: Option<&'static str>,
}

/// How many bytes of a request id are logged.
const MAX_REQUEST_ID: usize = 128;
/// How many bytes of a method are logged.
const MAX_METHOD: usize = 32;

impl<'f> Record<'f> {
    /// Looks up the names behind the facts.
    pub fn new(facts: &'f Facts, policy: &'f Policy) -> Self {
        let principal = facts.identity.as_ref().map(|identity| &identity.principal);
        let operation = facts.operation.and_then(|id| policy.catalog.operation(id));
        let token_request = facts.token_request.as_deref();
        let asking = token_request.and_then(|request| request.client.as_ref());
        let tenant = facts.standing.as_ref().map(|standing| standing.tenant);
        Self {
            facts,
            policy,
            tenant: tenant
                .or_else(|| asking.map(|client| client.tenant))
                .and_then(|tenant| policy.tenants.tenant(tenant))
                .map(|tenant| &*tenant.id),
            client: principal
                .and_then(|principal| principal.client.as_deref())
                .or_else(|| asking.map(|client| &*client.client_id)),
            subject: principal.and_then(|principal| principal.subject.as_deref()),
            suite: operation
                .and_then(|operation| policy.catalog.suite(operation.suite))
                .map(|suite| &*suite.name),
            operation: operation.map(|operation| &*operation.name),
            decision: facts.decision.as_str(),
            reason: facts.reason.map(|reason| reason.as_str()).or_else(|| {
                token_request.and_then(|request| request.fault.as_ref()).map(|fault| fault.error().as_str())
            }),
        }
    }

    /// Appends the facts as a JSON object.
    pub fn append_to(&self, json: &mut String) {
        json.push('{');
        self.append_members(json);
        json.push('}');
    }

    /// Every request writes these, and a serializer would take three times as long for them.
    fn append_members(&self, json: &mut String) {
        json.reserve(256);
        let subject = self.subject.filter(|_| self.policy.audit.subject);
        for (name, value) in [
            (r#""decision":""#, Some(self.decision)),
            (r#"","reason":""#, self.reason),
            (r#"","tenant":""#, self.tenant),
            (r#"","client":""#, self.client),
            (r#"","subject":""#, subject),
            (r#"","suite":""#, self.suite),
            (r#"","operation":""#, self.operation),
            (r#"","policy":""#, Some(&*self.policy.short_digest)),
        ] {
            if let Some(value) = value {
                json.push_str(name);
                json.push_str(&log_json::escaped(value));
            }
        }
        json.push('"');
    }

    /// The audit line of the decision about `request`.
    ///
    /// `predates_policy`: the token is older than what the tenant's scopes, suites or applications are now.
    /// `suppressed`: how many lines were left out before this one.
    pub fn audit_line(&self, request: &Request<'_>, predates_policy: bool, suppressed: u64) -> String {
        let token = self.facts.token_digest.map(|digest| base16ct::lower::encode_string(&digest));
        let request_id = values(request.headers, "x-request-id").next().filter(|id| !id.is_empty());
        let details = log_json::to_string(&Details {
            step: self.facts.stage.as_str(),
            request_id: request_id.map(|id| beginning(id, MAX_REQUEST_ID)),
            method: beginning(request.method, MAX_METHOD),
            path_template: self.path_template(request),
            required: self.requirement().map(|requirement| Required::new(requirement, self.policy)),
            token: token.as_deref(),
            hint: predates_policy.then_some("token_predates_policy"),
            suppressed: (suppressed > 0).then_some(suppressed),
        });
        let mut line = r#"{"event":"decision","#.to_owned();
        self.append_members(&mut line);
        line.push(',');
        line.push_str(details.strip_prefix('{').unwrap_or("}"));
        line
    }

    /// The path pattern of the operation called, or the path of the token endpoint asked.
    fn path_template(&self, request: &Request<'_>) -> Option<String> {
        if self.facts.token_request.is_some() {
            let path = canonicalize(request.path).ok()?;
            let endpoint =
                token_endpoint::find(&self.policy.token_endpoints, path.path(), request.method).ok()??;
            return Some(endpoint.path.to_string());
        }
        self.facts.operation.and_then(|id| self.policy.route(id)).map(|route| route.path.to_string())
    }

    /// What the tenant's table requires for the operation called.
    fn requirement(&self) -> Option<&'f Requirement> {
        let tenant = self.policy.tenants.tenant(self.facts.standing.as_ref()?.tenant)?;
        self.policy.catalog.requirement(self.facts.operation?, tenant)
    }
}

/// The beginning of what a client sent.
fn beginning(bytes: &[u8], most: usize) -> Cow<'_, str> {
    match bytes.split_at_checked(most) {
        Some((beginning, rest)) if !rest.is_empty() => {
            Cow::Owned(String::from_utf8_lossy(beginning).into_owned() + "…")
        }
        Some(_) | None => String::from_utf8_lossy(bytes),
    }
}

/// What an audit line says beyond the facts of its record.
#[derive(Serialize)]
struct Details<'l> {
    step: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Cow<'l, str>>,
    method: Cow<'l, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<Required<'l>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<u64>,
}

/// The permissions that an operation requires, as `requires` of the configuration names them.
#[derive(Serialize)]
struct Required<'l> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    all_of: Vec<&'l str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    any_of: Vec<&'l str>,
}

impl<'l> Required<'l> {
    fn new(requirement: &Requirement, policy: &'l Policy) -> Self {
        let names =
            |ids: &[PermissionId]| ids.iter().map(|id| policy.catalog.permissions.name(*id)).collect();
        Self { all_of: names(&requirement.all_of), any_of: names(&requirement.any_of) }
    }
}
