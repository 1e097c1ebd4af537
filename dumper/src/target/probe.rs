//! Which block devices are there, and which of them a specification means.
//!
//! The capture kernel has no udev: names come from `/sys/class/block`, nodes from devtmpfs, ids from the devices' own bytes.

use super::container::{self, Container};
use super::lvm::{self, Physical};
use super::md::{self, Member};
use super::spec::Device;
use super::superblock::{self, FsType, PartitionIds, Superblock};
use crate::sys::process::fork_with;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::pipe2;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A block device and what could be read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDevice {
    /// Its node, `/dev/vda1`.
    pub node: PathBuf,
    /// What it is a part of; the file system is then not its own.
    pub container: Option<Container>,
    /// Its file system.
    pub superblock: Option<Superblock>,
    /// Its ids in the partition table.
    pub partition: Option<PartitionIds>,
    /// World-wide id of the disk, with `-partN` for a partition.
    pub wwid: Option<String>,
    /// Its number, `major:minor`.
    pub number: String,
    /// Other names of it: of a logical volume or an array.
    pub names: Vec<PathBuf>,
    /// What it says as a member of an md array.
    pub member: Option<Member>,
    /// What it says as an LVM physical volume.
    pub physical: Option<Physical>,
}

impl BlockDevice {
    /// The file system, when it is a known one.
    pub fn fs(&self) -> Option<FsType> {
        self.superblock.as_ref().map(|s| s.fs)
    }

    /// Whether `device` names it, if the file system on it were its own.
    fn is(&self, device: &Device) -> bool {
        let fs = |f: fn(&Superblock) -> &str, want: &str| {
            self.superblock.as_ref().is_some_and(|s| f(s) == want)
        };
        match device {
            Device::Uuid(want) => self
                .superblock
                .as_ref()
                .is_some_and(|s| s.uuid.eq_ignore_ascii_case(want)),
            Device::Label(want) => fs(|s| &s.label, want),
            Device::PartUuid(want) => self
                .partition
                .as_ref()
                .is_some_and(|p| p.uuid.eq_ignore_ascii_case(want)),
            Device::PartLabel(want) => self.partition.as_ref().is_some_and(|p| p.label == *want),
            Device::Wwid(want) => self.wwid.as_deref() == Some(want),
            Device::Path(want) => {
                let want = Path::new(want);
                self.node == want
                    || self.names.iter().any(|name| name == want)
                    || fs::canonicalize(want).is_ok_and(|real| real == self.node)
            }
        }
    }
}

/// How long one device may take to say what it holds. A dead disk never answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// All block devices by kernel name; devices once read are not read again.
#[derive(Debug, Default)]
pub struct Scan {
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    device: BlockDevice,
    /// False as long as it could not be opened or did not answer.
    read: bool,
}

impl Scan {
    /// Looks for new and gone devices. True when something changed.
    pub fn refresh(&mut self) -> bool {
        self.update(block_names(), &|name| {
            in_child(PATIENCE, || read_device(name)).flatten()
        })
    }

    fn update(&mut self, names: Vec<String>, read: &dyn Fn(&str) -> Option<BlockDevice>) -> bool {
        let before = self.known.len();
        self.known.retain(|name, _| names.contains(name));
        let mut changed = self.known.len() != before;
        for name in names {
            // A device is in sysfs a moment before it can be opened: one that was not read is tried again.
            if self.known.get(&name).is_some_and(|known| known.read) {
                continue;
            }
            let found = read(&name);
            changed |= found.is_some() || !self.known.contains_key(&name);
            let known = Known {
                read: found.is_some(),
                device: found.unwrap_or_else(|| BlockDevice {
                    node: node(&name),
                    ..BlockDevice::default()
                }),
            };
            self.known.insert(name, known);
        }
        changed
    }

    /// The devices that are there.
    pub fn devices(&self) -> impl Iterator<Item = &BlockDevice> {
        self.known.values().map(|known| &known.device)
    }
}

/// The devices of `devices` that `wanted` names: one is right, more are an error of the caller's configuration. What is a part of
/// something larger has no file system of its own, and is found only by other names.
pub fn matching<'a>(
    devices: impl Iterator<Item = &'a BlockDevice>,
    wanted: &Device,
) -> Vec<&'a BlockDevice> {
    let by_fs = matches!(wanted, Device::Uuid(_) | Device::Label(_));
    devices
        .filter(|d| d.is(wanted) && !(by_fs && d.container.is_some()))
        .collect()
}

/// A device that `wanted` would name, were it not a part of something larger.
pub fn hidden<'a>(
    mut devices: impl Iterator<Item = &'a BlockDevice>,
    wanted: &Device,
) -> Option<(&'a BlockDevice, Container)> {
    devices.find_map(|d| d.container.filter(|_| d.is(wanted)).map(|c| (d, c)))
}

const SYS: &str = "/sys/class/block";

