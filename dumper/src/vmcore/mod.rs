//! The dead kernel's memory: an ELF vmcore (`/proc/vmcore` or a file), its notes and its physical memory.

mod elf;
mod extents;
mod notes;
mod reader;
mod vmcoreinfo;

pub use extents::{Extent, Extents, Segment};
pub use notes::Notes;
pub use reader::Reader;
pub use vmcoreinfo::VmcoreInfo;

use crate::addr::PhysAddr;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

/// Why a file cannot be used as a vmcore.
#[derive(Debug, thiserror::Error)]
pub enum VmcoreError {
    /// A system call failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Zero bytes.
    #[error("the file is empty")]
    Empty,
    /// No ELF magic.
    #[error("not an ELF file: a vmcore begins with the bytes 7f 45 4c 46")]
    NotElf,
    /// ELF, but not what is read here.
    #[error("{0}")]
    Unsupported(String),
    /// Ends before anything useful.
    #[error("the vmcore is truncated: {len} bytes hold no memory segment")]
    Truncated {
        /// Length of the file.
        len: u64,
    },
    /// No segment is believable.
    #[error("the vmcore has no usable memory segment: {0}")]
    NoMemory(String),
    /// The segment table does not fit.
    #[error("not enough memory for the segment table")]
    Memory,
}

/// Why bytes could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {len} bytes at physical {addr}: {why}")]
pub struct ReadError {
    /// First byte asked for.
    pub addr: PhysAddr,
    /// Number of bytes asked for.
    pub len: usize,
    /// What stood in the way.
    pub why: ReadFault,
}

/// The kinds of read faults.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// No segment of the vmcore holds the address.
    #[error("not in the vmcore")]
    Hole,
    /// The vmcore file gave an error.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Physical memory of the dead kernel: the only way from an address to bytes.
pub trait PhysMem {
    /// Fills `buf` with the bytes at physical `addr`.
    ///
    /// # Errors
    /// When any byte is in no segment or cannot be read; `buf` is then unspecified.
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError>;

    /// A little-endian `u64` at `addr`.
    ///
    /// # Errors
    /// As [`PhysMem::read`].
    fn read_u64(&self, addr: PhysAddr) -> Result<u64, ReadError> {
        let mut b = [0; 8];
        self.read(addr, &mut b)?;
        Ok(u64::from_le_bytes(b))
    }
}

/// An opened vmcore: judged headers and the notes.
#[derive(Debug)]
pub struct Vmcore {
    file: File,
    layout: elf::Layout,
    notes: Notes,
}

impl Vmcore {
    /// Opens `path` and judges its headers.
    ///
    /// # Errors
    /// When it cannot be opened, is no 64-bit little-endian ELF core file, or holds no believable memory.
    pub fn open(path: &Path) -> Result<Self, VmcoreError> {
        let mut file = File::open(path)?;
        let len = file.seek(SeekFrom::End(0))?;
        let mut layout = elf::Layout::read(&file, len)?;
        let notes = match layout.notes {
            Some((offset, size)) => Notes::read(&file, offset, size).unwrap_or_else(|e| {
                layout
                    .warnings
                    .push(format!("the notes cannot be read: {e}"));
                Notes::default()
            }),
            None => Notes::default(),
        };
        Ok(Self {
            file,
            layout,
            notes,
        })
    }

    /// `e_machine` of the ELF header.
    #[must_use]
    pub fn machine(&self) -> u16 {
        self.layout.machine
    }

    /// PT_LOADs that were believed, in header order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.layout.segments
    }

    /// The same memory, sorted and disjoint.
    #[must_use]
    pub fn extents(&self) -> &Extents {
        &self.layout.extents
    }

    /// The notes.
    #[must_use]
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// What was not believed, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.layout.warnings
    }

    /// The file ends before its segments do.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.layout.truncated
    }

    /// A reader of its memory, one per thread. With `mmap` false it uses pread(2) only.
    #[must_use]
    pub fn reader(&self, mmap: bool) -> Reader<'_> {
        Reader::new(self, mmap)
    }

    /// Fills `buf` from the note segment, `at` bytes into it.
    ///
    /// # Errors
    /// As pread(2).
    pub fn read_notes(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        self.file
            .read_exact_at(buf, self.notes.offset.saturating_add(at))
    }
}
