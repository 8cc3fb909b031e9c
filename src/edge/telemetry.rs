//! What a decision leaves behind: properties for access logs and later filters, and a log line.

use std::cell::Cell;
use std::time::Duration;

use proxy_wasm::types::LogLevel;

use super::host;
use super::{audit, metrics, portable};
use crate::exchange::log_json;
use crate::exchange::{Facts, Record, Request};
use crate::issuer::ActivePolicy;
use crate::policy::{Policy, Properties, Property};

thread_local! {
    /// The second that lines are being counted in, how many were written in it, how many were left out since the last.
    static LINES: Cell<(u64, u32, u64)> = const { Cell::new((0, 0, 0)) };
    /// What the property `log` is written in, kept for the next request: made anew each time, it takes 2,300 of 21,400
    /// executed instructions more.
    static BUFFER: Cell<String> = const { Cell::new(String::new()) };
}

/// The largest buffer that is kept.
const MAX_BUFFER: usize = 4096;

/// Sets the properties of the request, counts the decision and writes its log line.
pub fn record(request: &Request<'_>, facts: &Facts, active: &ActivePolicy, now: Duration) {
    let policy = &active.policy;
    let record = Record::new(facts, policy);
    set_properties(&record, policy.audit.properties);
    metrics::count_decision(facts, active);
    if !facts.decision.is_logged(policy.audit.decisions) {
        return;
    }
    if let Some(suppressed) = take_line(policy.audit.max_per_second, now.as_secs()) {
        let issued_at = facts.identity.as_ref().and_then(|identity| identity.principal.issued_at);
        let predates_policy = record
            .tenant
            .zip(issued_at)
            .is_some_and(|(tenant, issued_at)| audit::predates_policy(tenant, issued_at));
        host::log(LogLevel::Info, &record.audit_line(request, predates_policy, suppressed));
    }
}

/// Sets the properties that are wanted. Each is a call of the host, and of Envoy's some 3,300 instructions.
///
/// If the host refuses, an access-log field is empty; if it was `decision`, the tripwire denies the request.
fn set_properties(record: &Record<'_>, wanted: Properties) {
    if !portable::may_set_properties() {
        return;
    }
    host::set_property("scopegate.decision", record.decision.as_bytes());
    if wanted.contains(Property::Log) {
        let mut log = BUFFER.take();
        log.clear();
        record.append_to(&mut log);
        host::set_property("scopegate.log", log.as_bytes());
        if log.capacity() <= MAX_BUFFER {
            BUFFER.set(log);
        }
    }
    for (property, name, value) in [
        (Property::Tenant, "scopegate.tenant", record.tenant),
        (Property::Client, "scopegate.client", record.client),
        (Property::Subject, "scopegate.subject", record.subject),
        (Property::Suite, "scopegate.suite", record.suite),
        (Property::Operation, "scopegate.operation", record.operation),
        (Property::Reason, "scopegate.reason", record.reason),
    ] {
        if let Some(value) = value.filter(|_| wanted.contains(property)) {
            host::set_property(name, log_json::escaped(value).as_bytes());
        }
    }
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
