//! `setup`: the host programs that are needed. What is there is left alone; the rest is installed as root, or named in one command.

use crate::Stop;
use crate::lab::{say, step};
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;
use xshell::{Shell, cmd};

/// A program and the Debian package that has it.
type Tool = (&'static str, &'static str);

/// What building and the virtual machines of this host's architecture need.
const HOST: &[Tool] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("musl-gcc", "musl-tools"),
    ("mkfs.ext4", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("crash", "crash"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("setpriv", "util-linux"),
];
/// What arm64 machines need on top.
const ARM64: &[Tool] = &[
    ("qemu-system-aarch64", "qemu-system-arm"),
    ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("qemu-aarch64-static", "qemu-user-static"),
];
/// What the servers of network targets and their stock clients need.
const SERVERS: &[Tool] = &[
    ("sshd", "openssh-server"),
    ("ssh-keygen", "openssh-client"),
    ("sftp", "openssh-client"),
    ("ganesha.nfsd", "nfs-ganesha"),
    ("rpcbind", "rpcbind"),
    ("rpcinfo", "rpcbind"),
    ("rsyslogd", "rsyslog"),
    ("nginx", "nginx-light"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("age", "age"),
];
/// The part of nfs-ganesha that serves directories, and its package.
const GANESHA_VFS: (&str, &str) = (
    "/usr/lib/x86_64-linux-gnu/ganesha/libfsalvfs.so",
    "nfs-ganesha-vfs",
);
/// What makes the disks of targets on disks, and looks at them.
const DISKS: &[Tool] = &[
    ("busybox", "busybox-static"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.vfat", "dosfstools"),
    ("lvm", "lvm2"),
    ("mdadm", "mdadm"),
    ("cryptsetup", "cryptsetup-bin"),
];
/// What `test --full` needs on top.
const FULL: &[Tool] = &[("python3", "python3"), ("mmdebstrap", "mmdebstrap")];
/// The header by which the C headers for arm64 are known, and their package: the compiler only recommends it.
const ARM64_HEADERS: (&str, &str) = (
    "/usr/aarch64-linux-gnu/include/stdlib.h",
    "libc6-dev-arm64-cross",
);
/// The target of the static binaries.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-musl";
/// The target of the static binaries for arm64.
pub(crate) const TARGET_ARM64: &str = "aarch64-unknown-linux-musl";

/// For what is set up; each holds what is before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Need {
    /// Building and machines of this host's architecture.
    Host,
    /// The tests, which have arm64 machines too.
    Tests,
    /// `test --full`.
    Full,
}

/// Installs what is missing.
///
/// # Errors
/// [`Stop`] with the one command to run when this user cannot install packages.
pub(crate) fn run(sh: &Shell, need: Need) -> Result<()> {
    step("host programs");
    let (tests, full) = (need >= Need::Tests, need >= Need::Full);
    let wanted = HOST
        .iter()
        .chain(if tests { ARM64 } else { &[] })
        .chain(if tests { SERVERS } else { &[] })
        .chain(if tests { DISKS } else { &[] })
        .chain(if full { FULL } else { &[] });
    let mut packages: Vec<_> = wanted
        .filter(|(tool, _)| qemu::find_tool(tool).is_err())
        .map(|(_, package)| *package)
        .collect();
    if full
        && cmd!(sh, "python3 -c 'import ensurepip, venv'")
            .quiet()
            .ignore_stdout()
            .ignore_stderr()
            .run()
            .is_err()
    {
        packages.push("python3-venv");
    }
    for (file, package) in [ARM64_HEADERS, GANESHA_VFS] {
        if tests && !Path::new(file).exists() {
            packages.push(package);
        }
    }
    packages.dedup();
    if packages.is_empty() {
        say("all there");
    } else {
        install(sh, &packages)?;
    }
    rust_parts(
        sh,
        if tests {
            &[TARGET, TARGET_ARM64]
        } else {
            &[TARGET]
        },
    )
}

/// Installs the package of one program that only some commands need.
///
/// # Errors
/// As [`run`].
pub(crate) fn tool(sh: &Shell, program: &str, package: &str) -> Result<()> {
    if qemu::find_tool(program).is_ok() {
        return Ok(());
    }
    install(sh, &[package])
}

/// Installs Debian packages without recommendations: those of QEMU want `qemu-utils`, which a backported one may keep out. Nothing is
/// ever removed for it.
pub(crate) fn install(sh: &Shell, packages: &[&str]) -> Result<()> {
    const INSTALL: &str = "apt-get install -y --no-remove --no-install-recommends";
    let list = packages.join(" ");
    let prefix: &[&str] = if is_root() {
        &[]
    } else if cmd!(sh, "sudo -n true")
        .quiet()
        .ignore_stderr()
        .run()
        .is_ok()
    {
        &["sudo", "-n"]
    } else {
        return Err(Stop::new(format!(
            "these packages are missing: {list}. Run this once, then again what you ran:\n  sudo sh -c 'apt-get update && {INSTALL} {list}'"
        )));
    };
    cmd!(sh, "env {prefix...} apt-get update").quiet().run()?;
    // What it would do; without --no-remove, which would say nothing of it.
    let simulated = cmd!(
        sh,
        "env LC_ALL=C apt-get install -s -y --no-install-recommends {packages...}"
    )
    .quiet()
    .ignore_status()
    .read()?;
    if let Some(refusal) = refusal(&simulated, &list) {
        return Err(Stop::new(refusal));
    }
    say(&format!("installing {list}"));
    let command = format!("export DEBIAN_FRONTEND=noninteractive; {INSTALL} {list}");
    cmd!(sh, "env {prefix...} sh -c {command}").quiet().run()?;
    for (tool, package) in [HOST, ARM64, SERVERS, DISKS, FULL]
        .into_iter()
        .flatten()
        .filter(|(_, package)| packages.contains(package))
    {
        if qemu::find_tool(tool).is_err() {
            bail!("the package {package} is installed, but `{tool}` is still missing");
        }
    }
    Ok(())
}

/// What is said when apt, by its simulation, would remove packages for those that are wanted.
fn refusal(simulated: &str, wanted: &str) -> Option<String> {
    let lines = simulated
        .lines()
        .filter_map(|line| line.strip_prefix("Remv "));
    let removed: Vec<_> = lines.filter_map(|line| line.split(' ').next()).collect();
    (!removed.is_empty()).then(|| {
        format!(
            "these packages are missing: {wanted}. apt would remove {} for them, and nothing is removed here: install them yourself in versions that go together (apt-get -s install {wanted} says what is in the way)",
            removed.join(", ")
        )
    })
}

/// The static targets and the components, where rustup did not bring them with the toolchain.
fn rust_parts(sh: &Shell, wanted: &[&str]) -> Result<()> {
    if Command::new("rustup").arg("--version").output().is_err() {
        say("rustup is not installed: cargo must know the target by itself");
        return Ok(());
    }
    let targets = cmd!(sh, "rustup target list --installed").quiet().read()?;
    for target in wanted {
        if !targets.lines().any(|line| line == *target) {
            cmd!(sh, "rustup target add {target}").quiet().run()?;
        }
    }
    let components = cmd!(sh, "rustup component list --installed")
        .quiet()
        .read()?;
    for component in ["clippy", "rustfmt"] {
        if !components.lines().any(|line| line.starts_with(component)) {
            cmd!(sh, "rustup component add {component}").quiet().run()?;
        }
    }
    Ok(())
}

pub(crate) fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|out| out.stdout == b"0\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_removed() {
        let simulated = "Reading package lists...\nRemv qemu-utils [1:7.2+dfsg-7+deb12u18+bpo]\nInst qemu-block-extra (1:7.2 Debian:12 [amd64])\nConf qemu-block-extra (1:7.2)\n";
        let said = refusal(simulated, "qemu-system-x86").unwrap();
        assert!(
            said.contains("would remove qemu-utils for them") && said.contains("qemu-system-x86"),
            "{said}"
        );
        assert_eq!(
            refusal("Inst crash (8.0 Debian:12 [amd64])\n", "crash"),
            None
        );
    }
}
