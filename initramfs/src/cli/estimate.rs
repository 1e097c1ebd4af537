//! `baredumpctl estimate`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};
use baredump::config::{Config, Threads};
use initramfs::estimate::Machine;
use initramfs::image;
use initramfs::kconfig::KernelConfig;

use super::{arm, host, say};

const MIB: f64 = 1_048_576.0;

/// Say how much memory to reserve for the capture kernel, and what it is made of
///
/// Looks at the kernel and at the image that was built for it: it holds the modules for the targets of this machine. The first number is what
/// is expected to work, the second what to reserve with crashkernel=. Of drivers' buffers it says which were measured and which are guessed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kernel image to start at a panic [default: that of --kernel-release in /boot or its module directory]
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Release of the capture kernel [default: that of the running kernel]
    #[arg(long, value_name = "RELEASE")]
    kernel_release: Option<String>,
    /// Its configuration [default: /boot/config-RELEASE or `config` in the module directory]
    #[arg(long, value_name = "FILE")]
    kernel_config: Option<PathBuf>,
    /// Capture image [default: /var/lib/baredump/RELEASE.img]
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let kernel = arm::find_kernel(args.kernel.as_deref(), args.kernel_release.as_deref())?;
    let release = &kernel.header.release;
    let path = match &args.image {
        Some(path) => path.clone(),
        None => host::image_path(release),
    };
    let shown = path.display();
    let bytes = std::fs::read(&path).with_context(|| {
        format!("{shown}: build it with baredumpctl image, or name one with --image")
    })?;
    let archive =
        image::unpack(&bytes).with_context(|| format!("{shown} can't be the capture image"))?;
    let file = std::fs::read(&kernel.path).with_context(|| kernel.path.display().to_string())?;
    let config = kernel_config(args, release)?;
    let mut machine = Machine {
        tiny: config
            .as_ref()
            .is_some_and(|config| config.is_builtin("CONFIG_SLUB_TINY")),
        page_size: config.as_ref().map_or(4096, page_size),
        cpus: thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64),
        threads: archive
            .file_bytes(image::CONFIG_FILE)
            .map_or(0, |text| threads(&String::from_utf8_lossy(text))),
        ..Machine::default()
    };
    machine.set_kernel(&kernel.header, &file);
    machine.set_image(bytes.len() as u64, &archive);
    say(&format!("{release} with {shown}"));
    show(&machine);
    Ok(ExitCode::SUCCESS)
}

fn kernel_config(args: &Args, release: &str) -> Result<Option<KernelConfig>> {
    match &args.kernel_config {
        Some(path) => Ok(Some(
            KernelConfig::read(path).with_context(|| path.display().to_string())?,
        )),
        None => Ok(KernelConfig::find(
            release,
            &[PathBuf::from(format!("/lib/modules/{release}"))],
        )),
    }
}

/// x86 says nothing of pages, arm64 does.
fn page_size(config: &KernelConfig) -> u64 {
    let has = |option| config.is_builtin(option);
    if has("CONFIG_ARM64_16K_PAGES") {
        16 << 10
    } else if has("CONFIG_ARM64_64K_PAGES") {
        64 << 10
    } else {
        4 << 10
    }
}

/// The capture kernel has one processor, for which `auto` is none.
fn threads(config: &str) -> u64 {
    match Config::from_toml_strict(config).map(|config| config.threads) {
        Ok(Threads::Count(count)) => count.into(),
        Ok(Threads::Auto) | Err(_) => 0,
    }
}

fn show(machine: &Machine) {
    let estimate = machine.estimate();
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let mib = |bytes: u64| bytes as f64 / MIB;
    say(&format!("{:<24}{:>12}{:>12}", "MiB", "unpacking", "dump"));
    for part in &estimate.parts {
        say(&format!(
            "{:<24}{:>12.1}{:>12.1}",
            part.name,
            mib(part.unpacking),
            mib(part.dumping)
        ));
    }
    for (measured, what) in [(true, "buffers, measured"), (false, "buffers, guessed")] {
        let of = machine
            .buffers
            .iter()
            .filter(|one| one.measured == measured);
        let list: Vec<_> = of
            .map(|one| format!("{} {}", one.driver, one.mebibytes))
            .collect();
        if !list.is_empty() {
            say(&format!("{what:<24}{}", list.join(", ")));
        }
    }
    say(&format!(
        "in one piece            {:>12.1}",
        mib(machine.init_size)
    ));
    say(&format!(
        "expected to work with   crashkernel={}M",
        estimate.smallest
    ));
    say(&format!(
        "reserve                 crashkernel={}M",
        estimate.reserve
    ));
    let reserved = initramfs::loader::reserved(Path::new("/")).unwrap_or(0) >> 20;
    if reserved > 0 {
        say(&format!("reserved now            {reserved} MiB"));
    }
}
