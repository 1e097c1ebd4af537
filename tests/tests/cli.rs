//! The command as a user sees it: exit codes, messages, and what is left under which name.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on a 64-bit host"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::dump_reader::{Dump, SNAPPY, ZLIB, ZSTD};
use tests::fake_kernel::{FakeKernel, FakeVmcore, Generation, Rules};
use tests::programs::baredump;

/// What a run left behind.
struct Ran {
    code: i32,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ran {
    fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}", self.stderr);
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no `{word}` in: {}",
                self.stderr
            );
        }
        self
    }
    fn succeeds(self) -> Self {
        self.fails(0, &[])
    }
}

fn run(command: &mut Command) -> Ran {
    let out = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{stderr}");
    Ran {
        code: out
            .status
            .code()
            .unwrap_or_else(|| panic!("{:?}: {stderr}", out.status)),
        stdout: out.stdout,
        stderr,
    }
}

/// A directory with a vmcore in it, and the names of dumps.
struct Scene {
    dir: TempDir,
    vmcore: FakeVmcore,
}

impl Scene {
    fn new() -> Self {
        Self::of(FakeKernel::zoo(Generation::V6_12))
    }
    fn of(kernel: FakeKernel) -> Self {
        let scene = Self {
            dir: tempfile::tempdir().unwrap(),
            vmcore: kernel.build(),
        };
        scene.vmcore.write(scene.dir.path()).unwrap();
        scene
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }
    fn run(&self, args: &[&str]) -> Ran {
        run(Command::new(baredump())
            .args(args)
            .current_dir(self.dir.path()))
    }
    fn open(&self, name: &str) -> Dump {
        Dump::open(&self.path(name)).unwrap_or_else(|e| panic!("{name}: {e:#}"))
    }
    /// A complete dump of this level and status, and nothing beside it.
    fn check(&self, name: &str, level: u8, status: u32) {
        let dump = self.open(name);
        assert_eq!((dump.level, dump.status), (level.into(), status));
        self.vmcore
            .compare_kept(level, Rules::Right, &dump.kept())
            .unwrap();
        assert!(!self.exists(&format!("{name}-incomplete")));
    }
    fn nothing_left(&self) {
        let names: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        let dumps: Vec<_> = names
            .iter()
            .filter(|n| n.to_string_lossy().starts_with("dump"))
            .collect();
        assert!(dumps.is_empty(), "left: {dumps:?}");
    }
    fn bad_input(&self, bytes: &[u8]) -> Ran {
        fs::write(self.path("bad"), bytes).unwrap();
        let ran = self.run(&["dump", "bad", "dump"]);
        assert!(
            ran.code == 3 || ran.stderr.contains("bad"),
            "the file is not named: {}",
            ran.stderr
        );
        ran
    }
}

#[test]
fn dump_makes_a_complete_dump() {
    let scene = Scene::new();
    scene.run(&["dump", "vmcore.elf", "dump"]).succeeds();
    scene.check("dump", 31, ZSTD);
    for (option, status) in [("-c", ZLIB), ("-p", SNAPPY), ("-z", ZSTD)] {
        let name = format!("dump{option}");
        scene
            .run(&[
                "dump",
                option,
                "-d",
                "17",
                "--num-threads",
                "0",
                "vmcore.elf",
                &name,
            ])
            .succeeds();
        scene.check(&name, 17, status);
    }
}

#[test]
fn bad_input_leaves_nothing() {
    let scene = Scene::new();
    scene.bad_input(b"").fails(2, &["empty"]);
    scene
        .bad_input(b"Kernel panic - not syncing: this is only the text of it\n")
        .fails(2, &[]);
    scene.bad_input(&scene.vmcore.elf[..40]).fails(2, &[]);
    scene.bad_input(&scene.vmcore.elf[..200]).fails(2, &[]);
    let mut wrong_class = scene.vmcore.elf.clone();
    wrong_class[4] = 1;
    // Of a damaged header the program headers would be found.
    wrong_class[64..120].fill(0);
    scene.bad_input(&wrong_class).fails(2, &[]);
    scene.run(&["dump", "absent", "dump"]).fails(2, &["absent"]);
    scene.nothing_left();
}

/// The headers are whole, the memory is not: what is there is saved, under the name of an incomplete dump.
#[test]
fn a_truncated_vmcore_never_gets_the_final_name() {
    let scene = Scene::new();
    for keep in [3, 12] {
        let ran = scene.bad_input(&scene.vmcore.elf[..keep << 20]);
        assert!(!scene.exists("dump"), "{}", ran.stderr);
        match ran.code {
            3 => assert!(!scene.open("dump-incomplete").is_complete()),
            code => assert_eq!(code, 2, "{}", ran.stderr),
        }
        let _ = fs::remove_file(scene.path("dump-incomplete"));
    }
}

