//! An ELF vmcore in the layout of /proc/vmcore (fs/proc/vmcore.c): one merged PT_NOTE, PT_LOADs rounded out to whole pages.

use super::machine::Machine;
use super::memory::Memory;

/// One PT_LOAD.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Virtual address.
    pub virt: u64,
    /// Physical address.
    pub phys: u64,
    /// Bytes, need not be whole pages.
    pub size: u64,
}

/// What the file holds around a segment to whole pages: it belongs to nobody.
const NOT_IN_A_SEGMENT: u8 = 0xee;

/// A note, padded.
pub fn note(name: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [name.len() as u32, desc.len() as u32, kind] {
        out.extend(word.to_le_bytes());
    }
    for part in [name, desc] {
        out.extend(part);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// File offset of the notes for a number of segments.
pub fn notes_offset(segments: usize, page: u64) -> u64 {
    (64 + 56 * (1 + segments as u64)).next_multiple_of(page)
}

/// The file offsets of the segments' first bytes.
pub fn offsets(notes: usize, segments: &[Segment], page: u64) -> Vec<u64> {
    let mut at = (notes_offset(segments.len(), page) + notes as u64).next_multiple_of(page);
    let mut all = Vec::new();
    for s in segments {
        all.push(at + s.phys % page);
        at += (s.phys + s.size).next_multiple_of(page) - s.phys / page * page;
    }
    all
}

/// The whole file.
pub fn write(machine: Machine, notes: &[u8], segments: &[Segment], memory: &Memory) -> Vec<u8> {
    let page = memory.page_size();
    let offsets = offsets(notes.len(), segments, page);
    let placed: Vec<_> = segments.iter().copied().zip(offsets).collect();
    let mut out = headers(machine, notes, &placed, page);
    for s in segments {
        for pfn in s.phys / page..(s.phys + s.size).div_ceil(page) {
            out.extend(clip(memory.page(pfn), pfn, s));
        }
    }
    out
}

/// What comes before the memory: headers and notes, to a whole page. Segments come with the file offsets of their first bytes.
pub fn headers(machine: Machine, notes: &[u8], segments: &[(Segment, u64)], page: u64) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    for half in [4u16, machine.elf()] {
        out.extend(half.to_le_bytes());
    }
    out.extend(1u32.to_le_bytes());
    for word in [0u64, 64, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0u32.to_le_bytes());
    for half in [64, 56, 1 + segments.len() as u16, 0, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    let len = notes.len() as u64;
    header(
        &mut out,
        4,
        0,
        [notes_offset(segments.len(), page), 0, 0, len, len, 0],
    );
    for (s, offset) in segments {
        header(&mut out, 1, 7, [*offset, s.virt, s.phys, s.size, s.size, 0]);
    }
    out.resize(notes_offset(segments.len(), page) as usize, 0);
    out.extend(notes);
    out.resize(out.len().next_multiple_of(page as usize), 0);
    out
}

fn header(out: &mut Vec<u8>, kind: u32, flags: u32, words: [u64; 6]) {
    out.extend(kind.to_le_bytes());
    out.extend(flags.to_le_bytes());
    out.extend(words.into_iter().flat_map(u64::to_le_bytes));
}

/// Overwrites the bytes of a page that are outside of the segment.
fn clip(mut page: Vec<u8>, pfn: u64, s: &Segment) -> Vec<u8> {
    let start = pfn * page.len() as u64;
    for (i, byte) in page.iter_mut().enumerate() {
        if !(s.phys..s.phys + s.size).contains(&(start + i as u64)) {
            *byte = NOT_IN_A_SEGMENT;
        }
    }
    page
}
