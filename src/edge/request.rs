//! One request in the host: its headers are read once, and what the exchange says is done once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::host::{self, Buffer, Level, RequestHeaders};
use super::signature::HostVerifier;
use super::{telemetry, with_vm};
use crate::exchange::{
    Errand, Exchange, HeaderEdits, InForce, Request, Step, Surroundings, Verdict, WaiterId,
};
use crate::headers::values;
use crate::respond::{Answer, Rejection};
use crate::token_endpoint::{Fault, MAX_BODY_BYTES};

/// The context that the host makes for each request.
pub struct RequestContext {
    id: u32,
    root: u32,
    queue: Option<u32>,
    in_force: Option<Rc<InForce>>,
    progress: Progress,
}

/// How far a request has come. Nothing of it but a passed one gets any further, whatever the host calls next.
enum Progress {
    /// Not decided: nothing of it passes.
    Stopped,
    /// It waits for an issuer. True from when it passes.
    Waits(Rc<Cell<bool>>),
    /// It is held, headers and all, until its body is complete: see [`Held`].
    HeldForBody,
    Passed,
}

/// A request that waits for an issuer, or for its own body.
pub struct Paused {
    exchange: Exchange,
    headers: RequestHeaders,
    root: u32,
    queue: Option<u32>,
    passes: Option<Rc<Cell<bool>>>,
    body_size: usize,
}

/// A token request whose body has not come yet.
pub struct Held {
    paused: Paused,
    /// When its headers came; none once a part of its body has.
    bodiless_since: Option<Duration>,
}

/// How long the first part of a token request's body may take.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// What became of a request.
enum Outcome {
    Passes,
    Answered,
    Waits,
    NeedsBody,
}

impl RequestContext {
    /// A request that begins under `in_force`.
    pub fn new(id: u32, root: u32, queue: Option<u32>, in_force: Option<Rc<InForce>>) -> Self {
        Self { id, root, queue, in_force, progress: Progress::Stopped }
    }

    fn settle(&mut self, outcome: Outcome) -> Action {
        self.progress = match outcome {
            Outcome::Passes => Progress::Passed,
            Outcome::Answered => Progress::Stopped,
            Outcome::NeedsBody => Progress::HeldForBody,
            Outcome::Waits => {
                let passes = Rc::new(Cell::new(false));
                with_vm(|vm| {
                    if let Some(paused) = vm.paused.get_mut(&self.id) {
                        paused.passes = Some(Rc::clone(&passes));
                    }
                });
                Progress::Waits(passes)
            }
        };
        self.action()
    }

    fn action(&self) -> Action {
        match &self.progress {
            Progress::Passed => Action::Continue,
            Progress::Waits(passes) if passes.get() => Action::Continue,
            Progress::Waits(_) | Progress::Stopped | Progress::HeldForBody => Action::Pause,
        }
    }

    /// Lets a held request go on its way with its body, or with what keeps it from having one.
    fn resume(&mut self, body_size: usize, body: Result<Vec<u8>, Fault>) -> Action {
        self.progress = Progress::Stopped;
        let Some(Held { mut paused, .. }) = with_vm(|vm| vm.held.remove(&self.id)) else {
            return self.action();
        };
        paused.body_size = body_size;
        paused.exchange.deliver_body(body);
        self.settle(advance(self.id, paused))
    }
}

impl Context for RequestContext {}

impl HttpContext for RequestContext {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        // Without a configuration or headers there is nothing to decide with, and nothing passes.
        let (Some(in_force), Some(headers)) = (self.in_force.take(), RequestHeaders::read()) else {
            host::send_local_response(500, &[], b"", -1);
            return Action::Pause;
        };
        let paused = Paused {
            exchange: Exchange::new(in_force),
            headers,
            root: self.root,
            queue: self.queue,
            passes: None,
            body_size: 0,
        };
        let action = self.settle(advance(self.id, paused));
        if matches!(self.progress, Progress::HeldForBody) && end_of_stream {
            return self.resume(0, Ok(Vec::new()));
        }
        action
    }

    /// `size` is that of all that has come, because a host keeps what it was told to hold back.
    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !matches!(self.progress, Progress::HeldForBody) {
            return self.action();
        }
        if size > MAX_BODY_BYTES {
            return self.resume(size, Err(Fault::TooLarge));
        }
        if !end_of_stream {
            with_vm(|vm| {
                if let Some(held) = vm.held.get_mut(&self.id) {
                    held.bodiless_since = None;
                }
            });
            return Action::Pause;
        }
        match host::buffer(Buffer::HttpRequestBody, size) {
            Some(body) if body.len() == size => self.resume(size, Ok(body)),
            // An empty buffer is none to some hosts.
            None if size == 0 => self.resume(0, Ok(Vec::new())),
            Some(_) | None => {
                self.progress = Progress::Stopped;
                with_vm(|vm| vm.held.remove(&self.id));
                host::send_local_response(500, &[], b"", -1);
                Action::Pause
            }
        }
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if !matches!(self.progress, Progress::HeldForBody) {
            return self.action();
        }
        self.resume(0, Err(Fault::Trailers))
    }

    fn on_log(&mut self) {
        // The client of a waiting request went away.
        with_vm(|vm| vm.held.remove(&self.id));
        if let Some(paused) = with_vm(|vm| vm.paused.remove(&self.id)) {
            paused.exchange.in_force().leave(WaiterId(self.id));
        }
    }
}

