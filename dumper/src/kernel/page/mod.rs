//! struct page: what a page is, from its own fields.
//!
//! Upstream: the rules are those of makedumpfile's `__exclude_unnecessary_pages` (1.7.9 and its head of mid-2026); the fields are the
//! kernel's `include/linux/mm_types.h`, `page-flags.h`. Holds for: Linux 5.10 to 7.2, judged by what VMCOREINFO exports.

mod resolve;

use crate::filter::DumpLevel;

/// Why a page is not needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Page cache without private data.
    Cache,
    /// Page cache with private data (buffer heads and the like).
    CachePrivate,
    /// Anonymous or hugetlb.
    User,
    /// In the buddy lists, or not yet accepted.
    Free,
    /// Hardware-poisoned: reading it may kill the capture kernel.
    Hwpoison,
    /// Logically offline: ballooned, unplugged.
    Offline,
}

/// A page and those that follow it are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Why.
    pub class: Class,
    /// How many pages, the judged one included.
    pub pages: u64,
}

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
    /// A byte at this offset of the first tail.
    TailByte(usize),
    /// Nothing says; every page stands for itself.
    Unknown,
}

/// How a hugetlb head is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hugetlb {
    /// Its page type (6.9 and later).
    PageType(u32),
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
    page_type: u32,
    private: usize,
    /// LENGTH(zone.free_area): orders from here on are nonsense.
    orders: u64,
}

/// Field offsets and values of one kernel's struct page, and the rules that can be applied with them.
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
    slab_type: Option<u32>,
    hwpoison: u64,
    head_mask: u64,
    offline: Option<u32>,
    unaccepted: Option<u32>,
    buddy: Option<Buddy>,
    order: Order,
    hugetlb: Hugetlb,
    level: u8,
    scan: bool,
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
/// PG_slab's number before 6.10. Where VMCOREINFO has no PG_slab any more, makedumpfile still tests this bit (PG_waiters there):
/// such a page counts as slab and is not taken for an anonymous, free or offline one.
const PG_SLAB_DEFAULT: u32 = 7;

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
        if self.head.is_some_and(|at| word(page, at) & TAIL != 0) {
            return None;
        }
        let flags = word(page, self.flags);
        let page_type = self.mapcount.map_or(0, |at| half(page, at));
        let slab = flags & self.slab_flag != 0 || self.slab_type == Some(page_type);
        if self.level & FREE != 0
            && let Some(free) = self.judge_free(page, page_type, slab)
        {
            return free;
        }
        let anon = word(page, self.mapping) & MAPPING_ANON != 0 && !slab;
        let swapped =
            flags & self.swapcache != 0 && self.swapbacked.is_none_or(|bit| flags & bit != 0);
        let cache = (flags & self.lru != 0 || swapped) && !anon;
        let private = flags & self.private != 0;
        let (order, hugetlb) = self.compound_of(pfn, flags, page_type, next);
        let class = if self.level & CACHE != 0 && cache && !private {
            Class::Cache
        } else if self.level & CACHE_PRIVATE != 0 && cache {
            if private {
                Class::CachePrivate
            } else {
                Class::Cache
            }
        } else if self.level & USER != 0 && (anon || hugetlb) {
            Class::User
        } else if flags & self.hwpoison != 0 {
            Class::Hwpoison
        } else if !slab && self.offline == Some(page_type) && self.mapcount.is_some() {
            Class::Offline
        } else {
            return None;
        };
        Some(Drop {
            class,
            pages: 1 << order,
        })
    }

    /// `Some(verdict)` when the page is a free one: a block with an absurd order is kept, and nothing else is asked of it.
    fn judge_free(&self, page: &[u8], page_type: u32, slab: bool) -> Option<Option<Drop>> {
        let buddy = self.buddy?;
        if !slab && page_type == buddy.page_type {
            let order = word(page, buddy.private);
            return Some((order < buddy.orders).then(|| Drop {
                class: Class::Free,
                pages: 1 << order,
            }));
        }
        if self.unaccepted == Some(page_type) {
            return Some(Some(Drop {
                class: Class::Free,
                pages: 1 << (buddy.orders - 1),
            }));
        }
        None
    }

    /// Order and hugetlb verdict of a compound head; (0, false) for every other page.
    fn compound_of(
        &self,
        pfn: u64,
        flags: u64,
        page_type: u32,
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
            Hugetlb::PageType(value) => page_type == value,
            Hugetlb::TailFlag(bit) => word(next, self.flags) & bit != 0,
            Hugetlb::TailByte(at, value) => byte(next, at) == value,
            Hugetlb::Unknown => false,
        };
        // An order that the pfn is not aligned to, or that no compound page has, is nonsense: then the head stands for itself alone.
        let sane = order <= MAX_COMPOUND_ORDER && pfn & ((1 << order) - 1) == 0;
        (if sane { order } else { 0 }, hugetlb)
    }
}

