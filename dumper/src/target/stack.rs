//! Devices that are made of others: arrays are started and volumes activated when a target is on none of the plain devices.

use super::file::{TargetError, wait};
use super::lvm::Physical;
use super::probe::BlockDevice;
use super::scan::Scan;
use super::spec::Device;
use super::{lvm, md};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a member of an array may be late.
const LATE: Duration = Duration::from_secs(8);
/// Reasons that an error names.
const REASONS: usize = 4;

/// Waits for `device` as [`super::wait_for_device`] does, and starts the RAID1 arrays and activates the linear volumes that are there
/// when it is none of the others. For a capture kernel: on a running machine that is for others to do.
///
/// # Errors
/// As there, with what was not started or activated.
pub fn assemble_device(device: &Device, timeout: Duration) -> Result<BlockDevice, TargetError> {
    let mut stack = Stack {
        late: LATE.min(timeout / 3),
        physical: BTreeMap::new(),
        refused: BTreeMap::new(),
        origins: BTreeSet::new(),
    };
    let found = wait(device, timeout, &mut |scan, waited| {
        stack.build(scan, waited)
    });
    let mut found = found.map_err(|error| stack.explain(device, error))?;
    found.is_origin = found.names.iter().any(|name| stack.origins.contains(name));
    match found.container {
        Some(container) => Err(TargetError::Part {
            node: found.node,
            container,
        }),
        None => Ok(found),
    }
}

struct Stack {
    late: Duration,
    /// Physical volumes by device number.
    physical: BTreeMap<String, Physical>,
    /// What was not made, and why.
    refused: BTreeMap<String, String>,
    /// Names of volumes that have snapshots.
    origins: BTreeSet<PathBuf>,
}

impl Stack {
    fn build(&mut self, scan: &Scan, waited: Duration) {
        let members: Vec<_> = scan
            .devices()
            .filter_map(|d| Some((d.number.as_str(), d.member.as_ref()?)))
            .collect();
        for array in md::arrays(&members) {
            let made = array.and_then(|array| {
                if array.whole || waited >= self.late {
                    md::start(&array)
                } else {
                    Ok(())
                }
            });
            if let Err(why) = made {
                self.refused.insert(why.clone(), why);
            }
        }
        // One that is part of a volume already is not looked at again, but other volumes may need it.
        for device in scan.devices() {
            let physical = device.physical.iter();
            self.physical
                .extend(physical.map(|p| (device.number.clone(), p.clone())));
        }
        let physical: Vec<_> = self.physical.iter().map(|(n, p)| (n.as_str(), p)).collect();
        if physical.is_empty() {
            return;
        }
        for volume in lvm::activate(&physical) {
            if volume.has_snapshots {
                let (group, name) = volume.name.split_once('/').unwrap_or_default();
                let node = Path::new("/dev/mapper").join(lvm::mapped_name(group, name));
                self.origins.insert(node);
            }
            match volume.why {
                Some(why) => self.refused.insert(
                    volume.name.clone(),
                    format!("logical volume {} is not activated: {why}", volume.name),
                ),
                None => self.refused.remove(&volume.name),
            };
        }
    }

    /// The reasons that matter: of the volume that the target names, else of all.
    fn explain(&self, device: &Device, error: TargetError) -> TargetError {
        let named = match device {
            Device::Path(path) => self.refused.iter().find(|(name, _)| {
                let (group, volume) = name.split_once('/').unwrap_or_default();
                path.strip_prefix("/dev/") == Some(name)
                    || path.strip_prefix("/dev/mapper/") == Some(&lvm::mapped_name(group, volume))
            }),
            _ => None,
        };
        let why: Vec<_> = match named {
            Some((_, why)) => vec![why.as_str()],
            None => self
                .refused
                .values()
                .map(String::as_str)
                .take(REASONS)
                .collect(),
        };
        if why.is_empty() || matches!(error, TargetError::Ambiguous { .. }) {
            return error;
        }
        TargetError::Remote {
            place: format!("no block device {device}"),
            why: why.join("; "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_volume_that_is_meant() {
        let reason = |name: &str| (name.to_owned(), format!("{name} is of type thin"));
        let stack = Stack {
            late: LATE,
            physical: BTreeMap::new(),
            refused: [reason("vg-0/a"), reason("vg-0/b")].into(),
            origins: BTreeSet::new(),
        };
        let explain = |device: &str| {
            let error = TargetError::UnknownFs("/dev/x".into());
            stack
                .explain(&Device::Path(device.into()), error)
                .to_string()
        };
        for device in ["/dev/vg-0/b", "/dev/mapper/vg--0-b"] {
            let said = explain(device);
            assert!(
                said.contains("vg-0/b is of") && !said.contains("vg-0/a"),
                "{said}"
            );
        }
        assert!(explain("/dev/other").contains("vg-0/a is of"));
        let none = Stack {
            late: LATE,
            physical: BTreeMap::new(),
            refused: BTreeMap::new(),
            origins: BTreeSet::new(),
        };
        let error = none.explain(
            &Device::Uuid("1".into()),
            TargetError::UnknownFs("/dev/x".into()),
        );
        assert!(matches!(error, TargetError::UnknownFs(_)));
    }
}
