//! VMCOREINFO of a synthetic kernel: the keys of its generation, in the kernel's order (kernel/crash_core.c, kernel/vmcore_info.c,
//! kernel/printk/printk.c, arch/x86/kernel/vmcore_info_64.c, arch/arm64/kernel/vmcore_info.c).

use super::generation::{Compound, Generation};
use super::layout::{Addresses, CRASH_TIME};
use super::{Arm64, FakeKernel, Machine, kallsyms, printk};
use std::fmt::Write as _;

/// Builds the text.
pub(super) fn text(kernel: &FakeKernel, a: &Addresses) -> String {
    let generation = kernel.generation;
    let mut t = Lines(String::new());
    t.line(format_args!("OSRELEASE={}", generation.release()));
    t.line(format_args!(
        "BUILD-ID=00112233445566778899aabbccddeeff00112233"
    ));
    t.line(format_args!("PAGESIZE={}", kernel.layout.page));
    t.symbol("init_uts_ns", a.uts);
    if generation >= Generation::V6_1 {
        t.offset("uts_namespace.name", 0);
    }
    t.symbol("node_online_map", a.text + 0x2_8000);
    t.symbol("swapper_pg_dir", a.page_table);
    t.symbol("_stext", a.text);
    if generation >= Generation::V6_9 {
        t.line(format_args!("NUMBER(VMALLOC_START)=0xffffa04b40000000"));
    } else {
        t.symbol("vmap_area_list", a.text + 0x2_8040);
    }
    memory_model(&mut t, kernel, a);
    struct_page(&mut t, generation);
    t.symbol("log_buf", a.text + 0x2_8080);
    t.symbol("log_buf_len", a.text + 0x2_8088);
    ring(&mut t, generation, a);
    t.length("free_area.free_list", 6);
    t.number("NR_FREE_PAGES", 0);
    page_flags(&mut t, generation);
    let tables = kernel.kallsyms.map(|form| kallsyms::exported(form, a));
    for (name, address) in tables.into_iter().flatten() {
        t.symbol(name, address);
    }
    match kernel.machine {
        Machine::X86 { levels } => x86_64(&mut t, levels, a),
        Machine::Arm64(cpu) => arm64(&mut t, cpu, a),
    }
    t.line(format_args!("CRASHTIME={CRASH_TIME}"));
    t.0
}

struct Lines(String);

impl Lines {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.0, "{text}");
    }
    fn symbol(&mut self, name: &str, value: u64) {
        self.line(format_args!("SYMBOL({name})={value:x}"));
    }
    fn size(&mut self, name: &str, value: u64) {
        self.line(format_args!("SIZE({name})={value}"));
    }
    fn offset(&mut self, name: &str, value: u64) {
        self.line(format_args!("OFFSET({name})={value}"));
    }
    fn length(&mut self, name: &str, value: u64) {
        self.line(format_args!("LENGTH({name})={value}"));
    }
    fn number(&mut self, name: &str, value: i64) {
        self.line(format_args!("NUMBER({name})={value}"));
    }
}

fn x86_64(t: &mut Lines, levels: u32, a: &Addresses) {
    t.number("phys_base", a.phys_base.cast_signed());
    t.symbol("init_top_pgt", a.page_table);
    t.number("pgtable_l5_enabled", i64::from(levels == 5));
    t.line(format_args!("KERNELOFFSET={:x}", a.kaslr));
    t.number("KERNEL_IMAGE_SIZE", 1 << 30);
    t.number("sme_mask", 0);
}

fn arm64(t: &mut Lines, cpu: Arm64, a: &Addresses) {
    t.number("VA_BITS", cpu.built.into());
    let offset = a.text - a.image;
    for (name, value) in [
        ("kimage_voffset", offset),
        ("PHYS_OFFSET", a.phys_base),
        ("TCR_EL1_T1SZ", 64 - u64::from(cpu.actual)),
    ] {
        t.line(format_args!("NUMBER({name})={value:#x}"));
    }
    t.line(format_args!("KERNELOFFSET={:x}", a.kaslr));
    t.line(format_args!("NUMBER(KERNELPACMASK)=0x0"));
}

fn memory_model(t: &mut Lines, kernel: &FakeKernel, a: &Addresses) {
    let (bits, layout) = (kernel.machine.physmem_bits(), &kernel.layout);
    let sections = 1u64 << (bits - layout.section_bits);
    let symbol = if kernel.mem_section_by_pointer {
        a.mem_section_pointer
    } else {
        a.mem_section
    };
    t.symbol("mem_section", symbol);
    t.length(
        "mem_section",
        sections.div_ceil(layout.page / a.mem_section_size),
    );
    t.size("mem_section", a.mem_section_size);
    t.offset("mem_section.section_mem_map", 0);
    t.number("SECTION_SIZE_BITS", layout.section_bits.into());
    t.number("MAX_PHYSMEM_BITS", bits.into());
}

