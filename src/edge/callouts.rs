//! Calls to issuers, made by the root context, and the queue that tells it of calls to make.

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::types::{BufferType, LogLevel, Status};

use super::host;
use super::metrics;
use super::signature::HostVerifier;
use crate::issuer::calls::{CallKind, Environment, Event, IssuerCalls, Resumed};
use crate::issuer::peers::SharedStore;
use crate::issuer::{ActivePolicy, IssuerCall};
use crate::issuer::{HttpCall, IssuerFault};
use crate::jose::SignatureVerifier;

/// The calls in flight of one root context.
pub struct Callouts {
    queue: Option<u32>,
    calls: IssuerCalls,
    host: Host,
}

/// The host, as calls see it.
struct Host {
    /// Whether the VM has a `vm_id` of its own: shared data under a blank one is a namespace with every other plugin.
    shares: bool,
}

/// The host's shared data, among the workers of one proxy.
pub struct HostStore;

impl SharedStore for HostStore {
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        host::shared_data(key)
    }

    fn write(&self, key: &str, value: &[u8], version: u32) -> bool {
        host::set_shared_data(key, value, version)
    }
}

impl Environment for Host {
    fn now(&self) -> Duration {
        host::now()
    }

    fn verifier(&self) -> &dyn SignatureVerifier {
        &HostVerifier
    }

    fn jitter(&self) -> u8 {
        crate::collections::seeded_hash::random_seed().to_le_bytes()[0]
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn shared(&self) -> Option<&dyn SharedStore> {
        self.shares.then_some(&HostStore)
    }

    fn call(&self, cluster: &str, call: &HttpCall, timeout: Duration) -> Result<u32, IssuerFault> {
        // Envoy takes 0 for no timeout at all.
        let timeout = timeout.max(Duration::from_millis(1));
        host::call(cluster, &call.headers, call.body.as_bytes(), timeout).map_err(|status| match status {
            // All other arguments are well formed.
            Status::BadArgument => IssuerFault::NoCluster,
            Status::InternalFailure => IssuerFault::NotSent,
            _ => IssuerFault::Unreachable,
        })
    }

    fn warn(&self, line: &str) {
        host::log(LogLevel::Warn, &format!("scopegate: {line}"));
    }

    fn note(&self, event: Event<'_>) {
        match event {
            Event::AnswerShared => metrics::count("answers_shared_by_workers"),
            Event::KeysAtHand { provider, fresh_until } => {
                metrics::set_keys_fresh_until(provider, fresh_until);
            }
            Event::CallEnded { what, provider, succeeded, took } => {
                let (counted, timed) = match what {
                    CallKind::Keys => ("jwks_fetches", "jwks_fetch"),
                    CallKind::Introspection => ("introspections", "introspection"),
                };
                metrics::count_call(counted, provider, if succeeded { "ok" } else { "failed" });
                if let Some(took) = took {
                    metrics::record_latency(timed, provider, took);
                }
            }
        }
    }
}

impl Callouts {
    /// Registers the queue by which requests call the root context, under a name that nobody else has.
    pub fn new(active: &ActivePolicy) -> Self {
        let mut name = "scopegate".to_owned();
        for _ in 0..2 {
            name.push_str(&format!(".{:016x}", crate::collections::seeded_hash::random_seed()));
        }
        let shares = host::shares_data();
        let host = Host { shares };
        IssuerCalls::prepare(active, &host);
        // Some hosts trap on queues.
        let queue = (!host::is_portable()).then(|| host::register_queue(&name)).flatten();
        Self { queue, calls: IssuerCalls::default(), host }
    }

    /// The queue whose messages call the root context.
    pub fn queue(&self) -> Option<u32> {
        self.queue
    }

    /// Whether something is awaited that another worker fetches.
    pub fn is_waiting_for_others(&self) -> bool {
        self.calls.is_waiting_for_others()
    }

    /// Runs a call.
    pub fn run(&mut self, active: Rc<ActivePolicy>, call: IssuerCall) -> Resumed {
        self.calls.run(active, call, &self.host)
    }

    /// Takes the response to a call. Without headers it failed on the way.
    pub fn answered(&mut self, number: u32, header_count: usize, body_size: usize) -> Resumed {
        let reply = if header_count == 0 {
            Err(IssuerFault::Unreachable)
        } else if body_size > self.calls.body_limit(number) {
            Err(IssuerFault::TooLarge)
        } else {
            let status = host::call_response_header(":status")
                .and_then(|status| std::str::from_utf8(&status).ok()?.parse::<u16>().ok());
            let body = if body_size == 0 {
                Some(Vec::new())
            } else {
                host::buffer(BufferType::HttpCallResponseBody, body_size)
            };
            status.zip(body).ok_or(IssuerFault::Unreachable).and_then(|(status, body)| {
                match IssuerFault::of_local_reply(status, header_count, &body) {
                    Some(fault) => Err(fault),
                    None => Ok((status, body)),
                }
            })
        };
        self.calls.answered(number, reply, &self.host)
    }

    /// Does what the clock asks for.
    pub fn tick(&mut self, active: &Rc<ActivePolicy>) -> Resumed {
        self.calls.tick(active, &self.host)
    }

    /// Gives up what is under way: answers to the calls of a root context that ends never come.
    pub fn hand_over(self) -> Vec<(Rc<ActivePolicy>, IssuerCall)> {
        self.calls.hand_over(&self.host)
    }
}
