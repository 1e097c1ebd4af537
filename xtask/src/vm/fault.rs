//! The capture step dies or hangs: the outcome is recorded, the log is saved, the machine resets.

use super::{Bench, Scenario, finished, only_dump};
use crate::check::{files, log_file, read_report};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, Run};
use anyhow::{Result, bail};
use serde_json::Value;

pub(super) fn scenarios() -> Vec<Scenario> {
    [
        ("fault-kill", "kill"),
        ("fault-segv", "segv"),
        ("fault-oom", "oom"),
        ("fault-hang", "hang"),
    ]
    .into_iter()
    .map(|(name, kind)| Scenario {
        name,
        series: MAIN_SERIES,
        guest: guest(kind),
        judge,
    })
    .collect()
}

/// A small machine whose capture step fails when half of the pages are written.
fn guest(kind: &str) -> Guest {
    let mut guest = Guest {
        memory: 768,
        words: "guest.workload=0".into(),
        ..Guest::default()
    };
    guest
        .config
        .push_str("stall = \"5s\"\ndeadline = \"90s\"\n");
    guest.capture_words = vec![format!("baredump.fault=capture:{kind}@50")];
    guest
}

/// Nothing under a final name that is not complete, the log saved, the end of the step recorded.
fn judge(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    let found = files(&dump)?;
    if found.iter().any(|name| name == "vmcore") {
        bail!("a vmcore under its final name, though the capture step failed");
    }
    log_file(&dump)?;
    let report = read_report(&dump)?;
    let status = report
        .pointer("/outcome/status")
        .and_then(Value::as_str)
        .unwrap_or("none");
    if !["failed", "partial"].contains(&status) {
        bail!("report.json has the outcome `{status}`");
    }
    let attempts = report
        .pointer("/attempts")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let wanted = if run.dir.ends_with("fault-hang") {
        "hung"
    } else {
        "died"
    };
    let ended = |attempt: &&Value| {
        attempt.pointer("/step") == Some(&"capture".into())
            && attempt.pointer("/result") == Some(&wanted.into())
    };
    let Some(attempt) = attempts.iter().find(ended) else {
        bail!(
            "report.json records no capture step that {wanted}: {}",
            Value::Array(attempts)
        );
    };
    let reason = attempt
        .pointer("/reason")
        .and_then(Value::as_str)
        .unwrap_or("no reason");
    Ok(format!(
        "{status}, capture {wanted}: {reason}; {}",
        found.join(" ")
    ))
}
