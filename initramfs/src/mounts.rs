//! The mount table of the running machine: in which file system a path lies, and where a place of a file system is seen.
//!
//! Source: Documentation/filesystems/proc.rst (`mountinfo`, `fdinfo`) and fs/btrfs/super.c (`subvol=` is its last option), Linux 3.15
//! to 7.2.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// A mounted file system, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    id: u64,
    /// `major:minor` of the device; a number of its own for btrfs.
    pub number: String,
    /// What is mounted: a path from the root of the file system, with btrfs from that of its first subvolume.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// Its type.
    pub fs: String,
    /// The device as mount(2) was told it.
    pub source: String,
    /// The btrfs subvolume that is mounted.
    subvol: Option<PathBuf>,
}

/// The mounts, in the order of the kernel.
#[derive(Debug, Default)]
pub struct Mounts(Vec<Mount>);

/// Where a place of a file system is seen.
#[derive(Debug, PartialEq, Eq)]
pub enum Sight {
    /// At this path.
    At(PathBuf),
    /// At no path: it would be `at`, were not something else mounted on `by`.
    Hidden {
        /// Where it would be.
        at: PathBuf,
        /// What hides it.
        by: PathBuf,
    },
    /// The file system is mounted, but not the part with the place.
    Apart,
    /// The file system is not mounted.
    Nowhere,
}

impl Mounts {
    /// The mounts that this process sees.
    ///
    /// # Errors
    /// procfs is not mounted.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(mount).collect())
    }

    /// The mount that `path` lies in, and its place from the root of that file system. What does not exist is made by a capture: it
    /// lies where its directory does.
    ///
    /// # Errors
    /// Something on the way is no directory or can't be reached.
    pub fn find(&self, path: &Path) -> io::Result<(&Mount, PathBuf)> {
        let (there, rest) = existing(path)?;
        let id = id_of(&there)?;
        let unknown = || io::Error::other("it lies in no mount of /proc/self/mountinfo");
        let mount = self.0.iter().find(|mount| mount.id == id);
        let mount = mount.ok_or_else(unknown)?;
        let inside = there.strip_prefix(&mount.point).map_err(|_| unknown())?;
        Ok((mount, mount.root.join(inside).join(rest)))
    }

    /// Where `place` of a file system is seen; `is_it` knows the file system's mounts.
    pub fn sight(&self, is_it: impl Fn(&Mount) -> bool, place: &Path) -> Sight {
        let holder = |path: &Path| id_of(&existing(path).ok()?.0).ok();
        self.sight_with(is_it, place, &holder)
    }

    fn sight_with(
        &self,
        is_it: impl Fn(&Mount) -> bool,
        place: &Path,
        holder: &dyn Fn(&Path) -> Option<u64>,
    ) -> Sight {
        let mut sight = Sight::Nowhere;
        for mount in self.0.iter().filter(|mount| is_it(mount)) {
            let Ok(inside) = place.strip_prefix(&mount.root) else {
                if sight == Sight::Nowhere {
                    sight = Sight::Apart;
                }
                continue;
            };
            let at: PathBuf = mount.point.join(inside).components().collect();
            let id = holder(&at);
            if id == Some(mount.id) {
                return Sight::At(at);
            }
            let other = self.0.iter().find(|other| Some(other.id) == id);
            let by = other.map_or_else(|| at.clone(), |other| other.point.clone());
            sight = Sight::Hidden { at, by };
        }
        sight
    }
}

impl Mount {
    /// A place of the file system as the option `subvol=` of mount(2) and the path below what it mounts. Without the option btrfs
    /// mounts its default subvolume, which can be another one at the crash.
    #[must_use]
    pub fn in_subvolume(&self, place: &Path) -> (Option<String>, PathBuf) {
        let Some(subvol) = &self.subvol else {
            return (None, place.to_owned());
        };
        // A comma would end the option.
        let name = subvol.to_str().filter(|name| !name.contains(','));
        match (name, place.strip_prefix(subvol)) {
            (Some(name), Ok(inside)) if name != "/" => (
                Some(name.trim_start_matches('/').to_owned()),
                Path::new("/").join(inside),
            ),
            _ => (Some("/".to_owned()), place.to_owned()),
        }
    }
}

/// A line of `mountinfo`: id, parent, device, root, mount point, options, optional fields to a lone `-`, type, source, options of the file
/// system.
fn mount(line: &str) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ');
    let mut back = back.split(' ');
    let id = front.next()?.parse().ok()?;
    let mut front = front.skip(1);
    let (number, root, point) = (front.next()?, front.next()?, front.next()?);
    let (fs, source, options) = (back.next()?, back.next()?, back.next().unwrap_or_default());
    let subvol = || Some(unescape(options.split_once("subvol=")?.1).into());
    Some(Mount {
        id,
        number: number.to_owned(),
        root: unescape(root).into(),
        point: unescape(point).into(),
        fs: fs.to_owned(),
        source: unescape(source),
        subvol: if fs == "btrfs" { subvol() } else { None },
    })
}

