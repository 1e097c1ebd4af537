//! Reading the journal: which files a dump has, and their bytes.

use super::block::{self, Block, Kind};
use super::header::Header;
use super::{GUARD, PAYLOAD};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// More files than any dump has.
const MAX_FILES: usize = 64;
/// Longest payload that holds names.
const NAMES_MAX: u32 = 1024;

/// A file in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name as it is.
    pub name: String,
    /// Its name once it is whole.
    pub target: String,
    /// Whether it is whole.
    pub whole: bool,
    /// Its size.
    pub bytes: u64,
    number: u32,
    /// Where its first block is.
    start: u64,
    /// Number of that block.
    first: u64,
}

/// The files of a dump, and where its journal goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Files by their order.
    pub files: Vec<Entry>,
    /// Where the next block goes.
    pub(super) at: u64,
    /// Its number.
    pub(super) next: u64,
    /// The number of the next file.
    pub(super) next_file: u32,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            at: GUARD,
            next: 0,
            next_file: 0,
        }
    }
}

impl Journal {
    /// Reads the heads of all blocks; whether payloads of files are what they were is seen when they are read.
    ///
    /// # Errors
    /// As read(2).
    pub fn read(device: &File, header: &Header) -> io::Result<Self> {
        let mut journal = Self::default();
        journal.follow(device, header)?;
        Ok(journal)
    }

    /// Takes up the blocks that were written since.
    pub(super) fn follow(&mut self, device: &File, header: &Header) -> io::Result<()> {
        while let Some((block, names)) = self.look(device, header)? {
            self.take(&block, &names);
        }
        Ok(())
    }

    /// The next block, and the names in it; none at the end.
    fn look(&self, device: &File, header: &Header) -> io::Result<Option<(Block, String)>> {
        let Some(block) = head(device, header, self.at, self.next)? else {
            return Ok(None);
        };
        if block.kind == Kind::Data {
            return Ok(Some((block, String::new())));
        }
        if block.len > NAMES_MAX {
            return Ok(None);
        }
        let mut payload = vec![0; usize::try_from(block.len).unwrap_or(0)];
        device.read_exact_at(&mut payload, self.at + block::LEN as u64)?;
        if crc32fast::hash(&payload) != block.crc {
            return Ok(None);
        }
        Ok(String::from_utf8(payload).ok().map(|names| (block, names)))
    }

    /// What a block that was just written, or read, changes.
    pub(super) fn take(&mut self, block: &Block, names: &str) {
        let (first, second) = names.split_once('\n').unwrap_or((names, ""));
        match block.kind {
            Kind::Begin => self.begin(block, first, second),
            Kind::Data => {
                if let Some(file) = self.number(block.file) {
                    file.bytes += u64::from(block.len);
                }
            }
            Kind::Commit => {
                let target = self.number(block.file).map(|file| file.target.clone());
                self.files.retain(|file| {
                    file.number == block.file || Some(&file.name) != target.as_ref()
                });
                if let Some(file) = self.number(block.file) {
                    file.name.clone_from(&file.target);
                    file.whole = true;
                }
            }
            Kind::Keep => {}
            Kind::Rename => self.rename(first, second),
            Kind::Remove => self.files.retain(|file| file.name != first),
        }
        self.at += block.room();
        self.next += 1;
    }

    fn begin(&mut self, block: &Block, name: &str, target: &str) {
        self.next_file = block.file.saturating_add(1);
        self.files.retain(|file| file.name != name);
        if self.files.len() < MAX_FILES && is_name(name) && is_name(target) {
            self.files.push(Entry {
                name: name.to_owned(),
                target: target.to_owned(),
                whole: false,
                bytes: 0,
                number: block.file,
                start: self.at,
                first: self.next,
            });
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let Some(at) = self.files.iter().position(|file| file.name == from) else {
            return;
        };
        if !is_name(to) || from == to {
            return;
        }
        self.files[at].name = to.to_owned();
        let mut index = 0..;
        self.files
            .retain(|file| index.next() == Some(at) || file.name != to);
    }

    fn number(&mut self, number: u32) -> Option<&mut Entry> {
        self.files.iter_mut().find(|file| file.number == number)
    }

    /// The file of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Entry> {
        self.files.iter().find(|file| file.name == name)
    }
}

/// What may be the name of a file in a dump's directory.
pub(super) fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && !name.chars().any(|c| c == '/' || c.is_control())
}

/// The head at `at`, if it is that of block `number` and of a length that can be.
fn head(device: &File, header: &Header, at: u64, number: u64) -> io::Result<Option<Block>> {
    if at + block::LEN as u64 > header.end() {
        return Ok(None);
    }
    let mut bytes = [0; block::LEN];
    device.read_exact_at(&mut bytes, at)?;
    Ok(Block::decode(&bytes, header).filter(|block| {
        block.number == number
            && usize::try_from(block.len).is_ok_and(|len| len <= PAYLOAD)
            && at + block.room() <= header.end()
    }))
}

/// Reads the bytes of a file, each block checked. A block that is not what was written ends the file.
pub struct FileReader<'a> {
    device: &'a File,
    header: &'a Header,
    number: u32,
    left: u64,
    at: u64,
    next: u64,
    payload: Vec<u8>,
    given: usize,
    /// A block that does not hold was met.
    damaged: Option<u64>,
}

impl<'a> FileReader<'a> {
    /// A reader of `file`.
    #[must_use]
    pub fn new(device: &'a File, header: &'a Header, file: &Entry) -> Self {
        Self {
            device,
            header,
            number: file.number,
            left: file.bytes,
            at: file.start,
            next: file.first,
            payload: Vec::new(),
            given: 0,
            damaged: None,
        }
    }

    /// Where on the device a block lies that does not hold.
    #[must_use]
    pub fn damaged(&self) -> Option<u64> {
        self.damaged
    }

    /// Reads the next block of the file; false at its end.
    fn more(&mut self) -> io::Result<bool> {
        while self.left > 0 && self.damaged.is_none() {
            let Some(block) = head(self.device, self.header, self.at, self.next)? else {
                self.damaged = Some(self.at);
                break;
            };
            let at = self.at;
            self.at += block.room();
            self.next += 1;
            if block.kind != Kind::Data || block.file != self.number {
                continue;
            }
            self.payload
                .resize(usize::try_from(block.len).unwrap_or(0), 0);
            self.device
                .read_exact_at(&mut self.payload, at + block::LEN as u64)?;
            if crc32fast::hash(&self.payload) != block.crc {
                self.damaged = Some(at);
                self.payload.clear();
                break;
            }
            self.left = self.left.saturating_sub(u64::from(block.len));
            self.given = 0;
            if !self.payload.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.given == self.payload.len() {
            self.payload.clear();
            self.given = 0;
            if !self.more()? {
                return Ok(0);
            }
        }
        let rest = self.payload.get(self.given..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        self.given += len;
        Ok(len)
    }
}
