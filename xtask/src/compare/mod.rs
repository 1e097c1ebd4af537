//! `compare`: the dumps of baredump against those of makedumpfile, on real vmcores, at every dump level. The dumps are read by the tests'
//! own reader, and every difference must be a known one.

mod judge;
mod known;
mod layout;
mod memory;
mod model;
mod options;
mod pair;
mod reference;
mod show;
mod table;

use crate::apt::Apt;
use crate::lab::{Lab, say, step};
use crate::{build, vmcores};
use anyhow::{Context, Result, bail};
use judge::{Judged, Sides};
use known::Known;
use memory::Memory;
use model::Model;
use options::Options;
use pair::{Compared, Makers};
use reference::{Arch, Reference};
use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use table::{Outcome, Table};
use xshell::Shell;

/// Runs the command.
///
/// # Errors
/// When a difference is not a known one, or something cannot be compared.
pub(crate) fn run(sh: &Shell, lab: &Lab, arguments: Vec<OsString>) -> Result<()> {
    let Some(options) = Options::parse(arguments)? else {
        return Ok(());
    };
    let vmcores = vmcores(sh, lab, &options)?;
    let ours = match &options.ours {
        Some(file) => file.clone(),
        None => build::host(sh, lab)?.baredump,
    };
    compare(lab, &options, ours, vmcores).map(drop)
}

/// Compares the vmcores that every test compares; gives a fact for its summary.
///
/// # Errors
/// As [`run`].
pub(crate) fn ci(sh: &Shell, lab: &Lab) -> Result<String> {
    let options = Options {
        ci: true,
        ..Options::default()
    };
    let vmcores = vmcores(sh, lab, &options)?;
    compare(lab, &options, build::host(sh, lab)?.baredump, vmcores)
}

/// The files that were named, and the lab's vmcores of the other names.
fn vmcores(sh: &Shell, lab: &Lab, options: &Options) -> Result<Vec<PathBuf>> {
    let is_file = |path: &&PathBuf| path.is_file();
    let mut files: Vec<_> = options.vmcores.iter().filter(is_file).cloned().collect();
    let others = options.vmcores.iter().filter(|path| !path.is_file());
    let mut names: Vec<_> = others.map(|path| path.display().to_string()).collect();
    if options.ci {
        names.push("ci".into());
    }
    if files.is_empty() || !names.is_empty() {
        let made = vmcores::ensure(sh, lab, &names)?;
        files.extend(made.into_iter().map(|made| made.path));
    }
    Ok(files)
}

/// A vmcore, and who is compared on it.
struct Case {
    vmcore: PathBuf,
    reference: Reference,
    machine: String,
}

/// A vmcore at a level.
type Job<'a> = (usize, &'a Case, u8);

fn compare(lab: &Lab, options: &Options, ours: PathBuf, vmcores: Vec<PathBuf>) -> Result<String> {
    let start = Instant::now();
    let cases = cases(lab, options, vmcores)?;
    step(&format!(
        "{} vmcores at {} levels, {} at a time",
        cases.len(),
        options.levels.len(),
        options.jobs
    ));
    let makers = Makers {
        ours,
        strict: options.strict,
        codec: options.codec,
    };
    let jobs = cases.iter().enumerate();
    let jobs: VecDeque<Job<'_>> = jobs
        .flat_map(|(index, case)| {
            options
                .levels
                .iter()
                .map(move |level| (index, case, *level))
        })
        .collect();
    let (jobs, outcomes) = (Mutex::new(jobs), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for worker in 0..options.jobs {
            let (jobs, outcomes, makers) = (&jobs, &outcomes, &makers);
            scope.spawn(move || {
                while let Some(job) = next(jobs) {
                    let dir = work_dir(lab, worker);
                    let outcome = dir.and_then(|dir| one(makers, &job, &dir));
                    announce(&job, &outcome);
                    let mut outcomes = lock(outcomes);
                    outcomes.insert((job.0, job.2), outcome);
                    let done = outcomes.keys().filter(|(index, _)| *index == job.0).count();
                    if done == options.levels.len() {
                        say(&format!("{}: {done} levels", job.1.row().name));
                    }
                }
            });
        }
    });
    for worker in 0..options.jobs {
        let dir = work_dir(lab, worker)?;
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    let outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let table = Table {
        rows: cases.iter().map(|case| case.row()).collect(),
        outcomes,
        seconds: start.elapsed().as_secs_f64(),
    };
    step("differences");
    table.print();
    let fact = table.line();
    if table.failed() {
        bail!("{fact}");
    }
    Ok(fact)
}

