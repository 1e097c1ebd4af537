//! What a kernel exports of its struct page, each fact known or not.

use super::rule::PageType;
use crate::vmcore::VmcoreInfo;

/// A fact and the key that says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact<T> {
    pub(super) key: &'static str,
    pub(super) value: Option<T>,
}

impl<T> Fact<T> {
    const fn new(key: &'static str, value: Option<T>) -> Self {
        Self { key, value }
    }
}

/// Everything that the rules are made of.
#[derive(Debug)]
pub(super) struct Exports {
    /// SIZE(page).
    pub(super) size: usize,
    /// Offsets in struct page: see [`FLAGS`] and the following.
    pub(super) fields: [Fact<usize>; 5],
    /// Numbers of page flags: see [`LRU`] and the following.
    pub(super) bits: [Fact<u32>; 7],
    /// Page types: see [`BUDDY`] and the following.
    pub(super) types: [Fact<u32>; 5],
    /// Where the order of a compound page is in its first tail, and where its destructor is.
    pub(super) tail_bytes: [Fact<usize>; 2],
    /// The destructor of hugetlb pages.
    pub(super) dtor: Option<u8>,
    /// NUMBER(PG_hugetlb).
    pub(super) tail_hugetlb: Option<u32>,
    /// NR_PAGE_ORDERS.
    pub(super) orders: Option<u64>,
    /// The order is in the first tail's flags: the kernel exports a newer way to know hugetlb pages.
    pub(super) order_in_flags: bool,
}

pub(super) const FLAGS: usize = 0;
pub(super) const MAPPING: usize = 1;
pub(super) const MAPCOUNT: usize = 2;
pub(super) const HEAD_WORD: usize = 3;
pub(super) const PRIVATE_WORD: usize = 4;

pub(super) const LRU: usize = 0;
pub(super) const PRIVATE: usize = 1;
pub(super) const SWAPCACHE: usize = 2;
pub(super) const SWAPBACKED: usize = 3;
pub(super) const SLAB_FLAG: usize = 4;
pub(super) const HWPOISON: usize = 5;
pub(super) const HEAD: usize = 6;

pub(super) const BUDDY: usize = 0;
pub(super) const SLAB: usize = 1;
pub(super) const HUGETLB: usize = 2;
pub(super) const OFFLINE: usize = 3;
pub(super) const UNACCEPTED: usize = 4;

impl Exports {
    /// Reads them. What is no possible value is named in `warnings` and not known.
    ///
    /// # Errors
    /// A sentence, when not even the size of a struct page is known: then none can be found.
    pub(super) fn read(info: &VmcoreInfo, warnings: &mut Vec<String>) -> Result<Self, String> {
        let size = info
            .size("page")
            .and_then(|s| usize::try_from(s).ok())
            .ok_or("VMCOREINFO lacks SIZE(page)")?;
        if !(32..=512).contains(&size) || size % 8 != 0 {
            return Err(format!("SIZE(page)={size} is no size of a struct page"));
        }
        let field = |name| Fact::new(name, info.offset(name));
        let bit = |name| Fact::new(name, info.bit(name));
        let mut page_type = |name| Fact::new(name, page_type(info, name, warnings));
        let either = |one: Fact<usize>, other| {
            if one.value.is_some() {
                one
            } else {
                field(other)
            }
        };
        let tail_byte = |folio, page| {
            let in_tail = info.offset(folio).and_then(|at| at.checked_sub(size));
            either(Fact::new(folio, in_tail), page)
        };
        let hugetlb = page_type("PAGE_HUGETLB_MAPCOUNT_VALUE");
        let known_hugetlb = info.number(hugetlb.key).is_some();
        let tail_hugetlb = info.bit("PG_hugetlb").filter(|_| !known_hugetlb);
        let types = [
            page_type("PAGE_BUDDY_MAPCOUNT_VALUE"),
            page_type("PAGE_SLAB_MAPCOUNT_VALUE"),
            hugetlb,
            page_type("PAGE_OFFLINE_MAPCOUNT_VALUE"),
            page_type("PAGE_UNACCEPTED_MAPCOUNT_VALUE"),
        ];
        Ok(Self {
            size,
            fields: [
                field("page.flags"),
                field("page.mapping"),
                field("page._mapcount"),
                either(field("page.compound_head"), "page.compound_info"),
                field("page.private"),
            ],
            bits: [
                bit("PG_lru"),
                bit("PG_private"),
                bit("PG_swapcache"),
                bit("PG_swapbacked"),
                bit("PG_slab"),
                bit("PG_hwpoison"),
                Fact::new("PG_head_mask", head_bit(info, warnings)),
            ],
            types,
            tail_bytes: [
                tail_byte("folio._folio_order", "page.compound_order"),
                tail_byte("folio._folio_dtor", "page.compound_dtor"),
            ],
            dtor: info
                .number("HUGETLB_PAGE_DTOR")
                .and_then(|v| u8::try_from(v).ok()),
            tail_hugetlb,
            orders: orders(info, warnings),
            order_in_flags: known_hugetlb || tail_hugetlb.is_some(),
        })
    }
}

/// A page type, unless it is a value that pages without any type have.
fn page_type(info: &VmcoreInfo, name: &str, warnings: &mut Vec<String>) -> Option<u32> {
    let number = info.number(name)?;
    let value = info
        .page_type(name)
        .filter(|v| PageType::new(*v, true).is_some());
    if value.is_none() {
        warnings.push(format!(
            "NUMBER({name})={number} is no page type; the pages that it would tell are kept"
        ));
    }
    value
}

fn head_bit(info: &VmcoreInfo, warnings: &mut Vec<String>) -> Option<u32> {
    let mask = info.number("PG_head_mask")?.cast_unsigned();
    if !mask.is_power_of_two() {
        warnings.push(format!(
            "NUMBER(PG_head_mask)={mask:#x} is not one flag; compound pages cannot be told"
        ));
        return None;
    }
    Some(mask.trailing_zeros())
}

/// The largest LENGTH(zone.free_area) of any kernel is below this.
const MAX_ORDERS: u64 = 32;

fn orders(info: &VmcoreInfo, warnings: &mut Vec<String>) -> Option<u64> {
    let orders = info.length("zone.free_area")?;
    if (1..=MAX_ORDERS).contains(&orders) {
        return Some(orders);
    }
    warnings.push(format!(
        "LENGTH(zone.free_area)={orders} cannot be; free blocks of more than 4 MiB of 4 KiB pages are kept"
    ));
    None
}
