//! How the wasm file is linked.

use std::env;

/// What one VM may take of the host's memory, in bytes: a filter that asks for more is stopped, not the proxy.
///
/// Ten thousand tenants, with the configuration before still serving, take about a quarter of it.
const MAX_MEMORY: u32 = 256 << 20;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|architecture| architecture == "wasm32") {
        println!("cargo::rustc-link-arg=--max-memory={MAX_MEMORY}");
    }
}
