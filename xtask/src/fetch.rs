//! `fetch`: the kernels and tools of the lab. Kernels are chosen by pattern from the package index: the newest of each series.

use crate::apt::{Apt, SUITES};
use crate::lab::{Lab, say, step};
use anyhow::{Context, Result, bail};
use qemu::{Accel, Arch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xshell::{Shell, cmd};

/// Series of Debian's kernels that dumps are made of: `[FLAVOUR-]VERSION`, the newest that begins so. Without a flavour: cloud-amd64.
pub(crate) const SERIES: &[&str] = &["5.10.", "6.1.", "6.12.", "7.", "arm64-6.12."];
/// The newest arm64 kernel with 16K pages: large, and of use only where vmcores are made.
pub(crate) const SERIES_16K: &str = "arm64-16k-";
/// The series of the demonstration and of the fault tests.
pub(crate) const MAIN_SERIES: &str = "6.1.";
/// The arm64 series of which a debug kernel is fetched.
pub(crate) const ARM64_SERIES: &str = "arm64-6.12.";
/// Packages with a kernel or a part of one.
const KERNELS: &str =
    "^linux-(image|base|binary|modules)-[0-9].*-(cloud-amd64|cloud-arm64|arm64-16k)";
/// The loader of arm64 kernels.
const KEXEC_TOOLS: &str = "kexec-tools:arm64";

/// A build of Debian's kernel.
#[derive(Debug)]
struct Flavour {
    /// How the series of this flavour begin.
    prefix: &'static str,
    /// How its releases end.
    suffix: &'static str,
    arch: Arch,
}

/// The first whose prefix a series has is its flavour.
const FLAVOURS: &[Flavour] = &[
    Flavour {
        prefix: "arm64-16k-",
        suffix: "-arm64-16k",
        arch: Arch::Arm64,
    },
    Flavour {
        prefix: "arm64-",
        suffix: "-cloud-arm64",
        arch: Arch::Arm64,
    },
    AMD64,
];
const AMD64: Flavour = Flavour {
    prefix: "",
    suffix: "-cloud-amd64",
    arch: Arch::X86,
};

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// The release, as `uname -r` says it.
    pub(crate) release: String,
    /// The kernel image.
    pub(crate) vmlinuz: PathBuf,
    /// Its configuration.
    pub(crate) config: PathBuf,
    /// The directory `lib/modules/RELEASE`.
    pub(crate) modules: PathBuf,
    /// What its instructions are.
    pub(crate) arch: Arch,
    /// kexec-tools and its libraries, unpacked, for a kernel without kexec_file_load(2), which Debian's are on arm64.
    pub(crate) kexec_tools: Option<PathBuf>,
}

impl Kernel {
    /// What runs a guest with this kernel: another architecture's is translated, this host's is tried.
    ///
    /// # Errors
    /// When it boots in no way.
    pub(crate) fn accel(&self, lab: &Lab) -> Result<Accel> {
        if !self.arch.is_host() {
            return Ok(Accel::Tcg);
        }
        qemu::accel::choose(&self.vmlinuz, &self.release, &lab.dir("accel")?, &say)
    }
}

/// A packaged program of the newest suite, run with the libraries of that suite.
#[derive(Clone, Debug)]
pub(crate) struct Packaged {
    name: &'static str,
    tree: PathBuf,
    arch: Arch,
}

/// Fetches everything.
///
/// # Errors
/// When something cannot be had.
pub(crate) fn run(sh: &Shell, lab: &Lab, full: bool) -> Result<()> {
    step("kernels and tools");
    let apt = Apt::open(lab)?;
    for series in SERIES {
        kernel(&apt, series)?;
    }
    makedumpfile(&apt)?;
    if full {
        kernel(&apt, SERIES_16K)?;
        for series in [MAIN_SERIES, ARM64_SERIES] {
            debug_kernel(&apt, series)?;
        }
        makedumpfile_arm64(&apt)?;
        crash(&apt)?;
        drgn(sh, lab)?;
    }
    Ok(())
}

