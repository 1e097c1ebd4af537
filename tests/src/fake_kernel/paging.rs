//! Page tables of a synthetic kernel: x86_64 with 4 or 5 levels (arch/x86/include/asm/pgtable_types.h), arm64 with all of its
//! granules (arch/arm64/include/asm/pgtable-hwdef.h).

use super::machine::Machine;
use super::memory::Memory;
use std::ops::Range;

/// x86_64: present, writable, accessed, dirty.
const X86_TABLE: u64 = 0x63;
/// The same for a large page.
const X86_LARGE: u64 = 0xe3;
/// No execution.
const X86_NX: u64 = 1 << 63;
/// arm64: a table, or a page in the last level.
const ARM_TABLE: u64 = 3;
/// A block.
const ARM_BLOCK: u64 = 1;
/// Not executable, not global, accessed.
const ARM_ATTRIBUTES: u64 = 0x0060_0000_0000_0c00;
/// Inner shareable. With LPA2 these bits belong to the address.
const ARM_SHARED: u64 = 0x300;

/// Page tables under construction.
#[derive(Debug)]
pub struct Tables {
    machine: Machine,
    page: u64,
    root: u64,
    free: Range<u64>,
}

impl Tables {
    /// Empty tables with the root at physical `root`; further tables are taken from `free`.
    pub fn new(memory: &mut Memory, machine: Machine, root: u64, free: Range<u64>) -> Self {
        let page = memory.page_size();
        memory.zero(root, page);
        Self {
            machine,
            page,
            root,
            free,
        }
    }

    /// Maps a page of 2^`shift` bytes.
    pub fn map(&mut self, memory: &mut Memory, virt: u64, phys: u64, shift: u32) {
        let (levels, bits): (&[u32], u32) = match self.machine {
            Machine::X86 { levels: 5 } => (&[48, 39, 30, 21, 12], 57),
            Machine::X86 { .. } => (&[39, 30, 21, 12], 48),
            Machine::Arm64(cpu) => cpu.levels(),
        };
        let index = |at: u32| (virt & ((1 << bits) - 1)) >> at & (self.page / 8 - 1);
        let mut table = self.root;
        let above: Vec<u64> = levels
            .iter()
            .filter(|at| **at > shift)
            .map(|at| index(*at))
            .collect();
        let last = index(shift);
        for index in above {
            let entry = table + index * 8;
            if memory.read_u64(entry) == 0 {
                let new = self.take();
                memory.zero(new, self.page);
                memory.write_u64(entry, new | self.table_bits());
            }
            table = memory.read_u64(entry) & 0xffff_ffff_ffff & !(self.page - 1);
        }
        memory.write_u64(table + last * 8, phys | self.leaf_bits(shift));
    }

    /// The tables used so far, without the root.
    pub fn used_up_to(&self) -> u64 {
        self.free.start
    }

    fn table_bits(&self) -> u64 {
        match self.machine {
            Machine::X86 { .. } => X86_TABLE,
            Machine::Arm64(_) => ARM_TABLE,
        }
    }

    fn leaf_bits(&self, shift: u32) -> u64 {
        let is_page = 1 << shift == self.page;
        match self.machine {
            Machine::X86 { .. } => X86_NX | if is_page { X86_TABLE } else { X86_LARGE },
            Machine::Arm64(cpu) => {
                let shared = if cpu.has_lpa2() { 0 } else { ARM_SHARED };
                ARM_ATTRIBUTES | shared | if is_page { ARM_TABLE } else { ARM_BLOCK }
            }
        }
    }

    fn take(&mut self) -> u64 {
        let table = self.free.start;
        assert!(table < self.free.end, "no room for page tables");
        self.free.start += self.page;
        table
    }
}
