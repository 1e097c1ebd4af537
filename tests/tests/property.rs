//! Damaged vmcores: whatever bytes a vmcore holds, a dump of it is complete, partial or a typed error, in bounded time and size.
//! Seeds are fixed; a failure names the seed.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on a 64-bit host"
)]

use baredump::compress::Compression;
use baredump::dump::{DeadKernel, DumpError, Observer, Options, Outcome, dump};
use baredump::filter::DumpLevel;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::dump_reader::Dump;
use tests::fake_kernel::{Arm64, FakeKernel, FakeVmcore, Generation};
use tests::memory_file::MemoryFile;

/// No single damaged vmcore may take longer (measured with room for a loaded machine).
const LIMIT: Duration = Duration::from_secs(10);
/// A log can't be larger than its ring, prefixes and escapes included.
const MAX_LOG: usize = 16 << 20;

/// A log that refuses to grow without a bound.
#[derive(Default)]
struct Log(usize);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        assert!(self.0 <= MAX_LOG, "the log has no end");
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _phase: &'static str, _done: u64, _total: u64) {}
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
    /// A word that has a meaning somewhere: limits, addresses of everything, small numbers.
    fn word(&mut self) -> u64 {
        let special = [
            0,
            1,
            2,
            63,
            64,
            4095,
            u64::MAX,
            1 << 63,
            i64::MAX as u64,
            1 << 52,
            0xffff_ffff,
            0xffff_ffff_8000_0000,
        ];
        match self.below(4) {
            0 => special[self.below(special.len())],
            1 => self.next() % 0x2000_0000,
            2 => 0xffff_9c41_0000_0000 | (self.next() % 0x2000_0000),
            _ => self.next(),
        }
    }
}

/// Damages a region a few times: single bits, bytes, aligned words, runs of one byte.
fn damage(bytes: &mut [u8], region: &Range<usize>, random: &mut Random) {
    for _ in 0..=random.below(6) {
        let at = region.start + random.below(region.len());
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => {
                let at = (at - region.start) / 8 * 8 + region.start;
                let word = random.word().to_le_bytes();
                let len = (region.end - at).min(8);
                bytes[at..at + len].copy_from_slice(&word[..len]);
            }
            _ => {
                let len = random.below(200).min(region.end - at);
                let byte = [0, 0xff, b'9', b'\n'][random.below(4)];
                bytes[at..at + len].fill(byte);
            }
        }
    }
}

/// Dump and log of one vmcore; everything but a panic, a hang or an invalid dump will do.
fn survive(path: &Path, level: u8, threads: usize) -> Result<(), DumpError> {
    let kernel = DeadKernel::open(path, threads == 0)?;
    let _ = kernel.dmesg(&mut Log::default());
    let out = MemoryFile::default();
    let level = DumpLevel::new(level).unwrap();
    let options = Options {
        level,
        compression: Compression::Snappy,
        threads,
        mmap: threads == 0,
        strict: level.bits() % 3 == 1,
        window: None,
    };
    let summary = dump(&kernel, &options, &out, &mut Silent)?;
    let read = Dump::parse_damaged(out.into_bytes()).unwrap();
    assert_eq!(
        read.is_complete(),
        summary.outcome == Outcome::Complete,
        "{summary:?}"
    );
    Ok(())
}

fn run(vmcore: &FakeVmcore, bytes: &[u8], level: u8, what: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vmcore");
    std::fs::write(&path, bytes).unwrap();
    let start = Instant::now();
    let result = std::panic::catch_unwind(|| survive(&path, level, usize::from(level % 2)));
    let taken = start.elapsed();
    assert!(result.is_ok(), "{what} of {:?}", vmcore.generation);
    assert!(
        taken < LIMIT,
        "{what} of {:?} took {taken:?}",
        vmcore.generation
    );
}

/// `count` damaged vmcores, each with one or two damaged regions of the named ones.
fn damaged(generation: Generation, names: &[&str], count: u64) {
    damaged_kernel(FakeKernel::zoo(generation), names, count);
}

fn damaged_kernel(kernel: FakeKernel, names: &[&str], count: u64) {
    let vmcore = kernel.build();
    let generation = vmcore.generation;
    let regions: Vec<_> = vmcore
        .regions
        .iter()
        .filter(|(name, _)| names.contains(name))
        .collect();
    assert_eq!(regions.len(), names.len(), "unknown region in {names:?}");
    for seed in 0..count {
        let mut random = Random(seed ^ (generation as u64) << 32);
        let mut bytes = vmcore.elf.clone();
        let mut what = format!("seed {seed}");
        for _ in 0..=random.below(2) {
            let (name, region) = regions[random.below(regions.len())];
            damage(&mut bytes, region, &mut random);
            what += &format!(", {name}");
        }
        run(&vmcore, &bytes, [31, 0, 16, 9][random.below(4)], &what);
    }
}

