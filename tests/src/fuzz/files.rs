//! Whole files: ELF vmcores, kdump-compressed files, flattened streams, frames.

use crate::fake_kernel::{FakeKernel, Generation};
use crate::memory_file::MemoryFile;
use baredump::addr::Pfn;
use baredump::compress::Compression;
use baredump::dump::{DeadKernel, Observer, dump};
use baredump::format::In;
use baredump::format::flat::{FlatIn, FlatOut, rearrange};
use baredump::format::frames::{FrameCodec, FrameIn, FrameOut};
use baredump::format::kdump::Dump;
use baredump::vmcore::{PhysMem, Vmcore};
use std::io::Write;

/// Pages that are read of one file.
const PAGES: u64 = 64;

/// ELF headers and notes; a few pages are read.
pub(super) fn elf(data: &[u8]) {
    if let Ok(core) = Vmcore::from_elf(Box::new(data.to_vec())) {
        read_some(&core);
    }
}

fn read_some(core: &Vmcore) {
    let reader = core.reader(false);
    let mut page = vec![0; 4096];
    for extent in core.extents().iter().take(8) {
        for at in [extent.start, extent.end.saturating_sub(8)] {
            let _ = reader.read(baredump::addr::PhysAddr::new(at), &mut page[..8]);
        }
        let _ = reader.read_page(
            Pfn::new(extent.start >> 12),
            baredump::addr::PageSize::K4,
            &mut page,
        );
    }
    let _ = core.read_notes(0, &mut page);
}

/// The headers, notes and first pages of a vmcore.
pub(super) fn elf_seeds() -> Vec<Vec<u8>> {
    [Generation::V5_10, Generation::V7_1]
        .iter()
        .map(|generation| FakeKernel::zoo(*generation).build().elf[..16384].to_vec())
        .collect()
}

/// A kdump-compressed file: opened, verified, used as a vmcore.
pub(super) fn kdump(data: &[u8]) {
    open_dump(&|| Some(Box::new(data.to_vec())));
}

fn open_dump(file: &dyn Fn() -> Option<Box<dyn In>>) {
    let Some(first) = file() else { return };
    if let Ok(dump) = Dump::open(first) {
        let _ = dump.verify(&mut |_, _| {});
        let _ = dump.vmcoreinfo();
    }
    let Some(Ok(dump)) = file().map(Dump::open) else {
        return;
    };
    let core = Vmcore::from_pages(Box::new(dump), 62);
    let reader = core.reader(false);
    let (Some(pages), mut page) = (core.pages(), vec![0; 65536]) else {
        return;
    };
    let size = pages.page_size();
    let mut pfn = 0;
    for _ in 0..PAGES {
        let Some(next) = pages.kept().next(pfn) else {
            break;
        };
        let _ = reader.read_page(Pfn::new(next), size, &mut page[..size.bytes()]);
        pfn = next + 1;
    }
}

struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _phase: &'static str, _done: u64, _total: u64) {}
}

/// A small dump of each codec.
fn dumps() -> Vec<Vec<u8>> {
    let codecs = [
        Compression::None,
        Compression::Zlib,
        Compression::Snappy,
        Compression::Zstd,
        Compression::Lzo,
    ];
    codecs.into_iter().filter_map(small).collect()
}

fn small(compression: Compression) -> Option<Vec<u8>> {
    let vmcore = FakeKernel::zoo(Generation::V6_12).build();
    let kernel = DeadKernel::understand(Vmcore::from_elf(Box::new(vmcore.elf)).ok()?, false);
    let out = MemoryFile::default();
    let options = super::options(compression);
    dump(&kernel, &options, &out, &mut Silent).ok()?;
    Some(out.into_bytes())
}

/// The first 60 KiB of dumps, and a tiny one that is whole.
pub(super) fn kdump_seeds() -> Vec<Vec<u8>> {
    dumps().into_iter().map(cut).collect()
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(60 << 10);
    bytes
}

/// A flattened stream: read in place, and restored.
pub(super) fn flat(data: &[u8]) {
    open_dump(&|| Some(Box::new(FlatIn::open(Box::new(data.to_vec())).ok()?)));
    let _ = rearrange(&mut &data[..], &MemoryFile::default());
}

fn flattened(bytes: &[u8]) -> Option<Vec<u8>> {
    use baredump::format::Out;
    let flat = FlatOut::new(Vec::new()).ok()?;
    for (number, chunk) in bytes.chunks(5000).enumerate() {
        flat.write_at(number as u64 * 5000, chunk).ok()?;
    }
    flat.finish().ok()
}

/// Dumps cut to what fits, flattened.
pub(super) fn flat_seeds() -> Vec<Vec<u8>> {
    dumps()
        .into_iter()
        .filter_map(|bytes| flattened(&bytes[..bytes.len().min(40 << 10)]))
        .collect()
}

/// A container of frames: its index, and some of what is in it.
pub(super) fn frames(data: &[u8]) {
    let Some(codec) = FrameCodec::sniff(data) else {
        return;
    };
    let Ok(frames) = FrameIn::open(Box::new(data.to_vec()), codec) else {
        return;
    };
    let mut buf = [0; 4096];
    for at in [0, 4096, frames.len() / 2, frames.len().saturating_sub(1)] {
        let _ = frames.read_at(at, &mut buf);
    }
}

/// Both codecs, one and two pieces.
pub(super) fn frames_seeds() -> Vec<Vec<u8>> {
    let text: Vec<u8> = (0..20_000u32).flat_map(|n| (n / 9).to_le_bytes()).collect();
    let long: Vec<u8> = std::iter::repeat_n(text.clone(), 30).flatten().collect();
    let frame = |codec, bytes: &[u8]| -> Option<Vec<u8>> {
        let mut out = FrameOut::new(Vec::new(), codec)?;
        out.write_all(bytes).ok()?;
        out.finish().ok()
    };
    [FrameCodec::Lz4, FrameCodec::Zstd]
        .into_iter()
        .flat_map(|codec| [frame(codec, &text), frame(codec, &long)])
        .flatten()
        .map(cut)
        .collect()
}
