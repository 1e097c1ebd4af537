//! Which step comes next: a pure function of the last step and how it ended.

use crate::report::Status;

/// A step to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `again`: the first one died or hung.
    Config {
        again: bool,
    },
    Modules,
    /// What leads to target number N, from 1; to hosts that want to hear of the crash for 0.
    Network(u8),
    /// Of target number N, from 1.
    Mount(u8),
    Capture {
        target: u8,
        how: How,
    },
    /// `again`: the first one died.
    Report {
        target: u8,
        again: bool,
    },
    Finish,
}

/// What a capture does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Log and memory.
    Whole,
    /// The same after a capture that died.
    Careful,
    /// The log alone: another target has the memory.
    Log,
}

impl Step {
    /// Its `argv[1]` and its name on the console.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Config { .. } => "config",
            Self::Modules => "modules",
            Self::Network(_) => "network",
            Self::Mount(_) => "mount",
            Self::Capture { .. } => "capture",
            Self::Report { .. } => "report",
            Self::Finish => "finish",
        }
    }

    /// Number of its target, 0 when it has none.
    pub(super) const fn target(self) -> u8 {
        match self {
            Self::Network(target)
            | Self::Mount(target)
            | Self::Capture { target, .. }
            | Self::Report { target, .. } => target,
            Self::Config { .. } | Self::Modules | Self::Finish => 0,
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Ok,
    /// Exit code 3.
    Partial,
    /// Any other exit code: it gave up by itself.
    Failed,
    /// Killed by a signal.
    Died,
    /// Over its deadline or without progress, and killed for it.
    Hung,
}

impl Ended {
    /// The word of the report.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Died => "died",
            Self::Hung => "hung",
        }
    }

    /// Whether it did not end by itself.
    pub(super) const fn violent(self) -> bool {
        matches!(self, Self::Died | Self::Hung)
    }
}

/// Where the supervisor stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Number of targets.
    pub(super) targets: u8,
    /// Those that need the network, a bit each; the lowest is for hosts that want to hear of the crash.
    pub(super) network: u16,
    /// The log goes to every target.
    pub(super) log_to_all: bool,
    /// The best result so far.
    pub(super) best: Status,
    /// The overall deadline has passed.
    pub(super) expired: bool,
}

/// The step after `step`; `None` after the last.
pub(super) fn next(step: Step, ended: Ended, state: State) -> Option<Step> {
    let next = match step {
        Step::Config { again: false } if ended.violent() => Step::Config { again: true },
        // Without a configuration the words of the command line stand.
        Step::Config { .. } if ended != Ended::Ok && state.targets == 0 => Step::Finish,
        Step::Config { .. } => Step::Modules,
        // A module that fails may be one that is not needed: the mount will tell.
        Step::Modules if state.network & 1 != 0 => Step::Network(0),
        Step::Modules | Step::Network(0) => reach(1, state),
        Step::Network(target) if ended == Ended::Ok => Step::Mount(target),
        Step::Mount(target) if ended == Ended::Ok => Step::Capture {
            target,
            how: if state.best == Status::Complete {
                How::Log
            } else {
                How::Whole
            },
        },
        Step::Network(target) | Step::Mount(target) => reach(target.saturating_add(1), state),
        Step::Capture {
            target,
            how: How::Whole,
        } if ended.violent() && !state.expired && state.best != Status::Complete => Step::Capture {
            target,
            how: How::Careful,
        },
        Step::Capture { target, .. } => Step::Report {
            target,
            again: false,
        },
        Step::Report {
            target,
            again: false,
        } if ended == Ended::Died => Step::Report {
            target,
            again: true,
        },
        Step::Report { .. } if state.best == Status::Complete && !state.log_to_all => Step::Finish,
        Step::Report { target, .. } => reach(target.saturating_add(1), state),
        Step::Finish => return None,
    };
    let late = state.expired && !matches!(next, Step::Report { .. });
    Some(if late { Step::Finish } else { next })
}

const fn reach(target: u8, state: State) -> Step {
    if target > state.targets {
        Step::Finish
    } else if needs_network(state.network, target) {
        Step::Network(target)
    } else {
        Step::Mount(target)
    }
}

