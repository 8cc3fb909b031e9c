//! Calls to issuers, made by the root context.
//!
//! Workers of one proxy share what they learn through the host's shared data, where the VM has a `vm_id` of its own:
//! a blank one is a namespace with every other plugin. What is read from there is parsed as strictly as an answer.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::host::{self, Buffer, Level};
use super::metrics;
use crate::authenticate::introspection::{self, IssuerFault};
use crate::authenticate::provider::{KeysSource, ProviderId};
use crate::exchange::shared::{self, Fetch, Plan, SharedStore};
use crate::exchange::worker::MAX_JWKS_BYTES;
use crate::exchange::{Errand, InForce, Verdict, WaiterId, keys_call};

/// Who is woken, with what they waited for.
pub type Woken = Vec<(WaiterId, Option<Verdict>)>;

/// The calls in flight of one root context.
pub struct Callouts {
    queue: Option<u32>,
    in_flight: HashMap<u32, (Rc<InForce>, Errand, Duration)>,
    /// Errands that another worker is running.
    parked: Vec<(Rc<InForce>, Errand)>,
    shares: bool,
}

/// The host's shared data.
struct HostStore;

impl SharedStore for HostStore {
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        host::shared_data(key)
    }

    fn write(&self, key: &str, value: &[u8], version: u32) -> bool {
        host::set_shared_data(key, value, version)
    }
}

impl Callouts {
    /// Registers the queue by which requests wake the root context, under a name that nobody else has.
    pub fn new(in_force: &InForce) -> Self {
        let mut name = "scopegate".to_owned();
        for _ in 0..2 {
            name.push_str(&format!(".{:016x}", crate::bounded_cache::random_seed()));
        }
        let shares = host::property(&["plugin_vm_id"]).is_some_and(|vm_id| !vm_id.is_empty());
        if shares {
            for (_, provider) in in_force.providers() {
                shared::prepare(&HostStore, &shared::keys_name(&provider.digest, None));
            }
        }
        Self { queue: host::register_queue(&name), in_flight: HashMap::new(), parked: Vec::new(), shares }
    }

    /// The queue that wakes the root context.
    pub fn queue(&self) -> Option<u32> {
        self.queue
    }

