//! Faults on purpose: `baredump.fault=STEP:KIND[!][@PERCENT]`. The faults are real; tests of the supervisor depend on it.

use crate::config::words;
use nix::sys::signal::{SigSet, Signal, raise};
use std::time::Duration;

/// A fault that a step is to suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    kind: Kind,
    /// In every attempt, not only in the first.
    every: bool,
    /// After that share of the pages; `None` = before the first.
    pub(super) percent: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    Segv,
    Abort,
    Oom,
    Hang,
    Cut,
}

impl Fault {
    /// The fault that `cmdline` has for this attempt (from 0) of `step`.
    pub(super) fn of(cmdline: &str, step: &str, attempt: u8) -> Option<Self> {
        let (name, rest) = words::value(cmdline, "fault")?.split_once(':')?;
        let (kind, percent) = match rest.split_once('@') {
            Some((kind, percent)) => (kind, Some(percent.parse().ok()?)),
            None => (rest, None),
        };
        let fault = Self {
            kind: Kind::parse(kind.trim_end_matches('!'))?,
            every: kind.ends_with('!'),
            percent,
        };
        (name == step && (attempt == 0 || fault.every)).then_some(fault)
    }

    /// Does it. Does not return.
    pub(super) fn strike(self) -> ! {
        match self.kind {
            Kind::Kill => drop(raise(Signal::SIGKILL)),
            Kind::Segv => crate::sys::process::segfault(),
            Kind::Abort => std::process::abort(),
            Kind::Oom => eat_memory(),
            Kind::Hang => drop(SigSet::all().thread_block()),
            // A reset at once: as when the power goes, nothing that is not on a disk gets there.
            Kind::Cut => drop(std::fs::write("/proc/sysrq-trigger", "b")),
        }
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "kill" => Self::Kill,
            "segv" => Self::Segv,
            "abort" => Self::Abort,
            "oom" => Self::Oom,
            "hang" => Self::Hang,
            "cut" => Self::Cut,
            _ => return None,
        })
    }
}

/// Takes and touches memory until the kernel ends this process.
fn eat_memory() {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut some = Vec::new();
        if some.try_reserve_exact(1 << 20).is_ok() {
            some.resize(1 << 20, 0xa5);
            all.push(some);
        }
        std::hint::black_box(&all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_attempt_of_which_step() {
        let line = "quiet baredump.fault=capture:kill@50";
        let fault = Fault {
            kind: Kind::Kill,
            every: false,
            percent: Some(50),
        };
        assert_eq!(Fault::of(line, "capture", 0), Some(fault));
        assert_eq!(Fault::of(line, "capture", 1), None);
        assert_eq!(Fault::of(line, "mount", 0), None);
        let every = Fault::of("baredump.fault=mount:hang!", "mount", 3).unwrap();
        assert_eq!(
            every,
            Fault {
                kind: Kind::Hang,
                every: true,
                percent: None
            }
        );
        for bad in [
            "baredump.fault=capture",
            "baredump.fault=capture:melt",
            "baredump.fault=capture:oom@x",
            "",
        ] {
            assert_eq!(Fault::of(bad, "capture", 0), None);
        }
    }
}
