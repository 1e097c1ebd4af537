//! Restoring the file of a flattened stream, with bounded memory.
//!
//! A stream that is cut off gives what was there, marked incomplete.

use super::{END, HEADER, LIMIT, check_header};
use crate::format::{In, Out};
use std::io::{self, Read};

/// Bytes that are copied at once.
const BUFFER: usize = 1 << 20;

/// Why a stream was not restored.
#[derive(Debug, thiserror::Error)]
pub enum FlatError {
    /// Something else.
    #[error("no flattened dump: it does not begin with \"makedumpfile\"")]
    NotFlat,
    /// Records of another sort.
    #[error(
        "this is a flattened dump of type {0}, only type 1 is known: restore it with 'makedumpfile -R' of the version that wrote it"
    )]
    Kind(u64),
    /// A record that makes no sense.
    #[error("record {number} of the flattened dump is damaged: {size} bytes at offset {offset}")]
    Damaged {
        /// Its number, from 0.
        number: u64,
        /// Where its bytes belong.
        offset: i64,
        /// How many they are.
        size: i64,
    },
    /// It cannot be read where it is.
    #[error(
        "the flattened dump has too many records to be read as it is: restore it first, with 'baredump rearrange'"
    )]
    TooMany,
    /// The stream cannot be read.
    #[error("cannot read the flattened dump: {0}")]
    Read(#[source] io::Error),
    /// The file cannot be written.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
}

/// What was restored.
#[derive(Debug, PartialEq, Eq)]
pub struct Rearranged {
    /// Records.
    pub records: u64,
    /// Size of the file.
    pub bytes: u64,
    /// The end marker was there; otherwise the stream was cut off.
    pub complete: bool,
}

/// Reads a flattened stream and writes the file that it holds; what no record fills stays a hole.
///
/// # Errors
/// When it is no flattened stream, a record makes no sense, or either side fails. What was written by then stays.
pub fn rearrange(from: &mut dyn Read, out: &dyn Out) -> Result<Rearranged, FlatError> {
    let mut buf = vec![0; BUFFER];
    let head = fill(from, &mut buf[..HEADER])?;
    check_header(&buf[..head])?;
    let mut result = Rearranged {
        records: 0,
        bytes: 0,
        complete: false,
    };
    // A header that ends early is that of a stream that was cut off.
    if head < HEADER {
        return Ok(result);
    }
    loop {
        let mut header = [0; END.len()];
        if fill(from, &mut header)? < header.len() {
            break;
        }
        if header == END {
            result.complete = true;
            break;
        }
        let (offset, size) = judge(header, result.records)?;
        let copied = copy(from, out, offset, size, &mut buf)?;
        result.bytes = result.bytes.max(offset + copied);
        if copied < size {
            break;
        }
        result.records += 1;
    }
    Ok(result)
}

/// Offset and size of a record.
pub(super) fn judge(header: [u8; 16], number: u64) -> Result<(u64, u64), FlatError> {
    let [mut offset, mut size] = [[0; 8]; 2];
    offset.copy_from_slice(&header[..8]);
    size.copy_from_slice(&header[8..]);
    let (offset, size) = (i64::from_be_bytes(offset), i64::from_be_bytes(size));
    match (u64::try_from(offset), u64::try_from(size)) {
        (Ok(o), Ok(s)) if s != 0 && o.checked_add(s).is_some_and(|end| end <= LIMIT) => Ok((o, s)),
        _ => Err(FlatError::Damaged {
            number,
            offset,
            size,
        }),
    }
}

/// Copies up to `size` bytes and says how many there were.
fn copy(
    from: &mut dyn Read,
    out: &dyn Out,
    offset: u64,
    size: u64,
    buf: &mut [u8],
) -> Result<u64, FlatError> {
    let mut done = 0;
    while done < size {
        let part = usize::try_from(size - done)
            .unwrap_or(BUFFER)
            .min(buf.len());
        let got = fill(from, &mut buf[..part])?;
        out.write_at(offset + done, &buf[..got])
            .map_err(FlatError::Write)?;
        done += got as u64;
        if got < part {
            break;
        }
    }
    Ok(done)
}

