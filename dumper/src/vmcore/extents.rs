//! Physical memory: the segments of a vmcore, and the same memory as sorted, disjoint extents.

use crate::addr::{PageSize, PhysAddr};
use crate::filter::Bitmap;
use std::collections::BTreeMap;

/// A PT_LOAD that was found plausible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First physical address; need not be page aligned.
    pub start: PhysAddr,
    /// Kernel virtual address of `start`.
    pub virt: u64,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// Bytes in the file, at most `mem_size`.
    pub file_size: u64,
    /// Bytes in memory; what is beyond `file_size` reads as zeros.
    pub mem_size: u64,
}

/// A run of physical bytes that lie together in the vmcore file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// File offset of `start` (of pages in a dump: `start` itself); `None` for memory that is not in the file and reads as zeros.
    pub offset: Option<u64>,
}

/// The union of all segments. Where segments overlap the first that was added wins, as in every other reader; memory that is not
/// in the file is only what no segment has in the file.
#[derive(Debug, Default)]
pub struct Extents {
    by_start: BTreeMap<u64, Extent>,
}

/// A dump whose bitmap has more runs than any machine has holes is hostile; the rest of it counts as one run.
const MAX_RUNS: usize = 1 << 16;

impl Extents {
    /// The runs of pages in `exists`, as memory without a place in a file of its own.
    #[must_use]
    pub fn of_pages(exists: &Bitmap, page: PageSize) -> Self {
        let mut extents = Self::default();
        let mut at = 0;
        let bytes = |pfn: u64| pfn.saturating_mul(page.bytes() as u64);
        while let Some(first) = exists.next(at) {
            at = if extents.by_start.len() < MAX_RUNS {
                exists.next_clear(first)
            } else {
                exists.len()
            };
            let (start, end) = (bytes(first), bytes(at));
            let extent = Extent {
                start,
                end,
                offset: Some(start),
            };
            extents.by_start.insert(start, extent);
        }
        extents
    }

    /// The union of `segments`.
    #[must_use]
    pub fn new(segments: &[Segment]) -> Self {
        let mut extents = Self::default();
        let mut covered = BTreeMap::new();
        for segment in segments {
            let start = segment.start.raw();
            extents.add(
                Extent {
                    start,
                    end: start.saturating_add(segment.file_size),
                    offset: Some(segment.offset),
                },
                &mut covered,
            );
        }
        for segment in segments {
            let start = segment.start.raw();
            extents.add(
                Extent {
                    start: start.saturating_add(segment.file_size),
                    end: start.saturating_add(segment.mem_size),
                    offset: None,
                },
                &mut covered,
            );
        }
        extents
    }

    /// Adds the parts of `run` that are not covered yet. `covered` holds the union so far, as few runs as it has, start to end:
    /// each is met once and then part of a larger one, so that no set of overlapping segments costs more than their number.
    fn add(&mut self, run: Extent, covered: &mut BTreeMap<u64, u64>) {
        if run.start >= run.end {
            return;
        }
        let (mut start, mut end, mut at) = (run.start, run.end, run.start);
        if let Some((&from, &to)) = covered.range(..start).next_back()
            && to >= start
        {
            covered.remove(&from);
            (start, end, at) = (from, end.max(to), to);
        }
        while let Some((&from, &to)) = covered.range(run.start..=run.end).next() {
            covered.remove(&from);
            self.insert(&run, at, from);
            (end, at) = (end.max(to), to);
        }
        self.insert(&run, at, run.end);
        covered.insert(start, end);
    }

    /// Adds the part `from..to` of `run`, if there is one.
    fn insert(&mut self, run: &Extent, from: u64, to: u64) {
        if from < to {
            let offset = run.offset.map(|o| o.saturating_add(from - run.start));
            let (start, end) = (from, to);
            self.by_start.insert(from, Extent { start, end, offset });
        }
    }

    /// The extent that holds `addr`.
    #[must_use]
    pub fn find(&self, addr: PhysAddr) -> Option<Extent> {
        let (_, extent) = self.by_start.range(..=addr.raw()).next_back()?;
        (addr.raw() < extent.end).then_some(*extent)
    }

