//! `build`: the static binaries, in release, checked to be static, with their sizes.

use crate::lab::{Lab, say, step};
use crate::setup::{TARGET, TARGET_ARM64};
use anyhow::{Context, Result, bail};
use qemu::Arch;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// What baredump with every target may have at most, in bytes.
const MOST: usize = 3_600_000;
/// Type of the program header that asks for a dynamic loader.
const PT_INTERP: u32 = 3;

/// The built programs.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    /// PID 1 of the capture kernel and the command on a host.
    pub(crate) baredump: PathBuf,
    /// The image builder and loader.
    pub(crate) baredumpctl: PathBuf,
    /// PID 1 of the production guest.
    pub(crate) guest: PathBuf,
    /// Judges dumps by the guest's sentinel pages.
    pub(crate) sentinels: PathBuf,
    /// The programs of arm64 guests, where they were asked for.
    pub(crate) arm64: Option<Programs>,
}

/// The programs in a guest.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// PID 1 of the capture kernel.
    pub(crate) baredump: PathBuf,
    /// The loader.
    pub(crate) baredumpctl: PathBuf,
    /// PID 1 of the production guest.
    pub(crate) guest: PathBuf,
}

impl Binaries {
    /// The programs of a guest.
    ///
    /// # Errors
    /// When those for arm64 were not built.
    pub(crate) fn of(&self, arch: Arch) -> Result<Programs> {
        match arch {
            Arch::X86 => Ok(Programs {
                baredump: self.baredump.clone(),
                baredumpctl: self.baredumpctl.clone(),
                guest: self.guest.clone(),
            }),
            Arch::Arm64 => self
                .arm64
                .clone()
                .context("the programs for arm64 were not built"),
        }
    }
}

/// Builds those of this host and of arm64 guests.
///
/// # Errors
/// When cargo fails or a binary is not static.
pub(crate) fn run(sh: &Shell, lab: &Lab) -> Result<Binaries> {
    let mut binaries = host(sh, lab)?;
    let profile = profile(lab);
    cmd!(
        sh,
        "cargo build --quiet --profile {profile} --target {TARGET_ARM64} -p baredump -p initramfs -p guest --bins"
    )
    .quiet()
    .run()?;
    binaries.arm64 = Some(Programs {
        baredump: built(lab, TARGET_ARM64, "baredump")?,
        baredumpctl: built(lab, TARGET_ARM64, "baredumpctl")?,
        guest: built(lab, TARGET_ARM64, "guest")?,
    });
    Ok(binaries)
}

/// Builds those of this host.
///
/// # Errors
/// As [`run`].
pub(crate) fn host(sh: &Shell, lab: &Lab) -> Result<Binaries> {
    step("static binaries");
    let profile = profile(lab);
    let baredump: &[&str] = if lab.quick { &["-p", "baredump"] } else { &[] };
    cmd!(
        sh,
        "cargo build --quiet --profile {profile} --target {TARGET} -p initramfs -p guest -p tests {baredump...} --bins"
    )
    .quiet()
    .run()?;
    if !lab.quick {
        lean(sh, lab)?;
    }
    Ok(Binaries {
        baredump: built(lab, TARGET, "baredump")?,
        baredumpctl: built(lab, TARGET, "baredumpctl")?,
        guest: built(lab, TARGET, "guest")?,
        sentinels: built(lab, TARGET, "sentinels")?,
        arm64: None,
    })
}

/// Cargo's profile of the static binaries.
fn profile(lab: &Lab) -> &'static str {
    if lab.quick { "quick" } else { "release" }
}

