//! What PID 1 needs to know of the configuration, in fixed memory.

use super::child::Limits;
use super::ladder::{How, Step};
use crate::config::{FinalAction, words};
use std::time::Duration;

/// Kept back of the overall deadline for the report and the final action.
const RESERVE: Duration = Duration::from_secs(15);
/// The most that any step gets without a time of its own.
const SHORT: Duration = Duration::from_secs(20);
/// What a log alone gets, where another target has the dump: a small file must not keep the machine down.
const LOG: Duration = Duration::from_secs(20);
/// What the report and the final step get even when nothing is left.
///
/// So the final action comes at most 20 s after the deadline: at worst the step before has a second and the grace of a kill (3 s),
/// a report dies at its end (3 s), its repetition and the final step hang and are killed (5 s each), and PID 1 looks away for a
/// tick at each. A deadline shorter than the config step took counts from the end of that step.
const LEAST: Duration = Duration::from_secs(3);

/// A guess at the number of modules for the case that the config step does not count them.
const MODULES: u32 = 16;
/// The targets that are tried at most.
const MAX_TARGETS: usize = crate::config::MAX_TARGETS;

/// What the config step says, with what the command line says until it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) targets: u8,
    /// As in [`super::ladder::State`].
    pub(super) network: u16,
    pub(super) log_to_all: bool,
    pub(super) modules: u32,
    pub(super) final_action: FinalAction,
    pub(super) deadline: Duration,
    pub(super) stall: Duration,
    pub(super) device_timeout: Duration,
    pub(super) network_timeout: Duration,
    pub(super) module_timeout: Duration,
    /// Own deadlines of targets, by number from 1.
    targets_own: [Option<Duration>; MAX_TARGETS],
}

impl Plan {
    /// For the case that the config step dies: the command line's own words.
    pub(super) fn fallback(cmdline: &str) -> Self {
        let time = |key, default| {
            words::value(cmdline, key)
                .and_then(words::seconds)
                .unwrap_or(default)
        };
        Self {
            targets: words::value(cmdline, "targets").map_or(0, |list| u8_of(each(list).count())),
            network: words::value(cmdline, "targets").map_or(0, network),
            log_to_all: words::value(cmdline, "log_to_all") == Some("true"),
            modules: MODULES,
            final_action: words::value(cmdline, "final_action")
                .and_then(FinalAction::parse)
                .unwrap_or_default(),
            deadline: Duration::from_secs(time("deadline", 30 * 60)),
            stall: Duration::from_secs(time("stall", 120)),
            device_timeout: Duration::from_secs(time("device_timeout", 30)),
            network_timeout: Duration::from_secs(time("network_timeout", 60)),
            module_timeout: Duration::from_secs(time("module_timeout", 30)),
            targets_own: [None; MAX_TARGETS],
        }
    }

    pub(super) fn set(&mut self, key: &str, value: &str) {
        let seconds = words::seconds(value).map(Duration::from_secs);
        match key {
            "targets" => self.targets = value.parse().unwrap_or(self.targets),
            "network" => self.network = value.parse().unwrap_or(self.network),
            "log_to_all" => self.log_to_all = value == "true",
            "target_deadline" => self.set_target_deadline(value),
            "modules" => self.modules = value.parse().unwrap_or(self.modules),
            "final_action" => {
                self.final_action = FinalAction::parse(value).unwrap_or(self.final_action)
            }
            "deadline" => self.deadline = seconds.unwrap_or(self.deadline),
            "stall" => self.stall = seconds.unwrap_or(self.stall),
            "device_timeout" => self.device_timeout = seconds.unwrap_or(self.device_timeout),
            "network_timeout" => self.network_timeout = seconds.unwrap_or(self.network_timeout),
            "module_timeout" => self.module_timeout = seconds.unwrap_or(self.module_timeout),
            _ => {}
        }
    }

    /// `NUMBER SECONDS`.
    fn set_target_deadline(&mut self, value: &str) {
        let Some((number, time)) = value.split_once(' ') else {
            return;
        };
        let index = number.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        if let Some(own) = index.and_then(|index| self.targets_own.get_mut(index)) {
            *own = words::seconds(time).map(Duration::from_secs);
        }
    }

    /// The own deadline of a target.
    pub(super) fn target_deadline(&self, target: u8) -> Option<Duration> {
        let index = usize::from(target).checked_sub(1)?;
        self.targets_own.get(index).copied().flatten()
    }

    /// What is kept back of the deadline.
    pub(super) fn reserve(&self) -> Duration {
        RESERVE.min(self.deadline / 4)
    }

