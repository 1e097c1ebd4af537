//! A capture kernel without help: no console, or one that takes nothing; a panic of its own; a watchdog that must be fed, and one that
//! must not be.

use super::{Bench, Scenario, Servers, all_good, finished, only_dump};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, PANIC, Run};
use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use qemu::Outcome;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// The cloud kernel of this series has the driver of QEMU's watchdog, which waits 30 s.
const WATCHDOG_SERIES: &str = "6.12.";
const WATCHDOG: &str = "i6300esb";
const WAITS: Duration = Duration::from_secs(30);
/// Seconds for which the first capture hangs: the watchdog would not wait so long.
const STALL: u64 = 40;
/// From a module that spins to the reset: 20 s, the next look of the kernel, a panic; 27 s here, on a busy host 48.
const LOCKED: Duration = Duration::from_secs(90);
/// From the panic of the capture kernel to the reset, on a busy host.
const RESET: Duration = Duration::from_secs(8);

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |name, series, guest, judge| Scenario {
        name,
        series,
        guest,
        setup: None,
        judge,
    };
    let silent = |console| Guest {
        memory: 768,
        words: "guest.workload=0".into(),
        capture_console: Some(console),
        ..Guest::default()
    };
    let fault = |word: &str| Guest {
        memory: 768,
        words: "guest.workload=0".into(),
        capture_words: vec![format!("baredump.fault={word}")],
        ..Guest::default()
    };
    let watched = |word| {
        let mut guest = fault(word);
        guest.capture_modules = vec![WATCHDOG.into(), "virtio_blk".into()];
        guest.modules = &[WATCHDOG];
        guest.extra = ["-device", WATCHDOG].map(Into::into).to_vec();
        guest.words.push_str(" guest.watchdog=/dev/watchdog");
        guest.config.push_str(&format!("stall = \"{STALL}s\"\n"));
        guest.limit = Duration::from_secs(240);
        guest
    };
    let spinning = Guest {
        capture_modules: vec!["virtio_blk".into(), "virtio_console".into()],
        spins: Some("virtio_console"),
        memory: 768,
        words: "guest.workload=0".into(),
        ..Guest::default()
    };
    vec![
        scenario("capture-locks-up", MAIN_SERIES, spinning, unlocked as _),
        // Its driver is a module that the image does not have.
        scenario("console-none", MAIN_SERIES, silent("hvc0"), unseen),
        Scenario {
            setup: Some(Box::new(stuck)),
            ..scenario("console-stuck", MAIN_SERIES, silent("ttyS1"), unseen)
        },
        scenario(
            "capture-panics",
            MAIN_SERIES,
            fault("pid1:abort"),
            restarted,
        ),
        scenario(
            "watchdog-fed",
            WATCHDOG_SERIES,
            watched("capture:hang"),
            fed,
        ),
        scenario(
            "watchdog-resets",
            WATCHDOG_SERIES,
            watched("pid1:hang"),
            reset,
        ),
    ]
}

/// A second serial port whose reader has stopped to read.
fn stuck(_: &Bench<'_>, dir: &Path, guest: &mut Guest) -> Result<Servers> {
    let pipe = dir.join("stuck");
    let ends = ["stuck.in", "stuck.out"].map(|name| dir.join(name));
    for end in &ends {
        mkfifo(end, Mode::S_IRWXU).with_context(|| end.display().to_string())?;
    }
    let options = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(&ends[1]);
    let mut full = options?;
    loop {
        match full.write(&[b'.'; 4096]) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) => return Err(e.into()),
        }
    }
    for word in [
        "-chardev",
        &format!("pipe,id=stuck,path={}", pipe.display()),
        "-serial",
        "chardev:stuck",
    ] {
        guest.extra.push(word.into());
    }
    Ok(vec![Box::new(full)])
}

/// Nobody saw the capture, but the dump is there and the machine was reset.
fn unseen(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    if run.outcome != Outcome::NoCapture {
        bail!(
            "expected a capture without a console, found: {}",
            run.outcome
        );
    }
    let panic = at(run, PANIC)?;
    let limit = Guest::default().limit;
    ensure!(run.took < limit, "no reset in {} s", limit.as_secs());
    all_good(bench, &only_dump(run)?, kernel)?;
    let took = run.took.saturating_sub(panic);
    Ok(format!(
        "complete, reset {:.1} s after the panic",
        took.as_secs_f64()
    ))
}

/// The capture kernel panicked, and the machine was reset soon after.
fn restarted(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    let Outcome::CapturePanic(line) = &run.outcome else {
        bail!("the capture kernel did not panic: {}", run.outcome);
    };
    let took = run.took.saturating_sub(at(run, "Attempted to kill init")?);
    ensure!(
        took < RESET,
        "reset {:.1} s after: {line}",
        took.as_secs_f64()
    );
    Ok(format!(
        "reset {:.1} s after the second panic",
        took.as_secs_f64()
    ))
}

/// The capture kernel found out that it is stuck.
fn unlocked(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    let Outcome::CapturePanic(line) = &run.outcome else {
        bail!("the capture kernel did not panic: {}", run.outcome);
    };
    ensure!(line.contains("softlockup"), "another panic: {line}");
    let took = run.took.saturating_sub(at(run, "step modules started")?);
    ensure!(
        took < LOCKED,
        "reset {:.1} s after: {line}",
        took.as_secs_f64()
    );
    Ok(format!(
        "reset {:.1} s after a module began to spin",
        took.as_secs_f64()
    ))
}

/// The capture took longer than the watchdog waits.
fn fed(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    all_good(bench, &only_dump(run)?, kernel)?;
    let took = run.took.saturating_sub(at(run, FED)?);
    ensure!(
        took > WAITS + WAITS / 4,
        "the capture did not hang, so that the watchdog had no reason"
    );
    Ok(format!(
        "complete in {:.1} s beside a watchdog",
        took.as_secs_f64()
    ))
}

/// What a watchdog's child says.
const FED: &str = "baredump: watchdog /dev/watchdog0 is fed, it resets after 30 s";

/// PID 1 hung, and the watchdog was not fed any more.
fn reset(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    let Outcome::Emulator(text) = &run.outcome else {
        bail!("expected a reset without a word, found: {}", run.outcome);
    };
    at(run, FED)?;
    let took = run
        .took
        .saturating_sub(at(run, "baredump: step capture started")?);
    // Less would be a fault of the emulator.
    ensure!(
        took > WAITS / 2 && took < WAITS * 2,
        "{:.1} s after PID 1 hung: {text}",
        took.as_secs_f64()
    );
    Ok(format!(
        "reset {:.1} s after PID 1 hung",
        took.as_secs_f64()
    ))
}

/// When the last line with these words came.
fn at(run: &Run, words: &str) -> Result<Duration> {
    let mut last = run.lines.iter().rev();
    let found = last.find(|line| line.text.contains(words));
    let found = found.with_context(|| format!("the console has no line with `{words}`"))?;
    Ok(found.at)
}
