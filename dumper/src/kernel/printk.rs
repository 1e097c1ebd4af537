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
mod tests {
    use super::*;
    use crate::addr::PhysAddr;
    use crate::arch::{Mapping, PageTables, TranslateError};
    use crate::vmcore::{PhysMem, ReadError, ReadFault};
    use std::cell::Cell;

    /// 64 KiB that repeat up to physical `end`.
    struct Repeated {
        bytes: Vec<u8>,
        end: u64,
        refused: Cell<u64>,
    }

    impl PhysMem for Repeated {
        fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
            if addr.raw() >= self.end {
                self.refused.set(self.refused.get() + 1);
                let (len, why) = (buf.len(), ReadFault::Hole);
                return Err(ReadError { addr, len, why });
            }
            for (byte, at) in buf.iter_mut().zip(addr.raw()..) {
                *byte = self.bytes[usize::try_from(at & 0xffff).unwrap()];
            }
            Ok(())
        }
    }

    impl PageTables for Repeated {
        fn translate(&self, _: &dyn PhysMem, addr: VirtAddr) -> Result<Mapping, TranslateError> {
            let start = VirtAddr::new(addr.raw() & !0xffff);
            let phys = PhysAddr::new(addr.raw());
            let size = 0x10000;
            Ok(Mapping { phys, start, size })
        }
        fn kernel_base(&self) -> VirtAddr {
            VirtAddr::new(0)
        }
    }

    /// A ring of 2^20 records, 100 of them real, with its descriptors from 0x11000 on.
    fn ring(text_len: u16, end: u64) -> (Repeated, VmcoreInfo) {
        let mut keys = String::from("SYMBOL(prb)=100\nSIZE(prb_desc)=24\nSIZE(printk_info)=24\n");
        for (name, value) in [
            ("printk_ringbuffer.desc_ring", 0),
            ("printk_ringbuffer.text_data_ring", 64),
            ("prb_desc_ring.count_bits", 0),
            ("prb_desc_ring.head_id", 8),
            ("prb_desc_ring.tail_id", 16),
            ("prb_desc_ring.descs", 24),
            ("prb_desc_ring.infos", 32),
            ("prb_data_ring.size_bits", 0),
            ("prb_data_ring.data", 8),
            ("prb_desc.state_var", 0),
            ("prb_desc.text_blk_lpos", 8),
            ("prb_data_blk_lpos.begin", 0),
            ("prb_data_blk_lpos.next", 8),
            ("printk_info.ts_nsec", 0),
            ("printk_info.text_len", 16),
        ] {
            keys += &format!("OFFSET({name})={value}\n");
        }
        let mut bytes = vec![0; 0x10000];
        let mut put =
            |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        put(0x100, 0x200);
        for (at, value) in [(0, 20), (8, 1 << 40), (24, 0x1_1000), (32, 0x4000)] {
            put(0x200 + at, value);
        }
        put(0x240, 15);
        put(0x248, 0x8000);
        for record in 0..100 {
            put(0x1000 + 24 * record, (2 << 62) | record as u64);
            put(0x1000 + 24 * record + 16, 0x7ff8);
            put(0x4000 + 24 * record + 16, text_len.into());
        }
        let memory = Repeated {
            bytes,
            end,
            refused: Cell::new(0),
        };
        (memory, VmcoreInfo::parse(keys.as_bytes()))
    }

    #[test]
    fn a_ring_of_lies_has_an_end() {
        let (memory, info) = ring(0x3000, u64::MAX);
        let mut out = Vec::new();
        let summary = write(&VirtMem::new(&memory, &memory), &info, &mut out).unwrap();
        assert_eq!(
            summary.records, 2,
            "no more text than the ring has room for"
        );
        let (memory, info) = ring(8, 0x1_0000);
        let nothing = write(&VirtMem::new(&memory, &memory), &info, &mut out);
        assert!(matches!(nothing, Err(LogError::NotFound(_))));
        assert!(memory.refused.get() < 10_000, "{}", memory.refused.get());
    }

    #[test]
    fn lines_as_the_kernel_shows_them() {
        let mut line = Vec::new();
        format_record(1_234_567_890, b"one\ntwo\x01 \xff\xc3\xa9", &mut line);
        assert_eq!(
            line,
            "[    1.234567] one\n               two\\x01 \\xff\u{e9}\n".as_bytes()
        );
    }

    #[test]
    fn blocks_normal_wrapped_and_at_the_end() {
        let layout = Layout {
            desc_size: 24,
            state: 0,
            begin: 8,
            next: 16,
            info_size: 88,
            ts_nsec: 8,
            text_len: 16,
        };
        let zero = VirtAddr::new(0);
        let ring = Ring {
            count: 4,
            size: 1024,
            head: 0,
            tail: 0,
            descs: zero,
            infos: zero,
            data: zero,
            layout,
        };
        assert_eq!(ring.block(64, 128), Some((72, 56)));
        assert_eq!(ring.block(1024 + 1000, 2048 + 64), Some((8, 56)));
        assert_eq!(ring.block(1000, 1024), Some((1008, 16)));
        assert_eq!(ring.block(64, 64), None);
        assert_eq!(ring.block(3, 64), None);
    }

    #[test]
    fn the_panic_line_is_the_panic_not_the_bug_before() {
        let mut summary = Summary::default();
        note_panic(
            b"BUG: kernel NULL pointer dereference, address: 0",
            &mut summary,
        );
        note_panic(
            b"Kernel panic - not syncing: Fatal exception\nmore",
            &mut summary,
        );
        note_panic(b"BUG: later", &mut summary);
        assert_eq!(
            summary.panic_line.as_deref(),
            Some("Kernel panic - not syncing: Fatal exception")
        );
    }
}
