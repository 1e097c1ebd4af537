//! Where things are in a synthetic kernel: physical ranges, virtual bases, sections.

use super::generation::Generation;
use super::machine::{Arm64, Machine};
use std::ops::Range;

/// `CRASHTIME`.
pub const CRASH_TIME: i64 = 1_763_712_000;
/// Start of the mapping of the kernel image.
pub const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// Bytes of the text segment: no whole number of pages.
pub const IMAGE_SIZE: u64 = 0x1d_2a40;
/// Where arm64 has its memory.
const ARM64_RAM: u64 = 0x4000_0000;
/// 2 MiB: the alignment of the kernel image.
const M2: u64 = 0x20_0000;

/// Physical memory. Ranges of pages are page frame numbers, others are bytes.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Page size.
    pub page: u64,
    /// `SECTION_SIZE_BITS`.
    pub section_bits: u32,
    /// The page frame that memory begins with (or would, if the first page were RAM).
    pub base: u64,
    /// Page tables and other early allocations.
    pub heap: Range<u64>,
    /// The kernel image; its text segment ends inside of a page.
    pub image: u64,
    /// Memory of the struct pages of sections.
    pub vmemmap: [(u64, u64); 3],
    /// RAM that the kernel has; the second last but one is a section without a mem_map, the last begins inside of a page.
    pub ram: [Range<u64>; 5],
    /// The section of `ram` that has no mem_map.
    pub unmapped_section: u64,
    /// Pages for tests below everything else's.
    pub test_low: Range<u64>,
    /// Pages for tests above the hole.
    pub test_high: Range<u64>,
}

impl Layout {
    /// For a machine.
    pub fn new(machine: Machine) -> Self {
        let (page, base, section_bits) = match machine {
            Machine::X86 { .. } => (4096, 0, 27),
            Machine::Arm64(cpu) => {
                let page = 1 << cpu.page_shift;
                (
                    page,
                    ARM64_RAM / page,
                    if cpu.page_shift == 16 { 29 } else { 27 },
                )
            }
        };
        let is_small = page > 4096;
        let section = 1 << section_bits;
        let start = base * page;
        let heap_end = if base == 0 { 0x200 } else { 0x140 };
        let heap = start + 0x100 * page..start + heap_end * page;
        let image = heap.end.next_multiple_of(M2);
        let (first, map) = (start / section, section / page * 64);
        let maps = image + M2;
        let vmemmap = [0, 2, 3].map(|i| (first + i, maps + i.saturating_sub(1) * map));
        let low = (maps + 3 * map).div_ceil(page).next_multiple_of(64);
        let test_low = low..if is_small { low + 0x180 } else { base + 0x1000 };
        let high = start + 2 * section;
        let high_pages = if is_small { 0xc0 } else { 0x800 };
        let odd = high + 0xc00 * page;
        Self {
            page,
            section_bits,
            base,
            ram: [
                start + page..start + 0x9f * page + page / 4 * 3,
                heap.start..test_low.end * page,
                start + section..start + section + 0x40 * page,
                high..high + high_pages * page,
                odd + page / 2..odd + 4 * page,
            ],
            heap,
            image,
            vmemmap,
            unmapped_section: first + 1,
            test_low,
            test_high: high / page..high / page + high_pages,
        }
    }

    /// Pages of a section.
    pub fn section_pages(&self) -> u64 {
        (1 << self.section_bits) / self.page
    }

    /// Size of the struct pages of a section.
    pub fn section_map(&self) -> u64 {
        self.section_pages() * 64
    }

    /// A machine with few large pages.
    pub fn is_small(&self) -> bool {
        self.page > 4096
    }

    /// Physical address of the struct page of `pfn`, if it has one.
    pub fn struct_page(&self, pfn: u64) -> Option<u64> {
        let section = pfn / self.section_pages();
        let (_, start) = self.vmemmap.iter().find(|(number, _)| *number == section)?;
        Some(start + pfn % self.section_pages() * 64)
    }

