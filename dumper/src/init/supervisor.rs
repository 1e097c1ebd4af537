//! PID 1: runs the steps of [`super::ladder`] one after the other and ends in the final action, whatever they do.
//!
//! Its memory is fixed: it allocates nothing after its start, and all it keeps are the attempts and the best result.

use super::child::{self, Limits, Listener, Order, Ran};
use super::fault::Fault;
use super::fence::Fence;
use super::ladder::{Ended, How, State, Step, next};
use super::log::{self, say};
use super::machine;
use super::plan::Plan;
use super::protocol::{Line, attempt_line, memory_line};
use super::text::Text;
use super::watchdog::Watchdogs;
use crate::config::{FinalAction, MAX_TARGETS};
use crate::procfs;
use crate::report::{Memory, Status};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::fmt::Write;
use std::time::{Duration, Instant};

const NO_TARGET: &str =
    "no target is configured: set `targets` in /etc/baredump.toml or baredump.targets=";

/// After the deadline the watchdogs are fed no longer than this.
const OVERTIME: Duration = Duration::from_secs(60);

/// A fault of PID 1 itself, for tests.
fn fault() {
    let mut buf = [0; 4096];
    let cmdline = procfs::read_into("/proc/cmdline", &mut buf).unwrap_or_default();
    if let Some(fault) = Fault::of(cmdline, "pid1", 0) {
        fault.strike();
    }
}

/// PID 1's whole life.
pub(super) fn run() -> ! {
    let start = Instant::now();
    machine::mount_all();
    log::start();
    std::panic::set_hook(Box::new(|panic| {
        say!("pid 1: {panic}");
        machine::final_action(FinalAction::Reboot)
    }));
    say!("pid 1 started");
    machine::settle();
    let signals = signals();
    let mut supervisor = Supervisor::new(start);
    let mut step = Some(Step::Config { again: false });
    while let Some(now) = step {
        let ended = supervisor.run(now, signals.as_ref());
        step = next(now, ended, supervisor.state());
    }
    supervisor.summary();
    machine::final_action(supervisor.plan.final_action)
}

fn signals() -> Option<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).ok()
}

/// One line of the history.
struct Attempt {
    step: Step,
    ended: Ended,
    ms: u64,
    reason: Text<200>,
}

/// The best dump so far.
struct Best {
    status: Status,
    pages: u64,
    bytes: u64,
    dir: Text<200>,
    /// Said on the console.
    said: Status,
}

struct Supervisor {
    start: Instant,
    plan: Plan,
    attempts: heapless::Vec<Attempt, 60>,
    /// The target at work, and since when.
    at: (u8, Instant),
    /// What each target is on, as its mount step says, and those of which a child waits that cannot be killed, a bit each.
    devices: [Text<64>; MAX_TARGETS],
    dead: u16,
    fence: Fence,
    watchdogs: Watchdogs,
    best: Best,
    memory: Memory,
}

impl Supervisor {
    fn new(start: Instant) -> Self {
        let mut buf = [0; 4096];
        let plan = Plan::fallback(procfs::read_into("/proc/cmdline", &mut buf).unwrap_or_default());
        let best = Best {
            status: Status::Started,
            pages: 0,
            bytes: 0,
            dir: Text::new(),
            said: Status::Failed,
        };
        Self {
            start,
            plan,
            attempts: heapless::Vec::new(),
            at: (0, start),
            devices: std::array::from_fn(|_| Text::new()),
            dead: 0,
            fence: Fence::default(),
            watchdogs: Watchdogs::default(),
            best,
            memory: Memory::default(),
        }
    }

    fn state(&self) -> State {
        let left = self.plan.deadline.saturating_sub(self.start.elapsed());
        let own = self.plan.target_deadline(self.at.0);
        State {
            targets: self.plan.targets,
            network: self.plan.network,
            log_to_all: self.plan.log_to_all,
            best: self.best.status,
            late: own.is_some_and(|own| self.at.1.elapsed() >= own),
            expired: left <= self.plan.reserve(),
            over: left.is_zero(),
        }
    }

