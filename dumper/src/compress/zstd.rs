//! zstd frames, with parameters chosen for each page.
//!
//! No one set of parameters for all pages is both faster and smaller than level 1. But pages are of few kinds. Where words repeat, most
//! bytes end up in matches: looking longer for those pays, coding the few literals that are left does not. Where they don't, the
//! literals are what counts. Parameters are those of libzstd 1.5; what they gain is in `docs/codecs.md`.

use super::Codec;
use super::look::Look;
use zstd_safe::{CCtx, CParameter, ParamSwitch, Strategy};

const LEVEL: i32 = 1;
/// The level of `zstd-fast`.
const FAST_LEVEL: i32 = -1;
/// A page with at most so many different words of those that are looked at repeats itself; with at most so many, it does in part.
const REPEATED: usize = 92;
const MIXED: usize = 112;
/// With so few words that have a zero byte in them, a page holds text or what was compressed: it may repeat itself in shorter pieces.
const FEW_ZEROS: usize = 40;
/// The hash tables have an entry for each byte of a page, between these powers of two: 16 to 64 KiB.
const MIN_HASH_LOG: u32 = 12;
const MAX_HASH_LOG: u32 = 14;

/// A compressor for each kind of page.
pub(super) struct Zstd {
    repeated: CCtx<'static>,
    mixed: CCtx<'static>,
    varied: CCtx<'static>,
}

impl Zstd {
    /// For pages of `page` bytes. `None` when there is no memory for it.
    pub(super) fn new(page: usize) -> Option<Self> {
        let log = page.max(1).ilog2().clamp(MIN_HASH_LOG, MAX_HASH_LOG);
        let hash = CParameter::HashLog(log);
        Some(Self {
            repeated: context(
                LEVEL,
                &[
                    CParameter::Strategy(Strategy::ZSTD_dfast),
                    CParameter::MinMatch(4),
                    CParameter::ChainLog(log),
                    hash,
                    CParameter::LiteralCompressionMode(ParamSwitch::Disable),
                ],
            )?,
            mixed: context(LEVEL, &[CParameter::MinMatch(4), hash])?,
            varied: context(LEVEL, &[hash])?,
        })
    }
}

fn context(level: i32, parameters: &[CParameter]) -> Option<CCtx<'static>> {
    let mut context = CCtx::try_create()?;
    context
        .set_parameter(CParameter::CompressionLevel(level))
        .ok()?;
    for parameter in parameters {
        context.set_parameter(*parameter).ok()?;
    }
    Some(context)
}

impl Codec for Zstd {
    fn bound(&self, page: usize) -> usize {
        zstd_safe::compress_bound(page)
    }

    fn compress(&mut self, page: &[u8], out: &mut [u8]) -> Option<usize> {
        let look = Look::at(page);
        let context = if look.different <= REPEATED {
            &mut self.repeated
        } else if look.different <= MIXED || look.with_zero <= FEW_ZEROS {
            &mut self.mixed
        } else {
            &mut self.varied
        };
        frame(context, page, out)
    }
}

/// A compressor for pages of any kind, for the least time.
pub(super) struct Fast(CCtx<'static>);

impl Fast {
    /// `None` when there is no memory for it.
    pub(super) fn new() -> Option<Self> {
        context(FAST_LEVEL, &[]).map(Self)
    }
}

impl Codec for Fast {
    fn bound(&self, page: usize) -> usize {
        zstd_safe::compress_bound(page)
    }

    fn compress(&mut self, page: &[u8], out: &mut [u8]) -> Option<usize> {
        frame(&mut self.0, page, out)
    }
}

fn frame(context: &mut CCtx<'static>, page: &[u8], out: &mut [u8]) -> Option<usize> {
    let len = context.compress2(out, page).ok()?;
    (len < page.len()).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::super::Decompressor;
    use super::*;

    #[test]
    fn pages_of_every_kind_and_size_come_back() {
        let mut open = Decompressor::default();
        for size in [4096, 16384, 65536] {
            let mut zstd = Zstd::new(size).unwrap();
            let mut out = vec![0; zstd.bound(size)];
            for kinds in [1, 3, 40, 100, 120, 128, 1 << 20] {
                let words = (0..size as u64 / 8).map(|i| (i % kinds).wrapping_mul(0x1_0003_0007));
                let page: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
                let len = zstd.compress(&page, &mut out).unwrap();
                let mut back = vec![0; size];
                open.decompress(0x20, &out[..len], &mut back).unwrap();
                assert_eq!(back, page, "{kinds} words in {size} bytes");
            }
        }
    }
}
