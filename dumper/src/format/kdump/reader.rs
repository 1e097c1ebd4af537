//! Reading a kdump-compressed dump, in one file or in the parts of a split one: what it says of itself.

use super::bits::{Header, INCOMPLETE, SubHeader};
use super::headers::{self, Front};
use super::verify::PageError;
use crate::addr::PageSize;
use crate::filter::{Bitmap, Rank};
use crate::format::In;
use crate::vmcore::Origin;
use std::io;

/// Bitmap bytes that are read at once.
const BLOCK: usize = 64 << 10;
/// VMCOREINFO text longer than this is not read.
pub(super) const MAX_VMCOREINFO: u64 = 256 << 10;
/// Dumps of more pages are not opened by [`Dump::open`]: 32 TiB of 4 KiB pages.
const MAX_PAGES: u64 = 1 << 33;

/// The first thing in a dump that does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A system call failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Not such a file at all.
    #[error("not a kdump-compressed file: it begins with {0:02x?}, a dump with \"KDUMP   \"")]
    NotADump(Vec<u8>),
    /// A field has a value that cannot be.
    #[error("{field} is {found}, {expected}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A part of the file is missing.
    #[error("the file is cut off: {part} ends at byte {end}, the file at {len}")]
    Short {
        /// The part.
        part: &'static str,
        /// Where it should end.
        end: u64,
        /// Length of the file.
        len: u64,
    },
    /// The bitmaps contradict each other or their length.
    #[error("{0}")]
    Bitmap(String),
    /// The files are not the parts of one dump.
    #[error("{0}")]
    Split(String),
    /// A page is damaged.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The end of the dump is missing.
    #[error("{why}; {lost} of its {pages} pages are missing")]
    Cut {
        /// What is missing.
        why: String,
        /// Pages without data.
        lost: u64,
        /// Pages that should be there.
        pages: u64,
    },
    /// The dump says that it is incomplete. No page missing means that its source was incomplete.
    #[error("the dump is marked incomplete: {lost} of its {pages} pages are missing")]
    Incomplete {
        /// Pages without data.
        lost: u64,
        /// Pages that should be there.
        pages: u64,
    },
    /// The bitmaps do not fit into memory.
    #[error("not enough memory for the bitmaps of {0} pages")]
    Memory(u64),
}

/// One file of a dump: all of it, or the pages `first..end`.
pub(super) struct Part {
    pub(super) file: Box<dyn In>,
    pub(super) first: u64,
    pub(super) end: u64,
    /// Offset and size of the text that says what was erased.
    pub(super) erased: (u64, u64),
}

impl Part {
    /// Stands for a file that was not named, if there can be pages in it: all of them are lost.
    pub(super) fn missing(first: u64, end: u64) -> Option<Self> {
        (first < end).then(|| Self {
            file: Box::new(Vec::new()),
            first,
            end,
            erased: (0, 0),
        })
    }
}

/// An opened dump whose headers and bitmaps hold.
pub struct Dump {
    /// By ascending page, without gaps.
    pub(super) parts: Vec<Part>,
    header: Header,
    sub: SubHeader,
    page_size: PageSize,
    exists: Bitmap,
    kept: Bitmap,
    rank: Rank,
    /// Where each part's descriptors begin.
    pub(super) descs_at: u64,
    origin: Origin,
    /// Its end is missing, as a sentence.
    cut: Option<String>,
    /// A note segment made up for a dump that has VMCOREINFO but no notes.
    made_up_notes: Option<Vec<u8>>,
}

