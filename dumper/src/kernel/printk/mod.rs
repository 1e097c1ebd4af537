//! The dead kernel's log, from the printk ring buffer.
//!
//! Upstream: `kernel/printk/printk_ringbuffer.{h,c}`, `log_buf_vmcoreinfo_setup` in `kernel/printk/printk.c`. Holds for: Linux 5.10 and
//! later, with the change of 6.18 that lets a data block end exactly at the end of the ring.

use super::virt::{VirtMem, Window};
use crate::addr::VirtAddr;
use crate::vmcore::VmcoreInfo;
use std::io::{self, Write};

/// Rings larger than this are not believed: 2^26 records, 2^32 bytes of text.
const MAX_COUNT_BITS: u32 = 26;
const MAX_SIZE_BITS: u32 = 32;
/// Longest text of one record (`text_len` is 16 bits wide).
const MAX_TEXT: usize = 65535;
const WORD: u64 = 8;
/// Data-less blocks: bit 0 set in both positions; 3 is an empty line, 1 a record whose text was lost.
const EMPTY_LINE: u64 = 3;

/// Why the log cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be found.
    #[error("{0}")]
    NotFound(String),
    /// The output failed.
    #[error("{0}")]
    Output(#[from] io::Error),
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
    /// The first line of the last panic, without its time stamp.
    pub panic_line: Option<String>,
}

struct Ring {
    count: u64,
    size: u64,
    head: u64,
    tail: u64,
    descs: VirtAddr,
    infos: VirtAddr,
    data: VirtAddr,
    layout: Layout,
}

struct Layout {
    desc_size: u64,
    state: u64,
    begin: u64,
    next: u64,
    info_size: u64,
    ts_nsec: u64,
    text_len: u64,
}

/// Writes the whole log, a record a line, as `[    1.234567] text`.
///
/// # Errors
/// When the ring cannot be found or `out` fails. Single damaged records are passed over.
pub fn write(
    mem: &VirtMem<'_>,
    info: &VmcoreInfo,
    out: &mut dyn Write,
) -> Result<Summary, LogError> {
    let ring = Ring::find(mem, info).map_err(LogError::NotFound)?;
    let layout = &ring.layout;
    let mut descs = Window::new(mem, ring.descs, ring.count * layout.desc_size);
    let mut infos = Window::new(mem, ring.infos, ring.count * layout.info_size);
    let mut texts = Window::new(mem, ring.data, ring.size);
    let mut text = Vec::with_capacity(1024);
    let mut line = Vec::with_capacity(2048);
    let mut summary = Summary::default();
    let id_mask = u64::MAX >> 2;
    let mut id = ring.tail & id_mask;
    // Every record has its own part of the ring, so all texts together are no longer than it.
    let mut room = ring.size;
    for _ in 0..ring.count {
        if let Some(time) = ring.record(id, &mut descs, &mut infos, &mut texts, &mut text) {
            let Some(left) = room.checked_sub(text.len() as u64) else {
                break;
            };
            room = left;
            note_panic(&text, &mut summary);
            format_record(time, &text, &mut line);
            out.write_all(&line)?;
            summary.records += 1;
            summary.bytes += line.len() as u64;
        }
        if id == ring.head & id_mask {
            break;
        }
        id = (id + 1) & id_mask;
    }
    if summary.records == 0 {
        return Err(LogError::NotFound(
            "no record of the log's ring can be read".into(),
        ));
    }
    Ok(summary)
}

impl Ring {
    fn find(mem: &VirtMem<'_>, info: &VmcoreInfo) -> Result<Self, String> {
        let offset = |name: &str| {
            info.offset(name)
                .map(|o| o as u64)
                .ok_or_else(|| format!("VMCOREINFO lacks OFFSET({name})"))
        };
        let size = |name: &str| {
            let size = info
                .size(name)
                .ok_or_else(|| format!("VMCOREINFO lacks SIZE({name})"))?;
            if size > 4096 {
                Err(format!("SIZE({name})={size} is nonsense"))
            } else {
                Ok(size)
            }
        };
        let symbol = info
            .symbol("prb")
            .ok_or("VMCOREINFO lacks SYMBOL(prb): the kernel is older than 5.10 or has no log")?;
        let fail = |e: super::virt::VirtError| format!("the log's ring cannot be read: {e}");
        let at = |base: VirtAddr, by: u64| VirtAddr::new(base.raw().wrapping_add(by));
        let counter = info.offset("atomic_long_t.counter").unwrap_or(0) as u64;
        let prb = VirtAddr::new(mem.read_u64(VirtAddr::new(symbol)).map_err(fail)?);
        let desc_ring = at(prb, offset("printk_ringbuffer.desc_ring")?);
        let data_ring = at(prb, offset("printk_ringbuffer.text_data_ring")?);
        let word = |base, name: &str, more: u64| -> Result<u64, String> {
            mem.read_u64(at(base, offset(name)?.wrapping_add(more)))
                .map_err(fail)
        };
        let bits = |base, name: &str, max: u32| -> Result<u32, String> {
            let bits = word(base, name, 0)? & 0xffff_ffff;
            u32::try_from(bits)
                .ok()
                .filter(|b| *b <= max)
                .ok_or_else(|| format!("{name} is {bits}, at most {max} makes sense"))
        };
        let begin = offset("prb_desc.text_blk_lpos")?;
        let layout = Layout {
            desc_size: size("prb_desc")?,
            state: offset("prb_desc.state_var")? + counter,
            begin: begin + offset("prb_data_blk_lpos.begin")?,
            next: begin + offset("prb_data_blk_lpos.next")?,
            info_size: size("printk_info")?,
            ts_nsec: offset("printk_info.ts_nsec")?,
            text_len: offset("printk_info.text_len")?,
        };
        let desc_end = layout.state.max(layout.begin).max(layout.next) + WORD;
        if desc_end > layout.desc_size
            || layout.ts_nsec.max(layout.text_len) + WORD > layout.info_size
        {
            return Err("VMCOREINFO puts fields of prb_desc or printk_info outside of them".into());
        }
        Ok(Self {
            count: 1 << bits(desc_ring, "prb_desc_ring.count_bits", MAX_COUNT_BITS)?,
            size: 1 << bits(data_ring, "prb_data_ring.size_bits", MAX_SIZE_BITS)?,
            head: word(desc_ring, "prb_desc_ring.head_id", counter)?,
            tail: word(desc_ring, "prb_desc_ring.tail_id", counter)?,
            descs: VirtAddr::new(word(desc_ring, "prb_desc_ring.descs", 0)?),
            infos: VirtAddr::new(word(desc_ring, "prb_desc_ring.infos", 0)?),
            data: VirtAddr::new(word(data_ring, "prb_data_ring.data", 0)?),
            layout,
        })
    }

