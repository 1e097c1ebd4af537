//! A file that a command on the server writes, under its incomplete name.

use super::commands::{finish, succeeded};
use super::dir::ExecDir;
use crate::format::Out;
use crate::target::ssh::fault::Fault;
use crate::target::ssh::pipe::Pipe;
use crate::target::{Pending, Place, TargetError};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Sent at once.
const PIECE: usize = 128 << 10;

/// A file being written.
pub(super) struct ExecFile<'a> {
    dir: &'a ExecDir,
    pipe: Mutex<Pipe>,
    command: String,
    incomplete: String,
    name: String,
    written: AtomicU64,
}

impl<'a> ExecFile<'a> {
    pub(super) fn begin(dir: &'a ExecDir, incomplete: &str, name: &str) -> Result<Self, Fault> {
        // What is there is removed, so that no link is followed.
        let at = dir.at(incomplete);
        let command = format!("umask 077 && rm -f {at} && cat > {at}");
        Ok(Self {
            pipe: Mutex::new(dir.shell().begin(&command)?),
            dir,
            command,
            incomplete: incomplete.into(),
            name: name.into(),
            written: AtomicU64::new(0),
        })
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Fault> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.chunks(PIECE) {
            let sent = pipe.send(piece.to_vec());
            sent.map_err(|fault| self.ended(&mut pipe, fault))?;
        }
        Ok(())
    }

    /// A command that ended says why.
    fn ended(&self, pipe: &mut Pipe, fault: Fault) -> Fault {
        let told = pipe.inbox().status.is_some();
        let ended = told.then(|| finish(pipe).and_then(|ended| succeeded(ended, &self.command)));
        match ended {
            Some(Err(said)) => said,
            _ => fault,
        }
    }

    /// Ends the command, and checks that every byte arrived.
    fn close(&self) -> Result<(), Fault> {
        self.dir.shell().patiently(|| self.closed())
    }

    fn closed(&self) -> Result<(), Fault> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        succeeded(finish(&mut pipe)?, &self.command)?;
        let at = self.dir.at(&self.incomplete);
        let sync = self.dir.sync_of(&at);
        let size = self.dir.shell().must(&format!("{sync} && wc -c < {at}"))?;
        if size.parse() == Ok(self.written()) {
            return Ok(());
        }
        let why = format!(
            "{} has {size} bytes on the server, and {} were written: it is not whole",
            self.incomplete,
            self.written()
        );
        Err(Fault::new(io::ErrorKind::WriteZero, why))
    }
}

impl Out for ExecFile<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset != self.written() {
            let why = "a file that a command writes is written from its start to its end";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let sent = self.send(bytes);
        sent.map_err(|fault| fault.into_io(self.dir.place()))?;
        self.written
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// What the command has written by now; the rest is synced at the end.
    fn sync(&self) -> io::Result<()> {
        let sync = self.dir.sync_of(&self.dir.at(&self.incomplete));
        let shell = self.dir.shell();
        let synced = shell.patiently(|| shell.must(&sync));
        let synced = synced.map_err(|fault| fault.into_io(self.dir.place()));
        synced.map(|_| ())
    }

    fn is_stream(&self) -> bool {
        true
    }
}

impl Pending for ExecFile<'_> {
    fn out(&self) -> &dyn Out {
        self
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn keep(self: Box<Self>) -> Result<(), TargetError> {
        self.close().map_err(|fault| self.dir.error(fault))
    }

    fn commit(self: Box<Self>) -> Result<(), TargetError> {
        self.close().map_err(|fault| self.dir.error(fault))?;
        self.dir.rename(&self.incomplete, &self.name).map(|_| ())
    }
}
