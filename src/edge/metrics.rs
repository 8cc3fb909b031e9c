//! Counters, gauges and histograms in the host's own statistics.
//!
//! Every name begins with `scopegate`; labels stand in the name as `.label.value`, for `stats_tags` of the bootstrap to
//! take out. A label only ever takes values of the configuration, since a host keeps a metric for as long as the VM
//! lives. Each is defined when it is first needed, and its number is remembered.
//!
//! What requests count is added up here, and passed on to the host at each tick, when another policy takes over, and when
//! a root context ends: 1,000 instructions of Envoy for each counter of each of 59,000 that a warm request adds. A VM that
//! traps takes with it what it counted since its last tick.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use proxy_wasm::types::MetricType;

use super::host;
use crate::collections::seeded_hash::SeededMap;
use crate::exchange::{CacheUse, Decision, Facts};
use crate::ids::{SuiteId, TenantId};
use crate::issuer::ActivePolicy;
use crate::issuer::provider::ProviderKeys;
use crate::respond::Reason;

thread_local! {
    static METRICS: RefCell<Metrics> = RefCell::new(Metrics::default());
}

#[derive(Default)]
struct Metrics {
    /// Numbers of metrics, by name.
    by_name: SeededMap<String, u32>,
    /// The counters that requests need, under the policy of this generation.
    by_what: SeededMap<u64, Counter>,
    generation: u64,
    /// Whether the host calls back now and then. Where it does not, each count is passed on at once.
    ticks: bool,
    /// The gauges of memory, as they were shown last.
    memory: [usize; 3],
    /// Gauges of the keys that the newest policy fetches.
    keys: HashSet<String>,
}

/// A counter of the host, and what is still to be added to it.
struct Counter {
    number: u32,
    pending: i64,
}

impl Counter {
    /// Passes on what was counted.
    fn flush(&mut self) {
        if self.pending > 0 {
            host::increment_metric(self.number, std::mem::take(&mut self.pending));
        }
    }
}

/// What a request counts, in the numbering of its policy.
#[derive(Clone, Copy)]
enum Counted {
    Decision(Decision, Option<Reason>, Option<TenantId>),
    Suite(Decision, SuiteId),
    CacheUse(CacheUse),
}

impl Counted {
    /// Everything in one number, which takes less to hash and to compare: 2 bits for the kind, 6 for the decision, 8 for
    /// the reason, the rest for what is numbered.
    fn key(self) -> u64 {
        let (kind, decision, reason, numbered) = match self {
            Self::Decision(decision, reason, tenant) => {
                let reason = reason.map_or(0, |reason| reason as u64 + 1);
                (0, decision as u64, reason, tenant.map_or(0, |tenant| u64::from(tenant.0) + 1))
            }
            Self::Suite(decision, suite) => (1, decision as u64, 0, u64::from(suite.0)),
            Self::CacheUse(cache_use) => (2, 0, 0, cache_use as u64),
        };
        numbered << 16 | reason << 8 | decision << 2 | kind
    }
}

impl Metrics {
    fn number(&mut self, kind: MetricType, name: String) -> Option<u32> {
        if let Some(number) = self.by_name.get(&name) {
            return Some(*number);
        }
        let number = host::define_metric(kind, &name)?;
        self.by_name.insert(name, number);
        Some(number)
    }

    /// Counts `what`; `name` is worked out at its first time under this policy.
    fn count(&mut self, what: Counted, name: impl FnOnce() -> String) {
        let key = what.key();
        let counter = match self.by_what.get_mut(&key) {
            Some(counter) => counter,
            None => {
                let number = self.number(MetricType::Counter, format!("scopegate.{}", name()));
                let Some(number) = number else { return };
                self.by_what.entry(key).or_insert(Counter { number, pending: 0 })
            }
        };
        counter.pending += 1;
        if !self.ticks {
            counter.flush();
        }
    }

    fn flush(&mut self) {
        self.by_what.values_mut().for_each(Counter::flush);
    }

    /// Forgets the numbers that depend on a policy's own numbering.
    fn enter(&mut self, generation: u64) {
        if self.generation != generation {
            self.flush();
            self.generation = generation;
            self.by_what.clear();
        }
    }
}

/// Passes on to the host what requests have counted.
pub fn flush() {
    METRICS.with_borrow_mut(Metrics::flush);
}

/// Notes whether the host calls back now and then.
pub fn set_ticks(ticks: bool) {
    METRICS.with_borrow_mut(|metrics| metrics.ticks = ticks);
}

