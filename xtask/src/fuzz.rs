//! `fuzz`: libFuzzer on every target of `tests/src/fuzz`, two at a time, with the kept corpora as a start.
//!
//! A stable compiler is enough: the coverage counters are a pass of LLVM that any rustc has; libFuzzer itself is compiled with the host's
//! C++ compiler. What a run finds goes into the corpus, merged so that only what adds coverage is kept; a failing input is left in
//! `target/lab/fuzz` and belongs into the corpus once its cause is gone.

use crate::Stop;
use crate::lab::{Lab, say, step};
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use xshell::{Shell, cmd};

/// How long each target runs when nothing is said.
const DEFAULT: Duration = Duration::from_secs(600);
/// Targets at a time.
const JOBS: usize = 2;
/// When an input takes so many seconds the target does not come back; the target itself watches its processor time.
const TIMEOUT: u32 = 20;
/// Longest input in bytes.
const MAX_INPUT: u32 = 1 << 16;
/// Bytes of a corpus that are kept, the smallest files first: they lie in the repository and run with every `cargo test`.
const KEPT: u64 = 512 << 10;
/// Counters at every edge, and the operands of comparisons.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// What one target's run came to.
struct Ran {
    name: &'static str,
    verdict: Result<String>,
}

/// Runs the targets `names` (all when there are none) for `time` each.
///
/// # Errors
/// When an input crashed a target, took too long or too much memory.
pub(crate) fn run(sh: &Shell, lab: &Lab, time: Option<Duration>, names: &[String]) -> Result<()> {
    let chosen = choose(names)?;
    let program = build(sh, lab)?;
    let time = time.unwrap_or(DEFAULT);
    step(&format!(
        "{} targets, {} s each, {JOBS} at a time",
        chosen.len(),
        time.as_secs()
    ));
    let queue = Mutex::new(VecDeque::from(chosen));
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                while let Some(name) = {
                    queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front()
                } {
                    let verdict = one(lab, &program, name, time);
                    match &verdict {
                        Ok(fact) => say(&format!("{name:<14} ok      {fact}")),
                        Err(error) => say(&format!("{name:<14} FAILED  {error:#}")),
                    }
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(Ran { name, verdict });
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let failed: Vec<_> = done
        .iter()
        .filter(|ran| ran.verdict.is_err())
        .map(|ran| ran.name)
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("failed: {}", failed.join(" "))
    }
}

fn choose(names: &[String]) -> Result<Vec<&'static str>> {
    let known: Vec<_> = tests::fuzz::TARGETS
        .iter()
        .map(|target| target.name)
        .collect();
    if let Some(stranger) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Stop::new(format!(
            "no fuzz target is called {stranger}; there are {}",
            known.join(" ")
        )));
    }
    Ok(known
        .into_iter()
        .filter(|name| names.is_empty() || names.iter().any(|asked| asked == name))
        .collect())
}

/// Builds the fuzz program with coverage counters; a C++ compiler is installed when there is none.
fn build(sh: &Shell, lab: &Lab) -> Result<PathBuf> {
    crate::setup::tool(sh, "g++", "g++")?;
    step("building the fuzz program");
    let target = lab.target.join("fuzz");
    let manifest = lab.root.join("tests/fuzz/Cargo.toml");
    let host = "x86_64-unknown-linux-gnu";
    // With --target the flags reach neither build scripts nor procedural macros.
    cmd!(
        sh,
        "cargo build --quiet --release --locked --target {host} --manifest-path {manifest}"
    )
    .env("RUSTFLAGS", FLAGS)
    .env("CARGO_TARGET_DIR", &target)
    .quiet()
    .run()?;
    Ok(target.join(host).join("release/fuzz"))
}

