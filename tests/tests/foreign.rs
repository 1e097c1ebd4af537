//! The command line in the place of makedumpfile's: each option of its manual does its work, or costs no dump.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use tests::dump_reader::{Dump, ZLIB};
use tests::fake_kernel::{FakeKernel, FakeVmcore, Generation, Rules};
use tests::programs::baredump;

/// A directory with a vmcore, and baredump under makedumpfile's name.
struct Scene {
    dir: TempDir,
    vmcore: FakeVmcore,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vmcore = FakeKernel::zoo(Generation::V6_12).build();
        vmcore.write(dir.path()).unwrap();
        std::os::unix::fs::symlink(baredump(), dir.path().join("makedumpfile")).unwrap();
        Self { dir, vmcore }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(self.path("makedumpfile"));
        let command = command
            .args(args)
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        let out = command.output().unwrap();
        assert!(!says(&out).contains("panicked"), "{}", says(&out));
        out
    }

    fn good(&self, args: &[&str]) -> Output {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", says(&out));
        out
    }

    fn size(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).unwrap().len()
    }
}

fn says(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn prints(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn open(path: &Path) -> Dump {
    Dump::open(path).unwrap_or_else(|e| panic!("{}: {e:#}", path.display()))
}

#[test]
fn a_list_of_levels_is_tried_until_the_dump_fits() {
    let scene = Scene::new();
    scene.good(&["-d", "0", "vmcore.elf", "all"]);
    scene.good(&["-d", "31", "vmcore.elf", "least"]);
    let between = ((scene.size("all") + scene.size("least")) / 2).to_string();
    let out = scene.good(&["-d", "0,31", "-L", &between, "vmcore.elf", "second"]);
    assert!(says(&out).contains("trying level 31"), "{}", says(&out));
    assert_eq!(open(&scene.path("second")).level, 31);
    assert_eq!(
        fs::read(scene.path("second")).unwrap(),
        fs::read(scene.path("least")).unwrap()
    );
    scene.good(&["-d", "0,31", "vmcore.elf", "first"]);
    assert_eq!(open(&scene.path("first")).level, 0);
    let little = (scene.size("least") - 4096).to_string();
    let out = scene.run(&["-d", "0,31", "-L", &little, "vmcore.elf", "partial"]);
    assert_eq!(out.status.code(), Some(1), "{}", says(&out));
    assert!(scene.size("partial") < scene.size("least"));
    let partial = fs::read(scene.path("partial")).unwrap();
    assert!(!Dump::parse_damaged(partial).unwrap().is_complete());
    assert!(
        !scene
            .run(&["-L", "1X", "vmcore.elf", "none"])
            .status
            .success()
    );
}

#[test]
fn parts_are_put_together_as_they_are_compressed() {
    let scene = Scene::new();
    scene.good(&["-c", "-d", "1", "vmcore.elf", "whole"]);
    // A whole dump is a set of one part.
    scene.good(&["--reassemble", "whole", "again"]);
    assert_eq!(open(&scene.path("again")).status, ZLIB);
    assert_eq!(
        fs::read(scene.path("again")).unwrap(),
        fs::read(scene.path("whole")).unwrap()
    );
}

#[test]
fn nothing_is_written_when_nothing_should_be() {
    let scene = Scene::new();
    let out = scene.good(&[
        "--dry-run",
        "--show-stats",
        "-d",
        "31",
        "vmcore.elf",
        "dump",
    ]);
    let stats = String::from_utf8_lossy(&out.stdout);
    assert!(stats.contains("  Excluded pages   : 0x0000"), "{stats}");
    scene.good(&["--dry-run", "-d", "31", "vmcore.elf"]);
    scene.good(&[
        "--check-params",
        "-c",
        "--message-level",
        "7",
        "-d",
        "31",
        "vmcore.elf",
        "dump",
    ]);
    assert!(!scene.path("dump").exists());
    for wrong in [
        &["--check-params", "-d", "32", "a", "b"][..],
        &["--check-params", "--split", "a"],
        &["--check-params", "a"],
    ] {
        assert_eq!(scene.run(wrong).status.code(), Some(1), "{wrong:?}");
    }
}

#[test]
fn vmcoreinfo_comes_from_a_file() {
    let scene = Scene::new();
    let info = scene.vmcore.vmcoreinfo.clone();
    let bare = FakeKernel::zoo(Generation::V6_12)
        .without_vmcoreinfo()
        .build();
    fs::write(scene.path("bare.elf"), &bare.elf).unwrap();
    fs::write(scene.path("info"), &info).unwrap();
    scene.good(&[
        "--strict-makedumpfile",
        "-d",
        "31",
        "-i",
        "info",
        "bare.elf",
        "dump",
    ]);
    scene
        .vmcore
        .compare_kept(31, Rules::Strict, &open(&scene.path("dump")).kept())
        .unwrap();
    let other: String = info
        .lines()
        .flat_map(|line| {
            [
                if line.starts_with("OSRELEASE=") {
                    "OSRELEASE=9.9.9"
                } else {
                    line
                },
                "\n",
            ]
        })
        .collect();
    fs::write(scene.path("other"), &other).unwrap();
    let out = scene.run(&["-d", "31", "-i", "other", "bare.elf", "none"]);
    assert_eq!(out.status.code(), Some(2), "{}", says(&out));
    assert!(says(&out).contains("9.9.9"), "{}", says(&out));
    assert!(!scene.path("none").exists());
    // Of another kernel, whose utsname is elsewhere: the vmcore's own note says of which it is, and without one nothing does.
    for (name, from, code) in [("vmcore.elf", &other, 2), ("bare.elf", &info, 1)] {
        let elsewhere: String = from
            .lines()
            .map(|line| match line.split_once('=') {
                Some((key @ "SYMBOL(init_uts_ns)", _)) => format!("{key}=ffffffff81000040\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        fs::write(scene.path("elsewhere"), elsewhere).unwrap();
        let out = scene.run(&["-d", "31", "-i", "elsewhere", name, "none"]);
        assert_eq!(out.status.code(), Some(code), "{name}: {}", says(&out));
        assert!(says(&out).contains("elsewhere"), "{name}: {}", says(&out));
        assert!(!scene.path("none").exists());
    }
    scene.good(&["--dump-dmesg", "-i", "info", "bare.elf", "log"]);
    scene.good(&["--dump-dmesg", "vmcore.elf", "own-log"]);
    let logs = ["log", "own-log"].map(|name| fs::read(scene.path(name)).unwrap());
    assert!(!logs[0].is_empty() && logs[0] == logs[1]);
    fs::write(scene.path("text"), "hello\n").unwrap();
    let out = scene.run(&["-i", "text", "bare.elf", "none"]);
    assert!(says(&out).contains("OSRELEASE="), "{}", says(&out));
}

#[test]
fn tuning_is_accepted_and_addresses_are_translated() {
    let scene = Scene::new();
    let tuning = [
        "-b",
        "4",
        "--cyclic-buffer",
        "1024",
        "--work-dir",
        "/tmp",
        "--splitblock-size=1024",
        "--non-mmap",
        "-D",
        "--num",
        "2",
    ];
    let out = scene.good(&[&tuning[..], &["-d", "31", "vmcore.elf", "dump"]].concat());
    assert!(prints(&out).contains("VMCOREINFO keys"), "{out:?}");
    let symbol = scene
        .vmcore
        .vmcoreinfo
        .lines()
        .find_map(|line| line.strip_prefix("SYMBOL(_stext)="))
        .unwrap();
    let out = scene.good(&["--vtop", symbol, "-d", "31", "-f", "vmcore.elf", "dump"]);
    assert!(
        prints(&out).contains(&format!("{symbol}  200000\n")),
        "{out:?}"
    );
    let out = scene.good(&["--vtop", "0", "vmcore.elf", "nowhere"]);
    assert!(prints(&out).contains("0  ffffffffffffffff\n"), "{out:?}");
    assert!(says(&out).contains("not mapped"), "{out:?}");
    assert!(open(&scene.path("nowhere")).is_complete());
}

/// A refusal costs a dump: a pipe ends with the code of its last program, and the machine reboots.
#[test]
fn what_is_not_done_is_warned_of_once_and_dumped_without() {
    let scene = Scene::new();
    let taken: &[&[&str]] = &[
        &["-x", "vmlinux"],
        &["-e"],
        &["-X"],
        &["--xen-syms", "x"],
        &["--xen-vmcoreinfo", "x"],
        &["--xen_phys_start", "0"],
        &["--config", "x"],
        &["--eppic", "x"],
        &["--extension", "x"],
    ];
    for option in taken {
        let out = scene.good(&[option, &["-f", "-d", "31", "vmcore.elf", "dump"][..]].concat());
        let warnings = says(&out);
        let warnings = warnings.lines().filter(|line| line.contains("warning: "));
        let warnings: Vec<_> = warnings.collect();
        let beginning = format!("baredump: warning: {} has no effect: ", option[0]);
        assert!(
            warnings.len() == 1 && warnings[0].starts_with(&beginning),
            "{warnings:?}"
        );
        assert!(open(&scene.path("dump")).is_complete());
        let quiet = &["-f", "--message-level", "0", "vmcore.elf", "dump"][..];
        let out = scene.good(&[option, quiet].concat());
        assert_eq!((says(&out), prints(&out)), Default::default());
    }
    for option in [&["-g", "out"][..], &["--diskset=a"]] {
        let out = scene.run(&[option, &["vmcore.elf", "none"][..]].concat());
        let name = option[0].split('=').next().unwrap();
        assert_eq!(out.status.code(), Some(1), "{name}");
        let text = says(&out);
        assert!(text.contains(&format!("option '{name}': ")), "{text}");
    }
    assert!(!scene.path("none").exists());
}

#[test]
fn a_pipe_that_nobody_reads_ends_it_by_sigpipe() {
    use std::os::unix::process::ExitStatusExt as _;
    let scene = Scene::new();
    for args in [
        &["-F", "vmcore.elf"][..],
        &["-F", "--dump-dmesg", "vmcore.elf"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(scene.path("makedumpfile"));
        let command = command.args(args).current_dir(&scene.dir);
        let status = command.stdout(writer).stderr(Stdio::null()).status();
        assert_eq!(status.unwrap().signal(), Some(13), "{args:?}");
    }
    // Messages that nobody reads cost no dump.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(scene.path("makedumpfile"));
    let command = command.args(["vmcore.elf", "dump"]).current_dir(&scene.dir);
    assert!(command.stdout(writer).status().unwrap().success());
    assert!(open(&scene.path("dump")).is_complete());
}

#[test]
fn the_log_as_it_asks_for_it() {
    let scene = Scene::new();
    scene.good(&["--dump-dmesg", "vmcore.elf", "log"]);
    assert_eq!(
        fs::read_to_string(scene.path("log")).unwrap(),
        scene.vmcore.log
    );
    let out = scene.good(&["-F", "--dump-dmesg", "vmcore.elf"]);
    assert_eq!(String::from_utf8_lossy(&out.stdout), scene.vmcore.log);
    scene.good(&["--dump-dmesg", "--partial-dmesg", "vmcore.elf", "partial"]);
    assert!(scene.size("partial") <= scene.size("log"));
}
