//! The lines of a step to PID 1 (file descriptor 3), and of PID 1 to the report step (standard input).
//!
//! A step may be dying while it writes: whatever the bytes are, a line is at most [`LINE_MAX`] long, and what is no line of the
//! protocol is dropped.

use super::ladder::Ended;
use super::text::Text;
use crate::report::{Attempt, Memory, Status};

/// The longest line, without its end. Longer ones are dropped.
pub(super) const LINE_MAX: usize = 200;

/// What a step says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// `progress DONE TOTAL`
    Progress,
    /// `note TEXT`
    Note(&'a str),
    /// `plan KEY VALUE`
    Plan(&'a str, &'a str),
    /// `result STATUS PAGES BYTES DIR`
    Result(DumpResult<'a>),
}

/// What became of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DumpResult<'a> {
    pub(super) status: Status,
    pub(super) pages: u64,
    pub(super) bytes: u64,
    pub(super) dir: &'a str,
}

/// Reads one line.
pub(super) fn parse(line: &str) -> Option<Line<'_>> {
    let (word, rest) = line.split_once(' ')?;
    match word {
        "progress" => {
            let (done, total) = rest.split_once(' ')?;
            done.parse::<u64>()
                .ok()
                .and(total.parse::<u64>().ok())
                .map(|_| Line::Progress)
        }
        "note" => Some(Line::Note(rest)),
        "plan" => rest
            .split_once(' ')
            .map(|(key, value)| Line::Plan(key, value)),
        "result" => {
            let mut words = rest.splitn(4, ' ');
            let status = Status::parse(words.next()?)?;
            let (pages, bytes) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some(Line::Result(DumpResult {
                status,
                pages,
                bytes,
                dir: words.next()?,
            }))
        }
        _ => None,
    }
}

/// Cuts a stream of bytes into lines, in fixed memory. Control characters become `?`.
#[derive(Debug)]
pub(super) struct Lines {
    bytes: heapless::Vec<u8, LINE_MAX>,
    too_long: bool,
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self {
            bytes: heapless::Vec::new(),
            too_long: false,
        }
    }

    /// Takes more bytes and hands every whole line to `each`.
    pub(super) fn push(&mut self, bytes: &[u8], each: &mut dyn FnMut(&str)) {
        for &byte in bytes {
            if byte == b'\n' {
                if !self.too_long {
                    each(valid(&self.bytes));
                }
                self.bytes.clear();
                self.too_long = false;
                continue;
            }
            let byte = if byte.is_ascii_control() { b'?' } else { byte };
            self.too_long |= self.bytes.push(byte).is_err();
        }
    }
}

fn valid(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => bytes
            .get(..e.valid_up_to())
            .and_then(|b| std::str::from_utf8(b).ok())
            .unwrap_or_default(),
    }
}

/// The line of one attempt for the report step.
pub(super) fn attempt_line(
    step: &str,
    target: u8,
    ended: Ended,
    ms: u64,
    reason: &str,
) -> Text<320> {
    Text::of(format_args!(
        "attempt {step} {target} {} {ms} {reason}\n",
        ended.name()
    ))
}

/// The line of the memory seen for the report step.
pub(super) fn memory_line(memory: Memory) -> Text<96> {
    let Memory {
        total_kb,
        lowest_available_kb,
        peak_rss_kb,
    } = memory;
    Text::of(format_args!(
        "memory {total_kb} {lowest_available_kb} {peak_rss_kb}\n"
    ))
}

/// What the supervisor gives the report step.
pub(super) fn read_supervisor(text: &str) -> (Vec<Attempt>, Memory) {
    let (mut attempts, mut memory) = (Vec::new(), Memory::default());
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("attempt", rest)) => attempts.extend(read_attempt(rest)),
            Some(("memory", rest)) => memory = read_memory(rest).unwrap_or(memory),
            _ => {}
        }
    }
    (attempts, memory)
}

fn read_attempt(rest: &str) -> Option<Attempt> {
    let mut words = rest.splitn(5, ' ');
    let step = words.next()?.to_owned();
    let target = words.next()?.parse().ok()?;
    let result = words.next()?.to_owned();
    let ms = words.next()?.parse().ok()?;
    let reason = words.next().filter(|r| !r.is_empty()).map(str::to_owned);
    Some(Attempt {
        step,
        target,
        result,
        reason,
        ms,
    })
}

fn read_memory(rest: &str) -> Option<Memory> {
    let mut words = rest.split(' ').map_while(|w| w.parse().ok());
    Some(Memory {
        total_kb: words.next()?,
        lowest_available_kb: words.next()?,
        peak_rss_kb: words.next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, proptest};

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut all) = (Lines::new(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, &mut |line| all.push(line.to_owned()));
        }
        all
    }

    #[test]
    fn lines_are_bounded_and_clean() {
        assert_eq!(
            lines(&[b"no", b"te a\nprog", b"ress 1 2\nrest"]),
            ["note a", "progress 1 2"]
        );
        assert_eq!(
            lines(&[&[b'x'; 200], b"\nok\n"]),
            ["x".repeat(200), "ok".into()]
        );
        assert_eq!(lines(&[&[b'x'; 201], b"\nok\n"]), ["ok"]);
        assert_eq!(lines(&[b"note \x1b[2J\r\xff\xfe\n"]), ["note ?[2J?"]);
    }

    #[test]
    fn what_a_step_says() {
        assert_eq!(parse("progress 1 2"), Some(Line::Progress));
        assert_eq!(parse("note a b"), Some(Line::Note("a b")));
        assert_eq!(
            parse("plan deadline 30"),
            Some(Line::Plan("deadline", "30"))
        );
        let result = DumpResult {
            status: Status::Partial,
            pages: 3,
            bytes: 4,
            dir: "/a b",
        };
        assert_eq!(parse("result partial 3 4 /a b"), Some(Line::Result(result)));
        for bad in [
            "",
            "progress",
            "progress x 2",
            "progress 1",
            "result complete 1 2",
            "result done 1 2 /",
            "plan x",
            "hello you",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_report_step_reads_what_pid_1_writes() {
        let memory = Memory {
            total_kb: 1,
            lowest_available_kb: 2,
            peak_rss_kb: 3,
        };
        let text = format!(
            "{}{}garbage\n{}",
            attempt_line("capture", 1, Ended::Died, 12, "killed by signal 9"),
            attempt_line("mount", 2, Ended::Ok, 1, ""),
            memory_line(memory),
        );
        let (attempts, read) = read_supervisor(&text);
        assert_eq!(read, memory);
        assert_eq!(attempts.len(), 2);
        assert_eq!(attempts[0].reason.as_deref(), Some("killed by signal 9"));
        assert_eq!(
            (
                &*attempts[1].result,
                attempts[1].reason.as_deref(),
                attempts[1].target
            ),
            ("ok", None, 2)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8)) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            for line in lines(&chunks) {
                assert!(line.len() <= LINE_MAX);
                let _ = parse(&line);
            }
        }
    }
}
