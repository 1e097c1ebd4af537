//! The printk ring buffer: descriptors and infos of fixed size, and a ring of text blocks.
//!
//! Upstream: `kernel/printk/printk_ringbuffer.{h,c}`. Holds for: Linux 5.10 to 7.2, with the change of 6.18 that lets a data block end
//! exactly at the end of the ring, and `struct printk_info` with and without CONFIG_PRINTK_EXECUTION_CTX (7.0).

use super::keys::{self, field, name};
use super::printer::Printer;
use super::record::Record;
use super::{LogError, MAX_DAMAGED, Summary};
use crate::addr::VirtAddr;
use crate::kernel::virt::{VirtMem, Window};
use crate::vmcore::VmcoreInfo;
use std::cmp::Ordering;

/// Rings larger than this are not believed: `log_buf_len=` takes at most 2^31 bytes, a record for each 32 of them.
const MAX_COUNT_BITS: u32 = 26;
const MAX_SIZE_BITS: u32 = 31;
/// Longest text of one record (`text_len` is 16 bits wide).
const MAX_TEXT: usize = 65535;
const WORD: u64 = 8;
/// A block is larger than its text by the padding, a line feed and a prefix that were cut off, and a NUL.
const SLACK: u64 = 16;
/// Data-less blocks: bit 0 set in both positions; 3 is an empty line, 1 a record whose text was lost.
const EMPTY_LINE: u64 = 3;
/// The state of a descriptor is in the two upper bits, its id in the others.
const ID: u64 = u64::MAX >> 2;

pub(super) struct Ring {
    pub(super) count: u64,
    pub(super) size: u64,
    pub(super) head: u64,
    pub(super) tail: u64,
    pub(super) descs: VirtAddr,
    pub(super) infos: VirtAddr,
    pub(super) data: VirtAddr,
    pub(super) layout: Layout,
}

#[derive(Default)]
pub(super) struct Layout {
    pub(super) desc_size: u64,
    pub(super) state: u64,
    pub(super) begin: u64,
    pub(super) next: u64,
    pub(super) info_size: u64,
    pub(super) ts_nsec: u64,
    pub(super) text_len: u64,
    pub(super) seq: Option<u64>,
    pub(super) caller: Option<u64>,
    /// Of `dev_info`.
    pub(super) device: Option<u64>,
    /// Offset in `dev_info` and length of its two names.
    pub(super) names: Option<[(u64, u64); 2]>,
}

/// What a descriptor holds.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// A record; its info and text are in the scratch buffers.
    Record,
    /// Reserved by a writer.
    Unfinished,
    /// Its text was lost.
    Textless,
    /// Given up already.
    Gone,
    Damaged,
}

/// The ring's arrays and room for one record.
struct Views<'a, 'm> {
    descs: Window<'a, 'm>,
    infos: Window<'a, 'm>,
    texts: Window<'a, 'm>,
    info: Vec<u8>,
    text: Vec<u8>,
}

/// Writes the log from the oldest record to the newest.
pub(super) fn write(
    mem: &VirtMem<'_>,
    info: &VmcoreInfo,
    printer: &mut Printer<'_>,
) -> Result<(), LogError> {
    let ring = Ring::find(mem, info).map_err(LogError::NotFound)?;
    let since = if printer.style.since_clear {
        clear_seq(mem, info).map_err(LogError::NotFound)?
    } else {
        0
    };
    printer.bound_by(ring.size);
    let layout = &ring.layout;
    let mut views = Views {
        descs: Window::new(mem, ring.descs, ring.count * layout.desc_size),
        infos: Window::new(mem, ring.infos, ring.count * layout.info_size),
        texts: Window::new(mem, ring.data, ring.size),
        info: Vec::new(),
        text: Vec::new(),
    };
    if ring.head.wrapping_sub(ring.tail) & ID < ring.count {
        ring.walk(ring.tail, ring.head, since, &mut views, printer)?;
        if printer.summary.records + printer.summary.cleared != 0 {
            return Ok(());
        }
    }
    // The ring's own ends lead nowhere: go by what the descriptors say.
    let Some(newest) = ring.newest(&mut views.descs) else {
        return Ok(());
    };
    printer.summary = Summary::default();
    printer.summary.note(
        "the log's ring does not say where it begins and ends: records may be missing or out of order",
    );
    let oldest = newest.wrapping_sub(ring.count - 1) & ID;
    ring.walk(oldest, newest, since, &mut views, printer)
}

