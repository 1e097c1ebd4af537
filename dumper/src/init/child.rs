//! One step as PID 1 sees it: a child that is started, listened to, reaped, and killed when it is late.

use super::ladder::{Ended, How, Step};
use super::log::console;
use super::protocol::{Line, Lines, parse};
use super::text::Text;
use crate::procfs;
use crate::sys::process::{Child, Exit, reap, spawn_self};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, pipe2, read, write};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long PID 1 looks away at most.
const TICK_MS: u8 = 200;
/// How long a killed child may take to go.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// How often a step is started that the kernel has no memory for, and the time between: what was killed may just be giving it back.
const STARTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// A step to start.
pub(super) struct Order<'a> {
    pub(super) step: Step,
    /// How often this step has run before.
    pub(super) attempt: u8,
    /// Its standard input.
    pub(super) input: &'a str,
    pub(super) limits: Limits,
}

/// How long a step may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) deadline: Duration,
    /// Between two `progress` lines.
    pub(super) stall: Option<Duration>,
}

/// How it went.
pub(super) struct Ran {
    pub(super) ended: Ended,
    pub(super) reason: Text<200>,
    pub(super) took: Duration,
}

/// What the supervisor wants to hear while a step runs.
pub(super) trait Listener {
    /// A line other than `progress` and `note`.
    fn line(&mut self, line: Line<'_>);
    /// Called several times a second.
    fn tick(&mut self);
}

/// Runs a step to its end, or leaves it behind when it cannot even be killed.
pub(super) fn run(
    order: &Order<'_>,
    signals: Option<&SignalFd>,
    listener: &mut dyn Listener,
) -> Ran {
    let start = Instant::now();
    let oom_kills = procfs::oom_kills();
    let started = patiently(
        || Running::start(order),
        || {
            listener.tick();
            std::thread::sleep(PAUSE);
        },
    );
    let (ended, reason) = match started {
        Err(errno) => (
            Ended::Failed,
            Text::of(format_args!("cannot start the step: {}", errno.desc())),
        ),
        Ok(mut running) => {
            let verdict = running.watch(order.limits, signals, listener);
            running.judge(verdict, oom_kills)
        }
    };
    Ran {
        ended,
        reason,
        took: start.elapsed(),
    }
}

/// Starts again, for a while, what failed for want of memory or of room for processes.
pub(super) fn patiently<T>(
    mut start: impl FnMut() -> Result<T, Errno>,
    mut pause: impl FnMut(),
) -> Result<T, Errno> {
    for _ in 1..STARTS {
        match start() {
            Err(Errno::ENOMEM | Errno::EAGAIN) => pause(),
            other => return other,
        }
    }
    start()
}

/// The end of the watch.
enum Verdict {
    Status(Exit),
    /// Killed for this.
    Late(Text<96>),
    /// Killed for this, and still there.
    Immortal(Text<96>),
}

/// A child that ended by itself just before it was killed has done its work.
fn verdict(status: Exit, killed: Option<Text<96>>) -> Verdict {
    match (status, killed) {
        (Exit::Signal(signal), Some(why)) if signal == Signal::SIGKILL as i32 => Verdict::Late(why),
        _ => Verdict::Status(status),
    }
}

struct Running {
    pid: Pid,
    pipe: OwnedFd,
    lines: Lines,
    note: Text<200>,
    progressed: Instant,
    status: Option<Exit>,
}

impl Running {
    fn start(order: &Order<'_>) -> Result<Self, Errno> {
        let (pipe, report) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        blocking(&report)?;
        let stdin = input(order.input)?;
        let (target, attempt) = (number(order.step.target()), number(order.attempt));
        let care = match order.step {
            Step::Capture {
                how: How::Careful, ..
            } => c"careful",
            Step::Capture { how: How::Log, .. } => c"log",
            _ => c"",
        };
        let args = [
            c"baredump-step",
            name(order.step),
            digits(&target),
            digits(&attempt),
            care,
        ];
        let pid = spawn_self(&Child {
            args: &args,
            stdin: stdin.as_fd(),
            console: console(),
            report: report.as_fd(),
            oom_score_adj: c"1000",
        })?;
        let now = Instant::now();
        Ok(Self {
            pid,
            pipe,
            lines: Lines::new(),
            note: Text::new(),
            progressed: now,
            status: None,
        })
    }

