//! One request in the host: its headers are read once, and what the exchange says is done once.

use std::rc::Rc;
use std::time::Duration;

use super::host::{self, Buffer, Level, RequestHeaders};
use super::signature::HostVerifier;
use super::{telemetry, with_vm};
use crate::exchange::{Exchange, HeaderEdits, Request, Step, Surroundings};
use crate::http::header_pairs::HeaderPairs;
use crate::http::headers::values;
use crate::issuer::{ActivePolicy, IntrospectionOutcome, IssuerCall, Waiter, WaiterId};
use crate::respond::Answer;
use crate::token_endpoint::{Fault, MAX_BODY_BYTES};

/// The context that the host makes for each request.
pub struct RequestContext {
    id: u32,
    root: u32,
    queue: Option<u32>,
    active: Option<Rc<ActivePolicy>>,
}

/// A request that waits for an issuer, or for its own body.
pub struct Paused {
    exchange: Exchange,
    headers: RequestHeaders,
    root: u32,
    queue: Option<u32>,
    body_size: usize,
}

/// A token request that is held, headers and all, until its body is complete.
pub struct Held {
    paused: Paused,
    /// When its headers came; none once a part of its body has.
    bodiless_since: Option<Duration>,
}

/// How long the first part of a token request's body may take.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// What became of a request.
pub enum Outcome {
    /// It goes on to the upstream.
    Passes,
    /// It is over.
    Answered,
    /// It waits for an issuer.
    Waits,
    /// It is held until its body is complete.
    NeedsBody,
}

impl RequestContext {
    /// A request that begins under `active`.
    pub fn new(id: u32, root: u32, queue: Option<u32>, active: Option<Rc<ActivePolicy>>) -> Self {
        Self { id, root, queue, active }
    }

    /// The number that the host gave it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Decides the request, or leaves it waiting. `ends_stream`: whether it has no body.
    pub fn begin(self, ends_stream: bool) -> Outcome {
        // Without a configuration or headers there is nothing to decide with, and nothing passes.
        let (Some(active), Some(headers)) = (self.active, RequestHeaders::read()) else {
            return fail(self.id);
        };
        let exchange = Exchange::new(active);
        let paused = Paused { exchange, headers, root: self.root, queue: self.queue, body_size: 0 };
        match advance(self.id, paused) {
            Outcome::NeedsBody if ends_stream => resume(self.id, 0, Ok(Vec::new())),
            outcome @ (Outcome::Passes | Outcome::Answered | Outcome::Waits | Outcome::NeedsBody) => outcome,
        }
    }
}

/// Takes note of a body. `size` is that of all that has come of it: a host keeps what it was told to hold back.
pub fn on_body(id: u32, size: usize, ends_stream: bool) -> Outcome {
    let is_held = with_vm(|vm| {
        let held = vm.held.get_mut(&id);
        held.map(|held| held.bodiless_since = None).is_some()
    });
    if !is_held {
        return standing(id);
    }
    if size > MAX_BODY_BYTES {
        return resume(id, size, Err(Fault::TooLarge));
    }
    if !ends_stream {
        return Outcome::NeedsBody;
    }
    match host::buffer(Buffer::HttpRequestBody, size) {
        Some(body) if body.len() == size => resume(id, size, Ok(body)),
        // An empty buffer is none to some hosts.
        None if size == 0 => resume(id, 0, Ok(Vec::new())),
        Some(_) | None => {
            with_vm(|vm| vm.held.remove(&id));
            fail(id)
        }
    }
}

/// Takes note of trailers.
pub fn on_trailers(id: u32) -> Outcome {
    if with_vm(|vm| vm.held.contains_key(&id)) {
        return resume(id, 0, Err(Fault::Trailers));
    }
    standing(id)
}

/// What has become of a request that is not held. What waits or was answered gets no further, whatever comes of it.
fn standing(id: u32) -> Outcome {
    with_vm(|vm| {
        if vm.paused.contains_key(&id) {
            Outcome::Waits
        } else if vm.answered.contains(&id) {
            Outcome::Answered
        } else {
            Outcome::Passes
        }
    })
}

/// Lets a held request go on its way with its body, or with what keeps it from having one.
fn resume(id: u32, body_size: usize, body: Result<Vec<u8>, Fault>) -> Outcome {
    let Some(Held { mut paused, .. }) = with_vm(|vm| vm.held.remove(&id)) else { return standing(id) };
    paused.body_size = body_size;
    paused.exchange.deliver_body(body);
    advance(id, paused)
}

/// Answers a request that cannot be decided.
pub fn fail(id: u32) -> Outcome {
    let answer = Answer { status: 500, headers: HeaderPairs::none(), body: String::new(), grpc_status: -1 };
    respond(id, &answer)
}

/// Answers a request, once and for all.
fn respond(id: u32, answer: &Answer) -> Outcome {
    with_vm(|vm| vm.answered.insert(id));
    host::send_local_response(answer);
    Outcome::Answered
}

