//! One request in the host: its headers are read once, and what the exchange says is done once.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, LogLevel, MapType};

use super::callouts::HostStore;
use super::host::{self, HeaderMap};
use super::signature::HostVerifier;
use super::{portable, telemetry, with_vm};
use crate::collections::shared_store::SharedStore;
use crate::exchange::{self, Exchange, Facts, HeaderEdits, Request, Step, Surroundings};
use crate::http::header_pairs::HeaderPairs;
use crate::http::headers::values;
use crate::issuer::certificate::{parse_digest, peer_address};
use crate::issuer::{ActivePolicy, IntrospectionOutcome, IssuerCall, Waiter, WaiterId};
use crate::policy::Policy;
use crate::respond::{Answer, Rejection};
use crate::token_endpoint::{Fault, MAX_BODY_BYTES};

/// The context that the host makes for each request.
pub struct RequestContext {
    id: u32,
    wake: Wake,
    active: Option<Rc<ActivePolicy>>,
    has_begun: bool,
}

/// How the root context is told of a request that waits.
#[derive(Clone, Copy)]
pub struct Wake {
    /// The root context.
    pub root: u32,
    /// Its queue; without one it looks at its next tick.
    pub queue: Option<u32>,
    /// Whether anything ever wakes it, and lets the request go on. Where nothing does, no request waits.
    pub works: bool,
}

/// A request that waits for an issuer, or for its own body.
pub struct Paused {
    exchange: Exchange,
    headers: HeaderMap,
    wake: Wake,
    body_size: usize,
}

impl Paused {
    /// Whether the effective context is this request's: the portable file does not take the host's word for it.
    fn is_effective(&mut self) -> bool {
        !host::is_portable() || self.headers.pairs().is_some_and(|headers| portable::is_request_of(&headers))
    }
}

/// A token request that is held, headers and all, until its body is complete.
pub struct Held {
    paused: Paused,
    /// When its headers came; none once a part of its body has.
    bodiless_since: Option<Duration>,
}

impl Held {
    /// What its headers take, in bytes.
    pub fn bytes(&self) -> usize {
        self.paused.headers.len()
    }
}

/// How long the first part of a token request's body may take.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

impl RequestContext {
    /// A request that begins under `active`.
    pub fn new(id: u32, wake: Wake, active: Option<Rc<ActivePolicy>>) -> Self {
        Self { id, wake, active, has_begun: false }
    }
}

impl Context for RequestContext {}

impl HttpContext for RequestContext {
    /// Decides the request, or leaves it waiting.
    fn on_http_request_headers(&mut self, header_count: usize, ends_stream: bool) -> Action {
        let comes_again = std::mem::replace(&mut self.has_begun, true);
        // Without a configuration or headers there is nothing to decide with, and nothing passes. Nor do headers that
        // come twice.
        let active = self.active.clone().filter(|_| !comes_again);
        let (Some(active), Some(mut headers)) = (active, HeaderMap::read(MapType::HttpRequestHeaders)) else {
            return fail(self.id);
        };
        if host::is_portable() {
            let Some(headers) = headers.pairs() else { return fail(self.id) };
            if let Err(rejection) = portable::check(&headers, header_count, &active.policy) {
                return refuse(self.id, &Request::new(&headers), &rejection, &active);
            }
        }
        let exchange = Exchange::new(active);
        let paused = Paused { exchange, headers, wake: self.wake, body_size: 0 };
        let action = advance(self.id, paused);
        if ends_stream && is_held(self.id) { deliver_body(self.id, 0, Ok(Vec::new())) } else { action }
    }

    /// Takes note of a body. `size` counts all parts so far: a host keeps those that it was told to hold back.
    fn on_http_request_body(&mut self, size: usize, ends_stream: bool) -> Action {
        if !is_held(self.id) {
            return self.action();
        }
        with_vm(|vm| vm.held.get_mut(&self.id).map(|held| held.bodiless_since = None));
        if size > MAX_BODY_BYTES {
            return deliver_body(self.id, size, Err(Fault::TooLarge));
        }
        if !ends_stream {
            return Action::Pause;
        }
        match host::buffer(BufferType::HttpRequestBody, size) {
            Some(body) if body.len() == size => deliver_body(self.id, size, Ok(body)),
            // An empty buffer is none to some hosts.
            None if size == 0 => deliver_body(self.id, 0, Ok(Vec::new())),
            Some(_) | None => fail(self.id),
        }
    }

    /// Gives the client the next nonce. Hosts call this for each response, whatever is configured; it looks at nothing
    /// unless a nonce is to be given.
    fn on_http_response_headers(&mut self, _header_count: usize, _ends_stream: bool) -> Action {
        if let Some(nonce) = with_vm(|vm| vm.next_nonces.remove(&self.id)) {
            // RFC 9449 section 8.2: a cache must not give it to others. Where the host refuses, the client is asked for
            // a nonce later.
            let _ = host::set_response_header(b"dpop-nonce", nonce.as_bytes())
                && host::set_response_header(b"cache-control", b"no-store");
        }
        Action::Continue
    }