#[test]
fn damaged_headers_and_notes() {
    damaged(Generation::V6_1, &["ELF headers", "notes"], 80);
}

#[test]
fn damaged_vmcoreinfo() {
    damaged(Generation::V6_12, &["VMCOREINFO"], 80);
}

#[test]
fn damaged_translation() {
    damaged(
        Generation::V5_10,
        &["page table root", "page tables", "mem_section"],
        60,
    );
}

#[test]
fn damaged_arm64() {
    let tables = ["page table root", "page tables", "mem_section"];
    for cpu in Arm64::ALL {
        damaged_kernel(FakeKernel::arm64_zoo(cpu, Generation::V6_12), &tables, 6);
        damaged_kernel(
            FakeKernel::arm64_zoo(cpu, Generation::V6_18),
            &["VMCOREINFO"],
            6,
        );
    }
}

#[test]
fn damaged_struct_pages() {
    damaged(Generation::V6_6, &["struct pages", "high struct pages"], 40);
    damaged(Generation::V7_1, &["struct pages", "high struct pages"], 20);
}

#[test]
fn damaged_log() {
    damaged(
        Generation::V6_18,
        &["utsname", "printk ring", "printk records", "printk text"],
        60,
    );
}

/// Values in VMCOREINFO that make walks long, shifts wide and products wrap.
#[test]
fn hostile_numbers_in_vmcoreinfo() {
    let vmcore = FakeKernel::zoo(Generation::V6_12).build();
    let (_, region) = vmcore
        .regions
        .iter()
        .find(|(name, _)| *name == "VMCOREINFO")
        .unwrap();
    let text = vmcore.vmcoreinfo.clone();
    for line in text.lines().filter(|line| line.contains('=')) {
        let (key, value) = line.split_once('=').unwrap();
        for hostile in [
            "0",
            "1",
            "99999999999999999999",
            "-1",
            "ffffffffffffffff",
            "x",
        ] {
            let new = &hostile[..hostile.len().min(value.len())];
            let padded = format!("{key}={new:0>width$}", width = value.len());
            let mut bytes = vmcore.elf.clone();
            let at = region.start + text.find(line).unwrap();
            bytes[at..at + padded.len()].copy_from_slice(padded.as_bytes());
            run(&vmcore, &bytes, 31, &padded);
        }
    }
}

#[test]
fn truncated_anywhere() {
    let vmcore = FakeKernel::zoo(Generation::V6_12).build();
    let mut random = Random(7);
    for i in 0..40 {
        let len = if i < 20 {
            random.below(0x4000)
        } else {
            random.below(vmcore.elf.len())
        };
        run(
            &vmcore,
            &vmcore.elf[..len],
            31,
            &format!("cut to {len} bytes"),
        );
    }
}

/// One damaged address, far above all other memory: the bitmaps must not grow with it, and the rest of the memory is saved.
#[test]
fn a_segment_far_away_costs_nothing_but_itself() {
    let vmcore = FakeKernel::zoo(Generation::V6_1)
        .without_vmcoreinfo()
        .build();
    let (_, headers) = vmcore
        .regions
        .iter()
        .find(|(name, _)| *name == "ELF headers")
        .unwrap();
    let mut bytes = vmcore.elf.clone();
    let address = headers.end - 56 + 24;
    bytes[address..address + 8].copy_from_slice(&(1u64 << 46).to_le_bytes());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vmcore");
    std::fs::write(&path, bytes).unwrap();
    let start = Instant::now();
    let out = MemoryFile::default();
    let level = DumpLevel::new(1).unwrap();
    let options = Options {
        level,
        compression: Compression::Snappy,
        threads: 0,
        mmap: true,
        strict: true,
        window: None,
    };
    dump(
        &DeadKernel::open(&path, true).unwrap(),
        &options,
        &out,
        &mut Silent,
    )
    .unwrap();
    assert!(start.elapsed() < LIMIT);
    let kept = Dump::parse_damaged(out.into_bytes()).unwrap().kept();
    assert!(
        vmcore
            .existing()
            .iter()
            .filter(|pfn| **pfn < 0x1_0c00)
            .all(|pfn| kept.binary_search(pfn).is_ok())
    );
}
