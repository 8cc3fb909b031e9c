//! The only part that speaks proxy-wasm: it reads what the host has, lets the exchange decide, and does what it says.
//!
//! A callout's response goes to the context that made the call. If a request made it and then went away, everyone waiting
//! on it would lose the answer, so only the root context makes calls. Requests leave their calls in the VM and a message
//! in a queue of the root context, which makes the calls, gets the responses, and resumes the requests that wait.
//!
//! The SDK dispatches the host's callbacks. Of a context id or a callout's token that it does not know it panics: the VM
//! is lost, and with it every request in it, until the host starts another one; none of them passes.

mod audit;
mod callouts;
mod host;
mod memcmp;
mod metrics;
mod portable;
mod request;
mod signature;
mod telemetry;

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel};

use crate::collections::seeded_hash::{SeededMap, SeededState};
use crate::config::{self, DEFAULT_MEMORY_BUDGET};
use crate::edge::callouts::Callouts;
use crate::edge::request::{Held, Paused, RequestContext, Wake};
use crate::issuer::calls::Resumed;
use crate::issuer::provider::ProviderKeys;
use crate::issuer::{ActivePolicy, IntrospectionOutcome, IssuerCall, WaiterId, Worker};
use crate::policy::Policy;
use crate::policy::host::{Offers, Unserved, unserved};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|id| Box::new(Root::new(id)));
}}

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
    /// Nonces that go to clients with the upstream's responses, by context id.
    next_nonces: SeededMap<u32, Box<str>>,
    /// Calls that requests left, by the id of the root context that makes them.
    calls: SeededMap<u32, Vec<(Rc<ActivePolicy>, IssuerCall)>>,
    /// Requests to resume, by the id of the root context that resumes them.
    resumed: SeededMap<u32, VecDeque<(WaiterId, Option<IntrospectionOutcome>)>>,
    /// The calls of root contexts that ended, by id. Their responses will not come.
    ended: Vec<(u32, Callouts)>,
    /// Whether the workers of this proxy may share data, once that was asked.
    shares_data: Option<bool>,
}

impl Vm {
    /// What is kept of token requests whose body has not come yet, in bytes.
    fn held_bytes(&self) -> usize {
        self.held.values().map(Held::bytes).sum()
    }
}

/// Runs `f` with the VM's state. Nothing that `f` does calls back into the VM.
fn with_vm<T>(f: impl FnOnce(&mut Vm) -> T) -> T {
    VM.with(|vm| f(&mut vm.borrow_mut()))
}

/// How often the root context looks after keys and lost responses.
const TICK: Duration = Duration::from_millis(200);
/// How often it shows what the VM takes where there is nothing else to look after.
const LONG_TICK: Duration = Duration::from_secs(1);
/// How often it does so while it waits for what another worker fetches, or has requests left to resume.
const SHORT_TICK: Duration = Duration::from_millis(20);

/// How many requests one call of the VM resumes. Envoy sends the resumed responses when this call returns, and each
/// re-enters the VM inside the previous one. A hundred or so nested entries overflow the stack and lose the VM.
const MAX_RESUMED_PER_CALL: usize = 32;

/// One configuration of the filter in one VM.
struct Root {
    id: u32,
    active: Option<Rc<ActivePolicy>>,
    callouts: Option<Callouts>,
    tick_period: Duration,
    /// Whether the host calls it from time to time.
    ticks: bool,
    /// Whether requests can wait: something wakes this context, and it lets them go on.
    wakes: bool,
    /// What this configuration changed is still to be told.
    reload: Option<audit::Reload>,
}

impl Root {
    fn new(id: u32) -> Self {
        Self {
            id,
            active: None,
            callouts: None,
            tick_period: Duration::ZERO,
            ticks: false,
            wakes: false,
            reload: None,
        }
    }

