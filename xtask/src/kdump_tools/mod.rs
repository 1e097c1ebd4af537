//! Debian's kdump-tools in a guest of its own: unmodified for `bench --outage`, and for `test --full` with baredump in the place of
//! `/usr/bin/makedumpfile`.
//!
//! The capture side is the package's: its initramfs, systemd, its service, its way to call makedumpfile (kdump-tools 1.8 of Debian 12:
//! `--dump-dmesg`, then `-F -c -d 31` into a pipe).

mod guest;
mod root;

use crate::apt::Apt;
use crate::build::Binaries;
use crate::fetch::{Kernel, Packaged};
use crate::guest::PANIC;
use crate::lab::Lab;
use anyhow::{Context, Result, bail};
pub(crate) use guest::{CRASHKERNEL, Guest, Ran, Side, configuration};
use qemu::{Accel, Outcome};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the service says of its way to call makedumpfile, and what baredump answers there.
const DUMPING: &[&str] = &[
    "running makedumpfile -F -c -d 31 /proc/vmcore",
    " pages kept (",
];

/// The two files that the service leaves.
pub(crate) struct Saved {
    /// The flattened dump.
    pub(crate) dump: PathBuf,
    /// Seconds from the panic to the reset.
    pub(crate) seconds: f64,
}

/// Makes the guest, panics it, and takes the files out of its disk.
///
/// # Errors
/// When the guest cannot be made, or its service does not leave a dump.
pub(crate) fn capture(
    lab: &Lab,
    apt: &Apt,
    binaries: &Binaries,
    kernel: &Kernel,
    accel: Accel,
) -> Result<Saved> {
    let guest = Guest::open(lab, apt, kernel, accel)?;
    let dir = lab.fresh("runs/kdump-tools")?;
    let files = [(binaries.baredump.as_path(), "/usr/bin/makedumpfile")];
    let ran = guest.run(&dir, Side::KdumpTools, &files)?;
    let log = dir.join("console.log").display().to_string();
    if ran.outcome != Outcome::Finished {
        bail!("{}; see {log}", ran.outcome);
    }
    let at = |word: &str| ran.lines.iter().find(|line| line.text.contains(word));
    if let Some(words) = DUMPING.iter().find(|words| at(words).is_none()) {
        bail!("the console does not say `{words}`; see {log}");
    }
    let panic = at(PANIC).map(|line| line.at).unwrap_or_default();
    let saved = Saved {
        dump: saved(&ran)?,
        seconds: ran.took.saturating_sub(panic).as_secs_f64(),
    };
    ran.forget_disk();
    Ok(saved)
}

/// The dump of either side: in exactly one directory with a log and a dump, both under their final names.
///
/// # Errors
/// When there is anything else.
pub(crate) fn saved(ran: &Ran) -> Result<PathBuf> {
    let (disk, to) = (&ran.disk, ran.dir.join("saved"));
    disk.recover()?;
    let stamps: Vec<_> = disk
        .list(guest::CRASH)?
        .into_iter()
        .filter(qemu::disk::Entry::is_dir)
        .collect();
    let [stamp] = stamps.as_slice() else {
        bail!(
            "{} of the guest holds {} directories, expected one",
            guest::CRASH,
            stamps.len()
        );
    };
    let stamp = &stamp.name;
    let files = disk.read_dir(&format!("{}/{stamp}", guest::CRASH), &to)?;
    let one = |names: [&str; 2]| {
        let mut there = files.iter().map(|file| file.name.as_str());
        let found = there.find(|name| names.contains(name));
        found.map(|name| to.join(name)).with_context(|| {
            let there: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
            format!(
                "there is no {}, but {}",
                names.join(" or "),
                there.join(" ")
            )
        })
    };
    let dump = one([&format!("dump.{stamp}"), "vmcore"])?;
    let log = one([&format!("dmesg.{stamp}"), "vmcore-dmesg.txt"])?;
    let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    if !String::from_utf8_lossy(&text).contains(PANIC) {
        bail!("{} does not hold the panic line", log.display());
    }
    Ok(dump)
}

/// What others say of the dump: our own check, and crash with the kernel's debug information, which opens the flattened file itself.
///
/// # Errors
/// When one of them refuses it.
pub(crate) fn judge(
    saved: &Saved,
    binaries: &Binaries,
    crash: &Packaged,
    vmlinux: &Path,
) -> Result<String> {
    qemu::run_tool(
        Command::new(&binaries.baredump)
            .arg("verify")
            .arg(&saved.dump),
        &[0],
    )?;
    let script = saved.dump.with_file_name("crash.commands");
    fs::write(&script, "set scroll off\nsys\nbt\nps\nquit\n")
        .context("cannot write the commands for crash")?;
    let out = qemu::run_tool(
        crash
            .command()?
            .args(["-s", "-i"])
            .arg(&script)
            .arg(vmlinux)
            .arg(&saved.dump),
        &[0],
    )?;
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    println!("{text}");
    for word in ["PANIC: ", "sysrq_handle_crash", "kthreadd"] {
        if !text.contains(word) {
            bail!("the crash session holds no `{word}`");
        }
    }
    let bytes = fs::metadata(&saved.dump)?.len();
    Ok(format!(
        "{bytes} bytes, {:.1} s from panic to reset",
        saved.seconds
    ))
}
