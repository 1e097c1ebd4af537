//! What the kernel would ask modprobe for at run time, and what no module names as its dependency.
//!
//! Source: `request_module` calls and `load_nls` in fs/ and drivers/, Linux 5.10 to 7.2.

use std::path::Path;

use crate::kconfig::KernelConfig;

/// Module, and what it wants before it can work. Whatever a kernel doesn't have is passed over. Not here: checksum and hash
/// algorithms (crc32c, xxhash64, …), which file systems name as soft dependencies for as long as they ask the crypto API for them.
const WANTS: &[(&str, &[&str])] = &[
    // A virtio driver finds no device without a transport.
    ("virtio_blk", &["virtio_pci"]),
    ("virtio_scsi", &["virtio_pci"]),
    ("virtio_net", &["virtio_pci"]),
    ("virtiofs", &["virtio_pci"]),
];

/// Drivers below these folders find controllers; the disks behind them need one more driver, which udev would load.
const DISK_DRIVERS: &[(&str, &str)] = &[
    ("drivers/scsi/", "sd_mod"),
    ("drivers/ata/", "sd_mod"),
    ("drivers/usb/storage/", "sd_mod"),
    ("drivers/message/fusion/", "sd_mod"),
    ("drivers/mmc/host/", "mmc_block"),
];

/// Names and aliases that `module` wants loaded besides its dependencies.
pub(super) fn wants(
    module: &str,
    path: Option<&Path>,
    config: Option<&KernelConfig>,
) -> Vec<String> {
    let mut names: Vec<String> = WANTS
        .iter()
        .filter(|(name, _)| *name == module)
        .flat_map(|(_, wants)| wants.iter().map(ToString::to_string))
        .collect();
    if module == "vfat" {
        names.extend(fat_charsets(config));
    }
    let path = path.and_then(Path::to_str).unwrap_or_default();
    let disks = DISK_DRIVERS
        .iter()
        .filter(|(folder, disk)| path.contains(folder) && *disk != module);
    names.extend(disks.map(|(_, disk)| disk.to_string()));
    names
}

/// The tables that a mount of vfat without options loads; without them it fails.
fn fat_charsets(config: Option<&KernelConfig>) -> Vec<String> {
    let value = |option| config.and_then(|config| config.value(option));
    let codepage = value("CONFIG_FAT_DEFAULT_CODEPAGE").unwrap_or("437");
    let mut names = vec![format!("nls_cp{codepage}")];
    match value("CONFIG_FAT_DEFAULT_IOCHARSET") {
        Some(charset) => names.push(format!("nls_{charset}")),
        None => names.extend(["nls_iso8859-1", "nls_ascii", "nls_utf8"].map(str::to_owned)),
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets_follow_the_configuration() {
        let config = KernelConfig::parse(
            "CONFIG_FAT_DEFAULT_CODEPAGE=850\nCONFIG_FAT_DEFAULT_IOCHARSET=\"iso8859-15\"\n",
            "x",
        );
        assert_eq!(
            wants("vfat", None, Some(&config)),
            ["nls_cp850", "nls_iso8859-15"]
        );
        assert_eq!(
            wants("vfat", None, None),
            ["nls_cp437", "nls_iso8859-1", "nls_ascii", "nls_utf8"]
        );
    }

    #[test]
    fn controllers_want_the_disk_driver() {
        let path = Path::new("/lib/modules/x/kernel/drivers/ata/ahci.ko");
        assert_eq!(wants("ahci", Some(path), None), ["sd_mod"]);
        let path = Path::new("/lib/modules/x/kernel/drivers/scsi/sd_mod.ko");
        assert!(wants("sd_mod", Some(path), None).is_empty());
    }
}
