//! Writing a file in parts.

use super::super::dumpdir::{DumpDir, FileOut};
use super::{MAX_PARTS, pieces, suffix};
use crate::format::Out;
use nix::errno::Errno;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The parts of one file, those that were begun.
pub(super) struct SplitOut<'a> {
    dir: &'a DumpDir,
    /// Name of the first part.
    name: String,
    limit: u64,
    parts: Mutex<Vec<Part>>,
    /// Asked by who watches, also while something is written.
    written: AtomicU64,
}

struct Part {
    out: FileOut,
    len: u64,
}

impl Part {
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        if self.len != len {
            self.out.set_len(len)?;
            self.len = len;
        }
        Ok(())
    }
}

impl<'a> SplitOut<'a> {
    /// Begins the first part; older ones of the name are removed.
    pub(super) fn begin(dir: &'a DumpDir, name: &str, limit: u64) -> Result<Self, Errno> {
        let out = Self {
            dir,
            name: name.into(),
            limit: limit.max(1),
            parts: Mutex::default(),
            written: AtomicU64::new(0),
        };
        let first = out.begin_part(0)?;
        out.parts().push(first);
        Ok(out)
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How many parts there are.
    pub(super) fn count(&self) -> usize {
        self.parts().len()
    }

    /// Syncs data and sizes.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        let parts = self.parts();
        parts.iter().try_for_each(|p| p.out.file().sync_all())
    }

    /// What a panic of another thread leaves is as good as before it.
    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_part(&self, index: usize) -> Result<Part, Errno> {
        let out = self.dir.file(&format!("{}{}", self.name, suffix(index)))?;
        Ok(Part { out, len: 0 })
    }

    /// The part, which is begun with those before it; those are full then.
    fn part<'p>(&self, parts: &'p mut Vec<Part>, index: usize) -> io::Result<&'p mut Part> {
        if index >= MAX_PARTS {
            return Err(Errno::EFBIG.into());
        }
        for n in 0..=index {
            if n == parts.len() {
                parts.push(self.begin_part(n)?);
            }
            if let Some(part) = parts.get_mut(n).filter(|_| n < index) {
                part.set_len(self.limit)?;
            }
        }
        parts.get_mut(index).ok_or_else(|| Errno::EFBIG.into())
    }
}

impl Out for SplitOut<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut parts = self.parts();
        for piece in pieces(self.limit, offset, bytes.len()) {
            let part = self.part(&mut parts, piece.part)?;
            let bytes = bytes.get(piece.bytes).unwrap_or_default();
            part.out.write_at(piece.at, bytes)?;
            part.len = part.len.max(piece.at + bytes.len() as u64);
            self.written
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        let mut parts = self.parts();
        let mut at = range.start;
        while at < range.end {
            let (index, base) = (at / self.limit, at - at % self.limit);
            let end = range.end.min(base.saturating_add(self.limit));
            let part = self.part(&mut parts, usize::try_from(index).unwrap_or(usize::MAX))?;
            part.out.reserve(at - base..end - base)?;
            at = end;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut parts = self.parts();
        let last = len.saturating_sub(1) / self.limit;
        let last = usize::try_from(last).unwrap_or(usize::MAX);
        while parts.len() > last.saturating_add(1) {
            let name = format!("{}{}", self.name, suffix(parts.len() - 1));
            self.dir.unlink(&name)?;
            parts.pop();
        }
        let part = self.part(&mut parts, last)?;
        part.set_len(len - last as u64 * self.limit)
    }

    fn read_back(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let parts = self.parts();
        for piece in pieces(self.limit, offset, buf.len()) {
            let part = parts.get(piece.part);
            let part = part.ok_or(io::ErrorKind::UnexpectedEof)?;
            let buf = buf.get_mut(piece.bytes).unwrap_or_default();
            part.out.read_back(piece.at, buf)?;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let parts = self.parts();
        parts.iter().try_for_each(|part| part.out.sync())
    }
}
