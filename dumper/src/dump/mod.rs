//! The pipeline: read → filter → compress → format → out.

mod copy;
mod dead_kernel;
mod elf;
mod open;
mod raw;

pub use dead_kernel::{DeadKernel, Identity};
pub use elf::dump_elf;
pub use open::{Opened, Unwrapped, open, unwrap};
pub use raw::copy_raw;

use crate::compress::Compression;
use crate::filter::{self, Bitmap, Dropped, DumpLevel};
use crate::format::flat::FlatError;
use crate::format::frames::FrameError;
use crate::format::kdump::{Info, Writer};
use crate::format::{Out, kdump};
use crate::kernel::memmap::MemMap;
use crate::kernel::page::PageRules;
use crate::kernel::printk;
use crate::kernel::utsname::Utsname;
use crate::vmcore;
use serde::{Deserialize, Serialize};

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
    /// There is nothing to dump.
    #[error("no page of the vmcore is left to dump")]
    Nothing,
}

/// The decision which pages are kept.
struct Selection {
    /// Memory that had to be left out, as a sentence.
    left_out: Option<String>,
    exists: Bitmap,
    kept: Bitmap,
    level: DumpLevel,
    dropped: Dropped,
    warnings: Vec<String>,
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
    let selection = select(kernel, options, observer)?;
    let kept = selection.kept.count();
    if kept == 0 {
        return Err(DumpError::Nothing);
    }
    let core = kernel.core();
    let notes = core.notes();
    let machine = kernel.arch().map_or("unknown", |a| a.name());
    let release = kernel.identity().release.as_deref().unwrap_or("unknown");
    let utsname = kernel
        .utsname()
        .cloned()
        .unwrap_or_else(|| Utsname::made_up(release, machine));
    let info = Info {
        utsname: utsname.0,
        crash_time: kernel.identity().crash_time.unwrap_or(0),
        page_size: kernel.page_size(),
        max_mapnr: selection.kept.len(),
        cpus: notes.cpus,
        phys_base: kernel.phys_base(),
        level: selection.level,
        compression_flag: options.compression.flag(),
        notes_size: notes.size,
        vmcoreinfo: notes
            .vmcoreinfo
            .as_ref()
            .map(|(at, text)| (*at, text.len() as u64)),
        read_notes: &|at, buf| core.read_notes(at, buf),
    };
    let mut writer =
        Writer::begin(out, &info, &selection.exists, &selection.kept).map_err(DumpError::Output)?;
    let mut copied = copy::copy(
        core,
        kernel.page_size(),
        &selection,
        options,
        &mut writer,
        observer,
    )?;
    if let Some(origin) = core.origin().filter(|_| copied.failed.is_none()) {
        copied.failed = writer.append_erased(&origin.erased).err();
    }
    // The pages must be safe before the mark goes.
    let reason = partial_reason(kernel, &selection, &copied, kept)
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
    Ok(Summary {
        outcome: reason.map_or(Outcome::Complete, Outcome::Partial),
        pages: PageCounts {
            total: selection.exists.count(),
            kept,
            zero: copied.zero,
            unreadable: copied.unreadable,
            dropped: selection.dropped,
        },
        bytes,
        crc32,
        level: selection.level,
        warnings: selection.warnings,
    })
}

fn partial_reason(
    kernel: &DeadKernel,
    selection: &Selection,
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
    if selection.left_out.is_some() {
        return selection.left_out.clone();
    }
    (copied.unreadable != 0)
        .then(|| format!("{} of {kept} pages could not be read", copied.unreadable))
}

/// Decides which pages are kept, with as much of the level as the kernel can be understood for.
fn select(
    kernel: &DeadKernel,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Selection, DumpError> {
    let page = kernel.page_size();
    let core = kernel.core();
    let mut max_mapnr = filter::max_mapnr(core, page);
    let mut warnings = Vec::new();
    let reader = core.reader(options.mmap);
    // What the dump that is read was written without stays out.
    let before = core.origin().map_or(DumpLevel::NONE, |o| {
        DumpLevel::new(o.level).unwrap_or(DumpLevel::NONE)
    });
    let asked = options.level.with(before);
    let judged = kernel
        .judging(&reader, asked, options.strict, max_mapnr)
        .map_err(|why| {
            if options.level.bits() > 1 {
                let what = if core.origin().is_some() {
                    " of the dump"
                } else {
                    ""
                };
                warnings.push(format!("all pages{what} are kept: {why}"));
            }
        })
        .ok();
    let end = judged.as_ref().and_then(|(_, map, _)| map.end);
    if let Some(end) = end.filter(|end| *end < max_mapnr) {
        warnings.push(format!(
            "memory from page {end:#x} on is not dumped: the kernel has no struct pages for it"
        ));
        max_mapnr = end;
    }
    let mut left_out = None;
    let limit = affordable();
    if max_mapnr > limit {
        max_mapnr = filter::max_mapnr_below(core, page, limit);
        left_out = Some(format!(
            "memory from page {max_mapnr:#x} on is left out: its bitmaps do not fit"
        ));
    }
    let memory = || DumpError::Memory("the bitmaps");
    let mut exists = Bitmap::new(max_mapnr).ok_or_else(memory)?;
    filter::set_existing(core, page, &mut exists);
    let mut kept = Bitmap::new(max_mapnr).ok_or_else(memory)?;
    filter::set_dumpable(core, page, &mut kept);
    let mut scanned = filter::Scanned::default();
    let mut level = asked.zero_only();
    if let Some((virt, map, rules)) = judged {
        level = rules.level();
        warnings.extend(rules.warnings.iter().cloned());
        if map.nonsense != 0 {
            warnings.push(format!(
                "{} memory sections have nonsense addresses; their pages are kept",
                map.nonsense
            ));
        }
        if rules.need_scan() {
            scanned = filter::scan(core, &virt, &map, &rules, page, &mut kept, &mut |pfn| {
                observer.progress("scan", pfn.min(max_mapnr), max_mapnr);
            });
        }
    }
    if scanned.unjudged != 0 {
        warnings.push(format!(
            "{} pages are kept because their struct pages cannot be read",
            scanned.unjudged
        ));
    }
    Ok(Selection {
        left_out,
        exists,
        kept,
        level: level.with(before),
        dropped: scanned.dropped,
        warnings,
    })
}

/// Bitmaps larger than this are not made, whatever memory there is: 16 TiB of 4 KiB pages.
const MAX_BITMAPS: u64 = 1 << 30;

/// The number of pages whose two bitmaps fit into half of the memory that is available: segments at absurd addresses must not
/// end the capture by the OOM killer.
fn affordable() -> u64 {
    let bytes = crate::procfs::memory_kb().map_or(MAX_BITMAPS, |(_, available)| {
        available.saturating_mul(512).min(MAX_BITMAPS)
    });
    bytes * 4
}

/// What judging needs: virtual memory, the section table, the rules.
type Judging<'a> = (crate::kernel::virt::VirtMem<'a>, MemMap, PageRules);
