//! What a block device is used for, by the bytes at fixed places: whatever must not be overwritten by mistake.
//!
//! Source: the kernel's `include/uapi/linux/magic.h` and the on-disk headers of each; the places are the same in every version.

use super::container;
use super::superblock::{self, ReadAt, has};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// Offset, bytes, and what has them there.
const SIGNATURES: &[(u64, &[u8], &str)] = &[
    (4086, b"SWAPSPACE2", "a swap space"),
    (4086, b"SWAP-SPACE", "a swap space"),
    (8182, b"SWAPSPACE2", "a swap space"),
    (16374, b"SWAPSPACE2", "a swap space"),
    (65526, b"SWAPSPACE2", "a swap space"),
    (4086, b"S1SUSPEND\0", "the image of a suspended machine"),
    (512, b"EFI PART", "a partition table (GPT)"),
    (4096, b"EFI PART", "a partition table (GPT)"),
    (
        4120,
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef",
        "a bcachefs file system",
    ),
    (1024, b"\x10\x20\xf5\xf2", "an f2fs file system"),
    (1024, b"\xe2\xe1\xf5\xe0", "an erofs file system"),
    (1030, b"\x34\x34", "a nilfs2 file system"),
    (1024, b"BD", "an hfs file system"),
    (1024, b"H+", "an hfs+ file system"),
    (0, b"hsqs", "a squashfs file system"),
    (3, b"NTFS    ", "an NTFS file system"),
    (3, b"EXFAT   ", "an exFAT file system"),
    (3, b"-FVE-FS-", "a BitLocker volume"),
    (3, b"ReFS\0\0\0\0", "a ReFS file system"),
    (32, b"NXSB", "an APFS container"),
    (32769, b"CD001", "an ISO 9660 file system"),
    (32769, b"BEA01", "a UDF file system"),
    (32768, b"JFS1", "a JFS file system"),
    (65588, b"ReIsErFs", "a reiserfs file system"),
    (65588, b"ReIsEr2Fs", "a reiserfs file system"),
    (65588, b"ReIsEr3Fs", "a reiserfs file system"),
    (65536, b"\x01\x16\x19\x70", "a gfs2 file system"),
    (2048, b"OCFSV2", "an ocfs2 file system"),
    (4096, b"OCFSV2", "an ocfs2 file system"),
    (8192, b"OCFSV2", "an ocfs2 file system"),
    (0, b"bluestore block device", "a Ceph volume"),
    (516, b"!Stra0tis\x86\xff\x02^\x41rh", "a Stratis device"),
    (0x20_0000, b"\x0d\xd0\x01\xc0", "a VMFS volume"),
    (0x10_0000, b"\x0d\xd0\x01\xc0", "a VMFS volume"),
];

/// `uberblock_t` of ZFS: in the second half of each label, one every KiB at least; the magic in either byte order.
const ZFS: [[u8; 8]; 2] = [0x00ba_b10c_u64.to_le_bytes(), 0x00ba_b10c_u64.to_be_bytes()];
const ZFS_UBERBLOCKS: std::ops::Range<u64> = 128 << 10..256 << 10;

/// What `device` is used for; `None` when nothing is known of it.
///
/// # Errors
/// When it has no size.
pub fn occupant(mut device: &File) -> io::Result<Option<&'static str>> {
    let size = device.seek(SeekFrom::End(0))?;
    let read = |at: u64, buf: &mut [u8]| device.read_exact_at(buf, at).ok();
    Ok(look(&read, size))
}

fn look(read: ReadAt<'_>, size: u64) -> Option<&'static str> {
    if let Some(container) = container::probe(read, size, &[]) {
        return Some(container.name());
    }
    if let Some(found) = superblock::probe(read) {
        return Some(match found.fs.name() {
            "ext4" => "an ext2, ext3 or ext4 file system",
            "xfs" => "an XFS file system",
            "btrfs" => "a btrfs file system",
            _ => "a FAT file system",
        });
    }
    let known = SIGNATURES
        .iter()
        .find(|(at, bytes, _)| has(read, *at, bytes));
    known
        .map(|(_, _, what)| *what)
        .or_else(|| zfs(read).then_some("a member of a ZFS pool"))
        .or_else(|| mbr(read).then_some("a partition table (MBR)"))
}

fn zfs(read: ReadAt<'_>) -> bool {
    let mut at = ZFS_UBERBLOCKS.step_by(1024);
    at.any(|at| ZFS.iter().any(|magic| has(read, at, magic)))
}

/// An entry with a type, a start and a length; a boot sector of a file system has its code there.
fn mbr(read: ReadAt<'_>) -> bool {
    let mut sector = [0; 512];
    if read(0, &mut sector).is_none() || !sector.ends_with(&[0x55, 0xaa]) {
        return false;
    }
    let entries = sector.get(446..510).unwrap_or_default().as_chunks::<16>().0;
    let is_entry = |e: &[u8; 16]| matches!(e[0], 0 | 0x80) && e[4] != 0 && e[12..] != [0; 4];
    entries.iter().any(is_entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 4 << 20;

    fn found(parts: &[(usize, &[u8])]) -> Option<&'static str> {
        let mut bytes = vec![0; SIZE];
        for (at, part) in parts {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        let read = |at: u64, buf: &mut [u8]| {
            let at = usize::try_from(at).ok()?;
            buf.copy_from_slice(bytes.get(at..at.checked_add(buf.len())?)?);
            Some(())
        };
        look(&read, SIZE as u64)
    }

    #[test]
    fn every_signature_is_found_where_it_is() {
        for (at, bytes, what) in SIGNATURES {
            let at = usize::try_from(*at).unwrap();
            assert_eq!(found(&[(at, bytes)]), Some(*what));
        }
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn file_systems_containers_and_tables() {
        assert_eq!(found(&[(0, b"XFSB")]), Some("an XFS file system"));
        assert_eq!(found(&[(0, b"LUKS\xba\xbe\0\x02")]), Some("a LUKS volume"));
        for magic in ZFS {
            let zfs = found(&[(130 << 10, &magic)]);
            assert_eq!(zfs, Some("a member of a ZFS pool"));
        }
        let mut entry = [0; 16];
        (entry[4], entry[12]) = (0x83, 1);
        let table = found(&[(446 + 16, &entry), (510, &[0x55, 0xaa])]);
        assert_eq!(table, Some("a partition table (MBR)"));
        assert_eq!(found(&[(510, &[0x55, 0xaa])]), None);
    }
}
