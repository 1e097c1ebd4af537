//! The directory of one dump on a server, by commands.

use super::commands::{Shell, quoted};
use super::file::ExecFile;
use crate::target::ssh::client::Client;
use crate::target::ssh::fault::Fault;
use crate::target::ssh::path;
use crate::target::{Manners, Pending, Place, TargetError};
use std::io;
use std::sync::Arc;

/// The directory of one dump.
pub(in crate::target::ssh) struct ExecDir {
    shell: Shell,
    /// The server, for errors.
    place: String,
    /// As the server knows it.
    path: String,
    in_url: String,
    syncs: bool,
}

impl ExecDir {
    /// Makes `DIR/NAME/`, or `NAME-2`, … when that exists.
    pub(in crate::target::ssh) fn create(
        client: &Arc<Client>,
        place: String,
        dir: &str,
        name: &str,
    ) -> Result<Self, Fault> {
        let shell = Shell::new(client);
        shell.must(&format!("umask 077 && mkdir -p {}", quoted(dir)))?;
        for name in path::twins(name) {
            let path = path::join(dir, &name);
            let made = format!("umask 077 && mkdir {}", quoted(&path));
            let ended = shell.run(&made)?;
            if ended.status == 0 {
                return Self::open(client, place, &path);
            }
            if shell.run(&format!("test -e {}", quoted(&path)))?.status != 0 {
                super::commands::succeeded(ended, &made)?;
            }
        }
        let why = format!("there are too many directories {name}-N in {dir}: move some away");
        Err(Fault::new(io::ErrorKind::AlreadyExists, why))
    }

    /// Opens a directory that is there.
    pub(in crate::target::ssh) fn open(
        client: &Arc<Client>,
        place: String,
        path: &str,
    ) -> Result<Self, Fault> {
        let shell = Shell::new(client);
        shell.must(&format!("test -d {}", quoted(path)))?;
        let syncs = shell.run("command -v sync >/dev/null")?.status == 0;
        Ok(Self {
            shell,
            place,
            path: path.into(),
            in_url: path::in_url(path),
            syncs,
        })
    }

    pub(super) fn shell(&self) -> &Shell {
        &self.shell
    }

    /// A file in it, quoted.
    pub(super) fn at(&self, name: &str) -> String {
        quoted(&path::join(&self.path, name))
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn error(&self, fault: Fault) -> TargetError {
        fault.at(&self.place)
    }

    /// The commands that sync `path`, which is quoted. An older `sync` takes no name: then everything is synced.
    pub(super) fn sync_of(&self, path: &str) -> String {
        match self.syncs {
            true => format!("{{ sync {path} 2>/dev/null || sync; }}"),
            false => "true".into(),
        }
    }

    fn rename_in_place(&self, from: &str, to: &str) -> Result<bool, Fault> {
        let (from, to) = (self.at(from), self.at(to));
        if self.shell.run(&format!("test -e {from}"))?.status != 0 {
            return Ok(false);
        }
        let dir = self.sync_of(&quoted(&self.path));
        let rename = format!("mv -f {from} {to} && {dir}");
        let renamed = self.shell.patiently(|| self.shell.must(&rename));
        renamed.map(|_| true)
    }
}

impl Place for ExecDir {
    #[allow(
        clippy::misnamed_getters,
        reason = "the other one is how the server is asked"
    )]
    fn path(&self) -> &str {
        &self.in_url
    }

    fn manners(&self) -> Manners {
        Manners {
            any_offset: false,
            keeps_modes: true,
            renames: true,
            syncs: self.syncs,
        }
    }

    fn begin(&self, incomplete: &str, name: &str) -> Result<Box<dyn Pending + '_>, TargetError> {
        let file = ExecFile::begin(self, incomplete, name);
        let file = file.map_err(|fault| self.error(fault))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool, TargetError> {
        let renamed = self.rename_in_place(from, to);
        renamed.map_err(|fault| self.error(fault))
    }

    fn remove(&self, name: &str) -> Result<(), TargetError> {
        let removed = self.shell.must(&format!("rm -f {}", self.at(name)));
        removed.map(|_| ()).map_err(|fault| self.error(fault))
    }

    fn size(&self, name: &str) -> Option<u64> {
        let size = self.shell.must(&format!("wc -c < {}", self.at(name)));
        size.ok()?.parse().ok()
    }
}
