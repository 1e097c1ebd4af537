//! Reading physical memory out of a vmcore: through maps of 4 MiB windows, with pread(2) as fall-back.
//!
//! On `/proc/vmcore` a read costs one remapping per 4 KiB page in the kernel, a window costs one for 1,024 of them. A map needs
//! a page-aligned offset and must lie inside the segment's range of the file; whatever does not fit is read.

use super::{Extent, PhysMem, ReadError, ReadFault, Vmcore};
use crate::addr::{PageSize, Pfn, PhysAddr};
use crate::sys::map::Map;
use std::cell::{Cell, RefCell};
use std::os::unix::fs::FileExt;

const WINDOW: u64 = 4 << 20;
/// Maps are aligned to 4 KiB file offsets; a capture kernel with larger pages refuses others and then reads are used.
const ALIGN: u64 = 4096;
/// Windows held at once: the page being copied, the struct pages, the log's arrays.
const WINDOWS: usize = 4;
/// A read shorter than this is not worth a new window.
const WORTH_A_WINDOW: usize = 4096;

struct Window {
    map: Map,
    offset: u64,
    used: u64,
}

/// One thread's view of the memory in a vmcore.
pub struct Reader<'a> {
    core: &'a Vmcore,
    mmap: Cell<bool>,
    windows: RefCell<Vec<Window>>,
    clock: Cell<u64>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(core: &'a Vmcore, mmap: bool) -> Self {
        Self {
            core,
            mmap: Cell::new(mmap),
            windows: RefCell::new(Vec::with_capacity(WINDOWS)),
            clock: Cell::new(0),
        }
    }

    /// Fills `buf` with page `pfn`. Bytes that no segment covers are zeros, as in every other reader.
    ///
    /// # Errors
    /// When no byte of the page is in the vmcore, or a byte that is cannot be read.
    pub fn read_page(&self, pfn: Pfn, size: PageSize, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len();
        let hole = |addr| ReadError {
            addr,
            len,
            why: ReadFault::Hole,
        };
        let start = size
            .phys(pfn)
            .ok_or_else(|| hole(PhysAddr::new(u64::MAX)))?;
        let end = start
            .checked_add(len as u64)
            .ok_or_else(|| hole(start))?
            .raw();
        match self.core.extents().find(start) {
            Some(extent) if extent.end >= end => return self.read_extent(&extent, start, buf),
            _ => {}
        }
        buf.fill(0);
        let mut at = start;
        let mut touched = false;
        while let Some(extent) = self.core.extents().at_or_after(at) {
            let from = extent.start.max(at.raw());
            let to = extent.end.min(end);
            if from >= to {
                break;
            }
            let (a, b) = (usize_of(from - start.raw()), usize_of(to - start.raw()));
            if let Some(part) = buf.get_mut(a..b) {
                self.read_extent(&extent, PhysAddr::new(from), part)?;
            }
            touched = true;
            at = PhysAddr::new(to);
        }
        if touched { Ok(()) } else { Err(hole(start)) }
    }

    /// Fills `buf` from one extent that is known to hold it.
    fn read_extent(
        &self,
        extent: &Extent,
        addr: PhysAddr,
        buf: &mut [u8],
    ) -> Result<(), ReadError> {
        let Some(base) = extent.offset else {
            buf.fill(0);
            return Ok(());
        };
        let offset = base.saturating_add(addr.raw() - extent.start);
        if self.mmap.get() && self.copy_from_window(extent, base, offset, buf) {
            return Ok(());
        }
        self.core
            .file
            .read_exact_at(buf, offset)
            .map_err(|e| ReadError {
                addr,
                len: buf.len(),
                why: e.into(),
            })
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
        let from = (offset - offset % WINDOW).max(base.next_multiple_of(ALIGN));
        let to = (offset - offset % WINDOW)
            .saturating_add(WINDOW)
            .min(file_end - file_end % ALIGN);
        if offset < from || offset.saturating_add(buf.len() as u64) > to {
            return false;
        }
        if windows.len() == WINDOWS {
            let oldest = (0..WINDOWS).min_by_key(|i| windows[*i].used).unwrap_or(0);
            windows.swap_remove(oldest);
        }
        let Ok(map) = Map::new(&self.core.file, from, usize_of(to - from)) else {
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
fn usize_of(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl PhysMem for Reader<'_> {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let mut done = 0;
        let len = buf.len();
        while done < len {
            let hole = ReadError {
                addr,
                len,
                why: ReadFault::Hole,
            };
            let Some(at) = addr.checked_add(done as u64) else {
                return Err(hole);
            };
            let Some(extent) = self.core.extents().find(at) else {
                return Err(hole);
            };
            let part = usize_of(extent.end - at.raw()).min(len - done);
            self.read_extent(&extent, at, &mut buf[done..done + part])?;
            done += part;
        }
        Ok(())
    }
}
