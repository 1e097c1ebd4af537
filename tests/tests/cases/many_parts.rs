//! A dump in more parts than a process may have open files.

use super::scene;
use baredump::report::{FileEntry, Outcome, Report, Status};
use baredump::target::Part;
use std::fs;
use std::process::{Command, Stdio};
use tests::programs::baredump;

const PARTS: usize = 1100;

/// Runs baredump in `dir` with no more than 256 descriptors.
fn run(dir: &std::path::Path, args: &str) -> String {
    let script = format!("ulimit -n 256 && exec '{}' {args}", baredump().display());
    let mut command = Command::new("sh");
    let out = command
        .args(["-c", &script])
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{args}: {said}");
    said
}

/// The parts of `whole` with its report, as objects of a bucket are fetched.
fn cut(dir: &std::path::Path, name: &str, whole: &[u8]) {
    let size = whole.len().div_ceil(PARTS);
    let mut report = Report {
        outcome: Outcome {
            status: Status::Complete,
            reason: None,
        },
        ..Report::default()
    };
    let parts: Vec<_> = whole.chunks(size).zip(1..).collect();
    assert!(parts.len() > 1024, "{}", parts.len());
    let parts: Vec<_> = parts
        .into_iter()
        .map(|(bytes, number): (&[u8], usize)| {
            let part = match number {
                1 => name.to_owned(),
                _ => format!("{name}.{number}"),
            };
            fs::write(dir.join(&part), bytes).unwrap();
            Part {
                crc32: Some(crc32fast::hash(bytes)),
                ..Part::new(&part, bytes.len() as u64)
            }
        })
        .collect();
    let entry = FileEntry::new(name, whole.len() as u64, Some(crc32fast::hash(whole)));
    report.file_in_parts(entry, &parts);
    fs::write(dir.join("report.json"), report.to_json().unwrap()).unwrap();
}

#[test]
fn they_are_read_as_they_are() {
    let scene = scene();
    let dir = scene.path();
    run(dir, "dump -F -d 1 vmcore.elf flat");
    run(dir, "dump -d 31 vmcore.elf small");
    fs::remove_file(dir.join("vmcore.elf")).unwrap();
    let whole = fs::read(dir.join("flat")).unwrap();
    fs::remove_file(dir.join("flat")).unwrap();
    cut(dir, "vmcore.flat", &whole);
    run(dir, "info vmcore.flat");
    run(dir, "dump -d 31 vmcore.flat again");
    run(dir, "rearrange vmcore.flat whole");
    run(dir, "verify again");
    let files = ["again", "small", "whole"].map(|name| dir.join(name));
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
    let said = run(dir, "verify .");
    assert!(said.contains("parts joined: ok: "), "{said}");
}

/// Each part is looked for in the report once, not once for each other part.
#[test]
fn a_report_of_many_parts_is_read_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut report = Report::default();
    let parts: Vec<_> = (1..=8000)
        .map(|number| match number {
            1 => Part::new("vmcore.flat", 1),
            _ => Part::new(&format!("vmcore.flat.{number}"), 1),
        })
        .collect();
    // The first file has the size of all: somebody may have joined them.
    fs::write(dir.path().join("vmcore.flat"), vec![0; 8000]).unwrap();
    report.file_in_parts(FileEntry::new("vmcore.flat", 8000, Some(0)), &parts);
    fs::write(dir.path().join("report.json"), report.to_json().unwrap()).unwrap();
    let began = std::time::Instant::now();
    let mut command = Command::new("timeout");
    let out = command
        .arg("60")
        .arg(baredump())
        .arg("verify")
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1), "{:?}", began.elapsed());
}