fn struct_page(t: &mut Lines, generation: Generation) {
    t.size("page", 64);
    t.size("pglist_data", 172_928);
    t.size("zone", 1728);
    t.size("free_area", 104);
    t.size("list_head", 16);
    t.size("nodemask_t", 128);
    t.offset("page.flags", 0);
    t.offset("page._refcount", 52);
    t.offset("page.mapping", 24);
    t.offset("page.lru", 8);
    t.offset("page._mapcount", 48);
    t.offset("page.private", 40);
    match generation.compound() {
        Compound::PageFields => {
            t.offset("page.compound_dtor", 16);
            t.offset("page.compound_order", 17);
        }
        Compound::FolioFields => {
            t.offset("folio._folio_dtor", 64 + 16);
            t.offset("folio._folio_order", 64 + 17);
        }
        Compound::TailFlag | Compound::PageType => {}
    }
    let word = if generation >= Generation::V7_1 {
        "page.compound_info"
    } else {
        "page.compound_head"
    };
    t.offset(word, 8);
    t.offset("zone.free_area", 192);
    t.offset("zone.vm_stat", 1536);
    t.offset("zone.spanned_pages", 120);
    t.offset("free_area.free_list", 0);
    t.offset("list_head.next", 0);
    t.offset("list_head.prev", 8);
    t.length("zone.free_area", 11);
}

fn ring(t: &mut Lines, generation: Generation, a: &Addresses) {
    t.symbol("prb", a.prb);
    t.symbol("printk_rb_static", a.ring);
    t.symbol("clear_seq", a.text + 0x2_1800);
    let text_ring = a.text_ring(generation);
    t.size("printk_ringbuffer", text_ring + 40);
    t.offset("printk_ringbuffer.desc_ring", 0);
    t.offset("printk_ringbuffer.text_data_ring", text_ring);
    t.offset("printk_ringbuffer.fail", text_ring + 32);
    t.size("prb_desc_ring", text_ring);
    for (name, offset) in [
        ("count_bits", 0),
        ("descs", 8),
        ("infos", 16),
        ("head_id", 24),
        ("tail_id", 32),
    ] {
        t.offset(&format!("prb_desc_ring.{name}"), offset);
    }
    t.size("prb_desc", printk::DESC);
    t.offset("prb_desc.state_var", 0);
    t.offset("prb_desc.text_blk_lpos", 8);
    t.size("prb_data_blk_lpos", 16);
    t.offset("prb_data_blk_lpos.begin", 0);
    t.offset("prb_data_blk_lpos.next", 8);
    t.size("printk_info", printk::INFO);
    for (name, offset) in [
        ("seq", 0),
        ("ts_nsec", 8),
        ("text_len", 16),
        ("caller_id", 20),
        ("dev_info", 24),
    ] {
        t.offset(&format!("printk_info.{name}"), offset);
    }
    t.size("dev_printk_info", 64);
    t.offset("dev_printk_info.subsystem", 0);
    t.length("printk_info_subsystem", 16);
    t.offset("dev_printk_info.device", 16);
    t.length("printk_info_device", 48);
    t.size("prb_data_ring", 32);
    for (name, offset) in [
        ("size_bits", 0),
        ("data", 8),
        ("head_lpos", 16),
        ("tail_lpos", 24),
    ] {
        t.offset(&format!("prb_data_ring.{name}"), offset);
    }
    t.size("atomic_long_t", 8);
    t.offset("atomic_long_t.counter", 0);
    if generation >= Generation::V6_1 {
        t.size("latched_seq", 24);
        t.offset("latched_seq.val", 8);
    }
}

fn page_flags(t: &mut Lines, generation: Generation) {
    let f = generation.flags();
    t.number("PG_lru", f.lru.into());
    t.number("PG_private", f.private.into());
    t.number("PG_swapcache", f.owner_private.into());
    t.number("PG_swapbacked", f.swapbacked.into());
    match generation.slab() {
        None => t.number("PG_slab", f.slab.into()),
        Some(value) => t.number("PAGE_SLAB_MAPCOUNT_VALUE", value.into()),
    }
    t.number("PG_hwpoison", f.hwpoison.into());
    t.number("PG_head_mask", 1 << f.head);
    t.number("PAGE_BUDDY_MAPCOUNT_VALUE", generation.buddy().into());
    match generation.compound() {
        Compound::PageFields | Compound::FolioFields => t.number("HUGETLB_PAGE_DTOR", 2),
        Compound::TailFlag => t.number("PG_hugetlb", 8),
        Compound::PageType => t.number(
            "PAGE_HUGETLB_MAPCOUNT_VALUE",
            generation.hugetlb().unwrap_or(-1).into(),
        ),
    }
    t.number("PAGE_OFFLINE_MAPCOUNT_VALUE", generation.offline().into());
    if let Some(value) = generation.unaccepted() {
        t.number("PAGE_UNACCEPTED_MAPCOUNT_VALUE", value.into());
    }
}
