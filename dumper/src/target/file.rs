//! `file:` targets: waits for the block device and mounts it.

use super::container::Container;
use super::probe::{BlockDevice, hidden, matching};
use super::scan::Scan;
use super::spec::{Device, Kind, TargetSpec};
use super::superblock::{Apart, FsType, Superblock};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount as mount2};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No such device in time.
    #[error("no block device {device} after {seconds} s; there are: {there}")]
    Missing {
        /// The device asked for.
        device: String,
        /// How long was waited.
        seconds: u64,
        /// The devices that are there.
        there: String,
    },
    /// More than one device.
    #[error(
        "{device} matches more than one block device: {nodes}; name the right one in another way"
    )]
    Ambiguous {
        /// The device asked for.
        device: String,
        /// The devices that match.
        nodes: String,
    },
    /// Part of something larger.
    #[error("{node} is {what}, {why}: name a file system outside of it as target", what = container.name(), why = container.why())]
    Part {
        /// Node.
        node: PathBuf,
        /// Of what.
        container: Container,
    },
    /// Not all of the file system is there.
    #[error("{node} holds {what}, which is not mounted here: name another file system as target", what = apart.what())]
    Apart {
        /// Node.
        node: PathBuf,
        /// What lies elsewhere.
        apart: Apart,
    },
    /// No known file system.
    #[error(
        "{0} holds no file system that is known (ext2/3/4, xfs, btrfs, vfat): make one, or name another device as target"
    )]
    UnknownFs(PathBuf),
    /// The kernel lacks the file system.
    #[error(
        "the capture kernel does not know the file system {fs} of {node}: its module is probably not in the image, build it anew with baredumpctl image"
    )]
    NoDriver {
        /// Node.
        node: PathBuf,
        /// File system.
        fs: &'static str,
    },
    /// mount(2) failed.
    #[error("cannot mount {node} ({fs}): {source}: {advice}", advice = advice(source))]
    Mount {
        /// Node.
        node: PathBuf,
        /// File system.
        fs: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A target that is no mounted file system: a server, a partition, …
    #[error("{place}: {why}")]
    Remote {
        /// The server or device, as the target names it.
        place: String,
        /// What failed, what was found, and what to do.
        why: String,
    },
    /// A directory or file of the target.
    #[error("cannot {action} {path}: {source}: {advice}", advice = advice(source))]
    Path {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What to do about an error of the kernel on a target.
fn advice(error: &std::io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EROFS | Errno::EPERM) => {
            "the device or its file system is read-only, make it writable or name another target"
        }
        Some(Errno::ENOSPC | Errno::EDQUOT) => {
            "the file system is full, make room or name another target"
        }
        Some(Errno::EIO | Errno::EUCLEAN | Errno::EINVAL | Errno::EBADMSG) => {
            "the device or its file system is damaged, check it with fsck"
        }
        Some(Errno::EBUSY) => "something else uses the device, name the device that is made of it",
        Some(Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV | Errno::ENOENT) => {
            "name a directory that is on the target's own file system"
        }
        Some(Errno::EEXIST) => "remove old dumps",
        Some(Errno::ENOSYS) => "the capture kernel is too old, take Linux 5.6 or later",
        _ => "see the kernel's messages above, or name another target",
    }
}

/// A mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mounted {
    /// Where it is mounted.
    pub point: PathBuf,
    /// The device.
    pub node: PathBuf,
    /// The file system.
    pub fs: String,
    /// Whether it keeps owner and mode of files.
    pub holds_modes: bool,
}

impl Mounted {
    /// Whether a server is behind it.
    pub fn is_remote(&self) -> bool {
        self.fs.starts_with("nfs")
    }

    /// The directory for dumps below it. What NFS mounts is that directory.
    pub(super) fn path_of<'a>(&self, spec: &'a TargetSpec) -> &'a str {
        match &spec.kind {
            Kind::Nfs { .. } => "/",
            _ => spec.path(),
        }
    }

    /// A directory that keeps modes, whatever is below it.
    pub fn at(point: &Path) -> Self {
        Self {
            point: point.into(),
            holds_modes: true,
            ..Self::default()
        }
    }
}

const POLL: Duration = Duration::from_millis(50);

/// Waits until `device` is there. A match is taken only when a second look finds the same devices: a second device with the same
/// id may be on its way.
///
/// # Errors
/// When the device is not there in time, or its id is not unique.
pub fn wait_for_device(device: &Device, timeout: Duration) -> Result<BlockDevice, TargetError> {
    wait(device, timeout, &mut |_, _| {})
}

/// The same; `build` may make more devices of those that are there, when none of them is it.
pub(super) fn wait(
    device: &Device,
    timeout: Duration,
    build: &mut dyn FnMut(&Scan, Duration),
) -> Result<BlockDevice, TargetError> {
    let (start, mut scan) = (Instant::now(), Scan::default());
    loop {
        let changed = scan.refresh(Some(device));
        match matching(scan.devices(), device).as_slice() {
            [] if start.elapsed() >= timeout => return Err(missing(device, timeout, &scan)),
            [one] if !changed => return Ok((*one).clone()),
            several @ [_, _, ..] => return Err(ambiguous(device, several)),
            [] if !changed => {
                build(&scan, start.elapsed());
                std::thread::sleep(POLL);
            }
            _ => std::thread::sleep(POLL),
        }
    }
}

