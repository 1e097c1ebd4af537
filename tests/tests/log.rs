//! Logs of synthetic kernels through the library: every record, in the order of the ring, and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on a 64-bit host"
)]

use baredump::dump::DeadKernel;
use tests::fake_kernel::printk::{COUNT, Record, TEXT};
use tests::fake_kernel::{FakeKernel, FakeVmcore, Generation};

fn log_of(
    generation: Generation,
    records: Option<Vec<Record>>,
) -> (String, FakeVmcore, Option<String>) {
    let kernel = FakeKernel::new(generation);
    let vmcore = if let Some(records) = records {
        kernel.log(records)
    } else {
        kernel
    }
    .build();
    let mut log = Vec::new();
    let dir = tempfile::tempdir().unwrap();
    let dead = DeadKernel::open(&vmcore.write(dir.path()).unwrap(), true).unwrap();
    let summary = dead.dmesg(&mut log).unwrap();
    assert_eq!(summary.bytes, log.len() as u64);
    (String::from_utf8(log).unwrap(), vmcore, summary.panic_line)
}

#[test]
fn the_log_is_the_records() {
    for generation in Generation::ALL {
        let (log, vmcore, panic_line) = log_of(generation, None);
        assert_eq!(log, vmcore.log, "{generation:?}");
        assert_eq!(
            panic_line.as_deref(),
            Some("Kernel panic - not syncing: sysrq triggered crash")
        );
    }
}

/// Blocks of 256 bytes fill the ring exactly: the last one stays at its end (6.18) or moves to its start.
#[test]
fn a_record_may_end_exactly_at_the_end_of_the_ring() {
    for generation in [Generation::V6_12, Generation::V6_18] {
        let records = (0..TEXT / 256)
            .map(|i| Record::new(i * 1_000_000, &format!("{i:0248}")))
            .collect();
        let (log, vmcore, _) = log_of(generation, Some(records));
        assert_eq!(log, vmcore.log, "{generation:?}");
        let first = usize::from(generation < Generation::V6_18);
        assert_eq!(log.lines().count(), TEXT as usize / 256 - first);
    }
}

/// More text than the ring holds, more records than it has descriptors, positions and ids that overflow.
#[test]
fn a_full_ring_holds_the_last_records() {
    for generation in [Generation::V5_10, Generation::V6_18] {
        let texts = |count: u64, len: u64| {
            (0..count).map(move |i| Record::new(i * 1_000_000, &"x".repeat((i % len + 1) as usize)))
        };
        for records in [
            texts(300, 10).collect::<Vec<_>>(),
            texts(100, 97).collect(),
            texts(700, 300).collect(),
        ] {
            let (log, vmcore, _) = log_of(generation, Some(records));
            assert_eq!(log, vmcore.log, "{generation:?}");
            assert!((5..COUNT as usize).contains(&log.lines().count()));
        }
    }
}
