//! Tests of `s3`.

use super::*;
use crate::target::TargetSpec;
use crate::target::web::fake::{Fake, Fault, Request, reply};

const SECRET: &str = "wJalrXUtnFEMI";
const FINAL: &str = "/b/p/d/vmcore.flat";
const INCOMPLETE: &str = "/b/p/d/vmcore.flat-incomplete";

/// A place whose parts have 16 bytes, two to an object.
fn place(fake: &Fake) -> Result<S3Place, TargetError> {
    reopened(fake, "p").create("p", "d")
}

/// The same for a directory that is there.
fn reopened(fake: &Fake, path: &str) -> S3Place {
    let dir = tempfile::tempdir().unwrap();
    let keys = format!("aws_access_key_id = AKIA\naws_secret_access_key = {SECRET}\n");
    fs::write(dir.path().join("s3_credentials"), keys).unwrap();
    let spec = format!("s3://b/p?endpoint=http://{}", fake.address);
    let spec: TargetSpec = spec.parse().unwrap();
    let access = fake.access(dir.path());
    let mut place = super::super::bucket(&spec, &[fake.address], &access, path).unwrap();
    (place.part, place.parts, place.full) = (16, 2, 32);
    place
}

fn good() -> Fake {
    Fake::start(|_| None)
}

/// Fails the first request that `chosen` takes.
fn failing(chosen: fn(&Request) -> bool, fault: Fault) -> Fake {
    let mut fault = Some(fault);
    Fake::start(move |request| chosen(request).then(|| fault.take()).flatten())
}

fn data(len: u8) -> Vec<u8> {
    (0..len).collect()
}

/// Begins a file and writes it in pieces that are no parts.
fn write<'a>(place: &'a S3Place, bytes: &[u8]) -> Result<Box<dyn Pending + 'a>, std::io::Error> {
    let pending = place
        .begin("vmcore.flat-incomplete", "vmcore.flat")
        .unwrap();
    for piece in bytes.chunks(11) {
        pending.out().write_at(pending.written(), piece)?;
    }
    Ok(pending)
}

#[test]
fn an_upload_has_its_name_when_it_is_whole() {
    let fake = good();
    let place = place(&fake).unwrap();
    let pending = write(&place, &data(30)).unwrap();
    let out = pending.out();
    assert!(out.is_stream() && out.write_at(7, b"x").is_err());
    assert!(fake.file(FINAL).is_none() && fake.file(INCOMPLETE).is_some());
    pending.commit().unwrap();
    assert_eq!(fake.file(FINAL), Some(data(30)));
    assert_eq!(
        (fake.file(INCOMPLETE), place.size("vmcore.flat")),
        (None, Some(30))
    );
    assert!(place.remarks().is_empty());
    // Signed with the hash of the payload: there is no TLS.
    let store = fake.store.lock().unwrap();
    assert!(
        store
            .requests
            .iter()
            .all(|r| r.headers["x-amz-content-sha256"].len() == 64)
    );
    assert!(
        store
            .requests
            .iter()
            .all(|r| r.headers["authorization"].contains("Credential=AKIA/"))
    );
}

#[test]
fn small_files_are_put() {
    let fake = good();
    let place = place(&fake).unwrap();
    write(&place, &data(16)).unwrap().commit().unwrap();
    write(&place, &data(9)).unwrap().keep().unwrap();
    assert_eq!(
        (fake.file(FINAL), fake.file(INCOMPLETE)),
        (Some(data(16)), Some(data(9)))
    );
    assert!(fake.requests(|r| r.method == "POST").is_empty());
    assert!(
        place.rename("vmcore.flat-incomplete", "old").unwrap()
            && !place.rename("no", "old").unwrap()
    );
    assert_eq!(
        (fake.file("/b/p/d/old"), fake.file(INCOMPLETE)),
        (Some(data(9)), None)
    );
    place.remove("old").unwrap();
    place.remove("old").unwrap();
    place.replace("report.json", b"{}").unwrap();
    let again = super::tests::place(&fake).unwrap();
    assert_eq!((again.path(), again.size("old")), ("p/d-2", None));
}

#[test]
fn more_parts_than_an_object_holds_go_on_in_the_next() {
    let fake = good();
    let place = place(&fake).unwrap();
    let pending = write(&place, &data(100)).unwrap();
    assert!(fake.file(FINAL).is_none());
    pending.commit().unwrap();
    let names = [
        FINAL.to_owned(),
        format!("{FINAL}.2"),
        format!("{FINAL}.3"),
        format!("{FINAL}.4"),
    ];
    let joined: Vec<u8> = names
        .iter()
        .flat_map(|name| fake.file(name).unwrap())
        .collect();
    assert_eq!((joined, place.size("vmcore.flat")), (data(100), Some(100)));
    let parts = place.parts("vmcore.flat");
    assert_eq!(parts.len(), 4);
    for (part, path) in parts.iter().zip(&names) {
        let file = fake.file(path).unwrap();
        let sum = Some(crc32fast::hash(&file));
        assert_eq!((part.bytes, part.crc32), (file.len() as u64, sum), "{path}");
        assert!(path.ends_with(&part.name));
    }
    // Who was not there asks for the sizes.
    let other = super::tests::reopened(&fake, "p/d");
    let sizes = |parts: Vec<Part>| {
        parts
            .into_iter()
            .map(|p| (p.name, p.bytes))
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(other.parts("vmcore.flat")), sizes(parts));
    assert!(other.parts("vmcore.flat")[0].crc32.is_none() && other.parts("no").is_empty());
    let completed = fake.requests(|r| r.method == "POST" && r.query.starts_with("uploadId"));
    assert_eq!(completed.last().unwrap(), &format!("POST {FINAL}"));
    assert!(
        place.remarks()[0].contains("4 objects"),
        "{:?}",
        place.remarks()
    );
    drop(write(&place, &data(100)).unwrap());
    assert!(fake.store.lock().unwrap().uploads.is_empty());
}

