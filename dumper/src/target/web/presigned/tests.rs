//! Tests of `presigned`.

use super::*;
use crate::target::web::fake::{Fake, Fault, Request, reply};
use std::path::Path;

const DIR: &str = "/b/p/d";
const FINAL: &str = "/b/p/d/vmcore.flat";
const SECRET: &str = "5ec3e7";

/// URLs for three pieces of a dump, that end in year 2100 or long ago.
fn urls(fake: &Fake, begun: &str) -> String {
    let names = [
        "report.json",
        "vmcore-dmesg.txt",
        "vmcore.flat",
        "vmcore.flat.2",
        "vmcore.flat.3",
    ];
    let line = |name: &&str| {
        format!(
            "http://{}{DIR}/{name}?X-Amz-Date={begun}T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature={SECRET}\n",
            fake.address
        )
    };
    names.iter().map(line).collect()
}

/// A place whose pieces have 16 bytes, with secrets in `dir`.
fn place_in(dir: &Path, fake: &Fake, begun: &str) -> PresignedPlace {
    fs::write(dir.join("presigned"), urls(fake, begun)).unwrap();
    let spec: TargetSpec = format!("s3://b/p?endpoint=http://{}", fake.address)
        .parse()
        .unwrap();
    let access = fake.access(dir);
    let mut place = super::super::presigned(&spec, &[fake.address], &access).unwrap();
    place.part = 16;
    place
}

fn data(len: u8) -> Vec<u8> {
    (0..len).collect()
}

/// Begins a dump and writes it in other pieces than it is sent.
fn write<'a>(
    place: &'a PresignedPlace,
    bytes: &[u8],
) -> Result<Box<dyn Pending + 'a>, std::io::Error> {
    let pending = place
        .begin("vmcore.flat-incomplete", "vmcore.flat")
        .unwrap();
    for piece in bytes.chunks(11) {
        pending.out().write_at(pending.written(), piece)?;
    }
    Ok(pending)
}

/// What cat(1) makes of the pieces.
fn joined(fake: &Fake) -> Vec<u8> {
    let names = [FINAL.to_owned(), format!("{FINAL}.2"), format!("{FINAL}.3")];
    names
        .iter()
        .filter_map(|name| fake.file(name))
        .flatten()
        .collect()
}

#[test]
fn a_dump_goes_in_pieces() {
    for len in [0, 1, 16, 17, 31, 32, 33, 48] {
        let (fake, dir) = (Fake::start(|_| None), tempfile::tempdir().unwrap());
        let place = place_in(dir.path(), &fake, "21000101");
        assert_eq!((place.path(), place.manners().renames), ("p/d", false));
        place.replace("report.json", b"{}").unwrap();
        let pending = write(&place, &data(len)).unwrap();
        assert!(pending.out().is_stream() && pending.out().write_at(99, b"x").is_err());
        assert_eq!(place.size("vmcore.flat"), None);
        pending.commit().unwrap();
        assert_eq!(joined(&fake), data(len));
        let parts = place.parts("vmcore.flat");
        assert_eq!(parts.len(), usize::from(len).div_ceil(16).max(1));
        for part in &parts {
            let file = fake.file(&format!("{DIR}/{}", part.name)).unwrap();
            let sum = crc32fast::hash(&file);
            assert_eq!((part.bytes, part.crc32), (file.len() as u64, Some(sum)));
        }
        // The report step knows what the capture has put.
        let next = place_in(dir.path(), &fake, "21000101");
        assert_eq!(next.parts("vmcore.flat"), parts);
        assert_eq!(
            (
                next.size("vmcore.flat"),
                next.size("vmcore.flat-incomplete")
            ),
            (Some(len.into()), None)
        );
        // Nothing but PUTs, each with its query; a piece after the first is sent while it is made.
        let store = fake.store.lock().unwrap();
        assert!(
            store
                .requests
                .iter()
                .all(|r| r.method == "PUT" && r.query.ends_with(SECRET))
        );
        assert!(
            store
                .requests
                .iter()
                .all(|r| !r.headers.contains_key("authorization"))
        );
    }
}

fn second(request: &Request) -> bool {
    request.path.ends_with(".2")
}

#[test]
fn a_piece_that_fails_is_sent_again() {
    let busy = reply("503 Busy", "", "<Error><Code>SlowDown</Code></Error>");
    for fault in [Fault::Cut(5), Fault::Say(busy), Fault::Say(String::new())] {
        let mut once = Some(fault.clone());
        let fake = Fake::start(move |r| second(r).then(|| once.take()).flatten());
        let dir = tempfile::tempdir().unwrap();
        let place = place_in(dir.path(), &fake, "21000101");
        write(&place, &data(40)).unwrap().commit().unwrap();
        assert_eq!(joined(&fake), data(40), "{fault:?}");
    }
}

