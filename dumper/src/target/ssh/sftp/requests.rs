//! Requests and their answers. A write is not waited for: its answer is looked at later, and a bad one makes the next call for
//! that file fail.

use super::packet::{self, Attributes, Reply, Request, kind};
use super::wire::Wire;
use crate::target::ssh::client::Client;
use crate::target::ssh::fault::{Fault, clean};
use crate::target::ssh::pipe::{Pipe, Program};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Writes that may be unanswered. The channel's window bounds their bytes.
const MAX_WAITING: usize = 64;
/// What a server must take in one write, and what is written at most.
const WRITES: (usize, usize) = (32 << 10, 128 << 10);
/// The same of a read.
const READS: (usize, usize) = (32 << 10, 64 << 10);

const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const DENIED: u32 = 3;

/// Flags of OPEN: read, write, create, and only when it is not there.
const OPEN_NEW: u32 = 0x01 | 0x02 | 0x08 | 0x20;
const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// What the server offers beyond the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offers {
    /// `fsync@openssh.com`.
    pub(super) fsync: bool,
    /// `posix-rename@openssh.com`: a rename replaces what has the name.
    pub(super) replaces: bool,
    limits: bool,
    /// `statvfs@openssh.com`.
    space: bool,
}

/// An open file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    bytes: Vec<u8>,
    number: u32,
}

/// A write whose answer has not come.
#[derive(Debug)]
struct Waiting {
    id: u32,
    file: u32,
    offset: u64,
}

/// SFTP with one server.
pub(in crate::target::ssh) struct Sftp {
    wire: Box<dyn Wire>,
    came: Vec<u8>,
    next: u32,
    files: u32,
    waiting: VecDeque<Waiting>,
    /// The first write of a file that failed.
    failed: Vec<(u32, Fault)>,
    offers: Offers,
    write_size: usize,
    read_size: usize,
}

/// How an answer ends a request.
#[derive(Debug)]
enum Answer {
    Ok,
    Refused(u32, String),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Attributes(Attributes),
    Extended(Vec<u8>),
}

impl From<packet::Malformed> for Fault {
    fn from(malformed: packet::Malformed) -> Self {
        Self::absurd(malformed.to_string())
    }
}

impl From<Reply<'_>> for Answer {
    fn from(reply: Reply<'_>) -> Self {
        match reply {
            Reply::Status(OK, _) => Self::Ok,
            Reply::Status(code, words) => Self::Refused(code, clean(words)),
            Reply::Handle(bytes) => Self::Handle(bytes.to_vec()),
            Reply::Data(bytes) => Self::Data(bytes.to_vec()),
            Reply::Attributes(attributes) => Self::Attributes(attributes),
            Reply::Extended(bytes) => Self::Extended(bytes.to_vec()),
        }
    }
}

impl Sftp {
    /// Begins SFTP; `None` when the server has none.
    pub(in crate::target::ssh) fn open(client: &Arc<Client>) -> Result<Option<Self>, Fault> {
        let Some(pipe) = Pipe::open(client, &Program::Subsystem("sftp"))? else {
            return Ok(None);
        };
        match Self::over(Box::new(pipe)) {
            // The subsystem is configured, but its program is not there.
            Err(fault) if fault.kind == io::ErrorKind::BrokenPipe => Ok(None),
            sftp => sftp.map(Some),
        }
    }

    /// Agrees on the version.
    pub(super) fn over(wire: Box<dyn Wire>) -> Result<Self, Fault> {
        let mut sftp = Self {
            wire,
            came: Vec::new(),
            next: 0,
            files: 0,
            waiting: VecDeque::new(),
            failed: Vec::new(),
            offers: Offers::default(),
            write_size: WRITES.0,
            read_size: READS.0,
        };
        // In this packet alone the version stands where others have their number.
        sftp.wire.send(Request::new(kind::INIT, 3, 0).finish())?;
        let hello = sftp.packet()?;
        let (version, extensions) = packet::version(&hello)?;
        if version < 3 {
            return Err(Fault::absurd(format!(
                "the server speaks SFTP version {version}, and 3 is needed: update it, or give the target way=exec"
            )));
        }
        let has = |name: &[u8]| extensions.iter().any(|(is, _)| *is == name);
        sftp.offers = Offers {
            fsync: has(b"fsync@openssh.com"),
            replaces: has(b"posix-rename@openssh.com"),
            limits: has(b"limits@openssh.com"),
            space: has(b"statvfs@openssh.com"),
        };
        sftp.ask_limits().map(|()| sftp)
    }

    pub(super) fn offers(&self) -> Offers {
        self.offers
    }

