//! A dump as a source of memory: its pages in any order.

use super::bits::PageDesc;
use super::reader::Dump;
use crate::addr::PageSize;
use crate::compress::Decompressor;
use crate::filter::Bitmap;
use crate::vmcore::{Origin, PageReader, Pages, ReadFault};
use std::io;
use zerocopy::{FromZeros, IntoBytes};

/// Descriptors that are read at once.
const BLOCK: usize = 512;
const DESC: u64 = size_of::<PageDesc>() as u64;

impl Pages for Dump {
    fn page_size(&self) -> PageSize {
        Self::page_size(self)
    }

    fn exists(&self) -> &Bitmap {
        Self::exists(self)
    }

    fn kept(&self) -> &Bitmap {
        Self::kept(self)
    }

    fn origin(&self) -> &Origin {
        Self::origin(self)
    }

    fn reader(&self) -> Box<dyn PageReader + '_> {
        Box::new(Opener {
            dump: self,
            open: Decompressor::default(),
            raw: vec![0; Self::page_size(self).bytes()],
            descs: vec![PageDesc::new_zeroed(); BLOCK],
            block: None,
        })
    }

    fn read_notes(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_note_bytes(at, buf)
    }
}

/// One thread's tools.
struct Opener<'a> {
    dump: &'a Dump,
    open: Decompressor,
    raw: Vec<u8>,
    descs: Vec<PageDesc>,
    /// The file and the first descriptor that `descs` holds.
    block: Option<(usize, u64)>,
}

impl Opener<'_> {
    /// Descriptor `index` of file `part`. What lies behind the end of a file that was cut off is a page that is lost.
    fn desc(&mut self, part: usize, index: u64) -> Result<PageDesc, ReadFault> {
        let first = index - index % BLOCK as u64;
        if self.block != Some((part, first)) {
            self.block = None;
            let file = &self.dump.parts.get(part).ok_or(ReadFault::NotKept)?.file;
            let at = self
                .dump
                .descs_at
                .saturating_add(first.saturating_mul(DESC));
            let left = file.len().saturating_sub(at) / DESC;
            let here = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            let (read, missing) = self.descs.split_at_mut(here);
            file.read_at(at, read.as_mut_bytes())?;
            missing.fill(PageDesc::new_zeroed());
            self.block = Some((part, first));
        }
        let slot = usize::try_from(index - first).ok();
        let desc = slot.and_then(|slot| self.descs.get(slot));
        desc.copied().ok_or(ReadFault::NotKept)
    }
}

impl PageReader for Opener<'_> {
    fn read(&mut self, pfn: u64, buf: &mut [u8]) -> Result<(), ReadFault> {
        if !self.dump.kept().get(pfn) {
            let exists = self.dump.exists().get(pfn);
            return Err(if exists {
                ReadFault::NotKept
            } else {
                ReadFault::Hole
            });
        }
        let (part, index) = self.dump.locate(pfn).ok_or(ReadFault::NotKept)?;
        let desc = self.desc(part, index)?;
        let (offset, size, flags) = (desc.offset.get(), desc.size.get(), desc.flags.get());
        if offset == 0 {
            return Err(ReadFault::Damaged(
                "the dump that is read lost the page".into(),
            ));
        }
        let file = &self.dump.parts.get(part).ok_or(ReadFault::NotKept)?.file;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if flags == 0 && size == buf.len() {
            return Ok(file.read_at(offset, buf)?);
        }
        let Some(raw) = self.raw.get_mut(..size) else {
            return Err(ReadFault::Damaged(format!(
                "its size is {size}, must be 1 to {}",
                buf.len()
            )));
        };
        file.read_at(offset, raw)?;
        self.open
            .decompress(flags, raw, buf)
            .map_err(ReadFault::Damaged)
    }
}
