//! The workload: sentinel pages of every class, filled in place so that no second copy stays in memory, and the rarer kinds of pages.

mod blocks;
mod census;
mod huge;
mod kinds;
mod merged;
mod poison;
mod swap;
mod waiters;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::say;
use crate::sentinel::{Class, fill};
use crate::sys::{self, Kind, Map, huge_page, page_size};
use crate::words::Words;

/// Where the page-cache files are.
const DIRECTORY: &str = "/mnt/guest";
/// Bytes of a `struct msg_msg` before its text: with them a message of 4048 bytes fills one 4 KiB slab object.
const MESSAGE_HEADER: usize = 48;
/// Bytes of that object.
const OBJECT: usize = 4096;
/// Pages freed after the sentinels of class free: they push those out of the per-CPU lists into the buddy lists.
const FLUSH_PAGES: usize = 6144;

/// Makes so many pages of a class, or a few more, and tells how many.
type Make = fn(u32) -> Result<u32>;

/// Makes every class but free, and the kinds that the words want. What it maps stays mapped.
pub(crate) fn run(words: &Words) {
    if words.kinds {
        kinds::before(words);
    }
    sentinels(words.sentinels, words.disk.is_some());
    if words.kinds {
        kinds::after(words);
    }
}

fn sentinels(count: u32, disk: bool) {
    let classes: [(Class, Make); 8] = [
        (Class::Hugetlb, hugetlb),
        (Class::Thp, thp),
        (Class::Anon, anon),
        (Class::Zero, zero),
        (Class::Tmpfs, tmpfs),
        (Class::Slab, slab),
        (Class::CachePrivate, cache_private),
        (Class::Cache, cache),
    ];
    for (class, make) in classes {
        let skip = !disk && matches!(class, Class::Cache | Class::CachePrivate);
        report(class, if skip { Ok(0) } else { make(count) });
    }
}

/// Makes the pages of class free; to be called last, because every allocation after it may take one of them.
pub(crate) fn free(count: u32) -> Result<u32> {
    sys::bind_to_cpu(0)?;
    // Small per-CPU lists: 5.14 and later by the first name, 5.10 by the second.
    let _ = set("/proc/sys/vm/percpu_pagelist_high_fraction", "100000")
        .or_else(|_| set("/proc/sys/vm/percpu_pagelist_fraction", "100000"));
    let mut map = Map::anonymous(bytes(count), Kind::Small)?;
    fill_pages(map.bytes(), Class::Free)?;
    // Touched last, so that no sentinel waits in a list of pages on their way to the LRU, which hold a reference.
    let mut flush = Map::anonymous(FLUSH_PAGES * page_size(), Kind::Small)?;
    for page in flush.bytes().chunks_exact_mut(page_size()) {
        page[0] = 1;
    }
    map.unmap();
    flush.unmap();
    Ok(count)
}

/// Says how many pages of a class there are.
pub(crate) fn report(class: Class, made: Result<u32>) {
    match made {
        Ok(count) => say(&format!("class {} {count}", class.name())),
        Err(error) => say(&format!("class {} failed: {error:#}", class.name())),
    }
}

fn anon(count: u32) -> Result<u32> {
    let mut map = Map::anonymous(bytes(count), Kind::Small)?;
    fill_pages(map.bytes(), Class::Anon)
}

fn zero(count: u32) -> Result<u32> {
    let mut map = Map::anonymous(bytes(count), Kind::Small)?;
    // A write of zero still makes the kernel give a page of its own.
    for page in map.bytes().chunks_exact_mut(page_size()) {
        page.copy_within(0..1, 1);
    }
    Ok(count)
}

fn thp(count: u32) -> Result<u32> {
    // The kernel turns huge pages off by itself when it has less than 512 MiB.
    set("/sys/kernel/mm/transparent_hugepage/enabled", "always")?;
    set("/proc/sys/vm/compact_memory", "1")?;
    let mut map = Map::anonymous(bytes(count), Kind::Huge)?;
    let made = fill_pages(map.bytes(), Class::Thp)?;
    let huge = anon_huge_bytes()?;
    let wanted = bytes(count).next_multiple_of(huge_page());
    ensure!(
        huge >= wanted,
        "only {huge} of {wanted} bytes are in huge pages; give the guest more memory"
    );
    Ok(made)
}

