//! libFuzzer around one target of `tests::fuzz`, chosen by the variable `FUZZ_TARGET`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use tests::fuzz::{Meter, Target};

#[global_allocator]
static METER: Meter = tests::fuzz::meter();

static CHOSEN: OnceLock<Target> = OnceLock::new();

fuzz_target!(init: {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names no target");
    let target = tests::fuzz::find(&name).unwrap_or_else(|| panic!("unknown target {name}"));
    // What all inputs share is made before the clock of the first one runs.
    let _ = tests::fuzz::seeds(&name);
    let _ = CHOSEN.set(target);
}, |data: &[u8]| {
    if let Some(target) = CHOSEN.get() {
        tests::fuzz::run(&METER, target, data);
    }
});
