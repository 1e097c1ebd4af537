//! Which pages are kept.

use serde::{Deserialize, Serialize};

/// A dump level as makedumpfile's `-d`: 1 zero pages, 2 page cache, 4 private page cache, 8 user pages, 16 free pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct DumpLevel(u8);

impl DumpLevel {
    /// Everything that can be dropped is dropped.
    pub const MAX: Self = Self(31);

    /// A level; `None` above 31.
    pub const fn new(bits: u8) -> Option<Self> {
        if bits <= 31 { Some(Self(bits)) } else { None }
    }

    /// The bits.
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for DumpLevel {
    type Error = String;
    fn try_from(bits: u8) -> Result<Self, String> {
        Self::new(bits).ok_or_else(|| format!("dump level {bits}: must be 0 to 31"))
    }
}

impl From<DumpLevel> for u8 {
    fn from(level: DumpLevel) -> Self {
        level.0
    }
}