/// The newest kernel of a series, fetched and unpacked.
///
/// # Errors
/// When the mirror has none or it cannot be fetched.
pub(crate) fn kernel(apt: &Apt, series: &str) -> Result<Kernel> {
    let names = apt.names(KERNELS)?;
    let release = choose(&names, series, false).with_context(|| missing(apt, series, ""))?;
    unpack(apt, &names, &release)
}

/// The newest kernel of a series for which there is a debug package, and the path of its vmlinux with debug information.
///
/// # Errors
/// When the mirror has none or it cannot be fetched.
pub(crate) fn debug_kernel(apt: &Apt, series: &str) -> Result<(Kernel, PathBuf)> {
    let names = apt.names(KERNELS)?;
    let release = choose(&names, series, true)
        .with_context(|| missing(apt, series, " with a -dbg package"))?;
    let kernel = unpack(apt, &names, &release)?;
    let package = format!("linux-image-{release}-dbg");
    let foreign = if kernel.arch.is_host() { "" } else { ":arm64" };
    let tree = apt.unpack(&package, &[format!("{package}{foreign}")])?;
    let vmlinux = tree.join(format!("usr/lib/debug/boot/vmlinux-{release}"));
    if !vmlinux.exists() {
        bail!("{package} has no {}", vmlinux.display());
    }
    say(&format!("debug information: {package}"));
    Ok((kernel, vmlinux))
}

/// The makedumpfile of the newest suite.
///
/// # Errors
/// When it cannot be fetched or does not start.
pub(crate) fn makedumpfile(apt: &Apt) -> Result<Packaged> {
    packaged(apt, "makedumpfile", "-v")
}

/// The arm64 makedumpfile of the newest suite, which reads arm64 vmcores, in an emulator.
///
/// # Errors
/// When it cannot be fetched or does not start.
pub(crate) fn makedumpfile_arm64(apt: &Apt) -> Result<Packaged> {
    let packages = apt.with_libraries("makedumpfile:arm64")?;
    let program = Packaged {
        name: "makedumpfile",
        tree: apt.unpack("makedumpfile-arm64", &packages)?,
        arch: Arch::Arm64,
    };
    starts(program, "-v")
}

/// The crash of the newest suite: 8.0.2, which Debian 12 has, cannot follow a task's maps from 6.1 on.
///
/// # Errors
/// When it cannot be fetched or does not start.
pub(crate) fn crash(apt: &Apt) -> Result<Packaged> {
    packaged(apt, "crash", "--version")
}

/// Fetches a program of this host's architecture.
fn packaged(apt: &Apt, name: &'static str, version: &str) -> Result<Packaged> {
    let tree = apt.unpack(name, &apt.with_libraries(name)?)?;
    let arch = Arch::X86;
    starts(Packaged { name, tree, arch }, version)
}

/// Shows the version of a program, which also shows that it starts.
fn starts(program: Packaged, version: &str) -> Result<Packaged> {
    let out = qemu::run_tool(program.command()?.arg(version), &[0])?;
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("?");
    say(line);
    Ok(program)
}

/// drgn in a Python environment of its own; gives the path of its program.
///
/// # Errors
/// When pip cannot install it.
pub(crate) fn drgn(sh: &Shell, lab: &Lab) -> Result<PathBuf> {
    let venv = lab.dir("packages")?.join("drgn");
    let program = venv.join("bin/drgn");
    if !program.exists() {
        say("installing drgn with pip");
        cmd!(sh, "python3 -m venv {venv}").quiet().run()?;
        let pip = venv.join("bin/pip");
        cmd!(sh, "{pip} install --quiet --disable-pip-version-check drgn")
            .quiet()
            .run()?;
    }
    Ok(program)
}

