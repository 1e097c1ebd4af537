//! The capture: directory, report "started", the dead kernel's log, then its memory.

use super::mount::{reached_fact, spec};
use super::report::{DMESG, FIRST, REPORT, SECOND, VMCORE, report_fact};
use super::watch::Watch;
use super::{Context, End, load, load_plan, store};
use crate::config::Config;
use crate::dump::{self, DeadKernel, Options};
use crate::init::log::say;
use crate::report::{FileEntry, Outcome, Report, Status, bounded};
use crate::target::{Pending, Place, Reached, Sequence, TargetSpec, dir_name};
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

const VMCORE_FILE: &str = "/proc/vmcore";

pub(super) fn run(context: &Context) -> Result<End, String> {
    let config = load_plan()?.config;
    let reached: Reached = load(&reached_fact(context.target))?;
    let target = spec(&config.targets, context.target)?;
    let earlier: Option<Report> = load(&report_fact(context.target))
        .ok()
        .filter(|_| context.careful);
    context.progress(0, 0);

    let opening = Instant::now();
    let kernel = DeadKernel::open(Path::new(VMCORE_FILE), !context.careful);
    let mut report = begin(&config, target, kernel.as_ref().ok());
    report.phase("open", opening);
    let dir = directory(target, &reached, &report, earlier.as_ref())?;
    let dir = dir.as_ref();
    report.at(dir);
    save(context, dir, &report)?;

    let capture = Capture {
        context,
        config: &config,
        dir,
    };
    let outcome = match &kernel {
        Ok(kernel) => {
            capture.save_dmesg(kernel, &mut report, earlier.as_ref());
            save(context, dir, &report)?;
            context.progress(0, 0);
            capture.save_vmcore(kernel, &mut report)
        }
        Err(e) => {
            context.strike(100);
            Outcome {
                status: Status::Failed,
                reason: Some(bounded(&unusable(e))),
            }
        }
    };
    report.outcome = outcome;
    save(context, dir, &report)?;
    context.result(
        report.outcome.status,
        report.pages.kept,
        report.bytes,
        &report.dir,
    );
    let reason = report.outcome.reason.unwrap_or_default();
    match report.outcome.status {
        Status::Complete => Ok(End::Done),
        Status::Partial => Ok(End::Partial(reason)),
        Status::Started | Status::Failed => Err(reason),
    }
}

/// Why there is nothing to dump.
fn unusable(error: &dump::DumpError) -> String {
    if Path::new(VMCORE_FILE).exists() {
        return format!("cannot read {VMCORE_FILE}: {error}");
    }
    format!(
        "there is no {VMCORE_FILE}: this kernel was not started by a panic, or has no CONFIG_PROC_VMCORE"
    )
}

/// The report as far as it is known before anything is written.
fn begin(config: &Config, target: &TargetSpec, kernel: Option<&DeadKernel>) -> Report {
    let mut report = Report {
        target: target.to_string(),
        boot_id: config.boot_id.clone(),
        machine_id: config.machine_id.clone(),
        level: config.level,
        compression: config.compress,
        ..Report::default()
    };
    if let Some(kernel) = kernel {
        let identity = kernel.identity();
        let text = |t: &Option<String>| t.as_deref().map(bounded);
        report.host = text(&identity.nodename);
        report.kernel_release = text(&identity.release);
        report.build_id = text(&identity.build_id);
        report.crash_time = identity.crash_time;
        kernel.warnings().iter().for_each(|w| report.warn(w));
    }
    report
}

/// The directory of the attempt before, or a new one.
fn directory(
    target: &TargetSpec,
    reached: &Reached,
    report: &Report,
    earlier: Option<&Report>,
) -> Result<Box<dyn Place>, String> {
    if let Some(earlier) = earlier {
        return reached
            .open(target, &earlier.dir)
            .map_err(|e| e.to_string());
    }
    let name = dir_name(
        report.host.as_deref(),
        report.crash_time,
        report.boot_id.as_deref(),
    );
    reached.create(target, &name).map_err(|e| e.to_string())
}

