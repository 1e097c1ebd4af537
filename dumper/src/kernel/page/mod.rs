//! struct page: what a page is, from its own fields.
//!
//! Upstream: the rules are those of makedumpfile's `__exclude_unnecessary_pages` (1.7.9 and its head of mid-2026); the fields are the
//! kernel's `include/linux/mm_types.h`, `page-flags.h`. Holds for: Linux 4.4 to 7.2, judged by what VMCOREINFO exports, not by version.
//!
//! Where makedumpfile guesses and this does not, `strict` (`--strict-makedumpfile`) takes its choice:
//!
//! | question | here | strict |
//! |---|---|---|
//! | `PG_slab` not exported, slab is a page type (6.10 and later) | only the page type tells | bit 7 (`PG_waiters`) says slab too |
//! | page types of the form `0xNN000000` (6.12 and later) | top byte compared | whole word compared |
//! | largest order of a compound page | 22 (16 GiB) | 63 |
//! | free or unaccepted block not aligned to its size | kept | dropped |
//! | `PG_swapbacked` not exported though swap cache shares its bit | swap cache off the LRU lists is kept | `PG_private` + 6 |
//!
//! Other defaults of makedumpfile for keys that are missing (`PG_lru` 5, `PG_private` 11, `PG_swapcache` 15, `PG_head_mask` 1 << 14) are
//! never taken: they would drop pages by bits that mean something else.

mod contradictions;
mod exports;
mod resolve;
mod rule;
#[cfg(test)]
mod tests;

pub use rule::{Class, Drop, Rule};

use crate::filter::DumpLevel;
use rule::PageType;

/// Struct pages are looked at in groups of this many, aligned; the last of a group is never taken for a compound head, because a
/// head needs its first tail, and a real one is never at an odd pfn.
pub const GROUP: u64 = 512;

/// The largest compound pages of any kernel are hugetlb pages of 16 GiB: order 22 with 4 KiB pages.
const MAX_COMPOUND_ORDER: u64 = 22;

/// Where `compound_order` of a head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The low 8 bits of the first tail's flags (6.6 and later).
    TailFlags,
    /// A byte at this offset of the first tail; the low one where the field is wider (before 4.16).
    TailByte(usize),
    /// Nothing says; every page stands for itself.
    Unknown,
}

/// How a hugetlb head is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hugetlb {
    /// Its page type (6.9 and later).
    PageType(PageType),
    /// A flag of the first tail (6.6 to 6.8).
    TailFlag(u64),
    /// A byte of the first tail and the value it must have (before 6.6).
    TailByte(usize, u8),
    /// Nothing says.
    Unknown,
}

/// How the free pages are known.
#[derive(Clone, Copy, Debug)]
struct Buddy {
    page_type: PageType,
    private: usize,
    /// LENGTH(zone.free_area): orders from here on are nonsense.
    orders: u64,
    /// Pages that one marker of unaccepted memory stands for.
    unaccepted: u64,
}

/// Field offsets and values of one kernel's struct page, and the rules that can be applied with them. A flag that is not known is 0:
/// no page has it.
#[derive(Debug)]
pub struct PageRules {
    /// SIZE(page).
    pub size: usize,
    flags: usize,
    mapping: usize,
    mapcount: Option<usize>,
    head: Option<usize>,
    lru: u64,
    private: u64,
    swapcache: u64,
    swapbacked: Option<u64>,
    slab_flag: u64,
    slab_type: Option<PageType>,
    hwpoison: u64,
    head_mask: u64,
    offline: Option<PageType>,
    unaccepted: Option<PageType>,
    buddy: Option<Buddy>,
    order: Order,
    hugetlb: Hugetlb,
    level: u8,
    scan: bool,
    strict: bool,
    /// Why a part of the level is not applied, a sentence each.
    pub warnings: Vec<String>,
}

const CACHE: u8 = 2;
const CACHE_PRIVATE: u8 = 4;
const USER: u8 = 8;
const FREE: u8 = 16;

/// PAGE_MAPPING_ANON, bit 0 of `mapping` in every kernel.
const MAPPING_ANON: u64 = 1;
/// Bit 0 of `compound_head` (`compound_info` from 7.1): a tail page.
const TAIL: u64 = 1;

impl PageRules {
    /// Whether any page can be dropped, so that the struct pages need to be read at all.
    #[must_use]
    pub fn need_scan(&self) -> bool {
        self.scan
    }

    /// The level that is in force.
    #[must_use]
    pub fn level(&self) -> DumpLevel {
        DumpLevel::new(self.level).unwrap_or(DumpLevel::MAX)
    }

    /// Judges page `pfn` by its struct page and that of the next pfn (`None` when it is not at hand). `None`: the page is kept.
    #[must_use]
    pub fn judge(&self, pfn: u64, page: &[u8], next: Option<&[u8]>) -> Option<Drop> {
        let (rule, pages) = self.explain(pfn, page, next);
        let class = rule.class()?;
        Some(Drop { class, pages })
    }

