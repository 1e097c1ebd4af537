//! The guest: a Debian machine on one ext4 disk. It is booted once as a whole, so that nothing of a first boot is left and the package has
//! built its capture image; every run panics a copy of that disk. Of a run only the production side is short: a script instead of systemd,
//! which loads the capture kernel as the wanted side does it. The capture side is wholly that side's own.

use super::root;
use crate::apt::Apt;
use crate::fetch::Kernel;
use crate::guest::ASKED;
use crate::lab::{Lab, say};
use crate::setup;
use anyhow::{Context, Result, bail};
use qemu::disk::Ext4;
use qemu::outcome::{self, End};
use qemu::vm::Event;
use qemu::{Accel, Disk, Line, Machine, Outcome, Vm};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The reservation that the package of Debian asks for.
pub(crate) const CRASHKERNEL: &str = "384M-:128M";
/// What systemd starts at the whole boot.
pub(super) const PREPARATION: &str = "usr/local/sbin/prepare-guest";
/// PID 1 of the production side.
const PRODUCTION: &str = "/usr/local/sbin/panic-now";
/// UUID of the root file system.
const UUID: &str = "8a0e7f1c-2f0b-4b0f-8f57-1f3f0b7f5a11";
/// Where both sides put dumps.
pub(super) const CRASH: &str = "/var/crash";
/// The whole boot takes most of it: the package builds its image.
const LIMIT: Duration = Duration::from_secs(600);
/// What a prepared disk says last.
const PREPARED: &str = "guest: prepared";

/// Who captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Debian's package, its configuration as it is but for being switched on.
    KdumpTools,
    /// `baredumpctl image` and `baredumpctl arm` in the guest.
    Baredump,
}

/// A machine ready to panic.
pub(crate) struct Guest {
    template: Disk,
    initrd: PathBuf,
    kernel: Kernel,
    accel: Accel,
}

/// A run that ended.
pub(crate) struct Ran {
    /// The console.
    pub(crate) lines: Vec<Line>,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// From the start of the machine to the end of QEMU.
    pub(crate) took: Duration,
    /// Its disk.
    pub(crate) disk: Disk,
    /// Where the disk and the console are.
    pub(crate) dir: PathBuf,
}

impl Ran {
    /// Removes the disk, which is large.
    pub(crate) fn forget_disk(&self) {
        let _ = fs::remove_file(self.dir.join("disk.raw"));
    }
}

impl Guest {
    /// Makes the machine, kept until the kernel or the preparation changes.
    ///
    /// # Errors
    /// When the root file system cannot be made or does not boot.
    pub(crate) fn open(lab: &Lab, apt: &Apt, kernel: &Kernel, accel: Accel) -> Result<Self> {
        if !setup::is_root() {
            bail!("only root can make a root file system: run this as root");
        }
        let place = lab.dir("kdump-tools")?;
        let (file, stamp) = (place.join("disk.raw"), place.join("disk.made-of"));
        let initrd = place.join("initrd.img");
        let parts = format!("{}\n{}", kernel.release, preparation());
        let known = fs::read_to_string(&stamp).is_ok_and(|made| made == parts);
        if known {
            return Ok(Self {
                template: Disk::open(&file)?,
                initrd,
                kernel: kernel.clone(),
                accel,
            });
        }
        let _ = fs::remove_file(&stamp);
        let root = root::make(lab, apt, kernel)?;
        fs::copy(root::initrd(&root, kernel), &initrd).context("cannot copy the initramfs")?;
        let how = Ext4 {
            size: 6 << 30,
            uuid: UUID,
            label: "root",
            content: Some(&root),
        };
        let template = Disk::create(&file, &how)?;
        fs::remove_dir_all(&root).with_context(|| format!("cannot empty {}", root.display()))?;
        let guest = Self {
            template,
            initrd,
            kernel: kernel.clone(),
            accel,
        };
        guest.prepare(&place)?;
        fs::write(&stamp, parts).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(guest)
    }

    /// Boots the machine as a whole, once.
    fn prepare(&self, dir: &Path) -> Result<()> {
        say("booting it once: the package builds its capture image");
        let words = format!("systemd.run=/{PREPARATION} systemd.run_success_action=poweroff");
        let (vm, end) = self.boot(&self.template, &dir.join("console.log"), &words)?;
        if end != End::Exited || !vm.lines().iter().any(|line| line.text.contains(PREPARED)) {
            bail!(
                "the guest could not be prepared; see {}",
                vm.log_path().display()
            );
        }
        drop(vm);
        self.template.recover()
    }

