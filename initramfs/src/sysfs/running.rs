//! What runs on this machine beside the target and goes on after a panic: watchdogs that would reset the machine in the middle of a
//! dump unless their driver takes them over, and consoles that are no serial port.
//!
//! Source: Documentation/ABI/testing/sysfs-class-watchdog, sysfs-tty (`console/active`), Linux 5.10 to 7.2.

use std::fs;
use std::path::Path;

use super::{Drivers, walk_up};

/// Drivers of watchdogs that are not in the class of watchdogs, and what they need to find their device.
const CLASSLESS: &[(&str, &[&str])] = &[("ipmi_watchdog", &["ipmi_si", "ipmi_watchdog"])];
/// Consoles whose device has no parent in sysfs: how their names begin, and the driver of virtual machines.
const PARENTLESS: (&str, &str) = ("hvc", "virtio_console");

/// The drivers of watchdogs that are active. One that only software makes dies with the kernel.
#[must_use]
pub fn watchdogs(sysroot: &Path) -> Drivers {
    let sys = super::sys(sysroot);
    let mut drivers = Drivers::default();
    for entry in fs::read_dir(sys.join("class/watchdog"))
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        // Without the attribute nobody knows.
        let state = fs::read_to_string(entry.path().join("state"));
        if state.is_ok_and(|state| state.trim() == "inactive") {
            continue;
        }
        if let Ok(device) = fs::canonicalize(entry.path()) {
            walk_up(&device, &sys.join("devices"), &mut drivers);
        }
        // Some drivers don't say on which device they sit: theirs has the name of the watchdog then.
        let identity = fs::read_to_string(entry.path().join("identity")).unwrap_or_default();
        drivers.modules.extend(of_driver(&sys, identity.trim()));
    }
    for (name, needed) in CLASSLESS {
        if sys.join("module").join(name).exists() {
            let needed = needed.iter().map(ToString::to_string);
            drivers.modules.extend(needed);
        }
    }
    drivers
}

/// The module of the driver with this name, on whatever bus.
fn of_driver(sys: &Path, name: &str) -> Option<String> {
    let buses = fs::read_dir(sys.join("bus")).ok()?;
    buses.filter_map(Result::ok).find_map(|bus| {
        let module = bus.path().join("drivers").join(name).join("module");
        super::file_name(fs::canonicalize(module).ok())
    })
}

/// The drivers of the consoles that the kernel writes to.
#[must_use]
pub fn consoles(sysroot: &Path) -> Drivers {
    let sys = super::sys(sysroot);
    let mut drivers = Drivers::default();
    let active = fs::read_to_string(sys.join("class/tty/console/active")).unwrap_or_default();
    for name in active.split_ascii_whitespace() {
        if let Ok(device) = fs::canonicalize(sys.join("class/tty").join(name)) {
            walk_up(&device, &sys.join("devices"), &mut drivers);
        }
        let (prefix, driver) = PARENTLESS;
        if name.starts_with(prefix) && sys.join("bus/virtio/drivers").join(driver).exists() {
            drivers.modules.insert(driver.to_owned());
        }
    }
    drivers
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Sys, set};
    use super::*;

    #[test]
    fn only_active_watchdogs_of_hardware() {
        let sys = Sys::new();
        for (name, device, state, identity) in [
            ("watchdog0", "platform/iTCO_wdt", "active\n", "iTCO_wdt\n"),
            ("watchdog1", "pci0000:00/0000:00:05.0", "inactive\n", "x\n"),
            ("watchdog2", "virtual", "active\n", "Software Watchdog\n"),
            ("watchdog3", "virtual", "active\n", "i6300ESB timer\n"),
        ] {
            let device = format!("{device}/watchdog/{name}");
            sys.class("watchdog", name, &device);
            sys.file(&format!("sys/devices/{device}/state"), state);
            sys.file(&format!("sys/devices/{device}/identity"), identity);
        }
        sys.driver("platform/iTCO_wdt", "iTCO_wdt", Some("iTCO_wdt"));
        sys.driver("pci0000:00/0000:00:05.0", "hpwdt", Some("hpwdt"));
        sys.driver(
            "pci0000:00/0000:00:04.0",
            "i6300ESB timer",
            Some("i6300esb"),
        );
        let found = watchdogs(sys.root());
        assert_eq!(found.modules, set(&["iTCO_wdt", "i6300esb"]));
        sys.dir("sys/module/ipmi_watchdog");
        let found = watchdogs(sys.root()).modules;
        assert!(found.contains("ipmi_si") && found.contains("ipmi_watchdog"));
    }

    #[test]
    fn the_console_of_a_virtual_machine() {
        let sys = Sys::new();
        sys.class("tty", "ttyS0", "pnp0/00:04/tty/ttyS0");
        sys.driver("pnp0/00:04", "serial", None);
        sys.dir("sys/bus/virtio/drivers/virtio_console");
        sys.file("sys/class/tty/console/active", "ttyS0\n");
        assert_eq!(consoles(sys.root()).modules, set(&[]));
        sys.file("sys/class/tty/console/active", "tty0 hvc0\n");
        let found = consoles(sys.root());
        assert_eq!(found.modules, set(&["virtio_console"]));
    }
}
