//! Outputs around an output: one that ends at a size, and one that is not there.

use crate::format::Out;
use nix::errno::Errno;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// An output that behaves as a disk that is full after `limit` bytes.
pub struct Limited<'a> {
    inner: &'a dyn Out,
    limit: u64,
    full: AtomicBool,
}

impl<'a> Limited<'a> {
    /// `inner`, of which nothing from byte `limit` on is written.
    pub fn new(inner: &'a dyn Out, limit: u64) -> Self {
        Self {
            inner,
            limit,
            full: AtomicBool::new(false),
        }
    }

    /// Whether something did not fit, into the limit or into what is behind.
    #[must_use]
    pub fn was_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    fn within(&self, end: Option<u64>) -> io::Result<()> {
        match end {
            Some(end) if end <= self.limit => Ok(()),
            _ => Err(Errno::ENOSPC.into()),
        }
    }

    /// Remembers an error that says there is no room.
    fn noted(&self, result: io::Result<()>) -> io::Result<()> {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        if let Err(error) = &result
            && matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
        {
            self.full.store(true, Relaxed);
        }
        result
    }
}

impl Out for Limited<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        let written = self
            .within(end)
            .and_then(|()| self.inner.write_at(offset, bytes));
        self.noted(written)
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        let reserved = self
            .within(Some(range.end))
            .and_then(|()| self.inner.reserve(range));
        self.noted(reserved)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let set = self
            .within(Some(len))
            .and_then(|()| self.inner.set_len(len));
        self.noted(set)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn read_back(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.inner.read_back(offset, buf)
    }

    fn has_holes(&self) -> bool {
        self.inner.has_holes()
    }

    fn is_stream(&self) -> bool {
        self.inner.is_stream()
    }
}

/// An output that takes everything and keeps nothing.
#[derive(Debug)]
pub struct Nowhere;

impl Out for Nowhere {
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_beyond_the_limit() {
        let out = Limited::new(&Nowhere, 100);
        assert!(out.write_at(90, &[0; 10]).is_ok() && !out.was_full());
        for error in [
            out.write_at(90, &[0; 11]),
            out.write_at(u64::MAX, &[0; 2]),
            out.reserve(50..101),
            out.set_len(101),
        ] {
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
            assert!(out.was_full());
        }
    }
}
