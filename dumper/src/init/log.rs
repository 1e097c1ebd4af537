//! Lines for the console and the kernel log, as `[  1.234] baredump: text`, from PID 1 and from its steps.
//!
//! A console may be dead (no carrier, flow control, no device): nothing here waits for it longer than [`PATIENCE`], and after one
//! such wait not at all until it takes something again. The kernel log gets debug level, so that the console does not show it twice.

use super::text::Text;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::write;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_millis(100);

struct Log {
    console: OnceLock<OwnedFd>,
    kmsg: Option<OwnedFd>,
    dead: AtomicBool,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Opens console and kernel log; what cannot be opened stays silent. A console may come later, with a module: it is looked for again.
pub(super) fn start() {
    LOG.get_or_init(|| Log {
        console: OnceLock::new(),
        kmsg: opened("/dev/kmsg"),
        dead: AtomicBool::new(false),
    });
}

fn opened(path: &str) -> Option<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).ok()
}

/// Writes one line. Use [`say!`].
pub(super) fn line(args: fmt::Arguments<'_>) {
    let Some(log) = LOG.get() else { return };
    // Steps quote the dead kernel: its host name and the end of its log.
    let said = Text::<512>::harmless(args);
    let (seconds, millis) = since_boot();
    if let Some(fd) = console() {
        let text = Text::<510>::of(format_args!("[{seconds:3}.{millis:03}] baredump: {said}"));
        log.to_console(
            fd,
            Text::<512>::of(format_args!("{text}\n"))
                .as_str()
                .as_bytes(),
        );
    }
    if let Some(fd) = &log.kmsg {
        let _ = write(
            fd,
            Text::<512>::of(format_args!("<7>baredump: {said}"))
                .as_str()
                .as_bytes(),
        );
    }
}

/// A line for the console and the kernel log.
macro_rules! say {
    ($($arg:tt)*) => { $crate::init::log::line(format_args!($($arg)*)) };
}
pub(super) use say;

/// The console, if it could be opened; it never blocks.
pub(super) fn console() -> Option<BorrowedFd<'static>> {
    let log = LOG.get()?;
    if log.console.get().is_none() {
        let _ = log.console.set(opened("/dev/console")?);
    }
    log.console.get().map(AsFd::as_fd)
}

/// Waits until the console has sent what it has taken, for a bounded time.
pub(super) fn drain(patience: Duration) {
    let Some(fd) = console() else { return };
    let start = Instant::now();
    while start.elapsed() < patience {
        match crate::sys::process::output_queue(fd) {
            Some(queued) if queued > 0 => std::thread::sleep(Duration::from_millis(10)),
            _ => break,
        }
    }
    // What has left the queue may still be in the port's own buffer.
    std::thread::sleep(Duration::from_millis(20));
}

impl Log {
    fn to_console(&self, fd: BorrowedFd<'_>, mut bytes: &[u8]) {
        let start = Instant::now();
        while !bytes.is_empty() {
            match write(fd, bytes) {
                Ok(0) => return,
                Ok(n) => {
                    bytes = bytes.get(n..).unwrap_or_default();
                    self.dead.store(false, Ordering::Relaxed);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN)
                    if !self.dead.load(Ordering::Relaxed) && start.elapsed() < PATIENCE =>
                {
                    let _ = poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], 20u8);
                }
                Err(Errno::EAGAIN) => return self.dead.store(true, Ordering::Relaxed),
                Err(_) => return,
            }
        }
    }
}

fn since_boot() -> (i64, i64) {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or((0, 0), |t| (t.tv_sec(), t.tv_nsec() / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::pipe2;

    #[test]
    fn a_dead_console_costs_one_wait() {
        let (_unread, console) = pipe2(OFlag::O_NONBLOCK).unwrap();
        let log = Log {
            console: OnceLock::new(),
            kmsg: None,
            dead: AtomicBool::new(false),
        };
        let start = Instant::now();
        for _ in 0..50_000 {
            log.to_console(console.as_fd(), b"0123456789");
        }
        assert!(log.dead.load(Ordering::Relaxed));
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}