    /// Puts the text of record `id` into `text` and returns its time stamp; `None` when there is no such record.
    fn record(
        &self,
        id: u64,
        descs: &mut Window<'_, '_>,
        infos: &mut Window<'_, '_>,
        texts: &mut Window<'_, '_>,
        text: &mut Vec<u8>,
    ) -> Option<u64> {
        let index = id % self.count;
        let desc = index * self.layout.desc_size;
        let state = descs.read_u64(desc + self.layout.state).ok()?;
        // 1 = committed, 2 = finalized; 0 is still being written, 3 may be reused. The rest of the word is the id.
        if !matches!(state >> 62, 1 | 2) || state & (u64::MAX >> 2) != id {
            return None;
        }
        let begin = descs.read_u64(desc + self.layout.begin).ok()?;
        let next = descs.read_u64(desc + self.layout.next).ok()?;
        let info = index * self.layout.info_size;
        let time = infos.read_u64(info + self.layout.ts_nsec).ok()?;
        text.clear();
        if begin & 1 != 0 && next & 1 != 0 {
            return (begin == EMPTY_LINE).then_some(time);
        }
        let mut len = [0; 2];
        infos.read(info + self.layout.text_len, &mut len).ok()?;
        let (at, room) = self.block(begin, next)?;
        let len =
            usize::from(u16::from_le_bytes(len)).min(usize::try_from(room).unwrap_or(MAX_TEXT));
        text.resize(len, 0);
        texts.read(at, text).ok()?;
        Some(time)
    }

    /// Where a block's text begins in the ring and how many bytes it can have; its first word is the record's id.
    fn block(&self, begin: u64, next: u64) -> Option<(u64, u64)> {
        let (from, to) = (begin % self.size, next % self.size);
        if from % WORD != 0 || to % WORD != 0 {
            return None;
        }
        let (at, end) = match from.cmp(&to) {
            std::cmp::Ordering::Less => (from, to),
            // From 6.18 on: the block ends exactly where the ring does.
            std::cmp::Ordering::Greater if to == 0 => (from, self.size),
            // It did not fit before the end: it stands at the start of the ring.
            std::cmp::Ordering::Greater => (0, to),
            std::cmp::Ordering::Equal => return None,
        };
        Some((at + WORD, (end - at).checked_sub(WORD)?))
    }
}

/// `[    1.234567] text`; further lines of a record are indented by the prefix's length, bytes that are not printable become `\xNN`.
fn format_record(nsec: u64, text: &[u8], line: &mut Vec<u8>) {
    line.clear();
    let prefix = format!(
        "[{:5}.{:06}] ",
        nsec / 1_000_000_000,
        nsec % 1_000_000_000 / 1000
    );
    line.extend_from_slice(prefix.as_bytes());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => {
                    line.push(b'\n');
                    line.resize(line.len() + prefix.len(), b' ');
                }
                '\t' => line.push(b'\t'),
                c if c.is_control() => {
                    line.extend_from_slice(format!("\\x{:02x}", u32::from(c)).as_bytes())
                }
                c => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
    line.push(b'\n');
}

/// Remembers the line that names the panic: what follows later is the dump of registers and stacks.
fn note_panic(text: &[u8], summary: &mut Summary) {
    const MARKS: [&[u8]; 2] = [b"Kernel panic - not syncing", b"BUG: "];
    let first = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let strong = first.starts_with(MARKS[0]);
    let known_panic = summary
        .panic_line
        .as_deref()
        .is_some_and(|l| l.starts_with("Kernel panic"));
    if strong || (first.starts_with(MARKS[1]) && !known_panic) {
        summary.panic_line =
            Some(String::from_utf8_lossy(&first[..first.len().min(512)]).into_owned());
    }
}

#[cfg(test)]
mod tests;
