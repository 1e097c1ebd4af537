//! The text ring without its descriptors: what is left when they, or the ring's header, are destroyed.
//!
//! Upstream: `struct prb_data_block` in `kernel/printk/printk_ringbuffer.c`, Linux 5.10 to 7.2. A block is the id of its descriptor and the
//! text, padded to whole words; ids go up by one, but where CPUs wrote at the same time. Times are lost.

use super::keys;
use super::printer::Printer;
use super::record::Record;
use super::{LogError, MAX_DAMAGED};
use crate::kernel::virt::{VirtMem, Window};
use crate::vmcore::VmcoreInfo;
use std::ops::Range;

/// Of a larger ring the first part is searched.
const MOST: u64 = 4 << 20;
const WORD: usize = 8;
/// Ids are 62 bits wide.
const ID: u64 = u64::MAX >> 2;
/// By so much the ids of neighbours differ at most: CPUs take their ids before their blocks, and some records have no block.
const NEAR: u64 = 64;
/// Two blocks are no further apart.
const LONGEST: usize = 4096;

/// Writes what is text in the buffer that `log_buf` leads to, oldest first.
pub(super) fn write(
    mem: &VirtMem<'_>,
    info: &VmcoreInfo,
    printer: &mut Printer<'_>,
) -> Result<(), LogError> {
    let (buffer, len) = keys::log_buf(mem, info).map_err(LogError::NotFound)?;
    let ring = read(mem, buffer, len.min(MOST));
    let blocks = blocks(&ring);
    if blocks.is_empty() {
        return Err(LogError::NotFound("no text of the log is found".into()));
    }
    let note = "the log's descriptors are damaged: this is the text of its ring, without times and perhaps out of order";
    printer.summary.note(note);
    // The oldest block is behind the newest: there the ids fall back.
    let falls = blocks.windows(2).position(|two| match two {
        [(before, _), (after, _)] => {
            after.wrapping_sub(*before) & ID > ID / 2 && before.wrapping_sub(*after) & ID > NEAR
        }
        _ => false,
    });
    let (newer, older) = blocks.split_at(falls.map_or(0, |at| at + 1));
    for (_, text) in older.iter().chain(newer) {
        let text = ring.get(text.clone()).unwrap_or_default();
        let text = text.split(|b| *b == 0).next().unwrap_or_default();
        if !text.is_empty() {
            printer.record(&Record {
                text,
                ..Record::default()
            })?;
        }
    }
    Ok(())
}

/// The buffer; what cannot be read is zeros.
fn read(mem: &VirtMem<'_>, buffer: crate::addr::VirtAddr, len: u64) -> Vec<u8> {
    let mut window = Window::new(mem, buffer, len);
    let mut ring = Vec::new();
    let len = usize::try_from(len).unwrap_or(0);
    if ring.try_reserve_exact(len).is_err() {
        return ring;
    }
    ring.resize(len, 0);
    for (at, block) in (0u64..).step_by(LONGEST).zip(ring.chunks_mut(LONGEST)) {
        if window.read(at, block).is_err() {
            block.fill(0);
        }
    }
    ring
}

/// The ids and the texts of the blocks, in the order of the buffer.
fn blocks(ring: &[u8]) -> Vec<(u64, Range<usize>)> {
    let mut blocks: Vec<(u64, Range<usize>)> = Vec::new();
    let mut at = 0;
    let mut tried = 0;
    while let Some(id) = word(ring, at) {
        let last = blocks.last().map(|(id, range)| (*id, range.start));
        let follows = last.is_some_and(|(last, from)| at - from <= LONGEST && is_near(last, id));
        if follows || (is_id(id) && begins(ring, at, id, &mut tried)) {
            if let Some((_, range)) = blocks.last_mut() {
                range.end = range.end.min(at);
            }
            let start = at + WORD;
            blocks.push((id, start..ring.len().min(start + LONGEST)));
        }
        at += WORD;
    }
    blocks
}

/// Whether the block of the next id is not far: one word alone proves nothing.
fn begins(ring: &[u8], at: usize, id: u64, tried: &mut u64) -> bool {
    // Memory full of such words must not cost the square of its size.
    *tried += 1;
    if *tried > MAX_DAMAGED / 64 {
        return false;
    }
    let words = (at + 2 * WORD..(at + LONGEST).min(ring.len())).step_by(WORD);
    let mut words = words.filter_map(|at| word(ring, at));
    words.any(|next| next == (id + 1) & ID)
}

fn word(ring: &[u8], at: usize) -> Option<u64> {
    let bytes = ring.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// Ids begin a little below 2^62 and run over to 0; text has no such bytes.
fn is_id(word: u64) -> bool {
    word < 1 << 40 || (ID - (1 << 27)..=ID).contains(&word)
}

fn is_near(last: u64, id: u64) -> bool {
    id <= ID && id != last && (id.wrapping_sub(last) & ID).min(last.wrapping_sub(id) & ID) <= NEAR
}
