//! Claimed partitions: a dump is recovered from one, and what is not free, not claimed or too small leads to the next target.

use super::disk::{drive, guest};
use super::{Bench, Scenario, Servers, Setup, all_good, finished, only_dump};
use crate::check::{files, log_file, read_report, report};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, LABEL, Run};
use anyhow::{Context, Result, bail, ensure};
use baredump::target::Place;
use baredump::target::raw::{RawPlace, SMALLEST, reach};
use initramfs::claim::claim;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Size of a partition that is large enough, in MiB.
const DRIVE: u64 = 512;
/// An id that no partition has.
const NOBODY: &str = "00000000000000000000000000000bad";
/// A copy of the partition with a dump that nobody has taken.
const COPY: &str = "untaken.raw";

type Judge = fn(&Bench<'_>, &Kernel, &Run) -> Result<String>;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        raw("disk-raw", true, recovered),
        raw("disk-unclaimed", false, untouched),
        Scenario {
            name: "disk-raw-full",
            series: MAIN_SERIES,
            guest: Guest {
                drives: vec![SMALLEST >> 20; 2],
                ..guest("dmesg:")
            },
            setup: Some(Box::new(|_, dir, guest| two(dir, guest))),
            judge: passed_over,
        },
    ]
}

/// A partition with a dump that nobody has taken, then one that is too small, then a disk.
fn two(dir: &Path, guest: &mut Guest) -> Result<Servers> {
    let mut targets = Vec::new();
    for (number, name) in ["vdb", "vdc"].into_iter().enumerate() {
        let file = drive(dir, number, SMALLEST >> 20)?;
        let id = claim(&file, false)?.id;
        if number == 0 {
            let raw = reach(&file, Some(&id), dir.join("ledger"))?;
            let place = RawPlace::create(&raw, "earlier")?;
            place.replace("vmcore-dmesg.txt", b"the log of an earlier crash\n")?;
            fs::copy(&file, dir.join(COPY))?;
        }
        targets.push(format!("raw:/dev/{name}?id={id}"));
    }
    targets.push(format!("file:LABEL={LABEL}:/var/crash"));
    let targets = serde_json::to_string(&targets)?;
    // Not compressed, so that it is larger than the second.
    guest.config = format!("targets = {targets}\ncompress = \"none\"\n");
    Ok(Vec::new())
}

fn raw(name: &'static str, claimed: bool, judge: Judge) -> Scenario {
    let mut guest = guest("dmesg:");
    guest.drives = vec![DRIVE];
    guest.filesystems = Vec::new();
    let setup: Box<Setup> = Box::new(move |_, dir, guest| {
        let file = drive(dir, 0, DRIVE)?;
        let id = if claimed {
            claim(&file, false)?.id
        } else {
            NOBODY.into()
        };
        guest.config = format!("targets = [\"raw:/dev/vdb?id={id}\"]\n");
        Ok(Vec::new())
    });
    Scenario {
        name,
        series: MAIN_SERIES,
        guest,
        setup: Some(setup),
        judge,
    }
}

/// The dump is taken from the partition once, and judged like any other.
fn recovered(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = recover(bench, run, "drive-0.raw", 0)?;
    let mut again = Command::new(&bench.judges.binaries.baredump);
    again
        .arg("recover")
        .arg(run.dir.join("drive-0.raw"))
        .arg(&run.dir);
    let again = qemu::run_tool(&mut again, &[2])?;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    if !said.contains("taken already") {
        bail!("a second recover says {said}");
    }
    all_good(bench, &dump, kernel)?;
    Ok("complete dump recovered from the claimed partition".into())
}

/// Not a byte of a partition that nobody claimed is written, and the console says why.
fn untouched(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let bytes = fs::read(run.dir.join("drive-0.raw"))?;
    if bytes.iter().any(|&byte| byte != 0) {
        bail!("an unclaimed partition was written to");
    }
    let said = run
        .lines
        .iter()
        .find(|line| line.text.contains("was never claimed"));
    said.map(|line| line.text.clone())
        .context("the console does not say that the partition was never claimed")
}

/// Takes the dump from a drive, with this exit code.
fn recover(bench: &Bench<'_>, run: &Run, drive: &str, code: i32) -> Result<PathBuf> {
    let out = run.dir.join("recovered");
    let mut command = Command::new(&bench.judges.binaries.baredump);
    command.arg("recover").arg(run.dir.join(drive)).arg(&out);
    qemu::run_tool(&mut command, &[code])?;
    let dump = fs::read_dir(&out)?.flatten().next();
    Ok(dump.context("no directory was recovered")?.path())
}

/// The earlier dump is as it was; the small partition has what fits; the disk has everything, and why the others have not.
fn passed_over(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    all_good(bench, &dump, kernel)?;
    let said = read_report(&dump)?.to_string();
    for word in ["it holds a dump that was not taken", "No space left"] {
        ensure!(said.contains(word), "report.json has no `{word}`: {said}");
    }
    let (before, after) = (run.dir.join(COPY), run.dir.join("drive-0.raw"));
    ensure!(
        fs::read(&before)? == fs::read(after)?,
        "a dump that nobody had taken was written to"
    );
    fs::remove_file(before)?;
    let part = recover(bench, run, "drive-1.raw", 3)?;
    let found = files(&part)?;
    ensure!(
        found == ["report.json", "vmcore-dmesg.txt", "vmcore-incomplete"],
        "recovered are {}",
        found.join(" ")
    );
    log_file(&part)?;
    report(&part, "partial")?;
    // Each file is as its report says, and the dump itself says that it lacks pages.
    let mut verify = Command::new(&bench.judges.binaries.baredump);
    let verify = qemu::run_tool(verify.arg("verify").arg(&part), &[1])?;
    let (good, bad) = (
        String::from_utf8_lossy(&verify.stdout).into_owned(),
        String::from_utf8_lossy(&verify.stderr).into_owned(),
    );
    ensure!(
        good.matches(": ok: ").count() == 2 && bad.contains("the dump is marked incomplete"),
        "verify says {good}{bad}"
    );
    let bytes = fs::metadata(part.join("vmcore-incomplete"))?.len();
    Ok(format!(
        "complete on the third, {bytes} bytes of it on the second"
    ))
}
