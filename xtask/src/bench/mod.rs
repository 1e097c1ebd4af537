//! `bench`: baredump and makedumpfile in turn on the same vmcores; what the codecs do to kernel pages; how long a machine is down.
//! Numbers are printed and never judged: the exit code says only whether the programs worked.

mod bars;
mod codecs;
mod figures;
mod measure;
mod options;
mod outage;
mod programs;
mod reach;

use crate::lab::{Lab, say, step};
use crate::{build, vmcores};
use anyhow::{Context, Result};
use bars::{Bar, Case};
use figures::Figures;
use measure::Sample;
use options::{Options, What};
use programs::{Ours, Peer};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use xshell::Shell;

/// Runs the command.
///
/// # Errors
/// When a program fails.
pub(crate) fn run(sh: &Shell, lab: &Lab, arguments: Vec<OsString>) -> Result<()> {
    if let Some(program) = measure::asked(&arguments) {
        return measure::child(program);
    }
    let Some(options) = Options::parse(arguments)? else {
        return Ok(());
    };
    if options.what == What::Outage {
        return outage::run(sh, lab, options.runs.unwrap_or(outage::RUNS));
    }
    if options.what == What::Reach {
        return reach::run(sh, lab, options.runs.unwrap_or(reach::RUNS));
    }
    let ours = Ours {
        program: match &options.ours {
            Some(file) => file.clone(),
            None => build::host(sh, lab)?.baredump,
        },
    };
    let vmcores = find(sh, lab, &options.vmcores)?;
    let out = Out::new(options.out.as_deref())?;
    if options.what == What::Codecs {
        return codecs::run(&ours, &vmcores, &options, &out.file());
    }
    let peer = Peer::new(lab, options.peer.as_deref())?;
    step(&format!(
        "baredump against makedumpfile {}, medians of {} runs in turn, smallest and largest in brackets",
        peer.version,
        options.runs()
    ));
    for vmcore in &vmcores {
        warm(vmcore)?;
        for codec in &options.codecs {
            if let Some(why) = peer.lacks(*codec) {
                say(&why);
                continue;
            }
            for level in &options.levels {
                for threads in &options.threads {
                    let case = Case {
                        codec: *codec,
                        level: *level,
                        threads: *threads,
                        large: fs::metadata(vmcore)?.len() >= bars::LARGE,
                    };
                    compare(&ours, &peer, vmcore, &case, options.runs(), &out)?;
                }
            }
        }
    }
    Ok(())
}

/// The files that were named, and the lab's vmcores of the other names; without names one of the lab's.
fn find(sh: &Shell, lab: &Lab, named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files: Vec<_> = named
        .iter()
        .filter(|path| path.is_file())
        .cloned()
        .collect();
    let others = named.iter().filter(|path| !path.is_file());
    let mut names: Vec<_> = others.map(|path| path.display().to_string()).collect();
    if named.is_empty() {
        names.push(options::VMCORE.into());
    }
    if !names.is_empty() {
        let made = vmcores::ensure(sh, lab, &names)?;
        files.extend(made.into_iter().map(|made| made.path));
    }
    Ok(files)
}

/// Where dumps are written, and the file that they are.
struct Out(PathBuf);

impl Out {
    fn new(dir: Option<&Path>) -> Result<Self> {
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None => options::MEMORY.into(),
        };
        let dir = dir.join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }

    fn file(&self) -> PathBuf {
        self.0.join("vmcore")
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Reads a file into the page cache.
fn warm(file: &Path) -> Result<()> {
    let open = fs::File::open(file).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
    open.with_context(|| format!("cannot read {}", file.display()))
        .map(drop)
}

/// Both programs in turn at one thing; with threads, makedumpfile also without them: its best counts.
fn compare(
    ours: &Ours,
    peer: &Peer,
    vmcore: &Path,
    case: &Case,
    runs: usize,
    out: &Out,
) -> Result<()> {
    let file = out.file();
    let counts: &[usize] = match case.threads {
        0 => &[0],
        threads => &[0, threads],
    };
    let mut of_ours = Vec::new();
    let mut of_peer = vec![Vec::new(); counts.len()];
    for _ in 0..runs {
        let command = ours.command(case.codec.ours, case.level, case.threads, vmcore, &file);
        of_ours.push(Sample::take(&command, &file)?);
        for (threads, samples) in counts.iter().zip(&mut of_peer) {
            let command = peer.command(case.codec, case.level, *threads, vmcore, &file)?;
            samples.push(Sample::take(&command, &file)?);
        }
    }
    let best = counts
        .iter()
        .zip(of_peer.iter().map(|samples| Figures::of(samples)))
        .min_by(|(_, a), (_, b)| a.wall.middle.total_cmp(&b.wall.middle));
    let (threads, theirs) = best.context("there are no runs")?;
    let name = vmcore.file_stem().unwrap_or_default().to_string_lossy();
    let with = match threads {
        0 => String::new(),
        threads => format!(" (its best: {threads})"),
    };
    say(&format!("{name}, {case}{with}"));
    print(&Figures::of(&of_ours), &theirs, case);
    Ok(())
}

fn print(ours: &Figures, theirs: &Figures, case: &Case) {
    let bars = Bar::of(case);
    for ((name, ours), (_, theirs)) in ours.rows().into_iter().zip(theirs.rows()) {
        let ratio = ours.middle / theirs.middle;
        let bar = bars.iter().find(|bar| bar.figure == name);
        let judged = bar.map_or(String::new(), |bar| format!("  {}", bar.judge(ratio)));
        say(&format!(
            "  {name:<6} {:>26} {:>26}  {ratio:>6.3}{judged}",
            ours.to_string(),
            theirs.to_string(),
        ));
    }
}
