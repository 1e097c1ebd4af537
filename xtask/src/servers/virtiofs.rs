//! virtiofs: QEMU's virtiofsd over a directory.

use super::private_dir;
use super::process::Process;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tag under which guests know the directory.
pub(crate) const TAG: &str = "crash";
/// Where packages have the program: that of QEMU 7.2, and the one that came after it.
const PROGRAMS: &[&str] = &["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];

/// A running server, for one machine.
#[derive(Debug)]
pub(crate) struct Virtiofs {
    socket: PathBuf,
    _server: Process,
}

impl Virtiofs {
    /// Starts a server; what is written is in `virtiofs/files` below `dir`.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let (own, files) = (
            private_dir(dir, "virtiofs")?,
            private_dir(dir, "virtiofs/files")?,
        );
        let program = PROGRAMS.iter().find(|program| Path::new(program).exists());
        let program =
            program.with_context(|| format!("there is no {}", PROGRAMS.join(" and no ")))?;
        let socket = own.join("socket");
        let mut command = Command::new(program);
        command.arg(format!("--socket-path={}", socket.display()));
        command.arg("-o").arg(format!("source={}", files.display()));
        command.args(["-o", "sandbox=chroot"]);
        let mut server = Process::start("virtiofsd", &command, &own.join("virtiofsd.log"))?;
        server.wait_until(|| socket.exists())?;
        Ok(Self {
            socket,
            _server: server,
        })
    }

    /// QEMU's arguments: the server sees the guest's memory, which must be shared with it.
    pub(crate) fn args(&self, memory: u32) -> Vec<OsString> {
        let socket = self.socket.display().to_string().replace(',', ",,");
        [
            "-object".to_owned(),
            format!("memory-backend-memfd,id=shared,size={memory}M,share=on"),
            "-numa".into(),
            "node,memdev=shared".into(),
            "-chardev".into(),
            format!("socket,id=virtiofs,path={socket}"),
            "-device".into(),
            format!("vhost-user-fs-pci,chardev=virtiofs,tag={TAG}"),
        ]
        .map(OsString::from)
        .into()
    }
}

impl Drop for Virtiofs {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}