/// Fills `buf` as far as the stream goes.
fn fill(from: &mut dyn Read, buf: &mut [u8]) -> Result<usize, FlatError> {
    let mut done = 0;
    while done < buf.len() {
        match from.read(&mut buf[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(FlatError::Read(e)),
        }
    }
    Ok(done)
}

/// Marks a restored dump as incomplete, if its headers are there, and gives it the length that its descriptors need. False when it
/// is nothing that can be marked.
///
/// # Errors
/// As the file.
pub fn mark_incomplete(file: &dyn In, out: &dyn Out) -> io::Result<bool> {
    let mut head = [0; 464];
    if file.len() < head.len() as u64 {
        return Ok(false);
    }
    file.read_at(0, &mut head)?;
    if head.starts_with(b"\x7fELF") {
        return mark_elf(&head, out);
    }
    if !head.starts_with(b"KDUMP   ") {
        return Ok(false);
    }
    let Some(layout) = Layout::of(&head) else {
        return Ok(false);
    };
    let status = layout.word(&head, layout.status) | crate::format::kdump::INCOMPLETE;
    out.write_at(layout.status as u64, &layout.bytes(status))?;
    let end = layout.descs_end(&head, file)?;
    if file.len() < end {
        out.set_len(end)?;
    }
    Ok(true)
}

/// `e_flags` bit 0 is makedumpfile's mark.
fn mark_elf(head: &[u8], out: &dyn Out) -> io::Result<bool> {
    let at: u64 = if head[4] == 2 { 48 } else { 36 };
    let flag: [u8; 4] = if head[5] == 1 {
        [1, 0, 0, 0]
    } else {
        [0, 0, 0, 1]
    };
    out.write_at(at, &flag)?;
    Ok(true)
}

/// Where the fields of a kdump header are: its layout depends on the word size and byte order of the machine that died.
struct Layout {
    status: usize,
    big_endian: bool,
}

impl Layout {
    fn of(head: &[u8]) -> Option<Self> {
        [(424, false), (412, false), (424, true), (412, true)]
            .into_iter()
            .map(|(status, big_endian)| Self { status, big_endian })
            .find(|layout| {
                let block = layout.block(head);
                block.is_power_of_two() && (4096..=1 << 18).contains(&block)
            })
    }

    fn word(&self, head: &[u8], at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&head[at..at + 4]);
        if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }

    fn bytes(&self, word: u32) -> [u8; 4] {
        if self.big_endian {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        }
    }

    fn block(&self, head: &[u8]) -> u32 {
        self.word(head, self.status + 4)
    }

    /// Where the page descriptors end: one for every bit of bitmap 2, as far as the file holds it.
    fn descs_end(&self, head: &[u8], file: &dyn In) -> io::Result<u64> {
        let block = u64::from(self.block(head));
        let sub_blocks = u64::from(self.word(head, self.status + 8));
        let bitmap = u64::from(self.word(head, self.status + 12)) * block;
        let start = (1 + sub_blocks) * block;
        let end = start + bitmap;
        let (mut at, mut bits) = (start + bitmap / 2, 0);
        let mut buf = vec![0; BUFFER];
        while at < end.min(file.len()) {
            let part = usize::try_from(end.min(file.len()) - at)
                .unwrap_or(BUFFER)
                .min(BUFFER);
            file.read_at(at, &mut buf[..part])?;
            bits += buf[..part]
                .iter()
                .map(|b| u64::from(b.count_ones()))
                .sum::<u64>();
            at += part as u64;
        }
        // Headers that were never believed by anybody: don't make a file of any size from them.
        Ok(if end > LIMIT { 0 } else { end + bits * 24 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::FlatOut;
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Memory(Mutex<Vec<u8>>);

    impl Out for Memory {
        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let mut file = self.0.lock().unwrap();
            let (start, end) = (
                usize::try_from(offset).unwrap(),
                usize::try_from(offset).unwrap() + bytes.len(),
            );
            if file.len() < end {
                file.resize(end, 0);
            }
            file[start..end].copy_from_slice(bytes);
            Ok(())
        }
        fn reserve(&self, _: std::ops::Range<u64>) -> io::Result<()> {
            Ok(())
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0
                .lock()
                .unwrap()
                .resize(usize::try_from(len).unwrap(), 0);
            Ok(())
        }
    }

    impl In for Memory {
        fn len(&self) -> u64 {
            self.0.lock().unwrap().len() as u64
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            let start = usize::try_from(offset).unwrap();
            buf.copy_from_slice(&self.0.lock().unwrap()[start..start + buf.len()]);
            Ok(())
        }
    }

    fn stream(records: &[(u64, &[u8])]) -> Vec<u8> {
        let out = FlatOut::new(Vec::new()).unwrap();
        for (offset, bytes) in records {
            out.write_at(*offset, bytes).unwrap();
        }
        out.finish().unwrap()
    }

    fn restore(stream: &[u8]) -> (Result<Rearranged, FlatError>, Vec<u8>) {
        let out = Memory::default();
        let result = rearrange(&mut &*stream, &out);
        (result, out.0.into_inner().unwrap())
    }

    #[test]
    fn later_records_win_and_gaps_are_zeros() {
        let (result, file) = restore(&stream(&[(8, b"tail"), (0, b"old"), (0, b"new")]));
        assert_eq!(file, b"new\0\0\0\0\0tail");
        let whole = Rearranged {
            records: 3,
            bytes: 12,
            complete: true,
        };
        assert_eq!(result.unwrap(), whole);
        let large = vec![7; BUFFER + 5];
        let (_, file) = restore(&stream(&[(1, &large)]));
        assert_eq!((file.len(), file[0], file[BUFFER + 5]), (BUFFER + 6, 0, 7));
    }

    #[test]
    fn a_cut_is_seen_wherever_it_is() {
        let whole = stream(&[(0, b"head"), (4, b"tail")]);
        for len in 24..whole.len() {
            let (result, file) = restore(&whole[..len]);
            assert!(!result.unwrap().complete, "{len}");
            assert!(b"headtail".starts_with(&file[..]), "{len}");
        }
        assert!(matches!(restore(b"KDUMP   ").0, Err(FlatError::NotFlat)));
        assert!(matches!(restore(b"").0, Err(FlatError::NotFlat)));
    }

    #[test]
    fn records_that_make_no_sense_are_refused() {
        let good = stream(&[(0, b"x")]);
        for (offset, size) in [
            (-1, 5),
            (5, -1),
            (0, 0),
            (i64::MAX, 1),
            (1 << 52, 1),
            (0, i64::MAX),
        ] {
            let mut bad = good[..HEADER].to_vec();
            bad.extend(i64::to_be_bytes(offset));
            bad.extend(i64::to_be_bytes(size));
            bad.extend([0; 64]);
            let (result, file) = restore(&bad);
            assert!(matches!(result, Err(FlatError::Damaged { number: 0, .. })));
            assert!(file.is_empty());
        }
    }

    #[test]
    fn an_incomplete_dump_is_marked() {
        for (status, big_endian) in [(424, false), (412, false), (424, true)] {
            let mut head = vec![0; 4096 * 3 + 1];
            head[..8].copy_from_slice(b"KDUMP   ");
            for (at, word) in [(0, 0x20u32), (4, 4096), (8, 1), (12, 2)] {
                let bytes = if big_endian {
                    word.to_be_bytes()
                } else {
                    word.to_le_bytes()
                };
                head[status + at..][..4].copy_from_slice(&bytes);
            }
            head[4096 * 3] = 0b101;
            let file = Memory(Mutex::new(head));
            assert!(mark_incomplete(&file, &file).unwrap());
            let file = file.0.into_inner().unwrap();
            let flag = if big_endian { status + 3 } else { status };
            assert_eq!((file[flag], file.len()), (0x28, 4 * 4096 + 48));
        }
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(464, 0);
        let file = Memory(Mutex::new(elf));
        assert!(mark_incomplete(&file, &file).unwrap());
        assert_eq!(file.0.into_inner().unwrap()[48], 1);
        let text = Memory(Mutex::new(vec![b' '; 464]));
        assert!(!mark_incomplete(&text, &text).unwrap());
    }
}
