//! The recorded floors, with the sizes that they depend on: `baredumpctl estimate` is tested against them.

use crate::fetch::Kernel;
use crate::lab::{Lab, say};
use anyhow::{Context, Result};
use initramfs::estimate::Machine;
use initramfs::kconfig::KernelConfig;
use initramfs::{image, loader};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The file, from the root of the repository.
const FILE: &str = "kernel-config/floors.toml";
const HEAD: &str = "\
# The smallest crashkernel= in MB that gives a complete dump three times: 1 virtual CPU, 1 GiB; ext4 on virtio-blk,
# or NFS or SSH over virtio-net.
# Written by `./x floor --record`; `./x floor` fails when one grew by more than 4 MB.
";

/// One floor and what it was found with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Floor {
    /// Name of the case.
    pub(super) name: String,
    /// The floor in MB.
    pub(super) floor: u32,
    /// Release of the capture kernel.
    pub(super) release: String,
    /// What `estimate` looks at: bytes of the kernel, the room that it unpacks itself in, whether it is built to be small; bytes of the
    /// image, of its files, of its modules.
    pub(super) kernel: u64,
    pub(super) init_size: u64,
    pub(super) tiny: bool,
    pub(super) image: u64,
    pub(super) unpacked: u64,
    pub(super) modules: u64,
    /// Those of its drivers and clients whose buffers are known.
    #[serde(default)]
    pub(super) drivers: Vec<String>,
}

impl Floor {
    pub(super) fn new(name: &str, floor: u32, kernel: &Kernel, image: &Path) -> Result<Self> {
        let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
        let bytes = read(image)?;
        let config = KernelConfig::read(&kernel.config)?;
        let mut machine = Machine {
            page_size: 4096,
            ..Machine::default()
        };
        let header = loader::Kernel::open(&kernel.vmlinuz)?.header;
        machine.set_kernel(&header, &read(&kernel.vmlinuz)?);
        machine.set_image(bytes.len() as u64, &image::unpack(&bytes)?);
        Ok(Self {
            name: name.to_owned(),
            floor,
            release: kernel.release.clone(),
            kernel: machine.kernel,
            init_size: machine.init_size,
            tiny: config.is_builtin("CONFIG_SLUB_TINY"),
            image: machine.image,
            unpacked: machine.unpacked,
            modules: machine.modules,
            drivers: machine
                .buffers
                .iter()
                .map(|one| one.driver.to_string())
                .collect(),
        })
    }
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Floors {
    #[serde(default)]
    floor: Vec<Floor>,
}

impl Floors {
    pub(super) fn read(lab: &Lab) -> Result<Self> {
        let path = path(lab);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    pub(super) fn of(&self, name: &str) -> Option<&Floor> {
        self.floor.iter().find(|floor| floor.name == name)
    }

    pub(super) fn set(&mut self, floor: Floor) {
        self.floor.retain(|other| other.name != floor.name);
        self.floor.push(floor);
        self.floor.sort_by(|one, other| one.name.cmp(&other.name));
    }

    pub(super) fn write(&self, lab: &Lab) -> Result<()> {
        let path = path(lab);
        fs::write(&path, self.text()).with_context(|| path.display().to_string())?;
        say(&format!("recorded in {FILE}"));
        Ok(())
    }

    /// toml is here without its writer.
    fn text(&self) -> String {
        let floors = self.floor.iter().map(|one| {
            format!(
                "\n[[floor]]\nname = \"{}\"\nfloor = {}\nrelease = \"{}\"\nkernel = {}\ninit_size = {}\ntiny = {}\n\
                 image = {}\nunpacked = {}\nmodules = {}\ndrivers = {:?}\n",
                one.name,
                one.floor,
                one.release,
                one.kernel,
                one.init_size,
                one.tiny,
                one.image,
                one.unpacked,
                one.modules,
                one.drivers
            )
        });
        HEAD.to_owned() + &floors.collect::<String>()
    }
}

fn path(lab: &Lab) -> PathBuf {
    lab.root.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let floor = |name: &str, floor| Floor {
            name: name.into(),
            floor,
            release: "6.1.0-50-cloud-amd64".into(),
            kernel: 48_000_000,
            init_size: 54_000_000,
            tiny: false,
            image: 1_000_000,
            unpacked: 3_000_000,
            modules: 100_000,
            drivers: vec!["virtio_net".into(), "ssh".into()],
        };
        let mut floors = Floors::default();
        floors.set(floor("6.12", 72));
        floors.set(floor("6.1", 80));
        floors.set(floor("6.1", 76));
        let read: Floors = toml::from_str(&floors.text()).unwrap();
        assert_eq!(read.floor, [floor("6.1", 76), floor("6.12", 72)]);
    }
}
