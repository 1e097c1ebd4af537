//! One channel of a connection: bytes to a program on the server and from it, without end and without much memory.

use super::client::Client;
use super::fault::{Fault, clean};
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use std::io;
use std::sync::Arc;
use tokio::pin;
use tokio::time::{sleep, timeout};

/// More that came and was not asked for ends the connection.
const MAX_INBOX: usize = 1 << 20;
/// So much of what a program says of its errors is kept.
const MAX_ERRORS: usize = 512;

/// What is begun on the server.
pub(super) enum Program<'a> {
    Subsystem(&'a str),
    Command(&'a str),
}

/// A running program.
pub(super) struct Pipe {
    client: Arc<Client>,
    writer: ChannelWriteHalf<Msg>,
    reader: ChannelReadHalf,
    inbox: Inbox,
}

/// What came from the program.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Its output that was not taken yet.
    pub(super) output: Vec<u8>,
    /// The beginning of what it says of errors.
    errors: Vec<u8>,
    /// Its exit status; 255 for a signal.
    pub(super) status: Option<u32>,
    begun: Option<bool>,
    closed: bool,
}

impl Inbox {
    fn take(&mut self, message: Option<ChannelMsg>) -> Result<(), Fault> {
        match message {
            None | Some(ChannelMsg::Close) => self.closed = true,
            Some(ChannelMsg::Success) => self.begun = Some(true),
            Some(ChannelMsg::Failure) => self.begun = Some(false),
            Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status),
            Some(ChannelMsg::ExitSignal { .. }) => self.status = Some(255),
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                let room = MAX_ERRORS.saturating_sub(self.errors.len());
                self.errors.extend(data.iter().take(room));
            }
            Some(ChannelMsg::Data { data }) => {
                if self.output.len() + data.len() > MAX_INBOX {
                    return Err(Fault::absurd("the server sends what nobody asked for"));
                }
                self.output.extend_from_slice(&data);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// What the program said of its errors.
    pub(super) fn errors(&self) -> String {
        clean(&self.errors)
    }

    fn end(&self) -> Fault {
        let errors = self.errors();
        let status = match self.status {
            Some(status) => format!("with exit status {status}"),
            None => "without a word, or the connection did".into(),
        };
        Fault::new(
            io::ErrorKind::BrokenPipe,
            match errors.is_empty() {
                true => format!("the program on the server ended {status}"),
                false => format!("the program on the server ended {status}: {errors}"),
            },
        )
    }
}

impl Pipe {
    /// Begins `program`; `None` when the server refuses to.
    pub(super) fn open(client: &Arc<Client>, program: &Program<'_>) -> Result<Option<Self>, Fault> {
        let (reader, writer) = client.channel()?.split();
        let mut pipe = Self {
            client: Arc::clone(client),
            writer,
            reader,
            inbox: Inbox::default(),
        };
        client.run(async {
            match program {
                Program::Subsystem(name) => pipe.writer.request_subsystem(true, *name).await?,
                Program::Command(command) => pipe.writer.exec(true, *command).await?,
            }
            Ok(())
        })?;
        while pipe.inbox.begun.is_none() && !pipe.inbox.closed {
            pipe.wait()?;
        }
        Ok((pipe.inbox.begun == Some(true)).then_some(pipe))
    }

    /// Gives `bytes` to the socket, as far as the window lets them through; waits until they are through.
    pub(super) fn send(&mut self, bytes: Vec<u8>) -> Result<(), Fault> {
        let client = Arc::clone(&self.client);
        if self.inbox.closed {
            return Err(self.inbox.end());
        }
        client.run(async {
            let sending = self.writer.data_bytes(bytes);
            pin!(sending);
            loop {
                tokio::select! {
                    biased;
                    sent = &mut sending => break sent?,
                    message = self.reader.wait() => self.inbox.take(message)?,
                    () = sleep(client.stall()) => return Err(client.stalled()),
                }
                if self.inbox.closed {
                    return Err(self.inbox.end());
                }
            }
            // Encrypts what was queued, and writes it to the socket.
            tokio::task::yield_now().await;
            Ok(())
        })?;
        self.look()
    }

    /// Takes what has come, without waiting.
    pub(super) fn look(&mut self) -> Result<(), Fault> {
        let client = Arc::clone(&self.client);
        client.run(async {
            loop {
                tokio::select! {
                    biased;
                    message = self.reader.wait(), if !self.inbox.closed => self.inbox.take(message)?,
                    () = std::future::ready(()) => return Ok(()),
                }
            }
        })
    }

    /// Waits for something to come. After the end that is an error.
    pub(super) fn wait(&mut self) -> Result<(), Fault> {
        if self.inbox.closed {
            return Err(self.inbox.end());
        }
        let client = Arc::clone(&self.client);
        client.run(async {
            match timeout(client.stall(), self.reader.wait()).await {
                Ok(message) => self.inbox.take(message),
                Err(_) => Err(client.stalled()),
            }
        })
    }

    /// Tells the program that nothing follows, and waits for its end.
    pub(super) fn finish(&mut self) -> Result<&mut Inbox, Fault> {
        let client = Arc::clone(&self.client);
        if !self.inbox.closed {
            client.run(async { Ok(self.writer.eof().await?) })?;
        }
        while !self.inbox.closed {
            self.wait()?;
        }
        Ok(&mut self.inbox)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }
}
