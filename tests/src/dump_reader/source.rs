//! Where a dump's bytes come from: memory, or a file that is read window by window.

use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Bytes read ahead: neighbours in a file are read one after the other.
const WINDOW: u64 = 1 << 20;

/// A dump's bytes.
#[derive(Debug)]
pub(super) enum Source {
    /// All of them.
    Memory(Vec<u8>),
    /// A file, its length, and the part of it that was read last.
    File(File, u64, Mutex<Window>),
}

/// A part of a file.
#[derive(Debug, Default)]
pub(super) struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let len = file.metadata()?.len();
        Ok(Self::File(file, len, Mutex::default()))
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, len, _) => *len,
        }
    }

    /// Bytes from `at` on; `None` when they are not all there.
    pub(super) fn get(&self, at: u64, len: usize) -> Result<Option<Vec<u8>>> {
        if at
            .checked_add(len as u64)
            .is_none_or(|end| end > self.len())
        {
            return Ok(None);
        }
        let mut bytes = vec![0; len];
        match self {
            Self::Memory(all) => bytes.copy_from_slice(&all[at as usize..][..len]),
            Self::File(file, size, window) => {
                let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
                window.read(file, *size, at, &mut bytes)?;
            }
        }
        Ok(Some(bytes))
    }
}

impl Window {
    fn read(&mut self, file: &File, size: u64, at: u64, into: &mut [u8]) -> Result<()> {
        let len = into.len() as u64;
        if len > WINDOW / 2 {
            return Ok(file.read_exact_at(into, at)?);
        }
        let end = self.start + self.bytes.len() as u64;
        if at < self.start || at + len > end {
            self.start = at;
            self.bytes.resize(WINDOW.min(size - at) as usize, 0);
            let read = file.read_exact_at(&mut self.bytes, at);
            if read.is_err() {
                self.bytes.clear();
            }
            read?;
        }
        into.copy_from_slice(&self.bytes[(at - self.start) as usize..][..into.len()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::{Source, WINDOW};

    #[test]
    fn a_file_reads_as_memory_does() {
        let bytes: Vec<u8> = (0..WINDOW as u32).flat_map(u32::to_le_bytes).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, &bytes).unwrap();
        let (file, memory) = (Source::open(&path).unwrap(), Source::Memory(bytes));
        assert_eq!(file.len(), memory.len());
        for at in [
            0,
            1,
            WINDOW - 10,
            5,
            4 * WINDOW - 24,
            4 * WINDOW - 23,
            u64::MAX,
        ] {
            for len in [0, 24, 700_000] {
                let (a, b) = (file.get(at, len).unwrap(), memory.get(at, len).unwrap());
                assert!(a == b, "{len} bytes at {at}");
            }
        }
    }
}
