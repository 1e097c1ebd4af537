//! `vmcores`: raw vmcores of real panics in `target/lab/vmcores`, made when they are missing or their kernel, guest or machine changed.

mod shapes;

use crate::apt::Apt;
use crate::build::Binaries;
use crate::fetch::{self, Kernel};
use crate::guest::{self, Run};
use crate::lab::{Lab, say, step};
use crate::setup::Need;
use crate::{Stop, build, setup, vm};
use anyhow::{Context, Result, bail};
use qemu::{Accel, Arch, Outcome};
use serde::{Deserialize, Serialize};
use shapes::{SHAPES, Shape};
use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use xshell::Shell;

/// Stands for all vmcores that continuous integration compares.
const CI: &str = "ci";
/// Machines at a time.
const MACHINES: usize = 2;
/// Runs of a guest that does not come to its end: under TCG about one of three with 6.12 does not.
const ATTEMPTS: u32 = 5;
/// How the guest asks for the balloon.
const BALLOON: &str = "guest: balloon wanted:";

/// A vmcore that is there.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// Its name in the table of machines.
    pub(crate) name: String,
    /// The sparse file.
    pub(crate) path: PathBuf,
    /// The kernel, as `uname -r` says it.
    pub(crate) release: String,
    /// The architecture.
    pub(crate) arch: String,
    /// How it was made, and what is in it.
    pub(crate) facts: Facts,
}

/// How a vmcore was made, and what is in it: the file `NAME.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Changes when the vmcore must be made again.
    pub(crate) key: String,
    /// The kernel, as `uname -r` says it.
    pub(crate) release: String,
    /// The architecture.
    pub(crate) arch: String,
    /// The production kernel's command line.
    pub(crate) command_line: String,
    /// The machine: QEMU's arguments for memory, processors and devices.
    pub(crate) machine: String,
    /// Each kind of pages with its number, or `none: REASON`, in the order in which they were made.
    pub(crate) classes: Vec<(String, String)>,
    /// What the kernel counted of all its pages before it panicked.
    pub(crate) census: String,
    /// Seconds that it took.
    pub(crate) seconds: u64,
}

/// A vmcore to be made or found: its machine, its kernel.
struct Job {
    shape: &'static Shape,
    kernel: Kernel,
    accel: Accel,
    key: String,
}

/// Makes the vmcores whose names contain one of `names`, all without names, and prints a table.
///
/// # Errors
/// When one cannot be made.
pub(crate) fn run(sh: &Shell, lab: &Lab, names: &[String]) -> Result<()> {
    setup::run(sh, Need::Tests)?;
    let made = ensure(sh, lab, names)?;
    step("vmcores");
    for vmcore in &made {
        print(vmcore)?;
    }
    Ok(())
}

