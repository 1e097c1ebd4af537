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

/// The parts of a file as one.
pub(super) struct Joined {
    parts: Vec<FileIn>,
    limit: u64,
    len: u64,
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
            parts.push(FileIn::open(path)?);
        }
        let last = parts.len().saturating_sub(1);
        if limit == 0 || parts.iter().take(last).any(|part| part.len() != limit) {
            return Err(io::Error::other("a part of it has changed its size"));
        }
        let len = parts.iter().map(In::len).sum();
        Ok(Self { parts, limit, len })
    }
}

impl In for Joined {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        for piece in pieces(self.limit, offset, buf.len()) {
            let part = self.parts.get(piece.part);
            let part = part.ok_or(io::ErrorKind::UnexpectedEof)?;
            part.read_at(piece.at, buf.get_mut(piece.bytes).unwrap_or_default())?;
        }
        Ok(())
    }

    fn hole_at(&self, offset: u64) -> Result<u64, u64> {
        let (index, at) = (offset / self.limit, offset % self.limit);
        let part = usize::try_from(index).ok().and_then(|n| self.parts.get(n));
        let part = part.ok_or(u64::MAX)?;
        let base = offset - at;
        let whole = |end: u64| base.saturating_add(end.min(self.limit));
        part.hole_at(at).map(whole).map_err(whole)
    }
}
