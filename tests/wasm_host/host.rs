//! A small proxy-wasm host: it loads the built module and drives its contexts the way Envoy does, deterministically,
//! and in ways in which Envoy rarely does.
//!
//! A [`Proxy`] is what the VMs of one proxy share: clock, shared data, queues. A [`Vm`] is one worker's. Each event of
//! a `Vm` is one callback, after which queues that became ready are served. Nothing else happens by itself: time
//! passes, ticks come and callouts are answered when a test says so. A trap ends the test, unless that asks by
//! [`Vm::survives`]. So does, when a `Vm` is dropped, what no module may do (see [`State::violations`]) and a log line that holds a token or a secret.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use wasmi::{Engine, Instance, Linker, Module, Store, WasmParams, WasmResults};

use super::abi::{self, Callout, CalloutAnswer, HeaderMap, LocalReply, Phase, Shared, State, Stream};
use super::profile::Profile;

/// 2026-01-01: when every proxy of these tests starts.
pub const NOW: u64 = 1_767_225_600;

/// The cluster that calls may go to.
pub const CLUSTER: &str = "idp";

/// A text shorter than this is no secret worth looking for in logs.
const SECRET_LENGTH: usize = 20;

/// What the VMs of one proxy share.
pub struct Proxy {
    shared: Rc<RefCell<Shared>>,
    vms: usize,
}

impl Proxy {
    pub fn new() -> Self {
        let mut shared = Shared::default();
        shared.now = Duration::from_secs(NOW);
        Self { shared: Rc::new(RefCell::new(shared)), vms: 0 }
    }

    /// A VM of this proxy, started and without a plugin yet.
    pub fn vm(&mut self) -> Vm {
        self.vms += 1;
        Vm::new(module(), self.vms, Rc::clone(&self.shared))
    }

    /// A VM of a host of this kind, with the file that is for it.
    pub fn vm_of(&mut self, profile: Profile) -> Vm {
        self.vms += 1;
        let module = if profile.is_envoy() { module() } else { portable_module() };
        Vm::of(profile, module, self.vms, Rc::clone(&self.shared))
    }

    /// As [`Self::vm`], which counts what the module executes: see [`Vm::executed`].
    pub fn metered_vm(&mut self) -> Vm {
        self.vms += 1;
        Vm::new(metered_module(), self.vms, Rc::clone(&self.shared))
    }

    pub fn pass(&self, time: Duration) {
        self.shared.borrow_mut().now += time;
    }
}

/// What became of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went on with these headers.
    Passed(HeaderMap),
    Answered(LocalReply),
    Waiting,
}

/// One VM with the module in it.
pub struct Vm {
    store: Store<State>,
    instance: Instance,
    next_context: u32,
    secrets: Vec<String>,
}

impl Vm {
    fn new(module: &Module, vm: usize, shared: Rc<RefCell<Shared>>) -> Self {
        Self::of(Profile::ENVOY, module, vm, shared)
    }

