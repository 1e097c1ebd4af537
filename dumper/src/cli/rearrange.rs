//! `baredump rearrange`: the file that a flattened stream holds.

use super::files::{create, discard, make_way, output_failed, refuse_input, sync_directory};
use super::options::usage;
use super::output::incomplete_name;
use super::{Done, Failure, help, print};
use crate::format::In;
use crate::format::flat::{self, FlatError, Rearranged, rearrange};
use crate::format::frames::{FrameCodec, FrameIn};
use crate::target::{FileIn, FileOut, open_joined};
use lexopt::prelude::{Long, Short, Value};
use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

pub(super) fn run(args: Vec<OsString>) -> Done {
    let (mut force, mut files) = (false, Vec::new());
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Short('f') | Long("force") => force = true,
            Short('h') | Long("help") => return print(help::REARRANGE),
            Value(file) => files.push(PathBuf::from(file)),
            other => return Err(usage(other.unexpected())),
        }
    }
    let (from, out) = match files.as_slice() {
        [out] => (Path::new("-"), out),
        [from, out] => (from.as_path(), out),
        files => {
            return Err(Failure::Usage(format!(
                "expected perhaps FLATFILE, and DUMPFILE, found {} file name(s)",
                files.len()
            )));
        }
    };
    if !force && fs::symlink_metadata(out).is_ok() {
        return Err(output_failed(out, &io::ErrorKind::AlreadyExists.into()));
    }
    super::files::refuse_special(out)?;
    let incomplete = incomplete_name(out);
    refuse_input(from, out)?;
    refuse_input(from, &incomplete)?;
    let mut source = Source::open(from)?;
    let file = make_way(&incomplete, force)
        .and_then(|()| create(&incomplete, false))
        .map_err(|e| output_failed(&incomplete, &e))?;
    let result = restore(&mut source, &file, &incomplete)?;
    file.file()
        .sync_all()
        .map_err(|e| output_failed(&incomplete, &e))?;
    if !result.complete {
        return Err(cut_off(&incomplete, &result));
    }
    fs::rename(&incomplete, out).map_err(|e| output_failed(out, &e))?;
    sync_directory(out).map_err(|e| output_failed(out, &e))
}

/// `makedumpfile -R`: from standard input, in place.
pub(super) fn compatible(files: &[PathBuf], force: bool) -> Done {
    let [out] = files else {
        return Err(Failure::Usage(format!(
            "-R expects DUMPFILE alone and reads standard input, found {} file name(s)",
            files.len()
        )));
    };
    let mut source = Source::open(Path::new("-"))?;
    let file = create(out, force).map_err(|e| output_failed(out, &e))?;
    let result = restore(&mut source, &file, out)?;
    if result.complete {
        return Ok(());
    }
    Err(cut_off(out, &result))
}

fn cut_off(out: &Path, result: &Rearranged) -> Failure {
    Failure::Partial(format!(
        "the stream is cut off after {} records: partial dump kept as {}",
        result.records,
        out.display()
    ))
}

/// Restores the file and marks it when its end is missing. What cannot be restored is removed.
fn restore(source: &mut Source, out: &FileOut, path: &Path) -> Result<Rearranged, Failure> {
    let name = source.name.clone();
    let result = rearrange(source, out).map_err(|e| {
        discard(path, out);
        match e {
            FlatError::Write(e) => output_failed(path, &e),
            FlatError::Read(e) => Failure::Failed(format!("cannot read {name}: {e}")),
            e => Failure::Input(format!("{name}: {e}{}", source.advice())),
        }
    })?;
    if !result.complete {
        FileIn::open(path)
            .and_then(|file| flat::mark_incomplete(&file, out))
            .map_err(|e| output_failed(path, &e))?;
    }
    Ok(result)
}

/// Where the stream comes from; the bytes that were read to know it are kept.
struct Source {
    name: String,
    from: From,
    first: [u8; 4],
}

enum From {
    Stdin { given: usize },
    File { file: Box<dyn In>, at: u64 },
}

impl Source {
    fn open(path: &Path) -> Result<Self, Failure> {
        let mut first = [0; 4];
        if path.as_os_str() == "-" {
            if io::stdin().is_terminal() {
                return Err(Failure::Usage(
                    "standard input is a terminal: redirect it, or name a FLATFILE".into(),
                ));
            }
            return Ok(Self {
                name: "standard input".into(),
                from: From::Stdin { given: 0 },
                first,
            });
        }
        let name = path.display().to_string();
        let unusable = |e: &dyn std::fmt::Display| Failure::Input(format!("{name}: {e}"));
        let file = open_joined(path).map_err(|e| unusable(&e))?;
        if file.len() >= 4 {
            file.read_at(0, &mut first).map_err(|e| unusable(&e))?;
        }
        let file: Box<dyn In> = match FrameCodec::sniff(&first) {
            Some(codec) => Box::new(FrameIn::open(file, codec).map_err(|e| unusable(&e))?),
            None => file,
        };
        Ok(Self {
            name,
            from: From::File { file, at: 0 },
            first,
        })
    }

    /// A container can only be read from a file.
    fn advice(&self) -> String {
        match (&self.from, FrameCodec::sniff(&self.first)) {
            (From::Stdin { .. }, Some(codec)) => format!(
                ": these are {0} frames, put '{0} -dc |' before, or name the file",
                codec.name()
            ),
            _ => String::new(),
        }
    }
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.from {
            From::Stdin { given } => {
                let got = io::stdin().lock().read(buf)?;
                for byte in &buf[..got] {
                    let Some(place) = self.first.get_mut(*given) else {
                        break;
                    };
                    *place = *byte;
                    *given += 1;
                }
                Ok(got)
            }
            From::File { file, at } => {
                let left = file.len().saturating_sub(*at);
                let part = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
                file.read_at(*at, &mut buf[..part])?;
                *at += part as u64;
                Ok(part)
            }
        }
    }
}
