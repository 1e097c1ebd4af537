//! Requests to one server, over a connection that is kept between them.

use super::connection::{Connection, Server};
use super::failure::Failure;
use super::reply::Reply;
use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

/// After so long without a request a server may be about to close the connection.
const KEPT: Duration = Duration::from_secs(10);

/// What a request begins with.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) method: &'static str,
    /// Path and query, encoded.
    pub(super) target: String,
    /// Without the body's length.
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Head {
    fn bytes(&self, body: &str) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "{body}\r\n\r\n");
        text.into_bytes()
    }

    fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

/// A server, and perhaps a connection to it.
pub(super) struct Client {
    server: Server,
    kept: Option<(Connection, Instant)>,
    /// The replies to what is sent now may take long.
    patient: bool,
}

impl Client {
    pub(super) fn new(server: Server) -> Self {
        Self {
            server,
            kept: None,
            patient: false,
        }
    }

    /// How long one request may take.
    pub(super) fn whole(&self) -> Duration {
        match self.patient {
            true => self.server.last,
            false => self.server.whole,
        }
    }

    /// Whether what is sent from now on makes the server write to its disk, or put together, what it took.
    pub(super) fn patient(&mut self, patient: bool) {
        self.patient = patient;
    }

    /// Reads a reply.
    fn reply(&self, connection: &mut Connection, to_head: bool) -> Result<Reply, Failure> {
        if !self.patient {
            return connection.reply(to_head);
        }
        connection.patient(self.server.last);
        let mut reply = connection.reply(to_head);
        // Its waits are too long for what follows.
        if let Ok(reply) = &mut reply {
            reply.keeps = false;
        }
        reply
    }

    /// Sends a request whose body is known, and reads the reply.
    pub(super) fn exchange(&mut self, head: &Head, body: &[u8]) -> Result<Reply, Failure> {
        // Over a connection of its own, what is patient is not sent again without the sender's knowledge.
        let kept = self.kept().filter(|_| !self.patient);
        if let Some(connection) = kept {
            match self.over(connection, head, body) {
                Err(e) if e.was_closed() => {}
                done => return done,
            }
        }
        let connection = Connection::to(&self.server)?;
        self.over(connection, head, body)
    }

    /// Begins a request whose body is written while it is made, with a length or in chunks. One in chunks is not sent again: it gets
    /// a connection that nobody is about to close.
    pub(super) fn begin(&mut self, head: &Head, length: Option<usize>) -> Result<Sending, Failure> {
        let mut connection = match length.and_then(|_| self.kept()) {
            Some(connection) => connection,
            None => Connection::to(&self.server)?,
        };
        let body = match length {
            Some(length) => format!("content-length: {length}"),
            None => "transfer-encoding: chunked".into(),
        };
        connection.begin();
        connection.write_all(&head.bytes(&body))?;
        Ok(Sending(connection))
    }

    /// Reads the reply to a request whose body was written.
    pub(super) fn end(&mut self, sending: Sending) -> Result<Reply, Failure> {
        let mut connection = sending.0;
        connection.begin();
        let reply = match connection.flush() {
            Ok(()) => self.reply(&mut connection, false)?,
            Err(e) => connection.last_words(e)?,
        };
        self.keep(connection, &reply);
        Ok(reply)
    }

    fn keep(&mut self, connection: Connection, reply: &Reply) {
        if reply.keeps {
            self.kept = Some((connection, Instant::now()));
        }
    }

    fn kept(&mut self) -> Option<Connection> {
        let (mut connection, since) = self.kept.take()?;
        (since.elapsed() < KEPT && !connection.is_spent()).then_some(connection)
    }

    fn over(
        &mut self,
        mut connection: Connection,
        head: &Head,
        body: &[u8],
    ) -> Result<Reply, Failure> {
        connection.begin();
        let length = format!("content-length: {}", body.len());
        let sent = connection
            .write_all(&head.bytes(&length))
            .and_then(|()| connection.write_all(body))
            .and_then(|()| connection.flush());
        let reply = match sent {
            Ok(()) => self.reply(&mut connection, head.is_head())?,
            Err(e) => connection.last_words(e)?,
        };
        self.keep(connection, &reply);
        Ok(reply)
    }
}

/// A request whose body is being written.
pub(super) struct Sending(Connection);

impl Sending {
    /// Writes some of a body that has a length.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.begin();
        let sent = self.0.write_all(bytes);
        sent.or_else(|e| refusal(self.0.last_words(e)))
    }

    /// Writes some of a body in chunks.
    pub(super) fn chunk(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // An empty chunk would be the end.
        if bytes.is_empty() {
            return Ok(());
        }
        self.bytes(format!("{:x}\r\n", bytes.len()).as_bytes())?;
        self.bytes(bytes)?;
        self.bytes(b"\r\n")
    }

    /// Writes the end of a body in chunks.
    pub(super) fn last_chunk(&mut self) -> Result<(), Failure> {
        self.bytes(b"0\r\n\r\n")
    }
}

fn refusal(said: Result<Reply, Failure>) -> Result<(), Failure> {
    let status = said?.status;
    Err(Failure::Status {
        status,
        code: String::new(),
    })
}
