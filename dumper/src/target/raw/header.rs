//! The header of a claimed partition, and the zeros around the blocks that show that nobody else has used it since.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

const MAGIC: [u8; 16] = *b"BAREDUMP-RAW-1\n\0";
const LEN: usize = 512;
const NAME_AT: usize = 56;
const CRC_AT: usize = 508;
/// Longest name of a dump's directory.
const NAME_MAX: usize = 255;
/// What lies before the first block and after the last one, all zeros but for the header.
pub const GUARD: u64 = 256 << 10;

/// What the partition is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was claimed and waits.
    Armed,
    /// It holds a dump that nobody has taken.
    Dump,
    /// Its dump was taken: it waits again.
    Taken,
}

/// The header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Random id of the claim.
    pub id: [u8; 16],
    /// Size of the partition in bytes.
    pub size: u64,
    /// Dumps that were begun.
    pub dumps: u64,
    /// What it is used for.
    pub state: State,
    /// Name of the directory that the dump becomes.
    pub name: String,
}

/// Why a device is no claimed partition.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It cannot be read or written.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// No header.
    #[error("it was never claimed for dumps: claim it with 'baredumpctl claim'")]
    Unclaimed,
    /// There is a header with something else around it.
    #[error(
        "it was claimed for dumps, but something else was put on it since: claim it again, or name another target"
    )]
    Overwritten,
    /// The partition table was changed.
    #[error("it was claimed for dumps when it had {then} bytes, and has {now} now: claim it again")]
    Resized {
        /// When it was claimed.
        then: u64,
        /// As it is.
        now: u64,
    },
}

impl Header {
    /// A header for a partition that is claimed now.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn new(size: u64) -> io::Result<Self> {
        Ok(Self {
            id: new_id()?,
            size,
            dumps: 0,
            state: State::Armed,
            name: String::new(),
        })
    }

    /// Reads the header and looks at what is around the blocks.
    ///
    /// # Errors
    /// When the device is no claimed partition of this size.
    pub fn read(device: &File) -> Result<Self, HeaderError> {
        let now = size_of(device)?;
        if now < super::SMALLEST {
            return Err(HeaderError::Unclaimed);
        }
        let mut guard = vec![0; usize::try_from(GUARD).unwrap_or(0)];
        device.read_exact_at(&mut guard, 0)?;
        let Some((first, rest)) = guard.split_first_chunk::<LEN>() else {
            return Err(HeaderError::Unclaimed);
        };
        let Some(header) = Self::decode(first) else {
            let there = first.starts_with(&MAGIC);
            return Err(if there {
                HeaderError::Overwritten
            } else {
                HeaderError::Unclaimed
            });
        };
        if header.size != now {
            return Err(HeaderError::Resized {
                then: header.size,
                now,
            });
        }
        let zeros = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        if !zeros(rest) {
            return Err(HeaderError::Overwritten);
        }
        device.read_exact_at(&mut guard, now - GUARD)?;
        if !zeros(&guard) {
            return Err(HeaderError::Overwritten);
        }
        Ok(header)
    }

    /// Writes the header and waits until it is on the device.
    ///
    /// # Errors
    /// As write(2) and fsync(2).
    pub fn write(&self, device: &File) -> io::Result<()> {
        device.write_all_at(&self.encode(), 0)?;
        device.sync_all()
    }

    /// Writes the zeros around the blocks, and the header.
    ///
    /// # Errors
    /// As write(2) and fsync(2).
    pub fn format(&self, device: &File) -> io::Result<()> {
        let zeros = vec![0; usize::try_from(GUARD).unwrap_or(0)];
        device.write_all_at(&zeros, 0)?;
        device.write_all_at(&zeros, self.size.saturating_sub(GUARD))?;
        device.sync_all()?;
        self.write(device)
    }

    /// Where blocks end.
    pub(super) fn end(&self) -> u64 {
        self.size.saturating_sub(GUARD) & !(super::ALIGN - 1)
    }

    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let name = crate::report::cut(&self.name, NAME_MAX).as_bytes();
        let state: u32 = match self.state {
            State::Armed => 1,
            State::Dump => 2,
            State::Taken => 3,
        };
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 16, &self.id);
        put(&mut bytes, 32, &self.size.to_le_bytes());
        put(&mut bytes, 40, &self.dumps.to_le_bytes());
        put(&mut bytes, 48, &state.to_le_bytes());
        put(
            &mut bytes,
            52,
            &u32::try_from(name.len()).unwrap_or(0).to_le_bytes(),
        );
        put(&mut bytes, NAME_AT, name);
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        if !bytes.starts_with(&MAGIC) || u32_at(bytes, CRC_AT)? != crc32fast::hash(&bytes[..CRC_AT])
        {
            return None;
        }
        let len = usize::try_from(u32_at(bytes, 52)?)
            .ok()
            .filter(|&len| len <= NAME_MAX)?;
        let name = std::str::from_utf8(bytes.get(NAME_AT..NAME_AT + len)?).ok()?;
        Some(Self {
            id: *bytes.get(16..)?.first_chunk()?,
            size: u64_at(bytes, 32)?,
            dumps: u64_at(bytes, 40)?,
            state: match u32_at(bytes, 48)? {
                1 => State::Armed,
                2 => State::Dump,
                3 => State::Taken,
                _ => return None,
            },
            name: name.to_owned(),
        })
    }
}

