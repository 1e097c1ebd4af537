//! One bit per page frame number, in the order of the file: bit 0 of byte 0 is pfn 0.

/// A set of pfns below a limit.
#[derive(Debug, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    len: u64,
}

impl Bitmap {
    /// An empty set of pfns below `len`; `None` when the memory is not there.
    #[must_use]
    pub fn new(len: u64) -> Option<Self> {
        let count = usize::try_from(len.div_ceil(64)).ok()?;
        let mut words = Vec::new();
        words.try_reserve_exact(count).ok()?;
        words.resize(count, 0);
        Some(Self { words, len })
    }

    /// The limit: pfns are below it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// No pfn fits in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `pfn` is in the set.
    #[must_use]
    pub fn get(&self, pfn: u64) -> bool {
        pfn < self.len && self.words[index(pfn / 64)] >> (pfn % 64) & 1 != 0
    }

    /// Adds the pfns from `start` up to but not including `end`; what is beyond the limit is left out.
    pub fn set_range(&mut self, start: u64, end: u64) {
        for_words(start, end.min(self.len), |word, mask| {
            self.words[word] |= mask
        });
    }

    /// Removes the pfns from `start` up to but not including `end` and says how many of them were in the set.
    pub fn clear_range(&mut self, start: u64, end: u64) -> u64 {
        let mut cleared = 0;
        for_words(start, end.min(self.len), |word, mask| {
            cleared += u64::from((self.words[word] & mask).count_ones());
            self.words[word] &= !mask;
        });
        cleared
    }

    /// Lowers the limit and removes what is above it.
    pub fn shrink(&mut self, len: u64) {
        self.clear_range(len, self.len);
        self.len = self.len.min(len);
        self.words.truncate(index(self.len.div_ceil(64)));
    }

    /// How many pfns are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words.iter().map(|w| u64::from(w.count_ones())).sum()
    }

    /// The smallest pfn in the set that is not below `pfn`.
    #[must_use]
    pub fn next(&self, pfn: u64) -> Option<u64> {
        if pfn >= self.len {
            return None;
        }
        let mut word = index(pfn / 64);
        let mut bits = self.words[word] & (u64::MAX << (pfn % 64));
        while bits == 0 {
            word += 1;
            bits = *self.words.get(word)?;
        }
        Some(word as u64 * 64 + u64::from(bits.trailing_zeros()))
    }

    /// The smallest pfn from `pfn` on that is not in the set; the limit when there is none.
    #[must_use]
    pub fn next_clear(&self, pfn: u64) -> u64 {
        let mut word = index(pfn / 64);
        let mut mask = u64::MAX << (pfn % 64);
        while let Some(bits) = self.words.get(word) {
            let clear = !bits & mask;
            if clear != 0 {
                return (word as u64 * 64 + u64::from(clear.trailing_zeros())).min(self.len);
            }
            mask = u64::MAX;
            word += 1;
        }
        self.len
    }

    /// The smallest pfn of `pfn..end` that is not in the set; `end` when there is none. At least `pfn + 1` for a pfn in the set.
    #[must_use]
    pub fn next_clear_below(&self, pfn: u64, end: u64) -> u64 {
        let mut at = pfn;
        while at < end {
            let ones = self
                .words
                .get(index(at / 64))
                .map_or(0, |word| (word >> (at % 64)).trailing_ones());
            at += u64::from(ones);
            if ones == 0 || !at.is_multiple_of(64) {
                break;
            }
        }
        at.min(end)
    }

    /// How many pfns of `start..end` are in the set.
    #[must_use]
    pub fn count_range(&self, start: u64, end: u64) -> u64 {
        let mut count = 0;
        for_words(start, end.min(self.len), |word, mask| {
            count += u64::from((self.words[word] & mask).count_ones());
        });
        count
    }

    /// Makes this set a copy of `other`, as far as its limit goes.
    pub fn copy_from(&mut self, other: &Self) {
        self.words.fill(0);
        for (word, from) in self.words.iter_mut().zip(&other.words) {
            *word = *from;
        }
        if let Some(last) = self
            .words
            .last_mut()
            .filter(|_| !self.len.is_multiple_of(64))
        {
            *last &= u64::MAX >> (64 - self.len % 64);
        }
    }

    /// Sets the bits of `bytes`, which stand for the pfns from `8 * at` on; bits beyond the limit are left out. `false` when such a
    /// bit is set.
    pub fn load_bytes(&mut self, at: u64, bytes: &[u8]) -> bool {
        let mut inside = true;
        for (byte, offset) in bytes.iter().zip(at..) {
            let left = self.len.saturating_sub(offset.saturating_mul(8)).min(8);
            let beyond = if left == 8 { 0 } else { u8::MAX << left };
            inside &= byte & beyond == 0;
            if let Some(word) = self.words.get_mut(index(offset / 8)) {
                *word |= u64::from(byte & !beyond) << (offset % 8 * 8);
            }
        }
        inside
    }

    /// The smallest pfn that is here but not in `other`.
    #[must_use]
    pub fn first_not_in(&self, other: &Self) -> Option<u64> {
        let words = self
            .words
            .iter()
            .zip(other.words.iter().chain(std::iter::repeat(&0)));
        let (word, bits) = words
            .map(|(a, b)| a & !b)
            .enumerate()
            .find(|(_, bits)| *bits != 0)?;
        Some(word as u64 * 64 + u64::from(bits.trailing_zeros()))
    }

    /// Fills `buf` with the bytes of the map from byte `at` on; beyond its end they are zeros.
    pub fn copy_bytes(&self, at: u64, buf: &mut [u8]) {
        for (byte, offset) in buf.iter_mut().zip(at..) {
            let word = self.words.get(index(offset / 8)).copied().unwrap_or(0);
            *byte = word.to_le_bytes()[index(offset % 8)];
        }
    }
}