/// Forgets a request that is over, or whose client went away while it waited.
pub fn forget(id: u32) {
    let paused = with_vm(|vm| {
        vm.held.remove(&id);
        vm.answered.remove(&id);
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
        held.paused.root == root && patience_ends.is_some_and(|end| now >= end)
    };
    let late: Vec<u32> =
        with_vm(|vm| vm.held.iter().filter(|(_, held)| is_late(held)).map(|(id, _)| *id).collect());
    if late.is_empty() {
        return;
    }
    host::log(
        Level::Warn,
        "scopegate: no body of a token request has come to the filter; does the host hand bodies over while headers \
         are held? Envoy does so with `allow_on_headers_stop_iteration: true` in the plugin's configuration",
    );
    for id in late {
        if host::set_effective_context(id) {
            resume(id, 0, Err(Fault::NoBody));
        }
    }
    host::set_effective_context(root);
}

/// Resumes requests whose answer has come. The effective context is `root` again afterwards.
pub fn wake(root: u32, resumed: Vec<(WaiterId, Option<IntrospectionOutcome>)>) {
    if resumed.is_empty() {
        return;
    }
    for (WaiterId(id), verdict) in resumed {
        let Some(mut paused) = with_vm(|vm| vm.paused.remove(&id)) else { continue };
        if !host::set_effective_context(id) {
            continue;
        }
        paused.exchange.deliver(verdict);
        match advance(id, paused) {
            Outcome::Passes => {
                host::continue_request();
            }
            Outcome::Answered | Outcome::Waits | Outcome::NeedsBody => {}
        }
    }
    host::set_effective_context(root);
}

/// Lets the exchange decide and does what it says, in the effective context.
fn advance(id: u32, mut paused: Paused) -> Outcome {
    let mut calls = Vec::new();
    let Paused { exchange, headers, root, queue, body_size } = &mut paused;
    let headers_bytes = headers.len();
    let Some(headers) = headers.pairs() else { return fail(id) };
    let request = Request::new(&headers);
    let now = host::now();
    let mut surroundings = Surroundings {
        verifier: &HostVerifier,
        client_certificate: &client_certificate,
        now,
        can_log: telemetry::can_log(&exchange.active().policy, now),
        waiter: Waiter { id: WaiterId(id), bytes: headers_bytes },
        calls: &mut calls,
    };
    let step = exchange.advance(&request, &mut surroundings);
    let active = Rc::clone(exchange.active());
    let policy = &active.policy;
    leave_calls(*root, *queue, &active, calls);
    match step {
        Step::Forward(forward) => {
            telemetry::record(&forward.facts, &active, now);
            let mut edits = HostEdits { all_done: true };
            forward.edit(&request, policy, &mut edits);
            if let Some(body) = &forward.body {
                edits.all_done &= host::replace_request_body(*body_size, body);
            }
            if edits.all_done {
                return Outcome::Passes;
            }
            // What the upstream must not see could not be taken out.
            fail(id)
        }
        Step::Reject(rejection, facts) => {
            telemetry::record(&facts, &active, now);
            respond(id, &active.answers.to(&rejection, request.is_grpc))
        }
        Step::RejectTokenRequest(fault, facts) => {
            telemetry::record(&facts, &active, now);
            let has_authorization = values(request.headers, "authorization").next().is_some();
            let answer = fault.answer(&policy.realm, has_authorization, policy.strip_failure_response);
            respond(id, &answer)
        }
        Step::AwaitBody => {
            if with_vm(|vm| vm.held.len() >= policy.max_waiting_requests) {
                paused.exchange.deliver_body(Err(Fault::Overloaded));
                return advance(id, paused);
            }
            with_vm(|vm| vm.held.insert(id, Held { paused, bodiless_since: Some(now) }));
            Outcome::NeedsBody
        }
        Step::Await => {
            with_vm(|vm| vm.paused.insert(id, paused));
            Outcome::Waits
        }
    }
}

/// Leaves calls for the root context, and wakes it. A request that is answered may leave one too.
fn leave_calls(root: u32, queue: Option<u32>, active: &Rc<ActivePolicy>, calls: Vec<IssuerCall>) {
    if calls.is_empty() {
        return;
    }
    with_vm(|vm| {
        let left = vm.calls.entry(root).or_default();
        left.extend(calls.into_iter().map(|call| (Rc::clone(active), call)));
    });
    if let Some(queue) = queue {
        // Where it fails the next tick runs the call.
        host::enqueue(queue);
    }
}

/// SHA-256 of the certificate that the client showed on this connection.
fn client_certificate() -> Option<[u8; 32]> {
    let hex = host::property(&["connection", "sha256_peer_certificate_digest"])?;
    let mut digest = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

struct HostEdits {
    all_done: bool,
}

impl HeaderEdits for HostEdits {
    fn remove(&mut self, name: &[u8]) {
        self.all_done &= host::remove_request_header(name);
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        self.all_done &= host::set_request_header(name.as_bytes(), value);
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        self.all_done &= host::add_request_header(name.as_bytes(), value);
    }
}
