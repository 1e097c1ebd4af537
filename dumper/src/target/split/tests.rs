//! Tests of `split`.

use super::joined::{Joined, with_limit};
use super::*;
use crate::format::In;
use crate::target::{DumpDir, Mounted, Pending, Place};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

fn place(limit: u64) -> (TempDir, SplitDir) {
    let mount = tempfile::tempdir().unwrap();
    let dir = DumpDir::create(&Mounted::at(mount.path()), "/", "a").unwrap();
    (mount, SplitDir::with_limit(dir, limit))
}

/// What is in the directory, with sizes.
fn listed(mount: &TempDir) -> Vec<(String, u64)> {
    let mut files: Vec<_> = fs::read_dir(mount.path().join("a"))
        .unwrap()
        .map(|e| e.unwrap())
        .map(|e| {
            (
                e.file_name().into_string().unwrap(),
                e.metadata().unwrap().len(),
            )
        })
        .collect();
    files.sort();
    files
}

fn names(mount: &TempDir) -> Vec<String> {
    listed(mount).into_iter().map(|(name, _)| name).collect()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| u8::try_from(n * 7 % 251).unwrap())
        .collect()
}

fn begun<'a>(place: &'a SplitDir, bytes: &[u8]) -> Box<dyn Pending + 'a> {
    let pending = place.begin("vmcore-incomplete", "vmcore").unwrap();
    pending.out().write_at(0, bytes).unwrap();
    pending
}

fn joined(path: &Path, limit: u64) -> Vec<u8> {
    let file = Joined::open(&with_limit(path, limit), limit).unwrap();
    let mut read = vec![0; usize::try_from(file.len()).unwrap()];
    file.read_at(0, &mut read).unwrap();
    read
}

#[test]
fn pieces_end_where_parts_end() {
    let cut = |offset, len| -> Vec<_> {
        pieces(100, offset, len)
            .map(|p| (p.part, p.at, p.bytes))
            .collect()
    };
    assert_eq!(cut(0, 100), [(0, 0, 0..100)]);
    assert_eq!(cut(99, 2), [(0, 99, 0..1), (1, 0, 1..2)]);
    assert_eq!(
        cut(250, 200),
        [(2, 50, 0..50), (3, 0, 50..150), (4, 0, 150..200)]
    );
    assert!(cut(5, 0).is_empty());
    assert!(cut(u64::MAX, 4).iter().all(|(part, ..)| *part > MAX_PARTS));
    assert!(LIMIT < u64::from(u32::MAX) && LIMIT.is_multiple_of(64 << 10));
}

#[test]
fn the_parts_are_begun_when_they_are_written_and_joined_they_are_the_file() {
    let (mount, place) = place(100);
    let pending = begun(&place, &bytes(100));
    assert_eq!(listed(&mount), [("vmcore-incomplete".into(), 100)]);
    pending.out().write_at(100, &bytes(250)[100..]).unwrap();
    let parts: Vec<(String, u64)> = vec![
        ("vmcore-incomplete".into(), 100),
        ("vmcore-incomplete.2".into(), 100),
        ("vmcore-incomplete.3".into(), 50),
    ];
    assert_eq!(listed(&mount), parts);
    let found = place.parts("vmcore-incomplete").into_iter();
    assert_eq!(found.map(|p| (p.name, p.bytes)).collect::<Vec<_>>(), parts);
    assert_eq!(
        (place.size("vmcore-incomplete"), pending.written()),
        (Some(250), 250)
    );
    let mut back = [0; 120];
    pending.out().read_back(90, &mut back).unwrap();
    assert_eq!(back, bytes(250)[90..210]);
    assert!(pending.out().read_back(240, &mut back).is_err());
    pending.commit().unwrap();
    assert_eq!(names(&mount), ["vmcore", "vmcore.2", "vmcore.3"]);
    assert_eq!(place.size("vmcore"), Some(250));
    let at = mount.path().join("a/vmcore");
    assert_eq!(joined(&at, 100), bytes(250));
    let cat = ["vmcore", "vmcore.2", "vmcore.3"].map(|n| fs::read(at.with_file_name(n)).unwrap());
    assert_eq!(cat.concat(), bytes(250));
}

