//! Split dumps that are not whole, and bitmaps with more room than they need: what is there is read.

use super::dumped::{Dumped, dump};
use baredump::dump::Outcome;
use tests::fake_kernel::{FakeKernel, Generation};

const BLOCK: usize = 4096;

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// Where the bitmaps are, and how long both are.
fn maps(dump: &[u8]) -> (usize, usize) {
    ((1 + u32_at(dump, 432)) * BLOCK, u32_at(dump, 436) * BLOCK)
}

/// The part of `dump` that holds the pages `first..end`.
fn part(dump: &[u8], first: usize, end: usize) -> Vec<u8> {
    let mut part = dump.to_vec();
    part[BLOCK + 12] = 1;
    for (at, value) in [(16, first), (24, end), (80, first), (88, end)] {
        part[BLOCK + at..BLOCK + at + 8].copy_from_slice(&(value as u64).to_le_bytes());
    }
    let (map, size) = maps(dump);
    let (kept, descs) = (&dump[map + size / 2..map + size], map + size);
    let count = |from: usize, to: usize| {
        (from..to)
            .filter(|p| kept[p / 8] >> (p % 8) & 1 != 0)
            .count()
            * 24
    };
    let (before, own) = (count(0, first), count(first, end));
    let all = count(0, size / 2 * 8);
    part[descs..descs + all].fill(0);
    part[descs..descs + own].copy_from_slice(&dump[descs + before..descs + before + own]);
    part
}

/// Of a dump: in one every page is judged.
fn whole() -> Dumped {
    let plain = dump(&[&FakeKernel::zoo(Generation::V6_12).build().elf], 0).unwrap();
    dump(&[&plain.bytes], 31).unwrap()
}

#[test]
fn what_is_there_of_a_split_dump_is_read() {
    let whole = whole();
    let max = u32_at(&whole.bytes, 440);
    let cuts = [0, max / 3, max / 2, max];
    let parts: Vec<_> = cuts
        .windows(2)
        .map(|c| part(&whole.bytes, c[0], c[1]))
        .collect();
    let all: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    assert_eq!(dump(&all, 31).unwrap().summary.outcome, Outcome::Complete);
    for absent in 0..3 {
        let files: Vec<&[u8]> = (0..3).filter(|n| *n != absent).map(|n| all[n]).collect();
        let (first, end) = (cuts[absent] as u64, cuts[absent + 1] as u64);
        let read = dump(&files, 31).unwrap();
        let lost = whole
            .pages()
            .iter()
            .filter(|p| (first..end).contains(*p))
            .count();
        assert!(lost > 0);
        assert_eq!(read.summary.pages.unreadable, lost as u64);
        let Outcome::Partial(why) = &read.summary.outcome else {
            panic!("part {absent} is missing, and the dump is whole")
        };
        let named = format!("pages {first:#x} to {end:#x} is missing");
        assert!(why.contains(&named), "{why}");
        assert!(read.pages() == whole.pages());
    }
    // Twice the same, or a part and a whole.
    for wrong in [[all[0], all[0]], [all[1], &whole.bytes]] {
        assert!(dump(&wrong, 31).is_err());
    }
}

#[test]
fn pages_that_nobody_has_need_no_part() {
    let whole = whole();
    let kept = whole.pages();
    let number = |pfn: u64| usize::try_from(pfn).unwrap();
    let (first, last) = (number(kept[0]), number(kept[kept.len() - 1]));
    assert!(first > 0);
    let files = [
        part(&whole.bytes, first, 600),
        part(&whole.bytes, 600, last + 1),
    ];
    let read = dump(&[&files[0], &files[1]], 31).unwrap();
    assert_eq!(read.summary.outcome, Outcome::Complete);
    assert!(read.bytes == dump(&[&whole.bytes], 31).unwrap().bytes);
}

#[test]
fn bitmaps_can_have_more_room_than_they_need() {
    let whole = whole();
    let (map, size) = maps(&whole.bytes);
    let (half, more) = (size / 2, 3 * BLOCK);
    let mut roomy = whole.bytes[..map + half].to_vec();
    // What is there is nobody's.
    roomy.extend(vec![0xff; more]);
    roomy.extend(&whole.bytes[map + half..map + size]);
    roomy.extend(vec![0xff; more]);
    roomy.extend(&whole.bytes[map + size..]);
    let blocks = (size + 2 * more) / BLOCK;
    roomy[436..440].copy_from_slice(&u32::try_from(blocks).unwrap().to_le_bytes());
    let count = whole.pages().len();
    for desc in 0..count {
        let at = map + size + 2 * more + desc * 24;
        let offset = u32_at(&roomy, at) + 2 * more;
        roomy[at..at + 4].copy_from_slice(&u32::try_from(offset).unwrap().to_le_bytes());
    }
    let read = dump(&[&roomy], 31).unwrap();
    assert_eq!(read.summary.outcome, Outcome::Complete);
    assert!(read.bytes == dump(&[&whole.bytes], 31).unwrap().bytes);
}
