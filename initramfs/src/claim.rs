//! Claiming a partition for `raw:` targets: a header with a random id, which the image names and the capture looks for.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use baredump::target::occupant;
use baredump::target::raw::{Header, SMALLEST, State, show_id};
use nix::fcntl::OFlag;
use thiserror::Error;

/// A claimed partition.
#[derive(Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its id, 32 hex digits.
    pub id: String,
    /// It was claimed before, and is left as it is.
    pub old: bool,
}

/// Why a partition can't be claimed.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// It can't be opened, read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The device.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The kernel uses it.
    #[error(
        "{} is in use: it is mounted, a swap space, part of a RAID or of a logical volume, or holds one that is; choose a partition of its own", .0.display()
    )]
    Busy(PathBuf),
    /// No block device.
    #[error("{} is neither a block device nor a file", .0.display())]
    Kind(PathBuf),
    /// No dump would fit.
    #[error("{} has {size} bytes, a partition for dumps has at least {SMALLEST}", path.display())]
    Small {
        /// The device.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// Something else is on it.
    #[error("{} holds {what}: choose another partition, or overwrite it with --force", path.display())]
    Occupied {
        /// The device.
        path: PathBuf,
        /// What it holds.
        what: &'static str,
    },
    /// A dump is on it.
    #[error(
        "{} holds a dump that was not taken: run 'baredump recover' first, or throw it away with --force", .0.display()
    )]
    Untaken(PathBuf),
    /// It was never claimed.
    #[error("{}: {why}", path.display())]
    Unclaimed {
        /// The device.
        path: PathBuf,
        /// What was found.
        why: String,
    },
}

/// Claims `path`. A partition that was claimed before keeps its id, unless `force` throws away what is there.
///
/// # Errors
/// When it is in use, or holds something and `force` is not given; nothing is written then.
pub fn claim(path: &Path, force: bool) -> Result<Claim, ClaimError> {
    let failed = |cause| ClaimError::Io {
        path: path.into(),
        cause,
    };
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    if !kind.is_block_device() && !kind.is_file() {
        return Err(ClaimError::Kind(path.into()));
    }
    // Without O_CREAT, on a device: nobody else may have it.
    let flags = if kind.is_file() {
        OFlag::empty()
    } else {
        OFlag::O_EXCL
    };
    let mut options = File::options();
    let device = options
        .read(true)
        .write(true)
        .custom_flags(flags.bits())
        .open(path);
    let device = device.map_err(|cause| match cause.kind() {
        io::ErrorKind::ResourceBusy => ClaimError::Busy(path.into()),
        _ => failed(cause),
    })?;
    match (Header::read(&device), force) {
        (_, true) => {}
        (Ok(header), false) if header.state == State::Dump => {
            return Err(ClaimError::Untaken(path.into()));
        }
        (Ok(header), false) => {
            return Ok(Claim {
                id: show_id(&header.id),
                old: true,
            });
        }
        (Err(_), false) => {
            if let Some(what) = occupant(&device).map_err(failed)? {
                return Err(ClaimError::Occupied {
                    path: path.into(),
                    what,
                });
            }
        }
    }
    let size = io::Seek::seek(&mut &device, io::SeekFrom::End(0)).map_err(failed)?;
    if size < SMALLEST {
        return Err(ClaimError::Small {
            path: path.into(),
            size,
        });
    }
    let header = Header::new(size).map_err(failed)?;
    header.format(&device).map_err(failed)?;
    Ok(Claim {
        id: show_id(&header.id),
        old: false,
    })
}

/// The id of a claimed partition.
///
/// # Errors
/// When it is none.
pub fn id(path: &Path) -> Result<String, ClaimError> {
    let device = File::open(path).map_err(|cause| ClaimError::Io {
        path: path.into(),
        cause,
    })?;
    let header = Header::read(&device).map_err(|error| ClaimError::Unclaimed {
        path: path.into(),
        why: error.to_string(),
    })?;
    Ok(show_id(&header.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("partition");
        fs::write(&path, bytes).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(20 << 20)
            .unwrap();
        (dir, path)
    }

    #[test]
    fn a_claim_stays() {
        let (_dir, path) = file(b"anything");
        let first = claim(&path, false).unwrap();
        assert!(!first.old && id(&path).unwrap() == first.id);
        let again = claim(&path, false).unwrap();
        assert!(again.old && again.id == first.id);
        let new = claim(&path, true).unwrap();
        assert!(!new.old && new.id != first.id);
    }

    #[test]
    fn what_is_used_is_not_claimed() {
        let (_dir, path) = file(b"XFSB");
        let before = fs::read(&path).unwrap();
        let refused = claim(&path, false).unwrap_err().to_string();
        assert!(
            refused.contains("holds an XFS file system") && refused.contains("--force"),
            "{refused}"
        );
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(
            id(&path)
                .unwrap_err()
                .to_string()
                .contains("baredumpctl claim")
        );
        claim(&path, true).unwrap();
        let device = File::options().read(true).write(true).open(&path).unwrap();
        assert_eq!(occupant(&device).unwrap(), None);
        // A dump that nobody has taken.
        let mut header = Header::read(&device).unwrap();
        header.state = State::Dump;
        header.write(&device).unwrap();
        assert!(matches!(claim(&path, false), Err(ClaimError::Untaken(_))));
        claim(&path, true).unwrap();
        assert_eq!(Header::read(&device).unwrap().state, State::Armed);
    }

    #[test]
    fn too_small_or_no_device() {
        let (dir, path) = file(b"");
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(4096)
            .unwrap();
        assert!(matches!(claim(&path, false), Err(ClaimError::Small { .. })));
        assert!(matches!(claim(dir.path(), false), Err(ClaimError::Kind(_))));
        assert!(matches!(
            claim(&dir.path().join("none"), false),
            Err(ClaimError::Io { .. })
        ));
    }
}
