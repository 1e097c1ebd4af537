//! Sparse memory: from a page frame number to its struct page.
//!
//! Upstream: `mm/sparse.c`, `include/linux/mmzone.h`. VMCOREINFO's `SYMBOL(mem_section)` is the address of the root array (with
//! SPARSEMEM_EXTREME an array of pointers, else the sections themselves). Holds for: Linux 4.15 and later.

use super::Basics;
use super::virt::VirtMem;
use crate::addr::VirtAddr;
use crate::vmcore::{Extents, VmcoreInfo};

/// Bit 0 of `section_mem_map`: the section is there.
const SECTION_MARKED_PRESENT: u64 = 1;
/// The kernel keeps at least 6 low bits of `section_mem_map` free for flags and has used up to 6 of them since 6.15.
const SECTION_MAP_MASK: u64 = !0x3f;
/// SIZE(mem_section) is 16 or 32 on every 64-bit kernel.
const MAX_SECTION_SIZE: u64 = 256;

/// One memory section that has struct pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// First pfn.
    pub start: u64,
    /// One past the last pfn.
    pub end: u64,
    /// The struct page of `start`.
    pub mem_map: VirtAddr,
}

/// Every section that has struct pages and memory in the vmcore, by ascending pfn.
#[derive(Debug, Default)]
pub struct MemMap {
    /// The sections.
    pub sections: Vec<Section>,
    /// One past the last pfn of the last section that has struct pages: what is above is not dumped (`mem=`). `None` when no
    /// section has any.
    pub end: Option<u64>,
    /// Sections that are marked present with an address that cannot be one.
    pub nonsense: u64,
}

struct Geometry {
    root: VirtAddr,
    /// Sections per root page; `None` when the array holds the sections themselves.
    per_root: Option<u64>,
    /// NR_MEM_SECTIONS: there are no more than this.
    limit: u64,
    section_size: u64,
    map_offset: usize,
    pages_per_section: u64,
    page_struct: u64,
}

impl Geometry {
    fn from_info(basics: &Basics, info: &VmcoreInfo) -> Result<Self, String> {
        let missing = |key: &str| format!("VMCOREINFO lacks {key}");
        let root = info
            .symbol("mem_section")
            .ok_or_else(|| missing("SYMBOL(mem_section)"))?;
        let section_size = info
            .size("mem_section")
            .ok_or_else(|| missing("SIZE(mem_section)"))?;
        let map_offset = info
            .offset("mem_section.section_mem_map")
            .ok_or_else(|| missing("OFFSET(mem_section.section_mem_map)"))?;
        let page_struct = info.size("page").ok_or_else(|| missing("SIZE(page)"))?;
        let bits = |key, or| {
            info.number(key)
                .and_then(|v| u32::try_from(v).ok())
                .filter(|v| *v > 0)
                .unwrap_or(or)
        };
        let section_bits = bits("SECTION_SIZE_BITS", basics.arch.section_size_bits());
        let phys_bits = bits("MAX_PHYSMEM_BITS", basics.arch.max_physmem_bits(info));
        let page_shift = basics.page_size.shift();
        let fits = section_size <= MAX_SECTION_SIZE
            && (map_offset as u64).saturating_add(8) <= section_size;
        if !fits
            || !(page_shift + 1..40).contains(&section_bits)
            || !(section_bits..=52).contains(&phys_bits)
        {
            return Err(format!(
                "VMCOREINFO contradicts itself: mem_section of {section_size} bytes, SECTION_SIZE_BITS {section_bits}, MAX_PHYSMEM_BITS {phys_bits}"
            ));
        }
        let per_root = basics.page_size.bytes() as u64 / section_size;
        let limit = 1u64 << (phys_bits - section_bits);
        let roots = limit.div_ceil(per_root);
        let extreme = info.length("mem_section").is_none_or(|len| len == roots);
        Ok(Self {
            root: VirtAddr::new(root),
            per_root: extreme.then_some(per_root),
            limit,
            section_size,
            map_offset,
            pages_per_section: 1 << (section_bits - page_shift),
            page_struct,
        })
    }
}

impl MemMap {
    /// Reads the section table up to `max_mapnr` and keeps the sections that overlap `extents`.
    ///
    /// # Errors
    /// A sentence that says why there is no usable table.
    pub fn read(
        mem: &VirtMem<'_>,
        basics: &Basics,
        info: &VmcoreInfo,
        extents: &Extents,
        max_mapnr: u64,
    ) -> Result<Self, String> {
        let geometry = Geometry::from_info(basics, info)?;
        let count = max_mapnr
            .div_ceil(geometry.pages_per_section)
            .min(geometry.limit);
        let mut map = Self::default();
        match geometry.per_root {
            None => map.read_sections(mem, basics, &geometry, geometry.root, 0..count, extents)?,
            Some(per_root) => {
                let roots = count.div_ceil(per_root);
                let mut array =
                    super::virt::Window::new(mem, geometry.root, roots.saturating_mul(8));
                for root in 0..roots {
                    let Ok(page) = array.read_u64(root * 8) else {
                        map.nonsense += 1;
                        continue;
                    };
                    if page == 0 {
                        continue;
                    }
                    if page < basics.kernel_base.raw() {
                        map.nonsense += 1;
                        continue;
                    }
                    let numbers = root * per_root..((root + 1) * per_root).min(count);
                    map.read_sections(
                        mem,
                        basics,
                        &geometry,
                        VirtAddr::new(page),
                        numbers,
                        extents,
                    )?;
                }
            }
        }
        if map.end.is_none() {
            return Err(format!(
                "no memory section has struct pages ({} have nonsense addresses)",
                map.nonsense
            ));
        }
        if let Some(end) = map.end.as_mut() {
            *end = (*end).min(max_mapnr);
        }
        Ok(map)
    }

    /// Reads the sections `numbers`, which lie one after the other from `base`.
    fn read_sections(
        &mut self,
        mem: &VirtMem<'_>,
        basics: &Basics,
        geometry: &Geometry,
        base: VirtAddr,
        numbers: std::ops::Range<u64>,
        extents: &Extents,
    ) -> Result<(), String> {
        let first = numbers.start;
        let mut array = super::virt::Window::new(
            mem,
            base,
            (numbers.end - first).saturating_mul(geometry.section_size),
        );
        for number in numbers {
            let at = (number - first) * geometry.section_size + geometry.map_offset as u64;
            let Ok(coded) = array.read_u64(at) else {
                self.nonsense += 1;
                continue;
            };
            if coded & SECTION_MARKED_PRESENT == 0 {
                continue;
            }
            let start = number * geometry.pages_per_section;
            let bytes = start.wrapping_mul(geometry.page_struct);
            let mem_map = (coded & SECTION_MAP_MASK).wrapping_add(bytes);
            if mem_map < basics.kernel_base.raw() {
                self.nonsense += 1;
                continue;
            }
            let end = start + geometry.pages_per_section;
            self.end = Some(end);
            let shift = basics.page_size.shift();
            let memory = extents.at_or_after(crate::addr::PhysAddr::new(start << shift));
            if memory.is_some_and(|extent| extent.start < end << shift) {
                self.sections
                    .try_reserve(1)
                    .map_err(|_| "not enough memory for the section table")?;
                self.sections.push(Section {
                    start,
                    end,
                    mem_map: VirtAddr::new(mem_map),
                });
            }
        }
        Ok(())
    }
}
