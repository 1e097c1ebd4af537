//! The rules of each kernel generation, and what becomes of exports that are missing or contradict each other.

use super::*;
use crate::vmcore::VmcoreInfo;
use proptest::prelude::*;

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

/// 6.1: slab and compound order as before page types.
const V6_1: &str = "SIZE(page)=64\nOFFSET(page.flags)=0\nOFFSET(page.mapping)=24\nOFFSET(page._mapcount)=48\n\
    OFFSET(page.private)=40\nOFFSET(page.compound_head)=8\nOFFSET(page.compound_dtor)=16\nOFFSET(page.compound_order)=17\n\
    LENGTH(zone.free_area)=11\nNUMBER(PG_lru)=4\nNUMBER(PG_private)=13\nNUMBER(PG_swapcache)=10\nNUMBER(PG_swapbacked)=19\n\
    NUMBER(PG_slab)=9\nNUMBER(PG_hwpoison)=23\nNUMBER(PG_head_mask)=65536\nNUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=-129\n\
    NUMBER(HUGETLB_PAGE_DTOR)=2\nNUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)=-257\n";

fn of(text: &str, level: u8, strict: bool) -> PageRules {
    let info = VmcoreInfo::parse(text.as_bytes());
    PageRules::new(&info, DumpLevel::new(level).unwrap(), strict).unwrap()
}