/// Sixteen random bytes.
///
/// # Errors
/// When the kernel gives none.
pub fn new_id() -> io::Result<[u8; 16]> {
    let mut id = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut id)?;
    Ok(id)
}

/// An id as 32 hex digits.
#[must_use]
pub fn show_id(id: &[u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Size of a device or file.
pub(super) fn size_of(mut device: &File) -> io::Result<u64> {
    device.seek(SeekFrom::End(0))
}

/// Puts `value` at `at`; what does not fit is left out.
pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed() -> (File, Header) {
        let device = tempfile::tempfile().unwrap();
        device.set_len(super::super::SMALLEST).unwrap();
        let header = Header::new(super::super::SMALLEST).unwrap();
        header.format(&device).unwrap();
        (device, header)
    }

    #[test]
    fn round_trip() {
        let (device, mut header) = claimed();
        assert_eq!(Header::read(&device).unwrap(), header);
        header.state = State::Dump;
        header.dumps = 7;
        header.name = "host-20260101-ä".into();
        header.write(&device).unwrap();
        assert_eq!(Header::read(&device).unwrap(), header);
        assert_ne!(new_id().unwrap(), new_id().unwrap());
        assert_eq!(show_id(&[0xa5; 16]), "a5".repeat(16));
    }

    #[test]
    fn whatever_else_was_put_there_is_seen() {
        // ext4, LVM, swap, md 1.2, btrfs, and at the end md 1.0 and 0.90.
        let size = super::super::SMALLEST;
        for at in [
            1024,
            512 + 24,
            4086,
            4096,
            65536 + 64,
            size - 8192,
            size - 65536,
        ] {
            let (device, _) = claimed();
            device.write_all_at(b"\x01", at).unwrap();
            assert!(
                matches!(Header::read(&device), Err(HeaderError::Overwritten)),
                "{at}"
            );
        }
        let (device, _) = claimed();
        device.write_all_at(b"\x01", GUARD).unwrap();
        device.write_all_at(b"\x01", size - GUARD - 1).unwrap();
        assert!(Header::read(&device).is_ok());
    }

    #[test]
    fn a_changed_header_or_size_is_refused() {
        let (device, _) = claimed();
        device.set_len(super::super::SMALLEST + 512).unwrap();
        assert!(matches!(
            Header::read(&device),
            Err(HeaderError::Resized { .. })
        ));
        for at in 0..LEN as u64 {
            let (device, _) = claimed();
            let mut byte = [0];
            device.read_exact_at(&mut byte, at).unwrap();
            device.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
            assert!(Header::read(&device).is_err(), "{at}");
        }
        let empty = tempfile::tempfile().unwrap();
        assert!(matches!(Header::read(&empty), Err(HeaderError::Unclaimed)));
    }
}
