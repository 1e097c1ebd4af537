//! A file in parts, for file systems whose files end at 4 GiB: FAT (`s_maxbytes` is 2³² − 1, Linux `fs/fat/inode.c`).
//!
//! Bytes from k · [`LIMIT`] on are in part k: `vmcore`, `vmcore.2`, `vmcore.3`, …, so that cat(1) joins them. A part is begun only
//! when the one before has exactly [`LIMIT`] bytes, which is how a reader knows that the file goes on. When the file is whole the
//! parts are renamed from the last to the first: the final name without a number says that all of it is there. What dies in
//! between leaves `vmcore-incomplete` and the last parts under their final names; nothing is lost, and no `vmcore` is there.

mod dir;
mod joined;
mod out;
#[cfg(test)]
mod tests;

pub use dir::SplitDir;
pub use joined::{open_joined, parts_of};

use std::ops::Range;

/// Bytes of every part but the last.
pub(super) const LIMIT: u64 = (4 << 30) - (64 << 10);
/// 2 TiB, what FAT can hold with sectors of 512 bytes.
const MAX_PARTS: usize = 512;

/// What the part with this index, from 0, is called after the first one's name.
fn suffix(index: usize) -> String {
    match index {
        0 => String::new(),
        _ => format!(".{}", index + 1),
    }
}

/// A stretch of bytes that lies in one part.
struct Piece {
    /// Index of the part.
    part: usize,
    /// Offset in it.
    at: u64,
    /// Which of the bytes.
    bytes: Range<usize>,
}

/// Cuts `len` bytes at `offset` where the parts end; a piece beyond the last possible part has an index that no part has.
fn pieces(limit: u64, offset: u64, len: usize) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= len {
            return None;
        }
        let here = offset.saturating_add(done as u64);
        let (part, at) = (here / limit, here % limit);
        let room = usize::try_from(limit - at).unwrap_or(usize::MAX);
        let end = len.min(done.saturating_add(room));
        let bytes = done..end;
        done = end;
        Some(Piece {
            part: usize::try_from(part).unwrap_or(usize::MAX),
            at,
            bytes,
        })
    })
}
