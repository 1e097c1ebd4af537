//! The head of a block.

use super::header::{Header, put, u32_at, u64_at};

/// Its length.
pub(super) const LEN: usize = 64;
const MAGIC: [u8; 8] = *b"BDRBLOCK";
const CRC_AT: usize = 60;

/// What a block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file begins.
    Begin,
    /// Its next bytes.
    Data,
    /// It is whole, and has its final name.
    Commit,
    /// It ended, and keeps its incomplete name.
    Keep,
    /// A file has another name.
    Rename,
    /// A file is no more.
    Remove,
}

const KINDS: [(u32, Kind); 6] = [
    (1, Kind::Begin),
    (2, Kind::Data),
    (3, Kind::Commit),
    (4, Kind::Keep),
    (5, Kind::Rename),
    (6, Kind::Remove),
];

/// The head of a block, without what is the same in each of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// From 0.
    pub(super) number: u64,
    pub(super) kind: Kind,
    /// Number of the file.
    pub(super) file: u32,
    /// Length of the payload.
    pub(super) len: u32,
    /// CRC-32 of the payload.
    pub(super) crc: u32,
}

impl Block {
    pub(super) fn encode(&self, header: &Header) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let kind = KINDS.iter().find(|(_, kind)| *kind == self.kind);
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &header.id);
        put(&mut bytes, 24, &header.dumps.to_le_bytes());
        put(&mut bytes, 32, &self.number.to_le_bytes());
        put(&mut bytes, 40, &kind.map_or(0, |kind| kind.0).to_le_bytes());
        put(&mut bytes, 44, &self.file.to_le_bytes());
        put(&mut bytes, 48, &self.len.to_le_bytes());
        put(&mut bytes, 52, &self.crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    /// The head, if it is one of this dump.
    pub(super) fn decode(bytes: &[u8; LEN], header: &Header) -> Option<Self> {
        let ours = bytes.starts_with(&MAGIC)
            && bytes.get(8..24)? == header.id
            && u64_at(bytes, 24)? == header.dumps
            && u32_at(bytes, CRC_AT)? == crc32fast::hash(&bytes[..CRC_AT]);
        if !ours {
            return None;
        }
        let kind = u32_at(bytes, 40)?;
        Some(Self {
            number: u64_at(bytes, 32)?,
            kind: KINDS.iter().find(|(number, _)| *number == kind)?.1,
            file: u32_at(bytes, 44)?,
            len: u32_at(bytes, 48)?,
            crc: u32_at(bytes, 52)?,
        })
    }

    /// Bytes that it takes on the partition.
    pub(super) fn room(&self) -> u64 {
        (LEN as u64 + u64::from(self.len)).next_multiple_of(super::ALIGN)
    }
}
