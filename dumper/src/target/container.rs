//! Block devices whose bytes belong to a layer below the file system: members of arrays, LUKS volumes, LVM physical volumes.
//!
//! A mirror's member with its superblock at the end looks like the file system, or the partitioned disk, of the whole array; writing
//! to it alone would break the array. Upstream: `include/uapi/linux/raid/md_p.h`, `drivers/md/md.c` (positions), the LUKS on-disk
//! formats 1 and 2, LVM2's `label_header`, Intel's and SNIA's RAID metadata, DRBD's `meta_data_on_disk`, bcache's `cache_sb`. Offsets
//! are the same in every version.

use super::superblock::{self, ReadAt};
use serde::{Deserialize, Serialize};

/// What a device is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Container {
    /// A Linux md array.
    Md,
    /// An array of the firmware or of a controller: Intel's (IMSM) or DDF.
    Firmware,
    /// A device that DRBD copies to another machine.
    Drbd,
    /// A device with a cache, or the cache.
    Bcache,
    /// An encrypted volume.
    Luks,
    /// An LVM volume group.
    Lvm,
}

impl Container {
    /// What was found.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Md => "a member of a Linux md RAID array",
            Self::Firmware => "a member of an Intel (IMSM) or DDF RAID",
            Self::Drbd => "a DRBD device's disk",
            Self::Bcache => "a bcache device",
            Self::Luks => "a LUKS volume",
            Self::Lvm => "an LVM physical volume",
        }
    }

    /// What does not happen with it.
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Md => "of which only RAID1 is assembled, and not on its own",
            Self::Firmware | Self::Drbd | Self::Bcache => "which is not assembled here",
            Self::Luks => "and encrypted volumes are not opened here",
            Self::Lvm => "whose volumes can be targets, not itself",
        }
    }

    /// Whether the partitions of a disk that is one are parts of it too. LVM takes no disk with partitions: its label is an old one.
    pub(super) const fn holds_partitions(self) -> bool {
        !matches!(self, Self::Lvm)
    }
}

/// What the device of `size` bytes is a part of; `partitions` are the start and length of those in it.
pub(super) fn probe(read: ReadAt<'_>, size: u64, partitions: &[(u64, u64)]) -> Option<Container> {
    if md(read, size, partitions) {
        return Some(Container::Md);
    }
    let known = SIGNATURES.iter().find(|(block, at, bytes, _)| {
        // The last sectors, or blocks, are whole ones.
        let unit = |before| if before < 4096 { 512 } else { 4096 };
        let end = |before: u64| (size - size % unit(before)).checked_sub(before);
        let block = u64::try_from(*block)
            .ok()
            .or_else(|| end(block.unsigned_abs()));
        block.is_some_and(|block| superblock::has(read, block + at, bytes))
    });
    if let Some((.., container)) = known {
        return Some(*container);
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

/// A block, an offset in it, bytes, and what has them there. A negative block counts from the end of the device.
const SIGNATURES: &[(i64, u64, &[u8], Container)] = &[
    (-1024, 0, IMSM, Container::Firmware),
    // With sectors of 4 KiB.
    (-8192, 0, IMSM, Container::Firmware),
    (-512, 0, b"\xde\x11\xde\x11", Container::Firmware),
    (-512, 0, b"\x11\xde\x11\xde", Container::Firmware),
    (-4096, 60, b"\x83\x74\x02\x6b", Container::Drbd),
    (-4096, 60, b"\x83\x74\x02\x6c", Container::Drbd),
    (-4096, 60, b"\x83\x74\x02\x6d", Container::Drbd),
    (
        4096,
        24,
        b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81",
        Container::Bcache,
    ),
];
const IMSM: &[u8] = b"Intel Raid ISM Cfg Sig. ";

const MD_MAGIC: u32 = 0xa92b_4efc;

fn md(read: ReadAt<'_>, size: u64, partitions: &[(u64, u64)]) -> bool {
    let first = |at| md_one(read, at);
    // Version 0.90 does not say where it is: one at the end of the last partition may be at the end of the disk too.
    let is_partition_s = |at: u64| {
        let of = |(start, len): &(u64, u64)| start.checked_add(md_0_90(*len)?);
        partitions.iter().any(|partition| of(partition) == Some(at))
    };
    let old = md_0_90(size).filter(|at| !is_partition_s(*at));
    first(4096)
        || first(0)
        || md_1_0(size).is_some_and(first)
        || old.is_some_and(|at| {
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
        probe(&read, bytes.len() as u64, &[])
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
    fn members_that_other_programs_assemble() {
        for (end, at, bytes, what) in SIGNATURES {
            let block = usize::try_from(*end).unwrap_or_else(|_| {
                let before = usize::try_from(end.unsigned_abs()).unwrap();
                let unit = if before < 4096 { 512 } else { 4096 };
                SIZE / unit * unit - before
            });
            let at = block + usize::try_from(*at).unwrap();
            assert_eq!(found(&[(at, bytes)]), Some(*what));
            assert_eq!(found(&[(at - 512, bytes)]), None);
        }
        let drbd = (SIZE / 4096 - 1) * 4096 + 60;
        assert_eq!(found(&[(drbd, b"\x83\x74\x02\x6d")]), Some(Container::Drbd));
        assert_eq!(
            found(&[(SIZE - 1024, b"Intel Raid ISM Cfg Sig. 1.1.00")]),
            Some(Container::Firmware)
        );
    }

    #[test]
    fn an_old_superblock_may_be_that_of_the_last_partition() {
        let mut bytes = vec![0; SIZE];
        bytes[0xf_0000..0xf_0004].copy_from_slice(&[0xfc, 0x4e, 0x2b, 0xa9]);
        let read = |at: u64, buf: &mut [u8]| {
            let at = usize::try_from(at).ok()?;
            buf.copy_from_slice(bytes.get(at..at.checked_add(buf.len())?)?);
            Some(())
        };
        let with = |partition| probe(&read, SIZE as u64, &[partition]);
        // 0x10000 + 0xe0000: the same place.
        assert_eq!(with((0x1_0000, 0xf_0000)), None);
        assert_eq!(with((0x1_0000, 0xe_0000)), Some(Container::Md));
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
            assert_eq!(probe(&everywhere, size, &[(u64::MAX, size)]), None);
            assert_eq!(probe(&|_, _| None, size, &[]), None);
        }
    }
}
