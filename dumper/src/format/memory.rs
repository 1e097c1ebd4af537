//! An output of tests.

use super::Out;
use std::io;
use std::sync::Mutex;

/// A file that is empty, or a device that was used before.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) Mutex<Vec<u8>>, pub(crate) bool);

impl Out for Memory {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut file, start) = (self.0.lock().unwrap(), usize::try_from(offset).unwrap());
        let len = file.len().max(start + bytes.len());
        file.resize(len, 0);
        file[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn reserve(&self, _: std::ops::Range<u64>) -> io::Result<()> {
        Ok(())
    }
    fn has_holes(&self) -> bool {
        !self.1
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.1 {
            return Ok(());
        }
        let len = usize::try_from(len).unwrap();
        self.0.lock().unwrap().resize(len, 0);
        Ok(())
    }
}