    /// How long a step may take, `left` being what is left of the whole, `own` what is left of its target's own time;
    /// `done`: some target has the dump.
    pub(super) fn limits(
        &self,
        step: Step,
        left: Duration,
        own: Option<Duration>,
        done: bool,
    ) -> Limits {
        let rest = left;
        let left = left
            .saturating_sub(self.reserve())
            .min(own.unwrap_or(Duration::MAX))
            .max(Duration::from_secs(1));
        let (deadline, stall) = match step {
            Step::Config { .. } => (SHORT.min(left), None),
            Step::Modules => (
                self.module_timeout
                    .saturating_mul(self.modules)
                    .saturating_add(SHORT)
                    .min(left),
                None,
            ),
            Step::Network(_) | Step::Mount(_) if done => {
                (self.device_timeout.saturating_add(LOG).min(left), None)
            }
            // Devices, carrier and addresses have it each.
            Step::Network(_) => (
                self.network_timeout
                    .saturating_mul(3)
                    .saturating_add(SHORT)
                    .min(left),
                None,
            ),
            Step::Mount(_) => (
                self.device_timeout
                    .saturating_add(Duration::from_secs(60))
                    .min(left),
                None,
            ),
            Step::Capture { how: How::Log, .. } => (LOG.min(left), None),
            Step::Capture { .. } => (left, Some(self.stall)),
            // Half is for what comes after it.
            Step::Tail => ((rest / 2).clamp(Duration::from_secs(1), SHORT), None),
            Step::Report { .. } => ((rest / 2).clamp(LEAST, SHORT), None),
            Step::Finish => (rest.clamp(LEAST, SHORT), None),
        };
        Limits { deadline, stall }
    }
}

/// The targets of a list with commas.
fn each(list: &str) -> impl Iterator<Item = &str> {
    let targets = list.split(',').filter(|target| !target.is_empty());
    targets.take(MAX_TARGETS)
}

/// Those of them that need the network, as far as their schemes say.
fn network(list: &str) -> u16 {
    let servers = |target: &str| target.contains("://");
    each(list)
        .zip(1..)
        .filter(|(target, _)| servers(target))
        .fold(0, |mask, (_, number)| mask | 1 << number)
}

