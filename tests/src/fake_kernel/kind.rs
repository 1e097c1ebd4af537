//! What a page is used for: the fields of its struct page, and whether either set of rules drops it.

use super::generation::{Generation, WAITERS};

/// Level bit 2: page cache.
const CACHE: u8 = 2;
/// Level bit 4: page cache with private data, and all other page cache.
const CACHE_PRIVATE: u8 = 4;
/// Level bit 8: user pages.
const USER: u8 = 8;
/// Level bit 16: free pages.
const FREE: u8 = 16;

/// By whose rules a page is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// What is right: the default.
    Right,
    /// makedumpfile's, where it guesses (`--strict-makedumpfile`).
    Strict,
}

impl Rules {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Right, Self::Strict];

    /// `Options::strict`.
    pub const fn is_strict(self) -> bool {
        matches!(self, Self::Strict)
    }
}

/// What a page (or a compound page, or a free block) is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Allocated by the kernel, with nothing that says for what.
    Kernel,
    /// File page on an LRU list.
    Cache,
    /// The same with private data (buffer heads).
    CachePrivate,
    /// The same that somebody waits for.
    CacheWaiters,
    /// File page that is not on an LRU list at the moment: looks like the kernel's.
    CacheOffLru,
    /// Swap cache page of a shared memory file, off the LRU lists.
    SwapCache,
    /// `PG_owner_priv_1` alone: the number of `PG_swapcache`, but no swap cache.
    OwnerPrivate,
    /// Anonymous page.
    Anon,
    /// Anonymous page in the swap cache with private data.
    AnonSwapPrivate,
    /// Anonymous page that is on no LRU list.
    AnonOffLru,
    /// Anonymous page that somebody waits for.
    AnonWaiters,
    /// Merged page (both low bits of the mapping).
    Ksm,
    /// Page of a driver with movable operations (bit 1 of the mapping).
    MovableOps,
    /// hugetlbfs page, in use or in the pool.
    Hugetlb,
    /// Slab page.
    Slab,
    /// Slab page where the word of the mapping is odd.
    SlabOddMapping,
    /// Free block of the page allocator.
    Buddy,
    /// Free block with somebody waiting (a stale flag).
    BuddyWaiters,
    /// Page marked as free with an order that no allocator has.
    BuddyAbsurd,
    /// Memory that a confidential guest has not accepted yet.
    Unaccepted,
    /// Ballooned or unplugged page.
    Offline,
    /// The same with the flag of waiters.
    OfflineWaiters,
    /// The same with other low bits, which do not matter where a page type is one byte.
    OfflineLowBits,
    /// Poisoned by hardware.
    HwPoison,
    /// Poisoned page of a slab.
    HwPoisonSlab,
}

/// The words of a head's struct page that filters look at.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// `flags` without `PG_head`.
    pub flags: u64,
    /// `mapping`.
    pub mapping: u64,
    /// `_mapcount`, which is also the page type.
    pub mapcount: i32,
}

impl Kind {
    /// Every kind that makes sense for single pages of every generation.
    pub const SINGLE: [Self; 21] = [
        Self::Kernel,
        Self::Cache,
        Self::CachePrivate,
        Self::CacheWaiters,
        Self::CacheOffLru,
        Self::SwapCache,
        Self::OwnerPrivate,
        Self::Anon,
        Self::AnonSwapPrivate,
        Self::AnonOffLru,
        Self::AnonWaiters,
        Self::Ksm,
        Self::MovableOps,
        Self::Slab,
        Self::SlabOddMapping,
        Self::BuddyWaiters,
        Self::BuddyAbsurd,
        Self::Offline,
        Self::OfflineWaiters,
        Self::HwPoison,
        Self::HwPoisonSlab,
    ];

    /// Kinds that compound pages have.
    pub const COMPOUND: [Self; 9] = [
        Self::Kernel,
        Self::Cache,
        Self::CachePrivate,
        Self::Anon,
        Self::Hugetlb,
        Self::Slab,
        Self::SlabOddMapping,
        Self::Offline,
        Self::HwPoison,
    ];