impl Packaged {
    /// A command that starts it, with its own loader and libraries.
    ///
    /// # Errors
    /// When its tree is not as expected.
    pub(crate) fn command(&self) -> Result<Command> {
        let (triplet, loader, emulator) = match self.arch {
            Arch::X86 => ("x86_64-linux-gnu", "ld-linux-x86-64.so.2", None),
            Arch::Arm64 => (
                "aarch64-linux-gnu",
                "ld-linux-aarch64.so.1",
                Some("qemu-aarch64-static"),
            ),
        };
        let libraries: Vec<_> = ["usr/lib", "lib"]
            .iter()
            .map(|dir| self.tree.join(dir).join(triplet))
            .filter(|dir| dir.exists())
            .collect();
        let found = libraries
            .iter()
            .map(|dir| dir.join(loader))
            .find(|file| file.exists());
        let found = found.with_context(|| format!("the libc6 package holds no {loader}"))?;
        let mut command = Command::new(emulator.map_or(found.as_path(), Path::new));
        command.args(emulator.map(|_| &found));
        let candidates = ["usr/bin", "usr/sbin"].map(|dir| format!("{dir}/{}", self.name));
        let program = find(&self.tree, &candidates)?;
        command
            .arg("--library-path")
            .arg(std::env::join_paths(&libraries)?);
        // The C library loads it when a thread ends, and fails now and then when several do at once.
        let unwinder = libraries.iter().map(|dir| dir.join("libgcc_s.so.1"));
        if let Some(unwinder) = unwinder.into_iter().find(|file| file.exists()) {
            command.arg("--preload").arg(unwinder);
        }
        command.arg(program);
        Ok(command)
    }
}

fn missing(apt: &Apt, series: &str, what: &str) -> String {
    let flavour = flavour(series);
    let hint = if series.starts_with("5.10") {
        "; it is in bullseye, which old mirrors move to archive.debian.org"
    } else {
        ""
    };
    format!(
        "the mirror {} has no linux-image-{}*{}{what} in {}{hint}",
        apt.mirror,
        series.strip_prefix(flavour.prefix).unwrap_or(series),
        flavour.suffix,
        SUITES.join(", ")
    )
}

/// Chooses from package names the newest release of a series that can be had whole: the parts of one may come
/// to the mirror one after the other.
fn choose(names: &[String], series: &str, debug: bool) -> Option<String> {
    let whole = |release: &&str| {
        let debug_there = || names.contains(&format!("linux-image-{release}-dbg"));
        parts(names, release).is_some() && (!debug || debug_there())
    };
    let flavour = flavour(series);
    let version_begins = series.strip_prefix(flavour.prefix)?;
    let releases = names.iter().filter_map(|name| release(name, flavour));
    let newest = releases
        .filter(|release| release.starts_with(version_begins))
        .filter(whole)
        .max_by_key(|release| version(release));
    newest.map(str::to_owned)
}

/// The packages that make up a kernel, when they are all there: one up to 6.x, from 7.0 on binary, modules and base files (which hold the
/// configuration and the list of what is built in).
fn parts(names: &[String], release: &str) -> Option<Vec<String>> {
    let kinds: &[&str] = if version(release) < vec![7] {
        &["image"]
    } else {
        &["binary", "modules", "base"]
    };
    let parts: Vec<_> = kinds
        .iter()
        .map(|kind| format!("linux-{kind}-{release}"))
        .collect();
    parts
        .iter()
        .all(|part| names.contains(part))
        .then_some(parts)
}

/// The flavour of a series.
fn flavour(series: &str) -> &'static Flavour {
    let found = FLAVOURS
        .iter()
        .find(|flavour| series.starts_with(flavour.prefix));
    found.unwrap_or(&AMD64)
}

/// The release in a package name of a flavour.
fn release<'a>(name: &'a str, flavour: &Flavour) -> Option<&'a str> {
    let release = ["linux-image-", "linux-binary-"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))?;
    release.ends_with(flavour.suffix).then_some(release)
}

