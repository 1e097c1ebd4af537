//! `baredump recover`: the dump on a claimed partition, as a normal dump directory.

use super::files::digest;
use super::options::usage;
use super::{Done, Failure, help, print};
use crate::format::flat::{self, SIGNATURE, rearrange};
use crate::report::{FileEntry, Outcome, Report, Status};
use crate::target::raw::{Entry, FileReader, Header, Journal, State};
use crate::target::{DumpDir, FileIn, Mounted, Pending, Place, Sequence, TargetError};
use crc32fast::Hasher;
use lexopt::prelude::{Long, Short, Value};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const REPORT: &str = "report.json";
/// Largest report that is read again.
const REPORT_MAX: u64 = 4 << 20;

pub(super) fn run(args: Vec<OsString>) -> Done {
    let (mut keep, mut files) = (false, Vec::new());
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Short('k') | Long("keep") => keep = true,
            Short('h') | Long("help") => return print(help::RECOVER),
            Value(file) => files.push(PathBuf::from(file)),
            other => return Err(usage(other.unexpected())),
        }
    }
    let [node, dir] = files.as_slice() else {
        return Err(Failure::Usage(format!(
            "expected DEVICE and DIR, found {} file name(s)",
            files.len()
        )));
    };
    recover(node, dir, keep)
}

fn recover(node: &Path, dir: &Path, keep: bool) -> Done {
    let refused = |e: &dyn std::fmt::Display| Failure::Input(format!("{}: {e}", node.display()));
    let mut options = File::options();
    let device = options.read(true).write(!keep).open(node);
    let device = device.map_err(|e| refused(&e))?;
    let mut header = Header::read(&device).map_err(|e| refused(&e))?;
    match header.state {
        State::Armed => return Err(refused(&"it was claimed for dumps and holds none")),
        State::Taken if !keep => {
            return Err(refused(
                &"its dump was taken already; with --keep it is read once more",
            ));
        }
        State::Taken | State::Dump => {}
    }
    let journal = Journal::read(&device, &header).map_err(|e| refused(&e))?;
    fs::create_dir_all(dir).map_err(|e| Failure::Failed(format!("{}: {e}", dir.display())))?;
    let failed = |e: TargetError| Failure::Failed(e.to_string());
    let place = DumpDir::create(&Mounted::at(dir), "/", &harmless(&header.name)).map_err(failed)?;
    let at = dir.join(place.path().trim_start_matches('/'));
    let recovery = Recovery {
        device: &device,
        header: &header,
        place: &place,
        at: &at,
    };
    let mut done = Vec::new();
    for file in &journal.files {
        done.push(recovery.copy(file).map_err(failed)?);
    }
    recovery.correct(&done).map_err(failed)?;
    if !keep && header.state != State::Taken {
        header.state = State::Taken;
        header.write(&device).map_err(|e| refused(&e))?;
    }
    tell(&at, &done)
}

/// The name that stands on the partition as that of one directory, without what a terminal would take for commands.
fn harmless(name: &str) -> String {
    let name = name.replace(|c: char| c == '/' || c.is_control(), "_");
    if name.trim_matches('.').is_empty() {
        return "dump".into();
    }
    name
}

/// Says what was recovered, and fails when something is missing.
fn tell(at: &Path, done: &[Recovered]) -> Done {
    if done.is_empty() {
        return Err(Failure::Partial(format!(
            "the capture that began this dump wrote no file: {} is empty",
            at.display()
        )));
    }
    let mut text = format!("{}\n", at.display());
    for file in done {
        text.push_str(&format!(
            "  {} {} bytes\n",
            file.entry.name, file.entry.bytes
        ));
    }
    print(&text)?;
    let bad: Vec<_> = done.iter().filter_map(|file| file.why.as_deref()).collect();
    if !bad.is_empty() {
        return Err(Failure::Partial(bad.join("; ")));
    }
    if done
        .iter()
        .any(|file| file.was.starts_with("vmcore.") || file.was == "vmcore")
    {
        return Ok(());
    }
    Err(Failure::Partial(format!(
        "there is no vmcore: {} says why",
        at.join(REPORT).display()
    )))
}

/// What became of a file.
struct Recovered {
    /// Its name on the partition.
    was: String,
    /// As it is now.
    entry: FileEntry,
    /// Why it is not whole.
    why: Option<String>,
}

