//! The only part that speaks proxy-wasm: it reads what the host has, lets the exchange decide, and does what it says.
//!
//! Callouts go through the root context. A host hands a callout's answer to the context that made the call, so a
//! request that leads a single flight and goes away would take the answer of all others with it. Requests leave their
//! calls in a queue that wakes the root context; the root makes the calls, gets the answers, and resumes who waits.

mod audit;
mod callbacks;
mod callouts;
mod host;
mod metrics;
mod request;
mod signature;
mod telemetry;

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use crate::collections::seeded_hash::{SeededMap, SeededState};
use crate::config;
use crate::edge::callouts::Callouts;
use crate::edge::host::{Buffer, Level};
use crate::edge::request::{Held, Paused, RequestContext};
use crate::issuer::calls::Resumed;
use crate::issuer::provider::ProviderKeys;
use crate::issuer::{ActivePolicy, IntrospectionOutcome, IssuerCall, WaiterId, Worker};

thread_local! {
    /// Outlives every root context: what was learnt survives a reload of the configuration.
    static VM: RefCell<Vm> = RefCell::new(Vm::default());
}

/// The state of a VM that callbacks of different contexts share.
#[derive(Default)]
struct Vm {
    worker: Worker,
    /// Requests that wait for an issuer, by context id.
    paused: SeededMap<u32, Paused>,
    /// Token requests whose body has not come yet, by context id.
    held: SeededMap<u32, Held>,
    /// Requests that were answered and are not over yet.
    answered: HashSet<u32, SeededState>,
    /// IssuerCalls that requests left, by the id of the root context that runs them.
    calls: SeededMap<u32, Vec<(Rc<ActivePolicy>, IssuerCall)>>,
    /// Requests to resume, by the id of the root context that resumes them.
    resumed: SeededMap<u32, VecDeque<(WaiterId, Option<IntrospectionOutcome>)>>,
    /// Root contexts that run calls, with the queue that wakes each, the newest last.
    roots: Vec<(u32, Option<u32>)>,
}

/// Runs `f` with the VM's state. Nothing that `f` does calls back into the VM.
fn with_vm<T>(f: impl FnOnce(&mut Vm) -> T) -> T {
    VM.with(|vm| f(&mut vm.borrow_mut()))
}

/// How often the root context looks after keys and lost answers.
const TICK: Duration = Duration::from_millis(200);
/// How often it does so while it waits for what another worker fetches, or has requests left to resume.
const SHORT_TICK: Duration = Duration::from_millis(20);

/// How many requests one call of the VM resumes. Envoy carries their answers out when the call returns, and what these
/// call in the VM then they call one within the other: some hundred of them can overflow its stack, and the VM is lost.
const MAX_RESUMED_PER_CALL: usize = 32;

/// One configuration of the filter in one VM.
struct Root {
    id: u32,
    active: Option<Rc<ActivePolicy>>,
    callouts: Option<Callouts>,
    tick_period: Duration,
    /// What this configuration changed is still to be told.
    reload: Option<audit::Reload>,
}

impl Root {
    fn new(id: u32) -> Self {
        Self { id, active: None, callouts: None, tick_period: Duration::ZERO, reload: None }
    }

    /// Runs the calls that requests and the clock have left.
    fn run_calls(&mut self) {
        let Some(callouts) = &mut self.callouts else { return };
        let calls = with_vm(|vm| vm.calls.remove(&self.id)).unwrap_or_default();
        let mut resumed = Vec::new();
        for (active, call) in calls {
            resumed.extend(callouts.run(active, call));
        }
        self.wake(resumed);
    }

    /// Resumes requests, a batch in this call of the VM and the others in the next ones.
    fn wake(&mut self, resumed: Resumed) {
        let batch: Resumed = with_vm(|vm| {
            let waiting = vm.resumed.entry(self.id).or_default();
            waiting.extend(resumed);
            waiting.drain(..waiting.len().min(MAX_RESUMED_PER_CALL)).collect()
        });
        request::wake(self.id, batch);
        if let Some(queue) = self.callouts.as_ref().and_then(Callouts::queue).filter(|_| self.has_resumed()) {
            host::enqueue(queue);
        }
        self.choose_tick_period();
    }

    fn has_resumed(&self) -> bool {
        with_vm(|vm| vm.resumed.get(&self.id).is_some_and(|resumed| !resumed.is_empty()))
    }

