//! newc archives (magic `070701`), the format of an initramfs.
//!
//! Source: Documentation/driver-api/early-userspace/buffer-format.rst and init/initramfs.c, Linux 2.6 to 7.2.
//!
//! Same entries, same bytes: entries are sorted by name, inodes are numbered in that order, owner and time are 0. Device nodes
//! are only numbers in a header, so nobody has to be root to make one.

mod member;

use std::collections::BTreeMap;
use std::io::{self, Write};

use thiserror::Error;

const TRAILER: &str = "TRAILER!!!";

const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;
const S_IFCHR: u32 = 0o020_000;

/// Longest name that the kernel unpacks (`PATH_MAX`, with its NUL).
const NAME_MAX: usize = 4095;

/// Why an entry can't be in the archive, or an archive can't be read.
#[derive(Debug, Error)]
pub enum CpioError {
    /// Not a clean relative path.
    #[error(
        "{0:?} is no name for an archive entry: it must have no empty, \".\" or \"..\" component and no NUL"
    )]
    Name(String),
    /// Two entries of one name that are not both directories.
    #[error("two archive entries are called {0}")]
    Twice(String),
    /// A component of the path is no directory.
    #[error("{path} can't be in the archive: {parent} is no directory")]
    Parent {
        /// The new entry.
        path: String,
        /// The entry in its way.
        parent: String,
    },
    /// The size field has 32 bits.
    #[error("{path} has {size} bytes, an archive entry at most 4294967295")]
    Size {
        /// The entry.
        path: String,
        /// Its size.
        size: usize,
    },
    /// Not a newc archive, or cut off.
    #[error("no newc archive: {0}")]
    Damaged(&'static str),
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A regular file with its bytes.
    File(Vec<u8>),
    /// A symbolic link with its target.
    Symlink(String),
    /// A character device with major and minor number.
    CharDevice(u32, u32),
}

/// One entry: what it is and its permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub node: Node,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
}

/// An archive in the making. Parent directories come by themselves, with mode 0755.
#[derive(Debug, Clone, Default)]
pub struct Archive {
    entries: BTreeMap<String, Entry>,
}

impl Archive {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory; a second time only sets its mode.
    ///
    /// # Errors
    /// A bad name, or something else of that name.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<(), CpioError> {
        let path = self.prepare(path)?;
        match self.entries.get_mut(&path) {
            Some(Entry {
                node: Node::Directory,
                mode: old,
            }) => *old = mode & 0o7777,
            Some(_) => return Err(CpioError::Twice(path)),
            None => self.put(path, Node::Directory, mode),
        }
        Ok(())
    }

    /// Adds a regular file.
    ///
    /// # Errors
    /// A bad or used name, or 4 GiB and more.
    pub fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) -> Result<(), CpioError> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(CpioError::Size {
                path: path.to_owned(),
                size: bytes.len(),
            });
        }
        self.add(path, Node::File(bytes), mode)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// A bad or used name.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), CpioError> {
        self.add(path, Node::Symlink(target.to_owned()), 0o777)
    }

    /// Adds a character device.
    ///
    /// # Errors
    /// A bad or used name.
    pub fn char_device(
        &mut self,
        path: &str,
        mode: u32,
        major: u32,
        minor: u32,
    ) -> Result<(), CpioError> {
        self.add(path, Node::CharDevice(major, minor), mode)
    }

    /// The entries in archive order, by name without leading slash.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry))
    }

    /// What has this name.
    #[must_use]
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path.trim_start_matches('/'))
    }

    /// The bytes of a regular file of the archive.
    #[must_use]
    pub fn file_bytes(&self, path: &str) -> Option<&[u8]> {
        match self.entry(path) {
            Some(Entry {
                node: Node::File(bytes),
                ..
            }) => Some(bytes),
            _ => None,
        }
    }

    /// Writes the whole archive with its trailer.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut inode = 0_u32;
        for (path, entry) in &self.entries {
            inode = inode.wrapping_add(1);
            write_entry(out, path, entry, inode)?;
        }
        member::write(out, TRAILER, [0, 0, 1, 0, 0], &[])
    }

    /// The archive as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing into a vector can't fail.
        let _ = self.write(&mut bytes);
        bytes
    }

    /// Reads one archive back; what follows its trailer is not looked at.
    ///
    /// # Errors
    /// Anything but a whole newc archive of directories, files, links and character devices.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, CpioError> {
        let mut archive = Self::new();
        loop {
            let (name, fields, data, rest) = member::read(bytes)?;
            if name == TRAILER {
                return Ok(archive);
            }
            let [_, mode, .., major, minor, _, _] = fields;
            let mode_bits = mode & 0o7777;
            match mode & 0o170_000 {
                S_IFDIR => archive.directory(name, mode_bits)?,
                S_IFREG => archive.file(name, mode_bits, data.to_vec())?,
                S_IFLNK => archive.symlink(name, &String::from_utf8_lossy(data))?,
                S_IFCHR => archive.char_device(name, mode_bits, major, minor)?,
                _ => return Err(CpioError::Damaged("an entry of unknown type")),
            }
            bytes = rest;
        }
    }

    fn add(&mut self, path: &str, node: Node, mode: u32) -> Result<(), CpioError> {
        let path = self.prepare(path)?;
        if self.entries.contains_key(&path) {
            return Err(CpioError::Twice(path));
        }
        self.put(path, node, mode);
        Ok(())
    }

    fn put(&mut self, path: String, node: Node, mode: u32) {
        self.entries.insert(
            path,
            Entry {
                node,
                mode: mode & 0o7777,
            },
        );
    }

    /// Judges the name and adds the directories above it.
    fn prepare(&mut self, path: &str) -> Result<String, CpioError> {
        let clean = path.strip_prefix('/').unwrap_or(path);
        let bad = |part: &str| matches!(part, "" | "." | "..");
        if clean.len() >= NAME_MAX
            || clean.contains('\0')
            || clean.split('/').any(bad)
            || clean == TRAILER
        {
            return Err(CpioError::Name(path.to_owned()));
        }
        for (end, _) in clean.match_indices('/') {
            let parent = &clean[..end];
            match self.entries.get(parent) {
                Some(Entry {
                    node: Node::Directory,
                    ..
                }) => {}
                Some(_) => {
                    return Err(CpioError::Parent {
                        path: clean.to_owned(),
                        parent: parent.to_owned(),
                    });
                }
                None => self.put(parent.to_owned(), Node::Directory, 0o755),
            }
        }
        Ok(clean.to_owned())
    }
}

