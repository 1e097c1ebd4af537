//! Writing a kdump-compressed file, so that it is a valid dump marked incomplete from the first flush on.
//!
//! The bitmaps come first, as a whole or in windows, then the headers. Descriptors and data are two streams that grow side by side.
//! Data go out before the descriptors that point at them; a descriptor that was never written is all zeros, which readers take for
//! a lost page. The last write of a complete dump takes the mark out of the header. On a stream, which is cut off when it is not
//! whole, the mark is only written when it is needed. The text of what was erased comes after the data, then the sub header is
//! written again with its place.

use super::bits::{Header, INCOMPLETE, PageDesc, SIGNATURE, SubHeader, VERSION};
use super::stream::Stream;
use crate::addr::PageSize;
use crate::filter::{Bitmap, DumpLevel};
use crate::format::Out;
use std::io;
use std::ops::Range;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{I32, I64, U32, U64};

/// Bytes of a bitmap or of notes that are handled at once.
const BLOCK: usize = 64 << 10;

/// What the headers say.
pub struct Info<'a> {
    /// Raw `struct new_utsname`.
    pub utsname: [u8; 390],
    /// CRASHTIME, 0 when unknown.
    pub crash_time: i64,
    /// Page size of the dead kernel = block size of the file.
    pub page_size: PageSize,
    /// One past the highest pfn.
    pub max_mapnr: u64,
    /// CPUs that saved their registers.
    pub cpus: u32,
    /// x86-64 `phys_base`, else 0.
    pub phys_base: u64,
    /// The level in force.
    pub level: DumpLevel,
    /// Flag of the compression that was asked for.
    pub compression_flag: u32,
    /// Size of the note segment.
    pub notes_size: u64,
    /// Offset within the notes and size of the VMCOREINFO text.
    pub vmcoreinfo: Option<(u64, u64)>,
    /// Reads the note segment.
    #[allow(clippy::type_complexity, reason = "one use")]
    pub read_notes: &'a dyn Fn(u64, &mut [u8]) -> io::Result<()>,
}

/// A page as it goes into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `size` bytes at `offset` of the chunk's data, compressed as `flags` says.
    Data {
        /// Offset in the chunk.
        offset: u32,
        /// Bytes.
        size: u32,
        /// The codec's flag or 0.
        flags: u32,
    },
    /// The shared page of zeros.
    Zero,
    /// Could not be read.
    Lost,
}

/// One of the two bitmaps.
#[derive(Clone, Copy, Debug)]
pub enum Map {
    /// Pages that exist.
    Exists,
    /// Pages in the file.
    Kept,
}

/// The writer.
pub struct Writer<'a> {
    out: &'a dyn Out,
    header: Header,
    sub: SubHeader,
    /// The notes.
    notes: Stream,
    exists: Stream,
    kept: Stream,
    descs: Stream,
    descs_size: u64,
    data: Stream,
    block: u64,
    crc_known: bool,
}

impl<'a> Writer<'a> {
    /// Writes bitmaps that are whole, and what comes before and after them.
    ///
    /// # Errors
    /// As [`Writer::layout`], [`Writer::map`] and [`Writer::start`].
    pub fn begin(
        out: &'a dyn Out,
        info: &Info<'_>,
        exists: &Bitmap,
        kept: &Bitmap,
    ) -> io::Result<Self> {
        let mut writer = Self::layout(out, info)?;
        writer.map(Map::Exists, exists)?;
        writer.map(Map::Kept, kept)?;
        writer.start(info, kept.count())?;
        Ok(writer)
    }

    /// Finds out where everything is; nothing is written.
    ///
    /// # Errors
    /// EFBIG when a count does not fit the format.
    pub fn layout(out: &'a dyn Out, info: &Info<'_>) -> io::Result<Self> {
        let too_big = || io::Error::from_raw_os_error(libc::EFBIG);
        let block = info.page_size.bytes() as u64;
        let sub_blocks = (size_of::<SubHeader>() as u64 + info.notes_size).div_ceil(block);
        let half = info.max_mapnr.div_ceil(8).div_ceil(block);
        let header = Header {
            signature: SIGNATURE,
            version: VERSION.into(),
            utsname: info.utsname,
            pad: [0; 6],
            tv_sec: I64::new(info.crash_time),
            tv_usec: I64::new(0),
            status: U32::new(info.compression_flag | INCOMPLETE),
            block_size: I32::new(i32::try_from(block).map_err(|_| too_big())?),
            sub_hdr_size: I32::new(i32::try_from(sub_blocks).map_err(|_| too_big())?),
            bitmap_blocks: U32::new(u32::try_from(half * 2).map_err(|_| too_big())?),
            max_mapnr: U32::new(u32::try_from(info.max_mapnr).unwrap_or(u32::MAX)),
            total_ram_blocks: U32::new(0),
            device_blocks: U32::new(0),
            written_blocks: U32::new(0),
            current_cpu: U32::new(0),
            nr_cpus: I32::new(i32::try_from(info.cpus).unwrap_or(i32::MAX)),
        };
        let maps_at = (1 + sub_blocks) * block;
        let descs_at = maps_at + 2 * half * block;
        Ok(Self {
            out,
            header,
            sub: sub_header(info, block),
            notes: Stream::at(block + size_of::<SubHeader>() as u64),
            exists: Stream::at(maps_at),
            kept: Stream::at(maps_at + half * block),
            descs: Stream::at(descs_at),
            descs_size: 0,
            data: Stream::at(descs_at),
            block,
            crc_known: true,
        })
    }

