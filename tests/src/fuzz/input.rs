//! A file in memory with some of its bytes overwritten.

use baredump::format::In;
use std::io;
use std::sync::Arc;

/// A file that is shared by all inputs, with some bytes of it overwritten.
#[derive(Clone, Debug)]
pub struct Patched {
    base: Arc<[u8]>,
    patches: Vec<(usize, Vec<u8>)>,
}

impl Patched {
    /// `base` as it is.
    pub fn new(base: Arc<[u8]>) -> Self {
        Self {
            base,
            patches: Vec::new(),
        }
    }

    /// Overwrites what is at `offset`.
    pub fn patch(&mut self, offset: usize, bytes: &[u8]) {
        let room = self.base.len().saturating_sub(offset);
        self.patches
            .push((offset, bytes[..bytes.len().min(room)].to_vec()));
    }
}

impl In for Patched {
    fn len(&self) -> u64 {
        self.base.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.checked_add(buf.len());
        let part = end.and_then(|end| self.base.get(start..end));
        buf.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        for (at, bytes) in &self.patches {
            let (from, to) = (start.max(*at), (start + buf.len()).min(at + bytes.len()));
            if from < to {
                buf[from - start..to - start].copy_from_slice(&bytes[from - at..to - at]);
            }
        }
        Ok(())
    }
}
