//! Flattened files: a random-access dump as a stream, for pipes.
//!
//! Upstream: makedumpfile `makedumpfile.h` (`struct makedumpfile_header`, `makedumpfile_data_header`). All numbers are 64-bit
//! big-endian whatever the machine:
//!
//! ```text
//! header   4096 bytes: "makedumpfile" and 4 NULs, type 1, version 1, zeros
//! record   offset, size, then size bytes that belong at offset; a later record wins over an earlier one
//! end      a record header with -1 and -1
//! ```

mod reader;
mod rearrange;
mod writer;

pub use reader::FlatIn;
pub use rearrange::{FlatError, Rearranged, mark_incomplete, rearrange};
pub use writer::FlatOut;

use rearrange::judge;

/// First bytes of a flattened file.
pub const SIGNATURE: [u8; 16] = *b"makedumpfile\0\0\0\0";
/// Size of its header.
pub(super) const HEADER: usize = 4096;
/// `type` and `version`.
const ONE: [u8; 8] = 1u64.to_be_bytes();
/// The header of the record that ends the stream.
pub(super) const END: [u8; 16] = [0xff; 16];
/// No record reaches beyond this: no file system holds such a file.
pub(super) const LIMIT: u64 = 1 << 52;

/// The header.
fn header() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..16].copy_from_slice(&SIGNATURE);
    header[16..24].copy_from_slice(&ONE);
    header[24..32].copy_from_slice(&ONE);
    header
}

/// Demands the header of a flattened file. The version is not asked for, as nobody does who restores one.
pub(super) fn check_header(bytes: &[u8]) -> Result<(), FlatError> {
    match bytes.get(16..24) {
        Some(kind) if bytes.starts_with(&SIGNATURE) => {
            match kind.try_into().map(u64::from_be_bytes) {
                Ok(1) => Ok(()),
                Ok(kind) => Err(FlatError::Kind(kind)),
                Err(_) => Err(FlatError::NotFlat),
            }
        }
        _ => Err(FlatError::NotFlat),
    }
}
