//! The machine's memory, as the list that is loaded with a capture kernel knows it.
//!
//! Source: `/proc/iomem`; `crash_hotplug` in Documentation/ABI/testing/sysfs-devices-memory, since Linux 6.6: such a kernel keeps the
//! list up to date by itself.

use std::fs;
use std::path::Path;

const KEPT: &str = "sys/devices/system/memory/crash_hotplug";

/// Ranges of memory: the lines `START-END : System RAM` of iomem, in hex digits; also of memory that the kernel does not use. None when
/// it doesn't say: only root sees addresses.
fn ranges(iomem: &str) -> Vec<(u64, u64)> {
    let lines = iomem.lines().filter_map(|line| line.split_once(" : "));
    let named =
        |name: &str| name.starts_with("System RAM") || name.starts_with("Persistent Memory");
    let number = |text: &str| u64::from_str_radix(text.trim(), 16).ok();
    lines
        .filter(|(range, name)| named(name) && !range.starts_with(' '))
        .filter_map(|(range, _)| {
            let (start, end) = range.split_once('-')?;
            Some((number(start)?, number(end)?.checked_add(1)?))
        })
        .filter(|(_, end)| *end > 1)
        .collect()
}

fn read(root: &Path) -> Vec<(u64, u64)> {
    ranges(&fs::read_to_string(root.join("proc/iomem")).unwrap_or_default())
}

/// Where the machine's memory ends; none when the kernel doesn't say.
#[must_use]
pub fn end(root: &Path) -> Option<u64> {
    read(root).iter().map(|(_, end)| *end).max()
}

/// How much there is; none when the kernel doesn't say.
#[must_use]
pub fn bytes(root: &Path) -> Option<u64> {
    let ranges = read(root);
    let sizes = ranges.iter().map(|(start, end)| end.saturating_sub(*start));
    (!ranges.is_empty()).then(|| sizes.fold(0, u64::saturating_add))
}

/// What became of the memory since a capture kernel was loaded that knows `loaded` bytes; none when nothing did, or the kernel has told
/// it.
#[must_use]
pub fn changed(root: &Path, loaded: Option<u64>) -> Option<String> {
    let is_kept = fs::read_to_string(root.join(KEPT)).is_ok_and(|text| text.trim() == "1");
    let (loaded, now) = (loaded?, bytes(root)?);
    if is_kept || now == loaded {
        return None;
    }
    let mib = now.abs_diff(loaded) >> 20;
    Some(if now > loaded {
        format!("{mib} MiB of memory were added after it was loaded and would not be in the dump")
    } else {
        format!(
            "{mib} MiB of memory were taken away after it was loaded, and reading them can stop the capture"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IOMEM: &str = "00000000-00000fff : Reserved\n00001000-0009ffff : System RAM\n100000000-27fffffff : System RAM\n  171000000-171ffffff : Kernel code\n\
                         fd00000000-ffffffffff : Reserved\n";

    fn root(iomem: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc")).unwrap();
        fs::write(dir.path().join("proc/iomem"), iomem).unwrap();
        dir
    }

    #[test]
    fn memory_is_what_iomem_says() {
        let machine = root(IOMEM);
        assert_eq!(end(machine.path()), Some(0x2_8000_0000));
        assert_eq!(bytes(machine.path()), Some(0x1_8009_f000));
        let hidden = root("00000000-00000000 : System RAM\n");
        assert_eq!((end(hidden.path()), bytes(hidden.path())), (None, None));
    }

    #[test]
    fn memory_that_came_after_the_kernel_was_loaded() {
        let machine = root(IOMEM);
        let loaded = bytes(machine.path());
        assert_eq!(changed(machine.path(), loaded), None);
        assert_eq!(changed(machine.path(), None), None);
        let more = format!("{IOMEM}280000000-29fffffff : System RAM (virtio_mem)\n");
        fs::write(machine.path().join("proc/iomem"), more).unwrap();
        let said = changed(machine.path(), loaded).unwrap();
        assert!(said.starts_with("512 MiB of memory were added"), "{said}");
        let less = changed(machine.path(), loaded.map(|bytes| bytes + (1 << 30)));
        assert!(less.unwrap().starts_with("512 MiB of memory were taken"));
        let kept = machine.path().join(KEPT);
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::write(&kept, "1\n").unwrap();
        assert_eq!(changed(machine.path(), loaded), None);
    }
}
