//! Writing headers and data.

use super::bits::{Ehdr, INCOMPLETE, PN_XNUM, PT_LOAD, PT_NOTE, Phdr, Shdr};
use super::pieces::Piece;
use crate::format::Out;
use std::io;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

/// Bytes of notes or headers that are handled at once.
const BLOCK: usize = 64 << 10;
/// Read, write, execute: what the kernel writes.
const RWX: u32 = 7;

/// What the headers say.
pub struct Info<'a> {
    /// `e_machine`.
    pub machine: u16,
    /// `p_align` of the note segment: 0, or 4 from newer kernels.
    pub notes_align: u64,
    /// Size of the note segment.
    pub notes_size: u64,
    /// Reads the note segment.
    #[allow(clippy::type_complexity, reason = "one use")]
    pub read_notes: &'a dyn Fn(u64, &mut [u8]) -> io::Result<()>,
}

/// The writer. Until it has finished, the file is marked incomplete; a stream is marked only if it does not become complete.
pub struct Writer<'a> {
    out: &'a dyn Out,
    header: Ehdr,
    start: u64,
    at: u64,
}

impl<'a> Writer<'a> {
    /// Writes headers and notes. `pieces` gives the segments, each time anew.
    ///
    /// # Errors
    /// As the output; EFBIG when there are more segments than the format can count.
    pub fn begin<I: Iterator<Item = Piece>>(
        out: &'a dyn Out,
        info: &Info<'_>,
        pieces: impl Fn() -> I,
    ) -> io::Result<Self> {
        let count = 1 + pieces().count() as u64;
        let count = u32::try_from(count).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        let phoff = size_of::<Ehdr>() as u64;
        let table_end = phoff + u64::from(count) * size_of::<Phdr>() as u64;
        let small = u16::try_from(count).ok().filter(|n| *n != PN_XNUM);
        let wide = small.is_none();
        let notes_at = table_end + if wide { size_of::<Shdr>() as u64 } else { 0 };
        let mut ident = [0; 16];
        ident[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        let mut writer = Self {
            out,
            header: Ehdr {
                ident,
                kind: U16::new(4),
                machine: U16::new(info.machine),
                version: U32::new(1),
                entry: U64::new(0),
                phoff: U64::new(phoff),
                shoff: U64::new(if wide { table_end } else { 0 }),
                flags: U32::new(0),
                ehsize: U16::new(64),
                phentsize: U16::new(56),
                phnum: U16::new(small.unwrap_or(PN_XNUM)),
                shentsize: U16::new(if wide { 64 } else { 0 }),
                shnum: U16::new(u16::from(wide)),
                shstrndx: U16::new(0),
            },
            start: notes_at + info.notes_size,
            at: notes_at + info.notes_size,
        };
        out.reserve(0..writer.start)?;
        writer.write_header(!out.is_stream())?;
        writer.write_table(notes_at, info, pieces())?;
        if wide {
            let section = Shdr {
                before: [0; 32],
                size: U64::new(1),
                link: U32::new(0),
                info: U32::new(count),
                after: [0; 16],
            };
            out.write_at(table_end, section.as_bytes())?;
        }
        writer.write_notes(notes_at, info)?;
        Ok(writer)
    }

    fn write_header(&mut self, incomplete: bool) -> io::Result<()> {
        self.header
            .flags
            .set(if incomplete { INCOMPLETE } else { 0 });
        self.out.write_at(0, self.header.as_bytes())
    }

    fn write_table(
        &self,
        notes_at: u64,
        info: &Info<'_>,
        pieces: impl Iterator<Item = Piece>,
    ) -> io::Result<()> {
        let mut buf = Vec::with_capacity(BLOCK + size_of::<Phdr>());
        let mut at = self.header.phoff.get();
        let zero = U64::new(0);
        let note = Phdr {
            kind: U32::new(PT_NOTE),
            flags: U32::new(0),
            offset: U64::new(notes_at),
            vaddr: zero,
            paddr: zero,
            filesz: U64::new(info.notes_size),
            memsz: U64::new(info.notes_size),
            align: U64::new(info.notes_align),
        };
        buf.extend_from_slice(note.as_bytes());
        let mut data = self.start;
        for (number, piece) in pieces.enumerate() {
            // As there: a piece of which nothing is in the file is nowhere in it, but for the last. The first has a place all the
            // same, which crash takes for the end of the headers; there it is the kernel's text, of which something is always kept.
            let nowhere = piece.file == 0 && !piece.last && number > 0;
            let load = Phdr {
                kind: U32::new(PT_LOAD),
                flags: U32::new(RWX),
                offset: U64::new(if nowhere { 0 } else { data }),
                vaddr: U64::new(piece.virt),
                paddr: U64::new(piece.phys),
                filesz: U64::new(piece.file),
                memsz: U64::new(piece.memory),
                align: zero,
            };
            buf.extend_from_slice(load.as_bytes());
            data += piece.file;
            if buf.len() >= BLOCK {
                self.out.write_at(at, &buf)?;
                at += buf.len() as u64;
                buf.clear();
            }
        }
        self.out.write_at(at, &buf)
    }

    fn write_notes(&self, notes_at: u64, info: &Info<'_>) -> io::Result<()> {
        let mut buf = vec![0; BLOCK.min(usize::try_from(info.notes_size).unwrap_or(BLOCK))];
        let mut at = 0;
        while at < info.notes_size {
            let part = usize::try_from(info.notes_size - at)
                .unwrap_or(BLOCK)
                .min(BLOCK);
            // A note that cannot be read is zeros; the dump is worth more than its notes.
            if (info.read_notes)(at, &mut buf[..part]).is_err() {
                buf[..part].fill(0);
            }
            self.out.write_at(notes_at + at, &buf[..part])?;
            at += part as u64;
        }
        Ok(())
    }

    /// Appends data, in the order of the pieces.
    ///
    /// # Errors
    /// As the output.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Bytes of the file so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.at
    }

