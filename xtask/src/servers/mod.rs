//! Real servers for targets behind a network, each a value: it listens on loopback with a directory and a port of its own, is ready when
//! it is made, and ends with the value. A guest on QEMU's user network reaches loopback under an address of that network.

mod authority;
pub(crate) mod check;
pub(crate) mod fence;
pub(crate) mod garage;
pub(crate) mod https;
pub(crate) mod nfs;
mod process;
pub(crate) mod proxy;
mod rpcbind;
pub(crate) mod s3;
pub(crate) mod ssh;
pub(crate) mod syslog;
mod tool;
pub(crate) mod trunk;
pub(crate) mod virtiofs;

pub(crate) use process::free_port;

use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The host's IPv4 loopback, as guests see it.
pub(crate) const HOST4: &str = "10.0.2.2";
/// The host's IPv6 loopback, as guests see it.
pub(crate) const HOST6: &str = "fec0::2";

/// A directory for nobody but its owner, made when it is not there.
fn private_dir(dir: &Path, name: &str) -> Result<PathBuf> {
    let made = dir.join(name);
    fs::create_dir_all(&made)
        .and_then(|()| fs::set_permissions(&made, fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("cannot create {}", made.display()))?;
    Ok(made)
}
