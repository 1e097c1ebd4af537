//! A synthetic kernel with pages of every kind.

use super::layout::{TEST_HIGH, TEST_LOW};
use super::printk::{Record, State, Text};
use super::{FakeKernel, Generation, Kind};

impl FakeKernel {
    /// Every kind of single and compound page, free blocks of every order, and everything that is odd.
    pub fn zoo(generation: Generation) -> Self {
        let mut kernel = Self::new(generation);
        let mut pfn = TEST_LOW.start + 1;
        for kind in Kind::SINGLE {
            kernel = (0..5).fold(kernel, |kernel, i| kernel.page(pfn + i, kind));
            pfn += 6;
        }
        pfn = pfn.next_multiple_of(16);
        for kind in Kind::COMPOUND {
            kernel = kernel
                .compound(pfn, 1, kind)
                .compound(pfn + 4, 2, kind)
                .compound(pfn + 8, 3, kind);
            pfn += 16;
        }
        assert!(pfn < 0xc00);
        kernel = kernel
            .compound(0xc00, 9, Kind::Anon)
            .compound(0xe00, 9, Kind::Hugetlb);
        kernel.free_blocks().odd_pages()
    }

    fn free_blocks(mut self) -> Self {
        let mut pfn = TEST_HIGH.start;
        for order in 0..9 {
            self = self.free(pfn + (1 << order), order);
            pfn += 2 << order;
            pfn = pfn.next_multiple_of(2 << order);
        }
        if self.generation.unaccepted().is_some() {
            return self.unaccepted(TEST_HIGH.start + 0x400);
        }
        self.free(TEST_HIGH.start + 0x400, 10)
    }

    /// Orders that can't be, pages in holes, a page that is only partly there, one in a section without struct pages.
    fn odd_pages(self) -> Self {
        let low = 0x10;
        self.odd_compound(low, 2, 200, Kind::Anon)
            .odd_compound(low + 5, 2, 2, Kind::Cache)
            .odd_compound(low + 0x10, 3, 63, Kind::Anon)
            .odd_compound(low + 0x20, 2, 5, Kind::Hugetlb)
            .page(0x9f, Kind::Anon)
            .page(0xb0, Kind::Cache)
            .free(0xc0, 4)
            .page(0x8001, Kind::Anon)
            .page(0x1_0c00, Kind::Cache)
            .page(0x1_0c01, Kind::Cache)
    }
}

/// A log with what logs have: lines of several lines, empty and lost ones, unfinished ones, bytes that can't be printed.
pub(super) fn log() -> Vec<Record> {
    let mut records = vec![
        Record::new(0, "Linux version 0.0.0-fake (root@nowhere)"),
        Record::new(4_321, "Command line: root=/dev/vda quiet"),
        Record::new(1_234_567_891, "first line\nsecond line\n\nfourth line"),
        Record::new(2_000_000_999, "bell \x07 and escape \x1b[0m"),
    ];
    let odd = |time, text, state| Record { time, text, state };
    records.push(odd(3_000_000_000, Text::Empty, State::Finalized));
    records.push(odd(3_100_000_000, Text::Failed, State::Finalized));
    records.push(odd(
        3_200_000_000,
        Text::Is(b"half written".to_vec()),
        State::Reserved,
    ));
    records.push(odd(
        3_300_000_000,
        Text::Is(b"continued".to_vec()),
        State::Committed,
    ));
    records.push(Record::new(
        123_456_000_001_000,
        "Kernel panic - not syncing: sysrq triggered crash",
    ));
    records.push(Record::new(
        123_456_000_002_000,
        "CPU: 1 PID: 100 Comm: bash Not tainted",
    ));
    records
}