fn rules(level: u8) -> PageRules {
    of(V6_12, level, false)
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

/// With PG_private in doubt nobody knows whether the swap cache's bit has other owners.
#[test]
fn a_shared_bit_alone_makes_no_swap_cache() {
    let equal = V6_12.replace("NUMBER(PG_private)=13", "NUMBER(PG_private)=17");
    let owner_private = page(1 << 10, 0, 0xffff_8880_0000_1000, 0, NONE);
    assert_eq!(of(&equal, 4, false).judge(8, &owner_private, None), None);
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
fn slab_and_absurd_orders() {
    let slab = page(64, 0, 1, 0, 0xf500_0000);
    assert_eq!(rules(31).judge(512, &slab, None), None);
    let free = |order| page(0, 0, 0, order, BUDDY);
    assert_eq!(rules(31).explain(0, &free(10), None), (Rule::Buddy, 1024));
    let beyond = rules(31).explain(0, &free(11), None);
    assert_eq!(beyond, (Rule::BuddyNonsense, 1));
    let unaligned = rules(31).explain(4, &free(3), None);
    assert_eq!(unaligned, (Rule::BuddyNonsense, 1));
    assert_eq!(of(V6_12, 31, true).explain(4, &free(3), None).1, 8);
}

#[test]
fn unaccepted_memory_goes_in_whole_blocks() {
    let text = format!("{V6_12}NUMBER(PAGE_UNACCEPTED_MAPCOUNT_VALUE)=-150994944\n");
    let marker = page(0, 0, 0, 0, 0xf700_0000);
    let got = |pfn, strict| of(&text, 31, strict).explain(pfn, &marker, None);
    assert_eq!(got(2048, false), (Rule::Unaccepted, 1024));
    assert_eq!(got(2049, false), (Rule::Kept, 1));
    assert_eq!(got(2049, true), (Rule::Unaccepted, 1024));
}

#[test]
fn waiters_are_slab_to_makedumpfile_only() {
    let waiters = page(1 << 5 | 1 << 7, 0, 1, 0, NONE);
    let dropped = |level, strict| of(V6_12, level, strict).judge(1, &waiters, None);
    assert_eq!(dropped(8, true), None);
    assert_eq!(dropped(2, true).unwrap().class, Class::Cache);
    assert_eq!(dropped(8, false).unwrap().class, Class::User);
    assert_eq!(dropped(2, false), None);
    // Where PG_slab is exported bit 7 means nothing to either.
    let old = page(1 << 4 | 1 << 7, 0, 1, 0, NONE);
    for strict in [false, true] {
        assert_eq!(of(V6_1, 8, strict).judge(1, &old, None).unwrap().pages, 1);
    }
}

#[test]
fn low_bits_beside_a_page_type_of_one_byte_do_not_matter() {
    let offline = page(0, 0, 0, 0, 0xf100_0007);
    assert!(of(V6_12, 0, false).judge(1, &offline, None).is_some());
    assert_eq!(of(V6_12, 0, true).judge(1, &offline, None), None);
    // -257 of older kernels is a whole word.
    assert_eq!(
        of(V6_1, 0, false).judge(1, &page(0, 0, 0, 0, 0xffff_fe00), None),
        None
    );
}

#[test]
fn orders_and_destructors_before_page_types() {
    let head = page(1 << 16, 0, 0, 0, NONE);
    let tail = |order: u64, dtor: u64| {
        let mut tail = page(0, 1, 0, 0, NONE);
        tail[16..24].copy_from_slice(&(dtor | order << 8).to_le_bytes());
        tail
    };
    let huge = of(V6_1, 8, false).explain(512, &head, Some(&tail(9, 2)));
    assert_eq!(huge, (Rule::Hugetlb, 512));
    let other = of(V6_1, 8, false).explain(512, &head, Some(&tail(9, 1)));
    assert_eq!(other, (Rule::Kept, 1));
    // 4.5 to 4.15: two words of 32 bits.
    let wide = V6_1.replace("compound_order)=17", "compound_order)=20");
    let mut words = page(0, 1, 0, 0, NONE);
    (words[16], words[20]) = (2, 9);
    let huge = of(&wide, 8, false).explain(512, &head, Some(&words));
    assert_eq!(huge, (Rule::Hugetlb, 512));
    // 6.6 to 6.8.
    let flagged = V6_1.replace("NUMBER(HUGETLB_PAGE_DTOR)=2", "NUMBER(PG_hugetlb)=8");
    let next = page(1 << 8 | 9, 1, 0, 0, NONE);
    let huge = of(&flagged, 8, false).explain(512, &head, Some(&next));
    assert_eq!(huge, (Rule::Hugetlb, 512));
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

/// The level and the first warning of 6.12 (6.1) with one line replaced.
fn with(text: &str, line: &str, by: &str) -> (u8, String) {
    assert!(text.contains(line), "{line}");
    let rules = of(&text.replace(line, by), 31, false);
    let warning = rules.warnings.first().cloned().unwrap_or_default();
    (rules.level().bits(), warning)
}

#[test]
fn what_is_not_exported_is_kept() {
    for (key, level, word) in [
        ("OFFSET(page.flags)=0", 25, "page.flags"),
        ("OFFSET(page.mapping)=24", 17, "page.mapping"),
        ("OFFSET(page._mapcount)=48", 7, "PAGE_SLAB"),
        ("OFFSET(page.private)=40", 15, "page.private"),
        ("OFFSET(page.compound_head)=8", 17, "compound_info"),
        ("LENGTH(zone.free_area)=11", 31, "order 11"),
        ("NUMBER(PG_lru)=5", 25, "PG_lru"),
        ("NUMBER(PG_private)=13", 29, "PG_private"),
        ("NUMBER(PG_swapcache)=10", 31, "swap cache"),
        ("NUMBER(PG_swapbacked)=17", 31, "swap cache"),
        ("NUMBER(PG_hwpoison)=22", 31, ""),
        ("NUMBER(PG_head_mask)=64", 31, "large folios"),
        ("NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)=-184549376", 7, "PG_slab"),
        (
            "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=-268435456",
            15,
            "free pages",
        ),
        (
            "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)=-201326592",
            31,
            "large folios",
        ),
        ("NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)=-251658240", 31, ""),
    ] {
        let (got, warning) = with(V6_12, key, "");
        assert_eq!(got, level, "{key}");
        assert!(warning.contains(word), "{key}: {warning}");
        assert_eq!(warning.is_empty(), word.is_empty(), "{key}: {warning}");
    }
    for (key, level) in [
        ("NUMBER(PG_slab)=9", 7),
        ("OFFSET(page.compound_order)=17", 31),
        ("OFFSET(page.compound_dtor)=16", 31),
        ("NUMBER(HUGETLB_PAGE_DTOR)=2", 31),
    ] {
        let (got, warning) = with(V6_1, key, "");
        assert_eq!(got, level, "{key}");
        assert!(warning.contains("are kept"), "{key}: {warning}");
    }
    let sizeless = VmcoreInfo::parse(V6_12.replace("SIZE(page)=64", "").as_bytes());
    assert!(PageRules::new(&sizeless, DumpLevel::MAX, false).is_err());
}

#[test]
fn what_contradicts_itself_is_not_believed() {
    for (line, by, level, word) in [
        (
            "page.mapping)=24",
            "page.mapping)=60",
            17,
            "struct page of 64",
        ),
        (
            "page.mapping)=24",
            "page.mapping)=44",
            17,
            "struct page of 64",
        ),
        ("page.private)=40", "page.private)=48", 7, "overlap"),
        ("page.flags)=0", "page.flags)=8", 17, "overlap"),
        ("PG_lru)=5", "PG_lru)=10", 25, "PG_swapcache=10"),
        ("PG_private)=13", "PG_private)=17", 29, "PG_swapbacked=17"),
        ("PG_hwpoison)=22", "PG_hwpoison)=6", 31, "PG_head_mask=6"),
        (
            "PG_head_mask)=64",
            "PG_head_mask)=0",
            31,
            "PG_head_mask)=0x0",
        ),
        ("PG_head_mask)=64", "PG_head_mask)=96", 31, "not one flag"),
        (
            "free_area)=11",
            "free_area)=4000",
            31,
            "LENGTH(zone.free_area)=4000",
        ),
        (
            "BUDDY_MAPCOUNT_VALUE)=-268435456",
            "BUDDY_MAPCOUNT_VALUE)=-1",
            15,
            "no page type",
        ),
        (
            "BUDDY_MAPCOUNT_VALUE)=-268435456",
            "BUDDY_MAPCOUNT_VALUE)=0",
            15,
            "no page type",
        ),
        (
            "BUDDY_MAPCOUNT_VALUE)=-268435456",
            "BUDDY_MAPCOUNT_VALUE)=-184549376",
            7,
            "same value",
        ),
        (
            "OFFLINE_MAPCOUNT_VALUE)=-251658240",
            "OFFLINE_MAPCOUNT_VALUE)=-268435456",
            15,
            "same value",
        ),
    ] {
        let (got, warning) = with(V6_12, line, by);
        assert_eq!(got, level, "{by}");
        assert!(warning.contains(word), "{by}: {warning}");
    }
    for by in [
        "compound_order)=64",
        "compound_order)=9",
        "compound_order)=16",
    ] {
        let (got, warning) = with(V6_1, "compound_order)=17", by);
        assert_eq!(got, 31);
        assert!(warning.contains("tail page"), "{by}: {warning}");
    }
    let rules = of(
        &V6_12.replace("free_area)=11", "free_area)=4000"),
        31,
        false,
    );
    let free = rules.explain(0, &page(0, 0, 0, 11, BUDDY), None);
    assert_eq!(free, (Rule::BuddyNonsense, 1));
}

#[test]
fn upstreams_choices_never_make_a_flag_of_nothing() {
    let bare = V6_12.replace("NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)=-184549376\n", "");
    assert_eq!(of(&bare, 31, true).level().bits(), 7);
    let old = V6_1.replace("NUMBER(PG_swapbacked)=19\n", "");
    let swapped = page(1 << 10 | 1 << 19, 0, 0, 0, NONE);
    assert!(of(&old, 2, true).judge(1, &swapped, None).is_some());
    assert_eq!(of(&old, 2, false).judge(1, &swapped, None), None);
}

/// Lines that look like those of a kernel, with any values.
fn any_export() -> impl Strategy<Value = String> {
    let keys: Vec<String> = [
        V6_1,
        V6_12,
        "NUMBER(PG_hugetlb)=8\nOFFSET(folio._folio_order)=81",
    ]
    .iter()
    .flat_map(|text| text.lines())
    .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
    .collect();
    let value = prop_oneof![
        0..70i64,
        -5..5i64,
        any::<i64>(),
        (240..256i64).prop_map(|v| v << 24)
    ];
    let line = (proptest::sample::select(keys), value).prop_map(|(k, v)| format!("{k}={v}\n"));
    proptest::collection::vec(line, 0..40).prop_map(|lines| lines.concat())
}

proptest! {
    /// No export and no struct page makes a panic, a range beyond 2^63, or more dropped than asked for.
    #[test]
    fn any_export_and_any_page(
        text in any_export(), whole in any::<bool>(), level in 0..32u8, strict: bool, pfn: u64,
        page in proptest::collection::vec(any::<u8>(), 64), next in proptest::collection::vec(any::<u8>(), 64),
    ) {
        let text = if whole { V6_12.to_owned() + &text } else { format!("SIZE(page)=64\n{text}") };
        let info = VmcoreInfo::parse(text.as_bytes());
        let Ok(rules) = PageRules::new(&info, DumpLevel::new(level).unwrap(), strict) else {
            return Ok(());
        };
        prop_assert_eq!(rules.level().bits() & !level, 0);
        let (rule, pages) = rules.explain(pfn, &page, Some(&next));
        prop_assert!(pages >= 1);
        let bits = match rule.class() {
            Some(Class::Cache) => CACHE | CACHE_PRIVATE,
            Some(Class::CachePrivate) => CACHE_PRIVATE,
            Some(Class::User) => USER,
            Some(Class::Free) => FREE,
            _ => u8::MAX,
        };
        prop_assert!(bits & rules.level().bits() != 0 || bits == u8::MAX);
    }
}
