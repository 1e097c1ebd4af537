//! SFTP packets: requests are built, answers are taken apart. What a server sends is hostile: every length is checked.

/// No answer to what is asked here is longer.
pub const MAX_PACKET: usize = 256 << 10;
/// Names of extensions that are looked at.
const MAX_EXTENSIONS: usize = 64;
/// As long as a handle may be.
const MAX_HANDLE: usize = 256;

pub(super) mod kind {
    //! Types of packets.
    pub(in super::super) const INIT: u8 = 1;
    pub(in super::super) const VERSION: u8 = 2;
    pub(in super::super) const OPEN: u8 = 3;
    pub(in super::super) const CLOSE: u8 = 4;
    pub(in super::super) const READ: u8 = 5;
    pub(in super::super) const WRITE: u8 = 6;
    pub(in super::super) const LSTAT: u8 = 7;
    pub(in super::super) const FSETSTAT: u8 = 10;
    pub(in super::super) const REMOVE: u8 = 13;
    pub(in super::super) const MKDIR: u8 = 14;
    pub(in super::super) const STAT: u8 = 17;
    pub(in super::super) const RENAME: u8 = 18;
    pub(in super::super) const STATUS: u8 = 101;
    pub(in super::super) const HANDLE: u8 = 102;
    pub(in super::super) const DATA: u8 = 103;
    pub(in super::super) const ATTRS: u8 = 105;
    pub(in super::super) const EXTENDED: u8 = 200;
    pub(in super::super) const EXTENDED_REPLY: u8 = 201;
}

/// Bits of the flags in attributes.
pub(super) const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
pub(super) const HAS_MODE: u32 = 4;

