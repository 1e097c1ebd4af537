//! The virtual machines of the tests: a table of scenarios, and the runner that works it off, two machines at a time.

mod backstop;
mod cut;
mod disk;
mod fault;
mod harness;
mod ladder;
mod net;
pub(crate) mod own;
mod panic;
mod raw;
pub(crate) mod reach;
mod refused;
mod sealed;
pub(crate) use reach::arrived;
mod sentinels;
mod target;
mod told;
mod wwid;

use crate::check::{Form, Judges, Verdict};
use crate::fetch::Kernel;
use crate::guest::{self, Guest, Run};
use crate::lab::{Lab, say, step};
use anyhow::{Result, bail};
use qemu::outcome::ATTEMPTS;
use qemu::{Accel, Outcome};
use std::any::Any;
use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Machines at a time: under TCG each takes a whole processor.
const MACHINES: usize = 2;
/// Lines of the console that a failed scenario shows.
const TAIL: usize = 40;

/// A machine, and what must be true when it is done.
pub(crate) struct Scenario {
    /// Its name.
    pub(crate) name: &'static str,
    /// The kernel series.
    pub(crate) series: &'static str,
    /// The machine.
    pub(crate) guest: Guest,
    /// Makes what the machine needs around it.
    pub(crate) setup: Option<Box<Setup>>,
    /// Judges the run; gives a short fact for the table.
    pub(crate) judge: fn(&Bench<'_>, &Kernel, &Run) -> Result<String>,
}

/// Starts servers with their files in the run's directory, and tells the guest of them.
pub(crate) type Setup = dyn Fn(&Bench<'_>, &Path, &mut Guest) -> Result<Servers> + Send + Sync;

/// What runs as long as a machine, and ends in this order.
pub(crate) type Servers = Vec<Box<dyn Any>>;

/// What all scenarios share.
pub(crate) struct Bench<'a> {
    /// Where runs lie.
    pub(crate) lab: &'a Lab,
    /// Who judges dumps; holds the binaries too.
    pub(crate) judges: &'a Judges,
    /// The fetched kernels by series, each with its accelerator.
    pub(crate) kernels: &'a [(&'static str, Kernel, Accel)],
}

/// A line of the summary.
#[derive(Debug)]
pub(crate) struct Row {
    /// Check or scenario.
    pub(crate) name: String,
    /// How long it took.
    pub(crate) seconds: f64,
    /// A fact, or what is wrong.
    pub(crate) verdict: Result<String>,
    /// Whether the emulator killed a run before.
    pub(crate) repeated: bool,
}

