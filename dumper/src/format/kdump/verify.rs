//! Whether every page of a dump holds.

use super::bits::PageDesc;
use super::reader::{Dump, Part, ReadError, reach};
use crate::compress::Decompressor;
use zerocopy::{FromZeros, IntoBytes};

/// Bytes of descriptors that are read at once.
const BLOCK: usize = 64 << 10;

/// What is wrong with one page.
#[derive(Debug, thiserror::Error)]
#[error("page {pfn:#x} (descriptor {index}): {why}")]
pub struct PageError {
    /// The page.
    pub pfn: u64,
    /// Number of its descriptor.
    pub index: u64,
    /// A sentence.
    pub why: String,
}

/// What [`Dump::verify`] counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Page descriptors.
    pub pages: u64,
    /// Of these: the shared page of zeros.
    pub zero: u64,
    /// Of these: without data.
    pub lost: u64,
    /// Bytes of page data.
    pub bytes: u64,
}

impl Dump {
    /// Opens every page. `progress` hears how many of how many pages are done.
    ///
    /// # Errors
    /// The first fault; [`ReadError::Incomplete`] when everything holds but the dump is marked incomplete.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, ReadError> {
        let total = self.kept().count();
        let data_at = self.descs_at + total * size_of::<PageDesc>() as u64;
        let mut check = Check {
            dump: self,
            data_at,
            counts: Verified {
                pages: total,
                ..Verified::default()
            },
            open: Decompressor::default(),
            page: vec![0; self.page_size().bytes()],
            raw: vec![0; self.page_size().bytes()],
        };
        let mut done = 0;
        for part in &self.parts {
            if part.file.is_empty() {
                check.counts.lost += self.descriptors(part);
                done += self.descriptors(part);
                continue;
            }
            reach("the page descriptors", data_at, part.file.len())?;
            check.part(part, &mut done, progress)?;
        }
        let counts = check.counts;
        if let Some(why) = self.cut() {
            return Err(ReadError::Cut {
                why: why.to_owned(),
                lost: counts.lost,
                pages: total,
            });
        }
        if self.is_incomplete() {
            return Err(ReadError::Incomplete {
                lost: counts.lost,
                pages: total,
            });
        }
        Ok(counts)
    }
}

/// A verification under way.
struct Check<'a> {
    dump: &'a Dump,
    data_at: u64,
    counts: Verified,
    open: Decompressor,
    page: Vec<u8>,
    raw: Vec<u8>,
}

impl Check<'_> {
    fn part(
        &mut self,
        part: &Part,
        done: &mut u64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), ReadError> {
        let total = self.dump.descriptors(part);
        let mut descs = vec![PageDesc::new_zeroed(); BLOCK / size_of::<PageDesc>()];
        let (mut index, mut pfn) = (0, part.first);
        while index < total {
            let left = usize::try_from(total - index).unwrap_or(usize::MAX);
            let count = descs.len().min(left);
            let at = self.dump.descs_at + index * size_of::<PageDesc>() as u64;
            part.file.read_at(at, descs[..count].as_mut_bytes())?;
            for desc in &descs[..count] {
                let Some(this) = self.dump.kept().next(pfn) else {
                    break;
                };
                self.page(part, desc).map_err(|why| PageError {
                    pfn: this,
                    index,
                    why,
                })?;
                pfn = this + 1;
                index += 1;
            }
            progress(*done + index, self.counts.pages);
        }
        *done += total;
        Ok(())
    }

    fn page(&mut self, part: &Part, desc: &PageDesc) -> Result<(), String> {
        let (offset, size, flags) = (desc.offset.get(), desc.size.get(), desc.flags.get());
        if offset == 0 && size == 0 && flags == 0 {
            self.counts.lost += 1;
            return if self.dump.is_incomplete() {
                Ok(())
            } else {
                Err("it has no data, though the dump is not marked incomplete".into())
            };
        }
        let end = offset.checked_add(u64::from(size));
        // What is cut off by a power failure ends where the disk has got to.
        if self.dump.is_incomplete()
            && offset >= self.data_at
            && end.is_some_and(|end| end > part.file.len())
        {
            self.counts.lost += 1;
            return Ok(());
        }
        if offset < self.data_at || end.is_none_or(|end| end > part.file.len()) {
            return Err(format!(
                "{size} bytes at offset {offset} are outside the page data ({} to {})",
                self.data_at,
                part.file.len()
            ));
        }
        let bytes = usize::try_from(size)
            .ok()
            .filter(|n| *n != 0)
            .and_then(|n| self.raw.get_mut(..n));
        let Some(bytes) = bytes else {
            return Err(format!(
                "its size is {size}, must be 1 to {}",
                self.page.len()
            ));
        };
        if flags != 0 && bytes.len() == self.page.len() {
            return Err(format!(
                "it is compressed (flags {flags:#x}) and yet a whole page long"
            ));
        }
        part.file
            .read_at(offset, bytes)
            .map_err(|e| e.to_string())?;
        self.open.decompress(flags, bytes, &mut self.page)?;
        if offset == self.data_at && flags == 0 && self.dump.level() & 1 != 0 {
            self.counts.zero += 1;
            if self.page.iter().any(|b| *b != 0) {
                return Err("the shared page of zeros is not zero".into());
            }
        } else {
            self.counts.bytes += u64::from(size);
        }
        Ok(())
    }
}
