//! Sessions of `crash` and drgn on one dump, with the matching debug kernel: `test --full`.

use crate::apt::Apt;
use crate::build::Binaries;
use crate::fetch::{self, Kernel, MAIN_SERIES, Packaged};
use crate::guest::{self, Guest, Run};
use crate::kdump_tools;
use crate::lab::{Lab, step};
use crate::vm::{self, Row};
use anyhow::{Context, Result, bail};
use qemu::Accel;
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
    let mut repeated = false;
    let prepared = prepare(lab, binaries, &mut repeated);
    let seconds = start.elapsed().as_secs_f64();
    let row = |verdict| Row {
        name: "debug-kernel".into(),
        seconds,
        verdict,
        repeated,
    };
    let Prepared {
        apt,
        kernel,
        accel,
        program,
        vmlinux,
        dump,
        run,
    } = match prepared {
        Ok(parts) => parts,
        Err(error) => return vec![row(Err(error))],
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
        row(Ok(format!("dump in {}", dump.display()))),
        timed("crash-session", &|| {
            crash(&program, &vmlinux, &vmcore, &run)
        }),
        timed("drgn-session", &|| drgn(sh, lab, &vmlinux, &vmcore)),
        timed("kdump-tools", &|| {
            let saved = kdump_tools::capture(lab, &apt, binaries, &kernel, accel)?;
            kdump_tools::judge(&saved, binaries, &program, &vmlinux)
        }),
    ]
}

/// What the sessions work on.
struct Prepared {
    apt: Apt,
    kernel: Kernel,
    accel: Accel,
    program: Packaged,
    vmlinux: PathBuf,
    dump: PathBuf,
    run: Run,
}

/// Fetches the debug kernel and makes a dump with exactly that kernel.
fn prepare(lab: &Lab, binaries: &Binaries, repeated: &mut bool) -> Result<Prepared> {
    let apt = Apt::open(lab)?;
    let program = fetch::crash(&apt)?;
    let (kernel, vmlinux) = fetch::debug_kernel(&apt, MAIN_SERIES)?;
    let accel = kernel.accel(lab)?;
    let attempt = || {
        guest::run(
            &Guest::default(),
            &kernel,
            binaries,
            accel,
            &lab.fresh("runs/full")?,
            &mut |_| {},
        )
    };
    let mut run = attempt()?;
    if run.outcome.repeatable() {
        *repeated = true;
        run = attempt()?;
    }
    vm::finished(&run)?;
    let dump = vm::only_dump(&run)?;
    run.forget_disk();
    Ok(Prepared {
        apt,
        kernel,
        accel,
        program,
        vmlinux,
        dump,
        run,
    })
}

/// Every command must answer; the user address is the one that the panicking task said, the kernel address that of `init_task`.
fn crash(program: &Packaged, vmlinux: &Path, vmcore: &Path, run: &Run) -> Result<String> {
    let said = run
        .lines
        .iter()
        .find_map(|line| line.text.split_once("guest: panic task pid "));
    let (_, words) = said.context("the guest did not name its panicking task")?;
    let user = words
        .split_whitespace()
        .skip_while(|word| *word != "uaddr")
        .nth(1)
        .context("the guest named no user address")?;
    let user = user.trim_start_matches("0x");
    let session = |commands: &[&str]| -> Result<String> {
        let script = run.dir.join("crash.commands");
        fs::write(
            &script,
            format!("set scroll off\n{}\nquit\n", commands.join("\n")),
        )
        .context("cannot write the commands for crash")?;
        let out = qemu::run_tool(
            program
                .command()?
                .args(["-s", "-i"])
                .arg(&script)
                .arg(vmlinux)
                .arg(vmcore),
            &[0],
        )?;
        Ok(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let symbol = session(&["sym init_task"])?;
    let kernel = symbol
        .lines()
        .find(|line| line.ends_with(" init_task"))
        .and_then(|line| line.split_whitespace().next());
    let kernel = kernel.with_context(|| format!("`sym init_task` gives no address: {symbol}"))?;
    let text = session(&[
        "sys",
        "bt",
        "log",
        "ps",
        "mod",
        "kmem -i",
        &format!("vtop {kernel}"),
        &format!("vtop -u {user}"),
    ])?;
    println!("{text}");
    if let Some(line) = complaint(&text) {
        bail!("crash complains: {line}");
    }
    demand(
        &text,
        &[
            "PANIC: ",
            "sysrq_handle_crash",
            guest::PANIC,
            "virtio_blk",
            "TOTAL MEM",
            "COMMAND: \"sentinel\"",
        ],
    )?;
    let (kernel_at, user_at) = (translated(&text, kernel)?, translated(&text, user)?);
    Ok(format!(
        "{} lines; init_task at physical {kernel_at}, the user page at {user_at}",
        text.lines().count()
    ))
}

/// A line with which crash says that a command failed or that the dump is not right; crash ends with 0 all the same. Lines of the dead
/// kernel's log begin with a time stamp and are not its own.
fn complaint(text: &str) -> Option<&str> {
    let starts = [
        "crash: ",
        "WARNING: ",
        "sys: ",
        "bt: ",
        "log: ",
        "ps: ",
        "mod: ",
        "kmem: ",
        "vtop: ",
        "sym: ",
    ];
    text.lines().find(|line| {
        starts.iter().any(|start| line.starts_with(start)) || line.contains("] error trace: ")
    })
}

/// The physical address that `vtop` gives for a virtual one.
fn translated<'a>(text: &'a str, address: &str) -> Result<&'a str> {
    let mut pairs = text
        .lines()
        .filter_map(|line| line.strip_prefix(address))
        .map(str::trim);
    let physical =
        pairs.find(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_hexdigit()));
    physical.with_context(|| format!("vtop does not translate {address}"))
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
    fn what_crash_complains_about() {
        assert_eq!(
            complaint("a\nvtop: invalid structure member offset: mm_struct_mmap\n"),
            Some("vtop: invalid structure member offset: mm_struct_mmap")
        );
        assert!(complaint("WARNING: active task ff28 on cpu 0 not found in PID hash").is_some());
        assert!(complaint("[/usr/bin/crash] error trace: 5580 => 5581").is_some());
        assert_eq!(
            complaint("[    0.8] iommu: invalidation policy\n[    0.9] WARNING: CPU: 0"),
            None
        );
    }

    #[test]
    fn a_heading_is_no_translation() {
        let text = "VIRTUAL     PHYSICAL\n5ea100000000  60a4000\n";
        assert_eq!(translated(text, "5ea100000000").unwrap(), "60a4000");
        assert!(translated("VIRTUAL     PHYSICAL\n5ea100000000\n", "5ea100000000").is_err());
    }

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