    fn run(&mut self, step: Step, signals: Option<&SignalFd>) -> Ended {
        match step.target() {
            0 => say!("step {} started", step.name()),
            n => say!("step {} started target {n}", step.name()),
        }
        match step {
            Step::Capture {
                how: How::Careful, ..
            } => say!("capture again, with care: without mapping and threads"),
            Step::Capture { how: How::Log, .. } => say!("the log alone: the dump is complete"),
            _ => {}
        }
        let input = if matches!(step, Step::Report { .. }) {
            self.history()
        } else {
            Text::new()
        };
        let before = self
            .attempts
            .iter()
            .filter(|a| a.step.name() == step.name())
            .count();
        let order = Order {
            step,
            attempt: u8::try_from(before).unwrap_or(u8::MAX),
            input: input.as_str(),
            limits: self.limits(step),
        };
        if matches!(step, Step::Capture { .. }) {
            fault();
        }
        let mut ran = child::run(&order, signals, self);
        self.tick();
        self.remember(step, &mut ran);
        self.memory.peak_rss_kb = machine::peak_rss_kb();
        let (secs, ms) = (ran.took.as_secs(), ran.took.subsec_millis());
        match ran.ended {
            Ended::Ok => say!("step {} ok in {secs}.{ms:03} s", step.name()),
            _ => say!(
                "step {} failed in {secs}.{ms:03} s: {}",
                step.name(),
                ran.reason
            ),
        }
        let ms = u64::try_from(ran.took.as_millis()).unwrap_or(u64::MAX);
        let ended = ran.ended;
        if matches!(step, Step::Network(_)) && ended == Ended::Ok {
            self.fence.begin();
        }
        let _ = self.attempts.push(Attempt {
            step,
            ended,
            ms,
            reason: ran.reason,
        });
        self.announce();
        ended
    }

    /// Remembers the device that a step waits for in the kernel, and leaves a target that is on it too.
    fn remember(&mut self, step: Step, ran: &mut Ran) {
        let on = usize::from(step.target()).checked_sub(1);
        let Some(device) = on.and_then(|on| self.devices.get(on)) else {
            return;
        };
        let mut targets = (1u8..).zip(&self.devices);
        let is_dead = |(number, other): &(u8, &Text<64>)| {
            self.dead & (1 << number) != 0 && *other == device && !device.as_str().is_empty()
        };
        if let (Step::Mount(_), Ended::Ok) = (step, ran.ended)
            && let Some((number, _)) = targets.find(is_dead)
        {
            ran.ended = Ended::Failed;
            ran.reason = Text::of(format_args!(
                "{device} does not answer: a step of target {number} still waits for it"
            ));
        }
        if ran.ended == Ended::Immortal {
            self.dead |= 1 << step.target();
        }
    }

    /// How long a step may take: what is left of the whole, and of its target's own time.
    fn limits(&mut self, step: Step) -> Limits {
        if step.target() != self.at.0 {
            self.at = (step.target(), Instant::now());
        }
        let left = self.plan.deadline.saturating_sub(self.start.elapsed());
        let own = self.plan.target_deadline(step.target());
        let own = own.map(|whole| whole.saturating_sub(self.at.1.elapsed()));
        let done = self.best.status == Status::Complete;
        self.plan.limits(step, left, own, done)
    }

    /// The attempts and the memory for the report step.
    fn history(&self) -> Text<20480> {
        let mut text = Text::new();
        let _ = write!(text, "{}", memory_line(self.memory));
        for a in &self.attempts {
            let _ = write!(
                text,
                "{}",
                attempt_line(
                    a.step.name(),
                    a.step.target(),
                    a.ended,
                    a.ms,
                    a.reason.as_str()
                )
            );
        }
        text
    }

    /// Says once what became of the dump, as soon as that is known.
    fn announce(&mut self) {
        if self.best.status <= self.best.said {
            return;
        }
        self.best.said = self.best.status;
        match self.best.status {
            Status::Complete => say!("dump complete: {}", self.best.dir),
            _ => say!("dump partial: {}: {}", self.best.dir, self.reason()),
        }
    }

    /// Why the dump is not complete: what its capture said, or else the last step that failed.
    fn reason(&self) -> Text<256> {
        let bad = || self.attempts.iter().rev().filter(|a| a.ended != Ended::Ok);
        let capture = bad().find(|a| matches!(a.step, Step::Capture { .. }));
        let other =
            || bad().find(|a| !matches!(a.step, Step::Report { .. } | Step::Tail | Step::Finish));
        match capture.or_else(other) {
            Some(a) if a.ended.violent() => {
                Text::of(format_args!("step {}: {}", a.step.name(), a.reason))
            }
            Some(a) => Text::of(format_args!("{}", a.reason)),
            None if self.plan.targets == 0 => Text::of(format_args!("{NO_TARGET}")),
            None => Text::of(format_args!("unknown")),
        }
    }

