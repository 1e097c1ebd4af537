//! A running machine: its console, read line by line with deadlines, and its process, which ends with the value.

use crate::qmp::{Listener, Qmp};
use crate::{Machine, net, tool};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// A console line, stamped with the monotonic time since QEMU was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Time since the start of the machine.
    pub at: Duration,
    /// The text, without control characters. What QEMU itself says begins with `qemu: `.
    pub text: String,
}

/// What the console gave next.
#[derive(Clone, Debug)]
pub enum Event {
    /// A line.
    Line(Line),
    /// QEMU ended; nothing comes any more.
    Exit(ExitStatus),
    /// The deadline passed.
    Timeout,
}

/// A running virtual machine. Dropped, its QEMU process (and no other) is killed.
#[derive(Debug)]
pub struct Vm {
    child: Child,
    started: Instant,
    incoming: Receiver<Line>,
    lines: Vec<Line>,
    log: File,
    log_path: PathBuf,
    _qmp: Option<Qmp>,
}

impl Vm {
    /// Starts the machine; the console is also written to the file `log`, each line with its time stamp.
    ///
    /// # Errors
    /// When QEMU is not installed or cannot be started.
    pub fn start(machine: &Machine, log: &Path) -> Result<Self> {
        let mut file =
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut args = machine.args();
        let talk = cables(machine)?;
        if let Some(talk) = &talk {
            args.extend(talk.args()?.map(OsString::from));
        }
        let shown: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
        let program = machine.arch.program();
        writeln!(file, "# {program} {}", shown.join(" "))?;
        // setpriv: the kernel kills QEMU when the thread that started it is gone, whatever became of it.
        let mut child = Command::new(tool::find("setpriv")?)
            .args(["--pdeathsig", "KILL", "--"])
            .arg(tool::find(program)?)
            .args(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let started = Instant::now();
        let (sender, incoming) = channel();
        if let Some(console) = child.stdout.take() {
            read_lines(console, started, "", sender.clone());
        }
        if let Some(errors) = child.stderr.take() {
            read_lines(errors, started, "qemu: ", sender);
        }
        let mut vm = Self {
            child,
            started,
            incoming,
            lines: Vec::new(),
            log: file,
            log_path: log.to_path_buf(),
            _qmp: None,
        };
        // From here on QEMU ends with the value.
        if let Some(talk) = talk {
            vm._qmp = Some(pull_cables(machine, talk)?);
        }
        Ok(vm)
    }

    /// The next line, the end of QEMU, or the deadline.
    ///
    /// # Errors
    /// When the log cannot be written or the process cannot be asked for its end.
    pub fn next(&mut self, deadline: Instant) -> Result<Event> {
        match self
            .incoming
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(line) => {
                writeln!(self.log, "{:9.3} {}", line.at.as_secs_f64(), line.text)
                    .context("cannot write the console log")?;
                self.lines.push(line.clone());
                Ok(Event::Line(line))
            }
            Err(RecvTimeoutError::Timeout) => Ok(Event::Timeout),
            // Both pipes are closed: QEMU is gone or about to be.
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().context("cannot wait for QEMU")?;
                writeln!(self.log, "# QEMU ended: {status}")
                    .context("cannot write the console log")?;
                Ok(Event::Exit(status))
            }
        }
    }

    /// Waits for a line that contains one of `words`; `None` when QEMU ended or the time was up first.
    ///
    /// # Errors
    /// As [`Vm::next`].
    pub fn wait_for(&mut self, words: &[&str], limit: Duration) -> Result<Option<Line>> {
        let deadline = Instant::now() + limit;
        loop {
            match self.next(deadline)? {
                Event::Line(line) if words.iter().any(|word| line.text.contains(word)) => {
                    return Ok(Some(line));
                }
                Event::Line(_) => {}
                Event::Exit(_) | Event::Timeout => return Ok(None),
            }
        }
    }

    /// Every line so far.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Time since the start of the machine.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Where the console log is.
    pub fn log_path(&self) -> &Path {
        &self.log_path
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // Only our own child, by its handle; both fail harmlessly when it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A socket for QEMU, when there is something to be said before the machine starts.
fn cables(machine: &Machine) -> Result<Option<Listener>> {
    match machine.nics.iter().all(|nic| nic.carrier) {
        true => Ok(None),
        false => Listener::open().map(Some),
    }
}

/// Takes the carrier of the cards that have none, and starts the machine.
fn pull_cables(machine: &Machine, talk: Listener) -> Result<Qmp> {
    let mut qmp = talk.accept()?;
    for (number, nic) in machine.nics.iter().enumerate() {
        if !nic.carrier {
            qmp.pull(&net::name(number))?;
        }
    }
    qmp.go()?;
    Ok(qmp)
}

/// Reads a stream in its own thread until it ends.
fn read_lines(
    stream: impl Read + Send + 'static,
    started: Instant,
    prefix: &'static str,
    sender: Sender<Line>,
) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match reader.read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let line = Line {
                at: started.elapsed(),
                text: format!("{prefix}{}", printable(&bytes)),
            };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}

/// The text of a console line: no escape sequences, no control characters, no invalid UTF-8.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            // ESC [ … final byte, or ESC and one character.
            '\x1b' => {
                if chars.next() == Some('[') {
                    let _ = chars.by_ref().find(|c| ('@'..='~').contains(c));
                }
            }
            '\t' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_printable() {
        assert_eq!(
            printable(b"\x1b[2J\x1b[1;31mred\x1b[0m text\r\n"),
            "red text"
        );
        assert_eq!(printable(b"a\tb\x07\xffc\n"), "a b\u{fffd}c");
        assert_eq!(printable(b"\x1b["), "");
    }

    #[test]
    fn reader_ends_with_its_stream_and_keeps_the_last_partial_line() {
        let (sender, incoming) = channel();
        read_lines(&b"one\ntwo"[..], Instant::now(), "qemu: ", sender);
        let texts: Vec<_> = incoming.iter().map(|line| line.text).collect();
        assert_eq!(texts, ["qemu: one", "qemu: two"]);
    }
}
