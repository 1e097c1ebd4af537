//! Writes the final `report.json` of one target from what the capture step and PID 1 know.

use super::mount::{reached_fact, warnings_fact};
use super::names::{Names, REPORT};
use super::seal::log_is_sealed;
use super::{Context, End, access, alive, load, load_plan, network, spec};
use crate::init::protocol::read_supervisor;
use crate::manifest::checksum;
use crate::report::{Attempt, FileEntry, Outcome, Report, Status, bounded};
use crate::target::{Place, Reached, TargetSpec, dir_name};
use std::io::Read;

pub(super) fn run(context: &Context) -> Result<End, String> {
    let plan = load_plan()?;
    let reached: Reached = load(&reached_fact(context.target))?;
    let mut text = String::new();
    let _ = std::io::stdin().take(65536).read_to_string(&mut text);
    let (attempts, memory) = read_supervisor(&text);

    let target = spec(&plan.config.targets, context.target)?;
    if !target.holds_files() {
        return Ok(End::Done);
    }
    if last_capture(&attempts, context.target).is_some_and(|last| last.result != "ok") {
        alive::still(&reached)?;
    }
    let access = access::of(&plan.config, context.target);
    let mut report = load(&report_fact(context.target)).unwrap_or_else(|_| Report {
        target: target.to_string(),
        boot_id: plan.config.boot_id.clone(),
        machine_id: plan.config.machine_id.clone(),
        ..Report::default()
    });
    let dir = open(&reached, target, &access, &report).map_err(|e| e.to_string())?;
    let dir = dir.as_ref();
    report.at(dir);
    let sealed = !plan.config.recipients.is_empty();
    let names = Names::of(
        !dir.manners().any_offset,
        sealed,
        log_is_sealed(&plan.config),
    );
    // What the capture has said of its files stands where nobody may look.
    let sees = dir.can_look();
    let safe = settle(&names, dir);
    if sees || report.outcome.status == Status::Started {
        let size = |name: &str| dir.size(name).filter(|_| sees);
        let whole = dir.names_whole();
        let mut judged = outcome(
            &names,
            &report.outcome,
            whole,
            &attempts,
            context.target,
            &size,
        );
        if judged.status == Status::Partial
            && let Err(why) = safe
        {
            let reason = judged.reason.unwrap_or_default();
            judged.reason = Some(bounded(&format!("{why}; before: {reason}")));
        }
        conclude(&mut report, judged);
    }
    report.memory = memory;
    report.attempts = attempts;
    if sees {
        list_files(&mut report, &names, dir);
    } else {
        report.warn(
            "this machine may not look at what is there: the files are listed as they were sent",
        );
    }
    report.network = network::up(context.target);
    let modules: Vec<String> = load("modules").unwrap_or_default();
    let mount: Vec<String> = load(&warnings_fact(context.target)).unwrap_or_default();
    for warning in plan.warnings.iter().chain(&modules).chain(&mount) {
        report.warn(warning);
    }
    let json = report.to_json().map_err(|e| e.to_string())?;
    dir.replace(REPORT, json.as_bytes())
        .map_err(|e| e.to_string())?;
    context.result(
        report.outcome.status,
        report.pages.kept,
        report.bytes,
        &report.dir,
    );
    Ok(End::Done)
}

/// Puts the outcome that the files show in the place of what the capture said, whose reason is not lost: the sync of the directory
/// may have failed after the rename.
fn conclude(report: &mut Report, judged: Outcome) {
    let said = std::mem::replace(&mut report.outcome, judged);
    if report.outcome.status == Status::Complete
        && let Some(reason) = said.reason
    {
        report.warn(&reason);
    }
}

/// What a capture that died has left in the page cache is no evidence yet.
fn settle(names: &Names, dir: &dyn Place) -> Result<(), String> {
    let vmcores = names.vmcores();
    let mut incomplete = vmcores.iter().filter(|name| **name != names.vmcore);
    let settled = incomplete.try_for_each(|name| dir.settle(name));
    settled.map_err(|e| e.to_string())
}

