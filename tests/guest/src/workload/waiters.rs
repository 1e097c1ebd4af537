//! Pages with waiters: threads that read pages of a slow device, each asleep on the lock of its page until the data comes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::sys;
use crate::words::Words;

/// Threads, each with a page of its own; two more share each of the last pages.
const THREADS: u64 = 96;
/// Bytes between two pages, more than any readahead.
const APART: u64 = 128 << 10;
/// Time for the threads to fall asleep.
const SETTLE: Duration = Duration::from_millis(800);

/// Threads that wait for a page.
pub(crate) fn pages(words: &Words) -> Result<usize> {
    let device = words
        .slow
        .as_ref()
        .context("the guest has no slow device (guest.slow=DEVICE)")?;
    let file = Arc::new(File::open(device).with_context(|| format!("cannot open {device}"))?);
    sys::no_readahead(&file)?;
    for index in 0..THREADS {
        let file = Arc::clone(&file);
        thread::Builder::new().stack_size(64 << 10).spawn(move || {
            let _ = file.read_at(&mut [0], (1 + index * 3 / 4) * APART);
        })?;
    }
    sleep(SETTLE);
    let asleep = sleepers()?;
    ensure!(asleep > 0, "{device} answers too fast");
    Ok(asleep)
}

/// Threads of this process in uninterruptible sleep, or killable sleep, which looks the same.
fn sleepers() -> Result<usize> {
    let tasks = fs::read_dir("/proc/self/task")?.flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    Ok(stats.filter(|stat| stat.contains(") D ")).count())
}
