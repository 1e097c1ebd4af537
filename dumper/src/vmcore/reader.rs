//! Reading physical memory out of a vmcore, whatever holds it.

use super::cache::Cache;
use super::windows::{Windows, usize_of};
use super::{Extents, Pages, PhysMem, ReadError, ReadFault};
use crate::addr::{PageSize, Pfn, PhysAddr};
use crate::format::In;

/// Where the bytes come from.
enum Source<'a> {
    Elf(Windows<'a>, &'a Extents),
    Dump(Cache<'a>),
}

/// One thread's view of the memory in a vmcore.
pub struct Reader<'a>(Source<'a>);

impl<'a> Reader<'a> {
    pub(super) fn of_elf(file: &'a dyn In, extents: &'a Extents, mmap: bool) -> Self {
        Self(Source::Elf(Windows::new(file, mmap), extents))
    }

    pub(super) fn of_dump(pages: &'a dyn Pages) -> Self {
        Self(Source::Dump(Cache::new(pages)))
    }

    /// Fills `buf` with the pages from `first` on, in one go: `false` when they do not lie in one piece of an ELF vmcore or it cannot be
    /// read. Then they are to be read one by one.
    pub fn read_run(&self, first: Pfn, size: PageSize, buf: &mut [u8]) -> bool {
        let Source::Elf(windows, extents) = &self.0 else {
            return false;
        };
        let start = size.phys(first);
        let Some((start, extent)) = start.and_then(|s| Some((s, extents.find(s)?))) else {
            return false;
        };
        extent.end - start.raw() >= buf.len() as u64
            && windows
                .read(&extent, start.raw() - extent.start, buf)
                .is_ok()
    }

    /// Fills `buf` with page `pfn`. Bytes that no segment covers are zeros, as in every other reader.
    ///
    /// # Errors
    /// When no byte of the page is in the vmcore, or a byte that is cannot be read.
    pub fn read_page(&self, pfn: Pfn, size: PageSize, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len();
        let fault = |addr, why| ReadError { addr, len, why };
        let Some(start) = size.phys(pfn) else {
            return Err(fault(PhysAddr::new(u64::MAX), ReadFault::Hole));
        };
        match &self.0 {
            Source::Elf(windows, extents) => read_page(windows, extents, start, buf),
            Source::Dump(cache) => cache.read(start, buf),
        }
        .map_err(|why| fault(start, why))
    }
}

/// One page of an ELF vmcore, put together from every extent that touches it.
fn read_page(
    windows: &Windows<'_>,
    extents: &Extents,
    start: PhysAddr,
    buf: &mut [u8],
) -> Result<(), ReadFault> {
    let end = start
        .checked_add(buf.len() as u64)
        .ok_or(ReadFault::Hole)?
        .raw();
    match extents.find(start) {
        Some(extent) if extent.end >= end => {
            return Ok(windows.read(&extent, start.raw() - extent.start, buf)?);
        }
        _ => {}
    }
    buf.fill(0);
    let mut at = start;
    let mut touched = false;
    while let Some(extent) = extents.at_or_after(at) {
        let from = extent.start.max(at.raw());
        let to = extent.end.min(end);
        if from >= to {
            break;
        }
        let (a, b) = (usize_of(from - start.raw()), usize_of(to - start.raw()));
        if let Some(part) = buf.get_mut(a..b) {
            windows.read(&extent, from - extent.start, part)?;
        }
        touched = true;
        at = PhysAddr::new(to);
    }
    if touched {
        Ok(())
    } else {
        Err(ReadFault::Hole)
    }
}

/// Bytes of an ELF vmcore that all lie in extents.
fn read(
    windows: &Windows<'_>,
    extents: &Extents,
    addr: PhysAddr,
    buf: &mut [u8],
) -> Result<(), ReadFault> {
    let mut done = 0;
    while done < buf.len() {
        let at = addr.checked_add(done as u64).ok_or(ReadFault::Hole)?;
        let extent = extents.find(at).ok_or(ReadFault::Hole)?;
        let part = usize_of(extent.end - at.raw()).min(buf.len() - done);
        windows.read(
            &extent,
            at.raw() - extent.start,
            &mut buf[done..done + part],
        )?;
        done += part;
    }
    Ok(())
}

impl PhysMem for Reader<'_> {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        match &self.0 {
            Source::Elf(windows, extents) => read(windows, extents, addr, buf),
            Source::Dump(cache) => cache.read(addr, buf),
        }
        .map_err(|why| ReadError {
            addr,
            len: buf.len(),
            why,
        })
    }
}
