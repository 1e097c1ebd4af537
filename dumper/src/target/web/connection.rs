//! A connection to a server, plain or with TLS, on which nothing waits without end.

use super::failure::Failure;
use super::reply::Reply;
use super::tls;
use crate::sys::socket::keep_alive;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a server is, and how long it may take.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) addresses: Vec<SocketAddr>,
    /// Its name in its certificate.
    pub(super) name: String,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// A connection must be there in so long.
    pub(super) timeout: Duration,
    /// It must take or give the next bytes in so long.
    pub(super) quiet: Duration,
    /// A request and its reply must be over in so long.
    pub(super) whole: Duration,
    /// The same of one that makes the server write to its disk, or put together, what it took; it may be silent meanwhile.
    pub(super) last: Duration,
}

/// How long a server that broke off a request may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A socket whose every wait has an end.
struct Timed {
    socket: TcpStream,
    quiet: Duration,
    until: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(slow());
        }
        Ok(left.min(self.quiet))
    }
}

fn slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the server does not go on")
}

fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => slow(),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(buf).map_err(named)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Wire {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

/// A connection that is up.
pub(super) struct Connection {
    wire: Wire,
    whole: Duration,
}

impl Connection {
    /// Connects to the first address that takes it.
    pub(super) fn to(server: &Server) -> Result<Self, Failure> {
        let mut timed = Timed {
            socket: socket(server)?,
            quiet: server.quiet,
            until: Instant::now() + server.timeout,
        };
        let Some(config) = &server.tls else {
            return Ok(Self {
                wire: Wire::Plain(timed),
                whole: server.whole,
            });
        };
        let mut tls = tls::client(config, &server.name)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut timed).map_err(handshake)?;
        }
        Ok(Self {
            wire: Wire::Tls(Box::new(StreamOwned::new(tls, timed))),
            whole: server.whole,
        })
    }

    fn timed(&mut self) -> &mut Timed {
        match &mut self.wire {
            Wire::Plain(timed) => timed,
            Wire::Tls(stream) => &mut stream.sock,
        }
    }

    /// What follows must be over in so long, without a word until then.
    pub(super) fn patient(&mut self, last: Duration) {
        let timed = self.timed();
        (timed.quiet, timed.until) = (last, Instant::now() + last);
    }

    /// What follows must be over in the time of a whole request.
    pub(super) fn begin(&mut self) {
        let until = Instant::now() + self.whole;
        self.timed().until = until;
    }

    /// Whether it can take no other request: the other side has closed it, or says what nobody asked for. With TLS that can be
    /// a ticket.
    pub(super) fn is_spent(&mut self) -> bool {
        let tls = matches!(self.wire, Wire::Tls(_));
        let socket = &self.timed().socket;
        let peeked = socket
            .set_nonblocking(true)
            .and_then(|()| socket.peek(&mut [0]));
        if socket.set_nonblocking(false).is_err() {
            return true;
        }
        match peeked {
            Ok(0) => true,
            Ok(_) => !tls,
            Err(e) => e.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Reads the reply to a request that was sent.
    pub(super) fn reply(&mut self, to_head: bool) -> Result<Reply, Failure> {
        Reply::read(self, to_head)
    }

    /// What a server said that did not take the whole request, or the error that the request ended with.
    pub(super) fn last_words(&mut self, error: io::Error) -> Result<Reply, Failure> {
        self.timed().until = Instant::now() + LAST_WORDS;
        match self.reply(false) {
            Ok(mut reply) if reply.status >= 400 => {
                reply.keeps = false;
                Ok(reply)
            }
            _ => Err(error.into()),
        }
    }
}

fn handshake(error: io::Error) -> Failure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    tls.map_or_else(
        || Failure::Connect(io::Error::new(error.kind(), error.to_string())),
        tls::refused,
    )
}

fn socket(server: &Server) -> Result<TcpStream, Failure> {
    let count = u32::try_from(server.addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the server has no address");
    for address in &server.addresses {
        let each = (server.timeout / count).max(Duration::from_secs(1));
        match TcpStream::connect_timeout(address, each) {
            Ok(socket) => {
                // Without it a request waits for the acknowledgement of its head.
                let _ = socket.set_nodelay(true);
                // A machine that is gone is noticed although nothing is sent to it.
                let _ = keep_alive(socket.as_fd());
                return Ok(socket);
            }
            Err(e) => last = e,
        }
    }
    Err(Failure::Connect(last))
}

impl Read for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Plain(timed) => timed.read(buf),
            Wire::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.wire {
            Wire::Plain(timed) => timed.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(_) => Ok(()),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}
