//! Page compression.

use serde::{Deserialize, Serialize};

/// How pages are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Stored as they are.
    None,
    /// zlib streams, level 1.
    Zlib,
    /// Raw snappy blocks.
    Snappy,
    /// zstd frames, level 1.
    #[default]
    Zstd,
}
