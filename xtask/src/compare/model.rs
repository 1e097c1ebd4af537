//! makedumpfile's rules for what is dropped, written from their description: a second opinion on both sides of a difference.
//!
//! Upstream: the decision of `__exclude_unnecessary_pages` as of 1.7.8 to 1.7.9++, for Linux 4.16 to 7.2.

use super::known::Known;
use super::layout::Info;
use super::memory::Memory;
use anyhow::{Context, Result};
use std::fmt;

/// Struct pages are read in aligned groups of this many: the last one's successor is not at hand.
const GROUP: u64 = 512;

/// The rule that decided on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    NoData,
    NoStructPage,
    Tail,
    BuddyOrder,
    None,
    Buddy,
    Unaccepted,
    Cache,
    CachePrivate,
    Anonymous,
    Hugetlb,
    Hwpoison,
    Offline,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoData => "its first byte is in no segment",
            Self::NoStructPage => "its section has no struct pages",
            Self::Tail => "tail page: its head decides",
            Self::BuddyOrder => "free, but of an order that no kernel has",
            Self::None => "no rule drops it",
            Self::Buddy => "free",
            Self::Unaccepted => "not accepted",
            Self::Cache => "page cache",
            Self::CachePrivate => "page cache with private data",
            Self::Anonymous => "anonymous",
            Self::Hugetlb => "hugetlb",
            Self::Hwpoison => "poisoned",
            Self::Offline => "offline",
        })
    }
}

/// A range of pages that goes, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drop {
    pub(super) first: u64,
    pub(super) pages: u64,
    pub(super) rule: Rule,
}

/// Where the order of a compound page and its being hugetlb are.
#[derive(Clone, Copy)]
enum Compound {
    /// From 6.9 on: flags of the first tail; the head's page type.
    PageType(u32),
    /// 6.6 to 6.8: both in flags of the first tail.
    TailFlag(i64),
    /// Bytes of the first tail, and the hugetlb destructor.
    TailBytes(Option<usize>, Option<usize>, Option<i64>),
}

/// Where the fields of a struct page are and what they mean.
pub(super) struct Fields {
    pub(super) flags: usize,
    pub(super) mapping: usize,
    pub(super) mapcount: Option<usize>,
    pub(super) compound_head: Option<usize>,
    pub(super) compound_info: Option<usize>,
    pub(super) private: Option<usize>,
    lru: u64,
    private_flag: u64,
    swapcache: u64,
    swapbacked: Option<u64>,
    slab_flag: Option<u64>,
    hwpoison: Option<u64>,
    head_mask: u64,
    slab: Option<u32>,
    buddy: Option<u32>,
    offline: Option<u32>,
    unaccepted: Option<u32>,
    orders: Option<u64>,
    compound: Compound,
}

impl Fields {
    /// # Errors
    /// When VMCOREINFO lacks what every kernel has.
    pub(super) fn new(info: &Info, struct_size: usize) -> Result<Self> {
        let need = |name: &str| {
            info.offset(name)
                .with_context(|| format!("no OFFSET({name})"))
        };
        let bit = |name: &str| info.number(name).map(|bit| 1u64 << (bit & 31));
        let in_tail = |folio: &str, page: &str| {
            let folio = info
                .offset(folio)
                .and_then(|at| at.checked_sub(struct_size));
            folio.or_else(|| info.offset(page))
        };
        let tail_bytes = || {
            Compound::TailBytes(
                in_tail("folio._folio_order", "page.compound_order"),
                in_tail("folio._folio_dtor", "page.compound_dtor"),
                info.number("HUGETLB_PAGE_DTOR"),
            )
        };
        let tail_flag = || info.number("PG_hugetlb").map(Compound::TailFlag);
        let page_type = info.half("PAGE_HUGETLB_MAPCOUNT_VALUE");
        let (mapcount, private) = (info.offset("page._mapcount"), info.offset("page.private"));
        let buddy = info.half("PAGE_BUDDY_MAPCOUNT_VALUE");
        Ok(Self {
            flags: need("page.flags")?,
            mapping: need("page.mapping")?,
            mapcount,
            compound_head: info.offset("page.compound_head"),
            compound_info: info.offset("page.compound_info"),
            private,
            lru: bit("PG_lru").unwrap_or(1 << 5),
            private_flag: bit("PG_private").unwrap_or(1 << 11),
            swapcache: bit("PG_swapcache").unwrap_or(1 << 15),
            swapbacked: bit("PG_swapbacked"),
            slab_flag: bit("PG_slab"),
            hwpoison: bit("PG_hwpoison"),
            head_mask: info
                .number("PG_head_mask")
                .map_or(1 << 14, i64::cast_unsigned),
            slab: info.half("PAGE_SLAB_MAPCOUNT_VALUE"),
            buddy: buddy.filter(|_| mapcount.is_some() && private.is_some()),
            offline: info.half("PAGE_OFFLINE_MAPCOUNT_VALUE"),
            unaccepted: info.half("PAGE_UNACCEPTED_MAPCOUNT_VALUE"),
            orders: info
                .value("LENGTH", "zone.free_area")
                .and_then(|n| u64::try_from(n).ok()),
            compound: page_type
                .map(Compound::PageType)
                .or_else(tail_flag)
                .unwrap_or_else(tail_bytes),
        })
    }

