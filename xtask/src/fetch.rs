//! `fetch`: the kernels and tools of the lab. Kernels are chosen by pattern from the package index: the newest of each series.

use crate::apt::{Apt, SUITES};
use crate::lab::{Lab, say, step};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xshell::{Shell, cmd};

/// Series of Debian's cloud kernels that dumps are made of; a series ending in a dot takes the newest of all its versions.
pub(crate) const SERIES: &[&str] = &["5.10.", "6.1.", "6.12.", "7."];
/// The series of the demonstration and of the fault tests.
pub(crate) const MAIN_SERIES: &str = "6.1.";
/// Packages with a kernel or a part of one.
const KERNELS: &str = "^linux-(image|base|binary|modules)-[0-9].*-cloud-amd64";
const FLAVOUR: &str = "-cloud-amd64";

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
}

/// A packaged program of the newest suite, run with the libraries of that suite.
#[derive(Clone, Debug)]
pub(crate) struct Packaged {
    name: &'static str,
    tree: PathBuf,
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
        debug_kernel(&apt, MAIN_SERIES)?;
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
    let tree = apt.unpack(&package, std::slice::from_ref(&package))?;
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

/// The crash of the newest suite: 8.0.2, which Debian 12 has, cannot follow a task's maps from 6.1 on.
///
/// # Errors
/// When it cannot be fetched or does not start.
pub(crate) fn crash(apt: &Apt) -> Result<Packaged> {
    packaged(apt, "crash", "--version")
}

/// Fetches a program and shows its version, which also shows that it starts.
fn packaged(apt: &Apt, name: &'static str, version: &str) -> Result<Packaged> {
    let tree = apt.unpack(name, &apt.with_libraries(name)?)?;
    let program = Packaged { name, tree };
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
        let libraries: Vec<_> = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
            .iter()
            .map(|dir| self.tree.join(dir))
            .filter(|dir| dir.exists())
            .collect();
        let loader = libraries
            .iter()
            .map(|dir| dir.join("ld-linux-x86-64.so.2"))
            .find(|file| file.exists());
        let mut command =
            Command::new(loader.context("the libc6 package holds no ld-linux-x86-64.so.2")?);
        let candidates = ["usr/bin", "usr/sbin"].map(|dir| format!("{dir}/{}", self.name));
        let program = find(&self.tree, &candidates)?;
        command
            .arg("--library-path")
            .arg(std::env::join_paths(&libraries)?);
        command.arg(program);
        Ok(command)
    }
}

fn missing(apt: &Apt, series: &str, what: &str) -> String {
    let hint = if series.starts_with("5.10") {
        "; it is in bullseye, which old mirrors move to archive.debian.org"
    } else {
        ""
    };
    format!(
        "the mirror {} has no linux-image-{series}*{FLAVOUR}{what} in {}{hint}",
        apt.mirror,
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
    let releases = names.iter().filter_map(|name| release(name));
    let newest = releases
        .filter(|release| release.starts_with(series))
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

/// The release in a package name of the flavour.
fn release(name: &str) -> Option<&str> {
    let release = ["linux-image-", "linux-binary-"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))?;
    release.ends_with(FLAVOUR).then_some(release)
}

/// The numbers of a release in order, which is how kernels of one series follow each other.
fn version(release: &str) -> Vec<u64> {
    let version = release.strip_suffix(FLAVOUR).unwrap_or(release);
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// Fetches a kernel's packages and finds its parts.
fn unpack(apt: &Apt, names: &[String], release: &str) -> Result<Kernel> {
    let parts =
        parts(names, release).with_context(|| format!("{release} is not whole on the mirror"))?;
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
    Ok(Kernel {
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
        assert_eq!(release("linux-image-6.1.0-9-cloud-amd64-dbg"), None);
    }
}
