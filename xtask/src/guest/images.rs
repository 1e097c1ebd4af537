//! The images of a run: that of the capture, and that of the guest which panics.

use super::{Guest, MACHINE_ID};
use crate::build::Binaries;
use crate::fetch::Kernel;
use crate::kexec;
use anyhow::{Context, Result};
use initramfs::cpio::Archive;
use initramfs::modules::{self, Index, Wishes};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The capture image, made by the program that users make it with.
pub(super) fn capture_image(
    guest: &Guest,
    kernel: &Kernel,
    binaries: &Binaries,
    dir: &Path,
) -> Result<PathBuf> {
    let kernel = guest.capture_kernel.as_ref().unwrap_or(kernel);
    let (config, image) = (dir.join("baredump.toml"), dir.join("capture.img"));
    fs::write(&config, &guest.config).context("cannot write the configuration")?;
    let mut command = Command::new(&binaries.baredumpctl);
    command.args(["image", "--no-probe", "--kernel-release", &kernel.release]);
    for filesystem in &guest.filesystems {
        command.arg("--filesystem").arg(filesystem);
    }
    command.arg("--modules-dir").arg(&kernel.modules);
    command.arg("--kernel-config").arg(&kernel.config);
    // An empty directory: this machine's module options are not the guest's.
    command
        .arg("--modprobe-dir")
        .arg(dir.join("modprobe.d"))
        .arg("--binary")
        .arg(&binaries.of(kernel.arch)?.baredump);
    command
        .arg("--config")
        .arg(&config)
        .arg("--output")
        .arg(&image);
    for module in &guest.capture_modules {
        command.arg("--module").arg(module);
    }
    qemu::run_tool(&mut command, &[0])?;
    if let Some(module) = guest.spins {
        spin(&image, module)?;
    }
    Ok(image)
}

/// The call of the tracer, with which a function of an x86 kernel begins; it is made to nothing when the module is loaded.
const CALL: usize = 5;
/// The end of a signed module.
const SIGNED: &[u8] = b"~Module signature appended~\n";
/// A jump to itself.
const SPIN: [u8; 2] = [0xeb, 0xfe];
/// An instruction that no processor has: an oops.
const OOPS: [u8; 2] = [0x0f, 0x0b];

/// Lets the start of a module of the image never end. The image is not compressed any more.
fn spin(image: &Path, module: &str) -> Result<()> {
    let archive = initramfs::image::unpack(&read(image)?)?;
    let mut bytes = archive.to_bytes();
    let file = archive
        .file_bytes(&format!("lib/modules/{module}.ko"))
        .with_context(|| format!("the image has no {module}"))?;
    let mut places = bytes.windows(file.len());
    let at = places
        .position(|place| place == file)
        .context("the image does not hold the module as it is")?;
    bytes[at..at + file.len()].copy_from_slice(&started_with(file, SPIN)?);
    fs::write(image, bytes).context("cannot write the capture image")
}

/// A module whose start begins with an instruction of two bytes.
fn started_with(module: &[u8], code: [u8; 2]) -> Result<Vec<u8>> {
    let start = modules::section(module, b".init.text").context("no start function")?;
    let at = start.as_ptr().addr() - module.as_ptr().addr() + CALL;
    let mut bytes = module.to_vec();
    bytes[at..at + code.len()].copy_from_slice(&code);
    // A signature that does not fit is refused, a module without one is not.
    if module.ends_with(SIGNED) {
        let end = module.len();
        bytes[end - SIGNED.len()..].fill(0);
    }
    Ok(bytes)
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Modules of the kernel with what they need, in the order of their loading.
fn load_order(kernel: &Kernel, wanted: &[&str]) -> Result<Vec<modules::Module>> {
    let index = Index::read(std::slice::from_ref(&kernel.modules))?;
    let wanted: Vec<_> = wanted.iter().map(|&name| name.to_owned()).collect();
    let wishes = Wishes {
        modules: &wanted,
        filesystems: &["ext4".to_owned()],
        options: None,
        config: None,
    };
    Ok(modules::close(&index, &wishes)?.load)
}

/// An initramfs whose PID 1 is the guest's program, with the modules for its disks.
fn skeleton(kernel: &Kernel, binaries: &Binaries, more: &[&str]) -> Result<Archive> {
    let mut archive = Archive::new();
    for dir in ["dev", "proc", "sys", "run", "tmp", "mnt"] {
        archive.directory(dir, 0o755)?;
    }
    archive.file("init", 0o755, read(&binaries.of(kernel.arch)?.guest)?)?;
    let mut list = String::new();
    for module in load_order(kernel, &[&["virtio_blk"], more].concat())? {
        let path = format!("lib/modules/{}.ko", module.name);
        list.push_str(&format!("/{path}\n"));
        archive.file(&path, 0o644, module.bytes)?;
    }
    archive.file("etc/guest/modules", 0o644, list.into_bytes())?;
    Ok(archive)
}

/// The capture image that copies `/proc/vmcore` as it is.
pub(super) fn raw_image(kernel: &Kernel, binaries: &Binaries) -> Result<Vec<u8>> {
    Ok(skeleton(kernel, binaries, &[])?.to_bytes())
}

/// The production guest's initramfs: its PID 1, the loader, kernel and capture image, and the modules for its disk.
pub(super) fn guest_image(
    guest: &Guest,
    kernel: &Kernel,
    binaries: &Binaries,
    (name, capture): (&str, Vec<u8>),
) -> Result<Vec<u8>> {
    let mut archive = skeleton(kernel, binaries, guest.modules)?;
    let loader = read(&binaries.of(kernel.arch)?.baredumpctl)?;
    archive.file("usr/sbin/baredumpctl", 0o755, loader)?;
    if let Some(tree) = &kernel.kexec_tools {
        for (path, bytes) in kexec::files(tree)? {
            archive.file(&path, 0o755, bytes)?;
        }
    }
    if let Some(module) = guest.oopses {
        let order = load_order(kernel, &[module])?;
        let file = order.iter().find(|file| file.name == module);
        let file = file.context("the kernel lacks the module that is to oops")?;
        archive.file("etc/guest/oops.ko", 0o644, started_with(&file.bytes, OOPS)?)?;
    }
    let captures = guest.capture_kernel.as_ref().unwrap_or(kernel);
    archive.file("boot/vmlinuz", 0o644, read(&captures.vmlinuz)?)?;
    archive.file(name, 0o600, capture)?;
    archive.file(
        "etc/machine-id",
        0o444,
        format!("{MACHINE_ID}\n").into_bytes(),
    )?;
    Ok(archive.to_bytes())
}