    /// Whether something is awaited that another worker fetches.
    pub fn is_waiting_for_others(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Runs an errand: takes what another worker has learnt, waits for what it is learning, or makes the call. Where
    /// that cannot be done, who waits is told at once.
    pub fn run(&mut self, in_force: Rc<InForce>, errand: Errand) -> Woken {
        if self.shares {
            match consult(&in_force, &errand) {
                Consulted::Answered(woken) => {
                    metrics::count("answers_shared_by_workers");
                    return woken;
                }
                Consulted::Parked => {
                    self.parked.push((in_force, errand));
                    return Woken::new();
                }
                Consulted::MustCall => {}
            }
        }
        match dispatch(&in_force, &errand) {
            Ok(token) => {
                self.in_flight.insert(token, (in_force, errand, host::now()));
                Woken::new()
            }
            Err(fault) => self.conclude(&in_force, &errand, Err(fault)),
        }
    }

    /// Takes the answer to a call. Without headers it failed on the way.
    pub fn answered(&mut self, token: u32, header_count: usize, body_size: usize) -> Woken {
        let Some((in_force, errand, began)) = self.in_flight.remove(&token) else { return Woken::new() };
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
        if let Errand::Introspect { provider, .. } = &errand {
            if let Some(provider) = in_force.policy.provider(*provider) {
                metrics::record_introspection(&provider.name, host::now().saturating_sub(began));
            }
        }
        self.conclude(&in_force, &errand, reply)
    }

    /// Does what the clock asks for.
    pub fn tick(&mut self, in_force: &Rc<InForce>) -> Woken {
        let (errands, mut woken) = in_force.tick(jitter(), host::now());
        let parked = std::mem::take(&mut self.parked);
        let due = errands.into_iter().map(|errand| (Rc::clone(in_force), errand));
        for (in_force, errand) in parked.into_iter().chain(due) {
            woken.extend(self.run(in_force, errand));
        }
        woken
    }

    /// Hands an answer to the state of its provider, and tells the other workers.
    fn conclude(
        &self,
        in_force: &InForce,
        errand: &Errand,
        reply: Result<(u16, Vec<u8>), IssuerFault>,
    ) -> Woken {
        let now = host::now();
        let digest =
            |provider: ProviderId| in_force.policy.provider(provider).map(|provider| provider.digest);
        let bytes = reply.as_ref().map(|(status, body)| (*status, body.as_slice())).map_err(|fault| *fault);
        match errand {
            Errand::FetchKeys { provider, tenant, cause, .. } => {
                let (waiting, fault) =
                    in_force.keys_reply(*provider, tenant.as_deref(), bytes, jitter(), now);
                if let (true, Some(digest)) = (self.shares, digest(*provider)) {
                    let body = bytes.ok().map(|(_, body)| body).filter(|_| fault.is_none());
                    shared::publish(
                        &HostStore,
                        &shared::keys_name(&digest, tenant.as_deref()),
                        *cause,
                        body,
                        now,
                    );
                }
                report(in_force, *provider, Call::JwksFetch, fault);
                waiting.into_iter().map(|waiter| (waiter, None)).collect()
            }
            Errand::Introspect { provider, token } => {
                let (waiting, verdict) = in_force.introspection_reply(*provider, token, bytes, now);
                let fault = match &verdict {
                    Verdict::Fault(fault) => Some(*fault),
                    Verdict::Active(_) | Verdict::Refused(_) => None,
                };
                if let (true, None, Some(digest), Ok((_, body))) =
                    (self.shares, fault, digest(*provider), bytes)
                {
                    shared::publish_answer(&HostStore, &digest, token, body, now);
                }
                report(in_force, *provider, Call::Introspection, fault);
                waiting.into_iter().map(|waiter| (waiter, Some(verdict.clone()))).collect()
            }
        }
    }
}

/// What the other workers have to say to an errand.
enum Consulted {
    /// One of them had the answer.
    Answered(Woken),
    /// One of them is getting it.
    Parked,
    /// Nothing.
    MustCall,
}

fn consult(in_force: &InForce, errand: &Errand) -> Consulted {
    let now = host::now();
    match errand {
        Errand::FetchKeys { provider, tenant, cause, begun } => {
            let Some(rules) = in_force.policy.provider(*provider) else { return Consulted::MustCall };
            let KeysSource::Remote(remote) = &rules.keys else { return Consulted::MustCall };
            let tenant = tenant.as_deref();
            let fetch = Fetch {
                cause: *cause,
                begun: *begun,
                own_fetched_at: in_force.keys_fetched_at(*provider, tenant),
                timeout: remote.timeout,
                cache_duration: remote.cache_duration,
            };
            match shared::plan(&HostStore, &shared::keys_name(&rules.digest, tenant), &fetch, now) {
                Plan::Adopt(record) => match in_force.adopt_keys(*provider, tenant, &record, jitter()) {
                    Some(waiting) => {
                        Consulted::Answered(waiting.into_iter().map(|waiter| (waiter, None)).collect())
                    }
                    None => Consulted::MustCall,
                },
                Plan::Wait => Consulted::Parked,
                Plan::Fail => {
                    let failed = Err(IssuerFault::Unreachable);
                    let (waiting, _) = in_force.keys_reply(*provider, tenant, failed, jitter(), now);
                    Consulted::Answered(waiting.into_iter().map(|waiter| (waiter, None)).collect())
                }
                Plan::Fetch => Consulted::MustCall,
            }
        }
        Errand::Introspect { provider, token } => {
            let Some(rules) = in_force.policy.provider(*provider) else { return Consulted::MustCall };
            let adopted =
                shared::shared_answer(&HostStore, &rules.digest, token).and_then(|(body, received_at)| {
                    in_force.adopt_answer(*provider, token, &body, received_at, now)
                });
            match adopted {
                Some((waiting, verdict)) => Consulted::Answered(
                    waiting.into_iter().map(|waiter| (waiter, Some(verdict.clone()))).collect(),
                ),
                None => Consulted::MustCall,
            }
        }
    }
}

fn dispatch(in_force: &InForce, errand: &Errand) -> Result<u32, IssuerFault> {
    let (headers, body, cluster, timeout) = match errand {
        Errand::FetchKeys { provider, tenant, .. } => {
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
    // Envoy takes 0 for no timeout at all.
    let timeout = timeout.max(Duration::from_millis(1));
    let body = body.as_deref().unwrap_or_default().as_bytes();
    host::call(&cluster, &headers, body, timeout).ok_or(IssuerFault::Unreachable)
}

/// What issuers are asked for.
#[derive(Clone, Copy)]
enum Call {
    JwksFetch,
    Introspection,
}

/// Counts how a call ended, and logs why it failed.
fn report(in_force: &InForce, provider: ProviderId, call: Call, fault: Option<IssuerFault>) {
    let Some(provider) = in_force.policy.provider(provider) else { return };
    let (counter, what) = match call {
        Call::JwksFetch => ("jwks_fetches", "keys"),
        Call::Introspection => ("introspections", "introspection"),
    };
    metrics::count_call(counter, &provider.name, if fault.is_none() { "ok" } else { "failed" });
    if let Some(fault) = fault {
        host::log(Level::Warn, &format!("scopegate: {what} of provider `{}` failed: {fault}", provider.name));
    }
}

/// A random number in 0..=255.
fn jitter() -> u8 {
    crate::bounded_cache::random_seed().to_le_bytes()[0]
}
