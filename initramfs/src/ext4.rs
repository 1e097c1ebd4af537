//! What the kernel would load when it mounts an ext4 file system, by the features in its superblock.
//!
//! Source: fs/ext4/ext4.h and fs/ext4/super.c, Linux 5.10 to 7.2.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where the superblock is, and how much is read of it: to the end of the features.
const SUPERBLOCK: u64 = 1024;
const SIZE: usize = 0x68;
const MAGIC: (usize, [u8; 2]) = (0x38, [0x53, 0xef]);
/// Features that a kernel must know to write, in the last word that is read: quotas of users and groups, quotas of projects.
const QUOTA: u32 = 0x100;
const PROJECT: u32 = 0x2000;
/// The format of quotas that ext4 keeps itself.
const FORMAT: &str = "quota_v2";

/// The modules that a mount for writing needs besides the file system's own.
///
/// # Errors
/// The device can't be read.
pub fn wants(node: &Path) -> io::Result<&'static [&'static str]> {
    let mut superblock = [0; SIZE];
    File::open(node)?.read_exact_at(&mut superblock, SUPERBLOCK)?;
    Ok(if has_quotas(&superblock) {
        &[FORMAT]
    } else {
        &[]
    })
}

fn has_quotas(superblock: &[u8; SIZE]) -> bool {
    let (at, magic) = MAGIC;
    let features = superblock
        .last_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes));
    superblock[at..].starts_with(&magic) && features & (QUOTA | PROJECT) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_want_their_format() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        for (features, wanted) in [(0x46b_u32, 0), (0x56b, 1), (0x246b, 1)] {
            let mut disk = vec![0; 4096];
            disk[1024 + 0x38..][..2].copy_from_slice(&[0x53, 0xef]);
            disk[1024 + 0x64..][..4].copy_from_slice(&features.to_le_bytes());
            std::fs::write(&path, &disk).unwrap();
            assert_eq!(wants(&path).unwrap().len(), wanted, "{features:x}");
        }
        std::fs::write(&path, vec![0xff; 4096]).unwrap();
        assert!(wants(&path).unwrap().is_empty());
        std::fs::write(&path, "short").unwrap();
        assert!(wants(&path).is_err());
    }
}
