//! Panics that our own kernel captures, one for each kind of disk: the image must hold exactly the modules that the disk needs. One while
//! a watchdog runs that would reset the machine in the middle of the dump, one with every module. And one that it does not capture: a locked-down kernel must
//! refuse it, as it is not signed.

use super::{Bench, Scenario, all_good, finished, only_dump};
use crate::check::read_report;
use crate::fetch::{ARM64_SERIES, Kernel};
use crate::guest::{Guest, Run};
use crate::kernel;
use crate::timeline;
use anyhow::{Context, Result, ensure};
use initramfs::image;
use qemu::{Arch, Bus};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The series of the kernel that panics.
const SERIES: &str = "6.12.";
/// What a user would reserve who asked `baredumpctl estimate`.
const RESERVATION: &str = "64M";
/// A slow emulator's time for one.
const LIMIT: Duration = Duration::from_secs(240);

/// A disk, and what a kernel needs for it.
#[derive(Debug)]
struct Case {
    name: &'static str,
    bus: Bus,
    /// The driver that sysfs would name.
    driver: &'static str,
    /// The modules of the image, in their order.
    modules: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "own-virtio-blk",
        bus: Bus::Virtio,
        driver: "virtio_blk",
        modules: &[],
    },
    Case {
        name: "own-nvme",
        bus: Bus::Nvme,
        driver: "nvme",
        modules: &["nvme_core", "nvme"],
    },
    Case {
        name: "own-ahci",
        bus: Bus::Ahci,
        driver: "ahci",
        modules: &[
            "scsi_common",
            "scsi_mod",
            "sd_mod",
            "libata",
            "libahci",
            "ahci",
        ],
    },
    Case {
        name: "own-virtio-scsi",
        bus: Bus::VirtioScsi,
        driver: "virtio_scsi",
        modules: &["scsi_common", "scsi_mod", "sd_mod", "virtio_scsi"],
    },
    Case {
        name: "own-megaraid",
        bus: Bus::Megaraid,
        driver: "megaraid_sas",
        modules: &["scsi_common", "scsi_mod", "sd_mod", "megaraid_sas"],
    },
];

/// Room for every module and its buffers.
const ROOM: &str = "256M";
/// What some of the modules drive.
const DEVICES: &[&str] = &[
    "e1000",
    "e1000e",
    "vmxnet3",
    "virtio-net-pci",
    "pvscsi",
    "megasas-gen2",
    "virtio-scsi-pci",
    "virtio-serial-pci",
    "i6300esb",
];
/// How the modules step says that one was not loaded.
const WARNING: &str = "baredump: warning: module ";
/// QEMU's name of a watchdog, and its driver's. It waits 30 s.
const WATCHDOG: &str = "i6300esb";
/// Seconds for which the first attempt hangs while the watchdog runs.
const STALL: u64 = 40;
/// What `baredumpctl arm` says of an unsigned kernel.
const REFUSED: &str = "takes only signed kernels";

