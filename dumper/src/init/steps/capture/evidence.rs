//! Targets that take no files: the tail of the log, on the console or to a log server.

use super::super::seal::log_is_sealed;
use super::super::{End, load, load_plan, store};
use super::{VMCORE_FILE, unusable};
use crate::config::Config;
use crate::dump::DeadKernel;
use crate::init::log::say;
use crate::target::{Kind, Reached, TargetSpec, beacon};
use std::io::Write;
use std::path::Path;

/// The fact that the console has it.
const SHOWN: &str = "shown";
/// Bytes of the log's end that are shown.
const TAIL: usize = 16 << 10;

/// Shows what is known. There is no dump then: whoever looks for one must go on.
pub(super) fn run(
    config: &Config,
    target: &TargetSpec,
    reached: &Reached,
    kernel: Result<&DeadKernel, String>,
) -> Result<End, String> {
    let evidence = Evidence::of(config, kernel?)?;
    match (&target.kind, reached) {
        (Kind::Syslog { transport, .. }, Reached::Server(addresses)) => {
            let Evidence { host, beacon, text } = &evidence;
            beacon::send(addresses, *transport, host, beacon, text).map_err(|e| e.to_string())?;
            say!("log sent to {target}");
        }
        _ => evidence.show(),
    }
    Err("no dump: this target takes only the log".into())
}

/// The log's end on the console, if it is not there yet.
pub(in crate::init::steps) fn last_resort() -> Result<End, String> {
    if load(SHOWN).unwrap_or(false) {
        return Ok(End::Done);
    }
    let kernel = DeadKernel::open(Path::new(VMCORE_FILE), false).map_err(|e| unusable(&e))?;
    Evidence::of(&load_plan()?.config, &kernel)?.show();
    Ok(End::Done)
}

/// What may be shown of a crash.
struct Evidence {
    host: String,
    beacon: String,
    /// The end of the log, or nothing when that is for the owners of keys only.
    text: String,
}

impl Evidence {
    fn of(config: &Config, kernel: &DeadKernel) -> Result<Self, String> {
        let mut tail = Tail::of(TAIL);
        let summary = kernel.dmesg(&mut tail).map_err(|e| e.to_string())?;
        let identity = kernel.identity();
        let (host, release) = (identity.nodename.as_deref(), identity.release.as_deref());
        Ok(Self {
            host: host.unwrap_or("-").to_owned(),
            beacon: beacon::line(host, release, summary.panic_line.as_deref()),
            text: if log_is_sealed(config) {
                String::new()
            } else {
                tail.text()
            },
        })
    }

    /// Puts it on the console, in a frame.
    fn show(&self) {
        say!("{}", self.beacon);
        if !self.text.is_empty() {
            say!("---- begin of the log's tail ----");
            self.text.lines().for_each(|line| say!("| {line}"));
            say!("---- end of the log's tail ----");
        }
        // That it is not known costs a repetition.
        let _ = store(SHOWN, &true);
    }
}

/// The last bytes of what is written.
pub(super) struct Tail {
    bytes: Vec<u8>,
    most: usize,
}

impl Tail {
    /// The last `most` of them.
    pub(super) fn of(most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            most,
        }
    }

    /// From the first whole line on.
    pub(super) fn text(&self) -> String {
        let from = self.bytes.len().saturating_sub(self.most);
        let bytes = self.bytes.get(from..).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes);
        match text.split_once('\n') {
            Some((_, rest)) if from > 0 => rest.to_owned(),
            _ => text.into_owned(),
        }
    }
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let last = bytes.len().saturating_sub(self.most + 1);
        let bytes_of_it = bytes.get(last..).unwrap_or_default();
        self.bytes.extend_from_slice(bytes_of_it);
        if self.bytes.len() > 4 * self.most {
            self.bytes.drain(..self.bytes.len() - self.most - 1);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_bounded_and_begins_with_a_whole_line() {
        let mut tail = Tail::of(TAIL);
        for n in 0..100_000 {
            writeln!(tail, "line {n}").unwrap();
        }
        let text = tail.text();
        assert!(
            text.len() <= TAIL && tail.bytes.len() <= 4 * TAIL,
            "{}",
            text.len()
        );
        assert!(text.starts_with("line ") && text.ends_with("line 99999\n"));
        let mut short = Tail::of(TAIL);
        short.write_all(b"a\nb").unwrap();
        assert_eq!(short.text(), "a\nb");
    }
}