/// Counts a decision, by outcome, reason and tenant, and by outcome and suite.
pub fn count_decision(facts: &Facts, active: &ActivePolicy) {
    let policy = &active.policy;
    let outcome = facts.decision.as_str();
    let decision_name = |reason: &str, tenant: Option<TenantId>| {
        let tenant = tenant.and_then(|id| policy.tenants.tenant(id)).map_or("none", |tenant| &*tenant.id);
        format!("decisions.outcome.{outcome}.reason.{reason}.tenant.{}", label(tenant))
    };
    if let Some(token_request) = &facts.token_request {
        let reason = token_request.fault.as_ref().map_or("none", |fault| fault.error().as_str());
        count(&decision_name(reason, token_request.client.as_ref().map(|client| client.tenant)));
        return;
    }
    let tenant = facts.standing.as_ref().map(|standing| standing.tenant);
    let suite = facts.operation.and_then(|id| policy.catalog.operation(id)).map(|operation| operation.suite);
    METRICS.with_borrow_mut(|metrics| {
        metrics.enter(active.policy.generation);
        metrics.count(Counted::Decision(facts.decision, facts.reason, tenant), || {
            decision_name(facts.reason.map_or("none", Reason::as_str), tenant)
        });
        if let Some(suite) = suite {
            metrics.count(Counted::Suite(facts.decision, suite), || {
                let name = policy.catalog.suite(suite).map_or("none", |suite| &*suite.name);
                format!("suite_decisions.outcome.{outcome}.suite.{}", label(name))
            });
        }
        if let Some(cache_use) = facts.cache_use {
            metrics.count(Counted::CacheUse(cache_use), || cache_use.as_str().to_owned());
        }
    });
}

/// Counts one of the events that are not decisions.
pub fn count(name: &str) {
    add(
        METRICS.with_borrow_mut(|metrics| metrics.number(MetricType::Counter, format!("scopegate.{name}"))),
        1,
    );
}

/// Counts a call to an issuer by its result: `jwks_fetches` or `introspections`.
pub fn count_call(what: &str, provider: &str, result: &str) {
    count(&call_name(what, provider, result));
}

/// Records how long a call to an issuer took: `jwks_fetch` or `introspection`.
pub fn record_latency(what: &str, provider: &str, latency: Duration) {
    let name = format!("{what}_milliseconds.provider.{}", label(provider));
    record(MetricType::Histogram, &name, u64::try_from(latency.as_millis()).unwrap_or(u64::MAX));
}

/// Shows until when the newest keys of a provider are fresh. A policy that others have replaced may still fetch keys for
/// its last requests: nobody waits for those of a provider that is gone.
pub fn set_keys_fresh_until(provider: &str, until: Duration) {
    let name = fresh_until_name(provider);
    if METRICS.with_borrow(|metrics| metrics.keys.contains(&name)) {
        record(MetricType::Gauge, &name, until.as_secs());
    }
}

/// Shows what this VM remembers and may, and how large it is. Workers share the gauges: the one that ticked last is seen.
pub fn show_memory(active: &ActivePolicy) {
    let (used, budget) = active.memory();
    let gauges = [("memory_bytes", used), ("memory_budget_bytes", budget), ("vm_bytes", vm_bytes())];
    let changed = METRICS.with_borrow_mut(|metrics| {
        let shown = std::mem::replace(&mut metrics.memory, gauges.map(|(_, bytes)| bytes));
        shown != metrics.memory
    });
    for (name, bytes) in gauges.into_iter().filter(|_| changed) {
        record(MetricType::Gauge, name, bytes as u64);
    }
}

/// What the VM has taken of its host, in bytes. It never gives any back.
fn vm_bytes() -> usize {
    const PAGE: usize = 64 << 10;
    core::arch::wasm32::memory_size::<0>().saturating_mul(PAGE)
}

/// Counts a refused configuration.
pub fn count_refused_configuration() {
    count(REFUSED_CONFIGURATIONS);
}

/// Shows that this VM activated a policy. What may happen under it is counted from 0, so that the first time
/// shows as a rise; the keys of a provider that is gone are shown as none.
pub fn enter_policy(active: &ActivePolicy) {
    count("reloads");
    record(MetricType::Gauge, "policy_generation", active.policy.generation);
    define(REFUSED_CONFIGURATIONS);
    let mut keys = HashSet::new();
    for (_, provider) in active.policy.providers() {
        if matches!(provider.keys, ProviderKeys::Remote(_)) {
            keys.insert(fresh_until_name(&provider.name));
            define_calls("jwks_fetches", &provider.name);
        }
        if provider.introspection.is_some() {
            define_calls("introspections", &provider.name);
        }
    }
    let before = METRICS.with_borrow_mut(|metrics| std::mem::replace(&mut metrics.keys, keys.clone()));
    for gone in before.difference(&keys) {
        record(MetricType::Gauge, gone, 0);
    }
}

const REFUSED_CONFIGURATIONS: &str = "configurations_refused";

fn call_name(what: &str, provider: &str, result: &str) -> String {
    format!("{what}.result.{result}.provider.{}", label(provider))
}

fn fresh_until_name(provider: &str) -> String {
    format!("keys_fresh_until_seconds.provider.{}", label(provider))
}

fn define_calls(what: &str, provider: &str) {
    for result in ["ok", "failed"] {
        define(&call_name(what, provider, result));
    }
}

/// Makes a counter that is 0 so far.
fn define(name: &str) {
    METRICS.with_borrow_mut(|metrics| metrics.number(MetricType::Counter, format!("scopegate.{name}")));
}

/// Sets a gauge, or adds a value to a histogram.
fn record(kind: MetricType, name: &str, value: u64) {
    if let Some(number) = METRICS.with_borrow_mut(|metrics| metrics.number(kind, format!("scopegate.{name}")))
    {
        host::record_metric(number, value);
    }
}

fn add(number: Option<u32>, count: i64) {
    if let Some(number) = number {
        host::increment_metric(number, count);
    }
}

/// A configured name as a part of a metric's name: what a tag's pattern could mistake is written as `_`.
fn label(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' })
        .collect()
}
