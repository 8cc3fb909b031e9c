//! What tests and benchmarks share. Nothing here uses `scopegate` itself, so that its unit tests can use all of it.

#![allow(clippy::disallowed_methods, reason = "servers have time-outs")]

pub mod harness;
pub mod http;
pub mod mint;
pub mod workload;
