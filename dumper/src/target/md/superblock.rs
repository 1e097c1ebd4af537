//! The superblock of a member, versions 1.0 to 1.2 and 0.90.

use crate::target::container::{md_0_90, md_1_0};
use crate::target::superblock::ReadAt;
use serde::{Deserialize, Serialize};

const MAGIC: u32 = 0xa92b_4efc;
/// Bytes before the roles.
const FIXED: usize = 256;
/// More devices than a superblock of 4 KiB has room for.
const MAX_DEVICES: u32 = 1920;
/// Roles from here on are none: spare, faulty, journal.
const NO_ROLE: u16 = 0xff00;
/// `MD_FEATURE_RECOVERY_OFFSET`.
const REBUILDING: u32 = 2;
/// `MD_FEATURE_RESHAPE_ACTIVE`.
const RESHAPING: u32 = 4;

/// What a member says of itself and of its array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// `0.90`, `1.0`, `1.1` or `1.2`.
    pub version: String,
    /// UUID of the array, 32 hex digits.
    pub array: String,
    /// Name or number of the array, without the host's.
    pub name: String,
    /// RAID level; negative ones are no RAID.
    pub level: i32,
    /// Number of updates: who has fewer missed some.
    pub events: u64,
    /// Its number among the devices of the array.
    pub number: u16,
    /// Its role; none for spares and failed ones.
    pub role: Option<u16>,
    /// It is not yet rebuilt: data are not to be read from it alone.
    pub rebuilding: bool,
    /// The roles of all devices by number, as it knows them.
    pub roles: Vec<Option<u16>>,
    /// The array is being made into another one.
    pub reshaping: bool,
}

/// The member of `size` bytes that `read` reads, if it is one.
pub(in crate::target) fn member(read: ReadAt<'_>, size: u64) -> Option<Member> {
    let at = |at: Option<u64>, version: &str| one(read, at?, version);
    at(Some(4096), "1.2")
        .or_else(|| at(Some(0), "1.1"))
        .or_else(|| at(md_1_0(size), "1.0"))
        .or_else(|| old(read, md_0_90(size)?))
}

fn one(read: ReadAt<'_>, at: u64, version: &str) -> Option<Member> {
    let mut sb = [0; FIXED];
    read(at, &mut sb)?;
    let devices = u32_at(&sb, 220)?;
    let good = u32_at(&sb, 0)? == MAGIC
        && u32_at(&sb, 4)? == 1
        && u64_at(&sb, 144)? == at / 512
        && devices <= MAX_DEVICES;
    if !good {
        return None;
    }
    let mut roles = vec![0; usize::try_from(devices).ok()? * 2];
    read(at + FIXED as u64, &mut roles)?;
    if checksum(&sb, &roles) != u32_at(&sb, 216)? {
        return None;
    }
    let features = u32_at(&sb, 8)?;
    let roles = roles.as_chunks().0.iter().map(|r| u16::from_le_bytes(*r));
    let roles: Vec<_> = roles.map(|r| (r < NO_ROLE).then_some(r)).collect();
    let number = u16::try_from(u32_at(&sb, 160)?).ok()?;
    let name = sb[32..64].split(|&b| b == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name);
    Some(Member {
        version: version.to_owned(),
        array: hex(&sb[16..32]),
        name: name
            .split_once(':')
            .map_or(&*name, |(_, name)| name)
            .to_owned(),
        level: u32_at(&sb, 72)?.cast_signed(),
        events: u64_at(&sb, 200)?,
        number,
        role: roles.get(usize::from(number)).copied().flatten(),
        rebuilding: features & REBUILDING != 0,
        roles,
        reshaping: features & RESHAPING != 0,
    })
}

/// The sum of all words but the checksum's own, the carries added.
fn checksum(sb: &[u8; FIXED], roles: &[u8]) -> u32 {
    let (words, _) = sb.as_chunks::<4>();
    let (pairs, rest) = roles.as_chunks::<4>();
    let mut sum: u64 = words
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != 216 / 4)
        .map(|(_, word)| word)
        .chain(pairs)
        .map(|word| u64::from(u32::from_le_bytes(*word)))
        .sum();
    if let [a, b, ..] = rest {
        sum += u64::from(u16::from_le_bytes([*a, *b]));
    }
    u32::try_from(((sum & 0xffff_ffff) + (sum >> 32)) & 0xffff_ffff).unwrap_or(0)
}

