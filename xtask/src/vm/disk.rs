//! Targets on disks that are no plain ext4: other file systems, LVM, md, claimed partitions. What the capture wrote is read back
//! with the programs of each, and judged like any dump.

use super::{Bench, Scenario, Setup, all_good, finished, only_dump};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, Run};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Size of the drives besides the disk, in MiB.
const DRIVE: u64 = 512;
/// An id that no partition has.
const NOBODY: &str = "00000000000000000000000000000bad";

type Judge = fn(&Bench<'_>, &Kernel, &Run) -> Result<String>;

/// What a capture with a target on the drives must be able to do.
struct Disk {
    name: &'static str,
    target: &'static str,
    drives: usize,
    modules: &'static [&'static str],
    filesystems: &'static [&'static str],
    before: &'static str,
    after: &'static str,
}

const COPY: &str =
    "mkdir -p /out/var/crash; chmod -R go-rwx /mnt/crash/*; cp -r /mnt/crash/* /out/var/crash/";

const DISKS: &[Disk] = &[
    Disk {
        name: "disk-xfs",
        target: "file:LABEL=xfsdumps:/crash",
        drives: 1,
        modules: &[],
        filesystems: &["xfs"],
        before: "",
        after: "mount -t xfs /dev/vdb /mnt",
    },
    Disk {
        name: "disk-btrfs",
        target: "file:LABEL=pool:/crash?subvol=@dumps",
        drives: 1,
        modules: &[],
        filesystems: &["btrfs"],
        before: "mkfs.btrfs -q -L pool /dev/vdb; mount -t btrfs /dev/vdb /mnt; btrfs subvolume create /mnt/@dumps; umount /mnt",
        after: "mount -t btrfs -o subvol=@dumps /dev/vdb /mnt",
    },
    Disk {
        name: "disk-vfat",
        target: "file:LABEL=FATDUMPS:/crash",
        drives: 1,
        modules: &[],
        filesystems: &["vfat"],
        before: "",
        after: "mount -t vfat -o dmask=077,fmask=177 /dev/vdb /mnt",
    },
    Disk {
        name: "disk-lvm",
        target: "file:/dev/vg-0/crash:/crash",
        drives: 2,
        modules: &["dm_mod"],
        filesystems: &["ext4"],
        // Three segments on two physical volumes: the second volume lies between.
        before: "lvm pvcreate -q -y /dev/vdb /dev/vdc
lvm vgcreate -q vg-0 /dev/vdb /dev/vdc
lvm lvcreate -q -y -Wn -Zn -n crash -L 64m vg-0 /dev/vdb
lvm lvcreate -q -y -Wn -Zn -n other -L 64m vg-0 /dev/vdb
lvm lvextend -q -L +128m vg-0/crash /dev/vdb
lvm lvextend -q -L +64m vg-0/crash /dev/vdc
lvm lvs --segments
mkfs.ext4 -q /dev/mapper/vg--0-crash
lvm vgchange -an vg-0",
        after: "lvm vgchange -ay vg-0; e2fsck -fn /dev/mapper/vg--0-crash; mount -t ext4 /dev/mapper/vg--0-crash /mnt",
    },
    Disk {
        name: "disk-md",
        target: "file:LABEL=mirror:/crash",
        drives: 2,
        modules: &["md_mod", "raid1"],
        filesystems: &["ext4"],
        // Metadata at the end: a member alone looks like the file system.
        before: "mdadm --create /dev/md0 --run --assume-clean --level=1 --raid-devices=2 --metadata=1.0 --bitmap=internal --name=crash /dev/vdb /dev/vdc
mkfs.ext4 -q -L mirror /dev/md0
mdadm --stop /dev/md0",
        after: "mdadm --examine /dev/vdb /dev/vdc
test $(mdadm --examine /dev/vdb /dev/vdc | grep -c 'State : clean') = 2
test $(mdadm --examine /dev/vdb /dev/vdc | grep -c 'Array State : AA') = 2
test $(mdadm --examine /dev/vdb /dev/vdc | grep Events | sort -u | wc -l) = 1
mdadm --assemble /dev/md0 /dev/vdb /dev/vdc
echo check > /sys/block/md0/md/sync_action
while [ $(cat /sys/block/md0/md/sync_action) != idle ]; do sleep 0.2; done
test $(cat /sys/block/md0/md/mismatch_cnt) = 0
e2fsck -fn /dev/md0; mount -t ext4 /dev/md0 /mnt",
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<_> = DISKS.iter().map(scenario).collect();
    all.push(raw("disk-raw", true, recovered));
    all.push(raw("disk-unclaimed", false, untouched));
    all
}

fn guest(target: &str) -> Guest {
    Guest {
        memory: 768,
        words: "guest.workload=0".into(),
        config: format!("targets = [\"{target}\"]\ndevice_timeout = \"9s\"\n"),
        ..Guest::default()
    }
}

fn scenario(disk: &'static Disk) -> Scenario {
    let mut guest = guest(disk.target);
    guest.drives = vec![DRIVE; disk.drives];
    guest.filesystems = disk.filesystems.iter().map(ToString::to_string).collect();
    let modules = disk.modules.iter().map(ToString::to_string);
    guest.capture_modules.extend(modules);
    guest.before = disk.before.into();
    guest.after = format!(
        "mount -t ext4 /dev/vda /out\n{}\n{COPY}\numount /mnt",
        disk.after
    );
    let make: Option<Box<Setup>> = match disk.filesystems {
        ["xfs"] => Some(Box::new(|_, dir, _| {
            made(dir, &["mkfs.xfs", "-q", "-L", "xfsdumps"])
        })),
        ["vfat"] => Some(Box::new(|_, dir, _| {
            made(dir, &["mkfs.vfat", "-n", "FATDUMPS"])
        })),
        _ => None,
    };
    Scenario {
        name: disk.name,
        series: MAIN_SERIES,
        guest,
        setup: make,
        judge: copied,
    }
}

/// Makes a file system on the first drive.
fn made(dir: &Path, mkfs: &[&str]) -> Result<super::Servers> {
    let file = drive(dir)?;
    if let [program, options @ ..] = mkfs {
        let mut command = Command::new(qemu::find_tool(program)?);
        qemu::run_tool(command.args(options).arg(&file), &[0])?;
    }
    Ok(Vec::new())
}

/// The first drive, made empty.
fn drive(dir: &Path) -> Result<PathBuf> {
    let file = dir.join("drive-0.raw");
    fs::File::create(&file)
        .and_then(|made| made.set_len(DRIVE << 20))
        .with_context(|| format!("cannot make {}", file.display()))?;
    Ok(file)
}

/// A complete dump came back through the file system's own driver.
fn copied(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    all_good(bench, &dump, kernel)?;
    let device = run.lines.iter().find_map(|line| {
        line.text
            .split_once(" is /dev/")
            .map(|(_, rest)| rest.to_owned())
    });
    Ok(format!(
        "complete dump on /dev/{}",
        device.unwrap_or_default()
    ))
}

fn raw(name: &'static str, claimed: bool, judge: Judge) -> Scenario {
    let mut guest = guest("dmesg:");
    guest.drives = vec![DRIVE];
    guest.filesystems = Vec::new();
    let setup: Box<Setup> = Box::new(move |_, dir, guest| {
        let file = drive(dir)?;
        let id = if claimed {
            initramfs::claim::claim(&file, false)?.id
        } else {
            NOBODY.into()
        };
        guest.config = format!("targets = [\"raw:/dev/vdb?id={id}\"]\n");
        Ok(Vec::new())
    });
    Scenario {
        name,
        series: MAIN_SERIES,
        guest,
        setup: Some(setup),
        judge,
    }
}

/// The dump is taken from the partition once, and judged like any other.
fn recovered(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let (device, out) = (run.dir.join("drive-0.raw"), run.dir.join("recovered"));
    let recover = |codes: &[i32]| {
        let mut command = Command::new(&bench.judges.binaries.baredump);
        qemu::run_tool(command.arg("recover").arg(&device).arg(&out), codes)
    };
    recover(&[0])?;
    let again = recover(&[2])?;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    if !said.contains("taken already") {
        bail!("a second recover says {said}");
    }
    let dump = fs::read_dir(&out)?
        .flatten()
        .next()
        .context("no directory was recovered")?;
    all_good(bench, &dump.path(), kernel)?;
    Ok("complete dump recovered from the claimed partition".into())
}

/// Not a byte of a partition that nobody claimed is written, and the console says why.
fn untouched(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let bytes = fs::read(run.dir.join("drive-0.raw"))?;
    if bytes.iter().any(|&byte| byte != 0) {
        bail!("an unclaimed partition was written to");
    }
    let said = run
        .lines
        .iter()
        .find(|line| line.text.contains("was never claimed"));
    said.map(|line| line.text.clone())
        .context("the console does not say that the partition was never claimed")
}
