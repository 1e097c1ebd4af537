//! An encoder for LZO1X blocks, as the kernel's Documentation/staging/lzo.rst describes the format: one table of what was seen last, no
//! search behind it. Fast, and about as small as makedumpfile's LZO1X-1.
//!
//! The small functions are inlined by force: the crate is built for size, and LZO took twice as long without.

use zerocopy::FromZeros;

const HASH_BITS: u32 = 12;
/// Shortest match that is looked for.
const SHORTEST: usize = 4;
/// After so many bytes without a match (a power of two) each step is one longer.
const PATIENCE: u32 = 5;
/// Farthest match whose code has two bytes, and three.
const NEAR: usize = 0x800;
const MIDDLE: usize = 0x4000;
/// Farthest match of all.
const FAR: usize = 0xbfff;
/// A match without length at the distance that ends a block.
const END: [u8; 3] = [0x11, 0, 0];

/// An encoder, with its memory.
pub(super) struct Encoder {
    seen: Box<[u16; 1 << HASH_BITS]>,
}

impl Encoder {
    /// `None` when there is no memory.
    pub(super) fn new() -> Option<Self> {
        Some(Self {
            seen: <[u16; 1 << HASH_BITS]>::new_box_zeroed().ok()?,
        })
    }

    /// Compresses a page of at most 64 KiB; `None` when `out` has not enough room.
    pub(super) fn compress(&mut self, page: &[u8], out: &mut [u8]) -> Option<usize> {
        self.seen.fill(0);
        let mut block = Block {
            out,
            at: 0,
            page,
            anchor: 0,
        };
        let mut at = 1;
        while let Some(word) = word(page, at) {
            let hash = (word.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize;
            let place = self.seen.get_mut(hash)?;
            let from = usize::from(*place);
            *place = u16::try_from(at).ok()?;
            if from >= at || at - from > FAR || self::word(page, from) != Some(word) {
                at += 1 + ((at - block.anchor) >> PATIENCE);
                continue;
            }
            let len = SHORTEST + same(page.get(from + SHORTEST..)?, page.get(at + SHORTEST..)?);
            block.literals(at)?;
            block.matched(at - from, len)?;
            at += len;
            block.anchor = at;
        }
        block.literals(page.len())?;
        block.put(&END)?;
        Some(block.at)
    }
}

#[inline(always)]
fn word(page: &[u8], at: usize) -> Option<u32> {
    let bytes = page.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// How many bytes two slices begin with alike.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> usize {
    let mut len = 0;
    let ((a, _), (b, _)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return len + (differ.trailing_zeros() >> 3) as usize;
        }
        len += 8;
    }
    len
}

/// A block that is being written.
struct Block<'a> {
    out: &'a mut [u8],
    at: usize,
    page: &'a [u8],
    /// Where the literals begin that are not written yet.
    anchor: usize,
}

impl Block<'_> {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at + bytes.len();
        self.out.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    /// Writes the literals before `end`.
    #[inline(always)]
    fn literals(&mut self, end: usize) -> Option<()> {
        let literals = self.page.get(self.anchor..end)?;
        match literals.len() {
            0 => {}
            len if self.at == 0 && len <= 238 => self.put(&[17 + u8::try_from(len).ok()?])?,
            // Up to three are counted in the last two bits but eight of the match before.
            len @ 1..=3 => *self.out.get_mut(self.at.checked_sub(2)?)? |= u8::try_from(len).ok()?,
            len @ ..=18 => self.put(&[u8::try_from(len - 3).ok()?])?,
            len => {
                self.put(&[0])?;
                self.rest(len - 18)?;
            }
        }
        self.put(literals)
    }

    /// Writes what a length has more than its code holds.
    fn rest(&mut self, mut rest: usize) -> Option<()> {
        while rest > 255 {
            self.put(&[0])?;
            rest -= 255;
        }
        self.put(&[u8::try_from(rest).ok()?])
    }

    #[inline(always)]
    fn matched(&mut self, distance: usize, len: usize) -> Option<()> {
        let byte = |number: usize| u8::try_from(number).ok();
        if len <= 8 && distance <= NEAR {
            let distance = distance - 1;
            let code = byte(((len - 1) << 5) | ((distance & 7) << 2))?;
            return self.put(&[code, byte(distance >> 3)?]);
        }
        let (code, longest, distance) = if distance <= MIDDLE {
            (0x20, 33, distance - 1)
        } else {
            let high = ((distance - MIDDLE) >> 14 & 1) << 3;
            (0x10 | byte(high)?, 9, (distance - MIDDLE) & 0x3fff)
        };
        if len <= longest {
            self.put(&[code | byte(len - 2)?])?;
        } else {
            self.put(&[code])?;
            self.rest(len - longest)?;
        }
        self.put(&u16::try_from(distance << 2).ok()?.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random bytes and repetitions of what came before, of all lengths and distances.
    fn page(size: usize, seed: u64) -> Vec<u8> {
        let mut x = seed;
        let mut random = move |below: usize| {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(x >> 33).unwrap() % below
        };
        let mut page = Vec::new();
        while page.len() < size {
            let most = [4, 20, 300, 5000][random(4)];
            let len = 1 + random(most);
            if random(2) == 0 || page.is_empty() {
                page.extend(
                    std::iter::repeat_with(|| u8::try_from(random(256)).unwrap()).take(len),
                );
            } else {
                let distance = 1 + random(page.len());
                for _ in 0..len {
                    page.push(page[page.len() - distance]);
                }
            }
        }
        page.truncate(size);
        page
    }

    #[test]
    fn decoders_give_every_page_back() {
        let mut encoder = Encoder::new().unwrap();
        let mut check = |page: &[u8]| {
            let mut out = vec![0; page.len() + page.len() / 16 + 67];
            let len = encoder.compress(page, &mut out).unwrap();
            let mut back = vec![0; page.len()];
            let opened = lzokay::decompress::decompress(&out[..len], &mut back).unwrap();
            assert_eq!((opened, &back[..]), (page.len(), page));
            assert_eq!(encoder.compress(page, &mut out[..len - 1]), None);
            len
        };
        for seed in 0..300 {
            for size in [4096, 16384, 65536] {
                check(&page(size, seed));
            }
        }
        // Every number of literals before and between matches, and every length of a match.
        for run in 1..600 {
            let noise = page(4096, 7);
            let mut bytes = noise[..run].to_vec();
            bytes.extend([0; 300].iter().take(run % 290 + 9));
            bytes.extend(&noise[1000..1000 + run]);
            bytes.extend([0; 40]);
            bytes.extend(&noise[..run % 5]);
            check(&bytes);
        }
        assert!(check(&[0; 4096]) < 40);
    }
}