    /// Where the kernel has put the text of its log.
    pub fn log_text(&self) -> u64 {
        self.heap.end - 0x1_0000
    }

    /// The first page table that is not in the image.
    pub fn tables(&self) -> u64 {
        self.heap.start + 4 * self.page
    }
}

/// Virtual addresses.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// KASLR offset.
    pub kaslr: u64,
    /// `_stext`.
    pub text: u64,
    /// Physical address of the kernel image.
    pub image: u64,
    /// What the kernel calls the base of its physical addresses.
    pub phys_base: u64,
    /// Where physical 0 is in the direct map.
    pub page_offset: u64,
    /// struct page of pfn 0.
    pub vmemmap: u64,
    /// `init_top_pgt`, `swapper_pg_dir`.
    pub page_table: u64,
    /// `init_uts_ns`.
    pub uts: u64,
    /// The variable `prb`.
    pub prb: u64,
    /// `printk_rb_static`.
    pub ring: u64,
    /// Root array of the sections.
    pub mem_section: u64,
    /// The variable `mem_section`, which points to the array.
    pub mem_section_pointer: u64,
    /// Size of `struct mem_section`.
    pub mem_section_size: u64,
}

impl Addresses {
    /// The addresses on a machine.
    pub fn new(machine: Machine, layout: &Layout, generation: Generation) -> Self {
        let kaslr = 0x1a00_0000;
        let [text, phys_base, page_offset, vmemmap] = match machine {
            Machine::X86 { levels } => x86_64(levels, kaslr, layout),
            Machine::Arm64(cpu) => arm64(cpu, kaslr, layout),
        };
        Self {
            kaslr,
            text,
            image: layout.image,
            phys_base,
            page_offset,
            vmemmap,
            page_table: text + 0x1_0000,
            uts: text + 0x2_0000,
            prb: text + 0x2_1000,
            ring: text + 0x2_1100,
            mem_section: page_offset.wrapping_add(layout.heap.start),
            mem_section_pointer: text + 0x2_8100,
            mem_section_size: if matches!(generation, Generation::V5_10) {
                32
            } else {
                16
            },
        }
    }

    /// Physical address of something in the kernel image.
    pub const fn image(&self, virt: u64) -> u64 {
        virt - self.text + self.image
    }

    /// Virtual address of physical memory.
    pub const fn direct(&self, phys: u64) -> u64 {
        self.page_offset.wrapping_add(phys)
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

/// `_stext`, `phys_base`, start of the direct map, struct page 0.
fn x86_64(levels: u32, kaslr: u64, layout: &Layout) -> [u64; 4] {
    let text = KERNEL_MAP + 0x100_0000 + kaslr;
    let phys_base = layout.image.wrapping_sub(text - KERNEL_MAP);
    if levels == 5 {
        [
            text,
            phys_base,
            0xff11_0123_4000_0000,
            0xffd4_0001_8000_0000,
        ]
    } else {
        [
            text,
            phys_base,
            0xffff_9c41_0000_0000,
            0xffff_f1c3_4000_0000,
        ]
    }
}

/// The same; the start of the direct map is where physical 0 would be. A kernel for 52 bits on a processor with 48 counts its linear
/// map from where it would have been with 52 (arch/arm64/mm/init.c).
fn arm64(cpu: Arm64, kaslr: u64, layout: &Layout) -> [u64; 4] {
    let ram = layout.base * layout.page;
    let least = cpu.least_bits();
    let linear = !0u64 << cpu.actual;
    let kernels_own = !0u64 << cpu.built;
    let text = (!0 << (least - 1)) + 0x8000_0000 + kaslr;
    let vmemmap = !0u64 << (least + 6 - cpu.page_shift);
    [
        text,
        ram.wrapping_sub(linear - kernels_own),
        linear.wrapping_sub(ram),
        vmemmap - layout.base * 64,
    ]
}
