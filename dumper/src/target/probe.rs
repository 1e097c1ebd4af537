//! Which block devices are there, and which of them a specification means.
//!
//! The capture kernel has no udev: names come from `/sys/class/block`, nodes from devtmpfs, ids from the devices' own bytes.

use super::container::{self, Container};
use super::lvm::{self, Physical};
use super::md::{self, Member};
pub use super::scan::Scan;
use super::scan::in_child;
use super::spec::Device;
use super::superblock::{self, FsType, PartitionIds, Superblock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A block device and what could be read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDevice {
    /// Its node, `/dev/vda1`.
    pub node: PathBuf,
    /// What it is a part of; the file system is then not its own.
    pub container: Option<Container>,
    /// It is a partition of a disk that is such a part: another disk has the same one.
    #[serde(default)]
    pub copied: bool,
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
    /// It is a volume with snapshots, which do not see what is written.
    #[serde(default)]
    pub is_origin: bool,
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

/// The devices of `devices` that `wanted` names: one is right, more are an error of the caller's configuration. What is a part of
/// something larger has no file system of its own, and is found only by other names; a partition of it only by the disk's.
pub fn matching<'a>(
    devices: impl Iterator<Item = &'a BlockDevice>,
    wanted: &Device,
) -> Vec<&'a BlockDevice> {
    let is_part = |d: &BlockDevice| match wanted {
        Device::Uuid(_) | Device::Label(_) => d.container.is_some(),
        Device::PartUuid(_) | Device::PartLabel(_) => d.copied,
        Device::Wwid(_) | Device::Path(_) => false,
    };
    devices.filter(|d| d.is(wanted) && !is_part(d)).collect()
}

/// A device that `wanted` would name, were it not a part of something larger.
pub fn hidden<'a>(
    mut devices: impl Iterator<Item = &'a BlockDevice>,
    wanted: &Device,
) -> Option<(&'a BlockDevice, Container)> {
    devices.find_map(|d| d.container.filter(|_| d.is(wanted)).map(|c| (d, c)))
}

const SYS: &str = "/sys/class/block";

/// A block device of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Its name.
    pub(super) name: String,
    /// Of a partition the name of its disk.
    pub(super) disk: Option<String>,
}

/// Block devices with a size. Parts of a RAID or device-mapper device and partitions of such are left out: the whole carries the same
/// ids.
pub(super) fn names() -> Vec<Named> {
    let Ok(entries) = fs::read_dir(SYS) else {
        return Vec::new();
    };
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let named = names.map(|name| Named {
        disk: disk(&name),
        name,
    });
    let is_free = |named: &Named| {
        let mut wholes = [Some(&named.name), named.disk.as_ref()].into_iter();
        wholes.all(|name| name.is_none_or(|name| !is_held(name)))
    };
    named
        .filter(|named| has_size(&named.name) && is_free(named) && !named.name.starts_with("fd"))
        .collect()
}

/// The disk of a partition.
fn disk(name: &str) -> Option<String> {
    let base = Path::new(SYS).join(name);
    if !base.join("partition").exists() {
        return None;
    }
    let link = fs::read_link(base).ok()?;
    Some(link.parent()?.file_name()?.to_str()?.to_owned())
}

/// Start and length in bytes of the partitions of a disk.
fn partitions(name: &str) -> Vec<(u64, u64)> {
    let entries = fs::read_dir(Path::new(SYS).join(name))
        .into_iter()
        .flatten();
    let bytes = |path: &Path, file: &str| {
        let text = fs::read_to_string(path.join(file)).ok()?;
        text.trim().parse::<u64>().ok()?.checked_mul(512)
    };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            path.join("partition").exists().then_some(())?;
            Some((bytes(&path, "start")?, bytes(&path, "size")?))
        })
        .collect()
}

fn has_size(name: &str) -> bool {
    fs::read_to_string(format!("{SYS}/{name}/size")).is_ok_and(|size| size.trim() != "0")
}

fn is_held(name: &str) -> bool {
    fs::read_dir(format!("{SYS}/{name}/holders")).is_ok_and(|mut holders| holders.next().is_some())
}

/// `None` when the device cannot be opened (yet). `whole` is what the disk of a partition is a part of.
pub(super) fn read_device(named: &Named, whole: Option<Container>) -> Option<BlockDevice> {
    let name = &*named.name;
    let node = node(name);
    let file = File::open(&node).ok()?;
    let read = |at: u64, buf: &mut [u8]| file.read_exact_at(buf, at).ok();
    let size = (&file).seek(SeekFrom::End(0)).ok()?;
    let whole = whole.filter(|whole| whole.holds_partitions());
    let container = whole.or_else(|| container::probe(&read, size, &partitions(name)));
    // The member, and the physical volume, is the array of which this is a part.
    let is = |kind| whole.is_none() && container == Some(kind);
    Some(BlockDevice {
        node,
        container,
        copied: whole.is_some(),
        superblock: superblock::probe(&read),
        partition: partition(named),
        wwid: wwid(name),
        number: number(name),
        names: other_names(name),
        member: is(Container::Md).then(|| md::member(&read, size)).flatten(),
        physical: is(Container::Lvm).then(|| lvm::physical(&read)).flatten(),
        is_origin: false,
    })
}

/// What a device says as a member of an array, also when it is in use.
pub(super) fn read_member(name: &str) -> Option<Member> {
    let read = || {
        let file = File::open(node(name)).ok()?;
        let size = (&file).seek(SeekFrom::End(0)).ok()?;
        md::member(&|at, buf| file.read_exact_at(buf, at).ok(), size)
    };
    in_child(read).flatten()
}

fn number(name: &str) -> String {
    let number = fs::read_to_string(format!("{SYS}/{name}/dev")).unwrap_or_default();
    number.trim().to_owned()
}

/// `/dev/mapper/group-volume` and `/dev/group/volume`, where hyphens of the names are doubled in the first; `/dev/md/name`.
fn other_names(name: &str) -> Vec<PathBuf> {
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

/// The kernel writes `!` for the `/` of a node in a folder.
pub(super) fn node(name: &str) -> PathBuf {
    Path::new("/dev").join(name.replace('!', "/"))
}

fn partition(named: &Named) -> Option<PartitionIds> {
    let number = fs::read_to_string(format!("{SYS}/{}/partition", named.name)).ok()?;
    let (disk, number) = (named.disk.as_ref()?, number.trim().parse().ok()?);
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
            apart: None,
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
    fn a_partition_of_a_leg_is_not_that_of_the_array() {
        let partition = Some(PartitionIds {
            uuid: "p-01".into(),
            label: "crash".into(),
        });
        let leg = |node: &str| BlockDevice {
            container: Some(Container::Firmware),
            copied: true,
            partition: partition.clone(),
            ..device(node, "aa", "x")
        };
        let array = BlockDevice {
            partition: partition.clone(),
            ..device("/dev/md_a1", "aa", "x")
        };
        let devices = [leg("/dev/sda1"), leg("/dev/sdb1"), array];
        for wanted in [
            Device::Uuid("aa".into()),
            Device::Label("x".into()),
            Device::PartUuid("p-01".into()),
            Device::PartLabel("crash".into()),
        ] {
            assert_eq!(matching(devices.iter(), &wanted), [&devices[2]]);
            assert!(matching(devices[..1].iter(), &wanted).is_empty());
            assert!(hidden(devices[..1].iter(), &wanted).is_some());
        }
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
