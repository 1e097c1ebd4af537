//! A strict reader of kdump-compressed dumps (makedumpfile's format, header version 6, 64-bit little-endian layout).
//!
//! It shares no code with `baredump`, so that both can't be wrong in the same way. Whatever the format leaves open to readers but
//! makedumpfile always does, is demanded here.

mod notes;

use anyhow::{Context, Result, bail, ensure};
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
    bytes: Vec<u8>,
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
        Self::parse(std::fs::read(path).with_context(|| path.display().to_string())?)
    }

    /// Reads a dump that is in memory.
    ///
    /// # Errors
    /// When it breaks a rule of the format.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        Self::parse_as(bytes, true)
    }

    /// Reads a dump of a damaged kernel: what was copied from it (utsname, notes) may be anything, the rest may not.
    ///
    /// # Errors
    /// When it breaks a rule of the format.
    pub fn parse_damaged(bytes: Vec<u8>) -> Result<Self> {
        Self::parse_as(bytes, false)
    }

    fn parse_as(bytes: Vec<u8>, sane: bool) -> Result<Self> {
        ensure!(
            bytes.len() >= HEADER,
            "shorter than a header: {} bytes",
            bytes.len()
        );
        ensure!(&bytes[..8] == b"KDUMP   ", "signature {:?}", &bytes[..8]);
        ensure!(
            u32_at(&bytes, 8) == 6,
            "header version {}",
            u32_at(&bytes, 8)
        );
        let mut dump = Self::header(bytes, sane)?;
        let (sub_blocks, bitmap_blocks) = (
            u32_at(&dump.bytes, 432) as usize,
            u32_at(&dump.bytes, 436) as usize,
        );
        dump.sub_header(sub_blocks, sane)?;
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

    fn header(bytes: Vec<u8>, sane: bool) -> Result<Self> {
        let utsname = notes::utsname(&bytes[12..402], sane)?;
        let status = u32_at(&bytes, 424);
        let page_size = u32_at(&bytes, 428) as usize;
        ensure!(
            is_zero(&bytes[402..408]),
            "padding after utsname is not zero"
        );
        ensure!(u64_at(&bytes, 416) == 0, "tv_usec {}", u64_at(&bytes, 416));
        ensure!(
            [4096, 16384, 65536].contains(&page_size),
            "block_size {page_size}"
        );
        ensure!(bytes.len() >= 2 * page_size, "ends inside the headers");
        ensure!(
            status & !(ZLIB | 2 | SNAPPY | INCOMPLETE | ZSTD) == 0,
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
            is_zero(&bytes[HEADER..page_size]),
            "the rest of the header block is not zero"
        );
        Ok(Self {
            utsname,
            crash_time: i64::from_le_bytes(bytes[408..416].try_into()?),
            status,
            page_size,
            nr_cpus: u32_at(&bytes, 460),
            phys_base: 0,
            level: 0,
            max_mapnr: 0,
            notes: Vec::new(),
            vmcoreinfo: String::new(),
            existing: Vec::new(),
            descriptors: BTreeMap::new(),
            data_start: 0,
            bytes,
        })
    }

    fn sub_header(&mut self, sub_blocks: usize, sane: bool) -> Result<()> {
        let sub = &self.bytes[self.page_size..][..SUB_HEADER];
        let word = |at| u64_at(sub, at);
        ensure!(
            word(8) >> 5 == 0,
            "dump_level {} with split {}",
            word(8) & 0xffff_ffff,
            word(8) >> 32
        );
        ensure!(is_zero(&sub[64..80]), "eraseinfo where none was written");
        self.max_mapnr = word(96);
        let short = u32_at(&self.bytes, 440);
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
            .get(at..at + size)
            .context("notes beyond the end of the file")?
            .to_vec();
        let (text_at, text_size) = (word(32) as usize, word(40) as usize);
        let (phys_base, level) = (word(0), u32_at(sub, 8));
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
            .get(start..start + blocks * self.page_size)
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
        let Some(raw) = self.bytes.get(at..at + DESCRIPTOR) else {
            ensure!(!self.is_complete(), "descriptor beyond the end of the file");
            return Ok(Descriptor::default());
        };
        let d = Descriptor {
            offset: u64_at(raw, 0),
            size: u32_at(raw, 8),
            flags: u32_at(raw, 12),
            page_flags: u64_at(raw, 16),
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
            d.offset + u64::from(d.size) <= self.bytes.len() as u64,
            "data beyond the end of the file"
        );
        match d.flags {
            0 => ensure!(
                d.size as usize == self.page_size,
                "raw page of {} bytes",
                d.size
            ),
            ZLIB | SNAPPY | ZSTD => ensure!(
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

    /// The data area: the shared zero page at its start, payloads that don't overlap, nothing after the last one, every page whole.
    fn payloads(&self) -> Result<()> {
        let mut places = BTreeMap::new();
        for (pfn, d) in self.descriptors.iter().filter(|(_, d)| d.offset != 0) {
            let bytes = self
                .decompress(*d)
                .with_context(|| format!("page {pfn:#x}"))?;
            let shared = d.offset == self.data_start && d.flags == 0;
            if self.level & 1 != 0 {
                ensure!(
                    shared == is_zero(&bytes),
                    "page {pfn:#x}: zero pages, and only they, share the page at the data start"
                );
            }
            let known = places.insert(d.offset, d.size);
            ensure!(
                known.is_none() || shared || is_zero(&bytes),
                "page {pfn:#x} shares the bytes of another page"
            );
        }
        if self.level & 1 != 0 && self.is_complete() {
            let zero = self
                .bytes
                .get(self.data_start as usize..)
                .and_then(|b| b.get(..self.page_size));
            ensure!(
                zero.is_some_and(is_zero),
                "no shared zero page at the data start"
            );
            places.insert(self.data_start, self.page_size as u32);
        }
        let mut end = self.data_start;
        for (offset, size) in places {
            ensure!(offset >= end, "two pages overlap at {offset:#x}");
            ensure!(
                offset == end || !self.is_complete(),
                "{} unused bytes before {offset:#x}",
                offset - end
            );
            end = offset + u64::from(size);
        }
        ensure!(
            end == self.bytes.len() as u64 || !self.is_complete(),
            "file of {} bytes, data end at {end}",
            self.bytes.len()
        );
        Ok(())
    }

    fn decompress(&self, d: Descriptor) -> Result<Vec<u8>> {
        let input = &self.bytes[d.offset as usize..][..d.size as usize];
        let mut page = vec![0; self.page_size];
        let len = match d.flags {
            0 => return Ok(input.to_vec()),
            ZSTD => zstd_safe::decompress(&mut page[..], input)
                .map_err(|code| anyhow::anyhow!("zstd: {}", zstd_safe::get_error_name(code)))?,
            ZLIB => {
                let (out, code) =
                    zlib_rs::decompress_slice(&mut page, input, zlib_rs::InflateConfig::default());
                ensure!(code == zlib_rs::ReturnCode::Ok, "zlib: {code:?}");
                out.len()
            }
            _ => snap::raw::Decoder::new()
                .decompress(input, &mut page)
                .context("snappy")?,
        };
        ensure!(len == self.page_size, "{len} bytes after decompression");
        Ok(page)
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
