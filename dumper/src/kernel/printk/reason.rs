//! Why the kernel died, by its log: the line that says most, and where it happened.
//!
//! Upstream, 4.15 to 6.16: `kernel/panic.c`; `arch/x86/kernel/{dumpstack,traps}.c` and `arch/x86/mm/fault.c`; `arch/arm64/kernel/traps.c`
//! and `arch/arm64/mm/fault.c`; `kernel/watchdog.c`, `kernel/hung_task.c`, `kernel/rcu/tree_stall.h`, `lib/bug.c`, `drivers/tty/sysrq.c`.
//!
//! "Kernel panic" is the last word of a crash and often an empty one ("Fatal exception"): the line that began it says more. With
//! `panic_on_oops` and in interrupts an oops starts the capture kernel before there is any such line. An oops that was survived is
//! followed by its end mark and is no reason, unless a panic follows at once.

use super::record::Record;
use serde::{Deserialize, Serialize};

/// Where a crash happened, as far as the log tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The function and the offset in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// The task's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// The CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
}

/// What began a crash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Panic,
    Oops,
    SoftLockup,
    HardLockup,
    Hung,
    Rcu,
    Warning,
}

const KINDS: usize = 7;
/// A line that is older than this when the kernel dies is not why.
const RECENT: u64 = 60_000_000_000;
/// Bytes kept of a line, and of a name.
const MAX_LINE: usize = 512;
const MAX_NAME: usize = 128;

const PANIC: &str = "Kernel panic - not syncing";
const END: &str = "---[ end trace";

/// How lines begin that begin a crash. Of prefixes that fit the first counts.
const FIRST_LINES: &[(&str, Kind)] = &[
    (PANIC, Kind::Panic),
    ("BUG: kernel NULL pointer dereference", Kind::Oops),
    ("BUG: unable to handle", Kind::Oops),
    ("BUG: stack guard page was hit", Kind::Oops),
    ("BUG: TASK stack guard page was hit", Kind::Oops),
    ("BUG: IRQ stack guard page was hit", Kind::Oops),
    ("kernel BUG at ", Kind::Oops),
    ("Unable to handle kernel ", Kind::Oops),
    ("Internal error: ", Kind::Oops),
    ("Oops: ", Kind::Oops),
    ("Oops - ", Kind::Oops),
    ("PANIC: double fault", Kind::Oops),
    ("general protection fault", Kind::Oops),
    ("divide error: ", Kind::Oops),
    ("invalid opcode: ", Kind::Oops),
    ("stack segment: ", Kind::Oops),
    ("segment not present: ", Kind::Oops),
    ("invalid TSS: ", Kind::Oops),
    ("alignment check: ", Kind::Oops),
    ("double fault: ", Kind::Oops),
    ("int3: ", Kind::Oops),
    ("bounds: ", Kind::Oops),
    ("control protection fault: ", Kind::Oops),
    ("Missing ENDBR: ", Kind::Oops),
    ("CFI failure at ", Kind::Oops),
    ("kernel tried to execute ", Kind::Oops),
    ("unable to execute userspace code", Kind::Oops),
    ("Insufficient stack space to handle exception", Kind::Oops),
    ("SError Interrupt on CPU", Kind::Oops),
    ("Bad mode in ", Kind::Oops),
    ("Unexpected kernel BRK exception", Kind::Oops),
    ("Unhandled fault", Kind::Oops),
    ("BUG: soft lockup - CPU#", Kind::SoftLockup),
    ("Watchdog detected hard LOCKUP on cpu", Kind::HardLockup),
    ("BUG: workqueue lockup", Kind::Warning),
    ("INFO: task ", Kind::Hung),
    ("INFO: rcu", Kind::Rcu),
    ("WARNING: ", Kind::Warning),
    ("BUG: ", Kind::Warning),
    ("UBSAN: ", Kind::Warning),
];

