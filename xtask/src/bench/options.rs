//! Options of `bench`.

use crate::Stop;
use anyhow::Result;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;

/// The vmcore that is taken when none is named.
pub(super) const VMCORE: &str = "6.1";
/// Where dumps are written when nothing else is said: memory, so that no disk is measured.
pub(super) const MEMORY: &str = "/dev/shm";
const RUNS: usize = 5;

const HELP: &str = "\
usage: ./x bench [OPTIONS] [VMCORE|NAME...]
       ./x bench --codecs [OPTIONS] [VMCORE|NAME...]
       ./x bench --outage [--runs N]
       ./x bench --reach [--runs N]

Makes dumps of each vmcore with baredump and with makedumpfile in turn, from a warm page cache, and prints time, processor
time, peak memory and bytes of both, their ratios, and the ratios that are aimed at. Nothing else should run meanwhile.
A NAME stands for those of the lab's vmcores (see ./x vmcores) that have it in their names; without any 6.1 is taken.

  --codecs         instead: bytes and time of each of baredump's codecs and presets, as in docs/codecs.md
  --outage         instead: panics of a Debian machine until its reset, with kdump-tools and its own makedumpfile, and
                   with baredump, default codec and zstd-fast, in turn; needs root
  --reach          instead: panics of a virtual machine whose dump goes to an SSH and to an NFS server on this host, with
                   baredump, with makedumpfile into ssh, and with dd; needs root
  --peer FILE      this makedumpfile, not the newest packaged one
  --ours FILE      this baredump, not the one that is built
  --runs N         runs of each (5; panics: 3)
  --codec LIST     zstd, zlib, snappy, lzo, none (zstd,zlib,snappy)
  --level LIST     dump levels (31,1,0; with --codecs only the first counts)
  --threads LIST   worker threads (0,2); with some, makedumpfile also without, and its best counts
  --out DIR        where dumps are written (/dev/shm)

Exit codes: 0 measured, whatever the ratios, 1 a program failed, 2 usage.";

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum What {
    /// Both programs.
    #[default]
    Both,
    /// Codecs of baredump.
    Codecs,
    /// A machine that panics.
    Outage,
    /// Dumps to servers.
    Reach,
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) what: What,
    pub(super) vmcores: Vec<PathBuf>,
    pub(super) peer: Option<PathBuf>,
    pub(super) ours: Option<PathBuf>,
    pub(super) runs: Option<usize>,
    pub(super) codecs: Vec<Codec>,
    pub(super) levels: Vec<u8>,
    pub(super) threads: Vec<usize>,
    pub(super) out: Option<PathBuf>,
}

/// How both store pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Codec {
    /// Its name in `baredump dump --compress`.
    pub(super) ours: &'static str,
    /// Its letter in makedumpfile.
    pub(super) letter: Option<&'static str>,
}

const fn codec(ours: &'static str, letter: Option<&'static str>) -> Codec {
    Codec { ours, letter }
}

pub(super) const CODECS: [Codec; 5] = [
    codec("zstd", Some("-z")),
    codec("zlib", Some("-c")),
    codec("snappy", Some("-p")),
    codec("lzo", Some("-l")),
    codec("none", None),
];

impl Default for Options {
    fn default() -> Self {
        Self {
            what: What::Both,
            vmcores: Vec::new(),
            peer: None,
            ours: None,
            runs: None,
            codecs: CODECS.into_iter().take(3).collect(),
            levels: vec![31, 1, 0],
            threads: vec![0, 2],
            out: None,
        }
    }
}

impl Options {
    /// Takes in `args`; `None`: the help was asked for and is printed.
    ///
    /// # Errors
    /// When they are not understood.
    pub(super) fn parse(args: Vec<OsString>) -> Result<Option<Self>> {
        let mut options = Self::default();
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(argument) = parser.next().map_err(usage)? {
            match argument {
                Long("codecs") => options.what = What::Codecs,
                Long("outage") => options.what = What::Outage,
                Long("reach") => options.what = What::Reach,
                Long("peer") => options.peer = Some(text(&mut parser)?.into()),
                Long("ours") => options.ours = Some(text(&mut parser)?.into()),
                Long("out") => options.out = Some(text(&mut parser)?.into()),
                Long("runs") => {
                    let runs = list(&mut parser, "number from 1", |word| {
                        word.parse().ok().filter(|runs| *runs > 0)
                    })?;
                    options.runs = runs.last().copied();
                }
                Long("codec") => {
                    options.codecs = list(&mut parser, "compression of both programs", |word| {
                        CODECS.into_iter().find(|codec| codec.ours == word)
                    })?;
                }
                Long("level") => {
                    options.levels = list(&mut parser, "dump level", |word| {
                        word.parse().ok().filter(|level| *level <= 31)
                    })?;
                }
                Long("threads") => {
                    let threads = |word: &str| word.parse().ok();
                    options.threads = list(&mut parser, "number of threads", threads)?;
                }
                Short('h') | Long("help") => {
                    println!("{HELP}");
                    return Ok(None);
                }
                Value(file) => options.vmcores.push(file.into()),
                other => return Err(usage(other.unexpected())),
            }
        }
        Ok(Some(options))
    }

    /// Runs of each program.
    pub(super) fn runs(&self) -> usize {
        self.runs.unwrap_or(RUNS)
    }
}

fn usage(error: lexopt::Error) -> anyhow::Error {
    Stop::new(format!("{error}\n\n{HELP}"))
}

fn text(parser: &mut lexopt::Parser) -> Result<String> {
    parser.value().and_then(ValueExt::string).map_err(usage)
}

/// A list of values, separated by commas.
fn list<T>(
    parser: &mut lexopt::Parser,
    what: &str,
    value: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>> {
    let text = text(parser)?;
    let each = |word: &str| {
        value(word).ok_or_else(|| Stop::new(format!("`{word}` is no {what}\n\n{HELP}")))
    };
    text.split(',').map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Option<Options>> {
        Options::parse(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn lists_and_files() {
        let options = parsed(&[
            "--codec",
            "zlib,none",
            "--level=0,31",
            "--threads",
            "2",
            "a",
        ]);
        let options = options.unwrap().unwrap();
        let names: Vec<_> = options.codecs.iter().map(|codec| codec.ours).collect();
        assert_eq!(names, ["zlib", "none"]);
        assert_eq!((options.levels, options.threads), (vec![0, 31], vec![2]));
        assert_eq!(options.vmcores, [PathBuf::from("a")]);
        assert_eq!(options.runs, None);
        assert_eq!(parsed(&["--runs", "9"]).unwrap().unwrap().runs(), 9);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for bad in [
            ["--codec", "zstd-fast"],
            ["--level", "32"],
            ["--runs", "0"],
            ["--threads", "x"],
            ["--codec", ""],
        ] {
            let error = parsed(&bad).unwrap_err();
            assert!(error.is::<Stop>(), "{bad:?}");
            assert!(error.to_string().contains(bad[1]), "{bad:?}");
        }
    }
}
