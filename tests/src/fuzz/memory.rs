//! Memory of a dead kernel: a synthetic vmcore in which one part is replaced by the input.
//!
//! The first byte of an input chooses the kernel; the rest is laid over the regions, one after the other.

use super::input::Patched;
use crate::fake_kernel::{FakeKernel, FakeVmcore, Generation};
use crate::memory_file::MemoryFile;
use baredump::compress::Compression;
use baredump::dump::{DeadKernel, Observer, dump};
use baredump::vmcore::Vmcore;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

/// A log cannot be larger than its ring with prefixes and escapes.
const MAX_LOG: usize = 16 << 20;
const TABLES: &[&str] = &["page table root", "page tables", "mem_section"];
const STRUCT_PAGES: &[&str] = &["struct pages"];
const PRINTK: &[&str] = &["utsname", "printk ring", "printk records", "printk text"];
const NOTES: &[&str] = &["VMCOREINFO"];

/// A kernel, and its vmcore as all inputs share it.
struct Base {
    vmcore: FakeVmcore,
    elf: Arc<[u8]>,
}

fn bases() -> &'static [Base] {
    static BASES: OnceLock<Vec<Base>> = OnceLock::new();
    BASES.get_or_init(|| {
        let kernels = Generation::ALL
            .iter()
            .map(|generation| FakeKernel::zoo(*generation));
        let build = |kernel: FakeKernel| {
            let vmcore = kernel.build();
            let elf = vmcore.elf.clone().into();
            Base { vmcore, elf }
        };
        kernels.map(build).collect()
    })
}

/// The kernel that the input chooses, with the rest of the input over these regions.
fn patched(data: &[u8], names: &[&str]) -> Option<DeadKernel> {
    let (choice, mut rest) = data.split_first()?;
    let base = &bases()[usize::from(*choice) % bases().len()];
    let mut file = Patched::new(Arc::clone(&base.elf));
    for (_, region) in base
        .vmcore
        .regions
        .iter()
        .filter(|(name, _)| names.contains(name))
    {
        let (here, later) = rest.split_at(rest.len().min(region.len()));
        file.patch(region.start, here);
        rest = later;
    }
    Some(DeadKernel::understand(
        Vmcore::from_elf(Box::new(file)).ok()?,
        false,
    ))
}

/// The regions of every kernel as they are.
fn whole(names: &[&str]) -> Vec<Vec<u8>> {
    let seed = |(number, base): (usize, &Base)| {
        let regions = base
            .vmcore
            .regions
            .iter()
            .filter(|(name, _)| names.contains(name));
        let bytes = regions.flat_map(|(_, region)| base.elf[region.clone()].iter().copied());
        std::iter::once(number as u8)
            .chain(bytes)
            .take(60 << 10)
            .collect()
    };
    bases().iter().enumerate().map(seed).collect()
}

struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _phase: &'static str, _done: u64, _total: u64) {}
}

/// A log that must end.
#[derive(Default)]
struct Log(usize);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        assert!(self.0 <= MAX_LOG, "the log has no end");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn capture(data: &[u8], names: &[&str]) {
    let Some(kernel) = patched(data, names) else {
        return;
    };
    let options = super::options(Compression::None);
    let _ = dump(&kernel, &options, &MemoryFile::default(), &mut Silent);
}

/// VMCOREINFO: every key any value.
pub(super) fn notes(data: &[u8]) {
    capture(data, NOTES);
    if let Some(kernel) = patched(data, NOTES) {
        let _ = kernel.dmesg(&mut Log::default());
    }
}

pub(super) fn notes_seeds() -> Vec<Vec<u8>> {
    whole(NOTES)
}

/// Page tables and mem_section.
pub(super) fn page_tables(data: &[u8]) {
    capture(data, TABLES);
}

pub(super) fn page_tables_seeds() -> Vec<Vec<u8>> {
    whole(TABLES)
}

/// Struct pages.
pub(super) fn struct_pages(data: &[u8]) {
    capture(data, STRUCT_PAGES);
}

pub(super) fn struct_pages_seeds() -> Vec<Vec<u8>> {
    whole(STRUCT_PAGES)
}

/// utsname and the log.
pub(super) fn printk(data: &[u8]) {
    let Some(kernel) = patched(data, PRINTK) else {
        return;
    };
    let _ = kernel.dmesg(&mut Log::default());
}

pub(super) fn printk_seeds() -> Vec<Vec<u8>> {
    whole(PRINTK)
}
