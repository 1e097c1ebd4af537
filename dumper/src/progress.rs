//! Progress with rate and time to go on a terminal.

use crate::dump::Observer;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(200);

/// Shows a line on standard error that is overwritten, when that is a terminal.
pub struct Terminal {
    page: u64,
    shown: Option<Instant>,
    phase: &'static str,
    began: Instant,
    quiet: bool,
}

impl Terminal {
    /// For pages of `page` bytes; `quiet` shows nothing.
    #[must_use]
    pub fn new(page: u64, quiet: bool) -> Self {
        let quiet = quiet || !std::io::stderr().is_terminal();
        Self {
            page,
            shown: None,
            phase: "",
            began: Instant::now(),
            quiet,
        }
    }

    /// Clears the line.
    pub fn end(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Observer for Terminal {
    fn progress(&mut self, phase: &'static str, done: u64, total: u64) {
        if self.quiet {
            return;
        }
        let now = Instant::now();
        if phase != self.phase {
            (self.phase, self.began, self.shown) = (phase, now, None);
        }
        if self.shown.is_some_and(|shown| now - shown < EVERY) && done < total {
            return;
        }
        self.shown = Some(now);
        let line = line(phase, done, total, self.page, now - self.began);
        let _ = write!(std::io::stderr(), "\r{line}\x1b[K");
    }
}

/// `copy  42 %, 310 MiB/s, 3 s left`.
#[must_use]
pub fn line(phase: &str, done: u64, total: u64, page: u64, took: Duration) -> String {
    let percent = (u128::from(done) * 100)
        .checked_div(u128::from(total))
        .unwrap_or(100);
    let millis = took.as_millis().max(1);
    let rate = u128::from(done) * u128::from(page) * 1000 / millis / (1 << 20);
    let left = u128::from(total.saturating_sub(done)) * millis / u128::from(done.max(1)) / 1000;
    format!("{phase} {percent:3} %, {rate} MiB/s, {left} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left() {
        assert_eq!(
            line("copy", 25_600, 102_400, 4096, Duration::from_secs(2)),
            "copy  25 %, 50 MiB/s, 6 s left"
        );
        assert_eq!(
            line("scan", 0, 0, 4096, Duration::ZERO),
            "scan 100 %, 0 MiB/s, 0 s left"
        );
    }
}
