//! Where things are in a synthetic kernel: physical ranges, virtual bases, sections.

use super::generation::Generation;
use super::memory::PAGE;
use std::ops::Range;

/// `CRASHTIME`.
pub const CRASH_TIME: i64 = 1_763_712_000;
/// Start of the mapping of the kernel image.
pub const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// The kernel image, one 2 MiB page; its text segment ends inside.
pub const IMAGE: u64 = 0x20_0000;
/// Bytes of the text segment: no whole number of pages.
pub const IMAGE_SIZE: u64 = 0x1d_2a40;
/// Page tables and other early allocations.
pub const HEAP: Range<u64> = 0x10_0000..0x20_0000;
/// Memory of the struct pages of sections 0, 2 and 3.
pub const VMEMMAP: [(u64, u64); 3] = [(0, 0x40_0000), (2, 0x60_0000), (3, 0x80_0000)];
/// Size of the struct pages of a section.
pub const SECTION_MAP: u64 = 0x20_0000;
/// Pages of a section of 128 MiB.
pub const SECTION_PAGES: u64 = 32768;
/// RAM that every synthetic kernel has; the second last is a section without a mem_map, the last begins inside of a page.
pub const RAM: [Range<u64>; 5] = [
    0x1000..0x9_fc00,
    0x10_0000..0x100_0000,
    0x800_0000..0x804_0000,
    0x1000_0000..0x1080_0000,
    0x10c0_0800..0x10c0_4000,
];
/// The section of [`RAM`] that has no mem_map.
pub const UNMAPPED_SECTION: u64 = 1;
/// Pages for tests below 16 MiB.
pub const TEST_LOW: Range<u64> = 0xa00..0x1000;
/// Pages for tests above the hole.
pub const TEST_HIGH: Range<u64> = 0x1_0000..0x1_0800;

/// Virtual addresses.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Levels of the page tables.
    pub levels: u32,
    /// KASLR offset.
    pub kaslr: u64,
    /// `_stext`.
    pub text: u64,
    /// Physical address of [`KERNEL_MAP`].
    pub phys_base: u64,
    /// Start of the direct map.
    pub page_offset: u64,
    /// struct page of pfn 0.
    pub vmemmap: u64,
    /// `init_top_pgt`.
    pub page_table: u64,
    /// `init_uts_ns`.
    pub uts: u64,
    /// The variable `prb`.
    pub prb: u64,
    /// `printk_rb_static`.
    pub ring: u64,
    /// Root array of the sections.
    pub mem_section: u64,
    /// Size of `struct mem_section`.
    pub mem_section_size: u64,
}

impl Addresses {
    /// The addresses for a number of page table levels.
    pub const fn new(levels: u32, generation: Generation) -> Self {
        let kaslr = 0x1a00_0000;
        let text = KERNEL_MAP + 0x100_0000 + kaslr;
        let five = levels == 5;
        let page_offset = if five {
            0xff11_0123_4000_0000
        } else {
            0xffff_9c41_0000_0000
        };
        Self {
            levels,
            kaslr,
            text,
            phys_base: IMAGE.wrapping_sub(text - KERNEL_MAP),
            page_offset,
            vmemmap: if five {
                0xffd4_0001_8000_0000
            } else {
                0xffff_f1c3_4000_0000
            },
            page_table: text + 0x1_0000,
            uts: text + 0x2_0000,
            prb: text + 0x2_1000,
            ring: text + 0x2_1100,
            mem_section: page_offset + HEAP.start,
            mem_section_size: if matches!(generation, Generation::V5_10) {
                32
            } else {
                16
            },
        }
    }

    /// Physical address of something in the kernel image.
    pub const fn image(&self, virt: u64) -> u64 {
        virt - self.text + IMAGE
    }

    /// Virtual address of physical memory.
    pub const fn direct(&self, phys: u64) -> u64 {
        self.page_offset + phys
    }

    /// `MAX_PHYSMEM_BITS`.
    pub const fn physmem_bits(&self) -> i64 {
        if self.levels == 5 { 52 } else { 46 }
    }

    /// `LENGTH(mem_section)`.
    pub const fn section_roots(&self) -> u64 {
        (1 << (self.physmem_bits() - 27)) / (PAGE / self.mem_section_size)
    }

    /// Offset of the text ring in `struct printk_ringbuffer`.
    pub fn text_ring(&self, generation: Generation) -> u64 {
        if generation >= Generation::V6_9 {
            48
        } else {
            40
        }
    }
}

/// Physical address of the struct page of `pfn`, if it has one.
pub fn struct_page(pfn: u64) -> Option<u64> {
    let (_, start) = VMEMMAP
        .iter()
        .find(|(section, _)| *section == pfn / SECTION_PAGES)?;
    Some(start + pfn % SECTION_PAGES * 64)
}
