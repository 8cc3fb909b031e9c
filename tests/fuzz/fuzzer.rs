//! One target under libFuzzer: `SCOPEGATE_FUZZ` names it. Run by `make fuzz`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use scopegate_fuzz::TARGETS;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("SCOPEGATE_FUZZ").expect("SCOPEGATE_FUZZ names a target");
    let target = TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("there is no target `{name}`")).run
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
