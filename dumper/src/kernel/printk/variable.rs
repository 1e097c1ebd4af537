//! Records of variable length one after the other in `log_buf`.
//!
//! Upstream: `struct printk_log` (`struct log` before 3.11) in `kernel/printk/printk.c`. Holds for: Linux 3.5 to 5.9. A record is its
//! header, its text, a dictionary, and padding; one of length 0 says that the next is at the start of the buffer.

use super::keys::{self, field};
use super::printer::Printer;
use super::record::Record;
use super::{LogError, MAX_DAMAGED, Summary};
use crate::addr::VirtAddr;
use crate::kernel::virt::{VirtMem, Window};
use crate::vmcore::VmcoreInfo;

/// Records begin at multiples of this at least.
const ALIGN: u64 = 4;
/// What cannot be read is passed over in blocks of this size.
const BLOCK: u64 = 4096;
/// Places that are tried to find the next record after a damaged one: 16 MiB of damage.
const MAX_STEPS: u64 = 1 << 22;
/// Padding is shorter.
const MAX_PADDING: u64 = 8;

struct Log {
    buffer: VirtAddr,
    len: u64,
    /// Index of the first record, and of the first one that is not there yet.
    first: u64,
    next: u64,
    layout: Layout,
}

/// Offsets in the header.
struct Layout {
    size: u64,
    ts_nsec: u64,
    len: u64,
    text_len: u64,
    dict_len: u64,
    caller: Option<u64>,
}

/// The lengths that a header names.
#[derive(Clone, Copy)]
struct Lengths {
    record: u64,
    text: u64,
    dict: u64,
}

/// Writes the log from the oldest record to the newest.
pub(super) fn write(
    mem: &VirtMem<'_>,
    info: &VmcoreInfo,
    printer: &mut Printer<'_>,
) -> Result<(), LogError> {
    let log = Log::find(mem, info).map_err(LogError::NotFound)?;
    printer.bound_by(log.len);
    let mut skipping = None;
    if printer.style.since_clear {
        let clear = keys::symbol(info, "clear_idx").and_then(|at| keys::read_u32(mem, at));
        let clear = u64::from(clear.map_err(LogError::NotFound)?);
        // 0 is where it stands until the first `dmesg -c`; a record that is overwritten is not met again.
        let mut window = Window::new(mem, log.buffer, log.len);
        let mut met = clear == log.next;
        let mut look = |at: u64, _: &Record<'_>, _: &mut Summary| {
            met |= at == clear;
            Ok(())
        };
        log.walk(&mut window, &mut Summary::default(), &mut look)?;
        skipping = (met && clear != 0).then_some(clear);
    }
    let mut window = Window::new(mem, log.buffer, log.len);
    let mut counts = Summary::default();
    let mut print = |at: u64, record: &Record<'_>, counts: &mut Summary| {
        skipping = skipping.filter(|clear| *clear != at);
        if skipping.is_some() {
            counts.cleared += 1;
            return Ok(());
        }
        printer.record(record)
    };
    let walked = log.walk(&mut window, &mut counts, &mut print);
    let summary = &mut printer.summary;
    (summary.cleared, summary.damaged) = (counts.cleared, counts.damaged);
    summary.notes = counts.notes;
    walked
}

type Visit<'a> = dyn FnMut(u64, &Record<'_>, &mut Summary) -> Result<(), LogError> + 'a;

impl Log {
    fn find(mem: &VirtMem<'_>, info: &VmcoreInfo) -> Result<Self, String> {
        let (buffer, len) = keys::log_buf(mem, info)?;
        let index = |name: &str| -> Result<u64, String> {
            let index = keys::read_u32(mem, keys::symbol(info, name)?)?;
            Ok(index.into())
        };
        Ok(Self {
            buffer,
            len,
            first: index("log_first_idx")?,
            next: index("log_next_idx")?,
            layout: Layout::find(info)?,
        })
    }

    /// Shows every record with its index to `visit`. It ends: every step leads on, and at most once back to the start.
    fn walk(
        &self,
        window: &mut Window<'_, '_>,
        summary: &mut Summary,
        visit: &mut Visit<'_>,
    ) -> Result<(), LogError> {
        let (mut head, mut body) = (Vec::new(), Vec::new());
        let (mut at, mut wrapped) = (self.first, false);
        if at >= self.len {
            summary.note(
                "log_first_idx is outside of the log: it is read from the start of its buffer",
            );
            (at, wrapped) = (0, true);
        }
        while at != self.next {
            if (wrapped || self.first < self.next) && at > self.next && self.next < self.len {
                summary.note("the records of the log go beyond log_next_idx: the rest is left out");
                break;
            }
            if wrapped && at >= self.first && self.next >= self.len {
                summary.note("log_next_idx is outside of the log: all of its buffer is read");
                break;
            }
            let lengths = self.header(window, at, &mut head);
            let goes_on_at_start = !wrapped && (self.next < self.first || self.next >= self.len);
            if lengths.is_some_and(|l| l.record == 0) && goes_on_at_start {
                match self.overwritten(window, at, &mut head) {
                    Some(next) => (at, summary.damaged) = (next, summary.damaged + 1),
                    None => (at, wrapped) = (0, true),
                }
                continue;
            }
            let Some(lengths) = lengths.filter(|l| self.fits(at, l)) else {
                summary.damaged += 1;
                if summary.damaged > MAX_DAMAGED {
                    summary.note("too much of the log is damaged: the rest is left out");
                    break;
                }
                match self.resume(window, at, &mut head) {
                    Some(next) => at = next,
                    None if goes_on_at_start => (at, wrapped) = (0, true),
                    None => break,
                }
                continue;
            };
            let text = usize::try_from(lengths.text).unwrap_or(0);
            body.resize(text + usize::try_from(lengths.dict).unwrap_or(0), 0);
            if window.read(at + self.layout.size, &mut body).is_ok() {
                let (text, dict) = body.split_at(text);
                visit(at, &self.layout.record(&head, text, dict), summary)?;
            } else {
                summary.damaged += 1;
            }
            at += lengths.record;
        }
        Ok(())
    }