    /// Whether the struct pages are looked at, at this level.
    fn judges(&self, level: u8) -> bool {
        level & 14 != 0 || self.hwpoison.is_some() || (level & 16 != 0 && self.buddy.is_some())
    }

    /// The rule that decides on a page that stands for itself, and how many pages it decides on.
    fn judge(
        &self,
        level: u8,
        quirks: &[Known],
        pfn: u64,
        page: &[u8],
        next: Option<&[u8]>,
    ) -> (Rule, u64) {
        let info = self
            .compound_info
            .filter(|_| !quirks.contains(&Known::TailPages));
        let head = self.compound_head.or(info).map_or(0, |at| word(page, at));
        if head & 1 != 0 {
            return (Rule::Tail, 1);
        }
        let flags = word(page, self.flags);
        let page_type = self.mapcount.map_or(0, |at| half(page, at));
        let waiters = quirks.contains(&Known::Waiters).then_some(1 << 7);
        let slab_flag = self.slab_flag.or(waiters).unwrap_or(0);
        let slab = self.slab == Some(page_type) || flags & slab_flag != 0;
        if level & 16 != 0 && !slab && self.buddy == Some(page_type) {
            let order = self.private.map_or(0, |at| word(page, at));
            if order >= self.orders.unwrap_or(31) {
                return (Rule::BuddyOrder, 1);
            }
            return (Rule::Buddy, 1 << order);
        }
        if level & 16 != 0 && self.unaccepted == Some(page_type) {
            return (Rule::Unaccepted, 1 << (self.orders.unwrap_or(11) - 1));
        }
        let swapped =
            flags & self.swapcache != 0 && self.swapbacked.is_none_or(|bit| flags & bit != 0);
        let anonymous = word(page, self.mapping) & 1 != 0 && !slab;
        let cache = (flags & self.lru != 0 || swapped) && !anonymous;
        let private = flags & self.private_flag != 0;
        let (order, hugetlb) = self.compound(pfn, flags, page_type, next);
        let is = |value: Option<u64>| value.is_some_and(|bit| flags & bit != 0);
        let rule = if level & 6 != 0 && cache && !private {
            Rule::Cache
        } else if level & 4 != 0 && cache {
            Rule::CachePrivate
        } else if level & 8 != 0 && anonymous {
            Rule::Anonymous
        } else if level & 8 != 0 && hugetlb {
            Rule::Hugetlb
        } else if is(self.hwpoison) {
            Rule::Hwpoison
        } else if self.offline == Some(page_type) && !slab {
            Rule::Offline
        } else {
            return (Rule::None, 1);
        };
        (rule, 1 << order)
    }

    /// The order of a compound head, and whether it is hugetlb; (0, false) of any other page.
    fn compound(&self, pfn: u64, flags: u64, page_type: u32, next: Option<&[u8]>) -> (u64, bool) {
        let Some(next) = next.filter(|_| flags & self.head_mask != 0 && pfn % GROUP != GROUP - 1)
        else {
            return (0, false);
        };
        let tail = word(next, self.flags);
        let byte = |at: Option<usize>| at.and_then(|at| next.get(at)).copied();
        let (order, hugetlb) = match self.compound {
            Compound::PageType(value) => (tail & 0xff, page_type == value),
            Compound::TailFlag(bit) => (tail & 0xff, tail >> (bit & 63) & 1 != 0),
            Compound::TailBytes(order, dtor, value) => (
                byte(order).map_or(0, u64::from),
                value.is_some() && byte(dtor).map(i64::from) == value,
            ),
        };
        let sane = order < 64 && pfn & ((1 << order) - 1) == 0;
        (if sane { order } else { 0 }, hugetlb)
    }
}