const fn needs_network(network: u16, target: u8) -> bool {
    target < 16 && network & (1 << target) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: State = State {
        targets: 2,
        network: 0,
        log_to_all: false,
        best: Status::Started,
        expired: false,
    };
    const FIRST: Step = Step::Config { again: false };
    const ALL: [Ended; 5] = [
        Ended::Ok,
        Ended::Partial,
        Ended::Failed,
        Ended::Died,
        Ended::Hung,
    ];

    fn way(state: State, ends: impl Fn(Step) -> Ended) -> Vec<Step> {
        let (mut steps, mut state) = (vec![FIRST], state);
        while let Some(last) = steps.last().copied() {
            let ended = ends(last);
            if let (Step::Capture { .. }, Ended::Ok) = (last, ended) {
                state.best = Status::Complete;
            }
            match next(last, ended, state) {
                Some(step) => steps.push(step),
                None => break,
            }
            assert!(steps.len() < 60);
        }
        steps
    }

    #[test]
    fn the_good_way() {
        use Step::{Capture, Config, Finish, Modules, Mount, Report};
        let steps = way(TWO, |_| Ended::Ok);
        let capture = Capture {
            target: 1,
            how: How::Whole,
        };
        assert_eq!(
            steps,
            [
                Config { again: false },
                Modules,
                Mount(1),
                capture,
                Report {
                    target: 1,
                    again: false
                },
                Finish
            ]
        );
    }

    #[test]
    fn a_dead_capture_is_repeated_with_care_and_a_failed_one_is_not() {
        let count = |steps: &[Step]| steps.iter().filter(|s| s.name() == "capture").count();
        let dies = |s: Step| {
            if s.name() == "capture" {
                Ended::Died
            } else {
                Ended::Ok
            }
        };
        let steps = way(TWO, dies);
        assert_eq!(count(&steps), 4);
        assert_eq!(
            steps[4],
            Step::Capture {
                target: 1,
                how: How::Careful
            }
        );
        assert_eq!(
            steps[5],
            Step::Report {
                target: 1,
                again: false
            }
        );
        assert_eq!(steps[6], Step::Mount(2));
        assert_eq!(
            count(&way(TWO, |s| if s.name() == "capture" {
                Ended::Failed
            } else {
                Ended::Ok
            })),
            2
        );
        assert_eq!(
            count(&way(TWO, |s| if s.name() == "capture" {
                Ended::Partial
            } else {
                Ended::Ok
            })),
            2
        );
        let first_dies = |s| {
            if s == (Step::Capture {
                target: 1,
                how: How::Whole,
            }) {
                Ended::Hung
            } else {
                Ended::Ok
            }
        };
        assert_eq!(count(&way(TWO, first_dies)), 2);
    }

    #[test]
    fn a_capture_that_died_after_a_complete_dump_is_not_repeated() {
        let capture = Step::Capture {
            target: 1,
            how: How::Whole,
        };
        let state = State {
            best: Status::Complete,
            ..TWO
        };
        let report = Step::Report {
            target: 1,
            again: false,
        };
        assert_eq!(next(capture, Ended::Hung, state), Some(report));
    }

    #[test]
    fn without_a_configuration_the_words_stand() {
        let again = Step::Config { again: true };
        let none = State { targets: 0, ..TWO };
        assert_eq!(next(FIRST, Ended::Died, none), Some(again));
        assert_eq!(next(FIRST, Ended::Hung, TWO), Some(again));
        for (step, ended) in [
            (FIRST, Ended::Failed),
            (again, Ended::Died),
            (again, Ended::Hung),
        ] {
            assert_eq!(next(step, ended, TWO), Some(Step::Modules));
            assert_eq!(next(step, ended, none), Some(Step::Finish));
        }
        assert_eq!(next(FIRST, Ended::Ok, none), Some(Step::Modules));
    }

    #[test]
    fn a_report_that_died_is_repeated_and_one_that_hung_is_not() {
        let report = |again| Step::Report { target: 2, again };
        assert_eq!(next(report(false), Ended::Died, TWO), Some(report(true)));
        assert_eq!(next(report(false), Ended::Hung, TWO), Some(Step::Finish));
        assert_eq!(next(report(true), Ended::Died, TWO), Some(Step::Finish));
    }

    #[test]
    fn the_network_comes_first_where_it_is_needed() {
        use Step::{Capture, Finish, Modules, Mount, Network, Report};
        let state = State {
            network: 0b101,
            ..TWO
        };
        let ends = |step| match step {
            Step::Mount(1) => Ended::Failed,
            _ => Ended::Ok,
        };
        let capture = Capture {
            target: 2,
            how: How::Whole,
        };
        let report = Report {
            target: 2,
            again: false,
        };
        let steps = way(state, ends);
        assert_eq!(
            steps[1..],
            [
                Modules,
                Network(0),
                Mount(1),
                Network(2),
                Mount(2),
                capture,
                report,
                Finish
            ]
        );
        let dead = |step| match step {
            Step::Network(_) => Ended::Hung,
            _ => Ended::Ok,
        };
        let state = State {
            network: 0b110,
            ..TWO
        };
        assert_eq!(
            way(state, dead)[1..],
            [Modules, Network(1), Network(2), Finish]
        );
    }

    #[test]
    fn the_log_goes_to_every_target_that_wants_it() {
        let state = State {
            log_to_all: true,
            ..TWO
        };
        let steps = way(state, |_| Ended::Ok);
        let log = Step::Capture {
            target: 2,
            how: How::Log,
        };
        assert_eq!(steps[5..7], [Step::Mount(2), log]);
        let dies = |step| if step == log { Ended::Died } else { Ended::Ok };
        let count = |s: &&Step| s.name() == "capture";
        assert_eq!(way(state, dies).iter().filter(count).count(), 2);
    }

    #[test]
    fn every_way_ends_in_finish() {
        for state in [
            TWO,
            State {
                network: u16::MAX,
                log_to_all: true,
                ..TWO
            },
            State { targets: 0, ..TWO },
            State { targets: 8, ..TWO },
            State {
                expired: true,
                ..TWO
            },
        ] {
            for a in ALL {
                for b in ALL {
                    let steps = way(state, |s| if s.target() % 2 == 1 { a } else { b });
                    assert_eq!(steps.last(), Some(&Step::Finish));
                    assert!(steps.len() <= 4 + 8 * 6, "{steps:?}");
                }
            }
        }
    }

    #[test]
    fn after_the_deadline_only_the_report() {
        let late = State {
            expired: true,
            ..TWO
        };
        let capture = Step::Capture {
            target: 1,
            how: How::Whole,
        };
        assert_eq!(
            next(capture, Ended::Hung, late),
            Some(Step::Report {
                target: 1,
                again: false
            })
        );
        assert_eq!(
            next(
                Step::Report {
                    target: 1,
                    again: false
                },
                Ended::Ok,
                late
            ),
            Some(Step::Finish)
        );
        assert_eq!(next(Step::Modules, Ended::Hung, late), Some(Step::Finish));
    }
}
