//! What a capture kernel cannot have as a target is refused when the image is built: a machine with the real thing of each kind, on
//! which baredumpctl is asked for an image.

use super::{Bench, Scenario};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, Run};
use anyhow::{Context, Result, ensure};
use std::fs;

/// What the kernel needs for what is refused.
const MODULES: &[&str] = &[
    "dm_snapshot",
    "dm_thin_pool",
    "dm_raid",
    "dm_mirror",
    "dm_cache",
    "dm_cache_smq",
    "dm_crypt",
    "dm_multipath",
    "dm_round_robin",
    "raid0",
    "xts",
    "algif_skcipher",
    "configfs",
    "nvme_tcp",
    "nvmet_tcp",
];
/// Sizes of the drives, /dev/vdb and further, in MiB.
const DRIVES: [u64; 6] = [160, 160, 64, 64, 64, 64];
/// Kinds that the script has.
const KINDS: usize = 13;

const SCRIPT: &str = r#"
ask() { baredumpctl image --target "$1" --output /run/x.img > /run/said 2>&1; }
refused() {
    if ask "$1"; then echo "$1 was taken"; false; fi
    cat /run/said
    grep -q "$2" /run/said
    echo "refused: $1"
}
# A linear volume is taken: what is missing then are only the modules of a kernel.
lvm pvcreate -q -y /dev/vdb /dev/vdc
lvm vgcreate -q vg-0 /dev/vdb /dev/vdc
lvm lvcreate -q -y -Wn -Zn -n linear -L 8m vg-0
mkfs.ext4 -q /dev/vg-0/linear
ask file:/dev/vg-0/linear:/crash || cat /run/said
grep -q 'modules' /run/said
if grep -q 'activated' /run/said; then false; fi

lvm lvcreate -q -y -Wn -Zn -n striped -i 2 -L 16m vg-0
refused file:/dev/vg-0/striped:/crash 'an LVM volume, but it is striped, and only linear ones'
lvm lvcreate -q -y -Wn -Zn --type raid1 -m 1 --nosync -n mirrored -L 8m vg-0
refused file:/dev/vg-0/mirrored:/crash 'thin, cached, mirrored or a snapshot'
lvm lvcreate -q -y -Wn -Zn --type mirror -m 1 --nosync --mirrorlog core -n oldmirror -L 8m vg-0
refused file:/dev/vg-0/oldmirror:/crash 'thin, cached, mirrored or a snapshot'
lvm lvcreate -q -y -Wn -Zn -n origin -L 8m vg-0
mkfs.ext4 -q /dev/vg-0/origin
lvm lvcreate -q -y -s -n snap -L 8m vg-0/origin
ask file:/dev/vg-0/origin:/crash || cat /run/said
grep -q 'modules' /run/said
if grep -q 'activated' /run/said; then false; fi
refused file:/dev/vg-0/snap:/crash 'thin, cached, mirrored or a snapshot'
lvm lvcreate -q -y -Zn --type thin-pool -L 16m --poolmetadatasize 4m -n pool vg-0 --config 'global/thin_check_executable=""'
lvm lvcreate -q -y -Wn -V 64m --thinpool pool -n thin vg-0 --config 'global/thin_check_executable=""'
refused file:/dev/vg-0/thin:/crash 'thin, cached, mirrored or a snapshot'
lvm lvcreate -q -y -Wn -Zn -n slow -L 8m vg-0 /dev/vdb
lvm lvcreate -q -y -Wn -Zn -n fast -L 8m vg-0 /dev/vdc
lvm lvconvert -q -y --type cache --cachevol fast vg-0/slow --config 'global/cache_check_executable=""'
refused file:/dev/vg-0/slow:/crash 'thin, cached, mirrored or a snapshot'

mdadm --create /dev/md5 --run --level=0 --raid-devices=2 /dev/vdf /dev/vdg
refused file:/dev/md5:/crash 'of which only RAID1'
mdadm --stop /dev/md5
mdadm --zero-superblock /dev/vdf /dev/vdg
# A member of an Intel RAID looks like the file system of the whole.
mkfs.ext4 -q -F -E nodiscard /dev/vdf 32M
printf 'Intel Raid ISM Cfg Sig. 1.1.00' | dd of=/dev/vdf bs=512 seek=131070 conv=notrunc
refused file:/dev/vdf:/crash 'a member of an Intel (IMSM) or DDF RAID'
dd if=/dev/zero of=/dev/vdf bs=1M seek=63 count=1

# File systems of which one device is not all.
mkfs.btrfs -q -f -M -d single -m single /dev/vdf /dev/vdg
refused file:/dev/vdf:/crash 'a btrfs file system of several devices'
dd if=/dev/zero of=/dev/vdf bs=64k count=4
mkfs.ext4 -q -F -O journal_dev -b 4096 /dev/vdg
mkfs.ext4 -q -F -b 4096 -J device=/dev/vdg /dev/vdf
refused file:/dev/vdf:/crash 'an ext4 file system whose journal is on another device'
dd if=/dev/zero of=/dev/vdf bs=64k count=4

echo -n secret > /run/key
cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /run/key /dev/vdd
cryptsetup open --key-file /run/key /dev/vdd secret
mkfs.ext4 -q -L secret /dev/mapper/secret
refused file:LABEL=secret:/crash 'an encrypted volume (LUKS), whose key'

sectors=$(cat /sys/block/vde/size)
dmsetup create paths --uuid mpath-3600 --table "0 $sectors multipath 0 0 1 1 round-robin 0 1 1 /dev/vde 1000"
refused file:/dev/mapper/paths:/crash 'a multipath device, whose paths'

ifconfig lo 127.0.0.1 up
mount -t configfs none /sys/kernel/config
cd /sys/kernel/config/nvmet
mkdir subsystems/nqn.test subsystems/nqn.test/namespaces/1 ports/1
echo 1 > subsystems/nqn.test/attr_allow_any_host
echo /dev/vdf > subsystems/nqn.test/namespaces/1/device_path
echo 1 > subsystems/nqn.test/namespaces/1/enable
echo tcp > ports/1/addr_trtype; echo ipv4 > ports/1/addr_adrfam
echo 127.0.0.1 > ports/1/addr_traddr; echo 4420 > ports/1/addr_trsvcid
ln -s /sys/kernel/config/nvmet/subsystems/nqn.test ports/1/subsystems/nqn.test
echo nqn=nqn.test,transport=tcp,traddr=127.0.0.1,trsvcid=4420 > /dev/nvme-fabrics
for n in 1 2 3 4 5 6 7 8 9 10; do test -b /dev/nvme0n1 && break; sleep 0.5; done
refused file:/dev/nvme0n1:/crash 'an NVMe disk behind a network'
"#;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "image-refused",
        series: MAIN_SERIES,
        guest: Guest {
            disk: 16,
            drives: DRIVES.into(),
            before: SCRIPT.into(),
            modules: MODULES,
            only_workshop: true,
            ..Guest::default()
        },
        setup: None,
        judge,
    }]
}

/// Each kind was refused.
fn judge(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    let log = fs::read_to_string(run.dir.join("before.log")).context("the workshop has no log")?;
    let refused = log
        .lines()
        .filter(|line| line.contains("refused: "))
        .count();
    ensure!(refused == KINDS, "{refused} of {KINDS} kinds were refused");
    Ok(format!(
        "{KINDS} kinds of targets that a capture cannot have"
    ))
}
