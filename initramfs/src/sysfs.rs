//! Which drivers stand between the running kernel and a block device or a network interface: its ancestors in sysfs and their modules.
//!
//! Source: Documentation/admin-guide/sysfs-rules.rst; `driver` and `driver/module` links since Linux 2.6.

mod running;

pub use running::{consoles, watchdogs};

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::refuse;

/// Longer than any chain of controllers.
const DEPTH_MAX: usize = 64;
/// More layers than volumes on mirrors on partitions have.
const LAYERS_MAX: usize = 8;

/// What was found on the way from a device to the root of the device tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drivers {
    /// Modules of the drivers.
    pub modules: BTreeSet<String>,
    /// Drivers without a module: part of the kernel.
    pub builtin: BTreeSet<String>,
}

/// Why a device's drivers can't be told.
#[derive(Debug, Error)]
pub enum SysfsError {
    /// No such block device.
    #[error("{node} is no block device that {sysfs} knows")]
    Unknown {
        /// The device node.
        node: String,
        /// The directory that should have it.
        sysfs: String,
    },
    /// Made of what a capture kernel can't have, or reached through a network.
    #[error("{node} is {kind}")]
    Refused {
        /// The device node.
        node: String,
        /// What it is.
        kind: String,
    },
}

/// Walks from `node` (as `/dev/vda1`) up; `sysroot` is `/` but for tests.
///
/// # Errors
/// The device is unknown or virtual.
pub fn drivers(sysroot: &Path, node: &Path) -> Result<Drivers, SysfsError> {
    let sys = sys(sysroot);
    let shown = node.display().to_string();
    // /dev/disk/by-uuid/… is a link to the device, whose name sysfs has; a slash in a name is a ! there.
    let real = fs::canonicalize(node).unwrap_or_else(|_| node.to_owned());
    let name = real
        .strip_prefix("/dev")
        .unwrap_or(&real)
        .display()
        .to_string()
        .replace('/', "!");
    let class = sys.join("class/block");
    let device = fs::canonicalize(class.join(&name)).map_err(|_| SysfsError::Unknown {
        node: shown.clone(),
        sysfs: class.display().to_string(),
    })?;
    let mut drivers = Drivers::default();
    let found = collect(&device, &sys.join("devices"), LAYERS_MAX, &mut drivers);
    found.map_err(|kind| SysfsError::Refused { node: shown, kind })?;
    Ok(drivers)
}

/// The drivers of a device and of those that it is made of.
fn collect(
    device: &Path,
    devices: &Path,
    depth: usize,
    drivers: &mut Drivers,
) -> Result<(), String> {
    let refused = |why: Option<&str>| why.map_or(Ok(()), |why| Err(why.to_owned()));
    if let Ok(inside) = device.strip_prefix(devices.join("virtual")) {
        if !inside.starts_with("nvme-subsystem") {
            let layer = refuse::layer(device)?;
            let depth = depth.checked_sub(1).ok_or("made of too many layers")?;
            drivers
                .modules
                .extend(layer.modules.iter().map(ToString::to_string));
            let mut below = layer.below.iter();
            return below.try_for_each(|below| collect(below, devices, depth, drivers));
        }
        for controller in nvme_controllers(device) {
            refused(refuse::remote(&controller))?;
            walk_up(&controller, devices, drivers);
        }
    }
    refused(refuse::remote(device))?;
    walk_up(device, devices, drivers);
    Ok(())
}

/// The drivers of a network interface: those of its device, of the port's other end (`phydev`), and of the card that a virtual function
/// is a part of. Nothing when it has no device.
#[must_use]
pub fn interface_drivers(sysroot: &Path, name: &str) -> Drivers {
    let sys = sys(sysroot);
    let (class, devices) = (sys.join("class/net").join(name), sys.join("devices"));
    let mut drivers = Drivers::default();
    for link in ["device", "device/physfn", "phydev"] {
        if let Ok(device) = fs::canonicalize(class.join(link)) {
            walk_up(&device, &devices, &mut drivers);
        }
    }
    drivers
}

/// Without links, as the paths in it are compared.
fn sys(sysroot: &Path) -> PathBuf {
    let sys = sysroot.join("sys");
    fs::canonicalize(&sys).unwrap_or(sys)
}

fn walk_up(device: &Path, devices: &Path, drivers: &mut Drivers) {
    for dir in device
        .ancestors()
        .take(DEPTH_MAX)
        .take_while(|dir| *dir != devices)
    {
        let Ok(driver) = fs::canonicalize(dir.join("driver")) else {
            continue;
        };
        match file_name(fs::canonicalize(driver.join("module")).ok()) {
            Some(module) => drivers.modules.extend([module]),
            None => drivers.builtin.extend(file_name(Some(driver))),
        }
    }
}

/// A multipath namespace hangs below its subsystem, whose links name the controllers.
fn nvme_controllers(device: &Path) -> Vec<PathBuf> {
    let Some(entries) = device
        .parent()
        .and_then(|subsystem| fs::read_dir(subsystem).ok())
    else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("nvme"))
        .filter_map(|entry| fs::canonicalize(entry.path()).ok())
        .collect()
}

