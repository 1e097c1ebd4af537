//! Dumps as streams, in frames, as ELF files and raw copies: what is written, and what is read back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::dump_reader::Dump;
use tests::fake_kernel::{FakeKernel, Generation};
use tests::programs::baredump;

/// A directory with a vmcore in it.
struct Scene(TempDir);

impl Scene {
    fn new() -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        let vmcore = FakeKernel::zoo(Generation::V6_12).build();
        vmcore.write(scene.0.path()).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(baredump());
        command.args(args).current_dir(self.0.path());
        command
    }

    /// Runs with standard input from a file, expects this exit code and gives back what was written to standard output and error.
    fn run(&self, code: i32, args: &[&str], input: Option<&str>) -> (Vec<u8>, String) {
        let stdin = input.map_or(Stdio::null(), |name| {
            File::open(self.path(name)).unwrap().into()
        });
        let out = self.command(args).stdin(stdin).output().unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        (out.stdout, stderr)
    }

    fn ok(&self, args: &[&str]) -> Vec<u8> {
        self.run(0, args, None).0
    }

    fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }
}

#[test]
fn a_restored_stream_is_the_direct_file() {
    let scene = Scene::new();
    for options in [
        &["-z"][..],
        &["-c", "-d", "1"],
        &["-l"],
        &["-E"],
        &["--format", "raw"],
    ] {
        let run = |more: &[&str]| scene.ok(&[&["dump"], options, more].concat());
        run(&["-f", "vmcore.elf", "direct"]);
        let stream = run(&["-F", "vmcore.elf"]);
        assert_eq!(
            stream,
            run(&["vmcore.elf", "-"]),
            "{options:?}: '-' is standard output"
        );
        run(&["-f", "-F", "vmcore.elf", "flat"]);
        assert_eq!(stream, scene.read("flat"), "{options:?}");
        scene.ok(&["rearrange", "-f", "flat", "restored"]);
        assert!(
            scene.read("restored") == scene.read("direct"),
            "{options:?}"
        );
        scene.run(0, &["rearrange", "-f", "restored"], Some("flat"));
        assert!(
            scene.read("restored") == scene.read("direct"),
            "{options:?}"
        );
    }
    scene.run(0, &["-R", "in-place"], Some("flat"));
    assert!(scene.read("in-place") == scene.read("direct"));
    scene.run(1, &["-R", "in-place"], Some("flat"));
    assert!(
        scene
            .ok(&["-F", "-d", "31", "vmcore.elf"])
            .starts_with(b"makedumpfile")
    );
}

#[test]
fn frames_are_read_back_and_by_stock_tools() {
    let scene = Scene::new();
    scene.ok(&[
        "dump",
        "-d",
        "1",
        "--compress",
        "none",
        "vmcore.elf",
        "direct",
    ]);
    for codec in ["lz4", "zstd"] {
        scene.ok(&[
            "dump",
            "-f",
            "-d",
            "1",
            "--stream",
            codec,
            "vmcore.elf",
            "frames",
        ]);
        scene.ok(&["rearrange", "-f", "frames", "restored"]);
        assert!(scene.read("restored") == scene.read("direct"), "{codec}");
        scene.ok(&["info", "frames"]);
        scene.ok(&["verify", "frames"]);
        scene.ok(&[
            "dump",
            "-f",
            "-d",
            "1",
            "--compress",
            "none",
            "frames",
            "again",
        ]);
        let (again, direct) = (scene.read("again"), scene.read("direct"));
        let differs = again.iter().zip(&direct).position(|(a, b)| a != b);
        assert_eq!((differs, again.len()), (None, direct.len()), "{codec}");
        let stdin = File::open(scene.path("frames")).unwrap();
        if let Ok(out) = Command::new(codec).arg("-dc").stdin(stdin).output() {
            fs::write(scene.path("flat"), out.stdout).unwrap();
            scene.ok(&["rearrange", "-f", "flat", "restored"]);
            assert!(scene.read("restored") == scene.read("direct"), "{codec} -d");
        }
        let (_, advice) = scene.run(2, &["rearrange", "other"], Some("frames"));
        assert!(advice.contains(codec), "{advice}");
        let whole = scene.read("frames");
        fs::write(scene.path("cut"), &whole[..whole.len() - 1]).unwrap();
        scene.run(3, &["rearrange", "cut", "other"], None);
        assert!(!scene.exists("other"));
        fs::remove_file(scene.path("other-incomplete")).unwrap();
    }
}

