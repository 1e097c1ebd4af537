//! Everything that a vmcore can come in gives the same dump as the vmcore itself: written dumps of every codec and header version,
//! flattened, in a container, split; and what is damaged on purpose never makes the program panic.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on a 64-bit host"
)]

use baredump::compress::Compression;
use baredump::dump::{self, DeadKernel, Observer, Options, Outcome, Summary};
use baredump::filter::DumpLevel;
use baredump::format::Out;
use baredump::format::flat::FlatOut;
use baredump::format::frames::{FrameCodec, FrameOut};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use tempfile::TempDir;
use tests::fake_kernel::{FakeKernel, Generation};
use tests::memory_file::MemoryFile;

const BLOCK: usize = 4096;
/// Of this page of the zoo only the second half is in a segment.
const ODD_PAGE: usize = 0x10c00;

struct Quiet;

impl Observer for Quiet {
    fn progress(&mut self, _: &'static str, _: u64, _: u64) {}
}

struct Scene {
    dir: TempDir,
    /// The dump at level 31 that the vmcore itself gives.
    direct: Vec<u8>,
    /// The one that any dump of it gives.
    again: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self {
            dir: tempfile::tempdir().unwrap(),
            direct: Vec::new(),
            again: Vec::new(),
        };
        let vmcore = FakeKernel::zoo(Generation::V6_12).build();
        vmcore.write(scene.dir.path()).unwrap();
        scene.direct = scene.dump(&["vmcore.elf"], 31, Compression::Zstd).1;
        scene.save("plain", 0, Compression::None);
        scene.again = scene.dump(&["plain"], 31, Compression::Zstd).1;
        // A page whose first byte no segment holds is never judged in a vmcore, in a dump it is a page as any other.
        let (kept, judged) = (pages(&scene.direct), pages(&scene.again));
        let differ: Vec<_> = kept.iter().filter(|p| !judged.contains(p)).collect();
        assert_eq!((differ, kept.len() - judged.len()), (vec![&ODD_PAGE], 1));
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn open(&self, names: &[&str]) -> Result<DeadKernel, dump::DumpError> {
        let paths: Vec<_> = names.iter().map(|n| self.path(n)).collect();
        Ok(DeadKernel::understand(
            dump::open(&paths)?.into_vmcore(),
            true,
        ))
    }

    fn try_dump(
        &self,
        names: &[&str],
        level: u8,
        compression: Compression,
    ) -> Result<(Summary, Vec<u8>), dump::DumpError> {
        let out = MemoryFile::default();
        let options = Options {
            level: DumpLevel::new(level).unwrap(),
            compression,
            threads: 0,
            mmap: true,
            strict: true,
            window: None,
        };
        let summary = dump::dump(&self.open(names)?, &options, &out, &mut Quiet)?;
        Ok((summary, out.into_bytes()))
    }

    fn dump(&self, names: &[&str], level: u8, compression: Compression) -> (Summary, Vec<u8>) {
        self.try_dump(names, level, compression).unwrap()
    }

    /// A dump of the vmcore as a file of this name.
    fn save(&self, name: &str, level: u8, compression: Compression) -> Vec<u8> {
        let (_, bytes) = self.dump(&["vmcore.elf"], level, compression);
        fs::write(self.path(name), &bytes).unwrap();
        bytes
    }

    /// Filtered again, these files give what the vmcore gave.
    fn same(&self, names: &[&str]) {
        self.gives(names, &self.again);
    }

