//! Encryption does not hang on a step that may die: the image says itself to whom everything is sealed.

use super::net::recipient;
use super::{Bench, Scenario, Servers, all_good_as, finished, only_dump};
use crate::check::Form;
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, LABEL, PANIC, Run};
use anyhow::{Result, bail, ensure};
use std::path::Path;

pub(super) fn scenarios() -> Vec<Scenario> {
    let dead = || Guest {
        memory: 768,
        words: "guest.workload=0 guest.disk=none".into(),
        capture_words: vec!["baredump.fault=config:kill!".into()],
        ..Guest::default()
    };
    let mut named = dead();
    let target = format!("baredump.targets=file:LABEL={LABEL}:/var/crash");
    named.capture_words.push(target);
    let scenario = |name, guest, judge| Scenario {
        name,
        series: MAIN_SERIES,
        guest,
        setup: Some(Box::new(set_up)),
        judge,
    };
    vec![
        scenario("sealed-console", dead(), silent),
        scenario("sealed-words", named, encrypted),
    ]
}

fn set_up(_: &Bench<'_>, dir: &Path, guest: &mut Guest) -> Result<Servers> {
    let recipient = recipient(&dir.join("identity"))?;
    let line = format!("recipients = [\"{recipient}\"]\n");
    guest.config.push_str(&line);
    Ok(Servers::new())
}

/// No target, and nothing of the log on the console.
fn silent(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    ensure!(run.dumps()?.is_empty(), "a dump, and no target was known");
    no_log(run)?;
    Ok("nothing in clear on the console".into())
}

/// The words name a target, and the dump there is encrypted like its log.
fn encrypted(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    let form = Form::Sealed(run.dir.join("identity"));
    all_good_as(bench, &dump, kernel, &form)?;
    no_log(run)?;
    Ok("encrypted to the recipients of the image".into())
}

/// The capture said what kind of panic it was, and nothing that the log alone knows.
fn no_log(run: &Run) -> Result<()> {
    let begin = |line: &qemu::Line| line.text.contains("Linux version ");
    let from = run.lines.iter().rposition(begin).unwrap_or(0);
    let said = run.lines.get(from..).unwrap_or_default();
    let has = |word: &str| said.iter().any(|line| line.text.contains(word));
    ensure!(has("panic asked for by sysrq"), "no word of the panic");
    for word in [PANIC, "log's tail"] {
        if has(word) {
            bail!("the console has `{word}`");
        }
    }
    Ok(())
}