/// Where a worker makes dumps.
fn work_dir(lab: &Lab, worker: usize) -> Result<PathBuf> {
    lab.dir(&format!("compare/{}-{worker}", std::process::id()))
}

/// The lock is held only for the look.
fn next<'a>(jobs: &Mutex<VecDeque<Job<'a>>>) -> Option<Job<'a>> {
    lock(jobs).pop_front()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the vmcores and finds a makedumpfile for each.
fn cases(lab: &Lab, options: &Options, vmcores: Vec<PathBuf>) -> Result<Vec<Case>> {
    let mut references: BTreeMap<Arch, Reference> = BTreeMap::new();
    let mut cases = Vec::new();
    for vmcore in vmcores {
        let name = vmcore.display().to_string();
        let memory = Memory::open(&vmcore).with_context(|| name.clone())?;
        let arch = memory
            .arch()
            .with_context(|| format!("{name} is of another architecture"))?;
        let reference = match references.entry(arch) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => new.insert(reference(lab, options, arch)?).clone(),
        };
        cases.push(Case {
            machine: memory.machine(),
            reference,
            vmcore,
        });
    }
    Ok(cases)
}

fn reference(lab: &Lab, options: &Options, arch: Arch) -> Result<Reference> {
    let named = |wanted| options.references.iter().find(|(arch, _)| *arch == wanted);
    match named(Some(arch)).or_else(|| named(None)) {
        Some((_, file)) => Reference::file(file.clone()),
        None => Reference::packaged(&Apt::open(lab)?, arch),
    }
}

impl Case {
    fn row(&self) -> table::Row {
        table::Row {
            name: self
                .vmcore
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            machine: self.machine.clone(),
            reference: self.reference.version.clone(),
        }
    }
}

/// Compares one vmcore at one level, and judges the differences.
fn one(makers: &Makers, (_, case, level): &Job<'_>, dir: &Path) -> Result<Outcome> {
    let compared = makers.compare(&case.vmcore, &case.reference, *level, dir)?;
    let memory = Memory::open(&case.vmcore)?;
    let mut outcome = judged(makers, case, &memory, *level, &compared)?;
    outcome.pages = compared.pages;
    if let Some(why) = &compared.refused {
        outcome.refused = case.reference.refuses(&memory);
        if outcome.refused.is_none() {
            bail!(
                "makedumpfile {} made no dump: {why}",
                case.reference.version
            );
        }
    }
    Ok(outcome)
}

fn judged(
    makers: &Makers,
    case: &Case,
    memory: &Memory,
    level: u8,
    compared: &Compared,
) -> Result<Outcome> {
    let model = Model::new(memory, compared.max_mapnr)?;
    let sides = Sides {
        model: &model,
        ours: if makers.strict {
            &[Known::Waiters]
        } else {
            &[]
        },
        theirs: &case.reference.quirks(),
    };
    let judged: Judged = sides.judge(level, compared)?;
    Ok(Outcome {
        judged,
        refused: None,
        pages: 0,
    })
}

fn announce((_, case, level): &Job<'_>, outcome: &Result<Outcome>) {
    let name = case.row().name;
    match outcome {
        Err(error) => say(&format!("{name} level {level}: FAILED: {error:#}")),
        Ok(outcome) => {
            for text in &outcome.judged.text {
                for line in text.lines() {
                    say(&format!("{name} {line}"));
                }
            }
        }
    }
}
