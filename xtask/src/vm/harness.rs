//! The harness itself: a guest that dies before it was asked to must not be taken for a failed capture.

use super::{Bench, Scenario};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, Run};
use anyhow::{Result, bail};
use qemu::Outcome;

pub(super) fn scenarios() -> Vec<Scenario> {
    let guest = Guest {
        memory: 768,
        words: "rdinit=/none init=/none".into(),
        ..Guest::default()
    };
    vec![Scenario {
        name: "harness-early-death",
        series: MAIN_SERIES,
        guest,
        setup: None,
        judge,
    }]
}

/// A production kernel without an init panics, which nobody asked for.
fn judge(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    match &run.outcome {
        Outcome::DiedEarly(line) => Ok(format!("recognised: {line}")),
        other => bail!("taken for: {other}"),
    }
}