/// What makes baredump smaller, and nobody else can have: parts of zstd that it never uses (it compresses pages by the two fastest
/// strategies; images need the others), relative relocations in their packed form, no unwind tables, no symbols.
fn lean(sh: &Shell, lab: &Lab) -> Result<()> {
    let dir = lab.target.join("lean");
    let script = lab.root.join("dumper/link/lean.ld");
    let script = format!("link-arg=-Wl,-T,{}", script.display());
    let _zstd = sh.push_env("CFLAGS_x86_64_unknown_linux_musl", ZSTD_FLAGS.join(" "));
    cmd!(
        sh,
        "cargo rustc --quiet --release --target {TARGET} --target-dir {dir} -p baredump --bin baredump -- -C link-arg=-Wl,-z,pack-relative-relocs -C {script}"
    )
    .quiet()
    .run()?;
    let path = Path::new(TARGET).join("release/baredump");
    let whole = fs::read(dir.join(&path)).context("cannot read the baredump that was built")?;
    let stripped = initramfs::strip::strip(whole);
    if stripped.len() > MOST {
        bail!(
            "baredump has {} bytes, and may have {MOST}: see what made it grow (nm --size-sort of a build with -C strip=none)",
            stripped.len()
        );
    }
    let to = lab.target.join(&path);
    // Written anew, not over: it may be running.
    let _ = fs::remove_file(&to);
    fs::write(&to, stripped)
        .and_then(|()| fs::set_permissions(&to, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", to.display()))
}

/// Which strategies are left out of zstd's encoder, and the smaller of two decoders each.
const ZSTD_FLAGS: &[&str] = &[
    "-DZSTD_EXCLUDE_GREEDY_BLOCK_COMPRESSOR",
    "-DZSTD_EXCLUDE_LAZY_BLOCK_COMPRESSOR",
    "-DZSTD_EXCLUDE_LAZY2_BLOCK_COMPRESSOR",
    "-DZSTD_EXCLUDE_BTLAZY2_BLOCK_COMPRESSOR",
    "-DZSTD_EXCLUDE_BTOPT_BLOCK_COMPRESSOR",
    "-DZSTD_EXCLUDE_BTULTRA_BLOCK_COMPRESSOR",
    "-DZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT=1",
    "-DHUF_FORCE_DECOMPRESS_X1=1",
];

/// A program that was built; it must be static.
fn built(lab: &Lab, target: &str, name: &str) -> Result<PathBuf> {
    let file = lab.target.join(target).join(profile(lab)).join(name);
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    check_static(&file, &bytes)?;
    let arch = target.split('-').next().unwrap_or_default();
    say(&format!(
        "{name:<12} {arch:<8} {:>9} bytes, static",
        bytes.len()
    ));
    Ok(file)
}

/// A static ELF file has no PT_INTERP (a static PIE has PT_DYNAMIC all the same).
fn check_static(file: &Path, bytes: &[u8]) -> Result<()> {
    match interpreter(bytes) {
        Some(false) => Ok(()),
        Some(true) => bail!(
            "{} is not static: it asks for a dynamic loader",
            file.display()
        ),
        None => bail!("{} is no 64-bit ELF file", file.display()),
    }
}

/// Whether a little-endian ELF64 file asks for a dynamic loader.
fn interpreter(bytes: &[u8]) -> Option<bool> {
    bytes.strip_prefix(b"\x7fELF\x02\x01")?;
    let offset = usize::try_from(u64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?)).ok()?;
    let number = |at: usize| {
        Some(usize::from(u16::from_le_bytes(
            bytes.get(at..at + 2)?.try_into().ok()?,
        )))
    };
    let (size, count) = (number(54)?, number(56)?);
    let mut found = false;
    for index in 0..count {
        let at = offset.checked_add(index * size)?;
        found |=
            u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?) == PT_INTERP;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kinds: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56 * kinds.len()];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = u8::try_from(kinds.len()).unwrap();
        for (index, kind) in kinds.iter().enumerate() {
            bytes[64 + 56 * index..][..4].copy_from_slice(&kind.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn static_or_not() {
        assert_eq!(interpreter(&elf(&[1, 2])), Some(false));
        assert_eq!(interpreter(&elf(&[1, PT_INTERP])), Some(true));
        assert_eq!(interpreter(b"#!/bin/sh"), None);
        assert_eq!(
            interpreter(&elf(&[1, 2])[..70]),
            Some(false).filter(|_| false)
        );
    }
}
