//! The kdump-compressed format ("KDUMP   "), header version 6.
//!
//! ```text
//! block 0            main header
//! block 1            sub header, then the ELF notes as they were
//! block 1 + sub      bitmap 1: pages that exist; bitmap 2: pages in the file; half of bitmap_blocks each
//! then               page descriptors, one per bit of bitmap 2, by ascending pfn
//! then               page data: one page of zeros that all zero pages share, then the pages
//! ```

mod bits;
mod headers;
mod pages;
mod reader;
mod stream;
mod verify;
mod writer;

pub use bits::{INCOMPLETE, PageDesc};
pub use reader::{Dump, ReadError};
pub use verify::{PageError, Verified};
pub use writer::{Info, Map, Place, Writer};
