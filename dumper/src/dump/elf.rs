//! An ELF dump: pages of zeros are looked for, then the pieces of the segments are copied.

use super::copy::is_zero;
use super::select::{self, Selection, Selector};
use super::{DeadKernel, DumpError, Observer, Options, Outcome, PageCounts, Summary};
use super::{copy::Copied, partial_reason};
use crate::addr::{PageSize, Pfn, PhysAddr};
use crate::filter::Bitmap;
use crate::format::Out;
use crate::format::elf::{Info, Load, Piece, Pieces, Writer};
use crate::vmcore::{PhysMem, Reader, Vmcore};

/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;
/// The observer hears of every so many pages.
const OFTEN: u64 = 4096;

/// Writes an ELF dump. Compression and threads of `options` have no meaning for it.
///
/// # Errors
/// As [`super::dump`].
pub fn dump_elf(
    kernel: &DeadKernel,
    options: &Options,
    out: &dyn Out,
    observer: &mut dyn Observer,
) -> Result<Summary, DumpError> {
    let core = kernel.core();
    let reader = core.reader(options.mmap);
    let mut selector = Selector::new(kernel, options, &reader, select::affordable());
    let mut selection = Selection::whole(&selector, observer)?;
    let kept = selection.kept.count();
    if kept == 0 {
        return Err(DumpError::Nothing);
    }
    let page = kernel.page_size();
    let mut warnings = std::mem::take(&mut selector.warnings);
    warnings.extend(select::unjudged(selection.scanned));
    if core.origin().is_some_and(|o| !o.erased.is_empty()) {
        let text = "what was erased from the memory before is not said in an ELF dump";
        warnings.push(text.into());
    }
    let zero = if selector.level.shares_zero_pages() {
        drop_zero_pages(&reader, page, &mut selection.kept, observer)
    } else {
        0
    };
    let loads = loads(core);
    let pieces = || {
        let cut = |load: &Load| Pieces::new(&selection.kept, page, *load);
        loads.iter().flat_map(cut)
    };
    let info = Info {
        machine: core.machine(),
        notes_align: notes_align(core),
        notes_size: core.notes().size,
        read_notes: &|at, buf| core.read_notes(at, buf),
    };
    let mut writer = Writer::begin(out, &info, pieces).map_err(DumpError::Output)?;
    let mut copier = Copier {
        reader: core.reader(options.mmap),
        page,
        kept: &selection.kept,
        total: kept - zero,
        copied: Copied::default(),
        buf: vec![0; CHUNK],
    };
    for piece in pieces() {
        copier.copy(&piece, &mut writer, observer);
        if copier.copied.failed.is_some() {
            break;
        }
    }
    let mut copied = copier.copied;
    copied.zero = zero;
    let bytes = writer.bytes();
    let reason = end(kernel, &selector, &copied, kept, out, writer);
    Ok(Summary {
        outcome: reason.map_or(Outcome::Complete, Outcome::Partial),
        pages: PageCounts {
            total: selection.exist,
            kept,
            zero,
            unreadable: copied.unreadable,
            dropped: selection.scanned.dropped,
        },
        bytes,
        crc32: None,
        level: selector.level,
        warnings,
    })
}

/// Syncs the data, then ends the file; says why it is not complete.
fn end(
    kernel: &DeadKernel,
    selector: &Selector<'_>,
    copied: &Copied,
    kept: u64,
    out: &dyn Out,
    writer: Writer<'_>,
) -> Option<String> {
    let reason = partial_reason(kernel, selector, copied, kept)
        .or_else(|| Some(format!("syncing failed: {}", out.sync().err()?)));
    match writer.finish(reason.is_none()) {
        Ok(()) => reason,
        Err(e) => reason.or_else(|| Some(format!("ending the file failed: {e}"))),
    }
}

/// The alignment that the vmcore gives its notes, in the first program header; it has no other meaning than to be copied.
fn notes_align(core: &Vmcore) -> u64 {
    let (mut table, mut align) = ([0; 8], [0; 8]);
    let read = core.file().map(|file| {
        file.read_at(32, &mut table)?;
        file.read_at(u64::from_le_bytes(table).saturating_add(48), &mut align)
    });
    match read {
        Some(Ok(())) if align == 4u64.to_le_bytes() => 4,
        _ => 0,
    }
}

/// The segments; those of an already written dump are its runs of pages.
fn loads(core: &Vmcore) -> Vec<Load> {
    if core.segments().is_empty() {
        let run = |e: crate::vmcore::Extent| Load {
            phys: e.start,
            virt: 0,
            size: e.end - e.start,
        };
        return core.extents().iter().map(run).collect();
    }
    let segment = |s: &crate::vmcore::Segment| Load {
        phys: s.start.raw(),
        virt: s.virt,
        size: s.mem_size,
    };
    core.segments().iter().map(segment).collect()
}

/// Takes the pages of zeros out of `kept` and counts them.
fn drop_zero_pages(
    reader: &Reader<'_>,
    page: PageSize,
    kept: &mut Bitmap,
    observer: &mut dyn Observer,
) -> u64 {
    let mut buf = vec![0; page.bytes()];
    let (mut zero, mut told) = (0, 0);
    let mut at = 0;
    while let Some(pfn) = kept.next(at) {
        let read = reader.read_page(Pfn::new(pfn), page, &mut buf);
        if read.is_ok() && is_zero(&buf) {
            zero += kept.clear_range(pfn, pfn + 1);
        }
        at = pfn + 1;
        if at >= told {
            observer.progress("zero", at, kept.len());
            told = at + OFTEN;
        }
    }
    zero
}

struct Copier<'a> {
    reader: Reader<'a>,
    page: PageSize,
    kept: &'a Bitmap,
    total: u64,
    copied: Copied,
    buf: Vec<u8>,
}

impl Copier<'_> {
    fn copy(&mut self, piece: &Piece, writer: &mut Writer<'_>, observer: &mut dyn Observer) {
        let (mut at, end) = (piece.phys, piece.phys.saturating_add(piece.file));
        while at < end {
            let part = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            self.read(at, part);
            if let Err(error) = writer.append(&self.buf[..part]) {
                self.copied.failed = Some(error);
                return;
            }
            at += part as u64;
            self.copied.pages += (part as u64).div_ceil(self.page.bytes() as u64);
            observer.progress("copy", self.copied.pages.min(self.total), self.total);
        }
    }

    /// Fills the buffer; where that fails as a whole, page by page. What cannot be read is zeros.
    fn read(&mut self, at: u64, len: usize) {
        let whole = self.reader.read(PhysAddr::new(at), &mut self.buf[..len]);
        if whole.is_ok() {
            return;
        }
        let size = self.page.bytes() as u64;
        let mut done = 0;
        while done < len {
            let phys = at + done as u64;
            let left = usize::try_from(size - phys % size).unwrap_or(len);
            let to = (done + left).min(len);
            let part = &mut self.buf[done..to];
            if self.reader.read(PhysAddr::new(phys), part).is_err() {
                part.fill(0);
                // Pages between kept ones may be missing in a dump that is read, and nobody misses them.
                self.copied.unreadable += u64::from(self.kept.get(phys / size));
            }
            done = to;
        }
    }
}
