//! S3: s3s-fs, a server over a directory, built once into the lab.

use super::private_dir;
use super::process::{Process, answers, free_port};
use super::tool::{Crate, installed};
use crate::lab::Lab;
use anyhow::{Context, Result};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The newest that the toolchain of this repository builds.
const S3S: Crate = Crate {
    name: "s3s-fs",
    version: "0.14.1",
    options: &["--features", "binary"],
};
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
        let program = installed(lab, &S3S)?;
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

    /// A file with pre-signed URLs for a target of it, made as an administrator makes them.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(crate) fn presigned(baredumpctl: &Path, keys: &Path, target: &str) -> Result<PathBuf> {
        let file = keys.with_file_name("presigned");
        let mut command = Command::new(baredumpctl);
        command.args(["presign", target, "--expires", "2d", "--room", "600M"]);
        command.arg("--credentials").arg(keys);
        qemu::run_tool(command.arg("-o").arg(&file), &[0])?;
        Ok(file)
    }
}

/// A file of keys, in Amazon's form.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn credentials(dir: &Path, access: &str, secret: &str) -> Result<PathBuf> {
    let file = private_dir(dir, "s3")?.join("credentials");
    let text =
        format!("[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
