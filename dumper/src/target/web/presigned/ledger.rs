//! What was put through pre-signed URLs, which tell nobody what is there: kept in a file of the capture kernel from one step to the
//! next.

use crate::target::place::Part;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files that were begun.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    path: PathBuf,
    entries: Vec<Entry>,
}

/// A file and what of it is at the server.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    /// What it is called as long as it is not whole.
    incomplete: String,
    whole: bool,
    parts: Vec<Part>,
    /// The most parts that any attempt has put.
    most: usize,
}

impl Ledger {
    /// What earlier steps have left; nothing, when they left nothing.
    pub(super) fn open(path: &Path) -> Self {
        let text = fs::read(path).unwrap_or_default();
        Self {
            path: path.into(),
            entries: serde_json::from_slice(&text).unwrap_or_default(),
        }
    }

    /// The objects of a file under the name that it has now.
    pub(super) fn parts(&self, name: &str) -> Option<&[Part]> {
        let called = |entry: &&Entry| match entry.whole {
            true => entry.name == name,
            false => entry.incomplete == name,
        };
        self.entries.iter().find(called).map(|entry| &*entry.parts)
    }

    /// A file is begun, or begun anew.
    pub(super) fn begin(&mut self, incomplete: &str, name: &str) -> io::Result<()> {
        let before = self.entries.iter().position(|entry| entry.name == name);
        let most = before.map_or(0, |at| self.entries.remove(at).most);
        self.entries.push(Entry {
            name: name.into(),
            incomplete: incomplete.into(),
            whole: false,
            parts: Vec::new(),
            most,
        });
        self.save()
    }

    /// A part of it is at the server.
    pub(super) fn add(&mut self, name: &str, part: Part) -> io::Result<()> {
        if let Some(entry) = self.entry(name) {
            entry.parts.push(part);
            entry.most = entry.most.max(entry.parts.len());
        }
        self.save()
    }

    /// All of it is there.
    pub(super) fn complete(&mut self, name: &str) -> io::Result<()> {
        if let Some(entry) = self.entry(name) {
            entry.whole = true;
        }
        self.save()
    }

    /// How many parts there are, and how many the attempts before had.
    pub(super) fn counts(&self, name: &str) -> (usize, usize) {
        let entry = self.entries.iter().find(|entry| entry.name == name);
        entry.map_or((0, 0), |entry| (entry.parts.len(), entry.most))
    }

    fn entry(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.name == name)
    }

    /// Puts the file in the place of the older one.
    fn save(&self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        fs::write(&new, serde_json::to_vec(&self.entries)?)?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_known_to_the_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("put");
        let part = |name: &str| Part {
            crc32: Some(7),
            ..Part::new(name, 5)
        };
        let mut ledger = Ledger::open(&path);
        ledger.begin("a-incomplete", "a").unwrap();
        ledger.add("a", part("a")).unwrap();
        ledger.add("a", part("a.2")).unwrap();
        let next = Ledger::open(&path);
        assert_eq!(next.parts("a"), None);
        assert_eq!(
            next.parts("a-incomplete").unwrap(),
            [part("a"), part("a.2")]
        );
        // An attempt that begins anew, and ends earlier.
        let mut next = next;
        next.begin("a-incomplete-2", "a").unwrap();
        next.add("a", part("a")).unwrap();
        next.complete("a").unwrap();
        let last = Ledger::open(&path);
        assert_eq!(
            (last.parts("a").unwrap().len(), last.parts("a-incomplete")),
            (1, None)
        );
        assert_eq!((last.counts("a"), last.counts("b")), ((1, 2), (0, 0)));
        fs::write(&path, "{").unwrap();
        assert_eq!(Ledger::open(&path).counts("a"), (0, 0));
    }
}
