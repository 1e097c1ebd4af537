//! From what the kernel exports to the rules that can be applied with it.

use super::exports::{
    BUDDY, Exports, FLAGS, HEAD, HEAD_WORD, HUGETLB, HWPOISON, LRU, MAPCOUNT, MAPPING, OFFLINE,
    PRIVATE, PRIVATE_WORD, SLAB, SLAB_FLAG, SWAPBACKED, SWAPCACHE, UNACCEPTED,
};
use super::rule::PageType;
use super::{Buddy, CACHE, CACHE_PRIVATE, FREE, Hugetlb, Order, PageRules, USER};
use crate::filter::DumpLevel;
use crate::vmcore::VmcoreInfo;

/// What makedumpfile takes for PG_slab where VMCOREINFO has none: its number in Linux 2.6, PG_waiters since 4.10.
const STRICT_PG_SLAB: u32 = 7;
/// NR_PAGE_ORDERS of nearly every kernel with 4 KiB pages.
const USUAL_ORDERS: u64 = 11;

impl PageRules {
    /// The rules for `level` on the kernel that `info` describes. A rule whose fields are not known is left out with a warning: its
    /// pages are kept. `strict` takes makedumpfile's choices, see the module.
    ///
    /// # Errors
    /// A sentence, when not even the size of a struct page is known.
    pub fn new(info: &VmcoreInfo, level: DumpLevel, strict: bool) -> Result<Self, String> {
        let mut warnings = Vec::new();
        let mut exports = Exports::read(info, &mut warnings)?;
        exports.drop_contradictions(&mut warnings);
        if strict {
            exports.take_upstreams_choices();
        }
        let mut rules = Self::from_exports(&exports, strict);
        rules.level = level.bits();
        rules.warnings = warnings;
        rules.order_of(&exports);
        rules.degrade(&exports);
        rules.note_unknown(&exports);
        rules.scan =
            rules.level & (CACHE | CACHE_PRIVATE | USER | FREE) != 0 || rules.hwpoison != 0;
        Ok(rules)
    }

    fn from_exports(exports: &Exports, strict: bool) -> Self {
        let flags = exports.fields[FLAGS].value;
        let bit = |index: usize| exports.bits[index].value.filter(|_| flags.is_some());
        let mask = |index: usize| bit(index).map_or(0, |b| 1u64 << b);
        let mapcount = exports.fields[MAPCOUNT].value;
        let page_type = |index: usize| {
            let value = exports.types[index].value.filter(|_| mapcount.is_some());
            value.and_then(|v| PageType::new(v, strict))
        };
        // Kernels whose swap cache shares its bit with other owners (4.10 and later) need PG_swapbacked to tell.
        let order = exports.bits[SWAPCACHE]
            .value
            .zip(exports.bits[PRIVATE].value);
        let shared = order.is_none_or(|(swapcache, private)| swapcache < private);
        let swapbacked = bit(SWAPBACKED).map(|b| 1u64 << b);
        let untold = shared && swapbacked.is_none();
        Self {
            size: exports.size,
            flags: flags.unwrap_or(0),
            mapping: exports.fields[MAPPING].value.unwrap_or(0),
            mapcount,
            head: exports.fields[HEAD_WORD].value,
            lru: mask(LRU),
            private: mask(PRIVATE),
            swapcache: if untold { 0 } else { mask(SWAPCACHE) },
            swapbacked,
            slab_flag: mask(SLAB_FLAG),
            slab_type: page_type(SLAB),
            hwpoison: mask(HWPOISON),
            head_mask: mask(HEAD),
            // In a slab page of an older kernel the word can have any value.
            offline: page_type(OFFLINE).filter(|_| exports.tell_slab()),
            unaccepted: page_type(UNACCEPTED),
            buddy: page_type(BUDDY)
                .zip(exports.fields[PRIVATE_WORD].value)
                .map(|(page_type, private)| Buddy {
                    page_type,
                    private,
                    orders: exports.orders.unwrap_or(USUAL_ORDERS),
                    unaccepted: exports.orders.map_or(1, |orders| 1 << (orders - 1)),
                }),
            order: Order::Unknown,
            hugetlb: Hugetlb::Unknown,
            level: 0,
            scan: true,
            strict,
            warnings: Vec::new(),
        }
    }

    /// Chooses the compound rule: what the kernel exports decides, the newest first.
    fn order_of(&mut self, exports: &Exports) {
        if self.head_mask == 0 {
            return;
        }
        let in_type = exports.types[HUGETLB]
            .value
            .filter(|_| self.mapcount.is_some());
        if exports.order_in_flags {
            self.order = Order::TailFlags;
            self.hugetlb = match (in_type, exports.tail_hugetlb) {
                (Some(value), _) => {
                    PageType::new(value, self.strict).map_or(Hugetlb::Unknown, Hugetlb::PageType)
                }
                (None, Some(bit)) => Hugetlb::TailFlag(1 << bit),
                (None, None) => Hugetlb::Unknown,
            };
            return;
        }
        let [order, dtor] = exports.tail_bytes;
        self.order = order.value.map_or(Order::Unknown, Order::TailByte);
        if let (Some(at), Some(value)) = (dtor.value, exports.dtor) {
            self.hugetlb = Hugetlb::TailByte(at, value);
        }
    }

