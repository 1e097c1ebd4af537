//! One record of the log, and the three forms in which it is written.

use serde::Serialize;
use std::io::Write as _;

/// What the kernel keeps of a message. What its format does not have, or VMCOREINFO does not tell, is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) seq: Option<u64>,
    /// Nanoseconds since boot.
    pub(super) time: Option<u64>,
    pub(super) level: Option<u8>,
    pub(super) facility: Option<u8>,
    /// Thread, or CPU with bit 31 set.
    pub(super) caller: Option<u32>,
    /// The other of the two.
    pub(super) other_caller: Option<u32>,
    pub(super) task: Option<&'a [u8]>,
    pub(super) subsystem: Option<&'a [u8]>,
    pub(super) device: Option<&'a [u8]>,
    pub(super) text: &'a [u8],
}

/// Bit of a caller that is a CPU.
const CPU: u32 = 1 << 31;

impl Record<'_> {
    /// `[    1.234567] [      T1] text`; further lines are indented by the prefix's length, bytes that are not printable become `\xNN`.
    pub(super) fn as_text(&self, callers: bool, line: &mut Vec<u8>) {
        line.clear();
        self.prefix(callers, line);
        let indent = line.len();
        escape(self.text, line, |line| {
            line.push(b'\n');
            line.resize(line.len() + indent, b' ');
        });
        line.push(b'\n');
    }

    /// `<6>[    1.234567] text` with the bytes as they are, each line with the whole prefix.
    pub(super) fn as_raw(&self, callers: bool, line: &mut Vec<u8>) {
        line.clear();
        for text in self.text.split(|b| *b == b'\n') {
            if let Some(level) = self.level {
                let number = u32::from(self.facility.unwrap_or(0)) << 3 | u32::from(level);
                put(line, format_args!("<{number}>"));
            }
            self.prefix(callers, line);
            line.extend_from_slice(text);
            line.push(b'\n');
        }
    }

    fn prefix(&self, callers: bool, line: &mut Vec<u8>) {
        if let Some(nsec) = self.time {
            let (seconds, micros) = (nsec / 1_000_000_000, nsec % 1_000_000_000 / 1000);
            put(line, format_args!("[{seconds:5}.{micros:06}] "));
        }
        if let Some(caller) = self.caller.filter(|_| callers) {
            put(line, format_args!("[{:>8}] ", caller_name(caller)));
        }
    }

    /// One JSON object and a line feed.
    pub(super) fn as_json(&self, callers: bool, line: &mut Vec<u8>) {
        let shown = |bytes: Option<&[u8]>| bytes.map(printable);
        let ids = [self.caller, self.other_caller];
        let json = Json {
            seq: self.seq,
            time_ns: self.time,
            level: self.level,
            facility: self.facility,
            caller: self.caller.filter(|_| callers).map(caller_name),
            pid: self.other_caller.and(find(ids, |id| id & CPU == 0)),
            cpu: self
                .other_caller
                .and(find(ids, |id| id & CPU != 0))
                .map(|id| id & !CPU),
            task: shown(self.task),
            subsystem: shown(self.subsystem),
            device: shown(self.device),
            text: printable(self.text),
        };
        line.clear();
        // Numbers and strings into memory: this does not fail.
        if serde_json::to_writer(&mut *line, &json).is_err() {
            line.clear();
        }
        line.push(b'\n');
    }
}

#[derive(Serialize)]
struct Json {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facility: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subsystem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    text: String,
}

fn find(ids: [Option<u32>; 2], is: impl Fn(u32) -> bool) -> Option<u32> {
    ids.into_iter().flatten().find(|id| is(*id))
}

fn put(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = line.write_fmt(text);
}

/// `T1` for a thread, `C0` for a CPU.
fn caller_name(id: u32) -> String {
    let kind = if id & CPU == 0 { 'T' } else { 'C' };
    format!("{kind}{}", id & !CPU)
}

/// Text as UTF-8: other bytes become `\xNN`; control characters are left to JSON.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Printable characters and white space as they are, the bytes of others as `\xNN`.
fn escape(bytes: &[u8], line: &mut Vec<u8>, line_feed: impl Fn(&mut Vec<u8>)) {
    let hex = |line: &mut Vec<u8>, bytes: &[u8]| {
        for byte in bytes {
            put(line, format_args!("\\x{byte:02x}"));
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut utf8 = [0; 4];
            let utf8 = c.encode_utf8(&mut utf8).as_bytes();
            match c {
                '\n' => line_feed(line),
                '\t' | '\x0b' | '\x0c' | '\r' => line.extend_from_slice(utf8),
                c if c.is_control() => hex(line, utf8),
                _ => line.extend_from_slice(utf8),
            }
        }
        hex(line, chunk.invalid());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &[u8]) -> Record<'_> {
        Record {
            seq: Some(7),
            time: Some(1_234_567_890),
            level: Some(4),
            facility: Some(3),
            caller: Some(CPU | 2),
            text,
            ..Record::default()
        }
    }

    #[test]
    fn text_as_makedumpfile_shows_it_but_utf8() {
        let mut line = Vec::new();
        let record = record(b"one\ntwo\x01 \xff\xc3\xa9\xc2\x80\r");
        record.as_text(false, &mut line);
        let expected = "[    1.234567] one\n               two\\x01 \\xff\u{e9}\\xc2\\x80\r\n";
        assert_eq!(line, expected.as_bytes());
        record.as_text(true, &mut line);
        let indent = " ".repeat("[    1.234567] [      C2] ".len());
        let expected =
            format!("[    1.234567] [      C2] one\n{indent}two\\x01 \\xff\u{e9}\\xc2\\x80\r\n");
        assert_eq!(line, expected.as_bytes());
    }

    #[test]
    fn raw_is_what_syslog_gives() {
        let mut line = Vec::new();
        record(b"one\n\xff").as_raw(false, &mut line);
        assert_eq!(line, b"<28>[    1.234567] one\n<28>[    1.234567] \xff\n");
        let unknown = Record {
            level: None,
            ..record(b"x")
        };
        unknown.as_raw(true, &mut line);
        assert_eq!(line, b"[    1.234567] [      C2] x\n");
    }

    #[test]
    fn json_whatever_the_bytes() {
        let mut line = Vec::new();
        let bytes: Vec<u8> = (0..=255).collect();
        let record = Record {
            other_caller: Some(99),
            task: Some(b"init\xff\""),
            device: Some(b"+pci:0000:00:01.0"),
            ..record(&bytes)
        };
        record.as_json(true, &mut line);
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(json["time_ns"], 1_234_567_890);
        assert_eq!(json["caller"], "C2");
        assert_eq!(json["pid"], 99);
        assert_eq!(json["cpu"], 2);
        assert_eq!(json["task"], "init\\xff\"");
        let text = json["text"].as_str().unwrap();
        assert!(text.starts_with("\0\u{1}") && text.ends_with("\\xfe\\xff"));
        assert!(json.get("subsystem").is_none());
    }
}
