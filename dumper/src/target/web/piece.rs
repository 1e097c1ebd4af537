//! The piece of a file that is in memory, and perhaps on its way to the server while the rest of it is made.

use super::client::Sending;
use std::io;

/// Less is held without the room for a whole piece.
const SMALL: usize = 64 << 10;

/// A piece that is being made.
pub(super) struct Piece {
    bytes: Vec<u8>,
    /// Bytes of a full one.
    whole: usize,
    /// The request that takes it.
    sending: Option<Sending>,
}

impl Piece {
    /// An empty one of at most `whole` bytes.
    pub(super) const fn new(whole: usize) -> Self {
        Self {
            bytes: Vec::new(),
            whole,
            sending: None,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() == self.whole
    }

    /// Sends from now on what comes, with a request for a full piece.
    pub(super) fn send_early(&mut self, sending: Option<Sending>) {
        self.sending = sending;
    }

    /// Takes as many bytes as there is room for; how many that is. That sending them fails is no harm: a piece that is full and not
    /// sent is sent from memory.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.whole - self.bytes.len());
        let bytes = bytes.get(..count).unwrap_or_default();
        self.room(count)?;
        let sent = self.sending.as_mut().map(|sending| sending.bytes(bytes));
        if matches!(sent, Some(Err(_))) {
            self.sending = None;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(count)
    }

    /// The request that has taken all of it. One for a piece that did not become full was begun with the wrong length: it ends with
    /// its connection.
    pub(super) fn sent(&mut self) -> Option<Sending> {
        let full = self.is_full();
        self.sending.take().filter(|_| full)
    }

    /// Forgets the bytes and keeps their room.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sending = None;
    }

    /// Makes room, once for all of it when it becomes large.
    fn room(&mut self, count: usize) -> io::Result<()> {
        let len = self.bytes.len();
        if self.bytes.capacity() - len >= count {
            return Ok(());
        }
        let wanted = if len + count > SMALL {
            self.whole
        } else {
            SMALL
        };
        self.bytes
            .try_reserve_exact(wanted.max(count) - len)
            .map_err(|_| io::ErrorKind::OutOfMemory.into())
    }
}
