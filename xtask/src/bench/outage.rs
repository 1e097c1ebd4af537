//! `bench --outage`: how long a machine is down, from its panic to its reset, with the phases.

use super::bars::Bar;
use super::figures::Spread;
use crate::apt::Apt;
use crate::fetch::{self, MAIN_SERIES};
use crate::guest::{self, Guest, Run};
use crate::lab::{Lab, say, step};
use crate::setup::Need;
use crate::{build, setup, timeline, vm};
use anyhow::{Context, Result, bail};
use qemu::Outcome;
use qemu::outcome::ATTEMPTS;
use std::path::Path;
use xshell::Shell;

/// Panics of each kind, when nothing else is said.
pub(super) const RUNS: usize = 3;
/// What Debian's kdump-tools take on the same machine: 53 to 58 s, the least is taken.
const KDUMP_TOOLS: f64 = 53.0;
/// The codecs, and the largest share of that time that is good.
const CODECS: [(&str, f64); 2] = [("zstd", 0.20), ("zstd-fast", 0.15)];

/// Panics, and prints medians.
///
/// # Errors
/// When a capture does not come to its end.
pub(super) fn run(sh: &Shell, lab: &Lab, runs: usize) -> Result<()> {
    setup::run(sh, Need::Host)?;
    step("a Debian cloud kernel");
    let kernel = fetch::kernel(&Apt::open(lab)?, MAIN_SERIES)?;
    let accel = kernel.accel(lab)?;
    let binaries = build::host(sh, lab)?;
    let default = Guest::default();
    step(&format!(
        "{runs} panics of {} for each codec in turn, {} CPU, {} MB, {}",
        kernel.release,
        default.cpus,
        default.memory,
        accel.name()
    ));
    let mut of_codec = CODECS.map(|_| Vec::new());
    for _ in 0..runs {
        for ((codec, _), found) in CODECS.iter().zip(&mut of_codec) {
            let guest = Guest {
                capture_words: vec![format!("baredump.compress={codec}")],
                ..Guest::default()
            };
            let run = complete(lab, |dir| {
                guest::run(&guest, &kernel, &binaries, accel, dir, &mut |_| {})
            })?;
            found.push(timeline::moments(&run.lines));
            run.forget_disk();
        }
    }
    for ((codec, most), runs) in CODECS.into_iter().zip(&of_codec) {
        say(&format!("compress = {codec}: seconds after the panic line"));
        for moment in runs.first().context("no runs")? {
            let of = |run: &Vec<timeline::Moment>| {
                let same = run.iter().find(|other| other.name == moment.name);
                same.map(|moment| moment.after.as_secs_f64())
            };
            let spread = Spread::seconds(runs.iter().filter_map(of));
            say(&format!("  {:<16} {spread}", moment.name));
        }
        let totals = runs.iter().filter_map(|run| timeline::total(run));
        let total = Spread::seconds(totals.map(|time| time.as_secs_f64()));
        let ratio = total.middle / KDUMP_TOOLS;
        let bar = Bar {
            figure: "outage",
            most,
        };
        say(&format!(
            "  of kdump-tools' {KDUMP_TOOLS} s: {ratio:.3}  {}",
            bar.judge(ratio)
        ));
    }
    Ok(())
}

/// A run that came to its end; repeated when the emulator killed the guest.
fn complete(lab: &Lab, mut attempt: impl FnMut(&Path) -> Result<Run>) -> Result<Run> {
    let mut runs = 0;
    loop {
        runs += 1;
        let run = attempt(&lab.fresh("runs/bench")?)?;
        if run.outcome == Outcome::Finished {
            return Ok(run);
        }
        if runs == ATTEMPTS || !run.outcome.repeatable() {
            vm::show_tail(&run.dir.join("console.log"));
            bail!("the capture failed: {}", run.outcome);
        }
        say(&format!("{}; once more", run.outcome));
    }
}
