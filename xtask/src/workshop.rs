//! A machine with this host's tools for disks. It makes file systems, volumes and arrays on drives before a panic, and looks at
//! them afterwards as any machine would: what the tools' own programs say is what counts.

use crate::fetch::Kernel;
use anyhow::{Context, Result, bail};
use initramfs::cpio::Archive;
use initramfs::modules::{self, Index, Wishes};
use qemu::vm::Event;
use qemu::{Accel, Drive, Machine, Vm};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What the machine says when its script ended well.
const DONE: &str = "workshop: done";
/// Deadline of a script.
const LIMIT: Duration = Duration::from_secs(90);
/// Modules for whatever the drives hold; those that a kernel has built in are passed over.
const MODULES: &[&str] = &["virtio_blk", "dm_mod", "dm_snapshot", "md_mod", "raid1"];
const FILESYSTEMS: &[&str] = &["ext4", "xfs", "btrfs", "vfat"];
/// Programs of this host that scripts may use, besides busybox.
const PROGRAMS: &[&str] = &[
    "lvm",
    "mdadm",
    "mkfs.ext4",
    "mkfs.btrfs",
    "btrfs",
    "e2fsck",
    "cryptsetup",
    "dmsetup",
];
/// Runs before each script.
const PROLOGUE: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/sbin:/bin MDADM_NO_UDEV=1 DM_DISABLE_UDEV=1
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run
echo 4 > /proc/sys/kernel/printk
while read module; do insmod $module || echo no $module; done < /modules
";

/// What is done in the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Job<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// The commands; it ends at the first that fails.
    pub(crate) script: &'a str,
    /// Modules besides those for the file systems and volumes of targets.
    pub(crate) modules: &'a [&'a str],
    /// Programs besides those of this host.
    pub(crate) programs: &'a [&'a Path],
}

/// Runs a script with `drives` as /dev/vda, /dev/vdb, ….
///
/// # Errors
/// When a program is missing, or the script does not come to its end.
pub(crate) fn run(
    kernel: &Kernel,
    accel: Accel,
    drives: Vec<Drive>,
    dir: &Path,
    job: Job<'_>,
) -> Result<()> {
    let name = job.name;
    let initrd = dir.join(format!("{name}.cpio"));
    fs::write(&initrd, image(kernel, job)?)
        .with_context(|| format!("cannot write {}", initrd.display()))?;
    let mut machine = Machine::new(&kernel.vmlinuz, accel);
    machine.initrd = Some(initrd.clone());
    machine.memory = 768;
    machine.drives = drives;
    machine.append = "quiet".into();
    let log = dir.join(format!("{name}.log"));
    let mut vm = Vm::start(&machine, &log)?;
    let deadline = Instant::now() + LIMIT;
    while let Event::Line(_) = vm.next(deadline)? {}
    let done = vm.lines().iter().any(|line| line.text.contains(DONE));
    drop(vm);
    let _ = fs::remove_file(&initrd);
    if !done {
        crate::vm::show_tail(&log);
        bail!(
            "the script {name} did not come to its end, see {}",
            log.display()
        );
    }
    Ok(())
}

fn image(kernel: &Kernel, job: Job<'_>) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    for dir in [
        "dev", "proc", "sys", "run", "tmp", "bin", "sbin", "mnt", "out",
    ] {
        archive.directory(dir, 0o755)?;
    }
    let script = job.script;
    let init = format!("{PROLOGUE}(set -e\n{script}\necho {DONE})\nsync\npoweroff -f\n");
    archive.file("init", 0o755, init.into_bytes())?;
    archive.file("bin/busybox", 0o755, read(&qemu::find_tool("busybox")?)?)?;
    let mut libraries = BTreeSet::new();
    for program in PROGRAMS {
        let path = qemu::find_tool(program)?;
        libraries.extend(linked(&path)?);
        archive.file(&format!("sbin/{program}"), 0o755, read(&path)?)?;
    }
    for program in job.programs {
        let name = program.file_name().context("a program without a name")?;
        archive.file(&format!("sbin/{}", name.display()), 0o755, read(program)?)?;
    }
    for library in libraries {
        let bytes = read(&library)?;
        archive.file(&library.display().to_string(), 0o755, bytes)?;
    }
    let index = Index::read(std::slice::from_ref(&kernel.modules))?;
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let closed = modules::close(
        &index,
        &Wishes {
            modules: &names(&[MODULES, job.modules].concat()),
            filesystems: &names(FILESYSTEMS),
            options: None,
            config: None,
        },
    )?;
    let mut list = String::new();
    for module in closed.load {
        let path = format!("/lib/modules/{}.ko", module.name);
        list.push_str(&format!("{path}\n"));
        archive.file(&path, 0o644, module.bytes)?;
    }
    archive.file("modules", 0o644, list.into_bytes())?;
    Ok(archive.to_bytes())
}

/// The libraries of a program and its loader, where this host has them.
fn linked(program: &Path) -> Result<Vec<PathBuf>> {
    let out = qemu::run_tool(Command::new("ldd").arg(program), &[0])?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let paths = text
        .split_ascii_whitespace()
        .filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
