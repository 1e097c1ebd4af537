//! Medians and spreads of what was measured.

use super::measure::Sample;
use std::fmt;

pub(super) const WALL: &str = "wall";
pub(super) const CPU: &str = "CPU";
pub(super) const RSS: &str = "RSS";
pub(super) const BYTES: &str = "bytes";

/// The median of some numbers, between the smallest and the largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) middle: f64,
    least: f64,
    most: f64,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Seconds,
    Megabytes,
    Rate,
    Bytes,
}

impl Spread {
    /// Of seconds.
    pub(super) fn seconds(numbers: impl Iterator<Item = f64>) -> Self {
        Self::of(numbers, Unit::Seconds)
    }

    /// Of bytes, or of other things that are counted.
    pub(super) fn bytes(numbers: impl Iterator<Item = f64>) -> Self {
        Self::of(numbers, Unit::Bytes)
    }

    /// Of megabytes a second.
    pub(super) fn rate(numbers: impl Iterator<Item = f64>) -> Self {
        Self::of(numbers, Unit::Rate)
    }

    fn of(numbers: impl Iterator<Item = f64>, unit: Unit) -> Self {
        let mut sorted: Vec<_> = numbers.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        Self {
            middle: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            least: at(0),
            most: at(last),
            unit,
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            middle,
            least,
            most,
            unit,
        } = self;
        match unit {
            Unit::Seconds => write!(f, "{middle:.3} s ({least:.3}-{most:.3})"),
            Unit::Megabytes => write!(f, "{middle:.1} MB ({least:.1}-{most:.1})"),
            Unit::Rate => write!(f, "{middle:.1} MB/s ({least:.1}-{most:.1})"),
            Unit::Bytes if least == most => write!(f, "{middle:.0}"),
            Unit::Bytes => write!(f, "{middle:.0} ({least:.0}-{most:.0})"),
        }
    }
}

/// What a program took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) wall: Spread,
    pub(super) cpu: Spread,
    pub(super) rss: Spread,
    pub(super) bytes: Spread,
}

impl Figures {
    pub(super) fn of(samples: &[Sample]) -> Self {
        let of = |figure: fn(&Sample) -> f64, unit| Spread::of(samples.iter().map(figure), unit);
        Self {
            wall: of(|sample| sample.wall, Unit::Seconds),
            cpu: of(|sample| sample.cpu, Unit::Seconds),
            rss: of(|sample| sample.rss / 1e6, Unit::Megabytes),
            bytes: of(|sample| sample.bytes, Unit::Bytes),
        }
    }

    /// All with their names.
    pub(super) fn rows(&self) -> [(&'static str, Spread); 4] {
        [
            (WALL, self.wall),
            (CPU, self.cpu),
            (RSS, self.rss),
            (BYTES, self.bytes),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(numbers: &[f64]) -> Spread {
        Spread::seconds(numbers.iter().copied())
    }

    #[test]
    fn medians() {
        assert_eq!(spread(&[3.0, 1.0, 9.0]).middle, 3.0);
        assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]).middle, 3.0);
        assert_eq!(spread(&[7.0]).middle, 7.0);
        assert!(spread(&[]).middle.is_nan());
        assert_eq!(
            spread(&[3.0, 1.0, 9.0]).to_string(),
            "3.000 s (1.000-9.000)"
        );
    }
}
