//! The programs that the tests run: those named by `BAREDUMP` and `BAREDUMPCTL`, or built once next to the tests.

use anyhow::{Context, Result, ensure};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// `baredump`.
///
/// # Panics
/// When it can't be built.
pub fn baredump() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| find("BAREDUMP", "baredump", "baredump"))
}

/// `baredumpctl`.
///
/// # Panics
/// When it can't be built.
pub fn baredumpctl() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| find("BAREDUMPCTL", "initramfs", "baredumpctl"))
}

fn find(variable: &str, package: &str, binary: &str) -> PathBuf {
    match env::var_os(variable) {
        Some(named) => named.into(),
        None => build(package, binary).unwrap_or_else(|e| panic!("{binary}: {e:#}")),
    }
}

/// Builds into the target directory that this test runs in.
fn build(package: &str, binary: &str) -> Result<PathBuf> {
    let exe = env::current_exe()?;
    let profile = exe.ancestors().nth(2).context("a test has a profile")?;
    let target = profile.parent().context("a profile has a directory")?;
    let status = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["build", "--quiet", "--package", package, "--bin", binary])
        .arg("--target-dir")
        .arg(target)
        .current_dir("..")
        .status()?;
    ensure!(status.success(), "cargo build: {status}");
    Ok(profile.join(binary))
}
