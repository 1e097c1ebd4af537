//! Sparse memory: from a page frame number to its struct page.
//!
//! Upstream: `mm/sparse.c`, `include/linux/mmzone.h`. VMCOREINFO's `SYMBOL(mem_section)` is the address of the root array (with
//! SPARSEMEM_EXTREME an array of pointers, else the sections themselves). Holds for: Linux 4.15 and later.

mod added;

pub use added::added;

use super::Basics;
use super::virt::VirtMem;
use crate::addr::{PhysAddr, VirtAddr};
use crate::vmcore::{Extents, VmcoreInfo};

/// Bit 0 of `section_mem_map`: the section is there.
const SECTION_MARKED_PRESENT: u64 = 1;
/// The kernel keeps at least 6 low bits of `section_mem_map` free for flags and has used up to 6 of them since 6.15.
const SECTION_MAP_MASK: u64 = !0x3f;
/// SIZE(mem_section) is 16 or 32 on every 64-bit kernel.
const MAX_SECTION_SIZE: u64 = 256;
/// No 64-bit kernel has sections smaller than 16 MiB; smaller ones would make the walk endless.
const MIN_SECTION_BITS: u32 = 24;
/// No kernel has more: 52 bits of address in sections of 128 MiB.
const MAX_SECTIONS: u64 = 1 << 25;

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

/// Sections that follow each other, and their struct pages too: with SPARSEMEM_VMEMMAP all of a stretch of memory.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u64,
    end: u64,
    mem_map: VirtAddr,
}

/// Every section that has struct pages and memory in the vmcore file.
#[derive(Debug, Default)]
pub struct MemMap {
    runs: Vec<Run>,
    pages_per_section: u64,
    page_struct: u64,
    /// One past the last pfn of the last section that has, or may have, struct pages: what is above is not dumped (`mem=`).
    /// `None` when no section is known to have any.
    pub end: Option<u64>,
    /// Sections that are marked present with an address that cannot be one, and parts of the table that cannot be read.
    pub nonsense: u64,
    /// One past the last pfn of these.
    doubtful_end: u64,
}

/// How `SYMBOL(mem_section)` leads to the sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// An array of pointers to pages of sections.
    Roots,
    /// A pointer to that array: 4.15 before the address in VMCOREINFO was corrected.
    RootsByPointer,
    /// The array of sections.
    Array,
}

#[derive(Clone, Copy)]
struct Geometry {
    symbol: VirtAddr,
    /// Sections per root page.
    per_root: u64,
    /// NR_MEM_SECTIONS, by VMCOREINFO or what the architecture can have: there are no more than this.
    limit: u64,
    section_size: u64,
    map_offset: usize,
    pages_per_section: u64,
    page_struct: u64,
    /// What fits LENGTH(mem_section), then what else it could be.
    shapes: [Shape; 3],
}

impl Geometry {
    /// With sections of 2^`section_bits` bytes.
    fn new(basics: &Basics, info: &VmcoreInfo, section_bits: u32) -> Result<Self, String> {
        let missing = |key: &str| format!("VMCOREINFO lacks {key}");
        let symbol = info
            .symbol("mem_section")
            .ok_or_else(|| missing("SYMBOL(mem_section)"))?;
        let section_size = info
            .size("mem_section")
            .ok_or_else(|| missing("SIZE(mem_section)"))?;
        let map_offset = info
            .offset("mem_section.section_mem_map")
            .ok_or_else(|| missing("OFFSET(mem_section.section_mem_map)"))?;
        let page_struct = info.size("page").ok_or_else(|| missing("SIZE(page)"))?;
        let phys_bits =
            bits(info, "MAX_PHYSMEM_BITS").unwrap_or_else(|| basics.arch.max_physmem_bits(info));
        let contradiction = || {
            format!(
                "VMCOREINFO contradicts itself: mem_section of {section_size} bytes, SECTION_SIZE_BITS {section_bits}, MAX_PHYSMEM_BITS {phys_bits}"
            )
        };
        let fits = section_size <= MAX_SECTION_SIZE
            && (map_offset as u64).saturating_add(8) <= section_size;
        if !fits
            || !(MIN_SECTION_BITS..40).contains(&section_bits)
            || !(section_bits..=52).contains(&phys_bits)
        {
            return Err(contradiction());
        }
        let sections = 1u64 << (phys_bits - section_bits);
        // Memory beyond a number that is too small would be taken for memory that the kernel did not use.
        let possible = 1u64
            << basics
                .arch
                .max_physmem_bits(info)
                .saturating_sub(section_bits);
        let limit = sections.max(possible);
        if limit > MAX_SECTIONS {
            return Err(contradiction());
        }
        let shapes = if info.length("mem_section") == Some(sections) {
            [Shape::Array, Shape::Roots, Shape::RootsByPointer]
        } else {
            [Shape::Roots, Shape::RootsByPointer, Shape::Array]
        };
        Ok(Self {
            symbol: VirtAddr::new(basics.arch.untag(symbol)),
            per_root: basics.page_size.bytes() as u64 / section_size,
            limit,
            section_size,
            map_offset,
            pages_per_section: 1 << (section_bits - basics.page_size.shift()),
            page_struct,
            shapes,
        })
    }
}

