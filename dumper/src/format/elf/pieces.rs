//! Cutting segments where pages were dropped, by makedumpfile's rules.
//!
//! A run of 256 or more dropped pages ends a piece: it belongs to the memory of the piece before it, not to its file part. Shorter
//! runs are written as they are. The dropped pages at the end of a segment are left out of the file however few they are. The
//! part of a page that a segment begins with is always written.

use crate::addr::PageSize;
use crate::filter::Bitmap;

/// As many dropped pages in a row are worth a new segment.
const WORTH_A_CUT: u64 = 256;

/// A segment of the vmcore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// First physical address.
    pub phys: u64,
    /// Virtual address of it; 0 when it is not known.
    pub virt: u64,
    /// Bytes of memory.
    pub size: u64,
}

/// A segment of the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// First physical address.
    pub phys: u64,
    /// Virtual address of it.
    pub virt: u64,
    /// Bytes in the file.
    pub file: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// The last of its segment.
    pub last: bool,
}

/// The pieces of one segment.
pub struct Pieces<'a> {
    kept: &'a Bitmap,
    page: u64,
    rest: Load,
    /// One past the last byte of the segment.
    end: u64,
    ended: bool,
}

impl<'a> Pieces<'a> {
    /// Cuts `load` where `kept` has no pages.
    #[must_use]
    pub fn new(kept: &'a Bitmap, page: PageSize, load: Load) -> Self {
        Self {
            kept,
            page: page.bytes() as u64,
            rest: load,
            end: load.phys.saturating_add(load.size),
            ended: false,
        }
    }

    /// The end of what comes first at `at` (part of a page, or a run of pages that are all kept or all dropped), and whether it is
    /// kept.
    fn run(&self, at: u64) -> (u64, bool) {
        let pfn = at / self.page;
        let first = at == self.rest.phys && !at.is_multiple_of(self.page);
        let (next, kept) = if first {
            (pfn + 1, true)
        } else if self.kept.get(pfn) {
            (self.kept.next_clear(pfn), true)
        } else {
            (self.kept.next(pfn).unwrap_or(u64::MAX), false)
        };
        (next.saturating_mul(self.page).min(self.end), kept)
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.ended {
            return None;
        }
        let (mut at, mut file) = (self.rest.phys, 0);
        while at < self.end {
            let (end, kept) = self.run(at);
            if kept {
                file = end - self.rest.phys;
            } else if end < self.end && end / self.page - at / self.page >= WORTH_A_CUT {
                return Some(self.cut(end, file));
            }
            at = end;
        }
        self.ended = true;
        Some(self.cut(self.end, file))
    }
}

impl Pieces<'_> {
    fn cut(&mut self, end: u64, file: u64) -> Piece {
        let memory = end - self.rest.phys;
        let piece = Piece {
            phys: self.rest.phys,
            virt: self.rest.virt,
            file,
            memory,
            last: self.ended,
        };
        self.rest.phys = end;
        // 0 says to every reader that it is not known, and must stay so.
        if self.rest.virt != 0 {
            self.rest.virt = self.rest.virt.wrapping_add(memory);
        }
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(dropped: &[(u64, u64)], phys: u64, size: u64) -> Vec<(u64, u64, u64)> {
        let mut kept = Bitmap::new(4096).unwrap();
        kept.set_range(0, 4096);
        for (from, to) in dropped {
            kept.clear_range(*from, *to);
        }
        let load = Load {
            phys,
            virt: phys.wrapping_sub(1 << 40),
            size,
        };
        let pieces: Vec<_> = Pieces::new(&kept, PageSize::K4, load).collect();
        assert_eq!(pieces.iter().map(|p| p.memory).sum::<u64>(), size);
        assert!(
            pieces
                .iter()
                .all(|p| p.virt == p.phys.wrapping_sub(1 << 40))
        );
        let last = pieces.iter().position(|p| p.last);
        assert_eq!(last, Some(pieces.len() - 1));
        pieces.iter().map(|p| (p.phys, p.file, p.memory)).collect()
    }

    const K4: u64 = 4096;

    #[test]
    fn long_runs_cut_and_short_ones_do_not() {
        assert_eq!(cut(&[], 0, 9 * K4), [(0, 9 * K4, 9 * K4)]);
        assert_eq!(cut(&[(10, 265)], 0, 300 * K4), [(0, 300 * K4, 300 * K4)]);
        let two = [(0, 10 * K4, 266 * K4), (266 * K4, 34 * K4, 34 * K4)];
        assert_eq!(cut(&[(10, 266)], 0, 300 * K4), two);
        let leading = [(0, 0, 256 * K4), (256 * K4, K4, K4)];
        assert_eq!(cut(&[(0, 256)], 0, 257 * K4), leading);
        assert_eq!(cut(&[(0, 255)], 0, 257 * K4), [(0, 257 * K4, 257 * K4)]);
    }

    #[test]
    fn an_unknown_virtual_address_stays_unknown() {
        let mut kept = Bitmap::new(1024).unwrap();
        kept.set_range(512, 1024);
        let load = Load {
            phys: 0,
            virt: 0,
            size: 1024 * K4,
        };
        let pieces: Vec<_> = Pieces::new(&kept, PageSize::K4, load).collect();
        assert!(pieces.len() == 2 && pieces.iter().all(|piece| piece.virt == 0));
    }

    #[test]
    fn the_end_is_never_written() {
        assert_eq!(cut(&[(9, 10)], 0, 10 * K4), [(0, 9 * K4, 10 * K4)]);
        assert_eq!(cut(&[(9, 1000)], 0, 1000 * K4), [(0, 9 * K4, 1000 * K4)]);
        assert_eq!(cut(&[(0, 1000)], 0, 1000 * K4), [(0, 0, 1000 * K4)]);
        // Beyond the bitmap nothing is kept.
        assert_eq!(cut(&[], 4095 * K4, 9 * K4), [(4095 * K4, K4, 9 * K4)]);
    }

    #[test]
    fn parts_of_pages() {
        assert_eq!(cut(&[], 100, 50), [(100, 50, 50)]);
        // The head is written whatever the bitmap says, the tail is not.
        let memory = 3 * K4 - 100 + 7;
        assert_eq!(cut(&[(0, 9)], 100, memory), [(100, K4 - 100, memory)]);
        assert_eq!(cut(&[(0, 1)], 100, memory), [(100, memory, memory)]);
        let load = (u64::MAX - 10, 0, 10);
        assert_eq!(cut(&[], u64::MAX - 10, 10), [(load.0, 10, load.2)]);
    }
}
