//! A strict reader of kdump-compressed dumps (makedumpfile's format, header version 6, 64-bit little-endian layout).
//!
//! It shares no code with `baredump`, so that both can't be wrong in the same way. Whatever the format leaves open to readers but
//! makedumpfile always does, is demanded here.

mod lzo;
mod notes;
mod payload;
mod source;

use anyhow::{Context, Result, bail, ensure};
use source::Source;
use std::collections::BTreeMap;
use std::path::Path;

/// Size of the main header that is used.
const HEADER: usize = 464;
/// Size of the sub header.
const SUB_HEADER: usize = 104;
/// Size of a page descriptor.
const DESCRIPTOR: usize = 24;
/// `status`: the dump is incomplete.
pub const INCOMPLETE: u32 = 0x8;
/// zlib, in `status` and in a descriptor's flags.
pub const ZLIB: u32 = 0x1;
/// LZO.
pub const LZO: u32 = 0x2;
/// snappy.
pub const SNAPPY: u32 = 0x4;
/// zstd.
pub const ZSTD: u32 = 0x20;

/// One page descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Descriptor {
    /// Where the page's bytes are in the file.
    pub offset: u64,
    /// How many bytes.
    pub size: u32,
    /// How they are compressed; 0 = raw.
    pub flags: u32,
    /// Always 0.
    pub page_flags: u64,
}

/// A dump that kept every rule of the format.
#[derive(Debug)]
pub struct Dump {
    bytes: Source,
    /// `sysname`, `nodename`, `release`, `version`, `machine`, `domainname`.
    pub utsname: [String; 6],
    /// Seconds since 1970 of the crash.
    pub crash_time: i64,
    /// The status bits.
    pub status: u32,
    /// Page size of the dead kernel.
    pub page_size: usize,
    /// `NT_PRSTATUS` notes.
    pub nr_cpus: u32,
    /// `phys_base` of the sub header.
    pub phys_base: u64,
    /// The dump level that was in force.
    pub level: u32,
    /// One past the last page frame.
    pub max_mapnr: u64,
    /// The copied note segment.
    pub notes: Vec<u8>,
    /// The VMCOREINFO text; empty when there is no such note.
    pub vmcoreinfo: String,
    /// Both bitmaps as they are in the file: the pages that exist, and those that are in the dump.
    pub bitmaps: [Vec<u8>; 2],
    /// Pages of bitmap 1: those that exist.
    pub existing: Vec<u64>,
    /// Pages of bitmap 2, with their descriptors: those that are in the dump.
    pub descriptors: BTreeMap<u64, Descriptor>,
    /// First byte of the page data.
    pub data_start: u64,
}

impl Dump {
    /// Reads a dump file; an error names the first broken rule.
    ///
    /// # Errors
    /// When the file can't be read or breaks a rule of the format.
    pub fn open(path: &Path) -> Result<Self> {
        Self::parse_as(Source::open(path)?, true)
    }