/// Puts the report where the report step finds it and, as long as nothing has ended, beside the dump.
fn save(context: &Context, dir: &dyn Place, report: &Report) -> Result<(), String> {
    store(&report_fact(context.target), report)?;
    let json = report.to_json().map_err(|e| e.to_string())?;
    match dir.replace(REPORT, json.as_bytes()) {
        // A full disk must not hide what was reached; the report step tries again.
        Err(e) if report.outcome.status != Status::Started => say!("warning: {e}"),
        done => done.map_err(|e| e.to_string())?,
    }
    Ok(())
}

struct Capture<'a> {
    context: &'a Context,
    config: &'a Config,
    dir: &'a dyn Place,
}

impl Capture<'_> {
    /// Saves the log. That it fails is no reason to leave the memory.
    fn save_dmesg(&self, kernel: &DeadKernel, report: &mut Report, earlier: Option<&Report>) {
        let start = Instant::now();
        if let Some(earlier) = earlier.filter(|_| self.dir.size(DMESG[1]).is_some()) {
            report.panic_line.clone_from(&earlier.panic_line);
            report.files.clone_from(&earlier.files);
            return;
        }
        match self.write_dmesg(kernel, report) {
            Ok(()) => say!("dmesg saved: {}/{}", self.dir.path(), DMESG[1]),
            Err(why) => {
                let warning = format!("the dead kernel's log is not saved: {why}");
                say!("warning: {warning}");
                report.warn(&warning);
            }
        }
        report.phase("dmesg", start);
    }

    fn write_dmesg(&self, kernel: &DeadKernel, report: &mut Report) -> Result<(), String> {
        let pending = self
            .dir
            .begin(DMESG[0], DMESG[1])
            .map_err(|e| e.to_string())?;
        let mut writer = BufWriter::with_capacity(64 << 10, Sequence::new(pending.out()));
        let summary = kernel.dmesg(&mut writer).map_err(|e| e.to_string())?;
        for warning in summary.warnings() {
            report.warn(&warning);
        }
        let (bytes, crc32) = writer.into_inner().map_err(|e| e.to_string())?.sum();
        let file = FileEntry::new(DMESG[1], bytes, Some(crc32));
        report.panic_line = summary.panic_line.as_deref().map(bounded);
        pending.commit().map_err(|e| e.to_string())?;
        report.file(file);
        Ok(())
    }

    fn save_vmcore(&self, kernel: &DeadKernel, report: &mut Report) -> Outcome {
        let failed = |reason: String| Outcome {
            status: Status::Failed,
            reason: Some(bounded(&reason)),
        };
        self.context.strike(0);
        if let Some(outcome) = already(self.dir, report) {
            return outcome;
        }
        let name = if self.context.careful {
            make_room(self.dir, report)
        } else {
            VMCORE[0]
        };
        let pending = match self.dir.begin(name, VMCORE[1]) {
            Ok(pending) => pending,
            Err(e) => return failed(e.to_string()),
        };
        let careful = self.context.careful;
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
        let done = dump::dump(kernel, &options, pending.out(), &mut watch);
        watch.phases(report);
        report.phase("dump", start);
        match done {
            Ok(summary) => self.conclude(name, pending, summary, report),
            Err(e) => {
                drop(pending);
                if self.dir.size(name) == Some(0) {
                    let _ = self.dir.remove(name);
                }
                failed(e.to_string())
            }
        }
    }

    fn conclude(
        &self,
        incomplete: &str,
        pending: Box<dyn Pending + '_>,
        summary: dump::Summary,
        report: &mut Report,
    ) -> Outcome {
        let start = Instant::now();
        (report.pages, report.bytes, report.level) = (summary.pages, summary.bytes, summary.level);
        summary.warnings.iter().for_each(|w| report.warn(w));
        let (name, result, mut reason) = match summary.outcome {
            dump::Outcome::Complete => (VMCORE[1], pending.commit(), None),
            dump::Outcome::Partial(why) => (incomplete, pending.keep(), Some(why)),
        };
        report.phase("sync", start);
        if let Err(e) = result {
            reason.get_or_insert(e.to_string());
        }
        report.file(FileEntry::new(name, summary.bytes, summary.crc32));
        if let Some(reason) = reason {
            return Outcome {
                status: Status::Partial,
                reason: Some(bounded(&reason)),
            };
        }
        if self.context.careful {
            remove_first(self.dir, report);
        }
        Outcome {
            status: Status::Complete,
            reason: None,
        }
    }
}