/// The rules on one vmcore.
pub(super) struct Model<'a> {
    pub(super) memory: &'a Memory,
    pub(super) fields: Fields,
    pub(super) max_mapnr: u64,
}

impl<'a> Model<'a> {
    /// # Errors
    /// When VMCOREINFO lacks what every kernel has.
    pub(super) fn new(memory: &'a Memory, max_mapnr: u64) -> Result<Self> {
        let fields = Fields::new(&memory.info, memory.struct_size)?;
        Ok(Self {
            memory,
            fields,
            max_mapnr,
        })
    }

    /// What is dropped at a level, section by section.
    ///
    /// # Errors
    /// When struct pages cannot be read.
    pub(super) fn drops(&self, level: u8, quirks: &[Known]) -> Result<Vec<Drop>> {
        let mut drops = Vec::new();
        if !self.fields.judges(level) {
            return Ok(drops);
        }
        for section in self
            .memory
            .sections(section_flags(quirks), self.max_mapnr)?
        {
            let pages = self.memory.struct_pages(section)?;
            let size = self.memory.struct_size;
            let slot = |pfn: u64| {
                let at = usize::try_from(pfn - section.start).ok()? * size;
                pages.get(at..at + size)
            };
            let mut pfn = section.start;
            while pfn < section.end {
                let page = slot(pfn).filter(|_| self.memory.has_data(pfn));
                let Some(page) = page else {
                    pfn += 1;
                    continue;
                };
                let (rule, pages) = self.fields.judge(level, quirks, pfn, page, slot(pfn + 1));
                if rule >= Rule::Buddy {
                    drops.push(Drop {
                        first: pfn,
                        pages,
                        rule,
                    });
                    pfn += pages;
                } else {
                    pfn += 1;
                }
            }
        }
        Ok(drops)
    }

    /// The second bitmap at a level, from the first.
    ///
    /// # Errors
    /// When struct pages cannot be read.
    pub(super) fn bitmap(&self, level: u8, quirks: &[Known], exists: &[u8]) -> Result<Vec<u8>> {
        let mut kept = exists.to_vec();
        for drop in self.drops(level, quirks)? {
            let end = drop.first.saturating_add(drop.pages).min(self.max_mapnr);
            for pfn in drop.first..end {
                if let Some(byte) = kept.get_mut(usize::try_from(pfn / 8)?) {
                    *byte &= !(1 << (pfn % 8));
                }
            }
        }
        Ok(kept)
    }

    /// What is taken for the struct page of `pfn` and for the one after it.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn struct_page(
        &self,
        pfn: u64,
        quirks: &[Known],
    ) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let sections = self
            .memory
            .sections(section_flags(quirks), self.max_mapnr)?;
        let section = sections
            .into_iter()
            .find(|s| (s.start..s.end).contains(&pfn));
        let Some(section) = section else {
            return Ok(None);
        };
        let (pages, size) = (self.memory.struct_pages(section)?, self.memory.struct_size);
        let at = usize::try_from(pfn - section.start)? * size;
        let next = pages.get(at + size..at + 2 * size).unwrap_or_default();
        Ok(Some((pages[at..at + size].to_vec(), next.to_vec())))
    }

    /// The rule that decides on `pfn`, and the first page of the range that it decides on.
    ///
    /// # Errors
    /// When struct pages cannot be read.
    pub(super) fn rule(
        &self,
        level: u8,
        quirks: &[Known],
        drops: &[Drop],
        pfn: u64,
    ) -> Result<(Rule, u64)> {
        if let Some(drop) = drops
            .iter()
            .rfind(|d| d.first <= pfn && pfn - d.first < d.pages)
        {
            return Ok((drop.rule, drop.first));
        }
        if !self.memory.has_data(pfn) {
            return Ok((Rule::NoData, pfn));
        }
        let Some((page, next)) = self.struct_page(pfn, quirks)? else {
            return Ok((Rule::NoStructPage, pfn));
        };
        let next = (!next.is_empty()).then_some(next.as_slice());
        Ok((self.fields.judge(level, quirks, pfn, &page, next).0, pfn))
    }
}

/// How many low bits of `section_mem_map` are taken for flags.
fn section_flags(quirks: &[Known]) -> u32 {
    if quirks.contains(&Known::SectionFlags) {
        5
    } else {
        6
    }
}

/// The 8 bytes at `at`; 0 beyond the end.
pub(super) fn word(page: &[u8], at: usize) -> u64 {
    let bytes = page.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

/// The 4 bytes at `at`; 0 beyond the end.
pub(super) fn half(page: &[u8], at: usize) -> u32 {
    let bytes = page.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_le_bytes)
}
