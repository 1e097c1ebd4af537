//! ELF notes of a vmcore: prstatus of each CPU and VMCOREINFO.
//!
//! Upstream: `kernel/vmcore_info.c`, `kernel/crash_core.c`, merged by `fs/proc/vmcore.c`. Names and descriptors are padded to 4 bytes.

use super::VmcoreInfo;
use crate::addr::PageSize;
use std::io;

/// The kernel limits VMCOREINFO to 4 or 8 KiB; what is beyond this is not read.
const MAX_VMCOREINFO: u64 = 256 << 10;
/// More notes than CPUs of any machine.
const MAX_NOTES: u32 = 1 << 18;
const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
/// Register notes and VMCOREINFO notes whose places are kept.
const MOST_STATUSES: usize = 64;
const MOST_INFOS: usize = 4;

/// Fills a buffer from the note segment, at an offset within it.
pub type ReadNotes<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<()>;

/// What the note segment holds.
#[derive(Debug, Default)]
pub struct Notes {
    /// Size of the note segment in bytes.
    pub size: u64,
    /// Number of NT_PRSTATUS notes: CPUs that saved their registers.
    pub cpus: u32,
    /// There is an NT_PRPSINFO note: the core of a process, or `/proc/kcore`.
    pub is_process: bool,
    /// Where the registers of the first CPUs are within the note segment, and how many bytes.
    pub statuses: Vec<(u64, u64)>,
    /// VMCOREINFO text: offset within the note segment, bytes. Of several the one that looks most like one.
    pub vmcoreinfo: Option<(u64, Vec<u8>)>,
    /// The others.
    pub other_infos: Vec<(u64, Vec<u8>)>,
}

impl Notes {
    /// Walks the note segment of `size` bytes. A malformed record ends the walk; what was found before stays.
    ///
    /// # Errors
    /// When VMCOREINFO is there but cannot be read.
    pub fn read(read: ReadNotes<'_>, size: u64) -> io::Result<Self> {
        let mut notes = Self {
            size,
            ..Self::default()
        };
        let (mut at, mut infos) = (0u64, Vec::new());
        for _ in 0..MAX_NOTES {
            let mut head = [0; 12];
            if size.saturating_sub(at) < 12 || read(at, &mut head).is_err() {
                break;
            }
            let word =
                |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
            let (name_size, desc_size, kind) = (u64::from(word(0)), u64::from(word(4)), word(8));
            if name_size == 0 {
                break;
            }
            let desc_at = at + 12 + name_size.next_multiple_of(4);
            let next = desc_at + desc_size.next_multiple_of(4);
            if desc_at + desc_size > size {
                break;
            }
            let mut name = [0; 12];
            let name_len = name
                .len()
                .min(usize::try_from(name_size).unwrap_or(name.len()));
            if read(at + 12, &mut name[..name_len]).is_err() {
                break;
            }
            if &name[..name_len] == b"CORE\0" && kind == NT_PRSTATUS {
                notes.cpus += 1;
                if notes.statuses.len() < MOST_STATUSES {
                    notes.statuses.push((desc_at, desc_size));
                }
            } else if &name[..name_len] == b"CORE\0" && kind == NT_PRPSINFO {
                notes.is_process = true;
            } else if &name[..name_len] == b"VMCOREINFO\0" && kind == 0 && infos.len() < MOST_INFOS
            {
                let mut text = vec![0; usize::try_from(desc_size.min(MAX_VMCOREINFO)).unwrap_or(0)];
                read(desc_at, &mut text)?;
                infos.push((desc_at, text));
            }
            at = next;
        }
        // The sort is stable: of equal ones the first counts.
        infos.sort_by_key(|(_, text)| std::cmp::Reverse(merit(text)));
        let mut infos = infos.into_iter();
        notes.vmcoreinfo = infos.next();
        notes.other_infos = infos.collect();
        Ok(notes)
    }

    /// Takes the first of the other VMCOREINFO texts in the place of the one that is held.
    pub(super) fn next_info(&mut self) {
        if !self.other_infos.is_empty() {
            let next = self.other_infos.remove(0);
            let held = self.vmcoreinfo.replace(next);
            self.other_infos.extend(held);
        }
    }
}

/// How much a text is like VMCOREINFO: release, page size, symbols.
fn merit(text: &[u8]) -> usize {
    let info = VmcoreInfo::parse(text);
    let release = info
        .text("OSRELEASE")
        .is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
    let page = info.text("PAGESIZE").and_then(|p| p.parse().ok());
    usize::from(release)
        + usize::from(page.and_then(PageSize::new).is_some())
        + usize::from(info.symbol("init_uts_ns").is_some())
        + usize::from(info.symbol("_stext").is_some())
}

/// A VMCOREINFO note, and where in it the text begins.
pub(crate) fn vmcoreinfo(text: &[u8]) -> (Vec<u8>, u64) {
    const NAME: &[u8; 12] = b"VMCOREINFO\0\0";
    let size = u32::try_from(text.len()).unwrap_or(0);
    let mut note = Vec::new();
    for word in [11, size, 0] {
        note.extend_from_slice(&word.to_le_bytes());
    }
    note.extend_from_slice(NAME);
    let at = note.len() as u64;
    note.extend_from_slice(text);
    note.resize(note.len().next_multiple_of(4), 0);
    (note, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::In;

    fn note(name: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for v in [
            u32::try_from(name.len()).unwrap(),
            u32::try_from(desc.len()).unwrap(),
            kind,
        ] {
            out.extend(v.to_le_bytes());
        }
        for part in [name, desc] {
            out.extend(part);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    fn walk(bytes: &[u8]) -> Notes {
        let bytes = bytes.to_vec();
        Notes::read(&|at, buf| bytes.read_at(at, buf), bytes.len() as u64).unwrap()
    }

    #[test]
    fn counts_cpus_and_finds_vmcoreinfo() {
        let mut bytes = note(b"CORE\0", 1, &[1; 336]);
        bytes.extend(note(b"CORE\0", 1, &[2; 336]));
        let at = bytes.len() as u64;
        bytes.extend(note(b"VMCOREINFO\0", 0, b"OSRELEASE=6.1\n"));
        let notes = walk(&bytes);
        assert_eq!(notes.cpus, 2);
        assert_eq!(
            notes.vmcoreinfo,
            Some((at + 24, b"OSRELEASE=6.1\n".to_vec()))
        );
    }

    #[test]
    fn of_two_vmcoreinfos_the_one_that_is_one() {
        let mut bytes = note(b"VMCOREINFO\0", 0, b"\xff\x01random\n=\0\n");
        bytes.extend(note(b"VMCOREINFO\0", 0, b"OSRELEASE=6.1\nPAGESIZE=4096\n"));
        bytes.extend(note(b"VMCOREINFO\0", 0, b"OSRELEASE=6.1\nPAGESIZE=0\n"));
        let mut notes = walk(&bytes);
        let first = notes.vmcoreinfo.clone().unwrap();
        assert_eq!(first.1, b"OSRELEASE=6.1\nPAGESIZE=4096\n");
        (0..3).for_each(|_| notes.next_info());
        assert_eq!(notes.vmcoreinfo, Some(first));
        assert_eq!(notes.other_infos.len(), 2);
    }

    #[test]
    fn a_lying_size_ends_the_walk() {
        let mut bytes = note(b"CORE\0", 1, &[1; 8]);
        let mut liar = note(b"VMCOREINFO\0", 0, b"x");
        liar[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        bytes.extend(liar);
        let notes = walk(&bytes);
        assert_eq!(notes.cpus, 1);
        assert_eq!(notes.vmcoreinfo, None);
    }
}
