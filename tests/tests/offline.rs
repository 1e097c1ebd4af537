//! Dumps of synthetic kernels through the library, read back by the independent reader: for every kernel generation and dump level
//! exactly the pages that the rules keep, the right ones and makedumpfile's, byte for byte.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on a 64-bit host"
)]

use baredump::compress::Compression;
use baredump::dump::{DeadKernel, Observer, Options, Outcome, PageCounts, Summary, dump};
use baredump::filter::DumpLevel;
use tests::dump_reader::{Dump, LZO, SNAPPY, ZLIB, ZSTD};
use tests::fake_kernel::layout::CRASH_TIME;
use tests::fake_kernel::{Arm64, FakeKernel, FakeVmcore, Generation, Kind, Machine, Rules};
use tests::memory_file::MemoryFile;

const CODECS: [(Compression, u32); 5] = [
    (Compression::None, 0),
    (Compression::Zlib, ZLIB),
    (Compression::Lzo, LZO),
    (Compression::Snappy, SNAPPY),
    (Compression::Zstd, ZSTD),
];

/// Progress must come often, never go back and end at its total.
#[derive(Default)]
struct Watcher {
    last: Option<(&'static str, u64, u64)>,
}

impl Observer for Watcher {
    fn progress(&mut self, phase: &'static str, done: u64, total: u64) {
        if let Some((_, before, _)) = self.last.filter(|(last, ..)| *last == phase) {
            assert!(before <= done, "{phase} goes back from {before} to {done}");
        }
        assert!(done <= total, "{phase}: {done} of {total}");
        self.last = Some((phase, done, total));
    }
}

fn options(level: u8, compression: Compression, threads: usize) -> Options {
    Options {
        level: DumpLevel::new(level).unwrap(),
        compression,
        threads,
        mmap: true,
        strict: false,
        window: None,
    }
}

fn open(vmcore: &FakeVmcore, mmap: bool) -> DeadKernel {
    let dir = tempfile::tempdir().unwrap();
    DeadKernel::open(&vmcore.write(dir.path()).unwrap(), mmap).unwrap()
}

fn write(kernel: &DeadKernel, options: &Options) -> (Summary, Vec<u8>) {
    let out = MemoryFile::default();
    let mut watcher = Watcher::default();
    let summary = dump(kernel, options, &out, &mut watcher).unwrap();
    assert!(
        watcher.last.is_some_and(|(_, done, total)| done == total),
        "progress ends at {:?}",
        watcher.last
    );
    (summary, out.into_bytes())
}

/// The dump must hold exactly the pages that are right, byte for byte.
fn check(vmcore: &FakeVmcore, level: u8, file: Vec<u8>) -> Dump {
    check_by(Rules::Right, vmcore, level, file)
}

/// The same by either rules.
fn check_by(rules: Rules, vmcore: &FakeVmcore, level: u8, file: Vec<u8>) -> Dump {
    let (machine, generation) = (vmcore.machine, vmcore.generation);
    let what = format!("{machine:?} {generation:?} {rules:?} level {level}");
    let dump = Dump::parse(file).unwrap_or_else(|e| panic!("{what}: {e:#}"));
    assert!(dump.is_complete(), "{what}: not complete");
    assert_eq!(
        (dump.level, dump.max_mapnr),
        (level.into(), vmcore.max_mapnr),
        "{what}"
    );
    assert!(
        dump.existing == Vec::from_iter(vmcore.existing()),
        "{what}: bitmap 1"
    );
    vmcore.compare_kept(level, rules, &dump.kept()).unwrap();
    for pfn in dump.kept() {
        assert!(
            dump.page(pfn).unwrap().as_ref() == Some(&vmcore.page(pfn)),
            "{what}: page {pfn:#x} has other bytes"
        );
    }
    dump
}

/// Every level of one kernel by both rules, each with another codec.
fn all_levels(kernel: FakeKernel) {
    let vmcore = kernel.build();
    let (generation, machine) = (vmcore.generation, vmcore.machine);
    let dead = open(&vmcore, true);
    assert_eq!(dead.warnings(), [""; 0]);
    for (rules, level) in Rules::BOTH
        .into_iter()
        .flat_map(|rules| (0..32).map(move |level| (rules, level)))
    {
        let (compression, status) = CODECS[usize::from(level / 2) % CODECS.len()];
        let asked = Options {
            strict: rules.is_strict(),
            window: None,
            ..options(level, compression, 0)
        };
        let (summary, file) = write(&dead, &asked);
        assert_eq!(
            (summary.outcome, summary.level.bits()),
            (Outcome::Complete, level)
        );
        assert_eq!(
            summary.warnings, [""; 0],
            "{machine:?} {generation:?} level {level}"
        );
        assert_eq!(summary.bytes, file.len() as u64);
        let dump = check_by(rules, &vmcore, level, file);
        assert_eq!(dump.status, status);
        counts(&summary.pages, &dump, &vmcore);
    }
}

/// The counters add up and agree with the file.
fn counts(pages: &PageCounts, dump: &Dump, vmcore: &FakeVmcore) {
    let dropped = pages.dropped.cache
        + pages.dropped.cache_private
        + pages.dropped.user
        + pages.dropped.free
        + pages.dropped.hwpoison
        + pages.dropped.offline;
    assert_eq!(
        (pages.total, pages.kept),
        (dump.existing.len() as u64, dump.descriptors.len() as u64)
    );
    assert_eq!(pages.total, pages.kept + dropped, "{pages:?}");
    assert_eq!(pages.unreadable, 0);
    if dump.level & 1 != 0 {
        let zero = dump
            .kept()
            .into_iter()
            .filter(|pfn| vmcore.page(*pfn).iter().all(|b| *b == 0));
        assert_eq!(pages.zero, zero.count() as u64);
    }
}

macro_rules! generations {
    ($($name:ident $generation:ident $five:literal)*) => {$(
        #[test]
        fn $name() {
            let kernel = FakeKernel::zoo(Generation::$generation);
            all_levels(if $five { kernel.five_levels() } else { kernel });
        }
    )*};
}

generations! {
    all_levels_of_5_10 V5_10 false
    all_levels_of_6_1 V6_1 true
    all_levels_of_6_4 V6_4 false
    all_levels_of_6_6 V6_6 true
    all_levels_of_6_9 V6_9 false
    all_levels_of_6_10 V6_10 true
    all_levels_of_6_12 V6_12 false
    all_levels_of_6_18 V6_18 true
    all_levels_of_7_1 V7_1 true
}

/// Each way to translate has its test; the kernel generations take turns.
macro_rules! arm64 {
    ($($name:ident $index:literal $generation:ident)*) => {$(
        #[test]
        fn $name() {
            all_levels(FakeKernel::arm64_zoo(Arm64::ALL[$index], Generation::$generation));
        }
    )*};
}

arm64! {
    all_levels_of_arm64_4k_48 0 V5_10
    all_levels_of_arm64_4k_39 1 V6_1
    all_levels_of_arm64_4k_lpa2 2 V6_12
    all_levels_of_arm64_4k_52_on_48 3 V7_1
    all_levels_of_arm64_16k_47 4 V6_6
    all_levels_of_arm64_16k_lpa2 5 V6_18
    all_levels_of_arm64_16k_52_on_47 6 V6_12
    all_levels_of_arm64_64k_48 7 V6_4
    all_levels_of_arm64_64k_52 8 V6_9
    all_levels_of_arm64_64k_52_on_48 9 V6_10
}

/// What one key does not say about the page tables is found by trying: the same pages, and a warning when it was needed.
#[test]
fn arm64_page_tables_are_found_without_a_key() {
    for cpu in Arm64::ALL {
        for key in [
            "VA_BITS",
            "TCR_EL1_T1SZ",
            "kimage_voffset",
            "PHYS_OFFSET",
            "SECTION_SIZE_BITS",
            "MAX_PHYSMEM_BITS",
        ] {
            let vmcore = FakeKernel::arm64_zoo(cpu, Generation::V6_12)
                .without_key(&format!("NUMBER({key})"))
                .build();
            let dead = open(&vmcore, true);
            let (summary, file) = write(&dead, &options(31, Compression::None, 0));
            assert_eq!(summary.warnings, [""; 0], "{cpu:?} without {key}");
            check(&vmcore, 31, file);
            let must_try = key == "VA_BITS" && cpu.built == cpu.actual || key == "kimage_voffset";
            let warned = dead.warnings().iter().any(|w| w.contains("trying"));
            assert!(warned || !must_try, "{cpu:?} without {key}");
        }
    }
}

/// Keys that contradict the tables: the tables are right.
#[test]
fn arm64_page_tables_are_believed_more_than_keys() {
    for (cpu, key, wrong) in [
        (Arm64::ALL[0], "TCR_EL1_T1SZ", "0x19"),
        (Arm64::ALL[2], "TCR_EL1_T1SZ", "0x10"),
        (Arm64::ALL[3], "TCR_EL1_T1SZ", "0xc"),
        (Arm64::ALL[5], "TCR_EL1_T1SZ", "0x11"),
        (Arm64::ALL[8], "VA_BITS", "-1"),
        (Arm64::ALL[9], "kimage_voffset", "0x1234"),
    ] {
        let vmcore = FakeKernel::arm64_zoo(cpu, Generation::V6_12)
            .with_number(key, wrong)
            .build();
        let dead = open(&vmcore, true);
        let (_, file) = write(&dead, &options(31, Compression::None, 0));
        check(&vmcore, 31, file);
        let warned = dead.warnings().iter().any(|w| w.contains("trying"));
        assert!(warned, "{cpu:?} {key}={wrong}");
    }
}

/// `SYMBOL(mem_section)` of 4.15 before its correction.
#[test]
fn mem_section_may_be_behind_a_pointer() {
    let arm = Machine::Arm64(Arm64::ALL[8]);
    for machine in [Machine::X86 { levels: 4 }, arm] {
        let vmcore = FakeKernel::on(machine, Generation::V5_10)
            .page(
                FakeKernel::on(machine, Generation::V5_10).test_low() + 1,
                Kind::Anon,
            )
            .mem_section_by_pointer()
            .build();
        let (_, file) = write(&open(&vmcore, true), &options(31, Compression::None, 0));
        check(&vmcore, 31, file);
    }
}

#[test]
fn the_header_of_an_arm64_dump() {
    for cpu in [Arm64::ALL[0], Arm64::ALL[9]] {
        let vmcore = FakeKernel::arm64_zoo(cpu, Generation::V6_12).build();
        let (_, file) = write(&open(&vmcore, true), &options(31, Compression::Zstd, 0));
        let dump = check(&vmcore, 31, file);
        assert_eq!(dump.utsname[4], "aarch64");
        assert_eq!(dump.page_size, 1 << cpu.page_shift);
        assert_eq!((dump.phys_base, dump.nr_cpus), (vmcore.phys_base, 2));
        let mut log = Vec::new();
        open(&vmcore, true).dmesg(&mut log).unwrap();
        assert_eq!(String::from_utf8(log).unwrap(), vmcore.log);
    }
}

#[test]
fn every_codec_and_number_of_threads_gives_the_same_dump() {
    let vmcore = FakeKernel::zoo(Generation::V6_12).five_levels().build();
    let mapped = open(&vmcore, true);
    let read = open(&vmcore, false);
    for (compression, _) in CODECS {
        for level in [0, 31] {
            let (_, single) = write(&mapped, &options(level, compression, 0));
            for threads in [1, 2, 4] {
                let (_, many) = write(&mapped, &options(level, compression, threads));
                assert!(
                    single == many,
                    "{compression:?} level {level}: {threads} threads make another file"
                );
            }
            let (_, careful) = write(
                &read,
                &Options {
                    mmap: false,
                    ..options(level, compression, 0)
                },
            );
            assert!(
                single == careful,
                "{compression:?} level {level}: pread makes another file than mmap"
            );
            check(&vmcore, level, single);
        }
    }
}

#[test]
fn header_and_notes_say_what_the_kernel_said() {
    let vmcore = FakeKernel::zoo(Generation::V6_1).build();
    let (summary, file) = write(&open(&vmcore, true), &options(31, Compression::Zstd, 0));
    let crc = crc32(&file);
    let dump = check(&vmcore, 31, file);
    assert_eq!(summary.crc32, Some(crc));
    assert_eq!(
        dump.utsname[..3],
        ["Linux", "dead-node.example", vmcore.generation.release()]
    );
    assert_eq!(dump.utsname[4..], ["x86_64", "(none)"]);
    assert_eq!(
        (dump.crash_time, dump.nr_cpus, dump.phys_base),
        (CRASH_TIME, 2, vmcore.phys_base)
    );
    assert_eq!(dump.vmcoreinfo, vmcore.vmcoreinfo);
    let (_, notes) = vmcore
        .regions
        .iter()
        .find(|(name, _)| *name == "notes")
        .unwrap();
    assert_eq!(dump.notes[..notes.len()], vmcore.elf[notes.clone()]);
}

#[test]
fn identity_is_read_from_utsname_and_vmcoreinfo() {
    for generation in Generation::ALL {
        let dead = open(&FakeKernel::new(generation).build(), true);
        let identity = dead.identity();
        assert_eq!(
            identity.nodename.as_deref(),
            Some("dead-node.example"),
            "{generation:?}"
        );
        assert_eq!(identity.release.as_deref(), Some(generation.release()));
        assert_eq!(
            identity.build_id.as_deref(),
            Some("00112233445566778899aabbccddeeff00112233")
        );
        assert_eq!(identity.crash_time, Some(CRASH_TIME));
    }
}

/// A gigantic page whose tails are in the next section: the whole of it goes, and only it.
#[test]
fn a_compound_page_may_cross_sections() {
    for generation in [Generation::V5_10, Generation::V6_6, Generation::V7_1] {
        let kernel = FakeKernel::new(generation)
            .ram(0x1800_0000..0x1810_0000)
            .compound(0x1_0000, 16, Kind::Hugetlb);
        let vmcore = kernel.build();
        let dead = open(&vmcore, true);
        for level in [7, 8] {
            let (_, file) = write(&dead, &options(level, Compression::Snappy, 0));
            check(&vmcore, level, file);
        }
        assert!(
            !vmcore.kept(8, Rules::Right).contains(&0x1_8000),
            "the next section is part of the test"
        );
    }
}

/// Memory behind the last section with struct pages is not dumped: that is how makedumpfile honours `mem=`.
#[test]
fn memory_behind_the_last_mem_map_is_no_memory() {
    let vmcore = FakeKernel::zoo(Generation::V6_12)
        .ram(0x2000_0000..0x2010_0000)
        .build();
    assert_eq!(vmcore.max_mapnr, 0x1_8000);
    let (_, file) = write(&open(&vmcore, true), &options(31, Compression::Snappy, 0));
    check(&vmcore, 31, file);
}

/// Debian's cloud kernels have no `PG_hwpoison`: at levels 0 and 1 no page is looked at.
#[test]
fn without_hwpoison_offline_pages_go_from_level_2_on() {
    let vmcore = FakeKernel::zoo(Generation::V6_1)
        .without_key("NUMBER(PG_hwpoison)")
        .build();
    let dead = open(&vmcore, true);
    for level in [0, 1, 2, 16, 31] {
        let (_, file) = write(&dead, &options(level, Compression::Snappy, 0));
        check(&vmcore, level, file);
    }
}

/// Where the two sets of rules differ, beside the flag of waiters: each page goes by its own rules.
#[test]
fn pages_that_only_one_set_of_rules_drops() {
    for generation in [Generation::V6_1, Generation::V6_12, Generation::V7_1] {
        let pfn = FakeKernel::new(generation).test_low();
        let vmcore = FakeKernel::new(generation)
            .page(pfn + 1, Kind::OfflineLowBits)
            .page(pfn + 2, Kind::OfflineWaiters)
            .page(pfn + 3, Kind::AnonWaiters)
            .build();
        let dead = open(&vmcore, true);
        for (rules, level) in [0, 2, 8, 31].map(|l| Rules::BOTH.map(|r| (r, l))).concat() {
            let strict = rules.is_strict();
            let asked = options(level, Compression::Snappy, 0);
            let (_, file) = write(&dead, &Options { strict, ..asked });
            check_by(rules, &vmcore, level, file);
        }
    }
}

#[test]
fn without_vmcoreinfo_everything_is_kept() {
    let vmcore = FakeKernel::zoo(Generation::V6_12)
        .without_vmcoreinfo()
        .build();
    let dead = open(&vmcore, true);
    for level in [1, 31] {
        let (summary, file) = write(&dead, &options(level, Compression::Zlib, 0));
        let dump = Dump::parse(file).unwrap();
        assert!(dump.kept() == Vec::from_iter(vmcore.existing()));
        assert_eq!(summary.level.bits(), level & 1);
        assert!(
            level == 1 || !dead.warnings().is_empty() || !summary.warnings.is_empty(),
            "no warning at level {level}"
        );
    }
    assert!(dead.dmesg(&mut Vec::new()).is_err());
}

/// CRC-32 (IEEE 802.3), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0xedb8_8320
        } else {
            crc >> 1
        }
    };
    let byte = |crc: u32, b: &u8| (0..8).fold(crc ^ u32::from(*b), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}
