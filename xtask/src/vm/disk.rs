//! Targets on disks that are no plain ext4: other file systems, LVM, md. What the capture wrote is read back
//! with the programs of each, and judged like any dump.

use super::{Bench, Scenario, Setup, all_good, finished, only_dump};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, Run};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Size of the drives besides the disk, in MiB.
const DRIVE: u64 = 512;
/// What a capture with a target on the drives must be able to do.
struct Disk {
    name: &'static str,
    target: &'static str,
    drives: usize,
    /// The last drive is gone when the machine panics.
    pulled: bool,
    modules: &'static [&'static str],
    filesystems: &'static [&'static str],
    before: &'static str,
    after: &'static str,
}

pub(super) const COPY: &str =
    "mkdir -p /out/var/crash; chmod -R go-rwx /mnt/crash/*; cp -r /mnt/crash/* /out/var/crash/";

/// Metadata at the end of the disks, partitions in the array: a disk alone looks like one with the same partition. The entry is that
/// of a Linux partition from sector 2048 on, 480 MiB.
const PARTS: &str = "mdadm --create /dev/md0 --run --assume-clean --level=1 --raid-devices=2 --metadata=1.0 --bitmap=internal --name=crash /dev/vdb /dev/vdc
printf '\\0\\0\\0\\0\\203\\0\\0\\0\\0\\010\\0\\0\\0\\0\\017\\0' | dd of=/dev/md0 bs=1 seek=446 conv=notrunc
printf '\\125\\252' | dd of=/dev/md0 bs=1 seek=510 conv=notrunc
blockdev --rereadpt /dev/md0
mkfs.ext4 -q -L mirror /dev/md0p1
mdadm --stop /dev/md0";

/// Metadata at the end: a member alone looks like the file system.
const MIRROR: &str = "mdadm --create /dev/md0 --run --assume-clean --level=1 --raid-devices=2 --metadata=1.0 --bitmap=internal --name=crash /dev/vdb /dev/vdc
mkfs.ext4 -q -L mirror /dev/md0
mdadm --stop /dev/md0";

/// Laid as Debian's installer does it. A path of the running machine becomes the target of the scenario, and a target that nobody would
/// see is said.
const SUBVOLUME: &str = "mkfs.btrfs -q -U 0e0cf1bc-1e62-4d22-b2c8-f3c2c4a6a2a1 /dev/vdb
mount -t btrfs /dev/vdb /mnt; btrfs subvolume create /mnt/@rootfs; umount /mnt
mount -t btrfs -o subvol=@rootfs /dev/vdb /mnt; mkdir /mnt/var
target=file:UUID=0e0cf1bc-1e62-4d22-b2c8-f3c2c4a6a2a1
says() {
    baredumpctl image --target \"$1\" --output /run/x.img > /run/said 2>&1 || true
    cat /run/said
    grep -qF \"$2\" /run/said
}
says /mnt/var/crash \"$target:/var/crash?subvol=@rootfs: seen here at /mnt/var/crash\"
says file:/dev/vdb:/var/crash?subvol=@rootfs \"$target:/var/crash?subvol=@rootfs: seen here at /mnt/var/crash\"
says $target:/var/crash 'in the default subvolume of /dev/vdb, which is not what is mounted'
mount -t tmpfs none /mnt/var
says $target:/var/crash?subvol=@rootfs 'it would be /mnt/var/crash, but something else is mounted on /mnt/var'
says /mnt/var/crash 'it lies in the mount on /mnt/var (tmpfs none)'
umount /mnt/var; umount /mnt";

