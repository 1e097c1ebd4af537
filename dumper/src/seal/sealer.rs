//! The writer: encrypts a stream to recipients as it is written.

use super::stream::{CHUNK, NONCE, Stream, TAG};
use super::{FileKey, Recipients, header};
use crate::entropy;
use std::io::{self, Write};

/// Encrypts what is written. Only [`Sealer::finish`] ends the file: one that was not finished is known as cut off by everybody who
/// decrypts it. Holds one chunk of 64 KiB.
pub struct Sealer<W: Write> {
    out: W,
    stream: Stream,
    /// The chunk that is being filled, and room for its tag.
    chunk: Vec<u8>,
    filled: usize,
    /// A chunk was encrypted and not written: there is no way on.
    broken: bool,
}

impl<W: Write> Sealer<W> {
    /// Begins a file for `recipients` in `out`: its header is written.
    ///
    /// # Errors
    /// When `out` fails, or the kernel has no random numbers.
    pub fn new(mut out: W, recipients: &Recipients) -> io::Result<Self> {
        let (mut file_key, mut nonce): (FileKey, _) = ([0; 16], [0; NONCE]);
        entropy::fill(&mut file_key)?;
        entropy::fill(&mut nonce)?;
        let mut chunk = Vec::new();
        chunk
            .try_reserve_exact(CHUNK + TAG)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        chunk.resize(CHUNK + TAG, 0);
        let stream = Stream::new(&file_key, &nonce).ok_or_else(failed)?;
        out.write_all(&header::write(&file_key, recipients)?)?;
        out.write_all(&nonce)?;
        Ok(Self {
            out,
            stream,
            chunk,
            filled: 0,
            broken: false,
        })
    }

    /// Writes what is left and the end.
    ///
    /// # Errors
    /// As write(2).
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// What is written to.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier chunk could not be written"));
        }
        self.broken = true;
        self.stream
            .seal(&mut self.chunk, self.filled, last)
            .ok_or_else(failed)?;
        let len = self.filled + TAG;
        self.out
            .write_all(self.chunk.get(..len).unwrap_or_default())?;
        self.filled = 0;
        self.broken = false;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits until it is known whether it is the last one.
        if self.filled == CHUNK && !bytes.is_empty() {
            self.seal(false)?;
        }
        let len = bytes.len().min(CHUNK - self.filled);
        self.chunk[self.filled..self.filled + len].copy_from_slice(&bytes[..len]);
        self.filled += len;
        Ok(len)
    }

    /// Of a chunk that is not full nothing can be written.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Never happens: all lengths are right, and no file has 2^64 chunks.
fn failed() -> io::Error {
    io::Error::other("encryption failed")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{IDENTITY, RECIPIENT, sealed};
    use super::super::{Identities, Opener, Recipients};
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_sealed_is_opened() {
        let identity = Identities::parse(IDENTITY.as_bytes()).unwrap();
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5] {
            let text: Vec<_> = (0..len).map(|i| i.to_le_bytes()[0] ^ 0x5a).collect();
            let file = sealed(&text);
            let chunks = len.div_ceil(CHUNK).max(1);
            assert!(file.len() > len + chunks * TAG + NONCE);
            assert!(text.len() < 64 || !file.windows(64).any(|w| w == &text[..64]));
            let mut back = Vec::new();
            let mut opener = Opener::new(&*file, &identity).unwrap();
            opener.read_to_end(&mut back).unwrap();
            assert_eq!(back, text);
        }
    }

    #[test]
    fn a_file_that_is_not_finished_is_cut_off() {
        let recipients = Recipients::parse(&[RECIPIENT]).unwrap();
        let mut file = Vec::new();
        let mut sealer = Sealer::new(&mut file, &recipients).unwrap();
        sealer.write_all(&vec![1; 2 * CHUNK]).unwrap();
        drop(sealer);
        let identity = Identities::parse(IDENTITY.as_bytes()).unwrap();
        let mut back = Vec::new();
        let error = Opener::new(&*file, &identity)
            .unwrap()
            .read_to_end(&mut back)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        assert_eq!(back, vec![1; CHUNK]);
    }

    /// Fails after some bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_is_encrypted_twice_with_one_nonce() {
        let recipients = Recipients::parse(&[RECIPIENT]).unwrap();
        let mut sealer = Sealer::new(Full(CHUNK), &recipients).unwrap();
        assert!(sealer.write_all(&vec![1; 3 * CHUNK]).is_err());
        sealer.out.0 = usize::MAX;
        let again = sealer.write_all(b"x").unwrap_err();
        assert!(again.to_string().contains("earlier"), "{again}");
        assert!(sealer.finish().is_err());
    }
}