fn missing(device: &Device, timeout: Duration, scan: &Scan) -> TargetError {
    if let Some((found, container)) = hidden(scan.devices(), device) {
        return TargetError::Part {
            node: found.node.clone(),
            container,
        };
    }
    let silent = scan.silent().map(|node| {
        let node = node.display();
        format!("{node} (does not answer)")
    });
    let there = shown(scan.devices()).chain(silent);
    let there = match listed(there) {
        there if there.is_empty() => "none (is the driver's module in the image?)".into(),
        there => there,
    };
    TargetError::Missing {
        device: device.to_string(),
        seconds: timeout.as_secs(),
        there,
    }
}

fn ambiguous(device: &Device, found: &[&BlockDevice]) -> TargetError {
    // The devices of one file system have its id.
    if let Some(Err(error)) = found.first().map(|first| first.mountable())
        && matches!(error, TargetError::Apart { .. })
    {
        return error;
    }
    TargetError::Ambiguous {
        device: device.to_string(),
        nodes: listed(shown(found.iter().copied())),
    }
}

fn shown<'a>(devices: impl Iterator<Item = &'a BlockDevice>) -> impl Iterator<Item = String> {
    devices.map(|d| d.node.display().to_string())
}

fn listed(nodes: impl Iterator<Item = String>) -> String {
    nodes.take(16).collect::<Vec<_>>().join(", ")
}

impl BlockDevice {
    /// Its file system, when all of that is on it.
    ///
    /// # Errors
    /// When it is a part of something, or holds no file system or a part of one.
    pub fn mountable(&self) -> Result<FsType, TargetError> {
        let node = self.node.clone();
        if let Some(container) = self.container {
            return Err(TargetError::Part { node, container });
        }
        match &self.superblock {
            Some(Superblock {
                apart: Some(apart), ..
            }) => Err(TargetError::Apart {
                node,
                apart: *apart,
            }),
            Some(superblock) => Ok(superblock.fs),
            None => Err(TargetError::UnknownFs(node)),
        }
    }
}

/// Mounts `device` on `point`, which is made.
///
/// # Errors
/// When the file system is not known, not in the kernel, or does not mount.
pub fn mount(
    device: &BlockDevice,
    subvol: Option<&str>,
    point: &Path,
) -> Result<Mounted, TargetError> {
    let (fs, node) = (device.mountable()?, device.node.clone());
    let flags = mount_point(point)?;
    if subvol.is_some() && fs != FsType::Btrfs {
        return Err(TargetError::Remote {
            place: node.display().to_string(),
            why: format!(
                "it holds {}, and only btrfs has subvolumes: take subvol= out",
                fs.name()
            ),
        });
    }
    let subvol = subvol.map(|name| format!("subvol={name}"));
    let options = subvol.as_deref().or(fs.options());
    match mount2(Some(&node), point, Some(fs.name()), flags, options) {
        Ok(()) => Ok(Mounted {
            point: point.into(),
            node,
            fs: fs.name().into(),
            holds_modes: fs.holds_modes(),
        }),
        Err(Errno::ENODEV) => Err(TargetError::NoDriver {
            node,
            fs: fs.name(),
        }),
        Err(errno) => Err(TargetError::Mount {
            node,
            fs: fs.name(),
            source: errno.into(),
        }),
    }
}

/// Makes the directory that a target is mounted on; the flags of all of them.
pub(super) fn mount_point(point: &Path) -> Result<MsFlags, TargetError> {
    std::fs::create_dir_all(point).map_err(|source| TargetError::Path {
        action: "make",
        path: point.into(),
        source,
    })?;
    Ok(MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME)
}

/// Mounts what the hypervisor shares under a tag.
///
/// # Errors
/// When there is no such tag, or the kernel does not know virtiofs.
pub fn mount_virtiofs(tag: &str, point: &Path) -> Result<Mounted, TargetError> {
    const FS: &str = "virtiofs";
    let flags = mount_point(point)?;
    let why = match mount2(Some(tag), point, Some(FS), flags, None::<&str>) {
        Ok(()) => {
            return Ok(Mounted {
                point: point.into(),
                node: tag.into(),
                fs: FS.into(),
                holds_modes: true,
            });
        }
        Err(Errno::ENODEV) => {
            "the capture kernel does not know virtiofs: build the image anew with baredumpctl image"
                .into()
        }
        Err(Errno::EINVAL) => "the hypervisor shares nothing under this tag".into(),
        Err(errno) => format!("cannot mount it: {}", errno.desc()),
    };
    Err(TargetError::Remote {
        place: format!("virtiofs {tag}"),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let mount = |errno: Errno| TargetError::Mount {
            node: "/dev/vda".into(),
            fs: "ext4",
            source: errno.into(),
        };
        let read_only = mount(Errno::EACCES).to_string();
        assert!(
            read_only.starts_with("cannot mount /dev/vda (ext4): Permission denied")
                && read_only.contains("is read-only, make it writable"),
            "{read_only}"
        );
        assert!(mount(Errno::EUCLEAN).to_string().contains("fsck"));
        let full = TargetError::Path {
            action: "write",
            path: "/a/report.json".into(),
            source: Errno::ENOSPC.into(),
        };
        let full = full.to_string();
        assert!(
            full.contains("/a/report.json") && full.ends_with("make room or name another target"),
            "{full}"
        );
        let unknown = TargetError::UnknownFs("/dev/vda".into()).to_string();
        assert!(unknown.contains("name another device"), "{unknown}");
    }

    #[test]
    fn a_raid_member_is_not_mounted() {
        let member = BlockDevice {
            node: "/dev/vda".into(),
            container: Some(Container::Md),
            ..BlockDevice::default()
        };
        let place = tempfile::tempdir().unwrap();
        let error = mount(&member, None, &place.path().join("x"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/dev/vda is a member") && error.contains("only RAID1"),
            "{error}"
        );
        assert!(!place.path().join("x").exists());
    }
}
