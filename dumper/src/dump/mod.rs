//! The pipeline: read → filter → compress → format → out.

mod budget;
mod canaries;
mod copy;
mod dead_kernel;
mod dmesg;
mod elf;
mod open;
mod others;
mod raw;
mod search;
mod select;
mod windows;

pub use budget::Budget;
pub use dead_kernel::{DeadKernel, Identity};
pub use elf::dump_elf;
pub use open::{Opened, Unwrapped, open, unwrap};
pub use raw::copy_raw;

use crate::compress::Compression;
use crate::filter::{Dropped, DumpLevel};
use crate::format::flat::FlatError;
use crate::format::frames::FrameError;
use crate::format::kdump::{Info, Writer};
use crate::format::{Out, kdump};
use crate::kernel::page::GROUP;
use crate::kernel::printk;
use crate::kernel::utsname::Utsname;
use crate::vmcore;
use select::{Judging, Selector};
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::Range;
use windows::Windows;

/// Windows of the bitmaps: each is remembered.
const MOST_WINDOWS: u64 = 1 << 16;

/// What to dump and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which page classes are dropped.
    pub level: DumpLevel,
    /// How pages are compressed.
    pub compression: Compression,
    /// Worker threads; 0 = everything in the calling thread.
    pub threads: usize,
    /// Map the vmcore; otherwise it is read with pread(2) only (the careful way after a child died).
    pub mmap: bool,
    /// Take makedumpfile's choices where they differ from what is right.
    pub strict: bool,
    /// Pages in a window of the bitmaps, if the [`Budget`] does not give fewer. The dump is the same.
    pub window: Option<u64>,
}

/// Pages by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageCounts {
    /// Pages that exist in the dead kernel's memory map.
    pub total: u64,
    /// Pages in the dump (page descriptors), zero pages included.
    pub kept: u64,
    /// Of `kept`: pages full of zeros, stored once.
    pub zero: u64,
    /// Of `kept`: pages that could not be read.
    pub unreadable: u64,
    /// Pages that were dropped, by class.
    #[serde(flatten)]
    pub dropped: Dropped,
}

/// How a dump ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every page that should be in the dump is in it.
    Complete,
    /// The file is a valid dump that says it is incomplete; the text says why.
    Partial(String),
}

/// What is known at the end of a dump.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Complete or partial.
    pub outcome: Outcome,
    /// Pages by class.
    pub pages: PageCounts,
    /// Size of the dump file in bytes.
    pub bytes: u64,
    /// CRC-32 of the whole dump file; unknown when a write failed in the middle.
    pub crc32: Option<u32>,
    /// The level that was in force (lower than asked for when the kernel could not be understood).
    pub level: DumpLevel,
    /// Everything that was not as it should be, a sentence each.
    pub warnings: Vec<String>,
}