const DISKS: &[Disk] = &[
    Disk {
        name: "disk-xfs",
        target: "file:LABEL=xfsdumps:/crash",
        drives: 1,
        pulled: false,
        modules: &[],
        filesystems: &["xfs"],
        before: "",
        after: "mount -t xfs /dev/vdb /mnt",
    },
    Disk {
        name: "disk-btrfs",
        target: "file:UUID=0e0cf1bc-1e62-4d22-b2c8-f3c2c4a6a2a1:/var/crash?subvol=@rootfs",
        drives: 1,
        pulled: false,
        modules: &[],
        filesystems: &["btrfs"],
        before: SUBVOLUME,
        after: "mkdir /run/root; mount -t btrfs -o subvol=@rootfs /dev/vdb /run/root; mount --bind /run/root/var /mnt",
    },
    Disk {
        name: "disk-vfat",
        target: "file:LABEL=FATDUMPS:/crash",
        drives: 1,
        pulled: false,
        modules: &[],
        filesystems: &["vfat"],
        before: "",
        after: "mount -t vfat -o dmask=077,fmask=177 /dev/vdb /mnt",
    },
    Disk {
        name: "disk-lvm",
        target: "file:/dev/vg-0/crash:/crash",
        drives: 2,
        pulled: false,
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
lvm lvcreate -q -y -s -n snap -L 32m vg-0/crash /dev/vdc
lvm vgchange -an vg-0",
        after: "lvm vgchange -ay vg-0; e2fsck -fn /dev/mapper/vg--0-crash; mount -t ext4 /dev/mapper/vg--0-crash /mnt
grep -q 'has snapshots' /mnt/crash/*/report.json",
    },
    Disk {
        name: "disk-md",
        target: "file:LABEL=mirror:/crash",
        drives: 4,
        pulled: false,
        modules: &["md_mod", "raid1"],
        filesystems: &["ext4"],
        // Another array has the same name, and comes first.
        before: "mdadm --create /dev/md1 --run --assume-clean --level=1 --raid-devices=2 --metadata=1.0 --homehost=other --name=crash --uuid=00000000:00000000:00000000:00000001 /dev/vdd /dev/vde
mkfs.ext4 -q -L other /dev/md1
mdadm --stop /dev/md1
mdadm --create /dev/md0 --run --assume-clean --level=1 --raid-devices=2 --metadata=1.0 --bitmap=internal --name=crash /dev/vdb /dev/vdc
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
    Disk {
        name: "disk-md-degraded",
        target: "file:LABEL=mirror:/crash",
        drives: 2,
        pulled: true,
        modules: &["md_mod", "raid1"],
        filesystems: &["ext4"],
        before: MIRROR,
        // What the missing member holds is old, which must be seen when it is back: it is made like the other one, not the other way round.
        after: "mdadm --examine /dev/vdb /dev/vdc
events() { mdadm --examine $1 | sed -n 's/ *Events : //p'; }
test $(events /dev/vdb) -gt $(($(events /dev/vdc) + 1))
mdadm --examine /dev/vdb | grep 'Array State : A\\.'
mdadm --examine /dev/vdb | grep 'State : clean'
mdadm --assemble --run /dev/md0 /dev/vdb /dev/vdc
cat /proc/mdstat
test -e /sys/block/md0/md/dev-vdc || mdadm /dev/md0 --re-add /dev/vdc
while [ $(cat /sys/block/md0/md/sync_action) != idle ] || [ $(cat /sys/block/md0/md/degraded) != 0 ]; do sleep 0.2; done
echo check > /sys/block/md0/md/sync_action
while [ $(cat /sys/block/md0/md/sync_action) != idle ]; do sleep 0.2; done
test $(cat /sys/block/md0/md/mismatch_cnt) = 0
e2fsck -fn /dev/md0; mount -t ext4 /dev/md0 /mnt",
    },
    Disk {
        name: "disk-md-parts",
        target: "file:LABEL=mirror:/crash",
        drives: 2,
        pulled: false,
        modules: &["md_mod", "raid1"],
        filesystems: &["ext4"],
        before: PARTS,
        after: "mdadm --examine /dev/vdb /dev/vdc
test $(mdadm --examine /dev/vdb /dev/vdc | grep -c 'State : clean') = 2
test $(mdadm --examine /dev/vdb /dev/vdc | grep Events | sort -u | wc -l) = 1
mdadm --assemble /dev/md0 /dev/vdb /dev/vdc
echo check > /sys/block/md0/md/sync_action
while [ $(cat /sys/block/md0/md/sync_action) != idle ]; do sleep 0.2; done
test $(cat /sys/block/md0/md/mismatch_cnt) = 0
e2fsck -fn /dev/md0p1; mount -t ext4 /dev/md0p1 /mnt",
    },
    Disk {
        name: "disk-md-parts-degraded",
        target: "file:LABEL=mirror:/crash",
        drives: 2,
        pulled: true,
        modules: &["md_mod", "raid1"],
        filesystems: &["ext4"],
        before: PARTS,
        // That the other member missed something is in the superblock.
        after: "mdadm --examine /dev/vdb /dev/vdc
events() { mdadm --examine $1 | sed -n 's/ *Events : //p'; }
test $(events /dev/vdb) -gt $(($(events /dev/vdc) + 1))
mdadm --examine /dev/vdb | grep 'Array State : A\\.'
mdadm --assemble --run /dev/md0 /dev/vdb
e2fsck -fn /dev/md0p1; mount -t ext4 /dev/md0p1 /mnt",
    },
    Disk {
        name: "disk-md-rebuilding",
        target: "file:LABEL=mirror:/crash",
        drives: 2,
        pulled: false,
        modules: &["md_mod", "raid1"],
        filesystems: &["ext4"],
        before: "mdadm --create /dev/md0 --run --level=1 --raid-devices=2 --metadata=1.2 --bitmap=none --size=200M --name=crash /dev/vdb missing
mkfs.ext4 -q -L mirror /dev/md0
echo 1000 > /sys/block/md0/md/sync_speed_max
mdadm /dev/md0 --add /dev/vdc
sleep 2
mdadm --stop /dev/md0
mdadm --examine /dev/vdc | grep 'Recovery Offset'",
        // The rebuild goes on: the member was there all the time.
        after: "mdadm --examine /dev/vdb /dev/vdc
test $(mdadm --examine /dev/vdb /dev/vdc | grep Events | sort -u | wc -l) = 1
mdadm --examine /dev/vdc | grep 'Recovery Offset'
mdadm --assemble --run /dev/md0 /dev/vdb /dev/vdc
test -e /sys/block/md0/md/dev-vdc
while [ $(cat /sys/block/md0/md/sync_action) != idle ] || [ $(cat /sys/block/md0/md/degraded) != 0 ]; do sleep 0.2; done
echo check > /sys/block/md0/md/sync_action
while [ $(cat /sys/block/md0/md/sync_action) != idle ]; do sleep 0.2; done
test $(cat /sys/block/md0/md/mismatch_cnt) = 0
e2fsck -fn /dev/md0; mount -t ext4 /dev/md0 /mnt",
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    DISKS.iter().map(scenario).collect()
}

pub(super) fn guest(target: &str) -> Guest {
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
    guest.pulled = disk.pulled;
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
pub(super) fn made(dir: &Path, mkfs: &[&str]) -> Result<super::Servers> {
    let file = drive(dir, 0, DRIVE)?;
    if let [program, options @ ..] = mkfs {
        let mut command = Command::new(qemu::find_tool(program)?);
        qemu::run_tool(command.args(options).arg(&file), &[0])?;
    }
    Ok(Vec::new())
}

/// A drive of some MiB, made empty.
pub(super) fn drive(dir: &Path, number: usize, size: u64) -> Result<PathBuf> {
    let file = dir.join(format!("drive-{number}.raw"));
    fs::File::create(&file)
        .and_then(|made| made.set_len(size << 20))
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
