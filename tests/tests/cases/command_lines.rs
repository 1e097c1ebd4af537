//! Command lines of the programs that call makedumpfile: baredump in its place leaves the same files, with the same exit code, and
//! says the lines that they read where they read them. Where the laboratory has makedumpfile, it is asked too.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use tests::dump_reader::{Dump, LZO, SNAPPY, ZLIB, ZSTD};
use tests::fake_kernel::{FakeKernel, FakeVmcore, Generation, Rules};
use tests::programs::baredump;

const TABLE: &str = include_str!("command_lines.txt");
const INPUTS: [&str; 6] = ["vmcore", "small", "level1", "A", "B", "info"];

/// A line of the table.
struct Line {
    who: &'static str,
    args: Vec<&'static str>,
    code: i32,
    theirs: Option<i32>,
    leaves: Vec<(Vec<&'static str>, &'static str)>,
    reads: Vec<(&'static str, String)>,
}

impl Line {
    fn parse(text: &'static str) -> Self {
        let mut columns = text.split(" | ");
        let mut next = || columns.next().unwrap_or_else(|| panic!("{text}"));
        let (who, args, code, theirs, leaves) = (next(), next(), next(), next(), next());
        let pair = |text: &'static str, by| text.split_once(by).unwrap_or_else(|| panic!("{text}"));
        let leaves = leaves.split(' ').filter(|leaf| *leaf != "-");
        let reads = columns.next().unwrap_or_default().split(';');
        Self {
            who,
            args: args.split(' ').collect(),
            code: code.parse().unwrap(),
            theirs: theirs.parse().ok(),
            leaves: leaves
                .map(|leaf| pair(leaf, '='))
                .map(|(names, form)| (names.split(',').collect(), form))
                .collect(),
            reads: reads
                .filter(|read| !read.is_empty())
                .map(|read| pair(read, '~'))
                .map(|(stream, line)| (stream, line.replace("\\t", "\t")))
                .collect(),
        }
    }

    fn name(&self) -> String {
        format!("{}: makedumpfile {}", self.who, self.args.join(" "))
    }

    /// The files it should leave.
    fn files(&self) -> BTreeSet<String> {
        let names = self.leaves.iter().flat_map(|(names, _)| names);
        names
            .filter(|name| **name != "stdout")
            .map(|name| (*name).to_owned())
            .collect()
    }
}

fn table() -> Vec<Line> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.map(Line::parse).collect()
}

/// A vmcore and what was made of it.
struct Scene {
    dir: TempDir,
    vmcore: FakeVmcore,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vmcore = FakeKernel::zoo(Generation::V6_12).build();
        fs::write(dir.path().join("vmcore"), &vmcore.elf).unwrap();
        fs::write(dir.path().join("info"), &vmcore.vmcoreinfo).unwrap();
        symlink(baredump(), dir.path().join("makedumpfile")).unwrap();
        let scene = Self { dir, vmcore };
        for args in [
            "-c -d 31 vmcore small",
            "-c -d 1 vmcore level1",
            "--split --splitblock-size 1024 -d 31 vmcore A B",
        ] {
            let out = scene.ours(scene.dir.path(), &args.split(' ').collect::<Vec<_>>());
            assert!(out.status.success(), "{args}: {}", says(&out.stderr));
        }
        let out = scene.ours(scene.dir.path(), &["-F", "-c", "-d", "31", "vmcore"]);
        fs::write(scene.path("flat"), out.stdout).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn ours(&self, dir: &Path, args: &[&str]) -> Output {
        let mut command = Command::new(self.path("makedumpfile"));
        self.run(command.args(args), dir)
    }

    fn run(&self, command: &mut Command, dir: &Path) -> Output {
        let flat = File::open(self.path("flat"));
        let stdin = flat.map_or_else(|_| Stdio::null(), Stdio::from);
        let out = command.current_dir(dir).stdin(stdin).output().unwrap();
        assert!(
            !says(&out.stderr).contains("panicked"),
            "{}",
            says(&out.stderr)
        );
        out
    }

    /// A directory with all inputs.
    fn fresh(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in INPUTS {
            symlink(self.path(name), dir.path().join(name)).unwrap();
        }
        dir
    }

