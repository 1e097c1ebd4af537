//! Physical memory: the segments of a vmcore, and the same memory as sorted, disjoint extents.

use crate::addr::PhysAddr;
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
    /// File offset of `start`; `None` for memory that is not in the file and reads as zeros.
    pub offset: Option<u64>,
}

/// The union of all segments. Where segments overlap the first that was added wins, as in every other reader.
#[derive(Debug, Default)]
pub struct Extents {
    by_start: BTreeMap<u64, Extent>,
}

impl Extents {
    /// Adds a segment: its bytes in the file, then its zero-filled tail.
    pub(super) fn add(&mut self, segment: &Segment) {
        let start = segment.start.raw();
        let file_end = start.saturating_add(segment.file_size);
        self.add_run(Extent {
            start,
            end: file_end,
            offset: Some(segment.offset),
        });
        self.add_run(Extent {
            start: file_end,
            end: start.saturating_add(segment.mem_size),
            offset: None,
        });
    }

    /// Adds the parts of `run` that are not covered yet.
    fn add_run(&mut self, run: Extent) {
        let mut at = run.start;
        while at < run.end {
            if let Some(covering) = self.find(PhysAddr::new(at)) {
                at = covering.end;
                continue;
            }
            let next = self
                .by_start
                .range(at..run.end)
                .next()
                .map_or(run.end, |(start, _)| *start);
            let offset = run.offset.map(|o| o.saturating_add(at - run.start));
            self.by_start.insert(
                at,
                Extent {
                    start: at,
                    end: next,
                    offset,
                },
            );
            at = next;
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
        let mut extents = Extents::default();
        extents.add(&segment(100, 50, 50, 1000));
        extents.add(&segment(0, 300, 300, 5000));
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
        let mut extents = Extents::default();
        extents.add(&segment(0x1000, 0x800, 0x2000, 64));
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
        let mut extents = Extents::default();
        for i in 0..200u64 {
            let start = (i * 7919) % 1000;
            extents.add(&segment(start, 37, 41, i * 100));
        }
        let all: Vec<_> = extents.iter().collect();
        assert!(all.windows(2).all(|w| w[0].end <= w[1].start));
        assert!(all.iter().all(|e| e.start < e.end));
    }
}
