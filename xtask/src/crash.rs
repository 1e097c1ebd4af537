//! A session of crash on a dump, with the kernel's debug information: its whole set of commands.

use crate::fetch::Packaged;
use crate::full::demand;
use crate::guest::{self, Run};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// Every command must answer; the user address is the one that the panicking task said, the kernel address that of `init_task`.
pub(crate) fn session(
    program: &Packaged,
    vmlinux: &Path,
    vmcore: &Path,
    run: &Run,
    show: bool,
) -> Result<String> {
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
    let say = |commands: &[&str]| -> Result<String> {
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
    let symbol = say(&["sym init_task"])?;
    let kernel = symbol
        .lines()
        .find(|line| line.ends_with(" init_task"))
        .and_then(|line| line.split_whitespace().next());
    let kernel = kernel.with_context(|| format!("`sym init_task` gives no address: {symbol}"))?;
    let text = say(&[
        "sys",
        "bt",
        "log",
        "ps",
        "mod",
        "kmem -i",
        &format!("vtop {kernel}"),
        &format!("vtop -u {user}"),
    ])?;
    if show {
        println!("{text}");
    }
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
}
