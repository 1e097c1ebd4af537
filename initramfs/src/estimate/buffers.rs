//! What drivers and clients allocate: measured, taken from the sizes of their queues, or assumed.

use crate::cpio::Archive;
use std::borrow::Cow;

/// Where a size is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Measured, with one device in QEMU and 6.12.
    Measured,
    /// An allowance, taken from the sizes of its queues.
    Queues,
    /// Nobody has looked at the driver.
    Unknown,
}

impl Source {
    /// What people read.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Measured => "buffers, measured",
            Self::Queues => "buffers, from queues",
            Self::Unknown => "buffers, unknown driver",
        }
    }
}

/// What a driver allocates for a device that it has found and uses, or a client of ours for its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffers {
    /// Its module, or the client's name.
    pub driver: Cow<'static, str>,
    /// In MiB.
    pub mebibytes: u64,
    /// Where that is from.
    pub source: Source,
}

const fn measured(driver: &'static str, mebibytes: u64) -> Buffers {
    Buffers {
        driver: Cow::Borrowed(driver),
        mebibytes,
        source: Source::Measured,
    }
}

const fn allowance(driver: &'static str, mebibytes: u64) -> Buffers {
    Buffers {
        driver: Cow::Borrowed(driver),
        mebibytes,
        source: Source::Queues,
    }
}

const BUFFERS: &[Buffers] = &[
    measured("nvme", 2),
    measured("ahci", 3),
    measured("virtio_scsi", 3),
    measured("vmw_pvscsi", 4),
    measured("e1000e", 1),
    measured("virtio_net", 1),
    measured("vmxnet3", 4),
    allowance("megaraid_sas", 24),
    allowance("mpt3sas", 24),
    allowance("mlx5_core", 40),
    allowance("ixgbe", 12),
    allowance("igb", 6),
    allowance("ena", 8),
    // One queue pair of 1024 descriptors, each with a page of a registered list in both directions.
    allowance("gve", 8),
    // Receive and send sections that are always allocated; the rings of the bus are in it.
    allowance("hv_netvsc", 18),
    allowance("hv_storvsc", 2),
    // Only state: a capture kernel plugs nothing.
    allowance("virtio_mem", 1),
    allowance("btrfs", 4),
    allowance("xfs", 3),
    measured("nfsv3", 1),
    measured("nfsv4", 1),
    measured(SSH, 2),
    measured(WEB, 7),
];
/// Drivers whose buffers are in the measured start of the kernel, or are none.
const WITHOUT: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "i6300esb",
    "iTCO_wdt",
    "nvme_core",
    "hv_vmbus",
];
/// Beginnings of the ids of devices whose drivers have queues, and what one is taken for that nobody knows.
const BUSES: [&str; 3] = ["pci:", "vmbus:", "virtio:"];
const UNKNOWN: u64 = 4;
/// The client for `sftp:` targets, and that for `s3:` and `https:` ones: windows and parts on their way, ciphers' code and tables.
const SSH: &str = "ssh";
const WEB: &str = "web";
/// The files of an image whose client has them.
const CLIENTS: &[(&str, &str)] = &[
    ("etc/baredump/ssh_key", SSH),
    ("etc/baredump/s3_credentials", WEB),
    ("etc/baredump/presigned", WEB),
    ("etc/baredump/ca.pem", WEB),
];

/// What the drivers of an image allocate, of those that are known.
pub fn buffers<'a>(modules: impl Iterator<Item = &'a str>) -> Vec<Buffers> {
    modules.filter_map(known).collect()
}

fn known(name: &str) -> Option<Buffers> {
    let mut all = BUFFERS.iter();
    all.find(|one| one.driver == name.replace('-', "_"))
        .cloned()
}

/// What a module allocates: one that drives devices of a bus is counted also when nobody knows it.
pub(super) fn of_module(name: &str, bytes: &[u8]) -> Option<Buffers> {
    if WITHOUT.contains(&name.replace('-', "_").as_str()) {
        return None;
    }
    known(name).or_else(|| {
        drives_a_bus(bytes).then(|| Buffers {
            driver: name.to_owned().into(),
            mebibytes: UNKNOWN,
            source: Source::Unknown,
        })
    })
}

/// Is there an `alias=` of a device of a bus among the strings of the module?
fn drives_a_bus(module: &[u8]) -> bool {
    let mut strings = module.split(|byte| *byte == 0);
    strings.any(|text| {
        let id = text.strip_prefix(b"alias=");
        id.is_some_and(|id| BUSES.iter().any(|bus| id.starts_with(bus.as_bytes())))
    })
}

/// The clients that an image has the files of.
pub(super) fn clients(archive: &Archive) -> Vec<&'static str> {
    let clients = CLIENTS
        .iter()
        .filter(|(file, _)| archive.file_bytes(file).is_some());
    let mut clients: Vec<_> = clients.map(|(_, client)| *client).collect();
    clients.dedup();
    clients
}

#[cfg(test)]
mod tests {
    use super::super::Machine;
    use super::*;
    use crate::image;

    #[test]
    fn drivers_that_are_built_in_or_unknown_are_counted() {
        let mut archive = Archive::new();
        let module = |ids: &str| format!("\0license=GPL\0{ids}\0").into_bytes();
        for (name, ids) in [
            ("gve", "alias=pci:v00001AE0d*"),
            ("hv_storvsc", "alias=vmbus:d96361baa104294db60572e2ffb1dc7f"),
            ("virtio-mem", "alias=virtio:d00000018v*"),
            ("virtio_blk", "alias=virtio:d00000002v*"),
            ("newnic", "alias=pci:v00001234d*"),
            ("crc32c_generic", "alias=crypto-crc32c"),
        ] {
            let path = format!("lib/modules/{name}.ko");
            archive.file(&path, 0o644, module(ids)).unwrap();
        }
        let source = image::Source {
            builtin: ["nvme".to_owned(), "pcieport".to_owned()].into(),
            ..image::Source::default()
        };
        let source = serde_json::to_vec(&source).unwrap();
        archive.file(image::SOURCE_FILE, 0o600, source).unwrap();
        let mut machine = Machine::default();
        machine.set_image(0, &archive);
        let list: Vec<_> = machine
            .buffers
            .iter()
            .map(|one| (&*one.driver, one.source))
            .collect();
        assert_eq!(
            list,
            [
                ("gve", Source::Queues),
                ("hv_storvsc", Source::Queues),
                ("newnic", Source::Unknown),
                ("virtio_mem", Source::Queues),
                ("nvme", Source::Measured),
            ]
        );
    }
}
