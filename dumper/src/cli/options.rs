//! Options of `dump`, in both forms. Their names are makedumpfile's where it has them.

use super::{Failure, foreign};
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
    /// The first is tried first, the next when the dump does not fit.
    pub(super) levels: Vec<DumpLevel>,
    /// The dump may be this large.
    pub(super) limit: u64,
    /// VMCOREINFO from this file.
    pub(super) vmcoreinfo: Option<PathBuf>,
    /// A virtual address to translate.
    pub(super) vtop: Option<u64>,
    /// Everything but the output.
    pub(super) dry_run: bool,
    /// Only look at the options.
    pub(super) check: bool,
    /// Put the parts of a split dump together.
    pub(super) reassemble: bool,
    /// Several files are written, and a part ends where a block of so many KiB does.
    pub(super) split: bool,
    pub(super) split_block: u64,
    /// Say only how many pages of each kind there are.
    pub(super) mem_usage: bool,
    /// makedumpfile's form.
    pub(super) compatible: bool,
    /// What was asked for and is not done, a sentence each.
    pub(super) ignored: Vec<String>,
    pub(super) compression: Compression,
    /// The option that chose the compression.
    pub(super) codec_option: Option<&'static str>,
    pub(super) threads: usize,
    /// KiB of a bitmap that are held at once, at most.
    pub(super) buffer: Option<u64>,
    pub(super) mmap: bool,
    pub(super) strict: bool,
    pub(super) force: bool,
    pub(super) messages: u32,
    pub(super) dmesg_only: bool,
    /// Of the log only what came after the last `dmesg -c`.
    pub(super) since_clear: bool,
    pub(super) help: bool,
    pub(super) version: bool,
    pub(super) files: Vec<PathBuf>,
}

/// `--message-level` bits.
pub(super) const PROGRESS: u32 = 1;
pub(super) const COMMON: u32 = 2;
pub(super) const ERROR: u32 = 4;
pub(super) const DEBUG: u32 = 8;
pub(super) const REPORT: u32 = 16;

impl DumpOptions {
    /// Defaults of `baredump dump`.
    pub(super) fn native() -> Self {
        Self {
            levels: vec![DumpLevel::MAX],
            compression: Compression::Zstd,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            messages: PROGRESS | COMMON | ERROR | REPORT,
            compatible: false,
            ..Self::compatible()
        }
    }

