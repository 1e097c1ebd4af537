//! Debian's own kdump-tools, unmodified, with baredump in the place of `/usr/bin/makedumpfile`: `test --full`.
//!
//! Only the production side is short: a script instead of systemd, which runs the package's own hook and loader. The capture side is the
//! package's: its initramfs, systemd, its service, its way to call makedumpfile (kdump-tools 1.8 of Debian 12: `--dump-dmesg`, then
//! `-F -c -d 31` into a pipe).

use crate::apt::Apt;
use crate::build::Binaries;
use crate::fetch::{Kernel, Packaged};
use crate::guest::{ASKED, PANIC};
use crate::lab::{Lab, say};
use crate::setup;
use anyhow::{Context, Result, bail};
use qemu::disk::Ext4;
use qemu::outcome::{self, End};
use qemu::vm::Event;
use qemu::{Accel, Disk, Machine, Outcome, Vm};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Debian 12.
const SUITE: &str = "bookworm";
/// What the guest is made of beside Debian's minimal set.
const PACKAGES: &str =
    "systemd-sysv,udev,kmod,kdump-tools,makedumpfile,kexec-tools,initramfs-tools,zstd,procps";
/// Where the package's service is told to work.
const CONFIGURATION: &str = "etc/default/kdump-tools";
/// PID 1 of the production side.
const SCRIPT: &str = "usr/local/sbin/panic-now";
/// What the service says of its way to call makedumpfile, and what baredump answers there.
const DUMPING: &[&str] = &[
    "running makedumpfile -F -c -d 31 /proc/vmcore",
    " pages kept (",
];
/// The package builds its image in the guest, which takes most of the time.
const LIMIT: Duration = Duration::from_secs(900);
const CRASH: &str = "/var/crash";

/// The two files that the service leaves.
pub(crate) struct Saved {
    /// The flattened dump.
    pub(crate) dump: PathBuf,
    /// Seconds from the panic to the reset.
    pub(crate) seconds: f64,
}

/// Makes the guest, panics it, and takes the files out of its disk.
///
/// # Errors
/// When the guest cannot be made, or its service does not leave a dump.
pub(crate) fn capture(
    lab: &Lab,
    apt: &Apt,
    binaries: &Binaries,
    kernel: &Kernel,
    accel: Accel,
) -> Result<Saved> {
    if !setup::is_root() {
        bail!("only root can make a root file system: run this as root");
    }
    let root = root(lab, apt, kernel)?;
    let dir = lab.fresh("runs/kdump-tools")?;
    install(binaries, &root)?;
    let disk = Disk::create(
        &dir.join("disk.raw"),
        &Ext4 {
            size: 6 << 30,
            uuid: "8a0e7f1c-2f0b-4b0f-8f57-1f3f0b7f5a11",
            label: "root",
            content: Some(&root),
        },
    )?;
    let mut machine = Machine::new(&kernel.vmlinuz, accel);
    machine.initrd = Some(root.join(format!("boot/initrd.img-{}", kernel.release)));
    machine.append = format!("root=/dev/vda ro crashkernel=256M init=/{SCRIPT}");
    machine.drives = vec![disk.drive("root")];
    let mut vm = Vm::start(&machine, &dir.join("console.log"))?;
    let deadline = Instant::now() + LIMIT;
    let end = loop {
        match vm.next(deadline)? {
            Event::Line(line) if outcome::hopeless(&line) => break End::Failed,
            Event::Line(_) => {}
            Event::Exit(status) if status.success() => break End::Exited,
            Event::Exit(_) => break End::Failed,
            Event::Timeout => break End::Deadline,
        }
    };
    let log = vm.log_path().display().to_string();
    let outcome = outcome::judge(vm.lines(), ASKED, end);
    if outcome != Outcome::Finished {
        bail!("{outcome}; see {log}");
    }
    let at = |word: &str| {
        vm.lines()
            .iter()
            .find(|line| line.text.contains(word))
            .map(|line| line.at)
    };
    if let Some(words) = DUMPING.iter().find(|words| at(words).is_none()) {
        bail!("the console does not say `{words}`; see {log}");
    }
    let seconds = vm
        .elapsed()
        .saturating_sub(at(PANIC).unwrap_or_default())
        .as_secs_f64();
    drop(vm);
    disk.recover()?;
    saved(&disk, &dir, seconds)
}

/// The root file system, kept until the kernel changes.
fn root(lab: &Lab, apt: &Apt, kernel: &Kernel) -> Result<PathBuf> {
    let place = lab.dir("kdump-tools")?;
    let (root, stamp) = (place.join("root"), place.join("made-of"));
    if fs::read_to_string(&stamp).is_ok_and(|made| made == kernel.release) {
        return Ok(root);
    }
    say(&format!(
        "making a {SUITE} root file system with kdump-tools"
    ));
    let _ = fs::remove_file(&stamp);
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot empty {}", root.display()))?;
    }
    qemu::run_tool(
        Command::new(qemu::find_tool("mmdebstrap")?)
            .args([
                "--mode=root",
                "--variant=minbase",
                &format!("--include={PACKAGES}"),
                SUITE,
            ])
            .arg(&root)
            .arg(format!("deb {} {SUITE} main", apt.mirror)),
        &[0],
    )?;
    let release = &kernel.release;
    let boot = |name: &str| root.join("boot").join(format!("{name}-{release}"));
    for (from, to) in [
        (&kernel.vmlinuz, boot("vmlinuz")),
        (&kernel.config, boot("config")),
    ] {
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let modules = root.join("lib/modules");
    fs::create_dir_all(&modules)?;
    qemu::run_tool(
        Command::new("cp")
            .arg("-a")
            .arg(&kernel.modules)
            .arg(&modules),
        &[0],
    )?;
    let inside =
        |words: &[&str]| qemu::run_tool(Command::new("chroot").arg(&root).args(words), &[0]);
    inside(&["depmod", release])?;
    inside(&[
        "mkinitramfs",
        "-o",
        &format!("/boot/initrd.img-{release}"),
        release,
    ])?;
    fs::write(&stamp, release).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(root)
}

