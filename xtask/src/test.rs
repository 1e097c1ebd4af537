//! `test`: everything that shows that the project works. Nothing is skipped: what cannot be run is a failure.

use crate::apt::Apt;
use crate::build::Binaries;
use crate::check::Judges;
use crate::fetch::{self, Kernel, SERIES};
use crate::lab::{Lab, say, step};
use crate::setup::Need;
use crate::vm::{self, Bench, Row, Scenario};
use crate::{Stop, build, compare, full, licences, servers, setup, tidy};
use anyhow::{Context, Result, bail};
use qemu::Accel;
use std::time::Instant;
use xshell::{Shell, cmd};

/// A fetched kernel of a series, with its accelerator.
type Machine = (&'static str, Kernel, Accel);

/// The most that the target directory holds while the checks run, in bytes: a third of it what cargo makes, half of it vmcores and their dumps.
const ROOM: u64 = 9_500_000_000;

/// Runs all checks; with `names` only the virtual machines whose name contains one of them.
///
/// # Errors
/// When a check failed.
pub(crate) fn run(sh: &Shell, lab: &Lab, full: bool, names: &[String]) -> Result<()> {
    setup::run(sh, if full { Need::Full } else { Need::Tests })?;
    let scenarios: Vec<_> = vm::scenarios(full)
        .into_iter()
        .filter(|scenario| wanted(scenario.name, names))
        .collect();
    let sessions = if full { full::names() } else { Vec::new() };
    let checks: Vec<_> = servers::check::CHECKS
        .iter()
        .filter(|(name, _)| wanted(name, names))
        .collect();
    let anything = !(scenarios.is_empty() && checks.is_empty());
    if !anything && !sessions.iter().any(|name| wanted(name, names)) {
        let machines = vm::scenarios(full);
        let machines = machines.iter().map(|scenario| scenario.name);
        let known: Vec<_> = machines
            .chain(servers::check::CHECKS.iter().map(|(name, _)| *name))
            .chain(sessions.iter().map(String::as_str))
            .collect();
        return Err(Stop::new(format!(
            "nothing has a name like {}; there are {}",
            names.join(" "),
            known.join(" ")
        )));
    }
    let mut summary = Summary::default();
    if names.is_empty() {
        lab.has_room(ROOM)?;
        offline(sh, lab, full, &mut summary);
    }
    if !checks.is_empty() {
        step("servers");
    }
    for (name, check) in checks {
        summary.check(name, || {
            let fact = check(lab, &lab.fresh(&format!("runs/{name}"))?)?;
            say(&format!("{name:<22} ok      {fact}"));
            Ok(fact)
        });
    }
    let sessions = |name: &str| full && wanted(name, names);
    if names.is_empty() || !scenarios.is_empty() || full {
        machines(sh, lab, &sessions, scenarios, &mut summary);
    }
    if names.is_empty() {
        summary.check("command-lines", || {
            step("command lines of scripts, asked of makedumpfile too");
            cmd!(
                sh,
                "cargo test --quiet --package tests --test cases --locked command_lines -- --ignored"
            )
            .quiet()
            .ignore_stdout()
            .run()?;
            Ok("makedumpfile does what the table says".into())
        });
        summary.check("compare", || compare::ci(sh, lab));
    }
    summary.print();
    match summary.failed() {
        0 => Ok(()),
        failed => bail!("{failed} failed"),
    }
}

fn wanted(name: &str, names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|part| name.contains(part))
}

/// What needs no virtual machine.
fn offline(sh: &Shell, lab: &Lab, full: bool, summary: &mut Summary) {
    summary.check("format", || {
        step("format");
        cmd!(sh, "cargo fmt --all --check").quiet().run()?;
        Ok("cargo fmt".into())
    });
    summary.check("tidy", || {
        tidy::run(sh, lab).map(|()| "rules of the source tree".into())
    });
    summary.check("licences", || {
        licences::run(sh, lab, full).map(|()| "deny.toml".into())
    });
    summary.check("clippy", || {
        step("clippy");
        cmd!(
            sh,
            "cargo clippy --quiet --workspace --all-targets --locked -- -D warnings"
        )
        .quiet()
        .run()?;
        Ok("no warning".into())
    });
    unit_tests(sh, summary);
    summary.check("age", || {
        step("the stock program age on what we encrypt, and ours on what it does");
        cmd!(
            sh,
            "cargo test --quiet --package tests --test age --locked -- --ignored"
        )
        .quiet()
        .ignore_stdout()
        .run()?;
        Ok("both ways".into())
    });
}

/// Unit, property, offline and command-line tests; each of them counts.
fn unit_tests(sh: &Shell, summary: &mut Summary) {
    step("unit, property, offline and command-line tests");
    let mut counts = (0, 0);
    summary.check("cargo-test", || {
        let out = cmd!(sh, "cargo test --workspace --locked --no-fail-fast")
            .quiet()
            .ignore_status()
            .output()?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        counts = text
            .lines()
            .filter_map(result_line)
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        if !out.status.success() || counts.0 == 0 {
            println!("{text}\n{}", String::from_utf8_lossy(&out.stderr));
            bail!("{} passed, {} failed", counts.0, counts.1);
        }
        say(&format!("{} passed", counts.0));
        Ok(format!("{} tests", counts.0))
    });
    summary.more = counts;
}

/// Passed and failed of a line `test result: ok. 17 passed; 0 failed; …`.
fn result_line(line: &str) -> Option<(usize, usize)> {
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        rest.split("; ")
            .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
    };
    Some((count("passed")?, count("failed")?))
}

