//! x86_64 page tables of a synthetic kernel, 4 or 5 levels (arch/x86/include/asm/pgtable_types.h).

use super::memory::{Memory, PAGE};
use std::ops::Range;

/// Present, writable, accessed, dirty.
const TABLE: u64 = 0x63;
/// The same for a large page.
const LARGE: u64 = 0xe3;
/// No execution.
const NX: u64 = 1 << 63;

/// Page tables under construction.
#[derive(Debug)]
pub struct Tables {
    root: u64,
    levels: u32,
    free: Range<u64>,
}

impl Tables {
    /// Empty tables with the root at physical `root`; further tables are taken from `free`.
    pub fn new(memory: &mut Memory, root: u64, levels: u32, free: Range<u64>) -> Self {
        memory.zero(root, PAGE);
        Self { root, levels, free }
    }

    /// Maps a page of 4 KiB, 2 MiB or 1 GiB (`shift` 12, 21 or 30).
    pub fn map(&mut self, memory: &mut Memory, virt: u64, phys: u64, shift: u32) {
        let mut table = self.root;
        let mut at = 12 + 9 * (self.levels - 1);
        while at > shift {
            let entry = table + (virt >> at & 511) * 8;
            if memory.read_u64(entry) == 0 {
                let new = self.take();
                memory.zero(new, PAGE);
                memory.write_u64(entry, new | TABLE);
            }
            table = memory.read_u64(entry) & 0x000f_ffff_ffff_f000;
            at -= 9;
        }
        let bits = if shift > 12 { LARGE } else { TABLE };
        memory.write_u64(table + (virt >> shift & 511) * 8, phys | bits | NX);
    }

    /// The tables used so far, without the root.
    pub fn used_up_to(&self) -> u64 {
        self.free.start
    }

    fn take(&mut self) -> u64 {
        let table = self.free.start;
        assert!(table < self.free.end, "no room for page tables");
        self.free.start += PAGE;
        table
    }
}
