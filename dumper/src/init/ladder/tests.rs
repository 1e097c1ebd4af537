//! Tests of `ladder`.

use super::*;

const TWO: State = State {
    targets: 2,
    network: 0,
    log_to_all: false,
    best: Status::Started,
    late: false,
    expired: false,
    over: false,
};
const FIRST: Step = Step::Config { again: false };
const ALL: [Ended; 6] = [
    Ended::Ok,
    Ended::Partial,
    Ended::Failed,
    Ended::Died,
    Ended::Hung,
    Ended::Immortal,
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

/// It waits for its device; another step would wait beside it, and the next target starve.
#[test]
fn where_a_capture_cannot_be_killed_nothing_else_is_tried() {
    let capture = |target, how| Step::Capture { target, how };
    let report = |target| Step::Report {
        target,
        again: false,
    };
    for how in [How::Whole, How::Careful] {
        let after = |target, state| next(capture(target, how), Ended::Immortal, state);
        assert_eq!(after(1, TWO), Some(Step::Mount(2)), "{how:?}");
        // There is no other place for a report: the device may answer again.
        assert_eq!(after(2, TWO), Some(report(2)), "{how:?}");
        let complete = State {
            best: Status::Complete,
            ..TWO
        };
        assert_eq!(after(1, complete), Some(Step::Finish), "{how:?}");
        let expired = State {
            expired: true,
            ..TWO
        };
        assert_eq!(after(1, expired), Some(Step::Tail), "{how:?}");
    }
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
        assert_eq!(next(step, ended, none), Some(Step::Tail));
    }
    assert_eq!(next(FIRST, Ended::Ok, none), Some(Step::Modules));
}

#[test]
fn a_report_that_died_is_repeated_and_one_that_hung_is_not() {
    let report = |again| Step::Report { target: 2, again };
    assert_eq!(next(report(false), Ended::Died, TWO), Some(report(true)));
    assert_eq!(next(report(false), Ended::Hung, TWO), Some(Step::Tail));
    assert_eq!(next(report(true), Ended::Died, TWO), Some(Step::Tail));
}

#[test]
fn the_network_comes_first_where_it_is_needed() {
    use Step::{Capture, Finish, Modules, Mount, Network, Report, Tail};
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
        [Modules, Network(1), Network(2), Tail, Finish]
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
        Some(Step::Tail)
    );
    assert_eq!(next(Step::Modules, Ended::Hung, late), Some(Step::Tail));
    let over = State { over: true, ..late };
    assert_eq!(next(Step::Modules, Ended::Hung, over), Some(Step::Finish));
}

#[test]
fn the_console_is_the_last_that_is_told() {
    for (best, tells) in [
        (Status::Started, true),
        (Status::Failed, true),
        (Status::Partial, false),
        (Status::Complete, false),
    ] {
        let state = State { best, ..TWO };
        let steps = way(state, |step| match step {
            Step::Report { .. } | Step::Finish => Ended::Ok,
            _ => Ended::Failed,
        });
        assert_eq!(steps.contains(&Step::Tail), tells, "{best:?}");
    }
    assert_eq!(next(Step::Tail, Ended::Hung, TWO), Some(Step::Finish));
}

#[test]
fn a_target_whose_time_is_over_is_not_tried_again() {
    let capture = |how| Step::Capture { target: 1, how };
    let late = State { late: true, ..TWO };
    let report = Step::Report {
        target: 1,
        again: false,
    };
    assert_eq!(next(capture(How::Whole), Ended::Hung, late), Some(report));
    assert_eq!(
        next(capture(How::Whole), Ended::Hung, TWO),
        Some(capture(How::Careful))
    );
}
