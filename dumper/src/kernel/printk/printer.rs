//! Where records go: the output in the form asked for, and the counts.

use super::record::Record;
use super::{Form, LogError, Style, Summary};
use std::io::Write;

pub(super) struct Printer<'a> {
    pub(super) style: Style,
    pub(super) summary: Summary,
    out: &'a mut dyn Write,
    line: Vec<u8>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(style: Style, out: &'a mut dyn Write) -> Self {
        Self {
            style,
            summary: Summary::default(),
            out,
            line: Vec::with_capacity(1024),
        }
    }

    /// Writes one record.
    pub(super) fn record(&mut self, record: &Record<'_>) -> Result<(), LogError> {
        note_panic(record.text, &mut self.summary);
        let callers = self.style.callers;
        match self.style.form {
            Form::Text => record.as_text(callers, &mut self.line),
            Form::Raw => record.as_raw(callers, &mut self.line),
            Form::Json => record.as_json(callers, &mut self.line),
        }
        self.out.write_all(&self.line)?;
        self.summary.records += 1;
        self.summary.bytes += self.line.len() as u64;
        Ok(())
    }

    /// Writes bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        self.out.write_all(bytes)?;
        self.summary.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Takes in a line that is written by [`Printer::bytes`].
    pub(super) fn line_passed(&mut self, text: &[u8]) {
        note_panic(text, &mut self.summary);
        self.summary.records += 1;
    }
}

/// Remembers the line that names the panic: what follows later is the dump of registers and stacks.
pub(super) fn note_panic(text: &[u8], summary: &mut Summary) {
    const MARKS: [&[u8]; 2] = [b"Kernel panic - not syncing", b"BUG: "];
    let first = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let strong = first.starts_with(MARKS[0]);
    let known_panic = summary
        .panic_line
        .as_deref()
        .is_some_and(|l| l.starts_with("Kernel panic"));
    if strong || (first.starts_with(MARKS[1]) && !known_panic) {
        summary.panic_line =
            Some(String::from_utf8_lossy(&first[..first.len().min(512)]).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_panic_line_is_the_panic_not_the_bug_before() {
        let mut summary = Summary::default();
        note_panic(
            b"BUG: kernel NULL pointer dereference, address: 0",
            &mut summary,
        );
        note_panic(
            b"Kernel panic - not syncing: Fatal exception\nmore",
            &mut summary,
        );
        note_panic(b"BUG: later", &mut summary);
        assert_eq!(
            summary.panic_line.as_deref(),
            Some("Kernel panic - not syncing: Fatal exception")
        );
    }
}
