//! The dead kernel's log, in the three formats that Linux has had.
//!
//! Upstream: `log_buf_vmcoreinfo_setup` (`log_buf_kexec_setup` before 4.10) in `kernel/printk/printk.c`. Which format it is, VMCOREINFO
//! says by its symbols, not by the version: `prb` is the printk_ringbuffer (5.10 and later), `log_next_idx` records of variable length
//! (3.5 to 5.9), `log_end` a ring of bytes (3.4 and before). Holds up to Linux 7.2.
//!
//! Nothing is read but PAGESIZE, the keys of the page tables and those of the log; records are read in blocks, never the whole log.

mod byte_ring;
mod carve;
mod keys;
mod printer;
mod reason;
mod record;
mod ring;
mod variable;

use super::virt::VirtMem;
use crate::addr::VirtAddr;
use crate::vmcore::VmcoreInfo;
use printer::Printer;
pub use reason::Place;
use std::io::{self, Write};

/// After so many damaged records the rest is not tried: it bounds the time that a log of lies takes.
const MAX_DAMAGED: u64 = 1 << 22;

/// The text of a log of which nobody said that it is larger takes no more bytes in any form.
const LEAST_BOUND: u64 = 64 << 20;
/// Of larger logs, which `log_buf_len=` can make, so much is written at most: whole structures may claim the same bytes.
const MOST_BOUND: u64 = 256 << 20;

/// Why the log cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be found.
    #[error("{0}")]
    NotFound(String),
    /// The output failed.
    #[error("{0}")]
    Output(#[from] io::Error),
    /// More was to be written than a log can have: the rest is left out. [`write`] makes a note of it.
    #[error("the log claims more text than it can have: the rest is left out")]
    Full,
}

/// In which form records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `[    1.234567] [      T1] text`, as makedumpfile writes it.
    #[default]
    Text,
    /// `<6>[    1.234567] [      T1] text`, bytes as they are.
    Raw,
    /// A JSON object a line.
    Json,
}

/// How the log is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// The form.
    pub form: Form,
    /// With the thread or CPU that wrote the message, where the kernel kept it.
    pub callers: bool,
    /// Only what came after the last `dmesg -c`.
    pub since_clear: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            form: Form::Text,
            callers: true,
            since_clear: false,
        }
    }
}

/// What was written, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records; of a ring of bytes its lines.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
    /// The line of the last crash that says most, without its time stamp.
    pub panic_line: Option<String>,
    /// Where that was.
    pub panic_place: Place,
    /// Records that were cleared before and not asked for.
    pub cleared: u64,
    /// Records that a CPU had not finished writing: left out.
    pub unfinished: u64,
    /// Records whose text the kernel had no room for: left out.
    pub textless: u64,
    /// Records or blocks that cannot be read or make no sense.
    pub damaged: u64,
    /// What else is to be said.
    pub notes: Vec<String>,
}

impl Summary {
    /// Sentences about what is not in the output although it was asked for.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let counted = [
            (self.unfinished, "were still being written"),
            (self.textless, "have lost their text for want of room"),
            (self.damaged, "are damaged or cannot be read"),
        ];
        let counted = counted.iter().filter(|(count, _)| *count != 0);
        let counted =
            counted.map(|(count, what)| format!("records of the log that {what}: {count}"));
        self.notes.iter().cloned().chain(counted).collect()
    }

    fn note(&mut self, text: &str) {
        if !self.notes.iter().any(|note| note == text) {
            self.notes.push(text.to_owned());
        }
    }
}

/// Writes the whole log.
///
/// # Errors
/// When the log cannot be found or `out` fails. Single damaged records are passed over and counted.
pub fn write(
    mem: &VirtMem<'_>,
    info: &VmcoreInfo,
    style: Style,
    out: &mut dyn Write,
) -> Result<Summary, LogError> {
    let mut printer = Printer::new(style, out);
    let written = if ring::symbol(info).is_some() {
        ring::write(mem, info, &mut printer)
    } else if info.symbol("log_next_idx").is_some() {
        variable::write(mem, info, &mut printer)
    } else if info.symbol("log_end").is_some() {
        byte_ring::write(mem, info, &mut printer)
    } else {
        return Err(LogError::NotFound(
            "VMCOREINFO has none of SYMBOL(prb), SYMBOL(log_next_idx) and SYMBOL(log_end): the kernel keeps no log or does not say where"
                .into(),
        ));
    };
    match written {
        Err(full @ LogError::Full) => printer.summary.note(&full.to_string()),
        written => written?,
    }
    let summary = printer.into_summary();
    if summary.records == 0 && summary.bytes == 0 && summary.cleared == 0 && !style.since_clear {
        return Err(LogError::NotFound(
            "no record of the log can be read".into(),
        ));
    }
    Ok(summary)
}

/// Whether a key of VMCOREINFO is one of the log since 5.10, but for its buffer.
#[must_use]
pub fn is_key(key: &str) -> bool {
    let name = key.split_once('(').map_or("", |(_, name)| name);
    let ours = ["prb", "printk_", "dev_printk_info", "atomic_long_t"];
    ours.iter().any(|ours| name.starts_with(ours))
}

/// Writes the text of the log without what describes it: the last resort.
///
/// # Errors
/// When there is no text where `log_buf` leads to, or `out` fails.
pub fn carve(
    mem: &VirtMem<'_>,
    info: &VmcoreInfo,
    style: Style,
    out: &mut dyn Write,
) -> Result<Summary, LogError> {
    let mut printer = Printer::new(style, out);
    carve::write(mem, info, &mut printer)?;
    Ok(printer.into_summary())
}

/// The arrays that the log lies in, as far as they are found: address and bytes.
#[must_use]
pub fn arrays(mem: &VirtMem<'_>, info: &VmcoreInfo) -> Vec<(VirtAddr, u64)> {
    if ring::symbol(info).is_some() {
        return ring::arrays(mem, info).unwrap_or_default();
    }
    keys::log_buf(mem, info).into_iter().collect()
}

#[cfg(test)]
mod tests;
