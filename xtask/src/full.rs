//! Sessions of `crash` and drgn on one dump, with the matching debug kernel: `test --full`.

use crate::apt::Apt;
use crate::build::Binaries;
use crate::check::Judges;
use crate::crash;
use crate::fetch::{self, ARM64_SERIES, Kernel, MAIN_SERIES, Packaged};
use crate::guest::{self, Guest, Run};
use crate::kdump_tools;
use crate::lab::{Lab, say, step};
use crate::readers::{self, Readers};
use crate::vm::{self, Row};
use anyhow::{Context, Result, bail, ensure};
use qemu::outcome::ATTEMPTS;
use qemu::{Accel, Arch};
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use xshell::Shell;

/// Deadline of the guest whose dump is read.
const LIMIT: Duration = Duration::from_secs(400);
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

/// The guests of which dumps are made. Readers know arm64 with 48-bit addresses only.
const SUBJECTS: &[(Arch, &str, Option<&str>)] = &[
    (Arch::X86, MAIN_SERIES, None),
    (Arch::Arm64, ARM64_SERIES, Some("neoverse-n1")),
];
/// The rows of this file, all of the first architecture.
const CRASH_ROW: &str = "crash-session";
const DRGN_ROW: &str = "drgn-session";
const KDUMP_TOOLS_ROW: &str = "kdump-tools";

/// The names of all rows that can be chosen.
pub(crate) fn names() -> Vec<String> {
    let here = [CRASH_ROW, DRGN_ROW, KDUMP_TOOLS_ROW];
    let readers = SUBJECTS
        .iter()
        .flat_map(|subject| readers::names(subject.0));
    here.map(str::to_owned).into_iter().chain(readers).collect()
}

/// The wanted sessions, a row each; what is needed for none of them is not made.
pub(crate) fn rows(
    sh: &Shell,
    lab: &Lab,
    judges: &Judges,
    wanted: &dyn Fn(&str) -> bool,
) -> Vec<Row> {
    step("sessions with the debug kernel");
    let mut rows = Vec::new();
    for &(arch, series, processor) in SUBJECTS {
        let host = arch.is_host();
        let kdump_tools = host && wanted(KDUMP_TOOLS_ROW);
        let sessions = host && (wanted(CRASH_ROW) || wanted(DRGN_ROW));
        let dump = sessions || readers::names(arch).any(|name| wanted(&name));
        if !dump && !kdump_tools {
            continue;
        }
        let mut tools = None;
        rows.push(timed(&format!("debug-kernel-{series}"), || {
            let fetched = Tools::fetch(sh, lab, series)?;
            let fact = fetched.kernel.release.clone();
            tools = Some(fetched);
            Ok(fact)
        }));
        let Some(tools) = tools else { continue };
        if dump {
            rows.extend(of_dump(lab, judges, &tools, processor, wanted));
        }
        if kdump_tools {
            rows.push(timed(KDUMP_TOOLS_ROW, || {
                let binaries = &judges.binaries;
                let saved =
                    kdump_tools::capture(lab, &tools.apt, binaries, &tools.kernel, tools.accel)?;
                kdump_tools::judge(&saved, binaries, &tools.crash, &tools.vmlinux)
            }));
        }
    }
    rows
}

/// The rows for which a dump is made.
fn of_dump(
    lab: &Lab,
    judges: &Judges,
    tools: &Tools,
    processor: Option<&'static str>,
    wanted: &dyn Fn(&str) -> bool,
) -> Vec<Row> {
    let (mut subject, mut repeated) = (None, false);
    let name = format!("dump-{}", tools.kernel.release);
    let mut row = timed(&name, || {
        let made = panic(lab, &judges.binaries, tools, processor, &mut repeated)?;
        let fact = format!("dump in {}", made.0.dir.display());
        subject = Some(made);
        Ok(fact)
    });
    row.repeated = repeated;
    let mut rows = vec![row];
    let Some((run, vmcore)) = subject else {
        return rows;
    };
    let sessions = tools.kernel.arch.is_host();
    if sessions && wanted(CRASH_ROW) {
        let session = || crash::session(&tools.crash, &tools.vmlinux, &vmcore, &run, true);
        rows.push(timed(CRASH_ROW, session));
    }
    if sessions && wanted(DRGN_ROW) {
        rows.push(timed(DRGN_ROW, || {
            let text = drgn(&tools.drgn, &tools.vmlinux, &vmcore)?;
            println!("{text}");
            Ok(panicking(&text))
        }));
    }
    let readers = Readers {
        tools,
        run: &run,
        vmcore: &vmcore,
        judges,
        pages: OnceCell::new(),
    };
    rows.extend(readers.rows(wanted));
    rows
}