struct Recovery<'a> {
    device: &'a File,
    header: &'a Header,
    place: &'a DumpDir,
    at: &'a Path,
}

impl Recovery<'_> {
    /// Copies one file, restored where it is a flattened stream.
    fn copy(&self, file: &Entry) -> Result<Recovered, TargetError> {
        let mut reader = FileReader::new(self.device, self.header, file);
        let mut first = Vec::new();
        let peeked = (&mut reader)
            .take(SIGNATURE.len() as u64)
            .read_to_end(&mut first);
        peeked.map_err(self.error("read", &file.name))?;
        let is_flat = first == SIGNATURE;
        let plain = |name: &str| {
            if is_flat {
                name.replacen(".flat", "", 1)
            } else {
                name.to_owned()
            }
        };
        let name = plain(&file.target);
        let incomplete = if file.whole {
            format!("{name}-incomplete")
        } else {
            plain(&file.name)
        };
        let pending = self.place.begin(&incomplete, &name)?;
        let mut source = first.as_slice().chain(&mut reader);
        let (bytes, ended) = if is_flat {
            let restored = rearrange(&mut source, pending.out());
            restored.map_or_else(
                |e| (0, Err(e.to_string())),
                |r| (r.bytes, cut_off(r.complete)),
            )
        } else {
            let mut out = Sequence::new(pending.out());
            io::copy(&mut source, &mut out).map_err(self.error("write", &incomplete))?;
            (out.sum().0, Ok(()))
        };
        let why = why(file, reader.damaged(), ended);
        let now = if why.is_none() { &name } else { &incomplete };
        if why.is_some() && is_flat {
            FileIn::open(&self.at.join(&incomplete))
                .and_then(|file| flat::mark_incomplete(&file, pending.out()))
                .map_err(self.error("mark", &incomplete))?;
        }
        end(pending, why.is_none())?;
        let crc = self.checksum(now).map_err(self.error("read", now))?;
        let bytes = self.place.size(now).unwrap_or(bytes);
        Ok(Recovered {
            was: file.target.clone(),
            entry: FileEntry::new(now, bytes, Some(crc)),
            why,
        })
    }

    /// Puts the files as they are now into the report.
    fn correct(&self, done: &[Recovered]) -> Result<(), TargetError> {
        let mut json = Vec::new();
        let read = File::open(self.at.join(REPORT))
            .and_then(|file| file.take(REPORT_MAX).read_to_end(&mut json));
        let Some(mut report) = read
            .ok()
            .and_then(|_| serde_json::from_slice::<Report>(&json).ok())
        else {
            return Ok(());
        };
        report.files.clear();
        for file in done.iter().filter(|file| file.was != REPORT) {
            if file.was.starts_with("vmcore.") && file.entry.name.starts_with("vmcore") {
                report.bytes = file.entry.bytes;
            }
            if let Some(why) = &file.why {
                lower(&mut report, why);
            }
            report.files.push(file.entry.clone());
        }
        let Ok(json) = report.to_json() else {
            return Ok(());
        };
        self.place.replace(REPORT, json.as_bytes())
    }

    fn checksum(&self, name: &str) -> io::Result<u32> {
        let mut crc = Hasher::new();
        digest(&mut crc, &FileIn::open(&self.at.join(name))?)?;
        Ok(crc.finalize())
    }

    fn error(&self, action: &'static str, name: &str) -> impl FnOnce(io::Error) -> TargetError {
        let path = self.at.join(name);
        move |source| TargetError::Path {
            action,
            path,
            source,
        }
    }
}

fn cut_off(complete: bool) -> Result<(), String> {
    if complete {
        Ok(())
    } else {
        Err("the capture was interrupted".into())
    }
}

/// Why a file is not whole.
fn why(file: &Entry, damaged: Option<u64>, ended: Result<(), String>) -> Option<String> {
    if let Some(at) = damaged {
        return Some(format!(
            "{}: a block at offset {at} of the partition is not what was written, what comes after it is lost",
            file.target
        ));
    }
    if !file.whole {
        return Some(format!("{}: the capture did not complete it", file.target));
    }
    ended.err().map(|why| format!("{}: {why}", file.target))
}

/// A report must not say more of a dump than what came out of the partition.
fn lower(report: &mut Report, why: &str) {
    report.warn(why);
    if report.outcome.status == Status::Complete {
        report.outcome = Outcome {
            status: Status::Partial,
            reason: Some(why.to_owned()),
        };
    }
}