    /// A VM of a host of this kind. One that lacks an export is not loaded where the host insists on it.
    pub fn of(profile: Profile, module: &Module, vm: usize, shared: Rc<RefCell<Shared>>) -> Self {
        if profile.insists_on_exports {
            for export in LIFECYCLE {
                assert!(module.exports().any(|known| known.name() == export), "no `{export}`: not loaded");
            }
        }
        let mut store = Store::new(module.engine(), new_state(vm, shared));
        // Refused where the engine does not meter.
        let _ = store.set_fuel(u64::MAX);
        let mut linker = Linker::new(module.engine());
        for import in module.imports() {
            // The module's SDK imports functions that the filter never calls.
            let function = import.ty().func().expect("every import is a function").clone();
            let called = format!("{} is called", import.name());
            let refuse = move |mut caller: wasmi::Caller<'_, State>, _: &[_], _: &mut [_]| {
                caller.data_mut().violations.push(called.clone());
                Err(wasmi::Error::new(called.clone()))
            };
            linker.func_new(import.module(), import.name(), function, refuse).unwrap();
        }
        linker.allow_shadowing(true);
        abi::define(&mut linker).unwrap();
        let instance = linker.instantiate_and_start(&mut store, module).unwrap();
        store.data_mut().profile = profile;
        store.data_mut().memory = instance.get_memory(&store, "memory");
        store.data_mut().allocate = instance.get_typed_func(&store, "proxy_on_memory_allocate").ok();
        let mut vm = Self { store, instance, next_context: 1, secrets: Vec::new() };
        vm.call::<_, ()>("_initialize", 0, ());
        vm
    }

    pub fn state(&self) -> &State {
        self.store.data()
    }

    pub fn state_mut(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// Calls back about a context, whether or not there is such a context.
    pub fn call_back<P: WasmParams, R: WasmResults + Default>(
        &mut self,
        name: &str,
        context: u32,
        arguments: P,
    ) -> R {
        self.call(name, context, arguments)
    }

    /// Whether the VM outlives `events`.
    pub fn survives(&mut self, events: impl FnOnce(&mut Self)) -> bool {
        match catch_unwind(AssertUnwindSafe(|| events(self))) {
            Ok(()) => true,
            Err(_) if self.state().is_lost => false,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Adds a plugin with this configuration, beside those that there are already.
    pub fn configure(&mut self, configuration: &Value) -> u32 {
        let (root, accepted) = self.try_configure(configuration.to_string().as_bytes());
        assert!(accepted, "the configuration is refused:\n{}", self.log_text());
        root
    }

    /// The plugin's root context, and whether it takes the configuration.
    pub fn try_configure(&mut self, configuration: &[u8]) -> (u32, bool) {
        let root = self.take_context();
        self.state_mut().roots.insert(root, configuration.to_vec());
        self.call::<_, ()>("proxy_on_context_create", root, (root, 0_u32));
        let started = self.call_if_exported("proxy_on_vm_start", root, (root, 0_u32)).unwrap_or(1_u32);
        let size = configuration.len() as u32;
        let accepted = self.call_if_exported("proxy_on_configure", root, (root, size)).unwrap_or(1_u32);
        self.serve_queues();
        (root, started == 1 && accepted == 1)
    }

    /// Begins a request under a plugin.
    pub fn request(&mut self, root: u32, headers: HeaderMap) -> u32 {
        self.begin(Stream { root, headers, ..Stream::default() })
    }

    /// Begins a request under a plugin, with what a test says of its connection and headers.
    pub fn begin(&mut self, stream: Stream) -> u32 {
        let id = self.take_context();
        let (root, count) = (stream.root, stream.headers.len() as u32);
        for (name, value) in &stream.headers {
            if name == b"authorization" {
                let token = String::from_utf8_lossy(value);
                self.secrets.push(token.strip_prefix("Bearer ").unwrap_or(&token).to_owned());
            }
        }
        self.state_mut().streams.insert(id, stream);
        self.call::<_, ()>("proxy_on_context_create", id, (id, root));
        let ends_stream = u32::from(!self.state().streams[&id].has_body);
        let action: u32 = self.call("proxy_on_request_headers", id, (id, count, ends_stream));
        self.obey(id, action);
        self.serve_queues();
        id
    }

    /// Hands over a part of a request's body, with all of it that came before, as a host does that hands bodies over
    /// while headers are held.
    pub fn body(&mut self, id: u32, part: &[u8], ends_stream: bool) {
        let body = &mut self.state_mut().streams.get_mut(&id).unwrap().body;
        body.extend(part);
        let size = body.len() as u32;
        let action: u32 = self.call("proxy_on_request_body", id, (id, size, u32::from(ends_stream)));
        self.obey(id, action);
        self.serve_queues();
    }

    /// Hands over a request's trailers.
    pub fn trailers(&mut self, id: u32, trailers: &[(&str, &str)]) {
        let pairs =
            trailers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        self.state_mut().streams.get_mut(&id).unwrap().trailers = pairs.collect();
        let count = trailers.len() as u32;
        let action: u32 = self.call("proxy_on_request_trailers", id, (id, count));
        self.obey(id, action);
    }

    /// Hands the upstream's response over, and returns the headers that the client gets.
    pub fn respond(&mut self, id: u32) -> HeaderMap {
        let headers =
            vec![(b":status".to_vec(), b"200".to_vec()), (b"server".to_vec(), b"upstream".to_vec())];
        let count = headers.len() as u32;
        self.state_mut().streams.get_mut(&id).unwrap().response = headers;
        let action: u32 = self.call("proxy_on_response_headers", id, (id, count, 1_u32));
        assert_eq!(action, 0, "no response is kept");
        self.state().streams[&id].response.clone()
    }

    /// Does with a request what the module says.
    fn obey(&mut self, id: u32, action: u32) {
        let state = self.state_mut();
        let stream = state.streams.get_mut(&id).unwrap();
        match (action, stream.phase) {
            (0, Phase::Deciding | Phase::Paused) => stream.phase = Phase::Passed,
            (0, Phase::Passed) => {}
            (0, phase @ Phase::Answered) => {
                state.violations.push(format!("stream {id} goes on, though it is {phase:?}"))
            }
            (_, Phase::Deciding) => stream.phase = Phase::Paused,
            (_, Phase::Paused | Phase::Passed | Phase::Answered) => {}
        }
    }

    /// Begins a request, lets the upstream respond where it passes, ends it and returns what became of it.
    pub fn decide(&mut self, root: u32, headers: HeaderMap) -> Outcome {
        let id = self.request(root, headers);
        let outcome = self.outcome(id);
        if matches!(outcome, Outcome::Passed(_)) {
            self.respond(id);
        }
        self.end(id);
        outcome
    }

    pub fn outcome(&self, stream: u32) -> Outcome {
        let stream = &self.state().streams[&stream];
        match stream.phase {
            Phase::Passed => Outcome::Passed(stream.headers.clone()),
            Phase::Answered => Outcome::Answered(stream.replies[0].clone()),
            Phase::Deciding | Phase::Paused => Outcome::Waiting,
        }
    }

    /// Ends a request: it is over, or its client went away.
    pub fn end(&mut self, stream: u32) {
        self.call_if_exported::<_, u32>("proxy_on_done", stream, stream);
        self.call_if_exported::<_, ()>("proxy_on_log", stream, stream);
        self.delete(stream);
    }

    /// Deletes a request's context and says nothing before.
    pub fn delete(&mut self, stream: u32) {
        self.call::<_, ()>("proxy_on_delete", stream, stream);
        self.state_mut().streams.get_mut(&stream).unwrap().is_gone = true;
        self.serve_queues();
    }

    /// Ends a plugin, as after a reload when its last request is over.
    pub fn end_root(&mut self, root: u32) {
        self.call_if_exported::<_, u32>("proxy_on_done", root, root);
        self.call::<_, ()>("proxy_on_delete", root, root);
        self.state_mut().roots.remove(&root);
    }

    pub fn tick(&mut self, root: u32) {
        self.call::<_, ()>("proxy_on_tick", root, root);
        self.serve_queues();
    }

    /// Lets time pass with the ticks that the module asked for.
    pub fn pass(&mut self, root: u32, time: Duration) {
        let end = self.state().shared.borrow().now + time;
        while self.state().shared.borrow().now < end {
            let period = self.state().tick_periods.get(&root).copied().unwrap_or(0).max(1);
            let now = self.state().shared.borrow().now;
            self.state().shared.borrow_mut().now = end.min(now + Duration::from_millis(period.into()));
            self.tick(root);
        }
    }

    /// The calls that have not been answered.
    pub fn callouts(&self) -> Vec<Callout> {
        self.state().callouts.values().cloned().collect()
    }

    /// The one call that has not been answered.
    pub fn callout(&self) -> Callout {
        let callouts = self.callouts();
        assert_eq!(callouts.len(), 1, "{callouts:?}");
        callouts.into_iter().next().unwrap()
    }

    /// Answers a call.
    pub fn answer(&mut self, callout: &Callout, answer: CalloutAnswer) {
        assert!(
            self.state_mut().callouts.remove(&callout.token).is_some(),
            "{callout:?} is answered already"
        );
        self.answer_again(callout, answer);
    }

    /// Answers a call, whether or not it was made, or was answered already.
    pub fn answer_again(&mut self, callout: &Callout, answer: CalloutAnswer) {
        let count = answer.headers.as_ref().map_or(0, |headers| headers.len() as u32);
        let size = answer.claimed_body_size.unwrap_or(answer.body.len() as u32);
        self.state_mut().answer = Some(answer);
        let arguments = (callout.root, callout.token, count, size, 0_u32);
        self.call::<_, ()>("proxy_on_http_call_response", callout.root, arguments);
        self.state_mut().answer = None;
        self.serve_queues();
    }

    /// Answers a call with a status and a body.
    pub fn answer_with(&mut self, callout: &Callout, status: u16, body: &str) {
        self.answer(callout, response(status, body));
    }

    /// What the module has executed so far, in the units of the engine: about one for each instruction. The VM is a
    /// metered one.
    pub fn executed(&self) -> u64 {
        u64::MAX - self.store.get_fuel().expect("a metered VM")
    }

    /// What the VM has taken, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.state().memory.expect("the module exports its memory").data_size(&self.store)
    }

    /// How often the module called a function of the host.
    pub fn calls(&self, function: &str) -> u32 {
        self.state().calls.get(function).copied().unwrap_or(0)
    }

    /// The beginning of the digest of the policy in force, as it is logged by the first VM of its proxy to load it.
    pub fn digest(&mut self) -> String {
        let root = *self.state().roots.keys().next_back().expect("a root context");
        self.tick(root);
        let text = self.log_text();
        let (_, digest) = text.rsplit_once(r#""digest":""#).expect("a policy that is logged");
        digest[..16].to_owned()
    }

    pub fn log_text(&self) -> String {
        self.state().logs.iter().map(|(level, line)| format!("[{level}] {line}\n")).collect()
    }

    /// Tells the root contexts of messages in their queues.
    fn serve_queues(&mut self) {
        loop {
            let vm = self.state().vm;
            let ready = self.state().shared.borrow_mut().next_ready(vm);
            let Some((root, queue)) = ready else { return };
            if self.state().roots.contains_key(&root) {
                self.call::<_, ()>("proxy_on_queue_ready", root, (root, queue));
            }
        }
    }

    fn take_context(&mut self) -> u32 {
        let context = self.next_context;
        self.next_context += 1;
        context
    }

    /// One callback about `context`, if the module takes it and the operator has not left it out.
    fn call_if_exported<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &str,
        context: u32,
        arguments: P,
    ) -> Option<R> {
        if self.state().left_out.contains(name) {
            return None;
        }
        self.instance.get_func(&self.store, name)?;
        let function = self.instance.get_typed_func::<P, R>(&self.store, name).unwrap();
        self.state_mut().current = context;
        self.state_mut().effective = None;
        match function.call(&mut self.store, arguments) {
            Ok(result) => Some(result),
            Err(trap) => {
                self.state_mut().is_lost = true;
                panic!("{name} traps: {trap}\n{}", self.log_text())
            }
        }
    }

    /// One callback about `context`. What the operator has left out returns 0, as hosts take it.
    fn call<P: WasmParams, R: WasmResults + Default>(&mut self, name: &str, context: u32, arguments: P) -> R {
        assert!(self.instance.get_func(&self.store, name).is_some(), "no `{name}`");
        self.call_if_exported(name, context, arguments).unwrap_or_default()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.state().violations, Vec::<String>::new());
        assert_eq!(self.state().traps, Vec::<&str>::new(), "the host would have crashed");
        for (id, stream) in &self.state().streams {
            assert!(
                stream.replies.len() <= 1 && stream.resumed <= 1,
                "stream {id} is answered twice: {stream:?}"
            );
        }
        let environment = self.state().environment.iter().map(|(_, value)| value);
        for secret in self.secrets.iter().chain(environment).filter(|secret| secret.len() >= SECRET_LENGTH) {
            // The signature is what makes it one.
            let ending = &secret[secret.len() - SECRET_LENGTH..];
            for (_, line) in &self.state().logs {
                assert!(!line.contains(ending), "a secret is logged: {line}");
            }
        }
    }
}