/// Bytes of this process in transparent huge pages.
fn anon_huge_bytes() -> Result<usize> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("AnonHugePages:"))
        .context("no AnonHugePages in smaps_rollup")?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

fn hugetlb(count: u32) -> Result<u32> {
    let file = "/proc/sys/vm/nr_hugepages";
    let read = || -> Result<usize> { Ok(fs::read_to_string(file)?.trim().parse()?) };
    let pages = read()? + bytes(count).div_ceil(huge_page());
    set(file, &pages.to_string())?;
    let got = read()?;
    ensure!(
        got >= pages,
        "only {got} of {pages} huge pages; give the guest more memory"
    );
    let mut map = Map::anonymous(bytes(count), Kind::Hugetlb)?;
    fill_pages(map.bytes(), Class::Hugetlb)
}

fn tmpfs(count: u32) -> Result<u32> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open("/tmp/sentinels")?;
    file.set_len(bytes(count) as u64)?;
    let mut map = Map::shared(&file, bytes(count))?;
    fill_pages(map.bytes(), Class::Tmpfs)
}

fn slab(count: u32) -> Result<u32> {
    // A larger page holds several objects, the first of which is where a sentinel is looked for.
    let objects = count * u32::try_from(page_size() / OBJECT)?;
    set(
        "/proc/sys/kernel/msgmnb",
        &((objects as usize + 1) * OBJECT).to_string(),
    )?;
    let queue = sys::message_queue()?;
    // The type, then the text; the sentinel starts at object offset 64.
    let mut message = vec![0u8; 8 + OBJECT - MESSAGE_HEADER];
    message[0] = 1;
    for index in 0..objects {
        fill(&mut message[8 + 64 - MESSAGE_HEADER..], Class::Slab, index);
        sys::send_message(queue, &message)?;
    }
    scrub(&mut message);
    Ok(objects)
}

/// ext4 attaches buffer heads to the pages of a buffered write.
fn cache_private(count: u32) -> Result<u32> {
    let file = create("cache-private", 0)?;
    let mut page = vec![0u8; page_size()];
    for index in 0..count {
        fill(&mut page, Class::CachePrivate, index);
        file.write_all_at(&page, u64::from(index) * page_size() as u64)?;
    }
    scrub(&mut page);
    file.sync_all()?;
    Ok(count)
}

/// A direct write leaves nothing in the page cache; reading one byte of each page fills it.
fn cache(count: u32) -> Result<u32> {
    let file = create("cache", libc::O_DIRECT)?;
    let mut map = Map::anonymous(bytes(count), Kind::Small)?;
    fill_pages(map.bytes(), Class::Cache)?;
    file.write_all_at(map.bytes(), 0)?;
    scrub(map.bytes());
    map.unmap();
    file.sync_all()?;
    let file = File::open(Path::new(DIRECTORY).join("cache"))?;
    let mut byte = [0u8];
    for index in 0..count {
        file.read_exact_at(&mut byte, u64::from(index) * page_size() as u64 + 100)?;
    }
    // An open file keeps its inode, and with it the pages.
    std::mem::forget(file);
    Ok(count)
}

fn create(name: &str, flags: i32) -> Result<File> {
    fs::create_dir_all(DIRECTORY)?;
    let path = Path::new(DIRECTORY).join(name);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(flags)
        .open(&path)
        .with_context(|| format!("cannot create {}", path.display()))
}

fn fill_pages(bytes: &mut [u8], class: Class) -> Result<u32> {
    let mut index = 0;
    for page in bytes.chunks_exact_mut(page_size()) {
        fill(page, class, index);
        index += 1;
    }
    Ok(index)
}

/// Overwrites a buffer so that no copy of a sentinel stays behind in freed memory.
fn scrub(buffer: &mut [u8]) {
    buffer.fill(0);
    std::hint::black_box(buffer);
}

fn bytes(pages: u32) -> usize {
    pages as usize * page_size()
}

fn set(path: &str, value: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .with_context(|| format!("cannot write {value} to {path}"))
}
