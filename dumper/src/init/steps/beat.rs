//! Waiting for a server's disk: PID 1 hears that the step lives, and the deadline alone ends it.

use crate::format::Out;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::Builder;
use std::time::Duration;

/// Far less than any `stall`.
const INTERVAL: Duration = Duration::from_millis(500);
/// So much may lie in a server's memory: what it has to write when the dump ends is bounded by it.
const PILE: u64 = 128 << 20;

/// The way to PID 1.
pub(super) struct Beat(Option<File>);

impl Beat {
    pub(super) fn over(pipe: Option<File>) -> Self {
        Self(pipe)
    }

    /// Tells PID 1 again and again that there is progress, as long as `then` takes.
    pub(super) fn during<T>(&self, then: impl FnOnce() -> T) -> T {
        let (end, ended) = mpsc::channel::<()>();
        if let Some(mut pipe) = self.0.as_ref().and_then(|pipe| pipe.try_clone().ok()) {
            // Without a thread the wait is as long as the stall.
            let _ = Builder::new().spawn(move || {
                while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    let _ = pipe.write_all(b"progress 0 0\n");
                }
            });
        }
        let done = then();
        drop(end);
        done
    }
}

/// A file at a server, synced whenever much may have piled up there.
pub(super) struct Far<'a> {
    out: &'a dyn Out,
    beat: &'a Beat,
    pile: u64,
    since: AtomicU64,
}

impl<'a> Far<'a> {
    pub(super) fn new(out: &'a dyn Out, beat: &'a Beat) -> Self {
        Self {
            out,
            beat,
            pile: PILE,
            since: AtomicU64::new(0),
        }
    }
}

impl Out for Far<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.out.write_at(offset, bytes)?;
        let len = bytes.len() as u64;
        if self.since.fetch_add(len, Ordering::Relaxed) + len >= self.pile {
            self.sync()?;
        }
        Ok(())
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        self.out.reserve(range)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.out.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.since.store(0, Ordering::Relaxed);
        self.beat.during(|| self.out.sync())
    }

    fn read_back(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.out.read_back(offset, buf)
    }

    fn has_holes(&self) -> bool {
        self.out.has_holes()
    }

    fn is_stream(&self) -> bool {
        self.out.is_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::thread::sleep;

    /// Counts syncs, each of which takes a while.
    struct Slow(AtomicU64);

    impl Out for Slow {
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            sleep(3 * INTERVAL);
            Ok(())
        }
    }

    #[test]
    fn what_piles_up_is_synced_and_pid_1_hears_of_it() {
        let (mut heard, told) = std::io::pipe().unwrap();
        let told: std::os::fd::OwnedFd = told.into();
        let (slow, beat) = (Slow(AtomicU64::new(0)), Beat::over(Some(told.into())));
        let far = Far {
            pile: 10,
            ..Far::new(&slow, &beat)
        };
        for at in 0..9 {
            far.write_at(at, b"x").unwrap();
        }
        assert_eq!(slow.0.load(Ordering::Relaxed), 0);
        far.write_at(9, b"xy").unwrap();
        far.write_at(11, b"x").unwrap();
        assert_eq!(slow.0.load(Ordering::Relaxed), 1);
        drop(beat);
        let mut said = String::new();
        heard.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("progress 0 0\nprogress 0 0\n"), "{said}");
    }
}
