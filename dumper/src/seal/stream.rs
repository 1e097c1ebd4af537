//! The payload's cipher: chunk after chunk, each with the next nonce.

use super::{FileKey, derive};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// Bytes of a chunk, but of the last.
pub(super) const CHUNK: usize = 64 << 10;
/// Bytes that encryption adds to each.
pub(super) const TAG: usize = 16;
/// Bytes before the first chunk, which make the payload's key.
pub(super) const NONCE: usize = 16;

/// The key of a payload and the number of the next chunk.
pub(super) struct Stream {
    key: LessSafeKey,
    next: u64,
}

impl Stream {
    pub(super) fn new(file_key: &FileKey, nonce: &[u8; NONCE]) -> Option<Self> {
        let key = derive(file_key, nonce, b"payload")?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?;
        Some(Self {
            key: LessSafeKey::new(key),
            next: 0,
        })
    }

    /// Encrypts the first `len` bytes of `chunk`; the tag comes behind them.
    pub(super) fn seal(&mut self, chunk: &mut [u8], len: usize, last: bool) -> Option<()> {
        let (text, rest) = chunk.split_at_mut_checked(len)?;
        let nonce = nonce(self.next, last);
        let sealed = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), text);
        rest.get_mut(..TAG)?.copy_from_slice(sealed.ok()?.as_ref());
        self.next = self.next.checked_add(1)?;
        Some(())
    }

    /// Decrypts `chunk`, of which the last bytes are the tag. What is not authentic is wiped, and may be tried again.
    pub(super) fn open<'a>(&mut self, chunk: &'a mut [u8], last: bool) -> Option<&'a [u8]> {
        let nonce = nonce(self.next, last);
        let text = self.key.open_in_place(nonce, Aad::empty(), chunk).ok()?;
        self.next = self.next.checked_add(1)?;
        Some(text)
    }

    /// How many chunks were encrypted or decrypted.
    pub(super) fn done(&self) -> u64 {
        self.next
    }
}

/// A number of 11 bytes, and whether the chunk is the last one.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}
