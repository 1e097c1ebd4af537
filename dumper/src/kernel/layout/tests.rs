//! Keys taken away from a kernel with BTF in its image.

use super::super::flat::{BASE, Flat};
use super::*;
use crate::kernel::btf::sample;

/// What the sample's VMCOREINFO says, and where its BTF is.
const KEYS: &str = "SIZE(mem_section)=16\nOFFSET(mem_section.section_mem_map)=0\nSIZE(page)=64\nOFFSET(page.flags)=0\n\
    OFFSET(page.mapping)=24\nOFFSET(page._mapcount)=48\nOFFSET(page.private)=40\nOFFSET(page.compound_head)=8\n\
    LENGTH(zone.free_area)=11\nNUMBER(PG_lru)=5\nNUMBER(PG_private)=14\nNUMBER(PG_swapcache)=10\nNUMBER(PG_swapbacked)=17\n\
    NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)=-184549376\nNUMBER(PG_head_mask)=64\nNUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=-268435456\n\
    NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)=-201326592\n";
const REST: &str = "SYMBOL(_stext)=ffffffff81000000\nSYMBOL(init_uts_ns)=1\nSYMBOL(mem_section)=1\nSIZE(printk_log)=16\n\
    NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)=-251658240\n";

fn image() -> Flat {
    let mut b = sample::kernel();
    for number in 0..6000 {
        b.compound(4, &format!("filler_{number}"), number, &[]);
    }
    let mut image = vec![0; 0x5678];
    image.extend_from_slice(&b.build(None));
    image.resize(image.len() + 0x2_0000, 0);
    Flat(image)
}

#[test]
fn each_key_is_answered_by_the_kernels_own_types() {
    let flat = image();
    assert_eq!(BASE, 0xffff_ffff_8100_0000);
    for line in KEYS.lines().filter(|l| !l.contains("mem_section")) {
        let mut info = VmcoreInfo::parse(KEYS.replace(line, "").as_bytes());
        for rest in REST.lines() {
            let (key, value) = rest.split_once('=').unwrap();
            info.add(key, value);
        }
        let warnings = complete(&mut info, &flat.mem());
        let (key, value) = line.split_once('=').unwrap();
        assert_eq!(info.text(key), Some(value), "{key}: {warnings:?}");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(key), "{warnings:?}");
    }
}

#[test]
fn what_nothing_answers_is_named_and_a_whole_vmcoreinfo_costs_nothing() {
    let text = format!("{KEYS}{REST}");
    let nothing = Flat(Vec::new());
    let mut info = VmcoreInfo::parse(text.as_bytes());
    assert_eq!(complete(&mut info, &nothing.mem()), Vec::<String>::new());
    let mut info = VmcoreInfo::parse(text.replace("NUMBER(PG_lru)=5\n", "").as_bytes());
    let warnings = complete(&mut info, &nothing.mem());
    assert_eq!(
        warnings,
        ["VMCOREINFO lacks NUMBER(PG_lru): no BTF is found in the vmcore"]
    );
    assert_eq!(info.text("NUMBER(PG_lru)"), None);
}
