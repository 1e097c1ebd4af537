//! Identification of file systems and partitions by the bytes on the device: type, UUID, label; GPT and MBR partition ids.
//!
//! Every value is copied out of a fixed place and compared as text; nothing on the device is followed except the GPT entry's
//! position, which is bounded.
//! Upstream: `fs/ext4/ext4.h`, `fs/xfs/libxfs/xfs_format.h`, `fs/btrfs/accessors.h`, `include/uapi/linux/msdos_fs.h`,
//! `block/partitions/efi.h`, `msdos.c`. Offsets are the same in every version.

use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// A file system that can hold a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FsType {
    /// ext2, ext3 and ext4: the ext4 driver mounts all three.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// FAT12, FAT16 and FAT32.
    Vfat,
}

impl FsType {
    /// The type name for mount(2).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Vfat => "vfat",
        }
    }

    /// Options for mount(2). The superblock of ext4 may ask for a panic at the first error, which would end the capture.
    pub const fn options(self) -> Option<&'static str> {
        match self {
            Self::Ext4 => Some("errors=remount-ro"),
            Self::Xfs | Self::Btrfs | Self::Vfat => None,
        }
    }

    /// Whether files keep owner and mode.
    pub const fn holds_modes(self) -> bool {
        !matches!(self, Self::Vfat)
    }
}

/// What a superblock says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superblock {
    /// The file system.
    pub fs: FsType,
    /// Its UUID (vfat: volume id `XXXX-XXXX`).
    pub uuid: String,
    /// Its label, empty when there is none.
    pub label: String,
    /// What of it is on other devices.
    pub apart: Option<Apart>,
}

/// What a file system keeps on another device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Apart {
    /// The journal of ext4.
    Journal,
    /// The log of XFS.
    Log,
    /// The realtime device of XFS.
    Realtime,
    /// Some devices of btrfs.
    Devices,
}

impl Apart {
    /// The file system, by what is special with it.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Journal => "an ext4 file system whose journal is on another device",
            Self::Log => "an XFS file system whose log is on another device",
            Self::Realtime => "an XFS file system with a realtime device",
            Self::Devices => "a btrfs file system of several devices",
        }
    }
}

/// Reads exactly `buf.len()` bytes at an offset of a device; `None` when that is not possible.
pub(super) type ReadAt<'a> = &'a dyn Fn(u64, &mut [u8]) -> Option<()>;

const EXT_SUPER: u64 = 1024;
const BTRFS_SUPER: u64 = 0x10000;

/// The file system on a device, if it is one of [`FsType`].
pub(super) fn probe(read: ReadAt<'_>) -> Option<Superblock> {
    ext(read)
        .or_else(|| xfs(read))
        .or_else(|| btrfs(read))
        .or_else(|| vfat(read))
}

fn ext(read: ReadAt<'_>) -> Option<Superblock> {
    let sb = block::<0x100>(read, EXT_SUPER)?;
    let incompat = u32::from_le_bytes(*field(&sb, 0x60)?);
    if sb[0x38..0x3a] != [0x53, 0xef] || incompat & INCOMPAT_JOURNAL_DEV != 0 {
        return None;
    }
    let has_journal = u32::from_le_bytes(*field(&sb, 0x5c)?) & COMPAT_HAS_JOURNAL != 0;
    let inode = u32::from_le_bytes(*field(&sb, 0xe0)?);
    Some(Superblock {
        fs: FsType::Ext4,
        uuid: uuid(field(&sb, 0x68)?),
        label: label(&sb[0x78..0x88]),
        apart: (has_journal && inode == 0).then_some(Apart::Journal),
    })
}

/// An external journal carries the magic but no files.
const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
/// There is a journal: in an inode, or else on a device.
const COMPAT_HAS_JOURNAL: u32 = 0x4;

fn xfs(read: ReadAt<'_>) -> Option<Superblock> {
    let sb = block::<512>(read, 0)?;
    let found = || {
        Some(Superblock {
            fs: FsType::Xfs,
            uuid: uuid(field(&sb, 32)?),
            label: label(&sb[108..120]),
            apart: match (field(&sb, 48)?, field(&sb, 16)?) {
                ([0, 0, 0, 0, 0, 0, 0, 0], _) => Some(Apart::Log),
                (_, [0, 0, 0, 0, 0, 0, 0, 0]) => None,
                _ => Some(Apart::Realtime),
            },
        })
    };
    if sb.starts_with(b"XFSB") {
        found()
    } else {
        None
    }
}

fn btrfs(read: ReadAt<'_>) -> Option<Superblock> {
    let sb = block::<0x230>(read, BTRFS_SUPER)?;
    if sb[0x40..0x48] != *b"_BHRfS_M" {
        return None;
    }
    Some(Superblock {
        fs: FsType::Btrfs,
        uuid: uuid(field(&sb, 0x20)?),
        label: label(&sb[0x12b..0x22b]),
        apart: (u64::from_le_bytes(*field(&sb, 0x88)?) > 1).then_some(Apart::Devices),
    })
}

