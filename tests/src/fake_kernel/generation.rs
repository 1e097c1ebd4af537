//! What kernels of different generations say about their pages, as their VMCOREINFO exports it.
//!
//! Facts of include/linux/page-flags.h and kernel/crash_core.c (later kernel/vmcore_info.c) of Linux 5.10 to 7.1 on x86_64.

/// A kernel generation: every change of page metadata that VMCOREINFO shows has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// 5.10: `uts_namespace` without its key, compound order and destructor in the first tail page.
    V5_10,
    /// 6.1: as before, with the keys of uts_namespace.
    V6_1,
    /// 6.4: order and destructor as members of `struct folio`.
    V6_4,
    /// 6.6: order in the flags of the first tail page, with `PG_hugetlb`.
    V6_6,
    /// 6.9: hugetlb is a page type.
    V6_9,
    /// 6.10: slab is a page type, `PG_slab` is no longer exported.
    V6_10,
    /// 6.12: the page type is the top byte.
    V6_12,
    /// 6.18: unaccepted memory, and printk blocks that end exactly at the end of their ring.
    V6_18,
    /// 7.1: `compound_info` in place of `compound_head`.
    V7_1,
}

/// Page flag numbers.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    /// On an LRU list.
    pub lru: u32,
    /// First page of a compound page.
    pub head: u32,
    /// Slab, before it became a page type.
    pub slab: u32,
    /// Private data, and swap cache when together with `swapbacked`.
    pub owner_private: u32,
    /// Has private data.
    pub private: u32,
    /// Backed by swap.
    pub swapbacked: u32,
    /// Poisoned by hardware.
    pub hwpoison: u32,
}

/// `PG_waiters`: the same number in all generations.
pub const WAITERS: u32 = 7;

const FLAGS_OLD: Flags = Flags {
    lru: 4,
    head: 16,
    slab: 9,
    owner_private: 10,
    private: 13,
    swapbacked: 19,
    hwpoison: 23,
};
const FLAGS_6_6: Flags = Flags {
    lru: 5,
    head: 6,
    slab: 11,
    owner_private: 12,
    private: 15,
    swapbacked: 19,
    hwpoison: 22,
};
const FLAGS_NEW: Flags = Flags {
    lru: 5,
    head: 6,
    slab: 63,
    owner_private: 10,
    private: 14,
    swapbacked: 17,
    hwpoison: 20,
};

/// How a kernel stores the order of a compound page and that it is hugetlb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compound {
    /// Bytes of the first tail page: destructor at 16, order at 17.
    PageFields,
    /// The same bytes, exported as members of `struct folio`.
    FolioFields,
    /// Order in the low byte of the first tail page's flags, hugetlb is bit 8 of them.
    TailFlag,
    /// Order as before, hugetlb is a page type.
    PageType,
}

impl Generation {
    /// All of them, oldest first.
    pub const ALL: [Self; 9] = [
        Self::V5_10,
        Self::V6_1,
        Self::V6_4,
        Self::V6_6,
        Self::V6_9,
        Self::V6_10,
        Self::V6_12,
        Self::V6_18,
        Self::V7_1,
    ];

    /// `OSRELEASE`.
    pub const fn release(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10.0-32-fake-amd64",
            Self::V6_1 => "6.1.0-50-fake-amd64",
            Self::V6_4 => "6.4.0-fake-amd64",
            Self::V6_6 => "6.6.13-fake-amd64",
            Self::V6_9 => "6.9.7-fake-amd64",
            Self::V6_10 => "6.10.9-fake-amd64",
            Self::V6_12 => "6.12.107-fake-amd64",
            Self::V6_18 => "6.18.2-fake-amd64",
            Self::V7_1 => "7.1.4-fake-amd64",
        }
    }

    /// Page flag numbers.
    pub const fn flags(self) -> Flags {
        match self {
            Self::V5_10 | Self::V6_1 | Self::V6_4 => FLAGS_OLD,
            Self::V6_6 | Self::V6_9 => FLAGS_6_6,
            _ => FLAGS_NEW,
        }
    }

    /// Where order and hugetlb are.
    pub const fn compound(self) -> Compound {
        match self {
            Self::V5_10 | Self::V6_1 => Compound::PageFields,
            Self::V6_4 => Compound::FolioFields,
            Self::V6_6 => Compound::TailFlag,
            _ => Compound::PageType,
        }
    }

    /// `_mapcount` of a free page.
    pub const fn buddy(self) -> i32 {
        if self.page_type_is_a_byte() {
            0xf0 << 24
        } else {
            -129
        }
    }

    /// `_mapcount` of an offline page.
    pub const fn offline(self) -> i32 {
        if self.page_type_is_a_byte() {
            0xf1 << 24
        } else {
            -257
        }
    }

    /// `_mapcount` of the head of a hugetlb page, where that is a page type.
    pub fn hugetlb(self) -> Option<i32> {
        let value = if self.page_type_is_a_byte() {
            0xf4 << 24
        } else {
            -2049
        };
        (self >= Self::V6_9).then_some(value)
    }

    /// `_mapcount` of a slab page, where that is a page type.
    pub fn slab(self) -> Option<i32> {
        let value = if self.page_type_is_a_byte() {
            0xf5 << 24
        } else {
            -4097
        };
        (self >= Self::V6_10).then_some(value)
    }

    /// `_mapcount` of an unaccepted block, where the kernel says so.
    pub fn unaccepted(self) -> Option<i32> {
        (self >= Self::V6_18).then_some(0xf7 << 24)
    }

    /// Whether `PG_slab` is missing from VMCOREINFO, so that makedumpfile takes `PG_waiters` for it.
    pub fn waiters_look_like_slab(self) -> bool {
        self >= Self::V6_10
    }

    /// Whether a printk block that ends at the end of the ring stays there.
    pub fn printk_block_may_end_at_ring_end(self) -> bool {
        self >= Self::V6_18
    }

    /// Whether a page type is the top byte of its word, and a constant of an enum (in BTF).
    pub const fn page_type_is_a_byte(self) -> bool {
        matches!(self, Self::V6_12 | Self::V6_18 | Self::V7_1)
    }
}
