//! Precomputed tables.

#[cfg(feature = "basepoint-table")]
mod basepoint;
mod lookup;
mod radix16;

pub use lookup::LookupTable;
pub use radix16::{Radix16Decomposition, Radix16Digits};

#[cfg(feature = "basepoint-table")]
pub use basepoint::BasepointTable;
