//! Dump formats.

pub mod elf;
pub mod flat;
pub mod frames;
pub mod kdump;
#[cfg(test)]
mod memory;

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

/// A file being read at any offset.
pub trait In: Send + Sync {
    /// Its size in bytes.
    fn len(&self) -> u64;

    /// Never true of a dump.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// As read(2); also when the file ends before.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// The descriptor of a file that is better mapped than read: `/proc/vmcore`, where the kernel remaps a page for each 4 KiB
    /// that are read.
    fn to_map(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Where bytes at `offset` come from: `Ok(end)` when everything up to `end` is a hole in a file, which reads as zeros, `Err(end)`
    /// when up to `end` there are data.
    ///
    /// # Errors
    /// See above.
    fn hole_at(&self, _offset: u64) -> Result<u64, u64> {
        Err(u64::MAX)
    }
}

impl In for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = from
            .checked_add(buf.len())
            .and_then(|to| self.get(from..to));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A file being written at any offset.
pub trait Out: Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As write(2).
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes room for the bytes of `range` so that writing them later cannot run out of space, where the file system can.
    ///
    /// # Errors
    /// When there is no space for them.
    fn reserve(&self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    /// Cuts or extends the file to `len` bytes. A stream has no length to set.
    ///
    /// # Errors
    /// As ftruncate(2).
    fn set_len(&self, _len: u64) -> io::Result<()> {
        if self.is_stream() {
            return Ok(());
        }
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes sure that what was written stays, where there is such a thing.
    ///
    /// # Errors
    /// When a write that seemed to succeed did not.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// Fills `buf` with what was written at `offset` before.
    ///
    /// # Errors
    /// As read(2), and always where nothing can be read back.
    fn read_back(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether what was never written is zeros: on a device it is what was there before.
    fn has_holes(&self) -> bool {
        true
    }

    /// Whether this is a stream: what was written cannot be seen or cut again, and what is reserved or cut does nothing.
    fn is_stream(&self) -> bool {
        false
    }
}