    /// What is wrong with the files of `form`.
    fn judge(&self, dir: &Path, names: &[&str], form: &str) -> Result<(), String> {
        let path = dir.join(names[0]);
        if form == "table" {
            return Ok(());
        }
        if form == "log" {
            let log = fs::read_to_string(&path).map_err(|e| e.to_string())?;
            return (log == self.vmcore.log).then_some(()).ok_or(log);
        }
        if let Some(form) = form.strip_prefix('F') {
            let mut command = Command::new(self.path("makedumpfile"));
            command.args(["-R", "restored"]).current_dir(dir);
            let done = command.stdin(File::open(&path).unwrap()).output().unwrap();
            assert!(done.status.success(), "{}", says(&done.stderr));
            return self.judge(dir, &["restored"], form);
        }
        if names.len() > 1 {
            let args = [&["--reassemble"][..], names, &["whole"]].concat();
            let done = self.ours(dir, &args);
            assert!(done.status.success(), "{}", says(&done.stderr));
            return self.judge(dir, &["whole"], form);
        }
        if let Some(level) = form.strip_prefix('E') {
            let bytes = fs::read(&path).map_err(|e| e.to_string())?;
            let again = self.ours(dir, &["-d", level, names[0], "again"]);
            let good = bytes.starts_with(b"\x7fELF") && again.status.success();
            return good.then_some(()).ok_or(says(&again.stderr));
        }
        // A page that a segment holds only a part of is judged when a dump holds all of it.
        let (again, form) = match form.strip_prefix('~') {
            Some(form) => (true, form),
            None => (false, form),
        };
        let (level, codec) = form.split_at(form.len() - 1);
        let level: u8 = level.parse().unwrap();
        let dump = Dump::open(&path).map_err(|e| format!("{e:#}"))?;
        let status = match codec {
            "c" => ZLIB,
            "l" => LZO,
            "p" => SNAPPY,
            "z" => ZSTD,
            _ => 0,
        };
        if (dump.level, dump.status) != (level.into(), status) {
            return Err(format!("level {} status {}", dump.level, dump.status));
        }
        if again {
            return Ok(());
        }
        self.vmcore.compare_kept(level, Rules::Right, &dump.kept())
    }
}

fn says(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a run left.
fn left(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names
        .filter(|name| !INPUTS.contains(&name.as_str()))
        .collect()
}

fn judge(scene: &Scene, line: &Line) -> Vec<String> {
    let dir = scene.fresh();
    let out = scene.ours(dir.path(), &line.args);
    let mut faults = Vec::new();
    if out.status.code() != Some(line.code) {
        faults.push(format!("{}: {}", out.status, says(&out.stderr)));
    }
    if left(dir.path()) != line.files() {
        faults.push(format!("left {:?}", left(dir.path())));
    }
    for (stream, beginning) in &line.reads {
        let bytes = if *stream == "out" {
            &out.stdout
        } else {
            &out.stderr
        };
        let text = says(bytes);
        if !text
            .lines()
            .any(|found| found.trim_start().starts_with(beginning.trim_start()))
        {
            faults.push(format!("no '{beginning}' on {stream}"));
        }
    }
    fs::write(dir.path().join("stdout"), &out.stdout).unwrap();
    if faults.is_empty() {
        let leaves = line.leaves.iter();
        faults
            .extend(leaves.filter_map(|(names, form)| scene.judge(dir.path(), names, form).err()));
    }
    faults
}

#[test]
fn each_leaves_what_its_program_expects() {
    let (scene, lines) = (Scene::new(), table());
    assert!(lines.len() >= 150, "{}", lines.len());
    let mut faults = String::new();
    for line in &lines {
        for fault in judge(&scene, line) {
            faults += &format!("{}: {fault}\n", line.name());
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// makedumpfile of the laboratory, by its own loader: it needs newer libraries than the host may have.
fn theirs() -> Option<Command> {
    let root = Path::new("../target/lab/packages/makedumpfile/usr");
    let root = root.canonicalize().ok()?;
    let libraries = root.join("lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(&libraries);
    command.arg(root.join("bin/makedumpfile"));
    Some(command)
}

/// The table says of makedumpfile what is so: its exit code, and which files it leaves where it succeeds.
#[test]
#[ignore = "needs the makedumpfile of target/lab, which `./x test` fetches"]
fn makedumpfile_does_the_same_or_it_is_written_down() {
    assert!(theirs().is_some(), "no makedumpfile in target/lab");
    let scene = Scene::new();
    let mut faults = String::new();
    for line in table() {
        let (Some(code), Some(mut command)) = (line.theirs, theirs()) else {
            continue;
        };
        let dir = scene.fresh();
        let out = scene.run(command.args(&line.args), dir.path());
        if out.status.code() != Some(code) {
            faults += &format!("{}: {}: {}\n", line.name(), out.status, says(&out.stdout));
        }
        if code == 0 && line.code == 0 && left(dir.path()) != line.files() {
            faults += &format!("{}: left {:?}\n", line.name(), left(dir.path()));
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
