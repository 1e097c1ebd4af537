//! The bars: how small a ratio to makedumpfile is aimed at.

use super::figures::{BYTES, CPU, RSS, WALL};
use super::options::Codec;
use std::fmt;

/// From this size on a vmcore is that of a large machine: 12 GiB.
pub(super) const LARGE: u64 = 12 << 30;

/// What both programs do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) codec: Codec,
    pub(super) level: u8,
    pub(super) threads: usize,
    /// Of a large machine.
    pub(super) large: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = match self.threads {
            0 => "no worker threads".into(),
            1 => "1 worker thread".into(),
            many => format!("{many} worker threads"),
        };
        write!(f, "level {}, {}, {threads}", self.level, self.codec.ours)
    }
}

/// A figure, and the largest ratio that is good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) figure: &'static str,
    pub(super) most: f64,
}

impl Bar {
    const fn new(figure: &'static str, most: f64) -> Self {
        Self { figure, most }
    }

    /// The bars of a case.
    pub(super) fn of(case: &Case) -> Vec<Self> {
        let mut bars = match (case.codec.ours, case.level, case.threads) {
            ("zstd", 31, 0) => vec![Self::new(CPU, 0.70), Self::new(BYTES, 1.0)],
            ("zlib", 31, 0) => vec![Self::new(CPU, 0.55), Self::new(BYTES, 1.02)],
            ("snappy", 31, 0) => vec![Self::new(WALL, 0.70)],
            ("zstd", 0 | 1, 0) => vec![Self::new(WALL, 0.65)],
            ("zstd", 31, 2) if case.large => vec![Self::new(WALL, 0.45)],
            ("zstd", 1, 2) if case.large => vec![Self::new(WALL, 0.35)],
            _ => Vec::new(),
        };
        if case.threads == 0 {
            bars.push(Self::new(RSS, 0.25));
        }
        bars
    }

    /// In words, what a ratio is.
    pub(super) fn judge(self, ratio: f64) -> String {
        let word = if ratio <= self.most {
            "reached"
        } else {
            "not reached"
        };
        format!("at most {:.2}: {word}", self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::CODECS;
    use super::*;

    fn bars(name: &str, level: u8, threads: usize, large: bool) -> Vec<(&'static str, f64)> {
        let codec = CODECS.into_iter().find(|codec| codec.ours == name).unwrap();
        let case = Case {
            codec,
            level,
            threads,
            large,
        };
        let pair = |bar: Bar| (bar.figure, bar.most);
        Bar::of(&case).into_iter().map(pair).collect()
    }

    #[test]
    fn each_case_has_its_own() {
        assert_eq!(
            bars("zlib", 31, 0, false),
            [(CPU, 0.55), (BYTES, 1.02), (RSS, 0.25)]
        );
        assert_eq!(bars("zstd", 1, 2, true), [(WALL, 0.35)]);
        assert_eq!(bars("zstd", 1, 2, false), []);
        assert_eq!(bars("lzo", 31, 0, false), [(RSS, 0.25)]);
    }

    #[test]
    fn the_bar_itself_is_good() {
        let bar = Bar::new(CPU, 0.7);
        assert_eq!(bar.judge(0.7), "at most 0.70: reached");
        assert_eq!(bar.judge(0.701), "at most 0.70: not reached");
    }
}