/// The fact that holds the report of a target so far.
pub(super) fn report_fact(target: u8) -> String {
    format!("report-{target}")
}

/// The capture's directory, or a new one when it came not so far.
fn open(
    reached: &Reached,
    target: &TargetSpec,
    access: &crate::target::Access,
    report: &Report,
) -> Result<Box<dyn Place>, crate::target::TargetError> {
    if report.dir.is_empty() {
        let name = dir_name(
            report.host.as_deref(),
            report.crash_time,
            report.boot_id.as_deref(),
        );
        return reached.create(target, access, &name);
    }
    reached.open(target, access, &report.dir)
}

/// What the files say, where the capture step did not live to say it: a file under its final name is complete, if that `means_whole`,
/// and an incomplete one is a dump that lacks pages.
fn outcome(
    names: &Names,
    said: &Outcome,
    means_whole: bool,
    attempts: &[Attempt],
    target: u8,
    size: &dyn Fn(&str) -> Option<u64>,
) -> Outcome {
    let whole = means_whole || said.status == Status::Complete;
    if whole && size(&names.vmcore).is_some() {
        return Outcome {
            status: Status::Complete,
            reason: None,
        };
    }
    let last = last_capture(attempts, target);
    let reason = said
        .reason
        .clone()
        .or_else(|| last.and_then(|a| a.reason.clone()));
    let some = names
        .vmcores()
        .iter()
        .any(|name| size(name).is_some_and(|bytes| bytes > 0));
    let status = if some {
        Status::Partial
    } else {
        Status::Failed
    };
    Outcome {
        status,
        reason: Some(bounded(
            &reason.unwrap_or_else(|| "the capture step ended without a word".into()),
        )),
    }
}

fn last_capture(attempts: &[Attempt], target: u8) -> Option<&Attempt> {
    let mut last = attempts.iter().rev();
    last.find(|a| a.step == "capture" && a.target == target)
}