    fn summary(&self) {
        let status = self.best.status.max(Status::Failed);
        if status == Status::Failed {
            for a in self.attempts.iter().filter(|a| a.ended != Ended::Ok) {
                say!(
                    "tried: {} target {}: {}: {}",
                    a.step.name(),
                    a.step.target(),
                    a.ended.name(),
                    a.reason
                );
            }
            say!("dump failed: {}", self.reason());
        }
        let Memory {
            total_kb,
            lowest_available_kb,
            peak_rss_kb,
        } = self.memory;
        say!(
            "memory: {lowest_available_kb} of {total_kb} kB available at the lowest, {peak_rss_kb} kB in the largest step, {} kB in pid 1",
            machine::own_rss_kb()
        );
        let took = self.start.elapsed();
        let dir = if self.best.dir.as_str().is_empty() {
            "-"
        } else {
            self.best.dir.as_str()
        };
        say!(
            "result={} pages={} bytes={} seconds={}.{} dir={dir}",
            status.name(),
            self.best.pages,
            self.best.bytes,
            took.as_secs(),
            took.subsec_millis() / 100
        );
    }
}

impl Listener for Supervisor {
    fn line(&mut self, line: Line<'_>) {
        match line {
            Line::Plan("fence_kdump", host) => self.fence.add(host),
            Line::Plan("device", name) => {
                let at = usize::from(self.at.0).checked_sub(1);
                if let Some(device) = at.and_then(|at| self.devices.get_mut(at)) {
                    device.set(name);
                }
            }
            Line::Plan(key, value) => self.plan.set(key, value),
            Line::Result(r) if r.status > self.best.status => {
                self.best.status = r.status;
                (self.best.pages, self.best.bytes) = (r.pages, r.bytes);
                self.best.dir.set(r.dir);
            }
            _ => {}
        }
    }

    fn tick(&mut self) {
        self.fence.tick();
        // Whatever keeps PID 1 beyond all of its limits is not to be kept alive.
        if self.start.elapsed() < self.plan.deadline.saturating_add(OVERTIME) {
            self.watchdogs.tick();
        }
        let Some((total, available)) = procfs::memory_kb() else {
            return;
        };
        let lowest = &mut self.memory.lowest_available_kb;
        *lowest = if *lowest == 0 {
            available
        } else {
            available.min(*lowest)
        };
        self.memory.total_kb = total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_result_stays() {
        let mut s = Supervisor::new(Instant::now());
        for line in [
            "result partial 1 2 /a",
            "result complete 3 4 /b",
            "result failed 5 6 /c",
            "result complete 7 8 /d",
        ] {
            s.line(super::super::protocol::parse(line).unwrap());
        }
        assert_eq!(
            (s.best.status, s.best.pages, s.best.dir.as_str()),
            (Status::Complete, 3, "/b")
        );
        assert_eq!(s.reason().as_str(), NO_TARGET);
    }

    /// Another target on a device that does not answer would only wait beside the first.
    #[test]
    fn a_device_that_a_step_waits_for_is_left_alone() {
        let mut s = Supervisor::new(Instant::now());
        let mut ran = |target, step: fn(u8) -> Step, ended, device: &str| {
            s.at.0 = target;
            s.line(Line::Plan("device", device));
            let mut ran = Ran {
                ended,
                reason: Text::new(),
                took: Duration::ZERO,
            };
            s.remember(step(target), &mut ran);
            (ran.ended, ran.reason.as_str().to_owned())
        };
        let capture = |target| Step::Capture {
            target,
            how: How::Whole,
        };
        assert_eq!(ran(1, Step::Mount, Ended::Ok, "/dev/vda").0, Ended::Ok);
        assert_eq!(ran(2, Step::Mount, Ended::Ok, "/dev/vda").0, Ended::Ok);
        ran(1, capture, Ended::Immortal, "/dev/vda");
        let (ended, why) = ran(2, Step::Mount, Ended::Ok, "/dev/vda");
        assert_eq!(ended, Ended::Failed);
        assert!(why.contains("/dev/vda does not answer"), "{why}");
        assert_eq!(ran(3, Step::Mount, Ended::Ok, "/dev/vdb").0, Ended::Ok);
        // A server has no device.
        ran(4, capture, Ended::Immortal, "");
        assert_eq!(ran(5, Step::Mount, Ended::Ok, "").0, Ended::Ok);
    }
}
