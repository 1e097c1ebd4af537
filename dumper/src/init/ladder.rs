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
    /// The end of the log on the console, when no target holds anything of a dump.
    Tail,
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
            Self::Tail => "tail",
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
            Self::Config { .. } | Self::Modules | Self::Tail | Self::Finish => 0,
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
    /// The same, but it could not be killed: it waits in the kernel for a device that does not answer.
    Immortal,
}

impl Ended {
    /// The word of the report.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Died => "died",
            Self::Hung | Self::Immortal => "hung",
        }
    }

    /// Whether it did not end by itself.
    pub(super) const fn violent(self) -> bool {
        matches!(self, Self::Died | Self::Hung | Self::Immortal)
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
    /// The target's own time is over.
    pub(super) late: bool,
    /// Of the overall deadline only what is kept back is left.
    pub(super) expired: bool,
    /// Nothing is left of it.
    pub(super) over: bool,
}

/// The step after `step`; `None` after the last.
pub(super) fn next(step: Step, ended: Ended, state: State) -> Option<Step> {
    let next = match step {
        Step::Config { again: false } if ended.violent() => Step::Config { again: true },
        // Without a configuration the words of the command line stand.
        Step::Config { .. } if ended != Ended::Ok && state.targets == 0 => end(state),
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
        // Whatever touches the same device would wait beside it.
        Step::Capture { target, .. } if ended == Ended::Immortal => {
            if target < state.targets || state.best == Status::Complete {
                leave(target, state)
            } else {
                Step::Report {
                    target,
                    again: false,
                }
            }
        }
        Step::Capture {
            target,
            how: How::Whole,
        } if ended.violent() && !state.expired && !state.late && state.best != Status::Complete => {
            Step::Capture {
                target,
                how: How::Careful,
            }
        }
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
        Step::Report { target, .. } => leave(target, state),
        Step::Tail => Step::Finish,
        Step::Finish => return None,
    };
    let late = state.expired && !matches!(next, Step::Report { .. } | Step::Finish);
    Some(if late { end(state) } else { next })
}

/// What comes after the last target. Without a dump the console is the only one that can say what happened.
fn end(state: State) -> Step {
    let nothing = state.best < Status::Partial && !state.over;
    if nothing { Step::Tail } else { Step::Finish }
}

/// What comes after a target.
fn leave(target: u8, state: State) -> Step {
    if state.best == Status::Complete && !state.log_to_all {
        Step::Finish
    } else {
        reach(target.saturating_add(1), state)
    }
}

fn reach(target: u8, state: State) -> Step {
    if target > state.targets {
        end(state)
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
mod tests;
