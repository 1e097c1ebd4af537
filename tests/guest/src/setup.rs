//! What PID 1 does first: mounts, console, modules, the disk.

use std::fs::{self, File};
use std::os::fd::IntoRawFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};

use crate::say;

/// How long a disk may take to appear after its driver is loaded.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(20);

/// Mounts the kernel's own file systems.
pub(crate) fn mounts() -> Result<()> {
    for (kind, path) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/run"),
        ("tmpfs", "/tmp"),
    ] {
        fs::create_dir_all(path)?;
        match mount(Some(kind), path, Some(kind), MsFlags::empty(), None::<&str>) {
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot mount {kind} on {path}"));
            }
        }
    }
    // What says whether the kernel is locked down; not every kernel has it.
    let security = "/sys/kernel/security";
    if Path::new(security).exists() {
        mount(
            Some("securityfs"),
            security,
            Some("securityfs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("cannot mount securityfs on {security}"))?;
    }
    Ok(())
}

/// Loads the modules that `/etc/guest/modules` names, in that order: a path, then its parameters.
pub(crate) fn modules() -> Result<()> {
    let list = fs::read_to_string("/etc/guest/modules").unwrap_or_default();
    for line in list
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (path, parameters) = line.split_once(' ').unwrap_or((line, ""));
        let file = File::open(path).with_context(|| format!("cannot open module {path}"))?;
        let parameters = std::ffi::CString::new(parameters)?;
        match finit_module(&file, &parameters, ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot load module {path}")),
        }
    }
    Ok(())
}

/// Waits until a device node is there.
pub(crate) fn wait_for(device: &str) -> Result<()> {
    let start = Instant::now();
    while !Path::new(device).exists() {
        ensure!(
            start.elapsed() < DEVICE_TIMEOUT,
            "{device} did not appear within {DEVICE_TIMEOUT:?}"
        );
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Mounts an ext4 disk at `/mnt`.
pub(crate) fn disk(device: &str) -> Result<()> {
    wait_for(device)?;
    fs::create_dir_all("/mnt")?;
    mount(
        Some(device),
        "/mnt",
        Some("ext4"),
        MsFlags::empty(),
        None::<&str>,
    )
    .with_context(|| format!("cannot mount {device}"))?;
    say(&format!("disk {device} mounted"));
    Ok(())
}

/// Starts a watchdog, which resets the machine when its time is over: nobody feeds it, and it is never closed.
pub(crate) fn watchdog(device: &str) -> Result<()> {
    wait_for(device)?;
    let opened = File::options().write(true).open(device);
    let _ = opened
        .with_context(|| format!("cannot start {device}"))?
        .into_raw_fd();
    say(&format!("watchdog {device} started"));
    Ok(())
}