#[test]
fn what_is_there_stays_when_the_urls_are_used_up() {
    let (fake, dir) = (Fake::start(|_| None), tempfile::tempdir().unwrap());
    let place = place_in(dir.path(), &fake, "21000101");
    let error = write(&place, &data(60)).err().unwrap().to_string();
    assert!(
        error.contains("used up") && error.contains("room for 3 ×") && !error.contains(SECRET),
        "{error}"
    );
    assert_eq!(joined(&fake), data(48));
    assert_eq!(
        (
            place.size("vmcore.flat"),
            place.size("vmcore.flat-incomplete")
        ),
        (None, Some(48))
    );
    let names: Vec<_> = place
        .parts("vmcore.flat-incomplete")
        .into_iter()
        .map(|part| part.name)
        .collect();
    assert_eq!(names, ["vmcore.flat", "vmcore.flat.2", "vmcore.flat.3"]);
    for refused in [
        place.rename("vmcore.flat-incomplete", "x").map(|_| ()),
        place.remove("vmcore.flat-incomplete"),
        place.begin("x-incomplete", "x").map(|_| ()),
        place.replace("x", b""),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains("pre-signed URL") && !error.contains(SECRET),
            "{error}"
        );
    }
    assert!(!place.rename("no", "x").unwrap());
    place.remove("no").unwrap();
    // An attempt after it begins anew, and says what is none of its own.
    write(&place, &data(20)).unwrap().commit().unwrap();
    assert_eq!(place.size("vmcore.flat"), Some(20));
    let remarks = place.remarks().join("\n");
    assert!(
        remarks.contains("vmcore.flat.3 to vmcore.flat.3 are of an attempt before"),
        "{remarks}"
    );
}

#[test]
fn what_was_sent_of_a_partial_dump_is_kept() {
    let (fake, dir) = (Fake::start(|_| None), tempfile::tempdir().unwrap());
    let place = place_in(dir.path(), &fake, "21000101");
    write(&place, &data(20)).unwrap().keep().unwrap();
    assert_eq!(joined(&fake), data(20));
    assert_eq!(
        (
            place.size("vmcore.flat"),
            place.size("vmcore.flat-incomplete")
        ),
        (None, Some(20))
    );
    drop(write(&place, &data(20)).unwrap());
    assert_eq!(place.size("vmcore.flat-incomplete"), Some(16));
}

#[test]
fn a_refusal_says_whether_the_urls_are_over() {
    let body = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
    for (begun, date, words) in [
        (
            "20010101",
            "",
            "ended 2001-01-08 00:00:00 UTC: make new ones",
        ),
        ("21000101", "", "pre-signed for PUT"),
        // Our clock stands, the server's does not.
        (
            "21000101",
            "Date: Fri, 01 Jan 2106 00:00:00 GMT\r\n",
            "URLs ended 2100-01-08 00:00:00 UTC: make new ones",
        ),
    ] {
        let denied = reply("403 Forbidden", date, body);
        let fake = Fake::start(move |_| Some(Fault::Say(denied.clone())));
        let dir = tempfile::tempdir().unwrap();
        let place = place_in(dir.path(), &fake, begun);
        let error = place.replace("report.json", b"{}").unwrap_err().to_string();
        assert!(
            error.contains("403 AccessDenied") && error.contains(words),
            "{error}"
        );
        assert!(
            !error.contains(SECRET) && !error.contains("s3_credentials"),
            "{error}"
        );
    }
}

#[test]
fn urls_that_are_over_are_tried_all_the_same() {
    let (fake, dir) = (Fake::start(|_| None), tempfile::tempdir().unwrap());
    let place = place_in(dir.path(), &fake, "20010101");
    write(&place, &data(20)).unwrap().commit().unwrap();
    assert_eq!(joined(&fake), data(20));
    let remarks = place.remarks();
    assert!(
        remarks[0].contains("ended 2001-01-08 00:00:00 UTC"),
        "{remarks:?}"
    );
    // A clock that was reset is put right by the time at which the image was built.
    fs::write(dir.path().join("built"), "4200000000\n").unwrap();
    assert!(place_in(dir.path(), &fake, "21000101").remarks()[0].contains("2100-01-08"));
}
