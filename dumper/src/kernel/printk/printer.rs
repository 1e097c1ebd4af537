//! Where records go: the output in the form asked for, and the counts.

use super::reason::Reason;
use super::record::Record;
use super::{Form, LEAST_BOUND, LogError, MOST_BOUND, Style, Summary};
use std::io::Write;

pub(super) struct Printer<'a> {
    pub(super) style: Style,
    pub(super) summary: Summary,
    out: &'a mut dyn Write,
    line: Vec<u8>,
    pub(super) reason: Reason,
    /// Bytes that may still be written.
    room: u64,
}

impl<'a> Printer<'a> {
    pub(super) fn new(style: Style, out: &'a mut dyn Write) -> Self {
        Self {
            style,
            summary: Summary::default(),
            out,
            line: Vec::with_capacity(1024),
            reason: Reason::default(),
            room: LEAST_BOUND,
        }
    }

    pub(super) fn into_summary(self) -> Summary {
        let mut summary = self.summary;
        (summary.panic_line, summary.panic_place) = self.reason.into_line();
        summary
    }

    /// Bounds what is written by the size that the log's buffer is said to have: prefixes make lines longer, JSON much longer.
    pub(super) fn bound_by(&mut self, buffer: u64) {
        let longer = if self.style.form == Form::Json { 8 } else { 2 };
        self.room = buffer.saturating_mul(longer).clamp(LEAST_BOUND, MOST_BOUND);
    }

    /// Writes one record.
    pub(super) fn record(&mut self, record: &Record<'_>) -> Result<(), LogError> {
        let callers = self.style.callers;
        match self.style.form {
            Form::Text => record.as_text(callers, &mut self.line),
            Form::Raw => record.as_raw(callers, &mut self.line),
            Form::Json => record.as_json(callers, &mut self.line),
        }
        self.take_room(self.line.len())?;
        self.out.write_all(&self.line)?;
        self.reason.record(record);
        self.summary.records += 1;
        Ok(())
    }

    /// Writes bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        self.take_room(bytes.len())?;
        self.out.write_all(bytes)?;
        Ok(())
    }

    fn take_room(&mut self, len: usize) -> Result<(), LogError> {
        let len = len as u64;
        self.room = self.room.checked_sub(len).ok_or(LogError::Full)?;
        self.summary.bytes += len;
        Ok(())
    }

    /// Takes in a line that is written by [`Printer::bytes`].
    pub(super) fn line_passed(&mut self, record: &Record<'_>) {
        self.reason.record(record);
        self.summary.records += 1;
    }
}
