//! The functions that the host calls (proxy-wasm ABI 0.2.1).
//!
//! Only those are exported that the filter has something to do in: a host skips the others, and each one costs an entry
//! into the VM for each request. An id or a call's token that is not known is passed over: the SDK's dispatcher would
//! panic, and with it end every request in the VM.

#![allow(
    unsafe_code,
    reason = "exported names are not mangled, and constructors are run once, before all else"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::request::{self, Outcome, RequestContext};
use super::{Root, with_vm};

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::new(Contexts::default());
}

/// The contexts that the host has made, by id.
#[derive(Default)]
struct Contexts {
    roots: BTreeMap<u32, Rc<RefCell<Root>>>,
    unbegun: Unbegun,
}

/// Requests whose headers are still to come. A host makes a request's context when it has them, as a rule, so the newest
/// one is nearly always the next to begin: it has a place of its own, which costs no allocation.
#[derive(Default)]
struct Unbegun {
    newest: Option<RequestContext>,
    others: BTreeMap<u32, RequestContext>,
}

impl Unbegun {
    fn insert(&mut self, request: RequestContext) {
        if let Some(other) = self.newest.replace(request) {
            self.others.insert(other.id(), other);
        }
    }

    fn remove(&mut self, id: u32) -> Option<RequestContext> {
        self.newest.take_if(|newest| newest.id() == id).or_else(|| self.others.remove(&id))
    }

    fn contains(&self, id: u32) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest.id() == id) || self.others.contains_key(&id)
    }
}

/// `ProxyAction`: go on, or wait until the filter resumes or answers the request.
const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;

fn action(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Passes => CONTINUE,
        Outcome::Answered | Outcome::Waits | Outcome::NeedsBody => PAUSE,
    }
}

/// Whether the headers of a request are still to come.
fn has_not_begun(id: u32) -> bool {
    with_contexts(|contexts| contexts.unbegun.contains(id))
}

fn with_contexts<T>(f: impl FnOnce(&mut Contexts) -> T) -> T {
    CONTEXTS.with(|contexts| f(&mut contexts.borrow_mut()))
}

/// Runs `f` with a root context. None where the host calls for one that there is not, or within its own callback.
fn with_root<T>(id: u32, f: impl FnOnce(&mut Root) -> T) -> Option<T> {
    let root = with_contexts(|contexts| contexts.roots.get(&id).cloned())?;
    let mut root = root.try_borrow_mut().ok()?;
    Some(f(&mut root))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    unsafe { __wasm_call_ctors() }
}

/// Memory for what the host hands over; `host` takes ownership of it with this very size.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, root_id: u32) {
    if root_id == 0 {
        let root = Rc::new(RefCell::new(Root::new(id)));
        with_contexts(|contexts| contexts.roots.insert(id, root));
    } else if let Some(request) = with_root(root_id, |root| root.request(id)) {
        with_contexts(|contexts| contexts.unbegun.insert(request));
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, size: usize) -> bool {
    // A root context that there is not has no policy, and refuses every request.
    with_root(root, |root| root.on_configure(size)).unwrap_or(true)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    with_root(root, Root::on_tick);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_queue_ready(root: u32, queue: u32) {
    with_root(root, |root| root.on_queue_ready(queue));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(
    root: u32,
    token: u32,
    header_count: usize,
    body_size: usize,
    _trailer_count: usize,
) {
    with_root(root, |root| root.on_http_call_response(token, header_count, body_size));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _header_count: usize, ends_stream: bool) -> u32 {
    action(match with_contexts(|contexts| contexts.unbegun.remove(id)) {
        Some(request) => request.begin(ends_stream),
        None => request::fail(id),
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(id: u32, size: usize, ends_stream: bool) -> u32 {
    if has_not_begun(id) { PAUSE } else { action(request::on_body(id, size, ends_stream)) }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, _trailer_count: usize) -> u32 {
    if has_not_begun(id) { PAUSE } else { action(request::on_trailers(id)) }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(id: u32) {
    request::forget(id);
    let (_unbegun, root) =
        with_contexts(|contexts| (contexts.unbegun.remove(id), contexts.roots.remove(&id)));
    // Outside: what ends with a root context may look for another.
    if let Some(root) = root {
        drop(root);
        with_vm(|vm| vm.calls.remove(&id));
    }
}