/// Names of block devices with a size. Parts of a RAID or device-mapper device are left out: the whole carries the same ids.
fn block_names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(SYS) else {
        return Vec::new();
    };
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    names
        .filter(|name| has_size(name) && !is_held(name) && !name.starts_with("fd"))
        .collect()
}

fn has_size(name: &str) -> bool {
    fs::read_to_string(format!("{SYS}/{name}/size")).is_ok_and(|size| size.trim() != "0")
}

fn is_held(name: &str) -> bool {
    fs::read_dir(format!("{SYS}/{name}/holders")).is_ok_and(|mut holders| holders.next().is_some())
}

/// `None` when the device cannot be opened (yet).
fn read_device(name: &str) -> Option<BlockDevice> {
    let node = node(name);
    let file = File::open(&node).ok()?;
    let read = |at: u64, buf: &mut [u8]| file.read_exact_at(buf, at).ok();
    let size = (&file).seek(SeekFrom::End(0)).ok()?;
    let container = container::probe(&read, size);
    let superblock = superblock::probe(&read);
    Some(BlockDevice {
        node,
        container,
        superblock,
        partition: partition(name),
        wwid: wwid(name),
        number: number(name),
        names: names(name),
        member: matches!(container, Some(Container::Md))
            .then(|| md::member(&read, size))
            .flatten(),
        physical: matches!(container, Some(Container::Lvm))
            .then(|| lvm::physical(&read))
            .flatten(),
    })
}

fn number(name: &str) -> String {
    let number = fs::read_to_string(format!("{SYS}/{name}/dev")).unwrap_or_default();
    number.trim().to_owned()
}

/// `/dev/mapper/group-volume` and `/dev/group/volume`, where hyphens of the names are doubled in the first; `/dev/md/name`.
fn names(name: &str) -> Vec<PathBuf> {
    let mapped = fs::read_to_string(format!("{SYS}/{name}/dm/name")).unwrap_or_default();
    names_of(name, mapped.trim())
}

fn names_of(name: &str, mapped: &str) -> Vec<PathBuf> {
    let mut names = Vec::new();
    if let Some(array) = name.strip_prefix("md_") {
        names.push(Path::new("/dev/md").join(array));
    }
    if mapped.is_empty() {
        return names;
    }
    names.push(Path::new("/dev/mapper").join(mapped));
    let marked = mapped.replace("--", "\0");
    if let Some((group, volume)) = marked.split_once('-') {
        let plain = |part: &str| part.replace('\0', "-");
        names.push(Path::new("/dev").join(plain(group)).join(plain(volume)));
    }
    names
}

/// As the kernel says it: NVMe beside the disk, SCSI in its device; virtio has a serial number instead.
fn wwid(name: &str) -> Option<String> {
    let base = Path::new(SYS).join(name);
    let number = fs::read_to_string(base.join("partition")).ok();
    let disk = if number.is_some() {
        fs::canonicalize(&base).ok()?.parent()?.to_owned()
    } else {
        base
    };
    let id = ["wwid", "device/wwid", "serial"]
        .iter()
        .filter_map(|file| fs::read_to_string(disk.join(file)).ok())
        .map(|id| id.trim().to_owned())
        .find(|id| !id.is_empty())?;
    Some(match number {
        Some(number) => format!("{id}-part{}", number.trim()),
        None => id,
    })
}

/// What `work` says in a child of its own, `None` when it takes too long: a read of a dead device never returns, and keeps only
/// that child.
fn in_child<T: Serialize + serde::de::DeserializeOwned>(
    patience: Duration,
    work: impl FnOnce() -> T,
) -> Option<T> {
    let (answer, pipe) = pipe2(OFlag::O_CLOEXEC).ok()?;
    let pid = fork_with(|| {
        // Far less than a pipe's room: the write does not wait.
        let told =
            serde_json::to_vec(&work()).is_ok_and(|json| File::from(pipe).write_all(&json).is_ok());
        u8::from(!told)
    })
    .ok()?;
    let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    if poll(
        &mut [PollFd::new(answer.as_fd(), PollFlags::POLLIN)],
        patience,
    ) == Ok(0)
    {
        let _ = kill(pid, Signal::SIGKILL);
        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        return None;
    }
    let mut json = Vec::new();
    let read = File::from(answer).read_to_end(&mut json);
    let _ = waitpid(pid, None);
    read.ok()?;
    serde_json::from_slice(&json).ok()
}

/// The kernel writes `!` for the `/` of a node in a folder.
fn node(name: &str) -> PathBuf {
    Path::new("/dev").join(name.replace('!', "/"))
}

fn partition(name: &str) -> Option<PartitionIds> {
    let number = fs::read_to_string(format!("{SYS}/{name}/partition"))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let link = fs::read_link(format!("{SYS}/{name}")).ok()?;
    let disk = link.parent()?.file_name()?.to_str()?;
    with_reader(&node(disk), |read| superblock::partition(read, number))
}

