//! A step dies or hangs. A fault in the first attempt only is survived: the second one, in `capture` with more care, completes the dump. A fault in
//! every attempt leaves a partial dump under its incomplete name. Either way the end of the step is recorded, the log saved, the machine reset.

use super::{Bench, Scenario, all_good, finished, only_dump};
use crate::check::{files, log_file, read_report, report};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, Run};
use anyhow::{Result, bail};
use serde_json::Value;

/// Scenario, step, fault word, and what report.json must say of the attempt.
const FAULTS: &[(&str, &str, &str, &str, &str)] = &[
    ("fault-kill", "capture", "kill@50", "died", "SIGKILL"),
    ("fault-segv", "capture", "segv@50", "died", "SIGSEGV"),
    ("fault-oom", "capture", "oom@50", "died", "out of memory"),
    ("fault-hang", "capture", "hang@50", "hung", "no progress"),
    (
        "fault-kill-always",
        "capture",
        "kill!@50",
        "died",
        "SIGKILL",
    ),
    (
        "fault-segv-always",
        "capture",
        "segv!@50",
        "died",
        "SIGSEGV",
    ),
    (
        "fault-oom-always",
        "capture",
        "oom!@50",
        "died",
        "out of memory",
    ),
    (
        "fault-hang-always",
        "capture",
        "hang!@50",
        "hung",
        "no progress",
    ),
    ("fault-config", "config", "kill", "died", "SIGKILL"),
    ("fault-report", "report", "segv", "died", "SIGSEGV"),
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let log = Scenario {
        name: "fault-log-always",
        series: MAIN_SERIES,
        guest: guest("capture-log", "kill!"),
        setup: None,
        judge: without_log,
    };
    FAULTS
        .iter()
        .map(|(name, step, word, ..)| Scenario {
            name,
            series: MAIN_SERIES,
            guest: guest(step, word),
            setup: None,
            judge,
        })
        .chain([log])
        .collect()
}

/// The log ends every capture that reads it: the second one saves the memory before it tries.
fn without_log(bench: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    report(&dump, "complete")?;
    let warned = read_report(&dump)?.to_string();
    if !warned.contains("ended while it saved the dead kernel's log") {
        bail!("report.json does not say why there is no log: {warned}");
    }
    if files(&dump)?.iter().any(|name| name == "vmcore-dmesg.txt") {
        bail!("there is a log, of which nothing was read");
    }
    bench.judges.verify(&dump.join("vmcore"))
}

/// A small machine whose step fails; `capture` when half of the pages are written.
fn guest(step: &str, word: &str) -> Guest {
    let mut guest = Guest {
        memory: 768,
        words: "guest.workload=0".into(),
        ..Guest::default()
    };
    guest
        .config
        .push_str("stall = \"5s\"\ndeadline = \"90s\"\n");
    guest.capture_words = vec![format!("baredump.fault={step}:{word}")];
    guest
}

fn judge(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    let Some((_, step, word, result, reason)) =
        FAULTS.iter().find(|(name, ..)| run.dir.ends_with(name))
    else {
        bail!("{} is in no table of faults", run.dir.display());
    };
    let said = attempt(&read_report(&dump)?, step, result, reason)?;
    if !word.contains('!') {
        all_good(bench, &dump, kernel)?;
        return Ok(format!("first {step} {result} ({said}), second complete"));
    }
    report(&dump, "partial")?;
    log_file(&dump)?;
    // Each attempt keeps what it wrote: vmcore-incomplete, vmcore-incomplete-1.
    let found = files(&dump)?;
    let incomplete = found
        .iter()
        .filter(|name| name.starts_with("vmcore-incomplete"))
        .count();
    if incomplete == 0 || found.iter().any(|name| name == "vmcore") {
        bail!("the directory of a partial dump holds {}", found.join(" "));
    }
    Ok(format!("every attempt {result} ({said}), partial"))
}

/// The reason of a step's attempt that ended as it must.
fn attempt(report: &Value, step: &str, result: &str, reason: &str) -> Result<String> {
    let attempts = report
        .pointer("/attempts")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let text = |attempt: &Value, key: &str| {
        attempt
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let matches = |attempt: &&Value| {
        text(attempt, "step") == step
            && text(attempt, "result") == result
            && text(attempt, "reason").contains(reason)
    };
    match attempts.iter().find(matches) {
        Some(attempt) => Ok(text(attempt, "reason")),
        None => bail!(
            "report.json has no attempt of {step} that {result} with `{reason}`: {}",
            Value::from(attempts)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_in_a_report() {
        let report = serde_json::json!({"attempts": [
            {"step": "capture", "result": "died", "reason": "killed by SIGKILL"},
            {"step": "capture", "result": "ok", "reason": null},
        ]});
        assert_eq!(
            attempt(&report, "capture", "died", "SIGKILL").unwrap(),
            "killed by SIGKILL"
        );
        assert!(attempt(&report, "capture", "died", "SIGSEGV").is_err());
        assert!(attempt(&serde_json::json!({}), "capture", "died", "").is_err());
    }
}
