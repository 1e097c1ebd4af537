//! The pipeline: read → filter → compress → format → out.

mod budget;
mod copy;
mod dead_kernel;
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
    let mut writer = Writer::layout(out, &info).map_err(DumpError::Output)?;
    let mut windows = Windows::new(&selector, budget.window)?;
    let counts = windows
        .judge(&mut writer, observer)
        .and_then(|counts| match counts.kept {
            0 => Err(DumpError::Nothing),
            kept => {
                let started = writer.start(&info, kept);
                started.map(|()| counts).map_err(DumpError::Output)
            }
        })
        // Bitmaps without headers are of no use to anybody.
        .inspect_err(|_| drop(out.set_len(0)))?;
    let job = copy::Job {
        core,
        page_size: kernel.page_size(),
        level: selector.level,
        options,
        threads: budget.threads,
        total: counts.kept,
    };
    let mut copied = copy::copy(&job, &mut windows, &mut writer, observer)?;
    if let Some(origin) = core.origin().filter(|_| copied.failed.is_none()) {
        copied.failed = writer.append_erased(&origin.erased).err();
    }
    // The pages must be safe before the mark goes.
    let reason = partial_reason(kernel, &selector, &copied, counts.kept)
        .or_else(|| Some(format!("syncing failed: {}", out.sync().err()?)));
    let written = writer.bytes();
    let (reason, bytes, crc32) = match writer.finish(reason.is_none()) {
        Ok((bytes, crc32)) => (reason, bytes, crc32),
        // The pages are there and the mark is in the header: a partial dump is better than none.
        Err(e) => {
            let reason = reason.unwrap_or_else(|| format!("ending the file failed: {e}"));
            (Some(reason), written, None)
        }
    };
    let mut warnings = std::mem::take(&mut selector.warnings);
    warnings.extend(select::unjudged(counts.scanned));
    Ok(Summary {
        outcome: reason.map_or(Outcome::Complete, Outcome::Partial),
        pages: PageCounts {
            total: counts.exist,
            kept: counts.kept,
            zero: copied.zero,
            unreadable: copied.unreadable,
            dropped: counts.scanned.dropped,
        },
        bytes,
        crc32,
        level: selector.level,
        warnings,
    })
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
