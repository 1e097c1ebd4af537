//! `baredump decrypt`: what was encrypted to age recipients, and the file of the stream that was.

use super::files::{create, discard, make_way, output_failed, refuse_input, sync_directory};
use super::options::usage;
use super::output::{incomplete_name, refuse_terminal};
use super::{Done, Failure, complain, help, print};
use crate::format::flat::{FlatError, SIGNATURE, mark_incomplete, rearrange};
use crate::seal::{Identities, Opener, SUFFIX};
use crate::target::{FileIn, FileOut, parts_of};
use lexopt::prelude::{Long, Short, Value};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Of a stream.
const FLAT: &str = ".flat";

pub(super) fn run(args: Vec<OsString>) -> Done {
    let Some(asked) = Asked::parse(args)? else {
        return print(help::DECRYPT);
    };
    let Some(identity) = &asked.identity else {
        return Err(Failure::Usage(
            "-i IDENTITY is missing: the file with the private key, as age-keygen writes it".into(),
        ));
    };
    let identities = Identities::open(identity)
        .map_err(|e| Failure::Input(format!("{}: {e}", identity.display())))?;
    match asked.files.as_slice() {
        [dir] if dir.is_dir() => directory(&asked, &identities, dir),
        [file] => one(&asked, &identities, file, asked.out.as_deref()),
        files => Err(Failure::Usage(format!(
            "expected one FILE or DIR, found {} name(s)",
            files.len()
        ))),
    }
}

struct Asked {
    files: Vec<PathBuf>,
    identity: Option<PathBuf>,
    out: Option<PathBuf>,
    force: bool,
}

impl Asked {
    /// `None` when help was asked for.
    fn parse(args: Vec<OsString>) -> Result<Option<Self>, Failure> {
        let mut asked = Self {
            files: Vec::new(),
            identity: None,
            out: None,
            force: false,
        };
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next().map_err(usage)? {
            match arg {
                Short('f') | Long("force") => asked.force = true,
                Short('i') | Long("identity") => {
                    asked.identity = Some(parser.value().map_err(usage)?.into());
                }
                Short('o') | Long("output") => {
                    asked.out = Some(parser.value().map_err(usage)?.into());
                }
                Short('h') | Long("help") => return Ok(None),
                Value(file) => asked.files.push(file.into()),
                other => return Err(usage(other.unexpected())),
            }
        }
        Ok(Some(asked))
    }
}

/// Every encrypted file of a directory. One that fails does not keep the others.
fn directory(asked: &Asked, identities: &Identities, dir: &Path) -> Done {
    if asked.out.as_deref().is_some_and(|out| !out.is_dir()) {
        return Err(Failure::Usage(
            "-o OUT must be a directory that exists when a directory is decrypted".into(),
        ));
    }
    let files = encrypted(dir).map_err(|e| Failure::Input(format!("{}: {e}", dir.display())))?;
    if files.is_empty() {
        return Err(Failure::Input(format!(
            "{}: no file in it is called *{SUFFIX}",
            dir.display()
        )));
    }
    let mut failures = Vec::new();
    for file in &files {
        let done = one(asked, identities, file, asked.out.as_deref());
        failures.extend(done.err());
    }
    match failures.pop() {
        None => Ok(()),
        Some(only) if files.len() == 1 => Err(only),
        Some(last) => {
            failures.push(last);
            Err(together(&failures, files.len()))
        }
    }
}

/// Says each of several failures, and which exit code they have together.
fn together(failures: &[Failure], of: usize) -> Failure {
    let (mut partial, mut unusable) = (0, 0);
    for failure in failures {
        match failure {
            Failure::Partial(text) => {
                partial += 1;
                complain(text);
            }
            Failure::Input(text) | Failure::Usage(text) => {
                unusable += 1;
                complain(text);
            }
            Failure::Failed(text) | Failure::Release(text) | Failure::Unread(text) => {
                complain(text)
            }
        }
    }
    let text = format!(
        "{} of {of} files are not decrypted as a whole",
        failures.len()
    );
    match failures.len() {
        all if all == partial => Failure::Partial(text),
        all if all == unusable => Failure::Input(text),
        _ => Failure::Failed(text),
    }
}

fn encrypted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file()
            && entry
                .path()
                .as_os_str()
                .as_encoded_bytes()
                .ends_with(SUFFIX.as_bytes())
        {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn one(asked: &Asked, identities: &Identities, from: &Path, out: Option<&Path>) -> Done {
    let unusable = |e: &dyn std::fmt::Display| Failure::Input(format!("{}: {e}", from.display()));
    let file = Encrypted::open(from).map_err(|e| unusable(&e))?;
    let opener = Opener::new(BufReader::new(file), identities).map_err(|e| unusable(&e))?;
    let mut plain = Plain::new(opener, from)?;
    if out.is_some_and(|out| out.as_os_str() == "-") {
        return to_stdout(&mut plain);
    }
    let out = out_name(from, out, plain.is_flat())?;
    if !asked.force && fs::symlink_metadata(&out).is_ok() {
        return Err(output_failed(&out, &io::ErrorKind::AlreadyExists.into()));
    }
    super::files::refuse_special(&out)?;
    let incomplete = match is_incomplete(&out) {
        true => out.clone(),
        false => incomplete_name(&out),
    };
    refuse_input(from, &out)?;
    refuse_input(from, &incomplete)?;
    let file = make_way(&incomplete, asked.force)
        .and_then(|()| create(&incomplete, false))
        .map_err(|e| output_failed(&incomplete, &e))?;
    let complete =
        restore(&mut plain, &file, &incomplete).inspect_err(|_| discard(&incomplete, &file))?;
    let synced = file.file().sync_all();
    synced.map_err(|e| output_failed(&incomplete, &e))?;
    if !complete {
        let kept = format!("is kept as {}", incomplete.display());
        return Err(plain.partial(&kept));
    }
    fs::rename(&incomplete, &out).map_err(|e| output_failed(&out, &e))?;
    sync_directory(&out).map_err(|e| output_failed(&out, &e))
}

/// The encrypted bytes: a file, and the parts that follow it, of which one is open at a time.
struct Encrypted {
    now: File,
    rest: std::vec::IntoIter<PathBuf>,
}

impl Encrypted {
    fn open(from: &Path) -> io::Result<Self> {
        let mut rest = parts_of(from).into_iter();
        let first = rest.next();
        Ok(Self {
            now: File::open(first.as_deref().unwrap_or(from))?,
            rest,
        })
    }
}

impl Read for Encrypted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.now.read(buf)?;
            match self.rest.as_slice() {
                [next, ..] if got == 0 && !buf.is_empty() => self.now = File::open(next)?,
                _ => return Ok(got),
            }
            self.rest.next();
        }
    }
}