impl Dump {
    /// Reads headers and bitmaps of a dump in one file and checks them.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn open(file: Box<dyn In>) -> Result<Self, ReadError> {
        Self::open_set(vec![file], MAX_PAGES)
    }

    /// Reads headers and bitmaps of a dump in one file, or in all parts of a split one, in any order. A dump that claims more than
    /// `limit` pages is refused.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn open_set(files: Vec<Box<dyn In>>, limit: u64) -> Result<Self, ReadError> {
        let mut fronts = Vec::new();
        for file in files {
            fronts.push((Front::read(file.as_ref())?, file));
        }
        let (front, parts) = headers::put_together(fronts)?;
        let Some(first) = parts.iter().find(|p| !p.file.is_empty()) else {
            return Err(ReadError::Split("no file is named".into()));
        };
        let Front { header, sub, .. } = front;
        let max_mapnr = sub.max_mapnr.get();
        if max_mapnr > limit {
            return Err(ReadError::Memory(max_mapnr));
        }
        let file = first.file.as_ref();
        let half = u64::from(header.bitmap_blocks.get()) / 2 * front.page_size.bytes() as u64;
        // There can be more room than the bitmaps need.
        let used = max_mapnr.div_ceil(8).min(half);
        let exists = read_map(file, front.maps_at, used, max_mapnr, "first")?;
        let kept = read_map(file, front.maps_at + half, used, max_mapnr, "second")?;
        if let Some(pfn) = kept.first_not_in(&exists) {
            return Err(ReadError::Bitmap(format!(
                "page {pfn:#x} is in the second bitmap but not in the first"
            )));
        }
        let rank = Rank::new(&kept).ok_or(ReadError::Memory(max_mapnr))?;
        let made_up_notes = headers::made_up_notes(file, &sub)?;
        let mut origin = headers::origin(&header, &sub, headers::erased(&parts));
        if let Some(notes) = &made_up_notes {
            origin.notes_size = notes.as_slice().len() as u64;
        }
        let absent = |p: &&Part| p.file.is_empty() && kept.count_range(p.first, p.end) != 0;
        let cut = parts.iter().find(absent).map(|part| {
            let (first, end) = (part.first, part.end);
            format!("the part of the split dump that holds pages {first:#x} to {end:#x} is missing")
        });
        if let Some(why) = &cut {
            origin.incomplete = Some(why.clone());
        }
        Ok(Self {
            descs_at: front.maps_at + 2 * half,
            page_size: front.page_size,
            parts,
            header,
            sub,
            exists,
            kept,
            rank,
            origin,
            cut,
            made_up_notes,
        })
    }

    /// Number of files.
    #[must_use]
    pub fn files(&self) -> usize {
        self.parts.iter().filter(|p| !p.file.is_empty()).count()
    }

    /// Marks the dump as one whose end is missing, for the reason `why`.
    pub fn set_truncated(&mut self, why: String) {
        self.origin.incomplete = Some(why.clone());
        self.cut = Some(why);
    }

    /// Why the end of the dump is missing.
    #[must_use]
    pub fn cut(&self) -> Option<&str> {
        self.cut.as_deref()
    }

    /// What the headers say, as a source of memory.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The file whose headers count.
    fn front(&self) -> Option<&Part> {
        self.parts.iter().find(|p| !p.file.is_empty())
    }

    /// The file that holds `pfn`, and the number of the page's descriptor in it.
    pub(super) fn locate(&self, pfn: u64) -> Option<(usize, u64)> {
        let part = self.parts.partition_point(|p| p.end <= pfn);
        let first = self.parts.get(part)?.first;
        let before = self.rank.of(&self.kept, pfn);
        Some((part, before.checked_sub(self.rank.of(&self.kept, first))?))
    }

    /// Number of descriptors in file `part`.
    pub(super) fn descriptors(&self, part: &Part) -> u64 {
        let at = |pfn| self.rank.of(&self.kept, pfn);
        at(part.end).saturating_sub(at(part.first))
    }

    /// Fills `buf` from the note segment.
    ///
    /// # Errors
    /// As pread(2).
    pub(super) fn read_note_bytes(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        if let Some(notes) = &self.made_up_notes {
            return notes.read_at(at, buf);
        }
        let first = self.front().ok_or(io::ErrorKind::UnexpectedEof)?;
        first
            .file
            .read_at(self.sub.offset_note.get().saturating_add(at), buf)
    }

    /// Header version.
    #[must_use]
    pub fn version(&self) -> i32 {
        self.header.version.get()
    }

    /// Field `index` of utsname: 0 sysname, 1 nodename, 2 release, 3 version, 4 machine.
    #[must_use]
    pub fn utsname(&self, index: usize) -> String {
        let field = self
            .header
            .utsname
            .chunks(65)
            .nth(index)
            .unwrap_or_default();
        let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    }

    /// CRASHTIME in seconds since 1970; 0 when unknown.
    #[must_use]
    pub fn crash_time(&self) -> i64 {
        self.header.tv_sec.get()
    }

    /// Status bits.
    #[must_use]
    pub fn status(&self) -> u32 {
        self.header.status.get()
    }

    /// Whether the dump says that it is incomplete, or its end is missing.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.cut.is_some() || self.status() & INCOMPLETE != 0
    }

    /// The dump level that was in force.
    #[must_use]
    pub fn level(&self) -> i32 {
        self.sub.dump_level.get()
    }

    /// Number of CPUs that saved their registers.
    #[must_use]
    pub fn cpus(&self) -> i32 {
        self.header.nr_cpus.get()
    }

    /// Page size of the dead kernel.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Pages that exist.
    #[must_use]
    pub fn exists(&self) -> &Bitmap {
        &self.exists
    }

    /// Pages that are in the dump.
    #[must_use]
    pub fn kept(&self) -> &Bitmap {
        &self.kept
    }

    /// Size of its files in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        let sizes = self.parts.iter().map(|p| p.file.len());
        sizes.fold(0, u64::saturating_add)
    }

    /// Never true: an empty file is no dump.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The VMCOREINFO text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn vmcoreinfo(&self) -> Result<Option<Vec<u8>>, ReadError> {
        let (at, size) = (
            self.sub.offset_vmcoreinfo.get(),
            self.sub.size_vmcoreinfo.get(),
        );
        let Some(first) = self.front().filter(|_| at != 0 && size != 0) else {
            return Ok(None);
        };
        let mut text = vec![0; usize::try_from(size.min(MAX_VMCOREINFO)).unwrap_or(0)];
        first.file.read_at(at, &mut text)?;
        Ok(Some(text))
    }
}

pub(super) fn reach(part: &'static str, end: u64, len: u64) -> Result<(), ReadError> {
    if end <= len {
        Ok(())
    } else {
        Err(ReadError::Short { part, end, len })
    }
}

fn read_map(
    file: &dyn In,
    at: u64,
    size: u64,
    max_mapnr: u64,
    name: &str,
) -> Result<Bitmap, ReadError> {
    let mut map = Bitmap::new(max_mapnr).ok_or(ReadError::Memory(max_mapnr))?;
    let mut buf = vec![0; BLOCK];
    let mut done = 0;
    while done < size {
        let part = usize::try_from(size - done).unwrap_or(BLOCK).min(BLOCK);
        file.read_at(at + done, &mut buf[..part])?;
        if !map.load_bytes(done, &buf[..part]) {
            return Err(ReadError::Bitmap(format!(
                "the {name} bitmap has pages beyond max_mapnr {max_mapnr}"
            )));
        }
        done += part as u64;
    }
    Ok(map)
}
