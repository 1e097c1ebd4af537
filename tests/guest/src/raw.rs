//! The raw capture: `/proc/vmcore` copied unfiltered and sparse to the start of a block device.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

use anyhow::{Context, Result};

use crate::sys::{PAGE, Window};
use crate::{say, setup};

/// Bytes mapped at once.
const WINDOW: u64 = 4 << 20;

/// Copies the vmcore to `device`, which must read as zeros before.
pub(crate) fn copy(device: &str) -> Result<()> {
    setup::wait_for(device)?;
    let vmcore = File::open("/proc/vmcore").context("cannot open /proc/vmcore")?;
    let out = OpenOptions::new()
        .write(true)
        .open(device)
        .with_context(|| format!("cannot open {device}"))?;
    let size = vmcore.metadata()?.size();
    let mut fallbacks = 0u32;
    let mut offset = 0;
    while offset < size {
        let len = usize::try_from(WINDOW.min(size - offset))?;
        match Window::new(&vmcore, offset, len) {
            Ok(window) => sparse(&out, window.bytes(), offset)?,
            Err(_) => {
                fallbacks += 1;
                let mut buffer = vec![0; len];
                vmcore
                    .read_exact_at(&mut buffer, offset)
                    .with_context(|| format!("cannot read the vmcore at {offset}"))?;
                sparse(&out, &buffer, offset)?;
            }
        }
        offset += WINDOW;
    }
    out.sync_all()?;
    say(&format!(
        "raw copy complete {size} bytes, {fallbacks} windows read without mmap"
    ));
    Ok(())
}

/// Writes the runs of pages that are not all zero.
fn sparse(out: &File, bytes: &[u8], offset: u64) -> Result<()> {
    let mut at = 0;
    while at < bytes.len() {
        let zero = is_zero(page(bytes, at));
        let start = at;
        while at < bytes.len() && is_zero(page(bytes, at)) == zero {
            at += page(bytes, at).len();
        }
        if !zero {
            out.write_all_at(&bytes[start..at], offset + start as u64)
                .context("cannot write the raw copy")?;
        }
    }
    Ok(())
}

fn page(bytes: &[u8], at: usize) -> &[u8] {
    &bytes[at..bytes.len().min(at + PAGE)]
}

/// Whether a page holds only zeros.
fn is_zero(page: &[u8]) -> bool {
    page.chunks(64)
        .all(|chunk| chunk.iter().fold(0, |sum, byte| sum | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_with_data_are_written() {
        let path = std::env::temp_dir().join(format!("guest-sparse-{}", std::process::id()));
        let out = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        let mut bytes = vec![0u8; 5 * PAGE + 100];
        bytes[PAGE + 4095] = 1;
        bytes[3 * PAGE] = 2;
        sparse(&out, &bytes, PAGE as u64).unwrap();
        let got = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(got.len(), 5 * PAGE);
        assert_eq!(got[PAGE..], bytes[..4 * PAGE]);
    }
}
