//! From VMCOREINFO to the rules: which fields and values this kernel has, and what of the level can be applied with them.

use super::{Buddy, CACHE, CACHE_PRIVATE, FREE, Hugetlb, Order, PG_SLAB_DEFAULT, PageRules, USER};
use crate::filter::DumpLevel;
use crate::vmcore::VmcoreInfo;

impl PageRules {
    /// The rules for `level` on the kernel that `info` describes. A rule whose fields are not known is left out with a warning.
    ///
    /// # Errors
    /// A sentence, when not even the fields of a page are known.
    pub fn new(info: &VmcoreInfo, level: DumpLevel) -> Result<Self, String> {
        let need = |name: &str| {
            info.offset(name)
                .ok_or_else(|| format!("VMCOREINFO lacks OFFSET({name})"))
        };
        let size = info
            .size("page")
            .and_then(|s| usize::try_from(s).ok())
            .ok_or("VMCOREINFO lacks SIZE(page)")?;
        if !(32..=512).contains(&size) || size % 8 != 0 {
            return Err(format!("SIZE(page)={size} is no size of a struct page"));
        }
        let bit = |name: &str| info.bit(name).map_or(0, |b| 1u64 << b);
        let known = |name: &str| info.page_type(name);
        let mapcount = info.offset("page._mapcount");
        let mut rules = Self {
            size,
            flags: need("page.flags")?,
            mapping: need("page.mapping")?,
            mapcount,
            head: info
                .offset("page.compound_head")
                .or_else(|| info.offset("page.compound_info")),
            lru: bit("PG_lru"),
            private: bit("PG_private"),
            swapcache: bit("PG_swapcache"),
            swapbacked: info.bit("PG_swapbacked").map(|b| 1 << b),
            slab_flag: 1 << info.bit("PG_slab").unwrap_or(PG_SLAB_DEFAULT),
            slab_type: known("PAGE_SLAB_MAPCOUNT_VALUE"),
            hwpoison: bit("PG_hwpoison"),
            head_mask: info.number("PG_head_mask").map_or(0, i64::cast_unsigned),
            offline: known("PAGE_OFFLINE_MAPCOUNT_VALUE"),
            unaccepted: known("PAGE_UNACCEPTED_MAPCOUNT_VALUE"),
            buddy: None,
            order: Order::Unknown,
            hugetlb: Hugetlb::Unknown,
            level: level.bits(),
            scan: true,
            warnings: Vec::new(),
        };
        rules.compound(info);
        rules.free(info);
        rules.degrade(info);
        rules.note_unknown();
        rules.bound()?;
        rules.scan =
            rules.level & (CACHE | CACHE_PRIVATE | USER | FREE) != 0 || rules.hwpoison != 0;
        Ok(rules)
    }

    /// Chooses the compound rule: what VMCOREINFO exports decides, the newest first.
    fn compound(&mut self, info: &VmcoreInfo) {
        if let Some(page_type) = info.page_type("PAGE_HUGETLB_MAPCOUNT_VALUE") {
            (self.order, self.hugetlb) = (Order::TailFlags, Hugetlb::PageType(page_type));
            return;
        }
        if let Some(bit) = info.bit("PG_hugetlb") {
            (self.order, self.hugetlb) = (Order::TailFlags, Hugetlb::TailFlag(1 << bit));
            return;
        }
        let in_tail = |folio: &str, page: &str| {
            let folio = info.offset(folio).and_then(|o| o.checked_sub(self.size));
            folio.or_else(|| info.offset(page))
        };
        if let Some(at) = in_tail("folio._folio_order", "page.compound_order") {
            self.order = Order::TailByte(at);
        }
        let dtor = info
            .number("HUGETLB_PAGE_DTOR")
            .and_then(|v| u8::try_from(v).ok());
        if let (Some(at), Some(dtor)) = (in_tail("folio._folio_dtor", "page.compound_dtor"), dtor) {
            self.hugetlb = Hugetlb::TailByte(at, dtor);
        }
    }

    fn free(&mut self, info: &VmcoreInfo) {
        let page_type = info.page_type("PAGE_BUDDY_MAPCOUNT_VALUE");
        if let (Some(page_type), Some(private), Some(_)) =
            (page_type, info.offset("page.private"), self.mapcount)
        {
            let orders = info
                .length("zone.free_area")
                .filter(|n| (1..=64).contains(n))
                .unwrap_or(11);
            self.buddy = Some(Buddy {
                page_type,
                private,
                orders,
            });
        }
    }

    /// Takes back the parts of the level that cannot be told apart: a page is rather kept than guessed at.
    fn degrade(&mut self, info: &VmcoreInfo) {
        let mut without = |bits: u8, why: &str| {
            let lost = self.level & bits;
            if lost != 0 {
                self.level &= !bits;
                self.warnings
                    .push(format!("dump level bits {lost} are not applied: {why}"));
            }
        };
        if self.head.is_none() {
            without(
                CACHE | CACHE_PRIVATE | USER,
                "VMCOREINFO lacks OFFSET(page.compound_head), tail pages cannot be told from others",
            );
        }
        if self.lru == 0 || self.swapcache == 0 {
            without(
                CACHE | CACHE_PRIVATE,
                "VMCOREINFO lacks NUMBER(PG_lru) or NUMBER(PG_swapcache)",
            );
        }
        if self.private == 0 {
            without(CACHE, "VMCOREINFO lacks NUMBER(PG_private)");
        }
        let slab_known =
            info.bit("PG_slab").is_some() || (self.slab_type.is_some() && self.mapcount.is_some());
        if !slab_known {
            without(
                USER | FREE,
                "VMCOREINFO says neither PG_slab nor the slab page type",
            );
        }
        if self.buddy.is_none() {
            without(
                FREE,
                "VMCOREINFO lacks PAGE_BUDDY_MAPCOUNT_VALUE, OFFSET(page._mapcount) or OFFSET(page.private)",
            );
        }
    }

    /// Says what stays in the dump though the level drops it, because the kernel does not export how to know it.
    fn note_unknown(&mut self) {
        let kept = |what: &str, why: &str| format!("{what} are kept: VMCOREINFO {why}");
        if self.order == Order::Unknown && self.level & (CACHE | CACHE_PRIVATE | USER) != 0 {
            self.warnings.push(kept(
                "all but the first page of large folios",
                "does not say where the order of a compound page is",
            ));
        }
        if self.hugetlb == Hugetlb::Unknown && self.level & USER != 0 {
            self.warnings
                .push(kept("hugetlb pages", "does not say how to know them"));
        }
    }

    /// Every field must lie inside the struct, so that reading one later cannot fail.
    fn bound(&self) -> Result<(), String> {
        let words = [
            Some(self.flags),
            Some(self.mapping),
            self.head,
            self.buddy.map(|b| b.private),
        ];
        let in_tail = match (self.order, self.hugetlb) {
            (Order::TailByte(a), Hugetlb::TailByte(b, _)) => a.max(b) + 1,
            (Order::TailByte(a), _) => a + 1,
            (_, Hugetlb::TailByte(b, _)) => b + 1,
            _ => 0,
        };
        let end = words
            .into_iter()
            .flatten()
            .map(|o| o + 8)
            .chain(self.mapcount.map(|o| o + 4))
            .chain([in_tail])
            .max();
        match end {
            Some(end) if end > self.size => Err(format!(
                "VMCOREINFO puts a field of struct page at {end}, beyond its {} bytes",
                self.size
            )),
            _ => Ok(()),
        }
    }
}