/// Switches the service on, and puts baredump in makedumpfile's place.
fn install(binaries: &Binaries, root: &Path) -> Result<()> {
    let file = root.join(CONFIGURATION);
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().map(|line| {
        if line
            .trim_start_matches(['#', ' '])
            .starts_with("USE_KDUMP=")
        {
            "USE_KDUMP=1"
        } else {
            line
        }
    });
    fs::write(
        &file,
        lines.flat_map(|line| [line, "\n"]).collect::<String>(),
    )?;
    fs::write(root.join("etc/hostname"), "guest\n")?;
    fs::write(
        root.join("etc/fstab"),
        "/dev/vda / ext4 errors=remount-ro 0 1\n",
    )?;
    let program = root.join("usr/bin/makedumpfile");
    let _ = fs::remove_file(&program);
    fs::copy(&binaries.baredump, &program)
        .with_context(|| format!("cannot write {}", program.display()))?;
    let script = root.join(SCRIPT);
    fs::write(&script, production())?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The production side: what the kernel package's hook and the service's start do on a real machine, then the panic.
fn production() -> String {
    format!(
        r#"#!/bin/sh
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -o remount,rw /; mount -t tmpfs tmpfs /run
exec > /dev/console 2>&1
/etc/kernel/postinst.d/kdump-tools $(uname -r)
cp /etc/kdump/sysctl.conf /var/lib/kdump/latest_sysctls-$(uname -r)
kdump-config symlinks $(uname -r)
export KDUMP_CMDLINE="$(sed -re 's/(^| )(crashkernel|init)=[^ ]*//g' /proc/cmdline) panic=5"
kdump-config load
[ "$(cat /sys/kernel/kexec_crash_loaded)" = 1 ] || {{ echo "kdump-config load failed"; poweroff -f; }}
sync
echo 1 > /proc/sys/kernel/sysrq
echo "<1>{ASKED}" > /dev/kmsg
echo c > /proc/sysrq-trigger
"#
    )
}

/// Exactly one directory with a log and a dump, both under their final names.
fn saved(disk: &Disk, dir: &Path, seconds: f64) -> Result<Saved> {
    let stamps: Vec<_> = disk
        .list(CRASH)?
        .into_iter()
        .filter(qemu::disk::Entry::is_dir)
        .collect();
    let [stamp] = stamps.as_slice() else {
        bail!(
            "{CRASH} of the guest holds {} directories, expected one",
            stamps.len()
        );
    };
    let files = disk.read_dir(&format!("{CRASH}/{}", stamp.name), &dir.join("saved"))?;
    let one = |kind: &str| -> Result<PathBuf> {
        let name = format!("{kind}.{}", stamp.name);
        let there: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        if !there.contains(&name.as_str()) {
            bail!("the service left no {name}, but {}", there.join(" "));
        }
        Ok(dir.join("saved").join(name))
    };
    let (dump, log) = (one("dump")?, one("dmesg")?);
    let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    if !String::from_utf8_lossy(&text).contains(PANIC) {
        bail!("{} does not hold the panic line", log.display());
    }
    Ok(Saved { dump, seconds })
}

/// What others say of the dump: our own check, and crash with the kernel's debug information, which opens the flattened file itself.
///
/// # Errors
/// When one of them refuses it.
pub(crate) fn judge(
    saved: &Saved,
    binaries: &Binaries,
    crash: &Packaged,
    vmlinux: &Path,
) -> Result<String> {
    qemu::run_tool(
        Command::new(&binaries.baredump)
            .arg("verify")
            .arg(&saved.dump),
        &[0],
    )?;
    let script = saved.dump.with_file_name("crash.commands");
    fs::write(&script, "set scroll off\nsys\nbt\nps\nquit\n")
        .context("cannot write the commands for crash")?;
    let out = qemu::run_tool(
        crash
            .command()?
            .args(["-s", "-i"])
            .arg(&script)
            .arg(vmlinux)
            .arg(&saved.dump),
        &[0],
    )?;
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    println!("{text}");
    for word in ["PANIC: ", "sysrq_handle_crash", "kthreadd"] {
        if !text.contains(word) {
            bail!("the crash session holds no `{word}`");
        }
    }
    let bytes = fs::metadata(&saved.dump)?.len();
    Ok(format!(
        "{bytes} bytes, {:.1} s from panic to reset",
        saved.seconds
    ))
}
