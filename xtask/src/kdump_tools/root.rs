//! The root file system of the guest: Debian's minimal set, systemd and kdump-tools as the packages leave them, its service switched on.

use super::guest;
use crate::apt::Apt;
use crate::fetch::Kernel;
use crate::lab::{Lab, say};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian 12.
const SUITE: &str = "bookworm";
/// What the guest is made of beside Debian's minimal set.
const PACKAGES: &str =
    "systemd-sysv,udev,kmod,kdump-tools,makedumpfile,kexec-tools,initramfs-tools,zstd,procps";
/// Where the package's service is told to work.
const CONFIGURATION: &str = "etc/default/kdump-tools";

/// Makes the root file system in an empty directory.
///
/// # Errors
/// When a package cannot be had or installed.
pub(super) fn make(lab: &Lab, apt: &Apt, kernel: &Kernel) -> Result<PathBuf> {
    let root = lab.dir("kdump-tools")?.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot empty {}", root.display()))?;
    }
    say(&format!(
        "making a {SUITE} root file system with kdump-tools"
    ));
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
    give_kernel(&root, kernel)?;
    configure(&root)?;
    Ok(root)
}

/// The initramfs that boots the guest.
pub(super) fn initrd(root: &Path, kernel: &Kernel) -> PathBuf {
    root.join(format!("boot/initrd.img-{}", kernel.release))
}

/// Installs the kernel by hand: its package would want a boot loader.
fn give_kernel(root: &Path, kernel: &Kernel) -> Result<()> {
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
        |words: &[&str]| qemu::run_tool(Command::new("chroot").arg(root).args(words), &[0]);
    inside(&["depmod", release])?;
    inside(&[
        "mkinitramfs",
        "-o",
        &format!("/boot/initrd.img-{release}"),
        release,
    ])?;
    Ok(())
}

/// What an administrator sets, and what the whole boot starts.
fn configure(root: &Path) -> Result<()> {
    let file = root.join(CONFIGURATION);
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().map(|line| {
        let setting = line.trim_start_matches(['#', ' ']);
        match setting.starts_with("USE_KDUMP=") {
            true => "USE_KDUMP=1",
            false => line,
        }
    });
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    fs::write(&file, text)?;
    fs::write(root.join("etc/hostname"), "guest\n")?;
    fs::write(
        root.join("etc/fstab"),
        "/dev/vda / ext4 errors=remount-ro 0 1\n",
    )?;
    guest::write_script(&root.join(guest::PREPARATION), &guest::preparation())
}
