//! BTF of a synthetic kernel (Documentation/bpf/btf.rst): the types that a reader asks for, among others that nobody does.

use super::generation::{Compound, Generation};
use super::layout::Addresses;
use super::printk;
use std::collections::HashMap;

const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
/// Types that nobody asks for: real kernels have 100,000.
const OTHERS: u32 = 7000;

/// A blob in the making.
#[derive(Default)]
struct Types {
    types: Vec<u8>,
    strings: Vec<u8>,
    names: HashMap<String, u32>,
    count: u32,
}

impl Types {
    fn name(&mut self, name: &str) -> u32 {
        if let Some(at) = self.names.get(name) {
            return *at;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        self.names.insert(name.to_owned(), at);
        at
    }

    /// A record and the words behind it; returns its number.
    fn add(&mut self, kind: u32, vlen: usize, name: &str, size: u32, more: &[u32]) -> u32 {
        let head = [self.name(name), kind << 24 | vlen as u32, size];
        let words = head.iter().chain(more);
        self.types.extend(words.flat_map(|word| word.to_le_bytes()));
        self.count += 1;
        self.count
    }

    /// Members are a name, a type and an offset in bytes.
    fn compound(&mut self, kind: u32, name: &str, size: u64, members: &[(&str, u32, u64)]) -> u32 {
        let mut words = Vec::new();
        for (name, of, at) in members {
            words.extend([self.name(name), *of, *at as u32 * 8]);
        }
        self.add(kind, members.len(), name, size as u32, &words)
    }

    /// A struct whose members are all of the first type.
    fn plain(&mut self, name: &str, size: u64, members: &[(&str, u64)]) -> u32 {
        let members: Vec<_> = members.iter().map(|(name, at)| (*name, 1, *at)).collect();
        self.compound(STRUCT, name, size, &members)
    }

    fn constants(&mut self, name: &str, all: &[(&str, u32)]) {
        let mut words = Vec::new();
        for (name, value) in all {
            words.extend([self.name(name), *value]);
        }
        self.add(ENUM, all.len(), name, 4, &words);
    }

    fn blob(self) -> Vec<u8> {
        let mut blob = vec![0x9f, 0xeb, 1, 0];
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        blob.extend(
            [24, 0, types, types, strings]
                .into_iter()
                .flat_map(u32::to_le_bytes),
        );
        [blob, self.types, self.strings].concat()
    }
}

/// The whole blob.
pub(super) fn blob(generation: Generation, a: &Addresses) -> Vec<u8> {
    let mut t = Types::default();
    t.name("");
    // unsigned long: 64 bits.
    t.add(1, 0, "unsigned long", 8, &[64]);
    for i in 0..OTHERS {
        t.plain(&format!("somebody_elses_{i:05}"), i.into(), &[]);
    }
    page(&mut t, generation);
    let area = t.plain("free_area", 104, &[("nr_free", 96)]);
    let areas = t.add(ARRAY, 0, "", 0, &[area, 1, 11]);
    t.compound(STRUCT, "zone", 1728, &[("free_area", areas, 192)]);
    t.plain("mem_section", a.mem_section_size, &[("section_mem_map", 0)]);
    let name_at = if generation == Generation::V5_10 {
        4
    } else {
        0
    };
    t.plain("uts_namespace", 432, &[("name", name_at)]);
    ring(&mut t, a.text_ring(generation));
    constants(&mut t, generation);
    t.blob()
}

/// struct page with its union, and struct folio where it has fields of its own.
fn page(t: &mut Types, generation: Generation) {
    let lru = t.plain("", 32, &[("lru", 0), ("mapping", 16), ("index", 24)]);
    let head = if generation >= Generation::V7_1 {
        "compound_info"
    } else {
        "compound_head"
    };
    let mut tail = vec![(head, 0)];
    if generation.compound() == Compound::PageFields {
        tail.extend([("compound_dtor", 8), ("compound_order", 9)]);
    }
    let tail = t.plain("", 16, &tail);
    let union = t.compound(UNION, "", 40, &[("", lru, 0), ("", tail, 0)]);
    let mapcount = t.compound(UNION, "", 4, &[("_mapcount", 1, 0), ("page_type", 1, 0)]);
    let members = [
        ("flags", 1, 0),
        ("", union, 8),
        ("private", 1, 40),
        ("", mapcount, 48),
        ("_refcount", 1, 52),
    ];
    t.compound(STRUCT, "page", 64, &members);
    if generation.compound() == Compound::FolioFields {
        let second = t.plain("", 64, &[("_folio_dtor", 16), ("_folio_order", 17)]);
        t.compound(STRUCT, "folio", 256, &[("", second, 64)]);
    }
}

fn ring(t: &mut Types, text_ring: u64) {
    let parts = [("desc_ring", 0), ("text_data_ring", text_ring)];
    t.plain("printk_ringbuffer", text_ring + 40, &parts);
    let parts = [
        ("count_bits", 0),
        ("descs", 8),
        ("infos", 16),
        ("head_id", 24),
        ("tail_id", 32),
    ];
    t.plain("prb_desc_ring", text_ring, &parts);
    let parts = [("state_var", 0), ("text_blk_lpos", 8)];
    t.plain("prb_desc", printk::DESC, &parts);
    t.plain("prb_data_blk_lpos", 16, &[("begin", 0), ("next", 8)]);
    let parts = [
        ("seq", 0),
        ("ts_nsec", 8),
        ("text_len", 16),
        ("caller_id", 20),
        ("dev_info", 24),
    ];
    t.plain("printk_info", printk::INFO, &parts);
    t.plain("prb_data_ring", 32, &[("size_bits", 0), ("data", 8)]);
    let counter = t.plain("", 8, &[("counter", 0)]);
    let atomic = t.add(TYPEDEF, 0, "atomic64_t", counter, &[]);
    t.add(TYPEDEF, 0, "atomic_long_t", atomic, &[]);
}

/// Flags, page types (an enum since 6.12), destructors.
fn constants(t: &mut Types, generation: Generation) {
    let f = generation.flags();
    let mut flags = vec![
        ("PG_locked", 0),
        ("PG_lru", f.lru),
        ("PG_head", f.head),
        ("PG_private", f.private),
        ("PG_swapcache", f.owner_private),
        ("PG_swapbacked", f.swapbacked),
        ("PG_hwpoison", f.hwpoison),
    ];
    if generation.slab().is_none() {
        flags.push(("PG_slab", f.slab));
    }
    if generation.compound() == Compound::TailFlag {
        flags.push(("PG_hugetlb", 8));
    }
    t.constants("pageflags", &flags);
    if generation.page_type_is_a_byte() {
        let types = [
            ("PGTY_buddy", 0xf0),
            ("PGTY_offline", 0xf1),
            ("PGTY_hugetlb", 0xf4),
            ("PGTY_slab", 0xf5),
            ("PGTY_unaccepted", 0xf7),
        ];
        t.constants("pagetype", &types);
    }
    if matches!(
        generation.compound(),
        Compound::PageFields | Compound::FolioFields
    ) {
        let all = [("NULL_COMPOUND_DTOR", 0), ("HUGETLB_PAGE_DTOR", 2)];
        t.constants("compound_dtor_id", &all);
    }
}