#[test]
fn a_part_is_begun_when_the_one_before_is_full() {
    let (mount, place) = place(100);
    let pending = begun(&place, b"head");
    pending.out().write_at(205, b"tail").unwrap();
    assert_eq!(place.size("vmcore-incomplete"), Some(209));
    pending.out().reserve(90..310).unwrap();
    assert_eq!(names(&mount).len(), 4);
    pending.out().set_len(110).unwrap();
    assert_eq!(
        listed(&mount),
        [
            ("vmcore-incomplete".into(), 100),
            ("vmcore-incomplete.2".into(), 10)
        ]
    );
    pending.out().write_at(200, b"again").unwrap();
    assert_eq!(place.size("vmcore-incomplete"), Some(205));
    // A file that ends with its part has no empty one.
    pending.out().set_len(100).unwrap();
    assert_eq!(names(&mount), ["vmcore-incomplete"]);
    pending.out().sync().unwrap();
    pending.commit().unwrap();
    let mut want = b"head".to_vec();
    want.resize(100, 0);
    assert_eq!(joined(&mount.path().join("a/vmcore"), 100), want);
    let pending = begun(&place, b"x");
    pending.out().set_len(0).unwrap();
    assert_eq!(place.size("vmcore-incomplete"), Some(0));
    let far = pending.out().write_at(100 * MAX_PARTS as u64, b"x");
    assert_eq!(far.unwrap_err().raw_os_error(), Some(libc::EFBIG));
    assert!(pending.out().write_at(u64::MAX, b"xy").is_err());
    assert!(pending.out().set_len(u64::MAX).is_err());
    assert_eq!(names(&mount).len(), 2);
}

#[test]
fn what_dies_between_the_renames_leaves_no_vmcore() {
    let (mount, place) = place(10);
    let in_the_way = mount.path().join("a/vmcore.2");
    fs::create_dir(&in_the_way).unwrap();
    begun(&place, &bytes(35)).commit().unwrap_err();
    assert_eq!(
        names(&mount),
        [
            "vmcore-incomplete",
            "vmcore-incomplete.2",
            "vmcore.2",
            "vmcore.3",
            "vmcore.4"
        ]
    );
    assert_eq!(place.size("vmcore"), None);
    assert!(place.parts("vmcore").is_empty());
    fs::remove_dir(&in_the_way).unwrap();
    // The repetition keeps what there is, and ends as if nothing had been.
    assert!(
        place
            .rename("vmcore-incomplete", "vmcore-incomplete-1")
            .unwrap()
    );
    assert_eq!(place.size("vmcore-incomplete-1"), Some(20));
    assert_eq!(place.size("vmcore-incomplete"), None);
    begun(&place, &bytes(25)).commit().unwrap();
    place.remove("vmcore-incomplete-1").unwrap();
    assert_eq!(names(&mount), ["vmcore", "vmcore.2", "vmcore.3"]);
    assert_eq!(joined(&mount.path().join("a/vmcore"), 10), bytes(25));
}

#[test]
fn parts_go_where_the_first_goes() {
    let (mount, place) = place(10);
    assert!(!place.rename("vmcore", "b").unwrap());
    begun(&place, &bytes(25)).keep().unwrap();
    assert_eq!(names(&mount).len(), 3);
    // An older, longer file of the new name has no parts left.
    let older = place.begin("c", "old").unwrap();
    older.out().write_at(0, &bytes(50)).unwrap();
    older.commit().unwrap();
    assert!(place.rename("vmcore-incomplete", "old").unwrap());
    assert_eq!(names(&mount), ["old", "old.2", "old.3"]);
    place.replace("old", b"small").unwrap();
    assert_eq!(listed(&mount), [("old".into(), 5)]);
    begun(&place, &bytes(25)).keep().unwrap();
    begun(&place, b"less").keep().unwrap();
    assert_eq!(names(&mount), ["old", "vmcore-incomplete"]);
    place.remove("vmcore-incomplete").unwrap();
    place.remove("nothing").unwrap();
    assert_eq!(names(&mount), ["old"]);
}

#[test]
fn only_a_full_file_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("a"), [1; 10]).unwrap();
    fs::write(at("a.2"), [2; 9]).unwrap();
    fs::write(at("a.3"), [3; 9]).unwrap();
    assert_eq!(with_limit(&at("a"), 10), [at("a"), at("a.2")]);
    assert_eq!(with_limit(&at("a"), 11), [at("a")]);
    assert_eq!(with_limit(&at("none"), 10), [at("none")]);
    assert!(Joined::open(&[at("a.2"), at("a")], 10).is_err());
    // A link leads elsewhere.
    fs::rename(at("a.2"), at("b")).unwrap();
    symlink(at("b"), at("a.2")).unwrap();
    assert_eq!(with_limit(&at("a"), 10), [at("a")]);
}

#[test]
fn holes_are_holes_of_the_whole() {
    const PART: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::File::create(at("a")).unwrap().set_len(PART).unwrap();
    fs::write(at("a.2"), [7; 4096]).unwrap();
    let file = Joined::open(&with_limit(&at("a"), PART), PART).unwrap();
    assert_eq!(file.len(), PART + 4096);
    assert!(matches!(file.hole_at(0), Ok(end) if end <= PART));
    assert!(file.hole_at(PART).is_err_and(|end| end > PART));
    assert!(file.hole_at(PART * 9).is_err());
    let mut buf = [0; 2];
    file.read_at(PART - 1, &mut buf).unwrap();
    assert_eq!(buf, [0, 7]);
    assert!(file.read_at(PART + 4095, &mut buf).is_err());
}
