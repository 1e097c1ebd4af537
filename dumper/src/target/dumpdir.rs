//! The directory of one dump, and the way of each file in it: written under an incomplete name, synced, renamed, synced.
//!
//! A path on the target is never trusted: it is resolved with openat2(2) inside the mount, so that no symbolic link leads out of
//! it. Needs Linux 5.6.

use super::file::{Mounted, TargetError};
use super::place::{Manners, Pending, Place};
use crate::format::Out;
use nix::errno::Errno;
use nix::fcntl::{
    FallocateFlags, OFlag, OpenHow, ResolveFlag, fallocate, openat, openat2, renameat,
};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The directory of one dump.
#[derive(Debug)]
pub struct DumpDir {
    fd: OwnedFd,
    /// Path on the target's file system.
    path: String,
    keeps_modes: bool,
    /// How files are opened.
    access: OFlag,
}

const DIR: OFlag = OFlag::O_DIRECTORY
    .union(OFlag::O_RDONLY)
    .union(OFlag::O_CLOEXEC);
const PRIVATE_DIR: Mode = Mode::S_IRWXU;
const PRIVATE_FILE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
/// Directories of the same second and boot that are tried.
const MAX_TWINS: u32 = 999;

impl DumpDir {
    /// Makes `PATH/NAME/` below the mount point, or `NAME-2`, … when that exists. Missing parts of `PATH` are made too.
    ///
    /// # Errors
    /// When a directory cannot be made, or `path` leads out of the mount.
    pub fn create(mounted: &Mounted, path: &str, name: &str) -> Result<Self, TargetError> {
        let (base, base_path) = open_base(&mounted.point, path)?;
        for n in 1..=MAX_TWINS {
            let name = if n == 1 {
                name.to_owned()
            } else {
                format!("{name}-{n}")
            };
            let at = shown(mounted, &base_path.join(&name));
            match mkdirat(&base, name.as_str(), PRIVATE_DIR) {
                Ok(()) => {
                    fsync(&base).map_err(at_path("sync", &base_path))?;
                    let fd = openat(&base, name.as_str(), DIR | OFlag::O_NOFOLLOW, Mode::empty())
                        .map_err(at_path("open", &at))?;
                    return Ok(Self::of(fd, &at, mounted));
                }
                Err(Errno::EEXIST) => {}
                Err(e) => return Err(at_path("make", &at)(e)),
            }
        }
        Err(at_path("make", &shown(mounted, &base_path.join(name)))(
            Errno::EEXIST,
        ))
    }

    /// Opens the directory that its path named before.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open(mounted: &Mounted, path: &str) -> Result<Self, TargetError> {
        let root = open_root(&mounted.point)?;
        let export = mounted.node.to_string_lossy();
        let inside = path.strip_prefix(&*export).filter(|_| mounted.is_remote());
        let (inside, path) = (Path::new(inside.unwrap_or(path)), Path::new(path));
        let fd = open_inside(&root, inside).map_err(at_path("open", path))?;
        Ok(Self::of(fd, path, mounted))
    }

    fn of(fd: OwnedFd, path: &Path, mounted: &Mounted) -> Self {
        Self {
            fd,
            path: path.display().to_string(),
            keeps_modes: mounted.holds_modes,
            // A file that can be read has parts of pages read from the server before they are written, by READ_PLUS from Linux 6.8
            // on, which is an error with nfs-ganesha. Bitmaps that cannot be read back are made again.
            access: if mounted.is_remote() {
                OFlag::O_WRONLY
            } else {
                OFlag::O_RDWR
            },
        }
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        Path::new(&self.path).join(name)
    }

    pub(super) fn sync(&self) -> Result<(), TargetError> {
        fsync(&self.fd).map_err(at_path("sync", Path::new(&self.path)))
    }

    /// Makes a file, or empties the one of that name.
    pub(super) fn file(&self, name: &str) -> Result<FileOut, Errno> {
        let flags = OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let flags = flags | self.access;
        let file = openat(&self.fd, name, flags, PRIVATE_FILE)?;
        let dir = openat(&self.fd, ".", DIR, Mode::empty())?;
        Ok(FileOut {
            named_in: Mutex::new(Some(dir)),
            ..FileOut::new(file.into())
        })
    }

    /// Opens a file that is there.
    fn reading(&self, name: &str) -> Result<File, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.fd, name, flags, Mode::empty()).map(File::from)
    }

    /// Removes a file; that it is not there is no error.
    pub(super) fn unlink(&self, name: &str) -> Result<(), Errno> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            done => done,
        }
    }
}

