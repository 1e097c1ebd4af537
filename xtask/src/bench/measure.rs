//! One run of a program, measured by a small process of its own: the kernel counts to a program's peak of memory also that of the
//! process that starts it.

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The word that makes this program such a process.
const WORD: &str = "--measure";

/// What a run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Seconds on the clock.
    pub(super) wall: f64,
    /// Seconds of processors, in the program and in the kernel.
    pub(super) cpu: f64,
    /// Most memory, in bytes.
    pub(super) rss: f64,
    /// What it wrote.
    pub(super) bytes: f64,
}

impl Sample {
    /// Runs `command`, which writes `file`; the file is removed.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn take(command: &Command, file: &Path) -> Result<Self> {
        let _ = fs::remove_file(file);
        let mut child = Command::new(std::env::current_exe()?);
        child.args(["bench", WORD]).arg(command.get_program());
        child.args(command.get_args());
        let out = qemu::run_tool(&mut child, &[0])?;
        let said = String::from_utf8_lossy(&out.stdout);
        let written = fs::metadata(file)
            .with_context(|| format!("{:?} wrote nothing", command.get_program()))?
            .len();
        let _ = fs::remove_file(file);
        let sample = parse(&said).with_context(|| format!("no figures: {said}"))?;
        Ok(Self {
            bytes: number(written),
            ..sample
        })
    }
}

/// Floating point is exact enough for what is measured.
#[allow(clippy::cast_precision_loss, reason = "so are medians and ratios")]
fn number(number: u64) -> f64 {
    number as f64
}

fn parse(text: &str) -> Option<Sample> {
    let mut words = text.split_whitespace().map(str::parse);
    let mut next = || words.next()?.ok();
    Some(Sample {
        wall: next()?,
        cpu: next()?,
        rss: next()?,
        bytes: 0.0,
    })
}

/// The program and its arguments, in the arguments of such a process.
pub(super) fn asked(arguments: &[OsString]) -> Option<&[OsString]> {
    let (word, program) = arguments.split_first()?;
    (word == WORD).then_some(program)
}

/// Runs a program and prints what it took.
///
/// # Errors
/// When it fails.
pub(super) fn child(program: &[OsString]) -> Result<()> {
    let (program, arguments) = program.split_first().context("no program")?;
    let start = Instant::now();
    let out = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let wall = start.elapsed().as_secs_f64();
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        bail!("{} failed ({}): {said}", program.display(), out.status);
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| {
        number(time.tv_sec().unsigned_abs()) + number(time.tv_usec().unsigned_abs()) / 1e6
    };
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    let rss = usage.max_rss().unsigned_abs() * 1024;
    println!("{wall} {cpu} {rss}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_run() {
        let sample = parse("1.5 0.25 4096\n").unwrap();
        assert_eq!((sample.wall, sample.cpu, sample.rss), (1.5, 0.25, 4096.0));
        assert_eq!(parse("1.5 0.25"), None);
        assert_eq!(parse("1.5 x 1"), None);
    }

    #[test]
    fn programs_are_passed_on() {
        let words = ["--measure", "a", "-b"].map(OsString::from);
        assert_eq!(asked(&words), Some(&words[1..]));
        assert_eq!(asked(&words[1..]), None);
        assert_eq!(asked(&[]), None);
    }
}