/// Where the ring is, or the pointer to it.
pub(super) fn symbol(info: &VmcoreInfo) -> Option<(VirtAddr, bool)> {
    let at = |name| info.symbol(name).map(VirtAddr::new);
    let pointer = at("prb").map(|at| (at, true));
    // The ring that the kernel boots with, and keeps when no other size is asked for.
    pointer.or_else(|| Some((at("printk_rb_static")?, false)))
}

/// Descriptors, infos and texts.
pub(super) fn arrays(mem: &VirtMem<'_>, info: &VmcoreInfo) -> Option<Vec<(VirtAddr, u64)>> {
    let ring = Ring::find(mem, info).ok()?;
    let (descs, infos) = (ring.layout.desc_size, ring.layout.info_size);
    Some(vec![
        (ring.descs, ring.count * descs),
        (ring.infos, ring.count * infos),
        (ring.data, ring.size),
    ])
}

/// The sequence number of the first record after the last `dmesg -c`.
fn clear_seq(mem: &VirtMem<'_>, info: &VmcoreInfo) -> Result<u64, String> {
    let at = keys::symbol(info, "clear_seq")?;
    let Some(values) = info.offset("latched_seq.val") else {
        return keys::read_u64(mem, at);
    };
    // A latch: two copies, the lower bit of a sequence counter says which of them is valid.
    let index = u64::from(keys::read_u32(mem, at)? & 1);
    let by = values as u64 + WORD * index;
    keys::read_u64(mem, VirtAddr::new(at.raw().wrapping_add(by)))
}

impl Ring {
    fn find(mem: &VirtMem<'_>, info: &VmcoreInfo) -> Result<Self, String> {
        let offset = |name: &str| keys::offset(info, name);
        let at = |base: VirtAddr, by: u64| VirtAddr::new(base.raw().wrapping_add(by));
        let counter = info.offset("atomic_long_t.counter").unwrap_or(0) as u64;
        let (at_symbol, is_pointer) =
            symbol(info).ok_or("VMCOREINFO lacks SYMBOL(prb)".to_owned())?;
        let prb = if is_pointer {
            VirtAddr::new(keys::read_u64(mem, at_symbol)?)
        } else {
            at_symbol
        };
        let desc_ring = at(prb, offset("printk_ringbuffer.desc_ring")?);
        let data_ring = at(prb, offset("printk_ringbuffer.text_data_ring")?);
        let word = |base, name: &str, more: u64| -> Result<u64, String> {
            keys::read_u64(mem, at(base, offset(name)?.wrapping_add(more)))
        };
        let bits = |base, name: &str, max: u32| -> Result<u32, String> {
            let bits = keys::read_u32(mem, at(base, offset(name)?))?;
            if bits > max {
                return Err(format!("{name} is {bits}, at most {max} makes sense"));
            }
            Ok(bits)
        };
        Ok(Self {
            count: 1 << bits(desc_ring, "prb_desc_ring.count_bits", MAX_COUNT_BITS)?,
            size: 1 << bits(data_ring, "prb_data_ring.size_bits", MAX_SIZE_BITS)?,
            head: word(desc_ring, "prb_desc_ring.head_id", counter)? & ID,
            tail: word(desc_ring, "prb_desc_ring.tail_id", counter)? & ID,
            descs: VirtAddr::new(word(desc_ring, "prb_desc_ring.descs", 0)?),
            infos: VirtAddr::new(word(desc_ring, "prb_desc_ring.infos", 0)?),
            data: VirtAddr::new(word(data_ring, "prb_data_ring.data", 0)?),
            layout: Layout::find(info, counter)?,
        })
    }