#[test]
fn what_is_kept_can_be_found_and_given_up() {
    let fake = good();
    let place = place(&fake).unwrap();
    write(&place, &data(40)).unwrap().keep().unwrap();
    let note = String::from_utf8(fake.file(INCOMPLETE).unwrap()).unwrap();
    assert!(
        note.contains("--upload-id 'u1'") && fake.file(FINAL).is_none(),
        "{note}"
    );
    let parts = |upload: &str| fake.store.lock().unwrap().uploads[upload].1.len();
    assert_eq!(parts("u1"), 2);
    assert_eq!(
        fake.file(&format!("{FINAL}.2")),
        Some(data(40)[32..].to_vec())
    );
    assert!(
        place
            .rename("vmcore.flat-incomplete", "vmcore.flat-incomplete-1")
            .unwrap()
    );
    place.remove("vmcore.flat-incomplete-1").unwrap();
    assert!(fake.store.lock().unwrap().uploads.is_empty());
    drop(write(&place, &data(40)).unwrap());
    assert!(fake.store.lock().unwrap().uploads.is_empty() && fake.file(INCOMPLETE).is_none());
}

fn second_part(request: &Request) -> bool {
    request.query.starts_with("partNumber=2&")
}

#[test]
fn a_part_that_fails_is_sent_again() {
    let busy = reply("503 Busy", "", "<Error><Code>SlowDown</Code></Error>");
    let cut_off = "HTTP/1.1 200 OK\r\nETag: \"2\"\r\nContent-Le".to_owned();
    for fault in [
        Fault::Cut(5),
        Fault::Say(busy),
        Fault::Say(cut_off),
        Fault::Say(String::new()),
    ] {
        for early in [false, true] {
            let fake = failing(second_part, fault.clone());
            let place = place(&fake).unwrap();
            place.bucket().signs_payload = !early;
            write(&place, &data(50)).unwrap().commit().unwrap();
            let joined = [FINAL.to_owned(), format!("{FINAL}.2")];
            let joined = joined.iter().flat_map(|name| fake.file(name).unwrap());
            assert_eq!(joined.collect::<Vec<_>>(), data(50), "{fault:?} {early}");
        }
    }
}

#[test]
fn a_part_is_sent_while_it_is_made() {
    let fake = good();
    let place = place(&fake).unwrap();
    place.bucket().signs_payload = false;
    for len in [17, 32, 33, 48, 95, 96] {
        write(&place, &data(len)).unwrap().commit().unwrap();
        assert_eq!(place.size("vmcore.flat"), Some(len.into()));
        assert_eq!(fake.file(FINAL), Some(data(len.min(32))));
    }
    let store = fake.store.lock().unwrap();
    let parts = store
        .requests
        .iter()
        .filter(|r| r.query.starts_with("partNumber"));
    let unsigned = |r: &Request| r.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD";
    assert!(parts.clone().all(unsigned) && parts.count() == 2 + 2 + 3 + 3 + 6 + 6);
}

#[test]
fn what_never_passes_ends() {
    let denied = reply(
        "403 No",
        "",
        "<Error><Code>AccessDenied</Code><Message>key AKIA</Message></Error>",
    );
    let fake = Fake::start(move |request| second_part(request).then(|| Fault::Say(denied.clone())));
    let place = place(&fake).unwrap();
    let error = write(&place, &data(50)).err().unwrap().to_string();
    assert!(
        error.contains("AccessDenied") && error.contains("s3:PutObject"),
        "{error}"
    );
    assert!(!error.contains(SECRET) && !error.contains("AKIA") && !error.contains("Signature"));
    // What was sent stays, and the note says where.
    assert!(fake.file(INCOMPLETE).is_some() && fake.file(FINAL).is_none());
}

