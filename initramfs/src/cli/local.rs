//! Local targets: from what the user writes to what the capture kernel finds, and back to where the dump is seen on this machine.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use baredump::target::probe::{BlockDevice, Scan, matching};
use baredump::target::{Device, Kind, TargetSpec};
use initramfs::mounts::{Mount, Mounts, Sight};
use initramfs::sysfs;

use super::say;

/// The block devices and mounts of this machine.
#[derive(Debug)]
pub(super) struct Disks {
    devices: Vec<BlockDevice>,
    /// Those that the capture kernel cannot have, and why.
    refused: Vec<(BlockDevice, String)>,
    mounts: Mounts,
}

/// Where a target's dumps are seen, and whether that is not where one would look.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) is_lost: bool,
}

/// Is it a path alone?
pub(super) fn is_path(target: &str) -> bool {
    target.starts_with('/')
}

/// Can the target be understood only by a look at this machine?
pub(super) fn is_local(target: &str) -> bool {
    is_path(target) || target.starts_with("file:/dev/") || target.starts_with("raw:/dev/")
}

/// Says where dumps are seen; on standard error where nobody would look.
pub(super) fn tell(seen: &[Seen]) {
    for one in seen {
        if one.is_lost {
            eprintln!("baredumpctl: {}", one.line);
        } else {
            say(&one.line);
        }
    }
}

impl Disks {
    /// Looks at the machine. Devices that the capture kernel cannot have are no second one of that name.
    pub(super) fn look() -> Result<Self> {
        let mut scan = Scan::default();
        scan.refresh(None);
        let (mut devices, mut refused) = (Vec::new(), Vec::new());
        for device in scan.devices() {
            // What could not be opened, or did not answer, has no number.
            if device.number.is_empty() {
                refused.push((numbered(device), unread(&device.node)));
                continue;
            }
            match sysfs::drivers(Path::new("/"), &device.node) {
                Ok(_) => devices.push(device.clone()),
                Err(error) => refused.push((device.clone(), error.to_string())),
            }
        }
        Ok(Self {
            devices,
            refused,
            mounts: Mounts::read().context("/proc/self/mountinfo")?,
        })
    }

    /// A target as the image names it: a path as device and path, a name that another kernel gives to another device as one that stays.
    pub(super) fn resolve(&self, target: &str) -> Result<String> {
        if is_path(target) {
            let (path, options) = target.split_once('?').unwrap_or((target, ""));
            return self
                .of_path(path, options)
                .with_context(|| format!("target {target}"));
        }
        let Ok(mut spec) = target.parse::<TargetSpec>() else {
            return Ok(target.to_owned());
        };
        let is_raw = matches!(spec.kind, Kind::Raw { .. });
        let (Kind::File { device, .. } | Kind::Raw { device, .. }) = &mut spec.kind else {
            return Ok(target.to_owned());
        };
        let Device::Path(name) = &*device else {
            return Ok(target.to_owned());
        };
        // What is not there is said when its drivers are looked for.
        let Ok(found) = self.one(device) else {
            return Ok(target.to_owned());
        };
        if found.names.iter().any(|own| own == Path::new(name)) {
            return Ok(target.to_owned());
        }
        match self.identity(found, is_raw) {
            Some(identity) => *device = identity,
            None if is_raw => eprintln!(
                "baredumpctl: target {target}: nothing but its name tells the device from others, and the capture kernel may give that to another; its claim protects that one, but the dump is lost then: make a partition on it"
            ),
            None => bail!(
                "target {target}: nothing but its name tells the device from others (its file system has no UUID that no other has, nor has its partition), and the capture kernel may give that to another: change the UUID, or choose another device"
            ),
        }
        Ok(spec.to_string())
    }

    fn of_path(&self, path: &str, options: &str) -> Result<String> {
        let (mount, place) = self.mounts.find(Path::new(path))?;
        let hint = match mount.fs.as_str() {
            "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "vfat" => None,
            "nfs" | "nfs4" => Some("write nfs://server/export/directory"),
            "virtiofs" => Some("write virtiofs:TAG:/path"),
            _ => Some("choose a path on ext4, xfs, btrfs or vfat, or a server"),
        };
        if let Some(hint) = hint {
            bail!(
                "it lies in the mount on {} ({} {}): {hint}",
                mount.point.display(),
                mount.fs,
                mount.source
            );
        }
        let found = self.devices.iter().find(|device| is_on(mount, device));
        let found = found.with_context(|| {
            let refused = self.refused.iter().find(|(device, _)| is_on(mount, device));
            let why = refused.map_or(
                "which is not among the block devices of this machine",
                |(_, why)| why,
            );
            format!(
                "it lies in the mount on {} of {}: {why}; choose a path on another disk",
                mount.point.display(),
                mount.source
            )
        })?;
        let device = self.identity(found, false).with_context(|| {
            format!(
                "nothing tells {} from other devices (its file system has no UUID that no other has, nor has its partition): change the UUID, or choose another disk",
                found.node.display()
            )
        })?;
        let (subvol, place) = mount.in_subvolume(&place);
        let path = place.to_str().context("the path is not UTF-8")?.to_owned();
        let kind = Kind::File {
            device,
            path,
            subvol,
        };
        let spec = TargetSpec {
            kind,
            deadline: None,
            interface: None,
        };
        let text = spec.to_string();
        let mark = if text.contains('?') { '&' } else { '?' };
        Ok(match options {
            "" => text,
            options => format!("{text}{mark}{options}"),
        })
    }