type Judge = fn(&Bench<'_>, &Kernel, &Run) -> Result<String>;

/// One for each disk, one beside a watchdog, one with every module, one under lockdown.
///
/// # Errors
/// When the modules cannot be listed.
pub(crate) fn scenarios(own: &Kernel) -> Result<Vec<Scenario>> {
    let guest = Guest {
        reservation: RESERVATION.into(),
        // The kernel that panics needs no driver for the disk.
        words: "guest.workload=0 guest.disk=none".into(),
        capture_kernel: Some(own.clone()),
        limit: LIMIT,
        ..Guest::default()
    };
    let scenario = |name, guest, judge| Scenario {
        name,
        series: match own.arch {
            Arch::X86 => SERIES,
            Arch::Arm64 => ARM64_SERIES,
        },
        guest,
        setup: None,
        judge,
    };
    let mut scenarios: Vec<_> = CASES
        .iter()
        .map(|case| {
            let guest = Guest {
                capture_modules: vec![case.driver.to_owned()],
                bus: case.bus,
                ..guest.clone()
            };
            scenario(case.name, guest, judge as Judge)
        })
        .collect();
    let every = Guest {
        reservation: ROOM.into(),
        capture_modules: kernel::modules(&own.modules)?
            .iter()
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect(),
        extra: DEVICES
            .iter()
            .flat_map(|device| ["-device", device])
            .map(Into::into)
            .collect(),
        ..guest.clone()
    };
    scenarios.push(scenario("own-every-module", every, loaded));
    // Debian's arm64 kernels have no such watchdog, and no kexec_file_load(2): nothing is loaded under lockdown.
    if own.arch == Arch::X86 {
        let mut watched = Guest {
            capture_modules: vec!["virtio_blk".into(), WATCHDOG.into()],
            modules: &[WATCHDOG],
            capture_words: vec!["baredump.fault=capture:hang".into()],
            extra: ["-device", WATCHDOG].map(Into::into).to_vec(),
            ..guest.clone()
        };
        watched.words.push_str(" guest.watchdog=/dev/watchdog");
        watched.config.push_str(&format!("stall = \"{STALL}s\"\n"));
        scenarios.push(scenario("own-watchdog", watched, outlived));
        let mut locked = guest;
        locked.words.push_str(" lockdown=integrity");
        scenarios.push(scenario("own-lockdown", locked, refused));
    }
    Ok(scenarios)
}

/// A module may find no device, but nothing else may keep it from being loaded.
fn loaded(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    all_good(bench, &only_dump(run)?, kernel)?;
    let warnings = run.lines.iter().map(|line| line.text.as_str());
    let warnings: Vec<_> = warnings.filter(|text| text.contains(WARNING)).collect();
    let fault = warnings.iter().find(|text| !text.contains("(ENODEV)"));
    ensure!(fault.is_none(), "{}", fault.unwrap_or(&""));
    let (_, modules) = modules(&run.dir.join("capture.img"))?;
    Ok(format!(
        "{} modules loaded, {} found no device",
        modules.len() - warnings.len(),
        warnings.len()
    ))
}

/// The capture took longer than the watchdog waits.
fn outlived(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    all_good(bench, &only_dump(run)?, kernel)?;
    let took = timeline::total(&timeline::moments(&run.lines));
    let took = took.context("the console does not say how long it took")?;
    ensure!(
        took > Duration::from_secs(STALL),
        "the capture did not hang, so that the watchdog had no reason"
    );
    Ok(format!(
        "complete {:.1} s after the panic",
        took.as_secs_f64()
    ))
}

/// The loader said why, and the machine did not panic.
fn refused(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    let said = run.lines.iter().find(|line| line.text.contains(REFUSED));
    let said = said.context("the loader did not say that the kernel must be signed")?;
    let armed = |line: &qemu::Line| line.text.contains("guest: armed");
    ensure!(
        !run.lines.iter().any(armed),
        "an unsigned kernel was loaded under lockdown"
    );
    Ok(said.text.clone())
}

/// A complete dump that every judge accepts, and no module too many or too few.
fn judge(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    let case = CASES.iter().find(|case| run.dir.ends_with(case.name));
    let case = case.context("a run without a name")?;
    let image = run.dir.join("capture.img");
    let (bytes, modules) = modules(&image)?;
    ensure!(
        modules == case.modules,
        "the image holds the modules {}, expected {}",
        modules.join(" "),
        case.modules.join(" ")
    );
    finished(run)?;
    let dump = only_dump(run)?;
    all_good(bench, &dump, kernel)?;
    let report = read_report(&dump)?;
    let number = |path: &str| {
        let value = report.pointer(path).and_then(serde_json::Value::as_u64);
        value.unwrap_or_default()
    };
    let took = timeline::total(&timeline::moments(&run.lines));
    Ok(format!(
        "{} pages in {} bytes, image {bytes} bytes, {} modules, lowest MemAvailable {} kB, panic to reset {:.1} s",
        number("/pages/kept"),
        number("/bytes"),
        modules.len(),
        number("/memory/lowest_available_kb"),
        took.map_or(0.0, |took| took.as_secs_f64())
    ))
}

/// The size of an image, and the modules that are loaded from it, in their order.
fn modules(file: &Path) -> Result<(usize, Vec<String>)> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    let archive = image::unpack(&bytes)?;
    let plan = archive.file_bytes("etc/baredump/modules");
    let plan = String::from_utf8_lossy(plan.unwrap_or_default()).into_owned();
    Ok((bytes.len(), names(&plan)))
}

/// The names in a plan of modules.
fn names(plan: &str) -> Vec<String> {
    let name = |line: &str| {
        let path = line.split(' ').next()?;
        let (_, file) = path.rsplit_once('/')?;
        Some(file.strip_suffix(".ko")?.replace('-', "_"))
    };
    plan.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_plan() {
        let plan = "/lib/modules/nvme-core.ko multipath=N\n/lib/modules/nvme.ko\n";
        assert_eq!(names(plan), ["nvme_core", "nvme"]);
        assert!(names("").is_empty());
    }
}
