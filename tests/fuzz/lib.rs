//! What must hold whatever bytes come from outside, a target for each kind of input.
//!
//! `make fuzz` runs the targets under libFuzzer; the test `smoke` changes their seeds at random for some seconds each. An
//! input that failed once stands in `findings/`, by its target, and is run each time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a target may fail loudly"
)]

#[path = "../native/gateway.rs"]
#[allow(dead_code, reason = "the native tests use all of it")]
mod gateway;

#[path = "../native/scene.rs"]
#[allow(dead_code, reason = "the native tests use all of it")]
mod scene;

mod configuration;
mod exchange;
mod request;
mod responses;
mod seeds;
mod tokens;

pub use seeds::of as seeds;

/// One kind of input.
#[derive(Clone, Copy)]
pub struct Target {
    /// How it is called.
    pub name: &'static str,
    /// Panics where something does not hold for an input.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "token", run: tokens::token },
    Target { name: "proof", run: tokens::proof },
    Target { name: "jwks", run: responses::jwks },
    Target { name: "introspection", run: responses::introspection },
    Target { name: "shared_data", run: responses::shared_data },
    Target { name: "configuration_json", run: configuration::json },
    Target { name: "configuration_yaml", run: configuration::yaml },
    Target { name: "configuration_struct", run: configuration::protobuf },
    Target { name: "path", run: request::path },
    Target { name: "host", run: request::host },
    Target { name: "credential_places", run: request::credential_places },
    Target { name: "form", run: request::form },
    Target { name: "exchange", run: exchange::exchange },
];
