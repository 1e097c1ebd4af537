//! `peak PROGRAM [ARGUMENT…]`: runs a program and says on standard output how many KiB of memory it had at most.
//!
//! The kernel counts to a program's peak also that of the process that starts it, so it has to be a small one.

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use std::process::{Command, ExitCode};

fn main() -> Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().context("usage: peak PROGRAM [ARGUMENT...]")?;
    let status = Command::new(&program)
        .args(words)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    println!("{}", getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss());
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
