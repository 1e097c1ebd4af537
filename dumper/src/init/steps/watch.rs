//! Tells PID 1 and the console how far a dump is, and lets the fault of a test strike on its way.

use super::Context;
use crate::dump::{Budget, Observer};
use crate::init::log::say;
use crate::report::Report;
use std::time::{Duration, Instant};

/// Tells PID 1 and the console how far the dump is.
pub(super) struct Watch<'a> {
    context: &'a Context,
    written: &'a dyn Fn() -> u64,
    phase: &'static str,
    since: Instant,
    told: Instant,
    shown: Instant,
    shown_percent: u64,
    done: Vec<(&'static str, Duration)>,
    budget: Option<Budget>,
}

const TELL: Duration = Duration::from_millis(250);
const SHOW: Duration = Duration::from_secs(2);

impl<'a> Watch<'a> {
    pub(super) fn new(context: &'a Context, written: &'a dyn Fn() -> u64) -> Self {
        let now = Instant::now();
        Self {
            context,
            written,
            phase: "",
            since: now,
            told: now,
            shown: now,
            shown_percent: 0,
            done: Vec::new(),
            budget: None,
        }
    }

    fn begin(&mut self, phase: &'static str) {
        self.finish();
        let now = Instant::now();
        (self.phase, self.since, self.shown, self.shown_percent) = (phase, now, now, 0);
        self.context.progress(0, 0);
    }

    fn finish(&mut self) {
        let took = self.since.elapsed();
        // Phases that take turns count as one each.
        match self.done.iter_mut().find(|(name, _)| *name == self.phase) {
            Some((_, sum)) => *sum += took,
            None if self.phase.is_empty() => {}
            None => self.done.push((self.phase, took)),
        }
    }

    pub(super) fn phases(mut self, report: &mut Report) {
        self.finish();
        report.budget = self.budget;
        for (name, took) in self.done.iter().take(16) {
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            report.phases.push(crate::report::Phase {
                name: (*name).into(),
                ms,
            });
        }
    }

    fn show(&mut self, percent: u64) {
        (self.shown, self.shown_percent) = (Instant::now(), percent);
        let millis = u64::try_from(self.since.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let rate = (self.written)() / millis / 1000;
        let eta = millis.saturating_mul(100u64.saturating_sub(percent)) / percent.max(1) / 1000;
        say!("{} {percent} % ({rate} MB/s, ETA {eta} s)", self.phase);
    }
}

impl Observer for Watch<'_> {
    fn decided(&mut self, budget: &Budget) {
        say!("{budget}");
        self.budget = Some(*budget);
    }

    fn progress(&mut self, phase: &'static str, done: u64, total: u64) {
        if phase != self.phase {
            self.begin(phase);
        }
        if self.told.elapsed() >= TELL {
            self.told = Instant::now();
            self.context.progress(done, total);
        }
        let percent = done
            .saturating_mul(100)
            .checked_div(total)
            .unwrap_or(0)
            .min(100);
        if phase == "copy" {
            self.context.strike(percent);
            if self.shown.elapsed() >= SHOW || percent >= self.shown_percent + 10 {
                self.show(percent);
            }
        }
    }
}
