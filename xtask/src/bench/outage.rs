//! `bench --outage`: how long a machine is down, from its panic to its reset, with baredump and with Debian's kdump-tools and its own
//! makedumpfile, in turn on the same machine.
//!
//! Each side has its usual settings: kdump-tools with `makedumpfile -F -c -d 31`, baredump with level 31 and a codec; the reservation is
//! the one that the package of Debian asks for. An outage ends when the machine resets, which QEMU answers with its own end.

use super::bars::Bar;
use super::figures::Spread;
use crate::apt::Apt;
use crate::build::Binaries;
use crate::fetch::{self, MAIN_SERIES};
use crate::guest::PANIC;
use crate::kdump_tools::{self, CRASHKERNEL, Guest, Ran, Side};
use crate::lab::{Lab, say, step};
use crate::setup::Need;
use crate::timeline::{self, Moment};
use crate::{build, setup, vm};
use anyhow::{Context, Result, bail};
use qemu::Outcome;
use qemu::outcome::ATTEMPTS;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xshell::Shell;

/// Panics of each kind, when nothing else is said.
pub(super) const RUNS: usize = 3;
/// The codecs, and the largest share of kdump-tools' time that is good.
const CODECS: [(&str, f64); 2] = [("zstd", 0.20), ("zstd-fast", 0.15)];

/// What one side did, run by run.
#[derive(Default)]
struct Done {
    moments: Vec<Vec<Moment>>,
    seconds: Vec<f64>,
    pages: Vec<f64>,
    bytes: Vec<f64>,
}

/// Panics, and prints medians.
///
/// # Errors
/// When a capture does not come to its end or leaves no dump.
pub(super) fn run(sh: &Shell, lab: &Lab, runs: usize) -> Result<()> {
    setup::run(sh, Need::Host)?;
    setup::tool(sh, "mmdebstrap", "mmdebstrap")?;
    step("a Debian machine with kdump-tools");
    let apt = Apt::open(lab)?;
    let kernel = fetch::kernel(&apt, MAIN_SERIES)?;
    let accel = kernel.accel(lab)?;
    let binaries = build::host(sh, lab)?;
    let guest = Guest::open(lab, &apt, &kernel, accel)?;
    step(&format!(
        "{runs} panics in turn of {}, 1 CPU, 1024 MB, crashkernel={CRASHKERNEL}, {}",
        kernel.release,
        accel.name()
    ));
    let mut theirs = Done::default();
    let mut ours = CODECS.map(|_| Done::default());
    for _ in 0..runs {
        let (ran, dump) = complete(lab, |dir| guest.run(dir, Side::KdumpTools, &[]))?;
        theirs.add(&ran, timeline::of_kdump_tools(&ran.lines), &dump, &binaries)?;
        for ((codec, _), done) in CODECS.iter().zip(&mut ours) {
            let (ran, dump) = complete(lab, |dir| baredump(&guest, dir, codec, &binaries))?;
            done.add(&ran, timeline::moments(&ran.lines), &dump, &binaries)?;
        }
    }
    say("kdump-tools: seconds after the panic line");
    let of_theirs = theirs.print();
    for ((codec, most), done) in CODECS.into_iter().zip(&ours) {
        say(&format!(
            "baredump, compress = {codec}: seconds after the panic line"
        ));
        let ratio = done.print().middle / of_theirs.middle;
        let bar = Bar {
            figure: "outage",
            most,
        };
        say(&format!(
            "  of kdump-tools' {:.1} s: {ratio:.3}  {}",
            of_theirs.middle,
            bar.judge(ratio)
        ));
    }
    Ok(())
}

impl Done {
    /// Takes in a run; its dump must be complete.
    fn add(
        &mut self,
        ran: &Ran,
        moments: Vec<Moment>,
        dump: &Path,
        binaries: &Binaries,
    ) -> Result<()> {
        let baredump = || Command::new(&binaries.baredump);
        qemu::run_tool(baredump().arg("verify").arg(dump), &[0])?;
        let info = qemu::run_tool(baredump().args(["info", "--json"]).arg(dump), &[0])?;
        let info: Value = serde_json::from_slice(&info.stdout).context("info is no JSON")?;
        let panic = ran.lines.iter().find(|line| line.text.contains(PANIC));
        let panic = panic.context("the console has no panic line")?.at;
        self.seconds
            .push(ran.took.saturating_sub(panic).as_secs_f64());
        self.moments.push(moments);
        self.pages
            .push(info["pages"].as_f64().context("info tells no pages")?);
        self.bytes.push(fs::metadata(dump)?.len() as f64);
        ran.forget_disk();
        Ok(())
    }

    /// Prints medians; the whole outage.
    fn print(&self) -> Spread {
        for moment in self.moments.first().into_iter().flatten() {
            let of = |run: &Vec<Moment>| {
                let same = run.iter().find(|other| other.name == moment.name);
                same.map(|moment| moment.after.as_secs_f64())
            };
            let spread = Spread::seconds(self.moments.iter().filter_map(of));
            say(&format!("  {:<16} {spread}", moment.name));
        }
        let total = Spread::seconds(self.seconds.iter().copied());
        say(&format!("  {:<16} {total}", "machine reset"));
        for (name, numbers) in [("pages", &self.pages), ("bytes", &self.bytes)] {
            let spread = Spread::bytes(numbers.iter().copied());
            say(&format!("  {name:<16} {spread}"));
        }
        total
    }
}

/// A run with baredump, which the guest makes ready as a user does.
fn baredump(guest: &Guest, dir: &Path, codec: &str, binaries: &Binaries) -> Result<Ran> {
    let config = dir.join("baredump.toml");
    fs::write(&config, kdump_tools::configuration(codec))
        .context("cannot write the configuration")?;
    let files = [
        (binaries.baredump.as_path(), "/usr/sbin/baredump"),
        (binaries.baredumpctl.as_path(), "/usr/sbin/baredumpctl"),
        (config.as_path(), "/etc/baredump.toml"),
    ];
    guest.run(dir, Side::Baredump, &files)
}

/// A run that came to its end, and its dump; repeated when the emulator killed the guest.
fn complete(lab: &Lab, attempt: impl Fn(&Path) -> Result<Ran>) -> Result<(Ran, PathBuf)> {
    let mut runs = 0;
    loop {
        runs += 1;
        let ran = attempt(&lab.fresh("runs/bench")?)?;
        if ran.outcome == Outcome::Finished {
            let dump = kdump_tools::saved(&ran)?;
            return Ok((ran, dump));
        }
        if runs == ATTEMPTS || !ran.outcome.repeatable() {
            vm::show_tail(&ran.dir.join("console.log"));
            bail!("the capture failed: {}", ran.outcome);
        }
        say(&format!("{}; once more", ran.outcome));
    }
}
