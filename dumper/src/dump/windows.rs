//! The bitmaps in windows of pfns: each is judged once and written, and comes back when its pages are copied.
//!
//! A window that is the only one stays where it is. Others are read back from the output; where nothing can be read back, the struct
//! pages are walked over a second time.

use super::select::{Selector, Walk};
use super::{DumpError, Observer};
use crate::filter::{Bitmap, Scanned};
use crate::format::kdump::{Map, Writer};
use crc32fast::Hasher;
use std::io;
use std::ops::Range;
use zerocopy::IntoBytes;

/// What was counted while pages were judged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Pages that exist.
    pub(super) exist: u64,
    /// Pages that are kept.
    pub(super) kept: u64,
    /// The others, and those that could not be judged.
    pub(super) scanned: Scanned,
}

/// A window that was judged.
#[derive(Clone, Copy)]
struct Judged {
    kept: u64,
    crc: u32,
}

/// The windows of the second bitmap, one at a time.
pub(super) struct Windows<'s> {
    selector: &'s Selector<'s>,
    size: u64,
    map: Bitmap,
    judged: Vec<Judged>,
    /// The second walk, and the number of its next window.
    again: Option<(Walk<'s>, usize)>,
}

impl<'s> Windows<'s> {
    /// Windows of `size` pages, a multiple of 64.
    pub(super) fn new(selector: &'s Selector<'s>, size: u64) -> Result<Self, DumpError> {
        let memory = || DumpError::Memory("the bitmaps");
        let map = Bitmap::new(size.min(selector.max_mapnr)).ok_or_else(memory)?;
        let count = usize::try_from(selector.max_mapnr.div_ceil(size)).map_err(|_| memory())?;
        let mut judged = Vec::new();
        judged.try_reserve_exact(count).map_err(|_| memory())?;
        Ok(Self {
            selector,
            size,
            map,
            judged,
            again: None,
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.judged.len()
    }

    fn range(&self, number: usize) -> Range<u64> {
        let start = number as u64 * self.size;
        start..start.saturating_add(self.size).min(self.selector.max_mapnr)
    }

    /// Judges all pages and writes both bitmaps.
    pub(super) fn judge(
        &mut self,
        writer: &mut Writer<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Counts, DumpError> {
        let mut counts = Counts::default();
        let mut walk = self.selector.walk();
        while self.range(self.judged.len()).start < self.selector.max_mapnr {
            let range = self.range(self.judged.len());
            self.map.move_to(range.start, range.end);
            self.selector.exists(&mut self.map);
            counts.exist += self.map.count();
            writer
                .map(Map::Exists, &self.map)
                .map_err(DumpError::Output)?;
            self.map.move_to(range.start, range.end);
            walk.window(&mut self.map, "scan", observer);
            writer
                .map(Map::Kept, &self.map)
                .map_err(DumpError::Output)?;
            let kept = self.map.count();
            counts.kept += kept;
            let crc = checksum(&self.map);
            self.judged.push(Judged { kept, crc });
        }
        counts.scanned = walk.scanned();
        Ok(counts)
    }

    /// The pages of window `number` that are kept; windows are asked for in ascending order, as often as there are parts.
    ///
    /// # Errors
    /// When it is not what it was: then no page of it can be copied.
    pub(super) fn load(
        &mut self,
        number: usize,
        writer: &Writer<'_>,
        observer: &mut dyn Observer,
    ) -> io::Result<&Bitmap> {
        let range = self.range(number);
        let Some(Judged { kept, crc }) = self.judged.get(number).copied() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if self.judged.len() == 1 && checksum(&self.map) == crc {
            return Ok(&self.map);
        }
        self.map.move_to(range.start, range.end);
        if kept == 0 {
            return Ok(&self.map);
        }
        let read = self.again.is_none() && writer.read_kept(&mut self.map).is_ok();
        if read && checksum(&self.map) == crc {
            return Ok(&self.map);
        }
        self.walk_to(number, observer);
        if checksum(&self.map) != crc {
            let what = "the memory map changed while it was read: other pages are to be kept than were counted";
            return Err(io::Error::other(what));
        }
        Ok(&self.map)
    }

    /// Cuts all pages into `parts` of about as many kept ones each, where a block of `block` pages ends. Parts at the end can be empty.
    ///
    /// # Errors
    /// As [`Windows::load`].
    pub(super) fn cut(
        &mut self,
        parts: usize,
        block: u64,
        writer: &Writer<'_>,
        observer: &mut dyn Observer,
    ) -> io::Result<Vec<Range<u64>>> {
        let (last, block) = (self.selector.max_mapnr, block.max(1));
        let kept: u64 = self.judged.iter().map(|judged| judged.kept).sum();
        let share = kept.div_ceil(parts.max(1) as u64);
        let (mut cuts, mut start, mut have) = (Vec::new(), 0, 0);
        // Nothing is read back for a dump in one part.
        let windows = if parts > 1 { self.count() } else { 0 };
        for number in 0..windows {
            let (range, more) = (self.range(number), parts - 1);
            let map = self.load(number, writer, observer)?;
            let mut at = range.start;
            while let Some(page) = map.next(at).filter(|_| cuts.len() < more) {
                at = (page / block + 1).saturating_mul(block);
                have += map.count_range(page, at);
                if have >= share && at <= range.end {
                    cuts.push(start..at);
                    (start, have) = (at, 0);
                }
            }
        }
        while cuts.len() < parts {
            let end = start..last;
            start = last;
            cuts.push(end);
        }
        Ok(cuts)
    }

    /// Writes both bitmaps as they were judged, and as `first` has them, into another part of a split dump.
    ///
    /// # Errors
    /// As [`Windows::load`], and as the output.
    pub(super) fn repeat(
        &mut self,
        first: &Writer<'_>,
        writer: &mut Writer<'_>,
        observer: &mut dyn Observer,
    ) -> io::Result<()> {
        for number in 0..self.count() {
            let range = self.range(number);
            self.map.move_to(range.start, range.end);
            self.selector.exists(&mut self.map);
            writer.map(Map::Exists, &self.map)?;
            writer.map(Map::Kept, self.load(number, first, observer)?)?;
        }
        Ok(())
    }

    /// Judges window `number` again, and those before it that were not.
    fn walk_to(&mut self, number: usize, observer: &mut dyn Observer) {
        let (mut walk, next) = match self.again.take() {
            Some((walk, next)) if next <= number => (walk, next),
            _ => (self.selector.walk(), 0),
        };
        for number in next..=number {
            let range = self.range(number);
            self.map.move_to(range.start, range.end);
            walk.window(&mut self.map, "scan again", observer);
        }
        self.again = Some((walk, number + 1));
    }
}

fn checksum(map: &Bitmap) -> u32 {
    let mut crc = Hasher::new();
    crc.update(map.words().as_bytes());
    crc.finalize()
}
