//! The power goes: what a disk holds by then is what was synced. In the middle of a dump that is a dump which says what it lacks, and
//! between two renames it is a whole dump without its report.

use super::dumped::open;
use baredump::compress::Compression;
use baredump::dump::{self, Observer, Options};
use baredump::filter::DumpLevel;
use baredump::format::Out;
use baredump::report::{FileEntry, Report};
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use tests::fake_kernel::{FakeKernel, Generation};
use tests::memory_file::MemoryFile;
use tests::programs::baredump;

/// A disk behind a cache: what the power leaves of it is what it had at the last sync.
#[derive(Default)]
struct Disk {
    cache: MemoryFile,
    len: Mutex<u64>,
    synced: Mutex<Vec<u8>>,
}

impl Out for Disk {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut len = self.len.lock().unwrap();
        *len = (*len).max(offset + bytes.len() as u64);
        self.cache.write_at(offset, bytes)
    }

    fn set_len(&self, end: u64) -> io::Result<()> {
        *self.len.lock().unwrap() = end;
        self.cache.set_len(end)
    }

    fn read_back(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.cache.read_back(offset, buf)
    }

    fn sync(&self) -> io::Result<()> {
        let mut bytes = vec![0; usize::try_from(*self.len.lock().unwrap()).unwrap()];
        self.cache.read_back(0, &mut bytes)?;
        *self.synced.lock().unwrap() = bytes;
        Ok(())
    }
}

/// Remembers what the power would leave when the first pages are copied.
struct Cut<'a> {
    disk: &'a Disk,
    left: Option<Vec<u8>>,
}

impl Observer for Cut<'_> {
    fn progress(&mut self, phase: &'static str, _: u64, _: u64) {
        if phase == "copy" && self.left.is_none() {
            self.left = Some(self.disk.synced.lock().unwrap().clone());
        }
    }
}

fn verify(path: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(baredump());
    let command = command.arg("verify").arg(path).stdin(Stdio::null());
    let out = command.output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8(text).unwrap())
}

fn options() -> Options {
    Options {
        level: DumpLevel::new(31).unwrap(),
        compression: Compression::None,
        threads: 0,
        mmap: true,
        strict: false,
        window: None,
    }
}

#[test]
fn in_the_middle_a_dump_is_there() {
    let elf = FakeKernel::zoo(Generation::V6_12).build().elf;
    let kernel = open(&[&elf]).unwrap();
    let disk = Disk::default();
    let mut cut = Cut {
        disk: &disk,
        left: None,
    };
    let summary = dump::dump(&kernel, &options(), &disk, &mut cut).unwrap();
    let left = cut.left.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vmcore-incomplete");
    fs::write(&path, &left).unwrap();
    let (code, text) = verify(&path);
    let kept = summary.pages.kept;
    let all = format!("marked incomplete: {kept} of its {kept} pages are missing");
    assert!(code == Some(1) && text.contains(&all), "{text}");
    // Descriptors got to the disk and the end of the data did not.
    let whole = disk.synced.into_inner().unwrap();
    let mut torn = whole[..whole.len() - (1 << 16)].to_vec();
    let status = left[..4096].to_vec();
    torn[..4096].copy_from_slice(&status);
    fs::write(&path, &torn).unwrap();
    let (_, text) = verify(&path);
    let lost = text
        .split("marked incomplete: ")
        .nth(1)
        .and_then(|t| t.split(' ').next());
    let lost: u64 = lost.and_then(|n| n.parse().ok()).expect(&text);
    assert!(lost > 0 && lost <= 17, "{text}");
}

#[test]
fn a_whole_dump_without_its_report_is_whole() {
    let elf = FakeKernel::zoo(Generation::V6_12).build().elf;
    let out = MemoryFile::default();
    let mut cut = Cut {
        disk: &Disk::default(),
        left: None,
    };
    dump::dump(&open(&[&elf]).unwrap(), &options(), &out, &mut cut).unwrap();
    let dump = out.into_bytes();
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    put("vmcore", &dump);
    put("vmcore-dmesg.txt", b"log\n");
    // As it stands until the capture is over.
    let mut report = Report::default();
    let log = crc32fast::hash(b"log\n");
    report.file(FileEntry::new("vmcore-dmesg.txt", 4, Some(log)));
    put("report.json", report.to_json().unwrap().as_bytes());
    let (code, text) = verify(dir.path());
    assert!(
        code == Some(0) && text.contains("the report is missing its end"),
        "{code:?} {text}"
    );
    fs::remove_file(dir.path().join("report.json")).unwrap();
    let (code, text) = verify(dir.path());
    assert!(
        code == Some(0) && text.contains("the report is missing"),
        "{code:?} {text}"
    );
    // The pages are looked at all the same.
    put("vmcore", &dump[..dump.len() - 4096]);
    assert_eq!(verify(dir.path()).0, Some(1));
    put("vmcore-incomplete", &dump);
    fs::remove_file(dir.path().join("vmcore")).unwrap();
    assert_eq!(verify(dir.path()).0, Some(1));
}