fn vfat(read: ReadAt<'_>) -> Option<Superblock> {
    let sb = block::<512>(read, 0)?;
    let (serial, name) = match () {
        () if sb[0x52..0x5a] == *b"FAT32   " => (0x43, 0x47),
        () if matches!(&sb[0x36..0x3e], b"FAT12   " | b"FAT16   " | b"FAT     ") => (0x27, 0x2b),
        () => return None,
    };
    let id = u32::from_le_bytes(*field(&sb, serial)?);
    let label = label(sb.get(name..name + 11)?);
    let label = if label == "NO NAME" {
        String::new()
    } else {
        label
    };
    Some(Superblock {
        fs: FsType::Vfat,
        uuid: format!("{:04X}-{:04X}", id >> 16, id & 0xffff),
        label,
        apart: None,
    })
}

/// The ids of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionIds {
    /// GPT: unique GUID; MBR: disk signature and number.
    pub uuid: String,
    /// GPT: name, empty when there is none.
    pub label: String,
}

/// The ids of partition `number` (from 1) of the disk that `read` reads.
pub(super) fn partition(read: ReadAt<'_>, number: u32) -> Option<PartitionIds> {
    [512, 4096]
        .into_iter()
        .find_map(|sector| gpt(read, sector, number))
        .or_else(|| mbr(read, number))
}

fn gpt(read: ReadAt<'_>, sector: u64, number: u32) -> Option<PartitionIds> {
    let header = block::<92>(read, sector)?;
    if !header.starts_with(b"EFI PART") {
        return None;
    }
    let first = u64::from_le_bytes(*field(&header, 72)?);
    let count = u32::from_le_bytes(*field(&header, 80)?);
    let size = u32::from_le_bytes(*field(&header, 84)?);
    if !(1..=count.min(MAX_ENTRIES)).contains(&number) || !(128..=4096).contains(&size) {
        return None;
    }
    let at = first
        .checked_mul(sector)?
        .checked_add(u64::from(number - 1) * u64::from(size))?;
    let entry = block::<128>(read, at)?;
    let utf16 = entry[56..]
        .chunks_exact(2)
        .map(|c| u16::from_le_bytes([c[0], c[1]]))
        .take_while(|&c| c != 0);
    let label = char::decode_utf16(utf16)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    Some(PartitionIds {
        uuid: guid(field(&entry, 16)?),
        label,
    })
}

/// No disk has more partitions than this.
const MAX_ENTRIES: u32 = 1024;

fn mbr(read: ReadAt<'_>, number: u32) -> Option<PartitionIds> {
    let sector = block::<512>(read, 0)?;
    let signature = u32::from_le_bytes(*field(&sector, 440)?);
    let valid = sector.ends_with(&[0x55, 0xaa]) && signature != 0;
    valid.then(|| PartitionIds {
        uuid: format!("{signature:08x}-{number:02x}"),
        label: String::new(),
    })
}

/// Whether `bytes`, at most 32, are at `at`.
pub(super) fn has(read: ReadAt<'_>, at: u64, bytes: &[u8]) -> bool {
    let mut found = [0; 32];
    let Some(found) = found.get_mut(..bytes.len()) else {
        return false;
    };
    read(at, found).is_some() && found == bytes
}

fn block<const N: usize>(read: ReadAt<'_>, offset: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    read(offset, &mut bytes)?;
    Some(bytes)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

fn label(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
}

/// Sixteen bytes as `8-4-4-4-12` hex digits.
fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (i, b) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{b:02x}");
    }
    text
}