/// What a panic's own text refers to, by words in it: its first line says more.
const EARLIER: &[(&str, Kind)] = &[
    ("Fatal exception", Kind::Oops),
    ("Oops", Kind::Oops),
    ("Fatal hardware error", Kind::Oops),
    ("kernel stack overflow", Kind::Oops),
    ("Asynchronous SError Interrupt", Kind::Oops),
    ("Attempted to kill", Kind::Oops),
    ("Aiee, killing interrupt handler", Kind::Oops),
    ("Machine halted", Kind::Oops),
    ("corrupted stack end", Kind::Oops),
    ("softlockup", Kind::SoftLockup),
    ("ard LOCKUP", Kind::HardLockup),
    ("hung_task", Kind::Hung),
    ("RCU Stall", Kind::Rcu),
    ("panic_on_warn", Kind::Warning),
];

/// A line that may be the reason.
struct Seen {
    line: String,
    time: Option<u64>,
    place: Place,
    /// The kernel went on.
    survived: bool,
}

/// Takes in the log, a record after the other.
#[derive(Default)]
pub(super) struct Reason {
    seen: [Option<Seen>; KINDS],
    /// Which of them the lines that follow belong to.
    current: Option<Kind>,
    last: Option<u64>,
}

impl Reason {
    pub(super) fn record(&mut self, record: &Record<'_>) {
        self.last = record.time.or(self.last);
        let first = record.text.split(|b| *b == b'\n').next();
        let bytes = first.unwrap_or_default();
        let shown = bytes.get(..MAX_LINE).unwrap_or(bytes);
        let line = String::from_utf8_lossy(shown);
        let line = line.trim_end();
        if let Some(kind) = kind_of(line) {
            self.begin(kind, line);
        } else if line.starts_with(END) {
            if let Some(oops) = self.slot(Kind::Oops) {
                oops.survived = true;
            }
        } else if let Some(seen) = self.current.and_then(|kind| self.slot(kind)) {
            seen.place.learn(line);
        }
    }

    fn slot(&mut self, kind: Kind) -> Option<&mut Seen> {
        self.seen.get_mut(kind as usize)?.as_mut()
    }

    fn begin(&mut self, kind: Kind, line: &str) {
        let now = self.last;
        // What follows in the same oops or panic is its consequence; every other report stands for itself.
        let goes_on = matches!(kind, Kind::Oops | Kind::Panic)
            && self
                .slot(kind)
                .is_some_and(|seen| !seen.survived && is_recent(seen.time, now));
        self.current = Some(kind);
        if goes_on {
            return;
        }
        if let Some(slot) = self.seen.get_mut(kind as usize) {
            let mut place = Place::default();
            place.learn(line);
            *slot = Some(Seen {
                line: line.to_owned(),
                time: now,
                place,
                survived: false,
            });
        }
    }

    /// The line that says most, and what is known of the place.
    pub(super) fn into_line(self) -> (Option<String>, Place) {
        let (last, mut seen) = (self.last, self.seen);
        let mut take = |kind: Kind| seen.get_mut(kind as usize).and_then(Option::take);
        let Some(panic) = take(Kind::Panic) else {
            let oops = take(Kind::Oops).filter(|oops| !oops.survived && is_recent(oops.time, last));
            return oops.map_or_else(Default::default, |oops| (Some(oops.line), oops.place));
        };
        let refers = EARLIER.iter().find(|(word, _)| panic.line.contains(word));
        let earlier = refers.and_then(|(_, kind)| take(*kind));
        let earlier = earlier.filter(|earlier| is_recent(earlier.time, panic.time));
        let Some(earlier) = earlier else {
            return (Some(panic.line), panic.place);
        };
        let Place { symbol, comm, cpu } = earlier.place;
        let place = Place {
            symbol: symbol.or(panic.place.symbol),
            comm: comm.or(panic.place.comm),
            cpu: cpu.or(panic.place.cpu),
        };
        (Some(earlier.line), place)
    }
}