/// Calls `f` with each word and the mask of the bits of `start..end` in it.
fn for_words(start: u64, end: u64, mut f: impl FnMut(usize, u64)) {
    let mut at = start;
    while at < end {
        let stop = (at - at % 64).saturating_add(64).min(end);
        let mask = (u64::MAX << (at % 64)) & (u64::MAX >> ((64 - stop % 64) % 64));
        f(index(at / 64), mask);
        at = stop;
    }
}

/// An index below a length that fitted `usize` when the map was made.
fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set(ops in prop::collection::vec((any::<bool>(), 0u64..400, 0u64..400), 0..40), len in 1u64..300) {
            let mut map = Bitmap::new(len).unwrap();
            let mut set = BTreeSet::new();
            for (add, a, b) in ops {
                let range = a.min(b)..a.max(b);
                if add {
                    map.set_range(range.start, range.end);
                    set.extend(range.filter(|p| *p < len));
                } else {
                    let cleared = map.clear_range(range.start, range.end);
                    let before = set.len();
                    set.retain(|p| !range.contains(p));
                    prop_assert_eq!(cleared, (before - set.len()) as u64);
                }
            }
            prop_assert_eq!(map.count(), set.len() as u64);
            let mut walked = Vec::new();
            let mut at = 0;
            while let Some(pfn) = map.next(at) {
                walked.push(pfn);
                at = pfn + 1;
            }
            prop_assert_eq!(&walked, &set.iter().copied().collect::<Vec<_>>());
            let mut bytes = [0; 64];
            map.copy_bytes(0, &mut bytes);
            for pfn in 0..512u64 {
                let bit = bytes[usize::try_from(pfn / 8).unwrap()] >> (pfn % 8) & 1 != 0;
                prop_assert_eq!(bit, set.contains(&pfn));
            }
            let mut loaded = Bitmap::new(len).unwrap();
            prop_assert!(loaded.load_bytes(0, &bytes));
            prop_assert_eq!(&loaded, &map);
            prop_assert_eq!(map.first_not_in(&loaded), None);
            let first = map.next(0);
            prop_assert_eq!(map.first_not_in(&Bitmap::new(len).unwrap()), first);
            prop_assert!(!loaded.load_bytes(len / 8, &[0xff, 0xff]));
            let mut copy = Bitmap::new(len / 3).unwrap();
            copy.set_range(0, len);
            copy.copy_from(&map);
            prop_assert_eq!(copy.count(), map.count_range(0, len / 3));
            for pfn in 0..len {
                let clear = (pfn..len).find(|p| !set.contains(p)).unwrap_or(len);
                prop_assert_eq!(map.next_clear(pfn), clear);
            }
            map.shrink(len / 2);
            prop_assert_eq!(map.count(), set.range(..len / 2).count() as u64);
        }
    }
}