    fn gives(&self, names: &[&str], expected: &[u8]) {
        let (summary, bytes) = self.dump(names, 31, Compression::Zstd);
        assert_eq!(summary.outcome, Outcome::Complete, "{names:?}");
        assert!(bytes == expected, "{names:?}: another dump");
        let mut log = Vec::new();
        self.open(names).unwrap().dmesg(&mut log).unwrap();
        assert!(!log.is_empty());
    }
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// Where bitmap 2 and the descriptors begin.
fn layout(dump: &[u8]) -> (usize, usize) {
    let maps = (1 + u32_at(dump, 432)) * BLOCK;
    let size = u32_at(dump, 436) * BLOCK;
    (maps + size / 2, maps + size)
}

/// The pages in bitmap 2.
fn pages(dump: &[u8]) -> Vec<usize> {
    let (map, end) = layout(dump);
    let bit = |pfn: &usize| dump[map + pfn / 8] >> (pfn % 8) & 1 != 0;
    (0..(end - map) * 8).filter(bit).collect()
}

fn flatten(dump: &[u8], piece: usize) -> Vec<u8> {
    let out = FlatOut::new(Vec::new()).unwrap();
    // Not in order, and the header twice.
    out.write_at(0, &vec![0xee; 464]).unwrap();
    for (number, bytes) in dump.chunks(piece).enumerate().rev() {
        out.write_at((number * piece) as u64, bytes).unwrap();
    }
    out.finish().unwrap()
}

fn contain(stream: &[u8], codec: FrameCodec) -> Vec<u8> {
    let mut out = FrameOut::new(Vec::new(), codec).unwrap();
    out.write_all(stream).unwrap();
    out.finish().unwrap()
}

/// The part of `dump` that holds the pages `first..end`.
fn part(dump: &[u8], first: usize, end: usize) -> Vec<u8> {
    let mut part = dump.to_vec();
    part[BLOCK + 12] = 1;
    for (at, value) in [(16, first), (24, end), (80, first), (88, end)] {
        part[BLOCK + at..BLOCK + at + 8].copy_from_slice(&(value as u64).to_le_bytes());
    }
    let (map, descs) = layout(dump);
    let bit = |pfn: &usize| dump[map + pfn / 8] >> (pfn % 8) & 1 != 0;
    let before = (0..first).filter(bit).count() * 24;
    let own = (first..end).filter(bit).count() * 24;
    let all = before + own + (end..(descs - map) * 8).filter(bit).count() * 24;
    part[descs..descs + all].fill(0);
    part[descs..descs + own].copy_from_slice(&dump[descs + before..descs + before + own]);
    part
}

#[test]
fn dumps_of_every_codec_and_version_are_filtered_again() {
    let scene = Scene::new();
    for (compression, name, _) in Compression::ALL {
        for level in [0, 1, 16, 31] {
            let bytes = scene.save("dump", level, compression);
            scene.same(&["dump"]);
            if level != 0 || name != "none" {
                continue;
            }
            for version in 3..6 {
                let mut old = bytes.clone();
                old[8] = version;
                // What its version does not have holds anything.
                let from = [64, 80][usize::from(version > 4)];
                old[BLOCK + from..BLOCK + 104].fill(0xa5);
                fs::write(scene.path("old"), old).unwrap();
                if version > 3 {
                    scene.same(&["old"]);
                    continue;
                }
                let (summary, dump) = scene.dump(&["old"], 31, Compression::Zstd);
                assert_eq!(summary.outcome, Outcome::Complete);
                let (map, end) = layout(&dump);
                let (map_before, _) = layout(&scene.again);
                assert_eq!(dump[map..end], scene.again[map_before..][..end - map]);
            }
        }
    }
}

#[test]
fn flattened_contained_and_split_dumps_are_filtered_again() {
    let scene = Scene::new();
    let bytes = scene.save("dump", 1, Compression::None);
    let flat = flatten(&bytes, 100_000);
    fs::write(scene.path("flat"), &flat).unwrap();
    scene.same(&["flat"]);
    for codec in [FrameCodec::Lz4, FrameCodec::Zstd] {
        let mut container = contain(&flat, codec);
        container.extend(b"what was on the device before");
        fs::write(scene.path("frames"), container).unwrap();
        scene.same(&["frames"]);
    }
    let elf = fs::read(scene.path("vmcore.elf")).unwrap();
    fs::write(scene.path("flat.elf"), flatten(&elf, 1 << 20)).unwrap();
    scene.gives(&["flat.elf"], &scene.direct);
    let max = u32_at(&bytes, 440);
    let cuts = [0, max / 3, max / 3, max / 2, max];
    for (number, cut) in cuts.windows(2).enumerate() {
        let part = part(&bytes, cut[0], cut[1]);
        fs::write(scene.path(&format!("part{number}")), part).unwrap();
    }
    fs::write(
        scene.path("part1"),
        flatten(&part(&bytes, cuts[1], cuts[2]), 1 << 20),
    )
    .unwrap();
    scene.same(&["part3", "part0", "part2", "part1"]);
    for wrong in [
        &["part0", "part2", "part2", "part3"][..],
        &["part0", "dump"],
        &["part0", "vmcore.elf"],
        &["dump", "dump"],
    ] {
        assert!(scene.open(wrong).is_err(), "{wrong:?}");
    }
    let mut other = part(&bytes, cuts[3], cuts[4]);
    other[300] ^= 1;
    fs::write(scene.path("other"), other).unwrap();
    let error = scene
        .open(&["part0", "part1", "part2", "other"])
        .err()
        .unwrap();
    assert!(error.to_string().contains("differ"), "{error}");
}

#[test]
fn what_was_erased_before_is_still_said() {
    const TEXT: &[u8] = b"erase task_struct.comm\n";
    let scene = Scene::new();
    let mut bytes = scene.save("dump", 1, Compression::None);
    let place = [bytes.len() as u64, TEXT.len() as u64];
    bytes[BLOCK + 64..BLOCK + 80].copy_from_slice(place.map(u64::to_le_bytes).as_flattened());
    bytes.extend(TEXT);
    fs::write(scene.path("erased"), bytes).unwrap();
    let (summary, dump) = scene.dump(&["erased"], 31, Compression::Zstd);
    assert_eq!(summary.outcome, Outcome::Complete);
    let at = scene.again.len();
    assert_eq!(dump[at..], *TEXT);
    assert_eq!(dump[BLOCK + 64..BLOCK + 72], (at as u64).to_le_bytes());
    assert_eq!(dump[BLOCK + 72..BLOCK + 80], place[1].to_le_bytes());
    assert_eq!(dump[BLOCK + 80..at], scene.again[BLOCK + 80..]);
}

#[test]
fn an_incomplete_dump_gives_an_incomplete_one() {
    let scene = Scene::new();
    let bytes = scene.save("dump", 1, Compression::Zlib);
    let mut marked = bytes.clone();
    marked[424] |= 8;
    fs::write(scene.path("marked"), marked).unwrap();
    let flat = flatten(&bytes, 4096);
    fs::write(scene.path("no-end"), &flat[..flat.len() - 16]).unwrap();
    fs::write(scene.path("cut"), &bytes[..bytes.len() * 9 / 10]).unwrap();
    for name in ["marked", "no-end", "cut"] {
        let (summary, dump) = scene.dump(&[name], 31, Compression::Zstd);
        assert!(matches!(summary.outcome, Outcome::Partial(_)), "{name}");
        assert_eq!(dump[424] & 8, 8, "{name}");
        assert_eq!(summary.pages.unreadable != 0, name == "cut");
    }
}

/// Every header field, bitmaps and descriptors overwritten: a result or an error, at once.
#[test]
fn damaged_dumps_are_refused_or_read() {
    let scene = Scene::new();
    let bytes = scene.save("dump", 1, Compression::Zstd);
    let flat = flatten(&bytes, 1 << 20);
    let (map, descs) = layout(&bytes);
    let mut random = 88_172_645_463_325_252u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize % below
    };
    let places = [
        (400, 64),
        (BLOCK, 104),
        (map - 64, 128),
        (descs, 600),
        (BLOCK + 104, 900),
    ];
    for round in 0..150 {
        let (start, len) = places[round % places.len()];
        let mut bad = bytes.clone();
        for _ in 0..1 + next(6) {
            let at = (start + next(len)) & !3;
            let value = [
                0,
                u32::MAX,
                1 << 31,
                next(usize::MAX) as u32,
                next(5000) as u32,
            ][next(5)];
            bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        if round % 3 == 0 {
            bad.truncate(next(bad.len()));
        }
        fs::write(scene.path("bad"), &bad).unwrap();
        let _ = scene.try_dump(&["bad"], 31, Compression::None);
        let mut bad = flat.clone();
        bad[4096 + next(16)] = next(256) as u8;
        bad.truncate(flat.len() - next(3) * 1000);
        fs::write(scene.path("bad"), &bad).unwrap();
        let _ = scene.try_dump(&["bad"], 31, Compression::None);
    }
}