#[test]
fn a_stream_that_is_cut_off_gives_an_incomplete_dump() {
    let scene = Scene::new();
    scene.ok(&["dump", "-d", "0", "-F", "vmcore.elf", "flat"]);
    let whole = scene.read("flat");
    for len in [whole.len() - 16, whole.len() - 1, whole.len() / 2] {
        fs::write(scene.path("cut"), &whole[..len]).unwrap();
        let (_, text) = scene.run(3, &["rearrange", "-f", "cut", "dump"], None);
        assert!(
            text.contains("dump-incomplete") && !scene.exists("dump"),
            "{text}"
        );
        let dump = Dump::open(&scene.path("dump-incomplete")).unwrap();
        assert!(!dump.is_complete());
        scene.run(1, &["-R", "-f", "dump2"], Some("cut"));
        assert_eq!(scene.read("dump2"), scene.read("dump-incomplete"));
    }
    let mut bomb = whole[..4096].to_vec();
    bomb.extend((1u64 << 60).to_be_bytes());
    bomb.extend(1u64.to_be_bytes());
    bomb.push(0);
    fs::write(scene.path("bomb"), bomb).unwrap();
    let (_, text) = scene.run(2, &["rearrange", "bomb", "other"], None);
    assert!(text.contains("damaged"), "{text}");
    scene.run(2, &["rearrange", "vmcore.elf", "other"], None);
    assert!(!scene.exists("other") && !scene.exists("other-incomplete"));
}

#[test]
fn an_elf_dump_and_a_raw_copy_are_vmcores() {
    let scene = Scene::new();
    scene.ok(&["dump", "--format", "raw", "vmcore.elf", "raw"]);
    assert!(scene.read("raw") == scene.read("vmcore.elf"));
    for level in ["0", "31"] {
        scene.ok(&["dump", "-f", "-E", "-d", level, "vmcore.elf", "elf"]);
        assert_eq!(scene.read("elf")[48], 0, "complete");
        scene.ok(&["dump", "-f", "-d", level, "vmcore.elf", "direct"]);
        scene.ok(&["dump", "-f", "-d", level, "elf", "again"]);
        let [direct, again] =
            ["direct", "again"].map(|name| Dump::open(&scene.path(name)).unwrap());
        let kept = direct.kept();
        assert!(!kept.is_empty());
        let zero = vec![0; 4096];
        for pfn in kept {
            let page = direct.page(pfn).unwrap().unwrap();
            // A page of zeros at the end of a segment is not in an ELF dump.
            let other = again.page(pfn).unwrap().unwrap_or_else(|| zero.clone());
            assert!(page == other, "level {level} page {pfn:#x}");
        }
    }
    scene.run(2, &["dump", "--format", "raw", "direct", "other"], None);
    assert!(!scene.exists("other") && !scene.exists("other-incomplete"));
}

#[test]
fn a_stream_that_nobody_reads_is_one_error() {
    let scene = Scene::new();
    for options in [&["-F"][..], &["--stream", "lz4"], &["-F", "-E"]] {
        let args = [&["dump", "-d", "0"], options, &["vmcore.elf"]].concat();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let out = scene.command(&args).stdout(writer).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains("standard output") && text.contains("cut off"),
            "{text}"
        );
        let full = File::options().write(true).open("/dev/full").unwrap();
        let out = scene.command(&args).stdout(full).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(3), "{text}");
        assert!(text.contains("No space"), "{text}");
    }
    let ran = scene.run(3, &["dump", "-F", "vmcore.elf", "/dev/full"], None);
    assert!(ran.1.contains("/dev/full"), "{}", ran.1);
    scene.ok(&["dump", "-F", "vmcore.elf", "/dev/null"]);
}

#[test]
fn options_that_contradict_are_refused() {
    let scene = Scene::new();
    for args in [
        &["dump", "-E", "-z", "vmcore.elf", "dump"][..],
        &["dump", "--stream", "lz4", "-c", "vmcore.elf", "dump"],
        &["dump", "--stream", "gzip", "vmcore.elf", "dump"],
        &["dump", "--format", "lkcd", "vmcore.elf", "dump"],
        &["dump", "-R", "vmcore.elf", "dump"],
        &["dump", "vmcore.elf"],
        &["rearrange"],
        &["rearrange", "vmcore.elf", "vmcore.elf"],
    ] {
        scene.run(2, args, None);
    }
    assert!(!scene.exists("dump") && !scene.exists("dump-incomplete"));
}
