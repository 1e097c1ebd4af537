//! Reading frames at any offset of the stream that they hold.

use super::piece::{Found, Frame, MAX_FRAME, Opener, find};
use super::{FrameCodec, PIECE};
use crate::format::In;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Frames whose place is remembered; with more of them every second, fourth, … is.
const MAX_MARKS: usize = 1 << 18;
/// Pieces that are held open: threads that read a dump are near one another.
const PIECES: usize = 4;

/// Why a container is not read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A file of another program.
    #[error(
        "the {codec} frames are not those of baredump, which hold 1 MiB each: decompress the file first, with '{codec} -d'"
    )]
    Foreign {
        /// Which.
        codec: &'static str,
    },
    /// No memory.
    #[error("not enough memory to read {codec} frames")]
    Memory {
        /// Which.
        codec: &'static str,
    },
}

/// The stream in a container.
pub struct FrameIn {
    file: Box<dyn In>,
    codec: FrameCodec,
    /// Where every `stride`th frame begins.
    marks: Vec<u64>,
    stride: u64,
    len: u64,
    truncated: bool,
    cache: Mutex<Cache>,
}

struct Cache {
    opener: Opener,
    frame: Vec<u8>,
    /// The last used one first.
    pieces: Vec<Piece>,
}

struct Piece {
    number: u64,
    bytes: Vec<u8>,
}

impl FrameIn {
    /// Walks the headers of all frames. A container that is cut off ends with its last whole frame.
    ///
    /// # Errors
    /// When the file cannot be read, or its frames are no pieces of ours.
    pub fn open(file: Box<dyn In>, codec: FrameCodec) -> Result<Self, FrameError> {
        let name = codec.name();
        let memory = || FrameError::Memory { codec: name };
        let mut container = Self {
            file,
            codec,
            marks: Vec::new(),
            stride: 1,
            len: 0,
            truncated: true,
            cache: Mutex::new(Cache {
                opener: Opener::new(codec).ok_or_else(memory)?,
                frame: Vec::new(),
                pieces: Vec::new(),
            }),
        };
        let mut at = 0;
        for number in 0.. {
            let frame = match container.find(at)? {
                Found::Frame(frame) => frame,
                Found::Foreign if number == 0 => {
                    return Err(FrameError::Foreign { codec: name });
                }
                Found::Foreign | Found::Cut | Found::Nothing => break,
            };
            // The file may end in the frame.
            if at + frame.len > container.file.len() {
                break;
            }
            container.mark(number, at);
            container.len += frame.content;
            at += frame.len;
            if frame.content < PIECE as u64 {
                container.truncated = false;
                break;
            }
        }
        Ok(container)
    }

    /// Whether the container lacks its last frame.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    fn find(&self, at: u64) -> io::Result<Found> {
        let read = |at: u64, buf: &mut [u8]| {
            let left = self.file.len().saturating_sub(at).min(buf.len() as u64);
            let part = usize::try_from(left).unwrap_or(0);
            if part == 0 {
                return Ok(0);
            }
            self.file.read_at(at, &mut buf[..part]).map(|()| part)
        };
        find(self.codec, &read, at)
    }

    fn mark(&mut self, number: u64, at: u64) {
        if !number.is_multiple_of(self.stride) {
            return;
        }
        if self.marks.len() == MAX_MARKS {
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
        }
        if number.is_multiple_of(self.stride) {
            self.marks.push(at);
        }
    }

    /// Where frame `number` is.
    fn locate(&self, number: u64) -> io::Result<(u64, Frame)> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the frames have changed");
        let mark = usize::try_from(number / self.stride).unwrap_or(usize::MAX);
        let mut at = *self.marks.get(mark).ok_or_else(damaged)?;
        for _ in 0..number % self.stride {
            match self.find(at)? {
                Found::Frame(frame) => at += frame.len,
                _ => return Err(damaged()),
            }
        }
        match self.find(at)? {
            Found::Frame(frame) => Ok((at, frame)),
            _ => Err(damaged()),
        }
    }

    /// Opens piece `number` and puts it first in the cache.
    fn load<'c>(&self, number: u64, cache: &'c mut Cache) -> io::Result<&'c [u8]> {
        let held = cache.pieces.iter().position(|p| p.number == number);
        let index = held.unwrap_or(cache.pieces.len().min(PIECES - 1));
        if held.is_none() {
            let (at, frame) = self.locate(number)?;
            if cache.pieces.len() < PIECES {
                cache.pieces.push(Piece {
                    number,
                    bytes: Vec::new(),
                });
            }
            let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            cache.frame.resize(size(frame.len).min(MAX_FRAME), 0);
            self.file.read_at(at, &mut cache.frame)?;
            let piece = &mut cache.pieces[index];
            // What is in it is not this piece until it is opened.
            piece.number = u64::MAX;
            piece.bytes.resize(size(frame.content).min(PIECE), 0);
            cache.opener.open(&cache.frame, &mut piece.bytes)?;
            piece.number = number;
        }
        cache.pieces[..=index].rotate_right(1);
        Ok(&cache.pieces[0].bytes)
    }
}

