//! What a decision leaves behind: properties for access logs and later filters, and a log line.

use std::cell::Cell;
use std::time::Duration;

use proxy_wasm::types::LogLevel;
use serde::Serialize;

use super::host;
use super::{audit, metrics};
use crate::exchange::Facts;
use crate::issuer::ActivePolicy;
use crate::policy::{Policy, Properties, Property};
use crate::respond::rejection::to_json;

thread_local! {
    /// The second that lines are being counted in, how many were written in it, how many were left out since the last.
    static LINES: Cell<(u64, u32, u64)> = const { Cell::new((0, 0, 0)) };
}

/// Sets the properties of the request, counts the decision and writes its log line.
pub fn record(facts: &Facts, active: &ActivePolicy, now: Duration) {
    let policy = &active.policy;
    let described = Described::new(facts, policy);
    described.set_properties(policy.audit.properties);
    metrics::count_decision(facts, active);
    if !facts.decision.is_logged(policy.audit.decisions) {
        return;
    }
    if let Some(suppressed) = take_line(policy.audit.max_per_second, now.as_secs()) {
        host::log(LogLevel::Info, &described.line(facts, suppressed));
    }
}

/// The names behind the facts.
struct Described<'f> {
    tenant: Option<&'f str>,
    client: Option<&'f str>,
    subject: Option<&'f str>,
    suite: Option<&'f str>,
    operation: Option<&'f str>,
    decision: &'static str,
    reason: Option<&'static str>,
}

impl<'f> Described<'f> {
    fn new(facts: &'f Facts, policy: &'f Policy) -> Self {
        let principal = facts.identity.as_ref().map(|identity| &identity.principal);
        let operation = facts.operation.and_then(|id| policy.catalog.operation(id));
        let token_request = facts.token_request.as_deref();
        let asking = token_request.and_then(|request| request.client.as_ref());
        let tenant = facts.standing.as_ref().map(|standing| standing.tenant);
        Self {
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

    fn set_properties(&self, wanted: Properties) {
        for (property, name, value) in [
            (Property::Tenant, "scopegate.tenant", self.tenant),
            (Property::Client, "scopegate.client", self.client),
            (Property::Subject, "scopegate.subject", self.subject),
            (Property::Suite, "scopegate.suite", self.suite),
            (Property::Operation, "scopegate.operation", self.operation),
            (Property::Decision, "scopegate.decision", Some(self.decision)),
            (Property::Reason, "scopegate.reason", self.reason),
        ] {
            // Each is a call of the host, and of Envoy's some 3,300 instructions.
            if let Some(value) = value.filter(|_| wanted.contains(property)) {
                // If the host refuses, an access-log field is empty; if it was `decision`, the tripwire denies the request.
                host::set_property(name, value.as_bytes());
            }
        }
    }

    fn line(&self, facts: &Facts, suppressed: u64) -> String {
        let token = facts.token_digest.map(|digest| base16ct::lower::encode_string(&digest));
        let issued_at = facts.identity.as_ref().and_then(|identity| identity.principal.issued_at);
        let predates_policy = self
            .tenant
            .zip(issued_at)
            .is_some_and(|(tenant, issued_at)| audit::predates_policy(tenant, issued_at));
        to_json(&DecisionLine {
            event: "decision",
            decision: self.decision,
            reason: self.reason,
            step: facts.stage.as_str(),
            tenant: self.tenant,
            client: self.client,
            suite: self.suite,
            operation: self.operation,
            token: token.as_deref(),
            hint: predates_policy.then_some("token_predates_policy"),
            suppressed: (suppressed > 0).then_some(suppressed),
        })
    }
}

/// The log line of a decision.
#[derive(Serialize)]
struct DecisionLine<'f> {
    event: &'static str,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    step: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suite: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<u64>,
}

/// Whether a line can be written now, as far as its rate is concerned.
pub fn can_log(policy: &Policy, now: Duration) -> bool {
    let (second, written, _) = LINES.get();
    second != now.as_secs() || written < policy.audit.max_per_second
}

/// Whether a line may be written in this second, and how many were left out before it.
fn take_line(max_per_second: u32, second: u64) -> Option<u64> {
    let (counted, written, suppressed) = LINES.get();
    let written = if counted == second { written } else { 0 };
    if written >= max_per_second {
        LINES.set((second, written, suppressed + 1));
        return None;
    }
    LINES.set((second, written + 1, 0));
    Some(suppressed)
}