    /// Makes the calls that requests and root contexts that ended have left.
    fn run_calls(&mut self) {
        let Some(callouts) = &mut self.callouts else { return };
        let ended = with_vm(|vm| std::mem::take(&mut vm.ended));
        let mut resumed = Resumed::new();
        for (id, callouts) in ended {
            let unfinished = callouts.hand_over();
            with_vm(|vm| {
                let left = vm.calls.remove(&id).unwrap_or_default();
                vm.calls.entry(self.id).or_default().extend(left.into_iter().chain(unfinished));
                resumed.extend(vm.resumed.remove(&id).unwrap_or_default());
            });
        }
        for (active, call) in with_vm(|vm| vm.calls.remove(&self.id)).unwrap_or_default() {
            resumed.extend(callouts.run(active, call));
        }
        self.resume_requests(resumed);
    }

    /// Resumes requests, a batch in this call of the VM and the others in the next ones.
    fn resume_requests(&mut self, resumed: Resumed) {
        let batch: Resumed = with_vm(|vm| {
            let waiting = vm.resumed.entry(self.id).or_default();
            waiting.extend(resumed);
            waiting.drain(..waiting.len().min(MAX_RESUMED_PER_CALL)).collect()
        });
        request::resume_requests(self.id, batch);
        if let Some(queue) = self.callouts.as_ref().and_then(Callouts::queue).filter(|_| self.has_resumed()) {
            host::enqueue(queue);
        }
        self.choose_tick_period();
    }

    /// Asks for ticks, and finds out what the host offers of what `policy` needs.
    fn take_ticks(&mut self, policy: &mut Policy) -> Offers {
        if !host::is_portable() {
            self.tick_period = SHORT_TICK;
            self.ticks = host::set_tick_period(SHORT_TICK);
            // What else is missing shows where it is needed, and refuses there: a worker that refused what the first
            // thread accepted would let its requests through.
            return Offers { ticks: true, callouts: true, effective_contexts: true, shared_data: true };
        }
        if policy.memory_budget == DEFAULT_MEMORY_BUDGET {
            policy.memory_budget = portable::MEMORY_BUDGET;
        }
        self.ticks = portable::needs_ticks(policy) && host::set_tick_period(portable::TICK);
        portable::offers(policy, self.ticks)
    }

    fn has_resumed(&self) -> bool {
        with_vm(|vm| vm.resumed.get(&self.id).is_some_and(|resumed| !resumed.is_empty()))
    }

    fn choose_tick_period(&mut self) {
        if host::is_portable() {
            return;
        }
        let is_busy = self.callouts.as_ref().is_some_and(Callouts::is_waiting_for_others)
            || self.has_resumed()
            || self.reload.is_some();
        let holds_bodies = self.active.as_ref().is_some_and(|now| !now.policy.token_endpoints.is_empty());
        let period = if is_busy {
            SHORT_TICK
        } else if self.callouts.is_some() || holds_bodies {
            TICK
        } else {
            LONG_TICK
        };
        if self.tick_period != period {
            self.tick_period = period;
            metrics::set_ticks(host::set_tick_period(period));
        }
    }
}

/// Logs what the host cannot serve. Whether there is anything.
fn tell_unserved(policy: &Policy, offers: Offers) -> bool {
    let unserved = unserved(policy, offers);
    for Unserved { path, message } in &unserved {
        host::log(LogLevel::Error, &format!("scopegate: {}: {message}", path.join(".")));
    }
    !unserved.is_empty()
}

impl Context for Root {
    /// Takes the response to a call.
    fn on_http_call_response(&mut self, token: u32, header_count: usize, body_size: usize, _trailers: usize) {
        let Some(callouts) = &mut self.callouts else { return };
        let resumed = callouts.answered(token, header_count, body_size);
        self.resume_requests(resumed);
        self.run_calls();
    }
}