fn file_name(path: Option<PathBuf>) -> Option<String> {
    path?.file_name()?.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A sysfs of files.
    pub(super) struct Sys(TempDir);

    impl Sys {
        pub(super) fn new() -> Self {
            let sys = Self(tempfile::tempdir().unwrap());
            sys.dir("sys/class/block");
            sys.dir("sys/devices");
            sys
        }

        pub(super) fn dir(&self, path: &str) -> PathBuf {
            let path = self.0.path().join(path);
            fs::create_dir_all(&path).unwrap();
            path
        }

        pub(super) fn root(&self) -> &Path {
            self.0.path()
        }

        pub(super) fn file(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        pub(super) fn class(&self, class: &str, name: &str, device: &str) {
            let path = self.dir(&format!("sys/devices/{device}"));
            let link = self.dir(&format!("sys/class/{class}")).join(name);
            symlink(path, link).unwrap();
        }

        fn block(&self, name: &str, device: &str) {
            self.class("block", name, device);
        }

        pub(super) fn driver(&self, device: &str, driver: &str, module: Option<&str>) {
            let path = self.dir(&format!("sys/bus/pci/drivers/{driver}"));
            symlink(
                &path,
                self.dir(&format!("sys/devices/{device}")).join("driver"),
            )
            .unwrap();
            if let Some(module) = module {
                symlink(
                    self.dir(&format!("sys/module/{module}")),
                    path.join("module"),
                )
                .unwrap();
            }
        }

        fn drivers(&self, node: &str) -> Result<Drivers, SysfsError> {
            drivers(self.0.path(), Path::new(node))
        }
    }

    pub(super) fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn partition_on_virtio() {
        let sys = Sys::new();
        sys.block(
            "testvda1",
            "pci0000:00/0000:00:03.0/virtio2/block/testvda/testvda1",
        );
        sys.driver(
            "pci0000:00/0000:00:03.0/virtio2",
            "virtio_blk",
            Some("virtio_blk"),
        );
        sys.driver("pci0000:00/0000:00:03.0", "virtio-pci", Some("virtio_pci"));
        let found = sys.drivers("/dev/testvda1").unwrap();
        assert_eq!(
            found,
            Drivers {
                modules: set(&["virtio_blk", "virtio_pci"]),
                builtin: set(&[])
            }
        );
    }

    #[test]
    fn scsi_disk_behind_a_built_in_controller() {
        let sys = Sys::new();
        let disk = "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0";
        sys.block("testsda", &format!("{disk}/block/testsda"));
        sys.driver(disk, "sd", Some("sd_mod"));
        sys.driver("pci0000:00/0000:00:1f.2", "ahci", None);
        let found = sys.drivers("/dev/testsda").unwrap();
        assert_eq!(
            found,
            Drivers {
                modules: set(&["sd_mod"]),
                builtin: set(&["ahci"])
            }
        );
    }

    #[test]
    fn nvme_multipath() {
        let sys = Sys::new();
        sys.block(
            "testnvme0n1",
            "virtual/nvme-subsystem/nvme-subsys0/testnvme0n1",
        );
        let controller = sys.dir("sys/devices/pci0000:00/0000:00:04.0/nvme/nvme0");
        sys.driver("pci0000:00/0000:00:04.0", "nvme", Some("nvme"));
        symlink(
            controller,
            sys.0
                .path()
                .join("sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0"),
        )
        .unwrap();
        assert_eq!(
            sys.drivers("/dev/testnvme0n1").unwrap().modules,
            set(&["nvme"])
        );
    }

    #[test]
    fn a_volume_has_the_drivers_of_its_disks() {
        let sys = Sys::new();
        sys.block("dm-77", "virtual/block/dm-77");
        sys.file("sys/devices/virtual/block/dm-77/dm/uuid", "LVM-abc\n");
        sys.driver("pci0000:00/0000:00:03.0", "nvme", Some("nvme"));
        let disk = sys.dir("sys/devices/pci0000:00/0000:00:03.0/block/testvdb");
        let slaves = sys.dir("sys/devices/virtual/block/dm-77/slaves");
        symlink(disk, slaves.join("testvdb")).unwrap();
        let found = sys.drivers("/dev/dm-77").unwrap();
        assert_eq!(found.modules, set(&["dm_mod", "nvme"]));
    }

    #[test]
    fn virtual_and_unknown_devices_are_refused() {
        let sys = Sys::new();
        sys.block("dm-77", "virtual/block/dm-77");
        sys.file("sys/devices/virtual/block/dm-77/dm/uuid", "CRYPT-x\n");
        sys.block("loop77", "virtual/block/loop77");
        assert!(
            sys.drivers("/dev/dm-77")
                .unwrap_err()
                .to_string()
                .contains("LUKS")
        );
        assert!(
            sys.drivers("/dev/loop77")
                .unwrap_err()
                .to_string()
                .contains("virtual device")
        );
        assert!(matches!(
            sys.drivers("/dev/nothing77"),
            Err(SysfsError::Unknown { .. })
        ));
    }
}
