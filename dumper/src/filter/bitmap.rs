//! One bit per page frame number, in the order of the file: bit 0 of byte 0 is pfn 0.

/// A set of pfns below a limit: of all of them, or of a window.
#[derive(Debug, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    /// Number of the first word.
    first: u64,
    /// One past the last pfn that fits.
    end: u64,
}

impl Bitmap {
    /// An empty set of pfns below `len`; `None` when the memory is not there.
    #[must_use]
    pub fn new(len: u64) -> Option<Self> {
        let count = usize::try_from(len.div_ceil(64)).ok()?;
        let mut words = Vec::new();
        words.try_reserve_exact(count).ok()?;
        words.resize(count, 0);
        Some(Self {
            words,
            first: 0,
            end: len,
        })
    }

    /// Empties the set and makes it a window that begins at pfn `start`, a multiple of 64, and ends at `end`, which must not be further
    /// away than the limit that the set was made with.
    pub fn move_to(&mut self, start: u64, end: u64) {
        self.words.fill(0);
        self.first = start / 64;
        let room = (self.first + self.words.len() as u64).saturating_mul(64);
        self.end = end.min(room);
    }

    /// The limit: pfns are below it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.end
    }

    /// The smallest pfn that fits.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.first * 64
    }

    /// No pfn fits in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end <= self.start()
    }

    /// The word of `pfn`, which is not below the window.
    fn word(&self, pfn: u64) -> usize {
        index(pfn / 64 - self.first)
    }

    /// Whether `pfn` is in the set.
    #[must_use]
    pub fn get(&self, pfn: u64) -> bool {
        (self.start()..self.end).contains(&pfn) && self.words[self.word(pfn)] >> (pfn % 64) & 1 != 0
    }

    /// Adds the pfns from `start` up to but not including `end`; what is outside is left out.
    pub fn set_range(&mut self, start: u64, end: u64) {
        let first = self.first;
        for_words(start.max(self.start()), end.min(self.end), |word, mask| {
            self.words[index(word - first)] |= mask
        });
    }

    /// Removes the pfns from `start` up to but not including `end` and says how many of them were in the set.
    pub fn clear_range(&mut self, start: u64, end: u64) -> u64 {
        let (mut cleared, first) = (0, self.first);
        for_words(start.max(self.start()), end.min(self.end), |word, mask| {
            let word = &mut self.words[index(word - first)];
            cleared += u64::from((*word & mask).count_ones());
            *word &= !mask;
        });
        cleared
    }

    /// How many pfns are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words.iter().map(|w| u64::from(w.count_ones())).sum()
    }

    /// The smallest pfn in the set that is not below `pfn`.
    #[must_use]
    pub fn next(&self, pfn: u64) -> Option<u64> {
        let pfn = pfn.max(self.start());
        if pfn >= self.end {
            return None;
        }
        let mut word = self.word(pfn);
        let mut bits = self.words[word] & (u64::MAX << (pfn % 64));
        while bits == 0 {
            word += 1;
            bits = *self.words.get(word)?;
        }
        Some(self.start() + word as u64 * 64 + u64::from(bits.trailing_zeros()))
    }

    /// The smallest pfn of `pfn..end` that is not in the set; `end` when there is none. At least `pfn + 1` for a pfn in the set.
    #[must_use]
    pub fn next_clear_below(&self, pfn: u64, end: u64) -> u64 {
        let mut at = pfn;
        while at < end && at >= self.start() {
            let ones = self
                .words
                .get(self.word(at))
                .map_or(0, |word| (word >> (at % 64)).trailing_ones());
            at += u64::from(ones);
            if ones == 0 || !at.is_multiple_of(64) {
                break;
            }
        }
        at.min(end)
    }

    /// The smallest pfn from `pfn` on that is not in the set; the limit when there is none.
    #[must_use]
    pub fn next_clear(&self, pfn: u64) -> u64 {
        self.next_clear_below(pfn, self.end).max(pfn.min(self.end))
    }

    /// How many pfns of `start..end` are in the set.
    #[must_use]
    pub fn count_range(&self, start: u64, end: u64) -> u64 {
        let mut count = 0;
        for_words(start.max(self.start()), end.min(self.end), |word, mask| {
            count += u64::from((self.words[index(word - self.first)] & mask).count_ones());
        });
        count
    }

    /// Makes this set a copy of `other`, as far as both go.
    pub fn copy_from(&mut self, other: &Self) {
        for (word, number) in self.words.iter_mut().zip(self.first..) {
            let from = number.checked_sub(other.first);
            let from = from.and_then(|at| other.words.get(index(at)));
            *word = from.copied().unwrap_or(0);
        }
        let end = self.end;
        self.end = (self.first + self.words.len() as u64).saturating_mul(64);
        self.clear_range(end, self.end);
        self.end = end;
    }

    /// Takes over what `part`, a window within this one, says of its pfns.
    pub fn paste(&mut self, part: &Self) {
        for (word, number) in part.words.iter().zip(part.first..) {
            let here = number.checked_sub(self.first).map(index);
            if let Some(place) = here.and_then(|here| self.words.get_mut(here)) {
                *place = *word;
            }
        }
    }

    /// Sets the bits of `bytes`, which stand for the pfns from `8 * at` on; bits outside are left out. `false` when such a
    /// bit is set.
    pub fn load_bytes(&mut self, at: u64, bytes: &[u8]) -> bool {
        let (mut inside, mut at) = (true, at);
        let head = index(at.next_multiple_of(8) - at).min(bytes.len());
        let (head, rest) = bytes.split_at(head);
        for part in std::iter::once(head).chain(rest.chunks(8)) {
            let word = <[u8; 8]>::try_from(part).unwrap_or_else(|_| {
                let (mut word, skip) = ([0; 8], index(at % 8));
                word[skip..skip + part.len()].copy_from_slice(part);
                word
            });
            let (bits, number) = (u64::from_le_bytes(word), at / 8);
            let left = self.end.saturating_sub(number.saturating_mul(64)).min(64);
            let beyond = u64::MAX.checked_shl(left as u32).unwrap_or(0);
            inside &= bits & beyond == 0;
            let here = number.checked_sub(self.first);
            match here.and_then(|here| self.words.get_mut(index(here))) {
                Some(word) => *word |= bits & !beyond,
                None => inside &= bits == 0,
            }
            at += part.len() as u64;
        }
        inside
    }

    /// The smallest pfn that is here but not in `other`; both begin at the same pfn.
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
        Some(self.start() + word as u64 * 64 + u64::from(bits.trailing_zeros()))
    }

    /// Its words: bit 0 of the first one is [`Bitmap::start`].
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Fills `buf` with the bytes of the map from byte `at` on; outside they are zeros.
    pub fn copy_bytes(&self, at: u64, buf: &mut [u8]) {
        let head = index(at.next_multiple_of(8) - at).min(buf.len());
        let (head, rest) = buf.split_at_mut(head);
        let mut at = at;
        for part in std::iter::once(head).chain(rest.chunks_mut(8)) {
            let word = (at / 8).checked_sub(self.first);
            let word = word.and_then(|word| self.words.get(index(word)));
            let bytes = word.copied().unwrap_or(0).to_le_bytes();
            match <&mut [u8; 8]>::try_from(&mut *part) {
                Ok(whole) => *whole = bytes,
                Err(_) => {
                    let skip = index(at % 8);
                    part.copy_from_slice(&bytes[skip..skip + part.len()]);
                }
            }
            at += part.len() as u64;
        }
    }
}

