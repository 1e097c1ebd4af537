//! How the tables are laid out: levels, indexes, descriptors.

/// What the tables look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Geometry {
    pub(super) page_shift: u32,
    /// Bits of virtual address that the tables resolve.
    bits: u32,
}

impl Geometry {
    /// log2 of the page size and bits of address that Linux has.
    pub(in super::super) const KNOWN: [(u32, u32); 10] = [
        (12, 48),
        (12, 52),
        (12, 39),
        (14, 47),
        (14, 52),
        (14, 48),
        (14, 36),
        (16, 52),
        (16, 48),
        (16, 42),
    ];

    /// The tables of a kernel that was built for `built` bits, on hardware that was set to `actual` ones.
    ///
    /// With 64 KiB pages the tables keep the layout of the larger number and the hardware is pointed at their upper part; with
    /// others the kernel leaves the top level out.
    pub(in super::super) fn of_kernel(page_shift: u32, built: u32, actual: u32) -> Option<Self> {
        let bits = if page_shift == 16 { built } else { actual };
        Self::KNOWN
            .contains(&(page_shift, bits))
            .then_some(Self { page_shift, bits })
    }

    pub(in super::super) fn all(page_shift: u32) -> impl Iterator<Item = Self> {
        let of_page = Self::KNOWN.iter().filter(move |k| k.0 == page_shift);
        of_page.map(|&(page_shift, bits)| Self { page_shift, bits })
    }

    pub(in super::super) fn bits(self) -> u32 {
        self.bits
    }

    pub(super) fn stride(self) -> u32 {
        self.page_shift - 3
    }

    /// How many levels are above the last one.
    pub(super) fn top(self) -> u32 {
        (self.bits - self.page_shift).div_ceil(self.stride()) - 1
    }

    /// Virtual addresses of 52 bits with pages below 64 KiB exist only with the descriptors of LPA2.
    fn has_lpa2(self) -> bool {
        self.page_shift < 16 && self.bits == 52
    }

    /// Whether an entry `above` the last level may map memory itself.
    pub(super) fn may_be_block(self, above: u32) -> bool {
        match (above, self.page_shift) {
            (1, _) | (2, 12 | 16) => true,
            (2, _) => self.has_lpa2(),
            (3, 12) => self.has_lpa2(),
            _ => false,
        }
    }

    /// The physical address in a descriptor.
    pub(super) fn address(self, entry: u64) -> u64 {
        let field = |high: u32| entry & ((1 << high) - 1) & (!0 << self.page_shift);
        match self.page_shift {
            16 => field(48) | (entry >> 12 & 0xf) << 48,
            _ if self.has_lpa2() => field(50) | (entry >> 8 & 3) << 50,
            _ => field(48),
        }
    }
}
