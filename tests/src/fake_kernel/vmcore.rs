//! A finished synthetic vmcore and what a dump of it must hold.

use super::elf::{self, Segment};
use super::layout::{Addresses, Layout};
use super::memory::Memory;
use super::{Block, FakeKernel, Generation, Kind, Machine, Rules, vmcoreinfo};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// CPUs that left a note.
pub(crate) const CPUS: u32 = 2;

/// A vmcore file in memory, with the expectations.
#[derive(Clone, Debug)]
pub struct FakeVmcore {
    /// The file.
    pub elf: Vec<u8>,
    /// The kernel's generation.
    pub generation: Generation,
    /// What it ran on.
    pub machine: Machine,
    /// The log that a reader must get.
    pub log: String,
    /// The VMCOREINFO text; empty without the note.
    pub vmcoreinfo: String,
    /// One past the last page frame that a dump covers.
    pub max_mapnr: u64,
    /// `phys_base`.
    pub phys_base: u64,
    /// Parts of the file with a meaning, for tests that damage them.
    pub regions: Vec<(&'static str, Range<usize>)>,
    /// Blocks of pages with a use.
    pub blocks: Vec<Block>,
    layout: Layout,
    memory: Memory,
    segments: Vec<Segment>,
    mapped: Vec<u64>,
}

impl FakeVmcore {
    pub(super) fn new(
        kernel: FakeKernel,
        a: &Addresses,
        memory: Memory,
        log: String,
        tables_end: u64,
    ) -> Self {
        let text = if kernel.vmcoreinfo {
            vmcoreinfo::text(&kernel, a)
        } else {
            String::new()
        };
        let wanted = |line: &&str| {
            !kernel
                .without_keys
                .iter()
                .any(|key| line.starts_with(key.as_str()))
        };
        let changed = |line: &str| {
            let mut others = kernel.other_lines.iter();
            let other = others.find(|(key, _)| line.starts_with(key.as_str()));
            other.map_or_else(|| line.to_owned(), |(key, value)| format!("{key}{value}\n"))
        };
        let lines = text.split_inclusive('\n').filter(wanted);
        let text: String = lines.map(changed).collect();
        let notes = notes(kernel.machine, &text);
        let segments = kernel.segments(a);
        let mapped: Vec<u64> = kernel
            .mapped_sections()
            .map(|(section, _)| section)
            .collect();
        let end = segments
            .iter()
            .map(|s| (s.phys + s.size).div_ceil(kernel.layout.page))
            .max()
            .unwrap_or(0);
        let last_mapped = mapped
            .iter()
            .max()
            .map_or(end, |section| (section + 1) * kernel.layout.section_pages());
        let mut vmcore = Self {
            elf: elf::write(kernel.machine, &notes, &segments, &memory),
            generation: kernel.generation,
            machine: kernel.machine,
            log,
            max_mapnr: if kernel.vmcoreinfo {
                end.min(last_mapped)
            } else {
                end
            },
            phys_base: a.phys_base,
            regions: Vec::new(),
            blocks: if kernel.vmcoreinfo {
                kernel.blocks
            } else {
                Vec::new()
            },
            vmcoreinfo: text,
            layout: kernel.layout,
            memory,
            segments,
            mapped,
        };
        let notes_at = elf::notes_offset(vmcore.segments.len(), vmcore.layout.page) as usize;
        let text_at = notes_at + notes.len() - vmcore.vmcoreinfo.len().next_multiple_of(4);
        vmcore.regions = vec![
            ("ELF headers", 0..64 + 56 * (1 + vmcore.segments.len())),
            ("notes", notes_at..text_at),
        ];
        if kernel.vmcoreinfo {
            vmcore
                .regions
                .push(("VMCOREINFO", text_at..text_at + vmcore.vmcoreinfo.len()));
        }
        vmcore.memory_regions(a, tables_end);
        vmcore
    }

    /// Writes the file into a directory and returns its path.
    ///
    /// # Errors
    /// As write(2).
    pub fn write(&self, directory: &Path) -> std::io::Result<PathBuf> {
        let path = directory.join("vmcore.elf");
        std::fs::write(&path, &self.elf)?;
        Ok(path)
    }

    /// Pages that exist: every page that a segment touches.
    pub fn existing(&self) -> BTreeSet<u64> {
        let page = self.layout.page;
        let pages = |s: &Segment| s.phys / page..(s.phys + s.size).div_ceil(page);
        self.segments
            .iter()
            .flat_map(pages)
            .filter(|pfn| *pfn < self.max_mapnr)
            .collect()
    }

    /// Pages that a dump of this level must hold by these rules, no more and no less.
    pub fn kept(&self, level: u8, rules: Rules) -> BTreeSet<u64> {
        let mut kept = self.existing();
        for block in self
            .blocks
            .iter()
            .filter(|b| self.is_judged(b.pfn) && self.is_dropped(b.kind, level, rules))
        {
            for pfn in block.pfn..block.pfn + block.dropped {
                kept.remove(&pfn);
            }
        }
        kept
    }

