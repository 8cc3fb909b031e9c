//! The only part that speaks proxy-wasm: it reads what the host has, lets the exchange decide, and does what it says.
//!
//! Callouts go through the root context. A host hands a callout's answer to the context that made the call, so a
//! request that leads a single flight and goes away would take the answer of all others with it. Requests leave their
//! errands in a queue that wakes the root context; the root makes the calls, gets the answers, and resumes who waits.

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

use self::callouts::Callouts;
use self::host::{Buffer, Level};
use self::request::{Held, Paused, RequestContext};
use crate::authenticate::provider::KeysSource;
use crate::config;
use crate::exchange::errands::Woken;
use crate::exchange::{Errand, InForce, Verdict, WaiterId, Worker};
use crate::seeded_hash::{SeededMap, SeededState};

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
    /// Errands that requests left, by the id of the root context that runs them.
    errands: SeededMap<u32, Vec<(Rc<InForce>, Errand)>>,
    /// Requests to resume, by the id of the root context that resumes them.
    woken: SeededMap<u32, VecDeque<(WaiterId, Option<Verdict>)>>,
    /// Root contexts that run errands, with the queue that wakes each, the newest last.
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
const MOST_WOKEN: usize = 32;

/// One configuration of the filter in one VM.
struct Root {
    id: u32,
    in_force: Option<Rc<InForce>>,
    callouts: Option<Callouts>,
    tick_period: Duration,
    /// What this configuration changed is still to be told.
    reload: Option<audit::Reload>,
}

impl Root {
    fn new(id: u32) -> Self {
        Self { id, in_force: None, callouts: None, tick_period: Duration::ZERO, reload: None }
    }

    /// Runs the errands that requests and the clock have left.
    fn run_errands(&mut self) {
        let Some(callouts) = &mut self.callouts else { return };
        let errands = with_vm(|vm| vm.errands.remove(&self.id)).unwrap_or_default();
        let mut woken = Vec::new();
        for (in_force, errand) in errands {
            woken.extend(callouts.run(in_force, errand));
        }
        self.wake(woken);
    }

    /// Resumes requests, a batch in this call of the VM and the others in the next ones.
    fn wake(&mut self, woken: Woken) {
        let batch: Woken = with_vm(|vm| {
            let waiting = vm.woken.entry(self.id).or_default();
            waiting.extend(woken);
            waiting.drain(..waiting.len().min(MOST_WOKEN)).collect()
        });
        request::wake(self.id, batch);
        if let Some(queue) = self.callouts.as_ref().and_then(Callouts::queue).filter(|_| self.has_woken()) {
            host::enqueue(queue);
        }
        self.choose_tick_period();
    }

    fn has_woken(&self) -> bool {
        with_vm(|vm| vm.woken.get(&self.id).is_some_and(|woken| !woken.is_empty()))
    }

    fn choose_tick_period(&mut self) {
        let is_busy = self.callouts.as_ref().is_some_and(Callouts::is_waiting_for_others) || self.has_woken();
        let holds_bodies = self.in_force.as_ref().is_some_and(|now| !now.policy.token_endpoints.is_empty());
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
        let woken = callouts.answered(token, header_count, body_size);
        self.wake(woken);
        self.run_errands();
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
            matches!(provider.keys, KeysSource::Remote(_)) || provider.introspection.is_some()
        });
        let in_force = with_vm(|vm| vm.worker.put_in_force(loaded.policy));
        if asks_issuers {
            let callouts = Callouts::new(&in_force);
            with_vm(|vm| vm.roots.push((self.id, callouts.queue())));
            self.callouts = Some(callouts);
        }
        self.reload = Some(audit::Reload::begin(&in_force));
        self.tick_period = SHORT_TICK;
        host::set_tick_period(SHORT_TICK);
        metrics::enter_policy(&in_force);
        self.in_force = Some(in_force);
        true
    }

    /// Looks after keys and lost answers.
    fn on_tick(&mut self) {
        let now = host::now();
        request::refuse_bodiless(self.id, now);
        let Some(in_force) = &self.in_force else { return };
        if let Some(reload) = self.reload.take() {
            reload.audit(in_force, now);
        }
        let Some(callouts) = &mut self.callouts else {
            self.choose_tick_period();
            return;
        };
        let woken = callouts.tick(in_force);
        self.wake(woken);
        self.run_errands();
    }

    /// Runs what requests have left.
    fn on_queue_ready(&mut self, queue: u32) {
        while host::dequeue(queue) {}
        self.run_errands();
    }

    /// The context of a request that begins under this configuration.
    fn request(&self, id: u32) -> RequestContext {
        let queue = self.callouts.as_ref().and_then(Callouts::queue);
        RequestContext::new(id, self.id, queue, self.in_force.clone())
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
            let errands = vm.errands.remove(&self.id).unwrap_or_default();
            let woken = vm.woken.remove(&self.id).unwrap_or_default();
            let (heir, queue) = vm.roots.last().copied()?;
            vm.errands.entry(heir).or_default().extend(errands.into_iter().chain(unfinished));
            vm.woken.entry(heir).or_default().extend(woken);
            queue
        });
        if let Some(queue) = queue {
            host::enqueue(queue);
        }
    }
}
