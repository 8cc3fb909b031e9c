//! What a reload changed: audit events, and since when tokens predate the policy.
//!
//! The difference to the configuration before is worked out after configure, not in it, by every VM for itself. One VM
//! of the proxy logs it: the first that marks the configuration as audited in shared data. Where nothing is shared every
//! VM does.
//!
//! When Envoy reverts to an earlier configuration it reconfigures only VMs with no request of it in flight. A VM that
//! missed a configuration would diff against the wrong predecessor, so it gives another VM [`PATIENCE`] to log first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::types::LogLevel;
use serde_json::{Value, json};

use super::host;
use crate::exchange::log_json;
use crate::issuer::ActivePolicy;
use crate::policy::difference::{Counts, difference};

/// How many events of one reload are logged; the others are counted.
const MOST_EVENTS: usize = 1000;

/// How long a VM that missed a policy leaves the audit of the next one to others.
const PATIENCE: Duration = Duration::from_secs(2);

thread_local! {
    static HISTORY: RefCell<History> = RefCell::new(History::default());
}

/// What the VM has seen of policies.
#[derive(Default)]
struct History {
    /// The newest policy of each plugin, by its name.
    newest: HashMap<String, Rc<ActivePolicy>>,
    /// The one that was compared last.
    compared: HashMap<String, Rc<ActivePolicy>>,
    /// When a reload last changed a tenant's scopes, suites or applications, by the tenant's id.
    tenants_changed_at: HashMap<Box<str>, Duration>,
    /// When a reload last changed a suite for every tenant.
    suites_changed_at: Option<Duration>,
}

/// A reload that is still to be audited.
pub struct Reload {
    plugin: String,
    shares: bool,
    /// Since when it leaves the audit to others.
    waits_since: Option<Duration>,
}

/// Who logs what a reload changed.
enum Teller {
    This,
    Another,
    /// Another VM, if there is one that knows better.
    NotYetThis,
}

impl Reload {
    /// Notes that `active` is the newest policy of this plugin.
    pub fn begin(active: &Rc<ActivePolicy>) -> Self {
        // Of a plugin's name some hosts' workers crash.
        let text = |path| {
            (!host::is_portable())
                .then(|| host::property(&[path]))
                .flatten()
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let plugin = [text("plugin_name"), text("plugin_root_id")].map(Option::unwrap_or_default).join("/");
        let shares = host::shares_data();
        HISTORY.with_borrow_mut(|history| history.newest.insert(plugin.clone(), Rc::clone(active)));
        let reload = Self { plugin, shares, waits_since: None };
        if shares && host::shared_data(&reload.key()).is_none() {
            host::set_shared_data(&reload.key(), b"", 0);
        }
        reload
    }

    /// Works out what changed, and logs it where this VM is the one to do so. Returns itself where it is too early.
    pub fn audit(mut self, active: &Rc<ActivePolicy>, now: Duration) -> Option<Self> {
        let policy = &active.policy;
        let (is_newest, before) = HISTORY.with_borrow(|history| {
            let is_newest = history.newest.get(&self.plugin).is_some_and(|newest| Rc::ptr_eq(newest, active));
            (is_newest, history.compared.get(&self.plugin).cloned())
        });
        if !is_newest {
            // What it changed is a part of what the newest did.
            return None;
        }
        let logs = match self.teller(&policy.digest, before.as_ref().map(|before| &before.policy.digest), now)
        {
            Teller::NotYetThis => return Some(self),
            Teller::This => true,
            Teller::Another => false,
        };
        HISTORY.with_borrow_mut(|history| history.compared.insert(self.plugin, Rc::clone(active)));
        let digest = base16ct::lower::encode_string(&policy.digest);
        let Some(before) = before else {
            if logs {
                let Counts { tenants, scopes, applications, suites, operations } = Counts::of(policy);
                log(json!({
                    "event": "policy.loaded", "tenants": tenants, "scopes": scopes, "applications": applications,
                    "suites": suites, "operations": operations, "generation": active.policy.generation, "digest": digest,
                }));
            }
            return None;
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
            return None;
        }
        for change in changes.iter().take(MOST_EVENTS) {
            let mut event = change.to_json();
            if let Value::Object(members) = &mut event {
                members.insert("generation".to_owned(), active.policy.generation.into());
                members.insert("digest".to_owned(), digest.as_str().into());
            }
            log(event);
        }
        if let Some(more) = changes.len().checked_sub(MOST_EVENTS).filter(|more| *more > 0) {
            log(json!({"event": "policy.changed", "events_left_out": more, "digest": digest}));
        }
        None
    }

    fn key(&self) -> String {
        format!("scopegate.audited.{}", self.plugin)
    }

    /// Who logs the difference from the configuration of digest `before` to this one. If it is this VM, the
    /// configuration counts as audited from now on.
    fn teller(&mut self, digest: &[u8; 32], before: Option<&[u8; 32]>, now: Duration) -> Teller {
        if !self.shares {
            return Teller::This;
        }
        let (audited, version) = host::shared_data(&self.key()).unwrap_or_default();
        if audited == digest {
            return Teller::Another;
        }
        let has_missed_one = before.is_some_and(|before| !audited.is_empty() && audited != before);
        if has_missed_one && now < self.waits_since.get_or_insert(now).saturating_add(PATIENCE) {
            return Teller::NotYetThis;
        }
        // The second of two workers finds another version.
        let is_first = host::set_shared_data(&self.key(), digest, version);
        if is_first { Teller::This } else { Teller::Another }
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
    host::log(LogLevel::Info, &log_json::to_string(&event));
}