    fn walk(
        &self,
        first: u64,
        last: u64,
        since: u64,
        views: &mut Views<'_, '_>,
        printer: &mut Printer<'_>,
    ) -> Result<(), LogError> {
        let mut id = first;
        // Every record has its own part of the ring, so all texts together are no longer than it.
        let mut room = self.size;
        for _ in 0..self.count {
            let summary = &mut printer.summary;
            match self.look(id, views, summary) {
                Found::Record => {
                    let Some(left) = room.checked_sub(views.text.len() as u64) else {
                        summary.note("the records of the log claim more text than its ring can hold: the rest is left out");
                        return Ok(());
                    };
                    room = left;
                    let record = self.layout.record(&views.info, &views.text);
                    if record.seq.is_some_and(|seq| seq < since) {
                        summary.cleared += 1;
                    } else {
                        printer.record(&record)?;
                    }
                }
                Found::Unfinished => summary.unfinished += 1,
                Found::Textless => summary.textless += 1,
                Found::Damaged => summary.damaged += 1,
                Found::Gone => {}
            }
            if printer.summary.damaged + printer.summary.unfinished > MAX_DAMAGED {
                printer
                    .summary
                    .note("too much of the log is damaged: the rest is left out");
                break;
            }
            if id == last {
                break;
            }
            id = (id + 1) & ID;
        }
        Ok(())
    }

    /// The highest id of a descriptor that holds a record at its place.
    fn newest(&self, descs: &mut Window<'_, '_>) -> Option<u64> {
        let (mut newest, mut failed): (Option<u64>, _) = (None, 0);
        for index in 0..self.count {
            let at = index * self.layout.desc_size + self.layout.state;
            let Ok(state) = descs.read_u64(at) else {
                failed += 1;
                if failed > MAX_DAMAGED {
                    break;
                }
                continue;
            };
            let id = state & ID;
            // Ids run over: of two the newer is at most half the way ahead.
            let newer = newest.is_none_or(|n| id.wrapping_sub(n) & ID < ID / 2);
            if matches!(state >> 62, 1 | 2) && id % self.count == index && newer {
                newest = Some(id);
            }
        }
        newest
    }

    /// Reads the record `id`, if there is one.
    fn look(&self, id: u64, views: &mut Views<'_, '_>, summary: &mut Summary) -> Found {
        let desc = id % self.count * self.layout.desc_size;
        let Ok(state) = views.descs.read_u64(desc + self.layout.state) else {
            return Found::Damaged;
        };
        match (state >> 62, state & ID) {
            // Committed or finalized.
            (1 | 2, found) if found == id => {}
            (0, found) if found == id => return Found::Unfinished,
            (3, found) if found == id => return Found::Gone,
            // The writer has the id and not yet the descriptor.
            (3, found) if found == id.wrapping_sub(self.count) & ID => return Found::Unfinished,
            // The same in the first round, in which descriptors are still all zeros.
            (0, 0) => return Found::Unfinished,
            _ => return Found::Damaged,
        }
        self.load(id, desc, views, summary)
            .unwrap_or(Found::Damaged)
    }

    fn load(
        &self,
        id: u64,
        desc: u64,
        views: &mut Views<'_, '_>,
        summary: &mut Summary,
    ) -> Option<Found> {
        let begin = views.descs.read_u64(desc + self.layout.begin).ok()?;
        let next = views.descs.read_u64(desc + self.layout.next).ok()?;
        let info_size = self.layout.info_size;
        views.info.resize(usize::try_from(info_size).ok()?, 0);
        let info = id % self.count * info_size;
        views.infos.read(info, &mut views.info).ok()?;
        views.text.clear();
        if begin & 1 != 0 && next & 1 != 0 {
            let empty = begin == EMPTY_LINE;
            return Some(if empty {
                Found::Record
            } else {
                Found::Textless
            });
        }
        let len = u16::from_le_bytes(field(&views.info, self.layout.text_len)?);
        let (at, room) = self.block(begin, next)?;
        if views.texts.read_u64(at - WORD).ok()? != id {
            // The text is shown all the same; it may be another record's.
            summary.damaged += 1;
        } else if room > u64::from(len) + SLACK {
            // Or only a part of it.
            summary.damaged += 1;
        }
        let len = usize::from(len).min(usize::try_from(room).unwrap_or(MAX_TEXT));
        views.text.resize(len, 0);
        views.texts.read(at, &mut views.text).ok()?;
        Some(Found::Record)
    }

