//! Which block devices are there, and which of them a specification means.
//!
//! The capture kernel has no udev: names come from `/sys/class/block`, nodes from devtmpfs, ids from the devices' own bytes.

use super::spec::Device;
use super::superblock::{self, FsType, PartitionIds, Superblock};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A block device and what could be read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockDevice {
    /// Its node, `/dev/vda1`.
    pub node: PathBuf,
    /// Its file system.
    pub superblock: Option<Superblock>,
    /// Its ids in the partition table.
    pub partition: Option<PartitionIds>,
}

impl BlockDevice {
    /// The file system, when it is a known one.
    pub fn fs(&self) -> Option<FsType> {
        self.superblock.as_ref().map(|s| s.fs)
    }

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
            Device::Path(want) => self.node == Path::new(want),
        }
    }
}

/// All block devices by kernel name; devices once read are not read again.
#[derive(Debug, Default)]
pub struct Scan {
    known: BTreeMap<String, BlockDevice>,
}

impl Scan {
    /// Looks for new and gone devices. True when something changed.
    pub fn refresh(&mut self) -> bool {
        let names = block_names();
        let before = self.known.len();
        self.known.retain(|name, _| names.contains(name));
        let mut changed = self.known.len() != before;
        for name in names {
            if let std::collections::btree_map::Entry::Vacant(slot) = self.known.entry(name) {
                let device = read_device(slot.key());
                slot.insert(device);
                changed = true;
            }
        }
        changed
    }

    /// The devices that are there.
    pub fn devices(&self) -> impl Iterator<Item = &BlockDevice> {
        self.known.values()
    }
}

/// The devices of `devices` that `wanted` names: one is right, more are an error of the caller's configuration.
pub fn matching<'a>(
    devices: impl Iterator<Item = &'a BlockDevice>,
    wanted: &Device,
) -> Vec<&'a BlockDevice> {
    devices.filter(|d| d.is(wanted)).collect()
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

fn read_device(name: &str) -> BlockDevice {
    let node = node(name);
    let superblock = with_reader(&node, superblock::probe);
    BlockDevice {
        node,
        superblock,
        partition: partition(name),
    }
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
            partition: None,
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
                superblock: None,
                partition: Some(part),
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
        assert_eq!(nodes(Device::Path("/dev/vdb".into())), ["/dev/vdb"]);
    }
}
