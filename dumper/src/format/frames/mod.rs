//! A flattened dump in compressed pieces, for pipes and raw devices.
//!
//! The stream is cut into pieces of 1 MiB. Each is one independent frame of LZ4 or zstd with content size and checksum, and the
//! frames follow one another, so that `lz4 -d` and `zstd -d` give the flattened stream. The last piece is shorter, if need be
//! empty: whatever comes after it is not part of the dump, as on a raw device that held a longer one before.
//!
//! Upstream: `lz4_Frame_format.md` 1.6, `zstd_compression_format.md` 0.4 (RFC 8878).

mod piece;
mod reader;
mod writer;

pub use reader::{FrameError, FrameIn};
pub use writer::FrameOut;

use std::str::FromStr;

/// Bytes of the stream in one frame.
pub(super) const PIECE: usize = 1 << 20;

/// How pieces are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameCodec {
    /// LZ4 frames.
    Lz4,
    /// zstd frames.
    Zstd,
}

impl FrameCodec {
    /// The codec of a file that begins with `bytes`.
    #[must_use]
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        [Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|codec| bytes.starts_with(&codec.magic()))
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    fn magic(self) -> [u8; 4] {
        match self {
            Self::Lz4 => 0x184d_2204_u32.to_le_bytes(),
            Self::Zstd => 0xfd2f_b528_u32.to_le_bytes(),
        }
    }
}

impl FromStr for FrameCodec {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|codec| codec.name() == text)
            .ok_or_else(|| format!("unknown stream compression '{text}': known are lz4 and zstd"))
    }
}
