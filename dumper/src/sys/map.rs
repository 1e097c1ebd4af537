//! Read-only maps of files.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The page size of the running kernel, for the offsets of maps; it says nothing about the dead one.
#[must_use]
pub fn page_size() -> u64 {
    // SAFETY: the call takes no pointer and changes nothing.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let size = u64::try_from(size).unwrap_or(0);
    // Without an answer, the largest there is fits every kernel.
    if size.is_power_of_two() { size } else { 65536 }
}

/// A private read-only map of a range of a file. Bytes leave it only by copy, because the memory behind it (that of a dead
/// kernel, with devices that may still write to it) can change at any time.
#[derive(Debug)]
pub struct Map {
    at: NonNull<libc::c_void>,
    len: usize,
}

// SAFETY: the map is owned, read-only and freed once, in `drop`; nothing about it belongs to a thread.
unsafe impl Send for Map {}

impl Map {
    /// Maps `len` bytes of `file` from `offset`, which must be a multiple of the page size.
    ///
    /// # Errors
    /// As mmap(2); EINVAL also when the sizes do not fit.
    pub fn new(file: impl AsFd, offset: u64, len: usize) -> io::Result<Self> {
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        let length = NonZeroUsize::new(len).ok_or_else(invalid)?;
        let offset = i64::try_from(offset).map_err(|_| invalid())?;
        // SAFETY: no address is asked for, so no existing map is replaced; the result is owned by `Map`.
        let at = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ,
                MapFlags::MAP_PRIVATE,
                file,
                offset,
            )?
        };
        Ok(Self { at, len })
    }

    /// Copies the bytes at `from` into `buf`; `false` when they are not all inside the map.
    #[must_use]
    pub fn copy_to(&self, from: usize, buf: &mut [u8]) -> bool {
        if from > self.len || buf.len() > self.len - from {
            return false;
        }
        // SAFETY: `from..from + buf.len()` was just checked to lie inside the map, which lives as long as `self`; `buf` is
        // ours alone and cannot overlap a map nobody else has a reference to. A fault (SIGBUS) ends the process, which the
        // supervisor treats as a failed step.
        unsafe {
            let src = self.at.as_ptr().cast::<u8>().cast_const().add(from);
            std::ptr::copy_nonoverlapping(src, buf.as_mut_ptr(), buf.len());
        }
        true
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never true: an empty map cannot be made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: `at` and `len` are what mmap gave; no reference into the map can exist, bytes leave only by copy.
        let _ = unsafe { munmap(self.at, self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn copies_only_what_is_inside() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 8192]).unwrap();
        let map = Map::new(&file, 4096, 4096).unwrap();
        let mut buf = [0; 16];
        assert!(map.copy_to(4080, &mut buf));
        assert_eq!(buf, [7; 16]);
        assert!(!map.copy_to(4081, &mut buf));
        assert!(!map.copy_to(usize::MAX, &mut buf));
        assert!(Map::new(&file, 1, 4096).is_err());
        assert!(Map::new(&file, 0, 0).is_err());
    }
}
