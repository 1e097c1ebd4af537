//! The ELF headers of a vmcore, judged.
//!
//! Upstream: the kernel's `fs/proc/vmcore.c` and `kernel/crash_core.c` (`crash_prepare_elf64_headers`) write what is read here.
//! Holds for: ELF64 little-endian core files, from Linux 3.11 on for `/proc/vmcore`, and such files with PN_XNUM.

use super::VmcoreError;
use super::extents::{Extents, Segment};
use super::table::{self, MAX_PHDRS, Table};
use crate::addr::PhysAddr;
use crate::format::In;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Physical addresses have at most 52 bits on every architecture that is read.
pub(super) const PHYS_LIMIT: u64 = 1 << 52;

pub(super) const PT_LOAD: u32 = 1;
pub(super) const PT_NOTE: u32 = 4;
/// makedumpfile's mark, all of `e_flags`: the space ended before the pages did.
const INCOMPLETE: u32 = 1;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct Ehdr {
    pub(super) ident: [u8; 16],
    pub(super) kind: U16,
    pub(super) machine: U16,
    pub(super) version: U32,
    pub(super) entry: U64,
    pub(super) phoff: U64,
    pub(super) shoff: U64,
    pub(super) flags: U32,
    pub(super) ehsize: U16,
    pub(super) phentsize: U16,
    pub(super) phnum: U16,
    pub(super) shentsize: U16,
    pub(super) shnum: U16,
    pub(super) shstrndx: U16,
}
const _: () = assert!(size_of::<Ehdr>() == 64);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct Phdr {
    pub(super) kind: U32,
    pub(super) flags: U32,
    pub(super) offset: U64,
    pub(super) vaddr: U64,
    pub(super) paddr: U64,
    pub(super) filesz: U64,
    pub(super) memsz: U64,
    pub(super) align: U64,
}
const _: () = assert!(size_of::<Phdr>() == 56);

/// What the headers say, as far as it is believed.
#[derive(Debug)]
pub(super) struct Layout {
    /// `e_machine`.
    pub machine: u16,
    /// PT_LOADs in header order.
    pub segments: Vec<Segment>,
    /// The same memory as sorted, disjoint extents.
    pub extents: Extents,
    /// PT_NOTE: file offset and size.
    pub notes: Option<(u64, u64)>,
    /// What was not believed, a sentence each (at most [`MAX_WARNINGS`]).
    pub warnings: Vec<String>,
    /// The file ends before its segments do.
    pub truncated: bool,
}

/// More than this many complaints about one file help nobody.
const MAX_WARNINGS: usize = 16;

impl Layout {
    /// Reads and judges the headers of `file`.
    ///
    /// # Errors
    /// When it is no 64-bit little-endian ELF core file, or no segment of it is believable.
    pub(super) fn read(file: &dyn In) -> Result<Self, VmcoreError> {
        let len = file.len();
        let header = read_header(file)?;
        let (Table { at: start, count }, damaged) = table::find(file, &header)?;
        let mut layout = Self {
            machine: header.machine.get(),
            segments: Vec::new(),
            extents: Extents::default(),
            notes: None,
            warnings: Vec::new(),
            truncated: false,
        };
        if let Some(why) = damaged {
            layout.warn(why);
        } else if header.flags.get() == INCOMPLETE {
            layout.truncated = true;
            layout.warn("the ELF file is marked incomplete".into());
        }
        let mut seen_load = false;
        if count > MAX_PHDRS {
            layout.truncated = true;
            layout.warn(format!(
                "of {count} program headers only the first {MAX_PHDRS} are read"
            ));
        }
        for index in 0..count.min(MAX_PHDRS) {
            let at = start.checked_add(u64::from(index) * size_of::<Phdr>() as u64);
            let mut phdr = Phdr::new_zeroed();
            if at.is_none_or(|at| file.read_at(at, phdr.as_mut_bytes()).is_err()) {
                layout.truncated = true;
                layout.warn(format!(
                    "the file ends in program header {index} of {count}"
                ));
                break;
            }
            match phdr.kind.get() {
                PT_NOTE if layout.notes.is_none() => layout.take_notes(&phdr, len),
                PT_LOAD => {
                    seen_load = true;
                    layout.take_segment(index, &phdr, len)?;
                }
                _ => {}
            }
        }
        if !layout.segments.is_empty() {
            layout.extents = Extents::new(&layout.segments);
            return Ok(layout);
        }
        Err(if layout.truncated {
            VmcoreError::Truncated { len }
        } else if seen_load {
            VmcoreError::NoMemory(layout.warnings.join("; "))
        } else {
            VmcoreError::NoMemory("it has no PT_LOAD segment".into())
        })
    }

    /// Whether no segment has a physical address.
    pub(super) fn is_virtual(&self) -> bool {
        self.segments.iter().all(|s| s.start.raw() == 0)
    }

