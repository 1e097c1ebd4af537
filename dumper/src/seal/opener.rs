//! The reader: decrypts a stream with an identity.

use super::Identities;
use super::header::{self, OpenError};
use super::stream::{CHUNK, NONCE, Stream, TAG};
use std::io::{self, BufRead, Read};

/// An encrypted chunk.
const SEALED: usize = CHUNK + TAG;

/// Decrypts what is read. Every byte that it gives is authentic; a file that ends too early gives an error of the kind
/// `UnexpectedEof`, one that was changed `InvalidData`. Holds two chunks of 64 KiB.
pub struct Opener<R: BufRead> {
    from: R,
    stream: Stream,
    /// A chunk, and the first byte of the next one.
    sealed: Vec<u8>,
    /// How many bytes of `sealed` are there.
    there: usize,
    /// The chunk decrypted.
    text: Vec<u8>,
    given: usize,
    end: End,
}

/// What comes after the bytes of `text`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// More chunks.
    NotYet,
    /// Nothing.
    Reached,
    /// An error; said again whenever it is asked.
    Failed(io::ErrorKind),
}

impl<R: BufRead> Opener<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When this is no file of age's, or not for one of the `identities`.
    pub fn new(mut from: R, identities: &Identities) -> Result<Self, OpenError> {
        let file_key = header::read(&mut from)?.unlock(identities)?;
        let mut nonce = [0; NONCE];
        from.read_exact(&mut nonce).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => OpenError::Header("it ends after the header"),
            _ => OpenError::Read(e),
        })?;
        let stream = Stream::new(&file_key, &nonce);
        Ok(Self {
            from,
            stream: stream.ok_or(OpenError::Mac)?,
            sealed: vec![0; SEALED + 1],
            there: 0,
            text: Vec::with_capacity(SEALED),
            given: 0,
            end: End::NotYet,
        })
    }

    /// Decrypts the next chunk. It is the last one when no byte follows.
    fn next(&mut self) -> io::Result<()> {
        while let Some(room) = self.sealed.get_mut(self.there..).filter(|r| !r.is_empty()) {
            match self.from.read(room) {
                Ok(0) => break,
                Ok(got) => self.there += got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let more = self.there > SEALED;
        let (text, end) = self.open(self.there.min(SEALED), more);
        self.text.truncate(text);
        (self.given, self.end) = (0, end);
        if more {
            self.sealed.swap(0, SEALED);
        }
        self.there = usize::from(more);
        Ok(())
    }

    /// Decrypts `len` bytes into `text`, and says what comes after them.
    fn open(&mut self, len: usize, more: bool) -> (usize, End) {
        let cut = End::Failed(io::ErrorKind::UnexpectedEof);
        let damaged = End::Failed(io::ErrorKind::InvalidData);
        let first = self.stream.done() == 0;
        match self.attempt(len, !more) {
            // Only an empty file has an empty chunk.
            Some(0) if !first => (0, damaged),
            Some(text) if more => (text, End::NotYet),
            Some(text) => (text, End::Reached),
            // Perhaps the last one, and the rest does not belong to the file.
            None if more => self
                .attempt(len, true)
                .map_or((0, damaged), |text| (text, damaged)),
            None if len < SEALED => (0, cut),
            // Perhaps a whole chunk that is not the last one: the file ends between two.
            None => self
                .attempt(len, false)
                .map_or((0, damaged), |text| (text, cut)),
        }
    }

    fn attempt(&mut self, len: usize, last: bool) -> Option<usize> {
        self.text.clear();
        self.text
            .extend_from_slice(self.sealed.get(..len).unwrap_or_default());
        let text = self.stream.open(&mut self.text, last);
        text.map(<[u8]>::len)
    }

    fn failure(&self, kind: io::ErrorKind) -> io::Error {
        let chunk = self.stream.done();
        let error = match kind {
            io::ErrorKind::UnexpectedEof => OpenError::Cut { chunk },
            _ => OpenError::Damaged { chunk },
        };
        io::Error::new(kind, error)
    }
}

impl<R: BufRead> Read for Opener<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.given == self.text.len() && !buf.is_empty() {
            match self.end {
                End::NotYet => self.next()?,
                End::Reached => return Ok(0),
                End::Failed(kind) => return Err(self.failure(kind)),
            }
        }
        let rest = self.text.get(self.given..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        self.given += len;
        Ok(len)
    }
}
