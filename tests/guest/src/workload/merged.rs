//! Pages that are one for many (KSM), and pages that stay in memory (mlock).

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{census, set};
use crate::sys::{Kind, Map, page_size};
use crate::words::Words;

const KSM: &str = "/sys/kernel/mm/ksm";
/// Different contents, each on so many pages.
const CONTENTS: usize = 64;
const COPIES: usize = 12;
/// How long the scanner may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Equal pages, merged; pages that are left.
pub(crate) fn ksm(_: &Words) -> Result<usize> {
    let read = |name: &str| -> Result<usize> {
        let text = fs::read_to_string(format!("{KSM}/{name}")).context("the kernel has no KSM")?;
        Ok(text.trim().parse()?)
    };
    read("run")?;
    let mut map = Map::anonymous(CONTENTS * COPIES * page_size(), Kind::Small)?;
    for (index, page) in map.bytes().chunks_exact_mut(page_size()).enumerate() {
        page.fill(u8::try_from(index % CONTENTS)? + 1);
    }
    map.merge()?;
    set(&format!("{KSM}/pages_to_scan"), "10000")?;
    set(&format!("{KSM}/sleep_millisecs"), "5")?;
    set(&format!("{KSM}/run"), "1")?;
    let start = Instant::now();
    while read("pages_shared")? < CONTENTS && start.elapsed() < LIMIT {
        sleep(Duration::from_millis(20));
    }
    // What is merged stays merged.
    set(&format!("{KSM}/run"), "0")?;
    let shared = read("pages_shared")?;
    ensure!(
        shared > 0,
        "the scanner merged nothing in {} s",
        LIMIT.as_secs()
    );
    Ok(shared)
}

/// Pages locked in memory.
pub(crate) fn mlocked(words: &Words) -> Result<usize> {
    let mut map = Map::anonymous(words.sentinels as usize * page_size(), Kind::Small)?;
    for page in map.bytes().chunks_exact_mut(page_size()) {
        page[..6].copy_from_slice(b"locked");
    }
    map.lock()?;
    Ok(census::take()?.of("mlocked"))
}