/// Version 0.90, as machines write it that are little-endian; its checksum is the kernel's matter.
fn old(read: ReadAt<'_>, at: u64) -> Option<Member> {
    let mut sb = [0; 4096];
    read(at, &mut sb)?;
    let word = |n: usize| u32_at(&sb, n * 4);
    if word(0)? != MAGIC || word(1)? != 0 || !matches!(word(2)?, 90 | 91) {
        return None;
    }
    let uuid: Vec<u8> = [5, 13, 14, 15]
        .iter()
        .flat_map(|n| &sb[n * 4..n * 4 + 4])
        .copied()
        .collect();
    // Bits of a disk's state: active and in sync. One that is rebuilt is a spare as long as that lasts.
    let role = |at: usize| {
        let in_sync = word(at + 4)? & 0b110 == 0b110;
        u16::try_from(word(at + 3)?).ok().filter(|_| in_sync)
    };
    Some(Member {
        version: "0.90".into(),
        array: hex(&uuid),
        name: word(11)?.to_string(),
        level: word(7)?.cast_signed(),
        events: u64::from(word(39)?) | u64::from(word(40)?) << 32,
        number: u16::try_from(word(992)?).ok()?,
        role: role(992),
        rebuilding: false,
        roles: (0..27).map(|n| role(128 + n * 32)).collect(),
        reshaping: word(2)? == 91,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = (1 << 20) + 0x3200;

    fn found(at: usize, sb: &[u8]) -> Option<Member> {
        let mut bytes = vec![0; SIZE];
        bytes[at..at + sb.len()].copy_from_slice(sb);
        let read = |at: u64, buf: &mut [u8]| {
            let at = usize::try_from(at).ok()?;
            buf.copy_from_slice(bytes.get(at..at.checked_add(buf.len())?)?);
            Some(())
        };
        member(&read, bytes.len() as u64)
    }

    fn version_1(at: usize) -> Vec<u8> {
        let mut sb = vec![0; 256 + 6];
        let mut put = |at: usize, value: &[u8]| sb[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC.to_le_bytes());
        put(4, &[1]);
        put(16, &[0xab; 16]);
        put(32, b"host:crash");
        put(72, &1u32.to_le_bytes());
        put(144, &(at as u64 / 512).to_le_bytes());
        put(160, &[1]);
        put(200, &77u64.to_le_bytes());
        put(220, &3u32.to_le_bytes());
        // A spare, then roles 1 and 0.
        put(256, &[0xff, 0xff, 1, 0, 0, 0]);
        let (fixed, roles) = sb.split_first_chunk::<FIXED>().unwrap();
        let sum = checksum(fixed, roles);
        sb[216..220].copy_from_slice(&sum.to_le_bytes());
        sb
    }

    #[test]
    fn members_of_version_1() {
        for (at, version) in [(4096, "1.2"), (0, "1.1"), (0x10_1000, "1.0")] {
            let member = found(at, &version_1(at)).unwrap();
            assert_eq!(
                (member.version.as_str(), member.name.as_str()),
                (version, "crash")
            );
            assert_eq!(
                (member.level, member.events, member.number, member.role),
                (1, 77, 1, Some(1))
            );
            assert_eq!(member.roles, [None, Some(1), Some(0)]);
            assert!(!member.rebuilding);
            assert_eq!(member.array, "ab".repeat(16));
        }
        let mut rebuilt = version_1(4096);
        rebuilt[8] = 2;
        rebuilt[216] += 2;
        assert!(found(4096, &rebuilt).unwrap().rebuilding);
        let mut bad = version_1(4096);
        bad[201] = 1;
        assert_eq!(found(4096, &bad), None);
        assert_eq!(found(0, &[]), None);
    }

    #[test]
    fn members_of_version_0_90() {
        let mut sb = vec![0; 4096];
        let mut word =
            |n: usize, value: u32| sb[n * 4..n * 4 + 4].copy_from_slice(&value.to_le_bytes());
        for (n, value) in [
            (0, MAGIC),
            (2, 90),
            (7, 1),
            (11, 3),
            (39, 5),
            (128 + 4, 6),
            (160, 1),
            (160 + 3, 1),
            (160 + 4, 1),
            (992, 0),
            (996, 6),
        ] {
            word(n, value);
        }
        let member = found(0xf_0000, &sb).unwrap();
        assert_eq!(
            (member.version.as_str(), member.name.as_str()),
            ("0.90", "3")
        );
        assert_eq!((member.events, member.number, member.role), (5, 0, Some(0)));
        // The other one has failed.
        assert_eq!(member.roles[..2], [Some(0), None]);
    }
}
