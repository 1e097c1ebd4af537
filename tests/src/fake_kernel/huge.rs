//! A synthetic machine with terabytes of memory, as a sparse vmcore.
//!
//! The struct pages of every memory section are one of a few maps of 2 MiB, which the page tables of the vmemmap repeat, as every
//! page of sections but the first is the same one. Most sections are idle. The file holds 1 TiB, nearly all of it a hole; segments of
//! more memory share it.

use super::elf::{self, Segment};
use super::layout::{Addresses, IMAGE_SIZE};
use super::memory::{Memory, pattern};
use super::paging::Tables;
use super::vmcore::notes;
use super::{FakeKernel, Generation, Kind, Machine, Rules, vmcoreinfo};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

const GIB: u64 = 1 << 30;
const PAGE: u64 = 4096;
/// Pages of a section.
const SECTION: u64 = 1 << 15;
/// Memory that the file holds.
const FILE: u64 = 1 << 40;
/// Where PCs have their devices instead of memory.
const HOLE: Range<u64> = 3 * GIB..4 * GIB;
/// Physical memory of the page tables.
const TABLES: Range<u64> = 16 << 20..32 << 20;
/// The pages of sections: the first ones, and all others.
const SECTIONS: [u64; 2] = [10 << 20, (10 << 20) + PAGE];
/// Sections in such a page.
const PER_ROOT: u64 = PAGE / 16;
/// Physical memory of the struct pages.
const MAPS: u64 = 32 << 20;
/// One section in so many has a page of data in every 4 MiB.
const WITH_DATA: u64 = 64;

/// What most of the memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Free.
    Free,
    /// Ballooned: gone at every dump level.
    Offline,
}

/// Uses of the pages from a page of a section on: as one, when there is an order.
type Use = (u64, Kind, Option<u64>);

/// The struct pages of a section.
#[derive(Clone, Debug)]
struct Map(Vec<Use>);

impl Map {
    /// All pages alike, in blocks of an order.
    fn of(kind: Kind, order: Option<u64>) -> Self {
        let starts = (0..SECTION).step_by(1 << order.unwrap_or(0));
        Self(starts.map(|at| (at, kind, order)).collect())
    }

    /// Something of everything; every `number` has other pages that stay.
    fn mixed(number: u64) -> Self {
        let mut uses = Vec::new();
        for block in (0..SECTION).step_by(256) {
            let single = |at: u64| match at {
                0 => Kind::Kernel,
                1 => Kind::Slab,
                2..64 => Kind::Anon,
                192..224 => Kind::Cache,
                224..240 => Kind::CachePrivate,
                254 => Kind::HwPoison,
                255 if (block / 256) % (number + 2) == 0 || block + 256 == SECTION => Kind::Kernel,
                255 => Kind::CacheWaiters,
                _ => Kind::Offline,
            };
            let singles = |pages: Range<u64>| pages.map(move |at| (block + at, single(at), None));
            uses.extend(singles(0..64));
            uses.push((block + 64, Kind::Anon, Some(6)));
            uses.push((block + 128, Kind::Buddy, Some(6)));
            uses.extend(singles(192..256));
        }
        Self(uses)
    }

    /// The section's part of the second bitmap.
    fn kept(&self, level: u8, generation: Generation) -> Vec<u8> {
        let mut bits = vec![0xff; SECTION as usize / 8];
        for (first, kind, order) in &self.0 {
            if kind.is_dropped(level, generation, Rules::Right) {
                for pfn in *first..first + (1 << order.unwrap_or(0)) {
                    bits[pfn as usize / 8] &= !(1 << (pfn % 8));
                }
            }
        }
        bits
    }

