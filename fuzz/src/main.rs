//! libFuzzer around one of the targets, the one that `JETON_FUZZ_TARGET` names. `scripts/fuzz` builds and runs it.

#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<targets::Target> = OnceLock::new();

fuzz_target!(|input: &[u8]| TARGET.get_or_init(named)(input));

fn named() -> targets::Target {
    let name = std::env::var("JETON_FUZZ_TARGET").unwrap_or_default();
    let target = targets::TARGETS.iter().find(|(target, _)| *target == name);
    target.unwrap_or_else(|| panic!("JETON_FUZZ_TARGET names no target of fuzz/targets/mod.rs: {name:?}")).1
}
