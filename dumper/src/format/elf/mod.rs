//! ELF dumps with the segments of makedumpfile `-E`.
//!
//! Upstream: makedumpfile `makedumpfile.c` (`write_elf_header`, `write_elf_pages_cyclic`). What was dropped is the part of a
//! segment between `p_filesz` and `p_memsz`, which readers show as zeros. Nothing is page aligned and `p_align` is 0: by that
//! crash knows the file for a kdump ELF file.
//!
//! ```text
//! ELF header
//! program headers   PT_NOTE, then a PT_LOAD for each piece
//! section header 0  only with more headers than fit 16 bits: it holds their number
//! notes             as they were
//! data              the file part of each piece, one after the other
//! ```

mod bits;
mod pieces;
mod writer;

pub use pieces::{Load, Piece, Pieces};
pub use writer::{Info, Writer};
