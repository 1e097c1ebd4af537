//! Reading a kdump-compressed file: what it says of itself, and whether all of it holds.

use super::bits::{Header, INCOMPLETE, SIGNATURE, SubHeader, VERSION};
use super::verify::PageError;
use crate::addr::PageSize;
use crate::filter::Bitmap;
use crate::format::In;
use std::io;
use zerocopy::{FromZeros, IntoBytes};

/// Bitmap bytes that are read at once.
const BLOCK: usize = 64 << 10;
/// VMCOREINFO text longer than this is not read.
const MAX_VMCOREINFO: u64 = 256 << 10;

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
    /// A page is damaged.
    #[error(transparent)]
    Page(#[from] PageError),
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

/// An opened dump whose headers and bitmaps hold.
pub struct Dump {
    pub(super) file: Box<dyn In>,
    header: Header,
    sub: SubHeader,
    page_size: PageSize,
    exists: Bitmap,
    kept: Bitmap,
    pub(super) descs_at: u64,
}

impl Dump {
    /// Reads headers and bitmaps of a dump and checks them.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn open(file: Box<dyn In>) -> Result<Self, ReadError> {
        let len = file.len();
        let mut header = Header::new_zeroed();
        let got = usize::try_from(len)
            .unwrap_or(usize::MAX)
            .min(size_of::<Header>());
        file.read_at(0, &mut header.as_mut_bytes()[..got])?;
        if header.signature != SIGNATURE {
            return Err(ReadError::NotADump(header.signature[..got.min(8)].to_vec()));
        }
        reach("the main header", size_of::<Header>() as u64, len)?;
        let page_size = check_header(&header)?;
        let block = page_size.bytes() as u64;
        reach("the sub header", block + size_of::<SubHeader>() as u64, len)?;
        let mut sub = SubHeader::new_zeroed();
        file.read_at(block, sub.as_mut_bytes())?;
        if header.version.get() < 6 {
            sub.max_mapnr.set(u64::from(header.max_mapnr.get()));
        }
        let maps_at = (1 + u64::from(header.sub_hdr_size.get().cast_unsigned())) * block;
        check_sub_header(&header, &sub, block, maps_at)?;
        let half = u64::from(header.bitmap_blocks.get()) / 2 * block;
        reach("the second bitmap", maps_at + 2 * half, len)?;
        let max_mapnr = sub.max_mapnr.get();
        let exists = read_map(file.as_ref(), maps_at, half, max_mapnr, "first")?;
        let kept = read_map(file.as_ref(), maps_at + half, half, max_mapnr, "second")?;
        if let Some(pfn) = kept.first_not_in(&exists) {
            return Err(ReadError::Bitmap(format!(
                "page {pfn:#x} is in the second bitmap but not in the first"
            )));
        }
        Ok(Self {
            file,
            header,
            sub,
            page_size,
            exists,
            kept,
            descs_at: maps_at + 2 * half,
        })
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

    /// Whether the dump says that it is incomplete.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.status() & INCOMPLETE != 0
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

    /// Size of the file in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.file.len()
    }

    /// Never true: an empty file is no dump.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.file.is_empty()
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
        if self.header.version.get() < 3 || at == 0 || size == 0 {
            return Ok(None);
        }
        let mut text = vec![0; usize::try_from(size.min(MAX_VMCOREINFO)).unwrap_or(0)];
        self.file.read_at(at, &mut text)?;
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

fn field(field: &'static str, found: impl ToString, expected: impl Into<String>) -> ReadError {
    ReadError::Field {
        field,
        found: found.to_string(),
        expected: expected.into(),
    }
}

fn check_header(header: &Header) -> Result<PageSize, ReadError> {
    let version = header.version.get();
    if !(1..=VERSION).contains(&version) {
        return Err(field("header_version", version, "must be 1 to 6"));
    }
    let block = header.block_size.get();
    let page = u64::try_from(block).ok().and_then(PageSize::new);
    let page = page.ok_or_else(|| field("block_size", block, "must be 4096, 16384 or 65536"))?;
    if header.tv_usec.get() != 0 && PageSize::new(header.tv_usec.get().cast_unsigned()).is_some() {
        return Err(field(
            "timestamp.tv_usec",
            header.tv_usec,
            "which makes readers take the file for a 32-bit one",
        ));
    }
    if header.sub_hdr_size.get() < 1 {
        return Err(field(
            "sub_hdr_size",
            header.sub_hdr_size,
            "must be at least 1",
        ));
    }
    if header.nr_cpus.get() < 0 {
        return Err(field("nr_cpus", header.nr_cpus, "must not be negative"));
    }
    Ok(page)
}

fn check_sub_header(
    header: &Header,
    sub: &SubHeader,
    block: u64,
    maps_at: u64,
) -> Result<(), ReadError> {
    if sub.split.get() != 0 {
        return Err(field(
            "split",
            sub.split,
            "parts of a split dump are not read by this version",
        ));
    }
    let need = sub
        .max_mapnr
        .get()
        .div_ceil(8)
        .div_ceil(block)
        .saturating_mul(2);
    let blocks = header.bitmap_blocks.get();
    if u64::from(blocks) != need {
        return Err(field(
            "bitmap_blocks",
            blocks,
            format!("must be {need} for max_mapnr {}", sub.max_mapnr),
        ));
    }
    let inside = |at: u64, size: u64| {
        size == 0 || (at >= block && at.checked_add(size).is_some_and(|end| end <= maps_at))
    };
    if !inside(sub.offset_note.get(), sub.size_note.get()) {
        return Err(field(
            "offset_note",
            sub.offset_note,
            "which puts the notes outside the sub header's blocks",
        ));
    }
    if !inside(sub.offset_vmcoreinfo.get(), sub.size_vmcoreinfo.get()) {
        return Err(field(
            "offset_vmcoreinfo",
            sub.offset_vmcoreinfo,
            "which puts VMCOREINFO outside the notes",
        ));
    }
    let level = sub.dump_level.get();
    if !(0..=31).contains(&level) {
        return Err(field("dump_level", level, "must be 0 to 31"));
    }
    Ok(())
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
