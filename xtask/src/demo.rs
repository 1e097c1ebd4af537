//! `demo`: one panic of a real kernel, from nothing to a dump that `crash` opens, shown while it happens.

use crate::apt::Apt;
use crate::check::{Judges, read_report};
use crate::fetch::{self, MAIN_SERIES};
use crate::guest::{self, Guest, Run};
use crate::lab::{Lab, say, step};
use crate::setup::Need;
use crate::{build, setup, timeline, vm};
use anyhow::{Result, bail};
use qemu::{Accel, Line, Outcome};
use serde_json::Value;
use std::fs;
use std::path::Path;
use xshell::Shell;

/// Words of console lines that are shown while the machine runs.
const SHOWN: &[&str] = &[
    "guest: ",
    "baredump",
    "Kernel panic",
    "Linux version ",
    "Run /init",
    "reboot: ",
    "qemu: ",
];
/// Page counts of the report, and what they mean.
const PAGES: &[(&str, &str)] = &[
    ("total", "pages of the dead kernel"),
    ("kept", "kept"),
    ("zero", "  of them full of zeros, stored once"),
    ("unreadable", "  of them unreadable"),
    ("free", "dropped: free"),
    ("cache", "dropped: page cache"),
    ("cache_private", "dropped: private page cache"),
    ("user", "dropped: user"),
    ("hwpoison", "dropped: poisoned"),
    ("offline", "dropped: offline"),
];
/// Memory figures of the report.
const MEMORY: &[(&str, &str)] = &[
    ("total_kb", "kB in all"),
    ("lowest_available_kb", "kB available at the worst moment"),
    ("peak_rss_kb", "kB, the largest step"),
];
/// Last lines of the dead kernel's log that are shown.
const LOG_LINES: usize = 12;
/// Longest line that is shown.
const WIDTH: usize = 110;

/// Shows everything.
///
/// # Errors
/// When the dump does not come to be or a judge refuses it.
pub(crate) fn run(sh: &Shell, lab: &Lab) -> Result<()> {
    setup::run(sh, Need::Host)?;
    step("a Debian cloud kernel");
    let apt = Apt::open(lab)?;
    let kernel = fetch::kernel(&apt, MAIN_SERIES)?;
    let judges = Judges {
        makedumpfile: fetch::makedumpfile(&apt)?,
        binaries: build::host(sh, lab)?,
    };
    let accel = kernel.accel(lab)?;
    let guest = Guest::default();
    step(&format!(
        "panic of {} on {} CPU, {} MB, crashkernel={}, {}",
        kernel.release,
        guest.cpus,
        guest.memory,
        guest.reservation,
        accel.name()
    ));
    let run = with_one_repetition(lab, |dir| {
        guest::run(&guest, &kernel, &judges.binaries, accel, dir, &mut show)
    })?;
    if run.outcome != Outcome::Finished {
        vm::show_tail(&run.dir.join("console.log"));
        bail!("the capture failed: {}", run.outcome);
    }
    show_moments(&run, accel);
    let dump = vm::only_dump(&run)?;
    show_files(&run, &dump)?;
    show_report(&dump)?;
    show_log(&dump)?;
    step("verdicts");
    let mut refused = 0;
    for verdict in judges.complete(&dump, &kernel) {
        match verdict.said {
            Ok(said) => say(&format!("{:<26} good: {said}", verdict.judge)),
            Err(error) => {
                refused += 1;
                say(&format!("{:<26} BAD: {error:#}", verdict.judge));
            }
        }
    }
    run.forget_disk();
    say(&format!("the dump is in {}", dump.display()));
    if refused > 0 {
        bail!("{refused} judges refuse the dump")
    } else {
        Ok(())
    }
}

/// Runs once more when the emulator killed the guest.
fn with_one_repetition(lab: &Lab, mut attempt: impl FnMut(&Path) -> Result<Run>) -> Result<Run> {
    let first = attempt(&lab.fresh("runs/demo")?)?;
    if !first.outcome.repeatable() {
        return Ok(first);
    }
    say(&format!("{}; once more", first.outcome));
    attempt(&lab.fresh("runs/demo")?)
}

/// A console line, when it matters.
fn show(line: &Line) {
    if SHOWN.iter().any(|word| line.text.contains(word)) {
        say(&format!(
            "{:7.2} s  {}",
            line.at.as_secs_f64(),
            clip(&line.text)
        ));
    }
}

fn show_moments(run: &Run, accel: Accel) {
    step(&format!(
        "time line, seconds after the panic line ({})",
        accel.name()
    ));
    for moment in timeline::moments(&run.lines) {
        say(&format!(
            "{:7.2}  {}",
            moment.after.as_secs_f64(),
            moment.name
        ));
    }
}

fn show_files(run: &Run, dump: &Path) -> Result<()> {
    step(&format!(
        "dump directory {}/{}",
        guest::DUMPS,
        dump.file_name().unwrap_or_default().to_string_lossy()
    ));
    let mut entries: Vec<_> = fs::read_dir(dump)?.collect::<std::io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        say(&format!(
            "{:>12}  {}",
            entry.metadata()?.len(),
            entry.file_name().to_string_lossy()
        ));
    }
    let image = fs::metadata(run.dir.join("capture.img"))?.len();
    say(&format!("{image:>12}  (the capture image)"));
    Ok(())
}

/// Pages by class and the capture kernel's memory.
fn show_report(dump: &Path) -> Result<()> {
    let report = read_report(dump)?;
    step("pages by class");
    show_numbers(&report, "/pages", PAGES);
    step("memory of the capture kernel");
    show_numbers(&report, "/memory", MEMORY);
    Ok(())
}

/// Numbers of the report in the table's order.
fn show_numbers(report: &Value, place: &str, table: &[(&str, &str)]) {
    for (key, text) in table {
        if let Some(number) = report
            .pointer(&format!("{place}/{key}"))
            .and_then(Value::as_u64)
        {
            say(&format!("{number:>12}  {text}"));
        }
    }
}

fn show_log(dump: &Path) -> Result<()> {
    step("last lines of the dead kernel's log");
    let text = String::from_utf8_lossy(&fs::read(dump.join("vmcore-dmesg.txt"))?).into_owned();
    let lines: Vec<_> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
        say(&clip(line));
    }
    Ok(())
}

/// A line that fits.
fn clip(text: &str) -> String {
    match text.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_clipped_between_characters() {
        assert_eq!(clip("short"), "short");
        let long = clip(&"ä".repeat(WIDTH + 1));
        assert_eq!(long.chars().count(), WIDTH + 1);
        assert!(long.ends_with('…'));
    }
}
