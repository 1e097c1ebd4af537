//! Block devices whose bytes belong to a layer below the file system: members of md arrays, LUKS volumes, LVM physical volumes.
//!
//! A RAID1 member with its superblock at the end looks like the file system of the whole array; writing to it alone would break
//! the array. Upstream: `include/uapi/linux/raid/md_p.h`, `drivers/md/md.c` (positions), the LUKS on-disk formats 1 and 2, and
//! LVM2's `label_header`. Offsets are the same in every version.

use super::superblock::ReadAt;
use serde::{Deserialize, Serialize};

/// What a device is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Container {
    /// A Linux md array.
    Md,
    /// An encrypted volume.
    Luks,
    /// An LVM volume group.
    Lvm,
}

impl Container {
    /// What was found and what does not happen with it.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Md => {
                "a member of a Linux md RAID array, of which only RAID1 is assembled, and not on its own"
            }
            Self::Luks => "a LUKS volume, and encrypted volumes are not opened here",
            Self::Lvm => "an LVM physical volume: its volumes can be targets, not itself",
        }
    }
}

/// What the device of `size` bytes is a part of.
pub(super) fn probe(read: ReadAt<'_>, size: u64) -> Option<Container> {
    if md(read, size) {
        return Some(Container::Md);
    }
    if magic(read, 0) == Some(*b"LUKS\xba\xbe\0\x01")
        || magic(read, 0) == Some(*b"LUKS\xba\xbe\0\x02")
    {
        return Some(Container::Luks);
    }
    // The label is in one of the first four sectors.
    let lvm = |sector: u64| {
        magic(read, sector * 512) == Some(*b"LABELONE")
            && magic(read, sector * 512 + 24) == Some(*b"LVM2 001")
    };
    (0..4).any(lvm).then_some(Container::Lvm)
}

const MD_MAGIC: u32 = 0xa92b_4efc;

fn md(read: ReadAt<'_>, size: u64) -> bool {
    let first = |at| md_one(read, at);
    first(4096)
        || first(0)
        || md_1_0(size).is_some_and(first)
        || md_0_90(size).is_some_and(|at| {
            let words = magic(read, at);
            // Version 0.90 is in the byte order of the machine that made it.
            let [a, b, c, d, major @ ..] = words.unwrap_or_default();
            let found = [a, b, c, d];
            (found == MD_MAGIC.to_le_bytes() || found == MD_MAGIC.to_be_bytes()) && major == [0; 4]
        })
}

/// A superblock of version 1.x says where it is.
fn md_one(read: ReadAt<'_>, at: u64) -> bool {
    let mut sb = [0; 152];
    let word = |sb: &[u8; 152], from: usize| {
        sb.get(from..)
            .and_then(<[u8]>::first_chunk)
            .map(|w| u32::from_le_bytes(*w))
    };
    read(at, &mut sb).is_some()
        && word(&sb, 0) == Some(MD_MAGIC)
        && word(&sb, 4) == Some(1)
        && sb.last_chunk().map(|w| u64::from_le_bytes(*w)) == Some(at / 512)
}

/// At least 8 KiB before the end, on a 4 KiB boundary.
pub(super) const fn md_1_0(size: u64) -> Option<u64> {
    match size.checked_sub(8 << 10) {
        Some(at) => Some(at & !0xfff),
        None => None,
    }
}

/// The last whole 64 KiB that begin on a 64 KiB boundary.
pub(super) const fn md_0_90(size: u64) -> Option<u64> {
    (size & !0xffff).checked_sub(64 << 10)
}

fn magic(read: ReadAt<'_>, at: u64) -> Option<[u8; 8]> {
    let mut bytes = [0; 8];
    read(at, &mut bytes).map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = (1 << 20) + 0x3200;

    fn found(parts: &[(usize, &[u8])]) -> Option<Container> {
        let mut bytes = vec![0; SIZE];
        for (at, part) in parts {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        let read = |at: u64, buf: &mut [u8]| {
            let at = usize::try_from(at).ok()?;
            buf.copy_from_slice(bytes.get(at..at.checked_add(buf.len())?)?);
            Some(())
        };
        probe(&read, bytes.len() as u64)
    }

    fn version_1(at: u64) -> Vec<u8> {
        let mut sb = vec![0; 256];
        sb[..4].copy_from_slice(&[0xfc, 0x4e, 0x2b, 0xa9]);
        sb[4] = 1;
        sb[144..152].copy_from_slice(&(at / 512).to_le_bytes());
        sb
    }

    #[test]
    fn md_members_of_every_version() {
        // 1.1, 1.2, and 1.0: 0x103200 - 0x2000 = 0x101200, down to 4 KiB.
        for at in [0, 4096, 0x10_1000] {
            assert_eq!(found(&[(at, &version_1(at as u64))]), Some(Container::Md));
            // One that lies elsewhere is not this device's.
            assert_eq!(found(&[(at, &version_1(at as u64 + 512))]), None);
        }
        // 0.90: 0x100000 - 0x10000.
        for magic in [[0xfc, 0x4e, 0x2b, 0xa9], [0xa9, 0x2b, 0x4e, 0xfc]] {
            assert_eq!(found(&[(0xf_0000, &magic)]), Some(Container::Md));
        }
        assert_eq!(found(&[(0xf_1000, &[0xfc, 0x4e, 0x2b, 0xa9])]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn luks_and_lvm() {
        assert_eq!(found(&[(0, b"LUKS\xba\xbe\0\x02")]), Some(Container::Luks));
        let lvm: [(usize, &[u8]); 2] = [(512, b"LABELONE"), (536, b"LVM2 001")];
        assert_eq!(found(&lvm), Some(Container::Lvm));
        assert_eq!(found(&lvm[..1]), None);
    }

    #[test]
    fn any_size_is_harmless() {
        let everywhere = |_: u64, buf: &mut [u8]| {
            buf.fill(0xff);
            Some(())
        };
        for size in [0, 1, 4096, 65535, 65536, u64::MAX] {
            assert_eq!(probe(&everywhere, size), None);
            assert_eq!(probe(&|_, _| None, size), None);
        }
    }
}
