//! Sessions of `crash` and drgn on one dump, with the matching debug kernel: `test --full`.

use crate::apt::Apt;
use crate::build::Binaries;
use crate::fetch::{self, MAIN_SERIES};
use crate::guest::{self, Guest, Run};
use crate::lab::{Lab, say, step};
use crate::vm::{self, Row};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use xshell::Shell;

/// What a drgn session does: the task list, and the stack of the task that panicked.
const DRGN: &str = r#"
from drgn.helpers.linux.pid import for_each_task
tasks = list(for_each_task(prog))
print("tasks:", len(tasks))
for task in tasks:
    print(task.pid.value_(), task.comm.string_().decode())
thread = prog.crashed_thread()
print("panicking task:", thread.tid, thread.object.comm.string_().decode())
print(thread.stack_trace())
"#;

/// The sessions, a row each; every output is shown.
pub(crate) fn rows(sh: &Shell, lab: &Lab, binaries: &Binaries) -> Vec<Row> {
    step("sessions with the debug kernel");
    let start = Instant::now();
    let prepared = prepare(lab, binaries);
    let seconds = start.elapsed().as_secs_f64();
    let (vmlinux, dump, run) = match prepared {
        Ok(parts) => parts,
        Err(error) => {
            return vec![Row {
                name: "debug-kernel".into(),
                seconds,
                verdict: Err(error),
                repeated: false,
            }];
        }
    };
    let vmcore = dump.join("vmcore");
    let timed = |name: &str, session: &dyn Fn() -> Result<String>| {
        let start = Instant::now();
        let verdict = session();
        Row {
            name: name.to_owned(),
            seconds: start.elapsed().as_secs_f64(),
            verdict,
            repeated: false,
        }
    };
    vec![
        timed("crash-session", &|| crash(&vmlinux, &vmcore, &run)),
        timed("drgn-session", &|| drgn(sh, lab, &vmlinux, &vmcore)),
    ]
}

/// Fetches the debug kernel and makes a dump with exactly that kernel.
fn prepare(lab: &Lab, binaries: &Binaries) -> Result<(PathBuf, PathBuf, Run)> {
    let apt = Apt::open(lab)?;
    let (kernel, vmlinux) = fetch::debug_kernel(&apt, MAIN_SERIES)?;
    let accel = qemu::accel::choose(&kernel.vmlinuz, &kernel.release, &lab.dir("accel")?, &say)?;
    let mut run = guest::run(
        &Guest::default(),
        &kernel,
        binaries,
        accel,
        &lab.fresh("runs/full")?,
        &mut |_| {},
    )?;
    if run.outcome.repeatable() {
        run = guest::run(
            &Guest::default(),
            &kernel,
            binaries,
            accel,
            &lab.fresh("runs/full")?,
            &mut |_| {},
        )?;
    }
    vm::finished(&run)?;
    let dump = vm::only_dump(&run)?;
    run.forget_disk();
    Ok((vmlinux, dump, run))
}

/// Every command must answer; the user address is the one that the panicking task said.
fn crash(vmlinux: &Path, vmcore: &Path, run: &Run) -> Result<String> {
    let said = run
        .lines
        .iter()
        .find_map(|line| line.text.split_once("guest: panic task pid "));
    let (_, words) = said.context("the guest did not name its panicking task")?;
    let address = words
        .split_whitespace()
        .skip_while(|word| *word != "uaddr")
        .nth(1)
        .context("the guest named no user address")?;
    let commands = [
        "sys",
        "bt",
        "log",
        "ps",
        "mod",
        "kmem -i",
        "vtop init_task",
        &format!("vtop -u {address}"),
        "quit",
    ]
    .join("\n");
    let script = run.dir.join("crash.commands");
    fs::write(&script, format!("set scroll off\n{commands}\n"))
        .context("cannot write the commands for crash")?;
    let out = qemu::run_tool(
        Command::new("crash")
            .args(["-s", "-i"])
            .arg(&script)
            .arg(vmlinux)
            .arg(vmcore),
        &[0],
    )?;
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    println!("{text}");
    let wanted = [
        "PANIC: ",
        "sysrq_handle_crash",
        guest::PANIC,
        "virtio_blk",
        "TOTAL MEM",
        "PHYSICAL",
        "PAGE",
    ];
    demand(&text, &wanted)?;
    for bad in [
        "crash: cannot",
        "invalid kernel virtual address",
        "WARNING: cannot",
    ] {
        if let Some(line) = text.lines().find(|line| line.contains(bad)) {
            bail!("crash complains: {line}");
        }
    }
    Ok(format!("{} lines", text.lines().count()))
}

fn drgn(sh: &Shell, lab: &Lab, vmlinux: &Path, vmcore: &Path) -> Result<String> {
    let program = fetch::drgn(sh, lab)?;
    let script = vmcore.with_file_name("session.py");
    fs::write(&script, DRGN).context("cannot write the script for drgn")?;
    let out = qemu::run_tool(
        Command::new(program)
            .arg("-q")
            .arg("-c")
            .arg(vmcore)
            .arg("-s")
            .arg(vmlinux)
            .arg(&script),
        &[0],
    )?;
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    println!("{text}");
    demand(
        &text,
        &["panicking task:", "sysrq_handle_crash", "kthreadd"],
    )?;
    Ok(text
        .lines()
        .find(|line| line.starts_with("panicking task:"))
        .unwrap_or_default()
        .to_owned())
}

/// All of these words are in an output.
fn demand(text: &str, words: &[&str]) -> Result<()> {
    match words.iter().find(|word| !text.contains(**word)) {
        Some(word) => bail!("the output holds no `{word}`"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_word_is_named() {
        assert!(demand("a b c", &["a", "c"]).is_ok());
        assert!(
            demand("a b c", &["a", "d"])
                .unwrap_err()
                .to_string()
                .contains("`d`")
        );
    }
}
