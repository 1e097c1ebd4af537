//! A file on a server under its incomplete name.

use super::dir::SftpDir;
use super::requests::{Handle, Sftp};
use crate::format::Out;
use crate::target::ssh::fault::Fault;
use crate::target::{Pending, Place, TargetError};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file being written.
pub(super) struct SftpFile<'a> {
    dir: &'a SftpDir,
    handle: Handle,
    incomplete: String,
    name: String,
    written: AtomicU64,
}

impl<'a> SftpFile<'a> {
    pub(super) fn new(dir: &'a SftpDir, handle: Handle, incomplete: &str, name: &str) -> Self {
        Self {
            dir,
            handle,
            incomplete: incomplete.into(),
            name: name.into(),
            written: AtomicU64::new(0),
        }
    }

    fn with<T>(&self, then: impl FnOnce(&mut Sftp) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut sftp = self.dir.sftp();
        let result = then(&mut sftp).map_err(|fault| self.dir.explained(&mut sftp, fault));
        result.map_err(|fault| Fault {
            why: format!("{}: {}", self.incomplete, fault.why),
            ..fault
        })
    }

    fn io<T>(&self, then: impl FnOnce(&mut Sftp) -> Result<T, Fault>) -> io::Result<T> {
        let result = self.with(then);
        result.map_err(|fault| fault.into_io(self.dir.place()))
    }
}

impl Out for SftpFile<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.io(|sftp| sftp.write(&self.handle, offset, bytes))?;
        self.written
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.io(|sftp| sftp.set_len(&self.handle, len))
    }

    fn sync(&self) -> io::Result<()> {
        self.io(|sftp| sftp.sync(&self.handle))
    }

    fn read_back(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.io(|sftp| sftp.read(&self.handle, offset, buf))
    }
}

impl Pending for SftpFile<'_> {
    fn out(&self) -> &dyn Out {
        self
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn keep(self: Box<Self>) -> Result<(), TargetError> {
        let kept = self.with(|sftp| {
            sftp.sync(&self.handle)?;
            sftp.close(&self.handle)
        });
        kept.map_err(|fault| self.dir.error(fault))
    }

    fn commit(self: Box<Self>) -> Result<(), TargetError> {
        let (dir, from, to) = (self.dir, self.incomplete.clone(), self.name.clone());
        self.keep()?;
        if dir.rename(&from, &to)? {
            return Ok(());
        }
        let why = format!("{from} is gone from the server, it was not to be touched");
        Err(dir.error(Fault::new(io::ErrorKind::NotFound, why)))
    }
}
