//! What a reload changed: audit events, and since when tokens predate the policy.
//!
//! The difference to the configuration before is worked out after configure, not in it, by every VM for itself. One VM
//! of the proxy logs it: the first that marks the configuration as audited in shared data. Where nothing is shared every
//! VM does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::host::{self, Level};
use crate::config::difference::{Counts, difference};
use crate::exchange::InForce;
use crate::hex::hex;

/// How many events of one reload are logged; the others are counted.
const MOST_EVENTS: usize = 1000;

thread_local! {
    static HISTORY: RefCell<History> = RefCell::new(History::default());
}

/// What the VM has seen of policies.
#[derive(Default)]
struct History {
    /// The newest policy of each plugin, by its name.
    newest: HashMap<String, Rc<InForce>>,
    /// When a reload last changed a tenant's scopes, suites or applications, by the tenant's id.
    tenants_changed_at: HashMap<Box<str>, Duration>,
    /// When a reload last changed a suite for every tenant.
    suites_changed_at: Option<Duration>,
}

/// A reload that is still to be audited.
pub struct Reload {
    plugin: String,
    before: Option<Rc<InForce>>,
    shares: bool,
}

impl Reload {
    /// Notes that `in_force` is the newest policy of this plugin.
    pub fn begin(in_force: &Rc<InForce>) -> Self {
        let text = |path| host::property(&[path]).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let plugin = [text("plugin_name"), text("plugin_root_id")].map(Option::unwrap_or_default).join("/");
        let shares = host::shares_data();
        let before =
            HISTORY.with_borrow_mut(|history| history.newest.insert(plugin.clone(), Rc::clone(in_force)));
        let reload = Self { plugin, before, shares };
        if shares && host::shared_data(&reload.key()).is_none() {
            host::set_shared_data(&reload.key(), b"", 0);
        }
        reload
    }

    /// Works out what changed, and logs it where this VM is the one to do so.
    pub fn audit(self, in_force: &InForce, now: Duration) {
        let policy = &in_force.policy;
        let logs = self.is_first_to_audit(&policy.digest);
        let digest = hex(&policy.digest);
        let Some(before) = &self.before else {
            if logs {
                let Counts { tenants, scopes, applications, suites, operations } = Counts::of(policy);
                log(json!({
                    "event": "policy.loaded", "tenants": tenants, "scopes": scopes, "applications": applications,
                    "suites": suites, "operations": operations, "generation": in_force.generation, "digest": digest,
                }));
            }
            return;
        };
        let changes = difference(&before.policy, policy);
        HISTORY.with_borrow_mut(|history| {
            let names = &policy.tenants;
            history.tenants_changed_at.retain(|tenant, _| names.named(tenant).is_some());
            for change in &changes {
                match change.subject.names().into_iter().find(|(kind, _)| *kind == "tenant") {
                    Some((_, tenant)) => {
                        history.tenants_changed_at.insert(tenant.into(), now);
                    }
                    None => history.suites_changed_at = Some(now),
                }
            }
        });
        if !logs {
            return;
        }
        for change in changes.iter().take(MOST_EVENTS) {
            let mut event = change.to_json();
            if let Value::Object(members) = &mut event {
                members.insert("generation".to_owned(), in_force.generation.into());
                members.insert("digest".to_owned(), digest.as_str().into());
            }
            log(event);
        }
        if let Some(more) = changes.len().checked_sub(MOST_EVENTS).filter(|more| *more > 0) {
            log(json!({"event": "policy.changed", "events_left_out": more, "digest": digest}));
        }
    }

    fn key(&self) -> String {
        format!("scopegate.audited.{}", self.plugin)
    }

    /// Whether no other VM has audited the configuration of this digest, which from now on counts as audited.
    fn is_first_to_audit(&self, digest: &[u8; 32]) -> bool {
        if !self.shares {
            return true;
        }
        match host::shared_data(&self.key()) {
            Some((audited, _)) if audited == digest => false,
            // Whoever comes second finds another version, and does not log.
            Some((_, version)) => host::set_shared_data(&self.key(), digest, version),
            None => host::set_shared_data(&self.key(), digest, 0),
        }
    }
}

/// Whether a token issued at `issued_at` is older than the last reload that changed what `tenant` has.
pub fn predates_policy(tenant: &str, issued_at: Duration) -> bool {
    HISTORY.with_borrow(|history| {
        let changed_at = history.tenants_changed_at.get(tenant).copied().max(history.suites_changed_at);
        changed_at.is_some_and(|changed_at| issued_at < changed_at)
    })
}

fn log(event: Value) {
    host::log(Level::Info, &event.to_string());
}