impl In for FrameIn {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = 0;
        while done < buf.len() {
            let at = offset.saturating_add(done as u64);
            if at >= self.len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let piece = self.load(at / PIECE as u64, &mut cache)?;
            let from = usize::try_from(at % PIECE as u64).unwrap_or(PIECE);
            let Some(rest) = piece.get(from..).filter(|rest| !rest.is_empty()) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let part = rest.len().min(buf.len() - done);
            buf[done..done + part].copy_from_slice(&rest[..part]);
            done += part;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::FrameOut;
    use super::*;
    use std::io::Write;

    struct Bytes(Vec<u8>);

    impl In for Bytes {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            let start = usize::try_from(offset).unwrap();
            let end = start + buf.len();
            let from = self.0.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
            buf.copy_from_slice(from);
            Ok(())
        }
    }

    fn stream(len: usize) -> Vec<u8> {
        (0..len)
            .map(|i| ((i / 1000 + i % 3) & 0xff).try_into().unwrap())
            .collect()
    }

    fn container(stream: &[u8], codec: FrameCodec) -> Vec<u8> {
        let mut out = FrameOut::new(Vec::new(), codec).unwrap();
        for part in stream.chunks(300_001) {
            out.write_all(part).unwrap();
        }
        out.finish().unwrap()
    }

    fn open(bytes: &[u8], codec: FrameCodec) -> FrameIn {
        FrameIn::open(Box::new(Bytes(bytes.to_vec())), codec).unwrap()
    }

    #[test]
    fn any_offset_is_read_whatever_follows() {
        for codec in [FrameCodec::Lz4, FrameCodec::Zstd] {
            for len in [0, 1, PIECE - 1, PIECE, 6 * PIECE + 77] {
                let stream = stream(len);
                let mut file = container(&stream, codec);
                // An older and longer dump was on the device.
                file.extend(container(&[9; 3 * PIECE], codec));
                let reader = open(&file, codec);
                assert_eq!((reader.len(), reader.is_truncated()), (len as u64, false));
                for (offset, size) in [
                    (0, len),
                    (len / 2, len / 3),
                    (PIECE - 1, 2),
                    (5, 5),
                    (len, 0),
                ] {
                    let Some(expected) = stream.get(offset..offset + size) else {
                        assert!(reader.read_at(offset as u64, &mut vec![0; size]).is_err());
                        continue;
                    };
                    let mut buf = vec![1; size];
                    reader.read_at(offset as u64, &mut buf).unwrap();
                    assert!(buf == expected, "{codec:?} {len} {offset} {size}");
                }
            }
        }
    }

    #[test]
    fn a_cut_container_ends_with_its_last_whole_frame() {
        for codec in [FrameCodec::Lz4, FrameCodec::Zstd] {
            let stream = stream(2 * PIECE + 10);
            let file = container(&stream, codec);
            for len in [0, 1, 200, file.len() / 2, file.len() - 1] {
                let reader = open(&file[..len], codec);
                assert!(reader.is_truncated(), "{codec:?} {len}");
                assert!(
                    reader.len() < stream.len() as u64 && reader.len().is_multiple_of(PIECE as u64)
                );
                let mut buf = vec![0; usize::try_from(reader.len()).unwrap()];
                reader.read_at(0, &mut buf).unwrap();
                assert!(stream.starts_with(&buf));
            }
            let mut damaged = file.clone();
            let end = damaged.len() - 4;
            damaged[end] ^= 1;
            let reader = open(&damaged, codec);
            assert!(reader.read_at(0, &mut [0; 9]).is_ok());
            assert!(reader.read_at(2 << 20, &mut [0; 9]).is_err());
        }
    }

    #[test]
    fn marks_are_thinned_out() {
        let mut reader = open(&container(b"x", FrameCodec::Lz4), FrameCodec::Lz4);
        reader.marks.clear();
        for number in 0..5 * MAX_MARKS as u64 {
            reader.mark(number, number * 10);
        }
        assert_eq!(reader.stride, 8);
        assert!(reader.marks.len() <= MAX_MARKS && reader.marks.len() == 5 * MAX_MARKS / 8);
        assert!((0u64..).zip(&reader.marks).all(|(i, at)| *at == i * 80));
    }
}
