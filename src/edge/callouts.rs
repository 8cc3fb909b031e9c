//! Calls to issuers, made by the root context.
//!
//! Workers of one proxy share what they learn through the host's shared data, where the VM has a `vm_id` of its own:
//! a blank one is a namespace with every other plugin. What is read from there is parsed as strictly as an answer.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::host::{self, Buffer, Level};
use crate::authenticate::introspection::{self, IssuerFault};
use crate::authenticate::provider::ProviderId;
use crate::exchange::worker::MAX_JWKS_BYTES;
use crate::exchange::{Errand, InForce, Verdict, WaiterId, keys_call};

/// Who is woken, with what they waited for.
pub type Woken = Vec<(WaiterId, Option<Verdict>)>;

/// The calls in flight of one root context.
pub struct Callouts {
    queue: Option<u32>,
    in_flight: HashMap<u32, (Rc<InForce>, Errand)>,
}

impl Callouts {
    /// Registers the queue by which requests wake the root context, under a name that nobody else has.
    pub fn new() -> Self {
        let mut name = "scopegate".to_owned();
        for _ in 0..2 {
            name.push_str(&format!(".{:016x}", crate::bounded_cache::random_seed()));
        }
        Self { queue: host::register_queue(&name), in_flight: HashMap::new() }
    }

    /// The queue that wakes the root context.
    pub fn queue(&self) -> Option<u32> {
        self.queue
    }

    /// Whether something is awaited that another worker fetches.
    pub fn is_waiting_for_others(&self) -> bool {
        false
    }

    /// Makes the call of an errand. Where it cannot be made, who waits is told at once.
    pub fn run(&mut self, in_force: Rc<InForce>, errand: Errand) -> Woken {
        match dispatch(&in_force, &errand) {
            Ok(token) => {
                self.in_flight.insert(token, (in_force, errand));
                Woken::new()
            }
            Err(fault) => conclude(&in_force, &errand, Err(fault)),
        }
    }

    /// Takes the answer to a call. Without headers it failed on the way.
    pub fn answered(&mut self, token: u32, header_count: usize, body_size: usize) -> Woken {
        let Some((in_force, errand)) = self.in_flight.remove(&token) else { return Woken::new() };
        let limit = match &errand {
            Errand::FetchKeys { .. } => MAX_JWKS_BYTES,
            Errand::Introspect { provider, .. } => in_force
                .policy
                .provider(*provider)
                .and_then(|provider| provider.introspection.as_ref())
                .map_or(0, |introspection| introspection.max_response_bytes),
        };
        let reply = if header_count == 0 {
            Err(IssuerFault::Unreachable)
        } else if body_size > limit {
            Err(IssuerFault::TooLarge)
        } else {
            let status = host::call_response_header(":status")
                .and_then(|status| std::str::from_utf8(&status).ok()?.parse::<u16>().ok());
            let body = if body_size == 0 {
                Some(Vec::new())
            } else {
                host::buffer(Buffer::HttpCallResponseBody, body_size)
            };
            status.zip(body).ok_or(IssuerFault::Unreachable)
        };
        conclude(&in_force, &errand, reply)
    }

    /// Does what the clock asks for.
    pub fn tick(&mut self, in_force: &Rc<InForce>) -> Woken {
        let (errands, mut woken) = in_force.tick(jitter(), host::now());
        for errand in errands {
            woken.extend(self.run(Rc::clone(in_force), errand));
        }
        woken
    }
}

fn dispatch(in_force: &InForce, errand: &Errand) -> Result<u32, IssuerFault> {
    let (headers, body, cluster, timeout) = match errand {
        Errand::FetchKeys { provider, tenant } => {
            let (headers, cluster, timeout) =
                keys_call(&in_force.policy, *provider, tenant.as_deref()).ok_or(IssuerFault::Unreachable)?;
            (headers, None, cluster, timeout)
        }
        Errand::Introspect { provider, token } => {
            let rules =
                in_force.policy.provider(*provider).and_then(|provider| provider.introspection.as_ref());
            let rules = rules.ok_or(IssuerFault::Unreachable)?;
            let call = introspection::request(rules, token, &|name| std::env::var(name).ok())?;
            (call.headers, Some(call.body), rules.cluster.clone(), rules.timeout)
        }
    };
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // Envoy takes 0 for no timeout at all.
    let timeout = timeout.max(Duration::from_millis(1));
    proxy_wasm::hostcalls::dispatch_http_call(
        &cluster,
        headers,
        body.as_deref().map(str::as_bytes),
        Vec::new(),
        timeout,
    )
    .map_err(|_| IssuerFault::Unreachable)
}

/// Hands an answer to the state of its provider.
fn conclude(in_force: &InForce, errand: &Errand, reply: Result<(u16, Vec<u8>), IssuerFault>) -> Woken {
    let now = host::now();
    let reply = reply.as_ref().map(|(status, body)| (*status, body.as_slice())).map_err(|fault| *fault);
    match errand {
        Errand::FetchKeys { provider, tenant } => {
            let (waiting, fault) = in_force.keys_reply(*provider, tenant.as_deref(), reply, jitter(), now);
            report(in_force, *provider, "keys", fault);
            waiting.into_iter().map(|waiter| (waiter, None)).collect()
        }
        Errand::Introspect { provider, token } => {
            let (waiting, verdict) = in_force.introspection_reply(*provider, token, reply, now);
            let fault = match &verdict {
                Verdict::Fault(fault) => Some(*fault),
                Verdict::Active(_) | Verdict::Refused(_) => None,
            };
            report(in_force, *provider, "introspection", fault);
            waiting.into_iter().map(|waiter| (waiter, Some(verdict.clone()))).collect()
        }
    }
}

fn report(in_force: &InForce, provider: ProviderId, what: &str, fault: Option<IssuerFault>) {
    if let (Some(fault), Some(provider)) = (fault, in_force.policy.provider(provider)) {
        host::log(Level::Warn, &format!("scopegate: {what} of provider `{}` failed: {fault}", provider.name));
    }
}

/// A random number in 0..=255.
fn jitter() -> u8 {
    crate::bounded_cache::random_seed().to_le_bytes()[0]
}
