//! Which pages are kept.

mod bitmap;
mod lanes;
mod rank;
mod scan;

pub use bitmap::Bitmap;
pub use lanes::Lanes;
pub use rank::Rank;
pub use scan::{Dropped, Scan, Scanned, scan};

use crate::addr::{PageSize, Pfn, PhysAddr};
use crate::vmcore::Vmcore;
use serde::{Deserialize, Serialize};

/// A dump level as makedumpfile's `-d`: 1 zero pages, 2 page cache, 4 private page cache, 8 user pages, 16 free pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct DumpLevel(u8);

impl DumpLevel {
    /// Everything that can be dropped is dropped.
    pub const MAX: Self = Self(31);
    /// Nothing is dropped but poisoned and offline pages.
    pub const NONE: Self = Self(0);

    /// A level; `None` above 31.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if bits <= 31 { Some(Self(bits)) } else { None }
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Pages full of zeros are stored once.
    #[must_use]
    pub const fn shares_zero_pages(self) -> bool {
        self.0 & 1 != 0
    }

    /// What either drops.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The same level with only the zero bit left: what can be had without knowing the kernel.
    #[must_use]
    pub const fn zero_only(self) -> Self {
        Self(self.0 & 1)
    }
}

impl TryFrom<u8> for DumpLevel {
    type Error = String;
    fn try_from(bits: u8) -> Result<Self, String> {
        Self::new(bits).ok_or_else(|| format!("dump level {bits}: must be 0 to 31"))
    }
}

impl From<DumpLevel> for u8 {
    fn from(level: DumpLevel) -> Self {
        level.0
    }
}

impl std::fmt::Display for DumpLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The pfn behind the last page of any segment; of a dump, its own `max_mapnr`.
#[must_use]
pub fn max_mapnr(core: &Vmcore, page: PageSize) -> u64 {
    match core.pages() {
        Some(pages) => pages.exists().len(),
        None => core.extents().end().div_ceil(page.bytes() as u64),
    }
}

/// The same, cut at page `limit`: an extent that begins above it does not count, one that reaches beyond it counts as far.
#[must_use]
pub fn max_mapnr_below(core: &Vmcore, page: PageSize, limit: u64) -> u64 {
    if let Some(pages) = core.pages() {
        return pages.exists().len().min(limit);
    }
    let below = core
        .extents()
        .iter()
        .filter(|e| page.pfn(PhysAddr::new(e.start)).raw() < limit);
    let ends = below.map(|e| e.end.div_ceil(page.bytes() as u64).min(limit));
    ends.max().unwrap_or(0)
}

/// Fills `map` with the pages that exist: a segment's first and last page count even when it covers only a part of them, as in
/// makedumpfile's non-cyclic mode. Of a dump it is the first bitmap.
pub fn set_existing(core: &Vmcore, page: PageSize, map: &mut Bitmap) {
    if let Some(pages) = core.pages() {
        return map.copy_from(pages.exists());
    }
    for extent in core.extents().iter() {
        map.set_range(
            page.pfn(PhysAddr::new(extent.start)).raw(),
            extent.end.div_ceil(page.bytes() as u64),
        );
    }
}

/// Fills `map` with the pages that can be dumped, before any is judged: those that exist, without those that lie wholly in a
/// segment's tail that is not in the file (an ELF vmcore that was filtered before). Of a dump it is the second bitmap.
pub fn set_dumpable(core: &Vmcore, page: PageSize, map: &mut Bitmap) {
    if let Some(pages) = core.pages() {
        return map.copy_from(pages.kept());
    }
    set_existing(core, page, map);
    for extent in core.extents().iter().filter(|e| e.offset.is_none()) {
        map.clear_range(
            extent.start.div_ceil(page.bytes() as u64),
            page.pfn(PhysAddr::new(extent.end)).raw(),
        );
    }
}

/// Whether `pfn` is judged: its first byte is in the file, or the dump that is read knows it.
fn is_judged(core: &Vmcore, page: PageSize, pfn: u64) -> bool {
    if let Some(pages) = core.pages() {
        return pages.exists().get(pfn);
    }
    let addr = page.phys(Pfn::new(pfn));
    addr.and_then(|a| core.extents().find(a))
        .is_some_and(|e| e.offset.is_some())
}