/// The attempt before can have hung after it gave the dump its final name.
fn already(dir: &dyn Place, report: &mut Report) -> Option<Outcome> {
    let bytes = dir.size(VMCORE[1])?;
    report.warn("the first attempt had finished the dump before it was ended; its page counts are not known");
    report.bytes = bytes;
    report.file(FileEntry::new(VMCORE[1], bytes, None));
    Some(Outcome {
        status: Status::Complete,
        reason: None,
    })
}

/// Keeps what the attempt before has left, and says under which name the new one begins.
fn make_room(dir: &dyn Place, report: &mut Report) -> &'static str {
    if let Err(e) = dir.rename(VMCORE[0], FIRST) {
        report.warn(&e.to_string());
    }
    match dir.size(VMCORE[0]) {
        Some(_) => SECOND,
        None => VMCORE[0],
    }
}

/// Removes what the attempt before has left, when there is a complete dump.
fn remove_first(dir: &dyn Place, report: &mut Report) {
    for name in [FIRST, VMCORE[0]] {
        if let Err(e) = dir.remove(name) {
            report.warn(&e.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{DumpDir, Mounted};

    #[test]
    fn a_dump_that_is_there_is_not_made_again() {
        let mount = tempfile::tempdir().unwrap();
        let dir = DumpDir::create(&Mounted::at(mount.path()), "/", "a").unwrap();
        let mut report = Report::default();
        assert_eq!(already(&dir, &mut report), None);
        dir.replace("vmcore", b"dump").unwrap();
        let outcome = already(&dir, &mut report).unwrap();
        assert_eq!((outcome.status, report.bytes), (Status::Complete, 4));
        assert_eq!(report.warnings.len(), 1);
        assert_eq!(report.files, [FileEntry::new("vmcore", 4, None)]);
    }

    #[test]
    fn what_the_first_attempt_left_is_not_truncated() {
        let mount = tempfile::tempdir().unwrap();
        let dir = DumpDir::create(&Mounted::at(mount.path()), "/", "a").unwrap();
        let mut report = Report::default();
        assert_eq!(make_room(&dir, &mut report), "vmcore-incomplete");
        dir.replace("vmcore-incomplete", b"half").unwrap();
        // A directory in the way: the rename fails.
        std::fs::create_dir(mount.path().join("a/vmcore-incomplete-1")).unwrap();
        assert_eq!(make_room(&dir, &mut report), "vmcore-incomplete-2");
        assert_eq!(dir.size("vmcore-incomplete"), Some(4));
        assert_eq!(report.warnings.len(), 1);
        std::fs::remove_dir(mount.path().join("a/vmcore-incomplete-1")).unwrap();
        assert_eq!(make_room(&dir, &mut report), "vmcore-incomplete");
        assert_eq!(dir.size("vmcore-incomplete-1"), Some(4));
        dir.replace("vmcore-incomplete", b"x").unwrap();
        remove_first(&dir, &mut report);
        assert_eq!(
            (
                dir.size("vmcore-incomplete"),
                dir.size("vmcore-incomplete-1")
            ),
            (None, None)
        );
    }
}