/// Hears how far the dump is. Called from the thread that called [`dump`], at least every 4096 pages.
pub trait Observer {
    /// `done` of `total` pages of the phase (`scan`: judged, `copy`: written).
    fn progress(&mut self, phase: &'static str, done: u64, total: u64);

    /// What memory the dump takes, before its first page.
    fn decided(&mut self, _budget: &Budget) {}
}

/// What [`DeadKernel::dmesg`] found.
pub type DmesgSummary = printk::Summary;

/// Why there is no dump or no log.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The vmcore cannot be used.
    #[error(transparent)]
    Input(#[from] vmcore::VmcoreError),
    /// The dump cannot be used as a vmcore.
    #[error(transparent)]
    Dump(#[from] kdump::ReadError),
    /// The flattened file cannot be used.
    #[error(transparent)]
    Flat(#[from] FlatError),
    /// The container cannot be used.
    #[error(transparent)]
    Frames(#[from] FrameError),
    /// Nothing that is read.
    #[error("{0}")]
    Unknown(String),
    /// The file cannot be opened or read.
    #[error("{0}")]
    Read(#[source] std::io::Error),
    /// The log cannot be found.
    #[error("the kernel's log cannot be had: {0}")]
    NoLog(String),
    /// The output gave an error before anything useful was written.
    #[error("cannot write: {0}")]
    Output(#[source] std::io::Error),
    /// Not enough memory for the bitmaps and buffers.
    #[error("not enough memory for {0}")]
    Memory(&'static str),
    /// A raw copy of what is no raw vmcore.
    #[error("a raw copy is made of ELF vmcores only: this is an already written dump")]
    NoRaw,
    /// A raw copy of what has no end.
    #[error(
        "a raw copy of /proc/kcore (it has an NT_PRPSINFO note) is one of a whole address space, 128 TiB and more: write another format"
    )]
    LiveRaw,
    /// There is nothing to dump.
    #[error("no page of the vmcore is left to dump")]
    Nothing,
}

/// Writes a kdump-compressed dump. From its first flush on, the output is a valid dump marked incomplete; the mark is removed as the
/// last thing when it is complete.
///
/// # Errors
/// When there is nothing to read or the output fails before any page is in it. An output that fails later is a partial dump.
pub fn dump(
    kernel: &DeadKernel,
    options: &Options,
    out: &dyn Out,
    observer: &mut dyn Observer,
) -> Result<Summary, DumpError> {
    dump_split(kernel, options, &[out], u64::MAX, observer)
}

/// The same in several files, each with a stretch of the pages that ends where a block of `block` pages does. Each file says of itself
/// whether it is complete; one that fails does not end the others.
///
/// # Errors
/// As [`dump`], for the first file.
pub fn dump_split(
    kernel: &DeadKernel,
    options: &Options,
    outs: &[&dyn Out],
    block: u64,
    observer: &mut dyn Observer,
) -> Result<Summary, DumpError> {
    let (out, others) = outs.split_first().ok_or(DumpError::Nothing)?;
    let core = kernel.core();
    let reader = core.reader(options.mmap);
    let mut selector = Selector::new(kernel, options, &reader, u64::MAX);
    let available = select::available().unwrap_or(u64::MAX);
    let mut budget = Budget::decide(
        selector.max_mapnr,
        available,
        options.threads,
        out.is_stream(),
    );
    if let Some(window) = options.window {
        let window = window.max(selector.max_mapnr / MOST_WINDOWS).max(GROUP);
        budget.window = budget.window.min(window.next_multiple_of(GROUP));
    }
    selector.threads = budget.threads;
    let read_notes = |at: u64, buf: &mut [u8]| core.read_notes(at, buf);
    observer.decided(&budget);
    let info = info(kernel, &selector, options, &read_notes);
    let mut writer = Writer::layout(*out, &info).map_err(DumpError::Output)?;
    let mut windows = Windows::new(&selector, budget.window)?;
    let (counts, cuts) = windows
        .judge(&mut writer, observer)
        .and_then(|counts| match counts.kept {
            0 => Err(DumpError::Nothing),
            kept => {
                let cuts = windows.cut(outs.len(), block, &writer, observer);
                let started = cuts.and_then(|cuts| {
                    begin(&mut writer, &info, kept, &cuts, 0)?;
                    // From here on what ends the machine leaves a dump that lacks pages, not a name that nobody wrote.
                    if !out.is_stream() {
                        out.sync()?;
                    }
                    Ok((counts, cuts))
                });
                started.map_err(DumpError::Output)
            }
        })
        // Bitmaps without headers are of no use to anybody.
        .inspect_err(|_| drop(out.set_len(0)))?;
    let job = |part: usize| copy::Job {
        core,
        page_size: kernel.page_size(),
        level: selector.level,
        options,
        threads: budget.threads,
        pfns: cuts.get(part).cloned().unwrap_or_default(),
        total: counts.kept,
    };
    let none = copy::Copied::default();
    let mut copied = copy::copy(&job(0), &mut windows, None, &mut writer, none, observer)?;
    if let Some(origin) = core.origin().filter(|_| copied.failed.is_none()) {
        copied.failed = writer.append_erased(&origin.erased).err();
    }
    let why = partial_reason(kernel, &selector, &copied, counts.kept);
    let (mut others_failed, mut others_bytes) = (None, 0);
    for (part, out) in (1..).zip(others) {
        copied.failed = None;
        let begun = Writer::layout(*out, &info).and_then(|mut other| {
            windows.repeat(&writer, &mut other, observer)?;
            begin(&mut other, &info, counts.kept, &cuts, part)?;
            Ok(other)
        });
        let reason = match begun {
            Ok(mut other) => {
                let maps = Some(&writer);
                copied = copy::copy(&job(part), &mut windows, maps, &mut other, copied, observer)?;
                let reason = partial_reason(kernel, &selector, &copied, counts.kept);
                let (reason, bytes, _) = end(other, *out, reason);
                others_bytes += bytes;
                reason
            }
            Err(error) => {
                let _ = out.set_len(0);
                Some(format!("part {} cannot be written: {error}", part + 1))
            }
        };
        others_failed = others_failed.or(reason);
    }
    // The others have read the bitmaps from it.
    let (reason, bytes, crc32) = end(writer, *out, why);
    let mut warnings = std::mem::take(&mut selector.warnings);
    warnings.extend(select::unjudged(counts.scanned));
    Ok(Summary {
        outcome: reason
            .or(others_failed)
            .map_or(Outcome::Complete, Outcome::Partial),
        pages: PageCounts {
            total: counts.exist,
            kept: counts.kept,
            zero: copied.zero,
            unreadable: copied.unreadable,
            dropped: counts.scanned.dropped,
        },
        bytes: bytes + others_bytes,
        crc32: crc32.filter(|_| others.is_empty()),
        level: selector.level,
        warnings,
    })
}

/// Writes what comes before the pages, when the bitmaps are written.
fn begin(
    writer: &mut Writer<'_>,
    info: &Info<'_>,
    kept: u64,
    cuts: &[Range<u64>],
    part: usize,
) -> io::Result<()> {
    if let Some(pfns) = cuts.get(part).filter(|_| cuts.len() > 1) {
        writer.set_part(pfns);
    }
    writer.start(info, kept)
}

/// Ends a file: why it is partial, its size and checksum.
fn end(
    writer: Writer<'_>,
    out: &dyn Out,
    reason: Option<String>,
) -> (Option<String>, u64, Option<u32>) {
    // The pages must be safe before the mark goes.
    let reason = reason.or_else(|| Some(format!("syncing failed: {}", out.sync().err()?)));
    let written = writer.bytes();
    match writer.finish(reason.is_none()) {
        Ok((bytes, crc32)) => (reason, bytes, crc32),
        // The pages are there and the mark is in the header: a partial dump is better than none.
        Err(e) => {
            let reason = reason.unwrap_or_else(|| format!("ending the file failed: {e}"));
            (Some(reason), written, None)
        }
    }
}

/// What the headers say.
fn info<'a>(
    kernel: &DeadKernel,
    selector: &Selector<'_>,
    options: &Options,
    read_notes: &'a dyn Fn(u64, &mut [u8]) -> io::Result<()>,
) -> Info<'a> {
    let core = kernel.core();
    let notes = core.notes();
    let machine = crate::arch::name_of(core.machine()).unwrap_or("unknown");
    let release = kernel.identity().release.as_deref().unwrap_or("unknown");
    let utsname = kernel.utsname().cloned();
    let utsname = utsname
        .unwrap_or_else(|| Utsname::made_up(release, machine))
        .on(machine);
    Info {
        utsname: utsname.0,
        crash_time: kernel.identity().crash_time.unwrap_or(0),
        page_size: kernel.page_size(),
        max_mapnr: selector.max_mapnr,
        cpus: notes.cpus,
        phys_base: kernel.phys_base(),
        level: selector.level,
        compression_flag: options.compression.flag(),
        notes_size: notes.size,
        vmcoreinfo: notes
            .vmcoreinfo
            .as_ref()
            .map(|(at, text)| (*at, text.len() as u64)),
        read_notes,
    }
}

fn partial_reason(
    kernel: &DeadKernel,
    selector: &Selector<'_>,
    copied: &copy::Copied,
    kept: u64,
) -> Option<String> {
    if let Some(error) = &copied.failed {
        return Some(format!(
            "writing failed after {} of {kept} pages: {error}",
            copied.pages
        ));
    }
    if kernel.core().is_truncated() {
        return Some(format!(
            "the vmcore is not complete: {}",
            kernel.core().warnings().join("; ")
        ));
    }
    if selector.left_out.is_some() {
        return selector.left_out.clone();
    }
    (copied.unreadable != 0)
        .then(|| format!("{} of {kept} pages could not be read", copied.unreadable))
}