fn with_reader<T>(node: &Path, f: impl Fn(superblock::ReadAt<'_>) -> Option<T>) -> Option<T> {
    let file = File::open(node).ok()?;
    f(&|at, buf| file.read_exact_at(buf, at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(node: &str, uuid: &str, label: &str) -> BlockDevice {
        let superblock = Some(Superblock {
            fs: FsType::Ext4,
            uuid: uuid.into(),
            label: label.into(),
        });
        BlockDevice {
            node: node.into(),
            superblock,
            ..BlockDevice::default()
        }
    }

    #[test]
    fn volumes_and_arrays_have_other_names() {
        let names = |name: &str, mapped: &str| -> Vec<String> {
            let names = names_of(name, mapped);
            names.iter().map(|n| n.display().to_string()).collect()
        };
        assert_eq!(
            names("dm-0", "vg--0-a--b"),
            ["/dev/mapper/vg--0-a--b", "/dev/vg-0/a-b"]
        );
        assert_eq!(names("md_crash", ""), ["/dev/md/crash"]);
        assert!(names("vda", "").is_empty());
    }

    #[test]
    fn a_device_that_could_not_be_opened_is_tried_again() {
        let names = || vec!["vda".to_owned(), "vdb".to_owned()];
        let mut scan = Scan::default();
        let early = |name: &str| (name == "vda").then(|| device("/dev/vda", "aa", ""));
        assert!(scan.update(names(), &early));
        assert!(!scan.update(names(), &early));
        let nodes: Vec<_> = scan.devices().map(|d| d.node.clone()).collect();
        assert_eq!(nodes, [Path::new("/dev/vda"), Path::new("/dev/vdb")]);
        let later = |name: &str| (name == "vdb").then(|| device("/dev/vdb", "bb", ""));
        assert!(scan.update(names(), &later));
        let wanted = Device::Uuid("bb".into());
        assert_eq!(matching(scan.devices(), &wanted).len(), 1);
        assert!(!scan.update(names(), &|_| None));
        assert!(scan.update(vec!["vdb".into()], &|_| None));
    }

    #[test]
    fn a_device_that_never_answers_is_left_behind() {
        let found = device("/dev/vda", "aa", "x");
        let copy = found.clone();
        assert_eq!(in_child(Duration::from_secs(60), || copy), Some(found));
        let start = std::time::Instant::now();
        let dead = || std::thread::sleep(Duration::from_secs(60));
        assert_eq!(in_child(Duration::from_millis(50), dead), None);
        assert!(start.elapsed() < Duration::from_secs(30));
        let dies = || std::process::abort();
        assert_eq!(in_child::<()>(Duration::from_secs(60), dies), None);
    }

    #[test]
    fn a_raid_member_is_no_file_system() {
        let mut member = device("/dev/vda", "aa", "x");
        member.container = Some(Container::Md);
        let devices = [member, device("/dev/vdb", "bb", "y")];
        let (uuid, path) = (Device::Uuid("aa".into()), Device::Path("/dev/vda".into()));
        assert_eq!(matching(devices.iter(), &uuid).len(), 0);
        assert_eq!(
            matching(devices.iter(), &Device::Label("x".into())).len(),
            0
        );
        assert_eq!(matching(devices.iter(), &path).len(), 1);
        for wanted in [uuid, path] {
            let (found, container) = hidden(devices.iter(), &wanted).unwrap();
            assert_eq!((found, container), (&devices[0], Container::Md));
        }
        assert_eq!(hidden(devices.iter(), &Device::Uuid("bb".into())), None);
    }

    #[test]
    fn a_specification_names_devices() {
        let part = PartitionIds {
            uuid: "deadbeef-01".into(),
            label: "crash".into(),
        };
        let devices = [
            device("/dev/vda", "aa", "x"),
            device("/dev/vdb", "AA", ""),
            BlockDevice {
                node: "/dev/vdc1".into(),
                container: None,
                superblock: None,
                partition: Some(part),
                wwid: Some("eui.1-part1".into()),
                ..BlockDevice::default()
            },
        ];
        let nodes = |d: Device| {
            matching(devices.iter(), &d)
                .iter()
                .map(|d| d.node.to_str().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(nodes(Device::Uuid("aA".into())), ["/dev/vda", "/dev/vdb"]);
        assert_eq!(nodes(Device::Label("x".into())), ["/dev/vda"]);
        assert_eq!(nodes(Device::Label("X".into())), [""; 0]);
        assert_eq!(nodes(Device::PartUuid("DEADBEEF-01".into())), ["/dev/vdc1"]);
        assert_eq!(nodes(Device::PartLabel("crash".into())), ["/dev/vdc1"]);
        assert_eq!(nodes(Device::Wwid("eui.1-part1".into())), ["/dev/vdc1"]);
        assert_eq!(nodes(Device::Path("/dev/vdb".into())), ["/dev/vdb"]);
    }
}