fn list_files(report: &mut Report, names: &Names, dir: &dyn Place) {
    let mut known = std::mem::take(&mut report.files);
    known.extend(report.joined.take());
    let sum = |name: &str, bytes: u64| {
        let known = known.iter().find(|f| f.name == name && f.bytes == bytes);
        known.and_then(checksum)
    };
    let (vmcores, mut vmcore) = (names.vmcores(), None);
    let logs = [names.dmesg.clone(), names.dmesg_incomplete()];
    for name in logs.iter().chain(&vmcores) {
        let mut parts = dir.parts(name);
        let Some(first) = parts.first().map(|part| part.name.clone()) else {
            continue;
        };
        let bytes = parts.iter().map(|part| part.bytes).sum();
        for part in &mut parts {
            part.crc32 = part.crc32.or_else(|| sum(&part.name, part.bytes));
        }
        let whole = FileEntry::new(&first, bytes, sum(&first, bytes));
        report.file_in_parts(whole, &parts);
        if vmcores.contains(name) {
            vmcore.get_or_insert(bytes);
        }
    }
    report.bytes = vmcore.unwrap_or(report.bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{DumpDir, Mounted, SplitDir};

    #[test]
    fn files_speak_for_a_dead_capture() {
        let died = Attempt {
            step: "capture".into(),
            target: 1,
            result: "died".into(),
            reason: Some("SIGKILL".into()),
            ms: 1,
        };
        let started = Outcome::default();
        let judge_at = |whole: bool, said: &Outcome, files: &[(&str, u64)]| {
            let size = |name: &str| {
                files
                    .iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, bytes)| *bytes)
            };
            outcome(
                &Names::of(false, false, false),
                said,
                whole,
                std::slice::from_ref(&died),
                1,
                &size,
            )
        };
        let judge = |said: &Outcome, files: &[(&str, u64)]| judge_at(true, said, files);
        let partial = Outcome {
            status: Status::Partial,
            reason: Some("SIGKILL".into()),
        };
        assert_eq!(
            judge(&started, &[]),
            Outcome {
                status: Status::Failed,
                ..partial.clone()
            }
        );
        assert_eq!(
            judge(&started, &[("vmcore-incomplete", 0)]).status,
            Status::Failed
        );
        assert_eq!(judge(&started, &[("vmcore-incomplete", 9)]), partial);
        assert_eq!(judge(&started, &[("vmcore-incomplete-1", 9)]), partial);
        assert_eq!(judge(&started, &[("vmcore-incomplete-2", 9)]), partial);
        assert_eq!(
            judge(&started, &[("vmcore", 9)]),
            Outcome {
                status: Status::Complete,
                reason: None
            }
        );
        // Where nothing is renamed a file that was cut off has its final name too.
        assert_eq!(judge_at(false, &started, &[("vmcore", 9)]), partial);
        let complete = Outcome {
            status: Status::Complete,
            reason: None,
        };
        assert_eq!(judge_at(false, &complete, &[("vmcore", 9)]), complete);
        assert_eq!(judge_at(false, &complete, &[]).status, Status::Failed);
        let full = Outcome {
            status: Status::Partial,
            reason: Some("disk full".into()),
        };
        assert_eq!(judge(&full, &[("vmcore-incomplete", 9)]), full);
    }

    #[test]
    fn the_reason_of_a_doubtful_dump_is_kept() {
        let outcome = |status, reason: Option<&str>| Outcome {
            status,
            reason: reason.map(str::to_owned),
        };
        let mut report = Report {
            outcome: outcome(Status::Partial, Some("cannot sync /a")),
            ..Report::default()
        };
        conclude(&mut report, outcome(Status::Complete, None));
        assert_eq!(report.outcome.status, Status::Complete);
        assert_eq!(report.warnings, ["cannot sync /a"]);
        conclude(&mut report, outcome(Status::Partial, Some("full")));
        assert_eq!(report.warnings.len(), 1);
    }

    #[test]
    fn files_are_listed_with_the_checksums_that_are_known() {
        let mount = tempfile::tempdir().unwrap();
        let dir = DumpDir::create(&Mounted::at(mount.path()), "/", "a").unwrap();
        dir.replace("vmcore-dmesg.txt", b"log").unwrap();
        dir.replace("vmcore", b"dump").unwrap();
        let mut report = Report::default();
        report.file(FileEntry::new("vmcore-dmesg.txt", 3, Some(7)));
        report.file(FileEntry::new("vmcore-incomplete", 2, Some(7)));
        list_files(&mut report, &Names::of(false, false, false), &dir);
        let listed: Vec<_> = report
            .files
            .iter()
            .map(|f| (&*f.name, f.bytes, f.crc32.is_some()))
            .collect();
        assert_eq!(
            listed,
            [("vmcore-dmesg.txt", 3, true), ("vmcore", 4, false)]
        );
        assert_eq!(report.bytes, 4);
    }

    #[test]
    fn parts_are_listed_and_the_checksum_is_that_of_the_whole() {
        let mount = tempfile::tempdir().unwrap();
        let dir = DumpDir::create(&Mounted::at(mount.path()), "/", "a").unwrap();
        let dir = SplitDir::with_limit(dir, 4);
        dir.replace("vmcore-dmesg.txt", b"log").unwrap();
        dir.replace("vmcore", b"the dump").unwrap();
        let mut report = Report::default();
        report.file(FileEntry::new("vmcore-dmesg.txt", 3, Some(7)));
        let whole = FileEntry::new("vmcore", 8, Some(9));
        report.file_in_parts(whole.clone(), &dir.parts("vmcore"));
        for _ in 0..2 {
            list_files(&mut report, &Names::of(false, false, false), &dir);
            let files = [
                FileEntry::new("vmcore-dmesg.txt", 3, Some(7)),
                FileEntry::new("vmcore", 4, None),
                FileEntry::new("vmcore.2", 4, None),
            ];
            assert_eq!((&*report.files, report.bytes), (files.as_slice(), 8));
            assert_eq!(report.joined.as_ref(), Some(&whole));
        }
        dir.replace("vmcore", b"x").unwrap();
        list_files(&mut report, &Names::of(false, false, false), &dir);
        assert_eq!((report.files.len(), report.joined), (2, None));
    }
}
