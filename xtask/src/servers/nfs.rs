//! NFS: nfs-ganesha 4 with one exported directory, for versions 4.0 to 4.2, or for version 3, which needs rpcbind.

use super::process::{Process, answers, free_port};
use super::{private_dir, rpcbind};
use anyhow::{Context, Result};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The exported directory as clients name it.
pub(crate) const EXPORT: &str = "/export";
/// There is one rpcbind, and one server of version 3 that is registered with it.
static REGISTERED: Mutex<()> = Mutex::new(());

/// A running server.
#[derive(Debug)]
pub(crate) struct Nfs {
    /// Its port.
    pub(crate) port: u16,
    /// The port of the mount protocol, which only version 3 has.
    pub(crate) mount_port: u16,
    // In the order in which they end.
    _server: Process,
    _rpcbind: Option<Process>,
    _one: Option<MutexGuard<'static, ()>>,
}

impl Nfs {
    /// Starts a server of version 4 on one address of loopback; the exported directory is `nfs/export` below `dir`.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) fn version4(dir: &Path, address: IpAddr) -> Result<Self> {
        Self::start(dir, address, 4)
    }

    /// Starts a server of version 3, and rpcbind where none runs.
    ///
    /// # Errors
    /// As [`Nfs::version4`].
    pub(crate) fn version3(dir: &Path) -> Result<Self> {
        Self::start(dir, Ipv4Addr::LOCALHOST.into(), 3)
    }

    fn start(dir: &Path, address: IpAddr, version: u8) -> Result<Self> {
        let (own, exported) = (private_dir(dir, "nfs")?, private_dir(dir, "nfs/export")?);
        let one = (version == 3).then(|| REGISTERED.lock().unwrap_or_else(PoisonError::into_inner));
        let rpcbind = match version {
            3 => rpcbind::start(&own)?,
            _ => None,
        };
        let (port, mount_port) = (free_port()?, free_port()?);
        let config = own.join("ganesha.conf");
        let text = configuration(&exported, address, version, port, mount_port);
        fs::write(&config, text).context("cannot write the configuration of nfs-ganesha")?;
        let mut command = Command::new("ganesha.nfsd");
        command.arg("-F").arg("-f").arg(&config);
        command.arg("-p").arg(own.join("pid"));
        let log = own.join("ganesha.log");
        command.arg("-L").arg(&log);
        let mut server = Process::start("nfs-ganesha", &command, &own.join("output.log"))?;
        // Its ports are open before it knows its exports.
        let initialized =
            || fs::read_to_string(&log).is_ok_and(|text| text.contains("NFS SERVER INITIALIZED"));
        server
            .wait_until(|| initialized() && answers(SocketAddr::new(address, port)))
            .with_context(|| format!("see {}", log.display()))?;
        Ok(Self {
            port,
            mount_port,
            _server: server,
            _rpcbind: rpcbind,
            _one: one,
        })
    }
}

fn configuration(
    exported: &Path,
    address: IpAddr,
    version: u8,
    port: u16,
    mount_port: u16,
) -> String {
    format!(
        "NFS_CORE_PARAM {{
  Protocols = {version};
  NFS_Port = {port};
  MNT_Port = {mount_port};
  Enable_NLM = false;
  Enable_RQUOTA = false;
  Enable_UDP = false;
  Bind_addr = {address};
}}
NFSV4 {{ Graceless = true; RecoveryBackend = fs_ng; Minor_Versions = 0,1,2; }}
EXPORT {{
  Export_Id = 1;
  Path = {path};
  Pseudo = {EXPORT};
  Access_Type = RW;
  Squash = No_Root_Squash;
  Protocols = {version};
  Transports = TCP;
  SecType = sys;
  FSAL {{ Name = VFS; }}
}}
LOG {{ Default_Log_Level = EVENT; }}
",
        path = exported.display()
    )
}
