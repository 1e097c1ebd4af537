//! The dead kernel's memory: a file under its incomplete name that gets its final one when it is whole.

use super::super::beat::Far;
use super::super::names::Names;
use super::super::watch::Watch;
use super::Capture;
use crate::dump::{self, DeadKernel, DumpError, Options, Summary};
use crate::format::Out;
use crate::format::flat::FlatOut;
use crate::report::{FileEntry, Outcome, Report, Status, bounded};
use crate::target::{Paced, Pending, Place, Roomy, Sequence};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

impl Capture<'_> {
    pub(super) fn save_vmcore(&self, kernel: &DeadKernel, report: &mut Report) -> Outcome {
        let failed = |reason: String| Outcome {
            status: Status::Failed,
            reason: Some(bounded(&reason)),
        };
        self.context.strike(0);
        if let Some(outcome) = already(self.dir, &self.names, report) {
            return outcome;
        }
        let careful = self.context.careful;
        let name = if careful {
            make_room(self.dir, &self.names, report)
        } else {
            self.names.incomplete()
        };
        let pending = match self.dir.begin(&name, &self.names.vmcore) {
            Ok(pending) => pending,
            Err(e) => return failed(e.to_string()),
        };
        let options = Options {
            level: self.config.level,
            compression: self.config.compress,
            threads: if careful {
                0
            } else {
                self.config.threads.count()
            },
            mmap: !careful,
            strict: false,
            window: None,
        };
        let start = Instant::now();
        let written = || pending.written();
        let mut watch = Watch::new(self.context, &written);
        let freed = AtomicBool::new(false);
        let (dir, names, current) = (self.dir, &self.names, name.as_str());
        let free = || {
            let removed = careful && remove_others(dir, names, current);
            freed.fetch_or(removed, Relaxed);
            removed
        };
        let roomy = Roomy::new(pending.out(), &free);
        let (far, paced) = (Far::new(&roomy, &self.beat), Paced::new(&roomy));
        let out: &dyn Out = match self.dir.manners().any_offset {
            _ if self.far => &far,
            true => &paced,
            false => &roomy,
        };
        let done = self.write(kernel, &options, out, &mut watch);
        watch.phases(report);
        report.phase("dump", start);
        let safe = paced.only_safe();
        if freed.into_inner() {
            report.warn("the target was full: what the first attempt had written was removed to make room for the second");
        }
        match done {
            Ok(summary) => self.conclude(&name, pending, summary, safe, report),
            Err(e) => {
                drop(pending);
                if self.dir.size(&name) == Some(0) {
                    let _ = self.dir.remove(&name);
                }
                failed(e.to_string())
            }
        }
    }

    /// Writes the dump as what the target can take.
    fn write(
        &self,
        kernel: &DeadKernel,
        options: &Options,
        out: &dyn Out,
        watch: &mut Watch<'_>,
    ) -> Result<Summary, DumpError> {
        let sequence = Sequence::new(out);
        if let Some(seal) = self.seal {
            let writer = seal.over(sequence).map_err(DumpError::Output)?;
            return stream(kernel, options, writer, watch, |writer| {
                writer.finish().map(Sequence::sum)
            });
        }
        if !self.dir.manners().any_offset {
            let end = |sequence: Sequence<'_>| Ok(sequence.sum());
            return stream(kernel, options, sequence, watch, end);
        }
        dump::dump(kernel, options, out, watch)
    }

    fn conclude(
        &self,
        incomplete: &str,
        pending: Box<dyn Pending + '_>,
        mut summary: Summary,
        safe: Option<u64>,
        report: &mut Report,
    ) -> Outcome {
        let start = Instant::now();
        (report.pages, report.bytes, report.level) = (summary.pages, summary.bytes, summary.level);
        summary.warnings.iter().for_each(|w| report.warn(w));
        let (name, result, mut reason) = match summary.outcome {
            dump::Outcome::Complete => {
                let committed = self.waiting(|| pending.commit());
                (self.names.vmcore.as_str(), committed, None)
            }
            dump::Outcome::Partial(why) => (incomplete, self.waiting(|| pending.keep()), Some(why)),
        };
        report.phase("sync", start);
        if let Err(e) = result {
            reason.get_or_insert(e.to_string());
        }
        if let Some(safe) = safe {
            // What the page cache shows is no evidence.
            report.bytes = safe.min(summary.bytes);
            summary.crc32 = None;
        }
        let whole = FileEntry::new(name, summary.bytes, summary.crc32);
        report.file_in_parts(whole, &self.dir.parts(name));
        if let Some(reason) = reason {
            return Outcome {
                status: Status::Partial,
                reason: Some(bounded(&reason)),
            };
        }
        if self.context.careful {
            remove_first(self.dir, &self.names, report);
        }
        Outcome {
            status: Status::Complete,
            reason: None,
        }
    }
}

