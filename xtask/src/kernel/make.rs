//! The kernel's own build, outside its source: configuration, image, modules.

use super::{fragment, read};
use crate::lab::{Lab, say};
use crate::setup;
use anyhow::{Context, Result, bail};
use qemu::Arch;
use std::fs;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

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
/// In an unpacked source: what it was unpacked from.
const UNPACKED: &str = ".unpacked";

/// A kernel that can be built.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) arch: Arch,
    /// Also the name of its fragment.
    pub(super) name: &'static str,
    /// Its name in the kernel's source.
    source: &'static str,
    /// What the names of its compiler and linker begin with elsewhere.
    cross: &'static str,
    /// The image that kexec takes.
    image: &'static str,
}

pub(super) const TARGETS: &[Target] = &[
    Target {
        arch: Arch::X86,
        name: "x86_64",
        source: "x86",
        cross: "x86_64-linux-gnu-",
        image: "bzImage",
    },
    // Not compressed: kexec_file_load takes nothing else.
    Target {
        arch: Arch::Arm64,
        name: "arm64",
        source: "arm64",
        cross: "aarch64-linux-gnu-",
        image: "Image",
    },
];

impl Target {
    pub(super) fn of(arch: Arch) -> Result<&'static Self> {
        let found = TARGETS.iter().find(|target| target.arch == arch);
        found.context("there is no fragment for this architecture")
    }

    /// The fragment, from the root of the repository.
    pub(super) fn fragment(&self) -> String {
        format!("kernel-config/{}.config", self.name)
    }

    /// What every call of make is told. Who builds where is not in the kernel.
    fn words(&self, build: &Path) -> Vec<String> {
        let mut words = vec![
            format!("O={}", build.display()),
            format!("ARCH={}", self.name),
            format!("LOCALVERSION={SUFFIX}"),
            "KBUILD_BUILD_USER=baredump".into(),
            "KBUILD_BUILD_HOST=baredump".into(),
        ];
        if !self.arch.is_host() {
            words.push(format!("CROSS_COMPILE={}", self.cross));
        }
        words
    }
}

/// Installs what is missing.
///
/// # Errors
/// When it cannot be installed.
pub(super) fn tools(sh: &Shell) -> Result<()> {
    for (program, package) in TOOLS {
        setup::tool(sh, program, package)?;
    }
    match Path::new(ELF_HEADER.0).exists() {
        true => Ok(()),
        false => setup::install(sh, &[ELF_HEADER.1]),
    }
}

/// The source, unpacked unless it is there. `key` says from which archive.
///
/// # Errors
/// When tar fails.
pub(super) fn source(sh: &Shell, lab: &Lab, archive: &Path, key: &str) -> Result<PathBuf> {
    let dir = lab.dir("kernel/source")?;
    if fs::read_to_string(dir.join(UNPACKED)).is_ok_and(|known| known == key) {
        return Ok(dir);
    }
    say("unpacking the source");
    let dir = lab.fresh("kernel/source")?;
    cmd!(
        sh,
        "tar --extract --file {archive} --directory {dir} --strip-components=1"
    )
    .quiet()
    .run()?;
    fs::write(dir.join(UNPACKED), key).context("cannot write the mark of the source")?;
    Ok(dir)
}

/// Configures, builds and installs into `out`: `release`, and in `lib/modules/RELEASE` all the rest.
///
/// # Errors
/// When a line of the fragment does not take, or make fails.
pub(super) fn all(
    sh: &Shell,
    target: &Target,
    source: &Path,
    wanted: &Path,
    out: &Path,
) -> Result<()> {
    let build = out.join("build");
    fs::create_dir_all(&build).with_context(|| build.display().to_string())?;
    let words = &target.words(&build);
    let setting = format!("KCONFIG_ALLCONFIG={}", wanted.display());
    cmd!(sh, "make -s -C {source} {words...} {setting} allnoconfig")
        .quiet()
        .run()?;
    let config = build.join(".config");
    check(target, &read(wanted)?, &read(&config)?)?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let (jobs, image) = (format!("-j{jobs}"), target.image);
    say("building; that takes a while");
    cmd!(
        sh,
        "nice make -s -C {source} {words...} {jobs} {image} modules"
    )
    .quiet()
    .run()?;
    // The build asks for options that came up meanwhile.
    check(target, &read(wanted)?, &read(&config)?)?;
    install(sh, target, source, out)
}

/// A line of the fragment that is not in the configuration is an error: something that it depends on is missing or is gone.
fn check(target: &Target, wanted: &str, config: &str) -> Result<()> {
    let lost = fragment::lost(wanted, config);
    if lost.is_empty() {
        return Ok(());
    }
    bail!(
        "these lines of {} have no effect, because something that they depend on is missing or is gone: {}",
        target.fragment(),
        lost.join(", ")
    )
}

fn install(sh: &Shell, target: &Target, source: &Path, out: &Path) -> Result<()> {
    let build = out.join("build");
    let _ = fs::remove_dir_all(out.join("lib"));
    let mut words = target.words(&build);
    words.push(format!("INSTALL_MOD_PATH={}", out.display()));
    words.push("INSTALL_MOD_STRIP=1".into());
    // Not every user's search path has it.
    words.push(format!("DEPMOD={}", qemu::find_tool("depmod")?.display()));
    cmd!(sh, "make -s -C {source} {words...} modules_install")
        .quiet()
        .run()?;
    let release = read(&build.join("include/config/kernel.release"))?;
    let modules = out.join("lib/modules").join(release.trim());
    // Where modules could be built for it: that goes.
    let _ = fs::remove_file(modules.join("build"));
    let image = format!("arch/{}/boot/{}", target.source, target.image);
    for (from, to) in [
        (build.join(image), modules.join("vmlinuz")),
        (build.join(".config"), modules.join("config")),
    ] {
        fs::copy(&from, &to).with_context(|| from.display().to_string())?;
    }
    fs::write(out.join("release"), release).context("cannot write the release")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_other_architecture_is_cross_compiled() {
        for target in TARGETS {
            let words = target.words(Path::new("/b"));
            let cross = words.iter().any(|word| word.starts_with("CROSS_COMPILE="));
            assert_eq!(cross, !target.arch.is_host(), "{}", target.name);
            assert!(words.contains(&"O=/b".to_owned()));
        }
    }

    #[test]
    fn a_lost_line_is_named() {
        let wanted = "CONFIG_A=y\nCONFIG_B=m\n";
        let error = check(&TARGETS[0], wanted, "CONFIG_A=y\n").unwrap_err();
        assert!(error.to_string().ends_with("CONFIG_B=m"), "{error}");
        check(&TARGETS[0], wanted, wanted).unwrap();
    }
}
