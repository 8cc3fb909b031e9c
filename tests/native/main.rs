//! The core and the companion tool by what they offer to others, without a proxy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod gateway;
mod scene;

mod audit;
mod config_errors;
mod config_maps;
mod delivery;
mod dpop;
mod envoy_files;
mod filter_config;
mod first_day;
mod forwarding;
mod guide;
mod hosts;
mod issuer_pages;
mod issuer_races;
mod issuers;
mod jws_corpus;
mod kubernetes;
mod laws;
mod manifest;
mod memory;
mod metadata;
mod open_tables;
mod path_corpus;
mod playground;
mod reasons;
mod route_laws;
mod scope_matching;
mod sender;
mod step_up;
mod tenant_isolation;
mod token_endpoint;
mod tool;
mod tool_fetch;
mod tool_live;
mod tool_scale;
mod tool_schema;
mod tool_table;
mod tool_test;
mod warm_path;
mod wycheproof;
