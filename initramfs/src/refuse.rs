//! What a device of the running machine is made of, and which of that a capture kernel can't have: said when the image is built, not
//! at the crash.
//!
//! Source: `dm/uuid` as multipath-tools, cryptsetup and LVM2 set it, `md/level`, `transport` of NVMe controllers and the sessions of
//! scsi_transport_iscsi in sysfs, Linux 5.10 to 7.2. What an LVM volume is made of is read from the metadata, as it is at the crash.

use baredump::target::lvm::Physical;
use std::fs;
use std::path::{Path, PathBuf};

/// A device that is made of others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// The modules that make it.
    pub(crate) modules: &'static [&'static str],
    /// The devices that it is made of, as directories of sysfs.
    pub(crate) below: Vec<PathBuf>,
}

/// Beginnings of `dm/uuid`, and why such a device is refused.
const MAPPED: &[(&str, &str)] = &[
    (
        "mpath-",
        "a multipath device, whose paths need a daemon: name one path of it, or a plain disk",
    ),
    (
        "CRYPT-",
        "an encrypted volume (LUKS), whose key a capture kernel does not have: choose a plain one, and encrypt the dump with recipients =",
    ),
];
/// Ends of the names of what LVM makes a volume of, when it is no linear one.
const PARTS: &[&str] = &[
    "-tpool", "-tdata", "-tmeta", "-cpool", "-cdata", "-cmeta", "-real", "-cow", "-vpool", "-cvol",
];

/// The layer that a virtual device is, or why there can be no such thing in the image.
pub(crate) fn layer(device: &Path) -> Result<Layer, String> {
    layer_with(device, &|name| {
        Physical::of(&Path::new("/dev").join(name.replace('!', "/")))
    })
}

/// The same with another way to what a device holds as a physical volume of LVM.
fn layer_with(device: &Path, physical: &dyn Fn(&str) -> Option<Physical>) -> Result<Layer, String> {
    // Of a partition the whole counts.
    let whole = if device.join("partition").exists() {
        device.parent().unwrap_or(device)
    } else {
        device
    };
    let below = || slaves(whole);
    let text = |path: &str| fs::read_to_string(whole.join(path)).map(|text| text.trim().to_owned());
    if let Ok(level) = text("md/level") {
        // 1.2, or external:imsm, external:/md127/0, none.
        let version = text("md/metadata_version").unwrap_or_default();
        return match level.as_str() {
            "raid1" if version.starts_with(|c: char| c.is_ascii_digit()) => Ok(Layer {
                modules: &["md_mod", "raid1"],
                below: below(),
            }),
            "raid1" => Err(format!(
                "a RAID1 whose metadata are {version} (those of Intel's RAID or DDF, or none), and only arrays with Linux' own superblocks are assembled in the capture kernel: name a disk outside of it"
            )),
            _ => Err(
                "a software RAID, of which only RAID1 is assembled in the capture kernel".into(),
            ),
        };
    }
    let Ok(uuid) = text("dm/uuid") else {
        return Err("a virtual device, which the capture kernel does not have".into());
    };
    if let Some((_, why)) = MAPPED.iter().find(|(start, _)| uuid.starts_with(start)) {
        return Err((*why).into());
    }
    if !uuid.starts_with("LVM-") {
        return Err(
            "a device-mapper device that is no LVM volume, which the capture kernel does not have"
                .into(),
        );
    }
    let mut below = below();
    let is = |device: &Path, end: &str| {
        let uuid = fs::read_to_string(device.join("dm/uuid")).unwrap_or_default();
        uuid.starts_with("LVM-") && uuid.trim().ends_with(end)
    };
    // What has snapshots is a linear volume under another name; a snapshot has what was changed beside that.
    if let [real] = below.as_slice()
        && is(real, "-real")
    {
        below = slaves(real);
    }
    if below.iter().any(|device| is(device, "")) || PARTS.iter().any(|end| uuid.ends_with(end)) {
        return Err(
            "an LVM volume that is thin, cached, mirrored or a snapshot, and only linear ones are activated in the capture kernel".into(),
        );
    }
    if let Some(why) = not_activated(&uuid, &below, physical) {
        return Err(format!(
            "an LVM volume, but {why}, and only linear ones are activated in the capture kernel"
        ));
    }
    Ok(Layer {
        modules: &["dm_mod"],
        below,
    })
}

