//! What PID 1 needs to know of the configuration, in fixed memory.

use super::child::Limits;
use super::ladder::Step;
use crate::config::{FinalAction, words};
use std::time::Duration;

/// Kept back of the overall deadline for the report and the final action.
const RESERVE: Duration = Duration::from_secs(15);
/// The most that any step gets without a time of its own.
const SHORT: Duration = Duration::from_secs(20);
/// What the report and the final step get even when nothing is left.
///
/// So the final action comes at most 20 s after the deadline: at worst the step before has a second and the grace of a kill (3 s),
/// a report dies at its end (3 s), its repetition and the final step hang and are killed (5 s each), and PID 1 looks away for a
/// tick at each. A deadline shorter than the config step took counts from the end of that step.
const LEAST: Duration = Duration::from_secs(3);

/// A guess at the number of modules for the case that the config step does not count them.
const MODULES: u32 = 16;
/// The targets that are tried at most.
const MAX_TARGETS: usize = 8;

/// What the config step says, with what the command line says until it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) targets: u8,
    pub(super) modules: u32,
    pub(super) final_action: FinalAction,
    pub(super) deadline: Duration,
    pub(super) stall: Duration,
    pub(super) device_timeout: Duration,
    pub(super) module_timeout: Duration,
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
            targets: words::value(cmdline, "targets").map_or(0, count),
            modules: MODULES,
            final_action: words::value(cmdline, "final_action")
                .and_then(FinalAction::parse)
                .unwrap_or_default(),
            deadline: Duration::from_secs(time("deadline", 30 * 60)),
            stall: Duration::from_secs(time("stall", 120)),
            device_timeout: Duration::from_secs(time("device_timeout", 30)),
            module_timeout: Duration::from_secs(time("module_timeout", 30)),
        }
    }

    pub(super) fn set(&mut self, key: &str, value: &str) {
        let seconds = words::seconds(value).map(Duration::from_secs);
        match key {
            "targets" => self.targets = value.parse().unwrap_or(self.targets),
            "modules" => self.modules = value.parse().unwrap_or(self.modules),
            "final_action" => {
                self.final_action = FinalAction::parse(value).unwrap_or(self.final_action)
            }
            "deadline" => self.deadline = seconds.unwrap_or(self.deadline),
            "stall" => self.stall = seconds.unwrap_or(self.stall),
            "device_timeout" => self.device_timeout = seconds.unwrap_or(self.device_timeout),
            "module_timeout" => self.module_timeout = seconds.unwrap_or(self.module_timeout),
            _ => {}
        }
    }

    /// What is kept back of the deadline.
    pub(super) fn reserve(&self) -> Duration {
        RESERVE.min(self.deadline / 4)
    }

    /// How long a step may take, `left` being what is left of the whole.
    pub(super) fn limits(&self, step: Step, left: Duration) -> Limits {
        let rest = left;
        let left = left
            .saturating_sub(self.reserve())
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
            Step::Mount(_) => (
                self.device_timeout
                    .saturating_add(Duration::from_secs(60))
                    .min(left),
                None,
            ),
            Step::Capture { .. } => (left, Some(self.stall)),
            // Half is for what comes after it.
            Step::Report { .. } => ((rest / 2).clamp(LEAST, SHORT), None),
            Step::Finish => (rest.clamp(LEAST, SHORT), None),
        };
        Limits { deadline, stall }
    }
}

/// How many targets a list with commas has.
fn count(list: &str) -> u8 {
    let targets = list.split(',').filter(|target| !target.is_empty());
    u8::try_from(targets.take(MAX_TARGETS).count()).unwrap_or(0)
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
                careful: false,
            },
        ] {
            assert!(
                plan.limits(step, left).deadline <= Duration::from_secs(35),
                "{step:?}"
            );
            assert_eq!(
                plan.limits(step, Duration::ZERO).deadline,
                Duration::from_secs(1)
            );
        }
    }

    #[test]
    fn the_report_and_the_end_share_what_is_left() {
        let plan = Plan::fallback("");
        let limit = |step, left| plan.limits(step, Duration::from_secs(left)).deadline;
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

    /// When the last step ends at the latest, `now` being when `step` starts.
    fn latest(plan: &Plan, step: Step, now: Duration) -> Duration {
        let limit = plan
            .limits(step, plan.deadline.saturating_sub(now))
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
                best: Status::Partial,
                expired: now + plan.reserve() >= plan.deadline,
            };
            next(step, ended, state).map_or(now, |step| latest(plan, step, now))
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
                    careful: false,
                },
                Step::Report {
                    target: 1,
                    again: false,
                },
            ] {
                let over = latest(&plan, step, last).saturating_sub(plan.deadline);
                assert!(
                    over <= Duration::from_secs(bound),
                    "{step:?} {deadline}: {over:?}"
                );
            }
        }
    }
}
