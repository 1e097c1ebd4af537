//! A thousand damaged vmcores: each part of each kernel overwritten with random bytes. Never a panic, never more memory than allowed,
//! always a result that says what it is: a complete dump, a partial one with its reason, or an error of one sentence.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on a 64-bit host"
)]

use baredump::compress::Compression;
use baredump::dump::{DeadKernel, Observer, Options, Outcome, dump};
use baredump::filter::DumpLevel;
use baredump::vmcore::Vmcore;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::dump_reader::Dump;
use tests::fake_kernel::{Arm64, FakeKernel, FakeVmcore, Generation};
use tests::fuzz::{Meter, Patched, meter};
use tests::memory_file::MemoryFile;

#[global_allocator]
static METER: Meter = meter();

const VARIANTS: u64 = 1000;
/// Beside the output, which is a file here.
const BUDGET: usize = 64 << 20;
/// With room for an unoptimised build on a loaded machine.
const LIMIT: Duration = Duration::from_secs(10);

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

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Every field of the ELF header and of each program header: offset and size.
fn header_fields(vmcore: &FakeVmcore) -> Vec<(usize, usize)> {
    const ELF: &[usize] = &[4, 1, 1, 1, 9, 2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2];
    const PROGRAM: &[usize] = &[4, 4, 8, 8, 8, 8, 8, 8];
    let (_, headers) = vmcore
        .regions
        .iter()
        .find(|(name, _)| *name == "ELF headers")
        .unwrap();
    let program = (headers.len() - 64) / 56;
    let sizes = ELF
        .iter()
        .chain(std::iter::repeat_n(PROGRAM, program).flatten());
    let mut at = 0;
    sizes
        .map(|size| {
            at += size;
            (at - size, *size)
        })
        .collect()
}

/// Overwrites one header field, or a part or the whole of a region; says which.
fn damage(
    file: &mut Patched,
    vmcore: &FakeVmcore,
    turn: usize,
    random: &mut Random,
) -> &'static str {
    let (name, region) = &vmcore.regions[turn % vmcore.regions.len()];
    if *name == "ELF headers" {
        let fields = header_fields(vmcore);
        let (at, size) = fields[turn / vmcore.regions.len() % fields.len()];
        file.patch(at, &random.bytes(size));
        return name;
    }
    let len = match random.below(4) {
        0 => region.len(),
        1 => 8,
        _ => 1 + random.below(region.len().min(512)),
    };
    let at = random.below(region.len() - len.min(region.len()) + 1);
    file.patch(region.start + at, &random.bytes(len.min(region.len() - at)));
    name
}

/// What became of one of them, in a word.
fn capture(file: Patched, level: u8) -> &'static str {
    let Ok(core) = Vmcore::from_elf(Box::new(file)) else {
        return "no vmcore";
    };
    let kernel = DeadKernel::understand(core, false);
    let log = kernel.dmesg(&mut io::sink());
    if let Err(error) = &log {
        assert!(!error.to_string().is_empty());
    }
    let out = MemoryFile::default();
    let options = Options {
        level: DumpLevel::new(level).unwrap(),
        compression: Compression::Snappy,
        threads: 0,
        mmap: false,
        strict: false,
        window: None,
    };
    let Ok(summary) = dump(&kernel, &options, &out, &mut Silent) else {
        return "no dump";
    };
    let read = Dump::parse_damaged(out.into_bytes()).unwrap();
    assert_eq!(read.is_complete(), summary.outcome == Outcome::Complete);
    match summary.outcome {
        Outcome::Partial(why) => {
            assert!(!why.is_empty());
            "partial"
        }
        Outcome::Complete if !summary.warnings.is_empty() => "complete with warnings",
        Outcome::Complete => "complete",
    }
}

#[test]
fn a_thousand_damaged_vmcores() {
    let x86 = Generation::ALL
        .iter()
        .map(|generation| FakeKernel::zoo(*generation));
    let arm64 = Arm64::ALL
        .iter()
        .map(|cpu| FakeKernel::arm64_zoo(*cpu, Generation::V6_12));
    let kernels: Vec<_> = x86
        .chain(arm64)
        .map(|kernel| {
            let vmcore = kernel.build();
            let elf: Arc<[u8]> = vmcore.elf.clone().into();
            (vmcore, elf)
        })
        .collect();
    let mut results = BTreeMap::new();
    for number in 0..VARIANTS {
        let mut random = Random(number);
        let (vmcore, elf) = &kernels[number as usize % kernels.len()];
        let mut file = Patched::new(Arc::clone(elf));
        let turn = number as usize / kernels.len();
        let what = damage(&mut file, vmcore, turn, &mut random);
        let (before, start) = (METER.allocated(), Instant::now());
        let level = [31, 0, 17, 8][random.below(4)];
        let result = std::panic::catch_unwind(|| capture(file, level));
        let result = result
            .unwrap_or_else(|_| panic!("variant {number}: {what} of {:?}", vmcore.generation));
        let most = METER.max_allocated();
        assert!(
            most <= before + BUDGET + (64 << 20),
            "variant {number}: {what} of {:?} held {most} bytes",
            vmcore.generation
        );
        assert!(
            start.elapsed() < LIMIT,
            "variant {number}: {what} of {:?} took {:?}",
            vmcore.generation,
            start.elapsed()
        );
        *results.entry((what, result)).or_insert(0) += 1;
    }
    for ((what, result), count) in &results {
        println!("{what:<20} {result:<22} {count}");
    }
    // Damage must be seen somewhere.
    assert!(
        results
            .keys()
            .any(|(_, result)| *result == "complete with warnings")
    );
}