/// All scenarios, or those of the usual test.
pub(crate) fn scenarios(full: bool) -> Vec<Scenario> {
    [
        sentinels::scenarios(),
        panic::scenarios(),
        fault::scenarios(),
        backstop::scenarios(),
        sealed::scenarios(),
        cut::scenarios(),
        target::scenarios(),
        disk::scenarios(),
        raw::scenarios(),
        wwid::scenarios(),
        refused::scenarios(),
        harness::scenarios(),
        net::scenarios(full),
        ladder::scenarios(),
        told::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs scenarios, each result printed as it comes.
pub(crate) fn run(bench: &Bench<'_>, scenarios: Vec<Scenario>) -> Vec<Row> {
    step(&format!(
        "{} virtual machines, {MACHINES} at a time",
        scenarios.len()
    ));
    let queue = Mutex::new(VecDeque::from(scenarios));
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..MACHINES {
            scope.spawn(|| {
                while let Some(scenario) = next(&queue) {
                    let row = one(bench, &scenario);
                    let mut rows = lock(&rows);
                    announce(bench, &row);
                    rows.push(row);
                }
            });
        }
    });
    rows.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The lock is held only for the look, not for the run.
fn next(queue: &Mutex<VecDeque<Scenario>>) -> Option<Scenario> {
    lock(queue).pop_front()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one scenario, and again when it failed because its guest died by itself.
fn one(bench: &Bench<'_>, scenario: &Scenario) -> Row {
    let start = Instant::now();
    let mut runs = 0;
    let verdict = loop {
        runs += 1;
        match attempt(bench, scenario) {
            Ok((kernel, run)) => {
                let verdict = (scenario.judge)(bench, kernel, &run);
                run.forget_disk();
                if verdict.is_ok() {
                    run.forget_dumps();
                }
                if verdict.is_ok() || runs == ATTEMPTS || !run.outcome.repeatable() {
                    break verdict;
                }
                let _ = fs::copy(
                    run.dir.join("console.log"),
                    run.dir.with_extension(format!("{runs}.log")),
                );
                say(&format!(
                    "{}: {} on {}; once more",
                    scenario.name, run.outcome, kernel.release
                ));
            }
            Err(error) => break Err(error),
        }
    };
    Row {
        name: scenario.name.to_owned(),
        seconds: start.elapsed().as_secs_f64(),
        verdict,
        repeated: runs > 1,
    }
}

fn attempt<'a>(bench: &'a Bench<'_>, scenario: &Scenario) -> Result<(&'a Kernel, Run)> {
    let Some((_, kernel, accel)) = bench
        .kernels
        .iter()
        .find(|(series, ..)| *series == scenario.series)
    else {
        bail!("there is no kernel {}*", scenario.series);
    };
    let dir = bench.lab.fresh(&format!("runs/{}", scenario.name))?;
    let mut guest = scenario.guest.clone();
    let servers = match &scenario.setup {
        Some(setup) => setup(bench, &dir, &mut guest)?,
        None => Servers::new(),
    };
    let run = guest::run(
        &guest,
        kernel,
        &bench.judges.binaries,
        *accel,
        &dir,
        &mut |_| {},
    )?;
    // Judges read what the servers have written.
    drop(servers);
    Ok((kernel, run))
}

/// Prints a result; of a failed one also the end of the console.
fn announce(bench: &Bench<'_>, row: &Row) {
    match &row.verdict {
        Ok(fact) => say(&format!(
            "{:<22} {:>6.1} s  ok      {fact}",
            row.name, row.seconds
        )),
        Err(error) => {
            say(&format!(
                "{:<22} {:>6.1} s  FAILED  {error:#}",
                row.name, row.seconds
            ));
            let log = bench
                .lab
                .target
                .join("lab/runs")
                .join(&row.name)
                .join("console.log");
            show_tail(&log);
        }
    }
}

/// Prints the last lines of a console log.
pub(crate) fn show_tail(log: &Path) {
    let Ok(text) = fs::read_to_string(log) else {
        return;
    };
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL);
    println!(
        "      the last {} of {} lines of {}:",
        lines.len() - from,
        lines.len(),
        log.display()
    );
    for line in &lines[from..] {
        println!("      | {line}");
    }
}

/// The run went through the whole cycle.
pub(crate) fn finished(run: &Run) -> Result<()> {
    match &run.outcome {
        Outcome::Finished => Ok(()),
        other => bail!("{other}"),
    }
}

/// The one dump directory of a run.
pub(crate) fn only_dump(run: &Run) -> Result<std::path::PathBuf> {
    let mut dumps = run.dumps()?;
    match (dumps.pop(), dumps.len()) {
        (Some(dump), 0) => Ok(dump),
        (None, _) => bail!("there is no dump directory on the disk"),
        (Some(_), more) => bail!(
            "there are {} dump directories on the disk, expected one",
            more + 1
        ),
    }
}

/// Every judge accepts a dump as complete.
pub(crate) fn all_good(bench: &Bench<'_>, dump: &Path, kernel: &Kernel) -> Result<()> {
    all_good_as(bench, dump, kernel, &Form::File)
}

/// Every judge accepts a dump in this form as complete.
pub(crate) fn all_good_as(
    bench: &Bench<'_>,
    dump: &Path,
    kernel: &Kernel,
    form: &Form,
) -> Result<()> {
    let refused = |verdict: Verdict| {
        verdict
            .said
            .err()
            .map(|error| format!("{}: {error:#}", verdict.judge))
    };
    let bad: Vec<_> = bench
        .judges
        .complete_as(dump, kernel, form)
        .into_iter()
        .filter_map(refused)
        .collect();
    if bad.is_empty() {
        Ok(())
    } else {
        bail!("{}", bad.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::SERIES;
    use std::collections::BTreeSet;

    #[test]
    fn scenarios_have_names_and_kernels() {
        let all = scenarios(true);
        let names: BTreeSet<_> = all.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|scenario| SERIES.contains(&scenario.series)));
        for series in SERIES {
            assert!(
                all.iter().any(|scenario| scenario.series == *series),
                "{series}"
            );
        }
    }
}
