//! How many pages of a set lie before a page: the number of its descriptor.

use super::Bitmap;

/// Pages that are counted together.
const STEP: u64 = 4096;

/// Counts at every [`STEP`] pages of one bitmap; a 64th of its size.
#[derive(Debug)]
pub struct Rank {
    before: Vec<u64>,
}

impl Rank {
    /// Counts `map`; `None` when the memory is not there.
    #[must_use]
    pub fn new(map: &Bitmap) -> Option<Self> {
        let steps = map.len().div_ceil(STEP);
        let mut before = Vec::new();
        before
            .try_reserve_exact(usize::try_from(steps).ok()?)
            .ok()?;
        let mut sum = 0;
        for step in 0..steps {
            before.push(sum);
            sum += map.count_range(step * STEP, (step + 1) * STEP);
        }
        Some(Self { before })
    }

    /// How many pages of `map`, the bitmap that was counted, lie before `pfn`.
    #[must_use]
    pub fn of(&self, map: &Bitmap, pfn: u64) -> u64 {
        let step = (pfn / STEP).min((self.before.len() as u64).saturating_sub(1));
        let before = usize::try_from(step).ok().and_then(|i| self.before.get(i));
        before.copied().unwrap_or(0) + map.count_range(step * STEP, pfn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_lies_before() {
        let mut map = Bitmap::new(20_001).unwrap();
        for pfn in (0..20_001).filter(|p| p % 7 == 3 || (5000..9000).contains(p)) {
            map.set_range(pfn, pfn + 1);
        }
        let rank = Rank::new(&map).unwrap();
        for pfn in [
            0, 1, 4, 4095, 4096, 4097, 8999, 12_288, 20_000, 20_001, 30_000,
        ] {
            assert_eq!(rank.of(&map, pfn), map.count_range(0, pfn), "{pfn}");
        }
        assert_eq!(Rank::new(&Bitmap::new(0).unwrap()).unwrap().before.len(), 0);
    }
}
