//! Machines with terabytes of memory: what baredump needs for their dumps does not grow with them, and the dumps are right.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on a 64-bit host"
)]

use std::env;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;
use tests::dump_reader::{Descriptor, ZSTD};
use tests::fake_kernel::{HugeMachine, Idle};
use tests::programs::baredump;

const TIB: u64 = 1 << 40;
const PAGE: usize = 4096;

/// Peak of memory that is allowed, in KiB: 8 MiB, and 1 MiB for each worker. Of a program that was built for debugging more code is in
/// memory, and the libraries of the host.
fn allowed(workers: u64) -> u64 {
    let is_product = env::var_os("BAREDUMP").is_some() || !cfg!(debug_assertions);
    (8 + workers + if is_product { 0 } else { 5 }) << 10
}

/// A machine's vmcore, and dumps of it.
struct Scene {
    dir: TempDir,
    machine: HugeMachine,
}

impl Scene {
    fn new(machine: HugeMachine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        machine.write(&dir.path().join("vmcore")).unwrap();
        Self { dir, machine }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs baredump and returns the peak of its memory in KiB.
    fn run(&self, args: &[&str]) -> u64 {
        let began = Instant::now();
        let out = Command::new(env!("CARGO_BIN_EXE_peak"))
            .arg(baredump())
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{args:?}: {said}");
        assert!(!said.contains("warning"), "{args:?}: {said}");
        let peak = String::from_utf8_lossy(&out.stdout)
            .lines()
            .last()
            .unwrap()
            .parse()
            .unwrap();
        let seconds = began.elapsed().as_secs_f64();
        println!("{args:?}: {peak} KiB, {seconds:.1} s");
        peak
    }

    /// Makes a dump with a number of workers, within the memory that is allowed for them.
    fn dump(&self, options: &[&str], workers: u64, name: &str) -> PathBuf {
        let (threads, out) = (workers.to_string(), self.path(name));
        let quiet = ["--message-level=4", "--num-threads", &threads];
        let files = ["vmcore", name];
        let peak = self.run(&[&["dump"][..], &quiet, options, &files].concat());
        let most = allowed(workers);
        assert!(
            peak <= most,
            "{options:?} with {workers} workers: a peak of {peak} KiB, {most} are allowed"
        );
        out
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()).into()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// A dump that is looked at section by section.
struct Dump {
    file: File,
    descriptors: u64,
    data: u64,
    next: u64,
}

impl Dump {
    fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    /// Compares every page of a dump with what it must be, and returns their number.
    fn check(path: &Path, machine: &HugeMachine, level: u8) -> u64 {
        let file = File::open(path).unwrap();
        let mut dump = Self {
            file,
            descriptors: 0,
            data: 0,
            next: 0,
        };
        let (header, sub) = (dump.read(0, PAGE), dump.read(PAGE as u64, PAGE));
        assert_eq!(&header[..8], b"KDUMP   ");
        assert_eq!(u32_at(&header, 424), u64::from(ZSTD), "complete, zstd");
        assert_eq!(u64_at(&sub, 96), machine.max_mapnr());
        assert_eq!(u32_at(&sub, 8), u64::from(level));
        assert_eq!(u32_at(&header, 436), machine.sections() * 2);
        let maps = (1 + u32_at(&header, 432)) * PAGE as u64;
        let half = machine.sections() * PAGE as u64;
        dump.descriptors = maps + 2 * half;
        let (want, mut kept) = (machine.bitmaps(level), 0);
        let of = |section| dump.read(maps + half + section * PAGE as u64, PAGE);
        for section in 0..machine.sections() {
            let (exists, stays) = want(section);
            let got = dump.read(maps + section * PAGE as u64, PAGE);
            assert!(got == exists, "section {section}: other pages exist");
            assert!(of(section) == stays, "section {section}: others are kept");
            kept += ones(&stays);
        }
        dump.data = dump.descriptors + kept * size_of::<Descriptor>() as u64;
        for section in 0..machine.sections() {
            let stays = want(section).1;
            dump.pages(machine, section, &stays);
        }
        assert_eq!(dump.next, kept);
        kept
    }

    /// The pages of one section.
    fn pages(&mut self, machine: &HugeMachine, section: u64, stays: &[u8]) {
        let (count, size) = (ones(stays) as usize, size_of::<Descriptor>());
        let descriptors = self.read(self.descriptors + self.next * size as u64, count * size);
        let bits = (0..stays.len() * 8).filter(|bit| stays[bit / 8] >> (bit % 8) & 1 != 0);
        for (bit, descriptor) in bits.zip(descriptors.chunks(size)) {
            let pfn = section * stays.len() as u64 * 8 + bit as u64;
            let page = machine.page(pfn);
            assert!(self.page(descriptor) == page, "page {pfn:#x}");
        }
        self.next += count as u64;
    }

    fn page(&self, descriptor: &[u8]) -> Vec<u8> {
        let (at, flags) = (u64_at(descriptor, 0), u32_at(descriptor, 12));
        if (at, flags) == (self.data, 0) {
            return vec![0; PAGE];
        }
        let bytes = self.read(at, u32_at(descriptor, 8) as usize);
        if flags == 0 {
            return bytes;
        }
        let mut page = Vec::with_capacity(PAGE);
        zstd_safe::decompress(&mut page, &bytes).unwrap();
        page
    }
}

fn ones(bits: &[u8]) -> u64 {
    bits.iter().map(|byte| u64::from(byte.count_ones())).sum()
}

fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (File::open(a).unwrap(), File::open(b).unwrap());
    let len = a.metadata().unwrap().len();
    assert_eq!(len, b.metadata().unwrap().len());
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for at in (0..len).step_by(1 << 20) {
        let part = (len - at).min(1 << 20) as usize;
        a.read_exact_at(&mut left[..part], at).unwrap();
        b.read_exact_at(&mut right[..part], at).unwrap();
        assert!(left[..part] == right[..part], "{at:#x}");
    }
}

/// Restores the file of a stream, which needs no more memory than a dump.
fn rearranged(scene: &Scene, name: &str) -> PathBuf {
    let peak = scene.run(&["rearrange", name, "restored"]);
    assert!(peak <= allowed(0), "rearrange: {peak} KiB");
    scene.path("restored")
}

/// Dumps with any number of workers, as a file or a stream, with much memory for bitmaps and with little: all the same.
fn all_the_same(scene: &Scene, level: u8) {
    let option = format!("-d{level}");
    let plain = [option.as_str()];
    let first = scene.dump(&plain, 0, "first");
    let kept = Dump::check(&first, &scene.machine, level);
    assert!(kept > 50_000, "{kept}");
    let same = |path: PathBuf| {
        assert_same(&first, &path);
        std::fs::remove_file(path).unwrap();
    };
    let little = [&option, "--cyclic-buffer=128"];
    for (options, workers) in [(&plain[..], 2), (&little, 0)] {
        same(scene.dump(options, workers, "again"));
    }
    let stream = [&option, "-F"];
    for (options, workers) in [
        (&stream[..], 0),
        (&[&option, "-F", "--cyclic-buffer=128"], 1),
    ] {
        let stream = scene.dump(options, workers, "stream");
        same(rearranged(scene, "stream"));
        std::fs::remove_file(stream).unwrap();
    }
}

#[test]
fn a_terabyte_of_free_memory() {
    let scene = Scene::new(HugeMachine::new(TIB, Idle::Free));
    all_the_same(&scene, 31);
    scene.run(&["verify", "first"]);
}

#[test]
fn a_terabyte_at_a_low_level() {
    let scene = Scene::new(HugeMachine::new(TIB, Idle::Offline).segments_of(TIB / 512));
    all_the_same(&scene, 1);
}

/// Larger ones take minutes: `cargo test --release -p tests --test huge -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes, and 8 GiB of disk"]
fn larger_machines() {
    for (tib, segment, idle, level) in [
        (16, TIB, Idle::Free, "-d31"),
        (16, TIB / 128, Idle::Free, "-d31"),
        (16, TIB, Idle::Offline, "-d1"),
        (64, TIB, Idle::Free, "-d31"),
    ] {
        let scene = Scene::new(HugeMachine::new(tib * TIB, idle).segments_of(segment));
        println!("{tib} TiB in segments of {} GiB", segment >> 30);
        let first = scene.dump(&[level], 0, "first");
        let number = level.trim_start_matches("-d").parse().unwrap();
        let kept = Dump::check(&first, &scene.machine, number);
        println!("{kept} pages");
        for (options, workers) in [(&[level][..], 2), (&[level, "-F"], 0)] {
            let again = scene.dump(options, workers, "again");
            if options.len() == 1 {
                assert_same(&first, &again);
            }
            std::fs::remove_file(again).unwrap();
        }
    }
}
