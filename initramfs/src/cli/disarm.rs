//! `baredumpctl disarm`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use initramfs::loader;

/// Unload the capture kernel: a panic then only panics
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args) -> Result<ExitCode> {
    loader::disarm(Path::new("/"))?;
    super::say("not armed");
    Ok(ExitCode::SUCCESS)
}
