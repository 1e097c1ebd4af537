//! The drivers of a plan's devices.

use std::fs;
use std::path::{Path, PathBuf};

use baredump::net::{Interface, Kind, Mac, Plan};

use super::NetworkError;
use crate::sysfs::{self, Drivers};

/// The drivers of all devices in the plan, which are found as the capture kernel will find them. `sysroot` is `/` but for tests.
///
/// # Errors
/// A device that this machine does not have.
pub fn drivers(sysroot: &Path, plan: &Plan) -> Result<Drivers, NetworkError> {
    let mut all = Drivers::default();
    for interface in &plan.interfaces {
        let found = match &interface.kind {
            Kind::Mac(mac) => find(sysroot, |class| has_address(class, *mac)),
            Kind::Bus(place) => find(sysroot, |class| is_at(class, place)),
            Kind::Vlan { .. } | Kind::Bond { .. } => continue,
        };
        let name = found.ok_or_else(|| missing(interface))?;
        let found = sysfs::interface_drivers(sysroot, &name);
        all.modules.extend(found.modules);
        all.builtin.extend(found.builtin);
    }
    Ok(all)
}

fn missing(interface: &Interface) -> NetworkError {
    NetworkError::NoDevice {
        interface: interface.to_string(),
    }
}

/// The first interface with a device that is meant.
fn find(sysroot: &Path, meant: impl Fn(&Path) -> bool) -> Option<String> {
    let entries = fs::read_dir(sysroot.join("sys/class/net")).ok()?;
    let mut names: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    names.sort();
    let found = names
        .into_iter()
        .find(|class| class.join("device").exists() && meant(class))?;
    Some(found.file_name()?.to_str()?.to_owned())
}

/// A slave has its bond's address, and its own beside it.
fn has_address(class: &Path, mac: Mac) -> bool {
    let shown = ["bonding_slave/perm_hwaddr", "address"]
        .iter()
        .find_map(|file| fs::read_to_string(class.join(file)).ok());
    if shown.is_some_and(|text| text.parse() == Ok(mac)) {
        return true;
    }
    let name = class.file_name().and_then(|name| name.to_str());
    name.and_then(baredump::sys::socket::permanent_address) == Some(mac.0)
}

fn is_at(class: &Path, place: &str) -> bool {
    let device = fs::canonicalize(class.join("device"));
    device.is_ok_and(|path| path.iter().any(|part| part == place))
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::Fake;
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn drivers_of_devices() {
        let mut fake = Fake::new();
        fake.nic("test0", "pci0000:00/0000:00:03.0/virtio0", 1);
        fake.file("sys/class/net/test0/address", "02:00:00:00:00:99\n");
        fake.file(
            "sys/class/net/test0/bonding_slave/perm_hwaddr",
            "02:00:00:00:00:01\n",
        );
        fake.file("sys/module/virtio_net/refcnt", "1");
        let root = fake.root.path();
        let driver = root.join("sys/bus/virtio/drivers/virtio_net");
        fs::create_dir_all(&driver).unwrap();
        symlink(root.join("sys/module/virtio_net"), driver.join("module")).unwrap();
        let device = root.join("sys/devices/pci0000:00/0000:00:03.0/virtio0");
        symlink(driver, device.join("driver")).unwrap();
        let of = |lines: &[&str]| {
            let interfaces = lines.iter().map(|line| line.parse().unwrap()).collect();
            let plan = Plan {
                interfaces,
                ..Plan::default()
            };
            drivers(root, &plan).map(|found| found.modules)
        };
        let expected = Ok(["virtio_net".to_owned()].into());
        assert_eq!(
            of(&["a:mac=02:00:00:00:00:01", "v:vlan=5;on=a"]).map_err(|e| e.to_string()),
            expected
        );
        assert_eq!(
            of(&["a:bus=0000:00:03.0"]).map_err(|e| e.to_string()),
            expected
        );
        let error = of(&["a:mac=02:00:00:00:00:99"]).unwrap_err().to_string();
        assert!(error.contains("a:mac=02:00:00:00:00:99") && error.contains("--module"));
    }
}