/// The vmcores whose names contain one of `names`, all without names; those of continuous integration for `ci`.
///
/// # Errors
/// When no machine has such a name, or one of the vmcores cannot be made.
pub(crate) fn ensure(sh: &Shell, lab: &Lab, names: &[String]) -> Result<Vec<Made>> {
    let shapes = choose(names)?;
    let binaries = build::run(sh, lab)?;
    let jobs = jobs(lab, &binaries, &shapes)?;
    let count = jobs.len();
    step(&format!("{count} vmcores, {MACHINES} machines at a time"));
    let queue = Mutex::new(VecDeque::from_iter(jobs.into_iter().enumerate()));
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..MACHINES.min(count) {
            scope.spawn(|| {
                while let Some((index, job)) = next(&queue) {
                    let made = one(lab, &binaries, &job)
                        .with_context(|| format!("cannot make the vmcore {}", job.shape.name));
                    lock(&results).push((index, made));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, made)| made).collect()
}

/// The lock is held only for the look, not for the run.
fn next<T>(queue: &Mutex<VecDeque<T>>) -> Option<T> {
    lock(queue).pop_front()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn choose(names: &[String]) -> Result<Vec<&'static Shape>> {
    let wanted = |shape: &&Shape| {
        let exact = |name: &String| SHAPES.iter().any(|shape| shape.name == *name);
        names.is_empty() && !shape.large
            || names.iter().any(|name| match name.as_str() {
                CI => shape.ci,
                _ if exact(name) => shape.name == *name,
                part => !shape.large && shape.name.contains(part),
            })
    };
    let shapes: Vec<_> = SHAPES.iter().filter(wanted).collect();
    if shapes.is_empty() {
        let known: Vec<_> = SHAPES.iter().map(|shape| shape.name).collect();
        return Err(Stop::new(format!(
            "no vmcore has a name like {}; there are {CI} {}",
            names.join(" "),
            known.join(" ")
        )));
    }
    Ok(shapes)
}

/// Fetches the kernels, each once.
fn jobs(lab: &Lab, binaries: &Binaries, shapes: &[&'static Shape]) -> Result<Vec<Job>> {
    step("kernels");
    let apt = Apt::open(lab)?;
    let mut jobs: Vec<Job> = Vec::new();
    for shape in shapes {
        let known = jobs.iter().find(|job| job.shape.series == shape.series);
        let (kernel, accel) = match known {
            Some(job) => (job.kernel.clone(), job.accel),
            None => {
                let kernel = fetch::kernel(&apt, shape.series)?;
                let accel = kernel.accel(lab)?;
                (kernel, accel)
            }
        };
        let guest = binaries.of(kernel.arch)?.guest;
        let guest = fs::read(&guest).with_context(|| format!("cannot read {}", guest.display()))?;
        jobs.push(Job {
            key: format!("{} guest {:016x} {shape:?}", kernel.release, hash(&guest)),
            shape,
            kernel,
            accel,
        });
    }
    Ok(jobs)
}

/// A number that tells a changed file from an unchanged one.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Finds a vmcore or makes it.
fn one(lab: &Lab, binaries: &Binaries, job: &Job) -> Result<Made> {
    let dir = lab.dir("vmcores")?;
    let name = job.shape.name;
    let (path, about) = (
        dir.join(format!("{name}.raw")),
        dir.join(format!("{name}.json")),
    );
    let known = fs::read(&about)
        .ok()
        .and_then(|text| serde_json::from_slice::<Facts>(&text).ok())
        .filter(|facts| facts.key == job.key && path.exists());
    let facts = match known {
        Some(facts) => facts,
        None => {
            let _ = fs::remove_file(&about);
            let facts = make(lab, binaries, job, &path)?;
            fs::write(&about, serde_json::to_string_pretty(&facts)?)
                .with_context(|| format!("cannot write {}", about.display()))?;
            say(&format!("{name}: {} in {} s", facts.release, facts.seconds));
            facts
        }
    };
    Ok(Made {
        name: name.to_owned(),
        path,
        release: facts.release.clone(),
        arch: facts.arch.clone(),
        facts,
    })
}

/// Runs the guest, again when it did not come to its end, and keeps the copy.
fn make(lab: &Lab, binaries: &Binaries, job: &Job, to: &Path) -> Result<Facts> {
    let start = Instant::now();
    for attempt in 1..=ATTEMPTS {
        let run = panic(lab, binaries, job)?;
        if run.outcome == Outcome::Finished {
            let copy = run.raw_vmcore()?;
            fs::rename(&copy, to).with_context(|| format!("cannot write {}", to.display()))?;
            run.forget_disk();
            return Ok(facts(job, &run, start.elapsed().as_secs()));
        }
        run.forget_disk();
        if attempt == ATTEMPTS {
            vm::show_tail(&run.dir.join("console.log"));
            bail!("{}", run.outcome);
        }
        say(&format!("{}: {}; once more", job.shape.name, run.outcome));
    }
    bail!("it was never tried")
}

/// One run; when the guest asks for it, the balloon is inflated over QEMU's monitor.
fn panic(lab: &Lab, binaries: &Binaries, job: &Job) -> Result<Run> {
    let dir = lab.fresh(&format!("runs/vmcore-{}", job.shape.name))?;
    // A socket's path must be short.
    let monitor = std::env::temp_dir().join(format!(
        "baredump-{}-{}.monitor",
        std::process::id(),
        job.shape.name
    ));
    let target = job.shape.balloon_target();
    let mut connection = None;
    let run = guest::run(
        &job.shape.guest(&monitor),
        &job.kernel,
        binaries,
        job.accel,
        &dir,
        &mut |line| {
            if line.text.contains(BALLOON) {
                connection = inflate(&monitor, target).ok();
            }
        },
    );
    drop(connection);
    let _ = fs::remove_file(&monitor);
    run
}

/// The monitor reads a command when it comes; the connection is kept until the end.
fn inflate(monitor: &Path, target: u32) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(monitor)?;
    stream.write_all(format!("balloon {target}\n").as_bytes())?;
    Ok(stream)
}

/// What the console says about a run that came to its end.
fn facts(job: &Job, run: &Run, seconds: u64) -> Facts {
    let mut facts = Facts {
        key: job.key.clone(),
        release: job.kernel.release.clone(),
        arch: match job.kernel.arch {
            Arch::X86 => "x86_64".into(),
            Arch::Arm64 => "aarch64".into(),
        },
        machine: machine(job.shape),
        seconds,
        ..Facts::default()
    };
    for line in &run.lines {
        let after = |word: &str| line.text.split_once(word).map(|(_, rest)| rest.trim());
        if let Some(words) = after("Kernel command line: ")
            && facts.command_line.is_empty()
        {
            words.clone_into(&mut facts.command_line);
        } else if let Some((name, count)) =
            after("guest: class ").and_then(|rest| rest.split_once(' '))
        {
            let name = name.trim_end_matches(':');
            facts.classes.push((name.to_owned(), count.to_owned()));
        } else if let Some(census) = after("guest: census ") {
            census.clone_into(&mut facts.census);
        }
    }
    facts
}

fn machine(shape: &Shape) -> String {
    let guest = shape.guest(Path::new("monitor"));
    let extra: Vec<_> = guest
        .extra
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    format!(
        "-cpu {} -m {} -smp {} nodes {} {}",
        guest.processor.unwrap_or("max"),
        guest.memory,
        guest.cpus,
        guest.nodes.max(1),
        extra.join(" ")
    )
}

/// One vmcore: what it is, what is in it, what is not.
fn print(vmcore: &Made) -> Result<()> {
    let meta = fs::metadata(&vmcore.path)
        .with_context(|| format!("cannot find {}", vmcore.path.display()))?;
    say(&format!(
        "{:<26} {:<30} {:<7} {:>5} MiB, {:>4} on disk",
        vmcore.name,
        vmcore.release,
        vmcore.arch,
        meta.len() >> 20,
        (meta.blocks() * 512) >> 20
    ));
    let (none, some): (Vec<_>, Vec<_>) = vmcore
        .facts
        .classes
        .iter()
        .partition(|(_, count)| count.starts_with("none") || count.starts_with("failed"));
    let some: Vec<_> = some
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    say(&format!("    {}", some.join(", ")));
    for (name, reason) in none {
        say(&format!("    {name}: {reason}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose() {
        let chosen = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            let shapes = choose(&names)?;
            Ok::<_, anyhow::Error>(shapes.iter().map(|shape| shape.name).collect::<Vec<_>>())
        };
        let large = SHAPES.iter().filter(|shape| shape.large).count();
        assert_eq!(chosen(&[]).unwrap().len(), SHAPES.len() - large);
        assert_eq!(chosen(&["6.12-16g"]).unwrap(), ["6.12-16g"]);
        assert!(!chosen(&["6.12-"]).unwrap().contains(&"6.12-16g"));
        // A whole name means this one only.
        assert_eq!(chosen(&["6.1"]).unwrap(), ["6.1"]);
        assert_eq!(chosen(&["span"]).unwrap(), ["6.12-span", "7-span"]);
        assert!(chosen(&["ci"]).unwrap().contains(&"5.10"));
        assert!(chosen(&["2.6"]).unwrap_err().is::<Stop>());
    }

    #[test]
    fn changed_files_have_other_numbers() {
        assert_eq!(hash(b"a"), hash(b"a"));
        assert_ne!(hash(b"a"), hash(b"b"));
    }
}
