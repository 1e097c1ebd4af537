//! Tests of `place`.

use super::super::{FileReader, GUARD, SMALLEST};
use super::*;
use std::io::Read;

struct Lab {
    dir: tempfile::TempDir,
    raw: RawDevice,
}

impl Lab {
    fn new(size: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = dir.path().join("partition");
        let device = File::create_new(&node).unwrap();
        device.set_len(size).unwrap();
        let header = Header::new(size).unwrap();
        header.format(&device).unwrap();
        let id = show_id(&header.id);
        let raw = reach(&node, Some(&id), dir.path().join("ledger")).unwrap();
        Self { dir, raw }
    }

    fn device(&self) -> File {
        let mut options = File::options();
        options.read(true).write(true).open(&self.raw.node).unwrap()
    }

    fn header(&self) -> Header {
        Header::read(&self.device()).unwrap()
    }

    fn journal(&self) -> Journal {
        Journal::read(&self.device(), &self.header()).unwrap()
    }

    /// Name, bytes, and whether it is whole and undamaged.
    fn files(&self) -> Vec<(String, Vec<u8>, bool)> {
        let (device, header) = (self.device(), self.header());
        let read = |file: &Entry| {
            let mut bytes = Vec::new();
            let mut reader = FileReader::new(&device, &header, file);
            reader.read_to_end(&mut bytes).unwrap();
            let good = file.whole && reader.damaged().is_none();
            (file.name.clone(), bytes, good)
        };
        self.journal().files.iter().map(read).collect()
    }

    fn taken(&self) {
        let mut header = self.header();
        header.state = State::Taken;
        header.write(&self.device()).unwrap();
    }
}

fn text(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from((at * 7 + seed + at / 251) % 256).unwrap())
        .collect()
}

fn write(place: &RawPlace, name: &str, bytes: &[u8]) -> Result<(), TargetError> {
    let pending = place.begin(&format!("{name}-incomplete"), name)?;
    let mut at = 0;
    for part in bytes.chunks(100_003) {
        pending.out().write_at(at, part).unwrap();
        at += part.len() as u64;
    }
    assert_eq!(pending.written(), bytes.len() as u64);
    pending.commit()
}

#[test]
fn a_dump_without_a_file_is_overwritten() {
    let lab = Lab::new(SMALLEST);
    drop(RawPlace::create(&lab.raw, "died").unwrap());
    let place = RawPlace::create(&lab.raw, "next").unwrap();
    assert!(place.path().ends_with("/next"));
    // From its first file on there is something to take.
    drop(place.begin("log-incomplete", "log").unwrap());
    let why = RawPlace::create(&lab.raw, "later").err().unwrap();
    assert!(why.to_string().contains("not taken"), "{why}");
}

#[test]
fn steps_follow_each_other_and_the_latest_wins() {
    let lab = Lab::new(SMALLEST);
    let place = RawPlace::create(&lab.raw, "host-1").unwrap();
    assert!(place.path().ends_with("partition/host-1"));
    write(&place, "report.json", b"started").unwrap();
    write(&place, "log", &text(1, 5000)).unwrap();
    let vmcore = text(2, 900_000);
    write(&place, "vmcore.flat", &vmcore).unwrap();
    let path = place.path().to_owned();
    drop(place);
    for ledger in [true, false] {
        if !ledger {
            fs::remove_file(&lab.raw.ledger).unwrap();
        }
        let place = RawPlace::open(&lab.raw, &path).unwrap();
        assert_eq!(place.size("vmcore.flat"), Some(900_000));
        assert_eq!(place.size("vmcore.flat-incomplete"), None);
        write(&place, "report.json", b"complete").unwrap();
    }
    assert!(RawPlace::open(&lab.raw, "/other").is_err());
    let files = lab.files();
    assert_eq!(files.len(), 3);
    assert_eq!(files[0], ("log".into(), text(1, 5000), true));
    assert_eq!(files[1], ("vmcore.flat".into(), vmcore, true));
    assert_eq!(files[2], ("report.json".into(), b"complete".into(), true));
}

#[test]
fn an_interrupted_dump_is_there_up_to_its_last_block() {
    let lab = Lab::new(SMALLEST);
    let place = RawPlace::create(&lab.raw, "host").unwrap();
    let pending = place.begin("vmcore-incomplete", "vmcore.flat").unwrap();
    let bytes = text(3, 2 * BLOCK);
    pending.out().write_at(0, &bytes).unwrap();
    assert!(pending.out().write_at(5, b"x").is_err());
    drop(pending);
    let (name, found, good) = lab.files().remove(0);
    assert_eq!((name.as_str(), good), ("vmcore-incomplete", false));
    assert!(found.len() == 2 * PAYLOAD && bytes.starts_with(&found));
    // The repetition keeps what there is under another name.
    let path = place.path().to_owned();
    let place = RawPlace::open(&lab.raw, &path).unwrap();
    assert!(
        place
            .rename("vmcore-incomplete", "vmcore-incomplete-1")
            .unwrap()
    );
    assert!(!place.rename("nothing", "x").unwrap());
    write(&place, "vmcore.flat", b"second").unwrap();
    let files = lab.files();
    assert_eq!(files.len(), 2);
    assert_eq!(
        (files[0].0.as_str(), files[0].1.len()),
        ("vmcore-incomplete-1", 2 * PAYLOAD)
    );
    assert_eq!(files[1], ("vmcore.flat".into(), b"second".into(), true));
    place.remove("vmcore-incomplete-1").unwrap();
    assert_eq!(lab.files().len(), 1);
}

