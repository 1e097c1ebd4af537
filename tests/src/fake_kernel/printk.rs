//! A printk ring buffer with records in it, written the way the kernel writes them (kernel/printk/printk_ringbuffer.c, 5.10 to 7.1).

use super::memory::Memory;

/// log2 of the number of descriptors.
const COUNT_BITS: u32 = 7;
/// Descriptors.
pub const COUNT: u64 = 1 << COUNT_BITS;
/// Size of `struct prb_desc`.
pub const DESC: u64 = 24;
/// Size of `struct printk_info`.
pub const INFO: u64 = 88;
/// log2 of the size of the text ring.
const TEXT_BITS: u32 = 12;
/// Size of the text ring.
pub const TEXT: u64 = 1 << TEXT_BITS;
/// Descriptor ids have 62 bits.
const ID_MASK: u64 = (1 << 62) - 1;
/// The first id, as the kernel chooses it: it overflows soon.
const FIRST_ID: u64 = ID_MASK - COUNT - 40;
/// The first text position, near its overflow too.
const FIRST_LPOS: u64 = 0u64.wrapping_sub(3 * TEXT);
/// Position of a record whose text was lost.
const FAILED: u64 = 1;
/// Position of a record without text.
const EMPTY: u64 = 3;

/// The state of a record's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A writer had not finished it.
    Reserved = 0,
    /// Written, may still grow.
    Committed = 1,
    /// Written.
    Finalized = 2,
    /// Its text may be overwritten already.
    Reusable = 3,
}

/// What is to be in the log.
#[derive(Clone, Debug)]
pub enum Text {
    /// Text, maybe of several lines.
    Is(Vec<u8>),
    /// An empty line: a record without a text block.
    Empty,
    /// There was no room for the text.
    Failed,
}

/// One record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Nanoseconds since boot.
    pub time: u64,
    /// Its text.
    pub text: Text,
    /// The state of its descriptor.
    pub state: State,
}

impl Record {
    /// A finished record.
    pub fn new(time: u64, text: &str) -> Self {
        Self {
            time,
            text: Text::Is(text.into()),
            state: State::Finalized,
        }
    }
}

/// Where the parts of the ring are.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Physical address of `struct printk_ringbuffer`.
    pub ring: u64,
    /// Physical and virtual address of the descriptors.
    pub descs: (u64, u64),
    /// Of the infos.
    pub infos: (u64, u64),
    /// Of the text ring.
    pub text: (u64, u64),
    /// Offset of the text ring in `struct printk_ringbuffer`.
    pub text_ring: u64,
}

/// Writes the ring and returns the log that a reader must get from it.
///
/// `end_stays`: a block that ends exactly at the end of the text ring stays there (6.18 and later), else it moves to the start.
pub fn write(memory: &mut Memory, places: &Places, records: &[Record], end_stays: bool) -> String {
    let (mut head, mut tail) = (FIRST_LPOS, None);
    let mut blocks = Vec::new();
    for record in records {
        let (begin, next, data) = match &record.text {
            Text::Empty => (EMPTY, EMPTY, None),
            Text::Failed => (FAILED, FAILED, None),
            Text::Is(text) => {
                let (begin, next, data) = reserve(head, 8 + text.len() as u64, end_stays);
                head = next;
                (begin, next, Some((data, text)))
            }
        };
        blocks.push((begin, next, data));
    }
    let first = records.len().saturating_sub(COUNT as usize - 1);
    let (mut expected, mut id) = (String::new(), FIRST_ID.wrapping_add(first as u64) & ID_MASK);
    let tail_id = id;
    memory.zero(places.descs.0, COUNT * DESC);
    memory.zero(places.infos.0, COUNT * INFO);
    for (record, (begin, next, data)) in records.iter().zip(&blocks).skip(first) {
        // A text that another one has overwritten since: the kernel made its descriptor reusable before.
        let overwritten = data.is_some() && head.wrapping_sub(*begin) > TEXT;
        let state = if overwritten {
            State::Reusable
        } else {
            record.state
        };
        let index = id % COUNT;
        let desc = places.descs.0 + index * DESC;
        memory.write_u64(desc, (state as u64) << 62 | id);
        memory.write_u64(desc + 8, *begin);
        memory.write_u64(desc + 16, *next);
        info(memory, places.infos.0 + index * INFO, record);
        if let Some((at, text)) = data.as_ref().filter(|_| !overwritten) {
            tail = tail.or(Some(*begin));
            memory.write_u64(places.text.0 + at, id);
            memory.write(places.text.0 + at + 8, text);
        }
        if matches!(state, State::Committed | State::Finalized) {
            line(&mut expected, record);
        }
        id = (id + 1) & ID_MASK;
    }
    rings(
        memory,
        places,
        [tail_id, id.wrapping_sub(1) & ID_MASK],
        [tail.unwrap_or(head), head],
    );
    expected
}

/// The logical positions of a new block, and where its first byte is in the text ring.
fn reserve(head: u64, len: u64, end_stays: bool) -> (u64, u64, u64) {
    let size = len.next_multiple_of(8);
    let next = head.wrapping_add(size);
    let last = if end_stays {
        next.wrapping_sub(1)
    } else {
        next
    };
    if head >> TEXT_BITS == last >> TEXT_BITS {
        return (head, next, head % TEXT);
    }
    (head, (next >> TEXT_BITS << TEXT_BITS).wrapping_add(size), 0)
}

fn info(memory: &mut Memory, at: u64, record: &Record) {
    let len = if let Text::Is(text) = &record.text {
        text.len()
    } else {
        0
    };
    memory.write_u64(at, 1);
    memory.write_u64(at + 8, record.time);
    memory.write(at + 16, &(len as u16).to_le_bytes());
    memory.write(at + 18, &[0, 6 << 5]);
    memory.write(at + 20, &(0x8000_0000u32 | 1).to_le_bytes());
}

fn rings(memory: &mut Memory, places: &Places, ids: [u64; 2], positions: [u64; 2]) {
    let ring = places.ring;
    memory.zero(ring, 96);
    memory.write(ring, &COUNT_BITS.to_le_bytes());
    memory.write_u64(ring + 8, places.descs.1);
    memory.write_u64(ring + 16, places.infos.1);
    memory.write_u64(ring + 24, ids[1]);
    memory.write_u64(ring + 32, ids[0]);
    let text = ring + places.text_ring;
    memory.write(text, &TEXT_BITS.to_le_bytes());
    memory.write_u64(text + 8, places.text.1);
    memory.write_u64(text + 16, positions[1]);
    memory.write_u64(text + 24, positions[0]);
}

/// `[%5lu.%06lu] [%8s] `, further lines indented as far, bytes that can't be printed as `\xNN`.
fn line(out: &mut String, record: &Record) {
    let text = match &record.text {
        Text::Is(text) => text.as_slice(),
        Text::Empty => &[],
        Text::Failed => return,
    };
    let prefix = format!(
        "[{:5}.{:06}] [{:>8}] ",
        record.time / 1_000_000_000,
        record.time % 1_000_000_000 / 1000,
        "C1"
    );
    out.push_str(&prefix);
    for &byte in text {
        match byte {
            b'\n' => {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', prefix.len()));
            }
            b' '..=b'~' | b'\t' => out.push(byte.into()),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('\n');
}
