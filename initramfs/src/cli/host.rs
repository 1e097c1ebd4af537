//! Where this host keeps things.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// `uname -r`, or what the user says.
pub(super) fn release(given: Option<&str>) -> Result<String> {
    if let Some(release) = given {
        return Ok(release.to_owned());
    }
    let path = "/proc/sys/kernel/osrelease";
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{path}: name the kernel with --kernel-release"))?;
    Ok(text.trim().to_owned())
}

/// The image file of a release.
pub(super) fn image_path(release: &str) -> PathBuf {
    PathBuf::from(format!("/var/lib/baredump/{release}.img"))
}

/// Does this process run as root? Its directory in procfs belongs to its user.
pub(super) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

/// `/etc/machine-id`; none on a machine without.
pub(super) fn machine_id() -> Option<String> {
    let text = std::fs::read_to_string("/etc/machine-id").ok()?;
    Some(text.trim().to_owned())
}

/// Id of this boot.
pub(super) fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}