#[test]
fn without_vmcoreinfo_pages_are_kept_with_a_warning() {
    let scene = Scene::of(FakeKernel::zoo(Generation::V6_12).without_vmcoreinfo());
    scene
        .run(&["dump", "-d", "1", "vmcore.elf", "dump-1"])
        .succeeds();
    scene
        .run(&["dump", "-d", "31", "vmcore.elf", "dump-31"])
        .fails(0, &["VMCOREINFO"]);
    for name in ["dump-1", "dump-31"] {
        assert!(scene.open(name).kept() == Vec::from_iter(scene.vmcore.existing()));
    }
    assert_ne!(scene.run(&["dmesg", "vmcore.elf"]).code, 0);
}

#[test]
fn an_existing_dumpfile_is_refused() {
    let scene = Scene::new();
    fs::write(scene.path("dump"), "precious").unwrap();
    let ran = scene.run(&["dump", "vmcore.elf", "dump"]);
    assert!([1, 2].contains(&ran.code), "{}", ran.code);
    assert!(
        ran.stderr.contains("dump") && ran.stderr.contains("-f"),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read(scene.path("dump")).unwrap(), b"precious");
    assert!(!scene.exists("dump-incomplete"));
    scene.run(&["dump", "-f", "vmcore.elf", "dump"]).succeeds();
    scene.check("dump", 31, ZSTD);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let scene = Scene::new();
    let cases: [&[&str]; 9] = [
        &["dump"],
        &["dump", "vmcore.elf"],
        &["dump", "-d", "32", "vmcore.elf", "dump"],
        &["dump", "-d", "many", "vmcore.elf", "dump"],
        &["dump", "--no-such-option", "vmcore.elf", "dump"],
        &["dump", "--num-threads", "-1", "vmcore.elf", "dump"],
        &["dump", "vmcore.elf", "dump", "third"],
        &["verify"],
        &["no-such-verb"],
    ];
    for args in cases {
        let ran = scene.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty(), "{args:?} says nothing");
    }
    scene.nothing_left();
    for option in ["--help", "--version"] {
        assert!(!scene.run(&[option]).succeeds().stdout.is_empty());
    }
}

/// Runs with no file allowed beyond 4 MiB, which is met as a failing write (SIGXFSZ ignored).
fn limited(scene: &Scene, args: &[&str]) -> Ran {
    let script = "trap '' XFSZ; ulimit -f 8192; exec \"$0\" \"$@\"";
    run(Command::new("sh")
        .args(["-c", script])
        .arg(baredump())
        .args(args)
        .current_dir(scene.dir.path()))
}

/// What is in an incomplete dump is right, and something is.
fn check_incomplete(scene: &Scene, name: &str) {
    let dump = scene.open(name);
    assert!(!dump.is_complete());
    let pages: Vec<_> = dump
        .kept()
        .into_iter()
        .filter_map(|pfn| Some((pfn, dump.page(pfn).unwrap()?)))
        .collect();
    assert!(
        pages.len() > 100 && pages.len() < dump.kept().len(),
        "{} pages",
        pages.len()
    );
    assert!(
        pages
            .iter()
            .all(|(pfn, bytes)| *bytes == scene.vmcore.page(*pfn))
    );
}

#[test]
fn a_full_disk_leaves_an_incomplete_dump() {
    let scene = Scene::new();
    for threads in ["0", "2"] {
        limited(
            &scene,
            &[
                "dump",
                "-f",
                "-d",
                "0",
                "--num-threads",
                threads,
                "vmcore.elf",
                "dump",
            ],
        )
        .fails(3, &["dump-incomplete"]);
        assert!(!scene.exists("dump"));
        check_incomplete(&scene, "dump-incomplete");
        fs::remove_file(scene.path("dump-incomplete")).unwrap();
    }
    let ran = scene.run(&["dump", "vmcore.elf", "no/such/directory/dump"]);
    assert!(
        [1, 2].contains(&ran.code) && ran.stderr.contains("no/such/directory"),
        "{} {}",
        ran.code,
        ran.stderr
    );
}

/// Options first: the command line of makedumpfile with its defaults, level 0 without compression, written in place.
#[test]
fn options_first_is_makedumpfile() {
    let scene = Scene::new();
    scene.run(&["-d", "31", "vmcore.elf", "dump"]).succeeds();
    scene.check("dump", 31, 0);
    scene.run(&["-z", "-f", "vmcore.elf", "dump"]).succeeds();
    scene.check("dump", 0, ZSTD);
    scene
        .run(&[
            "-cd",
            "5",
            "--message-level",
            "0",
            "-f",
            "vmcore.elf",
            "dump",
        ])
        .succeeds();
    scene.check("dump", 5, ZLIB);
    assert_eq!(
        scene.run(&["-d", "31", "vmcore.elf", "dump"]).code,
        1,
        "an existing file"
    );
    limited(&scene, &["-f", "-d", "0", "vmcore.elf", "dump"]).fails(1, &[]);
    check_incomplete(&scene, "dump");
    assert!(!scene.exists("dump-incomplete"));
}