/// Runs one target from its corpus, then merges what was found into it.
fn one(lab: &Lab, program: &Path, name: &str, time: Duration) -> Result<String> {
    let kept = lab.root.join("tests/corpus").join(name);
    let work = lab.fresh(&format!("fuzz/{name}"))?;
    let (found, failing) = (work.join("found"), work.join("failing"));
    for dir in [&kept, &found, &failing] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let seeds = work.join("seeds");
    fs::create_dir_all(&seeds)?;
    for (number, seed) in tests::fuzz::seeds(name).into_iter().enumerate() {
        fs::write(seeds.join(format!("{number:03}")), seed)?;
    }
    let start = Instant::now();
    let log = work.join("log");
    let options = [
        format!("-max_total_time={}", time.as_secs()),
        format!("-timeout={TIMEOUT}"),
        format!("-max_len={MAX_INPUT}"),
        "-rss_limit_mb=1024".into(),
        "-print_final_stats=1".into(),
        format!("-artifact_prefix={}/", failing.display()),
    ];
    let status = Command::new(program)
        .env("FUZZ_TARGET", name)
        .args(&options)
        .args([&found, &kept, &seeds])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let why = text
            .lines()
            .rfind(|line| line.contains("ERROR") || line.contains("panicked"))
            .unwrap_or("it failed");
        bail!(
            "{why}; the input is in {}, the log is {}",
            failing.display(),
            log.display()
        );
    }
    let stat = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("stat::{key}:")));
        line.map_or("?", str::trim).to_owned()
    };
    let (runs, rss) = (stat("number_of_executed_units"), stat("peak_rss_mb"));
    let files = merge(program, name, &kept, &[found, seeds], &work)?;
    Ok(format!(
        "{runs} runs in {} s, peak {rss} MB, corpus {files} files",
        start.elapsed().as_secs()
    ))
}

/// Replaces the corpus by the smallest inputs that cover the same; gives their number.
fn merge(program: &Path, name: &str, kept: &Path, found: &[PathBuf], work: &Path) -> Result<usize> {
    let merged = work.join("merged");
    fs::create_dir_all(&merged)?;
    qemu::run_tool(
        Command::new(program)
            .env("FUZZ_TARGET", name)
            .arg("-merge=1")
            .arg(&merged)
            .arg(kept)
            .args(found),
        &[0],
    )?;
    let mut files: Vec<_> = fs::read_dir(&merged)?
        .flatten()
        .filter_map(|file| Some((file.metadata().ok()?.len(), file.path())))
        .collect();
    files.sort();
    let mut bytes = 0;
    files.retain(|(len, _)| {
        bytes += len;
        bytes <= KEPT
    });
    fs::remove_dir_all(kept)?;
    fs::create_dir_all(kept)?;
    for (_, file) in &files {
        if let Some(name) = file.file_name() {
            fs::copy(file, kept.join(name))?;
        }
    }
    Ok(files.len())
}

/// A duration as it is typed: `90s`, `10m`, `1h`.
///
/// # Errors
/// A sentence.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let seconds = |digits: &str, factor: u64| {
        digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
    };
    let parsed = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((digits, "h")) => seconds(digits, 3600),
        Some((digits, "m")) => seconds(digits, 60),
        Some((digits, "s")) => seconds(digits, 1),
        _ => seconds(text, 1),
    };
    parsed
        .filter(|n| *n > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| Stop::new(format!("`{text}` is no duration: say 90s, 10m or 1h")))
}

#[cfg(test)]
mod tests_of_durations {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("1h").unwrap(), Duration::from_secs(3600));
        assert_eq!(duration("90").unwrap(), Duration::from_secs(90));
        for bad in ["", "0s", "h", "1d", "é", "-1m"] {
            assert!(duration(bad).unwrap_err().is::<Stop>(), "{bad}");
        }
    }

    #[test]
    fn targets_are_chosen_by_name() {
        assert_eq!(choose(&[]).unwrap().len(), tests::fuzz::TARGETS.len());
        assert!(choose(&["nothing".into()]).is_err());
    }
}
