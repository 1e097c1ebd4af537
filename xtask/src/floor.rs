//! `floor`: the smallest `crashkernel=` that gives a complete dump, found by real panics, against those that are recorded.
//!
//! The machine is always the same: 1 virtual CPU, 1 GiB; ext4 on virtio-blk, or a server behind virtio-net. One boot differs from the next by up to 2 MB, so
//! the size that is found must pass three times.

mod record;

use crate::apt::Apt;
use crate::check::{Judges, read_report};
use crate::fetch::{self, ARM64_SERIES, Kernel};
use crate::guest::{self, Guest};
use crate::lab::{Lab, say, step};
use crate::setup::Need;
use crate::vm::{self, Bench, reach};
use crate::{Stop, build, kernel, setup};
use anyhow::{Context, Result, bail};
use qemu::{Accel, Arch, Nic, Outcome};
use record::{Floor, Floors};
use std::any::Any;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use xshell::Shell;

/// Sizes are tried in steps of so many MiB.
const STEP: u32 = 2;
/// A floor may be so much higher than the recorded one.
const GROWTH: u32 = 4;
/// Where a search begins and ends without a recorded floor.
const RANGE: (u32, u32) = (16, 104);
/// How often the size that is found must pass.
const PASSES: u32 = 3;
/// Runs in which the emulator fails, one after the other, before that is an error.
const EMULATOR_TRIES: u32 = 4;
/// A run that captures takes a third of it.
const LIMIT: Duration = Duration::from_secs(75);
/// Flags above this bit do not exist: QEMU 7.2 with 6.12 loads such now and then. An oops with other flags is a result, also of too little memory.
const FLAGS: u32 = 22;
/// Machines at a time.
const MACHINES: usize = 2;

/// A capture kernel whose floor is looked for.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    /// The series of the kernel that panics.
    series: &'static str,
    /// The architecture of our own kernel, when that captures, not the one that panics.
    own: Option<Arch>,
    /// Where the dump goes.
    to: To,
}

/// Where a dump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// ext4 on virtio-blk.
    Disk,
    /// NFS 4.2.
    Nfs,
    /// SFTP.
    Ssh,
}

const fn case(name: &'static str, series: &'static str, own: Option<Arch>, to: To) -> Case {
    Case {
        name,
        series,
        own,
        to,
    }
}

const CASES: &[Case] = &[
    case("6.12", "6.12.", None, To::Disk),
    case("6.1", "6.1.", None, To::Disk),
    case("6.12-nfs", "6.12.", None, To::Nfs),
    case("6.1-nfs", "6.1.", None, To::Nfs),
    case("6.12-ssh", "6.12.", None, To::Ssh),
    case("6.1-ssh", "6.1.", None, To::Ssh),
    case("own", "6.12.", Some(Arch::X86), To::Disk),
    case("own-arm64", ARM64_SERIES, Some(Arch::Arm64), To::Disk),
];

/// Finds the floors of the cases that are named, or of all.
///
/// # Errors
/// A floor that grew, or none.
pub(crate) fn run(sh: &Shell, lab: &Lab, arguments: Vec<OsString>) -> Result<()> {
    let (record, cases) = parse(&arguments)?;
    let foreign = cases.iter().any(|case| case.own == Some(Arch::Arm64));
    let servers = cases.iter().any(|case| case.to != To::Disk);
    let need = if foreign || servers {
        Need::Tests
    } else {
        Need::Host
    };
    setup::run(sh, need)?;
    let apt = Apt::open(lab)?;
    let judges = Judges {
        binaries: match foreign {
            true => build::run(sh, lab)?,
            false => build::host(sh, lab)?,
        },
        makedumpfile: fetch::makedumpfile(&apt)?,
    };
    let floors = Floors::read(lab)?;
    let mut kernels = Vec::new();
    for case in &cases {
        let kernel = fetch::kernel(&apt, case.series)?;
        let accel = kernel.accel(lab)?;
        kernels.push((case.series, kernel, accel));
    }
    let own = cases.iter().filter_map(|case| case.own);
    let own = own.map(|arch| kernel::build(sh, lab, arch));
    let own = own.collect::<Result<Vec<_>>>()?;
    let bench = Bench {
        lab,
        judges: &judges,
        kernels: &kernels,
    };
    step("smallest crashkernel= that gives a complete dump three times");
    let found = search_all(&bench, &own, &floors, cases)?;
    judge(lab, floors, found, record)
}

