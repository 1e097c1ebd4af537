//! zstd frames, with parameters chosen for each page.
//!
//! One set of parameters for all pages is beaten by none that is both faster and smaller than level 1. But pages are of few kinds.
//! Where words repeat, most bytes end up in matches: looking longer for those pays, coding the few literals that are left does not.
//! Where they don't, the literals are what counts. So the words of a page are counted first, as different as they are.
//! Parameters are those of libzstd 1.5; what they gain is in `docs/codecs.md`.

use super::Codec;
use zstd_safe::{CCtx, CParameter, ParamSwitch, Strategy};

/// Words of a page that are looked at, at most.
const SAMPLE: usize = 128;
/// The words that were seen are remembered by their hash.
const SEEN_BITS: u32 = 7;
const HASH: u64 = 0x9E37_79B9_7F4A_7C15;
/// Of so many words that are looked at, at most so many different ones: a page that repeats itself; one that does so in part.
const OF: usize = 128;
const REPEATED: usize = 92;
const MIXED: usize = 112;
const DENSE: usize = 40;
/// The lowest bit of each byte.
const LOWEST: u64 = 0x0101_0101_0101_0101;
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
            repeated: context(&[
                CParameter::Strategy(Strategy::ZSTD_dfast),
                CParameter::MinMatch(4),
                CParameter::ChainLog(log),
                hash,
                CParameter::LiteralCompressionMode(ParamSwitch::Disable),
            ])?,
            mixed: context(&[CParameter::MinMatch(4), hash])?,
            varied: context(&[hash])?,
        })
    }
}

fn context(parameters: &[CParameter]) -> Option<CCtx<'static>> {
    let mut context = CCtx::try_create()?;
    context.set_parameter(CParameter::CompressionLevel(1)).ok()?;
    for parameter in parameters {
        context.set_parameter(*parameter).ok()?;
    }
    Some(context)
}

/// What a look at some words of a page tells, scaled to [`OF`] words.
struct Look {
    /// Different words.
    different: usize,
    /// Words with a byte that is zero.
    with_zero: usize,
}

impl Look {
    fn at(page: &[u8]) -> Self {
        let step = (page.len() / 8).div_ceil(SAMPLE).max(1);
        let mut seen = [0; 1 << SEEN_BITS];
        let (mut looked, mut different, mut with_zero) = (0, 0, 0);
        for sample in page.chunks_exact(8 * step) {
            let word = sample.first_chunk().map_or(0, |w| u64::from_le_bytes(*w));
            let place = (word.wrapping_mul(HASH) >> (64 - SEEN_BITS)) as usize & (seen.len() - 1);
            looked += 1;
            different += usize::from(seen[place] != word);
            seen[place] = word;
            let zeros = word.wrapping_sub(LOWEST) & !word & (LOWEST << 7);
            with_zero += usize::from(zeros != 0);
        }
        let scaled = |count| count * OF / looked.max(1);
        Self {
            different: scaled(different),
            with_zero: scaled(with_zero),
        }
    }
}

impl Codec for Zstd {
    fn bound(&self, page: usize) -> usize {
        zstd_safe::compress_bound(page)
    }

    fn compress(&mut self, page: &[u8], out: &mut [u8]) -> Option<usize> {
        let look = Look::at(page);
        let context = if look.different <= REPEATED {
            &mut self.repeated
        } else if look.different <= MIXED || look.with_zero <= DENSE {
            &mut self.mixed
        } else {
            &mut self.varied
        };
        let len = context.compress2(out, page).ok()?;
        (len < page.len()).then_some(len)
    }
}
