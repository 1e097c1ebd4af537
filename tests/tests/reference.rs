//! The expectations of the synthetic kernels against a real makedumpfile: its recorded answers always, and the program itself with
//! `MAKEDUMPFILE=PATH cargo test -p tests --test reference -- --ignored` (after 1.7.9: it must know 7.1). With `RECORD` set, its
//! answers are recorded.
//!
//! This holds the yardstick of the other offline tests to its model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on a 64-bit host"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use tests::dump_reader::Dump;
use tests::fake_kernel::{FakeKernel, FakeVmcore, Generation, Rules};

/// A line for each generation and level: how many pages makedumpfile keeps, and a hash of which.
const RECORDED: &str = "fixtures/makedumpfile.txt";

/// FNV-1a over the page numbers.
fn answer(generation: Generation, level: u8, kept: &[u64]) -> String {
    let bytes = kept.iter().flat_map(|pfn| pfn.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, b| {
        (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{generation:?} {level} {} {hash:016x}\n", kept.len())
}

#[test]
fn recorded_answers_are_the_expectations() {
    let recorded = std::fs::read_to_string(RECORDED).unwrap();
    let mut lines = recorded.split_inclusive('\n');
    for generation in Generation::ALL {
        let vmcore = zoo(generation);
        for level in 0..32 {
            let expected = answer(
                generation,
                level,
                &Vec::from_iter(vmcore.kept(level, Rules::Strict)),
            );
            assert_eq!(
                lines.next(),
                Some(expected.as_str()),
                "generation, level, pages, hash"
            );
        }
    }
    assert_eq!(lines.next(), None);
}

/// Where the program is: the tests that need it are run by name, and then it must be there.
fn reference() -> PathBuf {
    PathBuf::from(std::env::var_os("MAKEDUMPFILE").expect("MAKEDUMPFILE names a makedumpfile"))
}

fn zoo(generation: Generation) -> FakeVmcore {
    let mut kernel = FakeKernel::zoo(generation);
    if generation <= Generation::V6_1 {
        kernel = kernel.without_key("NUMBER(PG_hwpoison)");
    }
    if generation as u8 % 2 == 1 {
        kernel.five_levels().build()
    } else {
        kernel.build()
    }
}

fn run(makedumpfile: &Path, options: &[&str], vmcore: &Path, dump: &Path) {
    let out = Command::new(makedumpfile)
        .args(options)
        .arg("-f")
        .arg(vmcore)
        .arg(dump)
        .output()
        .unwrap();
    let text = [out.stdout, out.stderr].concat();
    assert!(
        out.status.success(),
        "{options:?}: {}",
        String::from_utf8_lossy(&text)
    );
}

#[test]
#[ignore = "needs MAKEDUMPFILE, newer than 1.7.9"]
fn keeps_what_the_synthetic_kernels_expect() {
    let makedumpfile = reference();
    let dir = tempfile::tempdir().unwrap();
    let mut answers = String::new();
    for generation in Generation::ALL {
        let vmcore = zoo(generation);
        let elf = vmcore.write(dir.path()).unwrap();
        for level in 0..32u8 {
            let path = dir.path().join("dump");
            run(
                &makedumpfile,
                &["-c", "-d", &level.to_string()],
                &elf,
                &path,
            );
            let dump =
                Dump::open(&path).unwrap_or_else(|e| panic!("{generation:?} level {level}: {e:#}"));
            assert_eq!(dump.max_mapnr, vmcore.max_mapnr);
            assert_eq!(dump.phys_base, vmcore.phys_base);
            assert!(
                dump.existing == Vec::from_iter(vmcore.existing()),
                "{generation:?} level {level}: bitmap 1"
            );
            answers += &answer(generation, level, &dump.kept());
            vmcore
                .compare_kept(level, Rules::Strict, &dump.kept())
                .unwrap();
            for pfn in dump.kept() {
                assert!(
                    dump.page(pfn).unwrap().unwrap() == vmcore.page(pfn),
                    "{generation:?} level {level}: page {pfn:#x}"
                );
            }
        }
    }
    if std::env::var_os("RECORD").is_some() {
        std::fs::write(RECORDED, answers).unwrap();
    }
}

#[test]
#[ignore = "needs MAKEDUMPFILE, newer than 1.7.9"]
fn reads_the_log() {
    let makedumpfile = reference();
    let dir = tempfile::tempdir().unwrap();
    for generation in Generation::ALL {
        let vmcore = zoo(generation);
        let elf = vmcore.write(dir.path()).unwrap();
        let path = dir.path().join("dmesg");
        run(&makedumpfile, &["--dump-dmesg"], &elf, &path);
        let log = std::fs::read_to_string(&path).unwrap();
        // It prints nothing for empty records.
        let ours: String = vmcore
            .log
            .split_inclusive('\n')
            .filter(|l| !l.ends_with("] \n"))
            .collect();
        assert_eq!(log, ours, "{generation:?}");
    }
}