fn parse(arguments: &[OsString]) -> Result<(bool, Vec<Case>)> {
    let known = || CASES.iter().map(|case| case.name).collect::<Vec<_>>();
    let (mut record, mut cases) = (false, Vec::new());
    for argument in arguments {
        let word = argument.to_string_lossy();
        if word == "--record" {
            record = true;
            continue;
        }
        let Some(case) = CASES.iter().find(|case| case.name == word) else {
            return Err(Stop::new(format!(
                "no floor has the name {word}; there are {}",
                known().join(" ")
            )));
        };
        cases.push(*case);
    }
    // The build of our own kernel takes long: it is asked for by name.
    if cases.is_empty() {
        cases.extend(CASES.iter().filter(|case| case.own.is_none()));
    }
    Ok((record, cases))
}

/// All searches, two at a time.
fn search_all(
    bench: &Bench<'_>,
    own: &[Kernel],
    floors: &Floors,
    cases: Vec<Case>,
) -> Result<Vec<Floor>> {
    let queue = Mutex::new(VecDeque::from(cases));
    let found = Mutex::new(Vec::new());
    let lock_queue = || queue.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..MACHINES {
            scope.spawn(|| {
                loop {
                    let Some(case) = lock_queue().pop_front() else {
                        return;
                    };
                    let floor = Search::new(bench, own, case).and_then(|mut search| {
                        search.run(floors.of(case.name).map(|floor| floor.floor))
                    });
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.push(floor.with_context(|| case.name.to_owned()));
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.into_iter().collect()
}

/// Says what changed; writes it down when asked to.
fn judge(lab: &Lab, mut floors: Floors, found: Vec<Floor>, record: bool) -> Result<()> {
    let mut grown = Vec::new();
    for floor in found {
        let before = floors.of(&floor.name).map(|floor| floor.floor);
        let was = before.map_or("not recorded".into(), |before| format!("recorded {before}"));
        say(&format!(
            "{:<8} floor {} MB, {was}",
            floor.name, floor.floor
        ));
        if before.is_some_and(|before| floor.floor > before + GROWTH) {
            grown.push(format!("{}: {} MB, {was}", floor.name, floor.floor));
        }
        floors.set(floor);
    }
    if record {
        return floors.write(lab);
    }
    if !grown.is_empty() {
        bail!(
            "the floor grew by more than {GROWTH} MB: {}",
            grown.join("; ")
        );
    }
    Ok(())
}

/// The search for one floor.
struct Search<'a> {
    bench: &'a Bench<'a>,
    case: Case,
    kernel: &'a Kernel,
    capture: Option<&'a Kernel>,
    accel: Accel,
}

impl<'a> Search<'a> {
    fn new(bench: &'a Bench<'a>, own: &'a [Kernel], case: Case) -> Result<Self> {
        let machine = bench
            .kernels
            .iter()
            .find(|(series, ..)| *series == case.series);
        let (_, kernel, accel) = machine.context("its kernel was not fetched")?;
        Ok(Self {
            bench,
            case,
            kernel,
            capture: own.iter().find(|kernel| Some(kernel.arch) == case.own),
            accel: *accel,
        })
    }

    /// Halves the range, then lets the size that is found pass three times, and the next ones where it does not.
    fn run(&mut self, recorded: Option<u32>) -> Result<Floor> {
        let (mut fails, mut passes) = match recorded {
            Some(floor) => self.around(floor)?,
            None => RANGE,
        };
        while passes - fails > STEP {
            let middle = fails + (passes - fails) / 2 / STEP * STEP;
            match self.passes(middle)? {
                true => passes = middle,
                false => fails = middle,
            }
        }
        for size in (passes..=passes + 4 * STEP).step_by(2) {
            let good = (0..PASSES).try_fold(true, |good, _| Ok(good && self.passes(size)?));
            match good {
                Ok(true) => return self.floor(size),
                Ok(false) => {}
                Err(error) => return Err(error),
            }
        }
        bail!("no size from {passes} MB on passes {PASSES} times")
    }

    /// A range with the recorded floor in it, whose lower end fails.
    fn around(&self, floor: u32) -> Result<(u32, u32)> {
        let mut fails = floor.saturating_sub(2 * GROWTH);
        while self.passes(fails)? {
            fails = fails.saturating_sub(2 * GROWTH);
        }
        Ok((fails, floor + GROWTH))
    }

    /// What is recorded of a floor.
    fn floor(&self, size: u32) -> Result<Floor> {
        let image = self.dir(size).join("capture.img");
        Floor::new(
            self.case.name,
            size,
            self.capture.unwrap_or(self.kernel),
            &image,
        )
    }

    fn dir(&self, size: u32) -> std::path::PathBuf {
        let name = format!("lab/runs/floor-{}-{size}", self.case.name);
        self.bench.lab.target.join(name)
    }

    /// One panic with so many MiB reserved. The emulator's own faults say nothing and are repeated.
    fn passes(&self, size: u32) -> Result<bool> {
        for _ in 0..EMULATOR_TRIES {
            let start = Instant::now();
            let dir = self
                .bench
                .lab
                .fresh(&format!("runs/floor-{}-{size}", self.case.name))?;
            let mut guest = Guest {
                reservation: format!("{size}M").into(),
                capture_kernel: self.capture.cloned(),
                limit: LIMIT,
                ..Guest::default()
            };
            let server = serve(self.case.to, &dir, &mut guest)?;
            let binaries = &self.bench.judges.binaries;
            let run = guest::run(&guest, self.kernel, binaries, self.accel, &dir, &mut |_| {})?;
            drop(server);
            let dump = || match self.case.to {
                To::Disk => vm::only_dump(&run),
                To::Nfs => vm::arrived(&dir.join(reach::NFS_DUMPS)),
                To::Ssh => vm::arrived(&dir.join(reach::SSH_DUMPS)),
            };
            let verdict = match &run.outcome {
                Outcome::Finished => dump().and_then(|dump| self.complete(&dump)),
                other => Err(anyhow::anyhow!("{other}")),
            };
            run.forget_disk();
            let stumbled = run.lines.iter().any(|line| has_odd_flags(&line.text));
            let again = verdict.is_err() && (run.outcome.repeatable() || stumbled);
            let (word, text) = match &verdict {
                Ok(fact) => ("complete", fact.clone()),
                Err(error) if again => ("again", format!("the emulator: {error:#}")),
                Err(error) => ("fails", format!("{error:#}")),
            };
            say(&format!(
                "{:<8} {size:>4} MB {:>5.1} s  {word:<8} {}",
                self.case.name,
                start.elapsed().as_secs_f64(),
                text.lines().next().unwrap_or_default()
            ));
            if !again {
                return Ok(verdict.is_ok());
            }
        }
        bail!("the emulator killed {EMULATOR_TRIES} guests one after the other")
    }

    /// Every judge accepts the dump; what was left of the memory.
    fn complete(&self, dump: &Path) -> Result<String> {
        vm::all_good(self.bench, dump, self.kernel)?;
        let report = read_report(dump)?;
        let kilobytes = |name: &str| {
            let value = report.pointer(&format!("/memory/{name}"));
            value.and_then(serde_json::Value::as_u64).unwrap_or(0)
        };
        Ok(format!(
            "MemTotal {} kB, lowest MemAvailable {} kB, largest step {} kB",
            kilobytes("total_kb"),
            kilobytes("lowest_available_kb"),
            kilobytes("peak_rss_kb")
        ))
    }
}

/// Starts what takes the dump, where that is not the guest's disk.
fn serve(to: To, dir: &Path, guest: &mut Guest) -> Result<Option<Box<dyn Any>>> {
    let (config, server) = match to {
        To::Disk => return Ok(None),
        To::Nfs => reach::nfs(dir)?,
        To::Ssh => reach::sftp(dir)?,
    };
    guest.config = config;
    guest.capture_modules = vec!["virtio_net".into()];
    guest.filesystems = Vec::new();
    guest.words = format!("guest.disk=none {}", guest.words);
    guest.nics = vec![Nic::user(reach::MAC)];
    Ok(Some(server))
}

/// Whether a line of an oops shows flags that no processor has.
fn has_odd_flags(line: &str) -> bool {
    let flags = line
        .split_once("EFLAGS: ")
        .and_then(|(_, rest)| rest.split(' ').next());
    let flags = flags.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    flags.is_some_and(|flags| flags >> FLAGS != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_tell_the_emulator_from_the_kernel() {
        assert!(has_odd_flags(
            "[    0.7] RSP: 0018:ffffc90000013770 EFLAGS: 3a4c60b6"
        ));
        assert!(!has_odd_flags(
            "[    1.3] RSP: 0018:ffffc90000013770 EFLAGS: 00000282"
        ));
        assert!(!has_odd_flags(
            "[    1.3] RSP: 0000:0 EFLAGS: 00000000 ORIG_RAX: 0"
        ));
        assert!(!has_odd_flags("baredump: pid 1 started"));
    }

    #[test]
    fn names_and_options() {
        let parsed = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            parse(&words).map(|(record, cases)| (record, cases.len()))
        };
        assert_eq!(parsed(&[]).unwrap(), (false, 6));
        assert_eq!(parsed(&["--record", "6.1"]).unwrap(), (true, 1));
        assert!(parsed(&["5.10"]).unwrap_err().is::<Stop>());
    }
}
