//! Structures and constants of the format.
//!
//! Upstream: makedumpfile `diskdump_mod.h`; readers: crash `diskdump.c`, libkdumpfile `diskdump.c`. Holds for: 64-bit
//! little-endian dumps of header version 6 and below.

use zerocopy::little_endian::{I32, I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of a dump.
pub(super) const SIGNATURE: [u8; 8] = *b"KDUMP   ";
/// The version that is written; readers take it and every one below.
pub(super) const VERSION: i32 = 6;
/// `status`: the dump is not complete.
pub const INCOMPLETE: u32 = 0x8;

/// `struct disk_dump_header`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct Header {
    pub(super) signature: [u8; 8],
    pub(super) version: I32,
    pub(super) utsname: [u8; 390],
    pub(super) pad: [u8; 6],
    /// CRASHTIME.
    pub(super) tv_sec: I64,
    /// Always 0: a plausible page size here makes libkdumpfile take the file for a 32-bit one.
    pub(super) tv_usec: I64,
    pub(super) status: U32,
    pub(super) block_size: I32,
    /// Blocks of the sub header with the notes.
    pub(super) sub_hdr_size: I32,
    /// Blocks of both bitmaps together.
    pub(super) bitmap_blocks: U32,
    /// Cut to 32 bits; `SubHeader::max_mapnr` counts.
    pub(super) max_mapnr: U32,
    pub(super) total_ram_blocks: U32,
    pub(super) device_blocks: U32,
    pub(super) written_blocks: U32,
    pub(super) current_cpu: U32,
    pub(super) nr_cpus: I32,
}
const _: () = assert!(size_of::<Header>() == 464);

/// `struct kdump_sub_header`, 64-bit.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct SubHeader {
    pub(super) phys_base: U64,
    pub(super) dump_level: I32,
    pub(super) split: I32,
    pub(super) start_pfn: U64,
    pub(super) end_pfn: U64,
    pub(super) offset_vmcoreinfo: U64,
    pub(super) size_vmcoreinfo: U64,
    pub(super) offset_note: U64,
    pub(super) size_note: U64,
    pub(super) offset_eraseinfo: U64,
    pub(super) size_eraseinfo: U64,
    pub(super) start_pfn_64: U64,
    pub(super) end_pfn_64: U64,
    pub(super) max_mapnr: U64,
}
const _: () = assert!(size_of::<SubHeader>() == 104);

/// `struct page_desc`. All zero: the page is lost.
#[derive(
    FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug,
)]
#[repr(C)]
pub struct PageDesc {
    /// Absolute file offset of the data.
    pub offset: U64,
    /// Bytes of data.
    pub size: U32,
    /// The codec's flag; 0 = stored as it is.
    pub flags: U32,
    /// Always 0.
    pub page_flags: U64,
}
const _: () = assert!(size_of::<PageDesc>() == 24);