/// Whether the name says already that something is missing, as that of a capture's file that did not come to its end.
fn is_incomplete(out: &Path) -> bool {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    name.contains("-incomplete")
}

/// The name without what says that it is encrypted, and a stream; in the directory `out`, or `out` itself.
fn out_name(from: &Path, out: Option<&Path>, is_flat: bool) -> Result<PathBuf, Failure> {
    if let Some(out) = out.filter(|out| !out.is_dir()) {
        return Ok(out.into());
    }
    let name = from.file_name().and_then(|name| name.to_str());
    let name = name.and_then(|name| name.strip_suffix(SUFFIX));
    let name = name.map(|name| match name.strip_suffix(FLAT) {
        Some(short) if is_flat => short,
        _ => name,
    });
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err(Failure::Usage(format!(
            "{} is not called *{SUFFIX}: name the file to write with -o",
            from.display()
        )));
    };
    Ok(match out {
        Some(dir) => dir.join(name),
        None => from.with_file_name(name),
    })
}

fn to_stdout(plain: &mut Plain) -> Done {
    refuse_terminal()?;
    let mut out = io::stdout().lock();
    let copied = io::copy(plain, &mut out).and_then(|_| out.flush());
    copied.map_err(|e| output_failed(Path::new("standard output"), &e))?;
    match plain.lost {
        None => Ok(()),
        Some(_) => Err(plain.partial("went to standard output")),
    }
}

/// Writes the file, and says whether it is complete. What could not be decrypted is missing from it.
fn restore(plain: &mut Plain, out: &FileOut, path: &Path) -> Result<bool, Failure> {
    if !plain.is_flat() {
        let copied = io::copy(plain, &mut out.file()).map_err(|e| output_failed(path, &e))?;
        return plain.anything(copied);
    }
    let result = rearrange(plain, out).map_err(|e| match e {
        FlatError::Write(e) => output_failed(path, &e),
        e => Failure::Input(format!("{}: {e}", plain.name)),
    })?;
    // What follows the end marker belongs to the file, too.
    let behind = io::copy(plain, &mut io::sink());
    behind.map_err(|e| Failure::Failed(format!("cannot read {}: {e}", plain.name)))?;
    let complete = plain.anything(result.bytes)? && result.complete;
    if !complete {
        FileIn::open(path)
            .and_then(|file| mark_incomplete(&file, out))
            .map_err(|e| output_failed(path, &e))?;
    }
    Ok(complete)
}

/// The decrypted bytes, up to where they end or are not authentic any more.
struct Plain {
    name: String,
    /// The first bytes, which were read to know what this is.
    first: io::Cursor<Vec<u8>>,
    opener: Opener<BufReader<Encrypted>>,
    lost: Option<io::Error>,
}

impl Plain {
    fn new(opener: Opener<BufReader<Encrypted>>, from: &Path) -> Result<Self, Failure> {
        let mut plain = Self {
            name: from.display().to_string(),
            first: io::Cursor::default(),
            opener,
            lost: None,
        };
        let mut first = Vec::new();
        let limit = SIGNATURE.len() as u64;
        let read = plain.by_ref().take(limit).read_to_end(&mut first);
        read.map_err(|e| Failure::Failed(format!("cannot read {}: {e}", plain.name)))?;
        plain.first = io::Cursor::new(first);
        Ok(plain)
    }

    fn is_flat(&self) -> bool {
        *self.first.get_ref() == SIGNATURE
    }

    /// Whether everything was there; an error when nothing was.
    fn anything(&self, bytes: u64) -> Result<bool, Failure> {
        match &self.lost {
            None => Ok(true),
            Some(error) if bytes == 0 => Err(Failure::Failed(format!("{}: {error}", self.name))),
            Some(_) => Ok(false),
        }
    }

    fn partial(&self, kept: &str) -> Failure {
        let why = self
            .lost
            .as_ref()
            .map_or_else(|| "the stream in it is cut off".into(), ToString::to_string);
        Failure::Partial(format!("{}: {why}: what comes before {kept}", self.name))
    }
}

impl Read for Plain {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.first.read(buf)?;
        if got > 0 || self.lost.is_some() {
            return Ok(got);
        }
        match self.opener.read(buf) {
            Err(e) if is_loss(e.kind()) => {
                self.lost = Some(e);
                Ok(0)
            }
            result => result,
        }
    }
}

fn is_loss(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
    )
}
