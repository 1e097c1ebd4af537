//! The table of a comparison: a line for each vmcore and each range of levels with the same result.

use super::judge::Judged;
use super::known::Known;
use anyhow::Result;
use std::collections::BTreeMap;

/// One vmcore at one level.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) judged: Judged,
    /// Why makedumpfile cannot read this vmcore: compared with its rules then.
    pub(super) refused: Option<Known>,
    /// Pages in our dump.
    pub(super) pages: usize,
}

/// A vmcore.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// Kernel, architecture and configuration.
    pub(super) machine: String,
    /// Version of makedumpfile.
    pub(super) reference: String,
}

/// All of them.
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    /// By row and level.
    pub(super) outcomes: BTreeMap<(usize, u8), Result<Outcome>>,
    pub(super) seconds: f64,
}

impl Table {
    pub(super) fn print(&self) {
        for (index, row) in self.rows.iter().enumerate() {
            println!(
                "{} ({}), makedumpfile {}",
                row.name, row.machine, row.reference
            );
            for (levels, words) in self.ranges(index) {
                println!("    levels {levels:<12} {words}");
            }
        }
        println!("{}, {:.0} s", self.line(), self.seconds);
    }

    /// Ranges of levels with the same result.
    fn ranges(&self, index: usize) -> Vec<(String, String)> {
        let mut ranges: Vec<(u8, u8, String)> = Vec::new();
        let own = self.outcomes.iter().filter(|((row, _), _)| *row == index);
        for ((_, level), outcome) in own {
            let words = words(outcome);
            match ranges.last_mut() {
                Some((_, last, known)) if *last + 1 == *level && *known == words => *last = *level,
                _ => ranges.push((*level, *level, words)),
            }
        }
        let named = |from: u8, to: u8| {
            if from == to {
                from.to_string()
            } else {
                format!("{from}-{to}")
            }
        };
        ranges
            .into_iter()
            .map(|(from, to, words)| (named(from, to), words))
            .collect()
    }

    /// Whether a level has an unknown difference or could not be compared.
    pub(super) fn failed(&self) -> bool {
        let good = |outcome: &Result<Outcome>| {
            outcome
                .as_ref()
                .is_ok_and(|outcome| outcome.judged.unexplained == 0)
        };
        self.outcomes.is_empty() || !self.outcomes.values().all(good)
    }

    /// All of it in a line.
    pub(super) fn line(&self) -> String {
        let done = || self.outcomes.values().flatten();
        let known: usize = done()
            .flat_map(|outcome| outcome.judged.known.values())
            .sum();
        let unexplained: usize = done().map(|outcome| outcome.judged.unexplained).sum();
        let broken = self
            .outcomes
            .values()
            .filter(|outcome| outcome.is_err())
            .count();
        let mut line = format!(
            "{} vmcores, {} comparisons of {} pages: {unexplained} differences",
            self.rows.len(),
            done().count(),
            done().map(|outcome| outcome.pages).sum::<usize>(),
        );
        if known > 0 {
            line += &format!(", {known} known ones");
        }
        if broken > 0 {
            line += &format!(", {broken} could not be compared");
        }
        line
    }
}

/// The result of a level.
fn words(outcome: &Result<Outcome>) -> String {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => return format!("not compared: {error:#}"),
    };
    let judged = &outcome.judged;
    let mut words = vec![judged.unexplained.to_string()];
    words.extend(
        judged
            .known
            .iter()
            .map(|(known, count)| format!("{} ({count} pages)", known.name())),
    );
    words.extend(
        outcome
            .refused
            .map(|why| format!("to its rules; it reads no such vmcore ({})", why.name())),
    );
    if judged.model != 0 {
        words.push(format!("{} pages are not as the rules say", judged.model));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(unexplained: usize, waiters: usize) -> Result<Outcome> {
        let known = (waiters > 0).then_some((Known::Waiters, waiters));
        Ok(Outcome {
            judged: Judged {
                known: known.into_iter().collect(),
                unexplained,
                ..Judged::default()
            },
            refused: None,
            pages: 10,
        })
    }

    fn table(outcomes: Vec<Result<Outcome>>) -> Table {
        let row = Row {
            name: "6.1".into(),
            machine: String::new(),
            reference: String::new(),
        };
        Table {
            rows: vec![row],
            outcomes: outcomes
                .into_iter()
                .zip(0..)
                .map(|(o, level)| ((0, level), o))
                .collect(),
            seconds: 0.0,
        }
    }

    #[test]
    fn only_unknown_differences_fail() {
        let good = table(vec![outcome(0, 0), outcome(0, 0), outcome(0, 7)]);
        assert!(!good.failed());
        let ranges: Vec<_> = good
            .ranges(0)
            .into_iter()
            .map(|(levels, _)| levels)
            .collect();
        assert_eq!(ranges, ["0-1", "2"]);
        assert!(good.line().contains("0 differences, 7 known ones"));
        assert!(table(vec![outcome(0, 0), outcome(1, 0)]).failed());
        assert!(table(vec![Err(anyhow::anyhow!("no dump"))]).failed());
        assert!(table(Vec::new()).failed());
    }
}
