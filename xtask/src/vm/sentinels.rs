//! The filter at every dump level on raw vmcores of real panics: pages that say what they are, of each class of memory, are in the dump when
//! the level keeps their class and gone when it drops it.

use super::{Bench, Scenario, finished};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, Run};
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;

/// One kernel of each series, and one without KASLR and 5-level page tables on several NUMA nodes.
pub(super) fn scenarios() -> Vec<Scenario> {
    let raw = || Guest {
        reservation: "192M".into(),
        raw: true,
        ..Guest::default()
    };
    let numa = Guest {
        cpus: 4,
        nodes: 2,
        words: "nokaslr no5lvl".into(),
        ..raw()
    };
    let scenario = |name, series, guest| Scenario {
        name,
        series,
        guest,
        setup: None,
        judge,
    };
    vec![
        scenario("levels-numa-4-level", MAIN_SERIES, numa),
        scenario("levels-7", "7.", raw()),
        scenario("levels-6.12", "6.12.", raw()),
        scenario("levels-6.1", "6.1.", raw()),
        scenario("levels-5.10", "5.10.", raw()),
    ]
}

/// Dumps the raw copy at each of the 32 levels; the table stays beside the console log.
fn judge(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let vmcore = run.raw_vmcore()?;
    let binaries = &bench.judges.binaries;
    let out = qemu::run_tool(
        Command::new(&binaries.sentinels)
            .arg(&vmcore)
            .arg(&binaries.baredump),
        &[0],
    )?;
    let table = String::from_utf8_lossy(&out.stdout);
    fs::write(run.dir.join("levels.txt"), table.as_bytes())
        .context("cannot write the table of levels")?;
    let odd = table
        .lines()
        .filter(|line| line.contains(" pages "))
        .count();
    Ok(format!(
        "{}: 32 levels, 8 classes, {odd} explained exceptions",
        kernel.release
    ))
}
