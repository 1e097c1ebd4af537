//! What became of a guest that was to panic and capture itself, read from its console.
//!
//! A guest can die by itself, before or beside what is tested. QEMU 7.2's TCG sometimes kills a 6.12 guest, with a double fault or a fault
//! that no processor gives (it translates code that the guest is patching; mended in 8.1), and more often the busier the host is: such a
//! run says nothing about the capture and is repeated. Everything else is a result. Kernel messages as of 5.10–7.2:
//! `kernel/panic.c`, `kernel/reboot.c`, `mm/oom_kill.c`, `arch/x86/kernel/traps.c`.

use crate::Line;

/// Line of a kernel that has just started.
const BANNER: &str = "Linux version ";
/// Line of a panic.
const PANIC: &str = "Kernel panic - not syncing";
/// Lines that only a fault of the emulator (or of the whole machine) explains.
const EMULATOR: &[&str] = &[
    "double fault: 0000",
    "PANIC: double fault",
    "KVM internal error",
    "qemu: fatal",
    "qemu: qemu: fatal",
];
/// A line of the dead kernel's log that the capture shows on its console.
const QUOTED: &str = "baredump: | ";
/// How often a guest that dies by itself is tried: one in five does, on a busy machine more.
pub const ATTEMPTS: usize = 8;
/// Lines of a kernel that ends because it was told to.
const ENDINGS: &[&str] = &[
    "reboot: Restarting system",
    "reboot: Power down",
    "reboot: System halted",
    // Without any order, as when the power goes.
    "sysrq: Resetting",
];

/// How the run of a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest panicked when asked, the capture kernel ran to its own reset, power-off or halt.
    Finished,
    /// The emulator killed the guest, or the guest vanished without a word; says nothing about the capture.
    Emulator(String),
    /// The production kernel died or ended before the guest asked for it.
    DiedEarly(String),
    /// The dead kernel panicked as asked, but no capture kernel came.
    NoCapture,
    /// The capture kernel had too little memory to reach PID 1.
    OutOfMemory(String),
    /// The capture kernel itself panicked.
    CapturePanic(String),
    /// The production kernel was still on its way at the deadline; the text is the last line.
    StuckEarly(String),
    /// The deadline passed; the text is the last line.
    TimedOut(String),
}

impl Outcome {
    /// Whether the run says nothing about the capture and may be repeated: the emulator failed, or the production kernel got stuck or
    /// panicked by itself (seen with 6.12: a general protection fault at the first instruction of PID 1, which no processor gives).
    pub fn repeatable(&self) -> bool {
        match self {
            Self::Emulator(_) | Self::StuckEarly(_) => true,
            Self::DiedEarly(line) => line.contains(PANIC),
            _ => false,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Finished => write!(f, "finished"),
            Self::Emulator(line) => write!(f, "the emulator killed the guest: {line}"),
            Self::DiedEarly(line) => write!(
                f,
                "the production kernel died before it was asked to: {line}"
            ),
            Self::NoCapture => write!(f, "no capture kernel started after the panic"),
            Self::OutOfMemory(line) => write!(f, "the capture kernel ran out of memory: {line}"),
            Self::CapturePanic(line) => write!(f, "the capture kernel panicked: {line}"),
            Self::StuckEarly(line) => write!(
                f,
                "the production kernel was not asked to die by the deadline, last line: {line}"
            ),
            Self::TimedOut(line) => write!(f, "still running at the deadline, last line: {line}"),
        }
    }
}

/// The part of a run that a line belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Production,
    Asked,
    Panicked,
    Capture,
}

/// Whether nothing useful can follow this line, so that a harness need not wait for its deadline.
pub fn hopeless(line: &Line) -> bool {
    !is_quoted(line) && (has(line, EMULATOR) || line.text.contains("---[ end Kernel panic"))
}

fn is_quoted(line: &Line) -> bool {
    line.text.contains(QUOTED)
}

/// How QEMU ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with success.
    Exited,
    /// By itself, with a failure or by a signal.
    Failed,
    /// It was still running at the deadline.
    Deadline,
}

/// Judges a whole run. `asked` is the line with which the guest says that it panics now on purpose.
pub fn judge(lines: &[Line], asked: &str, end: End) -> Outcome {
    let last = || {
        lines
            .last()
            .map(|line| line.text.clone())
            .unwrap_or_default()
    };
    let mut part = Part::Production;
    let mut ended = false;
    for line in lines.iter().filter(|line| !is_quoted(line)) {
        let text = &line.text;
        if has(line, EMULATOR) {
            return Outcome::Emulator(text.clone());
        }
        ended |= has(line, ENDINGS);
        let panic = text.contains(PANIC);
        part = match part {
            Part::Production if panic || has(line, ENDINGS) => {
                return Outcome::DiedEarly(text.clone());
            }
            Part::Production if text.contains(asked) => Part::Asked,
            Part::Asked if panic => Part::Panicked,
            Part::Asked | Part::Panicked if text.contains(BANNER) => Part::Capture,
            Part::Capture if text.contains("System is deadlocked on memory") => {
                return Outcome::OutOfMemory(text.clone());
            }
            Part::Capture if panic => return Outcome::CapturePanic(text.clone()),
            same => same,
        };
    }
    match (end, part) {
        (End::Failed, _) => Outcome::Emulator(format!("QEMU failed after: {}", last())),
        (End::Exited, Part::Capture) if ended => Outcome::Finished,
        (_, Part::Asked | Part::Panicked) => Outcome::NoCapture,
        (End::Deadline, Part::Production) => Outcome::StuckEarly(last()),
        (End::Deadline, _) => Outcome::TimedOut(last()),
        // A triple fault resets the machine without a word.
        (End::Exited, _) => Outcome::Emulator(format!("reset without a word after: {}", last())),
    }
}

