//! `bench --codecs`: what each codec and preset of baredump does to the kept pages of kernels, as a table for docs/codecs.md.

use super::figures::Figures;
use super::measure::Sample;
use super::options::Options;
use super::programs::Ours;
use super::warm;
use crate::lab::{say, step};
use anyhow::{Context, Result};
use baredump::compress::Compression;
use std::path::{Path, PathBuf};

/// Prints a table with a line for each vmcore and codec.
///
/// # Errors
/// When a dump cannot be made.
pub(super) fn run(ours: &Ours, vmcores: &[PathBuf], options: &Options, file: &Path) -> Result<()> {
    let level = *options.levels.first().context("no level")?;
    step(&format!(
        "codecs, level {level}, no worker threads, medians of {} runs in turn",
        options.runs()
    ));
    say("| Kernel | `--compress` | Bytes of 100 | CPU of the whole run, s per GiB kept |");
    say("|---|---|---|---|");
    for vmcore in vmcores {
        warm(vmcore)?;
        let mut samples = vec![Vec::new(); Compression::ALL.len()];
        for _ in 0..options.runs() {
            for ((_, name, _), samples) in Compression::ALL.into_iter().zip(&mut samples) {
                let command = ours.command(name, level, 0, vmcore, file);
                samples.push(Sample::take(&command, file)?);
            }
        }
        let figures: Vec<_> = samples.iter().map(|samples| Figures::of(samples)).collect();
        let plain = figures.first().context("no codecs")?.bytes.middle;
        let kernel = vmcore.file_stem().unwrap_or_default().to_string_lossy();
        for ((_, name, _), figures) in Compression::ALL.into_iter().zip(&figures) {
            say(&format!(
                "| {kernel} | `{name}` | {:.1} | {:.2} |",
                100.0 * figures.bytes.middle / plain,
                figures.cpu.middle / (plain / f64::from(1 << 30)),
            ));
        }
    }
    Ok(())
}
