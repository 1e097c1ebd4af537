//! Servers that come as crates: built once into the lab.

use crate::lab::{Lab, say};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A crate with a program of its name.
#[derive(Debug)]
pub(super) struct Crate {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// More words for cargo.
    pub(super) options: &'static [&'static str],
}

/// The program, built when it is not there.
pub(super) fn installed(lab: &Lab, wanted: &Crate) -> Result<PathBuf> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Crate { name, version, .. } = wanted;
    let root = lab.dir("tools")?.join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if program.exists() {
        return Ok(program);
    }
    say(&format!("building {name} {version}"));
    let mut command = Command::new("cargo");
    command.args(["install", "--quiet", "--locked", "--version", version, name]);
    command.args(wanted.options).arg("--root").arg(&root);
    // Its build leaves nothing among ours.
    command.env("CARGO_TARGET_DIR", root.join("build"));
    qemu::run_tool(&mut command, &[0]).with_context(|| format!("cannot build {name}"))?;
    let _ = std::fs::remove_dir_all(root.join("build"));
    Ok(program)
}