/// A GUID as EFI stores it: the first three groups are little-endian.
fn guid(b: &[u8; 16]) -> String {
    uuid(&[
        b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13],
        b[14], b[15],
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, proptest};

    const ID: [u8; 16] = [
        0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
    ];

    fn disk(size: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; size];
        for (at, part) in parts {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        bytes
    }

    fn reader(bytes: &[u8]) -> impl Fn(u64, &mut [u8]) -> Option<()> + '_ {
        |at, buf| {
            let at = usize::try_from(at).ok()?;
            buf.copy_from_slice(bytes.get(at..at.checked_add(buf.len())?)?);
            Some(())
        }
    }

    fn found(bytes: &[u8]) -> Option<Superblock> {
        probe(&reader(bytes))
    }

    #[test]
    fn file_systems() {
        let ext = disk(
            4096,
            &[
                (1024 + 0x38, &[0x53, 0xef]),
                (1024 + 0x68, &ID),
                (1024 + 0x78, b"crash"),
            ],
        );
        let sb = found(&ext).unwrap();
        assert_eq!(
            (sb.fs, &*sb.uuid, &*sb.label),
            (
                FsType::Ext4,
                "00112233-4455-6677-8899-aabbccddeeff",
                "crash"
            )
        );
        let journal = disk(4096, &[(1024 + 0x38, &[0x53, 0xef]), (1024 + 0x60, &[8])]);
        assert_eq!(found(&journal), None);

        let xfs = disk(8192, &[(0, b"XFSB"), (32, &ID), (108, b"twelve chars")]);
        let sb = found(&xfs).unwrap();
        assert_eq!((sb.fs, &*sb.label), (FsType::Xfs, "twelve chars"));

        let btrfs = disk(
            0x11000,
            &[(0x10040, b"_BHRfS_M"), (0x10020, &ID), (0x1012b, b"pool")],
        );
        let sb = found(&btrfs).unwrap();
        assert_eq!((sb.fs, &*sb.label), (FsType::Btrfs, "pool"));

        let fat = disk(
            512 * 8,
            &[
                (0x52, b"FAT32   "),
                (0x43, &[0x78, 0x56, 0x34, 0x12]),
                (0x47, b"NO NAME    "),
            ],
        );
        let sb = found(&fat).unwrap();
        assert_eq!(
            (sb.fs, &*sb.uuid, &*sb.label),
            (FsType::Vfat, "1234-5678", "")
        );
        let fat = disk(
            512 * 8,
            &[
                (0x36, b"FAT16   "),
                (0x27, &[1, 0, 0, 0]),
                (0x2b, b"ESP        "),
            ],
        );
        assert_eq!(found(&fat).unwrap().label, "ESP");

        assert_eq!(found(&[]), None);
        assert_eq!(found(&[0; 1000]), None);
        assert_eq!(found(&vec![0; 0x20000]), None);
    }

    #[test]
    fn what_lies_on_another_device() {
        let apart = |parts: &[(usize, &[u8])]| found(&disk(0x11000, parts)).unwrap().apart;
        let ext = (1024 + 0x38, &[0x53, 0xef][..]);
        let (journal, inode) = ((1024 + 0x5c, &[4][..]), (1024 + 0xe0, &[8][..]));
        assert_eq!(apart(&[ext]), None);
        assert_eq!(apart(&[ext, journal, inode]), None);
        assert_eq!(apart(&[ext, journal]), Some(Apart::Journal));
        let (xfs, log) = ((0, &b"XFSB"[..]), (55, &[1][..]));
        assert_eq!(apart(&[xfs, log]), None);
        assert_eq!(apart(&[xfs]), Some(Apart::Log));
        assert_eq!(apart(&[xfs, log, (23, &[1])]), Some(Apart::Realtime));
        let btrfs = (0x10040, &b"_BHRfS_M"[..]);
        assert_eq!(apart(&[btrfs, (0x10088, &[1])]), None);
        assert_eq!(apart(&[btrfs, (0x10088, &[2])]), Some(Apart::Devices));
    }

    #[test]
    fn an_error_on_the_target_is_no_panic() {
        assert_eq!(FsType::Ext4.options(), Some("errors=remount-ro"));
        assert_eq!(FsType::Xfs.options(), None);
    }

    #[test]
    fn gpt_entries_and_their_bounds() {
        let mut header = [0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[72] = 2;
        header[80] = 4;
        header[84] = 128;
        let name: Vec<u8> = "crash".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let bytes = disk(
            8192,
            &[
                (512, &header),
                (1024 + 128 + 16, &ID),
                (1024 + 128 + 56, &name),
            ],
        );
        let ids = partition(&reader(&bytes), 2).unwrap();
        assert_eq!(
            ids,
            PartitionIds {
                uuid: "33221100-5544-7766-8899-aabbccddeeff".into(),
                label: "crash".into()
            }
        );
        assert_eq!(partition(&reader(&bytes), 5), None);
        assert_eq!(partition(&reader(&bytes), 0), None);
        for (at, value) in [
            (72, [0xff; 8].as_slice()),
            (84, &[0, 0, 0, 0x80]),
            (84, &[1, 0, 0, 0]),
        ] {
            let mut bad = header;
            bad[at..at + value.len()].copy_from_slice(value);
            assert_eq!(partition(&reader(&disk(8192, &[(512, &bad)])), 2), None);
        }
    }

    #[test]
    fn mbr_signature() {
        let bytes = disk(
            512,
            &[(440, &[0xef, 0xbe, 0xad, 0xde]), (510, &[0x55, 0xaa])],
        );
        assert_eq!(partition(&reader(&bytes), 1).unwrap().uuid, "deadbeef-01");
        assert_eq!(
            partition(&reader(&disk(512, &[(510, &[0x55, 0xaa])])), 1),
            None
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless(noise in prop::collection::vec(any::<u8>(), 0x230), number in any::<u32>()) {
            for magic in [(0x38, &[0x53, 0xef][..]), (0, b"XFSB"), (0x40, b"_BHRfS_M"), (0x52, b"FAT32   "), (0, b"EFI PART")] {
                let mut bytes = noise.clone();
                bytes[magic.0..magic.0 + magic.1.len()].copy_from_slice(magic.1);
                let everywhere = |at: u64, buf: &mut [u8]| {
                    let at = usize::try_from(at % 64).ok()?;
                    buf.copy_from_slice(bytes.get(at..at + buf.len())?);
                    Some(())
                };
                let same = |_: u64, buf: &mut [u8]| { buf.copy_from_slice(&bytes[..buf.len()]); Some(()) };
                let _ = (probe(&everywhere), probe(&same), partition(&everywhere, number), partition(&same, number));
            }
        }
    }
}
