//! The translation tables of arm64.
//!
//! Upstream: Arm ARM D8 (VMSAv8-64); `arch/arm64/include/asm/pgtable-hwdef.h`, `arch/arm64/mm/mmu.c`. Holds for: every granule, 36 to 52
//! bits, descriptors of 48 bits, of 52 bits with 64 KiB pages (LPA) and of 52 bits with 4 and 16 KiB pages (LPA2, 6.9 and later).

mod geometry;

pub(super) use geometry::Geometry;

use super::KERNEL_BIT;
use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::{Mapping, PageTables, TranslateError};
use crate::vmcore::PhysMem;

const VALID: u64 = 1;
/// A table, or a page in the last level; without it a block.
const TABLE: u64 = 2;
/// Names of the levels from the last one (3) upwards.
const NAMES: [&str; 5] = ["level 3", "level 2", "level 1", "level 0", "level -1"];

/// The page tables of one kernel.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) geometry: Geometry,
    pub(super) root: PhysAddr,
    pub(super) kernel_base: VirtAddr,
}

impl PageTables for Tables {
    fn translate(&self, mem: &dyn PhysMem, addr: VirtAddr) -> Result<Mapping, TranslateError> {
        let g = self.geometry;
        let untagged = addr.raw() | !0 << KERNEL_BIT;
        let is_kernels = addr.raw() >> KERNEL_BIT & 1 == 1 && untagged >= !0 << g.bits();
        let not_mapped = |above: u32, entry| TranslateError::NotMapped {
            addr,
            level: NAMES.get(above as usize).copied().unwrap_or("top level"),
            entry,
        };
        if !is_kernels {
            return Err(not_mapped(g.top(), 0));
        }
        // Above the top level all bits are ones: they would be taken for a part of its index.
        let within_tables = untagged & !(!0 << g.bits());
        let mut table = self.root.raw();
        for above in (0..=g.top()).rev() {
            let shift = g.page_shift + above * g.stride();
            let index = within_tables >> shift & ((1 << g.stride()) - 1);
            let entry = mem
                .read_u64(PhysAddr::new(table.wrapping_add(index * 8)))
                .map_err(|source| TranslateError::Table { addr, source })?;
            let is_table = entry & TABLE != 0;
            if entry & VALID == 0 || !is_table && !g.may_be_block(above) {
                return Err(not_mapped(above, entry));
            }
            table = g.address(entry);
            if above == 0 || !is_table {
                let within = (1 << shift) - 1;
                return Ok(Mapping {
                    phys: PhysAddr::new(table & !within | addr.raw() & within),
                    start: VirtAddr::new(addr.raw() & !within),
                    size: within + 1,
                });
            }
        }
        Err(not_mapped(0, 0))
    }

    fn kernel_base(&self) -> VirtAddr {
        self.kernel_base
    }
}

#[cfg(test)]
mod tests;
