//! `raw:` targets: a partition that was claimed for dumps, with a journal of files on it. A format of our own, version 1; numbers are
//! little-endian, offsets count bytes from the start of the partition:
//!
//! ```text
//! 0          header: 512 bytes, then zeros up to 256 KiB
//! 256 KiB    blocks, one after the other, each beginning at a multiple of 4 KiB
//! end        the last 256 KiB are zeros
//!
//! header     0 "BAREDUMP-RAW-1\n\0"   16 id of the claim   32 size of the partition   40 dumps begun so far
//!            48 state: 1 armed, 2 dump, 3 taken            52 length of the name      56 name of the dump's directory
//!            508 CRC-32 of what is before
//! block      0 "BDRBLOCK"   8 id of the claim   24 number of the dump   32 number of the block in the dump, from 0
//!            40 kind: 1 begin, 2 data, 3 commit, 4 keep, 5 rename, 6 remove   44 number of the file
//!            48 length of the payload   52 CRC-32 of the payload   56 zeros   60 CRC-32 of what is before   64 payload
//! ```
//!
//! Payloads: of `begin` the incomplete and the final name with a line feed between, of `data` the next bytes of the file, of `rename`
//! both names, of `remove` the name. A file that was committed has its final name; any other its incomplete one. Who makes a file
//! system, an array or a swap space of the partition changes the zeros at its start or end: then it is no claimed partition any
//! more, and nothing is written. The id and the number of the dump are new with each claim and each dump, so that what an older
//! dump left is never taken for a part of this one.

mod block;
mod header;
mod journal;
mod place;

pub use header::{GUARD, Header, State, new_id, show_id};
pub use journal::{Entry, FileReader, Journal};
pub use place::{RawDevice, RawPlace, reach};

/// Where blocks begin.
const ALIGN: u64 = 4096;
/// Bytes of a block with its payload.
const BLOCK: usize = 256 << 10;
/// Most bytes of a block's payload.
const PAYLOAD: usize = BLOCK - block::LEN;
/// What only `report.json` may take: a partition that is full must not hide how the capture ended.
const KEPT_BACK: u64 = 1 << 20;
/// The smallest partition that can be claimed.
pub const SMALLEST: u64 = 16 << 20;
