//! Swap: a swap file on the disk, anonymous pages written to it, half of them read back and kept in the swap cache.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{DIRECTORY, census, create};
use crate::sys::{self, Kind, Map, page_size};
use crate::words::Words;

/// Bytes of the swap file.
const SIZE: usize = 32 << 20;
/// Where a swap area's first page says what it is.
const SIGNATURE: &[u8; 10] = b"SWAPSPACE2";

/// Pages in the swap cache.
pub(crate) fn cache(words: &Words) -> Result<usize> {
    ensure!(
        words.disk.is_some() && Path::new("/proc/swaps").exists(),
        "there is no disk for it, or no swap in the kernel"
    );
    let path = Path::new(DIRECTORY).join("swap");
    make(&create("swap", 0)?, page_size())?;
    sys::swap_on(&path)?;
    let mut map = Map::anonymous(words.sentinels as usize * page_size(), Kind::Small)?;
    for (index, page) in map.bytes().chunks_exact_mut(page_size()).enumerate() {
        page[..8].copy_from_slice(&(index as u64 + 1).to_le_bytes());
        page[8..16].copy_from_slice(b"swapped.");
    }
    map.page_out()?;
    // Only reading: a page that is written leaves the swap cache.
    for page in map.bytes().chunks_exact(page_size()).step_by(2) {
        black_box(page[0]);
    }
    let pages = census::take()?.of("swap-cache");
    ensure!(pages > 0, "the kernel kept none");
    Ok(pages)
}

/// Writes a swap area of version 1 over a new file, without holes.
fn make(file: &File, page: usize) -> Result<()> {
    let mut bytes = vec![0u8; SIZE];
    let last = u32::try_from(SIZE / page - 1)?;
    bytes[1024..1028].copy_from_slice(&1u32.to_le_bytes());
    bytes[1028..1032].copy_from_slice(&last.to_le_bytes());
    bytes[page - SIGNATURE.len()..page].copy_from_slice(SIGNATURE);
    file.write_all_at(&bytes, 0)
        .context("cannot write the swap file")?;
    file.sync_all()?;
    Ok(())
}
