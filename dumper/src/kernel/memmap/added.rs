//! Memory that the kernel had and the vmcore does not: hot-added after the capture kernel was loaded.
//!
//! Upstream: `include/linux/mmzone.h`, `mm/sparse.c`. The ELF headers of `/proc/vmcore` are made when the capture kernel is loaded; only
//! kernels with CONFIG_CRASH_HOTPLUG (6.6) change them. Sections of the time of boot are marked since Linux 5.3, so that holes, reserved
//! and device memory are told from memory that came later and is online.

use super::{Basics, Geometry, SECTION_MAP_MASK, SECTION_MARKED_PRESENT, Shape, bits};
use crate::kernel::virt::{VirtMem, Window};
use crate::vmcore::{Extents, VmcoreInfo};

const SECTION_IS_ONLINE: u64 = 1 << 2;
const SECTION_IS_EARLY: u64 = 1 << 3;

/// Bytes of the sections that were added and are not in the vmcore; 0 where the kernel does not tell.
#[must_use]
pub fn added(mem: &VirtMem<'_>, basics: &Basics, info: &VmcoreInfo, extents: &Extents) -> u64 {
    let geometry = bits(info, "SECTION_SIZE_BITS")
        .and_then(|section_bits| Geometry::new(basics, info, section_bits).ok());
    let Some(geometry) = geometry.filter(|g| g.shapes.first() == Some(&Shape::Roots)) else {
        return 0;
    };
    let said = info.length("mem_section").unwrap_or(0);
    let roots = geometry.limit.div_ceil(geometry.per_root).min(said);
    let mut array = Window::new(mem, geometry.symbol, roots.saturating_mul(8));
    let (mut early, mut pages) = (false, 0);
    for root in 0..roots {
        let page = array.read_u64(root * 8).ok().filter(|raw| *raw != 0);
        let Some(page) = page.and_then(|raw| basics.pointer(raw)) else {
            continue;
        };
        let size = geometry.section_size;
        let mut sections = Window::new(mem, page, geometry.per_root * size);
        for index in 0..geometry.per_root {
            let at = index * size + geometry.map_offset as u64;
            let Ok(coded) = sections.read_u64(at) else {
                continue;
            };
            let is = |flag: u64| coded & flag != 0;
            early |= is(SECTION_MARKED_PRESENT) && is(SECTION_IS_EARLY);
            let start = (root * geometry.per_root + index) * geometry.pages_per_section;
            let end = start + geometry.pages_per_section;
            let struct_pages = start.wrapping_mul(geometry.page_struct);
            let mem_map = (coded & SECTION_MAP_MASK).wrapping_add(struct_pages);
            let is_added =
                is(SECTION_MARKED_PRESENT) && is(SECTION_IS_ONLINE) && !is(SECTION_IS_EARLY);
            let shift = basics.page_size.shift();
            if is_added
                && basics.pointer(mem_map).is_some()
                && !extents.has_data(start << shift, end << shift)
            {
                pages += geometry.pages_per_section;
            }
        }
    }
    if early {
        pages << basics.page_size.shift()
    } else {
        0
    }
}
