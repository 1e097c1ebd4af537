//! A part of a dump that grows from its start to its end, with its checksum.

use crate::format::Out;
use crc32fast::Hasher;
use std::io;

/// A part of the file that is written from its start to its end, with the CRC-32 of what was written.
pub(super) struct Stream {
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) crc: Hasher,
}

impl Stream {
    /// An empty one.
    pub(super) fn at(start: u64) -> Self {
        Self {
            start,
            len: 0,
            crc: Hasher::new(),
        }
    }

    /// Writes its next bytes.
    pub(super) fn append(&mut self, out: &dyn Out, bytes: &[u8]) -> io::Result<()> {
        out.write_at(self.start + self.len, bytes)?;
        self.crc.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Zeros up to `len`: a hole, where there can be one.
    pub(super) fn zeros_to(&mut self, out: &dyn Out, len: u64) -> io::Result<()> {
        if out.has_holes() {
            self.skip_to(len);
            return Ok(());
        }
        let zeros = [0; 4096];
        while self.len < len {
            let part = (len - self.len).min(zeros.len() as u64);
            self.append(out, &zeros[..usize::try_from(part).unwrap_or(0)])?;
        }
        Ok(())
    }

    /// Counts zeros up to `len` that are not written.
    pub(super) fn skip_to(&mut self, len: u64) {
        let zeros = [0; 4096];
        while self.len < len {
            let part = (len - self.len).min(zeros.len() as u64);
            self.crc
                .update(&zeros[..usize::try_from(part).unwrap_or(0)]);
            self.len += part;
        }
    }
}
