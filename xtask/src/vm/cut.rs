//! The power goes: the capture kernel is reset in the middle, and what is not on the disk by then never gets there. In the middle of the
//! dump its pages so far stay; after the capture every file is whole under its final name, on FAT too.

use super::disk::{COPY, guest, made};
use super::{Bench, Scenario, finished, only_dump};
use crate::check::{files, log_file, report};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, LABEL, Run};
use anyhow::{Context, Result, bail, ensure};
use std::process::Command;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut middle = guest(&format!("file:LABEL={LABEL}:/var/crash"));
    middle.capture_words = vec!["baredump.fault=capture:cut@80".into()];
    let end = Guest {
        drives: vec![512],
        filesystems: vec!["vfat".into()],
        capture_words: vec!["baredump.fault=report:cut".into()],
        after: format!(
            "mount -t ext4 /dev/vda /out\nmount -t vfat -o dmask=077,fmask=177 /dev/vdb /mnt\n{COPY}\numount /mnt"
        ),
        ..guest("file:LABEL=FATDUMPS:/crash")
    };
    vec![
        Scenario {
            name: "cut-middle",
            series: MAIN_SERIES,
            guest: middle,
            setup: None,
            judge: pages_so_far,
        },
        Scenario {
            name: "cut-end-vfat",
            series: MAIN_SERIES,
            guest: end,
            setup: Some(Box::new(|_, dir, _| {
                made(dir, &["mkfs.vfat", "-n", "FATDUMPS"])
            })),
            judge: whole,
        },
    ]
}

/// A good part of the pages that were copied can be read.
fn pages_so_far(bench: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    log_file(&dump)?;
    report(&dump, "started")?;
    let vmcore = dump.join("vmcore-incomplete");
    ensure!(vmcore.exists(), "there is only {}", files(&dump)?.join(" "));
    let (lost, pages) = missing(bench, &vmcore)?;
    ensure!(
        lost * 4 < pages * 3,
        "{lost} of {pages} pages are missing though a fifth was left to copy"
    );
    Ok(format!("{lost} of {pages} pages are missing"))
}

/// What our own check says of a dump that is marked incomplete: pages that are missing, and all of them.
fn missing(bench: &Bench<'_>, vmcore: &std::path::Path) -> Result<(u64, u64)> {
    let mut command = Command::new(&bench.judges.binaries.baredump);
    let out = qemu::run_tool(command.arg("verify").arg(vmcore), &[1])?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let numbers = said
        .split_once("marked incomplete: ")
        .and_then(|(_, rest)| {
            let words: Vec<_> = rest.split(' ').collect();
            Some((words.first()?.parse().ok()?, words.get(3)?.parse().ok()?))
        });
    numbers.with_context(|| format!("baredump verify says {}", said.trim()))
}

/// The report step is where the power goes: the capture's own report stands.
fn whole(bench: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    log_file(&dump)?;
    report(&dump, "complete")?;
    if files(&dump)? != ["report.json", "vmcore", "vmcore-dmesg.txt"] {
        bail!("there is {}", files(&dump)?.join(" "));
    }
    bench.judges.verify(&dump)
}
