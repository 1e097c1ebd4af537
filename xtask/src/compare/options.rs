//! Options of `compare`.

use super::reference::Arch;
use crate::Stop;
use anyhow::Result;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;

const HELP: &str = "\
usage: ./x compare [OPTIONS] [VMCORE|NAME...]

Dumps each vmcore at every dump level with makedumpfile and with baredump, and compares what is in the dumps.
A NAME stands for those of the lab's vmcores (see ./x vmcores) that have it in their names, none for all of them.
They are made when they are not there.

  --ci                      of the lab's vmcores only those that are compared in every test
  --reference [ARCH=]FILE   this makedumpfile (for vmcores of ARCH: x86_64, arm64), not the newest packaged one
  --ours FILE               this baredump, not the one that is built
  --levels LIST             these dump levels, such as 0-31 (which is the default) or 1,8-15
  --compress KIND           pages compressed by both with zlib, lzo, snappy or zstd; default: not compressed
  --default                 baredump's own choices, without --strict-makedumpfile
  --jobs N                  comparisons at a time (2)

Exit codes: 0 all differences are known ones (docs/known-differences.md), 1 others or a failure, 2 usage.";

/// What was asked for.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) vmcores: Vec<PathBuf>,
    pub(super) ci: bool,
    pub(super) references: Vec<(Option<Arch>, PathBuf)>,
    pub(super) ours: Option<PathBuf>,
    pub(super) levels: Vec<u8>,
    pub(super) codec: Codec,
    pub(super) strict: bool,
    pub(super) jobs: usize,
}

/// How both store pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Codec {
    /// Its name in `baredump dump --compress`.
    pub(super) name: &'static str,
    /// Its letter in makedumpfile.
    pub(super) letter: Option<&'static str>,
}

const CODECS: [Codec; 5] = [
    Codec {
        name: "none",
        letter: None,
    },
    Codec {
        name: "zlib",
        letter: Some("-c"),
    },
    Codec {
        name: "lzo",
        letter: Some("-l"),
    },
    Codec {
        name: "snappy",
        letter: Some("-p"),
    },
    Codec {
        name: "zstd",
        letter: Some("-z"),
    },
];

impl Default for Options {
    fn default() -> Self {
        Self {
            vmcores: Vec::new(),
            ci: false,
            references: Vec::new(),
            ours: None,
            levels: (0..=31).collect(),
            codec: CODECS[0],
            strict: true,
            jobs: 2,
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
        let wrong = |what: &str, text: &str| Stop::new(format!("`{text}` is no {what}\n\n{HELP}"));
        while let Some(argument) = parser.next().map_err(usage)? {
            match argument {
                Long("ci") => options.ci = true,
                Long("default") => options.strict = false,
                Long("ours") => options.ours = Some(text(&mut parser)?.into()),
                Long("reference") => options.references.push(reference(&text(&mut parser)?)),
                Long("jobs") => {
                    let word = text(&mut parser)?;
                    let jobs = word.parse().ok().filter(|jobs| *jobs > 0);
                    options.jobs = jobs.ok_or_else(|| wrong("number from 1", &word))?;
                }
                Long("levels") => {
                    let word = text(&mut parser)?;
                    options.levels = levels(&word).ok_or_else(|| wrong("list of levels", &word))?;
                }
                Long("compress") => {
                    let word = text(&mut parser)?;
                    let codec = CODECS.into_iter().find(|codec| codec.name == word);
                    options.codec = codec.ok_or_else(|| wrong("compression", &word))?;
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
}

fn usage(error: lexopt::Error) -> anyhow::Error {
    Stop::new(format!("{error}\n\n{HELP}"))
}

fn text(parser: &mut lexopt::Parser) -> Result<String> {
    parser.value().and_then(ValueExt::string).map_err(usage)
}

/// `arm64=FILE`, or a file for all architectures.
fn reference(text: &str) -> (Option<Arch>, PathBuf) {
    let by_arch = text
        .split_once('=')
        .and_then(|(arch, file)| Some((Arch::named(arch)?, file)));
    by_arch.map_or_else(
        || (None, text.into()),
        |(arch, file)| (Some(arch), file.into()),
    )
}

/// `0-31`, `1,8-15`.
fn levels(text: &str) -> Option<Vec<u8>> {
    let range = |part: &str| -> Option<RangeInclusive<u8>> {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let range = from.parse().ok()?..=to.parse().ok()?;
        (*range.end() <= 31 && !range.is_empty()).then_some(range)
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    Some(ranges?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_levels() {
        assert_eq!(levels("1,8-10"), Some(vec![1, 8, 9, 10]));
        for bad in ["", "32", "3-1", "0-32", "x", "1,,2"] {
            assert_eq!(levels(bad), None, "{bad}");
        }
    }

    #[test]
    fn references_by_architecture() {
        assert_eq!(reference("arm64=/a/b"), (Some(Arch::Arm64), "/a/b".into()));
        assert_eq!(reference("/odd=name"), (None, "/odd=name".into()));
    }
}
