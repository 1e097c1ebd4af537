//! Messages and attributes: building and taking apart.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `struct nlmsghdr`.
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The bits of an attribute's kind that say something else.
const KIND: u16 = 0x3fff;

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What it is: `RTM_…`, or one of netlink itself.
    pub kind: u16,
    /// The number of the request that it answers.
    pub sequence: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

impl Message<'_> {
    /// What an error message says: `Some(Ok)` is "done".
    pub fn error(&self) -> Option<io::Result<()>> {
        match (self.kind, i32_at(self.body, 0)) {
            (NLMSG_DONE, _) | (NLMSG_ERROR, Some(0)) => Some(Ok(())),
            (NLMSG_ERROR, Some(number)) => Some(Err(io::Error::from_raw_os_error(
                number.checked_neg().unwrap_or(libc::EPROTO),
            ))),
            (NLMSG_ERROR, None) => Some(Err(io::Error::from_raw_os_error(libc::EPROTO))),
            _ => None,
        }
    }

    /// The attributes behind a fixed part of `len` bytes.
    #[must_use]
    pub fn attributes(&self, len: usize) -> Attributes<'_> {
        Attributes(self.body.get(len..).unwrap_or(&[]))
    }
}

/// The messages of a datagram; what is cut off or makes no sense ends them.
#[derive(Clone, Debug)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// Of a datagram.
    #[must_use]
    pub fn new(datagram: &'a [u8]) -> Self {
        Self(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let len = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let message = Message {
            kind: u16_at(self.0, 4)?,
            sequence: u32_at(self.0, 8)?,
            body: self.0.get(HEADER..len)?,
        };
        self.0 = after(self.0, len);
        Some(message)
    }
}

/// Attributes: kinds and values.
#[derive(Clone, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Of bytes, as a value that is itself attributes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let len = usize::from(u16_at(self.0, 0)?);
        let found = (u16_at(self.0, 2)? & KIND, self.0.get(4..len)?);
        self.0 = after(self.0, len);
        Some(found)
    }
}

/// What follows something of `len` bytes and its padding.
fn after(bytes: &[u8], len: usize) -> &[u8] {
    bytes.get(len.next_multiple_of(4)..).unwrap_or(&[])
}

/// A request in the making.
#[derive(Clone, Debug)]
pub struct Request(Vec<u8>);

impl Request {
    /// With its fixed part.
    #[must_use]
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        put(&mut bytes, 4, &kind.to_ne_bytes());
        put(&mut bytes, 6, &flags.to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Self(bytes)
    }

    /// With one attribute more.
    #[must_use]
    pub fn with(mut self, kind: u16, value: &[u8]) -> Self {
        push_attribute(&mut self.0, kind, value);
        self
    }

    /// With an address.
    #[must_use]
    pub fn with_address(self, kind: u16, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => self.with(kind, &v4.octets()),
            IpAddr::V6(v6) => self.with(kind, &v6.octets()),
        }
    }

    /// The bytes to send.
    #[must_use]
    pub fn finish(mut self, sequence: u32) -> Vec<u8> {
        let len = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        put(&mut self.0, 0, &len.to_ne_bytes());
        put(&mut self.0, 8, &sequence.to_ne_bytes());
        self.0
    }
}

/// Appends an attribute with its padding.
pub(super) fn push_attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    to.extend_from_slice(&len.to_ne_bytes());
    to.extend_from_slice(&kind.to_ne_bytes());
    to.extend_from_slice(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(room) = bytes.get_mut(at..at + value.len()) {
        room.copy_from_slice(value);
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let (bytes, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let (bytes, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

pub(super) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    u32_at(bytes, at).map(u32::cast_signed)
}

/// A text that ends with a NUL.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or(&[])).into_owned()
}

pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(v6).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_can_be_taken_apart() {
        let request = Request::new(16, 1, &[7; 16])
            .with(3, b"eth0\0")
            .with_address(1, "10.0.0.1".parse().unwrap())
            .finish(9);
        assert_eq!(request.len() % 4, 0);
        let mut twice = request.clone();
        twice.extend_from_slice(&request);
        let found: Vec<_> = Messages::new(&twice).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].kind, found[1].sequence), (16, 9));
        let attributes: Vec<_> = found[1].attributes(16).collect();
        assert_eq!(attributes, [(3, &b"eth0\0"[..]), (1, &[10, 0, 0, 1][..])]);
        assert_eq!(text(attributes[0].1), "eth0");
    }

    #[test]
    fn nothing_hostile_gets_through() {
        let request = Request::new(16, 1, &[0; 16]).with(3, b"eth0\0").finish(9);
        for len in 0..request.len() {
            assert_eq!(Messages::new(&request[..len]).count(), 0);
        }
        // Lengths of 0, inside the header and beyond the end neither loop nor give anything.
        for len in [0_u32, 4, 15, 4096, u32::MAX] {
            let mut bad = request.clone();
            put(&mut bad, 0, &len.to_ne_bytes());
            assert_eq!(Messages::new(&bad).count(), 0);
        }
        for len in [0_u16, 3, 200, u16::MAX] {
            let mut bad = request.clone();
            put(&mut bad, 32, &len.to_ne_bytes());
            let found = Messages::new(&bad).next().unwrap();
            assert_eq!(found.attributes(16).count(), 0);
        }
        assert_eq!(Attributes::new(&[1]).count(), 0);
    }

    #[test]
    fn errors_of_the_kernel() {
        let message = |kind, body| Message {
            kind,
            sequence: 0,
            body,
        };
        let refused = (-libc::EPERM).to_ne_bytes();
        let error = message(NLMSG_ERROR, &refused).error().unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        assert!(message(NLMSG_ERROR, &[0; 4]).error().unwrap().is_ok());
        assert!(message(NLMSG_ERROR, &[0]).error().unwrap().is_err());
        let lowest = i32::MIN.to_ne_bytes();
        assert!(message(NLMSG_ERROR, &lowest).error().unwrap().is_err());
        assert!(message(16, &[]).error().is_none());
    }
}
