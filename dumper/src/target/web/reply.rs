//! A reply of an HTTP/1.1 server (RFC 9112): hostile input of at most 64 KiB.

use super::failure::Failure;
use std::io::Read;

/// More bytes, heads and interim replies included, are not read.
const LARGEST: usize = 64 << 10;
/// More bytes of one head are not read.
const LARGEST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
const READ: usize = 4096;

/// A reply that is there as a whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether the connection can take another request.
    pub(super) keeps: bool,
}

/// How the end of a body is found.
enum Ends {
    At(usize),
    Chunked,
    WithConnection,
}

impl Reply {
    /// Reads one; that to a HEAD request has no body.
    pub(super) fn read(from: &mut dyn Read, to_head: bool) -> Result<Self, Failure> {
        let mut input = Input {
            from,
            bytes: Vec::new(),
            dropped: 0,
        };
        let mut reply = loop {
            let reply = input.head()?;
            match reply.status {
                101 => return Err(Failure::Reply("switches protocols")),
                100..=199 => {}
                _ => break reply,
            }
        };
        let ends = reply.ends(to_head)?;
        reply.keeps &= !matches!(ends, Ends::WithConnection);
        reply.body = match ends {
            Ends::At(length) => input.exactly(length)?,
            Ends::Chunked => input.chunks()?,
            Ends::WithConnection => input.rest()?,
        };
        // What nobody asked for is not the reply to the next request.
        reply.keeps &= input.bytes.is_empty();
        Ok(reply)
    }

    /// A header by its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name)?;
        Some(&found.1)
    }

    fn ends(&self, to_head: bool) -> Result<Ends, Failure> {
        if to_head || matches!(self.status, 204 | 304) {
            return Ok(Ends::At(0));
        }
        if let Some(coding) = self.header("transfer-encoding") {
            return if coding.eq_ignore_ascii_case("chunked") {
                Ok(Ends::Chunked)
            } else {
                Err(Failure::Reply("has an unknown transfer encoding"))
            };
        }
        let Some(length) = self.header("content-length") else {
            return Ok(Ends::WithConnection);
        };
        let digits = length.bytes().all(|b| b.is_ascii_digit());
        let length = length.parse::<usize>().ok().filter(|_| digits);
        length
            .filter(|&length| length <= LARGEST)
            .map(Ends::At)
            .ok_or(Failure::Reply("is too large"))
    }
}

struct Input<'a> {
    from: &'a mut dyn Read,
    bytes: Vec<u8>,
    dropped: usize,
}

impl Input<'_> {
    /// Reads some more; false at the end.
    fn more(&mut self) -> Result<bool, Failure> {
        let len = self.bytes.len();
        if self.dropped + len >= LARGEST {
            return Err(Failure::Reply("is too large"));
        }
        self.bytes.resize(len + READ, 0);
        let read = loop {
            match self.from.read(&mut self.bytes[len..]) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                done => break done,
            }
        };
        self.bytes.truncate(len + *read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }

    fn must(&mut self) -> Result<(), Failure> {
        match self.more()? {
            true => Ok(()),
            false => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.bytes.split_off(count);
        self.dropped += count;
        std::mem::replace(&mut self.bytes, rest)
    }

    fn head(&mut self) -> Result<Reply, Failure> {
        loop {
            if let Some((used, reply)) = parse(&self.bytes)? {
                self.take(used);
                return Ok(reply);
            }
            if self.bytes.len() >= LARGEST_HEAD {
                return Err(Failure::Reply("has too large a head"));
            }
            self.must()?;
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        while self.bytes.len() < length {
            self.must()?;
        }
        Ok(self.take(length))
    }

    fn rest(&mut self) -> Result<Vec<u8>, Failure> {
        while self.more()? {}
        Ok(std::mem::take(&mut self.bytes))
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            let size = self.line(httparse_size)?;
            if size == 0 {
                break;
            }
            body.append(&mut self.exactly(size)?);
            if self.exactly(2)? != b"\r\n" {
                return Err(Failure::Reply("has a broken chunk"));
            }
        }
        // Trailers up to the empty line.
        while self.line(|bytes| {
            let end = bytes.windows(2).position(|pair| pair == b"\r\n");
            Ok(end.map(|end| (end + 2, end)))
        })? > 0
        {}
        Ok(body)
    }

    /// Takes what `parse` finds at the front: how much that is, and its value.
    fn line(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<Option<(usize, usize)>, Failure>,
    ) -> Result<usize, Failure> {
        const LONGEST: usize = 4096;
        loop {
            if let Some((used, value)) = parse(&self.bytes[..self.bytes.len().min(LONGEST)])? {
                self.take(used);
                return Ok(value);
            }
            if self.bytes.len() >= LONGEST {
                return Err(Failure::Reply("has too long a line"));
            }
            self.must()?;
        }
    }
}

