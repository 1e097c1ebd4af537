//! Whole files: ELF vmcores, kdump-compressed files, flattened streams, frames.

use crate::fake_kernel::{FakeKernel, Generation};
use crate::memory_file::MemoryFile;
use baredump::addr::{PageSize, Pfn};
use baredump::compress::Compression;
use baredump::dump::{DeadKernel, Observer, dump};
use baredump::filter::{Bitmap, DumpLevel};
use baredump::format::In;
use baredump::format::flat::{FlatIn, FlatOut, rearrange};
use baredump::format::frames::{FrameCodec, FrameIn, FrameOut};
use baredump::format::kdump::{Dump, Info, Place, Writer};
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
        let _ = reader.read_page(Pfn::new(extent.start >> 12), PageSize::K4, &mut page);
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

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Zlib,
    Compression::Snappy,
    Compression::Zstd,
    Compression::Lzo,
];

/// A small dump of each codec.
fn dumps() -> Vec<Vec<u8>> {
    CODECS.into_iter().filter_map(small).collect()
}

fn small(compression: Compression) -> Option<Vec<u8>> {
    let vmcore = FakeKernel::zoo(Generation::V6_12).build();
    let kernel = DeadKernel::understand(Vmcore::from_elf(Box::new(vmcore.elf)).ok()?, false);
    let out = MemoryFile::default();
    let options = super::options(compression);
    dump(&kernel, &options, &out, &mut Silent).ok()?;
    Some(out.into_bytes())
}

/// A dump of a few pages in every codec, with a note: small enough to be whole.
fn tiny(compression: Compression) -> Option<Vec<u8>> {
    const PAGES: u64 = 40;
    let (mut exists, mut kept) = (Bitmap::new(PAGES)?, Bitmap::new(PAGES)?);
    exists.set_range(0, PAGES);
    kept.set_range(3, 12);
    let note =
        crate::fake_kernel::elf::note(b"VMCOREINFO\0", 0, b"OSRELEASE=6.12\nPAGESIZE=4096\n");
    let info = Info {
        utsname: [b'x'; 390],
        crash_time: 1,
        page_size: PageSize::K4,
        max_mapnr: PAGES,
        cpus: 1,
        phys_base: 0,
        level: DumpLevel::MAX,
        compression_flag: compression.flag(),
        notes_size: note.len() as u64,
        vmcoreinfo: Some((24, 29)),
        read_notes: &|at, buf| {
            let at = at as usize;
            buf.copy_from_slice(&note[at..at + buf.len()]);
            Ok(())
        },
    };
    let out = MemoryFile::default();
    let mut writer = Writer::begin(&out, &info, &exists, &kept).ok()?;
    let mut codec = baredump::compress::codec(compression, 4096);
    for pfn in 3..12u64 {
        let page: Vec<u8> = (0..4096u64).map(|at| (at * pfn / 64) as u8).collect();
        let mut room = vec![0; 8192];
        let size = codec
            .as_mut()
            .and_then(|codec| codec.compress(&page, &mut room));
        let (bytes, flags) =
            size.map_or((&page[..], 0), |size| (&room[..size], compression.flag()));
        let place = if pfn == 5 {
            Place::Zero
        } else {
            Place::Data {
                offset: 0,
                size: bytes.len() as u32,
                flags,
            }
        };
        writer
            .append(
                &[place],
                if pfn == 5 { &[] } else { bytes },
                &mut Vec::new(),
            )
            .ok()?;
    }
    writer.finish(true).ok()?;
    Some(out.into_bytes())
}

/// The first 60 KiB of dumps, and tiny ones that are whole.
pub(super) fn kdump_seeds() -> Vec<Vec<u8>> {
    let tiny = CODECS.into_iter().filter_map(tiny);
    dumps().into_iter().map(cut).chain(tiny.map(cut)).collect()
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
    let tiny = CODECS.into_iter().filter_map(tiny);
    let cut = |bytes: Vec<u8>| flattened(&bytes[..bytes.len().min(58 << 10)]);
    dumps().into_iter().chain(tiny).filter_map(cut).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_dumps_are_whole() {
        for compression in CODECS {
            let bytes = tiny(compression).unwrap();
            assert!(bytes.len() < 60 << 10, "{compression}: {}", bytes.len());
            Dump::open(Box::new(bytes))
                .unwrap()
                .verify(&mut |_, _| {})
                .unwrap();
        }
    }
}
