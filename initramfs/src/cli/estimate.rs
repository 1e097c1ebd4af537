//! `baredumpctl estimate`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};
use baredump::config::{Config, Threads};
use initramfs::cpio::Archive;
use initramfs::estimate::{Estimate, Machine, Source};
use initramfs::image;
use initramfs::kconfig::KernelConfig;
use initramfs::loader::Kernel;

use super::{arm, fit, host, image as image_verb, say};

const MIB: f64 = 1_048_576.0;

/// Say how much memory to reserve for the capture kernel, and what it is made of
///
/// Looks at the kernel and at the image that was built for it, or that would be built: it holds the modules for the targets of this machine.
/// The first number is what is expected to work, the second what to reserve with crashkernel=. Of drivers' buffers it says which were
/// measured and which are guessed.
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
    let is_there = args.image.is_some() || path.exists();
    let (bytes, archive) = if is_there {
        fit::read(&path)?
    } else {
        planned(release, args.kernel_config.as_deref())?
    };
    let config = kernel_config(args.kernel_config.as_deref(), release)?;
    let machine = machine(&kernel, config.as_ref(), bytes.len(), &archive)?;
    say(&if is_there {
        format!("{release} with {}", path.display())
    } else {
        format!("{release} with an image as baredumpctl image would build it now")
    });
    show(&machine);
    Ok(ExitCode::SUCCESS)
}

/// The image that would be built, where there is none yet; without a configuration for a dump on the disk.
fn planned(release: &str, kernel_config: Option<&Path>) -> Result<(Vec<u8>, Archive)> {
    let target = if Path::new(image_verb::CONFIG).exists() {
        Vec::new()
    } else {
        vec!["/var/crash".to_owned()]
    };
    let built = image_verb::build(&image_verb::Args::of(release, kernel_config, target));
    let built = built.context("there is no image yet, and none can be built to look at")?;
    Ok((built.bytes, built.archive))
}

/// What a kernel with an image needs on this machine.
pub(super) fn machine(
    kernel: &Kernel,
    config: Option<&KernelConfig>,
    image_bytes: usize,
    archive: &Archive,
) -> Result<Machine> {
    let file = std::fs::read(&kernel.path).with_context(|| kernel.path.display().to_string())?;
    let mut machine = Machine {
        tiny: config.is_some_and(|config| config.is_builtin("CONFIG_SLUB_TINY")),
        page_size: config.map_or(4096, page_size),
        cpus: thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64),
        threads: archive
            .file_bytes(image::CONFIG_FILE)
            .map_or(0, |text| threads(&String::from_utf8_lossy(text))),
        ..Machine::default()
    };
    machine.set_kernel(&kernel.header, &file);
    machine.set_image(image_bytes as u64, archive);
    Ok(machine)
}

/// The word for the kernel command line, or where to learn it.
pub(super) fn advice() -> String {
    let reserve = || -> Result<u64> {
        let kernel = arm::find_kernel(None, None)?;
        let release = &kernel.header.release;
        let path = host::image_path(release);
        let (bytes, archive) = if path.exists() {
            fit::read(&path)?
        } else {
            planned(release, None)?
        };
        let config = kernel_config(None, release)?;
        Ok(machine(&kernel, config.as_ref(), bytes.len(), &archive)?
            .estimate()
            .reserve)
    };
    match reserve() {
        Ok(mebibytes) => format!("crashkernel={mebibytes}M"),
        Err(_) => "the crashkernel= that baredumpctl estimate says".to_owned(),
    }
}

/// What is said of a reservation that is too small for a kernel and its image.
pub(super) fn too_small(kernel: &Kernel, image_bytes: usize, archive: &Archive) -> Option<String> {
    let reserved = initramfs::loader::reserved(Path::new("/")).ok()? >> 20;
    let config = kernel_config(None, &kernel.header.release).ok()?;
    let estimate = machine(kernel, config.as_ref(), image_bytes, archive)
        .ok()?
        .estimate();
    compare(reserved, &estimate)
}

fn compare(reserved: u64, estimate: &Estimate) -> Option<String> {
    (reserved < estimate.smallest).then(|| {
        format!(
            "{reserved} MiB are reserved, and this kernel with this image is expected to need {}: reserve more with crashkernel={}M, or the capture may run out of memory",
            estimate.smallest, estimate.reserve
        )
    })
}

fn kernel_config(given: Option<&Path>, release: &str) -> Result<Option<KernelConfig>> {
    match given {
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
    for source in [Source::Measured, Source::Queues, Source::Unknown] {
        let what = source.text();
        let of = machine.buffers.iter().filter(|one| one.source == source);
        let list: Vec<_> = of
            .map(|one| format!("{} {}", one.driver, one.mebibytes))
            .collect();
        if !list.is_empty() {
            say(&format!("{what:<24} {}", list.join(", ")));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_below_the_estimate_is_said() {
        let estimate = Estimate {
            parts: Vec::new(),
            smallest: 66,
            reserve: 96,
        };
        assert_eq!(compare(66, &estimate), None);
        let said = compare(56, &estimate).unwrap();
        assert!(
            said.starts_with("56 MiB") && said.contains("need 66") && said.contains("=96M"),
            "{said}"
        );
    }
}