    /// The device that a name means.
    pub(super) fn one(&self, name: &Device) -> Result<&BlockDevice> {
        match matching(self.devices.iter(), name).as_slice() {
            [one] => Ok(one),
            [] => bail!("there is no block device {name}"),
            many => bail!(
                "{name} matches more than one block device: {}",
                many.iter()
                    .map(|device| device.node.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }

    /// What tells a device from all others, whatever kernel looks: of the file system, else of the partition, the volume or the disk.
    fn identity(&self, found: &BlockDevice, is_raw: bool) -> Option<Device> {
        let superblock = found.superblock.as_ref().filter(|_| !is_raw);
        let partition = found.partition.as_ref();
        let volume = found.names.first().and_then(|name| name.to_str());
        let names = [
            superblock.map(|s| (&s.uuid, Device::Uuid as fn(String) -> Device)),
            partition.map(|p| (&p.uuid, Device::PartUuid as _)),
            superblock.map(|s| (&s.label, Device::Label as _)),
            partition.map(|p| (&p.label, Device::PartLabel as _)),
            found.wwid.as_ref().map(|id| (id, Device::Wwid as _)),
        ];
        let names = names.into_iter().flatten();
        let names = names.filter(|(name, _)| !name.is_empty());
        let mut names: Vec<_> = names.map(|(name, kind)| kind(name.clone())).collect();
        if let Some(volume) = volume {
            names.insert(names.len().min(1), Device::Path(volume.to_owned()));
        }
        names
            .into_iter()
            .find(|name| self.one(name).is_ok_and(|one| one.node == found.node))
    }

    /// Where the dumps of a target are seen; none when it is no local file system, or is not there.
    pub(super) fn seen(&self, spec: &TargetSpec) -> Option<Seen> {
        let Kind::File {
            device,
            path,
            subvol,
        } = &spec.kind
        else {
            return None;
        };
        let found = self.one(device).ok()?;
        let is_btrfs = found.fs().is_some_and(|fs| fs.name() == "btrfs");
        let root = Path::new("/").join(subvol.as_deref().unwrap_or("").trim_start_matches('/'));
        let place = root.join(path.trim_start_matches('/'));
        let sight = self.mounts.sight(|mount| is_on(mount, found), &place);
        let node = found.node.display();
        let (text, is_lost) = match sight {
            Sight::At(at) if doubled(&at) => (
                format!(
                    "seen here at {}: the path is that within the file system; for {path} write the path alone as target",
                    at.display()
                ),
                true,
            ),
            Sight::At(at) => (format!("seen here at {}", at.display()), false),
            Sight::Hidden { at, by } => (
                format!(
                    "hidden here: it would be {}, but something else is mounted on {}; write the path alone as target",
                    at.display(),
                    by.display()
                ),
                true,
            ),
            Sight::Apart if is_btrfs && subvol.is_none() => (
                format!(
                    "not seen here: without subvol= it is in the default subvolume of {node}, which is not what is mounted; write the path alone as target"
                ),
                true,
            ),
            Sight::Apart => (
                format!("not seen here: of {node} only other parts are mounted"),
                true,
            ),
            Sight::Nowhere => (format!("on {node}, which is not mounted now"), false),
        };
        Some(Seen {
            line: format!("{spec}: {text}"),
            is_lost,
        })
    }

    /// The directory of a target on this machine, when something else than a directory has its name.
    pub(super) fn obstacle(&self, spec: &TargetSpec) -> Option<PathBuf> {
        let Kind::File { device, subvol, .. } = &spec.kind else {
            return None;
        };
        let found = self.one(device).ok()?;
        let root = Path::new("/").join(subvol.as_deref().unwrap_or("").trim_start_matches('/'));
        let place = root.join(spec.path().trim_start_matches('/'));
        match self.mounts.sight(|mount| is_on(mount, found), &place) {
            Sight::At(at) | Sight::Hidden { at, .. } => {
                let other = |dir: &&Path| fs::symlink_metadata(dir).is_ok_and(|m| !m.is_dir());
                at.ancestors().find(other).map(Path::to_owned)
            }
            Sight::Apart | Sight::Nowhere => None,
        }
    }
}

/// Why a device says nothing of itself.
fn unread(node: &Path) -> String {
    let why = fs::File::open(node).map_or_else(|error| error.to_string(), |_| "no answer".into());
    format!("{} can't be read: {why}", node.display())
}

/// The same with the number that sysfs knows.
fn numbered(device: &BlockDevice) -> BlockDevice {
    let name = device.node.strip_prefix("/dev").unwrap_or(&device.node);
    let name = name.display().to_string().replace('/', "!");
    let number = fs::read_to_string(format!("/sys/class/block/{name}/dev"));
    BlockDevice {
        number: number.unwrap_or_default().trim().to_owned(),
        ..device.clone()
    }
}

/// Does the mount show the file system of this device? The number of btrfs is none of a device.
fn is_on(mount: &Mount, device: &BlockDevice) -> bool {
    if mount.fs != "btrfs" {
        return mount.number == device.number;
    }
    let number = fs::metadata(&mount.source).map(|data| {
        let number = data.rdev();
        format!(
            "{}:{}",
            nix::sys::stat::major(number),
            nix::sys::stat::minor(number)
        )
    });
    number.is_ok_and(|number| number == device.number)
}

/// `/var/var/crash`: the path from the root was written where the path within the file system of `/var` belongs.
fn doubled(at: &Path) -> bool {
    let parts: Vec<_> = at.iter().skip(1).collect();
    (1..=parts.len() / 2).any(|n| parts[..n] == parts[n..2 * n])
}

#[cfg(test)]
mod tests {
    use super::*;
    use baredump::target::probe::BlockDevice;

    fn device(node: &str, uuid: &str, part: &str) -> BlockDevice {
        let json = format!(
            r#"{{"node": "{node}", "container": null, "superblock": {{"fs": "Ext4", "uuid": "{uuid}", "label": ""}}, "partition": {{"uuid": "{part}", "label": ""}},
                "wwid": null, "number": "8:1", "names": [], "member": null, "physical": null}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn disks(devices: Vec<BlockDevice>) -> Disks {
        Disks {
            devices,
            refused: Vec::new(),
            mounts: Mounts::default(),
        }
    }

    #[test]
    fn a_name_of_this_kernel_becomes_one_that_stays() {
        let two = disks(vec![
            device("/dev/sda1", "aa-1", "p-1"),
            device("/dev/sdb1", "bb-2", "p-2"),
        ]);
        let resolved = |disks: &Disks, target: &str| disks.resolve(target).unwrap();
        assert_eq!(
            resolved(&two, "file:/dev/sdb1:/crash?deadline=60"),
            "file:UUID=bb-2:/crash?deadline=60"
        );
        assert_eq!(resolved(&two, "raw:/dev/sdb1"), "raw:PARTUUID=p-2");
        for same in [
            "file:UUID=aa-1:/crash",
            "nfs://h/x",
            "file:/dev/sdc:/x",
            "no target",
        ] {
            assert_eq!(resolved(&two, same), same);
        }
        // A clone of the disk: the partition tells them apart, or nothing does.
        let clone = disks(vec![
            device("/dev/sda1", "aa-1", "p-1"),
            device("/dev/sdb1", "AA-1", "p-2"),
        ]);
        assert_eq!(resolved(&clone, "file:/dev/sda1:/"), "file:PARTUUID=p-1:/");
        let mut volume = device("/dev/dm-0", "aa-1", "");
        volume.names = vec!["/dev/mapper/vg-a".into(), "/dev/vg/a".into()];
        let volumes = disks(vec![volume, device("/dev/sdb1", "aa-1", "")]);
        assert_eq!(
            resolved(&volumes, "file:/dev/dm-0:/x"),
            "file:/dev/mapper/vg-a:/x"
        );
        assert_eq!(resolved(&volumes, "file:/dev/vg/a:/x"), "file:/dev/vg/a:/x");
        let error = volumes
            .resolve("file:/dev/sdb1:/x")
            .unwrap_err()
            .to_string();
        assert!(error.contains("nothing but its name"), "{error}");
    }

    #[test]
    fn paths_that_are_no_disk_are_refused() {
        let none = disks(Vec::new());
        let disks = Disks {
            mounts: Mounts::read().unwrap(),
            ..none
        };
        let error = format!("{:#}", disks.resolve("/proc/crash").unwrap_err());
        assert!(
            error.contains("target /proc/crash") && error.contains("ext4, xfs"),
            "{error}"
        );
    }

    #[test]
    fn a_path_that_was_meant_from_the_root() {
        assert!(doubled(Path::new("/var/var/crash")));
        assert!(doubled(Path::new("/a/b/a/b/c")));
        assert!(!doubled(Path::new("/var/crash")));
    }
}
