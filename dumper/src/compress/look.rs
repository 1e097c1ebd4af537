//! A look at a page before it is compressed: of what kind it is.

/// Words of a page that are looked at, at most, and the number that counts are scaled to.
const SAMPLE: usize = 128;
/// The words that were seen are remembered by their hash.
const SEEN_BITS: u32 = 7;
const HASH: u64 = 0x9E37_79B9_7F4A_7C15;
/// The lowest bit of each byte.
const LOWEST: u64 = 0x0101_0101_0101_0101;

/// What a look at some words of a page tells, scaled to [`SAMPLE`] words.
pub(super) struct Look {
    /// Different words.
    pub(super) different: usize,
    /// Words with a byte that is zero.
    pub(super) with_zero: usize,
}

impl Look {
    pub(super) fn at(page: &[u8]) -> Self {
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
        let scaled = |count| count * SAMPLE / looked.max(1);
        Self {
            different: scaled(different),
            with_zero: scaled(with_zero),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(word: impl Fn(u64) -> u64) -> (usize, usize) {
        let page: Vec<u8> = (0..512).flat_map(|i| word(i).to_le_bytes()).collect();
        let look = Look::at(&page);
        (look.different, look.with_zero)
    }

    #[test]
    fn words_are_counted() {
        assert_eq!(look(|_| 0), (0, 128));
        assert_eq!(look(|_| 7), (1, 128));
        assert_eq!(look(|_| u64::MAX), (1, 0));
        assert_eq!(look(|i| i + 1), (128, 128));
        assert_eq!(look(|i| u64::MAX - i), (128, 0));
        let (different, _) = look(|i| (1 << 40) | (i / 4 % 8));
        assert!((8..64).contains(&different), "{different}");
        assert_eq!(Look::at(&[]).different, 0);
        assert_eq!(Look::at(&[1; 64]).different, 16);
    }
}
