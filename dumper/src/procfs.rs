//! Figures of the running kernel, out of `/proc`. Allocates nothing.

use std::fs::File;
use std::io::Read;

/// The start of a file of the kernel.
pub(crate) fn read_into<'a>(path: &str, buf: &'a mut [u8]) -> Option<&'a str> {
    let mut file = File::open(path).ok()?;
    let mut len = 0;
    while let Some(free @ [_, ..]) = buf.get_mut(len..) {
        match file.read(free).ok()? {
            0 => break,
            n => len += n,
        }
    }
    std::str::from_utf8(buf.get(..len)?).ok()
}

/// `MemTotal` and `MemAvailable` in kB.
pub(crate) fn memory_kb() -> Option<(u64, u64)> {
    let mut buf = [0; 512];
    let text = read_into("/proc/meminfo", &mut buf)?;
    Some((figure(text, "MemTotal:")?, figure(text, "MemAvailable:")?))
}

/// Page cache that is to be written or on its way to a disk, in kB.
pub(crate) fn dirty_kb() -> Option<u64> {
    let mut buf = [0; 1024];
    let text = read_into("/proc/meminfo", &mut buf)?;
    Some(figure(text, "Dirty:")? + figure(text, "Writeback:")?)
}

/// How often the kernel has killed a process for want of memory.
pub(crate) fn oom_kills() -> u64 {
    let mut buf = [0; 8192];
    read_into("/proc/vmstat", &mut buf)
        .and_then(|t| figure(t, "oom_kill"))
        .unwrap_or(0)
}

fn figure(text: &str, key: &str) -> Option<u64> {
    let line = text
        .lines()
        .find(|l| l.split_ascii_whitespace().next() == Some(key))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_running_kernel() {
        let (total, available) = memory_kb().unwrap();
        assert!(total >= available && available > 0);
        assert!(dirty_kb().unwrap() < total);
        assert_eq!(figure("oom_kill_x 7\noom_kill 3\n", "oom_kill"), Some(3));
        assert_eq!(figure("MemTotal:  12 kB", "MemTotal:"), Some(12));
        assert_eq!(figure("MemTotal:", "MemTotal:"), None);
        let mut small = [0; 4];
        assert_eq!(read_into("/proc/meminfo", &mut small), Some("MemT"));
    }
}
