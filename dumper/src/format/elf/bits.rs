//! Structures of ELF64, little-endian.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes, Unaligned};

/// `e_phnum` when the number is in section header 0.
pub(super) const PN_XNUM: u16 = 0xffff;
/// `e_flags`: makedumpfile's mark of an incomplete dump.
pub(super) const INCOMPLETE: u32 = 1;
pub(super) const PT_LOAD: u32 = 1;
pub(super) const PT_NOTE: u32 = 4;

#[derive(IntoBytes, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct Ehdr {
    pub(super) ident: [u8; 16],
    pub(super) kind: U16,
    pub(super) machine: U16,
    pub(super) version: U32,
    pub(super) entry: U64,
    pub(super) phoff: U64,
    pub(super) shoff: U64,
    pub(super) flags: U32,
    pub(super) ehsize: U16,
    pub(super) phentsize: U16,
    pub(super) phnum: U16,
    pub(super) shentsize: U16,
    pub(super) shnum: U16,
    pub(super) shstrndx: U16,
}
const _: () = assert!(size_of::<Ehdr>() == 64);

#[derive(IntoBytes, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct Phdr {
    pub(super) kind: U32,
    pub(super) flags: U32,
    pub(super) offset: U64,
    pub(super) vaddr: U64,
    pub(super) paddr: U64,
    pub(super) filesz: U64,
    pub(super) memsz: U64,
    pub(super) align: U64,
}
const _: () = assert!(size_of::<Phdr>() == 56);

/// Section header 0, of which only the counts have a meaning.
#[derive(IntoBytes, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct Shdr {
    pub(super) before: [u8; 32],
    pub(super) size: U64,
    pub(super) link: U32,
    /// The number of program headers.
    pub(super) info: U32,
    pub(super) after: [u8; 16],
}
const _: () = assert!(size_of::<Shdr>() == 64);