#[test]
fn the_name_makedumpfile_is_makedumpfile() {
    let scene = Scene::new();
    let called = |args: &[&str]| {
        run(Command::new(baredump())
            .arg0("makedumpfile")
            .args(args)
            .current_dir(scene.dir.path()))
    };
    called(&["vmcore.elf", "dump"]).succeeds();
    scene.check("dump", 0, 0);
    called(&["-p", "-d", "31", "-f", "vmcore.elf", "dump"]).succeeds();
    scene.check("dump", 31, SNAPPY);
}

#[test]
fn dmesg_goes_to_stdout_or_a_file() {
    let scene = Scene::new();
    assert_eq!(
        String::from_utf8(scene.run(&["dmesg", "vmcore.elf"]).succeeds().stdout).unwrap(),
        scene.vmcore.log
    );
    scene.run(&["dmesg", "vmcore.elf", "log"]).succeeds();
    assert_eq!(
        fs::read_to_string(scene.path("log")).unwrap(),
        scene.vmcore.log
    );
}

#[test]
fn info_is_for_people_and_machines() {
    let scene = Scene::new();
    scene.run(&["dump", "vmcore.elf", "dump"]).succeeds();
    for file in ["vmcore.elf", "dump"] {
        let text = String::from_utf8(scene.run(&["info", file]).succeeds().stdout).unwrap();
        assert!(text.contains(scene.vmcore.generation.release()), "{text}");
        let json = scene.run(&["info", file, "--json"]).succeeds().stdout;
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert!(
            value.is_object()
                && value
                    .to_string()
                    .contains(scene.vmcore.generation.release()),
            "{value}"
        );
    }
}

/// Each sort of damage: where it is done to a dump, and what is written there.
fn damages(dump: &Dump) -> Vec<(&'static str, usize, Vec<u8>)> {
    let (first, _) = dump
        .descriptors
        .iter()
        .find(|(_, d)| d.flags == ZSTD)
        .unwrap();
    let index = dump.kept().binary_search(first).unwrap();
    let descriptors = dump.data_start as usize - 24 * dump.kept().len();
    let at = descriptors + 24 * index;
    let bitmap_2 = descriptors - 3 * 4096;
    let size = dump.descriptors[first].size;
    let payload = dump.descriptors[first].offset as usize;
    vec![
        ("signature", 0, b"CORE".to_vec()),
        ("block_size", 428, 4095u32.to_le_bytes().to_vec()),
        ("sub_hdr_size", 432, 9u32.to_le_bytes().to_vec()),
        ("bitmap_blocks", 436, 2u32.to_le_bytes().to_vec()),
        ("max_mapnr", 4096 + 96, (1u64 << 50).to_le_bytes().to_vec()),
        (
            "offset_vmcoreinfo",
            4096 + 32,
            (1u64 << 40).to_le_bytes().to_vec(),
        ),
        (
            "offset_note",
            4096 + 48,
            (1u64 << 40).to_le_bytes().to_vec(),
        ),
        ("bitmap 2 beyond bitmap 1", bitmap_2 + 0xf0 / 8, vec![0xff]),
        ("offset", at, (1u64 << 40).to_le_bytes().to_vec()),
        ("offset into the header", at, 8u64.to_le_bytes().to_vec()),
        ("size", at + 8, 4097u32.to_le_bytes().to_vec()),
        (
            "size of the stream",
            at + 8,
            (size - 1).to_le_bytes().to_vec(),
        ),
        ("flags", at + 12, 0x40u32.to_le_bytes().to_vec()),
        ("payload", payload, vec![0; 4]),
    ]
}

#[test]
fn verify_names_the_first_fault() {
    let scene = Scene::new();
    for codec in ["-c", "-p", "-z"] {
        scene
            .run(&["dump", "-f", codec, "vmcore.elf", "dump"])
            .succeeds();
        scene.run(&["verify", "dump"]).succeeds();
    }
    let (dump, good) = (scene.open("dump"), fs::read(scene.path("dump")).unwrap());
    for (what, at, bytes) in damages(&dump) {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(&bytes);
        assert!(
            Dump::parse(bad.clone()).is_err(),
            "{what}: the reader of the tests takes it"
        );
        fs::File::create(scene.path("bad"))
            .unwrap()
            .write_all(&bad)
            .unwrap();
        let ran = scene.run(&["verify", "bad"]);
        assert_eq!(ran.code, 1, "{what}: {}", ran.stderr);
        assert!(
            ran.stderr.len() + ran.stdout.len() > 10,
            "{what}: no fault is named"
        );
    }
    for len in [0, 100, 5000, dump.data_start as usize - 10, good.len() - 1] {
        fs::write(scene.path("bad"), &good[..len]).unwrap();
        assert_eq!(scene.run(&["verify", "bad"]).code, 1, "cut to {len} bytes");
    }
}