/// Resumes requests whose answer has come. The effective context is `root` again afterwards.
pub fn wake(root: u32, woken: Vec<(WaiterId, Option<Verdict>)>) {
    if woken.is_empty() {
        return;
    }
    for (WaiterId(id), verdict) in woken {
        let Some(mut paused) = with_vm(|vm| vm.paused.remove(&id)) else { continue };
        if !host::set_effective_context(id) {
            continue;
        }
        paused.exchange.deliver(verdict);
        match advance(id, paused) {
            Outcome::Passes => {
                host::continue_request();
            }
            // No request waits for an issuer and then for its body.
            Outcome::Answered | Outcome::Waits | Outcome::NeedsBody => {}
        }
    }
    host::set_effective_context(root);
}

/// Refuses token requests of which no part of a body has come for too long. The effective context is `root` again
/// afterwards.
pub fn refuse_bodiless(root: u32, now: Duration) {
    let is_late = |held: &Held| {
        let patience_ends = held.bodiless_since.map(|since| since.saturating_add(BODY_PATIENCE));
        held.paused.root == root && patience_ends.is_some_and(|end| now >= end)
    };
    let late: Vec<(u32, Held)> = with_vm(|vm| {
        let late: Vec<u32> = vm.held.iter().filter(|(_, held)| is_late(held)).map(|(id, _)| *id).collect();
        late.into_iter().filter_map(|id| Some((id, vm.held.remove(&id)?))).collect()
    });
    if late.is_empty() {
        return;
    }
    host::log(
        Level::Warn,
        "scopegate: no body of a token request has come to the filter; does the host hand bodies over while headers \
         are held? Envoy does so with `allow_on_headers_stop_iteration: true` in the plugin's configuration",
    );
    for (id, Held { mut paused, .. }) in late {
        if host::set_effective_context(id) {
            paused.exchange.deliver_body(Err(Fault::NoBody));
            // It is answered, whatever else could be said of it.
            let _ = advance(id, paused);
        }
    }
    host::set_effective_context(root);
}

/// Lets the exchange decide and does what it says, in the effective context.
fn advance(id: u32, mut paused: Paused) -> Outcome {
    let mut errands = Vec::new();
    let Paused { exchange, headers, root, queue, passes, body_size } = &mut paused;
    let request = Request::new(headers);
    let mut surroundings = Surroundings {
        verifier: &HostVerifier,
        client_certificate: &client_certificate,
        now: host::now(),
        waiter: WaiterId(id),
        errands: &mut errands,
    };
    let step = exchange.advance(&request, &mut surroundings);
    let now = surroundings.now;
    let in_force = Rc::clone(exchange.in_force());
    let policy = &in_force.policy;
    match step {
        Step::Forward(forward) => {
            telemetry::record(&forward.facts, &in_force, now);
            let mut edits = HostEdits { all_done: true };
            forward.edit(&request, policy, &mut edits);
            if let Some(body) = &forward.body {
                edits.all_done &= host::replace_request_body(*body_size, body);
            }
            if edits.all_done {
                if let Some(passes) = passes {
                    passes.set(true);
                }
                return Outcome::Passes;
            }
            // What the upstream must not see could not be taken out.
            host::send_local_response(500, &[], b"", -1);
            Outcome::Answered
        }
        Step::Reject(rejection, facts) => {
            telemetry::record(&facts, &in_force, now);
            answer(&rejection, &request, policy);
            Outcome::Answered
        }
        Step::RejectTokenRequest(fault, facts) => {
            telemetry::record(&facts, &in_force, now);
            let has_authorization = values(request.headers, "authorization").next().is_some();
            let answer = fault.answer(&policy.realm, has_authorization, policy.strip_failure_response);
            host::send_local_response(
                answer.status,
                &answer.headers,
                answer.body.as_bytes(),
                answer.grpc_status,
            );
            Outcome::Answered
        }
        Step::AwaitBody => {
            with_vm(|vm| vm.held.insert(id, Held { paused, bodiless_since: Some(now) }));
            Outcome::NeedsBody
        }
        Step::Await => {
            let (root, queue) = (*root, *queue);
            with_vm(|vm| {
                vm.errands
                    .entry(root)
                    .or_default()
                    .extend(errands.into_iter().map(|errand: Errand| (Rc::clone(&in_force), errand)));
                vm.paused.insert(id, paused);
            });
            if let Some(queue) = queue {
                // Where it fails the next tick runs the errand.
                host::enqueue(queue);
            }
            Outcome::Waits
        }
    }
}

fn answer(rejection: &Rejection, request: &Request<'_>, policy: &crate::config::policy::Policy) {
    let mut answer = Answer::new(rejection, &policy.realm, policy.strip_failure_response);
    if request.is_grpc {
        // The host makes a gRPC answer of it: the body becomes `grpc-message`, and the content type its own.
        answer.headers.retain(|(name, _)| *name != "content-type");
        let message = format!("{}: {}", rejection.reason, rejection.description());
        host::send_local_response(answer.status, &answer.headers, message.as_bytes(), answer.grpc_status);
    } else {
        host::send_local_response(answer.status, &answer.headers, answer.body.as_bytes(), -1);
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