    /// The rule that decides about page `pfn`, and how many pages it takes, this one included. Arguments as [`PageRules::judge`].
    #[must_use]
    pub fn explain(&self, pfn: u64, page: &[u8], next: Option<&[u8]>) -> (Rule, u64) {
        if self.head.is_some_and(|at| word(page, at) & TAIL != 0) {
            return (Rule::Tail, 1);
        }
        let flags = word(page, self.flags);
        let page_type = self.mapcount.map(|at| half(page, at));
        let slab = flags & self.slab_flag != 0 || has(self.slab_type, page_type);
        if self.level & FREE != 0
            && let Some(free) = self.judge_free(pfn, page, page_type, slab)
        {
            return free;
        }
        let anon = word(page, self.mapping) & MAPPING_ANON != 0 && !slab;
        let swapped =
            flags & self.swapcache != 0 && self.swapbacked.is_none_or(|bit| flags & bit != 0);
        let cache = (flags & self.lru != 0 || swapped) && !anon;
        let private = flags & self.private != 0;
        let (order, hugetlb) = self.compound_of(pfn, flags, page_type, next);
        let rule = if self.level & CACHE != 0 && cache && !private {
            Rule::Cache
        } else if self.level & CACHE_PRIVATE != 0 && cache && private {
            Rule::CachePrivate
        } else if self.level & CACHE_PRIVATE != 0 && cache {
            Rule::Cache
        } else if self.level & USER != 0 && anon {
            Rule::Anon
        } else if self.level & USER != 0 && hugetlb {
            Rule::Hugetlb
        } else if flags & self.hwpoison != 0 {
            Rule::Hwpoison
        } else if !slab && has(self.offline, page_type) {
            Rule::Offline
        } else {
            return (Rule::Kept, 1);
        };
        (rule, 1 << order)
    }

    /// `Some(verdict)` when the page is a free one: a block with an absurd order is kept, and nothing else is asked of it.
    fn judge_free(
        &self,
        pfn: u64,
        page: &[u8],
        page_type: Option<u32>,
        slab: bool,
    ) -> Option<(Rule, u64)> {
        let buddy = self.buddy?;
        if !slab && has(Some(buddy.page_type), page_type) {
            let order = word(page, buddy.private);
            let sane = order < buddy.orders && (self.strict || is_aligned(pfn, order));
            return Some(if sane {
                (Rule::Buddy, 1 << order)
            } else {
                (Rule::BuddyNonsense, 1)
            });
        }
        // Such a block is as large as free ones get, and aligned like them.
        let sane = self.strict || pfn.is_multiple_of(buddy.unaccepted);
        let marked = sane && has(self.unaccepted, page_type);
        marked.then_some((Rule::Unaccepted, buddy.unaccepted))
    }

    /// Order and hugetlb verdict of a compound head; (0, false) for every other page.
    fn compound_of(
        &self,
        pfn: u64,
        flags: u64,
        page_type: Option<u32>,
        next: Option<&[u8]>,
    ) -> (u64, bool) {
        let Some(next) = next.filter(|_| flags & self.head_mask != 0 && pfn % GROUP != GROUP - 1)
        else {
            return (0, false);
        };
        let order = match self.order {
            Order::TailFlags => word(next, self.flags) & 0xff,
            Order::TailByte(at) => u64::from(byte(next, at)),
            Order::Unknown => 0,
        };
        let hugetlb = match self.hugetlb {
            Hugetlb::PageType(value) => has(Some(value), page_type),
            Hugetlb::TailFlag(bit) => word(next, self.flags) & bit != 0,
            Hugetlb::TailByte(at, value) => byte(next, at) == value,
            Hugetlb::Unknown => false,
        };
        // An order that the pfn is not aligned to, or that no compound page has, is nonsense: then the head stands for itself alone.
        let limit = if self.strict { 63 } else { MAX_COMPOUND_ORDER };
        let sane = order <= limit && is_aligned(pfn, order);
        (if sane { order } else { 0 }, hugetlb)
    }
}

/// `order` is below 64.
const fn is_aligned(pfn: u64, order: u64) -> bool {
    pfn & ((1 << order) - 1) == 0
}

fn has(known: Option<PageType>, word: Option<u32>) -> bool {
    known.is_some_and(|known| word.is_some_and(|word| known.is(word)))
}

/// The word at `at`, which is inside the struct: other offsets are not taken from VMCOREINFO.
fn word(page: &[u8], at: usize) -> u64 {
    page.get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

fn half(page: &[u8], at: usize) -> u32 {
    page.get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn byte(page: &[u8], at: usize) -> u8 {
    page.get(at).copied().unwrap_or(0)
}
