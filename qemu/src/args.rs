//! What a machine is, and the QEMU arguments for it. Pure functions; QEMU 7.2 and newer.

use crate::net::{self, Nic};
use crate::{Accel, Arch};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A virtual machine that boots a kernel directly.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its architecture.
    pub arch: Arch,
    /// QEMU's name of the processor; none for the one with everything that the accelerator can do.
    pub processor: Option<String>,
    /// The kernel image.
    pub kernel: PathBuf,
    /// The initramfs; without one the kernel panics when it looks for its root file system.
    pub initrd: Option<PathBuf>,
    /// Words for the kernel command line, after the console.
    pub append: String,
    /// Memory in MiB.
    pub memory: u32,
    /// Virtual CPUs.
    pub cpus: u32,
    /// NUMA nodes over which memory and CPUs are spread evenly; 0 or 1 = none.
    pub nodes: u32,
    /// Disks; virtio's are `/dev/vda` first.
    pub drives: Vec<Drive>,
    /// Network cards; [`crate::Vm`] takes the carrier of those that have none.
    pub nics: Vec<Nic>,
    /// More arguments; a second `-m` adds to the first.
    pub extra: Vec<OsString>,
    /// How the guest's instructions are run.
    pub accel: Accel,
}

/// A raw disk image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// The image file.
    pub file: PathBuf,
    /// The serial number that the guest sees.
    pub serial: String,
    /// What it hangs on.
    pub bus: Bus,
}

/// What a disk hangs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk.
    #[default]
    Virtio,
    /// virtio-scsi.
    VirtioScsi,
    /// NVMe.
    Nvme,
    /// SATA on AHCI.
    Ahci,
    /// SAS on a MegaRAID.
    Megaraid,
}

impl Bus {
    /// QEMU's controller, where the disk is not its own, and the kind of disk.
    fn devices(self) -> (Option<&'static str>, &'static str) {
        match self {
            Self::Virtio => (None, "virtio-blk-pci"),
            Self::VirtioScsi => (Some("virtio-scsi-pci"), "scsi-hd"),
            Self::Nvme => (None, "nvme"),
            Self::Ahci => (Some("ich9-ahci"), "ide-hd"),
            Self::Megaraid => (Some("megasas-gen2"), "scsi-hd"),
        }
    }
}

impl Machine {
    /// x86_64, one CPU, 1024 MiB, no disks.
    pub fn new(kernel: &Path, accel: Accel) -> Self {
        Self {
            arch: Arch::X86,
            processor: None,
            kernel: kernel.to_path_buf(),
            initrd: None,
            append: String::new(),
            memory: 1024,
            cpus: 1,
            nodes: 0,
            drives: Vec::new(),
            nics: Vec::new(),
            extra: Vec::new(),
            accel,
        }
    }

    /// The whole QEMU argument list, without the program.
    ///
    /// `-no-reboot` makes QEMU exit when the guest resets: that is how the end of a capture is seen.
    pub fn args(&self) -> Vec<OsString> {
        let mut args = words(
            "-nodefaults -no-user-config -no-reboot -display none -monitor none -serial stdio",
        );
        args.extend(words(self.arch.board()));
        args.extend(words(&format!("-accel {} -cpu", self.accel.name())));
        let own = self.arch.processor(self.accel);
        args.push(self.processor.as_deref().unwrap_or(own).into());
        args.extend(words(&format!("-m {} -smp {}", self.memory, self.cpus)));
        args.extend(numa(self));
        for (number, drive) in self.drives.iter().enumerate() {
            args.extend(drive_args(number, drive));
        }
        for (number, nic) in self.nics.iter().enumerate() {
            args.extend(net::args(number, nic));
        }
        args.extend(self.extra.iter().cloned());
        args.extend(["-kernel".into(), self.kernel.clone().into()]);
        if let Some(initrd) = &self.initrd {
            args.extend(["-initrd".into(), initrd.clone().into()]);
        }
        args.extend([
            "-append".into(),
            format!("console={} {}", self.arch.console(), self.append)
                .trim_end()
                .into(),
        ]);
        args
    }
}

