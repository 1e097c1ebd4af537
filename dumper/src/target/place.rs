//! What every target offers: the directory of one dump, and files in it that begin under an incomplete name.

use super::file::TargetError;
use crate::format::Out;
use std::io::{self, Write};

/// What holds of the files at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Manners {
    /// A file is written at any offset and read back; otherwise from its start to its end, so that a dump there is a stream.
    pub any_offset: bool,
    /// Files keep the mode 0600 and their owner.
    pub keeps_modes: bool,
    /// A file gets its final name when it is whole, in one step.
    pub renames: bool,
    /// What is committed has been synced by the other side.
    pub syncs: bool,
}

/// A file that holds a part of another, or all of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its CRC-32, where it was computed.
    pub crc32: Option<u32>,
}

impl Part {
    /// One whose checksum is not known.
    pub fn new(name: &str, bytes: u64) -> Self {
        Self {
            name: name.into(),
            bytes,
            crc32: None,
        }
    }
}

/// The directory of one dump at a target.
pub trait Place: Sync {
    /// Its path as the target names it, for the report and for opening it again.
    fn path(&self) -> &str;

    /// What holds of files here.
    fn manners(&self) -> Manners;

    /// Begins a file that will be called `name` and is called `incomplete` until then. A leftover of that name is truncated.
    /// Where files are streams, one is written at a time.
    ///
    /// # Errors
    /// When it cannot be made.
    fn begin(&self, incomplete: &str, name: &str) -> Result<Box<dyn Pending + '_>, TargetError>;

    /// Renames a file if it is there; false when it is not.
    ///
    /// # Errors
    /// When it is there and cannot be renamed.
    fn rename(&self, from: &str, to: &str) -> Result<bool, TargetError>;

    /// Removes a file; that it is not there is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn remove(&self, name: &str) -> Result<(), TargetError>;

    /// Size of a file, `None` when it is not there.
    fn size(&self, name: &str) -> Option<u64>;

    /// Whether a file that has its final name is whole. Where nothing is renamed only who wrote it knows.
    fn names_whole(&self) -> bool {
        self.manners().renames
    }

    /// Whether [`Place::size`] can be asked: a server may let us put files and not look at them.
    fn can_look(&self) -> bool {
        true
    }

    /// The files that cat(1) makes this file of: it alone where files are not in parts, none when it is not there.
    fn parts(&self, name: &str) -> Vec<Part> {
        let whole = self.size(name).map(|bytes| Part::new(name, bytes));
        whole.into_iter().collect()
    }

    /// Makes sure that what is in a file stays, where that can be done from outside; that it is not there is no error.
    ///
    /// # Errors
    /// When the sync fails.
    fn settle(&self, _name: &str) -> Result<(), TargetError> {
        Ok(())
    }

    /// What happened on the way that the report should say, so far.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// Writes a whole small file in the place of an older one.
    ///
    /// # Errors
    /// When any step fails; an older file of the name is then untouched, where the target renames.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), TargetError> {
        let pending = self.begin(&format!("{name}-incomplete"), name)?;
        pending
            .out()
            .write_at(0, bytes)
            .map_err(|source| TargetError::Path {
                action: "write",
                path: format!("{}/{name}", self.path()).into(),
                source,
            })?;
        pending.commit()
    }
}

/// A file under its incomplete name. Dropped, it keeps that name.
pub trait Pending {
    /// Where to write. Where files are streams each write begins where the one before ended, and nothing is read back.
    fn out(&self) -> &dyn Out;

    /// Bytes written so far, also those written twice.
    fn written(&self) -> u64;

    /// Syncs what is written and leaves the incomplete name.
    ///
    /// # Errors
    /// When the sync fails.
    fn keep(self: Box<Self>) -> Result<(), TargetError>;

    /// Syncs, gives the file its final name and syncs the directory.
    ///
    /// # Errors
    /// When any of this fails; before the rename the file keeps its incomplete name.
    fn commit(self: Box<Self>) -> Result<(), TargetError>;
}

/// Writes an output from its start to its end, and keeps the checksum of what went there.
pub struct Sequence<'a> {
    out: &'a dyn Out,
    at: u64,
    crc: crc32fast::Hasher,
}

impl<'a> Sequence<'a> {
    /// Begins at the start of `out`.
    pub fn new(out: &'a dyn Out) -> Self {
        Self {
            out,
            at: 0,
            crc: crc32fast::Hasher::new(),
        }
    }

    /// Bytes so far, and their CRC-32.
    pub fn sum(self) -> (u64, u32) {
        (self.at, self.crc.finalize())
    }
}

impl Write for Sequence<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        self.crc.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
