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

/// Where the machine's memory ends; none when the kernel doesn't say (only root sees addresses).
pub(super) fn memory_end() -> Option<u64> {
    end_of_memory(&std::fs::read_to_string("/proc/iomem").ok()?)
}

/// The end of the last line `START-END : System RAM`, in hex digits; also of memory that is not used by the kernel.
fn end_of_memory(iomem: &str) -> Option<u64> {
    let ranges = iomem.lines().filter_map(|line| line.split_once(" : "));
    let ends = ranges
        .filter(|(_, name)| name.starts_with("System RAM") || name.starts_with("Persistent Memory"))
        .filter_map(|(range, _)| u64::from_str_radix(range.split_once('-')?.1, 16).ok());
    ends.max().filter(|end| *end > 0)?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_ends_where_iomem_says() {
        let iomem = "00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n100000000-27fffffff : System RAM\n  171000000-171ffffff : Kernel code\n\
                     fd00000000-ffffffffff : Reserved\n";
        assert_eq!(end_of_memory(iomem), Some(0x2_8000_0000));
        assert_eq!(end_of_memory("00000000-00000000 : System RAM\n"), None);
        assert_eq!(end_of_memory(""), None);
    }
}
