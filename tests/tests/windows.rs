//! The size of the windows in which struct pages are judged never changes the result: neither the pages that are kept, nor the counts.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, on a 64-bit host"
)]

use baredump::compress::Compression;
use baredump::dump::{DeadKernel, Observer, Options, Summary, dump};
use baredump::filter::{self, Bitmap, DumpLevel, Lanes, Scan, Scanned};
use baredump::kernel::Basics;
use baredump::kernel::memmap::MemMap;
use baredump::kernel::page::{GROUP, PageRules};
use tests::fake_kernel::{Arm64, FakeKernel, Generation, Kind, Rules};
use tests::memory_file::MemoryFile;

/// A kernel that is understood.
struct Scene(DeadKernel);

impl Scene {
    fn new(kernel: FakeKernel) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = kernel.build().write(dir.path()).unwrap();
        Self(DeadKernel::open(&path, true).unwrap())
    }

    /// The pages that are kept and the counts, with windows of `size` pages. Of each window only its own pages are taken, and the
    /// others must be left alone.
    fn windows(&self, level: u8, rules: Rules, size: u64) -> (Bitmap, Scanned) {
        self.judge(level, rules, size, None)
    }

    /// The same, each window by several threads.
    fn judge(&self, level: u8, rules: Rules, size: u64, lanes: Option<Lanes>) -> (Bitmap, Scanned) {
        let (core, page) = (self.0.core(), self.0.page_size());
        let reader = core.reader(true);
        let mem = self.0.virt(&reader).unwrap();
        let basics = Basics {
            arch: self.0.arch().unwrap(),
            page_size: page,
            kernel_base: self.0.kernel_base().unwrap(),
        };
        let end = filter::max_mapnr(core, page);
        let map = MemMap::read(&mem, &basics, self.0.info(), core.extents(), end).unwrap();
        let level = DumpLevel::new(level).unwrap();
        let rules = PageRules::new(self.0.info(), level, rules.is_strict()).unwrap();
        let mut all = Bitmap::new(end).unwrap();
        let mut scan = Scan::new(core, &mem, &map, &rules, page);
        let mut start = 0;
        while start < end {
            let stop = start.saturating_add(size).min(end);
            let mut kept = Bitmap::new(end).unwrap();
            filter::set_dumpable(core, page, &mut kept);
            let others = kept.count() - kept.count_range(start, stop);
            match lanes {
                None => scan.window(start..stop, &mut kept, &mut |_| {}),
                Some(lanes) => scan.window_in(lanes, start..stop, &mut kept, &mut |_| {}),
            }
            assert_eq!(others, kept.count() - kept.count_range(start, stop));
            let mut next = kept.next(start);
            while let Some(pfn) = next.filter(|pfn| *pfn < stop) {
                all.set_range(pfn, pfn + 1);
                next = kept.next(pfn + 1);
            }
            start = stop;
        }
        (all, scan.scanned())
    }

    /// Windows of one group, of odd numbers of groups, of a section and around it, and larger than all memory.
    fn same_in_windows(&self, section: u64) {
        for (level, rules) in [31, 8, 16]
            .into_iter()
            .flat_map(|l| Rules::BOTH.map(|r| (l, r)))
        {
            let whole = self.windows(level, rules, u64::MAX);
            assert!(whole.1.dropped != filter::Dropped::default());
            for size in [
                GROUP * 5,
                GROUP * 47,
                section - GROUP,
                section,
                section + GROUP,
                section * 2,
            ] {
                let windows = self.windows(level, rules, size);
                assert_eq!(whole.1, windows.1, "level {level} {rules:?} size {size}");
                assert!(whole.0 == windows.0, "level {level} {rules:?} size {size}");
                for (window, threads) in [(u64::MAX, 2), (u64::MAX, 7), (size * 3, 3)] {
                    let lanes = Lanes {
                        threads,
                        part: size,
                        mmap: threads == 3,
                    };
                    let lanes = self.judge(level, rules, window, Some(lanes));
                    assert!(whole == lanes, "level {level} {rules:?} {threads} x {size}");
                }
            }
        }
        let whole = self.windows(31, Rules::Right, u64::MAX);
        assert!(self.windows(31, Rules::Right, GROUP) == whole);
    }
}

#[test]
fn every_kind_of_page() {
    for generation in [Generation::V6_1, Generation::V7_1] {
        Scene::new(FakeKernel::zoo(generation)).same_in_windows(1 << 15);
    }
    let cpu = Arm64::ALL[5];
    Scene::new(FakeKernel::arm64_zoo(cpu, Generation::V6_12)).same_in_windows(1 << 13);
}

/// Ranges that cross the ends of windows and sections, and one that begins inside of another (its heads are damaged).
#[test]
fn ranges_that_cross_the_ends_of_windows() {
    for generation in [Generation::V5_10, Generation::V6_12] {
        let kernel = FakeKernel::new(generation)
            .ram(0x1800_0000..0x1810_0000)
            .compound(0x1_0000, 16, Kind::Hugetlb)
            .compound(0x1_8000, 5, Kind::Anon)
            .free(0x1_8040, 6);
        Scene::new(kernel).same_in_windows(1 << 15);
    }
}

struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _phase: &'static str, _done: u64, _total: u64) {}
}

/// A dump with bitmaps in windows of so many pages.
fn write(
    scene: &Scene,
    threads: usize,
    window: Option<u64>,
    out: MemoryFile,
) -> (Summary, Vec<u8>) {
    let options = Options {
        level: DumpLevel::MAX,
        compression: Compression::Zstd,
        threads,
        mmap: true,
        strict: false,
        window,
    };
    let summary = dump(&scene.0, &options, &out, &mut Silent).unwrap();
    (summary, out.into_bytes())
}

/// The bitmaps come back from the output, or from a second walk where it cannot be read: the file is the same.
#[test]
fn a_dump_in_windows_is_the_same_file() {
    let kernel = FakeKernel::zoo(Generation::V6_12).ram(0x1_0000_0000..0x1_0010_0000);
    let scene = Scene::new(kernel);
    let (summary, whole) = write(&scene, 0, None, MemoryFile::default());
    let pages = |s: &Summary| (s.outcome.clone(), s.pages, s.bytes, s.crc32);
    for size in [
        GROUP,
        GROUP * 3,
        1 << 15,
        (1 << 15) + GROUP,
        1 << 19,
        1 << 21,
    ] {
        for threads in [0, 2] {
            for out in [MemoryFile::default(), MemoryFile::write_only()] {
                let (again, file) = write(&scene, threads, Some(size), out);
                assert!(file == whole, "windows of {size}");
                assert_eq!(pages(&again), pages(&summary), "windows of {size}");
            }
        }
    }
}
