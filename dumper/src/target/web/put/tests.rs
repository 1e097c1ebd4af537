//! Tests of `put`.

use super::*;
use crate::target::TargetSpec;
use crate::target::web::fake::{Fake, Fault, reply};
use std::path::Path;

const FINAL: &str = "/up/d/vmcore.flat";
const INCOMPLETE: &str = "/up/d/vmcore.flat-incomplete";

fn place(fake: &Fake) -> PutPlace {
    let spec: TargetSpec = format!("http://{}/up", fake.address).parse().unwrap();
    let access = fake.access(Path::new("/nonexistent"));
    let files = super::super::files(&spec, &[fake.address], &access).unwrap();
    files.create("d").unwrap()
}

fn write<'a>(place: &'a PutPlace, bytes: &[u8]) -> Result<Box<dyn Pending + 'a>, std::io::Error> {
    let pending = place
        .begin("vmcore.flat-incomplete", "vmcore.flat")
        .unwrap();
    for piece in bytes.chunks(100_001) {
        pending.out().write_at(pending.written(), piece)?;
    }
    Ok(pending)
}

fn data() -> Vec<u8> {
    (0..3_000_000u32)
        .flat_map(|n| n.to_le_bytes())
        .take(3 << 20)
        .collect()
}

fn no_moves() -> Fake {
    Fake::start(|r| (r.method == "MOVE").then(|| Fault::Say(reply("405 No", "", ""))))
}

#[test]
fn a_server_that_renames() {
    let fake = Fake::start(|_| None);
    let place = place(&fake);
    assert!(place.manners().renames && fake.file("/up/d/report.json").is_some());
    let pending = write(&place, &data()).unwrap();
    assert!(fake.file(FINAL).is_none());
    pending.commit().unwrap();
    assert_eq!(
        (fake.file(FINAL), fake.file(INCOMPLETE)),
        (Some(data()), None)
    );
    write(&place, &data()).unwrap().keep().unwrap();
    assert_eq!(place.size("vmcore.flat-incomplete"), Some(3 << 20));
    assert!(place.rename("vmcore.flat-incomplete", "old").unwrap());
    assert!(!place.rename("no", "old").unwrap());
    place.remove("old").unwrap();
    place.replace("report.json", b"{1}").unwrap();
    assert_eq!(fake.file("/up/d/report.json").unwrap(), b"{1}");
    let again = super::tests::place(&fake);
    assert_eq!(again.path(), "/up/d-2");
    let opened = again.open("/up/d");
    assert!(opened.manners().renames && opened.size("report.json") == Some(3));
}

#[test]
fn a_server_that_does_not_rename() {
    let fake = no_moves();
    let place = place(&fake);
    assert!(!place.manners().renames);
    write(&place, &data()).unwrap().commit().unwrap();
    assert_eq!(fake.file(FINAL), Some(data()));
    // What is not whole never has the final name.
    place.remove("vmcore.flat").unwrap();
    let error = write(&place, &data())
        .unwrap()
        .keep()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("allow MOVE") && fake.file(FINAL).is_none(),
        "{error}"
    );
    drop(write(&place, &data()).unwrap());
    assert!(fake.file(FINAL).is_none());
    write(&place, b"small").unwrap().keep().unwrap();
    assert_eq!(fake.file(INCOMPLETE).unwrap(), b"small");
}

#[test]
fn a_server_that_says_no_or_dies_on_the_way() {
    for (fault, word) in [
        (
            Fault::Say(reply("413 Large", "", "")),
            "client_max_body_size",
        ),
        (Fault::Cut(100_000), "connection broke"),
    ] {
        let fake = Fake::start(move |r| {
            r.headers
                .contains_key("transfer-encoding")
                .then(|| fault.clone())
        });
        let place = place(&fake);
        let error = match write(&place, &data()) {
            Ok(pending) => pending.commit().unwrap_err().to_string(),
            Err(e) => e.to_string(),
        };
        assert!(
            error.contains(word) && fake.file(FINAL).is_none(),
            "{error}"
        );
    }
}

#[test]
fn a_server_that_lets_nobody_look() {
    let denied = || Fault::Say(reply("403 No", "", ""));
    let fake = Fake::start(move |r| (r.method == "HEAD").then(denied));
    let place = place(&fake);
    write(&place, &data()).unwrap().commit().unwrap();
    assert!(!place.can_look() && place.size("vmcore.flat").is_none());
    assert!(super::tests::place(&Fake::start(|_| None)).can_look());
}

#[test]
fn a_reply_to_the_last_chunk_may_come_late() {
    let late = Fault::Late(std::time::Duration::from_secs(5));
    let chunked =
        |r: &crate::target::web::fake::Request| r.headers.contains_key("transfer-encoding");
    let fake = Fake::start(move |r| chunked(r).then(|| late.clone()));
    let place = place(&fake);
    write(&place, &data()).unwrap().commit().unwrap();
    assert_eq!(fake.file(FINAL), Some(data()));
}

#[test]
fn a_rename_whose_answer_was_lost_is_one() {
    let mut lost = false;
    let fake = Fake::start(move |r| {
        let last = r.path == INCOMPLETE && r.method == "MOVE" && !lost;
        lost |= last;
        last.then_some(Fault::Lose)
    });
    let place = place(&fake);
    write(&place, &data()).unwrap().commit().unwrap();
    assert_eq!(fake.file(FINAL), Some(data()));
}

#[test]
fn a_name_is_no_sign_of_a_whole_file_where_nothing_is_renamed() {
    let fake = no_moves();
    assert!(!place(&fake).names_whole());
    assert!(place(&Fake::start(|_| None)).names_whole());
}