#[test]
fn a_completion_can_fail_late() {
    let completes = |r: &Request| r.method == "POST" && r.query.starts_with("uploadId");
    let late = reply(
        "200 OK",
        "",
        "\n\n<Error><Code>EntityTooSmall</Code></Error>",
    );
    let fake = failing(completes, Fault::Say(late));
    let place = place(&fake).unwrap();
    let error = write(&place, &data(30))
        .unwrap()
        .commit()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("EntityTooSmall") && error.contains("part="),
        "{error}"
    );
    assert!(fake.file(FINAL).is_none());
    let busy = reply("200 OK", "", "<Error><Code>InternalError</Code></Error>");
    let fake = failing(completes, Fault::Say(busy));
    let place = super::tests::place(&fake).unwrap();
    write(&place, &data(30)).unwrap().commit().unwrap();
    assert_eq!(fake.file(FINAL), Some(data(30)));
}

#[test]
fn the_servers_clock_is_taken() {
    let date = "Date: Sun, 06 Nov 2044 08:49:37 GMT\r\n";
    let fake = Fake::start(move |request| {
        let ours = request.headers["x-amz-date"].starts_with("20441106T0849");
        let body = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
        let length = if request.method == "HEAD" { "" } else { body };
        (!ours).then(|| Fault::Say(reply("403 No", date, length)))
    });
    let place = place(&fake).unwrap();
    write(&place, &data(30)).unwrap().commit().unwrap();
    assert_eq!(fake.file(FINAL), Some(data(30)));
    let remarks = place.remarks();
    assert!(
        remarks.len() == 1 && remarks[0].contains("ahead of"),
        "{remarks:?}"
    );
}

#[test]
fn checksums_are_sent_to_whom_wants_them() {
    let fake = Fake::start(|request| {
        let lacks = request.method == "PUT"
            && request.headers["content-length"] != "0"
            && !request.headers.contains_key("x-amz-checksum-crc32");
        let body = "<Error><Code>InvalidRequest</Code><Message>Content-MD5 or x-amz-checksum- is required</Message></Error>";
        lacks.then(|| Fault::Say(reply("400 No", "", body)))
    });
    let place = place(&fake).unwrap();
    place.replace("report.json", b"{}").unwrap();
    write(&place, &data(30)).unwrap().commit().unwrap();
    let store = fake.store.lock().unwrap();
    let begun = store.requests.iter().find(|r| r.method == "POST").unwrap();
    assert_eq!(begun.headers["x-amz-checksum-algorithm"], "CRC32");
}

#[test]
fn keys_are_needed() {
    let fake = good();
    let spec: TargetSpec = format!("s3://b?endpoint=http://{}", fake.address)
        .parse()
        .unwrap();
    let access = fake.access(Path::new("/nonexistent"));
    let error = super::super::create(&spec, &[fake.address], &access, "d")
        .err()
        .unwrap();
    assert!(error.to_string().contains("`s3_credentials`"), "{error}");
}

#[test]
fn a_key_that_may_only_put_leaves_a_whole_file() {
    let denied = || Some(Fault::Say(reply("403 No", "", "")));
    let fake = Fake::start(move |r| matches!(&*r.method, "HEAD" | "GET").then(denied).flatten());
    let place = place(&fake).unwrap();
    place.replace("report.json", b"{}").unwrap();
    write(&place, &data(30)).unwrap().commit().unwrap();
    let other = reopened(&fake, "p/d");
    assert!(!other.can_look() && other.size("vmcore.flat").is_none());
    assert_eq!(fake.file(FINAL), Some(data(30)));
    assert!(reopened(&good(), "p/d").can_look());
}

#[test]
fn a_completion_whose_answer_was_lost_is_one() {
    let is_end = |r: &Request| r.method == "POST" && r.query.contains("uploadId");
    // The server does it, and what it says does not arrive.
    let mut tried = false;
    let fake = Fake::start(move |r| match &*r.method {
        "HEAD" => Some(Fault::Say(reply("403 No", "", ""))),
        "POST" if is_end(r) && !tried => {
            tried = true;
            Some(Fault::Lose)
        }
        _ => None,
    });
    let place = place(&fake).unwrap();
    write(&place, &data(30)).unwrap().commit().unwrap();
    assert_eq!(fake.file(FINAL), Some(data(30)));
    assert!(place.remarks().iter().any(|r| r.contains("may not see")));
    // An upload that somebody else has ended is none.
    let gone = || reply("404 No", "", "<Error><Code>NoSuchUpload</Code></Error>");
    let fake = Fake::start(move |r| match &*r.method {
        "HEAD" => Some(Fault::Say(reply("403 No", "", ""))),
        "POST" if is_end(r) => Some(Fault::Say(gone())),
        _ => None,
    });
    let place = super::tests::place(&fake).unwrap();
    assert!(write(&place, &data(30)).unwrap().commit().is_err());
}

#[test]
fn a_server_that_puts_parts_together_slowly_is_waited_for() {
    let slow = |r: &Request| r.method == "POST" && r.query.contains("uploadId");
    // Longer than it may be silent at other times.
    let fake = failing(slow, Fault::Late(std::time::Duration::from_secs(4)));
    let place = place(&fake).unwrap();
    write(&place, &data(30)).unwrap().commit().unwrap();
    assert_eq!(fake.file(FINAL), Some(data(30)));
    assert!(place.remarks().is_empty(), "{:?}", place.remarks());
}