    /// Demands exactly the expected pages of a dump; names those that are missing and those that are too many.
    ///
    /// # Errors
    /// When other pages are kept, with a few of both sorts.
    pub fn compare_kept(&self, level: u8, rules: Rules, kept: &[u64]) -> Result<(), String> {
        let expected = self.kept(level, rules);
        let kept: BTreeSet<u64> = kept.iter().copied().collect();
        if expected == kept {
            return Ok(());
        }
        let some = |pages: Vec<u64>| {
            pages
                .into_iter()
                .map(|pfn| self.describe(pfn))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let missing = some(expected.difference(&kept).copied().take(8).collect());
        let extra = some(kept.difference(&expected).copied().take(8).collect());
        Err(format!(
            "{:?} {:?} {rules:?} level {level}: missing: {missing}; too many: {extra}",
            self.machine, self.generation
        ))
    }

    fn describe(&self, pfn: u64) -> String {
        let block = self
            .blocks
            .iter()
            .find(|b| (b.pfn..b.pfn + b.pages).contains(&pfn));
        block.map_or_else(
            || format!("{pfn:#x}"),
            |b| {
                format!(
                    "{pfn:#x} ({:?} at {:#x} order {:?})",
                    b.kind, b.pfn, b.order
                )
            },
        )
    }

    /// The bytes of a page, as far as segments hold them; the rest of it is zeros.
    pub fn page(&self, pfn: u64) -> Vec<u8> {
        let mut page = self.memory.page(pfn);
        let start = pfn * self.layout.page;
        let whole = |s: &Segment| s.phys <= start && start + self.layout.page <= s.phys + s.size;
        if self.segments.iter().any(whole) {
            return page;
        }
        for (i, byte) in page.iter_mut().enumerate() {
            if !self.is_in_a_segment(start + i as u64) {
                *byte = 0;
            }
        }
        page
    }

    /// A kernel without `PG_hwpoison` gives no reason to look at pages at levels 0 and 1, and has no poisoned pages.
    fn is_dropped(&self, kind: Kind, level: u8, rules: Rules) -> bool {
        let knows_poison = self.vmcoreinfo.contains("NUMBER(PG_hwpoison)");
        match kind {
            Kind::HwPoison | Kind::HwPoisonSlab if !knows_poison => false,
            Kind::Offline | Kind::OfflineWaiters | Kind::OfflineLowBits
                if !knows_poison && level < 2 =>
            {
                false
            }
            kind => kind.is_dropped(level, self.generation, rules),
        }
    }

    /// Filters look at a page when its first byte is in a segment and its section has struct pages.
    fn is_judged(&self, pfn: u64) -> bool {
        let section = pfn / self.layout.section_pages();
        self.is_in_a_segment(pfn * self.layout.page) && self.mapped.contains(&section)
    }

    fn is_in_a_segment(&self, phys: u64) -> bool {
        self.segments
            .iter()
            .any(|s| (s.phys..s.phys + s.size).contains(&phys))
    }

    fn memory_regions(&mut self, a: &Addresses, tables_end: u64) {
        let notes_len = self.notes_len();
        let offsets = elf::offsets(notes_len, &self.segments, self.layout.page);
        let file = |range: Range<u64>| {
            let mut hits = self.segments.iter().zip(&offsets);
            let (s, offset) =
                hits.find(|(s, _)| s.phys <= range.start && range.end <= s.phys + s.size)?;
            Some((range.start - s.phys + offset) as usize..(range.end - s.phys + offset) as usize)
        };
        let (root, ring) = (a.image(a.page_table), a.image(a.prb));
        let (l, page) = (&self.layout, self.layout.page);
        let used_sections = page + (l.vmemmap[0].0 + 8) * a.mem_section_size;
        let struct_pages = |pages: &Range<u64>| {
            let start = l.struct_page(pages.start).unwrap_or(0);
            start..start + (pages.end - pages.start) * 64
        };
        let ranges = [
            ("page table root", root..root + page),
            ("page tables", l.tables()..tables_end),
            ("mem_section", l.heap.start..l.heap.start + used_sections),
            ("struct pages", struct_pages(&l.test_low)),
            ("high struct pages", struct_pages(&l.test_high)),
            ("utsname", a.image(a.uts)..a.image(a.uts) + 512),
            ("printk ring", ring..ring + 0x200),
            ("printk records", ring + 0x1000..ring + 0x4c00),
            ("printk text", l.log_text()..l.log_text() + 0x1000),
        ];
        let found: Vec<_> = ranges
            .into_iter()
            .filter_map(|(name, range)| Some((name, file(range)?)))
            .collect();
        self.regions.extend(found);
    }

    fn notes_len(&self) -> usize {
        notes(self.machine, &self.vmcoreinfo).len()
    }
}

/// The notes of all CPUs, and VMCOREINFO.
pub(super) fn notes(machine: Machine, vmcoreinfo: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for cpu in 0..CPUS {
        let mut status = vec![0; machine.status_size()];
        status[32..36].copy_from_slice(&(100 + cpu).to_le_bytes());
        all.extend(elf::note(b"CORE\0", 1, &status));
    }
    if !vmcoreinfo.is_empty() {
        all.extend(elf::note(b"VMCOREINFO\0", 0, vmcoreinfo.as_bytes()));
    }
    all
}
