//! Poisoned pages: the kernel is told that their memory failed.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{DIRECTORY, census};
use crate::sys::{self, Kind, Map, Poison, huge_page, page_size};
use crate::words::Words;

/// Small pages poisoned in each way.
const EACH: usize = 6;

/// Poisons anonymous pages, pages of the page cache, one in a huge page, one of the hugetlb pool; pages that the kernel marked.
pub(crate) fn pages(words: &Words) -> Result<usize> {
    sys::survive_poison()?;
    let mut map = Map::anonymous(2 * EACH * page_size(), Kind::Small)?;
    map.bytes().fill(0xbd);
    map.poison(0, page_size(), Poison::Hard)
        .context("the kernel has no CONFIG_MEMORY_FAILURE")?;
    for index in 1..EACH {
        let _ = map.poison(index * page_size(), page_size(), Poison::Hard);
    }
    for index in EACH..2 * EACH {
        let _ = map.poison(index * page_size(), page_size(), Poison::Soft);
    }
    // Each of these is refused by some kernel; the census says what became of them.
    let _ = huge(Kind::Huge);
    let _ = huge(Kind::Hugetlb);
    if words.disk.is_some() {
        let _ = cached();
    }
    let pages = census::take()?.of("hwpoison");
    ensure!(pages > 0, "the kernel marked none");
    Ok(pages)
}

fn huge(kind: Kind) -> Result<()> {
    if kind == Kind::Hugetlb {
        super::set("/proc/sys/vm/nr_overcommit_hugepages", "1")?;
    }
    let mut map = Map::anonymous(huge_page(), kind)?;
    map.bytes()[..4].copy_from_slice(b"huge");
    map.poison(7 * page_size(), page_size(), Poison::Hard)
}

/// Clean pages of the cache: those that the sentinels of class cache follow.
fn cached() -> Result<()> {
    let path = Path::new(DIRECTORY).join("poison");
    let file = super::create("poison", 0)?;
    std::io::Write::write_all(&mut &file, &vec![0x11; EACH * page_size()])?;
    file.sync_all()?;
    let file = File::options().read(true).write(true).open(path)?;
    let mut map = Map::shared(&file, EACH * page_size())?;
    std::hint::black_box(map.bytes()[0]);
    map.poison(0, page_size(), Poison::Hard)
}