fn end(pending: Box<dyn Pending + '_>, whole: bool) -> Result<(), TargetError> {
    if whole {
        pending.commit()
    } else {
        pending.keep()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Out;
    use crate::format::flat::FlatOut;
    use crate::target::raw::{RawDevice, RawPlace, SMALLEST, reach, show_id};

    fn partition(dir: &Path) -> RawDevice {
        let node = dir.join("partition");
        let device = File::create_new(&node).unwrap();
        device.set_len(SMALLEST).unwrap();
        let header = Header::new(SMALLEST).unwrap();
        header.format(&device).unwrap();
        reach(&node, Some(&show_id(&header.id)), dir.join("ledger")).unwrap()
    }

    /// A dump as a capture leaves it: `whole` or interrupted.
    fn capture(raw: &RawDevice, whole: bool) {
        let place = RawPlace::create(raw, "host-1").unwrap();
        place.replace("vmcore-dmesg.txt", b"log\n").unwrap();
        let flat = FlatOut::new(Vec::new()).unwrap();
        flat.write_at(8, b"tail").unwrap();
        flat.write_at(0, b"head").unwrap();
        let mut stream = flat.finish().unwrap();
        if !whole {
            stream.truncate(stream.len() - 16);
        }
        let pending = place
            .begin("vmcore-incomplete.flat", "vmcore.flat")
            .unwrap();
        pending.out().write_at(0, &stream).unwrap();
        if whole {
            pending.commit().unwrap();
        } else {
            pending.keep().unwrap();
        }
        let mut report = Report::default();
        report.outcome.status = Status::Complete;
        report.file(FileEntry::new("vmcore.flat", 1, Some(1)));
        place
            .replace(REPORT, report.to_json().unwrap().as_bytes())
            .unwrap();
    }

    fn report(dir: &Path) -> Report {
        serde_json::from_slice(&fs::read(dir.join(REPORT)).unwrap()).unwrap()
    }

    #[test]
    fn a_dump_becomes_a_directory_once() {
        let dir = tempfile::tempdir().unwrap();
        let raw = partition(dir.path());
        let out = dir.path().join("a/b");
        assert!(matches!(
            recover(&raw.node, &out, false),
            Err(Failure::Input(_))
        ));
        capture(&raw, true);
        recover(&raw.node, &out, true).unwrap();
        recover(&raw.node, &out, false).unwrap();
        let Err(Failure::Input(taken)) = recover(&raw.node, &out, false) else {
            panic!("taken twice");
        };
        assert!(taken.contains("taken already"), "{taken}");
        recover(&raw.node, &out, true).unwrap();
        for name in ["host-1", "host-1-2", "host-1-3"] {
            let at = out.join(name);
            assert_eq!(fs::read(at.join("vmcore")).unwrap(), b"head\0\0\0\0tail");
            assert_eq!(fs::read(at.join("vmcore-dmesg.txt")).unwrap(), b"log\n");
            assert_eq!(fs::read_dir(&at).unwrap().count(), 3);
            let report = report(&at);
            let crc = crc32fast::hash(b"head\0\0\0\0tail");
            assert!(
                report
                    .files
                    .contains(&FileEntry::new("vmcore", 12, Some(crc)))
            );
            assert_eq!((report.files.len(), report.bytes), (2, 12));
        }
        // It is free for the next one.
        reach(&raw.node, Some(&raw.id), raw.ledger.clone()).unwrap();
    }

    #[test]
    fn an_interrupted_dump_keeps_its_incomplete_name() {
        let dir = tempfile::tempdir().unwrap();
        let raw = partition(dir.path());
        capture(&raw, false);
        let Err(Failure::Partial(why)) = recover(&raw.node, dir.path(), false) else {
            panic!("an interrupted dump must be partial");
        };
        assert!(why.contains("did not complete"), "{why}");
        let at = dir.path().join("host-1");
        assert!(at.join("vmcore-incomplete").exists() && !at.join("vmcore").exists());
        let report = report(&at);
        assert_eq!(report.outcome.status, Status::Partial);
    }

    #[test]
    fn what_is_no_claimed_partition_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        fs::write(&file, vec![0; 20 << 20]).unwrap();
        let refused = recover(&file, dir.path(), false);
        assert!(matches!(refused, Err(Failure::Input(why)) if why.contains("never claimed")));
    }
}
