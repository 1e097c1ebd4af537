//! Page compression: one page in, fewer bytes out, or the page as it is.

mod codecs;
mod look;
mod lzo;
mod zstd;

pub use codecs::{Codec, Decompressor, codec};

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How pages are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Stored as they are.
    None,
    /// zlib streams.
    Zlib,
    /// LZO1X blocks.
    Lzo,
    /// Raw snappy blocks.
    Snappy,
    /// zstd frames, about as large as those of level 1.
    #[default]
    Zstd,
    /// zstd frames in two thirds of the time and a ninth more bytes.
    #[serde(rename = "zstd-fast")]
    ZstdFast,
}

impl Compression {
    /// Every choice with its name and its bit in the header's status and in page descriptors (makedumpfile's `DUMP_DH_COMPRESSED_*`).
    /// Of those with the same bit, readers take the first.
    pub const ALL: [(Self, &'static str, u32); 6] = [
        (Self::None, "none", 0),
        (Self::Zlib, "zlib", 0x1),
        (Self::Lzo, "lzo", 0x2),
        (Self::Snappy, "snappy", 0x4),
        (Self::Zstd, "zstd", 0x20),
        (Self::ZstdFast, "zstd-fast", 0x20),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(c, ..)| *c == self)
            .map_or("none", |(_, name, _)| name)
    }

    /// The one whose flag is in the status of a dump's header.
    #[must_use]
    pub fn of_status(status: u32) -> Self {
        let found = Self::ALL.iter().find(|(.., flag)| status & flag != 0);
        found.map_or(Self::None, |(c, ..)| *c)
    }

    /// Its flag.
    #[must_use]
    pub fn flag(self) -> u32 {
        Self::ALL
            .iter()
            .find(|(c, ..)| *c == self)
            .map_or(0, |(_, _, flag)| *flag)
    }
}

impl FromStr for Compression {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name, _)| *name == text);
        found.map(|(c, ..)| *c).ok_or_else(|| {
            format!("unknown compression '{text}': known are zstd, zstd-fast, zlib, lzo, snappy and none")
        })
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