    /// Reads a dump that is in memory.
    ///
    /// # Errors
    /// When it breaks a rule of the format.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        Self::parse_as(Source::Memory(bytes), true)
    }

    /// Reads a dump of a damaged kernel: what was copied from it (utsname, notes) may be anything, the rest may not.
    ///
    /// # Errors
    /// When it breaks a rule of the format.
    pub fn parse_damaged(bytes: Vec<u8>) -> Result<Self> {
        Self::parse_as(Source::Memory(bytes), false)
    }

    fn parse_as(source: Source, sane: bool) -> Result<Self> {
        let Some(bytes) = source.get(0, HEADER)? else {
            bail!("shorter than a header: {} bytes", source.len());
        };
        ensure!(&bytes[..8] == b"KDUMP   ", "signature {:?}", &bytes[..8]);
        ensure!(
            u32_at(&bytes, 8) == 6,
            "header version {}",
            u32_at(&bytes, 8)
        );
        let mut dump = Self::header(source, &bytes, sane)?;
        let (sub_blocks, bitmap_blocks) =
            (u32_at(&bytes, 432) as usize, u32_at(&bytes, 436) as usize);
        dump.sub_header(sub_blocks, u32_at(&bytes, 440), sane)?;
        let bitmap_start = (1 + sub_blocks) * dump.page_size;
        let kept = dump.bitmaps(bitmap_start, bitmap_blocks)?;
        dump.descriptors(bitmap_start + bitmap_blocks * dump.page_size, kept)?;
        dump.payloads()?;
        Ok(dump)
    }

    /// The pages that are in the dump.
    pub fn kept(&self) -> Vec<u64> {
        self.descriptors.keys().copied().collect()
    }

    /// Whether the dump says that it is complete.
    pub fn is_complete(&self) -> bool {
        self.status & INCOMPLETE == 0
    }

    /// The bytes of a page; `None` when it is not in the dump or was lost because the dump is incomplete.
    ///
    /// # Errors
    /// When the page doesn't decompress to exactly one page.
    pub fn page(&self, pfn: u64) -> Result<Option<Vec<u8>>> {
        let Some(&descriptor) = self.descriptors.get(&pfn) else {
            return Ok(None);
        };
        if descriptor.offset == 0 {
            return Ok(None);
        }
        self.decompress(descriptor)
            .map(Some)
            .with_context(|| format!("page {pfn:#x}"))
    }

    fn header(source: Source, bytes: &[u8], sane: bool) -> Result<Self> {
        let utsname = notes::utsname(&bytes[12..402], sane)?;
        let status = u32_at(bytes, 424);
        let page_size = u32_at(bytes, 428) as usize;
        ensure!(
            is_zero(&bytes[402..408]),
            "padding after utsname is not zero"
        );
        ensure!(u64_at(bytes, 416) == 0, "tv_usec {}", u64_at(bytes, 416));
        ensure!(
            [4096, 16384, 65536].contains(&page_size),
            "block_size {page_size}"
        );
        let blocks = source.get(0, 2 * page_size)?;
        let blocks = blocks.context("ends inside the headers")?;
        ensure!(
            status & !(ZLIB | LZO | SNAPPY | INCOMPLETE | ZSTD) == 0,
            "status {status:#x} has unknown bits"
        );
        ensure!(
            (status & !INCOMPLETE).count_ones() <= 1,
            "status {status:#x} names two compressions"
        );
        ensure!(
            is_zero(&bytes[444..460]),
            "the fields from total_ram_blocks to current_cpu are not zero"
        );
        ensure!(
            is_zero(&blocks[HEADER..page_size]),
            "the rest of the header block is not zero"
        );
        Ok(Self {
            utsname,
            crash_time: i64::from_le_bytes(bytes[408..416].try_into()?),
            status,
            page_size,
            nr_cpus: u32_at(bytes, 460),
            phys_base: 0,
            level: 0,
            max_mapnr: 0,
            notes: Vec::new(),
            vmcoreinfo: String::new(),
            bitmaps: Default::default(),
            existing: Vec::new(),
            descriptors: BTreeMap::new(),
            data_start: 0,
            bytes: source,
        })
    }

    fn sub_header(&mut self, sub_blocks: usize, short: u32, sane: bool) -> Result<()> {
        let sub = self.bytes.get(self.page_size as u64, SUB_HEADER)?;
        let sub = sub.context("ends inside the headers")?;
        let word = |at| u64_at(&sub, at);
        ensure!(
            word(8) >> 5 == 0,
            "dump_level {} with split {}",
            word(8) & 0xffff_ffff,
            word(8) >> 32
        );
        ensure!(is_zero(&sub[64..80]), "eraseinfo where none was written");
        self.max_mapnr = word(96);
        ensure!(
            u64::from(short) == self.max_mapnr.min(0xffff_ffff),
            "max_mapnr {short} and {}",
            self.max_mapnr
        );
        ensure!(
            [word(16), word(80)] == [0, 0],
            "start_pfn {} {} in a dump that is not split",
            word(16),
            word(80)
        );
        ensure!(
            [word(24), word(88)] == [0, 0]
                || [word(24), word(88)] == [u64::from(short), self.max_mapnr],
            "end_pfn {} {}",
            word(24),
            word(88)
        );
        let (at, size) = (word(48) as usize, word(56) as usize);
        ensure!(
            at == self.page_size + SUB_HEADER || (at, size) == (0, 0),
            "offset_note {at:#x}"
        );
        ensure!(
            sub_blocks == (SUB_HEADER + size).div_ceil(self.page_size),
            "{sub_blocks} blocks for notes of {size} bytes"
        );
        let notes = self
            .bytes
            .get(at as u64, size)?
            .context("notes beyond the end of the file")?;
        let (text_at, text_size) = (word(32) as usize, word(40) as usize);
        let (phys_base, level) = (word(0), u32_at(&sub, 8));
        let place = (text_at.wrapping_sub(at), text_size);
        if sane {
            notes::walk(&notes).check(self.nr_cpus, place)?;
        }
        if text_size != 0 {
            let text = notes.get(place.0..place.0.saturating_add(text_size));
            let text = text.context("VMCOREINFO is not inside the notes")?;
            self.vmcoreinfo = String::from_utf8_lossy(text)
                .trim_end_matches('\0')
                .to_owned();
        }
        self.notes = notes;
        self.phys_base = phys_base;
        self.level = level;
        Ok(())
    }

    fn bitmaps(&mut self, start: usize, blocks: usize) -> Result<Vec<u64>> {
        let half = (self.max_mapnr.div_ceil(8) as usize).div_ceil(self.page_size);
        ensure!(
            blocks == 2 * half,
            "bitmap_blocks {blocks} for {} pages",
            self.max_mapnr
        );
        let bits = self
            .bytes
            .get(start as u64, blocks * self.page_size)?
            .context("bitmaps beyond the end of the file")?;
        let (first, second) = bits.split_at(half * self.page_size);
        let (existing, kept) = (bit_numbers(first), bit_numbers(second));
        for bit in [existing.last(), kept.last()].into_iter().flatten() {
            ensure!(
                *bit < self.max_mapnr,
                "bit {bit:#x} at or beyond max_mapnr {:#x}",
                self.max_mapnr
            );
        }
        ensure!(
            first.iter().zip(second).all(|(a, b)| b & !a == 0),
            "bitmap 2 has pages that bitmap 1 has not"
        );
        self.existing = existing;
        self.bitmaps = [first.to_vec(), second.to_vec()];
        Ok(kept)
    }

    fn descriptors(&mut self, start: usize, kept: Vec<u64>) -> Result<()> {
        self.data_start = (start + DESCRIPTOR * kept.len()) as u64;
        for (index, pfn) in kept.into_iter().enumerate() {
            let descriptor = self
                .descriptor(start + index * DESCRIPTOR)
                .with_context(|| format!("page {pfn:#x}"))?;
            self.descriptors.insert(pfn, descriptor);
        }
        Ok(())
    }

    fn descriptor(&self, at: usize) -> Result<Descriptor> {
        let Some(raw) = self.bytes.get(at as u64, DESCRIPTOR)? else {
            ensure!(!self.is_complete(), "descriptor beyond the end of the file");
            return Ok(Descriptor::default());
        };
        let d = Descriptor {
            offset: u64_at(&raw, 0),
            size: u32_at(&raw, 8),
            flags: u32_at(&raw, 12),
            page_flags: u64_at(&raw, 16),
        };
        if d == Descriptor::default() && !self.is_complete() {
            return Ok(d);
        }
        ensure!(d.page_flags == 0, "page_flags {:#x}", d.page_flags);
        ensure!(
            d.offset >= self.data_start,
            "offset {:#x} is before the page data",
            d.offset
        );
        ensure!(
            d.offset + u64::from(d.size) <= self.bytes.len(),
            "data beyond the end of the file"
        );
        match d.flags {
            0 => ensure!(
                d.size as usize == self.page_size,
                "raw page of {} bytes",
                d.size
            ),
            ZLIB | LZO | SNAPPY | ZSTD => ensure!(
                (1..self.page_size as u32).contains(&d.size),
                "compressed to {} bytes",
                d.size
            ),
            flags => bail!("flags {flags:#x}"),
        }
        ensure!(
            d.flags == 0 || d.flags == self.status & !INCOMPLETE,
            "flags {:#x} in a dump of {:#x}",
            d.flags,
            self.status
        );
        Ok(d)
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&b| b == 0)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes)
}

fn c_string(field: &[u8]) -> Result<String> {
    let end = field.iter().position(|&b| b == 0).context("has no end")?;
    ensure!(is_zero(&field[end..]), "is not padded with zeros");
    Ok(String::from_utf8(field[..end].to_vec())?)
}

fn bit_numbers(bitmap: &[u8]) -> Vec<u64> {
    let bits = |(i, &byte): (usize, &u8)| {
        (0..8)
            .filter(move |bit| byte >> bit & 1 == 1)
            .map(move |bit| i as u64 * 8 + bit)
    };
    bitmap.iter().enumerate().flat_map(bits).collect()
}
