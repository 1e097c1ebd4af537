//! The dead kernel's memory: an ELF vmcore (`/proc/vmcore` or a file) or the pages of an already written dump, its notes and its
//! physical memory.

mod blocks;
mod cache;
mod elf;
mod extents;
mod notes;
mod pages;
mod reader;
mod table;
mod vmcoreinfo;
mod windows;

use blocks::Blocks;
pub use extents::{Extent, Extents, Segment};
pub(crate) use notes::vmcoreinfo as vmcoreinfo_note;
pub use notes::{Notes, ReadNotes};
pub use pages::{Origin, PageReader, Pages};
pub use reader::Reader;
pub use vmcoreinfo::VmcoreInfo;

use crate::addr::{PageSize, PhysAddr};
use crate::format::In;
use crate::target::FileIn;
use std::io;
use std::path::Path;
use windows::usize_of;

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
    /// The page exists, but the dump that is read was written without it.
    #[error("the dump that is read does not hold the page")]
    NotKept,
    /// The page should be in the dump that is read, but its data are missing or damaged.
    #[error("{0}")]
    Damaged(String),
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

/// Where the bytes are.
enum Memory {
    /// Segments of a file; the notes are at this offset.
    Elf { file: Box<dyn In>, notes_at: u64 },
    /// Pages of a dump.
    Dump(Box<dyn Pages>),
}

/// An opened vmcore: judged headers and the notes.
pub struct Vmcore {
    memory: Memory,
    machine: u16,
    segments: Vec<Segment>,
    extents: Extents,
    warnings: Vec<String>,
    truncated: bool,
    notes: Notes,
    /// A VMCOREINFO note that the file does not have, behind those that it has.
    added: Option<(u64, Vec<u8>)>,
    /// Where the name of the one in whose place that is begins.
    void: Option<u64>,
}

impl Vmcore {
    /// Opens the ELF vmcore `path` and judges its headers.
    ///
    /// # Errors
    /// When it cannot be opened, is no 64-bit little-endian ELF core file, or holds no believable memory.
    pub fn open(path: &Path) -> Result<Self, VmcoreError> {
        Self::from_elf(Box::new(FileIn::open(path)?))
    }

    /// An ELF vmcore in `file`.
    ///
    /// # Errors
    /// As [`Vmcore::open`].
    pub fn from_elf(file: Box<dyn In>) -> Result<Self, VmcoreError> {
        let mut layout = elf::Layout::read(file.as_ref())?;
        let (notes_at, size) = layout.notes.unwrap_or_default();
        let read = |at: u64, buf: &mut [u8]| file.read_at(notes_at.saturating_add(at), buf);
        let notes = walk_notes(&read, size, &mut layout.warnings);
        if notes.is_process && notes.vmcoreinfo.is_none() && layout.is_virtual() {
            return Err(VmcoreError::Unsupported(
                "this is the core of a process (it has an NT_PRPSINFO note and no physical addresses): gdb reads it".into(),
            ));
        }
        Ok(Self {
            memory: Memory::Elf { file, notes_at },
            machine: layout.machine,
            segments: layout.segments,
            extents: layout.extents,
            warnings: layout.warnings,
            truncated: layout.truncated,
            notes,
            added: None,
            void: None,
        })
    }

    /// The memory that an already written dump holds. `machine` is the `e_machine` of its architecture.
    #[must_use]
    pub fn from_pages(pages: Box<dyn Pages>, machine: u16) -> Self {
        let mut warnings = Vec::new();
        let origin = pages.origin();
        let truncated = origin.incomplete.is_some();
        warnings.extend(origin.incomplete.clone());
        let read = |at: u64, buf: &mut [u8]| pages.read_notes(at, buf);
        let mut notes = walk_notes(&read, origin.notes_size, &mut warnings);
        if notes.cpus == 0 {
            notes.cpus = origin.cpus;
        }
        Self {
            machine,
            segments: Vec::new(),
            extents: Extents::of_pages(pages.exists(), pages.page_size()),
            truncated,
            warnings,
            notes,
            added: None,
            void: None,
            memory: Memory::Dump(pages),
        }
    }

