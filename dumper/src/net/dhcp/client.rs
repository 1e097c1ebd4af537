//! The conversation: discover, offer, request, ack.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::message::{Kind, Lease, Reply, build};
use super::{frame, payload};
use crate::net::Mac;
use crate::net::netlink::wait_readable;
use crate::net::random::random;

/// How long the first question waits for its answer; each further one twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// How often an offer is asked for before the next discover.
const REQUESTS: u32 = 3;
/// As large as an answer may be: what is longer is cut off.
const BUFFER: usize = 2048;

/// Whom and how long to ask.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The interface's number.
    pub interface: u32,
    /// Its address.
    pub mac: Mac,
    /// When to give up.
    pub end: Instant,
}

/// Gets an address.
///
/// # Errors
/// What came instead, as a sentence.
pub fn acquire(terms: &Terms) -> Result<Lease, String> {
    let socket = crate::sys::socket::packet_socket(terms.interface).map_err(|error| match error
        .raw_os_error()
    {
        Some(libc::EAFNOSUPPORT) => {
            "the kernel has no packet sockets: the image lacks the module af_packet".to_owned()
        }
        _ => format!("no packet socket: {error}"),
    })?;
    let start = Instant::now();
    let mut client = Client {
        socket,
        terms,
        xid: 0,
        start,
        asked: 0,
        refused: 0,
        trouble: None,
    };
    client.run()
}

struct Client<'a> {
    socket: File,
    terms: &'a Terms,
    xid: u32,
    start: Instant,
    asked: u32,
    refused: u32,
    trouble: Option<io::Error>,
}

impl Client<'_> {
    fn run(&mut self) -> Result<Lease, String> {
        let mut wait = FIRST_WAIT;
        while Instant::now() < self.terms.end {
            self.xid = random();
            self.asked += 1;
            if let Some(offer) = self.discover(wait)
                && let Some(lease) = self.request(&offer)
            {
                return Ok(lease);
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        Err(self.sum_up())
    }

    fn discover(&mut self, wait: Duration) -> Option<Lease> {
        self.send(Kind::Discover, None);
        self.receive(wait, |reply| reply.kind == Kind::Offer)?.lease
    }

    fn request(&mut self, offer: &Lease) -> Option<Lease> {
        let mut wait = FIRST_WAIT;
        for _ in 0..REQUESTS {
            self.send(Kind::Request, Some(offer));
            let server = offer.server;
            let answers = |reply: &Reply| reply.kind != Kind::Offer && reply.server == server;
            if let Some(reply) = self.receive(wait, answers) {
                self.refused += u32::from(reply.lease.is_none());
                if reply.lease.is_none() {
                    // A server that refuses what it offers is not asked again at once.
                    std::thread::sleep(FIRST_WAIT.min(self.left()));
                }
                return reply.lease;
            }
            wait *= 2;
        }
        self.refused += 1;
        None
    }

    fn send(&mut self, kind: Kind, offer: Option<&Lease>) {
        let seconds = u16::try_from(self.start.elapsed().as_secs()).unwrap_or(u16::MAX);
        let message = build(kind, self.xid, self.terms.mac, seconds, offer);
        self.trouble = self
            .socket
            .write_all(&frame::broadcast(self.terms.mac, &message))
            .err();
    }

    fn left(&self) -> Duration {
        self.terms.end.saturating_duration_since(Instant::now())
    }

    /// The first reply that is meant; whatever else comes, not longer than `wait`.
    fn receive(&mut self, wait: Duration, meant: impl Fn(&Reply) -> bool) -> Option<Reply> {
        let end = Instant::now() + wait.min(self.left());
        let mut buffer = [0; BUFFER];
        loop {
            wait_readable(&self.socket, end).ok()?;
            let len = match self.socket.read(&mut buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => {
                    // The interface went down: nothing comes before it is up again.
                    self.trouble = Some(error);
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            let reply = buffer.get(..len).and_then(payload);
            let reply = reply.and_then(|bytes| Reply::parse(bytes, self.xid, self.terms.mac));
            if let Some(reply) = reply.filter(&meant) {
                return Some(reply);
            }
        }
    }

    fn sum_up(&self) -> String {
        if let Some(error) = &self.trouble {
            return format!("sending failed: {error}");
        }
        let times = if self.asked == 1 { "time" } else { "times" };
        match self.refused {
            0 => format!("no DHCP server answered ({} {times} asked)", self.asked),
            n => format!(
                "the DHCP server offered an address and then refused it, or said nothing more ({n} of {} {times} asked)",
                self.asked
            ),
        }
    }
}