/// Without times all lines are of one crash.
fn is_recent(then: Option<u64>, now: Option<u64>) -> bool {
    let (Some(then), Some(now)) = (then, now) else {
        return true;
    };
    now.saturating_sub(then) <= RECENT
}

/// The kind of crash that a line begins. Lines may have a subsystem's name before them: `watchdog: BUG: soft lockup`.
fn kind_of(line: &str) -> Option<Kind> {
    const SUBSYSTEMS: &[&str] = &["watchdog: ", "NMI watchdog: ", "rcu: ", "traps: "];
    let without = |line| SUBSYSTEMS.iter().find_map(|s| str::strip_prefix(line, s));
    let mut rest = without(line).unwrap_or(line);
    // 6.12: `watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3`.
    if let Some((_, after)) = rest.strip_prefix("CPU").and_then(|r| r.split_once(": ")) {
        rest = if after.starts_with("Watchdog") {
            after
        } else {
            rest
        };
    }
    let found = FIRST_LINES
        .iter()
        .find(|(start, _)| rest.starts_with(start));
    let kind = found.map(|(_, kind)| *kind)?;
    let is_it = match kind {
        Kind::Hung => rest.contains(" blocked for more than "),
        Kind::Rcu => rest.contains(" stall"),
        _ => true,
    };
    is_it.then_some(kind)
}

impl Place {
    /// Takes what a line of the register dump tells, if it is not known.
    fn learn(&mut self, line: &str) {
        let line = line.trim_start();
        if let Some(rest) = line.strip_prefix("CPU: ") {
            let word = rest.split(' ').next().unwrap_or_default();
            self.cpu = self.cpu.or_else(|| word.parse().ok());
        }
        for mark in ["on cpu ", "on CPU", "CPU#"] {
            let after = line.split_once(mark).map(|(_, after)| after);
            let digits = after.and_then(|a| a.split(|c: char| !c.is_ascii_digit()).next());
            self.cpu = self.cpu.or_else(|| digits?.parse().ok());
        }
        if self.comm.is_none() {
            self.comm = comm_of(line);
        }
        if self.symbol.is_none() {
            self.symbol = symbol_of(line);
        }
    }
}

/// The task's name in `CPU: 1 PID: 7 Comm: a b Not tainted 6.1.0 #1` and `BUG: soft lockup - CPU#1 stuck for 22s! [a b:7]`.
fn comm_of(line: &str) -> Option<String> {
    if let Some((_, after)) = line.split_once(" Comm: ") {
        let ends = [" Not tainted", " Tainted:", " Kdump:"];
        let end = ends.iter().filter_map(|end| after.find(end)).min();
        return name(after.get(..end?)?);
    }
    if let Some(rest) = line.strip_prefix("INFO: task ") {
        let (task, _) = rest.split_once(" blocked for")?;
        return name(task.rsplit_once(':')?.0);
    }
    let (_, task) = line.split_once(" stuck for ")?.1.split_once("! [")?;
    name(task.strip_suffix(']')?.rsplit_once(':')?.0)
}

/// The symbol in `RIP: 0010:f+0x1/0x2`, `RIP: 0010:[<ffffffff81000000>]  [<ffffffff81000000>] f+0x1/0x2`, `pc : f+0x1/0x2 [module]` and `PC is at f+0x1/0x2`.
fn symbol_of(line: &str) -> Option<String> {
    let rest = if let Some(rest) = line.strip_prefix("RIP: ") {
        let (segment, rest) = rest.split_once(':')?;
        // User space has segment 0033.
        (segment == "0010").then_some(rest)?
    } else {
        let marks = ["pc : ", "PC is at "];
        marks.iter().find_map(|mark| line.strip_prefix(mark))?
    };
    let symbol = rest.rsplit_once(">] ").map_or(rest, |(_, symbol)| symbol);
    let end = symbol.trim_start().split(' ').next()?;
    name(end.split_once('/').map_or(end, |(symbol, _)| symbol))
}

fn name(text: &str) -> Option<String> {
    let text: String = text.chars().take(MAX_NAME).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
