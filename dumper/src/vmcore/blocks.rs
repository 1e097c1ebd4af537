//! A dump whose blocks hold several pages each: QEMU writes those of arm64 guests in blocks of 64 KiB, whatever pages the guest has.

use super::{Origin, PageReader, Pages, ReadFault};
use crate::addr::PageSize;
use crate::filter::Bitmap;
use std::io;

/// The same dump by pages.
pub(super) struct Blocks {
    dump: Box<dyn Pages>,
    page: PageSize,
    /// Pages in a block, as a power of two.
    shift: u32,
    exists: Bitmap,
    kept: Bitmap,
}

impl Blocks {
    /// The bitmaps of the dump by pages of this size, which is smaller than its blocks; `None` when there is no memory for them.
    pub(super) fn maps(dump: &dyn Pages, page: PageSize) -> Option<(Bitmap, Bitmap)> {
        let shift = dump.page_size().shift().checked_sub(page.shift())?;
        divided(dump.exists(), shift).zip(divided(dump.kept(), shift))
    }

    /// The dump by pages of this size.
    pub(super) fn new(
        dump: Box<dyn Pages>,
        page: PageSize,
        (exists, kept): (Bitmap, Bitmap),
    ) -> Self {
        let shift = dump.page_size().shift() - page.shift();
        Self {
            dump,
            page,
            shift,
            exists,
            kept,
        }
    }
}

/// A bit for each page of every block.
fn divided(blocks: &Bitmap, shift: u32) -> Option<Bitmap> {
    let mut pages = Bitmap::new(blocks.len().checked_mul(1 << shift)?)?;
    let mut at = 0;
    while let Some(first) = blocks.next(at) {
        at = blocks.next_clear(first);
        pages.set_range(first << shift, at << shift);
    }
    Some(pages)
}

impl Pages for Blocks {
    fn page_size(&self) -> PageSize {
        self.page
    }

    fn exists(&self) -> &Bitmap {
        &self.exists
    }

    fn kept(&self) -> &Bitmap {
        &self.kept
    }

    fn origin(&self) -> &Origin {
        self.dump.origin()
    }

    fn reader(&self) -> Box<dyn PageReader + '_> {
        Box::new(Divider {
            block: vec![0; self.dump.page_size().bytes()],
            number: None,
            dump: self.dump.reader(),
            shift: self.shift,
        })
    }

    fn read_notes(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        self.dump.read_notes(at, buf)
    }
}

/// One thread's block.
struct Divider<'a> {
    dump: Box<dyn PageReader + 'a>,
    block: Vec<u8>,
    /// Of the block that is there.
    number: Option<u64>,
    shift: u32,
}

impl PageReader for Divider<'_> {
    fn read(&mut self, pfn: u64, buf: &mut [u8]) -> Result<(), ReadFault> {
        let number = pfn >> self.shift;
        if self.number != Some(number) {
            self.number = None;
            self.dump.read(number, &mut self.block)?;
            self.number = Some(number);
        }
        let within = usize::try_from(pfn - (number << self.shift)).unwrap_or(0) * buf.len();
        let page = self.block.get(within..within + buf.len());
        buf.copy_from_slice(page.ok_or(ReadFault::Hole)?);
        Ok(())
    }
}
