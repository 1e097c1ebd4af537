//! SFTP against a server in memory.

use super::dir::SftpDir;
use super::packet::{Request, kind};
use super::requests::Sftp;
use super::server::Server;
use crate::target::Place;
use std::io;

fn dir(server: &Server) -> SftpDir {
    let sftp = Sftp::over(Box::new(server.clone())).unwrap();
    SftpDir::create(sftp, "sftp://u@h".into(), "/var/crash", "a").unwrap()
}

fn failure(server: &Server, path: &str) -> String {
    let sftp = Sftp::over(Box::new(server.clone())).unwrap();
    let dir = SftpDir::create(sftp, "sftp://u@h".into(), path, "a");
    dir.err().unwrap().to_string()
}

#[test]
fn a_file_gets_its_name_when_it_is_whole() {
    let server = Server::new();
    let dir = dir(&server);
    assert_eq!(dir.path(), "/var/crash/a");
    let manners = dir.manners();
    assert!(manners.any_offset && manners.keeps_modes && manners.renames && manners.syncs);
    let pending = dir.begin("vmcore-incomplete", "vmcore").unwrap();
    let bytes: Vec<u8> = (0..300_000u32).map(|n| (n >> 5).to_le_bytes()[0]).collect();
    pending.out().write_at(4, &bytes).unwrap();
    pending.out().write_at(0, b"head").unwrap();
    let mut back = vec![0; 5000];
    pending.out().read_back(100_004, &mut back).unwrap();
    assert_eq!(back, bytes[100_000..105_000]);
    assert!(pending.out().read_back(300_000, &mut back).is_err());
    pending.out().set_len(300_000).unwrap();
    assert_eq!(pending.written(), 300_004);
    pending.commit().unwrap();
    assert_eq!(
        (dir.size("vmcore"), dir.size("vmcore-incomplete")),
        (Some(300_000), None)
    );
    let world = server.world.lock().unwrap();
    let file = &world.files["/var/crash/a/vmcore"];
    assert_eq!((&file[..4], &file[4..]), (&b"head"[..], &bytes[..299_996]));
    // The limits that the server gave: 300,000 bytes are eight writes.
    assert_eq!(
        world
            .log
            .iter()
            .filter(|(of, _)| *of == kind::WRITE)
            .count(),
        9
    );
    assert!(
        world
            .log
            .contains(&(kind::EXTENDED, "fsync@openssh.com".into()))
    );
}

#[test]
fn twins_leftovers_and_replacing() {
    let server = Server::new();
    server.world.lock().unwrap().dirs.push("/var/crash".into());
    assert_eq!(dir(&server).path(), "/var/crash/a");
    let dir = dir(&server);
    assert_eq!(dir.path(), "/var/crash/a-2");
    dir.begin("x-incomplete", "x").unwrap().keep().unwrap();
    let again = dir.begin("x-incomplete", "x").unwrap();
    again.out().write_at(0, b"new").unwrap();
    again.keep().unwrap();
    assert_eq!(dir.size("x-incomplete"), Some(3));
    assert!(dir.rename("x-incomplete", "x-incomplete-1").unwrap());
    assert!(!dir.rename("x-incomplete", "x").unwrap());
    dir.remove("x-incomplete-1").unwrap();
    dir.remove("x-incomplete-1").unwrap();
    dir.replace("report.json", b"{}").unwrap();
    dir.replace("report.json", b"{1}").unwrap();
    assert_eq!(dir.size("report.json"), Some(3));
}

#[test]
fn a_plain_server_replaces_and_does_not_sync() {
    let server = Server::new();
    server.world.lock().unwrap().extensions.clear();
    let dir = dir(&server);
    assert!(!dir.manners().syncs);
    dir.replace("report.json", b"{}").unwrap();
    dir.replace("report.json", b"{1}").unwrap();
    let world = server.world.lock().unwrap();
    assert_eq!(world.files["/var/crash/a/report.json"], b"{1}");
    assert!(!world.log.iter().any(|(of, _)| *of == kind::EXTENDED));
}

#[test]
fn a_full_disk_is_told_by_the_next_call_and_by_the_last() {
    let server = Server::new();
    server.world.lock().unwrap().full_at = Some(100_000);
    let dir = dir(&server);
    let pending = dir.begin("v-incomplete", "v").unwrap();
    pending.out().write_at(0, &[1; 200_000]).unwrap();
    let error = pending.out().sync().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let text = error.to_string();
    assert!(text.contains("sftp://u@h: v-incomplete: ") && text.contains("8 KiB are free"));
    assert!(pending.out().write_at(200_000, b"x").is_err());
    assert!(pending.commit().is_err());
    assert_eq!(dir.size("v"), None);
    // Another file of the same server is none the worse.
    dir.replace("report.json", b"{}").unwrap();
}

#[test]
fn few_writes_are_unanswered() {
    let server = Server::new();
    let dir = dir(&server);
    let pending = dir.begin("v-incomplete", "v").unwrap();
    pending.out().write_at(0, &vec![1; 20 << 20]).unwrap();
    assert!((32..=65).contains(&server.world.lock().unwrap().late));
    pending.commit().unwrap();
    assert_eq!(dir.size("v"), Some(20 << 20));
}

#[test]
fn what_no_server_answers_is_an_error() {
    let server = Server::new();
    assert!(failure(&server, "/proc/x").contains("cannot make the directory /proc: words"));
    let status = |id, code| Request::new(kind::STATUS, id, 0).u32(code).finish();
    for instead in [
        status(1_000_000, 0),
        vec![0; 40],
        vec![255; 9],
        Request::new(77, 3, 0).finish(),
        Request::new(kind::HANDLE, 3, 0).string(&[0; 300]).finish(),
        Request::new(kind::DATA, 3, 0).u32(u32::MAX).finish(),
    ] {
        let sftp = Sftp::over(Box::new(server.clone())).unwrap();
        let dir = SftpDir::create(sftp, "p".into(), "/var/crash", "a").unwrap();
        server.world.lock().unwrap().instead = Some(instead.clone());
        assert!(dir.begin("v", "w").is_err(), "{instead:?}");
    }
    server.world.lock().unwrap().instead = Some(Request::new(kind::VERSION, 2, 0).finish());
    let old = Sftp::over(Box::new(server.clone())).err().unwrap();
    assert!(old.why.contains("SFTP version 2"));
}

#[test]
fn a_server_that_syncs_may_be_silent_for_long() {
    let server = Server::new();
    let dir = dir(&server);
    let pending = dir.begin("vmcore-incomplete", "vmcore").unwrap();
    pending.out().write_at(0, b"x").unwrap();
    pending.out().sync().unwrap();
    pending.commit().unwrap();
    let world = server.world.lock().unwrap();
    assert_eq!((&*world.synced, world.patient), (&[true, true][..], false));
}
