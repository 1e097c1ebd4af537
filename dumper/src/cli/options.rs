//! Options of `dump`, in both forms. Their names are makedumpfile's where it has them.

use super::Failure;
use crate::compress::Compression;
use crate::filter::DumpLevel;
use lexopt::prelude::{Long, Short, Value};
use std::ffi::OsString;
use std::path::PathBuf;

/// What was asked for.
pub(super) struct DumpOptions {
    pub(super) level: DumpLevel,
    pub(super) compression: Compression,
    pub(super) threads: usize,
    pub(super) mmap: bool,
    pub(super) strict: bool,
    pub(super) force: bool,
    pub(super) messages: u32,
    pub(super) dmesg_only: bool,
    pub(super) help: bool,
    pub(super) version: bool,
    pub(super) files: Vec<PathBuf>,
}

/// `--message-level` bits.
pub(super) const PROGRESS: u32 = 1;
pub(super) const COMMON: u32 = 2;
pub(super) const REPORT: u32 = 16;

/// makedumpfile's options that do nothing here yet, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    (
        "l",
        "LZO pages are not written by this version; use -z (zstd) or -c (zlib)",
    ),
    (
        "F",
        "flattened output is not written by this version; name a file",
    ),
    (
        "E",
        "ELF output is not written by this version; copy the vmcore itself",
    ),
    (
        "R",
        "flattened input is not rearranged by this version; use makedumpfile -R",
    ),
    ("L", "a size limit is not kept by this version"),
    (
        "x",
        "no vmlinux is needed: VMCOREINFO is read from the vmcore",
    ),
    ("i", "VMCOREINFO is read from the vmcore"),
    ("g", "VMCOREINFO files are not written"),
    ("e", "pages of the memory map are always kept"),
    ("X", "Xen dumps are not read"),
    ("b", "the block order is fixed"),
    ("split", "one file is written; use --num-threads for speed"),
    (
        "reassemble",
        "parts of a split dump are not read by this version",
    ),
    (
        "config",
        "erasing by configuration is not done by this version",
    ),
    ("eppic", "eppic scripts are not run"),
    ("dry-run", "nothing is written by 'baredump info VMCORE'"),
    ("mem-usage", "only vmcores are read"),
];

/// Options that change only how makedumpfile itself works; they are accepted and have no effect.
const IGNORED_WITH_VALUE: &[&str] = &["cyclic-buffer", "work-dir", "splitblock-size"];
const IGNORED: &[&str] = &["show-stats"];

impl DumpOptions {
    /// Defaults of `baredump dump`.
    pub(super) fn native() -> Self {
        Self {
            level: DumpLevel::MAX,
            compression: Compression::Zstd,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            messages: PROGRESS | COMMON | 4 | REPORT,
            ..Self::compatible()
        }
    }

    /// Defaults of makedumpfile.
    pub(super) fn compatible() -> Self {
        Self {
            level: DumpLevel::NONE,
            compression: Compression::None,
            threads: 0,
            mmap: true,
            strict: false,
            force: false,
            messages: 7,
            dmesg_only: false,
            help: false,
            version: false,
            files: Vec::new(),
        }
    }

    /// Takes in `args`.
    pub(super) fn parse(mut self, args: Vec<OsString>) -> Result<Self, Failure> {
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next().map_err(usage)? {
            match arg {
                Short('d') | Long("level") => self.level = level(&text(&mut parser)?)?,
                Short('z') => self.compression = Compression::Zstd,
                Short('c') => self.compression = Compression::Zlib,
                Short('p') => self.compression = Compression::Snappy,
                Long("compress") => {
                    self.compression = text(&mut parser)?.parse().map_err(Failure::Usage)?
                }
                Short('f') | Long("force") => self.force = true,
                Long("num-threads" | "threads") => {
                    self.threads = number("--num-threads", &text(&mut parser)?)?
                }
                Long("message-level") => {
                    self.messages = number("--message-level", &text(&mut parser)?)?
                }
                Long("non-mmap") => self.mmap = false,
                Long("strict-makedumpfile") => self.strict = true,
                Long("dump-dmesg") => self.dmesg_only = true,
                Short('D') => self.messages |= 8,
                Short('h') | Long("help") => self.help = true,
                Short('v' | 'V') | Long("version") => self.version = true,
                Long(name) if IGNORED.contains(&name) => {}
                Long(name) if IGNORED_WITH_VALUE.contains(&name) => {
                    parser.value().map_err(usage)?;
                }
                Value(file) => self.files.push(file.into()),
                other => return Err(refused(&other)),
            }
        }
        Ok(self)
    }

    /// Exactly these two files.
    pub(super) fn two_files(&self) -> Result<(&PathBuf, &PathBuf), Failure> {
        match self.files.as_slice() {
            [vmcore, out] => Ok((vmcore, out)),
            files => Err(Failure::Usage(format!(
                "expected VMCORE and DUMPFILE, found {} file name(s)",
                files.len()
            ))),
        }
    }
}

fn refused(arg: &lexopt::Arg<'_>) -> Failure {
    let name = match arg {
        Short(c) => c.to_string(),
        Long(name) => (*name).to_string(),
        Value(v) => v.to_string_lossy().into_owned(),
    };
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    let known = REFUSED.iter().find(|(refused, _)| *refused == name);
    Failure::Usage(known.map_or_else(
        || format!("unknown option '{dashes}{name}'"),
        |(_, why)| format!("option '{dashes}{name}': {why}"),
    ))
}

pub(super) fn usage(error: lexopt::Error) -> Failure {
    Failure::Usage(error.to_string())
}

fn text(parser: &mut lexopt::Parser) -> Result<String, Failure> {
    let value = parser.value().map_err(usage)?;
    Ok(value.to_string_lossy().into_owned())
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|_| Failure::Usage(format!("{option} '{text}': must be a number from 0")))
}

fn level(text: &str) -> Result<DumpLevel, Failure> {
    if text.contains(',') {
        return Err(Failure::Usage(format!(
            "-d '{text}': a list of levels is not taken by this version; give one"
        )));
    }
    let bits: Option<u8> = text.parse().ok();
    bits.and_then(DumpLevel::new)
        .ok_or_else(|| Failure::Usage(format!("-d '{text}': the dump level must be 0 to 31")))
}

/// The only file name of a verb that takes one, with the flags it knows.
pub(super) struct Simple {
    pub(super) files: Vec<PathBuf>,
    pub(super) json: bool,
    pub(super) help: bool,
}

impl Simple {
    pub(super) fn parse(args: Vec<OsString>, takes_json: bool) -> Result<Self, Failure> {
        let mut simple = Self {
            files: Vec::new(),
            json: false,
            help: false,
        };
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next().map_err(usage)? {
            match arg {
                Long("json") if takes_json => simple.json = true,
                Short('h') | Long("help") => simple.help = true,
                Value(file) => simple.files.push(file.into()),
                other => return Err(usage(other.unexpected())),
            }
        }
        Ok(simple)
    }

    /// Exactly this one file.
    pub(super) fn one_file(&self, what: &str) -> Result<&PathBuf, Failure> {
        match self.files.as_slice() {
            [file] => Ok(file),
            files => Err(Failure::Usage(format!(
                "expected one {what}, found {} file name(s)",
                files.len()
            ))),
        }
    }
}