fn write_entry(out: &mut impl Write, path: &str, entry: &Entry, inode: u32) -> io::Result<()> {
    let (kind, links, major, minor, data): (u32, u32, u32, u32, &[u8]) = match &entry.node {
        Node::Directory => (S_IFDIR, 2, 0, 0, &[]),
        Node::File(bytes) => (S_IFREG, 1, 0, 0, bytes),
        Node::Symlink(target) => (S_IFLNK, 1, 0, 0, target.as_bytes()),
        Node::CharDevice(major, minor) => (S_IFCHR, 1, *major, *minor, &[]),
    };
    member::write(
        out,
        path,
        [inode, kind | entry.mode, links, major, minor],
        data,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Archive {
        let mut archive = Archive::new();
        archive.file("/init", 0o755, b"hello".to_vec()).unwrap();
        archive.char_device("dev/console", 0o600, 5, 1).unwrap();
        archive.symlink("bin", "usr/bin").unwrap();
        archive
    }

    #[test]
    fn golden_bytes() {
        let mut archive = Archive::new();
        archive.char_device("/dev/console", 0o600, 5, 1).unwrap();
        archive.file("init", 0o755, b"hello".to_vec()).unwrap();
        let expected = concat!(
            "070701",
            "00000001",
            "000041ed",
            "00000000",
            "00000000",
            "00000002",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000004",
            "00000000",
            "dev\0",
            "\0\0",
            "070701",
            "00000002",
            "00002180",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000005",
            "00000001",
            "0000000c",
            "00000000",
            "dev/console\0",
            "\0\0",
            "070701",
            "00000003",
            "000081ed",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000005",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000005",
            "00000000",
            "init\0",
            "\0",
            "hello",
            "\0\0\0",
            "070701",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "0000000b",
            "00000000",
            "TRAILER!!!\0",
            "\0\0\0",
        );
        assert_eq!(String::from_utf8(archive.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn order_of_adding_does_not_matter() {
        let mut other = Archive::new();
        other.symlink("bin", "usr/bin").unwrap();
        other.directory("dev", 0o755).unwrap();
        other.char_device("dev/console", 0o600, 5, 1).unwrap();
        other.file("init", 0o755, b"hello".to_vec()).unwrap();
        assert_eq!(sample().to_bytes(), other.to_bytes());
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let bytes = sample().to_bytes();
        let back = Archive::from_bytes(&bytes).unwrap();
        assert_eq!(back.entries, sample().entries);
        for cut in 0..bytes.len() - 3 {
            assert!(Archive::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        let mut archive = sample();
        for name in ["", "/", "a//b", "../x", "a/./b", "a/", "a\0b", TRAILER] {
            assert!(
                matches!(archive.file(name, 0o644, vec![]), Err(CpioError::Name(_))),
                "{name:?}"
            );
        }
        assert!(matches!(
            archive.file("init", 0o644, vec![]),
            Err(CpioError::Twice(_))
        ));
        assert!(matches!(
            archive.file("init/x", 0o644, vec![]),
            Err(CpioError::Parent { .. })
        ));
    }
}
