//! The built module in a small proxy-wasm host of the tests' own, which can do what Envoy rarely does.
//!
//! It runs `SCOPEGATE_WASM`, or `target/wasm32-wasip1/release/scopegate.wasm`, which `make build` makes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

mod abi;
mod audit;
mod bound_tokens;
mod clock;
mod cost;
mod counters;
mod crypto;
mod decisions;
mod dpop;
mod faults;
mod fixture;
mod host;
mod hostile;
mod hosts;
mod introspection;
mod keys;
mod module;
mod profile;
mod reload;
mod sharing;
mod signatures;
mod token_endpoint;
