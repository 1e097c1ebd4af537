//! A server in memory, for tests: it answers late, refuses what it is told to, and can be made to send anything.

#![allow(clippy::cast_possible_truncation, reason = "offsets of a test")]

use super::packet::{self, HAS_MODE, HAS_SIZE, Reply, Request, kind};
use super::wire::Wire;
use crate::target::ssh::fault::Fault;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

/// What a test looks at and sets.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) dirs: Vec<String>,
    /// Everything asked: the type, and the name where there is one.
    pub(super) log: Vec<(u8, String)>,
    /// Writes that end at or behind this offset fail.
    pub(super) full_at: Option<u64>,
    pub(super) extensions: Vec<&'static str>,
    /// Bytes that a read gives at most.
    pub(super) read_most: usize,
    /// The most writes that were unanswered.
    pub(super) late: usize,
    /// The server may be silent for long now; and was so asked when it synced.
    pub(super) patient: bool,
    pub(super) synced: Vec<bool>,
    /// What is sent instead of the next answer.
    pub(super) instead: Option<Vec<u8>>,
}

#[derive(Clone, Default)]
pub(super) struct Server {
    pub(super) world: Arc<Mutex<World>>,
    /// Answers that were not fetched.
    answers: Arc<Mutex<VecDeque<Vec<u8>>>>,
}

impl Server {
    pub(super) fn new() -> Self {
        let server = Self::default();
        let mut world = server.world.lock().unwrap();
        world.dirs.push("/var".into());
        world.read_most = 1000;
        world.extensions = vec![
            "posix-rename@openssh.com",
            "fsync@openssh.com",
            "limits@openssh.com",
            "statvfs@openssh.com",
        ];
        drop(world);
        server
    }
}

impl Wire for Server {
    fn send(&mut self, bytes: Vec<u8>) -> Result<(), Fault> {
        let (packet, rest) = packet::split(&bytes)?.unwrap();
        assert!(rest.is_empty());
        let mut world = self.world.lock().unwrap();
        let answer = world.answer(packet);
        let answer = world.instead.take().unwrap_or(answer);
        let mut answers = self.answers.lock().unwrap();
        answers.push_back(answer);
        world.late = world.late.max(answers.len());
        Ok(())
    }

    fn receive(&mut self, into: &mut Vec<u8>, wait: bool) -> Result<(), Fault> {
        if wait {
            let answer = self.answers.lock().unwrap().pop_front();
            // In two parts, as a network does.
            into.extend(answer.ok_or_else(|| Fault::lost("nothing was asked"))?);
        }
        Ok(())
    }

    fn patient(&mut self, patient: bool) {
        self.world.lock().unwrap().patient = patient;
    }
}

fn status(id: u32, code: u32) -> Vec<u8> {
    let request = Request::new(kind::STATUS, id, 0).u32(code);
    request.string(b"words").string(b"en").finish()
}