    /// Defaults of makedumpfile.
    pub(super) fn compatible() -> Self {
        Self {
            levels: vec![DumpLevel::NONE],
            limit: u64::MAX,
            vmcoreinfo: None,
            vtop: None,
            dry_run: false,
            check: false,
            reassemble: false,
            split: false,
            split_block: 1 << 20,
            mem_usage: false,
            compatible: true,
            ignored: Vec::new(),
            format: Format::Kdump,
            flatten: false,
            frames: None,
            rearrange: false,
            compression: Compression::None,
            codec_option: None,
            threads: 0,
            buffer: None,
            mmap: true,
            strict: false,
            force: false,
            messages: 7,
            dmesg_only: false,
            since_clear: false,
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
                Short('d') | Long("level") => self.levels = levels(&text(&mut parser)?)?,
                Short('L') | Long("limit") => self.limit = size(&text(&mut parser)?)?,
                Short('i') | Long("vmcoreinfo") => {
                    self.vmcoreinfo = Some(parser.value().map_err(usage)?.into());
                }
                Long("vtop") => self.vtop = Some(address(&text(&mut parser)?)?),
                Long("dry-run") => self.dry_run = true,
                Long("check-params") => self.check = true,
                Long("reassemble") => self.reassemble = true,
                Long("split") => self.split = true,
                Long("splitblock-size") => {
                    let size = number("--splitblock-size", &text(&mut parser)?)?;
                    self.split_block = if size == 0 { 1 << 20 } else { size };
                }
                Long("mem-usage") => self.mem_usage = true,
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
                Long("cyclic-buffer") => {
                    let size = number("--cyclic-buffer", &text(&mut parser)?)?;
                    self.buffer = (size != 0).then_some(size);
                }
                Long("message-level") => {
                    self.messages = messages(&text(&mut parser)?)?;
                }
                Long("show-stats") => self.messages |= REPORT,
                Long("non-mmap") => self.mmap = false,
                Long("strict-makedumpfile") => self.strict = true,
                Long("dump-dmesg") => self.dmesg_only = true,
                Long("partial-dmesg") => self.since_clear = true,
                Short('D') => self.messages |= DEBUG,
                Short('h') | Long("help") => self.help = true,
                Short('v' | 'V') | Long("version") => self.version = true,
                Value(file) => self.files.push(file.into()),
                other => {
                    let name = foreign::name(&other);
                    let ignored = foreign::ignored(&name).filter(|_| self.compatible);
                    let Some(ignored) = ignored else {
                        return Err(Failure::Usage(foreign::refusal(&name)));
                    };
                    if ignored.takes_value {
                        parser.value().map_err(usage)?;
                    }
                    self.ignored.extend(ignored.warning(&name));
                }
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
        if self.split && self.flatten && self.files.len() == 1 {
            let whole = "--split has no effect with -F: a stream holds the whole dump";
            self.ignored.push(whole.into());
            self.split = false;
        }
        if self.split && (self.flatten || self.format != Format::Kdump) {
            return Err(Failure::Usage(
                "--split: parts are kdump-compressed files; leave -F and -E out".into(),
            ));
        }
        if self.dry_run && self.dmesg_only {
            return Err(Failure::Usage(
                "--dry-run and --dump-dmesg: a log is written or not asked for; leave one out"
                    .into(),
            ));
        }
        Ok(self)
    }

    /// The vmcore, and the files of a dump in parts: of any number, one is a dump that is not split.
    pub(super) fn vmcore_and_parts(&self) -> Result<(&[PathBuf], &[PathBuf]), Failure> {
        match self.files.split_at_checked(1) {
            Some((vmcore, parts)) if !parts.is_empty() => Ok((vmcore, parts)),
            _ => Err(Failure::Usage(format!(
                "--split: expected VMCORE and DUMPFILE..., found {} file name(s)",
                self.files.len()
            ))),
        }
    }

    /// The vmcore, or the parts of a split one, and the file that is written; for standard output no file.
    pub(super) fn vmcores_and_out(&self) -> Result<(&[PathBuf], Option<&PathBuf>), Failure> {
        match self.files.as_slice() {
            [vmcore] if self.flatten || self.dry_run || self.mem_usage => {
                Ok((std::slice::from_ref(vmcore), None))
            }
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

fn levels(text: &str) -> Result<Vec<DumpLevel>, Failure> {
    let one = |word: &str| word.parse().ok().and_then(DumpLevel::new);
    let levels: Option<Vec<_>> = text.split(',').map(one).collect();
    levels.ok_or_else(|| {
        Failure::Usage(format!(
            "-d '{text}': the dump level must be 0 to 31, or several separated by commas"
        ))
    })
}

/// A size in bytes, with K, M or G times 1024.
fn size(text: &str) -> Result<u64, Failure> {
    let (digits, factor) = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((digits, "K" | "k")) => (digits, 1 << 10),
        Some((digits, "M" | "m")) => (digits, 1 << 20),
        Some((digits, "G" | "g")) => (digits, 1 << 30),
        _ => (text, 1),
    };
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor));
    bytes.filter(|n| *n > 0).ok_or_else(|| {
        Failure::Usage(format!(
            "-L '{text}': must be a number of bytes, or of K, M or G"
        ))
    })
}

fn address(text: &str) -> Result<u64, Failure> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| {
        Failure::Usage(format!(
            "--vtop '{text}': must be a virtual address in hexadecimal digits"
        ))
    })
}

fn messages(text: &str) -> Result<u32, Failure> {
    let bits = number("--message-level", text)?;
    if bits > 31 {
        return Err(Failure::Usage(format!(
            "--message-level '{text}': must be 0 to 31"
        )));
    }
    Ok(bits)
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
