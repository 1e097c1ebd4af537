//! The directory of a dump whose files are in parts.

use super::super::dumpdir::{DumpDir, at_path};
use super::super::file::TargetError;
use super::super::place::{Manners, Part, Pending, Place};
use super::out::SplitOut;
use super::{LIMIT, MAX_PARTS, suffix};
use crate::format::Out;
use nix::errno::Errno;

/// A [`DumpDir`] where no file is larger than a limit.
#[derive(Debug)]
pub struct SplitDir {
    dir: DumpDir,
    limit: u64,
}

impl SplitDir {
    /// Files of at most [`LIMIT`] bytes.
    pub fn new(dir: DumpDir) -> Self {
        Self::with_limit(dir, LIMIT)
    }

    /// Files of at most `limit` bytes.
    pub(crate) fn with_limit(dir: DumpDir, limit: u64) -> Self {
        Self { dir, limit }
    }

    /// The numbered names after `name` that are there, whatever their sizes.
    fn numbered(&self, name: &str, from: usize) -> Vec<String> {
        let names = (from..MAX_PARTS).map(|index| format!("{name}{}", suffix(index)));
        names.take_while(|n| self.dir.size(n).is_some()).collect()
    }

    /// Renames the parts, the first one last. Those that `to` has had after them are removed before.
    fn rename_parts(&self, from: &str, to: &str, count: usize) -> Result<(), TargetError> {
        for stale in self.numbered(to, count) {
            self.dir.remove(&stale)?;
        }
        for index in (0..count).rev() {
            let old = format!("{from}{}", suffix(index));
            if !self.dir.rename(&old, &format!("{to}{}", suffix(index)))? {
                return Err(at_path("rename", &self.dir.at(&old))(Errno::ENOENT));
            }
        }
        Ok(())
    }
}

impl Place for SplitDir {
    fn path(&self) -> &str {
        self.dir.path()
    }

    fn manners(&self) -> Manners {
        self.dir.manners()
    }

    fn begin(&self, incomplete: &str, name: &str) -> Result<Box<dyn Pending + '_>, TargetError> {
        for stale in self.numbered(incomplete, 1) {
            self.dir.remove(&stale)?;
        }
        let out = SplitOut::begin(&self.dir, incomplete, self.limit)
            .map_err(at_path("make", &self.dir.at(incomplete)))?;
        Ok(Box::new(SplitFile {
            dir: self,
            out,
            incomplete: incomplete.into(),
            name: name.into(),
        }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool, TargetError> {
        if self.dir.size(from).is_none() {
            return Ok(false);
        }
        let count = 1 + self.numbered(from, 1).len();
        self.rename_parts(from, to, count).map(|()| true)
    }

    /// The first part goes first: what is left has no final name.
    fn remove(&self, name: &str) -> Result<(), TargetError> {
        self.dir.remove(name)?;
        let parts = self.numbered(name, 1);
        parts.iter().rev().try_for_each(|p| self.dir.remove(p))
    }

    fn size(&self, name: &str) -> Option<u64> {
        let parts = self.parts(name);
        (!parts.is_empty()).then(|| parts.iter().map(|part| part.bytes).sum())
    }

    fn settle(&self, name: &str) -> Result<(), TargetError> {
        let mut parts = self.parts(name).into_iter();
        parts.try_for_each(|part| self.dir.settle(&part.name))
    }

    fn parts(&self, name: &str) -> Vec<Part> {
        let mut parts = Vec::new();
        for index in 0..MAX_PARTS {
            if parts
                .last()
                .is_some_and(|part: &Part| part.bytes != self.limit)
            {
                break;
            }
            let name = format!("{name}{}", suffix(index));
            let Some(bytes) = self.dir.size(&name) else {
                break;
            };
            parts.push(Part::new(&name, bytes));
        }
        parts
    }
}

/// A file in parts under its incomplete name.
struct SplitFile<'a> {
    dir: &'a SplitDir,
    out: SplitOut<'a>,
    incomplete: String,
    name: String,
}

impl SplitFile<'_> {
    fn sync(&self) -> Result<(), TargetError> {
        self.out.sync_all().map_err(|source| TargetError::Path {
            action: "sync",
            path: self.dir.dir.at(&self.incomplete),
            source,
        })
    }
}

impl Pending for SplitFile<'_> {
    fn out(&self) -> &dyn Out {
        &self.out
    }

    fn written(&self) -> u64 {
        self.out.written()
    }

    fn keep(self: Box<Self>) -> Result<(), TargetError> {
        self.sync()?;
        self.dir.dir.sync()
    }

    fn commit(self: Box<Self>) -> Result<(), TargetError> {
        self.sync()?;
        self.dir
            .rename_parts(&self.incomplete, &self.name, self.out.count())
    }
}
