//! An output that is synced on its way: what ends the machine in the middle costs the last bytes and not all of them.

use crate::format::Out;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes between two syncs, at least: what may be lost, where the disk is fast.
const STEP: u64 = 4 << 20;
/// A sync is followed by so many times its own duration without one: it costs at most a fifth of the time, however slow the disk is.
const REST: u32 = 4;

/// An output that is synced every few MiB, as long as that costs little.
pub struct Paced<'a> {
    inner: &'a dyn Out,
    rest: u32,
    state: Mutex<State>,
}

struct State {
    written: u64,
    synced: u64,
    /// No sync before.
    due: Instant,
    /// The kernel tells the failure of a sync once; what it was about is lost all the same.
    failed: Option<String>,
}

impl<'a> Paced<'a> {
    /// `inner`, synced on its way.
    pub fn new(inner: &'a dyn Out) -> Self {
        Self::with_rest(inner, REST)
    }

    fn with_rest(inner: &'a dyn Out, rest: u32) -> Self {
        Self {
            inner,
            rest,
            state: Mutex::new(State {
                written: 0,
                synced: 0,
                due: Instant::now(),
                failed: None,
            }),
        }
    }

    /// Bytes that are known to be safe, also those written twice; `None` as long as no sync failed, when that is what was written.
    #[must_use]
    pub fn only_safe(&self) -> Option<u64> {
        let state = self.state();
        state.failed.is_some().then_some(state.synced)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync_now(&self, state: &mut State) -> io::Result<()> {
        if let Some(why) = &state.failed {
            return Err(io::Error::other(why.clone()));
        }
        let start = Instant::now();
        if let Err(error) = self.inner.sync() {
            let why = format!("cannot sync: {error}; {} bytes are safe", state.synced);
            state.failed = Some(why.clone());
            return Err(io::Error::new(error.kind(), why));
        }
        state.synced = state.written;
        state.due = Instant::now() + start.elapsed().min(Duration::from_secs(60)) * self.rest;
        Ok(())
    }
}

impl Out for Paced<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)?;
        let mut state = self.state();
        state.written += bytes.len() as u64;
        if state.written - state.synced < STEP || Instant::now() < state.due {
            return Ok(());
        }
        self.sync_now(&mut state)
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        self.inner.reserve(range)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_now(&mut self.state())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    /// A disk whose syncs are counted, take a while, and fail once.
    #[derive(Default)]
    struct Disk {
        syncs: AtomicU32,
        takes: Duration,
        fails: Option<u32>,
    }

    impl Out for Disk {
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            std::thread::sleep(self.takes);
            if self.fails == Some(self.syncs.fetch_add(1, Relaxed)) {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            Ok(())
        }
    }

    fn write(out: &dyn Out, mib: u64) -> io::Result<()> {
        (0..mib).try_for_each(|n| out.write_at(n << 20, &[0; 1 << 20]))
    }

    #[test]
    fn what_is_written_is_synced_every_few_mebibytes() {
        let disk = Disk::default();
        let out = Paced::with_rest(&disk, 0);
        write(&out, 3).unwrap();
        assert_eq!(disk.syncs.load(Relaxed), 0);
        write(&out, 29).unwrap();
        assert_eq!(disk.syncs.load(Relaxed), 8);
        assert_eq!(out.only_safe(), None);
    }

    #[test]
    fn a_slow_disk_is_asked_less_often() {
        let disk = Disk {
            takes: Duration::from_millis(100),
            ..Disk::default()
        };
        write(&Paced::new(&disk), 64).unwrap();
        assert_eq!(disk.syncs.load(Relaxed), 1);
    }

    #[test]
    fn a_sync_that_failed_once_has_failed() {
        let disk = Disk {
            fails: Some(1),
            ..Disk::default()
        };
        let out = Paced::with_rest(&disk, 0);
        out.write_at(0, b"header").unwrap();
        out.sync().unwrap();
        let error = write(&out, 8).unwrap_err().to_string();
        assert!(error.contains("6 bytes are safe"), "{error}");
        assert_eq!(out.only_safe(), Some(6));
        // The kernel would say now that all is well.
        assert!(out.sync().is_err());
    }
}
