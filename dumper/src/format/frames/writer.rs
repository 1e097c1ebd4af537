//! Writing frames.

use super::piece::{MAX_FRAME, Packer};
use super::{FrameCodec, PIECE};
use std::io::{self, Write};

/// Compresses what is written into frames: one piece is collected, one frame is on its way.
pub struct FrameOut<W: Write> {
    to: W,
    packer: Packer,
    piece: Vec<u8>,
    frame: Vec<u8>,
}

impl<W: Write> FrameOut<W> {
    /// Writes to `to`; `None` when the memory is not there.
    #[must_use]
    pub fn new(to: W, codec: FrameCodec) -> Option<Self> {
        let [mut piece, mut frame] = [Vec::new(), Vec::new()];
        piece.try_reserve_exact(PIECE).ok()?;
        frame.try_reserve_exact(MAX_FRAME).ok()?;
        Some(Self {
            to,
            packer: Packer::new(codec)?,
            piece,
            frame,
        })
    }

    /// Writes the last piece and gives back where the frames went.
    ///
    /// # Errors
    /// As the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.put()?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn put(&mut self) -> io::Result<()> {
        self.packer.pack(&self.piece, &mut self.frame)?;
        self.piece.clear();
        self.to.write_all(&self.frame)
    }
}

impl<W: Write> Write for FrameOut<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..part]);
        if self.piece.len() == PIECE {
            self.put()?;
        }
        Ok(part)
    }

    /// A piece that is not full stays: only [`FrameOut::finish`] ends it.
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
