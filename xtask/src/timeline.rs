//! The time line of a run, from the panic to the reset, found in its console.

use crate::guest::{ASKED, PANIC};
use qemu::Line;
use std::time::Duration;

/// Moments in their order, and the words that mark them on the console. A moment that is not found is left out.
type Marks = [(&'static str, &'static [&'static str])];

/// Those of baredump.
const OURS: &Marks = &[
    ("panic", &[PANIC]),
    ("capture kernel", &["Linux version "]),
    ("PID 1", &["baredump: pid 1 started"]),
    ("modules loaded", &["baredump: step modules ok"]),
    ("mounted", &["baredump: step mount ok"]),
    ("dmesg saved", &["baredump: dmesg saved"]),
    ("dump complete", &["baredump: dump complete"]),
    ("reset", RESET),
];

/// Those of Debian's kdump-tools.
const KDUMP_TOOLS: &Marks = &[
    ("panic", &[PANIC]),
    ("capture kernel", &["Linux version "]),
    ("PID 1", &["Run /init as init process"]),
    ("systemd", &["running in system mode"]),
    ("kdump-tools", &["Starting kdump-tools:"]),
    ("dmesg saved", &["saved dmesg content in"]),
    ("dump complete", &["saved vmcore in"]),
    ("reset", RESET),
];

const RESET: &[&str] = &[
    "reboot: Restarting system",
    "reboot: Power down",
    "reboot: System halted",
];

/// A moment of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// What happened.
    pub(crate) name: &'static str,
    /// When, after the panic line.
    pub(crate) after: Duration,
}

/// The moments of a run with baredump, counted from the panic line.
pub(crate) fn moments(lines: &[Line]) -> Vec<Moment> {
    find(lines, OURS)
}

/// The moments of a run with kdump-tools, counted from the panic line.
pub(crate) fn of_kdump_tools(lines: &[Line]) -> Vec<Moment> {
    find(lines, KDUMP_TOOLS)
}

fn find(lines: &[Line], marks: &Marks) -> Vec<Moment> {
    let mut rest = lines.iter().skip_while(|line| !line.text.contains(ASKED));
    let mut found = Vec::new();
    let mut start = None;
    for (name, words) in marks {
        let mut ahead = rest.clone();
        let Some(line) = ahead.find(|line| words.iter().any(|word| line.text.contains(word)))
        else {
            continue;
        };
        rest = ahead;
        let start = *start.get_or_insert(line.at);
        found.push(Moment {
            name,
            after: line.at.saturating_sub(start),
        });
    }
    found
}

/// Time from the panic line to the reset.
pub(crate) fn total(moments: &[Moment]) -> Option<Duration> {
    let has = |name: &str| moments.iter().find(|moment| moment.name == name);
    has("panic")?;
    has("reset").map(|moment| moment.after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: u64, text: &str) -> Line {
        Line {
            at: Duration::from_secs(at),
            text: text.into(),
        }
    }

    #[test]
    fn from_panic_to_reset() {
        let lines = [
            line(1, "[ 0.0] Linux version 6.1"),
            line(2, "[ 1.0] baredump: pid 1 started"),
            line(10, ASKED),
            line(11, &format!("[ 9.0] {PANIC}")),
            line(13, "[ 0.0] Linux version 6.1"),
            line(16, "[  1.000] baredump: pid 1 started"),
            line(21, "[ 9.0] reboot: Restarting system"),
        ];
        let found = moments(&lines);
        let seconds: Vec<_> = found
            .iter()
            .map(|moment| (moment.name, moment.after.as_secs()))
            .collect();
        assert_eq!(
            seconds,
            [
                ("panic", 0),
                ("capture kernel", 2),
                ("PID 1", 5),
                ("reset", 10)
            ]
        );
        assert_eq!(total(&found), Some(Duration::from_secs(10)));
        assert_eq!(total(&moments(&lines[..5])), None);
        assert_eq!(of_kdump_tools(&lines).len(), 3);
    }
}