/// A packet that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's SFTP is damaged: {0}")]
pub struct Malformed(&'static str);

/// A request being built.
#[derive(Debug)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// Begins one with room for `room` bytes more.
    pub(super) fn new(kind: u8, id: u32, room: usize) -> Self {
        let mut bytes = Vec::with_capacity(9 + room);
        bytes.extend([0, 0, 0, 0, kind]);
        bytes.extend(id.to_be_bytes());
        Self(bytes)
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn string(mut self, bytes: &[u8]) -> Self {
        self.0.extend(length(bytes.len()).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// With its length in front.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let len = length(self.0.len().saturating_sub(4)).to_be_bytes();
        for (to, from) in self.0.iter_mut().zip(len) {
            *to = from;
        }
        self.0
    }
}

/// Nothing that is built here is longer than a few hundred kilobytes.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// A packet and what follows it, or the name and version of an extension.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// What is known of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its size.
    pub size: Option<u64>,
    /// Type and permissions, as in `st_mode`.
    pub mode: Option<u32>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// How a request ended: a code, 0 for success, and the server's words.
    Status(u32, &'a [u8]),
    /// Names an open file.
    Handle(&'a [u8]),
    /// Bytes of a file.
    Data(&'a [u8]),
    /// What is known of a file.
    Attributes(Attributes),
    /// Answer to a request of an extension.
    Extended(&'a [u8]),
}

/// The first whole packet of `stream` without its length, and what follows it.
///
/// # Errors
/// When it is longer than any answer.
pub fn split(stream: &[u8]) -> Result<Option<Pair<'_>>, Malformed> {
    let mut fields = Fields(stream);
    let Ok(len) = fields.u32() else {
        return Ok(None);
    };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len == 0 || len > MAX_PACKET {
        return Err(Malformed("a packet is empty or far too long"));
    }
    Ok(fields.0.split_at_checked(len))
}

/// The number of the request that `packet` answers, and the answer.
///
/// # Errors
/// When it is no answer.
pub fn reply(packet: &[u8]) -> Result<(u32, Reply<'_>), Malformed> {
    let mut fields = Fields(packet);
    let (kind, id) = (fields.u8()?, fields.u32()?);
    let reply = match kind {
        // The words may be missing: versions before 3 have none.
        kind::STATUS => Reply::Status(fields.u32()?, fields.string().unwrap_or_default()),
        kind::HANDLE => match fields.string()? {
            handle if handle.len() > MAX_HANDLE => return Err(Malformed("a handle is too long")),
            handle => Reply::Handle(handle),
        },
        kind::DATA => Reply::Data(fields.string()?),
        kind::ATTRS => Reply::Attributes(fields.attributes()?),
        kind::EXTENDED_REPLY => Reply::Extended(fields.0),
        _ => return Err(Malformed("it answers with a packet that is no answer")),
    };
    Ok((id, reply))
}

/// The version that the server speaks, and its extensions with their versions.
///
/// # Errors
/// When it is not that packet.
pub fn version(packet: &[u8]) -> Result<(u32, Vec<Pair<'_>>), Malformed> {
    let mut fields = Fields(packet);
    if fields.u8()? != kind::VERSION {
        return Err(Malformed("it does not begin with its version"));
    }
    let (version, mut extensions) = (fields.u32()?, Vec::new());
    while !fields.0.is_empty() && extensions.len() < MAX_EXTENSIONS {
        extensions.push((fields.string()?, fields.string()?));
    }
    Ok((version, extensions))
}

/// The longest packet, read and write, of an answer to `limits@openssh.com`; 0 for no limit.
///
/// # Errors
/// When it is too short.
pub fn limits(extended: &[u8]) -> Result<[u64; 3], Malformed> {
    let mut fields = Fields(extended);
    Ok([fields.u64()?, fields.u64()?, fields.u64()?])
}

/// Bytes that a user may still write, from an answer to `statvfs@openssh.com`.
///
/// # Errors
/// When it is too short.
pub fn space(extended: &[u8]) -> Result<u64, Malformed> {
    let mut fields = Fields(extended);
    let [_, fragment, _, _, available] = [(); 5].map(|()| fields.u64());
    Ok(fragment?.saturating_mul(available?))
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*first)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.take().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.u32()?).map_err(|_| SHORT)?;
        let (string, rest) = self.0.split_at_checked(len).ok_or(SHORT)?;
        self.0 = rest;
        Ok(string)
    }

    /// What follows the mode is of no interest.
    fn attributes(&mut self) -> Result<Attributes, Malformed> {
        let flags = self.u32()?;
        let mut attributes = Attributes::default();
        if flags & HAS_SIZE != 0 {
            attributes.size = Some(self.u64()?);
        }
        if flags & HAS_OWNER != 0 {
            self.u64()?;
        }
        if flags & HAS_MODE != 0 {
            attributes.mode = Some(self.u32()?);
        }
        Ok(attributes)
    }
}

const SHORT: Malformed = Malformed("a packet ends before its end");

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(bytes: Vec<u8>) -> Vec<u8> {
        let (packet, rest) = split(&bytes).unwrap().unwrap();
        assert!(rest.is_empty());
        packet.to_vec()
    }

    #[test]
    fn requests_have_their_length_in_front() {
        let request = Request::new(kind::WRITE, 7, 0)
            .string(b"h")
            .u64(9)
            .string(b"xy");
        let mut expected = vec![0, 0, 0, 24, 6, 0, 0, 0, 7, 0, 0, 0, 1, b'h'];
        expected.extend([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, b'x', b'y']);
        assert_eq!(request.finish(), expected);
    }

    #[test]
    fn answers_are_taken_apart() {
        let status = packet(
            Request::new(kind::STATUS, 3, 0)
                .u32(4)
                .string(b"Failure")
                .finish(),
        );
        assert_eq!(reply(&status), Ok((3, Reply::Status(4, b"Failure"))));
        let short = packet(Request::new(kind::STATUS, 3, 0).u32(4).finish());
        assert_eq!(reply(&short), Ok((3, Reply::Status(4, b""))));
        let attributes = Request::new(kind::ATTRS, 1, 0).u32(HAS_SIZE | HAS_OWNER | HAS_MODE);
        let attributes = packet(attributes.u64(5).u32(0).u32(0).u32(0o100_600).finish());
        let expected = Attributes {
            size: Some(5),
            mode: Some(0o100_600),
        };
        assert_eq!(reply(&attributes), Ok((1, Reply::Attributes(expected))));
        let long = packet(Request::new(kind::HANDLE, 1, 0).string(&[0; 257]).finish());
        assert!(reply(&long).is_err());
        for end in 0..attributes.len() {
            assert!(reply(&attributes[..end]).is_err());
        }
    }

    #[test]
    fn a_stream_is_cut_into_packets() {
        assert_eq!(split(&[0, 0, 0]), Ok(None));
        assert_eq!(split(&[0, 0, 0, 2, 1]), Ok(None));
        assert_eq!(split(&[0, 0, 0, 1, 1, 2]), Ok(Some((&[1][..], &[2][..]))));
        assert!(split(&[0, 0, 0, 0]).is_err() && split(&[0, 5, 0, 0]).is_err());
    }

    #[test]
    fn versions_and_extensions() {
        let hello = [&[2, 0, 0, 0, 3, 0, 0, 0, 1, b'a', 0, 0, 0, 1, b'2'][..]].concat();
        assert_eq!(version(&hello), Ok((3, vec![(&b"a"[..], &b"2"[..])])));
        assert!(version(&hello[..9]).is_err() && version(&[5]).is_err());
    }
}
