//! Reading a file that lies in parts.

use super::super::input::FileIn;
use super::{LIMIT, MAX_PARTS, pieces, suffix};
use crate::format::In;
use crate::manifest::{self, Manifest};
use crate::report::FileEntry;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Parts that are open at once: there can be thousands, and a process may have a thousand files.
const OPEN: usize = 16;

/// The parts of a file as one.
pub(super) struct Joined {
    /// Each with its size.
    parts: Vec<(PathBuf, u64)>,
    limit: u64,
    len: u64,
    /// Parts by index, the one that was used last at the end.
    open: Mutex<Vec<(usize, Arc<FileIn>)>>,
}

/// Opens `path` with the parts that follow it.
///
/// # Errors
/// As open(2), and for a size that no file has.
pub fn open_joined(path: &Path) -> io::Result<Box<dyn In>> {
    match parts_of(path).as_slice() {
        [] | [_] => Ok(Box::new(FileIn::open(path)?)),
        parts => Ok(Box::new(Joined::open(parts, fs::metadata(path)?.len())?)),
    }
}

/// `path` and its parts beside it: a file of exactly [`LIMIT`] bytes goes on in the next one, and the report beside a file can say
/// that it lies in parts (objects of a bucket). No link is taken for a part.
pub fn parts_of(path: &Path) -> Vec<PathBuf> {
    let parts = with_limit(path, LIMIT);
    match parts.len() {
        1 => listed(path).unwrap_or(parts),
        _ => parts,
    }
}

/// The parts that the report lists, when all of them are there as it says.
fn listed(path: &Path) -> Option<Vec<PathBuf>> {
    let is_file = |path: &Path, bytes: u64| {
        fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.len() <= bytes)
    };
    let report = path.with_file_name(manifest::NAME);
    let second = numbered(path, 1);
    if !is_file(&report, manifest::MAX) || !is_file(&second, u64::MAX) {
        return None;
    }
    let manifest = Manifest::parse(&fs::read(report).ok()?).ok()?;
    let joined = manifest.joined.as_ref()?;
    if joined.name.as_str() != path.file_name()? {
        return None;
    }
    let entries = manifest.parts();
    let there = |entry: &&FileEntry| {
        let path = path.with_file_name(&entry.name);
        fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.len() == entry.bytes)
    };
    let all = entries.len() > 1 && entries.iter().all(there);
    all.then(|| {
        entries
            .iter()
            .map(|entry| path.with_file_name(&entry.name))
            .collect()
    })
}

/// The path of the part with this index.
fn numbered(path: &Path, index: usize) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix(index));
    name.into()
}

/// The same with another limit.
pub(super) fn with_limit(path: &Path, limit: u64) -> Vec<PathBuf> {
    let is_full = |m: &fs::Metadata| m.is_file() && m.len() == limit;
    let mut parts = vec![path.to_path_buf()];
    let mut full = fs::metadata(path).is_ok_and(|m| is_full(&m));
    for index in 1..MAX_PARTS {
        let name = numbered(path, index);
        let next = fs::symlink_metadata(&name).ok().filter(|m| m.is_file());
        let Some(next) = next.filter(|_| full) else {
            break;
        };
        full = is_full(&next);
        parts.push(name);
    }
    parts
}

impl Joined {
    /// Opens the parts, of which all but the last have `limit` bytes.
    ///
    /// # Errors
    /// As open(2), and when a part has another size, or none.
    pub(super) fn open(paths: &[PathBuf], limit: u64) -> io::Result<Self> {
        let mut parts = Vec::new();
        for path in paths {
            parts.push((path.clone(), FileIn::open(path)?.len()));
        }
        let last = parts.len().saturating_sub(1);
        if limit == 0 || parts.iter().take(last).any(|(_, len)| *len != limit) {
            return Err(changed());
        }
        let len = parts.iter().map(|(_, len)| len).sum();
        Ok(Self {
            parts,
            limit,
            len,
            open: Mutex::default(),
        })
    }

    /// The part with this index, opened.
    fn part(&self, index: usize) -> io::Result<Arc<FileIn>> {
        let (path, len) = self.parts.get(index).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|(opened, _)| *opened == index) {
            let found = open.remove(at);
            let file = found.1.clone();
            open.push(found);
            return Ok(file);
        }
        let file = Arc::new(FileIn::open(path)?);
        if file.len() != *len {
            return Err(changed());
        }
        if open.len() == OPEN {
            open.remove(0);
        }
        open.push((index, file.clone()));
        Ok(file)
    }
}

fn changed() -> io::Error {
    io::Error::other("a part of it has changed its size")
}

impl In for Joined {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        for piece in pieces(self.limit, offset, buf.len()) {
            let part = self.part(piece.part)?;
            part.read_at(piece.at, buf.get_mut(piece.bytes).unwrap_or_default())?;
        }
        Ok(())
    }

    fn hole_at(&self, offset: u64) -> Result<u64, u64> {
        let (index, at) = (offset / self.limit, offset % self.limit);
        let part = usize::try_from(index).map_err(|_| u64::MAX)?;
        let part = self.part(part).map_err(|_| u64::MAX)?;
        let base = offset - at;
        let whole = |end: u64| base.saturating_add(end.min(self.limit));
        part.hole_at(at).map(whole).map_err(whole)
    }
}