fn bits(info: &VmcoreInfo, key: &str) -> Option<u32> {
    let value = u32::try_from(info.number(key)?).ok()?;
    (value > 0).then_some(value)
}

impl MemMap {
    /// Reads the section table up to `max_mapnr` and keeps the sections that overlap `extents`.
    ///
    /// Where VMCOREINFO does not say how the table is to be read, the first way that makes sense for all memory of the vmcore is
    /// taken, else the one that makes sense for most.
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
        let said = bits(info, "SECTION_SIZE_BITS");
        let guesses = basics.arch.section_size_bits(info, basics.page_size);
        let mut best: Option<(Self, u64)> = None;
        let all = data_bytes(extents, 0, u64::MAX);
        for &section_bits in said.as_ref().map_or(guesses, std::slice::from_ref) {
            let geometry = Geometry::new(basics, info, section_bits)?;
            for shape in geometry.shapes {
                let map = Self::read_as(shape, mem, basics, &geometry, extents, max_mapnr)?;
                let covered = map.data_bytes(extents, basics);
                let is_sound = map.end.is_some() && map.nonsense == 0;
                if is_sound && (said.is_some() || covered == all) {
                    return Ok(map.up_to(max_mapnr));
                }
                // The first may be damaged and still be the best; others are believed only when all of them makes sense.
                if best
                    .as_ref()
                    .is_none_or(|(_, most)| is_sound && covered > *most)
                {
                    best = Some((map, covered));
                }
            }
        }
        let map = best.map(|(map, _)| map).unwrap_or_default();
        if map.end.is_none() {
            return Err(format!(
                "no memory section has struct pages ({} have nonsense addresses)",
                map.nonsense
            ));
        }
        Ok(map.up_to(max_mapnr))
    }

    /// The sections that do not end at or below pfn `from`, by ascending pfn.
    pub fn sections(&self, from: u64) -> impl Iterator<Item = Section> {
        let first = self.runs.partition_point(|run| run.end <= from);
        let runs = self.runs.iter().skip(first);
        runs.flat_map(move |run| self.sections_of(*run, from))
    }

    fn sections_of(&self, run: Run, from: u64) -> impl Iterator<Item = Section> {
        let (pages, size) = (self.pages_per_section.max(1), self.page_struct);
        let skipped = from.saturating_sub(run.start) / pages;
        let count = (run.end - run.start) / pages;
        (skipped..count).filter_map(move |number| {
            let first = number * pages;
            Some(Section {
                start: run.start + first,
                end: run.start + first + pages,
                mem_map: run.mem_map.checked_add(first.checked_mul(size)?)?,
            })
        })
    }

    /// Adds a section behind the others.
    fn push(&mut self, start: u64, end: u64, mem_map: VirtAddr) -> Result<(), String> {
        if let Some(last) = self.runs.last_mut() {
            let here = (start - last.start).checked_mul(self.page_struct);
            let here = here.and_then(|bytes| last.mem_map.checked_add(bytes));
            if last.end == start && here == Some(mem_map) {
                last.end = end;
                return Ok(());
            }
        }
        self.runs
            .try_reserve(1)
            .map_err(|_| "not enough memory for the section table")?;
        self.runs.push(Run {
            start,
            end,
            mem_map,
        });
        Ok(())
    }

    fn up_to(mut self, max_mapnr: u64) -> Self {
        self.end = self
            .end
            .map(|end| end.max(self.doubtful_end).min(max_mapnr));
        self
    }

    /// Bytes of the vmcore's memory that the sections cover.
    fn data_bytes(&self, extents: &Extents, basics: &Basics) -> u64 {
        let shift = basics.page_size.shift();
        self.runs
            .iter()
            .map(|run| data_bytes(extents, run.start << shift, run.end << shift))
            .sum()
    }

    fn read_as(
        shape: Shape,
        mem: &VirtMem<'_>,
        basics: &Basics,
        geometry: &Geometry,
        extents: &Extents,
        max_mapnr: u64,
    ) -> Result<Self, String> {
        let count = max_mapnr
            .div_ceil(geometry.pages_per_section)
            .min(geometry.limit);
        let mut map = Self {
            pages_per_section: geometry.pages_per_section,
            page_struct: geometry.page_struct,
            ..Self::default()
        };
        let array = match shape {
            Shape::Array => {
                map.read_sections(mem, basics, geometry, geometry.symbol, 0..count, extents)?;
                return Ok(map);
            }
            Shape::Roots => Some(geometry.symbol),
            Shape::RootsByPointer => {
                let pointer = mem.read_u64(geometry.symbol).ok();
                pointer.and_then(|raw| basics.pointer(raw))
            }
        };
        let Some(array) = array else {
            return Ok(map);
        };
        let roots = count.div_ceil(geometry.per_root);
        let mut array = super::virt::Window::new(mem, array, roots.saturating_mul(8));
        for root in 0..roots {
            let first = root * geometry.per_root;
            let numbers = first..(first + geometry.per_root).min(count);
            let page = array.read_u64(root * 8).ok();
            if page == Some(0) {
                continue;
            }
            let Some(page) = page.and_then(|raw| basics.pointer(raw)) else {
                map.doubt(numbers.end * geometry.pages_per_section);
                continue;
            };
            map.read_sections(mem, basics, geometry, page, numbers, extents)?;
        }
        Ok(map)
    }

    /// Notes that the sections below `end` may have struct pages that cannot be found: their pages are kept.
    fn doubt(&mut self, end: u64) {
        self.nonsense += 1;
        self.doubtful_end = end;
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
            let start = number * geometry.pages_per_section;
            let end = start + geometry.pages_per_section;
            let Ok(coded) = array.read_u64(at) else {
                self.doubt(end);
                continue;
            };
            if coded & SECTION_MARKED_PRESENT == 0 {
                continue;
            }
            let bytes = start.wrapping_mul(geometry.page_struct);
            let mem_map = (coded & SECTION_MAP_MASK).wrapping_add(bytes);
            let Some(mem_map) = basics.pointer(mem_map) else {
                self.doubt(end);
                continue;
            };
            self.end = Some(end);
            let shift = basics.page_size.shift();
            if extents.has_data(start << shift, end << shift) {
                self.push(start, end, mem_map)?;
            }
        }
        Ok(())
    }
}

/// Bytes of `start..end` that are in the vmcore file.
fn data_bytes(extents: &Extents, start: u64, end: u64) -> u64 {
    let (mut at, mut bytes) = (start, 0u64);
    while let Some(extent) = extents
        .at_or_after(PhysAddr::new(at))
        .filter(|e| e.start < end)
    {
        if extent.offset.is_some() {
            bytes = bytes.saturating_add(extent.end.min(end) - extent.start.max(start));
        }
        at = extent.end;
    }
    bytes
}

#[cfg(test)]
mod tests;
