//! S3: s3s-fs, a server over a directory, built once into the lab.

use super::private_dir;
use super::process::{Process, answers, free_port};
use crate::lab::{Lab, say};
use anyhow::{Context, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The crate's version: the newest that the toolchain of this repository builds.
const VERSION: &str = "0.14.1";
/// The access key.
pub(crate) const ACCESS: &str = "labaccess";
/// The secret key.
pub(crate) const SECRET: &str = "labsecret0123456789abcdefghijklmnopqrst";
/// The bucket.
pub(crate) const BUCKET: &str = "dumps";

/// A running server.
#[derive(Debug)]
pub(crate) struct S3 {
    /// Its port.
    pub(crate) port: u16,
    /// The bucket's directory.
    pub(crate) dir: PathBuf,
    _server: Process,
}

impl S3 {
    /// Starts a server; the bucket is `s3/root/dumps` below `dir`.
    ///
    /// # Errors
    /// When it cannot be built or is not ready in time.
    pub(crate) fn start(lab: &Lab, dir: &Path) -> Result<Self> {
        let program = built(lab)?;
        let (own, root) = (private_dir(dir, "s3")?, private_dir(dir, "s3/root")?);
        let bucket = private_dir(&root, BUCKET)?;
        let port = free_port()?;
        let mut command = Command::new(&program);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--access-key", ACCESS, "--secret-key", SECRET]);
        command.arg(&root);
        let mut server = Process::start("s3s-fs", &command, &own.join("s3s-fs.log"))?;
        server.wait_until(|| answers(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))?;
        Ok(Self {
            port,
            dir: bucket,
            _server: server,
        })
    }
}

/// The program, built when it is not there.
fn built(lab: &Lab) -> Result<PathBuf> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = lab.dir("tools")?.join(format!("s3s-fs-{VERSION}"));
    let program = root.join("bin/s3s-fs");
    if program.exists() {
        return Ok(program);
    }
    say(&format!("building s3s-fs {VERSION}"));
    let mut command = Command::new("cargo");
    command.args(["install", "--quiet", "--locked", "--features", "binary"]);
    command
        .args(["--version", VERSION, "s3s-fs", "--root"])
        .arg(&root);
    // Its build leaves nothing among ours.
    command.env("CARGO_TARGET_DIR", root.join("build"));
    qemu::run_tool(&mut command, &[0]).context("cannot build the S3 server")?;
    let _ = std::fs::remove_dir_all(root.join("build"));
    Ok(program)
}
