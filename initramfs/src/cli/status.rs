//! `baredumpctl status`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use initramfs::loader::{self, Status};
use initramfs::memory;
use serde::Serialize;

use super::fit::{self, Fit};
use super::{NOT_ARMED, estimate, private, say};

/// Say whether a capture kernel is loaded, and whether its image still fits this machine
///
/// The targets in the image are looked up anew, and the configuration and the files that it names are compared with those in the image.
/// Exit codes: 0 armed, 3 not armed or with an image that does not fit this machine any more, 1 error, 2 wrong usage.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print JSON: armed, reserved (bytes), loaded (kernel, kernel_release, image, image_bytes, image_crc32, memory (bytes), command_line, presigned (end of pre-signed URLs, seconds since 1970); null when unknown), targets and faults (sentences), panic_on_oops
    #[arg(long)]
    json: bool,
}

/// What is shown.
#[derive(Debug, Default, Serialize)]
struct Report {
    #[serde(flatten)]
    status: Option<Status>,
    /// Where the dumps will be seen.
    targets: Vec<String>,
    /// What is not as it was when the kernel was loaded.
    faults: Vec<String>,
    /// Whether an oops panics; none when the kernel doesn't say.
    panic_on_oops: Option<bool>,
    #[serde(skip)]
    remark: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let report = look(loader::status(Path::new("/"))?);
    if args.json {
        say(&serde_json::to_string_pretty(&report)?);
    } else {
        say(&text(&report));
    }
    let Some(status) = &report.status else {
        return Ok(ExitCode::from(NOT_ARMED));
    };
    let ends = status.loaded.as_ref().and_then(|loaded| loaded.presigned);
    if let Some(ends) = ends.filter(|ends| status.armed && ends.is_near()) {
        eprintln!("baredumpctl: {}", private::expiring(ends));
    }
    Ok(if status.armed && report.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_ARMED)
    })
}

/// Looks at the image that was loaded, and at the machine.
fn look(status: Status) -> Report {
    let mut report = Report {
        panic_on_oops: panic_on_oops(),
        ..Report::default()
    };
    if let Some(record) = &status.loaded {
        match fit::read(&record.image) {
            Err(error) => report.remark = Some(format!("the image was not looked at: {error:#}")),
            Ok(_) if !loader::is_loaded(record) => report.faults.push(format!(
                "{} was built anew after it was loaded: load it with baredumpctl arm",
                record.image.display()
            )),
            Ok((_, archive)) => {
                let fit = Fit::of(&archive);
                if !fit.is_known {
                    report.remark = Some("the image doesn't say what it was made of, so nobody knows whether it still fits".into());
                }
                report.targets = fit.seen.into_iter().map(|seen| seen.line).collect();
                report.faults.extend(fit.faults);
            }
        }
        let memory = memory::changed(Path::new("/"), record.memory);
        let again = |fault| format!("{fault}: baredumpctl arm --again");
        report.faults.extend(memory.map(again));
    }
    report.status = Some(status);
    report
}

fn panic_on_oops() -> Option<bool> {
    let text = std::fs::read_to_string("/proc/sys/kernel/panic_on_oops").ok()?;
    Some(text.trim() != "0")
}

fn text(report: &Report) -> String {
    let Some(status) = &report.status else {
        return String::new();
    };
    let word = match (status.armed, report.faults.is_empty()) {
        (false, _) => "not armed",
        (true, true) => "armed",
        (true, false) => "armed, but the image does not fit this machine any more",
    };
    let mib = status.reserved >> 20;
    let hint = match (status.armed, status.reserved) {
        (false, 0) => format!(
            " (add {} to the kernel command line and reboot)",
            estimate::advice()
        ),
        (false, _) => " (load it with: baredumpctl arm)".to_owned(),
        (true, _) => String::new(),
    };
    let mut text = format!("{word}{hint}\nreserved: {mib} MiB");
    if let Some(loaded) = &status.loaded {
        text += &format!(
            "\nkernel:   {} ({})\nimage:    {} ({} bytes)\ncommand line: {}",
            loaded.kernel.display(),
            loaded.kernel_release,
            loaded.image.display(),
            loaded.image_bytes,
            loaded.command_line
        );
        if let Some(ends) = loaded.presigned {
            text += &format!("\npre-signed URLs: {}", ends.sentence());
        }
    } else if status.armed {
        text += "\nloaded by another program, or before /run was emptied";
    }
    for target in &report.targets {
        text += &format!("\ntarget:   {target}");
    }
    for fault in &report.faults {
        text += &format!("\nfault:    {fault}");
    }
    if !report.faults.is_empty() {
        text += &format!("\nto do:    {}", fit::REMEDY);
    }
    if let Some(remark) = &report.remark {
        text += &format!("\nnote:     {remark}");
    }
    if report.panic_on_oops == Some(false) {
        text += "\nnote:     kernel.panic_on_oops is 0: an oops that the kernel survives leaves no dump (sysctl -w kernel.panic_on_oops=1)";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(armed: bool, reserved: u64) -> Report {
        Report {
            status: Some(Status {
                armed,
                reserved,
                loaded: None,
            }),
            ..Report::default()
        }
    }

    #[test]
    fn says_what_to_do() {
        let status = |armed, reserved| text(&report(armed, reserved));
        assert!(status(false, 0).contains("crashkernel="));
        assert!(status(false, 1 << 27).starts_with("not armed (load it"));
        assert!(status(true, 1 << 27).starts_with("armed\nreserved: 128 MiB\nloaded by another"));
    }

    #[test]
    fn says_what_does_not_fit_any_more_and_that_an_oops_is_survived() {
        let mut stale = report(true, 1 << 27);
        stale.faults.push("the disk is gone".into());
        stale.panic_on_oops = Some(false);
        let said = text(&stale);
        assert!(
            said.starts_with("armed, but the image does not fit"),
            "{said}"
        );
        assert!(said.contains("fault:    the disk is gone"), "{said}");
        assert!(said.contains("panic_on_oops is 0"), "{said}");
        stale.panic_on_oops = Some(true);
        assert!(!text(&stale).contains("oops"));
    }
}
