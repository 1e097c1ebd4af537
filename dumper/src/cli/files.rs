//! The files that the commands read and write.

use super::Failure;
use crate::dump::DeadKernel;
use crate::format::kdump::{Dump, ReadError};
use crate::target::{FileIn, FileOut};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a vmcore; what is no vmcore is unusable input.
pub(super) fn open(vmcore: &Path) -> Result<DeadKernel, Failure> {
    DeadKernel::open(vmcore, true).map_err(|e| Failure::Input(format!("{}: {e}", vmcore.display())))
}

/// Opens a dump.
pub(super) fn open_dump(path: &Path) -> Result<Dump, ReadError> {
    Dump::open(Box::new(FileIn::open(path)?))
}

/// A new file, or with `replace` an emptied old one.
pub(super) fn create(path: &Path, replace: bool) -> io::Result<FileOut> {
    let mut open = OpenOptions::new();
    open.write(true).mode(0o600);
    if replace {
        open.create(true).truncate(true)
    } else {
        open.create_new(true)
    };
    Ok(FileOut::new(open.open(path)?))
}

/// The output's error, in a user's words.
pub(super) fn output_failed(path: &Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Failure::Usage(format!(
            "{} exists: name another file, or replace it with -f",
            path.display()
        ));
    }
    Failure::Failed(format!("cannot write {}: {error}", path.display()))
}

/// Makes a rename last.
pub(super) fn sync_directory(file: &Path) -> io::Result<()> {
    let parent = file
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
