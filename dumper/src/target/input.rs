//! A file that a dump is read from.

use crate::format::In;
use nix::errno::Errno;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{Whence, lseek64};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// An opened file and its size.
#[derive(Debug)]
pub struct FileIn {
    file: File,
    len: u64,
    in_proc: bool,
}

impl FileIn {
    /// Opens `path`.
    ///
    /// # Errors
    /// As open(2), and for a size that no file has.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    /// A file that is opened.
    ///
    /// # Errors
    /// As lseek(2), and for a size that no file has.
    pub fn of(mut file: File) -> io::Result<Self> {
        // A device has no size in its metadata.
        let len = file.seek(SeekFrom::End(0)).map_err(no_size)?;
        let in_proc = fstatfs(&file).is_ok_and(|s| s.filesystem_type() == PROC_SUPER_MAGIC);
        Ok(Self { file, len, in_proc })
    }
}

/// /proc/vmcore is as large as its ELF headers say, which the loader wrote on the production side: kexec-tools writes a segment of
/// 2^64 bytes when it does not find the start of an arm64 kernel in /proc/kallsyms (2.0.25 and 2.0.32, Linux 6.1).
fn no_size(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::InvalidInput {
        return error;
    }
    let what =
        "it has no valid size: the ELF headers that were made when the kernel was armed are wrong";
    io::Error::new(error.kind(), what)
}

impl In for FileIn {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn to_map(&self) -> Option<BorrowedFd<'_>> {
        self.in_proc.then(|| self.file.as_fd())
    }

    fn hole_at(&self, offset: u64) -> Result<u64, u64> {
        let data = Err(u64::MAX);
        let Ok(at) = i64::try_from(offset) else {
            return data;
        };
        if self.in_proc {
            return data;
        }
        let found = |to: i64| u64::try_from(to).unwrap_or(u64::MAX);
        match lseek64(&self.file, at, Whence::SeekData) {
            Ok(to) if to > at => Ok(found(to)),
            Ok(_) => Err(lseek64(&self.file, at, Whence::SeekHole).map_or(u64::MAX, found)),
            // No data from here to the end.
            Err(Errno::ENXIO) if offset < self.len => Ok(self.len),
            Err(_) => data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_size_is_told_from_one_that_is_missing() {
        let error = FileIn::open(Path::new("/proc/self/mem")).unwrap_err();
        assert!(error.to_string().contains("no valid size"), "{error}");
        let error = FileIn::open(Path::new("/nowhere")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
