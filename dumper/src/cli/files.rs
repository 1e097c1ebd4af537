//! The files that the commands read and write.

use super::{Done, Failure};
use crate::dump::{self, DeadKernel, Opened};
use crate::format::In;
use crate::target::{FileIn, FileOut};
use crc32fast::Hasher;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The kernel's own text has at most 8 KiB.
const MAX_VMCOREINFO: u64 = 1 << 20;

/// Opens a vmcore, or the parts of a split one; what is no vmcore is unusable input.
pub(super) fn open_all(vmcores: &[PathBuf]) -> Result<DeadKernel, Failure> {
    let opened = open_any(vmcores)?;
    Ok(DeadKernel::understand(opened.into_vmcore(), true))
}

/// The same, not yet understood.
pub(super) fn open_any(paths: &[PathBuf]) -> Result<Opened, Failure> {
    dump::open(paths).map_err(|e| Failure::Input(format!("{}: {e}", names(paths))))
}

/// The text of a VMCOREINFO file, as `makedumpfile -g` or a note's copy have it.
pub(super) fn read_vmcoreinfo(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| Failure::Input(format!("{}: {why}", file.display()));
    let mut text = Vec::new();
    let opened = File::open(file).map_err(|e| failed(e.to_string()))?;
    let read = opened.take(MAX_VMCOREINFO).read_to_end(&mut text);
    read.map_err(|e| failed(e.to_string()))?;
    if !text
        .split(|b| *b == b'\n')
        .any(|line| line.starts_with(b"OSRELEASE="))
    {
        return Err(failed("no VMCOREINFO: it has no line OSRELEASE=".into()));
    }
    Ok(text)
}

/// File names as one text.
pub(super) fn names(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
    names.join(", ")
}

/// Whether all of `paths`, the last of them too, are input: one file, or the parts of a split dump.
pub(super) fn are_parts(paths: &[PathBuf]) -> bool {
    let is_dump = |path: &PathBuf| {
        let mut first = [0; 8];
        let unwrapped = dump::unwrap(path);
        unwrapped.is_ok_and(|u| u.file.read_at(0, &mut first).is_ok() && first == *b"KDUMP   ")
    };
    paths.len() < 2 || paths.last().is_some_and(is_dump)
}

/// A new file, or with `replace` an emptied old one.
pub(super) fn create(path: &Path, replace: bool) -> io::Result<FileOut> {
    let mut open = OpenOptions::new();
    // The bitmaps are read back.
    open.read(true).write(true).mode(0o600);
    if replace {
        open.create(true).truncate(true)
    } else {
        open.create_new(true)
    };
    Ok(FileOut::new(open.open(path)?))
}

/// Refuses an output that is the input: it would be gone before it is read.
pub(super) fn refuse_input(vmcore: &Path, out: &Path) -> Done {
    let id = |path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    match (id(vmcore), id(out)) {
        (Some(a), Some(b)) if a == b => Err(Failure::Usage(format!(
            "{} is the vmcore itself: name another file",
            out.display()
        ))),
        _ => Ok(()),
    }
}

/// Refuses to put a file in the place of what is no file: a directory, or a device that others use.
pub(super) fn refuse_special(out: &Path) -> Done {
    match fs::symlink_metadata(out) {
        Ok(m) if !m.is_file() && !m.is_symlink() => Err(Failure::Usage(format!(
            "{} is no regular file: name another, or use the makedumpfile form, which writes in place",
            out.display()
        ))),
        _ => Ok(()),
    }
}

/// Makes room for a new file under a name that may hold an old one. A symbolic link is removed, not followed.
pub(super) fn make_way(path: &Path, replace: bool) -> io::Result<()> {
    if !replace {
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Adds the bytes of a file to a checksum. Holes are not read: one record of a stream can make a file of petabytes.
pub(super) fn digest(crc: &mut Hasher, file: &FileIn) -> io::Result<()> {
    let (mut at, mut buf) = (0, vec![0; 256 << 10]);
    while at < file.len() {
        match file.hole_at(at) {
            Ok(end) => {
                let end = end.min(file.len());
                add_zeros(crc, end - at);
                at = end;
            }
            Err(end) => {
                let part = (end.min(file.len()) - at).min(buf.len() as u64);
                let bytes = &mut buf[..usize::try_from(part).unwrap_or(0)];
                file.read_at(at, bytes)?;
                crc.update(bytes);
                at += part;
            }
        }
    }
    Ok(())
}

/// Adds zeros by doubling a run of them.
fn add_zeros(crc: &mut Hasher, mut count: u64) {
    let mut run = Hasher::new();
    run.update(&[0]);
    while count > 0 {
        if count & 1 != 0 {
            crc.combine(&run);
        }
        let same = run.clone();
        run.combine(&same);
        count >>= 1;
    }
}

/// Removes a file in which nothing useful was written; a device stays.
pub(super) fn discard(path: &Path, file: &FileOut) {
    if file.file().metadata().is_ok_and(|m| m.is_file()) {
        let _ = fs::remove_file(path);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Out;

    #[test]
    fn holes_count_as_the_zeros_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let out = create(&path, false).unwrap();
        out.write_at(70_001, b"text").unwrap();
        out.write_at(3 << 20, b"end").unwrap();
        out.set_len((4 << 20) + 7).unwrap();
        let mut crc = Hasher::new();
        digest(&mut crc, &FileIn::open(&path).unwrap()).unwrap();
        assert_eq!(crc.finalize(), crc32fast::hash(&fs::read(&path).unwrap()));
    }

    #[test]
    fn a_file_of_holes_takes_no_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create(&path, false).unwrap().set_len(1 << 40).unwrap();
        let (file, mut crc) = (FileIn::open(&path).unwrap(), Hasher::new());
        let hashed = std::thread::spawn(move || digest(&mut crc, &file));
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert!(hashed.is_finished());
    }

    #[test]
    fn what_was_written_can_be_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let out = create(&dir.path().join("a"), false).unwrap();
        out.write_at(4, b"text").unwrap();
        let mut buf = [0; 6];
        out.read_back(2, &mut buf).unwrap();
        assert_eq!(&buf, b"\0\0text");
    }
}