/// A row with its time.
pub(crate) fn timed(name: &str, work: impl FnOnce() -> Result<String>) -> Row {
    let start = Instant::now();
    let verdict = work();
    let seconds = start.elapsed().as_secs_f64();
    let said = match &verdict {
        Ok(fact) => format!("ok      {fact}"),
        Err(error) => format!("FAILED  {error:#}"),
    };
    say(&format!("{name:<28} {seconds:>6.1} s  {said}"));
    Row {
        name: name.to_owned(),
        seconds,
        verdict,
        repeated: false,
    }
}

/// A kernel with its debug information, and the programs that read its dumps.
pub(crate) struct Tools {
    apt: Apt,
    pub(crate) kernel: Kernel,
    accel: Accel,
    pub(crate) vmlinux: PathBuf,
    pub(crate) makedumpfile: Packaged,
    /// That of this host's architecture.
    pub(crate) crash: Packaged,
    /// Its program.
    pub(crate) drgn: PathBuf,
}

impl Tools {
    fn fetch(sh: &Shell, lab: &Lab, series: &str) -> Result<Self> {
        let apt = Apt::open(lab)?;
        let (kernel, vmlinux) = fetch::debug_kernel(&apt, series)?;
        Ok(Self {
            accel: kernel.accel(lab)?,
            makedumpfile: match kernel.arch {
                Arch::X86 => fetch::makedumpfile(&apt)?,
                Arch::Arm64 => fetch::makedumpfile_arm64(&apt)?,
            },
            crash: fetch::crash(&apt)?,
            drgn: fetch::drgn(sh, lab)?,
            apt,
            kernel,
            vmlinux,
        })
    }
}

/// Makes a dump with exactly the kernel of the debug information.
fn panic(
    lab: &Lab,
    binaries: &Binaries,
    tools: &Tools,
    processor: Option<&'static str>,
    repeated: &mut bool,
) -> Result<(Run, PathBuf)> {
    let guest = Guest {
        processor,
        limit: LIMIT,
        ..Guest::default()
    };
    let dir = format!("runs/full-{}", tools.kernel.release);
    let attempt = || {
        let dir = lab.fresh(&dir)?;
        guest::run(
            &guest,
            &tools.kernel,
            binaries,
            tools.accel,
            &dir,
            &mut |_| {},
        )
    };
    let mut run = attempt()?;
    for _ in 1..ATTEMPTS {
        if !run.outcome.repeatable() {
            break;
        }
        *repeated = true;
        run = attempt()?;
    }
    vm::finished(&run)?;
    let vmcore = vm::only_dump(&run)?.join("vmcore");
    run.forget_disk();
    // A capture that failed leaves a directory too, with its report.
    ensure!(
        vmcore.exists(),
        "the capture left no dump; see the console in {}",
        run.dir.display()
    );
    Ok((run, vmcore))
}

/// What drgn says in a session, whose needed words are there.
pub(crate) fn drgn(program: &Path, vmlinux: &Path, vmcore: &Path) -> Result<String> {
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
    demand(
        &text,
        &["panicking task:", "sysrq_handle_crash", "kthreadd"],
    )?;
    Ok(text)
}

/// What drgn says of the task that panicked.
pub(crate) fn panicking(text: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.starts_with("panicking task:"));
    line.unwrap_or_default().to_owned()
}

/// All of these words are in an output.
pub(crate) fn demand(text: &str, words: &[&str]) -> Result<()> {
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
