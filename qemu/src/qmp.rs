//! A word with QEMU before the machine starts: cables are pulled, which no argument can do. QEMU Machine Protocol, JSON lines.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How long QEMU may take to connect and to answer.
const LIMIT: Duration = Duration::from_secs(20);

/// The socket to which QEMU connects.
pub(crate) struct Listener(TcpListener);

/// The connection; QEMU lives without it.
#[derive(Debug)]
pub(crate) struct Qmp(BufReader<TcpStream>);

impl Listener {
    /// A socket on a free port of loopback.
    pub(crate) fn open() -> Result<Self> {
        let socket =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen for QEMU")?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// The arguments that make QEMU connect and wait.
    pub(crate) fn args(&self) -> Result<[String; 5]> {
        let port = self.0.local_addr()?.port();
        Ok([
            "-S".into(),
            "-chardev".into(),
            format!("socket,id=qmp,host=127.0.0.1,port={port}"),
            "-mon".into(),
            "chardev=qmp,mode=control".into(),
        ])
    }

    /// The connection, ready for commands.
    pub(crate) fn accept(self) -> Result<Qmp> {
        let deadline = Instant::now() + LIMIT;
        let stream = loop {
            match self.0.accept() {
                Ok((stream, _)) => break stream,
                Err(_) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(error).context("QEMU does not connect"),
            }
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut qmp = Qmp(BufReader::new(stream));
        qmp.line()?;
        qmp.ask(r#"{"execute":"qmp_capabilities"}"#)?;
        Ok(qmp)
    }
}

impl Qmp {
    /// Takes the carrier from a card.
    pub(crate) fn pull(&mut self, card: &str) -> Result<()> {
        self.ask(&format!(
            r#"{{"execute":"set_link","arguments":{{"name":"{card}","up":false}}}}"#
        ))
    }

    /// Starts the machine.
    pub(crate) fn go(&mut self) -> Result<()> {
        self.ask(r#"{"execute":"cont"}"#)
    }

    /// A command and its answer; events in between are left.
    fn ask(&mut self, command: &str) -> Result<()> {
        self.0
            .get_mut()
            .write_all(format!("{command}\n").as_bytes())?;
        loop {
            let line = self.line()?;
            if line.starts_with(r#"{"return""#) {
                return Ok(());
            }
            if line.starts_with(r#"{"error""#) {
                bail!("QEMU refuses {command}: {line}");
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self
            .0
            .read_line(&mut line)
            .context("QEMU does not answer")?
            == 0
        {
            bail!("QEMU ended");
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_answers() {
        let listener = Listener::open().unwrap();
        let port = listener.0.local_addr().unwrap().port();
        let qemu = std::thread::spawn(move || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            stream.write_all(b"{\"QMP\": {}}\n").unwrap();
            let mut asked = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut heard = Vec::new();
            for answer in [
                "{\"return\": {}}\n",
                "{\"event\": 1}\n{\"return\": {}}\n",
                "{\"error\": {}}\n",
            ] {
                heard.push(asked.next().unwrap().unwrap());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            heard
        });
        let mut qmp = listener.accept().unwrap();
        qmp.pull("card0").unwrap();
        assert!(qmp.go().unwrap_err().to_string().contains("cont"));
        let heard = qemu.join().unwrap();
        assert!(
            heard[1].contains("set_link") && heard[1].contains("card0"),
            "{heard:?}"
        );
    }
}
