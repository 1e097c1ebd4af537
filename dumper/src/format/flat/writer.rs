//! Writing a flattened stream.

use super::{END, header};
use crate::format::Out;
use std::io::{self, BufWriter, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes that are collected before they are written; what is larger goes past the buffer.
const BUFFER: usize = 64 << 10;

/// An output that passes on what is written as records of a stream.
pub struct FlatOut<W: Write + Send>(Mutex<State<W>>);

struct State<W: Write> {
    to: BufWriter<W>,
    /// One past the last byte of all records.
    end: u64,
    /// The length that was set.
    len: u64,
    /// The stream is cut off here: what comes after would be taken for something else.
    failed: Option<(io::ErrorKind, Option<i32>)>,
}

impl<W: Write + Send> FlatOut<W> {
    /// Begins a stream to `to`.
    ///
    /// # Errors
    /// As `to`.
    pub fn new(to: W) -> io::Result<Self> {
        let mut to = BufWriter::with_capacity(BUFFER, to);
        to.write_all(&header())?;
        Ok(Self(Mutex::new(State {
            to,
            end: 0,
            len: 0,
            failed: None,
        })))
    }

    /// Writes the end marker and gives back where the stream went.
    ///
    /// # Errors
    /// As the output; also when an earlier write failed: a stream that lacks something must not say that it is whole.
    pub fn finish(self) -> io::Result<W> {
        let mut state = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        if state.len > state.end {
            // The file ends in a hole.
            state.record(state.len - 1, &[0])?;
        }
        state.put(|to| to.write_all(&END).and_then(|()| to.flush()))?;
        state
            .to
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
    }

    /// The error that cut the stream off.
    pub fn failed(&self) -> Option<io::Error> {
        self.state().failed()
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write> State<W> {
    fn failed(&self) -> Option<io::Error> {
        self.failed
            .map(|(kind, os)| os.map_or_else(|| kind.into(), io::Error::from_raw_os_error))
    }

    fn put(&mut self, write: impl FnOnce(&mut BufWriter<W>) -> io::Result<()>) -> io::Result<()> {
        if let Some(error) = self.failed() {
            return Err(error);
        }
        write(&mut self.to).inspect_err(|e| self.failed = Some((e.kind(), e.raw_os_error())))
    }

    fn record(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let size = bytes.len() as u64;
        self.put(|to| {
            to.write_all(&offset.to_be_bytes())?;
            to.write_all(&size.to_be_bytes())?;
            to.write_all(bytes)
        })?;
        self.end = self.end.max(offset.saturating_add(size));
        Ok(())
    }
}

impl<W: Write + Send> Out for FlatOut<W> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.state().record(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state().len = len;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.state().put(Write::flush)
    }

    fn is_stream(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let out = FlatOut::new(Vec::new()).unwrap();
        out.reserve(0..1 << 40).unwrap();
        out.write_at(0x1068, b"notes").unwrap();
        out.write_at(7, b"").unwrap();
        out.set_len(0x2000).unwrap();
        let stream = out.finish().unwrap();
        assert_eq!(&stream[..16], b"makedumpfile\0\0\0\0");
        assert_eq!((stream[23], stream[31]), (1, 1));
        let mut rest = vec![0, 0, 0, 0, 0, 0, 0x10, 0x68, 0, 0, 0, 0, 0, 0, 0, 5];
        rest.extend(b"notes");
        rest.extend([0, 0, 0, 0, 0, 0, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        rest.extend([0xff; 16]);
        assert_eq!(stream[4096..], rest);
    }

    #[test]
    fn after_a_failed_write_nothing_more_is_written() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let room = bytes.len().min(self.0);
                self.0 -= room;
                match room {
                    0 => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
                    n => Ok(n),
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let out = FlatOut::new(Full(100_000)).unwrap();
        assert!(out.failed().is_none());
        out.write_at(0, &[1; 90_000]).unwrap();
        assert!(out.write_at(90_000, &[1; 90_000]).is_err());
        assert_eq!(out.failed().unwrap().raw_os_error(), Some(libc::ENOSPC));
        assert!(out.write_at(0, b"x").is_err() && out.sync().is_err());
        assert!(out.finish().is_err());
    }
}