impl World {
    fn answer(&mut self, packet: &[u8]) -> Vec<u8> {
        let (kind, id) = (
            packet[0],
            u32::from_be_bytes(packet[1..5].try_into().unwrap()),
        );
        let mut rest = &packet[5..];
        let mut string = || {
            let (len, tail) = rest.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
            let (text, tail) = tail.split_at(u32::from_be_bytes(*len) as usize);
            rest = tail;
            String::from_utf8_lossy(text).into_owned()
        };
        if kind == kind::INIT {
            let hello = self
                .extensions
                .iter()
                .fold(Request::new(kind::VERSION, 3, 0), |r, e| {
                    r.string(e.as_bytes()).string(b"1")
                });
            return hello.finish();
        }
        let name = string();
        self.log.push((kind, name.clone()));
        if name == "fsync@openssh.com" {
            self.synced.push(self.patient);
        }
        let number = |at: usize| u64::from_be_bytes(packet[at..at + 8].try_into().unwrap());
        // Type, number, and the name with its length: what follows them.
        let at = 9 + name.len();
        match kind {
            kind::OPEN if self.files.contains_key(&name) => status(id, 4),
            kind::OPEN => {
                self.files.insert(name.clone(), Vec::new());
                Request::new(kind::HANDLE, id, 0)
                    .string(name.as_bytes())
                    .finish()
            }
            kind::WRITE => {
                let (offset, bytes) = (number(at), &packet[at + 12..]);
                let end = offset as usize + bytes.len();
                if self.full_at.is_some_and(|full| end as u64 >= full) {
                    return status(id, 4);
                }
                let file = self.files.get_mut(&name).unwrap();
                file.resize(file.len().max(end), 0);
                file[offset as usize..end].copy_from_slice(bytes);
                status(id, 0)
            }
            kind::READ => {
                let file = &self.files[&name];
                let bytes = file.get(number(at) as usize..).unwrap_or_default();
                if bytes.is_empty() {
                    return status(id, 1);
                }
                let want = u32::from_be_bytes(packet[at + 8..at + 12].try_into().unwrap());
                let len = bytes.len().min(want as usize).min(self.read_most);
                Request::new(kind::DATA, id, 0)
                    .string(&bytes[..len])
                    .finish()
            }
            kind::FSETSTAT => {
                let len = number(at + 4) as usize;
                self.files.get_mut(&name).unwrap().resize(len, 0);
                status(id, 0)
            }
            kind::STAT | kind::LSTAT => match (self.files.get(&name), self.dirs.contains(&name)) {
                (Some(file), _) => self.attributes(id, file.len() as u64, 0o100_600),
                (None, true) => self.attributes(id, 4096, 0o040_700),
                (None, false) => status(id, 2),
            },
            kind::MKDIR if self.dirs.contains(&name) => status(id, 4),
            kind::MKDIR if name.starts_with("/proc") => status(id, 3),
            kind::MKDIR => {
                self.dirs.push(name);
                status(id, 0)
            }
            kind::REMOVE => status(
                id,
                if self.files.remove(&name).is_some() {
                    0
                } else {
                    2
                },
            ),
            kind::CLOSE => status(id, 0),
            kind::RENAME => self.rename(id, &name, &string(), false),
            kind::EXTENDED => match name.as_str() {
                "posix-rename@openssh.com" => {
                    let (from, to) = (string(), string());
                    self.rename(id, &from, &to, true)
                }
                "fsync@openssh.com" => status(id, 0),
                "limits@openssh.com" => {
                    let limits = [40_000 + 1024, 0, 40_000, 0];
                    let reply = Request::new(kind::EXTENDED_REPLY, id, 0);
                    limits.iter().fold(reply, |reply, n| reply.u64(*n)).finish()
                }
                "statvfs@openssh.com" => {
                    let fields = [4096, 4096, 100, 3, 2];
                    let reply = Request::new(kind::EXTENDED_REPLY, id, 0);
                    fields.iter().fold(reply, |reply, n| reply.u64(*n)).finish()
                }
                _ => status(id, 8),
            },
            _ => status(id, 8),
        }
    }

    fn attributes(&self, id: u32, size: u64, mode: u32) -> Vec<u8> {
        let reply = Request::new(kind::ATTRS, id, 0).u32(HAS_SIZE | HAS_MODE);
        reply.u64(size).u32(mode).finish()
    }

    fn rename(&mut self, id: u32, from: &str, to: &str, replace: bool) -> Vec<u8> {
        if !self.files.contains_key(from) {
            return status(id, 2);
        }
        if self.files.contains_key(to) && !replace {
            return status(id, 4);
        }
        let file = self.files.remove(from).unwrap();
        self.files.insert(to.into(), file);
        status(id, 0)
    }
}

#[test]
fn it_answers_as_servers_do() {
    let mut server = Server::new();
    let (mut wire, mut came) = (server.clone(), Vec::new());
    wire.send(Request::new(kind::STAT, 5, 0).string(b"/x").finish())
        .unwrap();
    server.receive(&mut came, true).unwrap();
    let packet = packet::split(&came).unwrap().unwrap().0;
    assert_eq!(packet::reply(packet), Ok((5, Reply::Status(2, b"words"))));
}