impl RootContext for Root {
    /// Must depend on the bytes alone: if one worker rejects what the first thread accepted, Envoy lets that worker's
    /// requests through unfiltered. Where the host does not give the bytes, the filter has no policy and refuses every
    /// request.
    fn on_configure(&mut self, configuration_size: usize) -> bool {
        let bytes = if configuration_size == 0 {
            Some(Vec::new())
        } else {
            host::buffer(BufferType::PluginConfiguration, configuration_size)
        };
        let Some(bytes) = bytes.filter(|bytes| bytes.len() == configuration_size) else {
            host::log(
                LogLevel::Error,
                "scopegate: the host does not give the configuration: requests are refused",
            );
            return true;
        };
        let mut loaded = match config::parse_plugin(&bytes) {
            Ok(loaded) => loaded,
            Err(errors) => {
                host::log(LogLevel::Error, &format!("scopegate: the configuration is refused:\n{errors}"));
                metrics::count_refused_configuration();
                return false;
            }
        };
        for warning in &loaded.warnings {
            host::log(LogLevel::Warn, &format!("scopegate: {warning}"));
        }
        let asks_issuers = loaded.policy.providers.iter().any(|provider| {
            matches!(provider.keys, ProviderKeys::Remote(_)) || provider.introspection.is_some()
        });
        if loaded.policy.takes_proofs && !host::shares_data() {
            host::log(
                LogLevel::Warn,
                "scopegate: the VM has no `vm_id`, so its workers share no data: each remembers the proofs (DPoP) that \
                 it saw by itself, and one of the others takes a proof again",
            );
        }
        let offers = self.take_ticks(&mut loaded.policy);
        metrics::set_ticks(self.ticks);
        if host::is_portable() && tell_unserved(&loaded.policy, offers) {
            return false;
        }
        let active = with_vm(|vm| {
            vm.worker.keep_room_for_reload(loaded.text_bytes.max(bytes.len()));
            vm.worker.activate(loaded.policy)
        });
        if asks_issuers {
            self.callouts = Some(Callouts::new(&active));
        }
        let queue = self.callouts.as_ref().and_then(Callouts::queue);
        self.wakes = offers.effective_contexts && (self.ticks || queue.is_some());
        if !host::is_portable() && !self.wakes {
            tell_unserved(&active.policy, Offers { ticks: false, ..offers });
        }
        self.reload = Some(audit::Reload::begin(&active));
        if host::is_portable() && !self.ticks {
            self.reload = self.reload.take().and_then(|reload| reload.audit(&active, host::now()));
        }
        metrics::enter_policy(&active);
        self.active = Some(active);
        true
    }

    /// Looks after keys and lost responses.
    fn on_tick(&mut self) {
        let now = host::now();
        metrics::flush();
        request::refuse_bodiless(self.id, now);
        let Some(active) = &self.active else { return };
        active.make_room_for_held(with_vm(|vm| vm.held_bytes()));
        metrics::show_memory(active);
        if let Some(reload) = self.reload.take() {
            self.reload = reload.audit(active, now);
        }
        let Some(callouts) = &mut self.callouts else {
            self.choose_tick_period();
            return;
        };
        let resumed = callouts.tick(active);
        self.resume_requests(resumed);
        self.run_calls();
    }

    /// Makes the calls that requests have left.
    fn on_queue_ready(&mut self, queue: u32) {
        while host::dequeue(queue) {}
        self.run_calls();
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    /// The context of a request that begins under this configuration.
    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let queue = self.callouts.as_ref().and_then(Callouts::queue);
        let wake = Wake { root: self.id, queue, works: self.wakes };
        Some(Box::new(RequestContext::new(id, wake, self.active.clone())))
    }
}

impl Drop for Root {
    /// Requests of a newer configuration may wait for a call that this root context made: the next one that looks after
    /// its calls makes it again. What was counted is passed on, in case it is the last of its VM. No call of the host that
    /// may call back from here: the SDK is amid taking the context out.
    fn drop(&mut self) {
        metrics::flush();
        if let Some(callouts) = self.callouts.take() {
            with_vm(|vm| vm.ended.push((self.id, callouts)));
        }
    }
}