    fn choose_tick_period(&mut self) {
        let is_busy = self.callouts.as_ref().is_some_and(Callouts::is_waiting_for_others)
            || self.has_resumed()
            || self.reload.is_some();
        let holds_bodies = self.active.as_ref().is_some_and(|now| !now.policy.token_endpoints.is_empty());
        let period = if is_busy {
            SHORT_TICK
        } else if self.callouts.is_some() || holds_bodies {
            TICK
        } else {
            // Nothing is left to look after.
            Duration::ZERO
        };
        if self.tick_period != period {
            self.tick_period = period;
            host::set_tick_period(period);
        }
    }

    /// Takes the answer to a call.
    fn on_http_call_response(&mut self, token: u32, header_count: usize, body_size: usize) {
        let Some(callouts) = &mut self.callouts else { return };
        let resumed = callouts.answered(token, header_count, body_size);
        self.wake(resumed);
        self.run_calls();
    }

    /// A function of the configuration's bytes alone: a host that is told `false` by one worker, but not by the thread
    /// that tried the configuration first, lets that worker's requests pass unfiltered. Where the host does not give
    /// the bytes, the filter has no policy and refuses every request.
    fn on_configure(&mut self, configuration_size: usize) -> bool {
        let bytes = if configuration_size == 0 {
            Some(Vec::new())
        } else {
            host::buffer(Buffer::PluginConfiguration, configuration_size)
        };
        let Some(bytes) = bytes.filter(|bytes| bytes.len() == configuration_size) else {
            host::log(
                Level::Error,
                "scopegate: the host does not give the configuration: requests are refused",
            );
            return true;
        };
        let loaded = match config::parse_plugin(&bytes) {
            Ok(loaded) => loaded,
            Err(errors) => {
                host::log(Level::Error, &format!("scopegate: the configuration is refused:\n{errors}"));
                metrics::count_refused_configuration();
                return false;
            }
        };
        for warning in &loaded.warnings {
            host::log(Level::Warn, &format!("scopegate: {warning}"));
        }
        let asks_issuers = loaded.policy.providers.iter().any(|provider| {
            matches!(provider.keys, ProviderKeys::Remote(_)) || provider.introspection.is_some()
        });
        let active = with_vm(|vm| vm.worker.activate(loaded.policy));
        if asks_issuers {
            let callouts = Callouts::new(&active);
            with_vm(|vm| vm.roots.push((self.id, callouts.queue())));
            self.callouts = Some(callouts);
        }
        self.reload = Some(audit::Reload::begin(&active));
        self.tick_period = SHORT_TICK;
        host::set_tick_period(SHORT_TICK);
        metrics::enter_policy(&active);
        self.active = Some(active);
        true
    }

    /// Looks after keys and lost answers.
    fn on_tick(&mut self) {
        let now = host::now();
        request::refuse_bodiless(self.id, now);
        let Some(active) = &self.active else { return };
        if let Some(reload) = self.reload.take() {
            self.reload = reload.audit(active, now);
        }
        let Some(callouts) = &mut self.callouts else {
            self.choose_tick_period();
            return;
        };
        let resumed = callouts.tick(active);
        self.wake(resumed);
        self.run_calls();
    }

    /// Runs what requests have left.
    fn on_queue_ready(&mut self, queue: u32) {
        while host::dequeue(queue) {}
        self.run_calls();
    }

    /// The context of a request that begins under this configuration.
    fn request(&self, id: u32) -> RequestContext {
        let queue = self.callouts.as_ref().and_then(Callouts::queue);
        RequestContext::new(id, self.id, queue, self.active.clone())
    }
}

impl Drop for Root {
    /// Requests of a newer configuration may wait for a call that this root made, and whose answer will not come: the
    /// newest root makes it again.
    fn drop(&mut self) {
        let Some(callouts) = self.callouts.take() else { return };
        let unfinished = callouts.hand_over();
        let queue = with_vm(|vm| {
            vm.roots.retain(|(id, _)| *id != self.id);
            let calls = vm.calls.remove(&self.id).unwrap_or_default();
            let resumed = vm.resumed.remove(&self.id).unwrap_or_default();
            let (heir, queue) = vm.roots.last().copied()?;
            vm.calls.entry(heir).or_default().extend(calls.into_iter().chain(unfinished));
            vm.resumed.entry(heir).or_default().extend(resumed);
            queue
        });
        if let Some(queue) = queue {
            host::enqueue(queue);
        }
    }
}
