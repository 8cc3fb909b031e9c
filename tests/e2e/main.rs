//! End to end: a real Envoy with the wasm file in it, a real authorization server and an upstream that says what it
//! saw. `make test` builds and installs what they need.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail loudly and has time-outs of its own"
)]

mod certificate;
mod issuer;

mod audit;
mod chaos;
mod client_certificates;
mod corpus;
mod decisions;
mod deploy;
mod dpop;
mod fleet;
mod interop;
mod introspection;
mod issuer_pages;
mod issuers;
mod keys;
mod management_server;
mod mcp;
mod memory;
mod metrics;
mod never_open;
mod prometheus;
mod reload;
mod resource;
mod sabotage;
mod second_opinion;
mod servers;
mod soak;
mod systems;
mod table;
mod token_endpoint;