/// Calls `f` with the number of each word and the mask of the bits of `start..end` in it.
fn for_words(start: u64, end: u64, mut f: impl FnMut(u64, u64)) {
    let mut at = start;
    while at < end {
        let stop = (at - at % 64).saturating_add(64).min(end);
        let mask = (u64::MAX << (at % 64)) & (u64::MAX >> ((64 - stop % 64) % 64));
        f(at / 64, mask);
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
            let (from, count) = (usize::try_from(len % 11).unwrap(), usize::try_from(len % 31).unwrap());
            let mut part = vec![0; count];
            map.copy_bytes(len % 11, &mut part);
            prop_assert_eq!(&part, &bytes[from..from + count]);
            let mut loaded = Bitmap::new(len).unwrap();
            prop_assert!(loaded.load_bytes(len % 11, &part) && loaded.load_bytes(0, &bytes[..from]));
            prop_assert!(loaded.load_bytes((len % 11) + count as u64, &bytes[from + count..]));
            prop_assert_eq!(&loaded, &map);
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
            // A window is the set as far as it goes.
            let (start, end) = (len / 3 / 64 * 64, len - len / 4);
            let mut window = Bitmap::new(len).unwrap();
            window.set_range(0, len);
            window.move_to(start, end);
            prop_assert_eq!(window.count(), 0);
            window.copy_from(&map);
            let inside: Vec<_> = set.iter().copied().filter(|p| (start..end).contains(p)).collect();
            prop_assert_eq!(window.count(), inside.len() as u64);
            prop_assert_eq!(window.next(0), inside.first().copied());
            prop_assert_eq!(window.count_range(0, len), inside.len() as u64);
            let mut bytes = [0; 64];
            window.copy_bytes(0, &mut bytes);
            let mut again = Bitmap::new(len).unwrap();
            again.move_to(start, end);
            again.set_range(0, len);
            prop_assert_eq!(again.clear_range(0, len), end.saturating_sub(start));
            prop_assert!(again.load_bytes(0, &bytes));
            for pfn in 0..len + 70 {
                prop_assert_eq!(window.get(pfn), inside.contains(&pfn));
                prop_assert_eq!(again.get(pfn), inside.contains(&pfn));
            }
        }
    }
}
