//! The only part that speaks proxy-wasm: it reads what the host has, lets the exchange decide, and does what it says.
//!
//! Callouts go through the root context. A host hands a callout's answer to the context that made the call, so a
//! request that leads a single flight and goes away would take the answer of all others with it. Requests leave their
//! errands in a queue that wakes the root context; the root makes the calls, gets the answers, and resumes who waits.

mod callbacks;
mod callouts;
mod host;
mod metrics;
mod request;
mod signature;
mod telemetry;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use self::callouts::Callouts;
use self::host::{Buffer, Level};
use self::request::{Held, Paused, RequestContext};
use crate::authenticate::provider::KeysSource;
use crate::config;
use crate::exchange::{Errand, InForce, Worker};

thread_local! {
    /// Outlives every root context: what was learnt survives a reload of the configuration.
    static VM: RefCell<Vm> = RefCell::new(Vm::default());
}

/// The state of a VM that callbacks of different contexts share.
#[derive(Default)]
struct Vm {
    worker: Worker,
    /// Requests that wait for an issuer, by context id.
    paused: HashMap<u32, Paused>,
    /// Token requests whose body has not come yet, by context id.
    held: HashMap<u32, Held>,
    /// Requests that were answered and are not over yet.
    answered: HashSet<u32>,
    /// Errands that requests left, by the id of the root context that runs them.
    errands: HashMap<u32, Vec<(Rc<InForce>, Errand)>>,
}

/// Runs `f` with the VM's state. Nothing that `f` does calls back into the VM.
fn with_vm<T>(f: impl FnOnce(&mut Vm) -> T) -> T {
    VM.with(|vm| f(&mut vm.borrow_mut()))
}

/// How often the root context looks after keys and lost answers.
const TICK: Duration = Duration::from_millis(200);
/// How often it does so while it waits for what another worker fetches.
const SHORT_TICK: Duration = Duration::from_millis(20);

/// One configuration of the filter in one VM.
struct Root {
    id: u32,
    in_force: Option<Rc<InForce>>,
    callouts: Option<Callouts>,
}

impl Root {
    fn new(id: u32) -> Self {
        Self { id, in_force: None, callouts: None }
    }

    /// Runs the errands that requests and the clock have left.
    fn run_errands(&mut self) {
        let Some(callouts) = &mut self.callouts else { return };
        let errands = with_vm(|vm| vm.errands.remove(&self.id)).unwrap_or_default();
        let mut woken = Vec::new();
        for (in_force, errand) in errands {
            woken.extend(callouts.run(in_force, errand));
        }
        request::wake(self.id, woken);
    }

    /// Takes the answer to a call.
    fn on_http_call_response(&mut self, token: u32, header_count: usize, body_size: usize) {
        let Some(callouts) = &mut self.callouts else { return };
        let woken = callouts.answered(token, header_count, body_size);
        request::wake(self.id, woken);
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
            self.callouts = Some(Callouts::new(&in_force));
            host::set_tick_period(SHORT_TICK);
        } else if !in_force.policy.token_endpoints.is_empty() {
            host::set_tick_period(TICK);
        }
        metrics::count("reloads");
        metrics::set_policy_generation(in_force.generation);
        self.in_force = Some(in_force);
        true
    }

    /// Looks after keys and lost answers.
    fn on_tick(&mut self) {
        request::refuse_bodiless(self.id, host::now());
        let (Some(in_force), Some(callouts)) = (&self.in_force, &mut self.callouts) else { return };
        let woken = callouts.tick(in_force);
        host::set_tick_period(if callouts.is_waiting_for_others() { SHORT_TICK } else { TICK });
        request::wake(self.id, woken);
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
