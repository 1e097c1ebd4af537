//! Watchdogs: each is opened as soon as its device is there, and fed for as long as PID 1 goes on. It is never closed in the way that stops
//! it: a capture kernel that locks up, a PID 1 that hangs and a reboot(2) that hangs end in its reset.
//!
//! A write to a watchdog asks its driver, which may wait for its hardware: each has a child that waits in the place of PID 1. PID 1 sends
//! it a byte from time to time; without one the child feeds nothing. Source: Documentation/watchdog/watchdog-api.rst, Linux 5.10 to 7.2.

use super::log::say;
use crate::sys::process::fork_with;
use crate::sys::watchdog::{set_timeout, timeout};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// The last one is that of drivers which are not in the class of watchdogs; else it is another name of the first.
const DEVICES: [&str; 5] = [
    "/dev/watchdog0",
    "/dev/watchdog1",
    "/dev/watchdog2",
    "/dev/watchdog3",
    "/dev/watchdog",
];
/// The shortest time of a watchdog is a few seconds.
const INTERVAL: Duration = Duration::from_secs(1);
/// A watchdog that waits less is asked to wait so long: this kernel may be busy, and a reboot takes its time too.
const LEAST_SECONDS: i32 = 30;
/// How often a child is started that ends: another name of a watchdog is busy, one without its device cannot be opened.
const STARTS: u8 = 3;

/// How many watchdogs are there, as far as their class goes.
pub(super) fn count() -> usize {
    let classed = DEVICES.iter().take(DEVICES.len() - 1);
    classed.filter(|device| Path::new(device).exists()).count()
}

/// How long it takes until PID 1 has opened a new one.
pub(super) const NOTICED: Duration = Duration::from_millis(500);

/// All watchdogs. Allocates nothing.
#[derive(Default)]
pub(super) struct Watchdogs {
    feeders: [Feeder; DEVICES.len()],
    last: Option<Instant>,
}

/// The child of one watchdog.
#[derive(Default)]
struct Feeder {
    pipe: Option<OwnedFd>,
    starts: u8,
}

impl Watchdogs {
    /// Opens what is new, and feeds all when it is time. Never waits.
    pub(super) fn tick(&mut self) {
        let due = self.last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if due {
            self.last = Some(Instant::now());
        }
        for (feeder, device) in self.feeders.iter_mut().zip(DEVICES) {
            feeder.tick(device, due);
        }
    }
}

impl Feeder {
    fn tick(&mut self, device: &'static str, due: bool) {
        if let Some(pipe) = self.pipe.as_ref().filter(|_| due)
            && write(pipe, b".") == Err(Errno::EPIPE)
        {
            self.pipe = None;
        }
        if self.pipe.is_none() && self.starts < STARTS && Path::new(device).exists() {
            self.starts += 1;
            self.pipe = start(device).ok();
        }
    }
}

/// Starts the child of a watchdog; the pipe that it reads.
fn start(device: &'static str) -> Result<OwnedFd, Errno> {
    let (orders, pipe) = pipe2(OFlag::O_CLOEXEC)?;
    nix::fcntl::fcntl(&pipe, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    fork_with(|| {
        // With an end of its own it would never hear that PID 1 is gone.
        let _ = nix::unistd::close(pipe.as_raw_fd());
        // Its end would be that of the capture.
        let adj = File::options().write(true).open("/proc/self/oom_score_adj");
        let _ = adj.and_then(|mut file| file.write_all(b"-1000"));
        if let Ok(mut watchdog) = File::options().write(true).open(device) {
            feed(device, &mut watchdog, &orders);
        }
        1
    })?;
    Ok(pipe)
}

/// Feeds as often as PID 1 says, until its end. What was said while a write waited counts once.
fn feed(device: &str, watchdog: &mut File, orders: &OwnedFd) {
    if timeout(watchdog).is_some_and(|seconds| seconds < LEAST_SECONDS) {
        set_timeout(watchdog, LEAST_SECONDS);
    }
    say!(
        "watchdog {device} is fed, it resets after {} s without",
        timeout(watchdog).unwrap_or(0)
    );
    let mut said = [0; 4096];
    loop {
        match read(orders, &mut said) {
            // PID 1 is gone.
            Ok(0) => return,
            // Any byte but the `V` that would let it be stopped.
            Ok(_) => drop(watchdog.write(b"\0")),
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(watchdog: &Path) -> usize {
        std::fs::read(watchdog).map_or(0, |bytes| {
            assert!(bytes.iter().all(|byte| *byte == 0), "{bytes:?}");
            bytes.len()
        })
    }

    fn soon(what: impl Fn() -> bool) -> bool {
        (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            what()
        })
    }

    /// A file takes what a watchdog would take.
    #[test]
    fn a_watchdog_is_fed_for_as_long_as_somebody_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watchdog");
        std::fs::write(&path, "").unwrap();
        let device: &'static str = path.to_str().unwrap().to_owned().leak();
        let mut feeder = Feeder::default();
        feeder.tick(device, true);
        assert!(feeder.pipe.is_some());
        assert_eq!(told(&path), 0);
        feeder.tick(device, false);
        feeder.tick(device, true);
        assert!(soon(|| told(&path) == 1));
        // Nobody says anything: nothing is fed, and nothing is closed.
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(told(&path), 1);
        feeder.tick(device, true);
        assert!(soon(|| told(&path) == 2));
    }

    #[test]
    fn what_cannot_be_opened_is_not_tried_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let device: &'static str = dir.path().to_str().unwrap().to_owned().leak();
        let mut feeder = Feeder::default();
        // A directory cannot be written: its child ends.
        for _ in 0..400 {
            feeder.tick(device, true);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!((feeder.starts, feeder.pipe.is_none()), (STARTS, true));
    }
}