    fn header(&self, window: &mut Window<'_, '_>, at: u64, head: &mut Vec<u8>) -> Option<Lengths> {
        head.resize(usize::try_from(self.layout.size).ok()?, 0);
        window.read(at, head).ok()?;
        let length = |at| Some(u64::from(u16::from_le_bytes(field(head, at)?)));
        Some(Lengths {
            record: length(self.layout.len)?,
            text: length(self.layout.text_len)?,
            dict: length(self.layout.dict_len)?,
        })
    }

    fn fits(&self, at: u64, lengths: &Lengths) -> bool {
        let content = self.layout.size + lengths.text + lengths.dict;
        lengths.record >= content && at + lengths.record <= self.len
    }

    /// Where the records go on behind zeros at `at` that do not mean that the next one is at the start of the buffer: it is moved
    /// there only when it has no room here.
    fn overwritten(&self, window: &mut Window<'_, '_>, at: u64, head: &mut Vec<u8>) -> Option<u64> {
        let moved = self.header(window, 0, head)?;
        if at + moved.record + self.layout.size > self.len {
            return None;
        }
        self.resume(window, at, head)
    }

    /// The next place where a record seems to begin: its lengths agree, and those of the one that follows it.
    fn resume(&self, window: &mut Window<'_, '_>, from: u64, head: &mut Vec<u8>) -> Option<u64> {
        let end = if self.next > from {
            self.next.min(self.len)
        } else {
            self.len
        };
        let agrees = |at: u64, lengths: &Lengths| {
            let content = self.layout.size + lengths.text + lengths.dict;
            let exact =
                lengths.record.is_multiple_of(ALIGN) && lengths.record < content + MAX_PADDING;
            (exact && self.fits(at, lengths)).then_some(at + lengths.record)
        };
        let mut at = from.next_multiple_of(ALIGN) + ALIGN;
        for _ in 0..MAX_STEPS {
            if at >= end {
                break;
            }
            let Some(lengths) = self.header(window, at, head) else {
                // What cannot be read is passed over in blocks.
                at = (at + 1).next_multiple_of(BLOCK);
                continue;
            };
            if let Some(next) = agrees(at, &lengths) {
                let ends = next == self.next || next >= end;
                let mut follows = || {
                    let lengths = self.header(window, next, head)?;
                    agrees(next, &lengths)
                };
                if ends || follows().is_some() {
                    return Some(at);
                }
            }
            at += ALIGN;
        }
        None
    }
}

impl Layout {
    fn find(info: &VmcoreInfo) -> Result<Self, String> {
        let name = if info.size("printk_log").is_some() {
            "printk_log"
        } else {
            "log"
        };
        let offset = |member: &str| keys::offset(info, &format!("{name}.{member}"));
        let text_len = offset("text_len")?;
        let layout = Self {
            size: keys::size(info, name)?,
            ts_nsec: offset("ts_nsec")?,
            len: offset("len")?,
            text_len,
            // The first kernels do not export it.
            dict_len: offset("dict_len").unwrap_or(text_len + 2),
            caller: offset("caller_id").ok(),
        };
        let lengths = layout.len.max(layout.text_len).max(layout.dict_len) + 2;
        if lengths.max(layout.ts_nsec + 8) > layout.size {
            return Err(format!("VMCOREINFO puts fields of {name} outside of it"));
        }
        Ok(layout)
    }

    fn record<'a>(&self, head: &[u8], text: &'a [u8], dict: &'a [u8]) -> Record<'a> {
        // The bytes after dict_len have no keys: the facility, then flags:5 and level:3.
        let syslog: Option<[u8; 2]> = field(head, self.dict_len + 2);
        let entry = |key: &[u8]| {
            let mut entries = dict.split(|b| *b == 0);
            entries
                .find_map(|e| e.strip_prefix(key))
                .filter(|v| !v.is_empty())
        };
        Record {
            time: Some(field(head, self.ts_nsec).map_or(0, u64::from_le_bytes)),
            level: syslog.map(|[_, flags]| flags >> 5),
            facility: syslog.map(|[facility, _]| facility),
            caller: self
                .caller
                .and_then(|at| field(head, at))
                .map(u32::from_le_bytes),
            subsystem: entry(b"SUBSYSTEM="),
            device: entry(b"DEVICE="),
            text,
            ..Record::default()
        }
    }
}