impl Place for DumpDir {
    /// On the target's file system, not in the capture kernel's tree.
    fn path(&self) -> &str {
        &self.path
    }

    fn manners(&self) -> Manners {
        Manners {
            any_offset: true,
            keeps_modes: self.keeps_modes,
            renames: true,
            syncs: true,
        }
    }

    fn begin(&self, incomplete: &str, name: &str) -> Result<Box<dyn Pending + '_>, TargetError> {
        let file = self.file(incomplete);
        let file = file.map_err(at_path("make", &self.at(incomplete)))?;
        Ok(Box::new(PendingFile {
            dir: self,
            out: file,
            incomplete: incomplete.into(),
            name: name.into(),
        }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool, TargetError> {
        match renameat(&self.fd, from, &self.fd, to) {
            Ok(()) => {
                // On FAT the name has neither size nor place of the file until its inode is written again.
                self.settle(to)?;
                self.sync().map(|()| true)
            }
            Err(Errno::ENOENT) => Ok(false),
            Err(e) => Err(at_path("rename", &self.at(from))(e)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), TargetError> {
        self.unlink(name).map_err(at_path("remove", &self.at(name)))
    }

    fn size(&self, name: &str) -> Option<u64> {
        let file = self.reading(name).ok()?;
        file.metadata().ok().map(|m| m.len())
    }

    fn settle(&self, name: &str) -> Result<(), TargetError> {
        match self.reading(name).and_then(fsync) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(at_path("sync", &self.at(name))(e)),
        }
    }
}

pub(super) fn at_path(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> TargetError {
    let path = path.to_path_buf();
    move |errno| TargetError::Path {
        action,
        path,
        source: errno.into(),
    }
}

/// A path on the target's file system, behind the export where a server has it.
fn shown(mounted: &Mounted, path: &Path) -> PathBuf {
    if !mounted.is_remote() {
        return path.to_owned();
    }
    let export = mounted.node.to_string_lossy();
    format!("{}{}", export.trim_end_matches('/'), path.display()).into()
}

fn open_root(mount: &Path) -> Result<OwnedFd, TargetError> {
    nix::fcntl::open(mount, DIR, Mode::empty()).map_err(at_path("open", mount))
}

/// Opens a directory with the mount as the root of all links.
fn open_inside(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_IN_ROOT
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(
        root.as_fd(),
        path,
        OpenHow::new().flags(DIR).resolve(resolve),
    )
}

/// Opens `path` inside the mount and makes what is missing, part by part.
pub(super) fn open_base(mount: &Path, path: &str) -> Result<(OwnedFd, PathBuf), TargetError> {
    let mut base = open_root(mount)?;
    let root = open_root(mount)?;
    let mut so_far = PathBuf::from("/");
    for part in path.split('/').filter(|p| !matches!(*p, "" | "." | "..")) {
        so_far.push(part);
        base = match open_inside(&root, &so_far) {
            Err(Errno::ENOENT) => {
                mkdirat(&base, part, PRIVATE_DIR).map_err(at_path("make", &so_far))?;
                fsync(&base).map_err(at_path("sync", &so_far))?;
                open_inside(&root, &so_far).map_err(at_path("open", &so_far))?
            }
            opened => opened.map_err(at_path("open", &so_far))?,
        };
    }
    Ok((base, so_far))
}

/// A file being written.
#[derive(Debug)]
pub struct FileOut {
    file: File,
    written: AtomicU64,
    /// The directory that has its name, until that is synced.
    named_in: Mutex<Option<OwnedFd>>,
}

impl FileOut {
    /// Writes into `file`.
    pub fn new(file: File) -> Self {
        Self {
            file,
            written: AtomicU64::new(0),
            named_in: Mutex::new(None),
        }
    }

    /// Bytes written so far, also those written twice.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Out for FileOut {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.written
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let signed = |n| i64::try_from(n).map_err(|_| io::Error::from(Errno::EFBIG));
        let (at, len) = (signed(range.start)?, signed(range.end - range.start)?);
        match fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, at, len) {
            Err(e @ (Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG)) => Err(e.into()),
            // No such thing here (/dev/null, pipes, many file systems), or a server that promises it and fails: what counts is the write.
            _ => Ok(()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.file.set_len(len) {
            // A device or /dev/null has no length to set.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            result => result,
        }
    }

    fn read_back(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn has_holes(&self) -> bool {
        self.file.metadata().is_ok_and(|m| m.is_file())
    }

    fn sync(&self) -> io::Result<()> {
        match self.file.sync_data() {
            // /dev/null and pipes have nothing to sync.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {}
            result => result?,
        }
        let mut named_in = self.named_in.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = named_in.as_ref() {
            fsync(dir)?;
            *named_in = None;
        }
        Ok(())
    }
}

/// A file under its incomplete name.
struct PendingFile<'a> {
    dir: &'a DumpDir,
    out: FileOut,
    incomplete: String,
    name: String,
}

impl PendingFile<'_> {
    fn sync(&self) -> Result<(), TargetError> {
        fsync(&self.out.file).map_err(at_path("sync", &self.dir.at(&self.incomplete)))
    }
}

impl Pending for PendingFile<'_> {
    fn out(&self) -> &dyn Out {
        &self.out
    }

    fn written(&self) -> u64 {
        self.out.written()
    }

    fn keep(self: Box<Self>) -> Result<(), TargetError> {
        self.sync()
    }

    fn commit(self: Box<Self>) -> Result<(), TargetError> {
        self.sync()?;
        self.dir.rename(&self.incomplete, &self.name).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_device_takes_what_is_written() {
        let out = FileOut::new(File::options().write(true).open("/dev/null").unwrap());
        out.reserve(0..1 << 20).unwrap();
        out.write_at(4096, b"x").unwrap();
        out.set_len(8192).unwrap();
        out.sync().unwrap();
    }

    #[test]
    fn what_is_not_reserved_stays_a_hole() {
        let dir = tempfile::tempdir().unwrap();
        let out = FileOut::new(File::create(dir.path().join("a")).unwrap());
        out.reserve(1 << 30..(1 << 30) + 4096).unwrap();
        out.reserve(9..9).unwrap();
        out.set_len((1 << 30) + 4096).unwrap();
        assert!(out.has_holes() && out.file().metadata().unwrap().blocks() < 1 << 11);
        let null = FileOut::new(File::options().write(true).open("/dev/null").unwrap());
        assert!(!null.has_holes());
    }

    #[test]
    fn directories_are_private_and_twins_are_numbered() {
        let mount = tempfile::tempdir().unwrap();
        fs::create_dir(mount.path().join("var")).unwrap();
        fs::set_permissions(mount.path().join("var"), fs::Permissions::from_mode(0o755)).unwrap();
        let paths: Vec<_> = (0..3)
            .map(|_| {
                DumpDir::create(&Mounted::at(mount.path()), "/var/crash", "a")
                    .unwrap()
                    .path()
                    .to_owned()
            })
            .collect();
        assert_eq!(paths, ["/var/crash/a", "/var/crash/a-2", "/var/crash/a-3"]);
        assert_eq!(mode(&mount.path().join("var")), 0o755);
        assert_eq!(mode(&mount.path().join("var/crash")), 0o700);
        assert_eq!(mode(&mount.path().join("var/crash/a-3")), 0o700);
        assert!(DumpDir::open(&Mounted::at(mount.path()), &paths[1]).is_ok());
    }

    #[test]
    fn a_path_at_a_server_names_its_export() {
        let mount = tempfile::tempdir().unwrap();
        let mounted = Mounted {
            fs: "nfs 4.2".into(),
            node: "192.0.2.7:/srv/crash".into(),
            ..Mounted::at(mount.path())
        };
        let dir = DumpDir::create(&mounted, "/", "a").unwrap();
        assert_eq!(dir.path(), "192.0.2.7:/srv/crash/a");
        dir.replace("x", b"1").unwrap();
        let again = DumpDir::open(&mounted, dir.path()).unwrap();
        assert_eq!((again.path(), again.size("x")), (dir.path(), Some(1)));
        fs::create_dir(mount.path().join("a/x-incomplete")).unwrap();
        let error = again.begin("x-incomplete", "x").err().unwrap().to_string();
        assert!(
            error.contains("192.0.2.7:/srv/crash/a/x-incomplete"),
            "{error}"
        );
    }

    #[test]
    fn a_file_gets_its_name_when_it_is_whole() {
        let mount = tempfile::tempdir().unwrap();
        let dir = DumpDir::create(&Mounted::at(mount.path()), "/", "a").unwrap();
        let at = |name: &str| mount.path().join("a").join(name);
        let pending = dir.begin("vmcore-incomplete", "vmcore").unwrap();
        pending.out().reserve(0..1 << 16).unwrap();
        pending.out().write_at(4, b"tail").unwrap();
        pending.out().write_at(0, b"head").unwrap();
        assert!(at("vmcore-incomplete").exists() && !at("vmcore").exists());
        assert_eq!(
            (pending.written(), mode(&at("vmcore-incomplete"))),
            (8, 0o600)
        );
        pending.commit().unwrap();
        assert_eq!(fs::read(at("vmcore")).unwrap(), b"headtail");
        assert_eq!(
            (dir.size("vmcore"), dir.size("vmcore-incomplete")),
            (Some(8), None)
        );
        dir.begin("x-incomplete", "x").unwrap().keep().unwrap();
        assert!(
            at("x-incomplete").exists() && dir.rename("x-incomplete", "x-incomplete-1").unwrap()
        );
        assert!(!dir.rename("x-incomplete", "x").unwrap());
        dir.remove("x-incomplete-1").unwrap();
        dir.remove("x-incomplete-1").unwrap();
        dir.replace("report.json", b"{}").unwrap();
        dir.replace("report.json", b"{1}").unwrap();
        assert_eq!(fs::read(at("report.json")).unwrap(), b"{1}");
        assert_eq!(fs::read_dir(mount.path().join("a")).unwrap().count(), 2);
    }

    #[test]
    fn links_stay_inside_the_mount() {
        let outside = tempfile::tempdir().unwrap();
        let mount = tempfile::tempdir().unwrap();
        symlink(outside.path(), mount.path().join("out")).unwrap();
        symlink("/data", mount.path().join("var")).unwrap();
        symlink("../../../../../../../tmp", mount.path().join("up")).unwrap();
        fs::create_dir(mount.path().join("data")).unwrap();
        assert!(DumpDir::create(&Mounted::at(mount.path()), "/out/crash", "a").is_err());
        assert!(DumpDir::create(&Mounted::at(mount.path()), "/up", "a").is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        DumpDir::create(&Mounted::at(mount.path()), "/var/crash", "a").unwrap();
        assert!(mount.path().join("data/crash/a").is_dir());
        symlink(
            outside.path().join("f"),
            mount.path().join("data/crash/a/vmcore-incomplete"),
        )
        .unwrap();
        let dir = DumpDir::open(&Mounted::at(mount.path()), "/data/crash/a").unwrap();
        assert!(dir.begin("vmcore-incomplete", "vmcore").is_err());
    }
}
