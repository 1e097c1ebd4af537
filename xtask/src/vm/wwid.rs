//! Disks that are copies of each other, with the same UUIDs and labels: only their world-wide ids tell them apart, on NVMe and on SCSI.

use super::{Bench, Scenario, Servers, all_good, finished};
use crate::check::{files, log_file};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, LABEL, Run, UUID};
use anyhow::{Result, bail, ensure};
use qemu::Disk;
use qemu::disk::Ext4;
use std::path::{Path, PathBuf};

/// The id of an NVMe namespace: vendor, serial number, model and number of it, as Linux makes one for controllers whose own ids are not
/// to be trusted; QEMU's is among them.
const NVME: &str = "nvme.1b36-7477696e-51454d55204e564d65204374726c-00000001";
/// The id of a SCSI disk.
const SCSI: &str = "5000c500a1b2c3d4";

pub(super) fn scenarios() -> Vec<Scenario> {
    let modules = ["virtio_blk", "nvme", "sd_mod", "virtio_scsi"];
    let targets = format!("[\"file:WWID={NVME}:/crash\", \"file:WWID=naa.{SCSI}:/crash\"]");
    vec![Scenario {
        name: "disk-wwid",
        series: MAIN_SERIES,
        guest: Guest {
            memory: 768,
            disk: 64,
            words: "guest.workload=0".into(),
            capture_modules: modules.map(str::to_owned).into(),
            config: format!("targets = {targets}\nlog_to_all = true\ndevice_timeout = \"9s\"\n"),
            ..Guest::default()
        },
        setup: Some(Box::new(|_, dir, guest| twins(dir, guest))),
        judge,
    }]
}

/// Two more disks with the file system of the first one.
fn twins(dir: &Path, guest: &mut Guest) -> Result<Servers> {
    let buses = [
        "nvme,drive=nvme,serial=twin".to_owned(),
        format!("virtio-scsi-pci,id=twins -device scsi-hd,bus=twins.0,drive=scsi,wwn=0x{SCSI}"),
    ];
    for (name, bus) in ["nvme", "scsi"].into_iter().zip(buses) {
        let file = twin(dir, name);
        let how = Ext4 {
            size: 256 << 20,
            uuid: UUID,
            label: LABEL,
            content: None,
        };
        Disk::create(&file, &how)?;
        let shown = file.display().to_string().replace(',', ",,");
        let drive = format!("if=none,id={name},format=raw,file={shown}");
        guest.extra.extend(["-drive".into(), drive.into()]);
        guest.extra.push("-device".into());
        guest.extra.extend(bus.split(' ').map(Into::into));
    }
    Ok(Servers::new())
}

fn twin(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.raw"))
}

/// The dump is on one, the log on the other, nothing on the third.
fn judge(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    ensure!(run.dumps()?.is_empty(), "a dump on a disk with another id");
    let [nvme, scsi] = [taken(run, "nvme")?, taken(run, "scsi")?];
    all_good(bench, &nvme, kernel)?;
    let found = files(&scsi)?;
    ensure!(
        found == ["report.json", "vmcore-dmesg.txt"],
        "the SCSI disk has {}",
        found.join(" ")
    );
    log_file(&scsi)?;
    Ok("complete dump on the NVMe disk, log on the SCSI disk, nothing on their twin".into())
}

/// The dump directory of a disk, copied out.
fn taken(run: &Run, name: &str) -> Result<PathBuf> {
    let file = twin(&run.dir, name);
    let disk = Disk::open(&file)?;
    disk.recover()?;
    let mut dirs = disk.list("/crash")?;
    let (Some(dir), true) = (dirs.pop(), dirs.is_empty()) else {
        bail!("there is not one dump directory on {}", file.display());
    };
    let to = run.dir.join(name).join(&dir.name);
    disk.read_dir(&format!("/crash/{}", dir.name), &to)?;
    std::fs::remove_file(file)?;
    Ok(to)
}
