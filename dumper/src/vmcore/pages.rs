//! The pages of an already written dump as a source of memory.

use super::ReadFault;
use crate::addr::PageSize;
use crate::compress::Compression;
use crate::filter::Bitmap;
use std::io;

/// What the headers of an already written dump say of it.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Raw `struct new_utsname`; zeros when its writer did not know.
    pub utsname: [u8; 390],
    /// CRASHTIME in seconds since 1970, 0 when unknown.
    pub crash_time: i64,
    /// x86-64 `phys_base`.
    pub phys_base: u64,
    /// The dump level that was in force.
    pub level: u8,
    /// How its pages were asked to be compressed.
    pub compression: Compression,
    /// CPUs that saved their registers.
    pub cpus: u32,
    /// Why it is not complete.
    pub incomplete: Option<String>,
    /// Size of the note segment.
    pub notes_size: u64,
    /// What was erased from the memory, as text lines; bounded.
    pub erased: Vec<u8>,
}

/// A dump whose pages can be read in any order.
pub trait Pages: Send + Sync {
    /// Page size of the dump.
    fn page_size(&self) -> PageSize;
    /// Pages that the dead kernel had.
    fn exists(&self) -> &Bitmap;
    /// Pages that are in the dump.
    fn kept(&self) -> &Bitmap;
    /// What its headers say.
    fn origin(&self) -> &Origin;
    /// One thread's tools to read pages; their memory is taken here.
    fn reader(&self) -> Box<dyn PageReader + '_>;
    /// Fills `buf` from the note segment, `at` bytes into it.
    ///
    /// # Errors
    /// As pread(2).
    fn read_notes(&self, at: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// Reads pages of a dump.
pub trait PageReader: Send {
    /// Fills `buf`, which is one page long, with page `pfn`.
    ///
    /// # Errors
    /// When the page is not in the dump, or its data are missing or damaged.
    fn read(&mut self, pfn: u64, buf: &mut [u8]) -> Result<(), ReadFault>;
}