    /// Ends the dump: `complete` takes the mark out of the header.
    ///
    /// # Errors
    /// As the output.
    pub fn finish(mut self, complete: bool) -> io::Result<()> {
        self.out.set_len(self.at)?;
        if complete && self.out.is_stream() {
            return Ok(());
        }
        self.write_header(!complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::memory::Memory;

    fn write(count: u64, complete: bool) -> Vec<u8> {
        let out = Memory::default();
        let info = Info {
            machine: 62,
            notes_align: 4,
            notes_size: 4,
            read_notes: &|_, buf| {
                buf.copy_from_slice(b"note");
                Ok(())
            },
        };
        let pieces = || {
            (0..count).map(move |i| Piece {
                phys: i << 20,
                virt: 0,
                file: u64::from(i == count - 1) * 4,
                memory: 1 << 20,
                last: i == count - 1,
            })
        };
        let mut writer = Writer::begin(&out, &info, pieces).unwrap();
        writer.append(b"page").unwrap();
        writer.finish(complete).unwrap();
        out.0.into_inner().unwrap()
    }

    fn u16_at(file: &[u8], at: usize) -> u16 {
        u16::from_le_bytes([file[at], file[at + 1]])
    }

    fn u64_at(file: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn few_segments_and_the_mark() {
        let file = write(3, true);
        assert_eq!((u16_at(&file, 56), u64_at(&file, 40), file[48]), (4, 0, 0));
        let notes = 64 + 4 * 56;
        assert_eq!(u64_at(&file, 64 + 8), notes);
        // Only the last piece has data; the first has a place all the same.
        let places = [128, 184, 240].map(|at| u64_at(&file, at));
        assert_eq!(places, [notes + 4, 0, notes + 4]);
        assert!(file.ends_with(b"notepage"));
        assert_eq!(write(2, false)[48], 1);
    }

    #[test]
    fn more_segments_than_16_bits_count() {
        for (pieces, phnum) in [(0xfffd, 0xfffe), (0xfffe, 0xffff)] {
            let file = write(pieces, true);
            let table = 64 + (pieces + 1) * 56;
            let wide = phnum == 0xffff;
            assert_eq!(u16_at(&file, 56), phnum);
            assert_eq!(u64_at(&file, 40), if wide { table } else { 0 });
            assert_eq!(
                (u16_at(&file, 58), u16_at(&file, 60)),
                if wide { (64, 1) } else { (0, 0) }
            );
            let notes = table + if wide { 64 } else { 0 };
            assert_eq!(u64_at(&file, 64 + 8), notes);
            assert_eq!(file.len() as u64, notes + 8);
            if wide {
                let info = usize::try_from(table).unwrap() + 44;
                assert_eq!(u64::from(u16_at(&file, info)), pieces + 1);
            }
        }
    }
}
