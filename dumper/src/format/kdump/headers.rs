//! The headers of kdump-compressed files, judged, and the parts of a split dump put together.
//!
//! Upstream: makedumpfile `diskdump_mod.h` and its `--reassemble`. Holds for: header versions 1 to 6, 64-bit little-endian.

use super::bits::{Header, INCOMPLETE, SIGNATURE, SubHeader, VERSION};
use super::reader::{MAX_VMCOREINFO, Part, ReadError, reach};
use crate::addr::PageSize;
use crate::compress::Compression;
use crate::format::In;
use crate::vmcore::Origin;
use zerocopy::{FromZeros, IntoBytes};

/// Eraseinfo longer than this, in all parts together, is cut.
const MAX_ERASED: u64 = 256 << 10;

/// Both headers of one file.
#[derive(Clone, Copy)]
pub(super) struct Front {
    pub(super) header: Header,
    /// Fields that its version does not have are 0, `max_mapnr` is always there.
    pub(super) sub: SubHeader,
    pub(super) page_size: PageSize,
    pub(super) maps_at: u64,
}

impl Front {
    /// Reads and checks the headers of `file`.
    pub(super) fn read(file: &dyn In) -> Result<Self, ReadError> {
        let len = file.len();
        let mut header = Header::new_zeroed();
        let got = usize::try_from(len)
            .unwrap_or(usize::MAX)
            .min(size_of::<Header>());
        file.read_at(0, &mut header.as_mut_bytes()[..got])?;
        if header.signature != SIGNATURE {
            return Err(ReadError::NotADump(header.signature[..got.min(8)].to_vec()));
        }
        reach("the main header", size_of::<Header>() as u64, len)?;
        let page_size = check_header(&header)?;
        let block = page_size.bytes() as u64;
        reach("the sub header", block + size_of::<SubHeader>() as u64, len)?;
        let mut sub = SubHeader::new_zeroed();
        file.read_at(block, sub.as_mut_bytes())?;
        forget_later_fields(&header, &mut sub);
        let maps_at = (1 + u64::from(header.sub_hdr_size.get().cast_unsigned())) * block;
        check_sub_header(&header, &sub, block, maps_at)?;
        let maps = u64::from(header.bitmap_blocks.get()) * block;
        reach("the second bitmap", maps_at + maps, len)?;
        Ok(Self {
            header,
            sub,
            page_size,
            maps_at,
        })
    }
}

/// Before a field was introduced its place held nothing.
fn forget_later_fields(header: &Header, sub: &mut SubHeader) {
    let version = header.version.get();
    if version < 6 {
        sub.max_mapnr.set(u64::from(header.max_mapnr.get()));
        sub.start_pfn_64 = sub.start_pfn;
        sub.end_pfn_64 = sub.end_pfn;
    }
    if version < 5 {
        sub.offset_eraseinfo.set(0);
        sub.size_eraseinfo.set(0);
    }
    if version < 4 {
        sub.offset_note.set(0);
        sub.size_note.set(0);
    }
    if version < 3 {
        sub.offset_vmcoreinfo.set(0);
        sub.size_vmcoreinfo.set(0);
    }
    if version < 2 {
        sub.split.set(0);
    }
}

/// Sorts the files by the pages they hold and checks that they are all of one dump. Gives the parts and the headers of the first.
pub(super) fn put_together(
    mut files: Vec<(Front, Box<dyn In>)>,
) -> Result<(Front, Vec<Part>), ReadError> {
    let alone = files.len() == 1;
    let split = |text: String| Err(ReadError::Split(text));
    let pfns = |front: &Front| {
        if front.sub.split.get() == 0 {
            (0, front.sub.max_mapnr.get())
        } else {
            (front.sub.start_pfn_64.get(), front.sub.end_pfn_64.get())
        }
    };
    files.sort_by_key(|(front, _)| pfns(front));
    let Some(mut of_all) = files.first().map(|(front, _)| *front) else {
        return split("no file is named".into());
    };
    let mut parts: Vec<Part> = Vec::new();
    let mut expected = 0;
    let mut incomplete = 0;
    let max_mapnr = of_all.sub.max_mapnr.get();
    for (front, file) in files {
        if !alone && front.sub.split.get() == 0 {
            return split(
                "one of the files is a whole dump, no part of a split one: name it alone".into(),
            );
        }
        if !same(&front.header, &of_all.header) || front.sub.max_mapnr != of_all.sub.max_mapnr {
            return split("the files are not parts of one dump: their main headers differ".into());
        }
        incomplete |= front.header.status.get() & INCOMPLETE;
        let (first, end) = pfns(&front);
        if first < expected || end < first || end > max_mapnr {
            return split(format!(
                "a part holds pages {first:#x} to {end:#x} where one from page {expected:#x} on is needed: name every part of the split dump once"
            ));
        }
        parts.extend(Part::missing(expected, first));
        expected = end;
        let (at, size) = (front.sub.offset_eraseinfo, front.sub.size_eraseinfo);
        parts.push(Part {
            file,
            first,
            end,
            erased: (at.get(), size.get()),
        });
    }
    parts.extend(Part::missing(expected, max_mapnr));
    let status = of_all.header.status.get();
    of_all.header.status.set(status | incomplete);
    Ok((of_all, parts))
}

