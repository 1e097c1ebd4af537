//! One vmcore at one level: both dumps made, read by the strict reader, and compared.

use super::options::Codec;
use super::reference::Reference;
use ::tests::dump_reader::{Descriptor, Dump};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A page that is in one of the dumps only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Odd {
    pub(super) pfn: u64,
    /// Whether our dump has it.
    pub(super) ours: bool,
}

/// In what two dumps differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// Of the headers, sentences.
    pub(super) facts: Vec<String>,
    /// Pages of the first bitmap.
    pub(super) exist: Vec<Odd>,
    /// Pages of the second bitmap.
    pub(super) kept: Vec<Odd>,
    /// Pages that both keep, and one as a page of zeros.
    pub(super) zero: Vec<Odd>,
    /// Pages that both keep, with other bytes.
    pub(super) bytes: Vec<u64>,
}

/// What two dumps hold.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) differences: Differences,
    pub(super) max_mapnr: u64,
    /// Our bitmaps.
    pub(super) ours: [Vec<u8>; 2],
    /// makedumpfile's second bitmap; `None` when it made no dump.
    pub(super) theirs: Option<Vec<u8>>,
    /// Pages in our dump.
    pub(super) pages: usize,
    /// Why makedumpfile made no dump.
    pub(super) refused: Option<String>,
}

/// How dumps are made.
#[derive(Debug)]
pub(super) struct Makers {
    pub(super) ours: PathBuf,
    pub(super) strict: bool,
    pub(super) codec: Codec,
}

impl Makers {
    /// Makes and compares the two dumps in `dir`, which are removed then.
    ///
    /// # Errors
    /// When ours cannot be made or a dump breaks a rule of the format.
    pub(super) fn compare(
        &self,
        vmcore: &Path,
        reference: &Reference,
        level: u8,
        dir: &Path,
    ) -> Result<Compared> {
        let files = [dir.join("ours"), dir.join("theirs")];
        let result = self.both(vmcore, reference, level, dir, &files);
        for file in files.iter().filter(|file| file.exists()) {
            fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        result
    }

    fn both(
        &self,
        vmcore: &Path,
        reference: &Reference,
        level: u8,
        dir: &Path,
        [a, b]: &[PathBuf; 2],
    ) -> Result<Compared> {
        self.make_ours(vmcore, level, a)?;
        let refused = self.make_theirs(reference, vmcore, level, dir, b).err();
        let ours = Dump::open(a).context("our dump")?;
        let mut compared = Compared {
            differences: Differences::default(),
            max_mapnr: ours.max_mapnr,
            pages: ours.descriptors.len(),
            ours: ours.bitmaps.clone(),
            theirs: None,
            refused: refused.map(|error| format!("{error:#}")),
        };
        if compared.refused.is_none() {
            let theirs = Dump::open(b).context("the dump of makedumpfile")?;
            compared.differences = differences(&ours, &theirs)?;
            compared.theirs = Some(theirs.bitmaps[1].clone());
        }
        Ok(compared)
    }

    fn make_ours(&self, vmcore: &Path, level: u8, dump: &Path) -> Result<()> {
        let mut command = Command::new(&self.ours);
        command.args(["dump", "--force", "--threads", "0", "--message-level", "4"]);
        command.args(["--level", &level.to_string(), "--compress", self.codec.name]);
        if self.strict {
            command.arg("--strict-makedumpfile");
        }
        qemu::run_tool(command.arg(vmcore).arg(dump), &[0]).map(drop)
    }

    /// `--work-dir` makes it keep whole bitmaps, in a file there: a run in cycles treats incomplete last pages of segments differently.
    fn make_theirs(
        &self,
        reference: &Reference,
        vmcore: &Path,
        level: u8,
        dir: &Path,
        dump: &Path,
    ) -> Result<()> {
        let mut command = reference.command()?;
        command.arg("--work-dir").arg(dir);
        command.args(["-f", "--message-level", "4", "-d", &level.to_string()]);
        command.args(self.codec.letter);
        qemu::run_tool(command.arg(vmcore).arg(dump), &[0]).map(drop)
    }
}

fn differences(ours: &Dump, theirs: &Dump) -> Result<Differences> {
    let mut found = Differences {
        facts: facts(ours, theirs),
        ..Differences::default()
    };
    ensure!(
        ours.max_mapnr == theirs.max_mapnr && ours.page_size == theirs.page_size,
        "{}",
        found.facts.join("; ")
    );
    for (odd, map) in [(&mut found.exist, 0), (&mut found.kept, 1)] {
        *odd = odd_bits(&ours.bitmaps[map], &theirs.bitmaps[map]);
    }
    for (pfn, a) in &ours.descriptors {
        let Some(b) = theirs.descriptors.get(pfn) else {
            continue;
        };
        let zero = is_shared(ours, a);
        if zero != is_shared(theirs, b) {
            found.zero.push(Odd {
                pfn: *pfn,
                ours: zero,
            });
        }
        if ours.page(*pfn)? != theirs.page(*pfn)? {
            found.bytes.push(*pfn);
        }
    }
    Ok(found)
}

/// Whether a page is the shared page of zeros.
fn is_shared(dump: &Dump, descriptor: &Descriptor) -> bool {
    dump.level & 1 != 0 && descriptor.offset == dump.data_start && descriptor.flags == 0
}

/// What the headers say differently.
fn facts(ours: &Dump, theirs: &Dump) -> Vec<String> {
    let facts = |dump: &Dump| {
        [
            ("max_mapnr", format!("{:#x}", dump.max_mapnr)),
            ("page size", dump.page_size.to_string()),
            ("status", format!("{:#x}", dump.status)),
            ("utsname", format!("{:?}", dump.utsname)),
            ("crash time", dump.crash_time.to_string()),
            ("CPUs", dump.nr_cpus.to_string()),
            ("phys_base", format!("{:#x}", dump.phys_base)),
            ("dump level", dump.level.to_string()),
            (
                "notes",
                format!("{} bytes, {:x?}", dump.notes.len(), sum(&dump.notes)),
            ),
        ]
    };
    let pairs = facts(ours).into_iter().zip(facts(theirs));
    pairs
        .filter(|(a, b)| a != b)
        .map(|((name, a), (_, b))| format!("{name}: {a}, makedumpfile {b}"))
        .collect()
}

fn sum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Bits that two bitmaps of one length have not in common.
pub(super) fn odd_bits(ours: &[u8], theirs: &[u8]) -> Vec<Odd> {
    let mut odd = Vec::new();
    for (index, (a, b)) in ours.iter().zip(theirs).enumerate() {
        for bit in (0..8).filter(|bit| (a ^ b) >> bit & 1 != 0) {
            odd.push(Odd {
                pfn: index as u64 * 8 + bit,
                ours: a >> bit & 1 != 0,
            });
        }
    }
    odd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_one_side() {
        let odd = odd_bits(&[0b0000_0101, 0x80], &[0b0000_0110, 0x80]);
        assert_eq!(
            odd,
            [
                Odd { pfn: 0, ours: true },
                Odd {
                    pfn: 1,
                    ours: false
                }
            ]
        );
    }
}
