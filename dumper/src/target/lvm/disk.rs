//! The label of a physical volume and the metadata areas on it.

use super::group::Group;
use super::text;
use crate::target::superblock::ReadAt;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a physical volume says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Physical {
    /// Its id, without dashes.
    pub id: String,
    /// The newest metadata on it; a physical volume may have none.
    pub group: Option<Group>,
}

impl Physical {
    /// That of a device or file, if it is one.
    #[must_use]
    pub fn of(node: &Path) -> Option<Self> {
        let device = File::open(node).ok()?;
        physical(&|at, buf| device.read_exact_at(buf, at).ok())
    }
}

const SECTOR: u64 = 512;
/// The largest metadata that are read; those of a group with 1000 volumes have half a megabyte.
const TEXT_MAX: u64 = 4 << 20;
const AREAS_MAX: usize = 16;
const AREA_MAGIC: &[u8; 16] = b" LVM2 x[5A%r0N*>";
/// `RAW_LOCN_IGNORED`.
const IGNORED: u32 = 1;

/// The physical volume that `read` reads, if it is one.
pub(in crate::target) fn physical(read: ReadAt<'_>) -> Option<Physical> {
    let label = (0..4).find_map(|sector| label(read, sector))?;
    let at = usize::try_from(u32_at(&label, 20)?).ok()?;
    let header = label.get(at..)?;
    let id = std::str::from_utf8(header.get(..32)?).ok()?.to_owned();
    let areas = header.get(40..)?.as_chunks::<16>().0.iter();
    let mut areas = areas.map(|area| (u64_at(area, 0), u64_at(area, 8)));
    // Data areas up to an empty one, then metadata areas up to an empty one.
    let is_some = |area: &(Option<u64>, Option<u64>)| area.0 != Some(0);
    areas
        .by_ref()
        .take(AREAS_MAX)
        .take_while(is_some)
        .for_each(drop);
    let metadata = areas.take(AREAS_MAX).take_while(is_some);
    let groups = metadata.filter_map(|(start, _)| area(read, start?));
    Some(Physical {
        id,
        group: groups.max_by_key(|group| group.seqno),
    })
}

fn label(read: ReadAt<'_>, sector: u64) -> Option<[u8; 512]> {
    let mut bytes = [0; 512];
    read(sector * SECTOR, &mut bytes)?;
    let good = bytes.starts_with(b"LABELONE")
        && bytes[24..32] == *b"LVM2 001"
        && u64_at(&bytes, 8)? == sector
        && u32_at(&bytes, 16)? == checksum(&bytes[20..]);
    good.then_some(bytes)
}

/// The current metadata of the area at `start`.
fn area(read: ReadAt<'_>, start: u64) -> Option<Group> {
    let mut header = [0; 512];
    read(start, &mut header)?;
    let size = u64_at(&header, 32)?;
    let good = u32_at(&header, 0)? == checksum(&header[4..])
        && header[4..20] == *AREA_MAGIC
        && u32_at(&header, 20)? == 1
        && u64_at(&header, 24)? == start;
    let (offset, len, crc) = (
        u64_at(&header, 40)?,
        u64_at(&header, 48)?,
        u32_at(&header, 56)?,
    );
    let flags = u32_at(&header, 60)?;
    if !good
        || offset < SECTOR
        || offset >= size
        || len > TEXT_MAX.min(size - SECTOR)
        || flags & IGNORED != 0
    {
        return None;
    }
    // The text goes on behind the header when it reaches the end of the area.
    let first = len.min(size - offset);
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    let (front, back) = bytes.split_at_mut_checked(usize::try_from(first).ok()?)?;
    read(start.checked_add(offset)?, front)?;
    if !back.is_empty() {
        read(start.checked_add(SECTOR)?, back)?;
    }
    if checksum(&bytes) != crc {
        return None;
    }
    Group::of(&text::parse(std::str::from_utf8(&bytes).ok()?)?)
}

/// CRC-32 with LVM's own start and without the inversion at the end.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
    crc.update(bytes);
    !crc.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const START: usize = 4096;
    const SIZE: usize = 8192;

    fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
        bytes[at..at + value.len()].copy_from_slice(value);
    }

    /// A physical volume with `text` at `offset` of its metadata area.
    fn disk(text: &str, offset: usize) -> Vec<u8> {
        let mut disk = vec![0; START + SIZE];
        put(&mut disk, 512, b"LABELONE");
        put(&mut disk, 520, &1u64.to_le_bytes());
        put(&mut disk, 532, &32u32.to_le_bytes());
        put(&mut disk, 536, b"LVM2 001");
        put(&mut disk, 544, b"abcdefghijklmnopqrstuvwxyz012345");
        put(&mut disk, 584, &(1u64 << 20).to_le_bytes());
        put(&mut disk, 616, &(START as u64).to_le_bytes());
        put(&mut disk, 624, &(SIZE as u64).to_le_bytes());
        let crc = checksum(&disk[532..1024]);
        put(&mut disk, 528, &crc.to_le_bytes());
        for (i, byte) in text.bytes().enumerate() {
            let at = if offset + i < SIZE {
                offset + i
            } else {
                offset + i - SIZE + 512
            };
            disk[START + at] = byte;
        }
        put(&mut disk, START + 4, AREA_MAGIC);
        put(&mut disk, START + 20, &1u32.to_le_bytes());
        put(&mut disk, START + 24, &(START as u64).to_le_bytes());
        put(&mut disk, START + 32, &(SIZE as u64).to_le_bytes());
        put(&mut disk, START + 40, &(offset as u64).to_le_bytes());
        put(&mut disk, START + 48, &(text.len() as u64).to_le_bytes());
        put(
            &mut disk,
            START + 56,
            &checksum(text.as_bytes()).to_le_bytes(),
        );
        let crc = checksum(&disk[START + 4..START + 512]);
        put(&mut disk, START, &crc.to_le_bytes());
        disk
    }

    fn read_of(disk: &[u8]) -> impl Fn(u64, &mut [u8]) -> Option<()> + '_ {
        |at, buf| {
            let at = usize::try_from(at).ok()?;
            buf.copy_from_slice(disk.get(at..at.checked_add(buf.len())?)?);
            Some(())
        }
    }

    #[test]
    fn metadata_may_go_round_the_end_of_its_area() {
        let text = super::super::group::tests::TEXT;
        for offset in [512, SIZE - 100] {
            let disk = disk(text, offset);
            let found = physical(&read_of(&disk)).unwrap();
            assert_eq!(found.id, "abcdefghijklmnopqrstuvwxyz012345");
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("x"), &disk).unwrap();
            assert_eq!(Physical::of(&dir.path().join("x")), Some(found.clone()));
            assert_eq!(found.group.unwrap().name, "vg-0");
        }
    }

    #[test]
    fn every_checksum_is_asked() {
        let text = super::super::group::tests::TEXT;
        let good = disk(text, 512);
        let mut bad = good.clone();
        bad[550] ^= 1;
        assert_eq!(physical(&read_of(&bad)), None);
        for at in [START + 41, START + 513] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let found = physical(&read_of(&bad)).unwrap();
            assert_eq!(found.group, None);
        }
    }
}
