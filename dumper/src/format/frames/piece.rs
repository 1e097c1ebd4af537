//! One piece: compressing it into a frame, opening a frame, and finding where a frame ends without opening it.

use super::{FrameCodec, PIECE};
use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use std::io::{self, Read, Write};
use zstd_safe::{CCtx, CParameter, DCtx};

const ZSTD_LEVEL: i32 = 1;
/// More than a frame of one piece ever has around its data.
const OVERHEAD: usize = 64 << 10;

/// The longest frame of one piece.
pub(super) const MAX_FRAME: usize = PIECE + OVERHEAD;

/// Compresses pieces.
pub(super) enum Packer {
    Lz4,
    Zstd(CCtx<'static>),
}

impl Packer {
    /// `None` when the memory is not there.
    pub(super) fn new(codec: FrameCodec) -> Option<Self> {
        if codec == FrameCodec::Lz4 {
            return Some(Self::Lz4);
        }
        let mut ctx = CCtx::try_create()?;
        for parameter in [
            CParameter::CompressionLevel(ZSTD_LEVEL),
            CParameter::ChecksumFlag(true),
        ] {
            ctx.set_parameter(parameter).ok()?;
        }
        Some(Self::Zstd(ctx))
    }

    /// Replaces what is in `frame` by the frame of `piece`.
    pub(super) fn pack(&mut self, piece: &[u8], frame: &mut Vec<u8>) -> io::Result<()> {
        frame.clear();
        match self {
            Self::Lz4 => {
                let info = FrameInfo::new()
                    .content_size(Some(piece.len() as u64))
                    .content_checksum(true)
                    .block_size(BlockSize::Max1MB);
                let mut encoder = FrameEncoder::with_frame_info(info, frame);
                encoder.write_all(piece)?;
                // A piece without bytes has a header too.
                encoder.finish()?;
                Ok(())
            }
            Self::Zstd(ctx) => {
                frame.resize(zstd_safe::compress_bound(piece.len()), 0);
                let len = ctx.compress2(&mut frame[..], piece).map_err(zstd_error)?;
                frame.truncate(len);
                Ok(())
            }
        }
    }
}

/// Opens frames.
pub(super) enum Opener {
    Lz4,
    Zstd(DCtx<'static>),
}

impl Opener {
    /// `None` when the memory is not there.
    pub(super) fn new(codec: FrameCodec) -> Option<Self> {
        Some(match codec {
            FrameCodec::Lz4 => Self::Lz4,
            FrameCodec::Zstd => Self::Zstd(DCtx::try_create()?),
        })
    }

    /// Fills `piece` from `frame`, which must hold exactly so much.
    pub(super) fn open(&mut self, frame: &[u8], piece: &mut [u8]) -> io::Result<()> {
        let len = match self {
            Self::Lz4 => {
                let mut decoder = FrameDecoder::new(frame);
                decoder.read_exact(piece)?;
                // The end of the frame is read, where its checksum is.
                piece.len() + decoder.read(&mut [0])?
            }
            Self::Zstd(ctx) => ctx.decompress(piece, frame).map_err(zstd_error)?,
        };
        if len != piece.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a frame does not hold what its header says",
            ));
        }
        Ok(())
    }
}

fn zstd_error(code: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        zstd_safe::get_error_name(code).to_owned(),
    )
}

/// A frame as its headers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its bytes.
    pub(super) len: u64,
    /// The bytes that it holds.
    pub(super) content: u64,
}

/// What is found where a frame is expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Frame(Frame),
    /// The beginning of a frame, but the file ends in it.
    Cut,
    /// A frame of somebody else: without content size, or with more in it than a piece has.
    Foreign,
    /// Something else.
    Nothing,
}

/// Reads up to a buffer's length at an offset of the file, as far as that goes.
pub(super) type ReadSome<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<usize>;

/// Walks the headers of the frame at `at`.
pub(super) fn find(codec: FrameCodec, read: ReadSome<'_>, at: u64) -> io::Result<Found> {
    let mut head = [0; 32];
    let got = read(at, &mut head)?;
    if !head.starts_with(&codec.magic()) {
        return Ok(if got < 4 { Found::Cut } else { Found::Nothing });
    }
    let header = match codec {
        FrameCodec::Lz4 => lz4_header(&head),
        FrameCodec::Zstd => zstd_header(&head),
    };
    let Some(header) = header.filter(|h| h.content <= PIECE as u64) else {
        return Ok(Found::Foreign);
    };
    if got < header.len {
        return Ok(Found::Cut);
    }
    let mut end = at + header.len as u64;
    // A block holds at least one byte, but a sane writer makes few of them.
    for _ in 0..=MAX_FRAME / 64 {
        let mut block = [0; 4];
        let block = &mut block[..header.block];
        if read(end, block)? < block.len() {
            return Ok(Found::Cut);
        }
        let (last, size) = match codec {
            FrameCodec::Lz4 => lz4_block(block, header.block_checksum),
            FrameCodec::Zstd => zstd_block(block),
        };
        end += (block.len() + size) as u64;
        if end - at > MAX_FRAME as u64 {
            return Ok(Found::Foreign);
        }
        if last {
            end += header.checksum;
            return Ok(Found::Frame(Frame {
                len: end - at,
                content: header.content,
            }));
        }
    }
    Ok(Found::Foreign)
}

