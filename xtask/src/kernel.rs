//! `kernel`: a small capture kernel from the distribution's source package and `kernel-config/x86_64.config`.
//!
//! apt checks the signature and hash of the package. What was built is kept until the package or the fragment changes.

use crate::apt::Apt;
use crate::fetch::Kernel;
use crate::lab::{Lab, say, step};
use crate::setup::{self, Need};
use anyhow::{Context, Result, bail};
use qemu::Arch;
use std::fs;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// The source package.
const PACKAGE: &str = "linux-source-6.12";
/// The fragment, from the root of the repository.
const FRAGMENT: &str = "kernel-config/x86_64.config";
/// What the release ends in: `/lib/modules` and `arm` tell it from the distribution's kernels by it.
const SUFFIX: &str = "-baredump";
/// Programs that only the kernel's build needs, and their packages.
const TOOLS: &[(&str, &str)] = &[
    ("make", "make"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("depmod", "kmod"),
];
/// A header that objtool, a part of the build, needs, and its package.
const ELF_HEADER: (&str, &str) = ("/usr/include/gelf.h", "libelf-dev");

/// Builds it, unless that was done; says how it is used.
///
/// # Errors
/// When the package cannot be had, a line of the fragment does not take, or the build fails.
pub(crate) fn run(sh: &Shell, lab: &Lab) -> Result<()> {
    setup::run(sh, Need::Host)?;
    let kernel = build(sh, lab)?;
    let shown = |path: &Path| path.display().to_string();
    say(&format!("capture kernel {}", kernel.release));
    say(&format!(
        "  baredumpctl image --kernel-release {} --modules-dir {} --kernel-config {}",
        kernel.release,
        shown(&kernel.modules),
        shown(&kernel.config)
    ));
    say(&format!(
        "  baredumpctl arm --kernel {}",
        shown(&kernel.vmlinuz)
    ));
    Ok(())
}

/// The kernel, built when it is not there.
///
/// # Errors
/// As [`run`].
pub(crate) fn build(sh: &Shell, lab: &Lab) -> Result<Kernel> {
    step("our own capture kernel");
    for (program, package) in TOOLS {
        setup::tool(sh, program, package)?;
    }
    if !Path::new(ELF_HEADER.0).exists() {
        setup::install(sh, &[ELF_HEADER.1])?;
    }
    let tree = Apt::open(lab)?.unpack(PACKAGE, &[PACKAGE.to_owned()])?;
    let archive = tree.join(format!("usr/src/{PACKAGE}.tar.xz"));
    let fragment = lab.root.join(FRAGMENT);
    let key = key(&archive, &fragment)?;
    let out = lab.dir("kernel")?;
    let stamp = out.join("built");
    if fs::read_to_string(&stamp).is_ok_and(|known| known == key) {
        return kernel(&out);
    }
    let _ = fs::remove_file(&stamp);
    make(sh, lab, &archive, &fragment, &out)?;
    fs::write(&stamp, key).context("cannot write the stamp of the build")?;
    kernel(&out)
}

/// What decides whether a build is still good: the package's archive and every byte of the fragment.
fn key(archive: &Path, fragment: &Path) -> Result<String> {
    let size = fs::metadata(archive)
        .with_context(|| archive.display().to_string())?
        .len();
    let text = fs::read(fragment).with_context(|| fragment.display().to_string())?;
    let package = fs::metadata(archive)?.modified()?;
    let since = package
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Ok(format!("{size} {since} {:08x}\n", crc32fast::hash(&text)))
}

fn make(sh: &Shell, lab: &Lab, archive: &Path, fragment: &Path, out: &Path) -> Result<()> {
    let source = lab.fresh("kernel/source")?;
    say("unpacking the source");
    cmd!(
        sh,
        "tar --extract --file {archive} --directory {source} --strip-components=1"
    )
    .quiet()
    .run()?;
    let build = lab.dir("kernel/build")?;
    let setting = format!("KCONFIG_ALLCONFIG={}", fragment.display());
    let into = format!("O={}", build.display());
    let version = format!("LOCALVERSION={SUFFIX}");
    cmd!(sh, "make -s -C {source} {into} {setting} allnoconfig")
        .quiet()
        .run()?;
    let config = build.join(".config");
    let (wanted, got) = (read(fragment)?, read(&config)?);
    let lost = lost(&wanted, &got);
    if !lost.is_empty() {
        bail!(
            "these lines of {FRAGMENT} have no effect, because something that they depend on is missing or is gone: {}",
            lost.join(", ")
        );
    }
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = format!("-j{jobs}");
    say("building; that takes a while");
    cmd!(
        sh,
        "nice make -s -C {source} {into} {version} {jobs} bzImage modules"
    )
    .quiet()
    .run()?;
    let _ = fs::remove_dir_all(out.join("lib"));
    let install = format!("INSTALL_MOD_PATH={}", out.display());
    cmd!(
        sh,
        "make -s -C {source} {into} {version} {install} INSTALL_MOD_STRIP=1 modules_install"
    )
    .quiet()
    .run()?;
    fs::copy(build.join("arch/x86/boot/bzImage"), out.join("vmlinuz"))?;
    fs::copy(&config, out.join("config"))?;
    fs::copy(
        build.join("include/config/kernel.release"),
        out.join("release"),
    )?;
    cmd!(sh, "size -A {build}/vmlinux")
        .quiet()
        .ignore_status()
        .run()?;
    Ok(())
}

fn kernel(out: &Path) -> Result<Kernel> {
    let release = read(&out.join("release"))?.trim().to_owned();
    let part = |name: &str| -> Result<PathBuf> {
        let path = out.join(name);
        fs::metadata(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    };
    Ok(Kernel {
        vmlinuz: part("vmlinuz")?,
        config: part("config")?,
        modules: part(&format!("lib/modules/{release}"))?,
        release,
        arch: Arch::X86,
        kexec_tools: None,
    })
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// Lines of a fragment that a configuration does not have; `=n` there is no line.
fn lost<'a>(fragment: &'a str, config: &str) -> Vec<&'a str> {
    let has = |line: &str| match line.strip_suffix("=n") {
        Some(option) => !config.lines().any(|line| {
            line.strip_prefix(option)
                .is_some_and(|rest| rest.starts_with('='))
        }),
        None => config.lines().any(|other| other == line),
    };
    fragment
        .lines()
        .filter(|line| line.starts_with("CONFIG_") && !has(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_effect_are_found() {
        let fragment = "# CONFIG_X=y\nCONFIG_A=y\nCONFIG_B=m\nCONFIG_C=n\nCONFIG_D=n\n";
        let config = "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_D=y\nCONFIG_CC=y\n";
        assert_eq!(lost(fragment, config), ["CONFIG_B=m", "CONFIG_D=n"]);
    }

    #[test]
    fn each_line_of_the_fragments_has_a_reason() {
        for fragment in [
            include_str!("../../kernel-config/x86_64.config"),
            include_str!("../../kernel-config/arm64.config"),
        ] {
            let mut reason = false;
            for (number, line) in fragment.lines().enumerate() {
                reason = !line.is_empty() && (reason || line.starts_with('#'));
                let option = line.starts_with("CONFIG_");
                assert!(
                    option || line.is_empty() || line.starts_with("# "),
                    "line {}",
                    number + 1
                );
                assert!(
                    !option || reason,
                    "line {} has no reason before it",
                    number + 1
                );
            }
        }
    }
}