#[test]
fn a_full_partition_keeps_room_for_the_report() {
    let lab = Lab::new(SMALLEST);
    let place = RawPlace::create(&lab.raw, "host").unwrap();
    write(&place, "report.json", b"started").unwrap();
    let pending = place.begin("vmcore-incomplete", "vmcore.flat").unwrap();
    let part = text(0, 1 << 20);
    let full = (0..20).find_map(|n| pending.out().write_at(n << 20, &part).err());
    assert_eq!(full.unwrap().kind(), io::ErrorKind::StorageFull);
    assert!(pending.out().write_at(pending.written(), b"more").is_err());
    pending.keep().unwrap();
    write(&place, "report.json", &text(9, 100_000)).unwrap();
    let files = lab.files();
    assert_eq!(
        (files[0].0.as_str(), files[0].2),
        ("vmcore-incomplete", false)
    );
    assert!(files[0].1.len() > 14 << 20);
    assert_eq!(files[1], ("report.json".into(), text(9, 100_000), true));
    let error = (0..100).find_map(|_| place.begin("x", "y").err());
    let error = error.unwrap().to_string();
    assert!(error.contains("larger one"), "{error}");
    assert!(Header::read(&lab.device()).is_ok());
}

#[test]
fn an_untaken_dump_is_never_overwritten() {
    let lab = Lab::new(SMALLEST);
    let again = || RawPlace::create(&lab.raw, "later");
    write(&again().unwrap(), "log", b"first").unwrap();
    let error = again().err().unwrap().to_string();
    assert!(error.contains("baredump recover"), "{error}");
    lab.taken();
    // Blocks of the first dump are none of the second.
    again().unwrap();
    assert_eq!(lab.journal(), Journal::default());
    lab.taken();
    write(&again().unwrap(), "log", b"third").unwrap();
    assert_eq!(lab.files(), [("log".into(), b"third".into(), true)]);
}

#[test]
fn what_is_not_the_claimed_partition_is_not_written() {
    let lab = Lab::new(SMALLEST);
    let before = fs::read(&lab.raw.node).unwrap();
    let other = RawDevice {
        id: "0".repeat(32),
        ..lab.raw.clone()
    };
    let error = RawPlace::create(&other, "x").err().unwrap().to_string();
    assert!(error.contains("claimed again"), "{error}");
    let none = reach(&lab.raw.node, None, PathBuf::new()).unwrap_err();
    assert!(none.to_string().contains("baredumpctl image"), "{none}");
    assert_eq!(fs::read(&lab.raw.node).unwrap(), before);
    // Another file system, another size, nothing at all.
    lab.device().write_all_at(b"\x53\xef", 1080).unwrap();
    let error = RawPlace::create(&lab.raw, "x").err().unwrap().to_string();
    assert!(error.contains("something else was put on it"), "{error}");
    let blank = lab.dir.path().join("blank");
    fs::write(&blank, vec![0; 20 << 20]).unwrap();
    let blank = RawDevice {
        node: blank,
        ..lab.raw.clone()
    };
    let error = RawPlace::create(&blank, "x").err().unwrap().to_string();
    assert!(error.contains("baredumpctl claim"), "{error}");
    assert!(fs::read(&blank.node).unwrap().iter().all(|&b| b == 0));
}

#[test]
fn a_damaged_block_ends_what_it_is_part_of() {
    let lab = Lab::new(SMALLEST);
    let place = RawPlace::create(&lab.raw, "host").unwrap();
    let vmcore = text(4, 3 * BLOCK);
    write(&place, "vmcore.flat", &vmcore).unwrap();
    write(&place, "log", b"after").unwrap();
    // The payload of the second data block; the first block is the name.
    let at = GUARD + 4096 + BLOCK as u64 + 4096;
    lab.device().write_all_at(b"\xff\x00\xff\x00", at).unwrap();
    let files = lab.files();
    assert_eq!((files[0].1.len(), files[0].2), (PAYLOAD, false));
    assert_eq!(files[1], ("log".into(), b"after".into(), true));
    // A head that does not hold ends the journal.
    lab.device().write_all_at(b"\xff", at - 4096 + 40).unwrap();
    let files = lab.files();
    assert_eq!(
        (files.len(), files[0].1.len(), files[0].2),
        (1, PAYLOAD, false)
    );
}

#[test]
fn hostile_names_become_no_files() {
    let lab = Lab::new(SMALLEST);
    let place = RawPlace::create(&lab.raw, "host").unwrap();
    for name in ["../x", "", ".", ".ssh", "a/b", "a\nb"] {
        assert!(place.begin("x", name).is_err(), "{name:?}");
    }
    for names in ["../a\nb", "a\n/etc/b", "\n", "a"] {
        place.note(Kind::Begin, 0, names, false).unwrap();
    }
    place.note(Kind::Rename, 0, "a\n../b", false).unwrap();
    assert_eq!(lab.files(), []);
}
