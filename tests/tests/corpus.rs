//! Every kept input of every fuzz target, and the seeds: no panic, no hang, no memory beyond the allowance.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use tests::fuzz::{Meter, TARGETS, meter, run, seeds};

#[global_allocator]
static METER: Meter = meter();

#[test]
fn kept_inputs_do_no_harm() {
    for target in TARGETS {
        let mut inputs = seeds(target.name);
        assert!(!inputs.is_empty(), "{} has no seeds", target.name);
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target.name);
        let mut files: Vec<_> = fs::read_dir(&corpus)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        assert!(!files.is_empty(), "{} is empty", corpus.display());
        files.sort();
        inputs.extend(files.iter().map(|file| fs::read(file).unwrap()));
        for input in &inputs {
            run(&METER, target, input);
        }
    }
}