    /// Takes back the parts of the level that cannot be told apart: a page is rather kept than guessed at.
    fn degrade(&mut self, exports: &Exports) {
        let mut without = |bits: u8, pages: &str, keys: &[&str]| {
            let lost = self.level & bits;
            if lost != 0 {
                self.level &= !bits;
                self.warnings.push(format!(
                    "dump level bits {lost} are not applied, {pages} are kept: VMCOREINFO says no usable {}",
                    keys.join(" or ")
                ));
            }
        };
        let field = |index: usize| exports.fields[index];
        if field(FLAGS).value.is_none() {
            without(
                CACHE | CACHE_PRIVATE,
                "page cache pages",
                &["OFFSET(page.flags)"],
            );
        }
        if field(MAPPING).value.is_none() {
            let bits = CACHE | CACHE_PRIVATE | USER;
            without(bits, "page cache and user pages", &["OFFSET(page.mapping)"]);
        }
        if self.head.is_none() {
            let keys = ["OFFSET(page.compound_head)", "OFFSET(page.compound_info)"];
            let bits = CACHE | CACHE_PRIVATE | USER;
            without(bits, "page cache and user pages", &keys);
        }
        if self.lru == 0 {
            let bits = CACHE | CACHE_PRIVATE;
            without(bits, "page cache pages", &["NUMBER(PG_lru)"]);
        }
        if self.private == 0 {
            without(CACHE, "page cache pages", &["NUMBER(PG_private)"]);
        }
        if !exports.tell_slab() {
            let keys = ["NUMBER(PG_slab)", "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)"];
            without(USER | FREE, "user and free pages", &keys);
        }
        if self.buddy.is_none() {
            let all = [
                ("OFFSET(page._mapcount)", self.mapcount.is_some()),
                ("OFFSET(page.private)", field(PRIVATE_WORD).value.is_some()),
                (
                    "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)",
                    exports.types[BUDDY].value.is_some(),
                ),
            ];
            let keys: Vec<&str> = all.iter().filter(|k| !k.1).map(|k| k.0).collect();
            without(FREE, "free pages", &keys);
        }
    }

    /// Says what stays in the dump though the level drops it, because the kernel does not export how to know it.
    fn note_unknown(&mut self, exports: &Exports) {
        let cache = CACHE | CACHE_PRIVATE;
        let unknown = [
            (
                cache | USER,
                self.order == Order::Unknown,
                "all but the first page of large folios",
                "NUMBER(PG_head_mask), OFFSET(page.compound_order) or OFFSET(folio._folio_order)",
            ),
            (
                USER,
                self.hugetlb == Hugetlb::Unknown,
                "hugetlb pages",
                "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE), NUMBER(PG_hugetlb) or NUMBER(HUGETLB_PAGE_DTOR)",
            ),
            (
                cache,
                self.swapcache == 0,
                "swap cache pages on no LRU list",
                "NUMBER(PG_swapcache) and NUMBER(PG_swapbacked)",
            ),
            (
                FREE,
                exports.orders.is_none(),
                "free blocks of order 11 and larger",
                "LENGTH(zone.free_area)",
            ),
        ];
        for (bits, applies, pages, key) in unknown {
            if applies && self.level & bits != 0 {
                self.warnings
                    .push(format!("{pages} are kept: VMCOREINFO says no usable {key}"));
            }
        }
    }
}

impl Exports {
    /// Whether slab pages can be told: there is a way, and the field of every way is known (`strict` has two of them).
    fn tell_slab(&self) -> bool {
        let ways = [
            (self.bits[SLAB_FLAG].value, self.fields[FLAGS].value),
            (self.types[SLAB].value, self.fields[MAPCOUNT].value),
        ];
        let mut said = ways.iter().filter(|(value, _)| value.is_some()).peekable();
        said.peek().is_some() && said.all(|(_, field)| field.is_some())
    }

    /// What makedumpfile takes for keys that are not exported, as far as no page is dropped by it that has to be kept.
    fn take_upstreams_choices(&mut self) {
        if self.bits[SLAB_FLAG].value.is_none() && self.types[SLAB].value.is_some() {
            self.bits[SLAB_FLAG].value = Some(STRICT_PG_SLAB);
        }
        let (swapcache, private) = (self.bits[SWAPCACHE].value, self.bits[PRIVATE].value);
        if self.bits[SWAPBACKED].value.is_none() && swapcache < private {
            self.bits[SWAPBACKED].value = private.map(|b| b + 6).filter(|b| *b < 64);
        }
    }
}