/// The word at `at`, which [`PageRules::bound`] found to be inside the struct.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmcore::VmcoreInfo;

    const V6_12: &str = "SIZE(page)=64\nOFFSET(page.flags)=0\nOFFSET(page.mapping)=24\nOFFSET(page._mapcount)=48\n\
        OFFSET(page.private)=40\nOFFSET(page.compound_head)=8\nLENGTH(zone.free_area)=11\nNUMBER(PG_lru)=5\nNUMBER(PG_private)=13\n\
        NUMBER(PG_swapcache)=10\nNUMBER(PG_swapbacked)=17\nNUMBER(PG_hwpoison)=22\nNUMBER(PG_head_mask)=64\n\
        NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)=-184549376\nNUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=-268435456\n\
        NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)=-201326592\nNUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)=-251658240\n";

    fn page(flags: u64, head: u64, mapping: u64, private: u64, page_type: u32) -> Vec<u8> {
        let mut p = vec![0; 64];
        for (at, value) in [(0, flags), (8, head), (24, mapping), (40, private)] {
            p[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        p[48..52].copy_from_slice(&page_type.to_le_bytes());
        p
    }

    fn rules(level: u8) -> PageRules {
        PageRules::new(
            &VmcoreInfo::parse(V6_12.as_bytes()),
            DumpLevel::new(level).unwrap(),
        )
        .unwrap()
    }

    const NONE: u32 = u32::MAX;
    const BUDDY: u32 = 0xf000_0000;

    #[test]
    fn a_level_drops_its_own_class_only() {
        let cache = page(1 << 5, 0, 0xffff_8880_0000_1000, 0, NONE);
        let private = page(1 << 5 | 1 << 13, 0, 0xffff_8880_0000_1000, 0, NONE);
        let anon = page(1 << 5, 0, 0xffff_8880_0000_1001, 0, NONE);
        let free = page(0, 0, 0, 3, BUDDY);
        let got = |level, p: &[u8]| rules(level).judge(8, p, None).map(|d| (d.class, d.pages));
        assert_eq!(got(2, &cache), Some((Class::Cache, 1)));
        assert_eq!(got(2, &private), None);
        assert_eq!(got(4, &private), Some((Class::CachePrivate, 1)));
        assert_eq!(got(4, &cache), Some((Class::Cache, 1)));
        assert_eq!(got(8, &anon), Some((Class::User, 1)));
        assert_eq!(got(8, &cache), None);
        assert_eq!(got(6, &anon), None);
        assert_eq!(got(16, &free), Some((Class::Free, 8)));
        assert_eq!(got(15, &free), None);
    }

    #[test]
    fn compound_heads_take_their_tails_along() {
        let head = page(1 << 5 | 64, 0, 0xffff_8880_0000_1001, 0, NONE);
        let tail = page(9, 0xffff_ea00_0000_0001, 0, 0, NONE);
        assert_eq!(
            rules(8).judge(512, &head, Some(&tail)),
            Some(Drop {
                class: Class::User,
                pages: 512
            })
        );
        assert_eq!(
            rules(8).judge(513, &tail, Some(&tail)),
            None,
            "a tail is never judged"
        );
        assert_eq!(
            rules(8).judge(256, &head, Some(&tail)).unwrap().pages,
            1,
            "unaligned order"
        );
        let absurd = page(40, 0xffff_ea00_0000_0001, 0, 0, NONE);
        assert_eq!(rules(8).judge(0, &head, Some(&absurd)).unwrap().pages, 1);
        assert_eq!(
            rules(8).judge(511, &head, Some(&tail)).unwrap().pages,
            1,
            "last of a group"
        );
        let hugetlb = page(64, 0, 0, 0, 0xf400_0000);
        assert_eq!(
            rules(8).judge(512, &hugetlb, Some(&tail)),
            Some(Drop {
                class: Class::User,
                pages: 512
            })
        );
        assert_eq!(rules(23).judge(512, &hugetlb, Some(&tail)), None);
    }

    #[test]
    fn slab_absurd_orders_and_waiters() {
        let slab = page(64, 0, 1, 0, 0xf500_0000);
        assert_eq!(rules(31).judge(512, &slab, None), None);
        assert_eq!(
            rules(31).judge(512, &page(0, 0, 0, 11, BUDDY), None),
            None,
            "order beyond free_area"
        );
        let waiters = page(1 << 5 | 1 << 7, 0, 1, 0, NONE);
        assert_eq!(rules(8).judge(1, &waiters, None), None);
        assert_eq!(
            rules(2).judge(1, &waiters, None).unwrap().class,
            Class::Cache
        );
    }

    #[test]
    fn poisoned_and_offline_pages_go_at_level_0() {
        assert_eq!(
            rules(0)
                .judge(1, &page(1 << 22, 0, 0, 0, NONE), None)
                .unwrap()
                .class,
            Class::Hwpoison
        );
        assert_eq!(
            rules(0)
                .judge(1, &page(0, 0, 0, 0, 0xf100_0000), None)
                .unwrap()
                .class,
            Class::Offline
        );
        assert!(rules(0).need_scan());
    }

    #[test]
    fn what_is_not_exported_is_kept() {
        let without = |key: &str| {
            let text: String = V6_12
                .lines()
                .filter(|l| !l.contains(key))
                .flat_map(|l| [l, "\n"])
                .collect();
            PageRules::new(&VmcoreInfo::parse(text.as_bytes()), DumpLevel::MAX)
        };
        assert_eq!(without("compound_head").unwrap().level().bits(), 17);
        assert_eq!(without("PG_lru").unwrap().level().bits(), 25);
        assert_eq!(without("PAGE_BUDDY").unwrap().level().bits(), 15);
        assert_eq!(without("PAGE_SLAB").unwrap().level().bits(), 7);
        assert!(!without("PAGE_SLAB").unwrap().warnings.is_empty());
        assert!(without("page.flags").is_err());
        let beyond = V6_12.replace("OFFSET(page.mapping)=24", "OFFSET(page.mapping)=60");
        assert!(PageRules::new(&VmcoreInfo::parse(beyond.as_bytes()), DumpLevel::MAX).is_err());
    }
}