fn slaves(device: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(device.join("slaves")).into_iter().flatten();
    let links = entries.filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok());
    links.collect()
}

/// Why the capture kernel would leave a volume alone, as far as the devices below say.
fn not_activated(
    uuid: &str,
    below: &[PathBuf],
    physical: &dyn Fn(&str) -> Option<Physical>,
) -> Option<String> {
    let (group, volume) = uuid.strip_prefix("LVM-")?.split_at_checked(32)?;
    below.iter().find_map(|device| {
        let found = physical(device.file_name()?.to_str()?)?.group;
        let mut volumes = found.filter(|found| found.id == group)?.volumes.into_iter();
        volumes.find(|other| other.id == volume)?.runs.err()
    })
}

/// Why a disk is refused that is reached through a network.
pub(crate) fn remote(device: &Path) -> Option<&'static str> {
    let is_session = |part: &std::ffi::OsStr| {
        let number = part.to_str().and_then(|part| part.strip_prefix("session"));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    if device.iter().any(is_session) {
        return Some(
            "an iSCSI disk, whose session a capture kernel does not set up: name an nfs: or sftp: target",
        );
    }
    let transport = |dir: &Path| fs::read_to_string(dir.join("transport")).ok();
    let transport = device.ancestors().take(8).find_map(transport)?;
    match transport.trim() {
        "" | "pcie" | "apple-nvme" => None,
        _ => Some(
            "an NVMe disk behind a network (tcp, rdma or fc), which a capture kernel does not connect to: name an nfs: or sftp: target",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn device(dir: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let device = dir.join(name);
        fs::create_dir_all(device.join("slaves")).unwrap();
        for (path, text) in files {
            fs::create_dir_all(device.join(path).parent().unwrap()).unwrap();
            fs::write(device.join(path), text).unwrap();
        }
        device
    }

    #[test]
    fn linear_volumes_and_mirrors_have_layers() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let disk = device(&root, "vdb", &[]);
        for (name, file, text, module) in [
            ("dm-0", "dm/uuid", "LVM-abc\n", "dm_mod"),
            ("md0", "md/level", "raid1\n", "md_mod"),
        ] {
            let made = device(&root, name, &[(file, text)]);
            fs::create_dir_all(made.join("md")).unwrap();
            fs::write(made.join("md/metadata_version"), "1.2\n").unwrap();
            symlink(&disk, made.join("slaves/vdb")).unwrap();
            let found = layer(&made).unwrap();
            assert_eq!(
                (found.modules[0], found.below),
                (module, vec![disk.clone()])
            );
        }
        let part = device(&root, "md0/md0p1", &[("partition", "1\n")]);
        assert_eq!(layer(&part).unwrap().modules, ["md_mod", "raid1"]);
    }

    #[test]
    fn each_other_stack_has_its_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let refused = |name: &str, file: &str, text: &str| {
            layer(&device(&root, name, &[(file, text)])).unwrap_err()
        };
        for (name, file, text, said) in [
            ("dm-1", "dm/uuid", "mpath-3600\n", "multipath"),
            ("dm-2", "dm/uuid", "CRYPT-LUKS2-abc\n", "LUKS"),
            ("dm-3", "dm/uuid", "LVM-abc-tpool\n", "thin"),
            ("dm-4", "dm/uuid", "\n", "no LVM volume"),
            ("md1", "md/level", "raid5\n", "only RAID1"),
            ("loop0", "size", "1\n", "virtual device"),
        ] {
            let why = refused(name, file, text);
            assert!(why.contains(said), "{why}");
        }
        // A thin volume has no mark of its own: its pool has.
        let pool = device(&root, "dm-5", &[("dm/uuid", "LVM-x-tpool\n")]);
        let thin = device(&root, "dm-6", &[("dm/uuid", "LVM-y\n")]);
        symlink(&pool, thin.join("slaves/dm-5")).unwrap();
        assert!(layer(&thin).unwrap_err().contains("thin"));
        // The origin of snapshots is linear, a snapshot is not.
        let disk = device(&root, "vdb", &[]);
        let real = device(&root, "dm-12", &[("dm/uuid", "LVM-z-real\n")]);
        let cow = device(&root, "dm-13", &[("dm/uuid", "LVM-s-cow\n")]);
        symlink(&disk, real.join("slaves/vdb")).unwrap();
        let origin = device(&root, "dm-11", &[("dm/uuid", "LVM-z\n")]);
        symlink(&real, origin.join("slaves/dm-12")).unwrap();
        assert_eq!(layer(&origin).unwrap().below, [disk]);
        let snapshot = device(&root, "dm-14", &[("dm/uuid", "LVM-s\n")]);
        symlink(&real, snapshot.join("slaves/dm-12")).unwrap();
        symlink(&cow, snapshot.join("slaves/dm-13")).unwrap();
        assert!(layer(&snapshot).unwrap_err().contains("a snapshot"));
    }

    #[test]
    fn mirrors_of_others_are_not_assembled() {
        let dir = tempfile::tempdir().unwrap();
        let said = |version: &str| {
            let files = [("md/level", "raid1\n"), ("md/metadata_version", version)];
            layer(&device(dir.path(), "md126", &files))
        };
        for version in ["external:/md127/0\n", "external:imsm\n", "none\n", ""] {
            let why = said(version).unwrap_err();
            assert!(
                why.contains(version.trim()) && why.contains("Intel"),
                "{why}"
            );
        }
        for version in ["0.90\n", "1.0\n", "1.2\n"] {
            assert!(said(version).is_ok());
        }
    }

    #[test]
    fn volumes_are_what_their_metadata_say() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let (group, linear, striped) = ("g".repeat(32), "l".repeat(32), "s".repeat(32));
        let physical: Physical = serde_json::from_value(serde_json::json!({
            "id": "p", "group": {
                "name": "vg", "id": group, "seqno": 1, "extent": 8192, "physical": [],
                "volumes": [
                    {"name": "a", "id": linear, "runs": {"Ok": []}},
                    {"name": "b", "id": striped, "runs": {"Err": "it is striped"}},
                ],
            },
        }))
        .unwrap();
        let disk = device(&root, "vdb", &[]);
        let layer = |name: &str, uuid: &str| {
            let made = device(&root, name, &[("dm/uuid", &format!("LVM-{uuid}\n"))]);
            symlink(&disk, made.join("slaves/vdb")).unwrap();
            layer_with(&made, &|name| (name == "vdb").then(|| physical.clone()))
        };
        let why = layer("dm-7", &format!("{group}{striped}")).unwrap_err();
        assert!(
            why.contains("it is striped") && why.contains("only linear"),
            "{why}"
        );
        for (name, uuid) in [
            ("dm-8", format!("{group}{linear}")),
            // Those of another group say nothing of it.
            ("dm-9", format!("{striped}{striped}")),
            ("dm-10", "short".into()),
        ] {
            assert_eq!(layer(name, &uuid).unwrap().modules, ["dm_mod"]);
        }
    }

    #[test]
    fn disks_behind_a_network() {
        let iscsi = Path::new("/sys/devices/platform/host2/session1/target2:0:0/2:0:0:1/block/sda");
        assert!(remote(iscsi).unwrap().contains("iSCSI"));
        let dir = tempfile::tempdir().unwrap();
        for (transport, is_remote) in [
            ("tcp\n", true),
            ("rdma\n", true),
            ("fc\n", true),
            ("pcie\n", false),
        ] {
            let namespace = device(dir.path(), "nvme0/nvme0n1", &[]);
            fs::write(dir.path().join("nvme0/transport"), transport).unwrap();
            assert_eq!(remote(&namespace).is_some(), is_remote, "{transport}");
        }
    }
}