    /// Writes it to physical memory.
    fn write(&self, kernel: &FakeKernel, memory: &mut Memory, base: u64) {
        let at = |pfn: u64| base + pfn * 64;
        memory.zero(base, SECTION * 64);
        for (first, kind, order) in &self.0 {
            let private = order.filter(|_| kind.is_free_block()).unwrap_or(0);
            kernel.struct_page_at(memory, at(*first), *kind, private);
            let Some(order) = order else {
                continue;
            };
            let others = *first + 1..first + (1 << order);
            if kind.is_free_block() {
                others.for_each(|pfn| kernel.struct_page_at(memory, at(pfn), Kind::Kernel, 0));
            } else {
                let head = (at(*first), *first);
                kernel.compound_fields_at(memory, head, others.map(at), *kind, *order);
            }
        }
    }
}

/// A machine, and what a dump of it must hold.
#[derive(Clone, Debug)]
pub struct HugeMachine {
    kernel: FakeKernel,
    bytes: u64,
    segment: u64,
    /// One section in so many is not idle.
    busy: u64,
    /// The first is that of idle sections, the last that of the kernel's own.
    maps: Vec<Map>,
    memory: Memory,
}

impl HugeMachine {
    /// A machine with `bytes` of address space for memory, whole TiB, in one segment each; 5 levels of page tables from 32 TiB on.
    pub fn new(bytes: u64, idle: Idle) -> Self {
        assert!(bytes > 0 && bytes.is_multiple_of(FILE));
        let levels = if bytes < 32 * FILE { 4 } else { 5 };
        let (kind, busy) = match idle {
            Idle::Free => (Kind::Buddy, 16),
            // At low levels the others stay: there must not be too many.
            Idle::Offline => (Kind::Offline, 512),
        };
        let mut maps = vec![Map::of(kind, Some(10))];
        maps.extend((0..4).map(Map::mixed));
        maps.extend([
            Map::of(Kind::Anon, None),
            Map::of(Kind::Anon, Some(9)),
            Map::of(Kind::Cache, None),
            Map::of(Kind::Hugetlb, Some(9)),
            Map::of(Kind::Kernel, None),
        ]);
        let mut machine = Self {
            kernel: FakeKernel::on(Machine::X86 { levels }, Generation::V6_12),
            bytes,
            segment: FILE,
            busy,
            maps,
            memory: Memory::new(PAGE),
        };
        machine.fill();
        machine
    }

    /// Segments of so many bytes.
    pub fn segments_of(mut self, bytes: u64) -> Self {
        self.segment = bytes;
        self
    }

    /// One past the last page.
    pub fn max_mapnr(&self) -> u64 {
        self.bytes / PAGE
    }

    /// Number of memory sections: each is a block of 4 KiB in a bitmap.
    pub fn sections(&self) -> u64 {
        self.max_mapnr() / SECTION
    }

    /// The map of a section.
    fn map_of(&self, section: u64) -> usize {
        let others = self.maps.len() as u64 - 2;
        match section % self.busy {
            _ if section == 0 => self.maps.len() - 1,
            _ if section == self.sections() - 1 => 1,
            1 => 1 + (section / self.busy % others) as usize,
            _ => 0,
        }
    }

    /// What the bitmaps of a dump must hold of a section with such a map: which pages of it exist, and which are kept.
    pub fn bitmaps(&self, level: u8) -> impl Fn(u64) -> (Vec<u8>, Vec<u8>) {
        let generation = self.kernel.generation;
        let kept: Vec<_> = self
            .maps
            .iter()
            .map(|m| m.kept(level, generation))
            .collect();
        let (none, all) = (vec![0; 4096], vec![0xff; 4096]);
        move |section| {
            if HOLE.contains(&(section * SECTION * PAGE)) {
                (none.clone(), none.clone())
            } else {
                (all.clone(), kept[self.map_of(section)].clone())
            }
        }
    }

    /// The bytes of a page.
    pub fn page(&self, pfn: u64) -> Vec<u8> {
        let pfn = pfn % (FILE / PAGE);
        if has_data(pfn) {
            pattern(pfn, PAGE)
        } else {
            self.memory.page(pfn)
        }
    }