    /// Takes the blocks of a dump for several pages of this size. `false` when that cannot be.
    pub fn divide(&mut self, page: PageSize) -> bool {
        let Some(maps) = self.pages().and_then(|dump| Blocks::maps(dump, page)) else {
            return false;
        };
        let nothing = Memory::Elf {
            file: Box::new(Vec::new()),
            notes_at: 0,
        };
        let Memory::Dump(dump) = std::mem::replace(&mut self.memory, nothing) else {
            return false;
        };
        self.memory = Memory::Dump(Box::new(Blocks::new(dump, page, maps)));
        true
    }

    /// Adds a VMCOREINFO note that was found elsewhere; from now on it is the one that counts.
    pub fn add_vmcoreinfo(&mut self, text: &[u8]) {
        let at = self.notes.size.next_multiple_of(4);
        let (note, text_at) = notes::vmcoreinfo(text);
        let other = self.notes.vmcoreinfo.as_ref();
        self.void = other.and_then(|(at, _)| at.checked_sub(text_at)?.checked_add(12));
        self.notes.vmcoreinfo = Some((at + text_at, text.to_vec()));
        self.notes.size = at + note.len() as u64;
        self.added = Some((at, note));
    }

    /// Marks the vmcore as one whose end is missing, for the reason `why`.
    pub fn set_truncated(&mut self, why: String) {
        self.truncated = true;
        self.warnings.push(why);
    }

    /// Says what the architecture is, where the headers do not.
    pub fn set_machine(&mut self, machine: u16) {
        self.machine = machine;
    }

    /// `e_machine` of the ELF header; 0 for a dump that does not know.
    #[must_use]
    pub fn machine(&self) -> u16 {
        self.machine
    }

    /// PT_LOADs that were believed, in header order. A dump has none.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The same memory, sorted and disjoint. Of a dump with absurdly many holes only the first are seen here.
    #[must_use]
    pub fn extents(&self) -> &Extents {
        &self.extents
    }

    /// The pages, when this is an already written dump.
    #[must_use]
    pub fn pages(&self) -> Option<&dyn Pages> {
        match &self.memory {
            Memory::Elf { .. } => None,
            Memory::Dump(pages) => Some(pages.as_ref()),
        }
    }

    /// The file, when this is an ELF vmcore.
    #[must_use]
    pub fn file(&self) -> Option<&dyn In> {
        match &self.memory {
            Memory::Elf { file, .. } => Some(file.as_ref()),
            Memory::Dump(_) => None,
        }
    }

    /// What the headers of an already written dump say.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.pages().map(Pages::origin)
    }

    /// The notes.
    #[must_use]
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Takes another of several VMCOREINFO notes.
    pub(crate) fn next_info(&mut self) {
        self.notes.next_info();
    }

    /// What was not believed, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The file ends before its segments do, or says that it is not complete.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// A reader of its memory, one per thread. With `mmap` false it uses pread(2) only.
    #[must_use]
    pub fn reader(&self, mmap: bool) -> Reader<'_> {
        match &self.memory {
            Memory::Elf { file, .. } => Reader::of_elf(file.as_ref(), &self.extents, mmap),
            Memory::Dump(pages) => Reader::of_dump(pages.as_ref()),
        }
    }

    /// Fills `buf` from the note segment, `at` bytes into it.
    ///
    /// # Errors
    /// As pread(2).
    pub fn read_notes(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        let Some((from, note)) = &self.added else {
            return self.read_own_notes(at, buf);
        };
        let own =
            usize::try_from(from.saturating_sub(at)).map_or(buf.len(), |own| own.min(buf.len()));
        let (own, rest) = buf.split_at_mut(own);
        self.read_own_notes(at, own)?;
        let void = self
            .void
            .and_then(|void| void.checked_sub(at))
            .map(usize_of);
        if let Some(name) = void.and_then(|void| own.get_mut(void)) {
            *name = b'-';
        }
        if rest.is_empty() {
            return Ok(());
        }
        note.read_at(at.max(*from) - from, rest)
    }

    /// From the notes that the file has; up to three bytes of padding can follow the last one.
    fn read_own_notes(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        match &self.memory {
            Memory::Elf { file, notes_at } => file.read_at(notes_at.saturating_add(at), buf),
            Memory::Dump(pages) => pages.read_notes(at, buf),
        }
    }
}

fn walk_notes(read: ReadNotes<'_>, size: u64, warnings: &mut Vec<String>) -> Notes {
    Notes::read(read, size).unwrap_or_else(|e| {
        warnings.push(format!("the notes cannot be read: {e}"));
        Notes::default()
    })
}
