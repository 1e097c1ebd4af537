//! What the kernel itself says of its pages: `/proc/kpageflags`, counted by kind.

use std::fmt;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};

use crate::sys;

/// Bits of `/proc/kpageflags` (`linux/kernel-page-flags.h`, and from 32 on those "for kernel hacking").
const BITS: [(&str, u32); 13] = [
    ("lru", 5),
    ("slab", 7),
    ("buddy", 10),
    ("anon", 12),
    ("swap-cache", 13),
    ("hugetlb", 17),
    ("unevictable", 18),
    ("hwpoison", 19),
    ("thp", 22),
    ("offline", 23),
    ("zero-page", 24),
    ("mlocked", 33),
    ("private", 35),
];

/// Pages of each kind.
pub(crate) struct Census([usize; BITS.len()]);

/// Counts the pages of all memory.
pub(crate) fn take() -> Result<Census> {
    let mut counts = [0; BITS.len()];
    let file = File::open("/proc/kpageflags").context("cannot open kpageflags")?;
    let mut buffer = vec![0u8; 64 << 10];
    for (start, end) in memory(&fs::read_to_string("/proc/iomem")?) {
        let page = sys::page_size() as u64;
        let (mut at, end) = (start.div_ceil(page) * 8, end / page * 8);
        while at < end {
            let len = buffer.len().min(usize::try_from(end - at)?);
            match file.read_at(&mut buffer[..len], at) {
                Ok(0) => break,
                Ok(read) => {
                    count(&buffer[..read], &mut counts);
                    at += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read kpageflags"),
            }
        }
    }
    Ok(Census(counts))
}

impl Census {
    /// Pages of a kind that the table knows.
    pub(crate) fn of(&self, kind: &str) -> usize {
        let row = BITS.iter().position(|(name, _)| *name == kind);
        row.map_or(0, |row| self.0[row])
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Vec<_> = BITS
            .iter()
            .zip(self.0)
            .map(|((name, _), count)| format!("{name}={count}"))
            .collect();
        f.write_str(&text.join(" "))
    }
}

fn count(bytes: &[u8], counts: &mut [usize; BITS.len()]) {
    /// `KPF_NOPAGE`: no struct page, or an offline one.
    const NO_PAGE: u64 = 1 << 20;
    for word in bytes.chunks_exact(8) {
        let mut flags = 0u64;
        for (shift, byte) in word.iter().enumerate() {
            flags |= u64::from(*byte) << (8 * shift);
        }
        if flags == 0 || flags & NO_PAGE != 0 {
            continue;
        }
        for ((_, bit), count) in BITS.iter().zip(counts.iter_mut()) {
            *count += usize::from(flags >> bit & 1 != 0);
        }
    }
}

/// The ranges of `/proc/iomem` that are System RAM, ends exclusive. Nested lines are indented.
fn memory(iomem: &str) -> Vec<(u64, u64)> {
    let range = |line: &str| {
        let (range, name) = line.split_once(" : ")?;
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        name.starts_with("System RAM").then_some(())?;
        Some((number(start)?, number(end)? + 1))
    };
    iomem.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_iomem_says() {
        let text = "00001000-0009fbff : System RAM\n000a0000-000bffff : PCI Bus\n  01000000-020fffff : Kernel code\n100000000-1ffffffff : System RAM (kmem)\n";
        assert_eq!(
            memory(text),
            [(0x1000, 0x9fc00), (0x1_0000_0000, 0x2_0000_0000)]
        );
    }

    #[test]
    fn pages_are_counted_by_bit() {
        let mut counts = [0; BITS.len()];
        let words = [1u64 << 22 | 1 << 12, 1 << 12, 1 << 12 | 1 << 20, 0];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        count(&bytes, &mut counts);
        let census = Census(counts);
        assert_eq!((census.of("thp"), census.of("anon")), (1, 2));
        assert!(census.to_string().contains(" thp=1 "));
    }
}