    /// Removes what no trailer may say to the upstream, of a request that waits too: a host does not ask again when it
    /// goes on.
    fn on_http_request_trailers(&mut self, _trailer_count: usize) -> Action {
        if is_held(self.id) {
            return deliver_body(self.id, 0, Err(Fault::Trailers));
        }
        let is_open = self.has_begun && with_vm(|vm| !vm.answered.contains(&self.id));
        match &self.active {
            Some(active) if is_open && !clean_trailers(&active.policy) => fail(self.id),
            Some(_) | None => self.action(),
        }
    }
}

/// Removes the trailers that `policy` guards. False where the host refuses.
fn clean_trailers(policy: &Policy) -> bool {
    let Some(mut trailers) = HeaderMap::read(MapType::HttpRequestTrailers) else { return false };
    let Some(trailers) = trailers.pairs() else { return false };
    let mut guarded = trailers.iter().filter(|(name, _)| policy.forward.guarded.removes_trailer(name));
    guarded.all(|(name, _)| host::remove_header(MapType::HttpRequestTrailers, name))
}

impl RequestContext {
    /// What a request that is not held may do. One that waits or was answered gets no further, whatever arrives.
    fn action(&self) -> Action {
        let passes = with_vm(|vm| !vm.paused.contains_key(&self.id) && !vm.answered.contains(&self.id));
        if self.has_begun && passes { Action::Continue } else { Action::Pause }
    }
}

impl Drop for RequestContext {
    /// The request is over, or its client went away while it waited.
    fn drop(&mut self) {
        forget(self.id);
    }
}

/// Whether a request is held until its body is complete.
fn is_held(id: u32) -> bool {
    with_vm(|vm| vm.held.contains_key(&id))
}

/// Lets a held request go on with its body, or with what keeps it from having one.
fn deliver_body(id: u32, body_size: usize, body: Result<Vec<u8>, Fault>) -> Action {
    let Some(Held { mut paused, .. }) = with_vm(|vm| vm.held.remove(&id)) else { return Action::Pause };
    paused.body_size = body_size;
    paused.exchange.deliver_body(body);
    advance(id, paused)
}

/// Answers a request that cannot be decided.
fn fail(id: u32) -> Action {
    forget(id);
    let answer = Answer { status: 500, headers: HeaderPairs::none(), body: String::new(), grpc_status: -1 };
    respond(id, &answer)
}

/// Refuses a request before anything is known of it.
fn refuse(id: u32, request: &Request<'_>, rejection: &Rejection, active: &ActivePolicy) -> Action {
    telemetry::record(request, &Facts::refused(Some(rejection.reason)), active, host::now());
    respond(id, &active.answers.to(rejection, request.is_grpc))
}

/// Answers a request, once and for all.
fn respond(id: u32, answer: &Answer) -> Action {
    with_vm(|vm| vm.answered.insert(id));
    host::send_local_response(answer);
    Action::Pause
}

/// Forgets all about a request.
fn forget(id: u32) {
    let paused = with_vm(|vm| {
        vm.held.remove(&id);
        vm.answered.remove(&id);
        vm.next_nonces.remove(&id);
        vm.paused.remove(&id)
    });
    if let Some(paused) = paused {
        paused.exchange.active().leave(WaiterId(id));
    }
}

/// Refuses token requests of which no part of a body has come for too long. The effective context is `root` again
/// afterwards.
pub fn refuse_bodiless(root: u32, now: Duration) {
    let is_late = |held: &Held| {
        let patience_ends = held.bodiless_since.map(|since| since.saturating_add(BODY_PATIENCE));
        held.paused.wake.root == root && patience_ends.is_some_and(|end| now >= end)
    };
    let late: Vec<u32> =
        with_vm(|vm| vm.held.iter().filter(|(_, held)| is_late(held)).map(|(id, _)| *id).collect());
    if late.is_empty() {
        return;
    }
    host::log(
        LogLevel::Warn,
        "scopegate: no body of a token request has come to the filter; does the host hand bodies over while headers \
         are held? Envoy does so with `allow_on_headers_stop_iteration: true` in the plugin's configuration",
    );
    for id in late {
        let is_effective =
            || with_vm(|vm| vm.held.get_mut(&id).is_some_and(|held| held.paused.is_effective()));
        if host::set_effective_context(id) && is_effective() {
            deliver_body(id, 0, Err(Fault::NoBody));
        }
    }
    host::set_effective_context(root);
}

/// Resumes requests whose answer has come. The effective context is `root` again afterwards.
pub fn resume_requests(root: u32, resumed: Vec<(WaiterId, Option<IntrospectionOutcome>)>) {
    if resumed.is_empty() {
        return;
    }
    for (WaiterId(id), outcome) in resumed {
        let Some(mut paused) = with_vm(|vm| vm.paused.remove(&id)) else { continue };
        if !host::set_effective_context(id) || !paused.is_effective() {
            continue;
        }
        paused.exchange.deliver(outcome);
        if advance(id, paused) == Action::Continue {
            host::resume_request();
        }
    }
    host::set_effective_context(root);
}