fn has(line: &Line, words: &[&str]) -> bool {
    words.iter().any(|word| line.text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ASK: &str = "guest: panic now";
    const BOOT: &str = "[    0.000000] Linux version 6.1.0";
    const DIE: &str = "[   12.0] Kernel panic - not syncing: sysrq triggered crash";
    const RESET: &str = "[    3.1] reboot: Restarting system";

    fn run(texts: &[&str], end: End) -> Outcome {
        let lines: Vec<_> = texts
            .iter()
            .map(|t| Line {
                at: Duration::ZERO,
                text: (*t).into(),
            })
            .collect();
        judge(&lines, ASK, end)
    }

    #[test]
    fn whole_cycle() {
        assert_eq!(
            run(&[BOOT, ASK, DIE, BOOT, RESET], End::Exited),
            Outcome::Finished
        );
        // A capture kernel that was started without a panic line on the console (lost output) still counts.
        assert_eq!(
            run(&[BOOT, ASK, BOOT, RESET], End::Exited),
            Outcome::Finished
        );
    }

    #[test]
    fn what_the_capture_quotes_is_not_its_own() {
        let quoted = format!("[    2.0] baredump: | {DIE}");
        let banner = format!("[    2.0] baredump: | {BOOT}");
        let lines = [BOOT, ASK, DIE, BOOT, &banner, &quoted, RESET];
        assert_eq!(run(&lines, End::Exited), Outcome::Finished);
    }

    #[test]
    fn guest_faults() {
        let fault = "[    2.0] traps: PANIC: double fault, error_code: 0x0";
        assert!(run(&[BOOT, fault], End::Deadline).repeatable());
        assert!(
            run(
                &[BOOT, ASK, DIE, BOOT, "double fault: 0000 [#1] PREEMPT SMP"],
                End::Exited
            )
            .repeatable()
        );
        assert!(run(&[BOOT, ASK, DIE, BOOT], End::Exited).repeatable());
        assert!(run(&[BOOT, ASK], End::Failed).repeatable());
        assert!(matches!(
            run(&[BOOT, DIE], End::Deadline),
            Outcome::DiedEarly(_)
        ));
        assert!(matches!(
            run(&[BOOT, RESET], End::Exited),
            Outcome::DiedEarly(_)
        ));
    }

    #[test]
    fn failed_captures() {
        let full = "Kernel panic - not syncing: System is deadlocked on memory";
        assert!(matches!(
            run(&[BOOT, ASK, DIE, BOOT, full], End::Deadline),
            Outcome::OutOfMemory(_)
        ));
        let init = "Kernel panic - not syncing: Attempted to kill init!";
        assert!(matches!(
            run(&[BOOT, ASK, DIE, BOOT, init], End::Deadline),
            Outcome::CapturePanic(_)
        ));
        assert_eq!(run(&[BOOT, ASK, DIE], End::Deadline), Outcome::NoCapture);
        assert_eq!(run(&[BOOT, ASK, DIE], End::Exited), Outcome::NoCapture);
        assert!(
            matches!(run(&[BOOT, ASK, DIE, BOOT, "x"], End::Deadline), Outcome::TimedOut(last) if last == "x")
        );
        for outcome in [
            run(&[BOOT, ASK, DIE], End::Deadline),
            run(&[BOOT, RESET], End::Exited),
        ] {
            assert!(!outcome.repeatable(), "{outcome}");
        }
        assert!(run(&[BOOT, DIE], End::Deadline).repeatable());
        let stuck = run(&[BOOT, "x"], End::Deadline);
        assert_eq!(stuck, Outcome::StuckEarly("x".into()));
        assert!(stuck.repeatable());
    }

    #[test]
    fn hopeless_only_at_the_end_of_a_panic() {
        let line = |text: &str| Line {
            at: Duration::ZERO,
            text: text.into(),
        };
        assert!(hopeless(&line(
            "---[ end Kernel panic - not syncing: VFS ]---"
        )));
        assert!(hopeless(&line("qemu: KVM internal error. Suberror: 3")));
        assert!(!hopeless(&line(DIE)));
    }
}
