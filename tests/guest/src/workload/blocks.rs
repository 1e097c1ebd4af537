//! Memory that comes and goes: blocks that are plugged in, taken offline or never brought online, and the balloon.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{census, set};
use crate::say;
use crate::sys::page_size;
use crate::words::Words;

const BLOCKS: &str = "/sys/devices/system/memory";
/// How long the balloon may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Of the blocks that are offline at first (word `memhp_default_state=offline`) the last is left as it is, the one before is brought online
/// and taken offline again, the others are brought online for movable pages. Pages in the first two.
pub(crate) fn offline(_: &Words) -> Result<usize> {
    let size = block_size().context("the kernel has no memory hotplug")?;
    let mut blocks = offline_blocks(Path::new(BLOCKS))?;
    let never = blocks
        .pop()
        .context("no memory is plugged in beside the memory of the boot")?;
    let mut count = 1;
    if let Some(block) = blocks.pop() {
        state(&block, "online_movable")?;
        state(&block, "offline")?;
        count += 1;
    }
    for block in blocks {
        state(&block, "online_movable")?;
    }
    say(&format!("{} was never online", never.display()));
    Ok(count * size / page_size())
}

/// Pages of blocks for movable pages only, where most of the workload then is.
pub(crate) fn movable(_: &Words) -> Result<usize> {
    let size = block_size().context("the kernel has no memory hotplug")?;
    let entries = fs::read_dir(BLOCKS)?.flatten();
    let movable = entries.filter(|entry| {
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        read("state").trim() == "online" && read("valid_zones").trim() == "Movable"
    });
    let count = movable.count();
    ensure!(count > 0, "no block of memory is for movable pages only");
    Ok(count * size / page_size())
}

/// Lets the host take memory; it listens for this line.
pub(crate) fn balloon(words: &Words) -> Result<usize> {
    ensure!(
        words.balloon > 0,
        "the guest was not told to (guest.balloon=MIB)"
    );
    ensure!(
        Path::new("/sys/bus/virtio/drivers/virtio_balloon").exists(),
        "the module virtio_balloon is not loaded"
    );
    let wanted = ((words.balloon as usize) << 20) / page_size();
    say(&format!("balloon wanted: {} MiB", words.balloon));
    let start = Instant::now();
    loop {
        let pages = inflated()?;
        if pages >= wanted || (pages > 0 && start.elapsed() > LIMIT) {
            return Ok(census::take()?.of("offline"));
        }
        ensure!(start.elapsed() < LIMIT, "the host took no memory");
        sleep(Duration::from_millis(50));
    }
}

/// Pages that went into the balloon.
fn inflated() -> Result<usize> {
    let text = fs::read_to_string("/proc/vmstat")?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("balloon_inflate "))
        .context("the kernel does not count the balloon's pages")?;
    Ok(count.trim().parse()?)
}

fn block_size() -> Result<usize> {
    let text = fs::read_to_string(format!("{BLOCKS}/block_size_bytes"))?;
    Ok(usize::from_str_radix(text.trim(), 16)?)
}

/// Blocks that are offline, in order of their addresses.
fn offline_blocks(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut blocks = Vec::new();
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("memory"));
        let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else {
            continue;
        };
        let state = fs::read_to_string(entry.path().join("state"))?;
        if state.trim() == "offline" {
            blocks.push((number, entry.path()));
        }
    }
    blocks.sort_unstable();
    Ok(blocks.into_iter().map(|(_, path)| path).collect())
}

fn state(block: &Path, state: &str) -> Result<()> {
    set(&block.join("state").display().to_string(), state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offline_blocks_are_in_order() {
        let dir = std::env::temp_dir().join(format!("guest-blocks-{}", std::process::id()));
        for (name, state) in [
            ("memory9", "offline"),
            ("memory10", "offline"),
            ("memory1", "online"),
        ] {
            fs::create_dir_all(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("state"), format!("{state}\n")).unwrap();
        }
        fs::create_dir_all(dir.join("power")).unwrap();
        let blocks = offline_blocks(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(blocks, [dir.join("memory9"), dir.join("memory10")]);
    }
}
