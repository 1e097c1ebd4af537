//! Outputs around an output: one that ends at a size, one that makes room; and one that is not there.

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
        if result.as_ref().is_err_and(no_room) {
            self.full.store(true, Relaxed);
        }
        result
    }
}

/// Whether an error says that there is no room.
fn no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
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

/// An output for which room is made when there is none.
pub struct Roomy<'a> {
    inner: &'a dyn Out,
    free: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Roomy<'a> {
    /// `inner`; `free` says whether it has made room.
    pub fn new(inner: &'a dyn Out, free: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { inner, free }
    }

    fn again(&self, write: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
        match write() {
            Err(error) if no_room(&error) && (self.free)() => write(),
            done => done,
        }
    }
}

impl Out for Roomy<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.again(&|| self.inner.write_at(offset, bytes))
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        self.again(&|| self.inner.reserve(range.clone()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
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

    #[test]
    fn room_is_made_once_it_is_missing() {
        use std::sync::atomic::AtomicU64;
        /// A disk that has `room` bytes.
        struct Disk(AtomicU64);
        impl Out for Disk {
            fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
                let end = offset + bytes.len() as u64;
                match end <= self.0.load(Relaxed) {
                    true => Ok(()),
                    false => Err(Errno::ENOSPC.into()),
                }
            }
        }
        let disk = Disk(AtomicU64::new(10));
        let free = || disk.0.swap(20, Relaxed) == 10;
        let out = Roomy::new(&disk, &free);
        assert!(out.write_at(0, &[0; 10]).is_ok() && disk.0.load(Relaxed) == 10);
        assert!(out.write_at(10, &[0; 10]).is_ok());
        assert!(out.write_at(20, &[0; 1]).is_err());
    }
}
