//! The directory of one dump on a server, by SFTP.

use super::file::SftpFile;
use super::requests::{Offers, Sftp};
use crate::target::ssh::fault::Fault;
use crate::target::ssh::path;
use crate::target::{Manners, Pending, Place, TargetError};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The type in a mode, and that of a directory.
const TYPE: (u32, u32) = (0o170_000, 0o040_000);

/// The directory of one dump.
pub(in crate::target::ssh) struct SftpDir {
    sftp: Mutex<Sftp>,
    /// The server, for errors.
    place: String,
    /// As the server knows it.
    path: String,
    in_url: String,
    offers: Offers,
    keeps_modes: bool,
}

impl SftpDir {
    /// Makes `DIR/NAME/`, or `NAME-2`, … when that exists.
    pub(in crate::target::ssh) fn create(
        mut sftp: Sftp,
        place: String,
        dir: &str,
        name: &str,
    ) -> Result<Self, Fault> {
        for dir in path::ancestors(dir) {
            if sftp.stat(dir)?.is_none() {
                sftp.make_dir(dir)?;
            }
        }
        for name in path::twins(name) {
            let path = path::join(dir, &name);
            if sftp.make_dir(&path)? {
                return Self::open(sftp, place, &path);
            }
        }
        let why = format!("there are too many directories {name}-N in {dir}: move some away");
        Err(Fault::new(io::ErrorKind::AlreadyExists, why))
    }

    /// Opens a directory that is there.
    pub(in crate::target::ssh) fn open(
        mut sftp: Sftp,
        place: String,
        path: &str,
    ) -> Result<Self, Fault> {
        let mode = sftp.stat(path)?.map(|attributes| attributes.mode);
        if mode.is_none_or(|mode| mode.is_some_and(|mode| mode & TYPE.0 != TYPE.1)) {
            let why = format!("{path} is no directory on the server");
            return Err(Fault::new(io::ErrorKind::NotADirectory, why));
        }
        Ok(Self {
            offers: sftp.offers(),
            keeps_modes: mode.flatten().is_some_and(|mode| mode & 0o777 == 0o700),
            sftp: Mutex::new(sftp),
            in_url: path::in_url(path),
            path: path.into(),
            place,
        })
    }

    pub(super) fn sftp(&self) -> MutexGuard<'_, Sftp> {
        self.sftp.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn at(&self, name: &str) -> String {
        path::join(&self.path, name)
    }

    /// An error for who uses this directory. One that comes from a full disk says so: SFTP itself has no code for that.
    pub(super) fn explained(&self, sftp: &mut Sftp, fault: Fault) -> Fault {
        /// Less than any server keeps free for long.
        const FULL: u64 = 1 << 20;
        if fault.kind != io::ErrorKind::Other {
            return fault;
        }
        match sftp.space(&self.path) {
            Some(left) if left < FULL => Fault::new(
                io::ErrorKind::StorageFull,
                format!(
                    "{}: {} KiB are free there, make room",
                    fault.why,
                    left >> 10
                ),
            ),
            _ => fault,
        }
    }

    pub(super) fn error(&self, fault: Fault) -> TargetError {
        fault.at(&self.place)
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Runs `then` for who uses this directory.
    fn with<T>(&self, then: impl FnOnce(&mut Sftp) -> Result<T, Fault>) -> Result<T, TargetError> {
        let mut sftp = self.sftp();
        let result = then(&mut sftp).map_err(|fault| self.explained(&mut sftp, fault));
        result.map_err(|fault| self.error(fault))
    }
}

impl Place for SftpDir {
    #[allow(
        clippy::misnamed_getters,
        reason = "the other one is how the server is asked"
    )]
    fn path(&self) -> &str {
        &self.in_url
    }

    /// SFTP can sync a file, but no directory: a name can be lost with the server's power, its bytes cannot.
    fn manners(&self) -> Manners {
        Manners {
            any_offset: true,
            keeps_modes: self.keeps_modes,
            renames: true,
            syncs: self.offers.fsync,
        }
    }

    fn begin(&self, incomplete: &str, name: &str) -> Result<Box<dyn Pending + '_>, TargetError> {
        let handle = self.with(|sftp| sftp.create(&self.at(incomplete)))?;
        Ok(Box::new(SftpFile::new(self, handle, incomplete, name)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool, TargetError> {
        self.with(|sftp| sftp.rename(&self.at(from), &self.at(to)))
    }

    fn remove(&self, name: &str) -> Result<(), TargetError> {
        self.with(|sftp| sftp.remove(&self.at(name)).map(|_| ()))
    }

    fn size(&self, name: &str) -> Option<u64> {
        let attributes = self.sftp().stat(&self.at(name));
        attributes
            .ok()
            .flatten()
            .and_then(|attributes| attributes.size)
    }
}
