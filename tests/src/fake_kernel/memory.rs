//! Physical memory of a synthetic kernel: pages with a known pattern until something is written over them.

use std::collections::BTreeMap;
use std::ops::Range;

/// Physical memory, page by page; pages that were never added read as zeros.
#[derive(Clone, Debug)]
pub struct Memory {
    page: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Memory {
    /// No memory, with a page size.
    pub const fn new(page: u64) -> Self {
        Self {
            page,
            pages: BTreeMap::new(),
        }
    }

    /// The page size.
    pub const fn page_size(&self) -> u64 {
        self.page
    }

    /// Adds every page that `range` touches, filled with its pattern.
    pub fn add(&mut self, range: &Range<u64>) {
        let page = self.page;
        for pfn in range.start / page..range.end.div_ceil(page) {
            self.pages.entry(pfn).or_insert_with(|| pattern(pfn, page));
        }
    }

    /// Writes bytes at a physical address.
    pub fn write(&mut self, phys: u64, bytes: &[u8]) {
        let size = self.page;
        let mut at = phys;
        let mut rest = bytes;
        while !rest.is_empty() {
            let start = (at % size) as usize;
            let (now, later) = rest.split_at(rest.len().min(size as usize - start));
            let page = self
                .pages
                .entry(at / size)
                .or_insert_with(|| vec![0; size as usize]);
            page[start..start + now.len()].copy_from_slice(now);
            at += now.len() as u64;
            rest = later;
        }
    }

    /// Writes a little-endian number.
    pub fn write_u64(&mut self, phys: u64, value: u64) {
        self.write(phys, &value.to_le_bytes());
    }

    /// Fills a range with zeros.
    pub fn zero(&mut self, phys: u64, len: u64) {
        self.write(phys, &vec![0; len as usize]);
    }

    /// A number that was written.
    pub fn read_u64(&self, phys: u64) -> u64 {
        let at = (phys % self.page) as usize;
        let word = self
            .pages
            .get(&(phys / self.page))
            .and_then(|p| p[at..at + 8].try_into().ok());
        word.map_or(0, u64::from_le_bytes)
    }

    /// Every page that was added or written to.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.pages.iter().map(|(pfn, page)| (*pfn, page.as_slice()))
    }

    /// The bytes of a page.
    pub fn page(&self, pfn: u64) -> Vec<u8> {
        self.pages
            .get(&pfn)
            .cloned()
            .unwrap_or_else(|| vec![0; self.page as usize])
    }
}

/// What a page holds that nobody wrote to: zeros, noise that doesn't compress, or text that does, by its pfn.
pub fn pattern(pfn: u64, page: u64) -> Vec<u8> {
    match pfn % 7 {
        0 => vec![0; page as usize],
        1 | 2 => noise(pfn, page),
        _ => format!("page {pfn:#x} of the dead kernel\n")
            .into_bytes()
            .into_iter()
            .cycle()
            .take(page as usize)
            .collect(),
    }
}

/// xorshift64*: a page of noise that is always the same for a pfn.
fn noise(pfn: u64, page: u64) -> Vec<u8> {
    let mut state = pfn.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    };
    (0..page / 8).flat_map(|_| next()).collect()
}