    fn warn(&mut self, text: String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(text);
        }
    }

    fn take_notes(&mut self, phdr: &Phdr, len: u64) {
        let (offset, size) = (phdr.offset.get(), phdr.filesz.get());
        if offset >= len {
            self.truncated |= size != 0;
            return;
        }
        let left = len - offset;
        if size > left {
            self.truncated = true;
            self.warn(format!(
                "the notes claim {size} bytes, the file has {left} left for them"
            ));
        }
        self.notes = Some((offset, size.min(left)));
    }

    fn take_segment(&mut self, index: u32, phdr: &Phdr, len: u64) -> Result<(), VmcoreError> {
        let (paddr, offset) = (phdr.paddr.get(), phdr.offset.get());
        let mem_size = phdr.memsz.get();
        let mut file_size = phdr.filesz.get().min(mem_size);
        // All ones is the producers' way to say "this has no physical address".
        if mem_size == 0 || paddr == u64::MAX {
            return Ok(());
        }
        if paddr
            .checked_add(mem_size)
            .is_none_or(|end| end > PHYS_LIMIT)
        {
            self.warn(format!("segment {index} ignored: {mem_size:#x} bytes at physical {paddr:#x} are beyond 2^52"));
            return Ok(());
        }
        if file_size != 0 && offset.checked_add(file_size).is_none_or(|end| end > len) {
            self.truncated = true;
            let left = len.saturating_sub(offset);
            self.warn(format!(
                "segment {index} at physical {paddr:#x} claims {file_size:#x} bytes, the file has {left:#x} left for it"
            ));
            file_size = file_size.min(left);
            if file_size == 0 {
                return Ok(());
            }
        }
        let segment = Segment {
            start: PhysAddr::new(paddr),
            virt: phdr.vaddr.get(),
            offset,
            file_size,
            mem_size: if self.truncated && file_size < phdr.filesz.get() {
                file_size
            } else {
                mem_size
            },
        };
        self.segments
            .try_reserve(1)
            .map_err(|_| VmcoreError::Memory)?;
        self.segments.push(segment);
        Ok(())
    }
}

fn read_header(file: &dyn In) -> Result<Ehdr, VmcoreError> {
    let len = file.len();
    if len == 0 {
        return Err(VmcoreError::Empty);
    }
    let mut header = Ehdr::new_zeroed();
    let got = usize::try_from(len)
        .unwrap_or(usize::MAX)
        .min(size_of::<Ehdr>());
    file.read_at(0, &mut header.as_mut_bytes()[..got])?;
    if got < size_of::<Ehdr>() {
        return Err(if got < 4 || header.ident[..4] != *b"\x7fELF" {
            VmcoreError::NotElf
        } else {
            VmcoreError::Truncated { len }
        });
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(phdrs: &[Phdr], len: usize) -> Vec<u8> {
        let mut header = Ehdr::new_zeroed();
        header.ident[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        header.kind = 4.into();
        header.machine = 62.into();
        header.phoff = 64.into();
        header.phentsize = 56.into();
        header.phnum = u16::try_from(phdrs.len()).unwrap().into();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(phdrs.iter().flat_map(|p| p.as_bytes().to_vec()));
        bytes.resize(len, 0);
        bytes
    }

    fn load(paddr: u64, offset: u64, size: u64) -> Phdr {
        let (paddr, offset, filesz) = (paddr.into(), offset.into(), size.into());
        Phdr {
            kind: PT_LOAD.into(),
            paddr,
            offset,
            filesz,
            memsz: filesz,
            ..Phdr::new_zeroed()
        }
    }

    #[test]
    fn nonsense_segments_are_ignored_with_a_word() {
        let good = load(0x1000, 0x1000, 0x1000);
        let wraps = load(u64::MAX - 0xfff, 0x1000, 0x2000);
        let huge = load(0x2000, 0x1000, 18_446_677_749_210_427_392);
        let layout = Layout::read(&file(&[wraps, huge, good], 0x2000)).unwrap();
        assert_eq!(layout.segments.len(), 1);
        assert_eq!(layout.warnings.len(), 2, "{:?}", layout.warnings);
        assert!(!layout.truncated);
        let none = Layout::read(&file(&[huge], 0x2000)).unwrap_err();
        assert!(matches!(none, VmcoreError::NoMemory(_)), "{none}");
    }

    #[test]
    fn a_short_file_is_truncated_not_refused() {
        let layout = Layout::read(&file(
            &[load(0x1000, 0x1000, 0x4000), load(0x9000, 0x5000, 0x1000)],
            0x2800,
        ))
        .unwrap();
        assert!(layout.truncated);
        assert_eq!(layout.segments.len(), 1);
        assert_eq!(layout.segments[0].file_size, 0x1800);
        assert_eq!(layout.segments[0].mem_size, 0x1800);
    }

    #[test]
    fn of_absurdly_many_segments_the_first_are_read() {
        let count = MAX_PHDRS as usize + 100;
        let mut header = Ehdr::read_from_prefix(&file(&[], 64)).unwrap().0;
        // The real number is sh_info of a section header behind the table.
        (header.phnum, header.shoff) = (0xffff.into(), (64 + 56 * count as u64).into());
        let mut bytes = header.as_bytes().to_vec();
        for index in 0..count as u64 {
            bytes.extend(load(index << 13, 0, 0x1000).as_bytes());
        }
        bytes.extend([0; 44]);
        bytes.extend(u32::try_from(count).unwrap().to_le_bytes());
        bytes.extend([0; 16]);
        let layout = Layout::read(&bytes).unwrap();
        assert_eq!(layout.segments.len(), MAX_PHDRS as usize);
        assert!(layout.truncated);
        assert!(
            layout.warnings[0].contains("only the first"),
            "{:?}",
            layout.warnings
        );
    }

    #[test]
    fn what_is_no_vmcore_is_named() {
        assert!(matches!(Layout::read(&Vec::new()), Err(VmcoreError::Empty)));
        let text =
            b"hello, this is a text file and no vmcore at all, but it is long enough to be read"
                .to_vec();
        assert!(matches!(Layout::read(&text), Err(VmcoreError::NotElf)));
        assert!(matches!(
            Layout::read(&file(&[], 64)),
            Err(VmcoreError::Unsupported(_))
        ));
    }
}