/// The numbers of a release in order, which is how kernels of one series follow each other.
fn version(release: &str) -> Vec<u64> {
    let version = FLAVOURS
        .iter()
        .find_map(|flavour| release.strip_suffix(flavour.suffix));
    let version = version.unwrap_or(release);
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// Fetches a kernel's packages and finds its parts.
fn unpack(apt: &Apt, names: &[String], release: &str) -> Result<Kernel> {
    let mut parts =
        parts(names, release).with_context(|| format!("{release} is not whole on the mirror"))?;
    let arm64 = FLAVOURS
        .iter()
        .any(|flavour| flavour.arch == Arch::Arm64 && release.ends_with(flavour.suffix));
    if arm64 {
        parts.iter_mut().for_each(|part| part.push_str(":arm64"));
    }
    let tree = apt.unpack(&format!("linux-image-{release}"), &parts)?;
    let vmlinuz = find(
        &tree,
        &[
            format!("boot/vmlinuz-{release}"),
            format!("usr/lib/modules/{release}/vmlinuz"),
        ],
    )?;
    let modules = find(
        &tree,
        &[
            format!("lib/modules/{release}"),
            format!("usr/lib/modules/{release}"),
        ],
    )?;
    let config = find(
        &tree,
        &[
            format!("boot/config-{release}"),
            format!("usr/lib/modules/{release}/config"),
        ],
    )?;
    say(&format!("kernel {release}"));
    let kexec_tools = || apt.unpack("kexec-tools-arm64", &apt.with_libraries(KEXEC_TOOLS)?);
    Ok(Kernel {
        arch: if arm64 { Arch::Arm64 } else { Arch::X86 },
        kexec_tools: arm64.then(kexec_tools).transpose()?,
        config,
        release: release.to_owned(),
        vmlinuz,
        modules,
    })
}

fn find(tree: &Path, candidates: &[String]) -> Result<PathBuf> {
    let found = candidates
        .iter()
        .map(|path| tree.join(path))
        .find(|path| fs::metadata(path).is_ok());
    found.with_context(|| format!("{} holds none of {}", tree.display(), candidates.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| format!("linux-{name}")).collect()
    }

    #[test]
    fn newest_by_numbers_not_by_letters() {
        let list = names(&[
            "image-6.1.0-9-cloud-amd64",
            "image-6.1.0-50-cloud-amd64",
            "image-6.12.7+deb13-cloud-amd64",
            "image-6.1.0-51-amd64",
        ]);
        assert_eq!(
            choose(&list, "6.1.", false).as_deref(),
            Some("6.1.0-50-cloud-amd64")
        );
        assert_eq!(
            choose(&list, "6.12.", false).as_deref(),
            Some("6.12.7+deb13-cloud-amd64")
        );
        assert_eq!(choose(&list, "5.10.", false), None);
    }

    #[test]
    fn new_kernels_need_both_parts() {
        let list = names(&[
            "image-7.2.6+deb13-cloud-amd64",
            "binary-7.2.6+deb13-cloud-amd64",
            "modules-7.2.6+deb13-cloud-amd64",
            "base-7.2.6+deb13-cloud-amd64",
            "image-7.2.10+deb14-cloud-amd64",
            "binary-7.2.10+deb14-cloud-amd64",
            "modules-7.3.4+deb14-cloud-amd64",
        ]);
        assert_eq!(
            choose(&list, "7.", false).as_deref(),
            Some("7.2.6+deb13-cloud-amd64")
        );
    }

    #[test]
    fn flavours_are_not_mixed() {
        let list = names(&[
            "image-6.12.107+deb13-cloud-arm64",
            "image-6.12.107+deb13-arm64-16k",
            "image-6.18.9+deb13-arm64-16k",
            "image-6.18.12+deb13-arm64-16k",
            "image-6.12.99+deb13-cloud-amd64",
        ]);
        let chosen = |series| choose(&list, series, false);
        assert_eq!(
            chosen("arm64-6.12.").as_deref(),
            Some("6.12.107+deb13-cloud-arm64")
        );
        assert_eq!(
            chosen(SERIES_16K).as_deref(),
            Some("6.18.12+deb13-arm64-16k")
        );
        assert_eq!(
            chosen("6.12.").as_deref(),
            Some("6.12.99+deb13-cloud-amd64")
        );
        assert_eq!(version("6.18.9+deb13-arm64-16k"), [6, 18, 9, 13]);
    }

    #[test]
    fn debug_kernel_has_a_debug_package() {
        let list = names(&[
            "image-6.1.0-9-cloud-amd64",
            "image-6.1.0-9-cloud-amd64-dbg",
            "image-6.1.0-50-cloud-amd64",
            "image-6.1.0-9-cloud-amd64-unsigned",
        ]);
        assert_eq!(
            choose(&list, "6.1.", true).as_deref(),
            Some("6.1.0-9-cloud-amd64")
        );
        assert_eq!(release("linux-image-6.1.0-9-cloud-amd64-dbg", &AMD64), None);
    }
}
