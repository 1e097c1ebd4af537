//! The data area of a dump: where the pages are in it, and their bytes.

use super::{Descriptor, Dump, LZO, ZLIB, ZSTD, is_zero, lzo};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

impl Dump {
    /// The data area: the shared zero page at its start, payloads that don't overlap, nothing after the last one, every page whole.
    pub(super) fn payloads(&self) -> Result<()> {
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
            let zero = self.bytes.get(self.data_start, self.page_size)?;
            ensure!(
                zero.is_some_and(|bytes| is_zero(&bytes)),
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
            end == self.bytes.len() || !self.is_complete(),
            "file of {} bytes, data end at {end}",
            self.bytes.len()
        );
        Ok(())
    }

    pub(super) fn decompress(&self, d: Descriptor) -> Result<Vec<u8>> {
        let input = self.bytes.get(d.offset, d.size as usize)?;
        let input = input.context("data beyond the end of the file")?;
        let mut page = vec![0; self.page_size];
        let len = match d.flags {
            0 => return Ok(input),
            ZSTD => zstd_safe::decompress(&mut page[..], &input)
                .map_err(|code| anyhow::anyhow!("zstd: {}", zstd_safe::get_error_name(code)))?,
            ZLIB => {
                let (out, code) =
                    zlib_rs::decompress_slice(&mut page, &input, zlib_rs::InflateConfig::default());
                ensure!(code == zlib_rs::ReturnCode::Ok, "zlib: {code:?}");
                out.len()
            }
            LZO => lzo::decompress(&input, &mut page).context("LZO")?,
            _ => snap::raw::Decoder::new()
                .decompress(&input, &mut page)
                .context("snappy")?,
        };
        ensure!(len == self.page_size, "{len} bytes after decompression");
        Ok(page)
    }
}