/// What hosts other than Envoy insist on.
const LIFECYCLE: [&str; 8] = [
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_tick",
    "proxy_on_done",
    "proxy_on_log",
    "proxy_on_delete",
    "proxy_on_response_headers",
];

/// An answer to a callout.
pub fn response(status: u16, body: &str) -> CalloutAnswer {
    let headers = vec![
        (b":status".to_vec(), status.to_string().into_bytes()),
        (b"content-type".to_vec(), b"application/json".to_vec()),
    ];
    CalloutAnswer { headers: Some(headers), body: body.as_bytes().to_vec(), claimed_body_size: None }
}

/// A callout that failed on its way: no headers, no body.
pub fn no_response() -> CalloutAnswer {
    CalloutAnswer::default()
}

fn new_state(vm: usize, shared: Rc<RefCell<Shared>>) -> State {
    State {
        profile: Profile::ENVOY,
        vm,
        shared,
        memory: None,
        allocate: None,
        current: 0,
        effective: None,
        roots: BTreeMap::new(),
        tick_periods: BTreeMap::new(),
        streams: BTreeMap::new(),
        callouts: BTreeMap::new(),
        callouts_made: 0,
        answer: None,
        offers_verify_signature: true,
        clusters: BTreeSet::from([CLUSTER.to_owned()]),
        environment: Vec::new(),
        vm_id: "scopegate".to_owned(),
        faults: BTreeMap::new(),
        left_out: BTreeSet::new(),
        is_lost: false,
        fail_all_but: None,
        calls: BTreeMap::new(),
        metrics: BTreeMap::new(),
        metric_names: Vec::new(),
        logs: Vec::new(),
        traps: Vec::new(),
        violations: Vec::new(),
    }
}

/// The module, compiled once.
pub fn module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| compile(&path(), false))
}

/// The module for other hosts, compiled once.
pub fn portable_module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| compile(&path().with_file_name("scopegate-portable.wasm"), false))
}

/// The module, compiled once so that what it executes is counted.
fn metered_module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| compile(&path(), true))
}

/// The file.
pub fn path() -> PathBuf {
    std::env::var_os("SCOPEGATE_WASM").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/wasm32-wasip1/release/scopegate.wasm"),
        PathBuf::from,
    )
}

fn compile(path: &Path, metered: bool) -> Module {
    let bytes = std::fs::read(path)
        .unwrap_or_else(|error| panic!("{}: {error}; `make build` makes it", path.display()));
    let mut config = wasmi::Config::default();
    config.compilation_mode(wasmi::CompilationMode::LazyTranslation);
    config.consume_fuel(metered);
    Module::new(&Engine::new(&config), bytes).unwrap()
}
