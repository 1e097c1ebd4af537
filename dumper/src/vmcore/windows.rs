//! Reading the bytes of an ELF vmcore: `/proc/vmcore` through maps of 4 MiB windows, with pread(2) as fall-back; any other file with
//! pread(2) alone, but for its holes.
//!
//! On `/proc/vmcore` a read costs one remapping per 4 KiB page in the kernel, a window costs one for 1,024 of them. A map needs
//! a page-aligned offset and must lie inside the segment's range of the file; whatever does not fit is read. Maps of an ordinary file
//! are slower than reads, and their pages count as ours.

use super::Extent;
use crate::format::In;
use crate::sys::map::{self, Map};
use std::cell::{Cell, RefCell};
use std::io;

/// Bytes of a map; a multiple of every page size.
const WINDOW: u64 = 4 << 20;
/// Windows held at once: the page being copied, the struct pages, the log's arrays.
const WINDOWS: usize = 4;
/// A read shorter than this is not worth a new window.
const WORTH_A_WINDOW: usize = 4096;

/// Questions about holes in a row that may be of no use.
const QUESTIONS: u32 = 1024;
/// Bytes of a hole that are worth asking.
const WORTH_A_QUESTION: u64 = 64 << 10;

struct Window {
    map: Map,
    offset: u64,
    used: u64,
}

/// One thread's windows into one file.
pub(super) struct Windows<'a> {
    file: &'a dyn In,
    mmap: Cell<bool>,
    /// Maps begin and end at multiples of the running kernel's page size: it refuses others.
    align: u64,
    windows: RefCell<Vec<Window>>,
    clock: Cell<u64>,
    /// The hole, or the data, that was asked about last: from, to, whether it is a hole.
    known: Cell<(u64, u64, bool)>,
    /// Questions about holes that are left: a file of many small ones is read as it is.
    questions: Cell<u32>,
}

impl<'a> Windows<'a> {
    pub(super) fn new(file: &'a dyn In, mmap: bool) -> Self {
        Self {
            file,
            mmap: Cell::new(mmap && file.to_map().is_some()),
            align: map::page_size(),
            windows: RefCell::new(Vec::with_capacity(WINDOWS)),
            clock: Cell::new(0),
            known: Cell::new((0, 0, false)),
            questions: Cell::new(QUESTIONS),
        }
    }

    /// Fills `buf` from one extent that is known to hold it, `within` bytes from its start.
    pub(super) fn read(&self, extent: &Extent, within: u64, buf: &mut [u8]) -> io::Result<()> {
        let Some(base) = extent.offset else {
            buf.fill(0);
            return Ok(());
        };
        let offset = base.saturating_add(within);
        if self.mmap.get() && self.copy_from_window(extent, base, offset, buf) {
            return Ok(());
        }
        if buf.len() >= WORTH_A_WINDOW && self.is_hole(offset, buf.len() as u64) {
            buf.fill(0);
            return Ok(());
        }
        self.file.read_at(offset, buf)
    }

    /// Whether the `len` bytes at `offset` are known to lie in a hole.
    fn is_hole(&self, offset: u64, len: u64) -> bool {
        let (from, to, hole) = self.known.get();
        if (from..to).contains(&offset) {
            return hole && to - offset >= len;
        }
        let left = self.questions.get();
        if left == 0 {
            return false;
        }
        let (to, hole) = match self.file.hole_at(offset) {
            Ok(to) => (to, true),
            Err(to) => (to, false),
        };
        self.known.set((offset, to, hole));
        let saved = if hole {
            (to - offset) / WORTH_A_QUESTION
        } else {
            0
        };
        let saved = u32::try_from(saved).unwrap_or(u32::MAX);
        self.questions
            .set((left - 1).saturating_add(saved).min(QUESTIONS));
        hole && to - offset >= len
    }

    /// Serves a read from a map; `false` when it has to be a pread.
    fn copy_from_window(&self, extent: &Extent, base: u64, offset: u64, buf: &mut [u8]) -> bool {
        let now = self.clock.get() + 1;
        self.clock.set(now);
        let mut windows = self.windows.borrow_mut();
        for window in windows.iter_mut() {
            if offset >= window.offset && window.map.copy_to(usize_of(offset - window.offset), buf)
            {
                window.used = now;
                return true;
            }
        }
        if buf.len() < WORTH_A_WINDOW {
            return false;
        }
        let file_end = base.saturating_add(extent.end - extent.start);
        let from = (offset - offset % WINDOW).max(base.next_multiple_of(self.align));
        let to = (offset - offset % WINDOW)
            .saturating_add(WINDOW)
            .min(file_end - file_end % self.align);
        if offset < from || offset.saturating_add(buf.len() as u64) > to {
            return false;
        }
        if windows.len() == WINDOWS {
            let oldest = (0..WINDOWS).min_by_key(|i| windows[*i].used).unwrap_or(0);
            windows.swap_remove(oldest);
        }
        let mapped = self
            .file
            .to_map()
            .and_then(|file| Map::new(file, from, usize_of(to - from)).ok());
        let Some(map) = mapped else {
            self.mmap.set(false);
            return false;
        };
        let copied = map.copy_to(usize_of(offset - from), buf);
        windows.push(Window {
            map,
            offset: from,
            used: now,
        });
        copied
    }
}

/// Sizes here are bounded by a window or a caller's buffer; on the 64-bit machines that have vmcores nothing is lost.
pub(super) fn usize_of(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
