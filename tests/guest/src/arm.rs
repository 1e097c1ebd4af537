//! Loading the capture kernel: with `baredumpctl arm`, or by the guest itself for raw copies.
//!
//! Debian's arm64 kernels are built without `kexec_file_load(2)`. For those the image of the guest holds kexec-tools, which prepares what
//! the older `kexec_load(2)` wants (elfcorehdr, device tree); the command line is the one that `baredumpctl arm` would load.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{say, sys};

/// The command under test.
const BAREDUMPCTL: &str = "/usr/sbin/baredumpctl";
/// The loader of kernels without `kexec_file_load(2)`; where it is, it is used.
const KEXEC: &str = "/usr/sbin/kexec";
/// The kernel that is loaded for the capture.
const KERNEL: &str = "/boot/vmlinuz";
/// The capture image under test.
const CAPTURE_IMAGE: &str = "/boot/capture.img";
/// The image with this program for raw copies.
const RAW_IMAGE: &str = "/boot/raw.img";
/// Command line of the capture kernel for raw copies, after the console.
const RAW_WORDS: &str =
    "nr_cpus=1 irqpoll reset_devices acpi_no_memhotplug cgroup_disable=memory panic=5";

/// Loads the capture image under test, and repeats what the loader says.
pub(crate) fn baredumpctl(extra: &[String]) -> Result<()> {
    if Path::new(KEXEC).exists() {
        return kexec(CAPTURE_IMAGE, &printed_words(extra)?);
    }
    let mut command = Command::new(BAREDUMPCTL);
    command
        .args(["arm", "--kernel", KERNEL, "--image", CAPTURE_IMAGE])
        .args(extra);
    loud(command)
}

/// Loads the raw capture image.
pub(crate) fn raw(device: &str, extra: &[String]) -> Result<()> {
    let production = fs::read_to_string("/proc/cmdline")?;
    let consoles = production
        .split_ascii_whitespace()
        .filter(|word| word.starts_with("console="));
    let mut words: Vec<_> = consoles.chain([RAW_WORDS]).map(str::to_owned).collect();
    words.push(format!("guest.raw={device}"));
    words.extend_from_slice(extra);
    let words = words.join(" ");
    if Path::new(KEXEC).exists() {
        return kexec(RAW_IMAGE, &words);
    }
    let kernel = File::open(KERNEL).with_context(|| format!("cannot open {KERNEL}"))?;
    let image = File::open(RAW_IMAGE).with_context(|| format!("cannot open {RAW_IMAGE}"))?;
    sys::load_crash_kernel(&kernel, &image, &words)
}

/// The command line that `baredumpctl arm` would load: the first line of what `--print` says.
fn printed_words(extra: &[String]) -> Result<String> {
    let out = Command::new(BAREDUMPCTL)
        .args(["arm", "--print"])
        .args(extra)
        .output()
        .with_context(|| format!("cannot start {BAREDUMPCTL}"))?;
    ensure!(
        out.status.success(),
        "{BAREDUMPCTL}: {}: {}",
        out.status,
        String::from_utf8_lossy(&out.stderr).trim()
    );
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Loads by `kexec_load(2)`.
fn kexec(image: &str, words: &str) -> Result<()> {
    let mut command = Command::new(KEXEC);
    command
        .args(["--kexec-syscall", "--load-panic", KERNEL])
        .arg(format!("--initrd={image}"))
        .arg(format!("--command-line={words}"));
    loud(command)
}

/// Runs a loader to its end and says what it says.
fn loud(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (output, writer) = io::pipe()?;
    let errors = writer.try_clone()?;
    let child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .spawn();
    // Our ends of the pipe must be closed for its end to be seen.
    drop(command);
    let mut child = child.with_context(|| format!("cannot start {name}"))?;
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        say(&format!("arm: {line}"));
    }
    let status = child.wait()?;
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}