    /// The first extent that ends after `addr`: the one that holds it or the next above.
    #[must_use]
    pub fn at_or_after(&self, addr: PhysAddr) -> Option<Extent> {
        self.find(addr)
            .or_else(|| self.by_start.range(addr.raw()..).next().map(|(_, e)| *e))
    }

    /// Whether any byte of `start..end` is in the file.
    #[must_use]
    pub fn has_data(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        while let Some(extent) = self.at_or_after(PhysAddr::new(at)) {
            if extent.start >= end {
                return false;
            }
            if extent.offset.is_some() {
                return true;
            }
            at = extent.end;
        }
        false
    }

    /// All extents by ascending address.
    pub fn iter(&self) -> impl Iterator<Item = Extent> + '_ {
        self.by_start.values().copied()
    }

    /// One past the highest byte; 0 when there is none.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.by_start.values().next_back().map_or(0, |e| e.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start: u64, file_size: u64, mem_size: u64, offset: u64) -> Segment {
        Segment {
            start: PhysAddr::new(start),
            virt: 0,
            offset,
            file_size,
            mem_size,
        }
    }

    #[test]
    fn the_first_segment_wins_where_they_overlap() {
        let extents = Extents::new(&[segment(100, 50, 50, 1000), segment(0, 300, 300, 5000)]);
        let got: Vec<_> = extents.iter().map(|e| (e.start, e.end, e.offset)).collect();
        assert_eq!(
            got,
            [
                (0, 100, Some(5000)),
                (100, 150, Some(1000)),
                (150, 300, Some(5150))
            ]
        );
        assert_eq!(extents.end(), 300);
    }

    #[test]
    fn the_tail_that_is_not_in_the_file_has_no_offset() {
        let extents = Extents::new(&[segment(0x1000, 0x800, 0x2000, 64)]);
        assert_eq!(
            extents.find(PhysAddr::new(0x17ff)).unwrap().offset,
            Some(64)
        );
        assert_eq!(extents.find(PhysAddr::new(0x1800)).unwrap().offset, None);
        assert_eq!(extents.find(PhysAddr::new(0x3000)), None);
        assert_eq!(extents.at_or_after(PhysAddr::new(0)).unwrap().start, 0x1000);
        assert_eq!(extents.at_or_after(PhysAddr::new(0x3000)), None);
    }

    #[test]
    fn many_overlaps_stay_disjoint_and_sorted() {
        let segments: Vec<_> = (0..200u64)
            .map(|i| segment((i * 7919) % 9000, 37, 61, i * 100))
            .collect();
        let extents = Extents::new(&segments);
        let all: Vec<_> = extents.iter().collect();
        assert!(all.windows(2).all(|w| w[0].end <= w[1].start));
        assert!(all.iter().all(|e| e.start < e.end));
        for at in 0..9100 {
            let inside = |s: &Segment, size| (s.start.raw()..s.start.raw() + size).contains(&at);
            let data = segments.iter().find(|s| inside(s, s.file_size));
            let want = match data {
                Some(s) => Some(Some(s.offset + at - s.start.raw())),
                None => segments
                    .iter()
                    .any(|s| inside(s, s.mem_size))
                    .then_some(None),
            };
            let got = extents
                .find(PhysAddr::new(at))
                .map(|e| e.offset.map(|o| o + at - e.start));
            assert_eq!(got, want, "{at}");
        }
    }

    #[test]
    fn overlaps_cost_no_more_than_their_number() {
        let small = (0..40_000u64).map(|i| segment(i * 2 + 1, 1, 1, i));
        let large = (0..40_000u64).map(|i| segment(0, 80_001, 80_001, i));
        let began = std::time::Instant::now();
        let extents = Extents::new(&small.chain(large).collect::<Vec<_>>());
        assert_eq!(extents.iter().count(), 80_001);
        assert!(began.elapsed().as_secs() < 20);
    }
}
