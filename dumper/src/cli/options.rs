//! Options of `dump`, in both forms. Their names are makedumpfile's where it has them.

use super::Failure;
use crate::compress::Compression;
use crate::filter::DumpLevel;
use crate::format::frames::FrameCodec;
use lexopt::prelude::{Long, Short, Value};
use std::ffi::OsString;
use std::path::PathBuf;

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// kdump-compressed.
    Kdump,
    /// ELF, without the dropped pages.
    Elf,
    /// The vmcore as it is.
    Raw,
}

/// What was asked for.
pub(super) struct DumpOptions {
    pub(super) format: Format,
    /// As a stream.
    pub(super) flatten: bool,
    /// The stream in frames.
    pub(super) frames: Option<FrameCodec>,
    /// Restore the file of a stream.
    pub(super) rearrange: bool,
    pub(super) level: DumpLevel,
    pub(super) compression: Compression,
    /// The option that chose the compression.
    pub(super) codec_option: Option<&'static str>,
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
            format: Format::Kdump,
            flatten: false,
            frames: None,
            rearrange: false,
            compression: Compression::None,
            codec_option: None,
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
                Short('z') => self.compress("-z", Compression::Zstd),
                Short('c') => self.compress("-c", Compression::Zlib),
                Short('l') => self.compress("-l", Compression::Lzo),
                Short('p') => self.compress("-p", Compression::Snappy),
                Long("compress") => {
                    let compression = text(&mut parser)?.parse().map_err(Failure::Usage)?;
                    self.compress("--compress", compression);
                }
                Short('E') => self.format = Format::Elf,
                Long("format") => self.format = format(&text(&mut parser)?)?,
                Short('F') | Long("flatten") => self.flatten = true,
                Long("stream") => {
                    self.frames = Some(text(&mut parser)?.parse().map_err(Failure::Usage)?)
                }
                Short('R') => self.rearrange = true,
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
        self.settle()
    }

    fn compress(&mut self, option: &'static str, compression: Compression) {
        self.compression = compression;
        self.codec_option = (compression != Compression::None).then_some(option);
    }

    /// What follows from the options together.
    fn settle(mut self) -> Result<Self, Failure> {
        if let Some(codec) = self.frames {
            self.flatten = true;
            if let Some(option) = self.codec_option {
                return Err(Failure::Usage(format!(
                    "{option} and --stream: a stream of {} frames holds its pages uncompressed; leave {option} out",
                    codec.name()
                )));
            }
            self.compression = Compression::None;
        }
        if let (Format::Elf | Format::Raw, Some(option)) = (self.format, self.codec_option) {
            return Err(Failure::Usage(format!(
                "{option}: pages are compressed in kdump files only; leave it out, or write --format kdump"
            )));
        }
        Ok(self)
    }

    /// The vmcore, or the parts of a split one, and the file that is written; for standard output no file.
    pub(super) fn vmcores_and_out(&self) -> Result<(&[PathBuf], Option<&PathBuf>), Failure> {
        match self.files.as_slice() {
            [vmcore] if self.flatten => Ok((std::slice::from_ref(vmcore), None)),
            [vmcores @ .., out]
                if !vmcores.is_empty() && self.flatten && out.as_os_str() == "-" =>
            {
                Ok((vmcores, None))
            }
            [vmcores @ .., out] if !vmcores.is_empty() => Ok((vmcores, Some(out))),
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

fn format(text: &str) -> Result<Format, Failure> {
    match text {
        "kdump" => Ok(Format::Kdump),
        "elf" => Ok(Format::Elf),
        "raw" => Ok(Format::Raw),
        _ => Err(Failure::Usage(format!(
            "unknown format '{text}': known are kdump, elf and raw"
        ))),
    }
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
}
