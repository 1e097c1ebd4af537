//! PID 1 of the production guest in the panic tests: makes the workload, arms, panics.
//!
//! In a capture kernel the same program copies `/proc/vmcore` unfiltered; see the README beside it.

mod arm;
mod raw;
mod sentinel;
mod setup;
mod sys;
mod words;
mod workload;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::sync;

use crate::sentinel::Class;
use crate::words::{Arm, Panic, Words};

/// Where the panicking task keeps its known string.
const TASK_ADDRESS: usize = 0x5ea1_0000_0000;
/// The known string.
const TASK_STRING: &str = "baredump: a page of the panicking task";
/// First argument of the child that panics.
const TASK_ARGUMENT: &str = "sentinel-task";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match arguments.next().as_deref() {
        Some(TASK_ARGUMENT) => {
            panicking_task(arguments.next().and_then(|count| count.parse().ok()))
        }
        _ if std::process::id() != 1 => Err(anyhow::anyhow!(
            "this is PID 1 of a test guest; it does nothing elsewhere"
        )),
        _ => guest(),
    };
    if let Err(error) = result {
        say(&format!("failed: {error:#}"));
    }
    if std::process::id() == 1 {
        end(RebootMode::RB_POWER_OFF);
    }
    // Only the panicking task and a mistaken call come here: both have failed.
    ExitCode::FAILURE
}

fn guest() -> Result<()> {
    setup::mounts()?;
    let (words, unknown) = Words::parse(&fs::read_to_string("/proc/cmdline")?);
    for word in unknown {
        say(&format!("unknown word {word}"));
    }
    fs::write("/proc/sys/kernel/hostname", &words.host).context("cannot set the host name")?;
    setup::modules()?;
    if Path::new("/proc/vmcore").exists() {
        if let Err(error) = raw::copy(&words.raw) {
            say(&format!("raw copy failed: {error:#}"));
        }
        end(RebootMode::RB_AUTOBOOT);
    }
    if let Some(disk) = &words.disk {
        setup::disk(disk)?;
    }
    if let Some(watchdog) = &words.watchdog {
        setup::watchdog(watchdog)?;
    }
    if words.workload {
        workload::run(&words);
    }
    if !arm(&words) {
        return Ok(());
    }
    sync();
    match words.panic {
        Panic::None => Ok(()),
        Panic::Sysrq => start_panicking_task(if words.workload { words.sentinels } else { 0 }),
    }
}

/// Whether the machine may panic: without the capture kernel that was asked for it would only hang.
fn arm(words: &Words) -> bool {
    let result = match words.arm {
        Arm::No => return true,
        Arm::Baredumpctl => arm::baredumpctl(&words.arm_args),
        Arm::Raw => arm::raw(&words.raw, &words.arm_args),
    };
    match &result {
        Ok(()) => say("armed"),
        Err(error) => say(&format!("arm failed: {error:#}")),
    }
    result.is_ok()
}

/// Starts the task that panics, and sleeps: the maps of the workload are this process's.
fn start_panicking_task(count: u32) -> Result<()> {
    let status = Command::new("/proc/self/exe")
        .arg(TASK_ARGUMENT)
        .arg(count.to_string())
        .status()?;
    anyhow::bail!("the panicking task ended: {status}")
}

/// Maps the known string, makes the free pages, panics.
fn panicking_task(count: Option<u32>) -> Result<()> {
    nix::sys::prctl::set_name(c"sentinel")?;
    let mut map = sys::Map::at(TASK_ADDRESS, sys::PAGE)?;
    map.bytes()[..TASK_STRING.len()].copy_from_slice(TASK_STRING.as_bytes());
    say(&format!(
        "panic task pid {} uaddr {:#x} text {TASK_STRING}",
        std::process::id(),
        map.address()
    ));
    if let Some(count) = count.filter(|&count| count > 0) {
        workload::report(Class::Free, workload::free(count));
    }
    if let Ok(module) = File::open("/etc/guest/oops.ko") {
        fs::write("/proc/sys/kernel/panic_on_oops", "1").context("cannot set panic_on_oops")?;
        say("panicking now");
        finit_module(&module, c"", ModuleInitFlags::empty()).context("cannot load oops.ko")?;
        anyhow::bail!("the module did not oops")
    }
    let mut trigger = OpenOptions::new()
        .write(true)
        .open("/proc/sysrq-trigger")
        .context("cannot open sysrq-trigger")?;
    say("panicking now");
    trigger.write_all(b"c")?;
    sleep(Duration::from_secs(5));
    anyhow::bail!("the kernel did not panic")
}

/// Says one line, through the kernel's log: it then never mixes with the kernel's own lines, and is in the dump.
fn say(text: &str) {
    // Each opening has a rate limit of its own, so that no line is lost.
    let kmsg = OpenOptions::new().write(true).open("/dev/kmsg");
    let line = format!("<1>guest: {text}\n");
    if kmsg
        .and_then(|mut kmsg| kmsg.write_all(line.as_bytes()))
        .is_err()
    {
        println!("guest: {text}");
    }
}

/// Ends the machine. PID 1 must not return: the kernel would panic.
fn end(mode: RebootMode) -> ! {
    sync();
    let error = reboot(mode);
    loop {
        say(&format!("reboot failed: {error:?}"));
        sleep(Duration::from_secs(60));
    }
}
