//! A file in memory as the output of a dump.

use baredump::format::Out;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The size of the disk. A dump of a synthetic kernel can't be larger, whatever its vmcore claims.
const DISK: u64 = 64 << 20;

/// A file in memory, on a disk of 64 MiB.
#[derive(Default, Debug)]
pub struct MemoryFile(Mutex<Vec<u8>>, bool);

impl MemoryFile {
    /// One that cannot be read back.
    pub fn write_only() -> Self {
        Self(Mutex::default(), true)
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn within(end: u64) -> io::Result<()> {
    if end > DISK {
        Err(io::ErrorKind::StorageFull.into())
    } else {
        Ok(())
    }
}

impl Out for MemoryFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        within(end)?;
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let len = file.len().max(end as usize);
        file.resize(len, 0);
        file[offset as usize..end as usize].copy_from_slice(bytes);
        Ok(())
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        within(range.end)
    }

    fn read_back(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if self.1 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = (offset as usize).saturating_add(buf.len());
        let bytes = file.get(offset as usize..end);
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        within(len)?;
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .resize(len as usize, 0);
        Ok(())
    }
}
