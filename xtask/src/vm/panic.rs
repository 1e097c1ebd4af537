//! Panics of every kernel series, each captured whole and judged by everyone.

use super::{Bench, Scenario, all_good, finished, only_dump};
use crate::check::{absent, read_report};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, Run};
use crate::timeline;
use anyhow::{Context, Result, bail};
use std::fs;

/// Largest capture image, compressed, that the project promises.
const IMAGE_MAX: u64 = 3_000_000;

/// The panic matrix, slowest first.
pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |name, series, guest| Scenario {
        name,
        series,
        guest,
        setup: None,
        judge,
    };
    let numa = Guest {
        cpus: 4,
        nodes: 2,
        words: "nokaslr no5lvl".into(),
        ..Guest::default()
    };
    let oops = Scenario {
        judge: named,
        ..scenario(
            "panic-oops",
            MAIN_SERIES,
            Guest {
                memory: 768,
                oopses: Some("virtio_console"),
                words: "guest.workload=0".into(),
                ..Guest::default()
            },
        )
    };
    vec![
        oops,
        scenario("panic-numa-4-level", MAIN_SERIES, numa),
        scenario("panic-7", "7.", Guest::default()),
        scenario("panic-arm64", "arm64-6.12.", Guest::default()),
        scenario("panic-6.12", "6.12.", Guest::default()),
        scenario("panic-6.1", "6.1.", Guest::default()),
        scenario("panic-5.10", "5.10.", Guest::default()),
    ]
}

/// An oops that kexecs before any "Kernel panic" is logged: the report names it, and who it was.
fn named(bench: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    let verified = bench.judges.verify(&dump.join("vmcore"))?;
    let report = read_report(&dump)?;
    let text = |key: &str| {
        let value = report.pointer(key).and_then(serde_json::Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let (line, comm) = (text("/panic_line"), text("/panic_place/comm"));
    if !line.contains("invalid opcode") || comm != "sentinel" {
        bail!("the report says `{line}` of `{comm}`: {report}");
    }
    Ok(format!("{line}; {verified}"))
}

/// A complete dump that passes every judge.
fn judge(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    all_good(bench, &dump, kernel)?;
    let image = fs::metadata(run.dir.join("capture.img"))
        .context("cannot find the capture image")?
        .len();
    if image > IMAGE_MAX {
        bail!("the capture image has {image} bytes, promised are at most {IMAGE_MAX}");
    }
    let report = read_report(&dump)?;
    let kept = report
        .pointer("/pages/kept")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or_default();
    let bytes = report
        .pointer("/bytes")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or_default();
    let took = timeline::total(&timeline::moments(&run.lines))
        .map_or("?".into(), |time| format!("{:.1}", time.as_secs_f64()));
    Ok(format!(
        "{}: {kept} pages in {bytes} bytes, panic to reset {took} s{}",
        kernel.release,
        absent(kernel).map_or(String::new(), |who| format!("; {who}"))
    ))
}