fn u8_of(n: usize) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::child::GRACE;
    use super::super::ladder::{Ended, State, next};
    use super::*;
    use crate::report::Status;

    #[test]
    fn the_plan_without_a_config_step() {
        let plan = Plan::fallback("baredump.final_action=halt baredump.deadline=90s");
        assert_eq!(
            (plan.final_action, plan.deadline.as_secs()),
            (FinalAction::Halt, 90)
        );
        let plan = Plan::fallback("baredump.final_action=dance baredump.deadline=soon");
        assert_eq!(
            (plan.final_action, plan.deadline.as_secs()),
            (FinalAction::Reboot, 1800)
        );
    }

    #[test]
    fn the_words_name_targets_and_times() {
        let plan = Plan::fallback(
            "baredump.targets=file:/dev/vda:/a,,file:/dev/vdb:/ baredump.stall=9 baredump.device_timeout=1m",
        );
        assert_eq!(
            (plan.targets, plan.stall, plan.device_timeout),
            (2, Duration::from_secs(9), Duration::from_secs(60))
        );
        assert_eq!(Plan::fallback("baredump.targets=").targets, 0);
        let many = format!("baredump.targets={}", "x,".repeat(300));
        assert_eq!(usize::from(Plan::fallback(&many).targets), MAX_TARGETS);
    }

    #[test]
    fn a_target_has_its_own_time_and_no_more() {
        let mut plan = Plan::fallback(
            "baredump.targets=nfs://a/x,file:/dev/vda:/,sftp://u@h/d baredump.network_timeout=5",
        );
        assert_eq!(plan.network, 0b1010);
        plan.set("target_deadline", "1 90");
        for bad in ["", "1", "0 5", "9 5", "x 5"] {
            plan.set("target_deadline", bad);
        }
        assert_eq!(plan.target_deadline(1), Some(Duration::from_secs(90)));
        assert_eq!(
            (plan.target_deadline(0), plan.target_deadline(2)),
            (None, None)
        );
        let capture = Step::Capture {
            target: 1,
            how: How::Whole,
        };
        let limit = |own| {
            let left = Duration::from_secs(600);
            plan.limits(capture, left, own, false).deadline
        };
        assert_eq!(limit(Some(Duration::from_secs(90))).as_secs(), 90);
        assert_eq!(
            (limit(None).as_secs(), limit(Some(Duration::ZERO)).as_secs()),
            (585, 1)
        );
        let network = plan.limits(Step::Network(1), Duration::from_secs(600), None, false);
        assert_eq!(network.deadline.as_secs(), 35);
    }

    #[test]
    fn garbage_in_a_plan_changes_nothing() {
        let mut plan = Plan::fallback("");
        let before = plan.clone();
        for (key, value) in [
            ("targets", "-1"),
            ("deadline", "x"),
            ("final_action", ""),
            ("colour", "red"),
            ("targets", "999"),
        ] {
            plan.set(key, value);
        }
        assert_eq!(plan, before);
        plan.set("targets", "2");
        assert_eq!(plan.targets, 2);
    }

    #[test]
    fn no_step_outlives_the_whole() {
        let mut plan = Plan::fallback("baredump.deadline=100s");
        plan.modules = u32::MAX;
        let left = Duration::from_secs(50);
        for step in [
            Step::Config { again: true },
            Step::Modules,
            Step::Mount(1),
            Step::Capture {
                target: 1,
                how: How::Whole,
            },
        ] {
            assert!(
                plan.limits(step, left, None, false).deadline <= Duration::from_secs(35),
                "{step:?}"
            );
            assert_eq!(
                plan.limits(step, Duration::ZERO, None, false).deadline,
                Duration::from_secs(1)
            );
        }
    }

    #[test]
    fn the_report_and_the_end_share_what_is_left() {
        let plan = Plan::fallback("");
        let limit = |step, left| {
            let left = Duration::from_secs(left);
            plan.limits(step, left, None, false).deadline
        };
        let report = Step::Report {
            target: 1,
            again: false,
        };
        assert_eq!(limit(report, 600), SHORT);
        assert_eq!(limit(Step::Finish, 600), SHORT);
        assert_eq!(limit(report, 14), Duration::from_secs(7));
        assert_eq!(limit(Step::Finish, 7), Duration::from_secs(7));
        assert_eq!((limit(report, 0), limit(Step::Finish, 0)), (LEAST, LEAST));
    }

    /// A second target must not keep a machine down whose dump is complete.
    #[test]
    fn a_log_for_one_more_target_has_little_time() {
        let plan = Plan::fallback("");
        let limit = |step| {
            let left = Duration::from_secs(1700);
            plan.limits(step, left, None, true)
        };
        let log = limit(Step::Capture {
            target: 2,
            how: How::Log,
        });
        assert_eq!(log.deadline, Duration::from_secs(20));
        for step in [Step::Network(2), Step::Mount(2)] {
            assert_eq!(limit(step).deadline, Duration::from_secs(50), "{step:?}");
        }
        let capture = Step::Capture {
            target: 2,
            how: How::Whole,
        };
        assert_eq!(limit(capture).deadline, Duration::from_secs(1685));
    }

    /// When the last step ends at the latest, `now` being when `step` starts.
    fn latest(plan: &Plan, best: Status, step: Step, now: Duration) -> Duration {
        let limit = plan
            .limits(step, plan.deadline.saturating_sub(now), None, false)
            .deadline;
        let ends = [
            (Ended::Ok, Duration::ZERO),
            (Ended::Died, limit),
            (Ended::Hung, limit + GRACE),
        ];
        let after = ends.map(|(ended, took)| {
            let now = now + took;
            let state = State {
                targets: plan.targets,
                network: plan.network,
                log_to_all: plan.log_to_all,
                best,
                late: false,
                expired: now + plan.reserve() >= plan.deadline,
                over: now >= plan.deadline,
            };
            next(step, ended, state).map_or(now, |step| latest(plan, best, step, now))
        });
        after.into_iter().max().unwrap_or(now)
    }

    #[test]
    fn the_final_action_comes_soon_after_the_deadline() {
        for (deadline, bound) in [(1, 17), (10, 17), (60, 7), (1800, 7)] {
            let mut plan = Plan::fallback("");
            (plan.deadline, plan.targets) = (Duration::from_secs(deadline), 2);
            let last = plan.deadline - plan.reserve() - Duration::from_millis(1);
            for step in [
                Step::Modules,
                Step::Mount(1),
                Step::Capture {
                    target: 1,
                    how: How::Whole,
                },
                Step::Report {
                    target: 1,
                    again: false,
                },
            ] {
                for best in [Status::Started, Status::Partial] {
                    let over = latest(&plan, best, step, last).saturating_sub(plan.deadline);
                    assert!(
                        over <= Duration::from_secs(bound),
                        "{step:?} {deadline} {best:?}: {over:?}"
                    );
                }
            }
        }
    }
}