    fn addresses(&self) -> Addresses {
        let kernel = &self.kernel;
        Addresses::new(kernel.machine, &kernel.layout, kernel.generation)
    }

    /// Memory below 128 MiB: the kernel's.
    fn fill(&mut self) {
        let (a, mut memory) = (self.addresses(), Memory::new(PAGE));
        self.page_tables(&mut memory, &a);
        let array = self.kernel.layout.heap.start;
        for root in 0..self.sections() / PER_ROOT {
            let page = SECTIONS[usize::from(root > 0)];
            memory.write_u64(array + root * 8, a.direct(page));
        }
        for section in 0..2 * PER_ROOT {
            if !HOLE.contains(&(section * SECTION * PAGE)) {
                memory.write_u64(SECTIONS[0] + section * 16, a.vmemmap | 0xf);
            }
        }
        for (number, map) in (0..).zip(&self.maps) {
            map.write(&self.kernel, &mut memory, MAPS + number * SECTION * 64);
        }
        self.kernel.utsname(&mut memory, &a);
        self.kernel.printk(&mut memory, &a);
        self.memory = memory;
    }

    fn page_tables(&self, memory: &mut Memory, a: &Addresses) {
        let kernel = &self.kernel;
        let root = a.image(a.page_table);
        let mut tables = Tables::new(memory, kernel.machine, root, TABLES);
        tables.map(memory, a.text, kernel.layout.image, 21);
        tables.map(memory, a.direct(0), 0, 30);
        for section in 0..self.sections() {
            if !HOLE.contains(&(section * SECTION * PAGE)) {
                let map = MAPS + self.map_of(section) as u64 * SECTION * 64;
                tables.map(memory, a.vmemmap + section * SECTION * 64, map, 21);
            }
        }
    }

    /// Memory, in segments.
    fn ranges(&self) -> Vec<Range<u64>> {
        let starts = (0..self.bytes).step_by(self.segment as usize);
        let segments = starts.map(|at| at..(at + self.segment).min(self.bytes));
        let parts =
            segments.flat_map(|r| [r.start..r.end.min(HOLE.start), r.start.max(HOLE.end)..r.end]);
        parts.filter(|r| !r.is_empty()).collect()
    }

    /// Writes the vmcore.
    ///
    /// # Errors
    /// As write(2).
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let a = self.addresses();
        let text = Segment {
            virt: a.text,
            phys: self.kernel.layout.image,
            size: IMAGE_SIZE,
        };
        let ram = self.ranges().into_iter().map(|r| Segment {
            virt: a.direct(r.start),
            phys: r.start,
            size: r.end - r.start,
        });
        let segments: Vec<_> = std::iter::once(text).chain(ram).collect();
        let notes = notes(self.kernel.machine, &vmcoreinfo::text(&self.kernel, &a));
        let start = elf::notes_offset(segments.len(), PAGE) + notes.len() as u64;
        let start = start.next_multiple_of(PAGE);
        let place = |s: Segment| (s, start + s.phys % FILE);
        let placed: Vec<_> = segments.into_iter().map(place).collect();

        let file = File::create_new(path)?;
        file.set_len(start + FILE)?;
        file.write_all_at(&elf::headers(self.kernel.machine, &notes, &placed, PAGE), 0)?;
        for (pfn, page) in self.memory.pages() {
            file.write_all_at(page, start + pfn * PAGE)?;
        }
        for pfn in (0..FILE / PAGE).step_by(512).flat_map(|p| [p, p + 511]) {
            if has_data(pfn) {
                file.write_all_at(&pattern(pfn, PAGE), start + pfn * PAGE)?;
            }
        }
        Ok(())
    }
}

/// Whether a page of the file has data that are not the kernel's.
fn has_data(pfn: u64) -> bool {
    let (section, page) = (pfn / SECTION, pfn % SECTION);
    let has_some = section % WITH_DATA == 1 || section == FILE / PAGE / SECTION - 1;
    has_some && (page.is_multiple_of(1024) || page == SECTION - 1)
}