/// Blanks, line breaks and backslashes are `\` and three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|d| u8::from_str_radix(d, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                plain.push(code.into());
                plain.push_str(rest);
            }
            _ => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// The part of a path that is there, without links, and the rest.
fn existing(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let whole = path;
    let not = |what: &Path, why: &str| {
        let text = format!("{} is {why}", what.display());
        io::Error::new(io::ErrorKind::NotADirectory, text)
    };
    for path in whole.ancestors() {
        match fs::canonicalize(path) {
            Ok(there) if there.is_dir() => {
                let rest = whole.strip_prefix(path).unwrap_or(Path::new(""));
                return Ok((there, rest.to_owned()));
            }
            Ok(_) => return Err(not(path, "no directory: choose another path, or remove it")),
            Err(_) if fs::symlink_metadata(path).is_ok() => {
                return Err(not(path, "a symbolic link that leads nowhere"));
            }
            Err(err)
                if matches!(
                    err.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Err(err) => return Err(err),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// The id of the mount that a directory is in, whatever is mounted over what.
fn id_of(dir: &Path) -> io::Result<u64> {
    let flags = (OFlag::O_PATH | OFlag::O_DIRECTORY).bits();
    let file = File::options().read(true).custom_flags(flags).open(dir)?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    id.and_then(|id| id.trim().parse().ok())
        .ok_or_else(|| io::Error::other("the kernel doesn't say in which mount it is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Debian's installer on btrfs, a file system for /var, a bind mount, a blank.
    const TABLE: &str = "\
22 1 0:20 /@rootfs / rw,relatime shared:1 - btrfs /dev/vda2 rw,space_cache=v2,subvolid=256,subvol=/@rootfs
23 22 254:17 / /var rw shared:2 master:7 - ext4 /dev/vdb1 rw
24 22 254:17 /lib/spool /srv/spool rw - ext4 /dev/vdb1 rw
25 22 0:20 /@rootfs/.snapshots/1/a /old rw - btrfs /dev/vda2 rw,subvolid=260,subvol=/@rootfs/.snapshots/1
26 22 254:33 / /my\\040disk rw - ext4 /dev/vdc rw
";

    fn of<'a>(mounts: &'a Mounts, point: &str) -> &'a Mount {
        let found = mounts.0.iter().find(|m| m.point == Path::new(point));
        found.unwrap_or_else(|| panic!("{point}"))
    }

    #[test]
    fn a_place_in_a_subvolume() {
        let mounts = Mounts::parse(TABLE);
        let split = |point: &str, place: &str| {
            let (subvol, path) = of(&mounts, point).in_subvolume(Path::new(place));
            format!("{} {}", subvol.unwrap_or_default(), path.display())
        };
        assert_eq!(split("/", "/@rootfs/var/crash"), "@rootfs /var/crash");
        assert_eq!(
            split("/old", "/@rootfs/.snapshots/1/a/b"),
            "@rootfs/.snapshots/1 /a/b"
        );
        assert_eq!(split("/old", "/other/x"), "/ /other/x");
        assert_eq!(split("/var", "/crash"), " /crash");
        assert_eq!(of(&mounts, "/my disk").number, "254:33");
    }

    #[test]
    fn where_a_place_is_seen() {
        let mounts = Mounts::parse(TABLE);
        // What a lookup of the path finds: /var hides what the root has below it.
        let holder = |path: &Path| {
            let under = |dir: &str| path.starts_with(dir);
            Some(if under("/var") { 23 } else { 22 })
        };
        let sight = |source: &str, place: &str| {
            mounts.sight_with(|m| m.source == source, Path::new(place), &holder)
        };
        assert_eq!(sight("/dev/vda2", "/@rootfs/srv"), Sight::At("/srv".into()));
        assert_eq!(
            sight("/dev/vda2", "/@rootfs/var/crash"),
            Sight::Hidden {
                at: "/var/crash".into(),
                by: "/var".into()
            }
        );
        assert_eq!(sight("/dev/vda2", "/var/crash"), Sight::Apart);
        assert_eq!(
            sight("/dev/vdb1", "/var/crash"),
            Sight::At("/var/var/crash".into())
        );
        assert_eq!(sight("/dev/vdz", "/crash"), Sight::Nowhere);
    }

    #[test]
    fn a_path_of_this_machine() {
        let mounts = Mounts::read().unwrap();
        let (mount, root) = mounts.find(Path::new("/proc")).unwrap();
        assert_eq!((mount.fs.as_str(), root), ("proc", mount.root.clone()));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/crash");
        let (mount, place) = mounts.find(&path).unwrap();
        assert!(place.ends_with("new/crash"), "{}", place.display());
        let same = |other: &Mount| other == mount;
        assert_eq!(mounts.sight(same, &place), Sight::At(path.clone()));
        fs::write(dir.path().join("new"), "").unwrap();
        let error = mounts.find(&path).unwrap_err().to_string();
        assert!(error.contains("new is no directory"), "{error}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/nowhere/at/all", &link).unwrap();
        let error = mounts.find(&link).unwrap_err().to_string();
        assert!(error.contains("leads nowhere"), "{error}");
    }
}