/// Lets the exchange decide and does what it says, in the effective context.
fn advance(id: u32, mut paused: Paused) -> Action {
    let mut calls = Vec::new();
    let Paused { exchange, headers, wake, body_size } = &mut paused;
    let headers_bytes = headers.len();
    let Some(headers) = headers.pairs() else { return fail(id) };
    let request = Request::new(&headers);
    let now = host::now();
    let mut surroundings = Surroundings {
        verifier: &HostVerifier,
        client_certificate: &client_certificate,
        host: &VmHost,
        now,
        can_log: telemetry::can_log(&exchange.active().policy, now),
        waiter: Waiter { id: WaiterId(id), bytes: if wake.works { headers_bytes } else { Waiter::NO_ROOM } },
        calls: &mut calls,
    };
    let step = exchange.advance(&request, &mut surroundings);
    let active = Rc::clone(exchange.active());
    let policy = &active.policy;
    leave_calls(*wake, &active, calls);
    match step {
        Step::Forward(forward) => {
            telemetry::record(&request, &forward.facts, &active, now);
            let changed = host::is_portable().then(|| portable::Changed::new(request.headers));
            let mut edits = HostEdits { all_done: true, changed };
            forward.edit(&request, policy, &mut edits);
            if let Some(body) = &forward.body {
                edits.all_done &= host::replace_request_body(*body_size, body);
            }
            if edits.all_done && edits.changed.is_none_or(|changed| changed.holds()) {
                if let Some(nonce) = forward.next_nonce {
                    with_vm(|vm| vm.next_nonces.insert(id, nonce));
                }
                return Action::Continue;
            }
            // What the upstream must not see could not be taken out.
            fail(id)
        }
        Step::Reject(rejection, facts) => {
            telemetry::record(&request, &facts, &active, now);
            respond(id, &active.answers.to(&rejection, request.is_grpc))
        }
        Step::Tell(answer, facts) => {
            telemetry::record(&request, &facts, &active, now);
            respond(id, &answer)
        }
        Step::RejectTokenRequest(fault, facts) => {
            telemetry::record(&request, &facts, &active, now);
            let has_authorization = values(request.headers, "authorization").next().is_some();
            let answer = fault.answer(&policy.realm, has_authorization, policy.strip_failure_response);
            respond(id, &answer)
        }
        Step::AwaitBody if !wake.works => {
            // Nothing would ever refuse it if its body never came.
            paused.exchange.deliver_body(Err(Fault::NoBody));
            advance(id, paused)
        }
        Step::AwaitBody => {
            let (count, bytes) = with_vm(|vm| (vm.held.len(), vm.held_bytes() + headers_bytes));
            if count >= policy.max_waiting_requests || !active.may_hold(bytes) {
                paused.exchange.deliver_body(Err(Fault::Overloaded));
                return advance(id, paused);
            }
            active.make_room_for_held(bytes);
            with_vm(|vm| vm.held.insert(id, Held { paused, bodiless_since: Some(now) }));
            Action::Pause
        }
        Step::Await => {
            with_vm(|vm| vm.paused.insert(id, paused));
            Action::Pause
        }
    }
}

/// Leaves calls for the root context, and tells it. A request that is answered may leave one too.
fn leave_calls(Wake { root, queue, .. }: Wake, active: &Rc<ActivePolicy>, calls: Vec<IssuerCall>) {
    if calls.is_empty() {
        return;
    }
    with_vm(|vm| {
        let left = vm.calls.entry(root).or_default();
        left.extend(calls.into_iter().map(|call| (Rc::clone(active), call)));
    });
    if let Some(queue) = queue {
        host::enqueue(queue);
    }
}

/// What the host of this VM has.
struct VmHost;

impl exchange::Host for VmHost {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn peer_address(&self) -> Option<IpAddr> {
        peer_address(&host::property(&["source", "address"])?)
    }

    fn shared(&self) -> Option<&dyn SharedStore> {
        // It is the same as long as the VM lives.
        let shares = with_vm(|vm| *vm.shares_data.get_or_insert_with(host::shares_data));
        shares.then_some(&HostStore)
    }
}

/// SHA-256 of the certificate that the client showed on this connection.
fn client_certificate() -> Option<[u8; 32]> {
    let hex = host::property(&["connection", "sha256_peer_certificate_digest"])?;
    parse_digest(std::str::from_utf8(&hex).ok()?)
}

struct HostEdits {
    all_done: bool,
    /// What the host has to have afterwards, where that is looked at.
    changed: Option<portable::Changed>,
}

impl HeaderEdits for HostEdits {
    fn remove(&mut self, name: &[u8]) {
        self.all_done &= host::remove_header(MapType::HttpRequestHeaders, name);
        if let Some(changed) = &mut self.changed {
            changed.remove(name);
        }
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        self.all_done &= host::set_request_header(name.as_bytes(), value);
        if let Some(changed) = &mut self.changed {
            changed.remove(name.as_bytes());
            changed.add(name.as_bytes(), value);
        }
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        self.all_done &= host::add_request_header(name.as_bytes(), value);
        if let Some(changed) = &mut self.changed {
            changed.add(name.as_bytes(), value);
        }
    }
}