    /// Makes this file the part of a split dump that has the pages of `pfns`; before [`Writer::start`].
    pub fn set_part(&mut self, pfns: &Range<u64>) {
        self.sub.split = I32::new(1);
        (self.sub.start_pfn, self.sub.end_pfn) = (U64::new(pfns.start), U64::new(pfns.end));
        (self.sub.start_pfn_64, self.sub.end_pfn_64) = (self.sub.start_pfn, self.sub.end_pfn);
    }

    /// Writes a window of a bitmap: the next one, and the first one begins at 0. Blocks without a page are holes.
    ///
    /// # Errors
    /// As the output.
    pub fn map(&mut self, which: Map, map: &Bitmap) -> io::Result<()> {
        let stream = match which {
            Map::Exists => &mut self.exists,
            Map::Kept => &mut self.kept,
        };
        let end = map.len().div_ceil(8);
        let mut at = map.start() / 8;
        stream.zeros_to(self.out, at)?;
        let mut buf = vec![0; BLOCK.min(usize::try_from(end - at).unwrap_or(BLOCK))];
        while at < end {
            let part = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
            let next = map.next(at * 8).map_or(end, |pfn| pfn / 8);
            let here = at;
            at += part as u64;
            if next >= at {
                stream.zeros_to(self.out, at)?;
                continue;
            }
            map.copy_bytes(here, &mut buf[..part]);
            stream.append(self.out, &buf[..part])?;
        }
        Ok(())
    }

    /// Fills `map` with what was written of a bitmap in its place.
    ///
    /// # Errors
    /// As the output.
    pub fn read_kept(&self, map: &mut Bitmap) -> io::Result<()> {
        let mut buf = vec![0; BLOCK];
        let (mut at, end) = (map.start() / 8, map.len().div_ceil(8).min(self.kept.len));
        while at < end {
            let part = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
            self.out.read_back(self.kept.start + at, &mut buf[..part])?;
            map.load_bytes(at, &buf[..part]);
            at += part as u64;
        }
        Ok(())
    }

    /// Writes what comes before the bitmaps, and reserves room for the descriptors of `kept` pages.
    ///
    /// # Errors
    /// As the output.
    pub fn start(&mut self, info: &Info<'_>, kept: u64) -> io::Result<()> {
        let (out, ends) = (self.out, [self.kept.start, self.descs.start]);
        self.exists.zeros_to(out, ends[0] - self.exists.start)?;
        self.kept.zeros_to(out, ends[1] - self.kept.start)?;
        self.descs_size = kept * size_of::<PageDesc>() as u64;
        let end = self.descs.start + self.descs_size;
        self.data = Stream::at(end);
        // The bitmaps are written; their holes stay holes.
        self.out.reserve(self.descs.start..end)?;
        // Readers map the bitmaps and read descriptors at once: the file must reach that far even if no page is ever written.
        self.out.set_len(end)?;
        self.write_header(if self.out.is_stream() { 0 } else { INCOMPLETE })?;
        self.write_sub_header()?;
        self.write_notes(info)?;
        if info.level.shares_zero_pages() {
            self.data
                .append(self.out, &vec![0; info.page_size.bytes()])?;
        }
        Ok(())
    }

    fn write_header(&mut self, incomplete: u32) -> io::Result<()> {
        self.header
            .status
            .set(self.header.status.get() & !INCOMPLETE | incomplete);
        self.out.write_at(0, self.header.as_bytes())
    }

    fn write_sub_header(&self) -> io::Result<()> {
        self.out.write_at(self.block, self.sub.as_bytes())
    }