    /// Where a block's text begins in the ring and how many bytes it can have; its first word is the record's id.
    pub(super) fn block(&self, begin: u64, next: u64) -> Option<(u64, u64)> {
        let (from, to) = (begin % self.size, next % self.size);
        if !from.is_multiple_of(WORD) || !to.is_multiple_of(WORD) {
            return None;
        }
        let (at, end) = match from.cmp(&to) {
            Ordering::Less => (from, to),
            // From 6.18 on: the block ends exactly where the ring does.
            Ordering::Greater if to == 0 => (from, self.size),
            // It did not fit before the end: it stands at the start of the ring.
            Ordering::Greater => (0, to),
            Ordering::Equal => return None,
        };
        Some((at + WORD, (end - at).checked_sub(WORD)?))
    }
}

impl Layout {
    fn find(info: &VmcoreInfo, counter: u64) -> Result<Self, String> {
        let offset = |name: &str| keys::offset(info, name);
        let perhaps = |name: &str| offset(name).ok();
        let names = |member: &str, length: &str| {
            let length = info.length(length).filter(|len| *len <= 256)?;
            Some((perhaps(member)?, length))
        };
        let begin = offset("prb_desc.text_blk_lpos")?;
        let layout = Self {
            desc_size: keys::size(info, "prb_desc")?,
            state: offset("prb_desc.state_var")? + counter,
            begin: begin + offset("prb_data_blk_lpos.begin")?,
            next: begin + offset("prb_data_blk_lpos.next")?,
            info_size: keys::size(info, "printk_info")?,
            ts_nsec: offset("printk_info.ts_nsec")?,
            text_len: offset("printk_info.text_len")?,
            seq: perhaps("printk_info.seq"),
            caller: perhaps("printk_info.caller_id"),
            device: perhaps("printk_info.dev_info"),
            names: names("dev_printk_info.subsystem", "printk_info_subsystem")
                .zip(names("dev_printk_info.device", "printk_info_device"))
                .map(Into::into),
        };
        let desc_end = layout.state.max(layout.begin).max(layout.next) + WORD;
        let info_end = (layout.ts_nsec + WORD).max(layout.text_len + 2);
        if desc_end > layout.desc_size || info_end > layout.info_size {
            return Err("VMCOREINFO puts fields of prb_desc or printk_info outside of them".into());
        }
        Ok(layout)
    }

    /// The record whose `struct printk_info` is `info`.
    fn record<'a>(&self, info: &'a [u8], text: &'a [u8]) -> Record<'a> {
        // The bytes between text_len and caller_id have no keys: the facility, then flags:5 and level:3.
        let syslog: Option<[u8; 2]> = self
            .caller
            .filter(|caller| *caller == self.text_len + 4)
            .and_then(|caller| field(info, caller - 2));
        let device = |which: usize| {
            let (at, len) = self.names?[which];
            name(info, self.device? + at, len)
        };
        // With CONFIG_PRINTK_EXECUTION_CTX the other caller and the task's name come before dev_info; they have no keys.
        let context = self
            .caller
            .filter(|caller| self.device == Some(caller + 24));
        Record {
            seq: self
                .seq
                .and_then(|at| field(info, at))
                .map(u64::from_le_bytes),
            time: Some(field(info, self.ts_nsec).map_or(0, u64::from_le_bytes)),
            level: syslog.map(|[_, flags]| flags >> 5),
            facility: syslog.map(|[facility, _]| facility),
            caller: self
                .caller
                .and_then(|at| field(info, at))
                .map(u32::from_le_bytes),
            other_caller: context
                .and_then(|at| field(info, at + 4))
                .map(u32::from_le_bytes),
            task: context.and_then(|at| name(info, at + 8, 16)),
            subsystem: device(0),
            device: device(1),
            text,
        }
    }
}