fn httparse_size(bytes: &[u8]) -> Result<Option<(usize, usize)>, Failure> {
    const BAD: Failure = Failure::Reply("has a broken chunk");
    match httparse::parse_chunk_size(bytes).map_err(|_| BAD)? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete((used, size)) => {
            let size = usize::try_from(size).ok().filter(|&size| size <= LARGEST);
            Ok(Some((used, size.ok_or(Failure::Reply("is too large"))?)))
        }
    }
}

/// A whole head and its length.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Reply)>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let status = head
        .parse(bytes)
        .map_err(|_| Failure::Reply("is not HTTP"))?;
    let httparse::Status::Complete(used) = status else {
        return Ok(None);
    };
    let mut reply = Reply {
        status: head.code.unwrap_or(0),
        keeps: head.version == Some(1),
        ..Reply::default()
    };
    for header in head.headers.iter() {
        let value = String::from_utf8_lossy(header.value).trim().to_owned();
        reply
            .headers
            .push((header.name.to_ascii_lowercase(), value));
    }
    let close = |value: &str| value.to_ascii_lowercase().contains("close");
    reply.keeps &= !reply.header("connection").is_some_and(close);
    Ok(Some((used, reply)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives single bytes.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let count = buf.len().min(1);
            self.0.read(&mut buf[..count])
        }
    }

    fn read(text: &str) -> Result<Reply, Failure> {
        let whole = Reply::read(&mut text.as_bytes(), false);
        let slow = Reply::read(&mut Slow(text.as_bytes()), false);
        match (&whole, &slow) {
            (Ok(a), Ok(b)) => assert_eq!((a.status, &a.body), (b.status, &b.body)),
            (a, b) => assert_eq!(a.is_err(), b.is_err(), "{a:?} {b:?}"),
        }
        whole
    }

    #[test]
    fn bodies_of_each_kind() {
        let reply =
            read("HTTP/1.1 200 OK\r\nETag:  \"a\" \r\nContent-Length: 3\r\n\r\nabc").unwrap();
        assert_eq!(
            (reply.status, &*reply.body, reply.keeps),
            (200, &b"abc"[..], true)
        );
        assert_eq!(reply.header("etag"), Some("\"a\""));
        let reply = read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n").unwrap();
        assert_eq!((&*reply.body, reply.keeps), (&b"abcde"[..], true));
        let reply = read("HTTP/1.1 503 No\r\nConnection: close\r\n\r\nlater").unwrap();
        assert_eq!(
            (reply.status, &*reply.body, reply.keeps),
            (503, &b"later"[..], false)
        );
        assert!(
            !read("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
                .unwrap()
                .keeps
        );
        assert!(
            !Reply::read(&mut &b"HTTP/1.1 204 x\r\n\r\nHTTP"[..], false)
                .unwrap()
                .keeps
        );
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
        let reply = Reply::read(&mut &head[..], true).unwrap();
        assert_eq!(reply.header("content-length"), Some("99999999999"));
    }

    #[test]
    fn what_is_cut_or_lies_is_no_reply() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(65));
        let wide = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(1 << 20));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1 << 15);
        let chunks = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            "1\r\na\r\n".repeat(1 << 15)
        );
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(1 << 17));
        for bad in [
            "",
            "SSH-2.0-OpenSSH_9.6\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            "HTTP/1.1 101 Switch\r\n\r\n",
            &many,
            &wide,
            &interim,
            &chunks,
            &endless,
        ] {
            assert!(read(bad).is_err(), "{}", &bad[..bad.len().min(80)]);
        }
    }
}