struct Header {
    len: usize,
    content: u64,
    /// Size of a block's header.
    block: usize,
    /// Bytes after every block.
    block_checksum: usize,
    /// Bytes after the last block.
    checksum: u64,
}

fn lz4_header(head: &[u8; 32]) -> Option<Header> {
    let flags = head[4];
    // Content size is there, no dictionary.
    if flags & 0b1001 != 0b1000 {
        return None;
    }
    Some(Header {
        len: 15,
        content: number(&head[6..14]),
        block: 4,
        block_checksum: if flags & 0x10 != 0 { 4 } else { 0 },
        checksum: if flags & 0x4 != 0 { 4 } else { 0 },
    })
}

/// Whether this is the end, and the bytes of the block.
fn lz4_block(block: &[u8], checksum: usize) -> (bool, usize) {
    match u32::try_from(number(block)).unwrap_or(0) {
        0 => (true, 0),
        word => (
            false,
            usize::try_from(word & !(1 << 31)).unwrap_or(MAX_FRAME) + checksum,
        ),
    }
}

fn zstd_header(head: &[u8; 32]) -> Option<Header> {
    let flags = head[4];
    let single = flags & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(flags & 3)];
    let at = 5 + usize::from(!single) + dictionary;
    let (size, base) = match flags >> 6 {
        0 if single => (1, 0),
        0 => return None,
        1 => (2, 256),
        2 => (4, 0),
        _ => (8, 0),
    };
    Some(Header {
        len: at + size,
        content: number(&head[at..at + size]).saturating_add(base),
        block: 3,
        block_checksum: 0,
        checksum: if flags & 0x4 != 0 { 4 } else { 0 },
    })
}

fn zstd_block(block: &[u8]) -> (bool, usize) {
    let word = number(block);
    let (last, kind, size) = (word & 1 != 0, word >> 1 & 3, word >> 3);
    // A repeated byte is stored once.
    let size = if kind == 1 { 1 } else { size };
    (last, usize::try_from(size).unwrap_or(MAX_FRAME))
}

/// A little-endian number of at most 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut x = 1u64;
        std::iter::repeat_with(|| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            x.to_be_bytes()[0]
        })
        .take(len)
        .collect()
    }

    fn found(codec: FrameCodec, file: &[u8]) -> Found {
        let read = |at: u64, buf: &mut [u8]| {
            let rest = file.get(usize::try_from(at).unwrap()..).unwrap_or(&[]);
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        };
        find(codec, &read, 0).unwrap()
    }

    #[test]
    fn a_frame_is_found_and_opened() {
        for codec in [FrameCodec::Lz4, FrameCodec::Zstd] {
            let (mut packer, mut opener) =
                (Packer::new(codec).unwrap(), Opener::new(codec).unwrap());
            let zeros = vec![0; PIECE];
            for piece in [
                &b""[..],
                b"x",
                &zeros[..300],
                &zeros,
                &noise(PIECE),
                &noise(70_000),
            ] {
                let mut frame = Vec::new();
                packer.pack(piece, &mut frame).unwrap();
                let len = frame.len();
                frame.extend(b"garbage that follows");
                let expected = Frame {
                    len: len as u64,
                    content: piece.len() as u64,
                };
                assert_eq!(found(codec, &frame), Found::Frame(expected), "{codec:?}");
                let mut back = vec![1; piece.len()];
                opener.open(&frame[..len], &mut back).unwrap();
                assert!(back == piece, "{codec:?} {}", piece.len());
                assert!(
                    opener
                        .open(&frame[..len], &mut vec![0; piece.len() + 1])
                        .is_err()
                );
                // The checksum is at the end.
                frame[len - 1] ^= 1;
                assert!(opener.open(&frame[..len], &mut back).is_err(), "{codec:?}");
            }
        }
    }

    #[test]
    fn what_is_no_piece_is_told_apart() {
        let mut frame = Vec::new();
        for codec in [FrameCodec::Lz4, FrameCodec::Zstd] {
            Packer::new(codec)
                .unwrap()
                .pack(b"some bytes", &mut frame)
                .unwrap();
            assert_eq!(found(codec, &frame[..3]), Found::Cut);
            assert_eq!(found(codec, &frame[..7]), Found::Cut);
            assert_eq!(found(codec, &frame[1..]), Found::Nothing);
            assert_eq!(FrameCodec::sniff(&frame), Some(codec));
        }
        assert_eq!(found(FrameCodec::Lz4, &frame), Found::Nothing);
        let mut large = vec![0; 64];
        large[..4].copy_from_slice(&FrameCodec::Lz4.magic());
        large[4] = 0x48;
        large[13] = 1;
        assert_eq!(found(FrameCodec::Lz4, &large), Found::Foreign);
        large[4] = 0x40;
        assert_eq!(found(FrameCodec::Lz4, &large), Found::Foreign);
    }
}
