//! The keys that are needed, and the question that each is to BTF and kallsyms.
//!
//! Facts of `kernel/vmcore_info.c`, `kernel/printk/printk.c`, `include/linux/page-flags.h`, Linux 4.4 to 7.2.

use crate::vmcore::VmcoreInfo;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question<'a> {
    /// Address of a symbol.
    Symbol(&'a str),
    /// Size of a struct.
    Size(&'a str),
    /// Offset of a member.
    Offset(&'a str, &'a str),
    /// Elements of a member that is an array.
    Length(&'a str, &'a str),
    /// The number of a page flag.
    Flag(&'a str),
    /// The mask of a page flag.
    FlagMask(&'a str),
    /// A page type: its names since 6.12 and in 6.11.
    PageType(&'static str, &'static str),
    /// A destructor of compound pages (before 6.6).
    Destructor(&'a str),
}

impl<'a> Question<'a> {
    pub(super) fn of(key: &'a str) -> Option<Self> {
        let (kind, rest) = key.split_once('(')?;
        let name = rest.strip_suffix(')')?;
        Some(match (kind, name) {
            ("SYMBOL", _) => Self::Symbol(name),
            ("SIZE", _) => Self::Size(name),
            ("OFFSET", _) => {
                let (of, member) = name.split_once('.')?;
                Self::Offset(of, member)
            }
            ("LENGTH", _) => {
                let (of, member) = name.split_once('.')?;
                Self::Length(of, member)
            }
            ("NUMBER", "PG_head_mask") => Self::FlagMask("PG_head"),
            ("NUMBER", "PAGE_BUDDY_MAPCOUNT_VALUE") => Self::PageType("PGTY_buddy", "PG_buddy"),
            ("NUMBER", "PAGE_SLAB_MAPCOUNT_VALUE") => Self::PageType("PGTY_slab", "PG_slab"),
            ("NUMBER", "PAGE_HUGETLB_MAPCOUNT_VALUE") => {
                Self::PageType("PGTY_hugetlb", "PG_hugetlb")
            }
            ("NUMBER", "PAGE_OFFLINE_MAPCOUNT_VALUE") => {
                Self::PageType("PGTY_offline", "PG_offline")
            }
            ("NUMBER", "PAGE_UNACCEPTED_MAPCOUNT_VALUE") => {
                Self::PageType("PGTY_unaccepted", "PG_unaccepted")
            }
            ("NUMBER", "HUGETLB_PAGE_DTOR") => Self::Destructor(name),
            ("NUMBER", _) if name.starts_with("PG_") => Self::Flag(name),
            _ => return None,
        })
    }
}

/// Keys of which every kernel exports one of each line.
const PAGES: &[&[&str]] = &[
    &["SYMBOL(init_uts_ns)"],
    &["SYMBOL(mem_section)"],
    &["SIZE(mem_section)"],
    &["OFFSET(mem_section.section_mem_map)"],
    &["SIZE(page)"],
    &["OFFSET(page.flags)"],
    &["OFFSET(page.mapping)"],
    &["OFFSET(page._mapcount)"],
    &["OFFSET(page.private)"],
    &["OFFSET(page.compound_head)", "OFFSET(page.compound_info)"],
    &["LENGTH(zone.free_area)"],
    &["NUMBER(PG_lru)"],
    &["NUMBER(PG_private)"],
    &["NUMBER(PG_swapcache)"],
    &["NUMBER(PG_swapbacked)"],
    &["NUMBER(PG_slab)", "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)"],
    &["NUMBER(PG_head_mask)"],
    &["NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)"],
    &[
        "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)",
        "NUMBER(PG_hugetlb)",
        "NUMBER(HUGETLB_PAGE_DTOR)",
    ],
];

/// The order and the destructor of compound pages, where they are fields.
const COMPOUND: &[&[&str]] = &[
    &["OFFSET(folio._folio_order)", "OFFSET(page.compound_order)"],
    &["OFFSET(folio._folio_dtor)", "OFFSET(page.compound_dtor)"],
];

/// Since slab is a page type the offline type is always exported.
const OFFLINE: &[&[&str]] = &[&["NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)"]];

/// The log since 5.10.
const LOG: &[&[&str]] = &[
    &["SYMBOL(prb)"],
    &["OFFSET(printk_ringbuffer.desc_ring)"],
    &["OFFSET(printk_ringbuffer.text_data_ring)"],
    &["OFFSET(prb_desc_ring.count_bits)"],
    &["OFFSET(prb_desc_ring.descs)"],
    &["OFFSET(prb_desc_ring.infos)"],
    &["OFFSET(prb_desc_ring.head_id)"],
    &["OFFSET(prb_desc_ring.tail_id)"],
    &["SIZE(prb_desc)"],
    &["OFFSET(prb_desc.state_var)"],
    &["OFFSET(prb_desc.text_blk_lpos)"],
    &["OFFSET(prb_data_blk_lpos.begin)"],
    &["OFFSET(prb_data_blk_lpos.next)"],
    &["SIZE(printk_info)"],
    &["OFFSET(printk_info.seq)"],
    &["OFFSET(printk_info.ts_nsec)"],
    &["OFFSET(printk_info.text_len)"],
    &["OFFSET(printk_info.caller_id)"],
    &["OFFSET(prb_data_ring.size_bits)"],
    &["OFFSET(prb_data_ring.data)"],
    &["OFFSET(atomic_long_t.counter)"],
];

/// Keys that healthy kernels may not have: they are asked for when BTF has to be read anyway.
pub(super) const OPTIONAL: &[&str] = &[
    "OFFSET(uts_namespace.name)",
    "NUMBER(PG_hwpoison)",
    "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)",
    "NUMBER(PAGE_UNACCEPTED_MAPCOUNT_VALUE)",
];

/// The lines of keys of which `info` has none.
pub(super) fn missing(info: &VmcoreInfo) -> Vec<&'static [&'static str]> {
    let has = |key: &str| info.text(key).is_some();
    let lacks = |line: &&'static [&'static str]| !line.iter().any(|key| has(key));
    let mut all: Vec<&'static [&'static str]> = PAGES.to_vec();
    if !has("NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)") && !has("NUMBER(PG_hugetlb)") {
        all.extend(COMPOUND);
    }
    if has("NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)") {
        all.extend(OFFLINE);
    }
    let older_log = [
        "SIZE(printk_log)",
        "SYMBOL(log_next_idx)",
        "SYMBOL(log_end)",
    ];
    if !older_log.into_iter().any(has) {
        all.extend(LOG);
    }
    all.into_iter().filter(lacks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_a_question() {
        let all = [PAGES, COMPOUND, OFFLINE, LOG].into_iter().flatten();
        for key in all.copied().flatten().chain(OPTIONAL) {
            assert!(Question::of(key).is_some(), "{key}");
        }
        assert_eq!(Question::of("PAGESIZE"), None);
        assert_eq!(Question::of("OFFSET(page)"), None);
    }

    #[test]
    fn what_a_generation_does_not_have_is_not_missed() {
        let with = |keys: &[&str]| -> Vec<&str> {
            let text: String = keys.iter().flat_map(|k| [*k, "=1\n"]).collect();
            let missing = missing(&VmcoreInfo::parse(text.as_bytes()));
            missing.iter().map(|line| line[0]).collect()
        };
        assert!(with(&[]).contains(&"SYMBOL(prb)"));
        assert!(!with(&["SIZE(printk_log)"]).contains(&"SYMBOL(prb)"));
        let order = "OFFSET(folio._folio_order)";
        assert!(with(&["NUMBER(HUGETLB_PAGE_DTOR)"]).contains(&order));
        assert!(!with(&["NUMBER(PG_hugetlb)"]).contains(&order));
        let info = with(&["OFFSET(page.compound_info)"]);
        assert!(!info.contains(&"OFFSET(page.compound_head)"));
    }
}