    fn write_notes(&mut self, info: &Info<'_>) -> io::Result<()> {
        let mut buf = vec![0; BLOCK.min(usize::try_from(info.notes_size).unwrap_or(BLOCK))];
        let mut at = 0;
        while at < info.notes_size {
            let part = usize::try_from(info.notes_size - at)
                .unwrap_or(BLOCK)
                .min(BLOCK);
            // A note that cannot be read is zeros; the dump is worth more than its notes.
            if (info.read_notes)(at, &mut buf[..part]).is_err() {
                buf[..part].fill(0);
            }
            self.notes.append(self.out, &buf[..part])?;
            at += part as u64;
        }
        let end = self.exists.start - self.notes.start;
        self.notes.zeros_to(self.out, end)
    }

    /// Appends pages, in pfn order: `places` one per page, `data` what they refer to. `descs` is scratch.
    ///
    /// # Errors
    /// As the output; then nothing of this call counts.
    pub fn append(
        &mut self,
        places: &[Place],
        data: &[u8],
        descs: &mut Vec<PageDesc>,
    ) -> io::Result<()> {
        let base = self.data.start + self.data.len;
        let desc = |offset, size, flags| PageDesc {
            offset: U64::new(offset),
            size: U32::new(size),
            flags: U32::new(flags),
            page_flags: U64::new(0),
        };
        descs.clear();
        descs.extend(places.iter().map(|place| match *place {
            Place::Data {
                offset,
                size,
                flags,
            } => desc(base + u64::from(offset), size, flags),
            Place::Zero => desc(
                self.data.start,
                self.header.block_size.get().cast_unsigned(),
                0,
            ),
            Place::Lost => desc(0, 0, 0),
        }));
        if !data.is_empty() {
            self.data.append(self.out, data)?;
        }
        let result = self.descs.append(self.out, descs.as_bytes());
        // Some of them may be in the file, and nobody knows which.
        self.crc_known &= result.is_ok();
        result
    }

    /// Appends the text that says what was erased from the memory before, if there is one. No page can follow.
    ///
    /// # Errors
    /// As the output; then the dump has no such text.
    pub fn append_erased(&mut self, text: &[u8]) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let at = self.bytes();
        self.data.append(self.out, text)?;
        self.sub.offset_eraseinfo = U64::new(at);
        self.sub.size_eraseinfo = U64::new(text.len() as u64);
        let result = self.write_sub_header();
        self.crc_known &= result.is_ok();
        result
    }

    /// Bytes of the file so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.data.start + self.data.len
    }

    /// Ends the dump: `complete` takes the mark out of the header. Returns size and CRC-32 of the file; after a failed
    /// write of descriptors the checksum is not known.
    ///
    /// # Errors
    /// As the output.
    pub fn finish(mut self, complete: bool) -> io::Result<(u64, Option<u32>)> {
        let end = self.data.start + self.data.len;
        self.descs.zeros_to(self.out, self.descs_size)?;
        self.out.set_len(end)?;
        if !(complete && self.out.is_stream()) {
            self.write_header(if complete { 0 } else { INCOMPLETE })?;
        }
        let mut first = Stream::at(0);
        first.crc.update(self.header.as_bytes());
        first.len = self.header.as_bytes().len() as u64;
        first.skip_to(self.block);
        first.crc.update(self.sub.as_bytes());
        let mut crc = first.crc;
        for part in [
            &self.notes,
            &self.exists,
            &self.kept,
            &self.descs,
            &self.data,
        ] {
            crc.combine(&part.crc);
        }
        Ok((end, self.crc_known.then(|| crc.finalize())))
    }
}

fn sub_header(info: &Info<'_>, block: u64) -> SubHeader {
    let offset_note = block + size_of::<SubHeader>() as u64;
    let has_notes = info.notes_size != 0;
    SubHeader {
        phys_base: U64::new(info.phys_base),
        dump_level: I32::new(i32::from(info.level.bits())),
        split: I32::new(0),
        start_pfn: U64::new(0),
        end_pfn: U64::new(0),
        offset_vmcoreinfo: U64::new(info.vmcoreinfo.map_or(0, |(at, _)| offset_note + at)),
        size_vmcoreinfo: U64::new(info.vmcoreinfo.map_or(0, |(_, size)| size)),
        offset_note: U64::new(if has_notes { offset_note } else { 0 }),
        size_note: U64::new(info.notes_size),
        offset_eraseinfo: U64::new(0),
        size_eraseinfo: U64::new(0),
        start_pfn_64: U64::new(0),
        end_pfn_64: U64::new(0),
        max_mapnr: U64::new(info.max_mapnr),
    }
}
