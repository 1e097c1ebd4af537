//! Explaining differences: the rules are recomputed for either side, and what differs must be what is known to differ.

use super::known::Known;
use super::model::{Drop, Model};
use super::pair::{Compared, Odd};
use super::show;
use anyhow::Result;
use std::collections::BTreeMap;

/// Pages of a level that are shown of what is not explained; the others are only counted.
const SHOWN: usize = 20;
/// The same of each known difference.
const SHOWN_KNOWN: usize = 3;

/// What became of the differences of a level.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// Pages by the known difference that they are.
    pub(super) known: BTreeMap<Known, usize>,
    /// Pages and facts that nothing explains.
    pub(super) unexplained: usize,
    /// Pages in which the rules, recomputed, are not what was found.
    pub(super) model: usize,
    /// The pages one by one, and everything that is not explained.
    pub(super) text: Vec<String>,
}

/// Who makes which choices.
pub(super) struct Sides<'a> {
    pub(super) model: &'a Model<'a>,
    pub(super) ours: &'a [Known],
    pub(super) theirs: &'a [Known],
}

/// The rules recomputed with some quirks.
struct Side {
    kept: Vec<u8>,
    drops: Vec<Drop>,
}

impl Side {
    fn keeps(&self, pfn: u64) -> bool {
        let byte = usize::try_from(pfn / 8)
            .ok()
            .and_then(|at| self.kept.get(at));
        byte.is_some_and(|byte| byte >> (pfn % 8) & 1 != 0)
    }
}

impl Sides<'_> {
    fn side(&self, level: u8, quirks: &[Known], exists: &[u8]) -> Result<Side> {
        Ok(Side {
            kept: self.model.bitmap(level, quirks, exists)?,
            drops: self.model.drops(level, quirks)?,
        })
    }

    /// Judges what was found at a level.
    ///
    /// # Errors
    /// When the struct pages cannot be read.
    pub(super) fn judge(&self, level: u8, compared: &Compared) -> Result<Judged> {
        let mut judged = Judged::default();
        self.others(compared, &mut judged);
        let exists = &compared.ours[0];
        let ours = self.side(level, self.ours, exists)?;
        judged.model += differ(&ours.kept, &compared.ours[1]);
        let Some(kept) = &compared.theirs else {
            // There is nothing to compare with but the rules.
            judged.unexplained += judged.model;
            return Ok(judged);
        };
        let theirs = self.side(level, self.theirs, exists)?;
        judged.model += differ(&theirs.kept, kept);
        let odd = &compared.differences.kept;
        if odd.is_empty() {
            return Ok(judged);
        }
        let single = self.single(level, exists)?;
        let mut shown: BTreeMap<Option<Known>, usize> = BTreeMap::new();
        for Odd { pfn, ours: kept } in odd {
            let right = ours.keeps(*pfn) == *kept && theirs.keeps(*pfn) != *kept;
            let why = single.iter().find(|(_, side)| side.keeps(*pfn) == *kept);
            let why = why.map(|(known, _)| *known).filter(|_| right);
            match why {
                Some(known) => *judged.known.entry(known).or_default() += 1,
                None => judged.unexplained += 1,
            }
            let count = shown.entry(why).or_default();
            *count += 1;
            if *count <= shown_of(why) {
                let rules = [(self.ours, &ours), (self.theirs, &theirs)].map(|(quirks, side)| {
                    let rule = self.model.rule(level, quirks, &side.drops, *pfn)?;
                    Ok(show::rule(*pfn, rule))
                });
                let [a, b] =
                    rules.map(|rule: Result<String>| rule.unwrap_or_else(|e| format!("{e:#}")));
                let fields = show::fields(self.model, self.ours, *pfn)?;
                let seen = show::fields(self.model, self.theirs, *pfn)?;
                judged.text.push(format!(
                    "level {level:2} pfn {pfn:#x}: {} keeps it, {}\n{fields}\n    baredump: {a}{}\n    makedumpfile: {b}",
                    if *kept { "baredump" } else { "makedumpfile" },
                    why.map_or("UNEXPLAINED".into(), |known| format!("known: {}", known.name())),
                    if seen == fields {
                        String::new()
                    } else {
                        format!("\n    makedumpfile reads\n{seen}")
                    },
                ));
            }
        }
        for (why, count) in shown {
            let more = count.saturating_sub(shown_of(why));
            if more > 0 {
                let name = why.map_or("unexplained", Known::name);
                judged
                    .text
                    .push(format!("level {level:2}: {more} more, {name}"));
            }
        }
        Ok(judged)
    }

    /// makedumpfile's rules, each time without one quirk that the other side has not.
    fn single(&self, level: u8, exists: &[u8]) -> Result<Vec<(Known, Side)>> {
        let only = self
            .theirs
            .iter()
            .filter(|known| !self.ours.contains(known));
        let without = |known: &Known| {
            let rest: Vec<_> = self.theirs.iter().copied().filter(|k| k != known).collect();
            Ok((*known, self.side(level, &rest, exists)?))
        };
        only.map(without).collect()
    }

    /// Differences that no rule on pages can explain.
    fn others(&self, compared: &Compared, judged: &mut Judged) {
        let found = &compared.differences;
        let lists = [
            ("exists only for", &found.exist),
            ("is a page of zeros only for", &found.zero),
        ];
        judged.unexplained += found.facts.len() + found.bytes.len();
        judged.text.extend(found.facts.iter().cloned());
        for (what, odd) in lists {
            judged.unexplained += odd.len();
            judged.text.extend(odd.iter().take(SHOWN).map(|odd| {
                let who = if odd.ours { "baredump" } else { "makedumpfile" };
                format!("pfn {:#x} {what} {who}", odd.pfn)
            }));
        }
        let bytes = found.bytes.iter().take(SHOWN);
        judged
            .text
            .extend(bytes.map(|pfn| format!("pfn {pfn:#x} has other bytes")));
    }
}

fn shown_of(why: Option<Known>) -> usize {
    why.map_or(SHOWN, |_| SHOWN_KNOWN)
}

fn differ(a: &[u8], b: &[u8]) -> usize {
    let bits = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones() as usize);
    bits.sum()
}