/// One memory backend and one range of CPUs for each node.
fn numa(machine: &Machine) -> Vec<OsString> {
    let nodes = machine.nodes;
    if nodes < 2 {
        return Vec::new();
    }
    let (memory, cpus) = (machine.memory / nodes, (machine.cpus / nodes).max(1));
    let node = |n: u32| {
        let (first, last) = (n * cpus, n * cpus + cpus - 1);
        format!(
            "-object memory-backend-ram,id=mem{n},size={memory}M -numa node,nodeid={n},memdev=mem{n},cpus={first}-{last}"
        )
    };
    (0..nodes).flat_map(|n| words(&node(n))).collect()
}

/// A drive, its controller and its device. A comma in a file name is doubled, as QEMU's option syntax wants it.
fn drive_args(number: usize, drive: &Drive) -> Vec<OsString> {
    let file = drive.file.display().to_string().replace(',', ",,");
    let (controller, disk) = drive.bus.devices();
    let mut args = vec![
        "-drive".into(),
        format!("if=none,id=disk{number},format=raw,file={file}").into(),
    ];
    let mut bus = String::new();
    if let Some(controller) = controller {
        args.extend(words(&format!("-device {controller},id=bus{number}")));
        bus = format!("bus=bus{number}.0,");
    }
    args.push("-device".into());
    args.push(format!("{disk},{bus}drive=disk{number},serial={}", drive.serial).into());
    args
}

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(machine: &Machine) -> String {
        machine
            .args()
            .iter()
            .map(|a| a.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn plain_machine() {
        let machine = Machine::new(Path::new("/k"), Accel::Tcg);
        let line = line(&machine);
        assert!(
            line.contains("-accel tcg -cpu max,-cx16 ") && line.contains("-m 1024 -smp 1"),
            "{line}"
        );
        assert!(line.ends_with("-kernel /k -append console=ttyS0"), "{line}");
        assert!(
            !line.contains("-initrd") && !line.contains("-numa"),
            "{line}"
        );
    }

    #[test]
    fn arm64_machine() {
        let mut machine = Machine {
            arch: Arch::Arm64,
            ..Machine::new(Path::new("/k"), Accel::Tcg)
        };
        let max = line(&machine);
        assert!(
            max.contains("-machine virt,gic-version=max -accel tcg -cpu max,pauth-impdef=on -m"),
            "{max}"
        );
        assert!(max.ends_with("console=ttyAMA0"), "{max}");
        machine.processor = Some("neoverse-n1".into());
        assert!(line(&machine).contains("-cpu neoverse-n1 "));
    }

    #[test]
    fn nodes_share_memory_and_cpus() {
        let machine = Machine {
            cpus: 4,
            nodes: 2,
            ..Machine::new(Path::new("/k"), Accel::Kvm)
        };
        let line = line(&machine);
        assert!(
            line.contains("id=mem0,size=512M -numa node,nodeid=0,memdev=mem0,cpus=0-1"),
            "{line}"
        );
        assert!(
            line.contains("id=mem1,size=512M -numa node,nodeid=1,memdev=mem1,cpus=2-3"),
            "{line}"
        );
    }

    #[test]
    fn append_is_one_argument_and_commas_are_doubled() {
        let mut machine = Machine::new(Path::new("/k"), Accel::Tcg);
        machine.append = "a=1 b=2".into();
        machine.drives = vec![Drive {
            file: "/d,1.raw".into(),
            serial: "dump".into(),
            bus: Bus::Virtio,
        }];
        let args = machine.args();
        assert_eq!(args.last().unwrap(), "console=ttyS0 a=1 b=2");
        assert!(line(&machine).contains("if=none,id=disk0,format=raw,file=/d,,1.raw -device virtio-blk-pci,drive=disk0,serial=dump"));
    }

    #[test]
    fn disks_behind_controllers() {
        let drive = |bus| {
            let drive = Drive {
                file: "/d".into(),
                serial: "s".into(),
                bus,
            };
            drive_args(1, &drive).join(" ".as_ref())
        };
        let ahci = drive(Bus::Ahci).into_string().unwrap();
        assert!(
            ahci.ends_with(
                "-device ich9-ahci,id=bus1 -device ide-hd,bus=bus1.0,drive=disk1,serial=s"
            ),
            "{ahci}"
        );
        let nvme = drive(Bus::Nvme).into_string().unwrap();
        assert!(
            nvme.ends_with("file=/d -device nvme,drive=disk1,serial=s"),
            "{nvme}"
        );
    }
}
