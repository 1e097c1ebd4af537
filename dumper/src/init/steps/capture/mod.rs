//! The capture: directory, report "started", the dead kernel's log, then its memory.

mod evidence;
mod log;
mod memory;

pub(super) use evidence::last_resort;

use super::beat::Beat;
use super::mount::reached_fact;
use super::names::{Names, REPORT};
use super::report::report_fact;
use super::seal::{Seal, log_is_sealed};
use super::{Context, End, access, alive, load, load_plan, spec, store};
use crate::config::Config;
use crate::dump::{self, DeadKernel};
use crate::init::log::say;
use crate::init::machine;
use crate::report::{Outcome, Report, Status, bounded};
use crate::target::{Place, Reached, TargetSpec, dir_name};
use std::path::Path;
use std::time::Instant;

const VMCORE_FILE: &str = "/proc/vmcore";
/// Bytes of a report with many attempts.
const REPORT_ROOM: u64 = 8 << 10;

pub(super) fn run(context: &Context) -> Result<End, String> {
    let config = load_plan()?.config;
    let target = spec(&config.targets, context.target)?;
    let reached: Reached = load(&reached_fact(context.target))?;
    let earlier: Option<Report> = load(&report_fact(context.target))
        .ok()
        .filter(|_| context.careful);
    context.progress(0, 0);
    if context.careful {
        alive::still(&reached)?;
    }

    machine::spare_stuck();
    let opening = Instant::now();
    let kernel = DeadKernel::open(Path::new(VMCORE_FILE), !context.careful);
    if !target.holds_files() {
        return evidence::run(&config, target, &reached, kernel.as_ref().map_err(unusable));
    }
    let seal = Seal::of(&config)?;
    let mut report = begin(&config, target, kernel.as_ref().ok());
    report.phase("open", opening);
    let connecting = Instant::now();
    let access = access::of(&config, context.target);
    let dir = directory(target, &reached, &access, &report, earlier.as_ref())?;
    let dir = dir.as_ref();
    dir.remarks()
        .iter()
        .for_each(|text| say!("warning: {text}"));
    report.phase("connect", connecting);
    report.at(dir);
    save(context, dir, &report)?;

    let capture = Capture {
        context,
        config: &config,
        dir,
        names: Names::of(
            !dir.manners().any_offset,
            seal.is_some(),
            log_is_sealed(&config),
        ),
        seal: seal.as_ref(),
        far: reached.is_far(),
        beat: context.beat(),
    };
    let outcome = match &kernel {
        Ok(kernel) => capture.save(kernel, &mut report, earlier.as_ref()),
        Err(e) => {
            context.strike(100);
            Outcome {
                status: Status::Failed,
                reason: Some(bounded(&unusable(e))),
            }
        }
    };
    report.outcome = outcome;
    dir.remarks().iter().for_each(|text| report.warn(text));
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
        Status::Failed if context.log_only => Ok(End::Done),
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

/// What a directory with the log and nothing else says.
fn log_alone(report: &Report) -> Outcome {
    let reason = if report.files.is_empty() {
        "another target has the dump, and the log could not be saved here"
    } else {
        "another target has the dump, here is only the log"
    };
    Outcome {
        status: Status::Failed,
        reason: Some(reason.into()),
    }
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
    access: &crate::target::Access,
    report: &Report,
    earlier: Option<&Report>,
) -> Result<Box<dyn Place>, String> {
    if let Some(earlier) = earlier.filter(|earlier| !earlier.dir.is_empty()) {
        let opened = reached.open(target, access, &earlier.dir);
        return opened.map_err(|e| e.to_string());
    }
    let name = dir_name(
        report.host.as_deref(),
        report.crash_time,
        report.boot_id.as_deref(),
    );
    reached
        .create(target, access, &name)
        .map_err(|e| e.to_string())
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
    if report.outcome.status == Status::Started && dir.manners().any_offset {
        keep_room(dir);
    }
    Ok(())
}

/// Takes room for the report that comes last: log and memory take what there is.
fn keep_room(dir: &dyn Place) {
    if let Ok(pending) = dir.begin(&format!("{REPORT}-incomplete"), REPORT) {
        let _ = pending.out().reserve(0..REPORT_ROOM);
    }
}

/// What the parts of a capture share.
struct Capture<'a> {
    context: &'a Context,
    config: &'a Config,
    dir: &'a dyn Place,
    names: Names,
    seal: Option<&'a Seal>,
    /// The files go to another machine.
    far: bool,
    beat: Beat,
}

impl Capture<'_> {
    /// Does what may have to wait for a server's disk.
    fn waiting<T>(&self, then: impl FnOnce() -> T) -> T {
        match self.far {
            true => self.beat.during(then),
            false => then(),
        }
    }

    /// The log before the memory, unless the log has ended captures: then the memory comes first, and the log after it once more.
    fn save(&self, kernel: &DeadKernel, report: &mut Report, earlier: Option<&Report>) -> Outcome {
        let victims = log::victims();
        let context = self.context;
        if victims == 0 || context.log_only && victims == 1 {
            self.save_dmesg(kernel, report, earlier);
        } else {
            report.warn(
                "a capture ended while it saved the dead kernel's log: the memory was saved before the log",
            );
        }
        if context.log_only {
            return log_alone(report);
        }
        // Whatever hides the report, the memory can have its turn.
        if let Err(why) = save(context, self.dir, report) {
            report.warn(&why);
        }
        context.progress(0, 0);
        report.outcome = self.save_vmcore(kernel, report);
        if victims == 1 {
            let Outcome { status, .. } = report.outcome;
            let _ = save(context, self.dir, report);
            context.result(status, report.pages.kept, report.bytes, &report.dir);
            context.progress(0, 0);
            self.save_dmesg(kernel, report, earlier);
        }
        std::mem::take(&mut report.outcome)
    }
}
