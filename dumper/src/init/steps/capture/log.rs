//! The dead kernel's log, saved before its memory. It may be made of lies: whatever it does, the memory gets its turn.

use super::super::seal::log_is_sealed;
use super::super::{Context, load, store};
use super::Capture;
use super::evidence::Tail;
use crate::dump::{DeadKernel, DmesgSummary};
use crate::init::log::say;
use crate::report::{FileEntry, Report, bounded};
use crate::target::{Limited, Sequence, beacon};
use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

/// Bytes of the log that are written at a time.
const CHUNK: usize = 64 << 10;
/// How long the log may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two words to PID 1.
const TELL: Duration = Duration::from_millis(250);
/// Bytes of the log's end that are tried where there is no room for all of it, one after the other.
const ENDS: [usize; 5] = [256 << 10, 64 << 10, 16 << 10, 8 << 10, 4 << 10];
/// What a file with only the end of the log begins with.
const CUT: &str = "[the target is full: only the end of the log is here]\n";
/// The fact that says how many captures did not come out of their log.
const INSIDE: &str = "inside-log";

/// How many captures died or hung while they read the log.
pub(super) fn victims() -> u8 {
    load(INSIDE).unwrap_or(0)
}

/// Why a log is not saved, and whether its target was full.
struct Fault {
    why: String,
    full: bool,
}

impl Capture<'_> {
    /// Saves the log. That it fails is no reason to leave the memory.
    pub(super) fn save_dmesg(
        &self,
        kernel: &DeadKernel,
        report: &mut Report,
        earlier: Option<&Report>,
    ) {
        let start = Instant::now();
        let name = &self.names.dmesg;
        let whole = |earlier: &&Report| {
            self.dir.names_whole() || earlier.files.iter().any(|file| file.name == *name)
        };
        let earlier = earlier.filter(whole);
        if let Some(earlier) = earlier.filter(|_| self.dir.size(name).is_some()) {
            report.panic_line.clone_from(&earlier.panic_line);
            report.panic_place.clone_from(&earlier.panic_place);
            report.files.clone_from(&earlier.files);
            return;
        }
        let before = victims();
        let _ = store(INSIDE, &before.saturating_add(1));
        let saved = self.write_dmesg(kernel, report, None).map_err(|fault| {
            let mut ends = ENDS.iter().filter(|_| fault.full);
            match ends.any(|end| self.write_dmesg(kernel, report, Some(*end)).is_ok()) {
                true => format!("only its end is: {}", fault.why),
                false => fault.why,
            }
        });
        let _ = store(INSIDE, &before);
        match saved {
            Ok(()) => say!("dmesg saved: {}/{name}", self.dir.path()),
            Err(why) => {
                let warning = format!("the dead kernel's log is not saved: {why}");
                say!("warning: {warning}");
                report.warn(&warning);
            }
        }
        report.phase("dmesg", start);
    }

    /// Writes the log, or so many bytes of its end, which keep the incomplete name.
    fn write_dmesg(
        &self,
        kernel: &DeadKernel,
        report: &mut Report,
        end: Option<usize>,
    ) -> Result<(), Fault> {
        let fault = |why: String| Fault { why, full: false };
        let (name, incomplete) = (&self.names.dmesg, self.names.dmesg_incomplete());
        let pending = self.dir.begin(&incomplete, name);
        let pending = pending.map_err(|e| fault(e.to_string()))?;
        let out = Limited::new(pending.out(), u64::MAX);
        let sequence = Sequence::new(&out);
        let sealed = log_is_sealed(self.config);
        let printed = match self.seal.filter(|_| sealed) {
            Some(seal) => seal
                .over(sequence)
                .map_err(|e| e.to_string())
                .and_then(|mut writer| {
                    let summary = self.print(kernel, &mut writer, end)?;
                    Ok((summary, writer.finish().map_err(|e| e.to_string())?))
                }),
            None => {
                let mut writer = BufWriter::with_capacity(CHUNK, sequence);
                let summary = self.print(kernel, &mut writer, end);
                summary.and_then(|summary| {
                    let sequence = writer.into_inner().map_err(|e| e.to_string())?;
                    Ok((summary, sequence))
                })
            }
        };
        let full = out.was_full();
        let (summary, sum) = printed.map_err(|why| Fault { why, full })?;
        for warning in summary.warnings() {
            report.warn(&warning);
        }
        let (bytes, crc32) = sum.sum();
        let panic = summary.panic_line.as_deref().map(bounded);
        let host = report.host.as_deref();
        let beacon = beacon::line(host, report.kernel_release.as_deref(), panic.as_deref());
        say!("{beacon}");
        if !sealed {
            report.panic_line = panic;
            report.panic_place = summary.panic_place;
        }
        let (name, ended) = match end {
            None => (name, self.waiting(|| pending.commit())),
            Some(_) => (&incomplete, self.waiting(|| pending.keep())),
        };
        ended.map_err(|e| fault(e.to_string()))?;
        report.file(FileEntry::new(name, bytes, Some(crc32)));
        Ok(())
    }

    fn print(
        &self,
        kernel: &DeadKernel,
        to: &mut dyn Write,
        end: Option<usize>,
    ) -> Result<DmesgSummary, String> {
        self.context.strike_in_log();
        let mut tail = end.map(Tail::of);
        let to_tail = tail.as_mut().map(|tail| tail as &mut dyn Write);
        let mut watched = Watched::new(self.context, to_tail.unwrap_or(&mut *to), PATIENCE);
        let summary = kernel.dmesg(&mut watched).map_err(|e| e.to_string())?;
        if let Some(tail) = tail {
            let text = CUT.to_owned() + &tail.text();
            to.write_all(text.as_bytes()).map_err(|e| e.to_string())?;
        }
        to.flush().map_err(|e| e.to_string())?;
        Ok(summary)
    }
}

/// Tells PID 1 that the log grows, and ends one that does not come to its end.
struct Watched<'a> {
    context: &'a Context,
    to: &'a mut dyn Write,
    patience: Duration,
    start: Instant,
    told: Instant,
    bytes: u64,
}

impl<'a> Watched<'a> {
    fn new(context: &'a Context, to: &'a mut dyn Write, patience: Duration) -> Self {
        let now = Instant::now();
        Self {
            context,
            to,
            patience,
            start: now,
            told: now,
            bytes: 0,
        }
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = Instant::now();
        if now.duration_since(self.start) >= self.patience {
            return Err(io::Error::other(format!(
                "not done after {} s and {} bytes: the rest is left out",
                self.patience.as_secs(),
                self.bytes
            )));
        }
        if now.duration_since(self.told) >= TELL {
            self.told = now;
            self.context.progress(self.bytes, 0);
        }
        let written = self.to.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_does_not_end_is_ended() {
        let context = Context::default();
        let mut to = Vec::new();
        let mut watched = Watched::new(&context, &mut to, Duration::from_millis(50));
        let error = loop {
            if let Err(error) = watched.write_all(b"line\n") {
                break error.to_string();
            }
        };
        assert!(error.starts_with("not done after 0 s"), "{error}");
        assert!(to.len() >= 5);
    }
}
