//! Reading physical memory out of an already written dump: whole pages, the last few of them kept opened.
//!
//! Page tables are read again and again and struct pages in small pieces; every piece would cost a page to be decompressed.

use super::{PageReader, Pages, ReadFault};
use crate::addr::{PageSize, PhysAddr};
use std::cell::RefCell;

/// Bytes of pages that are kept opened.
const CACHE: usize = 512 << 10;
/// With pages so large that fewer would fit, still as many as a walk through page tables needs.
const MIN_PAGES: usize = 8;

struct Slot {
    pfn: u64,
    used: u64,
}

struct Inner<'a> {
    reader: Box<dyn PageReader + 'a>,
    slots: Vec<Slot>,
    bytes: Vec<u8>,
    clock: u64,
}

/// One thread's view of the memory in a dump.
pub(super) struct Cache<'a> {
    size: PageSize,
    inner: RefCell<Inner<'a>>,
}

impl<'a> Cache<'a> {
    pub(super) fn new(pages: &'a dyn Pages) -> Self {
        let size = pages.page_size();
        let count = (CACHE / size.bytes()).max(MIN_PAGES);
        Self {
            size,
            inner: RefCell::new(Inner {
                reader: pages.reader(),
                slots: Vec::with_capacity(count),
                bytes: vec![0; count * size.bytes()],
                clock: 0,
            }),
        }
    }

    /// Fills `buf` from `addr` on, over as many pages as that takes.
    pub(super) fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadFault> {
        let page = self.size.bytes();
        let mut inner = self.inner.borrow_mut();
        let mut done = 0;
        while done < buf.len() {
            let at = addr.checked_add(done as u64).ok_or(ReadFault::Hole)?;
            let within = usize::try_from(at.raw() % page as u64).unwrap_or(0);
            let part = (page - within).min(buf.len() - done);
            let pfn = self.size.pfn(at).raw();
            let target = buf.get_mut(done..done + part).ok_or(ReadFault::Hole)?;
            if part == page {
                inner.read_whole(pfn, target)?;
            } else {
                target.copy_from_slice(
                    inner
                        .page(pfn, page)?
                        .get(within..within + part)
                        .unwrap_or_default(),
                );
            }
            done += part;
        }
        Ok(())
    }
}

impl Inner<'_> {
    /// A whole page goes where it is wanted: pages that are copied are not read again.
    fn read_whole(&mut self, pfn: u64, buf: &mut [u8]) -> Result<(), ReadFault> {
        if let Some(index) = self.slots.iter().position(|s| s.pfn == pfn) {
            let at = index * buf.len();
            if let Some(page) = self.bytes.get(at..at + buf.len()) {
                buf.copy_from_slice(page);
                return Ok(());
            }
        }
        self.reader.read(pfn, buf)
    }

    fn page(&mut self, pfn: u64, size: usize) -> Result<&[u8], ReadFault> {
        self.clock += 1;
        let index = match self.slots.iter().position(|s| s.pfn == pfn) {
            Some(index) => index,
            None => self.load(pfn, size)?,
        };
        if let Some(slot) = self.slots.get_mut(index) {
            slot.used = self.clock;
        }
        self.bytes
            .get(index * size..(index + 1) * size)
            .ok_or(ReadFault::Hole)
    }

    fn load(&mut self, pfn: u64, size: usize) -> Result<usize, ReadFault> {
        let full = (self.slots.len() + 1) * size > self.bytes.len();
        let oldest = self.slots.iter().enumerate().min_by_key(|(_, s)| s.used);
        let index = match oldest {
            Some((index, _)) if full => index,
            _ => self.slots.len(),
        };
        // While it is filled the slot is nobody's; it stays so when that fails.
        let nobody = Slot {
            pfn: u64::MAX,
            used: 0,
        };
        match self.slots.get_mut(index) {
            Some(slot) => *slot = nobody,
            None => self.slots.push(nobody),
        }
        let buf = self
            .bytes
            .get_mut(index * size..(index + 1) * size)
            .ok_or(ReadFault::Hole)?;
        self.reader.read(pfn, buf)?;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.pfn = pfn;
        }
        Ok(index)
    }
}
