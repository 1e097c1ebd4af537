//! Targets that cannot take the dump: no such device, no driver for it, no room on it.

use super::{Bench, Scenario, all_good, finished, only_dump};
use crate::check::{files, log_file, read_report, report};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, LABEL, PANIC, Run, UUID};
use anyhow::{Context, Result, bail};

/// A UUID that no disk has.
const ABSENT: &str = "00000000-dead-4bad-8bad-00000000f00d";

/// KiB that hold a dump and a half of the small machine.
const ROOM: u64 = 24 << 10;

pub(super) fn scenarios() -> Vec<Scenario> {
    let small = || Guest {
        memory: 768,
        words: "guest.workload=0".into(),
        ..Guest::default()
    };
    let mut missing = small();
    missing.config =
        format!("targets = [\"file:UUID={ABSENT}:/var/crash\"]\ndevice_timeout = \"3s\"\n");
    let mut second = small();
    second.config = format!(
        "targets = [\"file:UUID={ABSENT}:/var/crash\", \"file:LABEL={LABEL}:/var/crash\"]\ndevice_timeout = \"2s\"\n"
    );
    let mut module = Guest {
        capture_modules: Vec::new(),
        ..small()
    };
    module.config.push_str("device_timeout = \"3s\"\n");
    let full = Guest {
        disk: 64,
        taken: 52,
        words: "guest.workload=0 guest.disk=none".into(),
        ..small()
    };
    // Mounted once to be filled: what is left is left for files of root.
    let left = |kib: u64| {
        format!(
            "mount -t ext4 /dev/vda /mnt; cat /dev/zero > /mnt/fill || sync\ntruncate -s $(($(wc -c < /mnt/fill) - {kib} * 1024)) /mnt/fill; sync; df -k /mnt; umount /mnt"
        )
    };
    let no_log = Guest {
        disk: 64,
        before: left(24),
        ..small()
    };
    let mut once = Guest {
        disk: 256,
        before: left(ROOM),
        capture_words: vec!["baredump.fault=capture:kill@95".into()],
        ..small()
    };
    once.config.push_str("stall = \"20s\"\n");
    let scenario = |name, guest, judge| Scenario {
        name,
        series: MAIN_SERIES,
        guest,
        setup: None,
        judge,
    };
    vec![
        scenario(
            "target-missing",
            missing,
            no_device as fn(&Bench<'_>, &Kernel, &Run) -> Result<String>,
        ),
        scenario("target-second", second, next_target),
        scenario("target-no-module", module, no_module),
        scenario("target-full", full, no_room),
        scenario("target-log-full", no_log, end_of_log),
        scenario("target-room-once", once, room_for_one),
    ]
}

/// The device is named on the console, and the machine resets.
fn no_device(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    nothing_but(run, ABSENT)
}

/// The first target has no device; the dump is on the second, and the report has both attempts.
fn next_target(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    all_good(bench, &dump, kernel)?;
    let report = read_report(&dump)?.to_string();
    if !report.contains(ABSENT) {
        bail!("report.json does not say why the first target was left: {report}");
    }
    Ok("the second target holds a complete dump, the report says why".into())
}

/// The device is named on the console, and the machine resets.
fn no_module(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    nothing_but(run, UUID)
}

fn nothing_but(run: &Run, word: &str) -> Result<String> {
    finished(run)?;
    if !run.dumps()?.is_empty() {
        bail!("a dump directory on a disk that is no target");
    }
    // Only the capture kernel's part: the command line of the production kernel may name it too.
    let said = run
        .lines
        .iter()
        .rev()
        .take_while(|line| !line.text.contains("Linux version "))
        .find(|line| line.text.contains(word) && line.text.contains("baredump"));
    match said {
        Some(line) => Ok(line.text.clone()),
        None => bail!("the console does not name {word}"),
    }
}

/// A partial dump under its incomplete name, the log saved.
fn no_room(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    let found = files(&dump)?;
    if found.iter().any(|name| name == "vmcore") {
        bail!("a vmcore under its final name on a full disk");
    }
    log_file(&dump)?;
    report(&dump, "partial")?;
    Ok(found.join(" "))
}

/// Room for a part of the log: its end is there, with the panic, and a report that is final.
fn end_of_log(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    report(&dump, "failed")?;
    let log = dump.join("vmcore-dmesg-incomplete.txt");
    let text = std::fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    if !text.contains(PANIC) {
        bail!("the {} bytes of the log do not hold the panic", text.len());
    }
    Ok(format!("the last {} bytes of the log", text.len()))
}

/// The first attempt dies late, and there is no room for a second dump beside it.
fn room_for_one(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    all_good(bench, &dump, kernel)?;
    let report = read_report(&dump)?.to_string();
    if !report.contains("removed to make room") {
        bail!("there was room for both attempts: {report}");
    }
    Ok(files(&dump)?.join(" "))
}
