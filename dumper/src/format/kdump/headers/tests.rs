//! Headers of whole and split dumps, and of those on devices.

use super::super::{Dump, Info, Writer};
use super::*;
use crate::filter::{Bitmap, DumpLevel};
use crate::format::memory::Memory;
use std::sync::Mutex;

/// A dump of 100 pages of which none is kept, and its checksum.
fn dump(erased: &[u8]) -> (Vec<u8>, u32) {
    let out = Memory::default();
    let (len, crc) = dump_to(&out, erased);
    let file = out.0.into_inner().unwrap();
    assert_eq!(len, file.len() as u64);
    (file, crc)
}

fn dump_to(out: &Memory, erased: &[u8]) -> (u64, u32) {
    let pages = Bitmap::new(100).unwrap();
    let info = Info {
        utsname: [b'x'; 390],
        crash_time: 0,
        page_size: PageSize::K4,
        max_mapnr: 100,
        cpus: 1,
        phys_base: 0,
        level: DumpLevel::MAX,
        compression_flag: 0,
        notes_size: 5,
        vmcoreinfo: None,
        read_notes: &|_, buf| {
            buf.fill(b'n');
            Ok(())
        },
    };
    let mut writer = Writer::begin(out, &info, &pages, &pages).unwrap();
    writer.append_erased(erased).unwrap();
    let (len, crc) = writer.finish(true).unwrap();
    (len, crc.unwrap())
}

#[test]
fn what_a_device_held_before_does_not_show() {
    let device = Memory(Mutex::new(vec![0xee; 1 << 16]), true);
    let (len, crc) = dump_to(&device, b"");
    let mut file = device.0.into_inner().unwrap();
    file.truncate(usize::try_from(len).unwrap());
    let dump = Dump::open(Box::new(file)).unwrap();
    assert_eq!((dump.exists().count(), dump.kept().count()), (0, 0));
    assert_eq!(crc, self::dump(b"").1);
}

/// The same as a part with the pages `first..end`.
fn part(file: &[u8], first: u8, end: u8) -> Box<dyn In> {
    let mut file = file.to_vec();
    (file[4096 + 12], file[4096 + 80], file[4096 + 88]) = (1, first, end);
    Box::new(file)
}

#[test]
fn what_was_erased_is_read_back() {
    for text in [&b""[..], b"erase this\n"] {
        let (file, crc) = dump(text);
        assert_eq!(crc, crc32fast::hash(&file));
        assert!(file.ends_with(text));
        let dump = Dump::open(Box::new(file)).unwrap();
        assert_eq!(dump.origin().erased, text);
    }
}

#[test]
fn what_was_erased_is_put_together_by_page_not_by_name() {
    let (first, _) = dump(b"one\n");
    let (second, _) = dump(b"and two\n");
    // Its text is elsewhere.
    let mut third = dump(b"").0;
    let at = third.len() + 999;
    third.resize(at, 0);
    third.extend(b"three\n");
    third[4096 + 64..4096 + 72].copy_from_slice(&(at as u64).to_le_bytes());
    third[4096 + 72] = 6;
    let files = vec![
        part(&third, 60, 100),
        part(&first, 0, 40),
        part(&second, 40, 60),
    ];
    let dump = Dump::open_set(files, 100).unwrap();
    assert_eq!(dump.origin().erased, b"one\nand two\nthree\n");
    assert_eq!(dump.files(), 3);
}
