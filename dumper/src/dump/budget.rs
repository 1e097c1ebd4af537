//! What memory a dump may take, decided before the first page.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of memory for each worker: two chunks with their descriptors, what is read at once, the compressor.
const WORKER: u64 = 1 << 20;
/// Memory that is left to everybody else: the kernel, its page cache, the supervisor.
const OTHERS: u64 = 4 << 20;
/// A window of the bitmaps, in bytes: 32 GiB in pages of 4 KiB.
const WINDOW: u64 = 1 << 20;
/// A stream cannot be read back: a larger window spares the second walk over the struct pages.
const STREAM_WINDOW: u64 = 4 << 20;
/// Smaller windows are not worth it: 2 GiB in pages of 4 KiB.
const MIN_WINDOW: u64 = 64 << 10;

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Pages in a window of the bitmaps.
    pub window: u64,
    /// Worker threads.
    pub threads: usize,
}

impl Budget {
    /// For `pages` pages, with `available` bytes of memory and at most `threads` workers, into a stream or a file.
    #[must_use]
    pub fn decide(pages: u64, available: u64, threads: usize, is_stream: bool) -> Self {
        let free = available.saturating_sub(OTHERS);
        let most = if is_stream { STREAM_WINDOW } else { WINDOW };
        // A power of two: windows begin where sections and free blocks do.
        let window = (free / 8).clamp(MIN_WINDOW, most);
        let window = (1 << window.ilog2()).min(most);
        let left = free.saturating_sub(window);
        let workers = usize::try_from(left / 2 / WORKER).unwrap_or(usize::MAX);
        Self {
            window: (window * 8).min(pages.max(1).next_multiple_of(64)),
            threads: threads.min(workers),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (window, threads) = (self.window / 8 / 1024, self.threads);
        write!(
            f,
            "bitmaps in windows of {window} KiB, {threads} worker threads"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of 4 KiB in so many GiB.
    fn gib(n: u64) -> u64 {
        n << 18
    }

    #[test]
    fn decisions() {
        let mib = |n: u64| n << 20;
        for (pages, available, threads, is_stream, window, workers) in [
            // All memory in one window.
            (gib(1), mib(64), 0, false, gib(1), 0),
            (gib(1), mib(64), 2, false, gib(1), 2),
            (gib(16), mib(64), 8, false, gib(16), 8),
            (gib(32), mib(32), 64, false, gib(32), 13),
            // More than that.
            (gib(1024), mib(64), 1, false, gib(32), 1),
            (gib(65536), mib(64), 1, false, gib(32), 1),
            (gib(128), mib(64), 1, true, gib(128), 1),
            (gib(1024), mib(64), 1, true, gib(128), 1),
            // Hardly any memory.
            (gib(1024), mib(8), 4, false, gib(16), 1),
            (gib(1024), mib(4), 4, false, gib(2), 0),
            (gib(1024), 0, 4, true, gib(2), 0),
            (3, 0, 4, false, 64, 0),
            (0, u64::MAX, 64, false, 64, 64),
        ] {
            let want = Budget {
                window,
                threads: workers,
            };
            let got = Budget::decide(pages, available, threads, is_stream);
            assert_eq!(got, want, "{pages} {available} {threads} {is_stream}");
        }
    }

    #[test]
    fn never_more_than_there_is() {
        for available in (8..64).map(|n| n << 20) {
            let budget = Budget::decide(gib(1 << 20), available, 64, true);
            let taken = budget.window / 8 + budget.threads as u64 * WORKER;
            assert!(taken + OTHERS <= available, "{available} {budget:?}");
        }
    }
}
