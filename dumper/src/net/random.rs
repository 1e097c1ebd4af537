//! Numbers that a stranger on the network can't guess.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A number from the keys that the standard library takes from the kernel; never waits for the kernel to have entropy.
pub(super) fn random() -> u32 {
    let number = RandomState::new().build_hasher().finish();
    u32::try_from(number >> 32).unwrap_or(1)
}
