//! `baredump verify DIR`: the files of a capture against its report.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use baredump::report::{FileEntry, Outcome, Report, Status};
use baredump::target::Part;
use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::fake_kernel::{FakeKernel, Generation};
use tests::programs::baredump;

/// The directory of a capture.
struct Capture {
    dir: TempDir,
    report: Report,
}

impl Capture {
    fn new(status: Status) -> Self {
        let reason = None;
        let report = Report {
            outcome: Outcome { status, reason },
            ..Report::default()
        };
        let dir = tempfile::tempdir().unwrap();
        Self { dir, report }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
        let crc32 = crc32fast::hash(bytes);
        let entry = FileEntry::new(name, bytes.len() as u64, Some(crc32));
        self.report.file(entry);
    }

    /// Verifies: the exit code, and both outputs.
    fn verify(&self) -> (Option<i32>, String) {
        let json = self.report.to_json().unwrap();
        fs::write(self.path("report.json"), json).unwrap();
        run(&["verify", self.dir.path().to_str().unwrap()])
    }
}

fn run(args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(baredump());
    let out = command.args(args).stdin(Stdio::null()).output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8(text).unwrap())
}

fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no `{word}` in:\n{text}");
    }
}

#[test]
fn files_and_the_dump_hold() {
    let mut capture = Capture::new(Status::Complete);
    FakeKernel::zoo(Generation::V6_12)
        .build()
        .write(capture.dir.path())
        .unwrap();
    let [elf, dump] = ["vmcore.elf", "vmcore"].map(|name| capture.path(name));
    let (code, text) = run(&["dump", elf.to_str().unwrap(), dump.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    fs::rename(&elf, capture.path("found")).unwrap();
    let mut bytes = fs::read(&dump).unwrap();
    capture.file("vmcore", &bytes);
    capture.file("vmcore-dmesg.txt", b"text\n");
    let (code, text) = capture.verify();
    assert_eq!(code, Some(0), "{text}");
    has(
        &text,
        &[
            "/vmcore: ok: ",
            "/vmcore-dmesg.txt: ok: 5 bytes, crc32 ",
            "/found: not listed in report.json",
            " of page data",
        ],
    );
    // A fault that was written so: only the dump itself knows.
    let last = bytes.len() - 1;
    bytes[last] ^= 0xff;
    bytes.truncate(last);
    capture.file("vmcore", &bytes);
    let (code, text) = capture.verify();
    assert_eq!(code, Some(1), "{text}");
    has(&text, &["/vmcore: ok: "]);
}

#[test]
fn what_is_missing_or_changed_is_named() {
    let mut capture = Capture::new(Status::Complete);
    for name in ["right", "longer", "other", "gone", "link", "dir"] {
        capture.file(name, b"text");
    }
    capture.file("vmcore.flat.age", b"age-encryption.org/v1\n");
    capture.report.file(FileEntry::new("unknown", 4, None));
    fs::write(capture.path("unknown"), b"text").unwrap();
    fs::write(capture.path("longer"), b"text!").unwrap();
    fs::write(capture.path("other"), b"texT").unwrap();
    for name in ["gone", "link", "dir"] {
        fs::remove_file(capture.path(name)).unwrap();
    }
    symlink(capture.path("right"), capture.path("link")).unwrap();
    fs::create_dir(capture.path("dir")).unwrap();
    let (code, text) = capture.verify();
    assert_eq!(code, Some(1), "{text}");
    has(
        &text,
        &[
            "/right: ok: 4 bytes",
            "/longer: CHANGED: 5 bytes, the report says 4",
            "/other: CHANGED: crc32 ",
            "/gone: MISSING",
            "/link: UNREADABLE: a symbolic link",
            "/dir: UNREADABLE: no regular file",
            "/unknown: 4 bytes; its checksum is not known",
            "/vmcore.flat.age: ok: ",
            "5 of 8 files are missing or changed",
        ],
    );
}

#[test]
fn the_outcome_is_told() {
    for (status, code, word) in [
        (Status::Partial, 3, "the dump is partial: no reason"),
        (Status::Failed, 1, "there is no dump"),
        (Status::Started, 1, "did not come to its end"),
    ] {
        let mut capture = Capture::new(status);
        capture.file("vmcore-dmesg.txt", b"text\n");
        let (found, text) = capture.verify();
        assert_eq!(found, Some(code), "{text}");
        has(&text, &[word, "/vmcore-dmesg.txt: ok: "]);
    }
}

#[test]
fn a_hostile_report_leads_nowhere() {
    let mut capture = Capture::new(Status::Complete);
    let (code, text) = run(&["verify", capture.dir.path().to_str().unwrap()]);
    assert_eq!(code, Some(1), "{text}");
    has(&text, &["report.json: there is no report and no dump"]);
    capture.report.file(FileEntry::new("../x", 1, None));
    let (code, text) = capture.verify();
    assert_eq!(code, Some(1), "{text}");
    has(&text, &["it lists \"../x\", which is no name"]);
    fs::remove_file(capture.path("report.json")).unwrap();
    symlink("/dev/zero", capture.path("report.json")).unwrap();
    let (code, text) = run(&["verify", capture.dir.path().to_str().unwrap()]);
    assert_eq!(code, Some(1), "{text}");
    has(&text, &["report.json: a symbolic link"]);
    fs::remove_file(capture.path("report.json")).unwrap();
    fs::write(capture.path("report.json"), vec![b' '; 2 << 20]).unwrap();
    let (_, text) = run(&["verify", capture.dir.path().to_str().unwrap()]);
    has(&text, &["larger than 1 MiB"]);
}

/// Bytes of every part but the last.
const PART: u64 = (4 << 30) - (64 << 10);

/// A dump whose page data begin before the end of the first part and end in the second: between them and what comes before them
/// is a hole. The checksum of the whole.
fn in_parts(capture: &Capture, dump: &[u8]) -> (u64, u32) {
    let word = |at: usize| u32::from_le_bytes(dump[at..at + 4].try_into().unwrap()) as usize;
    let (block, sub, maps) = (word(428), word(432), word(436));
    let descs = (1 + sub + maps) * block;
    let offset = |at: usize| u64::from_le_bytes(dump[at..at + 8].try_into().unwrap());
    let mut data = usize::MAX;
    let mut at = descs;
    while at < data {
        data = data.min(usize::try_from(offset(at)).unwrap());
        at += 24;
    }
    let in_first = (dump.len() - data) / 2 + 1;
    let moved = PART - (data + in_first) as u64;
    let mut head = dump[..data].to_vec();
    for at in (descs..at).step_by(24) {
        head[at..at + 8].copy_from_slice(&(offset(at) + moved).to_le_bytes());
    }
    let (first, second) = dump[data..].split_at(in_first);
    let file = fs::File::create(capture.path("vmcore")).unwrap();
    file.set_len(PART).unwrap();
    file.write_all_at(&head, 0).unwrap();
    file.write_all_at(first, PART - in_first as u64).unwrap();
    fs::write(capture.path("vmcore.2"), second).unwrap();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head);
    let (mut hole, zeros) = (moved, vec![0; 1 << 20]);
    while hole > 0 {
        let some = hole.min(zeros.len() as u64);
        crc.update(&zeros[..usize::try_from(some).unwrap()]);
        hole -= some;
    }
    crc.update(&dump[data..]);
    (PART + second.len() as u64, crc.finalize())
}

#[test]
fn a_dump_in_parts_is_read_as_one() {
    let mut capture = Capture::new(Status::Complete);
    FakeKernel::zoo(Generation::V6_12)
        .build()
        .write(capture.dir.path())
        .unwrap();
    let paths = ["vmcore.elf", "small", "again", "same"].map(|name| capture.path(name));
    let [elf, dump, again, same] = [0, 1, 2, 3].map(|n: usize| paths[n].to_str().unwrap());
    let (code, text) = run(&["dump", elf, dump]);
    assert_eq!(code, Some(0), "{text}");
    let small = fs::read(dump).unwrap();
    let (bytes, crc32) = in_parts(&capture, &small);
    let vmcore = capture.path("vmcore");
    for command in ["verify", "info", "dmesg"] {
        let (code, text) = run(&[command, vmcore.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{command}: {text}");
    }
    for (from, to) in [(vmcore.to_str().unwrap(), again), (dump, same)] {
        let (code, text) = run(&["dump", from, to]);
        assert_eq!(code, Some(0), "{text}");
    }
    let same = fs::read(same).unwrap() == fs::read(again).unwrap();
    assert!(same, "the pages are others");

    let parts = ["vmcore", "vmcore.2"].map(|name| {
        let bytes = fs::metadata(capture.path(name)).unwrap().len();
        Part::new(name, bytes)
    });
    let whole = FileEntry::new("vmcore", bytes, Some(crc32));
    capture.report.file_in_parts(whole, &parts);
    let (code, text) = capture.verify();
    assert_eq!(code, Some(0), "{text}");
    has(
        &text,
        &[
            "/vmcore.2: ",
            "/vmcore: its 2 parts joined: ok: ",
            " of page data",
        ],
    );
    let second = capture.path("vmcore.2");
    let mut bytes = fs::read(&second).unwrap();
    bytes[0] ^= 1;
    fs::write(&second, &bytes).unwrap();
    let (code, text) = capture.verify();
    assert_eq!(code, Some(1), "{text}");
    has(&text, &["/vmcore: CHANGED: crc32 "]);
    // A dump without its second part is no whole one.
    fs::remove_file(&second).unwrap();
    let (code, text) = run(&["verify", vmcore.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = capture.verify();
    assert_eq!(code, Some(1), "{text}");
    has(&text, &["/vmcore.2: MISSING"]);
}

/// A stream in three pieces, as objects of a bucket are fetched: verified as it is, and when somebody has joined them.
#[test]
fn pieces_of_a_stream_and_what_cat_makes_of_them() {
    let mut capture = Capture::new(Status::Complete);
    FakeKernel::zoo(Generation::V6_12)
        .build()
        .write(capture.dir.path())
        .unwrap();
    let [elf, flat] = ["vmcore.elf", "flat"].map(|name| capture.path(name));
    let (code, text) = run(&["dump", "-F", elf.to_str().unwrap(), flat.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    let whole = fs::read(&flat).unwrap();
    fs::remove_file(&flat).unwrap();
    fs::remove_file(&elf).unwrap();
    let names = ["vmcore.flat", "vmcore.flat.2", "vmcore.flat.3"];
    let pieces = whole.chunks(whole.len().div_ceil(3)).zip(names);
    let parts: Vec<_> = pieces
        .map(|(piece, name)| {
            fs::write(capture.path(name), piece).unwrap();
            Part {
                crc32: Some(crc32fast::hash(piece)),
                ..Part::new(name, piece.len() as u64)
            }
        })
        .collect();
    let sum = crc32fast::hash(&whole);
    let entry = FileEntry::new("vmcore.flat", whole.len() as u64, Some(sum));
    capture.report.file_in_parts(entry, &parts);
    let (code, text) = capture.verify();
    assert_eq!(code, Some(0), "{text}");
    has(
        &text,
        &[
            "/vmcore.flat.3: ok: ",
            "/vmcore.flat: its 3 parts joined: ok: ",
            " of page data",
        ],
    );
    // Other commands find the pieces too.
    let [first, out] = ["vmcore.flat", "out"].map(|name| capture.path(name));
    let (code, text) = run(&["info", first.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(&["rearrange", first.to_str().unwrap(), out.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    fs::remove_file(&out).unwrap();

    // Joined in the place of the first, the others left or taken away.
    fs::write(&first, &whole).unwrap();
    for _ in 0..2 {
        let (code, text) = capture.verify();
        assert_eq!(code, Some(0), "{text}");
        has(&text, &["/vmcore.flat: ok: ", " of page data"]);
        for name in ["vmcore.flat.2", "vmcore.flat.3"] {
            let _ = fs::remove_file(capture.path(name));
        }
    }
    let mut bad = whole.clone();
    bad[9000] ^= 1;
    fs::write(&first, &bad).unwrap();
    let (code, text) = capture.verify();
    assert_eq!(code, Some(1), "{text}");
    has(&text, &["/vmcore.flat: CHANGED: crc32 "]);
    // The first piece alone is neither.
    fs::write(&first, &whole[..whole.len().div_ceil(3)]).unwrap();
    let (code, text) = capture.verify();
    assert_eq!(code, Some(1), "{text}");
    has(&text, &["/vmcore.flat.2: MISSING"]);
}
