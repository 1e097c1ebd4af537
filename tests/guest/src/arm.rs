//! Loading the capture kernel: with `baredumpctl arm`, or by the guest itself for raw copies.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{say, sys};

/// The command under test.
const BAREDUMPCTL: &str = "/usr/sbin/baredumpctl";
/// The kernel that is loaded for the capture.
const KERNEL: &str = "/boot/vmlinuz";
/// The capture image under test.
const CAPTURE_IMAGE: &str = "/boot/capture.img";
/// The image with this program for raw copies.
const RAW_IMAGE: &str = "/boot/raw.img";
/// Command line of the capture kernel for raw copies.
const RAW_WORDS: &str =
    "console=ttyS0 nr_cpus=1 irqpoll reset_devices cgroup_disable=memory panic=5";

/// Runs `baredumpctl arm` and repeats what it says.
pub(crate) fn baredumpctl(extra: &[String]) -> Result<()> {
    let (output, writer) = io::pipe()?;
    let errors = writer.try_clone()?;
    // The command is a temporary: its ends of the pipe are closed once the child has them.
    let mut child = Command::new(BAREDUMPCTL)
        .args(["arm", "--kernel", KERNEL, "--image", CAPTURE_IMAGE])
        .args(extra)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start {BAREDUMPCTL}"))?;
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        say(&format!("arm: {line}"));
    }
    let status = child.wait()?;
    ensure!(status.success(), "{BAREDUMPCTL}: {status}");
    Ok(())
}

/// Loads the raw capture image.
pub(crate) fn raw(device: &str, extra: &[String]) -> Result<()> {
    let kernel = File::open(KERNEL).with_context(|| format!("cannot open {KERNEL}"))?;
    let image = File::open(RAW_IMAGE).with_context(|| format!("cannot open {RAW_IMAGE}"))?;
    let words = format!("{RAW_WORDS} guest.raw={device} {}", extra.join(" "));
    sys::load_crash_kernel(&kernel, &image, words.trim_end())
}