/// What was erased, in all parts one after the other, as makedumpfile puts it together.
pub(super) fn erased(parts: &[Part]) -> Vec<u8> {
    let mut text: Vec<u8> = Vec::new();
    for part in parts {
        let (at, size) = part.erased;
        let start = text.as_slice().len();
        let size = size.min(MAX_ERASED.saturating_sub(start as u64));
        text.resize(start + usize::try_from(size).unwrap_or(0), 0);
        if part.file.read_at(at, &mut text[start..]).is_err() {
            text.truncate(start);
        }
    }
    text
}

/// Whether two main headers are those of one dump: a part that could not be finished is marked, others are not.
fn same(a: &Header, b: &Header) -> bool {
    let plain = |header: &Header| {
        let mut header = *header;
        header.status.set(header.status.get() & !INCOMPLETE);
        header
    };
    plain(a).as_bytes() == plain(b).as_bytes()
}

/// A note segment with nothing but VMCOREINFO, for a dump of version 3, which has the text but no notes.
pub(super) fn made_up_notes(file: &dyn In, sub: &SubHeader) -> Result<Option<Vec<u8>>, ReadError> {
    let size = sub.size_vmcoreinfo.get();
    if sub.size_note.get() != 0
        || sub.offset_vmcoreinfo.get() == 0
        || size == 0
        || size > MAX_VMCOREINFO
    {
        return Ok(None);
    }
    let mut text = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_at(sub.offset_vmcoreinfo.get(), &mut text)?;
    Ok(Some(crate::vmcore::vmcoreinfo_note(&text).0))
}

/// The facts that another dump of the same memory takes over.
pub(super) fn origin(header: &Header, sub: &SubHeader, erased: Vec<u8>) -> Origin {
    Origin {
        utsname: header.utsname,
        crash_time: header.tv_sec.get(),
        phys_base: sub.phys_base.get(),
        level: u8::try_from(sub.dump_level.get()).unwrap_or(0),
        compression: Compression::of_status(header.status.get()),
        cpus: header.nr_cpus.get().cast_unsigned(),
        incomplete: (header.status.get() & INCOMPLETE != 0)
            .then(|| "the dump that is read is marked incomplete".into()),
        notes_size: sub.size_note.get(),
        erased,
    }
}

pub(super) fn field(
    field: &'static str,
    found: impl ToString,
    expected: impl Into<String>,
) -> ReadError {
    ReadError::Field {
        field,
        found: found.to_string(),
        expected: expected.into(),
    }
}

fn check_header(header: &Header) -> Result<PageSize, ReadError> {
    let version = header.version.get();
    if !(1..=VERSION).contains(&version) {
        return Err(field("header_version", version, "must be 1 to 6"));
    }
    let block = header.block_size.get();
    let page = u64::try_from(block).ok().and_then(PageSize::new);
    let page = page.ok_or_else(|| field("block_size", block, "must be 4096, 16384 or 65536"))?;
    if header.tv_usec.get() != 0 && PageSize::new(header.tv_usec.get().cast_unsigned()).is_some() {
        return Err(field(
            "timestamp.tv_usec",
            header.tv_usec,
            "which makes readers take the file for a 32-bit one",
        ));
    }
    if header.sub_hdr_size.get() < 1 {
        return Err(field(
            "sub_hdr_size",
            header.sub_hdr_size,
            "must be at least 1",
        ));
    }
    if header.nr_cpus.get() < 0 {
        return Err(field("nr_cpus", header.nr_cpus, "must not be negative"));
    }
    Ok(page)
}

fn check_sub_header(
    header: &Header,
    sub: &SubHeader,
    block: u64,
    maps_at: u64,
) -> Result<(), ReadError> {
    let need = sub
        .max_mapnr
        .get()
        .div_ceil(8)
        .div_ceil(block)
        .saturating_mul(2);
    let blocks = u64::from(header.bitmap_blocks.get());
    if blocks < need || !blocks.is_multiple_of(2) {
        return Err(field(
            "bitmap_blocks",
            blocks,
            format!("must be {need} for max_mapnr {}", sub.max_mapnr),
        ));
    }
    let inside = |at: u64, size: u64| {
        size == 0 || (at >= block && at.checked_add(size).is_some_and(|end| end <= maps_at))
    };
    if !inside(sub.offset_note.get(), sub.size_note.get()) {
        return Err(field(
            "offset_note",
            sub.offset_note,
            "which puts the notes outside the sub header's blocks",
        ));
    }
    if !inside(sub.offset_vmcoreinfo.get(), sub.size_vmcoreinfo.get()) {
        return Err(field(
            "offset_vmcoreinfo",
            sub.offset_vmcoreinfo,
            "which puts VMCOREINFO outside the notes",
        ));
    }
    let level = sub.dump_level.get();
    if !(0..=31).contains(&level) {
        return Err(field("dump_level", level, "must be 0 to 31"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