    fn watch(
        &mut self,
        limits: Limits,
        signals: Option<&SignalFd>,
        listener: &mut dyn Listener,
    ) -> Verdict {
        let (start, mut killed): (_, Option<(Instant, Text<96>)>) = (Instant::now(), None);
        self.progressed = start;
        let mut open = true;
        loop {
            wait(open.then_some(&self.pipe), signals);
            listener.tick();
            open = open && self.listen(listener);
            self.reap();
            if let Some(status) = self.status {
                self.listen(listener);
                return verdict(status, killed.map(|(_, why)| why));
            }
            match killed.take() {
                Some((since, why)) if since.elapsed() > GRACE => return Verdict::Immortal(why),
                Some(still) => killed = Some(still),
                None => {
                    if let Some(why) = self.late(start, limits) {
                        let _ = kill(self.pid, Signal::SIGKILL);
                        killed = Some((Instant::now(), why));
                    }
                }
            }
        }
    }

    fn late(&self, start: Instant, limits: Limits) -> Option<Text<96>> {
        if start.elapsed() >= limits.deadline {
            return Some(Text::of(format_args!(
                "not done after {} s",
                limits.deadline.as_secs()
            )));
        }
        let stall = limits.stall.filter(|&s| self.progressed.elapsed() >= s)?;
        Some(Text::of(format_args!(
            "no progress for {} s",
            stall.as_secs()
        )))
    }

    /// Takes what is in the pipe, a bounded number of times. False at its end.
    fn listen(&mut self, listener: &mut dyn Listener) -> bool {
        let mut buf = [0; 1024];
        let (note, progressed) = (&mut self.note, &mut self.progressed);
        for _ in 0..64 {
            let bytes = match read(&self.pipe, &mut buf) {
                Ok(0) => return false,
                Ok(n) => buf.get(..n).unwrap_or_default(),
                Err(_) => return true,
            };
            self.lines.push(bytes, &mut |line| match parse(line) {
                Some(Line::Progress) => *progressed = Instant::now(),
                Some(Line::Note(text)) => note.set(text),
                Some(line) => listener.line(line),
                None => {}
            });
        }
        true
    }

    /// Reaps everything that has ended: PID 1 inherits orphans.
    fn reap(&mut self) {
        while let Some((pid, exit)) = reap(None) {
            if pid == self.pid {
                self.status = Some(exit);
            }
        }
    }

    fn judge(&self, verdict: Verdict, oom_kills: u64) -> (Ended, Text<200>) {
        let note = &self.note;
        match verdict {
            Verdict::Late(why) => (Ended::Hung, Text::of(format_args!("{why}, killed"))),
            Verdict::Immortal(why) => (
                Ended::Immortal,
                Text::of(format_args!(
                    "{why}, could not be killed and is left behind"
                )),
            ),
            Verdict::Status(Exit::Code(0)) => (Ended::Ok, Text::new()),
            Verdict::Status(Exit::Code(3)) => (Ended::Partial, note.clone()),
            Verdict::Status(Exit::Code(1)) if !note.as_str().is_empty() => {
                (Ended::Failed, note.clone())
            }
            Verdict::Status(Exit::Code(code)) => {
                (Ended::Failed, Text::of(format_args!("exit code {code}")))
            }
            Verdict::Status(Exit::Signal(number)) => {
                let named = Signal::try_from(number);
                let signal = match named {
                    Ok(signal) => Text::<24>::of(format_args!("{signal}")),
                    Err(_) => Text::of(format_args!("signal {number}")),
                };
                let oom = named == Ok(Signal::SIGKILL) && procfs::oom_kills() > oom_kills;
                let cause = if oom { " (out of memory)" } else { "" };
                let panic = note
                    .as_str()
                    .strip_prefix("panic")
                    .map_or("", |_| note.as_str());
                let colon = if panic.is_empty() { "" } else { ": " };
                (
                    Ended::Died,
                    Text::of(format_args!("killed by {signal}{cause}{colon}{panic}")),
                )
            }
        }
    }
}

/// Until the child says something, something ends, or the tick is over.
fn wait(pipe: Option<&OwnedFd>, signals: Option<&SignalFd>) {
    let mut fds: heapless::Vec<PollFd<'_>, 2> = heapless::Vec::new();
    let (pipe, signal) = (pipe.map(AsFd::as_fd), signals.map(AsFd::as_fd));
    for fd in [pipe, signal].into_iter().flatten() {
        let _ = fds.push(PollFd::new(fd, PollFlags::POLLIN));
    }
    // Without a signal descriptor the end of a child is seen at the end of its pipe, or a tick later.
    let tick = if signals.is_some() {
        TICK_MS
    } else {
        TICK_MS / 10
    };
    if poll(&mut fds, tick).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    while signals.is_some_and(|s| matches!(s.read_signal(), Ok(Some(_)))) {}
}

/// The child's end of the report pipe waits for PID 1 instead of losing lines.
fn blocking(fd: &OwnedFd) -> Result<(), Errno> {
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFL(OFlag::empty())).map(drop)
}