    /// Panics a copy of the machine, in which `files` (from, to) are put before.
    ///
    /// # Errors
    /// When the disk cannot be made or QEMU cannot be started; whatever the guest does is an [`Outcome`].
    pub(crate) fn run(&self, dir: &Path, side: Side, files: &[(&Path, &str)]) -> Result<Ran> {
        let disk = self.template.copy(&dir.join("disk.raw"))?;
        let script = dir.join("panic-now");
        write_script(&script, &production())?;
        for (from, to) in files.iter().chain(&[(script.as_path(), PRODUCTION)]) {
            disk.write(from, to)?;
        }
        let who = match side {
            Side::KdumpTools => "kdump-tools",
            Side::Baredump => "baredump",
        };
        let words = format!("init={PRODUCTION} capture={who}");
        let (vm, end) = self.boot(&disk, &dir.join("console.log"), &words)?;
        Ok(Ran {
            outcome: outcome::judge(vm.lines(), ASKED, end),
            lines: vm.lines().to_vec(),
            took: vm.elapsed(),
            disk,
            dir: dir.to_path_buf(),
        })
    }

    /// Runs the machine to its end.
    fn boot(&self, disk: &Disk, console: &Path, words: &str) -> Result<(Vm, End)> {
        let mut machine = Machine::new(&self.kernel.vmlinuz, self.accel);
        machine.initrd = Some(self.initrd.clone());
        machine.append = format!("root=/dev/vda ro crashkernel={CRASHKERNEL} {words}");
        machine.drives = vec![disk.drive("root")];
        let mut vm = Vm::start(&machine, console)?;
        let mut deadline = Instant::now() + LIMIT;
        loop {
            match vm.next(deadline)? {
                Event::Line(line) if outcome::hopeless(&line) => {
                    deadline = deadline.min(Instant::now() + Duration::from_secs(1));
                }
                Event::Line(_) => {}
                Event::Exit(status) if status.success() => return Ok((vm, End::Exited)),
                Event::Exit(_) => return Ok((vm, End::Failed)),
                Event::Timeout => return Ok((vm, End::Deadline)),
            }
        }
    }
}

/// Started by systemd at the one whole boot: what the kernel package's hook and the service's start do on a real machine.
pub(super) fn preparation() -> String {
    format!(
        r#"#!/bin/sh
exec > /dev/console 2>&1
release=$(uname -r)
/etc/kernel/postinst.d/kdump-tools $release
cp /etc/kdump/sysctl.conf /var/lib/kdump/latest_sysctls-$release
kdump-config symlinks $release
[ -e /var/lib/kdump/initrd.img ] && echo "{PREPARED}"
"#
    )
}

/// PID 1 of a run: loads, uses the machine a little, panics. The last thing before the panic leaves pages of zeros in the list of free
/// pages that only the processor knows: neither side sees that those are free, and the rest of what was read would be in them.
fn production() -> String {
    format!(
        r#"#!/bin/sh
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -o remount,rw /; mount -t tmpfs tmpfs /run
exec > /dev/console 2>&1
case " $(cat /proc/cmdline) " in
*" capture=baredump "*)
    baredumpctl image && baredumpctl arm ;;
*)
    export KDUMP_CMDLINE="$(sed -re 's/(^| )(crashkernel|init|capture)=[^ ]*//g' /proc/cmdline) panic=5"
    kdump-config load ;;
esac
[ "$(cat /sys/kernel/kexec_crash_loaded)" = 1 ] || {{ echo "no capture kernel is loaded"; poweroff -f; }}
find /usr /lib -xdev -type f -exec cat {{}} + > /dev/null
sync
echo 1 > /proc/sys/kernel/sysrq
dd if=/dev/zero of=/dev/null bs=64M count=1
echo "<1>{ASKED}" > /dev/kmsg
echo c > /proc/sysrq-trigger
"#
    )
}

/// Writes a script that can be started.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_script(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text)
        .and_then(|()| fs::set_permissions(file, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The configuration of our side: the place where the package puts its dumps too.
pub(crate) fn configuration(codec: &str) -> String {
    format!("targets = [\"file:UUID={UUID}:{CRASH}\"]\ncompress = \"{codec}\"\n")
}