    /// Whether the rules drop such a page at a dump level. Stated kind by kind, not computed from the fields.
    pub fn is_dropped(self, level: u8, generation: Generation, rules: Rules) -> bool {
        let asked = |bits: u8| level & bits != 0;
        let quirk = rules.is_strict() && generation.waiters_look_like_slab();
        match self {
            Self::Kernel | Self::CacheOffLru | Self::OwnerPrivate | Self::MovableOps => false,
            Self::Slab | Self::SlabOddMapping | Self::BuddyAbsurd => false,
            Self::Cache | Self::CacheWaiters | Self::SwapCache => asked(CACHE | CACHE_PRIVATE),
            Self::CachePrivate => asked(CACHE_PRIVATE),
            Self::AnonWaiters if quirk => asked(CACHE | CACHE_PRIVATE),
            Self::Anon
            | Self::AnonSwapPrivate
            | Self::AnonOffLru
            | Self::AnonWaiters
            | Self::Ksm
            | Self::Hugetlb => asked(USER),
            Self::BuddyWaiters | Self::OfflineWaiters if quirk => false,
            Self::OfflineLowBits => !rules.is_strict() && generation.page_type_is_a_byte(),
            Self::Buddy | Self::BuddyWaiters | Self::Unaccepted => asked(FREE),
            Self::Offline | Self::OfflineWaiters | Self::HwPoison | Self::HwPoisonSlab => true,
        }
    }

    /// Whether it is a free block: `private` holds the order, and the pages after the first have no head.
    pub const fn is_free_block(self) -> bool {
        matches!(
            self,
            Self::Buddy | Self::BuddyWaiters | Self::BuddyAbsurd | Self::Unaccepted
        )
    }

    /// The fields of the (first) page.
    pub fn fields(self, generation: Generation) -> Fields {
        let f = generation.flags();
        let flags = |bits: &[u32]| {
            bits.iter()
                .fold(0x0017_ff00_0000_0000, |all, bit| all | 1u64 << bit)
        };
        let slab = |more: &[u32]| {
            if generation.slab().is_some() {
                flags(more)
            } else {
                flags(more) | 1 << f.slab
            }
        };
        let (file, anon) = (0xffff_8881_0123_4560, 0xffff_8881_0765_4321);
        let lru = f.lru;
        let (flags, mapping, mapcount) = match self {
            Self::Kernel => (flags(&[]), 0, -1),
            Self::Cache => (flags(&[lru]), file, 2),
            Self::CachePrivate => (flags(&[lru, f.private]), file, -1),
            Self::CacheWaiters => (flags(&[lru, WAITERS]), file, 0),
            Self::CacheOffLru => (flags(&[]), file, -1),
            Self::SwapCache => (flags(&[f.owner_private, f.swapbacked]), file, -1),
            Self::OwnerPrivate => (flags(&[f.owner_private]), file, -1),
            Self::Anon => (flags(&[lru, f.swapbacked]), anon, 0),
            Self::AnonSwapPrivate => (
                flags(&[lru, f.swapbacked, f.owner_private, f.private]),
                anon,
                0,
            ),
            Self::AnonOffLru => (flags(&[f.swapbacked]), anon, 0),
            Self::AnonWaiters => (flags(&[lru, f.swapbacked, WAITERS]), anon, 0),
            Self::Ksm => (flags(&[lru, f.swapbacked]), file | 3, 7),
            Self::MovableOps => (flags(&[]), file | 2, -1),
            Self::Hugetlb => (flags(&[f.private]), 0, generation.hugetlb().unwrap_or(-1)),
            Self::Slab => (slab(&[]), 0, generation.slab().unwrap_or(-1)),
            Self::SlabOddMapping => (slab(&[]), anon, generation.slab().unwrap_or(-1)),
            Self::Buddy => (flags(&[]), 0, generation.buddy()),
            Self::BuddyWaiters => (flags(&[WAITERS]), 0, generation.buddy()),
            Self::BuddyAbsurd => (flags(&[]), 0, generation.buddy()),
            Self::Unaccepted => (flags(&[]), 0, generation.unaccepted().unwrap_or(-1)),
            Self::Offline => (flags(&[]), 0, generation.offline()),
            Self::OfflineWaiters => (flags(&[WAITERS]), 0, generation.offline()),
            Self::OfflineLowBits => (flags(&[]), 0, generation.offline() ^ 7),
            Self::HwPoison => (flags(&[f.hwpoison]), 0, -1),
            Self::HwPoisonSlab => (slab(&[f.hwpoison]), 0, generation.slab().unwrap_or(-1)),
        };
        Fields {
            flags,
            mapping,
            mapcount,
        }
    }
}