/// Standard input: a pipe that already holds `text` (far less than a pipe's room), and nobody writes to. It needs no device.
fn input(text: &str) -> Result<OwnedFd, Errno> {
    let (out, into) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    if !text.is_empty() {
        write(&into, text.as_bytes())?;
    }
    Ok(out)
}

const fn name(step: Step) -> &'static CStr {
    match step {
        Step::Config { .. } => c"config",
        Step::Modules => c"modules",
        Step::Network(_) => c"network",
        Step::Mount(_) => c"mount",
        Step::Capture { .. } => c"capture",
        Step::Report { .. } => c"report",
        Step::Tail => c"tail",
        Step::Finish => c"finish",
    }
}

/// Three digits and a NUL.
fn number(n: u8) -> [u8; 4] {
    [b'0' + n / 100, b'0' + n / 10 % 10, b'0' + n % 10, 0]
}

fn digits(bytes: &[u8; 4]) -> &CStr {
    CStr::from_bytes_until_nul(bytes).unwrap_or(c"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_of_arguments() {
        for step in [
            Step::Config { again: true },
            Step::Modules,
            Step::Network(0),
            Step::Mount(1),
            Step::Finish,
        ] {
            assert_eq!(name(step).to_str(), Ok(step.name()));
        }
        assert_eq!(digits(&number(0)), c"000");
        assert_eq!(digits(&number(207)), c"207");
    }

    #[test]
    fn a_child_that_ended_before_the_kill_is_not_late() {
        let late = || Some(Text::of(format_args!("not done after 1 s")));
        let done = Exit::Code(0);
        assert!(matches!(verdict(done, late()), Verdict::Status(s) if s == done));
        let killed = Exit::Signal(Signal::SIGKILL as i32);
        assert!(matches!(verdict(killed, late()), Verdict::Late(_)));
        assert!(matches!(verdict(killed, None), Verdict::Status(_)));
    }

    #[test]
    fn what_an_end_means() {
        let (pipe, _writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let pid = Pid::from_raw(99999);
        let mut running = Running {
            pid,
            pipe,
            lines: Lines::new(),
            note: Text::new(),
            progressed: Instant::now(),
            status: None,
        };
        let judge = |r: &Running, status| {
            let (ended, reason) = r.judge(Verdict::Status(status), u64::MAX);
            (ended, reason.as_str().to_owned())
        };
        assert_eq!(judge(&running, Exit::Code(0)), (Ended::Ok, String::new()));
        assert_eq!(
            judge(&running, Exit::Code(127)),
            (Ended::Failed, "exit code 127".into())
        );
        running.note.set("disk full");
        assert_eq!(
            judge(&running, Exit::Code(3)),
            (Ended::Partial, "disk full".into())
        );
        assert_eq!(
            judge(&running, Exit::Code(1)),
            (Ended::Failed, "disk full".into())
        );
        let killed = Exit::Signal(Signal::SIGSEGV as i32);
        assert_eq!(
            judge(&running, killed),
            (Ended::Died, "killed by SIGSEGV".into())
        );
        running.note.set("panic: x");
        assert_eq!(
            judge(&running, killed),
            (Ended::Died, "killed by SIGSEGV: panic: x".into())
        );
        running.note.set("");
        assert_eq!(
            judge(&running, Exit::Signal(34)),
            (Ended::Died, "killed by signal 34".into())
        );
        let verdict = Verdict::Immortal(Text::of(format_args!("no progress for 9 s")));
        assert_eq!(running.judge(verdict, u64::MAX).0, Ended::Immortal);
    }

    #[test]
    fn want_of_memory_is_waited_out_and_other_errors_are_not() {
        let starts = |errno, enough| {
            let (mut tried, mut pauses) = (0, 0);
            let start = || {
                tried += 1;
                if tried >= enough {
                    Ok(tried)
                } else {
                    Err(errno)
                }
            };
            let ended = patiently(start, || pauses += 1);
            (ended, pauses)
        };
        assert_eq!(starts(Errno::ENOMEM, 3), (Ok(3), 2));
        assert_eq!(
            starts(Errno::EAGAIN, u32::MAX),
            (Err(Errno::EAGAIN), STARTS - 1)
        );
        assert_eq!(starts(Errno::EMFILE, 2), (Err(Errno::EMFILE), 0));
    }
}
