//! The log as a ring of bytes: what the kernel printed, with `<6>` before each line.
//!
//! Upstream: `log_buf`, `log_buf_len` and `log_end` in `kernel/printk.c`. Holds for: Linux 3.4 and before. `log_end` counts the bytes
//! ever written, in 32 bits.

use super::keys;
use super::printer::Printer;
use super::record::Record;
use super::{Form, LogError};
use crate::kernel::virt::{VirtMem, Window};
use crate::vmcore::VmcoreInfo;
use std::ops::Range;

/// Bytes read at once.
const BLOCK: usize = 4096;
/// Longer lines are cut in two.
const MAX_LINE: usize = 8192;

/// Writes the log from the oldest byte to the newest, as it is or a line an object.
pub(super) fn write(
    mem: &VirtMem<'_>,
    info: &VmcoreInfo,
    printer: &mut Printer<'_>,
) -> Result<(), LogError> {
    let (buffer, len) = keys::log_buf(mem, info).map_err(LogError::NotFound)?;
    let end = keys::symbol(info, "log_end").and_then(|at| keys::read_u32(mem, at));
    let end = u64::from(end.map_err(LogError::NotFound)?);
    if printer.style.since_clear {
        let note =
            "kernels up to 3.4 do not say what 'dmesg -c' has cleared: the whole log is printed";
        printer.summary.note(note);
    }
    printer.bound_by(len);
    let mut window = Window::new(mem, buffer, len);
    let mut lines = Lines::default();
    for part in parts(&mut window, len, end) {
        lines.part(&mut window, part, printer)?;
    }
    lines.end(printer)
}

/// The pieces of the ring in the order in which they were written.
fn parts(window: &mut Window<'_, '_>, len: u64, end: u64) -> [Range<u64>; 2] {
    let at = end % len;
    // The counter runs over: a byte where the next one is to go tells that the ring has been full.
    let mut next = [0];
    let full = end >= len || (window.read(at, &mut next).is_ok() && next != [0]);
    if full {
        [at..len, 0..at]
    } else {
        [0..0, 0..at]
    }
}

/// The line that is being collected.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
}

impl Lines {
    fn part(
        &mut self,
        window: &mut Window<'_, '_>,
        part: Range<u64>,
        printer: &mut Printer<'_>,
    ) -> Result<(), LogError> {
        let mut block = [0; BLOCK];
        let mut at = part.start;
        while at < part.end {
            let len = usize::try_from(part.end - at).unwrap_or(BLOCK).min(BLOCK);
            let bytes = &mut block[..len];
            if window.read(at, bytes).is_ok() {
                self.take(bytes, printer)?;
            } else {
                printer.summary.damaged += 1;
            }
            at += len as u64;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], printer: &mut Printer<'_>) -> Result<(), LogError> {
        if printer.style.form != Form::Json {
            printer.bytes(bytes)?;
        }
        for &byte in bytes {
            if byte == b'\n' || self.line.len() >= MAX_LINE {
                self.end(printer)?;
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        Ok(())
    }

    fn end(&mut self, printer: &mut Printer<'_>) -> Result<(), LogError> {
        if !self.line.is_empty() {
            let record = parse(&self.line);
            if printer.style.form == Form::Json {
                printer.record(&record)?;
            } else {
                printer.line_passed(&record);
            }
        }
        self.line.clear();
        Ok(())
    }
}

/// `<N>[seconds.micros] text`, both in front perhaps missing.
fn parse(line: &[u8]) -> Record<'_> {
    let (number, text) = between(line, b'<', b'>').unwrap_or((&[], line));
    let number: Option<u32> = ascii(number);
    let (number, text) = match number {
        Some(number) if number < 256 * 8 => (Some(number), text),
        _ => (None, line),
    };
    let byte = |number: u32| u8::try_from(number).ok();
    let (time, text) = time(text).map_or((None, text), |(time, text)| (Some(time), text));
    Record {
        time,
        level: number.and_then(|n| byte(n & 7)),
        facility: number.and_then(|n| byte(n >> 3)),
        text,
        ..Record::default()
    }
}

fn time(text: &[u8]) -> Option<(u64, &[u8])> {
    let (time, rest) = between(text, b'[', b']')?;
    let dot = time.iter().position(|b| *b == b'.')?;
    let (seconds, micros) = (time[..dot].trim_ascii_start(), &time[dot + 1..]);
    let seconds: u64 = ascii(seconds)?;
    let micros: u64 = ascii(micros).filter(|_| micros.len() == 6)?;
    let nanos = seconds
        .checked_mul(1_000_000_000)?
        .checked_add(micros * 1000)?;
    Some((nanos, rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// What stands between `open`, which is the first byte, and the next `close`, and what follows.
fn between(text: &[u8], open: u8, close: u8) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(&[open])?;
    let end = inner.iter().take(32).position(|b| *b == close)?;
    Some((&inner[..end], &inner[end + 1..]))
}

fn ascii<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    let digits = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_and_without_level_and_time() {
        let record = parse(b"<6>[    1.234567] usb 1-1: <new> [x]");
        assert_eq!(record.time, Some(1_234_567_000));
        assert_eq!((record.level, record.facility), (Some(6), Some(0)));
        assert_eq!(record.text, b"usb 1-1: <new> [x]");
        let record = parse(b"<30>systemd[1]: hi");
        assert_eq!((record.level, record.facility), (Some(6), Some(3)));
        assert_eq!((record.time, record.text), (None, &b"systemd[1]: hi"[..]));
        for odd in [
            &b"<>x"[..],
            b"<99999>x",
            b"[1.5] x",
            b"[99999999999999999999.000000] x",
            b"<6",
            b"[",
        ] {
            let record = parse(odd);
            assert_eq!((record.time, record.level, record.text), (None, None, odd));
        }
    }
}