    fn ask_limits(&mut self) -> Result<(), Fault> {
        if !self.offers.limits {
            return Ok(());
        }
        let request = self.extended(b"limits@openssh.com");
        let Answer::Extended(limits) = self.ask(request)? else {
            return Ok(());
        };
        let [packet, read, write] = packet::limits(&limits)?.map(|limit| match limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        });
        let within = |limit: usize, (least, most): (usize, usize)| {
            // A write has up to a kilobyte of other fields.
            limit.min(packet.saturating_sub(1024)).clamp(least, most)
        };
        self.write_size = within(write, WRITES);
        self.read_size = within(read, READS);
        Ok(())
    }

    /// Makes a new private file, in the place of one that is there. A link that is there is not followed.
    pub(super) fn create(&mut self, path: &str) -> Result<Handle, Fault> {
        let open = |sftp: &mut Self| {
            let request = sftp.request(kind::OPEN).string(path.as_bytes());
            let request = request.u32(OPEN_NEW).u32(packet::HAS_MODE);
            sftp.ask(request.u32(PRIVATE_FILE))
        };
        let answer = match open(self)? {
            Answer::Refused(..) if self.remove(path)? => open(self)?,
            answer => answer,
        };
        match answer {
            Answer::Handle(bytes) => {
                self.files += 1;
                let number = self.files;
                Ok(Handle { bytes, number })
            }
            answer => Err(refusal("make", path, answer)),
        }
    }

    /// Sends `bytes` for `offset` of a file.
    pub(super) fn write(&mut self, file: &Handle, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut at = offset;
        for piece in bytes.chunks(self.write_size) {
            self.settle_what_came()?;
            while self.waiting.len() >= MAX_WAITING {
                self.settle(true)?;
            }
            self.verdict(file)?;
            let id = self.id();
            let room = 32 + file.bytes.len() + piece.len();
            let request = Request::new(kind::WRITE, id, room).string(&file.bytes);
            self.waiting.push_back(Waiting {
                id,
                file: file.number,
                offset: at,
            });
            self.wire.send(request.u64(at).string(piece).finish())?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Waits until every write is answered; fails when one of `file` did.
    pub(super) fn drain(&mut self, file: &Handle) -> Result<(), Fault> {
        while !self.waiting.is_empty() {
            self.settle(true)?;
        }
        self.verdict(file)
    }

    /// Fills `buf` from `offset`.
    pub(super) fn read(&mut self, file: &Handle, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.drain(file)?;
        let (mut at, mut left) = (offset, buf);
        while !left.is_empty() {
            let want = left.len().min(self.read_size);
            let request = self.request(kind::READ).string(&file.bytes).u64(at);
            let bytes = match self.ask(request.u32(u32::try_from(want).unwrap_or(u32::MAX)))? {
                Answer::Data(bytes) if !bytes.is_empty() && bytes.len() <= want => bytes,
                Answer::Refused(EOF, _) | Answer::Data(_) => {
                    let why = format!("nothing to read at offset {at} of what was written there");
                    return Err(Fault::new(io::ErrorKind::UnexpectedEof, why));
                }
                answer => return Err(refusal("read back", "what was written", answer)),
            };
            let (now, later) = left.split_at_mut(bytes.len());
            now.copy_from_slice(&bytes);
            at += bytes.len() as u64;
            left = later;
        }
        Ok(())
    }

    pub(super) fn set_len(&mut self, file: &Handle, len: u64) -> Result<(), Fault> {
        self.drain(file)?;
        let request = self.request(kind::FSETSTAT).string(&file.bytes);
        let answer = self.ask(request.u32(packet::HAS_SIZE).u64(len))?;
        done(answer, "set the length of", "the file")
    }

    /// Syncs where the server can; in any case every write is answered.
    pub(super) fn sync(&mut self, file: &Handle) -> Result<(), Fault> {
        self.wire.patient(true);
        let synced = self.synced(file);
        self.wire.patient(false);
        synced
    }

    fn synced(&mut self, file: &Handle) -> Result<(), Fault> {
        self.drain(file)?;
        if !self.offers.fsync {
            return Ok(());
        }
        let request = self.extended(b"fsync@openssh.com").string(&file.bytes);
        let answer = self.ask(request)?;
        done(answer, "sync", "the file")
    }

    pub(super) fn close(&mut self, file: &Handle) -> Result<(), Fault> {
        self.failed.retain(|(of, _)| *of != file.number);
        let request = self.request(kind::CLOSE).string(&file.bytes);
        let answer = self.ask(request)?;
        done(answer, "close", "the file")
    }

    /// Renames in the place of what has the name; false when there is no `from`.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<bool, Fault> {
        let request = if self.offers.replaces {
            self.extended(b"posix-rename@openssh.com")
        } else {
            // The plain one fails where the name is taken.
            self.remove(to)?;
            self.request(kind::RENAME)
        };
        match self.ask(request.string(from.as_bytes()).string(to.as_bytes()))? {
            Answer::Refused(NO_SUCH_FILE, _) => Ok(false),
            answer => done(answer, "rename", from).map(|()| true),
        }
    }

    /// False when it is not there.
    pub(super) fn remove(&mut self, path: &str) -> Result<bool, Fault> {
        let request = self.request(kind::REMOVE).string(path.as_bytes());
        match self.ask(request)? {
            Answer::Refused(NO_SUCH_FILE, _) => Ok(false),
            answer => done(answer, "remove", path).map(|()| true),
        }
    }

    /// Makes a private directory; false when something has that name already.
    pub(super) fn make_dir(&mut self, path: &str) -> Result<bool, Fault> {
        let request = self.request(kind::MKDIR).string(path.as_bytes());
        match self.ask(request.u32(packet::HAS_MODE).u32(PRIVATE_DIR))? {
            Answer::Ok => Ok(true),
            // Version 3 has no code for a name that is taken.
            answer => match self.look(kind::LSTAT, path)? {
                Some(_) => Ok(false),
                None => Err(refusal("make the directory", path, answer)),
            },
        }
    }

    /// What `path` is; `None` when it is not there.
    pub(super) fn stat(&mut self, path: &str) -> Result<Option<Attributes>, Fault> {
        self.look(kind::STAT, path)
    }

    fn look(&mut self, how: u8, path: &str) -> Result<Option<Attributes>, Fault> {
        let request = self.request(how).string(path.as_bytes());
        match self.ask(request)? {
            Answer::Attributes(attributes) => Ok(Some(attributes)),
            Answer::Refused(NO_SUCH_FILE, _) => Ok(None),
            answer => Err(refusal("look at", path, answer)),
        }
    }

    fn id(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    fn request(&mut self, kind: u8) -> Request {
        Request::new(kind, self.id(), 256)
    }

    fn extended(&mut self, name: &[u8]) -> Request {
        self.request(kind::EXTENDED).string(name)
    }

    /// Sends a request whose number is the last one given, and waits for its answer.
    fn ask(&mut self, request: Request) -> Result<Answer, Fault> {
        let id = self.next;
        self.wire.send(request.finish())?;
        loop {
            let packet = self.packet()?;
            let (of, reply) = packet::reply(&packet)?;
            if of == id {
                return Ok(reply.into());
            }
            let answer = reply.into();
            self.judge(of, answer)?;
        }
    }

    /// The next packet; waits for it.
    fn packet(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some(packet) = self.next_packet()? {
                return Ok(packet);
            }
            self.wire.receive(&mut self.came, true)?;
        }
    }

    fn next_packet(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let Some((packet, rest)) = packet::split(&self.came)? else {
            return Ok(None);
        };
        let (packet, end) = (packet.to_vec(), self.came.len() - rest.len());
        self.came.drain(..end);
        Ok(Some(packet))
    }

    fn settle_what_came(&mut self) -> Result<(), Fault> {
        self.wire.receive(&mut self.came, false)?;
        while self.settle(false)? {}
        Ok(())
    }

    /// Looks at one answer to a write.
    fn settle(&mut self, wait: bool) -> Result<bool, Fault> {
        let packet = match self.next_packet()? {
            None if wait => self.packet()?,
            None => return Ok(false),
            Some(packet) => packet,
        };
        let (id, reply) = packet::reply(&packet)?;
        let answer = reply.into();
        self.judge(id, answer).map(|()| true)
    }

    fn judge(&mut self, id: u32, answer: Answer) -> Result<(), Fault> {
        // Answers come in the order of the requests, mostly.
        let Some(at) = self.waiting.iter().position(|write| write.id == id) else {
            return Err(Fault::absurd(
                "the server's SFTP is damaged: it answers what was not asked",
            ));
        };
        let Some(write) = self.waiting.remove(at) else {
            return Ok(());
        };
        if matches!(answer, Answer::Ok) || self.failed.iter().any(|(of, _)| *of == write.file) {
            return Ok(());
        }
        let fault = refusal("write at offset", &write.offset.to_string(), answer);
        self.failed.push((write.file, fault));
        Ok(())
    }

    fn verdict(&self, file: &Handle) -> Result<(), Fault> {
        match self.failed.iter().find(|(of, _)| *of == file.number) {
            Some((_, fault)) => Err(fault.clone()),
            None => Ok(()),
        }
    }

    /// Bytes that can still be written below `path`, where the server says so.
    pub(super) fn space(&mut self, path: &str) -> Option<u64> {
        if !self.offers.space {
            return None;
        }
        let request = self
            .extended(b"statvfs@openssh.com")
            .string(path.as_bytes());
        match self.ask(request).ok()? {
            Answer::Extended(fields) => packet::space(&fields).ok(),
            _ => None,
        }
    }
}

fn done(answer: Answer, action: &str, what: &str) -> Result<(), Fault> {
    match answer {
        Answer::Ok => Ok(()),
        answer => Err(refusal(action, what, answer)),
    }
}

fn refusal(action: &str, what: &str, answer: Answer) -> Fault {
    let Answer::Refused(code, words) = answer else {
        return Fault::absurd(format!(
            "the server's SFTP is damaged: a wrong answer to {action} {what}"
        ));
    };
    let kind = match code {
        NO_SUCH_FILE => io::ErrorKind::NotFound,
        DENIED => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    Fault::new(kind, format!("the server cannot {action} {what}: {words}"))
}