/// What needs virtual machines.
fn machines(
    sh: &Shell,
    lab: &Lab,
    sessions: &dyn Fn(&str) -> bool,
    scenarios: Vec<Scenario>,
    summary: &mut Summary,
) {
    let mut binaries = None;
    summary.check("build", || {
        // Scenarios of arm64 say so in their series.
        let built = match lab.quick && !scenarios.iter().any(|s| s.series.contains("arm64")) {
            true => build::host(sh, lab)?,
            false => build::run(sh, lab)?,
        };
        binaries = Some(built);
        Ok("static binaries".into())
    });
    let mut prepared = None;
    summary.check("fetch", || {
        let (judges, kernels) = prepare(
            lab,
            binaries
                .clone()
                .context("the binaries could not be built")?,
            &scenarios,
        )?;
        let fact = format!("{} kernels", kernels.len());
        prepared = Some((judges, kernels));
        Ok(fact)
    });
    let Some((judges, kernels)) = prepared else {
        let not_run = |scenario: Scenario| Row {
            name: scenario.name.into(),
            seconds: 0.0,
            verdict: Err(anyhow::anyhow!("not run")),
            repeated: false,
        };
        summary.rows.extend(scenarios.into_iter().map(not_run));
        return;
    };
    let bench = Bench {
        lab,
        judges: &judges,
        kernels: &kernels,
    };
    if !scenarios.is_empty() {
        summary.rows.extend(vm::run(&bench, scenarios));
    }
    if full::names().iter().any(|name| sessions(name)) {
        summary.rows.extend(full::rows(sh, lab, &judges, sessions));
    }
}

/// The kernels that the scenarios want, each with the accelerator that boots it.
fn prepare(
    lab: &Lab,
    binaries: Binaries,
    scenarios: &[Scenario],
) -> Result<(Judges, Vec<Machine>)> {
    step("kernels and tools");
    let apt = Apt::open(lab)?;
    let judges = Judges {
        binaries,
        makedumpfile: fetch::makedumpfile(&apt)?,
    };
    let mut kernels = Vec::new();
    for series in SERIES
        .iter()
        .filter(|series| scenarios.iter().any(|scenario| scenario.series == **series))
    {
        let kernel = fetch::kernel(&apt, series)?;
        let accel = kernel.accel(lab)?;
        kernels.push((*series, kernel, accel));
    }
    Ok((judges, kernels))
}

/// Every result.
#[derive(Default)]
struct Summary {
    rows: Vec<Row>,
    /// Single tests that passed and failed, which the row of `cargo test` stands for.
    more: (usize, usize),
}

impl Summary {
    fn check(&mut self, name: &str, check: impl FnOnce() -> Result<String>) {
        let start = Instant::now();
        let verdict = check();
        if let Err(error) = &verdict {
            say(&format!("{name} FAILED: {error:#}"));
        }
        self.rows.push(Row {
            name: name.into(),
            seconds: start.elapsed().as_secs_f64(),
            verdict,
            repeated: false,
        });
    }

    fn failed(&self) -> usize {
        self.rows.iter().filter(|row| row.verdict.is_err()).count()
    }

    /// The table, then the one line.
    fn print(&self) {
        step("summary");
        for row in &self.rows {
            let (word, text) = match &row.verdict {
                Ok(fact) => ("ok", fact.clone()),
                Err(error) => (
                    "FAILED",
                    format!("{error:#}")
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                ),
            };
            let again = if row.repeated {
                " (repeated: the guest died by itself)"
            } else {
                ""
            };
            println!(
                "{:<28} {:>7.1} s  {word:<7} {text}{again}",
                row.name, row.seconds
            );
        }
        if let Some(text) = self.repetitions() {
            println!("{text}");
        }
        println!("{}", self.line());
    }

    /// How many runs were repeated, when there are any.
    fn repetitions(&self) -> Option<String> {
        let repeated = self.rows.iter().filter(|row| row.repeated).count();
        (repeated > 0).then(|| format!("{repeated} repeated, because the guest died by itself"))
    }

    /// Rows, with the row of `cargo test` replaced by its single tests.
    fn line(&self) -> String {
        let (passed, failed) = (self.rows.len() - self.failed(), self.failed());
        format!(
            "{} passed, {} failed",
            passed + self.more.0.saturating_sub(1),
            failed + self.more.1.saturating_sub(1)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_of_cargo() {
        assert_eq!(
            result_line("test result: ok. 17 passed; 0 failed; 1 ignored; finished in 0.02s"),
            Some((17, 0))
        );
        assert_eq!(
            result_line("test result: FAILED. 3 passed; 2 failed; 0 ignored"),
            Some((3, 2))
        );
        assert_eq!(result_line("test vm::tests ... ok"), None);
    }

    #[test]
    fn names_choose() {
        assert!(wanted("panic-6.1", &[]) && wanted("panic-6.1", &["6.1".into()]));
        assert!(!wanted("fault-kill", &["panic".into()]));
    }

    #[test]
    fn a_failure_is_counted_and_repetitions_are_told() {
        let mut summary = Summary::default();
        summary.check("good", || Ok(String::new()));
        summary.check("bad", || bail!("x"));
        summary.rows[0].repeated = true;
        assert_eq!(summary.failed(), 1);
        assert_eq!(summary.line(), "1 passed, 1 failed");
        assert!(summary.repetitions().unwrap().starts_with("1 repeated"));
    }
}
