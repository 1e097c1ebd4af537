//! The pipeline: read → filter → compress → format → out.

use crate::compress::Compression;
use crate::filter::DumpLevel;
use crate::format::Out;
use serde::{Deserialize, Serialize};
use std::path::Path;

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
    /// Dropped: non-private page cache.
    pub cache: u64,
    /// Dropped: private page cache.
    pub cache_private: u64,
    /// Dropped: user (anonymous, hugetlb) pages.
    pub user: u64,
    /// Dropped: free pages.
    pub free: u64,
    /// Dropped: hardware-poisoned pages.
    pub hwpoison: u64,
    /// Dropped: logically offline pages (ballooned, unplugged).
    pub offline: u64,
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
    /// CRC-32 of the whole dump file.
    pub crc32: u32,
    /// The level that was in force (lower than asked for when the kernel could not be understood).
    pub level: DumpLevel,
    /// Everything that was not as it should be, a sentence each.
    pub warnings: Vec<String>,
}

/// Hears how far the dump is. Called from the thread that called [`dump`], at least every 4096 pages.
pub trait Observer {
    /// `done` of `total` units of the phase (`scan`: pages judged, `copy`: pages written).
    fn progress(&mut self, phase: &'static str, done: u64, total: u64);
}

/// The dead kernel as far as it could be understood: the opened vmcore and what its notes and memory say.
pub struct DeadKernel {}

/// Facts about the dead kernel for names and reports; everything that could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `utsname.nodename`, raw: hostile input.
    pub nodename: Option<String>,
    /// `OSRELEASE` or `utsname.release`.
    pub release: Option<String>,
    /// `BUILD-ID`.
    pub build_id: Option<String>,
    /// `CRASHTIME`, seconds since 1970.
    pub crash_time: Option<i64>,
}

/// What [`DeadKernel::dmesg`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DmesgSummary {
    /// Records written.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// The line that names the panic, without time stamp.
    pub panic_line: Option<String>,
}

/// Why there is no dump at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The vmcore cannot be used.
    #[error("{0}")]
    Input(String),
    /// The output gave an error before anything useful was written.
    #[error("cannot write the dump: {0}")]
    Output(#[source] std::io::Error),
    /// Not enough memory for the bitmaps and buffers.
    #[error("not enough memory: {0}")]
    Memory(String),
}

impl DeadKernel {
    /// Opens a vmcore and learns what it can. What cannot be learned is in [`DeadKernel::warnings`] and lowers the level later.
    ///
    /// # Errors
    /// When the file is no ELF vmcore or has no memory in it.
    pub fn open(_vmcore: &Path, _mmap: bool) -> Result<Self, Error> {
        Err(Error::Input("stub".into()))
    }
    /// What was not as it should be.
    pub fn warnings(&self) -> &[String] {
        &[]
    }
    /// Names and times.
    pub fn identity(&self) -> &Identity {
        unimplemented!()
    }
    /// Writes the dead kernel's log.
    ///
    /// # Errors
    /// When the log cannot be found or `out` fails.
    pub fn dmesg(&self, _out: &mut dyn std::io::Write) -> Result<DmesgSummary, Error> {
        unimplemented!()
    }
}

/// Writes a kdump-compressed dump. From its first flush on, the output is a valid dump marked incomplete; the mark is removed as the
/// last thing when it is complete.
///
/// # Errors
/// When there is nothing to read or the output fails before any page is in it. An output that fails later is a partial dump.
pub fn dump(_kernel: &DeadKernel, _options: &Options, _out: &dyn Out, _observer: &mut dyn Observer) -> Result<Summary, Error> {
    unimplemented!()
}