/// Writes a flattened stream. What is said of size and checksum is that of the stream.
fn stream<W: Write + Send>(
    kernel: &DeadKernel,
    options: &Options,
    writer: W,
    watch: &mut Watch<'_>,
    end: impl FnOnce(W) -> io::Result<(u64, u32)>,
) -> Result<Summary, DumpError> {
    let out = FlatOut::new(writer).map_err(DumpError::Output)?;
    let mut summary = dump::dump(kernel, options, &out, watch)?;
    // A stream that was cut off must not end as if it were whole.
    let ended = match out.failed() {
        Some(error) => Err(error),
        None => out.finish().and_then(end),
    };
    match ended {
        Ok((bytes, crc32)) => {
            (summary.bytes, summary.crc32) = (bytes, Some(crc32));
        }
        Err(error) => {
            summary.crc32 = None;
            if summary.outcome == dump::Outcome::Complete {
                let why = format!("ending the stream failed: {error}");
                summary.outcome = dump::Outcome::Partial(why);
            }
        }
    }
    Ok(summary)
}

/// The attempt before can have hung after it gave the dump its final name.
fn already(dir: &dyn Place, names: &Names, report: &mut Report) -> Option<Outcome> {
    let bytes = dir.size(&names.vmcore).filter(|_| dir.names_whole())?;
    report.warn("the first attempt had finished the dump before it was ended; its page counts are not known");
    report.bytes = bytes;
    let whole = FileEntry::new(&names.vmcore, bytes, None);
    report.file_in_parts(whole, &dir.parts(&names.vmcore));
    Some(Outcome {
        status: Status::Complete,
        reason: None,
    })
}

/// Keeps what the attempt before has left, and says under which name the new one begins.
fn make_room(dir: &dyn Place, names: &Names, report: &mut Report) -> String {
    let name = names.incomplete();
    if let Err(e) = dir.rename(&name, &names.first()) {
        report.warn(&e.to_string());
    }
    match dir.size(&name) {
        Some(_) => names.second(),
        None => name,
    }
}

/// Makes room for what is being written: what the attempt before has left, if there is anything. The second attempt is ahead of it
/// soon, and two dumps that lack pages are worth less than one that is whole.
fn remove_others(dir: &dyn Place, names: &Names, but: &str) -> bool {
    let others = [names.first(), names.incomplete()];
    let mut there = others
        .iter()
        .filter(|name| *name != but && dir.size(name).is_some());
    there.any(|name| dir.remove(name).is_ok())
}

/// Removes what the attempt before has left, when there is a complete dump.
fn remove_first(dir: &dyn Place, names: &Names, report: &mut Report) {
    for name in [names.first(), names.incomplete()] {
        if let Err(e) = dir.remove(&name) {
            report.warn(&e.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{DumpDir, Mounted};

    fn plain() -> Names {
        Names::of(false, false, false)
    }

    #[test]
    fn a_dump_that_is_there_is_not_made_again() {
        let mount = tempfile::tempdir().unwrap();
        let dir = DumpDir::create(&Mounted::at(mount.path()), "/", "a").unwrap();
        let mut report = Report::default();
        assert_eq!(already(&dir, &plain(), &mut report), None);
        dir.replace("vmcore", b"dump").unwrap();
        let outcome = already(&dir, &plain(), &mut report).unwrap();
        assert_eq!((outcome.status, report.bytes), (Status::Complete, 4));
        assert_eq!(report.warnings.len(), 1);
        assert_eq!(report.files, [FileEntry::new("vmcore", 4, None)]);
    }

    #[test]
    fn what_the_first_attempt_left_is_not_truncated() {
        let mount = tempfile::tempdir().unwrap();
        let dir = DumpDir::create(&Mounted::at(mount.path()), "/", "a").unwrap();
        let mut report = Report::default();
        let room = |report: &mut Report| make_room(&dir, &plain(), report);
        assert_eq!(room(&mut report), "vmcore-incomplete");
        dir.replace("vmcore-incomplete", b"half").unwrap();
        // A directory in the way: the rename fails.
        std::fs::create_dir(mount.path().join("a/vmcore-incomplete-1")).unwrap();
        assert_eq!(room(&mut report), "vmcore-incomplete-2");
        assert_eq!(dir.size("vmcore-incomplete"), Some(4));
        assert_eq!(report.warnings.len(), 1);
        std::fs::remove_dir(mount.path().join("a/vmcore-incomplete-1")).unwrap();
        assert_eq!(room(&mut report), "vmcore-incomplete");
        assert_eq!(dir.size("vmcore-incomplete-1"), Some(4));
        dir.replace("vmcore-incomplete", b"x").unwrap();
        remove_first(&dir, &plain(), &mut report);
        assert_eq!(
            (
                dir.size("vmcore-incomplete"),
                dir.size("vmcore-incomplete-1")
            ),
            (None, None)
        );
    }
}
