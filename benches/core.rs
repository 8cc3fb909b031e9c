//! The core by itself, natively: nanoseconds of the steps of a request, small gateway and large.
//!
//! `cargo bench --bench core` prints the median of many batches. It guards the core's shape, not the product's speed,
//! which `make bench` measures in a real Envoy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark"
)]
#![allow(missing_docs, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "time is what is measured")]

#[allow(dead_code, reason = "a part of it is used")]
#[path = "../tests/native/gateway.rs"]
mod gateway;

use std::hint::black_box;
use std::time::{Duration, Instant};

use scopegate::exchange::HeaderEdits;
use scopegate::http::headers::borrowed;
use scopegate::route::path::canonicalize;
use serde_json::json;

use gateway::{Call, Gateway, NOW};
use scopegate_testing::workload::{Issuer, PATH, Size, configuration};

const BATCHES: usize = 200;
const BATCH_TIME: Duration = Duration::from_millis(5);

/// Prints how long `act` takes, by the median of batches.
fn measure(name: &str, mut act: impl FnMut()) {
    let start = Instant::now();
    let mut count: u32 = 0;
    while start.elapsed() < BATCH_TIME {
        act();
        count += 1;
    }
    let mut batches: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let start = Instant::now();
            (0..count).for_each(|_| act());
            start.elapsed().as_nanos() as f64 / f64::from(count)
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    let (lower, median, upper) = (batches[BATCHES / 4], batches[BATCHES / 2], batches[BATCHES * 3 / 4]);
    println!("{name:48} {median:>12.1} ns  ({lower:.1}..{upper:.1})");
}

/// A host that edits headers for nothing.
struct Nowhere;

impl HeaderEdits for Nowhere {
    fn remove(&mut self, name: &[u8]) {
        black_box(name);
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        black_box((name, value));
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        black_box((name, value));
    }
}

/// The core's part in a request.
fn walk(gateway: &Gateway, call: &Call) {
    black_box(gateway.step(&borrowed(&call.headers), &mut Nowhere));
}

fn main() {
    let issuer = Issuer::new(NOW);
    let token = issuer.token(&issuer.es256, 0);
    let medium = Size { tenants: 100, suites: 50, operations: 500 };
    for (name, size) in [("small", Size::SMALL), ("medium", medium), ("large", Size::LARGE)] {
        let config = configuration(&issuer, size);
        let gateway = Gateway::new(&config);
        let policy = &gateway.active.policy;

        measure(&format!("operation lookup, {name}"), || {
            let path = canonicalize(black_box(PATH.as_bytes())).unwrap();
            black_box(policy.operations.find(Some("gw.example"), &path, b"GET", &[]));
        });

        let warm = Call::get(PATH).header("user-agent", "test").bearer(&token);
        assert_eq!(gateway.call(&warm).brief(), "acme");
        measure(&format!("warm request, {name}"), || walk(&gateway, &warm));

        let mut uncached = config;
        uncached["providers"]["corp"]["token_cache"] = json!({"max_entries": 0});
        let uncached = Gateway::new(&uncached);
        assert_eq!(uncached.call(&warm).brief(), "acme");
        measure(&format!("cold ES256 request, {name}"), || walk(&uncached, &warm));

        let without_scope = Call::new("DELETE", PATH).bearer(&token);
        assert_eq!(gateway.call(&without_scope).brief(), "scope_not_granted");
        measure(&format!("scope refused, {name}"), || walk(&gateway, &without_scope));

        let elsewhere = Call::get("/billing/nobody/invoices/4711").bearer(&token);
        assert_eq!(gateway.call(&elsewhere).brief(), "tenant_mismatch");
        measure(&format!("tenant refused, {name}"), || walk(&gateway, &elsewhere));
    }
}
