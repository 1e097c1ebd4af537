//! ELF notes of a vmcore: prstatus of each CPU and VMCOREINFO.
//!
//! Upstream: `kernel/vmcore_info.c`, `kernel/crash_core.c`, merged by `fs/proc/vmcore.c`. Names and descriptors are padded to 4 bytes.

use std::io;

/// The kernel limits VMCOREINFO to 4 or 8 KiB; what is beyond this is not read.
const MAX_VMCOREINFO: u64 = 256 << 10;
/// More notes than CPUs of any machine.
const MAX_NOTES: u32 = 1 << 18;
const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;

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
    /// VMCOREINFO text: offset within the note segment, bytes.
    pub vmcoreinfo: Option<(u64, Vec<u8>)>,
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
        let mut at = 0u64;
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
            } else if &name[..name_len] == b"CORE\0" && kind == NT_PRPSINFO {
                notes.is_process = true;
            } else if &name[..name_len] == b"VMCOREINFO\0"
                && kind == 0
                && notes.vmcoreinfo.is_none()
            {
                let mut text = vec![0; usize::try_from(desc_size.min(MAX_VMCOREINFO)).unwrap_or(0)];
                read(desc_at, &mut text)?;
                notes.vmcoreinfo = Some((desc_at, text));
            }
            at = next;
        }
        Ok(notes)
    }
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
