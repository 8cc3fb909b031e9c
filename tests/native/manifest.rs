//! What `Cargo.toml` promises.

use std::process::Command;

use serde_json::Value;

/// A version's parts, as far as they are given: `1.85` is (1, 85, 0).
fn version(text: &str) -> (u64, u64, u64) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn output(command: &mut Command) -> String {
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Other compilers than the one at hand cannot be tried here. That the code itself asks for no newer standard library is
/// clippy's `incompatible_msrv`.
#[test]
fn no_dependency_needs_a_newer_compiler_than_the_manifest_says() {
    let host = output(Command::new("rustc").args(["--print", "host-tuple"]));
    // Without a platform it asks for crates that this machine never builds, and has not downloaded.
    let arguments = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform"];
    let metadata = output(Command::new(env!("CARGO")).args(arguments).arg(host.trim()));
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let packages = metadata["packages"].as_array().unwrap();
    let newer: Vec<&Value> = packages
        .iter()
        .filter(|package| package["rust_version"].as_str().is_some_and(|text| version(text) > ours))
        .map(|package| &package["id"])
        .collect();
    assert!(packages.len() > 100 && newer.is_empty(), "{newer:?}");
}
