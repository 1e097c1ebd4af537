//! A synthetic kernel with pages of every kind.

use super::printk::{Record, State, Text};
use super::{Arm64, FakeKernel, Generation, Kind, Machine};

impl FakeKernel {
    /// Every kind of single and compound page, free blocks of every order, and everything that is odd.
    pub fn zoo(generation: Generation) -> Self {
        Self::new(generation).with_zoo()
    }

    /// The same on arm64.
    pub fn arm64_zoo(cpu: Arm64, generation: Generation) -> Self {
        Self::on(Machine::Arm64(cpu), generation).with_zoo()
    }

    fn with_zoo(self) -> Self {
        let mut kernel = self;
        let low = kernel.layout.test_low.clone();
        let (singles, order) = if kernel.layout.is_small() {
            (2, 6)
        } else {
            (5, 9)
        };
        let mut pfn = low.start + 1;
        for kind in Kind::SINGLE {
            kernel = (0..singles).fold(kernel, |kernel, i| kernel.page(pfn + i, kind));
            pfn += singles + 1;
        }
        pfn = pfn.next_multiple_of(16);
        for kind in Kind::COMPOUND {
            kernel = kernel
                .compound(pfn, 1, kind)
                .compound(pfn + 4, 2, kind)
                .compound(pfn + 8, 3, kind);
            pfn += 16;
        }
        let large = 1 << order;
        assert!(pfn <= low.end - 2 * large);
        kernel = kernel
            .compound(low.end - 2 * large, order, Kind::Anon)
            .compound(low.end - large, order, Kind::Hugetlb);
        kernel.free_blocks().odd_pages()
    }

    fn free_blocks(mut self) -> Self {
        let high = self.layout.test_high.start;
        let largest = if self.layout.is_small() { 6 } else { 10 };
        let mut pfn = high;
        for order in 0..largest - 1 {
            self = self.free(pfn + (1 << order), order);
            pfn += 2 << order;
            pfn = pfn.next_multiple_of(2 << order);
        }
        let block = high.max(pfn).next_multiple_of(1 << largest);
        if self.generation.unaccepted().is_some() && largest == 10 {
            return self.unaccepted(block);
        }
        self.free(block, largest)
    }

    /// Orders that can't be, pages in holes, a page that is only partly there, one in a section without struct pages.
    fn odd_pages(self) -> Self {
        let (base, high) = (self.layout.base, self.layout.test_high.start);
        let unmapped = self.layout.unmapped_section * self.layout.section_pages();
        let low = base + 0x10;
        self.odd_compound(low, 2, 200, Kind::Anon)
            .odd_compound(low + 5, 2, 2, Kind::Cache)
            .odd_compound(low + 0x10, 3, 63, Kind::Anon)
            .odd_compound(low + 0x20, 2, 5, Kind::Hugetlb)
            .page(base + 0x9f, Kind::Anon)
            .page(base + 0xb0, Kind::Cache)
            .free(base + 0xc0, 4)
            .page(unmapped + 1, Kind::Anon)
            .page(high + 0xc00, Kind::Cache)
            .page(high + 0xc01, Kind::Cache)
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
