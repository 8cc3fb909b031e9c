//! What it takes to configure the filter for many tenants, in each of Envoy's VMs.
//!
//! Time is the processor time of a worker's thread, which has nothing else to do: the VM of that worker is configured
//! on it. Memory is what Envoy with four workers holds more than with one, by the three: a worker's VM and what little
//! a worker needs beside it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::meter;
use scopegate_testing::harness::{Gateway, Options};
use scopegate_testing::workload::{Issuer, Size, configuration};

const MANY_TENANTS: Size = Size { tenants: 10_000, ..Size::SMALL };
const WORKERS: u32 = 4;
const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// A figure with its target.
pub struct Figure {
    pub name: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub value: f64,
    pub target: f64,
}

impl Figure {
    pub fn is_reached(&self) -> bool {
        self.value <= self.target
    }
}

/// Configures Envoy anew and again, and measures it.
pub fn figures(issuer: &Issuer) -> Result<Vec<Figure>, String> {
    let many = configuration(issuer, MANY_TENANTS);
    let few = configuration(issuer, Size::SMALL);
    let start = |configuration: &Value, concurrency| {
        Gateway::start(configuration, &Options { concurrency, reloadable: true, ..Options::default() })
    };

    // What any configuration takes, the compiled module above all, is taken off.
    let gateway = start(&few, 1);
    let of_few = settled_time_of_worker(&gateway)?;
    let memory_of_few = memory_per_worker(&gateway, &start(&few, WORKERS));
    drop(gateway);
    let gateway = start(&many, 1);
    let of_many = settled_time_of_worker(&gateway)?;
    let four = start(&many, WORKERS);
    let memory_of_many = memory_per_worker(&gateway, &four);

    // Another configuration of the same size, in the same VMs.
    let mut other = many;
    other["realm"] = json!("another");
    let reload = |gateway: &Gateway| match gateway.reload(&other, &Options::default()) {
        true => Ok(()),
        false => Err(format!("Envoy does not take another configuration: {}", gateway.log())),
    };
    reload(&gateway)?;
    let of_reload = settled_time_of_worker(&gateway)? - of_many;
    reload(&four)?;
    settled_time_of_worker(&four)?;
    let memory_of_reload = memory_per_worker(&gateway, &four);

    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let figure = |name, title, unit, value, target| Figure { name, title, unit, value, target };
    Ok(vec![
        figure(
            "configure-time",
            "a VM takes 10,000 tenants with four applications each (beyond what one tenant takes)",
            "ms",
            milliseconds(of_many.saturating_sub(of_few)),
            1000.0,
        ),
        figure("reload-time", "as much, by a new configuration alone", "ms", milliseconds(of_reload), 1000.0),
        figure(
            "configure-memory",
            "a VM with 10,000 tenants (beyond one with one tenant)",
            "MiB",
            memory_of_many - memory_of_few,
            32.0,
        ),
        figure(
            "reload-memory",
            "as much, after a new configuration alone",
            "MiB",
            memory_of_reload - memory_of_few,
            32.0,
        ),
    ])
}

/// Processor time of the first worker so far, once it has nothing to do any more.
fn settled_time_of_worker(gateway: &Gateway) -> Result<Duration, String> {
    const QUIET: Duration = Duration::from_millis(500);
    let worker = meter::thread_named(gateway.process_id(), "wrk:worker_0")
        .ok_or("Envoy has no thread `wrk:worker_0`")?;
    let end = Instant::now() + Duration::from_secs(60);
    let mut before = meter::time_of(worker);
    while Instant::now() < end {
        thread::sleep(QUIET);
        let now = meter::time_of(worker);
        // Timers go on.
        if now - before < Duration::from_millis(5) {
            return Ok(now);
        }
        before = now;
    }
    Err("Envoy's worker does not come to rest".to_owned())
}

/// What each further worker holds, in MiB.
fn memory_per_worker(one: &Gateway, all: &Gateway) -> f64 {
    (all.memory() as f64 - one.memory() as f64) / f64::from(WORKERS - 1) / MEBIBYTE
}
