//! Opening what a vmcore can be: an ELF file or written dumps, as they are, flattened, or flattened in a container; each of them in
//! parts, where the file system takes no files as large.

use super::{DumpError, others};
use crate::arch;
use crate::format::In;
use crate::format::flat::{self, FlatIn};
use crate::format::frames::{FrameCodec, FrameIn};
use crate::format::kdump::Dump;
use crate::target::open_joined;
use crate::vmcore::Vmcore;
use std::path::Path;

/// A file with its wrappings taken off.
pub struct Unwrapped {
    /// What is inside.
    pub file: Box<dyn In>,
    /// What was around it, the outermost first.
    pub around: Vec<&'static str>,
    /// Its end is missing, as a sentence.
    pub cut: Option<String>,
}

/// What was named, opened.
pub enum Opened {
    /// An ELF vmcore.
    Elf(Box<Vmcore>),
    /// A kdump-compressed dump.
    Dump(Box<Dump>),
}

/// Opens `path` and takes off what is around the vmcore in it.
///
/// # Errors
/// When it cannot be opened, or a wrapping makes no sense.
pub fn unwrap(path: &Path) -> Result<Unwrapped, DumpError> {
    let mut file: Box<dyn In> = open_joined(path).map_err(DumpError::Read)?;
    let mut around = Vec::new();
    let mut cut = None;
    if let Some(codec) = FrameCodec::sniff(&first_bytes(file.as_ref())?) {
        let frames = FrameIn::open(file, codec)?;
        if frames.is_truncated() {
            cut = Some(format!(
                "the {} container is cut off: its last frame is missing",
                codec.name()
            ));
        }
        around.push(codec.name());
        file = Box::new(frames);
    }
    if first_bytes(file.as_ref())?.starts_with(&flat::SIGNATURE) {
        let flat = FlatIn::open(file)?;
        if flat.is_truncated() {
            cut.get_or_insert("the flattened dump is cut off: its end marker is missing".into());
        }
        around.push("flattened");
        file = Box::new(flat);
    }
    Ok(Unwrapped { file, around, cut })
}

/// Opens the ELF vmcore or the dump in `paths`; several are the parts of one split dump.
///
/// # Errors
/// When a file cannot be opened, is nothing that is read, or the files do not belong together.
pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Opened, DumpError> {
    let mut files = Vec::new();
    let mut cut = None;
    for path in paths {
        let opened = unwrap(path.as_ref())?;
        let first = first_bytes(opened.file.as_ref())?;
        // Whatever else it is, the reader of ELF files says it best.
        if !first.starts_with(b"KDUMP   ") {
            if paths.len() > 1 {
                return Err(DumpError::Unknown(format!(
                    "{} is no part of a split dump; only such parts are read together",
                    path.as_ref().display()
                )));
            }
            let named = |e| others::name(&first).map_or(DumpError::Input(e), DumpError::Unknown);
            let mut core = Vmcore::from_elf(opened.file).map_err(named)?;
            if let Some(why) = opened.cut {
                core.set_truncated(why);
            }
            return Ok(Opened::Elf(Box::new(core)));
        }
        if let Some(text) = others::name_dump(opened.file.as_ref()) {
            return Err(DumpError::Unknown(text));
        }
        files.push(opened.file);
        cut = cut.or(opened.cut);
    }
    let mut dump = Dump::open_set(files, super::select::affordable())?;
    if let Some(why) = cut {
        dump.set_truncated(why);
    }
    Ok(Opened::Dump(Box::new(dump)))
}

impl Opened {
    /// As a source of memory.
    #[must_use]
    pub fn into_vmcore(self) -> Vmcore {
        match self {
            Self::Elf(core) => *core,
            Self::Dump(dump) => {
                let machine = arch::number_of(&dump.utsname(4));
                Vmcore::from_pages(dump, machine)
            }
        }
    }
}

fn first_bytes(file: &dyn In) -> Result<[u8; 16], DumpError> {
    let mut bytes = [0; 16];
    let got = usize::try_from(file.len())
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    file.read_at(0, &mut bytes[..got])
        .map_err(DumpError::Read)?;
    Ok(bytes)
}
