//! What can be decided about a page, and by which rule.

use std::fmt;

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

/// The rule that decided about a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A tail page: it goes or stays with its head.
    Tail,
    /// The first page of a free block.
    Buddy,
    /// A free block with an order that cannot be: it is kept.
    BuddyNonsense,
    /// The marker of a block of memory that was not yet accepted.
    Unaccepted,
    /// Page cache without private data.
    Cache,
    /// Page cache with private data.
    CachePrivate,
    /// Anonymous.
    Anon,
    /// Hugetlb.
    Hugetlb,
    /// Hardware-poisoned.
    Hwpoison,
    /// Logically offline.
    Offline,
    /// No rule drops it.
    Kept,
}

impl Rule {
    /// The class that a page dropped by this rule is counted in; `None` when the rule keeps it.
    #[must_use]
    pub const fn class(self) -> Option<Class> {
        match self {
            Self::Tail | Self::BuddyNonsense | Self::Kept => None,
            Self::Buddy | Self::Unaccepted => Some(Class::Free),
            Self::Cache => Some(Class::Cache),
            Self::CachePrivate => Some(Class::CachePrivate),
            Self::Anon | Self::Hugetlb => Some(Class::User),
            Self::Hwpoison => Some(Class::Hwpoison),
            Self::Offline => Some(Class::Offline),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tail => "a tail page, which goes or stays with its head",
            Self::Buddy => "a free block",
            Self::BuddyNonsense => "a free block with an order that cannot be, kept",
            Self::Unaccepted => "memory not yet accepted",
            Self::Cache => "page cache",
            Self::CachePrivate => "page cache with private data",
            Self::Anon => "anonymous",
            Self::Hugetlb => "hugetlb",
            Self::Hwpoison => "hardware-poisoned",
            Self::Offline => "offline",
            Self::Kept => "no rule drops it",
        })
    }
}

/// A value of the `_mapcount`/`page_type` word and which bits of the word it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageType {
    value: u32,
    mask: u32,
}

impl PageType {
    /// From 6.12 on the type is the top byte and the low bits are free for other uses; makedumpfile compares the whole word (`strict`).
    /// `None` for a value that pages without a type can have as well.
    pub(super) fn new(value: u32, strict: bool) -> Option<Self> {
        let type_in_top_byte = value << 8 == 0;
        if value.cast_signed() >= -1 || value == 0xff00_0000 {
            return None;
        }
        let top_byte_only = type_in_top_byte && value >= 0xf000_0000 && !strict;
        let mask = if top_byte_only { 0xff00_0000 } else { u32::MAX };
        Some(Self { value, mask })
    }

    pub(super) const fn is(self, word: u32) -> bool {
        word & self.mask == self.value
    }
}
